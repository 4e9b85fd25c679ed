#include "host/uv_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <typeinfo>
#include <utility>

#include "base/check.h"
#include "host/uv_transport.h"

namespace quoll::host {
namespace {

void set_option(int descriptor, int level, int option, int value) {
  // Tuning only: a socket that refuses still carries data.
  (void)setsockopt(descriptor, level, option, &value, sizeof(value));
}

class UvPeer final : public Peer {
 public:
  explicit UvPeer(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~UvPeer() override { connection_->close(); }

  void start(PeerEvents& events) override { connection_->start(events); }
  size_t send(std::span<const Bytes> parts) override { return connection_->send(parts); }
  void pause_reads(bool paused) override { connection_->pause_reads(paused); }
  void close() override { connection_->close(); }
  std::string remote_address() const override { return connection_->remote_text(); }
  std::string local_address() const override { return connection_->local_text(); }
  bool is_unix() const override { return connection_->is_unix(); }
  bool is_loopback() const override { return connection_->is_loopback(); }
  int descriptor() const override { return connection_->descriptor(); }
  void set_keepalive(int seconds) override { connection_->set_keepalive(seconds); }
  Connection* connection() { return connection_.get(); }

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Peer> make_uv_peer(std::shared_ptr<Connection> connection) {
  return std::make_unique<UvPeer>(std::move(connection));
}

Connection* connection_of(Peer& peer) {
  return typeid(peer) == typeid(UvPeer) ? static_cast<UvPeer&>(peer).connection() : nullptr;
}

Connection::Connection(UvLoop& loop, UvWatch watch, const SocketAddress& remote,
                       std::string listened_at)
    : loop_(loop),
      watch_(std::move(watch)),
      listened_at_(std::move(listened_at)),
      is_unix_(remote.family() == AF_UNIX),
      is_loopback_(is_loopback_address(remote)) {
  watch_.set_owner(*this);
  // A client of a unix socket has no name: both sides are shown as the path listened at.
  Endpoint endpoint = to_endpoint(remote);
  if (is_unix_ && endpoint.address.empty()) endpoint.address = listened_at_;
  remote_text_ = address_text(endpoint);
  if (!is_unix_) set_option(watch_.descriptor(), IPPROTO_TCP, TCP_NODELAY, 1);
}

void Connection::start(PeerEvents& events) {
  if (!watch_.is_open()) return;
  events_ = &events;
  if (events.heard_nested()) watch_.hear_nested();
  refresh_watch();
}

size_t Connection::send(std::span<const Bytes> parts) {
  if (!can_send()) return 0;
  size_t taken = 0;
  while (!parts.empty()) {
    iovec vectors[kPartsPerSend];
    size_t count = std::min(parts.size(), kPartsPerSend);
    size_t wanted = 0;
    for (size_t i = 0; i < count; ++i) {
      vectors[i] = {const_cast<char*>(parts[i].data()), parts[i].size()};
      wanted += parts[i].size();
    }
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = count;
    // One part is the common case; send() spares the kernel copying in the vector.
    ssize_t result = count == 1 ? ::send(watch_.descriptor(), parts[0].data(), wanted, MSG_NOSIGNAL)
                                : sendmsg(watch_.descriptor(), &message, MSG_NOSIGNAL);
    if (result < 0 && errno == EINTR) continue;
    const size_t bytes = sent(result < 0 ? -errno : result, wanted);
    taken += bytes;
    if (bytes < wanted) break;
    parts = parts.subspan(count);
  }
  return taken;
}

size_t Connection::sent(ssize_t result, size_t wanted) {
  if (result < 0 && result != -EAGAIN && result != -EWOULDBLOCK) {
    failure_ = std::strerror(static_cast<int>(-result));
    loop_.post([weak = weak_from_this()] {  // not from inside send(): callers do not expect it
      if (auto self = weak.lock()) self->finish(self->failure_);
    });
    return 0;
  }
  if (result < static_cast<ssize_t>(wanted)) {
    wants_writable_ = true;
    refresh_watch();
  }
  return static_cast<size_t>(std::max<ssize_t>(result, 0));
}

void Connection::pause_reads(bool paused) {
  if (paused_ == paused) return;
  paused_ = paused;
  if (!paused) half_closed_ = false;  // the next recv() finds the end again
  refresh_watch();
}

void Connection::close() {
  events_ = nullptr;
  watch_.close();
}

void Connection::hear_end() {
  if (!events_->ended()) return finish("");
  half_closed_ = true;
}

void Connection::finish(const std::string& reason) {
  PeerEvents* events = std::exchange(events_, nullptr);
  watch_.close();
  // A failed send took the socket's error with it.
  if (events) events->closed(failure_.empty() ? reason : failure_);
}

void Connection::refresh_watch() {
  if (events_ == nullptr) return;
  unsigned ready = wants_writable_ ? unsigned{kWritable} : 0U;
  if (!paused_) {
    ready |= kReadable;
  } else {
    // After the end was seen, asking for it again would wake every turn: only a reset is news.
    ready |= half_closed_ ? kUrgent : kHangup;
  }
  watch_.want(ready);
}

void Connection::on_ready(unsigned ready) {
  auto self = shared_from_this();
  if (events_ == nullptr) return;
  if (paused_) {
    hear_while_paused(ready);
  } else if (ready & ~unsigned{kWritable}) {
    receive();
  }
  if (events_ != nullptr && (ready & kWritable) && wants_writable_) {
    wants_writable_ = false;
    events_->writable();
  }
  refresh_watch();
}

void Connection::receive() {
  for (int i = 0; i < kReceivesPerEventMax; ++i) {
    std::span<char> buffer = events_->receive_buffer();
    QUOLL_CHECK(!buffer.empty());
    ssize_t got = recv(watch_.descriptor(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
      events_->received(static_cast<size_t>(got));
      if (events_ == nullptr || paused_ || static_cast<size_t>(got) < buffer.size()) return;
    } else if (got == 0) {
      return hear_end();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno != EINTR) {
      return finish(std::strerror(errno));
    }
  }
}

void Connection::hear_while_paused(unsigned ready) {
  if ((ready & kBroken) || (half_closed_ && (ready & kUrgent))) {
    int code = 0;
    socklen_t length = sizeof(code);
    getsockopt(watch_.descriptor(), SOL_SOCKET, SO_ERROR, &code, &length);
    return finish(code == 0 ? "" : std::strerror(code));
  }
  if (ready & kHangup) {
    if (unread_bytes() == 0) return hear_end();
    half_closed_ = true;
  }
}

size_t Connection::unread_bytes() const {
  int bytes = 0;
  if (ioctl(watch_.descriptor(), FIONREAD, &bytes) != 0) return 0;
  return static_cast<size_t>(bytes);
}

std::string Connection::local_text() const {
  if (is_unix_) return listened_at_.empty() ? remote_text_ : listened_at_ + ":0";
  SocketAddress local;
  local.length = sizeof(local.storage);
  if (!watch_.is_open() || getsockname(watch_.descriptor(), local.raw(), &local.length) != 0) {
    return "?:0";
  }
  return address_text(to_endpoint(local));
}

void Connection::set_keepalive(int seconds) {
  if (is_unix_ || !watch_.is_open()) return;
  int descriptor = watch_.descriptor();
  set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, seconds > 0 ? 1 : 0);
  if (seconds <= 0) return;
  // First probe after `seconds`, then three probes a third apart: dead within twice the setting.
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, std::max(seconds / 3, 1));
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

}  // namespace quoll::host
