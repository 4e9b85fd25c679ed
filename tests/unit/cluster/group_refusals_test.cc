// What no member ever says: who hears it stays as it was, and says why. See GroupCore::receive().
#include <doctest/doctest.h>

#include "cluster/group_core.h"

namespace quoll::cluster {
namespace {

std::string sealed(Position at, EntryKind kind = EntryKind::noop, base::Bytes payload = {}) {
  std::string entry;
  encode_entry({at, 0, 0, kind}, payload, entry);
  return entry;
}

GroupMessage append_of(Epoch epoch, Position before, const std::string& entries, Index commit = 0) {
  GroupMessage append;
  append.kind = GroupMessage::Kind::append;
  append.epoch = epoch;
  append.at = before;
  append.index = commit;
  append.entries = entries;
  return append;
}

// Member 1 of three: 0 leads epoch 2, in which it has said that its log is 1.1 1.2 1.3 1.4; two of
// them are committed.
struct Hearer {
  GroupCore core{config(), {}, {}, 1, 0};

  static GroupConfig config() {
    GroupConfig group;
    group.members = 3;
    group.self = 1;
    group.write_quorum = group.read_quorum = 2;
    return group;
  }
  Hearer() {
    core.linked(0);
    core.linked(2);
    std::string entries;
    for (Index index = 1; index <= 4; ++index) entries += sealed({1, index});
    CHECK(core.receive(0, append_of(2, {}, entries, 2), 0).ok());
    CHECK(core.commit() == 2);
    save();
  }
  bool save() {
    if (!core.take_state()) return false;
    core.state_saved();
    return true;
  }
  // Why it is refused; nothing has changed.
  std::string refusal(Member from, const GroupMessage& message) {
    const auto picture = [this] {
      return std::tuple{core.epoch(), core.leader(),      core.last(),        core.commit(),
                        core.role(),  core.log().bytes(), core.shape_number()};
    };
    const auto before = picture();
    const auto heard = core.receive(from, message, 0);
    CHECK(picture() == before);
    CHECK(!save());
    return heard.error();
  }
};

GroupMessage vote_granted(Epoch epoch, bool pre) {
  GroupMessage reply;
  reply.kind = pre ? GroupMessage::Kind::prevote_reply : GroupMessage::Kind::vote_reply;
  reply.flag = true;
  reply.epoch = epoch;
  return reply;
}

}  // namespace

TEST_CASE("group refusals: a log that is not the group's") {
  Hearer hearer;
  const std::string shared = "its log is not the one that we share with the group";
  const std::string stays = "it replaces entries that are there to stay";
  // Committed entries, and what the leader of this epoch has said before.
  CHECK(hearer.refusal(2, append_of(3, {1, 1}, sealed({2, 2}))) == stays);
  CHECK(hearer.refusal(2, append_of(3, {3, 2}, sealed({3, 3}))) == shared);
  CHECK(hearer.refusal(0, append_of(2, {1, 2}, sealed({2, 3}))) == stays);
  CHECK(hearer.refusal(0, append_of(2, {2, 4}, sealed({2, 5}))) == shared);
  CHECK(hearer.refusal(2, append_of(3, {4, 9}, {})) == shared);
  // What is not committed a later leader may replace.
  CHECK(hearer.core.receive(2, append_of(3, {1, 2}, sealed({3, 3})), 0).ok());
  CHECK(hearer.core.last() == Position{3, 3});
}

TEST_CASE("group refusals: entries that do not follow each other") {
  Hearer hearer;
  const std::string refused = "its entries do not follow each other";
  CHECK(hearer.refusal(0, append_of(2, {1, 4}, sealed({2, 5}) + sealed({1, 6}))) == refused);
  CHECK(hearer.refusal(0, append_of(2, {1, 4}, sealed({0, 5}))) == refused);
  CHECK(hearer.refusal(0, append_of(2, {1, 4}, sealed({3, 5}))) == refused);
  CHECK(hearer.refusal(0, append_of(2, {1, 4}, sealed({2, 6}))) == refused);
  CHECK(hearer.refusal(0, append_of(2, {1, 4}, sealed({2, 5}) + sealed({2, 5}))) == refused);
  std::string damaged = sealed({2, 5});
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  CHECK(hearer.refusal(0, append_of(2, {1, 4}, damaged)) == "its entries are damaged");
  CHECK(hearer.refusal(0, append_of(2, {1, 4}, sealed({2, 5}) + "x")) == "its entries are damaged");
}

TEST_CASE("group refusals: more entries than are ever sent at once") {
  Hearer hearer;
  constexpr size_t kMost = kAppendBytesMax / kEntryHeaderBytes;
  std::string entries;
  for (size_t i = 0; i <= kMost; ++i) entries += sealed({2, 5 + i});
  CHECK(hearer.refusal(0, append_of(2, {1, 4}, entries)) ==
        "it has more entries than an append has");
  entries.resize(kMost * kEntryHeaderBytes);
  CHECK(hearer.core.receive(0, append_of(2, {1, 4}, entries), 0).ok());
  CHECK(hearer.core.last() == Position{2, 4 + kMost});
}

TEST_CASE("group refusals: entries that nobody could read at the next start") {
  Hearer hearer;
  GroupShape nobody;
  nobody.add(0, std::string(kMemberIdBytes, 'a'));
  GroupShape twice = nobody;
  twice.add(1, std::string(kMemberIdBytes, 'a'));
  twice.now.places = 0b11;
  for (const auto& [kind, payload] :
       std::vector<std::pair<EntryKind, std::string>>{{EntryKind::shape, "x"},
                                                      {EntryKind::shape, encode_shape(nobody)},
                                                      {EntryKind::shape, encode_shape(twice)},
                                                      {EntryKind::slots, "x"},
                                                      {EntryKind::slots, encode_ledger({}) + "x"},
                                                      {EntryKind::rejoin, "12345678"},
                                                      {EntryKind::effects, ""},
                                                      {EntryKind::effects, std::string(8, '\1')}}) {
    const std::string sound = sealed({2, 5});
    CHECK(hearer.refusal(0, append_of(2, {1, 4}, sound + sealed({2, 6}, kind, payload))) ==
          "an entry of its is none");
  }
}

TEST_CASE("group refusals: a second leader in our epoch, and an epoch that cannot be") {
  Hearer hearer;
  const std::string beyond = "its epoch is beyond what elections bring about";
  CHECK(hearer.refusal(2, append_of(2 + kEpochsAheadMax + 1, {}, {})) == beyond);
  CHECK(hearer.refusal(2, append_of(UINT64_MAX, {}, {})) == beyond);
  GroupMessage refused = vote_granted(UINT64_MAX, false);
  refused.flag = false;
  CHECK(hearer.refusal(2, refused) == beyond);
  hearer.core.tick(10'000);
  CHECK(hearer.core.receive(2, vote_granted(3, true), 10'000).ok());
  hearer.save();
  CHECK(hearer.core.receive(2, vote_granted(3, false), 10'000).ok());
  REQUIRE(hearer.core.leads());
  CHECK(hearer.refusal(0, append_of(3, {1, 4}, {})) == "it leads in the epoch that is ours");
}

TEST_CASE("group refusals: all data that its leader cannot have") {
  Hearer hearer;
  const GroupShape shape = hearer.core.shape();
  CHECK(hearer.core.check_arriving({2, 9}, shape).ok());
  CHECK(hearer.core.check_arriving({1, 2}, shape).ok());
  CHECK(!hearer.core.check_arriving({3, 9}, shape).ok());
  CHECK(!hearer.core.check_arriving({2, UINT64_MAX}, shape).ok());
  CHECK(!hearer.core.check_arriving({2, 2}, shape).ok());
  CHECK(!hearer.core.check_arriving({2, 9}, GroupShape{}).ok());
}

TEST_CASE("group: a loss is accepted where there is something left, and nobody who lets it in") {
  const GroupConfig config = Hearer::config();
  SavedState lost;
  lost.amnesia = 7;
  GroupCore empty{config, lost, {}, 1, 0};
  CHECK(empty.accept_loss().error() == "it has nothing: only the others can let it in");

  GroupLog log;
  for (Index index = 1; index <= 4; ++index)
    log.append({{1, index}, 0, 0, EntryKind::noop},
               [](const EntryHeader& header, std::string& out) { out += sealed(header.at); });
  lost.epoch = 1;
  GroupCore core{config, lost, std::move(log), 1, 0};
  core.linked(0);
  CHECK(core.receive(0, append_of(2, {1, 4}, ""), 0).ok());
  core.tick(2 * config.election_timeout_ms);
  CHECK(core.accept_loss().error() ==
        "there may be a leader, who lets it in: wait for some election timeouts");
  CHECK_FALSE(core.intact());
  if (core.take_state()) core.state_saved();
  core.tick(3 * config.election_timeout_ms);
  CHECK(core.accept_loss().ok());
  CHECK(core.intact());
  REQUIRE(core.take_state());
  CHECK(core.state().amnesia == 0);
  CHECK(core.accept_loss().error() == "it has lost nothing");
}

}  // namespace quoll::cluster
