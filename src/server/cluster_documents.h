// ClusterDocuments: what the nodes of a cluster agree on beside the topology, applied here:
// libraries of functions, users, and rules of keyspaces.
//
//   FUNCTION LOAD|DELETE|FLUSH|RESTORE, ACL SETUSER|DELUSER -> documents of g0 (topology.h)
//   another version of them -> what differs from what is here is loaded, changed, removed
//
// Libraries here are those of the documents and no others, however they came: data from a file or
// from another member may bring old ones. Users are those of the documents and the node's own, that
// is whom the configuration names (acl.h), and everybody while there is no cluster-secret-file;
// `default` is its own while it has a password there. A
// document of a name that is own here has no effect here. Nobody becomes more open by joining:
// `default` stays as it is while there is no document of him.
//
// A node that founds a cluster brings its libraries and users along. One that joins takes the
// cluster's, and the log says what it had.
//
// A library is compiled when its document has changed, in the turn that heard of it, as a follower
// does with one that it is sent. Who loads it has found that it compiles within kLoadTimeMax. One
// that does not load here is logged and not served.
//
// Clients that know of no common libraries send a change to every node, one after the other. So the
// first of them that comes to another node soon after finds it done, and is not an error.
//
// Cost: a comparison of texts whenever documents have changed; of some numbers else, per turn too.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "cluster/keyspace_rules.h"
#include "cluster/library_documents.h"

namespace quoll::server {

class ClusterNode;
class Server;

constexpr base::Millis kSentEverywhereMs = 10'000;  // a client has then told every node
constexpr size_t kChangedByOthersMax = 1024;        // libraries of which that is remembered

class ClusterDocuments {
 public:
  ClusterDocuments(Server& server, ClusterNode& node) : server_(server), node_(node) {}

  // At the founding of a cluster: what this node has. Nothing is applied until founded().
  std::vector<cluster::PutDocument> bring();
  void founded();
  // The next documents are those of a cluster that this node joined.
  void joins() { joins_ = true; }

  void topology_changed() { apply(); }
  // At the end of a turn: libraries may have come with data.
  void turn();
  void own_users_changed();

  // A client's command has found the library as it wants it, because another node has changed it a
  // moment ago: true, once.
  bool changed_by_others(const std::string& library);
  // Our client has changed it.
  void changed_here(const std::string& library) { by_others_.erase(library); }
  void all_changed_here() { by_others_.clear(); }

 private:
  bool ready() const;
  void apply();
  // `news`: the cluster has changed them, perhaps; else they came with data.
  void apply_libraries(bool news);
  void drop_libraries(bool news);
  void load_library(const cluster::LibraryDocument& library, bool news);
  void note_other(const std::string& library);
  void apply_users();
  void drop_users();
  void apply_rules();
  void set_rules();

  Server& server_;
  ClusterNode& node_;
  bool founding_ = false;
  bool joins_ = false;
  bool applied_ = false;                           // libraries, once
  bool due_ = false;                               // they are to be applied when the data are there
  uint64_t seen_ = 0;                              // changes of the libraries
  std::string cluster_;                            // whose documents were applied last,
  cluster::TopologyVersion version_ = 0;           // as of this version
  std::map<std::string, std::string> broken_;      // libraries that do not load: their codes
  std::map<std::string, base::Millis> by_others_;  // libraries: until when
  std::map<std::string, std::string> users_;       // as applied
  cluster::KeyspaceRules rules_;
  std::set<std::string> overruled_;  // users whose documents have no effect here
};

}  // namespace quoll::server
