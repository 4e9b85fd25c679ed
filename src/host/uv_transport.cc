#include "host/uv_transport.h"

#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "host/uv_connection.h"

namespace quoll::host {
namespace {

base::Error system_error(const char* call) {
  return base::Error{std::string(call) + ": " + std::strerror(errno)};
}

// ---- listening

class Acceptor final : public WatchOwner, public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(UvLoop& loop, const Endpoint& endpoint, OnPeer on_peer)
      : loop_(loop), endpoint_(endpoint), on_peer_(std::move(on_peer)) {}

  bool open(int descriptor, bool heard_nested) {
    if (!watch_.open(loop_, descriptor, *this)) return false;
    if (heard_nested) watch_.hear_nested();
    watch_.want(kReadable);
    return true;
  }
  void pause(bool paused) {
    paused_ = paused;
    watch_.want(paused || resting_ ? 0U : unsigned{kReadable});
  }
  void close() {
    if (!watch_.is_open()) return;
    watch_.close();
    if (is_unix()) unlink(endpoint_.address.c_str());
  }
  const Endpoint& endpoint() const { return endpoint_; }

  void on_ready(unsigned) override {
    auto self = shared_from_this();
    for (int i = 0; i < kAcceptsPerEventMax && watch_.is_open() && !paused_; ++i) {
      SocketAddress remote;
      remote.length = sizeof(remote.storage);
      int descriptor =
          accept4(watch_.descriptor(), remote.raw(), &remote.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor < 0) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) rest();
        break;
      }
      if (is_unix()) remote.storage.ss_family = AF_UNIX;
      UvWatch watch;
      if (!watch.open(loop_, descriptor, *this)) continue;
      on_peer_(make_uv_peer(std::make_shared<Connection>(
          loop_, std::move(watch), remote, is_unix() ? endpoint_.address : std::string())));
    }
    if (!resting_ && !paused_) watch_.want(kReadable);  // in force again after a broken event
  }

 private:
  bool is_unix() const { return endpoint_.family == Endpoint::Family::unix_path; }

  // Descriptors or memory are short (EMFILE, ENFILE, ENOBUFS, ENOMEM): the waiting connection keeps
  // the socket readable, so polling on would spin.
  void rest() {
    resting_ = true;
    watch_.want(0);
    loop_.after(kAcceptRest, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      self->resting_ = false;
      if (!self->paused_) self->watch_.want(kReadable);
    });
  }

  UvLoop& loop_;
  UvWatch watch_;
  Endpoint endpoint_;
  OnPeer on_peer_;
  bool paused_ = false;
  bool resting_ = false;
};

class UvListener final : public Listener {
 public:
  explicit UvListener(std::shared_ptr<Acceptor> acceptor) : acceptor_(std::move(acceptor)) {}
  ~UvListener() override { acceptor_->close(); }
  Endpoint endpoint() const override { return acceptor_->endpoint(); }
  void pause(bool paused) override { acceptor_->pause(paused); }

 private:
  std::shared_ptr<Acceptor> acceptor_;
};

base::Result<> dress_unix_socket(const std::string& path, const ListenOptions& options) {
  if (options.unix_mode != 0 && chmod(path.c_str(), static_cast<mode_t>(options.unix_mode)) != 0) {
    return system_error("chmod");
  }
  if (options.unix_group.empty()) return {};
  const group* found = getgrnam(options.unix_group.c_str());
  if (found == nullptr)
    return base::Error{"unix socket group '" + options.unix_group + "' unknown"};
  if (chown(path.c_str(), static_cast<uid_t>(-1), found->gr_gid) != 0) {
    return system_error("chown");
  }
  return {};
}

void unlink_stale_socket(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) unlink(path.c_str());
}

// Returns a listening descriptor.
base::Result<int> listen_on(const SocketAddress& address, const Endpoint& at,
                            const ListenOptions& options) {
  int descriptor = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return system_error("socket");
  int on = 1;
  if (address.family() == AF_UNIX) {
    unlink_stale_socket(at.address);
  } else {
    (void)setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address.family() == AF_INET6) {
      (void)setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
  }
  base::Result<> outcome;
  if (bind(descriptor, address.raw(), address.length) != 0) {
    outcome = system_error("bind");
  } else if (address.family() == AF_UNIX) {
    // Permissions before listen(): nobody connects to a socket still open to everyone.
    outcome = dress_unix_socket(at.address, options);
    if (!outcome) unlink(at.address.c_str());
  }
  if (outcome.ok() && listen(descriptor, options.backlog) != 0) outcome = system_error("listen");
  if (outcome.ok()) return descriptor;
  close(descriptor);
  return base::Error{outcome.error()};
}

}  // namespace

