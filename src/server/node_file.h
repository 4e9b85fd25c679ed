// NodeFile: what a node of a cluster must not forget, in the file that cluster-config-file names:
// who it is, and the topology as it knew it last.
//
//   quoll-cluster-node 1
//   id <40 hex digits>
//   home <directory of its logs>
//   incarnation <number>
//   position <epoch> <index>       of the topology in the log of those who hold it
//   released <slot>:<node> ...     not ours any more, and not yet the node's group's
//   dropping <slot> ...            another group's, whose keys are still here; both until the log
//                                  of our group has taken over what an older server left here
//   places <kind:group:place:flags:directory> ...     of ours, in groups
//   topology <bytes>
//   <its bytes>
//   <16 hex digits: XXH3 of everything before>
//
// Changes go out together; a crash leaves the old or the new file. A write that fails is tried
// again every second. Without the file the node is a new one.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/group_types.h"
#include "cluster/topology.h"
#include "host/host.h"

namespace quoll::server {

constexpr base::Nanos kNodeFileRetryAfter = 1'000 * base::kNanosPerMilli;

// Our place in a group.
struct NodePlace {
  enum class Kind : uint8_t { keeper, data, witness };  // of the topology; of keys; of their log
  Kind kind = Kind::keeper;
  cluster::GroupNumber group = cluster::kNoGroup;  // in the topology, as far as it is in there
  cluster::Member place = 0;
  bool founder = false;  // the group began with us, alone,
  bool empty = false;    // and without what dbfilename holds
  std::string dir;       // of the log, in `home`

  bool operator==(const NodePlace&) const = default;
};

struct NodeRecord {
  std::string id;    // "": the node is new
  std::string home;  // directory of its logs
  cluster::Incarnation incarnation = 1;
  cluster::Position position;
  std::map<uint16_t, cluster::NodeIndex> released;
  std::set<uint16_t> dropping;
  std::vector<NodePlace> places;
  cluster::Topology topology;

  // Ours: of the topology, and of keys, there is one.
  NodePlace* place_of(NodePlace::Kind kind);
  void set_place(NodePlace place);
  void drop_places(NodePlace::Kind kind);

  std::string encode() const;
  static base::Result<NodeRecord> decode(base::Bytes bytes);
};

class NodeFile {
 public:
  NodeFile(const host::Host& host, std::string path) : host_(host), path_(std::move(path)) {}
  ~NodeFile();

  // A file that is not there is a record without an id.
  void load(std::function<void(base::Result<NodeRecord>)> done);
  // Done when it is on disk.
  void save(const NodeRecord& record, host::Task done);
  bool idle() const { return !writing_ && waiting_.empty(); }

 private:
  void write();
  void written(const base::Result<>& result);

  host::Host host_;
  std::string path_;
  std::string bytes_;  // to be written
  bool writing_ = false;
  bool in_trouble_ = false;
  host::TimerId retry_ = 0;
  std::vector<host::Task> waiting_, serving_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
