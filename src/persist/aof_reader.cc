#include "persist/aof_reader.h"

#include <utility>

#include "base/check.h"
#include "base/numbers.h"
#include "base/text.h"
#include "persist/change_notes.h"

namespace quoll::persist {
namespace {

enum class Number { whole, starved, wrong };

// Marker, canonical digits and CR LF. `pos` moves behind a whole number, or onto the wrong byte.
Number read_number(base::Bytes bytes, size_t& pos, char marker, int64_t value_max, int64_t& value) {
  size_t at = pos;
  auto wrong = [&] {
    pos = at;
    return Number::wrong;
  };
  if (at == bytes.size()) return Number::starved;
  if (bytes[at] != marker) return wrong();
  const size_t first_digit = ++at;
  int64_t read = 0;
  for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9'; ++at) {
    if (read == 0 && at > first_digit) return wrong();  // a leading zero
    const int digit = bytes[at] - '0';
    if (read > (value_max - digit) / 10) return wrong();
    read = read * 10 + digit;
  }
  if (at == bytes.size()) return Number::starved;
  if (bytes[at] != '\r' || at == first_digit) return wrong();
  if (++at == bytes.size()) return Number::starved;
  if (bytes[at] != '\n') return wrong();
  value = read;
  pos = at + 1;
  return Number::whole;
}

// Whether the bytes are whole commands, one at least, up to their end or to a torn one.
bool is_chain(base::Bytes bytes, int64_t bulk_bytes_max) {
  size_t pos = 0;
  for (size_t commands = 0; pos < bytes.size(); ++commands) {
    if (bytes[pos] == '#') {
      const size_t end = bytes.find('\n', pos);
      if (end == base::Bytes::npos) return commands > 0;
      pos = end + 1;
      continue;
    }
    int64_t args = 0;
    Number got = read_number(bytes, pos, '*', kAofArgsMax, args);
    if (got != Number::whole || args == 0) return got == Number::starved && commands > 0;
    for (; args > 0; --args) {
      int64_t size = 0;
      got = read_number(bytes, pos, '$', bulk_bytes_max, size);
      if (got != Number::whole) return got == Number::starved && commands > 0;
      const size_t end = pos + static_cast<size_t>(size);
      if (end + 2 > bytes.size()) return commands > 0;
      if (bytes[end] != '\r' || bytes[end + 1] != '\n') return false;
      pos = end + 2;
    }
  }
  return true;
}

}  // namespace

std::string AofEnd::message(const std::string& file_name) const {
  switch (kind) {
    case Kind::clean:
      return "";
    case Kind::torn:
      return "Unexpected end of file reading the append only file " + file_name +
             ". You can: 1) Make a backup of your AOF file, then use ./redis-check-aof --fix "
             "<filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' "
             "configuration option to yes and restart the server.";
    case Kind::damaged:
      if (!unknown_command.empty()) {
        return "Unknown command '" + unknown_command + "' reading the append only file " +
               file_name;
      }
      return "Bad file format reading the append only file " + file_name +
             ": make a backup of your AOF file, then use ./redis-check-aof --fix "
             "<filename.manifest>";
  }
  return "";
}

AofReader::AofReader(AofReaderOptions options)
    : options_(std::move(options)),
      commit_at_(options_.base_offset),
      database_(options_.database),
      valid_database_(options_.database),
      valid_bytes_(options_.base_offset) {}

void AofReader::feed(std::string bytes) {
  QUOLL_CHECK(!block_ready_);
  if (start_ == window_.size()) {
    window_ = std::move(bytes);
  } else {
    window_.erase(0, start_);
    window_.append(bytes);
  }
  start_ = 0;
}

