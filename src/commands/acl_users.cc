// ACL: showing and changing users, and what one of them might do.
#include <set>

#include "cluster/library_documents.h"
#include "commands/acl_family.h"
#include "commands/cluster_wait.h"
#include "server/server.h"

namespace quoll::commands {

using namespace server;

namespace {

std::string shown(Bytes text) { return std::string(errors::shown(text)); }

void reply_selector(wire::ReplyWriter& reply, const AclSelector& selector) {
  reply.bulk("commands");
  reply.bulk(selector.describe_commands());
  reply.bulk("keys");
  reply.bulk(selector.describe_keys());
  reply.bulk("channels");
  reply.bulk(selector.describe_channels());
}
constexpr size_t kSelectorFields = 3;

std::string dry_refusal(const Command& command, Args line, const AclVerdict& verdict) {
  std::string text = "This user has no permissions to ";
  if (verdict.denied == Denied::command)
    return text + "run the '" + std::string(command.spec->name) + "' command";
  text += "access the '" + shown(line[verdict.argument]) + "' ";
  return text += verdict.denied == Denied::key ? "key" : "channel";
}

}  // namespace

namespace {

using cluster::DocumentKind;
using cluster::NextStep;
using cluster::TopologyChange;

NextStep put_user(const cluster::Topology& now, std::vector<cluster::PutDocument> documents) {
  if (auto fine = now.check_documents(documents); !fine) return base::Error{"ERR " + fine.error()};
  return std::optional(TopologyChange{now.version(), cluster::PutDocuments{std::move(documents)}});
}

// The rules change what the cluster has of him; once it has become what that gave, they are not
// applied to it again.
struct UserStep {
  const Acl& acl;
  std::string name;
  std::vector<std::string> rules;
  std::string wanted = {};

  NextStep operator()(const cluster::Topology& now) {
    const std::string* known = cluster::find_document(now, DocumentKind::user, name);
    if (known && *known == wanted) return std::optional<TopologyChange>();
    const std::vector<Bytes> words(rules.begin(), rules.end());
    auto text = acl.rewritten(name, known, words);
    if (!text) return base::Error{"ERR " + text.error()};
    wanted = std::move(text.value());
    if (known && *known == wanted) return std::optional<TopologyChange>();
    return put_user(now, {{DocumentKind::user, name, wanted}});
  }
};

void set_user_for_all(Call& call, ClusterNode& node) {
  UserStep step{call.server.acl(), std::string(call.arg(2)), {}};
  for (Bytes rule : call.args.subspan(3)) step.rules.emplace_back(rule);
  if (NextStep first = step(node.topology()); !first) return call.reply.error(first.error());
  step.wanted.clear();
  begin_change(call, node, step);
}

// Those of the names that are there: the node's own go at once, the cluster's are agreed on.
void remove_users_for_all(Call& call, ClusterNode& node) {
  Acl& acl = call.server.acl();
  const std::set<Bytes> named(call.args.begin() + 2, call.args.end());
  std::vector<Bytes> line(call.args.begin(), call.args.begin() + 2);
  std::vector<std::string> own, of_cluster;
  for (Bytes name : named) {
    if (!acl.find(name)) continue;
    line.push_back(name);
    (acl.is_own(name) ? own : of_cluster).emplace_back(name);
  }
  if (of_cluster.empty() || call.may_block())
    for (const std::string& name : own) acl.remove(name);
  if (of_cluster.empty()) return call.reply.integer(static_cast<int64_t>(line.size()) - 2);
  begin_change(
      call, node,
      [of_cluster](const cluster::Topology& now) -> NextStep {
        std::vector<cluster::PutDocument> gone;
        for (const std::string& name : of_cluster)
          if (cluster::find_document(now, DocumentKind::user, name))
            gone.push_back({DocumentKind::user, name, {}});
        if (gone.empty()) return std::optional<TopologyChange>();
        return put_user(now, std::move(gone));
      },
      line);
}

}  // namespace

// On a node of a cluster users are the same everywhere, but for those of its configuration.
void acl_setuser(Call& call) {
  for (size_t i = 2; i < call.argc(); ++i) call.redact(i);
  if (!is_user_name(call.arg(2)))
    return call.reply.error("ERR Usernames can't contain spaces or null characters");
  ClusterNode* node = call.server.node();
  if (node && concluded(call, *node, [&] { call.reply.ok(); })) return;
  if (node && !call.server.acl().is_own(call.arg(2))) return set_user_for_all(call, *node);
  const base::Result<> done = call.server.acl().set_user(call.arg(2), call.args.subspan(3));
  if (!done) return call.reply.error("ERR " + done.error());
  call.reply.ok();
}

void acl_getuser(Call& call) {
  const AclUser* user = call.server.acl().find(call.arg(2));
  if (!user) return call.reply.null();
  wire::ReplyWriter& reply = call.reply;
  reply.map(kSelectorFields + 3);
  reply.bulk("flags");
  const std::vector<Bytes> flags = user->flag_names();
  reply.set(flags.size());
  for (Bytes flag : flags) reply.bulk(flag);
  reply.bulk("passwords");
  reply.array(user->passwords().size());
  for (const base::Sha256& password : user->passwords()) reply.bulk(base::digest_hex(password));
  reply_selector(reply, user->selectors().front());
  reply.bulk("selectors");
  const auto more = std::span(user->selectors()).subspan(1);
  reply.array(more.size());
  for (const AclSelector& selector : more) {
    reply.map(kSelectorFields);
    reply_selector(reply, selector);
  }
}

void acl_deluser(Call& call) {
  for (Bytes name : call.args.subspan(2))
    if (name == "default") return call.reply.error("ERR The 'default' user cannot be removed");
  if (ClusterNode* node = call.server.node()) {
    const auto count = static_cast<int64_t>(call.argc()) - 2;
    if (concluded(call, *node, [&] { call.reply.integer(count); })) return;
    return remove_users_for_all(call, *node);
  }
  int64_t removed = 0;
  for (Bytes name : call.args.subspan(2)) removed += call.server.acl().remove(name);
  call.reply.integer(removed);
}

void acl_list(Call& call) {
  const std::vector<std::string> lines = call.server.acl().lines();
  call.reply.array(lines.size());
  for (const std::string& line : lines) call.reply.bulk(line);
}

void acl_users(Call& call) {
  const Acl::Users& users = call.server.acl().users();
  call.reply.array(users.size());
  for (const auto& [name, user] : users) call.reply.bulk(name);
}

void acl_dryrun(Call& call) {
  const AclUser* user = call.server.acl().find(call.arg(2));
  if (!user) return call.reply.error("ERR User '" + shown(call.arg(2)) + "' not found");
  const Args line = call.args.subspan(3);
  const CommandTable& table = call.server.commands();
  Command* command = table.find(line[0]);
  if (command && !command->subcommands.empty() && line.size() > 1)
    command = table.find_sub(*command, line[1]);
  if (!command) return call.reply.error("ERR Command '" + shown(line[0]) + "' not found");
  const CommandSpec& spec = *command->spec;
  const auto count = static_cast<int>(line.size());
  if (spec.arity > 0 ? count != spec.arity : count < -spec.arity)
    return call.reply.error("ERR wrong number of arguments for '" + std::string(spec.name) +
                            "' command");
  std::vector<KeyArg> keys;
  if (const AclVerdict verdict = user->check(*command, line, keys); !verdict)
    return call.reply.bulk(dry_refusal(*command, line, verdict));
  call.reply.ok();
}

}  // namespace quoll::commands
