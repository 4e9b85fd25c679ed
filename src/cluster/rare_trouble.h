// RareTrouble: what strangers can make happen as often as they like is told at intervals only.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"

namespace quoll::cluster {

constexpr base::Millis kTroubleEveryMs = 5000;

class RareTrouble {
 public:
  // What to tell: the text, and how often it was not told since the last time. Nothing: it is too
  // early.
  std::optional<std::string> tell(std::string text, base::Millis now) {
    if (told_ && now - *told_ < kTroubleEveryMs) {
      ++untold_;
      return {};
    }
    told_ = now;
    if (untold_ > 0) text += " (" + std::to_string(untold_) + " more since this was last said)";
    untold_ = 0;
    return text;
  }

 private:
  std::optional<base::Millis> told_;
  uint64_t untold_ = 0;
};

}  // namespace quoll::cluster
