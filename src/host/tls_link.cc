#include "host/tls_link.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quoll::host {
namespace {

constexpr size_t kHandshakesMax = 16384;  // under way at once
constexpr size_t kAnsweredMax = 2048;     // of these, with OpenSSL's state (about 40 KiB each)
constexpr Nanos kHandshakeTimeout = 10'000 * base::kNanosPerMilli;
constexpr Nanos kHandshakeBudget = 2 * base::kNanosPerMilli;  // of one turn, for all handshakes
constexpr Nanos kWatchInterval = 500 * base::kNanosPerMilli;
constexpr size_t kScratchBytes = 32 * 1024;  // of ciphertext, per received()
constexpr size_t kRecordBytes = 16 * 1024;   // TLS's largest record; small parts share one
constexpr size_t kRecordHeaderBytes = 5;     // type, version (2), length (2): RFC 8446, 5.1
constexpr char kHandshakeRecord = 22;

TlsLink& link_of(BIO* bio) { return *static_cast<TlsLink*>(BIO_get_data(bio)); }

int bio_read(BIO* bio, char* out, int size) {
  BIO_clear_retry_flags(bio);
  const int got = link_of(bio).read_cipher(out, size);
  if (got == 0) BIO_set_retry_read(bio);
  return got == 0 ? -1 : got;
}

int bio_write(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const int taken = link_of(bio).write_cipher(bytes, size);
  if (taken == 0) BIO_set_retry_write(bio);
  return taken == 0 ? -1 : taken;
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

// Lives as long as the process: every link uses it.
BIO_METHOD* link_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "quoll peer");
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

class TlsPeer final : public Peer {
 public:
  explicit TlsPeer(std::shared_ptr<TlsLink> link) : link_(std::move(link)) {}
  ~TlsPeer() override { link_->close(); }

  void start(PeerEvents& events) override { link_->start(events); }
  size_t send(std::span<const Bytes> parts) override { return link_->send(parts); }
  void pause_reads(bool paused) override { link_->pause_reads(paused); }
  void close() override { link_->close(); }
  std::string remote_address() const override { return link_->inner().remote_address(); }
  std::string local_address() const override { return link_->inner().local_address(); }
  bool is_unix() const override { return link_->inner().is_unix(); }
  bool is_loopback() const override { return link_->inner().is_loopback(); }
  int descriptor() const override { return link_->inner().descriptor(); }
  void set_keepalive(int seconds) override { link_->inner().set_keepalive(seconds); }

 private:
  std::shared_ptr<TlsLink> link_;
};

}  // namespace

// --- handshakes under way ----------------------------------------------------------------------

TlsHandshakes::TlsHandshakes(Loop& loop, Clock& clock)
    : loop_(loop), clock_(clock), scratch_(kScratchBytes) {}

TlsHandshakes::~TlsHandshakes() { loop_.cancel(timer_); }

void TlsHandshakes::begin_delivery() {
  ++delivering_;
  if (nested_scratch_.empty()) nested_scratch_.resize(kScratchBytes);
}

void TlsHandshakes::begin(std::unique_ptr<Peer> inner, TlsContext context, bool dialed,
                          OnHandshake done) {
  if (under_way_.size() >= kHandshakesMax) {
    const std::shared_ptr<TlsLink> oldest = under_way_.front();
    oldest->abandon("too many TLS handshakes under way");
  }
  auto link = std::make_shared<TlsLink>(*this, std::move(inner), std::move(context), dialed,
                                        std::move(done));
  link->place = under_way_.insert(under_way_.end(), link);
  stats_.under_way = under_way_.size();
  watch();
  link->begin();
}

void TlsHandshakes::end(TlsLink& link) {
  under_way_.erase(link.place);
  stats_.under_way = under_way_.size();
  if (!link.answered()) return;
  --answered_;
  if (!waiting_.empty()) go_on_later();
}

void TlsHandshakes::watch() {
  if (timer_ != 0 || under_way_.empty()) return;
  timer_ = loop_.after(kWatchInterval, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->timer_ = 0;
    self->drop_late();
    self->watch();
  });
}

void TlsHandshakes::drop_all() {
  while (!under_way_.empty()) {
    const std::shared_ptr<TlsLink> link = under_way_.front();
    link->tell_nobody();
    link->abandon({});
  }
}

void TlsHandshakes::drop_late() {
  const Nanos now = clock_.steady();
  while (!under_way_.empty() && under_way_.front()->deadline() <= now) {
    const std::shared_ptr<TlsLink> late = under_way_.front();
    late->abandon("TLS handshake timed out");
  }
}

