// SnapshotJob: one snapshot on its way into a file, or to replicas: the walk, paced between the
// commands of the loop, and the output it goes to.
//
// Pace: a turn gives the walk kWalkBudget or kWalkBytesPerTurn, whichever ends first. After
// kWalkStretch of walking the loop has kWalkRest for itself: a thread that never sleeps is one
// that the system lets wait when a request comes. All of these are small for who shares the
// core: a writing thread is not interrupted within a piece. The walk also rests while more than
// kWaitingBytesMax wait for the output. What the barrier adds is not paced here: backlog_bytes()
// tells the server when to stop reading from clients.
#pragma once

#include "host/host.h"
#include "persist/snapshot_encoder.h"
#include "persist/snapshot_output.h"

namespace quoll::persist {

constexpr base::Nanos kWalkBudget = 50 * base::kNanosPerMicro;
constexpr size_t kWalkBytesPerTurn = 64 * 1024;
constexpr base::Nanos kWalkStretch = base::kNanosPerMilli;
constexpr base::Nanos kWalkRest = base::kNanosPerMilli;
constexpr size_t kPieceBytes = 64 * 1024;              // of one write to the output
constexpr size_t kWaitingBytesMax = size_t{8} << 20;   // then the walk waits for the output
constexpr size_t kBacklogBytesMax = size_t{64} << 20;  // then clients wait, too

class SnapshotJob {
 public:
  // `done` is told once, from a later turn; the job may be destroyed then.
  SnapshotJob(const host::Host& host, store::Store& store, std::unique_ptr<SnapshotEncoder> encoder,
              std::unique_ptr<SnapshotOutput> output, host::OnDone done);
  ~SnapshotJob();  // abandons an unfinished job

  // At the end of a turn. `key_delay_us` of pause per key: for tests of slow disks.
  void work(int64_t key_delay_us);
  // Ends it early with an error.
  void abandon(const std::string& reason);

  size_t backlog_bytes() const { return encoder_->gathered_bytes() + output_->waiting_bytes(); }
  bool walking() const { return walking_; }  // else it only has to reach the disk
  uint64_t keys_total() const { return keys_total_; }
  uint64_t keys_written() const { return keys_written_; }
  uint64_t bytes() const { return bytes_; }
  base::Nanos started() const { return started_; }

 private:
  void hand_over();
  bool rest(int64_t key_delay_us, base::Nanos now);
  void wake_after(base::Nanos delay);
  void end_walk();
  void fail(const std::string& reason);

  host::Host host_;
  store::Store& store_;
  std::unique_ptr<SnapshotEncoder> encoder_;
  std::unique_ptr<SnapshotOutput> output_;
  host::OnDone done_;
  base::Nanos started_;
  uint64_t keys_total_ = 0;
  uint64_t keys_written_ = 0;
  uint64_t bytes_ = 0;      // handed to the output
  base::Nanos walked_ = 0;  // since the last rest
  base::Nanos rests_until_ = 0;
  bool walking_ = true;
  bool ended_ = false;
  host::TimerId wake_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::persist
