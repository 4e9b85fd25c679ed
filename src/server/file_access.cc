#include "server/file_access.h"

#include <glob.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

namespace quoll::server {

namespace {

using base::Error;
using base::Result;

std::string content_of(std::istream& stream) {
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

Result<std::string> read_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return Error{std::strerror(EISDIR)};
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error{std::strerror(errno != 0 ? errno : EIO)};
  return content_of(file);
}

Result<std::string> read_standard_input() { return content_of(std::cin); }

std::vector<std::string> expand_pattern(const std::string& pattern) {
  std::vector<std::string> paths;
  glob_t found{};
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  globfree(&found);
  return paths;
}

Result<std::string> enter_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::current_path(path, error);
  if (error) return Error{std::strerror(error.value())};
  std::filesystem::path now = std::filesystem::current_path(error);
  return error ? path : now.string();
}

}  // namespace

FileAccess FileAccess::of_system() {
  return {.read = read_file,
          .read_stdin = read_standard_input,
          .expand = expand_pattern,
          .enter = enter_directory};
}

}  // namespace quoll::server
