// The process itself: working directory, log, signals, operating system.
#include <algorithm>

#include "server/directive.h"
#include "server/directive_special.h"

namespace quoll::server {

namespace {

constexpr int64_t kHzMin = 1;
constexpr int64_t kHzMax = 500;

constexpr ChoiceName kSupervision[] = {{"upstart", number(Supervision::upstart)},
                                       {"systemd", number(Supervision::systemd)},
                                       {"auto", number(Supervision::detect)},
                                       {"no", number(Supervision::none)}};
constexpr ChoiceName kLogLevels[] = {{"debug", number(LogLevel::debug)},
                                     {"verbose", number(LogLevel::verbose)},
                                     {"notice", number(LogLevel::notice)},
                                     {"warning", number(LogLevel::warning)},
                                     {"nothing", number(LogLevel::nothing), false}};
constexpr ChoiceName kLogFormats[] = {{"text", number(LogFormat::text)},
                                      {"json", number(LogFormat::json)},
                                      {"logfmt", number(LogFormat::logfmt)},
                                      {"legacy", number(LogFormat::text), false}};
constexpr ChoiceName kLogTimestamps[] = {{"legacy", number(LogTimestamp::legacy)},
                                         {"iso8601", number(LogTimestamp::iso8601)}};
constexpr ChoiceName kOomScoreAdjust[] = {{"no", number(OomScoreAdjust::no)},
                                          {"yes", number(OomScoreAdjust::relative)},
                                          {"relative", number(OomScoreAdjust::relative)},
                                          {"absolute", number(OomScoreAdjust::absolute)}};
struct TitleVariable {
  Bytes name;
  bool may_be_empty;
};

// {title} {listen-addr} ... : every name in braces must be known, "{{" is a brace, and the title
// must not come out empty.
Result<> check_title(Bytes text) {
  constexpr TitleVariable kVariables[] = {
      {"title", true},     {"listen-addr", false}, {"server-mode", true}, {"port", false},
      {"tls-port", false}, {"unixsocket", true},   {"config-file", true}};
  const base::Error wrong{"template format is invalid or contains unknown variables"};
  bool filled = false;
  while (!text.empty()) {
    if (!text.starts_with('{') || text.starts_with("{{")) {
      filled = true;
      text.remove_prefix(text.starts_with('{') ? 2 : 1);
      continue;
    }
    const size_t close = text.find('}');
    if (close == Bytes::npos) return wrong;
    const Bytes name = text.substr(1, close - 1);
    const auto known = std::ranges::find(kVariables, name, &TitleVariable::name);
    if (known == std::end(kVariables)) return wrong;
    filled = filled || !known->may_be_empty;
    text.remove_prefix(close + 1);
  }
  if (!filled) return wrong;
  return {};
}

constexpr ChoiceName kFacilityNames[] = {{"user", 0},   {"local0", 1}, {"local1", 2},
                                         {"local2", 3}, {"local3", 4}, {"local4", 5},
                                         {"local5", 6}, {"local6", 7}, {"local7", 8}};

constexpr Directive kProcessRows[] = {
    {.name = "databases",
     .value = Integer{&Settings::databases, 1, kInt32Max},
     .flags = kImmutable},
    {.name = "dir", .value = &special::kDir, .flags = kProtected | kDenyLoading | kAlwaysWritten},
    {.name = "daemonize", .value = Switch{&Settings::daemonize}, .flags = kImmutable},
    {.name = "supervised",
     .value = choice<&Settings::supervised>(kSupervision),
     .flags = kImmutable},
    {.name = "pidfile", .value = Text{&Settings::pidfile}, .flags = kImmutable},
    {.name = "loglevel", .value = choice<&Settings::loglevel>(kLogLevels)},
    {.name = "logfile", .value = Text{&Settings::logfile, false}, .flags = kImmutable},
    {.name = "log-format", .value = choice<&Settings::log_format>(kLogFormats)},
    {.name = "log-timestamp-format",
     .value = choice<&Settings::log_timestamp_format>(kLogTimestamps)},
    {.name = "syslog-enabled", .value = Switch{&Settings::syslog_enabled}, .flags = kImmutable},
    {.name = "syslog-ident", .value = Text{&Settings::syslog_ident, false}, .flags = kImmutable},
    {.name = "syslog-facility",
     .value = choice<&Settings::syslog_facility>(kFacilityNames),
     .flags = kImmutable},
    {.name = "crash-log-enabled", .value = Switch{&Settings::crash_log_enabled}},
    {.name = "crash-memcheck-enabled", .value = Switch{&Settings::crash_memcheck_enabled}},
    {.name = "use-exit-on-panic", .value = Switch{&Settings::use_exit_on_panic}, .flags = kHidden},
    {.name = "enable-debug-assert",
     .value = Switch{&Settings::enable_debug_assert},
     .flags = kImmutable | kHidden},
    {.name = "hide-user-data-from-log",
     .value = Switch{&Settings::hide_user_data_from_log},
     .flags = kHidden},
    {.name = "always-show-logo", .value = Switch{&Settings::always_show_logo}, .flags = kImmutable},
    {.name = "set-proc-title", .value = Switch{&Settings::set_proc_title}, .flags = kImmutable},
    {.name = "proc-title-template",
     .value = Text{&Settings::proc_title_template, false, check_title}},
    {.name = "locale-collate",
     .value = Text{&Settings::locale_collate, false},
     .no_effect = "texts are compared by their bytes"},
    {.name = "ignore-warnings",
     .value = Text{&Settings::ignore_warnings, false},
     .no_effect = "no start is refused for a warning"},
    {.name = "disable-thp", .value = Switch{&Settings::disable_thp}, .flags = kImmutable},
    {.name = "oom-score-adj", .value = choice<&Settings::oom_score_adj>(kOomScoreAdjust)},
    {.name = "oom-score-adj-values", .value = &special::kOomScores, .flags = kMultiArgument},
    {.name = "hz",
     .value = Integer{&Settings::hz, 0, kInt32Max, Notation::decimal, kHzMin, kHzMax}},
    {.name = "dynamic-hz",
     .value = Switch{&Settings::dynamic_hz},
     .no_effect = "clients are looked after whenever something is due"},
    {.name = "shutdown-timeout",
     .value = Integer{&Settings::shutdown_timeout_seconds, 0, kInt32Max}},
    {.name = "shutdown-on-sigint", .value = &special::kShutdownOnSigint, .flags = kMultiArgument},
    {.name = "shutdown-on-sigterm", .value = &special::kShutdownOnSigterm, .flags = kMultiArgument},
    {.name = "watchdog-period",
     .value = Integer{&Settings::watchdog_period_ms, 0, kInt32Max},
     .flags = kHidden},
};

}  // namespace

std::span<const Directive> process_directives() { return kProcessRows; }

}  // namespace quoll::server
