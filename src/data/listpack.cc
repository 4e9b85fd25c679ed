#include "data/listpack.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/numbers.h"
#include "data/listpack_codec.h"

namespace quoll::data {

using namespace listpack_codec;

namespace {

constexpr char kEmpty[kListpackEmptyBytes + 1] = "\x07\0\0\0\0\0\xff";

uint8_t* unsigned_bytes(char* bytes) { return reinterpret_cast<uint8_t*>(bytes); }

size_t element_bytes_of(base::Bytes text) {
  int64_t value;
  size_t body =
      base::parse_int(text, value) ? integer_body_bytes(value) : text_body_bytes(text.size());
  return body + back_bytes(body);
}

uint8_t* store_element(uint8_t* out, base::Bytes text) {
  int64_t value;
  return base::parse_int(text, value) ? store_integer(out, value) : store_text(out, text);
}

}  // namespace

base::Bytes Listpack::bytes_of(const char* block) {
  if (!block) return {kEmpty, kListpackEmptyBytes};
  return {block, load(reinterpret_cast<const uint8_t*>(block), 4)};
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
  if (block_ && base::usable_size(total) == base::usable_size(old.size())) {
    if (removed != inserted) std::memmove(block_ + offset + inserted, block_ + tail, tail_bytes);
  } else {
    auto* grown = static_cast<char*>(base::allocate(base::usable_size(total)));
    std::memcpy(grown, old.data(), offset);
    std::memcpy(grown + offset + inserted, old.data() + tail, tail_bytes);
    destroy(block_);
    block_ = grown;
  }
  store(unsigned_bytes(block_), total, 4);
  return block_ + offset;
}

bool Listpack::splice(size_t offset, size_t removed, base::Args texts) {
  size_t inserted = 0;
  for (base::Bytes text : texts) {
    if (text.size() > kListpackBytesMax) return false;
    inserted += element_bytes_of(text);
  }
  char* gap = open_gap(offset, removed, inserted);
  if (!gap) return false;
  uint8_t* out = unsigned_bytes(gap);
  for (base::Bytes text : texts) out = store_element(out, text);
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
  auto* field = unsigned_bytes(block_) + 4;
  auto stated = static_cast<int64_t>(load(field, 2));
  if (stated == kListpackCountUnknown) return;
  int64_t count = stated + change;
  QUOLL_CHECK(count >= 0);
  store(field, static_cast<uint64_t>(std::min<int64_t>(count, kListpackCountUnknown)), 2);
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
  store(unsigned_bytes(block_) + 4, std::min<size_t>(total, kListpackCountUnknown), 2);
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
  store(unsigned_bytes(block_) + 4, std::min<size_t>(total, kListpackCountUnknown), 2);
  return true;
}

}  // namespace quoll::data
