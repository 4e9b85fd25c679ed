#include "cluster/bus_proof.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstring>

#include "base/sha256.h"
#include "cluster/group_frames.h"

namespace quoll::cluster {

using base::Bytes;

std::string draw_bus_nonce(host::Process& process) {
  std::string nonce;
  FieldWriter out(nonce);
  out.number(process.draw_secret()).number(process.draw_secret());
  return nonce;
}

std::string bus_proof(Bytes secret, Bytes part, Bytes greeting_dialer, Bytes greeting_acceptor) {
  std::string text(part);
  (text += greeting_dialer) += greeting_acceptor;
  base::Sha256 proof{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), proof.data(), &size);
  return std::string(proof.begin(), proof.end());
}

const std::string* proven_secret(const BusSecrets& secrets, Bytes proof, Bytes part,
                                 Bytes greeting_dialer, Bytes greeting_acceptor) {
  if (proof.size() != kBusProofBytes) return nullptr;
  base::Sha256 shown{}, wanted{};
  std::memcpy(shown.data(), proof.data(), shown.size());
  const std::string* found = nullptr;
  for (const std::string& secret : secrets) {
    const std::string right = bus_proof(secret, part, greeting_dialer, greeting_acceptor);
    std::memcpy(wanted.data(), right.data(), wanted.size());
    if (base::same_digest(shown, wanted)) found = &secret;
  }
  return found;
}

}  // namespace quoll::cluster
