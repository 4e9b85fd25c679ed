#include "cluster/group_entry.h"

#include "base/check.h"
#include "base/crc32c.h"

namespace quoll::cluster {
namespace {

using base::crc32c;

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kWordsMax = 1 << 21;  // of one effect

template <class Number>
Number get(base::Bytes bytes, size_t at) {
  Number number;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

template <class Number>
bool take(base::Bytes bytes, size_t& at, Number& number) {
  if (bytes.size() - at < sizeof number) return false;
  number = get<Number>(bytes, at);
  at += sizeof number;
  return true;
}

template <class Number>
char* put(char* at, Number number) {
  std::memcpy(at, &number, sizeof number);
  return at + sizeof number;
}
char* put_bytes(char* at, base::Bytes bytes) {
  base::copy_short(at, bytes);
  return at + bytes.size();
}

// Appends an entry without its checksum; `write(place)` puts its payload there.
template <class Write>
void append_entry(const EntryHeader& header, size_t payload, std::string& out, Write&& write) {
  QUOLL_CHECK(payload <= kEntryBytesMax);
  const size_t start = out.size();
  out.resize(start + kEntryHeaderBytes + payload);
  char* at = put(out.data() + start, uint32_t{0});
  at = put(at, static_cast<uint32_t>(payload));
  at = put(at, header.at.epoch);
  at = put(at, header.at.index);
  at = put(at, header.time);
  at = put(at, header.group);
  write(put(at, static_cast<uint32_t>(header.kind)));
}

}  // namespace

void encode_entry(const EntryHeader& header, base::Bytes payload, std::string& out) {
  const size_t start = out.size();
  append_entry(header, payload.size(), out, [&](char* at) { put_bytes(at, payload); });
  seal_entry(std::span(out).subspan(start));
}

void seal_entry(std::span<char> entry) {
  put(entry.data(), crc32c({entry.data() + 4, entry.size() - 4}));
}

void encode_effects(const EntryHeader& header, std::span<const store::Effect> effects,
                    std::string& out) {
  size_t payload = 4;
  for (const store::Effect& effect : effects) {
    payload += 8;
    for (base::Bytes word : effect.args) payload += 4 + word.size();
  }
  append_entry(header, payload, out, [&](char* at) {
    at = put(at, static_cast<uint32_t>(effects.size()));
    for (const store::Effect& effect : effects) {
      at = put(at, static_cast<uint32_t>(effect.db));
      at = put(at, static_cast<uint32_t>(effect.args.size()));
      for (base::Bytes word : effect.args)
        at = put_bytes(put(at, static_cast<uint32_t>(word.size())), word);
    }
  });
}

void encode_rejoin(const EntryHeader& header, Member member, uint64_t number, std::string& out) {
  char payload[sizeof member + sizeof number];
  put(put(payload, member), number);
  encode_entry(header, {payload, sizeof payload}, out);
}

EntryFault decode_entry(base::Bytes bytes, Entry& entry) {
  if (bytes.size() < kEntryHeaderBytes) return EntryFault::short_of_bytes;
  auto size = get<uint32_t>(bytes, 4);
  if (size > kEntryBytesMax) return EntryFault::damaged;
  if (bytes.size() - kEntryHeaderBytes < size) return EntryFault::short_of_bytes;
  entry.bytes = kEntryHeaderBytes + size;
  if (crc32c(bytes.substr(4, entry.bytes - 4)) != get<uint32_t>(bytes, 0))
    return EntryFault::damaged;
  auto kind = get<uint32_t>(bytes, 36);
  if (kind < static_cast<uint32_t>(EntryKind::noop) ||
      kind > static_cast<uint32_t>(EntryKind::slots))
    return EntryFault::damaged;
  entry.header = {{get<uint64_t>(bytes, 8), get<uint64_t>(bytes, 16)},
                  get<int64_t>(bytes, 24),
                  get<uint32_t>(bytes, 32),
                  static_cast<EntryKind>(kind)};
  entry.payload = bytes.substr(kEntryHeaderBytes, size);
  return EntryFault::none;
}

size_t entry_bytes(base::Bytes bytes) { return kEntryHeaderBytes + get<uint32_t>(bytes, 4); }

EntryKind entry_kind(base::Bytes bytes) { return static_cast<EntryKind>(get<uint32_t>(bytes, 36)); }

std::optional<Rejoin> decode_rejoin(base::Bytes payload) {
  if (payload.size() != 9) return {};
  return Rejoin{get<Member>(payload, 0), get<uint64_t>(payload, 1)};
}

std::optional<uint32_t> effect_count(base::Bytes payload) {
  if (payload.size() < 4) return {};
  return get<uint32_t>(payload, 0);
}

bool are_effects(base::Bytes payload) {
  uint32_t count = 0, database = 0, words = 0, size = 0;
  size_t at = 0;
  if (!take(payload, at, count)) return false;
  for (; count > 0; --count) {
    if (!take(payload, at, database) || !take(payload, at, words)) return false;
    if (words == 0 || words > kWordsMax) return false;
    for (; words > 0; --words) {
      if (!take(payload, at, size) || payload.size() - at < size) return false;
      at += size;
    }
  }
  return at == payload.size();
}

bool take_effect(base::Bytes payload, size_t& at, EntryEffect& effect) {
  uint32_t database, words;
  if (!take(payload, at, database) || !take(payload, at, words)) return false;
  if (words == 0 || words > kWordsMax) return false;
  effect.db = static_cast<store::DbIndex>(database);
  effect.words.clear();
  for (uint32_t i = 0; i < words; ++i) {
    uint32_t size;
    if (!take(payload, at, size) || payload.size() - at < size) return false;
    effect.words.push_back(payload.substr(at, size));
    at += size;
  }
  return true;
}

}  // namespace quoll::cluster
