// Persistence: what keeps the data across restarts, seen from the server: loading at the start,
// snapshots (SAVE, BGSAVE, save points), the append-only file and its rewriting, and what happens
// at the end.
//
//   start -> loading (commands get -LOADING) -> ready
//   one snapshot at a time; further requests wait for it
//   commit -> AofLog -> gate (appendfsync always: replies wait for the fsync, the loop does not)
//
// A snapshot is a walk between commands (persist::SnapshotJob): no process is forked and the loop
// never waits for the disk. persistence.cc: snapshots; persistence_load.cc; persistence_aof.cc.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "persist/aof_log.h"
#include "persist/aof_reader.h"
#include "persist/rdb_load.h"
#include "persist/rdb_save.h"
#include "persist/sealed_disk.h"
#include "persist/snapshot_job.h"
#include "server/replay.h"
#include "server/settings.h"
#include "server/unsettled_keys.h"
#include "store/slot_set.h"

namespace quoll::server {

class Backups;
class Server;

// Between two lines of the log on how far loading, or a snapshot, is.
constexpr base::Nanos kTellInterval = 1000 * base::kNanosPerMilli;

class Persistence {
 public:
  explicit Persistence(Server& server);
  ~Persistence();

  // The host whose disk holds the data: it seals what it writes when there is a key.
  const host::Host& storage() const { return storage_; }
  // Reads data-encryption-key-file: at the start and by CONFIG SET.
  base::Result<> load_keys();

  // Loads what the disk holds; `ready` is told when commands may run, or why the server must end.
  void start(host::OnDone ready);
  bool loading() const { return !ready_; }
  struct LoadingInfo {
    base::Millis start_ms = 0;
    uint64_t total_bytes = 0;
    uint64_t loaded_bytes = 0;
  };
  LoadingInfo loading_info() const;

  // SAVE and what ends with it: `done` is told when the file is in place.
  void save(host::OnDone done);
  // BGSAVE: begins at once, or when what runs now has ended.
  void save_in_background();
  // All data are gone: where save points are set the file shall not bring them back, however few
  // changes that was. A BGSAVE under way, which would show them, is given up.
  void flushed_all();
  bool saving() const { return saving_; }
  bool snapshot_active() const { return job_ != nullptr; }
  // Whether a command that changes the key must wait because the snapshot has much of the value to
  // write before. The session is to run it again when it is resumed.
  bool waits_for_snapshot(SessionId session, store::DbIndex db, Bytes key);
  // A snapshot for replicas. `make` is asked at the instant the snapshot will show; nothing made:
  // nobody wants it any more.
  struct Stream {
    unsigned rdb_version = 0;
    std::unique_ptr<persist::SnapshotOutput> output;
    std::optional<store::SlotSet> left_out = {};  // of the keys placed by slot
  };
  using MakeStream = std::function<Stream()>;
  void stream(MakeStream make, host::OnDone done);
  bool streaming() const { return job_ && current_.path.empty(); }
  // All data is about to come from a primary. `serving`: into another store, and commands go on.
  void begin_sync(bool serving);
  // It came, or it did not: what the store holds counts now.
  void end_sync();
  bool syncing() const { return syncing_; }
  // Up to which commit the append-only file is durable; nothing when it is off.
  std::optional<store::Seq> durable_seq() const;
  // The files of the log while they hold the data; null: they do not.
  const persist::AofDirectory* log_files() const {
    const bool whole = aof_ && aof_on_ && aof_stands_ && !aof_->log.needs_base();
    return whole ? &aof_->directory : nullptr;
  }
  // BGREWRITEAOF: begins at once, or when what runs now has ended.
  void rewrite_aof();
  bool rewriting() const { return rewriting_; }
  // DEBUG RELOAD and DEBUG LOADAOF. No command runs until `done`.
  struct Reload {
    bool save = true;
    bool flush = true;
    bool merge = false;
  };
  void reload(Reload how, host::OnDone done);
  void reload_aof(host::OnDone done);

