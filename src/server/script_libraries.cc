#include "server/script_libraries.h"

#include <algorithm>

#include "base/text.h"
#include "server/lua_redis_api.h"
#include "server/script_cache.h"
#include "server/script_host.h"
#include "server/script_values.h"
#include "server/server.h"

namespace quoll::server {
namespace {

// All of it, also behind a zero byte.
std::string text_at(lua_State* lua, int index) {
  size_t size;
  const char* text = lua_tolstring(lua, index, &size);
  return {text, size};
}

bool is_library_name(Bytes name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

void push_words(lua_State* lua, Args words) {
  lua_createtable(lua, static_cast<int>(words.size()), 0);
  int place = 0;
  for (Bytes word : words) {
    lua_pushlstring(lua, word.data(), word.size());
    lua_rawseti(lua, -2, ++place);
  }
}

}  // namespace

ScriptLibraries::~ScriptLibraries() = default;

LuaVm& ScriptLibraries::vm() {
  if (!vm_) {
    vm_ = std::make_unique<LuaVm>(LuaVm::Kind::functions, &host_, host_.chance());
    add_redis_api(*vm_, LuaVm::Kind::functions);
    ScriptHost::watch(vm_->state());
  }
  return *vm_;
}

// --- redis.register_function -------------------------------------------------------------------

// No object with a destructor may live here when Lua is told of an error.
int ScriptLibraries::register_function(lua_State* lua) {
  ScriptLibraries& self = LuaVm::owner_of<ScriptHost>(lua).libraries();
  const char* error = nullptr;
  self.registering_ = {};
  int count = lua_gettop(lua);
  if (!self.loading_)
    error = "ERR redis.register_function can only be called on FUNCTION LOAD command";
  else if (count < 1 || count > 2)
    error = "ERR wrong number of arguments to redis.register_function";
  else
    error =
        count == 1 ? read_named(lua, self.registering_) : read_positional(lua, self.registering_);
  if (!error) error = self.take_function(self.registering_);
  if (!error) return 0;
  if (self.registering_.callback != 0)
    luaL_unref(lua, LUA_REGISTRYINDEX, self.registering_.callback);
  script_values::push_error(lua, error);
  return lua_error(lua);
}

const char* ScriptLibraries::read_flags(lua_State* lua, Function& made) {
  for (int i = 1;; ++i) {
    lua_rawgeti(lua, -1, i);
    if (lua_isnil(lua, -1)) break;
    uint32_t flag = lua_isstring(lua, -1) ? script_flag(lua_tostring(lua, -1)) : 0;
    lua_pop(lua, 1);
    if (!flag) return "ERR unknown flag given";
    made.flags |= flag;
  }
  lua_pop(lua, 1);
  return nullptr;
}

const char* ScriptLibraries::read_named(lua_State* lua, Function& made) {
  if (!lua_istable(lua, 1))
    return "ERR calling redis.register_function with a single argument is only applicable to Lua "
           "table (representing named arguments).";
  bool named = false;
  for (lua_pushnil(lua); lua_next(lua, 1); lua_pop(lua, 1)) {
    if (!lua_isstring(lua, -2))
      return "ERR named argument key given to redis.register_function is not a string";
    Bytes key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "";
    if (base::equals_ignoring_case(key, "function_name")) {
      if (!lua_isstring(lua, -1))
        return "ERR function_name argument given to redis.register_function must be a string";
      made.name = text_at(lua, -1);
      named = true;
    } else if (base::equals_ignoring_case(key, "description")) {
      if (!lua_isstring(lua, -1))
        return "ERR description argument given to redis.register_function must be a string";
      made.description = lua_tostring(lua, -1);
      made.described = true;
    } else if (base::equals_ignoring_case(key, "callback")) {
      if (!lua_isfunction(lua, -1))
        return "ERR callback argument given to redis.register_function must be a function";
      lua_pushvalue(lua, -1);
      made.callback = luaL_ref(lua, LUA_REGISTRYINDEX);
    } else if (base::equals_ignoring_case(key, "flags")) {
      if (!lua_istable(lua, -1))
        return "ERR flags argument to redis.register_function must be a table representing "
               "function flags";
      if (const char* error = read_flags(lua, made)) return error;
    } else {
      return "ERR unknown argument given to redis.register_function";
    }
  }
  if (!named) return "ERR redis.register_function must get a function name argument";
  if (!made.callback) return "ERR redis.register_function must get a callback argument";
  return nullptr;
}

const char* ScriptLibraries::read_positional(lua_State* lua, Function& made) {
  if (!lua_isstring(lua, 1))
    return "ERR first argument to redis.register_function must be a string";
  if (!lua_isfunction(lua, 2))
    return "ERR second argument to redis.register_function must be a function";
  made.name = text_at(lua, 1);
  lua_pushvalue(lua, 2);
  made.callback = luaL_ref(lua, LUA_REGISTRYINDEX);
  return nullptr;
}

const char* ScriptLibraries::take_function(Function& made) {
  if (!is_library_name(made.name))
    return "ERR Library names can only contain letters, numbers, or underscores(_) and must be at "
           "least one character long";
  for (const Function& other : loading_->functions)
    if (other.name == made.name) return "ERR Function already exists in the library";
  loading_->functions.push_back(std::move(made));
  made = {};
  return nullptr;
}

// --- loading -----------------------------------------------------------------------------------

base::Result<std::unique_ptr<ScriptLibraries::Library>> ScriptLibraries::compile(Bytes code,
                                                                                 Bytes name,
                                                                                 bool timed) {
  auto library = std::make_unique<Library>();
  library->name = name;
  library->code = code;
  lua_State* lua = vm().state();
  Bytes text = code.substr(code.find('\n'));  // the first line is the library's head
  if (!vm_->compile(text, "@user_function")) {
    std::string error = "Error compiling function: ";
    error += lua_tostring(lua, -1);
    lua_pop(lua, 1);
    return base::Error{error};
  }
  push_library_api(*vm_, register_function);
  vm_->begin_library_view();
  loading_ = library.get();
  if (timed) host_.set_load_deadline(host_.server().host().clock.steady() + kLoadTimeMax);
  bool ok = vm_->call(0, host_.server().settings().script_memory_max);
  host_.set_load_deadline(0);
  loading_ = nullptr;
  vm_->end_library_view();
  std::string error;
  if (!ok) {
    error = "Error registering functions: ";
    if (lua_istable(lua, -1)) lua_getfield(lua, -1, "err");
    const char* reason = lua_tostring(lua, -1);
    error += reason ? reason : "unknown error";
  } else if (library->functions.empty()) {
    error = "No functions registered";
  }
  lua_settop(lua, 0);
  if (error.empty()) return library;
  release(*library);
  return base::Error{error};
}

void ScriptLibraries::release(Library& library) {
  for (Function& function : library.functions) vm_->drop(function.callback);
}

// A function of another library has the same name.
base::Result<> ScriptLibraries::check_collisions(const Library& library, const Libraries& among,
                                                 Bytes replaced) const {
  for (const auto& [name, other] : among) {
    if (name == replaced) continue;
    for (const Function& one : other->functions)
      for (const Function& own : library.functions)
        if (base::equals_ignoring_case(one.name, own.name))
          return base::Error{"Function " + own.name + " already exists"};
  }
  return {};
}

void ScriptLibraries::place(std::unique_ptr<Library> library) {
  auto at = libraries_.find(library->name);
  if (at != libraries_.end()) {
    release(*at->second);
    at->second = std::move(library);
  } else {
    std::string name = library->name;
    libraries_.emplace(std::move(name), std::move(library));
  }
}

void ScriptLibraries::index() {
  ++changes_;
  functions_.clear();
  function_count_ = 0;
  bytes_ = 0;
  for (const auto& [name, library] : libraries_) {
    function_count_ += library->functions.size();
    bytes_ += sizeof(Library) + 2 * name.capacity() + library->code.capacity();
    for (const Function& function : library->functions) {
      functions_[base::to_lower(function.name)] = &function;
      bytes_ += sizeof(Function) + function.name.capacity() + function.description.capacity();
    }
  }
}

base::Result<std::string> ScriptLibraries::name_of(Bytes code) const {
  auto head = read_library_head(code);
  if (!head) return base::Error{head.error()};
  if (!base::equals_ignoring_case(head.value().engine, "lua"))
    return base::Error{"Engine '" + head.value().engine + "' not found"};
  return std::move(head.value().name);
}

base::Result<ScriptLibraries::Examined> ScriptLibraries::examine(Bytes code) {
  auto name = name_of(code);
  if (!name) return base::Error{name.error()};
  auto compiled = compile(code, name.value(), true);
  if (!compiled) return base::Error{compiled.error()};
  Examined examined{name.value(), {}};
  for (const Function& function : compiled.value()->functions)
    examined.functions.push_back(function.name);
  release(*compiled.value());
  return examined;
}

base::Result<std::string> ScriptLibraries::load(Bytes code, OnPresent on_present, bool timed) {
  auto head = name_of(code);
  if (!head) return head;
  const std::string& name = head.value();
  if (on_present == OnPresent::refuse && libraries_.contains(name))
    return base::Error{"Library '" + name + "' already exists"};
  auto compiled = compile(code, name, timed);
  if (!compiled) return base::Error{compiled.error()};
  std::unique_ptr<Library> library = std::move(compiled.value());
  if (auto free = check_collisions(*library, libraries_, name); !free) {
    release(*library);
    return base::Error{free.error()};
  }
  place(std::move(library));
  index();
  return name;
}

base::Result<> ScriptLibraries::load_all(const std::vector<std::string>& codes,
                                         OnPresent on_present, bool flush, bool timed) {
  Libraries fresh;
  auto give_up = [&](const std::string& error) -> base::Result<> {
    for (auto& [name, library] : fresh) release(*library);
    return base::Error{error};
  };
  for (const std::string& code : codes) {
    auto head = name_of(code);
    if (!head) return give_up(head.error());
    const std::string& name = head.value();
    bool present = !flush && on_present == OnPresent::refuse && libraries_.contains(name);
    if (present || fresh.contains(name)) return give_up("Library " + name + " already exists");
    auto compiled = compile(code, name, timed);
    if (!compiled) return give_up(compiled.error());
    std::unique_ptr<Library> library = std::move(compiled.value());
    auto free = check_collisions(*library, fresh, {});
    fresh.emplace(name, std::move(library));
    if (!free) return give_up(free.error());
  }
  if (!flush) {
    Libraries staying;  // those that nothing takes the place of
    for (auto& [name, library] : libraries_)
      if (!fresh.contains(name)) staying.emplace(name, std::move(library));
    std::string error;
    for (const auto& [name, library] : fresh)
      if (auto free = check_collisions(*library, staying, {}); !free) error = free.error();
    for (auto& [name, library] : staying) libraries_[name] = std::move(library);
    if (!error.empty()) return give_up(error);
  } else {
    for (auto& [name, library] : libraries_) release(*library);
    libraries_.clear();
  }
  for (auto& [name, library] : fresh) place(std::move(library));
  index();
  return {};
}

bool ScriptLibraries::remove(Bytes name) {
  auto at = libraries_.find(name);
  if (at == libraries_.end()) return false;
  release(*at->second);
  libraries_.erase(at);
  index();
  return true;
}

void ScriptLibraries::flush() {
  ++changes_;
  libraries_.clear();
  functions_.clear();
  function_count_ = 0;
  bytes_ = 0;
  vm_.reset();
}

std::vector<std::string> ScriptLibraries::codes() const {
  std::vector<std::string> codes;
  for (const auto& [name, library] : libraries_) codes.push_back(library->code);
  return codes;
}

// --- calling -----------------------------------------------------------------------------------

const ScriptLibraries::Function* ScriptLibraries::find(Bytes name) const {
  auto found = functions_.find(name);
  if (found == functions_.end()) found = functions_.find(base::to_lower(name));
  return found == functions_.end() ? nullptr : found->second;
}

uint32_t ScriptLibraries::flags_of(Bytes name) const {
  const Function* function = find(name);
  return function ? function->flags : 0;
}

void ScriptLibraries::call(Call& call, bool read_only) {
  const Function* found = find(call.arg(1));
  if (!found) return call.reply.error("ERR Function not found");
  const Function& function = *found;
  int keys;
  if (!read_key_count(call, keys, "ERR Bad number of keys provided") ||
      !host_.admit(call, function.flags, read_only))
    return;
  auto count = static_cast<size_t>(keys);
  lua_State* lua = vm_->state();
  vm_->push(function.callback);
  push_words(lua, call.args.subspan(3, count));
  push_words(lua, call.args.subspan(3 + count));
  host_.run(call, {.vm = *vm_,
                   .name = function.name,
                   .flags = function.flags,
                   .read_only = read_only,
                   .function = true,
                   .arguments = 2});
}

}  // namespace quoll::server
