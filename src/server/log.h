// The server's log: lines in Redis's format ("pid:M 21 Nov 2026 08:00:00.123 * text") or as JSON or
// logfmt, to a file or standard output. spdlog does the writing.
//
// Process-wide, because a line may come from any part; the roof opens it once.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <string>

#include "base/result.h"
#include "server/config_value.h"

namespace quoll::server::log {

struct Options {
  std::string file;  // empty: standard output
  LogLevel level = LogLevel::notice;
  LogFormat format = LogFormat::text;
  LogTimestamp timestamps = LogTimestamp::legacy;
  std::function<int64_t()> wall_micros;  // unix time in microseconds
  int pid = 0;
  bool syslog = false;  // there as well
  std::string syslog_ident;
  int syslog_facility = 1;  // place in {user, local0 ... local7}
};

base::Result<> open(Options options);
// Opens the same file again (after log rotation).
base::Result<> reopen();
void set_level(LogLevel level);
// Hears every line from notice on, wherever else it goes; for a world in which many servers share
// the process. Empty: nobody does.
void listen(std::function<void(const std::string& text)> told);
bool enabled(LogLevel level);
void write(LogLevel level, const std::string& text);

template <class... Values>
void debug(fmt::format_string<Values...> form, Values&&... values) {
  if (enabled(LogLevel::debug))
    write(LogLevel::debug, fmt::format(form, std::forward<Values>(values)...));
}
template <class... Values>
void verbose(fmt::format_string<Values...> form, Values&&... values) {
  if (enabled(LogLevel::verbose))
    write(LogLevel::verbose, fmt::format(form, std::forward<Values>(values)...));
}
template <class... Values>
void notice(fmt::format_string<Values...> form, Values&&... values) {
  if (enabled(LogLevel::notice))
    write(LogLevel::notice, fmt::format(form, std::forward<Values>(values)...));
}
template <class... Values>
void warning(fmt::format_string<Values...> form, Values&&... values) {
  if (enabled(LogLevel::warning))
    write(LogLevel::warning, fmt::format(form, std::forward<Values>(values)...));
}

}  // namespace quoll::server::log
