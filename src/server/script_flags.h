// What a script says about itself: `#!lua name=lib flags=no-writes,allow-stale` in its first line,
// or the flags given to redis.register_function.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace quoll::server {

enum ScriptFlag : uint32_t {
  kScriptNoWrites = 1 << 0,
  kScriptAllowOom = 1 << 1,
  kScriptAllowStale = 1 << 2,
  kScriptNoCluster = 1 << 3,
  kScriptCrossSlot = 1 << 4,
  // EVAL without a first line of this kind: no flag is checked before it runs.
  kScriptCompatible = 1 << 5,
};

// 0 when there is no such flag.
uint32_t script_flag(base::Bytes name);
base::Bytes script_flag_name(uint32_t flag);
constexpr uint32_t kScriptFlagsNamed = 5;

struct ScriptHead {
  uint32_t flags = kScriptCompatible;
  size_t bytes = 0;  // of the first line without its end: the code behind it keeps its line numbers
};
// Reads the first line of an EVAL script.
base::Result<ScriptHead> read_script_head(base::Bytes body);

struct LibraryHead {
  std::string name;
  std::string engine;
  size_t bytes = 0;
};
// Reads the first line of a library.
base::Result<LibraryHead> read_library_head(base::Bytes code);

}  // namespace quoll::server
