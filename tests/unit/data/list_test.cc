// Lists against std::deque: random changes at sizes around the conversions, in every kind of limit.
#include "data/list.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <string>

#include "base/memory.h"
#include "tests/unit/data/packed_text.h"

namespace quoll::data {
namespace {

using ListModel = std::deque<std::string>;

template <class Visit>
void visit_all(const ListpackView& pack, Visit&& visit) {
  for (auto at = pack.first(); at != Listpack::kNone; at = pack.next(at)) visit(pack.item(at));
}

void require_equal(const List& list, const ListModel& model) {
  REQUIRE(list.size() == model.size());
  size_t i = 0;
  list.for_each([&](const PackedItem& item) { REQUIRE(text_of(item) == model[i++]); });
  REQUIRE(i == model.size());
  if (!list.big()) return;
  uint64_t sum = 0;
  const size_t nodes = list.quicklist().nodes().size();
  const uint64_t open = list.quicklist().open_nodes();
  std::string scratch;
  for (size_t n = 0; n < nodes; ++n) {
    const ListNode& node = list.quicklist().nodes()[n];
    if (open == 0 || n < open || n + open >= nodes) REQUIRE(!node.compressed());
    REQUIRE(node.count > 0);
    if (node.plain()) {
      REQUIRE(node.count == 1);
    } else {
      REQUIRE(ListpackView::validate(node.view(scratch).bytes()));
      REQUIRE(node.view(scratch).count() == node.count);
      REQUIRE(node.view(scratch).size_bytes() == node.bytes());
      // What is as easy as this is compressed wherever it lies inside.
      bool easy = node.count > 0 && node.bytes() > 200;
      visit_all(node.view(scratch), [&](const PackedItem& item) {
        easy &= item.bytes.size() > 150 && item.bytes.find_first_not_of('m') == base::Bytes::npos;
      });
      if (easy && open > 0 && n >= open && n + open < nodes) REQUIRE(node.compressed());
    }
    sum += node.count;
  }
  REQUIRE(sum == list.size());
}

// A command's worth of pushes.
void push(List& list, ListEnd end, const std::string& text, const Packing& packing) {
  base::Bytes view = text;
  list.expect({&view, 1}, packing);
  list.push(end, text, packing);
}

class ListPlayer {
 public:
  ListPlayer(uint64_t seed, int64_t limit, uint64_t open_nodes) : random_(seed) {
    packing_.list_node = limit;
    packing_.list_open_nodes = open_nodes;
  }

  void step() {
    switch (below(12)) {
      case 0:
      case 1:
        return grow(ListEnd::head);
      case 2:
      case 3:
        return grow(ListEnd::tail);
      case 4:
        return shrink(ListEnd::head);
      case 5:
        return shrink(ListEnd::tail);
      case 6:
        return replace();
      case 7:
      case 8:
        return insert();
      case 9:
        return remove();
      case 10:
        return below(8) == 0 ? trim() : look();
      default:
        return below(20) == 0 ? copy() : look();
    }
  }
  void finish() {
    require_equal(list_, model_);
    while (!model_.empty()) shrink(below(2) ? ListEnd::head : ListEnd::tail);
    REQUIRE(list_.size() == 0);
  }
  void check() { require_equal(list_, model_); }

 private:
  size_t below(size_t bound) { return random_() % bound; }

