#include "host/crash_report.h"

#include <execinfo.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "base/failure.h"

namespace quoll::host {
namespace {

constexpr int kFatalSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr int kFramesMax = 100;
constexpr size_t kStackWordsShown = 16;
constexpr size_t kStackBytes = 256 * 1024;  // of the handler: the stack itself may be what is full
constexpr unsigned kWitnessSeconds = 5;     // then the process ends whatever it waits for
constexpr size_t kLogPathMax = 4096;

char log_file[kLogPathMax];
const char* product = "";
void (*witness)(const CrashText&) = nullptr;
std::atomic<bool> exits{false};
std::atomic<int> crashing_signal{0};
std::atomic<long> crashing_thread{0};
int report_file = -1;
bool tracing = false;  // the stack is being walked, which a broken one may not survive
alignas(16) char handler_stack[kStackBytes];
timer_t watchdog_timer;
bool watchdog_made = false;

int open_log() {
  if (log_file[0] == 0) return STDOUT_FILENO;
  int file = open(log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  return file < 0 ? STDERR_FILENO : file;
}

void close_log(int file) {
  if (file > STDERR_FILENO) close(file);
}

#if defined(__x86_64__)
void* instruction_of(const ucontext_t& context) {
  return reinterpret_cast<void*>(context.uc_mcontext.gregs[REG_RIP]);
}

void registers(const CrashText& out, const ucontext_t& context) {
  const auto& all = context.uc_mcontext.gregs;
  struct Row {
    const char* left;
    int left_index;
    const char* right;
    int right_index;
  };
  constexpr Row kRows[] = {{"RAX", REG_RAX, "RBX", REG_RBX}, {"RCX", REG_RCX, "RDX", REG_RDX},
                           {"RDI", REG_RDI, "RSI", REG_RSI}, {"RBP", REG_RBP, "RSP", REG_RSP},
                           {"R8 ", REG_R8, "R9 ", REG_R9},   {"R10", REG_R10, "R11", REG_R11},
                           {"R12", REG_R12, "R13", REG_R13}, {"R14", REG_R14, "R15", REG_R15},
                           {"RIP", REG_RIP, "EFL", REG_EFL}};
  for (const Row& row : kRows)
    out.print("%s:%016llx %s:%016llx\n", row.left,
              static_cast<unsigned long long>(all[row.left_index]), row.right,
              static_cast<unsigned long long>(all[row.right_index]));
  out.print("CSGSFS:%016llx\n", static_cast<unsigned long long>(all[REG_CSGSFS]));
}

// Reading through a pipe tells whether memory can be read, without the signal that asking would
// cost.
void stack_words(const CrashText& out, const ucontext_t& context) {
  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) != 0) return;
  auto at = static_cast<uintptr_t>(context.uc_mcontext.gregs[REG_RSP]) & ~uintptr_t{7};
  for (size_t i = 0; i < kStackWordsShown; ++i, at += 8) {
    uint64_t word;
    if (write(pipes[1], reinterpret_cast<const void*>(at), sizeof word) != sizeof word ||
        read(pipes[0], &word, sizeof word) != sizeof word)
      break;
    out.print("(%016llx) -> %016llx\n", static_cast<unsigned long long>(at),
              static_cast<unsigned long long>(word));
  }
  close(pipes[0]);
  close(pipes[1]);
}
#else
#error "the registers of this machine are not known here"
#endif

void stack_trace(const CrashText& out, const ucontext_t& context) {
  void* frames[kFramesMax];
  void* instruction = instruction_of(context);
  out.put("\n------ STACK TRACE ------\n");
  if (instruction) {
    out.put("EIP:\n");
    backtrace_symbols_fd(&instruction, 1, out.file());
  }
  out.put("\nBacktrace:\n");
  const int found = backtrace(frames, kFramesMax);
  backtrace_symbols_fd(frames, found, out.file());
  out.put("(addr2line -Cfipe quoll-server +0x... names a place of the program)\n");
}

[[noreturn]] void end_by(int number) {
  if (exits.load()) _exit(1);
  std::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigaddset(&none, number);
  pthread_sigmask(SIG_UNBLOCK, &none, nullptr);
  raise(number);
  _exit(128 + number);
}

[[noreturn]] void end_report(const CrashText& out, int number) {
  if (witness) witness(out);
  out.put("\n=== QUOLL BUG REPORT END. Make sure to include from START to END. ===\n\n");
  close_log(out.file());
  end_by(number);
}

void on_fatal(int number, siginfo_t* info, void* context_given) {
  const long thread = syscall(SYS_gettid);
  int first = 0;
  if (!crashing_signal.compare_exchange_strong(first, number)) {
    while (crashing_thread.load() != thread) pause();  // the one who came first ends the process
    if (!std::exchange(tracing, false)) end_by(first);
    const CrashText out(report_file);
    out.put("(the stack cannot be walked any further)\n");
    end_report(out, first);
  }
  crashing_thread.store(thread);
  arm_watchdog(0);
  alarm(kWitnessSeconds);
  const auto& context = *static_cast<const ucontext_t*>(context_given);
  report_file = open_log();
  const CrashText out(report_file);
  out.put("\n\n=== QUOLL BUG REPORT START: Cut & paste starting from here ===\n");
  out.line("%s crashed by signal: %d, si_code: %d", product, number, info->si_code);
  if (number == SIGSEGV || number == SIGBUS) out.line("Accessing address: %p", info->si_addr);
  if (info->si_code <= SI_USER && info->si_pid != 0 && info->si_pid != getpid())
    out.line("Killed by PID: %ld, UID: %d", static_cast<long>(info->si_pid), info->si_uid);
  out.line("Crashed running the instruction at: %p", instruction_of(context));
  out.put("\n------ REGISTERS ------\n");
  registers(out, context);
  stack_words(out, context);
  tracing = true;
  stack_trace(out, context);
  tracing = false;
  end_report(out, number);
}

// The witness took too long, or the loop did.
void on_alarm(int, siginfo_t*, void* context) {
  if (int number = crashing_signal.load(); number != 0) end_by(number);
  const int kept = errno;
  const CrashText out(open_log());
  out.put("\n");
  out.line("--- WATCHDOG TIMER EXPIRED ---");
  stack_trace(out, *static_cast<const ucontext_t*>(context));
  out.line("--------");
  close_log(out.file());
  errno = kept;
}

void to_log(const char* text) {
  const CrashText out(open_log());
  out.line("%s", text);
  close_log(out.file());
}

}  // namespace

