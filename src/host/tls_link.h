// TlsLink: one TLS connection over an inner Peer, from its handshake to its end; and the handshakes
// that are under way. TlsPeer is the handle that owners hold.
//
// Cost of an idle link: OpenSSL's state and about 200 bytes. The SSL object is made when the first
// record has arrived, so that a stranger who says nothing, or half a word, costs next to nothing.
#pragma once

#include <list>
#include <vector>

#include "host/tls_context.h"
#include "host/tls_transport.h"

namespace quoll::host {

class TlsLink;

// Told how a handshake ended; the link is null when it failed.
using OnHandshake = std::function<void(std::shared_ptr<TlsLink>, const std::string& error)>;

// Handshakes under way, oldest first, and what all links of a transport share.
class TlsHandshakes : public std::enable_shared_from_this<TlsHandshakes> {
 public:
  TlsHandshakes(Loop& loop, Clock& clock);
  ~TlsHandshakes();

  void begin(std::unique_ptr<Peer> inner, TlsContext context, bool dialed, OnHandshake done);
  void end(TlsLink& link);
  void drop_all();
  // OpenSSL may not be asked now, for it was asked too much; the link is called again later.
  bool postpones(TlsLink& link);
  void answered() { ++answered_; }  // a link has OpenSSL's state from now on
  void spent(Nanos time) { used_ += time; }

  Loop& loop() { return loop_; }
  Clock& clock() { return clock_; }
  // Where ciphertext arrives. While a link delivers, its unread rest may lie in the first buffer:
  // whoever is heard nested gets the other one.
  std::span<char> scratch() { return delivering_ > 0 ? nested_scratch_ : scratch_; }
  void begin_delivery();
  void end_delivery() { --delivering_; }
  TlsStats& stats() { return stats_; }

 private:
  void watch();
  void drop_late();
  void go_on();
  void go_on_later();

  Loop& loop_;
  Clock& clock_;
  TlsStats stats_;
  std::vector<char> scratch_;
  std::vector<char> nested_scratch_;
  int delivering_ = 0;  // links from whose deliver() we were called
  std::list<std::shared_ptr<TlsLink>> under_way_;
  std::list<std::weak_ptr<TlsLink>> waiting_;
  TimerId timer_ = 0;
  Nanos turn_ = 0;
  Nanos used_ = 0;
  size_t answered_ = 0;  // of under_way_
  bool posted_ = false;
};

class TlsLink final : public PeerEvents, public std::enable_shared_from_this<TlsLink> {
 public:
  TlsLink(TlsHandshakes& home, std::unique_ptr<Peer> inner, TlsContext context, bool dialed,
          OnHandshake done);
  ~TlsLink() override;

  void begin();
  void proceed();  // with a handshake that had to wait
  void abandon(const std::string& error);
  void tell_nobody() { done_ = nullptr; }  // how the handshake ends
  Nanos deadline() const { return deadline_; }
  bool answered() const { return ssl_ != nullptr; }
  std::string common_name() const;  // of the other side's certificate

  // Peer's
  void start(PeerEvents& events);
  size_t send(std::span<const Bytes> parts);
  void pause_reads(bool paused);
  void close();
  Peer& inner() { return *inner_; }
  const Peer& inner() const { return *inner_; }

  // PeerEvents of the inner peer
  std::span<char> receive_buffer() override;
  void received(size_t bytes) override;
  void writable() override;
  bool ended() override;
  bool heard_nested() const override { return !dialed_; }
  void closed(const std::string& reason) override;

  // The BIO's sides
  int read_cipher(char* out, int size);
  int write_cipher(const char* bytes, int size);

  std::list<std::shared_ptr<TlsLink>>::iterator place;  // in TlsHandshakes::under_way_

 private:
  enum class State : uint8_t { handshake, open, closed };

  bool has_hello() const;
  bool make_ssl();
  void handshake();
  void deliver();
  void keep_rest();
  void fail_later();
  void finish(const std::string& reason);

  std::shared_ptr<TlsHandshakes> home_;
  std::unique_ptr<Peer> inner_;
  TlsContext context_;  // until the SSL object holds it
  SSL* ssl_ = nullptr;
  PeerEvents* events_ = nullptr;
  OnHandshake done_;
  Nanos deadline_;
  Bytes incoming_;     // received and not read by OpenSSL yet
  std::string stash_;  // incoming_ beyond the callback that brought it
  State state_ = State::handshake;
  bool dialed_;
  bool paused_ = false;
  bool delivering_ = false;
  bool must_answer_ = false;  // before it reads on
  bool resume_posted_ = false;
  bool failed_ = false;  // OpenSSL cannot be asked any more, not even to say good-bye
};

}  // namespace quoll::host
