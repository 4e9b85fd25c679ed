// AofLog: opening, switching, repairing and closing its files. While one of these works (busy_),
// nothing is appended or synced; bytes gather.
#include <algorithm>

#include "base/check.h"
#include "persist/aof_log.h"

namespace quoll::persist {

using base::Error;
using base::Result;
using host::FileId;
using host::OnDone;

namespace {

constexpr const char* kNoBase = "The append-only file has no base yet";

}  // namespace

// ---- opening and closing

void AofLog::open(store::Seq seq, OnDone done) {
  QUOLL_CHECK(!is_open() && !busy_);
  listen(true);
  abandon_file();
  busy_ = true;
  needs_base_ = false;
  gathered_seq_ = sealed_seq_ = written_seq_ = synced_seq_ = seq;
  last_sync_at_ = clock_.steady();
  open_done_ = std::move(done);
  const auto& increments = directory_.manifest().increments();
  if (increments.empty()) return open_first();
  open_last(increments.back());
}

void AofLog::open_last(const AofFile& increment) {
  disk_.open(directory_.path(increment.name), host::OpenMode::append,
             current([this, increment](Result<FileId> opened) {
               if (!opened) return open_ended(Error{opened.error()});
               adopt(opened.value(), increment, 0);
               disk_.size(file_, current([this](Result<host::Offset> size) {
                            if (!size) return open_ended(Error{size.error()});
                            good_size_ = synced_size_ = size.value();
                            disk_.sync(file_, current([this](const Result<>& synced) {
                                         if (!synced) lose(synced.error());
                                         open_ended({});
                                       }));
                          }));
             }));
}

void AofLog::open_first() {
  directory_.create_increment(current([this](Result<FileId> opened, const AofFile& increment) {
    if (!opened) return open_ended(Error{opened.error()});
    adopt(opened.value(), increment, 0);
    directory_.change([increment](AofManifest& manifest) { manifest.add_increment(increment); },
                      current([this](Result<> listed) { open_ended(std::move(listed)); }));
  }));
}

void AofLog::open_ended(Result<> result) {
  busy_ = false;
  OnDone done = std::exchange(open_done_, nullptr);
  if (!result) {
    listen(false);
    abandon_file();
    recover();
    return done(std::move(result));
  }
  if (source_ == Source::structure) recover();
  if (file_ != 0) {
    listed_ = true;
    report(synced_seq_);
  }
  done({});
  step();
}

void AofLog::close(OnDone done) {
  QUOLL_CHECK(!close_done_ && !open_done_);
  listen(false);
  if (file_ == 0 && !busy_ && !repair_wanted_) {  // never opened, or lost
    const bool lost = needs_base_;
    abandon_file();
    needs_base_ = false;
    recover();
    if (!lost) return done({});
    return done(Error{kNoBase});
  }
  if (begin_done_ && !busy_) begin_ended(Error{"The append-only file is being closed"});
  seal_gathered();
  sealed_ = true;
  close_done_ = std::move(done);
  step();
}

void AofLog::finish_close(Result<> result) {
  const bool temporary = !listed_;
  if (file_ != 0 && (temporary || filling_)) {
    disk_.remove(directory_.path(increment_.name), [](Result<>) {});
  }
  abandon_file();
  needs_base_ = false;
  recover();
  OnDone done = std::exchange(close_done_, nullptr);
  refuse_requests("The append-only file was closed");
  if (result && temporary) return done(Error{kNoBase});
  done(std::move(result));
}

// ---- rewrites

void AofLog::begin_increment(store::Seq boundary, OnDone done) {
  QUOLL_CHECK(!begin_done_ && !publish_ && !open_done_ && !close_done_);
  boundary_ = boundary;
  begin_done_ = std::move(done);
  if (!is_open() || needs_base_ || !listed_) return begin_temporary();
  seal_gathered();
  sealed_ = true;
  encoder_.begin_file();
  step();
}

// What was gathered before belongs to commits which the base will hold.
void AofLog::begin_temporary() {
  const bool was_open = is_open();
  listen(true);
  abandon_file();
  gathered_seq_ = sealed_seq_ = boundary_;
  last_sync_at_ = clock_.steady();
  busy_ = true;
  directory_.create_temporary_increment(
      current([this, was_open](Result<FileId> opened, const AofFile& increment) {
        if (opened) {
          adopt(opened.value(), increment, 0);
          first_kept_ = kNoIncrement;
          bytes_since_boundary_ = 0;
          return begin_ended({});
        }
        clear_buffers();
        needs_base_ = was_open;
        listen(was_open);
        begin_ended(Error{opened.error()});
      }));
}

void AofLog::switch_increment() {
  busy_ = true;
  directory_.create_increment(current([this](Result<FileId> opened, const AofFile& increment) {
    if (!opened) return begin_ended(Error{opened.error()});
    directory_.change([increment](AofManifest& manifest) { manifest.add_increment(increment); },
                      current([this, fresh = opened.value(), increment](Result<> listed) {
                        if (!listed) {
                          disk_.close(fresh);
                          disk_.remove(directory_.path(increment.name), [](Result<>) {});
                          return begin_ended(std::move(listed));
                        }
                        disk_.close(file_);
                        adopt(fresh, increment, 0);
                        first_kept_ = increment.seq;
                        bytes_since_boundary_ = 0;
                        begin_ended({});
                      }));
  }));
}

// On failure the gathered bytes go on in the old file: they begin with a SELECT, as in a new one.
void AofLog::begin_ended(Result<> result) {
  busy_ = false;
  sealed_ = false;
  if (source_ == Source::structure) recover();
  if (close_done_) {
    seal_gathered();
    sealed_ = true;
  }
  OnDone done = std::exchange(begin_done_, nullptr);
  done(std::move(result));
  step();
}

void AofLog::publish_base(const std::string& temporary, bool rdb, uint64_t base_bytes,
                          OnDone done) {
  QUOLL_CHECK(!publish_ && !begin_done_);
  if (is_open() && !listed_) {
    if (file_ == 0) {
      return done(Error{"The append-only file failed while it was rewritten: " + error_});
    }
    publish_ = {temporary, rdb, base_bytes, std::move(done)};
    return step();
  }
  directory_.publish_base(temporary, rdb, is_open() ? first_kept_ : kNoIncrement,
                          guarded([this, base_bytes, done = std::move(done)](Result<> result) {
                            if (result) published(base_bytes);
                            done(std::move(result));
                          }));
}

void AofLog::start_publish() {
  busy_ = true;
  directory_.publish_base_and_increment(publish_->temporary, publish_->rdb,
                                        current([this](Result<> result) {
                                          busy_ = false;
                                          if (!result) return lose("");
                                          Publish ended = std::move(*publish_);
                                          publish_.reset();
                                          increment_ = directory_.manifest().increments().back();
                                          listed_ = true;
                                          needs_base_ = false;
                                          tell_place(0, {}, boundary_);
                                          if (!append_failed_) recover();
                                          published(ended.base_bytes);
                                          report(std::max(boundary_, synced_seq_));
                                          ended.done({});
                                          step();
                                        }));
}

void AofLog::published(uint64_t base_bytes) {
  current_size_ = base_size_ = base_bytes + (is_open() ? bytes_since_boundary_ : 0);
  if (!keeps_history_) directory_.remove_history([](Result<>) {});
}

void AofLog::keep_history(bool keep) {
  if (keeps_history_ && !keep) directory_.remove_history([](Result<>) {});
  keeps_history_ = keep;
}

// ---- repair after a failed fsync

void AofLog::repair() {
  repair_wanted_ = false;
  busy_ = true;
  const uint64_t doubtful_bytes = good_size_ - synced_size_;
  current_size_ -= std::min(current_size_, doubtful_bytes);
  bytes_since_boundary_ -= std::min(bytes_since_boundary_, doubtful_bytes);
  if (!filling_) {
    filling_ = true;
    old_file_ = file_;
    old_size_ = synced_size_;
  } else if (file_ != 0) {  // the fresh one failed too
    disk_.close(file_);
    disk_.remove(directory_.path(increment_.name), [](Result<>) {});
  }
  file_ = 0;
  good_size_ = synced_size_ = 0;
  written_ = 0;
  waiting_bytes_ = chunk_bytes_;
  directory_.create_increment(current([this](Result<FileId> opened, const AofFile& increment) {
    busy_ = false;
    if (!opened) {
      repair_wanted_ = true;
      fail(Source::structure, opened.error());
      return retry([this] { step(); });
    }
    adopt(opened.value(), increment, 0);
    if (chunks_.empty()) return cut_old();
    if (!has_preamble_ && chunks_.front().database) {
      // The bytes go on where a database was selected in the old file.
      Chunk preamble{.bytes = "", .end_seq = synced_seq_, .database = {}, .after = synced_seq_};
      AofEncoder::append_select(*chunks_.front().database, preamble.bytes);
      chunk_bytes_ += preamble.bytes.size();
      waiting_bytes_ += preamble.bytes.size();
      chunks_.push_front(std::move(preamble));
      chunk_memory_ += chunks_.front().bytes.capacity();
      has_preamble_ = true;
    }
    step();
  }));
}

// What the old file holds beyond its last good fsync is now in the fresh one, and must not be
// there twice.
void AofLog::cut_old() {
  busy_ = true;
  auto failed = [this](const Result<>& result) {
    fail(Source::sync, result.error());
    retry([this] { cut_old(); });
  };
  disk_.truncate(old_file_, old_size_, current([this, failed](const Result<>& cut) {
                   if (!cut) return failed(cut);
                   disk_.sync(old_file_, current([this, failed](const Result<>& synced) {
                                if (!synced) return failed(synced);
                                list_fresh();
                              }));
                 }));
}

void AofLog::list_fresh() {
  directory_.change(
      [increment = increment_](AofManifest& manifest) { manifest.add_increment(increment); },
      current([this](const Result<>& listed) {
        if (!listed) {
          fail(Source::structure, listed.error());
          return retry([this] { list_fresh(); });
        }
        disk_.close(old_file_);
        old_file_ = 0;
        filling_ = false;
        busy_ = false;
        recover();
        report(synced_seq_);
        step();
      }));
}

// Bytes are gone that nobody can write again. Only a base closes the gap.
void AofLog::lose(const std::string& error) {
  const bool is_temporary = increment_.name == directory_.manifest().temporary_increment_name();
  const std::string temporary = is_temporary && file_ != 0 ? increment_.name : "";
  abandon_file();
  if (!temporary.empty()) disk_.remove(directory_.path(temporary), [](Result<>) {});
  needs_base_ = true;
  if (!error.empty()) fail(Source::sync, error);
  const std::string reason = "The append-only file failed: " + error;
  refuse_requests(reason);
  if (OnDone closed = std::exchange(close_done_, nullptr)) {
    needs_base_ = false;
    recover();
    closed(Error{reason});
  }
}

void AofLog::refuse_requests(const std::string& reason) {
  OnDone begun = std::exchange(begin_done_, nullptr);
  std::optional<Publish> publish = std::exchange(publish_, std::nullopt);
  if (begun) begun(Error{reason});
  if (publish) publish->done(Error{reason});
}

// ---- the current file

void AofLog::adopt(FileId file, AofFile increment, uint64_t size) {
  file_ = file;
  increment_ = std::move(increment);
  good_size_ = synced_size_ = size;
}

void AofLog::clear_buffers() {
  chunks_.clear();
  written_ = chunk_bytes_ = chunk_memory_ = waiting_bytes_ = 0;
  gathered_.clear();
  gathered_commits_ = 0;
  untraced_ = has_preamble_ = false;
  note_room();
}

void AofLog::abandon_file() {
  ++life_;
  for (host::TimerId* timer : {&retry_timer_, &sync_timer_, &hold_timer_}) {
    if (*timer != 0) loop_.cancel(std::exchange(*timer, 0));
  }
  for (FileId* file : {&file_, &old_file_}) {
    if (*file != 0) disk_.close(std::exchange(*file, 0));
  }
  good_size_ = synced_size_ = 0;
  appending_ = syncing_ = 0;
  sync_wanted_ = busy_ = sealed_ = listed_ = false;
  append_failed_ = draining_ = repair_wanted_ = filling_ = false;
  encoder_.begin_file();
  clear_buffers();
}

}  // namespace quoll::persist
