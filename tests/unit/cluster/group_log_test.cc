#include "cluster/group_log.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "host/xoshiro.h"

namespace quoll::cluster {
namespace {

// GroupLog beside a plain list of the same entries.
class Pair {
 public:
  explicit Pair(uint64_t seed) : random_(seed) {}

  uint64_t below(uint64_t bound) { return random_.draw() % bound; }

  void restart(Position base) {
    log.restart(base);
    base_ = base;
    plain_.clear();
  }
  void append(bool new_epoch, size_t bytes) {
    const Position at{last().epoch + new_epoch, last().index + 1};
    std::string text(bytes, static_cast<char>('a' + at.index % 26));
    log.append({at, static_cast<base::Millis>(at.index), 0, EntryKind::noop},
               [&](const EntryHeader&, std::string& out) { out += text; });
    plain_.push_back({at, text});
  }
  void truncate(Index index) {
    log.truncate(index);
    plain_.resize(index - base_.index);
  }
  void trim(size_t keep, Index needed_after) {
    const Position before = base_;
    log.trim(keep, needed_after);
    while (base_.index < log.base().index) {
      base_ = plain_.front().at;
      plain_.erase(plain_.begin());
    }
    CHECK(base_.index <= std::max(before.index, needed_after));
  }
  Position base() const { return base_; }
  Position last() const { return plain_.empty() ? base_ : plain_.back().at; }

  void compare() {
    REQUIRE(log.base() == base_);
    REQUIRE(log.last() == last());
    size_t bytes = 0;
    for (const Item& item : plain_) bytes += item.text.size();
    REQUIRE(log.bytes() == bytes);
    const Index some = base_.index + below(plain_.size() + 1);
    compare_at(some);
    compare_slices(some, 1 + below(3 * kLogPieceBytes));
  }

  GroupLog log;

 private:
  struct Item {
    Position at;
    std::string text;
  };

  void compare_at(Index index) {
    size_t behind = 0;
    for (const Item& item : plain_)
      if (item.at.index > index) behind += item.text.size();
    REQUIRE(log.bytes_behind(index) == behind);
    REQUIRE(log.epoch_at(index) == (index == base_.index ? base_.epoch : item(index).at.epoch));
    REQUIRE_FALSE(log.epoch_at(last().index + 1));
    if (base_.index > 0) REQUIRE_FALSE(log.epoch_at(base_.index - 1));
    if (index == base_.index) return;
    Index first = index;
    while (first - 1 > base_.index && item(first - 1).at.epoch == item(index).at.epoch) --first;
    REQUIRE(log.first_of_epoch(index) == first);
  }

  // Slice behind slice gives everything; each has one entry at least, and no more bytes than asked
  // for unless it is that one.
  void compare_slices(Index after, size_t bytes_max) {
    while (after < last().index) {
      Index upto = 0;
      const base::Bytes bytes = log.slice(after, bytes_max, upto);
      REQUIRE(upto > after);
      std::string expected;
      for (Index index = after + 1; index <= upto; ++index) expected += item(index).text;
      REQUIRE(bytes == expected);
      REQUIRE((upto == after + 1 || bytes.size() <= bytes_max));
      after = upto;
    }
    Index upto = 0;
    REQUIRE(log.slice(after, bytes_max, upto).empty());
    REQUIRE(upto == after);
  }
  const Item& item(Index index) const { return plain_[index - base_.index - 1]; }

  host::Xoshiro random_;
  Position base_;
  std::vector<Item> plain_;
};

}  // namespace

TEST_CASE("group log: holds what a plain list holds, whatever is done to it") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Pair pair(seed);
    for (int step = 0; step < 400; ++step) {
      const Index base = pair.base().index, held = pair.last().index - base;
      const uint64_t what = pair.below(100);
      if (what < 85)
        pair.append(pair.below(30) == 0, 40 + pair.below(what < 5 ? 100'000 : 3000));
      else if (what < 92)
        pair.truncate(base + held - pair.below(std::min<uint64_t>(held, 20) + 1));
      else if (what < 99)
        pair.trim(pair.below(300'000), base + pair.below(held + 1));
      else if (pair.below(4) == 0)
        pair.restart({pair.last().epoch + pair.below(2), pair.last().index + pair.below(1000)});
      pair.compare();
    }
  }
}

TEST_CASE("group log: times never go back") {
  GroupLog log;
  CHECK(log.last_time() == 0);
  log.append({{1, 1}, 77, 0, EntryKind::noop}, [](const EntryHeader&, std::string&) {});
  CHECK(log.last_time() == 77);
  log.truncate(0);
  CHECK(log.last() == Position{});
  CHECK(log.last_time() == 77);
}

TEST_CASE("group log: entries that were appended without checksum have it when they are read") {
  GroupLog log;
  const auto append = [&](bool sealed) {
    const base::Bytes words[] = {"SET", "key", "value"};
    const store::Effect effect{0, words, store::kToAll};
    const EntryHeader header{{1, log.last().index + 1}, 0, 0, EntryKind::effects};
    if (sealed)
      log.append(header,
                 [](const EntryHeader& at, std::string& out) { encode_entry(at, "", out); });
    else
      log.append_unsealed(header, [&](const EntryHeader& at, std::string& out) {
        encode_effects(at, {&effect, 1}, out);
      });
  };
  const auto read_all = [&] {
    Index upto = log.base().index;
    while (upto < log.last().index) {
      base::Bytes bytes = log.slice(upto, SIZE_MAX, upto);
      for (Entry entry; !bytes.empty(); bytes.remove_prefix(entry.bytes))
        REQUIRE(decode_entry(bytes, entry) == EntryFault::none);
    }
  };
  for (int i = 0; i < 2000; ++i) append(i % 7 == 0);  // several pieces
  read_all();
  append(false);
  append(true);
  append(false);
  read_all();
  append(false);
  append(false);
  log.truncate(log.last().index - 1);
  append(true);
  append(false);
  read_all();
  log.truncate(100);
  append(false);
  read_all();
}

}  // namespace quoll::cluster
