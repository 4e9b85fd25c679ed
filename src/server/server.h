// Server: the parts of one process, connected. The roof gives it a Host, the configuration and the
// command families; it listens, keeps the sessions, and ends every loop turn: expiry, freeing,
// flushing replies, timers.
//
// Invariant: a turn never works longer than its budgets (kExpireBudget, kReclaimBudget, less when
// the turn is long already) beyond the commands it was given; of a long turn up to a quarter more.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "data/packing.h"
#include "host/host.h"
#include "host/tls_transport.h"
#include "server/acl.h"
#include "server/blocked_keys.h"
#include "server/bus_transport.h"
#include "server/cluster_secret.h"
#include "server/cluster_view.h"
#include "server/config.h"
#include "server/dispatcher.h"
#include "server/latency_monitor.h"
#include "server/monitors.h"
#include "server/notifier.h"
#include "server/output_gate.h"
#include "server/persistence.h"
#include "server/publications.h"
#include "server/pubsub.h"
#include "server/session.h"
#include "server/slot_routes.h"
#include "server/slow_log.h"
#include "server/stats.h"
#include "server/tracking.h"
#include "server/watch_table.h"
#include "store/store.h"

namespace quoll::server {

// How the server ends: data saved as configured (save: 0), surely (1) or not (-1).
struct Ending {
  int save = 0;
  bool force = false;                      // end though saving failed
  bool now = false;                        // do not wait for replicas
  std::function<void()> failed = nullptr;  // told when the server stays because it did
};
// Of the bits of SHUTDOWN's options and of shutdown-on-sigterm.
inline Ending ending_of(int64_t shutdown_bits) {
  Ending ending;
  if (shutdown_bits & kShutdownSave) ending.save = 1;
  if (shutdown_bits & kShutdownNosave) ending.save = -1;
  ending.force = shutdown_bits & kShutdownForce;
  ending.now = shutdown_bits & kShutdownNow;
  return ending;
}

// Why no command at all may run.
enum class Freeze : uint8_t { ending = 1, reload = 2, disk = 4, group = 8 };

// Why writes wait though no client asked for it: so that replicas or the next leader catch up, or
// because keys are on their way to another server.
enum class HoldWrites : uint8_t {
  ending = 1,
  failover = 2,
  migration = 4,
  hand_over = 8,
  slots = 16
};

enum class PauseKind : uint8_t { none, writes, all };

class ChangeReaders;
class Defragmenter;
class HotKeys;
class MemoryLimits;
class Migrations;
class ClusterNode;
class ReplicaGroup;
class Replication;
class ScriptHost;
class SlotStats;

class Server {
 public:
  using Families = std::span<const std::span<const CommandSpec>>;

  Server(const host::Host& host, Config config, Families families);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Listens on every configured address. The error names the address that failed. Loading begins;
  // `ready` is told at its end, or why the server must end. Connections wait in the kernel's queue
  // until admit_connections(): loading that is over soon shows to nobody as -LOADING.
  base::Result<> start(host::OnDone ready);
  void admit_connections();
  // An error: keys are where clients of a cluster cannot reach them.
  base::Result<> check_databases() const;
  // Called once when the server wants its process to end.
  void on_stop(std::function<void(int exit_code)> told) { on_stop_ = std::move(told); }
  // Called when the end begins, before anything is saved; an end that fails is not taken back.
  void on_ending(std::function<void()> told) { on_ending_ = std::move(told); }
  // Orderly end: data saved, no new connections, replies flushed, sockets removed. `reason` goes to
  // the log.
  void shut_down(const std::string& reason, Ending how);
  bool shutting_down() const { return ending_; }
  // Ends the wait for replicas, if that is all that was done yet. False: nothing to abort.
  bool abort_shut_down();
  // Ms until the wait for replicas is given up; 0: none waits.
  base::Millis shut_down_in() const;

