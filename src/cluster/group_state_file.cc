#include "cluster/group_state_file.h"

#include "host/whole_file.h"

namespace quoll::cluster {

GroupStateFile::GroupStateFile(host::Disk& disk, host::Loop& loop, std::string dir,
                               OnTrouble on_trouble)
    : disk_(disk), loop_(loop), dir_(std::move(dir)), on_trouble_(std::move(on_trouble)) {}

GroupStateFile::~GroupStateFile() {
  *alive_ = false;
  if (retry_timer_ != 0) loop_.cancel(retry_timer_);
}

void GroupStateFile::write() {
  serving_.insert(serving_.end(), std::make_move_iterator(waiting_.begin()),
                  std::make_move_iterator(waiting_.end()));
  waiting_.clear();
  host::replace_whole_file(disk_, dir_ + "/" + kGroupStateName, dir_ + "/" + kGroupStateTemporary,
                           encode_superblock(block_),
                           [this, alive = alive_](const base::Result<>& result) {
                             if (*alive) written(result);
                           });
}

void GroupStateFile::try_now() {
  in_trouble_ = false;
  if (retry_timer_ == 0) return;
  loop_.cancel(std::exchange(retry_timer_, 0));
  write();
}

void GroupStateFile::written(const base::Result<>& result) {
  auto alive = alive_;
  if (!result) {
    retry_timer_ = loop_.after(kGroupStateRetryAfter, [this] {
      retry_timer_ = 0;
      write();
    });
    if (!std::exchange(in_trouble_, true)) on_trouble_(result.error());
    return;
  }
  in_trouble_ = false;
  std::vector<host::Task> served = std::move(serving_);
  serving_.clear();
  if (!waiting_.empty()) write();
  for (const host::Task& done : served) {
    if (done) done();
    if (!*alive) return;
  }
}

}  // namespace quoll::cluster
