// UnsettledKeys: which keys have changes that are not yet settled (fsynced, acknowledged), while
// the gate demands that. A reply that shows such a key waits like the change itself, so nobody sees
// what a crash may take back; reads of all other keys go on.
//
//   hash of the key -> place in a table -> the last commit that changed a key of this place
//
// Keys that share a place make a reply wait a little longer, no more: what is settled needs no
// removal, and nothing is ever allocated for a key.
// Cost: nothing while the gate demands nothing, then 512 KiB and one store per touch.
#pragma once

#include <vector>

#include "server/output_gate.h"
#include "store/commit.h"

namespace quoll::server {

using base::Bytes;

class UnsettledKeys final : public store::CommitSink {
 public:
  void set_listening(bool on);
  void absorb(const store::Commit& commit) override;
  // Everything up to `seq` is settled.
  void settle(store::Seq seq) { settled_ = std::max(settled_, seq); }

  bool any() const { return last_ > settled_; }
  // The commit a reply about the key must wait for; 0: none.
  store::Seq of(store::DbIndex db, Bytes key) const;
  // The same for a reply about whole databases.
  store::Seq latest() const { return any() ? last_ : 0; }

 private:
  static size_t place(store::DbIndex db, Bytes key);

  std::vector<store::Seq> last_at_;  // by place; empty until somebody listens
  store::Seq whole_ = 0;             // last commit that changed whole databases
  store::Seq last_ = 0;
  store::Seq settled_ = 0;
};

}  // namespace quoll::server
