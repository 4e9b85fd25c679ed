#include "persist/aof_save.h"

#include "base/text.h"
#include "persist/aof_reader.h"
#include "persist/dump_payload.h"
#include "store/entry.h"

namespace quoll::persist {

void AofSave::command(std::initializer_list<base::Bytes> args) {
  out_ += '*' + std::to_string(args.size()) + "\r\n";
  for (base::Bytes arg : args) {
    out_ += '$' + std::to_string(arg.size()) + "\r\n";
    out_ += arg;
    out_ += "\r\n";
  }
}

// One command cannot be cut, so a value is always written whole.
bool AofSave::piece(store::DbIndex db, const store::Entry& entry, size_t) {
  complete(db, entry);
  return true;
}

void AofSave::complete(store::DbIndex db, const store::Entry& entry) {
  if (db != db_) command({"SELECT", std::to_string(db)});
  db_ = db;
  std::string deadline = std::to_string(entry.has_ttl() ? entry.deadline() : 0);
  if (entry.type() != data::Type::string) {
    std::string payload = dump_payload(entry, options_.version, options_.compress);
    if (payload.size() > static_cast<size_t>(kAofBulkBytesMax) && refusal_.empty())
      refusal_ = "the value of key " + base::quoted(entry.key()) + " takes " +
                 std::to_string(payload.size()) +
                 " bytes, more than one argument of the log may have (see aof-use-rdb-preamble)";
    if (!refusal_.empty()) return;
    return command({"RESTORE", entry.key(), deadline, payload, "ABSTTL"});
  }
  char scratch[base::kIntTextMax];
  base::Bytes text = entry.text(scratch);
  if (entry.has_ttl())
    command({"SET", entry.key(), text, "PXAT", deadline});
  else
    command({"SET", entry.key(), text});
}

}  // namespace quoll::persist
