// A disk in memory for exhaustive tests: requests are carried out when run() comes to them, so that
// what is in flight can be watched, and files are strings that a test may damage.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>

#include "base/check.h"
#include "host/host.h"

namespace quoll::persist {

class MemoryDisk final : public host::Disk {
 public:
  std::map<std::string, std::string> files;
  std::string written;       // all bytes that were ever appended
  std::string append_error;  // "" = none; a failing append leaves half of its bytes
  std::string sync_error;    // of files
  std::string truncate_error;
  int appends = 0;
  int syncs = 0;  // of files

  // The requests carried out; at most so many.
  size_t run(size_t most = SIZE_MAX) {
    size_t count = 0;
    for (; count < most && !tasks_.empty(); ++count) {
      host::Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
    return count;
  }
  template <class Value>
  Value wait(std::optional<Value>& value) {
    run();
    QUOLL_CHECK(value.has_value());
    return *value;
  }

  void open(const std::string& path, host::OpenMode mode, host::OnFile done) override {
    tasks_.push_back([this, path, mode, done] {
      if (mode == host::OpenMode::read && !files.contains(path))
        return done(base::Error{"No such file or directory"});
      if (mode == host::OpenMode::create_new && files.contains(path))
        return done(base::Error{"File exists"});
      std::string& bytes = files[path];
      if (mode == host::OpenMode::truncate) bytes.clear();
      handles_[++last_] = path;
      done(last_);
    });
  }
  void close(host::FileId file) override {
    tasks_.push_back([this, file] { handles_.erase(file); });
  }
  void read(host::FileId file, host::Offset offset, size_t size, host::OnBytes done) override {
    tasks_.push_back([this, file, offset, size, done] {
      const std::string& bytes = of(file);
      done(offset < bytes.size() ? bytes.substr(offset, size) : std::string());
    });
  }
  void append(host::FileId file, std::string bytes, host::OnDone done) override {
    ++appends;
    tasks_.push_back([this, file, bytes, done] {
      const bool fails = !append_error.empty();
      of(file).append(bytes, 0, fails ? bytes.size() / 2 : bytes.size());
      written += bytes;
      done(fails ? base::Result<>(base::Error{append_error}) : base::Result<>());
    });
  }
  void sync(host::FileId, host::OnDone done) override {
    ++syncs;
    tasks_.push_back([this, done] {
      done(sync_error.empty() ? base::Result<>() : base::Result<>(base::Error{sync_error}));
    });
  }
  void truncate(host::FileId file, host::Offset size, host::OnDone done) override {
    tasks_.push_back([this, file, size, done] {
      if (!truncate_error.empty()) return done(base::Error{truncate_error});
      of(file).resize(size);
      done({});
    });
  }
  void size(host::FileId file, std::function<void(base::Result<host::Offset>)> done) override {
    tasks_.push_back([this, file, done] { done(of(file).size()); });
  }
  void rename(const std::string& from, const std::string& to, host::OnDone done) override {
    tasks_.push_back([this, from, to, done] {
      files[to] = std::move(files[from]);
      files.erase(from);
      done({});
    });
  }
  void remove(const std::string& path, host::OnDone done) override {
    tasks_.push_back([this, path, done] {
      files.erase(path);
      done({});
    });
  }
  void make_dir(const std::string&, host::OnDone done) override { answer(std::move(done)); }
  void sync_dir(const std::string&, host::OnDone done) override { answer(std::move(done)); }
  void list(const std::string& path, host::OnNames done) override {
    tasks_.push_back([this, dir = path + "/", done] {
      std::vector<std::string> names;
      for (const auto& [name, bytes] : files)
        if (name.starts_with(dir)) names.push_back(name.substr(dir.size()));
      done(names);
    });
  }
  size_t open_files() const { return handles_.size(); }

 private:
  void answer(host::OnDone done) {
    tasks_.push_back([done] { done({}); });
  }
  std::string& of(host::FileId file) {
    QUOLL_CHECK(handles_.contains(file));
    return files[handles_[file]];
  }

  std::deque<host::Task> tasks_;
  std::map<host::FileId, std::string> handles_;
  host::FileId last_ = 0;
};

}  // namespace quoll::persist
