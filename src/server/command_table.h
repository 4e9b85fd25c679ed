// CommandTable: the lookup over all families' rows and what is counted per command.
//
// Power-of-two open addressing over lower-cased names; a lookup folds the name eight bytes at a
// time, touches one slot and compares the name once. Rows stay where their family declared them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "server/command.h"

namespace quoll::server {

struct CommandCounters {
  uint64_t calls = 0;
  uint64_t nanos = 0;
  uint64_t rejected = 0;                     // refused before running
  uint64_t failed = 0;                       // ran and replied an error
  std::unique_ptr<base::Histogram> latency;  // made with the first call
};

struct Command {
  const CommandSpec* spec = nullptr;
  Bytes name;                         // folded full name ("config|get"); follows rename-command
  std::vector<Command*> subcommands;  // of a container
  Command* parent = nullptr;
  uint32_t categories = 0;  // explicit and implied
  int first_key = 0;        // argument that is hashed ahead; 0 = none
  bool one_key = false;     // it has that key and never another one
  CommandCounters counters;
  uint32_t id = 0;  // its place in CommandTable::all()
};

class CommandTable {
 public:
  explicit CommandTable(std::span<const std::span<const CommandSpec>> families);

  // nullptr when unknown. Case is ignored.
  Command* find(Bytes name) const;
  // The subcommand of a container, or nullptr.
  Command* find_sub(const Command& container, Bytes name) const;
  // "config|get" or "get": what COMMAND INFO and LATENCY HISTOGRAM take.
  Command* find_full(Bytes name) const;
  // By the declared name ("config|get"), whatever rename-command made of it: ACL rules mean these.
  // Looks at all commands.
  Command* find_original(Bytes name) const;
  // rename-command; an empty new name removes. False when the command is unknown or the new name
  // is taken.
  bool rename(Bytes name, Bytes new_name);

  const std::vector<Command*>& top_level() const { return top_level_; }
  const std::vector<std::unique_ptr<Command>>& all() const { return all_; }
  void reset_counters();

 private:
  // A name folded to lower case, by its first and last eight bytes: longer names are compared
  // whole.
  struct Folded {
    uint64_t head;
    uint64_t tail;
    bool operator==(const Folded&) const = default;
  };
  struct Slot {
    Folded folded;
    uint32_t size = 0;
    bool exact = false;  // folding says all: letters only, at most sixteen
    Command* command = nullptr;
  };
  static Folded fold(Bytes name);
  static uint64_t hash_of(const Folded& folded, size_t size);
  void index();

  std::vector<std::unique_ptr<Command>> all_;
  std::vector<Command*> top_level_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<std::string>> renamed_;
  size_t mask_ = 0;
};

// Which arguments of a command line are keys. Returns false when the line is malformed. Flags that
// depend on the line (kKeyVariableFlags: SET's) are settled.
struct KeyArg {
  size_t index;
  uint16_t flags;
};
bool find_keys(const CommandSpec& spec, Args args, std::vector<KeyArg>& keys);

Bytes category_name(unsigned bit);
constexpr unsigned kCategories = 21;

}  // namespace quoll::server
