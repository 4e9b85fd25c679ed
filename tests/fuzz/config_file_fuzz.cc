// Configuration files from arbitrary text: a file is loaded or refused with Redis's words, and what
// CONFIG REWRITE makes of a loaded one loads again and means the same.
#include "base/check.h"
#include "server/config.h"

namespace quoll::server {
namespace {

// One file that is never found twice: includes of it end at once.
FileAccess files_with(const std::string& text) {
  return {.read = [&text](const std::string& path) -> Result<std::string> {
            if (path == "/f/quoll.conf") return text;
            return base::Error{"No such file or directory"};
          },
          .read_secret = [](const std::string&) -> Result<std::string> {
            return base::Error{"No such file or directory"};
          },
          .read_stdin = []() -> Result<std::string> { return std::string(); },
          .expand = [](const std::string&) { return std::vector<std::string>(); },
          .enter = [](const std::string&) -> Result<std::string> { return std::string("/f"); }};
}

Result<> load(Config& config) {
  const Bytes arguments[] = {"/f/quoll.conf"};
  return config.load(parse_command_line(arguments), "Quoll");
}

void run(const std::string& text) {
  // A file that includes itself is refused by depth, which takes long.
  if (text.find("include") != std::string::npos) return;
  Config config(files_with(text), "/f");
  const auto loaded = load(config);
  if (!loaded) {
    QUOLL_CHECK(!loaded.error().empty());
    return;
  }
  const auto rewritten = config.rewritten("", nullptr, true);
  if (!rewritten) return;
  const std::string& fresh = rewritten.value();
  Config again(files_with(fresh), "/f");
  const auto reloaded = load(again);
  QUOLL_CHECK(reloaded);
  const Bytes all[] = {"*"};
  const auto before = config.get(all);
  const auto after = again.get(all);
  QUOLL_CHECK(before.size() == after.size());
  for (size_t i = 0; i < before.size(); ++i) {
    QUOLL_CHECK(before[i].name == after[i].name);
    QUOLL_CHECK(before[i].value == after[i].value);
  }
}

}  // namespace
}  // namespace quoll::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quoll::server::run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
