// ReplicaGroup: all data to and from other members, and what a deposed leader must undo.
//
//   leader                              member that is too far behind
//   snapshot as of its data's entry --> received.rdb, synced; checkpoint; the log begins behind it
//   (the log behind is kept)            --> the store, from that file
//
// Slots that a member has already are not sent to it: group_slots.cc.
//
// A deposed leader whose entries were dropped asks the new one for the keys they changed:
//
//   deposed     the keys of the dropped entries are wrong; entries that use one of them are
//               skipped and make their other keys wrong, too
//   need_keys ->            the leader answers with their values as of its last entry X
//   <- keys                 entries up to X are applied, then the values take the keys' places
//   ... until no key is wrong.
#include "persist/dump_payload.h"
#include "server/command_table.h"
#include "server/group.h"
#include "server/log.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {

using cluster::FieldReader;
using cluster::FieldWriter;
using cluster::FrameType;
using cluster::Index;
using cluster::Member;

namespace {

constexpr unsigned kRdbVersion = 12;                  // holds everything
constexpr base::Millis kAskAgainMs = 1000;            // for data or keys that did not come
constexpr base::Millis kPlacedAgainMs = 100;          // while the server ends
constexpr size_t kRepairBytesMax = size_t{64} << 20;  // of values in one answer

}  // namespace

// --- all data, to a member ---------------------------------------------------------------------

// What the snapshot job writes to: frames on the connection.
class ReplicaGroup::Outgoing final : public persist::SnapshotOutput {
 public:
  Outgoing(ReplicaGroup& group, Member to, std::shared_ptr<Sending> sending)
      : group_(group), to_(to), sending_(std::move(sending)) {}

  void append(std::string piece) override {
    std::string head;
    cluster::begin_frame(FrameType::sync_data, piece.size(), head);
    group_.links_->send(to_, head, piece);
  }
  size_t waiting_bytes() const override { return group_.links_->waiting_bytes(to_); }
  const std::string& error() const override {
    if (sending_->failure.empty() && group_.core_->epoch() != sending_->epoch)
      sending_->failure = "another member leads";
    return sending_->failure;
  }
  void finish(host::OnDone done) override { done({}); }

 private:
  ReplicaGroup& group_;
  Member to_;
  std::shared_ptr<Sending> sending_;
};

void ReplicaGroup::send_all(Member to) {
  if (sending_[to]) return;                  // on its way
  if (asking_ && !config_.is_witness(to)) {  // one after the other
    owed_ |= 1u << to;
    return;
  }
  if (!config_.is_witness(to) && (witness() || !core_->data_stands())) {
    if (!(owed_ >> to & 1))
      log::warning("Group: member {} is too far behind, and here are no data to help it", to);
    owed_ |= 1u << to;
    return;
  }
  auto sending = std::make_shared<Sending>(Sending{core_->epoch(), {}});
  sending_[to] = sending;
  if (config_.is_witness(to)) {
    begin_stream(to, {});
    return sending_ended(to, {});
  }
  log::notice("Group: member {} is too far behind: it gets all data", to);
  ask_for_slots(to, std::move(sending));
}

bool ReplicaGroup::wanted(const Sending& sending) const {
  return sending.failure.empty() && core_->leads() && core_->epoch() == sending.epoch &&
         core_->data_stands();
}

// But for what it is known to have at the instant they begin.
void ReplicaGroup::stream_to(Member to, std::shared_ptr<Sending> sending) {
  server_.persistence().stream(
      [this, to, sending]() -> Persistence::Stream {
        const LeftOut left_out = take_left_out();
        if (!wanted(*sending)) {
          sending_ended(to, base::Error{"it is not wanted any more"});
          return {};
        }
        begin_stream(to, left_out);
        return {kRdbVersion, std::make_unique<Outgoing>(*this, to, sending), left_out.slots};
      },
      [this, to, alive = alive_](base::Result<> result) {
        if (*alive) sending_ended(to, std::move(result));
      });
}

