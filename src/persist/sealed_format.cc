#include "persist/sealed_format.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/crc64.h"
#include "base/text.h"

namespace quoll::persist {

using base::Bytes;
using base::Error;
using base::Result;

namespace {

constexpr Bytes kMagic("\x89QSEAL\r\n", 8);
constexpr size_t kMagicLikeness = 6;  // equal bytes of the magic that no plain file has
constexpr uint32_t kVersion = 1;
constexpr uint32_t kBeginsRun = uint32_t{1} << 31;
constexpr Bytes kRunLabel = "quoll sealed file, run key, 1";
constexpr Bytes kIdLabel = "quoll sealed file, key id, 1";
constexpr size_t kNonceBytes = 12;
constexpr size_t kHeaderCrcAt = 56;

template <class Number>
void put(Number value, std::string& out) {
  for (size_t i = 0; i < sizeof(Number); ++i) out += static_cast<char>(value >> (8 * i));
}

template <class Number>
Number get(Bytes bytes, size_t at) {
  Number value = 0;
  for (size_t i = 0; i < sizeof(Number); ++i)
    value |= static_cast<Number>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return value;
}

uint32_t folded(uint64_t crc) { return static_cast<uint32_t>(crc ^ (crc >> 32)); }

const unsigned char* unsigned_bytes(Bytes bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

// RFC 5869 with SHA-256. Fails only when memory is exhausted.
void derive(Bytes key, Bytes salt, std::string info, unsigned char* out, size_t size) {
  static EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
  char digest[] = "SHA256";
  auto octets = [](const char* name, Bytes bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(bytes.data()), bytes.size());
  };
  OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                             octets(OSSL_KDF_PARAM_KEY, key), octets(OSSL_KDF_PARAM_SALT, salt),
                             octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  QUOLL_CHECK(EVP_KDF_derive(context, out, size, parameters) == 1);
  EVP_KDF_CTX_free(context);
}

}  // namespace

// ---- keys

SealKey::SealKey(Bytes bytes) {
  QUOLL_CHECK(bytes.size() == kSealKeyBytes);
  std::copy(bytes.begin(), bytes.end(), bytes_.begin());
  unsigned char id[sizeof id_];
  derive(bytes, "", std::string(kIdLabel), id, sizeof id);
  id_ = get<uint64_t>(Bytes(reinterpret_cast<char*>(id), sizeof id), 0);
}

SealKey::~SealKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

std::string SealKey::name(uint64_t id) { return base::to_hex(id); }

Result<SealKeys> SealKeys::parse(Bytes content) {
  SealKeys keys;
  if (content.size() == kSealKeyBytes) {
    keys.keys_.emplace_back(content);
    return keys;
  }
  std::string bytes;
  for (size_t at = 0, line = 1; at < content.size(); ++line) {
    const size_t end = std::min(content.find('\n', at), content.size());
    const Bytes text = base::trimmed(content.substr(at, end - at));
    at = end + 1;
    if (text.empty() || text.front() == '#') continue;
    const std::string where = "line " + std::to_string(line) + " ";
    bytes.clear();
    if (!base::from_hex(text, bytes) || bytes.size() != kSealKeyBytes) {
      return Error{where + "is not a key of 64 hex digits (nor is the file one of 32 bytes)"};
    }
    SealKey key(bytes);
    OPENSSL_cleanse(bytes.data(), bytes.size());
    if (keys.find(key.id()) != nullptr) return Error{where + "repeats an earlier key"};
    if (keys.keys_.size() == kSealKeysMax) return Error{"it holds more than 64 keys"};
    keys.keys_.push_back(key);
  }
  if (keys.empty()) return Error{"it holds no key"};
  return keys;
}

const SealKey* SealKeys::find(uint64_t id) const {
  for (const SealKey& key : keys_) {
    if (key.id() == id) return &key;
  }
  return nullptr;
}

std::string SealKeys::names() const {
  std::string text;
  for (const SealKey& key : keys_) text += (text.empty() ? "" : ", ") + SealKey::name(key.id());
  return text;
}

// ---- header and heads

SealedHeader::SealedHeader(uint64_t key_id, const FileSalt& salt) : key_id_(key_id), salt_(salt) {
  bytes_ = kMagic;
  put(kVersion, bytes_);
  put(uint32_t{0}, bytes_);
  put(key_id_, bytes_);
  bytes_.append(salt_.data(), salt_.size());
  put(base::crc64(bytes_), bytes_);
  salt_crc_ = base::crc64(Bytes(salt_.data(), salt_.size()));
}

SealedHeader::Kind SealedHeader::parse(Bytes bytes, SealedHeader& header) {
  const Bytes start = bytes.substr(0, kMagic.size());
  if (start.size() < kMagic.size()) {
    return !start.empty() && kMagic.starts_with(start) ? Kind::torn : Kind::plain;
  }
  size_t equal = 0;
  for (size_t i = 0; i < kMagic.size(); ++i) equal += start[i] == kMagic[i];
  if (equal < kMagicLikeness) return Kind::plain;
  if (equal < kMagic.size()) return Kind::damaged;
  if (bytes.size() < kSealedHeaderBytes) return Kind::torn;
  if (get<uint64_t>(bytes, kHeaderCrcAt) != base::crc64(bytes.substr(0, kHeaderCrcAt)))
    return Kind::damaged;
  if (get<uint32_t>(bytes, 8) != kVersion) return Kind::unknown_version;
  FileSalt salt;
  std::memcpy(salt.data(), bytes.data() + 24, salt.size());
  header = SealedHeader(get<uint64_t>(bytes, 16), salt);
  return Kind::sealed;
}

std::string RecordHead::encode(const SealedHeader& header, uint64_t number) const {
  std::string place;
  put(number, place);
  std::string out;
  put(size | (begins_run ? kBeginsRun : 0), out);
  const uint64_t crc = base::crc64(out, base::crc64(place, header.salt_crc()));
  put(folded(crc), out);
  if (!begins_run) return out;
  put(dropped, out);
  out.append(salt.data(), salt.size());
  put(folded(base::crc64(Bytes(out).substr(kSealedHeadBytes), crc)), out);
  return out;
}

RecordHead::Kind RecordHead::parse(Bytes bytes, const SealedHeader& header, uint64_t number,
                                   RecordHead& head) {
  if (bytes.size() < kSealedHeadBytes) return Kind::torn;
  std::string place;
  put(number, place);
  const uint64_t crc = base::crc64(bytes.substr(0, 4), base::crc64(place, header.salt_crc()));
  if (get<uint32_t>(bytes, 4) != folded(crc)) return Kind::damaged;
  const auto word = get<uint32_t>(bytes, 0);
  head.size = word & ~kBeginsRun;
  head.begins_run = (word & kBeginsRun) != 0;
  head.dropped = 0;
  if (head.size > kSealedRecordBytesMax) return Kind::damaged;
  if (!head.begins_run) return Kind::whole;
  if (bytes.size() < kSealedRunHeadBytes) return Kind::torn;
  const Bytes run = bytes.substr(kSealedHeadBytes, 4 + sizeof(RunSalt));
  if (get<uint32_t>(bytes, kSealedRunHeadBytes - 4) != folded(base::crc64(run, crc)))
    return Kind::damaged;
  head.dropped = get<uint32_t>(run, 0);
  std::memcpy(head.salt.data(), run.data() + 4, head.salt.size());
  return Kind::whole;
}

// ---- cipher

RunCipher::RunCipher(const SealKey& key, const SealedHeader& header, const RunSalt& salt)
    : context_(EVP_CIPHER_CTX_new()), aad_(header.bytes()), salt_(salt) {
  static EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  unsigned char run_key[kSealKeyBytes];
  derive(key.bytes(), Bytes(header.salt().data(), header.salt().size()),
         std::string(kRunLabel).append(salt.data(), salt.size()), run_key, sizeof run_key);
  QUOLL_CHECK(EVP_CipherInit_ex2(context_, cipher, run_key, nullptr, 1, nullptr) == 1);
  OPENSSL_cleanse(run_key, sizeof run_key);
}

RunCipher::RunCipher(RunCipher&& other) noexcept
    : context_(std::exchange(other.context_, nullptr)),
      aad_(std::move(other.aad_)),
      salt_(other.salt_) {}

RunCipher& RunCipher::operator=(RunCipher&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(aad_, other.aad_);
  salt_ = other.salt_;
  return *this;
}

RunCipher::~RunCipher() { EVP_CIPHER_CTX_free(context_); }

void RunCipher::begin(uint64_t number, Bytes head, bool sealing) {
  aad_.resize(kSealedHeaderBytes);
  put(number, aad_);
  unsigned char nonce[kNonceBytes] = {};
  std::memcpy(nonce, aad_.data() + kSealedHeaderBytes, sizeof number);
  aad_ += head;
  int size = 0;
  QUOLL_CHECK(EVP_CipherInit_ex2(context_, nullptr, nullptr, nonce, sealing, nullptr) == 1);
  QUOLL_CHECK(EVP_CipherUpdate(context_, nullptr, &size, unsigned_bytes(aad_),
                               static_cast<int>(aad_.size())) == 1);
}

void RunCipher::seal(uint64_t number, Bytes head, Bytes plain, std::string& out) {
  begin(number, head, true);
  const size_t at = out.size();
  out.resize(at + plain.size() + kSealedTagBytes);
  auto* target = reinterpret_cast<unsigned char*>(out.data()) + at;
  int size = 0;
  if (!plain.empty()) {
    QUOLL_CHECK(EVP_CipherUpdate(context_, target, &size, unsigned_bytes(plain),
                                 static_cast<int>(plain.size())) == 1);
  }
  QUOLL_CHECK(EVP_CipherFinal_ex(context_, target + plain.size(), &size) == 1);
  QUOLL_CHECK(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, kSealedTagBytes,
                                  target + plain.size()) == 1);
}

