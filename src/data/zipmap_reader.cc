#include "data/zipmap_reader.h"

namespace quoll::data {

namespace {

constexpr uint8_t kZipmapEnd = 0xff;
constexpr uint8_t kLongLength = 0xfe;
constexpr size_t kZipmapCountUnknown = 254;

uint8_t byte_of(base::Bytes bytes, size_t offset) { return static_cast<uint8_t>(bytes[offset]); }

}  // namespace

bool ZipmapReader::take_length(base::Bytes& rest, size_t& length) {
  if (rest.empty() || byte_of(rest, 0) == kZipmapEnd) return false;
  length = byte_of(rest, 0);
  if (length != kLongLength) {
    rest.remove_prefix(1);
    return true;
  }
  if (rest.size() < 5) return false;
  length = 0;
  for (size_t i = 0; i < 4; ++i) length |= size_t{byte_of(rest, 1 + i)} << (8 * i);
  rest.remove_prefix(5);
  return true;
}

bool ZipmapReader::take_pair(base::Bytes& rest, base::Bytes& field, base::Bytes& value) {
  size_t length;
  if (!take_length(rest, length) || length > rest.size()) return false;
  field = rest.substr(0, length);
  rest.remove_prefix(length);
  if (!take_length(rest, length) || rest.empty()) return false;
  size_t unused = byte_of(rest, 0);
  rest.remove_prefix(1);
  if (length > rest.size() || unused > rest.size() - length) return false;
  value = rest.substr(0, length);
  rest.remove_prefix(length + unused);
  return true;
}

bool ZipmapReader::validate(base::Bytes foreign) {
  if (foreign.size() < 2 || byte_of(foreign, foreign.size() - 1) != kZipmapEnd) return false;
  base::Bytes rest = foreign.substr(1, foreign.size() - 2);
  size_t count = 0;
  for (base::Bytes field, value; !rest.empty(); ++count) {
    if (!take_pair(rest, field, value)) return false;
  }
  size_t stated = byte_of(foreign, 0);
  return stated >= kZipmapCountUnknown || stated == count;
}

bool ZipmapReader::next(base::Bytes& field, base::Bytes& value) {
  base::Bytes rest = bytes_.substr(position_, bytes_.size() - 1 - position_);
  if (rest.empty() || !take_pair(rest, field, value)) return false;
  position_ = bytes_.size() - 1 - rest.size();
  return true;
}

bool append_zipmap(base::Bytes valid, Listpack& listpack) {
  ZipmapReader reader(valid);
  base::Bytes pair[2];
  while (reader.next(pair[0], pair[1])) {
    if (!listpack.append(pair)) return false;
  }
  return true;
}

}  // namespace quoll::data
