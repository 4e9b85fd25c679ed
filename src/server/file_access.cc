#include "server/file_access.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

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

constexpr off_t kSecretBytesMax = 64 * 1024;

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

Result<std::string> read_secret_file(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return Error{std::strerror(errno)};
  auto read_all = [file]() -> Result<std::string> {
    struct stat info {};
    if (fstat(file, &info) != 0) return Error{std::strerror(errno)};
    if (!S_ISREG(info.st_mode)) return Error{"not a regular file"};
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
      return Error{"its group or everybody may use it; it holds a secret: chmod 600"};
    }
    if (info.st_size > kSecretBytesMax) return Error{"too large for a secret"};
    std::string content(static_cast<size_t>(info.st_size), '\0');
    const ssize_t got = pread(file, content.data(), content.size(), 0);
    if (got < 0) return Error{std::strerror(errno)};
    content.resize(static_cast<size_t>(got));
    return content;
  };
  Result<std::string> content = read_all();
  close(file);
  return content;
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
          .read_secret = read_secret_file,
          .read_stdin = read_standard_input,
          .expand = expand_pattern,
          .enter = enter_directory};
}

}  // namespace quoll::server
