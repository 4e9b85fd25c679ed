#include "data/roomy_pack.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "data/listpack_codec.h"

namespace quoll::data {

using namespace listpack_codec;

namespace {

uint8_t* header_of(const RoomyPack& pack) {
  return reinterpret_cast<uint8_t*>(pack.block + pack.room);
}

// Once unknown, the count stays unknown, as in a Listpack.
void store_header(const RoomyPack& pack, size_t total, uint16_t count_before, int change) {
  uint8_t* header = header_of(pack);
  store_total(header, total);
  const bool known = count_before != kListpackCountUnknown;
  store_count(header, static_cast<uint64_t>(count_before + (known ? change : 0)));
}

}  // namespace

void RoomyPack::prepend(base::Bytes text) {
  const Incoming element(text);
  const size_t added = element.bytes();
  if (__builtin_expect(room < added, 0)) make_room(added);
  const size_t total = load_total(header_of(*this)) + added;
  const uint16_t count = load_count(header_of(*this));
  QUOLL_DCHECK(total <= kListpackBytesMax);
  room -= static_cast<uint32_t>(added);
  store_header(*this, total, count, 1);
  element.store(header_of(*this) + kListpackHeaderBytes);
}

void RoomyPack::drop_first() {
  const uint8_t* header = header_of(*this);
  const size_t removed = element_bytes(header + kListpackHeaderBytes);
  const size_t total = load_total(header) - removed;
  const uint16_t count = load_count(header);
  QUOLL_DCHECK(total >= kListpackEmptyBytes);
  room += static_cast<uint32_t>(removed);
  store_header(*this, total, count, -1);
}

void RoomyPack::drop_last() {
  const auto last = ListpackView(bytes()).last();
  const size_t total = last + size_t{1};
  if (base::usable_size(room + total) != footprint()) {
    close();
    Listpack pack = Listpack::adopt(block);
    pack.erase(last);
    block = pack.detach();
    return;
  }
  uint8_t* header = header_of(*this);
  header[last] = kEnd;
  store_header(*this, total, load_count(header), -1);
}

void RoomyPack::close() {
  if (room == 0) return;
  const base::Bytes old = bytes();
  const size_t held = footprint();
  const size_t needed = base::usable_size(old.size());
  char* place = needed == held ? block : static_cast<char*>(base::allocate(needed));
  std::memmove(place, old.data(), old.size());
  if (place != block) base::release(block, held);
  block = place;
  room = 0;
}

// The other half of the rest stays at the tail, for lists that grow at both ends of one node.
void RoomyPack::make_room(size_t wanted) {
  const base::Bytes old = bytes();
  const size_t held = footprint();
  const size_t capacity = base::usable_size(old.size() + wanted);
  const size_t given = std::max(wanted, (capacity - old.size()) / 2);
  char* place = capacity == held ? block : static_cast<char*>(base::allocate(capacity));
  std::memmove(place + given, old.data(), old.size());
  if (place != block) base::release(block, held);
  block = place;
  room = static_cast<uint32_t>(given);
}

}  // namespace quoll::data
