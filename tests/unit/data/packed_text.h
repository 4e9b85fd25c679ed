// Packed items as text, and bytes from text.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "base/numbers.h"
#include "base/text.h"
#include "data/packed_item.h"

namespace quoll::data {

inline std::string text_of(const PackedItem& item) {
  char text[base::kIntTextMax];
  return std::string(item.text(text));
}

inline std::string unhex(base::Bytes hex) {
  std::string bytes;
  REQUIRE(base::from_hex(hex, bytes));
  return bytes;
}

}  // namespace quoll::data
