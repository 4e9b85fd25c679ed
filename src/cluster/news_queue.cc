#include "cluster/news_queue.h"

#include <algorithm>

namespace quoll::cluster {

unsigned tellings(size_t nodes) {
  unsigned digits = 0;
  for (size_t reached = 1; reached < nodes + 1; reached *= 10) ++digits;
  return kTellingsPerDigit * std::max(digits, 1u);
}

void NewsQueue::put(const News& news) {
  pieces_.insert_or_assign(news.subject, Piece{news, ++puts_});
  if (told_.empty()) told_.resize(1);
  told_[0].push_back({news.subject, puts_});
}

void NewsQueue::take(unsigned tellings_max, size_t room, NodeIndex besides,
                     std::vector<News>& news) {
  std::vector<std::pair<size_t, Turn>> again;
  for (size_t times = 0; times < told_.size(); ++times) {
    std::deque<Turn>& turns = told_[times];
    for (size_t left = turns.size(); left > 0; --left) {
      const Turn turn = turns.front();
      const auto it = pieces_.find(turn.subject);
      const bool stands = it != pieces_.end() && it->second.number == turn.number;
      if (stands && (it->second.news.bytes() > room || news.size() == kNewsPerDatagramMax)) break;
      turns.pop_front();
      if (!stands) continue;
      if (turn.subject == besides) {
        again.emplace_back(times, turn);
        continue;
      }
      room -= it->second.news.bytes();
      news.push_back(it->second.news);
      if (times + 1 < tellings_max)
        again.emplace_back(times + 1, turn);
      else
        pieces_.erase(it);
    }
  }
  for (const auto& [times, turn] : again) {
    if (told_.size() <= times) told_.resize(times + 1);
    told_[times].push_back(turn);
  }
}

}  // namespace quoll::cluster
