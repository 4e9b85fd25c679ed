#include "cluster/gossip_cipher.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/check.h"

namespace quoll::cluster {
namespace {

using base::Bytes;

constexpr Bytes kLabel = "quoll gossip, 1";
constexpr size_t kKeyBytes = 32;
constexpr size_t kNonceBytes = 12;
// In the head of a datagram (gossip_frames.h).
constexpr size_t kFromAt = 8;
constexpr size_t kIncarnationAt = 12;
constexpr size_t kNonceAt = 16;

const unsigned char* raw(Bytes bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(std::string& bytes, size_t at) {
  return reinterpret_cast<unsigned char*>(bytes.data() + at);
}

// RFC 5869 with SHA-256. Fails only when memory is exhausted.
void derive(Bytes secret, Bytes salt, std::array<unsigned char, kKeyBytes>& key) {
  static EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
  char digest[] = "SHA256";
  const auto octets = [](const char* name, Bytes bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(bytes.data()), bytes.size());
  };
  OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                             octets(OSSL_KDF_PARAM_KEY, secret), octets(OSSL_KDF_PARAM_SALT, salt),
                             octets(OSSL_KDF_PARAM_INFO, kLabel), OSSL_PARAM_construct_end()};
  QUOLL_CHECK(EVP_KDF_derive(context, key.data(), key.size(), parameters) == 1);
  EVP_KDF_CTX_free(context);
}

std::array<unsigned char, kNonceBytes> nonce_of(Bytes head) {
  QUOLL_CHECK(head.size() == kGossipHeadBytes);
  std::array<unsigned char, kNonceBytes> nonce;
  std::memcpy(nonce.data(), head.data() + kFromAt, 2);
  std::memcpy(nonce.data() + 2, head.data() + kIncarnationAt, 2);
  std::memcpy(nonce.data() + 4, head.data() + kNonceAt, 8);
  return nonce;
}

}  // namespace

GossipCipher::GossipCipher(const std::vector<std::string>& secrets, Bytes cluster_id)
    : cluster_id_(cluster_id) {
  set_secrets(secrets);
}

GossipCipher::~GossipCipher() { clear(); }

void GossipCipher::clear() {
  for (const Key& key : keys_) {
    EVP_CIPHER_CTX_free(key.sealing);
    EVP_CIPHER_CTX_free(key.opening);
  }
  keys_.clear();
}

void GossipCipher::set_secrets(const std::vector<std::string>& secrets) {
  QUOLL_CHECK(!secrets.empty() && secrets.size() <= kGossipKeysMax);
  clear();
  for (const std::string& secret : secrets) {
    QUOLL_CHECK(secret.size() >= kGossipSecretBytesMin);  // whoever reads the file has refused it
    std::array<unsigned char, kKeyBytes> bytes;
    derive(secret, cluster_id_, bytes);
    const Key key{EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_new()};
    const EVP_CIPHER* cipher = EVP_aes_256_gcm();
    QUOLL_CHECK(EVP_EncryptInit_ex(key.sealing, cipher, nullptr, bytes.data(), nullptr) == 1);
    QUOLL_CHECK(EVP_DecryptInit_ex(key.opening, cipher, nullptr, bytes.data(), nullptr) == 1);
    OPENSSL_cleanse(bytes.data(), bytes.size());
    keys_.push_back(key);
  }
}

void GossipCipher::seal(Bytes head, Bytes plain, std::string& out) {
  EVP_CIPHER_CTX* context = keys_.front().sealing;
  const auto nonce = nonce_of(head);
  const size_t at = out.size();
  out.resize(at + plain.size() + kGossipTagBytes);
  int size = 0;
  QUOLL_CHECK(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1);
  QUOLL_CHECK(
      EVP_EncryptUpdate(context, nullptr, &size, raw(head), static_cast<int>(head.size())) == 1);
  QUOLL_CHECK(EVP_EncryptUpdate(context, raw(out, at), &size, raw(plain),
                                static_cast<int>(plain.size())) == 1);
  QUOLL_CHECK(EVP_EncryptFinal_ex(context, raw(out, at + plain.size()), &size) == 1);
  QUOLL_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kGossipTagBytes,
                                  raw(out, at + plain.size())) == 1);
}

bool GossipCipher::open(Bytes head, Bytes sealed, std::string& plain) {
  if (sealed.size() < kGossipTagBytes) return false;
  for (const Key& key : keys_)
    if (open_with(key.opening, head, sealed, plain)) return true;
  plain.clear();
  return false;
}

bool GossipCipher::open_with(EVP_CIPHER_CTX* context, Bytes head, Bytes sealed,
                             std::string& plain) {
  const auto nonce = nonce_of(head);
  const Bytes text = sealed.substr(0, sealed.size() - kGossipTagBytes);
  std::array<unsigned char, kGossipTagBytes> tag;
  std::memcpy(tag.data(), sealed.data() + text.size(), tag.size());
  plain.resize(text.size());
  int size = 0;
  return EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
         EVP_DecryptUpdate(context, nullptr, &size, raw(head), static_cast<int>(head.size())) ==
             1 &&
         EVP_DecryptUpdate(context, raw(plain, 0), &size, raw(text),
                           static_cast<int>(text.size())) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kGossipTagBytes, tag.data()) == 1 &&
         EVP_DecryptFinal_ex(context, raw(plain, plain.size()), &size) == 1;
}

}  // namespace quoll::cluster
