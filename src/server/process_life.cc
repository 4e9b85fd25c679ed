#include "server/process_life.h"

#include <fmt/format.h>

#include <algorithm>

#include "host/crash_report.h"
#include "host/startup_pages.h"
#include "host/supervisor.h"
#include "server/crash_witness.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr base::Nanos kWatchInterval = 100 * base::kNanosPerMilli;
constexpr int64_t kWatchdogMinMs = 200;  // the loop looks by every 100 ms
constexpr int kOomScoreMax = 1000;

std::string listening_at(const Settings& settings) {
  const int64_t port = settings.port != 0 ? settings.port : settings.tls_port;
  if (port == 0) return "unixsocket:" + settings.unixsocket;
  const std::string first = settings.bind.empty() ? "*" : settings.bind[0];
  return fmt::format("{}:{}", first, port);
}

}  // namespace

std::string process_title(const Settings& settings, const std::string& program,
                          const std::string& config_file) {
  std::string title;
  Bytes form = settings.proc_title_template;
  while (!form.empty()) {
    const size_t close = form.front() == '{' ? form.find('}') : Bytes::npos;
    if (close == Bytes::npos || form.starts_with("{{")) {
      const size_t taken = form.starts_with("{{") ? 2 : 1;
      title += form.front();
      form.remove_prefix(taken);
      continue;
    }
    const Bytes name = form.substr(1, close - 1);
    if (name == "title") title += program;
    if (name == "listen-addr") title += listening_at(settings);
    if (name == "port") title += std::to_string(settings.port);
    if (name == "tls-port") title += std::to_string(settings.tls_port);
    if (name == "unixsocket") title += settings.unixsocket;
    if (name == "config-file") title += config_file;
    if (name == "server-mode" && settings.cluster_enabled) title += "[cluster]";
    form.remove_prefix(close + 1);
  }
  title.erase(title.find_last_not_of(' ') + 1);
  return title;
}

ProcessLife::ProcessLife(Server& server) : server_(server) {
  set_crash_witness(&server_);
  Config& config = server_.config();
  config.on_change({"crash-log-enabled", "use-exit-on-panic"}, [this]() -> base::Result<> {
    host::catch_crashes(server_.settings().crash_log_enabled);
    host::exit_on_crash(server_.settings().use_exit_on_panic);
    return {};
  });
  config.on_change({"oom-score-adj", "oom-score-adj-values"}, [this]() -> base::Result<> {
    if (apply_oom_score()) return {};
    return base::Error{"Failed to apply new oom_score_adj configuration, check server logs."};
  });
  config.on_change({"watchdog-period"}, [this]() -> base::Result<> {
    tend_watchdog();
    return {};
  });
  host::exit_on_crash(server_.settings().use_exit_on_panic);
  server_.on_ending([] {
    if (host::supervisor() == host::Supervisor::systemd) host::notify_systemd("STOPPING=1\n");
  });
  if (auto score = server_.host().process.oom_score()) oom_score_before_ = score.value();
  (void)apply_oom_score();
  watch();
}

ProcessLife::~ProcessLife() {
  host::arm_watchdog(0);
  set_crash_witness(nullptr);
}

void ProcessLife::ready() {
  host::give_back_startup_pages();
  switch (host::supervisor()) {
    case host::Supervisor::systemd:
      host::notify_systemd("STATUS=Ready to accept connections\nREADY=1\n");
      break;
    case host::Supervisor::upstart:
      log::notice("supervised by upstart, will stop to signal readiness.");
      host::notify_upstart();
      break;
    case host::Supervisor::none:
      break;
  }
}

void ProcessLife::watch() {
  server_.host().loop.after(kWatchInterval, [this] { watch(); });
  if (server_.replication().following() != following_) (void)apply_oom_score();
  tend_watchdog();
}

void ProcessLife::tend_watchdog() {
  const int64_t period = server_.settings().watchdog_period_ms;
  if (period == 0 && !watchdog_on_) return;
  watchdog_on_ = period != 0;
  host::arm_watchdog(
      static_cast<int>(period == 0 ? 0 : std::clamp<int64_t>(period, kWatchdogMinMs, INT32_MAX)));
}

base::Result<> ProcessLife::apply_oom_score() {
  const Settings& settings = server_.settings();
  following_ = server_.replication().following();
  int score = oom_score_before_;
  if (settings.oom_score_adj == OomScoreAdjust::no) {
    if (!oom_score_set_) return {};
  } else {
    const auto given = static_cast<int>(settings.oom_score_adj_values[following_ ? 1 : 0]);
    score = settings.oom_score_adj == OomScoreAdjust::relative ? oom_score_before_ + given : given;
  }
  auto done = server_.host().process.set_oom_score(std::clamp(score, -kOomScoreMax, kOomScoreMax));
  if (!done) {
    log::warning("Unable to write oom_score_adj: {}", done.error());
    return done;
  }
  oom_score_set_ = settings.oom_score_adj != OomScoreAdjust::no;
  return {};
}

}  // namespace quoll::server
