#include "tests/sim/group_workload.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace quoll::sim {
namespace {

using Words = std::vector<std::string>;
using Commands = GroupClient::Commands;
using Outcome = GroupClient::Outcome;

constexpr int kListsAtATime = 3;
constexpr uint64_t kValuesPerList =
    600;  // of all values: then others begin, so that lists stay short

// Keys of a script or a transaction share a slot.
constexpr const char* kCounter = "counter";
constexpr const char* kQueue = "queue";
constexpr const char* kLock = "{lock}";
constexpr const char* kFence = "{lock}:fence";

constexpr const char* kListScript =
    "local all = {} "
    "for i = 1, #KEYS do "
    "  if ARGV[i] == '' then all[i] = redis.call('LRANGE', KEYS[i], 0, -1) "
    "  else all[i] = redis.call('RPUSH', KEYS[i], ARGV[i]) end "
    "end "
    "return all";
constexpr const char* kAcquireScript =
    "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then "
    "  return redis.call('INCR', KEYS[2]) "
    "end "
    "return 0";
constexpr const char* kReleaseScript =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end "
    "return 0";

std::optional<std::string> text_of(const Reply& reply) {
  if (reply.null) return std::nullopt;
  return reply.text;
}

Words texts_of(const Reply& reply) {
  Words texts;
  for (const Reply& part : reply.parts) texts.push_back(part.text);
  return texts;
}

Words command_of(const Operation& operation) {
  const std::string& key = operation.key;
  switch (operation.verb) {
    case Verb::get:
      return {"GET", key};
    case Verb::set:
      return {"SET", key, operation.value};
    case Verb::set_if_absent:
      return {"SET", key, operation.value, "NX"};
    case Verb::compare_and_set:
      return {"SET", key, operation.value, "IFEQ", operation.expected};
    case Verb::get_and_set:
      return {"SET", key, operation.value, "GET"};
    case Verb::increment:
      return {"INCR", key};
    case Verb::erase:
      return {"DEL", key};
    case Verb::get_and_erase:
      return {"GETDEL", key};
  }
  return {};
}

std::optional<std::string> result_of(const Operation& operation, const Reply& reply) {
  if (operation.verb == Verb::set_if_absent || operation.verb == Verb::compare_and_set)
    return reply.null ? "0" : "1";
  if (operation.verb == Verb::increment && reply.kind == '-') return "error";
  return text_of(reply);
}

Commands commands_of(const Transaction& transaction, bool script) {
  if (script) {
    Words words = {"EVAL", kListScript, std::to_string(transaction.steps.size())};
    for (const ListStep& step : transaction.steps) words.push_back(step.key);
    for (const ListStep& step : transaction.steps) words.push_back(step.appended);
    return {words};
  }
  Commands commands = {{"MULTI"}};
  for (const ListStep& step : transaction.steps)
    commands.push_back(step.appends() ? Words{"RPUSH", step.key, step.appended}
                                      : Words{"LRANGE", step.key, "0", "-1"});
  commands.push_back({"EXEC"});
  return commands;
}

void take_reads(Transaction& transaction, const Reply& reply) {
  for (size_t i = 0; i < transaction.steps.size() && i < reply.parts.size(); ++i)
    if (!transaction.steps[i].appends()) transaction.steps[i].read = texts_of(reply.parts[i]);
}

}  // namespace

// One client: does something, notes it, pauses, does something else. At the end it may be given a
// list of questions instead.
class GroupWorkload::Client {
 public:
  Client(GroupWorkload& workload, int number)
      : workload_(workload),
        histories_(workload.histories_),
        chance_(workload.world_.chance()),
        number_(number),
        asker_(workload.world_, workload.nodes_, workload.habits_.patience) {}
  ~Client() { *alive_ = false; }

  bool busy() const { return asker_.asking() || !questions_.empty(); }

  void begin_later(Nanos delay) {
    workload_.world_.after(delay, [this, alive = alive_] {
      if (*alive) begin();
    });
  }

  // Everything once more, each until there is an answer.
  void read_everything() {
    for (int i = 0; i < workload_.habits_.keys; ++i) {
      for (const char* kind : {"r", "n"})
        questions_.push_back(
            [this, key = kind + std::to_string(i)] { operate(operation(Verb::get, key)); });
    }
    for (uint64_t i = 0; i < kListsAtATime * (1 + workload_.values_ / kValuesPerList); ++i)
      questions_.push_back([this, i] { transact(Transaction{number_, {}, {{list(i), "", {}}}}); });
    questions_.push_back([this] {
      ask({{"GET", kCounter}}, [this](const Reply& reply) {
        histories_.total = reply.null ? 0 : std::stoll(reply.text);
      });
    });
    questions_.push_back([this] {
      ask({{"LRANGE", kQueue, "0", "-1"}},
          [this](const Reply& reply) { histories_.left = texts_of(reply); });
    });
    begin_later(0);
  }

