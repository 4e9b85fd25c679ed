// AofLog: the running append-only file. Takes commits as a sink, writes them to the current
// increment, makes them durable by policy, and repairs itself when the disk fails.
//
//   absorb -> gathered --flush--> chunk | chunk | chunk | chunk ...
//                                 '- written, not synced -' '- on their way or waiting
//                                   ^synced                ^written
//
// One append and one fsync are in flight at a time. Under `always` the next ones wait for the
// clients that were just answered (group_commit.h). Where these do not come back, and the disk
// gathers what queues behind a running fsync, every turn hands over its chunk and asks for an fsync
// at once: the next one starts the moment the last one ends, for all the turns that came meanwhile.
//
// When is a seq durable (on_durable, the gate's "fsynced")?
//   - an fsync of the increment that holds its bytes succeeded after they were written, and
//   - every commit before it is durable: an increment is only begun once the one before is synced,
//   - and that increment is listed in a manifest which is itself durable.
//   An unlisted increment (the log was switched on while running, see begin_increment) becomes
//   durable when publish_base() has listed it. With fsync suspended (no-appendfsync-on-rewrite)
//   under `always`, written counts as durable: that is what the directive asks for.
//
// Failures. Until one is over last_write_ok() is false, nothing new is durable, and the failed step
// is tried again once a second:
//   append   the file is cut back to its last good size, the bytes are kept and written again.
//   fsync    the kernel may have dropped the unsynced pages, so a later success would prove
//            nothing. Everything since the last good fsync is written to a fresh increment and
//            synced there; the old one is cut to what is surely durable; then the fresh one is
//            listed in the manifest, and only then used:
//              create fresh -> fill, fsync -> cut old, fsync -> manifest -> durable
//   untraceable: with policy `no`, or suspended for long, the bytes since the last fsync are not
//            kept. A failed fsync then leaves a hole that only a new base can close: needs_base()
//            asks for a rewrite, and until it is published nothing is durable.
//
// Memory: the bytes since the last fsync, at most kAofBufferBytesMax and one turn. Cost: each byte
// is encoded once and copied once; per turn at most one append and, with `always`, one fsync for
// all clients of the turn.
//
// The unsynced bytes of a process killed between a failed fsync and the end of the repair are
// beyond its reach: the next start finds them readable, and durable only if the kernel wrote them
// after all.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "host/host.h"
#include "persist/aof_directory.h"
#include "persist/aof_encoder.h"
#include "persist/group_commit.h"
#include "store/commit.h"

namespace quoll::persist {

enum class AofSync : uint8_t { always, everysec, no };

constexpr size_t kAofBufferBytesMax = size_t{64} << 20;  // kept; beyond it full() holds clients
constexpr size_t kAofEarlySyncBytes = size_t{16} << 20;  // everysec does not wait for the second
constexpr size_t kAofSpareBytesMax = size_t{1} << 20;    // of a chunk's memory kept for the next
constexpr base::Nanos kAofSyncEvery = 1'000 * base::kNanosPerMilli;

// Where in the files commits stand.
struct AofPlace {
  int64_t increment = 0;  // its number
  uint64_t offset = 0;
  std::optional<store::DbIndex> database;  // selected before it
  store::Seq after = 0;                    // the commits behind this one
};

struct AofLogEvents {
  std::function<void(store::Seq seq)> on_durable;                   // seqs only grow
  std::function<void(bool ok, const std::string& error)> on_state;  // when it changes
  std::function<void()> on_room;                                    // full() is over
  std::function<void(const AofPlace&)> on_written = {};             // there is more in a file
};

struct AofLogStats {
  uint64_t current_size;   // of base and increments
  uint64_t base_size;      // current_size after the last rewrite
  uint64_t pending_fsync;  // in flight
  uint64_t delayed_fsync;  // came due while one was in flight
  uint64_t buffer_length;  // not yet written
};

class AofLog final : public store::CommitSink {
 public:
  AofLog(host::Clock& clock, host::Loop& loop, host::Disk& disk, AofDirectory& directory,
         AofLogEvents events);
  ~AofLog() override;
  AofLog(const AofLog&) = delete;

