// Model: what the keyspace, transactions and messages must look like, in the plainest way: a map
// per database, commands one after the other. Written from the documented behaviour and apart from
// the server's code. Only strings; replies as RESP2 or RESP3 bytes.
//
// Keys past their deadline are invisible at once and stay until removed_expired() says that the
// server has removed them: a clock that steps back shows the others again.
// Notifications: the classes g and $, both as keyspace and keyevent (KEg$).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::sim {

using base::Millis;
using Words = std::vector<std::string>;

// One reply or push that a session must get.
struct Expected {
  enum class Kind { exact, permuted, any_of } kind = Kind::exact;
  std::string bytes;  // any_of: of one of the choices, all being equally long
  Words choices;      // permuted: the elements; any_of: the whole replies
  bool matches(const std::string& raw) const;
};

class Model {
 public:
  static constexpr unsigned kDatabases = 16;
  explicit Model(bool notifies = false) : notifies_(notifies) {}

  // Sessions by the server's ids.
  void open(uint64_t session);
  void close(uint64_t session);  // what it was to get may still be under way
  // Runs one command; replies and pushes are appended to what sessions expect.
  void execute(uint64_t session, const Words& args, Millis now);
  std::deque<Expected>& expected(uint64_t session) { return sessions_.at(session).expected; }
  uint64_t expected_bytes(uint64_t session) const { return sessions_.at(session).bytes; }

  // The server removed an expired key at this wall time. False when it must not have: the key has
  // not expired. Unknown keys are fine: the model had removed them in passing.
  bool removed_expired(unsigned db, const std::string& key, Millis at);
  size_t live_keys(unsigned db, Millis now) const;
  size_t keys(unsigned db) const { return databases_[db].size(); }

 private:
  struct Key {
    std::string value;
    std::optional<Millis> deadline;
    bool expired(Millis now) const { return deadline && *deadline <= now; }
  };
  struct Watch {
    unsigned db;
    std::string key;
    bool was_expired;
  };
  struct Session {
    std::deque<Expected> expected;
    uint64_t bytes = 0;
    int protocol = 2;
    unsigned db = 0;
    bool multi = false;
    bool aborted = false;
    bool dirty = false;
    bool in_exec = false;
    std::vector<Words> queue;
    std::vector<Watch> watches;
    std::set<std::string> channels;
    std::set<std::string> patterns;
    Words aside;  // pushes to itself while it runs a command
  };
  struct Command {
    int arity;  // as Redis: negative is "at least"
    void (Model::*run)();
  };

  static const std::map<std::string, Command>& commands();
  bool admit(const std::string& name, const Command* command);
  void end_transaction();

  // Replies of the command that runs.
  void say(std::string bytes);
  void say_integer(int64_t value) { say(":" + std::to_string(value) + "\r\n"); }
  void say_error(const std::string& text) { say("-" + text + "\r\n"); }
  void say_ok() { say("+OK\r\n"); }
  void say_null() { say(null()); }
  std::string null() const { return session_->protocol == 3 ? "_\r\n" : "$-1\r\n"; }
  void push(Session& to, std::string bytes);
  size_t publish(const std::string& channel, const std::string& message);

  // Keys of the session's database.
  const std::string& arg(size_t i) const { return (*args_)[i]; }
  size_t argc() const { return args_->size(); }
  Key* find(unsigned db, const std::string& key);
  Key* find(const std::string& key) { return find(session_->db, key); }
  bool take_away(unsigned db, const std::string& key);  // an expired key found in passing
  void touch(unsigned db, const std::string& key, char kind, const char* event);
  void touch(const std::string& key, char kind, const char* event) {
    touch(session_->db, key, kind, event);
  }
  void put(const std::string& key, std::string value, std::optional<Millis> deadline);
  bool integer(const std::string& text, int64_t& value);
  void add(const std::string& key, int64_t by);
  bool deadline_of(const std::string& unit, const std::string& number, const char* command,
                   Millis& deadline);
  void expire(bool seconds, bool absolute);
  void time_left(bool seconds, bool absolute);
  void database_changes(unsigned a, unsigned b);
  bool database_of(const std::string& text, unsigned& db);
  void confirm(const char* word, const std::string& name);

  // Commands, named like them.
  void ping();
  void echo();
  void select();
  void hello();
  void reset();
  void get();
  void set();
  void setnx();
  void setex();
  void psetex();
  void getset();
  void getdel();
  void getex();
  void mget();
  void mset();
  void msetnx();
  void append();
  void strlen();
  void setrange();
  void getrange();
  void incr();
  void decr();
  void incrby();
  void decrby();
  void del();
  void exists();
  void type();
  void rename();
  void renamenx();
  void copy();
  void move();
  void keys();
  void randomkey();
  void flushdb();
  void flushall();
  void swapdb();
  void expire_() { expire(true, false); }
  void pexpire() { expire(false, false); }
  void expireat() { expire(true, true); }
  void pexpireat() { expire(false, true); }
  void ttl() { time_left(true, false); }
  void pttl() { time_left(false, false); }
  void expiretime() { time_left(true, true); }
  void pexpiretime() { time_left(false, true); }
  void persist();
  void multi();
  void exec();
  void discard();
  void watch();
  void unwatch();
  void publish();
  void subscribe();
  void psubscribe();
  void unsubscribe();
  void punsubscribe();

  bool notifies_;
  std::map<std::string, Key> databases_[kDatabases];
  std::map<uint64_t, Session> sessions_;
  // Of the command that runs.
  Session* session_ = nullptr;
  uint64_t session_id_ = 0;
  const Words* args_ = nullptr;
  Millis now_ = 0;
};

std::string resp_bulk(const std::string& text);

}  // namespace quoll::sim
