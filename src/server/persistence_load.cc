// Persistence: loading.
#include <fmt/format.h>

#include "base/numbers.h"
#include "base/text.h"
#include "server/change_readers.h"
#include "server/cluster_node.h"
#include "server/debug_switches.h"
#include "server/group.h"
#include "server/log.h"
#include "server/persistence.h"
#include "server/replication.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr size_t kReadBytes = 512 * 1024;  // of one request; decoding them takes 1-3 ms
constexpr size_t kSlowReadBytes = 1024;    // with key-load-delay, so that progress shows
constexpr base::Nanos kRestMax = 10 * base::kNanosPerMilli;  // the delay may be changed meanwhile
constexpr base::Bytes kRdbMagic = "REDIS";

}  // namespace

persist::LoadOptions Persistence::load_options() const {
  persist::LoadOptions options;
  options.decode.packing = server_.packing();
  options.decode.now = server_.host().clock.wall();
  options.checksum = server_.settings().rdbchecksum && !debug_switches().trust_payloads;
  return options;
}

void Persistence::start(host::OnDone ready) {
  last_save_ms_ = server_.host().clock.wall();
  auto loaded = [this, ready = std::move(ready)](base::Result<> result) {
    // Of the append-only file the last line is the one that tools wait for.
    if (!result && !aof_on_)
      log::warning("Fatal error loading the DB, check server logs. Exiting.");
    if (result) changes_saved_ = server_.store().commits().total_changes();
    ready_ = result.ok();
    if (ready_) server_.changes().stream().begin();
    if (ready_) server_.admit_connections();
    ready(std::move(result));
  };
  if (base::Result<> keys = load_keys(); !keys) {
    log::warning("{}", keys.error());
    return server_.host().loop.post([loaded, keys] { loaded(keys); });
  }
  if (ClusterNode* node = server_.node()) return node->start(std::move(loaded));
  if (ReplicaGroup* group = server_.group()) return group->start(std::move(loaded));
  aof_on_ = server_.settings().appendonly;
  if (aof_on_)
    open_aof(std::move(loaded));
  else
    load_rdb(std::move(loaded));
}

void Persistence::load_rdb(host::OnDone done) {
  load({Plan{server_.settings().dbfilename}}, load_options(), std::move(done));
}

void Persistence::load_checkpoint(const std::string& path, host::OnDone done) {
  load({Plan{path}}, load_options(), std::move(done));
}

void Persistence::load(std::deque<Plan> plans, persist::LoadOptions options, host::OnDone done) {
  loading_ = std::make_unique<Loading>();
  loading_->plans = std::move(plans);
  loading_->options = std::move(options);
  loading_->done = std::move(done);
  loading_->start_ms = server_.host().clock.wall();
  loading_->start = loading_->told = server_.host().clock.steady();
  for (const Plan& plan : loading_->plans) loading_->total_bytes += plan.bytes;
  open_next();
}

// A missing RDB file is no error: there is nothing to load. A listed file of the log is.
void Persistence::open_next() {
  if (loading_->plans.empty()) return end_loading({});
  const Plan& plan = loading_->plans.front();
  if (!plan.last || !server_.settings().aof_load_truncated) return open_file();
  // What cannot be mended shows when it is read.
  disk_->mend(plan.path, [this](base::Result<uint64_t> cut) {
    if (cut && cut.value() > 0)
      log::warning("!!! Warning: the encrypted AOF file {} had a torn end: {} bytes were cut off",
                   loading_->plans.front().name, cut.value());
    open_file();
  });
}

void Persistence::open_file() {
  disk_->open(loading_->plans.front().path, host::OpenMode::read,
              [this](base::Result<host::FileId> opened) { file_opened(std::move(opened)); });
}

void Persistence::file_opened(base::Result<host::FileId> opened) {
  const Plan& plan = loading_->plans.front();
  if (!opened) {
    bool missing = opened.error().find("No such file") != std::string::npos;
    if (missing && plan.name.empty()) return end_file({});
    log::warning("Can't open {} for loading: {}", plan.path, opened.error());
    return end_file(base::Error{opened.error()});
  }
  loading_->file = opened.value();
  loading_->opened = true;
  loading_->read_bytes = 0;
  loading_->fed_bytes = 0;
  loading_->file_start = server_.host().clock.steady();
  disk_->size(loading_->file, [this](base::Result<host::Offset> size) {
    if (!size) return fail_reading(size.error());
    if (size.value() > 0 && disk_->has_key() && !disk_->is_sealed(loading_->file))
      plain_loaded_ = true;
    loading_->plans.front().bytes = size.value();
    loading_->total_bytes += size.value();
    read_more();
  });
}

