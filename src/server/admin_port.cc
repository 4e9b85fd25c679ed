#include "server/admin_port.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "server/log.h"
#include "server/metrics.h"
#include "server/replication.h"
#include "server/server.h"
#include "server/version.h"
#include "wire/http_request.h"

namespace quoll::server {
namespace {

constexpr size_t kConnectionsMax = 64;
constexpr base::Nanos kPatience = 10 * 1000 * base::kNanosPerMilli;
constexpr size_t kReceiveBytes = 2 * 1024;
constexpr int kBacklog = 64;

struct Answer {
  int status;
  std::string body;
  Bytes type = "text/plain; charset=utf-8";
};

Bytes status_text(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Service Unavailable";
  }
}

Answer answer_to(Server& server, const wire::HttpRequestParser& request) {
  if (request.method() != "GET" && !request.is_head())
    return {405, "only GET and HEAD are served\n"};
  const Bytes path = request.path();
  if (path == "/livez") return {200, "ok\n"};
  if (path == "/readyz") {
    server.refresh_clock();
    std::string reasons = reasons_not_ready(server);
    if (reasons.empty()) return {200, "ok\n"};
    return {503, std::move(reasons)};
  }
  if (path == "/metrics") {
    server.refresh_clock();
    return {200, metrics_text(server), "text/plain; version=0.0.4; charset=utf-8"};
  }
  if (path == "/version")
    return {200,
            fmt::format("{{\"server\":\"quoll\",\"version\":\"{}\",\"redis_version\":\"{}\"}}\n",
                        kQuollVersion, kRedisVersion),
            "application/json"};
  return {404, "there is /livez, /readyz, /metrics and /version\n"};
}

}  // namespace

std::string reasons_not_ready(Server& server) {
  std::string reasons;
  if (server.shutting_down()) reasons += "shutting down\n";
  if (server.persistence().loading()) reasons += "loading the data\n";
  if (server.replication().following()) {
    const Following& link = server.replication().link();
    if (link.info().loading)
      reasons += "full synchronization with the primary in progress\n";
    else if (!link.connected())
      reasons += "the link to the primary is down\n";
  }
  return reasons;
}

class AdminPort::Connection final : public host::PeerEvents {
 public:
  Connection(AdminPort& port, std::unique_ptr<host::Peer> peer)
      : port_(port), peer_(std::move(peer)) {}
  ~Connection() override {
    if (patience_ != 0) loop().cancel(patience_);
  }

  void start() {
    be_patient();
    peer_->start(*this);
  }
  bool idle() const { return answer_.empty(); }
  void close() {
    if (closed_) return;
    closed_ = true;
    peer_->close();
    port_.forget(*this);
  }

  std::span<char> receive_buffer() override { return buffer_; }
  void received(size_t bytes) override {
    pending_.append(buffer_.data(), bytes);
    serve();
  }
  void writable() override {
    send();
    serve();  // a request that was already here
  }
  bool ended() override { return !answer_.empty(); }
  bool heard_nested() const override { return true; }
  void closed(const std::string&) override {
    if (std::exchange(closed_, true)) return;
    port_.forget(*this);
  }

 private:
  host::Loop& loop() { return port_.server_.host().loop; }
  void be_patient() {
    loop().cancel(patience_);
    patience_ = loop().after(kPatience, [this] {
      patience_ = 0;
      close();
    });
  }

  // What has arrived is at most one buffer beyond a request: reading rests while one is answered.
  void serve() {
    while (answer_.empty() && !closed_) {
      pending_.erase(0, request_.feed(pending_));
      if (request_.state() == wire::HttpRequestParser::State::more) return;
      respond();
      send();
    }
  }

  void respond() {
    const bool broken = request_.state() == wire::HttpRequestParser::State::broken;
    const Answer answer = broken ? Answer{request_.status(), "the request is not served\n"}
                                 : answer_to(port_.server_, request_);
    last_ = broken || !request_.keep_alive();
    answer_ = fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n"
        "Cache-Control: no-store\r\n{}\r\n",
        answer.status, status_text(answer.status), answer.type, answer.body.size(),
        last_ ? "close" : "keep-alive", answer.status == 405 ? "Allow: GET, HEAD\r\n" : "");
    if (!request_.is_head() || broken) answer_ += answer.body;
    sent_ = 0;
    be_patient();
  }

  void send() {
    if (answer_.empty() || closed_) return;
    const Bytes rest = Bytes(answer_).substr(sent_);
    sent_ += peer_->send({&rest, 1});
    if (closed_) return;
    peer_->pause_reads(sent_ < answer_.size());
    if (sent_ < answer_.size()) return;
    if (last_) return close();
    answer_.clear();
    request_.reset();
  }

  friend class AdminPort;
  AdminPort& port_;
  std::unique_ptr<host::Peer> peer_;
  wire::HttpRequestParser request_;
  std::array<char, kReceiveBytes> buffer_;
  std::string pending_;
  std::string answer_;
  size_t sent_ = 0;
  host::TimerId patience_ = 0;
  bool last_ = false;
  bool closed_ = false;
};

AdminPort::AdminPort(Server& server) : server_(server) {}

AdminPort::~AdminPort() {
  for (auto& connection : connections_) connection->closed_ = true;
}

base::Result<> AdminPort::start() {
  const Settings& settings = server_.settings();
  if (settings.admin_port == 0) return {};
  host::ListenOptions options;
  options.backlog = kBacklog;
  options.heard_nested = true;
  std::string address = settings.admin_bind == "*" ? "0.0.0.0" : settings.admin_bind;
  using Family = host::Endpoint::Family;
  const Family family = address.find(':') == std::string::npos ? Family::ipv4 : Family::ipv6;
  auto listener = server_.host().transport.listen(
      {family, address, static_cast<uint16_t>(settings.admin_port)}, options,
      [this](std::unique_ptr<host::Peer> peer) { accept(std::move(peer)); });
  if (!listener)
    return base::Error{fmt::format("Failed listening on admin port {}:{}: {}", address,
                                   settings.admin_port, listener.error())};
  listener_ = std::move(listener.value());
  log::notice("Admin port: http://{}:{}/metrics, /livez, /readyz", address, settings.admin_port);
  return {};
}

void AdminPort::accept(std::unique_ptr<host::Peer> peer) {
  if (connections_.size() >= kConnectionsMax) {
    // The oldest that has asked nothing makes room: idle ones must not keep a probe out.
    const auto idle =
        std::ranges::find_if(connections_, [](const auto& one) { return one->idle(); });
    if (idle == connections_.end()) return;  // destroying the peer closes it
    (*idle)->close();
  }
  connections_.push_back(std::make_unique<Connection>(*this, std::move(peer)));
  connections_.back()->start();
}

// The connection may be running now, so it is freed in a later turn.
void AdminPort::forget(Connection& connection) {
  const auto at = std::ranges::find(connections_, &connection, &std::unique_ptr<Connection>::get);
  if (at == connections_.end()) return;
  std::shared_ptr<Connection> kept = std::move(*at);
  server_.host().loop.cancel(std::exchange(kept->patience_, 0));  // it may outlive the server
  connections_.erase(at);
  server_.host().loop.post([kept] {});
}

}  // namespace quoll::server
