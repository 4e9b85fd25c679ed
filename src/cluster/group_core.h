// GroupCore: a member of a replica group as a pure step machine: election, replication, commit,
// and what a member may promise after it lost something.
//
//   driver                                         core
//   ------                                         ----
//   tick(now), receive(member, message),    ->     changes role, log, commit
//   propose(effects), linked, written, saved
//   flush(now): messages, entries for disk  <-     what is to be sent and written
//
//   follower --(no leader for a while)--> asks for prevotes --(Qe)--> candidate --(Qe)--> leader
//      ^------------------- a higher epoch, or a quorum not heard of --------------------'
//
// Rules, by which an acknowledged write is never lost and a confirmed read is never old:
//   1. Epoch and vote are on disk before anybody hears of them. One vote per epoch; 2 Qe > N.
//   2. Entries follow each other by (epoch, index); a follower takes an entry only behind the one
//      the leader has before it, and drops what differs. It never drops a committed one.
//   3. A vote is only given to a log that is not older than one's own.
//   4. A leader counts an entry as committed when W members that count have it, and only one of
//      its own epoch commits those before. Its first entry is a NOOP; it serves once that is
//      committed and applied.
//   5. A read is answered when R members have answered an append sent after it arrived.
//   6. A member that may have lost what it acknowledged neither votes nor counts until a leader
//      has committed a REJOIN for it without its help and it has everything up to there.
//   7. An empty directory counts as such a loss, unless no member ever took part in an election.
//   8. All data may come from a leader before they are committed. Should a later leader lack them,
//      the member counts as one that lost its directory.
//   9. Who lacks data (a witness, or one whose data is not the log's) does not serve.
//
// What can wait for company is held back for a moment: until the next millisecond at most. So under
// load a round trip carries all that came during the one before, and who is alone does not wait.
//   entries                 while earlier ones are on their way to the member, and until there are
//                           as many as were sent to it last
//   a round for reads       the same, of rounds and reads; entries take it along
//   the news of a commit    while something was sent to the member just now; it is not answered
//   entries for the disk    where W others take them, too, whose acknowledgements are enough: for
//                           kDiskWaitMs
// A round asks only as many members as it needs, those that answered last; the others when these
// keep it waiting.
// The lease (opt-in): reads that nobody is asked about. A member that heard the leader promises to
// vote for nobody else for an election timeout, by its own clock; so while R members are bound, no
// other member can be elected, and the leader's data are the newest there are.
//
//   leader    |-- round sent ---------- lease: 4/5 of a timeout, less 2 ms --|
//   member         |-- heard it ------- promise: a timeout ---------------------------|
//
//  10. The lease counts from before the round was sent, the promise from when it was heard. Both
//  are
//      differences of one member's steady clock: they may run at rates up to a tenth apart, and
//      must not stand still while the machine goes on. That is why it is opt-in: a virtual machine
//      that is stopped and resumed with its clock breaks it, and old reads are the price.
//  11. A promise outlives the process: whoever begins is bound for a timeout. Also a candidate's
//  own
//      vote is one: nobody stands for election before its promise is over.
//  12. A leader that hands its part on has released the others: it has no lease in that epoch any
//      more. Who was asked by the leader to stand says so, and is voted for despite the promise.
//
// The group's shape (group_shape.h) is part of the log. It changes while the group runs:
//
//   a learner comes or goes     one entry
//   voters, W or R change       joint entry (old and new) --committed--> the new shape's entry
//
//  13. A shape is in force for who has its entry, committed or not, and until that is dropped. So
//  whoever may count, counts by one that no two leaders can differ about: see below.
//  14. Under a joint shape every quorum is needed twice, of the old voters by the old rule and of
//  the new ones by theirs: to commit, to elect, to confirm, to go on leading.
//  15. A leader changes the shape once an entry of its own epoch and the shape before are
//  committed, and none that is joint is in force. The entry of the new shape follows only when the
//  joint one is committed.
//  16. Votes and answers count by place and node: of a node that the shape does not mean by the
//  place they count for nothing, and nothing is remembered of who had the place before.
//  17. Who does not vote, neither by the last shape that it knows to be committed nor by one behind
//  it, does not stand for election. It votes if it is asked: its shape may be the older one. (Who
//  is not in a new shape that has not been committed stands, for it may be the only one left who
//  has that.)
//  18. A node learns before it votes. Its empty directory counts as a loss (7: only members of a
//  group's first shape begin it, and who joins knows none), so it counts for nothing before a
//  REJOIN for it was committed by the others (6); and it is made a voter only once it counts and
//  its log ends close to ours.
//  19. A leader that is no voter any more leads on until the shape that says so is committed; it
//  does not count itself. Then it hands its part on.
//
// Why nothing is lost by that. Call the shapes before, between and after C, CD and D. As long as CD
// is not committed, leaders are elected by C alone or by C and D, and both kinds need a quorum of
// C: two of one epoch would share a voter, and any of them has what C alone committed. Once CD is
// committed, W of C have it, so nobody without it gets a quorum of C any more (3), and from then on
// all leaders are elected by C and D or, with D's entry, by D alone: both kinds need a quorum of D.
// D's entry is appended only then (15), so leaders by C alone and by D alone never meet. What D
// alone commits is known to W of D, and every later leader needs a quorum of D. Reads: what R of D
// confirm is older than any later leader for the same reason. The lease: who has CD's entry heard
// of it in an append, and has been bound since, longer than any lease lasts that began before it
// (10); leases that began later were granted by both.
// What was saved of the shape. A restart must find the shape as of the beginning of its log: the
// last one committed is part of the saved state, which is on disk before the log is cut off behind
// it; and the shape as of all data that come (arrives()) is there before they are, beside that of
// the data the log begins behind, which need not be committed yet either. A saved shape that is
// newer than the log that is left was committed, and does no harm: who has it has less claim to be
// elected than those who committed it.
//
// Data that are being put in place (placing()). Once they are on disk under their name, a restart
// begins its log behind them, whatever else the log holds. So nothing is taken from a later leader
// than the one that sent them until they are in the log's place, too: else what we acknowledged to
// that leader would be lost by a member that counts as intact. For the same reason they are not
// put in place when entries of a later leader are in our log already (overtaken()), and who puts
// them in place does not stand for election.
//
// What others say is looked at before anything follows from it: whoever reaches the port may say
// what no member ever would, and what an entry may not be would end us, and every restart. Such a
// message changes nothing, and its connection is not to be trusted (receive()).
//
// Time: steady ms, from the driver. Chance: a seed. Nothing here blocks or allocates per entry but
// the log itself.
// Cost: a flush is O(members) and copies no entry; a propose is the entry's encoding.
#pragma once

