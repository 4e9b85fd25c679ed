// ChangeIndex: where in the increments of the append-only file the positions of the change stream
// are, so that a reader who comes back need not read a file from its beginning.
//
//   increment 7:  after 5-100 at 0,  after 5-2300 at 1 MiB, ...     increment 8:  after 5-9000 at 0
//
// A place is kept where a file begins, and every step within it; when there are too many, the step
// doubles. Pure. Cost: 40 bytes per place, kChangePlacesMax of them and one per file.
#pragma once

#include <cstdint>
#include <vector>

#include "persist/change_notes.h"

namespace quoll::server {

constexpr uint64_t kChangePlaceStep = uint64_t{1} << 20;  // bytes of a file, to begin with
constexpr size_t kChangePlacesMax = 4096;

class ChangeIndex {
 public:
  struct Place {
    persist::ChangePosition after;  // commits behind it are here and further on
    int64_t increment;
    uint64_t offset;
    store::DbIndex database;  // selected there
  };

  // In the order of the files. What a repair wrote again, in a new file, replaces what it was.
  void add(const Place& place);
  void clear() { places_.clear(); }
  // Files before this one were removed.
  void keep_from(int64_t increment);

  bool empty() const { return places_.empty(); }
  const Place& first() const { return places_.front(); }
  // Where to read what is behind `position`; null: nowhere.
  const Place* find(const persist::ChangePosition& position) const;
  size_t size() const { return places_.size(); }

 private:
  void thin_out();

  std::vector<Place> places_;
  uint64_t step_ = kChangePlaceStep;
};

}  // namespace quoll::server
