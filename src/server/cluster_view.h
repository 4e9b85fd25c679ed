// ClusterView: what dispatch and the CLUSTER commands know of the cluster this server belongs to:
// its members, who leads in our group and who in others, which slots are whose, whether we serve. A
// replica group with all slots implements it, and so does a node of a cluster of many.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::server {

constexpr unsigned kSlots = 16384;

struct Settings;

enum class Liveness : uint8_t { alive, suspect, failed };

struct ClusterMember {
  std::string id;    // 40 hex digits; "" while nobody has heard of it
  std::string host;  // as clients reach it
  uint16_t port = 0;
  uint16_t tls_port = 0;  // for clients; 0: none that we know of
  uint16_t bus_port = 0;
  bool witness = false;           // keeps no data: clients are not sent to it
  bool leaving = false;           // the cluster; its slots and parts go to others
  bool connected = true;          // heard of within the election timeout; ourselves always
  uint64_t position = 0;          // index of the last log entry it is known to hold
  base::Millis connected_ms = 0;  // since when there is a link to it; 0: there is none
  size_t unsent_bytes = 0;        // that wait on that link
  Liveness liveness = Liveness::alive;
  base::Millis ping_sent = 0;      // unix ms of the first ping that is not answered; 0: none
  base::Millis pong_received = 0;  // unix ms
  std::string hostname;            // announced to clients
  std::string shard_id;            // of its shard, 40 hex digits; "": made of the list of members
};

// Members with the same slots.
struct ClusterShard {
  std::vector<std::pair<uint16_t, uint16_t>> slots;  // ranges, ends included
  std::vector<size_t> members;                       // places
  size_t leader = 0;                                 // its place; members().size(): nobody's
  uint64_t epoch = 0;                                // in which it leads
};

class Session;

class ClusterView {
 public:
  virtual ~ClusterView() = default;
  // In the order of the configuration, the same on every member.
  virtual const std::vector<ClusterMember>& members() const = 0;
  virtual size_t self() const = 0;
  // The member that leads as far as we know, ourselves included; members().size(): nobody.
  virtual size_t leader() const = 0;
  // We lead and may serve: the log is complete up to our first entry.
  virtual bool serves() const = 0;
  // Enough members are there for a write, and how many: "1 of 2".
  virtual bool may_commit() const { return true; }
  virtual std::string quorum() const { return {}; }
  // A member that does not lead has data that others have committed, and nothing else.
  virtual bool readable() const { return true; }
  virtual uint64_t epoch() const = 0;

  // In a cluster of one shard all slots are its.
  virtual bool has_all_slots() const { return true; }
  // The slot is our group's.
  virtual bool has_slot(unsigned) const { return true; }
  // The slot is some group's; every slot is.
  virtual bool assigned(unsigned) const { return true; }
  virtual bool covered() const { return true; }
  // Who leads the group that has the slot as far as we know; members().size(): nobody.
  virtual size_t leader_of(unsigned) const { return leader(); }
  // The slot is not ours any more and not yet the other group's.
  virtual bool handing_over(unsigned) const { return false; }
  virtual std::vector<ClusterShard> shards() const;
  // Messages between the members, seen from here.
  struct Traffic {
    uint64_t sent = 0;
    uint64_t received = 0;
  };
  virtual Traffic traffic() const { return {}; }
  // The port by which the session's client reaches the member: one that uses TLS goes on so.
  static uint16_t port_for(const Session& session, const ClusterMember& member);
  // What may be changed while the server runs has changed: how it is announced.
  virtual void settings_changed(const Settings&) {}
};

}  // namespace quoll::server
