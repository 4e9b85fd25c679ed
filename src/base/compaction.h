// Compaction: moves blocks out of slabs of the allocator that hold few, so that these become empty
// and their pages free. What a mass deletion leaves behind:
//
//   slabs of 64-byte blocks   [# . . # . . . .] [. . # . . . . .] [# # # . # # . #]
//   afterwards                [. . . . . . . .] [. . . . . . . .] [# # # # # # # #]
//
// A block moves when its slab holds at most an eighth more than the partly used slabs of its size
// class do on average. jemalloc puts the copy into the fullest old slab it has; thread caches are
// passed by, for they would hand out the very places that were just left.
//
// Who owns a block copies it, points to the copy and drops the old block:
//
//   if (void* copy = blocks.copy_if_sparse(block, size)) { pointer = copy; blocks.drop(block,
//   size); }
//
// Cost: 12 ns per block looked at; refresh() some tens of microseconds.
// Invariant: the copy has the size class of the block, so counted memory (memory.h) stays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quoll::base {

class Compaction {
 public:
  enum class Rule : uint8_t {
    sparse,
    all,  // every block: what the owners of pointers do can be tested with any allocator
  };

  explicit Compaction(Rule rule = Rule::sparse);
  // Whether the allocator tells how full its slabs are. Without that nothing is sparse.
  static bool available();

  // Learns anew how full the slabs of each size class are: to be called before a round of work.
  void refresh();

  // nullptr: the block lies well. `size`: what was asked for when it was allocated.
  void* copy_if_sparse(const void* block, size_t size);
  void drop(void* block, size_t size);
  // Both, for a block that only `place` points to. True: it moved.
  template <class T>
  bool move(T*& place, size_t size) {
    void* copy = copy_if_sparse(place, size);
    if (!copy) return false;
    drop(place, size);
    place = static_cast<T*>(copy);
    return true;
  }
  // The same for what was made by `new`, which not every allocator lets free() end. Nothing may
  // point into the object.
  template <class T>
  bool move_object(T*& place) {
    void* copy = copy_object_if_sparse(place, sizeof(T));
    if (!copy) return false;
    drop_object(place, sizeof(T));
    place = static_cast<T*>(copy);
    return true;
  }

  uint64_t moved() const { return moved_; }
  uint64_t left() const { return left_; }  // looked at, and not moved

 private:
  // Of a size class: blocks per slab, and the partly used slabs.
  struct Use {
    uint64_t slab_blocks = 0;
    uint64_t slabs = 0;
    uint64_t blocks = 0;
  };

  void learn_classes();
  bool sparse(const void* block, size_t size) const;
  void* copy_object_if_sparse(const void* object, size_t size);
  void drop_object(void* object, size_t size);

  Rule rule_;
  std::vector<Use> use_;           // by size class
  std::vector<uint8_t> class_of_;  // by usable size in units of kClassUnit
  uint64_t moved_ = 0;
  uint64_t left_ = 0;
};

}  // namespace quoll::base
