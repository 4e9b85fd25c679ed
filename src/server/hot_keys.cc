#include "server/hot_keys.h"

#include "base/hash.h"

namespace quoll::server {
namespace {

unsigned digits(uint64_t number) {
  unsigned count = 1;
  for (; number >= 10; number /= 10) ++count;
  return count;
}

// "*N CRLF" and "$n CRLF bytes CRLF" per argument.
uint64_t wire_bytes(Args args) {
  uint64_t sum = 3 + digits(args.size());
  for (Bytes argument : args) sum += 5 + digits(argument.size()) + argument.size();
  return sum;
}

}  // namespace

void HotKeys::start(const Plan& plan, base::Millis now, host::Process& process, uint64_t seed) {
  const size_t counters = plan.count * kHotKeysPerReported;
  const auto cpu = process.cpu_times();
  session_.emplace(Session{.plan = plan,
                           .start_ms = now,
                           .end_ms = 0,
                           .cpu_at_start = cpu,
                           .cpu_at_end = cpu,
                           .by_nanos = base::HeavyHitters(counters),
                           .by_bytes = base::HeavyHitters(counters)});
  state_ = seed | 1;
}

void HotKeys::stop(base::Millis now, host::Process& process) {
  if (!active()) return;
  session_->end_ms = now;
  session_->cpu_at_end = process.cpu_times();
}

bool HotKeys::end_due(base::Millis now, host::Process& process) {
  if (!active() || session_->plan.duration_ms == 0) return false;
  const base::Millis end = session_->start_ms + session_->plan.duration_ms;
  if (now < end) return false;
  stop(end, process);
  return true;
}

// xorshift64 (Marsaglia 2003).
bool HotKeys::sampled() {
  if (session_->plan.sample == 1) return true;
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return state_ % session_->plan.sample == 0;
}

void HotKeys::record(Args args, std::span<const KeyArg> keys, base::Nanos elapsed,
                     uint64_t reply_bytes) {
  if (keys.empty()) return;
  const uint64_t bytes = wire_bytes(args) + reply_bytes;
  session_->nanos += elapsed;
  session_->bytes += bytes;
  if (!sampled()) return;
  for (const KeyArg& key : keys) {
    const Bytes name = args[key.index];
    const uint64_t hash = base::hash_key(name);
    if (session_->plan.cpu)
      session_->by_nanos.add(name, hash, static_cast<uint64_t>(elapsed) / keys.size());
    if (session_->plan.net) session_->by_bytes.add(name, hash, bytes / keys.size());
  }
}

}  // namespace quoll::server
