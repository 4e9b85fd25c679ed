#include "server/server.h"

#include <fmt/format.h>

#include "host/whole_file.h"
#include "server/call.h"
#include "server/change_readers.h"
#include "server/cluster_documents.h"
#include "server/cluster_node.h"
#include "server/defragmenter.h"
#include "server/group.h"
#include "server/hot_keys.h"
#include "server/log.h"
#include "server/memory_limits.h"
#include "server/migrations.h"
#include "server/replication.h"
#include "server/script_host.h"
#include "server/slot_stats.h"

namespace quoll::server {
namespace {

constexpr base::Millis kLateMax = 3'600'000;  // a deadline far in the past was given so
constexpr size_t kFlushedTogether = 256;      // sessions
constexpr size_t kErrorCodesMax = 128;        // told apart by INFO errorstats
constexpr size_t kScratchBytes = 64 * 1024;   // shared receive buffer: one read's worth of pipeline
// Work of one turn beside the commands it was given: what a turn that is long already has left of
// kTurnGoal, but at least kBackgroundMin, so that expiry keeps pace under any load, and more in
// long turns, so that commands hardly make more to free than is freed.
constexpr base::Nanos kExpireBudget = 3 * base::kNanosPerMilli / 4;
constexpr base::Nanos kReclaimBudget = base::kNanosPerMilli / 2;
constexpr base::Nanos kTurnGoal = base::kNanosPerMilli;
constexpr base::Nanos kBackgroundMin = base::kNanosPerMilli / 4;
constexpr base::Nanos kTurnsMeasured = base::kNanosPerMilli / 10;  // at once
constexpr int kBackgroundShare = 4;  // a turn so long that this part of it is more has that
constexpr size_t kExpireBatch = 16;  // wheel steps between clock looks; each may free a collection
constexpr base::Nanos kTickInterval = 100 * base::kNanosPerMilli;
constexpr base::Millis kExpiryTimerMax =
    250;  // now() is up to a tick old; then the next tick looks

std::string hex_id(host::Random& random) {
  std::string id;
  while (id.size() < 40) id += fmt::format("{:016x}", random.draw());
  id.resize(40);
  return id;
}

// The session's own memory: fetched while the kernel sends for the one before. A message to a
// thousand subscribers finds hardly any of them in the cache.
void fetch(const Session* session) {
  constexpr size_t kLine = 64;
  for (size_t at = 0; at < sizeof(Session); at += kLine)
    base::prefetch(reinterpret_cast<const char*>(session) + at);
}

}  // namespace

Server::Server(const host::Host& host, Config config, Families families)
    : host_(host),
      config_(std::move(config)),
      store_(static_cast<store::DbIndex>(config_.databases),
             config_.cluster_enabled ? store::Placement::by_slot : store::Placement::by_hash),
      notifier_(pubsub_, gate_, publications_),
      watches_(store_),
      blocked_keys_(store_),
      dispatcher_(*this, families),
      scratch_(kScratchBytes),
      run_id_(hex_id(host_.random)),
      replication_(std::make_unique<Replication>(*this)),
      hot_keys_(std::make_unique<HotKeys>()),
      slot_stats_(std::make_unique<SlotStats>()),
      changes_(std::make_unique<ChangeReaders>(*this)) {
  refresh_clock();
  started_ms_ = now_;
  scripts_ = std::make_unique<ScriptHost>(*this);
  store_.access().set_seed(host_.random.draw());
  notifier_.set_unsettled(persistence_.unsettled());
  // The order in which sinks hear of a commit.
  store_.commits().add_sink(watches_);
  store_.commits().add_sink(tracking_);
  store_.commits().add_sink(blocked_keys_);
  store_.commits().add_sink(notifier_);
  store_.commits().add_sink(persistence_.unsettled());
  store_.commits().add_sink(replication_->feed());
  store_.commits().add_sink(replication_->own_keys());
  store_.commits().add_sink(changes_->stream());
  gate_.on_open([](Session& session) { session.gate_opened(); });
  host_.loop.on_turn_end([this] { end_turn(); });
  // A configuration made for Redis may rename commands that do not exist here yet.
  for (const CommandRename& rename : config_.renamed_commands)
    if (!commands().rename(rename.from, rename.to))
      log::warning("rename-command {} {} has no effect: no such command, or the new name is taken",
                   rename.from, rename.to);
  memory_limits_ = std::make_unique<MemoryLimits>(*this);
  defragmenter_ = std::make_unique<Defragmenter>(*this);
  migrations_ = std::make_unique<Migrations>(*this);
  if (settings().activedefrag && !Defragmenter::obstacle().empty())
    log::warning("{}", Defragmenter::obstacle());
  apply_settings();
  watch_settings();
}

Server::~Server() {
  for (auto& [id, session] : sessions_) session->peer().close();
  // The cluster's logs are files of the disk that persistence_ has, which ends before cluster_
  // would.
  const std::unique_ptr<ClusterView> ended = std::move(cluster_);
  publications_.set_route(nullptr);
  group_ = nullptr;
  node_ = nullptr;
}

static data::Packing packing_of(const Settings& now) {
  auto size = [](int64_t value) { return static_cast<uint64_t>(std::max<int64_t>(value, 0)); };
  return {.hash_entries = size(now.hash_max_listpack_entries),
          .hash_value_bytes = size(now.hash_max_listpack_value),
          .list_node = now.list_max_listpack_size,
          .list_open_nodes = size(now.list_compress_depth),
          .set_intset_entries = size(now.set_max_intset_entries),
          .set_entries = size(now.set_max_listpack_entries),
          .set_value_bytes = size(now.set_max_listpack_value),
          .zset_entries = size(now.zset_max_listpack_entries),
          .zset_value_bytes = size(now.zset_max_listpack_value),
          .stream_node_bytes = size(now.stream_node_max_bytes),
          .stream_node_entries = size(now.stream_node_max_entries)};
}

void Server::apply_settings() {
  const Settings& now = settings();
  parser_limits_ = {static_cast<size_t>(now.client_query_buffer_limit), now.proto_max_bulk_len};
  notifier_.set_mask(now.notify_keyspace_events);
  slow_log_.shorten(static_cast<size_t>(now.slowlog_max_len));
  slow_threshold_ = INT64_MAX;
  if (now.slowlog_log_slower_than_us >= 0)
    slow_threshold_ = now.slowlog_log_slower_than_us * base::kNanosPerMicro;
  if (now.latency_monitor_threshold_ms > 0)
    slow_threshold_ =
        std::min(slow_threshold_, now.latency_monitor_threshold_ms * base::kNanosPerMilli);
  large_requests_.shorten(static_cast<size_t>(now.commandlog_large_request_max_len));
  large_replies_.shorten(static_cast<size_t>(now.commandlog_large_reply_max_len));
  large_bytes_ = SIZE_MAX;
  for (int64_t bytes : {now.commandlog_request_larger_than, now.commandlog_reply_larger_than})
    if (bytes >= 0) large_bytes_ = std::min(large_bytes_, static_cast<size_t>(bytes));
  // Monitors, HOTKEYS and SLOT-STATS are told on the way of slow commands: others pay one
  // comparison for all.
  slot_stats_->set_active(now.cluster_enabled && now.cluster_slot_stats_enabled);
  if (monitors_.any() || hot_keys_->active() || slot_stats_->active()) slow_threshold_ = INT64_MIN;
  bool frequency = now.maxmemory_policy == EvictionPolicy::volatile_lfu ||
                   now.maxmemory_policy == EvictionPolicy::allkeys_lfu;
  store_.access().set_rules({frequency, now.lfu_log_factor, now.lfu_decay_time_minutes});
  packing_ = packing_of(now);
  if (cluster_) cluster_->settings_changed(now);
  log::set_level(now.loglevel);
}

void Server::watch_settings() {
  auto apply = [this]() -> base::Result<> {
    apply_settings();
    return {};
  };
  config_.on_change({"client-query-buffer-limit",
                     "proto-max-bulk-len",
                     "notify-keyspace-events",
                     "slowlog-max-len",
                     "slowlog-log-slower-than",
                     "commandlog-request-larger-than",
                     "commandlog-reply-larger-than",
                     "commandlog-large-request-max-len",
                     "commandlog-large-reply-max-len",
                     "latency-monitor-threshold",
                     "loglevel",
                     "maxmemory-policy",
                     "lfu-log-factor",
                     "lfu-decay-time",
                     "hash-max-listpack-entries",
                     "hash-max-listpack-value",
                     "list-max-listpack-size",
                     "set-max-intset-entries",
                     "set-max-listpack-entries",
                     "set-max-listpack-value",
                     "zset-max-listpack-entries",
                     "zset-max-listpack-value",
                     "stream-node-max-bytes",
                     "stream-node-max-entries",
                     "cluster-slot-stats-enabled",
                     "cluster-announce-hostname",
                     "cluster-announce-ip",
                     "cluster-announce-port",
                     "cluster-announce-bus-port"},
                    apply);
  config_.on_change({"appendonly", "appendfsync", "aof-timestamp-enabled",
                     "no-appendfsync-on-rewrite", "aof-disable-auto-gc"},
                    [this]() -> base::Result<> {
                      persistence_.apply_settings();
                      return {};
                    });
  config_.on_change({"changes-buffer-size"}, [this]() -> base::Result<> {
    changes_->stream().apply_settings();
    return {};
  });
  config_.on_change({"data-encryption-key-file"}, [this] { return persistence_.load_keys(); });
  config_.on_change({"cluster-secret-file"}, [this] { return cluster_secrets_.load(); });
  config_.on_change({"port", "bind"}, [this, port = settings().port]() mutable -> base::Result<> {
    apply_settings();
    auto done = listen_again();
    if (!done && settings().port == port)
      return base::Error{"Failed to bind to specified addresses."};
    if (done) port = settings().port;
    return done;
  });
  auto secure = [this]() -> base::Result<> {
    auto done = configure_tls();
    if (done) return done;
    log::warning("{}", done.error());
    return base::Error{"Unable to update TLS configuration. Check server logs."};
  };
  config_.on_change(
      {"tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-client-cert-file",
       "tls-client-key-file", "tls-client-key-file-pass", "tls-dh-params-file", "tls-ca-cert-file",
       "tls-ca-cert-dir", "tls-auth-clients", "tls-replication", "tls-cluster", "tls-protocols",
       "tls-ciphers", "tls-ciphersuites", "tls-prefer-server-ciphers", "tls-session-caching",
       "tls-session-cache-size", "tls-session-cache-timeout"},
      secure);
  config_.on_change({"tls-port"}, [this, secure]() -> base::Result<> {
    if (auto done = secure(); !done) return done;
    return reopen(tls_listeners_, true);
  });
  config_.on_change({"activedefrag"}, [this]() -> base::Result<> {
    if (settings().activedefrag && !Defragmenter::obstacle().empty())
      return base::Error{std::string(Defragmenter::obstacle())};
    return {};
  });
  config_.on_change({"replica-read-only"}, [this]() -> base::Result<> {
    replication_->part_changed();
    return {};
  });
  config_.on_change({"requirepass"}, [this]() -> base::Result<> {
    acl_.set_default_password(settings().requirepass);  // connections that are in stay in
    if (node_) node_->documents().own_users_changed();
    return {};
  });
}

void Server::refresh_clock() {
  if (!clock_held_) now_ = host_.clock.wall();
  clock_stamp_ = host_.clock.steady();
}

bool Server::follows() const { return replication_->following() || (group_ && !group_->serves()); }

Bytes Server::refusal_of(const Command& command, const Session& session) const {
  const CommandSpec& spec = *command.spec;
  if (__builtin_expect(persistence_.hampered(), 0)) {
    if (persistence_.loading() && !(spec.flags & kLoading)) return errors::kLoading;
    if (spec.access == Access::write || spec.name == "ping")
      if (Bytes refusal = persistence_.write_refusal(); !refusal.empty()) return refusal;
  }
  if (spec.flags & kNeedsPermission) {
    const bool debug = spec.name == "debug";
    const Permission given =
        debug ? settings().enable_debug_command : settings().enable_module_command;
    if (given == Permission::no || (given == Permission::local && !session.peer().is_loopback()))
      return debug ? errors::kDebugNotAllowed : errors::kModuleNotAllowed;
  }
  if (__builtin_expect(replication_->restricts(), 0))
    if (Bytes refusal = replication_->refusal_of(command, session); !refusal.empty())
      return refusal;
  if (((monitors_.any() && monitors_.has(session)) || session.is_replica()) &&
      (spec.access != Access::none || (spec.flags & kMayReplicate)))
    return errors::kReplicaKeyspace;
  return {};
}

bool Server::add_monitor(Session& session) {
  if (!monitors_.add(session)) return false;
  apply_settings();
  return true;
}

void Server::drop_monitor(const Session& session) {
  if (!monitors_.any()) return;
  monitors_.drop(session);
  apply_settings();
}

void Server::tell_monitors(const Session& session, Args line, const Command* command) {
  if (__builtin_expect(!monitors_.any(), 1)) return;
  if (command && (command->spec->flags & (kSkipMonitor | kAdmin))) return;
  monitors_.show(session, line, host_.clock.wall_micros());
}

void Server::after_commit(Session& session, store::Seq seq) {
  if (seq != 0) session.note_write(seq, group_ ? group_->log_end() : replication_->offset());
}

void Server::note_error(Bytes code) {
  ++stats_.error_replies;
  auto at = stats_.errors.find(code);
  if (at == stats_.errors.end()) {
    if (stats_.errors.size() >= kErrorCodesMax) return;  // scripts can make up any number
    at = stats_.errors.emplace(std::string(code), 0).first;
  }
  ++at->second;
}

void Server::note_slow(Session& session, const Command& command, Args args, base::Nanos elapsed) {
  if (monitors_.any() && !session.resumed())
    monitors_.tell(session, command, args, host_.clock.wall_micros());
  const Settings& limits = settings();
  int64_t micros = elapsed / base::kNanosPerMicro;
  if (limits.slowlog_log_slower_than_us >= 0 && micros >= limits.slowlog_log_slower_than_us &&
      !(command.spec->flags & kSkipSlowLog) && !session.waiting())
    slow_log_.add(args, micros, now_ / 1000, session.peer().remote_address(), session.name,
                  static_cast<size_t>(limits.slowlog_max_len));
  int64_t millis = elapsed / base::kNanosPerMilli;
  if (limits.latency_monitor_threshold_ms > 0 && millis >= limits.latency_monitor_threshold_ms)
    latency_.add(command.spec->flags & kFast ? "fast-command" : "command", millis, now_ / 1000);
  refresh_clock();  // the cached time is stale by what the command took
}

void Server::note_large(Session& session, const Command& command, Args args, size_t request_bytes,
                        size_t reply_bytes) {
  if (command.spec->flags & kSkipSlowLog) return;
  auto note = [&](SlowLog& log, int64_t limit, size_t bytes, int64_t entries_max) {
    if (limit < 0 || bytes < static_cast<size_t>(limit)) return;
    log.add(args, static_cast<int64_t>(bytes), now_ / 1000, session.peer().remote_address(),
            session.name, static_cast<size_t>(entries_max));
  };
  const Settings& limits = settings();
  note(large_requests_, limits.commandlog_request_larger_than, request_bytes,
       limits.commandlog_large_request_max_len);
  note(large_replies_, limits.commandlog_reply_larger_than, reply_bytes,
       limits.commandlog_large_reply_max_len);
}

// --- the end of a turn -------------------------------------------------------------------------

void Server::end_turn() {
  persistence_.begin_turn_end();
  serve_blocked();
  tracking_.end_turn();
  changes_->serve();
  replication_->begin_turn_end();
  if (node_)
    node_->begin_turn_end();
  else if (group_)
    group_->begin_turn_end();
  publications_.turn();
  flush_all();  // replies do not wait for the work below
  if (expires() && periodic_work_ && !expiry_waits() && expiry_due_ <= host_.clock.wall()) expire();
  memory_limits_->end_turn();
  serve_blocked();  // of keys that expired or were evicted
  tracking_.end_turn();
  changes_->serve();
  if (store_.reclaiming() || tracking_.reclaiming()) reclaim();
  if (__builtin_expect(defragmenter_->running() != 0, 0)) defragment();
  persistence_.end_turn();
  replication_->end_turn();
  flush_all();
  bury();
  measure_turn();
  arm_expiry();
}

base::Nanos Server::background_budget(base::Nanos now, base::Nanos wanted) {
  base::Nanos spent = now - host_.loop.turn_start();
  base::Nanos least = std::clamp(spent / kBackgroundShare, kBackgroundMin, kTurnGoal);
  return std::max(least, std::min(wanted, kTurnGoal - spent));
}

void Server::serve_blocked() {
  if (__builtin_expect(blocked_keys_.ready(), 0)) blocked_keys_.serve(now_);
}

// While the log is replayed a deadline that has passed may still be moved by what follows.
bool Server::expires() const { return active_expiry_ && !follows() && !persistence_.loading(); }

void Server::expire() {
  refresh_clock();
  base::Nanos begin = clock_stamp_;
  base::Nanos budget = background_budget(begin, kExpireBudget);
  bool done = false;
  // A commit per batch, so that the work of the sinks counts towards the budget.
  do {
    store_.commits().begin(store::Origin::expiry, now_);
    done = store_.expire_due(now_, kExpireBatch, [&](base::Millis late_ms) {
      const base::Nanos late = std::min(late_ms, kLateMax) * base::kNanosPerMilli;
      stats_.expire_lag.record(late);
      stats_.expire_lag_nanos += late;
    });
    store_.commits().close();
  } while (!done && host_.clock.steady() - begin < budget);
  expiry_due_ = store::kNoDeadline;
  if (!done) ++stats_.expire_time_capped;
  base::Nanos took = host_.clock.steady() - begin;
  stats_.expire_nanos += took;
  int64_t millis = took / base::kNanosPerMilli;
  if (settings().latency_monitor_threshold_ms > 0 &&
      millis >= settings().latency_monitor_threshold_ms)
    latency_.add("expire-cycle", millis, now_ / 1000);
}

void Server::reclaim() {
  base::Nanos begin = host_.clock.steady();
  base::Nanos budget = background_budget(begin, kReclaimBudget);
  while (store_.reclaim() || tracking_.reclaim())
    if (host_.clock.steady() - begin >= budget) break;
  if (store_.reclaiming() || tracking_.reclaiming()) host_.loop.turn_again();
}

void Server::defragment() {
  base::Nanos begin = host_.clock.steady();
  if (defragmenter_->due(begin))
    defragmenter_->work(background_budget(begin, Defragmenter::kSlice));
}

// Sleeps until the wheel has something to do; an earlier deadline re-arms. Deadlines are wall time
// and timers are not, so only the near ones get a timer: ticks see to the far ones.
void Server::arm_expiry() {
  if (!expires()) return;
  base::Millis due = store_.next_expiry();
  if (due == store::kNoDeadline || due >= expiry_due_ || due - now_ > kExpiryTimerMax) return;
  expiry_due_ = due;
  host_.loop.cancel(expiry_timer_);
  base::Millis wait = std::max<base::Millis>(due - host_.clock.wall(), 0);
  expiry_timer_ = host_.loop.after(wait * base::kNanosPerMilli, [this] {
    expiry_timer_ = 0;
    // The wall clock went back: the turn's end arms anew.
    if (host_.clock.wall() < expiry_due_) expiry_due_ = store::kNoDeadline;
  });
}

void Server::flush_all(const Session* except) {
  bool left_out = false;
  // Flushing may close a session or write to others, which queues them again.
  while (!flush_queue_.empty()) {
    std::vector<Session*> queue = std::move(flush_queue_);
    flush_queue_.clear();
    left_out |= except && std::erase(queue, except) > 0;
    for (size_t i = 0; i < queue.size(); i += kFlushedTogether)
      flush_together(std::span(queue).subspan(i, std::min(queue.size() - i, kFlushedTogether)));
  }
  if (left_out) flush_queue_.push_back(const_cast<Session*>(except));
}

// What is gathered of one session stays where it is while others are looked at.
void Server::flush_together(std::span<Session*> sessions) {
  flush_parts_.resize(sessions.size() * kGatherParts);
  sendings_.clear();
  size_t used = 0;
  for (size_t i = 0; i < sessions.size(); ++i) {
    if (i + 1 < sessions.size()) fetch(sessions[i + 1]);
    const auto parts = sessions[i]->begin_flush(std::span(flush_parts_).subspan(used));
    used += parts.size();
    if (!parts.empty()) sendings_.push_back({&sessions[i]->peer(), parts});
  }
  host_.transport.send_all(sendings_);
  auto sent = sendings_.begin();
  for (Session* session : sessions) {
    if (sent == sendings_.end() || sent->peer != &session->peer()) {
      session->flush();
    } else {
      session->end_flush(sent->parts, sent->taken);
      ++sent;
    }
  }
}

// The session of the script is in the middle of a reply: nothing of it is sent, and the bytes it
// received stay where they are, for they are the words of its command.
void Server::serve_while_busy(const Session& busy) {
  nested_scratch_.resize(kScratchBytes);
  host_.loop.hear_nested();
  std::vector<char>().swap(nested_scratch_);
  dispatcher_.forget_ahead();
  persistence_.begin_turn_end();
  flush_all(&busy);
}

void Server::bury() { buried_.clear(); }

void Server::measure_turn() {
  base::Nanos length = host_.clock.steady() - host_.loop.turn_start();
  ++stats_.turns;
  stats_.turn_nanos += length;
  if (length > stats_.turn_max_nanos) stats_.turn_max_nanos = length;
  // That clock is a system call: it is asked once for as many short turns. What they took counts
  // for the longer one behind them, which cannot have taken more than its length.
  unmeasured_ += length;
  if (unmeasured_ < kTurnsMeasured) return;
  unmeasured_ = 0;
  const base::Nanos busy = host_.clock.busy();  // sleeping takes none
  if (busy_ > 0)
    stats_.turn_busy_max_nanos =
        std::max(stats_.turn_busy_max_nanos, std::min(busy - busy_, length));
  busy_ = busy;
}

// --- ten times a second ------------------------------------------------------------------------

void Server::tick() {
  host_.loop.after(kTickInterval, [this] { tick(); });
  if (!periodic_work_) return;
  refresh_clock();
  ++ticks_;
  stats_.commands_rate.sample(stats_.commands, now_);
  stats_.input_rate.sample(stats_.net_input_bytes, now_);
  stats_.output_rate.sample(stats_.net_output_bytes, now_);
  stats_.turns_rate.sample(stats_.turns, now_);
  stats_.turn_micros_rate.sample(static_cast<uint64_t>(stats_.turn_nanos / base::kNanosPerMicro),
                                 now_);
  base::memory_peak();
  persistence_.tick();
  replication_->tick();
  if (node_)
    node_->tick();
  else if (group_)
    group_->tick();
  memory_limits_->tick();
  defragmenter_->tick();
  if (replicas_until_ != 0 && (now_ >= replicas_until_ || replication_->replicas_caught_up()))
    prepare_end();
  if (ticks_ % 10 == 0) {
    close_idle();
    watch_tls_files();
  }
}

void Server::close_idle() {
  int64_t timeout = settings().timeout_seconds;
  for (auto& [id, session] : sessions_) {
    // Flushing looks at the soft output limit.
    if (session->out().size() > 0) session->output_written();
    if (timeout == 0 || session->subscribed() || session->is_replica() ||
        session->postponed() != Postponed::no || monitors_.has(*session))
      continue;
    if (now_ - session->last_command_ms > timeout * 1000) {
      log::verbose("Closing idle client");
      timed_out_.push_back(session.get());
    }
  }
  for (Session* session : timed_out_) session->close_soon();
  timed_out_.clear();
}

// --- users -------------------------------------------------------------------------------------

void Server::reload_acl(host::OnDone done) {
  const std::string path = settings().aclfile;
  host::read_whole_file(host_.disk, path, [this, path, done](const auto& text) {
    if (text) return done(acl_.load(text.value(), path));
    done(base::Error{fmt::format("Error loading ACLs, opening file '{}': {}", path, text.error())});
  });
}

// --- pause -------------------------------------------------------------------------------------

void Server::pause(PauseKind kind, base::Millis until) {
  if (paused() == PauseKind::none) {
    pause_kind_ = kind;
    pause_until_ = until;
  } else {
    if (kind == PauseKind::all) pause_kind_ = kind;
    pause_until_ = std::max(pause_until_, until);
  }
  host_.loop.cancel(pause_timer_);
  pause_timer_ = host_.loop.after((pause_until_ - now_) * base::kNanosPerMilli, [this] {
    pause_timer_ = 0;
    refresh_clock();
    unpause();
  });
}

void Server::unpause() {
  pause_kind_ = PauseKind::none;
  pause_until_ = 0;
  host_.loop.cancel(pause_timer_);
  let_go_on();
}

void Server::freeze(Freeze why, bool on) {
  auto bit = static_cast<uint8_t>(why);
  if (((frozen_ & bit) != 0) == on) return;
  frozen_ ^= bit;
  replication_->link().pause_reads(frozen_ != 0);
  if (frozen_ == 0 && paused() == PauseKind::none) let_go_on();
}

void Server::hold_writes(HoldWrites why, bool on) {
  auto bit = static_cast<uint8_t>(why);
  writes_held_ = static_cast<uint8_t>(on ? writes_held_ | bit : writes_held_ & ~bit);
  if (paused() == PauseKind::none) let_go_on();
}

void Server::let_go_on() {
  if (frozen_ || paused() != PauseKind::none) return;
  std::vector<SessionId> waiting;
  for (auto& [id, session] : sessions_)
    if (session->postponed() == Postponed::paused) waiting.push_back(id);
  for (SessionId id : waiting)
    if (Session* session = find_session(id)) session->resume();
}

bool Server::postpone_if_paused(Session& session, const Command& command, Args args, BlobOf blob_of,
                                void* blob_owner) {
  PauseKind kind = paused();
  if (__builtin_expect(kind == PauseKind::none, 1)) return false;
  auto replicates = [this](const Command& one, Args line) {
    return one.spec->access == Access::write ||
           ((one.spec->flags & kMayReplicate) && scripts_->may_write(one, line));
  };
  bool writes = replicates(command, args);
  if (command.spec->name == "exec")
    for (const QueuedCommand& queued : session.transaction.queue)
      writes |= replicates(*queued.command, queued.line.args());
  if (kind == PauseKind::writes && !writes) return false;
  session.postpone_command(args, blob_of, blob_owner);
  return true;
}

}  // namespace quoll::server
