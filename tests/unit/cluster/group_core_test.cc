// Every path of the protocol as a story (group_story.h). Messages arrive in the order in which they
// were sent, so that a story is the same every time.
#include "cluster/group_core.h"

#include <doctest/doctest.h>

#include "tests/unit/cluster/group_story.h"

namespace quoll::cluster {
namespace {

GroupConfig group_of(size_t members, unsigned write, unsigned read) {
  GroupConfig group;
  group.members = members;
  group.write_quorum = write;
  group.read_quorum = read;
  return group;
}

// Member 0 leads epoch 1 and serves; its NOOP is everywhere.
void elect_first(GroupStory& story) {
  story.begin();
  story.time_out(0);
  REQUIRE(story.core(0).serves());
  story.told();
}

}  // namespace

TEST_CASE("group core: members that never had a past begin, and elect the first who asks") {
  GroupStory story(group_of(3, 2, 2));
  story.begin();
  CHECK(story.told() == R"(
0 -> 1  hello, epoch 0, log 0.0, virgin
1 -> 0  hello, epoch 0, log 0.0, virgin
0 -> 2  hello, epoch 0, log 0.0, virgin
2 -> 0  hello, epoch 0, log 0.0, virgin
0       saves epoch 0
1 -> 2  hello, epoch 0, log 0.0, virgin
2       saves epoch 0
2 -> 1  hello, epoch 0, log 0.0, virgin
1       saves epoch 0
)");
  story.time_out(0);
  CHECK(story.told() == R"(
0 -> 1  prevote? epoch 1, log 0.0
0 -> 2  prevote? epoch 1, log 0.0
1 -> 0  prevote granted epoch 1
0       wants to lead epoch 1
0       saves epoch 1, vote for 0
2 -> 0  prevote granted epoch 1
0 -> 1  vote? epoch 1, log 0.0
1       saves epoch 1, vote for 0
0 -> 2  vote? epoch 1, log 0.0
2       saves epoch 1, vote for 0
1 -> 0  vote granted epoch 1
0       leads epoch 1
0       writes 1.1 noop
2 -> 0  vote granted epoch 1
0 -> 1  append epoch 1 round 0 commit 0, after 0.0
1       follows 0, epoch 1
0 -> 2  append epoch 1 round 0 commit 0, after 0.0
2       follows 0, epoch 1
1 -> 0  has up to 0, epoch 1 round 0
2 -> 0  has up to 0, epoch 1 round 0
0 -> 1  append epoch 1 round 0 commit 0, after 0.0: 1.1 noop
1       writes 1.1 noop
0 -> 2  append epoch 1 round 0 commit 0, after 0.0: 1.1 noop
2       writes 1.1 noop
1 -> 0  has up to 1, epoch 1 round 0
0       commits up to 1
0       serves
2 -> 0  has up to 1, epoch 1 round 0
0 -> 1  append epoch 1 round 0 commit 1, after 1.1
1       commits up to 1
0 -> 2  append epoch 1 round 0 commit 1, after 1.1
2       commits up to 1
)");
}

TEST_CASE("group core: a write is committed when two of three have it on disk") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  story.write(0, "a");  // our own disk may wait: two others have it
  CHECK(story.told() == R"(
0       executes a as 2
0 -> 1  append epoch 1 round 0 commit 1, after 1.1: 1.2 effects
1       writes 1.2 effects
0 -> 2  append epoch 1 round 0 commit 1, after 1.1: 1.2 effects
2       writes 1.2 effects
1 -> 0  has up to 2, epoch 1 round 0
2 -> 0  has up to 2, epoch 1 round 0
0       commits up to 2
0 -> 1  append epoch 1 round 0 commit 2, after 1.2
1       commits up to 2
0 -> 2  append epoch 1 round 0 commit 2, after 1.2
2       commits up to 2
0       writes 1.2 effects
)");
}

TEST_CASE("group core: when a leader ends, its successor commits what it left with a NOOP") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  story.isolate(2);
  story.write(0, "a");
  story.disconnect(0, 1);
  story.write(0, "alone");  // nobody hears of it
  story.told();
  story.end(0);
  story.connect(1, 2);
  story.told();
  story.time_out(2);  // its log is older: it is not elected
  CHECK(story.told() == R"(
2       follows nobody, epoch 1
2 -> 1  prevote? epoch 2, log 1.1
1 -> 2  prevote refused epoch 1
)");
  story.time_out(1);
  CHECK(story.told() == R"(
1       follows nobody, epoch 1
1 -> 2  prevote? epoch 2, log 1.2
2 -> 1  prevote granted epoch 2
1       wants to lead epoch 2
1       saves epoch 2, vote for 1
1 -> 2  vote? epoch 2, log 1.2
2       saves epoch 2, vote for 1
2 -> 1  vote granted epoch 2
1       leads epoch 2
1       writes 2.3 noop
1 -> 2  append epoch 2 round 0 commit 2, after 1.2
2       follows 1, epoch 2
2 -> 1  refuses, look at 1, epoch 2 round 0
1 -> 2  append epoch 2 round 0 commit 2, after 1.1
2 -> 1  has up to 1, epoch 2 round 0
1 -> 2  append epoch 2 round 0 commit 2, after 1.1: 1.2 effects
2       commits up to 2
2       writes 1.2 effects
1 -> 2  append epoch 2 round 0 commit 2, after 1.2: 2.3 noop
2       writes 2.3 noop
2 -> 1  has up to 2, epoch 2 round 0
2 -> 1  has up to 3, epoch 2 round 0
1       commits up to 3
1       serves
1 -> 2  append epoch 2 round 0 commit 3, after 2.3
2       commits up to 3
)");
}

TEST_CASE("group core: a leader that was cut off drops and undoes what only it had executed") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  story.isolate(0);
  story.write(0, "x");
  story.write(0, "y");
  story.time_out(1);
  story.write(1, "a");
  story.told();
  story.connect(0, 1);
  CHECK(story.told() == R"(
0 -> 1  hello, epoch 1, log 1.3
0 -> 1  append epoch 1 round 0 commit 1, after 1.1
1 -> 0  hello, epoch 2, log 2.3
1 -> 0  append epoch 2 round 0 commit 3, after 1.1
0       follows 1, epoch 2
0       saves epoch 2
1 -> 0  refuses, look at 0, epoch 2 round 0
0 -> 1  has up to 1, epoch 2 round 0
1 -> 0  append epoch 2 round 0 commit 3, after 1.1: 2.2 noop, 2.3 effects
0       undoes what is behind 1
0       commits up to 3
0       writes 2.2 noop, 2.3 effects
0 -> 1  has up to 3, epoch 2 round 0
)");
  CHECK(story.core(0).last() == story.core(1).last());
}

