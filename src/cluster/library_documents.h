// Libraries of functions as documents of the topology, and the changes by which FUNCTION's
// subcommands are so: pure functions to be asked again until nothing is left (topology_steps.h).
//
//   document   code4 code, then count2 names of functions
//
// The names stand beside the code so that who proposes a library sees, without running anything,
// that no other one has a function of that name: what is agreed on loads everywhere.
//
// Errors are Redis's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/topology_steps.h"

namespace quoll::cluster {

struct LibraryDocument {
  std::string name;
  std::string code;
  std::vector<std::string> functions;

  bool operator==(const LibraryDocument&) const = default;
  std::string encode() const;  // everything but the name
  // Nothing: malformed.
  static std::optional<LibraryDocument> decode(const std::string& name, base::Bytes bytes);
};

enum class LibraryPresent : uint8_t { refuse, replace };

// The document; nullptr: there is none.
const std::string* find_document(const Topology& topology, DocumentKind kind,
                                 const std::string& name);

// FUNCTION LOAD. One that is there already, to the last byte, is no collision: it may be this one.
NextStep next_to_load(const Topology& topology, const LibraryDocument& library,
                      LibraryPresent on_present);
NextStep next_to_unload(const Topology& topology, const std::string& name);
// FUNCTION RESTORE: all of them or none; `flush`: and no others. With none, FUNCTION FLUSH.
NextStep next_to_restore(const Topology& topology, const std::vector<LibraryDocument>& libraries,
                         LibraryPresent on_present, bool flush);
// What a node brings along to the cluster that it founds: documents of which there are none.
NextStep next_to_bring(const Topology& topology, const std::vector<PutDocument>& documents);

}  // namespace quoll::cluster
