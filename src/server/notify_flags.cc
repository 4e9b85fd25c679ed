#include "server/notify_flags.h"

namespace quoll::server::notify {

namespace {

struct Letter {
  char letter;
  uint32_t mask;
};

// In the order in which they are printed.
constexpr Letter kClasses[] = {
    {'g', kGeneric}, {'$', kString},  {'l', kList},   {'s', kSet},    {'h', kHash},   {'z', kZset},
    {'x', kExpired}, {'e', kEvicted}, {'t', kStream}, {'d', kModule}, {'n', kNewKey},
};
constexpr Letter kChannels[] = {{'K', kKeyspace}, {'E', kKeyevent}, {'m', kKeyMiss}};

uint32_t mask_of(char letter) {
  if (letter == 'A') return kAll;
  for (const Letter& known : kClasses) {
    if (known.letter == letter) return known.mask;
  }
  for (const Letter& known : kChannels) {
    if (known.letter == letter) return known.mask;
  }
  return 0;
}

}  // namespace

std::optional<uint32_t> parse(base::Bytes letters) {
  uint32_t mask = 0;
  for (char letter : letters) {
    const uint32_t bit = mask_of(letter);
    if (bit == 0) return std::nullopt;
    mask |= bit;
  }
  return mask;
}

std::string format(uint32_t mask) {
  std::string letters;
  if ((mask & kAll) == kAll) {
    letters += 'A';
  } else {
    for (const Letter& known : kClasses) {
      if ((mask & known.mask) != 0) letters += known.letter;
    }
  }
  for (const Letter& known : kChannels) {
    if ((mask & known.mask) != 0) letters += known.letter;
  }
  return letters;
}

}  // namespace quoll::server::notify
