#include "server/backup_upload.h"

#include <algorithm>

#include "base/check.h"

namespace quoll::server {
namespace {

constexpr const char* kCancelled = "the upload was given up";
constexpr size_t kMessageBytesMax = 300;

bool may_pass(long status) { return status >= 500 || status == 408 || status == 429; }

// The text of the first <name> element; S3's answers are that simple.
std::string element(const std::string& xml, const std::string& name) {
  const std::string open = "<" + name + ">";
  const size_t begin = xml.find(open);
  if (begin == std::string::npos) return "";
  const size_t end = xml.find("</" + name + ">", begin);
  if (end == std::string::npos) return "";
  return xml.substr(begin + open.size(), end - begin - open.size());
}

std::string reason_of(const host::UploadAnswer& answer) {
  std::string text = "HTTP " + std::to_string(answer.status);
  for (const char* name : {"Code", "Message"}) {
    const std::string part = element(answer.body, name);
    if (!part.empty()) text += (name[0] == 'C' ? " " : ": ") + part.substr(0, kMessageBytesMax);
  }
  return text;
}

std::string percent_encoded(const std::string& text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

}  // namespace

BackupUpload::BackupUpload(host::Loop& loop, host::Upload& upload, S3Target target,
                           std::vector<Object> objects, host::OnDone done)
    : loop_(loop),
      upload_(upload),
      target_(std::move(target)),
      objects_(std::move(objects)),
      done_(std::move(done)) {
  next_object();
}

BackupUpload::~BackupUpload() {
  *alive_ = false;
  if (timer_ != 0) loop_.cancel(timer_);
  if (sending_) upload_.cancel();
}

std::string BackupUpload::url(const std::string& query) const {
  std::string text =
      target_.endpoint + "/" + target_.bucket + "/" + target_.prefix + objects_[object_].key;
  return query.empty() ? text : text + "?" + query;
}

host::UploadRequest BackupUpload::request(std::string method, const std::string& query) const {
  host::UploadRequest request;
  request.method = std::move(method);
  request.url = url(query);
  request.region = target_.region;
  request.access_key = target_.access_key;
  request.secret_key = target_.secret_key;
  return request;
}

void BackupUpload::next_object() {
  if (object_ == objects_.size()) return end({});
  const Object& object = objects_[object_];
  upload_id_.clear();
  if (object.bytes <= target_.part_bytes) {
    host::UploadRequest put = request("PUT", "");
    put.path = object.path;
    put.size = object.bytes;
    put.sha256 = object.sha256;
    return send(std::move(put), [this](const host::UploadAnswer&) {
      ++object_;
      next_object();
    });
  }
  part_offset_ = 0;
  etags_.clear();
  send(request("POST", "uploads="), [this](const host::UploadAnswer& answer) {
    upload_id_ = element(answer.body, "UploadId");
    if (upload_id_.empty()) return fail("the answer names no UploadId");
    next_part();
  });
}

void BackupUpload::next_part() {
  const Object& object = objects_[object_];
  if (part_offset_ == object.bytes) return complete();
  host::UploadRequest part = request("PUT", "partNumber=" + std::to_string(etags_.size() + 1) +
                                                "&uploadId=" + percent_encoded(upload_id_));
  part.path = object.path;
  part.offset = part_offset_;
  part.size = std::min(target_.part_bytes, object.bytes - part_offset_);
  send(std::move(part), [this, size = part.size](const host::UploadAnswer& answer) {
    if (answer.etag.empty()) return fail("the answer to a part names no ETag");
    etags_.push_back(answer.etag);
    part_offset_ += size;
    next_part();
  });
}

void BackupUpload::complete() {
  host::UploadRequest list = request("POST", "uploadId=" + percent_encoded(upload_id_));
  list.body = "<CompleteMultipartUpload>";
  for (size_t i = 0; i < etags_.size(); ++i) {
    list.body += "<Part><PartNumber>" + std::to_string(i + 1) + "</PartNumber><ETag>" + etags_[i] +
                 "</ETag></Part>";
  }
  list.body += "</CompleteMultipartUpload>";
  send(std::move(list), [this](const host::UploadAnswer&) {
    upload_id_.clear();
    ++object_;
    next_object();
  });
}

void BackupUpload::send(host::UploadRequest request, OnAnswer answered) {
  request_ = std::move(request);
  on_answer_ = std::move(answered);
  attempt_ = 0;
  attempt();
}

void BackupUpload::attempt() {
  ++attempt_;
  ++attempts_total_;
  sending_ = true;
  upload_.send(request_, [this, alive = alive_](base::Result<host::UploadAnswer> answer) {
    if (!*alive) return;
    sending_ = false;
    answered(std::move(answer));
  });
}

void BackupUpload::answered(base::Result<host::UploadAnswer> answer) {
  if (cancelled_) return fail(kCancelled);
  if (!answer) return try_again(answer.error());
  const host::UploadAnswer& got = answer.value();
  const bool good = got.status >= 200 && got.status < 300;
  // Completing a multipart upload may fail after "200 OK" has been sent.
  const bool failed_late = good && !element(got.body, "Code").empty();
  if (may_pass(got.status) || failed_late) return try_again(reason_of(got));
  if (!good) return fail(reason_of(got));
  trouble_.clear();
  sent_bytes_ += request_.size;
  const OnAnswer next = std::move(on_answer_);
  next(got);
}

void BackupUpload::try_again(const std::string& why) {
  if (attempt_ == kAttemptsMax) return fail(why);
  trouble_ = why;
  timer_ = loop_.after(kBackoff << (attempt_ - 1), [this] {
    timer_ = 0;
    attempt();
  });
}

void BackupUpload::cancel() {
  if (cancelled_ || ended_) return;
  cancelled_ = true;
  if (sending_) return upload_.cancel();
  if (timer_ == 0) return;
  loop_.cancel(std::exchange(timer_, 0));
  loop_.post([this, alive = alive_] {
    if (*alive) fail(kCancelled);
  });
}

// The parts of an unfinished object would be paid for: one try to have them forgotten.
void BackupUpload::fail(const std::string& error) {
  const std::string what = objects_[object_].key + ": " + error;
  if (upload_id_.empty()) return end(base::Error{what});
  host::UploadRequest forget =
      request("DELETE", "uploadId=" + percent_encoded(std::exchange(upload_id_, "")));
  upload_.send(std::move(forget), [this, alive = alive_, what](const auto&) {
    if (*alive) end(base::Error{what});
  });
}

void BackupUpload::end(base::Result<> result) {
  if (std::exchange(ended_, true)) return;
  loop_.post([this, alive = alive_, result] {
    if (!*alive) return;
    const host::OnDone done = std::move(done_);
    done(result);
  });
}

uint64_t BackupUpload::uploaded_bytes() const {
  return sent_bytes_ + (sending_ ? upload_.sent_bytes() : 0);
}

}  // namespace quoll::server
