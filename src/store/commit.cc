#include "store/commit.h"

namespace quoll::store {

constexpr size_t kArenaBlockBytes = 16 * 1024;  // kept between commits; larger items get their own

char* CommitBuilder::room(size_t bytes) {
  if (bytes > kArenaBlockBytes) {
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(bytes));
    return blocks_.back().get();
  }
  if (block_ == nullptr) {
    if (!first_block_) first_block_ = std::make_unique_for_overwrite<char[]>(kArenaBlockBytes);
    block_ = first_block_.get();
    block_used_ = 0;
  } else if (block_used_ + bytes > kArenaBlockBytes) {
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(kArenaBlockBytes));
    block_ = blocks_.back().get();
    block_used_ = 0;
  }
  char* place = block_ + block_used_;
  // Always a multiple, for the arguments of effects.
  block_used_ += (bytes + alignof(Bytes) - 1) / alignof(Bytes) * alignof(Bytes);
  return place;
}

Bytes CommitBuilder::keep(Bytes bytes) {
  char* place = room(bytes.size());
  base::copy_short(place, bytes);
  return {place, bytes.size()};
}

void CommitBuilder::keep_effect(DbIndex db, Args args) {
  size_t bytes = args.size() * sizeof(Bytes);
  for (Bytes arg : args) bytes += arg.size();
  // One piece of memory for all of it: the words behind what points to them.
  char* place = room(bytes);
  auto* kept = reinterpret_cast<Bytes*>(place);
  place += args.size() * sizeof(Bytes);
  for (size_t i = 0; i < args.size(); ++i) {
    base::copy_short(place, args[i]);
    new (kept + i) Bytes(place, args[i].size());
    place += args[i].size();
  }
  effects_.push_back({db, Args(kept, args.size()), targets_});
}

void CommitBuilder::drop() {
  abandoned_ = false;
  touch_count_ = change_count_ = effect_count_ = 0;
  forget();
}

void CommitBuilder::tell() {
  Commit commit{seq_, now_, origin_, transaction_, touches_, effects_};
  for (CommitSink* sink : sinks_)
    if (sink->listening()) sink->absorb(commit);
  forget();
}

void CommitBuilder::forget() {
  touches_.clear();
  effects_.clear();
  blocks_.clear();
  block_ = nullptr;
}

}  // namespace quoll::store
