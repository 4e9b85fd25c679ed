// Migrations: keys on their way to another server (MIGRATE).
//
//   dial -> AUTH, SELECT, RESTORE of each key -> their replies -> the client's command runs again
//   and removes what has arrived
//
// From the moment the values are read until that command has run nobody may write: a change made
// meanwhile would go with the key. Reads go on; Redis answers nobody at all. While a connection is
// made nothing is held, and no step may take longer than the client's timeout.
// What arrived for a client that is gone stays on both servers.
//
// Cost: the payloads of all keys of one command are in memory until they are sent.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/host.h"
#include "server/session.h"

namespace quoll::server {

class Server;

struct MigrationOrder {
  std::string host;
  uint16_t port = 0;               // 0: none that can be reached
  std::vector<std::string> login;  // the words of AUTH; empty: none
  store::DbIndex from = 0;         // database
  int64_t to = 0;                  // database over there
  base::Millis timeout_ms = 0;     // of each step
  bool replace = false;
  std::vector<std::string> keys;
};

struct MigrationOutcome {
  std::string error;                 // "": none
  std::vector<std::string> arrived;  // keys
};

class Migrations {
 public:
  explicit Migrations(Server& server);
  ~Migrations();

  // The session waits from now on; its command is run again when the outcome is there.
  void begin(const Session& session, MigrationOrder order);
  // Of the session's migration that has ended; none while it is under way.
  std::optional<MigrationOutcome> take(SessionId session);
  void cancel(SessionId session);

 private:
  class Transfer;

  void ended(Transfer& transfer);
  void update_hold();

  Server& server_;
  std::map<SessionId, std::shared_ptr<Transfer>> transfers_;
};

}  // namespace quoll::server
