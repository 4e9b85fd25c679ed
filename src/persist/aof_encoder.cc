#include "persist/aof_encoder.h"

#include "base/numbers.h"
#include "persist/change_notes.h"

namespace quoll::persist {
namespace {

constexpr base::Millis kMillisPerSecond = 1000;

void append_header(char marker, size_t number, std::string& out) {
  char text[base::kIntTextMax + 3];
  text[0] = marker;
  size_t size = 1 + base::format_uint(number, text + 1);
  text[size++] = '\r';
  text[size++] = '\n';
  out.append(text, size);
}

}  // namespace

void AofEncoder::append_command(base::Args args, std::string& out) {
  append_header('*', args.size(), out);
  for (const base::Bytes arg : args) {
    append_header('$', arg.size(), out);
    out.append(arg);
    out.append("\r\n", 2);
  }
}

void AofEncoder::append_select(store::DbIndex database, std::string& out) {
  char text[base::kIntTextMax];
  const base::Bytes args[] = {"SELECT", {text, base::format_uint(database, text)}};
  append_command(args, out);
}

void AofEncoder::append_timestamp(int64_t unix_seconds, std::string& out) {
  char text[base::kIntTextMax];
  out += "#TS:";
  out.append(text, base::format_int(unix_seconds, text));
  out += "\r\n";
}

void AofEncoder::select(store::DbIndex database, std::string& out) {
  if (database_ == database) return;
  append_select(database, out);
  database_ = database;
}

void AofEncoder::encode(const store::Commit& commit, std::string& out) {
  size_t count = 0;
  for (const store::Effect& effect : commit.effects)
    count += effect.targets & store::kToLog ? 1 : 0;
  if (count == 0) return;
  if (timestamps_ && last_second_ < commit.at / kMillisPerSecond) {
    last_second_ = commit.at / kMillisPerSecond;
    append_timestamp(last_second_, out);
  }
  if (changes_ != 0) append_change_notes(changes_, commit, out);
  select(commit.effects.front().db, out);
  const bool framed = count > 1;
  if (framed) out += "*1\r\n$5\r\nMULTI\r\n";
  for (const store::Effect& effect : commit.effects) {
    if (!(effect.targets & store::kToLog)) continue;
    select(effect.db, out);
    append_command(effect.args, out);
  }
  if (framed) out += "*1\r\n$4\r\nEXEC\r\n";
}

}  // namespace quoll::persist
