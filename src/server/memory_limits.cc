#include "server/memory_limits.h"

#include <algorithm>
#include <cmath>

#include "base/client_memory.h"
#include "server/change_readers.h"
#include "server/client_attributes.h"
#include "server/group.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {
namespace {

using store::EvictionRules;

constexpr uint64_t kSmallMaxmemory = 1 << 20;  // bytes; below, the log asks whether it is meant
constexpr base::Nanos kTurnBudget = 2;         // time limits of a command per turn
// Redis's formula for the tenacity, in us: 50 a step up to 10, then 15 % more each, 100 is endless.
constexpr double kTenacityStep = 50, kTenacityKnee = 10, kTenacityGrowth = 1.15;
constexpr int64_t kTenacityEndless = 100;

EvictionRules rules_of(const Settings& settings) {
  using enum EvictionPolicy;
  using By = EvictionRules::By;
  EvictionRules rules;
  rules.samples = static_cast<size_t>(settings.maxmemory_samples);
  switch (settings.maxmemory_policy) {
    case allkeys_lru:
    case volatile_lru:
      rules.by = By::recency;
      break;
    case allkeys_lfu:
    case volatile_lfu:
      rules.by = By::frequency;
      break;
    case volatile_ttl:
      rules.by = By::deadline;
      break;
    case allkeys_random:
    case volatile_random:
    case noeviction:
      rules.by = By::chance;
  }
  rules.only_expiring = settings.maxmemory_policy != allkeys_lru &&
                        settings.maxmemory_policy != allkeys_lfu &&
                        settings.maxmemory_policy != allkeys_random;
  return rules;
}

}  // namespace

MemoryLimits::MemoryLimits(Server& server) : server_(server), eviction_(server.store()) {
  eviction_.set_seed(server.host().random.draw());
  resolve_auto();
  apply_settings();
  const Settings& settings = server.settings();
  if (settings.maxmemory > 0 && settings.maxmemory < kSmallMaxmemory)
    log::warning(
        "WARNING: You specified a maxmemory value that is less than 1MB (current value is {} "
        "bytes). Are you sure this is what you really want?",
        settings.maxmemory);
  server.config().on_change(
      {"maxmemory", "maxmemory-policy", "maxmemory-samples", "maxmemory-clients"},
      [this]() -> base::Result<> {
        apply_settings();
        if (size_t over = excess(); over > 0)
          log::warning(
              "WARNING: the new maxmemory value set via CONFIG SET ({}) is smaller than the "
              "current "
              "memory usage ({}). This will result in key eviction and/or the inability to accept "
              "new write commands depending on the maxmemory-policy.",
              server_.settings().maxmemory, server_.settings().maxmemory + over);
        return {};
      });
}

void MemoryLimits::apply_settings() {
  const Settings& settings = server_.settings();
  eviction_.set_rules(rules_of(settings));
  evicts_ = settings.maxmemory_policy != EvictionPolicy::noeviction;
  clients_fruitless_ = 0;
  if (settings.maxmemory == 0) {
    out_of_memory_ = false;
    debt_ = 0;
    account(Outcome::enough);
  }
}

// --- maxmemory auto ----------------------------------------------------------------------------

void MemoryLimits::resolve_auto() {
  Config& config = server_.config();
  auto_looked_ms_ = server_.now();
  host::Process& process = server_.host().process;
  const size_t container = process.container_memory_bytes();
  const size_t machine = process.machine_memory_bytes();
  const bool contained = container != 0 && container < machine;
  const uint64_t resolved = (contained ? container : machine) / 100 * kAutoPercent;
  const bool news = config.maxmemory_auto && config.maxmemory != resolved;
  config.memory_for_auto = resolved;
  if (!news) return;
  config.maxmemory = resolved;
  log::notice("maxmemory auto is {} bytes: {} % of {}", resolved, kAutoPercent,
              contained ? "the container's limit" : "the machine's memory");
}

void MemoryLimits::tick() {
  if (server_.settings().maxmemory_auto && server_.now() - auto_looked_ms_ >= kAutoInterval)
    resolve_auto();
  clients_fruitless_ = 0;
}

// --- how much there is -------------------------------------------------------------------------

