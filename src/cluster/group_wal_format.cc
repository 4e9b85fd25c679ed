#include "cluster/group_wal_format.h"

#include <fmt/format.h>

#include <charconv>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/numbers.h"

namespace quoll::cluster {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr base::Bytes kFileMagic = "QUOLLWAL";
constexpr uint32_t kVersion = 1;
constexpr base::Bytes kFilePrefix = "log.";
constexpr size_t kSequenceDigits = 10;
constexpr base::Bytes kStateTitle = "quoll-group-state 1\n";
constexpr base::Bytes kStateTitleShaped = "quoll-group-state 2\n";  // with the lines of shapes

template <class Number>
void put(char* out, size_t at, Number number) {
  std::memcpy(out + at, &number, sizeof number);
}
void put_position(char* out, size_t at, Position position) {
  put(out, at, position.epoch);
  put(out, at + 8, position.index);
}

template <class Number>
Number get_number(base::Bytes bytes, size_t at) {
  Number number;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}
Position get_position(base::Bytes bytes, size_t at) {
  return {get_number<uint64_t>(bytes, at), get_number<uint64_t>(bytes, at + 8)};
}

// Bound to its place, so that a copy of it elsewhere, inside of a value or a file's old blocks, is
// not taken for one.
uint32_t batch_crc(base::Bytes rest, uint64_t sequence, uint64_t offset) {
  char place[16];
  put(place, 0, sequence);
  put(place, 8, offset);
  return base::crc32c({place, sizeof place}, base::crc32c(rest));
}

// Takes "name value\n" from the front of `text`.
bool take_line(base::Bytes& text, base::Bytes name, base::Bytes& value) {
  if (!text.starts_with(name) || text.size() <= name.size() || text[name.size()] != ' ')
    return false;
  const size_t end = text.find('\n');
  if (end == base::Bytes::npos) return false;
  value = text.substr(name.size() + 1, end - name.size() - 1);
  text.remove_prefix(end + 1);
  return true;
}
bool take_number(base::Bytes& text, base::Bytes name, uint64_t& number) {
  base::Bytes value;
  return take_line(text, name, value) && base::parse_uint(value, number);
}

// Hexadecimal: the file is text.
void add_shape(std::string& text, base::Bytes name, const SavedShape& saved) {
  fmt::format_to(std::back_inserter(text), "{}-epoch {}\n{}-index {}\n{} ", name, saved.at.epoch,
                 name, saved.at.index, name);
  for (const char byte : saved.shape)
    fmt::format_to(std::back_inserter(text), "{:02x}", static_cast<uint8_t>(byte));
  text += '\n';
}
bool take_shape(base::Bytes& text, const std::string& name, SavedShape& saved) {
  base::Bytes hex;
  if (!take_number(text, name + "-epoch", saved.at.epoch) ||
      !take_number(text, name + "-index", saved.at.index) || !take_line(text, name, hex) ||
      hex.size() % 2 != 0)
    return false;
  for (size_t at = 0; at < hex.size(); at += 2) {
    uint8_t byte = 0;
    const auto parsed = std::from_chars(hex.data() + at, hex.data() + at + 2, byte, 16);
    if (parsed.ec != std::errc() || parsed.ptr != hex.data() + at + 2) return false;
    saved.shape += static_cast<char>(byte);
  }
  return true;
}

std::string crc_line(base::Bytes text) { return fmt::format("crc {:08x}\n", base::crc32c(text)); }

}  // namespace

std::string encode_wal_header(const WalHeader& header) {
  std::string bytes(kWalHeaderBytes, '\0');
  std::memcpy(bytes.data(), kFileMagic.data(), kFileMagic.size());
  put(bytes.data(), 8, kVersion);
  put(bytes.data(), 12, static_cast<uint32_t>(header.restart));
  put(bytes.data(), 16, header.sequence);
  put_position(bytes.data(), 24, header.before);
  put_position(bytes.data(), 40, header.promised);
  put(bytes.data(), 60, base::crc32c(base::Bytes(bytes).substr(0, 60)));
  return bytes;
}

