// GroupCore: who is in the group, and how that changes.
#include <algorithm>

#include "base/check.h"
#include "cluster/group_core.h"

namespace quoll::cluster {
namespace {

using base::Error;
using base::Result;

GroupShape decoded(base::Bytes bytes) {
  auto shape = decode_shape(bytes);
  QUOLL_CHECK(shape.has_value());
  return std::move(*shape);
}

SlotLedger decoded_slots(base::Bytes bytes) {
  auto ledger = decode_ledger(bytes);
  QUOLL_CHECK(ledger.has_value());
  return std::move(*ledger);
}

}  // namespace

// --- the shapes of the log ---------------------------------------------------------------------

// Those that the disk had: what was saved of them, and the entries behind.
void GroupCore::find_shapes() {
  const SavedShape* saved = nullptr;
  if (!state_.shape.shape.empty()) saved = &state_.shape;
  // The log begins behind data that came, and the end of that was not saved.
  if (!state_.arriving.shape.empty() && state_.arriving.at == log_.base()) saved = &state_.arriving;
  shapes_.clear();
  shapes_.push_back({saved ? saved->at : Position{}, saved ? decoded(saved->shape) : first_});
  Index upto;
  for (Index index = log_.base().index; index < log_.last().index; index = upto) {
    base::Bytes bytes = log_.slice(index, SIZE_MAX, upto);
    Entry entry;
    while (!bytes.empty() && decode_entry(bytes, entry) == EntryFault::none) {
      if (tells_shape(entry.header.kind)) add_shape(entry);
      bytes.remove_prefix(entry.bytes);
    }
  }
  look_who_is_meant();
}

void GroupCore::add_shape(const Entry& entry) {
  if (entry.header.at.index <= shapes_.back().at.index) return;  // from before a saved one
  if (entry.header.kind == EntryKind::shape)
    return shapes_.push_back({entry.header.at, decoded(entry.payload)});
  GroupShape shape = this->shape();
  shape.slots = decoded_slots(entry.payload);
  shapes_.push_back({entry.header.at, std::move(shape), true});
}

// In force at once.
void GroupCore::take_shape(const Entry& entry) {
  add_shape(entry);
  look_who_is_meant();
}

void GroupCore::drop_shapes_behind(Index index) {
  const size_t before = shapes_.size();
  while (shapes_.size() > 1 && shapes_.back().at.index > index) shapes_.pop_back();
  if (shapes_.size() != before) look_who_is_meant();
}

const GroupCore::KnownShape& GroupCore::known_at(Index index) const {
  for (size_t i = shapes_.size(); i-- > 1;)
    if (shapes_[i].at.index <= index) return shapes_[i];
  return shapes_.front();
}

const GroupShape& GroupCore::shape_at(Index index) const { return known_at(index).shape; }

// Kept on disk beside the log, which may be cut off in front of it. Slots come and go often, and
// nothing waits for that: they are saved with what else is, or when the log is cut off.
void GroupCore::note_shape_committed() {
  const bool arrived = !state_.arriving.shape.empty() && state_.arriving.at.index <= commit_;
  if (arrived) {
    // What was saved of data that were never committed may be further on.
    if (state_.shape.at.index > state_.arriving.at.index) state_.shape = state_.arriving;
    state_.arriving = {};
  }
  const KnownShape& known = known_at(commit_);
  const bool told = state_.shape.shape.empty() && known.shape == first_;  // at every start
  const bool news = known.at.index > state_.shape.at.index && known.at.index <= commit_ && !told;
  bool shape_news = false;
  for (const KnownShape& one : shapes_)
    shape_news |= news && !one.slots_only && one.at.index > state_.shape.at.index &&
                  one.at.index <= known.at.index;
  if (news) state_.shape = {known.at, encode_shape(known.shape)};
  if (shape_news || arrived)
    change_state();
  else
    state_stale_ |= news;
}

// What has been committed and applied is the shape of all that may still be asked for.
void GroupCore::drop_old_shapes() {
  bool dropped = false;
  while (shapes_.size() > 1 && shapes_[1].at.index <= std::min(commit_, applied_)) {
    shapes_.pop_front();
    dropped = true;
  }
  if (dropped) look_who_is_meant();
}

Result<> GroupCore::check_arriving(Position at, const GroupShape& shape) const {
  if (at.epoch > state_.epoch || at.index > kIndexMax)
    return Error{"they are as of an entry that its leader cannot have"};
  if (replaces(at, commit_)) return Error{"they are not those of the group's log"};
  if (auto fine = check_shape(shape, Durability::fsync); !fine)
    return Error{"no group is like that: " + fine.error()};
  return {};
}

void GroupCore::arrives(Position at, const GroupShape& shape) {
  std::string bytes = encode_shape(shape);
  const bool known = state_.shape.shape.empty() ? shape == first_ : bytes == state_.shape.shape;
  if (known) {
    // So in memory; what the disk has may be older, and its log is about to begin anew.
    const bool lower = state_.shape.at.index > at.index;
    if (lower) state_.shape.at = at;
    if (lower || state_stale_ || !saved()) change_state();
    return;
  }
  // Those that our log begins behind may be neither committed yet nor replaced before we end.
  const bool begun = !state_.arriving.shape.empty() && state_.arriving.at == log_.base();
  if (begun) state_.shape = std::move(state_.arriving);
  state_.arriving = {at, std::move(bytes)};
  change_state();
}

// --- whom they mean ----------------------------------------------------------------------------

void GroupCore::look_who_is_meant() {
  ++shape_number_;
  meant_ = fed_ = 0;
  for (Member m = 0; m < kMembersMax; ++m) {
    const std::string& id = m == group_.self ? state_.id : peers_[m].id;
    if (shape().is(m, id)) meant_ |= 1u << m;
    // Who is about to leave still hears of it.
    for (const KnownShape& known : shapes_)
      if (m != group_.self && known.shape.is(m, id)) fed_ |= 1u << m;
  }
}

// Who is no voter of a shape that may not be committed may still be the only one who has it.
bool GroupCore::may_stand() const {
  const Index committed = known_at(commit_).at.index;
  return std::ranges::any_of(shapes_, [&](const KnownShape& known) {
    return known.at.index >= committed && known.shape.votes(group_.self) &&
           known.shape.is(group_.self, state_.id);
  });
}

// --- changes -----------------------------------------------------------------------------------

bool GroupCore::shape_settled() const {
  return !shape().joint() && shapes_.back().at.index <= commit_;
}

bool GroupCore::caught_up(Member member) const {
  if (!shape().uses(member)) return false;
  if (member == group_.self) return intact();
  const Peer& peer = peers_[member];
  const bool in_step = counts(member) && peer.feed == Feed::replicate && heard_of(member, now_) &&
                       (peer.ready || shape().is_witness(member));
  return in_step && peer.match >= log_.base().index &&
         log_.bytes_behind(peer.match) <= kCaughtUpBytes;
}

base::Result<> GroupCore::may_change(const GroupShape& target) const {
  if (!leads() || commit_ < noop_) return Error{"only the leader of a group changes it"};
  if (!shape_settled()) return Error{"another change of the group is under way"};
  // Two of three go on alone while the third one's place changes, or nobody else can have it: no
  // less safe, and better than to keep who goes.
  const bool two_of_three = target.now.size() == 2 && shape().now.size() >= 2;
  const Durability durability = two_of_three ? Durability::fsync : group_.durability;
  if (auto checked = check_shape(target, durability); !checked) return checked;
  if (auto checked = check_change(shape(), target); !checked) return checked;
  for (Member m = 0; m < kMembersMax; ++m) {
    if (!target.now.has(m) || shape().now.has(m)) continue;
    if (!shape().uses(m)) return Error{"a node learns before it votes"};
    if (!caught_up(m)) return Error{"a node that is to vote has not yet caught up"};
  }
  return {};
}

base::Result<> GroupCore::change(const GroupShape& target) {
  if (auto may = may_change(target); !may) return may;
  GroupShape next = target;
  next.slots = shape().slots;
  if (next == shape()) return {};
  append_shape(next.now == shape().now ? next : joint_shape(shape(), next));
  return {};
}

void GroupCore::append_shape(const GroupShape& shape) {
  const uint32_t before = shapes_.back().shape.used();
  append_own(EntryKind::shape, encode_shape(shape), 0);
  shapes_.push_back({log_.last(), shape});
  look_who_is_meant();
  for (Member m = 0; m < kMembersMax; ++m)
    if (shape.uses(m) && !(before >> m & 1)) begin_feeding(peers_[m]);
}

void GroupCore::tell_slots(const SlotLedger& ledger) {
  QUOLL_CHECK(may_tell_slots());
  append_own(EntryKind::slots, encode_ledger(ledger), 0);
  GroupShape next = shape();
  next.slots = ledger;
  shapes_.push_back({log_.last(), std::move(next), true});
  look_who_is_meant();
}

// The second half of a change, whoever began it.
void GroupCore::go_on_changing() {
  if (!shape().joint() || commit_ < std::max(noop_, shapes_.back().at.index)) return;
  append_shape(settled_shape(shape()));
}

bool GroupCore::leaving() const {
  return leads() && shape_settled() && !shape().votes(group_.self);
}

// To somebody who has everything, if there is one in time.
void GroupCore::leave() {
  if (leaving_since_ == 0) leaving_since_ = now_;
  const bool late = now_ - leaving_since_ >= group_.election_timeout_ms;
  if (commit_ < log_.last().index && !late) return;
  if (transfer() || late) become_follower(state_.epoch, kNoMember);
}

}  // namespace quoll::cluster
