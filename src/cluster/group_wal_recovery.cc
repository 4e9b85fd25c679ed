#include "cluster/group_wal_recovery.h"

#include <fmt/format.h>

#include <algorithm>

#include "cluster/group_state_file.h"
#include "host/whole_file.h"

namespace quoll::cluster {

using base::Result;

WalRecovery::WalRecovery(host::Disk& disk, std::string dir, OnEntry on_entry, OnFound on_found)
    : disk_(disk),
      dir_(std::move(dir)),
      on_entry_(std::move(on_entry)),
      on_found_(std::move(on_found)) {}

void WalRecovery::fail(const std::string& what, const std::string& error) {
  if (file_ != 0) disk_.close(std::exchange(file_, 0));
  on_found_(base::Error{what + ": " + error});
}

// ---- what there is

// Names become durable before anything is concluded from them: a state file that is seen here but
// could vanish again must not make us remove what the older one needs.
void WalRecovery::start() {
  const size_t slash = dir_.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : dir_.substr(0, slash + 1);
  auto sync_own = [this] { disk_.sync_dir(dir_, then("syncing " + dir_, [this] { list(); })); };
  auto sync_parent = [this, parent, sync_own] {
    disk_.sync_dir(parent, then("syncing " + parent, sync_own));
  };
  disk_.make_dir(dir_, then("making " + dir_, sync_parent));
}

void WalRecovery::list() {
  disk_.list(dir_, guarded([this](const Result<std::vector<std::string>>& names) {
               if (!names) return fail("reading " + dir_, names.error());
               for (const std::string& name : names.value())
                 if (auto sequence = wal_sequence(name))
                   seen_.push_back({.sequence = *sequence, .header = {}});
               if (!seen_.empty()) found_.highest = seen_.back().sequence;
               const auto& all = names.value();
               read_state(std::find(all.begin(), all.end(), kGroupStateName) != all.end(), 0);
             }));
}

void WalRecovery::read_state(bool exists, int tries) {
  if (!exists) {
    if (!seen_.empty()) damage("the state file is missing");
    return read_header(0, 0);
  }
  const std::string name = dir_ + "/" + kGroupStateName;
  host::read_whole_file(
      disk_, name, guarded([this, name, tries](const Result<std::string>& text) {
        if (!text) return fail("reading " + name, text.error());
        auto block = decode_superblock(text.value());
        if (!block && tries + 1 < kWalReadTries) return read_state(true, tries + 1);
        if (block) {
          found_.superblock = *block;
          found_.had_superblock = true;
          found_.highest = std::max({found_.highest, block->newest, block->first - 1});
        } else {
          damage("the state file is not readable");
        }
        read_header(0, 0);
      }));
}

void WalRecovery::read_header(size_t at, int tries) {
  if (at == seen_.size()) return choose_files();
  const std::string name = path(seen_[at].sequence);
  disk_.open(name, host::OpenMode::read, guarded([=, this](const Result<host::FileId>& opened) {
               if (!opened) return fail("opening " + name, opened.error());
               file_ = opened.value();
               disk_.read(file_, 0, kWalHeaderBytes,
                          guarded([=, this](const Result<std::string>& bytes) {
                            if (!bytes) return fail("reading " + name, bytes.error());
                            disk_.close(std::exchange(file_, 0));
                            header_read(at, tries, bytes.value());
                          }));
             }));
}

void WalRecovery::header_read(size_t at, int tries, base::Bytes bytes) {
  Seen& seen = seen_[at];
  const WalHeaderFault fault = decode_wal_header(bytes, seen.header);
  const std::string name = path(seen.sequence);
  if (fault == WalHeaderFault::newer) return fail(name, "written by a newer version");
  seen.readable = fault == WalHeaderFault::none && seen.header.sequence == seen.sequence;
  if (!seen.readable && bytes.size() == kWalHeaderBytes && tries + 1 < kWalReadTries)
    return read_header(at, tries + 1);
  read_header(at + 1, 0);
}

// ---- which files matter

void WalRecovery::choose_files() {
  GroupSuperblock& block = found_.superblock;
  // Left over: from before the first one, or from a restart that did not come to its end.
  uint64_t first = block.first;
  if (!found_.had_superblock) {
    auto readable = std::ranges::find_if(seen_, &Seen::readable);
    if (readable != seen_.end()) first = readable->sequence;
  }
  std::erase_if(seen_, [this, first](const Seen& seen) {
    const bool over =
        seen.sequence < first || (seen.readable && seen.header.restart && seen.sequence > first);
    if (over) found_.obsolete.push_back(seen.sequence);
    return over;
  });
  const Seen* begin = first_file();
  if (!found_.had_superblock && begin != nullptr)
    block = {block.state, begin->sequence, 0, begin->header.before};
  if (!found_.had_superblock && begin == nullptr) block.first = found_.highest + 1;
  found_.runs.restart(block.base);
  if (begin != nullptr && begin->header.before != block.base) {
    damage(path(begin->sequence) + " does not begin where the state file says");
    begin = nullptr;
  }
  if (begin == nullptr) {
    broken_ = true;
  } else {
    found_.files.push_back({begin->sequence, begin->header.before});
  }
  // Nothing goes back behind the base: left over from before a damage.
  std::erase_if(seen_, [this, &block](const Seen& seen) {
    const bool over = seen.readable && seen.header.before.index < block.base.index;
    if (over) found_.obsolete.push_back(seen.sequence);
    return over;
  });
  limit_files();
  read_file(0);
}

const WalRecovery::Seen* WalRecovery::first_file() {
  const GroupSuperblock& block = found_.superblock;
  const bool known = found_.had_superblock && block.newest >= block.first;
  // Where none is known to be on disk, the first one may not have come there; those behind it that
  // begin elsewhere are of no use then. What they promise still tells whether that matters.
  auto usable = [&](const Seen& seen) {
    const bool begins = known || !found_.had_superblock || seen.header.before == block.base;
    return seen.readable && begins;
  };
  auto first = std::find_if(seen_.begin(), seen_.end(), usable);
  if (!known) return first == seen_.end() ? nullptr : &*first;
  for (uint64_t needed : {block.first, block.newest}) {
    auto there = std::find_if(seen_.begin(), seen_.end(), [needed](const Seen& seen) {
      return seen.sequence == needed && seen.readable;
    });
    if (there == seen_.end()) damage(path(needed) + " is missing or its header is damaged");
  }
  return first == seen_.end() || first->sequence != block.first ? nullptr : &*first;
}

void WalRecovery::limit_files() {
  Index limit = UINT64_MAX;
  for (size_t i = seen_.size(); i-- > 0;) {
    seen_[i].limit = limit;
    if (seen_[i].readable) limit = std::min(limit, seen_[i].header.before.index);
  }
}

// ---- the entries

void WalRecovery::read_file(size_t at) {
  reading_ = at;
  if (at == seen_.size()) return finish();
  const Seen& seen = seen_[at];
  const bool last = std::none_of(seen_.begin() + static_cast<ptrdiff_t>(at) + 1, seen_.end(),
                                 [](const Seen& later) { return later.readable; });
  if (!seen.readable) {
    // Where positions can still tell, those of the files behind do.
    return last ? scan_file(at, 0) : read_file(at + 1);
  }
  promised_ = seen.header.promised;
  if (broken_) return scan_file(at, kWalHeaderBytes);
  const bool first = seen.sequence == found_.files.front().sequence;
  if (seen.header.before.index >= seen.limit && !first) return read_file(at + 1);
  if (!found_.runs.holds(seen.header.before)) {
    broken_ = true;
    note(fmt::format("{} begins behind entry {}, which is not there", path(seen.sequence),
                     seen.header.before.index));
    return scan_file(at, kWalHeaderBytes);
  }
  if (!first) found_.files.push_back({seen.sequence, seen.header.before});
  reader_ = std::make_unique<WalReader>(seen.sequence, kWalHeaderBytes);
  tries_ = 0;
  disk_.open(path(seen.sequence), host::OpenMode::read,
             guarded([this](const Result<host::FileId>& opened) {
               if (!opened) return fail(path(seen_[reading_].sequence), opened.error());
               file_ = opened.value();
               read_more();
             }));
}

void WalRecovery::read_more() {
  disk_.read(file_, reader_->fed(), kWalReadBytes,
             guarded([this](const Result<std::string>& bytes) {
               if (!bytes) return fail(path(seen_[reading_].sequence), bytes.error());
               take(bytes.value());
             }));
}

void WalRecovery::take(base::Bytes bytes) {
  if (bytes.empty()) {
    if (reader_->torn()) return stop("torn");
    return file_read();
  }
  reader_->feed(bytes);
  if (take_entries()) read_more();
}

// False: something else is under way.
bool WalRecovery::take_entries() {
  Entry entry;
  base::Bytes encoded;
  while (found_.runs.last().index < seen_[reading_].limit) {
    const WalReader::Step step = reader_->next(entry, encoded);
    if (step == WalReader::Step::more) return true;
    if (step == WalReader::Step::damaged) {
      if (++tries_ < kWalReadTries) {
        reader_->read_again();
        return true;
      }
      stop("not readable");
      return false;
    }
    if (!found_.runs.follows(entry.header.at)) {
      reader_->refuse(entry);
      stop("followed by entries that do not continue it");
      return false;
    }
    tries_ = 0;
    found_.runs.append(entry.header.at);
    on_entry_(entry, encoded);
  }
  file_read();
  return false;
}

// The log ends here, whatever the reason.
void WalRecovery::stop(const std::string& why) {
  broken_ = true;
  note(fmt::format("{} is {} from offset {} on, behind entry {}", path(seen_[reading_].sequence),
                   why, reader_->offset(), found_.runs.last().index));
  file_read();
}

void WalRecovery::file_read() {
  if (reader_->promised() != Position{}) promised_ = reader_->promised();
  const uint64_t offset = reader_->offset();
  reader_.reset();
  const std::string name = path(seen_[reading_].sequence);
  disk_.sync(file_, then("syncing " + name, [this, offset] {
               disk_.close(std::exchange(file_, 0));
               if (broken_) return scan_file(reading_, offset + 1);
               read_file(reading_ + 1);
             }));
}

// ---- promises behind what can be read

void WalRecovery::scan_file(size_t at, uint64_t offset) {
  scan_ = std::make_unique<WalScan>(seen_[at].sequence, offset);
  disk_.open(path(seen_[at].sequence), host::OpenMode::read,
             guarded([this](const Result<host::FileId>& opened) {
               if (!opened) return fail(path(seen_[reading_].sequence), opened.error());
               file_ = opened.value();
               scan_more();
             }));
}

void WalRecovery::scan_more() {
  const Seen& seen = seen_[reading_];
  disk_.read(file_, scan_->fed(), kWalReadBytes,
             guarded([this, &seen](const Result<std::string>& bytes) {
               if (!bytes) return fail(path(seen.sequence), bytes.error());
               if (!bytes.value().empty()) {
                 scan_->feed(bytes.value());
                 return scan_more();
               }
               disk_.close(std::exchange(file_, 0));
               if (scan_->promised()) {
                 promised_ = *scan_->promised();
                 if (!seen.readable) damage("the header of " + path(seen.sequence) + " is damaged");
               }
               read_file(reading_ + 1);
             }));
}

void WalRecovery::finish() {
  const Index base = found_.runs.base().index;
  if (promised_.index > base && !found_.runs.holds(promised_)) {
    damage(fmt::format("entries up to {} of epoch {} had been acknowledged, the log ends at {}",
                       promised_.index, promised_.epoch, found_.runs.last().index));
  }
  for (const Seen& seen : seen_) {
    const bool used = std::any_of(found_.files.begin(), found_.files.end(),
                                  [&](const WalFile& f) { return f.sequence == seen.sequence; });
    if (!used) found_.obsolete.push_back(seen.sequence);
  }
  on_found_(std::move(found_));
}

}  // namespace quoll::cluster
