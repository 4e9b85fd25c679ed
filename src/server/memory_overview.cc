#include "server/memory_overview.h"

#include <algorithm>

#include "base/memory.h"
#include "server/change_readers.h"
#include "server/replication.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {
namespace {

double ratio(size_t part, size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

int64_t difference(size_t a, size_t b) { return static_cast<int64_t>(a) - static_cast<int64_t>(b); }

size_t scaled(uint64_t count, double each) {
  return static_cast<size_t>(static_cast<double>(count) * each);
}

}  // namespace

double MemoryOverview::dataset_percent() const {
  return used > startup ? 100 * ratio(dataset, used - startup) : 0;
}
double MemoryOverview::peak_percent() const { return 100 * ratio(used, peak); }
double MemoryOverview::bytes_per_key() const {
  return keys && used > startup ? ratio(used - startup, keys) : 0;
}
double MemoryOverview::fragmentation_ratio() const {
  return ratio(allocator.active, allocator.allocated);
}
int64_t MemoryOverview::fragmentation_bytes() const {
  return difference(allocator.active, allocator.allocated);
}
double MemoryOverview::allocator_rss_ratio() const {
  return ratio(allocator.resident, allocator.active);
}
int64_t MemoryOverview::allocator_rss_bytes() const {
  return difference(allocator.resident, allocator.active);
}
double MemoryOverview::rss_overhead_ratio() const { return ratio(resident, allocator.resident); }
int64_t MemoryOverview::rss_overhead_bytes() const {
  return difference(resident, allocator.resident);
}
double MemoryOverview::resident_ratio() const { return ratio(resident, used); }
int64_t MemoryOverview::resident_excess() const { return difference(resident, used); }

MemoryOverview memory_overview(Server& server) {
  MemoryOverview view{};
  view.used = base::memory_used();
  view.peak = base::memory_peak();
  view.startup = server.startup_memory();
  view.resident = server.host().process.resident_bytes();
  base::allocator_stats(view.allocator);
  for (const auto& [id, session] : server.sessions())
    (session->is_replica() ? view.replicas : view.clients) += session->footprint();
  // What of the stream is kept only because a replica has not got it yet is that replica's.
  view.backlog = server.replication().feed().backlog().footprint();
  const auto backlog_max = static_cast<size_t>(server.settings().repl_backlog_size);
  const size_t lag = server.replication().replicas().any()
                         ? view.backlog - std::min(view.backlog, backlog_max)
                         : 0;
  view.backlog -= lag;
  view.replicas += server.replication().replicas().buffer_bytes() + lag;
  view.unwritten = server.persistence().waiting_bytes();
  view.changes = server.changes().stream().window().bytes();
  const store::Store& store = server.store();
  for (store::DbIndex db = 0; db < store.databases(); ++db) {
    const uint64_t keys = store.keys(db);
    if (keys == 0) continue;
    const uint64_t expires = store.expires(db);
    const size_t table = sizeof(store::Database) + scaled(keys, kTableBytesPerKey);
    const size_t wheel = scaled(expires, kWheelBytesPerKey);
    view.databases.push_back({db, keys, expires, table, wheel});
    view.keys += keys;
    view.tables += table + wheel;
  }
  const ScriptCache& scripts = server.scripts().cache();
  const ScriptLibraries& libraries = server.scripts().libraries();
  view.scripts = scripts.vm_bytes() + scripts.bytes();
  view.functions = libraries.vm_bytes() + libraries.bytes();
  view.overhead = view.startup + view.clients + view.replicas + view.backlog + view.unwritten +
                  view.changes + view.tables + view.scripts + view.functions;
  if (view.overhead > view.used) view.overhead = view.used;
  view.dataset = view.used - view.overhead;
  return view;
}

size_t key_footprint(const store::Entry& entry, size_t samples) {
  return entry.footprint(samples) + scaled(1, kTableBytesPerKey + 0.5) +
         (entry.has_ttl() ? scaled(1, kWheelBytesPerKey + 0.5) : 0);
}

}  // namespace quoll::server
