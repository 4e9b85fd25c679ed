#include "server/log_member.h"

#include "server/log.h"

namespace quoll::server {

using base::Error;
using base::Result;
using cluster::FieldReader;
using cluster::FieldWriter;
using cluster::FrameType;
using cluster::kNoMember;
using cluster::Member;
using cluster::Position;

LogMember::LogMember(const host::Host& host, GroupPart part, std::optional<Position> applied)
    : host_(host),
      part_(std::move(part)),
      applied_(applied.value_or(Position{})),
      wants_all_(applied.has_value()) {}

LogMember::~LogMember() {
  *alive_ = false;
  host_.loop.cancel(timer_);
}

const cluster::GroupShape* LogMember::shape() const {
  return core_ && !core_->shape().unknown() ? &core_->shape() : nullptr;
}

// As long as the shape is not committed we may be the only one left who has it.
bool LogMember::left_out() const {
  return shape() && core_->shape_settled() &&
         !(shape()->uses(place()) && shape()->is(place(), part_.id));
}

// --- start and end -----------------------------------------------------------------------------

void LogMember::start(host::OnDone ready) {
  const host::OnDone done = [this, alive = alive_, ready = std::move(ready)](Result<> started) {
    if (!*alive) return;
    over_ = !started;
    ready(std::move(started));
  };
  host_.disk.make_dir(part_.dir, [this, alive = alive_, done](Result<> made) {
    if (!*alive) return;
    if (!made) return done(Error{"Can't make the directory " + part_.dir + ": " + made.error()});
    wal_ = std::make_unique<cluster::GroupWal>(host_.disk, host_.loop, part_.dir, *this);
    wal_->set_sync(part_.config.durability);
    wal_->open(
        [this](const cluster::Entry& entry, base::Bytes bytes) {
          const cluster::Index before = entry.header.at.index - 1;
          if (recovered_.last().index != before) recovered_.restart({0, before});
          recovered_.append(entry.header,
                            [&](const cluster::EntryHeader&, std::string& out) { out += bytes; });
        },
        [this, done](Result<cluster::GroupWal::Recovery> recovery) {
          if (!recovery) return done(Error{recovery.error()});
          log_read(std::move(recovery.value()), done);
        });
  });
}

void LogMember::log_read(cluster::GroupWal::Recovery recovery, const host::OnDone& done) {
  if (!recovery.report.empty()) log::warning("Cluster: {}", recovery.report);
  recovered_.set_base(recovery.base);
  if (!wants_all_) applied_ = recovered_.base();
  if (recovered_.base().index > applied_.index) {
    log::warning("Cluster: a log begins behind entry {}, and what was before is not known here",
                 recovered_.base().index);
    recovered_.restart({});
    wal_->restart({});
    recovery.damaged = true;
  }
  cluster::SavedState state = recovery.state;
  const bool named = !state.id.empty();
  state.id = part_.id;
  const std::string boot = host_.process.boot_id();
  const bool unsynced_lost = !state.unsynced_boot.empty() && state.unsynced_boot != boot;
  if ((recovery.fresh || recovery.damaged || unsynced_lost) && state.amnesia == 0)
    state.amnesia = host_.random.draw() | 1;
  const bool memory = part_.config.durability == cluster::Durability::memory;
  state.unsynced_boot = memory ? boot : std::string();
  const auto go_on = [this, state, done, alive = alive_] {
    if (!*alive) return;
    join(state);
    done({});
  };
  if (named && state == recovery.state) return go_on();
  // Nothing is said before what follows from it is on disk.
  wal_->save_state(state, go_on);
}

void LogMember::join(cluster::SavedState state) {
  const cluster::GroupShape first = part_.begins ? part_.shape : cluster::GroupShape{};
  core_ =
      std::make_unique<cluster::GroupCore>(part_.config, std::move(state), std::move(recovered_),
                                           host_.random.draw(), steady_ms(), first);
  if (core_->restored(applied_, applied_.index)) wal_->restart(applied_);
  links_ = std::make_unique<cluster::GroupLinks>(host_, part_.link_options(), *this);
  schedule();
}

Result<> LogMember::accept_loss() {
  if (!core_) return base::Error{"it has not yet begun"};
  return core_->accept_loss();  // saved, and told, by the end of this turn
}

void LogMember::end(host::OnDone done) {
  if (!core_ || ending_) return done({});
  core_->transfer();
  begin_turn_end();
  ending_ = true;
  if (const auto coming = std::exchange(incoming_, nullptr)) links_->drop(coming->from);
  cluster::SavedState state = core_->state();
  state.unsynced_boot.clear();
  wal_->close(
      [this, done = std::move(done)](Result<> closed) {
        ending_ = over_ = closed.ok();
        if (closed) links_.reset();
        done(std::move(closed));
      },
      std::move(state));
}

void LogMember::schedule() {
  timer_ = host_.loop.after(kLogMemberTick, [this] {
    schedule();
    if (ending_) return;
    links_->tick(steady_ms());
    core_->tick(steady_ms());
  });
}

// --- a turn ------------------------------------------------------------------------------------

void LogMember::begin_turn_end() {
  if (!core_) return;
  if (!ending_) turn();
  if (links_) links_->flush();
}

void LogMember::turn() {
  if (core_->take_forgotten()) {
    wal_->restart({});
    applied_ = {};
  }
  // Only what is committed was ever applied here, so there is nothing to undo.
  if (core_->take_undone()) {
    core_->take_undone_entries();
    core_->data_stands(true);
    undone();
  }
  apply();
  for (const Member member : core_->take_lagging()) send_all(member);
  for (cluster::GroupCore::Send& one : core_->flush(steady_ms())) send(one.to, one.message);
  save_state();
  core_->hand_over([this](base::Bytes bytes, cluster::Index last) {
    wal_->append(bytes, last);
    log_bytes_ += bytes.size();
  });
  wal_->sync_soon(core_->sync_wish());
  wal_->flush();
  follow_shape();
}

void LogMember::note_applied() { core_->applied(std::max(core_->applied(), applied_.index)); }

void LogMember::skip_committed() {
  if (applied_.index >= core_->commit()) return;
  applied_ = {*core_->log().epoch_at(core_->commit()), core_->commit()};
  note_applied();
}

void LogMember::save_state(const host::Task& then) {
  const cluster::SavedState* state = core_->take_state();
  if (!state) return then ? then() : void();
  wal_->save_state(*state, [this, then, alive = alive_] {
    if (!*alive) return;
    core_->state_saved();
    if (then) then();
  });
}

// The shape as of the log's beginning is saved no later than where that is.
void LogMember::trim(cluster::Index upto) {
  log_bytes_ = 0;
  core_->keep_state();
  save_state();
  wal_->trim(upto);
}

void LogMember::follow_shape() {
  const bool settled = core_->shape_settled();
  if (part_.forget_told(core_->shape(), core_->leader())) links_due_ = true;
  if (!links_due_ && shape_seen_ == core_->shape()) return;
  shape_seen_ = core_->shape();
  links_due_ = !settled && !core_->shape().unknown();
  part_.link(*links_, core_->shape(), settled);
}

void LogMember::talk_to(const cluster::GroupShape& shape) {
  if (part_.take_told(shape)) links_due_ = true;
}

// --- others ------------------------------------------------------------------------------------

void LogMember::take(std::unique_ptr<host::Peer> peer, base::Bytes received) {
  if (!links_ || ending_) return peer->close();
  links_->take(std::move(peer), received);
}

void LogMember::send(Member to, const cluster::GroupMessage& message) {
  std::string head;
  cluster::encode_message(message, head);
  links_->send(to, head, message.entries);
}

void LogMember::send_all(Member to) {
  const auto all = data();
  if (!all && !core_->shape().is_witness(to)) return;  // somebody who has them is to lead
  core_->sync_began(to, applied_);
  std::string body;
  FieldWriter(body).position(applied_).bytes(
      cluster::encode_shape(core_->shape_at(applied_.index)));
  std::string frame;
  cluster::begin_frame(FrameType::sync_begin, body.size(), frame);
  links_->send(to, frame, body);
  frame.clear();
  cluster::begin_frame(FrameType::sync_data, all ? all->size() : 0, frame);
  links_->send(to, frame, all ? base::Bytes(*all) : base::Bytes());
  frame.clear();
  cluster::begin_frame(FrameType::sync_end, sizeof(cluster::Index), frame);
  FieldWriter(frame).number(core_->commit());
  links_->send(to, frame);
}

bool LogMember::incoming_begins(Member from, base::Bytes body) {
  Position at;
  base::Bytes shape_bytes;
  FieldReader in(body);
  if (!in.position(at) || !in.bytes(shape_bytes)) return false;
  auto shape = cluster::decode_shape(shape_bytes);
  if (!shape) return false;
  if (core_->leader() != from) {  // what it sends is not for us, though another's may be
    if (incoming_ && incoming_->from == from) incoming_.reset();
    return true;
  }
  incoming_.reset();
  if (auto fine = core_->check_arriving(at, *shape); !fine) return refuse(from, fine.error());
  incoming_ = std::make_shared<Incoming>(Incoming{from, core_->epoch(), at, std::move(*shape), {}});
  return true;
}

// What no member says: its connection ends.
bool LogMember::refuse(Member from, const std::string& why) {
  log::warning("Cluster: what member {} of {} sends is refused: {}", from, part_.dir, why);
  return false;
}

bool LogMember::incoming_ends(base::Bytes body) {
  if (!FieldReader(body).number(incoming_->commit)) return false;
  incoming_->over = true;
  core_->arrives(incoming_->at, incoming_->shape);
  save_state([this, incoming = incoming_] {
    if (incoming_ == incoming) install();
  });
  return true;
}

// What came is the leader's; should another have come meanwhile, the core sorts it out. Who sent
// what is of no use here is left: it sends again to who comes back.
void LogMember::install() {
  const auto all = std::exchange(incoming_, nullptr);
  if (core_->epoch() != all->epoch) {
    log::notice("Cluster: all data from member {} of {} are given up: another one leads", all->from,
                part_.dir);
    return links_->drop(all->from);
  }
  if (core_->commit() <= all->at.index) {
    const Position before = std::exchange(applied_, all->at);
    if (!take_data(all->data)) {
      applied_ = before;
      log::warning("Cluster: all data from member {} of {}, as of entry {}, cannot be read",
                   all->from, part_.dir, all->at.index);
      return links_->drop(all->from);
    }
    if (!core_->holds(all->at)) wal_->restart(all->at);
    core_->installed(all->at, all->commit, all->shape);
  }
  std::string frame;
  cluster::begin_frame(FrameType::sync_taken, 0, frame);
  links_->send(all->from, frame);
}

void LogMember::link_up(const cluster::Preamble& preamble) {
  core_->linked(preamble.from, preamble.id);
}

void LogMember::link_down(Member member) {
  core_->unlinked(member);
  core_->sync_ended(member);
  if (incoming_ && incoming_->from == member) incoming_.reset();
}

bool LogMember::link_frame(Member member, FrameType type, base::Bytes body) {
  if (ending_) return true;  // nothing is taken into a log that is being closed
  const bool coming = incoming_ && incoming_->from == member && !incoming_->over;
  switch (type) {
    case FrameType::sync_begin:
      return incoming_begins(member, body);
    case FrameType::sync_data:
      if (!coming) return true;
      incoming_->data += body;
      return incoming_->data.size() <= kLogMemberDataMax;
    case FrameType::sync_end: {
      if (coming) return incoming_ends(body);
      // We had not heard who leads: they are asked for again.
      std::string frame;
      cluster::begin_frame(FrameType::need_data, 0, frame);
      links_->send(member, frame);
      return true;
    }
    case FrameType::sync_taken:
      core_->sync_ended(member);
      return true;
    case FrameType::need_data:
      if (core_->leads()) send_all(member);
      return true;
    case FrameType::need_keys:
    case FrameType::keys:
      return true;  // there are none here
    default:
      break;
  }
  cluster::GroupMessage message;
  if (!cluster::decode_message(type, body, message)) return false;
  const Result<> heard = core_->receive(member, message, steady_ms());
  return heard || refuse(member, heard.error());
}

void LogMember::link_trouble(const std::string& text) { log::warning("Cluster: {}", text); }

// --- the log on disk ---------------------------------------------------------------------------

void LogMember::wal_written(Position upto) {
  if (core_) core_->written(upto);
}

void LogMember::wal_synced(Position upto) {
  if (core_) core_->synced(upto);
}

void LogMember::wal_failed(const std::string& error) {
  log::warning("Error writing the log {}: {}", part_.dir, error);
  if (core_) core_->disk_fails();
}

void LogMember::wal_again(Position durable) {
  log::notice("The log {} can be written again", part_.dir);
  if (core_) core_->disk_works(durable, wal_->base().index);
}

void LogMember::wal_state_failed(const std::string& error) {
  log::warning("Error saving the state of the log {}: {}", part_.dir, error);
}

}  // namespace quoll::server
