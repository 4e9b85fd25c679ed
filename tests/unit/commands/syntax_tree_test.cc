#include "commands/syntax_tree.h"

#include <doctest/doctest.h>

#include "commands/table.h"
#include "server/command.h"

namespace quoll::commands {
namespace {

// One line per tree: name:type, token in front, members in (), flags behind (? optional,
// * multiple, + multiple with token), @n the key spec.
std::string shown(const std::vector<Argument>& arguments) {
  std::string text;
  for (const Argument& argument : arguments) {
    if (!text.empty()) text += ' ';
    if (argument.type == ArgumentType::pure_token || !argument.token.empty()) {
      text += '/';
      text += argument.token;
      text += '/';
    }
    text += argument.name;
    text += ':';
    text += type_name(argument.type);
    if (argument.key_spec >= 0) text += '@' + std::to_string(argument.key_spec);
    if (!argument.members.empty()) text += '(' + shown(argument.members) + ')';
    if (argument.optional) text += '?';
    if (argument.multiple) text += argument.multiple_token ? '+' : '*';
  }
  return text;
}

std::string parsed(Bytes syntax, size_t key_specs = 1) {
  std::vector<Argument> arguments;
  if (!parse_syntax(syntax, key_specs, arguments)) {
    CHECK(arguments.empty());
    return "malformed";
  }
  return shown(arguments);
}

TEST_CASE("values and their types") {
  CHECK(parsed("") == "");
  CHECK(parsed("key") == "key:key@0");
  CHECK(parsed("key value") == "key:key@0 value:string");
  CHECK(parsed("key increment") == "key:key@0 increment:integer");
  CHECK(parsed("key increment:double") == "key:key@0 increment:double");
  CHECK(parsed("key:string") == "key:string");
  CHECK(parsed("ip:port") == "ip:port:string");
  CHECK(parsed("pattern score unix-time-seconds") ==
        "pattern:pattern score:double unix-time-seconds:unix-time");
}

TEST_CASE("tokens") {
  CHECK(parsed("[GET]") == "/GET/get:pure-token?");
  CHECK(parsed("[COUNT count]") == "/COUNT/count:integer?");
  CHECK(parsed("[LIMIT offset count]") ==
        "/LIMIT/offset_count:block(offset:integer count:integer)?");
  CHECK(parsed("[COUNT count [ANY]]") ==
        "count_any:block(/COUNT/count:integer /ANY/any:pure-token?)?");
  CHECK(parsed("[FULL [COUNT count]]") ==
        "full_count:block(/FULL/full:pure-token /COUNT/count:integer?)?");
  CHECK(parsed("GROUP group") == "/GROUP/group:string");
  CHECK(parsed("<NO ONE | host port>") ==
        "no_one_host_port:oneof(no_one:block(/NO/no:pure-token /ONE/one:pure-token) "
        "host_port:block(host:string port:integer))");
  CHECK(parsed("<* | id>") == "auto_id_id:oneof(/*/auto_id:pure-token id:string)");
  CHECK(parsed("<key | \"\">") == "key_empty_string:oneof(key:key@0 //empty_string:pure-token)");
}

TEST_CASE("choices") {
  CHECK(parsed("key value [NX | XX] [GET] [EX seconds | PXAT unix-time-milliseconds | KEEPTTL]") ==
        "key:key@0 value:string condition:oneof(/NX/nx:pure-token /XX/xx:pure-token)? "
        "/GET/get:pure-token? seconds_unix-time-milliseconds_keepttl:oneof(/EX/seconds:integer "
        "/PXAT/unix-time-milliseconds:unix-time /KEEPTTL/keepttl:pure-token)?");
  CHECK(parsed("[AGGREGATE <SUM | MIN>]") ==
        "/AGGREGATE/sum_min:oneof(/SUM/sum:pure-token /MIN/min:pure-token)?");
  CHECK(parsed("<BYBOX width height <KM | MI>>") ==
        "width_height_unit:block(/BYBOX/width:double height:double "
        "unit:oneof(/KM/km:pure-token /MI/mi:pure-token))");
}

TEST_CASE("repetition") {
  CHECK(parsed("key [key ...]") == "key:key@0*");
  CHECK(parsed("[key ...]") == "key:key@0?*");
  CHECK(parsed("[section [section ...]]") == "section:string?*");
  CHECK(parsed("key value [key value ...]") == "key_value:block(key:key@0 value:string)*");
  CHECK(parsed("[GET pattern [GET pattern ...]]") == "/GET/pattern:pattern?+");
  CHECK(parsed("[KEYS key [key ...]]") == "/KEYS/key:key@0?*");
  CHECK(parsed("STREAMS {key [key ...] id [id ...]}") ==
        "/STREAMS/key_id:block(key:key@0* id:string*)");
  CHECK(parsed("{parameter} [{parameter} ...]") == "parameter:block(parameter:string)*");
  CHECK(parsed("[<GET x | SET y> [<GET x | SET y> ...]]") ==
        "x_y:oneof(/GET/x:string /SET/y:string)?*");
  CHECK(parsed("<[ID id] | [ADDR ip:port] ...>") ==
        "id_ip:port:oneof(/ID/id:string? /ADDR/ip:port:string?)*");
}

TEST_CASE("keys are numbered by key specs") {
  CHECK(parsed("key newkey", 2) == "key:key@0 newkey:key@1");
  CHECK(parsed("destination numkeys key [key ...]", 2) ==
        "destination:key@0 numkeys:integer key:key@1*");
  CHECK(parsed("key1 key2", 1) == "key1:key@0 key2:key@0");
  CHECK(parsed("key", 0) == "key:key");
}

TEST_CASE("malformed notation") {
  for (Bytes syntax : {"[key", "key]", "<a | b]", "a | b", "[]", "[a | ]", "[... key]", "key ...",
                       "{a", "[a ...", "a ... b"})
    CHECK_MESSAGE(parsed(syntax) == "malformed", syntax);
  CHECK(parsed(std::string(100, '[').append("a").append(100, ']')) == "malformed");
}

TEST_CASE("every row of every family can be read") {
  size_t rows = 0;
  for (auto family : families()) {
    for (const server::CommandSpec& spec : family) {
      std::vector<Argument> arguments;
      CHECK_MESSAGE(parse_syntax(spec.syntax, spec.keys.count(), arguments), spec.name);
      ++rows;
    }
  }
  CHECK(rows > 0);
}

}  // namespace
}  // namespace quoll::commands
