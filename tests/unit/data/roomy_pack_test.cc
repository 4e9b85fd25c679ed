// RoomyPack against std::deque, and that it costs no memory beyond a Listpack's.
#include "data/roomy_pack.h"

#include <doctest/doctest.h>

#include <deque>
#include <random>
#include <string>

#include "base/memory.h"
#include "base/numbers.h"

namespace quoll::data {
namespace {

void require_same(const RoomyPack& pack, const std::deque<std::string>& model) {
  REQUIRE(ListpackView::validate(pack.bytes()));
  const ListpackView view(pack.bytes());
  REQUIRE(view.count() == model.size());
  size_t i = 0;
  for (auto at = view.first(); at != ListpackView::kNone; at = view.next(at))
    REQUIRE(view.equals(at, model[i++]));
}

RoomyPack pack_of(base::Bytes text) {
  Listpack pack;
  CHECK(pack.append(text));
  return {pack.detach(), 0};
}

TEST_CASE("roomy pack: behaves like a deque at its ends") {
  std::mt19937_64 random(21);
  for (int round = 0; round < 20; ++round) {
    RoomyPack pack = pack_of("first");
    std::deque<std::string> model = {"first"};
    const unsigned growth = 3 + round % 4;  // of ten steps
    for (int step = 0; step < 1500; ++step) {
      const size_t size = size_t{1} << random() % 9;
      const unsigned choice = random() % 10;
      const std::string text =
          random() % 3 ? std::string(size, 'x') : std::to_string(random() % size);
      const size_t others = base::memory_used() - pack.footprint();
      if (choice < growth || model.size() < 2) {
        pack.prepend(text);
      } else if (choice == 9) {
        pack.close();
        REQUIRE(pack.room == 0);
      } else if (choice % 2) {
        pack.drop_first();
      } else {
        pack.drop_last();
      }
      REQUIRE(base::memory_used() - pack.footprint() == others);
      if (choice < growth || model.size() < 2) {
        model.push_front(text);
      } else if (choice != 9) {
        choice % 2 ? model.pop_front() : model.pop_back();
      }
      require_same(pack, model);
    }
    // As a Listpack again.
    pack.close();
    Listpack plain = Listpack::adopt(pack.block);
    CHECK(plain.footprint() == pack.footprint());
  }
}

TEST_CASE("roomy pack: what comes in front hardly ever moves what is there") {
  RoomyPack pack = pack_of("last");
  size_t moves = 0;
  const char* end = nullptr;
  for (int i = 0; i < 1000; ++i) {
    pack.prepend("element");
    const char* now = pack.bytes().data() + pack.bytes().size();
    moves += now != end;
    end = now;
  }
  CHECK(moves < 150);  // of a thousand
  Listpack same;
  for (int i = 0; i < 1000; ++i) CHECK(same.append("element"));
  CHECK(same.append("last"));
  CHECK(pack.footprint() == same.footprint());
  pack.destroy();
}

TEST_CASE("roomy pack: a count too large for the header stays unknown") {
  RoomyPack pack = pack_of("1");
  for (size_t i = 1; i < kListpackCountUnknown + size_t{5}; ++i) pack.prepend("1");
  CHECK(ListpackView(pack.bytes()).count() == kListpackCountUnknown + size_t{5});
  for (size_t i = 0; i < 10; ++i) pack.drop_first();
  CHECK(ListpackView(pack.bytes()).count() == kListpackCountUnknown - size_t{5});
  pack.destroy();
}

}  // namespace
}  // namespace quoll::data
