#include "server/monitors.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace quoll::server {

bool Monitors::has(const Session& session) const {
  return std::ranges::find(sessions_, &session) != sessions_.end();
}

bool Monitors::add(Session& session) {
  if (has(session)) return false;
  sessions_.push_back(&session);
  return true;
}

void Monitors::drop(const Session& session) {
  std::erase_if(sessions_, [&](const Session* one) { return one == &session; });
}

void Monitors::tell(const Session& session, const Command& command, Args args,
                    int64_t wall_micros) {
  // Administrative commands may carry secrets; Redis leaves them out as well.
  if (command.spec->flags & (kSkipMonitor | kAdmin)) return;
  show(session, args, wall_micros);
}

void Monitors::show(const Session& session, Args args, int64_t wall_micros) {
  std::string line =
      fmt::format("+{}.{:06} [{} ", wall_micros / 1'000'000, wall_micros % 1'000'000, session.db);
  const host::Peer& peer = session.peer();
  line += peer.is_unix() ? "unix:" + peer.local_address() : peer.remote_address();
  line += ']';
  for (Bytes arg : args) {
    line += ' ';
    line += base::quoted(arg);
  }
  line += "\r\n";
  for (Session* monitor : sessions_) {
    monitor->begin_message({}).append(line);
    monitor->output_written();
  }
}

}  // namespace quoll::server
