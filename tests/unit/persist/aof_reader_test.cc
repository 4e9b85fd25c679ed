#include "persist/aof_reader.h"

#include <doctest/doctest.h>

#include "persist/aof_encoder.h"
#include "tests/unit/persist/aof_feeder.h"

namespace quoll::persist {
namespace {

std::string line(std::initializer_list<base::Bytes> args) {
  std::string out;
  AofEncoder::append_command({args.begin(), args.size()}, out);
  return out;
}

const std::string kSelect0 = line({"SELECT", "0"});
const std::string kMulti = line({"MULTI"});
const std::string kExec = line({"EXEC"});
const std::string kSetLine = line({"SET", "a", "1"});

using Kind = AofEnd::Kind;

AofSeen read(base::Bytes bytes) {
  const AofSeen whole = read_aof(bytes, SIZE_MAX / 2);
  CHECK(read_aof(bytes, 1).same(whole));
  CHECK(read_aof(bytes, 7).same(whole));
  return whole;
}

TEST_CASE("commands arrive with database and offset") {
  const std::string second = line({"set", "b\r\n*1", ""});
  const std::string bytes = line({"SELECT", "3"}) + kSetLine + line({"select", "12"}) + second;
  const AofSeen seen = read(bytes);
  REQUIRE(seen.commands.size() == 2);
  CHECK(seen.commands[0] == AofSeen::Command{3, {"SET", "a", "1"}, 23, false, false});
  CHECK(seen.commands[1] ==
        AofSeen::Command{12, {"set", "b\r\n*1", ""}, bytes.size() - second.size(), false, false});
  CHECK(seen.end.kind == Kind::clean);
  CHECK(seen.end.valid_bytes == bytes.size());
  CHECK(seen.end.message("x") == "");
  CHECK(read("").end.kind == Kind::clean);
}

TEST_CASE("a block is handed out once its EXEC is there") {
  const std::string block =
      kMulti + kSetLine + line({"SELECT", "5"}) + line({"DEL", "k"}) + line({"exec"});
  const std::string bytes = kSelect0 + block + kSetLine;
  const AofSeen seen = read(bytes);
  REQUIRE(seen.commands.size() == 3);
  CHECK(seen.commands[0].in_block);
  CHECK(!seen.commands[0].last_of_block);
  CHECK(seen.commands[1].database == 5);
  CHECK(seen.commands[1].last_of_block);
  CHECK(seen.commands[2].database == 5);
  CHECK(!seen.commands[2].in_block);
  CHECK(seen.end.kind == Kind::clean);

  for (size_t cut = kSelect0.size() + kMulti.size(); cut < kSelect0.size() + block.size(); ++cut) {
    const AofSeen torn = read(base::Bytes(bytes).substr(0, cut));
    CHECK(torn.commands.empty());
    CHECK(torn.end.kind == Kind::torn);
    CHECK(torn.end.open_block);
    CHECK(torn.end.valid_bytes == kSelect0.size());
  }
  CHECK(read(kMulti + kExec).end.kind == Kind::clean);
}

TEST_CASE("every prefix of a file is clean at a boundary and torn elsewhere") {
  const std::string bytes = kSelect0 + kSetLine + "#TS:1700000000\r\n" + kSetLine + kMulti +
                            kSetLine + kSetLine + kExec + kSetLine;
  const AofSeen whole = read(bytes);
  REQUIRE(whole.end.kind == Kind::clean);
  std::vector<size_t> boundaries = {0};
  for (const std::string& part : {kSelect0, kSetLine, std::string("#TS:1700000000\r\n"), kSetLine,
                                  kMulti + kSetLine + kSetLine + kExec, kSetLine}) {
    boundaries.push_back(boundaries.back() + part.size());
  }
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const AofSeen seen = read(base::Bytes(bytes).substr(0, cut));
    const bool at_boundary =
        std::find(boundaries.begin(), boundaries.end(), cut) != boundaries.end();
    CHECK(seen.end.kind == (at_boundary ? Kind::clean : Kind::torn));
    CHECK(seen.end.valid_bytes <= cut);
    CHECK(seen.end.offset == cut);
    // What is left after the cut is clean and has the same commands.
    const AofSeen again = read(base::Bytes(bytes).substr(0, seen.end.valid_bytes));
    CHECK(again.end.kind == Kind::clean);
    CHECK(again.commands == seen.commands);
  }
}

TEST_CASE("damage is told from a torn tail") {
  auto damaged_at = [](const std::string& bytes) -> int64_t {
    const AofSeen seen = read(bytes);
    CHECK(seen.commands.size() == 1);
    CHECK(seen.end.valid_bytes == kSetLine.size());
    if (seen.end.kind != Kind::damaged) return -1;
    CHECK(!seen.end.reason.empty());
    return static_cast<int64_t>(seen.end.offset - kSetLine.size());
  };
  CHECK(damaged_at(kSetLine + "x") == 0);
  CHECK(damaged_at(kSetLine + std::string(4, '\0')) == 0);
  CHECK(damaged_at(kSetLine + "\r\n") == 0);
  CHECK(damaged_at(kSetLine + "*0\r\n") >= 0);
  CHECK(damaged_at(kSetLine + "*x\r\n") == 1);
  CHECK(damaged_at(kSetLine + "*\r\n") == 1);
  CHECK(damaged_at(kSetLine + "*03\r\n") == 2);
  CHECK(damaged_at(kSetLine + "*-1\r\n") == 1);
  CHECK(damaged_at(kSetLine + "*1\n$3") == 2);
  CHECK(damaged_at(kSetLine + "*99999999999") > 0);
  CHECK(damaged_at(kSetLine + "*1\r\n*1\r\n") == 4);
  CHECK(damaged_at(kSetLine + "*1\r\n$9999999999999\r\n") > 4);
  CHECK(damaged_at(kSetLine + "*1\r\n$3\r\nSETxx") == 11);
  CHECK(damaged_at(kSetLine + "*1\r\n$3\r\nSET\rx") == 11);
  CHECK(damaged_at(kSetLine + kExec) == 0);
  CHECK(damaged_at(kSetLine + line({"SELECT", "x"})) == 0);
  CHECK(damaged_at(kSetLine + line({"SELECT"})) == 0);
  CHECK(damaged_at(kSetLine + "#" + std::string(3000, 'x')) == 0);
  CHECK(read(kSetLine + kMulti + kSetLine + kMulti).end.kind == Kind::damaged);
  CHECK(damaged_at(kSetLine + "*1") == -1);
  CHECK(damaged_at(kSetLine + "#TS:1") == -1);
  CHECK(damaged_at(kSetLine + "*1\r\n$3\r\nSET\r") == -1);
}

TEST_CASE("a flipped length does not pass for a torn tail") {
  const std::string rest =
      kSetLine + kMulti + kSetLine + kSetLine + kExec + line({"SET", "b", "2"});
  for (const char* length : {"71", "4294967", "46"}) {
    const std::string bytes =
        kSetLine + "*3\r\n$3\r\nSET\r\n$" + length + "\r\na\r\n$1\r\n1\r\n" + rest;
    const AofSeen seen = read(bytes);
    CHECK(seen.end.kind == Kind::damaged);
    CHECK(seen.end.valid_bytes == kSetLine.size());
    CHECK(seen.end.message("f").starts_with("Bad file format reading the append only file f: "));
  }
  // The same behind a tail that is torn as well.
  const std::string torn =
      kSetLine + "*3\r\n$3\r\nSET\r\n$900\r\na\r\n$1\r\n1\r\n" + rest + "*2\r\n$3";
  CHECK(read(torn).end.kind == Kind::damaged);
  // A value that holds line ends and stars, but no commands up to the end.
  const std::string text =
      "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$900\r\nline\r\n*1\r\n$1\r\nx\r\n* item\r\n*";
  CHECK(read(kSetLine + text).end.kind == Kind::torn);
}

// A bit that flips anywhere in the structure is noticed, or costs at most the last commit, whose
// end nothing proves. Inside an argument it changes the argument.
TEST_CASE("every flipped bit of a file") {
  AofReaderOptions options;
  options.known = [](base::Args args) { return args[0] == "SET"; };
  const std::string block = kMulti + kSetLine + kSetLine + kExec;
  const std::string bytes =
      kSelect0 + kSetLine + block + line({"SET", "key", "0123456789"}) + block;
  const AofSeen whole = read_aof(bytes, SIZE_MAX / 2, options);
  REQUIRE(whole.commands.size() == 6);
  int damaged = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string spoiled = bytes;
    spoiled[bit / 8] ^= static_cast<char>(1 << bit % 8);
    const AofSeen seen = read_aof(spoiled, SIZE_MAX / 2, options);
    damaged += seen.end.kind == Kind::damaged;
    if (seen.end.kind == Kind::damaged) continue;
    CAPTURE(bit);
    CHECK(seen.commands.size() >= 4);
    CHECK(seen.end.valid_bytes >= bytes.size() - block.size());
    if (seen.end.kind == Kind::clean) CHECK(seen.commands.size() == 6);
  }
  CHECK(damaged > static_cast<int>(bytes.size()) * 6);
}