TEST_CASE("group core: a read waits for a round that began after it") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  story.read(0);
  CHECK(story.told() == R"(
0       is asked, round 1
0 -> 1  append epoch 1 round 1 commit 1, after 1.1
1 -> 0  has up to 1, epoch 1 round 1
0       answers the read of round 1
)");
  story.isolate(0);
  story.read(0);  // others may lead by now
  CHECK(story.told() == R"(
0       is asked, round 2
)");
}

TEST_CASE("group core: what comes while entries are on their way goes together") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  GroupCore& leader = story.core(0);
  const base::Bytes words[] = {"x"};
  const store::Effect effect{0, words, store::kToAll};
  const auto entries_sent = [&](base::Millis now) {
    std::vector<size_t> sizes;
    for (const GroupCore::Send& send : leader.flush(now))
      sizes.push_back(send.message.entries.size());
    return sizes;
  };
  constexpr base::Millis kNow = 2'000'000;
  const auto answer = [&](Member from, Index has) {
    GroupMessage reply;
    reply.kind = GroupMessage::Kind::append_reply;
    reply.flag = true;
    reply.epoch = leader.epoch();
    reply.at.index = reply.index = has;
    CHECK(leader.receive(from, reply, kNow).ok());
  };
  entries_sent(kNow - 1);  // a sign of life is due
  leader.propose({&effect, 1}, 0);
  const std::vector<size_t> one = entries_sent(kNow);
  REQUIRE(one.size() == 2);
  CHECK(!leader.holds_back());
  leader.propose({&effect, 1}, 0);
  leader.propose({&effect, 1}, 0);
  CHECK(entries_sent(kNow).empty());
  CHECK(leader.holds_back());
  answer(1, leader.last().index - 2);  // one has the first entry, and gets the others
  CHECK(entries_sent(kNow) == std::vector<size_t>{2 * one[0]});
  CHECK(leader.holds_back());
  CHECK(entries_sent(kNow + 1) ==
        std::vector<size_t>{2 * one[0]});  // the other one does not wait for ever
  CHECK(!leader.holds_back());
}

TEST_CASE("group core: fewer entries than were sent last wait for others, but not for long") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  GroupCore& leader = story.core(0);
  const base::Bytes words[] = {"x"};
  const store::Effect effect{0, words, store::kToAll};
  base::Millis now = 2'000'000;
  const auto entries_sent = [&] {
    size_t bytes = 0;
    for (const GroupCore::Send& send : leader.flush(now)) bytes += send.message.entries.size();
    return bytes;
  };
  const auto answer = [&] {
    for (Member from : {1, 2}) {
      GroupMessage reply;
      reply.kind = GroupMessage::Kind::append_reply;
      reply.flag = true;
      reply.epoch = leader.epoch();
      reply.at.index = reply.index = leader.last().index;
      CHECK(leader.receive(from, reply, now).ok());
    }
  };
  leader.propose({&effect, 1}, 0);
  const size_t one = entries_sent();
  answer();
  for (int i = 0; i < 3; ++i) leader.propose({&effect, 1}, 0);
  CHECK(entries_sent() == 3 * one);
  answer();
  leader.propose({&effect, 1}, 0);
  CHECK(entries_sent() == 0);
  CHECK(leader.holds_back());
  leader.propose({&effect, 1}, 0);
  leader.propose({&effect, 1}, 0);
  CHECK(entries_sent() == 3 * one);
  answer();
  leader.propose({&effect, 1}, 0);
  CHECK(entries_sent() == 0);
  ++now;
  CHECK(entries_sent() == one);
  answer();
  leader.propose({&effect, 1}, 0);
  CHECK(entries_sent() == one);  // the last one was alone, too
}

TEST_CASE("group core: many entries are not held back") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  GroupCore& leader = story.core(0);
  const std::string word(kHeldBackBytesMax, 'x');
  const base::Bytes words[] = {word};
  const store::Effect effect{0, words, store::kToAll};
  constexpr base::Millis kNow = 2'000'000;
  for (int i = 0; i < 3; ++i) {
    leader.propose({&effect, 1}, 0);
    size_t bytes = 0;
    for (const GroupCore::Send& send : leader.flush(kNow)) bytes += send.message.entries.size();
    CHECK(bytes > 2 * kHeldBackBytesMax);
  }
}

TEST_CASE("group core: reads that come while a round is under way share the next one") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  GroupCore& leader = story.core(0);
  constexpr base::Millis kNow = 2'000'000;
  const auto rounds_sent = [&](base::Millis now) {
    std::vector<uint64_t> rounds;
    for (const GroupCore::Send& send : leader.flush(now)) rounds.push_back(send.message.round);
    return rounds;
  };
  const auto answer = [&](Member from, uint64_t round) {
    GroupMessage reply;
    reply.kind = GroupMessage::Kind::append_reply;
    reply.flag = true;
    reply.epoch = leader.epoch();
    reply.at.index = reply.index = leader.last().index;
    reply.round = round;
    CHECK(leader.receive(from, reply, kNow).ok());
  };
  rounds_sent(kNow - 1);  // a sign of life is due
  CHECK(leader.confirm_read() == 1);
  CHECK(rounds_sent(kNow) == std::vector<uint64_t>{1});  // one answer is enough
  CHECK(leader.confirm_read() == 2);
  CHECK(rounds_sent(kNow).empty());
  CHECK(leader.holds_back());
  CHECK(leader.confirm_read() == 2);  // nobody has been asked since
  answer(1, 1);
  CHECK(leader.confirmed_round() == 1);
  CHECK(rounds_sent(kNow) == std::vector<uint64_t>{2});
  CHECK(leader.confirm_read() == 3);
  CHECK(rounds_sent(kNow).empty());
  CHECK(rounds_sent(kNow + 1) == std::vector<uint64_t>{3});  // the second one may be lost
  answer(1, 2);
  CHECK(leader.confirmed_round() == 2);
  // Entries that are sent anyway take the next round along.
  CHECK(leader.confirm_read() == 4);
  const base::Bytes words[] = {"x"};
  const store::Effect effect{0, words, store::kToAll};
  leader.propose({&effect, 1}, 0);
  CHECK(rounds_sent(kNow + 1) == std::vector<uint64_t>{4, 4});
  answer(2, 4);
  CHECK(leader.confirmed_round() == 4);
}

