// ClusterNode: this server as a node of a cluster that grows and shrinks. It knows the topology
// (who is a member, which group has which slots), is a member of one group itself, and talks with
// the other nodes.
//
//   topology   agreed on in g0 (topology_keeper.h) by the governors; a copy of it here, as of some
//              version; who is behind pulls what it lacks
//   group      ours: its log and its data (group.h)
//   witnesses  our parts in groups of which we keep the log alone (witness.h)
//   bus        questions between nodes (cluster/node_bus.h)
//   gossip     who lives (cluster_gossip.h), and who has a newer topology
//   news       once a second two nodes compare versions and who leads which group; who begins to
//              lead, or has changed the topology, tells everybody
//
// A new node is a cluster of its own, with no slots. It joins another cluster by asking one of its
// nodes (MEET, cluster-join): the governors make it a member, with a group of its own and the slots
// that it claimed before, and it takes their topology for its own. Only who is alone and has no
// keys may join, so two clusters never become one.
//
// A change of the topology is made by steps (cluster/topology_steps.h): the step is asked what
// comes next, that is proposed to the governors, and so on until nothing is left.
//
// cluster_node.cc: start, end, the picture for clients; cluster_node_talk.cc: questions, steps;
// cluster_node_gossip.cc: what gossip tells; cluster_node_groups.cc: the groups whose member this
// node is; cluster_node_shared.cc: what is the same on all nodes; cluster_node_heal.cc: what
// becomes of the parts of nodes that are dead or leave.
//
// Cost: a request of a client costs a look at a bit; a news of 100 bytes a second per node.
#pragma once

#include <bitset>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/node_bus.h"
#include "cluster/replica_plan.h"
#include "cluster/topology_steps.h"
#include "server/cluster_gossip.h"
#include "server/cluster_view.h"
#include "server/node_file.h"
#include "server/publications.h"
#include "server/session.h"
#include "server/topology_keeper.h"
#include "server/witness.h"

namespace quoll::server {

class ClusterDocuments;
class Forwarding;
class ReplicaGroup;
class Rebalancer;
class Server;
class SlotImports;
class SlotMoves;

constexpr base::Millis kNewsEveryMs = 1000;
constexpr base::Millis kStepsMs = 10'000;  // then a change that did not come about has failed
constexpr base::Millis kStepAgainMs = 50;  // after somebody else's change came first
// Answers that say what the asker should do, not what is wrong.
constexpr base::Bytes kAskAgain = "AGAIN";       // in a moment
constexpr base::Bytes kRefused = "REFUSED";      // not at all
constexpr base::Bytes kNotLeader = "NOTLEADER";  // another member of the group
constexpr base::Bytes kOfAnother = "this node is not of your cluster";
constexpr base::Bytes kNotMember = "NOTMEMBER";  // the group goes on without you
constexpr base::Millis kMeetMs = 30'000;         // as long a join is tried
constexpr base::Millis kMeetAgainMs = 300;
constexpr size_t kMeetingsMax = 4096;  // that wait for their turn
// So long a node must have been there to be given the place of another one.
constexpr base::Millis kSettledMs = 5000;
constexpr base::Millis kEndAgainMs = 500;  // a part whose log could not be closed

class ClusterNode final : public ClusterView, public ClusterGossipEvents, public PublicationRoute {
 public:
  using Step = std::function<cluster::NextStep(const cluster::Topology&)>;

  explicit ClusterNode(Server& server);
  ~ClusterNode() override;

  void start(host::OnDone done);
  // Everything is on disk.
  void end(host::OnDone done);
  void begin_turn_end();
  void tick();  // ten times a second
  ReplicaGroup* group() { return group_.get(); }
  // Of our group; nullptr: its log is being read.
  const cluster::GroupCore* core() const;
  // By each of our parts, that of our data first (GroupCore::accept_loss).
  std::vector<base::Result<>> accept_loss();

