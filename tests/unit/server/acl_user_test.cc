#include "server/acl_user.h"

#include <doctest/doctest.h>

namespace quoll::server {
namespace {

void no_handler(Call&) {}

constexpr CommandSpec kCommands[] = {
    {.name = "get",
     .arity = 2,
     .run = no_handler,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .flags = kFast,
     .group = "string",
     .summary = "-"},
    {.name = "set",
     .arity = -3,
     .run = no_handler,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::first(kKeyOw | kKeyUpdate),
     .group = "string",
     .summary = "-"},
    {.name = "copy",
     .arity = 3,
     .run = no_handler,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::two(kKeyRo | kKeyAccess, kKeyOw | kKeyInsert),
     .group = "generic",
     .summary = "-"},
    {.name = "select", .arity = 2, .run = no_handler, .group = "connection", .summary = "-"},
    {.name = "auth",
     .arity = -2,
     .run = no_handler,
     .flags = kNoAuth,
     .group = "connection",
     .summary = "-"},
    {.name = "publish",
     .arity = 3,
     .run = no_handler,
     .flags = kPubSub,
     .group = "pubsub",
     .summary = "-"},
    {.name = "psubscribe",
     .arity = -2,
     .run = no_handler,
     .flags = kPubSub,
     .group = "pubsub",
     .summary = "-"},
    {.name = "config", .arity = -2, .group = "server", .summary = "-"},
    {.name = "config|get",
     .arity = 3,
     .run = no_handler,
     .flags = kAdmin,
     .group = "server",
     .summary = "-"},
    {.name = "config|set",
     .arity = 4,
     .run = no_handler,
     .flags = kAdmin,
     .group = "server",
     .summary = "-"},
};
static_assert(well_formed(kCommands));

const CommandTable& table() {
  static const std::span<const CommandSpec> families[] = {kCommands};
  static const CommandTable made{families};
  return made;
}

const AclRules kRules{table(), false};

AclUser user_of(std::initializer_list<Bytes> rules) {
  AclUser user("u", kRules);
  for (Bytes rule : rules) {
    CAPTURE(rule);
    CHECK(user.apply(rule, kRules) == RuleError::none);
  }
  return user;
}

AclVerdict verdict(const AclUser& user, std::initializer_list<Bytes> line) {
  std::vector<Bytes> args(line);
  Command* command = table().find(args[0]);
  REQUIRE(command);
  if (!command->subcommands.empty()) command = table().find_sub(*command, args[1]);
  std::vector<KeyArg> scratch;
  return user.check(*command, args, scratch);
}

Denied denied(const AclUser& user, std::initializer_list<Bytes> line) {
  return verdict(user, line).denied;
}

}  // namespace

TEST_CASE("a new user may do nothing but log in") {
  AclUser user("u", kRules);
  CHECK(user.describe() == "off resetchannels -@all");
  CHECK_FALSE(user.accepts(""));
  CHECK(denied(user, {"get", "x"}) == Denied::command);
  CHECK(denied(user, {"auth", "x"}) == Denied::no);
}

TEST_CASE("the unrestricted user is one who may do everything") {
  AclUser user = AclUser::unrestricted_default(kRules);
  CHECK(user.unrestricted());
  CHECK(user.describe() == "on nopass ~* &* +@all");
  CHECK(user.accepts("anything"));
  user.apply("-get", kRules);
  CHECK_FALSE(user.unrestricted());
  CHECK(denied(user, {"get", "x"}) == Denied::command);
  CHECK(denied(user, {"set", "x", "y"}) == Denied::no);
  user.apply("(+@all ~* &*)", kRules);
  CHECK(user.unrestricted());
}

TEST_CASE("passwords are digests, each once") {
  AclUser user = user_of({"on", ">secret", ">secret", ">other"});
  CHECK(user.passwords().size() == 2);
  CHECK(user.accepts("secret"));
  CHECK(user.accepts("other"));
  CHECK_FALSE(user.accepts("Secret"));
  CHECK(user.apply("<nothing", kRules) == RuleError::no_such_password);
  CHECK(user.apply("#12", kRules) == RuleError::bad_hash);
  user.apply("!" + base::digest_hex(base::sha256("secret")), kRules);
  CHECK_FALSE(user.accepts("secret"));
  user.apply("off", kRules);
  CHECK_FALSE(user.accepts("other"));
  user.apply("nopass", kRules);
  user.apply("on", kRules);
  CHECK(user.accepts("whatever"));
  user.apply("resetpass", kRules);
  CHECK_FALSE(user.accepts("whatever"));
}

TEST_CASE("keys by what is done to them") {
  AclUser user = user_of({"+@all", "%R~r:*", "%W~w:*", "~b:*"});
  CHECK(denied(user, {"get", "r:1"}) == Denied::no);
  CHECK(denied(user, {"get", "w:1"}) == Denied::key);
  CHECK(denied(user, {"set", "w:1", "x"}) == Denied::no);
  CHECK(denied(user, {"set", "w:1", "x", "GET"}) == Denied::no);  // the row says no variable flags
  CHECK(denied(user, {"copy", "r:1", "w:1"}) == Denied::no);
  CHECK(verdict(user, {"copy", "r:1", "r:2"}).argument == 2);
  CHECK(verdict(user, {"copy", "w:1", "w:1"}).argument == 1);
  user.apply("%W~r:*", kRules);
  CHECK(user.selectors()[0].describe_keys() == "~r:* %W~w:* ~b:*");
  CHECK(denied(user, {"copy", "r:1", "r:2"}) == Denied::no);
}

TEST_CASE("channels: names match, patterns must be written the same") {
  AclUser user = user_of({"+@all", "&news.*"});
  CHECK(denied(user, {"publish", "news.1", "m"}) == Denied::no);
  CHECK(denied(user, {"publish", "other", "news.1"}) == Denied::channel);
  CHECK(denied(user, {"psubscribe", "news.*"}) == Denied::no);
  CHECK(denied(user, {"psubscribe", "news.1"}) == Denied::channel);
}

TEST_CASE("containers, subcommands, first arguments") {
  AclUser user = user_of({"+config", "-config|set", "+select|0", "~*", "&*"});
  CHECK(denied(user, {"config", "get", "x"}) == Denied::no);
  CHECK(denied(user, {"config", "set", "x", "y"}) == Denied::command);
  CHECK(denied(user, {"select", "0"}) == Denied::no);
  CHECK(denied(user, {"select", "1"}) == Denied::command);
  CHECK(user.selectors()[0].describe_commands() == "-@all +config -config|set +select|0");
  user.apply("+CONFIG", kRules);
  user.apply("-select", kRules);
  CHECK(user.selectors()[0].describe_commands() == "-@all +config -select");
  CHECK(denied(user, {"config", "set", "x", "y"}) == Denied::no);
  CHECK(denied(user, {"select", "0"}) == Denied::command);
}

TEST_CASE("rules about commands stay as given, without the void ones") {
  auto commands = [](std::initializer_list<Bytes> rules) {
    return user_of(rules).selectors()[0].describe_commands();
  };
  CHECK(commands({"+get", "+set", "+get"}) == "-@all +set +get");
  CHECK(commands({"+@string", "-get", "+@String"}) == "-@all -get +@string");
  CHECK(commands({"+get", "+@all"}) == "+@all");
  CHECK(commands({"+@all", "-@string", "+get"}) == "+@all -@string +get");
  CHECK(commands({"+config|get", "+config|set", "-config"}) == "-@all -config");
}

TEST_CASE("of the selectors one must allow it all, and the weightiest refusal is told") {
  AclUser user = user_of({"(+get ~a)", "(+set ~b)", "(+copy ~a ~c)"});
  CHECK(denied(user, {"get", "a"}) == Denied::no);
  CHECK(denied(user, {"get", "b"}) == Denied::key);
  CHECK(denied(user, {"set", "a", "x"}) == Denied::key);
  CHECK(denied(user, {"publish", "a", "x"}) == Denied::command);
  CHECK(verdict(user, {"copy", "a", "b"}).argument == 2);
  user.apply("clearselectors", kRules);
  CHECK(user.selectors().size() == 1);
}

TEST_CASE("a refused rule changes nothing") {
  AclUser user = user_of({"on", ">p", "~a", "&c", "+get", "(+set ~x)"});
  const std::string before = user.describe();
  for (Bytes rule : {"nonsense", "+nosuch", "-nosuch", "+@nosuch", "+get|", "+config|nosuch",
                     "+config|get|x", "-select|0", "%~a", "%X~a", "%RR~a", "~a b", "&a b", "#1",
                     "<none", "(+nosuch)", "(on)", "+", "-"}) {
    CAPTURE(rule);
    CHECK(user.apply(rule, kRules) != RuleError::none);
    CHECK(user.describe() == before);
  }
}

TEST_CASE("a description makes the same user") {
  const std::initializer_list<Bytes> kinds[] = {
      {"on", ">p", "%R~a", "&x", "+@all", "-@admin", "+config|get"},
      {"nopass", "skip-sanitize-payload", "allkeys", "+get", "+select|1", "(-@all +set %RW~b*)"},
      {"+@all", "-@string", "+get", "allchannels", "( )", "(+@read &a &b)"},
  };
  for (const auto& rules : kinds) {
    AclUser user = user_of(rules);
    const std::string text = user.describe();
    std::vector<Bytes> words;
    for (Bytes rest = text;;) {
      words.push_back(rest.substr(0, rest.find(' ')));
      if (rest.find(' ') == Bytes::npos) break;
      rest.remove_prefix(rest.find(' ') + 1);
    }
    std::vector<std::string> merged;
    size_t open_at;
    REQUIRE(merge_selectors(words, merged, open_at));
    AclUser again("u", kRules);
    for (const std::string& rule : merged) CHECK(again.apply(rule, kRules) == RuleError::none);
    CHECK(again.describe() == text);
  }
}

TEST_CASE("channels lost are noticed, others are not") {
  AclUser before = user_of({"&a", "&b"});
  CHECK_FALSE(user_of({"&b", "&a", "&c"}).lost_channels(before));
  CHECK(user_of({"&a"}).lost_channels(before));
  CHECK_FALSE(user_of({"(&a &b)"}).lost_channels(before));
  CHECK_FALSE(user_of({"allchannels"}).lost_channels(before));
  CHECK(before.lost_channels(user_of({"allchannels"})));
}

TEST_CASE("parentheses that were split are put together") {
  auto merge = [](std::initializer_list<Bytes> rules) {
    std::vector<std::string> merged;
    size_t open_at = 99;
    std::vector<Bytes> words(rules);
    if (!merge_selectors(words, merged, open_at)) return "open at " + std::to_string(open_at);
    std::string all;
    for (const std::string& rule : merged) all += '[' + rule + ']';
    return all;
  };
  CHECK(merge({"on", "(+get", "~a)", "(x)"}) == "[on][(+get ~a)][(x)]");
  CHECK(merge({"on", "(", "+get", ")", "off"}) == "[on][( +get )][off]");
  CHECK(merge({"on", "(a", "b"}) == "open at 1");
  CHECK(merge({"a)", ""}) == "[a)][]");
}

}  // namespace quoll::server