TEST_CASE("group core: what is sent before a round begins does not confirm it") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  GroupCore& leader = story.core(0);
  constexpr base::Millis kNow = 2'000'000;
  const auto rounds_sent = [&] {
    std::vector<uint64_t> rounds;
    for (const GroupCore::Send& send : leader.flush(kNow)) rounds.push_back(send.message.round);
    return rounds;
  };
  const auto answer = [&](Member from, bool follows, uint64_t round) {
    GroupMessage reply;
    reply.kind = GroupMessage::Kind::append_reply;
    reply.flag = follows;
    reply.epoch = leader.epoch();
    reply.round = round;
    CHECK(leader.receive(from, reply, kNow).ok());
  };
  leader.confirm_read();
  rounds_sent();
  CHECK(leader.confirm_read() == 2);
  CHECK(rounds_sent().empty());
  answer(2, false, 1);  // confirms the first round, and wants older entries
  leader.confirm_read();
  leader.confirm_read();  // the second round begins now, with three reads
  CHECK(leader.confirmed_round() == 1);
  CHECK(rounds_sent().back() == 2);
  CHECK(leader.confirm_read() == 3);  // held back: there are fewer, and none is confirmed
  answer(2, false, 1);
  CHECK(rounds_sent() == std::vector<uint64_t>{2});
  answer(2, false, 2);
  CHECK(leader.confirmed_round() == 2);
  CHECK(leader.confirm_read() == 3);
}

TEST_CASE("group core: when the member that was asked is silent, the round asks the others") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  GroupCore& leader = story.core(0);
  constexpr base::Millis kNow = 2'000'000;
  const auto asked = [&](base::Millis now) {
    std::vector<Member> members;
    for (const GroupCore::Send& send : leader.flush(now)) members.push_back(send.to);
    return members;
  };
  asked(kNow - 1);  // a sign of life is due
  leader.confirm_read();
  CHECK(asked(kNow) == std::vector<Member>{1});
  leader.confirm_read();  // later rounds do not make the first one's wait longer
  CHECK(asked(kNow + kRoundPatienceMs - 1) == std::vector<Member>{1});
  CHECK(leader.holds_back());
  CHECK(asked(kNow + kRoundPatienceMs) == std::vector<Member>{2});
  GroupMessage reply;
  reply.kind = GroupMessage::Kind::append_reply;
  reply.flag = true;
  reply.epoch = leader.epoch();
  reply.at.index = reply.index = leader.last().index;
  reply.round = 2;
  CHECK(leader.receive(2, reply, kNow + kRoundPatienceMs).ok());
  CHECK(leader.confirmed_round() == 2);
  leader.confirm_read();
  CHECK(asked(kNow + kRoundPatienceMs) == std::vector<Member>{2});  // who answered last
}

TEST_CASE("group core: with a read quorum of one nobody is asked") {
  GroupStory story(group_of(3, 3, 1));
  elect_first(story);
  story.read(0);
  CHECK(story.told() == R"(
0       is asked, round 1
0       answers the read of round 1
)");
}

TEST_CASE("group core: who lost its memory counts for nothing until it is readmitted") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  story.write(0, "a");
  story.end(0);
  story.end(2);
  story.told();
  story.restart(2, 77);
  story.time_out(2);  // it does not campaign
  story.time_out(1);  // and does not vote
  CHECK(story.told() == R"(
2       begins, log 0.0, amnesiac
1 -> 2  hello, epoch 1, log 1.2
2 -> 1  hello, epoch 1, log 0.0
1       follows nobody, epoch 1
1 -> 2  prevote? epoch 2, log 1.2
2 -> 1  prevote refused epoch 1
)");
  story.restart(0);
  story.time_out(0);
  CHECK(story.told() == R"(
0       begins, log 1.2
0 -> 1  hello, epoch 1, log 1.2
1 -> 0  hello, epoch 1, log 1.2
0 -> 2  hello, epoch 1, log 1.2
2 -> 0  hello, epoch 1, log 0.0
0 -> 1  prevote? epoch 2, log 1.2
0 -> 2  prevote? epoch 2, log 1.2
1 -> 0  prevote granted epoch 2
0       wants to lead epoch 2
0       saves epoch 2, vote for 0
2 -> 0  prevote refused epoch 1
0 -> 1  vote? epoch 2, log 1.2
1       saves epoch 2, vote for 0
0 -> 2  vote? epoch 2, log 1.2
2       saves epoch 2, amnesiac
1 -> 0  vote granted epoch 2
0       leads epoch 2
0       writes 2.3 noop
2 -> 0  vote refused epoch 2
0 -> 1  append epoch 2 round 0 commit 0, after 1.2
1       follows 0, epoch 2
0 -> 2  append epoch 2 round 0 commit 0, after 1.2
2       follows 0, epoch 2
1 -> 0  has up to 2, epoch 2 round 0
2 -> 0  refuses, look at 0, epoch 2 round 0, amnesiac 77
0 -> 1  append epoch 2 round 0 commit 0, after 1.2: 2.3 noop
1       writes 2.3 noop
0 -> 2  append epoch 2 round 0 commit 0, after 0.0
1 -> 0  has up to 3, epoch 2 round 0
0       commits up to 3
0       serves
2 -> 0  has up to 0, epoch 2 round 0, amnesiac 77
0 -> 2  append epoch 2 round 0 commit 3, after 0.0: 1.1 noop, 1.2 effects
2       commits up to 2
2       writes 1.1 noop, 1.2 effects
0 -> 2  append epoch 2 round 0 commit 3, after 1.2: 2.3 noop
2       commits up to 3
2       writes 2.3 noop
2 -> 0  has up to 2, epoch 2 round 0, amnesiac 77
2 -> 0  has up to 3, epoch 2 round 0, amnesiac 77
0 -> 1  append epoch 2 round 0 commit 3, after 2.3
1       commits up to 3
)");
  story.tick(0);
  CHECK(story.told() == R"(
0       writes 2.4 rejoin
0 -> 1  append epoch 2 round 0 commit 3, after 2.3: 2.4 rejoin
1       writes 2.4 rejoin
0 -> 2  append epoch 2 round 0 commit 3, after 2.3: 2.4 rejoin
2       writes 2.4 rejoin
1 -> 0  has up to 4, epoch 2 round 0
0       commits up to 4
2 -> 0  has up to 4, epoch 2 round 0, amnesiac 77
0 -> 1  append epoch 2 round 0 commit 4, after 2.4
1       commits up to 4
0 -> 2  append epoch 2 round 0 commit 4, after 2.4
2       commits up to 4
2       saves epoch 2
2 -> 0  has up to 4, epoch 2 round 0
)");
  CHECK(story.core(2).intact());
}

