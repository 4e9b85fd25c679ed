#include "server/change_window.h"

#include <algorithm>

namespace quoll::server {

void ChangeWindow::begin(store::Seq floor) {
  std::deque<Held>().swap(held_);
  floor_ = last_ = floor;
  bytes_ = 0;
}

void ChangeWindow::set_limit(size_t bytes_max) {
  bytes_max_ = bytes_max;
  shrink();
}

void ChangeWindow::add(store::Seq seq, base::Bytes text) {
  held_.push_back({seq, std::string(text)});
  bytes_ += cost(held_.back());
  last_ = seq;
  shrink();
}

void ChangeWindow::shrink() {
  while (bytes_ > bytes_max_ && !held_.empty()) {
    bytes_ -= cost(held_.front());
    floor_ = held_.front().seq;
    held_.pop_front();
    ++dropped_;
  }
}

const ChangeWindow::Held* ChangeWindow::behind(store::Seq seq) const {
  auto at = std::upper_bound(held_.begin(), held_.end(), seq,
                             [](store::Seq one, const Held& held) { return one < held.seq; });
  return at == held_.end() ? nullptr : &*at;
}

}  // namespace quoll::server
