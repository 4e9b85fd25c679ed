#include "cluster/send_queue.h"

#include <algorithm>

namespace quoll::cluster {
namespace {

constexpr size_t kSharedChunkBytes = 256 * 1024;  // small frames are sent together
constexpr size_t kPartsAtOnce = 16;

}  // namespace

void SendQueue::add(base::Bytes bytes) {
  if (bytes.empty()) return;
  if (chunks_.empty() || chunks_.back().size() + bytes.size() > kSharedChunkBytes)
    chunks_.emplace_back();
  chunks_.back() += bytes;
  waiting_ += bytes.size();
}

void SendQueue::send(host::Peer& peer, base::Bytes head, base::Bytes rest) {
  size_t taken = 0;
  if (!blocked_ && chunks_.empty() && !ended_) {
    const base::Bytes parts[] = {head, rest};
    taken = peer.send({parts, rest.empty() ? size_t{1} : size_t{2}});
    if (ended_) return;
    blocked_ = taken < head.size() + rest.size();
  }
  add(head.substr(std::min(taken, head.size())));
  add(rest.substr(taken - std::min(taken, head.size())));
}

void SendQueue::flush(host::Peer& peer) {
  while (!blocked_ && !chunks_.empty() && !ended_) {
    base::Bytes parts[kPartsAtOnce];
    size_t count = 0, offered = 0;
    for (const std::string& chunk : chunks_) {
      if (count == kPartsAtOnce) break;
      parts[count] = base::Bytes(chunk).substr(count == 0 ? sent_ : 0);
      offered += parts[count++].size();
    }
    const size_t taken = peer.send({parts, count});
    if (ended_) return;
    consume(taken);
    blocked_ = taken < offered;
  }
}

void SendQueue::consume(size_t bytes) {
  waiting_ -= bytes;
  while (bytes > 0) {
    const size_t left = chunks_.front().size() - sent_;
    if (bytes < left) {
      sent_ += bytes;
      return;
    }
    bytes -= left;
    sent_ = 0;
    chunks_.pop_front();
  }
}

}  // namespace quoll::cluster
