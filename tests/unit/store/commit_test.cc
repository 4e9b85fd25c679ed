#include "store/commit.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/givens.h"

namespace {

using namespace quoll::store;

struct CommitRecorder : CommitSink {
  explicit CommitRecorder(bool on) { listen(on); }
  using CommitSink::listen;
  void absorb(const Commit& commit) override {
    ++commits;
    seq = commit.seq;
    transaction = commit.transaction;
    for (const Touch& touch : commit.touches)
      text +=
          std::to_string(touch.db) + ":" + std::string(touch.key) + ":" + touch.event.name + " ";
    for (const Effect& effect : commit.effects) {
      text += std::to_string(effect.db) + ">";
      for (Bytes arg : effect.args) text += std::string(arg) + ",";
    }
  }
  int commits = 0;
  Seq seq = 0;
  bool transaction = false;
  std::string text;
};

}  // namespace

TEST_CASE("commit: sinks hear touches and effects with bytes of their own") {
  CommitBuilder builder;
  CommitRecorder deaf(false);
  CommitRecorder one(true);
  builder.add_sink(deaf);
  builder.add_sink(one);
  builder.begin(Origin::client, 1000, true);
  CHECK(builder.open());
  {
    std::string key = "key";
    std::string value = "value";
    builder.touch(3, key, kSet, Change::created);
    Bytes args[] = {"SET", key, value};
    builder.effect(3, args);
    key = "XXX";
    value = "YYYYY";
  }
  CHECK(builder.changes() == 1);
  CHECK(builder.effects() == 1);
  CHECK(builder.close() == 1);
  CHECK_FALSE(builder.open());
  CHECK(one.text == "3:key:set 3>SET,key,value,");
  CHECK(one.transaction);
  CHECK(one.commits == 1);
  CHECK(deaf.commits == 0);
}

TEST_CASE("commit: nothing changed, nothing told; sequence numbers count changes") {
  CommitBuilder builder;
  CommitRecorder one(true);
  builder.add_sink(one);
  builder.begin(Origin::client, 1);
  CHECK(builder.close() == 0);
  CHECK(one.commits == 0);
  for (Seq seq = 1; seq <= 3; ++seq) {
    one.listen(seq != 2);
    builder.begin(Origin::client, 1);
    builder.touch(0, {}, kEventFlushDb, Change::keyless);
    Bytes args[] = {"FLUSHDB"};
    builder.effect(0, args);
    CHECK(builder.close() == seq);
    CHECK(builder.last_seq() == seq);
  }
  CHECK(one.commits == 2);
  CHECK(one.seq == 3);
  CHECK(one.text == "0::flushdb 0>FLUSHDB,0::flushdb 0>FLUSHDB,");
}

TEST_CASE("commit: keys found expired are no changes of the command") {
  CommitBuilder builder;
  builder.begin(Origin::client, 1);
  builder.touch(0, "k", kEventExpired, Change::expired);
  CHECK(builder.changes() == 0);
  Bytes args[] = {"DEL", "k"};
  builder.effect(0, args);
  CHECK(builder.close() == 1);
}

TEST_CASE("commit: large and many arguments survive until the sinks have read them") {
  CommitBuilder builder;
  CommitRecorder one(true);
  builder.add_sink(one);
  for (int round = 0; round < 3; ++round) {
    one.text.clear();
    std::string expected;
    builder.begin(Origin::client, 1);
    for (int i = 0; i < 300; ++i) {
      std::string key(static_cast<size_t>(i) * 37 % 700, static_cast<char>('a' + i % 26));
      if (i % 100 == 50) key.assign(20000 + static_cast<size_t>(i), 'L');
      builder.touch(0, key, kSet, Change::updated);
      expected += "0:" + key + ":set ";
    }
    Bytes args[] = {"X"};
    builder.effect(0, args);
    builder.close();
    CHECK(one.text == expected + "0>X,");
  }
}
