// SendRing: sends to many sockets in one system call, by io_uring (Linux 5.18 and later; liburing).
//
// For who serves many clients the way into the kernel costs as much as what is done there: a
// message to 1,000 subscribers is 4 calls instead of 1,000. The sends are those of send(), tried
// once and complete when run() returns: MSG_DONTWAIT keeps the kernel from going on with one later.
// Containers often forbid io_uring, and old kernels lack it: open() tells, and its caller sends one
// by one.
//
// Memory: some 40 KiB, the kernel's part included. The ring is used up in every run(): nothing of
// it is under way between two.
#pragma once

#include <liburing.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <memory>
#include <span>

namespace quoll::host {

constexpr unsigned kSendsPerCall = 256;

class SendRing {
 public:
  static std::unique_ptr<SendRing> open();  // null: it is not to be had
  ~SendRing();
  SendRing(const SendRing&) = delete;

  // The descriptors and `vectors` live until run(). At most kSendsPerCall.
  void add(int descriptor, std::span<iovec> vectors);
  size_t waiting() const { return added_; }
  // Results in the order of add(): bytes, or a negative errno; -EINTR was not tried, and of -EIO
  // nobody knows. False: the ring failed, and is not to be used again.
  bool run(std::span<int> results);

 private:
  SendRing() = default;

  io_uring ring_;
  unsigned added_ = 0;
  std::array<msghdr, kSendsPerCall> messages_;
};

}  // namespace quoll::host
