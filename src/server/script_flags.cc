#include "server/script_flags.h"

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace quoll::server {
namespace {

using base::Bytes;
using base::Error;

constexpr Bytes kNames[kScriptFlagsNamed] = {"no-writes", "allow-oom", "allow-stale", "no-cluster",
                                             "allow-cross-slot-keys"};

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

}  // namespace

uint32_t script_flag(Bytes name) {
  for (uint32_t i = 0; i < kScriptFlagsNamed; ++i)
    if (kNames[i] == name) return uint32_t{1} << i;
  return 0;
}

Bytes script_flag_name(uint32_t flag) {
  for (uint32_t i = 0; i < kScriptFlagsNamed; ++i)
    if (flag == uint32_t{1} << i) return kNames[i];
  return {};
}

base::Result<ScriptHead> read_script_head(Bytes body) {
  ScriptHead head;
  if (!body.starts_with("#!")) return head;
  size_t end = body.find('\n');
  if (end == Bytes::npos) return Error{"Invalid script shebang"};
  head.flags = 0;
  head.bytes = end;
  std::vector<std::string> words;
  if (!base::split_args(body.substr(0, end), words) || words.empty())
    return Error{"Invalid engine in script shebang"};
  if (words[0] != "#!lua") return Error{"Unexpected engine in script shebang: " + words[0]};
  for (size_t i = 1; i < words.size(); ++i) {
    if (!words[i].starts_with("flags=")) return Error{"Unknown lua shebang option: " + words[i]};
    Bytes list = Bytes(words[i]).substr(6);
    bool list_is_empty = list.empty();
    while (true) {
      size_t comma = list.find(',');
      Bytes name = list.substr(0, comma);
      uint32_t flag = script_flag(name);
      if (!flag && !list_is_empty)
        return Error{"Unexpected flag in script shebang: " + std::string(name)};
      head.flags |= flag;
      if (comma == Bytes::npos) break;
      list.remove_prefix(comma + 1);
    }
  }
  return head;
}

base::Result<LibraryHead> read_library_head(Bytes code) {
  if (!code.starts_with("#!")) return Error{"Missing library metadata"};
  size_t end = code.find('\n');
  if (end == Bytes::npos) return Error{"Invalid library metadata"};
  LibraryHead head;
  head.bytes = end;
  std::vector<std::string> words;
  if (!base::split_args(code.substr(0, end), words)) return Error{"Invalid library metadata"};
  head.engine = words[0].substr(2);  // "#!lua"
  bool named = false;
  for (size_t i = 1; i < words.size(); ++i) {
    if (!words[i].starts_with("name=")) return Error{"Invalid metadata value given: " + words[i]};
    if (named) return Error{"Invalid metadata value, name argument was given multiple times"};
    named = true;
    head.name = words[i].substr(5);
  }
  if (!named) return Error{"Library name was not given"};
  if (head.name.empty() || !std::ranges::all_of(head.name, is_name_char))
    return Error{
        "Library names can only contain letters, numbers, or underscores(_) and must be at least "
        "one character long"};
  return head;
}

}  // namespace quoll::server
