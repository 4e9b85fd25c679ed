#include "server/persistence.h"

#include <fmt/format.h>

#include "persist/aof_save.h"
#include "persist/slots_left_out.h"
#include "persist/snapshot_file.h"
#include "server/backups.h"
#include "server/change_readers.h"
#include "server/debug_switches.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"
#include "server/version.h"

namespace quoll::server {
namespace {

constexpr base::Millis kSaveRetryMs = 5000;  // after a failed save, as in Redis
constexpr const char* kBackupGivenUp = "the backup was given up";
constexpr const char* kFlushed = "all data were flushed";

}  // namespace

Persistence::Persistence(Server& server)
    : server_(server),
      disk_(std::make_unique<persist::SealedDisk>(
          server.host().disk,
          [&process = server.host().process] { return process.draw_secret(); })),
      storage_{server.host().clock,     server.host().random,
               server.host().loop,      *disk_,
               server.host().transport, server.host().datagrams,
               server.host().process,   server.host().side},
      backups_(std::make_unique<Backups>(server, *this)) {}
Persistence::~Persistence() = default;

// --- encryption --------------------------------------------------------------------------------

// Files that are open keep the key they have; what is written from now on gets the first.
base::Result<> Persistence::load_keys() {
  const std::string& path = server_.settings().data_encryption_key_file;
  if (path.empty()) {
    disk_->set_keys({});
    return {};
  }
  base::Result<std::string> content = server_.config().read_secret(path);
  if (!content) return base::Error{content.error()};
  base::Result<persist::SealKeys> keys = persist::SealKeys::parse(content.value());
  if (!keys) return base::Error{fmt::format("Can't use {}: {}", path, keys.error())};
  log::notice("The files of the data are encrypted with the key {}",
              persist::SealKey::name(keys.value().newest().id()));
  disk_->set_keys(std::move(keys.value()));
  return {};
}

// --- snapshots ---------------------------------------------------------------------------------

// Logs and backups have no other place for fields that expire.
unsigned Persistence::complete_rdb_version() const {
  constexpr unsigned kFieldDeadlinesVersion = 12;
  if (server_.store().has_field_deadlines()) return kFieldDeadlinesVersion;
  return static_cast<unsigned>(server_.settings().rdb_version);
}

// `stream_version`: of the RDB that a replica understands; 0: it is for a file.
std::unique_ptr<persist::SnapshotEncoder> Persistence::encoder(bool aof_base,
                                                               unsigned stream_version) const {
  const Settings& settings = server_.settings();
  persist::SaveOptions options;
  options.version =
      stream_version > 0 ? stream_version : static_cast<unsigned>(settings.rdb_version);
  if (stream_version == 0 && (aof_base || current_.backup || current_.checkpoint))
    options.version = complete_rdb_version();
  options.compress = settings.rdbcompression;
  options.checksum = settings.rdbchecksum;
  options.functions = server_.scripts().libraries().codes();
  if (settings.aof_timestamp_enabled)
    options.annotated_seconds = server_.host().clock.wall() / 1000;
  if (aof_base && !settings.aof_use_rdb_preamble)
    return std::make_unique<persist::AofSave>(options);
  using enum EvictionPolicy;
  EvictionPolicy policy = settings.maxmemory_policy;
  if (policy == volatile_lfu || policy == allkeys_lfu)
    options.access = persist::SaveOptions::Access::frequency;
  else if (policy == volatile_lru || policy == allkeys_lru)
    options.access = persist::SaveOptions::Access::idle;
  base::Millis now = server_.host().clock.wall();
  options.aux = {{"redis-ver", std::string(kRedisVersion)},
                 {"redis-bits", "64"},
                 {"ctime", std::to_string(now / 1000)},
                 {"used-mem", std::to_string(base::memory_used())},
                 {"aof-base", aof_base ? "1" : "0"}};
  if (!aof_base) server_.replication().add_position(options.aux);
  return std::make_unique<persist::RdbSave>(std::move(options), now);
}

void Persistence::request(Request request) {
  requests_.push_back(std::move(request));
  begin_next();
}

void Persistence::begin_next() {
  const bool half_loaded = syncing_ && !ready_;
  while (!job_ && !requests_.empty() && !half_loaded) {
    current_ = std::move(requests_.front());
    requests_.pop_front();
    job_started_ms_ = server_.host().clock.wall();
    job_ = begun(current_);
    if (job_) server_.host().loop.post([] {});  // the walk begins at the end of a turn
  }
}

// The job of a request, or null when nobody wants it any more.
std::unique_ptr<persist::SnapshotJob> Persistence::begun(Request& request) {
  Stream stream = request.make();
  if (!stream.output && request.path.empty()) return nullptr;
  if (!stream.output)
    stream.output =
        std::make_unique<persist::SnapshotFile>(storage_.disk, request.path, request.temporary);
  std::unique_ptr<persist::SnapshotEncoder> encoding =
      encoder(request.aof_base, stream.rdb_version);
  if (stream.left_out)
    encoding = std::make_unique<persist::SlotsLeftOut>(std::move(encoding), *stream.left_out);
  return std::make_unique<persist::SnapshotJob>(
      storage_, server_.store(), std::move(encoding), std::move(stream.output),
      [this](base::Result<> result) {
        finished_job_ = std::move(job_);  // this runs inside it
        host::OnDone done = std::move(current_.done);
        done(std::move(result));
        begin_next();
      });
}

void Persistence::stream(MakeStream make, host::OnDone done) {
  request({.path = {},
           .temporary = {},
           .aof_base = false,
           .done = std::move(done),
           .make = std::move(make)});
}

void Persistence::flushed_all() {
  save_wanted_ = true;
  if (job_ && current_.until_flush && job_->walking()) job_->abandon(kFlushed);
}

void Persistence::save_as(bool background, host::OnDone done) {
  saving_ = true;
  auto ended = [this, background, done = std::move(done)](base::Result<> result) {
    if (!result && result.error() == kFlushed) {
      log::notice("Background saving given up: {}", kFlushed);
      saving_ = false;
      return;
    }
    if (!result)
      log::warning("{} error: {}", background ? "Background saving" : "Saving", result.error());
    else
      log::notice("{}",
                  background ? "Background saving terminated with success" : "DB saved on disk");
    saved(result);
    if (done) done(std::move(result));
  };
  request({.path = server_.settings().dbfilename,
           .temporary = fmt::format("temp-{}.rdb", server_.host().process.pid()),
           .aof_base = false,
           .until_flush = background,
           .done = std::move(ended),
           .make = [this] {
             changes_at_begin_ = server_.store().commits().total_changes();
             return Stream{};
           }});
}

void Persistence::write_backup(std::string path, std::string temporary, host::Task begun,
                               host::OnDone done) {
  request({.path = std::move(path),
           .temporary = std::move(temporary),
           .aof_base = false,
           .backup = true,
           .done = std::move(done),
           .make = [begun = std::move(begun)] {
             begun();
             return Stream{};
           }});
}

void Persistence::write_checkpoint(std::string path, std::string temporary, host::Task begun,
                                   host::OnDone done) {
  request({.path = std::move(path),
           .temporary = std::move(temporary),
           .aof_base = false,
           .checkpoint = true,
           .done = std::move(done),
           .make = [begun = std::move(begun)] {
             begun();
             return Stream{};
           }});
}

const persist::SnapshotJob* Persistence::backup_job() const {
  return job_ && current_.backup ? job_.get() : nullptr;
}

void Persistence::abandon_backup() {
  if (backup_job()) {
    if (job_->walking()) job_->abandon(kBackupGivenUp);
    return;
  }
  auto waiting = std::ranges::find_if(requests_, &Request::backup);
  if (waiting == requests_.end()) return;
  host::OnDone done = std::move(waiting->done);
  requests_.erase(waiting);
  server_.host().loop.post([done] { done(base::Error{kBackupGivenUp}); });
}

void Persistence::save(host::OnDone done) { save_as(false, std::move(done)); }

void Persistence::save_in_background() {
  log::notice("Background saving started");
  save_as(true, nullptr);
}

void Persistence::saved(base::Result<> result) {
  saving_ = false;
  base::Millis now = server_.host().clock.wall();
  last_try_ms_ = now;
  last_ok_ = result.ok();
  last_seconds_ = (now - job_started_ms_) / 1000;
  if (!result) return;
  changes_saved_ = changes_at_begin_;
  last_save_ms_ = now;
  ++saves_;
}

const std::string& Persistence::write_refusal() const {
  const Settings& settings = server_.settings();
  refusal_.clear();
  if (!last_ok_ && settings.stop_writes_on_bgsave_error && !settings.save_points.empty())
    refusal_ =
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist "
        "to "
        "disk. Commands that may modify the data set are disabled, because this instance is "
        "configured to report errors during writes if RDB snapshotting fails "
        "(stop-writes-on-bgsave-error option). Please check the Redis logs for details about the "
        "RDB error.";
  else if (aof_ && aof_on_ && !aof_->log.last_write_ok())
    refusal_ = "MISCONF Errors writing to the AOF file: " + aof_->log.last_error();
  else if (!log_lost_.empty())
    refusal_ = "MISCONF Errors writing to the AOF file: " + log_lost_;
  return refusal_;
}

// What is under way or waits shows an older state and is given up; a final snapshot takes its
// place. The log is closed last, when nothing else can keep the server from ending.
// Forced, it is closed in any case.
void Persistence::prepare_exit(int how, bool force, host::OnDone done) {
  if (job_) log::warning("There is a snapshot under way. It is given up.");
  constexpr const char* kEnding = "the server is ending";
  for (Request& request : std::exchange(requests_, {})) {
    if (request.aof_base)
      rewritten(base::Error{kEnding});
    else
      request.done(base::Error{kEnding});
  }
  if (job_) job_->abandon(kEnding);
  auto end = [this, force, done = std::move(done)](base::Result<> saved) {
    if (!saved && !force) return done(std::move(saved));
    prepare_exit_log(done);
  };
  const bool wanted = how > 0 || (how == 0 && !server_.settings().save_points.empty());
  const bool half_loaded = loading() || (syncing_ && !ready_);
  if (!wanted || half_loaded) return end({});
  log::notice("Saving the final RDB snapshot before exiting.");
  save_as(false, std::move(end));
}

void Persistence::prepare_exit_log(const host::OnDone& done) {
  if (!aof_ || !aof_->log.is_open()) return done({});
  log::notice("Calling fsync() on the AOF file.");
  aof_->log.close([this, done](base::Result<> closed) {
    if (!closed) {
      log::warning("Error writing the append only file: {}", closed.error());
      lose_log(closed.error());
    }
    done(std::move(closed));
  });
}

// The log was closed and is needed: writes are refused until a new base stands.
void Persistence::lose_log(const std::string& error) {
  if (!aof_on_) return;
  log_lost_ = error;
  rewrite_retry_ms_ = 0;
}

// --- time --------------------------------------------------------------------------------------

void Persistence::begin_turn_end() {
  if (!aof_) return;
  if (const int64_t slow_us = debug_switches().aof_flush_sleep_us; slow_us > 0 && aof_on_)
    server_.host().process.sleep(slow_us * base::kNanosPerMicro);
  aof_->log.flush();
}

void Persistence::end_turn() {
  finished_job_.reset();
  if (job_) job_->work(server_.settings().rdb_key_save_delay_us);
  if (__builtin_expect(!waiting_.empty(), 0)) resume_waiting();
  // A replica that is slow to take its data holds up nobody: it is dropped instead.
  bool job_behind =
      job_ && !current_.path.empty() && job_->backlog_bytes() > persist::kBacklogBytesMax;
  bool behind = job_behind || (aof_ && aof_->log.full());
  server_.freeze(Freeze::disk, behind);
}

bool Persistence::waits_for_snapshot(SessionId session, store::DbIndex db, Bytes key) {
  store::Snapshot* snapshot = server_.store().snapshot();
  if (!snapshot || !snapshot->defer_edit(db, server_.store().ref(key))) return false;
  waiting_.push_back(session);
  return true;
}

// The walk is past the value that was waited for first. Who waits for another asks again.
void Persistence::resume_waiting() {
  store::Snapshot* snapshot = server_.store().snapshot();
  if (snapshot && snapshot->awaited()) return;
  for (SessionId id : std::exchange(waiting_, {})) {
    Session* session = server_.find_session(id);
    if (session && session->postponed() == Postponed::paused) session->resume();
  }
}

bool Persistence::save_point_due() const {
  uint64_t changes = server_.store().commits().total_changes() - changes_saved_;
  base::Millis now = server_.now();
  if (!last_ok_ && now - last_try_ms_ < kSaveRetryMs) return false;
  for (const SavePoint& point : server_.settings().save_points) {
    if (changes < static_cast<uint64_t>(point.changes)) continue;
    if (now - last_save_ms_ <= point.seconds * 1000) continue;
    log::notice("{} changes in {} seconds. Saving...", point.changes, point.seconds);
    return true;
  }
  return false;
}

void Persistence::tell_snapshot_progress() {
  if (!job_) return;
  const base::Nanos now = server_.host().clock.steady();
  if (now - std::max(job_told_, job_->started()) < kTellInterval) return;
  job_told_ = now;
  const auto written = static_cast<double>(job_->keys_written());
  log::notice("Snapshot under way: {:.0f}%, {:.0f} keys/s",
              100 * written / static_cast<double>(std::max<uint64_t>(job_->keys_total(), 1)),
              written / seconds_since(job_->started()));
}

void Persistence::tick() {
  tell_snapshot_progress();
  // Also not while DEBUG LOADAOF has closed the log (everybody is held up then): that it is not
  // open would look like a hole to be mended by a rewrite.
  bool held_up = server_.paused() == PauseKind::all;
  if (!ready_ || loading_ || syncing_ || held_up || server_.shutting_down()) return;
  if (plain_loaded_) check_sealing();
  if (server_.settings().appendonly != aof_on_ && !server_.group())
    apply_settings();  // after a full synchronization
  if (!saving_) {
    const bool flushed =
        std::exchange(save_wanted_, false) && !server_.settings().save_points.empty();
    if (flushed || save_point_due()) save_in_background();
  }
  if (!rewriting_ && rewrite_due()) rewrite_aof();
}

// What was loaded from plain files must not stay readable on the disk.
void Persistence::check_sealing() {
  if (job_ || saving_ || rewriting_) return;
  plain_loaded_ = false;
  log::notice("Data was loaded from files that are not encrypted: they are written anew");
  if (aof_on_)
    rewrite_aof();
  else
    save_in_background();
}

Persistence::SaveInfo Persistence::save_info() const {
  SaveInfo info;
  info.changes = server_.store().commits().total_changes() - changes_saved_;
  info.last_save_ms = last_save_ms_;
  info.last_ok = last_ok_;
  info.last_seconds = last_seconds_;
  if (job_ && !current_.aof_base && !current_.backup && !current_.checkpoint)
    info.running_seconds = (server_.now() - job_started_ms_) / 1000;
  info.saves = saves_;
  if (job_) {
    info.keys_total = job_->keys_total();
    info.keys_written = job_->keys_written();
  }
  info.last_load_expired = last_load_expired_;
  info.last_load_loaded = last_load_loaded_;
  return info;
}

// --- a primary's data ---------------------------------------------------------------------------

void Persistence::begin_sync(bool serving) {
  syncing_ = true;
  if (!serving) ready_ = false;
  // The log on disk belongs to the data that goes. A new one begins when the new data stands.
  const size_t waited =
      std::erase_if(requests_, [](const Request& request) { return request.aof_base; });
  if (waited > 0) rewriting_ = false;
  stale_rewrite_ = rewriting_;
  if (job_ && current_.aof_base) job_->abandon("all data is replaced by the primary's");
  if (aof_on_) turn_aof(false);
}

void Persistence::end_sync() {
  syncing_ = false;
  ready_ = true;
  apply_settings();
  begin_next();
}

std::optional<store::Seq> Persistence::durable_seq() const {
  if (!aof_ || !aof_on_ || !aof_stands_) return std::nullopt;
  return aof_->log.durable_seq();
}

// --- reload ------------------------------------------------------------------------------------

void Persistence::reload(Reload how, host::OnDone done) {
  server_.freeze(Freeze::reload, true);
  auto thaw = [this, done = std::move(done)](base::Result<> result) {
    server_.freeze(Freeze::reload, false);
    done(std::move(result));
  };
  auto reload = [this, how, thaw](base::Result<> result) {
    if (!result) return thaw(std::move(result));
    store::Store& store = server_.store();
    if (how.flush)
      for (store::DbIndex db = 0; db < store.databases(); ++db) store.flush(db);
    if (how.flush) server_.scripts().libraries().flush();
    if (how.flush) server_.tracking().flushed();
    if (!how.save) server_.changes().stream().restart();
    persist::LoadOptions options = load_options();
    options.refuse_present = !how.merge;
    load({Plan{server_.settings().dbfilename}}, options, thaw);
  };
  if (how.save)
    save(reload);
  else
    reload({});
}

}  // namespace quoll::server
