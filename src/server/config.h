// The configuration: Settings (read as plain members) plus loading, CONFIG GET, SET and REWRITE.
//
// Order of precedence: defaults, file, standard input, command line. A CONFIG SET either changes
// everything it names or nothing: values are written to a copy, then the parts of the server that
// registered for them are told, and if one refuses the old values return and the others are told
// again.
//
// Cost: reading a member is a load; set() copies Settings (a few KB) and compares texts.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "server/command_line.h"
#include "server/config_reader.h"
#include "server/directive.h"
#include "server/file_access.h"
#include "server/settings.h"

namespace quoll::server {

struct ConfigEntry {
  std::string name;
  std::string value;
};

// Who asks CONFIG SET, as far as it matters.
struct SetContext {
  bool local_client = false;  // loopback or unix socket: for enable-protected-configs local
  bool loading = false;       // the data set is being loaded
};

class Config : public Settings {
 public:
  // `working_directory` is absolute; it is the initial `dir`.
  Config(FileAccess files, std::string working_directory);

  // Reads everything the command line names. The error text is complete: print it and exit.
  Result<> load(const CommandLine& line, Bytes product, const LoadChecks& checks = {});

  // After load(): one text per directive that is accepted but has no effect here. For the log.
  const std::vector<std::string>& warnings() const { return warnings_; }
  // The absolute path of the file that load() read; empty: none.
  const std::string& file_path() const { return file_path_; }

  // A file with a secret that a directive names. The error names the file.
  Result<std::string> read_secret(const std::string& path) const;
  const FileAccess& files() const { return files_; }

  // Entries whose name matches one of the glob patterns, sorted by name, each once.
  std::vector<ConfigEntry> get(std::span<const Bytes> patterns) const;

  // `pairs` is name, value, name, value... The error is a whole error reply without the '-'.
  Result<> set(std::span<const Bytes> pairs, const SetContext& context);

  // `apply` makes a new value true (rebinds a port, say); it reads the member. It runs once per
  // set() even if several of its directives change. The error is Redis's reason, without "ERR".
  void on_change(std::initializer_list<Bytes> names, std::function<Result<>()> apply);

  // The new content of the configuration file; the caller writes it. The error is a whole error
  // reply without the '-'.
  Result<std::string> rewritten(Bytes old_content, const std::vector<std::string>* user_lines,
                                bool force_all = false) const;

  // True for directives whose value must not reach logs.
  static bool is_sensitive(Bytes name);

 private:
  struct Hook {
    std::vector<const Directive*> directives;
    std::function<Result<>()> apply;
  };
  struct Change {
    Bytes name;  // as given
    const Directive* directive;
    Bytes value;
  };

  Result<> admit(std::span<const Bytes> pairs, const SetContext& context,
                 std::vector<Change>& changes) const;
  Result<> write_all(const std::vector<Change>& changes, Settings& next);
  Result<> run_hooks(const std::vector<Change>& changes, const Settings& old);
  bool allows_protected(const SetContext& context) const;
  void collect_warnings();

  FileAccess files_;
  std::vector<Hook> hooks_;
  std::vector<std::string> warnings_;
  std::string file_path_;
};

}  // namespace quoll::server
