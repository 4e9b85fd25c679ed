#include "host/uv_process.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "base/check.h"

namespace quoll::host {
namespace {

constexpr size_t kPathMax = 4096;

Process::CpuTimes used_by(int who) {
  rusage usage{};
  getrusage(who, &usage);
  auto micros = [](const timeval& time) { return int64_t{time.tv_sec} * 1'000'000 + time.tv_usec; };
  return {micros(usage.ru_utime), micros(usage.ru_stime)};
}

}  // namespace

int UvProcess::pid() { return static_cast<int>(getpid()); }
Process::CpuTimes UvProcess::cpu_times() { return used_by(RUSAGE_SELF); }
Process::CpuTimes UvProcess::thread_cpu_times() { return used_by(RUSAGE_THREAD); }

size_t UvProcess::resident_bytes() {
  // "size resident shared ..." in pages; a read of /proc never waits for a disk.
  int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[128];
  ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return 0;
  text[got] = 0;
  char* rest = nullptr;
  std::strtoull(text, &rest, 10);
  return std::strtoull(rest, nullptr, 10) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

size_t UvProcess::machine_memory_bytes() { return uv_get_total_memory(); }

std::string UvProcess::system_name() {
  utsname name{};
  if (uname(&name) != 0) return {};
  return std::string(name.sysname) + " " + name.release + " " + name.machine;
}

std::string UvProcess::executable() {
  char path[kPathMax];
  size_t size = sizeof path;
  return uv_exepath(path, &size) == 0 ? std::string(path, size) : std::string();
}

uint64_t UvProcess::draw_secret() {
  uint64_t secret;
  ssize_t got;
  do {
    got = getrandom(&secret, sizeof secret, 0);  // up to 256 bytes come whole or not at all
  } while (got < 0 && errno == EINTR);
  QUOLL_CHECK(got == static_cast<ssize_t>(sizeof secret));
  return secret;
}

void UvProcess::sleep(Nanos time) {
  timespec left{time / 1'000'000'000, time % 1'000'000'000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

void UvProcess::crash() {
  raise(SIGSEGV);
  std::abort();  // should a handler have returned
}

}  // namespace quoll::host