TEST_CASE("group core: who lacks more than the log holds gets all data, and goes on from there") {
  GroupConfig group = group_of(3, 2, 2);
  group.log_keep_bytes = 1;
  GroupStory story(group);
  elect_first(story);
  story.isolate(2);
  story.write(0, "a");
  story.hand_over(0);
  story.write(1, "b");
  story.told();
  story.connect(2, 1);
  CHECK(story.told() == R"(
1 -> 2  hello, epoch 2, log 2.4
1 -> 2  append epoch 2 round 0 commit 4, after 1.2
2       follows 1, epoch 2
2       saves epoch 2
2 -> 1  hello, epoch 1, log 1.1
2 -> 1  refuses, look at 1, epoch 2 round 0
1       lacks entries for 2
1 -> 2  append epoch 2 round 0 commit 4, after 0.0
2 -> 1  has up to 0, epoch 2 round 0
)");
  story.send_all_data(1, 2);
  CHECK(story.told() == R"(
2       gets all data as of 2.4
2       commits up to 4
1 -> 2  append epoch 2 round 0 commit 4, after 2.4
2 -> 1  has up to 0, epoch 2 round 0
2 -> 1  has up to 4, epoch 2 round 0
)");
}

TEST_CASE("group core: a witness leads only until a member with data has the whole log") {
  GroupConfig group = group_of(3, 2, 2);
  group.witnesses = 1u << 2;
  GroupStory story(group);
  elect_first(story);
  story.isolate(1);
  story.write(0, "a");  // member 2 has it, member 1 has not
  story.end(0);
  story.connect(1, 2);
  story.told();
  story.time_out(2);
  CHECK(story.told() == R"(
2       follows nobody, epoch 1
2 -> 1  prevote? epoch 2, log 1.2
1 -> 2  prevote granted epoch 2
2       wants to lead epoch 2
2       saves epoch 2, vote for 2
2 -> 1  vote? epoch 2, log 1.2
1       follows nobody, epoch 2
1       saves epoch 2, vote for 2
1 -> 2  vote granted epoch 2
2       leads epoch 2
2       writes 2.3 noop
2 -> 1  append epoch 2 round 0 commit 2, after 1.2
1       follows 2, epoch 2
1 -> 2  refuses, look at 1, epoch 2 round 0
2 -> 1  append epoch 2 round 0 commit 2, after 1.1
1 -> 2  has up to 1, epoch 2 round 0
2 -> 1  append epoch 2 round 0 commit 2, after 1.1: 1.2 effects
1       commits up to 2
1       writes 1.2 effects
2 -> 1  append epoch 2 round 0 commit 2, after 1.2: 2.3 noop
1       writes 2.3 noop
1 -> 2  has up to 2, epoch 2 round 0
1 -> 2  has up to 3, epoch 2 round 0
2       commits up to 3
2 -> 1  append epoch 2 round 0 commit 3, after 2.3
1       commits up to 3
)");
  story.tick(2);
  CHECK(story.told() == R"(
2 -> 1  lead, epoch 2
1       wants to lead epoch 3
1       saves epoch 3, vote for 1
1 -> 2  vote? epoch 3, log 2.3
2       follows nobody, epoch 3
2       saves epoch 3, vote for 1
2 -> 1  vote granted epoch 3
1       leads epoch 3
1       writes 3.4 noop
1 -> 2  append epoch 3 round 0 commit 3, after 2.3
2       follows 1, epoch 3
2 -> 1  has up to 3, epoch 3 round 0
1 -> 2  append epoch 3 round 0 commit 3, after 2.3: 3.4 noop
2       writes 3.4 noop
2 -> 1  has up to 4, epoch 3 round 0
1       commits up to 4
1       serves
1 -> 2  append epoch 3 round 0 commit 4, after 3.4
2       commits up to 4
)");
}

TEST_CASE("group core: a leader without a quorum steps down") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  story.disconnect(0, 1);
  story.tick(0);
  CHECK(story.told() == R"(
)");
  story.disconnect(0, 2);
  story.tick(0);
  CHECK(story.told() == R"(
0       follows nobody, epoch 1
)");
}

