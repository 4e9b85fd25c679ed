// A mailbox between two threads: one letter, that the writer adds to until the reader takes it.
//
//   writer: write(add to the letter, urgent) -> true: ring the reader
//   reader: take() -> the letter, and an empty one lies there
//
// The letter's type says what adding means; a newer word replaces an older one on the same subject,
// so that a reader who does not come finds a letter of bounded size and nothing outdated.
// Whoever waits for a ring is rung once per letter: further urgent words lie in the same one.
//
// Cost: an uncontended lock, some 20 ns, per call; memory is the letter's.
#pragma once

#include <mutex>
#include <optional>
#include <utility>

namespace quoll::base {

template <class Letter>
class Mailbox {
 public:
  // `write(letter)` under the lock. True: the reader is to be rung, and nobody has done so yet.
  template <class Write>
  [[nodiscard]] bool write(bool urgent, Write&& write) {
    std::lock_guard lock(mutex_);
    if (!letter_) letter_.emplace();
    write(*letter_);
    return urgent && !std::exchange(rung_, true);
  }
  // Nothing: there is no letter.
  std::optional<Letter> take() {
    std::lock_guard lock(mutex_);
    rung_ = false;
    return std::exchange(letter_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::optional<Letter> letter_;
  bool rung_ = false;
};

}  // namespace quoll::base
