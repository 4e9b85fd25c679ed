// The struct library of scripts. Format letters:
//
//   > <  byte order     !n  alignment up to n (a power of two, 8 when missing; 1 at the start)
//   b h l T i[n]        signed integers of 1, 2, 8, 8 and n bytes (4 when missing); unsigned in
//                       upper case    f d  float, double    x  a zero byte    ' '  nothing
//   c[n]                n bytes of a string; c0: all of it, and when read as many as the number
//                       read before says    s  a string and a zero byte
#include <bit>
#include <cctype>
#include <climits>
#include <cstdint>
#include <cstring>

#include "server/lua_modules.h"

namespace quoll::server {
namespace {

constexpr int kIntegerBytesMax = 32;
constexpr int kAlignmentDefault = 8;
static_assert(std::endian::native == std::endian::little);

// One letter of a format with what stands around it.
struct Item {
  enum class Kind { control, integer, real, pad, text, zero_ended };
  Kind kind = Kind::control;
  char letter = 0;
  size_t size = 0;
  size_t padding = 0;  // bytes in front of it
};

// Reads a format; errors are raised in Lua.
class Format {
 public:
  Format(lua_State* lua, const char* text) : lua_(lua), at_(text) {}

  // The next item, for one that begins at `position`. Controls are carried out by obey().
  bool next(size_t position, Item& item) {
    if (*at_ == '\0') return false;
    item = {};
    item.letter = *at_++;
    switch (item.letter) {
      case 'b':
      case 'B':
        integer(item, 1);
        break;
      case 'h':
      case 'H':
        integer(item, sizeof(short));
        break;
      case 'l':
      case 'L':
      case 'T':
        integer(item, sizeof(long));
        break;
      case 'i':
      case 'I':
        integer(item, integer_bytes());
        break;
      case 'f':
        item.kind = Item::Kind::real;
        item.size = sizeof(float);
        break;
      case 'd':
        item.kind = Item::Kind::real;
        item.size = sizeof(double);
        break;
      case 'x':
        item.kind = Item::Kind::pad;
        item.size = 1;
        break;
      case 'c':
        item.kind = Item::Kind::text;
        item.size = static_cast<size_t>(number(1));
        break;
      case 's':
        item.kind = Item::Kind::zero_ended;
        break;
      default:
        break;
    }
    if (item.size == 0 || item.kind == Item::Kind::text) return true;
    size_t step = item.size < alignment_ ? item.size : alignment_;
    item.padding = (step - (position & (step - 1))) & (step - 1);
    return true;
  }

  void obey(char letter) {
    switch (letter) {
      case ' ':
        return;
      case '>':
        big_ = true;
        return;
      case '<':
        big_ = false;
        return;
      case '!': {
        int asked = number(kAlignmentDefault);
        if (asked <= 0 || (asked & (asked - 1)) != 0)
          luaL_error(lua_, "alignment %d is not a power of 2", asked);
        alignment_ = static_cast<size_t>(asked);
        return;
      }
      default:
        luaL_argerror(lua_, 1, lua_pushfstring(lua_, "invalid format option '%c'", letter));
    }
  }

  bool big() const { return big_; }

