// What the tests of the append-only files on a real disk share: a directory of their own, the host,
// and a disk in between that counts requests and fails them on demand (an append after half of its
// bytes).
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "persist/aof_directory.h"
#include "tests/unit/host/host_fixture.h"

namespace quoll::persist {

class StrictDisk final : public host::Disk {
 public:
  explicit StrictDisk(host::Disk& below) : below_(below) {}

  int appends = 0;
  int syncs = 0;
  bool gathering = true;
  std::string append_error;  // "" = none
  std::string sync_error;

  void append(host::FileId file, std::string bytes, host::OnDone done) override {
    ++appends;
    if (append_error.empty()) return below_.append(file, std::move(bytes), std::move(done));
    bytes.resize(bytes.size() / 2);  // a short write
    below_.append(file, std::move(bytes), [](base::Result<>) {});
    fail(file, append_error, std::move(done));
  }
  void sync(host::FileId file, host::OnDone done) override {
    ++syncs;
    if (sync_error.empty()) return below_.sync(file, std::move(done));
    fail(file, sync_error, std::move(done));
  }
  bool gathers(host::FileId) const override { return gathering; }
  void open(const std::string& path, host::OpenMode mode, host::OnFile done) override {
    below_.open(path, mode, std::move(done));
  }
  void close(host::FileId file) override { below_.close(file); }
  void read(host::FileId file, host::Offset offset, size_t size, host::OnBytes done) override {
    below_.read(file, offset, size, std::move(done));
  }
  void truncate(host::FileId file, host::Offset size, host::OnDone done) override {
    below_.truncate(file, size, std::move(done));
  }
  void size(host::FileId file, std::function<void(base::Result<host::Offset>)> done) override {
    below_.size(file, std::move(done));
  }
  void rename(const std::string& from, const std::string& to, host::OnDone done) override {
    below_.rename(from, to, std::move(done));
  }
  void remove(const std::string& path, host::OnDone done) override {
    below_.remove(path, std::move(done));
  }
  void make_dir(const std::string& path, host::OnDone done) override {
    below_.make_dir(path, std::move(done));
  }
  void sync_dir(const std::string& path, host::OnDone done) override {
    below_.sync_dir(path, std::move(done));
  }
  void list(const std::string& path, host::OnNames done) override {
    below_.list(path, std::move(done));
  }

 private:
  // In order behind the file's earlier requests.
  void fail(host::FileId file, std::string error, host::OnDone done) {
    below_.size(file, [error, done](base::Result<host::Offset>) { done(base::Error{error}); });
  }
  host::Disk& below_;
};

struct AofFixture : host::HostFixture {
  AofFixture() : disk(host.disk) { place.parent = scratch.path; }

  host::ScratchDir scratch;
  StrictDisk disk;
  AofDirectoryPlace place;

  std::string inside(const std::string& name) const {
    return scratch.path + "/appendonlydir/" + name;
  }
  static void write(const std::string& path, const std::string& bytes) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static bool exists(const std::string& path) { return std::filesystem::exists(path); }
  std::string manifest() const { return read(inside("appendonly.aof.manifest")); }

  // Waits for one request; "" or its error.
  std::string wait(const std::function<void(host::OnDone)>& request) {
    std::string outcome;
    bool done = false;
    request([&](base::Result<> result) {
      done = true;
      if (!result) outcome = result.error();
    });
    REQUIRE(run_until([&] { return done; }));
    return outcome;
  }
  // The notices joined by '|', or the error.
  std::string load(AofDirectory& directory) {
    std::string outcome;
    const std::string error = wait([&](host::OnDone done) {
      directory.load([&outcome, done](base::Result<std::vector<std::string>> notices) {
        if (!notices) return done(base::Error{notices.error()});
        for (const std::string& notice : notices.value()) outcome += notice + "|";
        done({});
      });
    });
    return error.empty() ? outcome : error;
  }
};

}  // namespace quoll::persist
