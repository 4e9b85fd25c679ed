#include "server/script_cache.h"

#include "base/numbers.h"
#include "base/text.h"
#include "server/call.h"
#include "server/lua_redis_api.h"
#include "server/script_host.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr Bytes kNoMatch = "NOSCRIPT No matching script. Please use EVAL.";

// KEYS or ARGV.
void set_words(LuaVm& vm, const char* name, Args words) {
  lua_State* lua = vm.state();
  lua_createtable(lua, static_cast<int>(words.size()), 0);
  int place = 0;
  for (Bytes word : words) {
    lua_pushlstring(lua, word.data(), word.size());
    lua_rawseti(lua, -2, ++place);
  }
  vm.set_global(name);
}

}  // namespace

bool read_key_count(Call& call, int& keys, Bytes not_a_number) {
  int64_t count;
  if (!call.integer(2, count, not_a_number)) return false;
  if (count > static_cast<int64_t>(call.argc()) - 3) {
    call.reply.error("ERR Number of keys can't be greater than number of args");
    return false;
  }
  if (count < 0) {
    call.reply.error("ERR Number of keys can't be negative");
    return false;
  }
  keys = static_cast<int>(count);
  return true;
}

// Eight of the twenty bytes of the digest. What is no digest finds nothing.
uint64_t ScriptCache::sha_key(Bytes sha) {
  uint64_t key = 0;
  for (size_t i = 0; i < 16; ++i) {
    auto digit = static_cast<uint8_t>(sha[i]);
    key = key << 4 | ((digit & 15) + (digit > '9' ? 9u : 0u));
  }
  return key;
}

ScriptCache::Script* ScriptCache::find(Bytes sha) const {
  if (sha.size() != kSha1HexBytes) return nullptr;
  auto at = by_sha_.find(sha_key(sha));
  if (at == by_sha_.end() || !base::equals_ignoring_case(at->second->sha, sha)) return nullptr;
  return at->second.get();
}

ScriptCache::Script* ScriptCache::find_text(Bytes body) const {
  auto at = by_text_.find(base::xxh3(body));
  return at != by_text_.end() && at->second->body == body ? at->second : nullptr;
}

uint32_t ScriptCache::flags_of_text(Bytes body) const {
  auto head = read_script_head(body);
  return head ? head.value().flags : 0;
}

uint32_t ScriptCache::flags_of_sha(Bytes sha) const {
  const Script* script = find(sha);
  return script ? script->flags : 0;
}

LuaVm& ScriptCache::vm() {
  if (!vm_) {
    vm_ = std::make_unique<LuaVm>(LuaVm::Kind::scripts, &host_, host_.chance());
    add_redis_api(*vm_, LuaVm::Kind::scripts);
    ScriptHost::watch(vm_->state());
  }
  return *vm_;
}

base::Result<ScriptCache::Script*> ScriptCache::add(Bytes body, bool evictable) {
  char sha[kSha1HexBytes];
  sha1_hex(body, sha);
  if (Script* known = find({sha, kSha1HexBytes})) return known;
  auto head = read_script_head(body);
  if (!head) return base::Error{head.error()};
  Bytes code = body.substr(head.value().bytes);
  if (!vm().compile(code, "@user_script")) {
    std::string text = "Error compiling script (new function): ";
    text += lua_tostring(vm_->state(), -1);
    lua_pop(vm_->state(), 1);
    return base::Error{text};
  }
  if (evictable && order_.size() >= kEvalScriptsMax) {
    drop(*order_.front());
    ++evicted_;
  }
  auto made = std::make_unique<Script>();
  Script& script = *made;
  script.sha.assign(sha, kSha1HexBytes);
  script.body = body;
  script.flags = head.value().flags;
  script.function = vm_->keep();
  script.evictable = evictable;
  if (evictable) script.place = order_.insert(order_.end(), &script);
  bytes_ += sizeof(Script) + script.sha.capacity() + script.body.capacity();
  // Two texts whose hashes agree in part: the later one takes the place.
  auto& slot = by_sha_[sha_key(script.sha)];
  if (slot) drop(*slot);
  by_sha_[sha_key(script.sha)] = std::move(made);
  by_text_[base::xxh3(body)] = &script;
  return &script;
}

void ScriptCache::drop(Script& script) {
  if (script.evictable) order_.erase(script.place);
  auto text = by_text_.find(base::xxh3(script.body));
  if (text != by_text_.end() && text->second == &script) by_text_.erase(text);
  vm_->drop(script.function);
  bytes_ -= sizeof(Script) + script.sha.capacity() + script.body.capacity();
  by_sha_.erase(sha_key(script.sha));
}

base::Result<std::string> ScriptCache::load(Bytes body) {
  auto script = add(body, false);
  if (!script) return base::Error{script.error()};
  Script& loaded = *script.value();
  if (std::exchange(loaded.evictable, false)) order_.erase(loaded.place);
  return loaded.sha;
}

void ScriptCache::flush() {
  by_text_.clear();
  order_.clear();
  by_sha_.clear();
  bytes_ = 0;
  vm_.reset();
}

void ScriptCache::eval(Call& call, bool read_only) {
  int keys;
  if (!read_key_count(call, keys, errors::kNotInteger)) return;
  if (Script* known = find_text(call.arg(1))) return run(call, *known, keys, read_only);
  auto added = add(call.arg(1), true);
  if (!added) return call.reply.error("ERR " + added.error());
  run(call, *added.value(), keys, read_only);
}

void ScriptCache::eval_sha(Call& call, bool read_only) {
  if (call.arg(1).size() != kSha1HexBytes) return call.reply.error(kNoMatch);
  int keys;
  if (!read_key_count(call, keys, errors::kNotInteger)) return;
  Script* script = find(call.arg(1));
  if (!script) return call.reply.error(kNoMatch);
  run(call, *script, keys, read_only);
}

void ScriptCache::run(Call& call, Script& script, int keys, bool read_only) {
  if (!host_.admit(call, script.flags, read_only)) return;
  if (script.evictable) order_.splice(order_.end(), order_, script.place);
  auto count = static_cast<size_t>(keys);
  set_words(*vm_, "KEYS", call.args.subspan(3, count));
  set_words(*vm_, "ARGV", call.args.subspan(3 + count));
  vm_->push(script.function);
  host_.run(call, {.vm = *vm_,
                   .name = script.sha,
                   .flags = script.flags,
                   .read_only = read_only,
                   .function = false,
                   .arguments = 0});
}

}  // namespace quoll::server