 private:
  void begin() {
    if (!questions_.empty()) return questions_.back()();
    if (workload_.stopped_) return;
    if (held_) return release();
    struct Share {
      int64_t percent;
      void (Client::*act)();
    };
    constexpr std::array<Share, 6> kShares = {{{45, &Client::use_register},
                                               {15, &Client::use_number},
                                               {15, &Client::use_lists},
                                               {8, &Client::count},
                                               {7, &Client::acquire},
                                               {10, &Client::use_queue}}};
    int64_t draw = chance_.between(0, 99);
    for (const Share& share : kShares) {
      if (draw < share.percent) return (this->*share.act)();
      draw -= share.percent;
    }
  }

  // The next thing follows whatever comes of this one. `done` sees the reply; `otherwise` is told
  // when there is none.
  template <class Done, class Otherwise>
  void ask(Commands commands, Done done, Otherwise otherwise) {
    asker_.ask(std::move(commands), [this, done, otherwise](Outcome outcome, const Reply& reply,
                                                            const Interval& when) mutable {
      workload_.note(outcome);
      interval_ = when;
      if (outcome == Outcome::done) {
        if (!questions_.empty()) questions_.pop_back();
        done(reply);
      } else {
        otherwise(outcome);
      }
      const WorkloadHabits& habits = workload_.habits_;
      begin_later(pause_ + chance_.between(0, outcome == Outcome::refused ? habits.backoff_max
                                                                          : habits.pause_max));
      pause_ = 0;
    });
  }
  template <class Done>
  void ask(Commands commands, Done done) {
    ask(std::move(commands), done, [](Outcome) {});
  }

  // An error nobody expects is one for all.
  bool fits(const Reply& reply, const std::string& asked) {
    if (reply.kind != '-') return true;
    if (histories_.unexpected.empty())
      histories_.unexpected =
          "client " + std::to_string(number_) + ": " + asked + " -> -" + reply.text;
    return false;
  }

  // ---- registers and numbers

  Operation operation(Verb verb, const std::string& key) {
    return {number_, verb, key, "", "", {}, std::nullopt};
  }

  Verb one_of(std::initializer_list<std::pair<int64_t, Verb>> shares) {
    int64_t draw = chance_.between(0, 99);
    for (const auto& [percent, verb] : shares) {
      if (draw < percent) return verb;
      draw -= percent;
    }
    return shares.begin()->second;
  }

  std::string some_key(const char* kind) {
    return kind + std::to_string(chance_.between(0, workload_.habits_.keys - 1));
  }

  void use_register() {
    Operation next = operation(one_of({{35, Verb::get},
                                       {16, Verb::set},
                                       {10, Verb::set_if_absent},
                                       {16, Verb::compare_and_set},
                                       {8, Verb::get_and_set},
                                       {6, Verb::erase},
                                       {9, Verb::get_and_erase}}),
                               some_key("r"));
    if (next.verb == Verb::compare_and_set) {
      next.expected = seen_[next.key];
      if (next.expected.empty()) next.verb = Verb::set_if_absent;
    }
    next.value = workload_.fresh("v");
    operate(next);
  }

  void use_number() {
    operate(operation(
        one_of(
            {{65, Verb::increment}, {24, Verb::get}, {6, Verb::erase}, {5, Verb::get_and_erase}}),
        some_key("n")));
  }

  void operate(Operation next) {
    ask(
        {command_of(next)},
        [this, next](const Reply& reply) mutable {
          if (next.verb != Verb::increment && !fits(reply, describe(next))) return;
          next.interval = interval_;
          next.result = result_of(next, reply);
          if (next.verb == Verb::get && next.result) seen_[next.key] = *next.result;
          if (next.verb == Verb::set) seen_[next.key] = next.value;
          histories_.operations.push_back(next);
        },
        [this, next](Outcome outcome) mutable {
          next.interval = interval_;
          if (outcome == Outcome::unknown) histories_.operations.push_back(next);
        });
  }

  // ---- lists

  static std::string list(uint64_t number) { return "{l}" + std::to_string(number); }

