#include "server/slot_stats.h"

#include <doctest/doctest.h>

#include <string>

using namespace quoll;
using server::SlotStats;
using Line = std::vector<base::Bytes>;

TEST_CASE("slot_stats: a line has as many bytes as a client sends") {
  CHECK(server::request_bytes_of(Line{"GET", "key"}) ==
        std::string("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n").size());
  const std::string value(1234, 'x');
  CHECK(server::request_bytes_of(Line{"SET", "", value}) ==
        std::string("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$1234\r\n\r\n").size() + value.size());
}

TEST_CASE("slot_stats: counted while it is on, for the slot alone") {
  SlotStats stats;
  CHECK_FALSE(stats.active());
  CHECK(stats.of(7).bytes_in == 0);
  stats.set_active(true);
  stats.record(7, 1500, Line{"GET", "k"}, 5);
  stats.record(7, 500, Line{"GET", "k"}, 6);
  stats.set_active(true);  // again changes nothing
  CHECK(stats.of(7).nanos == 2000);
  CHECK(stats.of(7).bytes_in == 2 * server::request_bytes_of(Line{"GET", "k"}));
  CHECK(stats.of(7).bytes_out == 11);
  CHECK(stats.of(8).bytes_out == 0);
  stats.record(8, 1, Line{"GET", "k"}, 1);
  stats.forget(7);
  CHECK(stats.of(7).nanos == 0);
  CHECK(stats.of(8).nanos == 1);
  stats.reset();
  CHECK(stats.of(8).nanos == 0);
  stats.record(8, 1, Line{"GET", "k"}, 1);
  stats.set_active(false);
  CHECK_FALSE(stats.active());
  stats.set_active(true);
  CHECK(stats.of(8).nanos == 0);
}
