#include "cluster/group_entry.h"

#include "base/check.h"
#include "base/crc32c.h"

namespace quoll::cluster {
namespace {

using base::crc32c;

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kWordsMax = 1 << 21;  // of one effect

template <class Number>
void put(std::string& out, Number number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

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

// Room for the fields that are known when the payload is complete.
size_t begin_entry(const EntryHeader& header, std::string& out) {
  size_t start = out.size();
  put<uint64_t>(out, 0);
  put(out, header.at.epoch);
  put(out, header.at.index);
  put(out, header.time);
  put(out, header.group);
  put(out, static_cast<uint32_t>(header.kind));
  return start;
}

void end_entry(size_t start, std::string& out) {
  size_t payload = out.size() - start - kEntryHeaderBytes;
  QUOLL_CHECK(payload <= kEntryBytesMax);
  auto size = static_cast<uint32_t>(payload);
  std::memcpy(out.data() + start + 4, &size, 4);
  uint32_t crc = crc32c(base::Bytes(out).substr(start + 4));
  std::memcpy(out.data() + start, &crc, 4);
}

}  // namespace

void encode_entry(const EntryHeader& header, base::Bytes payload, std::string& out) {
  size_t start = begin_entry(header, out);
  out += payload;
  end_entry(start, out);
}

void encode_effects(const EntryHeader& header, std::span<const store::Effect> effects,
                    std::string& out) {
  size_t start = begin_entry(header, out);
  put(out, static_cast<uint32_t>(effects.size()));
  for (const store::Effect& effect : effects) {
    put(out, static_cast<uint32_t>(effect.db));
    put(out, static_cast<uint32_t>(effect.args.size()));
    for (base::Bytes word : effect.args) {
      put(out, static_cast<uint32_t>(word.size()));
      out += word;
    }
  }
  end_entry(start, out);
}

void encode_rejoin(const EntryHeader& header, Member member, uint64_t number, std::string& out) {
  std::string payload;
  put(payload, member);
  put(payload, number);
  encode_entry(header, payload, out);
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
      kind > static_cast<uint32_t>(EntryKind::rejoin))
    return EntryFault::damaged;
  entry.header = {{get<uint64_t>(bytes, 8), get<uint64_t>(bytes, 16)},
                  get<int64_t>(bytes, 24),
                  get<uint32_t>(bytes, 32),
                  static_cast<EntryKind>(kind)};
  entry.payload = bytes.substr(kEntryHeaderBytes, size);
  return EntryFault::none;
}

std::optional<Rejoin> decode_rejoin(base::Bytes payload) {
  if (payload.size() != 9) return {};
  return Rejoin{get<Member>(payload, 0), get<uint64_t>(payload, 1)};
}

std::optional<uint32_t> effect_count(base::Bytes payload) {
  if (payload.size() < 4) return {};
  return get<uint32_t>(payload, 0);
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
