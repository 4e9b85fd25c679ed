#include "cluster/absolute_ttl.h"

#include <doctest/doctest.h>

namespace quoll::cluster {
namespace {

// The line that is run, in one string; "" when it stays.
std::string absolute(std::vector<base::Bytes> line) {
  std::vector<std::string> words;
  if (!absolute_ttl(line, 1000, words)) return "";
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

TEST_CASE("absolute ttl: times that are left become instants") {
  CHECK(absolute({"SETEX", "k", "2", "v"}) == "SET k v PXAT 3000");
  CHECK(absolute({"psetex", "k", "2", "v"}) == "SET k v PXAT 1002");
  CHECK(absolute({"set", "k", "ex", "px", "7", "nx"}) == "set k ex PXAT 1007 nx");
  CHECK(absolute({"SET", "k", "v", "NX", "EX", "7"}) == "SET k v NX PXAT 8000");
  CHECK(absolute({"GETEX", "k", "EX", "1"}) == "GETEX k PXAT 2000");
  CHECK(absolute({"EXPIRE", "k", "-1", "GT"}) == "PEXPIREAT k 0 GT");
  CHECK(absolute({"PEXPIRE", "k", "5"}) == "PEXPIREAT k 1005");
  CHECK(absolute({"RESTORE", "k", "5", "p", "REPLACE"}) == "RESTORE k 1005 p REPLACE ABSTTL");
}

TEST_CASE("absolute ttl: everything else stays") {
  CHECK(absolute({"SET", "k", "v"}) == "");
  CHECK(absolute({"SET", "k", "v", "PXAT", "7"}) == "");
  CHECK(absolute({"SET", "ex", "ex"}) == "");
  CHECK(absolute({"PEXPIREAT", "k", "5"}) == "");
  CHECK(absolute({"RESTORE", "k", "0", "p"}) == "");
  CHECK(absolute({"RESTORE", "k", "9", "p", "ABSTTL"}) == "");
  CHECK(absolute({"EXPIRE", "k", "9223372036854775807"}) == "");
  CHECK(absolute({"EXPIRE", "k", "x"}) == "");
  CHECK(absolute({"SETEX", "k", "1"}) == "");
}

}  // namespace quoll::cluster
