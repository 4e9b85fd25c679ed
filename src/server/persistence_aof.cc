// Persistence: the append-only file.
//
//   start     manifest -> base and increments -> the log goes on in the last increment
//             no manifest: what the RDB file holds is loaded, and a first base is written
//   rewrite   a new increment and a snapshot begin at the same commit; the snapshot becomes the
//   base
#include <fmt/format.h>

#include "server/change_readers.h"
#include "server/group.h"
#include "server/log.h"
#include "server/persistence.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr base::Millis kRewriteRetryMs = 10'000;  // after a failed rewrite; doubled each time
constexpr base::Nanos kLookForRewriteEnd = 5 * base::kNanosPerMilli;
constexpr uint64_t kRewriteRetryShiftMax = 6;
constexpr uint64_t kRewriteFailuresTold = 4;  // in a row, as many as Redis takes before it waits

persist::AofSync sync_of(Fsync policy) {
  switch (policy) {
    case Fsync::always:
      return persist::AofSync::always;
    case Fsync::everysec:
      return persist::AofSync::everysec;
    case Fsync::no:
      break;
  }
  return persist::AofSync::no;
}

}  // namespace

void Persistence::make_aof() {
  if (aof_) return;
  const Settings& settings = server_.settings();
  persist::AofLogEvents events;
  events.on_durable = [this](store::Seq seq) {
    unsettled_.settle(seq);
    server_.gate().advance(Need::fsynced, seq);
  };
  events.on_state = [](bool ok, const std::string& error) {
    if (ok)
      log::notice("AOF write error looks solved, Redis can write again.");
    else
      log::warning("Error writing to the AOF file: {}", error);
  };
  events.on_room = [this] { server_.host().loop.post([] {}); };
  events.on_written = [this](const persist::AofPlace& place) {
    server_.changes().stream().log_written(place);
  };
  aof_ = std::make_unique<Aof>(
      storage_, persist::AofDirectoryPlace{".", settings.appenddirname, settings.appendfilename},
      std::move(events));
  aof_->directory.on_trouble(
      [](const std::string& error) { log::warning("Error syncing the AOF directory: {}", error); });
  server_.store().commits().add_sink(aof_->log);
  apply_settings();
}

void Persistence::apply_settings() {
  const Settings& settings = server_.settings();
  if (const ReplicaGroup* group = server_.group()) {  // its log is what replies wait for
    server_.gate().require(group->serves() ? Need::members : Need::nothing);
    unsettled_.set_listening(group->serves());
    return;
  }
  const bool settled = !loading() && !syncing_ && !stale_rewrite_ && !aof_closing_;
  if (settings.appendonly != aof_on_ && settled) return turn_aof(settings.appendonly);
  bool hold = aof_on_ && aof_stands_ && settings.appendfsync == Fsync::always;
  server_.gate().require(hold ? Need::fsynced : Need::nothing);
  unsettled_.set_listening(hold);
  if (!aof_) return;
  aof_->log.set_sync(sync_of(settings.appendfsync));
  aof_->log.set_timestamps(settings.aof_timestamp_enabled);
  aof_->log.keep_history(settings.aof_disable_auto_gc);
  aof_->log.set_changes(server_.changes().stream().life());
  aof_->log.suspend_sync(settings.no_appendfsync_on_rewrite && job_ != nullptr);
}

// --- start -------------------------------------------------------------------------------------

void Persistence::open_aof(host::OnDone done) {
  make_aof();
  aof_->directory.load([this, done](base::Result<std::vector<std::string>> loaded) {
    if (!loaded) {
      log::warning("{}", loaded.error());
      return done(base::Error{loaded.error()});
    }
    for (const std::string& line : loaded.value()) log::notice("{}", line);
    aof_->loaded = true;
    if (!aof_->directory.manifest().empty()) return load_aof(done);
    // Redis would start empty here and the next save would overwrite the RDB file.
    load_rdb([this, done](base::Result<> result) {
      if (!result) return done(std::move(result));
      // Nothing is durable before the first base is published: until then nobody is served.
      first_base_done_ = done;
      rewrite();
    });
  });
}

void Persistence::load_aof(host::OnDone done) {
  const persist::AofManifest& manifest = aof_->directory.manifest();
  std::deque<Plan> plans;
  auto add = [&](const persist::AofFile& file) {
    plans.push_back(Plan{aof_->directory.path(file.name), file.name});
    if (file.type == persist::AofFileType::increment) plans.back().increment = file.seq;
  };
  if (manifest.has_base()) add(manifest.base());
  for (const persist::AofFile& file : manifest.increments()) add(file);
  plans.back().last = true;
  persist::LoadOptions options = load_options();
  options.keep_expired = true;
  aof_bytes_ = aof_base_bytes_ = 0;
  load(std::move(plans), std::move(options), [this, done](base::Result<> result) {
    if (!result || !aof_on_) return done(std::move(result));
    open_log(done);
  });
}

