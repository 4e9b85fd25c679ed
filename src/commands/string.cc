// Strings: SET and GET and what belongs to them.
#include "base/text.h"
#include "commands/families.h"
#include "server/call.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr store::Event kEventSet{"set", '$'};

void reply_text(Call& call, const store::Entry* entry) {
  char scratch[24];
  call.reply.bulk(entry->text(scratch));
}

void get(Call& call) {
  const store::Entry* entry = call.find(1);
  if (!entry) return call.reply.null();
  if (entry->type() != data::Type::string) return call.wrong_type();
  reply_text(call, entry);
}

void set(Call& call) {
  store::Edit edit = call.edit(1);
  if (base::Blob* blob = call.blob(2)) {
    edit.put(data::Value::of_blob(std::move(*blob)), store::Ttl::drop());
  } else {
    edit.put(data::Value::of_text(call.arg(2)), store::Ttl::drop());
  }
  edit.done(kEventSet);
  call.effect_verbatim();
  call.reply.ok();
}

constexpr CommandSpec kStringCommands[] = {
    {.name = "get",
     .arity = 2,
     .run = get,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .flags = kFast,
     .group = "string",
     .since = "1.0.0",
     .summary = "Returns the string value of a key.",
     .complexity = "O(1)",
     .syntax = "key"},
    {.name = "set",
     .arity = -3,
     .run = set,
     .access = Access::write,
     .journal = Journal::rewritten,
     .keys = keys::first(kKeyRw | kKeyAccess | kKeyUpdate | kKeyVariableFlags),
     .flags = kDenyOom,
     .group = "string",
     .since = "1.0.0",
     .summary = "Sets the string value of a key, ignoring its type.",
     .complexity = "O(1)",
     .syntax = "key value"},
};
static_assert(well_formed(kStringCommands));

}  // namespace

Family string_commands() { return kStringCommands; }

}  // namespace quoll::commands
