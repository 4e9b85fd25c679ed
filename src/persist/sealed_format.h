// The format of encrypted files: authenticated records behind one another, so that a file can be
// appended to, synced, cut and read while nobody without the key learns or forges anything.
//
//   header  | magic 8 | version 4 | 0 4 | key id 8 | file salt 32 | crc64 of these 56 bytes 8 |
//   record  | word 4: size of the plaintext, bit 31 = begins a run | check 4 |
//           | only where a run begins: dropped 4 | run salt 16 | check 4 |
//           | AES-256-GCM ciphertext, size bytes | tag 16 |
//
//   run key = HKDF-SHA256(key, salt = file salt, info = label, run salt)
//   nonce   = number of the record in the file
//   AAD     = header, number, head of the record
//
// Why records of variable size: an append-only file is synced many times a second. A fixed record
// half filled at one sync would have to be written again at the next, which is not atomic: a crash
// would take bytes that were durable. So a record is what one append brought, up to
// kSealedRecordBytesMax, and is never written again.
//
// Why runs: after a file is cut, record numbers come again, and so would (key, nonce) for other
// bytes, which breaks GCM. Every opening for writing and every cut therefore begins a run with a
// salt, and thus a key, of its own.
//
// A cut inside a record: what follows the record is cut off, then an empty record that begins a run
// says how many bytes at the end of the record before it are dropped. Nothing kept is ever
// rewritten.
//
// What a reader can tell apart:
//   torn     the file ends inside a head whose bytes so far are good, or inside the record it
//            announces: a crash did that. Whether a length can be believed is what the checks
//            (folded CRC-64 of file salt, number and head) are for.
//   damaged  a check or a tag does not fit: a flipped bit, or a record that was moved, dropped,
//            or taken from another file or place.
// Not to be told from a torn write: a file cut at its end by somebody. RDB files say where they
// end; of the log that much is in the nature of a log. Nor does it show when a whole file is
// replaced by an older one of its own.
//
// Cost: 24 bytes per record, 24 more per run, 64 per file; a key derivation per run (3.3 us); per
// record 0.6 to 1 us and 0.26 ns per byte (measured with AES instructions: 69 us per 256 KiB).
#pragma once

#include <openssl/types.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace quoll::persist {

constexpr size_t kSealKeyBytes = 32;
constexpr size_t kSealKeysMax = 64;  // in one key file
constexpr size_t kSealedRecordBytesMax = 256 * 1024;
constexpr size_t kSealedHeaderBytes = 64;
constexpr size_t kSealedHeadBytes = 8;
constexpr size_t kSealedRunHeadBytes = 32;
constexpr size_t kSealedTagBytes = 16;

// A 256-bit key. Its id tells keys apart and says nothing about them.
class SealKey {
 public:
  explicit SealKey(base::Bytes bytes);  // kSealKeyBytes
  SealKey(const SealKey&) = default;
  SealKey& operator=(const SealKey&) = default;
  ~SealKey();

  uint64_t id() const { return id_; }
  base::Bytes bytes() const { return {bytes_.data(), bytes_.size()}; }
  static std::string name(uint64_t id);  // 16 hex digits

 private:
  std::array<char, kSealKeyBytes> bytes_;
  uint64_t id_;
};

// The keys of a key file, newest first: the first seals, all open.
class SealKeys {
 public:
  // 32 raw bytes, or lines of 64 hex digits; empty lines and lines beginning with # are skipped.
  static base::Result<SealKeys> parse(base::Bytes content);

  bool empty() const { return keys_.empty(); }
  const SealKey& newest() const { return keys_.front(); }
  const SealKey* find(uint64_t id) const;
  std::string names() const;  // "1a2b..., 3c4d..."

 private:
  std::vector<SealKey> keys_;
};

using FileSalt = std::array<char, 32>;
using RunSalt = std::array<char, 16>;

class SealedHeader {
 public:
  enum class Kind { plain, torn, damaged, unknown_version, sealed };

  SealedHeader() = default;
  SealedHeader(uint64_t key_id, const FileSalt& salt);
  // Of the first bytes of a file, kSealedHeaderBytes unless it is shorter. A few wrong bytes in the
  // magic do not make it plain.
  static Kind parse(base::Bytes bytes, SealedHeader& header);

  uint64_t key_id() const { return key_id_; }
  const FileSalt& salt() const { return salt_; }
  const std::string& bytes() const { return bytes_; }
  uint64_t salt_crc() const { return salt_crc_; }

 private:
  uint64_t key_id_ = 0;
  FileSalt salt_{};
  std::string bytes_;
  uint64_t salt_crc_ = 0;
};

struct RecordHead {
  enum class Kind { whole, torn, damaged };

  uint32_t size = 0;  // of the plaintext
  bool begins_run = false;
  uint32_t dropped = 0;  // of the record before; then size is 0
  RunSalt salt{};

  size_t head_bytes() const { return begins_run ? kSealedRunHeadBytes : kSealedHeadBytes; }
  size_t total_bytes() const { return head_bytes() + size + kSealedTagBytes; }

  std::string encode(const SealedHeader& header, uint64_t number) const;
  static Kind parse(base::Bytes bytes, const SealedHeader& header, uint64_t number,
                    RecordHead& head);
};

// The cipher of one run.
class RunCipher {
 public:
  RunCipher(const SealKey& key, const SealedHeader& header, const RunSalt& salt);
  RunCipher(RunCipher&& other) noexcept;
  RunCipher& operator=(RunCipher&& other) noexcept;
  ~RunCipher();

  const RunSalt& salt() const { return salt_; }
  // `head`: the encoded head. Appends ciphertext and tag to `out`.
  void seal(uint64_t number, base::Bytes head, base::Bytes plain, std::string& out);
  // False: the tag does not fit, and `plain` is not to be used.
  bool open(uint64_t number, base::Bytes head, base::Bytes sealed, std::string& plain);

 private:
  void begin(uint64_t number, base::Bytes head, bool sealing);

  EVP_CIPHER_CTX* context_;
  std::string aad_;  // the header, then room for the number
  RunSalt salt_;
};

// A place between two records, and the run in force there.
struct SealedPlace {
  uint64_t plain = 0;  // plaintext before it
  uint64_t file = kSealedHeaderBytes;
  uint64_t number = 0;  // of the record behind it
  RunSalt salt{};

  void pass(const RecordHead& head, uint64_t plain_bytes);
};

// Where the plaintext of a file stands: its end, a mark every kMarkBytes, and the records that were
// cut. Memory: 48 bytes per mark.
class SealedMap {
 public:
  static constexpr uint64_t kMarkBytes = 128 * 1024;

  const SealedPlace& end() const { return end_; }
  // The record at the end. False: it cannot stand there.
  bool add(const RecordHead& head);
  // The last mark not behind the offset in the plaintext.
  const SealedPlace& mark_before(uint64_t plain) const;
  // How much of the plaintext of a record counts.
  uint64_t kept(uint64_t number, const RecordHead& head) const;
  // Forgets what stands behind `place`; `before`: plaintext of the record that ends there.
  void cut(const SealedPlace& place, uint64_t before);

 private:
  SealedPlace end_;
  uint64_t last_size_ = 0;  // plaintext of the record before the end
  std::vector<SealedPlace> marks_ = {SealedPlace{}};
  std::map<uint64_t, uint64_t> kept_;  // of records that were cut, by number
};

}  // namespace quoll::persist
