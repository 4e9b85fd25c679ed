#include "server/cluster_secret.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cluster/gossip_cipher.h"
#include "server/config.h"

namespace quoll::server {
namespace {

constexpr const char* kSecretOfId = "quoll cluster ";  // and the id

}  // namespace

base::Result<std::vector<std::string>> parse_cluster_secrets(base::Bytes content) {
  std::vector<std::string> secrets;
  while (!content.empty()) {
    const size_t end = std::min(content.find('\n'), content.size());
    const base::Bytes line = base::trimmed(content.substr(0, end));
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.empty()) continue;
    if (line.size() < cluster::kGossipSecretBytesMin)
      return base::Error{
          fmt::format("a secret has {} bytes at least", cluster::kGossipSecretBytesMin)};
    if (secrets.size() == cluster::kGossipKeysMax)
      return base::Error{fmt::format("more than {} secrets", cluster::kGossipKeysMax)};
    secrets.emplace_back(line);
  }
  if (secrets.empty()) return base::Error{"there is no secret in it"};
  return secrets;
}

base::Result<> ClusterSecrets::load() {
  const std::string& path = config_.cluster_secret_file;
  std::vector<std::string> secrets;
  if (!path.empty()) {
    auto content = config_.read_secret(path);
    if (!content) return base::Error{content.error()};
    auto parsed = parse_cluster_secrets(content.value());
    if (!parsed) return base::Error{fmt::format("Can't use {}: {}", path, parsed.error())};
    secrets = std::move(parsed.value());
  }
  secrets_ = std::move(secrets);
  if (on_load_) on_load_();
  return {};
}

std::vector<std::string> ClusterSecrets::of(base::Bytes cluster_id) const {
  if (!secrets_.empty()) return secrets_;
  return {kSecretOfId + std::string(cluster_id)};
}

}  // namespace quoll::server
