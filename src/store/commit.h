// Commit: everything one command, transaction, expiry round or flush changed, told once to every
// sink in a fixed order. Sinks end before the builder.
//
//   Touch   what happened to one key (or to a whole database: keyless)
//   Effect  one deterministic command line; replaying it needs only the keys it names
//
// The open commit is kept by CommitBuilder. Key and argument bytes are copied into its arena only
// when a sink listens, so a server without AOF, replicas, watchers and notifications pays counters
// only. Invariant at close: touches and effects are both empty or both present.
#pragma once

#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"

namespace quoll::store {

using base::Args;
using base::Bytes;
using base::Millis;
using DbIndex = uint32_t;
using Seq = uint64_t;  // position of a commit; 0 = none

enum class Origin : uint8_t { client, expiry, eviction, load, replica };
enum class Change : uint8_t { created, updated, erased, expired, evicted, keyless };

// `kind` is the notification class letter of notify-keyspace-events: g $ l s h z x e t m d n.
// A Touch with an empty name notifies nobody but still counts as a change.
struct Event {
  const char* name;
  char kind;
};

struct Touch {
  DbIndex db;
  Bytes key;  // empty when keyless
  Event event;
  Change change;
};

// Who gets an effect: all, unless a script chose by redis.set_repl.
enum EffectTarget : uint8_t { kToLog = 1, kToReplicas = 2, kToAll = 3 };

struct Effect {
  DbIndex db;
  Args args;
  uint8_t targets = kToAll;  // EffectTarget bits
};

// A keyless touch: what happened to databases as a whole.
inline constexpr Event kEventFlushDb{"flushdb", 0};
inline constexpr Event kEventSwapDb{"swapdb", 0};
inline constexpr Event kEventLibraries{"libraries", 0};  // of functions changed
inline constexpr Event kEventExpired{"expired", 'x'};
inline constexpr Event kEventEvicted{"evicted", 'e'};
inline constexpr Event kEventDel{"del", 'g'};

struct Commit {
  Seq seq;
  Millis at;
  Origin origin;
  bool transaction;  // MULTI/EXEC or a script: frame the effects
  std::span<const Touch> touches;
  std::span<const Effect> effects;
};

class CommitBuilder;

class CommitSink {
 public:
  virtual ~CommitSink() = default;
  virtual void absorb(const Commit& commit) = 0;
  // A sink that does not listen now is skipped, and nothing is copied for it.
  bool listening() const { return listening_; }

 protected:
  void listen(bool listening) {
    if (listening == listening_) return;
    listening_ = listening;
    if (listeners_) *listeners_ += listening ? 1 : -1;
  }

 private:
  friend class CommitBuilder;

  bool listening_ = false;
  int* listeners_ = nullptr;  // the builder's count of those that listen
};

class CommitBuilder {
 public:
  // Sinks are told in the order given.
  void add_sink(CommitSink& sink) {
    sinks_.push_back(&sink);
    sink.listeners_ = &listeners_;
    listeners_ += sink.listening();
  }

  void begin(Origin origin, Millis now, bool transaction = false) {
    QUOLL_CHECK(!open_);
    open_ = true;
    origin_ = origin;
    now_ = now;
    transaction_ = transaction;
    recording_ = listeners_ > 0;
    targets_ = kToAll;
  }
  bool open() const { return open_; }
  Origin origin() const { return origin_; }
  void touch(DbIndex db, Bytes key, const Event& event, Change change) {
    QUOLL_DCHECK(open_);
    ++touch_count_;
    change_count_ += change != Change::expired && change != Change::evicted;
    if (recording_) touches_.push_back({db, keep(key), event, change});
  }
  void effect(DbIndex db, Args args) {
    QUOLL_DCHECK(open_);
    ++effect_count_;
    if (recording_) keep_effect(db, args);
  }
  // A sink began to listen within the open commit: it hears of what follows.
  void record() { recording_ = true; }
  // Of the effects from now on, until the commit ends.
  void set_targets(uint8_t targets) { targets_ = targets; }
  // Touches so far other than keys expired or evicted: what the command itself changed.
  size_t changes() const { return change_count_; }
  size_t expired() const { return touch_count_ - change_count_; }
  size_t effects() const { return effect_count_; }
  // Touches kept so far for the sinks, 0 when none listens.
  size_t recorded() const { return touches_.size(); }
  // Tells the sinks; returns the commit's seq, or 0 when nothing changed.
  Seq close() {
    QUOLL_CHECK(open_);
    // What is loaded was journaled before.
    QUOLL_CHECK(origin_ == Origin::load || (touch_count_ == 0) == (effect_count_ == 0));
    open_ = false;
    if (__builtin_expect(abandoned_, 0)) drop();
    if (touch_count_ == 0) return 0;
    ++seq_;
    touch_count_ = change_count_ = effect_count_ = 0;
    if (recording_) tell();
    return seq_;
  }
  // Nobody will be told of the open commit: what it changed stays in memory only. For a process
  // that is about to end without saving.
  void abandon() { abandoned_ = true; }
  Seq last_seq() const { return seq_; }
  // Keys changed so far, each as often as an edit changed it: what save points count.
  void note_changes(uint64_t keys) { total_changes_ += keys; }
  uint64_t total_changes() const { return total_changes_; }

 private:
  char* room(size_t bytes);
  Bytes keep(Bytes bytes);
  void keep_effect(DbIndex db, Args args);
  void drop();
  void tell();
  void forget();

  std::vector<CommitSink*> sinks_;
  int listeners_ = 0;  // sinks that listen
  std::vector<Touch> touches_;
  std::vector<Effect> effects_;
  std::unique_ptr<char[]> first_block_;  // kept between commits
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* block_ = nullptr;
  size_t block_used_ = 0;
  size_t touch_count_ = 0;
  size_t change_count_ = 0;
  size_t effect_count_ = 0;
  uint64_t total_changes_ = 0;
  Seq seq_ = 0;
  Millis now_ = 0;
  Origin origin_ = Origin::client;
  uint8_t targets_ = kToAll;
  bool open_ = false;
  bool recording_ = false;
  bool transaction_ = false;
  bool abandoned_ = false;
};

}  // namespace quoll::store
