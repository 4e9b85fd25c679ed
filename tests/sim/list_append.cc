#include "tests/sim/list_append.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>

namespace quoll::sim {
namespace {

constexpr size_t kValuesShown = 8;  // the last ones of a list
constexpr size_t kNoTransaction = SIZE_MAX;

using Values = std::vector<std::string>;

std::string list_text(const Values& values) {
  std::string text = values.size() > kValuesShown ? "[... " : "[";
  size_t first = values.size() > kValuesShown ? values.size() - kValuesShown : 0;
  for (size_t i = first; i < values.size(); ++i) text += (i > first ? " " : "") + values[i];
  return text + "]";
}

bool begins(const Values& list, const Values& start) {
  return start.size() <= list.size() && std::equal(start.begin(), start.end(), list.begin());
}

struct Edge {
  size_t to;
  std::string why;
};

class ListHistory {
 public:
  explicit ListHistory(std::span<const Transaction> history) : history_(history) {}

  std::optional<std::string> check() {
    if (note_appends() && each_read(&ListHistory::check_read) && note_orders() &&
        each_read(&ListHistory::check_order) && check_together() &&
        each_read(&ListHistory::check_lost)) {
      connect();
      find_cycle();
    }
    return problem_;
  }

 private:
  struct Writer {
    size_t transaction;
    bool last;  // of this transaction's appends to the key
  };
  struct Order {
    Values values;  // of the longest list read
    std::map<std::string, size_t> place;
    size_t reader = kNoTransaction;
  };
  struct Append {
    Nanos returned;
    std::string value;
    size_t writer;
    auto operator<=>(const Append&) const = default;
  };
  using Reading = bool (ListHistory::*)(size_t transaction, size_t step);

  bool fail(const std::string& what, std::initializer_list<size_t> involved) {
    problem_ = what + "\n";
    for (size_t transaction : involved) *problem_ += row(transaction);
    return false;
  }
  std::string row(size_t transaction) const {
    const Transaction& shown = history_[transaction];
    return timeline_row(shown.interval, shown.client, describe(shown)) + "\n";
  }
  const ListStep& step_of(size_t transaction, size_t step) const {
    return history_[transaction].steps[step];
  }

  bool note_appends() {
    for (size_t t = 0; t < history_.size(); ++t) {
      std::map<std::string, Writer*> last;
      for (const ListStep& step : history_[t].steps) {
        if (!step.appends()) continue;
        auto [place, added] = writers_[step.key].try_emplace(step.appended, Writer{t, true});
        if (!added) return fail("the test appended " + step.appended + " twice", {t});
        Writer*& before = last[step.key];
        if (before) before->last = false;
        before = &place->second;
      }
    }
    return true;
  }

  bool each_read(Reading reading) {
    for (size_t t = 0; t < history_.size(); ++t) {
      if (!history_[t].interval.known() || history_[t].failed) continue;
      for (size_t s = 0; s < history_[t].steps.size(); ++s)
        if (!step_of(t, s).appends() && !(this->*reading)(t, s)) return false;
    }
    return true;
  }

  const Writer* writer_of(const std::string& key, const std::string& value) const {
    auto lists = writers_.find(key);
    if (lists == writers_.end()) return nullptr;
    auto place = lists->second.find(value);
    return place == lists->second.end() ? nullptr : &place->second;
  }

  // What a read alone tells: strange, aborted and repeated values, and those of its own
  // transaction.
  bool check_read(size_t t, size_t s) {
    const ListStep& step = step_of(t, s);
    std::set<std::string_view> once;
    for (const std::string& value : step.read) {
      const Writer* writer = writer_of(step.key, value);
      if (!writer) return fail(value + " in " + step.key + " was never appended", {t});
      if (history_[writer->transaction].failed)
        return fail("an aborted read: " + value + " was refused", {writer->transaction, t});
      if (history_[t].interval.before(history_[writer->transaction].interval))
        return fail(value + " was read before it was sent", {t, writer->transaction});
      if (!once.insert(value).second)
        return fail(value + " is twice in " + step.key, {writer->transaction, t});
    }
    return check_own(t, s);
  }

  // A read shows the transaction's own appends before it at the end, and none after it.
  bool check_own(size_t t, size_t s) {
    const ListStep& step = step_of(t, s);
    Values own;
    const Values* earlier = nullptr;
    for (size_t i = 0; i < s; ++i) {
      const ListStep& other = step_of(t, i);
      if (other.key != step.key) continue;
      if (other.appends()) {
        own.push_back(other.appended);
      } else {
        earlier = &other.read;
        own.clear();
      }
    }
    Values wanted = earlier ? *earlier : Values();
    wanted.insert(wanted.end(), own.begin(), own.end());
    if (earlier ? step.read != wanted
                : step.read.size() < own.size() ||
                      !std::equal(own.rbegin(), own.rend(), step.read.rbegin()))
      return fail("a transaction does not see what it did to " + step.key, {t});
    size_t of_mine = static_cast<size_t>(std::ranges::count_if(
        step.read, [&](const auto& v) { return writer_of(step.key, v)->transaction == t; }));
    size_t until_now = 0;
    for (size_t i = 0; i < s; ++i)
      until_now += step_of(t, i).appends() && step_of(t, i).key == step.key;
    if (of_mine != until_now)
      return fail("a transaction sees what it has yet to do to " + step.key, {t});
    return true;
  }