AofReader::Step AofReader::next(AofCommand& command) {
  if (end_.kind == AofEnd::Kind::damaged) return Step::damaged;
  for (;;) {
    if (block_ready_ && handed_out_ < held_.size()) {
      hand_out(command);
      return Step::command;
    }
    if (block_ready_ || (!in_block_ && args_left_ < 0)) {  // nothing before pos_ is needed
      held_.clear();
      spans_.clear();
      handed_out_ = 0;
      start_ += pos_;
      consumed_ += pos_;
      pos_ = 0;
      if (std::exchange(block_ready_, false)) {
        change_notes_.clear();
        commit_at_ = file_offset(0);
      }
    }
    const Progress progress = read_item();
    const bool all_read = progress == Progress::starved && pos_ == 0 && start_ == window_.size();
    if (all_read && window_.capacity() > kAofWindowKeptMax) {
      window_ = {};
      start_ = 0;
    }
    if (progress == Progress::starved) return Step::starved;
    if (progress == Progress::damaged) return Step::damaged;
  }
}

size_t AofReader::take_first_words(base::Bytes& rest, std::span<base::Bytes> words) {
  size_t pos = 0;
  int64_t args = 0;
  if (read_number(rest, pos, '*', kAofArgsMax, args) != Number::whole) return 0;
  size_t count = 0;
  for (; args > 0; --args) {
    int64_t size = 0;
    if (read_number(rest, pos, '$', kAofBulkBytesMax, size) != Number::whole) return 0;
    const size_t end = pos + static_cast<size_t>(size);
    if (end + 2 > rest.size()) return 0;
    if (count < words.size()) words[count++] = rest.substr(pos, end - pos);
    pos = end + 2;
  }
  rest.remove_prefix(pos);
  return count;
}

void AofReader::hand_out(AofCommand& command) {
  const Held& held = held_[handed_out_++];
  args_.clear();
  for (size_t i = 0; i < held.spans; ++i) args_.push_back(arg(held.first_span + i));
  command.database = held.database;
  command.args = args_;
  command.offset = file_offset(held.at);
  command.change_notes = change_notes_;
  command.commit_offset = commit_at_;
  command.in_block = held.at != 0;  // behind its MULTI; a single command begins the window
  command.last_of_block = command.in_block && handed_out_ == held_.size();
}

// One annotation or command, as far as its bytes have come.
AofReader::Progress AofReader::read_item() {
  const base::Bytes bytes = base::Bytes(window_).substr(start_);
  if (args_left_ >= 0) return read_command();
  if (pos_ == bytes.size()) return Progress::starved;
  if (bytes[pos_] == '#') return read_annotation();
  command_at_ = pos_;
  size_t at = pos_;
  int64_t args = 0;
  const Number got = read_number(bytes, at, '*', kAofArgsMax, args);
  if (got == Number::starved) return Progress::starved;
  if (got == Number::wrong || args == 0) {
    damage(at, got == Number::wrong ? "'*' and a number of arguments expected"
                                    : "a command without arguments");
    return Progress::damaged;
  }
  pos_ = at;
  args_left_ = args;
  bulk_size_ = -1;
  command_span_ = spans_.size();
  return read_command();
}

AofReader::Progress AofReader::read_annotation() {
  const base::Bytes line = base::Bytes(window_).substr(start_ + pos_, kAofAnnotationMax);
  const size_t end = line.find('\n');
  if (end == base::Bytes::npos) {
    if (line.size() < kAofAnnotationMax) return Progress::starved;
    damage(pos_, "an annotation longer than Redis reads");
    return Progress::damaged;
  }
  if (line.starts_with(kChangeNote)) change_notes_.append(line.substr(0, end + 1));
  int64_t seconds = 0;
  if (line.starts_with("#TS:") &&
      base::parse_int(base::trimmed(line.substr(4, end - 4)), seconds)) {
    timestamp_ = seconds;
    timestamp_offset_ = file_offset(pos_);
    if (seconds > options_.until && !until_offset_)
      until_offset_ = in_block_ ? valid_bytes_ : timestamp_offset_;
  }
  pos_ += end + 1;
  return Progress::whole;
}

