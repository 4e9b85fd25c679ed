// quoll-check: verifies RDB files, append-only files, manifests and data directories, and says what
// is in them (persist::DataCheck). It answers to the arguments of redis-check-aof and
// redis-check-rdb, and called by one of these names it behaves like them.
#include <getopt.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/numbers.h"
#include "commands/table.h"
#include "host/uv_host.h"
#include "persist/data_check.h"
#include "persist/sealed_disk.h"
#include "server/command_table.h"
#include "server/version.h"

namespace quoll {
namespace {

enum class Role { any, aof, rdb };

struct Arguments {
  Role role = Role::any;
  persist::CheckOptions options;
  std::string path;
  std::string key_file;
};

Role role_of(base::Bytes program) {
  const base::Bytes name = program.substr(program.rfind('/') + 1);
  if (name == "redis-check-aof") return Role::aof;
  return name == "redis-check-rdb" ? Role::rdb : Role::any;
}

int print_usage(Role role, std::FILE* out) {
  if (role == Role::rdb) {
    std::fputs("Usage: redis-check-rdb <rdb-file-name>\n", out);
  } else if (role == Role::aof) {
    std::fputs(
        "Usage: redis-check-aof [--fix|--truncate-to-timestamp $timestamp] "
        "<file.manifest|file.aof>\n",
        out);
  } else {
    std::fputs(
        "Usage: quoll-check [options] <file.rdb|file.aof|file.manifest|directory>\n\n"
        "Says what is in the files, and whether they are whole. Ends with 0, or with 1 on damage.\n"
        "  --fix                        cut a torn end of the last AOF file, after asking\n"
        "  --truncate-to-timestamp <s>  cut what the AOF says happened after this unix time\n"
        "  --proto-max-bulk-len <n>     bytes an argument in the AOF may have (536870912)\n"
        "  --data-encryption-key-file <file>\n"
        "                               the keys of encrypted files\n"
        "  --version, --help\n",
        out);
  }
  return out == stdout ? 0 : 1;
}

enum Option { kFix = 256, kUntil, kBulk, kKeys, kVersion, kHelp };
constexpr option kOptions[] = {{"fix", no_argument, nullptr, kFix},
                               {"truncate-to-timestamp", required_argument, nullptr, kUntil},
                               {"proto-max-bulk-len", required_argument, nullptr, kBulk},
                               {"data-encryption-key-file", required_argument, nullptr, kKeys},
                               {"version", no_argument, nullptr, kVersion},
                               {"help", no_argument, nullptr, kHelp},
                               {}};

// -1: go on; else the program's exit code.
int read_arguments(int argc, char** argv, Arguments& arguments) {
  arguments.role = role_of(argv[0]);
  opterr = 0;
  int64_t number;
  for (int found; (found = getopt_long(argc, argv, "hv", kOptions, nullptr)) != -1;) {
    switch (found) {
      case kFix:
        arguments.options.fix = true;
        break;
      case kUntil:
        if (!base::parse_int(base::Bytes(optarg), number) || number < 0) {
          std::puts("Invalid timestamp, aborting...");
          return 1;
        }
        arguments.options.until = number;
        break;
      case kBulk:
        if (!base::parse_int(base::Bytes(optarg), number) || number < 1) {
          std::puts("Invalid length, aborting...");
          return 1;
        }
        arguments.options.bulk_bytes_max = std::max(number, persist::kAofBulkBytesMax);
        break;
      case kKeys:
        arguments.key_file = optarg;
        break;
      case 'v':
      case kVersion:
        std::printf("quoll-check %s\n", server::kQuollVersion);
        return 0;
      case 'h':
      case kHelp:
        return print_usage(arguments.role, stdout);
      default:
        return print_usage(arguments.role, stderr);
    }
  }
  const bool cuts = arguments.options.fix || arguments.options.until > 0;
  if (optind + 1 != argc || (arguments.role == Role::rdb && cuts) ||
      (arguments.options.fix && arguments.options.until > 0))
    return print_usage(arguments.role, stderr);
  arguments.path = argv[optind];
  return -1;
}

void tell(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
}

bool ask(const std::string& question) {
  std::fputs(question.c_str(), stdout);
  std::fflush(stdout);
  char answer[8];
  return std::fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

// False: they cannot be read, and that was told.
bool read_keys(const std::string& path, persist::SealedDisk& disk) {
  constexpr size_t kKeyFileBytesMax = 64 * 1024;
  std::ifstream file(path, std::ios::binary);
  std::string content(kKeyFileBytesMax, '\0');
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (!file.is_open() || file.bad()) {
    tell("Cannot open file " + path);
    return false;
  }
  content.resize(static_cast<size_t>(file.gcount()));
  base::Result<persist::SealKeys> keys = persist::SealKeys::parse(content);
  if (!keys) {
    tell("Can't use " + path + ": " + keys.error());
    return false;
  }
  disk.set_keys(std::move(keys.value()));
  return true;
}

bool run(const Arguments& arguments, host::UvHost& host) {
  // Plain files pass through; of encrypted ones without a key it says which is missing.
  persist::SealedDisk disk(host.host().disk, [&host] { return host.host().process.draw_secret(); });
  if (!arguments.key_file.empty() && !read_keys(arguments.key_file, disk)) return false;
  persist::CheckOptions options = arguments.options;
  options.now = host.host().clock.wall();
  const server::CommandTable commands(commands::families());
  options.known = [&commands](base::Args args) {
    const server::Command* command = commands.find(args[0]);
    if (!command || command->subcommands.empty()) return command != nullptr;
    return args.size() > 1 && commands.find_sub(*command, args[1]) != nullptr;
  };
  persist::DataCheck check({disk, [&host] { host.run(); }, [&host] { host.stop(); }, tell, ask},
                           options);
  if (arguments.role == Role::rdb) return check.rdb_file(arguments.path);
  if (arguments.role == Role::aof) return check.log_file(arguments.path);
  return check.path(arguments.path);
}

}  // namespace
}  // namespace quoll

int main(int argc, char** argv) {
  quoll::Arguments arguments;
  if (const int code = quoll::read_arguments(argc, argv, arguments); code >= 0) return code;
  quoll::host::UvHost host;
  return quoll::run(arguments, host) ? 0 : 1;
}
