// Value: one value on its way into an entry. Strings have three forms:
//   bytes    borrowed bytes; stored inside the entry when they fit, else copied into a Blob
//   integer  a 64-bit integer stored in 8 bytes; its text is the canonical decimal
//   heap     an owned Blob, moved
// Every other type is an owned Collection and always of the form heap.
// `raw` marks strings made by modification (APPEND, SETRANGE, SETBIT): OBJECT ENCODING says "raw"
// for them even when they are short, as Redis does. On an integer it marks a copy (COPY), which
// OBJECT REFCOUNT does not count among Redis's shared integers.
#pragma once

#include <utility>

#include "base/blob.h"
#include "base/bytes.h"
#include "base/numbers.h"
#include "data/collection.h"
#include "data/type.h"

namespace quoll::data {

enum class Form : uint8_t { bytes = 0, integer = 1, heap = 2 };

struct Value {
  Type type = Type::string;
  Form form = Form::bytes;
  bool raw = false;
  base::Bytes bytes;
  int64_t integer = 0;
  base::Blob blob;
  Collection collection;

  static Value of_bytes(base::Bytes bytes, bool raw = false) {
    Value value;
    value.bytes = bytes;
    value.raw = raw;
    return value;
  }
  static Value of_integer(int64_t integer) {
    Value value;
    value.form = Form::integer;
    value.integer = integer;
    return value;
  }
  static Value of_blob(base::Blob blob, bool raw = false) {
    Value value;
    value.form = Form::heap;
    value.blob = std::move(blob);
    value.raw = raw;
    return value;
  }
  static Value of_collection(Collection collection) {
    Value value;
    value.type = collection.type();
    value.form = Form::heap;
    value.collection = std::move(collection);
    return value;
  }
  // What SET stores: the integer form when the text is a canonical 64-bit integer. Most texts that
  // are none tell by their first byte.
  static Value of_text(base::Bytes text) {
    int64_t integer;
    const bool may_be = !text.empty() && text.size() <= kIntegerTextMax && text[0] <= '9';
    if (may_be && base::parse_int(text, integer)) return of_integer(integer);
    return of_bytes(text);
  }

  static constexpr size_t kIntegerTextMax = 20;  // "-9223372036854775808"
};

}  // namespace quoll::data
