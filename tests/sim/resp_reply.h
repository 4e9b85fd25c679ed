// Finds where a RESP2 or RESP3 reply ends. Written apart from the server's parser on purpose: a
// client that shared its code would share its mistakes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quoll::sim {

constexpr size_t kMalformed = static_cast<size_t>(-1);

// Length of the first complete reply in `bytes` (attributes in front of it included); 0 when more
// bytes are needed, kMalformed when no reply begins like this.
size_t reply_length(std::string_view bytes);

// A complete reply, taken apart. Maps: keys and values in turn.
struct Reply {
  char kind = '_';
  bool null = false;
  std::string text;  // of what has no parts, without type and line ends
  std::vector<Reply> parts;
};
Reply parse_reply(std::string_view bytes);

// One command as an array of bulk strings.
std::string resp_command(const std::vector<std::string>& args);

}  // namespace quoll::sim
