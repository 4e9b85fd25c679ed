// UnsettledKeys: which keys have changes that are not yet settled (fsynced, acknowledged), while
// the gate demands that. A reply that shows such a key waits like the change itself, so nobody sees
// what a crash may take back; reads of all other keys go on.
//
// Keys are known by their hash: a collision makes a reply wait a little longer, no more.
// Cost: nothing while the gate demands nothing; else one insertion per touch.
#pragma once

#include <deque>
#include <unordered_map>

#include "server/output_gate.h"
#include "store/commit.h"

namespace quoll::server {

using base::Bytes;

class UnsettledKeys final : public store::CommitSink {
 public:
  void set_listening(bool on) { listen(on); }
  void absorb(const store::Commit& commit) override;
  // Everything up to `seq` is settled.
  void settle(store::Seq seq);

  bool any() const { return !queue_.empty(); }
  // The commit a reply about the key must wait for; 0: none.
  store::Seq of(store::DbIndex db, Bytes key) const;
  // The same for a reply about whole databases.
  store::Seq latest() const { return queue_.empty() ? 0 : queue_.back().seq; }

 private:
  struct Change {
    store::Seq seq;
    uint64_t key;  // hash; unused when the commit changed whole databases
  };
  static uint64_t hash(store::DbIndex db, Bytes key);

  std::deque<Change> queue_;  // in the order of seq
  std::unordered_map<uint64_t, store::Seq> last_;
  store::Seq whole_ = 0;  // last commit that changed whole databases
};

}  // namespace quoll::server
