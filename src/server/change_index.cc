#include "server/change_index.h"

#include <algorithm>

namespace quoll::server {

void ChangeIndex::add(const Place& place) {
  while (!places_.empty() && places_.back().increment != place.increment &&
         places_.back().after >= place.after)
    places_.pop_back();
  if (!places_.empty() && places_.back().increment == place.increment &&
      place.offset < places_.back().offset + step_)
    return;
  places_.push_back(place);
  if (places_.size() > kChangePlacesMax) thin_out();
}

// The first place of each file stays, for the files before it may go.
void ChangeIndex::thin_out() {
  step_ *= 2;
  std::vector<Place> kept;
  for (const Place& place : places_) {
    if (kept.empty() || kept.back().increment != place.increment ||
        place.offset >= kept.back().offset + step_)
      kept.push_back(place);
  }
  places_ = std::move(kept);
}

void ChangeIndex::keep_from(int64_t increment) {
  std::erase_if(places_, [&](const Place& place) { return place.increment < increment; });
}

const ChangeIndex::Place* ChangeIndex::find(const persist::ChangePosition& position) const {
  auto behind = std::upper_bound(
      places_.begin(), places_.end(), position,
      [](const persist::ChangePosition& one, const Place& place) { return one < place.after; });
  return behind == places_.begin() ? nullptr : &*std::prev(behind);
}

}  // namespace quoll::server
