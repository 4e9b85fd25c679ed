// UvDisk: file requests on libuv's thread pool, in order per file.
//
//   file queue:  [append sync append append sync] [read] [append] ...
//                 one writev, one fdatasync        one batch at work per file
//
// Appends wait for the end of the turn, or for a request of another kind. Appends and syncs that
// follow each other leave together: one writev, and one fdatasync for all the syncs. The thread
// that works on a file goes on with what was queued meanwhile; the loop only hears of what is
// complete. A group commit therefore costs an fsync and no wait for a busy loop.
//
// An append that cannot be completed is taken back (the file is cut to its length before), so the
// file ends at a whole append or, if even that fails, the error says so. The appends and syncs
// asked for before its caller heard of it fail, too. Requests on paths are not ordered among each
// other: callers chain them. Errors are the system's words ("No such file or directory").
#pragma once

#include <deque>
#include <unordered_map>

#include "host/uv_loop.h"

namespace quoll::host {

constexpr size_t kGatherPartsMax = 64;               // appends per writev
constexpr size_t kGatherBytesMax = size_t{4} << 20;  // bytes per writev

class UvDisk final : public Disk {
 public:
  explicit UvDisk(UvLoop& loop);
  // Requests in flight end while the loop drains; their callbacks are not called any more.
  ~UvDisk() override;

  void open(const std::string& path, OpenMode mode, OnFile done) override;
  void close(FileId file) override;
  void read(FileId file, Offset offset, size_t size, OnBytes done) override;
  void append(FileId file, std::string bytes, OnDone done) override;
  void sync(FileId file, OnDone done) override;
  bool gathers(FileId) const override { return true; }
  void truncate(FileId file, Offset size, OnDone done) override;
  void size(FileId file, std::function<void(base::Result<Offset>)> done) override;
  void rename(const std::string& from, const std::string& to, OnDone done) override;
  void remove(const std::string& path, OnDone done) override;
  void make_dir(const std::string& path, OnDone done) override;
  void sync_dir(const std::string& path, OnDone done) override;
  void list(const std::string& path, OnNames done) override;

 private:
  struct Request;
  struct Batch;
  struct File;
  struct Doorbell;
  struct Job;

  void run(std::function<void()> work, std::function<void()> done);
  void run_path(std::function<int()> work, OnDone done);
  void enqueue(FileId file, Request request);
  void start_later(FileId id);
  void start_next(FileId id);
  void tell();
  void tell_of(FileId id);

  UvLoop& loop_;
  std::shared_ptr<Doorbell> doorbell_;
  std::unordered_map<FileId, std::shared_ptr<File>> files_;
  FileId last_file_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::host
