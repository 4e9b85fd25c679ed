// OwnKeys: keys with a deadline that clients of a writable replica set. Its primary does not know
// of them, so nobody would remove them when they are due; what the primary has goes when the
// primary says so.
//
// Cost: nothing unless this is a replica whose clients may write; then a copy of the key each time
// one is given a deadline. Beyond kOwnKeysMax the rest stay in memory, unseen, until they are
// written again.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "store/store.h"

namespace quoll::server {

constexpr size_t kOwnKeysMax = size_t{1} << 20;
constexpr size_t kOwnKeysAtOnce = 1000;  // removed in one tick

class OwnKeys final : public store::CommitSink {
 public:
  explicit OwnKeys(store::Store& store) : store_(store) {}

  // Whether clients write here beside a primary. False: nothing is remembered any more.
  void begin(bool beside_primary);
  void absorb(const store::Commit& commit) override;
  size_t tracked() const { return due_.size(); }
  // Removes those that are due.
  void expire(base::Millis now);

 private:
  store::Store& store_;
  std::multimap<base::Millis, std::pair<store::DbIndex, std::string>> due_;
};

}  // namespace quoll::server