bool TlsHandshakes::postpones(TlsLink& link) {
  if (turn_ != loop_.turn_start()) {
    turn_ = loop_.turn_start();
    used_ = 0;
  }
  const bool full = !link.answered() && answered_ >= kAnsweredMax;
  if (!full && used_ < kHandshakeBudget) return false;
  waiting_.push_back(link.weak_from_this());
  if (!full) go_on_later();  // else when one ends
  return true;
}

void TlsHandshakes::go_on_later() {
  if (posted_) return;
  posted_ = true;
  loop_.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->go_on();
  });
}

void TlsHandshakes::go_on() {
  posted_ = false;
  std::list<std::weak_ptr<TlsLink>> waiting = std::move(waiting_);
  waiting_.clear();
  for (const auto& weak : waiting)
    if (auto link = weak.lock()) link->proceed();
}

// --- one link ----------------------------------------------------------------------------------

TlsLink::TlsLink(TlsHandshakes& home, std::unique_ptr<Peer> inner, TlsContext context, bool dialed,
                 OnHandshake done)
    : home_(home.shared_from_this()),
      inner_(std::move(inner)),
      context_(std::move(context)),
      done_(std::move(done)),
      deadline_(home.clock().steady() + kHandshakeTimeout),
      dialed_(dialed) {}

TlsLink::~TlsLink() { SSL_free(ssl_); }

void TlsLink::begin() {
  const std::shared_ptr<TlsLink> self = shared_from_this();
  inner_->start(*this);
  if (dialed_) handshake();  // the side that dials speaks first
}

bool TlsLink::make_ssl() {
  ssl_ = SSL_new(context_.get());
  context_.reset();
  BIO* bio = ssl_ ? BIO_new(link_method()) : nullptr;
  if (!bio) return false;
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  dialed_ ? SSL_set_connect_state(ssl_) : SSL_set_accept_state(ssl_);
  home_->answered();
  return true;
}

int TlsLink::read_cipher(char* out, int size) {
  const size_t taken = std::min(incoming_.size(), static_cast<size_t>(size));
  if (taken > 0) std::memcpy(out, incoming_.data(), taken);
  incoming_.remove_prefix(taken);
  return static_cast<int>(taken);
}

int TlsLink::write_cipher(const char* bytes, int size) {
  const Bytes part(bytes, static_cast<size_t>(size));
  return static_cast<int>(inner_->send({&part, 1}));
}

std::span<char> TlsLink::receive_buffer() { return home_->scratch(); }

void TlsLink::received(size_t bytes) {
  const std::shared_ptr<TlsLink> self = shared_from_this();
  // What is unread came earlier. The scratch holds only until this call returns.
  if (delivering_ && stash_.empty() && !incoming_.empty()) keep_rest();
  if (!stash_.empty()) {
    const size_t done = stash_.size() - incoming_.size();
    stash_.erase(0, done);
    stash_.append(home_->scratch().data(), bytes);
    incoming_ = stash_;
  } else {
    incoming_ = Bytes(home_->scratch().data(), bytes);
  }
  if (state_ == State::handshake) handshake();
  if (state_ == State::open) deliver();
  keep_rest();
}

void TlsLink::keep_rest() {
  if (state_ == State::closed || incoming_.empty()) {
    incoming_ = {};
    std::string().swap(stash_);
  } else if (stash_.empty()) {
    stash_ = incoming_;
    incoming_ = stash_;
  }
}

// The first record is there, or something that is none: OpenSSL says what is wrong with it.
bool TlsLink::has_hello() const {
  if (dialed_ || ssl_) return true;
  if (incoming_.empty()) return false;
  if (incoming_[0] != kHandshakeRecord) return true;
  if (incoming_.size() < kRecordHeaderBytes) return false;
  const size_t length = static_cast<size_t>(static_cast<uint8_t>(incoming_[3])) << 8 |
                        static_cast<uint8_t>(incoming_[4]);
  return length > kRecordBytes || incoming_.size() >= kRecordHeaderBytes + length;
}

void TlsLink::handshake() {
  if (!has_hello()) return;
  if (home_->postpones(*this)) return inner_->pause_reads(true);
  if (!ssl_ && !make_ssl()) return abandon(tls_error_text());
  const Nanos start = home_->clock().steady();
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  home_->spent(home_->clock().steady() - start);
  if (result == 1) {
    state_ = State::open;
    home_->end(*this);
    ++home_->stats().handshakes;
    OnHandshake done = std::move(done_);
    done_ = nullptr;
    return done(shared_from_this(), {});
  }
  const int why = SSL_get_error(ssl_, result);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
  failed_ = true;
  abandon(tls_error_text());
}

