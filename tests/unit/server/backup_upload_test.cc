#include "server/backup_upload.h"

#include <doctest/doctest.h>

#include <deque>
#include <map>

namespace quoll::server {
namespace {

using base::Error;
using base::Result;
using host::UploadAnswer;

// Time passes when told to.
struct HandLoop final : host::Loop {
  std::deque<host::Task> posted;
  std::map<host::TimerId, std::pair<base::Nanos, host::Task>> timers;
  host::TimerId last = 0;

  void post(host::Task task) override { posted.push_back(std::move(task)); }
  host::TimerId after(base::Nanos delay, host::Task task) override {
    timers[++last] = {delay, std::move(task)};
    return last;
  }
  void cancel(host::TimerId id) override { timers.erase(id); }
  void on_turn_end(host::Task) override {}
  void hear_nested() override {}
  base::Nanos turn_start() override { return 0; }

  void run() {
    while (!posted.empty()) {
      host::Task task = std::move(posted.front());
      posted.pop_front();
      task();
    }
  }
  base::Nanos fire() {  // the only timer; its delay
    REQUIRE(timers.size() == 1);
    auto [delay, task] = std::move(timers.begin()->second);
    timers.clear();
    task();
    return delay;
  }
};

struct HandUpload final : host::Upload {
  std::deque<host::UploadRequest> requests;
  host::OnUpload waiting;
  bool cancelled = false;

  void send(host::UploadRequest request, host::OnUpload done) override {
    REQUIRE_FALSE(waiting);
    requests.push_back(std::move(request));
    waiting = std::move(done);
  }
  uint64_t sent_bytes() override { return 3; }
  void cancel() override { cancelled = true; }

  void answer(long status, std::string body = "", std::string etag = "") {
    std::exchange(waiting, nullptr)(UploadAnswer{status, std::move(etag), std::move(body)});
  }
  void break_off(const std::string& why) { std::exchange(waiting, nullptr)(Error{why}); }
};

struct Bench {
  HandLoop loop;
  HandUpload store;
  std::optional<Result<>> ended;
  BackupUpload upload;

  explicit Bench(uint64_t large = 100)
      : upload(loop, store, {"http://host:1", "bucket", "pre/", "region", "access", "secret", 100},
               {{"/b/one/dump.rdb", "one/dump.rdb", large, "hash"},
                {"/b/one/manifest.json", "one/manifest.json", 7, "hash2"}},
               [this](Result<> result) { ended = std::move(result); }) {}

  const host::UploadRequest& last() { return store.requests.back(); }
  std::string error() {
    loop.run();
    REQUIRE(ended.has_value());
    return ended->error();
  }
};

TEST_CASE("files go up one by one, the manifest last") {
  Bench bench;
  CHECK(bench.last().method == "PUT");
  CHECK(bench.last().url == "http://host:1/bucket/pre/one/dump.rdb");
  CHECK(bench.last().path == "/b/one/dump.rdb");
  CHECK(bench.last().size == 100);
  CHECK(bench.last().sha256 == "hash");
  CHECK(bench.last().secret_key == "secret");
  CHECK(bench.upload.uploaded_bytes() == 3);
  bench.store.answer(200);
  CHECK(bench.last().url == "http://host:1/bucket/pre/one/manifest.json");
  CHECK(bench.upload.uploaded_bytes() == 103);
  bench.store.answer(200);
  CHECK_FALSE(bench.ended.has_value());
  CHECK(bench.error().empty());
  CHECK(bench.ended->ok());
  CHECK(bench.upload.uploaded_bytes() == 107);
  CHECK(bench.upload.attempts() == 2);
}

TEST_CASE("what may pass is tried again, ever later, and not for ever") {
  Bench bench;
  base::Nanos expected = BackupUpload::kBackoff;
  for (int attempt = 1; attempt < BackupUpload::kAttemptsMax; ++attempt, expected *= 2) {
    if (attempt % 2) {
      bench.store.break_off("Couldn't connect to server");
      CHECK(bench.upload.trouble() == "Couldn't connect to server");
    } else {
      bench.store.answer(503, "<Error><Code>SlowDown</Code></Error>");
      CHECK(bench.upload.trouble() == "HTTP 503 SlowDown");
    }
    CHECK(bench.loop.fire() == expected);
  }
  bench.store.answer(500);
  CHECK(bench.error() == "one/dump.rdb: HTTP 500");
  CHECK(bench.loop.timers.empty());
}

TEST_CASE("a refusal ends it at once") {
  Bench bench;
  bench.store.answer(403, "<E><Code>AccessDenied</Code><Message>no</Message></E>");
  CHECK(bench.error() == "one/dump.rdb: HTTP 403 AccessDenied: no");
}

TEST_CASE("a large file goes in parts") {
  Bench bench(250);
  CHECK(bench.last().method == "POST");
  CHECK(bench.last().url == "http://host:1/bucket/pre/one/dump.rdb?uploads=");
  bench.store.answer(200, "<R><UploadId>a/b+c</UploadId></R>");
  for (uint64_t part = 1; part <= 3; ++part) {
    CHECK(bench.last().url == "http://host:1/bucket/pre/one/dump.rdb?partNumber=" +
                                  std::to_string(part) + "&uploadId=a%2Fb%2Bc");
    CHECK(bench.last().offset == (part - 1) * 100);
    CHECK(bench.last().size == (part == 3 ? 50 : 100));
    if (part == 2) {  // only the part is sent again
      bench.store.answer(500);
      bench.loop.fire();
      CHECK(bench.last().offset == 100);
    }
    bench.store.answer(200, "", "tag" + std::to_string(part));
  }
  CHECK(bench.last().body ==
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>tag1</ETag></Part>"
        "<Part><PartNumber>2</PartNumber><ETag>tag2</ETag></Part>"
        "<Part><PartNumber>3</PartNumber><ETag>tag3</ETag></Part></CompleteMultipartUpload>");
  bench.store.answer(200, "<Error><Code>InternalError</Code></Error>");  // failed after all
  bench.loop.fire();
  bench.store.answer(200, "<R/>");
  CHECK(bench.last().url == "http://host:1/bucket/pre/one/manifest.json");
  bench.store.answer(200);
  CHECK(bench.error().empty());
}

TEST_CASE("parts of what failed are forgotten") {
  Bench bench(250);
  bench.store.answer(200, "<UploadId>id</UploadId>");
  bench.store.answer(403);
  CHECK(bench.last().method == "DELETE");
  CHECK(bench.last().url == "http://host:1/bucket/pre/one/dump.rdb?uploadId=id");
  bench.store.answer(204);
  CHECK(bench.error() == "one/dump.rdb: HTTP 403");
}

TEST_CASE("given up while sending, and while waiting") {
  Bench sending;
  sending.upload.cancel();
  CHECK(sending.store.cancelled);
  sending.store.break_off("cancelled");
  CHECK(sending.error() == "one/dump.rdb: the upload was given up");
  Bench waiting;
  waiting.store.break_off("no route");
  waiting.upload.cancel();
  waiting.upload.cancel();
  CHECK(waiting.loop.timers.empty());
  CHECK(waiting.error() == "one/dump.rdb: the upload was given up");
}

}  // namespace
}  // namespace quoll::server
