// ClientMemory: bytes (in allocator terms) that are held for clients and not for data: replies that
// wait to be sent, requests that are still arriving, commands that wait for EXEC. The memory limit
// leaves them out, so that a slow reader never makes room at the cost of keys; `maxmemory-clients`
// limits them.
//
// One sum per process, kept where the large blocks are taken and given back; what a single client
// holds is Session::footprint(). Reached only from the loop thread.
// Cost: an addition per block of 16 KiB or more, none per command.
#pragma once

#include <cstddef>
#include <utility>

#include "base/check.h"

namespace quoll::base {

class ClientMemory {
 public:
  static size_t bytes() { return bytes_; }
  static void add(size_t bytes) { bytes_ += bytes; }
  static void subtract(size_t bytes) {
    QUOLL_DCHECK(bytes <= bytes_);
    bytes_ -= bytes;
  }

 private:
  inline static constinit size_t bytes_ = 0;
};

// Bytes that count while this object lives.
class HeldForClient {
 public:
  HeldForClient() = default;
  HeldForClient(HeldForClient&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}
  HeldForClient& operator=(HeldForClient&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~HeldForClient() { ClientMemory::subtract(bytes_); }

  size_t bytes() const { return bytes_; }
  void add(size_t bytes) {
    bytes_ += bytes;
    ClientMemory::add(bytes);
  }
  void subtract(size_t bytes) {
    bytes_ -= bytes;
    ClientMemory::subtract(bytes);
  }

 private:
  size_t bytes_ = 0;
};

}  // namespace quoll::base