// The next piece is read while this one is decoded, unless loading is slowed down.
void Persistence::read_more() {
  uint64_t offset = loading_->read_bytes;
  bool ahead = server_.settings().key_load_delay_us == 0;
  size_t size = ahead ? kReadBytes : kSlowReadBytes;
  loading_->read_bytes += size;
  auto got = [this, ahead, size, loading = loading_.get(),
              file = loading_->file](base::Result<std::string> bytes) {
    if (loading_.get() != loading || !loading->opened || loading->file != file) return;
    if (!bytes) return fail_reading(bytes.error());
    bool last = bytes.value().size() < size;
    if (!last && ahead) read_more();
    feed(std::move(bytes.value()), last, last || !ahead);
  };
  disk_->read(loading_->file, offset, size, std::move(got));
}

// `then_rest`: what follows has not been asked for yet.
void Persistence::feed(std::string bytes, bool last, bool then_rest) {
  loading_->loaded_bytes += bytes.size();
  loading_->fed_bytes += bytes.size();
  auto unseen_bytes =
      static_cast<uint64_t>(server_.settings().loading_process_events_interval_bytes);
  if (!ready_ && loading_->loaded_bytes >= unseen_bytes) server_.admit_connections();
  if (!loading_->rdb && !loading_->aof) {
    // A base may be of either kind; an old file may be both, one behind the other.
    if (loading_->plans.front().name.empty() || bytes.starts_with(kRdbMagic)) {
      persist::LoadOptions options = loading_->options;
      // What expired is removed by the log's own DEL, or by the wheel when all is loaded.
      const std::string& name = loading_->plans.front().name;
      options.keep_expired =
          !name.empty() || !server_.settings().replicaof.host.empty() || server_.group();
      options.expired = [this](store::DbIndex db, Bytes key) {
        if (!ready_) server_.replication().restore(loading_->rdb->aux());
        server_.replication().feed().erase(db, key);
      };
      if (name.ends_with(".rdb"))
        log::notice("Reading RDB base file on AOF loading...");
      else if (!name.empty())
        log::notice("Reading RDB preamble from AOF file...");
      loading_->rdb = std::make_unique<persist::RdbLoad>(server_.store(), std::move(options));
    }
  }
  base::Result<> fed;
  if (loading_->rdb && !loading_->aof) fed = feed_rdb(bytes, last);
  bool log_follows =
      !loading_->plans.front().name.empty() && (!loading_->rdb || loading_->rdb->ended());
  if (fed && log_follows && !(loading_->rdb && bytes.empty())) fed = feed_aof(std::move(bytes));
  tell_progress();
  if (!fed) return end_file(std::move(fed));
  if (loading_->damaged) return end_aof_file();
  if (then_rest) rest(items_loaded(), last);
}

uint64_t Persistence::items_loaded() const {
  return loading_->rdb_keys + (loading_->rdb ? loading_->rdb->keys_loaded() : 0) +
         (loading_->replay ? loading_->replay->commands() : 0);
}

// key-load-delay: microseconds per key or command; -n: one microsecond for n of them. Timers are
// coarser than that: it is the whole that lasts as long.
void Persistence::rest(uint64_t items, bool last) {
  int64_t delay = server_.settings().key_load_delay_us;
  auto count = static_cast<int64_t>(items);
  int64_t micros = delay >= 0 ? count * delay : count / -delay;
  go_on(loading_->start + micros * base::kNanosPerMicro, last);
}

void Persistence::go_on(base::Nanos due, bool last) {
  base::Nanos left = due - server_.host().clock.steady();
  if (left <= 0 || server_.settings().key_load_delay_us == 0)
    return last ? file_read() : read_more();
  server_.host().loop.after(std::min(left, kRestMax), [this, due, last, loading = loading_.get()] {
    if (loading_.get() == loading) go_on(due, last);
  });
}

// `bytes` keeps what stands behind the end of the RDB.
base::Result<> Persistence::feed_rdb(std::string& bytes, bool last) {
  store::CommitBuilder& commits = server_.store().commits();
  commits.begin(store::Origin::load, server_.host().clock.wall());
  base::Result<> fed = loading_->rdb->feed(bytes);
  if (fed && last) fed = loading_->rdb->finish();
  commits.close();
  if (!fed) {
    tell_rdb_fault();
  } else if (loading_->rdb->ended()) {
    fed = load_functions();
    if (!fed) log::warning("{}: {}", loading_->plans.front().path, fed.error());
  }
  bytes = loading_->rdb->ended() ? std::string(loading_->rdb->tail()) : std::string();
  return fed;
}

