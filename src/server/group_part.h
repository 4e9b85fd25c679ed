// GroupPart: what a node needs to begin its part in a group whose members are told by its shape,
// and connect at the buses of their nodes.
//
// Whoever joins a group that exists knows no shape of it; until it does, it talks with those that
// it was told of.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cluster/group_links.h"
#include "cluster/group_shape.h"
#include "host/host.h"

namespace quoll::server {

struct GroupPart {
  using Whereabouts = std::function<std::optional<host::Endpoint>(const std::string& id)>;

  std::string dir;
  std::string id;          // of the node
  std::string group_name;  // members of groups with different names do not talk
  cluster::GroupConfig config;
  cluster::GroupShape shape;
  cluster::GroupShape told;  // by who leads, whom our own shape may be too old to know
  bool begins = false;  // with this shape; else it is that of a group we join, for whom to talk to
  bool grown = false;   // it has others by now: who begins it without its log is let in by them
  Whereabouts where;    // nodes are, by their ids
  std::function<cluster::BusSecrets()> secrets;  // of the cluster, as of now (group_links.h)

  // There is no log of ours. Begun alone for a second time, the group would be two.
  void begins_without_log() {
    if (!begins || !grown) return;
    begins = false;
    shape = {};
  }

  // What connections to members of the group carry.
  static uint64_t config_hash(base::Bytes group_name);
  cluster::GroupLinks::Options link_options() const;
  // Who leads has told us this shape. False: we knew.
  bool take_told(const cluster::GroupShape& shape);
  // What was told is of no use any more, if our own shape knows who leads. False: it is, or none
  // was.
  bool forget_told(const cluster::GroupShape& now, cluster::Member leader);
  // The connections are those that a shape, or the part while there is none, asks for, and those of
  // what was told. Who has left still is talked to while `settled` is false.
  void link(cluster::GroupLinks& links, const cluster::GroupShape& shape, bool settled) const;
};

}  // namespace quoll::server
