// Deadlines of hash fields on virtual time: none goes early or twice, each goes in time, and very
// many at once go in short turns.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/server_node.h"
#include "tests/sim/sim_client.h"

namespace quoll::sim {
namespace {

constexpr base::Millis kFieldLatenessMax = 50;  // ms from the deadline to the removal
constexpr size_t kFieldPipeline = 200;          // commands
using Words = std::vector<std::string>;

// The fields that a scenario expects to expire, and what became of them.
class FieldDeadlines {
 public:
  FieldDeadlines(Run& run, ServerNode& node, base::Millis lateness_max)
      : run_(run), node_(node), lateness_max_(lateness_max) {
    node_.on_commit([this](const store::Commit& commit) { absorb(commit); });
  }
  ~FieldDeadlines() { node_.on_commit({}); }

  // No deadline: the field lasts.
  void set(const std::string& key, const std::string& field, base::Millis deadline = 0) {
    hashes_[key][field] = deadline;
  }
  void erase(const std::string& key) { hashes_.erase(key); }
  void rename(const std::string& key, const std::string& to) {
    hashes_[to] = std::exchange(hashes_[key], {});
    hashes_.erase(key);
  }
  bool has(const std::string& key) const { return hashes_.count(key) != 0; }
  bool has(const std::string& key, const std::string& field) const {
    auto at = hashes_.find(key);
    return at != hashes_.end() && at->second.count(field) != 0;
  }
  // Whether nothing of it runs out before `wall`: a command on its way would miss it.
  bool lasts(const std::string& key, base::Millis wall) const {
    auto at = hashes_.find(key);
    if (at == hashes_.end()) return true;
    for (const auto& [field, deadline] : at->second)
      if (deadline != 0 && deadline < wall) return false;
    return true;
  }
  uint64_t keys() const { return hashes_.size(); }
  uint64_t expired() const { return expired_; }
  bool waiting() const {
    for (const auto& [key, fields] : hashes_)
      for (const auto& [field, deadline] : fields)
        if (deadline != 0) return true;
    return false;
  }

 private:
  void absorb(const store::Commit& commit) {
    if (commit.origin != store::Origin::expiry) return;
    for (const store::Effect& effect : commit.effects) {
      if (!run_.check(effect.args[0] == "HDEL", "a key expired that had no TTL")) return;
      std::string key(effect.args[1]);
      for (base::Bytes word : effect.args.subspan(2)) {
        std::string field(word);
        if (!run_.check(has(key, field), "a field expired that was not there")) return;
        base::Millis deadline = hashes_[key][field];
        if (!run_.check(deadline != 0, "a field expired that had no TTL")) return;
        base::Millis late = commit.at - deadline;
        run_.check(late >= 0, "a field expired before its deadline");
        run_.check(late <= lateness_max_, "a field expired " + std::to_string(late) + " ms late");
        ++expired_;
        hashes_[key].erase(field);
        if (hashes_[key].empty()) hashes_.erase(key);
      }
    }
  }

