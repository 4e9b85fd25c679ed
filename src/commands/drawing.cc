#include "commands/drawing.h"

#include <fmt/format.h>

#include "server/version.h"

namespace quoll::commands {
namespace {

constexpr int kSkyRows = 5;
constexpr int kWidth = 56;
constexpr uint64_t kStarEvery = 23;  // one place of the sky in so many holds a star

// '*' stands for fur that may have a spot.
constexpr const char* kQuoll[] = {
    "      /\\_/\\",
    "     ( o o )_______________",
    "      \\ v / * * * * * * *  \\",
    "       `-'| * * * * * * * * \\______________",
    "          | * * * * * * * * |__*__*__*__*_ `-.",
    "          |_|_/-----\\_|_|__/               `--'",
};

}  // namespace

std::string drawing(const std::function<uint64_t()>& draw) {
  constexpr char kStars[] = {'.', '\'', '+', '*'};
  std::string picture;
  for (int row = 0; row < kSkyRows; ++row) {
    std::string line(kWidth, ' ');
    for (char& place : line) {
      const uint64_t chance = draw();
      if (chance % kStarEvery == 0) place = kStars[(chance >> 32) % sizeof kStars];
    }
    picture += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  for (const char* line : kQuoll) {
    for (const char* place = line; *place; ++place)
      picture += *place != '*' ? *place : draw() % 2 ? 'o' : ' ';
    picture += '\n';
  }
  return picture + fmt::format("\nQuoll ver. {} (speaks Redis ver. {})\n", server::kQuollVersion,
                               server::kRedisVersion);
}

}  // namespace quoll::commands
