#include "cluster/primary_link.h"

#include <doctest/doctest.h>

namespace quoll::cluster {
namespace {

const std::string kId(40, 'a');
const std::string kMark = "abcdefghijklmnopqrstuvwxyz0123456789ABCD";

// Writes down what the link tells.
struct Ear final : PrimaryLinkEvents {
  void link_send(std::string bytes) override { sent += bytes; }
  void link_full_sync(const std::string& replid, uint64_t offset) override {
    told += "full " + replid.substr(0, 2) + " " + std::to_string(offset) + "; ";
  }
  void link_rdb_begins(uint64_t bytes) override {
    told += "begins " + std::to_string(bytes) + "; ";
  }
  void link_rdb(base::Bytes bytes) override { rdb += bytes; }
  void link_rdb_ends() override { told += "ends; "; }
  void link_continues(const std::string& replid) override {
    told += "continues " + replid.substr(0, 2) + "; ";
  }
  void link_stream(base::Bytes bytes) override { stream += bytes; }
  void link_failed(const std::string& reason, bool later) override {
    told += (later ? "later: " : "failed: ") + reason + "; ";
  }
  std::string sent, told, rdb, stream;
};

// Everything but the bytes, fed in pieces of `size`.
Ear heard(const std::string& bytes, size_t size, const LinkHello& hello = {}) {
  Ear ear;
  PrimaryLink link(ear, hello);
  link.start();
  for (size_t at = 0; at < bytes.size(); at += size) link.feed(base::Bytes(bytes).substr(at, size));
  return ear;
}

}  // namespace

TEST_CASE("link: the handshake") {
  LinkHello hello;
  hello.user = "ann";
  hello.password = "pw";
  hello.listening_port = 7000;
  hello.announce_ip = "10.0.0.1";
  hello.replid = kId;
  hello.offset = 41;
  Ear ear = heard("-NOAUTH no\r\n+OK\r\n+OK\r\n-ERR what\r\n+OK\r\n+CONTINUE " + kId + "\r\n*1", 3,
                  hello);
  CHECK(ear.told == "continues aa; ");
  CHECK(ear.stream == "*1");
  CHECK(ear.sent.find("AUTH\r\n$3\r\nann\r\n$2\r\npw") != std::string::npos);
  CHECK(ear.sent.find("listening-port\r\n$4\r\n7000") != std::string::npos);
  CHECK(ear.sent.find("ip-address\r\n$8\r\n10.0.0.1") != std::string::npos);
  CHECK(ear.sent.ends_with("PSYNC\r\n$40\r\n" + kId + "\r\n$2\r\n42\r\n"));
}

TEST_CASE("link: all data, cut anywhere") {
  const std::string hello = "+PONG\r\n+OK\r\n+OK\r\n";
  // Data that looks like the beginning of the mark, again and again.
  const std::string data = "REDIS" + kMark.substr(0, 39) + kMark.substr(0, 20) + "x" +
                           kMark.substr(0, 39) + std::string(100, 'y') + kMark.substr(1);
  const std::string marked = hello + "\n\n+FULLRESYNC " + kId + " 7\r\n\n\n$EOF:" + kMark + "\r\n" +
                             data + kMark + "*1\r\n";
  const std::string counted = hello + "+FULLRESYNC " + kId + " 7\r\n$" +
                              std::to_string(data.size()) + "\r\n" + data + "*1\r\n";
  for (size_t size : {size_t{1}, size_t{2}, size_t{7}, size_t{39}, size_t{40}, size_t{41},
                      size_t{79}, size_t{100}, size_t{100000}}) {
    CAPTURE(size);
    Ear ear = heard(marked, size);
    CHECK(ear.told == "full aa 7; begins 0; ends; ");
    CHECK(ear.rdb == data);
    CHECK(ear.stream == "*1\r\n");
    ear = heard(counted, size);
    CHECK(ear.told == "full aa 7; begins " + std::to_string(data.size()) + "; ends; ");
    CHECK(ear.rdb == data);
    CHECK(ear.stream == "*1\r\n");
  }
}

TEST_CASE("link: refusals") {
  const std::string hello = "+PONG\r\n+OK\r\n+OK\r\n";
  CHECK(heard("-LOADING wait\r\n", 5).told.starts_with("later: "));
  CHECK(heard(hello + "-NOMASTERLINK no\r\n", 100).told.starts_with("later: "));
  CHECK(heard(hello + "-ERR what\r\n", 100).told.starts_with("failed: "));
  CHECK(heard(hello + "+FULLRESYNC abc 1\r\n", 100).told.starts_with("failed: "));
  CHECK(heard(hello + "+FULLRESYNC " + kId + " x\r\n", 100).told.starts_with("failed: "));
  const std::string sync = hello + "+FULLRESYNC " + kId + " 7\r\n";
  CHECK(heard(sync + "-ERR no\r\n", 100)
            .told.ends_with("failed: MASTER aborted replication with an "
                            "error: ERR no; "));
  CHECK(heard(sync + "$0\r\n", 100).told.find("failed: Bad protocol") != std::string::npos);
  CHECK(heard(sync + "$EOF:short\r\n", 100).told.find("failed: Bad") != std::string::npos);
  CHECK(heard(std::string(kSyncLineMax + 10, 'x'), 1000).told.find("without end") !=
        std::string::npos);
  LinkHello secret;
  secret.password = "pw";
  CHECK(
      heard("-NOAUTH no\r\n-WRONGPASS no\r\n", 100, secret).told.starts_with("failed: Unable to"));
}

}  // namespace quoll::cluster
