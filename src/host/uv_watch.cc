#include "host/uv_watch.h"

#include <poll.h>
#include <unistd.h>
#include <uv.h>

#include <utility>
#include <vector>

#include "base/check.h"

namespace quoll::host {

static_assert(static_cast<int>(kReadable) == UV_READABLE &&
              static_cast<int>(kWritable) == UV_WRITABLE &&
              static_cast<int>(kHangup) == UV_DISCONNECT &&
              static_cast<int>(kUrgent) == UV_PRIORITIZED);

struct WatchState {
  uv_poll_t poll;
  UvLoop* loop;
  WatchOwner* owner;
  int descriptor;
  unsigned wanted;
  size_t heard_place = kNotHeard;  // in UvLoop::heard_nested()
  static constexpr size_t kNotHeard = SIZE_MAX;
};

UvWatch::UvWatch(UvWatch&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

UvWatch& UvWatch::operator=(UvWatch&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

bool UvWatch::open(UvLoop& loop, int descriptor, WatchOwner& owner) {
  QUOLL_CHECK(state_ == nullptr);
  auto* state = new WatchState{};
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
    auto* state = static_cast<WatchState*>(poll->data);
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
  WatchState* state = std::exchange(state_, nullptr);
  if (state == nullptr) return;
  state->owner = nullptr;
  if (state->heard_place != WatchState::kNotHeard) {
    std::vector<WatchState*>& heard = state->loop->heard_nested();
    heard.back()->heard_place = state->heard_place;
    heard[state->heard_place] = heard.back();
    heard.pop_back();
  }
  uv_close(reinterpret_cast<uv_handle_t*>(&state->poll),
           [](uv_handle_t* handle) { delete static_cast<WatchState*>(handle->data); });
  ::close(state->descriptor);
}

void UvWatch::hear_nested() {
  if (state_ == nullptr || state_->heard_place != WatchState::kNotHeard) return;
  std::vector<WatchState*>& heard = state_->loop->heard_nested();
  state_->heard_place = heard.size();
  heard.push_back(state_);
}

// Callbacks may open and close watches. A closed one has no owner any more, and its state lives
// until libuv's next turn; a new one waits for the next call. Ends seen by a peer whose reads are
// paused wait for the next turn, too.
void UvLoop::hear_nested() {
  std::vector<WatchState*> asked;
  std::vector<pollfd> polled;
  for (WatchState* state : heard_nested_) {
    short events = 0;
    if (state->wanted & kReadable) events |= POLLIN;
    if (state->wanted & kWritable) events |= POLLOUT;
    if (events == 0) continue;
    asked.push_back(state);
    polled.push_back({state->descriptor, events, 0});
  }
  if (poll(polled.data(), polled.size(), 0) <= 0) return;
  for (size_t i = 0; i < asked.size(); ++i) {
    WatchState& state = *asked[i];
    const short seen = polled[i].revents;
    if (seen == 0 || state.owner == nullptr) continue;
    unsigned ready = 0;
    if (seen & (POLLIN | POLLERR | POLLHUP)) ready |= kReadable;
    if (seen & (POLLOUT | POLLERR | POLLHUP)) ready |= kWritable;
    ready &= state.wanted;
    if (ready != 0) state.owner->on_ready(ready);
  }
}

int UvWatch::descriptor() const { return state_ ? state_->descriptor : -1; }

}  // namespace quoll::host
