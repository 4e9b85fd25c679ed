// Reads redis.conf text into Settings: one directive per line, comments, quotes, `include`, and the
// lines that exist only in files: `user`, `rename-command`.
//
// The first error ends the reading. Its text is the block that is printed before the server gives
// up; the directives before it have been applied.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/directive.h"
#include "server/file_access.h"

namespace quoll::server {

// Questions only other parts of the server can answer; an empty function is not asked.
struct LoadChecks {
  std::function<bool(Bytes name)> command_exists;
  std::function<Result<>(const UserLine&)> user;
};

class ConfigReader {
 public:
  // `product` names the server in error texts, e.g. "Quoll 0.1.0".
  ConfigReader(Settings& settings, const FileAccess& files, const LoadChecks& checks,
               Bytes product);

  // Lines are counted from `line_base` + 1 in error texts.
  Result<> read(Bytes text, const std::string& source, size_t line_base = 0);
  Result<> read_file(const std::string& path);

  // What holds between directives, asked once after everything is read.
  Result<> check_whole() const;

  // Obsolete lines that were skipped.
  std::vector<std::string> warnings() const { return warnings_; }

 private:
  Result<> apply(std::vector<std::string>& words, const std::string& where);
  Result<> apply_directive(const Directive& row, std::vector<std::string>& words);
  Result<> include(const std::string& pattern);
  Result<> rename_command(const std::vector<std::string>& words, const std::string& where);
  Result<> add_user(const std::vector<std::string>& words);
  bool command_exists(Bytes name) const;

  Settings& settings_;
  const FileAccess& files_;
  const LoadChecks& checks_;
  std::string product_;
  std::vector<std::string> warnings_;
  bool save_seen_ = false;
  bool failed_inside_ = false;  // the error text is complete: it comes from an included file
  int include_depth_ = 0;
};

}  // namespace quoll::server