TEST_CASE("group core: five members of which two have a write need four to elect") {
  GroupStory story(group_of(5, 2, 4));
  elect_first(story);
  story.isolate(2);
  story.isolate(3);
  story.isolate(4);
  story.write(0, "a");
  CHECK(story.told() == R"(
0       executes a as 2
0       writes 1.2 effects
0 -> 1  append epoch 1 round 0 commit 1, after 1.1: 1.2 effects
1       writes 1.2 effects
1 -> 0  has up to 2, epoch 1 round 0
0       commits up to 2
0 -> 1  append epoch 1 round 0 commit 2, after 1.2
1       commits up to 2
)");
  story.end(0);
  story.connect(2, 3);
  story.connect(2, 4);
  story.connect(3, 4);
  story.told();
  story.time_out(2);  // three of them: a majority, but none that has the write
  CHECK(story.told() == R"(
2       follows nobody, epoch 1
2 -> 3  prevote? epoch 2, log 1.1
2 -> 4  prevote? epoch 2, log 1.1
3 -> 2  prevote granted epoch 2
4 -> 2  prevote granted epoch 2
)");
  story.connect_to_all(1);
  story.told();
  story.time_out(1);
  CHECK(story.told() == R"(
1       follows nobody, epoch 1
1 -> 2  prevote? epoch 2, log 1.2
1 -> 3  prevote? epoch 2, log 1.2
1 -> 4  prevote? epoch 2, log 1.2
2 -> 1  prevote granted epoch 2
3 -> 1  prevote granted epoch 2
4 -> 1  prevote granted epoch 2
1       wants to lead epoch 2
1       saves epoch 2, vote for 1
1 -> 2  vote? epoch 2, log 1.2
2       saves epoch 2, vote for 1
1 -> 3  vote? epoch 2, log 1.2
3       follows nobody, epoch 2
3       saves epoch 2, vote for 1
1 -> 4  vote? epoch 2, log 1.2
4       follows nobody, epoch 2
4       saves epoch 2, vote for 1
2 -> 1  vote granted epoch 2
3 -> 1  vote granted epoch 2
4 -> 1  vote granted epoch 2
1       leads epoch 2
1       writes 2.3 noop
1 -> 2  append epoch 2 round 0 commit 2, after 1.2
2       follows 1, epoch 2
1 -> 3  append epoch 2 round 0 commit 2, after 1.2
3       follows 1, epoch 2
1 -> 4  append epoch 2 round 0 commit 2, after 1.2
4       follows 1, epoch 2
2 -> 1  refuses, look at 1, epoch 2 round 0
3 -> 1  refuses, look at 1, epoch 2 round 0
4 -> 1  refuses, look at 1, epoch 2 round 0
1 -> 2  append epoch 2 round 0 commit 2, after 1.1
1 -> 3  append epoch 2 round 0 commit 2, after 1.1
1 -> 4  append epoch 2 round 0 commit 2, after 1.1
2 -> 1  has up to 1, epoch 2 round 0
3 -> 1  has up to 1, epoch 2 round 0
4 -> 1  has up to 1, epoch 2 round 0
1 -> 2  append epoch 2 round 0 commit 2, after 1.1: 1.2 effects
2       commits up to 2
2       writes 1.2 effects
1 -> 2  append epoch 2 round 0 commit 2, after 1.2: 2.3 noop
2       writes 2.3 noop
1 -> 3  append epoch 2 round 0 commit 2, after 1.1: 1.2 effects
3       commits up to 2
3       writes 1.2 effects
1 -> 3  append epoch 2 round 0 commit 2, after 1.2: 2.3 noop
3       writes 2.3 noop
1 -> 4  append epoch 2 round 0 commit 2, after 1.1: 1.2 effects
4       commits up to 2
4       writes 1.2 effects
1 -> 4  append epoch 2 round 0 commit 2, after 1.2: 2.3 noop
4       writes 2.3 noop
2 -> 1  has up to 2, epoch 2 round 0
2 -> 1  has up to 3, epoch 2 round 0
1       commits up to 3
1       serves
3 -> 1  has up to 2, epoch 2 round 0
3 -> 1  has up to 3, epoch 2 round 0
4 -> 1  has up to 2, epoch 2 round 0
4 -> 1  has up to 3, epoch 2 round 0
1 -> 2  append epoch 2 round 0 commit 3, after 2.3
2       commits up to 3
1 -> 3  append epoch 2 round 0 commit 3, after 2.3
3       commits up to 3
1 -> 4  append epoch 2 round 0 commit 3, after 2.3
4       commits up to 3
)");
}

TEST_CASE("group core: leadership is handed to a member that has the whole log") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  story.write(0, "a");
  story.told();
  story.hand_over(0);
  CHECK(story.told() == R"(
0 -> 1  lead, epoch 1
1       wants to lead epoch 2
1       saves epoch 2, vote for 1
1 -> 0  vote? epoch 2, log 1.2
0       follows nobody, epoch 2
0       saves epoch 2, vote for 1
1 -> 2  vote? epoch 2, log 1.2
2       follows nobody, epoch 2
2       saves epoch 2, vote for 1
0 -> 1  vote granted epoch 2
1       leads epoch 2
1       writes 2.3 noop
2 -> 1  vote granted epoch 2
1 -> 0  append epoch 2 round 0 commit 2, after 1.2
0       follows 1, epoch 2
1 -> 2  append epoch 2 round 0 commit 2, after 1.2
2       follows 1, epoch 2
0 -> 1  has up to 2, epoch 2 round 0
2 -> 1  has up to 2, epoch 2 round 0
1 -> 0  append epoch 2 round 0 commit 2, after 1.2: 2.3 noop
0       writes 2.3 noop
1 -> 2  append epoch 2 round 0 commit 2, after 1.2: 2.3 noop
2       writes 2.3 noop
0 -> 1  has up to 3, epoch 2 round 0
1       commits up to 3
1       serves
2 -> 1  has up to 3, epoch 2 round 0
1 -> 0  append epoch 2 round 0 commit 3, after 2.3
0       commits up to 3
1 -> 2  append epoch 2 round 0 commit 3, after 2.3
2       commits up to 3
)");
}

namespace {

GroupMessage vote_for(Epoch epoch, Position last, bool asked) {
  GroupMessage vote;
  vote.kind = GroupMessage::Kind::vote;
  vote.epoch = epoch;
  vote.at = last;
  vote.flag = asked;
  return vote;
}

GroupConfig leased_group() {
  GroupConfig group = group_of(3, 2, 2);
  group.lease = true;
  return group;
}

}  // namespace

TEST_CASE("group core: a lease holds for a part of what the members have promised") {
  GroupStory story(leased_group());
  elect_first(story);
  const base::Millis now = story.now(), timeout = leased_group().election_timeout_ms;
  GroupCore& leader = story.core(0);
  const base::Millis sent = now - 1;  // the round; then there was a moment's wait for company
  CHECK(leader.lease_holds(now));
  CHECK(leader.lease_holds(sent + lease_ms(timeout) - 1));
  CHECK_FALSE(leader.lease_holds(sent + lease_ms(timeout)));
  CHECK(lease_ms(timeout) * 11 * 11 / 100 < timeout);  // rates a tenth apart, either way
  CHECK_FALSE(story.core(1).lease_holds(now));
  // Who heard the leader votes for nobody else before its promise is over.
  GroupCore& bound = story.core(1);
  const GroupMessage vote = vote_for(2, bound.last(), false);
  CHECK(bound.receive(2, vote, now + timeout - 1).ok());
  CHECK(bound.epoch() == 1);
  CHECK(bound.receive(2, vote, now + timeout).ok());
  CHECK(bound.epoch() == 2);
  CHECK(bound.state().vote == 2);
}

