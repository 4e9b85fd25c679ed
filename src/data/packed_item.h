// One element of a packed form (listpack, ziplist, zipmap): bytes or an integer. An integer stands
// for its canonical decimal text.
#pragma once

#include "base/bytes.h"
#include "base/numbers.h"

namespace quoll::data {

struct PackedItem {
  base::Bytes bytes;  // borrowed from the packed form; empty for integers
  int64_t integer = 0;
  bool is_integer = false;

  static PackedItem of_bytes(base::Bytes bytes) { return {bytes, 0, false}; }
  static PackedItem of_integer(int64_t integer) { return {{}, integer, true}; }
  // The element as text; `buffer` holds it when it is an integer.
  base::Bytes text(char (&buffer)[base::kIntTextMax]) const {
    return is_integer ? base::Bytes(buffer, base::format_int(integer, buffer)) : bytes;
  }
};

}  // namespace quoll::data
