// GroupStateFile: what a group member must not forget, on disk (<dir>/state, group_wal_format.h).
//
//   change, change, change -> one file: write temp, fsync, rename, fsync of the directory -> done x
//   3
//
// Changes apply at once to what is to be written; those that come while a file is being written go
// out together in the next one, so the latest wins and each is done in order. A crash leaves the
// old or the new file.
//
// A write that fails is tried again every second until it succeeds: after a failed fsync nobody
// knows which file is there.
//
// Cost: two fsyncs and a rename for all changes that wait.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/group_wal_format.h"
#include "host/host.h"

namespace quoll::cluster {

constexpr const char* kGroupStateName = "state";
constexpr const char* kGroupStateTemporary = "temp-state";
constexpr base::Nanos kGroupStateRetryAfter = 1'000 * base::kNanosPerMilli;

class GroupStateFile {
 public:
  using OnTrouble = std::function<void(const std::string& error)>;
  // `on_trouble` hears of the first failure of a row, and of the first behind try_now().
  GroupStateFile(host::Disk& disk, host::Loop& loop, std::string dir, OnTrouble on_trouble);
  ~GroupStateFile();
  GroupStateFile(const GroupStateFile&) = delete;

  void adopt(const GroupSuperblock& found) { block_ = found; }
  // What is, or is to be, on disk.
  const GroupSuperblock& block() const { return block_; }

  template <class Edit>
  void change(Edit&& edit, host::Task done) {
    edit(block_);
    waiting_.push_back(std::move(done));
    if (serving_.empty() && retry_timer_ == 0) write();
  }
  // What failed is tried again now, not in a while.
  void try_now();
  bool idle() const { return serving_.empty() && waiting_.empty(); }

 private:
  void write();
  void written(const base::Result<>& result);

  host::Disk& disk_;
  host::Loop& loop_;
  std::string dir_;
  OnTrouble on_trouble_;
  GroupSuperblock block_;
  std::vector<host::Task> serving_;  // told when the file being written is on disk
  std::vector<host::Task> waiting_;  // by the next one
  host::TimerId retry_timer_ = 0;
  bool in_trouble_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::cluster
