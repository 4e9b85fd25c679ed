#include "base/mailbox.h"

#include <doctest/doctest.h>

#include <map>
#include <thread>

namespace quoll::base {

TEST_CASE("mailbox: words gather in one letter, and ring once for it") {
  Mailbox<std::map<int, int>> box;
  CHECK_FALSE(box.take());
  CHECK_FALSE(box.write(false, [](auto& letter) { letter[1] = 10; }));
  CHECK(box.write(true, [](auto& letter) { letter[2] = 20; }));
  CHECK_FALSE(box.write(true, [](auto& letter) { letter[1] = 11; }));
  CHECK(box.take() == std::map<int, int>{{1, 11}, {2, 20}});
  CHECK_FALSE(box.take());
  CHECK(box.write(true, [](auto& letter) { letter[3] = 30; }));
}

TEST_CASE("mailbox: between threads nothing is lost, and the last word counts") {
  constexpr int kWords = 20'000;
  struct Letter {
    int last = 0;
    int words = 0;
  };
  Mailbox<Letter> box;
  std::thread writer([&] {
    for (int i = 1; i <= kWords; ++i)
      (void)box.write(true, [i](Letter& letter) {
        letter.last = i;
        ++letter.words;
      });
  });
  int words = 0;
  int last = 0;
  bool backwards = false;
  while (last < kWords) {
    const auto letter = box.take();
    if (!letter) continue;
    backwards = backwards || letter->last <= last;
    last = letter->last;
    words += letter->words;
  }
  writer.join();
  CHECK(words == kWords);
  CHECK_FALSE(backwards);
}

}  // namespace quoll::base
