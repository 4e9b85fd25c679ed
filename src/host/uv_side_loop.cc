#include "host/uv_side_loop.h"

#include <pthread.h>
#include <signal.h>
#include <uv.h>

#include <atomic>
#include <future>
#include <thread>
#include <utility>

#include "base/check.h"
#include "host/uv_clock.h"
#include "host/uv_datagrams.h"

namespace quoll::host {
namespace {

constexpr const char* kSideThreadName = "quoll-side";

// What a program does wrong is reported by the thread that did it; everything else is for the main
// loop to hear.
void leave_signals_to_others() {
  sigset_t blocked;
  sigfillset(&blocked);
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS})
    sigdelset(&blocked, number);
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

}  // namespace

struct UvSideLoop::Thread {
  UvClock clock;
  UvLoop loop;
  UvDatagrams datagrams{loop};
  SideHost host{clock, loop, datagrams};
  SideWork& work;
  uv_async_t bell;
  std::atomic<bool> stopping{false};
  std::promise<base::Result<>> begun;
  std::thread thread;

  explicit Thread(SideWork& work) : work(work) {
    bell.data = this;
    QUOLL_CHECK(uv_async_init(loop.raw(), &bell, [](uv_async_t* async) {
                  static_cast<Thread*>(async->data)->rung();
                }) == 0);
  }
  ~Thread() {
    QUOLL_CHECK(!thread.joinable());
    uv_close(reinterpret_cast<uv_handle_t*>(&bell), nullptr);  // when the loop goes
  }

  void run() {
    leave_signals_to_others();
    pthread_setname_np(pthread_self(), kSideThreadName);
    base::Result<> result = work.begin(host);
    const bool runs = result.ok();
    begun.set_value(std::move(result));
    if (!runs) return;
    loop.run();
    work.end();
  }
  void rung() {
    loop.enter_turn();
    if (stopping) return loop.stop();
    work.rung();
  }
};

struct UvSideLoop::MainBell {
  uv_async_t async;
  UvLoop* loop;
  Task rung;  // empty: nothing runs
};

UvSideLoop::UvSideLoop(UvLoop& main) : main_(main) {}

UvSideLoop::~UvSideLoop() {
  stop();
  if (main_bell_ == nullptr) return;
  uv_close(reinterpret_cast<uv_handle_t*>(&main_bell_->async),
           [](uv_handle_t* handle) { delete static_cast<MainBell*>(handle->data); });
}

base::Result<> UvSideLoop::start(SideWork& work, Task rung) {
  QUOLL_CHECK(!thread_);
  if (main_bell_ == nullptr) {
    main_bell_ = new MainBell{{}, &main_, {}};
    main_bell_->async.data = main_bell_;
    QUOLL_CHECK(uv_async_init(main_.raw(), &main_bell_->async, [](uv_async_t* async) {
                  auto* bell = static_cast<MainBell*>(async->data);
                  if (!bell->rung) return;  // it was before stop()
                  bell->loop->enter_turn();
                  const Task rung = bell->rung;  // which may stop()
                  rung();
                }) == 0);
  }
  thread_ = std::make_unique<Thread>(work);
  std::future<base::Result<>> begun = thread_->begun.get_future();
  thread_->thread = std::thread([thread = thread_.get()] { thread->run(); });
  base::Result<> result = begun.get();
  if (result) {
    main_bell_->rung = std::move(rung);
  } else {
    stop();
  }
  return result;
}

void UvSideLoop::stop() {
  if (!thread_) return;
  main_bell_->rung = nullptr;
  thread_->stopping = true;
  uv_async_send(&thread_->bell);
  thread_->thread.join();
  thread_ = nullptr;
}

void UvSideLoop::ring() {
  QUOLL_CHECK(thread_ != nullptr);
  uv_async_send(&thread_->bell);
}

void UvSideLoop::ring_main() { uv_async_send(&main_bell_->async); }

}  // namespace quoll::host
