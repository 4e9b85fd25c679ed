#include "tests/unit/cluster/group_story.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace quoll::cluster {
namespace {

constexpr int kMessagesMax = 1000;  // of one scene

std::string text(Position at) { return std::to_string(at.epoch) + "." + std::to_string(at.index); }

std::string text_of_entries(base::Bytes bytes) {
  static constexpr const char* kKinds[] = {"", "noop", "effects", "rejoin", "shape", "slots"};
  std::string all;
  Entry entry;
  while (!bytes.empty() && decode_entry(bytes, entry) == EntryFault::none) {
    if (!all.empty()) all += ", ";
    all += text(entry.header.at) + " " + kKinds[static_cast<int>(entry.header.kind)];
    bytes.remove_prefix(entry.bytes);
  }
  return all;
}

std::string text(const GroupMessage& message, base::Bytes entries) {
  const std::string epoch = " epoch " + std::to_string(message.epoch);
  const std::string round = " round " + std::to_string(message.round);
  const std::string granted = message.flag ? " granted" : " refused";
  switch (message.kind) {
    case GroupMessage::Kind::hello:
      return "hello," + epoch + ", log " + text(message.at) + (message.flag ? ", virgin" : "");
    case GroupMessage::Kind::prevote:
      return "prevote?" + epoch + ", log " + text(message.at);
    case GroupMessage::Kind::prevote_reply:
      return "prevote" + granted + epoch;
    case GroupMessage::Kind::vote:
      return "vote?" + epoch + ", log " + text(message.at);
    case GroupMessage::Kind::vote_reply:
      return "vote" + granted + epoch;
    case GroupMessage::Kind::append:
      return "append" + epoch + round + " commit " + std::to_string(message.index) + ", after " +
             text(message.at) + (entries.empty() ? "" : ": " + text_of_entries(entries));
    case GroupMessage::Kind::append_reply:
      return (message.flag ? "has up to " : "refuses, look at ") + std::to_string(message.index) +
             "," + epoch + round +
             (message.number ? ", amnesiac " + std::to_string(message.number) : "");
    case GroupMessage::Kind::transfer:
      return "lead," + epoch;
  }
  return "?";
}

}  // namespace

GroupStory::GroupStory(const GroupConfig& group) : group_(group), members_(group.members) {}

GroupStory::GroupStory(const GroupConfig& group, GroupShape first, size_t places)
    : group_(group), first_(std::move(first)), members_(places) {}

void GroupStory::begin() {
  for (Member m = 0; m < group_.members; ++m) {
    members_[m].saved.amnesia = 100 + m;
    start(m, {});
  }
  for (Member a = 0; a < group_.members; ++a)
    for (Member b = a + 1; b < group_.members; ++b) connect(a, b);
}

void GroupStory::join(Member m) {
  members_[m].saved = {};
  members_[m].saved.amnesia = 100 + m;
  line(std::to_string(m), "joins");
  start(m, {});
  connect_to_all(m);
}

void GroupStory::change(Member m, const GroupShape& target) {
  const auto changed = core(m).change(target);
  line(std::to_string(m), changed ? "changes the group" : "does not change: " + changed.error());
  play();
}

void GroupStory::tell_slots(Member m, const SlotLedger& ledger) {
  core(m).tell_slots(ledger);
  line(std::to_string(m), "tells of slots");
  play();
}

void GroupStory::start(Member m, GroupLog log) {
  GroupConfig group = group_;
  group.self = m;
  Person& member = members_[m];
  std::optional<GroupShape> first;
  if (first_) {
    member.saved.id = id_of(m);
    first = first_->uses(m) ? *first_ : GroupShape{};
  }
  member.core = std::make_unique<GroupCore>(group, member.saved, std::move(log), m + 1, now_,
                                            std::move(first));
  member.role = GroupCore::Role::follower;
  member.leader = kNoMember;
  member.commit = 0;
  member.serves = false;
}

