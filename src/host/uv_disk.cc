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
#include <mutex>
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

// Takes the torn append at the end back. Returns the code to report.
int take_back(int descriptor, size_t bytes, int code) {
  if (bytes == 0) return code;
  struct stat info;
  const bool cut = fstat(descriptor, &info) == 0 &&
                   ftruncate(descriptor, info.st_size - static_cast<off_t>(bytes)) == 0;
  return cut ? code : EIO;  // worse than what happened first: the file ends inside an append
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
  bool refused = false;  // an append behind one that failed

  void tell();  // its caller
};

// What a pool thread works on at a time: one request, or the appends and syncs that follow each
// other.
struct UvDisk::Batch {
  std::vector<Request> requests;
  size_t bytes = 0;

  static bool gathers(const Request& request) {
    return request.kind == Request::Kind::append || request.kind == Request::Kind::sync;
  }
  bool takes(const Request& next) const;
  void execute(int& descriptor);
  void write_all(int descriptor);
  void read_one(int descriptor, Request& request);
};

// Shared by the loop, which queues and tells, and the one pool thread that works on the file.
struct UvDisk::File {
  explicit File(int file_descriptor) : descriptor(file_descriptor) {}
  ~File() {
    if (descriptor >= 0) ::close(descriptor);
  }

  void work(Doorbell& doorbell, FileId id);  // on a pool thread: until nothing is queued
  static void refuse(Request& request, int code) {
    if (code == 0 || request.kind != Request::Kind::append || request.refused) return;
    request.error_code = code;
    request.refused = true;
  }

  int descriptor;  // of who works on it

  // Of the loop.
  bool later = false;    // starts at the end of the turn
  bool closing = false;  // takes no more requests

  std::mutex mutex;  // of what follows
  std::deque<Request> queue;
  std::vector<Request> ended;  // of which the callers have not been told
  int append_error = 0;        // until they have been told
  bool rung = false;           // the doorbell, since then
  bool busy = false;           // somebody works on it
};

// How pool threads tell the loop which files have something to tell. Lives until both are gone.
struct UvDisk::Doorbell {
  void ring(FileId id) {
    std::lock_guard lock(mutex);
    rung.push_back(id);
    if (open) uv_async_send(&async);
  }

  std::mutex mutex;
  std::vector<FileId> rung;
  bool open = true;
  uv_async_t async;
};

void UvDisk::Request::tell() {
  base::Result<> outcome = result_of(error_code);
  if (done) done(outcome);
  if (on_bytes) {
    on_bytes(outcome.ok() ? base::Result<std::string>(std::move(bytes))
                          : base::Result<std::string>(base::Error{outcome.error()}));
  }
  if (on_size) {
    on_size(outcome.ok() ? base::Result<Offset>(offset)
                         : base::Result<Offset>(base::Error{outcome.error()}));
  }
}

struct UvDisk::Job {
  uv_work_t work_request;
  UvLoop* loop;
  std::weak_ptr<bool> alive;
  std::function<void()> work;
  std::function<void()> done;
};

bool UvDisk::Batch::takes(const Request& next) const {
  if (requests.empty()) return true;
  return gathers(requests.front()) && gathers(next) && requests.size() < kGatherPartsMax &&
         bytes + next.bytes.size() <= kGatherBytesMax;
}

void UvDisk::Batch::execute(int& descriptor) {
  Request& first = requests.front();
  switch (first.kind) {
    case Request::Kind::append:
    case Request::Kind::sync: {
      write_all(descriptor);
      auto is_sync = [](const Request& request) { return request.kind == Request::Kind::sync; };
      if (std::none_of(requests.begin(), requests.end(), is_sync)) break;
      // Whether or not the appends succeeded: the caller asked for what the file holds now.
      const int code = fdatasync(descriptor) == 0 ? 0 : errno;
      for (Request& request : requests) {
        if (is_sync(request)) request.error_code = code;
      }
      break;
    }
    case Request::Kind::read:
      read_one(descriptor, first);
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
      ::close(std::exchange(descriptor, -1));
      break;
  }
}

// What was refused beforehand is left out.
void UvDisk::Batch::write_all(int descriptor) {
  std::vector<Request*> appends;
  for (Request& request : requests) {
    if (!request.bytes.empty() && request.error_code == 0) appends.push_back(&request);
  }
  size_t done = 0;    // appends completed
  size_t inside = 0;  // bytes written of appends[done]
  while (done < appends.size()) {
    iovec vectors[kGatherPartsMax];
    int count = 0;
    for (size_t i = done; i < appends.size(); ++i) {
      const size_t skip = i == done ? inside : 0;
      std::string& bytes = appends[i]->bytes;
      vectors[count++] = {bytes.data() + skip, bytes.size() - skip};
    }
    const ssize_t written = writev(descriptor, vectors, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int code = take_back(descriptor, inside, errno);
      for (; done < appends.size(); ++done) appends[done]->error_code = code;
      return;
    }
    size_t left = static_cast<size_t>(written);
    while (done < appends.size() && left >= appends[done]->bytes.size() - inside) {
      left -= appends[done]->bytes.size() - inside;
      inside = 0;
      ++done;
    }
    inside += left;
  }
}

