// The options that string commands have in common: expiry (EX PX EXAT PXAT KEEPTTL PERSIST) and
// conditions (NX XX IFEQ IFNE IFDEQ IFDNE). Parsing accepts what Redis accepts: an option may come
// twice, the last one counts; different options of one kind exclude each other.
#pragma once

#include "base/text.h"
#include "commands/string_family.h"

namespace quoll::commands::strings {

// The first eight bytes of an option, lower case, in one number: options compare as integers and
// stand in switch cases. 0 for longer words, which no option here is.
constexpr uint64_t word(Bytes text) {
  if (text.size() > 8) return 0;
  uint64_t packed = 0;
  for (char c : text) packed = packed << 8 | static_cast<uint8_t>(base::to_lower(c));
  return packed;
}

struct Expiry {
  enum Kind : uint8_t {
    kNone = 0,
    kKeep = 1 << 0,
    kPersist = 1 << 1,
    kEx = 1 << 2,
    kPx = 1 << 3,
    kExAt = 1 << 4,
    kPxAt = 1 << 5,
  };
  static constexpr uint8_t kTimes = kEx | kPx | kExAt | kPxAt;

  Kind kind = kNone;
  size_t argument = 0;        // of the time
  base::Millis deadline = 0;  // set by resolve()

  bool has_time() const { return kind & kTimes; }
  bool absolute() const { return kind & (kExAt | kPxAt); }
  // Takes the option at args[i] (its word is `option`), and its time, when it is an expiry option
  // among `allowed` and does not contradict an earlier one. Moves i to the last word taken.
  bool take(uint64_t option, uint8_t allowed, const base::Args& args, size_t& i);
  // Computes the deadline. False: the time is no integer or out of range, and the error was
  // replied.
  bool resolve(Call& call);
  // Redis deletes a key at once when its new deadline is past, but not while replaying.
  bool past(const Call& call) const;
  store::Ttl ttl() const {
    if (has_time()) return store::Ttl::at(deadline);
    return kind == kKeep ? store::Ttl::keep() : store::Ttl::drop();
  }
};

struct Condition {
  enum class Kind : uint8_t { none, nx, xx, ifeq, ifne, ifdeq, ifdne };

  Kind kind = Kind::none;
  Bytes value;          // IFEQ, IFNE
  uint64_t digest = 0;  // IFDEQ, IFDNE; set by resolve()

  bool compares() const { return kind >= Kind::ifeq; }
  // As Expiry::take.
  bool take(uint64_t option, const base::Args& args, size_t& i);
  // False: the digest is malformed, and the error was replied.
  bool resolve(Call& call);
  // `entry` is null for an absent key, and a string when compares().
  bool met(const store::Entry* entry) const;
};

}  // namespace quoll::commands::strings
