// ReplicaGroup: this server as a member of a replica group: drives the core (cluster/group_core.h)
// with the log on disk, the connections to the other members, the store, and the output gate.
//
//   leader:    command -> commit -> absorb: an entry -> log on disk, other members
//              -> committed -> gate: the reply
//   follower:  entries -> log on disk -> committed -> GroupApply -> store
//
//   start:     checkpoint -> store, log -> core; then entries are applied as they are committed
//   turn end:  apply, hand entries to the disk, send, open the gate
//
// Replies of a leader wait for what they show: a write for its own entry, a read for the entries of
// its keys that are not committed yet and for a round of confirmation that began after it. A leader
// that is deposed has the replies that wait replaced: UNCERTAIN where something was written,
// CLUSTERDOWN where nothing was. Under a lease reads need no round; connections may ask for more
// than the group's quorums (group_consistency.h).
//
// group.cc: turns, roles, outputs; group_talk.cc: the connections; group_start.cc: what the disk
// holds, checkpoints; group_data.cc: data to and from other members, and what a deposed leader must
// undo; group_slots.cc: what a member has already is not sent to it.
//
// Cost on a leader beside the log: nothing per commit.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>

#include "cluster/group_core.h"
#include "cluster/group_links.h"
#include "cluster/group_list.h"
#include "cluster/group_wal.h"
#include "server/checkpoints.h"
#include "server/cluster_view.h"
#include "server/group_apply.h"
#include "server/group_consistency.h"
#include "server/group_part.h"
#include "server/key_versions.h"
#include "server/output_gate.h"
#include "server/publications.h"
#include "server/slot_comparison.h"
#include "store/commit.h"