  bool note_orders() {
    each_read(&ListHistory::note_order);
    for (auto& [key, order] : orders_)
      for (size_t i = 0; i < order.values.size(); ++i) order.place[order.values[i]] = i;
    return true;
  }
  bool note_order(size_t t, size_t s) {
    const ListStep& step = step_of(t, s);
    Order& order = orders_[step.key];
    if (order.reader == kNoTransaction || step.read.size() > order.values.size()) {
      order.values = step.read;
      order.reader = t;
    }
    return true;
  }

  bool check_order(size_t t, size_t s) {
    const ListStep& step = step_of(t, s);
    const Order& order = orders_.at(step.key);
    if (begins(order.values, step.read)) return true;
    return fail("two orders of " + step.key + ": neither read begins the other", {order.reader, t});
  }

  // All appends of a transaction to a key stand in a row and in their order; a read ends behind a
  // whole transaction; and if one append is in its list, so is that to another list that was read
  // long enough to show it (by the cycles).
  bool check_together() {
    for (const auto& [key, order] : orders_) {
      for (size_t i = 0; i + 1 < order.values.size(); ++i) {
        const Writer& one = *writer_of(key, order.values[i]);
        const Writer& next = *writer_of(key, order.values[i + 1]);
        if (!one.last && one.transaction != next.transaction)
          return fail("another append to " + key + " stands between those of a transaction",
                      {one.transaction, next.transaction, order.reader});
        if (one.transaction == next.transaction && !follows(one.transaction, key, order, i))
          return fail("a transaction's appends to " + key + " are in another order",
                      {one.transaction, order.reader});
      }
    }
    return each_read(&ListHistory::check_whole);
  }
  bool follows(size_t t, const std::string& key, const Order& order, size_t at) const {
    Values own;
    for (const ListStep& step : history_[t].steps)
      if (step.appends() && step.key == key) own.push_back(step.appended);
    auto place = std::ranges::find(own, order.values[at]);
    return place + 1 != own.end() && place[1] == order.values[at + 1];
  }
  bool check_whole(size_t t, size_t s) {
    const ListStep& step = step_of(t, s);
    if (step.read.empty()) return true;
    const Writer& writer = *writer_of(step.key, step.read.back());
    if (writer.last || writer.transaction == t) return true;
    return fail("a read of " + step.key + " shows a part of a transaction",
                {writer.transaction, t});
  }

  // Acknowledged before the read began, and not in it.
  bool check_lost(size_t t, size_t s) {
    const ListStep& step = step_of(t, s);
    std::set<std::string_view> read(step.read.begin(), step.read.end());
    if (acknowledged_.empty()) sort_acknowledged();
    for (const auto& [returned, value, writer] : acknowledged_[step.key]) {
      if (returned >= history_[t].interval.invoked) break;
      if (!read.contains(value))
        return fail("a lost append: " + value + " is missing in a later read of " + step.key,
                    {writer, t});
    }
    return true;
  }
  void sort_acknowledged() {
    for (const auto& [key, values] : writers_)
      for (const auto& [value, writer] : values) {
        const Transaction& transaction = history_[writer.transaction];
        if (transaction.interval.known() && !transaction.failed)
          acknowledged_[key].push_back({transaction.interval.returned, value, writer.transaction});
      }
    for (auto& [key, appends] : acknowledged_) std::ranges::sort(appends);
  }

  // ---- the graph

  bool happened(size_t t) const {
    if (history_[t].failed) return false;
    return history_[t].interval.known() ||
           std::ranges::any_of(history_[t].steps, [this](const ListStep& step) {
             auto order = orders_.find(step.key);
             return step.appends() && order != orders_.end() &&
                    order->second.place.contains(step.appended);
           });
  }

  void connect() {
    edges_.resize(history_.size());
    for (const auto& [key, order] : orders_)
      for (size_t i = 0; i + 1 < order.values.size(); ++i)
        add(writer_of(key, order.values[i])->transaction,
            writer_of(key, order.values[i + 1])->transaction,
            "ww: " + order.values[i + 1] + " behind " + order.values[i] + " in " + key);
    each_read(&ListHistory::connect_read);
    connect_in_time();
  }

