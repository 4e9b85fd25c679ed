#include "persist/change_notes.h"

#include <doctest/doctest.h>

#include "persist/aof_reader.h"
#include "tests/unit/givens.h"

namespace quoll::persist {
namespace {

using store::Change;
using store::kSet;

constexpr store::Event kDel{"del", 'g'};
constexpr store::Event kSilent{"", 0};
constexpr store::Event kRenameFrom{"rename_from", 'g'};
constexpr store::Event kRenameTo{"rename_to", 'g'};

std::string notes(const std::vector<store::Touch>& touches,
                  const std::vector<std::vector<base::Bytes>>& lines,
                  uint8_t targets = store::kToAll) {
  std::vector<store::Effect> effects;
  for (const auto& line : lines) effects.push_back({0, line, targets});
  std::string out;
  append_change_notes(5, {17, 0, store::Origin::client, false, touches, effects}, out);
  return out;
}

TEST_CASE("a position is two numbers") {
  ChangePosition position;
  CHECK(position.parse("1764467912345678-17"));
  CHECK(position == ChangePosition{1764467912345678, 17});
  CHECK(position.text() == "1764467912345678-17");
  for (const char* wrong : {"", "-", "1", "1-", "-1", "1-2-3", "a-1", "1--1", "01-1", "1- 1"})
    CHECK_MESSAGE(!position.parse(wrong), wrong);
  CHECK(ChangePosition{4, 100} < ChangePosition{5, 1});
  CHECK(ChangePosition{5, 1} < ChangePosition{5, 2});
}

TEST_CASE("a key is where an effect names it") {
  CHECK(notes({{0, "k", kSet, Change::created}}, {{"SET", "k", "v"}}) ==
        "#CHANGES:5-17 set,0,0,1\r\n");
  CHECK(notes({{3, "a", kSet, Change::created},
               {3, "b", kSet, Change::created},
               {3, "a", kDel, Change::erased}},
              {{"MSET", "a", "1", "b", "2"}, {"DEL", "a"}}) ==
        "#CHANGES:5-17 set,3,0,1 set,3,0,3 del,3,1,1\r\n");
  CHECK(notes({{0, {}, store::kEventFlushDb, Change::keyless},
               {7, {}, {"flushall", 0}, Change::keyless}},
              {{"FLUSHALL"}}) == "#CHANGES:5-17 flushdb,0 flushdb,7\r\n");
}

TEST_CASE("a silent touch is told unless what follows names its key") {
  CHECK(notes({{0, "a", kSilent, Change::erased},
               {0, "b", kSilent, Change::created},
               {0, "a", kRenameFrom, Change::updated},
               {0, "b", kRenameTo, Change::updated}},
              {{"RENAME", "a", "b"}}) == "#CHANGES:5-17 rename_from,0,0,1 rename_to,0,0,2\r\n");
  CHECK(notes({{0, "a", kSilent, Change::updated}}, {{"PFCOUNT", "a"}}) ==
        "#CHANGES:5-17 changed,0,0,1\r\n");
}

TEST_CASE("what does not go to the file has no note") {
  CHECK(notes({{0, "a", kSet, Change::created}}, {{"SET", "a", "1"}}, store::kToReplicas).empty());
}

TEST_CASE("lines of many touches are short enough for Redis, and read back whole") {
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) keys.push_back("key:" + std::to_string(i));
  std::vector<store::Touch> touches;
  std::vector<base::Bytes> line{"DEL"};
  for (const std::string& key : keys) {
    touches.push_back({0, key, kDel, Change::erased});
    line.push_back(key);
  }
  const std::string lines = notes(touches, {line});
  for (size_t at = 0; at < lines.size();) {
    const size_t end = lines.find('\n', at);
    CHECK(end - at < kAofAnnotationMax);
    at = end + 1;
  }
  ChangePosition position;
  std::vector<ChangeNote> found;
  REQUIRE(parse_change_notes(lines, position, found));
  REQUIRE(found.size() == 1000);
  CHECK(found[999].argument == 1000);
  CHECK(found[999].event == "del");
}

TEST_CASE("a note without its commit is overruled by the next") {
  ChangePosition position;
  std::vector<ChangeNote> found;
  REQUIRE(
      parse_change_notes("#CHANGES:5-17 set,0,0,1\r\n#CHANGES:6-2 del,0,0,1\r\n", position, found));
  CHECK(position == ChangePosition{6, 2});
  REQUIRE(found.size() == 1);
  CHECK(found[0].event == "del");
}

TEST_CASE("lines that nobody wrote are refused") {
  ChangePosition position;
  std::vector<ChangeNote> found;
  for (const char* wrong :
       {"", "#TS:1\r\n", "#CHANGES:\r\n", "#CHANGES:5\r\n", "#CHANGES:5-1 set\r\n",
        "#CHANGES:5-1 ,0,0,1\r\n", "#CHANGES:5-1 set,x,0,1\r\n", "#CHANGES:5-1 set,0,1\r\n",
        "#CHANGES:5-1 set,0,0,1,1\r\n", "#CHANGES:5-1 set,99999999999,0,1\r\n"})
    CHECK_MESSAGE(!parse_change_notes(wrong, position, found), wrong);
}

}  // namespace
}  // namespace quoll::persist
