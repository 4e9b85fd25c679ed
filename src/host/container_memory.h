// The memory limit of the control group (cgroup) this process is in: what a container may use.
//
//   version 2   /proc/self/cgroup  "0::/a/b"         /sys/fs/cgroup/a/b/memory.max
//   version 1                      "7:memory:/a/b" /sys/fs/cgroup/memory/a/b/memory.limit_in_bytes
//
// Groups nest and each may have a limit: the smallest from the own group up to the root counts. In
// a container the path may be that of the host, of which only the root is mounted; what cannot be
// read is passed over.
//
// Cost: two small reads per level of these file systems, which never wait for a disk.
#pragma once

#include <cstddef>
#include <string>

namespace quoll::host {

// Bytes, 0 when there is no limit. `root` stands before every path (tests; else "").
size_t container_memory_limit(const std::string& root);

}  // namespace quoll::host