base::Result<> Persistence::feed_aof(std::string bytes) {
  if (!loading_->replay) loading_->replay = std::make_unique<Replay>(server_);
  if (!loading_->aof) {
    persist::AofReaderOptions options;
    options.base_offset = loading_->fed_bytes - bytes.size();
    options.bulk_bytes_max =
        std::max(persist::kAofBulkBytesMax, server_.settings().proto_max_bulk_len);
    options.known = [replay = loading_->replay.get()](base::Args args) {
      return replay->known(args);
    };
    loading_->aof = std::make_unique<persist::AofReader>(std::move(options));
  }
  loading_->aof->feed(std::move(bytes));
  persist::AofCommand command;
  persist::AofReader::Step step;
  const auto next = [&] {
    loading_->replay->look_ahead(*loading_->aof);
    return loading_->aof->next(command);
  };
  while ((step = next()) == persist::AofReader::Step::command) {
    if (command.database >= server_.store().databases()) {
      log::warning("{}: database {} at offset {} is out of range (see databases)",
                   loading_->plans.front().name, command.database, command.offset);
      return base::Error{"database out of range"};
    }
    const int64_t increment = loading_->plans.front().increment;
    if (!ready_ && increment != persist::kNoIncrement)
      server_.changes().stream().loaded(increment, command);
    // As in Redis, the reply of a command is not looked at: what failed then fails now.
    base::Result<> ignored = loading_->replay->run(command.database, command.args);
    if (!ignored)
      log::verbose("Replaying '{}' at offset {}: {}", command.args[0], command.offset,
                   ignored.error());
  }
  loading_->damaged = step == persist::AofReader::Step::damaged;
  return {};
}

// Of an RDB that has ended: commands behind it may call them. Merged into what is there.
base::Result<> Persistence::load_functions() {
  const std::vector<std::string>& codes = loading_->rdb->functions();
  if (codes.empty()) return {};
  using OnPresent = ScriptLibraries::OnPresent;
  auto done = server_.scripts().libraries().load_all(
      codes, loading_->options.refuse_present ? OnPresent::refuse : OnPresent::replace, false);
  if (!done) return base::Error{"Failed creating the library: " + done.error()};
  return {};
}

// All bytes of the file were fed.
void Persistence::file_read() {
  if (loading_->aof) return end_aof_file();
  end_file({});
}

void Persistence::end_aof_file() {
  Plan& plan = loading_->plans.front();
  persist::AofEnd end = loading_->aof->finish();
  using Kind = persist::AofEnd::Kind;
  if (end.kind == Kind::clean) return end_file({});
  bool cut = end.kind == Kind::torn && plan.last && server_.settings().aof_load_truncated;
  if (!cut) {
    log::warning("{}: {} at offset {}", plan.name,
                 end.reason.empty() ? "the file ends inside a command" : end.reason, end.offset);
    if (end.kind == Kind::torn && !plan.last)
      log::warning("Fatal error: the truncated file is not the last file");
    log::warning("{}", end.message(plan.name));
    return end_file(base::Error{"damaged append only file"});
  }
  if (end.open_block)
    log::warning("Revert incomplete MULTI/EXEC transaction in AOF file {}", plan.name);
  log::warning("!!! Warning: short read while loading the AOF file {}!!!", plan.name);
  log::warning("!!! Truncating the AOF {} at offset {} !!! {} bytes of an unfinished command go",
               plan.name, end.valid_bytes, end.offset - end.valid_bytes);
  plan.bytes = end.valid_bytes;
  aof_->directory.truncate(plan.name, end.valid_bytes, [this](base::Result<> cut) {
    if (cut)
      log::warning("AOF {} loaded anyway because aof-load-truncated is enabled",
                   loading_->plans.front().name);
    else
      log::warning("Error truncating the AOF file: {}", cut.error());
    end_file(std::move(cut));
  });
}

void Persistence::fail_reading(const std::string& error) {
  log::warning("Error reading {}: {}", loading_->plans.front().path, error);
  end_file(base::Error{error});
}