  std::string any_text() {
    switch (below(10)) {
      case 0:
        return std::to_string(static_cast<int64_t>(random_()));
      case 1:
        return std::to_string(below(300));
      case 2:
        return "";
      case 3:
        return std::string(below(5000), 'm');
      case 4:
        return below(6) ? "few" : std::string(4000 + below(70000), 'L');
      default:
        return std::string(1 + below(60), static_cast<char>('a' + below(4)));
    }
  }
  void grow(ListEnd end) {
    for (size_t n = below(4) + 1; n > 0; --n) {
      std::string text = any_text();
      push(list_, end, text, packing_);
      end == ListEnd::head ? model_.push_front(text) : model_.push_back(text);
    }
  }
  void shrink(ListEnd end) {
    if (model_.empty()) return;
    bool head = end == ListEnd::head;
    REQUIRE(text_of(list_.at_end(end)) == (head ? model_.front() : model_.back()));
    list_.pop(end);
    list_.settle(packing_);
    head ? model_.pop_front() : model_.pop_back();
  }
  void replace() {
    if (model_.empty()) return;
    size_t i = below(model_.size());
    std::string text = any_text();
    base::Bytes view = text;
    list_.expect({&view, 1}, packing_);
    list_.replace(i, text, packing_);
    list_.settle(packing_);
    model_[i] = text;
    check();
  }
  void insert() {
    std::string pivot = model_.empty() || below(10) == 0 ? "absent" : model_[below(model_.size())];
    bool after = below(2);
    std::string text = any_text();
    base::Bytes view = text;
    list_.expect({&view, 1}, packing_);
    auto at = std::find(model_.begin(), model_.end(), pivot);
    REQUIRE(list_.insert(SoughtItem(pivot), after, text, packing_) == (at != model_.end()));
    if (at != model_.end()) model_.insert(after ? at + 1 : at, text);
    check();
  }
  void remove() {
    if (model_.empty() || below(3)) return;
    std::string text = model_[below(model_.size())];
    bool head = below(2);
    uint64_t most = below(3) ? below(3) + 1 : UINT64_MAX;
    uint64_t removed = 0;
    for (uint64_t i = 0; i < model_.size() && removed < most;) {
      uint64_t at = head ? i : model_.size() - 1 - i;
      if (model_[at] != text) {
        ++i;
        continue;
      }
      model_.erase(model_.begin() + static_cast<long>(at));
      ++removed;
    }
    REQUIRE(list_.remove(SoughtItem(text), most, head ? ListEnd::head : ListEnd::tail, packing_) ==
            removed);
    list_.settle(packing_);
    check();
  }
  void trim() {
    if (model_.empty()) return;
    size_t from = below(model_.size());
    size_t count = below(model_.size() - from + 1);
    list_.erase_range(from, count);
    list_.settle(packing_);
    auto begin = model_.begin() + static_cast<long>(from);
    model_.erase(begin, begin + static_cast<long>(count));
    check();
  }
  void look() {
    if (model_.empty()) return;
    size_t from = below(model_.size());
    std::string scratch;
    REQUIRE(text_of(list_.at(from, scratch)) == model_[from]);
    bool backwards = below(2);
    size_t count = below((backwards ? from + 1 : model_.size() - from) + 1);
    size_t seen = 0;
    list_.visit(from, count, backwards, [&](const PackedItem& item) {
      REQUIRE(text_of(item) == model_[backwards ? from - seen : from + seen]);
      ++seen;
      return true;
    });
    REQUIRE(seen == count);
  }
  void copy() {
    List other = list_.copy();
    require_equal(other, model_);
    REQUIRE(other.encoding_name() == list_.encoding_name());
    std::swap(other, list_);
  }

  std::mt19937_64 random_;
  Packing packing_;
  List list_;
  ListModel model_;
};

}  // namespace

TEST_CASE("list: behaves like a deque under every node limit") {
  size_t before = base::memory_used();
  for (int64_t limit : {-2, -1, -5, 1, 3, 128, 0}) {
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      ListPlayer player(seed, limit, 0);
      for (int i = 0; i < 800; ++i) player.step();
      player.finish();
    }
  }
  for (uint64_t open_nodes : {1, 2, 5}) {
    for (int64_t limit : {-1, 2, 20}) {
      for (uint64_t seed = 1; seed <= 2; ++seed) {
        ListPlayer player(100 * open_nodes + seed, limit, open_nodes);
        for (int i = 0; i < 800; ++i) player.step();
        player.finish();
      }
    }
  }
  CHECK(base::memory_used() == before);
}

