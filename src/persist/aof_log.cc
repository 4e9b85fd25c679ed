// The way of the bytes: gathering, appending, syncing. Changing the file is in aof_log_files.cc.
#include "persist/aof_log.h"

#include <algorithm>

#include "base/check.h"

namespace quoll::persist {

using base::Result;

AofLog::AofLog(host::Clock& clock, host::Loop& loop, host::Disk& disk, AofDirectory& directory,
               AofLogEvents events)
    : clock_(clock), loop_(loop), disk_(disk), directory_(directory), events_(std::move(events)) {
  directory_.on_trouble([this](const std::string& error) {
    if (busy_) fail(Source::structure, error);
  });
}

AofLog::~AofLog() {
  *alive_ = false;
  directory_.on_trouble(nullptr);
  if (retry_timer_ != 0) loop_.cancel(retry_timer_);
  if (sync_timer_ != 0) loop_.cancel(sync_timer_);
  if (hold_timer_ != 0) loop_.cancel(hold_timer_);
  if (file_ != 0) disk_.close(file_);
  if (old_file_ != 0) disk_.close(old_file_);
}

void AofLog::absorb(const store::Commit& commit) {
  gathered_seq_ = commit.seq;
  // Without a file to come, the base that is asked for will hold the commit.
  if (needs_base_ && file_ == 0 && !busy_) return;
  if (gathered_.empty()) gathered_database_ = encoder_.database();
  encoder_.encode(commit, gathered_);
  ++gathered_commits_;
}

void AofLog::flush() {
  if (!full_ && gathered_.size() + chunk_bytes_ > kAofBufferBytesMax) full_ = true;
  if (!gathered_.empty() || gathered_seq_ > reported_) step();
}

// Starts whatever can be started now. Everything that ends comes back here.
void AofLog::step() {
  if (busy_ || draining_ || retry_timer_ != 0) return;
  if (repair_wanted_) {
    if (idle()) repair();
    return;
  }
  if (file_ == 0) return;
  if (publish_) {
    if (idle()) start_publish();
    return;
  }
  append_next();
  if (sync_due()) start_sync();
  if (!idle() || unsynced() || !chunks_.empty()) return;
  if (sealed_ && begin_done_) return switch_increment();
  if (sealed_ && close_done_) return finish_close({});
  // Commits that left no bytes are as durable as what is before them.
  if (gathered_.empty() && listed_) report(gathered_seq_);
}

void AofLog::seal_gathered() {
  if (gathered_.empty()) return;
  chunk_bytes_ += gathered_.size();
  chunk_memory_ += gathered_.capacity();
  waiting_bytes_ += gathered_.size();
  chunks_.push_back({std::move(gathered_), gathered_seq_, gathered_database_,
                     std::exchange(gathered_commits_, 0),
                     std::exchange(sealed_seq_, gathered_seq_)});
  gathered_ = std::move(spare_);
  gathered_.clear();
}

void AofLog::append_next() {
  // The fsync of a fresh increment ends the filling: what was sealed since comes behind it.
  if (filling_ && syncing_ > 0) return;
  // Gathered behind an fsync, the commits of several turns go out together.
  if (!streams() && (appending_ > 0 || (strict() && syncing_ > 0))) return;
  if (written_ + appending_ == chunks_.size() && !sealed_ && !filling_) {
    if (held_back()) return;
    seal_gathered();
  }
  if (written_ + appending_ == chunks_.size()) return;
  const Chunk& next = chunks_[written_ + appending_];
  ++appending_;
  sync_wanted_ = true;
  disk_.append(file_, next.bytes, current([this](const Result<>& result) { appended(result); }));
}

// Looked at again when more comes, and at the latest when the timer ends.
bool AofLog::held_back() {
  if (gathered_.empty() || !strict() || streams()) return false;
  if (!group_.holds(gathered_commits_, clock_.steady())) return false;
  if (hold_timer_ == 0) {
    hold_timer_ = loop_.after(GroupCommit::kHoldMax, guarded([this] {
                                hold_timer_ = 0;
                                step();
                              }));
  }
  return true;
}

void AofLog::appended(const Result<>& result) {
  --appending_;
  if (draining_) return go_on();
  if (!result) {
    append_failed_ = draining_ = true;
    fail(Source::append, result.error());
    return go_on();
  }
  const Chunk& chunk = chunks_[written_++];
  waiting_bytes_ -= chunk.bytes.size();
  tell_place(good_size_, chunk.database, chunk.after);
  good_size_ += chunk.bytes.size();
  current_size_ += chunk.bytes.size();
  bytes_since_boundary_ += chunk.bytes.size();
  written_seq_ = chunk.end_seq;
  append_failed_ = false;
  if (!filling_ && !repair_wanted_) {  // a repair needs them all
    // What is not synced for long is not kept for ever.
    untraced_ = untraced_ || policy_ == AofSync::no ||
                (suspended_ && chunk_bytes_ > kAofBufferBytesMax / 2);
    if (untraced_) drop_written();
    if (policy_ == AofSync::always && suspended_ && listed_) report(written_seq_);
    if (source_ == Source::append && !strict()) recover();
  }
  step();
}

// A failed append is over when everything behind it has come back.
void AofLog::go_on() {
  if (!draining_) return step();
  if (!idle()) return;
  draining_ = false;
  if (repair_wanted_) return step();
  cut_back();
}

// The failed append may have left a part of its bytes.
void AofLog::cut_back() {
  busy_ = true;
  disk_.truncate(file_, good_size_, current([this](const Result<>& result) {
                   if (!result) {
                     fail(Source::append, result.error());
                     return retry([this] { cut_back(); });
                   }
                   busy_ = false;
                   retry([this] { step(); });
                 }));
}

bool AofLog::sync_due() {
  if (syncing_ > 0 && !streams()) {
    if (policy_ == AofSync::everysec && !delay_counted_ && second_is_over()) {
      delay_counted_ = true;
      ++delayed_fsync_;
    }
    return false;
  }
  // The end of an increment, or the whole of a fresh one, is synced under any policy.
  if (sealed_ || filling_) {
    if (written_ == chunks_.size() && appending_ == 0) return unsynced();
    if (filling_) return false;
  }
  if (suspended_ || policy_ == AofSync::no) return false;
  // Behind an append in flight: the disk keeps their order, and a turn is saved.
  if (policy_ == AofSync::always) return sync_wanted_ || (syncing_ == 0 && unsynced());
  if (!unsynced()) return false;
  if (second_is_over() || chunk_bytes_ - waiting_bytes_ >= kAofEarlySyncBytes) return true;
  if (sync_timer_ == 0) {
    sync_timer_ = loop_.after(last_sync_at_ + kAofSyncEvery - clock_.steady(), guarded([this] {
                                sync_timer_ = 0;
                                step();
                              }));
  }
  return false;
}

bool AofLog::second_is_over() { return clock_.steady() - last_sync_at_ >= kAofSyncEvery; }

void AofLog::start_sync() {
  ++syncing_;
  sync_wanted_ = false;
  delay_counted_ = false;
  last_sync_at_ = clock_.steady();
  group_.began(last_sync_at_);
  disk_.sync(file_, current([this](const Result<>& result) { synced(result); }));
}

// Requests of one file complete in order: what is written now was written before the sync.
void AofLog::synced(const Result<>& result) {
  --syncing_;
  if (repair_wanted_) return go_on();  // behind one that failed it proves nothing
  if (!result) {
    fail(Source::sync, result.error());
    if (untraced_ || !listed_) return lose(result.error());
    repair_wanted_ = true;
    if (!filling_) return go_on();
    if (retry_timer_ == 0) retry([this] { step(); });
    return;
  }
  group_.ended(drop_written(), gathered_commits_, clock_.steady());
  untraced_ = false;
  synced_size_ = good_size_;
  synced_seq_ = std::max(synced_seq_, written_seq_);
  if (filling_) return cut_old();
  if (!append_failed_) recover();
  if (listed_) report(synced_seq_);
  go_on();
}

size_t AofLog::drop_written() {
  size_t commits = 0;
  for (; written_ > 0; --written_) {
    commits += chunks_.front().commits;
    std::string& bytes = chunks_.front().bytes;
    chunk_bytes_ -= bytes.size();
    chunk_memory_ -= bytes.capacity();
    if (bytes.capacity() > spare_.capacity() && bytes.capacity() <= kAofSpareBytesMax) {
      spare_ = std::move(bytes);
    }
    chunks_.pop_front();
  }
  has_preamble_ = false;
  note_room();
  return commits;
}

void AofLog::tell_place(uint64_t offset, std::optional<store::DbIndex> database, store::Seq after) {
  // A temporary increment gets its number when it is published.
  if (listed_ && events_.on_written) events_.on_written({increment_.seq, offset, database, after});
}

void AofLog::note_room() {
  if (!full_ || gathered_.size() + chunk_bytes_ > kAofBufferBytesMax / 2) return;
  full_ = false;
  if (events_.on_room) events_.on_room();
}

void AofLog::report(store::Seq seq) {
  if (seq <= reported_) return;
  reported_ = seq;
  if (events_.on_durable) events_.on_durable(seq);
}

void AofLog::fail(Source source, const std::string& error) {
  source_ = source;
  if (error_ == error) return;
  error_ = error;
  if (events_.on_state) events_.on_state(false, error_);
}

void AofLog::recover() {
  if (error_.empty() || needs_base_) return;
  error_.clear();
  source_ = Source::none;
  if (events_.on_state) events_.on_state(true, "");
}

// A log that is being closed does not wait for better times.
void AofLog::retry(host::Task task) {
  if (close_done_) return finish_close(base::Error{error_});
  QUOLL_CHECK(retry_timer_ == 0);
  retry_timer_ = loop_.after(kAofRetryAfter, guarded([this, task = std::move(task)] {
                               retry_timer_ = 0;
                               task();
                             }));
}

void AofLog::set_sync(AofSync policy) {
  policy_ = policy;
  step();
}

void AofLog::suspend_sync(bool suspended) {
  suspended_ = suspended;
  step();
}

void AofLog::set_sizes(uint64_t current_size, uint64_t base_size) {
  current_size_ = current_size;
  base_size_ = base_size;
}

AofLogStats AofLog::stats() const {
  return {.current_size = current_size_,
          .base_size = base_size_,
          .pending_fsync = syncing_,
          .delayed_fsync = delayed_fsync_,
          .buffer_length = gathered_.size() + waiting_bytes_};
}

}  // namespace quoll::persist