  // Introduces us and the node whose bus is there to each other, in the background. A name is
  // looked up at every try.
  void meet(const std::string& host, uint16_t bus_port);
  // Changes the topology until the step says that there is nothing left to do.
  void make_so(Step step, host::OnDone done);
  // The same for a command, which is run again when the outcome is there.
  void begin(const Session& session, Step step);
  std::optional<base::Result<>> take(SessionId session);
  bool has_outcome(SessionId session) const;
  void cancel(SessionId session);
  // We leave the cluster and are a new node from then on, alone. We must have no keys. For a
  // command, as begin().
  void begin_reset(const Session& session);

  const cluster::Topology& topology() const { return record_.topology; }
  // Of those who hold the topology, if we are one of them.
  const cluster::GroupShape* keepers() const { return keeper_ ? keeper_->shape() : nullptr; }
  cluster::NodeIndex index() const { return index_; }
  const std::string& id() const { return record_.id; }
  cluster::GroupNumber own_group() const { return own_group_; }
  SlotMoves& moves() const { return *moves_; }
  ClusterDocuments& documents() { return *documents_; }
  Rebalancer& rebalancer() { return *rebalancer_; }
  Forwarding& forwarding() { return *forwarding_; }
  SlotImports& imports() { return *imports_; }
  bool alone() const { return topology().members().size() <= 1; }
  // The node with this id leads a group that has other members, as far as we know.
  bool leads_others(base::Bytes id) const;
  // Who leads the group, as far as we know; kNoNode: nobody.
  cluster::NodeIndex leader_node(cluster::GroupNumber group) const;
  // As gossip has it.
  bool failed(cluster::NodeIndex node) const;
  // Groups of which nobody is there who could give or take slots.
  std::set<cluster::GroupNumber> groups_away() const;
  // Who is to be a replica elsewhere, so that a group has as many members as it should. `asks`: of
  // those that this group wants, which we lead, and of nodes that have been there for a moment.
  std::optional<cluster::ReplicaMove> replica_move(
      cluster::GroupNumber asks = cluster::kNoGroup) const;
  // Of an empty node that is to be a replica elsewhere: it gets no slots. kNoGroup: none.
  cluster::GroupNumber group_that_goes() const { return group_that_goes_; }
  // Slots are moved by hand here.
  void tell_hands_off();

  // For SlotMoves and Forwarding.
  void ask(cluster::NodeIndex node, cluster::Question question, const std::string& body,
           cluster::NodeBus::OnAnswer done, base::Millis within = cluster::kAnswerMs);
  // Takes over what the node knows of the topology and of who leads.
  void learn_from(cluster::NodeIndex node, host::OnDone done);
  cluster::NodeIndex index_at(size_t place) const { return indexes_[place]; }
  // members().size(): it is no member.
  size_t place_of(cluster::NodeIndex index) const;
  void pull_from(cluster::NodeIndex node, host::OnDone done) {
    pull(endpoint(node), std::move(done));
  }
  // Ours may be others.
  void slots_changed();
  // Somebody knows a newer topology.
  void catch_up();
  void save_then(host::Task done) { file_->save(record_, std::move(done)); }

  // ClusterView
  const std::vector<ClusterMember>& members() const override { return members_; }
  size_t self() const override { return self_; }
  size_t leader() const override;
  bool serves() const override;
  bool may_commit() const override;
  std::string quorum() const override;
  bool readable() const override;
  Traffic traffic() const override { return {bus_->sent(), bus_->received()}; }
  uint64_t epoch() const override;
  void settings_changed(const Settings& settings) override;
  bool has_all_slots() const override { return all_own_; }
  bool has_slot(unsigned slot) const override { return own_slots_[slot]; }
  bool assigned(unsigned slot) const override {
    return topology().owner(slot) != cluster::kNoGroup;
  }
  bool covered() const override { return covered_; }
  size_t leader_of(unsigned slot) const override;
  bool handing_over(unsigned slot) const override;
  std::vector<ClusterShard> shards() const override;

