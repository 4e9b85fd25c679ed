#include "server/slot_imports.h"

#include "cluster/group_frames.h"
#include "server/cluster_node.h"
#include "server/server.h"

namespace quoll::server {

using base::Bytes;
using base::Error;
using base::Result;
using cluster::FieldReader;
using cluster::FieldWriter;
using cluster::NodeIndex;
using cluster::Question;

namespace {

// The source knows nothing of the move (any more).
constexpr Bytes kNoSuchMove = "NOMOVE";

std::string encode_ranges(const cluster::SlotRanges& slots) {
  std::string bytes;
  FieldWriter out(bytes);
  for (const cluster::SlotRange& range : slots) out.number(range.first).number(range.last);
  return bytes;
}

bool decode_ranges(Bytes bytes, cluster::SlotRanges& slots) {
  FieldReader in(bytes);
  while (!in.empty()) {
    cluster::SlotRange range;
    if (!in.number(range.first) || !in.number(range.last)) return false;
    if (range.first > range.last || range.last >= kSlots) return false;
    slots.push_back(range);
  }
  return !slots.empty();
}

}  // namespace

// What the sources answer to one CANCEL.
struct SlotImports::Cancelling {
  SessionId session = 0;
  size_t asked = 0;
  size_t cancelled = 0;
};

SlotImport* SlotImports::find(Bytes name) {
  for (SlotImport& import : imports_)
    if (import.name == name) return &import;
  return nullptr;
}

// --- for commands ------------------------------------------------------------------------------

void SlotImports::tell(SessionId id, Result<std::string> outcome) {
  const auto waits = outcomes_.find(id);
  if (waits == outcomes_.end()) return;
  waits->second = std::move(outcome);
  server_.host().loop.post([this, id, alive = alive_] {
    if (!*alive || !outcomes_.count(id)) return;
    Session* session = server_.find_session(id);
    if (session && session->parked()) session->run_again();
    // Nobody has taken it: its client is gone, or does not wait for it any more.
    if (*alive) outcomes_.erase(id);
  });
}

std::optional<Result<std::string>> SlotImports::take(SessionId session) {
  const auto waits = outcomes_.find(session);
  if (waits == outcomes_.end() || !waits->second) return {};
  auto outcome = std::move(waits->second);
  outcomes_.erase(waits);
  return outcome;
}

void SlotImports::begin(const Session& session, const cluster::SlotRanges& slots,
                        NodeIndex source) {
  outcomes_[session.id].reset();
  node_.ask(source, Question::slot_take, encode_ranges(slots),
            [this, id = session.id, slots, source, alive = alive_](Result<std::string> answer) {
              if (!*alive) return;
              if (!answer) return tell(id, std::move(answer));
              const cluster::TopologyMember* member = node_.topology().find(source);
              SlotImport& import = imports_.emplace_back();
              import.name = answer.value();
              import.slots = slots;
              import.source_id = member ? member->id : std::string();
              import.created = import.updated = server_.now();
              while (imports_.size() > kImportsKept && imports_.front().over())
                imports_.pop_front();
              tell(id, std::move(answer));
            });
}

void SlotImports::cancel(const Session& session, Bytes name) {
  outcomes_[session.id].reset();
  auto all = std::make_shared<Cancelling>();
  all->session = session.id;
  all->asked = 1;
  const auto answered = [this, all](bool cancelled) {
    all->cancelled += cancelled;
    if (--all->asked == 0) tell(all->session, std::to_string(all->cancelled));
  };
  std::vector<std::pair<std::string, NodeIndex>> coming;
  for (const SlotImport& import : imports_)
    if (!import.over() && (name.empty() || import.name == name))
      coming.emplace_back(import.name, node_.topology().index_of(import.source_id));
  std::vector<std::string> going;
  for (const SlotMove& move : node_.moves().moves())
    if (!move.over() && (name.empty() || move.name == name)) going.push_back(move.name);
  all->asked += coming.size() + going.size();
  for (const std::string& move : going) answered(node_.moves().cancel(move));
  for (const auto& [move, source] : coming)
    node_.ask(source, Question::slot_stop, move,
              [this, answered, move, alive = alive_](const Result<std::string>& answer) {
                if (!*alive) return;
                SlotImport* import = find(move);
                if (answer && import) end(*import, SlotMove::State::cancelled, "cancelled");
                answered(answer.ok());
              });
  answered(false);
}

// --- as target ---------------------------------------------------------------------------------

void SlotImports::end(SlotImport& import, SlotMove::State state, const std::string& message) {
  import.state = state;
  import.message = message;
  import.updated = server_.now();
}

bool SlotImports::has(const cluster::SlotRanges& slots) const {
  for (const cluster::SlotRange& range : slots)
    for (unsigned slot = range.first; slot <= range.last; ++slot)
      if (!node_.has_slot(slot)) return false;
  return true;
}

void SlotImports::tick() {
  const base::Millis now = server_.host().clock.steady() / base::kNanosPerMilli;
  if (imports_.empty() || now < look_at_) return;
  look_at_ = now + kImportLookMs;
  look();
}

void SlotImports::look() {
  std::vector<std::pair<std::string, NodeIndex>> going;
  for (const SlotImport& import : imports_)
    if (!import.over())
      going.emplace_back(import.name, node_.topology().index_of(import.source_id));
  for (const auto& [name, source] : going)
    node_.ask(source, Question::slot_state, name,
              [this, name = name, alive = alive_](const Result<std::string>& answer) {
                if (*alive) take_state(name, answer);
              });
}

//   state1 hold8 message
void SlotImports::take_state(const std::string& name, const Result<std::string>& answer) {
  SlotImport* import = find(name);
  if (!import || import->over()) return;
  if (!answer) {
    // It was started anew: then what was not released has stayed there.
    if (answer.error() == kNoSuchMove)
      return has(import->slots)
                 ? end(*import, SlotMove::State::done, "")
                 : end(*import, SlotMove::State::failed, "the source has ended the move");
    import->message = answer.error();
    return;
  }
  FieldReader in(answer.value());
  uint8_t state = 0;
  if (!in.number(state) || !in.number(import->hold_ms)) return;
  if (state > static_cast<uint8_t>(SlotMove::State::cancelled)) return;
  // The slots are ours when the topology here says so.
  const bool over = state == static_cast<uint8_t>(SlotMove::State::done);
  end(*import,
      over && !has(import->slots) ? SlotMove::State::releasing
                                  : static_cast<SlotMove::State>(state),
      std::string(in.rest()));
}

// --- as source ---------------------------------------------------------------------------------

void SlotImports::serve(Question question, NodeIndex from, Bytes body,
                        const cluster::NodeBus::OnAnswer& answer) {
  SlotMoves& moves = node_.moves();
  if (question == Question::slot_take) {
    cluster::SlotRanges slots;
    if (!decode_ranges(body, slots)) return answer(Error{"ERR these are no slots"});
    return answer(moves.begin(slots, from));
  }
  const auto move = std::ranges::find(moves.moves(), body, &SlotMove::name);
  if (move == moves.moves().end() || move->target != cluster::group_of(node_.topology(), from))
    return answer(Error{std::string(kNoSuchMove)});
  if (question == Question::slot_stop) {
    if (!moves.cancel(body)) return answer(Error{"ERR the slots were released already"});
    return answer(std::string());
  }
  std::string told;
  FieldWriter(told).number(static_cast<uint8_t>(move->state)).number(move->hold_ms);
  answer(told += move->message);
}

}  // namespace quoll::server
