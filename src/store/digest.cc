#include "store/digest.h"

#include <xxhash.h>

#include "base/text.h"
#include "data/hash.h"
#include "data/list.h"
#include "data/set.h"
#include "data/stream.h"
#include "data/zset.h"

namespace quoll::store {
namespace {

constexpr uint64_t kSeeds[] = {0x51756f6c6c, 0x646967657374, 0x7631};
constexpr size_t kHexDigits = 40;
constexpr uint64_t kScanStep = 1000;

// Lengths in front keep neighbouring parts apart.
void append_part(std::string& text, Bytes part) {
  const uint64_t size = part.size();
  text.append(reinterpret_cast<const char*>(&size), sizeof size);
  text += part;
}

std::array<uint64_t, 3> hashed(Bytes text, uint64_t seed) {
  std::array<uint64_t, 3> words;
  for (size_t i = 0; i < words.size(); ++i)
    words[i] = XXH3_64bits_withSeed(text.data(), text.size(), kSeeds[i] ^ seed);
  return words;
}

// The elements of a collection, reduced to three words.
class ElementDigest {
 public:
  explicit ElementDigest(uint64_t seed) : seed_(seed) {}
  // The next element of a value whose order counts.
  void next(std::initializer_list<Bytes> parts) {
    std::string text(reinterpret_cast<const char*>(words_.data()), sizeof(words_));
    for (Bytes part : parts) append_part(text, part);
    words_ = hashed(text, seed_);
  }
  // An element of a value whose order does not.
  void any(std::initializer_list<Bytes> parts) {
    std::string text;
    for (Bytes part : parts) append_part(text, part);
    const std::array<uint64_t, 3> words = hashed(text, seed_);
    for (size_t i = 0; i < words_.size(); ++i) words_[i] ^= words[i];
  }
  Bytes bytes() const { return {reinterpret_cast<const char*>(words_.data()), sizeof(words_)}; }

 private:
  uint64_t seed_;
  std::array<uint64_t, 3> words_{};
};

// A number as bytes.
template <class Number>
struct Raw {
  explicit Raw(Number value) { std::memcpy(bytes, &value, sizeof(value)); }
  operator Bytes() const { return {bytes, sizeof(bytes)}; }
  char bytes[sizeof(Number)];
};

struct Text {
  explicit Text(const data::PackedItem& item) : bytes(item.text(buffer)) {}
  operator Bytes() const { return bytes; }
  char buffer[base::kIntTextMax];
  Bytes bytes;
};

void digest_stream(const data::Stream& stream, ElementDigest& digest) {
  auto id = [](const data::StreamId& value) {
    return std::string(data::StreamIdText(value).bytes());
  };
  stream.for_each([&](const data::StreamNodeView& node, const data::StreamEntry& entry) {
    digest.next({id(entry.id)});
    node.for_each_pair(entry, [&](const data::PackedItem& field, const data::PackedItem& value) {
      digest.next({Text(field), Text(value)});
    });
  });
  const data::Stream::Facts& facts = stream.facts();
  digest.next({id(facts.last_id), id(facts.max_deleted_id), Raw(facts.entries_added)});
  for (const auto& group : stream.groups()) {
    digest.next({group->name(), id(group->last_id), Raw(group->entries_read)});
    group->pending().for_each([&](const data::StreamPending& pending) {
      digest.next({id(pending.id), pending.consumer()->name(), Raw(pending.delivered_ms()),
                   Raw(pending.deliveries())});
    });
    for (const auto& consumer : group->consumers()) digest.any({consumer->name()});
  }
}

void digest_collection(const Entry& entry, ElementDigest& digest) {
  switch (entry.type()) {
    case data::Type::string:
      return;
    case data::Type::list:
      return entry.value<data::List>()->for_each(
          [&](const data::PackedItem& item) { digest.next({Text(item)}); });
    case data::Type::set:
      return entry.value<data::Set>()->for_each([&](const data::PackedItem& member) {
        digest.any({Text(member)});
        return true;
      });
    case data::Type::zset:
      return entry.value<data::ZSet>()->for_each([&](const data::PackedItem& member, double score) {
        digest.next({Text(member), Raw(score)});
      });
    case data::Type::hash:
      return entry.value<data::Hash>()->for_each([&](const data::HashItem& item) {
        digest.any({Text(item.field), Text(item.value), Raw(item.deadline)});
      });
    case data::Type::stream:
      return digest_stream(*entry.value<data::Stream>(), digest);
  }
}

void append_value(std::string& text, const Entry& entry, uint64_t seed) {
  append_part(text, data::type_name(entry.type()));
  if (entry.type() == data::Type::string) {
    char scratch[base::kIntTextMax];
    append_part(text, entry.text(scratch));
  } else {
    ElementDigest digest(seed);
    digest_collection(entry, digest);
    append_part(text, digest.bytes());
  }
  append_part(text, entry.has_ttl() ? "expires" : "");
}

}  // namespace

Digest Digest::of_value(const Entry& entry) {
  std::string text;
  append_value(text, entry, 0);
  Digest digest;
  digest.words_ = hashed(text, 0);
  return digest;
}

Digest Digest::of_key(DbIndex db, const Entry& entry, uint64_t seed) {
  std::string text;
  append_part(text, std::to_string(db));
  append_part(text, entry.key());
  append_value(text, entry, seed);
  Digest digest;
  digest.words_ = hashed(text, seed);
  return digest;
}

Digest Digest::of_store(const Store& store, Millis now) {
  Digest digest;
  for (DbIndex db = 0; db < store.databases(); ++db) {
    uint64_t cursor = 0;
    do {
      cursor = store.scan(db, cursor, kScanStep, [&](const Entry* entry) {
        if (!entry->expired(now)) digest.combine(of_key(db, *entry));
      });
    } while (cursor != 0);
  }
  return digest;
}

void Digest::combine(const Digest& other) {
  for (size_t i = 0; i < words_.size(); ++i) words_[i] ^= other.words_[i];
}

std::string Digest::hex() const {
  std::string text;
  for (uint64_t word : words_) text += base::to_hex(word);
  text.resize(kHexDigits);
  return text;
}

}  // namespace quoll::store
