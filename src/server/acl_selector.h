// AclSelector: one set of permissions of a user: commands, key patterns, channel patterns. Rules
// change it, a check asks it, describe() gives rules that make the same selector again.
//
//   +get -config|set +@read +select|0    commands, by id in a bitmap of kCommandBits
//   ~cache:* %R~shared:*                 keys, to be read and written or only one of both
//   &news.*                              channels
//
// The description of commands keeps the rules as they were given, without those that a later rule
// made void. Categories therefore stay categories: a new command of one joins it.
// Cost: about 250 bytes and its patterns; a check is a bit test, then glob matches per key and
// pattern. Pure: no clock, no randomness, no I/O.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "server/command_table.h"

namespace quoll::server {

// Why a rule was refused.
enum class RuleError : uint8_t {
  none,
  unknown_command,  // or category
  syntax,
  after_all_keys,      // a key pattern behind ~*
  after_all_channels,  // a channel pattern behind &*
  no_such_password,
  bad_hash,
  first_argument_of_subcommand,
};
// Redis's words for it.
Bytes rule_error_text(RuleError error);

enum class Denied : uint8_t { no, command, key, auth, channel };  // in the order of their weight

// What a check found; `argument` is the key or channel that may not be touched.
struct AclVerdict {
  Denied denied = Denied::no;
  size_t argument = 0;
  explicit operator bool() const { return denied == Denied::no; }
};

// A command line whose keys are looked for once, by the first selector that wants to know.
class AclLine {
 public:
  AclLine(const Command& command, Args args, std::vector<KeyArg>& scratch)
      : command(command), args(args), keys_(scratch) {}
  std::span<const KeyArg> keys();

  const Command& command;
  const Args args;

 private:
  std::vector<KeyArg>& keys_;
  bool looked_ = false;
};

class AclSelector {
 public:
  explicit AclSelector(bool all_channels) : all_channels_(all_channels) {}

  RuleError apply(Bytes rule, const CommandTable& table);

  AclVerdict check(AclLine& line) const;
  bool allows_key(Bytes key, uint16_t key_flags) const;
  // `as_pattern`: PSUBSCRIBE's pattern, which must be allowed as it is written.
  bool allows_channel(Bytes channel, bool as_pattern) const;
  // The command may touch any key in the ways of `key_flags`.
  bool allows_every_key(const Command& command, Args args, uint16_t key_flags) const;

  bool all_commands() const { return all_commands_; }
  bool all_keys() const { return all_keys_; }
  bool all_channels() const { return all_channels_; }
  const std::vector<std::string>& channels() const { return channels_; }

  std::string describe() const;
  std::string describe_commands() const;  // "-@all +get"
  std::string describe_keys() const;      // "~a %R~b"
  std::string describe_channels() const;  // "&a &b"

 private:
  static constexpr size_t kCommandBits = 1024;
  static constexpr size_t kFutureBit = kCommandBits - 1;  // set by +@all only: no command has it
  using CommandBits = std::array<uint64_t, kCommandBits / 64>;

  enum Permission : uint8_t { kRead = 1, kWrite = 2 };
  struct KeyPattern {
    std::string pattern;
    uint8_t permissions;
  };
  struct FirstArgument {  // of a command that is otherwise not allowed
    size_t command;
    std::string argument;
  };

  bool bit(size_t id) const { return id < kCommandBits && (commands_[id / 64] >> id % 64 & 1); }
  void set_bit(size_t id, bool allow);
  void set_command(const Command& command, bool allow);
  void set_all_commands(bool allow);
  RuleError apply_command(Bytes rule, const CommandTable& table);
  RuleError allow_part(Bytes rule, const CommandTable& table);
  RuleError apply_category(Bytes rule, const CommandTable& table);
  RuleError add_keys(Bytes rule);
  RuleError add_channel(Bytes rule);
  void note_rule(Bytes rule);
  bool allows_command(const AclLine& line) const;

  CommandBits commands_{};
  std::vector<FirstArgument> first_arguments_;
  std::vector<std::string> rules_;  // behind +@all or -@all
  std::vector<KeyPattern> keys_;
  std::vector<std::string> channels_;
  bool all_commands_ = false;  // every bit is set and no first argument needs to be looked at
  bool all_keys_ = false;
  bool all_channels_;
};

}  // namespace quoll::server
