#include "persist/aof_directory.h"

#include <algorithm>

#include "host/whole_file.h"

namespace quoll::persist {

using base::Error;
using base::Result;
using host::FileId;
using host::OnDone;

AofDirectory::AofDirectory(host::Loop& loop, host::Disk& disk, AofDirectoryPlace place)
    : loop_(loop),
      disk_(disk),
      place_(std::move(place)),
      directory_(place_.parent + "/" + place_.name),
      manifest_(place_.file_name) {}

// ---- loading

struct AofDirectory::Loading {
  std::function<void(Result<std::vector<std::string>>)> done;
  std::vector<std::string> notices;
  std::vector<std::string> names;  // in the directory
  bool old_file = false;
  bool directory_exists = false;

  void fail(std::string reason) { done(Error{std::move(reason)}); }
};

namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

void AofDirectory::load(std::function<void(Result<std::vector<std::string>>)> done) {
  auto loading = std::make_shared<Loading>();
  loading->done = std::move(done);
  list_parent(loading);
}

void AofDirectory::list_parent(std::shared_ptr<Loading> loading) {
  disk_.list(
      place_.parent, guarded([this, loading](Result<std::vector<std::string>> names) {
        if (!names) {
          return loading->fail("Can't list the directory " + place_.parent + ": " + names.error());
        }
        loading->old_file = contains(names.value(), place_.file_name);
        loading->directory_exists = contains(names.value(), place_.name);
        if (loading->directory_exists) return settle_directory(loading);
        loading->notices.push_back("The AOF directory " + place_.name + " doesn't exist");
        make_directory(loading);
      }));
}

void AofDirectory::make_directory(std::shared_ptr<Loading> loading) {
  auto failed = [this, loading](Result<> result) {
    loading->fail("Can't open or create append-only dir " + place_.name + ": " + result.error());
  };
  disk_.make_dir(directory_, then(failed, [this, loading, failed] {
                   disk_.sync_dir(place_.parent,
                                  then(failed, [this, loading] { list_directory(loading); }));
                 }));
}

// A process killed between renaming its manifest and syncing the directory leaves names that we see
// but a power loss would take back.
void AofDirectory::settle_directory(std::shared_ptr<Loading> loading) {
  disk_.sync_dir(
      directory_, guarded([this, loading](const Result<>& result) {
        if (result) return list_directory(loading);
        loading->fail("Fail to fsync AOF directory " + place_.name + ": " + result.error() + ".");
      }));
}

void AofDirectory::list_directory(std::shared_ptr<Loading> loading) {
  disk_.list(directory_, guarded([this, loading](Result<std::vector<std::string>> names) {
               if (!names) {
                 return loading->fail("Can't open or create append-only dir " + place_.name + ": " +
                                      names.error());
               }
               loading->names = std::move(names.value());
               if (contains(loading->names, manifest_.manifest_name())) {
                 return read_manifest(loading);
               }
               if (loading->directory_exists) {
                 loading->notices.push_back("The AOF manifest file " + manifest_.manifest_name() +
                                            " doesn't exist");
               }
               upgrade_if_wanted(loading);
             }));
}

void AofDirectory::read_manifest(std::shared_ptr<Loading> loading) {
  host::read_whole_file(disk_, manifest_path(), guarded([this, loading](Result<std::string> text) {
                          if (!text) {
                            return loading->fail("Fatal error: can't open the AOF manifest file " +
                                                 manifest_.manifest_name() +
                                                 " for reading: " + text.error());
                          }
                          AofManifestError error;
                          if (manifest_.parse(text.value(), error))
                            return upgrade_if_wanted(loading);
                          std::string reason;
                          for (const std::string& line : error.report()) {
                            reason += reason.empty() ? line : "\n" + line;
                          }
                          loading->fail(std::move(reason));
                        }));
}

// Manifest first, then the move, as Redis does: a crash between them is recognised at the next
// start by a base that is listed but still outside.
void AofDirectory::upgrade_if_wanted(std::shared_ptr<Loading> loading) {
  const bool base_exists = contains(loading->names, manifest_.base().name);
  if (!manifest_.wants_upgrade(loading->old_file, base_exists)) {
    return loading->done(std::move(loading->notices));
  }
  auto failed = [this, loading](Result<> result) {
    loading->fail("Error trying to move the old AOF file " + place_.file_name + " into dir " +
                  place_.name + ": " + result.error());
  };
  auto moved = [this, loading] {
    loading->notices.push_back("Successfully migrated an old-style AOF file (" + place_.file_name +
                               ") into the AOF directory (" + place_.name + ").");
    loading->done(std::move(loading->notices));
  };
  change([](AofManifest& manifest) { manifest.upgrade(); }, then(failed, [this, failed, moved] {
           disk_.rename(place_.parent + "/" + place_.file_name, path(place_.file_name),
                        then(failed, [this, failed, moved] {
                          disk_.sync_dir(directory_, then(failed, [this, failed, moved] {
                                           disk_.sync_dir(place_.parent, then(failed, moved));
                                         }));
                        }));
         }));
}

// ---- changes of the manifest

void AofDirectory::change(Edit edit, OnDone done) {
  changes_.push_back({std::move(edit), std::move(done)});
  if (!changing_) start_change();
}

void AofDirectory::start_change() {
  changing_ = true;
  auto next = std::make_shared<AofManifest>(manifest_);
  changes_.front().edit(*next);
  auto failed = [this](Result<> result) { end_change(std::move(result)); };
  // The names about to be listed come first.
  disk_.sync_dir(directory_, then(failed, [this, next, failed] {
                   write_manifest(next->text(), then(failed, [this, next, failed] {
                                    disk_.rename(
                                        path(next->temporary_manifest_name()), manifest_path(),
                                        then(failed, [this, next] { settle_names(next); }));
                                  }));
                 }));
}

// The temporary file is made anew: one whose fsync once failed is not to be trusted again.
void AofDirectory::write_manifest(const std::string& text, OnDone done) {
  const std::string temporary = path(manifest_.temporary_manifest_name());
  auto write = [this, text, done](Result<FileId> opened) {
    if (!opened) return done(Error{opened.error()});
    const FileId file = opened.value();
    auto closed = [this, file, done](Result<> result) {
      disk_.close(file);
      done(std::move(result));
    };
    disk_.append(file, text,
                 then(closed, [this, file, closed] { disk_.sync(file, guarded(closed)); }));
  };
  disk_.remove(temporary, guarded([this, temporary, write](Result<>) {
                 disk_.open(temporary, host::OpenMode::create_new, guarded(write));
               }));
}

void AofDirectory::settle_names(std::shared_ptr<AofManifest> next) {
  disk_.sync_dir(directory_, guarded([this, next](Result<> result) {
                   if (result) {
                     manifest_ = std::move(*next);
                     return end_change({});
                   }
                   if (on_trouble_) on_trouble_(result.error());
                   loop_.after(kAofRetryAfter, guarded([this, next] { settle_names(next); }));
                 }));
}

void AofDirectory::end_change(Result<> result) {
  Change ended = std::move(changes_.front());
  changes_.pop_front();
  changing_ = false;
  const auto alive = alive_;
  ended.done(std::move(result));
  if (*alive && !changing_ && !changes_.empty()) start_change();
}

// ---- increments

void AofDirectory::create_increment(OnIncrement done) {
  const AofFile file = manifest_.next_increment(reserved_);
  reserved_ = file.seq;
  create(file, std::move(done));
}

void AofDirectory::create_temporary_increment(OnIncrement done) {
  create({manifest_.temporary_increment_name(), 0, AofFileType::increment}, std::move(done));
}

// What has this name is left from a crash. Removed, not emptied: see write_manifest().
void AofDirectory::create(const AofFile& file, OnIncrement done) {
  disk_.remove(
      path(file.name), guarded([this, file, done](Result<>) {
        disk_.open(path(file.name), host::OpenMode::create_new,
                   guarded([file, done](Result<FileId> opened) { done(std::move(opened), file); }));
      }));
}

// ---- bases

void AofDirectory::publish_base(const std::string& temporary, bool rdb, int64_t first_kept,
                                OnDone done) {
  publish(temporary, rdb, first_kept, false, std::move(done));
}

void AofDirectory::publish_base_and_increment(const std::string& temporary, bool rdb, OnDone done) {
  publish(temporary, rdb, kNoIncrement, true, std::move(done));
}

void AofDirectory::publish(const std::string& temporary, bool rdb, int64_t first_kept,
                           bool with_increment, OnDone done) {
  const AofFile base = manifest_.next_base(rdb);
  AofFile increment{};
  if (with_increment) {
    increment = manifest_.next_increment(reserved_);
    reserved_ = increment.seq;
  }
  auto failed = [this, temporary, base, increment, done](Result<> result) {
    discard({temporary, base.name, increment.name},
            [done, result = std::move(result)] { done(result); });
  };
  auto list = [this, first_kept, base, increment, failed, done] {
    change(
        [first_kept, base, increment](AofManifest& manifest) {
          manifest.replace_base(base, first_kept);
          if (increment.seq > 0) manifest.add_increment(increment);
        },
        then(failed, [done] { done({}); }));
  };
  auto take_increment = [this, increment, failed, list] {
    if (increment.seq == 0) return list();
    disk_.rename(path(manifest_.temporary_increment_name()), path(increment.name),
                 then(failed, list));
  };
  disk_.rename(path(temporary), path(base.name), then(failed, take_increment));
}

// Done only when the names are free: the next attempt gives its files the same ones, and a removal
// that comes late would take those.
void AofDirectory::discard(const std::vector<std::string>& names, host::Task done) {
  auto unlisted = [&](const std::string& name) { return !name.empty() && !manifest_.lists(name); };
  auto left = std::make_shared<ptrdiff_t>(std::count_if(names.begin(), names.end(), unlisted));
  auto removed = guarded([left, done](const Result<>&) {
    if (--*left == 0) done();
  });
  for (const std::string& name : names)
    if (unlisted(name)) disk_.remove(path(name), removed);
}

// Files that are gone already, or cannot be removed, are forgotten all the same, as Redis does.
void AofDirectory::remove_history(OnDone done) {
  std::vector<std::string> names;
  for (const AofFile& file : manifest_.history()) names.push_back(file.name);
  if (names.empty()) return loop_.post(guarded([done] { done({}); }));
  auto left = std::make_shared<size_t>(names.size());
  auto removed = guarded([this, left, names, done](Result<>) {
    if (--*left > 0) return;
    change([names](AofManifest& manifest) { manifest.forget_history(names); }, done);
  });
  for (const std::string& name : names) {
    auto same = [&](const AofFile& file) { return file.name == name; };
    const auto& increments = manifest_.increments();
    if (same(manifest_.base()) || std::any_of(increments.begin(), increments.end(), same)) {
      loop_.post([removed]() mutable { removed(Result<>{}); });  // history only by mistake
    } else {
      disk_.remove(path(name), removed);
    }
  }
}

void AofDirectory::truncate(const std::string& name, host::Offset size, OnDone done) {
  disk_.open(path(name), host::OpenMode::append, guarded([this, size, done](Result<FileId> opened) {
               if (!opened) return done(Error{opened.error()});
               const FileId file = opened.value();
               auto closed = [this, file, done](Result<> result) {
                 disk_.close(file);
                 done(std::move(result));
               };
               disk_.truncate(file, size, then(closed, [this, file, closed] {
                                disk_.sync(file, guarded(closed));
                              }));
             }));
}

}  // namespace quoll::persist
