// ReplyWriter: turns reply values into RESP2 or RESP3 bytes at the end of an OutQueue. The only
// producer of reply bytes. Types that RESP2 lacks are written as Redis writes them to RESP2
// clients (map -> flat array, boolean -> integer, double -> bulk string, ...).
//
// Cost: one reserve() and one pass for integers, headers and bulks up to kSpanBulkMax; no
// allocation besides the queue's chunks, except for deferred collections.
#pragma once

#include <memory>
#include <vector>

#include "base/bytes.h"
#include "wire/out_queue.h"

namespace quoll::wire {

constexpr size_t kSpanBulkMax = 2 * 1024;  // bytes of a bulk written together with its header

class ReplyWriter {
 public:
  explicit ReplyWriter(OutQueue& out) : out_(&out) {}

  int protocol() const { return protocol_; }  // 2 or 3
  void set_protocol(int version) { protocol_ = version; }

  void ok() { raw("+OK\r\n"); }
  void simple(base::Bytes text);  // CR and LF become spaces
  // `text` starts with its code ("ERR ...", "WRONGTYPE ..."). CR and LF at its end are dropped,
  // others become spaces.
  void error(base::Bytes text);
  void integer(int64_t value);
  void bulk(base::Bytes bytes);
  void bulk_integer(int64_t value);  // decimal text as a bulk string
  void null();                       // RESP2 "$-1", RESP3 "_"
  void null_array();                 // RESP2 "*-1", RESP3 "_"
  void array(size_t count);
  void map(size_t pairs);
  void set(size_t count);
  void push(size_t count);       // RESP2: array
  void attribute(size_t pairs);  // RESP3 only; callers test protocol()
  void real(double value);       // RESP3 ",1.5", RESP2 bulk; "%.17g" as redis-server 7.0 does
  void boolean(bool value);      // RESP3 "#t", RESP2 ":1"
  void big_number(base::Bytes digits);                          // RESP2 bulk
  void verbatim(base::Bytes text, base::Bytes format = "txt");  // RESP2 bulk
  void raw(base::Bytes bytes) { out_->append(bytes); }          // ready RESP

  // A collection whose length is known only afterwards: what is written between begin and end
  // becomes its body. May nest. `end` takes elements (array, set, push) or pairs (map).
  enum class Kind { array, map, set, push };
  void begin_deferred();
  void end_deferred(Kind kind, size_t count);

  // Total errors written since construction (the dispatcher notices failed calls by it).
  uint64_t errors() const { return errors_; }
  // The first word of the last error: what errorstats counts by.
  base::Bytes last_error_code() const { return {error_code_, error_code_size_}; }

 private:
  void header(char prefix, uint64_t value);
  void line(char prefix, base::Bytes text);  // text without CR and LF

  OutQueue* out_;
  // The queues that wait while bodies of deferred collections are written, outermost first; the
  // body being written is that of the last one.
  struct Deferred {
    OutQueue* outer;
    std::unique_ptr<OutQueue> body;
  };
  std::vector<Deferred> deferred_;
  int protocol_ = 2;
  uint64_t errors_ = 0;
  static constexpr size_t kErrorCodeMax = 32;  // bytes kept of a code
  char error_code_[kErrorCodeMax];
  size_t error_code_size_ = 0;
};

}  // namespace quoll::wire
