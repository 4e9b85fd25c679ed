#include "host/uv_upload.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/check.h"

namespace quoll::host {
namespace {

constexpr long kConnectTimeoutSeconds = 10;
constexpr long kStallBytesPerSecond = 1;  // slower than this for
constexpr long kStallSeconds = 60;        // this long is an error
constexpr const char* kCancelled = "cancelled";

}  // namespace

struct UvUpload::Job {
  UploadRequest request;
  OnUpload done;
  UploadAnswer answer;
  std::string error;
  std::atomic<uint64_t> sent{0};
  std::atomic<bool> cancelled{false};
  std::atomic<bool> ended{false};
  std::thread thread;
  int file = -1;
  uint64_t read_bytes = 0;
  int read_error = 0;

  void run();
  void prepare(CURL* curl, curl_slist*& headers);
  void prepare_body(CURL* curl);
  static size_t give(char* buffer, size_t size, size_t count, void* job);
  static int rewind(void* job, curl_off_t offset, int origin);
  static size_t take(char* bytes, size_t size, size_t count, void* job);
  static size_t take_header(char* bytes, size_t size, size_t count, void* job);
  static int progress(void* job, curl_off_t, curl_off_t, curl_off_t, curl_off_t sent);
};

// Wakes the loop from the thread.
struct UvUpload::Bell {
  uv_async_t async;
  UvUpload* owner;
};

// ---- on the thread

size_t UvUpload::Job::give(char* buffer, size_t size, size_t count, void* self) {
  auto* job = static_cast<Job*>(self);
  const uint64_t left = job->request.size - job->read_bytes;
  const size_t wanted = static_cast<size_t>(std::min<uint64_t>(left, size * count));
  ssize_t got;
  do {
    got =
        pread(job->file, buffer, wanted, static_cast<off_t>(job->request.offset + job->read_bytes));
  } while (got < 0 && errno == EINTR);
  if (got < 0 || (got == 0 && wanted > 0)) {  // an error, or shorter than it was
    job->read_error = got < 0 ? errno : EIO;
    return CURL_READFUNC_ABORT;
  }
  job->read_bytes += static_cast<uint64_t>(got);
  return static_cast<size_t>(got);
}

int UvUpload::Job::rewind(void* self, curl_off_t offset, int origin) {
  if (origin != SEEK_SET) return CURL_SEEKFUNC_FAIL;
  static_cast<Job*>(self)->read_bytes = static_cast<uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

size_t UvUpload::Job::take(char* bytes, size_t size, size_t count, void* self) {
  std::string& body = static_cast<Job*>(self)->answer.body;
  body.append(bytes, std::min(size * count, kUploadAnswerBytesMax - body.size()));
  return size * count;
}

size_t UvUpload::Job::take_header(char* bytes, size_t size, size_t count, void* self) {
  constexpr Bytes kName = "etag:";
  const Bytes line(bytes, size * count);
  if (line.size() > kName.size() && strncasecmp(bytes, kName.data(), kName.size()) == 0) {
    Bytes value = line.substr(kName.size());
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' '))
      value.remove_suffix(1);
    static_cast<Job*>(self)->answer.etag = value;
  }
  return size * count;
}

int UvUpload::Job::progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t sent) {
  auto* job = static_cast<Job*>(self);
  job->sent = static_cast<uint64_t>(sent);
  return job->cancelled ? 1 : 0;
}

void UvUpload::Job::prepare(CURL* curl, curl_slist*& headers) {
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectTimeoutSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  const std::string provider = "aws:amz:" + request.region + ":s3";
  curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, provider.c_str());
  curl_easy_setopt(curl, CURLOPT_USERNAME, request.access_key.c_str());
  curl_easy_setopt(curl, CURLOPT_PASSWORD, request.secret_key.c_str());
  const std::string digest =
      "x-amz-content-sha256: " + (request.sha256.empty() ? "UNSIGNED-PAYLOAD" : request.sha256);
  headers = curl_slist_append(headers, digest.c_str());
  headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, this);
  prepare_body(curl);
}

void UvUpload::Job::prepare_body(CURL* curl) {
  if (!request.path.empty()) {
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(curl, CURLOPT_READDATA, this);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, rewind);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, this);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.size));
  } else if (request.method == "POST") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.c_str());
  } else {
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
}

void UvUpload::Job::run() {
  if (!request.path.empty()) {
    file = open(request.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) {
      error = request.path + ": " + std::strerror(errno);
      return;
    }
  }
  CURL* curl = curl_easy_init();
  curl_slist* headers = nullptr;
  QUOLL_CHECK(curl != nullptr);
  prepare(curl, headers);
  const CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK) {
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
  } else if (cancelled) {
    error = kCancelled;
  } else {
    error = read_error != 0 ? request.path + ": " + std::strerror(read_error)
                            : std::string(curl_easy_strerror(code));
  }
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  if (file >= 0) ::close(file);
}

// ---- on the loop

UvUpload::UvUpload(UvLoop& loop) : loop_(loop) {}

UvUpload::~UvUpload() {
  if (job_) {
    job_->cancelled = true;
    job_->thread.join();
  }
  if (bell_ == nullptr) return;
  bell_->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&bell_->async),
           [](uv_handle_t* handle) { delete static_cast<Bell*>(handle->data); });
}

void UvUpload::send(UploadRequest request, OnUpload done) {
  QUOLL_CHECK(!job_);
  if (bell_ == nullptr) {
    QUOLL_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    bell_ = new Bell{{}, this};
    bell_->async.data = bell_;
    QUOLL_CHECK(uv_async_init(loop_.raw(), &bell_->async, [](uv_async_t* async) {
                  auto* bell = static_cast<Bell*>(async->data);
                  if (bell->owner != nullptr) bell->owner->finished();
                }) == 0);
  }
  job_ = std::make_unique<Job>();
  job_->request = std::move(request);
  job_->done = std::move(done);
  job_->thread = std::thread([job = job_.get(), bell = bell_] {
    job->run();
    job->ended = true;
    uv_async_send(&bell->async);
  });
}

void UvUpload::finished() {
  if (!job_ || !job_->ended) return;
  loop_.enter_turn();
  std::unique_ptr<Job> job = std::move(job_);
  job->thread.join();
  if (job->error.empty()) return job->done(std::move(job->answer));
  job->done(base::Error{job->error});
}

uint64_t UvUpload::sent_bytes() { return job_ ? job_->sent.load() : 0; }

void UvUpload::cancel() {
  if (job_) job_->cancelled = true;
}

}  // namespace quoll::host
