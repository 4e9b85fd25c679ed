#include "tests/sim/fault_plan.h"

#include <charconv>

namespace quoll::sim {
namespace {

struct Knob {
  std::string_view name;
  int64_t FaultPlan::*member;
};

constexpr Knob kKnobs[] = {
    {"latency_min_us", &FaultPlan::latency_min_us},
    {"latency_max_us", &FaultPlan::latency_max_us},
    {"chunk_bytes_max", &FaultPlan::chunk_bytes_max},
    {"window_bytes", &FaultPlan::window_bytes},
    {"short_send_ppm", &FaultPlan::short_send_ppm},
    {"reset_ppm", &FaultPlan::reset_ppm},
    {"clog_ppm", &FaultPlan::clog_ppm},
    {"clog_max_ms", &FaultPlan::clog_max_ms},
    {"datagram_loss_ppm", &FaultPlan::datagram_loss_ppm},
    {"datagram_copy_ppm", &FaultPlan::datagram_copy_ppm},
    {"datagram_delay_max_us", &FaultPlan::datagram_delay_max_us},
    {"partition_every_ms", &FaultPlan::partition_every_ms},
    {"partition_max_ms", &FaultPlan::partition_max_ms},
    {"disk_latency_min_us", &FaultPlan::disk_latency_min_us},
    {"disk_latency_max_us", &FaultPlan::disk_latency_max_us},
    {"slow_disk_ppm", &FaultPlan::slow_disk_ppm},
    {"slow_disk_max_ms", &FaultPlan::slow_disk_max_ms},
    {"failed_append_ppm", &FaultPlan::failed_append_ppm},
    {"failed_sync_ppm", &FaultPlan::failed_sync_ppm},
    {"flipped_bit_ppm", &FaultPlan::flipped_bit_ppm},
    {"disk_bytes_max", &FaultPlan::disk_bytes_max},
    {"torn_writes", &FaultPlan::torn_writes},
    {"drift_ppm", &FaultPlan::drift_ppm},
    {"clock_jump_every_ms", &FaultPlan::clock_jump_every_ms},
    {"clock_jump_max_ms", &FaultPlan::clock_jump_max_ms},
    {"crash_every_ms", &FaultPlan::crash_every_ms},
    {"down_max_ms", &FaultPlan::down_max_ms},
};

struct NamedPlan {
  std::string_view name;
  std::string_view settings;
};

constexpr NamedPlan kPlans[] = {
    {"calm", ""},
    // Every byte arrives, but in any pieces, late, and through a narrow window.
    {"choppy",
     "latency_min_us=20,latency_max_us=4000,chunk_bytes_max=97,window_bytes=1500,"
     "short_send_ppm=300000,clog_ppm=2000,clog_max_ms=200"},
    {"resets", "choppy,reset_ppm=3000"},
    {"datagrams", "datagram_loss_ppm=200000,datagram_copy_ppm=100000,datagram_delay_max_us=20000"},
    {"split", "partition_every_ms=2000,partition_max_ms=1500"},
    {"disk",
     "disk_latency_min_us=10,disk_latency_max_us=8000,slow_disk_ppm=10000,slow_disk_max_ms=900,"
     "failed_append_ppm=2000,failed_sync_ppm=5000"},
    {"rot", "flipped_bit_ppm=20000"},
    {"full", "disk_bytes_max=65536"},
    {"clock", "drift_ppm=500,clock_jump_every_ms=5000,clock_jump_max_ms=3000"},
    {"crash", "crash_every_ms=8000,down_max_ms=1500"},
    {"storm", "resets,datagrams,split,disk,clock,crash"},
};

base::Result<> apply(FaultPlan& plan, std::string_view text) {
  while (!text.empty()) {
    std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(word.size() < text.size() ? word.size() + 1 : word.size());
    size_t equals = word.find('=');
    bool known = false;
    if (equals == std::string_view::npos) {
      for (const NamedPlan& named : kPlans) {
        if (named.name != word) continue;
        known = true;
        if (auto applied = apply(plan, named.settings); !applied) return applied;
      }
    } else {
      std::string_view number = word.substr(equals + 1);
      int64_t value = 0;
      auto parsed = std::from_chars(number.data(), number.data() + number.size(), value);
      bool numeric = parsed.ec == std::errc{} && parsed.ptr == number.data() + number.size();
      for (const Knob& knob : kKnobs) {
        if (knob.name != word.substr(0, equals) || !numeric || value < 0) continue;
        known = true;
        plan.*knob.member = value;
      }
    }
    if (!known) return base::Error{"unknown fault plan or setting '" + std::string(word) + "'"};
  }
  return {};
}

}  // namespace

base::Result<FaultPlan> FaultPlan::parse(std::string_view text) {
  FaultPlan plan;
  if (auto applied = apply(plan, text); !applied) return base::Error{applied.error()};
  if (plan.latency_max_us < plan.latency_min_us) plan.latency_max_us = plan.latency_min_us;
  if (plan.disk_latency_max_us < plan.disk_latency_min_us) {
    plan.disk_latency_max_us = plan.disk_latency_min_us;
  }
  if (plan.window_bytes < 1) return base::Error{"window_bytes must be positive"};
  return plan;
}

std::vector<std::string_view> FaultPlan::names() {
  std::vector<std::string_view> names;
  for (const NamedPlan& plan : kPlans) names.push_back(plan.name);
  return names;
}

}  // namespace quoll::sim
