#include "host/container_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"
#include "base/numbers.h"

namespace quoll::host {
namespace {

// Version 1 says "no limit" by a number close to the largest there is.
constexpr uint64_t kUnlimited = uint64_t{1} << 60;
constexpr size_t kFileBytesMax = 64 * 1024;  // of /proc/self/cgroup: a line per hierarchy

std::string content_of(const std::string& path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::string text(kFileBytesMax, '\0');
  ssize_t got = read(file, text.data(), text.size());
  close(file);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

uint64_t limit_in(const std::string& path) {
  std::string text = content_of(path);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  int64_t limit = 0;
  if (!base::parse_int(text, limit) || limit <= 0) return kUnlimited;  // "max" in version 2
  return std::min(static_cast<uint64_t>(limit), kUnlimited);
}

// The smallest limit of the group and those around it.
uint64_t smallest(const std::string& mount, std::string group, const char* file) {
  uint64_t limit = kUnlimited;
  while (true) {
    while (!group.empty() && group.back() == '/') group.pop_back();
    limit = std::min(limit, limit_in(mount + group + file));
    if (group.empty()) return limit;
    size_t slash = group.rfind('/');
    group.resize(slash == std::string::npos ? 0 : slash);
  }
}

bool names_memory(base::Bytes controllers) {
  while (!controllers.empty()) {
    size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "memory") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

size_t container_memory_limit(const std::string& root) {
  uint64_t limit = kUnlimited;
  const std::string groups = content_of(root + "/proc/self/cgroup");
  for (base::Bytes rest = groups; !rest.empty();) {
    size_t end = std::min(rest.find('\n'), rest.size());
    base::Bytes line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    size_t first = line.find(':');
    size_t second = first == base::Bytes::npos ? first : line.find(':', first + 1);
    if (second == base::Bytes::npos) continue;
    base::Bytes controllers = line.substr(first + 1, second - first - 1);
    std::string group(line.substr(second + 1));
    if (controllers.empty())
      limit = std::min(limit, smallest(root + "/sys/fs/cgroup", group, "/memory.max"));
    else if (names_memory(controllers))
      limit = std::min(limit,
                       smallest(root + "/sys/fs/cgroup/memory", group, "/memory.limit_in_bytes"));
  }
  return limit == kUnlimited ? 0 : limit;
}

}  // namespace quoll::host
