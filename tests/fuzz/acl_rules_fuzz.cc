// ACL rules from arbitrary text: a rule is taken or refused, a refused one changes nothing, and the
// description of the user that comes out makes the same user again.
#include <vector>

#include "base/check.h"
#include "server/acl_user.h"

namespace quoll::server {
namespace {

void no_handler(Call&) {}

constexpr CommandSpec kCommands[] = {
    {.name = "get",
     .arity = 2,
     .run = no_handler,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
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
    {.name = "publish",
     .arity = 3,
     .run = no_handler,
     .flags = kPubSub,
     .group = "pubsub",
     .summary = "-"},
    {.name = "config", .arity = -2, .group = "server", .summary = "-"},
    {.name = "config|get", .arity = 3, .run = no_handler, .group = "server", .summary = "-"},
    {.name = "config|set", .arity = 4, .run = no_handler, .group = "server", .summary = "-"},
};

std::vector<Bytes> words_of(Bytes text) {
  std::vector<Bytes> words;
  for (;;) {
    const size_t blank = text.find(' ');
    words.push_back(text.substr(0, blank));
    if (blank == Bytes::npos) return words;
    text.remove_prefix(blank + 1);
  }
}

void check_all(const AclUser& user, const CommandTable& table, Bytes text) {
  std::vector<KeyArg> scratch;
  const Bytes line[] = {"any", text, "value"};
  for (const auto& command : table.all()) {
    const AclVerdict verdict = user.check(*command, line, scratch);
    QUOLL_CHECK(verdict || verdict.argument < 3);
    QUOLL_CHECK(verdict || !user.unrestricted());
  }
}

void run(Bytes text) {
  static const std::span<const CommandSpec> families[] = {kCommands};
  static const CommandTable table{families};
  const AclRules rules{table, false};
  AclUser user("u", rules);
  std::vector<std::string> merged;
  size_t open_at;
  if (!merge_selectors(words_of(text), merged, open_at)) return;
  for (const std::string& rule : merged) {
    const std::string before = user.describe();
    if (user.apply(rule, rules) != RuleError::none) QUOLL_CHECK(user.describe() == before);
  }
  check_all(user, table, text);
  const std::string description = user.describe();
  // Quotes mean something inside parentheses only, where Redis too does not write them back.
  if (description.find_first_of("()\"'\\") != std::string::npos) return;
  AclUser again("u", rules);
  for (Bytes rule : words_of(description)) QUOLL_CHECK(again.apply(rule, rules) == RuleError::none);
  QUOLL_CHECK(again.describe() == description);
}

}  // namespace
}  // namespace quoll::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quoll::server::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
