// Upload: sending files to an object store that speaks Amazon's S3 protocol. A seam of its own
// beside Host, because only backups use it: the production body is uv_upload.h, tests have theirs.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "host/host.h"

namespace quoll::host {

// One request, signed by AWS signature version 4.
struct UploadRequest {
  std::string method = "PUT";
  std::string url;
  std::string region;
  std::string access_key;
  std::string secret_key;
  // The body: `size` bytes of a file from `offset` on, or `body` when there is no path.
  std::string path;
  Offset offset = 0;
  uint64_t size = 0;
  std::string body;
  std::string sha256;  // of the body, in hex; empty: it is not signed
};

struct UploadAnswer {
  long status = 0;  // of HTTP
  std::string etag;
  std::string body;  // the first kUploadAnswerBytesMax of it
};

constexpr size_t kUploadAnswerBytesMax = 64 * 1024;

using OnUpload = std::function<void(base::Result<UploadAnswer>)>;

struct Upload {
  virtual ~Upload() = default;
  // One at a time. The error is that of the connection ("Couldn't connect to server"); any answer
  // of the other side is a value.
  virtual void send(UploadRequest request, OnUpload done) = 0;
  virtual uint64_t sent_bytes() = 0;  // of the body under way
  virtual void cancel() = 0;          // `done` hears an error soon
};

}  // namespace quoll::host
