#include "server/acl_user.h"

#include <algorithm>

#include "base/text.h"

namespace quoll::server {
namespace {

using base::equals_ignoring_case;

constexpr struct {
  AclUser::Flag flag;
  Bytes name;
} kFlagNames[] = {
    {AclUser::kOn, "on"},
    {AclUser::kOff, "off"},
    {AclUser::kNoPass, "nopass"},
    {AclUser::kSkipSanitize, "skip-sanitize-payload"},
    {AclUser::kSanitize, "sanitize-payload"},
};

}  // namespace

AclUser::AclUser(std::string name, const AclRules& rules)
    : name_(std::move(name)), selectors_{AclSelector(rules.all_channels)} {}

AclUser AclUser::unrestricted_default(const AclRules& rules) {
  AclUser user("default", rules);
  for (Bytes rule : {"+@all", "~*", "&*", "on", "nopass"}) user.apply(rule, rules);
  return user;
}

void AclUser::copy_rules(const AclUser& from) {
  flags_ = from.flags_;
  unrestricted_ = from.unrestricted_;
  passwords_ = from.passwords_;
  selectors_ = from.selectors_;
}

void AclUser::set_flags(uint8_t set, uint8_t cleared) {
  flags_ = static_cast<uint8_t>((flags_ & ~cleared) | set);
}

RuleError AclUser::apply(Bytes rule, const AclRules& rules) {
  RuleError error = RuleError::none;
  if (rule.empty()) return error;
  if (!apply_to_user(rule, rules, error)) error = selectors_.front().apply(rule, rules.commands);
  unrestricted_ = std::ranges::any_of(selectors_, [](const AclSelector& selector) {
    return selector.all_commands() && selector.all_keys() && selector.all_channels();
  });
  return error;
}

// False when the rule is not about the user as such, but one for the root selector.
bool AclUser::apply_to_user(Bytes rule, const AclRules& rules, RuleError& error) {
  auto is = [&](Bytes word) { return equals_ignoring_case(rule, word); };
  if (is("on")) {
    set_flags(kOn, kOff);
  } else if (is("off")) {
    set_flags(kOff, kOn);
  } else if (is("skip-sanitize-payload")) {
    set_flags(kSkipSanitize, kSanitize);
  } else if (is("sanitize-payload")) {
    set_flags(kSanitize, kSkipSanitize);
  } else if (is("nopass") || is("resetpass")) {
    set_flags(is("nopass") ? kNoPass : 0, kNoPass);
    passwords_.clear();
  } else if (is("reset")) {
    reset(rules);
  } else if (is("clearselectors")) {
    selectors_.erase(selectors_.begin() + 1, selectors_.end());
  } else if (Bytes("><#!").find(rule[0]) != Bytes::npos) {
    error = change_password(rule);
  } else if (rule.starts_with('(') && rule.ends_with(')')) {
    error = add_selector(rule.substr(1, rule.size() - 2), rules);
  } else {
    return false;
  }
  return true;
}

RuleError AclUser::change_password(Bytes rule) {
  const Bytes text = rule.substr(1);
  base::Sha256 digest;
  if (rule[0] == '>' || rule[0] == '<') {
    digest = base::sha256(text);
  } else if (!base::parse_digest_hex(text, digest)) {
    return RuleError::bad_hash;
  }
  const bool add = rule[0] == '>' || rule[0] == '#';
  auto known = std::ranges::find(passwords_, digest);
  if (add) {
    if (known == passwords_.end()) passwords_.push_back(digest);
    set_flags(0, kNoPass);
  } else if (known == passwords_.end()) {
    return RuleError::no_such_password;
  } else {
    passwords_.erase(known);
  }
  return RuleError::none;
}

// Unbalanced quotes make a selector without rules, as in Redis.
RuleError AclUser::add_selector(Bytes text, const AclRules& rules) {
  AclSelector selector(rules.all_channels);
  std::vector<std::string> words;
  if (!base::split_args(text, words)) words.clear();
  for (const std::string& word : words)
    if (RuleError error = selector.apply(word, rules.commands); error != RuleError::none)
      return error;
  selectors_.push_back(std::move(selector));
  return RuleError::none;
}

void AclUser::reset(const AclRules& rules) {
  for (Bytes rule : {"resetpass", "resetkeys", "resetchannels", "off", "sanitize-payload",
                     "clearselectors", "-@all"})
    apply(rule, rules);
  if (rules.all_channels) apply("allchannels", rules);
}

bool AclUser::accepts(Bytes password) const {
  if (is(kOff)) return false;
  if (is(kNoPass)) return true;
  const base::Sha256 digest = base::sha256(password);
  bool found = false;
  for (const base::Sha256& known : passwords_) found |= base::same_digest(digest, known);
  return found;
}

// Of the selectors' refusals the weightiest is told: of equal ones that about the latest argument.
AclVerdict AclUser::check(const Command& command, Args args, std::vector<KeyArg>& scratch) const {
  if (unrestricted_) return {};
  AclLine line(command, args, scratch);
  AclVerdict worst{Denied::command};
  for (const AclSelector& selector : selectors_) {
    const AclVerdict verdict = selector.check(line);
    if (verdict) return verdict;
    if (verdict.denied > worst.denied ||
        (verdict.denied == worst.denied && verdict.argument > worst.argument))
      worst = verdict;
  }
  return worst;
}

bool AclUser::allows_channel(Bytes channel, bool as_pattern) const {
  return std::ranges::any_of(selectors_, [&](const AclSelector& selector) {
    return selector.allows_channel(channel, as_pattern);
  });
}

bool AclUser::allows_every_key(const Command& command, Args args, uint16_t key_flags) const {
  return std::ranges::any_of(selectors_, [&](const AclSelector& selector) {
    return selector.allows_every_key(command, args, key_flags);
  });
}

bool AclUser::shows_key(const Command& command, Args args, Bytes key) const {
  if (unrestricted_) return true;
  std::vector<KeyArg> scratch;
  return std::ranges::any_of(selectors_, [&](const AclSelector& selector) {
    AclLine line(command, args, scratch);
    return selector.check(line) && selector.allows_key(key, kKeyRo | kKeyAccess);
  });
}

bool AclUser::lost_channels(const AclUser& before) const {
  for (const AclSelector& selector : selectors_)
    if (selector.all_channels()) return false;
  for (const AclSelector& old : before.selectors_) {
    if (old.all_channels()) return true;
    for (const std::string& channel : old.channels())
      if (std::ranges::none_of(selectors_, [&](const AclSelector& selector) {
            return std::ranges::find(selector.channels(), channel) != selector.channels().end();
          }))
        return true;
  }
  return false;
}

std::vector<Bytes> AclUser::flag_names() const {
  std::vector<Bytes> names;
  for (const auto& row : kFlagNames)
    if (is(row.flag)) names.push_back(row.name);
  return names;
}

std::string AclUser::describe() const {
  std::string text;
  for (Bytes name : flag_names()) (text += name) += ' ';
  for (const base::Sha256& password : passwords_) text += '#' + base::digest_hex(password) + ' ';
  text += selectors_.front().describe();
  for (size_t i = 1; i < selectors_.size(); ++i) text += " (" + selectors_[i].describe() + ')';
  return text;
}

bool merge_selectors(std::span<const Bytes> rules, std::vector<std::string>& merged,
                     size_t& open_at) {
  bool open = false;
  std::string selector;
  for (size_t i = 0; i < rules.size(); ++i) {
    const Bytes rule = rules[i];
    const bool closes = rule.ends_with(')');
    if (rule.starts_with('(') && !closes) {
      selector = rule;
      open = true;
      open_at = i;
    } else if (open) {
      (selector += ' ') += rule;
      open = !closes;
      if (closes) merged.push_back(selector);
    } else {
      merged.emplace_back(rule);
    }
  }
  return !open;
}

bool is_user_name(Bytes name) {
  return std::ranges::none_of(name, [](char c) { return base::is_blank(c) || c == '\0'; });
}

}  // namespace quoll::server
