#include "persist/change_notes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/numbers.h"
#include "base/text.h"

namespace quoll::persist {
namespace {

using base::Bytes;

constexpr size_t kLineGoal = 900;   // bytes; Redis reads annotations of up to 1023
constexpr size_t kNamedWithin = 3;  // touches behind a silent one that may name its key
constexpr Bytes kChanged = "changed";

// FLUSHALL announces itself to caches once, by its first database; here each is told alike.
Bytes event_of(const store::Touch& touch) {
  const Bytes name = touch.event.name;
  if (name.empty()) return kChanged;
  return touch.change == store::Change::keyless && name == "flushall" ? "flushdb" : name;
}

// Where keys stand among the effects of the file. Touches follow the order of the effects, so the
// search goes on where it ended.
class KeyFinder {
 public:
  explicit KeyFinder(const store::Commit& commit) {
    for (const store::Effect& effect : commit.effects)
      if (effect.targets & store::kToLog) effects_.push_back(&effect);
  }
  bool empty() const { return effects_.empty(); }
  // False: no effect names it.
  bool find(Bytes key) {
    const size_t begun_at = effect_;
    for (size_t looked = 0; looked <= effects_.size(); ++looked) {
      const base::Args args = effects_[effect_]->args;
      for (; argument_ < args.size(); ++argument_)
        if (args[argument_] == key) return true;
      effect_ = (effect_ + 1) % effects_.size();
      argument_ = 1;
    }
    effect_ = begun_at;
    return false;
  }
  size_t effect() const { return effect_; }
  size_t argument() const { return argument_; }

 private:
  std::vector<const store::Effect*> effects_;
  size_t effect_ = 0;
  size_t argument_ = 1;  // 0 is the command's name
};

bool named_soon(std::span<const store::Touch> touches, size_t at) {
  const store::Touch& silent = touches[at];
  const size_t end = std::min(touches.size(), at + 1 + kNamedWithin);
  for (size_t i = at + 1; i < end; ++i) {
    const store::Touch& next = touches[i];
    if (next.event.name[0] != '\0' && next.db == silent.db && next.key == silent.key) return true;
  }
  return false;
}

// The text up to `end`, which is taken off; all of it when there is no `end`.
Bytes take_until(Bytes& text, char end) {
  const size_t at = text.find(end);
  const Bytes taken = text.substr(0, at);
  text.remove_prefix(at == Bytes::npos ? text.size() : at + 1);
  return taken;
}

bool parse_note(Bytes text, ChangeNote& note) {
  uint64_t database = 0, effect = 0, argument = 0;
  note.event = take_until(text, ',');
  if (note.event.empty() || !base::parse_uint(take_until(text, ','), database)) return false;
  if (database > UINT32_MAX) return false;
  note.database = static_cast<store::DbIndex>(database);
  note.keyless = text.empty();
  if (note.keyless) return true;
  if (!base::parse_uint(take_until(text, ','), effect)) return false;
  if (!base::parse_uint(text, argument)) return false;
  note.effect = effect;
  note.argument = argument;
  return true;
}

// The position a line begins with, which is taken off.
bool take_position(Bytes& line, ChangePosition& position) {
  if (!line.starts_with(kChangeNote)) return false;
  line.remove_prefix(kChangeNote.size());
  return position.parse(take_until(line, ' '));
}

}  // namespace

std::string ChangePosition::text() const { return fmt::format("{}-{}", life, seq); }

bool ChangePosition::parse(Bytes text) {
  const Bytes first = take_until(text, '-');
  return base::parse_uint(first, life) && base::parse_uint(text, seq);
}

void append_change_notes(uint64_t life, const store::Commit& commit, std::string& out) {
  KeyFinder finder(commit);
  if (finder.empty()) return;
  const std::string begin = fmt::format("{}{}-{}", kChangeNote, life, commit.seq);
  size_t line_at = out.size();
  out += begin;
  for (size_t i = 0; i < commit.touches.size(); ++i) {
    const store::Touch& touch = commit.touches[i];
    const bool keyless = touch.change == store::Change::keyless;
    if (touch.event.name[0] == '\0' && named_soon(commit.touches, i)) continue;
    if (!keyless && !finder.find(touch.key)) continue;
    if (out.size() - line_at > kLineGoal) {
      out += "\r\n";
      line_at = out.size();
      out += begin;
    }
    fmt::format_to(std::back_inserter(out), " {},{}", event_of(touch), touch.db);
    if (!keyless)
      fmt::format_to(std::back_inserter(out), ",{},{}", finder.effect(), finder.argument());
  }
  out += "\r\n";
}

bool parse_change_position(Bytes lines, ChangePosition& position) {
  lines = base::trimmed(lines);
  const size_t last = lines.rfind('\n');
  Bytes line = last == Bytes::npos ? lines : lines.substr(last + 1);
  return take_position(line, position);
}

bool parse_change_notes(Bytes lines, ChangePosition& position, std::vector<ChangeNote>& notes) {
  notes.clear();
  if (!parse_change_position(lines, position)) return false;
  while (!lines.empty()) {
    Bytes line = base::trimmed(take_until(lines, '\n'));
    ChangePosition own;
    if (!take_position(line, own)) return false;
    if (own != position) continue;  // of a commit that a crash kept out of the file
    while (!line.empty()) {
      ChangeNote note;
      if (!parse_note(take_until(line, ' '), note)) return false;
      notes.push_back(note);
    }
  }
  return true;
}

}  // namespace quoll::persist
