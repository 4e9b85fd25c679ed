#include "server/tracking.h"

#include <algorithm>
#include <span>

#include "server/script_host.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr Bytes kChannel = "__redis__:invalidate";  // what RESP2 clients get them by

constexpr size_t kFrameBytes = 64;  // at most, around the keys of a message

bool overlap(Bytes a, Bytes b) { return a.starts_with(b) || b.starts_with(a); }

std::string overlap_error(Bytes prefix, Bytes kind, Bytes other) {
  std::string text = "ERR Prefix '";
  text += errors::shown(prefix);
  text += "' overlaps with ";
  text += kind;
  text += " prefix '";
  text += errors::shown(other);
  return text += "'. Prefixes for a single client must not overlap.";
}

// Of prefixes that do not overlap, those that could overlap with another are its neighbours.
bool overlaps_present(std::span<const Bytes> wanted,
                      const std::set<std::string, std::less<>>& present, std::string& error) {
  for (Bytes prefix : wanted) {
    auto next = present.lower_bound(prefix);
    const std::string* other = nullptr;
    if (next != present.end() && overlap(*next, prefix))
      other = &*next;
    else if (next != present.begin() && overlap(*std::prev(next), prefix))
      other = &*std::prev(next);
    if (!other) continue;
    error = overlap_error(prefix, "an existing", *other);
    return true;
  }
  return false;
}

// In order, one that begins with another stands behind it, with nothing but such between them.
bool overlaps_within(std::span<const Bytes> wanted, std::string& error) {
  std::vector<Bytes> sorted(wanted.begin(), wanted.end());
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (!overlap(sorted[i - 1], sorted[i])) continue;
    const auto place = [&](Bytes prefix) {
      return std::find(wanted.begin(), wanted.end(), prefix);
    };
    Bytes first = sorted[i - 1], second = sorted[i];
    if (place(second) < place(first)) std::swap(first, second);
    error = overlap_error(first, "another provided", second);
    return true;
  }
  return false;
}

void append_array(std::string& out, size_t count) {
  out += '*';
  out += std::to_string(count);
  out += "\r\n";
}

void append_bulk(std::string& out, Bytes bytes) {
  out += '$';
  out += std::to_string(bytes.size());
  out += "\r\n";
  out += bytes;
  out += "\r\n";
}

std::string array_of(Bytes key) {
  std::string out;
  append_array(out, 1);
  append_bulk(out, key);
  return out;
}

}  // namespace

// --- modes -------------------------------------------------------------------------------------

bool Tracking::enable(Session& session, const Mode& mode, std::string& error) {
  std::vector<Bytes> wanted = mode.prefixes;
  auto present = trackers_.find(session.id);
  if (present != trackers_.end() && overlaps_present(wanted, present->second.prefixes, error))
    return false;
  if (overlaps_within(wanted, error)) return false;
  const bool broadcast = mode.flags & kTrackingBroadcast;
  if (broadcast && wanted.empty()) wanted.emplace_back();
  Tracker& tracker = trackers_[session.id];
  tracker.redirect = mode.redirect;
  for (Bytes name : wanted) {
    if (!tracker.prefixes.emplace(name).second) continue;
    session.subscriptions_held.add(kTrackedPrefixBytes + 2 * name.size());
    auto at = prefixes_.find(name);
    if (at == prefixes_.end()) {
      at = prefixes_.emplace(std::string(name), Prefix{}).first;
      ++prefix_sizes_[name.size()];
    }
    at->second.sessions.insert(session.id);
  }
  left_.erase(session.id);
  session.tracking =
      static_cast<uint8_t>(kTrackingOn | mode.flags | (session.tracking & kTrackingCaching));
  session.set_reply_flags(session.reply_flags() | kReplyTracked);
  // In a transaction: what it changes from now on has to be told.
  if (server_.store().commits().open()) server_.store().commits().record();
  if (session.running()) current_ = &session;
  update_listening();
  return true;
}

void Tracking::disable(Session& session) {
  auto tracker = trackers_.find(session.id);
  if (tracker == trackers_.end()) return;
  for (const std::string& name : tracker->second.prefixes) {
    auto at = prefixes_.find(name);
    at->second.sessions.erase(session.id);
    session.subscriptions_held.subtract(kTrackedPrefixBytes + 2 * name.size());
    if (!at->second.sessions.empty()) continue;
    auto size = prefix_sizes_.find(name.size());
    if (--size->second == 0) prefix_sizes_.erase(size);
    prefixes_.erase(at);
  }
  trackers_.erase(tracker);
  drop_pending(session.id);
  left_.insert(session.id);
  session.tracking = 0;
  session.set_reply_flags(session.reply_flags() & ~kReplyTracked);
  update_listening();
}