size_t MemoryLimits::not_counted() const {
  const Replication& replication = server_.replication();
  const ScriptCache& scripts = server_.scripts().cache();
  const ScriptLibraries& libraries = server_.scripts().libraries();
  return base::ClientMemory::bytes() + server_.sessions().size() * sizeof(Session) +
         replication.feed().backlog().footprint() + replication.replicas().buffer_bytes() +
         server_.persistence().waiting_bytes() + server_.changes().stream().window().bytes() +
         server_.store().kept_bytes() + scripts.vm_bytes() + scripts.bytes() +
         libraries.vm_bytes() + libraries.bytes();
}

// Bytes of data above the limit, if `more` were data, too.
size_t MemoryLimits::excess(size_t more) const {
  const uint64_t limit = server_.settings().maxmemory;
  size_t used = base::memory_used();
  if (limit == 0 || used + more <= limit) return 0;
  used -= std::min(used, not_counted());
  return used + more > limit ? used + more - limit : 0;
}

// Nothing is evicted while the data must not change, or changes only as a primary says.
bool MemoryLimits::may_evict() const {
  const Persistence& persistence = server_.persistence();
  if (persistence.loading() || persistence.syncing() || server_.paused() != PauseKind::none)
    return false;
  if (server_.group() && !server_.group()->serves()) return false;
  return !(server_.replication().following() && server_.settings().replica_ignore_maxmemory);
}

int64_t MemoryLimits::exceeded_ms() const {
  if (exceeded_since_ == 0) return 0;
  return (server_.host().clock.steady() - exceeded_since_) / base::kNanosPerMilli;
}

int64_t MemoryLimits::exceeded_total_ms() const {
  return server_.stats().eviction_exceeded_nanos / base::kNanosPerMilli + exceeded_ms();
}

// --- keys --------------------------------------------------------------------------------------

base::Nanos MemoryLimits::time_limit() const {
  const int64_t tenacity = server_.settings().maxmemory_eviction_tenacity;
  if (tenacity >= kTenacityEndless) return INT64_MAX / kTurnBudget;
  const double steps = static_cast<double>(tenacity);
  double micros = kTenacityStep * std::min(steps, kTenacityKnee);
  if (steps > kTenacityKnee) micros *= std::pow(kTenacityGrowth, steps - kTenacityKnee);
  return static_cast<base::Nanos>(micros) * base::kNanosPerMicro;
}

bool MemoryLimits::evict_batch() {
  store::Store& store = server_.store();
  store.commits().begin(store::Origin::eviction, server_.now());
  bool found = true;
  for (size_t i = 0; found && i < kEvictionBatch && !store.reclaiming(); ++i) {
    found = eviction_.evict_one(server_.now());
    if (excess() == 0) break;
  }
  store.commits().close();
  return found;
}

// `only_growth`: the turn's budget is used up, so no more than what came on top of the debt.
MemoryLimits::Outcome MemoryLimits::make_room(base::Nanos limit, bool only_growth, size_t more) {
  store::Store& store = server_.store();
  const base::Nanos begin = server_.host().clock.steady();
  Outcome outcome = Outcome::enough;
  for (size_t over; (over = excess(more)) > 0;) {
    if (only_growth && over <= debt_ + more) {
      outcome = Outcome::busy;
      break;
    }
    if (store.reclaiming()) {
      store.reclaim();
    } else if (!evicts_ || !evict_batch()) {
      outcome = Outcome::exhausted;
      break;
    }
    if (server_.host().clock.steady() - begin >= limit && excess(more) > 0) {
      outcome = Outcome::busy;
      break;
    }
  }
  spent_ += server_.host().clock.steady() - begin;
  debt_ = outcome == Outcome::busy ? excess() : 0;
  account(outcome);
  return outcome;
}

void MemoryLimits::account(Outcome outcome) {
  const bool exceeded = outcome != Outcome::enough;
  if (exceeded == (exceeded_since_ != 0)) return;
  const base::Nanos now = server_.host().clock.steady();
  if (!exceeded) server_.stats().eviction_exceeded_nanos += now - exceeded_since_;
  exceeded_since_ = exceeded ? std::max<base::Nanos>(now, 1) : 0;
}

