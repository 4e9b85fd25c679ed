// SPOP and SRANDMEMBER: every member, and every combination of members, is equally likely.
#include <string>
#include <vector>

#include "commands/set_family.h"
#include "server/server.h"

namespace quoll::commands::sets {
namespace {

constexpr size_t kEffectMembersMax = 1024;           // members of one journaled SREM
constexpr size_t kEffectBytesMax = size_t{1} << 20;  // and about their bytes
// Drawing until this share of a table is taken costs less than walking all of it.
constexpr uint64_t kDrawnShareMin = 3;

auto drawer(Call& call) {
  return [&random = call.server.host().random] { return random.draw(); };
}

// Journals removed members as SREM lines of bounded length. Members are copied: the set has freed
// them when the line is written.
class RemovalJournal {
 public:
  explicit RemovalJournal(Call& call) : call_(call) {}
  ~RemovalJournal() { flush(); }
  RemovalJournal(const RemovalJournal&) = delete;
  RemovalJournal& operator=(const RemovalJournal&) = delete;

  void add(const PackedItem& member) {
    char text[base::kIntTextMax];
    bytes_.append(member.text(text));
    ends_.push_back(bytes_.size());
    if (ends_.size() >= kEffectMembersMax || bytes_.size() >= kEffectBytesMax) flush();
  }

 private:
  void flush() {
    if (ends_.empty()) return;
    std::vector<Bytes> line = {"SREM", call_.arg(1)};
    size_t from = 0;
    for (size_t end : ends_) {
      line.push_back(Bytes(bytes_).substr(from, end - from));
      from = end;
    }
    call_.effect(server::Args(line));
    bytes_.clear();
    ends_.clear();
  }

  Call& call_;
  std::string bytes_;
  std::vector<size_t> ends_;
};

void spop_one(Call& call) {
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (!edit.found()) return call.reply.null();
  edit.value<Set>().take_random(drawer(call), [&](const PackedItem& member) {
    char text[base::kIntTextMax];
    Bytes bytes = member.text(text);
    call.reply.bulk(bytes);
    call.effect({"SREM", call.arg(1), bytes});
  });
  edit.done(kEventSpop);
  edit.erase_if_empty();
}

void spop_all(Call& call, store::Edit& edit) {
  auto set = edit.entry()->value<Set>();
  call.reply.set(set->size());
  set->for_each([&](const PackedItem& member) { reply_member(call, member); });
}

void spop_many(Call& call) {
  int64_t count;
  constexpr Bytes kNotPositive = "ERR value is out of range, must be positive";
  if (!call.integer(2, count, kNotPositive)) return;
  if (count < 0) return call.reply.error(kNotPositive);
  store::Edit edit = call.edit(1);
  if (refused(call, edit.entry())) return;
  if (!edit.found() || count == 0) return call.reply.set(0);
  auto wanted = static_cast<uint64_t>(count);
  if (wanted >= edit.entry()->value<Set>()->size()) {
    spop_all(call, edit);
    edit.erase();
    edit.done(kEventSpop);
    edit.done(store::kEventDel);
    return call.effect({"DEL", call.arg(1)});
  }
  Set& set = edit.value<Set>();
  RemovalJournal journal(call);
  call.reply.set(wanted);
  for (uint64_t i = 0; i < wanted; ++i)
    set.take_random(drawer(call), [&](const PackedItem& member) {
      reply_member(call, member);
      journal.add(member);
    });
  edit.done(kEventSpop);
}

// Knuth's selection sampling (algorithm S): one pass, `wanted` of the members in their order.
void reply_selection(Call& call, const Set& set, uint64_t wanted) {
  auto draw = drawer(call);
  uint64_t left = set.size();
  set.for_each([&](const PackedItem& member) {
    if (draw() % left-- < wanted) {
      --wanted;
      reply_member(call, member);
    }
    return wanted > 0;
  });
}

// Draws from a table until `wanted` different members were met.
void reply_draws(Call& call, const Set::Table& table, uint64_t wanted) {
  Set::Table met;  // borrows the members
  auto draw = drawer(call);
  while (met.size() < wanted) {
    data::SetMember* member = Set::random_member(table, draw);
    uint64_t hash = data::SetTraits::hash(member);
    if (met.find(hash, [&](const data::SetMember* other) { return other == member; })) continue;
    met.insert(hash, member);
    reply_member(call, PackedItem::of_bytes(member->bytes()));
  }
}

void reply_distinct(Call& call, const Set& set, uint64_t wanted) {
  uint64_t size = set.size();
  if (wanted > size) wanted = size;
  call.reply.array(wanted);
  if (wanted == size)
    return set.for_each([&](const PackedItem& member) { reply_member(call, member); });
  if (set.encoding() == Set::Encoding::table && wanted < size / kDrawnShareMin)
    return reply_draws(call, set.table(), wanted);
  reply_selection(call, set, wanted);
}

void srandmember_many(Call& call) {
  int64_t count;
  if (!call.integer(2, count)) return;
  if (count == INT64_MIN)
    return call.reply.error(
        "ERR value is out of range, value must between -9223372036854775807 and "
        "9223372036854775807");
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry || count == 0) return call.reply.array(0);
  auto set = entry->value<Set>();
  if (count > 0) return reply_distinct(call, *set, static_cast<uint64_t>(count));
  auto wanted = static_cast<uint64_t>(-count);
  call.reply.array(wanted);
  auto draw = drawer(call);
  for (uint64_t i = 0; i < wanted; ++i) {
    reply_member(call, set->random(draw));
    if (i % server::kRepliesBetweenLooks == 0 && call.session.reply_in_vain()) return;
  }
}

}  // namespace

void spop(Call& call) {
  if (call.argc() == 2) return spop_one(call);
  if (call.argc() == 3) return spop_many(call);
  call.syntax_error();
}

void srandmember(Call& call) {
  if (call.argc() > 3) return call.syntax_error();
  if (call.argc() == 3) return srandmember_many(call);
  const store::Entry* entry = call.find(1);
  if (refused(call, entry)) return;
  if (!entry) return call.reply.null();
  reply_member(call, entry->value<Set>()->random(drawer(call)));
}

}  // namespace quoll::commands::sets