void Tracking::forget(Session& session) {
  if (current_ == &session) current_ = nullptr;
  if (session.tracking) disable(session);
  if (left_.erase(session.id) == 0 || !trackers_.empty() || !left_.empty()) return;
  table_.clear();  // nobody is left who could have read a key
  update_listening();
}

void Tracking::drop_pending(SessionId session) {
  std::erase_if(pending_, [&](const Pending& one) { return one.session == session; });
}

void Tracking::update_listening() { listen(!trackers_.empty() || table_.keys() > 0); }

SessionId Tracking::redirect(const Session& session) const {
  auto at = trackers_.find(session.id);
  return at == trackers_.end() ? 0 : at->second.redirect;
}

std::vector<Bytes> Tracking::prefixes(const Session& session) const {
  auto at = trackers_.find(session.id);
  if (at == trackers_.end()) return {};
  return {at->second.prefixes.begin(), at->second.prefixes.end()};
}

// --- reads -------------------------------------------------------------------------------------

void Tracking::remember(Session& session, const Call& call) {
  const CommandSpec& spec = *call.command.spec;
  if (spec.access != Access::read || (session.tracking & kTrackingBroadcast)) return;
  if (spec.group == "scripting") return;  // the script's own commands were told of
  const bool caching = session.tracking & kTrackingCaching;
  if ((session.tracking & kTrackingOptIn) && !caching) return;
  if ((session.tracking & kTrackingOptOut) && caching) return;
  found_.clear();
  if (!find_keys(spec, call.args, found_)) return;
  const store::CommitBuilder& commits = call.store.commits();
  const size_t behind = commits.open() ? commits.recorded() : 0;
  for (const KeyArg& key : found_) {
    if (key.flags & kKeyNotKey) continue;
    if (behind > 0) {
      reads_.push_back({behind, std::string(call.arg(key.index)), session.id});
    } else {
      remember_key(call.arg(key.index), session.id);
    }
  }
}

void Tracking::remember_key(Bytes key, SessionId session) {
  table_.remember(key, session);
  if (beyond(kTrackingSlack)) evict_one();
}

// Reads that stand behind the touches told so far.
void Tracking::settle_reads(size_t told) {
  size_t settled = 0;
  for (; settled < reads_.size() && reads_[settled].behind <= told; ++settled)
    remember_key(reads_[settled].key, reads_[settled].session);
  reads_.erase(reads_.begin(), reads_.begin() + static_cast<std::ptrdiff_t>(settled));
}

// --- changes -----------------------------------------------------------------------------------

void Tracking::absorb(const store::Commit& commit) {
  const Ticket ticket = server_.gate().ticket(commit.seq);
  const bool loaded = commit.origin == store::Origin::load;  // behind a flush, which told all
  const Cause cause = commit.origin == store::Origin::eviction ? Cause::eviction : Cause::change;
  size_t told = 0;
  for (const store::Touch& touch : commit.touches) {
    if (__builtin_expect(!reads_.empty(), 0)) settle_reads(told);
    ++told;
    if (touch.change != store::Change::keyless) {
      if (loaded) continue;
      if (!prefixes_.empty()) note_broadcast(touch.key, cause_of(touch, cause), ticket);
      invalidate(touch.key, cause, ticket);
    } else if (touch.event.name == Bytes(store::kEventFlushDb.name)) {
      flush(ticket);
    }
  }
  settle_reads(SIZE_MAX);
  if (trackers_.empty()) update_listening();
}

// A change by the session's own command is told behind its reply, which may tell of the old value.
// What was evicted before the command runs is told before.
void Tracking::invalidate(Bytes key, Cause cause, const Ticket& ticket) {
  if (!table_.take(key, readers_)) return;
  std::string keys;
  for (SessionId id : readers_) {
    Session* reader = server_.find_session(id);
    // One that broadcasts now did not when it read the key.
    if (!reader || !reader->tracking || (reader->tracking & kTrackingBroadcast)) continue;
    const bool own = reader->running();
    if (own && cause == Cause::change && (reader->tracking & kTrackingNoLoop)) continue;
    if (keys.empty()) keys = array_of(key);
    const bool before =
        cause == Cause::eviction && !reader->in_exec && !server_.scripts().running();
    if (own && !before) {
      pending_.push_back({id, keys, ticket});
    } else {
      tell(*reader, keys, ticket);
    }
  }
}

void Tracking::flush(const Ticket& ticket) {
  for (const auto& [id, tracker] : trackers_) {
    Session* session = server_.find_session(id);
    if (!session) continue;
    if (session->running()) {
      pending_.push_back({id, {}, ticket});
    } else {
      tell(*session, {}, ticket);
    }
  }
  table_.clear();
}

void Tracking::flushed() {
  flush({});
  update_listening();
}

