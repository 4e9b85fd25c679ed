// LatencyMonitor: the last 160 spikes of each event above latency-monitor-threshold, one per second
// at most (the highest), as LATENCY LATEST and HISTORY show them.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::server {

struct LatencySample {
  int64_t unix_seconds;
  int64_t millis;
};

class LatencySeries {
 public:
  static constexpr size_t kSamples = 160;

  void add(int64_t millis, int64_t unix_seconds);
  std::vector<LatencySample> samples() const;  // oldest first
  int64_t max_millis() const { return max_millis_; }
  LatencySample latest() const { return ring_[(next_ + kSamples - 1) % kSamples]; }

 private:
  std::array<LatencySample, kSamples> ring_{};
  size_t next_ = 0;
  int64_t max_millis_ = 0;
};

class LatencyMonitor {
 public:
  void add(base::Bytes event, int64_t millis, int64_t unix_seconds) {
    auto at = series_.find(event);
    if (at == series_.end()) at = series_.emplace(std::string(event), LatencySeries{}).first;
    at->second.add(millis, unix_seconds);
  }
  const std::map<std::string, LatencySeries, std::less<>>& series() const { return series_; }
  // Empties the named events, or all; returns how many there were.
  size_t reset(base::Args events);

 private:
  std::map<std::string, LatencySeries, std::less<>> series_;
};

}  // namespace quoll::server
