// The bytes of a log entry, the same in memory, on disk and between members.
//
//   0   4  CRC32C of everything behind it
//   4   4  bytes of the payload
//   8   8  epoch
//   16  8  index
//   24  8  group time: ms since 1970, never less than that of the entry before
//   32  4  group id
//   36  1  kind
//   37  3  0
//   40     payload
//
//   effects  count4 then per effect: database4 words4 then per word: size4 bytes
//   noop     empty: a new leader's first entry
//   rejoin   member1 number8: see SavedState::amnesia
//   shape    see group_shape.h
//   slots    see slot_ledger.h
//
// Numbers are little-endian. Pure. Cost: 40 bytes an entry and 4 a word beside the words.
#pragma once

#include <optional>
#include <vector>

#include "cluster/group_types.h"
#include "store/commit.h"

namespace quoll::cluster {

enum class EntryKind : uint8_t { noop = 1, effects = 2, rejoin = 3, shape = 4, slots = 5 };

constexpr size_t kEntryHeaderBytes = 40;
constexpr size_t kEntryBytesMax = size_t{1} << 30;  // of one entry: more than any commit may hold

struct EntryHeader {
  Position at;
  base::Millis time = 0;
  uint32_t group = 0;
  EntryKind kind = EntryKind::noop;
};

struct Entry {
  EntryHeader header;
  base::Bytes payload;
  size_t bytes = 0;  // encoded
};

// Appends an entry to `out`.
void encode_entry(const EntryHeader& header, base::Bytes payload, std::string& out);
// The same of effects, without a copy of the payload between, and without the CRC32C: see
// seal_entry().
void encode_effects(const EntryHeader& header, std::span<const store::Effect> effects,
                    std::string& out);
// Writes the CRC32C of a whole entry. Best done a while after the entry was written: bytes that are
// still on their way from the processor to its cache cost several times as much to read.
void seal_entry(std::span<char> entry);
void encode_rejoin(const EntryHeader& header, Member member, uint64_t number, std::string& out);

enum class EntryFault : uint8_t { none, short_of_bytes, damaged };
// The entry that `bytes` begin with. `short_of_bytes`: it may be whole with more bytes behind.
EntryFault decode_entry(base::Bytes bytes, Entry& entry);

// Of an entry that is known to be whole, without a look at its checksum.
size_t entry_bytes(base::Bytes bytes);
EntryKind entry_kind(base::Bytes bytes);

struct Rejoin {
  Member member = kNoMember;
  uint64_t number = 0;
};
std::optional<Rejoin> decode_rejoin(base::Bytes payload);

struct EntryEffect {
  store::DbIndex db = 0;
  std::vector<base::Bytes> words;
};
// Hands the effects to `visit` one by one; false: the payload is no list of effects.
template <class Visit>
bool each_effect(base::Bytes payload, Visit&& visit);

// The next effect of a payload behind `payload`'s first `at` bytes, which move on; false at a
// fault.
bool take_effect(base::Bytes payload, size_t& at, EntryEffect& effect);
std::optional<uint32_t> effect_count(base::Bytes payload);
// Whether each_effect() says that the payload is whole, without a look at the words.
bool are_effects(base::Bytes payload);

template <class Visit>
bool each_effect(base::Bytes payload, Visit&& visit) {
  auto count = effect_count(payload);
  if (!count) return false;
  size_t at = 4;
  EntryEffect effect;
  for (uint32_t i = 0; i < *count; ++i) {
    if (!take_effect(payload, at, effect)) return false;
    visit(effect);
  }
  return at == payload.size();
}

}  // namespace quoll::cluster