void ReplicaGroup::begin_stream(Member to, const LeftOut& left_out) {
  // A witness, which gets no data, takes the beginning of its log for committed.
  const Index index = config_.is_witness(to) ? core_->commit() : core_->applied();
  const cluster::Position at{*core_->log().epoch_at(index), index};
  core_->sync_began(to, at);
  std::string body;
  FieldWriter(body).position(at).bytes(cluster::encode_shape(core_->shape_at(at.index)));
  if (left_out.slots) FieldWriter(body).number(left_out.number);
  if (left_out.slots) body += encode_slots(*left_out.slots);
  std::string frame;
  cluster::begin_frame(FrameType::sync_begin, body.size(), frame);
  links_->send(to, frame, body);
}

// Members that were owed data while ours were not the log's.
void ReplicaGroup::send_owed() {
  if (!core_->leads()) owed_ = 0;
  if (owed_ == 0 || witness() || !core_->data_stands()) return;
  const uint32_t owed = std::exchange(owed_, 0);
  for (Member m = 0; m < members_.size(); ++m)
    if (owed >> m & 1) send_all(m);
}

// The member says when it has taken them; until then the log is kept.
void ReplicaGroup::sending_ended(Member to, base::Result<> result) {
  sending_[to].reset();
  if (asking_ && asking_->member == to) forget_question();
  if (!result) {
    log::warning("Group: member {} did not get all data: {}", to, result.error());
    core_->sync_ended(to);
    return;
  }
  ++counters_.syncs_sent;
  std::string frame;
  cluster::begin_frame(FrameType::sync_end, sizeof(Index), frame);
  FieldWriter(frame).number(core_->commit());
  links_->send(to, frame);
}

// --- all data, from a leader -------------------------------------------------------------------

template <class Callback>
auto ReplicaGroup::of_incoming(Callback callback) {
  return [this, alive = alive_, number = incoming_->number,
          callback = std::move(callback)](auto&&... values) {
    if (*alive && incoming_ && incoming_->number == number)
      callback(std::forward<decltype(values)>(values)...);
  };
}

bool ReplicaGroup::incoming_begins(Member from, base::Bytes body) {
  cluster::Position at;
  base::Bytes shape_bytes;
  store::SlotSet kept;
  FieldReader in(body);
  if (!in.position(at) || !in.bytes(shape_bytes)) return false;
  const auto shape = cluster::decode_shape(shape_bytes);
  if (!shape) return false;
  if (core_->leader() != from || loading_ || (incoming_ && incoming_->placing)) return true;
  if (auto fine = core_->check_arriving(at, *shape); !fine) return refuse(from, fine.error());
  if (incoming_) give_up_incoming("they begin anew");
  if (in.empty()) {
    forget_offer();
  } else {
    uint64_t number;
    if (!in.number(number) || !decode_slots(in.rest(), kept)) return false;
    const bool meant = offered_ && offered_->told == store::kSlots && offered_->number == number;
    if (!meant) return true;  // we ask again at the end
  }
  log::notice("Group: {} data come from member {}, as of entry {}",
              kept.any() ? "the other slots'" : "all", from, at.index);
  data_wanted_ = 0;
  incoming_ = std::make_unique<Incoming>();
  incoming_->number = ++incomings_;
  incoming_->from = from;
  incoming_->epoch = core_->epoch();
  incoming_->at = at;
  incoming_->shape = *shape;
  incoming_->kept = kept;
  if (is_witness_in(*shape)) return true;
  host::Disk& disk = server_.persistence().storage().disk;
  disk.open(checkpoints_.received(), host::OpenMode::truncate,
            of_incoming([this](base::Result<host::FileId> opened) {
              if (!opened) return give_up_incoming(opened.error());
              incoming_->file = opened.value();
              incoming_->open = true;
              write_incoming(std::exchange(incoming_->early, {}));
              if (incoming_ && incoming_->over && incoming_->waiting == 0) finish_incoming();
            }));
  return true;
}

