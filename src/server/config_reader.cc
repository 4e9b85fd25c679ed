#include "server/config_reader.h"

#include <algorithm>

#include "base/text.h"

namespace quoll::server {

namespace {

using base::Error;

constexpr int kIncludeDepthMax = 16;  // files; stops a file that includes itself

// Gone from Redis, still in old files: accepted with one value and ignored.
constexpr Bytes kObsolete[] = {"list-max-ziplist-entries", "list-max-ziplist-value",
                               "lua-replicate-commands"};

bool is_glob(Bytes path) { return path.find_first_of("*?[") != Bytes::npos; }

// Multi-argument directives may hold all their words in one pair of quotes.
std::vector<std::string> split_at_blanks(Bytes text) {
  std::vector<std::string> words;
  for (;;) {
    const size_t blank = text.find(' ');
    words.emplace_back(text.substr(0, blank));
    if (blank == Bytes::npos) return words;
    text.remove_prefix(blank + 1);
  }
}

}  // namespace

ConfigReader::ConfigReader(Settings& settings, const FileAccess& files, const LoadChecks& checks,
                           Bytes product)
    : settings_(settings), files_(files), checks_(checks), product_(product) {}

Result<> ConfigReader::read(Bytes text, const std::string& source, size_t line_base) {
  for (size_t number = line_base + 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const Bytes line = base::trimmed(text.substr(0, end));
    text.remove_prefix(end == Bytes::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;

    std::vector<std::string> words;
    const std::string where = source + " line " + std::to_string(number);
    Result<> applied = Error{"Unbalanced quotes in configuration line"};
    if (base::split_args(line, words)) applied = apply(words, where);
    if (applied) continue;
    if (failed_inside_) return applied;
    failed_inside_ = true;
    return Error{"\n*** FATAL CONFIG FILE ERROR (" + product_ +
                 ") ***\nReading the configuration file, at line " + std::to_string(number) +
                 "\n>>> '" + std::string(line) + "'\n" + applied.error() + "\n(" + where + ")\n"};
  }
  return {};
}

Result<> ConfigReader::read_file(const std::string& path) {
  auto content = files_.read(path);
  if (!content) {
    failed_inside_ = true;
    return Error{"Fatal error, can't open config file '" + path + "': " + content.error()};
  }
  return read(content.value(), path);
}

Result<> ConfigReader::check_whole() const {
  if (settings_.cluster_enabled && !settings_.replicaof.host.empty()) {
    return Error{"\n*** FATAL CONFIG FILE ERROR (" + product_ +
                 ") ***\nreplicaof directive not allowed in cluster mode\n"};
  }
  return {};
}

Result<> ConfigReader::apply(std::vector<std::string>& words, const std::string& where) {
  if (words.empty()) return {};
  base::lower_in_place(words[0].data(), words[0].size());
  const std::string& name = words[0];
  if (const Directive* row = find_directive(name)) return apply_directive(*row, words);
  if (name == "include" && words.size() == 2) return include(words[1]);
  if (name == "rename-command" && words.size() == 3) return rename_command(words, where);
  if (name == "user" && words.size() >= 2) return add_user(words);
  if (name == "loadmodule" && words.size() >= 2) {
    return Error{"modules are not supported: " + words[1] + " cannot be loaded"};
  }
  if (name == "sentinel") return Error{"sentinel directive while not in sentinel mode"};
  if (words.size() == 2 && std::ranges::find(kObsolete, name) != std::end(kObsolete)) {
    warnings_.push_back("'" + name + "' is obsolete and was ignored (" + where + ")");
    return {};
  }
  return Error{"Bad directive or wrong number of arguments"};
}

Result<> ConfigReader::apply_directive(const Directive& row, std::vector<std::string>& words) {
  words.erase(words.begin());
  const bool multi = (row.flags & kMultiArgument) != 0;
  if (multi && words.size() == 1 && !words[0].empty()) words = split_at_blanks(words[0]);
  // No save points; or the directive has words of its own for what is missing.
  const bool may_be_bare = row.name == "save" || row.name.starts_with("shutdown-on-");
  if (multi && words.empty() && !may_be_bare) return Error{"wrong number of arguments"};
  Source source = Source::file_first;
  if (row.name == "save") {
    if (save_seen_) source = Source::file_again;
    save_seen_ = true;
  }
  if (row.name == "dir" && words.size() == 1) {
    auto entered = files_.enter(words[0]);
    if (!entered) return Error{entered.error()};
    words[0] = entered.value();
  }
  return write_value(row, settings_, words, source);
}

Result<> ConfigReader::include(const std::string& pattern) {
  if (include_depth_ == kIncludeDepthMax) return Error{"Too many nested includes"};
  ++include_depth_;
  Result<> done;
  if (is_glob(pattern)) {
    for (const std::string& path : files_.expand(pattern)) {
      if (done) done = read_file(path);
    }
  } else {
    done = read_file(pattern);
  }
  --include_depth_;
  return done;
}

Result<> ConfigReader::rename_command(const std::vector<std::string>& words,
                                      const std::string& where) {
  if (!command_exists(words[1])) return Error{"No such command in rename-command"};
  if (!words[2].empty() && checks_.command_exists && command_exists(words[2])) {
    return Error{"Target command name already exists"};
  }
  settings_.renamed_commands.push_back({.from = words[1], .to = words[2], .where = where});
  return {};
}

// Renames act one after the other, so the latest one that names `name` decides.
bool ConfigReader::command_exists(Bytes name) const {
  const auto& renames = settings_.renamed_commands;
  for (auto rename = renames.rbegin(); rename != renames.rend(); ++rename) {
    if (base::equals_ignoring_case(rename->to, name)) return true;
    if (base::equals_ignoring_case(rename->from, name)) return false;
  }
  return !checks_.command_exists || checks_.command_exists(name);
}

Result<> ConfigReader::add_user(const std::vector<std::string>& words) {
  UserLine user{.name = words[1], .rules = {words.begin() + 2, words.end()}};
  const std::string declaration = "Error in user declaration '" + user.name + "': ";
  for (const UserLine& known : settings_.users) {
    if (known.name == user.name) {
      return Error{declaration +
                   "Duplicate user found. A user can only be defined once in config files"};
    }
  }
  if (checks_.user) {
    if (auto checked = checks_.user(user); !checked) return Error{declaration + checked.error()};
  }
  settings_.users.push_back(std::move(user));
  return {};
}

}  // namespace quoll::server