bool RunCipher::open(uint64_t number, Bytes head, Bytes sealed, std::string& plain) {
  QUOLL_CHECK(sealed.size() >= kSealedTagBytes);
  begin(number, head, false);
  const Bytes tag = sealed.substr(sealed.size() - kSealedTagBytes);
  sealed.remove_suffix(kSealedTagBytes);
  plain.resize(sealed.size());
  auto* target = reinterpret_cast<unsigned char*>(plain.data());
  int size = 0;
  if (!sealed.empty()) {
    QUOLL_CHECK(EVP_CipherUpdate(context_, target, &size, unsigned_bytes(sealed),
                                 static_cast<int>(sealed.size())) == 1);
  }
  QUOLL_CHECK(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, kSealedTagBytes,
                                  const_cast<char*>(tag.data())) == 1);
  return EVP_CipherFinal_ex(context_, target + plain.size(), &size) == 1;
}

// ---- places

void SealedPlace::pass(const RecordHead& head, uint64_t plain_bytes) {
  plain += plain_bytes;
  file += head.total_bytes();
  ++number;
  if (head.begins_run) salt = head.salt;
}

bool SealedMap::add(const RecordHead& head) {
  if (end_.number == 0 && !head.begins_run) return false;
  if (head.dropped > 0) {
    if (head.size > 0 || head.dropped >= last_size_) return false;
    end_.plain -= head.dropped;
    kept_[end_.number - 1] = last_size_ - head.dropped;
    if (marks_.back().file == end_.file) marks_.back().plain = end_.plain;
  }
  end_.pass(head, head.size);
  last_size_ = head.size;
  if (end_.file - marks_.back().file >= kMarkBytes) marks_.push_back(end_);
  return true;
}

const SealedPlace& SealedMap::mark_before(uint64_t plain) const {
  auto behind = std::upper_bound(
      marks_.begin(), marks_.end(), plain,
      [](uint64_t value, const SealedPlace& place) { return value < place.plain; });
  return *std::prev(behind);
}

uint64_t SealedMap::kept(uint64_t number, const RecordHead& head) const {
  auto found = kept_.find(number);
  return found == kept_.end() ? head.size : found->second;
}

void SealedMap::cut(const SealedPlace& place, uint64_t before) {
  while (marks_.size() > 1 && marks_.back().file > place.file) marks_.pop_back();
  kept_.erase(kept_.lower_bound(place.number > 0 ? place.number - 1 : 0), kept_.end());
  end_ = place;
  last_size_ = before;
}

}  // namespace quoll::persist