// --- scenes ------------------------------------------------------------------------------------

void GroupStory::time_out(Member m) {
  now_ += 4 * group_.election_timeout_ms;
  tick(m);
}

void GroupStory::tick(Member m) {
  core(m).tick(now_);
  play();
}

void GroupStory::write(Member m, const std::string& word) {
  const base::Bytes words[] = {word};
  const store::Effect effect{0, words, store::kToAll};
  const Index index = core(m).propose({&effect, 1}, now_);
  line(std::to_string(m), "executes " + word + " as " + std::to_string(index));
  play();
}

void GroupStory::read(Member m) {
  members_[m].reads.push_back(core(m).confirm_read());
  line(std::to_string(m), "is asked, round " + std::to_string(members_[m].reads.back()));
  play();
}

void GroupStory::connect(Member a, Member b) {
  for (auto [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    members_[one].linked[other] = true;
    core(one).linked(other, first_ ? id_of(other) : std::string());
  }
  play();
}

void GroupStory::connect_to_all(Member m) {
  for (Member other = 0; other < members_.size(); ++other)
    if (other != m && members_[other].core) connect(m, other);
}

void GroupStory::disconnect(Member a, Member b) {
  std::erase_if(on_the_way_, [&](const Message& message) {
    return (message.from == a && message.to == b) || (message.from == b && message.to == a);
  });
  for (auto [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    if (!std::exchange(members_[one].linked[other], false) || !members_[one].core) continue;
    core(one).unlinked(other);
  }
}

void GroupStory::isolate(Member m) {
  for (Member other = 0; other < members_.size(); ++other)
    if (other != m) disconnect(m, other);
}

void GroupStory::end(Member m) {
  members_[m].core.reset();
  members_[m].reads.clear();
  isolate(m);
  line(std::to_string(m), "ends");
}

void GroupStory::restart(Member m, uint64_t amnesia) {
  Person& member = members_[m];
  GroupLog log;
  if (amnesia != 0) member.records.clear();
  for (const std::string& record : member.records) {
    Entry entry;
    decode_entry(record, entry);
    log.append(entry.header, [&](const EntryHeader&, std::string& out) { out += record; });
  }
  if (amnesia != 0) member.saved.amnesia = amnesia;
  line(std::to_string(m), "begins, log " + text(log.last()) + (amnesia ? ", amnesiac" : ""));
  start(m, std::move(log));
  connect_to_all(m);
}

void GroupStory::send_all_data(Member from, Member to) {
  const Index applied = core(from).applied();
  const Position at{*core(from).log().epoch_at(applied), applied};
  core(from).sync_began(to, at);
  line(std::to_string(to), "gets all data as of " + text(at));
  members_[to].records.clear();
  core(to).installed(at, core(from).commit(), core(from).shape_at(at.index));
  core(from).sync_ended(to);
  play();
}

void GroupStory::hand_over(Member m) {
  CHECK(core(m).transfer());
  play();
}

// --- what a driver does ------------------------------------------------------------------------

void GroupStory::play() {
  settle_all();
  int messages = 0;
  while (!on_the_way_.empty() || wait_a_moment()) {
    REQUIRE(++messages < kMessagesMax);
    Message next = std::move(on_the_way_.front());
    on_the_way_.pop_front();
    next.message.entries = next.entries;
    line(std::to_string(next.from) + " -> " + std::to_string(next.to),
         text(next.message, next.entries));
    CHECK(core(next.to).receive(next.from, next.message, now_).ok());
    settle(next.to);
  }
}

void GroupStory::settle_all() {
  for (Member m = 0; m < members_.size(); ++m) settle(m);
}

// For what somebody holds back, and until every disk has its entries. False: nothing is said.
bool GroupStory::wait_a_moment() {
  bool held = false, disk_waits = false;
  do {
    const bool waited = disk_waits;
    held = disk_waits = false;
    for (const Person& member : members_) {
      held |= member.core && member.core->holds_back();
      disk_waits |= member.core && member.core->disk_may_wait();
    }
    if (held || disk_waits) ++now_;
    if (held || disk_waits || waited) settle_all();
  } while (on_the_way_.empty() && disk_waits);
  return !on_the_way_.empty();
}

void GroupStory::settle(Member m) {
  Person& member = members_[m];
  if (!member.core) return;
  bool more = true;
  while (more) {
    more = false;
    if (auto behind = member.core->take_undone()) {
      line(std::to_string(m), "undoes what is behind " + std::to_string(*behind));
      member.core->data_stands(true);
    }
    if (member.core->take_forgotten()) {
      member.records.clear();
      line(std::to_string(m), "begins anew");
    }
    tell_changes(m);
    if (!member.core->disk_may_wait()) write_entries(m);
    apply(m);
    for (GroupCore::Send& send : member.core->flush(now_)) {
      on_the_way_.push_back({m, send.to, send.message, std::string(send.message.entries)});
      more = true;
    }
    tell_changes(m);
    if (const SavedState* state = member.core->take_state()) {
      member.saved = *state;
      line(std::to_string(m),
           "saves epoch " + std::to_string(state->epoch) +
               (state->vote == kNoMember ? "" : ", vote for " + std::to_string(state->vote)) +
               (state->amnesia ? ", amnesiac" : ""));
      member.core->state_saved();
      more = true;
    }
    for (Member lagging : member.core->take_lagging())
      line(std::to_string(m), "lacks entries for " + std::to_string(lagging));
  }
}

void GroupStory::write_entries(Member m) {
  Person& member = members_[m];
  std::string all;
  member.core->hand_over([&](base::Bytes bytes, Index) {
    all += (all.empty() ? "" : ", ") + text_of_entries(bytes);
    Entry entry;
    while (!bytes.empty()) {
      decode_entry(bytes, entry);
      // Takes the place of what was dropped.
      std::erase_if(member.records, [&](const std::string& record) {
        Entry old;
        decode_entry(record, old);
        return old.header.at.index >= entry.header.at.index;
      });
      member.records.emplace_back(bytes.substr(0, entry.bytes));
      bytes.remove_prefix(entry.bytes);
    }
  });
  if (all.empty()) return;
  line(std::to_string(m), "writes " + all);
  member.core->written(member.core->last());
  member.core->synced(member.core->last());
}

void GroupStory::apply(Member m) {
  GroupCore& core = *members_[m].core;
  if (core.data_stands() && core.applied() < core.commit()) core.applied(core.commit());
}

void GroupStory::tell_changes(Member m) {
  Person& member = members_[m];
  const GroupCore& core = *member.core;
  const std::string who = std::to_string(m);
  if (core.role() != member.role || core.leader() != member.leader) {
    const std::string epoch = " epoch " + std::to_string(core.epoch());
    if (core.leads())
      line(who, "leads" + epoch);
    else if (core.role() == GroupCore::Role::candidate)
      line(who, "wants to lead" + epoch);
    else
      line(who, core.leader() == kNoMember
                    ? "follows nobody," + epoch
                    : "follows " + std::to_string(core.leader()) + "," + epoch);
  }
  if (core.commit() > member.commit) line(who, "commits up to " + std::to_string(core.commit()));
  if (core.serves() && !member.serves) line(who, "serves");
  while (!member.reads.empty() && core.leads() && core.confirmed_round() >= member.reads.front()) {
    line(who, "answers the read of round " + std::to_string(member.reads.front()));
    member.reads.erase(member.reads.begin());
  }
  member.role = core.role();
  member.leader = core.leader();
  member.commit = core.commit();
  member.serves = core.serves();
}

void GroupStory::line(const std::string& who, const std::string& what) {
  told_ += who + std::string(8 - who.size(), ' ') + what + "\n";
}

std::string GroupStory::told() { return "\n" + std::exchange(told_, ""); }

}  // namespace quoll::cluster
