#include "data/ziplist_reader.h"

namespace quoll::data {

namespace {

constexpr uint8_t kZiplistEnd = 0xff;
constexpr uint8_t kLongPrevious = 0xfe;
constexpr size_t kCountUnknown = 65535;

uint8_t byte_at(base::Bytes bytes, size_t offset) { return static_cast<uint8_t>(bytes[offset]); }

uint64_t little_endian(base::Bytes bytes, size_t offset, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= uint64_t{byte_at(bytes, offset + i)} << (8 * i);
  return value;
}

int64_t signed_integer(base::Bytes bytes, size_t offset, size_t size) {
  unsigned spare = static_cast<unsigned>(64 - 8 * size);
  return static_cast<int64_t>(little_endian(bytes, offset, size) << spare) >> spare;
}

// Payload bytes of an integer encoding; 0 for the ones held in the encoding itself.
bool integer_bytes(uint8_t encoding, size_t& size) {
  switch (encoding) {
    case 0xc0:
      size = 2;
      return true;
    case 0xd0:
      size = 4;
      return true;
    case 0xe0:
      size = 8;
      return true;
    case 0xf0:
      size = 3;
      return true;
    case 0xfe:
      size = 1;
      return true;
    default:
      size = 0;
      return encoding >= 0xf1 && encoding <= 0xfd;
  }
}

}  // namespace

bool ZiplistReader::read_item(base::Bytes rest, PackedItem& item, size_t& bytes) {
  if (rest.empty()) return false;
  uint8_t first = byte_at(rest, 0);
  size_t head = 1;
  if (first >= 0xc0) {
    size_t size;
    if (!integer_bytes(first, size) || rest.size() < 1 + size) return false;
    item = PackedItem::of_integer(size == 0 ? (first & 0x0f) - 1 : signed_integer(rest, 1, size));
    bytes = 1 + size;
    return true;
  }
  uint64_t size = first & 0x3f;
  if (first >= 0x80) {
    head = 5;
    if (rest.size() < head) return false;
    size = 0;
    for (size_t i = 1; i < head; ++i) size = size << 8 | byte_at(rest, i);
  } else if (first >= 0x40) {
    head = 2;
    if (rest.size() < head) return false;
    size = size << 8 | byte_at(rest, 1);
  }
  if (size > rest.size() - head) return false;
  item = PackedItem::of_bytes(rest.substr(head, size));
  bytes = head + size;
  return true;
}

bool ZiplistReader::read(base::Bytes body, size_t offset, Element& element) {
  base::Bytes rest = body.substr(offset);
  if (rest.empty()) return false;
  size_t head = 1;
  element.previous = byte_at(rest, 0);
  if (element.previous == kZiplistEnd) return false;
  if (element.previous == kLongPrevious) {
    head = 5;
    if (rest.size() < head) return false;
    element.previous = little_endian(rest, 1, 4);
  }
  size_t item_bytes;
  if (!read_item(rest.substr(head), element.item, item_bytes)) return false;
  element.bytes = head + item_bytes;
  return true;
}

bool ZiplistReader::validate(base::Bytes foreign) {
  if (foreign.size() < kHeaderBytes + 1) return false;
  if (little_endian(foreign, 0, 4) != foreign.size()) return false;
  if (byte_at(foreign, foreign.size() - 1) != kZiplistEnd) return false;
  base::Bytes body = foreign.substr(0, foreign.size() - 1);
  size_t offset = kHeaderBytes, last = kHeaderBytes, previous = 0, count = 0;
  while (offset < body.size()) {
    Element element;
    if (!read(body, offset, element) || element.previous != previous) return false;
    previous = element.bytes;
    last = offset;
    offset += element.bytes;
    ++count;
  }
  size_t stated = little_endian(foreign, 8, 2);
  return little_endian(foreign, 4, 4) == last && (stated == kCountUnknown || stated == count);
}

bool ZiplistReader::next(PackedItem& item) {
  base::Bytes body = bytes_.substr(0, bytes_.size() - 1);
  Element element;
  if (position_ >= body.size() || !read(body, position_, element)) return false;
  position_ += element.bytes;
  item = element.item;
  return true;
}

bool append_ziplist(base::Bytes valid, Listpack& listpack) {
  ZiplistReader reader(valid);
  for (PackedItem item; reader.next(item);) {
    if (!listpack.append_item(item)) return false;
  }
  return true;
}

}  // namespace quoll::data