void Tracking::command_ended(Session& session) {
  if (!pending_.empty()) {
    std::vector<Pending> all = std::exchange(pending_, {});
    for (Pending& one : all) {
      if (one.session == session.id)
        tell(session, one.keys, one.ticket);
      else
        pending_.push_back(std::move(one));
    }
  }
  if (__builtin_expect(!reads_.empty(), 0)) settle_reads(SIZE_MAX);  // nothing was committed
  if (!(session.tracking & kTrackingCaching) || session.transaction.open) return;
  const Command* last = session.last_command;
  if (!last || !last->spec->name.starts_with("client|")) session.tracking &= ~kTrackingCaching;
}

// `keys` is the array of keys as RESP; empty: all keys.
void Tracking::tell(Session& session, Bytes keys, const Ticket& ticket) {
  Session* to = &session;
  const SessionId elsewhere = redirect(session);
  if (elsewhere) to = server_.find_session(elsewhere);
  const bool broken = !to;
  if (broken) {
    session.tracking |= kTrackingRedirectBroken;
    to = &session;
  }
  const bool by_channel = to->protocol() == 2;
  if (by_channel && (broken || !elsewhere || !to->subscribed())) return;  // it could not understand
  if (to->close_requested()) return;
  wire::OutQueue& out = to->begin_message(ticket);
  out.expect_message(keys.size() + kFrameBytes);
  wire::ReplyWriter writer(out);
  writer.set_protocol(to->protocol());
  if (broken) {
    writer.push(2);
    writer.bulk("tracking-redir-broken");
    return writer.integer(static_cast<int64_t>(elsewhere));
  }
  writer.push(by_channel ? 3 : 2);
  writer.bulk(by_channel ? "message" : "invalidate");
  if (by_channel) writer.bulk(kChannel);
  if (keys.empty()) {
    writer.null();
  } else {
    writer.raw(keys);
  }
}

// --- broadcasts --------------------------------------------------------------------------------

// The tracking session whose command changed the key; what went by itself was changed by nobody.
SessionId Tracking::cause_of(const store::Touch& touch, Cause cause) const {
  if (cause != Cause::change || touch.change == store::Change::expired) return 0;
  const ScriptHost& scripts = server_.scripts();
  const Session* by = scripts.running() && scripts.caller() ? scripts.caller() : current_;
  return by && by->running() && by->tracking ? by->id : 0;
}

void Tracking::note_broadcast(Bytes key, SessionId by, const Ticket& ticket) {
  for (const auto& [size, count] : prefix_sizes_) {
    if (size > key.size()) break;
    auto at = prefixes_.find(key.substr(0, size));
    if (at == prefixes_.end()) continue;
    Prefix& prefix = at->second;
    if (prefix.changed.empty()) broadcasts_due_ = true;
    auto changed = prefix.changed.find(key);
    if (changed == prefix.changed.end()) {
      prefix.changed.emplace(std::string(key), by);
    } else {
      changed->second = by;
    }
    prefix.ticket = ticket;
  }
}

void Tracking::send_broadcast(Prefix& prefix) {
  // All the keys but those that `except` changed itself.
  auto keys_for = [&](SessionId except) {
    std::string keys;
    size_t count = 0;
    for (const auto& [key, by] : prefix.changed) count += by == 0 || by != except;
    if (count == 0) return keys;
    append_array(keys, count);
    for (const auto& [key, by] : prefix.changed)
      if (by == 0 || by != except) append_bulk(keys, key);
    return keys;
  };
  const std::string all = keys_for(0);
  for (SessionId id : prefix.sessions) {
    Session* session = server_.find_session(id);
    if (!session) continue;
    if (!(session->tracking & kTrackingNoLoop)) {
      tell(*session, all, prefix.ticket);
    } else if (std::string keys = keys_for(id); !keys.empty()) {
      tell(*session, keys, prefix.ticket);
    }
  }
  prefix.changed.clear();
}

// --- limits ------------------------------------------------------------------------------------

bool Tracking::beyond(uint64_t slack) const {
  auto limit = static_cast<uint64_t>(server_.settings().tracking_table_max_keys);
  return limit > 0 && table_.keys() > limit + slack;
}

void Tracking::evict_one() {
  Bytes key;
  if (!table_.any_key([&] { return server_.host().random.draw(); }, key)) return;
  invalidate(std::string(key), Cause::limit, {});
}

void Tracking::settle_turn() {
  if (broadcasts_due_) {
    broadcasts_due_ = false;
    for (auto& [name, prefix] : prefixes_)
      if (!prefix.changed.empty()) send_broadcast(prefix);
  }
  for (unsigned i = 0; i < kTrackingEvictMax && beyond(0); ++i) evict_one();
  if (beyond(0)) server_.host().loop.post([] {});  // goes on in the next turn
}

}  // namespace quoll::server
