#include "server/cluster_secret.h"

#include <doctest/doctest.h>

#include "cluster/gossip_cipher.h"
#include "server/config.h"

namespace quoll::server {
namespace {

const std::string kOld = "0123456789abcdef";
const std::string kNew = "another one of more bytes";

}  // namespace

TEST_CASE("cluster secret: one or two lines, of enough bytes") {
  auto secrets = [](base::Bytes content) { return parse_cluster_secrets(content).value(); };
  CHECK(secrets(kOld) == std::vector{kOld});
  CHECK(secrets(kOld + "\r\n\n") == std::vector{kOld});
  CHECK(secrets("\n " + kNew + " \n" + kOld + "\n") == std::vector{kNew, kOld});
  auto refused = [](base::Bytes content) { return parse_cluster_secrets(content).error(); };
  CHECK(refused("") == "there is no secret in it");
  CHECK(refused(" \n\n") == "there is no secret in it");
  CHECK(refused("0123456789abcde\n") == "a secret has 16 bytes at least");
  CHECK(refused(kOld + "\nshort\n") == "a secret has 16 bytes at least");
  CHECK(refused(kOld + "\n" + kNew + "\n" + kOld) == "more than 2 secrets");
}

TEST_CASE("cluster secret: read from its file, kept when that is wrong, and told on") {
  std::string content = kOld;
  FileAccess files;
  files.read_secret = [&](const std::string& path) -> base::Result<std::string> {
    if (path != "/secret") return base::Error{"No such file or directory"};
    return content;
  };
  Config config(files, "/");
  ClusterSecrets secrets(config);
  int loads = 0;
  secrets.on_load([&] { ++loads; });

  REQUIRE(secrets.load().ok());
  CHECK_FALSE(secrets.given());
  const std::vector<std::string> one = secrets.of(std::string(40, '1'));
  REQUIRE(one.size() == 1);
  CHECK(one[0].size() >= cluster::kGossipSecretBytesMin);
  CHECK(one != secrets.of(std::string(40, '2')));

  config.cluster_secret_file = "/secret";
  REQUIRE(secrets.load().ok());
  CHECK(secrets.given());
  CHECK(secrets.of("any") == std::vector{kOld});
  CHECK(loads == 2);

  content = "short";
  CHECK(secrets.load().error() == "Can't use /secret: a secret has 16 bytes at least");
  config.cluster_secret_file = "/elsewhere";
  CHECK(secrets.load().error() == "Can't read /elsewhere: No such file or directory");
  CHECK(secrets.of("any") == std::vector{kOld});
  CHECK(loads == 2);
}

}  // namespace quoll::server
