// GroupWal: the log of a group member on disk, and beside it what the member must not forget.
//
//   append, append --flush--> batch | batch | batch       log.N, then log.N+1 ...
//   (group_wal_format.h)
//                                   ^synced ^written
//
// A new file begins, behind a position that its header names,
//   - at every start: files of an earlier life are only read;
//   - when the present one has kWalFileBytes. Writing goes on there until the next one is made;
//   - when an entry replaces one that is on its way to disk or there: the new file begins behind
//   the
//     last entry that stays. What has not been handed to the disk yet is cut in memory;
//   - after a failure: behind the last entry synced. A file is not trusted any more once an fsync
//   of
//     it failed, and holds nobody knows what once an append did;
//   - after restart(): behind the position installed.
// How recovery puts them together, and when it speaks of damage, is in group_wal_recovery.h.
//
// Invariants
//   - written <= handed to the disk <= last, synced <= written. Only what still belongs to the log
//   is
//     reported: an entry that was replaced while on its way does not count.
//   - Entries of a file count as synced only once all files before it are.
//   - Each batch carries the newest entry promised by then: reported synced, or with durability
//     `memory` reported written. A log that is quiet for a second writes the last promise, too.
//   - Files are removed only when the state file does not need them any more, durably.
//
// Crashes between two steps:
//   making a file     the file is empty or torn in its header: it is ignored and removed
//   trim              state file, then removal: files before `first` are removed at the next start
//   restart           new file, state file, removal: until the state file says so, the old log
//   stands state             see group_state_file.h
//
// Failures. wal_failed() is told once; what was not synced is forgotten, and so is what comes until
// wal_again(): the caller hands over everything behind `durable` once more. In between a new file
// is tried every second, so a full disk heals when there is room.
//   The unsynced bytes of a process killed between a failed fsync and the end of that trouble are
//   beyond its reach: the next start finds them readable, and durable only if the kernel wrote them
//   after all.
//
// Memory: what is handed over and not yet written; waiting_bytes() is for the caller's
// back-pressure. Cost: each entry is copied once; per turn one append and, with durability `fsync`,
// one fsync. With `memory` the fsync of every second goes through a second descriptor, so that
// appends do not queue behind it.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "cluster/epoch_runs.h"
#include "cluster/group_state_file.h"
#include "cluster/group_wal_recovery.h"
#include "host/host.h"

namespace quoll::cluster {

constexpr uint64_t kWalFileBytes = uint64_t{64} << 20;
constexpr base::Nanos kWalSyncEvery = 1'000 * base::kNanosPerMilli;
constexpr base::Nanos kWalRetryAfter = 1'000 * base::kNanosPerMilli;
constexpr size_t kWalBatchRoomMax = 1024 * 1024;  // bytes made room for before they come
constexpr size_t kWalAppendsMax = 16;  // on their way to a disk that gathers, if they are synced

class GroupWalEvents {
 public:
  virtual ~GroupWalEvents() = default;
  virtual void wal_written(Position upto) = 0;  // the operating system has all entries up to here
  virtual void wal_synced(Position upto) = 0;   // the disk has
  // Once per trouble: nothing is written or synced until wal_again().
  virtual void wal_failed(const std::string& error) = 0;
  // It works again: every entry behind `durable` is to be handed over once more.
  virtual void wal_again(Position durable) = 0;
  // The state could not be saved; it is tried again every second. Once per trouble.
  virtual void wal_state_failed(const std::string& error) = 0;
};

class GroupWal {
 public:
  struct Recovery {
    SavedState state;
    bool fresh = false;  // nothing was ever saved here
    Position base;       // entries up to here were removed: a checkpoint covers them
    Position last;
    bool damaged = false;  // something acknowledged may be missing
    std::string report;    // lines for the log: what was torn or damaged, and where
  };
  using OnEntry = WalRecovery::OnEntry;
  using OnRecovered = std::function<void(base::Result<Recovery>)>;

  GroupWal(host::Disk& disk, host::Loop& loop, std::string dir, GroupWalEvents& events,
           uint64_t file_bytes = kWalFileBytes);
  ~GroupWal();
  GroupWal(const GroupWal&) = delete;

  // Hands every intact entry behind the base to `on_entry`, in order, in steps of kWalReadBytes;
  // all of them count as written and synced. An error: the disk could not be read, try again. After
  // damage nothing is written before the first save_state() is done, which is to carry the
  // consequence: until then the next start finds the damage again.
  void open(OnEntry on_entry, OnRecovered done);

  // Whole entries, one behind the other, up to `last`. The first one continues the log or replaces
  // an entry of it and everything behind.
  void append(base::Bytes encoded, Index last);
  void flush();  // at the end of every loop turn
  // With `memory`: the log is synced up to here as soon as it is written, not at the next second.
  void sync_soon(Index upto) { soon_ = std::max(soon_, upto); }

