#include "data/hash_field.h"

#include "base/check.h"
#include "base/memory.h"

namespace quoll::data {

HashField* HashField::make(const Shape& shape, base::Bytes field) {
  QUOLL_CHECK(field.size() == shape.field_length && field.size() <= UINT32_MAX);
  auto* made = static_cast<HashField*>(base::allocate(base::usable_size(shape.bytes())));
  char* bytes = made->chars();
  bool wide = shape.wide();
  bytes[0] = static_cast<char>((wide ? kWide : 0) | (shape.heap ? kHeap : 0) |
                               (shape.deadline ? kDeadline : 0));
  size_t value_length = shape.heap ? 0 : shape.value_length;
  if (wide) {
    auto lengths = static_cast<uint64_t>(field.size()) | static_cast<uint64_t>(value_length) << 32;
    std::memcpy(bytes + 1, &lengths, 8);
  } else {
    bytes[1] = static_cast<char>(field.size());
    bytes[2] = static_cast<char>(value_length);
  }
  if (!field.empty()) std::memcpy(bytes + made->field_offset(), field.data(), field.size());
  return made;
}

void HashField::release_block(HashField* field) { base::release(field, field->shape().bytes()); }

void HashField::destroy(HashField* field) {
  if (field->heap()) field->take_blob();
  release_block(field);
}

size_t HashField::footprint() const {
  size_t block = base::usable_size(shape().bytes());
  return heap() ? block + base::Blob::footprint(blob_at(value_place())) : block;
}

void HashField::write_inline(base::Bytes value) {
  QUOLL_DCHECK(!heap() && (wide() || value.size() <= 255));
  if (wide()) {
    auto length = static_cast<uint32_t>(value.size());
    std::memcpy(chars() + 5, &length, 4);
  } else {
    chars()[2] = static_cast<char>(value.size());
  }
  if (!value.empty()) std::memmove(const_cast<char*>(value_place()), value.data(), value.size());
}

void HashField::write_blob(base::Blob blob) {
  QUOLL_DCHECK(heap());
  base::Blob::Header* header = blob.detach();
  std::memcpy(const_cast<char*>(value_place()), &header, sizeof(header));
}

base::Blob HashField::take_blob() { return base::Blob::adopt(blob_at(value_place())); }

}  // namespace quoll::data