  host::Host& host() { return host_; }
  // The same, but for connections of the cluster's bus.
  const host::Host& bus_host() const { return bus_host_; }
  Config& config() { return config_; }
  const Settings& settings() const { return config_; }
  store::Store& store() { return store_; }
  Dispatcher& dispatcher() { return dispatcher_; }
  CommandTable& commands() { return dispatcher_.table(); }
  Acl& acl() { return acl_; }
  host::TlsTransport& tls() { return tls_; }
  ClusterSecrets& cluster_secrets() { return cluster_secrets_; }
  OutputGate& gate() { return gate_; }
  Persistence& persistence() { return persistence_; }
  Replication& replication() { return *replication_; }
  const Replication& replication() const { return *replication_; }
  // nullptr: cluster support is disabled.
  ClusterView* cluster() { return cluster_.get(); }
  // The same, where it is a replica group; else nullptr.
  ReplicaGroup* group() { return group_; }
  const ReplicaGroup* group() const { return group_; }
  const ClusterView* cluster() const { return cluster_.get(); }
  // The same, where it is a node of a cluster that may grow; else nullptr.
  ClusterNode* node() { return node_; }
  void group_started(ReplicaGroup* group) { group_ = group; }
  // The server belongs to this cluster, not to one of its own. Before start(), with
  // cluster-enabled.
  void join(std::unique_ptr<ClusterView> cluster) { cluster_ = std::move(cluster); }
  const SlotRoutes& routes() const { return routes_; }
  // We lead no more: clients that wait here are sent to who does.
  void redirect_blocked();
  WatchTable& watches() { return watches_; }
  BlockedKeys& blocked_keys() { return blocked_keys_; }
  PubSub& pubsub() { return pubsub_; }
  Notifier& notifier() { return notifier_; }
  Publications& publications() { return publications_; }
  Tracking& tracking() { return tracking_; }
  ScriptHost& scripts() { return *scripts_; }
  const ScriptHost& scripts() const { return *scripts_; }
  MemoryLimits& memory_limits() { return *memory_limits_; }
  const Defragmenter& defragmenter() const { return *defragmenter_; }
  HotKeys& hot_keys() { return *hot_keys_; }
  SlotStats& slot_stats() { return *slot_stats_; }
  ChangeReaders& changes() { return *changes_; }
  Migrations& migrations() { return *migrations_; }
  // HOTKEYS has begun or ended.
  void hot_keys_changed() { apply_settings(); }
  SlowLog& slow_log() { return slow_log_; }
  SlowLog& large_requests() { return large_requests_; }
  SlowLog& large_replies() { return large_replies_; }
  LatencyMonitor& latency() { return latency_; }
  const Monitors& monitors() const { return monitors_; }
  // Shows MONITOR a line that does not come by the usual way: a script, and what it calls
  // (`command`: unless it is one of those never shown).
  void tell_monitors(const Session& session, Args line, const Command* command = nullptr);
  bool add_monitor(Session& session);  // false when it was one already
  void drop_monitor(const Session& session);
  Stats& stats() { return stats_; }
  const data::Packing& packing() const { return packing_; }  // of the settings in force
  const std::string& run_id() const { return run_id_; }
  base::Millis started_ms() const { return started_ms_; }
  size_t startup_memory() const { return startup_memory_; }  // bytes used when start() was done
  uint16_t port() const;  // the TCP port actually bound, 0 if none

  // Wall time in ms as of the current batch of commands.
  base::Millis now() const { return now_; }
  void refresh_clock();
  // A script sees one instant: now() stands still while held.
  void hold_clock(bool held) { clock_held_ = held; }

  // Sessions.
  const std::map<SessionId, std::unique_ptr<Session>>& sessions() const { return sessions_; }
  Session* find_session(SessionId id);
  // Of nobody who connected: the owner closes it.
  Session& add_session(std::unique_ptr<host::Peer> peer);
  void queue_flush(Session& session) { flush_queue_.push_back(&session); }
  void forget(Session& session);
  std::span<char> scratch() { return nested_scratch_.empty() ? scratch_ : nested_scratch_; }
  // Inside a long script of `busy`: other clients are heard and answered. See ScriptHost.
  void serve_while_busy(const Session& busy);
  const wire::ParserLimits& parser_limits() const { return parser_limits_; }

