// TlsTransport: a Transport that speaks TLS (OpenSSL) over the connections of another one. What it
// hands out are Peers like any other; their owners do not know.
//
//   inner Peer -> bytes as received -> SSL -> plain bytes -> PeerEvents
//   send() -> SSL -> inner Peer; what that does not take waits here, at most one record
//
// OpenSSL reads and writes through a BIO that has no buffer of its own, and gives its record
// buffers back when idle (SSL_MODE_RELEASE_BUFFERS), so that a quiet connection costs little more
// than OpenSSL's own state.
//
// Handshakes are work that strangers ask for. At most kHandshakesMax are under way, the oldest
// giving way; each may take kHandshakeTimeout. OpenSSL is asked when a whole ClientHello is there,
// for at most kAnsweredMax at a time and kHandshakeBudget per turn; the rest waits, in order.
//
// configure() builds and checks everything before it replaces what is in force. Connections keep
// what they began with.
#pragma once

#include <memory>
#include <string>

#include "host/host.h"
#include "host/tls_settings.h"

namespace quoll::host {

struct TlsStats {
  uint64_t handshakes = 0;  // finished
  uint64_t failed = 0;      // for whatever reason
  size_t under_way = 0;
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(Transport& inner, Loop& loop, Clock& clock);
  ~TlsTransport() override;

  // Checks certificates, keys and the rest, then uses them for new connections. On an error what
  // was in force stays.
  base::Result<> configure(const TlsSettings& settings);
  bool configured() const;
  // A file of the configuration in force is another one than when it was read. Looks at the files.
  bool files_changed();

  // `on_peer` gets a peer whose handshake is done.
  base::Result<std::unique_ptr<Listener>> listen(const Endpoint& at, const ListenOptions& options,
                                                 OnPeer on_peer) override;
  // The same, and the common name of the client's certificate ("" when it gave none). The other
  // function is told of handshakes that failed.
  using OnNamedPeer = std::function<void(std::unique_ptr<Peer>, const std::string& common_name)>;
  using OnFailure = std::function<void(const std::string& address, const std::string& error)>;
  base::Result<std::unique_ptr<Listener>> listen_named(const Endpoint& at,
                                                       const ListenOptions& options,
                                                       OnNamedPeer on_peer, OnFailure on_failure);
  void dial(const Endpoint& to, OnDial done) override;
  // TLS with another server over a connection that was dialed or accepted elsewhere. Both sides
  // show a certificate (TlsSettings::between_servers).
  enum class Side : uint8_t { dialed, accepted };
  void secure(std::unique_ptr<Peer> peer, Side side, OnPeer on_peer, OnFailure on_failure);

  const TlsStats& stats() const;

 private:
  Transport& inner_;
  std::shared_ptr<class TlsHandshakes> handshakes_;
  std::shared_ptr<class TlsContexts> contexts_;
};

}  // namespace quoll::host
