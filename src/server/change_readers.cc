#include "server/change_readers.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/call.h"
#include "server/persistence.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr size_t kTurnBytes = size_t{512} << 10;   // looked through for all readers: about 1 ms
constexpr size_t kCommitBytes = 512;               // what a small commit costs like
constexpr size_t kPieceBytes = size_t{128} << 10;  // of the log, decoded in one go: about 0.5 ms
constexpr size_t kScanPieces = 64;                 // then the next reader gets the disk
constexpr base::Nanos kRest = 20 * base::kNanosPerMilli;  // for the log to be written

constexpr Bytes kLine[] = {"changes", "read"};

// What a session may be told of.
class Sight {
 public:
  Sight(const CommandTable& table, const Session& session, const Command& command,
        const ChangeRequest& request)
      : table_(table), command_(command), user_(*session.user), prefixes_(request.prefixes) {}

  // Of whole databases everybody is told.
  bool shows(const persist::ChangedKey& change) const {
    return !change.key || (wanted(*change.key) && user_.shows_key(command_, kLine, *change.key));
  }
  // One that names none of the keys wanted is not told, nor one that names a key not to be seen.
  bool shows(const persist::ChangeEffect& effect) const {
    const std::vector<Bytes> args(effect.args.begin(), effect.args.end());
    std::vector<KeyArg> keys;
    if (!find_keys_of(args, keys) || keys.empty()) return user_.unrestricted();
    const bool seen = std::ranges::all_of(
        keys, [&](const KeyArg& key) { return user_.shows_key(command_, kLine, args[key.index]); });
    return seen &&
           std::ranges::any_of(keys, [&](const KeyArg& key) { return wanted(args[key.index]); });
  }

 private:
  bool wanted(Bytes key) const {
    return prefixes_.empty() || std::ranges::any_of(prefixes_, [&](const std::string& prefix) {
             return key.starts_with(prefix);
           });
  }
  bool find_keys_of(Args args, std::vector<KeyArg>& keys) const {
    const Command* command = table_.find(args[0]);
    if (command && !command->subcommands.empty() && args.size() > 1)
      command = table_.find_sub(*command, args[1]);
    return command && find_keys(*command->spec, args, keys);
  }

  const CommandTable& table_;
  const Command& command_;
  const AclUser& user_;
  const std::vector<std::string>& prefixes_;
};

}  // namespace

// --- reading -----------------------------------------------------------------------------------

void ChangeReaders::read(Call& call, ChangeRequest request) {
  if (!stream_.holds(request.since)) {
    positions_.erase(call.session.id);
    return call.reply.error(trimmed(request.since));
  }
  Reader reader{};
  reader.command = &call.command;
  reader.at = stream_.resolved(request.since);
  reader.request = std::move(request);
  size_t budget = kTurnBytes;
  const Found found = look(reader, call.session, budget);
  if (found == Found::reply) return write(call.session, reader);
  const bool timed = reader.request.block;
  call.session.block(timed ? reader.request.timeout_ms : 0,
                     [](Session& session) { session.server().changes().reply(session); });
  reader.serial = ++serials_;
  const SessionId id = call.session.id;
  go_on(id, readers_.insert_or_assign(id, std::move(reader)).first->second, found);
}

// The commits in the window behind where the reader is.
ChangeReaders::Found ChangeReaders::look(Reader& reader, const Session& session, size_t& budget) {
  persist::AofReaderOptions options;
  options.bulk_bytes_max = INT64_MAX;  // these are our own
  persist::ChangeReader commits(std::move(options));
  persist::ChangeCommit commit;
  while (stream_.in_window(reader.at)) {
    if (full(reader)) return Found::reply;
    const ChangeWindow::Held* held = stream_.window().behind(reader.at.seq);
    if (!held) return reader.found.empty() && reader.request.block ? Found::all : Found::reply;
    if (budget == 0) return reader.found.empty() ? Found::more : Found::reply;
    budget -= std::min(budget, held->text.size() + kCommitBytes);
    reader.at.seq = held->seq;
    commits.feed(held->text);
    if (commits.next({}, commit)) take(reader, session, std::move(commit));
    while (commits.next({}, commit)) continue;  // to its end
  }
  if (!reader.found.empty()) return Found::reply;
  if (stream_.place(reader.at)) return Found::behind_window;
  reader.error = trimmed(reader.at);
  return Found::reply;
}

