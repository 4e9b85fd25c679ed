// What reading a configuration needs from the file system. Used at start-up, before the loop runs,
// and by CONFIG SET of dir and of files with secrets. Tests give their own functions.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace quoll::server {

struct FileAccess {
  // The whole content; the error is the system's text, e.g. "No such file or directory".
  std::function<base::Result<std::string>(const std::string& path)> read;
  // The same for a file that holds a secret: one that others than its owner may read is refused.
  std::function<base::Result<std::string>(const std::string& path)> read_secret = {};
  std::function<base::Result<std::string>()> read_stdin;
  // The paths that match a glob pattern, sorted; none is no error.
  std::function<std::vector<std::string>(const std::string& pattern)> expand;
  // Makes `path` the working directory and answers its absolute form.
  std::function<base::Result<std::string>(const std::string& path)> enter;

  static FileAccess of_system();
};

}  // namespace quoll::server
