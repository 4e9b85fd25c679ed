#include "server/backup_manifest.h"

#include <openssl/evp.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "server/version.h"

namespace quoll::server {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;

template <class Value>
bool take(const Json& from, const char* name, Value& value) {
  const auto found = from.find(name);
  if (found == from.end()) return false;
  if constexpr (std::is_same_v<Value, bool>) {
    if (!found->is_boolean()) return false;
  } else if constexpr (std::is_integral_v<Value>) {
    if (!found->is_number_integer()) return false;
  } else {
    if (!found->is_string()) return false;
  }
  value = found->template get<Value>();
  return true;
}

}  // namespace

uint64_t BackupManifest::bytes() const {
  uint64_t sum = 0;
  for (const File& file : files) sum += file.bytes;
  return sum;
}

std::string BackupManifest::text() const {
  Json json;
  json["format"] = kFormat;
  json["name"] = name;
  json["server_version"] = kQuollVersion;
  json["redis_version"] = kRedisVersion;
  json["created_unix_ms"] = created_ms;
  json["seq"] = seq;
  json["rdb_version"] = rdb_version;
  json["encrypted"] = encrypted;
  json["key_id"] = key_id;
  json["keys"] = keys;
  json["databases"] = Json::object();
  for (const auto& [db, count] : keys_of_databases) json["databases"][std::to_string(db)] = count;
  json["files"] = Json::array();
  for (const File& file : files)
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  return json.dump(2) + "\n";
}

base::Result<BackupManifest> BackupManifest::parse(base::Bytes text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  int64_t format = 0;
  if (!json.is_object() || !take(json, "format", format))
    return base::Error{"manifest.json is damaged"};
  if (format != kFormat)
    return base::Error{"manifest.json has the unknown format " + std::to_string(format)};
  BackupManifest manifest;
  bool good =
      take(json, "name", manifest.name) && take(json, "created_unix_ms", manifest.created_ms) &&
      take(json, "seq", manifest.seq) && take(json, "rdb_version", manifest.rdb_version) &&
      take(json, "encrypted", manifest.encrypted) && take(json, "key_id", manifest.key_id) &&
      take(json, "keys", manifest.keys) && json.contains("files") && json["files"].is_array();
  if (!good) return base::Error{"manifest.json is damaged"};
  for (const Json& entry : json["files"]) {
    File file;
    if (!entry.is_object() || !take(entry, "name", file.name) ||
        !take(entry, "bytes", file.bytes) || !take(entry, "sha256", file.sha256))
      return base::Error{"manifest.json is damaged"};
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  QUOLL_CHECK(EVP_DigestInit_ex2(context_, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::update(base::Bytes bytes) {
  QUOLL_CHECK(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::hex() {
  char digest[32];
  unsigned size = 0;
  QUOLL_CHECK(EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest), &size) == 1);
  return base::to_hex(base::Bytes(digest, size));
}

}  // namespace quoll::server
