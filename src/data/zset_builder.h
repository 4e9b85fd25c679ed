// ZSetBuilder: collects members in any order, looking each up by its name, and puts them in order
// once at the end: for unions and other results of whole sorted sets.
//
// Cost: a hash lookup per add(), one sort in finish().
#pragma once

#include "data/zset.h"

namespace quoll::data {

class ZSetBuilder {
 public:
  ZSetBuilder() = default;
  ZSetBuilder(const ZSetBuilder&) = delete;
  ZSetBuilder& operator=(const ZSetBuilder&) = delete;
  ~ZSetBuilder();

  uint64_t size() const { return zset_.index().table.size(); }
  // A member seen before gets the score combine(old, score).
  template <class Combine>
  void add(base::Bytes member, double score, Combine&& combine);
  // The result, in the listpack form if `packing` allows. The builder is empty afterwards.
  ZSet finish(const Packing& packing);

 private:
  ZSet zset_ = begun();  // its tree stays empty until the end
  static ZSet begun() {
    ZSet zset;
    zset.make_large();
    return zset;
  }
};

template <class Combine>
void ZSetBuilder::add(base::Bytes member, double score, Combine&& combine) {
  ScoredIndex& index = zset_.open_index();
  uint64_t hash = base::hash_key(member);
  if (ScoredMember* found = index.find(hash, member))
    return found->set_score(combine(found->score(), score));
  ScoredMember* made = ScoredMember::make(member, score);
  index.table.insert(hash, made);
  index.members_bytes += made->footprint();
}

}  // namespace quoll::data
