#include "cluster/primary_link.h"

#include "base/numbers.h"
#include "base/text.h"
#include "persist/aof_encoder.h"

namespace quoll::cluster {
namespace {

std::string command(base::Args args) {
  std::string out;
  persist::AofEncoder::append_command(args, out);
  return out;
}

std::vector<base::Bytes> words_of(base::Bytes line) {
  std::vector<base::Bytes> words;
  while (!line.empty()) {
    size_t end = std::min(line.find(' '), line.size());
    if (end > 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

}  // namespace

PrimaryLink::PrimaryLink(PrimaryLinkEvents& events, LinkHello hello)
    : events_(events), hello_(std::move(hello)) {}

void PrimaryLink::start() { ask(Ask::ping); }

void PrimaryLink::ask(Ask what) {
  asked_ = what;
  const std::string port = std::to_string(hello_.listening_port);
  switch (what) {
    case Ask::ping:
      return events_.link_send(command(std::vector<base::Bytes>{"PING"}));
    case Ask::auth: {
      if (hello_.password.empty()) return ask_next();
      std::vector<base::Bytes> words = {"AUTH", hello_.password};
      if (!hello_.user.empty()) words.insert(words.begin() + 1, hello_.user);
      return events_.link_send(command(words));
    }
    case Ask::port:
      return events_.link_send(
          command(std::vector<base::Bytes>{"REPLCONF", "listening-port", port}));
    case Ask::address:
      if (hello_.announce_ip.empty()) return ask_next();
      return events_.link_send(
          command(std::vector<base::Bytes>{"REPLCONF", "ip-address", hello_.announce_ip}));
    case Ask::capabilities:
      // The last one is our own: whoever does not know it ignores it.
      return events_.link_send(command(std::vector<base::Bytes>{
          "REPLCONF", "capa", "eof", "capa", "psync2", "capa", "quoll-effects"}));
    case Ask::psync: {
      const bool fresh = hello_.replid.empty();
      const std::string next = fresh ? "-1" : std::to_string(hello_.offset + 1);
      std::vector<base::Bytes> words = {"PSYNC", fresh ? base::Bytes("?") : hello_.replid, next};
      if (hello_.failover) words.push_back("FAILOVER");
      return events_.link_send(command(words));
    }
  }
}

void PrimaryLink::ask_next() { ask(static_cast<Ask>(static_cast<uint8_t>(asked_) + 1)); }

void PrimaryLink::feed(base::Bytes bytes) {
  while (!bytes.empty() && state_ != State::failed) {
    switch (state_) {
      case State::handshake:
      case State::header:
        if (!take_line(bytes)) return;
        if (line_.empty()) break;  // keeps the link alive
        if (std::string line = std::exchange(line_, {}); state_ == State::header)
          take_header(line);
        else
          take_reply(line);
        break;
      case State::rdb:
        take_rdb(bytes);
        break;
      case State::stream:
        events_.link_stream(std::exchange(bytes, {}));
        break;
      case State::failed:
        break;
    }
  }
}

// The next line, without its end, in line_. False: it is incomplete.
bool PrimaryLink::take_line(base::Bytes& bytes) {
  size_t end = bytes.find('\n');
  line_ += bytes.substr(0, end);
  if (line_.size() > kSyncLineMax) {
    fail("the primary sent a line without end");
    return false;
  }
  if (end == base::Bytes::npos) return false;
  bytes.remove_prefix(end + 1);
  if (line_.ends_with('\r')) line_.pop_back();
  return true;
}

void PrimaryLink::take_reply(base::Bytes line) {
  const bool error = line.starts_with('-');
  switch (asked_) {
    case Ask::ping:
      // A primary that wants a password says so, and is asked again by AUTH.
      if (error && !line.starts_with("-NOAUTH") && !line.starts_with("-NOPERM") &&
          !line.starts_with("-ERR operation not permitted"))
        return fail("Error reply to PING from master: '" + std::string(line) + "'", true);
      break;
    case Ask::auth:
      if (error) return fail("Unable to AUTH to MASTER: " + std::string(line));
      break;
    case Ask::psync:
      return take_psync_reply(line);
    default:
      break;  // a primary that does not understand REPLCONF can still be followed
  }
  ask_next();
}

void PrimaryLink::take_psync_reply(base::Bytes line) {
  const std::vector<base::Bytes> words = words_of(line);
  if (!words.empty() && words[0] == "+CONTINUE") {
    state_ = State::stream;
    const bool renamed = words.size() > 1 && words[1].size() == kReplicationIdBytes;
    return events_.link_continues(renamed ? std::string(words[1]) : std::string());
  }
  uint64_t offset;
  if (!words.empty() && words[0] == "+FULLRESYNC") {
    if (words.size() < 3 || words[1].size() != kReplicationIdBytes ||
        !base::parse_uint(words[2], offset) || offset > kOffsetMax)
      return fail("the primary's +FULLRESYNC has a wrong form: " + std::string(line));
    state_ = State::header;
    return events_.link_full_sync(std::string(words[1]), offset);
  }
  const bool later = line.starts_with("-NOMASTERLINK") || line.starts_with("-LOADING");
  fail((later ? "Master is currently unable to PSYNC but should be in the future: "
              : "Unexpected reply to PSYNC from master: ") +
           std::string(line),
       later);
}

void PrimaryLink::take_header(base::Bytes line) {
  if (line.starts_with('-'))
    return fail("MASTER aborted replication with an error: " + std::string(line.substr(1)));
  if (line.starts_with("$EOF:") && line.size() == 5 + kEofMarkBytes) {
    mark_ = line.substr(5);
    rdb_left_ = 0;
  } else if (!line.starts_with('$') || !base::parse_uint(line.substr(1), rdb_left_) ||
             rdb_left_ == 0) {
    return fail("Bad protocol from MASTER, the first byte is not '$' (we received '" +
                std::string(line) + "'), are you sure the host and port are right?");
  }
  state_ = State::rdb;
  events_.link_rdb_begins(rdb_left_);
}

void PrimaryLink::pass_rdb(base::Bytes bytes) {
  if (!bytes.empty()) events_.link_rdb(bytes);
}

void PrimaryLink::take_rdb(base::Bytes& bytes) {
  if (!mark_.empty()) return take_marked(bytes);
  base::Bytes part = bytes.substr(0, rdb_left_);
  bytes.remove_prefix(part.size());
  rdb_left_ -= part.size();
  pass_rdb(part);
  if (rdb_left_ > 0 || state_ == State::failed) return;
  state_ = State::stream;
  events_.link_rdb_ends();
}

void PrimaryLink::take_marked(base::Bytes& bytes) {
  // A mark that begins in what is held can only end in the first bytes of what came.
  std::string joined;
  if (!held_.empty()) {
    joined = std::exchange(held_, {});
    size_t before = joined.size();
    joined += bytes.substr(0, kEofMarkBytes);
    size_t at = joined.find(mark_);
    if (at != std::string::npos) {
      bytes.remove_prefix(at + kEofMarkBytes - before);
      pass_rdb(base::Bytes(joined).substr(0, at));
      if (state_ == State::failed) return;
      state_ = State::stream;
      return events_.link_rdb_ends();
    }
    if (bytes.size() < kEofMarkBytes) {
      bytes = {};
      size_t held = std::min(joined.size(), kEofMarkBytes - 1);
      held_ = joined.substr(joined.size() - held);
      return pass_rdb(base::Bytes(joined).substr(0, joined.size() - held));
    }
    pass_rdb(base::Bytes(joined).substr(0, before));
    if (state_ == State::failed) return;
  }
  base::Bytes all = std::exchange(bytes, {});
  size_t at = all.find(mark_);
  if (at == base::Bytes::npos) {
    size_t held = std::min(all.size(), kEofMarkBytes - 1);
    held_ = all.substr(all.size() - held);
    return pass_rdb(all.substr(0, all.size() - held));
  }
  pass_rdb(all.substr(0, at));
  if (state_ == State::failed) return;
  bytes = all.substr(at + kEofMarkBytes);
  state_ = State::stream;
  events_.link_rdb_ends();
}

void PrimaryLink::fail(const std::string& reason, bool later) {
  state_ = State::failed;
  events_.link_failed(reason, later);
}

}  // namespace quoll::cluster