void Persistence::end_file(base::Result<> result) {
  if (loading_->opened) disk_->close(loading_->file);
  loading_->opened = false;
  if (!result) return end_loading(std::move(result));
  if (loading_->rdb) note_rdb();
  const Plan& plan = loading_->plans.front();
  if (!plan.name.empty()) {
    aof_bytes_ += plan.bytes;
    const bool base = plan.name == aof_->directory.manifest().base().name;
    if (base) aof_base_bytes_ = plan.bytes;
    log::notice("DB loaded from {} file {}: {:.3f} seconds", base ? "base" : "incr", plan.name,
                seconds_since(loading_->file_start));
  }
  loading_->rdb.reset();
  loading_->aof.reset();
  loading_->plans.pop_front();
  open_next();
}

// In the words tools wait for, with what they leave out.
void Persistence::tell_rdb_fault() {
  using Kind = persist::RdbFault::Kind;
  const persist::RdbFault& fault = loading_->rdb->fault();
  std::string reason = fault.reason;
  if (fault.kind == Kind::checksum) {
    log::warning("{}. Aborting now.", fault.reason);
    reason = "RDB CRC error";
  } else if (fault.kind == Kind::short_read) {
    log::warning("Short read or OOM loading DB. Unrecoverable error, aborting now.");
    reason = "Unexpected EOF reading RDB file: " + fault.reason;
  }
  if (fault.in_value) reason += ", in the value of key " + base::quoted(fault.key);
  log::warning("Internal error in RDB reading offset {} of {} -> {}", fault.offset,
               loading_->plans.front().path, reason);
  log::warning("Terminating server after rdb file reading failure.");
}

void Persistence::tell_rdb_origin() {
  for (const auto& [name, value] : loading_->rdb->aux()) {
    int64_t number = 0;
    const bool is_number = base::parse_int(value, number);
    if (name == "redis-ver")
      log::notice("Loading RDB produced by version {}", value);
    else if (name == "ctime" && is_number)
      log::notice("RDB age {} seconds", server_.host().clock.wall() / 1000 - number);
    else if (name == "used-mem" && is_number)
      log::notice("RDB memory usage when created {:.2f} Mb",
                  static_cast<double>(number) / (1 << 20));
    else if (name == "aof-base" && value == "1")
      log::notice("RDB is base AOF");
  }
  if (!loading_->rdb->has_checksum())
    log::notice("RDB file was saved with checksum disabled: no check performed.");
}

void Persistence::note_rdb() {
  const persist::RdbLoad& rdb = *loading_->rdb;
  tell_rdb_origin();
  for (const std::string& key : rdb.empty_keys())
    log::notice("Redis RDB loader: skipping empty key: {}", key);
  if (rdb.keys_empty() > 0)
    log::notice("Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
                rdb.keys_loaded(), rdb.keys_expired(), rdb.keys_empty());
  else
    log::notice("Done loading RDB, keys loaded: {}, keys expired: {}.", rdb.keys_loaded(),
                rdb.keys_expired());
  if (!ready_ && loading_->plans.front().name.empty()) server_.replication().restore(rdb.aux());
  loading_->rdb_keys += rdb.keys_loaded();
  last_load_loaded_ = rdb.keys_loaded();
  last_load_expired_ = rdb.keys_expired();
}

void Persistence::tell_progress() {
  base::Nanos now = server_.host().clock.steady();
  if (now - loading_->told < kTellInterval) return;
  loading_->told = now;
  double seconds = seconds_since(loading_->start);
  log::notice("Loading {}: {:.0f}%, {:.0f} keys/s", loading_->plans.front().path,
              100.0 * static_cast<double>(loading_->loaded_bytes) /
                  static_cast<double>(std::max<uint64_t>(loading_->total_bytes, 1)),
              static_cast<double>(items_loaded()) / seconds);
}

double Persistence::seconds_since(base::Nanos begin) const {
  return static_cast<double>(server_.host().clock.steady() - begin) / 1e9;
}

Persistence::LoadingInfo Persistence::loading_info() const {
  if (!loading_) return {};
  return {loading_->start_ms, loading_->total_bytes, loading_->loaded_bytes};
}

void Persistence::end_loading(base::Result<> result) {
  std::unique_ptr<Loading> ended = std::move(loading_);
  if (result && ended->loaded_bytes > 0) {
    log::notice("DB loaded from {}: {:.3f} seconds",
                ended->replay || ended->options.keep_expired ? "append only file" : "disk",
                seconds_since(ended->start));
  }
  ended->done(std::move(result));
}

}  // namespace quoll::server
