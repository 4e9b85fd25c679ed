#include "base/compaction.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "base/memory.h"

// gcc says it by a macro, clang by a feature.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUOLL_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(QUOLL_SANITIZED)
#define QUOLL_JEMALLOC 0
#else
#define QUOLL_JEMALLOC 1
#include <jemalloc/jemalloc.h>
#endif

namespace quoll::base {

#if QUOLL_JEMALLOC

namespace {

constexpr size_t kClassUnit = 8;  // size classes are multiples of it

// A name of jemalloc's in its numeric form, which is looked up once. `index` replaces the number in
// the name, at `index_at`.
class Figure {
 public:
  explicit Figure(const char* name, size_t index_at = 0) : index_at_(index_at) {
    known_ = mallctlnametomib(name, path_, &length_) == 0;
  }
  bool known() const { return known_; }
  template <class T = size_t>
  uint64_t of(size_t index) const {
    size_t path[kPathMax];
    std::memcpy(path, path_, sizeof path);
    path[index_at_] = index;
    T value = 0;
    size_t size = sizeof value;
    return mallctlbymib(path, length_, &value, &size, nullptr, 0) == 0 ? value : 0;
  }
  bool ask(void* answer, size_t answer_size, const void* question, size_t question_size) const {
    return known_ && mallctlbymib(path_, length_, answer, &answer_size, const_cast<void*>(question),
                                  question_size) == 0;
  }

 private:
  static constexpr size_t kPathMax = 8;
  size_t path_[kPathMax] = {};
  size_t length_ = kPathMax;
  size_t index_at_;
  bool known_;
};

// What batch_query tells of one block.
struct SlabFill {
  size_t free_blocks = 0;
  size_t blocks = 0;
  size_t bytes = 0;
};

const Figure& slab_query() {
  static const Figure query("experimental.utilization.batch_query");
  return query;
}

}  // namespace

bool Compaction::available() { return slab_query().known(); }

void Compaction::learn_classes() {
  unsigned classes = 0;
  size_t size = sizeof classes;
  if (mallctl("arenas.nbins", &classes, &size, nullptr, 0) != 0 || classes > UINT8_MAX) return;
  const Figure block_bytes("arenas.bin.0.size", 2);
  const Figure slab_blocks("arenas.bin.0.nregs", 2);
  use_.resize(classes);
  for (unsigned i = 0; i < classes; ++i) {
    use_[i].slab_blocks = slab_blocks.of<uint32_t>(i);
    class_of_.resize(block_bytes.of(i) / kClassUnit + 1, static_cast<uint8_t>(i));
  }
}

void Compaction::refresh() {
  if (rule_ == Rule::all || !available()) return;
  if (use_.empty()) learn_classes();
  uint64_t epoch = 1;
  size_t size = sizeof epoch;
  mallctl("epoch", &epoch, &size, &epoch, size);
  // 4096 stands for all arenas together.
  static_assert(MALLCTL_ARENAS_ALL == 4096);
  static const Figure slabs("stats.arenas.4096.bins.0.curslabs", 4);
  static const Figure partly_used("stats.arenas.4096.bins.0.nonfull_slabs", 4);
  static const Figure blocks("stats.arenas.4096.bins.0.curregs", 4);
  for (size_t i = 0; i < use_.size(); ++i) {
    use_[i].slabs = partly_used.of(i);
    const uint64_t full = (slabs.of(i) - use_[i].slabs) * use_[i].slab_blocks;
    const uint64_t all = blocks.of(i);
    use_[i].blocks = all > full ? all - full : 0;
  }
}

bool Compaction::sparse(const void* block, size_t size) const {
  const size_t unit = usable_size(size) / kClassUnit;
  if (unit >= class_of_.size()) return false;  // a large block has pages of its own
  const Use& use = use_[class_of_[unit]];
  if (use.slabs < 2) return false;
  SlabFill slab;
  if (!slab_query().ask(&slab, sizeof slab, &block, sizeof block)) return false;
  if (slab.free_blocks == 0) return false;
  return 8 * (slab.blocks - slab.free_blocks) * use.slabs <= 9 * use.blocks;
}

void* Compaction::copy_if_sparse(const void* block, size_t size) {
  void* copy = rule_ == Rule::all || sparse(block, size)
                   ? mallocx(usable_size(size), MALLOCX_TCACHE_NONE)
                   : nullptr;
  ++(copy ? moved_ : left_);
  return copy ? std::memcpy(copy, block, usable_size(size)) : nullptr;
}

void Compaction::drop(void* block, size_t size) {
  sdallocx(block, usable_size(size), MALLOCX_TCACHE_NONE);
}

// `new` is allocate() here.
void* Compaction::copy_object_if_sparse(const void* object, size_t size) {
  return copy_if_sparse(object, size);
}

void Compaction::drop_object(void* object, size_t size) { drop(object, size); }

#else

bool Compaction::available() { return false; }
void Compaction::refresh() {}

void* Compaction::copy_if_sparse(const void* block, size_t size) {
  void* copy = nullptr;
  // As allocate_aligned() has it for blocks of a power of two.
  constexpr size_t kAlignment = 64;
  if (rule_ == Rule::all)
    copy = size % kAlignment == 0 ? std::aligned_alloc(kAlignment, size) : std::malloc(size);
  ++(copy ? moved_ : left_);
  return copy ? std::memcpy(copy, block, size) : nullptr;
}

void Compaction::drop(void* block, size_t) { std::free(block); }

void* Compaction::copy_object_if_sparse(const void* object, size_t size) {
  void* copy = rule_ == Rule::all ? ::operator new(size) : nullptr;
  ++(copy ? moved_ : left_);
  return copy ? std::memcpy(copy, object, size) : nullptr;
}

void Compaction::drop_object(void* object, size_t) { ::operator delete(object); }

#endif

Compaction::Compaction(Rule rule) : rule_(rule) {}

}  // namespace quoll::base
