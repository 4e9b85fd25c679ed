// CLUSTER SLOT-STATS: keys and costs of this group's slots, in the words of Redis 8.2 and Valkey 8.
// Without cluster-slot-stats-enabled only the keys are counted. memory-bytes is not kept: it would
// be a sum over all keys of a slot, or a cost of every write.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "commands/cluster_family.h"
#include "server/server.h"
#include "server/slot_stats.h"

namespace quoll::commands::clusters {

using namespace server;

namespace {

using SlotMetric = uint64_t (*)(Call& call, unsigned slot);

uint64_t key_count(Call& call, unsigned slot) { return call.store.keys_in_slot(0, slot); }
uint64_t cpu_usec(Call& call, unsigned slot) {
  return static_cast<uint64_t>(call.server.slot_stats().of(slot).nanos / base::kNanosPerMicro);
}
uint64_t bytes_in(Call& call, unsigned slot) { return call.server.slot_stats().of(slot).bytes_in; }
uint64_t bytes_out(Call& call, unsigned slot) {
  return call.server.slot_stats().of(slot).bytes_out;
}

struct SlotMetricName {
  Bytes name;
  SlotMetric value;
};
constexpr SlotMetricName kSlotMetrics[] = {{"key-count", key_count},
                                           {"cpu-usec", cpu_usec},
                                           {"network-bytes-in", bytes_in},
                                           {"network-bytes-out", bytes_out}};

void reply_slots(Call& call, std::span<const unsigned> slots) {
  const uint64_t reply_start = call.session.out().end_offset();
  const size_t metrics = call.server.slot_stats().active() ? std::size(kSlotMetrics) : 1;
  call.reply.array(slots.size());
  for (const unsigned slot : slots) {
    call.reply.array(2);
    call.reply.integer(slot);
    call.reply.map(metrics);
    for (size_t i = 0; i < metrics; ++i) {
      call.reply.bulk(kSlotMetrics[i].name);
      call.reply.integer(static_cast<int64_t>(kSlotMetrics[i].value(call, slot)));
    }
  }
  call.server.dispatcher().hold_view(call.session, reply_start);
}

std::vector<unsigned> own_slots(Call& call, unsigned first, unsigned last) {
  std::vector<unsigned> slots;
  for (unsigned slot = first; slot <= last; ++slot)
    if (call.server.cluster()->has_slot(slot)) slots.push_back(slot);
  return slots;
}

bool slot_at_index(Call& call, size_t i, int64_t& slot) {
  if (base::parse_int(call.arg(i), slot) && slot >= 0 && slot < int64_t{kSlots}) return true;
  call.reply.error("ERR Invalid or out of range slot");
  return false;
}

void reply_slots_range(Call& call) {
  int64_t first, last;
  if (!slot_at_index(call, 3, first) || !slot_at_index(call, 4, last)) return;
  if (first > last)
    return call.reply.error(
        fmt::format("ERR Start slot number {} is greater than end slot number {}", first, last));
  reply_slots(call, own_slots(call, static_cast<unsigned>(first), static_cast<unsigned>(last)));
}

struct SlotOrder {
  SlotMetric metric = nullptr;
  bool descending = true;
  int64_t limit = kSlots;
};

// False: the error was replied.
bool take_order(Call& call, SlotOrder& order) {
  const auto metric = std::ranges::find_if(kSlotMetrics, [&](const SlotMetricName& one) {
    return base::equals_ignoring_case(call.arg(3), one.name);
  });
  if (metric == std::end(kSlotMetrics) ||
      (metric->value != key_count && !call.server.slot_stats().active())) {
    call.reply.error("ERR Unrecognized sort metric for ORDERBY.");
    return false;
  }
  order.metric = metric->value;
  unsigned limits = 0, directions = 0;
  for (size_t i = 4; i < call.argc(); ++i) {
    const bool ascending = base::equals_ignoring_case(call.arg(i), "asc");
    if (base::equals_ignoring_case(call.arg(i), "limit") && i + 1 < call.argc()) {
      ++limits;
      if (!base::parse_int(call.arg(++i), order.limit) || order.limit < 1 ||
          order.limit > int64_t{kSlots}) {
        call.reply.error("ERR Limit has to lie in between 1 and 16384 (maximum number of slots).");
        return false;
      }
    } else if (ascending || base::equals_ignoring_case(call.arg(i), "desc")) {
      ++directions;
      order.descending = !ascending;
    } else {
      return call.syntax_error(), false;
    }
    if (limits > 1 || directions > 1) {
      call.reply.error("ERR Multiple filters of the same type are disallowed.");
      return false;
    }
  }
  return true;
}

// Slots that are equal stand in the order of their numbers.
void reply_ordered(Call& call) {
  SlotOrder order;
  if (!take_order(call, order)) return;
  std::vector<unsigned> slots = own_slots(call, 0, kSlots - 1);
  std::vector<uint64_t> values(kSlots);
  for (const unsigned slot : slots) values[slot] = order.metric(call, slot);
  std::ranges::stable_sort(slots, [&](unsigned a, unsigned b) {
    return order.descending ? values[a] > values[b] : values[a] < values[b];
  });
  slots.resize(std::min(slots.size(), static_cast<size_t>(order.limit)));
  reply_slots(call, slots);
}

}  // namespace

void cluster_slot_stats(Call& call) {
  if (call.argc() == 5 && base::equals_ignoring_case(call.arg(2), "slotsrange"))
    return reply_slots_range(call);
  if (call.argc() >= 4 && base::equals_ignoring_case(call.arg(2), "orderby"))
    return reply_ordered(call);
  call.subcommand_error();
}

}  // namespace quoll::commands::clusters
