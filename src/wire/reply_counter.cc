#include "wire/reply_counter.h"

#include <algorithm>

#include "base/numbers.h"
#include "wire/reply_parser.h"

namespace quoll::wire {

bool ReplyCounter::feed(base::Bytes bytes) {
  while (!failed_ && !bytes.empty()) {
    if (skip_ > 0) {
      const size_t some = std::min<uint64_t>(skip_, bytes.size());
      fed_ += some;
      bytes.remove_prefix(some);
      if ((skip_ -= some) == 0) value_ends();
      continue;
    }
    const size_t line_end = bytes.find('\n');
    const size_t some = line_end == base::Bytes::npos ? bytes.size() : line_end + 1;
    line_ += bytes.substr(0, some);
    fed_ += some;
    bytes.remove_prefix(some);
    if (line_.size() > kReplyLineMax) failed_ = true;
    if (line_end != base::Bytes::npos && !failed_) failed_ = !take_line();
  }
  return !failed_;
}

bool ReplyCounter::take_line() {
  constexpr size_t kLineEnd = 2;
  if (line_.size() <= kLineEnd) return false;
  const char type = line_[0];
  const base::Bytes text = base::Bytes(line_).substr(1, line_.size() - 1 - kLineEnd);
  const bool scalar = base::Bytes("+-:_,#(").find(type) != base::Bytes::npos;
  int64_t number = 0;
  if (!scalar && !base::parse_int(text, number)) return false;
  line_.clear();
  if (scalar) return value_ends(), true;
  switch (type) {
    case '$':
    case '!':
    case '=':
      if (number > kReplyBulkMax) return false;
      if (number < 0) return value_ends(), true;
      skip_ = static_cast<uint64_t>(number) + kLineEnd;
      return true;
    case '*':
    case '~':
    case '>':
      return open(number);
    case '%':
      return number <= kReplyElementsMax && open(2 * number);
    case '|':
      return number >= 0 && number <= kReplyElementsMax && open(2 * number + 1);
    default:
      return false;
  }
}

bool ReplyCounter::open(int64_t values) {
  if (values > 2 * kReplyElementsMax + 1 || open_.size() >= kReplyDepthMax) return false;
  if (values <= 0) return value_ends(), true;
  open_.push_back(values);
  return true;
}

// What it was the last value of ends with it.
void ReplyCounter::value_ends() {
  while (!open_.empty()) {
    if (--open_.back() > 0) return;
    open_.pop_back();
  }
  ends_.push_back(fed_);
}

}  // namespace quoll::wire
