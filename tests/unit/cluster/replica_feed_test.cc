#include "cluster/replica_feed.h"

#include <doctest/doctest.h>

#include "cluster/replica_dialect.h"

namespace quoll::cluster {
namespace {

using Line = std::vector<base::Bytes>;

struct Told {
  store::DbIndex db;
  Line line;
};

void tell(ReplicaFeed& feed, const std::vector<Told>& lines,
          store::Origin origin = store::Origin::client) {
  std::vector<store::Effect> effects;
  for (const Told& told : lines) {
    store::Effect effect{};
    effect.db = told.db;
    effect.args = told.line;
    effects.push_back(effect);
  }
  feed.absorb({1, 0, origin, lines.size() > 1, {}, effects});
}

// The stream in the notation of inline commands.
std::string said(const ReplicaFeed& feed, uint64_t from) {
  std::string bytes;
  base::Bytes parts[8];
  while (size_t count = feed.backlog().gather(from + bytes.size(), parts))
    for (size_t i = 0; i < count; ++i) bytes += parts[i];
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = bytes.find("\r\n", at);
    const std::string line = bytes.substr(at, end - at);
    at = end + 2;
    if (line[0] == '*' && !text.empty()) text += "; ";
    if (line[0] != '$') continue;
    const size_t size = std::stoul(line.substr(1));
    if (!text.empty() && !text.ends_with("; ")) text += ' ';
    text += bytes.substr(at, size);
    at += size + 2;
  }
  return text;
}

}  // namespace

TEST_CASE("feed: databases, frames and messages") {
  ReplicaFeed feed;
  CHECK_FALSE(feed.listening());
  feed.open(500);
  REQUIRE(feed.listening());
  tell(feed, {{0, {"SET", "a", "1"}}});
  tell(feed, {{0, {"SET", "b", "2"}}});
  tell(feed, {{2, {"DEL", "c"}}, {0, {"INCR", "n"}}});
  CHECK(said(feed, 500) ==
        "SELECT 0; SET a 1; SET b 2; SELECT 2; MULTI; DEL c; SELECT 0; INCR n; EXEC");
  uint64_t before = feed.offset();
  feed.forget_database();
  tell(feed, {{0, {"SET", "a", "1"}}});
  CHECK(said(feed, before) == "SELECT 0; SET a 1");

  // What expires or is evicted in one go is no transaction.
  before = feed.offset();
  tell(feed, {{0, {"DEL", "a"}}, {0, {"DEL", "b"}}}, store::Origin::eviction);
  tell(feed, {{0, {"DEL", "c"}}, {0, {"DEL", "d"}}}, store::Origin::expiry);
  CHECK(said(feed, before) == "DEL a; DEL b; DEL c; DEL d");

  before = feed.offset();
  const base::Bytes message[] = {"PUBLISH", "c", "m"};
  feed.publish(message, false);
  feed.publish(message, true);
  tell(feed, {{0, {"SET", "a", "1"}}});
  CHECK(said(feed, before) == "PUBLISH c m; MULTI; SET a 1; PUBLISH c m; EXEC");

  before = feed.offset();
  feed.publish(message, true);  // its commit changed nothing
  feed.flush_messages();
  feed.flush_messages();
  CHECK(said(feed, before) == "PUBLISH c m");
}

TEST_CASE("feed: what a replica or a file says is not repeated") {
  ReplicaFeed feed;
  feed.open(0);
  tell(feed, {{0, {"SET", "a", "1"}}}, store::Origin::replica);
  tell(feed, {{0, {"SET", "a", "1"}}}, store::Origin::load);
  CHECK(feed.offset() == 0);
  feed.set_encoding(false);
  CHECK_FALSE(feed.listening());
  feed.relay("*1\r\n$4\r\nPING\r\n");
  CHECK(feed.offset() == 14);
  feed.close();
  feed.relay("12345");
  CHECK(feed.offset() == 19);
  CHECK_FALSE(feed.is_open());
}

TEST_CASE("feed: the words of Redis 7.0") {
  ReplicaFeed feed;
  feed.open(0);
  tell(feed, {{0, {"MSETEX", "2", "a", "1", "b", "2", "PXAT", "99"}}});
  CHECK(said(feed, 0) == "SELECT 0; MULTI; SET a 1 PXAT 99; SET b 2 PXAT 99; EXEC");
  CHECK(feed.foreign_end() == 0);
  tell(feed, {{0, {"HPEXPIREAT", "h", "99", "FIELDS", "1", "f"}}});
  CHECK(feed.foreign_end() == feed.offset());
  CHECK(feed.foreign_command() == "HPEXPIREAT");
  const Line bitop_and = {"BITOP", "AND", "d", "a"}, bitop_one = {"BITOP", "one", "d", "a", "b"};
  CHECK(dialect_of(bitop_and) == Dialect::plain);
  CHECK(dialect_of(bitop_one) == Dialect::foreign);
  const Line wrong = {"MSETEX", "9", "a", "1"};
  CHECK(dialect_of(wrong) == Dialect::plain);
}

}  // namespace quoll::cluster
