#include "store/entry.h"

#include "base/check.h"
#include "base/memory.h"

namespace quoll::store {

Entry* Entry::make(const Shape& shape, Bytes key) {
  // The whole size class: a value that still fits it is rewritten in place.
  auto* entry = static_cast<Entry*>(base::allocate(base::usable_size(shape.bytes())));
  entry->bytes()[0] = static_cast<uint8_t>(static_cast<unsigned>(shape.form) << 4);
  entry->bytes()[1] = static_cast<uint8_t>((shape.ttl ? kTtl : 0) | (shape.wide ? kWide : 0));
  entry->bytes()[3] = static_cast<uint8_t>(shape.value_length);
  if (shape.wide) {
    auto length = static_cast<uint32_t>(key.size());
    std::memcpy(entry->bytes() + kHeaderBytes, &length, 4);
    entry->bytes()[2] = 0;
  } else {
    entry->bytes()[2] = static_cast<uint8_t>(key.size());
  }
  entry->set_access_clock(0);
  if (!key.empty()) std::memcpy(entry->bytes() + entry->key_offset(), key.data(), key.size());
  return entry;
}

void Entry::release_block(Entry* entry) { base::release(entry, entry->block_bytes()); }

void Entry::destroy(Entry* entry) {
  if (entry->form() == data::Form::heap) {
    if (entry->type() == data::Type::string)
      entry->take_blob();
    else
      entry->take_collection();
  }
  release_block(entry);
}

void Entry::write_value(data::Value& value) {
  bytes()[0] = static_cast<uint8_t>(static_cast<unsigned>(value.type) |
                                    static_cast<unsigned>(value.form) << 4);
  bytes()[1] = static_cast<uint8_t>((bytes()[1] & ~kRaw) | (value.raw ? kRaw : 0));
  switch (value.form) {
    case data::Form::bytes:
      QUOLL_DCHECK(value.bytes.size() <= 255);
      bytes()[3] = static_cast<uint8_t>(value.bytes.size());
      if (!value.bytes.empty()) std::memmove(value_place(), value.bytes.data(), value.bytes.size());
      break;
    case data::Form::integer:
      bytes()[3] = 0;
      std::memcpy(value_place(), &value.integer, 8);
      break;
    case data::Form::heap:
      bytes()[3] = 0;
      set_word(value.type == data::Type::string ? reinterpret_cast<uintptr_t>(value.blob.detach())
                                                : value.collection.detach());
      break;
  }
}

Bytes Entry::encoding_name() const {
  if (type() != data::Type::string) return collection()->encoding_name();
  if (form() == data::Form::integer) return "int";
  if (raw() || text_length() > kEmbeddedTextMax) return "raw";
  return "embstr";
}

size_t Entry::footprint(size_t samples) const {
  size_t block = base::usable_size(block_bytes());
  if (form() != data::Form::heap) return block;
  if (type() == data::Type::string) return block + base::Blob::footprint(heap());
  return block + collection()->footprint(samples);
}

}  // namespace quoll::store
