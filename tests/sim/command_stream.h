// Random commands that the model knows, for one client of several. Keys are few and equally long,
// so that clients meet on them; TTLs range from a millisecond to days.
#pragma once

#include "tests/sim/model.h"
#include "tests/sim/sim_chance.h"

namespace quoll::sim {

class CommandStream {
 public:
  struct Style {
    bool transactions = true;
    bool messages = true;   // SUBSCRIBE and the like
    bool databases = true;  // SELECT, MOVE, SWAPDB, FLUSHDB
    int64_t keys = 12;
  };
  CommandStream(uint64_t seed, const Style& style) : chance_(seed), style_(style) {}

  Words next(Millis wall);
  void begin_again() { in_multi_ = subscribed_ = resp3_ = false; }  // on a new connection

 private:
  bool one_in(int64_t n) { return chance_.between(1, n) == 1; }
  std::string key() { return "k" + std::to_string(10 + chance_.between(0, style_.keys - 1)); }
  std::string database() { return std::to_string(chance_.between(0, 2)); }
  std::string number();
  std::string value();
  std::string milliseconds();
  Words any(Millis wall);
  Words text_command();
  Words key_command();
  Words deadline_command(Millis wall);
  Words set_command(Millis wall);
  Words session_command();
  Words database_command();
  Words message_command();

  SimChance chance_;
  Style style_;
  bool in_multi_ = false;
  bool subscribed_ = false;
  bool resp3_ = false;
};

}  // namespace quoll::sim
