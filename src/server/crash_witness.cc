#include "server/crash_witness.h"

#include "host/crash_report.h"
#include "server/client_attributes.h"
#include "server/directive.h"
#include "server/info.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr size_t kArgumentsShown = 32;
constexpr size_t kArgumentBytesShown = 128;
constexpr size_t kClientsShown = 100;

// Those that change which code runs.
constexpr Bytes kTellingSettings[] = {"appendonly",
                                      "appendfsync",
                                      "aof-use-rdb-preamble",
                                      "rdb-version",
                                      "maxmemory",
                                      "maxmemory-policy",
                                      "replica-read-only",
                                      "repl-diskless-load",
                                      "repl-diskless-sync",
                                      "proto-max-bulk-len",
                                      "sanitize-dump-payload",
                                      "client-query-buffer-limit",
                                      "latency-tracking",
                                      "notify-keyspace-events"};

Server* told = nullptr;

void client_list(const host::CrashText& out, const Call& call) {
  out.put("\n------ CLIENT LIST OUTPUT ------\n");
  size_t shown = 0;
  std::string lines;
  for (const auto& [id, session] : call.server.sessions()) {
    if (++shown > kClientsShown) break;
    append_client_line(lines, call, *session);
    lines += '\n';
  }
  out.put(lines);
  if (shown > kClientsShown)
    out.print("... and %zu more\n", call.server.sessions().size() - kClientsShown);
}

// The words of a command up to the subcommand say nothing about users' data.
bool may_show(const Call& call, size_t argument) {
  if (call.server.dispatcher().is_redacted(argument)) return false;
  if (!call.server.settings().hide_user_data_from_log || argument == 0) return true;
  return argument == 1 && (call.command.parent || call.command.spec->name == "debug");
}

void current_client(const host::CrashText& out, const Call& call) {
  out.put("\n------ CURRENT CLIENT INFO ------\n");
  std::string line;
  append_client_line(line, call, call.session);
  out.put(line);
  out.put("\n");
  out.print("argc: '%zu'\n", call.argc());
  for (size_t i = 0; i < call.argc() && i < kArgumentsShown; ++i) {
    const Bytes argument = call.arg(i);
    if (!may_show(call, i)) {
      out.print("argv[%zu]: '*redacted*' (%zu bytes)\n", i, argument.size());
      continue;
    }
    const size_t shown = std::min(argument.size(), kArgumentBytesShown);
    out.print("argv[%zu]: '\"", i);
    for (char byte : argument.substr(0, shown))  // whatever it is, it makes no line of the log
      out.print(byte < ' ' || byte == '\x7f' ? "\\x%02x" : "%c", static_cast<unsigned char>(byte));
    out.print("\"'%s\n", argument.size() > shown ? " (cut)" : "");
  }
}

}  // namespace

void set_crash_witness(Server* server) { told = server; }

void tell_crash(const host::CrashText& out) {
  if (!told) return;
  // The command first: what follows walks structures that may be what is broken.
  const Call* call = told->dispatcher().running();
  if (call) current_client(out, *call);
  out.put("\n------ CONFIG DEBUG OUTPUT ------\n");
  for (Bytes name : kTellingSettings)
    if (const Directive* row = find_directive(name))
      out.print("%s %s\n", std::string(name).c_str(), read_value(*row, told->settings()).c_str());
  out.put("\n------ INFO OUTPUT ------\n");
  constexpr Bytes kEverything[] = {"everything"};
  out.put(info_text(*told, InfoSections::named(kEverything)));
  if (call) client_list(out, *call);
}

}  // namespace quoll::server
