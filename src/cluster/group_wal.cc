// The way of the bytes: collecting, appending, syncing. Changing the file is in group_wal_files.cc.
#include "cluster/group_wal.h"

#include <algorithm>

#include "base/check.h"

namespace quoll::cluster {

using base::Result;

namespace {

// Visits the entries that `bytes` consist of; stops where `visit(position, offset)` says false.
template <class Visit>
void each_entry(base::Bytes bytes, Visit&& visit) {
  for (size_t at = 0; at < bytes.size();) {
    QUOLL_CHECK(bytes.size() - at >= kEntryHeaderBytes);
    uint32_t payload;
    Position position;
    std::memcpy(&payload, bytes.data() + at + 4, sizeof payload);
    std::memcpy(&position.epoch, bytes.data() + at + 8, sizeof position.epoch);
    std::memcpy(&position.index, bytes.data() + at + 16, sizeof position.index);
    QUOLL_CHECK(bytes.size() - at - kEntryHeaderBytes >= payload);
    if (!visit(position, at)) return;
    at += kEntryHeaderBytes + payload;
  }
}

Position first_entry(base::Bytes bytes) {
  Position first;
  each_entry(bytes, [&](Position position, size_t) {
    first = position;
    return false;
  });
  return first;
}

}  // namespace

GroupWal::GroupWal(host::Disk& disk, host::Loop& loop, std::string dir, GroupWalEvents& events,
                   uint64_t file_bytes)
    : disk_(disk),
      loop_(loop),
      dir_(std::move(dir)),
      events_(events),
      file_bytes_(file_bytes),
      state_file_(disk, loop, dir_, [this](const std::string& error) {
        events_.wal_state_failed(error);
        give_up_close(error);
      }) {}

GroupWal::~GroupWal() {
  *alive_ = false;
  if (retry_timer_ != 0) loop_.cancel(retry_timer_);
  if (tick_timer_ != 0) loop_.cancel(tick_timer_);
  for (OpenFile* file : {&file_, &old_, &next_}) close_file(*file);
}

// ---- opening

void GroupWal::open(OnEntry on_entry, OnRecovered done) {
  QUOLL_CHECK(!open_);
  auto found = [this, done = std::move(done)](Result<WalFound> found) {
    // The recovery is still at work while it tells us.
    loop_.post(guarded([this, done, found = std::move(found)]() mutable {
      recovery_.reset();
      if (!found) return done(base::Error{found.error()});
      recovered(std::move(found.value()), done);
    }));
  };
  recovery_ = std::make_unique<WalRecovery>(disk_, dir_, std::move(on_entry), std::move(found));
  recovery_->start();
}

void GroupWal::recovered(WalFound found, const OnRecovered& done) {
  state_file_.adopt(found.superblock);
  runs_ = std::move(found.runs);
  files_ = std::move(found.files);
  obsolete_ = std::move(found.obsolete);
  sequence_ = found.highest;
  newest_synced_ = found.superblock.newest;
  if (!files_.empty()) newest_synced_ = std::max(newest_synced_, files_.back().sequence);
  handed_ = written_ = synced_ = promised_ = runs_.last();
  held_ = found.damaged;
  restart_ = found.damaged && files_.empty();
  // Of lives that wrote nothing, only headers are left.
  while (!held_ && files_.size() > 1 && files_.back().before == runs_.last()) {
    obsolete_.push_back(files_.back().sequence);
    files_.pop_back();
  }
  const SavedState& state = found.superblock.state;
  const bool fresh = state.id.empty() && !found.damaged && runs_.last() == Position{};
  const Recovery recovery{state, fresh, runs_.base(), runs_.last(), found.damaged, found.report};
  if (found.had_superblock || held_) return opened(done, recovery);
  // Files of the log without a state file are damage: it comes first.
  save_block(guarded([this, done, recovery] { opened(done, recovery); }));
}

void GroupWal::opened(const OnRecovered& done, const Recovery& recovery) {
  open_ = true;
  done(recovery);
  step();
}

// ---- entries

void GroupWal::append(base::Bytes encoded, Index last) {
  QUOLL_CHECK(open_ && !close_done_);
  if (encoded.empty()) return;
  const Index first = first_entry(encoded).index;
  QUOLL_CHECK(first > runs_.base().index);
  if (trouble_) {
    if (first > synced_.index) return;  // handed over again afterwards
    cut_to(first - 1);
    turn_wanted_ = true;
    return;
  }
  if (first <= handed_.index) {
    collected_.clear();
    cut_to(first - 1);
    turn_wanted_ = true;
  } else if (first <= runs_.last().index) {
    cut_collected(first);
  }
  if (collected_.empty()) begin_batch();
  collected_ += encoded;
  each_entry(encoded, [this](Position entry, size_t) {
    extend(entry);
    return true;
  });
  QUOLL_CHECK(runs_.last().index == last);
}

// After a failure more is promised than the log holds, until it is handed over again. Another entry
// in that place means that the promised one was given up by the group.
void GroupWal::extend(Position entry) {
  const bool reaches = entry.index <= promised_.index && entry.epoch > promised_.epoch;
  const bool differs = entry.index == promised_.index && entry.epoch != promised_.epoch;
  if (reaches || differs) promised_ = runs_.last();
  runs_.append(entry);
}

// Only what stays may be reported from now on.
void GroupWal::cut_to(Index index) {
  runs_.truncate(index);
  const Position last = runs_.last();
  for (Position* position : {&handed_, &written_, &synced_, &promised_})
    *position = std::min(*position, last);
  for (Append& append : in_flight_) append.last = std::min(append.last, last);
  for (Sync& sync : syncs_) sync.last = std::min(sync.last, last);
}

void GroupWal::cut_collected(Index index) {
  size_t end = collected_.size();
  const base::Bytes entries = base::Bytes(collected_).substr(kWalBatchBytes);
  each_entry(entries, [&](Position entry, size_t offset) {
    if (entry.index < index) return true;
    end = kWalBatchBytes + offset;
    return false;
  });
  collected_.resize(end);
  if (end == kWalBatchBytes) collected_.clear();
  runs_.truncate(index - 1);
}

// With room for as much as the one before: growing would copy it several times.
void GroupWal::begin_batch() {
  collected_.reserve(batch_room_);
  collected_.resize(kWalBatchBytes);
}

void GroupWal::flush() { step(); }

// Starts whatever can be started now. Everything that ends comes back here.
void GroupWal::step() {
  if (!open_ || held_ || retry_timer_ != 0) return;
  if (turn_due()) turn();
  if (next_ready_ && in_flight_.empty() && old_.append == 0) switch_file();
  hand_over();
  if (sync_due()) start_sync();
  arm_tick();
  if (!close_done_ || !drained()) return;
  if (auto state = std::exchange(last_state_, std::nullopt)) {
    state_before_ = state_file_.block().state;
    return save_state(*state, nullptr);
  }
  finish_close();
}

void GroupWal::hand_over() {
  if (!may_write()) return;
  // While an fsync is under way more can be written; a write alone is over before it is worth it.
  const bool ahead = durability_ == Durability::fsync && disk_.gathers(file_.append);
  if (in_flight_.size() >= (ahead ? kWalAppendsMax : 1)) return;
  const bool last_mark = close_done_ && mark_due() && in_flight_.empty() && synced_ == handed_;
  if (!collected_.empty() || last_mark) send_batch();
}

void GroupWal::send_batch() {
  if (collected_.empty()) begin_batch();
  const size_t bytes = collected_.size();
  encode_wal_batch({bytes - kWalBatchBytes, promised_}, file_sequence_, size_, collected_.data());
  marked_ = promised_;
  batch_room_ = std::min(bytes + bytes / 4, kWalBatchRoomMax);
  handed_ = runs_.last();
  size_ += bytes;
  in_flight_.push_back({handed_, bytes});
  in_flight_bytes_ += bytes;
  disk_.append(file_.append, std::exchange(collected_, {}),
               current([this](const Result<>& result) { appended(result); }));
}

void GroupWal::appended(const Result<>& result) {
  if (!result) return fail(result.error());
  const Append ended = in_flight_.front();
  in_flight_.pop_front();
  in_flight_bytes_ -= ended.bytes;
  written_size_ += ended.bytes;
  if (ended.last.index > written_.index) {
    written_ = ended.last;
    if (durability_ == Durability::memory) promised_ = std::max(promised_, written_);
    events_.wal_written(written_);
  }
  step();
}

// ---- syncing

void GroupWal::set_sync(Durability durability) {
  durability_ = durability;
  step();
}

// With `memory` it is time that makes it due (see tick()), or sync_soon().
bool GroupWal::sync_due() const {
  if (file_.append == 0 || old_.append != 0 || !unsynced()) return false;
  if (durability_ == Durability::memory && !close_done_ && !settling_)
    return synced_.index < soon_ && written_size_ > sync_asked_ && syncs_.empty();
  return syncs_.empty() || disk_.gathers(file_.append);
}

// Behind the appends on their way where these go through the same descriptor.
void GroupWal::start_sync(bool ends_old) {
  const bool behind = durability_ == Durability::fsync || close_done_ || settling_ || ends_old;
  const uint64_t number = ++sync_number_;
  syncs_.push_back({number, behind ? handed_ : written_, file_sequence_, ends_old});
  sync_asked_ = behind ? size_ : written_size_;
  disk_.sync(behind ? file_.append : file_.sync,
             current([this, number](const Result<>& result) { synced(number, result); }));
}

void GroupWal::synced(uint64_t number, const Result<>& result) {
  if (!result) return fail(result.error());
  auto ended = std::find_if(syncs_.begin(), syncs_.end(),
                            [number](const Sync& sync) { return sync.number == number; });
  const Sync sync = *ended;
  syncs_.erase(ended);
  if (sync.ends_old) close_file(old_);
  const uint64_t life = life_;
  if (sync.sequence == file_sequence_)
    file_on_disk();
  else
    newest_synced_ = std::max(newest_synced_, sync.sequence);
  if (life != life_) return;
  if (sync.last.index > synced_.index) {
    synced_ = sync.last;
    promised_ = std::max(promised_, synced_);
    events_.wal_synced(synced_);
  }
  step();
}

void GroupWal::arm_tick() {
  if (tick_timer_ != 0 || file_.append == 0) return;
  if (!unsynced() && promised_ == marked_) return;
  tick_timer_ = loop_.after(kWalSyncEvery, guarded([this] {
                              tick_timer_ = 0;
                              tick();
                            }));
}

void GroupWal::tick() {
  if (file_.append == 0) return;
  const bool may_sync = syncs_.empty() && old_.append == 0 && written_size_ > sync_asked_;
  if (may_sync) {
    start_sync();
  } else if (mark_due() && in_flight_.empty()) {
    send_batch();
  }
  step();
}

// ---- the end

void GroupWal::close(host::OnDone done, std::optional<SavedState> last) {
  QUOLL_CHECK(open_ && !close_done_);
  close_done_ = std::move(done);
  if (held_) return finish_close();
  if (trouble_) return give_up_close("the disk has failed");
  last_state_ = std::move(last);
  state_file_.try_now();
  step();
}

// What is on disk now nobody knows: nothing is written before the state that holds is.
void GroupWal::give_up_close(const std::string& error) {
  if (!close_done_) return;
  last_state_.reset();
  if (auto state = std::exchange(state_before_, std::nullopt)) {
    held_ = true;
    save_state(*state, nullptr);
  }
  std::exchange(close_done_, nullptr)(base::Error{error});
}

bool GroupWal::drained() const {
  return may_write() && collected_.empty() && in_flight_.empty() && syncs_.empty() && !unsynced() &&
         old_.append == 0 && promised_ == marked_ && state_file_.idle();
}

}  // namespace quoll::cluster
