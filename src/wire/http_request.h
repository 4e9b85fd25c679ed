// HttpRequestParser: requests of HTTP/1.0 and 1.1 as monitors send them: a line, headers, no body.
// The grammar is http_parser's (the library that Node.js used until 2019); this class bounds it and
// keeps what an answer needs.
//
//   GET /metrics?x HTTP/1.1\r\n  Host: ...\r\n  ...  \r\n
//
// Cost: one pass over the bytes; memory for the target only, at most kTargetMax.
// Invariant: whatever the bytes, it ends in `complete` or `broken` after kRequestMax of them.
#pragma once

#include <http_parser.h>

#include <string>

#include "base/bytes.h"

namespace quoll::wire {

class HttpRequestParser {
 public:
  static constexpr size_t kRequestMax = 8 * 1024;  // bytes of line and headers
  static constexpr size_t kTargetMax = 1024;       // bytes

  enum class State { more, complete, broken };

  HttpRequestParser() { reset(); }
  void reset();  // for the next request of a connection
  // Takes bytes up to the end of the request; returns how many it took.
  size_t feed(base::Bytes bytes);

  State state() const { return state_; }
  // Of a broken request: the status that says why.
  int status() const { return status_; }
  base::Bytes method() const;
  bool is_head() const { return parser_.method == HTTP_HEAD; }
  // Of a complete request: the path without the query.
  base::Bytes path() const;
  bool keep_alive() const { return keep_alive_; }
  bool begun() const { return taken_ > 0; }

 private:
  static int on_target(http_parser* parser, const char* bytes, size_t size);
  static int on_headers_complete(http_parser* parser);
  static int on_message_complete(http_parser* parser);
  void fail(int status);

  http_parser parser_;
  std::string target_;
  size_t taken_ = 0;
  State state_ = State::more;
  int status_ = 0;
  bool keep_alive_ = false;
};

}  // namespace quoll::wire
