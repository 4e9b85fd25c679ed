// Changing the file: beginning one, going on after a failure, restarting, trimming.
#include "base/check.h"
#include "cluster/group_wal.h"

namespace quoll::cluster {

using base::Result;

// ---- the next file

bool GroupWal::turn_due() const {
  if (making_ || next_ready_ || settling_) return false;
  return file_.append == 0 || turn_wanted_ || size_ >= file_bytes_;
}

// Its name is durable before anything in it counts.
void GroupWal::turn() {
  making_ = true;
  ++sequence_;
  auto named = [this](const Result<>& result) {
    if (!result) return fail(result.error());
    making_ = false;
    next_ready_ = true;
    step();
  };
  auto open_again = [this, named] {
    disk_.open(path(sequence_), host::OpenMode::read,
               then_open(next_.sync, [this, named] { disk_.sync_dir(dir_, current(named)); }));
  };
  disk_.open(path(sequence_), host::OpenMode::create_new, then_open(next_.append, open_again));
}

template <class Next>
host::OnFile GroupWal::then_open(host::FileId& place, Next next) {
  return guarded([this, &place, life = life_, next](const Result<host::FileId>& opened) {
    if (life != life_) {
      if (opened) disk_.close(opened.value());
      return;
    }
    if (!opened) return fail(opened.error());
    place = opened.value();
    next();
  });
}

// No append is on its way, and the file before the present one is on disk.
void GroupWal::switch_file() {
  leave_file();
  file_ = std::exchange(next_, {});
  file_sequence_ = sequence_;
  next_ready_ = turn_wanted_ = false;
  settling_ = trouble_ || restart_;
  if (!restart_) files_.push_back({sequence_, handed_});
  marked_ = promised_;
  size_ = kWalHeaderBytes;
  written_size_ = sync_asked_ = 0;
  in_flight_.push_back({handed_, kWalHeaderBytes});
  in_flight_bytes_ += kWalHeaderBytes;
  disk_.append(file_.append, encode_wal_header({sequence_, restart_, handed_, promised_}),
               current([this](const Result<>& result) { appended(result); }));
}

void GroupWal::leave_file() {
  if (file_.append == 0) return;
  if (unsynced() || !syncs_.empty()) {
    start_sync(true);
    old_ = std::exchange(file_, {});
  } else {
    close_file(file_);
  }
}

// The present file has been synced.
void GroupWal::file_on_disk() {
  if (settling_) return settled();
  if (newest_synced_ == file_sequence_) return;
  newest_synced_ = file_sequence_;
  save_block([this, obsolete = std::exchange(obsolete_, {})] { remove_files(obsolete); });
}

// Its header is on disk: entries may follow.
void GroupWal::settled() {
  auto go_on = [this] {
    settling_ = restart_ = false;
    if (std::exchange(trouble_, false)) events_.wal_again(synced_);
    step();
  };
  if (!restart_) {
    settling_ = false;
    file_on_disk();
    return go_on();
  }
  for (const WalFile& file : files_) obsolete_.push_back(file.sequence);
  files_ = {{sequence_, runs_.base()}};
  newest_synced_ = sequence_;
  save_block(current([this, go_on] {
    remove_files(std::exchange(obsolete_, {}));
    go_on();
  }));
}

// ---- failure

void GroupWal::fail(const std::string& error) {
  forget_unwritten();
  runs_.truncate(synced_.index);
  handed_ = written_ = synced_;
  retry_timer_ = loop_.after(kWalRetryAfter, guarded([this] {
                               retry_timer_ = 0;
                               step();
                             }));
  if (!std::exchange(trouble_, true)) events_.wal_failed(error);
  give_up_close(error);
}

// The log goes on behind what is synced: of a file that never was, nothing counts. One that has
// entries stays until the next one is on disk, for who reads it after a kill; one that has none
// goes at once, a full disk would fill with them.
void GroupWal::forget_unwritten() {
  ++life_;
  const bool empty = making_ || next_ready_ || (settling_ && sequence_ > newest_synced_);
  if (empty) remove_files({sequence_});
  while (!files_.empty() && files_.back().sequence > newest_synced_) {
    if (!empty || files_.back().sequence != sequence_) obsolete_.push_back(files_.back().sequence);
    files_.pop_back();
  }
  for (OpenFile* file : {&file_, &old_, &next_}) close_file(*file);
  making_ = next_ready_ = settling_ = turn_wanted_ = false;
  collected_.clear();
  in_flight_.clear();
  in_flight_bytes_ = 0;
  syncs_.clear();
}

void GroupWal::close_file(OpenFile& file) {
  if (file.append != 0) disk_.close(file.append);
  if (file.sync != 0) disk_.close(file.sync);
  file = {};
}

// What stays in spite of it is removed at the next start.
void GroupWal::remove_files(const std::vector<uint64_t>& sequences) {
  for (uint64_t sequence : sequences) disk_.remove(path(sequence), [](const Result<>&) {});
}

// ---- the beginning of the log

void GroupWal::describe(GroupSuperblock& block) const {
  block.newest = newest_synced_;
  if (files_.empty()) return;
  block.first = files_.front().sequence;
  block.base = files_.front().before;
}

void GroupWal::save_block(host::Task done) {
  auto saved = [this, alive = alive_, done = std::move(done)] {
    done();
    if (*alive) step();  // close() waits for it
  };
  state_file_.change([this](GroupSuperblock& block) { describe(block); },
                     guarded(std::move(saved)));
}

void GroupWal::save_state(const SavedState& state, host::Task done) {
  QUOLL_CHECK(open_);
  auto saved = [this, alive = alive_, done = std::move(done)] {
    held_ = false;
    if (done) done();
    if (*alive) step();
  };
  auto edit = [&](GroupSuperblock& block) {
    block.state = state;
    describe(block);
  };
  state_file_.change(edit, guarded(std::move(saved)));
}

void GroupWal::trim(Index upto) {
  if (restart_) return;
  const Index safe = std::min(upto, synced_.index);
  size_t keep = 0;
  for (size_t i = 1; i < files_.size(); ++i)
    if (files_[i].before.index <= safe) keep = i;
  if (keep == 0) return;
  std::vector<uint64_t> covered;
  for (size_t i = 0; i < keep; ++i) covered.push_back(files_[i].sequence);
  files_.erase(files_.begin(), files_.begin() + static_cast<ptrdiff_t>(keep));
  runs_.trim(files_.front().before);
  save_block([this, covered] { remove_files(covered); });
}

void GroupWal::restart(Position at) {
  QUOLL_CHECK(open_);
  forget_unwritten();
  runs_.restart(at);
  handed_ = written_ = synced_ = promised_ = at;
  restart_ = true;
  step();
}

void GroupWal::finish_close() {
  forget_unwritten();
  open_ = false;
  for (host::TimerId* timer : {&retry_timer_, &tick_timer_})
    if (*timer != 0) loop_.cancel(std::exchange(*timer, 0));
  std::exchange(close_done_, nullptr)({});
}

}  // namespace quoll::cluster