  // PublicationRoute
  bool has_others(PubSub::Kind kind) const override {
    return kind == PubSub::Kind::shard ? !group_others_.empty() : members_.size() > 1;
  }
  Told tell_others(PubSub::Kind kind, base::Bytes batch) override;

  // ClusterGossipEvents
  void gossip_state(cluster::NodeIndex node, cluster::NodeState state,
                    cluster::NodeIndex from) override;
  void gossip_moved(cluster::NodeIndex node, const cluster::NodeAddress& address,
                    cluster::Incarnation incarnation) override;
  void gossip_pull(cluster::NodeIndex from, cluster::TopologyVersion version) override;
  void gossip_compare(cluster::NodeIndex with) override;
  void gossip_forgotten(cluster::TopologyVersion version) override;
  void gossip_try_tcp(cluster::NodeIndex node, const cluster::NodeAddress& address) override;
  void gossip_udp_blocked(cluster::NodeIndex node) override;

 private:
  struct Leader {
    cluster::NodeIndex node = cluster::kNoNode;
    cluster::Epoch epoch = 0;
  };
  struct Asking {  // a command that waits for what it changes
    uint64_t number = 0;
    std::optional<base::Result<>> outcome;
  };
  struct Effort;    // a change that is being made
  struct Meeting {  // that is being tried
    std::string host;
    uint16_t bus_port = 0;
    base::Millis until = 0;
    unsigned tries = 0;
    bool open = false;  // it may have let us in, and its answer was lost
  };

  // cluster_node.cc
  void loaded(NodeRecord record, const host::OnDone& done);
  void open_home(const host::OnDone& done);
  base::Result<> open_bus();
  std::string new_id();
  std::string cluster_to_found() const;
  bool founded() const { return !topology().governors().empty(); }
  void begin_alone();
  void reset(const host::OnDone& done);
  void consider_founding();
  void join_configured();
  cluster::Location location() const;
  cluster::NodeClaim claim() const;
  void topology_changed();
  void save();
  void refresh();
  void find_own_slots();
  void follow_gossip();
  void show_liveness();
  uint64_t position_of(size_t place) const;
  std::string announcement() const;
  void announce_self();
  void secrets_changed();
  void add_member(cluster::NodeIndex index, const cluster::TopologyMember& member,
                  cluster::GroupNumber group);
  size_t leader_of_group(cluster::GroupNumber group) const;
  void note_own_lead();
  base::Millis steady_ms() const;

  // cluster_node_groups.cc
  std::string group_name(const NodePlace& place) const;
  bool has_grown(const NodePlace& place) const;
  GroupPart part_at(const NodePlace& place) const;
  void start_group(const host::OnDone& done);
  void begin_group(const NodePlace& place, const cluster::GroupShape& shape,
                   const host::OnDone& done);
  host::OnDone group_started(const host::OnDone& done);
  void groups_changed();
  void take_group_along();
  void start_keeper(const host::OnDone& done);
  std::string keeper_dir(cluster::Member place) const;
  void begin_keeper(const NodePlace& place, const cluster::GroupShape& shape,
                    const host::OnDone& done);
  void leave_keeper();
  void take_member(std::unique_ptr<host::Peer> peer, base::Bytes received);
  void start_witnesses(const host::OnDone& done);
  void begin_witness(const NodePlace& place, const cluster::GroupShape& shape,
                     const host::OnDone& done);
  void end_logs(const host::OnDone& done);
  void begin_logs_again();
  void leave_part(std::unique_ptr<LogMember> part);
  void look_after_left();
  void remove_dir(const std::string& dir);
  bool is_left(const std::string& dir) const { return dirs_left_.count(record_.home + "/" + dir); }
  void follow_groups();
  void follow_own_group();
  bool leads_held() const;
  bool may_still_be_counted() const;
  void hand_over_held();
  uint32_t staying_places() const;
  void begin_own_group();
  void follow_witnesses();
  void lead_group();
  void settle_holders();
  void name_witness();
  void change_group(NodePlace ours, const cluster::GroupShape& shape);
  void end_own_group();
  void take_coming_group();
  void forget_data();
  void leave_witness(cluster::GroupNumber group);
  std::string dir_of(base::Bytes what, cluster::GroupNumber group, cluster::Member place) const;
  void ask_for_place(cluster::GroupNumber group, cluster::NodeIndex other);
  void take_place(cluster::GroupNumber group, base::Bytes answer);
  void serve_witness(const cluster::NodeBus::Asked& asked, base::Bytes body,
                     const cluster::NodeBus::OnAnswer& answer);
  void follow_governors();
  void consider_governors();
  void ask_whether_left(cluster::GroupNumber group, const std::vector<cluster::NodeIndex>& of);
  void take_governors_place(cluster::Member place, const cluster::GroupShape& shape);
  void serve_take_in(const cluster::NodeBus::Asked& asked, base::Bytes body,
                     const cluster::NodeBus::OnAnswer& answer) const;