  // SIGHUP: certificates and the ACL file are read anew. What is wrong is logged, and the old
  // stays.
  void hang_up();
  // Takes the users from the ACL file anew; the error is Redis's text.
  void reload_acl(host::OnDone done);

  // Dispatch asks.
  Bytes refusal_of(const Command& command, const Session& session) const;
  bool postpone_if_paused(Session& session, const Command& command, Args args, BlobOf blob_of,
                          void* blob_owner);
  void refuse_cross_protocol(Session& session);
  void after_commit(Session& session, store::Seq seq);
  void note_error(Bytes code);
  void note_slow(Session& session, const Command& command, Args args, base::Nanos elapsed);
  base::Nanos slow_threshold() const { return slow_threshold_; }
  // Commands of more bytes than large_bytes(), or with such a reply, are to be told of.
  void note_large(Session& session, const Command& command, Args args, size_t request_bytes,
                  size_t reply_bytes);
  size_t large_bytes() const { return large_bytes_; }
  base::Nanos clock_stamp() const { return clock_stamp_; }

  // CLIENT PAUSE. A pause never shortens an earlier, stricter one.
  void pause(PauseKind kind, base::Millis until);
  void unpause();
  PauseKind paused() const {
    if (frozen_) return PauseKind::all;
    PauseKind asked = now_ < pause_until_ ? pause_kind_ : PauseKind::none;
    return asked == PauseKind::none && writes_held_ ? PauseKind::writes : asked;
  }
  void hold_writes(HoldWrites why, bool on);
  // What deadlines write is held back, too, but not while slots are handed over: the other side
  // counts its keys, and removes those that are due.
  bool expiry_waits() const {
    const bool others_hold = (writes_held_ & ~static_cast<unsigned>(HoldWrites::slots)) != 0;
    return frozen_ || others_hold || (now_ < pause_until_ && pause_kind_ != PauseKind::none);
  }
  // While any reason holds no command at all runs, and nothing expires: the data must not change.
  void freeze(Freeze why, bool on);
  bool frozen() const { return frozen_ != 0; }

  // The data change only as another server says.
  bool follows() const;
  void set_active_expiry(bool on) { active_expiry_ = on; }
  // DEBUG PAUSE-CRON: expiry and the ten-times-a-second work rest.
  void set_periodic_work(bool on) { periodic_work_ = on; }

 private:
  using Listeners = std::vector<std::unique_ptr<host::Listener>>;

  void watch_settings();
  void apply_settings();
  base::Result<> listen_tcp(Listeners& listeners);
  base::Result<> listen_tls(Listeners& listeners);
  base::Result<> listen_addresses(int64_t port, bool tls, Listeners& listeners);
  base::Result<std::unique_ptr<host::Listener>> listen_at(const host::Endpoint& at, bool tls);
  base::Result<> listen_again();
  base::Result<> reopen(Listeners& listeners, bool tls);
  base::Result<> configure_tls();
  void watch_tls_files();
  void note_failed_handshake(const std::string& address, const std::string& error);
  base::Result<> listen_unix(Listeners& listeners);
  // `user`: who the client is by his certificate; "" is left to the ACL.
  void accept(std::unique_ptr<host::Peer> peer, const std::string& user);
  bool refuse_connection(host::Peer& peer);
  void end_turn();
  base::Nanos background_budget(base::Nanos now, base::Nanos wanted);
  void serve_blocked();
  bool expires() const;
  void expire();
  void reclaim();
  void defragment();
  void arm_expiry();
  void flush_all(const Session* except = nullptr);
  void flush_together(std::span<Session*> sessions);
  void bury();
  void tick();
  void close_idle();
  void measure_turn();
  void prepare_end();
  void tell_ending_failed();
  void end_now();
  void let_go_on();