TEST_CASE("group core: a promise outlives the process that gave it") {
  GroupStory story(leased_group());
  elect_first(story);
  story.end(1);
  story.isolate(0);
  story.restart(1);
  GroupCore& bound = story.core(1);
  const GroupMessage vote = vote_for(2, bound.last(), false);
  CHECK(bound.receive(2, vote, story.now() + leased_group().election_timeout_ms - 1).ok());
  CHECK(bound.epoch() == 1);
  CHECK(bound.receive(2, vote, story.now() + leased_group().election_timeout_ms).ok());
  CHECK(bound.epoch() == 2);
}

TEST_CASE("group core: who hands leadership on gives up its lease, and releases the others") {
  GroupStory story(leased_group());
  elect_first(story);
  REQUIRE(story.core(0).lease_holds(story.now()));
  story.write(0, "a");
  REQUIRE(story.core(0).transfer());
  CHECK_FALSE(story.core(0).lease_holds(story.now()));
  GroupCore& bound = story.core(2);
  CHECK(bound.receive(1, vote_for(2, {1, 2}, true), story.now()).ok());
  CHECK(bound.state().vote == 1);
  // Nor does it get another one in that epoch.
  story.tick(0);
  CHECK_FALSE(story.core(0).lease_holds(story.now()));
}

TEST_CASE("group core: without the setting there is no lease, and nobody is bound") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  CHECK_FALSE(story.core(0).lease_holds(story.now()));
  CHECK(story.core(1).receive(2, vote_for(2, story.core(1).last(), false), story.now()).ok());
  CHECK(story.core(1).epoch() == 2);
}

TEST_CASE("group core: a leader learns what the disks of others have when it asks") {
  GroupConfig group = group_of(3, 2, 2);
  group.self = 1;
  GroupCore follower(group, {}, {}, 1, 0);
  GroupMessage append;
  append.kind = GroupMessage::Kind::append;
  append.epoch = 1;
  std::string entry;
  encode_entry({{1, 1}, 0, 0, EntryKind::noop}, {}, entry);
  append.entries = entry;
  follower.linked(0);
  auto said = [&] {
    if (follower.take_state()) follower.state_saved();
    follower.hand_over([](base::Bytes, Index) {});
    std::vector<GroupMessage> replies;
    for (GroupCore::Send& send : follower.flush(0))
      if (send.message.kind == GroupMessage::Kind::append_reply) replies.push_back(send.message);
    return replies;
  };
  CHECK(follower.receive(0, append, 0).ok());
  said();
  CHECK(follower.sync_wish() == 0);
  follower.written({1, 1});
  auto replies = said();
  REQUIRE(replies.size() == 1);
  CHECK(replies[0].index == 1);
  CHECK(replies[0].synced == 0);
  follower.synced({1, 1});
  CHECK(said().empty());  // nobody waits for it
  // Asked for: told as soon as it is there.
  entry.clear();
  encode_entry({{1, 2}, 0, 0, EntryKind::noop}, {}, entry);
  append.at = {1, 1};
  append.entries = entry;
  append.soon = true;
  CHECK(follower.receive(0, append, 0).ok());
  said();
  CHECK(follower.sync_wish() == 2);
  follower.written({1, 2});
  replies = said();
  REQUIRE(replies.size() == 1);
  CHECK(replies[0].synced == 1);
  follower.synced({1, 2});
  replies = said();
  REQUIRE(replies.size() == 1);
  CHECK(replies[0].index == 2);
  CHECK(replies[0].synced == 2);
}

TEST_CASE("group core: the same leader in a later epoch is another one") {
  GroupConfig group = group_of(3, 2, 2);
  group.self = 1;
  GroupCore follower(group, {}, {}, 1, 0);
  follower.linked(0);
  std::string entries;
  for (Index index = 1; index <= 3; ++index)
    encode_entry({{1, index}, 0, 0, EntryKind::noop}, {}, entries);
  GroupMessage append;
  append.kind = GroupMessage::Kind::append;
  append.epoch = 1;
  append.round = 7;
  append.entries = entries;
  CHECK(follower.receive(0, append, 0).ok());
  // It led again meanwhile, and has committed others behind the first.
  append.epoch = 3;
  append.at = {1, 1};
  append.index = 3;
  append.round = 1;
  append.entries = {};
  CHECK(follower.receive(0, append, 0).ok());
  CHECK(follower.commit() == 1);
  if (follower.take_state()) follower.state_saved();
  follower.hand_over([](base::Bytes, Index) {});
  follower.written({1, 3});
  const GroupMessage reply = follower.flush(0).back().message;
  CHECK(reply.kind == GroupMessage::Kind::append_reply);
  CHECK(reply.epoch == 3);
  CHECK(reply.index == 1);
  CHECK(reply.round == 1);
}

TEST_CASE("group core: entries and rounds by how many members have them") {
  GroupStory story(group_of(3, 2, 2));
  elect_first(story);
  story.write(0, "a");
  GroupCore& leader = story.core(0);
  CHECK(leader.stored_by(3) == 2);
  CHECK(leader.synced_by(3) == 2);
  CHECK(leader.synced_by_quorums() == 2);
  story.disconnect(0, 2);
  story.write(0, "b");
  story.read(0);
  CHECK(leader.stored_by(2) == 3);
  CHECK(leader.stored_by(3) < 3);
  CHECK(leader.synced_by(3) < 3);
  CHECK(leader.synced_by_quorums() == 3);
  CHECK(leader.confirmed_by(2) == leader.round());
  CHECK(leader.confirmed_by(3) < leader.round());
}

