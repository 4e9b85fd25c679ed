#include "server/config.h"

#include <algorithm>
#include <filesystem>

#include "base/check.h"
#include "base/glob.h"
#include "base/text.h"
#include "server/config_rewrite.h"

namespace quoll::server {

namespace {

using base::Error;

Error set_failed(Bytes name, const std::string& reason) {
  return Error{"ERR CONFIG SET failed (possibly related to argument '" + std::string(name) +
               "') - " + reason};
}

std::vector<std::string> words_of(const Directive& row, Bytes value) {
  if ((row.flags & kMultiArgument) == 0) return {std::string(value)};
  std::vector<std::string> words;
  while (!value.empty()) {
    const size_t blank = value.find(' ');
    words.emplace_back(value.substr(0, blank));
    if (blank == Bytes::npos) break;
    value.remove_prefix(blank + 1);
    if (value.empty()) words.emplace_back();
  }
  return words;
}

}  // namespace

Config::Config(FileAccess files, std::string working_directory) : files_(std::move(files)) {
  dir = std::move(working_directory);
}

Result<> Config::load(const CommandLine& line, Bytes product, const LoadChecks& checks) {
  ConfigReader reader(*this, files_, checks, product);
  size_t lines_before = 0;
  if (!line.config_file.empty()) {
    file_path_ = (std::filesystem::path(dir) / line.config_file).lexically_normal().string();
    auto content = files_.read(file_path_);
    if (!content) {
      return Error{"Fatal error, can't open config file '" + file_path_ + "': " + content.error()};
    }
    lines_before += static_cast<size_t>(std::ranges::count(content.value(), '\n'));
    if (auto read = reader.read(content.value(), file_path_); !read) return read;
  }
  if (line.reads_stdin) {
    auto content = files_.read_stdin();
    if (!content) return Error{"Fatal error, can't read standard input: " + content.error()};
    lines_before += static_cast<size_t>(std::ranges::count(content.value(), '\n'));
    if (auto read = reader.read(content.value(), "standard input"); !read) return read;
  }
  // Redis reads the options as lines after the file and an empty line, and counts them so.
  if (auto read = reader.read(line.options, "command line", lines_before + 1); !read) return read;
  if (auto whole = reader.check_whole(); !whole) return whole;
  warnings_ = reader.warnings();
  collect_warnings();
  return {};
}

void Config::collect_warnings() {
  const Settings initial;
  for (const Directive* row : directives()) {
    if (row->no_effect.empty() || read_value(*row, *this) == read_value(*row, initial)) continue;
    warnings_.push_back("'" + std::string(row->name) +
                        "' is accepted but has no effect: " + std::string(row->no_effect));
  }
}

std::vector<ConfigEntry> Config::get(std::span<const Bytes> patterns) const {
  std::vector<ConfigEntry> entries;
  std::vector<Bytes> taken;
  const auto add = [&](Bytes name, Bytes shown_as, const Directive& row) {
    if (std::ranges::find(taken, name) != taken.end()) return;
    taken.push_back(name);
    entries.push_back({.name = std::string(shown_as), .value = read_value(row, *this)});
  };
  for (Bytes pattern : patterns) {
    const bool exact = pattern.find_first_of("[*?") == Bytes::npos;
    for (const NamedDirective& named : directive_names()) {
      if (exact) {
        if (base::equals_ignoring_case(pattern, named.name)) {
          add(named.name, pattern, *named.directive);
        }
      } else if (named.listed && base::glob_match(pattern, named.name, base::Case::ignored)) {
        add(named.name, named.name, *named.directive);
      }
    }
  }
  std::ranges::sort(entries, {}, &ConfigEntry::name);
  return entries;
}

Result<> Config::set(std::span<const Bytes> pairs, const SetContext& context) {
  if (pairs.size() % 2 != 0) return Error{"ERR syntax error"};
  std::vector<Change> changes;
  if (auto admitted = admit(pairs, context, changes); !admitted) return admitted;

  const Settings old = *this;
  Settings next = *this;
  auto done = write_all(changes, next);
  const bool moved = next.dir != old.dir;
  if (done) {
    static_cast<Settings&>(*this) = std::move(next);
    done = run_hooks(changes, old);
  }
  if (!done && moved) {
    // The old directory existed a moment ago; if it is gone there is nothing better to do.
    (void)files_.enter(old.dir);
  }
  return done;
}

Result<> Config::admit(std::span<const Bytes> pairs, const SetContext& context,
                       std::vector<Change>& changes) const {
  for (size_t i = 0; i < pairs.size(); i += 2) {
    const Bytes name = pairs[i];
    const Directive* row = find_directive(name);
    if (row == nullptr) {
      return Error{"ERR Unknown option or number of arguments for CONFIG SET - '" +
                   std::string(name) + "'"};
    }
    // Tools set every parameter that is listed and that Redis would let them set.
    if ((row->flags & kOwn) != 0 && read_value(*row, *this) == pairs[i + 1]) continue;
    if ((row->flags & kImmutable) != 0) return set_failed(name, "can't set immutable config");
    if ((row->flags & kProtected) != 0 && !allows_protected(context)) {
      return set_failed(name, "can't set protected config");
    }
    if ((row->flags & kDenyLoading) != 0 && context.loading) {
      return Error{"LOADING Redis is loading the dataset in memory"};
    }
    for (const Change& earlier : changes) {
      if (base::equals_ignoring_case(earlier.name, name)) {
        return set_failed(name, "duplicate parameter");
      }
    }
    changes.push_back({.name = name, .directive = row, .value = pairs[i + 1]});
  }
  return {};
}

bool Config::allows_protected(const SetContext& context) const {
  return enable_protected_configs == Permission::yes ||
         (enable_protected_configs == Permission::local && context.local_client);
}

Result<> Config::write_all(const std::vector<Change>& changes, Settings& next) {
  for (const Change& change : changes) {
    const Directive& row = *change.directive;
    auto written = write_value(row, next, words_of(row, change.value), Source::command);
    if (written && row.name == "dir") {
      auto entered = files_.enter(next.dir);
      if (entered) {
        next.dir = entered.value();
      } else {
        next.dir = dir;
        written = Error{entered.error()};
      }
    }
    if (!written) return set_failed(change.name, written.error());
  }
  return {};
}

Result<> Config::run_hooks(const std::vector<Change>& changes, const Settings& old) {
  std::vector<const Hook*> told;
  for (const Change& change : changes) {
    const Directive* row = change.directive;
    if (read_value(*row, old) == read_value(*row, *this)) continue;
    for (const Hook& hook : hooks_) {
      if (std::ranges::find(hook.directives, row) == hook.directives.end()) continue;
      if (std::ranges::find(told, &hook) != told.end()) continue;
      told.push_back(&hook);
      auto applied = hook.apply();
      if (applied) continue;
      static_cast<Settings&>(*this) = old;
      // Best effort: the old values held before, so a refusal now has no better answer.
      for (const Hook* undo : told) (void)undo->apply();
      return set_failed(change.name, applied.error());
    }
  }
  return {};
}

Result<std::string> Config::read_secret(const std::string& path) const {
  if (!files_.read_secret) return Error{"Can't read " + path};
  auto content = files_.read_secret(path);
  if (!content) return Error{"Can't read " + path + ": " + content.error()};
  return content;
}

void Config::on_change(std::initializer_list<Bytes> names, std::function<Result<>()> apply) {
  Hook hook;
  for (Bytes name : names) {
    const Directive* row = find_directive(name);
    QUOLL_CHECK(row != nullptr);
    hook.directives.push_back(row);
  }
  hook.apply = std::move(apply);
  hooks_.push_back(std::move(hook));
}

Result<std::string> Config::rewritten(Bytes old_content, const std::vector<std::string>* user_lines,
                                      bool force_all) const {
  if (file_path_.empty()) return Error{"ERR The server is running without a config file"};
  return rewrite_config(old_content, *this, user_lines, force_all);
}

bool Config::is_sensitive(Bytes name) {
  const Directive* row = find_directive(name);
  return row != nullptr && (row->flags & kSensitive) != 0;
}

}  // namespace quoll::server
