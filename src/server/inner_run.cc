#include "server/inner_run.h"

#include <fmt/format.h>

#include "server/blocked_keys.h"
#include "server/nobody_peer.h"
#include "server/server.h"
#include "wire/reply_counter.h"

namespace quoll::server {
namespace {

using cluster::RunAnswer;
using cluster::RunQuestion;

// Only what the transaction's commands replied before it failed says why it did.
constexpr Bytes kTransactionAborted = "-EXECABORT";

std::string error_line(Bytes text) { return fmt::format("-{}\r\n", text); }

// Takes the replies of the lines, and tells them when they are whole.
class InnerPeer final : public NobodyPeer {
 public:
  InnerPeer(Server& server, size_t lines, std::string from, OnRun told)
      : server_(server), lines_(lines), from_(std::move(from)), told_(std::move(told)) {}

  void set_session(SessionId id) { session_ = id; }
  // The session was looked at: what comes later is told in a turn of its own.
  void set_later() { later_ = true; }

  size_t send(std::span<const host::Bytes> parts) override {
    size_t size = 0;
    for (host::Bytes part : parts) {
      size += part.size();
      if (told_ && !counter_.feed(part)) give_up();
      bytes_ += part.size();
      if (bytes_ <= kInnerReplyBytesMax) replies_ += part;
    }
    if (told_ && counter_.ends().size() >= lines_) finish();
    return size;
  }
  void pause_reads(bool paused) override {
    if (!paused || !told_) return;
    server_.host().loop.post([&server = server_, id = session_] {
      if (Session* session = server.find_session(id)) settle(*session);
    });
  }
  void close() override { fail(); }
  std::string remote_address() const override { return from_; }
  bool is_loopback() const override { return false; }

  // The command waits for keys: it is given up, and what that replies is told.
  static void settle(Session& session) {
    auto& peer = static_cast<InnerPeer&>(session.peer());
    const ParkedCommand* parked = session.parked();
    if (session.postponed() != Postponed::blocked || !parked || peer.lines_ != 1) return;
    const base::Millis timeout = session.block_timeout();
    std::vector<std::string> line;
    for (Bytes word : parked->line.args()) line.emplace_back(word);
    peer.on_wait_ = [timeout, line = std::move(line)](Bytes reply) {
      const std::vector<Bytes> words(line.begin(), line.end());
      return RunAnswer::encode_wait(timeout, reply, words);
    };
    session.unblock();
    session.flush();
  }

 private:
  void tell(std::string answer) {
    const OnRun told = std::exchange(told_, nullptr);
    told(std::move(answer));
    if (later_) server_.host().loop.post([] {});  // a turn end that sends the answer
  }
  void fail() {
    if (told_) tell({});
  }
  void give_up() {
    tell(RunAnswer::encode(
        RunAnswer::Kind::ran,
        error_line("ERR The command ran, but its reply is none that nodes hand on: ask the node "
                   "itself")));
    if (Session* session = server_.find_session(session_)) session->close_soon();
  }

  // The reply of the first of a transaction's commands that was refused.
  Bytes first_error() const {
    uint64_t begin = 0;
    for (const uint64_t end : counter_.ends()) {
      const Bytes reply = Bytes(replies_).substr(begin, end - begin);
      if (reply.starts_with('-')) return reply;
      begin = end;
    }
    return {};
  }

  void finish() {
    Session& session = *server_.find_session(session_);
    if (bytes_ > kInnerReplyBytesMax)
      tell(RunAnswer::encode(
          RunAnswer::Kind::ran,
          error_line(fmt::format("ERR The command ran, but {} bytes of reply are more than nodes "
                                 "hand on: ask the node itself",
                                 bytes_))));
    else if (on_wait_)
      tell(on_wait_(replies_));
    else if (lines_ == 1)
      tell(RunAnswer::encode(
          session.commands_run == 0 ? RunAnswer::Kind::not_run : RunAnswer::Kind::ran, replies_));
    else if (const Bytes last = last_reply(); last.starts_with(kTransactionAborted))
      tell(RunAnswer::encode(RunAnswer::Kind::not_run, first_error()));
    else if (cluster::is_elsewhere(last))  // the slot went while EXEC waited
      tell(RunAnswer::encode(RunAnswer::Kind::not_run, last));
    else
      tell(RunAnswer::encode(RunAnswer::Kind::ran, replies_));
    session.close_soon();
  }

  Bytes last_reply() const {
    const auto& ends = counter_.ends();
    return Bytes(replies_).substr(ends[ends.size() - 2]);
  }

  Server& server_;
  SessionId session_ = 0;
  size_t lines_;
  std::string from_;
  OnRun told_;
  std::function<std::string(Bytes reply)> on_wait_;
  wire::ReplyCounter counter_;
  std::string replies_;
  uint64_t bytes_ = 0;
  bool later_ = false;
};

}  // namespace

void run_lines_for(Server& server, const RunQuestion& question, const std::string& from,
                   OnRun told) {
  server.refresh_clock();
  const AclUser* user = server.acl().find(question.user);
  if (!user || !user->is(AclUser::kOn))
    return told(RunAnswer::encode(
        RunAnswer::Kind::not_run,
        error_line(fmt::format("NOPERM the node that has the slot knows no user '{}'",
                               errors::shown(question.user)))));
  auto owned = std::make_unique<InnerPeer>(server, question.lines.size(), from, std::move(told));
  InnerPeer& peer = *owned;
  Session& session = server.add_session(std::move(owned));
  const SessionId id = session.id;
  peer.set_session(id);
  session.for_node = true;
  session.user = user;
  session.set_authenticated(true);
  session.reply().set_protocol(question.flags & RunQuestion::kResp3 ? 3 : 2);
  session.no_touch = question.flags & RunQuestion::kNoTouch;
  session.replica_reads = question.flags & RunQuestion::kReplicaReads;
  std::vector<OwnedArgs> lines;
  lines.reserve(question.lines.size());
  for (const cluster::CommandLine& line : question.lines)
    lines.emplace_back(line, [](size_t) -> base::Blob* { return nullptr; });
  session.run_lines(std::move(lines));
  Session* there = server.find_session(id);
  if (!there) return;
  InnerPeer::settle(*there);
  there = server.find_session(id);
  if (there) there->flush();
  if (server.find_session(id)) peer.set_later();
}

}  // namespace quoll::server
