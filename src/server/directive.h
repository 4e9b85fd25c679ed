// One configuration directive as a row of a table: its names, the Settings member behind it, what
// it accepts and who may change it. Defaults are the initialisers of Settings. The rows live in
// directives_<subject>.cc; CONFIG GET, SET, REWRITE and the file reader read nothing else.
//
// Cost: one row is read per directive given, never on a request path except CONFIG's.
// Invariant: names and aliases are lower case and unique over all tables (checked at first use).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "server/settings.h"

namespace quoll::server {

using base::Bytes;
using base::Result;
using Words = std::span<const std::string>;

constexpr int64_t kInt32Min = INT32_MIN;
constexpr int64_t kInt32Max = INT32_MAX;
constexpr int64_t kUint32Max = UINT32_MAX;
constexpr int64_t kInt64Max = INT64_MAX;
constexpr int64_t kPortMax = 65535;

struct Switch {  // yes or no
  bool Settings::*member;
};

enum class Notation { decimal, memory, octal };

struct Integer {
  int64_t Settings::*member;
  int64_t min;
  int64_t max;
  Notation notation = Notation::decimal;
  int64_t kept_min = INT64_MIN;  // an accepted value is then moved into kept_min ... kept_max
  int64_t kept_max = INT64_MAX;
};

struct Memory {  // 0 ... 2^64-1 bytes
  uint64_t Settings::*member;
};

struct MemoryOrPercent {  // bytes, or 0 % ... 100 % stored negative
  int64_t Settings::*member;
};

struct Text {
  std::string Settings::*member;
  bool unset_when_empty = true;  // CONFIG REWRITE then drops the line instead of writing ""
  Result<> (*check)(Bytes) = nullptr;
};

struct ChoiceName {
  Bytes name;
  int value;
  bool listed = true;  // false: accepted, but not named in the error message
};

struct Choice {  // the first name of a value is the one printed
  std::span<const ChoiceName> names;
  int (*read)(const Settings&);
  void (*write)(Settings&, int);
};

// Where a value comes from: a file or command line adds up repeated lines, CONFIG SET replaces.
enum class Source { file_first, file_again, command };

struct Special {  // anything with its own syntax
  Result<> (*write)(Settings&, Words, Source);
  std::string (*read)(const Settings&);
  // The lines of CONFIG REWRITE; nullptr: the name and the value as read() gives it.
  std::vector<std::string> (*lines)(const Settings&) = nullptr;
};

enum class RememberedType { yes_no, integer, memory, text };

struct Remembered {  // known to other servers; stored as text, without effect
  RememberedType type;
  Bytes initial;
};

using Value = std::variant<Switch, Integer, Memory, MemoryOrPercent, Text, Choice, const Special*,
                           Remembered>;

constexpr uint32_t kImmutable = 1;           // not by CONFIG SET
constexpr uint32_t kHidden = 2;              // CONFIG GET shows it only by its exact name
constexpr uint32_t kProtected = 4;           // CONFIG SET needs enable-protected-configs
constexpr uint32_t kMultiArgument = 8;       // takes several words; CONFIG SET splits at blanks
constexpr uint32_t kSensitive = 16;          // to be kept out of logs
constexpr uint32_t kDenyLoading = 32;        // not while the data set is being loaded
constexpr uint32_t kAlwaysWritten = 64;      // CONFIG REWRITE writes it even if it has the default
constexpr uint32_t kUnsetAtDefault = 128;    // CONFIG REWRITE removes its line at the default
constexpr uint32_t kOwn = 512;               // not Redis's: immutable, but may be set to what it is
constexpr uint32_t kLinesIndependent = 256;  // of several lines, each is written only if it changed

struct Directive {
  Bytes name;
  Bytes alias = {};         // an old name; CONFIG GET lists it too
  Bytes hidden_alias = {};  // another server's name; accepted, not listed
  Value value;
  uint32_t flags = 0;
  Bytes no_effect = {};  // why this server ignores it; start-up warns when it is not the default
};

// A row under one of its names.
struct NamedDirective {
  Bytes name;
  const Directive* directive;
  bool listed;
};

// The row of a name in any case, or nullptr.
const Directive* find_directive(Bytes name);

// All names, sorted; aliases are entries of their own.
std::span<const NamedDirective> directive_names();

// All rows in table order: the order in which CONFIG REWRITE appends.
std::span<const Directive* const> directives();

// Sets the value from words, or says why not, in Redis's words. `settings` is then unchanged, or
// partly changed if the directive is special: callers work on a copy.
Result<> write_value(const Directive&, Settings&, Words words, Source);

// The value as CONFIG GET prints it.
std::string read_value(const Directive&, const Settings&);

// The lines CONFIG REWRITE would write for the value.
std::vector<std::string> rewrite_lines(const Directive&, const Settings&);

// "1gb", "64mb", "3kb" or plain bytes: the largest unit that divides.
std::string format_memory(uint64_t bytes);

// "3.5" for 3.500000.
std::string format_percentile(double value);

template <auto Member>
int read_choice(const Settings& settings) {
  return static_cast<int>(settings.*Member);
}

template <auto Member>
void write_choice(Settings& settings, int value) {
  auto& member = settings.*Member;
  member = static_cast<std::remove_reference_t<decltype(member)>>(value);
}

template <auto Member>
constexpr Choice choice(std::span<const ChoiceName> names) {
  return {.names = names, .read = read_choice<Member>, .write = write_choice<Member>};
}

template <class Enum>
constexpr int number(Enum value) {
  return static_cast<int>(value);
}

// The tables, one per subject, in the order of the shipped configuration.
std::span<const Directive> network_directives();
std::span<const Directive> process_directives();
std::span<const Directive> access_directives();
std::span<const Directive> persist_directives();
std::span<const Directive> replication_directives();
std::span<const Directive> cluster_directives();
std::span<const Directive> memory_directives();
std::span<const Directive> encoding_directives();
std::span<const Directive> observe_directives();
std::span<const Directive> tls_directives();
std::span<const Directive> remembered_directives();

}  // namespace quoll::server
