#include "host/tls_transport.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "tests/unit/host/host_fixture.h"

namespace quoll::host {
namespace {

constexpr long kDay = 24 * 60 * 60;

struct Identity {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  ~Identity() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

  void sign(const char* name, const Identity& authority, bool may_sign) {
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), may_sign ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -kDay);
    X509_gmtime_adj(X509_getm_notAfter(certificate), kDay);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(authority.certificate));
    X509_set_pubkey(certificate, key);
    if (may_sign) {
      X509_EXTENSION* extension =
          X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE");
      X509_add_ext(certificate, extension, -1);
      X509_EXTENSION_free(extension);
    }
    X509_sign(certificate, authority.key, EVP_sha256());
  }
  void write(const std::string& path) const {
    std::FILE* file = std::fopen((path + ".crt").c_str(), "w");
    PEM_write_X509(file, certificate);
    std::fclose(file);
    file = std::fopen((path + ".key").c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
  }
};

// Files ca.crt, node.crt and node.key in a directory; the node may be server and client.
struct Files : ScratchDir {
  explicit Files(const char* name = "node") {
    Identity authority;
    authority.sign("authority", authority, true);
    authority.write(path + "/ca");
    Identity node;
    node.sign(name, authority, false);
    node.write(path + "/node");
  }
  TlsSettings settings() const {
    TlsSettings made;
    made.cert_file = path + "/node.crt";
    made.key_file = path + "/node.key";
    made.ca_cert_file = path + "/ca.crt";
    return made;
  }
};

// A server and a client transport over the real one, each with its own settings.
struct TlsPair : HostFixture {
  TlsTransport serving{host.transport, host.loop, host.clock};
  TlsTransport dialing{host.transport, host.loop, host.clock};
  std::unique_ptr<Listener> listener;
  Recorder server;
  Recorder client;
  std::string name;
  std::vector<std::string> failures;
  std::string dial_error;

  void listen(const TlsSettings& settings) {
    auto done = serving.configure(settings);
    REQUIRE_MESSAGE(done.ok(), done.error());
    auto listening = serving.listen_named(
        kLoopback, {},
        [this](std::unique_ptr<Peer> peer, const std::string& common_name) {
          name = common_name;
          server.take(std::move(peer));
        },
        [this](const std::string& address, const std::string& error) {
          failures.push_back(address + ' ' + error);
        });
    REQUIRE(listening.ok());
    listener = std::move(listening.value());
  }
  void dial(const TlsSettings& settings) {
    REQUIRE(dialing.configure(settings).ok());
    dialing.dial(listener->endpoint(), [this](base::Result<std::unique_ptr<Peer>> peer) {
      if (!peer) {
        dial_error = peer.error();
        return;
      }
      client.take(std::move(peer.value()));
    });
  }
  void connect(const Files& files) {
    listen(files.settings());
    dial(files.settings());
    REQUIRE(run_until([this] { return server.peer && client.peer; }));
  }
};

// Sends all of it, going on when there is room.
struct Sender {
  Sender(Recorder& from, std::string text) : from_(from), text_(std::move(text)) {
    from_.on_writable = [this] { more(); };
    more();
  }
  void more() {
    while (at_ < text_.size()) {
      // Two parts, so that records are filled from more than one.
      const Bytes rest = Bytes(text_).substr(at_);
      const Bytes parts[] = {rest.substr(0, 700), rest.substr(std::min<size_t>(700, rest.size()))};
      const size_t sent = from_.peer->send(parts);
      if (sent == 0) return;
      at_ += sent;
    }
  }

 private:
  Recorder& from_;
  std::string text_;
  size_t at_ = 0;
};

}  // namespace

TEST_CASE("tls: both sides show certificates, and large texts cross in both directions at once") {
  Files files("alice");
  TlsPair f;
  f.connect(files);
  CHECK(f.name == "alice");
  CHECK(f.server.peer->is_loopback());
  CHECK(f.client.peer->remote_address() ==
        "127.0.0.1:" + std::to_string(f.listener->endpoint().port));
  const std::string there = pattern(3'000'000), back = pattern(2'000'001);
  Sender to_server(f.client, there), to_client(f.server, back);
  REQUIRE(f.run_until([&] {
    return f.server.bytes.size() >= there.size() && f.client.bytes.size() >= back.size();
  }));
  CHECK(f.server.bytes == there);
  CHECK(f.client.bytes == back);
  CHECK(f.serving.stats().handshakes == 1);
  CHECK(f.serving.stats().under_way == 0);
  f.client.peer->close();
  REQUIRE(f.run_until([&] { return f.server.is_closed; }));
  CHECK(f.server.reason.empty());
}

