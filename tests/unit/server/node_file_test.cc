#include "server/node_file.h"

#include <doctest/doctest.h>

#include "cluster/topology_steps.h"

namespace quoll::server {
namespace {

NodeRecord example() {
  NodeRecord record;
  record.id = std::string(cluster::kNodeIdBytes, 'a');
  record.home = "cluster-aaaaaaaaaaaa";
  record.incarnation = 7;
  record.position = {3, 12};
  record.released = {{5, 1}, {16383, 2}};
  record.dropping = {9, 11};
  record.set_place({.kind = NodePlace::Kind::keeper, .founder = true, .dir = "topology"});
  record.set_place({.kind = NodePlace::Kind::data, .founder = true, .empty = true, .dir = "data"});
  record.set_place({.kind = NodePlace::Kind::witness, .group = 3, .place = 2, .dir = "witness"});
  cluster::NodeClaim claim;
  claim.member.id = record.id;
  claim.member.bus = cluster::NodeAddress::v4(10, 0, 0, 1, 17000);
  claim.member.location = {"dc", "rack", "host"};
  for (;;) {
    const auto next =
        cluster::next_to_found(record.topology, std::string(cluster::kNodeIdBytes, 'c'), claim);
    REQUIRE(next.ok());
    if (!next.value()) return record;
    REQUIRE(record.topology.apply(*next.value()).ok());
  }
}

}  // namespace

TEST_CASE("node_file: a record survives") {
  const NodeRecord record = example();
  const auto decoded = NodeRecord::decode(record.encode());
  REQUIRE(decoded.ok());
  const NodeRecord& again = decoded.value();
  CHECK(again.id == record.id);
  CHECK(again.home == record.home);
  CHECK(again.incarnation == record.incarnation);
  CHECK(again.position == record.position);
  CHECK(again.released == record.released);
  CHECK(again.dropping == record.dropping);
  CHECK(again.places == record.places);
  CHECK(again.topology == record.topology);
}

TEST_CASE("node_file: a new node's record has no slots") {
  NodeRecord record;
  record.id = std::string(cluster::kNodeIdBytes, 'b');
  record.home = "h";
  const auto decoded = NodeRecord::decode(record.encode());
  REQUIRE(decoded.ok());
  CHECK(decoded.value().released.empty());
  CHECK(decoded.value().dropping.empty());
  CHECK(decoded.value().topology.version() == 0);
}

TEST_CASE("node_file: every flipped or missing byte is noticed") {
  const std::string bytes = example().encode();
  for (size_t at = 0; at < bytes.size(); at += at < 400 ? 1 : 97) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 4);
    CHECK(!NodeRecord::decode(flipped).ok());
    CHECK(!NodeRecord::decode(bytes.substr(0, at)).ok());
  }
  CHECK(!NodeRecord::decode("node vars currentEpoch 0 lastVoteEpoch 0\n").ok());  // Redis's own
}

}  // namespace quoll::server
