#include "persist/snapshot_job.h"

#include "store/store.h"

namespace quoll::persist {

SnapshotJob::SnapshotJob(const host::Host& host, store::Store& store,
                         std::unique_ptr<SnapshotEncoder> encoder,
                         std::unique_ptr<SnapshotOutput> output, host::OnDone done)
    : host_(host),
      store_(store),
      encoder_(std::move(encoder)),
      output_(std::move(output)),
      done_(std::move(done)),
      started_(host_.clock.steady()) {
  keys_total_ = store_.begin_snapshot(*encoder_).keys_total();
}

SnapshotJob::~SnapshotJob() {
  *alive_ = false;
  host_.loop.cancel(wake_);
  if (walking_) store_.end_snapshot();
}

void SnapshotJob::work(int64_t key_delay_us) {
  if (!walking_) return;
  if (!output_->error().empty()) return fail(output_->error());
  base::Nanos begin = host_.clock.steady();
  base::Nanos now = begin;
  uint64_t bytes = bytes_ + encoder_->gathered_bytes();
  store::Snapshot& snapshot = *store_.snapshot();
  bool more = true;
  // Also while it rests: what commands change meanwhile is told to the output's bounds.
  if (encoder_->gathered_bytes() >= kPieceBytes) hand_over();
  if (now < rests_until_ && !snapshot.awaited()) return wake_after(rests_until_ - now);
  while (more && now - begin < kWalkBudget &&
         bytes_ + encoder_->gathered_bytes() - bytes < kWalkBytesPerTurn) {
    if (rest(key_delay_us, now)) return;
    more = snapshot.step();
    keys_written_ = snapshot.keys_written();
    if (encoder_->gathered_bytes() >= kPieceBytes) hand_over();
    now = host_.clock.steady();
  }
  if (!encoder_->refusal().empty()) return fail(encoder_->refusal());
  if (!more) return end_walk();
  walked_ += now - begin;
  if (walked_ < kWalkStretch) return host_.loop.turn_again();
  walked_ = 0;
  rests_until_ = now + kWalkRest;
  wake_after(kWalkRest);
}

void SnapshotJob::wake_after(base::Nanos delay) {
  host_.loop.cancel(wake_);
  wake_ = host_.loop.after(delay, [] {});
}

// True while the walk has to wait; something then makes the loop turn again.
bool SnapshotJob::rest(int64_t key_delay_us, base::Nanos now) {
  if (output_->waiting_bytes() > kWaitingBytesMax) return true;  // the output has room again
  base::Nanos due =
      started_ + static_cast<base::Nanos>(keys_written_) * key_delay_us * base::kNanosPerMicro;
  // Clients that wait for a value are no part of a slow disk.
  if (key_delay_us <= 0 || due <= now || store_.snapshot()->awaited()) return false;
  constexpr base::Nanos kRestMax = 10 * base::kNanosPerMilli;  // the delay may be changed meanwhile
  wake_after(std::min(due - now, kRestMax));
  return true;
}

void SnapshotJob::hand_over() {
  std::string piece = encoder_->take();
  bytes_ += piece.size();
  output_->append(std::move(piece));
}

void SnapshotJob::end_walk() {
  walking_ = false;
  store_.end_snapshot();
  encoder_->finish();
  hand_over();
  output_->finish([this, alive = alive_](base::Result<> result) {
    if (!*alive || ended_) return;
    ended_ = true;
    done_(std::move(result));
  });
}

void SnapshotJob::abandon(const std::string& reason) { fail(reason); }

void SnapshotJob::fail(const std::string& reason) {
  if (ended_) return;
  ended_ = true;
  if (walking_) store_.end_snapshot();
  walking_ = false;
  // The next job may use the same temporary file: first this one's is gone.
  host_.loop.post([this, alive = alive_, reason] {
    if (!*alive) return;
    output_->abandon([this, alive, reason](base::Result<>) {
      if (*alive) done_(base::Error{reason});
    });
  });
}

}  // namespace quoll::persist
