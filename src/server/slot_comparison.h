// SlotComparison: digests of our slots, for a member that needs all data and one that sends them.
// Computed at the ends of turns; what changes afterwards has none any more. So whatever digest
// there is, at any moment, is that of the data at that moment.
//
// Cost: nothing while it does not run; then kSlotBudget of a turn, and every commit is recorded.
#pragma once

#include <optional>

#include "host/host.h"
#include "store/commit.h"
#include "store/slot_digests.h"

namespace quoll::server {

constexpr base::Nanos kSlotBudget = 500 * base::kNanosPerMicro;

class SlotComparison final : public store::CommitSink {
 public:
  SlotComparison(const host::Host& host, store::Store& store);

  void begin(uint64_t seed);  // anew
  void end();
  bool running() const { return digests_.has_value(); }
  bool complete() const { return running() && digests_->complete(); }
  void work();  // at the end of a turn
  // While it runs.
  const std::vector<store::SlotDigest>& slots() const { return digests_->slots(); }
  store::SlotSet equal(const std::vector<store::SlotDigest>& others) const {
    return digests_->equal(others);
  }
  // All of these have stayed as they were when their digests were computed.
  bool unchanged(const store::SlotSet& slots) const;
  void absorb(const store::Commit& commit) override;

 private:
  host::Host host_;
  store::Store& store_;
  std::optional<store::SlotDigests> digests_;
};

}  // namespace quoll::server
