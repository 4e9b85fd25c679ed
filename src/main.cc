// The roof: reads the configuration, builds the parts, connects them, runs the loop.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "base/allocator.h"
#include "commands/table.h"
#include "host/crash_report.h"
#include "host/supervisor.h"
#include "host/uv_host.h"
#include "host/uv_process.h"
#include "server/admin_port.h"
#include "server/backups.h"
#include "server/command_line.h"
#include "server/crash_witness.h"
#include "server/log.h"
#include "server/process_life.h"
#include "server/server.h"
#include "server/version.h"
#include "store/database.h"

namespace quoll {
namespace {

using base::Bytes;

std::string working_directory() {
  char path[4096];
  return getcwd(path, sizeof path) ? path : "/";
}

void print_usage() {
  std::puts(
      "Usage: quoll-server [/path/to/quoll.conf] [options] [-]\n"
      "       quoll-server - (read config from stdin)\n"
      "       quoll-server -v or --version\n"
      "       quoll-server -h or --help\n\n"
      "Examples:\n"
      "       quoll-server (run the server with default conf)\n"
      "       echo 'maxmemory 128mb' | quoll-server -\n"
      "       quoll-server /etc/quoll/6379.conf\n"
      "       quoll-server --port 7777\n"
      "       quoll-server /etc/quoll.conf --loglevel verbose -\n");
}

bool answered(const std::vector<Bytes>& arguments) {
  if (arguments.size() != 1) return false;
  if (arguments[0] == "-v" || arguments[0] == "--version") {
    std::printf("Quoll server v=%s redis=%s bits=%zu\n", server::kQuollVersion,
                server::kRedisVersion, sizeof(void*) * 8);
    return true;
  }
  if (arguments[0] != "-h" && arguments[0] != "--help") return false;
  print_usage();
  return true;
}

base::Result<> open_log(const server::Settings& settings, host::Clock& clock) {
  return server::log::open({.file = settings.logfile,
                            .level = settings.loglevel,
                            .format = settings.log_format,
                            .timestamps = settings.log_timestamp_format,
                            .wall_micros = [&clock] { return clock.wall_micros(); },
                            .pid = static_cast<int>(getpid()),
                            .syslog = settings.syslog_enabled,
                            .syslog_ident = settings.syslog_ident,
                            .syslog_facility = static_cast<int>(settings.syslog_facility)});
}

void greet(const server::Config& config) {
  server::log::warning("oO0OoO0OoO0Oo Quoll is starting oO0OoO0OoO0Oo");
  server::log::warning("Quoll version={}, bits={}, pid={}, just started", server::kQuollVersion,
                       sizeof(void*) * 8, getpid());
  if (config.file_path().empty()) {
    server::log::warning(
        "Warning: no config file specified, using the default config. In order to specify a config "
        "file use quoll-server /path/to/quoll.conf");
  } else {
    server::log::warning("Configuration loaded");
  }
  for (const std::string& warning : config.warnings()) server::log::warning("{}", warning);
  if (config.always_show_logo)
    server::log::notice("Quoll {} Running in {} mode Port: {} PID: {}", server::kQuollVersion,
                        config.cluster_enabled ? "cluster" : "standalone", config.port, getpid());
}

int fail(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  return 1;
}

// Before nobody reads the standard error any more.
bool can_append(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "ae");
  return file && std::fclose(file) == 0;
}

// Leaves the terminal: the starter exits with 0, the server goes on in a session of its own.
void go_background() {
  pid_t child = fork();
  if (child != 0) _exit(child > 0 ? 0 : 1);
  setsid();
  int null = open("/dev/null", O_RDWR);
  if (null < 0) return;
  for (int stream = 0; stream <= 2; ++stream) dup2(null, stream);
  if (null > 2) close(null);
}

// The file that names the process while it lives. Failing to write it is a warning, as in Redis.
class PidFile {
 public:
  explicit PidFile(std::string path) : path_(std::move(path)) {
    if (path_.empty()) return;
    if (std::FILE* file = std::fopen(path_.c_str(), "we")) {
      std::fprintf(file, "%d\n", static_cast<int>(getpid()));
      std::fclose(file);
    } else {
      server::log::warning("Failed to write PID file: {}", std::strerror(errno));
      path_.clear();
    }
  }
  PidFile(const PidFile&) = delete;
  ~PidFile() {
    const bool removed = !path_.empty() && unlink(path_.c_str()) == 0;
    if (removed && !quiet_) server::log::notice("Removing the pid file.");
  }
  // After a failure the last line of the log is the one that tells it.
  void say_nothing() { quiet_ = true; }

