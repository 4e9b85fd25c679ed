// UvTransport: non-blocking stream sockets (TCP over IPv4 and IPv6, unix) on the loop.
//
// Data path: recv() straight into PeerEvents::receive_buffer(), sendmsg() straight from the
// caller's parts; no buffer and no copy of its own. Descriptors are watched level-triggered, so a
// turn may stop reading at any point and is called again.
//
//   per readable event   one recv(); up to kReceivesPerEventMax while the buffer gets filled
//   send_all()           one call for kSendsPerCall connections where there is io_uring
//   per listener event   up to kAcceptsPerEventMax connections
//   out of descriptors   the listener rests for kAcceptRest and tries again, instead of spinning
//
// A Connection outlives its Peer only while one of its callbacks is on the stack.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "host/send_ring.h"
#include "host/uv_address.h"
#include "host/uv_watch.h"

namespace quoll::host {

constexpr int kReceivesPerEventMax = 4;
constexpr int kAcceptsPerEventMax = 1000;
constexpr size_t kPartsPerSend = 256;  // iovecs handed to one sendmsg()
constexpr size_t kSendsWorthARing = 4;
constexpr size_t kRingSendMax = size_t{1} << 30;  // bytes; it counts in 32 bits
constexpr Nanos kAcceptRest = 100 * base::kNanosPerMilli;

class UvTransport final : public Transport {
 public:
  explicit UvTransport(UvLoop& loop);
  ~UvTransport() override;

  base::Result<std::unique_ptr<Listener>> listen(const Endpoint& at, const ListenOptions& options,
                                                 OnPeer on_peer) override;
  void dial(const Endpoint& to, OnDial done) override;
  void send_all(std::span<Sending> sendings) override;
  void use_ring(bool used);  // of io_uring; not before it is first needed
  // Connections over IP that are dialed from now on start at this numeric address, where that can
  // be had; "" leaves it to the system.
  void set_source(const std::string& address);

 private:
  class Dial;
  struct Lookup;

  void resolve_and_dial(const Endpoint& to, OnDial done);
  void dial_address(const SocketAddress& to, OnDial done);

  void send_by_ring(std::span<Sending> sendings);

  UvLoop& loop_;
  std::unique_ptr<SendRing> ring_;
  std::vector<iovec> vectors_;  // of what is being sent
  bool ring_wanted_ = true;     // and not found to be missing
  std::string source_;
  std::set<std::shared_ptr<Dial>> dials_;  // under way
  std::set<Lookup*> lookups_;              // with the resolver
};

}  // namespace quoll::host
