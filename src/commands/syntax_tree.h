// SyntaxTree: the arguments of a command as COMMAND DOCS shows them, read from the row's `syntax`
// text. Pure; parsed on request, since only documentation asks for it.
//
//   words      lower case: a value ("key"); no lower-case letter: a word of its own ("NX", "*")
//   EX seconds          the word introduces the value(s) behind it: its token
//   [...]               optional                        <a | b>, [a | b]   one of
//   {...}               one block                       x [x ...]          x, repeated
//   a b [a b ...]       a and b, repeated together      GET p [GET p ...]  with the token each time
//   name:type           overrides the type that the name suggests ("timeout:double")
//
// A value's type follows from its name (kTypes in the .cc). Groups have no name in the text; theirs
// follow from what is in them: "condition" for NX | XX, else the members' names joined by '_'.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::commands {

using base::Bytes;

enum class ArgumentType : uint8_t {
  string,
  integer,
  real,
  key,
  pattern,
  unix_time,
  pure_token,
  oneof,
  block
};

struct Argument {
  std::string name;
  ArgumentType type = ArgumentType::string;
  Bytes token;        // part of the parsed text
  int key_spec = -1;  // which of the command's key specs names it; keys only
  bool optional = false;
  bool multiple = false;
  bool multiple_token = false;
  std::vector<Argument> members;  // of a oneof or block
};

// False when brackets do not match or the text holds what the notation does not know; `arguments`
// is then empty. The n-th key belongs to the n-th key spec, the last spec has what remains.
// The tree borrows from `syntax`.
bool parse_syntax(Bytes syntax, size_t key_specs, std::vector<Argument>& arguments);

// "string", "unix-time", "pure-token", ...: the name in COMMAND DOCS.
Bytes type_name(ArgumentType type);

}  // namespace quoll::commands
