#include "data/collection.h"

#include "base/check.h"
#include "data/hash.h"
#include "data/list.h"
#include "data/relocation.h"
#include "data/set.h"
#include "data/stream.h"
#include "data/zset.h"

namespace quoll::data {
namespace {

// Calls `use` with the value as its own type; the word is written back afterwards.
template <class Use>
auto with(Type type, uintptr_t& word, Use&& use) {
  auto as = [&]<class T>(T value) {
    struct Back {
      T& value;
      uintptr_t& word;
      ~Back() { word = value.detach(); }
    } back{value, word};
    return use(value);
  };
  switch (type) {
    case Type::list:
      return as(List::adopt(word));
    case Type::set:
      return as(Set::adopt(word));
    case Type::zset:
      return as(ZSet::adopt(word));
    case Type::hash:
      return as(Hash::adopt(word));
    case Type::stream:
      return as(Stream::adopt(word));
    case Type::string:
      break;
  }
  QUOLL_CHECK(false);
}

template <class Use>
auto with(Type type, const uintptr_t& word, Use&& use) {
  uintptr_t lent = word;
  return with(type, lent, [&](const auto& value) { return use(value); });
}

}  // namespace

uint64_t Collection::size() const {
  return with(type_, word_, [](const auto& value) -> uint64_t { return value.size(); });
}

base::Bytes Collection::encoding_name() const {
  return with(type_, word_, [](const auto& value) -> base::Bytes { return value.encoding_name(); });
}

size_t Collection::footprint(size_t samples) const {
  return with(type_, word_, [&](const auto& value) -> size_t { return value.footprint(samples); });
}

Collection Collection::copy() const {
  return with(type_, word_, [](const auto& value) { return Collection(value.copy()); });
}

bool Collection::large() const {
  return with(type_, word_, [](const auto& value) -> bool { return value.large(); });
}

bool Collection::drain(size_t items) {
  return with(type_, word_, [&](auto& value) -> bool { return value.drain(items); });
}

bool Collection::relocate(base::Compaction& blocks, RelocationCursor& at) {
  return with(type_, word_, [&](auto& value) -> bool { return value.relocate(blocks, at); });
}

void Collection::destroy() {
  with(type_, word_, []<class T>(T& value) { T gone = std::move(value); });
}

}  // namespace quoll::data
