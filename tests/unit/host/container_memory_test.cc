#include "host/container_memory.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace quoll::host {
namespace {

// A tree that looks like /proc and /sys to the reader.
class Tree {
 public:
  Tree() {
    root_ = std::filesystem::temp_directory_path() / "quoll-cgroup-XXXXXX";
    REQUIRE(mkdtemp(root_.data()) != nullptr);
  }
  ~Tree() { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  size_t limit() const { return container_memory_limit(root_); }

 private:
  std::string root_;
};

TEST_CASE("container memory: nothing there is no limit") {
  Tree tree;
  CHECK(tree.limit() == 0);
  tree.write("/proc/self/cgroup", "0::/\n");
  CHECK(tree.limit() == 0);
  tree.write("/sys/fs/cgroup/memory.max", "max\n");
  CHECK(tree.limit() == 0);
}

TEST_CASE("container memory: version 2 takes the smallest of all levels") {
  Tree tree;
  tree.write("/proc/self/cgroup", "0::/pod/container\n");
  tree.write("/sys/fs/cgroup/pod/container/memory.max", "max\n");
  tree.write("/sys/fs/cgroup/pod/memory.max", "536870912\n");
  CHECK(tree.limit() == 536870912);
  tree.write("/sys/fs/cgroup/pod/container/memory.max", "268435456\n");
  CHECK(tree.limit() == 268435456);
  tree.write("/sys/fs/cgroup/memory.max", "1000\n");
  CHECK(tree.limit() == 1000);
}

TEST_CASE("container memory: version 1, also where only the root of the group is mounted") {
  Tree tree;
  tree.write("/proc/self/cgroup",
             "12:cpu,cpuacct:/a\n7:hugetlb,memory:/docker/abc\n1:name=x:/\n0::/\n");
  tree.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(tree.limit() == 0);
  tree.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n");
  CHECK(tree.limit() == 104857600);
  tree.write("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "52428800\n");
  CHECK(tree.limit() == 52428800);
}

TEST_CASE("container memory: rubbish is no limit") {
  Tree tree;
  tree.write("/proc/self/cgroup", "rubbish\n0:\n:::\n");
  CHECK(tree.limit() == 0);
  tree.write("/proc/self/cgroup", "0::/x");
  tree.write("/sys/fs/cgroup/x/memory.max", "-5");
  CHECK(tree.limit() == 0);
}

}  // namespace
}  // namespace quoll::host
