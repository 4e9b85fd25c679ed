#include "tests/sim/sim_disk.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tests/sim/sim_world.h"

namespace quoll::sim {
namespace {

constexpr const char* kNoEntry = "No such file or directory";
constexpr const char* kExists = "File exists";
constexpr const char* kBadFile = "Bad file descriptor";
constexpr const char* kIoError = "Input/output error";
constexpr const char* kNoSpace = "No space left on device";
constexpr const char* kNotEmpty = "Directory not empty";
constexpr const char* kIsDir = "Is a directory";

base::Result<> result_of(const char* error) {
  if (*error == '\0') return {};
  return base::Error{error};
}

}  // namespace

// ---- file

void SimFile::append(host::Bytes bytes) {
  content.append(bytes);
  unsynced.push_back({false, 0, std::string(bytes)});
}

void SimFile::cut(host::Offset size) {
  content.resize(size);
  unsynced.push_back({true, size, {}});
}

namespace {

void carry_out(const SimFile::Change& change, std::string& bytes) {
  if (change.cut) {
    bytes.resize(change.size);
  } else {
    bytes.append(change.bytes);
  }
}

}  // namespace

void SimFile::sync_up_to(uint64_t change) {
  if (doomed || change <= changes_synced) return;
  size_t count = change - changes_synced;
  for (size_t i = 0; i < count; ++i) carry_out(unsynced[i], durable);
  unsynced.erase(unsynced.begin(), unsynced.begin() + static_cast<ptrdiff_t>(count));
  changes_synced = change;
}

void SimFile::lose_power(SimChance& chance, bool torn) {
  size_t kept =
      doomed ? 0 : static_cast<size_t>(chance.between(0, static_cast<int64_t>(unsynced.size())));
  for (size_t i = 0; i < kept; ++i) carry_out(unsynced[i], durable);
  if (torn && !doomed && kept < unsynced.size() && !unsynced[kept].cut) {
    const std::string& lost = unsynced[kept].bytes;
    durable.append(lost, 0,
                   static_cast<size_t>(chance.between(0, static_cast<int64_t>(lost.size()))));
  }
  content = durable;
  changes_synced += unsynced.size();
  unsynced.clear();
  doomed = false;
}

// ---- drive

SimDrive::SimDrive() : dirs_{"/", "."} {}

// "a//b/./c/" and "./a/b/c" name the same file.
std::string SimDrive::normal(const std::string& path) {
  bool absolute = !path.empty() && path.front() == '/';
  std::string result;
  size_t at = 0;
  while (at < path.size()) {
    size_t slash = std::min(path.find('/', at), path.size());
    std::string part = path.substr(at, slash - at);
    if (!part.empty() && part != ".") {
      if (!result.empty() || absolute) result += '/';
      result += part;
    }
    at = slash + 1;
  }
  if (!result.empty()) return result;
  return absolute ? "/" : ".";
}

std::string SimDrive::parent(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

SimDrive::File SimDrive::find(const std::string& path) const {
  auto found = names_.find(path);
  return found == names_.end() ? nullptr : found->second;
}

std::string SimDrive::content(const std::string& path) const {
  File file = find(normal(path));
  return file ? file->content : "";
}

void SimDrive::put(const std::string& path, std::string bytes) {
  std::string name = normal(path);
  add_dir(parent(name));
  auto file = std::make_shared<SimFile>();
  file->content = file->durable = std::move(bytes);
  names_[name] = durable_names_[name] = file;
}

void SimDrive::add_dir(const std::string& path) {
  for (std::string dir = normal(path); dir != "/" && dir != "."; dir = parent(dir)) {
    dirs_.insert(dir);
  }
}

std::vector<std::string> SimDrive::list(const std::string& dir) const {
  std::string path = normal(dir);
  std::vector<std::string> found;
  auto consider = [&](const std::string& name) {
    if (name != path && name != "/" && name != "." && parent(name) == path) {
      found.push_back(name.substr(name.rfind('/') + 1));
    }
  };
  for (const auto& [name, file] : names_) consider(name);
  for (const std::string& name : dirs_) consider(name);
  std::sort(found.begin(), found.end());
  return found;
}

size_t SimDrive::bytes_used() const {
  size_t sum = 0;
  for (const auto& [name, file] : names_) sum += file->content.size();
  return sum;
}

void SimDrive::change_names(std::vector<NameChange> changes) {
  for (const NameChange& change : changes) {
    if (change.file) {
      names_[change.path] = change.file;
    } else {
      names_.erase(change.path);
    }
  }
  unsynced_names_.push_back(std::move(changes));
}

void SimDrive::sync_dir(const std::string& path) {
  std::erase_if(unsynced_names_, [&](const std::vector<NameChange>& changes) {
    bool here = std::any_of(changes.begin(), changes.end(),
                            [&](const NameChange& change) { return parent(change.path) == path; });
    if (!here) return false;
    for (const NameChange& change : changes) {
      if (change.file) {
        durable_names_[change.path] = change.file;
      } else {
        durable_names_.erase(change.path);
      }
    }
    return true;
  });
}

bool SimDrive::doubtful() const {
  return std::ranges::any_of(names_, [](const auto& name) { return name.second->doomed; });
}

void SimDrive::settle_doubts() {
  for (auto& [name, file] : names_) file->doomed = false;
}

void SimDrive::lose_power(SimChance& chance, bool torn) {
  ++power_losses_;
  auto kept = static_cast<size_t>(chance.between(0, static_cast<int64_t>(unsynced_names_.size())));
  for (size_t i = 0; i < kept; ++i) {
    for (const NameChange& change : unsynced_names_[i]) {
      if (change.file) {
        durable_names_[change.path] = change.file;
      } else {
        durable_names_.erase(change.path);
      }
    }
  }
  unsynced_names_.clear();
  names_ = durable_names_;
  for (auto& [name, file] : names_) file->lose_power(chance, torn);
}

// ---- disk

SimDisk::SimDisk(SimWorld& world, NodeId node, SimLoop& loop, SimDrive& drive)
    : world_(world),
      node_(node),
      loop_(loop),
      drive_(drive),
      gathers_(world.chance().ppm(500'000)) {}

Nanos SimDisk::latency() {
  const FaultPlan& plan = world_.plan();
  SimChance& chance = world_.chance();
  int64_t micros = chance.between(plan.disk_latency_min_us, plan.disk_latency_max_us);
  if (chance.ppm(plan.slow_disk_ppm)) micros += chance.between(1, plan.slow_disk_max_ms) * 1000;
  return micros * base::kNanosPerMicro + drive_.trouble.slow;
}

SimDisk::Handle* SimDisk::handle(host::FileId file) {
  auto found = handles_.find(file);
  return found == handles_.end() ? nullptr : &found->second;
}

void SimDisk::complete(host::FileId file, host::Task task) {
  Handle* h = handle(file);
  Nanos begin = loop_.now();
  if (h != nullptr) begin = std::max(begin, h->free_at);
  Nanos end = begin + latency();
  if (h != nullptr) h->free_at = end;
  world_.schedule(node_, end, "disk", std::move(task));
}

void SimDisk::fail(const host::OnDone& done, const char* why) {
  if (done) world_.schedule(node_, loop_.now(), "disk", [done, why] { done(base::Error{why}); });
}

base::Result<host::FileId> SimDisk::open_now(const std::string& path, host::OpenMode mode) {
  SimDrive::File file = drive_.find(path);
  if (drive_.is_dir(path)) return base::Error{kIsDir};
  if (!file && mode == host::OpenMode::read) return base::Error{kNoEntry};
  if (file && mode == host::OpenMode::create_new) return base::Error{kExists};
  if (!file) {
    if (!drive_.is_dir(SimDrive::parent(path))) return base::Error{kNoEntry};
    file = std::make_shared<SimFile>();
    drive_.change_names({{path, file}});
  } else if (mode == host::OpenMode::truncate && !file->content.empty()) {
    file->cut(0);
  }
  handles_[++last_file_] = {file, mode != host::OpenMode::read, loop_.now()};
  return last_file_;
}

void SimDisk::open(const std::string& path, host::OpenMode mode, host::OnFile done) {
  if (frozen_) return;
  complete(0, [this, name = SimDrive::normal(path), mode, done] { done(open_now(name, mode)); });
}

void SimDisk::close(host::FileId file) { handles_.erase(file); }

void SimDisk::read(host::FileId file, host::Offset offset, size_t size, host::OnBytes done) {
  Handle* h = handle(file);
  if (frozen_) return;
  if (h == nullptr) {
    return complete(0, [done] { done(base::Error{kBadFile}); });
  }
  const std::string& content = h->file->content;
  std::string bytes = offset < content.size() ? content.substr(offset, size) : "";
  SimChance& chance = world_.chance();
  if (!bytes.empty() && chance.ppm(world_.plan().flipped_bit_ppm)) {
    auto bit = chance.between(0, static_cast<int64_t>(bytes.size()) * 8 - 1);
    bytes[static_cast<size_t>(bit / 8)] ^= static_cast<char>(1 << (bit % 8));
  }
  complete(file, [done, bytes = std::move(bytes)] { done(bytes); });
}

void SimDisk::append(host::FileId file, std::string bytes, host::OnDone done) {
  Handle* h = handle(file);
  if (frozen_) return;
  if (h == nullptr || !h->writable) return fail(done, kBadFile);
  const FaultPlan& plan = world_.plan();
  const char* error = "";
  if (gathers_ && h->failing > 0) {
    error = kIoError;
  } else if (drive_.trouble.full ||
             (plan.disk_bytes_max > 0 &&
              drive_.bytes_used() + bytes.size() > static_cast<size_t>(plan.disk_bytes_max))) {
    error = kNoSpace;
  } else if (drive_.trouble.fails || world_.chance().ppm(plan.failed_append_ppm)) {
    error = kIoError;
  } else {
    h->file->append(bytes);
    world_.note("append", bytes);
  }
  if (*error != '\0') ++h->failing;
  complete(file, [this, file, done, error] {
    if (Handle* told = handle(file); told != nullptr && *error != '\0') --told->failing;
    if (done) done(result_of(error));
  });
}

void SimDisk::sync(host::FileId file, host::OnDone done) {
  Handle* h = handle(file);
  if (frozen_) return;
  if (h == nullptr) return fail(done, kBadFile);
  bool fails = world_.chance().ppm(world_.plan().failed_sync_ppm) || drive_.trouble.fails;
  uint64_t change = h->file->changes_issued();
  complete(file, [target = h->file, fails, change, done] {
    if (fails) {
      target->doomed = true;
    } else {
      target->sync_up_to(change);
    }
    if (done) done(result_of(fails ? kIoError : ""));
  });
}

void SimDisk::truncate(host::FileId file, host::Offset size, host::OnDone done) {
  Handle* h = handle(file);
  if (frozen_) return;
  if (h == nullptr || !h->writable) return fail(done, kBadFile);
  h->file->cut(size);
  complete(file, [done] {
    if (done) done({});
  });
}

void SimDisk::size(host::FileId file, std::function<void(base::Result<host::Offset>)> done) {
  Handle* h = handle(file);
  if (frozen_) return;
  if (h == nullptr) {
    return complete(0, [done] { done(base::Error{kBadFile}); });
  }
  host::Offset size = h->file->content.size();
  complete(file, [done, size] { done(size); });
}

// ---- paths

void SimDisk::on_path(const char* kind, std::function<const char*()> act, host::OnDone done) {
  if (frozen_) return;
  world_.schedule(node_, loop_.now() + latency(), kind, [act = std::move(act), done] {
    const char* error = act();
    if (done) done(result_of(error));
  });
}

const char* SimDisk::rename_now(const std::string& from, const std::string& to) {
  SimDrive::File file = drive_.find(from);
  if (!file || !drive_.is_dir(SimDrive::parent(to))) return kNoEntry;
  if (drive_.is_dir(to)) return kIsDir;
  if (from != to) drive_.change_names({{from, nullptr}, {to, file}});
  return "";
}

void SimDisk::rename(const std::string& from, const std::string& to, host::OnDone done) {
  on_path(
      "rename",
      [this, old_name = SimDrive::normal(from), name = SimDrive::normal(to)] {
        return rename_now(old_name, name);
      },
      std::move(done));
}

void SimDisk::remove(const std::string& path, host::OnDone done) {
  on_path(
      "remove",
      [this, name = SimDrive::normal(path)]() -> const char* {
        if (drive_.find(name)) {
          drive_.change_names({{name, nullptr}});
          return "";
        }
        if (!drive_.is_dir(name)) return kNoEntry;
        if (!drive_.list(name).empty()) return kNotEmpty;
        drive_.dirs_.erase(name);
        return "";
      },
      std::move(done));
}

void SimDisk::make_dir(const std::string& path, host::OnDone done) {
  on_path(
      "make_dir",
      [this, name = SimDrive::normal(path)]() -> const char* {
        if (drive_.find(name)) return kExists;
        if (!drive_.is_dir(SimDrive::parent(name))) return kNoEntry;
        drive_.dirs_.insert(name);
        return "";
      },
      std::move(done));
}

void SimDisk::sync_dir(const std::string& path, host::OnDone done) {
  bool fails = world_.chance().ppm(world_.plan().failed_sync_ppm) || drive_.trouble.fails;
  on_path(
      "sync_dir",
      [this, name = SimDrive::normal(path), fails]() -> const char* {
        if (!drive_.is_dir(name)) return kNoEntry;
        if (fails) return kIoError;
        drive_.sync_dir(name);
        return "";
      },
      std::move(done));
}

void SimDisk::list(const std::string& path, host::OnNames done) {
  if (frozen_) return;
  complete(0, [this, name = SimDrive::normal(path), done] {
    if (!drive_.is_dir(name)) return done(base::Error{kNoEntry});
    done(drive_.list(name));
  });
}

}  // namespace quoll::sim