void TlsLink::proceed() {
  if (state_ != State::handshake) return;
  const std::shared_ptr<TlsLink> self = shared_from_this();
  inner_->pause_reads(false);
  handshake();
  if (state_ == State::open) deliver();
  keep_rest();
}

void TlsLink::abandon(const std::string& error) {
  if (state_ != State::handshake) return;
  const std::shared_ptr<TlsLink> self = shared_from_this();
  state_ = State::closed;
  inner_->close();
  home_->end(*this);
  ++home_->stats().failed;
  OnHandshake done = std::move(done_);
  done_ = nullptr;
  if (done) done(nullptr, error);
}

// --- an open link ------------------------------------------------------------------------------

void TlsLink::start(PeerEvents& events) {
  events_ = &events;
  if (!delivering_ && !incoming_.empty()) pause_reads(paused_);
}

void TlsLink::deliver() {
  if (delivering_) return;
  delivering_ = true;
  const std::shared_ptr<TlsHandshakes> home = home_;
  home->begin_delivery();
  while (state_ == State::open && events_ && !paused_) {
    std::span<char> room = events_->receive_buffer();
    QUOLL_CHECK(!room.empty());
    ERR_clear_error();
    const int size = static_cast<int>(std::min<size_t>(room.size(), INT32_MAX));
    const int got = SSL_read(ssl_, room.data(), size);
    if (got > 0) {
      events_->received(static_cast<size_t>(got));
      continue;
    }
    const int why = SSL_get_error(ssl_, got);
    if (why == SSL_ERROR_WANT_READ) break;
    if (why == SSL_ERROR_WANT_WRITE) {
      // OpenSSL has to answer first, and the other side does not read: nothing more is taken from
      // it.
      must_answer_ = true;
      inner_->pause_reads(true);
      break;
    }
    if (why == SSL_ERROR_ZERO_RETURN) {
      if (!events_->ended()) finish("");
      break;
    }
    failed_ = true;
    finish(tls_error_text());
  }
  home->end_delivery();
  delivering_ = false;
}

size_t TlsLink::send(std::span<const Bytes> parts) {
  if (state_ != State::open || failed_) return 0;
  char record[kRecordBytes];
  size_t taken = 0;
  size_t offset = 0;  // in the first part
  while (!parts.empty()) {
    Bytes next = parts[0].substr(offset);
    if (next.size() < kRecordBytes && parts.size() > 1) {
      size_t filled = 0;
      for (size_t i = 0; i < parts.size() && filled < kRecordBytes; ++i) {
        const Bytes part = i == 0 ? next : parts[i];
        const size_t more = std::min(part.size(), kRecordBytes - filled);
        std::memcpy(record + filled, part.data(), more);
        filled += more;
      }
      next = Bytes(record, filled);
    }
    if (next.empty()) break;
    ERR_clear_error();
    const int size = static_cast<int>(std::min(next.size(), kRecordBytes));
    const int sent = SSL_write(ssl_, next.data(), size);
    if (sent <= 0) {
      const int why = SSL_get_error(ssl_, sent);
      if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) fail_later();
      break;
    }
    taken += static_cast<size_t>(sent);
    offset += static_cast<size_t>(sent);
    while (!parts.empty() && offset >= parts[0].size()) {
      offset -= parts[0].size();
      parts = parts.subspan(1);
    }
  }
  return taken;
}

// Owners do not expect to be told from inside send().
void TlsLink::fail_later() {
  failed_ = true;
  home_->loop().post([weak = weak_from_this(), error = tls_error_text()] {
    if (auto self = weak.lock()) self->finish(error);
  });
}

void TlsLink::pause_reads(bool paused) {
  paused_ = paused;
  if (state_ != State::open) return;
  inner_->pause_reads(paused || must_answer_);
  const bool more = !incoming_.empty() || (ssl_ && SSL_has_pending(ssl_));
  if (paused || delivering_ || resume_posted_ || !more) return;
  resume_posted_ = true;
  home_->loop().post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->resume_posted_ = false;
    self->deliver();
    self->keep_rest();
  });
}

void TlsLink::writable() {
  const std::shared_ptr<TlsLink> self = shared_from_this();
  if (state_ == State::handshake) {
    handshake();
    if (state_ == State::open) deliver();
    keep_rest();
    return;
  }
  if (std::exchange(must_answer_, false) && state_ == State::open) pause_reads(paused_);
  if (state_ == State::open && events_) events_->writable();
}

