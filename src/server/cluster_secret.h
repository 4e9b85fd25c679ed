// The secret that the nodes of a cluster share: who does not know it is not heard by them.
//
// cluster-secret-file holds one or two lines, a secret each, of kGossipSecretBytesMin bytes at
// least; spaces around them are not part of them, empty lines do not count. The first seals what we
// say, all open what we hear: datagrams of gossip (cluster/gossip_cipher.h), and the proofs with
// which connections of the bus begin (cluster/bus_proof.h). So a secret is changed without a gap,
// in three steps, each on all nodes before the next (the file is read at start, by SIGHUP, and when
// the directive is changed):
//
//   1. old     2. new     3. new
//      new        old
//
// Without the file the secret follows from the id of the cluster: nodes of other clusters are kept
// out, but not who wants to get in.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace quoll::server {

class Config;

// The error says what is wrong with the file, without its name.
base::Result<std::vector<std::string>> parse_cluster_secrets(base::Bytes content);

class ClusterSecrets {
 public:
  explicit ClusterSecrets(const Config& config) : config_(config) {}

  // Reads the file. With an error the secrets stay as they are.
  base::Result<> load();
  // Whether there is a file.
  bool given() const { return !secrets_.empty(); }
  // None without one.
  const std::vector<std::string>& of_file() const { return secrets_; }
  // One or two, for the cluster of this id; the first seals.
  std::vector<std::string> of(base::Bytes cluster_id) const;
  // Runs after every load(); one listener.
  void on_load(std::function<void()> task) { on_load_ = std::move(task); }

 private:
  const Config& config_;
  std::vector<std::string> secrets_;
  std::function<void()> on_load_;
};

}  // namespace quoll::server
