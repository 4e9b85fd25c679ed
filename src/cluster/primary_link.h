// PrimaryLink: what a replica says to its primary and hears from it, as a pure step machine.
//
//   connected -> PING, AUTH, REPLCONF..., PSYNC id offset
//     +CONTINUE [id]            -> streaming
//     +FULLRESYNC id offset     -> $length or $EOF:mark -> RDB bytes -> loaded() -> streaming
//
// Bytes may be cut anywhere. Empty lines, with which a primary keeps the link alive, are skipped up
// to the beginning of the RDB. What follows the RDB in the same bytes is stream already.
//
// Cost: the bytes of RDB and stream are passed on as they came; of the RDB the last bytes are held
// back while they may be the beginning of the mark.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::cluster {

constexpr size_t kSyncLineMax = 64 * 1024;  // bytes of a reply or header line
constexpr size_t kEofMarkBytes = 40;
constexpr size_t kReplicationIdBytes = 40;
constexpr uint64_t kOffsetMax = uint64_t{1} << 62;  // of a primary: there is room for its stream

struct LinkHello {
  std::string user;      // "": the default user
  std::string password;  // "": no AUTH
  uint16_t listening_port = 0;
  std::string announce_ip;  // "": the primary takes the connection's
  std::string replid;       // "": no history to go on with
  uint64_t offset = 0;      // bytes of that history it has
  bool failover = false;    // asks the other side to become the primary
};

class PrimaryLinkEvents {
 public:
  virtual ~PrimaryLinkEvents() = default;
  virtual void link_send(std::string bytes) = 0;
  // What we have is of no use: all data follows, of the history `replid` at `offset`.
  virtual void link_full_sync(const std::string& replid, uint64_t offset) = 0;
  // `bytes`: of the RDB in all; 0: not known beforehand.
  virtual void link_rdb_begins(uint64_t bytes) = 0;
  virtual void link_rdb(base::Bytes bytes) = 0;
  virtual void link_rdb_ends() = 0;
  // The stream goes on where we are. `replid`: the history's new name, "" when it kept its own.
  virtual void link_continues(const std::string& replid) = 0;
  virtual void link_stream(base::Bytes bytes) = 0;
  // Nothing more will come of this connection. `later`: the other side asks to try again.
  virtual void link_failed(const std::string& reason, bool later) = 0;
};

class PrimaryLink {
 public:
  enum class State : uint8_t { handshake, header, rdb, stream, failed };

  PrimaryLink(PrimaryLinkEvents& events, LinkHello hello);
  void start();
  void feed(base::Bytes bytes);
  // Nothing more is told, whatever is fed.
  void stop() { state_ = State::failed; }
  State state() const { return state_; }

 private:
  enum class Ask : uint8_t { ping, auth, port, address, capabilities, psync };

  void ask(Ask what);
  void ask_next();
  bool take_line(base::Bytes& bytes);
  void take_reply(base::Bytes line);
  void take_psync_reply(base::Bytes line);
  void take_header(base::Bytes line);
  void take_rdb(base::Bytes& bytes);
  void take_marked(base::Bytes& bytes);
  void pass_rdb(base::Bytes bytes);
  void fail(const std::string& reason, bool later = false);

  PrimaryLinkEvents& events_;
  LinkHello hello_;
  State state_ = State::handshake;
  Ask asked_ = Ask::ping;
  std::string line_;
  std::string mark_;
  std::string held_;       // bytes of the RDB that may be the beginning of the mark
  uint64_t rdb_left_ = 0;  // without a mark
};

}  // namespace quoll::cluster