bool ReplicaGroup::incoming_bytes(base::Bytes body) {
  incoming_->waiting += body.size();
  if (incoming_->open)
    write_incoming(std::string(body));
  else
    incoming_->early += body;
  if (incoming_ && incoming_->waiting > kIncomingWaitingMax)
    links_->pause_reads(incoming_->from, true);
  return true;
}

void ReplicaGroup::write_incoming(std::string bytes) {
  if (bytes.empty()) return;
  const size_t size = bytes.size();
  server_.persistence().storage().disk.append(incoming_->file, std::move(bytes),
                                              of_incoming([this, size](base::Result<> written) {
                                                if (!written)
                                                  return give_up_incoming(written.error());
                                                incoming_->waiting -= size;
                                                if (incoming_->waiting <= kIncomingWaitingMax)
                                                  links_->pause_reads(incoming_->from, false);
                                                if (incoming_->waiting == 0 && incoming_->over)
                                                  finish_incoming();
                                              }));
}

void ReplicaGroup::want_data() {
  data_wanted_ = core_->leader() == cluster::kNoMember ? kAnyEpoch : core_->epoch();
  asked_at_ = steady_ms();
}

bool ReplicaGroup::incoming_ends(base::Bytes body) {
  if (!FieldReader(body).number(incoming_->commit)) return false;
  incoming_->over = true;
  if (is_witness_in(incoming_->shape)) {
    core_->arrives(incoming_->at, incoming_->shape);
    save_state(of_incoming([this] { install_incoming(); }));
  } else if (incoming_->open && incoming_->waiting == 0) {
    finish_incoming();
  }
  return true;
}

void ReplicaGroup::finish_incoming() {
  host::Disk& disk = server_.persistence().storage().disk;
  disk.sync(incoming_->file, of_incoming([this, &disk](base::Result<> synced) {
              if (!synced) return give_up_incoming(synced.error());
              disk.close(incoming_->file);
              incoming_->open = false;
              core_->arrives(incoming_->at, incoming_->shape);
              save_state(of_incoming([this] {
                incoming_->synced = true;
                use_incoming();
              }));
            }));
}

void ReplicaGroup::use_incoming() {
  const bool old = core_->epoch() != incoming_->epoch || core_->commit() > incoming_->at.index;
  if (old) return give_up_incoming("the group has gone on without them");
  if (incoming_->kept.any()) return replace_slots();
  if (publishing_) return;  // look_after_slots() tries again
  const Checkpoint checkpoint{incoming_->at, std::min(incoming_->commit, incoming_->at.index)};
  writing_dropped_ = true;  // what is being written of our own data is older
  // From here on they are ours, whoever leads: a restart would find them.
  incoming_->placing = true;
  core_->placing(incoming_->epoch);
  checkpoints_.publish(checkpoints_.received(), checkpoint,
                       of_incoming([this](base::Result<> published) {
                         if (!published) return give_up_incoming(published.error());
                         incoming_placed();
                       }));
}

// While the server ends, the log is closed; should it go on after all, so do we.
void ReplicaGroup::incoming_placed() {
  if (!ending_) return install_incoming();
  server_.host().loop.after(kPlacedAgainMs * base::kNanosPerMilli,
                            of_incoming([this] { incoming_placed(); }));
}

// They are on disk under their name. If another leader has come meanwhile, the core sorts it out.
void ReplicaGroup::install_incoming() {
  const cluster::Position at = incoming_->at;
  const Member from = incoming_->from;
  const Index commit = incoming_->commit;
  const cluster::GroupShape shape = incoming_->shape;
  incoming_.reset();
  if (core_->commit() > at.index) {
    core_->not_placed();
    return core_->sync_ended(from);
  }
  data_are_ours(from, at, commit, shape);
  if (witness()) return;
  loading_ = true;
  core_->data_stands(false);
  begin_loading();
  server_.persistence().load_checkpoint(checkpoints_.path(),
                                        [this, alive = alive_](base::Result<> loaded) {
                                          if (*alive) data_loaded(std::move(loaded));
                                        });
}

