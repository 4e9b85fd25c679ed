#include "server/change_stream.h"

#include <algorithm>

#include "server/persistence.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr uint64_t kLivesPerMilli = 1000;  // so that two servers seldom begin in the same one

}  // namespace

void ChangeStream::loaded(int64_t increment, const persist::AofCommand& command) {
  if (increment == loaded_increment_ && command.commit_offset == loaded_offset_) return;
  loaded_increment_ = increment;
  loaded_offset_ = command.commit_offset;
  ChangePosition position;
  if (!persist::parse_change_position(command.change_notes, position)) {
    index_.clear();
    lives_.clear();
    loaded_last_.reset();
    return;
  }
  const ChangePosition before{position.life, position.seq - 1};
  index_.add({loaded_last_.value_or(before), increment, command.commit_offset, command.database});
  loaded_last_ = position;
  if (lives_.empty() || lives_.back() != position.life) lives_.push_back(position.life);
}

void ChangeStream::begin() {
  begin_life();
  if (server_.settings().changes_buffer_size == 0) forget_past();
  apply_settings();
}

void ChangeStream::begin_life() {
  host::Host& host = server_.host();
  const uint64_t least = lives_.empty() ? 1 : lives_.back() + 1;
  life_ = std::max(least, static_cast<uint64_t>(host.clock.wall()) * kLivesPerMilli +
                              host.random.draw() % kLivesPerMilli);
  lives_.push_back(life_);
  begun_at_ = server_.store().commits().last_seq();
  window_.begin(begun_at_);
  encoder_.set_changes(life_);
  ++version_;
}

// What was before this life is no part of the stream.
void ChangeStream::forget_past() {
  index_.clear();
  lives_ = {life_};
  loaded_last_.reset();
}

void ChangeStream::apply_settings() {
  if (life_ == 0) return;  // begin() will
  window_.set_limit(static_cast<size_t>(server_.settings().changes_buffer_size));
  const bool wanted = window_.bytes_max() > 0;
  if (on() && !wanted) restart();
  if (!on() && wanted && window_.last() != server_.store().commits().last_seq()) restart();
  listen(wanted);
  server_.persistence().apply_settings();  // notes in the log
}

void ChangeStream::restart() {
  if (life_ == 0) return;
  begin_life();
  forget_past();
  server_.persistence().apply_settings();
}

void ChangeStream::absorb(const store::Commit& commit) {
  if (commit.origin == store::Origin::load) return;  // whoever loads restarts the stream
  text_.clear();
  encoder_.begin_file();  // each stands for itself
  encoder_.encode(commit, text_);
  if (text_.empty()) return;  // a script kept it out of the log
  ++version_;
  window_.add(commit.seq, text_);
  if (text_.capacity() > persist::kAofSpareBytesMax) std::string().swap(text_);
}

void ChangeStream::log_written(const persist::AofPlace& place) {
  if (!on()) return;
  index_.add({{life_, place.after}, place.increment, place.offset, place.database.value_or(0)});
}

// Files that were removed, or do not hold the data, hold no positions.
void ChangeStream::prune() {
  const persist::AofDirectory* files = server_.persistence().log_files();
  if (!files || files->manifest().increments().empty()) return index_.clear();
  index_.keep_from(files->manifest().increments().front().seq);
}

ChangePosition ChangeStream::oldest() {
  prune();
  ChangePosition oldest{life_, window_.floor()};
  return index_.empty() ? oldest : std::min(oldest, index_.first().after);
}

bool ChangeStream::holds(const ChangePosition& position) {
  return std::ranges::find(lives_, position.life) != lives_.end() && position <= last() &&
         resolved(position) >= oldest();
}

ChangePosition ChangeStream::resolved(const ChangePosition& position) const {
  if (position.life < life_ && loaded_last_ && position >= *loaded_last_) return {life_, begun_at_};
  return position;
}

uint64_t ChangeStream::lag(const ChangePosition& position) const {
  return window_.last() - (position.life == life_ ? position.seq : begun_at_);
}

const ChangeIndex::Place* ChangeStream::place(const ChangePosition& position) {
  prune();
  return index_.find(position);
}

}  // namespace quoll::server
