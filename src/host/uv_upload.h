// UvUpload: requests to an object store by libcurl, each on a thread of its own, so that neither
// the loop nor the threads of the disk wait for the network.
//
//   loop: send() -> thread: reads the file, talks HTTP -> uv_async -> loop: done
//
// The thread touches nothing but its job. Cost: a thread and a connection per request, which are
// few and large; 16 KiB in memory.
#pragma once

#include <memory>

#include "host/upload.h"
#include "host/uv_loop.h"

namespace quoll::host {

class UvUpload final : public Upload {
 public:
  explicit UvUpload(UvLoop& loop);
  ~UvUpload() override;  // cancels and waits for the thread; `done` is not called any more
  UvUpload(const UvUpload&) = delete;

  void send(UploadRequest request, OnUpload done) override;
  uint64_t sent_bytes() override;
  void cancel() override;

 private:
  struct Job;
  struct Bell;

  void finished();

  UvLoop& loop_;
  std::unique_ptr<Job> job_;
  Bell* bell_ = nullptr;  // closed by the loop
};

}  // namespace quoll::host