// On disk they are.
void ReplicaGroup::data_are_ours(Member from, cluster::Position at, Index commit,
                                 const cluster::GroupShape& shape) {
  if (!core_->holds(at)) wal_->restart(at);
  core_->installed(at, commit, shape);
  follow_shape();
  wrong_keys_.clear();
  answer_.reset();
  all_wrong_ = false;
  ++counters_.syncs_received;
  std::string frame;
  cluster::begin_frame(FrameType::sync_taken, 0, frame);
  links_->send(from, frame);
}

// Until Persistence::end_sync().
void ReplicaGroup::begin_loading() {
  forget_offer();
  server_.persistence().begin_sync(false);
  store::Store& store = server_.store();
  for (store::DbIndex db = 0; db < store.databases(); ++db) store.flush(db);
  server_.scripts().libraries().flush();
  server_.tracking().flushed();
  server_.watches().dirty_all();
}

void ReplicaGroup::data_loaded(base::Result<> result) {
  loading_ = false;
  server_.persistence().end_sync();
  const bool is_void = std::exchange(loading_void_, false);
  if (!result || is_void) {
    log::warning("Group: the data received could not be loaded: {}",
                 result ? "some of it was undone meanwhile" : result.error());
    all_wrong_ = true;
    return;
  }
  core_->data_stands(true);
  log::notice("Group: all data are loaded, as of entry {}", core_->applied());
}

// As long as the same member leads, it is asked again after a while.
void ReplicaGroup::give_up_incoming(const std::string& why) {
  log::warning("Group: all data from member {} are given up: {}", incoming_->from, why);
  if (incoming_->epoch == core_->epoch()) want_data();
  if (incoming_->open) server_.persistence().storage().disk.close(incoming_->file);
  links_->pause_reads(incoming_->from, false);
  incoming_.reset();
  core_->not_placed();
  forget_offer();
}

// --- what a deposed leader must undo -----------------------------------------------------------

void ReplicaGroup::undo(Index behind) {
  const std::string entries = core_->take_undone_entries();
  if (writing_ && writing_->at.index > behind) writing_dropped_ = true;
  if (replacing_) return slots_.end();  // which then fails, and all data are wrong
  if (loading_) {
    loading_void_ = true;
    return;
  }
  if (behind == 0 && core_->last().index == 0) {  // all is forgotten
    forget_offer();
    store::Store& store = server_.store();
    for (store::DbIndex db = 0; db < store.databases(); ++db) store.flush(db);
    wrong_keys_.clear();
    all_wrong_ = false;
    return core_->data_stands(true);
  }
  note_wrong(entries);
  log::notice("Group: what was executed behind entry {} was not committed: {}", behind,
              all_wrong_ ? "all data are fetched anew"
                         : fmt::format("{} keys are fetched anew", wrong_keys_.size()));
  answer_.reset();
  asked_at_ = 0;
  if (!all_wrong_ && wrong_keys_.empty()) core_->data_stands(true);
}

namespace {

template <class Visit>
bool each_key(const Command* command, const cluster::EntryEffect& effect, Visit&& visit) {
  std::vector<KeyArg> keys;
  if (!command || !find_keys(*command->spec, effect.words, keys) || keys.empty()) return false;
  for (const KeyArg& key : keys) visit(effect.words[key.index]);
  return true;
}

}  // namespace

// The keys that entries changed; an effect on whole databases makes all data wrong.
void ReplicaGroup::note_wrong(base::Bytes entries) {
  cluster::Entry entry;
  while (!entries.empty() && cluster::decode_entry(entries, entry) == cluster::EntryFault::none) {
    entries.remove_prefix(entry.bytes);
    if (entry.header.kind != cluster::EntryKind::effects) continue;
    cluster::each_effect(entry.payload, [&](const cluster::EntryEffect& effect) {
      const bool keyed = each_key(apply_.command(effect.words), effect, [&](base::Bytes key) {
        wrong_keys_.emplace(effect.db, std::string(key));
      });
      all_wrong_ |= !keyed;
    });
  }
  all_wrong_ |= wrong_keys_.size() > kWrongKeysMax;
}