bool TlsLink::ended() {
  const std::shared_ptr<TlsLink> self = shared_from_this();
  return state_ == State::open && events_ && events_->ended();
}

void TlsLink::closed(const std::string& reason) {
  const std::shared_ptr<TlsLink> self = shared_from_this();
  if (state_ == State::handshake) return abandon(reason.empty() ? "connection closed" : reason);
  failed_ = true;
  finish(reason);
}

void TlsLink::finish(const std::string& reason) {
  PeerEvents* events = std::exchange(events_, nullptr);
  close();
  if (events) events->closed(reason);
}

void TlsLink::close() {
  if (state_ != State::open) return;
  state_ = State::closed;
  events_ = nullptr;
  ERR_clear_error();
  if (!failed_) SSL_shutdown(ssl_);
  SSL_free(std::exchange(ssl_, nullptr));
  inner_->close();
}

std::string TlsLink::common_name() const {
  X509* certificate = ssl_ ? SSL_get0_peer_certificate(ssl_) : nullptr;
  if (!certificate || SSL_get_verify_result(ssl_) != X509_V_OK) return {};
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  const int size = ASN1_STRING_to_UTF8(&text, value);
  if (size < 0) return {};
  std::string name(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return name.find('\0') == std::string::npos ? name : std::string();
}

// --- the transport -----------------------------------------------------------------------------

TlsTransport::TlsTransport(Transport& inner, Loop& loop, Clock& clock)
    : inner_(inner),
      handshakes_(std::make_shared<TlsHandshakes>(loop, clock)),
      contexts_(std::make_shared<TlsContexts>()) {}

TlsTransport::~TlsTransport() { handshakes_->drop_all(); }

base::Result<> TlsTransport::configure(const TlsSettings& settings) {
  return contexts_->configure(settings);
}

bool TlsTransport::configured() const { return contexts_->configured(); }
bool TlsTransport::files_changed() { return contexts_->files_changed(); }
const TlsStats& TlsTransport::stats() const { return handshakes_->stats(); }

base::Result<std::unique_ptr<Listener>> TlsTransport::listen(const Endpoint& at,
                                                             const ListenOptions& options,
                                                             OnPeer on_peer) {
  return listen_named(
      at, options,
      [on_peer](std::unique_ptr<Peer> peer, const std::string&) { on_peer(std::move(peer)); },
      [](const std::string&, const std::string&) {});
}

base::Result<std::unique_ptr<Listener>> TlsTransport::listen_named(const Endpoint& at,
                                                                   const ListenOptions& options,
                                                                   OnNamedPeer on_peer,
                                                                   OnFailure on_failure) {
  return inner_.listen(at, options, [this, on_peer, on_failure](std::unique_ptr<Peer> peer) {
    if (!configured()) return;  // the peer goes, and with it the connection
    const std::string address = peer->remote_address();
    handshakes_->begin(
        std::move(peer), contexts_->server(), false,
        [on_peer, on_failure, address](std::shared_ptr<TlsLink> link, const std::string& error) {
          if (!link) return on_failure(address, error);
          const std::string name = link->common_name();
          on_peer(std::make_unique<TlsPeer>(std::move(link)), name);
        });
  });
}

void TlsTransport::secure(std::unique_ptr<Peer> peer, Side side, OnPeer on_peer,
                          OnFailure on_failure) {
  const std::string address = peer->remote_address();
  const bool dialed = side == Side::dialed;
  const TlsContext& context = dialed ? contexts_->client() : contexts_->mutual();
  if (!context) return on_failure(address, "TLS is not configured");  // the peer goes
  handshakes_->begin(std::move(peer), context, dialed,
                     [on_peer = std::move(on_peer), on_failure = std::move(on_failure), address](
                         std::shared_ptr<TlsLink> link, const std::string& error) {
                       if (!link) return on_failure(address, error);
                       on_peer(std::make_unique<TlsPeer>(std::move(link)));
                     });
}

void TlsTransport::dial(const Endpoint& to, OnDial done) {
  if (!configured()) return done(base::Error{"TLS is not configured"});
  inner_.dial(to, [handshakes = handshakes_, contexts = contexts_,
                   done](base::Result<std::unique_ptr<Peer>> peer) {
    if (!peer) return done(base::Error{peer.error()});
    handshakes->begin(std::move(peer.value()), contexts->client(), true,
                      [done](std::shared_ptr<TlsLink> link, const std::string& error) {
                        if (!link) return done(base::Error{error});
                        done(std::unique_ptr<Peer>(std::make_unique<TlsPeer>(std::move(link))));
                      });
  });
}

}  // namespace quoll::host
