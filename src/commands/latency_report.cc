#include "commands/latency_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace quoll::commands {
namespace {

using server::LatencySample;

constexpr size_t kColumns = 80;
constexpr int kRows = 4;
constexpr int kStepsPerRow = 3;  // '_', '|', '#' within a row
constexpr int64_t kMinute = 60, kHour = 3600, kDay = 86400;

std::string age(int64_t seconds) {
  if (seconds < kMinute) return fmt::format("{}s", seconds);
  if (seconds < kHour) return fmt::format("{}m", seconds / kMinute);
  if (seconds < kDay) return fmt::format("{}h", seconds / kHour);
  return fmt::format("{}d", seconds / kDay);
}

// The mark of a column in a row, counted from the bottom.
char mark(int height, int row) {
  constexpr char kMarks[kStepsPerRow] = {'_', '|', '#'};
  const int above = height - row * kStepsPerRow;
  if (above >= kStepsPerRow) return '|';
  return above < 0 ? ' ' : kMarks[above];
}

struct Figures {
  int64_t low = INT64_MAX;
  int64_t high = 0;
  int64_t average = 0;
  int64_t deviation = 0;  // mean distance from the average
  double period = 0;      // seconds between spikes

  explicit Figures(const std::vector<LatencySample>& samples) {
    if (samples.empty()) return;
    const auto count = static_cast<int64_t>(samples.size());
    int64_t sum = 0;
    for (const LatencySample& sample : samples) {
      low = std::min(low, sample.millis);
      high = std::max(high, sample.millis);
      sum += sample.millis;
    }
    average = sum / count;
    sum = 0;
    for (const LatencySample& sample : samples) sum += std::abs(sample.millis - average);
    deviation = sum / count;
    period = static_cast<double>(samples.back().unix_seconds - samples.front().unix_seconds) /
             static_cast<double>(count);
  }
};

}  // namespace

std::string latency_graph(const std::string& event, const server::LatencySeries& series,
                          int64_t now_seconds) {
  std::vector<LatencySample> samples = series.samples();
  if (samples.size() > kColumns) samples.erase(samples.begin(), samples.end() - kColumns);
  const Figures figures(samples);
  std::string text = fmt::format("{} - high {} ms, low {} ms (all time high {} ms)\n{:-<80}\n",
                                 event, figures.high, figures.low, series.max_millis(), "");
  const int64_t range = std::max<int64_t>(figures.high - figures.low, 1);
  for (int row = kRows - 1; row >= 0; --row) {
    for (const LatencySample& sample : samples) {
      constexpr int kTop = kRows * kStepsPerRow - 1;
      text += mark(static_cast<int>((sample.millis - figures.low) * kTop / range), row);
    }
    text += '\n';
  }
  text += '\n';
  size_t lines = 0;
  std::vector<std::string> ages;
  for (const LatencySample& sample : samples) {
    ages.push_back(age(std::max<int64_t>(now_seconds - sample.unix_seconds, 0)));
    lines = std::max(lines, ages.back().size());
  }
  for (size_t line = 0; line < lines; ++line) {
    for (const std::string& one : ages) text += line < one.size() ? one[line] : ' ';
    text += '\n';
  }
  return text;
}

std::string latency_diagnosis(const server::LatencyMonitor& monitor,
                              const server::Settings& settings) {
  if (monitor.series().empty()) {
    if (settings.latency_monitor_threshold_ms > 0)
      return "No latency spike was seen: no event took longer than latency-monitor-threshold.\n";
    return "The latency monitor is off. \"CONFIG SET latency-monitor-threshold <milliseconds>\" "
           "turns it on: events that take longer are then recorded.\n";
  }
  std::string text = "Latency spikes were seen in this server:\n\n";
  bool commands = false;
  int number = 0;
  for (const auto& [event, series] : monitor.series()) {
    const std::vector<LatencySample> samples = series.samples();
    const Figures figures(samples);
    text += fmt::format(
        "{}. {}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2f} sec). Worst "
        "all time event {}ms.\n",
        ++number, event, samples.size(), figures.average, figures.deviation, figures.period,
        series.max_millis());
    commands |= event == "command" || event == "fast-command";
  }
  text += "\nWhat may help:\n\n";
  const int64_t slow_us = settings.slowlog_log_slower_than_us;
  if (commands && (slow_us < 0 || slow_us > settings.latency_monitor_threshold_ms * 1000))
    text += fmt::format(
        "- The slow log leaves out commands that the latency monitor counts. Use \"CONFIG SET "
        "slowlog-log-slower-than {}\" to see which they are.\n",
        settings.latency_monitor_threshold_ms * 1000);
  if (commands)
    text +=
        "- SLOWLOG GET names the commands that take long: usually those that read or write very "
        "many elements at once.\n";
  if (monitor.series().contains("expire-cycle"))
    text += "- Very many keys expire in the same moment. Spread their deadlines a little.\n";
  text += "- Look whether the machine is short of processor time or memory for this process.\n";
  return text;
}

}  // namespace quoll::commands
