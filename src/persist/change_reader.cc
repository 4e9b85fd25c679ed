#include "persist/change_reader.h"

namespace quoll::persist {

size_t ChangeCommit::bytes() const {
  size_t bytes = 0;
  for (const ChangedKey& change : changes)
    bytes += sizeof(change) + change.event.size() + (change.key ? change.key->size() : 0);
  for (const ChangeEffect& effect : effects)
    for (const std::string& arg : effect.args) bytes += sizeof(arg) + arg.size();
  return bytes;
}

bool ChangeReader::next(const ChangePosition& since, ChangeCommit& commit) {
  AofCommand command;
  for (;;) {
    const AofReader::Step step = reader_.next(command);
    damaged_ = step == AofReader::Step::damaged;
    if (step != AofReader::Step::command) return false;
    if (take(command, since, commit)) return true;
  }
}

// True: the commit is whole, and wanted.
bool ChangeReader::take(const AofCommand& command, const ChangePosition& since,
                        ChangeCommit& commit) {
  if (!inside_) {
    commit.changes.clear();
    commit.effects.clear();
    wanted_ =
        parse_change_position(command.change_notes, commit.position) && commit.position > since;
    if (wanted_) {
      lines_ = command.change_notes;
      wanted_ = parse_change_notes(lines_, commit.position, notes_);
    }
  }
  if (wanted_) {
    commit.effects.push_back(
        {command.database, std::vector<std::string>(command.args.begin(), command.args.end())});
  }
  inside_ = command.in_block && !command.last_of_block;
  return !inside_ && wanted_ && resolve(commit);
}

// False: the notes are not of these effects.
bool ChangeReader::resolve(ChangeCommit& commit) const {
  for (const ChangeNote& note : notes_) {
    ChangedKey changed{note.database, std::string(note.event), {}};
    if (!note.keyless) {
      if (note.effect >= commit.effects.size()) return false;
      const std::vector<std::string>& args = commit.effects[note.effect].args;
      if (note.argument >= args.size()) return false;
      changed.key = args[note.argument];
    }
    commit.changes.push_back(std::move(changed));
  }
  return true;
}

}  // namespace quoll::persist
