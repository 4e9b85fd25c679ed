// What members of a group say to each other. One message has the fields its kind uses:
//
//   kind           from      epoch    at                  index    round  flag
//   hello          anyone    its own  its last entry      -        -      it never took part
//   prevote        follower  next     its last entry      -        -      -
//   prevote_reply  anyone    asked    -                   -        -      granted
//   vote           candidate its own  its last entry      -        -      the leader asked it to
//   vote_reply     anyone    its own  -                   -        -      granted
//   append         leader    its own  entry before those  commit   n-th   no answer is wanted
//   append_reply   follower  its own  last entry it knows  has      n-th   it had the entry before
//                                     to be the leader's
//   transfer       leader    its own  -                   -        -      -
//
// A hello is the first message of a connection. `entries` of an append follow each other without
// gaps; none: a sign of life. `index` of an append_reply: the log on its disk (durability fsync) or
// in its system's memory is the leader's up to there; refused (flag 0): where to look for the last
// common entry. `number` of an append_reply: it is amnesiac, see SavedState; 0: it counts. `ready`:
// it has the data and could serve. `synced`: its disk has the leader's log up to there, whatever
// the durability. An append with `soon` asks for that and for a reply when it is so. A reply to an
// append carries the leader's round: the leader led when it was sent.
#pragma once

#include <string>

#include "cluster/group_types.h"

namespace quoll::cluster {

struct GroupMessage {
  enum class Kind : uint8_t {
    hello = 1,
    prevote,
    prevote_reply,
    vote,
    vote_reply,
    append,
    append_reply,
    transfer,
  };
  Kind kind = Kind::hello;
  bool flag = false;
  bool ready = false;
  bool soon = false;
  Epoch epoch = 0;
  Position at;
  Index index = 0;
  uint64_t round = 0;
  uint64_t number = 0;
  Index synced = 0;
  base::Bytes entries;  // encoded; owned by who hands the message on
};

}  // namespace quoll::cluster