void ChangeReaders::take(Reader& reader, const Session& session, persist::ChangeCommit commit) {
  reader.at = commit.position;
  const Sight sight(server_.commands(), session, *reader.command, reader.request);
  std::erase_if(commit.changes, [&](const auto& change) { return !sight.shows(change); });
  if (commit.changes.empty()) return;
  if (reader.request.effects)
    std::erase_if(commit.effects, [&](const auto& effect) { return !sight.shows(effect); });
  else
    commit.effects.clear();
  reader.found_bytes += commit.bytes();
  reader.found.push_back(std::move(commit));
}

bool ChangeReaders::full(const Reader& reader) {
  return reader.found.size() >= reader.request.count || reader.found_bytes >= kChangesReplyBytes;
}

void ChangeReaders::go_on(SessionId id, Reader& reader, Found found) {
  switch (found) {
    case Found::reply:
      return finish(id);
    case Found::all:
      reader.state = State::waiting;
      return waiting_.push_back(id);
    case Found::more:
      reader.state = State::ready;
      return ready_.push_back(id);
    case Found::behind_window:
      reader.state = State::disk;
      disk_.push_back(id);
      return start_scan();
  }
}

void ChangeReaders::serve_readers() {
  if (seen_ != stream_.version()) {
    seen_ = stream_.version();
    for (const SessionId id : waiting_) {
      readers_.at(id).state = State::ready;
      ready_.push_back(id);
    }
    waiting_.clear();
  }
  size_t budget = kTurnBytes;
  for (size_t left = ready_.size(); left > 0 && !ready_.empty() && budget > 0; --left) {
    const SessionId id = ready_.front();
    ready_.pop_front();
    Reader& reader = readers_.at(id);
    go_on(id, reader, look(reader, *server_.find_session(id), budget));
  }
  if (!ready_.empty()) server_.host().loop.post([] {});
}

// --- replies -----------------------------------------------------------------------------------

void ChangeReaders::finish(SessionId id) { server_.find_session(id)->unblock(); }

// The wait is over, whatever was found.
void ChangeReaders::reply(Session& session) {
  Reader reader = std::move(readers_.at(session.id));
  drop(session.id);
  write(session, reader);
  if (!reader.error.empty()) server_.note_error(session.reply().last_error_code());
}

void ChangeReaders::write(Session& session, const Reader& reader) {
  wire::ReplyWriter& out = session.reply();
  if (!reader.error.empty()) {
    positions_.erase(session.id);
    return out.error(reader.error);
  }
  positions_[session.id] = reader.at;
  if (reader.at.life == stream_.last().life)
    session.hold(server_.gate().ticket(reader.at.seq), session.out().end_offset());
  out.array(2);
  out.bulk(reader.at.text());
  out.array(reader.found.size());
  for (const persist::ChangeCommit& commit : reader.found) {
    out.array(reader.request.effects ? 3 : 2);
    out.bulk(commit.position.text());
    out.array(commit.changes.size());
    for (const persist::ChangedKey& change : commit.changes) {
      out.array(3);
      out.integer(change.database);
      out.bulk(change.event);
      change.key ? out.bulk(*change.key) : out.null();
    }
    if (!reader.request.effects) continue;
    out.array(commit.effects.size());
    for (const persist::ChangeEffect& effect : commit.effects) {
      out.array(2);
      out.integer(effect.database);
      out.array(effect.args.size());
      for (const std::string& arg : effect.args) out.bulk(arg);
    }
  }
}

std::string ChangeReaders::trimmed(const ChangePosition& position) {
  ++trimmed_;
  return fmt::format("TRIMMED the changes behind {} are not held; the oldest position is {}",
                     position.text(), stream_.oldest().text());
}

void ChangeReaders::forget(const Session& session) {
  drop(session.id);
  positions_.erase(session.id);
}

void ChangeReaders::drop(SessionId id) {
  auto at = readers_.find(id);
  if (at == readers_.end()) return;
  const State state = at->second.state;
  if (state == State::ready) std::erase(ready_, id);
  if (state == State::waiting) std::erase(waiting_, id);
  if (state == State::disk) std::erase(disk_, id);
  readers_.erase(at);
}

ChangeReaders::Info ChangeReaders::info() const {
  Info info{.readers = positions_.size(), .blocked = readers_.size(), .trimmed = trimmed_};
  for (const auto& [id, reader] : readers_) info.on_disk += reader.state == State::disk;
  for (const auto& [id, position] : positions_)
    info.lag = std::max(info.lag, stream_.lag(position));
  return info;
}

// --- the log -----------------------------------------------------------------------------------

// null: he was replied to meanwhile.
ChangeReaders::Reader* ChangeReaders::reader_of_scan() {
  auto at = readers_.find(scan_->session);
  return at != readers_.end() && at->second.serial == scan_->serial ? &at->second : nullptr;
}

