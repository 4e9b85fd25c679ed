#include "server/script_values.h"

#include <cstring>

#include "base/numbers.h"

namespace quoll::server::script_values {
namespace {

using base::Bytes;

constexpr size_t kFormatBytes = 3;  // of a verbatim string

// The rest of the line; `at` moves behind its end.
Bytes line(const char*& at) {
  const char* end = at;
  while (*end != '\r') ++end;
  Bytes text(at, static_cast<size_t>(end - at));
  at = end + 2;
  return text;
}

int64_t number(const char*& at) {
  bool negative = *at == '-';
  if (negative) ++at;
  uint64_t value = 0;
  for (; *at != '\r'; ++at) value = value * 10 + static_cast<uint64_t>(*at - '0');
  at += 2;
  return static_cast<int64_t>(negative ? 0 - value : value);
}

void push(lua_State* lua, Bytes text) { lua_pushlstring(lua, text.data(), text.size()); }

void set(lua_State* lua, const char* field, Bytes text) {
  push(lua, text);
  lua_setfield(lua, -2, field);
}

const char* push_array(lua_State* lua, const char* at, int64_t count) {
  lua_createtable(lua, static_cast<int>(count), 0);
  for (int i = 1; i <= count; ++i) {
    at = push_reply(lua, at);
    lua_rawseti(lua, -2, i);
  }
  return at;
}

// {map = {...}} and {set = {...}}.
const char* push_keyed(lua_State* lua, const char* at, const char* name, int64_t count) {
  lua_createtable(lua, 0, 1);
  lua_createtable(lua, 0, static_cast<int>(count));
  bool is_map = *name == 'm';
  for (int64_t i = 0; i < count; ++i) {
    at = push_reply(lua, at);
    if (is_map)
      at = push_reply(lua, at);
    else
      lua_pushboolean(lua, 1);
    lua_rawset(lua, -3);
  }
  lua_setfield(lua, -2, name);
  return at;
}

double real(Bytes text) {
  double value;
  if (base::parse_double(text, value)) return value;
  return text.front() == '-' ? -__builtin_nan("") : __builtin_nan("");
}

void push_verbatim(lua_State* lua, Bytes body) {
  lua_createtable(lua, 0, 1);
  lua_createtable(lua, 0, 2);
  set(lua, "format", body.substr(0, kFormatBytes));
  set(lua, "string", body.substr(kFormatBytes + 1));
  lua_setfield(lua, -2, "verbatim_string");
}

}  // namespace

void push_error(lua_State* lua, Bytes text) {
  lua_createtable(lua, 0, 4);
  set(lua, "err", text);
}

const char* push_reply(lua_State* lua, const char* at) {
  if (!lua_checkstack(lua, 5)) {
    push_error(lua, "ERR lua stack limit reach when parsing redis.call reply");
    lua_error(lua);
  }
  char type = *at++;
  switch (type) {
    case ':':
      lua_pushnumber(lua, static_cast<lua_Number>(number(at)));
      return at;
    case '$': {
      int64_t size = number(at);
      if (size < 0) {
        lua_pushboolean(lua, 0);
        return at;
      }
      lua_pushlstring(lua, at, static_cast<size_t>(size));
      return at + size + 2;
    }
    case '+':
      lua_createtable(lua, 0, 1);
      set(lua, "ok", line(at));
      return at;
    case '-': {
      push_error(lua, line(at));
      lua_pushboolean(lua, 1);
      lua_setfield(lua, -2, "ignore_error_stats_update");
      return at;
    }
    case '*': {
      int64_t count = number(at);
      if (count >= 0) return push_array(lua, at, count);
      lua_pushboolean(lua, 0);
      return at;
    }
    case '%':
    case '~': {
      int64_t count = number(at);
      return push_keyed(lua, at, type == '%' ? "map" : "set", count);
    }
    case '_':
      lua_pushnil(lua);
      return at + 2;
    case '#':
      lua_pushboolean(lua, *at == 't');
      return at + 3;
    case ',':
      lua_createtable(lua, 0, 1);
      lua_pushnumber(lua, real(line(at)));
      lua_setfield(lua, -2, "double");
      return at;
    case '(':
      lua_createtable(lua, 0, 1);
      set(lua, "big_number", line(at));
      return at;
    case '=': {
      int64_t size = number(at);
      push_verbatim(lua, {at, static_cast<size_t>(size)});
      return at + size + 2;
    }
    default:  // '|': attributes are not shown to scripts, the value behind them is
      for (int64_t values = number(at) * 2; values > 0; --values) {
        at = push_reply(lua, at);
        lua_pop(lua, 1);
      }
      return push_reply(lua, at);
  }
}

namespace {

// Pushes the field without asking metatables; false and nothing pushed unless it has the type.
bool push_field(lua_State* lua, const char* name, int type) {
  lua_pushstring(lua, name);
  lua_rawget(lua, -2);
  if (lua_type(lua, -1) == type) return true;
  lua_pop(lua, 1);
  return false;
}

Bytes text_at_top(lua_State* lua) {
  size_t size;
  const char* text = lua_tolstring(lua, -1, &size);
  return {text, size};
}

class ValueWriter {
 public:
  ValueWriter(lua_State* lua, wire::ReplyWriter& reply, int script_protocol, bool& counted)
      : lua_(lua), reply_(reply), script_protocol_(script_protocol), counted_(counted) {}

