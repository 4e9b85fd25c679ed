#include "server/script_flags.h"

#include <doctest/doctest.h>

namespace quoll::server {
namespace {

TEST_CASE("the first line of a script") {
  auto plain = read_script_head("return 1");
  REQUIRE(plain);
  CHECK(plain.value().flags == kScriptCompatible);
  CHECK(plain.value().bytes == 0);

  auto none = read_script_head("#!lua\nreturn 1");
  REQUIRE(none);
  CHECK(none.value().flags == 0);
  CHECK(none.value().bytes == 5);

  auto some = read_script_head("#!lua flags=no-writes,allow-stale\nreturn 1");
  REQUIRE(some);
  CHECK(some.value().flags == (kScriptNoWrites | kScriptAllowStale));

  CHECK(read_script_head("#!lua flags=\nx"));
  CHECK(read_script_head("#!lua").error() == "Invalid script shebang");
  CHECK(read_script_head("#!python\nx").error() == "Unexpected engine in script shebang: #!python");
  CHECK(read_script_head("#!lua flags=no\nx").error() == "Unexpected flag in script shebang: no");
  CHECK(read_script_head("#!lua name=x\nx").error() == "Unknown lua shebang option: name=x");
}

TEST_CASE("the first line of a library") {
  auto good = read_library_head("#!lua name=my_lib1\ncode");
  REQUIRE(good);
  CHECK(good.value().name == "my_lib1");
  CHECK(good.value().engine == "lua");
  CHECK(good.value().bytes == 18);
  CHECK(read_library_head("code").error() == "Missing library metadata");
  CHECK(read_library_head("#!lua name=x").error() == "Invalid library metadata");
  CHECK(read_library_head("#!lua\n").error() == "Library name was not given");
  CHECK(read_library_head("#!lua name=a name=b\n").error() ==
        "Invalid metadata value, name argument was given multiple times");
  CHECK(read_library_head("#!lua flags=a\n").error() == "Invalid metadata value given: flags=a");
  CHECK(!read_library_head("#!lua name=a-b\n"));
}

TEST_CASE("flags by name") {
  for (uint32_t i = 0; i < kScriptFlagsNamed; ++i)
    CHECK(script_flag(script_flag_name(uint32_t{1} << i)) == uint32_t{1} << i);
  CHECK(script_flag("NO-WRITES") == 0);
  CHECK(script_flag("") == 0);
}

}  // namespace
}  // namespace quoll::server
