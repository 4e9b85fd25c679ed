// The server as a whole: INFO, TIME, SHUTDOWN, LOLWUT.
#include "server/server.h"

#include "base/text.h"
#include "commands/drawing.h"
#include "commands/families.h"
#include "commands/words.h"
#include "server/info.h"
#include "server/script_host.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr int64_t kMicrosPerSecond = 1'000'000;

void info(Call& call) {
  call.reply.verbatim(info_text(call.server, InfoSections::named(call.args.subspan(1))));
}

void time(Call& call) {
  const int64_t micros = call.server.scripts().wall_micros();
  call.reply.array(2);
  call.reply.bulk_integer(micros / kMicrosPerSecond);
  call.reply.bulk_integer(micros % kMicrosPerSecond);
}

void shutdown(Call& call) {
  constexpr int64_t kAbort = 1 << 30;
  int64_t asked = 0;
  for (Bytes argument : call.args.subspan(1)) {
    if (same_word(argument, "save"))
      asked |= kShutdownSave;
    else if (same_word(argument, "nosave"))
      asked |= kShutdownNosave;
    else if (same_word(argument, "now"))
      asked |= kShutdownNow;
    else if (same_word(argument, "force"))
      asked |= kShutdownForce;
    else if (same_word(argument, "abort"))
      asked |= kAbort;
    else
      return call.syntax_error();
  }
  if ((asked & kShutdownSave && asked & kShutdownNosave) || (asked & kAbort && asked != kAbort))
    return call.syntax_error();
  // Only while it waits for replicas; later no command runs.
  if (asked == kAbort) {
    if (!call.server.abort_shut_down()) return call.reply.error("ERR No shutdown in progress.");
    return call.reply.ok();
  }
  if (call.server.scripts().running()) {
    if (!(asked & kShutdownNosave)) return call.reply.error(call.server.scripts().busy_reply());
    call.server.scripts().abandon();
  }
  call.session.output_written();  // replies of commands before this one still go out
  // Nobody is told of success: the connection ends with the server.
  call.session.block(0, [](Session& session) {
    session.reply().error("ERR Errors trying to SHUTDOWN. Check logs.");
  });
  Ending ending = ending_of(asked);
  ending.failed = [&server = call.server, id = call.session.id] {
    if (Session* session = server.find_session(id)) session->unblock();
  };
  call.server.shut_down("User requested shutdown...", std::move(ending));
}

void lolwut(Call& call) {
  if (call.argc() >= 3 && same_word(call.arg(1), "version")) {
    int64_t version;
    if (!call.integer(2, version)) return;  // there is one drawing for every version
  }
  call.reply.verbatim(drawing([&] { return call.server.host().random.draw(); }));
}

constexpr CommandSpec kServerCommands[] = {
    {.name = "info",
     .arity = -1,
     .run = info,
     .flags = kLoading | kStale,
     .categories = kCatDangerous,
     .group = "server",
     .since = "1.0.0",
     .summary = "Tells about the server: its state, counters and statistics.",
     .complexity = "O(1)",
     .syntax = "[section [section ...]]",
     .tips = "nondeterministic_output,request_policy:all_shards,response_policy:special"},
    {.name = "time",
     .arity = 1,
     .run = time,
     .flags = kLoading | kStale | kFast,
     .group = "server",
     .since = "2.6.0",
     .summary = "Returns the server's time: unix seconds and microseconds.",
     .complexity = "O(1)",
     .tips = "nondeterministic_output"},
    {.name = "shutdown",
     .arity = -1,
     .run = shutdown,
     .flags = kAdmin | kNoScript | kLoading | kStale | kNoMulti | kAllowBusy,
     .group = "server",
     .since = "1.0.0",
     .summary = "Ends the server.",
     .complexity =
         "O(N) when saving, where N is the total number of keys in all databases when saving data, "
         "otherwise O(1)",
     .syntax = "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]"},
    {.name = "lolwut",
     .arity = -1,
     .run = lolwut,
     .access = Access::read,
     .flags = kFast,
     .group = "server",
     .since = "5.0.0",
     .summary = "Draws a quoll at night and tells the version.",
     .syntax = "[VERSION version]"},
};
static_assert(well_formed(kServerCommands));

}  // namespace

Family server_commands() { return kServerCommands; }

}  // namespace quoll::commands
