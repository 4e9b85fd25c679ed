// LOLWUT's drawing: a spotted quoll under stars. No two nights are the same.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace quoll::commands {

// `draw` yields 64 uniform bits.
std::string drawing(const std::function<uint64_t()>& draw);

}  // namespace quoll::commands