// An effect that uses a key that is wrong makes all of its keys wrong.
bool ReplicaGroup::skip_wrong(const cluster::EntryEffect& effect) {
  bool wrong = false;
  const bool keyed = each_key(apply_.command(effect.words), effect, [&](base::Bytes key) {
    wrong |= wrong_keys_.contains({effect.db, std::string(key)});
  });
  if (!keyed || !wrong) return false;
  each_key(apply_.command(effect.words), effect,
           [&](base::Bytes key) { wrong_keys_.emplace(effect.db, std::string(key)); });
  return true;
}

void ReplicaGroup::ask_for_data() {
  const base::Millis now = steady_ms();
  const Member leader = core_->leader();
  if (leader == cluster::kNoMember || leader == config_.self || incoming_ || loading_ ||
      now - asked_at_ < kAskAgainMs)
    return;
  asked_at_ = now;
  std::string frame;
  cluster::begin_frame(FrameType::need_data, 0, frame);
  links_->send(leader, frame);
}

void ReplicaGroup::ask_for_keys() {
  const base::Millis now = steady_ms();
  const Member leader = core_->leader();
  if (leader == cluster::kNoMember || leader == config_.self || all_wrong_ || answer_ ||
      now - asked_at_ < kAskAgainMs)
    return;
  asked_at_ = now;
  std::string body;
  FieldWriter fields(body);
  fields.number(++ask_number_);
  for (const auto& [db, key] : wrong_keys_) fields.number(static_cast<uint32_t>(db)).bytes(key);
  std::string frame;
  cluster::begin_frame(FrameType::need_keys, body.size(), frame);
  links_->send(leader, frame, body);
}

// The leader's data are as of the last entry of its log.
void ReplicaGroup::answer_keys(Member to, base::Bytes body) {
  if (!serves()) return;
  FieldReader in(body);
  uint64_t number;
  if (!in.number(number)) return;
  std::string answer;
  FieldWriter fields(answer);
  fields.number(number).position(core_->last());
  while (!in.empty() && answer.size() < kRepairBytesMax) {
    uint32_t db;
    base::Bytes key;
    if (!in.number(db) || !in.bytes(key)) return;
    const auto at = static_cast<store::DbIndex>(db);
    const store::Store& store = server_.store();
    const store::Entry* entry =
        at < store.databases() ? store.find(at, store.ref(key), 0) : nullptr;
    fields.number(db).bytes(key).number(entry ? entry->deadline() : store::kNoDeadline);
    fields.bytes(entry ? persist::dump_payload(*entry, kRdbVersion, false) : std::string());
  }
  std::string frame;
  cluster::begin_frame(FrameType::keys, answer.size(), frame);
  links_->send(to, frame, answer);
}

// Once everything up to the answer's entry is applied, its values are the log's.
void ReplicaGroup::install_keys() {
  if (!answer_) return;
  if (answer_->epoch != core_->epoch()) return answer_.reset();
  if (core_->applied() != answer_->at.index || !core_->holds(answer_->at)) return;
  const std::string body = std::exchange(answer_, std::nullopt)->body;
  FieldReader in(body);
  uint32_t db;
  base::Bytes key, payload;
  base::Millis deadline;
  while (!in.empty() && in.number(db) && in.bytes(key) && in.number(deadline) &&
         in.bytes(payload)) {
    const auto at = static_cast<store::DbIndex>(db);
    if (wrong_keys_.erase({at, std::string(key)}) == 0) continue;
    ++counters_.keys_repaired;
    const base::Bytes erase[] = {"DEL", key};
    apply_.run_effect(at, erase);
    if (payload.empty()) continue;
    const std::string until = std::to_string(deadline == store::kNoDeadline ? 0 : deadline);
    const base::Bytes restore[] = {"RESTORE", key, until, payload, "ABSTTL"};
    apply_.run_effect(at, restore);
  }
  asked_at_ = stuck_since_ = 0;
  if (!wrong_keys_.empty()) return;
  core_->data_stands(true);
  log::notice("Group: the data are those of the log again, as of entry {}", core_->applied());
}

}  // namespace quoll::server
