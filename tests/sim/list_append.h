// Strict serializability of transactions that append to lists and read them (after Kingsbury and
// Alvaro's Elle): since every appended value is different, a list that was read tells in which
// order its appends took effect, and from that follows which transaction came before which:
//
//   ww  a appended what stands just before what b appended
//   wr  b read a list that ends with what a appended
//   rw  a read a list that does not yet have what b appended next
//   rt  a had returned before b was invoked
//
// A cycle of these is a proof: no order of the transactions explains what was seen. Beside that, by
// name: a value nobody appended, or one of a transaction that failed; a value twice; two reads of
// which neither begins the other (two leaders); a transaction whose appends are not all together,
// or of which only a part is seen; an append that was acknowledged and is missing in a later read.
//
// A transaction of unknown outcome counts once something it appended was read.
// Cost: O(n log n) for n transactions and what they read; a list of 1'000 read 1'000 times is a
// million comparisons. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/history.h"

namespace quoll::sim {

struct ListStep {
  std::string key;
  std::string appended;           // "": it reads
  std::vector<std::string> read;  // the whole list, if the outcome is known
  bool appends() const { return !appended.empty(); }
};

struct Transaction {
  int client = 0;
  Interval interval;
  std::vector<ListStep> steps;
  bool failed = false;  // it was refused: nothing of it may ever be seen
};

std::string describe(const Transaction& transaction);

// Nothing: they are strictly serializable. Else what is wrong, with the transactions in question.
std::optional<std::string> check_list_append(std::span<const Transaction> history);

}  // namespace quoll::sim