void Persistence::open_log(host::OnDone done) {
  aof_->log.set_sizes(aof_bytes_, aof_base_bytes_);
  aof_->log.open(server_.store().commits().last_seq(), [this, done](base::Result<> opened) {
    if (!opened) log::warning("Can't open the append only file: {}", opened.error());
    aof_stands_ = opened.ok();
    apply_settings();
    done(std::move(opened));
  });
}

// --- rewriting ---------------------------------------------------------------------------------

std::string Persistence::base_temporary() const {
  return fmt::format("temp-rewriteaof-bg-{}.aof", server_.host().process.pid());
}

void Persistence::rewrite_aof() {
  log::notice("Background append only file rewriting started");
  make_aof();
  if (aof_->loaded) return rewrite();
  // The server started without a log: its directory may be missing, or hold an older one, whose
  // names are not given again.
  rewriting_ = true;
  rewrite_started_ms_ = server_.host().clock.wall();
  aof_->directory.load([this](base::Result<std::vector<std::string>> loaded) {
    if (!loaded) return rewritten(base::Error{loaded.error()});
    for (const std::string& line : loaded.value()) log::notice("{}", line);
    aof_->loaded = true;
    rewrite();
  });
}

// The increment and the snapshot begin at the same commit; the base is published when both stand.
void Persistence::rewrite() {
  rewriting_ = true;
  std::string path = aof_->directory.path(base_temporary());
  request({.path = path,
           .temporary = path + ".part",
           .aof_base = true,
           .done = [this](base::Result<> written) { part_done(std::move(written)); },
           .make =
               [this] {
                 begin_rewrite();
                 return Stream{};
               }});
}

void Persistence::begin_rewrite() {
  rewrite_parts_ = aof_on_ ? 2 : 1;
  rewrite_error_.clear();
  rewrite_started_ms_ = server_.host().clock.wall();
  aof_->log.suspend_sync(server_.settings().no_appendfsync_on_rewrite);
  if (aof_on_)
    aof_->log.begin_increment(server_.store().commits().last_seq(),
                              [this](base::Result<> begun) { part_done(std::move(begun)); });
}

// The increment was begun, or the snapshot was written.
void Persistence::part_done(base::Result<> result) {
  if (!result && rewrite_error_.empty()) rewrite_error_ = result.error();
  if (finished_job_) rewrite_bytes_ = finished_job_->bytes();
  if (--rewrite_parts_ > 0) return;
  if (!rewrite_error_.empty()) return rewritten(base::Error{rewrite_error_});
  aof_->log.publish_base(base_temporary(), server_.settings().aof_use_rdb_preamble, rewrite_bytes_,
                         [this](base::Result<> published) { rewritten(std::move(published)); });
}

void Persistence::rewritten(base::Result<> result) {
  rewriting_ = stale_rewrite_ = false;
  aof_->log.suspend_sync(false);
  if (first_base_done_)
    server_.host().loop.post([done = std::move(first_base_done_), result] { done(result); });
  first_base_done_ = nullptr;
  base::Millis now = server_.host().clock.wall();
  rewrite_seconds_ = (now - rewrite_started_ms_) / 1000;
  ++rewrites_;
  if (result) {
    rewrite_failures_ = 0;
    aof_stands_ = aof_on_;
    log_lost_.clear();
    apply_settings();
    log::notice("Background AOF rewrite terminated with success");
    return;
  }
  log::warning("Background AOF rewrite terminated with error: {}", result.error());
  uint64_t shift = std::min(rewrite_failures_, kRewriteRetryShiftMax);
  rewrite_retry_ms_ = now + (kRewriteRetryMs << shift);
  ++rewrite_failures_;
  if (rewrite_failures_ < kRewriteFailuresTold) return;
  constexpr base::Millis kMinute = 60 * 1000;
  log::warning(
      "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {} "
      "minutes",
      ((kRewriteRetryMs << shift) + kMinute - 1) / kMinute);
}

