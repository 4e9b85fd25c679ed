#include "tests/sim/model.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"

namespace quoll::sim {
namespace {

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

std::string header(char kind, size_t count) { return kind + std::to_string(count) + "\r\n"; }

// Stars only: all that the scenarios use.
bool star_match(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] != '*')
    return !text.empty() && pattern[0] == text[0] && star_match(pattern.substr(1), text.substr(1));
  for (size_t skip = 0; skip <= text.size(); ++skip)
    if (star_match(pattern.substr(1), text.substr(skip))) return true;
  return false;
}

}  // namespace

std::string resp_bulk(const std::string& text) { return header('$', text.size()) + text + "\r\n"; }

bool Expected::matches(const std::string& raw) const {
  switch (kind) {
    case Kind::exact:
      return raw == bytes;
    case Kind::any_of:
      return std::find(choices.begin(), choices.end(), raw) != choices.end();
    case Kind::permuted: {
      // Every element somewhere, and no room for more.
      if (raw.size() != bytes.size()) return false;
      return std::all_of(choices.begin(), choices.end(), [&](const std::string& element) {
        return raw.find(element) != std::string::npos;
      });
    }
  }
  return false;
}

// ---- sessions

void Model::open(uint64_t session) { sessions_[session]; }

void Model::close(uint64_t session) {
  Session& gone = sessions_.at(session);
  gone.channels.clear();
  gone.patterns.clear();
  gone.watches.clear();
  gone.queue.clear();
}

void Model::say(std::string bytes) {
  session_->bytes += bytes.size();
  // One reply is one element, but EXEC's is written piece by piece.
  if (session_->in_exec && !session_->expected.empty()) {
    session_->expected.back().bytes += bytes;
  } else {
    session_->expected.push_back({Expected::Kind::exact, std::move(bytes), {}});
  }
}

void Model::push(Session& to, std::string bytes) {
  if (&to == session_) {
    to.aside.push_back(std::move(bytes));
    return;
  }
  to.bytes += bytes.size();
  to.expected.push_back({Expected::Kind::exact, std::move(bytes), {}});
}

size_t Model::publish(const std::string& channel, const std::string& message) {
  size_t receivers = 0;
  for (auto& [id, session] : sessions_) {
    char kind = session.protocol == 3 ? '>' : '*';
    if (session.channels.count(channel)) {
      push(session,
           header(kind, 3) + resp_bulk("message") + resp_bulk(channel) + resp_bulk(message));
      ++receivers;
    }
  }
  // Patterns come after all channels, and one after the other.
  std::set<std::string> patterns;
  for (auto& [id, session] : sessions_)
    patterns.insert(session.patterns.begin(), session.patterns.end());
  for (const std::string& pattern : patterns) {
    if (!star_match(pattern, channel)) continue;
    for (auto& [id, session] : sessions_) {
      if (!session.patterns.count(pattern)) continue;
      push(session, header(session.protocol == 3 ? '>' : '*', 4) + resp_bulk("pmessage") +
                        resp_bulk(pattern) + resp_bulk(channel) + resp_bulk(message));
      ++receivers;
    }
  }
  return receivers;
}

