// What a proof is about, which secrets are believed, and what of trouble is told.
#include "cluster/bus_proof.h"

#include <doctest/doctest.h>

#include "cluster/group_frames.h"
#include "cluster/rare_trouble.h"

namespace quoll::cluster {

TEST_CASE("bus proof: made for one part and two greetings, by one of the secrets") {
  const std::string old_one = "the old secret of it", new_one = "the new secret of it";
  const std::string proof = bus_proof(old_one, "dials", "greeting 1", "greeting 2");
  CHECK(proof.size() == kBusProofBytes);
  const BusSecrets both{new_one, old_one};
  const std::string* by = proven_secret(both, proof, "dials", "greeting 1", "greeting 2");
  REQUIRE(by);
  CHECK(*by == old_one);
  CHECK_FALSE(proven_secret({new_one}, proof, "dials", "greeting 1", "greeting 2"));
  CHECK_FALSE(proven_secret({}, proof, "dials", "greeting 1", "greeting 2"));
  // The other part, another connection, the sides exchanged.
  CHECK_FALSE(proven_secret(both, proof, "accepts", "greeting 1", "greeting 2"));
  CHECK_FALSE(proven_secret(both, proof, "dials", "greeting 3", "greeting 2"));
  CHECK_FALSE(proven_secret(both, proof, "dials", "greeting 1", "greeting 3"));
  CHECK_FALSE(proven_secret(both, proof, "dials", "greeting 2", "greeting 1"));
  // Every bit counts, and no byte may be missing or too many.
  for (size_t bit = 0; bit < 8 * proof.size(); ++bit) {
    std::string wrong = proof;
    wrong[bit / 8] = static_cast<char>(wrong[bit / 8] ^ (1 << (bit % 8)));
    CHECK_FALSE(proven_secret(both, wrong, "dials", "greeting 1", "greeting 2"));
  }
  for (size_t size = 0; size < proof.size(); ++size)
    CHECK_FALSE(proven_secret(both, proof.substr(0, size), "dials", "greeting 1", "greeting 2"));
  CHECK_FALSE(proven_secret(both, proof + "x", "dials", "greeting 1", "greeting 2"));
}

TEST_CASE(
    "group frames: a preamble says whether a proof follows, and is as before when none does") {
  const Preamble plain{0x1122334455667788, 3, 4, 6380, std::string(kMemberIdBytes, 'a')};
  const std::string bytes = encode_preamble(plain);
  CHECK(bytes.size() == kPreambleBytes);
  CHECK(bytes.substr(0, 12) == std::string("QUOLLGRP\x04\0\0\0", 12));
  CHECK_FALSE(decode_preamble(bytes)->proves);
  Preamble proving = plain;
  proving.proves = true;
  const auto read = decode_preamble(encode_preamble(proving));
  REQUIRE(read);
  CHECK(read->proves);
  CHECK(read->config == plain.config);
  CHECK(read->from == 3);
  CHECK(read->to == 4);
  CHECK(read->tls_port == 6380);
  CHECK(read->id == plain.id);
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK_FALSE(decode_preamble(base::Bytes(bytes).substr(0, size)));
  std::string other = bytes;
  other[8] = 5;
  CHECK_FALSE(decode_preamble(other));
}

TEST_CASE("rare trouble: told at once, then with the number of what was left out") {
  RareTrouble rare;
  CHECK(rare.tell("one", 0) == "one");
  CHECK_FALSE(rare.tell("two", 1));
  CHECK_FALSE(rare.tell("three", kTroubleEveryMs - 1));
  CHECK(rare.tell("four", kTroubleEveryMs) == "four (2 more since this was last said)");
  CHECK_FALSE(rare.tell("five", kTroubleEveryMs + 1));
  CHECK(rare.tell("six", 9 * kTroubleEveryMs) == "six (1 more since this was last said)");
  CHECK(rare.tell("seven", 10 * kTroubleEveryMs) == "seven");
}

}  // namespace quoll::cluster