TEST_CASE("unknown commands are damage, in blocks too") {
  AofReaderOptions options;
  options.known = [](base::Args args) { return args[0] == "SET"; };
  const AofSeen seen = read_aof(kSetLine + line({"bla", "x"}) + kSetLine, 3, options);
  CHECK(seen.commands.size() == 1);
  CHECK(seen.end.kind == Kind::damaged);
  CHECK(seen.end.offset == kSetLine.size());
  CHECK(seen.end.message("i") == "Unknown command 'bla' reading the append only file i");
  const AofSeen block =
      read_aof(kSetLine + kMulti + kSetLine + line({"EXEB"}) + kSetLine, 3, options);
  CHECK(block.commands.size() == 1);
  CHECK(block.end.unknown_command == "EXEB");
}

TEST_CASE("offsets count from where the reader was put") {
  AofReaderOptions options;
  options.base_offset = 1000;
  const std::string bytes = kSetLine + "#TS:77\r\n" + kSetLine + "*1\r";
  const AofSeen seen = read_aof(bytes, 5, options);
  CHECK(seen.commands[1].offset == 1000 + kSetLine.size() + 8);
  CHECK(seen.end.valid_bytes == 1000 + bytes.size() - 3);
  CHECK(seen.timestamp == 77);
  CHECK(seen.timestamp_offset == 1000 + kSetLine.size());
  CHECK(seen.end.message("f") ==
        "Unexpected end of file reading the append only file f. You can: 1) Make a backup of your "
        "AOF file, then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively you can "
        "set the 'aof-load-truncated' configuration option to yes and restart the server.");
}

