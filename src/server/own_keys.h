// OwnKeys: keys with a deadline that clients of a writable replica set. Its primary does not know
// of them, so nobody would remove them when they are due; what the primary has goes when the
// primary says so.
//
//   key -> its deadline         one place for each key, which moves with its deadline
//   deadline, key               in order of time
//
// Cost: nothing unless this is a replica whose clients may write; then about 200 bytes and a copy
// of the key for each that has a deadline. Beyond kOwnKeysMax the rest stay in memory, unseen,
// until they are written again.
#pragma once

#include <map>
#include <set>
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
  size_t tracked() const { return deadlines_.size(); }
  // Removes those that are due.
  void expire(base::Millis now);

 private:
  using Key = std::pair<store::DbIndex, std::string>;

  void forget(const Key& key);

  store::Store& store_;
  std::map<Key, base::Millis> deadlines_;
  std::set<std::pair<base::Millis, const Key*>> due_;  // keys of deadlines_
};

}  // namespace quoll::server
