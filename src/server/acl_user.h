// AclUser: who may log in with which passwords, and what he may then do: the union of his
// selectors, of which the first (the root) is written without parentheses.
//
//   on >secret ~cache:* +@read (~log:* +append)
//
// Cost: a check of a user who may do everything is one flag; else one check per selector until one
// agrees. Passwords are kept as SHA-256 digests only. Pure: no clock, no randomness, no I/O.
#pragma once

#include "base/sha256.h"
#include "server/acl_selector.h"

namespace quoll::server {

// What rules are read against: the commands there are, and acl-pubsub-default, with which new users
// and selectors begin and to which `reset` returns.
struct AclRules {
  const CommandTable& commands;
  bool all_channels;
};

class AclUser {
 public:
  enum Flag : uint8_t { kOn = 1, kOff = 2, kNoPass = 4, kSkipSanitize = 8, kSanitize = 16 };

  // A new user is off and may do nothing.
  AclUser(std::string name, const AclRules& rules);
  // May do everything without a password: what `default` is unless rules say otherwise.
  static AclUser unrestricted_default(const AclRules& rules);

  const std::string& name() const { return name_; }
  bool is(Flag flag) const { return flags_ & flag; }
  // Every command may run on every key and channel.
  bool unrestricted() const { return unrestricted_; }

  // One rule, a selector in parentheses being one. A refused rule changes nothing.
  RuleError apply(Bytes rule, const AclRules& rules);
  // Everything but the name.
  void copy_rules(const AclUser& from);

  // A password logs in: the user is on, and it is one of his, or he needs none.
  bool accepts(Bytes password) const;

  AclVerdict check(const Command& command, Args args, std::vector<KeyArg>& scratch) const;
  bool allows_channel(Bytes channel, bool as_pattern) const;
  // The command may touch any key in the ways of `key_flags`: SORT's BY and GET.
  bool allows_every_key(const Command& command, Args args, uint16_t key_flags) const;
  // The command, which is about any keys, may show this one.
  bool shows_key(const Command& command, Args args, Bytes key) const;
  // Some channel that `before` may use this user may not.
  bool lost_channels(const AclUser& before) const;

  std::vector<Bytes> flag_names() const;
  const std::vector<base::Sha256>& passwords() const { return passwords_; }
  const std::vector<AclSelector>& selectors() const { return selectors_; }
  std::string describe() const;  // "on nopass ~* &* +@all"

 private:
  void set_flags(uint8_t set, uint8_t cleared);
  RuleError change_password(Bytes rule);
  RuleError add_selector(Bytes text, const AclRules& rules);
  void reset(const AclRules& rules);
  bool apply_to_user(Bytes rule, const AclRules& rules, RuleError& error);

  std::string name_;
  uint8_t flags_ = kOff;
  bool unrestricted_ = false;
  std::vector<base::Sha256> passwords_;
  std::vector<AclSelector> selectors_;
};

// Rules whose parentheses were split at blanks, put together again. False when a parenthesis is not
// closed; `open_at` is then the rule that opened it.
bool merge_selectors(std::span<const Bytes> rules, std::vector<std::string>& merged,
                     size_t& open_at);

// Neither blanks nor NUL.
bool is_user_name(Bytes name);

}  // namespace quoll::server