AofReader::Progress AofReader::read_command() {
  const base::Bytes bytes = base::Bytes(window_).substr(start_);
  while (args_left_ > 0) {
    if (bulk_size_ < 0) {
      size_t at = pos_;
      int64_t size = 0;
      const Number got = read_number(bytes, at, '$', options_.bulk_bytes_max, size);
      if (got == Number::starved) return Progress::starved;
      if (got == Number::wrong) {
        damage(at, "'$' and the length of an argument expected");
        return Progress::damaged;
      }
      pos_ = at;
      bulk_size_ = size;
    }
    const auto size = static_cast<size_t>(bulk_size_);
    const size_t left = bytes.size() - pos_;
    // A wrong byte behind an argument shows as soon as it is there.
    if ((left > size && bytes[pos_ + size] != '\r') ||
        (left > size + 1 && bytes[pos_ + size + 1] != '\n')) {
      damage(pos_ + size, "a line end expected behind the argument");
      return Progress::damaged;
    }
    if (left < size + 2) return Progress::starved;
    spans_.push_back({pos_, size});
    pos_ += size + 2;
    bulk_size_ = -1;
    --args_left_;
  }
  args_left_ = -1;
  return take_command() ? Progress::whole : Progress::damaged;
}

// What the command means to the structure of the file. False: damage.
bool AofReader::take_command() {
  const size_t count = spans_.size() - command_span_;
  const base::Bytes name = arg(command_span_);
  lines_ += 1 + 2 * count;
  auto drop = [&] { spans_.resize(command_span_); };
  if (count == 1 && base::equals_ignoring_case(name, "multi")) {
    if (in_block_) return damage(command_at_, "MULTI inside MULTI");
    in_block_ = true;
    drop();
    return true;
  }
  if (count == 1 && base::equals_ignoring_case(name, "exec")) {
    if (!in_block_) return damage(command_at_, "EXEC without MULTI");
    in_block_ = false;
    block_ready_ = true;
    drop();
    settle();
    return true;
  }
  if (base::equals_ignoring_case(name, "select")) {
    if (count != 2 || !select()) return damage(command_at_, "a SELECT without a database");
    drop();
    if (!in_block_) settle();
    return true;
  }
  if (options_.known) {
    args_.clear();
    for (size_t i = command_span_; i < spans_.size(); ++i) args_.push_back(arg(i));
    if (!options_.known(args_)) {
      end_.unknown_command = std::string(name);
      return damage(command_at_, "an unknown command");
    }
  }
  held_.push_back({command_span_, count, command_at_, database_});
  if (in_block_) return true;
  block_ready_ = true;
  settle();
  return true;
}

bool AofReader::select() {
  int64_t database = 0;
  if (!base::parse_int(arg(command_span_ + 1), database)) return false;
  if (database < 0 || database > INT32_MAX) return false;
  database_ = static_cast<store::DbIndex>(database);
  return true;
}

bool AofReader::damage(size_t at, std::string reason) {
  end_.kind = AofEnd::Kind::damaged;
  end_.offset = file_offset(at);
  end_.reason = std::move(reason);
  return false;
}

AofEnd AofReader::finish() {
  const size_t left = window_.size() - start_;
  if (end_.kind != AofEnd::Kind::damaged) {
    const bool inside_command = args_left_ >= 0 || pos_ < left;
    if (inside_command) find_commands_behind();
    if (end_.kind != AofEnd::Kind::damaged) {
      end_.kind = inside_command || in_block_ ? AofEnd::Kind::torn : AofEnd::Kind::clean;
      end_.offset = file_offset(left);
      end_.open_block = in_block_;
      if (end_.kind == AofEnd::Kind::clean) valid_bytes_ = end_.offset;
    }
  }
  end_.valid_bytes = valid_bytes_;
  return end_;
}

// The bytes end inside an argument. A write cut short leaves nothing but the beginning of the
// argument; whole commands inside it mean that its length is wrong.
void AofReader::find_commands_behind() {
  if (bulk_size_ < 0) return;
  const base::Bytes rest = base::Bytes(window_).substr(start_ + pos_);
  size_t at = 0;
  for (size_t tries = 0; tries < kAofResyncTriesMax; ++tries) {
    at = rest.find("\r\n*", at);
    if (at == base::Bytes::npos) return;
    at += 2;
    if (!is_chain(rest.substr(at), options_.bulk_bytes_max)) continue;
    damage(pos_, "the argument reaches beyond the end, but whole commands follow at offset " +
                     std::to_string(file_offset(pos_ + at)));
    return;
  }
}

}  // namespace quoll::persist
