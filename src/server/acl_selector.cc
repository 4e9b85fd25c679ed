#include "server/acl_selector.h"

#include <algorithm>

#include "base/check.h"
#include "base/glob.h"
#include "base/text.h"

namespace quoll::server {
namespace {

using base::equals_ignoring_case;

bool has_blanks(Bytes text) {
  return std::ranges::any_of(text, [](char c) { return base::is_blank(c) || c == '\0'; });
}

bool is_channel_command(Bytes name) {
  return name == "publish" || name == "spublish" || name == "subscribe" || name == "ssubscribe" ||
         name == "psubscribe";
}

bool sees_value(uint16_t key_flags) { return key_flags & kKeyAccess; }
bool changes_value(uint16_t key_flags) {
  return key_flags & (kKeyInsert | kKeyDelete | kKeyUpdate);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

}  // namespace

Bytes rule_error_text(RuleError error) {
  switch (error) {
    case RuleError::unknown_command:
      return "Unknown command or category name in ACL";
    case RuleError::syntax:
      return "Syntax error";
    case RuleError::after_all_keys:
      return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does "
             "not have any effect. Try 'resetkeys' to start with an empty list of patterns";
    case RuleError::after_all_channels:
      return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
             "does not have any effect. Try 'resetchannels' to start with an empty list of "
             "channels";
    case RuleError::no_such_password:
      return "The password you are trying to remove from the user does not exist";
    case RuleError::bad_hash:
      return "The password hash must be exactly 64 characters and contain only lowercase "
             "hexadecimal characters";
    case RuleError::first_argument_of_subcommand:
      return "Allowing first-arg of a subcommand is not supported";
    case RuleError::none:
      break;
  }
  return "Wrong format";
}

std::span<const KeyArg> AclLine::keys() {
  if (!looked_) {
    looked_ = true;
    keys_.clear();
    if (!find_keys(*command.spec, args, keys_)) keys_.clear();  // it will fail by itself
    std::erase_if(keys_, [](const KeyArg& key) { return key.flags & kKeyNotKey; });
  }
  return keys_;
}

// --- rules -------------------------------------------------------------------------------------

RuleError AclSelector::apply(Bytes rule, const CommandTable& table) {
  auto is = [&](Bytes word) { return equals_ignoring_case(rule, word); };
  if (is("allkeys") || is("~*") || is("resetkeys")) {
    all_keys_ = !is("resetkeys");
    keys_.clear();
  } else if (is("allchannels") || is("&*") || is("resetchannels")) {
    all_channels_ = !is("resetchannels");
    channels_.clear();
  } else if (is("allcommands") || is("+@all")) {
    set_all_commands(true);
  } else if (is("nocommands") || is("-@all")) {
    set_all_commands(false);
  } else if (rule.starts_with('~') || rule.starts_with('%')) {
    return add_keys(rule);
  } else if (rule.starts_with('&')) {
    return add_channel(rule);
  } else if (rule.starts_with("+@") || rule.starts_with("-@")) {
    return apply_category(rule, table);
  } else if (rule.starts_with('+') || rule.starts_with('-')) {
    return apply_command(rule, table);
  } else {
    return RuleError::syntax;
  }
  return RuleError::none;
}

void AclSelector::set_all_commands(bool allow) {
  commands_.fill(allow ? ~uint64_t{0} : 0);
  all_commands_ = allow;
  first_arguments_.clear();
  rules_.clear();
}

void AclSelector::set_bit(size_t id, bool allow) {
  QUOLL_CHECK(id < kFutureBit);
  const uint64_t mask = uint64_t{1} << id % 64;
  if (allow) {
    commands_[id / 64] |= mask;
  } else {
    commands_[id / 64] &= ~mask;
    all_commands_ = false;
  }
}

// A container stands for its subcommands too.
void AclSelector::set_command(const Command& command, bool allow) {
  set_bit(command.id, allow);
  std::erase_if(first_arguments_,
                [&](const FirstArgument& first) { return first.command == command.id; });
  for (const Command* sub : command.subcommands) set_bit(sub->id, allow);
}

RuleError AclSelector::apply_command(Bytes rule, const CommandTable& table) {
  const bool allow = rule[0] == '+';
  if (allow && rule.find('|') != Bytes::npos) return allow_part(rule, table);
  const Command* command = table.find_original(rule.substr(1));
  if (!command) return RuleError::unknown_command;
  set_command(*command, allow);
  note_rule(rule);
  return RuleError::none;
}

// "+config|get" is a subcommand. "+select|0" is a first argument of a command without any.
RuleError AclSelector::allow_part(Bytes rule, const CommandTable& table) {
  const size_t bar = rule.rfind('|');
  const Command* command = table.find_original(rule.substr(1, bar - 1));
  const Bytes part = rule.substr(bar + 1);
  if (!command) return RuleError::unknown_command;
  if (command->parent) return RuleError::first_argument_of_subcommand;
  if (part.empty()) return RuleError::syntax;
  if (!command->subcommands.empty()) {
    const Command* sub = table.find_original(rule.substr(1));
    if (!sub) return RuleError::unknown_command;
    set_command(*sub, true);
  } else {
    for (const FirstArgument& known : first_arguments_)
      if (known.command == command->id && equals_ignoring_case(known.argument, part))
        return RuleError::none;
    first_arguments_.push_back({command->id, std::string(part)});
  }
  note_rule(rule);
  return RuleError::none;
}

RuleError AclSelector::apply_category(Bytes rule, const CommandTable& table) {
  uint32_t category = 0;
  for (unsigned i = 0; i < kCategories; ++i)
    if (equals_ignoring_case(rule.substr(2), category_name(i))) category = 1U << i;
  if (!category) return RuleError::unknown_command;
  for (const auto& command : table.all())
    if (command->categories & category) set_command(*command, rule[0] == '+');
  note_rule(rule);
  return RuleError::none;
}

// Earlier rules about the same command, or about parts of it, have no effect any more.
void AclSelector::note_rule(Bytes rule) {
  std::string noted = base::to_lower(rule);
  const Bytes subject = Bytes(noted).substr(1);
  std::erase_if(rules_, [&](const std::string& earlier) {
    const Bytes old = Bytes(earlier).substr(1);
    return old.starts_with(subject) && (old.size() == subject.size() || old[subject.size()] == '|');
  });
  rules_.push_back(std::move(noted));
}

RuleError AclSelector::add_keys(Bytes rule) {
  if (all_keys_) return RuleError::after_all_keys;
  uint8_t permissions = rule[0] == '~' ? kRead | kWrite : 0;
  size_t at = 1;
  for (bool in_flags = rule[0] == '%'; in_flags && at < rule.size(); ++at) {
    const char letter = base::to_upper(rule[at]);
    const uint8_t permission = letter == 'R' ? kRead : letter == 'W' ? kWrite : 0;
    in_flags = letter != '~';
    if (in_flags && (!permission || (permissions & permission))) return RuleError::syntax;
    permissions |= permission;
  }
  if (!permissions) return RuleError::syntax;
  const Bytes pattern = rule.substr(at);
  if (has_blanks(pattern)) return RuleError::syntax;
  auto known = std::ranges::find(keys_, pattern, &KeyPattern::pattern);
  if (known != keys_.end()) {
    known->permissions |= permissions;
  } else {
    keys_.push_back({std::string(pattern), permissions});
  }
  return RuleError::none;
}

RuleError AclSelector::add_channel(Bytes rule) {
  if (all_channels_) return RuleError::after_all_channels;
  const Bytes pattern = rule.substr(1);
  if (has_blanks(pattern)) return RuleError::syntax;
  if (std::ranges::find(channels_, pattern) == channels_.end()) channels_.emplace_back(pattern);
  return RuleError::none;
}

// --- checks ------------------------------------------------------------------------------------

bool AclSelector::allows_command(const AclLine& line) const {
  if (all_commands_ || (line.command.spec->flags & kNoAuth) || bit(line.command.id)) return true;
  return line.args.size() > 1 && std::ranges::any_of(first_arguments_, [&](const auto& first) {
           return first.command == line.command.id &&
                  equals_ignoring_case(first.argument, line.args[1]);
         });
}

bool AclSelector::allows_key(Bytes key, uint16_t key_flags) const {
  if (all_keys_) return true;
  uint8_t needed = 0;
  if (sees_value(key_flags)) needed |= kRead;
  if (changes_value(key_flags)) needed |= kWrite;
  return std::ranges::any_of(keys_, [&](const KeyPattern& one) {
    return (one.permissions & needed) == needed && base::glob_match(one.pattern, key);
  });
}

bool AclSelector::allows_channel(Bytes channel, bool as_pattern) const {
  if (all_channels_) return true;
  return std::ranges::any_of(channels_, [&](const std::string& pattern) {
    return as_pattern ? pattern == channel : base::glob_match(pattern, channel);
  });
}

AclVerdict AclSelector::check(AclLine& line) const {
  if (!allows_command(line)) return {Denied::command};
  const CommandSpec& spec = *line.command.spec;
  if (!all_keys_ && spec.keys.count() > 0)
    for (const KeyArg& key : line.keys())
      if (!allows_key(line.args[key.index], key.flags)) return {Denied::key, key.index};
  if (all_channels_ || !is_channel_command(spec.name)) return {};
  const bool one = spec.name.ends_with("publish");
  for (size_t i = 1; i < (one ? 2 : line.args.size()); ++i)
    if (!allows_channel(line.args[i], spec.name == "psubscribe")) return {Denied::channel, i};
  return {};
}

bool AclSelector::allows_every_key(const Command& command, Args args, uint16_t key_flags) const {
  std::vector<KeyArg> scratch;
  AclLine line(command, args, scratch);
  if (!check(line)) return false;
  if (all_keys_) return true;
  uint8_t needed = 0;
  if (sees_value(key_flags)) needed |= kRead;
  if (changes_value(key_flags)) needed |= kWrite;
  return std::ranges::any_of(keys_, [&](const KeyPattern& one) {
    return one.pattern == "*" && (one.permissions & needed) == needed;
  });
}

// --- description -------------------------------------------------------------------------------

std::string AclSelector::describe_commands() const {
  std::string text = bit(kFutureBit) ? "+@all" : "-@all";
  if (!rules_.empty()) text += ' ' + joined(rules_);
  return text;
}

std::string AclSelector::describe_keys() const {
  if (all_keys_) return "~*";
  std::vector<std::string> words;
  for (const KeyPattern& one : keys_) {
    Bytes mark = one.permissions == kRead ? "%R~" : one.permissions == kWrite ? "%W~" : "~";
    words.push_back(std::string(mark) + one.pattern);
  }
  return joined(words);
}

std::string AclSelector::describe_channels() const {
  if (all_channels_) return "&*";
  std::vector<std::string> words;
  for (const std::string& pattern : channels_) words.push_back('&' + pattern);
  return joined(words);
}

std::string AclSelector::describe() const {
  std::string text = describe_keys();
  if (!text.empty()) text += ' ';
  if (!all_channels_) text += "resetchannels ";
  if (all_channels_ || !channels_.empty()) text += describe_channels() + ' ';
  return text + describe_commands();
}

}  // namespace quoll::server
