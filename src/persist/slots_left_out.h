// SlotsLeftOut: an encoder that does not hear of the keys of some slots. For stores whose keys are
// placed by slot.
#pragma once

#include <memory>
#include <utility>

#include "persist/snapshot_encoder.h"
#include "store/slot_set.h"

namespace quoll::persist {

class SlotsLeftOut final : public SnapshotEncoder {
 public:
  SlotsLeftOut(std::unique_ptr<SnapshotEncoder> inner, const store::SlotSet& left_out)
      : inner_(std::move(inner)), left_out_(left_out) {}

  bool piece(store::DbIndex db, const store::Entry& entry, size_t bytes_max) override {
    return left_out(entry) || inner_->piece(db, entry, bytes_max);
  }
  void complete(store::DbIndex db, const store::Entry& entry) override {
    if (!left_out(entry)) inner_->complete(db, entry);
  }
  void finish() override { inner_->finish(); }
  size_t gathered_bytes() const override { return inner_->gathered_bytes(); }
  std::string take() override { return inner_->take(); }
  const std::string& refusal() const override { return inner_->refusal(); }

 private:
  bool left_out(const store::Entry& entry) const { return left_out_[store::slot_of(entry.hash())]; }

  std::unique_ptr<SnapshotEncoder> inner_;
  store::SlotSet left_out_;
};

}  // namespace quoll::persist