  void use_lists() {
    Transaction next{number_, {}, {}};
    uint64_t first = workload_.values_ / kValuesPerList * kListsAtATime;
    for (int64_t steps = chance_.between(1, 4); steps > 0; --steps) {
      std::string key = list(first + static_cast<uint64_t>(chance_.between(0, kListsAtATime - 1)));
      next.steps.push_back({key, chance_.ppm(500'000) ? workload_.fresh("e") : "", {}});
    }
    transact(next);
  }

  void transact(Transaction next) {
    ask(
        commands_of(next, chance_.ppm(400'000)),
        [this, next](const Reply& reply) mutable {
          if (!fits(reply, describe(next))) return;
          next.interval = interval_;
          take_reads(next, reply);
          histories_.transactions.push_back(next);
        },
        [this, next](Outcome outcome) mutable {
          next.interval = interval_;
          next.failed = outcome == Outcome::refused;
          histories_.transactions.push_back(next);
        });
  }

  // ---- counter

  void count() {
    ask(
        {{"INCR", kCounter}},
        [this](const Reply& reply) {
          if (fits(reply, "INCR"))
            histories_.counts.push_back({number_, interval_, std::stoll(reply.text)});
        },
        [this](Outcome outcome) {
          if (outcome == Outcome::unknown) histories_.counts.push_back({number_, interval_, 0});
        });
  }

  // ---- lock

  void acquire() {
    Nanos time = chance_.between(100, 1'500) * kMilli;
    std::string owner = workload_.fresh("o");
    ask({{"EVAL", kAcquireScript, "2", kLock, kFence, owner, std::to_string(time / kMilli)}},
        [this, time, owner](const Reply& reply) {
          if (!fits(reply, "the lock") || reply.text == "0") return;
          held_ = histories_.holds.size();
          owner_ = owner;
          histories_.holds.push_back({number_, interval_, kNever, time, std::stoll(reply.text)});
          pause_ = chance_.between(0, time);  // now and then it runs out
        });
  }

  // Once: if nobody knows whether it was done, its time runs out.
  void release() {
    histories_.holds[*held_].released = workload_.world_.now();
    held_.reset();
    ask({{"EVAL", kReleaseScript, "1", kLock, owner_}},
        [this](const Reply& reply) { fits(reply, "the release of the lock"); });
  }

  // ---- queue

  void use_queue() {
    bool pushes = chance_.ppm(480'000);
    QueueStep next{number_, {}, pushes, pushes ? workload_.fresh("q") : ""};
    ask(
        {pushes ? Words{"RPUSH", kQueue, next.element} : Words{"LPOP", kQueue}},
        [this, next](const Reply& reply) mutable {
          if (!fits(reply, "the queue")) return;
          next.interval = interval_;
          if (!next.pushes) next.element = text_of(reply).value_or("");
          histories_.steps.push_back(next);
        },
        [this, next](Outcome outcome) mutable {
          next.interval = interval_;
          if (outcome == Outcome::unknown) histories_.steps.push_back(next);
        });
  }

  GroupWorkload& workload_;
  Histories& histories_;
  SimChance& chance_;
  int number_;
  GroupClient asker_;
  Interval interval_;                        // of what was told last
  Nanos pause_ = 0;                          // beside the usual one
  std::map<std::string, std::string> seen_;  // by key: what it read last
  std::optional<size_t> held_;               // the lock, among the holds
  std::string owner_;
  std::vector<std::function<void()>> questions_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

std::vector<std::string> GroupWorkload::usual_keys(const WorkloadHabits& habits) {
  std::vector<std::string> keys = {kCounter, kQueue, kLock, "{l}"};
  for (int i = 0; i < habits.keys; ++i)
    for (const char* kind : {"r", "n"}) keys.push_back(kind + std::to_string(i));
  return keys;
}

GroupWorkload::GroupWorkload(SimWorld& world, std::vector<NodeId> nodes, WorkloadHabits habits)
    : world_(world), habits_(habits), nodes_(std::move(nodes)) {
  last_done_ = world.now();
  for (int i = 1; i <= habits.clients; ++i) {
    clients_.push_back(std::make_unique<Client>(*this, i));
    clients_.back()->begin_later(world.chance().between(0, habits.pause_max));
  }
}

GroupWorkload::~GroupWorkload() = default;

void GroupWorkload::note(Outcome outcome) {
  ++(outcome == Outcome::done      ? outcomes_.done
     : outcome == Outcome::refused ? outcomes_.refused
                                   : outcomes_.unknown);
  if (outcome != Outcome::done) return;
  longest_silence_ = std::max(longest_silence_, world_.now() - last_done_);
  last_done_ = world_.now();
}

bool GroupWorkload::finish(Nanos limit) {
  stopped_ = true;
  auto quiet = [this] {
    return std::ranges::none_of(clients_, [](const auto& client) { return client->busy(); });
  };
  if (!world_.run_until(quiet, limit)) return false;
  clients_.push_back(std::make_unique<Client>(*this, static_cast<int>(clients_.size()) + 1));
  clients_.back()->read_everything();
  return world_.run_until(quiet, limit);
}

std::string GroupWorkload::judge() const {
  if (!histories_.unexpected.empty()) return "an unexpected reply: " + histories_.unexpected;
  Linearizability keys = check_linearizable(histories_.operations);
  if (keys.verdict == Linearizability::Verdict::violated) return keys.explanation;
  if (auto lists = check_list_append(histories_.transactions)) return "lists: " + *lists;
  if (auto counter = check_counter(histories_.counts, histories_.total))
    return "counter: " + *counter;
  if (auto lock = check_lock(histories_.holds, habits_.clock_slack)) return "lock: " + *lock;
  if (auto queue = check_queue(histories_.steps, histories_.left)) return "queue: " + *queue;
  return "";
}

}  // namespace quoll::sim