#include <bit>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include "cluster/group_log.h"
#include "cluster/group_message.h"
#include "cluster/group_shape.h"
#include "cluster/quorum.h"

namespace quoll::cluster {

constexpr size_t kAppendBytesMax = 256 * 1024;         // entries in one message, or one entry
constexpr size_t kInFlightBytesMax = 4 * 1024 * 1024;  // sent to a member and not yet acknowledged
constexpr base::Millis kDiskWaitMs = 4;                // of a leader's entries that others hold
constexpr size_t kHeldBackBytesMax = 64 * 1024;        // of entries: more are sent at once
constexpr size_t kCaughtUpBytes = 1024 * 1024;         // of our log that a coming voter may lack
constexpr base::Millis kRoundPatienceMs = 3;           // then a round asks everybody
// Of the election timeout: how often a leader gives a sign of life.
constexpr base::Millis kHeartbeatsPerTimeout = 8;
// No elections bring a group so far while a member is away; and numbers do not come to their end.
constexpr Epoch kEpochsAheadMax = Epoch{1} << 32;
constexpr uint32_t kAnyPlace = UINT32_MAX;  // bits
constexpr Index kIndexMax = Index{1} << 62;
constexpr size_t kSentRoundsMax = 1024;    // of which the lease is counted, unanswered
constexpr base::Millis kClockGrainMs = 2;  // what a difference of two readings in ms may be off by

// Rates of clocks up to a tenth apart: 4/5 of a timeout is over everywhere before a timeout is.
inline base::Millis lease_ms(base::Millis election_timeout_ms) {
  return election_timeout_ms * 4 / 5 - kClockGrainMs;
}

class GroupCore {
 public:
  enum class Role : uint8_t { follower, candidate, leader };