  // cluster_node_shared.cc
  void find_group_others();
  // cluster_node_heal.cc
  void look_who_is_dead();
  bool goes_on(const cluster::GroupShape& shape) const;
  void heal();
  bool move_replica();
  bool forget_dead();
  void put_right(Step step);
  void follow_leaving();
  void depart();
  void departed();
  void announce_weight();

  // cluster_node_talk.cc
  void serve(const cluster::NodeBus::Asked& asked, cluster::NodeBus::OnAnswer answer);
  void serve_join(const cluster::NodeBus::Asked& asked, cluster::NodeBus::OnAnswer answer);
  void serve_invite(const cluster::NodeBus::Asked& asked, const cluster::NodeBus::OnAnswer& answer);
  void serve_recall(const cluster::NodeBus::Asked& asked, const cluster::NodeBus::OnAnswer& answer);
  void serve_propose(base::Bytes body, cluster::NodeBus::OnAnswer answer);
  void serve_pull(base::Bytes body, const cluster::NodeBus::OnAnswer& answer);
  void serve_news(const cluster::NodeBus::Asked& asked, const cluster::NodeBus::OnAnswer& answer);
  bool ours(base::Bytes& body) const;
  host::OnDone told(SessionId session);
  void begin_effort(Step step, bool founds, host::OnDone done);
  void step_on(const std::shared_ptr<Effort>& effort);
  void step_again(const std::shared_ptr<Effort>& effort, const std::string& error);
  cluster::NodeIndex governor_to_ask(size_t turn) const;
  void propose_afar(const std::shared_ptr<Effort>& effort, const std::string& change);
  void pull(const host::Endpoint& from, host::OnDone done);
  base::Result<> take_topology(base::Bytes answer);
  void tell(cluster::NodeIndex node);
  void call_in(cluster::NodeIndex node);
  void tell_everybody();
  std::string news(bool with_leaders) const;
  uint64_t leaders_hash() const;
  bool may_lead(cluster::NodeIndex node, cluster::GroupNumber number) const;
  bool take_news(base::Bytes body, uint64_t& version, uint64_t& hash);
  void try_meeting();
  static host::Endpoint endpoint_of(const Meeting& meeting);
  void meeting_answered(bool joins, const base::Result<std::string>& answer);
  bool joining() const { return !meetings_.empty() && alone(); }
  // Another cluster may have us as a member already: who joined us now would be left alone.
  bool may_be_elsewhere() const { return joining() && (meeting_asked_ || meetings_.front().open); }
  base::Result<> adopt(base::Bytes topology);
  host::Endpoint endpoint(cluster::NodeIndex node) const;
  static host::Endpoint endpoint_of(const cluster::NodeAddress& address);

