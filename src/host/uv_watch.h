// UvWatch: one descriptor watched by the loop, level-triggered. Owns the descriptor.
//
// libuv frees a handle only in a later phase of the loop; the handle therefore lives in a block of
// its own, and closing a watch only detaches that block. No call to the owner follows a close.
// Cost: one system call per change of want() that is still in force when the loop polls.
#pragma once

#include "host/uv_loop.h"

namespace quoll::host {

enum Ready : unsigned {
  kReadable = 1,
  kWritable = 2,
  kHangup = 4,  // the other side will send nothing more; asked for while reads are paused
  kUrgent = 8,  // asked for to hear of resets only, while nothing else is of interest
  kBroken = 16  // never asked for: the socket has an error, and watching has stopped
};

struct WatchOwner {
  virtual ~WatchOwner() = default;
  virtual void on_ready(unsigned ready) = 0;
};

class UvWatch {
 public:
  UvWatch() = default;
  UvWatch(UvWatch&& other) noexcept;
  UvWatch& operator=(UvWatch&& other) noexcept;
  ~UvWatch() { close(); }

  // Returns false when libuv refuses the descriptor, which is then closed.
  [[nodiscard]] bool open(UvLoop& loop, int descriptor, WatchOwner& owner);
  bool is_open() const { return state_ != nullptr; }
  void set_owner(WatchOwner& owner);
  void want(unsigned ready);  // bits of Ready; 0 = nothing
  // From now on UvLoop::hear_nested() asks it as well.
  void hear_nested();
  void close();
  int descriptor() const;

 private:
  WatchState* state_ = nullptr;
};

}  // namespace quoll::host
