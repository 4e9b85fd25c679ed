#include "server/defragmenter.h"

#include <algorithm>

#include "base/allocator.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr unsigned kConsiderTicks = 10;  // a second
// The figures of the allocator change while blocks move; learning them takes a tenth of a slice.
constexpr base::Nanos kRefreshEvery = 10 * base::kNanosPerMilli;
constexpr base::Nanos kFruitlessRest = 60'000 * base::kNanosPerMilli;
constexpr uint64_t kFruitlessShare = 200;  // fewer than one block of so many moved

struct Fragmentation {
  double percent = 0;
  int64_t bytes = 0;
};

Fragmentation fragmentation_now() {
  base::AllocatorStats stats;
  if (!base::allocator_stats(stats) || stats.allocated == 0) return {};
  auto bytes = static_cast<int64_t>(stats.active) - static_cast<int64_t>(stats.allocated);
  return {100.0 * static_cast<double>(bytes) / static_cast<double>(stats.allocated), bytes};
}

}  // namespace

Defragmenter::Defragmenter(Server& server) : server_(server), walk_(server.store()) {}

base::Bytes Defragmenter::obstacle() {
  if (base::Compaction::available()) return {};
  return "Active defragmentation cannot be enabled: it is not available with this allocator, which "
         "does not tell how its memory is used";
}

void Defragmenter::tick() {
  if (!server_.settings().activedefrag) {
    if (percent_ != 0) end(false);
    ticks_ = 0;
    return;
  }
  if (ticks_++ % kConsiderTicks == 0) consider();
}

// Begins a cycle, or makes the one under way hurry.
void Defragmenter::consider() {
  if (must_rest()) return;
  const Settings& settings = server_.settings();
  const Fragmentation now = fragmentation_now();
  if (percent_ == 0) {
    if (server_.host().clock.steady() < rest_until_) return;
    if (now.percent < static_cast<double>(settings.active_defrag_threshold_lower)) return;
    if (now.bytes < settings.active_defrag_ignore_bytes) return;
  }
  const int64_t percent = percent_for(now.percent);
  if (percent <= percent_) return;
  log::verbose("Starting active defrag, frag={:.0f}%, frag_bytes={}, cpu={}%", now.percent,
               now.bytes, percent);
  begin(percent);
}

int64_t Defragmenter::percent_for(double fragmentation_percent) const {
  const Settings& settings = server_.settings();
  const int64_t low = settings.active_defrag_cycle_min;
  const int64_t high = std::max(low, settings.active_defrag_cycle_max);
  const auto from = static_cast<double>(settings.active_defrag_threshold_lower);
  const auto to = static_cast<double>(settings.active_defrag_threshold_upper);
  if (fragmentation_percent >= to) return high;
  const double part = std::max(0.0, (fragmentation_percent - from) / (to - from));
  return low + static_cast<int64_t>(part * static_cast<double>(high - low));
}

void Defragmenter::begin(int64_t percent) {
  if (percent_ == 0) {
    begun_ = server_.host().clock.steady();
    moved_before_ = walk_.blocks().moved();
    left_before_ = walk_.blocks().left();
  }
  percent_ = percent;
  schedule(0);
}

void Defragmenter::end(bool complete) {
  percent_ = 0;
  server_.host().loop.cancel(timer_);
  timer_ = 0;
  if (!complete) return;
  const base::Nanos now = server_.host().clock.steady();
  const uint64_t moved = walk_.blocks().moved() - moved_before_;
  const uint64_t left = walk_.blocks().left() - left_before_;
  if (moved * kFruitlessShare < moved + left) rest_until_ = now + kFruitlessRest;
  const Fragmentation rest = fragmentation_now();
  log::verbose("Active defrag done in {}ms, reallocated={}, frag={:.0f}%, frag_bytes={}",
               (now - begun_) / base::kNanosPerMilli, moved, rest.percent, rest.bytes);
}

bool Defragmenter::must_rest() const {
  return server_.store().snapshot() || server_.persistence().loading() || server_.frozen();
}

void Defragmenter::schedule(base::Nanos delay) {
  due_ = server_.host().clock.steady() + delay;
  server_.host().loop.cancel(timer_);
  timer_ = server_.host().loop.after(delay, [this] { timer_ = 0; });  // the turn's end works
}

void Defragmenter::work(base::Nanos budget) {
  constexpr base::Nanos kLookAgain = 100 * base::kNanosPerMilli;
  if (must_rest()) return schedule(kLookAgain);
  host::Clock& clock = server_.host().clock;
  const base::Nanos begin = clock.steady();
  if (begin - refreshed_ >= kRefreshEvery) {
    walk_.blocks().refresh();
    refreshed_ = begin;
  }
  Stats& stats = server_.stats();
  const uint64_t moved = walk_.blocks().moved();
  const uint64_t left = walk_.blocks().left();
  const uint64_t keys_moved = walk_.keys_moved();
  const uint64_t keys_left = walk_.keys_left();
  bool more = true;
  while (more && clock.steady() - begin < budget) more = walk_.step();
  const base::Nanos took = clock.steady() - begin;
  stats.defrag_hits += walk_.blocks().moved() - moved;
  stats.defrag_misses += walk_.blocks().left() - left;
  stats.defrag_key_hits += walk_.keys_moved() - keys_moved;
  stats.defrag_key_misses += walk_.keys_left() - keys_left;
  stats.defrag_nanos += took;
  if (more) return schedule(took * (100 - percent_) / percent_);
  end(true);
  consider();
}

base::Nanos Defragmenter::running_for() const {
  return percent_ == 0 ? 0 : server_.host().clock.steady() - begun_;
}

}  // namespace quoll::server
