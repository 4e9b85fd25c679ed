#include "cluster/run_frames.h"

#include "cluster/group_frames.h"

namespace quoll::cluster {
namespace {

bool take_command_line(FieldReader& in, size_t& words_left, CommandLine& line) {
  uint32_t words = 0;
  if (!in.number(words) || words == 0 || words > words_left) return false;
  words_left -= words;
  for (uint32_t i = 0; i < words; ++i) {
    base::Bytes word;
    if (!in.bytes(word)) return false;
    line.push_back(word);
  }
  return true;
}

bool take_command_lines(FieldReader& in, std::vector<CommandLine>& lines) {
  uint32_t count = 0;
  if (!in.number(count) || count == 0 || count > kRunLinesMax) return false;
  size_t words_left = kRunWordsMax;
  for (uint32_t i = 0; i < count; ++i)
    if (!take_command_line(in, words_left, lines.emplace_back())) return false;
  return in.empty();
}

}  // namespace

bool is_elsewhere(base::Bytes reply) {
  for (const base::Bytes code : {"-MOVED ", "-TRYAGAIN ", "-CLUSTERDOWN ", "-LOADING "})
    if (reply.starts_with(code)) return true;
  return false;
}

void CommandLines::add(base::Args words) {
  FieldWriter out(bytes_);
  out.number(static_cast<uint32_t>(words.size()));
  for (const base::Bytes word : words) out.bytes(word);
  ++count_;
}

void CommandLines::add(const CommandLines& others) {
  bytes_ += others.bytes_;
  count_ += others.count_;
}

std::string RunQuestion::encode(uint8_t flags, base::Bytes user, const CommandLines& lines) {
  std::string bytes;
  FieldWriter(bytes).number(flags).bytes(user).number(lines.count());
  return bytes += lines.bytes();
}

std::optional<RunQuestion> RunQuestion::decode(base::Bytes bytes) {
  RunQuestion question;
  FieldReader in(bytes);
  if (!in.number(question.flags) || !in.bytes(question.user)) return {};
  if (!take_command_lines(in, question.lines)) return {};
  return question;
}

std::string RunAnswer::encode(Kind kind, base::Bytes reply) {
  std::string bytes(1, static_cast<char>(kind));
  return bytes += reply;
}

std::string RunAnswer::encode_wait(base::Millis wait_ms, base::Bytes reply, base::Args line) {
  std::string bytes(1, static_cast<char>(Kind::waits));
  CommandLines lines;
  lines.add(line);
  FieldWriter(bytes).number(static_cast<int64_t>(wait_ms)).bytes(reply).number(lines.count());
  return bytes += lines.bytes();
}

std::optional<RunAnswer> RunAnswer::decode(base::Bytes bytes) {
  if (bytes.empty()) return {};
  RunAnswer answer;
  answer.kind = static_cast<Kind>(bytes[0]);
  bytes.remove_prefix(1);
  answer.reply = bytes;
  switch (answer.kind) {
    case Kind::ran:
    case Kind::not_run:
    case Kind::refused:
      return answer;
    case Kind::waits:
      break;
    default:
      return {};
  }
  FieldReader in(bytes);
  int64_t wait_ms = 0;
  std::vector<CommandLine> lines;
  if (!in.number(wait_ms) || wait_ms < 0 || !in.bytes(answer.reply)) return {};
  if (!take_command_lines(in, lines) || lines.size() != 1) return {};
  answer.wait_ms = wait_ms;
  answer.line = std::move(lines[0]);
  return answer;
}

}  // namespace quoll::cluster
