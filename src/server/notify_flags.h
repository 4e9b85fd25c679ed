// The classes of keyspace events as a bit mask, and their letters in `notify-keyspace-events`.
//
//   K keyspace channel   E keyevent channel
//   g generic  $ string  l list  s set  h hash  z zset  x expired  e evicted  t stream  d module
//   m key miss  n new key            A = g$lshzxetd (neither m nor n)
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace quoll::server::notify {

constexpr uint32_t kKeyspace = 1U << 0;  // K
constexpr uint32_t kKeyevent = 1U << 1;  // E
constexpr uint32_t kGeneric = 1U << 2;   // g
constexpr uint32_t kString = 1U << 3;    // $
constexpr uint32_t kList = 1U << 4;      // l
constexpr uint32_t kSet = 1U << 5;       // s
constexpr uint32_t kHash = 1U << 6;      // h
constexpr uint32_t kZset = 1U << 7;      // z
constexpr uint32_t kExpired = 1U << 8;   // x
constexpr uint32_t kEvicted = 1U << 9;   // e
constexpr uint32_t kStream = 1U << 10;   // t
constexpr uint32_t kKeyMiss = 1U << 11;  // m
constexpr uint32_t kModule = 1U << 13;   // d
constexpr uint32_t kNewKey = 1U << 14;   // n
constexpr uint32_t kAll = kGeneric | kString | kList | kSet | kHash | kZset | kExpired | kEvicted |
                          kStream | kModule;  // A

// The mask of a flag string such as "KEA"; nothing when a letter is unknown.
std::optional<uint32_t> parse(base::Bytes letters);

// The letters of a mask in the order Redis prints them. Like Redis, "A" swallows "n".
std::string format(uint32_t mask);

}  // namespace quoll::server::notify
