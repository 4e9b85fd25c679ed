#include "commands/lcs_table_core.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "host/xoshiro.h"

using quoll::base::Bytes;
using quoll::commands::LcsTable;

namespace {

struct Run {
  size_t a;
  size_t b;
  size_t length;
  bool operator==(const Run&) const = default;
};

// The classic table, and Redis's way back through it.
std::vector<Run> plain_runs(const std::string& a, const std::string& b, size_t& length) {
  size_t width = b.size() + 1;
  std::vector<uint32_t> table((a.size() + 1) * width);
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      uint32_t up = table[(i - 1) * width + j];
      uint32_t left = table[i * width + j - 1];
      table[i * width + j] =
          a[i - 1] == b[j - 1] ? table[(i - 1) * width + j - 1] + 1 : std::max(up, left);
    }
  }
  length = table[a.size() * width + b.size()];
  std::vector<Run> runs;
  bool joined = false;
  for (size_t i = a.size(), j = b.size(); i > 0 && j > 0;) {
    if (a[i - 1] == b[j - 1]) {
      --i;
      --j;
      if (joined) {
        runs.back() = {i, j, runs.back().length + 1};
      } else {
        runs.push_back({i, j, 1});
      }
      joined = true;
    } else {
      joined = false;
      if (table[(i - 1) * width + j] > table[i * width + j - 1]) {
        --i;
      } else {
        --j;
      }
    }
  }
  return runs;
}

std::vector<Run> runs_of(const LcsTable& table) {
  std::vector<Run> runs;
  table.walk([&](size_t a, size_t b, size_t length) { runs.push_back({a, b, length}); });
  return runs;
}

}  // namespace

TEST_CASE("the documented example") {
  LcsTable table("ohmytext", "mynewtext", LcsTable::Keep::all_rows);
  CHECK(table.length() == 6);
  CHECK(runs_of(table) == std::vector<Run>{{4, 5, 4}, {2, 0, 2}});
}

TEST_CASE("empty and disjoint strings have nothing in common") {
  for (auto [a, b] : {std::pair<Bytes, Bytes>{"", ""}, {"abc", ""}, {"", "abc"}, {"aaa", "bbb"}}) {
    LcsTable table(a, b, LcsTable::Keep::all_rows);
    CHECK(table.length() == 0);
    CHECK(runs_of(table).empty());
  }
}

TEST_CASE("random strings give the runs of the classic table") {
  quoll::host::Xoshiro random(7);
  for (int round = 0; round < 400; ++round) {
    unsigned letters = 1 + random.draw() % 6;
    auto draw = [&](size_t longest) {
      std::string text(random.draw() % (longest + 1), '\0');
      for (char& c : text) c = static_cast<char>(200 + random.draw() % letters);
      return text;
    };
    // Around the word size of 64 columns and far beyond it.
    std::string a = draw(round % 2 ? 90 : 20);
    std::string b = draw(round % 3 ? 70 : 300);
    size_t length;
    std::vector<Run> expected = plain_runs(a, b, length);
    LcsTable table(a, b, LcsTable::Keep::all_rows);
    CHECK(table.length() == length);
    CHECK(runs_of(table) == expected);
    CHECK(LcsTable(a, b, LcsTable::Keep::last_row).length() == length);
  }
}
