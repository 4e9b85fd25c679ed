// Incremental parser of server replies, RESP2 and RESP3, into a small tree of values: for the links
// to a primary and for tests. Not on the path of client requests.
//
//   feed("*2\r\n:1\r\n$3\r\nab")   next() -> incomplete; the array and its first element are kept
//   feed("c\r\n")                  next() -> ok, [1, "abc"]
//
// Cost: each byte is copied in once and each value once more; a value that is complete is not
// scanned again. Memory follows the bytes that came, not the lengths they declare.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::wire {

struct Reply {
  enum class Type {
    simple,
    error,
    integer,
    bulk,
    null,
    array,
    map,  // elements: key, value, key, value, ...
    set,
    push,
    boolean,
    real,
    big_number,
    verbatim,  // text without the format
    blob_error,
  };

  Type type = Type::null;
  std::string text;     // simple, error, bulk, big_number, verbatim, blob_error; real as received
  std::string format;   // verbatim: "txt"
  int64_t integer = 0;  // integer; boolean: 0 or 1
  double real = 0;
  std::vector<Reply> elements;
  std::vector<Reply> attributes;  // of an attribute in front of the value: key, value, ...

  bool is_error() const { return type == Type::error || type == Type::blob_error; }
  bool is_null() const { return type == Type::null; }
};

constexpr int kReplyDepthMax = 64;                       // nested collections
constexpr int64_t kReplyBulkMax = int64_t{4} << 30;      // bytes of one bulk
constexpr int64_t kReplyElementsMax = int64_t{1} << 31;  // elements of one collection
constexpr size_t kReplyLineMax = 64 * 1024;              // header line or simple string

class ReplyParser {
 public:
  enum class Status { ok, incomplete, error };

  void feed(base::Bytes bytes);
  // Takes the next whole reply. Empty lines between replies (a primary's keepalive) are skipped.
  // After `error` nothing more can be parsed; error_text() says why.
  Status next(Reply& reply);

  const std::string& error_text() const { return error_; }
  size_t pending_bytes() const { return buffer_.size() - pos_; }
  // The bytes behind the last whole reply, when the connection goes on in another format. No reply
  // may be half taken.
  std::string take_rest();

 private:
  struct Open {  // a collection whose elements are still coming
    Reply reply;
    size_t left;
    bool attribute;
  };

  Status take_value(Reply& value, bool& opened);
  Status take_line(base::Bytes& line);
  Status take_scalar(char type, base::Bytes line, Reply& value);
  Status take_bulk(Reply& value);
  Status open_collection(char type, base::Bytes line, Reply& value, bool& opened);
  Status fail(const std::string& text);

  std::string buffer_;
  size_t pos_ = 0;
  size_t scanned_ = 0;      // bytes behind pos_ known to hold no line end
  int64_t bulk_size_ = -1;  // of the bulk being received
  Reply::Type bulk_type_ = Reply::Type::bulk;
  std::vector<Open> open_;
  std::vector<Reply> attributes_;  // complete, waiting for their value
  std::string error_;
};

}  // namespace quoll::wire
