// A few members of a replica group as cores, told as a story: what they say, save, write and
// become, a line each. Messages arrive in the order in which they were sent; disks are immediate.
//
//   0 -> 1  append epoch 1 round 0 commit 0, after 0.0: 1.1 noop
//   1       writes 1.1 noop
//   1 -> 0  has up to 1, round 0
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "cluster/group_core.h"

namespace quoll::cluster {

class GroupStory {
 public:
  explicit GroupStory(const GroupConfig& group);
  // A group that changes: its first shape, and so many places at most.
  GroupStory(const GroupConfig& group, GroupShape first, size_t places);

  // All members connect, each with an empty directory.
  void begin();
  // Nobody hears of a leader for so long that this member's patience ends first.
  void time_out(Member m);
  void tick(Member m);
  // A node with an empty directory begins at its place; it knows nobody.
  void join(Member m);
  void change(Member m, const GroupShape& target);
  void tell_slots(Member m, const SlotLedger& ledger);
  void write(Member m, const std::string& word);
  void read(Member m);
  void connect(Member a, Member b);
  void connect_to_all(Member m);
  void disconnect(Member a, Member b);
  void isolate(Member m);
  // The process ends; what it wrote and saved remains.
  void end(Member m);
  // It begins again; `amnesia`: its machine had lost what was not synced, as if it were all.
  void restart(Member m, uint64_t amnesia = 0);
  // All data, for a member that `from` called lagging.
  void send_all_data(Member from, Member to);
  void hand_over(Member m);

  // What was told since the last time.
  std::string told();
  GroupCore& core(Member m) { return *members_[m].core; }
  base::Millis now() const { return now_; }

 private:
  struct Person {
    std::unique_ptr<GroupCore> core;
    SavedState saved;
    std::vector<std::string> records;  // entries on disk
    std::vector<uint64_t> reads;       // rounds that confirm them
    bool linked[kMembersMax] = {};
    // Told last.
    GroupCore::Role role = GroupCore::Role::follower;
    Member leader = kNoMember;
    Index commit = 0;
    bool serves = false;
  };
  struct Message {
    Member from, to;
    GroupMessage message;
    std::string entries;
  };

  void start(Member m, GroupLog log);
  void settle_all();
  void settle(Member m);
  void write_entries(Member m);
  void apply(Member m);
  void tell_changes(Member m);
  // Until nobody has anything to say.
  void play();
  bool wait_a_moment();
  void line(const std::string& who, const std::string& what);

  static std::string id_of(Member m) {
    return std::string(kMemberIdBytes, static_cast<char>('a' + m % 6));
  }

  GroupConfig group_;
  std::optional<GroupShape> first_;
  std::vector<Person> members_;
  std::deque<Message> on_the_way_;
  base::Millis now_ = 1'000'000;
  std::string told_;
};

}  // namespace quoll::cluster
