// UvSideLoop: the side loop as a thread with a libuv loop, a clock and datagram sockets of its own.
//
//   main loop                              thread, while work runs
//   start() ---- begin() has returned <--- work.begin()
//   ring()  ---- uv_async ---------------> work.rung()
//   rung    <--- uv_async ---------------- ring_main()
//   stop()  ---- uv_async, join ---------> work.end()
//
// Rings that come close to each other are one. What the thread uses is made before it starts and
// destroyed after it has ended. Signals of the process go to other threads.
// Cost: nothing until start(); then a thread and some 150 KiB.
#pragma once

#include <memory>

#include "host/uv_loop.h"

namespace quoll::host {

class UvSideLoop final : public SideLoop {
 public:
  explicit UvSideLoop(UvLoop& main);
  ~UvSideLoop() override;
  UvSideLoop(const UvSideLoop&) = delete;

  base::Result<> start(SideWork& work, Task rung) override;
  void stop() override;
  void ring() override;
  void ring_main() override;

 private:
  struct Thread;
  struct MainBell;

  UvLoop& main_;
  std::unique_ptr<Thread> thread_;
  MainBell* main_bell_ = nullptr;  // closed by the main loop
};

}  // namespace quoll::host