  struct Send {
    Member to;
    GroupMessage message;
  };

  // `log`: as the disk had it; all of it counts as written and synced. `first`: the shape of a
  // group that begins; nothing: as listed in `group`; an unknown one: whoever leads will tell. What
  // was saved, or is in the log, takes its place.
  GroupCore(const GroupConfig& group, SavedState state, GroupLog log, uint64_t seed,
            base::Millis now, std::optional<GroupShape> first = {});

  // --- what happened
  void tick(base::Millis now);
  // The message's epoch may depose us. An error: no member says this; nothing has changed.
  base::Result<> receive(Member from, const GroupMessage& message, base::Millis now);
  // A connection to the member stands: messages go both ways, in order, none is lost before
  // unlinked(). `id`: of the node that has, or says it has, the place.
  void linked(Member member, base::Bytes id = {});
  void unlinked(Member member);
  // A leader that serves appends an entry; its index. Its effects are in the data already.
  Index propose(std::span<const store::Effect> effects, base::Millis wall);
  // The log on disk, as the operating system and as the disk itself have it, up to this entry.
  void written(Position upto);
  void synced(Position upto);
  // The disk has failed us; or it works again and holds the log up to this entry. Entries up to
  // `covered` are in a checkpoint, and not wanted there.
  void disk_fails();
  void disk_works(Position durable, Index covered = 0);
  // The state handed out by take_state() is on disk.
  void state_saved();
  // At the start: the data are those as of entry `at`, and entries up to `commit` were committed.
  // True: the log does not hold that entry (data came, and the process ended before the log had
  // begun anew), and must begin behind `at` on disk, too.
  bool restored(Position at, Index commit);
  // All entries up to here are in the data. The driver applies committed entries in order; a
  // leader's own are applied before they are proposed.
  void applied(Index upto) { applied_ = upto; }
  // The data are the log's up to the applied entry again (true), or not (false).
  void data_stands(bool stands) { data_stands_ = stands; }
  bool data_stands() const { return data_stands_; }
  // Whether who leads in our epoch can have all data as of this entry, and this shape as of it.
  base::Result<> check_arriving(Position at, const GroupShape& shape) const;
  // They come. What take_state() hands out then is to be on disk before they are.
  void arrives(Position at, const GroupShape& shape);
  // They are too late: what a leader of epoch `sender` sent is not what our log has.
  bool overtaken(Position at, Epoch sender) const {
    return commit_ > at.index || (log_.last().epoch > sender && !holds(at));
  }
  // They are being put in place on disk, until installed() or, where that fails, not_placed().
  void placing(Epoch sender);
  void not_placed() { placing_of_.reset(); }
  // All data up to this entry came from a leader that had committed up to `commit`, and are on
  // disk. Unless holds(at), the log begins behind them, there and on disk.
  void installed(Position at, Index commit, const GroupShape& shape);
  bool holds(Position at) const { return log_.epoch_at(at.index) == at.epoch; }
  // Reads that arrive from now on need a round of confirmation that begins from now on; its
  // number.
  uint64_t confirm_read(unsigned members = 0);
  // Under the lease a read needs none. `now`: read from the clock after the read arrived.
  bool lease_holds(base::Millis now) const {
    return lease_from_ && leads() && now - *lease_from_ < lease_ms(group_.election_timeout_ms);
  }
  // The disks of all members, ours included, should have the log up to here soon.
  void want_synced(Index upto) { sync_wanted_ = std::max(sync_wanted_, upto); }
  // Hands leadership on, if a member at one of these places has the whole log.
  bool transfer(uint32_t places = kAnyPlace);
  // Whether somebody could lead once he has it.
  bool may_transfer(uint32_t places = kAnyPlace) const;
  // Begins to change the group into this shape, which is not joint. The error says why that cannot
  // be, or not yet.
  base::Result<> change(const GroupShape& target);
  base::Result<> may_change(const GroupShape& target) const;
  // Appends what the group says of its slots from now on; in force at once, and what it says once
  // shape_settled(). Only while the shape is settled, and by who serves.
  bool may_tell_slots() const { return serves() && shape_settled(); }
  void tell_slots(const SlotLedger& ledger);

