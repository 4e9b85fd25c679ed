// SendQueue: what a connection of the bus has to send and the kernel did not take yet, in order.
//
// Cost: bytes are copied once; one gathered write per flush.
#pragma once

#include <deque>
#include <string>

#include "host/host.h"

namespace quoll::cluster {

class SendQueue {
 public:
  void add(base::Bytes bytes);
  // Hands over as much as the connection takes. It may end meanwhile.
  void flush(host::Peer& peer);
  // The connection takes bytes again.
  void writable() { blocked_ = false; }
  size_t waiting_bytes() const { return waiting_; }

 private:
  void consume(size_t bytes);

  std::deque<std::string> chunks_;
  size_t sent_ = 0;  // of the first chunk
  size_t waiting_ = 0;
  bool blocked_ = false;
};

}  // namespace quoll::cluster
