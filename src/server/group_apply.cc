#include "server/group_apply.h"

#include "server/log.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr base::Nanos kApplyBudget = 1 * base::kNanosPerMilli;  // of one turn
// Entries, of which the clock is looked at once and the keys are fetched together.
constexpr cluster::Index kTogether = Replay::kLookAhead;

}  // namespace

Replay& GroupApply::replayer() {
  if (!replay_) replay_ = std::make_unique<Replay>(server_);
  return *replay_;
}

const Command* GroupApply::command(Args words) { return replayer().command(words); }

bool GroupApply::run(cluster::GroupCore& core, cluster::Index limit, const Skip& skip) {
  limit = std::min(limit, core.commit());
  if (core.applied() >= limit) return true;
  replayer().set_time(server_.now());
  const base::Nanos end = server_.host().clock.steady() + kApplyBudget;
  cluster::Index count = 0;
  while (core.applied() < limit) {
    cluster::Index upto;
    base::Bytes bytes = core.log().slice(core.applied(), SIZE_MAX, upto);
    upto = std::min(upto, limit);
    for (cluster::Index index = core.applied() + 1; index <= upto; ++index) {
      if (count % kTogether == 0) look_ahead(bytes, std::min(kTogether, upto + 1 - index));
      cluster::Entry entry;
      QUOLL_CHECK(cluster::decode_entry(bytes, entry) == cluster::EntryFault::none);
      if (entry.header.kind == cluster::EntryKind::effects) apply(entry, skip);
      bytes.remove_prefix(entry.bytes);
      core.applied(index);
      if (++count % kTogether == 0 && server_.host().clock.steady() >= end)
        return core.applied() >= limit;
    }
  }
  return true;
}

// Of a transaction: what its first effect names.
void GroupApply::look_ahead(base::Bytes entries, size_t count) {
  for (; count > 0; --count) {
    const base::Bytes payload = entries.substr(
        cluster::kEntryHeaderBytes, cluster::entry_bytes(entries) - cluster::kEntryHeaderBytes);
    size_t at = sizeof(uint32_t);
    if (cluster::entry_kind(entries) == cluster::EntryKind::effects &&
        cluster::take_effect(payload, at, effect_))
      replayer().look_ahead(effect_.db, effect_.words);
    entries.remove_prefix(cluster::entry_bytes(entries));
  }
  replayer().fetch_ahead();
}

void GroupApply::apply(const cluster::Entry& entry, const Skip& skip) {
  store::CommitBuilder& commits = server_.store().commits();
  const auto count = cluster::effect_count(entry.payload);
  commits.begin(store::Origin::replica, server_.now(), count && *count > 1);
  const bool whole = cluster::each_effect(entry.payload, [&](const cluster::EntryEffect& effect) {
    if (!skip || !skip(effect)) replay(effect.db, effect.words);
  });
  commits.close();
  QUOLL_CHECK(whole);
}

void GroupApply::run_effect(store::DbIndex db, Args words) {
  store::CommitBuilder& commits = server_.store().commits();
  commits.begin(store::Origin::replica, server_.now());
  replay(db, words);
  commits.close();
}

// What fails here did not fail at the leader: the data differ from now on.
void GroupApply::replay(store::DbIndex db, Args words) {
  auto done = replayer().run_in_commit(db, words);
  if (!done)
    log::warning("== CRITICAL == '{}' of the group's log fails here: {}", words[0], done.error());
}

}  // namespace quoll::server
