// MSET MSETNX MSETEX: several keys in one commit.
#include <algorithm>
#include <vector>

#include "commands/string_options.h"
#include "server/server.h"

namespace quoll::commands::strings {
namespace {

constexpr size_t kAhead = 16;  // keys hashed and prefetched together

// The pairs at arguments [first, first + 2 * count): key, value, key, value, ...
class Pairs {
 public:
  Pairs(Call& call, size_t first, size_t count) : call_(call), first_(first), count_(count) {}

  // How many of the keys exist (a key named twice counts twice), stopping at `enough`.
  size_t existing(size_t enough) const {
    size_t found = 0;
    for (size_t i = 0; i < count_ && found < enough; ++i)
      found += call_.peek(first_ + 2 * i) != nullptr;
    return found;
  }

  void store_all(const Expiry& expiry) {
    for (size_t from = 0; from < count_; from += kAhead) {
      size_t count = std::min(kAhead, count_ - from);
      store::KeyRef refs[kAhead];
      const base::Bucket* buckets[kAhead];
      for (size_t i = 0; i < count; ++i) {
        refs[i] = call_.key(first_ + 2 * (from + i));
        buckets[i] = call_.store.bucket_of(call_.db, refs[i].hash);
      }
      for (size_t i = 0; i < count; ++i) store::Store::prefetch(buckets[i]);
      for (size_t i = 0; i < count; ++i) store::Store::prefetch_entries(buckets[i], refs[i].hash);
      for (size_t i = 0; i < count; ++i) store_one(refs[i], first_ + 2 * (from + i) + 1, expiry);
    }
  }

 private:
  void store_one(const store::KeyRef& key, size_t argument, const Expiry& expiry) {
    store::Edit edit = call_.store.edit(call_.db, key, call_.now, !call_.session.no_touch);
    bool moves = large(call_, argument);
    if (__builtin_expect(!moved_.empty() && edit.found(), 0)) give_back(edit);
    if (moves) moved_.push_back(argument);
    edit.put(value_of(call_, argument), expiry.ttl());
    edit.done(kEventSet);
    if (expiry.has_time()) edit.done(kEventExpire);
  }

  // The key came before in this very command, and its value took over the bytes of an argument.
  // They are still to be journaled, so they return to the argument before the value goes.
  void give_back(store::Edit& edit) {
    if (!is_string(edit.entry()) || edit.entry()->form() != data::Form::heap) return;
    const char* bytes = edit.entry()->text(nullptr).data();
    auto owner = std::find_if(moved_.begin(), moved_.end(),
                              [&](size_t argument) { return call_.arg(argument).data() == bytes; });
    if (owner != moved_.end()) *call_.blob(*owner) = edit.take().blob;
  }

  Call& call_;
  size_t first_;
  size_t count_;
  std::vector<size_t> moved_;  // arguments whose Blob went into the keyspace
};

// False: a key lacks its value, and the error was replied.
bool even(Call& call) {
  if (call.argc() % 2 == 1) return true;
  std::string text = "ERR wrong number of arguments for '";
  text.append(call.command.spec->name).append("' command");
  call.reply.error(text);
  return false;
}

// MSETEX as one line that needs no clock and no condition.
void msetex_effect(Call& call, size_t pairs, const Expiry& expiry) {
  std::vector<Bytes> line(call.args.begin(), call.args.begin() + 2 + 2 * static_cast<long>(pairs));
  char text[base::kIntTextMax];
  if (expiry.has_time()) {
    line.push_back("PXAT");
    line.emplace_back(text, base::format_int(expiry.deadline, text));
  } else if (expiry.kind == Expiry::kKeep) {
    line.push_back("KEEPTTL");
  }
  call.effect(base::Args(line));
}

}  // namespace

void mset(Call& call) {
  if (!even(call)) return;
  Pairs(call, 1, call.argc() / 2).store_all(Expiry{});
  call.reply.ok();
}

void msetnx(Call& call) {
  if (!even(call)) return;
  Pairs pairs(call, 1, call.argc() / 2);
  if (pairs.existing(1) > 0) return call.reply.integer(0);
  pairs.store_all(Expiry{});
  std::vector<Bytes> line(call.args.begin(), call.args.end());
  line[0] = "MSET";
  call.effect(base::Args(line));
  call.reply.integer(1);
}

void msetex(Call& call) {
  int64_t count;
  if (!base::parse_int(call.arg(1), count) || count <= 0 || count > INT32_MAX)
    return call.reply.error("ERR invalid numkeys value");
  auto keys = static_cast<size_t>(count);
  if (2 + 2 * keys > call.argc()) return call.reply.error("ERR wrong number of key-value pairs");
  Expiry expiry;
  Condition condition;
  for (size_t i = 2 + 2 * keys; i < call.argc(); ++i) {
    uint64_t option = word(call.arg(i));
    bool exists = option == word("nx") || option == word("xx");
    bool taken = exists ? condition.take(option, call.args, i)
                        : expiry.take(option, Expiry::kTimes | Expiry::kKeep, call.args, i);
    if (!taken) return call.syntax_error();
  }
  if (!expiry.resolve(call)) return;
  Pairs pairs(call, 2, keys);
  if (condition.kind == Condition::Kind::nx && pairs.existing(1) > 0) return call.reply.integer(0);
  if (condition.kind == Condition::Kind::xx && pairs.existing(keys) < keys)
    return call.reply.integer(0);
  pairs.store_all(expiry);
  msetex_effect(call, keys, expiry);
  call.reply.integer(1);
}

}  // namespace quoll::commands::strings
