// TlsContexts: what TlsSettings mean to OpenSSL: one SSL_CTX for connections that come in, one for
// those of other servers that come in, and one for those we make. They are built and checked as a
// whole; a connection shares its context, which lives until the last one that uses it is gone.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <vector>

#include "base/result.h"
#include "host/tls_settings.h"

namespace quoll::host {

using TlsContext = std::shared_ptr<SSL_CTX>;

// OpenSSL's words for what went wrong last, which are then forgotten.
std::string tls_error_text();

class TlsContexts {
 public:
  base::Result<> configure(const TlsSettings& settings);
  bool configured() const { return server_ != nullptr; }
  bool files_changed();

  const TlsContext& server() const { return server_; }
  const TlsContext& client() const { return client_; }
  // Null unless TlsSettings::between_servers. A context of its own: who has shown no certificate at
  // server() cannot go on with that session here.
  const TlsContext& mutual() const { return mutual_; }

 private:
  // What tells two versions of a file apart.
  struct Stamp {
    int64_t modified_ns;
    uint64_t size;
    uint64_t inode;
    bool operator==(const Stamp&) const = default;
  };
  std::vector<Stamp> stamps() const;

  TlsContext server_;
  TlsContext client_;
  TlsContext mutual_;
  std::vector<std::string> files_;
  std::vector<Stamp> seen_;
};

}  // namespace quoll::host
