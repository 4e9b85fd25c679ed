// What INFO counts. Plain numbers, written where the thing happens; CONFIG RESETSTAT clears those
// that Redis clears.
#pragma once

#include <array>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/histogram.h"

namespace quoll::server {

// Rate over the last samples of a growing counter, as INFO's instantaneous_* fields.
class RateMeter {
 public:
  void sample(uint64_t total, base::Millis now) {
    if (last_ms_ != 0 && now > last_ms_ && total >= last_total_) {
      samples_[next_++ % kSamples] =
          static_cast<double>(total - last_total_) * 1000.0 / static_cast<double>(now - last_ms_);
    }
    last_total_ = total;
    last_ms_ = now;
  }
  double per_second() const {
    double sum = 0;
    for (double value : samples_) sum += value;
    return sum / kSamples;
  }
  void reset() { *this = RateMeter{}; }

 private:
  static constexpr size_t kSamples = 16;
  std::array<double, kSamples> samples_{};
  size_t next_ = 0;
  uint64_t last_total_ = 0;
  base::Millis last_ms_ = 0;
};

struct Stats {
  uint64_t commands = 0;
  uint64_t connections_received = 0;
  uint64_t connections_rejected = 0;
  uint64_t net_input_bytes = 0;
  uint64_t net_output_bytes = 0;
  uint64_t reads = 0;   // receive events with bytes
  uint64_t writes = 0;  // gathered writes that sent bytes
  uint64_t keyspace_hits = 0;
  uint64_t keyspace_misses = 0;
  uint64_t error_replies = 0;
  uint64_t output_buffer_limit_disconnections = 0;
  uint64_t query_buffer_limit_disconnections = 0;
  uint64_t evicted_clients = 0;             // disconnected by maxmemory-clients
  base::Nanos eviction_exceeded_nanos = 0;  // spent above maxmemory, up to its last end
  uint64_t turns = 0;
  base::Nanos turn_nanos = 0;      // sum of all turns
  base::Nanos turn_max_nanos = 0;  // longest turn since the last reset
  // The most processor time of one: less, when the system let others run in the middle of it.
  base::Nanos turn_busy_max_nanos = 0;
  uint64_t expire_time_capped = 0;   // expiry rounds that used up their budget
  base::Nanos expire_nanos = 0;      // spent in expiry rounds
  base::Histogram expire_lag;        // deadline to removal by the wheel
  base::Nanos expire_lag_nanos = 0;  // the sum of those
  uint64_t defrag_hits = 0;          // blocks moved
  uint64_t defrag_misses = 0;        // blocks looked at and left
  uint64_t defrag_key_hits = 0;      // keys with a block that moved
  uint64_t defrag_key_misses = 0;
  base::Nanos defrag_nanos = 0;
  RateMeter commands_rate;
  RateMeter input_rate;
  RateMeter output_rate;
  RateMeter turns_rate;
  RateMeter turn_micros_rate;
  std::map<std::string, uint64_t, std::less<>> errors;  // by error code
};

}  // namespace quoll::server
