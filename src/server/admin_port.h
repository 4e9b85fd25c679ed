// AdminPort: a small HTTP server of its own port for what watches the process: probes and scrapes.
// No keys, no commands, no login; it is off unless admin-port is set, and listens on loopback
// unless admin-bind says otherwise. Clients' ports never speak HTTP.
//
//   GET /livez     200 while the loop turns
//   GET /readyz    200 when commands are served, else 503 and why: loading, following a primary
//                  without being in sync, shutting down
//   GET /metrics   Prometheus text, see metrics.h
//   GET /version   JSON
//
// Bounds: kConnectionsMax connections, HttpRequestParser's limits per request, kPatience for a
// request to arrive and for its answer to be taken. One request is answered at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "host/host.h"

namespace quoll::server {

class Server;

// Empty when commands are served; else why not, one reason per line.
std::string reasons_not_ready(Server& server);

class AdminPort {
 public:
  explicit AdminPort(Server& server);
  ~AdminPort();
  AdminPort(const AdminPort&) = delete;
  AdminPort& operator=(const AdminPort&) = delete;

  // Listens, if the configuration asks for it. The error is for the log.
  base::Result<> start();

 private:
  class Connection;

  void accept(std::unique_ptr<host::Peer> peer);
  void forget(Connection& connection);

  Server& server_;
  std::unique_ptr<host::Listener> listener_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace quoll::server
