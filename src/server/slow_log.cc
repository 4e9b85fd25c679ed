#include "server/slow_log.h"

#include <fmt/format.h>

namespace quoll::server {

void SlowLog::add(base::Args args, int64_t micros, int64_t unix_seconds, std::string peer,
                  std::string client_name, size_t entries_max) {
  SlowEntry entry{next_id_++, unix_seconds, micros, {}, std::move(peer), std::move(client_name)};
  size_t kept = args.size() < kSlowArgsMax ? args.size() : kSlowArgsMax;
  for (size_t i = 0; i < kept; ++i) {
    if (kept < args.size() && i + 1 == kept) {
      entry.args.push_back(fmt::format("... ({} more arguments)", args.size() - kept + 1));
    } else if (args[i].size() > kSlowArgBytesMax) {
      entry.args.push_back(fmt::format("{}... ({} more bytes)", args[i].substr(0, kSlowArgBytesMax),
                                       args[i].size() - kSlowArgBytesMax));
    } else {
      entry.args.emplace_back(args[i]);
    }
  }
  entries_.push_front(std::move(entry));
  shorten(entries_max);
}

void SlowLog::shorten(size_t entries_max) {
  while (entries_.size() > entries_max) entries_.pop_back();
}

}  // namespace quoll::server