void CrashText::put(base::Bytes text) const {
  while (!text.empty()) {
    ssize_t sent = write(file_, text.data(), text.size());
    if (sent <= 0) return;
    text.remove_prefix(static_cast<size_t>(sent));
  }
}

void CrashText::print(const char* form, ...) const {
  char text[kLineMax];
  va_list values;
  va_start(values, form);
  const int size = std::vsnprintf(text, sizeof text, form, values);
  va_end(values);
  if (size > 0) put({text, std::min(static_cast<size_t>(size), sizeof text - 1)});
}

void CrashText::line(const char* form, ...) const {
  char text[kLineMax];
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  int prefix = std::snprintf(text, sizeof text, "%d:signal-handler (%lld) # ",
                             static_cast<int>(getpid()), static_cast<long long>(now.tv_sec));
  va_list values;
  va_start(values, form);
  const size_t room = sizeof text - static_cast<size_t>(prefix) - 1;
  const int size = std::vsnprintf(text + prefix, room, form, values);
  va_end(values);
  size_t end =
      static_cast<size_t>(prefix) + std::min(static_cast<size_t>(std::max(size, 0)), room - 1);
  text[end++] = '\n';
  put({text, end});
}

void set_crash_options(const CrashOptions& options) {
  product = options.product;
  witness = options.witness;
  std::strncpy(log_file, options.log_file, sizeof log_file - 1);
  base::set_failure_sink(to_log);
  void* frame;
  backtrace(&frame, 1);  // loads the unwinder, which allocates, while that is allowed
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  action.sa_sigaction = on_alarm;
  sigaction(SIGALRM, &action, nullptr);
}

void catch_crashes(bool on) {
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  sigaltstack(&stack, nullptr);
  for (int number : kFatalSignals) {
    struct sigaction action {};
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    action.sa_sigaction = on_fatal;
    if (!on) {
      action.sa_flags = 0;
      action.sa_handler = SIG_DFL;
    }
    sigaction(number, &action, nullptr);
  }
}

void exit_on_crash(bool on) { exits.store(on); }

void arm_watchdog(int period_ms) {
  if (!watchdog_made) {
    if (period_ms == 0) return;
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;  // the thread whose stack is to be shown
    event.sigev_signo = SIGALRM;
    event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
    if (timer_create(CLOCK_MONOTONIC, &event, &watchdog_timer) != 0) return;
    watchdog_made = true;
  }
  itimerspec when{};
  when.it_value = {period_ms / 1000, period_ms % 1000 * 1'000'000L};
  timer_settime(watchdog_timer, 0, &when, nullptr);
}

}  // namespace quoll::host