TEST_CASE("group core: data that came take the place of a log that contradicts them") {
  auto log_of = [](Epoch epoch, Index last) {
    GroupLog log;
    for (Index index = 1; index <= last; ++index)
      log.append({{epoch, index}, 0, 0, EntryKind::noop},
                 [](const EntryHeader& at, std::string& out) { encode_entry(at, {}, out); });
    return log;
  };
  auto core_of = [&](Epoch epoch, Index last) {
    return GroupCore(group_of(3, 2, 2), {}, log_of(epoch, last), 1, 0);
  };
  // The process ended when they were on disk and the log had not begun anew behind them.
  GroupCore contradicted = core_of(1, 9);
  CHECK(contradicted.restored({2, 5}, 4));
  CHECK(contradicted.log().base() == Position{2, 5});
  CHECK(contradicted.last() == Position{2, 5});
  CHECK(contradicted.commit() == 4);
  GroupCore behind = core_of(1, 3);
  CHECK(behind.restored({1, 5}, 5));
  CHECK(behind.last() == Position{1, 5});
  GroupCore holds = core_of(1, 9);
  CHECK_FALSE(holds.restored({1, 5}, 5));
  CHECK(holds.last() == Position{1, 9});
  CHECK(holds.applied() == 5);
}

// --- the shape of the group --------------------------------------------------------------------

namespace {

std::string numbered_id(Member m) {
  return std::string(kMemberIdBytes, static_cast<char>('a' + m % 6));
}

// Voters by the bits, learners by the bits.
GroupShape shape_by_bits(uint32_t voters, uint32_t learners = 0) {
  GroupShape shape;
  for (Member m = 0; m < kMembersMax; ++m)
    if ((voters | learners) >> m & 1) shape.add(m, numbered_id(m));
  shape.now.places = voters;
  return shape;
}

GroupConfig lone_group() {
  GroupConfig group = group_of(1, 1, 1);
  group.durability = Durability::fsync;
  return group;
}

// Member 0 alone, then with 1 and 2.
void grow_to_three(GroupStory& story) {
  story.begin();
  story.time_out(0);
  REQUIRE(story.core(0).serves());
  story.write(0, "before");
  story.change(0, shape_by_bits(0b1, 0b110));
  story.join(1);
  story.join(2);
  story.tick(0);
  REQUIRE(story.core(0).caught_up(1));
  REQUIRE(story.core(0).caught_up(2));
  story.change(0, shape_by_bits(0b111));
  story.tick(0);
  REQUIRE(story.core(0).shape() == shape_by_bits(0b111));
  REQUIRE(story.core(0).shape_settled());
}

}  // namespace

TEST_CASE("group core: one does not begin to need another, but two of three go on alone") {
  GroupConfig group = lone_group();
  group.durability = Durability::memory;
  GroupStory story(group, shape_by_bits(0b1), 3);
  story.begin();
  story.time_out(0);
  REQUIRE(story.core(0).serves());
  story.write(0, "before");
  story.change(0, shape_by_bits(0b1, 0b110));
  story.join(1);
  story.join(2);
  story.tick(0);
  REQUIRE(story.core(0).caught_up(1));
  CHECK(!story.core(0).may_change(shape_by_bits(0b11, 0b100)).ok());
  story.change(0, shape_by_bits(0b111));
  story.tick(0);
  REQUIRE(story.core(0).shape_settled());
  CHECK(story.core(0).may_change(shape_by_bits(0b11)).ok());
  story.change(0, shape_by_bits(0b11));
  story.tick(0);
  CHECK(story.core(0).shape() == shape_by_bits(0b11));
  CHECK(
      story.core(0).may_change(shape_by_bits(0b11, 0b100)).ok());  // for the third one's next place
}

TEST_CASE("group core: nodes learn, are let in, and vote") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 3);
  story.begin();
  story.time_out(0);
  story.told();
  story.change(0, shape_by_bits(0b111));
  CHECK(story.told() == "\n0       does not change: a node learns before it votes\n");
  story.change(0, shape_by_bits(0b1, 0b10));
  CHECK(story.told() == R"(
0       changes the group
0       writes 1.2 shape
0       commits up to 2
0       saves epoch 1, vote for 0
)");
  story.change(0, shape_by_bits(0b11));
  CHECK(story.told() ==
        "\n0       does not change: a node that is to vote has not yet caught up\n");
  story.join(1);
  CHECK(story.core(1).shape() == shape_by_bits(0b1, 0b10));
  CHECK_FALSE(story.core(1).intact());
  story.tick(0);  // a REJOIN
  CHECK(story.core(1).intact());
  CHECK(story.core(0).commit() == 3);
  story.told();
  story.change(0, shape_by_bits(0b11));  // the joint shape, then the new one
  CHECK(story.core(0).shape() == shape_by_bits(0b11));
  CHECK(story.core(0).commit() == 5);
  CHECK(story.core(1).shape() == shape_by_bits(0b11));
}

TEST_CASE("group core: a joint shape needs the old and the new voters") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 6);
  grow_to_three(story);
  story.change(0, shape_by_bits(0b111, 0b111000));
  for (Member m = 3; m < 6; ++m) story.join(m);
  story.tick(0);
  story.isolate(1);
  story.isolate(2);
  const Index before = story.core(0).commit();
  story.change(0, shape_by_bits(0b111000));
  CHECK(story.core(0).shape().joint());
  CHECK(story.core(3).shape().joint());
  CHECK(story.core(0).commit() == before);  // all new voters have it, and one of three old ones
  story.isolate(0);
  // Who has the joint shape needs the old voters, too.
  story.connect(3, 1);
  story.isolate(1);
  story.time_out(3);
  CHECK_FALSE(story.core(3).leads());
  story.connect(3, 1);
  story.connect(3, 2);
  story.time_out(3);
  CHECK(story.core(3).serves());
  story.tick(3);  // it goes on with the change
  CHECK(story.core(3).shape() == shape_by_bits(0b111000));
  CHECK(story.core(3).shape_settled());
}

TEST_CASE("group core: a leader that is not in the new shape hands its part on") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 4);
  grow_to_three(story);
  story.change(0, shape_by_bits(0b111, 0b1000));
  story.join(3);
  story.tick(0);
  story.change(0, shape_by_bits(0b1110));
  story.tick(0);
  story.tick(0);
  CHECK_FALSE(story.core(0).leads());
  const bool follows = story.core(1).leads() || story.core(2).leads() || story.core(3).leads();
  CHECK(follows);
  story.isolate(0);
  story.told();
  story.time_out(0);  // and is silent from then on
  CHECK(story.told().find("\n0") == std::string::npos);
}

