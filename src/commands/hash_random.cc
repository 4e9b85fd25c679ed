// HRANDFIELD: every live field, and every combination of live fields, is equally likely.
#include <algorithm>

#include "base/text.h"
#include "commands/hash_family.h"
#include "server/server.h"

namespace quoll::commands::hashes {
namespace {

// Drawing until this share of a table is met costs less than walking all of it.
constexpr uint64_t kDrawnShareMin = 3;

auto drawer_of(const Call& call) {
  return [&random = call.server.host().random] { return random.draw(); };
}

class Drawing {
 public:
  Drawing(Call& call, const Hash& hash, bool with_values)
      : call_(call),
        hash_(hash),
        with_values_(with_values),
        live_(hash.size() - hash.expired(call.now)) {}

  uint64_t live() const { return live_; }

  // One field at random, as often as asked.
  HashItem one() {
    if (direct()) return hash_.random(drawer_of(call_));
    if (items_.empty()) {
      hash_.for_each([&](const HashItem& item) {
        if (!item.expired(call_.now)) items_.push_back(item);
      });
    }
    return items_[draw() % items_.size()];
  }

  void reply_with_repeats(uint64_t wanted) {
    header(wanted);
    for (uint64_t i = 0; i < wanted; ++i) {
      reply(one());
      if (i % server::kRepliesBetweenLooks == 0 && call_.session.reply_in_vain()) return;
    }
  }

  void reply_distinct(uint64_t wanted) {
    wanted = std::min(wanted, live_);
    header(wanted);
    if (direct() && wanted < live_ / kDrawnShareMin) return reply_draws(wanted);
    reply_selection(wanted);
  }

 private:
  uint64_t draw() const { return drawer_of(call_)(); }
  // A table all of whose fields are live can be drawn from without looking at the others.
  bool direct() const { return !hash_.packed() && live_ == hash_.size(); }

  void header(uint64_t count) {
    call_.reply.array(with_values_ && call_.reply.protocol() == 2 ? count * 2 : count);
  }
  void reply(const HashItem& item) {
    if (with_values_ && call_.reply.protocol() > 2) call_.reply.array(2);
    reply_item(call_, item.field);
    if (with_values_) reply_item(call_, item.value);
  }

  // Knuth's selection sampling (algorithm S): one pass, `wanted` of the fields in their order.
  void reply_selection(uint64_t wanted) {
    uint64_t left = live_;
    hash_.for_each([&](const HashItem& item) {
      if (wanted == 0 || item.expired(call_.now)) return;
      if (wanted < left && draw() % left >= wanted) {
        --left;
        return;
      }
      --left;
      --wanted;
      reply(item);
    });
  }

  // Draws until `wanted` different fields were met; where a field's bytes lie tells fields apart.
  void reply_draws(uint64_t wanted) {
    std::vector<const char*> met;
    std::vector<HashItem> drawn;
    while (met.size() < wanted) {
      drawn.clear();
      for (uint64_t i = met.size(); i < wanted; ++i)
        drawn.push_back(hash_.random(drawer_of(call_)));
      for (const HashItem& item : drawn) {
        const char* place = item.field.bytes.data();
        auto at = std::lower_bound(met.begin(), met.end(), place);
        if (at != met.end() && *at == place) continue;
        met.insert(at, place);
        reply(item);
      }
    }
  }

  Call& call_;
  const Hash& hash_;
  bool with_values_;
  uint64_t live_;
  std::vector<HashItem> items_;
};

void hrandfield_many(Call& call) {
  int64_t count;
  if (!call.integer(2, count)) return;
  if (count == INT64_MIN)
    return call.reply.error(
        "ERR value is out of range, value must between -9223372036854775807 and "
        "9223372036854775807");
  bool with_values = call.argc() == 4 && base::equals_ignoring_case(call.arg(3), "withvalues");
  if (call.argc() > 4 || (call.argc() == 4 && !with_values)) return call.syntax_error();
  if (with_values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2))
    return call.reply.error("ERR value is out of range");
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry || count == 0) return call.reply.array(0);
  auto hash = entry->value<Hash>();
  Drawing drawing(call, *hash, with_values);
  if (drawing.live() == 0) return call.reply.array(0);
  if (count > 0)
    drawing.reply_distinct(static_cast<uint64_t>(count));
  else
    drawing.reply_with_repeats(static_cast<uint64_t>(-count));
}

}  // namespace

void hrandfield(Call& call) {
  if (call.argc() > 2) return hrandfield_many(call);
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry) return call.reply.null();
  auto hash = entry->value<Hash>();
  Drawing drawing(call, *hash, false);
  if (drawing.live() == 0) return call.reply.null();
  reply_item(call, drawing.one().field);
}

}  // namespace quoll::commands::hashes
