// UvDatagrams: UDP sockets on the loop. One socket per bound endpoint; a send leaves by the first
// bound socket of the target's family, so answers come back to it. Never blocks; what the kernel
// does not take at once is lost, as any datagram may be. All sockets receive into one buffer:
// handlers get a borrowed view.
#pragma once

#include "host/uv_address.h"
#include "host/uv_watch.h"

namespace quoll::host {

constexpr size_t kDatagramBytesMax = 65536;  // longer than any UDP payload
constexpr int kDatagramsPerEventMax = 64;    // then others get their turn

class UvDatagrams final : public Datagrams {
 public:
  explicit UvDatagrams(UvLoop& loop);
  ~UvDatagrams() override;

  base::Result<> bind(const Endpoint& at, OnDatagram on_datagram) override;
  void send(const Endpoint& to, Bytes bytes) override;
  // The endpoint of the n-th bind() with the port actually bound.
  Endpoint bound(size_t index) const;

 private:
  class Socket;

  Socket* socket_for(int family);

  UvLoop& loop_;
  std::unique_ptr<char[]> buffer_;                // kDatagramBytesMax; made by the first bind()
  std::vector<std::unique_ptr<Socket>> sockets_;  // bound ones, in order of bind()
  std::vector<std::unique_ptr<Socket>> unbound_;  // made by send() where nothing is bound
};

}  // namespace quoll::host