TEST_CASE("list: the form changes where Redis 7.4 changes it") {
  Packing packing;
  List list;
  CHECK(list.encoding_name() == "listpack");
  // 7 bytes of header and end, 101 bytes per element: 81 make 8,188 bytes.
  for (int i = 0; i < 81; ++i) push(list, ListEnd::tail, std::string(98, 'x'), packing);
  CHECK(list.encoding_name() == "listpack");
  push(list, ListEnd::tail, std::string(98, 'x'), packing);
  CHECK(list.encoding_name() == "quicklist");
  CHECK(list.quicklist().nodes().size() == 2);
  // Back only when one node is left and at most half full.
  list.pop(ListEnd::tail);
  list.settle(packing);
  CHECK(list.encoding_name() == "quicklist");
  while (list.size() > 41) list.pop(ListEnd::tail);
  list.settle(packing);
  CHECK(list.encoding_name() == "quicklist");
  list.pop(ListEnd::tail);
  list.settle(packing);
  CHECK(list.encoding_name() == "listpack");

  Packing four;
  four.list_node = 4;
  List counted;
  for (int i = 0; i < 4; ++i) push(counted, ListEnd::head, "e", four);
  CHECK(counted.encoding_name() == "listpack");
  push(counted, ListEnd::head, "e", four);
  CHECK(counted.encoding_name() == "quicklist");
  for (int i = 0; i < 3; ++i) counted.pop(ListEnd::tail);
  counted.settle(four);
  CHECK(counted.encoding_name() == "quicklist");
  counted.pop(ListEnd::tail);
  counted.settle(four);
  CHECK(counted.encoding_name() == "listpack");
}

TEST_CASE("list: a large element is taken over, not copied") {
  Packing packing;
  base::Blob blob = base::Blob::copy_of(std::string(100'000, 'b'));
  const char* place = blob.data();
  base::Bytes text = blob.view();
  List list;
  list.expect({&text, 1}, packing);
  list.push(ListEnd::tail, text, packing, &blob);
  CHECK(!blob);
  std::string scratch;
  CHECK(list.at(0, scratch).bytes.data() == place);
  CHECK(list.encoding_name() == "quicklist");
}

TEST_CASE("list: nodes between the ends take less memory") {
  Packing packing;
  packing.list_open_nodes = 1;
  List list, other;
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = "event " + std::to_string(i) + " of a log that says the same all day";
    push(list, ListEnd::tail, text, packing);
    push(other, ListEnd::tail, text, Packing());
  }
  CHECK(list.footprint(0) * 3 < other.footprint(0));
  // An element in the middle, and everything again once the ends have come near.
  std::string scratch;
  CHECK(text_of(list.at(9999, scratch)).starts_with("event 9999 "));
  while (list.size() > 50) list.pop(list.size() % 2 ? ListEnd::head : ListEnd::tail);
  const ListNodes& nodes = list.quicklist().nodes();
  for (size_t i = 0; i < nodes.size(); ++i) CHECK(!nodes[i].compressed());
}

TEST_CASE("list: a big list is freed in steps") {
  size_t before = base::memory_used();
  Packing packing;
  List list;
  for (int i = 0; i < 20'000; ++i) push(list, ListEnd::tail, std::string(500, 'x'), packing);
  CHECK(list.large());
  int steps = 1;
  while (list.drain(500)) ++steps;
  CHECK(steps > 3);
  CHECK(base::memory_used() == before);
}

TEST_CASE("list: removing leaves no crumbs of nodes") {
  Packing packing;
  List list;
  for (int i = 0; i < 50'000; ++i)
    push(list, ListEnd::tail, i % 50 ? "gone" : "kept" + std::to_string(i), packing);
  size_t nodes = list.quicklist().nodes().size();
  CHECK(list.remove(SoughtItem("gone"), UINT64_MAX, ListEnd::tail, packing) == 49'000);
  CHECK(list.size() == 1000);
  CHECK(list.quicklist().nodes().size() <= nodes / 10);
}

}  // namespace quoll::data
