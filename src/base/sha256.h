// SHA-256 (FIPS 180-4) by OpenSSL's libcrypto, and comparing digests in constant time.
//
// Cost: one pass over the text. same_digest() takes as long for equal digests as for different
// ones.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace quoll::base {

using Sha256 = std::array<uint8_t, 32>;

Sha256 sha256(Bytes text);
bool same_digest(const Sha256& a, const Sha256& b);

std::string digest_hex(const Sha256& digest);  // 64 lower-case digits
// False unless `text` is what digest_hex() gives.
bool parse_digest_hex(Bytes text, Sha256& digest);

}  // namespace quoll::base
