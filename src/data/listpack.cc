#include "data/listpack.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "data/listpack_codec.h"

namespace quoll::data {

using namespace listpack_codec;

namespace {

constexpr char kEmptyListpack[kListpackEmptyBytes + 1] = "\x07\0\0\0\0\0\xff";

uint8_t* unsigned_bytes(char* bytes) { return reinterpret_cast<uint8_t*>(bytes); }

}  // namespace

base::Bytes Listpack::bytes_of(const char* block) {
  if (!block) return {kEmptyListpack, kListpackEmptyBytes};
  return {block, load_total(reinterpret_cast<const uint8_t*>(block))};
}

void Listpack::destroy(char* block) {
  if (block) base::release(block, base::usable_size(bytes_of(block).size()));
}

Listpack Listpack::copy_of(base::Bytes valid) {
  QUOLL_CHECK(ListpackView::validate_header(valid));
  auto* block = static_cast<char*>(base::allocate(base::usable_size(valid.size())));
  std::memcpy(block, valid.data(), valid.size());
  return adopt(block);
}

char* Listpack::open_gap(size_t offset, size_t removed, size_t inserted) {
  base::Bytes old = bytes();
  size_t total = old.size() - removed + inserted;
  if (inserted > removed && total > kListpackBytesMax) return nullptr;
  size_t tail = offset + removed;
  size_t tail_bytes = old.size() - tail;
  size_t capacity = base::usable_size(total);
  size_t capacity_before = base::usable_size(old.size());
  if (block_ && capacity == capacity_before) {
    if (removed != inserted) std::memmove(block_ + offset + inserted, block_ + tail, tail_bytes);
  } else {
    auto* grown = static_cast<char*>(base::allocate(capacity));
    std::memcpy(grown, old.data(), offset);
    std::memcpy(grown + offset + inserted, old.data() + tail, tail_bytes);
    if (block_) base::release(block_, capacity_before);
    block_ = grown;
  }
  store_total(unsigned_bytes(block_), total);
  return block_ + offset;
}

bool Listpack::splice(size_t offset, size_t removed, base::Args texts) {
  if (texts.size() == 1 && texts[0].size() <= kListpackBytesMax) {
    Incoming element(texts[0]);
    char* gap = open_gap(offset, removed, element.bytes());
    if (gap) element.store(unsigned_bytes(gap));
    return gap != nullptr;
  }
  size_t inserted = 0;
  for (base::Bytes text : texts) {
    if (text.size() > kListpackBytesMax) return false;
    inserted += Incoming(text).bytes();
  }
  char* gap = open_gap(offset, removed, inserted);
  if (!gap) return false;
  uint8_t* out = unsigned_bytes(gap);
  for (base::Bytes text : texts) out = Incoming(text).store(out);
  return true;
}

bool Listpack::splice_integer(size_t offset, size_t removed, int64_t value) {
  size_t body = integer_body_bytes(value);
  char* gap = open_gap(offset, removed, body + back_bytes(body));
  if (gap) store_integer(unsigned_bytes(gap), value);
  return gap != nullptr;
}

// Once unknown, the count stays unknown, as in Redis.
void Listpack::add_to_count(int64_t change) {
  auto stated = static_cast<int64_t>(load_count(unsigned_bytes(block_)));
  if (stated == kListpackCountUnknown) return;
  int64_t count = stated + change;
  QUOLL_CHECK(count >= 0);
  store_count(unsigned_bytes(block_),
              static_cast<uint64_t>(std::min<int64_t>(count, kListpackCountUnknown)));
}

bool Listpack::append(base::Args texts) {
  if (texts.empty()) return true;
  if (!splice(end_offset(), 0, texts)) return false;
  add_to_count(static_cast<int64_t>(texts.size()));
  return true;
}

bool Listpack::append_integer(int64_t value) {
  if (!splice_integer(end_offset(), 0, value)) return false;
  add_to_count(1);
  return true;
}

bool Listpack::prepend(base::Args texts) {
  if (texts.empty()) return true;
  return insert_before(kListpackHeaderBytes, texts) != kNone;
}

Listpack::Position Listpack::insert_before(Position position, base::Args texts) {
  QUOLL_DCHECK(position >= kListpackHeaderBytes && position <= end_offset());
  if (!splice(position, 0, texts)) return kNone;
  add_to_count(static_cast<int64_t>(texts.size()));
  return position;
}

Listpack::Position Listpack::insert_after(Position position, base::Args texts) {
  size_t after = position + element_bytes(unsigned_bytes(block_) + position);
  return insert_before(static_cast<Position>(after), texts);
}

bool Listpack::replace(Position position, base::Bytes text) {
  return splice(position, element_bytes(unsigned_bytes(block_) + position), base::Args(&text, 1));
}

bool Listpack::replace_integer(Position position, int64_t value) {
  return splice_integer(position, element_bytes(unsigned_bytes(block_) + position), value);
}

Listpack::Position Listpack::erase(Position position, size_t count) {
  const uint8_t* bytes = unsigned_bytes(block_);
  size_t after = position;
  size_t erased = 0;
  while (erased < count && bytes[after] != kEnd) {
    after += element_bytes(bytes + after);
    ++erased;
  }
  open_gap(position, after - position, 0);
  add_to_count(-static_cast<int64_t>(erased));
  return position == end_offset() ? kNone : position;
}

size_t Listpack::erase_range(int64_t index, size_t count) {
  ListpackView elements = view();
  Position position = elements.at(index);
  if (position == kNone || count == 0) return 0;
  size_t before = elements.count();
  auto start = static_cast<size_t>(index < 0 ? index + static_cast<int64_t>(before) : index);
  size_t erased = std::min(count, before - start);
  erase(position, erased);
  return erased;
}

void Listpack::clear() {
  destroy(block_);
  block_ = nullptr;
}

bool Listpack::merge_back(const ListpackView& other) {
  if (other.empty()) return true;
  size_t total = count() + other.count();
  base::Bytes added = other.bytes().substr(kListpackHeaderBytes);
  added.remove_suffix(1);
  char* gap = open_gap(end_offset(), 0, added.size());
  if (!gap) return false;
  std::memcpy(gap, added.data(), added.size());
  store_count(unsigned_bytes(block_), std::min<size_t>(total, kListpackCountUnknown));
  return true;
}

bool Listpack::merge_front(const ListpackView& other) {
  if (other.empty()) return true;
  size_t total = count() + other.count();
  base::Bytes added = other.bytes().substr(kListpackHeaderBytes);
  added.remove_suffix(1);
  char* gap = open_gap(kListpackHeaderBytes, 0, added.size());
  if (!gap) return false;
  std::memcpy(gap, added.data(), added.size());
  store_count(unsigned_bytes(block_), std::min<size_t>(total, kListpackCountUnknown));
  return true;
}

}  // namespace quoll::data
