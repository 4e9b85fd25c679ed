// Changes of the topology from arbitrary bytes: what is taken for one encodes to the same bytes,
// and whatever is applied leaves a topology that decodes again; a refused one changes nothing.
#include <string>

#include "base/check.h"
#include "cluster/topology_change.h"
#include "tests/fuzz/choices.h"

namespace quoll::cluster {
namespace {

constexpr size_t kKinds = std::variant_size_v<TopologyChange::Body>;

Topology founded() {
  Topology topology;
  FoundCluster found;
  found.cluster_id = std::string(kNodeIdBytes, 'c');
  QUOLL_CHECK(topology.apply({0, found}).ok());
  for (char n = '0'; n < '4'; ++n) {
    JoinMember join;
    join.member.id = std::string(kNodeIdBytes, n);
    join.member.bus = NodeAddress::v4(10, 0, 0, 1, 16379);
    join.member.location = {"d", "r", std::string(1, n)};
    QUOLL_CHECK(topology.apply({topology.version(), join}).ok());
  }
  return topology;
}

// The version that is expected and a kind there is; behind them, anything.
std::string change_from(fuzz::Choices& choices, TopologyVersion version) {
  std::string bytes(reinterpret_cast<const char*>(&version), sizeof version);
  bytes += static_cast<char>(choices.byte() % (kKinds + 1));
  for (size_t left = choices.byte(); left > 0; --left) bytes += static_cast<char>(choices.byte());
  return bytes;
}

void run(fuzz::Choices choices) {
  Topology topology = founded();
  while (choices.left() > 0) {
    const std::string bytes = change_from(choices, topology.version());
    const auto change = TopologyChange::decode(bytes);
    if (!change) continue;
    QUOLL_CHECK(change->encode() == bytes);
    const std::string before = topology.encode();
    if (!topology.apply(*change).ok()) QUOLL_CHECK(topology.encode() == before);
  }
  const auto decoded = Topology::decode(topology.encode());
  QUOLL_CHECK(decoded.ok() && decoded.value() == topology);
}

}  // namespace
}  // namespace quoll::cluster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quoll::cluster::run({data, size});
  return 0;
}