namespace quoll::server {

class Server;

constexpr base::Nanos kGroupTick = 20 * base::kNanosPerMilli;
constexpr size_t kUncommittedBytesMax = size_t{64} << 20;  // then clients are not read
constexpr size_t kIncomingWaitingMax = size_t{8} << 20;    // received and not yet on disk
constexpr size_t kWrongKeysMax = 100'000;                  // then all data are asked for

class ReplicaGroup final : public ClusterView,
                           public PublicationRoute,
                           public store::CommitSink,
                           public cluster::GroupWalEvents,
                           public cluster::GroupLinksEvents {
 public:
  // Of a group whose members are listed in the configuration.
  ReplicaGroup(Server& server, const cluster::GroupConfig& config);
  // Of one whose shape tells who they are.
  ReplicaGroup(Server& server, GroupPart part);
  ~ReplicaGroup() override;

  // A group that begins takes over what a server alone had saved in dbfilename.
  void begin_with_rdb() { with_rdb_ = true; }
  // Recovers what the disk holds and takes part from then on. The error ends the start.
  void start(host::OnDone done);
  // Once more, behind a start that failed.
  void start_again(host::OnDone done);
  // The log is written and synced; leadership is handed on first, if we have it. An error: we go on
  // as a member.
  void end(host::OnDone done);

  // ClusterView
  const std::vector<ClusterMember>& members() const override { return members_; }
  size_t self() const override { return config_.self; }
  size_t leader() const override;
  bool serves() const override {
    return serving_ && core_->serves() && core_->epoch() == serving_epoch_;
  }
  bool may_commit() const override { return may_commit_; }
  std::string quorum() const override;
  bool readable() const override {
    return core_ && core_->data_stands() && core_->applied() <= core_->commit();
  }
  Traffic traffic() const override {
    return links_ ? Traffic{links_->frames_sent(), links_->frames_received()} : Traffic{};
  }
  uint64_t epoch() const override { return core_ ? core_->epoch() : 0; }
  void settings_changed(const Settings& settings) override;

  // PublicationRoute: to the other members, all of which have all slots.
  bool has_others(PubSub::Kind) const override { return members_.size() > 1; }
  Told tell_others(PubSub::Kind kind, base::Bytes batch) override;

  // What the reply of a read that runs now waits for, beside the entries of its keys.
  Ticket confirmation();
  // The same for all data as they are now: `done` is told when others may see them, which is at
  // once where nothing is applied but what is committed. An error: they must not.
  void when_settled(host::OnDone done);
  // The entry of a commit of ours: what CLUSTER OUTCOME is asked for.
  std::string entry_name(store::Seq seq) const;
  // CLUSTER OUTCOME: COMMITTED, LOST, PENDING, or an error.
  std::string outcome(cluster::Epoch epoch, cluster::Index index) const;
  // Where the log ends: behind a commit, the token of its entry (see key_versions.h).
  uint64_t log_end() const { return core_ ? token_of(core_->last()) : 0; }
  // The other members that have everything up to the entry at the token, or have it on disk; 0:
  // up to what is committed.
  size_t members_with(uint64_t token, bool on_disk) const;
  bool on_own_disk(uint64_t token) const;
  // All members' disks should have it soon.
  void want_on_disks(uint64_t token);
  // The same of all that is in our log, where we lead; up to which entry that is.
  cluster::Index want_all_on_disks();

  // CLIENT CONSISTENCY
  GroupConsistency& consistency() { return consistency_; }
  const cluster::GroupConfig& config() const { return config_; }
  // What the session's reply waits for beyond the tickets given to it.
  void hold_as_asked(Session& session, uint64_t reply_start, bool wrote, const Ticket& change,
                     const Ticket& leadership);
  // Enough members are there for a write of this session.
  bool may_commit(const Session& session) const;
  // For how many there are: "1 of 3".
  std::string quorum(const Session& session) const;

  // OBJECT VERSION, where we serve.
  uint64_t version(store::DbIndex db, base::Bytes key);

  // Who is in the group, as far as we know.
  const cluster::GroupShape* shape() const { return core_ ? &core_->shape() : nullptr; }
  // Where we lead: begins to change the group into this; the error says why not, or not yet.
  base::Result<> change_shape(const cluster::GroupShape& target);

  // Where GroupCore::may_tell_slots(): what the group says of its slots from now on.
  void tell_slots(const cluster::SlotLedger& ledger) { core_->tell_slots(ledger); }

  // The place of ours in it, where the shape tells.
  const std::optional<GroupPart>& part() const { return part_; }
  // A connection of another member, and what it has sent so far.
  void take(std::unique_ptr<host::Peer> peer, base::Bytes received);
  // Nodes may be elsewhere.
  void whereabouts_changed() { links_due_ = true; }
  // Talk with these until our own shape knows who leads.
  void talk_to(const cluster::GroupShape& shape);
  // The node, alone in the group, has taken it to another cluster.
  void rename(std::string group_name);
  // Somebody else is to serve the data: nothing is noted of what the store does from now on.
  void leave();
  // Behind leave(): what takes room is given back. False: something of ours is still on its way.
  bool let_go();
  // Nothing is under way that would reach into the store behind leave(), or bring us back.
  bool may_be_left() const { return !loading_ && !beginning_anew_; }

  // Leadership goes to another member, at one of these places: writes wait until one has the whole
  // log and leads, an election timeout at most. False: nobody else could lead.
  bool hand_over(uint32_t places = cluster::kAnyPlace);

  const cluster::GroupCore* core() const { return core_.get(); }
  base::Result<> accept_loss();
  struct Counters {
    uint64_t elections_won = 0;
    uint64_t deposed = 0;
    uint64_t uncertain = 0;   // replies
    uint64_t syncs_sent = 0;  // all data, to others
    uint64_t syncs_received = 0;
    uint64_t slots_left_out = 0;  // of those sent: with keys, that the member had
    uint64_t keys_repaired = 0;   // after having been deposed
    uint64_t checkpoints = 0;
  };
  const Counters& counters() const { return counters_; }
  bool writes_checkpoint() const { return writing_.has_value(); }

  void begin_turn_end();
  void tick();  // ten times a second

  // store::CommitSink
  void absorb(const store::Commit& commit) override;
  // cluster::GroupWalEvents
  void wal_written(cluster::Position upto) override;
  void wal_synced(cluster::Position upto) override;
  void wal_failed(const std::string& error) override;
  void wal_again(cluster::Position durable) override;
  void wal_state_failed(const std::string& error) override;
  // cluster::GroupLinksEvents
  void link_up(const cluster::Preamble& preamble) override;
  void link_down(cluster::Member member) override;
  bool link_frame(cluster::Member member, cluster::FrameType type, base::Bytes body) override;
  void link_trouble(const std::string& text) override;

 private:
  // Commits one after the other, whose entries are one after the other, too.
  struct Pending {
    store::Seq seq;
    cluster::Index index;
    uint64_t count;
    store::Seq last() const { return seq + count - 1; }
  };
  struct Settling {  // see when_settled()
    cluster::Index index;
    uint64_t round;
    host::OnDone done;
  };
  struct Mark {  // what waited at a tick
    base::Millis at;
    store::Seq seq;
    uint64_t round;
  };
  // All data on their way to a member.
  class Outgoing;
  struct Sending {
    cluster::Epoch epoch;  // in which we lead
    std::string failure;
  };
  // All data on their way to us.
  struct Incoming {
    uint64_t number;  // so many have begun
    cluster::Member from;
    cluster::Epoch epoch;  // in which it leads
    cluster::Position at;
    cluster::GroupShape shape;  // as of it
    cluster::Index commit = 0;
    host::FileId file = 0;
    bool open = false;
    bool over = false;     // all has arrived
    bool synced = false;   // and is on disk
    bool placing = false;  // is given its name there
    size_t waiting = 0;
    std::string early;    // until the file is open
    store::SlotSet kept;  // these do not come, for we have them
  };
  // A leader asks what the member has that is to get all data.
  struct AskedForSlots {
    cluster::Member member;
    std::shared_ptr<Sending> sending;
    uint64_t number;  // and the seed of the digests
    base::Millis since;
    std::vector<store::SlotDigest> theirs = {};
    bool streams = false;  // the data wait for nothing but their turn
    unsigned told = 0;     // slots
  };
  // Of what is sent: the member has them, and answered with this number.
  struct LeftOut {
    std::optional<store::SlotSet> slots;
    uint64_t number = 0;
  };
  // We were asked.
  struct OfferedSlots {
    cluster::Member to;
    uint64_t number;
    unsigned told = 0;  // slots
  };
  // Slots of our data are being replaced by those that came.
  struct Replacing {
    cluster::Member from;
    cluster::Epoch epoch;
    cluster::Position at;
    cluster::Index commit;
    cluster::GroupShape shape;
    store::SlotSet kept;
    unsigned emptied = 0;  // slots, or passed over
  };
  using WrongKey = std::pair<store::DbIndex, std::string>;
  struct KeyAnswer {
    cluster::Epoch epoch;
    cluster::Position at;
    std::string body;
  };

  base::Millis steady_ms() const;
  cluster::GroupCore& core() { return *core_; }
  // Who is told its place by the shape has the data here, whatever an older shape of the log calls
  // it: the witness is elsewhere (witness.h).
  bool witness() const { return is_witness_in(config_); }
  template <class Shape>
  bool is_witness_in(const Shape& shape) const {
    return !part_ && shape.is_witness(config_.self);
  }
  // What the core wants saved; `then` once it is, at once where there is nothing.
  void save_state(const host::Task& then = {});
  void trim_log(cluster::Index upto);

  // group.cc
  void schedule();
  void turn();
  void follow_role();
  uint64_t token(uint64_t position) const { return token_of({serving_epoch_, position}); }
  cluster::Index index_of(uint64_t token) const;
  std::string name_of(const Ticket& ticket) const;
  void begin_serving();
  void stop_serving();
  void settle();
  void tell_settled();
  std::optional<cluster::Index> pending_index(store::Seq seq) const;
  void fail_replies(store::Seq upto, uint64_t round, bool all);
  std::string error_of(const Ticket& ticket, bool wrote);
  void give_up_late();
  void go_on_handing_over();
  void give_up_asked();
  void follow_shape();

  // group_talk.cc
  void update_members();
  void follow_links();
  void send(cluster::Member to, const cluster::GroupMessage& message);
  bool refuse(cluster::Member from, const std::string& why);

  // group_start.cc
  cluster::GroupLinks::Options link_options() const;
  void checkpoint_found(const host::OnDone& done);
  void log_read(cluster::GroupWal::Recovery recovery, const host::OnDone& done);
  void take_over_rdb(host::OnDone done);
  void join(cluster::SavedState state, const host::OnDone& done);
  bool is_busy() const;
  void consider_beginning_anew();
  void begin_anew();
  void drop_parts();
  void begin_from_disk();
  bool fill_state(cluster::SavedState& state, const cluster::GroupWal::Recovery& recovery);
  base::Result<> open_bus();
  void consider_checkpoint();
  void checkpoint_written(base::Result<> result);
  void publish_checkpoint();
  void checkpoint_published(base::Result<> published);

  // group_data.cc
  void undo(cluster::Index behind);
  void note_wrong(base::Bytes entries);
  bool skip_wrong(const cluster::EntryEffect& effect);
  void ask_for_keys();
  void answer_keys(cluster::Member to, base::Bytes body);
  void install_keys();
  void ask_for_data();
  void send_all(cluster::Member to);
  void send_owed();
  bool wanted(const Sending& sending) const;
  void stream_to(cluster::Member to, std::shared_ptr<Sending> sending);
  void sending_ended(cluster::Member to, base::Result<> result);
  void begin_stream(cluster::Member to, const LeftOut& left_out);
  bool incoming_begins(cluster::Member from, base::Bytes body);
  bool incoming_bytes(base::Bytes body);
  bool incoming_ends(base::Bytes body);
  void write_incoming(std::string bytes);
  void finish_incoming();
  void use_incoming();
  void incoming_placed();
  void install_incoming();
  void data_are_ours(cluster::Member from, cluster::Position at, cluster::Index commit,
                     const cluster::GroupShape& shape);
  void begin_loading();
  void give_up_incoming(const std::string& why);
  void want_data();
  void data_loaded(base::Result<> result);
  template <class Callback>
  auto of_incoming(Callback callback);

  // group_slots.cc
  static std::string encode_slots(const store::SlotSet& slots);
  static bool decode_slots(base::Bytes bytes, store::SlotSet& slots);
  void ask_for_slots(cluster::Member to, std::shared_ptr<Sending> sending);
  bool slots_told(cluster::Member from, base::Bytes body);
  LeftOut take_left_out();
  bool slots_wanted(cluster::Member from, base::Bytes body);
  void forget_offer();
  void forget_question();
  void tell_slots(cluster::Member to, uint64_t number, unsigned first, unsigned count);
  void work_on_slots();
  void look_after_slots();
  void replace_slots();
  void empty_slots();
  bool empty_slot(unsigned slot);
  void write_replaced(base::Result<> loaded);
  void publish_replaced(base::Result<> written);
  void replaced(base::Result<> published);
  void replacing_failed(const std::string& why);

  Server& server_;
  cluster::GroupConfig config_;
  std::vector<ClusterMember> members_;
  std::string dir_;
  Checkpoints checkpoints_;
  std::unique_ptr<cluster::GroupWal> wal_;
  std::unique_ptr<cluster::GroupLinks> links_;
  std::unique_ptr<cluster::GroupCore> core_;
  GroupApply apply_;
  cluster::GroupLog recovered_;
  std::string id_;
  host::TimerId timer_ = 0;
  host::TimerId moment_timer_ = 0;  // what the core holds back has then waited long enough
  bool ending_ = false;
  bool joined_ = false;           // once
  bool with_rdb_ = false;         // see begin_with_rdb()
  base::Millis stuck_since_ = 0;  // our data are not the log's, and nobody repairs them; 0: no

  // The leader's part.
  bool serving_ = false;
  bool may_commit_ = false;
  cluster::Epoch serving_epoch_ = 0;
  base::Millis handing_over_until_ = 0;  // 0: we are not
  uint32_t handing_over_to_ = cluster::kAnyPlace;
  bool handed_over_ = false;  // a member was asked to lead
  std::deque<Pending> pending_;
  std::deque<Mark> marks_;
  std::deque<Settling> settling_;
  GroupConsistency consistency_{config_};
  KeyVersions versions_;
  cluster::Member leader_seen_ = cluster::kNoMember;
  std::optional<cluster::GroupShape> shape_seen_;
  bool leaving_seen_ = false;

  // Checkpoints.
  std::optional<Checkpoint> writing_;  // being written, or complete and not yet committed
  bool written_ = false;
  bool writing_dropped_ = false;  // what it holds was undone
  bool publishing_ = false;
  uint64_t log_bytes_ = 0;         // handed to the disk since the last checkpoint
  uint64_t checkpoint_bytes_ = 0;  // of the last one we wrote

  // Data to and from others.
  std::array<std::shared_ptr<Sending>, cluster::kMembersMax> sending_;
  uint32_t owed_ = 0;  // bit m: member m is to get them once ours are the log's
  std::unique_ptr<Incoming> incoming_;
  uint64_t incomings_ = 0;
  SlotComparison slots_;
  std::optional<AskedForSlots> asking_;
  std::optional<OfferedSlots> offered_;
  std::optional<Replacing> replacing_;
  bool beginning_anew_ = false;    // our log is closed for that
  bool loading_ = false;           // what came is being read into the store,
  bool loading_void_ = false;      // which is not the log's any more
  std::set<WrongKey> wrong_keys_;  // differ from the log
  bool all_wrong_ = false;
  cluster::Epoch data_wanted_ = 0;  // in which data came that we could not take; 0: none
  static constexpr cluster::Epoch kAnyEpoch = UINT64_MAX;  // they came before we knew of a leader
  uint64_t ask_number_ = 0;
  base::Millis asked_at_ = 0;
  std::optional<KeyAnswer> answer_;

  Counters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  // Where a shape tells who the members are.
  std::optional<GroupPart> part_;
  bool links_due_ = true;
};

}  // namespace quoll::server
