// The borrowed byte types every floor speaks. Nothing here owns memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace quoll::base {

using Bytes = std::string_view;       // borrowed bytes; may hold any value including NUL
using Args = std::span<const Bytes>;  // one command line: name first

using Millis = int64_t;  // wall time: milliseconds since 1970-01-01 UTC; durations in ms
using Nanos = int64_t;   // steady time or duration in nanoseconds

constexpr Nanos kNanosPerMilli = 1'000'000;
constexpr Nanos kNanosPerMicro = 1'000;

}  // namespace quoll::base
