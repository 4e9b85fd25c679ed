#include "base/sha256.h"

#include <doctest/doctest.h>

namespace quoll::base {

TEST_CASE("sha256 gives the digests of FIPS 180-4") {
  CHECK(digest_hex(sha256("")) ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest_hex(sha256("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest_hex(sha256(std::string(1'000'000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("digests compare and read back") {
  Sha256 digest = sha256("abc");
  Sha256 read;
  REQUIRE(parse_digest_hex(digest_hex(digest), read));
  CHECK(same_digest(digest, read));
  read[31] ^= 1;
  CHECK_FALSE(same_digest(digest, read));
  CHECK_FALSE(parse_digest_hex("abc", read));
  CHECK_FALSE(parse_digest_hex(std::string(64, 'g'), read));
  CHECK_FALSE(parse_digest_hex(std::string(64, 'A'), read));
  CHECK_FALSE(parse_digest_hex(std::string(65, 'a'), read));
}

}  // namespace quoll::base
