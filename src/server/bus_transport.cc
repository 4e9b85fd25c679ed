#include "server/bus_transport.h"

#include <fmt/format.h>

#include "server/log.h"
#include "server/settings.h"

namespace quoll::server {

using base::Error;
using base::Result;
using host::Peer;
using host::TlsTransport;

void BusTransport::note(cluster::RareTrouble& rare, const std::string& text) {
  if (const auto told = rare.tell(text, clock_.steady() / base::kNanosPerMilli))
    log::warning("{}", *told);
}

Result<std::unique_ptr<host::Listener>> BusTransport::listen(const host::Endpoint& at,
                                                             const host::ListenOptions& options,
                                                             host::OnPeer on_peer) {
  return plain_.listen(
      at, options, [this, on_peer = std::move(on_peer)](std::unique_ptr<Peer> peer) {
        if (!settings_.tls_cluster) return on_peer(std::move(peer));
        tls_.secure(std::move(peer), TlsTransport::Side::accepted, on_peer,
                    [this](const std::string& address, const std::string& error) {
                      note(accepting_, fmt::format("Error accepting cluster node connection: {} "
                                                   "(addr={})",
                                                   error, address));
                    });
      });
}

void BusTransport::dial(const host::Endpoint& to, host::OnDial done) {
  plain_.dial(to, [this, done = std::move(done)](Result<std::unique_ptr<Peer>> peer) {
    if (!peer || !settings_.tls_cluster) return done(std::move(peer));
    tls_.secure(
        std::move(peer.value()), TlsTransport::Side::dialed,
        [done](std::unique_ptr<Peer> secured) { done(std::move(secured)); },
        [this, done](const std::string& address, const std::string& error) {
          note(dialing_,
               fmt::format("Error connecting to cluster node: {} (addr={})", error, address));
          done(Error{error});
        });
  });
}

}  // namespace quoll::server
