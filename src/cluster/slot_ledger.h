// SlotLedger: what a replica group says, in its own log (EntryKind::slots), of slots that are on
// their way between it and other groups. Every entry is the whole ledger; the last one is in force
// for whoever has it, and travels with the group's shape (group_shape.h). So whoever leads next
// knows what the one before has given away, taken, or left lying about.
//
//   released   not ours any more, and not yet the target's by the topology     source, one unit
//   coming     keys are copied here (copying), or the source has released      target, one unit
//              them and the topology is to say that they are ours (adopting)   per source
//   leftover   not ours; their keys that are still here are removed            both
//   floor      the version of the topology that who wrote this knew
//
//   source   -> released --+---------- topology: theirs -> leftover -> empty: nothing
//                          `---------- topology: ours, and no hand-over of before is taken any
//                                      more (called off) -> nothing: they are served again
//   target   -> copying -> adopting -- topology: ours ---------------> nothing: they are served
//                  `-- the move has failed --------------> leftover -> empty: nothing
//
// Rules:
//   1. A slot that the ledger names is not served, whatever the topology says; but for one that it
//      names as adopting, when the topology says that this unit was handed over.
//   2. Who knows a topology older than the floor serves nothing and takes nothing away.
//   3. Names leave the ledger only by an entry whose floor is the topology that made them leave;
//      they come into it only by one whose floor is not older than what their unit was begun on.
//   4. A group has released one unit at a time; units are numbered by the topology's version, which
//      only grows, and the topology remembers per group in which version it last lost slots so.
//      A hand-over that was decided before that is late, and is refused.
//   5. What the topology has settled of a unit it says slot by slot: behind a hand-over of its
//      source that is not older than the unit, each slot is whose it says, and its keys are kept
//      there and removed elsewhere.
//
// By 1 to 3 no leader serves a slot that its group has given away: the name is in its log until the
// topology says whose it is, and behind that it must know that topology. By 4 an adoption that was
// delayed never takes a slot a second time; so either side may call a unit off for which the other
// one is silent (next_to_call_off() of topology_steps.h: a hand-over of no slots), and whichever
// comes first, that or the adoption, decides. A leftover's keys are removed without asking anybody:
// nothing was written to the slot since its name came into the ledger.
//
// Power. What the topology says is on disk; so what an adoption relies on must be, on as many disks
// as a commit needs members: in the target's log the unit's keys before the source releases it,
// and that it is adopting before the topology is asked; in the source's that it is released before
// the target is asked. Else a group that lost its last second would find itself behind a hand-over
// of which its log knows nothing.
//
// Pure. Cost: some bytes per slot that is named.
#pragma once

#include <bitset>
#include <compare>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/crc16.h"
#include "base/result.h"
#include "cluster/gossip_frames.h"
#include "cluster/ring_plan.h"

namespace quoll::cluster {

class Topology;

// Of slots that go together. Later units of a group have greater numbers, whoever leads it.
struct UnitNumber {
  TopologyVersion version = 0;  // as of which it was begun
  uint64_t count = 0;           // 0: begun before groups kept ledgers
  // A later leader's are greater, though it may know an older topology.
  auto operator<=>(const UnitNumber& other) const {
    return std::tie(count, version) <=> std::tie(other.count, other.version);
  }
  bool operator==(const UnitNumber&) const = default;
};

using SlotList = std::vector<uint16_t>;  // in order

struct SlotLedger {
  struct Released {
    UnitNumber number;
    GroupNumber target = 0;
    SlotList slots;
    bool operator==(const Released&) const = default;
  };
  struct Coming {
    UnitNumber number;
    bool adopting = false;
    SlotList slots;
    bool operator==(const Coming&) const = default;
  };

  std::string cluster;  // whose topology is meant; in another one nothing of this is so
  TopologyVersion floor = 0;
  std::optional<Released> released;
  std::map<GroupNumber, Coming> coming;  // by source
  std::set<uint16_t> leftover;

  bool names_nothing() const { return !released && coming.empty() && leftover.empty(); }
  bool empty() const { return cluster.empty() && floor == 0 && names_nothing(); }
  std::bitset<base::kKeySlots> named() const;
  bool operator==(const SlotLedger&) const = default;
};

std::string encode_ledger(const SlotLedger& ledger);
std::optional<SlotLedger> decode_ledger(base::Bytes bytes);

// Words with which a refusal begins that is over soon.
constexpr base::Bytes kSoon = "SOON ";

// As source: from now on. Nothing else may be released.
void release(SlotLedger& ledger, const UnitNumber& number, GroupNumber target,
             const SlotList& slots);
// They are the target's, or will never be: `false` as long as that is open.
bool is_over(const SlotLedger::Released& released, const Topology& topology, GroupNumber own);
// Slots that are not served for what the ledger says: rule 1.
std::bitset<base::kKeySlots> withheld(const SlotLedger& ledger, const Topology& topology);
// What the topology has settled leaves the ledger, and so do slots that are empty.
void tidy(SlotLedger& ledger, const Topology& topology, GroupNumber own,
          const std::function<bool(unsigned slot)>& is_empty);
// As target. A unit of the source begins to come; the error says why not. To be tidy before.
base::Result<> begin_coming(SlotLedger& ledger, const Topology& topology, GroupNumber own,
                            GroupNumber from, const UnitNumber& number, const SlotList& slots);
// It does not come after all.
void drop_coming(SlotLedger& ledger, GroupNumber from, const UnitNumber& number);
// The source has released it. False: it is not known here; unless it was adopted long ago
// something is wrong.
bool adopt_coming(SlotLedger& ledger, GroupNumber from, const UnitNumber& number,
                  const SlotList& slots);

}  // namespace quoll::cluster
