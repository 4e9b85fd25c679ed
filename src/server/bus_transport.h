// BusTransport: connections between the nodes of a cluster: as they are, or by TLS with
// certificates on both sides (tls-cluster). The directive counts for connections made from then on.
//
// Handshakes that fail are told in the log, at intervals.
#pragma once

#include "cluster/rare_trouble.h"
#include "host/tls_transport.h"

namespace quoll::server {

struct Settings;

class BusTransport final : public host::Transport {
 public:
  BusTransport(host::Transport& plain, host::TlsTransport& tls, host::Clock& clock,
               const Settings& settings)
      : plain_(plain), tls_(tls), clock_(clock), settings_(settings) {}

  // `on_peer` may be called for a while after the listener is gone: by handshakes under way.
  base::Result<std::unique_ptr<host::Listener>> listen(const host::Endpoint& at,
                                                       const host::ListenOptions& options,
                                                       host::OnPeer on_peer) override;
  void dial(const host::Endpoint& to, host::OnDial done) override;

 private:
  void note(cluster::RareTrouble& rare, const std::string& text);

  host::Transport& plain_;
  host::TlsTransport& tls_;
  host::Clock& clock_;
  const Settings& settings_;
  cluster::RareTrouble accepting_, dialing_;
};

}  // namespace quoll::server
