#include "host/uv_datagrams.h"

#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace quoll::host {

class UvDatagrams::Socket final : public WatchOwner {
 public:
  Socket(OnDatagram on_datagram, char* buffer)
      : on_datagram_(std::move(on_datagram)), buffer_(buffer) {}

  bool open(UvLoop& loop, int descriptor, int family) {
    family_ = family;
    if (!watch_.open(loop, descriptor, *this)) return false;
    if (on_datagram_) watch_.want(kReadable);
    return true;
  }
  int family() const { return family_; }
  int descriptor() const { return watch_.descriptor(); }

  void on_ready(unsigned) override {
    for (int i = 0; i < kDatagramsPerEventMax; ++i) {
      SocketAddress from;
      from.length = sizeof(from.storage);
      ssize_t got =
          recvfrom(watch_.descriptor(), buffer_, kDatagramBytesMax, 0, from.raw(), &from.length);
      if (got < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) break;
        continue;  // a refused send comes back as an error of the next receive
      }
      on_datagram_(to_endpoint(from), Bytes(buffer_, static_cast<size_t>(got)));
    }
    watch_.want(kReadable);
  }

 private:
  OnDatagram on_datagram_;
  char* buffer_;  // of kDatagramBytesMax
  UvWatch watch_;
  int family_ = AF_INET;
};

UvDatagrams::UvDatagrams(UvLoop& loop) : loop_(loop) {}

UvDatagrams::~UvDatagrams() = default;

base::Result<> UvDatagrams::bind(const Endpoint& at, OnDatagram on_datagram) {
  if (at.family == Endpoint::Family::unix_path) return base::Error{"datagrams need an IP address"};
  auto address = resolve_address(at);
  if (!address) return base::Error{address.error()};
  int family = address.value().family();
  int descriptor = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return base::Error{std::string("socket: ") + std::strerror(errno)};
  int on = 1;
  if (family == AF_INET6) {
    (void)setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  }
  if (::bind(descriptor, address.value().raw(), address.value().length) != 0) {
    base::Error error{std::string("bind: ") + std::strerror(errno)};
    ::close(descriptor);
    return error;
  }
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<char[]>(kDatagramBytesMax);
  auto socket = std::make_unique<Socket>(std::move(on_datagram), buffer_.get());
  if (!socket->open(loop_, descriptor, family)) return base::Error{"the loop took no socket"};
  sockets_.push_back(std::move(socket));
  return {};
}

UvDatagrams::Socket* UvDatagrams::socket_for(int family) {
  for (auto* sockets : {&sockets_, &unbound_}) {
    for (auto& socket : *sockets) {
      if (socket->family() == family) return socket.get();
    }
  }
  int descriptor = ::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return nullptr;
  auto socket = std::make_unique<Socket>(nullptr, nullptr);
  if (!socket->open(loop_, descriptor, family)) return nullptr;
  unbound_.push_back(std::move(socket));
  return unbound_.back().get();
}

void UvDatagrams::send(const Endpoint& to, Bytes bytes) {
  auto address = numeric_address(to);
  if (!address || to.family == Endpoint::Family::unix_path) return;
  Socket* socket = socket_for(address->family());
  if (socket == nullptr) return;
  (void)sendto(socket->descriptor(), bytes.data(), bytes.size(), MSG_NOSIGNAL, address->raw(),
               address->length);
}

Endpoint UvDatagrams::bound(size_t index) const {
  SocketAddress local;
  local.length = sizeof(local.storage);
  if (index >= sockets_.size() ||
      getsockname(sockets_[index]->descriptor(), local.raw(), &local.length) != 0) {
    return {};
  }
  return to_endpoint(local);
}

}  // namespace quoll::host
