// The two texts of LATENCY for people: a chart of an event's spikes, and a report with advice.
#pragma once

#include <string>

#include "server/latency_monitor.h"
#include "server/settings.h"

namespace quoll::commands {

// Columns are samples, oldest first; four levels high. Below each stands its age, read downwards:
//
//   command - high 1104 ms, low 13 ms (all time high 1104 ms)
//   --------------------------------------------------------------------------------
//    #
//    |#
//    ||
//   _||
//
//   521
//   sss
std::string latency_graph(const std::string& event, const server::LatencySeries& series,
                          int64_t now_seconds);

std::string latency_diagnosis(const server::LatencyMonitor& monitor,
                              const server::Settings& settings);

}  // namespace quoll::commands
