#include "store/commit.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace quoll::store {

constexpr size_t kArenaBlockBytes = 16 * 1024;  // kept between commits; larger items get their own

void CommitBuilder::begin(Origin origin, Millis now, bool transaction) {
  QUOLL_CHECK(!open_);
  open_ = true;
  origin_ = origin;
  now_ = now;
  transaction_ = transaction;
  recording_ = listeners_ > 0;
  targets_ = kToAll;
}

Bytes CommitBuilder::keep(Bytes bytes) {
  if (bytes.size() > kArenaBlockBytes) {
    blocks_.push_back(std::make_unique<char[]>(bytes.size()));
    std::memcpy(blocks_.back().get(), bytes.data(), bytes.size());
    return {blocks_.back().get(), bytes.size()};
  }
  if (block_ == nullptr) {
    if (!first_block_) first_block_ = std::make_unique<char[]>(kArenaBlockBytes);
    block_ = first_block_.get();
    block_used_ = 0;
  } else if (block_used_ + bytes.size() > kArenaBlockBytes) {
    blocks_.push_back(std::make_unique<char[]>(kArenaBlockBytes));
    block_ = blocks_.back().get();
    block_used_ = 0;
  }
  char* place = block_ + block_used_;
  if (!bytes.empty()) std::memcpy(place, bytes.data(), bytes.size());  // keyless: no address
  block_used_ += bytes.size();
  return {place, bytes.size()};
}

void CommitBuilder::touch(DbIndex db, Bytes key, const Event& event, Change change) {
  QUOLL_DCHECK(open_);
  ++touch_count_;
  change_count_ += change != Change::expired && change != Change::evicted;
  if (recording_) touches_.push_back({db, keep(key), event, change});
}

void CommitBuilder::effect(DbIndex db, Args args) {
  QUOLL_DCHECK(open_);
  ++effect_count_;
  if (!recording_) return;
  argvs_.push_back(std::make_unique<Bytes[]>(args.size()));
  Bytes* kept = argvs_.back().get();
  for (size_t i = 0; i < args.size(); ++i) kept[i] = keep(args[i]);
  effects_.push_back({db, Args(kept, args.size()), targets_});
}

Seq CommitBuilder::close() {
  QUOLL_CHECK(open_);
  // What is loaded was journaled before.
  QUOLL_CHECK(origin_ == Origin::load || (touch_count_ == 0) == (effect_count_ == 0));
  open_ = false;
  if (std::exchange(abandoned_, false)) {
    touch_count_ = change_count_ = effect_count_ = 0;
    forget();
  }
  if (touch_count_ == 0) return 0;
  ++seq_;
  touch_count_ = change_count_ = effect_count_ = 0;
  if (!recording_) return seq_;
  Commit commit{seq_, now_, origin_, transaction_, touches_, effects_};
  for (CommitSink* sink : sinks_)
    if (sink->listening()) sink->absorb(commit);
  forget();
  return seq_;
}

void CommitBuilder::forget() {
  touches_.clear();
  effects_.clear();
  argvs_.clear();
  blocks_.clear();
  block_ = nullptr;
}

}  // namespace quoll::store
