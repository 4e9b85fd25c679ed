// BackupUpload: one backup on its way to an S3-compatible store, file by file, the manifest last: a
// copy without one is not whole.
//
//   file <= part_bytes   PUT key, signed with the SHA-256 of the manifest
//   larger               POST key?uploads= -> PUT parts -> POST list of parts; on failure DELETE
//
// A request that fails for a reason that may pass (no connection, 5xx, 408, 429) is sent again
// after kBackoff, doubled each time, up to kAttemptsMax times in all. Other answers end it at once.
//
// Cost: one request at a time; nothing is held in memory but the tags of the parts.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/host.h"
#include "host/upload.h"

namespace quoll::server {

struct S3Target {
  std::string endpoint;  // without a slash at its end
  std::string bucket;
  std::string prefix;  // of the keys
  std::string region;
  std::string access_key;
  std::string secret_key;
  uint64_t part_bytes = 0;
};

class BackupUpload {
 public:
  static constexpr int kAttemptsMax = 6;  // of one request: half a minute of backoff
  static constexpr base::Nanos kBackoff = 1'000 * base::kNanosPerMilli;

  struct Object {
    std::string path;  // of the file
    std::string key;   // behind the prefix
    uint64_t bytes = 0;
    std::string sha256;
  };

  // `done` is told once, never from inside a call; this may be destroyed then.
  BackupUpload(host::Loop& loop, host::Upload& upload, S3Target target, std::vector<Object> objects,
               host::OnDone done);
  ~BackupUpload();  // cancels
  BackupUpload(const BackupUpload&) = delete;

  void cancel();
  bool cancelled() const { return cancelled_; }
  uint64_t uploaded_bytes() const;
  uint64_t attempts() const { return attempts_total_; }
  // Why the request under way had to be sent again; empty: it did not.
  const std::string& trouble() const { return trouble_; }

 private:
  using OnAnswer = std::function<void(const host::UploadAnswer&)>;

  void next_object();
  void next_part();
  void complete();
  void send(host::UploadRequest request, OnAnswer answered);
  void attempt();
  void answered(base::Result<host::UploadAnswer> answer);
  void try_again(const std::string& why);
  void fail(const std::string& error);
  void end(base::Result<> result);
  std::string url(const std::string& query = "") const;
  host::UploadRequest request(std::string method, const std::string& query) const;

  host::Loop& loop_;
  host::Upload& upload_;
  S3Target target_;
  std::vector<Object> objects_;
  host::OnDone done_;
  size_t object_ = 0;
  uint64_t sent_bytes_ = 0;  // of whole requests
  // Of an object in parts.
  std::string upload_id_;
  uint64_t part_offset_ = 0;
  std::vector<std::string> etags_;
  // Of the request under way.
  host::UploadRequest request_;
  OnAnswer on_answer_;
  int attempt_ = 0;
  bool sending_ = false;
  host::TimerId timer_ = 0;

  uint64_t attempts_total_ = 0;
  std::string trouble_;
  bool cancelled_ = false;
  bool ended_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
