// How the two sides of a connection of the bus show each other that they know the cluster's secret.
//
//   proof = HMAC-SHA256(secret, part | greeting of who dials | greeting of who accepts)
//
// A greeting says who its side is, and holds a nonce that was drawn for this connection: a proof is
// worth nothing on another connection, nor in the other part of its own. Who dials proves itself
// first; who accepts shows nothing before.
//
// While the secret is changed nodes prove themselves by different ones (server/cluster_secret.h),
// so all that are known are believed, and who accepts answers by the one it was shown.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "host/host.h"

namespace quoll::cluster {

constexpr size_t kBusNonceBytes = 16;
constexpr size_t kBusProofBytes = 32;

// One or two; the first is what we prove ourselves by when we dial.
using BusSecrets = std::vector<std::string>;

std::string draw_bus_nonce(host::Process& process);
std::string bus_proof(base::Bytes secret, base::Bytes part, base::Bytes greeting_dialer,
                      base::Bytes greeting_acceptor);
// By which of the secrets the proof was made; nullptr: by none. Takes as long for any wrong proof.
const std::string* proven_secret(const BusSecrets& secrets, base::Bytes proof, base::Bytes part,
                                 base::Bytes greeting_dialer, base::Bytes greeting_acceptor);

}  // namespace quoll::cluster
