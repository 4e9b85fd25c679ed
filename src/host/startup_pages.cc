#include "host/startup_pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace quoll::host {
namespace {

// A mapping as /proc/self/smaps has it.
struct Mapping {
  uintptr_t start = 0;
  uintptr_t end = 0;
  bool of_file = false;
  bool read_only = false;
  bool unchanged = false;  // none of its pages differs from the file: they may go without loss
};

// Lines "5581a0-5581b0 r-xp 0000 fe:00 123 /path", then "Field:  12 kB".
bool parse_header(const char* line, Mapping& mapping) {
  unsigned long start, end, inode;
  char rights[8];
  if (std::sscanf(line, "%lx-%lx %7s %*s %*s %lu", &start, &end, rights, &inode) != 4) return false;
  mapping = {start, end, inode != 0, std::strchr(rights, 'w') == nullptr, false};
  return true;
}

}  // namespace

size_t give_back_startup_pages() {
  std::FILE* file = std::fopen("/proc/self/smaps", "re");
  if (!file) return 0;
  std::vector<Mapping> mappings;
  char line[1024];
  while (std::fgets(line, sizeof line, file)) {
    Mapping mapping;
    unsigned long anonymous_kb;
    if (parse_header(line, mapping))
      mappings.push_back(mapping);
    else if (!mappings.empty() && std::sscanf(line, "Anonymous: %lu kB", &anonymous_kb) == 1)
      mappings.back().unchanged = anonymous_kb == 0;
  }
  std::fclose(file);
  size_t given = 0;
  for (const Mapping& one : mappings) {
    if (!one.of_file || !one.read_only || !one.unchanged) continue;
    if (madvise(reinterpret_cast<void*>(one.start), one.end - one.start, MADV_DONTNEED) == 0)
      given += one.end - one.start;
  }
  return given;
}

}  // namespace quoll::host
