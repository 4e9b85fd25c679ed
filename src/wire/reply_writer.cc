#include "wire/reply_writer.h"

#include <cstring>

#include "base/check.h"
#include "base/numbers.h"

namespace quoll::wire {
namespace {

constexpr size_t kHeaderCharsMax = 1 + base::kIntTextMax + 2;

// Writes the decimal digits and returns one past the last. Most lengths have one or two.
inline char* put_unsigned(char* at, uint64_t value) {
  if (value < 10) {
    *at = static_cast<char>('0' + value);
    return at + 1;
  }
  if (value < 100) {
    at[0] = static_cast<char>('0' + value / 10);
    at[1] = static_cast<char>('0' + value % 10);
    return at + 2;
  }
  return at + base::format_uint(value, at);
}

inline char* put_end(char* at) {
  std::memcpy(at, "\r\n", 2);
  return at + 2;
}

inline char* put_bytes(char* at, base::Bytes bytes) {
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

}  // namespace

void ReplyWriter::header(char prefix, uint64_t value) {
  char* start = out_->reserve(kHeaderCharsMax);
  *start = prefix;
  char* at = put_end(put_unsigned(start + 1, value));
  out_->commit(static_cast<size_t>(at - start));
}

void ReplyWriter::line(char prefix, base::Bytes text) {
  if (text.size() > kSpanBulkMax) {
    raw({&prefix, 1});
    size_t from = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\r' && text[i] != '\n') continue;
      raw(text.substr(from, i - from));
      raw(" ");
      from = i + 1;
    }
    raw(text.substr(from));
    raw("\r\n");
    return;
  }
  char* start = out_->reserve(text.size() + 3);
  *start = prefix;
  char* at = start + 1;
  for (char c : text) *at++ = c == '\r' || c == '\n' ? ' ' : c;
  at = put_end(at);
  out_->commit(static_cast<size_t>(at - start));
}

void ReplyWriter::simple(base::Bytes text) { line('+', text); }

void ReplyWriter::error(base::Bytes text) {
  ++errors_;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  base::Bytes code = text.substr(0, text.find(' ')).substr(0, kErrorCodeMax);
  error_code_size_ = code.copy(error_code_, kErrorCodeMax);
  line('-', text);
}

void ReplyWriter::integer(int64_t value) {
  char* start = out_->reserve(kHeaderCharsMax);
  *start = ':';
  char* at = put_end(start + 1 + base::format_int(value, start + 1));
  out_->commit(static_cast<size_t>(at - start));
}

void ReplyWriter::bulk(base::Bytes bytes) {
  if (bytes.size() > kSpanBulkMax) {
    header('$', bytes.size());
    out_->append(bytes);
    out_->append("\r\n");
    return;
  }
  static_assert(kHeaderCharsMax + kSpanBulkMax + 2 <= kChunkBytes / 2);
  char* start = out_->reserve(kHeaderCharsMax + bytes.size() + 2);
  *start = '$';
  char* at = put_end(put_unsigned(start + 1, bytes.size()));
  at = put_end(put_bytes(at, bytes));
  out_->commit(static_cast<size_t>(at - start));
}

void ReplyWriter::bulk_integer(int64_t value) {
  char text[base::kIntTextMax];
  bulk({text, base::format_int(value, text)});
}

void ReplyWriter::null() {
  if (protocol_ == 2) {
    raw("$-1\r\n");
  } else {
    raw("_\r\n");
  }
}

void ReplyWriter::null_array() {
  if (protocol_ == 2) {
    raw("*-1\r\n");
  } else {
    raw("_\r\n");
  }
}

void ReplyWriter::array(size_t count) { header('*', count); }

void ReplyWriter::map(size_t pairs) {
  if (protocol_ == 2) {
    header('*', pairs * 2);
  } else {
    header('%', pairs);
  }
}

void ReplyWriter::set(size_t count) { header(protocol_ == 2 ? '*' : '~', count); }

void ReplyWriter::push(size_t count) { header(protocol_ == 2 ? '*' : '>', count); }

void ReplyWriter::attribute(size_t pairs) {
  QUOLL_CHECK(protocol_ >= 3);
  header('|', pairs);
}

void ReplyWriter::real(double value) {
  if (protocol_ == 2) {
    char text[base::kDoubleTextMax];
    bulk({text, base::format_double(value, text)});
    return;
  }
  char* start = out_->reserve(base::kDoubleTextMax + 3);
  *start = ',';
  char* at = put_end(start + 1 + base::format_double(value, start + 1));
  out_->commit(static_cast<size_t>(at - start));
}

void ReplyWriter::boolean(bool value) {
  if (protocol_ == 2) {
    raw(value ? ":1\r\n" : ":0\r\n");
  } else {
    raw(value ? "#t\r\n" : "#f\r\n");
  }
}

void ReplyWriter::big_number(base::Bytes digits) {
  if (protocol_ == 2) {
    bulk(digits);
  } else {
    line('(', digits);
  }
}

void ReplyWriter::verbatim(base::Bytes text, base::Bytes format) {
  if (protocol_ == 2) {
    bulk(text);
    return;
  }
  QUOLL_CHECK(format.size() == 3);
  header('=', text.size() + 4);
  raw(format);
  raw(":");
  raw(text);
  raw("\r\n");
}

void ReplyWriter::begin_deferred() {
  deferred_.push_back({out_, std::make_unique<OutQueue>()});
  out_ = deferred_.back().body.get();
}

void ReplyWriter::end_deferred(Kind kind, size_t count) {
  QUOLL_CHECK(!deferred_.empty());
  Deferred last = std::move(deferred_.back());
  deferred_.pop_back();
  out_ = last.outer;
  switch (kind) {
    case Kind::array:
      array(count);
      break;
    case Kind::map:
      map(count);
      break;
    case Kind::set:
      set(count);
      break;
    case Kind::push:
      push(count);
      break;
  }
  out_->splice(*last.body);
}

}  // namespace quoll::wire