bool Model::admit(const std::string& name, const Command* command) {
  auto refuse = [&](const std::string& text) {
    if (session_->multi) session_->aborted = true;
    if (name == "exec") {
      end_transaction();
      say_error("EXECABORT Transaction discarded because of: " + text.substr(4));
    } else {
      say_error(text);
    }
    return false;
  };
  if (!command) {
    std::string rest;
    for (size_t i = 1; i < argc(); ++i) rest += "'" + arg(i) + "' ";
    return refuse("ERR unknown command '" + arg(0) + "', with args beginning with: " + rest);
  }
  int count = static_cast<int>(argc());
  if (command->arity > 0 ? count != command->arity : count < -command->arity)
    return refuse("ERR wrong number of arguments for '" + name + "' command");
  bool subscribed = !session_->channels.empty() || !session_->patterns.empty();
  static const std::set<std::string> kInContext = {"ping",        "subscribe",    "psubscribe",
                                                   "unsubscribe", "punsubscribe", "reset"};
  if (subscribed && session_->protocol == 2 && !kInContext.count(name))
    return refuse("ERR Can't execute '" + name +
                  "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                  "this context");
  return true;
}

void Model::execute(uint64_t session, const Words& args, Millis now) {
  session_ = &sessions_.at(session);
  session_id_ = session;
  args_ = &args;
  now_ = now;
  std::string name = lower(args[0]);
  auto found = commands().find(name);
  const Command* command = found == commands().end() ? nullptr : &found->second;
  size_t before = session_->expected.size();
  if (admit(name, command)) {
    static const std::set<std::string> kAtOnce = {"exec", "discard", "multi", "watch", "reset"};
    if (session_->multi && !kAtOnce.count(name)) {
      session_->queue.push_back(args);
      say("+QUEUED\r\n");
    } else {
      (this->*command->run)();
    }
  }
  // Messages to itself: in front of the reply, behind that of EXEC.
  auto place = session_->expected.begin() +
               static_cast<std::ptrdiff_t>(name == "exec" ? session_->expected.size() : before);
  for (std::string& bytes : session_->aside) {
    session_->bytes += bytes.size();
    place = session_->expected.insert(place, {Expected::Kind::exact, std::move(bytes), {}}) + 1;
  }
  session_->aside.clear();
  session_ = nullptr;
}

// ---- keys

Model::Key* Model::find(unsigned db, const std::string& key) {
  auto at = databases_[db].find(key);
  return at == databases_[db].end() || at->second.expired(now_) ? nullptr : &at->second;
}

bool Model::take_away(unsigned db, const std::string& key) {
  auto at = databases_[db].find(key);
  if (at == databases_[db].end() || !at->second.expired(now_)) return false;
  databases_[db].erase(at);
  for (auto& [id, session] : sessions_)
    for (Watch& watch : session.watches)
      if (watch.db == db && watch.key == key && !std::exchange(watch.was_expired, false))
        session.dirty = true;
  return true;
}

bool Model::removed_expired(unsigned db, const std::string& key, Millis at) {
  auto found = databases_[db].find(key);
  if (found == databases_[db].end()) return true;
  now_ = at;
  return take_away(db, key);
}

size_t Model::live_keys(unsigned db, Millis now) const {
  size_t live = 0;
  for (const auto& [name, key] : databases_[db]) live += !key.expired(now);
  return live;
}

void Model::touch(unsigned db, const std::string& key, char, const char* event) {
  for (auto& [id, session] : sessions_)
    for (const Watch& watch : session.watches)
      if (watch.db == db && watch.key == key) session.dirty = true;
  if (!notifies_) return;
  std::string number = std::to_string(db);
  publish("__keyspace@" + number + "__:" + key, event);
  publish("__keyevent@" + number + "__:" + event, key);
}

void Model::put(const std::string& key, std::string value, std::optional<Millis> deadline) {
  take_away(session_->db, key);
  databases_[session_->db][key] = {std::move(value), deadline};
}

bool Model::integer(const std::string& text, int64_t& value) {
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  bool whole = parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size();
  // Only the canonical form counts: no leading zeros, no "-0".
  if (whole && std::to_string(value) == text) return true;
  return false;
}

bool Model::database_of(const std::string& text, unsigned& db) {
  int64_t value = 0;
  if (!integer(text, value)) {
    say_error("ERR value is not an integer or out of range");
    return false;
  }
  if (value < 0 || value >= kDatabases) {
    say_error("ERR DB index is out of range");
    return false;
  }
  db = static_cast<unsigned>(value);
  return true;
}

// ---- connection

void Model::ping() {
  bool subscribed = !session_->channels.empty() || !session_->patterns.empty();
  if (subscribed && session_->protocol == 2)
    return say("*2\r\n$4\r\npong\r\n" + resp_bulk(argc() > 1 ? arg(1) : ""));
  say(argc() > 1 ? resp_bulk(arg(1)) : "+PONG\r\n");
}

void Model::echo() { say(resp_bulk(arg(1))); }

void Model::select() {
  if (database_of(arg(1), session_->db)) say_ok();
}

void Model::hello() {
  session_->protocol = arg(1) == "3" ? 3 : 2;
  bool map = session_->protocol == 3;
  say((map ? "%7\r\n" : "*14\r\n") + resp_bulk("server") + resp_bulk("redis") +
      resp_bulk("version") + resp_bulk("7.4.0") + resp_bulk("proto") + ":" + arg(1) + "\r\n" +
      resp_bulk("id") + ":" + std::to_string(session_id_) + "\r\n" + resp_bulk("mode") +
      resp_bulk("standalone") + resp_bulk("role") + resp_bulk("master") + resp_bulk("modules") +
      "*0\r\n");
}

void Model::reset() {
  end_transaction();
  session_->channels.clear();
  session_->patterns.clear();
  session_->db = 0;
  session_->protocol = 2;
  say("+RESET\r\n");
}

// ---- strings

void Model::get() {
  Key* key = find(arg(1));
  key ? say(resp_bulk(key->value)) : say_null();
}

bool Model::deadline_of(const std::string& unit, const std::string& number, const char* command,
                        Millis& deadline) {
  int64_t value = 0;
  if (!integer(number, value)) {
    say_error("ERR value is not an integer or out of range");
    return false;
  }
  bool seconds = unit == "ex" || unit == "exat";
  bool absolute = unit == "exat" || unit == "pxat";
  if (value <= 0) {
    say_error(std::string("ERR invalid expire time in '") + command + "' command");
    return false;
  }
  deadline = value * (seconds ? 1000 : 1) + (absolute ? 0 : now_);
  return true;
}

void Model::set() {
  bool nx = false, xx = false, wants_old = false, keep = false;
  std::optional<Millis> deadline;
  for (size_t i = 3; i < argc(); ++i) {
    std::string option = lower(arg(i));
    if (option == "nx")
      nx = true;
    else if (option == "xx")
      xx = true;
    else if (option == "get")
      wants_old = true;
    else if (option == "keepttl")
      keep = true;
    else if (i + 1 < argc()) {
      Millis at = 0;
      if (!deadline_of(option, arg(++i), "set", at)) return;
      deadline = at;
    } else {
      return say_error("ERR syntax error");
    }
  }
  if (nx && xx) return say_error("ERR syntax error");
  Key* old = find(arg(1));
  std::string reply = wants_old ? old ? resp_bulk(old->value) : null() : "+OK\r\n";
  if (nx ? old != nullptr : xx && old == nullptr) return say(wants_old ? reply : null());
  if (keep && old) deadline = old->deadline;
  put(arg(1), arg(2), deadline);
  touch(arg(1), '$', "set");
  if (deadline && !keep) touch(arg(1), 'g', "expire");
  say(reply);
}

void Model::setnx() {
  if (find(arg(1))) return say_integer(0);
  put(arg(1), arg(2), {});
  touch(arg(1), '$', "set");
  say_integer(1);
}

void Model::setex() {
  Millis deadline = 0;
  if (!deadline_of("ex", arg(2), "setex", deadline)) return;
  put(arg(1), arg(3), deadline);
  touch(arg(1), '$', "set");
  touch(arg(1), 'g', "expire");
  say_ok();
}

void Model::psetex() {
  Millis deadline = 0;
  if (!deadline_of("px", arg(2), "psetex", deadline)) return;
  put(arg(1), arg(3), deadline);
  touch(arg(1), '$', "set");
  touch(arg(1), 'g', "expire");
  say_ok();
}

void Model::getset() {
  get();
  put(arg(1), arg(2), {});
  touch(arg(1), '$', "set");
}

void Model::getdel() {
  get();
  if (!find(arg(1))) return;
  databases_[session_->db].erase(arg(1));
  touch(arg(1), 'g', "del");
}

void Model::getex() {
  if (!find(arg(1))) return say_null();
  std::optional<Millis> deadline;
  if (argc() == 4) {
    Millis at = 0;
    if (!deadline_of(lower(arg(2)), arg(3), "getex", at)) return;
    deadline = at;
  }
  Key* key = find(arg(1));
  get();
  if (!key || argc() == 2) return;
  if (!deadline) {  // PERSIST
    if (!std::exchange(key->deadline, std::nullopt)) return;
    return touch(arg(1), 'g', "persist");
  }
  key->deadline = deadline;
  if (!key->expired(now_)) return touch(arg(1), 'g', "expire");
  databases_[session_->db].erase(arg(1));
  touch(arg(1), 'g', "del");
}

void Model::mget() {
  std::string reply = header('*', argc() - 1);
  for (size_t i = 1; i < argc(); ++i) {
    Key* key = find(arg(i));
    reply += key ? resp_bulk(key->value) : null();
  }
  say(reply);
}

void Model::mset() {
  if (argc() % 2 == 0) return say_error("ERR wrong number of arguments for 'mset' command");
  for (size_t i = 1; i < argc(); i += 2) {
    put(arg(i), arg(i + 1), {});
    touch(arg(i), '$', "set");
  }
  say_ok();
}

void Model::msetnx() {
  if (argc() % 2 == 0) return say_error("ERR wrong number of arguments for 'msetnx' command");
  for (size_t i = 1; i < argc(); i += 2)
    if (find(arg(i))) return say_integer(0);
  for (size_t i = 1; i < argc(); i += 2) {
    put(arg(i), arg(i + 1), {});
    touch(arg(i), '$', "set");
  }
  say_integer(1);
}

void Model::append() {
  Key* key = find(arg(1));
  if (key) {
    key->value += arg(2);
  } else {
    put(arg(1), arg(2), {});
  }
  touch(arg(1), '$', "append");
  say_integer(static_cast<int64_t>(find(arg(1))->value.size()));
}

void Model::strlen() {
  Key* key = find(arg(1));
  say_integer(key ? static_cast<int64_t>(key->value.size()) : 0);
}

void Model::setrange() {
  int64_t offset = 0;
  if (!integer(arg(2), offset)) return say_error("ERR value is not an integer or out of range");
  if (offset < 0) return say_error("ERR offset is out of range");
  if (arg(3).empty()) return strlen();
  if (!find(arg(1))) put(arg(1), "", {});
  std::string& value = find(arg(1))->value;
  auto end = static_cast<size_t>(offset) + arg(3).size();
  if (value.size() < end) value.resize(end, '\0');
  value.replace(static_cast<size_t>(offset), arg(3).size(), arg(3));
  touch(arg(1), '$', "setrange");
  say_integer(static_cast<int64_t>(value.size()));
}

void Model::getrange() {
  int64_t from = 0, to = 0;
  if (!integer(arg(2), from) || !integer(arg(3), to))
    return say_error("ERR value is not an integer or out of range");
  Key* key = find(arg(1));
  auto size = key ? static_cast<int64_t>(key->value.size()) : 0;
  bool nothing = from < 0 && to < 0 && from > to;
  if (from < 0) from = std::max<int64_t>(size + from, 0);
  if (to < 0) to = std::max<int64_t>(size + to, 0);
  to = std::min(to, size - 1);
  if (nothing || size == 0 || from > to) return say(resp_bulk(""));
  say(resp_bulk(key->value.substr(static_cast<size_t>(from), static_cast<size_t>(to - from + 1))));
}

void Model::add(const std::string& name, int64_t by) {
  Key* key = find(name);
  int64_t value = 0;
  if (key && !integer(key->value, value))
    return say_error("ERR value is not an integer or out of range");
  if (__builtin_add_overflow(value, by, &value))
    return say_error("ERR increment or decrement would overflow");
  put(name, std::to_string(value), key ? key->deadline : std::nullopt);
  touch(name, '$', "incrby");
  say_integer(value);
}

void Model::incr() { add(arg(1), 1); }
void Model::decr() { add(arg(1), -1); }
void Model::incrby() {
  int64_t by = 0;
  if (!integer(arg(2), by)) return say_error("ERR value is not an integer or out of range");
  add(arg(1), by);
}
void Model::decrby() {
  int64_t by = 0;
  if (!integer(arg(2), by)) return say_error("ERR value is not an integer or out of range");
  add(arg(1), -by);
}

// ---- keys as such

void Model::del() {
  int64_t count = 0;
  for (size_t i = 1; i < argc(); ++i) {
    take_away(session_->db, arg(i));
    if (databases_[session_->db].erase(arg(i)) == 0) continue;
    touch(arg(i), 'g', "del");
    ++count;
  }
  say_integer(count);
}

void Model::exists() {
  int64_t count = 0;
  for (size_t i = 1; i < argc(); ++i) count += find(arg(i)) != nullptr;
  say_integer(count);
}

void Model::type() { say(find(arg(1)) ? "+string\r\n" : "+none\r\n"); }

void Model::rename() {
  Key* key = find(arg(1));
  if (!key) return say_error("ERR no such key");
  if (arg(1) != arg(2)) {
    Key moved = *key;
    databases_[session_->db].erase(arg(1));
    put(arg(2), std::move(moved.value), moved.deadline);
    touch(arg(1), 'g', "rename_from");
    touch(arg(2), 'g', "rename_to");
  }
  say_ok();
}

void Model::renamenx() {
  Key* key = find(arg(1));
  if (!key) return say_error("ERR no such key");
  if (find(arg(2))) return say_integer(0);
  Key moved = *key;
  databases_[session_->db].erase(arg(1));
  put(arg(2), std::move(moved.value), moved.deadline);
  touch(arg(1), 'g', "rename_from");
  touch(arg(2), 'g', "rename_to");
  say_integer(1);
}

void Model::copy() {
  unsigned to = session_->db;
  bool replace = false;
  for (size_t i = 3; i < argc(); ++i) {
    if (lower(arg(i)) == "replace")
      replace = true;
    else if (!database_of(arg(++i), to))
      return;
  }
  if (to == session_->db && arg(1) == arg(2))
    return say_error("ERR source and destination objects are the same");
  Key* key = find(arg(1));
  if (!key) return say_integer(0);
  take_away(to, arg(2));
  if (find(to, arg(2)) && !replace) return say_integer(0);
  databases_[to][arg(2)] = *key;
  touch(to, arg(2), 'g', "copy_to");
  say_integer(1);
}

void Model::move() {
  unsigned to = 0;
  int64_t number = 0;
  if (!integer(arg(2), number) || number < 0 || number >= kDatabases)
    return say_error(integer(arg(2), number) ? "ERR DB index is out of range"
                                             : "ERR value is not an integer or out of range");
  to = static_cast<unsigned>(number);
  if (to == session_->db) return say_error("ERR source and destination objects are the same");
  Key* key = find(arg(1));
  if (!key) return say_integer(0);
  take_away(to, arg(1));
  if (find(to, arg(1))) return say_integer(0);
  databases_[to][arg(1)] = *key;
  databases_[session_->db].erase(arg(1));
  touch(session_->db, arg(1), 'g', "move_from");
  touch(to, arg(1), 'g', "move_to");
  say_integer(1);
}

void Model::keys() {
  Expected reply{Expected::Kind::permuted, "", {}};
  for (const auto& [name, key] : databases_[session_->db])
    if (!key.expired(now_) && star_match(arg(1), name)) reply.choices.push_back(resp_bulk(name));
  reply.bytes = header('*', reply.choices.size());
  for (const std::string& element : reply.choices) reply.bytes += element;
  session_->bytes += reply.bytes.size();
  session_->expected.push_back(std::move(reply));
}

void Model::randomkey() {
  Expected reply{Expected::Kind::any_of, "", {}};
  for (const auto& [name, key] : databases_[session_->db])
    if (!key.expired(now_)) reply.choices.push_back(resp_bulk(name));
  if (reply.choices.empty()) return say_null();
  for (const std::string& choice : reply.choices)
    QUOLL_CHECK(choice.size() == reply.choices[0].size());
  session_->bytes += reply.choices[0].size();
  session_->expected.push_back(std::move(reply));
}

// Watchers of keys that exist in one of the two databases; the same twice for a flush.
void Model::database_changes(unsigned a, unsigned b) {
  for (auto& [id, session] : sessions_) {
    for (Watch& watch : session.watches) {
      if (watch.db != a && watch.db != b) continue;
      unsigned other = watch.db == a ? b : a;
      auto own = databases_[watch.db].find(watch.key);
      bool ran_out = own != databases_[watch.db].end() && own->second.expired(now_) &&
                     !std::exchange(watch.was_expired, false);
      if (ran_out || find(watch.db, watch.key) || find(other, watch.key)) session.dirty = true;
    }
  }
}

void Model::flushdb() {
  database_changes(session_->db, session_->db);
  databases_[session_->db].clear();
  say_ok();
}

void Model::flushall() {
  for (unsigned db = 0; db < kDatabases; ++db) {
    database_changes(db, db);
    databases_[db].clear();
  }
  say_ok();
}

void Model::swapdb() {
  int64_t a = 0, b = 0;
  if (!integer(arg(1), a)) return say_error("ERR invalid first DB index");
  if (!integer(arg(2), b)) return say_error("ERR invalid second DB index");
  if (a < 0 || b < 0 || a >= kDatabases || b >= kDatabases)
    return say_error("ERR DB index is out of range");
  if (a != b) {
    database_changes(static_cast<unsigned>(a), static_cast<unsigned>(b));
    std::swap(databases_[a], databases_[b]);
  }
  say_ok();
}

// ---- deadlines

void Model::expire(bool seconds, bool absolute) {
  int64_t value = 0;
  if (!integer(arg(2), value)) return say_error("ERR value is not an integer or out of range");
  Millis deadline = value * (seconds ? 1000 : 1) + (absolute ? 0 : now_);
  Key* key = find(arg(1));
  if (!key) return say_integer(0);
  if (argc() == 4) {
    std::string condition = lower(arg(3));
    const std::optional<Millis>& current = key->deadline;
    bool holds = condition == "nx"   ? !current
                 : condition == "xx" ? current.has_value()
                 : condition == "gt" ? current && deadline > *current
                                     : !current || deadline < *current;
    if (!holds) return say_integer(0);
  }
  if (deadline <= now_) {
    databases_[session_->db].erase(arg(1));
    touch(arg(1), 'g', "del");
  } else {
    key->deadline = deadline;
    touch(arg(1), 'g', "expire");
  }
  say_integer(1);
}

void Model::time_left(bool seconds, bool absolute) {
  Key* key = find(arg(1));
  if (!key) return say_integer(-2);
  if (!key->deadline) return say_integer(-1);
  Millis time = *key->deadline - (absolute ? 0 : now_);
  say_integer(seconds ? (time + 500) / 1000 : time);
}

void Model::persist() {
  Key* key = find(arg(1));
  if (!key || !key->deadline) return say_integer(0);
  key->deadline.reset();
  touch(arg(1), 'g', "persist");
  say_integer(1);
}

// ---- transactions

void Model::multi() {
  if (session_->multi) return say_error("ERR MULTI calls can not be nested");
  session_->multi = true;
  say_ok();
}

void Model::exec() {
  if (!session_->multi) return say_error("ERR EXEC without MULTI");
  bool dirty = session_->dirty;
  for (const Watch& watch : session_->watches) {
    auto at = databases_[watch.db].find(watch.key);
    if (!watch.was_expired && at != databases_[watch.db].end() && at->second.expired(now_))
      dirty = true;
  }
  bool aborted = session_->aborted;
  std::vector<Words> queue = std::move(session_->queue);
  end_transaction();
  if (aborted) return say_error("EXECABORT Transaction discarded because of previous errors.");
  if (dirty) return say(session_->protocol == 3 ? "_\r\n" : "*-1\r\n");
  say(header('*', queue.size()));
  session_->in_exec = true;
  for (const Words& args : queue) {
    args_ = &args;
    (this->*commands().at(lower(args[0])).run)();
  }
  session_->in_exec = false;
}

void Model::end_transaction() {
  session_->multi = session_->aborted = session_->dirty = false;
  session_->queue.clear();
  session_->watches.clear();
}

void Model::discard() {
  if (!session_->multi) return say_error("ERR DISCARD without MULTI");
  end_transaction();
  say_ok();
}

void Model::watch() {
  if (session_->multi) return say_error("ERR WATCH inside MULTI is not allowed");
  for (size_t i = 1; i < argc(); ++i) {
    bool known = std::any_of(
        session_->watches.begin(), session_->watches.end(),
        [&](const Watch& watch) { return watch.db == session_->db && watch.key == arg(i); });
    auto at = databases_[session_->db].find(arg(i));
    bool expired = at != databases_[session_->db].end() && at->second.expired(now_);
    if (!known) session_->watches.push_back({session_->db, arg(i), expired});
  }
  say_ok();
}

void Model::unwatch() {
  session_->watches.clear();
  session_->dirty = false;
  say_ok();
}

// ---- messages

void Model::publish() { say_integer(static_cast<int64_t>(publish(arg(1), arg(2)))); }

void Model::confirm(const char* word, const std::string& name) {
  size_t count = session_->channels.size() + session_->patterns.size();
  say(header(session_->protocol == 3 ? '>' : '*', 3) + resp_bulk(word) + resp_bulk(name) + ":" +
      std::to_string(count) + "\r\n");
}

void Model::subscribe() {
  for (size_t i = 1; i < argc(); ++i) {
    session_->channels.insert(arg(i));
    confirm("subscribe", arg(i));
  }
}

void Model::psubscribe() {
  for (size_t i = 1; i < argc(); ++i) {
    session_->patterns.insert(arg(i));
    confirm("psubscribe", arg(i));
  }
}

void Model::unsubscribe() {
  for (size_t i = 1; i < argc(); ++i) {
    session_->channels.erase(arg(i));
    confirm("unsubscribe", arg(i));
  }
}

void Model::punsubscribe() {
  for (size_t i = 1; i < argc(); ++i) {
    session_->patterns.erase(arg(i));
    confirm("punsubscribe", arg(i));
  }
}

const std::map<std::string, Model::Command>& Model::commands() {
  static const std::map<std::string, Command> kCommands = {
      {"ping", {-1, &Model::ping}},
      {"echo", {2, &Model::echo}},
      {"select", {2, &Model::select}},
      {"hello", {-1, &Model::hello}},
      {"reset", {1, &Model::reset}},
      {"get", {2, &Model::get}},
      {"set", {-3, &Model::set}},
      {"setnx", {3, &Model::setnx}},
      {"setex", {4, &Model::setex}},
      {"psetex", {4, &Model::psetex}},
      {"getset", {3, &Model::getset}},
      {"getdel", {2, &Model::getdel}},
      {"getex", {-2, &Model::getex}},
      {"mget", {-2, &Model::mget}},
      {"mset", {-3, &Model::mset}},
      {"msetnx", {-3, &Model::msetnx}},
      {"append", {3, &Model::append}},
      {"strlen", {2, &Model::strlen}},
      {"setrange", {4, &Model::setrange}},
      {"getrange", {4, &Model::getrange}},
      {"incr", {2, &Model::incr}},
      {"decr", {2, &Model::decr}},
      {"incrby", {3, &Model::incrby}},
      {"decrby", {3, &Model::decrby}},
      {"del", {-2, &Model::del}},
      {"unlink", {-2, &Model::del}},
      {"exists", {-2, &Model::exists}},
      {"touch", {-2, &Model::exists}},
      {"type", {2, &Model::type}},
      {"rename", {3, &Model::rename}},
      {"renamenx", {3, &Model::renamenx}},
      {"copy", {-3, &Model::copy}},
      {"move", {3, &Model::move}},
      {"keys", {2, &Model::keys}},
      {"randomkey", {1, &Model::randomkey}},
      {"flushdb", {-1, &Model::flushdb}},
      {"flushall", {-1, &Model::flushall}},
      {"swapdb", {3, &Model::swapdb}},
      {"expire", {-3, &Model::expire_}},
      {"pexpire", {-3, &Model::pexpire}},
      {"expireat", {-3, &Model::expireat}},
      {"pexpireat", {-3, &Model::pexpireat}},
      {"ttl", {2, &Model::ttl}},
      {"pttl", {2, &Model::pttl}},
      {"expiretime", {2, &Model::expiretime}},
      {"pexpiretime", {2, &Model::pexpiretime}},
      {"persist", {2, &Model::persist}},
      {"multi", {1, &Model::multi}},
      {"exec", {1, &Model::exec}},
      {"discard", {1, &Model::discard}},
      {"watch", {-2, &Model::watch}},
      {"unwatch", {1, &Model::unwatch}},
      {"publish", {3, &Model::publish}},
      {"subscribe", {-2, &Model::subscribe}},
      {"psubscribe", {-2, &Model::psubscribe}},
      {"unsubscribe", {-1, &Model::unsubscribe}},
      {"punsubscribe", {-1, &Model::punsubscribe}},
  };
  return kCommands;
}

}  // namespace quoll::sim
