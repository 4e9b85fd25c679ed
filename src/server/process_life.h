// ProcessLife: what a server owes to the system it runs on: reports of crashes, a word to the
// supervisor when it is ready and when it ends, how gladly it is killed when memory is short, the
// software watchdog, the title that ps shows.
//
// Cost: one look per 100 ms.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "host/host.h"

namespace quoll::server {

class Server;
struct Settings;

// The title of proc-title-template, without blanks at its end.
std::string process_title(const Settings& settings, const std::string& program,
                          const std::string& config_file);

class ProcessLife {
 public:
  explicit ProcessLife(Server& server);
  ~ProcessLife();
  ProcessLife(const ProcessLife&) = delete;
  ProcessLife& operator=(const ProcessLife&) = delete;

  // Connections are taken from now on.
  void ready();

 private:
  void watch();
  void tend_watchdog();
  base::Result<> apply_oom_score();

  Server& server_;
  int oom_score_before_ = 0;  // as the process was started with
  bool oom_score_set_ = false;
  bool following_ = false;  // as of the last oom score
  bool watchdog_on_ = false;
};

}  // namespace quoll::server