 private:
  std::string path_;
  bool quiet_ = false;
};

// What the directive says is done now and whenever it changes.
void follow(server::Server& server, Bytes directive, const std::function<void()>& apply) {
  apply();
  server.config().on_change({directive}, [apply]() -> base::Result<> {
    apply();
    return {};
  });
}

// Pages that became free go back to the system from a thread of jemalloc's own: behind the deletion
// of gigabytes that would hold up the loop for tens of milliseconds.
void follow_background_purge(server::Server& server) {
  follow(server, "jemalloc-bg-thread", [&server] {
    int64_t threads = 1;
    int64_t on = server.settings().jemalloc_bg_thread;
    // The number is refused while a thread runs, which then has been set before.
    (void)base::allocator_number("max_background_threads", &threads);
    auto set = base::allocator_number("background_thread", &on);
    if (!set && on)
      server::log::notice("The memory allocator has no background thread: {}", set.error());
  });
}

// Rules that are wrong whatever commands exist; the others are found when the users are made.
base::Result<> check_user(const server::UserLine& line) {
  const server::CommandTable table(commands::families());
  const server::AclRules rules{table, false};
  server::AclUser user(line.name, rules);
  std::vector<std::string> merged;
  size_t open_at = 0;
  if (!server::merge_selectors(std::vector<Bytes>(line.rules.begin(), line.rules.end()), merged,
                               open_at))
    return base::Error{fmt::format("Unmatched parenthesis in acl selector starting at '{}'.",
                                   line.rules[open_at])};
  for (const std::string& rule : merged) {
    const server::RuleError error = user.apply(rule, rules);
    if (error != server::RuleError::none && error != server::RuleError::unknown_command)
      return base::Error{std::string(server::rule_error_text(error))};
  }
  return {};
}

// Redis's rule: who is supervised stays in the foreground.
void find_supervisor(const server::Settings& settings) {
  using host::Supervisor;
  Supervisor who = Supervisor::none;
  if (settings.supervised != server::Supervision::none) who = host::find_supervisor();
  if (settings.supervised == server::Supervision::systemd && who != Supervisor::systemd)
    who = Supervisor::none;
  if (settings.supervised == server::Supervision::upstart && who != Supervisor::upstart)
    who = Supervisor::none;
  host::set_supervisor(who);
}

void catch_crashes(const server::Settings& settings) {
  static const std::string product = fmt::format("Quoll {}", server::kQuollVersion);
  host::set_crash_options({.product = product.c_str(),
                           .log_file = settings.logfile.c_str(),
                           .witness = server::tell_crash});
  host::catch_crashes(settings.crash_log_enabled);
}

int run(const std::vector<Bytes>& arguments, const std::string& program) {
  server::Config config(server::FileAccess::of_system(), working_directory());
  std::string product = fmt::format("Quoll {}", server::kQuollVersion);
  server::LoadChecks checks;
  checks.user = check_user;
  auto loaded = config.load(server::parse_command_line(arguments), product, checks);
  if (!loaded) return fail(loaded.error());
  find_supervisor(config);
  const bool supervised = host::supervisor() != host::Supervisor::none;
  // Before the loop exists: it does not survive a fork.
  if (!config.logfile.empty() && !can_append(config.logfile))
    return fail(std::string("Can't open the log file: ") + std::strerror(errno));
  if (config.daemonize && !supervised) go_background();
  std::string pidfile = config.pidfile;
  if (pidfile.empty() && config.daemonize) pidfile = "/var/run/quoll.pid";

  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);  // until the server can answer it
  host::UvHost uv;
  host::Host host = uv.host();
  if (auto opened = open_log(config, host.clock); !opened) return fail(opened.error());
  catch_crashes(config);
  greet(config);
  if (config.supervised != server::Supervision::none && !supervised)
    server::log::warning("supervised is set, but no supervisor is named by the environment");
  if (host::supervisor() == host::Supervisor::systemd)
    server::log::warning(
        "supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec "
        "and "
        "TimeoutStopSec in your service unit.");
  if (config.set_proc_title)
    host::set_process_title(server::process_title(config, program, config.file_path()));
  PidFile named(pidfile);
  base::process_secret = base::HashSecret::drawn([&] { return host.random.draw(); });

  int exit_code = 0;
  {
    server::Server server(host, std::move(config), commands::families());
    server::ProcessLife life(server);
    server::AdminPort admin(server);
    server.persistence().backups().set_upload(uv.upload());
    follow_background_purge(server);
    follow(server, "bind-source-addr", [&] { uv.set_source(server.settings().bind_source_addr); });
    follow(server, "io-uring", [&] { uv.use_ring(server.settings().io_uring); });
    server.on_stop([&](int code) {
      exit_code = code;
      uv.stop();
    });
    auto end_by = [&](const char* name, int64_t how) {
      if (server.shutting_down()) {
        server::log::warning("You insist... exiting now.");
        exit_code = 1;
        return uv.stop();
      }
      server.shut_down(fmt::format("Received {} scheduling shutdown...", name),
                       server::ending_of(how));
    };
    uv.on_signal(SIGTERM, [&] { end_by("SIGTERM", server.settings().shutdown_on_sigterm); });
    uv.on_signal(SIGHUP, [&] { server.hang_up(); });
    uv.on_signal(SIGINT, [&] { end_by("SIGINT", server.settings().shutdown_on_sigint); });
    server::log::warning("Server initialized");
    if (auto listening = admin.start(); !listening) {
      server::log::warning("{}", listening.error());
      return 1;
    }
    auto started = server.start([&](base::Result<> ready) {
      if (ready) {
        server::log::notice("Ready to accept connections");
        return life.ready();
      }
      exit_code = 1;
      uv.stop();
    });
    if (!started) {
      server::log::warning("{}", started.error());
      return 1;
    }
    uv.run();
  }
  if (exit_code != 0) named.say_nothing();
  return exit_code;
}

}  // namespace
}  // namespace quoll

int main(int argc, char** argv) {
  const std::string program = argv[0];
  argv = quoll::host::adopt_arguments(argc, argv);
  std::vector<quoll::base::Bytes> arguments(argv + 1, argv + argc);
  if (quoll::answered(arguments)) return 0;
  return quoll::run(arguments, program);
}
