#include "commands/latency_report.h"

#include <doctest/doctest.h>

namespace quoll::commands {
namespace {

constexpr int64_t kNow = 1'700'000'000;

TEST_CASE("a chart has a column per spike, with its age below") {
  server::LatencySeries series;
  series.add(10, kNow - 7200);
  series.add(43, kNow - 120);
  series.add(21, kNow - 5);
  const std::string rule(80, '-');
  CHECK(latency_graph("command", series, kNow) ==
        "command - high 43 ms, low 10 ms (all time high 43 ms)\n" + rule +
            "\n"
            " # \n"
            " | \n"
            " |_\n"
            "_||\n"
            "\n"
            "225\n"
            "hms\n");
}

TEST_CASE("only the latest spikes fit, and equal ones are drawn low") {
  server::LatencySeries series;
  for (int64_t i = 0; i < 100; ++i) series.add(5, kNow - 100 + i);
  const std::string graph = latency_graph("x", series, kNow);
  CHECK(graph.find("\n" + std::string(80, '_') + "\n") != std::string::npos);
  CHECK(graph.find(std::string(81, '_')) == std::string::npos);
}

TEST_CASE("the report says what it knows and no more") {
  server::LatencyMonitor monitor;
  server::Settings settings;
  CHECK(latency_diagnosis(monitor, settings).starts_with("The latency monitor is off."));
  settings.latency_monitor_threshold_ms = 1;
  CHECK(latency_diagnosis(monitor, settings).starts_with("No latency spike was seen"));
  monitor.add("command", 10, kNow);
  monitor.add("command", 30, kNow + 4);
  const std::string text = latency_diagnosis(monitor, settings);
  CHECK(text.find("1. command: 2 latency spikes (average 20ms, mean deviation 10ms, period 2.00 "
                  "sec). Worst all time event 30ms.") != std::string::npos);
  CHECK(text.find("CONFIG SET slowlog-log-slower-than 1000") != std::string::npos);
  CHECK(text.find("expire") == std::string::npos);
}

}  // namespace
}  // namespace quoll::commands
