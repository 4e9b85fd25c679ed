#include "tests/sim/server_node.h"

#include "base/check.h"
#include "commands/table.h"
#include "server/command_line.h"

namespace quoll::sim {
namespace {

server::FileAccess no_files() {
  server::FileAccess files;
  files.read = [](const std::string&) -> base::Result<std::string> {
    return base::Error{"No such file or directory"};
  };
  files.read_stdin = [] { return base::Result<std::string>(std::string()); };
  files.expand = [](const std::string&) { return std::vector<std::string>(); };
  files.enter = [](const std::string& path) { return base::Result<std::string>(path); };
  return files;
}

server::Config config_of(const std::vector<std::string>& arguments) {
  server::Config config(no_files(), "/");
  std::vector<base::Bytes> views(arguments.begin(), arguments.end());
  auto loaded = config.load(server::parse_command_line(views), "Quoll");
  if (!loaded) std::fprintf(stderr, "%s\n", loaded.error().c_str());
  QUOLL_CHECK(loaded.ok());
  return config;
}

}  // namespace

// Turn-end tasks run in the order of registration: before, the server's, after.
class ServerNode::Occupant final : public store::CommitSink {
 public:
  Occupant(ServerNode& node, host::Host& host) : node_(node) {
    host.loop.on_turn_end([this] {
      if (server_ && node_.before_turn_end) node_.before_turn_end();
    });
    server_ =
        std::make_unique<server::Server>(host, config_of(node.arguments_), commands::families());
    node_.server_ = server_.get();
    node_.listen_ = [this](bool on) { listen(on); };
    node_.last_seq_ = node_.expired_before_ = node_.freed_before_ = 0;
    server_->store().commits().add_sink(*this);
    listen(static_cast<bool>(node_.on_commit_));
    auto& world = node_.world_;
    server_->on_stop([&world, &node](int) { world.stop_soon(node.id_); });
    host.loop.on_turn_end([this, &host] {
      node_.measure_turn(host.clock.steady() - host.loop.turn_start());
      if (node_.after_turn_end) node_.after_turn_end();
    });
    if (node.before_start_) node.before_start_(*server_);
    auto started = server_->start([&world, &node](base::Result<> ready) {
      QUOLL_CHECK(ready.ok() || node.start_failed);
      if (ready) return;
      node.start_failed(ready.error());
      world.stop_soon(node.id_);
    });
    QUOLL_CHECK(started.ok());
  }
  ~Occupant() override {
    node_.server_ = nullptr;
    node_.listen_ = nullptr;
  }

  void absorb(const store::Commit& commit) override {
    node_.check_commit(commit);
    if (node_.on_commit_) node_.on_commit_(commit);
  }

 private:
  ServerNode& node_;
  std::unique_ptr<server::Server> server_;
};

ServerNode::ServerNode(SimWorld& world, std::vector<std::string> arguments,
                       BeforeStart before_start)
    : world_(world), before_start_(std::move(before_start)), arguments_(std::move(arguments)) {
  base::process_secret = base::HashSecret::from_seeds(world.seed(), ~world.seed());
  id_ =
      world.add_node([this](host::Host& host) { return std::make_shared<Occupant>(*this, host); });
}

ServerNode::~ServerNode() {
  if (up()) world_.crash(id_, CrashKind::killed);
}

void ServerNode::on_commit(std::function<void(const store::Commit&)> told) {
  on_commit_ = std::move(told);
  if (listen_) listen_(static_cast<bool>(on_commit_));
}

void ServerNode::check_commit(const store::Commit& commit) {
  if (!broken_commit_.empty()) return;
  if (commit.touches.empty() || commit.effects.empty()) broken_commit_ = "an empty side";
  if (commit.seq <= last_seq_) broken_commit_ = "a seq that does not grow";
  last_seq_ = commit.seq;
  bool expiry = commit.origin == store::Origin::expiry;
  if (expiry) turns_.touches_max = std::max(turns_.touches_max, commit.touches.size());
  size_t emptied = 0;  // hashes that went with their last field
  for (const store::Touch& touch : commit.touches) {
    base::Bytes event = touch.event.name;
    emptied += touch.change == store::Change::erased;
    if (expiry && touch.change != store::Change::expired && event != "hexpired" &&
        !(touch.change == store::Change::erased && event == "del"))
      broken_commit_ = "the wheel did more than expire";
    if (touch.db >= server_->store().databases()) broken_commit_ = "a database that is none";
  }
  for (const store::Effect& effect : commit.effects)
    if (effect.args.empty()) broken_commit_ = "an effect without a command";
  if (expiry && commit.effects.size() + emptied != commit.touches.size())
    broken_commit_ = "expiry's removals and touches differ in number";
}

void ServerNode::measure_turn(Nanos length) {
  const store::StoreCounters& counters = server_->store().counters();
  ++turns_.count;
  turns_.longest = std::max(turns_.longest, length);
  turns_.expired_max = std::max(turns_.expired_max, counters.expired_keys - expired_before_);
  turns_.freed_max = std::max(turns_.freed_max, counters.freed_entries - freed_before_);
  expired_before_ = counters.expired_keys;
  freed_before_ = counters.freed_entries;
}

}  // namespace quoll::sim