  void add(size_t from, size_t to, const std::string& why) {
    if (from != to) edges_[from].push_back({to, why});
  }

  bool connect_read(size_t t, size_t s) {
    const ListStep& step = step_of(t, s);
    const Order& order = orders_.at(step.key);
    if (!step.read.empty())
      add(writer_of(step.key, step.read.back())->transaction, t,
          "wr: " + step.read.back() + " in " + step.key);
    if (step.read.size() < order.values.size()) {
      const std::string& next = order.values[step.read.size()];
      add(t, writer_of(step.key, next)->transaction, "rw: " + step.key + " read without " + next);
      return true;
    }
    for (const auto& [value, writer] : writers_[step.key])
      if (!order.place.contains(value) && happened(writer.transaction))
        add(t, writer.transaction, "rw: " + step.key + " read without " + value);
    return true;
  }

  // Each one follows the last that had returned before it; those before them follow by them.
  void connect_in_time() {
    std::vector<std::pair<Nanos, std::pair<bool, size_t>>>
        events;  // at one time, invocations first
    for (size_t t = 0; t < history_.size(); ++t) {
      if (!happened(t)) continue;
      events.push_back({history_[t].interval.invoked, {false, t}});
      if (history_[t].interval.known())
        events.push_back({history_[t].interval.returned, {true, t}});
    }
    std::ranges::sort(events);
    std::vector<size_t> last;
    for (const auto& [at, event] : events) {
      size_t t = event.second;
      if (!event.first) {
        for (size_t before : last) add(before, t, "rt: returned before the other began");
        continue;
      }
      std::erase_if(last, [&](size_t before) {
        return history_[before].interval.before(history_[t].interval);
      });
      last.push_back(t);
    }
  }

  // Nobody comes before all others in a cycle: what is left when those are taken away again and
  // again has one, and the shortest through any of them is told.
  void find_cycle() {
    std::vector<size_t> incoming(history_.size());
    for (const auto& edges : edges_)
      for (const Edge& edge : edges) ++incoming[edge.to];
    std::vector<size_t> free;
    for (size_t t = 0; t < history_.size(); ++t)
      if (incoming[t] == 0) free.push_back(t);
    for (size_t i = 0; i < free.size(); ++i)
      for (const Edge& edge : edges_[free[i]])
        if (--incoming[edge.to] == 0) free.push_back(edge.to);
    if (free.size() == history_.size()) return;
    std::vector<std::pair<size_t, std::string>> shortest;
    for (size_t t = 0; t < history_.size(); ++t) {
      if (incoming[t] == 0) continue;
      auto cycle = cycle_through(t, incoming);
      if (!cycle.empty() && (shortest.empty() || cycle.size() < shortest.size())) shortest = cycle;
      if (shortest.size() == 2) break;
    }
    problem_ = "a cycle: each must come before the next\n";
    for (const auto& [t, why] : shortest) *problem_ += row(t) + "      | " + why + "\n";
    *problem_ += "      the first again\n";
  }

  std::vector<std::pair<size_t, std::string>> cycle_through(size_t start,
                                                            const std::vector<size_t>& incoming) {
    std::map<size_t, std::pair<size_t, std::string>> from;
    std::deque<size_t> queue = {start};
    while (!queue.empty() && !from.contains(start)) {
      size_t t = queue.front();
      queue.pop_front();
      for (const Edge& edge : edges_[t]) {
        if (incoming[edge.to] == 0) continue;
        if (from.try_emplace(edge.to, t, edge.why).second) queue.push_back(edge.to);
      }
    }
    std::vector<std::pair<size_t, std::string>> cycle;
    if (!from.contains(start)) return cycle;
    size_t t = start;
    do {
      const auto& [before, why] = from.at(t);
      cycle.insert(cycle.begin(), {before, why});
      t = before;
    } while (t != start);
    return cycle;
  }

  std::span<const Transaction> history_;
  std::map<std::string, std::map<std::string, Writer>> writers_;  // key -> value -> who
  std::map<std::string, Order> orders_;
  std::map<std::string, std::vector<Append>> acknowledged_;
  std::vector<std::vector<Edge>> edges_;
  std::optional<std::string> problem_;
};

}  // namespace

std::string describe(const Transaction& transaction) {
  std::string text;
  for (const ListStep& step : transaction.steps) {
    if (!text.empty()) text += "; ";
    if (step.appends())
      text += step.key + " << " + step.appended;
    else
      text += step.key + " = " + (transaction.interval.known() ? list_text(step.read) : "?");
  }
  return text + (transaction.failed             ? " -> refused"
                 : transaction.interval.known() ? ""
                                                : " -> unknown");
}

std::optional<std::string> check_list_append(std::span<const Transaction> history) {
  return ListHistory(history).check();
}

}  // namespace quoll::sim
