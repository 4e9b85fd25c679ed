// ReplicaGroup: what a member has already is not sent to it with all data.
//
//   leader                                    member that is to get all data
//   need_slots (a seed)                    --> digests of its slots
//   digests of ours                        <-- slot_digests
//   ... until both are there; as of the snapshot's instant, for what changes has none
//   sync_begin (slots that are equal), the others' data, sync_end
//                                          --> received.rdb, synced
//                                              its other slots are emptied, then filled from there
//                                              all of it is written: the checkpoint
//                                              the log begins behind it; sync_taken
//
// Until its new checkpoint stands the member has the old one and its log on disk. Should anything
// come between, its data are all wrong, and it asks again; what is equal then is left out again.
#include "server/group.h"
#include "server/log.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {

using cluster::FieldReader;
using cluster::FieldWriter;
using cluster::FrameType;
using cluster::Member;
using store::SlotDigest;
using store::SlotSet;

namespace {

constexpr base::Millis kSlotsPatienceMs = 20'000;  // then what was not compared is sent
constexpr unsigned kSlotsAtOnce = 1024;            // of which the digests are told in a piece
constexpr size_t kErasedAtOnce = 256;              // keys, in a commit
constexpr size_t kSlotSetBytes = kSlots / 8;

static_assert(sizeof(SlotDigest) == 16);
static_assert(kSlots % kSlotsAtOnce == 0);

}  // namespace

std::string ReplicaGroup::encode_slots(const SlotSet& slots) {
  std::string bytes(kSlotSetBytes, '\0');
  for (unsigned slot = 0; slot < kSlots; ++slot)
    if (slots[slot]) bytes[slot / 8] |= static_cast<char>(1 << slot % 8);
  return bytes;
}

bool ReplicaGroup::decode_slots(base::Bytes bytes, SlotSet& slots) {
  if (bytes.size() != kSlotSetBytes) return false;
  for (unsigned slot = 0; slot < kSlots; ++slot) slots[slot] = bytes[slot / 8] >> slot % 8 & 1;
  return true;
}

// --- who sends ---------------------------------------------------------------------------------

void ReplicaGroup::ask_for_slots(Member to, std::shared_ptr<Sending> sending) {
  forget_offer();  // of an epoch that is over
  if (server_.store().placement() != store::Placement::by_slot) return stream_to(to, sending);
  const uint64_t number = server_.host().process.draw_secret();
  asking_ = AskedForSlots{to, std::move(sending), number, steady_ms()};
  std::string frame;
  cluster::begin_frame(FrameType::need_slots, sizeof number, frame);
  FieldWriter(frame).number(number);
  links_->send(to, frame);
}

// A piece of them.
bool ReplicaGroup::slots_told(Member from, base::Bytes body) {
  FieldReader in(body);
  uint64_t number;
  uint32_t first = 0;
  if (!in.number(number) || (!in.empty() && !in.number(first))) return false;
  const base::Bytes digests = in.rest();
  const size_t count = digests.size() / sizeof(SlotDigest);
  if (digests.size() % sizeof(SlotDigest) != 0 || first + count > kSlots) return false;
  const bool asked = asking_ && asking_->member == from && asking_->number == number;
  if (!asked || asking_->streams || first != asking_->told) return true;
  if (count == 0) {  // no data
    asking_->streams = true;
    stream_to(from, asking_->sending);
    return true;
  }
  if (first == 0) {
    asking_->theirs.resize(kSlots, store::SlotDigests::kNone);
    slots_.begin(number);
  }
  std::memcpy(asking_->theirs.data() + first, digests.data(), digests.size());
  asking_->told += static_cast<unsigned>(count);
  return true;
}

// At the instant the snapshot shows.
ReplicaGroup::LeftOut ReplicaGroup::take_left_out() {
  LeftOut out;
  if (!asking_) return out;
  if (slots_.running() && !asking_->theirs.empty() && !server_.store().commits().open()) {
    out = {slots_.equal(asking_->theirs), asking_->number};
    const store::Store& store = server_.store();
    uint64_t with_keys = 0;
    for (unsigned slot = 0; slot < kSlots; ++slot)
      for (store::DbIndex db = 0; (*out.slots)[slot] && db < store.databases(); ++db)
        if (store.keys_in_slot(db, slot) > 0 && ++with_keys) break;
    counters_.slots_left_out += with_keys;
    log::notice("Group: member {} has {} slots with keys already", asking_->member, with_keys);
    if (with_keys == 0) out.slots.reset();
  }
  forget_question();
  return out;
}

// --- who receives ------------------------------------------------------------------------------

bool ReplicaGroup::slots_wanted(Member from, base::Bytes body) {
  uint64_t number;
  if (!FieldReader(body).number(number)) return false;
  const store::Store& store = server_.store();
  uint64_t keys = 0;
  for (store::DbIndex db = 0; db < store.databases(); ++db) keys += store.keys(db);
  const bool busy = witness() || loading_ || incoming_ || asking_ || core_->leader() != from;
  if (busy || keys == 0 || store.placement() != store::Placement::by_slot) {
    tell_slots(from, number, 0, 0);
    return true;
  }
  offered_ = OfferedSlots{from, number};
  slots_.begin(number);
  return true;
}

void ReplicaGroup::tell_slots(Member to, uint64_t number, unsigned first, unsigned count) {
  std::string body;
  FieldWriter(body).number(number).number(static_cast<uint32_t>(first));
  if (count > 0)
    body.append(reinterpret_cast<const char*>(slots_.slots().data() + first),
                count * sizeof(SlotDigest));
  std::string frame;
  cluster::begin_frame(FrameType::slot_digests, body.size(), frame);
  links_->send(to, frame, body);
}

