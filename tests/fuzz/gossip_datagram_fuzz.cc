// Datagrams of gossip from arbitrary bytes, as one who has the secret could send them: what is
// taken encodes to the same bytes again, and a node that hears them stays within its bounds and
// goes on.
#include <string>

#include "base/check.h"
#include "cluster/gossip_core.h"
#include "tests/fuzz/choices.h"

namespace quoll::cluster {
namespace {

constexpr uint32_t kCluster = 7;
constexpr NodeIndex kNodes = 6;
constexpr base::Millis kStart = 1'000'000;

// What is said is heard; the seal is the cipher's business.
class OpenSeal final : public GossipSeal {
 public:
  void seal(base::Bytes, base::Bytes plain, std::string& out) override {
    out += plain;
    out.append(kGossipTagBytes, '\0');
  }
  bool open(base::Bytes, base::Bytes sealed, std::string& plain) override {
    plain = sealed.substr(0, sealed.size() - kGossipTagBytes);
    return true;
  }
};

NodeAddress address_of(NodeIndex n) {
  return NodeAddress::v4(10, 0, 0, static_cast<uint8_t>(n), 1);
}

// Magic, version and cluster as they must be, and a tag: what comes behind them is of interest.
std::string datagram_from(fuzz::Choices& choices) {
  std::string bytes("QG\1\1\7\0\0\0", 8);
  for (size_t left = choices.byte() % 160; left > 0; --left)
    bytes += static_cast<char>(choices.byte());
  if (bytes.size() > 8) bytes[3] = static_cast<char>(bytes[8] % 8);
  bytes.append(kGossipTagBytes, '\0');
  return bytes;
}

void hear(GossipCore& core, OpenSeal& seal, const std::string& bytes, NodeIndex from,
          base::Millis now) {
  Datagram datagram;
  if (decode_datagram(bytes, kCluster, seal, datagram) == DatagramFault::none)
    QUOLL_CHECK(encode_datagram(datagram, seal) == bytes);
  core.receive(address_of(from), bytes, now);
}

void run(fuzz::Choices choices) {
  OpenSeal seal;
  GossipCore core({.cluster = kCluster, .self = 0, .address = address_of(0)}, seal, 1, kStart);
  std::vector<GossipMember> members;
  for (NodeIndex n = 0; n < kNodes; ++n) members.push_back({n, address_of(n), 1});
  core.set_members(members, 1, kStart);
  base::Millis now = kStart;
  while (choices.left() > 0) {
    const unsigned what = choices.byte();
    if (what < 200) {
      hear(core, seal, datagram_from(choices), static_cast<NodeIndex>(what % kNodes), now);
    } else {
      now += static_cast<base::Millis>(choices.word()) % 2000;
      core.tick(now);
    }
    const GossipActions actions = core.take();
    // An answer, a ping of its own, others asked, and one that is revived.
    QUOLL_CHECK(actions.sends.size() <= kRelaysMax + 8);
    for (const auto& send : actions.sends) QUOLL_CHECK(send.bytes.size() <= kDatagramBytesMax);
    QUOLL_CHECK(core.nodes() == kNodes && core.health() <= kHealthMax);
    QUOLL_CHECK(core.incarnation() <= kIncarnationMax);
  }
}

}  // namespace
}  // namespace quoll::cluster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quoll::cluster::run({data, size});
  return 0;
}
