#include "host/send_ring.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"

namespace quoll::host {

std::unique_ptr<SendRing> SendRing::open() {
  std::unique_ptr<SendRing> made(new SendRing);
  // All that is handed in is tried, also behind a send that cannot be.
  if (io_uring_queue_init(kSendsPerCall, &made->ring_, IORING_SETUP_SUBMIT_ALL) == 0) return made;
  made->ring_.ring_fd = -1;
  return nullptr;
}

SendRing::~SendRing() {
  if (ring_.ring_fd >= 0) io_uring_queue_exit(&ring_);
}

void SendRing::add(int descriptor, std::span<iovec> vectors) {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  QUOLL_CHECK(entry != nullptr);
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  if (vectors.size() == 1) {  // spares the kernel copying in the vector
    io_uring_prep_send(entry, descriptor, vectors[0].iov_base, vectors[0].iov_len, kFlags);
  } else {
    msghdr& message = messages_[added_] = {};
    message.msg_iov = vectors.data();
    message.msg_iovlen = vectors.size();
    io_uring_prep_sendmsg(entry, descriptor, &message, kFlags);
  }
  entry->user_data = added_++;
}

bool SendRing::run(std::span<int> results) {
  const unsigned wanted = std::exchange(added_, 0);
  std::fill_n(results.begin(), wanted, -EIO);
  unsigned tried = 0;
  unsigned done = 0;
  while (done < wanted) {
    const int entered = io_uring_submit_and_wait(&ring_, wanted - done);
    if (entered == -EINTR) continue;
    if (entered < 0) break;
    tried += static_cast<unsigned>(entered);
    unsigned head;
    unsigned seen = 0;
    io_uring_cqe* completion;
    io_uring_for_each_cqe(&ring_, head, completion) {
      results[completion->user_data] = completion->res;
      ++seen;
    }
    io_uring_cq_advance(&ring_, seen);
    done += seen;
    if (entered == 0 && seen == 0) break;
  }
  std::fill(results.begin() + tried, results.begin() + wanted, -EINTR);
  return done == wanted;
}

}  // namespace quoll::host
