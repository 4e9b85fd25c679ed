#include "server/directive_special.h"

#include <charconv>

#include "base/numbers.h"
#include "base/text.h"
#include "server/notify_flags.h"

namespace quoll::server::special {

namespace {

using base::Error;

constexpr size_t kBindAddressesMax = 16;
constexpr int64_t kOomScoreMax = 2000;

constexpr ChoiceName kShutdownFlags[] = {{"default", 0},
                                         {"save", kShutdownSave},
                                         {"nosave", kShutdownNosave},
                                         {"now", kShutdownNow},
                                         {"force", kShutdownForce}};

std::string joined(Words words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

bool is_single_empty(Words words) { return words.size() == 1 && words[0].empty(); }

// What strtoll takes when the whole text must be used: blanks, a sign, digits.
bool parse_loose_int(Bytes text, int64_t& value) {
  while (!text.empty() && base::is_blank(text.front())) text.remove_prefix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty()) return value = 0, true;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// --- bind

Result<> write_bind(Settings& settings, Words words, Source) {
  if (words.size() > kBindAddressesMax) return Error{"Too many bind addresses specified."};
  settings.bind.clear();
  if (!is_single_empty(words)) settings.bind.assign(words.begin(), words.end());
  return {};
}

std::string read_bind(const Settings& settings) { return joined(settings.bind); }

std::vector<std::string> bind_lines(const Settings& settings) {
  return {settings.bind.empty() ? "bind \"\"" : "bind " + joined(settings.bind)};
}

// --- save

Result<> write_save(Settings& settings, Words words, Source source) {
  const Words numbers = is_single_empty(words) ? Words{} : words;
  std::vector<SavePoint> points;
  if (numbers.size() % 2 != 0) return Error{"Invalid save parameters"};
  for (size_t i = 0; i < numbers.size(); i += 2) {
    SavePoint point{};
    if (!parse_loose_int(numbers[i], point.seconds) || point.seconds < 1 ||
        !parse_loose_int(numbers[i + 1], point.changes) || point.changes < 0) {
      return Error{"Invalid save parameters"};
    }
    points.push_back(point);
  }
  if (source != Source::file_again || numbers.empty()) settings.save_points.clear();
  settings.save_points.insert(settings.save_points.end(), points.begin(), points.end());
  return {};
}

std::string read_save(const Settings& settings) {
  std::string text;
  for (const SavePoint& point : settings.save_points) {
    if (!text.empty()) text += ' ';
    text += std::to_string(point.seconds) + ' ' + std::to_string(point.changes);
  }
  return text;
}

std::vector<std::string> save_lines(const Settings& settings) {
  if (settings.save_points.empty()) return {"save \"\""};
  std::vector<std::string> lines;
  for (const SavePoint& point : settings.save_points) {
    lines.push_back("save " + std::to_string(point.seconds) + ' ' + std::to_string(point.changes));
  }
  return lines;
}

// --- client-output-buffer-limit

constexpr Bytes kClassNames[kClientClasses] = {"normal", "slave", "pubsub"};

bool find_class(Bytes name, size_t& place) {
  if (base::equals_ignoring_case(name, "replica")) name = kClassNames[1];
  for (place = 0; place < kClientClasses; ++place) {
    if (base::equals_ignoring_case(name, kClassNames[place])) return true;
  }
  return false;
}

Result<> write_output_limits(Settings& settings, Words words, Source) {
  constexpr size_t kWordsPerClass = 4;
  if (words.size() % kWordsPerClass != 0) {
    return Error{"Wrong number of arguments in buffer limit configuration."};
  }
  OutputLimits limits = settings.client_output_buffer_limit;
  for (size_t i = 0; i < words.size(); i += kWordsPerClass) {
    size_t place = 0;
    if (!find_class(words[i], place)) {
      return Error{"Invalid client class specified in buffer limit configuration."};
    }
    OutputLimit limit{};
    if (!base::parse_memory(words[i + 1], limit.hard) ||
        !base::parse_memory(words[i + 2], limit.soft) ||
        !parse_loose_int(words[i + 3], limit.soft_seconds) || limit.soft_seconds < 0) {
      return Error{"Error in hard, soft or soft_seconds setting in buffer limit configuration."};
    }
    limits[place] = limit;
  }
  settings.client_output_buffer_limit = limits;
  return {};
}

std::string read_output_limits(const Settings& settings) {
  std::string text;
  for (size_t i = 0; i < kClientClasses; ++i) {
    const OutputLimit& limit = settings.client_output_buffer_limit[i];
    if (i > 0) text += ' ';
    text += std::string(kClassNames[i]) + ' ' + std::to_string(limit.hard) + ' ' +
            std::to_string(limit.soft) + ' ' + std::to_string(limit.soft_seconds);
  }
  return text;
}

std::vector<std::string> output_limit_lines(const Settings& settings) {
  std::vector<std::string> lines;
  for (size_t i = 0; i < kClientClasses; ++i) {
    const OutputLimit& limit = settings.client_output_buffer_limit[i];
    const Bytes name = i == 1 ? Bytes("replica") : kClassNames[i];
    lines.push_back("client-output-buffer-limit " + std::string(name) + ' ' +
                    format_memory(limit.hard) + ' ' + format_memory(limit.soft) + ' ' +
                    std::to_string(limit.soft_seconds));
  }
  return lines;
}

// --- notify-keyspace-events

Result<> write_notify_events(Settings& settings, Words words, Source) {
  const auto mask = notify::parse(words[0]);
  if (!mask) return Error{"Invalid event class character. Use 'Ag$lshzxeKEtmdn'."};
  settings.notify_keyspace_events = *mask;
  return {};
}

std::string read_notify_events(const Settings& settings) {
  return notify::format(settings.notify_keyspace_events);
}

std::vector<std::string> notify_event_lines(const Settings& settings) {
  return {"notify-keyspace-events " + base::quoted(read_notify_events(settings))};
}

// --- oom-score-adj-values

Result<> write_oom_scores(Settings& settings, Words words, Source) {
  auto values = settings.oom_score_adj_values;
  if (words.size() != values.size()) return Error{"wrong number of arguments"};
  for (size_t i = 0; i < values.size(); ++i) {
    if (!parse_loose_int(words[i], values[i]) || values[i] < -kOomScoreMax ||
        values[i] > kOomScoreMax) {
      return Error{"Invalid oom-score-adj-values, elements must be between -2000 and 2000."};
    }
  }
  settings.oom_score_adj_values = values;
  return {};
}

// --- maxmemory

Result<> write_maxmemory(Settings& settings, Words words, Source) {
  const bool by_itself = base::equals_ignoring_case(words[0], "auto");
  uint64_t bytes = settings.memory_for_auto;
  if (!by_itself && !base::parse_memory(words[0], bytes))
    return Error{"argument must be a memory value"};
  settings.maxmemory = bytes;
  settings.maxmemory_auto = by_itself;
  return {};
}

// Tools read a number here, so "auto" shows what it stands for.
std::string read_maxmemory(const Settings& settings) { return std::to_string(settings.maxmemory); }

std::vector<std::string> maxmemory_lines(const Settings& settings) {
  return {"maxmemory " + (settings.maxmemory_auto ? "auto" : format_memory(settings.maxmemory))};
}

std::string read_oom_scores(const Settings& settings) {
  std::string text;
  for (int64_t value : settings.oom_score_adj_values) {
    if (!text.empty()) text += ' ';
    text += std::to_string(value);
  }
  return text;
}

// --- latency-tracking-info-percentiles

Result<> write_percentiles(Settings& settings, Words words, Source) {
  std::vector<double> values;
  for (const std::string& word : is_single_empty(words) ? Words{} : words) {
    double value = 0;
    if (!base::parse_double(word, value)) {
      return Error{"Invalid latency-tracking-info-percentiles parameters"};
    }
    if (value < 0 || value > 100) {
      return Error{"latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"};
    }
    values.push_back(value);
  }
  settings.latency_tracking_info_percentiles = std::move(values);
  return {};
}

std::string read_percentiles(const Settings& settings) {
  std::string text;
  for (double value : settings.latency_tracking_info_percentiles) {
    if (!text.empty()) text += ' ';
    text += format_percentile(value);
  }
  return text;
}

std::vector<std::string> percentile_lines(const Settings& settings) {
  const std::string values = read_percentiles(settings);
  return {"latency-tracking-info-percentiles " + (values.empty() ? "\"\"" : values)};
}

// --- replicaof

Result<> write_replicaof(Settings& settings, Words words, Source) {
  if (words.size() != 2) return Error{"wrong number of arguments"};
  settings.replicaof = {};
  if (base::equals_ignoring_case(words[0], "no") && base::equals_ignoring_case(words[1], "one")) {
    return {};
  }
  int64_t port = 0;
  if (!parse_loose_int(words[1], port) || port < 0 || port > kPortMax) {
    return Error{"Invalid master port"};
  }
  settings.replicaof = {.host = words[0], .port = port};
  return {};
}

std::string read_replicaof(const Settings& settings) {
  if (settings.replicaof.host.empty()) return {};
  return settings.replicaof.host + ' ' + std::to_string(settings.replicaof.port);
}

// --- dir. Entering it is up to the caller: see Config.

Result<> write_dir(Settings& settings, Words words, Source) {
  settings.dir = words[0];
  return {};
}

std::string read_dir(const Settings& settings) { return settings.dir; }

std::vector<std::string> dir_lines(const Settings& settings) {
  return {"dir " + base::quoted(settings.dir)};
}

// --- shutdown-on-sigint, shutdown-on-sigterm

Result<> parse_shutdown_flags(Words words, int64_t& flags) {
  const Error unknown{
      "argument(s) must be one of the following: default, save, nosave, now, force"};
  if (words.empty()) return unknown;
  int64_t mask = 0;
  for (const std::string& word : words) {
    const ChoiceName* found = nullptr;
    for (const ChoiceName& known : kShutdownFlags) {
      if (base::equals_ignoring_case(word, known.name)) found = &known;
    }
    if (found == nullptr) return unknown;
    mask |= found->value;
  }
  if ((mask & kShutdownSave) != 0 && (mask & kShutdownNosave) != 0) {
    return Error{"shutdown options SAVE and NOSAVE can't be used simultaneously"};
  }
  flags = mask;
  return {};
}

std::string format_shutdown_flags(int64_t flags) {
  if (flags == 0) return "default";
  std::string text;
  for (const ChoiceName& known : kShutdownFlags) {
    if ((flags & known.value) == 0) continue;
    if (!text.empty()) text += ' ';
    text += known.name;
  }
  return text;
}

template <int64_t Settings::*Member>
constexpr Special shutdown_flags() {
  return {.write = [](Settings& settings, Words words,
                      Source) { return parse_shutdown_flags(words, settings.*Member); },
          .read = [](const Settings& settings) { return format_shutdown_flags(settings.*Member); }};
}

}  // namespace

constinit const Special kBind = {write_bind, read_bind, bind_lines};
constinit const Special kSave = {write_save, read_save, save_lines};
constinit const Special kOutputLimits = {write_output_limits, read_output_limits,
                                         output_limit_lines};
constinit const Special kNotifyEvents = {write_notify_events, read_notify_events,
                                         notify_event_lines};
constinit const Special kOomScores = {write_oom_scores, read_oom_scores};
constinit const Special kMaxmemory = {write_maxmemory, read_maxmemory, maxmemory_lines};
constinit const Special kPercentiles = {write_percentiles, read_percentiles, percentile_lines};
constinit const Special kReplicaOf = {write_replicaof, read_replicaof};
constinit const Special kDir = {write_dir, read_dir, dir_lines};
constinit const Special kShutdownOnSigint = shutdown_flags<&Settings::shutdown_on_sigint>();
constinit const Special kShutdownOnSigterm = shutdown_flags<&Settings::shutdown_on_sigterm>();

}  // namespace quoll::server::special
