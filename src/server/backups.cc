#include "server/backups.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "host/whole_file.h"
#include "persist/sealed_format.h"
#include "server/backup_upload.h"
#include "server/log.h"
#include "server/persistence.h"
#include "server/server.h"

namespace quoll::server {

using base::Error;
using base::Result;
using host::FileId;

namespace {

constexpr const char* kDataName = "dump.rdb";
constexpr const char* kManifestName = "manifest.json";
constexpr const char* kUnfinished = ".unfinished-";
constexpr size_t kNameBytesMax = 100;
constexpr size_t kHashBytes = 128 * 1024;
constexpr const char* kAborted = "aborted";

bool is_backup_name(base::Bytes name) {
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kNameBytesMax && name.front() != '.' &&
         std::ranges::all_of(name, allowed);
}

// "backup-20260131-235959-123", in UTC. Days to dates as in Hinnant, "chrono-Compatible Low-Level
// Date Algorithms" (2013).
std::string name_of_instant(base::Millis ms) {
  const int64_t seconds = ms / 1000;
  const int64_t days = seconds / 86'400 + 719'468;
  const int64_t era = days / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t shifted_month = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  const int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  const int64_t second = seconds % 86'400;
  return fmt::format("backup-{:04}{:02}{:02}-{:02}{:02}{:02}-{:03}", year, month, day,
                     second / 3600, second / 60 % 60, second % 60, ms % 1000);
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return path.substr(0, std::max<size_t>(slash, 1));
}

}  // namespace

Backups::Backups(Server& server, Persistence& persistence)
    : server_(server), persistence_(persistence) {}

Backups::~Backups() {
  *alive_ = false;
  if (file_ != 0) disk().close(file_);
}

// What is on the disk is checked, not what the disk that seals makes of it.
host::Disk& Backups::disk() const { return server_.host().disk; }
const std::string& Backups::root() const { return server_.settings().backup_dir; }
std::string Backups::temporary() const { return root_ + "/" + kUnfinished + status_.name; }

host::OnDone Backups::then(std::string doing, void (Backups::*step)()) {
  return guarded([this, doing = std::move(doing), step](Result<> result) {
    if (aborting_) return fail(kAborted);
    if (!result) return fail(doing + ": " + result.error());
    (this->*step)();
  });
}

// --- making one --------------------------------------------------------------------------------

void Backups::start(std::string name, std::function<void(Result<std::string>)> begun) {
  const base::Millis now = server_.host().clock.wall();
  if (running()) return begun(Error{"The backup " + status_.name + " is being made"});
  if (uploading())
    return begun(
        Error{"The backup " + status_.name + " is being uploaded. BACKUP ABORT would end that"});
  if (name.empty()) name = name_of_instant(now);
  if (!is_backup_name(name))
    return begun(
        Error{"The name of a backup has 1 to 100 letters, digits, '.', '_' or '-', and "
              "does not begin with '.'"});
  status_ = Status{};
  status_.name = std::move(name);
  status_.outcome = Outcome::running;
  status_.phase = Phase::prepare;
  status_.started_ms = now;
  begun_ = std::move(begun);
  root_ = root();
  manifest_ = BackupManifest{};
  manifest_.name = status_.name;
  prepare();
}

void Backups::prepare() {
  const std::string what = "Making the directory " + root_;
  disk().make_dir(root_, guarded([this, what](Result<> made) {
                    if (!made) return fail(what + ": " + made.error());
                    disk().sync_dir(parent_of(root_), guarded([this, what](Result<> synced) {
                                      if (!synced) return fail(what + ": " + synced.error());
                                      disk().list(root_, guarded([this](auto names) {
                                                    look_around(std::move(names));
                                                  }));
                                    }));
                  }));
}

void Backups::look_around(Result<std::vector<std::string>> names) {
  if (!names) return fail("Listing " + root_ + ": " + names.error());
  if (std::ranges::find(names.value(), status_.name) != names.value().end())
    return fail("There is a backup " + status_.name + " already");
  clear_leftovers(std::move(names.value()));
}

// What a crash or a failed removal left.
void Backups::clear_leftovers(std::vector<std::string> names) {
  while (!names.empty() && !names.back().starts_with(kUnfinished)) names.pop_back();
  if (names.empty()) return enter_directory();
  const std::string path = root_ + "/" + names.back();
  names.pop_back();
  remove_directory(path, guarded([this, path, names](Result<> removed) {
                     if (!removed) log::warning("Can't remove {}: {}", path, removed.error());
                     clear_leftovers(names);
                   }));
}

void Backups::enter_directory() {
  if (aborting_) return fail(kAborted);
  disk().make_dir(temporary(),
                  then("Making the directory " + temporary(), &Backups::begin_snapshot));
}

void Backups::begin_snapshot() {
  status_.phase = Phase::snapshot;
  const std::string path = temporary() + "/" + kDataName;
  log::notice("Backup {} started", status_.name);
  if (begun_) std::exchange(begun_, nullptr)(status_.name);
  persistence_.write_backup(
      path, path + ".part", [this] { note_instant(); },
      then("Writing the snapshot", &Backups::begin_checksum));
}

void Backups::note_instant() {
  store::Store& store = server_.store();
  manifest_.created_ms = server_.host().clock.wall();
  manifest_.seq = store.commits().last_seq();
  manifest_.rdb_version = persistence_.complete_rdb_version();
  for (store::DbIndex db = 0; db < store.databases(); ++db) {
    if (store.keys(db) == 0) continue;
    manifest_.keys_of_databases[db] = store.keys(db);
    manifest_.keys += store.keys(db);
  }
  status_.keys = manifest_.keys;
}

void Backups::begin_checksum() {
  status_.phase = Phase::checksum;
  hash_ = std::make_unique<Sha256>();
  hashed_bytes_ = 0;
  disk().open(temporary() + "/" + kDataName, host::OpenMode::read,
              guarded([this](Result<FileId> opened) {
                if (!opened) return fail("Reading the snapshot: " + opened.error());
                file_ = opened.value();
                disk().size(file_, guarded([this](Result<host::Offset> size) {
                              if (!size) return fail("Reading the snapshot: " + size.error());
                              status_.bytes = size.value();
                              hash_more();
                            }));
              }));
}

void Backups::hash_more() {
  disk().read(file_, hashed_bytes_, kHashBytes, guarded([this](Result<std::string> bytes) {
                if (aborting_) return fail(kAborted);
                if (!bytes) return fail("Reading the snapshot: " + bytes.error());
                const std::string& piece = bytes.value();
                if (hashed_bytes_ == 0) {
                  persist::SealedHeader header;
                  const auto kind = persist::SealedHeader::parse(
                      base::Bytes(piece).substr(0, persist::kSealedHeaderBytes), header);
                  manifest_.encrypted = kind == persist::SealedHeader::Kind::sealed;
                  if (manifest_.encrypted)
                    manifest_.key_id = persist::SealKey::name(header.key_id());
                }
                hash_->update(piece);
                hashed_bytes_ += piece.size();
                if (piece.size() == kHashBytes) return hash_more();
                write_manifest();
              }));
}

void Backups::write_manifest() {
  disk().close(std::exchange(file_, 0));
  manifest_.files = {{kDataName, hashed_bytes_, hash_->hex()}};
  const std::string path = temporary() + "/" + kManifestName;
  host::replace_whole_file(disk(), path, path + ".part", manifest_.text(),
                           then("Writing the manifest", &Backups::publish));
}

// From here on it is too late for aborting.
void Backups::publish() {
  status_.phase = Phase::publish;
  disk().rename(temporary(), root_ + "/" + status_.name,
                then("Giving the backup its name", &Backups::settle_name));
}

void Backups::settle_name() {
  disk().sync_dir(root_, then("Syncing the directory " + root_, &Backups::published));
}

void Backups::published() {
  log::notice("Backup {} finished: {} keys, {} bytes", status_.name, manifest_.keys,
              manifest_.bytes());
  end(Outcome::ok, "");
  retire();
  begin_upload();
}

void Backups::fail(const std::string& error) {
  if (file_ != 0) disk().close(std::exchange(file_, 0));
  const bool aborted = aborting_;
  const bool made = status_.phase != Phase::prepare;
  if (begun_) {
    log::warning("Backup {} can't begin: {}", status_.name, error);
    std::exchange(begun_, nullptr)(Error{error});
  } else if (aborted) {
    log::notice("Backup {} was aborted", status_.name);
  } else {
    log::warning("Backup {} failed: {}", status_.name, error);
  }
  auto ended = guarded([this, aborted, error](const Result<>&) {
    end(aborted ? Outcome::aborted : Outcome::failed, error);
  });
  if (!made) return ended(Result<>{});
  remove_directory(temporary(), std::move(ended));  // or the next backup does
}

void Backups::end(Outcome outcome, const std::string& error) {
  hash_.reset();
  aborting_ = false;
  status_.outcome = last_outcome_ = outcome;
  status_.phase = Phase::none;
  status_.error = error;
  status_.ended_ms = server_.host().clock.wall();
  last_ms_ = status_.ended_ms - status_.started_ms;
}

Backups::Aborted Backups::abort() {
  if (uploading()) {
    sending_->cancel();
    return Aborted::yes;
  }
  if (!running()) return Aborted::none_running;
  if (status_.phase == Phase::publish) return Aborted::too_late;
  aborting_ = true;
  if (status_.phase == Phase::snapshot) persistence_.abandon_backup();
  return Aborted::yes;
}

// --- the ones there are ------------------------------------------------------------------------

struct Backups::Listing {
  std::string root;
  std::vector<std::string> names;
  std::vector<Found> found;
  OnFound done;
};

void Backups::list(OnFound done) {
  auto listing = std::make_shared<Listing>();
  listing->root = root();
  listing->done = std::move(done);
  disk().list(listing->root, guarded([this, listing](Result<std::vector<std::string>> names) {
                if (names) listing->names = std::move(names.value());
                std::erase_if(listing->names,
                              [](const auto& name) { return !is_backup_name(name); });
                // Before the first backup there is no directory.
                const bool missing = !names && names.error().starts_with("No such file");
                if (!names && !missing)
                  return listing->done(Error{"Listing " + listing->root + ": " + names.error()});
                list_next(listing);
              }));
}

void Backups::list_for_reply(host::OnDone done) {
  list(guarded([this, done = std::move(done)](Result<std::vector<Found>> found) {
    if (!found) return done(Error{found.error()});
    listing_ = std::move(found.value());
    done({});
    listing_.clear();
  }));
}

void Backups::list_next(std::shared_ptr<Listing> listing) {
  if (listing->names.empty()) {
    std::ranges::sort(listing->found, {}, [](const Found& found) {
      return std::tuple(found.manifest.created_ms, found.name);
    });
    return listing->done(std::move(listing->found));
  }
  const std::string name = std::move(listing->names.back());
  listing->names.pop_back();
  const std::string path = listing->root + "/" + name + "/" + kManifestName;
  host::read_whole_file(disk(), path, guarded([this, listing, name](Result<std::string> text) {
                          Found found{name, {}, ""};
                          if (!text) {
                            found.error = "manifest.json: " + text.error();
                          } else if (auto manifest = BackupManifest::parse(text.value())) {
                            found.manifest = std::move(manifest.value());
                          } else {
                            found.error = manifest.error();
                          }
                          listing->found.push_back(std::move(found));
                          list_next(listing);
                        }));
}

// It loses its name first: what has one is whole.
void Backups::remove(const std::string& name, host::OnDone done) {
  if (!is_backup_name(name)) return done(Error{"There is no backup " + name});
  if ((running() || uploading()) && name == status_.name)
    return done(Error{"The backup " + name + " is being made or uploaded"});
  const std::string root = this->root();
  const std::string leaving = root + "/" + kUnfinished + name;
  disk().rename(root + "/" + name, leaving,
                guarded([this, name, root, leaving, done](Result<> renamed) {
                  if (!renamed) {
                    const bool missing = renamed.error().starts_with("No such file");
                    return done(Error{missing ? "There is no backup " + name
                                              : "Removing " + name + ": " + renamed.error()});
                  }
                  log::notice("Backup {} is removed", name);
                  disk().sync_dir(root, guarded([this, leaving, done](Result<> synced) {
                                    if (!synced) return done(std::move(synced));
                                    remove_directory(leaving, done);
                                  }));
                }));
}

void Backups::retire() {
  if (server_.settings().backup_keep == 0) return;
  list(guarded([this](Result<std::vector<Found>> found) {
    if (!found) return log::warning("Old backups are not removed: {}", found.error());
    std::vector<std::string> names;
    for (const Found& one : found.value())
      if (one.error.empty()) names.push_back(one.name);
    const auto keep = static_cast<size_t>(server_.settings().backup_keep);
    names.resize(names.size() - std::min(keep, names.size()));
    std::erase(names, status_.name);
    retire_next(std::move(names));
  }));
}

void Backups::retire_next(std::vector<std::string> names) {
  if (names.empty()) return;
  const std::string name = names.front();
  names.erase(names.begin());
  remove(name, guarded([this, name, names](Result<> removed) {
           if (!removed) log::warning("Old backup {}: {}", name, removed.error());
           retire_next(names);
         }));
}

struct Backups::Removal {
  std::string path;
  std::vector<std::string> names;
  host::OnDone done;
};

void Backups::remove_directory(const std::string& path, host::OnDone done) {
  auto removal = std::make_shared<Removal>(Removal{path, {}, std::move(done)});
  disk().list(path, guarded([this, removal](Result<std::vector<std::string>> names) {
                if (!names) return removal->done(Error{names.error()});
                removal->names = std::move(names.value());
                remove_next(removal);
              }));
}

void Backups::remove_next(std::shared_ptr<Removal> removal) {
  if (removal->names.empty()) return disk().remove(removal->path, guarded(removal->done));
  const std::string path = removal->path + "/" + removal->names.back();
  removal->names.pop_back();
  // A file that stays makes the directory stay.
  disk().remove(path, guarded([this, removal](const Result<>&) { remove_next(removal); }));
}

// --- upload ------------------------------------------------------------------------------------

void Backups::begin_upload() {
  const Settings& settings = server_.settings();
  if (settings.backup_s3_endpoint.empty() || upload_ == nullptr) return;
  auto refuse = [this](const std::string& why) {
    status_.upload = Outcome::failed;
    status_.upload_error = why;
    log::warning("Backup {} is not uploaded: {}", status_.name, why);
  };
  if (settings.backup_s3_bucket.empty()) return refuse("backup-s3-bucket is not set");
  if (settings.backup_s3_access_key.empty()) return refuse("backup-s3-access-key is not set");
  if (settings.backup_s3_secret_key_file.empty())
    return refuse("backup-s3-secret-key-file is not set");
  auto secret = server_.config().read_secret(settings.backup_s3_secret_key_file);
  if (!secret) return refuse(secret.error());

  S3Target target{.endpoint = settings.backup_s3_endpoint,
                  .bucket = settings.backup_s3_bucket,
                  .prefix = settings.backup_s3_prefix,
                  .region = settings.backup_s3_region,
                  .access_key = settings.backup_s3_access_key,
                  .secret_key = std::string(base::trimmed(secret.value())),
                  .part_bytes = static_cast<uint64_t>(settings.backup_s3_part_size)};
  std::vector<BackupUpload::Object> objects;
  const std::string folder = root_ + "/" + status_.name + "/";
  for (const BackupManifest::File& file : manifest_.files)
    objects.push_back(
        {folder + file.name, status_.name + "/" + file.name, file.bytes, file.sha256});
  const std::string text = manifest_.text();
  Sha256 hash;
  hash.update(text);
  objects.push_back(
      {folder + kManifestName, status_.name + "/" + kManifestName, text.size(), hash.hex()});
  status_.upload = Outcome::running;
  status_.phase = Phase::upload;
  sending_ = std::make_unique<BackupUpload>(
      server_.host().loop, *upload_, std::move(target), std::move(objects),
      guarded([this](Result<> result) { uploaded(std::move(result)); }));
}

void Backups::uploaded(Result<> result) {
  status_.uploaded_bytes = sending_->uploaded_bytes();
  status_.upload_attempts = sending_->attempts();
  status_.phase = Phase::none;
  status_.upload = result                  ? Outcome::ok
                   : sending_->cancelled() ? Outcome::aborted
                                           : Outcome::failed;
  if (!result) status_.upload_error = result.error();
  sending_.reset();
  if (result)
    log::notice("Backup {} was uploaded: {} bytes", status_.name, status_.uploaded_bytes);
  else
    log::warning("Backup {} was not uploaded: {}", status_.name, status_.upload_error);
}

// --- status ------------------------------------------------------------------------------------

Backups::Status Backups::status() const {
  Status status = status_;
  auto percent = [](uint64_t part, uint64_t whole) {
    return 100.0 * static_cast<double>(part) / static_cast<double>(std::max<uint64_t>(whole, 1));
  };
  if (status.outcome == Outcome::ok) status.bytes = manifest_.bytes();
  if (status.phase == Phase::none) {
    status.progress_percent = status.outcome == Outcome::ok ? 100 : 0;
  } else if (status.phase == Phase::checksum) {
    status.progress_percent = percent(hashed_bytes_, status.bytes);
  } else if (status.phase == Phase::publish) {
    status.progress_percent = 100;
  } else if (const persist::SnapshotJob* job = persistence_.backup_job()) {
    status.progress_percent = percent(job->keys_written(), job->keys_total());
    status.bytes = job->bytes();
  }
  if (sending_) {
    status.uploaded_bytes = sending_->uploaded_bytes();
    status.upload_attempts = sending_->attempts();
    status.upload_error = sending_->trouble();
    status.progress_percent = percent(status.uploaded_bytes, manifest_.bytes());
  }
  return status;
}

int64_t Backups::last_seconds() const { return last_ms_ < 0 ? -1 : last_ms_ / 1000; }

const char* Backups::name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::none:
      return "none";
    case Outcome::running:
      return "running";
    case Outcome::ok:
      return "ok";
    case Outcome::failed:
      return "failed";
    case Outcome::aborted:
      return "aborted";
  }
  return "";
}

const char* Backups::name_of(Phase phase) {
  switch (phase) {
    case Phase::none:
      return "none";
    case Phase::prepare:
      return "prepare";
    case Phase::snapshot:
      return "snapshot";
    case Phase::checksum:
      return "checksum";
    case Phase::publish:
      return "publish";
    case Phase::upload:
      return "upload";
  }
  return "";
}

}  // namespace quoll::server
