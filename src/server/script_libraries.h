// ScriptLibraries: the libraries of FUNCTION LOAD and the functions they registered.
//
// A library's code runs once, at loading, and sees nothing but redis.register_function and the
// log. All libraries share one VM. Loading either succeeds as a whole or changes nothing.
//
// The code texts are what is kept across restarts: RDB files, DUMP payloads and the log hold them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "server/lua_vm.h"

namespace quoll::server {

class Call;
class ScriptHost;

constexpr base::Nanos kLoadTimeMax = 500 * base::kNanosPerMilli;  // running a library's code

class ScriptLibraries {
 public:
  struct Function {
    std::string name;
    std::string description;
    bool described = false;
    uint32_t flags = 0;
    int callback = 0;  // reference in the VM
  };
  struct Library {
    std::string name;
    std::string code;
    std::vector<Function> functions;  // in the order of registration
  };
  using Libraries = std::map<std::string, std::unique_ptr<Library>, std::less<>>;
  enum class OnPresent { refuse, replace };

  explicit ScriptLibraries(ScriptHost& host) : host_(host) {}
  ~ScriptLibraries();

  // FUNCTION LOAD. The library's name, or why it was not loaded. `timed`: the code may run for
  // kLoadTimeMax only.
  base::Result<std::string> load(base::Bytes code, OnPresent on_present, bool timed);
  // Many at once, all or none. `flush`: the present ones go.
  base::Result<> load_all(const std::vector<std::string>& codes, OnPresent on_present, bool flush,
                          bool timed = false);
  bool remove(base::Bytes name);
  void flush();
  // What loading the code would make, without keeping it; the error of load(). Functions of other
  // libraries may have the same names.
  struct Examined {
    std::string name;
    std::vector<std::string> functions;
  };
  base::Result<Examined> examine(base::Bytes code);
  // How often libraries have come and gone.
  uint64_t changes() const { return changes_; }
  // The library that loads now took too long.
  void interrupt() { vm_->interrupt(); }
  // FCALL.
  void call(Call& call, bool read_only);

  // ScriptFlag bits of a function; 0 when there is none.
  uint32_t flags_of(base::Bytes function) const;

  const Libraries& libraries() const { return libraries_; }
  std::vector<std::string> codes() const;
  size_t functions() const { return function_count_; }
  size_t bytes() const { return bytes_; }  // of codes and bookkeeping, outside the VM
  size_t vm_bytes() const { return vm_ ? vm_->bytes() : 0; }

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(base::Bytes text) const { return base::xxh3(text); }
  };
  using Functions = std::unordered_map<std::string, const Function*, TextHash, std::equal_to<>>;

  static int register_function(lua_State* lua);
  static const char* read_named(lua_State* lua, Function& made);
  static const char* read_positional(lua_State* lua, Function& made);
  static const char* read_flags(lua_State* lua, Function& made);
  const char* take_function(Function& made);

  base::Result<std::unique_ptr<Library>> compile(base::Bytes code, base::Bytes name, bool timed);
  base::Result<> check_collisions(const Library& library, const Libraries& among,
                                  base::Bytes replaced) const;
  base::Result<std::string> name_of(base::Bytes code) const;
  const Function* find(base::Bytes name) const;
  void release(Library& library);
  void place(std::unique_ptr<Library> library);
  void index();
  LuaVm& vm();

  ScriptHost& host_;
  std::unique_ptr<LuaVm> vm_;  // made with the first library
  Libraries libraries_;
  // By name in lower case. Of one library's names that differ in case only, the last is called.
  Functions functions_;
  size_t function_count_ = 0;
  Library* loading_ = nullptr;  // whose code runs now
  Function registering_;        // kept between calls: nothing is lost when Lua leaves by an error
  size_t bytes_ = 0;
  uint64_t changes_ = 0;
};

}  // namespace quoll::server
