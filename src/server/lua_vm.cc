#include "server/lua_vm.h"

#include <cstring>

#include "base/check.h"
#include "base/memory.h"
#include "server/lua_sandbox.h"

namespace quoll::server {

LuaVm::LuaVm(Kind kind, void* owner, ScriptChance& chance)
    : kind_(kind), owner_(owner), chance_(chance) {
  lua_ = lua_newstate(resize, this);
  QUOLL_CHECK(lua_);
  QUOLL_CHECK(lua_cpcall(lua_, build, this) == 0);
}

LuaVm::~LuaVm() { lua_close(lua_); }

void* LuaVm::resize(void* self, void* block, size_t old_size, size_t size) {
  LuaVm& vm = *static_cast<LuaVm*>(self);
  if (size == 0) {
    if (block) base::release(block, old_size);
    vm.bytes_ -= block ? old_size : 0;
    return nullptr;
  }
  size_t held = block ? old_size : 0;
  if (size > held && vm.bytes_ - held + size > vm.bytes_max_) return nullptr;
  vm.bytes_ = vm.bytes_ - held + size;
  // Blocks have their class's size also where the allocator would give less (sanitizers).
  const size_t room = base::usable_size(size);
  if (!block) return base::allocate(room);
  if (base::usable_size(old_size) == room) return block;
  void* moved = base::allocate(room);
  std::memcpy(moved, block, old_size < size ? old_size : size);
  base::release(block, old_size);
  return moved;
}

int LuaVm::build(lua_State* lua) {
  LuaVm& vm = *static_cast<LuaVm*>(lua_touserdata(lua, 1));
  lua_sandbox::open_libraries(lua, vm.chance_);
  lua_pushcfunction(lua, error_handler);
  if (vm.kind_ == Kind::scripts) {
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -3, "__redis__err__handler");
  }
  vm.handler_ = vm.keep();
  lua_pushvalue(lua, -1);
  vm.globals_ = vm.keep();
  // Globals nobody defined are errors; the view is what scripts know as _G.
  lua_createtable(lua, 0, 1);
  lua_pushcfunction(lua, lua_sandbox::missing_field);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, -2);
  lua_pushvalue(lua, -1);
  lua_sandbox::protect(lua, true);
  lua_getmetatable(lua, -1);
  vm.globals_meta_ = vm.keep();
  lua_pushvalue(lua, -1);
  lua_setfield(lua, -3, "_G");
  lua_replace(lua, LUA_GLOBALSINDEX);
  lua_pop(lua, 1);
  return 0;
}

void LuaVm::set_global(const char* name) {
  push(globals_);
  lua_insert(lua_, -2);
  lua_pushstring(lua_, name);
  lua_insert(lua_, -2);
  lua_rawset(lua_, -3);
  lua_pop(lua_, 1);
}

void LuaVm::protect() { lua_sandbox::protect(lua_, false); }

bool LuaVm::compile(base::Bytes code, const char* chunk_name) {
  struct Pieces {
    base::Bytes next[2];
    int index;
  };
  // A blank in front of what would be taken for bytecode lets the text compiler refuse it.
  bool bytecode = code.starts_with(LUA_SIGNATURE[0]);
  Pieces pieces{{bytecode ? base::Bytes(" ") : code, bytecode ? code : base::Bytes()}, 0};
  auto read = [](lua_State*, void* from, size_t* size) -> const char* {
    auto* all = static_cast<Pieces*>(from);
    if (all->index == 2) {
      *size = 0;
      return nullptr;
    }
    base::Bytes piece = all->next[all->index++];
    *size = piece.size();
    return piece.data();
  };
  lua_pushstring(lua_, chunk_name);  // the compiler does not keep it alive (CVE-2025-49844)
  bool ok = lua_load(lua_, read, &pieces, chunk_name) == 0;
  lua_remove(lua_, -2);
  return ok;
}

bool LuaVm::call(int arguments, size_t bytes_max) {
  int function = lua_gettop(lua_) - arguments;
  push(handler_);
  lua_insert(lua_, function);
  bytes_max_ = bytes_max;
  bool ok = lua_pcall(lua_, arguments, 1, function) == 0;
  bytes_max_ = SIZE_MAX;
  interrupted_ = false;
  lua_remove(lua_, function);
  return ok;
}

// Where it happened, for the reply. An error in a C function is the caller's.
int LuaVm::error_handler(lua_State* lua) {
  lua_settop(lua, 1);
  lua_Debug where;
  bool known = lua_getstack(lua, 1, &where) && lua_getinfo(lua, "Sl", &where);
  if (known && std::strcmp(where.what, "C") == 0)
    known = lua_getstack(lua, 2, &where) && lua_getinfo(lua, "Sl", &where);
  if (!lua_istable(lua, 1)) {
    lua_createtable(lua, 0, 3);
    const char* text = lua_tostring(lua, 1);
    if (lua_isboolean(lua, 1)) text = lua_toboolean(lua, 1) ? "true" : "false";
    lua_pushfstring(lua, "ERR %s", text ? text : luaL_typename(lua, 1));
    lua_setfield(lua, 2, "err");
  }
  if (!known) return 1;
  lua_pushstring(lua, where.source);
  lua_setfield(lua, -2, "source");
  lua_pushinteger(lua, where.currentline);
  lua_setfield(lua, -2, "line");
  return 1;
}

bool LuaVm::interrupted(lua_State* lua) {
  void* vm;
  lua_getallocf(lua, &vm);
  return static_cast<LuaVm*>(vm)->interrupted_;
}

size_t LuaVm::room(lua_State* lua) {
  void* vm;
  lua_getallocf(lua, &vm);
  const LuaVm& self = *static_cast<LuaVm*>(vm);
  return self.bytes_max_ > self.bytes_ ? self.bytes_max_ - self.bytes_ : 0;
}

void LuaVm::tidy() {
  if (bytes_ < tidy_at_) return;
  lua_gc(lua_, LUA_GCCOLLECT, 0);
  tidy_at_ = 2 * bytes_ + kTidyBytes;
}

void LuaVm::begin_library_view() {
  push(globals_meta_);
  lua_insert(lua_, -2);
  lua_setfield(lua_, -2, "__index");
  lua_pop(lua_, 1);
}

void LuaVm::end_library_view() {
  push(globals_meta_);
  push(globals_);
  lua_setfield(lua_, -2, "__index");
  lua_pop(lua_, 1);
}

}  // namespace quoll::server