TEST_CASE("group core: a shape that was never committed is gone with its entry") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 4);
  grow_to_three(story);
  story.isolate(0);
  story.change(0, shape_by_bits(0b111, 0b1000));
  CHECK(story.core(0).shape().uses(3));
  CHECK_FALSE(story.core(0).shape_settled());
  story.time_out(1);
  REQUIRE(story.core(1).serves());
  story.write(1, "after");
  story.connect(0, 1);
  CHECK(story.core(0).shape() == shape_by_bits(0b111));
  CHECK_FALSE(story.core(0).leads());
}

TEST_CASE("group core: answers of a node that has the place no more count for nothing") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 4);
  grow_to_three(story);
  GroupCore& leader = story.core(0);
  story.change(0, shape_by_bits(0b11));
  story.tick(0);
  REQUIRE(leader.shape() == shape_by_bits(0b11));
  GroupShape again = shape_by_bits(0b11);
  again.add(2, numbered_id(3));  // another node than the one that still answers there
  story.change(0, again);
  story.write(0, "x");
  story.tick(0);
  CHECK(leader.shape() == again);
  CHECK(leader.match(2) == 0);
  CHECK_FALSE(leader.caught_up(2));
}

TEST_CASE("group core: a restart finds the shape that was saved, and those of the log behind") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 3);
  grow_to_three(story);
  const SavedState saved = story.core(1).state();
  CHECK(decode_shape(saved.shape.shape) == shape_by_bits(0b111));
  story.end(1);
  story.restart(1);
  CHECK(story.core(1).shape() == shape_by_bits(0b111));
  // The log may begin behind it.
  GroupConfig group = lone_group();
  group.self = 1;
  GroupLog log;
  log.restart({1, 99});
  GroupCore trimmed(group, saved, std::move(log), 1, 0, GroupShape{});
  CHECK(trimmed.shape() == shape_by_bits(0b111));
  // All data that came are on disk, the log is not yet behind them.
  SavedState arrived = saved;
  arrived.arriving = {{1, 200}, encode_shape(shape_by_bits(0b11))};
  GroupCore came(group, arrived, GroupLog{}, 1, 0, GroupShape{});
  CHECK(came.shape() == shape_by_bits(0b111));
  CHECK(came.restored({1, 200}, 200));
  CHECK(came.shape() == shape_by_bits(0b11));
}

// --- what the group says of slots --------------------------------------------------------------

namespace {

SlotLedger released_ledger(uint16_t slot, TopologyVersion version = 7) {
  SlotLedger ledger;
  ledger.cluster = std::string(kMemberIdBytes, 'c');
  release(ledger, {version, 1}, 3, {slot});
  return ledger;
}

}  // namespace

TEST_CASE("group core: what the group says of slots is in force at once, and on every member") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 3);
  grow_to_three(story);
  const GroupShape before = story.core(0).shape();
  story.core(0).tell_slots(released_ledger(5));
  CHECK(story.core(0).shape().slots == released_ledger(5));
  CHECK_FALSE(story.core(0).shape_settled());
  CHECK_FALSE(story.core(0).may_tell_slots());
  CHECK(story.core(1).shape().slots.empty());
  story.tick(0);
  CHECK(story.core(0).shape_settled());
  story.tick(0);  // the news of it
  for (Member m = 0; m < 3; ++m) CHECK(story.core(m).shape().slots == released_ledger(5));
  // It changes nothing of who is in the group, and outlives changes of that.
  CHECK(story.core(0).shape().now == before.now);
  story.change(0, shape_by_bits(0b11, 0b100));
  story.tick(0);
  REQUIRE(story.core(0).shape_settled());
  CHECK(story.core(0).shape().role(2) == MemberRole::learner);
  for (Member m = 0; m < 3; ++m) CHECK(story.core(m).shape().slots == released_ledger(5));
}

TEST_CASE("group core: whoever leads next knows what was released, unless it was not committed") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 3);
  grow_to_three(story);
  story.tell_slots(0, released_ledger(5));
  REQUIRE(story.core(0).shape_settled());
  story.isolate(0);
  story.core(0).tell_slots(released_ledger(6, 8));
  CHECK(story.core(0).shape().slots == released_ledger(6, 8));
  story.time_out(1);
  REQUIRE(story.core(1).serves());
  CHECK(story.core(1).shape().slots == released_ledger(5));
  story.connect_to_all(0);
  story.tick(1);
  CHECK(story.core(0).shape().slots == released_ledger(5));
  CHECK(story.core(0).shape_settled());
}

TEST_CASE("group core: a restart finds what was said of slots, saved or in the log") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 3);
  grow_to_three(story);
  const SavedShape saved = story.core(2).state().shape;
  CHECK(story.core(2).take_state() == nullptr);
  story.tell_slots(0, released_ledger(5));
  story.write(0, "more");
  // Nothing waits for that to be saved, for the log has it.
  CHECK(story.core(2).take_state() == nullptr);
  story.end(1);
  story.restart(1);
  CHECK(story.core(1).shape().slots == released_ledger(5));
  // Before the log is cut off behind it, it is saved.
  story.core(2).keep_state();
  const SavedState* state = story.core(2).take_state();
  REQUIRE(state != nullptr);
  CHECK(state->shape.at.index > saved.at.index);
  CHECK(decode_shape(state->shape.shape)->slots == released_ledger(5));
  GroupConfig group = lone_group();
  group.self = 2;
  GroupLog log;
  log.restart({1, 99});
  GroupCore trimmed(group, *state, std::move(log), 1, 0, GroupShape{});
  CHECK(trimmed.shape().slots == released_ledger(5));
  story.core(2).state_saved();
}

TEST_CASE("group core: with all data comes what was said of slots as of them") {
  GroupStory story(lone_group(), shape_by_bits(0b1), 3);
  grow_to_three(story);
  story.tell_slots(0, released_ledger(5));
  story.end(2);
  story.restart(2, 77);
  story.send_all_data(0, 2);
  CHECK(story.core(2).shape().slots == released_ledger(5));
}

}  // namespace quoll::cluster
