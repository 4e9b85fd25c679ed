#include "server/rebalancer.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/cluster_node.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {

using base::Millis;
using cluster::NodeIndex;
using cluster::PlannedMove;

const char* state_name(Rebalancer::State state) {
  switch (state) {
    case Rebalancer::State::balanced:
      return "balanced";
    case Rebalancer::State::unbalanced:
      return "unbalanced";
    case Rebalancer::State::waiting:
      return "waiting";
    case Rebalancer::State::moving:
      return "moving";
  }
  return "";
}

Millis Rebalancer::steady_ms() const {
  return server_.host().clock.steady() / base::kNanosPerMilli;
}

bool Rebalancer::ordered() const {
  return cluster::is_ordered(node_.topology(), std::string(kRebalanceOrder));
}

bool Rebalancer::wanted() const {
  return server_.settings().cluster_rebalance == Rebalance::automatic || ordered();
}

bool Rebalancer::may_move(const PlannedMove& move) const {
  return move.why == PlannedMove::Why::leaves || wanted();
}

const cluster::SlotPlan& Rebalancer::plan() {
  const cluster::Topology& now = node_.topology();
  std::set<cluster::GroupNumber> away = node_.groups_away();
  // A group that has lost a member comes before one that could have a share.
  if (node_.group_that_goes() != cluster::kNoGroup) away.insert(node_.group_that_goes());
  if (planned_for_ != now.version() || planned_away_ != away) {
    planned_for_ = now.version();
    planned_away_ = std::move(away);
    plan_ = cluster::plan_slots(cluster::owners_of(now), cluster::slot_groups(now, planned_away_));
  }
  return plan_;
}

std::vector<const PlannedMove*> Rebalancer::our_moves() {
  std::vector<const PlannedMove*> moves;
  for (const PlannedMove& move : plan().moves)
    if (move.from == node_.own_group() && may_move(move)) moves.push_back(&move);
  return moves;
}

unsigned Rebalancer::slots_wanted() {
  unsigned slots = 0;
  for (const PlannedMove& move : plan().moves)
    if (may_move(move)) slots += move.count;
  return slots;
}

// --- what is so --------------------------------------------------------------------------------

void Rebalancer::look_whether_calm(Millis now) {
  std::string picture;
  for (const auto& [index, member] : node_.topology().members())
    picture +=
        fmt::format("{} {} {} {};", index, member.weight, member.leaves, node_.failed(index));
  if (picture == picture_) return;
  picture_ = std::move(picture);
  calm_since_ = now;
}

void Rebalancer::look_how_far(Millis now) {
  const unsigned left = slots_wanted();
  if (left == 0 || whole_ == 0) whole_since_ = now;
  whole_ = left == 0 ? 0 : std::max(whole_, left);
}

void Rebalancer::hands_off() { hands_off_until_ = steady_ms() + kHandsOffMs; }

void Rebalancer::look_for_operators(Millis now) {
  const auto& moves = node_.moves().moves();
  const bool any = std::ranges::any_of(
      moves, [this](const SlotMove& move) { return !move.over() && move.name != move_; });
  if (!any) return;
  hands_off();
  if (now < tell_at_) return;
  tell_at_ = now + kHandsOffTellMs;
  node_.tell_hands_off();
}

// --- the move that is under way ----------------------------------------------------------------

const SlotMove* Rebalancer::our_move() const {
  const auto& moves = node_.moves().moves();
  const auto found = std::ranges::find(moves, move_, &SlotMove::name);
  return found == moves.end() ? nullptr : &*found;
}

// The topology may have changed since it began: the group has its share, or the other one has.
bool Rebalancer::still_wanted(const SlotMove& move) {
  return std::ranges::any_of(our_moves(),
                             [&move](const PlannedMove* one) { return one->to == move.target; });
}

void Rebalancer::follow_move(Millis now) {
  if (move_.empty()) return;
  const SlotMove* move = our_move();
  if (!move) return move_.clear();
  if (move->over()) return move_ended(*move, now);
  if (still_wanted(*move) || !node_.moves().cancel(move_)) return;
  count(*move);
  move_.clear();
}

void Rebalancer::count(const SlotMove& move) {
  bytes_moved_ += move.bytes_sent;
  slots_moved_ += move.slots_done;
  move_bytes_ = move.bytes_sent;
  bytes_per_slot_ = move.bytes_sent / std::max<size_t>(1, move.slots_total);
  if (run_) {
    run_->done += static_cast<unsigned>(move.slots_done);
    run_->bytes += move.bytes_sent;
  }
}

void Rebalancer::move_ended(const SlotMove& move, Millis now) {
  count(move);
  move_.clear();
  if (move.state == SlotMove::State::failed) {
    fails(move.message, now);
    if (move.slots_total == 1) set_aside(move.slots.front().first, now);
    return;
  }
  // By somebody who does not want it.
  if (move.state == SlotMove::State::cancelled) return hands_off();
  failures_ = 0;
}

// One that cannot move shall not keep the others.
void Rebalancer::set_aside(unsigned slot, Millis now) {
  aside_[slot] = now + kSetAsideMs;
  again_at_ = now + kRetryMs;
  failures_ = 0;
}

