#include "server/change_window.h"

#include <doctest/doctest.h>

namespace quoll::server {
namespace {

TEST_CASE("commits are found behind a seq") {
  ChangeWindow window;
  window.set_limit(1 << 20);
  window.begin(10);
  CHECK(window.holds_behind(10));
  CHECK(!window.holds_behind(9));
  CHECK(window.behind(10) == nullptr);
  window.add(12, "a");
  window.add(13, "b");
  CHECK(window.last() == 13);
  REQUIRE(window.behind(10));
  CHECK(window.behind(10)->text == "a");
  CHECK(window.behind(11)->seq == 12);
  CHECK(window.behind(12)->text == "b");
  CHECK(window.behind(13) == nullptr);
}

TEST_CASE("the oldest go when the limit is passed") {
  ChangeWindow window;
  window.set_limit(64 << 10);
  window.begin(0);
  const std::string text(1000, 'x');
  for (store::Seq seq = 1; seq <= 1000; ++seq) window.add(seq, text);
  CHECK(window.bytes() <= 64 << 10);
  CHECK(window.commits() > 50);
  CHECK(window.commits() + window.dropped() == 1000);
  CHECK(window.floor() == 1000 - window.commits());
  CHECK(window.behind(window.floor())->seq == window.floor() + 1);
  CHECK(!window.holds_behind(window.floor() - 1));

  window.add(1001, std::string(100 << 10, 'y'));
  CHECK(window.commits() == 0);
  CHECK(window.floor() == 1001);
  CHECK(window.last() == 1001);
  CHECK(window.bytes() == 0);
}

TEST_CASE("a lower limit holds at once, and a new beginning is empty") {
  ChangeWindow window;
  window.set_limit(1 << 20);
  window.begin(0);
  for (store::Seq seq = 1; seq <= 100; ++seq) window.add(seq, std::string(500, 'x'));
  CHECK(window.commits() == 100);
  window.set_limit(10'000);
  CHECK(window.bytes() <= 10'000);
  window.begin(200);
  CHECK(window.commits() == 0);
  CHECK(window.bytes() == 0);
  CHECK(window.floor() == 200);
  CHECK(window.last() == 200);
}

}  // namespace
}  // namespace quoll::server