bool Persistence::rewrite_due() {
  if (!aof_ || !aof_on_ || server_.now() < rewrite_retry_ms_) return false;
  // Switched on while running, and the first base could not be written; or a hole in the log.
  if (!aof_stands_ || !aof_->log.is_open() || aof_->log.needs_base()) return true;
  const Settings& settings = server_.settings();
  if (settings.auto_aof_rewrite_percentage <= 0) return false;
  persist::AofLogStats stats = aof_->log.stats();
  if (stats.current_size <= static_cast<uint64_t>(settings.auto_aof_rewrite_min_size)) return false;
  uint64_t base = std::max<uint64_t>(stats.base_size, 1);
  if (stats.current_size <= base) return false;
  uint64_t growth = (stats.current_size - base) * 100 / base;
  if (growth < static_cast<uint64_t>(settings.auto_aof_rewrite_percentage)) return false;
  log::notice("Starting automatic rewriting of AOF on {}% growth", growth);
  return true;
}

// CONFIG SET appendonly.
void Persistence::turn_aof(bool on) {
  aof_on_ = on;
  aof_stands_ = false;
  if (!on) server_.changes().stream().log_closed();
  log_lost_.clear();
  if (on) {
    make_aof();
    if (server_.store().commits().open())
      log::notice(
          "AOF was enabled during a transaction. An AOF background was scheduled to start when "
          "possible.");
    else if (job_)
      log::notice(
          "AOF was enabled but there is already another background operation. An AOF background "
          "was "
          "scheduled to start when possible.");
    if (!rewriting_) rewrite_aof();
  } else if (aof_->log.is_open()) {
    if (job_ && current_.aof_base && job_->walking()) {
      // There is no child: the words are those that tools wait for.
      log::notice("Killing running AOF rewrite child: {}", server_.host().process.pid());
      job_->abandon("appendonly was switched off");
    }
    aof_closing_ = true;
    aof_->log.close([this](base::Result<> closed) {
      if (!closed) log::warning("Error closing the append only file: {}", closed.error());
      aof_closing_ = false;
      apply_settings();  // it may have been switched on again meanwhile
    });
  }
  apply_settings();
}

// DEBUG LOADAOF.
void Persistence::reload_aof(host::OnDone done) {
  if (rewriting_) {  // it removes the files that would be read
    server_.host().loop.after(kLookForRewriteEnd, [this, done] { reload_aof(done); });
    return;
  }
  make_aof();
  server_.freeze(Freeze::reload, true);
  auto thaw = [this, done = std::move(done)](base::Result<> result) {
    server_.freeze(Freeze::reload, false);
    done(std::move(result));
  };
  auto replace = [this, thaw] {
    if (aof_->directory.manifest().empty()) return thaw(base::Error{"there is no log"});
    store::Store& store = server_.store();
    for (store::DbIndex db = 0; db < store.databases(); ++db) store.flush(db);
    server_.scripts().libraries().flush();
    server_.tracking().flushed();
    load_aof(thaw);
  };
  if (!aof_->log.is_open()) {
    // It is off, or broken: the files show what they hold, and stay as they are.
    if (aof_->loaded) return replace();
    aof_->directory.load([this, thaw, replace](base::Result<std::vector<std::string>> loaded) {
      if (!loaded) return thaw(base::Error{loaded.error()});
      aof_->loaded = true;
      replace();
    });
    return;
  }
  aof_->log.close([this, thaw, replace](base::Result<> closed) {
    if (closed) return replace();
    lose_log(closed.error());
    thaw(std::move(closed));
  });
}

// What a snapshot for replicas waits with is counted as theirs.
size_t Persistence::waiting_bytes() const {
  size_t bytes = aof_ ? aof_->log.held_bytes() : 0;
  return job_ && !streaming() ? bytes + job_->backlog_bytes() : bytes;
}

Persistence::AofInfo Persistence::aof_info() const {
  AofInfo info;
  info.enabled = aof_on_;
  // Switched on without a base yet: the next tick begins one.
  const bool due = aof_on_ && !aof_stands_ && !rewriting_;
  // While another snapshot is taken; else it is under way, also when its files are only prepared.
  info.scheduled = due || (rewriting_ && job_ && !current_.aof_base);
  info.last_seconds = rewrite_seconds_;
  if (job_ && current_.aof_base)
    info.running_seconds = (server_.now() - rewrite_started_ms_) / 1000;
  info.last_rewrite_ok = rewrite_failures_ == 0;
  info.rewrites = rewrites_;
  info.failures_in_a_row = rewrite_failures_;
  if (!aof_) return info;
  info.last_write_ok = aof_->log.last_write_ok();
  info.stats = aof_->log.stats();
  return info;
}

}  // namespace quoll::server
