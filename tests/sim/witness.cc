#include "tests/sim/witness.h"

#include <algorithm>

namespace quoll::sim {
namespace {

constexpr size_t kHistoryCommands = 25;
constexpr size_t kShownBytes = 500;

std::string shown(const std::string& bytes) {
  std::string text;
  for (char c : bytes.substr(0, kShownBytes)) {
    if (c == '\r')
      text += "\\r";
    else if (c == '\n')
      text += "\\n";
    else
      text += c >= 32 && c < 127 ? c : '?';
  }
  return text + (bytes.size() > kShownBytes ? "..." : "");
}

std::string shown(const Words& words) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : " ") + shown(word.substr(0, 40));
  return text;
}

// What the server has written to a session in this turn and not yet sent.
std::string unsent(const server::Session& session) {
  base::Bytes parts[16];
  size_t count = session.out().gather(parts, session.out().end_offset());
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += parts[i];
  return bytes;
}

}  // namespace

// ---- Talker

Talker::Talker(Witness& witness, NodeId node)
    : witness_(witness), line_(std::make_shared<Line>()), client_(witness.world(), node) {
  witness_.dialled(line_);
  client_.on_push = [this](const std::string& raw) { heard(raw); };
}

void Talker::reconnect() {
  line_ = std::make_shared<Line>();
  client_.connect();
  witness_.dialled(line_);
}

void Talker::say(const std::vector<Words>& commands) {
  std::string bytes;
  for (const Words& words : commands) {
    bytes += resp_command(words);
    line_->issued.push_back(words);
  }
  client_.send_raw(std::move(bytes), commands.size(),
                   [this](const std::string& raw) { heard(raw); });
}

bool Talker::quiet() const {
  if (!line_->issued.empty()) return false;
  return line_->session == 0 || witness_.model_.expected(line_->session).empty();
}

void Talker::heard(const std::string& raw) {
  if (line_->session == 0)
    return witness_.fail("a reply from a session that ran nothing: " + shown(raw));
  // The session may be gone already at the server; what it said before still counts.
  auto& expected = witness_.model_.expected(line_->session);
  if (expected.empty()) return witness_.fail("a reply nobody expects: " + shown(raw));
  if (!expected.front().matches(raw))
    witness_.fail("session " + std::to_string(line_->session) + " got " + shown(raw) + " and not " +
                  shown(expected.front().bytes));
  expected.pop_front();
}

// ---- Witness

Witness::Witness(Run& run, SimWorld& world, ServerNode& node, bool notifies)
    : run_(run), world_(world), node_(node), model_(notifies) {
  world_.on_received(node.id(), [this](const std::string& remote) { catch_up(remote); });
  node_.before_turn_end = [this] { check_turn(); };
  node_.on_commit([this](const store::Commit& commit) { absorb(commit); });
}

Witness::~Witness() {
  world_.on_received(node_.id(), {});
  node_.before_turn_end = {};
  node_.on_commit({});
}

Talker& Witness::add_talker() {
  talkers_.push_back(std::make_unique<Talker>(*this, node_.id()));
  return *talkers_.back();
}

void Witness::dialled(const std::shared_ptr<Line>& line) { lines_.push_back(line); }

void Witness::fail(const std::string& what) {
  if (run_.failed()) return;
  std::string text = what;
  for (const std::string& line : history_) text += "\n    " + line;
  run_.check(false, text);
}

void Witness::meet_sessions() {
  for (auto& talker : talkers_)
    if (talker->line_->address.empty()) talker->line_->address = talker->client_.local_address();
  for (const auto& [id, session] : node_.server().sessions()) {
    std::string remote = session->peer().remote_address();
    for (auto& line : lines_) {
      if (line->session != 0 || line->address != remote) continue;
      line->session = id;
      model_.open(id);
    }
  }
}

void Witness::forget_sessions() {
  std::erase_if(lines_, [&](const std::shared_ptr<Line>& line) {
    bool over = line->session != 0 && !node_.server().find_session(line->session);
    if (over) model_.close(line->session);
    return over;
  });
}

void Witness::catch_up(const std::string& address) {
  if (run_.failed() || !node_.up()) return;
  meet_sessions();
  for (auto& line : lines_) {
    if (line->address != address || line->session == 0) continue;
    server::Session* session = node_.server().find_session(line->session);
    if (!session) return fail("the session ended while it ran commands");
    uint64_t written = session->out().end_offset();
    while (model_.expected_bytes(line->session) < written) {
      if (line->issued.empty())
        return fail("session " + std::to_string(line->session) +
                    " got more than it asked for: " + shown(unsent(*session)));
      Words words = std::move(line->issued.front());
      line->issued.pop_front();
      history_.push_back("session " + std::to_string(line->session) + " at " +
                         std::to_string(node_.server().now() - kEpoch) + " ms: " + shown(words));
      if (history_.size() > kHistoryCommands) history_.pop_front();
      ++commands_;
      model_.execute(line->session, words, node_.server().now());
    }
  }
  for (const Removed& removed : removed_)
    model_.removed_expired(removed.db, removed.key, node_.server().now());
  removed_.clear();
}

// Between the commands of a turn and its expiry: the server has written what the model expects.
void Witness::check_turn() {
  if (run_.failed()) return;
  forget_sessions();
  for (auto& line : lines_) {
    if (line->session == 0) continue;
    const server::Session& session = *node_.server().find_session(line->session);
    uint64_t written = session.out().end_offset();
    uint64_t expected = model_.expected_bytes(line->session);
    if (written == expected) continue;
    auto& pending = model_.expected(line->session);
    fail("session " + std::to_string(line->session) + " was written " + std::to_string(written) +
         " bytes, not " + std::to_string(expected) +
         "; last expected: " + (pending.empty() ? "(read)" : shown(pending.back().bytes)) +
         "\n  written: " + shown(unsent(session)));
  }
}

void Witness::absorb(const store::Commit& commit) {
  bool wheel = commit.origin == store::Origin::expiry;
  for (const store::Touch& touch : commit.touches) {
    if (touch.change != store::Change::expired) continue;
    if (!wheel) {
      removed_.push_back({touch.db, std::string(touch.key)});
    } else if (!model_.removed_expired(touch.db, std::string(touch.key), commit.at)) {
      fail("the wheel removed " + std::string(touch.key) + " before its deadline");
    }
  }
}

}  // namespace quoll::sim
