#include "host/uv_watch.h"

#include <unistd.h>
#include <uv.h>

#include <utility>

#include "base/check.h"

namespace quoll::host {

static_assert(static_cast<int>(kReadable) == UV_READABLE &&
              static_cast<int>(kWritable) == UV_WRITABLE &&
              static_cast<int>(kHangup) == UV_DISCONNECT &&
              static_cast<int>(kUrgent) == UV_PRIORITIZED);

struct UvWatch::State {
  uv_poll_t poll;
  UvLoop* loop;
  WatchOwner* owner;
  int descriptor;
  unsigned wanted;
};

UvWatch::UvWatch(UvWatch&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

UvWatch& UvWatch::operator=(UvWatch&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

bool UvWatch::open(UvLoop& loop, int descriptor, WatchOwner& owner) {
  QUOLL_CHECK(state_ == nullptr);
  auto* state = new State{};
  if (uv_poll_init(loop.raw(), &state->poll, descriptor) != 0) {
    delete state;
    ::close(descriptor);
    return false;
  }
  state->loop = &loop;
  state->owner = &owner;
  state->descriptor = descriptor;
  state->poll.data = state;
  state_ = state;
  return true;
}

void UvWatch::set_owner(WatchOwner& owner) { state_->owner = &owner; }

void UvWatch::want(unsigned ready) {
  if (state_ == nullptr || state_->wanted == ready) return;
  state_->wanted = ready;
  if (ready == 0) {
    uv_poll_stop(&state_->poll);
    return;
  }
  auto on_events = [](uv_poll_t* poll, int status, int events) {
    auto* state = static_cast<State*>(poll->data);
    if (state->owner == nullptr) return;
    state->loop->enter_turn();
    unsigned ready = static_cast<unsigned>(events);
    if (status < 0) {
      state->wanted = 0;  // libuv stopped the handle
      ready |= kBroken;
    }
    state->owner->on_ready(ready);
  };
  QUOLL_CHECK(uv_poll_start(&state_->poll, static_cast<int>(ready), on_events) == 0);
}

void UvWatch::close() {
  State* state = std::exchange(state_, nullptr);
  if (state == nullptr) return;
  state->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&state->poll),
           [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
  ::close(state->descriptor);
}

int UvWatch::descriptor() const { return state_ ? state_->descriptor : -1; }

}  // namespace quoll::host
