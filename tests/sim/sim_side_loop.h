// The side loop of a simulated node: no thread, but turns of its own on the world's time line, so
// that it goes on while the main loop is busy (SimWorld::keep_busy) and stands still with the
// process (SimWorld::pause).
#pragma once

#include "base/check.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {

class SimSideLoop final : public host::SideLoop {
 public:
  SimSideLoop(SimWorld& world, NodeId node, SimLoop& loop, SimClock& clock, SimDatagrams& datagrams)
      : world_(world), node_(node), datagrams_(datagrams), host_{clock, loop, datagrams} {}

  base::Result<> start(host::SideWork& work, host::Task rung) override {
    QUOLL_CHECK(!work_);
    base::Result<> begun = work.begin(host_);
    if (begun) {
      work_ = &work;
      rung_ = std::move(rung);
    } else {
      datagrams_.close();
    }
    return begun;
  }
  void stop() override {
    if (!work_) return;
    std::exchange(work_, nullptr)->end();
    datagrams_.close();
  }
  void ring() override {
    ring_at(Seat::side, ringing_[0], [this] { work_->rung(); });
  }
  void ring_main() override {
    ring_at(Seat::main, ringing_[1], [this] {
      const host::Task rung = rung_;  // which may stop the work
      rung();
    });
  }

 private:
  void ring_at(Seat seat, bool& ringing, host::Task heard) {
    if (std::exchange(ringing, true)) return;
    auto task = [this, &ringing, heard = std::move(heard)] {
      ringing = false;
      if (work_) heard();
    };
    world_.schedule(node_, world_.now(), "ring", std::move(task), seat);
  }

  SimWorld& world_;
  NodeId node_;
  SimDatagrams& datagrams_;
  host::SideHost host_;
  host::SideWork* work_ = nullptr;
  host::Task rung_;
  bool ringing_[2] = {};
};

}  // namespace quoll::sim
