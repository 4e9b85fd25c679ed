// The words of effects, as a Redis 7.0 replica understands them.
//
//   plain    it knows the command
//   several  one line of ours becomes several of its:  MSETEX -> SET, SET, ...
//   foreign  it has no words for it: deadlines of hash fields (HSETEX, HPEXPIREAT, HPERSIST, or in
//   a
//            RESTORE) and the operations of BITOP that came later (DIFF, DIFF1, ANDOR, ONE)
//
// What else is newer than 7.0 is stated in old words by its handler: DELEX as DEL, INCREX, SET IFEQ
// and CL.THROTTLE as SET, XDELEX and XACKDEL as XACK and XDEL, HGETDEL as HDEL, LMPOP as LPOP.
//
// Pure. Cost: a look at the length of the name for almost every effect.
#pragma once

#include <vector>

#include "base/bytes.h"

namespace quoll::cluster {

constexpr unsigned kReplicaRdbVersion = 10;  // what Redis 7.0 reads

// Whether Redis 7.0 reads a payload of DUMP: its last ten bytes are the version and a checksum.
bool knows_payload(base::Bytes payload);

enum class Dialect : uint8_t { plain, several, foreign };

Dialect dialect_of(base::Args effect);

// MSETEX numkeys key value ... [PXAT deadline | KEEPTTL], as SET after SET.
template <class Write>
void split_msetex(base::Args effect, size_t keys, Write&& write) {
  base::Args options = effect.subspan(2 + 2 * keys);
  std::vector<base::Bytes> line = {"SET", {}, {}};
  line.insert(line.end(), options.begin(), options.end());
  for (size_t i = 0; i < keys; ++i) {
    line[1] = effect[2 + 2 * i];
    line[2] = effect[3 + 2 * i];
    write(base::Args(line));
  }
}

// How many keys an MSETEX names; 0: it is none that a handler stated.
size_t msetex_keys(base::Args effect);

// Hands the effect's lines to `write`; a foreign one as it is.
template <class Write>
void translate(base::Args effect, Write&& write) {
  if (__builtin_expect(dialect_of(effect) == Dialect::several, 0))
    split_msetex(effect, msetex_keys(effect), write);
  else
    write(effect);
}

}  // namespace quoll::cluster
