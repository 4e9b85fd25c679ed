#include "base/sha256.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

#include "base/text.h"

namespace quoll::base {

Sha256 sha256(Bytes text) {
  Sha256 digest;
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

bool same_digest(const Sha256& a, const Sha256& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string digest_hex(const Sha256& digest) {
  return to_hex(Bytes(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

bool parse_digest_hex(Bytes text, Sha256& digest) {
  if (text.size() != 2 * digest.size()) return false;
  for (char c : text)
    if (c >= 'A' && c <= 'F') return false;
  std::string bytes;
  if (!from_hex(text, bytes)) return false;
  std::ranges::copy(bytes, digest.begin());
  return true;
}

}  // namespace quoll::base