void UvDisk::Batch::read_one(int descriptor, Request& request) {
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

void UvDisk::File::work(Doorbell& doorbell, FileId id) {
  std::unique_lock lock(mutex);
  while (!queue.empty()) {
    Batch batch;
    while (!queue.empty() && batch.takes(queue.front())) {
      batch.bytes += queue.front().bytes.size();
      batch.requests.push_back(std::move(queue.front()));
      queue.pop_front();
    }
    const int refusal = append_error;
    for (Request& request : batch.requests) refuse(request, refusal);
    lock.unlock();
    batch.execute(descriptor);
    lock.lock();
    for (Request& request : batch.requests) {
      const bool failed = request.kind == Request::Kind::append && request.error_code != 0;
      if (failed && !request.refused) append_error = request.error_code;
      ended.push_back(std::move(request));
    }
    if (queue.empty() || rung) continue;
    rung = true;
    doorbell.ring(id);
  }
  busy = false;  // the end of the job tells
}

UvDisk::UvDisk(UvLoop& loop) : loop_(loop), doorbell_(std::make_shared<Doorbell>()) {
  doorbell_->async.data = this;
  QUOLL_CHECK(uv_async_init(loop_.raw(), &doorbell_->async, [](uv_async_t* async) {
                static_cast<UvDisk*>(async->data)->tell();
              }) == 0);
}

// Files that are being worked on are closed by the last one that holds them.
UvDisk::~UvDisk() {
  *alive_ = false;
  std::lock_guard lock(doorbell_->mutex);
  doorbell_->open = false;
  auto* kept = new std::shared_ptr<Doorbell>(doorbell_);  // until libuv has let go of it
  doorbell_->async.data = kept;
  uv_close(reinterpret_cast<uv_handle_t*>(&doorbell_->async), [](uv_handle_t* handle) {
    delete static_cast<std::shared_ptr<Doorbell>*>(handle->data);
  });
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
        files_.emplace(id, std::make_shared<File>(outcome->descriptor));
        done(id);
      });
}

void UvDisk::enqueue(FileId id, Request request) {
  auto found = files_.find(id);
  if (found == files_.end() || found->second->closing) {
    request.error_code = EBADF;
    loop_.post([request = std::move(request)]() mutable { request.tell(); });
    return;
  }
  File& file = *found->second;
  file.closing = request.kind == Request::Kind::close;
  const bool append = request.kind == Request::Kind::append;
  bool busy;
  {
    std::lock_guard lock(file.mutex);
    file.queue.push_back(std::move(request));
    busy = file.busy;
  }
  if (busy) return;
  if (append) return start_later(id);
  start_next(id);
}

// More appends, or their sync, may follow in this turn.
void UvDisk::start_later(FileId id) {
  File& file = *files_.at(id);
  if (file.later) return;
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
  std::shared_ptr<File> file = files_.at(id);
  {
    std::lock_guard lock(file->mutex);
    if (file->busy || file->queue.empty()) return;
    file->busy = true;
  }
  run([file, id, doorbell = doorbell_] { file->work(*doorbell, id); },
      [this, id, alive = alive_] {
        if (*alive) tell_of(id);
      });
}

// Requests are complete.
void UvDisk::tell() {
  loop_.enter_turn();
  std::vector<FileId> rung;
  {
    std::lock_guard lock(doorbell_->mutex);
    rung.swap(doorbell_->rung);
  }
  auto alive = alive_;
  for (FileId id : rung) {
    tell_of(id);
    if (!*alive) return;
  }
}

void UvDisk::tell_of(FileId id) {
  auto found = files_.find(id);
  if (found == files_.end()) return;
  std::shared_ptr<File> file = found->second;
  std::vector<Request> ended;
  {
    std::lock_guard lock(file->mutex);
    ended.swap(file->ended);
    file->rung = false;
    // What was asked for until now fails with it; what is asked for from now on need not.
    if (file->append_error != 0) {
      for (Request& request : file->queue) File::refuse(request, file->append_error);
      file->append_error = 0;
    }
  }
  auto alive = alive_;
  for (Request& request : ended) {
    if (request.kind == Request::Kind::close) files_.erase(id);
    request.tell();
    if (!*alive) return;
  }
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