  // Pops the value at the top.
  void write() {
    if (!lua_checkstack(lua_, 4)) {
      reply_.error("ERR reached lua stack limit");
      lua_pop(lua_, 1);
      return;
    }
    switch (lua_type(lua_, -1)) {
      case LUA_TSTRING:
        reply_.bulk(text_at_top(lua_));
        break;
      case LUA_TBOOLEAN:
        write_boolean(lua_toboolean(lua_, -1));
        break;
      case LUA_TNUMBER:
        write_number(lua_tonumber(lua_, -1));
        break;
      case LUA_TTABLE:
        write_table();
        break;
      default:
        reply_.null();
    }
    lua_pop(lua_, 1);
  }

 private:
  void write_boolean(bool value) {
    if (script_protocol_ >= 3)
      reply_.boolean(value);
    else if (value)
      reply_.integer(1);
    else
      reply_.null();
  }

  // What the processor makes of numbers beyond an integer, as Redis replies them.
  void write_number(lua_Number value) {
    constexpr lua_Number kBound = 9223372036854775808.0;
    bool fits = value >= -kBound && value < kBound;
    reply_.integer(fits ? static_cast<int64_t>(value) : INT64_MIN);
  }

  void write_table() {
    if (push_field(lua_, "err", LUA_TSTRING)) {
      reply_.error(text_at_top(lua_));
      lua_pop(lua_, 1);
      if (!push_field(lua_, "ignore_error_stats_update", LUA_TBOOLEAN)) return;
      counted_ = lua_toboolean(lua_, -1);
    } else if (push_field(lua_, "ok", LUA_TSTRING)) {
      reply_.simple(text_at_top(lua_));
    } else if (push_field(lua_, "double", LUA_TNUMBER)) {
      reply_.real(lua_tonumber(lua_, -1));
    } else if (push_field(lua_, "map", LUA_TTABLE)) {
      write_keyed(true);
    } else if (push_field(lua_, "set", LUA_TTABLE)) {
      write_keyed(false);
    } else if (push_field(lua_, "big_number", LUA_TSTRING)) {
      // Digits are not checked, but they stay on one line.
      std::string digits(text_at_top(lua_));
      for (char& c : digits)
        if (c == '\r' || c == '\n') c = ' ';
      reply_.big_number(digits);
    } else if (!push_field(lua_, "verbatim_string", LUA_TTABLE)) {
      return write_array();
    } else if (!write_verbatim()) {
      lua_pop(lua_, 1);
      return write_array();
    }
    lua_pop(lua_, 1);
  }

  void write_keyed(bool is_map) {
    size_t count = 0;
    for (lua_pushnil(lua_); lua_next(lua_, -2); ++count) lua_pop(lua_, 1);
    is_map ? reply_.map(count) : reply_.set(count);
    for (lua_pushnil(lua_); lua_next(lua_, -2);) {
      if (is_map) {
        lua_pushvalue(lua_, -2);
        write();
      } else {
        lua_pop(lua_, 1);
        lua_pushvalue(lua_, -1);
      }
      write();
    }
  }

  bool write_verbatim() {
    if (!push_field(lua_, "format", LUA_TSTRING)) return false;
    Bytes format = text_at_top(lua_);
    bool good = false;
    lua_insert(lua_, -2);  // below the table: `format` stays alive
    if (push_field(lua_, "string", LUA_TSTRING)) {
      good = true;
      // A format has three letters: longer ones are cut, shorter ones are filled up.
      char three[kFormatBytes] = {' ', ' ', ' '};
      std::memcpy(three, format.data(), std::min(format.size(), kFormatBytes));
      reply_.verbatim(text_at_top(lua_), {three, kFormatBytes});
      lua_pop(lua_, 1);
    }
    lua_remove(lua_, -2);
    return good;
  }

  void write_array() {
    int count = 0;
    for (;; ++count) {
      lua_rawgeti(lua_, -1, count + 1);
      bool end = lua_isnil(lua_, -1);
      lua_pop(lua_, 1);
      if (end) break;
    }
    reply_.array(static_cast<size_t>(count));
    for (int i = 1; i <= count; ++i) {
      lua_rawgeti(lua_, -1, i);
      write();
    }
  }

  lua_State* lua_;
  wire::ReplyWriter& reply_;
  int script_protocol_;
  bool& counted_;
};

}  // namespace

void write_value(lua_State* lua, wire::ReplyWriter& reply, int script_protocol, bool& counted) {
  ValueWriter(lua, reply, script_protocol, counted).write();
}

}  // namespace quoll::server::script_values
