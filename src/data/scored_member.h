// ScoredMember: one member of a large sorted set, in one counted block. The member index and the
// ranked tree both point to it.
//
//   0   score    8 B double
//   8   length   4 B
//   12  bytes...
//
// Cost: 12 bytes beside the member; a 24-byte member takes the 48-byte size class.
//
// The order of a sorted set: by score, then by the bytes of the member. Scores are never NaN; -0
// and 0 are equal, and each keeps its sign.
#pragma once

#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/memory.h"

namespace quoll::data {

constexpr size_t kScoredMemberBytesMax = UINT32_MAX;

class ScoredMember {
 public:
  static ScoredMember* make(base::Bytes member, double score) {
    QUOLL_CHECK(member.size() <= kScoredMemberBytesMax);
    auto* made = static_cast<ScoredMember*>(base::allocate(kHeaderBytes + member.size()));
    made->score_ = score;
    made->length_ = static_cast<uint32_t>(member.size());
    if (!member.empty()) std::memcpy(made->bytes(), member.data(), member.size());
    return made;
  }
  static void destroy(ScoredMember* member) { base::release(member, member->block_bytes()); }

  double score() const { return score_; }
  void set_score(double score) { score_ = score; }
  base::Bytes member() const { return {const_cast<ScoredMember*>(this)->bytes(), length_}; }
  size_t block_bytes() const { return kHeaderBytes + length_; }  // as requested
  size_t footprint() const { return base::usable_size(block_bytes()); }

 private:
  static constexpr size_t kHeaderBytes = 12;
  char* bytes() { return reinterpret_cast<char*>(this) + kHeaderBytes; }

  double score_;
  uint32_t length_;
};

// Whether (score, member) stands before (other_score, other_member).
inline bool stands_before(double score, base::Bytes member, double other_score,
                          base::Bytes other_member) {
  if (score != other_score) return score < other_score;
  return member < other_member;
}

}  // namespace quoll::data
