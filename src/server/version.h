// What the server says it is.
#pragma once

namespace quoll::server {

inline constexpr char kQuollVersion[] = "0.1.0";
// The Redis version whose behaviour clients may expect.
inline constexpr char kRedisVersion[] = "7.4.0";

}  // namespace quoll::server