TEST_CASE("what comes next is looked at ahead, and still read") {
  AofReader reader;
  const auto seen = [&](size_t commands) {
    std::string all;
    reader.look_ahead(commands, [&](base::Args words) {
      for (base::Bytes word : words) all.append(word).append(" ");
      all += "| ";
    });
    return all;
  };
  const std::string torn = line({"SET", "b", "22"});
  CHECK(seen(5).empty());
  reader.feed(kSelect0 + kSetLine + line({"MSET", "a", "1", "b", "2"}) + torn.substr(0, 20));
  CHECK(seen(5) == "SELECT 0 | SET a 1 | MSET a 1 | ");
  CHECK(seen(2) == "SELECT 0 | SET a 1 | ");
  AofCommand command;
  REQUIRE(reader.next(command) == AofReader::Step::command);
  CHECK(command.args[0] == "SET");
  CHECK(seen(5) == "MSET a 1 | ");
  REQUIRE(reader.next(command) == AofReader::Step::command);
  CHECK(command.args.size() == 5);
  CHECK(reader.next(command) == AofReader::Step::starved);
  CHECK(seen(5).empty());  // in the middle of a command
  reader.feed(torn.substr(20) + kSetLine + "damage");
  REQUIRE(reader.next(command) == AofReader::Step::command);
  CHECK(command.args[2] == "22");
  CHECK(seen(5) == "SET a 1 | ");
  REQUIRE(reader.next(command) == AofReader::Step::command);
  CHECK(reader.next(command) == AofReader::Step::damaged);
}

TEST_CASE("large arguments and many of them, in pieces") {
  std::string bytes;
  std::vector<std::string> args = {"RPUSH", std::string(3'000'000, 'v')};
  for (int i = 0; i < 20'000; ++i) args.push_back(std::to_string(i));
  std::vector<base::Bytes> views(args.begin(), args.end());
  AofEncoder::append_command(views, bytes);
  bytes += kSetLine;
  const AofSeen seen = read_aof(bytes, 100'000);
  REQUIRE(seen.commands.size() == 2);
  CHECK(seen.commands[0].args == args);
  CHECK(seen.end.kind == Kind::clean);
}

}  // namespace
}  // namespace quoll::persist
