#include "host/uv_process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/check.h"
#include "host/container_memory.h"

namespace quoll::host {
namespace {

constexpr size_t kPathMax = 4096;
constexpr const char* kOomScoreFile = "/proc/self/oom_score_adj";
constexpr const char* kBootIdFile = "/proc/sys/kernel/random/boot_id";

Process::CpuTimes used_by(int who) {
  rusage usage{};
  getrusage(who, &usage);
  auto micros = [](const timeval& time) { return int64_t{time.tv_sec} * 1'000'000 + time.tv_usec; };
  return {micros(usage.ru_utime), micros(usage.ru_stime)};
}

}  // namespace

char** adopt_arguments(int argc, char** argv) { return uv_setup_args(argc, argv); }
void set_process_title(const std::string& title) { uv_set_process_title(title.c_str()); }

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

size_t UvProcess::container_memory_bytes() { return container_memory_limit(""); }

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

std::string UvProcess::boot_id() {
  int file = open(kBootIdFile, O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  char text[64];
  const ssize_t got = read(file, text, sizeof text);
  close(file);
  std::string id(text, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
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

base::Result<int> UvProcess::oom_score() {
  int file = open(kOomScoreFile, O_RDONLY | O_CLOEXEC);
  if (file < 0) return base::Error{std::strerror(errno)};
  char text[32];
  ssize_t got = read(file, text, sizeof text - 1);
  const int failed = errno;
  close(file);
  if (got <= 0) return base::Error{std::strerror(failed)};
  text[got] = 0;
  return std::atoi(text);
}

base::Result<> UvProcess::set_oom_score(int score) {
  int file = open(kOomScoreFile, O_WRONLY | O_CLOEXEC);
  if (file < 0) return base::Error{std::strerror(errno)};
  const std::string text = std::to_string(score);
  ssize_t put = write(file, text.data(), text.size());
  const int failed = errno;
  close(file);
  if (put < 0) return base::Error{std::strerror(failed)};
  return {};
}

void UvProcess::sleep(Nanos time) {
  timespec left{time / 1'000'000'000, time % 1'000'000'000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

void UvProcess::crash() {
  constexpr size_t kPage = 4096;
  void* page = mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile char*>(page) = 'x';
  std::abort();  // should writing there have been allowed
}

}  // namespace quoll::host
