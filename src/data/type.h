// The value types, with the names TYPE replies.
#pragma once

#include "base/bytes.h"

namespace quoll::data {

enum class Type : uint8_t { string = 0, list = 1, set = 2, zset = 3, hash = 4, stream = 5 };

constexpr base::Bytes type_name(Type type) {
  constexpr base::Bytes kNames[] = {"string", "list", "set", "zset", "hash", "stream"};
  return kNames[static_cast<unsigned>(type)];
}

}  // namespace quoll::data
