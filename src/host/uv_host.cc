#include "host/uv_host.h"

#include <sys/random.h>
#include <uv.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/check.h"
#include "host/uv_clock.h"
#include "host/uv_datagrams.h"
#include "host/uv_disk.h"
#include "host/uv_process.h"
#include "host/uv_side_loop.h"
#include "host/uv_transport.h"
#include "host/uv_upload.h"
#include "host/xoshiro.h"

namespace quoll::host {
namespace {

std::array<uint64_t, 4> kernel_entropy() {
  std::array<uint64_t, 4> words{};
  ssize_t got;
  do {
    got = getrandom(words.data(), sizeof(words), 0);  // up to 256 bytes come whole or not at all
  } while (got < 0 && errno == EINTR);
  QUOLL_CHECK(got == static_cast<ssize_t>(sizeof(words)));
  return words;
}

struct SignalWatch {
  uv_signal_t signal;
  UvLoop* loop;
  Task task;
};

}  // namespace

struct UvHost::Parts {
  UvClock clock;
  Xoshiro random{kernel_entropy()};
  UvLoop loop;
  UvDisk disk{loop};
  UvTransport transport{loop};
  UvDatagrams datagrams{loop};
  UvProcess process;
  UvUpload upload{loop};
  UvSideLoop side{loop};
  std::vector<SignalWatch*> signals;
  Host host{clock, random, loop, disk, transport, datagrams, process, side};
};

UvHost::UvHost() : parts_(std::make_unique<Parts>()) {
  std::signal(SIGPIPE, SIG_IGN);  // a vanished reader is an error code, not the end of the server
}

UvHost::~UvHost() {
  for (SignalWatch* watch : parts_->signals) {
    uv_close(reinterpret_cast<uv_handle_t*>(&watch->signal),
             [](uv_handle_t* handle) { delete static_cast<SignalWatch*>(handle->data); });
  }
  // Members go in reverse order: sockets and disk first, then the loop, which runs what they left.
}

Host& UvHost::host() { return parts_->host; }
Upload& UvHost::upload() { return parts_->upload; }
void UvHost::set_source(const std::string& address) { parts_->transport.set_source(address); }
void UvHost::use_ring(bool used) { parts_->transport.use_ring(used); }
void UvHost::run() { parts_->loop.run(); }
void UvHost::stop() { parts_->loop.stop(); }

void UvHost::on_signal(int number, Task task) {
  auto* watch = new SignalWatch{{}, &parts_->loop, std::move(task)};
  QUOLL_CHECK(uv_signal_init(parts_->loop.raw(), &watch->signal) == 0);
  watch->signal.data = watch;
  auto on_delivery = [](uv_signal_t* signal, int) {
    auto* watch = static_cast<SignalWatch*>(signal->data);
    watch->loop->enter_turn();
    watch->task();
  };
  QUOLL_CHECK(uv_signal_start(&watch->signal, on_delivery, number) == 0);
  parts_->signals.push_back(watch);
}

}  // namespace quoll::host
