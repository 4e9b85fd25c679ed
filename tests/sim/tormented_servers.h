// TormentedServers: complete servers in a world, what happens to their machines and to the network
// between them, and a timeline of all that for a person. What they are together, a replica group
// or a cluster, says who derives from it: whom faults should meet most, which other faults there
// are, and what is watched.
//
//   torment(20 * kSecond);  heal();
//
// Beside what the run's plan does to every byte: processes stand still, lose links in one direction
// or both, find their disks full, failing or slow, their clocks moved.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/server_node.h"

namespace quoll::sim {

constexpr base::Millis kClockMaxMs = 400;  // that a clock jumps away from the others

class TormentedServers {
 public:
  virtual ~TormentedServers();
  TormentedServers(const TormentedServers&) = delete;

  std::vector<NodeId> ids() const;
  ServerNode& node(size_t member) const { return *nodes_[member]; }
  size_t members() const { return nodes_.size(); }

  // Faults until `time` has gone by.
  void torment(Nanos time);
  // The faults of the members and those of the plan end; whoever is down begins.
  void heal();
  void begin(size_t member);
  void note(const std::string& line);
  std::string timeline() const;

 protected:
  struct Fault {
    int64_t every_ms;
    std::function<void()> act;
    int64_t chosen_ppm = 600'000;  // for a torment, so that others are met without it
  };

  TormentedServers(Run& run, SimWorld& world);
  // In the order of their nodes in the world; who cannot start begins again a moment later.
  void add(const std::vector<std::string>& arguments);

  virtual std::vector<Fault> faults() = 0;
  virtual void end(size_t member, CrashKind kind) = 0;
  // Most of them, and their machines only where the disks have what counts.
  void all_end(bool synced);
  std::vector<Fault> common_faults();
  // The one that faults meet every other time; members(): none.
  virtual size_t most_important() = 0;
  // After every turn of the member.
  virtual void watch(size_t member) = 0;
  // It could not start, and will try again.
  virtual void failed_to_start(size_t) {}
  // For the end of the timeline.
  virtual std::string described(size_t member) const = 0;

  size_t any();
  size_t any_of_all();
  Nanos up_to(int64_t ms);  // at least a millisecond
  SimChance& chance() const { return world_.chance(); }

  Run& run_;
  SimWorld& world_;
  std::vector<std::unique_ptr<ServerNode>> nodes_;

 private:
  void plan(const Fault& fault);
  void a_link_is_cut();
  void someone_is_cut_off();
  void a_link_clogs();
  void connections_break();
  void someone_stands_still();
  void a_disk_is_ill();
  void a_clock_jumps();

  std::vector<base::Millis> clocks_;  // moved by so much
  std::deque<std::string> lines_;
  uint64_t torment_ = 0;  // number of the one under way; 0: peace
  uint64_t torments_ = 0;
};

std::string number(uint64_t value);
std::string member_text(size_t member);

}  // namespace quoll::sim
