#include "data/intset.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quoll::data {

namespace {

constexpr char kEmptyIntset[kIntsetHeaderBytes + 1] = "\x02\0\0\0\0\0\0\0";

uint32_t load_u32(const char* bytes) {
  uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) value |= uint32_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  return value;
}
void store(char* bytes, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
}

int64_t load_member(const char* bytes, unsigned width) {
  uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  }
  unsigned spare = 64 - 8 * width;
  return static_cast<int64_t>(value << spare) >> spare;
}

unsigned width_of(int64_t member) {
  if (member == static_cast<int16_t>(member)) return 2;
  return member == static_cast<int32_t>(member) ? 4 : 8;
}

}  // namespace

bool IntsetView::validate(base::Bytes foreign) {
  if (foreign.size() < kIntsetHeaderBytes) return false;
  uint64_t width = load_u32(foreign.data());
  uint64_t count = load_u32(foreign.data() + 4);
  if (width != 2 && width != 4 && width != 8) return false;
  if (count == 0 || foreign.size() != kIntsetHeaderBytes + width * count) return false;
  IntsetView set(foreign);
  for (size_t i = 1; i < count; ++i) {
    if (set.at(i - 1) >= set.at(i)) return false;
  }
  return true;
}

unsigned IntsetView::width() const { return load_u32(bytes_.data()); }
size_t IntsetView::count() const { return load_u32(bytes_.data() + 4); }

int64_t IntsetView::at(size_t index) const {
  unsigned width = this->width();
  const char* member = bytes_.data() + kIntsetHeaderBytes + index * width;
  switch (width) {  // constant widths become single loads
    case 2:
      return load_member(member, 2);
    case 4:
      return load_member(member, 4);
    default:
      return load_member(member, 8);
  }
}

bool IntsetView::find(int64_t member, size_t& index) const {
  size_t low = 0, high = count();
  // Appending in ascending order is common: one look at the last member decides it.
  if (high > 0 && member > at(high - 1)) low = high;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (at(middle) < member) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  index = low;
  return low < count() && at(low) == member;
}

base::Bytes Intset::bytes_of(const char* block) {
  if (!block) return {kEmptyIntset, kIntsetHeaderBytes};
  return {block, kIntsetHeaderBytes + uint64_t{load_u32(block)} * load_u32(block + 4)};
}

void Intset::destroy(char* block) {
  if (block) base::release(block, base::usable_size(bytes_of(block).size()));
}

Intset Intset::copy_of(base::Bytes valid) {
  QUOLL_CHECK(valid.size() >= kIntsetHeaderBytes && bytes_of(valid.data()).size() == valid.size());
  auto* block = static_cast<char*>(base::allocate(base::usable_size(valid.size())));
  std::memcpy(block, valid.data(), valid.size());
  return adopt(block);
}

// The header still describes the old size; the caller writes the new one.
void Intset::resize(size_t old_bytes, size_t bytes) {
  if (block_ && base::usable_size(old_bytes) == base::usable_size(bytes)) return;
  auto* block = static_cast<char*>(base::allocate(base::usable_size(bytes)));
  std::memcpy(block, block_ ? block_ : kEmptyIntset, std::min(old_bytes, bytes));
  destroy(block_);
  block_ = block;
}

// A member wider than all others is also smaller or larger than all: it goes to one end.
void Intset::widen(unsigned width, int64_t member) {
  size_t count = this->count();
  unsigned old_width = view().width();
  resize(bytes().size(), kIntsetHeaderBytes + (count + 1) * width);
  size_t first = member < 0 ? 1 : 0;
  char* members = block_ + kIntsetHeaderBytes;
  for (size_t i = count; i-- > 0;) {  // from the end: every member moves up or stays
    int64_t moved = load_member(members + i * old_width, old_width);
    store(members + (i + first) * width, static_cast<uint64_t>(moved), width);
  }
  store(members + (first ? 0 : count) * width, static_cast<uint64_t>(member), width);
  store(block_, width, 4);
  store(block_ + 4, count + 1, 4);
}

bool Intset::insert(int64_t member) {
  unsigned width = view().width();
  if (width_of(member) > width) {
    widen(width_of(member), member);
    return true;
  }
  size_t index;
  if (view().find(member, index)) return false;
  size_t old_bytes = bytes().size();
  size_t count = this->count();
  QUOLL_CHECK(count < UINT32_MAX);
  resize(old_bytes, old_bytes + width);
  char* place = block_ + kIntsetHeaderBytes + index * width;
  std::memmove(place + width, place, (count - index) * width);
  store(place, static_cast<uint64_t>(member), width);
  store(block_ + 4, count + 1, 4);
  return true;
}

bool Intset::erase(int64_t member) {
  size_t index;
  if (!view().find(member, index)) return false;
  unsigned width = view().width();
  size_t old_bytes = bytes().size();
  size_t count = this->count();
  char* place = block_ + kIntsetHeaderBytes + index * width;
  std::memmove(place, place + width, (count - index - 1) * width);
  resize(old_bytes, old_bytes - width);
  store(block_ + 4, count - 1, 4);
  return true;
}

}  // namespace quoll::data
