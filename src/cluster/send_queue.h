// SendQueue: what a connection of the bus has to send and the kernel did not take yet, in order.
//
// Cost: bytes are copied once, those that the connection takes at once not at all; one gathered
// write per flush. The connection may end while it is sent to: then nothing more is sent.
#pragma once

#include <deque>
#include <string>

#include "host/host.h"

namespace quoll::cluster {

class SendQueue {
 public:
  void add(base::Bytes bytes);
  // At once, if nothing is before it; what the connection does not take is added.
  void send(host::Peer& peer, base::Bytes head, base::Bytes rest);
  // Hands over as much as the connection takes.
  void flush(host::Peer& peer);
  // The connection has ended.
  void end() { ended_ = true; }
  // The connection takes bytes again.
  void writable() { blocked_ = false; }
  size_t waiting_bytes() const { return waiting_; }

 private:
  void consume(size_t bytes);

  std::deque<std::string> chunks_;
  size_t sent_ = 0;  // of the first chunk
  size_t waiting_ = 0;
  bool blocked_ = false;
  bool ended_ = false;
};

}  // namespace quoll::cluster
