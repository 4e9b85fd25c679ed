// Tracking: client-side caching. Clients that track are told which keys they may have cached have
// changed.
//
//   default     keys a client read are in the TrackingTable; the first change of one sends an
//               `invalidate` message to each of its readers and forgets the key
//   broadcast   nothing is remembered: all changes of keys with a prefix go to the clients that
//               asked for it, in one message per turn and prefix
//
//   command -> remember(keys read)          commit -> absorb -> message to the reader
//                                                           `-> keys of the prefix -> end_turn()
//
// Places: a client is told of a change by its own command behind that command's reply (behind the
// whole reply of an EXEC or script), of changes by others between replies, and of broadcasts at the
// end of the turn. A message waits at the output gate as the reply of the commit does.
//
// Bounds: the table holds tracking-table-max-keys, and kTrackingSlack more within a turn; keys
// beyond are forgotten, their readers being told as if they had changed, at most
// kTrackingEvictMax of them in one turn's end. 0 stands for no limit.
//
// Cost for clients that do not track: one branch per read. Writes by anybody while somebody tracks:
// the commit's touches are kept, and one lookup each.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "server/call.h"
#include "server/output_gate.h"
#include "server/tracking_table.h"
#include "store/commit.h"

namespace quoll::server {

class Server;

// Of Session::tracking.
enum TrackingFlag : uint8_t {
  kTrackingOn = 1,
  kTrackingBroadcast = 2,
  kTrackingOptIn = 4,
  kTrackingOptOut = 8,
  kTrackingNoLoop = 16,
  kTrackingCaching = 32,         // CLIENT CACHING was given for the next command
  kTrackingRedirectBroken = 64,  // a message found the other client gone
};

constexpr uint64_t kTrackingSlack = 1024;     // keys
constexpr unsigned kTrackingEvictMax = 1000;  // keys

// About what a prefix of a broadcasting client takes beside two copies of it.
constexpr size_t kTrackedPrefixBytes = 250;

class Tracking final : public store::CommitSink {
 public:
  explicit Tracking(Server& server) : server_(server) {}

  struct Mode {
    uint8_t flags = 0;  // broadcast, opt-in, opt-out, no-loop
    SessionId redirect = 0;
    std::vector<Bytes> prefixes;
  };
  // The mode fits the session's (see CLIENT TRACKING); false and `error` when prefixes overlap.
  bool enable(Session& session, const Mode& mode, std::string& error);
  void disable(Session& session);
  // The session ends. Keys only it had read are forgotten when they change, or with the last one.
  void forget(Session& session);

  // A read that the session's client sent, or its script, is done: its keys may be cached.
  void remember(Session& session, const Call& call);
  void command_begins(Session& session) { current_ = &session; }
  void command_ended(Session& session);
  void absorb(const store::Commit& commit) override;
  // All data is replaced, without a commit.
  void flushed();
  // Sends the broadcasts, forgets keys beyond the limit.
  void end_turn() {
    if (__builtin_expect(listening(), 0)) settle_turn();
  }
  bool reclaim() { return table_.reclaim(); }
  bool reclaiming() const { return table_.reclaiming(); }

  SessionId redirect(const Session& session) const;  // 0: none
  std::vector<Bytes> prefixes(const Session& session) const;
  size_t sessions() const { return trackers_.size(); }
  uint64_t keys() const { return table_.keys(); }
  uint64_t items() const { return table_.items(); }
  size_t prefixes() const { return prefixes_.size(); }

 private:
  struct Tracker {
    SessionId redirect = 0;
    std::set<std::string, std::less<>> prefixes;
  };
  struct Prefix {
    std::set<SessionId> sessions;
    // Of this turn, each with the tracking session that changed it last; 0: somebody else.
    std::map<std::string, SessionId, std::less<>> changed;
    Ticket ticket;
  };
  // A read in the middle of a transaction, behind some of its changes.
  struct Read {
    size_t behind;  // touches of the commit
    std::string key;
    SessionId session;
  };

  // Why readers are told: the key changed, was evicted, or its place in the table is needed.
  enum class Cause : uint8_t { change, eviction, limit };

  void remember_key(Bytes key, SessionId session);
  void settle_reads(size_t told);
  void invalidate(Bytes key, Cause cause, const Ticket& ticket);
  void flush(const Ticket& ticket);
  void note_broadcast(Bytes key, SessionId by, const Ticket& ticket);
  SessionId cause_of(const store::Touch& touch, Cause cause) const;
  void drop_pending(SessionId session);
  void settle_turn();
  void send_broadcast(Prefix& prefix);
  void evict_one();
  bool beyond(uint64_t slack) const;
  void tell(Session& session, Bytes keys, const Ticket& ticket);
  void update_listening();

  Server& server_;
  TrackingTable table_;
  std::map<SessionId, Tracker> trackers_;
  std::map<std::string, Prefix, std::less<>> prefixes_;
  std::map<size_t, size_t> prefix_sizes_;  // how many prefixes have that many bytes
  bool broadcasts_due_ = false;
  std::set<SessionId> left_;  // connected, and may have left keys in the table: tracked before
  std::vector<Read> reads_;
  std::vector<KeyArg> found_;                     // of the command at hand
  std::vector<TrackingTable::ClientId> readers_;  // of the key at hand
  // What a session whose command runs is told behind its reply. While a script lets others in, or a
  // command runs another session's, there may be several.
  struct Pending {
    SessionId session;
    std::string keys;  // empty: all
    Ticket ticket;
  };
  std::vector<Pending> pending_;
  Session* current_ = nullptr;  // the last tracking session that began a command
};

}  // namespace quoll::server