 private:
  static void integer(Item& item, size_t size) {
    item.kind = Item::Kind::integer;
    item.size = size;
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  int number(int missing) {
    if (!is_digit(*at_)) return missing;
    int value = 0;
    for (; is_digit(*at_); ++at_) {
      int digit = *at_ - '0';
      if (value > (INT_MAX - digit) / 10) luaL_error(lua_, "integral size overflow");
      value = value * 10 + digit;
    }
    return value;
  }

  size_t integer_bytes() {
    int size = number(sizeof(int));
    if (size > kIntegerBytesMax)
      luaL_error(lua_, "integral size %d is larger than limit of %d", size, kIntegerBytesMax);
    return static_cast<size_t>(size);
  }

  lua_State* lua_;
  const char* at_;
  size_t alignment_ = 1;
  bool big_ = false;
};

void add_ordered(luaL_Buffer* out, char* bytes, size_t size, bool big) {
  if (big)
    for (size_t i = 0; i < size / 2; ++i) {
      char other = bytes[size - 1 - i];
      bytes[size - 1 - i] = bytes[i];
      bytes[i] = other;
    }
  luaL_addlstring(out, bytes, size);
}

// What x86-64 makes of numbers that are too large, as Redis lets it.
uint64_t integer_bits(lua_Number number) {
  constexpr lua_Number kSignBit = 9223372036854775808.0;
  if (number >= 2 * kSignBit) return 0;
  if (number >= 0) return static_cast<uint64_t>(number);
  if (number >= -kSignBit) return static_cast<uint64_t>(static_cast<int64_t>(number));
  return uint64_t{1} << 63;
}

void pack_integer(lua_State* lua, luaL_Buffer* out, int argument, const Item& item, bool big) {
  lua_Number number = luaL_checknumber(lua, argument);
  uint64_t value = integer_bits(number);
  char bytes[kIntegerBytesMax] = {};
  std::memcpy(bytes, &value, item.size < sizeof value ? item.size : sizeof value);
  add_ordered(out, bytes, item.size, big);
}

void pack_real(lua_State* lua, luaL_Buffer* out, int argument, const Item& item, bool big) {
  double value = luaL_checknumber(lua, argument);
  char bytes[sizeof(double)];
  auto narrow = static_cast<float>(value);
  if (item.size == sizeof(float))
    std::memcpy(bytes, &narrow, sizeof narrow);
  else
    std::memcpy(bytes, &value, sizeof value);
  add_ordered(out, bytes, item.size, big);
}

int struct_pack(lua_State* lua) {
  Format format(lua, luaL_checkstring(lua, 1));
  int argument = 2;
  size_t position = 0;
  Item item;
  lua_pushnil(lua);  // between the arguments and the buffer's own values
  luaL_Buffer out;
  luaL_buffinit(lua, &out);
  while (format.next(position, item)) {
    for (size_t i = 0; i < item.padding; ++i) luaL_addchar(&out, '\0');
    position += item.padding;
    switch (item.kind) {
      case Item::Kind::control:
        format.obey(item.letter);
        break;
      case Item::Kind::integer:
        pack_integer(lua, &out, argument++, item, format.big());
        break;
      case Item::Kind::real:
        pack_real(lua, &out, argument++, item, format.big());
        break;
      case Item::Kind::pad:
        luaL_addchar(&out, '\0');
        break;
      case Item::Kind::text:
      case Item::Kind::zero_ended: {
        size_t size;
        const char* text = luaL_checklstring(lua, argument++, &size);
        if (item.size == 0) item.size = size;
        luaL_argcheck(lua, size >= item.size, argument, "string too short");
        luaL_addlstring(&out, text, item.size);
        if (item.kind == Item::Kind::text) break;
        luaL_addchar(&out, '\0');
        ++item.size;
        break;
      }
    }
    position += item.size;
  }
  luaL_pushresult(&out);
  return 1;
}

// Beyond eight bytes the higher ones fall off.
lua_Number read_integer(const char* from, const Item& item, bool big) {
  uint64_t value = 0;
  for (size_t i = 0; i < item.size; ++i) {
    size_t at = big ? i : item.size - 1 - i;
    value = value << 8 | static_cast<uint8_t>(from[at]);
  }
  if (std::isupper(item.letter)) return static_cast<lua_Number>(value);
  if (item.size > 0 && item.size < sizeof value) {
    uint64_t sign = ~uint64_t{0} << (item.size * 8 - 1);
    if (value & sign) value |= sign;
  }
  return static_cast<lua_Number>(static_cast<int64_t>(value));
}

lua_Number read_real(const char* from, const Item& item, bool big) {
  char bytes[sizeof(double)];
  for (size_t i = 0; i < item.size; ++i) bytes[i] = from[big ? item.size - 1 - i : i];
  float narrow;
  double value;
  if (item.size == sizeof narrow) {
    std::memcpy(&narrow, bytes, sizeof narrow);
    return static_cast<lua_Number>(narrow);
  }
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

void check_room(lua_State* lua, size_t position, size_t wanted, size_t size) {
  luaL_argcheck(lua, wanted <= size && position <= size - wanted, 2, "data string too short");
}

int struct_unpack(lua_State* lua) {
  Format format(lua, luaL_checkstring(lua, 1));
  size_t size;
  const char* data = luaL_checklstring(lua, 2, &size);
  auto begin = static_cast<size_t>(luaL_optinteger(lua, 3, 1));
  luaL_argcheck(lua, begin > 0, 3, "offset must be 1 or greater");
  size_t position = begin - 1;
  int results = 0;
  Item item;
  while (format.next(position, item)) {
    position += item.padding;
    check_room(lua, position, item.size, size);
    luaL_checkstack(lua, 2, "too many results");
    const char* from = data + position;
    switch (item.kind) {
      case Item::Kind::control:
        format.obey(item.letter);
        break;
      case Item::Kind::pad:
        break;
      case Item::Kind::integer:
        lua_pushnumber(lua, read_integer(from, item, format.big()));
        ++results;
        break;
      case Item::Kind::real:
        lua_pushnumber(lua, read_real(from, item, format.big()));
        ++results;
        break;
      case Item::Kind::text:
        if (item.size == 0) {
          if (results == 0 || !lua_isnumber(lua, -1))
            luaL_error(lua, "format 'c0' needs a previous size");
          item.size = integer_bits(lua_tonumber(lua, -1));
          lua_pop(lua, 1);
          --results;
          check_room(lua, position, item.size, size);
        }
        lua_pushlstring(lua, from, item.size);
        ++results;
        break;
      case Item::Kind::zero_ended: {
        const void* end = std::memchr(from, '\0', size - position);
        if (!end) luaL_error(lua, "unfinished string in data");
        size_t length = static_cast<size_t>(static_cast<const char*>(end) - from);
        lua_pushlstring(lua, from, length);
        item.size = length + 1;
        ++results;
        break;
      }
    }
    position += item.size;
  }
  lua_pushinteger(lua, static_cast<lua_Integer>(position + 1));
  return results + 1;
}

int size_of(lua_State* lua) {
  Format format(lua, luaL_checkstring(lua, 1));
  size_t position = 0;
  Item item;
  while (format.next(position, item)) {
    if (item.kind == Item::Kind::zero_ended) luaL_argerror(lua, 1, "option 's' has no fixed size");
    if (item.kind == Item::Kind::text && item.size == 0)
      luaL_argerror(lua, 1, "option 'c0' has no fixed size");
    if (item.kind == Item::Kind::control && !std::isalnum(static_cast<unsigned char>(item.letter)))
      format.obey(item.letter);
    position += item.padding + item.size;
  }
  lua_pushinteger(lua, static_cast<lua_Integer>(position));
  return 1;
}

}  // namespace

int open_struct(lua_State* lua) {
  lua_createtable(lua, 0, 3);
  lua_pushcfunction(lua, struct_pack);
  lua_setfield(lua, -2, "pack");
  lua_pushcfunction(lua, struct_unpack);
  lua_setfield(lua, -2, "unpack");
  lua_pushcfunction(lua, size_of);
  lua_setfield(lua, -2, "size");
  return 1;
}

}  // namespace quoll::server
