#include "base/heavy_hitters.h"

#include <algorithm>

namespace quoll::base {

void HeavyHitters::add(Bytes key, uint64_t hash, uint64_t weight) {
  total_ += weight;
  if (key.size() > kHeavyKeyBytesMax) return;
  for (size_t i = 0; i < hashes_.size(); ++i)
    if (hashes_[i] == hash && rows_[i].key == key) {
      rows_[i].weight += weight;
      return;
    }
  if (rows_.size() < counters_) {
    hashes_.push_back(hash);
    rows_.push_back({std::string(key), weight, 0});
    return;
  }
  auto least = std::min_element(rows_.begin(), rows_.end(), [](const Counter& a, const Counter& b) {
    return a.weight < b.weight;
  });
  hashes_[static_cast<size_t>(least - rows_.begin())] = hash;
  *least = {std::string(key), least->weight + weight, least->weight};
}

std::vector<HeavyHitters::Hit> HeavyHitters::top(size_t count) const {
  std::vector<Hit> hits;
  for (const Counter& row : rows_) hits.push_back({row.key, row.weight - row.error});
  std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.key < b.key;
  });
  if (hits.size() > count) hits.resize(count);
  return hits;
}

}  // namespace quoll::base