  void set_sync(Durability durability);
  // Done when it is on disk; later ones take the place of those that wait.
  void save_state(const SavedState& state, host::Task done);
  // A checkpoint covers the entries up to here: files that hold no others are removed, as far as
  // the log is synced.
  void trim(Index upto);
  // The log is empty behind `at`, whatever it held.
  void restart(Position at);
  // Writes and syncs what there is, then saves `last`, and is closed. An error when the disk fails
  // meanwhile: then the log goes on as behind any failure, with the state saved before.
  void close(host::OnDone done, std::optional<SavedState> last = {});

  size_t waiting_bytes() const { return collected_.size() + in_flight_bytes_; }
  Position base() const { return runs_.base(); }
  Position last() const { return runs_.last(); }
  bool in_trouble() const { return trouble_; }

 private:
  struct Append {
    Position last;
    size_t bytes;
  };
  struct Sync {
    uint64_t number;
    Position last;
    uint64_t sequence;  // of the file
    bool ends_old;      // old_ is on disk then
  };
  struct OpenFile {
    host::FileId append = 0;
    host::FileId sync = 0;  // the same file
  };

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

  // group_wal.cc: the way of the bytes.
  void recovered(WalFound found, const OnRecovered& done);
  void opened(const OnRecovered& done, const Recovery& recovery);
  void cut_to(Index index);
  void cut_collected(Index index);
  void extend(Position entry);
  void step();
  void hand_over();
  void begin_batch();
  void send_batch();
  void appended(const base::Result<>& result);
  bool sync_due() const;
  void start_sync(bool ends_old = false);
  void synced(uint64_t number, const base::Result<>& result);
  bool mark_due() const { return promised_ != marked_ && collected_.empty() && may_write(); }
  void arm_tick();
  void tick();
  bool drained() const;
  bool may_write() const {
    return file_.append != 0 && !settling_ && !trouble_ && !turn_wanted_ && !next_ready_;
  }
  bool unsynced() const { return size_ > sync_asked_; }

  // group_wal_files.cc: changing the file.
  bool turn_due() const;
  void turn();
  template <class Next>
  host::OnFile then_open(host::FileId& place, Next next);
  void switch_file();
  void leave_file();
  void file_on_disk();
  void settled();
  void fail(const std::string& error);
  void forget_unwritten();
  void close_file(OpenFile& file);
  void remove_files(const std::vector<uint64_t>& sequences);
  void describe(GroupSuperblock& block) const;
  void save_block(host::Task done);
  void finish_close();
  void give_up_close(const std::string& error);
  std::string path(uint64_t sequence) const { return dir_ + "/" + wal_file_name(sequence); }

  host::Disk& disk_;
  host::Loop& loop_;
  std::string dir_;
  GroupWalEvents& events_;
  const uint64_t file_bytes_;
  Durability durability_ = Durability::memory;
  std::unique_ptr<WalRecovery> recovery_;
  GroupStateFile state_file_;
  bool open_ = false;
  bool held_ = false;  // damage was found and its consequence is not saved

  // The log.
  EpochRuns runs_;         // all of it
  std::string collected_;  // behind handed_: room for a batch's header, then entries
  size_t batch_room_ = 0;  // bytes, for the next one
  Position handed_;        // to the disk
  Position written_;
  Position synced_;
  Position promised_;
  Position marked_;  // promised in the last batch
  std::deque<Append> in_flight_;
  size_t in_flight_bytes_ = 0;
  std::deque<Sync> syncs_;  // in flight

  // The present file.
  std::vector<WalFile> files_;  // that the log consists of; the last one is it
  OpenFile file_;
  uint64_t file_sequence_ = 0;
  uint64_t size_ = 0;  // with what is on its way
  uint64_t written_size_ = 0;
  uint64_t sync_asked_ = 0;  // its size that the last fsync asked for covers
  uint64_t sync_number_ = 0;
  Index soon_ = 0;                  // what sync_soon() asked for
  OpenFile old_;                    // the one before it, until that is synced
  uint64_t newest_synced_ = 0;      // number of the last file known to be on disk
  std::vector<uint64_t> obsolete_;  // to be removed when the present one is

  // The next file.
  uint64_t sequence_ = 0;  // the highest used
  bool turn_wanted_ = false;
  bool making_ = false;
  bool next_ready_ = false;
  OpenFile next_;
  bool settling_ = false;  // nothing but its header is written before that is synced
  bool restart_ = false;   // the next file is the first one

  uint64_t life_ = 0;  // callbacks for an earlier one are not for us
  bool trouble_ = false;
  host::TimerId retry_timer_ = 0;
  host::TimerId tick_timer_ = 0;
  host::OnDone close_done_;
  std::optional<SavedState> last_state_;    // to be saved before the close is done
  std::optional<SavedState> state_before_;  // it, while it is being saved
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::cluster
