// The datagrams by which nodes tell each other who lives.
//
//   magic2 version1 type1 cluster4 from2 sequence2 incarnation4 nonce8 | sealed | tag16
//   sealed:  topology8 wall8 [about2] count1 news...
//   news:    subject2 incarnation4 state1 from2 [address4 or 16, port2]
//
// The head is readable and authenticated, the rest encrypted as well (GossipSeal). `cluster` is a
// hash of the cluster's id: what another cluster says is dropped before anything else is looked at,
// and its key is another one. `about` is there in ask, vouch and nack. An address is there in news
// of a node that lives and says where. Numbers are little-endian; what is not exactly so is refused
// as a whole. A datagram without news has 57 bytes, 28 more with IPv4 and UDP.
//
// A datagram that somebody sends again is taken again: news carry incarnations and are the same the
// second time; an old suspicion costs its subject a new incarnation, an old answer fits no probe.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "cluster/node_address.h"

namespace quoll::cluster {

using Incarnation = uint32_t;      // of a node: the higher is the newer; raised by the node alone
using TopologyVersion = uint64_t;  // of what g0 has agreed on

constexpr size_t kGossipHeadBytes = 24;
constexpr size_t kGossipTagBytes = 16;
constexpr size_t kDatagramBytesMax = 1232;  // 1280, which every IPv6 link carries, less 40 and 8
constexpr size_t kNewsPerDatagramMax = 255;
// No honest node comes near: an incarnation that cannot be raised could not be refuted.
constexpr Incarnation kIncarnationMax = 0x7fffffff;

enum class NodeState : uint8_t {
  alive = 1,
  suspect,  // somebody could not reach it
  fail,     // nobody could, for long enough
  left,     // it said so
};

struct News {
  NodeIndex subject = kNoNode;
  Incarnation incarnation = 0;
  NodeState state = NodeState::alive;
  NodeIndex from = kNoNode;  // who says so
  std::optional<NodeAddress> address;

  bool operator==(const News&) const = default;
  size_t bytes() const { return 9 + (address ? address->size() + 2 : 0); }
};

struct Datagram {
  enum class Type : uint8_t {
    ping = 1,
    ack,        // answers the ping of that sequence number
    ask,        // please ping `about` for me
    vouch,      // `about` has answered the ping you asked for
    nack,       // it has not, but I am here
    forgotten,  // the topology of the sender does not know you, nor will any later one
  };
  Type type = Type::ping;
  uint32_t cluster = 0;
  NodeIndex from = kNoNode;
  uint16_t sequence = 0;
  Incarnation incarnation = 0;
  uint64_t nonce = 0;
  TopologyVersion topology = 0;
  base::Millis wall = 0;
  NodeIndex about = kNoNode;
  std::vector<News> news;

  bool has_about() const { return type == Type::ask || type == Type::vouch || type == Type::nack; }
  // Without news.
  size_t bytes() const { return kGossipHeadBytes + 17 + (has_about() ? 2 : 0) + kGossipTagBytes; }
};

// Who encrypts: gossip_cipher.h in earnest. The head holds what makes a nonce that is never used
// twice: from, incarnation, nonce.
class GossipSeal {
 public:
  virtual ~GossipSeal() = default;
  // Appends as many bytes as `plain` has, and the tag.
  virtual void seal(base::Bytes head, base::Bytes plain, std::string& out) = 0;
  // False: somebody else sealed it, or it was changed.
  virtual bool open(base::Bytes head, base::Bytes sealed, std::string& plain) = 0;
};

std::string encode_datagram(const Datagram& datagram, GossipSeal& seal);

enum class DatagramFault : uint8_t {
  none,
  malformed,
  foreign,  // of another cluster, or another version of the protocol
  unauthentic,
};
// `cluster`: ours.
DatagramFault decode_datagram(base::Bytes bytes, uint32_t cluster, GossipSeal& seal,
                              Datagram& datagram);

}  // namespace quoll::cluster