WalHeaderFault decode_wal_header(base::Bytes bytes, WalHeader& header) {
  if (bytes.size() < kWalHeaderBytes || !bytes.starts_with(kFileMagic))
    return WalHeaderFault::damaged;
  if (base::crc32c(bytes.substr(0, 60)) != get_number<uint32_t>(bytes, 60))
    return WalHeaderFault::damaged;
  if (get_number<uint32_t>(bytes, 8) != kVersion) return WalHeaderFault::newer;
  header = {get_number<uint64_t>(bytes, 16), get_number<uint32_t>(bytes, 12) != 0,
            get_position(bytes, 24), get_position(bytes, 40)};
  return WalHeaderFault::none;
}

void encode_wal_batch(const WalBatch& batch, uint64_t sequence, uint64_t offset, char* out) {
  std::memcpy(out, kWalBatchMagic.data(), kWalBatchMagic.size());
  put(out, 8, batch.bytes);
  put_position(out, 16, batch.promised);
  put(out, 4, batch_crc({out + 8, kWalBatchBytes - 8}, sequence, offset));
}

bool decode_wal_batch(base::Bytes bytes, uint64_t sequence, uint64_t offset, WalBatch& batch) {
  if (bytes.size() < kWalBatchBytes || !bytes.starts_with(kWalBatchMagic)) return false;
  const base::Bytes rest = bytes.substr(8, kWalBatchBytes - 8);
  if (batch_crc(rest, sequence, offset) != get_number<uint32_t>(bytes, 4)) return false;
  batch = {get_number<uint64_t>(bytes, 8), get_position(bytes, 16)};
  return true;
}

std::string wal_file_name(uint64_t sequence) {
  return fmt::format("{}{:0{}}", kFilePrefix, sequence, kSequenceDigits);
}

std::optional<uint64_t> wal_sequence(base::Bytes name) {
  if (!name.starts_with(kFilePrefix)) return {};
  base::Bytes digits = name.substr(kFilePrefix.size());
  if (digits.size() != kSequenceDigits) return {};
  uint64_t sequence = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return {};
    sequence = sequence * 10 + static_cast<uint64_t>(c - '0');
  }
  return sequence;
}

std::string encode_superblock(const GroupSuperblock& block) {
  const SavedState& state = block.state;
  const bool shaped = state.shape != SavedShape{} || state.arriving != SavedShape{};
  std::string text = fmt::format(
      "{}id {}\nepoch {}\nvote {}\namnesia {}\nunsynced-boot {}\n"
      "first {}\nnewest {}\nbase-epoch {}\nbase-index {}\n",
      shaped ? kStateTitleShaped : kStateTitle, state.id, state.epoch, state.vote, state.amnesia,
      state.unsynced_boot, block.first, block.newest, block.base.epoch, block.base.index);
  if (shaped) {
    add_shape(text, "shape", state.shape);
    add_shape(text, "arriving", state.arriving);
  }
  text += crc_line(text);
  return text;
}

std::optional<GroupSuperblock> decode_superblock(base::Bytes text) {
  const size_t crc_at = text.rfind("crc ");
  if (crc_at == base::Bytes::npos || text.substr(crc_at) != crc_line(text.substr(0, crc_at)))
    return {};
  const bool shaped = text.starts_with(kStateTitleShaped);
  if (!shaped && !text.starts_with(kStateTitle)) return {};
  text = text.substr(kStateTitle.size());
  GroupSuperblock block;
  SavedState& state = block.state;
  base::Bytes id, boot;
  uint64_t vote = 0;
  if (!take_line(text, "id", id) || !take_number(text, "epoch", state.epoch) ||
      !take_number(text, "vote", vote) || vote > kNoMember ||
      !take_number(text, "amnesia", state.amnesia) || !take_line(text, "unsynced-boot", boot) ||
      !take_number(text, "first", block.first) || !take_number(text, "newest", block.newest) ||
      !take_number(text, "base-epoch", block.base.epoch) ||
      !take_number(text, "base-index", block.base.index))
    return {};
  if (shaped &&
      (!take_shape(text, "shape", state.shape) || !take_shape(text, "arriving", state.arriving)))
    return {};
  state.id = id;
  state.vote = static_cast<Member>(vote);
  state.unsynced_boot = boot;
  return block;
}

}  // namespace quoll::cluster
