#include "server/latency_monitor.h"

namespace quoll::server {

void LatencySeries::add(int64_t millis, int64_t unix_seconds) {
  if (millis > max_millis_) max_millis_ = millis;
  LatencySample& last = ring_[(next_ + kSamples - 1) % kSamples];
  if (last.unix_seconds == unix_seconds) {
    if (millis > last.millis) last.millis = millis;
    return;
  }
  ring_[next_] = {unix_seconds, millis};
  next_ = (next_ + 1) % kSamples;
}

std::vector<LatencySample> LatencySeries::samples() const {
  std::vector<LatencySample> found;
  for (size_t i = 0; i < kSamples; ++i) {
    const LatencySample& sample = ring_[(next_ + i) % kSamples];
    if (sample.unix_seconds != 0) found.push_back(sample);
  }
  return found;
}

size_t LatencyMonitor::reset(base::Args events) {
  size_t count = 0;
  if (events.empty()) {
    count = series_.size();
    series_.clear();
    return count;
  }
  for (base::Bytes event : events) {
    auto at = series_.find(event);
    if (at == series_.end()) continue;
    series_.erase(at);
    ++count;
  }
  return count;
}

}  // namespace quoll::server
