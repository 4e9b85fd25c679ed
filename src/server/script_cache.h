// ScriptCache: the scripts of EVAL and SCRIPT LOAD, compiled, by the SHA1 of their text.
//
// Scripts that came by EVAL alone are bounded: the one used least recently leaves when there are
// more than kEvalScriptsMax (Redis 7.4's rule). Loaded ones stay until SCRIPT FLUSH.
//
// Cost: a call by text hashes the text (XXH3) and compares it once; SHA1 only for a new text.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/hash.h"
#include "base/result.h"
#include "server/lua_vm.h"

namespace quoll::server {

class Call;
class ScriptHost;

constexpr size_t kEvalScriptsMax = 500;
constexpr size_t kSha1HexBytes = 40;
void sha1_hex(base::Bytes text, char (&hex)[kSha1HexBytes]);

class ScriptCache {
 public:
  explicit ScriptCache(ScriptHost& host) : host_(host) {}

  void eval(Call& call, bool read_only);
  void eval_sha(Call& call, bool read_only);
  // SCRIPT LOAD. The SHA1, or why it does not compile.
  base::Result<std::string> load(base::Bytes body);
  bool has(base::Bytes sha) const { return find(sha) != nullptr; }
  void flush();
  // ScriptFlag bits; 0 when there is no such script.
  uint32_t flags_of_text(base::Bytes body) const;
  uint32_t flags_of_sha(base::Bytes sha) const;

  size_t scripts() const { return by_sha_.size(); }
  size_t bytes() const { return bytes_; }  // of texts and bookkeeping, outside the VM
  size_t vm_bytes() const { return vm_ ? vm_->bytes() : 0; }
  uint64_t evicted() const { return evicted_; }
  void reset_evicted() { evicted_ = 0; }

 private:
  struct Script {
    std::string sha;
    std::string body;
    uint32_t flags = 0;
    int function = 0;  // reference in the VM
    bool evictable = false;
    std::list<Script*>::iterator place;  // in order_, if evictable
  };
  // Keys are parts of hashes already.
  struct Same {
    size_t operator()(uint64_t key) const { return key; }
  };
  using Index = std::unordered_map<uint64_t, std::unique_ptr<Script>, Same>;

  static uint64_t sha_key(base::Bytes sha);
  Script* find(base::Bytes sha) const;
  Script* find_text(base::Bytes body) const;
  base::Result<Script*> add(base::Bytes body, bool evictable);
  void drop(Script& script);
  void run(Call& call, Script& script, int keys, bool read_only);
  LuaVm& vm();

  ScriptHost& host_;
  std::unique_ptr<LuaVm> vm_;  // made with the first script
  Index by_sha_;
  std::unordered_map<uint64_t, Script*, Same> by_text_;  // by XXH3 of the text
  std::list<Script*> order_;                             // evictable, least recently used first
  size_t bytes_ = 0;
  uint64_t evicted_ = 0;
};

// The numkeys argument at index 2 of the EVAL and FCALL families; replies the error when it is
// none.
bool read_key_count(Call& call, int& keys, base::Bytes not_a_number);

}  // namespace quoll::server
