// UvHost: the production host, one libuv loop on the calling thread with its clock, generator,
// disk, stream and datagram sockets, uploads, and the signals of the process.
#pragma once

#include <memory>

#include "host/host.h"
#include "host/upload.h"

namespace quoll::host {

class UvHost {
 public:
  UvHost();
  // Everything built on host() must be gone. Waits for disk requests in flight.
  ~UvHost();
  UvHost(const UvHost&) = delete;

  Host& host();
  Upload& upload();
  // See UvTransport.
  void set_source(const std::string& address);
  void use_ring(bool used);

  void run();   // turns until stop()
  void stop();  // from a callback: run() returns at the end of the turn
  // Runs `task` on the loop for every delivery of the signal, for the host's lifetime.
  void on_signal(int number, Task task);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace quoll::host
