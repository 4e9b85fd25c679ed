#include "server/forwarding.h"

#include <fmt/format.h>

#include "base/crc16.h"
#include "base/text.h"
#include "server/cluster_node.h"
#include "server/errors.h"
#include "server/group.h"
#include "server/inner_run.h"
#include "server/server.h"
#include "wire/reply_counter.h"

namespace quoll::server {

using base::Error;
using base::Result;
using cluster::is_elsewhere;
using cluster::kNoNode;
using cluster::NodeIndex;
using cluster::Question;
using cluster::RunAnswer;
using cluster::RunQuestion;

namespace {

constexpr Bytes kTooMuch = "TRYAGAIN too much waits for other nodes";
constexpr Bytes kSentAway = "-MOVED ";

std::string as_error(Bytes text) { return fmt::format("-{}\r\n", text); }

// Or it is somewhere else than the node had heard of that we asked.
bool is_on_its_way(Bytes reply) {
  return reply.starts_with("-TRYAGAIN ") || reply.starts_with(kSentAway);
}

// What makes sense though the client's connection is another node's.
bool can_run_elsewhere(const Command& command) {
  const Bytes name = command.spec->name;
  if (command.spec->flags & kAdmin) return false;
  if (command.spec->flags & kPubSub) return name == "spublish";
  return name != "watch" && name != "migrate";
}

bool is_transaction_word(const Command& command) {
  return command.spec->name == "multi" || command.spec->name == "exec";
}

}  // namespace

Forwarding::Forwarding(Server& server, ClusterNode& node) : server_(server), node_(node) {}
Forwarding::~Forwarding() { *alive_ = false; }

base::Millis Forwarding::now() const {
  return server_.host().clock.steady() / base::kNanosPerMilli;
}

bool Forwarding::proxies() const {
  return server_.settings().cluster_routing == ClusterRouting::proxy;
}

// --- what is forwarded -------------------------------------------------------------------------

bool Forwarding::may_forward(const Session& session, const Command& command) const {
  if (session.for_node || session.in_exec || session.tracking || !can_run_elsewhere(command))
    return false;
  ReplicaGroup* group = server_.group();
  return !group || group->consistency().idle() ||
         group->consistency().of_command(session.id) == Consistency{};
}

bool Forwarding::may_queue(const Session& session, const Command& command,
                           const SlotUse& use) const {
  if (!proxies() || use.crosses || use.slot == SlotUse::kNone || !may_forward(session, command))
    return false;
  if (!session.transaction.watched.empty()) return false;
  const SlotUse& so_far = session.transaction.slots;
  return so_far.slot == SlotUse::kNone || (so_far.slot == use.slot && !so_far.crosses);
}

// Every command of it must name keys: others are about the node they run on.
bool Forwarding::take_transaction(const Session& session, Request& request) const {
  if (session.transaction.aborted || !session.transaction.watched.empty()) return false;
  if (session.transaction.queue.size() + 2 > cluster::kRunLinesMax) return false;
  Part& part = request.parts[0];
  part.lines.add(std::vector<Bytes>{"multi"});
  for (const QueuedCommand& queued : session.transaction.queue) {
    keys_.clear();
    if (!can_run_elsewhere(*queued.command)) return false;
    if (!find_keys(*queued.command->spec, queued.line.args(), keys_) || keys_.empty()) return false;
    part.lines.add(queued.line.args());
  }
  part.lines.add(std::vector<Bytes>{"exec"});
  return true;
}

// Whether each part has a node that may run it is looked at before any runs.
bool Forwarding::cut(Request& request, const Command& command, Args args) const {
  if (server_.settings().cluster_cross_slot != CrossSlot::fanout) return false;
  request.fan =
      cluster::FanOut::cut(command.spec->name, args, [](Bytes key) { return base::key_slot(key); });
  if (!request.fan) return false;
  const Session& session = *server_.find_session(request.session);
  const bool writes = command.spec->access == Access::write;
  for (const cluster::FanOut::Part& one : request.fan->parts()) {
    Part& part = request.parts.emplace_back();
    part.use = {static_cast<int>(one.slot), false, writes};
    part.lines.add(one.line);
    const Route route = server_.routes().find(session, command, part.use);
    const bool elsewhere = route == Route::moved || route == Route::again;
    if (route != Route::here && !(elsewhere && proxies())) return false;
  }
  request.fan->forget_words();
  return true;
}

Forwarding::Admission Forwarding::admit(Session& session, Command& command, Args args, Route route,
                                        const SlotUse& use) {
  const bool exec = command.spec->name == "exec";
  if (session.transaction.open && proxies()) {
    if (exec && session.transaction.aborted) return Admission::run;  // it says so
    const bool elsewhere = route == Route::moved || route == Route::again;
    if (!exec && elsewhere && may_queue(session, command, use)) {
      session.transaction.slots.add(use);
      return Admission::run;
    }
  }
  return take(session, command, args, route, use) ? Admission::taken : Admission::none;
}

bool Forwarding::take(Session& session, Command& command, Args args, Route route,
                      const SlotUse& use) {
  if (!server_.find_session(session.id)) return false;  // a script's, or of a log
  const bool exec = command.spec->name == "exec" && session.transaction.open;
  if (session.transaction.open && !exec) return false;
  if (!may_forward(session, command)) return false;
  Request request;
  request.session = session.id;
  request.command = &command;
  request.writes = use.writes || (command.spec->flags & kMayReplicate);
  if (route == Route::crossing && !exec) {
    if (!cut(request, command, args)) return false;
  } else {
    if (!proxies() || (route != Route::moved && route != Route::again)) return false;
    Part& part = request.parts.emplace_back();
    part.use = use;
    if (exec ? !take_transaction(session, request) : (part.lines.add(args), false)) return false;
  }
  for (const Part& part : request.parts) request.bytes += part.lines.bytes().size();
  if (request.bytes > kForwardedLinesBytesMax) return false;
  if (exec) {
    request.writes = true;
    server_.watches().unwatch(session);
    session.transaction.reset();
  }
  begin(session, std::move(request));
  return true;
}

// --- one request -------------------------------------------------------------------------------

void Forwarding::begin(Session& session, Request request) {
  request.number = ++numbers_;
  request.user = session.user->name();
  request.until = now() + kForwardPatienceMs;
  if (session.protocol() == 3) request.flags |= RunQuestion::kResp3;
  if (session.no_touch) request.flags |= RunQuestion::kNoTouch;
  bytes_ += request.bytes;
  session.block(0, [](Session& waiting) { waiting.server().node()->forwarding().reply(waiting); });
  Request& placed = requests_[session.id] = std::move(request);
  beginning_ = true;
  if (bytes_ > kForwardedBytesMax) {
    for (Part& part : placed.parts) {
      part.reply = as_error(kTooMuch);
      part.done = true;
    }
    settle(placed);
  } else {
    step(placed);
  }
  beginning_ = false;
}

Forwarding::Request* Forwarding::find(SessionId session, uint64_t number) {
  const auto it = requests_.find(session);
  if (it == requests_.end() || it->second.number != number) return nullptr;
  if (server_.find_session(session)) return &it->second;
  bytes_ -= it->second.bytes;  // its client is gone
  requests_.erase(it);
  return nullptr;
}

// One try: each part that has no reply goes to the node that has its slot now.
void Forwarding::step(Request& request) {
  request.number = ++numbers_;  // late answers to the one before are no answers to this one
  request.asks.clear();
  request.failed = request.waits = false;
  std::map<NodeIndex, size_t> ask_of;
  for (size_t i = 0; i < request.parts.size(); ++i)
    if (!request.parts[i].done) place(request, i, ask_of);
  request.open = request.asks.size();
  if (request.open == 0) return settle(request);
  const SessionId session = request.session;
  const uint64_t number = request.number;
  const size_t asks = request.asks.size();
  for (size_t i = 0; i < asks; ++i) {
    Request* there = find(session, number);  // an answer may be there at once
    if (!there) return;
    send(*there, i);
  }
}

void Forwarding::place(Request& request, size_t part_index, std::map<NodeIndex, size_t>& ask_of) {
  Part& part = request.parts[part_index];
  const Session& session = *server_.find_session(request.session);
  const Route route = server_.routes().find(session, *request.command, part.use);
  NodeIndex node = node_.index();
  if (route == Route::moved) {
    const size_t leader = node_.leader_of(static_cast<unsigned>(part.use.slot));
    node = node_.index_at(leader);
  } else if (route != Route::here) {
    part.reply = as_error(server_.routes().error(session, route, part.use));
    part.done = !is_elsewhere(part.reply);
    request.failed = true;
    return;
  }
  const auto [at, fresh] = ask_of.try_emplace(node, request.asks.size());
  if (fresh) request.asks.push_back({node, {}});
  request.asks[at->second].parts.push_back(part_index);
}

void Forwarding::send(Request& request, size_t ask_index) {
  Ask& ask = request.asks[ask_index];
  Lane& lane = lanes_[ask.node];
  if (lane.asked >= kForwardedAtOnce) {
    lane.waiting.emplace_back(request.session, std::pair(request.number, ask_index));
    return;
  }
  ask.sent = true;
  cluster::CommandLines lines;
  for (const size_t part : ask.parts) lines.add(request.parts[part].lines);
  uint8_t flags = request.flags;
  if (ask.node == node_.index() && server_.find_session(request.session)->replica_reads)
    flags |= RunQuestion::kReplicaReads;
  std::string body = RunQuestion::encode(flags, request.user, lines);
  ++lane.asked;
  if (ask.node == node_.index()) return run_here(request, ask_index, std::move(body));
  ++forwarded_;
  node_.ask(
      ask.node, Question::run, body,
      [this, node = ask.node, session = request.session, number = request.number, ask_index,
       alive = alive_](const Result<std::string>& answer) {
        if (!*alive) return;
        --lanes_[node].asked;
        answered(session, number, ask_index, answer);
        send_next(node);
      },
      kForwardMs);
}

void Forwarding::send_next(NodeIndex node) {
  Lane& lane = lanes_[node];
  if (std::exchange(lane.sending, true)) return;  // an answer was there at once: the loop goes on
  while (lane.asked < kForwardedAtOnce && !lane.waiting.empty()) {
    const auto [session, what] = lane.waiting.front();
    lane.waiting.pop_front();
    Request* request = find(session, what.first);
    const bool stands = request && what.second < request->asks.size() &&
                        request->asks[what.second].node == node && request->asks[what.second].open;
    if (stands) send(*request, what.second);
  }
  lane.sending = false;
}

// In a turn of its own: the client's command is still being looked at.
void Forwarding::run_here(const Request& request, size_t ask_index, std::string body) {
  server_.host().loop.post([this, node = node_.index(), session = request.session,
                            number = request.number, ask_index, body = std::move(body),
                            alive = alive_] {
    if (!*alive) return;
    const auto told = [this, node, session, number, ask_index, alive = alive_](std::string answer) {
      if (!*alive) return;
      --lanes_[node].asked;
      if (answer.empty())
        answered(session, number, ask_index, Error{"the command was ended"});
      else
        answered(session, number, ask_index, std::move(answer));
      send_next(node);
    };
    const auto question = RunQuestion::decode(body);
    if (!question) return told({});
    run_lines_for(server_, *question, "", told);
  });
}

// --- answers -----------------------------------------------------------------------------------

void Forwarding::answered(SessionId session, uint64_t number, size_t ask_index,
                          const Result<std::string>& answer) {
  Request* request = find(session, number);
  if (!request || ask_index >= request->asks.size() || !request->asks[ask_index].open) return;
  request->asks[ask_index].open = false;
  const Ask ask = request->asks[ask_index];
  const auto decoded = answer ? RunAnswer::decode(answer.value()) : std::nullopt;
  if (decoded)
    take_answer(*request, ask, *decoded);
  else
    lost(*request, ask, answer ? "the answer was not understood" : answer.error());
  if (--request->open == 0) settle(*request);
}

void Forwarding::take_answer(Request& request, const Ask& ask, const RunAnswer& answer) {
  switch (answer.kind) {
    case RunAnswer::Kind::ran:
      return take_replies(request, ask, answer.reply);
    case RunAnswer::Kind::refused:
      return take_refusal(request, ask);
    case RunAnswer::Kind::not_run:
      for (const size_t i : ask.parts) {
        request.parts[i].reply = answer.reply;
        request.parts[i].done = !is_elsewhere(answer.reply);
        request.failed |= !request.parts[i].done;
      }
      return;
    case RunAnswer::Kind::waits:
      break;
  }
  Part& part = request.parts[ask.parts[0]];
  if (request.wait_until == 0)
    request.wait_until = answer.wait_ms ? now() + answer.wait_ms : INT64_MAX;
  part.reply = answer.reply;
  part.done = now() >= request.wait_until;
  if (part.done && !request.ended_with.empty()) part.reply = request.ended_with;
  part.lines = {};
  part.lines.add(answer.line);
  request.waits = !part.done;
  request.failures = 0;  // the next ones are another matter
  request.until = now() + kForwardPatienceMs;
}

// The last reply of a transaction is that of its EXEC.
void Forwarding::take_replies(Request& request, const Ask& ask, Bytes replies) {
  wire::ReplyCounter counter;
  counter.feed(replies);
  const auto& ends = counter.ends();
  size_t lines = 0;
  for (const size_t i : ask.parts) lines += request.parts[i].lines.count();
  size_t at = 0;
  for (const size_t i : ask.parts) {
    Part& part = request.parts[i];
    at += part.lines.count();
    if (ends.size() == lines) {
      const uint64_t begin = at < 2 ? 0 : ends[at - 2];
      part.reply = replies.substr(begin, ends[at - 1] - begin);
    } else {
      part.reply = replies;  // an error of all
    }
    part.done = !request.fan || !is_elsewhere(part.reply);
    request.failed |= !part.done;
  }
}

// The node is not in proxy mode: the client goes there itself.
void Forwarding::take_refusal(Request& request, const Ask& ask) {
  const Session& session = *server_.find_session(request.session);
  for (const size_t i : ask.parts) {
    Part& part = request.parts[i];
    const Route route = request.fan ? Route::crossing : Route::moved;
    part.reply = as_error(server_.routes().error(session, route, part.use));
    part.done = true;
  }
}

void Forwarding::lost(Request& request, const Ask& ask, const std::string& why) {
  const bool unheard = why.starts_with(cluster::kUnheard);
  for (const size_t i : ask.parts) {
    Part& part = request.parts[i];
    part.done = request.writes && !unheard;
    part.reply =
        as_error(part.done ? fmt::format("UNCERTAIN whether slot {}'s node ran the command: {}",
                                         part.use.slot, why)
                           : fmt::format("CLUSTERDOWN The node of slot {} does not answer: {}",
                                         part.use.slot, why));
    request.failed |= !part.done;
  }
}

// Every question of this try is answered: what is left is tried again, or given up.
void Forwarding::settle(Request& request) {
  bool left = false, patient = true;
  NodeIndex teller = kNoNode;
  for (const Part& part : request.parts) {
    if (part.done) continue;
    left = true;
    if (!request.waits) patient &= is_on_its_way(part.reply);
  }
  if (!left) return finish(request);
  if (request.waits && !request.failed) return step_later(request, kForwardWaitMs);
  if (!patient) ++request.failures;
  const bool over = patient ? now() >= request.until : request.failures >= kForwardFailures;
  if (over) {
    // Its client knows no other node.
    for (Part& part : request.parts)
      if (!part.done && part.reply.starts_with(kSentAway))
        part.reply = as_error(
            fmt::format("TRYAGAIN Slot {} is not where its nodes say that it is", part.use.slot));
    return finish(request);
  }
  for (const Ask& ask : request.asks)
    if (ask.node != node_.index() && !node_.failed(ask.node)) teller = ask.node;
  if (teller == kNoNode) return step_later(request, kForwardAgainMs);
  node_.learn_from(teller, [this, session = request.session, number = request.number,
                            alive = alive_](const Result<>&) {
    if (!*alive) return;
    if (Request* there = find(session, number)) step_later(*there, kForwardAgainMs);
  });
}

void Forwarding::step_later(const Request& request, base::Millis after) {
  server_.host().loop.after(
      after * base::kNanosPerMilli,
      [this, session = request.session, number = request.number, alive = alive_] {
        if (!*alive) return;
        server_.refresh_clock();
        if (Request* there = find(session, number)) step(*there);
      });
}

void Forwarding::finish(Request& request) {
  if (beginning_) {
    server_.host().loop.post(
        [this, session = request.session, number = request.number, alive = alive_] {
          if (!*alive) return;
          if (Request* there = find(session, number)) finish(*there);
        });
    return;
  }
  Session* session = server_.find_session(request.session);
  server_.refresh_clock();
  if (request.fan) {
    std::vector<std::string> replies;
    for (Part& part : request.parts) replies.push_back(std::move(part.reply));
    wire::OutQueue out;
    wire::ReplyWriter writer(out);
    writer.set_protocol(session->protocol());
    request.fan->merge(replies, writer);
    request.reply = out.text();
  } else {
    request.reply = std::move(request.parts[0].reply);
  }
  if (session->unblock()) return;
  bytes_ -= request.bytes;  // it was ended otherwise
  requests_.erase(session->id);
}

// Writes the reply; ended from elsewhere (CLIENT UNBLOCK), what is known of it.
void Forwarding::reply(Session& session) {
  const auto it = requests_.find(session.id);
  if (it == requests_.end()) return session.reply().error(errors::kUnblocked);
  Request& request = it->second;
  if (request.reply.empty() && request.wait_until != 0) request.reply = request.parts[0].reply;
  if (request.reply.empty())
    session.reply().error("UNCERTAIN the command was given up while another node runs it");
  else
    session.reply().raw(request.reply);
  bytes_ -= request.bytes;
  requests_.erase(it);
}

bool Forwarding::unblock(SessionId session, Bytes error) {
  const auto it = requests_.find(session);
  if (it == requests_.end() || it->second.wait_until == 0) return false;
  if (it->second.open > 0) {  // what it may be doing there is told; else it ends with the answer
    it->second.wait_until = now();
    it->second.ended_with = error.empty() ? std::string() : as_error(error);
    return true;
  }
  it->second.reply = error.empty() ? it->second.parts[0].reply : as_error(error);
  return server_.find_session(session)->unblock();
}

// Who has failed does not answer any more, whatever its connection looks like.
void Forwarding::tick() {
  struct Failed {
    SessionId session;
    uint64_t number;
    size_t ask;
    bool sent;
  };
  std::vector<Failed> failed;
  for (const auto& [session, request] : requests_)
    for (size_t i = 0; i < request.asks.size(); ++i) {
      const Ask& ask = request.asks[i];
      const size_t place = ask.open ? node_.place_of(ask.node) : node_.members().size();
      if (place < node_.members().size() && node_.members()[place].liveness == Liveness::failed)
        failed.push_back({session, request.number, i, ask.sent});
    }
  for (const Failed& one : failed) {
    const std::string why = one.sent ? "" : std::string(cluster::kUnheard);
    answered(one.session, one.number, one.ask, Error{why + "the node has failed"});
  }
}

// --- for other nodes ---------------------------------------------------------------------------

// Only what clients' commands are handed on for: nothing about this node itself.
static bool may_serve(const CommandTable& table, const RunQuestion& question,
                      std::vector<KeyArg>& keys) {
  for (size_t i = 0; i < question.lines.size(); ++i) {
    const cluster::CommandLine& line = question.lines[i];
    const Command* command = table.find(line[0]);
    if (command && !command->subcommands.empty())
      command = line.size() > 1 ? table.find_sub(*command, line[1]) : nullptr;
    if (!command) return false;
    const bool edge = i == 0 || i + 1 == question.lines.size();
    if (edge && question.lines.size() > 1 && is_transaction_word(*command)) continue;
    keys.clear();
    if (!can_run_elsewhere(*command) || !find_keys(*command->spec, line, keys) || keys.empty())
      return false;
  }
  return true;
}

void Forwarding::serve(const cluster::NodeBus::Asked& asked, Bytes body,
                       cluster::NodeBus::OnAnswer answer) {
  const bool guarded = server_.cluster_secrets().given() || server_.acl().open();
  const NodeIndex from = node_.topology().index_of(asked.id);
  if (!proxies() || !guarded || from == kNoNode)
    return answer(RunAnswer::encode(RunAnswer::Kind::refused, {}));
  const auto question = RunQuestion::decode(body);
  // Without a secret each node has users of its own, and anybody may say a name.
  if (question && !server_.cluster_secrets().given() && question->user != "default")
    return answer(RunAnswer::encode(RunAnswer::Kind::refused, {}));
  if (!question || !may_serve(server_.commands(), *question, keys_))
    return answer(RunAnswer::encode(
        RunAnswer::Kind::not_run,
        as_error("ERR the command was not understood by the node that has the slot")));
  served_ += question->lines.size();
  run_lines_for(server_, *question, asked.address, [answer = std::move(answer)](std::string told) {
    if (told.empty()) return answer(Error{"the command was ended"});
    answer(std::move(told));
  });
}

}  // namespace quoll::server
