// CHANGES: every commit in order, resumable by position; see server/change_stream.h. Our own: Redis
// has only events that nobody repeats.
//
//   CHANGES READ SINCE 1764467912345678-17 COUNT 100 BLOCK 5000 PREFIX user: EFFECTS
//   -> next position, commits: [position, [[database, event, key or null] ...],
//                               [[database, [argument ...]] ...] with EFFECTS]
#include "base/text.h"
#include "commands/counted_map.h"
#include "commands/families.h"
#include "commands/help.h"
#include "server/change_readers.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kOff =
    "ERR there is no change stream: set changes-buffer-size to the bytes that may be held in "
    "memory";

constexpr Bytes kChangesHelp[] = {
    "READ [SINCE position] [COUNT n] [BLOCK ms] [PREFIX p [PREFIX p ...]] [EFFECTS]",
    "    The commits behind a position, and the position to go on from. With nothing behind it",
    "    the list is empty, after BLOCK milliseconds of waiting (0: for ever).",
    "    * SINCE position",
    "        Of an earlier reply; \"-\": the oldest held, \"$\" or none given: now.",
    "    * COUNT n",
    "        At most so many commits. Default: 100",
    "    * PREFIX p",
    "        Keys that begin so, and whole databases.",
    "    * EFFECTS",
    "        The commands that make the same change.",
    "INFO",
    "    Positions, memory and readers of the stream.",
};

// False: the error was replied.
bool parse_since(Call& call, Bytes text, ChangePosition& since) {
  ChangeStream& stream = call.server.changes().stream();
  if (text == "$") {
    since = stream.last();
  } else if (text == "-") {
    since = stream.oldest();
  } else if (!since.parse(text)) {
    call.reply.error("ERR invalid position; one is life-number, as an earlier reply gave it");
    return false;
  }
  return true;
}

bool parse_read(Call& call, ChangeRequest& request) {
  request.since = call.server.changes().stream().last();
  for (size_t i = 2; i < call.argc(); ++i) {
    auto is = [&](Bytes word) { return base::equals_ignoring_case(call.arg(i), word); };
    const bool more = i + 1 < call.argc();
    if (is("effects")) {
      request.effects = true;
    } else if (is("since") && more) {
      if (!parse_since(call, call.arg(++i), request.since)) return false;
    } else if (is("count") && more) {
      int64_t count = 0;
      if (!call.integer(++i, count)) return false;
      if (count <= 0) return call.reply.error("ERR COUNT must be positive"), false;
      request.count = static_cast<uint64_t>(count);
    } else if (is("block") && more) {
      request.block = true;
      if (!call.timeout_millis(++i, request.timeout_ms)) return false;
    } else if (is("prefix") && more) {
      request.prefixes.emplace_back(call.arg(++i));
    } else {
      call.syntax_error();
      return false;
    }
  }
  return true;
}

void changes_read(Call& call) {
  if (!call.server.changes().stream().on()) return call.reply.error(kOff);
  ChangeRequest request;
  if (parse_read(call, request)) call.server.changes().read(call, std::move(request));
}

class StreamReport : public CountedMap {
 public:
  using CountedMap::CountedMap;
  void text(Bytes name, Bytes value) {
    start(name);
    reply_.bulk(value);
  }
};

void changes_info(Call& call) {
  ChangeStream& stream = call.server.changes().stream();
  const ChangeReaders::Info readers = call.server.changes().info();
  const ChangeWindow& window = stream.window();
  auto number = [](uint64_t value) { return static_cast<int64_t>(value); };
  StreamReport report(call.reply);
  report.number("enabled", stream.on());
  if (stream.on()) {
    report.text("first-position", stream.oldest().text());
    report.text("last-position", stream.last().text());
  }
  report.number("window-commits", number(window.commits()));
  report.number("window-bytes", number(window.bytes()));
  report.number("window-bytes-max", number(window.bytes_max()));
  report.number("window-dropped-commits", number(window.dropped()));
  report.number("trimmed-replies", number(readers.trimmed));
  report.number("readers", number(readers.readers));
  report.number("readers-blocked", number(readers.blocked));
  report.number("readers-on-disk", number(readers.on_disk));
  report.number("lag-commits-max", number(readers.lag));
  report.end();
}

void changes_help(Call& call) { reply_help(call, kChangesHelp); }

constexpr CommandSpec kChangesCommands[] = {
    {.name = "changes",
     .arity = -2,
     .group = "server",
     .since = "1.0.0",
     .summary = "A container for commands about the stream of changes.",
     .complexity = "Depends on subcommand."},
    {.name = "changes|read",
     .arity = -2,
     .run = changes_read,
     .flags = kBlocking | kNoScript | kNoMulti,
     .categories = kCatRead | kCatKeyspace,
     .group = "server",
     .since = "1.0.0",
     .summary = "Returns the commits behind a position in order, and the position to go on from. "
                "Keys that the user may not read are left out.",
     .complexity = "O(N) where N is the number of commits looked at.",
     .syntax = "[SINCE position] [COUNT count:integer] [BLOCK milliseconds:integer] "
               "[PREFIX prefix [PREFIX prefix ...]] [EFFECTS]",
     .tips = "nondeterministic_output"},
    {.name = "changes|info",
     .arity = 2,
     .run = changes_info,
     .categories = kCatRead | kCatKeyspace,
     .group = "server",
     .since = "1.0.0",
     .summary = "Returns positions, memory and readers of the stream of changes.",
     .complexity = "O(N) where N is the number of connected readers.",
     .tips = "nondeterministic_output"},
    {.name = "changes|help",
     .arity = 2,
     .run = changes_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "1.0.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kChangesCommands));

}  // namespace

Family changes_commands() { return kChangesCommands; }

}  // namespace quoll::commands