  host::Host host_;
  Config config_;
  store::Store store_;
  OutputGate gate_;
  PubSub pubsub_;
  Publications publications_{pubsub_, gate_};
  Notifier notifier_;
  WatchTable watches_;
  Tracking tracking_{*this};
  BlockedKeys blocked_keys_;
  SlowLog slow_log_;
  SlowLog large_requests_;
  SlowLog large_replies_;
  LatencyMonitor latency_;
  Monitors monitors_;
  Stats stats_;
  base::Nanos busy_ = 0;  // of the loop's thread, when it was last asked for; 0: it was not yet
  base::Nanos unmeasured_ = 0;  // the length of the turns since
  std::unique_ptr<ClusterView> cluster_;
  ReplicaGroup* group_ = nullptr;
  ClusterNode* node_ = nullptr;
  SlotRoutes routes_{*this};
  Dispatcher dispatcher_;
  Persistence persistence_{*this};
  std::unique_ptr<ScriptHost> scripts_;
  wire::ParserLimits parser_limits_;
  data::Packing packing_;
  std::vector<char> scratch_;
  std::vector<char> nested_scratch_;  // while clients are heard inside a script
  std::string run_id_;
  std::map<SessionId, std::unique_ptr<Session>> sessions_;
  std::vector<std::unique_ptr<Session>> buried_;
  std::vector<Session*> flush_queue_;
  std::vector<base::Bytes> flush_parts_;  // of those flushed together
  std::vector<host::Sending> sendings_;
  std::vector<Session*> timed_out_;  // of the current round
  Listeners listeners_;
  std::function<void(int)> on_stop_;
  std::function<void()> on_ending_;
  SessionId next_session_ = 1;
  base::Millis now_ = 0;
  base::Millis started_ms_ = 0;
  base::Nanos clock_stamp_ = 0;
  base::Nanos slow_threshold_ = INT64_MAX;
  size_t large_bytes_ = SIZE_MAX;
  base::Millis expiry_due_ = store::kNoDeadline;
  host::TimerId expiry_timer_ = 0;
  base::Millis pause_until_ = 0;
  PauseKind pause_kind_ = PauseKind::none;
  host::TimerId pause_timer_ = 0;
  base::Millis cross_protocol_told_ms_ = 0;  // when the log last mentioned one
  uint64_t ticks_ = 0;
  size_t startup_memory_ = 0;
  bool clock_held_ = false;
  bool active_expiry_ = true;
  bool periodic_work_ = true;
  uint8_t frozen_ = 0;   // Freeze bits
  bool ending_ = false;  // the end is being prepared
  bool stopping_ = false;
  uint8_t writes_held_ = 0;  // HoldWrites bits
  Ending ending_how_;
  std::vector<host::Task> ending_failed_;  // who waits for the end
  base::Millis replicas_until_ = 0;        // the end waits for replicas; 0: it does not
  Acl acl_{*this};
  host::TlsTransport tls_{host_.transport, host_.loop, host_.clock};
  BusTransport bus_transport_{host_.transport, tls_, host_.clock, config_};
  host::Host bus_host_{host_.clock,    host_.random,    host_.loop,    host_.disk,
                       bus_transport_, host_.datagrams, host_.process, host_.side};
  Listeners tls_listeners_;
  ClusterSecrets cluster_secrets_{config_};
  base::Millis handshake_failure_logged_ms_ = 0;
  uint64_t handshake_failures_unlogged_ = 0;
  std::unique_ptr<Replication> replication_;
  std::unique_ptr<HotKeys> hot_keys_;
  std::unique_ptr<SlotStats> slot_stats_;
  std::unique_ptr<ChangeReaders> changes_;
  std::unique_ptr<MemoryLimits> memory_limits_;
  std::unique_ptr<Defragmenter> defragmenter_;
  std::unique_ptr<Migrations> migrations_;
};

}  // namespace quoll::server
