#include "cluster/library_documents.h"

#include <fmt/format.h>

#include <map>

#include "base/text.h"
#include "cluster/group_frames.h"

namespace quoll::cluster {
namespace {

using base::Error;

constexpr uint16_t kLibraryFunctionsMax = UINT16_MAX;  // of a library

NextStep put_documents(const Topology& topology, std::vector<PutDocument> documents) {
  if (documents.empty()) return std::optional<TopologyChange>();
  if (auto fine = topology.check_documents(documents); !fine) return Error{"ERR " + fine.error()};
  return std::optional(TopologyChange{topology.version(), PutDocuments{std::move(documents)}});
}

// Functions of different libraries have different names; the case of letters does not count.
std::string function_collision(const std::map<std::string, LibraryDocument>& libraries,
                               const LibraryDocument& with) {
  for (const auto& [name, other] : libraries) {
    if (name == with.name) continue;
    for (const std::string& one : other.functions)
      for (const std::string& own : with.functions)
        if (base::equals_ignoring_case(one, own)) return "ERR Function " + own + " already exists";
  }
  return {};
}

std::map<std::string, LibraryDocument> library_documents(const Topology& topology) {
  std::map<std::string, LibraryDocument> libraries;
  for (const auto& [key, bytes] : topology.documents()) {
    if (key.first != DocumentKind::function) continue;
    if (auto library = LibraryDocument::decode(key.second, bytes))
      libraries.emplace(key.second, std::move(*library));
  }
  return libraries;
}

}  // namespace

std::string LibraryDocument::encode() const {
  std::string bytes;
  FieldWriter out(bytes);
  out.bytes(code).number(static_cast<uint16_t>(functions.size()));
  for (const std::string& function : functions) out.bytes(function);
  return bytes;
}

std::optional<LibraryDocument> LibraryDocument::decode(const std::string& name, base::Bytes bytes) {
  LibraryDocument library{name, {}, {}};
  FieldReader in(bytes);
  uint16_t count = 0;
  if (!take_text(in, kDocumentBytesMax, library.code) || !in.number(count)) return {};
  for (; count > 0; --count)
    if (!take_text(in, kDocumentBytesMax, library.functions.emplace_back())) return {};
  if (!in.empty()) return {};
  return library;
}

const std::string* find_document(const Topology& topology, DocumentKind kind,
                                 const std::string& name) {
  const auto found = topology.documents().find({kind, name});
  return found == topology.documents().end() ? nullptr : &found->second;
}

NextStep next_to_load(const Topology& topology, const LibraryDocument& library,
                      LibraryPresent on_present) {
  if (const std::string* present = find_document(topology, DocumentKind::function, library.name)) {
    if (*present == library.encode()) return std::optional<TopologyChange>();
    if (on_present == LibraryPresent::refuse)
      return Error{"ERR Library '" + library.name + "' already exists"};
  }
  return next_to_restore(topology, {library}, LibraryPresent::replace, false);
}

NextStep next_to_unload(const Topology& topology, const std::string& name) {
  if (!find_document(topology, DocumentKind::function, name))
    return std::optional<TopologyChange>();
  return put_documents(topology, {PutDocument{DocumentKind::function, name, {}}});
}

NextStep next_to_restore(const Topology& topology, const std::vector<LibraryDocument>& libraries,
                         LibraryPresent on_present, bool flush) {
  std::map<std::string, LibraryDocument> all = library_documents(topology);
  std::vector<PutDocument> change;
  if (flush) {
    for (const auto& [name, library] : all) change.push_back({DocumentKind::function, name, {}});
    all.clear();
  }
  for (const LibraryDocument& library : libraries) {
    if (library.functions.size() > kLibraryFunctionsMax)
      return Error{"ERR The library is too large"};
    const auto present = all.find(library.name);
    const bool same = present != all.end() && present->second == library;
    if (present != all.end() && !same && on_present == LibraryPresent::refuse)
      return Error{"ERR Library " + library.name + " already exists"};
    if (!same) all[library.name] = library;
  }
  for (const LibraryDocument& library : libraries)
    if (std::string why = function_collision(all, library); !why.empty())
      return Error{std::move(why)};
  for (const auto& [name, library] : all) {
    std::string bytes = library.encode();
    const std::string* present = find_document(topology, DocumentKind::function, name);
    std::erase_if(change, [&name](const PutDocument& one) { return one.name == name; });
    if (!present || *present != bytes)
      change.push_back({DocumentKind::function, name, std::move(bytes)});
  }
  return put_documents(topology, std::move(change));
}

NextStep next_to_bring(const Topology& topology, const std::vector<PutDocument>& documents) {
  std::vector<PutDocument> missing;
  for (const PutDocument& one : documents)
    if (!find_document(topology, one.kind, one.name)) missing.push_back(one);
  return put_documents(topology, std::move(missing));
}

}  // namespace quoll::cluster
