// News on their way through the cluster: what is told in whatever datagram leaves next, each piece
// some times, the least told first. One piece per subject: the newest.
//
//   told 0 times:  n7 suspect | n9 alive
//   told 1 time:   n2 fail
//   ...            up to 4 x the decimal digits of the number of nodes
//
// So often told, news reach everybody with near certainty, and nobody tells them for ever.
// Cost: O(pieces taken) per datagram. Pure.
#pragma once

#include <deque>
#include <unordered_map>
#include <vector>

#include "cluster/gossip_frames.h"

namespace quoll::cluster {

constexpr unsigned kTellingsPerDigit = 4;
unsigned tellings(size_t nodes);

class NewsQueue {
 public:
  void put(const News& news);
  void forget(NodeIndex subject) { pieces_.erase(subject); }
  // Appends pieces to `news` as long as `room` bytes hold them; none about `besides`.
  void take(unsigned tellings_max, size_t room, NodeIndex besides, std::vector<News>& news);
  size_t size() const { return pieces_.size(); }

 private:
  struct Piece {
    News news;
    uint64_t number;  // another one for every put()
  };
  struct Turn {
    NodeIndex subject;
    uint64_t number;
  };

  std::unordered_map<NodeIndex, Piece> pieces_;
  std::vector<std::deque<Turn>> told_;  // by the times told; some are of older pieces
  uint64_t puts_ = 0;
};

}  // namespace quoll::cluster