TEST_CASE("tls: a paused peer delivers nothing, and all of it afterwards") {
  Files files;
  TlsPair f;
  f.connect(files);
  f.server.buffer_bytes = 100;
  f.server.on_bytes = [&](Bytes) {
    if (f.server.bytes.size() == 100) f.server.peer->pause_reads(true);
  };
  const std::string text = pattern(50'000);
  Sender sender(f.client, text);
  f.run_for(30 * base::kNanosPerMilli);
  CHECK(f.server.bytes.size() == 100);
  f.server.peer->pause_reads(false);
  REQUIRE(f.run_until([&] { return f.server.bytes.size() == text.size(); }));
  CHECK(f.server.bytes == text);
}

TEST_CASE("tls: the owner may close from inside a callback") {
  Files files;
  TlsPair f;
  f.connect(files);
  f.server.on_bytes = [&](Bytes) { f.server.peer.reset(); };
  f.client.send("go away");
  REQUIRE(f.run_until([&] { return f.client.is_closed; }));
  CHECK(f.client.reason.empty());
}

TEST_CASE("tls: certificates of another authority are refused by either side") {
  Files ours, theirs;
  SUBCASE("the server's") {
    TlsPair f;
    TlsSettings settings = ours.settings();
    settings.auth_clients = TlsClientAuth::no;
    f.listen(settings);
    f.dial(theirs.settings());
    REQUIRE(f.run_until([&] { return !f.dial_error.empty() && !f.failures.empty(); }));
    CHECK(f.dial_error.find("certificate verify failed") != std::string::npos);
    CHECK_FALSE(f.server.peer);
  }
  SUBCASE("the client's") {
    TlsPair f;
    f.listen(ours.settings());
    TlsSettings settings = theirs.settings();
    settings.ca_cert_file = ours.path + "/ca.crt";
    f.dial(settings);
    REQUIRE(f.run_until([&] { return !f.failures.empty(); }));
    CHECK(f.failures[0].find("certificate verify failed") != std::string::npos);
    CHECK(f.serving.stats().failed == 1);
    CHECK_FALSE(f.server.peer);
  }
}

TEST_CASE("tls: half a greeting waits, nonsense does not") {
  Files files;
  TlsPair f;
  f.listen(files.settings());
  Recorder stranger;
  f.host.transport.dial(f.listener->endpoint(), [&](base::Result<std::unique_ptr<Peer>> peer) {
    REQUIRE(peer.ok());
    stranger.take(std::move(peer.value()));
  });
  REQUIRE(f.run_until([&] { return stranger.peer != nullptr; }));
  stranger.send(Bytes("\x16\x03\x01\x02\x00\x01", 6));
  f.run_for(30 * base::kNanosPerMilli);
  CHECK(f.serving.stats().under_way == 1);
  CHECK(f.failures.empty());
  stranger.send(std::string(600, 'x'));
  REQUIRE(f.run_until([&] { return stranger.is_closed; }));
  CHECK(f.serving.stats().under_way == 0);
  CHECK(f.failures.size() == 1);
}

TEST_CASE("tls: wrong settings leave what is in force, and changed files are noticed") {
  Files files, others;
  TlsPair f;
  f.listen(files.settings());
  TlsSettings wrong = files.settings();
  wrong.key_file = others.path + "/node.key";
  CHECK_FALSE(f.serving.configure(wrong).ok());
  f.dial(files.settings());
  REQUIRE(f.run_until([&] { return f.server.peer && f.client.peer; }));
  REQUIRE(f.serving.configure(files.settings()).ok());
  CHECK_FALSE(f.serving.files_changed());
  std::filesystem::copy_file(others.path + "/node.crt", files.path + "/node.crt",
                             std::filesystem::copy_options::overwrite_existing);
  CHECK(f.serving.files_changed());
  CHECK_FALSE(f.serving.files_changed());  // told once
}

TEST_CASE("tls: a transport that goes away takes its handshakes along") {
  Files files;
  HostFixture f;
  Recorder stranger;
  {
    TlsTransport serving(f.host.transport, f.host.loop, f.host.clock);
    REQUIRE(serving.configure(files.settings()).ok());
    auto listener = serving.listen(kLoopback, {}, [](std::unique_ptr<Peer>) { CHECK(false); });
    REQUIRE(listener.ok());
    f.host.transport.dial(listener.value()->endpoint(),
                          [&](auto peer) { stranger.take(std::move(peer.value())); });
    REQUIRE(f.run_until([&] { return serving.stats().under_way == 1 && stranger.peer; }));
  }
  REQUIRE(f.run_until([&] { return stranger.is_closed; }));
}

namespace {

// Connections that were dialed and accepted elsewhere.
struct Servers : TlsPair {
  std::string accept_error;
  TlsSettings settings_of(const Files& files) const {
    TlsSettings settings = files.settings();
    settings.between_servers = true;
    settings.auth_clients = TlsClientAuth::no;  // says nothing about servers
    return settings;
  }
  void secure() {
    auto listening = host.transport.listen(kLoopback, {}, [this](std::unique_ptr<Peer> peer) {
      serving.secure(
          std::move(peer), TlsTransport::Side::accepted,
          [this](std::unique_ptr<Peer> done) { server.take(std::move(done)); },
          [this](const std::string&, const std::string& error) { accept_error = error; });
    });
    REQUIRE(listening.ok());
    listener = std::move(listening.value());
  }
  void dial_secured() {
    host.transport.dial(listener->endpoint(), [this](base::Result<std::unique_ptr<Peer>> peer) {
      REQUIRE(peer.ok());
      dialing.secure(
          std::move(peer.value()), TlsTransport::Side::dialed,
          [this](std::unique_ptr<Peer> done) { client.take(std::move(done)); },
          [this](const std::string&, const std::string& error) { dial_error = error; });
    });
  }
};

}  // namespace

TEST_CASE("tls: servers show each other certificates, whatever is asked of clients") {
  Files ours, theirs;
  Servers f;
  REQUIRE(f.serving.configure(f.settings_of(ours)).ok());
  f.secure();
  SUBCASE("they do") {
    REQUIRE(f.dialing.configure(f.settings_of(ours)).ok());
    f.dial_secured();
    REQUIRE(f.run_until([&] { return f.server.peer && f.client.peer; }));
    f.client.send("hi");
    REQUIRE(f.run_until([&] { return f.server.bytes == "hi"; }));
    CHECK(f.dial_error + f.accept_error == "");
    return;
  }
  SUBCASE("one that its peer does not trust") {
    TlsSettings settings = f.settings_of(theirs);
    settings.ca_cert_file = ours.path + "/ca.crt";
    REQUIRE(f.dialing.configure(settings).ok());
    f.dial_secured();
    REQUIRE(f.run_until([&] { return !f.accept_error.empty(); }));
    CHECK(f.accept_error.find("certificate verify failed") != std::string::npos);
  }
  SUBCASE("one whose peer it does not trust") {
    REQUIRE(f.dialing.configure(f.settings_of(theirs)).ok());
    f.dial_secured();
    REQUIRE(f.run_until([&] { return !f.dial_error.empty(); }));
    CHECK(f.dial_error.find("certificate verify failed") != std::string::npos);
  }
  SUBCASE("one that speaks no TLS") {
    Recorder stranger;
    f.host.transport.dial(f.listener->endpoint(), [&](auto peer) {
      stranger.take(std::move(peer.value()));
      stranger.send("QUOLLNOD and so on");
    });
    REQUIRE(f.run_until([&] { return stranger.is_closed && !f.accept_error.empty(); }));
    CHECK(stranger.bytes.find("QUOLL") == std::string::npos);
  }
  CHECK_FALSE(f.server.peer);
}

TEST_CASE("tls: a client that showed no certificate does not become a server by its session") {
  Files files;
  Servers f;
  TlsSettings settings = f.settings_of(files);
  settings.session_cache_timeout_seconds = 300;
  REQUIRE(f.serving.configure(settings).ok());
  // OpenSSL alone: our own transport never goes on with a session.
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL_SESSION* session = nullptr;
  const auto connect = [&](const Endpoint& to) {
    const int file = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(file, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(fcntl(file, F_SETFL, O_NONBLOCK) == 0);
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, file);
    if (session) SSL_set_session(ssl, session);
    int result = 0;
    f.run_until([&] {
      f.host.loop.post([] {});  // one turn more
      ERR_clear_error();
      result = SSL_connect(ssl);
      const int why = SSL_get_error(ssl, result);
      return result == 1 || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE);
    });
    if (!session) session = SSL_get1_session(ssl);
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN);  // else the session counts as broken
    SSL_free(ssl);
    close(file);
    return result == 1;
  };
  auto listening =
      f.serving.listen(kLoopback, {}, [&](auto peer) { f.server.take(std::move(peer)); });
  REQUIRE(listening.ok());
  CHECK(connect(listening.value()->endpoint()));
  REQUIRE(session);
  REQUIRE(SSL_SESSION_is_resumable(session));
  f.server.peer.reset();
  f.secure();
  CHECK_FALSE(connect(f.listener->endpoint()));
  CHECK_FALSE(f.server.peer);
  CHECK(f.accept_error.find("peer did not return a certificate") != std::string::npos);
  SSL_SESSION_free(session);
  SSL_CTX_free(context);
}

TEST_CASE("tls: servers need to know an authority, and nothing is secured before they do") {
  Files files;
  Servers f;
  TlsSettings settings = f.settings_of(files);
  settings.ca_cert_file.clear();
  const auto done = f.serving.configure(settings);
  REQUIRE_FALSE(done.ok());
  CHECK(done.error().starts_with("Either tls-ca-cert-file or tls-ca-cert-dir must be specified"));
  settings.between_servers = false;
  REQUIRE(f.serving.configure(settings).ok());
  f.secure();
  Recorder stranger;
  f.host.transport.dial(f.listener->endpoint(),
                        [&](auto peer) { stranger.take(std::move(peer.value())); });
  REQUIRE(f.run_until([&] { return stranger.peer && stranger.is_closed; }));
  CHECK(f.accept_error == "TLS is not configured");
}

}  // namespace quoll::host
