#include "host/uv_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace quoll::host {
namespace {

using OnSize = std::function<void(base::Result<Offset>)>;
constexpr mode_t kFileMode = 0644;
constexpr mode_t kDirMode = 0755;

base::Error error_of(int code) { return base::Error{std::strerror(code)}; }

base::Result<> result_of(int code) {
  if (code == 0) return {};
  return error_of(code);
}

int open_flags(OpenMode mode) {
  switch (mode) {
    case OpenMode::read:
      return O_RDONLY | O_CLOEXEC;
    case OpenMode::append:
      return O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC;
    case OpenMode::create_new:
      return O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC;
    case OpenMode::truncate:
      return O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC;
  }
  return O_RDONLY | O_CLOEXEC;
}

int open_retrying(const char* path, int flags) {
  int descriptor;
  do {
    descriptor = ::open(path, flags, kFileMode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

int sync_directory(const std::string& path) {
  int descriptor = open_retrying(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno;
  int code = fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  return code;
}

int list_directory(const std::string& path, std::vector<std::string>& names) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return errno;
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  int code = errno;
  closedir(directory);
  std::sort(names.begin(), names.end());
  return code;
}

}  // namespace

struct UvDisk::Request {
  enum class Kind { append, read, sync, truncate, size, close } kind;
  std::string bytes = {};  // to append, or read
  Offset offset = 0;       // to read at or cut to; size found
  OnDone done = {};
  OnBytes on_bytes = {};
  OnSize on_size = {};
  int error_code = 0;
};

// What one pool job works on: one request, or several appends and a sync behind them.
struct UvDisk::Batch {
  int descriptor;
  std::vector<Request> requests;

  void execute();  // on a pool thread
  void write_all();
  void read_one(Request& request);
  void sync(Request& request) const;
};

struct UvDisk::File {
  int descriptor;
  std::deque<Request> queue;
  bool busy = false;
  bool closing = false;  // takes no more requests
  bool later = false;    // starts at the end of the turn
};

struct UvDisk::Job {
  uv_work_t work_request;
  UvLoop* loop;
  std::weak_ptr<bool> alive;
  std::function<void()> work;
  std::function<void()> done;
};

void UvDisk::Batch::execute() {
  Request& first = requests.front();
  switch (first.kind) {
    case Request::Kind::append:
      write_all();
      // Whether or not they succeeded: the caller asked for what the file holds now.
      if (requests.back().kind == Request::Kind::sync) sync(requests.back());
      break;
    case Request::Kind::read:
      read_one(first);
      break;
    case Request::Kind::sync:
      sync(first);
      break;
    case Request::Kind::truncate:
      if (ftruncate(descriptor, static_cast<off_t>(first.offset)) != 0) first.error_code = errno;
      break;
    case Request::Kind::size: {
      struct stat info;
      if (fstat(descriptor, &info) != 0) first.error_code = errno;
      first.offset = first.error_code == 0 ? static_cast<Offset>(info.st_size) : 0;
      break;
    }
    case Request::Kind::close:
      ::close(descriptor);
      break;
  }
}

void UvDisk::Batch::sync(Request& request) const {
  if (fdatasync(descriptor) != 0) request.error_code = errno;
}

void UvDisk::Batch::write_all() {
  const size_t appends = requests.size() - (requests.back().kind == Request::Kind::sync);
  size_t done = 0;    // appends completed
  size_t inside = 0;  // bytes written of requests[done]
  int code = 0;
  while (done < appends) {
    iovec vectors[kGatherPartsMax];
    int count = 0;
    for (size_t i = done; i < appends; ++i) {
      size_t skip = i == done ? inside : 0;
      std::string& bytes = requests[i].bytes;
      vectors[count++] = {bytes.data() + skip, bytes.size() - skip};
    }
    ssize_t written = writev(descriptor, vectors, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      code = errno;
      break;
    }
    size_t left = static_cast<size_t>(written);
    while (done < appends && left >= requests[done].bytes.size() - inside) {
      left -= requests[done].bytes.size() - inside;
      inside = 0;
      ++done;
    }
    inside += left;
  }
  if (code == 0) return;
  if (inside > 0) {  // take the torn append back
    struct stat info;
    if (fstat(descriptor, &info) != 0 ||
        ftruncate(descriptor, info.st_size - static_cast<off_t>(inside)) != 0) {
      code = EIO;  // worse than what happened first: the file ends inside an append
    }
  }
  for (size_t i = done; i < appends; ++i) requests[i].error_code = code;
}

void UvDisk::Batch::read_one(Request& request) {
  size_t got = 0;
  while (got < request.bytes.size()) {
    ssize_t count = pread(descriptor, request.bytes.data() + got, request.bytes.size() - got,
                          static_cast<off_t>(request.offset + got));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) request.error_code = errno;
    if (count <= 0) break;
    got += static_cast<size_t>(count);
  }
  request.bytes.resize(got);
}

UvDisk::UvDisk(UvLoop& loop) : loop_(loop) {}

UvDisk::~UvDisk() {
  *alive_ = false;
  // A busy descriptor may be in use on a pool thread: its own job closes it (see start_next).
  for (auto& [id, file] : files_) {
    if (!file->busy) ::close(file->descriptor);
  }
}

void UvDisk::run(std::function<void()> work, std::function<void()> done) {
  auto* job = new Job{{}, &loop_, alive_, std::move(work), std::move(done)};
  job->work_request.data = job;
  auto on_pool = [](uv_work_t* request) { static_cast<Job*>(request->data)->work(); };
  auto on_loop = [](uv_work_t* request, int) {
    std::unique_ptr<Job> job(static_cast<Job*>(request->data));
    job->loop->enter_turn();
    job->done();
  };
  QUOLL_CHECK(uv_queue_work(loop_.raw(), &job->work_request, on_pool, on_loop) == 0);
}

void UvDisk::run_path(std::function<int()> work, OnDone done) {
  auto code = std::make_shared<int>(0);
  run([code, work = std::move(work)] { *code = work(); },
      [code, alive = alive_, done = std::move(done)] {
        if (*alive && done) done(result_of(*code));
      });
}

void UvDisk::open(const std::string& path, OpenMode mode, OnFile done) {
  struct Outcome {
    int descriptor = -1;
    int code = 0;
  };
  auto outcome = std::make_shared<Outcome>();
  run(
      [outcome, path, mode] {
        outcome->descriptor = open_retrying(path.c_str(), open_flags(mode));
        if (outcome->descriptor < 0) outcome->code = errno;
      },
      [this, outcome, alive = alive_, done = std::move(done)] {
        if (!*alive) {
          if (outcome->descriptor >= 0) ::close(outcome->descriptor);
          return;
        }
        if (outcome->descriptor < 0) return done(error_of(outcome->code));
        FileId id = ++last_file_;
        files_.emplace(
            id, std::make_unique<File>(File{.descriptor = outcome->descriptor, .queue = {}}));
        done(id);
      });
}

void UvDisk::enqueue(FileId id, Request request) {
  auto found = files_.find(id);
  if (found != files_.end() && !found->second->closing) {
    found->second->closing = request.kind == Request::Kind::close;
    bool append = request.kind == Request::Kind::append;
    found->second->queue.push_back(std::move(request));
    return append ? start_later(id) : start_next(id);
  }
  if (request.kind == Request::Kind::close) return;
  loop_.post([request = std::move(request)] {
    if (request.done) request.done(error_of(EBADF));
    if (request.on_bytes) request.on_bytes(error_of(EBADF));
    if (request.on_size) request.on_size(error_of(EBADF));
  });
}

// More appends, or their sync, may follow in this turn.
void UvDisk::start_later(FileId id) {
  File& file = *files_.at(id);
  if (file.busy || file.later) return;
  file.later = true;
  loop_.before_sleep([this, id, alive = alive_] {
    if (!*alive) return;
    auto found = files_.find(id);
    if (found == files_.end()) return;
    found->second->later = false;
    start_next(id);
  });
}

void UvDisk::start_next(FileId id) {
  File& file = *files_.at(id);
  if (file.busy || file.queue.empty()) return;
  file.busy = true;
  auto batch = std::make_shared<Batch>(Batch{file.descriptor, {}});
  size_t bytes = 0;
  auto take = [&] {
    bytes += file.queue.front().bytes.size();
    batch->requests.push_back(std::move(file.queue.front()));
    file.queue.pop_front();
  };
  auto next_is = [&](Request::Kind kind) {
    return !file.queue.empty() && file.queue.front().kind == kind;
  };
  take();
  if (batch->requests.front().kind == Request::Kind::append) {
    while (next_is(Request::Kind::append) && batch->requests.size() < kGatherPartsMax &&
           bytes + file.queue.front().bytes.size() <= kGatherBytesMax)
      take();
    if (next_is(Request::Kind::sync)) take();
  }
  run([batch] { batch->execute(); },
      [this, id, batch, alive = alive_] {
        if (*alive) {
          finish(id, *batch);
        } else if (batch->requests.front().kind != Request::Kind::close) {
          ::close(batch->descriptor);
        }
      });
}

void UvDisk::finish(FileId id, Batch& batch) {
  if (batch.requests.front().kind == Request::Kind::close) {
    files_.erase(id);
    return;
  }
  files_.at(id)->busy = false;
  auto alive = alive_;
  for (Request& request : batch.requests) {
    base::Result<> outcome = result_of(request.error_code);
    if (request.done) request.done(outcome);
    if (request.on_bytes) {
      if (outcome.ok()) {
        request.on_bytes(std::move(request.bytes));
      } else {
        request.on_bytes(base::Error{outcome.error()});
      }
    }
    if (request.on_size) {
      request.on_size(outcome.ok() ? base::Result<Offset>(request.offset)
                                   : base::Result<Offset>(base::Error{outcome.error()}));
    }
    if (!*alive) return;
  }
  if (files_.count(id)) start_next(id);
}

void UvDisk::close(FileId file) { enqueue(file, {.kind = Request::Kind::close}); }

void UvDisk::read(FileId file, Offset offset, size_t size, OnBytes done) {
  enqueue(file, {.kind = Request::Kind::read,
                 .bytes = std::string(size, '\0'),
                 .offset = offset,
                 .on_bytes = std::move(done)});
}

void UvDisk::append(FileId file, std::string bytes, OnDone done) {
  enqueue(file,
          {.kind = Request::Kind::append, .bytes = std::move(bytes), .done = std::move(done)});
}

void UvDisk::sync(FileId file, OnDone done) {
  enqueue(file, {.kind = Request::Kind::sync, .done = std::move(done)});
}

void UvDisk::truncate(FileId file, Offset size, OnDone done) {
  enqueue(file, {.kind = Request::Kind::truncate, .offset = size, .done = std::move(done)});
}

void UvDisk::size(FileId file, OnSize done) {
  enqueue(file, {.kind = Request::Kind::size, .on_size = std::move(done)});
}

void UvDisk::rename(const std::string& from, const std::string& to, OnDone done) {
  run_path([from, to] { return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno; },
           std::move(done));
}

void UvDisk::remove(const std::string& path, OnDone done) {
  run_path([path] { return ::remove(path.c_str()) == 0 ? 0 : errno; }, std::move(done));
}

void UvDisk::make_dir(const std::string& path, OnDone done) {
  run_path(
      [path] {
        if (mkdir(path.c_str(), kDirMode) == 0) return 0;
        int code = errno;
        struct stat info;
        bool exists = stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
        return code == EEXIST && exists ? 0 : code;
      },
      std::move(done));
}

void UvDisk::sync_dir(const std::string& path, OnDone done) {
  run_path([path] { return sync_directory(path); }, std::move(done));
}

void UvDisk::list(const std::string& path, OnNames done) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto code = std::make_shared<int>(0);
  run([path, names, code] { *code = list_directory(path, *names); },
      [names, code, alive = alive_, done = std::move(done)] {
        if (!*alive) return;
        if (*code != 0) return done(error_of(*code));
        done(std::move(*names));
      });
}

}  // namespace quoll::host
