// CountedMap: a reply of names and values whose number is known only at the end; a map in RESP3.
// Whoever has more kinds of values derives from it and calls start() before each.
#pragma once

#include "wire/reply_writer.h"

namespace quoll::commands {

class CountedMap {
 public:
  explicit CountedMap(wire::ReplyWriter& reply) : reply_(reply) { reply_.begin_deferred(); }
  void number(base::Bytes name, int64_t value) {
    start(name);
    reply_.integer(value);
  }
  void end() { reply_.end_deferred(wire::ReplyWriter::Kind::map, count_); }

 protected:
  void start(base::Bytes name) {
    reply_.bulk(name);
    ++count_;
  }
  wire::ReplyWriter& reply_;

 private:
  size_t count_ = 0;
};

}  // namespace quoll::commands
