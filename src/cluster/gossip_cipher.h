// Datagrams sealed with AES-256-GCM by a key that every node of the cluster derives from its
// secret.
//
//   key   = HKDF-SHA256(secret, salt = id of the cluster, info = label)
//   nonce = from2 | incarnation, low 2 | nonce8 of the datagram; the head is authenticated
//
// A sender counts its nonces up from a random 64-bit number per start, so none comes twice: two of
// its starts would have to draw numbers closer to each other than it sends datagrams.
//
// The secret is changed without a gap by two keys: first every node gets the new one beside the old
// (it opens both), then every node seals with the new one, then the old one is dropped.
//
// Cost: about 1 us per datagram; a datagram that no key opens costs as many tries as there are
// keys.
#pragma once

#include <openssl/types.h>

#include <array>
#include <memory>
#include <vector>

#include "cluster/gossip_frames.h"

namespace quoll::cluster {

constexpr size_t kGossipKeysMax = 2;
constexpr size_t kGossipSecretBytesMin = 16;

class GossipCipher final : public GossipSeal {
 public:
  // `secrets`: the first seals, all open; one or two.
  GossipCipher(const std::vector<std::string>& secrets, base::Bytes cluster_id);
  ~GossipCipher() override;
  GossipCipher(const GossipCipher&) = delete;
  GossipCipher& operator=(const GossipCipher&) = delete;

  void seal(base::Bytes head, base::Bytes plain, std::string& out) override;
  bool open(base::Bytes head, base::Bytes sealed, std::string& plain) override;
  // Another ring of keys, from now on.
  void set_secrets(const std::vector<std::string>& secrets);

 private:
  struct Key {
    EVP_CIPHER_CTX* sealing;
    EVP_CIPHER_CTX* opening;
  };
  void clear();
  bool open_with(EVP_CIPHER_CTX* context, base::Bytes head, base::Bytes sealed, std::string& plain);

  std::string cluster_id_;
  std::vector<Key> keys_;
};

}  // namespace quoll::cluster