namespace {

bool has_queued_need(const Session& session) {
  for (const QueuedCommand& queued : session.transaction.queue)
    if (queued.command->spec->flags & kDenyOom) return true;
  return false;
}

// What the client has sent and is about to become data: until then it is not counted.
size_t bytes_to_store(const Session& session, const Command& command) {
  if (command.spec->name == "exec" && session.transaction.open) {
    size_t bytes = 0;
    for (const QueuedCommand& queued : session.transaction.queue)
      if (queued.command->spec->flags & kDenyOom) bytes += queued.line.bytes();
    return bytes;
  }
  const bool stores = (command.spec->flags & kDenyOom) && !session.transaction.open;
  return stores ? session.request_bytes() : 0;
}

// Queueing takes memory whatever the command.
bool needs_memory(const Session& session, const Command& command) {
  const CommandSpec& spec = *command.spec;
  if (!session.transaction.open) return spec.flags & kDenyOom;
  if (spec.name == "exec") return has_queued_need(session);
  return spec.name != "discard" && spec.name != "multi" && spec.name != "quit" &&
         spec.name != "reset";
}

}  // namespace

bool MemoryLimits::admit(const Session& session, const Command& command) {
  out_of_memory_ = false;
  const bool limited = server_.settings().maxmemory != 0 && may_evict();
  const size_t more = limited ? bytes_to_store(session, command) : 0;
  if (!limited || excess(more) == 0) {
    debt_ = 0;
    account(Outcome::enough);
    return true;
  }
  if (more > server_.settings().maxmemory) {  // no room could be made
    out_of_memory_ = true;
    return !needs_memory(session, command);
  }
  const base::Nanos limit = time_limit();
  const base::Nanos turn = server_.host().loop.turn_start();
  if (turn != std::exchange(turn_, turn)) spent_ = 0;
  out_of_memory_ = make_room(limit, spent_ >= limit * kTurnBudget, more) == Outcome::exhausted;
  return !out_of_memory_ || !needs_memory(session, command);
}

bool MemoryLimits::out_of_memory() const {
  return out_of_memory_ && server_.settings().maxmemory != 0;
}

void MemoryLimits::end_turn() {
  if (client_limit() != 0) limit_clients();
  if (server_.settings().maxmemory == 0 || !evicts_ || !may_evict() || excess() == 0) return;
  const base::Nanos turn = server_.host().loop.turn_start();
  if (turn != std::exchange(turn_, turn)) spent_ = 0;
  // At least one batch per turn, however small the budget.
  const base::Nanos left = time_limit() * kTurnBudget - spent_;
  if ((left > 0 || spent_ == 0) && make_room(left, false) != Outcome::busy) return;
  if (debt_ > 0) server_.host().loop.turn_again();
}

// --- clients -----------------------------------------------------------------------------------

uint64_t MemoryLimits::client_limit() const {
  const Settings& settings = server_.settings();
  const int64_t set = settings.maxmemory_clients;
  if (set == 0 || (set < 0 && settings.maxmemory == 0)) return 0;
  const uint64_t limit =
      set > 0 ? static_cast<uint64_t>(set) : settings.maxmemory / 100 * static_cast<uint64_t>(-set);
  return std::max(limit, kClientMemoryMin);
}

// The largest first, until the rest is within the limit. The process-wide sum tells when a look at
// every session is worth it.
void MemoryLimits::limit_clients() {
  const uint64_t limit = client_limit();
  const size_t about = base::ClientMemory::bytes() + server_.sessions().size() * sizeof(Session);
  if (about <= limit || about <= clients_fruitless_) return;
  struct Holder {
    size_t bytes;
    Session* session;
  };
  std::vector<Holder> holders;
  size_t sum = 0;
  for (const auto& [id, session] : server_.sessions()) {
    if (session->is_replica()) continue;  // their buffers have limits of their own
    const size_t bytes = session->footprint();
    sum += bytes;
    if (!session->no_evict) holders.push_back({bytes, session.get()});
  }
  std::sort(holders.begin(), holders.end(), [](const Holder& a, const Holder& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.session->id < b.session->id;
  });
  for (const Holder& holder : holders) {
    if (sum <= limit) break;
    log::notice("Evicting client: id={} addr={} name={} tot-mem={}", holder.session->id,
                holder.session->peer().remote_address(), holder.session->name, holder.bytes);
    ++server_.stats().evicted_clients;
    sum -= holder.bytes;
    holder.session->close_soon();
  }
  clients_fruitless_ = about;
}

}  // namespace quoll::server
