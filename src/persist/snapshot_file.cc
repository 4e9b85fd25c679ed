#include "persist/snapshot_file.h"

#include <deque>

namespace quoll::persist {

// Lives until its last request has come back, whatever became of the SnapshotFile.
struct SnapshotFile::State : std::enable_shared_from_this<State> {
  State(host::Disk& disk, std::string path, std::string temporary)
      : disk(disk), path(std::move(path)), temporary(std::move(temporary)) {}

  void open() {
    disk.open(temporary, host::OpenMode::truncate,
              [self = shared_from_this()](base::Result<host::FileId> opened) {
                if (!opened) return self->fail(opened.error());
                self->file = opened.value();
                self->is_open = true;
                self->go_on();
              });
  }

  // One request at a time: the next piece, or the end once all pieces are written.
  void go_on() {
    if (busy || !is_open) return;
    if (abandoned || !error.empty()) return clean_up();
    if (!pieces.empty()) {
      std::string piece = std::move(pieces.front());
      pieces.pop_front();
      busy = true;
      size_t size = piece.size();
      disk.append(file, std::move(piece), [self = shared_from_this(), size](base::Result<> wrote) {
        self->busy = false;
        self->waiting_bytes -= size;
        if (!wrote) return self->fail(wrote.error());
        self->go_on();
      });
    } else if (finished) {
      sync();
    }
  }

  void sync() {
    busy = true;
    disk.sync(file, [self = shared_from_this()](base::Result<> synced) {
      self->busy = false;
      if (!synced || self->abandoned) return self->fail(synced ? "abandoned" : synced.error());
      self->rename();
    });
  }

  void rename() {
    disk.close(file);
    is_open = false;
    busy = true;
    disk.rename(temporary, path, [self = shared_from_this()](base::Result<> renamed) {
      self->busy = false;
      if (!renamed) return self->fail(renamed.error());
      size_t slash = self->path.rfind('/');
      self->disk.sync_dir(slash == std::string::npos ? "." : self->path.substr(0, slash + 1),
                          [self](base::Result<> synced) { self->end(std::move(synced)); });
    });
  }

  void fail(const std::string& reason) {
    if (error.empty()) error = reason;
    clean_up();
  }

  void clean_up() {
    if (busy || cleaned) return;
    cleaned = true;
    if (is_open) disk.close(file);
    is_open = false;
    pieces.clear();
    waiting_bytes = 0;
    disk.remove(temporary, [self = shared_from_this()](base::Result<>) {
      self->end(base::Error{self->error.empty() ? "abandoned" : self->error});
    });
  }

  void end(base::Result<> result) {
    ended = true;
    if (done) std::exchange(done, nullptr)(std::move(result));
  }

  host::Disk& disk;
  std::string path;
  std::string temporary;
  std::deque<std::string> pieces;
  size_t waiting_bytes = 0;
  host::OnDone done;
  std::string error;
  host::FileId file = 0;
  bool is_open = false;
  bool busy = false;
  bool finished = false;
  bool abandoned = false;
  bool cleaned = false;
  bool ended = false;
};

SnapshotFile::SnapshotFile(host::Disk& disk, std::string path, std::string temporary)
    : state_(std::make_shared<State>(disk, std::move(path), std::move(temporary))) {
  state_->open();
}

SnapshotFile::~SnapshotFile() {
  if (state_->finished) return;
  state_->abandoned = true;
  state_->go_on();
}

void SnapshotFile::append(std::string piece) {
  if (!state_->error.empty()) return;
  state_->waiting_bytes += piece.size();
  state_->pieces.push_back(std::move(piece));
  state_->go_on();
}

size_t SnapshotFile::waiting_bytes() const { return state_->waiting_bytes; }
const std::string& SnapshotFile::error() const { return state_->error; }

void SnapshotFile::finish(host::OnDone done) {
  state_->done = std::move(done);
  state_->finished = true;
  if (state_->cleaned) return state_->end(base::Error{state_->error});
  state_->go_on();
}

void SnapshotFile::abandon(host::OnDone done) {
  if (state_->ended) return done({});
  state_->done = [done = std::move(done)](base::Result<>) { done({}); };
  state_->abandoned = true;
  state_->go_on();
}

}  // namespace quoll::persist