  // Goes on in the last increment of the manifest (already cut where it was torn), or in a first
  // one. `seq`: of the last commit the files hold; durable when `done` says so, unless the file
  // cannot be synced: then the log is open but needs a base.
  void open(store::Seq seq, host::OnDone done);

  // A rewrite begins: commits up to `boundary` (the last absorbed) go to the old increment, later
  // ones to a new one. `done` when that one is in the manifest; on failure the old one goes on and
  // the rewrite must not be published. While the log is closed, or needs a base, the new increment
  // is a temporary file outside the manifest.
  void begin_increment(store::Seq boundary, host::OnDone done);

  // Ends a rewrite: `temporary` (a synced file in the directory) becomes the base and everything
  // before the last begin_increment() becomes history, which is then removed. Also while closed.
  void publish_base(const std::string& temporary, bool rdb, uint64_t base_bytes, host::OnDone done);

  // Stops listening, writes and syncs what there is, closes the file (a temporary one is removed).
  // An error means that the last commits are not durable; the file is closed all the same.
  void close(host::OnDone done);

  void absorb(const store::Commit& commit) override;
  void flush();  // at the end of every loop turn

  void set_sync(AofSync policy);
  void suspend_sync(bool suspended);
  // While on, files that a rewrite replaced stay in the directory, listed as history.
  void keep_history(bool keep);
  void set_timestamps(bool on) { encoder_.set_timestamps(on); }
  void set_changes(uint64_t life) { encoder_.set_changes(life); }
  void set_sizes(uint64_t current_size, uint64_t base_size);  // found by the loader

  bool is_open() const { return listening(); }
  bool full() const { return full_; }
  bool last_write_ok() const { return error_.empty(); }
  const std::string& last_error() const { return error_; }  // the system's words
  bool needs_base() const { return needs_base_; }
  store::Seq durable_seq() const { return reported_; }
  AofLogStats stats() const;
  // Memory of what is not written or not synced yet.
  size_t held_bytes() const { return gathered_.capacity() + chunk_memory_ + spare_.capacity(); }

  void forget_delayed_fsyncs() { delayed_fsync_ = 0; }

 private:
  struct Chunk {
    std::string bytes;
    store::Seq end_seq;                      // of its last commit
    std::optional<store::DbIndex> database;  // selected before it
    size_t commits = 0;
    store::Seq after = 0;  // of the last commit before its first
  };
  struct Publish {
    std::string temporary;
    bool rdb;
    uint64_t base_bytes;
    host::OnDone done;
  };
  enum class Source : uint8_t { none, append, sync, structure };  // of the error

  // Not called any more once this object is gone, or (current) once the file was given up.
  template <class Callback>
  auto guarded(Callback callback) {
    return [alive = alive_, callback = std::move(callback)](auto&&... values) mutable {
      if (*alive) callback(std::forward<decltype(values)>(values)...);
    };
  }
  template <class Callback>
  auto current(Callback callback) {
    return guarded([this, life = life_, callback = std::move(callback)](auto&&... values) mutable {
      if (life == life_) callback(std::forward<decltype(values)>(values)...);
    });
  }

  // aof_log.cc: the way of the bytes.
  void step();
  void seal_gathered();
  void append_next();
  void appended(const base::Result<>& result);
  void go_on();
  void cut_back();
  bool held_back();
  bool sync_due();
  bool second_is_over();
  void start_sync();
  void synced(const base::Result<>& result);
  size_t drop_written();  // their commits
  void report(store::Seq seq);
  void fail(Source source, const std::string& error);
  void recover();
  void retry(host::Task task);
  void note_room();
  void tell_place(uint64_t offset, std::optional<store::DbIndex> database, store::Seq after);
  bool strict() const { return policy_ == AofSync::always && !suspended_; }
  // Whether requests may queue up in the disk.
  bool streams() const {
    return group_.streaming() && strict() && !sealed_ && !filling_ && disk_.gathers(file_);
  }
  bool idle() const { return appending_ == 0 && syncing_ == 0; }
  bool unsynced() const { return good_size_ > synced_size_; }
  bool drained() const;
  void clear_buffers();
  void adopt(host::FileId file, AofFile increment, uint64_t size);