void ChangeReaders::start_scan() {
  if (scan_ || disk_.empty()) return;
  const SessionId id = disk_.front();
  disk_.pop_front();
  const Reader& reader = readers_.at(id);
  scan_ = std::make_unique<Scan>();
  scan_->session = id;
  scan_->serial = reader.serial;
  const ChangeIndex::Place* place = stream_.place(reader.at);
  if (!place) return fail_scan(trimmed(reader.at));
  open_increment(place->increment, place->offset, place->database);
}

void ChangeReaders::open_increment(int64_t increment, uint64_t offset, store::DbIndex database) {
  const persist::AofDirectory& files = *server_.persistence().log_files();
  const auto& listed = files.manifest().increments();
  auto file = std::ranges::find(listed, increment, &persist::AofFile::seq);
  if (file == listed.end()) return rest();  // a repair is about to list it
  scan_->increment = increment;
  scan_->offset = offset;
  persist::AofReaderOptions options;
  options.base_offset = offset;
  options.database = database;
  options.bulk_bytes_max =
      std::max(persist::kAofBulkBytesMax, server_.settings().proto_max_bulk_len);
  scan_->commits = persist::ChangeReader(std::move(options));
  server_.persistence().storage().disk.open(
      files.path(file->name), host::OpenMode::read, [this](base::Result<host::FileId> opened) {
        if (!opened) return fail_scan("ERR cannot read the log: " + opened.error());
        scan_->file = opened.value();
        read_piece();
      });
}

void ChangeReaders::read_piece() {
  server_.persistence().storage().disk.read(
      scan_->file, scan_->offset, kPieceBytes,
      [this](base::Result<std::string> bytes) { piece_read(std::move(bytes), kPieceBytes); });
}

void ChangeReaders::piece_read(base::Result<std::string> bytes, size_t asked) {
  Reader* reader = reader_of_scan();
  if (!reader) return end_scan(Found::reply);
  if (!bytes) return fail_scan("ERR cannot read the log: " + bytes.error());
  const bool at_end = bytes.value().size() < asked;
  scan_->offset += bytes.value().size();
  scan_->commits.feed(std::move(bytes.value()));
  const Session& session = *server_.find_session(scan_->session);
  persist::ChangeCommit commit;
  while (scan_->commits.next(reader->at, commit)) {
    take(*reader, session, std::move(commit));
    if (full(*reader)) return end_scan(Found::reply);
  }
  if (scan_->commits.damaged()) return fail_scan("ERR the log is damaged");
  if (stream_.in_window(reader->at))
    return end_scan(reader->found.empty() ? Found::more : Found::reply);
  if (at_end) return next_increment();
  if (++scan_->pieces < kScanPieces) return read_piece();
  end_scan(reader->found.empty() ? Found::behind_window : Found::reply);
}

// The file is read to its end.
void ChangeReaders::next_increment() {
  Reader& reader = *reader_of_scan();
  reader.at = stream_.resolved(reader.at);
  const persist::AofDirectory* files = server_.persistence().log_files();
  if (files && !stream_.in_window(reader.at)) {
    for (const persist::AofFile& file : files->manifest().increments()) {
      if (file.seq <= scan_->increment) continue;
      server_.persistence().storage().disk.close(std::exchange(scan_->file, 0));
      return open_increment(file.seq, 0, 0);
    }
  }
  if (!reader.found.empty()) return end_scan(Found::reply);
  if (!files || stream_.in_window(reader.at)) return end_scan(Found::more);
  rest();
}

// What comes next left the window already, and is on its way to the file.
void ChangeReaders::rest() {
  Reader& reader = *reader_of_scan();
  reader.state = State::resting;
  server_.host().loop.after(kRest, [this, id = scan_->session, serial = scan_->serial] {
    auto at = readers_.find(id);
    if (at != readers_.end() && at->second.serial == serial) go_on(id, at->second, Found::more);
  });
  end_scan(Found::all);
}

void ChangeReaders::fail_scan(std::string error) {
  if (Reader* reader = reader_of_scan()) reader->error = std::move(error);
  end_scan(Found::reply);
}

// Hands the disk to the next reader.
void ChangeReaders::end_scan(Found found) {
  Reader* reader = reader_of_scan();
  const SessionId id = scan_->session;
  if (scan_->file != 0) server_.persistence().storage().disk.close(scan_->file);
  scan_.reset();
  server_.refresh_clock();
  if (reader && reader->state != State::resting) go_on(id, *reader, found);
  start_scan();
}

}  // namespace quoll::server
