// SimDrive: the files of one machine, in memory, with what a power loss would leave of them.
// SimDisk: host::Disk on a drive, for one life of a node.
//
//   file:       durable bytes | changes not yet synced (appends, cuts), in order
//   directory:  durable names | links and unlinks not yet made durable by sync_dir, in order
//
// A power loss keeps a prefix of both lists, chosen by the seed; of the first append it loses, a
// torn part may stay. A file created, renamed or removed is only durable after sync_dir of its
// directory. After a failed sync nothing later of that file becomes durable, as on a kernel that
// drops dirty pages: the content stays readable until the crash.
//
// Requests take effect when issued (paths: when they complete) and complete in order per file.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "host/host.h"
#include "tests/sim/sim_chance.h"
#include "tests/sim/sim_loop.h"

namespace quoll::sim {

class SimWorld;

struct SimFile {
  struct Change {
    bool cut = false;  // to `size` bytes; otherwise an append of `bytes`
    host::Offset size = 0;
    std::string bytes;
  };
  std::string content;  // what a read sees
  std::string durable;
  std::vector<Change> unsynced;
  uint64_t changes_synced = 0;  // number of the first element of `unsynced`
  bool doomed = false;          // a sync failed

  uint64_t changes_issued() const { return changes_synced + unsynced.size(); }
  void append(host::Bytes bytes);
  void cut(host::Offset size);
  void sync_up_to(uint64_t change);
  void lose_power(SimChance& chance, bool torn);
};

class SimDrive {
 public:
  using File = std::shared_ptr<SimFile>;

  SimDrive();

  // For scenarios.
  bool exists(const std::string& path) const { return names_.count(normal(path)) != 0; }
  std::string content(const std::string& path) const;    // "" where there is no such file
  void put(const std::string& path, std::string bytes);  // durable at once
  void add_dir(const std::string& path);                 // with its parents, durable at once
  std::vector<std::string> list(const std::string& dir) const;
  size_t bytes_used() const;

  void lose_power(SimChance& chance, bool torn);
  uint64_t power_losses() const { return power_losses_; }

  // What ails this machine's disk, beside what the plan does to all.
  struct Trouble {
    bool full = false;
    bool fails = false;  // every append and every sync
    Nanos slow = 0;      // per request
  };
  Trouble trouble;
  // Some file holds what a failed sync has lost: readable until the machine ends.
  bool doubtful() const;
  // The kernel wrote it after all.
  void settle_doubts();

  static std::string normal(const std::string& path);
  static std::string parent(const std::string& path);

 private:
  friend class SimDisk;

  struct NameChange {
    std::string path;
    File file;  // null: the name is removed
  };
  bool is_dir(const std::string& path) const { return dirs_.count(path) != 0; }
  File find(const std::string& path) const;
  // One entry may change two names at once (rename); both become durable together.
  void change_names(std::vector<NameChange> changes);
  void sync_dir(const std::string& path);

  std::map<std::string, File> names_;
  std::map<std::string, File> durable_names_;
  std::vector<std::vector<NameChange>> unsynced_names_;
  std::set<std::string> dirs_;
  uint64_t power_losses_ = 0;
};

class SimDisk final : public host::Disk {
 public:
  SimDisk(SimWorld& world, NodeId node, SimLoop& loop, SimDrive& drive);

  void freeze() { frozen_ = true; }  // the machine stops: requests have no effect any more

  void open(const std::string& path, host::OpenMode mode, host::OnFile done) override;
  void close(host::FileId file) override;
  void read(host::FileId file, host::Offset offset, size_t size, host::OnBytes done) override;
  void append(host::FileId file, std::string bytes, host::OnDone done) override;
  void sync(host::FileId file, host::OnDone done) override;
  bool gathers(host::FileId) const override { return gathers_; }
  void truncate(host::FileId file, host::Offset size, host::OnDone done) override;
  void size(host::FileId file, std::function<void(base::Result<host::Offset>)> done) override;
  void rename(const std::string& from, const std::string& to, host::OnDone done) override;
  void remove(const std::string& path, host::OnDone done) override;
  void make_dir(const std::string& path, host::OnDone done) override;
  void sync_dir(const std::string& path, host::OnDone done) override;
  void list(const std::string& path, host::OnNames done) override;

 private:
  struct Handle {
    SimDrive::File file;
    bool writable;
    Nanos free_at;       // when the requests before are complete
    size_t failing = 0;  // appends that failed and whose callers do not know yet
  };
  Nanos latency();
  Handle* handle(host::FileId file);
  void complete(host::FileId file, host::Task task);  // in order after the file's other requests
  void fail(const host::OnDone& done, const char* why);
  // `act` runs at completion and says what went wrong ("" = nothing).
  void on_path(const char* kind, std::function<const char*()> act, host::OnDone done);
  base::Result<host::FileId> open_now(const std::string& path, host::OpenMode mode);
  const char* rename_now(const std::string& from, const std::string& to);

  SimWorld& world_;
  NodeId node_;
  SimLoop& loop_;
  SimDrive& drive_;
  std::map<host::FileId, Handle> handles_;
  host::FileId last_file_ = 0;
  bool frozen_ = false;
  const bool gathers_;  // by chance: callers must be right either way
};

}  // namespace quoll::sim