  // aof_log_files.cc: changing the file.
  void open_last(const AofFile& increment);
  void open_first();
  void open_ended(base::Result<> result);
  void begin_temporary();
  void switch_increment();
  void begin_ended(base::Result<> result);
  void start_publish();
  void published(uint64_t base_bytes);
  void repair();
  void cut_old();
  void list_fresh();
  void lose(const std::string& error);
  void finish_close(base::Result<> result);
  void abandon_file();
  void refuse_requests(const std::string& reason);

  host::Clock& clock_;
  host::Loop& loop_;
  host::Disk& disk_;
  AofDirectory& directory_;
  AofLogEvents events_;
  AofEncoder encoder_;

  // Bytes.
  std::string gathered_;
  store::Seq gathered_seq_ = 0;
  store::Seq sealed_seq_ = 0;  // of the last commit that is not gathered any more
  std::optional<store::DbIndex> gathered_database_;
  size_t gathered_commits_ = 0;
  std::deque<Chunk> chunks_;  // all of the current increment
  size_t written_ = 0;        // of chunks_; behind them appending_ are on their way
  size_t chunk_bytes_ = 0;
  size_t chunk_memory_ = 0;   // with what their strings keep free
  size_t waiting_bytes_ = 0;  // of those not written
  std::string spare_;
  bool full_ = false;
  bool sealed_ = false;    // gathered_ belongs to the next increment, or nothing more comes
  bool untraced_ = false;  // written, unsynced and no longer kept

  // The current increment.
  host::FileId file_ = 0;
  AofFile increment_{};
  uint64_t good_size_ = 0;    // all appends that succeeded
  uint64_t synced_size_ = 0;  // at the last fsync that succeeded
  store::Seq written_seq_ = 0;
  store::Seq synced_seq_ = 0;
  store::Seq reported_ = 0;
  bool listed_ = false;
  size_t appending_ = 0;      // appends in flight: the chunks behind written_
  size_t syncing_ = 0;        // syncs in flight
  bool sync_wanted_ = false;  // appends went out behind the last sync that was asked for
  bool busy_ = false;         // files are being changed: neither appends nor syncs

  // Policy.
  AofSync policy_ = AofSync::everysec;
  bool suspended_ = false;
  base::Nanos last_sync_at_ = 0;
  bool delay_counted_ = false;
  host::TimerId sync_timer_ = 0;
  GroupCommit group_;
  host::TimerId hold_timer_ = 0;

  // Failure and repair.
  uint64_t life_ = 0;  // of the file: callbacks for an earlier one are not for us
  std::string error_;
  bool append_failed_ = false;  // and none has succeeded since
  bool draining_ = false;       // what is in flight behind it fails with it
  Source source_ = Source::none;
  host::TimerId retry_timer_ = 0;
  bool repair_wanted_ = false;
  bool filling_ = false;  // file_ is the fresh increment of a repair
  bool has_preamble_ = false;
  bool needs_base_ = false;
  bool keeps_history_ = false;
  host::FileId old_file_ = 0;  // being replaced
  uint64_t old_size_ = 0;      // its durable size

  // Requests.
  host::OnDone open_done_;
  host::OnDone begin_done_;
  std::optional<Publish> publish_;
  host::OnDone close_done_;
  store::Seq boundary_ = 0;
  int64_t first_kept_ = kNoIncrement;  // of the rewrite under way
  uint64_t bytes_since_boundary_ = 0;

  uint64_t current_size_ = 0;
  uint64_t base_size_ = 0;
  uint64_t delayed_fsync_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::persist
