// Scripts' time limit, slow log, latency, keyspace events.
#include "server/directive.h"
#include "server/directive_special.h"

namespace quoll::server {

namespace {

constexpr Directive kObserveRows[] = {
    {.name = "busy-reply-threshold",
     .alias = "lua-time-limit",
     .value = Integer{&Settings::busy_reply_threshold_ms, 0, kInt64Max}},
    {.name = "lua-enable-deprecated-api",
     .value = Switch{&Settings::lua_enable_deprecated_api},
     .flags = kImmutable | kHidden},
    {.name = "slowlog-log-slower-than",
     .hidden_alias = "commandlog-execution-slower-than",
     .value = Integer{&Settings::slowlog_log_slower_than_us, -1, kInt64Max}},
    {.name = "slowlog-max-len",
     .hidden_alias = "commandlog-slow-execution-max-len",
     .value = Integer{&Settings::slowlog_max_len, 0, kInt64Max}},
    {.name = "commandlog-request-larger-than",
     .value = Integer{&Settings::commandlog_request_larger_than, -1, kInt64Max},
     .flags = kHidden},
    {.name = "commandlog-reply-larger-than",
     .value = Integer{&Settings::commandlog_reply_larger_than, -1, kInt64Max},
     .flags = kHidden},
    {.name = "commandlog-large-request-max-len",
     .value = Integer{&Settings::commandlog_large_request_max_len, 0, kInt64Max},
     .flags = kHidden},
    {.name = "commandlog-large-reply-max-len",
     .value = Integer{&Settings::commandlog_large_reply_max_len, 0, kInt64Max},
     .flags = kHidden},
    {.name = "latency-monitor-threshold",
     .value = Integer{&Settings::latency_monitor_threshold_ms, 0, kInt64Max}},
    {.name = "latency-tracking", .value = Switch{&Settings::latency_tracking}},
    {.name = "latency-tracking-info-percentiles",
     .value = &special::kPercentiles,
     .flags = kMultiArgument | kAlwaysWritten},
    {.name = "notify-keyspace-events", .value = &special::kNotifyEvents},
};

}  // namespace

std::span<const Directive> observe_directives() { return kObserveRows; }

}  // namespace quoll::server
