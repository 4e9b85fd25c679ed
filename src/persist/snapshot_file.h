// SnapshotFile: a file that is written as a stream and appears complete or not at all.
//
//   open temporary -> append piece... -> fsync -> rename over path -> fsync of the directory
//
// Pieces are written behind one another by the disk's threads; waiting_bytes() is what it has not
// taken yet, so that the producer can pause. On any failure, or when abandoned, the temporary file
// is removed and the old file stays.
#pragma once

#include <memory>
#include <string>

#include "persist/snapshot_output.h"

namespace quoll::persist {

class SnapshotFile final : public SnapshotOutput {
 public:
  // `temporary` must be in the same directory as `path`.
  SnapshotFile(host::Disk& disk, std::string path, std::string temporary);
  ~SnapshotFile() override;  // abandons what is not finished

  void append(std::string piece) override;
  size_t waiting_bytes() const override;
  // Not empty: writing failed, with the system's words. What follows is ignored.
  const std::string& error() const override;
  // Told once, when the file is in place and durable, or why not.
  void finish(host::OnDone done) override;
  void abandon(host::OnDone done) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace quoll::persist
