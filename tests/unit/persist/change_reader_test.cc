#include "persist/change_reader.h"

#include <doctest/doctest.h>

#include "persist/aof_encoder.h"
#include "tests/unit/givens.h"

namespace quoll::persist {
namespace {

using store::Change;
using store::kSet;

class Log {
 public:
  explicit Log(uint64_t life) { encoder_.set_changes(life); }
  // SETs of these keys as one commit.
  void set(store::Seq seq, store::DbIndex db, const std::vector<base::Bytes>& keys) {
    std::vector<std::vector<base::Bytes>> lines;
    for (const base::Bytes key : keys) lines.push_back({"SET", key, "v"});
    std::vector<store::Touch> touches;
    std::vector<store::Effect> effects;
    for (size_t i = 0; i < keys.size(); ++i) {
      touches.push_back({db, keys[i], kSet, Change::created});
      effects.push_back({db, lines[i]});
    }
    encoder_.encode({seq, 0, store::Origin::client, keys.size() > 1, touches, effects}, bytes);
  }
  void stop_notes() { encoder_.set_changes(0); }
  std::string bytes;

 private:
  AofEncoder encoder_;
};

std::string told_by(const std::string& bytes, const ChangePosition& since, size_t piece) {
  ChangeReader reader;
  ChangeCommit commit;
  std::string told;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(bytes.substr(at, piece));
    while (reader.next(since, commit)) {
      told += commit.position.text() + ":";
      for (const ChangedKey& change : commit.changes)
        told += " " + std::to_string(change.database) + change.event + "=" + *change.key;
      told += "/" + std::to_string(commit.effects.size()) + "\n";
    }
    CHECK(!reader.damaged());
  }
  return told;
}

TEST_CASE("commits come back whole and in order, however the bytes arrive") {
  Log log(5);
  log.set(1, 0, {"a"});
  log.set(2, 3, {"b", "c"});
  log.set(4, 3, {"d"});
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{64}, log.bytes.size()}) {
    CHECK(told_by(log.bytes, {}, piece) == "5-1: 0set=a/1\n5-2: 3set=b 3set=c/2\n5-4: 3set=d/1\n");
    CHECK(told_by(log.bytes, {5, 1}, piece) == "5-2: 3set=b 3set=c/2\n5-4: 3set=d/1\n");
    CHECK(told_by(log.bytes, {5, 3}, piece) == "5-4: 3set=d/1\n");
    CHECK(told_by(log.bytes, {6, 0}, piece).empty());
  }
}

TEST_CASE("commits without notes are passed over") {
  Log log(5);
  log.set(1, 0, {"a"});
  log.stop_notes();
  log.set(2, 0, {"b", "c"});
  Log next(6);
  next.set(1, 0, {"d"});
  CHECK(told_by(log.bytes + next.bytes, {}, 10) == "5-1: 0set=a/1\n6-1: 0set=d/1\n");
}

TEST_CASE("notes that are not of their effects are passed over") {
  Log log(5);
  log.set(1, 0, {"a"});
  std::string wrong = "#CHANGES:5-1 set,0,3,1\r\n" + log.bytes.substr(log.bytes.find('*'));
  CHECK(told_by(wrong + log.bytes, {}, 9) == "5-1: 0set=a/1\n");
}

TEST_CASE("damage is told") {
  ChangeReader reader;
  ChangeCommit commit;
  reader.feed("*1\r\nX");
  CHECK(!reader.next({}, commit));
  CHECK(reader.damaged());
}

TEST_CASE("the reader of the log tells where a commit begins") {
  Log log(5);
  log.set(1, 0, {"a"});
  const size_t second = log.bytes.size();
  log.set(2, 0, {"b", "c"});
  AofReaderOptions options;
  options.base_offset = 1000;
  AofReader reader(options);
  reader.feed(log.bytes);
  AofCommand command;
  REQUIRE(reader.next(command) == AofReader::Step::command);
  CHECK(command.commit_offset == 1000);
  CHECK(command.change_notes == "#CHANGES:5-1 set,0,0,1\r\n");
  for (int i = 0; i < 2; ++i) {
    REQUIRE(reader.next(command) == AofReader::Step::command);
    CHECK(command.commit_offset == 1000 + second);
    CHECK(command.change_notes == "#CHANGES:5-2 set,0,0,1 set,0,1,1\r\n");
  }
}

}  // namespace
}  // namespace quoll::persist