  Server& server_;
  std::unique_ptr<NodeFile> file_;
  NodeRecord record_;
  std::string next_cluster_;  // id of the cluster that we found when we are alone
  std::unique_ptr<TopologyKeeper> keeper_;
  // Our parts in groups that go on without us, until they are closed; and of which we had the data:
  // those are let go, but the store knows them for ever.
  std::vector<std::unique_ptr<LogMember>> left_;
  std::vector<std::unique_ptr<ReplicaGroup>> groups_left_;
  std::vector<std::unique_ptr<LogMember>> gone_;  // closed, and in whose place another one began
  std::set<std::string> dirs_left_;  // theirs: not to be opened before they are closed and empty
  std::unique_ptr<ReplicaGroup> group_;
  bool group_failed_ = false;  // its start has
  std::map<cluster::GroupNumber, std::unique_ptr<Witness>> witnesses_;
  std::unique_ptr<cluster::NodeBus> bus_;
  std::unique_ptr<ClusterGossip> gossip_;
  std::string gossip_cluster_;  // of which it is
  bool founding_ = false;
  std::string announced_as_;
  bool announced_ = false;  // that our address is what the topology says, or shall be
  struct Coming {
    NodePlace place;
    cluster::GroupShape shape;
  };
  std::optional<Coming> coming_;           // takes the place of our group, once that is closed
  std::set<cluster::GroupNumber> asking_;  // for our places in them
  std::map<cluster::GroupNumber, size_t> turns_;  // of those who are asked for them
  size_t governor_turn_ = 0;                      // of the last one that took a change
  cluster::TopologyVersion governors_right_ = 0;  // as of this version, or being put right
  std::map<cluster::NodeIndex, base::Millis> failed_since_;
  std::map<cluster::NodeIndex, base::Millis> there_since_;
  std::set<cluster::NodeIndex> dead_;                  // for longer than cluster-replace-after
  std::optional<cluster::ReplicaMove> replica_moved_;  // that was asked for last
  base::Millis replica_again_at_ = 0;
  cluster::GroupNumber group_that_goes_ = cluster::kNoGroup;
  bool healing_ = false;  // a change of ours is under way
  bool weighing_ = false;
  bool beginning_group_ = false;
  bool leaves_ = false;  // we do, as was seen last
  bool departing_ = false;
  bool settling_ = false;  // what the topology says of our group's holders
  bool ending_ = false;

  // The picture.
  cluster::NodeIndex index_ = cluster::kNoNode;
  cluster::GroupNumber own_group_ = cluster::kNoGroup;   // by the topology
  cluster::GroupNumber held_group_ = cluster::kNoGroup;  // whose data are here
  std::vector<ClusterMember> members_{1};
  std::vector<ClusterMember> shown_;          // the next ones, while they are gathered
  std::vector<cluster::NodeIndex> indexes_;   // of members_, in order
  std::vector<cluster::GroupNumber> groups_;  // of members_
  size_t self_ = 0;
  std::vector<cluster::NodeIndex> group_others_;  // members of our group
  std::bitset<kSlots> own_slots_;
  bool all_own_ = false;
  bool covered_ = false;
  std::map<cluster::GroupNumber, Leader> leaders_;
  cluster::Epoch told_epoch_ = 0;  // in which we lead, as others know

  std::unique_ptr<SlotMoves> moves_;
  std::unique_ptr<ClusterDocuments> documents_;
  std::unique_ptr<Rebalancer> rebalancer_;
  std::unique_ptr<Forwarding> forwarding_;
  std::unique_ptr<SlotImports> imports_;
  std::deque<Meeting> meetings_;  // the first is asked, or will be
  bool meeting_asked_ = false;
  std::set<cluster::NodeIndex> blocked_;  // by UDP, as was told
  std::map<SessionId, Asking> asked_;     // by commands
  uint64_t asks_ = 0;
  bool pulling_ = false;
  base::Millis news_at_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