  Backups& backups() { return *backups_; }
  // An RDB file of one instant, beside the saves: `begun` is told at that instant.
  void write_backup(std::string path, std::string temporary, host::Task begun, host::OnDone done);
  // The same of a group member's data; `path` has its name when it is complete.
  void write_checkpoint(std::string path, std::string temporary, host::Task begun,
                        host::OnDone done);
  // Such a file into the store.
  void load_checkpoint(const std::string& path, host::OnDone done);
  // Gives it up, running or waiting: its `done` hears why. One that only has to reach the disk
  // ends as it would have.
  void abandon_backup();
  // Of RDB files that must hold everything.
  unsigned complete_rdb_version() const;
  // What a snapshot job wrote, as long as it tells that it is done.
  uint64_t finished_job_bytes() const { return finished_job_ ? finished_job_->bytes() : 0; }
  // Null while it waits, or when there is none.
  const persist::SnapshotJob* backup_job() const;

  // Something is unusual: commands must be looked at.
  bool hampered() const {
    return !ready_ || !last_ok_ || (aof_ && !aof_->log.last_write_ok()) || !log_lost_.empty();
  }
  // Why writes are refused now; empty: they are not.
  const std::string& write_refusal() const;
  // Writes what must be on disk at the end. `how`: 0 as configured, 1 SAVE, -1 NOSAVE.
  void prepare_exit(int how, bool force, host::OnDone done);

  // Bytes in memory only because the disk has not taken them yet.
  size_t waiting_bytes() const;

  void begin_turn_end();  // before replies are flushed
  void end_turn();        // after
  void tick();
  UnsettledKeys& unsettled() { return unsettled_; }
  // The directives of the append-only file, at the start and by CONFIG SET.
  void apply_settings();

  struct SaveInfo {
    uint64_t changes = 0;  // since the last snapshot
    base::Millis last_save_ms = 0;
    bool last_ok = true;
    int64_t last_seconds = -1;
    int64_t running_seconds = -1;
    uint64_t saves = 0;
    uint64_t keys_total = 0;
    uint64_t keys_written = 0;
    uint64_t last_load_expired = 0;
    uint64_t last_load_loaded = 0;
  };
  SaveInfo save_info() const;
  struct AofInfo {
    bool enabled = false;
    bool scheduled = false;
    int64_t last_seconds = -1;
    int64_t running_seconds = -1;
    bool last_rewrite_ok = true;
    uint64_t rewrites = 0;
    uint64_t failures_in_a_row = 0;
    bool last_write_ok = true;
    persist::AofLogStats stats{};
  };
  AofInfo aof_info() const;
  void forget_delayed_fsyncs() {
    if (aof_) aof_->log.forget_delayed_fsyncs();
  }

 private:
  // The append-only directory and the log in it, while appendonly is on or a rewrite runs.
  struct Aof {
    Aof(const host::Host& host, persist::AofDirectoryPlace place, persist::AofLogEvents events)
        : directory(host.loop, host.disk, std::move(place)),
          log(host.clock, host.loop, host.disk, directory, std::move(events)) {}
    persist::AofDirectory directory;
    persist::AofLog log;
    bool loaded = false;  // the directory is there, and its manifest was read
  };
  // One file to be loaded.
  struct Plan {
    explicit Plan(std::string path, std::string name = "")
        : path(std::move(path)), name(std::move(name)) {}
    std::string path;
    std::string name;                           // in the append-only directory; empty: an RDB file
    int64_t increment = persist::kNoIncrement;  // its number, if it is one
    bool last = false;                          // the only one whose tail may be torn
    uint64_t bytes = 0;
  };
  // Files on their way into the store.
  struct Loading {
    std::deque<Plan> plans;
    persist::LoadOptions options;
    host::OnDone done;
    uint64_t total_bytes = 0;
    uint64_t loaded_bytes = 0;
    base::Millis start_ms = 0;
    base::Nanos start = 0;
    base::Nanos told = 0;  // when the log last said how far it is
    // Of the file under way.
    host::FileId file = 0;
    uint64_t read_bytes = 0;  // asked for
    uint64_t fed_bytes = 0;   // decoded
    bool opened = false;
    std::unique_ptr<persist::RdbLoad> rdb;
    std::unique_ptr<persist::AofReader> aof;
    std::unique_ptr<Replay> replay;
    uint64_t rdb_keys = 0;  // of files before
    base::Nanos file_start = 0;
    bool damaged = false;  // what is left of the log is not worth reading
  };
  struct Request {
    std::string path;
    std::string temporary;
    bool aof_base = false;
    bool backup = false;
    bool checkpoint = false;
    bool until_flush = false;
    host::OnDone done;
    MakeStream make;  // at the instant the snapshot shows; nothing: `path`, by way of `temporary`
  };

  void check_sealing();