void ReplicaGroup::forget_offer() {
  if (!offered_) return;
  offered_.reset();
  slots_.end();
}

void ReplicaGroup::forget_question() {
  asking_.reset();
  slots_.end();
}

// --- both --------------------------------------------------------------------------------------

void ReplicaGroup::work_on_slots() {
  slots_.work();
  if (!slots_.complete()) return;
  if (offered_ && offered_->told < kSlots) {
    // What else there is to say to the leader does not wait for all of it.
    if (links_->waiting_bytes(offered_->to) > 0) return;
    tell_slots(offered_->to, offered_->number, offered_->told, kSlotsAtOnce);
    offered_->told += kSlotsAtOnce;
    server_.host().loop.post([] {});
  } else if (asking_ && asking_->told == kSlots && !asking_->streams) {
    asking_->streams = true;
    stream_to(asking_->member, asking_->sending);
  }
}

void ReplicaGroup::look_after_slots() {
  if (offered_ && !incoming_ && core_->leader() != offered_->to) forget_offer();
  if (incoming_ && incoming_->synced && !incoming_->placing) use_incoming();
  if (!asking_ || asking_->streams) return;
  if (!wanted(*asking_->sending))
    return sending_ended(asking_->member, base::Error{"it is not wanted any more"});
  if (steady_ms() - asking_->since < kSlotsPatienceMs) return;
  asking_->streams = true;
  stream_to(asking_->member, asking_->sending);
}

// --- the slots that came take the places of ours -----------------------------------------------

void ReplicaGroup::replace_slots() {
  if (!slots_.unchanged(incoming_->kept))
    return give_up_incoming("the slots that were to be kept have changed");
  if (publishing_ || (writing_ && !written_)) return;  // look_after_slots() tries again
  writing_dropped_ = true;                             // what was written of our own data is older
  replacing_ = Replacing{incoming_->from,  incoming_->epoch,
                         incoming_->at,    std::min(incoming_->commit, incoming_->at.index),
                         incoming_->shape, incoming_->kept};
  incoming_.reset();
  offered_.reset();
  loading_ = true;
  core_->data_stands(false);
  server_.persistence().begin_sync(false);
  server_.scripts().libraries().flush();
  server_.tracking().flushed();
  server_.watches().dirty_all();
  empty_slots();
}

void ReplicaGroup::empty_slots() {
  const base::Nanos end = server_.host().clock.steady() + kSlotBudget;
  unsigned& slot = replacing_->emptied;
  while (slot < kSlots && server_.host().clock.steady() < end)
    if (replacing_->kept[slot] || empty_slot(slot)) ++slot;
  if (slot < kSlots)
    return server_.host().loop.post([this, alive = alive_] {
      if (*alive) empty_slots();
    });
  server_.persistence().load_checkpoint(checkpoints_.received(),
                                        [this, alive = alive_](base::Result<> loaded) {
                                          if (*alive) write_replaced(std::move(loaded));
                                        });
}

// True: it is empty.
bool ReplicaGroup::empty_slot(unsigned slot) {
  store::Store& store = server_.store();
  std::vector<std::pair<store::DbIndex, std::string>> keys;
  for (store::DbIndex db = 0; db < store.databases(); ++db)
    store.visit_slot(db, slot, [&](const store::Entry* entry) {
      keys.emplace_back(db, entry->key());
      return keys.size() < kErasedAtOnce;
    });
  store.commits().begin(store::Origin::load, server_.now());
  for (const auto& [db, key] : keys) {
    constexpr base::Millis kBeforeAllDeadlines = 0;
    store::Edit edit = store.edit(db, store.ref(key), kBeforeAllDeadlines, false);
    edit.erase();
    edit.done_silently();
  }
  store.commits().close();
  return keys.size() < kErasedAtOnce;
}

void ReplicaGroup::write_replaced(base::Result<> loaded) {
  server_.persistence().end_sync();
  if (!loaded) return replacing_failed(loaded.error());
  server_.persistence().write_checkpoint(
      checkpoints_.written(), checkpoints_.written() + ".part", [] {},
      [this](base::Result<> written) { publish_replaced(std::move(written)); });
}

void ReplicaGroup::publish_replaced(base::Result<> written) {
  if (!written) return replacing_failed(written.error());
  if (!slots_.unchanged(replacing_->kept)) return replacing_failed("what was kept has changed");
  if (core_->overtaken(replacing_->at, replacing_->epoch))
    return replacing_failed("the group has gone on without them");
  core_->placing(replacing_->epoch);
  checkpoint_bytes_ = server_.persistence().finished_job_bytes();
  checkpoints_.publish(checkpoints_.written(), {replacing_->at, replacing_->commit},
                       [this, alive = alive_](base::Result<> published) {
                         if (*alive) replaced(std::move(published));
                       });
}

void ReplicaGroup::replaced(base::Result<> published) {
  if (!published) return replacing_failed(published.error());
  if (ending_) return replacing_failed("the group is left");
  if (core_->commit() > replacing_->at.index)
    return replacing_failed("the group has gone on without them");
  const Replacing done = *replacing_;
  const bool as_on_disk = slots_.unchanged(done.kept);
  replacing_.reset();
  slots_.end();
  loading_ = false;
  data_are_ours(done.from, done.at, done.commit, done.shape);
  if (!as_on_disk) {
    log::warning("Group: what was kept of the data has changed; all are asked for");
    core_->data_stands(false);
    all_wrong_ = true;
    return;
  }
  log::notice("Group: all data are there, as of entry {}", core_->applied());
}

void ReplicaGroup::replacing_failed(const std::string& why) {
  log::warning("Group: the data received could not be put in place: {}", why);
  replacing_.reset();
  core_->not_placed();
  slots_.end();
  loading_ = false;
  all_wrong_ = true;
}

}  // namespace quoll::server
