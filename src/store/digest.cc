#include "store/digest.h"

#include <xxhash.h>

#include "base/text.h"

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

void append_value(std::string& text, const Entry& entry) {
  char scratch[base::kIntTextMax];
  append_part(text, data::type_name(entry.type()));
  append_part(text, entry.text(scratch));
  append_part(text, entry.has_ttl() ? "expires" : "");
}

std::array<uint64_t, 3> hashed(Bytes text) {
  std::array<uint64_t, 3> words;
  for (size_t i = 0; i < words.size(); ++i)
    words[i] = XXH3_64bits_withSeed(text.data(), text.size(), kSeeds[i]);
  return words;
}

}  // namespace

Digest Digest::of_value(const Entry& entry) {
  std::string text;
  append_value(text, entry);
  Digest digest;
  digest.words_ = hashed(text);
  return digest;
}

Digest Digest::of_key(DbIndex db, const Entry& entry) {
  std::string text;
  append_part(text, std::to_string(db));
  append_part(text, entry.key());
  append_value(text, entry);
  Digest digest;
  digest.words_ = hashed(text);
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
