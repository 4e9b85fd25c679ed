// What the allocator below allocate()/release() reports about itself: for INFO, MEMORY and DEBUG.
// Nothing here takes part in decisions; used_memory is base::memory_used().
//
// Cost: allocator_stats() refreshes jemalloc's statistics epoch, some tens of microseconds.
#pragma once

#include <cstddef>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace quoll::base {

struct AllocatorStats {
  size_t allocated = 0;  // bytes handed out
  size_t active = 0;     // bytes of pages that hold them
  size_t resident = 0;   // bytes of mapped pages, the allocator's own included
  size_t muzzy = 0;      // bytes of pages the kernel may take back
};

// "jemalloc-5.3.0", or "libc" in builds without it (sanitizers bring their own).
std::string allocator_name();
// False, and zeroes, when the allocator tells nothing.
bool allocator_stats(AllocatorStats& stats);
// The allocator's own report in its own words; empty when it has none.
std::string allocator_report();
// Gives unused pages back to the system.
void allocator_purge();
// A tuning value by jemalloc's name; the error is the system's text. `write` sets it first.
Result<int64_t> allocator_number(const std::string& name, const int64_t* write);
Result<std::string> allocator_text(const std::string& name);

}  // namespace quoll::base
