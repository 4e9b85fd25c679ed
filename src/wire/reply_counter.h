// Finds the ends of whole replies in a stream of RESP2 or RESP3, without taking the values apart:
// for who hands replies on as they are.
//
//   feed("*2\r\n:1\r\n$3\r\nab")    ends() -> {}
//   feed("c\r\n+OK\r\n")            ends() -> {15, 20}
//
// Cost: the bytes of bulks are skipped, others looked at once; memory follows the depth of nesting.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::wire {

class ReplyCounter {
 public:
  // False, now and from now on: these are no replies.
  bool feed(base::Bytes bytes);
  // Behind each whole reply, counted from the first byte fed. An attribute belongs to the value
  // behind it.
  const std::vector<uint64_t>& ends() const { return ends_; }

 private:
  bool take_line();
  bool open(int64_t values);
  void value_ends();

  uint64_t fed_ = 0;
  uint64_t skip_ = 0;          // bytes of a bulk that are still to come, its line end included
  std::string line_;           // the header that is coming
  std::vector<int64_t> open_;  // values that each open collection still lacks
  std::vector<uint64_t> ends_;
  bool failed_ = false;
};

}  // namespace quoll::wire