  // Snapshots.
  void request(Request request);
  void begin_next();
  void save_as(bool background, host::OnDone done);
  void saved(base::Result<> result);
  std::unique_ptr<persist::SnapshotEncoder> encoder(bool aof_base, unsigned stream_version) const;
  std::unique_ptr<persist::SnapshotJob> begun(Request& request);
  bool save_point_due() const;
  void prepare_exit_log(const host::OnDone& done);
  void lose_log(const std::string& error);

  void resume_waiting();

  // Loading.
  persist::LoadOptions load_options() const;
  void load(std::deque<Plan> plans, persist::LoadOptions options, host::OnDone done);
  void open_next();
  void open_file();
  void fail_reading(const std::string& error);
  void file_opened(base::Result<host::FileId> opened);
  void read_more();
  void feed(std::string bytes, bool last, bool then_rest);
  void rest(uint64_t items, bool last);
  void go_on(base::Nanos due, bool last);
  uint64_t items_loaded() const;
  base::Result<> feed_rdb(std::string& bytes, bool last);
  base::Result<> feed_aof(std::string bytes);
  void file_read();
  void end_file(base::Result<> result);
  void end_aof_file();
  base::Result<> load_functions();
  void note_rdb();
  void tell_rdb_fault();
  void tell_rdb_origin();
  double seconds_since(base::Nanos begin) const;
  void tell_progress();
  void tell_snapshot_progress();
  void end_loading(base::Result<> result);
  void load_rdb(host::OnDone done);

  // The append-only file.
  void make_aof();
  void load_aof(host::OnDone done);
  void open_aof(host::OnDone done);
  void open_log(host::OnDone done);
  void rewrite();
  void begin_rewrite();
  void part_done(base::Result<> result);
  void rewritten(base::Result<> result);
  void turn_aof(bool on);
  bool rewrite_due();
  std::string base_temporary() const;

  Server& server_;
  std::unique_ptr<persist::SealedDisk> disk_;
  host::Host storage_;
  std::unique_ptr<Backups> backups_;
  bool plain_loaded_ = false;  // with a key: what was loaded is to be written anew, sealed
  std::deque<Request> requests_;
  std::unique_ptr<persist::SnapshotJob> job_;
  std::unique_ptr<persist::SnapshotJob> finished_job_;  // until the turn ends
  Request current_;
  std::vector<SessionId> waiting_;  // for the snapshot to pass a value
  std::unique_ptr<Loading> loading_;

  bool ready_ = false;          // what the disk held at the start, or at a reload, is in the store
  bool saving_ = false;         // an RDB file is being written or waits for its turn
  bool save_wanted_ = false;    // at the next tick, by FLUSHALL
  bool syncing_ = false;        // with a primary that sends all data
  bool aof_closing_ = false;    // it was switched off, and what was gathered is written
  bool stale_rewrite_ = false;  // of data that went meanwhile: being given up
  uint64_t changes_saved_ = 0;  // changes contained in the last snapshot
  uint64_t changes_at_begin_ = 0;
  base::Millis last_save_ms_ = 0;
  base::Millis last_try_ms_ = 0;
  base::Millis job_started_ms_ = 0;
  base::Nanos job_told_ = 0;  // when the log last said how far the snapshot is
  int64_t last_seconds_ = -1;
  bool last_ok_ = true;
  uint64_t saves_ = 0;
  uint64_t last_load_expired_ = 0;
  uint64_t last_load_loaded_ = 0;

  std::unique_ptr<Aof> aof_;
  UnsettledKeys unsettled_;
  mutable std::string refusal_;
  bool aof_on_ = false;      // as the settings want it
  bool aof_stands_ = false;  // files and manifest hold the data: what is fsynced there is durable
  bool rewriting_ = false;   // a base is being written or waits for its turn
  host::OnDone first_base_done_;  // at a start without files
  int rewrite_parts_ = 0;         // still to be done before the base is published
  std::string rewrite_error_;
  uint64_t rewrite_bytes_ = 0;
  uint64_t aof_bytes_ = 0;  // loaded
  uint64_t aof_base_bytes_ = 0;
  base::Millis rewrite_started_ms_ = 0;
  int64_t rewrite_seconds_ = -1;
  uint64_t rewrites_ = 0;
  uint64_t rewrite_failures_ = 0;  // in a row
  base::Millis rewrite_retry_ms_ = 0;
  std::string log_lost_;  // why the log, which should be open, was closed; a new base ends it
};

}  // namespace quoll::server
