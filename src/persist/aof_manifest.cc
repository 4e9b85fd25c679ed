#include "persist/aof_manifest.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace quoll::persist {
namespace {

constexpr const char* kBadFormat = "Invalid AOF manifest file format";

// As C's atoll reads it: blanks, sign, digits; the rest is ignored. Out of range: the nearest
// bound.
int64_t leading_integer(base::Bytes text) {
  size_t at = 0;
  while (at < text.size() && base::is_blank(text[at])) ++at;
  const bool negative = at < text.size() && text[at] == '-';
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  int64_t value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, text[at] - '0', &value)) {
      return negative ? INT64_MIN : INT64_MAX;
    }
  }
  return negative ? -value : value;
}

bool is_plain_name(const std::string& name) {
  return name != "." && name != ".." && name.find_first_of("/\\") == std::string::npos;
}

// Whether the name must stand in quotes to be read back as one word.
bool needs_quotes(base::Bytes name) {
  return std::any_of(name.begin(), name.end(),
                     [](char c) { return c <= ' ' || c >= 0x7f || c == '"' || c == '\\'; });
}

void append_line(std::string& text, const AofFile& file) {
  text += "file ";
  text += needs_quotes(file.name) ? base::quoted(file.name) : file.name;
  text += " seq " + std::to_string(file.seq) + " type ";
  text += static_cast<char>(file.type);
  text += '\n';
}

// Returns why the line is refused, or nullptr. Unknown words are skipped, as Redis does for
// manifests of later versions.
const char* read_line(base::Bytes line, AofFile& file) {
  std::vector<std::string> words;
  if (line.empty() || !base::split_args(line, words)) return kBadFormat;
  if (words.size() < 6 || words.size() % 2 != 0) return kBadFormat;
  char type = 0;
  bool named = false;
  for (size_t i = 0; i < words.size(); i += 2) {
    const std::string& value = words[i + 1];
    if (base::equals_ignoring_case(words[i], "file")) {
      if (!is_plain_name(value)) return "File can't be a path, just a filename";
      file.name = value;
      named = true;
    } else if (base::equals_ignoring_case(words[i], "seq")) {
      file.seq = leading_integer(value);
    } else if (base::equals_ignoring_case(words[i], "type")) {
      type = value.empty() ? '\0' : value[0];
    }
  }
  if (!named || file.name.empty() || file.seq == 0 || type == '\0') return kBadFormat;
  if (file.seq > kAofSeqMax || file.seq < -kAofSeqMax) return kBadFormat;
  if (type != 'b' && type != 'h' && type != 'i') return "Unknown AOF file type";
  file.type = static_cast<AofFileType>(type);
  return nullptr;
}

}  // namespace

std::vector<std::string> AofManifestError::report() const {
  std::vector<std::string> lines = {"*** FATAL AOF MANIFEST FILE ERROR ***"};
  if (line > 0) {
    lines.push_back("Reading the manifest file, at line " + std::to_string(line));
    lines.push_back(">>> '" + text + "'");
  }
  lines.push_back(reason);
  return lines;
}

bool AofManifest::parse(base::Bytes text, AofManifestError& error) {
  AofManifest read(file_name_);
  error = {};
  if (text.empty()) error.reason = "Found an empty AOF manifest";
  for (size_t at = 0, number = 1; at < text.size() && error.reason.empty(); ++number) {
    // Redis reads pieces of at most kManifestLineMax bytes; a longer comment runs over into what
    // it takes for the next line.
    base::Bytes piece = text.substr(at, kManifestLineMax);
    if (const size_t end = piece.find('\n'); end != base::Bytes::npos)
      piece = piece.substr(0, end + 1);
    at += piece.size();
    if (piece[0] == '#') continue;
    if (piece.back() != '\n' || piece.find('\0') != base::Bytes::npos) {
      error.reason = "The AOF manifest file contains too long line";
      return false;
    }
    const base::Bytes line = base::trimmed(piece);
    AofFile file{"", 0, AofFileType::base};
    const char* reason = read_line(line, file);
    if (reason == nullptr && file.type == AofFileType::base && read.has_base()) {
      reason = "Found duplicate base file information";
    }
    if (reason == nullptr && file.type == AofFileType::increment &&
        file.seq <= read.increment_seq_) {
      reason = "Found a non-monotonic sequence number";
    }
    if (reason != nullptr) {
      error = {reason, number, std::string(line)};
    } else if (file.type == AofFileType::base) {
      read.base_seq_ = std::max<int64_t>(file.seq, 0);
      read.base_ = std::move(file);
    } else if (file.type == AofFileType::history) {
      read.history_.push_back(std::move(file));
    } else {
      read.increment_seq_ = file.seq;
      read.increments_.push_back(std::move(file));
    }
  }
  if (!error.reason.empty()) return false;
  *this = std::move(read);
  return true;
}

std::string AofManifest::text() const {
  std::string text;
  if (has_base()) append_line(text, base_);
  for (const AofFile& file : history_) append_line(text, file);
  for (const AofFile& file : increments_) append_line(text, file);
  return text;
}

bool AofManifest::lists(const std::string& name) const {
  auto same = [&](const AofFile& file) { return file.name == name; };
  return base_.name == name || std::any_of(increments_.begin(), increments_.end(), same) ||
         std::any_of(history_.begin(), history_.end(), same);
}

AofFile AofManifest::next_increment(int64_t above) const {
  AofFile file{"", std::max(increment_seq_, above), AofFileType::increment};
  do {
    file.name = file_name_ + "." + std::to_string(++file.seq) + ".incr.aof";
  } while (lists(file.name));
  return file;
}

AofFile AofManifest::next_base(bool rdb) const {
  AofFile file{"", base_seq_, AofFileType::base};
  do {
    file.name = file_name_ + "." + std::to_string(++file.seq) + (rdb ? ".base.rdb" : ".base.aof");
  } while (lists(file.name));
  return file;
}

void AofManifest::add_increment(AofFile increment) {
  QUOLL_CHECK(increments_.empty() || increment.seq > increments_.back().seq);
  increment_seq_ = std::max(increment_seq_, increment.seq);
  increments_.push_back(std::move(increment));
}

void AofManifest::replace_base(AofFile base, int64_t first_kept) {
  auto retire = [this](AofFile file) {
    file.type = AofFileType::history;
    history_.insert(history_.begin(), std::move(file));
  };
  if (has_base()) retire(base_);
  const auto kept = std::find_if(increments_.begin(), increments_.end(),
                                 [&](const AofFile& file) { return file.seq >= first_kept; });
  for (auto it = kept; it != increments_.begin();) retire(*--it);
  increments_.erase(increments_.begin(), kept);
  base_seq_ = base.seq;
  base_ = std::move(base);
}

void AofManifest::forget_history(const std::vector<std::string>& names) {
  std::erase_if(history_, [&](const AofFile& file) {
    return std::find(names.begin(), names.end(), file.name) != names.end();
  });
}

void AofManifest::upgrade() {
  base_ = {file_name_, 1, AofFileType::base};
  base_seq_ = 1;
}

bool AofManifest::wants_upgrade(bool old_file_exists, bool base_exists) const {
  if (!old_file_exists || !increments_.empty()) return false;
  // Listed but not there: an earlier upgrade ended between manifest and move.
  return !has_base() || (base_.name == file_name_ && !base_exists);
}

}  // namespace quoll::persist
