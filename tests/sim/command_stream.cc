#include "tests/sim/command_stream.h"

namespace quoll::sim {

std::string CommandStream::number() {
  switch (chance_.between(0, 9)) {
    case 0:
      return "9223372036854775807";
    case 1:
      return "-9223372036854775807";
    case 2:
      return "12x";
    default:
      return std::to_string(chance_.between(-50, 1000));
  }
}

std::string CommandStream::value() {
  if (one_in(3)) return number();
  int64_t size = one_in(12) ? chance_.between(40, 3000) : chance_.between(0, 24);
  std::string text(static_cast<size_t>(size), ' ');
  for (char& c : text)
    c = static_cast<char>(one_in(20) ? chance_.draw() : 'a' + chance_.draw() % 26);
  return text;
}

// Mostly short enough to run out while the scenario runs.
std::string CommandStream::milliseconds() {
  switch (chance_.between(0, 9)) {
    case 0:
      return std::to_string(chance_.between(1, 3));
    case 1:
      return std::to_string(chance_.between(1, 9) * 86'400'000);
    case 2:
      return std::to_string(chance_.between(-5, 0));
    default:
      return std::to_string(chance_.between(1, 2500));
  }
}

Words CommandStream::text_command() {
  switch (chance_.between(0, 13)) {
    case 0:
      return {"APPEND", key(), value()};
    case 1:
      return {"STRLEN", key()};
    case 2:
      return {"SETRANGE", key(), std::to_string(chance_.between(-1, 40)), value()};
    case 3:
      return {"GETRANGE", key(), std::to_string(chance_.between(-30, 30)),
              std::to_string(chance_.between(-30, 30))};
    case 4:
      return {"INCR", key()};
    case 5:
      return {"decr", key()};
    case 6:
      return {"INCRBY", key(), number()};
    case 7:
      return {"DECRBY", key(), number()};
    case 8:
      return {"MGET", key(), key(), key()};
    case 9:
      return {"MSET", key(), value(), key(), value()};
    case 10:
      return {"MSETNX", key(), value(), key(), value()};
    case 11:
      return {"GETSET", key(), value()};
    case 12:
      return {"GETDEL", key()};
    default:
      return {"SETNX", key(), value()};
  }
}

Words CommandStream::key_command() {
  switch (chance_.between(0, 11)) {
    case 0:
      return {"DEL", key(), key()};
    case 1:
      return {"UNLINK", key()};
    case 2:
      return {"EXISTS", key(), key(), key()};
    case 3:
      return {"TOUCH", key(), key()};
    case 4:
      return {"TYPE", key()};
    case 5:
      return {"RENAME", key(), key()};
    case 6:
      return {"RENAMENX", key(), key()};
    case 7:
      return {"COPY", key(), key()};
    case 8:
      return {"COPY", key(), key(), "REPLACE"};
    case 9:
      return in_multi_ ? Words{"GET", key()} : Words{"KEYS", one_in(2) ? "*" : "k1*"};
    case 10:
      return in_multi_ ? Words{"GET", key()} : Words{"RANDOMKEY"};
    default:
      return {"COPY", key(), key(), "DB", database(), "REPLACE"};
  }
}

Words CommandStream::deadline_command(Millis wall) {
  static constexpr const char* kConditions[] = {"NX", "XX", "GT", "LT"};
  std::string unix_ms = std::to_string(wall + chance_.between(-200, 3000));
  Words words;
  switch (chance_.between(0, 11)) {
    case 0:
      return {"TTL", key()};
    case 1:
      return {"PTTL", key()};
    case 2:
      return {"EXPIRETIME", key()};
    case 3:
      return {"PEXPIRETIME", key()};
    case 4:
      return {"PERSIST", key()};
    case 5:
      return {"GETEX", key(), "PX", milliseconds()};
    case 6:
      return {"GETEX", key(), "PERSIST"};
    case 7:
      return {"GETEX", key(), "PXAT", unix_ms};
    case 8:
      words = {"EXPIRE", key(), std::to_string(chance_.between(-1, 4))};
      break;
    case 9:
      words = {"PEXPIREAT", key(), unix_ms};
      break;
    default:
      words = {"PEXPIRE", key(), milliseconds()};
      break;
  }
  if (one_in(3)) words.push_back(kConditions[chance_.between(0, 3)]);
  return words;
}

Words CommandStream::set_command(Millis wall) {
  Words words = {"SET", key(), value()};
  switch (chance_.between(0, 9)) {
    case 0:
      return {"PSETEX", key(), milliseconds(), value()};
    case 1:
      return {"SETEX", key(), std::to_string(chance_.between(0, 3)), value()};
    case 2:
      words.insert(words.end(), {"EX", std::to_string(chance_.between(0, 3))});
      break;
    case 3:
      words.insert(words.end(), {"PX", milliseconds()});
      break;
    case 4:
      words.insert(words.end(), {"PXAT", std::to_string(wall + chance_.between(500, 3000))});
      break;
    case 5:
      words.push_back("KEEPTTL");
      break;
    default:
      break;
  }
  if (one_in(4)) words.push_back(one_in(2) ? "NX" : "XX");
  if (one_in(4)) words.push_back("GET");
  return words;
}

Words CommandStream::session_command() {
  switch (chance_.between(0, 9)) {
    case 0:
      return {"PING"};
    case 1:
      return {"PING", value()};
    case 2:
      return {"ECHO", value()};
    case 3:
      return {"HELLO", one_in(4) ? "2" : "3"};
    case 4:
      return {"GET"};
    case 5:
      return {"nosuch", "with", "words"};
    case 6:
      return {"EXEC"};
    case 7:
      return {"DISCARD"};
    case 8:
      return {"UNWATCH"};
    default:
      return {"RESET"};
  }
}

Words CommandStream::database_command() {
  switch (chance_.between(0, 7)) {
    case 0:
      return {"SWAPDB", database(), database()};
    case 1:
      return {one_in(4) ? "FLUSHALL" : "FLUSHDB"};
    case 2:
      return {"MOVE", key(), database()};
    case 3:
      return {"SELECT", one_in(9) ? "99" : database()};
    default:
      return {"SELECT", one_in(2) ? "0" : database()};
  }
}

Words CommandStream::message_command() {
  std::string channel = "c" + std::to_string(chance_.between(0, 3));
  switch (chance_.between(0, 7)) {
    case 0:
      return {"SUBSCRIBE", channel};
    case 1:
      return {"UNSUBSCRIBE", channel};
    case 2:
      return {"PSUBSCRIBE", one_in(2) ? "c*" : "__key*__:*"};
    case 3:
      return {"PUNSUBSCRIBE", one_in(2) ? "c*" : "__key*__:*"};
    default:
      return {"PUBLISH", channel, value()};
  }
}

Words CommandStream::any(Millis wall) {
  int64_t dice = chance_.between(0, 99);
  if (dice < 20) return {"GET", key()};
  if (dice < 38) return set_command(wall);
  if (dice < 56) return text_command();
  if (dice < 68) return key_command();
  if (dice < 86) return deadline_command(wall);
  if (dice < 90) return session_command();
  if (dice < 94 && style_.databases) return database_command();
  if (style_.messages) return message_command();
  return {"GET", key()};
}

Words CommandStream::next(Millis wall) {
  // A RESP2 subscriber can hardly do anything else.
  if (subscribed_ && !resp3_ && one_in(6)) {
    subscribed_ = in_multi_ = false;
    return {"RESET"};
  }
  if (style_.transactions && one_in(14)) {
    if (in_multi_) {
      in_multi_ = false;
      return {one_in(8) ? "DISCARD" : "EXEC"};
    }
    if (one_in(2)) return {"WATCH", key(), key()};
    in_multi_ = true;
    return {"MULTI"};
  }
  Words words = any(wall);
  const std::string& name = words[0];
  // Their many replies, or what they end, would have to be told apart inside EXEC.
  bool apart = name == "HELLO" || name == "SUBSCRIBE" || name == "PSUBSCRIBE" ||
               name == "UNSUBSCRIBE" || name == "PUNSUBSCRIBE";
  if (in_multi_ && apart) return {"GET", key()};
  if (name == "EXEC" || name == "DISCARD" || name == "RESET") in_multi_ = false;
  if (name == "SUBSCRIBE" || name == "PSUBSCRIBE") subscribed_ = true;
  if (name == "RESET") subscribed_ = resp3_ = false;
  if (name == "HELLO") resp3_ = words[1] == "3";
  return words;
}

}  // namespace quoll::sim