base::Result<std::unique_ptr<Listener>> UvTransport::listen(const Endpoint& at,
                                                            const ListenOptions& options,
                                                            OnPeer on_peer) {
  auto address = resolve_address(at);
  if (!address) return base::Error{address.error()};
  auto descriptor = listen_on(address.value(), at, options);
  if (!descriptor) return base::Error{descriptor.error()};
  Endpoint bound = at;
  if (at.family != Endpoint::Family::unix_path) {
    SocketAddress local;
    local.length = sizeof(local.storage);
    if (getsockname(descriptor.value(), local.raw(), &local.length) == 0) {
      bound = to_endpoint(local);
    }
  }
  auto acceptor = std::make_shared<Acceptor>(loop_, bound, std::move(on_peer));
  if (!acceptor->open(descriptor.value(), options.heard_nested))
    return base::Error{"listen: the loop took no socket"};
  return std::unique_ptr<Listener>(std::make_unique<UvListener>(std::move(acceptor)));
}

// ---- dialing

class UvTransport::Dial final : public WatchOwner, public std::enable_shared_from_this<Dial> {
 public:
  Dial(UvTransport& transport, const SocketAddress& to, OnDial done)
      : transport_(transport), to_(to), done_(std::move(done)) {}

  // Returns 0 or the error code of the attempt.
  int begin() {
    int descriptor = socket(to_.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return errno;
    bind_source(descriptor);
    if (connect(descriptor, to_.raw(), to_.length) != 0 && errno != EINPROGRESS) {
      int code = errno;
      ::close(descriptor);
      return code;
    }
    if (!watch_.open(transport_.loop_, descriptor, *this)) return EIO;
    watch_.want(kWritable);
    return 0;
  }

  // Where it fails, or the other side is of another family, the system chooses, as with Redis.
  void bind_source(int descriptor) {
    const auto family = to_.family() == AF_INET6 ? Endpoint::Family::ipv6 : Endpoint::Family::ipv4;
    if (transport_.source_.empty() || to_.family() == AF_UNIX) return;
    auto source = numeric_address({family, transport_.source_, 0});
    if (!source || source->family() != to_.family()) return;
    int on = 1;
    (void)setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    (void)bind(descriptor, source->raw(), source->length);
  }

  void on_ready(unsigned) override {
    auto self = shared_from_this();
    transport_.dials_.erase(self);
    int code = 0;
    socklen_t length = sizeof(code);
    getsockopt(watch_.descriptor(), SOL_SOCKET, SO_ERROR, &code, &length);
    if (code != 0) {
      watch_.close();
      done_(base::Error{std::strerror(code)});
      return;
    }
    watch_.want(0);
    done_(make_uv_peer(std::make_shared<Connection>(transport_.loop_, std::move(watch_), to_, "")));
  }

 private:
  UvTransport& transport_;
  SocketAddress to_;
  OnDial done_;
  UvWatch watch_;
};

struct UvTransport::Lookup {
  uv_getaddrinfo_t request;
  UvTransport* transport;  // null once the transport is gone
  OnDial done;
};

UvTransport::UvTransport(UvLoop& loop) : loop_(loop) {}

UvTransport::~UvTransport() {
  for (Lookup* lookup : lookups_) {
    lookup->transport = nullptr;
    uv_cancel(reinterpret_cast<uv_req_t*>(&lookup->request));
  }
}

// ---- sending to many

void UvTransport::use_ring(bool used) {
  ring_wanted_ = used;
  if (!used) ring_.reset();
}

void UvTransport::send_all(std::span<Sending> sendings) {
  while (!sendings.empty()) {
    if (sendings.size() < kSendsWorthARing || !ring_wanted_) return Transport::send_all(sendings);
    if (!ring_) ring_ = SendRing::open();
    ring_wanted_ = ring_ != nullptr;
    if (!ring_) continue;
    const size_t count = std::min<size_t>(sendings.size(), kSendsPerCall);
    send_by_ring(sendings.first(count));
    sendings = sendings.subspan(count);
  }
}

// What cannot go by the ring goes by itself.
void UvTransport::send_by_ring(std::span<Sending> sendings) {
  struct Way {
    Connection* connection;
    size_t wanted;
  };
  Way ways[kSendsPerCall];
  vectors_.clear();
  size_t room = 0;
  for (const Sending& one : sendings) room += one.parts.size();
  vectors_.reserve(room);  // they stay where they are
  for (size_t i = 0; i < sendings.size(); ++i) {
    const auto parts = sendings[i].parts;
    size_t wanted = 0;
    for (const Bytes part : parts) wanted += part.size();
    Connection* connection = connection_of(*sendings[i].peer);
    const bool fits = connection && connection->can_send() && parts.size() <= kPartsPerSend &&
                      wanted <= kRingSendMax;
    ways[i] = {fits ? connection : nullptr, wanted};
    if (!fits) continue;
    const size_t first = vectors_.size();
    for (const Bytes part : parts)
      vectors_.push_back({const_cast<char*>(part.data()), part.size()});
    ring_->add(connection->descriptor(), std::span(vectors_).subspan(first));
  }
  int results[kSendsPerCall];
  bool ring_works = ring_->run(results);
  const int* next = results;
  for (size_t i = 0; i < sendings.size(); ++i) {
    const int result = ways[i].connection ? *next++ : -EINTR;
    if (result >= 0 || result == -EAGAIN || result == -EIO) {
      sendings[i].taken = ways[i].connection->sent(result, ways[i].wanted);
      continue;
    }
    // It was not sent. Where that succeeds otherwise, the ring was the reason.
    sendings[i].taken = sendings[i].peer->send(sendings[i].parts);
    ring_works &= result == -EINTR || sendings[i].taken == 0;
  }
  if (!ring_works) use_ring(false);
}

void UvTransport::set_source(const std::string& address) { source_ = address; }

void UvTransport::dial(const Endpoint& to, OnDial done) {
  if (auto address = numeric_address(to)) return dial_address(*address, std::move(done));
  if (to.family == Endpoint::Family::unix_path) {
    loop_.post([done = std::move(done)] { done(base::Error{std::strerror(ENAMETOOLONG)}); });
    return;
  }
  resolve_and_dial(to, std::move(done));
}

void UvTransport::dial_address(const SocketAddress& to, OnDial done) {
  auto dial = std::make_shared<Dial>(*this, to, done);
  int code = dial->begin();
  if (code == 0) {
    dials_.insert(std::move(dial));
    return;
  }
  loop_.post([done = std::move(done), code] { done(base::Error{std::strerror(code)}); });
}

void UvTransport::resolve_and_dial(const Endpoint& to, OnDial done) {
  auto* lookup = new Lookup{{}, this, std::move(done)};
  lookup->request.data = lookup;
  lookups_.insert(lookup);
  addrinfo hints{};
  hints.ai_family = to.family == Endpoint::Family::ipv4 ? AF_INET : AF_INET6;
  hints.ai_socktype = SOCK_STREAM;
  auto on_found = [](uv_getaddrinfo_t* request, int status, addrinfo* found) {
    std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(request->data));
    UvTransport* transport = lookup->transport;
    if (transport != nullptr) {
      transport->loop_.enter_turn();
      transport->lookups_.erase(lookup.get());
      if (status == 0 && found != nullptr) {
        SocketAddress address;
        std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
        address.length = found->ai_addrlen;
        transport->dial_address(address, std::move(lookup->done));
      } else {
        lookup->done(base::Error{"Name or service not known"});
      }
    }
    uv_freeaddrinfo(found);
  };
  std::string port = std::to_string(to.port);
  int status = uv_getaddrinfo(loop_.raw(), &lookup->request, on_found, to.address.c_str(),
                              port.c_str(), &hints);
  if (status == 0) return;
  lookups_.erase(lookup);
  loop_.post([done = std::move(lookup->done), status] { done(base::Error{uv_strerror(status)}); });
  delete lookup;
}

}  // namespace quoll::host
