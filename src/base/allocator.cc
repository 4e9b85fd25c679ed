#include "base/allocator.h"

#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define QUOLL_JEMALLOC 0
#else
#define QUOLL_JEMALLOC 1
#include <jemalloc/jemalloc.h>
#endif

namespace quoll::base {

#if QUOLL_JEMALLOC

namespace {

size_t statistic(const char* name) {
  size_t value = 0;
  size_t size = sizeof value;
  return mallctl(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

}  // namespace

std::string allocator_name() {
  return "jemalloc-" + std::to_string(JEMALLOC_VERSION_MAJOR) + "." +
         std::to_string(JEMALLOC_VERSION_MINOR) + "." + std::to_string(JEMALLOC_VERSION_BUGFIX);
}

bool allocator_stats(AllocatorStats& stats) {
  uint64_t epoch = 1;
  size_t size = sizeof epoch;
  if (mallctl("epoch", &epoch, &size, &epoch, size) != 0) return false;
  constexpr unsigned kAllArenas = MALLCTL_ARENAS_ALL;
  std::string muzzy = "stats.arenas." + std::to_string(kAllArenas) + ".pmuzzy";
  stats = {statistic("stats.allocated"), statistic("stats.active"), statistic("stats.resident"),
           statistic(muzzy.c_str()) * statistic("arenas.page")};
  return true;
}

std::string allocator_report() {
  std::string report;
  malloc_stats_print(
      [](void* to, const char* text) { static_cast<std::string*>(to)->append(text); }, &report,
      nullptr);
  return report;
}

void allocator_purge() {
  std::string name = "arena." + std::to_string(MALLCTL_ARENAS_ALL) + ".purge";
  mallctl(name.c_str(), nullptr, nullptr, nullptr, 0);
}

// The names have values of different widths; jemalloc refuses the wrong one, so each is tried.
Result<int64_t> allocator_number(const std::string& name, const int64_t* write) {
  int failure = 0;
  for (size_t width : {size_t{8}, size_t{4}, size_t{1}}) {
    int64_t value = 0;
    size_t size = width;
    int64_t given = write ? *write : 0;
    failure = mallctl(name.c_str(), &value, &size, write ? &given : nullptr, write ? width : 0);
    if (failure == 0) return value;
  }
  return Error{std::strerror(failure)};
}

Result<std::string> allocator_text(const std::string& name) {
  const char* text = nullptr;
  size_t size = sizeof text;
  int failure = mallctl(name.c_str(), &text, &size, nullptr, 0);
  if (failure != 0) return Error{std::strerror(failure)};
  return std::string(text ? text : "");
}

#else

// What jemalloc says to a name it does not know.
constexpr const char* kUnknownName = "No such file or directory";

std::string allocator_name() { return "libc"; }
bool allocator_stats(AllocatorStats& stats) {
  stats = {};
  return false;
}
std::string allocator_report() { return {}; }
void allocator_purge() {}
Result<int64_t> allocator_number(const std::string&, const int64_t*) { return Error{kUnknownName}; }
Result<std::string> allocator_text(const std::string&) { return Error{kUnknownName}; }

#endif

}  // namespace quoll::base
