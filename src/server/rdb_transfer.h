// RdbTransfer: the bytes of one full synchronization, on their way to all replicas that wait for
// them. Made once, kept until the slowest reader has them.
//
//   header | piece | piece | piece ...       pieces in front of every reader are dropped
//            ^reader a       ^reader b
//
// Streamed while the snapshot walks ("$EOF:mark" ... mark), or, when a replica asks for the length
// beforehand, spooled to a file first and read from there.
//
// Held back, it gives no bytes to anybody: what it shows may not be seen yet. The walk rests once
// much has gathered.
//
// Cost: no copy per replica. Memory: what the slowest reader has not taken; the walk rests, and
// the file is not read on, while that is much.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "persist/snapshot_output.h"

namespace quoll::server {

constexpr size_t kSpoolReadBytes = 256 * 1024;        // of one request to the file
constexpr size_t kSpoolWaitingMax = size_t{1} << 20;  // then the file is not read on

class RdbTransfer : public std::enable_shared_from_this<RdbTransfer> {
 public:
  struct Reader {
    uint64_t at = 0;
    std::function<void()> wake;
  };

  explicit RdbTransfer(host::Disk& disk) : disk_(disk) {}
  ~RdbTransfer();

  void add(Reader& reader);
  void remove(Reader& reader);
  bool has_readers() const { return !readers_.empty(); }
  size_t readers() const { return readers_.size(); }

  // Straight from the walk: `mark` ends the bytes.
  std::unique_ptr<persist::SnapshotOutput> stream(std::string mark);
  // By way of a file; `failed` is told when it cannot be read back.
  std::unique_ptr<persist::SnapshotOutput> spool(std::string path,
                                                 std::function<void(std::string)> failed);
  bool streamed() const { return !mark_.empty(); }

  void hold_back() { held_back_ = true; }
  void let_go();

  size_t gather(const Reader& reader, std::span<base::Bytes> parts) const;
  void consumed(Reader& reader, size_t bytes);
  bool complete() const { return complete_; }
  bool finished(const Reader& reader) const { return complete_ && reader.at == end_; }
  size_t waiting(const Reader& reader) const { return end_ - reader.at; }
  size_t waiting() const;
  size_t held() const { return end_ - start_; }

 private:
  class Live;
  class Spool;
  struct Piece {
    uint64_t start;
    std::string bytes;
  };

  void append(std::string piece);
  void end();
  void wake_readers();
  void trim();
  void open_spool();
  void read_spool();

  host::Disk& disk_;
  std::vector<Reader*> readers_;
  std::deque<Piece> pieces_;
  uint64_t start_ = 0;
  uint64_t end_ = 0;
  bool complete_ = false;
  bool held_back_ = false;
  std::string mark_;
  std::string spool_path_;
  std::function<void(std::string)> failed_;
  host::FileId file_ = 0;
  uint64_t file_at_ = 0;
  bool file_open_ = false;
  bool reading_ = false;
};

}  // namespace quoll::server
