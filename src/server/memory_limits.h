// MemoryLimits: keeps memory within what the configuration allows, with separate budgets.
//
//   data      used memory without what is held for others      maxmemory           evicts keys
//   clients   their sessions, requests and replies             maxmemory-clients   disconnects
//   clients
//
// Held for others, and so no reason to evict a key: the memory of clients, the replication backlog
// and what waits for replicas, what waits to be written to disk, scripts and functions. A slow
// reader therefore costs himself his connection, and nobody a key.
//
// Eviction goes the road of every change: commits of Origin::eviction, logged and replicated as
// DEL. It runs before a command, and is bounded twice:
//   - one command works no longer than maxmemory-eviction-tenacity says (500 us at 10);
//   - what remains is worked off within a budget per turn, commands and turn end taken together;
//     beyond it a command frees no more than memory grew by.
// Memory that is being given back already (flushed databases, large values) is waited for first.
//
// `maxmemory auto` stands for kAutoPercent of the container's limit, or of the machine's memory
// where no container limits it; the rest is for clients, replication and the allocator. The limit
// is read again every kAutoInterval, for containers are resized.
//
// Cost: nothing but a comparison per command while maxmemory is 0; else a sum of a few counters.
#pragma once

#include <vector>

#include "host/host.h"
#include "server/session.h"
#include "store/eviction.h"

namespace quoll::server {

constexpr uint64_t kAutoPercent = 75;              // of the memory there is, for `maxmemory auto`
constexpr base::Millis kAutoInterval = 10'000;     // between two looks at the container's limit
constexpr uint64_t kClientMemoryMin = 128 * 1024;  // bytes: a smaller limit would lock all out
constexpr size_t kEvictionBatch = 16;              // keys between two looks at the clock

class MemoryLimits {
 public:
  explicit MemoryLimits(Server& server);

  // Makes room before the command runs. False: there is none, and the command needs some.
  bool admit(const Session& session, const Command& command);
  // As found before the command that runs now.
  bool out_of_memory() const;
  // The rest of the work, and the clients' limit.
  void end_turn();
  void tick();

  // Bytes that are no reason to evict.
  size_t not_counted() const;
  // Bytes of the limit of clients, 0: none.
  uint64_t client_limit() const;
  // Ms that memory has been above the limit: now without a break, and in all.
  int64_t exceeded_ms() const;
  int64_t exceeded_total_ms() const;

 private:
  enum class Outcome : uint8_t { enough, busy, exhausted };

  void apply_settings();
  void resolve_auto();
  bool may_evict() const;
  size_t excess(size_t more = 0) const;
  base::Nanos time_limit() const;
  Outcome make_room(base::Nanos limit, bool only_growth, size_t more = 0);
  bool evict_batch();
  void account(Outcome outcome);
  void limit_clients();

  Server& server_;
  store::Eviction eviction_;
  bool evicts_ = false;  // the policy is not noeviction
  bool out_of_memory_ = false;
  size_t debt_ = 0;       // bytes above the limit that later turns work off
  base::Nanos turn_ = 0;  // in which spent_ was spent
  base::Nanos spent_ = 0;
  base::Nanos exceeded_since_ = 0;  // 0: it is not
  base::Millis auto_looked_ms_ = 0;
  size_t clients_fruitless_ = 0;  // client memory at which nobody could be disconnected
};

}  // namespace quoll::server
