#include "data/zset_builder.h"

#include <algorithm>
#include <vector>

namespace quoll::data {

ZSetBuilder::~ZSetBuilder() {
  // Members that are in no tree are freed here.
  ScoredIndex& index = zset_.open_index();
  while (index.table.drain([](ScoredMember* member) { ScoredMember::destroy(member); })) {
  }
}

ZSet ZSetBuilder::finish(const Packing& packing) {
  ScoredIndex& index = zset_.open_index();
  std::vector<ScoredMember*> members;
  members.reserve(size());
  base::WalkCursor cursor;
  while (index.table.walk(cursor, [&](ScoredMember* member) { members.push_back(member); })) {
  }
  std::sort(members.begin(), members.end(), [](const ScoredMember* a, const ScoredMember* b) {
    return stands_before(a->score(), a->member(), b->score(), b->member());
  });
  for (ScoredMember* member : members) index.tree.insert(member);
  ZSet finished = std::exchange(zset_, begun());
  finished.pack(packing);
  return finished;
}

}  // namespace quoll::data
