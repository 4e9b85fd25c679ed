// ChangeReaders: the sessions in CHANGES READ, and how they get their commits.
//
//   ready    looks through the window, within the budget of a turn ----> replied to
//   waiting  (BLOCK) has seen all there is; ready again when more comes
//   disk     is behind the window: the log's files are read for one reader at a time, piece by
//            piece, until his reply is full or he has caught up with the window
//
// What a reader is told is filtered: keys he may not read, and keys without one of his prefixes,
// are left out, and commits of which nothing is left. So a reply has the position to go on from,
// however little was for him. Changes of whole databases are for everybody.
//
// A reply waits at the gate for the last commit it looked at, as the commit's own reply did.
//
// Bounds: a reply ends at COUNT commits or kChangesReplyBytes and one commit; beyond the budgets
// readers go on in a later turn. Only a reader being looked at holds commits. Nobody waits for a
// reader: who is too slow is told that his position is trimmed.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/host.h"
#include "persist/change_reader.h"
#include "server/change_stream.h"
#include "server/session.h"

namespace quoll::server {

class Call;
struct Command;

constexpr size_t kChangesReplyBytes = size_t{1} << 20;

struct ChangeRequest {
  ChangePosition since;
  uint64_t count = 100;
  std::vector<std::string> prefixes;  // none: all keys
  bool effects = false;
  bool block = false;
  base::Millis timeout_ms = 0;  // 0: for ever
};

class ChangeReaders {
 public:
  explicit ChangeReaders(Server& server) : server_(server), stream_(server) {}

  ChangeStream& stream() { return stream_; }
  const ChangeStream& stream() const { return stream_; }

  // Replies, or lets the session wait.
  void read(Call& call, ChangeRequest request);
  // At the end of a turn.
  void serve() {
    if (__builtin_expect(!readers_.empty(), 0)) serve_readers();
  }
  void forget(const Session& session);

  struct Info {
    size_t readers = 0;  // connected sessions that have read
    size_t blocked = 0;
    size_t on_disk = 0;
    uint64_t trimmed = 0;  // replies so
    uint64_t lag = 0;      // commits, of the reader that is furthest behind
  };
  Info info() const;

 private:
  enum class State : uint8_t { ready, waiting, disk, resting };
  struct Reader {
    ChangeRequest request;
    const Command* command;  // that he sent
    ChangePosition at;       // has seen all up to here
    std::vector<persist::ChangeCommit> found;
    size_t found_bytes = 0;
    std::string error;
    State state = State::ready;
    uint64_t serial = 0;
  };
  // The log being read for a reader.
  struct Scan {
    uint64_t serial;  // the reader's
    SessionId session;
    int64_t increment;
    host::FileId file;
    uint64_t offset;
    size_t pieces;
    persist::ChangeReader commits;
  };
  enum class Found : uint8_t { reply, all, more, behind_window };

  void serve_readers();
  Found look(Reader& reader, const Session& session, size_t& budget);
  void take(Reader& reader, const Session& session, persist::ChangeCommit commit);
  void go_on(SessionId id, Reader& reader, Found found);
  static bool full(const Reader& reader);
  void finish(SessionId id);
  void drop(SessionId id);
  void reply(Session& session);
  void write(Session& session, const Reader& reader);
  std::string trimmed(const ChangePosition& position);

  // The log.
  void start_scan();
  void open_increment(int64_t increment, uint64_t offset, store::DbIndex database);
  void read_piece();
  void piece_read(base::Result<std::string> bytes, size_t asked);
  void next_increment();
  void end_scan(Found found);
  void fail_scan(std::string error);
  void rest();
  Reader* reader_of_scan();

  Server& server_;
  ChangeStream stream_;
  std::map<SessionId, Reader> readers_;  // those not replied to
  std::deque<SessionId> ready_;
  std::vector<SessionId> waiting_;
  std::deque<SessionId> disk_;
  std::unique_ptr<Scan> scan_;
  std::map<SessionId, ChangePosition> positions_;  // where connected readers are
  uint64_t seen_ = 0;                              // of the stream's versions
  uint64_t serials_ = 0;
  uint64_t trimmed_ = 0;
};

}  // namespace quoll::server
