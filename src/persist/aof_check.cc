#include "persist/aof_check.h"

#include <algorithm>

#include "base/text.h"

namespace quoll::persist {

AofCheck::AofCheck(AofReaderOptions options, std::function<bool(base::Args)> known, TellLine tell)
    : reader_(std::move(options)), known_(std::move(known)), tell_(std::move(tell)) {}

bool AofCheck::feed(std::string bytes) {
  reader_.feed(std::move(bytes));
  AofCommand command;
  AofReader::Step step;
  while ((step = reader_.next(command)) == AofReader::Step::command) count(command);
  note_timestamp();
  return step == AofReader::Step::starved;
}

void AofCheck::count(const AofCommand& command) {
  note_timestamp();
  ++commands_;
  blocks_ += command.last_of_block;
  if (databases_.size() < kToldDatabasesMax) databases_.insert(command.database);
  for (base::Bytes arg : command.args) {
    argument_bytes_ += arg.size();
    longest_argument_ = std::max<uint64_t>(longest_argument_, arg.size());
  }
  std::string name = told(command.args[0]);
  for (char& c : name) c = base::to_lower(c);
  if (names_.size() == kAofNamesMax && !names_.contains(name)) name = "(others)";
  Name& seen = names_[name];
  if (seen.commands++ == 0) seen.first_offset = command.offset;
  if (!known_ || !seen.known || known_(command.args)) return;
  seen.known = false;
  seen.first_offset = command.offset;
}

void AofCheck::note_timestamp() {
  if (first_timestamp_ == 0) first_timestamp_ = reader_.timestamp();
}

void AofCheck::report() const {
  std::string line = "[info] commands: " + std::to_string(commands_);
  if (blocks_ > 0) line += ", of MULTI blocks: " + std::to_string(blocks_);
  line += ", in databases:";
  for (store::DbIndex db : databases_) line += " " + std::to_string(db);
  if (commands_ > 0) {
    tell_(line);
    tell_("[info] arguments: " + std::to_string(argument_bytes_) + " bytes, the longest " +
          std::to_string(longest_argument_));
  }
  line.clear();
  for (const auto& [name, seen] : names_)
    line += (line.empty() ? "[info] by name: " : ", ") + name + " " + std::to_string(seen.commands);
  if (!line.empty()) tell_(line);
  if (first_timestamp_ > 0)
    tell_("[info] timestamps from " + told_instant(first_timestamp_ * 1000) + " to " +
          told_instant(reader_.timestamp() * 1000));
  tell_("[info] the last whole commit ends at offset " + std::to_string(reader_.valid_bytes()));
  for (const auto& [name, seen] : names_)
    if (!seen.known)
      tell_("[info] WARNING: the server does not know '" + name + "', first at offset " +
            std::to_string(seen.first_offset) + ", and refuses to load this file");
}

}  // namespace quoll::persist