  Run& run_;
  ServerNode& node_;
  base::Millis lateness_max_;
  std::map<std::string, std::map<std::string, base::Millis>> hashes_;
  uint64_t expired_ = 0;
};

// One change of a field, in all the ways there are. Deadlines are far enough ahead that the command
// arrives before.
Words change_field(SimChance& chance, FieldDeadlines& fields, base::Millis wall, size_t keys) {
  std::string key = "h:" + std::to_string(chance.between(0, static_cast<int64_t>(keys) - 1));
  // Some hashes stay packed, others become tables.
  int64_t names = key.back() % 2 ? 20 : 1000;
  std::string field = "f" + std::to_string(chance.between(0, names));
  base::Millis deadline = wall + 20'000 + chance.between(0, 60'000);
  std::string text = std::to_string(deadline);
  if (!fields.lasts(key, wall + 10'000)) return {"PING"};
  if (chance.ppm(2'000) && fields.has(key)) {
    fields.erase(key);
    return {"DEL", key};
  }
  if (chance.ppm(4'000) && fields.has(key)) {
    std::string to = "h:" + std::to_string(keys + static_cast<size_t>(chance.between(0, 9)));
    fields.rename(key, to);
    return {"RENAME", key, to};
  }
  if (!fields.has(key, field)) {
    fields.set(key, field, deadline);
    return {"HSETEX", key, "PXAT", text, "FIELDS", "1", field, "value"};
  }
  switch (chance.between(0, 4)) {
    case 0:
      fields.set(key, field);
      return {"HSET", key, field, "lasting"};
    case 1:
      fields.set(key, field);
      return {"HPERSIST", key, "FIELDS", "1", field};
    case 2:
      fields.set(key, field, deadline);
      return {"HGETEX", key, "PXAT", text, "FIELDS", "1", field};
    case 3:
      return {"HINCRBYFLOAT", key + ":none", "f", "0"};
    default:
      fields.set(key, field, deadline);
      return {"HPEXPIREAT", key, text, "FIELDS", "1", field};
  }
}

}  // namespace

void hash_field_expiry(Run& run) {
  SimWorld world(run.seed, run.plan);
  world.trace(run.trace);
  run.follow(world);
  ServerNode node(world, {"--hash-max-listpack-entries", "32"});
  bool jumps = run.plan.clock_jump_every_ms != 0;
  FieldDeadlines fields(run, node, jumps ? run.plan.clock_jump_max_ms + 150 : kFieldLatenessMax);
  SimClient client(world, node.id());
  const size_t changes = run.full ? 200'000 : 5'000;
  const size_t keys = run.full ? 500 : 40;
  std::map<std::string, bool> others;
  bool sent = send_many(world, client, changes, kFieldPipeline, [&](size_t) {
    Words words = change_field(world.chance(), fields, node.wall(), keys);
    if (words[0] == "HINCRBYFLOAT") others[words[1]] = true;
    return words;
  });
  run.check(sent, "a change of a field failed");
  uint64_t before = fields.expired();
  for (int i = 0; i < 30 && !run.failed(); ++i) {
    world.run_for(world.chance().between(1000, 5000) * kMilli);
    run.check(jumps || node.server().store().keys(0) == fields.keys() + others.size(),
              "the server holds other hashes");
  }
  if (jumps) world.calm_down();
  world.run_for(100 * kSecond);
  run.check(fields.expired() > before, "nothing expired in minutes");
  run.check(!fields.waiting(), "fields outlived their deadline");
  store::Store& store = node.server().store();
  run.check(store.keys(0) == fields.keys() + others.size(), "hashes are left over");
  run.check(store.next_expiry() == store::kNoDeadline, "the wheel of fields is not empty");
  run.check(store.counters().expired_fields == fields.expired(), "the counter is wrong");
  run.check(node.broken_commit().empty(), "a commit with " + node.broken_commit());
  run.unfollow();
}

// Very many fields of one hash, and of many hashes, run out in the same millisecond.
void hash_field_turns(Run& run) {
  constexpr Nanos kTurnMax = 2 * kMilli;
  SimWorld world(run.seed, run.plan);
  run.follow(world);
  ServerNode node(world);
  SimClient client(world, node.id());
  const size_t count = run.full ? 1'000'000 : 20'000;
  base::Millis at = node.wall() + 600'000;
  std::string deadline = std::to_string(at);
  bool sent = send_many(world, client, count, kFieldPipeline, [&](size_t i) -> Words {
    std::string key = i % 2 ? "one" : "many:" + std::to_string(i % 1000);
    return {"HSETEX", key, "PXAT", deadline, "FIELDS", "1", std::to_string(i), "v"};
  });
  run.check(sent, "an HSETEX failed");
  run.check(node.wall() < at, "loading took too long");
  store::Store& store = node.server().store();
  constexpr Nanos kLook = 20 * base::kNanosPerMicro;  // about what 64 removals take
  world.set_look_cost(node.id(), kLook);
  world.run_for((at - node.wall()) * kMilli - kMilli);
  node.reset_turns();
  node.on_commit([](const store::Commit&) {});
  auto gone = [&] { return store.keys(0) == 0; };
  // 64 steps per look, a look of 20 us, a third of the time for expiry at worst.
  run.check(world.run_until(gone, 50 * kMilli + static_cast<Nanos>(count / 64) * kLook * 5),
            "fields outlived their deadline");
  run.check(store.counters().expired_fields == count, "not every field was removed");
  run.check(node.turns().longest <= kTurnMax, "a turn of expiry was too long");
  run.check(node.turns().touches_max <= 64, "a commit of the wheel is too big");
  run.check(store.next_expiry() == store::kNoDeadline, "the wheel of fields is not empty");
  node.on_commit({});
  run.check(node.broken_commit().empty(), "a commit with " + node.broken_commit());
  run.unfollow();
}

}  // namespace quoll::sim