  // --- what follows
  // Messages to send now, in order; their entries stay valid until the next call.
  std::vector<Send>& flush(base::Millis now);
  // The last flush held something back: there is to be another one in the next millisecond.
  bool holds_back() const { return holds_back_; }
  // The state to save, once when it changed. Votes wait for state_saved().
  const SavedState* take_state();
  // The log is about to be cut off: also what else is remembered of it is to be saved before.
  void keep_state() {
    if (std::exchange(state_stale_, false) || saving_ > 0) change_state();
  }
  // Entries for the disk: hands pieces of the log to `write(bytes, last index)`.
  template <class Write>
  void hand_over(Write&& write) {
    if (handed_ < log_.last().index) handed_at_ = now_;
    while (handed_ < log_.last().index) {
      Index upto;
      base::Bytes bytes = log_.slice(handed_, SIZE_MAX, upto);
      write(bytes, upto);
      handed_ = upto;
    }
  }
  // They are not needed there for kDiskWaitMs: what comes until then goes along.
  bool disk_may_wait() const;
  // Up to where the log on disk is to be synced without delay, for somebody waits for that.
  Index sync_wish() const { return leads() ? sync_wanted_ : sync_asked_; }
  // Members that need what the log no longer holds. Once told, nothing more is sent to one until
  // sync_began() and sync_ended(). Not before the shape as of the data is known here, which goes
  // with them: a founder that lost its log hears of it with the first change of the group.
  std::vector<Member> take_lagging() {
    if (shape_at(applied_).unknown()) return {};
    return std::exchange(lagging_, {});
  }
  // The data as of this entry are being sent to the member: the log is kept from there on.
  void sync_began(Member member, Position at);
  void sync_ended(Member member);

  // Who is in the group: by the last entry that tells it.
  const GroupShape& shape() const { return shapes_.back().shape; }
  // As of an entry that is not older than what is committed and applied.
  const GroupShape& shape_at(Index index) const;
  // It is committed, and no change of it is under way.
  bool shape_settled() const;
  // Another number: the shape, or what it says of slots, may be another one.
  uint64_t shape_number() const { return shape_number_; }
  // A learner has what a voter needs.
  bool caught_up(Member member) const;
  // We lead, and the group goes on without us: leadership is to be handed on soon.
  bool leaving() const;

