#include "cluster/send_queue.h"

namespace quoll::cluster {
namespace {

constexpr size_t kSharedChunkBytes = 64 * 1024;  // small frames are sent together
constexpr size_t kPartsAtOnce = 16;

}  // namespace

void SendQueue::add(base::Bytes bytes) {
  if (chunks_.empty() || chunks_.back().size() + bytes.size() > kSharedChunkBytes)
    chunks_.emplace_back();
  chunks_.back() += bytes;
  waiting_ += bytes.size();
}

void SendQueue::flush(host::Peer& peer) {
  while (!blocked_ && !chunks_.empty()) {
    base::Bytes parts[kPartsAtOnce];
    size_t count = 0, offered = 0;
    for (const std::string& chunk : chunks_) {
      if (count == kPartsAtOnce) break;
      parts[count] = base::Bytes(chunk).substr(count == 0 ? sent_ : 0);
      offered += parts[count++].size();
    }
    const size_t taken = peer.send({parts, count});
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
