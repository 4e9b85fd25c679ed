// BACKUP: finished copies of the data, made while serving (server/backups.h).
#include "commands/families.h"
#include "commands/help.h"
#include "server/backups.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr Bytes kBackupHelp[] = {
    "START [<name>]",
    "    Begin a backup of the data as it is now; without a name it gets one of the time.",
    "    The reply is its name.",
    "STATUS",
    "    Show the backup under way, or the last one, and its upload.",
    "LIST",
    "    List the finished backups in backup-dir, oldest first.",
    "ABORT",
    "    Give up the backup under way, or the upload of one.",
    "DELETE <name>",
    "    Remove a finished backup.",
};

Backups& backups_of(Call& call) { return call.server.persistence().backups(); }

// The client waits for the disk, others do not. Its wait ends in a later turn, when it has begun.
template <class Value>
auto ending_the_wait(Call& call) {
  return [&server = call.server, id = call.session.id](const base::Result<Value>& result) {
    server.host().loop.post([&server, id, error = result ? "" : "ERR " + result.error()] {
      if (Session* session = server.find_session(id)) session->unblock(error);
    });
  };
}

void reply_name(Session& session) {
  session.reply().bulk(session.server().persistence().backups().status().name);
}

void backup_start(Call& call) {
  if (call.argc() > 3) return call.syntax_error();
  call.session.block(0, reply_name);
  backups_of(call).start(call.argc() > 2 ? std::string(call.arg(2)) : "",
                         ending_the_wait<std::string>(call));
}

void backup_status(Call& call) {
  using Outcome = Backups::Outcome;
  const Backups::Status status = backups_of(call).status();
  auto& reply = call.reply;
  auto text = [&](Bytes name, Bytes value) {
    reply.bulk(name);
    reply.bulk(value);
  };
  auto number = [&](Bytes name, int64_t value) {
    reply.bulk(name);
    reply.integer(value);
  };
  reply.map(14);
  text("name", status.name);
  text("state", Backups::name_of(status.outcome));
  text("phase", Backups::name_of(status.phase));
  reply.bulk("progress-percent");
  reply.real(static_cast<double>(static_cast<int64_t>(status.progress_percent * 100)) / 100);
  number("keys", static_cast<int64_t>(status.keys));
  number("bytes", static_cast<int64_t>(status.bytes));
  number("started", status.started_ms / 1000);
  number("ended", status.outcome == Outcome::running ? 0 : status.ended_ms / 1000);
  text("error", status.error);
  text("upload-state", Backups::name_of(status.upload));
  number("uploaded-bytes", static_cast<int64_t>(status.uploaded_bytes));
  number("upload-attempts", static_cast<int64_t>(status.upload_attempts));
  text("upload-error", status.upload_error);
  text("directory", call.server.settings().backup_dir);
}

void reply_list(Session& session) {
  auto& reply = session.reply();
  const std::vector<Backups::Found>& found =
      session.server().persistence().backups().last_listing();
  reply.array(found.size());
  for (const Backups::Found& one : found) {
    reply.map(one.error.empty() ? 7 : 2);
    reply.bulk("name");
    reply.bulk(one.name);
    if (!one.error.empty()) {
      reply.bulk("error");
      reply.bulk(one.error);
      continue;
    }
    reply.bulk("created");
    reply.integer(one.manifest.created_ms / 1000);
    reply.bulk("bytes");
    reply.integer(static_cast<int64_t>(one.manifest.bytes()));
    reply.bulk("keys");
    reply.integer(static_cast<int64_t>(one.manifest.keys));
    reply.bulk("seq");
    reply.integer(static_cast<int64_t>(one.manifest.seq));
    reply.bulk("encrypted");
    reply.bulk(one.manifest.encrypted ? "yes" : "no");
    reply.bulk("key-id");
    reply.bulk(one.manifest.key_id);
  }
}

void backup_list(Call& call) {
  call.session.block(0, reply_list);
  backups_of(call).list_for_reply(
      [&server = call.server, id = call.session.id](const base::Result<>& listed) {
        Session* session = server.find_session(id);
        if (session != nullptr) session->unblock(listed ? "" : "ERR " + listed.error());
      });
}

void backup_abort(Call& call) {
  switch (backups_of(call).abort()) {
    case Backups::Aborted::yes:
      return call.reply.ok();
    case Backups::Aborted::none_running:
      return call.reply.error("ERR No backup is being made or uploaded");
    case Backups::Aborted::too_late:
      return call.reply.error("ERR The backup is written already and just gets its name");
  }
}

void backup_delete(Call& call) {
  call.session.block(0, [](Session& session) { session.reply().ok(); });
  backups_of(call).remove(std::string(call.arg(2)), ending_the_wait<void>(call));
}

void backup_help(Call& call) { reply_help(call, kBackupHelp); }

constexpr uint32_t kBackupFlags = kAdmin | kNoScript | kNoMulti;

constexpr CommandSpec kBackupCommands[] = {
    {.name = "backup",
     .arity = -2,
     .group = "server",
     .since = "8.10.0",
     .summary = "A container for commands about backups.",
     .complexity = "Depends on subcommand."},
    {.name = "backup|start",
     .arity = -2,
     .run = backup_start,
     .flags = kBackupFlags,
     .group = "server",
     .since = "8.10.0",
     .summary = "Begins a backup of all databases and returns its name.",
     .complexity = "O(1); the backup itself is O(N) in the background",
     .syntax = "[name]"},
    {.name = "backup|status",
     .arity = 2,
     .run = backup_status,
     .flags = kBackupFlags | kStale,
     .group = "server",
     .since = "8.10.0",
     .summary = "Returns how far the backup under way is, or how the last one ended.",
     .complexity = "O(1)",
     .tips = "nondeterministic_output"},
    {.name = "backup|list",
     .arity = 2,
     .run = backup_list,
     .flags = kBackupFlags | kStale,
     .group = "server",
     .since = "8.10.0",
     .summary = "Returns the finished backups, oldest first.",
     .complexity = "O(N) where N is the number of backups",
     .tips = "nondeterministic_output"},
    {.name = "backup|abort",
     .arity = 2,
     .run = backup_abort,
     .flags = kBackupFlags | kStale,
     .group = "server",
     .since = "8.10.0",
     .summary = "Gives up the backup or the upload under way.",
     .complexity = "O(1)"},
    {.name = "backup|delete",
     .arity = 3,
     .run = backup_delete,
     .flags = kBackupFlags | kStale,
     .group = "server",
     .since = "8.10.0",
     .summary = "Removes a finished backup.",
     .complexity = "O(1)",
     .syntax = "name"},
    {.name = "backup|help",
     .arity = 2,
     .run = backup_help,
     .flags = kLoading | kStale,
     .group = "server",
     .since = "8.10.0",
     .summary = "Explains the subcommands.",
     .complexity = "O(1)"},
};
static_assert(well_formed(kBackupCommands));

}  // namespace

Family backup_commands() { return kBackupCommands; }

}  // namespace quoll::commands
