#include "tests/sim/resp_reply.h"

#include <charconv>

namespace quoll::sim {
namespace {

// Walks without recursion: `open` counts the elements still to come, all levels together.
class ReplyWalk {
 public:
  explicit ReplyWalk(std::string_view bytes) : bytes_(bytes) {}

  size_t length() {
    uint64_t open = 1;
    while (open > 0) {
      size_t line_end = bytes_.find("\r\n", at_);
      if (line_end == std::string_view::npos)
        return at_ == bytes_.size() || known() ? 0 : kMalformed;
      char type = bytes_[at_];
      std::string_view line = bytes_.substr(at_ + 1, line_end - at_ - 1);
      at_ = line_end + 2;
      --open;
      int64_t count = 0;
      switch (type) {
        case '+':
        case '-':
        case ':':
        case ',':
        case '#':
        case '_':
        case '(':
          continue;
        case '$':
        case '=':
        case '!':
          if (!number(line, count)) return kMalformed;
          if (count < 0) continue;
          if (bytes_.size() - at_ < static_cast<size_t>(count) + 2) return 0;
          at_ += static_cast<size_t>(count);
          if (bytes_.substr(at_, 2) != "\r\n") return kMalformed;
          at_ += 2;
          continue;
        case '*':
        case '~':
        case '>':
          if (!number(line, count)) return kMalformed;
          if (count > 0) open += static_cast<uint64_t>(count);
          continue;
        case '%':
        case '|':  // attributes: the reply they belong to follows
          if (!number(line, count) || count < 0) return kMalformed;
          open += static_cast<uint64_t>(count) * 2 + (type == '|' ? 1 : 0);
          continue;
        default:
          return kMalformed;
      }
    }
    return at_;
  }

 private:
  bool known() const {
    return std::string_view("+-:,#_($=!*~>%|").find(bytes_[at_]) != std::string_view::npos;
  }
  static bool number(std::string_view text, int64_t& value) {
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    return parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size();
  }

  std::string_view bytes_;
  size_t at_ = 0;
};

// Takes the reply at the front of the bytes, which are complete.
Reply take_reply(std::string_view& bytes) {
  Reply reply;
  reply.kind = bytes[0];
  size_t line_end = bytes.find("\r\n");
  std::string line(bytes.substr(1, line_end - 1));
  bytes.remove_prefix(line_end + 2);
  bool bulk = reply.kind == '$' || reply.kind == '=' || reply.kind == '!';
  bool parts = std::string_view("*~>%").find(reply.kind) != std::string_view::npos;
  if (!bulk && !parts) {
    reply.text = line;
    reply.null = reply.kind == '_';
    return reply;
  }
  int64_t count = std::stoll(line);
  reply.null = count < 0;
  if (reply.null) return reply;
  if (bulk) {
    reply.text = bytes.substr(0, static_cast<size_t>(count));
    bytes.remove_prefix(static_cast<size_t>(count) + 2);
    return reply;
  }
  for (int64_t left = reply.kind == '%' ? count * 2 : count; left > 0; --left)
    reply.parts.push_back(take_reply(bytes));
  return reply;
}

}  // namespace

Reply parse_reply(std::string_view bytes) { return take_reply(bytes); }

size_t reply_length(std::string_view bytes) {
  if (bytes.empty()) return 0;
  return ReplyWalk(bytes).length();
}

std::string resp_command(const std::vector<std::string>& args) {
  std::string bytes = "*" + std::to_string(args.size()) + "\r\n";
  for (const std::string& arg : args) {
    bytes += "$" + std::to_string(arg.size()) + "\r\n" + arg + "\r\n";
  }
  return bytes;
}

}  // namespace quoll::sim
