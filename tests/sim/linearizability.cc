#include "tests/sim/linearizability.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"

namespace quoll::sim {
namespace {

constexpr size_t kRowsMax = 40;  // of an explanation

using Word = uint32_t;  // a value or reply as a number
constexpr Word kNothing = 0;
constexpr Word kOther = 1;  // any value that no reply shows

std::optional<int64_t> number_in(const std::string& text) {
  int64_t value = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

class Dictionary {
 public:
  Dictionary() : texts_{"nothing", "a value that no reply shows"} {}
  Word word(const std::string& text) {
    auto [place, added] = words_.try_emplace(text, static_cast<Word>(texts_.size()));
    if (added) texts_.push_back(text);
    return place->second;
  }
  const std::string& text(Word word) const { return texts_[word]; }

 private:
  std::vector<std::string> texts_;
  std::unordered_map<std::string, Word> words_;
};

// An operation with its words as numbers. `result` counts only for known ones.
struct Move {
  Verb verb;
  Word value;
  Word expected;
  Word result;
  auto operator<=>(const Move&) const = default;
};

struct Effect {
  Word value;
  Word result;
};

// Unknown operations used: (kind, how many), by kind.
using Used = std::vector<std::pair<uint32_t, uint32_t>>;

uint32_t used_of(const Used& used, uint32_t kind) {
  auto place = std::ranges::lower_bound(used, kind, {}, &Used::value_type::first);
  return place != used.end() && place->first == kind ? place->second : 0;
}

Used with_one_more(Used used, uint32_t kind) {
  auto place = std::ranges::lower_bound(used, kind, {}, &Used::value_type::first);
  if (place != used.end() && place->first == kind)
    ++place->second;
  else
    used.insert(place, {kind, 1});
  return used;
}

bool at_most(const Used& one, const Used& other) {
  return std::ranges::all_of(
      one, [&](const auto& part) { return part.second <= used_of(other, part.first); });
}

struct State {
  Word value = kNothing;
  uint64_t done = 0;  // pending known operations that took effect, by slot
  // Pending SETs that may have taken effect just before another one that overwrote them, or may
  // yet.
  uint64_t free = 0;
  Used used;

  // Whatever the other can become, this one can.
  bool as_good_as(const State& other) const {
    return value == other.value && ((done ^ other.done) & ~free) == 0 &&
           (other.free & ~free) == 0 && at_most(used, other.used);
  }
};

// States of which none is as good as another.
class States {
 public:
  bool add(const State& state) {
    std::vector<State>& same = by_value_[state.value];
    for (const State& other : same)
      if (other.as_good_as(state)) return false;
    size_ -= std::erase_if(same, [&](const State& other) { return state.as_good_as(other); });
    same.push_back(state);
    ++size_;
    return true;
  }
  size_t size() const { return size_; }
  template <class Visit>
  void each(Visit&& visit) const {
    for (const auto& [value, same] : by_value_)
      for (const State& state : same) visit(state);
  }
  std::set<Word> values() const {
    std::set<Word> values;
    each([&](const State& state) { values.insert(state.value); });
    return values;
  }

 private:
  std::map<Word, std::vector<State>> by_value_;
  size_t size_ = 0;
};

class KeySearch {
 public:
  explicit KeySearch(std::vector<const Operation*> operations)
      : operations_(std::move(operations)) {
    find_seen();
    done_ = dictionary_.word("1");
    not_done_ = dictionary_.word("0");
    ok_ = dictionary_.word("OK");
    error_ = dictionary_.word("error");
    for (size_t i = 0; i < operations_.size(); ++i) {
      const Operation& operation = *operations_[i];
      moves_.push_back(move_of(operation));
      if (!operation.interval.known() && operation.verb == Verb::get) continue;
      events_.push_back({operation.interval.invoked, false, i});
      if (operation.interval.known()) events_.push_back({operation.interval.returned, true, i});
    }
    std::ranges::sort(events_);
  }

  Linearizability run() {
    states_.add({});
    note_sure(0);
    for (const Event& event : events_) {
      if (!event.returns) {
        invoke(event.operation);
        continue;
      }
      if (!finish(event.operation)) {
        report_.verdict = Linearizability::Verdict::undecided;
        report_.explanation = "undecided: more than " + std::to_string(kStatesMax) +
                              " states are possible at\n" + row(event.operation);
        return report_;
      }
      report_.states_most = std::max(report_.states_most, states_.size());
      if (states_.size() == 0) {
        explain(event.operation);
        return report_;
      }
      note_sure(event.at);
    }
    return report_;
  }

 private:
  struct Event {
    Nanos at;
    bool returns;  // at one time, invocations come first
    size_t operation;
    auto operator<=>(const Event&) const = default;
  };
  struct Kind {
    Move move;
    uint32_t invoked = 0;
  };

  // Values that a reply or a condition tells from others.
  void find_seen() {
    bool counts = false;
    for (const Operation* operation : operations_) {
      if (operation->result) seen_.insert(*operation->result);
      if (operation->verb == Verb::compare_and_set) seen_.insert(operation->expected);
      counts |= operation->verb == Verb::increment;
    }
    if (!counts) return;
    for (const Operation* operation : operations_)
      if (number_in(operation->value)) seen_.insert(operation->value);
  }

  Move move_of(const Operation& operation) {
    Move move{operation.verb, kNothing, kNothing, kNothing};
    if (!operation.value.empty())
      move.value = seen_.contains(operation.value) ? dictionary_.word(operation.value) : kOther;
    if (!operation.expected.empty()) move.expected = dictionary_.word(operation.expected);
    if (operation.interval.known()) {
      if (operation.result) move.result = dictionary_.word(*operation.result);
    } else if (move.verb == Verb::get_and_set) {
      move.verb = Verb::set;  // the same, if nobody sees the reply
    } else if (move.verb == Verb::get_and_erase) {
      move.verb = Verb::erase;
    }
    return move;
  }

  Effect effect_of(const Move& move, Word value) {
    switch (move.verb) {
      case Verb::get:
        return {value, value};
      case Verb::set:
        return {move.value, ok_};
      case Verb::set_if_absent:
        return value == kNothing ? Effect{move.value, done_} : Effect{value, not_done_};
      case Verb::compare_and_set:
        return value == move.expected ? Effect{move.value, done_} : Effect{value, not_done_};
      case Verb::get_and_set:
        return {move.value, value};
      case Verb::increment:
        return incremented(value);
      case Verb::erase:
        return {kNothing, value == kNothing ? not_done_ : done_};
      case Verb::get_and_erase:
        return {kNothing, value};
    }
    return {value, kNothing};
  }

  Effect incremented(Word value) {
    std::optional<int64_t> number = 0;
    if (value != kNothing)
      number = value == kOther ? std::nullopt : number_in(dictionary_.text(value));
    if (!number) return {value, error_};
    Word next = dictionary_.word(std::to_string(*number + 1));
    return {next, next};
  }

  void invoke(size_t operation) {
    const Move& move = moves_[operation];
    if (operations_[operation]->interval.known()) {
      int slot = std::countr_one(slots_taken_);
      QUOLL_CHECK(slot < static_cast<int>(kPendingMax));
      slots_taken_ |= uint64_t{1} << slot;
      if (move.verb == Verb::set) sets_ |= uint64_t{1} << slot;
      slots_[slot] = operation;
      return;
    }
    auto same = std::ranges::find_if(kinds_, [&](const Kind& kind) { return kind.move == move; });
    if (same == kinds_.end()) same = kinds_.insert(same, Kind{move});
    ++same->invoked;
  }

  // Keeps the states in which the operation has taken effect by now; false: too many.
  bool finish(size_t operation) {
    auto slot = static_cast<size_t>(std::ranges::find(slots_, operation) - slots_.begin());
    const uint64_t bit = uint64_t{1} << slot;
    States next, tried;
    std::vector<State> work;
    auto reach = [&](State state) {
      settle(state);
      State finished = state;
      finished.done &= ~bit;
      finished.free &= ~bit;
      if ((state.done | state.free) & bit) next.add(finished);
      if (!(state.done & bit) && tried.add(state)) work.push_back(std::move(state));
    };
    states_.each(reach);
    for (size_t i = 0; i < work.size(); ++i) {
      State state = std::move(work[i]);
      expand(state, reach);
      if (next.size() + work.size() > kStatesMax) return false;
    }
    before_ = std::exchange(states_, std::move(next));
    slots_[slot] = SIZE_MAX;
    slots_taken_ &= ~bit;
    sets_ &= ~bit;
    return true;
  }

  // Lets everything pending take effect that fits now and changes nothing, and could not change
  // anything later: a SET could.
  void settle(State& state) {
    each_pending(state, [&](uint64_t bit, const Move& move) {
      Effect effect = effect_of(move, state.value);
      if (move.verb != Verb::set && effect.result == move.result && effect.value == state.value)
        state.done |= bit;
    });
  }

  State after(State state, uint64_t bit, const Move& move) {
    state.value = effect_of(move, state.value).value;
    state.done |= bit;
    state.free &= ~bit;
    if (move.verb == Verb::set) state.free |= sets_ & ~state.done;
    return state;
  }

  template <class Reach>
  void expand(const State& state, Reach&& reach) {
    std::optional<std::vector<State>> by_unknown;
    each_pending(state, [&](uint64_t bit, const Move& move) {
      if (effect_of(move, state.value).result == move.result) return reach(after(state, bit, move));
      if (!by_unknown) by_unknown = after_unknown(state);
      for (const State& other : *by_unknown)
        if (effect_of(move, other.value).result == move.result) reach(after(other, bit, move));
    });
  }

  // What one or more unknown operations make of the state. One that sets the value whatever it was
  // comes first or not at all: those before it would be in vain.
  std::vector<State> after_unknown(const State& from) {
    std::vector<State> reached = {from};
    States tried;
    tried.add(from);
    for (size_t i = 0; i < reached.size() && tried.size() <= kStatesMax; ++i) {
      for (uint32_t kind = 0; kind < kinds_.size(); ++kind) {
        const Move& move = kinds_[kind].move;
        if (used_of(reached[i].used, kind) == kinds_[kind].invoked) continue;
        if (i > 0 && move.verb == Verb::set) continue;
        State state = after(reached[i], 0, move);
        if (state.value == reached[i].value) continue;
        state.used = with_one_more(state.used, kind);
        if (tried.add(state)) reached.push_back(std::move(state));
      }
    }
    reached.erase(reached.begin());
    return reached;
  }

  template <class Visit>
  void each_pending(const State& state, Visit&& visit) {
    for (uint64_t left = slots_taken_ & ~state.done; left != 0; left &= left - 1) {
      int slot = std::countr_zero(left);
      visit(uint64_t{1} << slot, moves_[slots_[slot]]);
    }
  }

  // ---- what to tell

  void note_sure(Nanos at) {
    std::set<Word> values = states_.values();
    if (values.size() != 1) return;
    sure_at_ = at;
    sure_ = *values.begin();
  }

  std::string row(size_t operation) const {
    const Operation& shown = *operations_[operation];
    return timeline_row(shown.interval, shown.client, describe(shown));
  }

  void explain(size_t operation) {
    report_.verdict = Linearizability::Verdict::violated;
    std::string& text = report_.explanation;
    text = "key " + operations_[operation]->key + " is not linearizable. At " +
           std::to_string(sure_at_ / base::kNanosPerMicro) + " us it held " +
           dictionary_.text(sure_) + "; before the last reply below it held";
    const char* between = " ";
    for (Word value : before_.values()) {
      text += between + dictionary_.text(value);
      between = ", or ";
    }
    text += ".\n";
    std::vector<size_t> rows = rows_before(operation);
    if (rows.size() > kRowsMax) rows.erase(rows.begin(), rows.end() - kRowsMax);
    for (size_t i : rows) text += row(i) + "\n";
    text += row(operation) + "   <-- fits in no order\n";
  }

  // What was under way since the value was sure, and whoever wrote what was read.
  std::vector<size_t> rows_before(size_t operation) const {
    std::vector<size_t> rows;
    for (size_t i = 0; i < operations_.size(); ++i) {
      const Operation& other = *operations_[i];
      if (i == operation || other.interval.invoked > operations_[operation]->interval.returned)
        continue;
      Nanos latest = other.interval.known() ? other.interval.returned : other.interval.invoked;
      if (latest >= sure_at_ || writes_result_of(other, *operations_[operation])) rows.push_back(i);
    }
    std::ranges::stable_sort(rows, {},
                             [this](size_t i) { return operations_[i]->interval.invoked; });
    return rows;
  }

  static bool writes_result_of(const Operation& writer, const Operation& reader) {
    return !writer.value.empty() && reader.result && *reader.result == writer.value;
  }

  std::vector<const Operation*> operations_;
  std::vector<Move> moves_;
  std::vector<Event> events_;
  std::set<std::string> seen_;
  Dictionary dictionary_;
  Word done_, not_done_, ok_, error_;
  std::vector<Kind> kinds_;  // of unknown operations invoked so far
  uint64_t slots_taken_ = 0;
  uint64_t sets_ = 0;  // of the slots
  std::array<size_t, kPendingMax> slots_ = [] {
    std::array<size_t, kPendingMax> none;
    none.fill(SIZE_MAX);
    return none;
  }();
  States states_;
  States before_;  // the last reply
  Nanos sure_at_ = 0;
  Word sure_ = kNothing;
  Linearizability report_;
};

}  // namespace

std::string describe(const Operation& operation) {
  const std::string& key = operation.key;
  std::string text;
  switch (operation.verb) {
    case Verb::get:
      text = "GET " + key;
      break;
    case Verb::set:
      text = "SET " + key + " " + operation.value;
      break;
    case Verb::set_if_absent:
      text = "SET " + key + " " + operation.value + " NX";
      break;
    case Verb::compare_and_set:
      text = "SET " + key + " " + operation.value + " IFEQ " + operation.expected;
      break;
    case Verb::get_and_set:
      text = "SET " + key + " " + operation.value + " GET";
      break;
    case Verb::increment:
      text = "INCR " + key;
      break;
    case Verb::erase:
      text = "DEL " + key;
      break;
    case Verb::get_and_erase:
      text = "GETDEL " + key;
      break;
  }
  if (!operation.interval.known()) return text + " -> unknown";
  return text + " -> " + operation.result.value_or("nothing");
}

Linearizability check_linearizable(std::span<const Operation> history) {
  std::map<std::string, std::vector<const Operation*>> by_key;
  for (const Operation& operation : history) by_key[operation.key].push_back(&operation);
  Linearizability all;
  for (auto& [key, operations] : by_key) {
    Linearizability one = KeySearch(std::move(operations)).run();
    one.states_most = std::max(one.states_most, all.states_most);
    if (one.verdict == Linearizability::Verdict::violated) return one;
    if (one.holds() && !all.holds()) {
      one.verdict = all.verdict;
      one.explanation = all.explanation;
    }
    all = std::move(one);
  }
  return all;
}

}  // namespace quoll::sim
