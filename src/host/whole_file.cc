#include "host/whole_file.h"

#include <memory>

namespace quoll::host {
namespace {

// One replacement under way. Each step calls the next and fails into give_up().
struct Replacement : std::enable_shared_from_this<Replacement> {
  Replacement(Disk& disk, std::string path, std::string temporary, OnDone done)
      : disk(disk), path(std::move(path)), temporary(std::move(temporary)), done(std::move(done)) {}

  void write(std::string content) {
    disk.open(temporary, OpenMode::truncate,
              [self = shared_from_this(),
               content = std::move(content)](base::Result<FileId> opened) mutable {
                if (!opened) return self->done(base::Error{opened.error()});
                self->file = opened.value();
                self->disk.append(self->file, std::move(content), self->then(&Replacement::sync));
              });
  }

  void sync() { disk.sync(file, then(&Replacement::rename)); }
  void rename() {
    disk.close(file);
    file_open = false;
    disk.rename(temporary, path, then(&Replacement::sync_directory));
  }
  void sync_directory() {
    const size_t slash = path.rfind('/');
    disk.sync_dir(slash == std::string::npos ? "." : path.substr(0, slash + 1), done);
  }

  OnDone then(void (Replacement::*step)()) {
    return [self = shared_from_this(), step](base::Result<> result) {
      if (result) return (self.get()->*step)();
      self->give_up(result.error());
    };
  }

  void give_up(const std::string& reason) {
    if (file_open) disk.close(file);
    disk.remove(temporary, [self = shared_from_this(), reason](base::Result<>) {
      self->done(base::Error{reason});
    });
  }

  Disk& disk;
  std::string path;
  std::string temporary;
  OnDone done;
  FileId file = 0;
  bool file_open = true;
};

}  // namespace

void read_whole_file(Disk& disk, const std::string& path, OnBytes done) {
  disk.open(path, OpenMode::read, [&disk, done = std::move(done)](base::Result<FileId> opened) {
    if (!opened) return done(base::Error{opened.error()});
    const FileId file = opened.value();
    disk.size(file, [&disk, file, done](base::Result<Offset> size) {
      if (!size) {
        disk.close(file);
        return done(base::Error{size.error()});
      }
      disk.read(file, 0, size.value(), [&disk, file, done](base::Result<std::string> bytes) {
        disk.close(file);
        done(std::move(bytes));
      });
    });
  });
}

void replace_whole_file(Disk& disk, const std::string& path, const std::string& temporary,
                        std::string content, OnDone done) {
  std::make_shared<Replacement>(disk, path, temporary, std::move(done))->write(std::move(content));
}

}  // namespace quoll::host