  const SavedState& state() const { return state_; }
  Role role() const { return role_; }
  bool leads() const { return role_ == Role::leader; }
  // Commands may run here.
  bool serves() const { return leads() && commit_ >= noop_ && applied_ >= noop_ && !lacks_data(); }
  // Voters that take entries from us now, ourselves included.
  unsigned members_ready(base::Millis now) const;
  // Enough to commit what we propose.
  bool may_commit(base::Millis now) const;
  Epoch epoch() const { return state_.epoch; }
  Member leader() const { return leader_; }  // kNoMember: not known
  Index commit() const { return commit_; }
  Index applied() const { return applied_; }
  Position last() const { return log_.last(); }
  const GroupLog& log() const { return log_; }
  uint64_t round() const { return round_; }
  uint64_t confirmed_round() const { return confirmed_; }
  bool intact() const { return state_.amnesia == 0; }
  // The operator's word that this member counts again with what it has, whatever it has lost: where
  // so many lost something at once that nobody is left who could let the others in. The error says
  // why not.
  base::Result<> accept_loss();
  // Entries dropped since the last look that had been applied: what they did must be undone. The
  // index behind which the data differ from the log; nothing: none.
  std::optional<Index> take_undone() { return std::exchange(undone_, std::nullopt); }
  // Those entries, encoded.
  std::string take_undone_entries() { return std::exchange(undone_entries_, {}); }
  // The log on disk must begin anew, empty.
  bool take_forgotten() { return std::exchange(forgotten_, false); }
  Index match(Member member) const { return peers_[member].match; }
  // Up to where the disk of the member, or our own, has the log.
  Index synced(Member member) const {
    if (member == group_.self) return disk_works_ ? synced_ : 0;
    return peers_[member].amnesia == 0 ? peers_[member].synced : 0;
  }
  // What so many voters that count have, or have on disk; and the round that so many answered.
  Index stored_by(unsigned members) const;
  Index synced_by(unsigned members) const;
  // What a quorum of every configuration has on disk: what no loss of power takes away.
  Index synced_by_quorums() const;
  uint64_t confirmed_by(unsigned members) const;
  bool heard_of(Member member, base::Millis now) const;
  // Entries that are not committed: a leader takes no more when they are many.
  size_t uncommitted_bytes() const { return log_.bytes_behind(commit_); }

 private:
  enum class Feed : uint8_t {
    probe,      // the last common entry is looked for: one append at a time
    replicate,  // entries are sent as they come
    lagging,    // needs more than the log holds
  };
  struct Peer {
    std::string id;  // of the node
    bool linked = false;
    bool ready = false;   // it could serve
    bool virgin = false;  // once seen with an empty log, before it took part in anything
    Feed feed = Feed::probe;
    Index next = 1;   // entry to send next
    Index match = 0;  // it has everything up to here
    Index synced = 0;
    Index sync_told = 0;  // that the log is to be synced up to here
    Index commit_told = 0;
    uint64_t round = 0;  // of our appends it answered
    uint64_t round_sent = 0;
    uint64_t amnesia = 0;
    uint64_t rejoin_proposed = 0;
    base::Millis heard = 0;  // from it, in our epoch as leader
    base::Millis sent = 0;
    base::Millis asked = 0;         // sent what it answers at once
    base::Millis entries_sent = 0;  // the last ones,
    Index entries_at_once = 0;      // so many
    bool asked_first = false;       // in a round
    Index sync_from = 0;            // data as of this entry are on their way, or it catches up
    size_t catch_up_max = 0;        // bytes of the log that are kept for that
  };

  uint64_t draw();
  base::Millis random_timeout();
  bool promised() const { return group_.lease && now_ < promise_until_; }
  void bind() { promise_until_ = now_ + group_.election_timeout_ms; }
  bool could_lead(Member m) const;
  bool may_vote() const { return intact() && disk_works_; }
  bool may_campaign() const;
  bool lacks_data() const { return shape().is_witness(group_.self) || !data_stands_; }
  // The others of all shapes in question.
  template <class Visit>
  void each_peer(Visit&& visit) {
    for (Member m = 0; m < kMembersMax; ++m)
      if (is_fed(m)) visit(m, peers_[m]);
  }
  template <class Visit>
  void each_peer(Visit&& visit) const {
    for (Member m = 0; m < kMembersMax; ++m)
      if (is_fed(m)) visit(m, peers_[m]);
  }
  template <class Visit>
  void each_voter_peer(Visit&& visit) const {
    for (Member m = 0; m < kMembersMax; ++m)
      if (m != group_.self && is_meant(m) && shape().votes(m)) visit(m);
  }