cluster::SlotRanges Rebalancer::next_slots(const PlannedMove& move, Millis now) {
  std::erase_if(aside_, [now](const auto& one) { return one.second <= now; });
  const unsigned count = std::min(move.count, slots_at_once());
  cluster::SlotOwners owners = cluster::owners_of(node_.topology());
  const cluster::SlotOwners all = owners;
  for (const auto& [slot, until] : aside_) owners[slot] = cluster::kNoGroup;
  auto slots = cluster::slots_to_move(owners, move.from, move.to, count);
  return slots.empty() ? cluster::slots_to_move(all, move.from, move.to, count) : slots;
}

// The last move's bytes are not yet within the rate.
bool Rebalancer::throttled(Millis now) const {
  const uint64_t rate = server_.settings().cluster_rebalance_throttle;
  return rate > 0 && now < move_since_ + static_cast<Millis>(move_bytes_ * 1000 / rate);
}

void Rebalancer::fails(const std::string& why, Millis now) {
  if (why != error_) log::warning("Rebalancing: a move does not come about: {}", why);
  error_ = why;
  again_at_ = now + std::min(kRetryMs << std::min(failures_, 6u), kRetryMsMax);
  ++failures_;
}

// --- the next one ------------------------------------------------------------------------------

unsigned Rebalancer::slots_at_once() const {
  const unsigned most = std::max(1u, kRebalanceSlotsAtOnce >> std::min(failures_, 6u));
  const uint64_t rate = server_.settings().cluster_rebalance_throttle;
  if (rate == 0) return most;
  const uint64_t slots = rate / std::max<uint64_t>(1, bytes_per_slot_);
  return static_cast<unsigned>(std::clamp<uint64_t>(slots, 1, most));
}

std::string Rebalancer::what_to_wait_for(const PlannedMove& move, Millis now) const {
  if (now < hands_off_until_) return "slots that are moved by hand";
  const bool leaves = move.why == PlannedMove::Why::leaves;
  if (!leaves && !ordered() && now - calm_since_ < kCalmMs)
    return "nodes that came, went or changed to be so for some seconds";
  if (now < again_at_) return "another try: " + error_;
  return {};
}

void Rebalancer::consider(Millis now) {
  const auto moves = our_moves();
  unsigned left = 0;
  for (const PlannedMove* move : moves) left += move->count;
  waits_for_.clear();
  if (moves.empty()) return tell_progress(0, now);
  // Another target, if the one before fails.
  const PlannedMove& move = *moves[failures_ % moves.size()];
  waits_for_ = what_to_wait_for(move, now);
  if (run_ || waits_for_.empty()) tell_progress(left, now);
  if (!waits_for_.empty() || throttled(now)) return;
  const NodeIndex target = node_.leader_node(move.to);
  if (target == cluster::kNoNode) {
    waits_for_ = "a leader of the group that gets slots";
    return;
  }
  auto begun = node_.moves().begin(next_slots(move, now), target);
  if (!begun) return fails(begun.error(), now);
  move_ = begun.value();
  move_since_ = now;
}

// Of what this node gives: the beginning, every tenth, the end.
void Rebalancer::tell_progress(unsigned left, Millis now) {
  if (left == 0) {
    if (run_ && run_->done > 0)
      log::notice("Rebalancing: complete: {} slots, {} bytes in {} ms", run_->done, run_->bytes,
                  now - run_->since);
    run_.reset();
    return;
  }
  if (!run_) {
    run_ = Run{.total = left, .since = now};
    log::notice("Rebalancing: begins: {} slots go from here", left);
  }
  run_->total = run_->done + left;
  const unsigned tenths = run_->done * 10 / run_->total;
  if (tenths <= run_->told) return;
  run_->told = tenths;
  log::notice("Rebalancing: {} %: {} of {} slots, {} bytes", tenths * 10, run_->done, run_->total,
              run_->bytes);
}

void Rebalancer::tick() {
  const Millis now = steady_ms();
  follow_move(now);
  if (now < look_at_) return;
  look_at_ = now + kRebalanceLookMs;
  look_for_operators(now);
  look_whether_calm(now);
  look_how_far(now);
  if (!node_.serves()) {
    waits_for_.clear();
    run_.reset();
    return;
  }
  if (move_.empty()) consider(now);
}

Rebalancer::Progress Rebalancer::progress() {
  Progress progress;
  progress.slots_moved = slots_moved_;
  progress.bytes_moved = bytes_moved_;
  progress.waits_for = waits_for_;
  const unsigned wanted = slots_wanted();
  progress.slots_left = plan().moved;
  if (wanted == 0) {
    if (plan().moved > 0) progress.state = State::unbalanced;
    if (plan().moved > 0) progress.percent = 0;
    return progress;
  }
  const unsigned whole = std::max(whole_, wanted);
  progress.slots_left = wanted;
  progress.percent = (whole - wanted) * 100 / whole;
  progress.state = waits_for_.empty() ? State::moving : State::waiting;
  if (whole > wanted) progress.eta_ms = (steady_ms() - whole_since_) * wanted / (whole - wanted);
  return progress;
}

}  // namespace quoll::server
