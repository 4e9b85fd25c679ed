#include "server/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>

#include <ctime>
#include <nlohmann/json.hpp>

namespace quoll::server::log {
namespace {

struct State {
  Options options;
  std::shared_ptr<spdlog::logger> logger;
};
std::function<void(const std::string&)>& listener() {
  static std::function<void(const std::string&)> told;
  return told;
}
State& state() {
  static State value;
  return value;
}

constexpr const char* kLevelNames[] = {"debug", "verbose", "notice", "warning"};
constexpr char kLevelMarks[] = {'.', '-', '*', '#'};

std::string legacy_time(int64_t micros) {
  std::time_t seconds = micros / 1'000'000;
  std::tm parts{};
  localtime_r(&seconds, &parts);  // determinism: only the log shows it
  char text[64];
  size_t size = std::strftime(text, sizeof text, "%d %b %Y %H:%M:%S", &parts);
  return fmt::format("{}.{:03}", std::string_view(text, size), micros / 1000 % 1000);
}

std::string iso_time(int64_t micros) {
  std::time_t seconds = micros / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:03}Z", std::string_view(text, size), micros / 1000 % 1000);
}

std::string line_of(const Options& options, LogLevel level, const std::string& text) {
  int64_t micros = options.wall_micros ? options.wall_micros() : 0;
  bool iso = options.timestamps != LogTimestamp::legacy;
  std::string time = iso ? iso_time(micros) : legacy_time(micros);
  auto index = static_cast<size_t>(level);
  switch (options.format) {
    case LogFormat::json:
      return nlohmann::json{{"time", time},
                            {"pid", options.pid},
                            {"role", "primary"},
                            {"level", kLevelNames[index]},
                            {"message", text}}
          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    case LogFormat::logfmt:
      return fmt::format(
          "time=\"{}\" pid={} role=primary level={} message={}", time, options.pid,
          kLevelNames[index],
          nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    case LogFormat::text:
      break;
  }
  return fmt::format("{}:M {} {} {}", options.pid, time, kLevelMarks[index], text);
}

std::shared_ptr<spdlog::sinks::sink> syslog_sink(const Options& options) {
  constexpr int kFacilities[] = {LOG_USER,   LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3,
                                 LOG_LOCAL4, LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7};
  const auto place =
      std::min(static_cast<size_t>(options.syslog_facility), std::size(kFacilities) - 1);
  return std::make_shared<spdlog::sinks::syslog_sink_mt>(options.syslog_ident, LOG_NDELAY,
                                                         kFacilities[place], true);
}

}  // namespace

base::Result<> open(Options options) {
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (options.file.empty()) {
    sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
  } else {
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file);
    } catch (const spdlog::spdlog_ex& failure) {
      return base::Error{fmt::format("Can't open the log file: {}", failure.what())};
    }
  }
  auto logger = std::make_shared<spdlog::logger>("quoll", std::move(sink));
  if (options.syslog) {
    state().logger.reset();  // the end of its sink closes the system's log, which has one name
    logger->sinks().push_back(syslog_sink(options));
  }
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::trace);
  state() = {std::move(options), std::move(logger)};
  return {};
}

base::Result<> reopen() { return open(state().options); }

void set_level(LogLevel level) { state().options.level = level; }

void listen(std::function<void(const std::string& text)> told) { listener() = std::move(told); }

bool enabled(LogLevel level) {
  if (listener() && level >= LogLevel::notice) return true;
  return state().logger && level >= state().options.level;
}

void write(LogLevel level, const std::string& text) {
  if (listener() && level >= LogLevel::notice) listener()(text);
  if (!state().logger || level < state().options.level) return;
  state().logger->info(line_of(state().options, level, text));
}

}  // namespace quoll::server::log