  bool is_meant(Member m) const { return meant_ >> m & 1; }
  bool is_fed(Member m) const { return fed_ >> m & 1; }
  bool counts(Member m) const {
    return is_meant(m) && (m == group_.self || peers_[m].amnesia == 0);
  }
  // Those of the places that count and of which this holds.
  template <class Holds>
  unsigned count_in(uint32_t places, Holds&& holds) const {
    unsigned count = 0;
    for (Member m = 0; m < kMembersMax; ++m) count += (places >> m & 1) && counts(m) && holds(m);
    return count;
  }
  // What so many of them have reached.
  template <class Number, class Value>
  Number reached_in(uint32_t places, unsigned quorum, Value&& value) const {
    std::array<Number, kMembersMax> have{};
    size_t count = 0;
    for (Member m = 0; m < kMembersMax; ++m)
      if ((places >> m & 1) && counts(m)) have[count++] = value(m);
    return reached_by<Number>({have.data(), count}, quorum);
  }
  // What a quorum of every configuration has reached.
  template <class Number, class Value>
  Number reached(unsigned (Voters::*quorum)() const, Value&& value) const {
    Number least = std::numeric_limits<Number>::max();
    shape().each_voters([&](const Voters& voters) {
      least = std::min(least, reached_in<Number>(voters.places, (voters.*quorum)(), value));
      return true;
    });
    return least;
  }

  void change_state() { state_dirty_ = true; }
  bool saved() const { return !state_dirty_ && saving_ == 0; }
  void say(Member to, GroupMessage message) { out_.push_back({to, std::move(message)}); }
  GroupMessage message(GroupMessage::Kind kind) const;

  void become_follower(Epoch epoch, Member leader);
  void ask_prevotes();
  void campaign(bool asked = false);
  void lead();
  void append_own(EntryKind kind, base::Bytes payload, base::Millis wall);
  bool elected() const;
  void count_votes();
  bool takes_entries(Member member, base::Millis now) const;
  bool hears_quorums(base::Millis now) const;
  void begin_feeding(Peer& peer);
  void hear_hello(Member from, const GroupMessage& message);
  void hear_prevote(Member from, const GroupMessage& message);
  void hear_answer(Member from, const GroupMessage& message);  // to a prevote or a vote
  void hear_vote(Member from, const GroupMessage& message);
  base::Result<> hear_append(Member from, const GroupMessage& message);
  base::Result<> read_append(Member from, const GroupMessage& message);
  void take_append(Member from, const GroupMessage& message);
  bool replaces(Position at, Index certain) const;
  void take_entries();
  void take_entry(const Entry& entry, base::Bytes bytes);
  void drop_behind(Index index);
  bool contradicts_base(Position at) const;
  void forget();
  void hear_reply(Member from, const GroupMessage& message);
  bool virgin() const { return state_.epoch == 0 && log_.last() == Position{}; }
  void begin_virgin();
  Index stored(Member m) const;
  Index stored_by_quorums() const;
  void advance_commit();
  uint64_t round_of(Member m) const;
  uint64_t confirmed_by_quorums() const;
  void advance_confirmed();
  void note_commit(Index commit);
  void readmit();
  void propose_rejoins();
  Index counted() const;  // of our own log, by the durability asked for
  // The newest round that appends carry.
  uint64_t carried_round() const { return round_ - round_open_; }
  bool round_waits() const {
    if (confirmed_ < carried_round()) return true;
    return round_members_ > 0 && confirmed_by(round_members_) < carried_round();
  }
  bool asks(const Peer& peer) const {
    return peer.round_sent < carried_round() && round_waits() &&
           (peer.asked_first || now_ - round_waits_since_ >= kRoundPatienceMs);
  }
  bool has_entries_for(const Peer& peer) const {
    return peer.linked && peer.feed == Feed::replicate && peer.next <= log_.last().index;
  }
  bool entries_wait(const Peer& peer) const;
  void begin_round();
  void choose_asked();
  void choose_asked(uint32_t places, unsigned wanted);
  base::Millis heartbeat_ms() const { return group_.election_timeout_ms / kHeartbeatsPerTimeout; }
  void renew_lease();
  void feed(Member member, Peer& peer);
  enum class Append : uint8_t { asking, news };
  void send_append(Member member, Peer& peer, base::Bytes entries, Index upto,
                   Append what = Append::asking);
  void fall_behind(Member member, Peer& peer);
  void send_reply();
  void trim();

