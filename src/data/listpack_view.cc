#include <cstring>

#include "base/check.h"
#include "base/numbers.h"
#include "data/listpack.h"
#include "data/listpack_codec.h"

namespace quoll::data {

using namespace listpack_codec;

bool ListpackView::validate_header(base::Bytes foreign) {
  if (foreign.size() < kListpackEmptyBytes || foreign.size() > UINT32_MAX) return false;
  auto* bytes = reinterpret_cast<const uint8_t*>(foreign.data());
  return load_total(bytes) == foreign.size() && bytes[foreign.size() - 1] == kEnd;
}

bool ListpackView::validate(base::Bytes foreign) {
  if (!validate_header(foreign)) return false;
  auto* bytes = reinterpret_cast<const uint8_t*>(foreign.data());
  size_t end = foreign.size() - 1;
  size_t offset = kListpackHeaderBytes;
  size_t count = 0;
  while (offset < end) {
    if (head_bytes(bytes[offset]) > end - offset) return false;
    size_t body = body_bytes(bytes + offset);
    size_t back = back_bytes(body);
    if (body == 0 || body + back > end - offset) return false;
    uint8_t expected[5];
    store_back(expected, body);
    if (std::memcmp(bytes + offset + body, expected, back) != 0) return false;
    offset += body + back;
    ++count;
  }
  size_t stated = load_count(bytes);
  return stated == kListpackCountUnknown || stated == count;
}

size_t ListpackView::count() const {
  size_t stated = load_count(bytes_);
  if (stated != kListpackCountUnknown) return stated;
  size_t count = 0;
  for (Position position = first(); position != kNone; position = next(position)) ++count;
  return count;
}

ListpackView::Position ListpackView::last() const { return empty() ? kNone : previous(size_ - 1); }

ListpackView::Position ListpackView::next(Position position) const {
  size_t after = position + element_bytes(bytes_ + position);
  QUOLL_DCHECK(after < size_);
  return bytes_[after] == kEnd ? kNone : static_cast<Position>(after);
}

ListpackView::Position ListpackView::previous(Position position) const {
  if (position == kListpackHeaderBytes) return kNone;
  size_t body = load_back(bytes_ + position);
  size_t whole = body + back_bytes(body);
  QUOLL_DCHECK(whole + kListpackHeaderBytes <= position);
  return static_cast<Position>(position - whole);
}

ListpackView::Position ListpackView::at(int64_t index) const {
  size_t stated = load_count(bytes_);
  bool backwards = index < 0;
  if (stated != kListpackCountUnknown) {
    auto count = static_cast<int64_t>(stated);
    if (index < 0) index += count;
    if (index < 0 || index >= count) return kNone;
    backwards = index > count / 2;
    if (backwards) index -= count;
  }
  Position position = backwards ? last() : first();
  if (backwards) {
    for (; index < -1 && position != kNone; ++index) position = previous(position);
  } else {
    for (; index > 0 && position != kNone; --index) position = next(position);
  }
  return position;
}

PackedItem ListpackView::item(Position position) const {
  const uint8_t* element = bytes_ + position;
  uint8_t first = *element;
  auto text = [&](size_t head, size_t size) {
    return PackedItem::of_bytes({reinterpret_cast<const char*>(element + head), size});
  };
  if (first < 0x80) return PackedItem::of_integer(first);
  if (first < 0xc0) return text(1, first & 0x3f);
  if (first < 0xe0) {
    int value = (first & 0x1f) << 8 | element[1];
    return PackedItem::of_integer(value >= 1 << 12 ? value - (1 << 13) : value);
  }
  if (first < 0xf0) return text(2, (first & 0x0fu) << 8 | element[1]);
  if (first == kText32) return text(5, load(element + 1, 4));
  return PackedItem::of_integer(load_signed(element + 1, body_bytes(element) - 1));
}

bool ListpackView::equals(Position position, base::Bytes text) const {
  PackedItem found = item(position);
  if (!found.is_integer) return found.bytes == text;
  int64_t value;
  return base::parse_int(text, value) && value == found.integer;
}

ListpackView::Position ListpackView::find(Position from, base::Bytes text, unsigned skip) const {
  int64_t wanted = 0;
  bool is_integer = base::parse_int(text, wanted);
  unsigned to_skip = 0;
  for (Position position = from; position != kNone;) {
    if (to_skip > 0) {
      --to_skip;
    } else {
      to_skip = skip;
      PackedItem found = item(position);
      if (found.is_integer ? is_integer && found.integer == wanted : found.bytes == text)
        return position;
    }
    size_t after = position + element_bytes(bytes_ + position);
    position = bytes_[after] == kEnd ? kNone : static_cast<Position>(after);
  }
  return kNone;
}

}  // namespace quoll::data