  static bool tells_shape(EntryKind kind) {
    return kind == EntryKind::shape || kind == EntryKind::slots;
  }
  struct KnownShape {
    Position at;
    GroupShape shape;
    bool slots_only = false;  // it differs from the one before in what it says of slots
  };
  void find_shapes();
  void add_shape(const Entry& entry);
  void take_shape(const Entry& entry);
  void drop_shapes_behind(Index index);
  const KnownShape& known_at(Index index) const;
  void note_shape_committed();
  void drop_old_shapes();
  void look_who_is_meant();
  bool may_stand() const;
  void append_shape(const GroupShape& shape);
  void go_on_changing();
  void leave();

  GroupConfig group_;
  SavedState state_;
  GroupLog log_;
  uint64_t chance_;
  base::Millis now_;
  GroupShape first_;
  // The last one committed and applied, and those behind it; never none.
  std::deque<KnownShape> shapes_;
  uint64_t shape_number_ = 0;
  uint32_t meant_ = 0;  // bit m: the node at place m is the one that the shape means
  uint32_t fed_ = 0;    // bit m: the same of another one, of any of the shapes
  base::Millis leaving_since_ = 0;
  Role role_ = Role::follower;
  Member leader_ = kNoMember;
  bool prevoting_ = false;
  bool disk_works_ = true;
  bool data_stands_ = true;
  std::optional<Epoch> placing_of_;  // the leader's who sent the data
  uint32_t votes_ = 0;               // members that grant
  std::array<Peer, kMembersMax> peers_;
  base::Millis election_at_ = 0;
  base::Millis leader_heard_ = 0;  // from it, or when we began
  Index commit_ = 0;
  Index applied_ = 0;
  Index handed_ = 0;
  base::Millis handed_at_ = 0;
  Index written_ = 0;
  Index synced_ = 0;
  Index noop_ = 0;
  std::optional<Index> undone_;
  std::string undone_entries_;
  bool forgotten_ = false;
  Index rejoin_at_ = 0;  // the REJOIN for us; 0: none seen
  uint64_t round_ = 0;
  uint64_t confirmed_ = 0;
  bool round_open_ = false;  // no append has carried round_ yet
  uint64_t open_reads_ = 0;  // that wait for round_ to begin
  uint64_t last_reads_ = 0;  // that waited for the one before
  // Members asked for beyond the quorums, 0: none,
  unsigned open_members_ = 0;   // to confirm round_
  unsigned round_members_ = 0;  // to confirm the rounds that wait
  base::Millis round_began_ = 0;
  base::Millis round_waits_since_ = 0;
  bool holds_back_ = false;
  // The lease. Rounds that were sent and not yet confirmed, with the time before they were.
  struct SentRound {
    uint64_t round;
    base::Millis at;
  };
  std::deque<SentRound> sent_rounds_;
  std::optional<base::Millis> lease_from_;
  bool lease_released_ = false;  // in this epoch
  base::Millis promise_until_ = 0;
  bool asked_to_lead_ = false;  // by the leader: our votes say so
  // Synced sooner than the durability asks: as leader for whom, as follower because of whom.
  Index sync_wanted_ = 0;
  Index sync_asked_ = 0;
  // As a follower: up to where our log is known to be the leader's, and what we owe it.
  Index known_ = 0;
  std::vector<Entry> read_;  // of the append that is being heard
  bool reply_due_ = false;
  bool refuse_ = false;
  Index refuse_hint_ = 0;
  uint64_t reply_round_ = 0;
  uint64_t replied_round_ = 0;
  // State on its way to disk.
  bool state_dirty_ = false;
  bool state_stale_ = false;  // the disk has an older one that is as good while the log is there
  unsigned saving_ = 0;
  Member vote_owed_ = kNoMember;  // told when the state is saved
  bool campaign_owed_ = false;
  std::vector<Send> out_;
  std::vector<Send> given_;
  std::vector<Member> lagging_;
};

}  // namespace quoll::cluster
