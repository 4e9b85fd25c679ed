#include "server/cluster_documents.h"

#include "server/cluster_node.h"
#include "server/group.h"
#include "server/log.h"
#include "server/script_host.h"
#include "server/script_libraries.h"
#include "server/server.h"

namespace quoll::server {

using cluster::DocumentKind;
using cluster::LibraryDocument;

// --- when --------------------------------------------------------------------------------------

// Our data are there, and the cluster has agreed on what there is.
bool ClusterDocuments::ready() const {
  return !founding_ && !node_.topology().governors().empty() && node_.core() &&
         !server_.persistence().loading();
}

void ClusterDocuments::apply() {
  const cluster::Topology& topology = node_.topology();
  if (founding_ || topology.governors().empty()) return;  // it has not all been founded
  set_rules();
  if (cluster_ == topology.cluster_id() && version_ == topology.documents_version()) return;
  cluster_ = topology.cluster_id();
  version_ = topology.documents_version();
  apply_users();
  apply_rules();
  due_ = true;
  if (ready()) apply_libraries(std::exchange(applied_, true));
}

void ClusterDocuments::turn() {
  const bool changed = seen_ != server_.scripts().libraries().changes();
  if (__builtin_expect(due_ || changed, 0) && ready()) apply_libraries(false);
}

std::vector<cluster::PutDocument> ClusterDocuments::bring() {
  founding_ = true;
  std::vector<cluster::PutDocument> documents;
  for (const auto& [name, library] : server_.scripts().libraries().libraries()) {
    LibraryDocument document{name, library->code, {}};
    for (const auto& function : library->functions) document.functions.push_back(function.name);
    documents.push_back({DocumentKind::function, name, document.encode()});
  }
  const Acl& acl = server_.acl();
  for (const auto& [name, user] : acl.users()) {
    const bool untouched = user.get() == &acl.default_user() && user->unrestricted() && acl.open();
    if (!acl.is_own(name) && !untouched)
      documents.push_back({DocumentKind::user, name, user->describe()});
  }
  return documents;
}

void ClusterDocuments::founded() {
  founding_ = false;
  apply();
}

// --- libraries ---------------------------------------------------------------------------------

void ClusterDocuments::note_other(const std::string& library) {
  const base::Millis now = server_.now();
  std::erase_if(by_others_, [now](const auto& one) { return one.second <= now; });
  if (by_others_.size() < kChangedByOthersMax) by_others_[library] = now + kSentEverywhereMs;
}

bool ClusterDocuments::changed_by_others(const std::string& library) {
  const auto at = by_others_.find(library);
  if (at == by_others_.end()) return false;
  const bool recent = at->second > server_.now();
  by_others_.erase(at);
  return recent;
}

void ClusterDocuments::apply_libraries(bool news) {
  // Old versions first: what took over a function of another library loads beside its new one.
  drop_libraries(news);
  ScriptLibraries& libraries = server_.scripts().libraries();
  for (const auto& [key, bytes] : node_.topology().documents()) {
    if (key.first != DocumentKind::function || libraries.libraries().contains(key.second)) continue;
    const auto library = LibraryDocument::decode(key.second, bytes);
    if (library)
      load_library(*library, news);
    else
      log::warning("Cluster: the document of library '{}' is none", key.second);
  }
  joins_ = due_ = false;
  seen_ = libraries.changes();
}

void ClusterDocuments::drop_libraries(bool news) {
  ScriptLibraries& libraries = server_.scripts().libraries();
  std::vector<std::string> gone;
  for (const auto& [name, library] : libraries.libraries()) {
    const std::string* bytes =
        cluster::find_document(node_.topology(), DocumentKind::function, name);
    const auto document = bytes ? LibraryDocument::decode(name, *bytes) : std::nullopt;
    if (document && document->code == library->code) continue;
    gone.push_back(name);
    if (news && !bytes) note_other(name);
    if (joins_)
      log::warning("Cluster: the library '{}' of this node is {}", name,
                   bytes ? "replaced by the cluster's" : "dropped: the cluster has none");
  }
  for (const std::string& name : gone) libraries.remove(name);
  std::erase_if(broken_, [&](const auto& one) {
    return !cluster::find_document(node_.topology(), DocumentKind::function, one.first);
  });
}

void ClusterDocuments::load_library(const LibraryDocument& library, bool news) {
  const auto broken = broken_.find(library.name);
  if (broken != broken_.end() && broken->second == library.code) return;
  auto loaded =
      server_.scripts().libraries().load(library.code, ScriptLibraries::OnPresent::replace, false);
  if (loaded) {
    broken_.erase(library.name);
    if (news) note_other(library.name);
    return;
  }
  log::warning("Cluster: the library '{}' cannot be loaded and is not served here: {}",
               library.name, loaded.error());
  broken_[library.name] = library.code;
}

// --- users -------------------------------------------------------------------------------------

void ClusterDocuments::own_users_changed() {
  users_.clear();
  cluster_.clear();
  apply();
}

void ClusterDocuments::apply_users() {
  Acl& acl = server_.acl();
  drop_users();
  for (const auto& [key, rules] : node_.topology().documents()) {
    if (key.first != DocumentKind::user) continue;
    const std::string& name = key.second;
    if (acl.is_own(name)) {
      if (overruled_.insert(name).second)
        log::notice("Cluster: the user '{}' of the configuration overrules the cluster's", name);
      continue;
    }
    overruled_.erase(name);
    if (const auto at = users_.find(name); at != users_.end() && at->second == rules) continue;
    users_[name] = rules;
    if (auto done = acl.put(name, rules); !done) {
      log::warning("Cluster: the user '{}' cannot be as the cluster wants, and may not log in: {}",
                   name, done.error());
      if (name != "default") acl.remove(name);
    }
  }
}

void ClusterDocuments::drop_users() {
  Acl& acl = server_.acl();
  std::vector<std::string> gone;
  for (const auto& [name, user] : acl.users()) {
    if (cluster::find_document(node_.topology(), DocumentKind::user, name)) continue;
    users_.erase(name);
    if (user.get() != &acl.default_user() && !acl.is_own(name)) gone.push_back(name);
  }
  for (const std::string& name : gone) {
    acl.remove(name);
    if (joins_) log::warning("Cluster: the user '{}' of this node is removed", name);
  }
}

// --- rules -------------------------------------------------------------------------------------

void ClusterDocuments::apply_rules() {
  rules_ = {};
  for (const auto& [name, rule] : cluster::keyspace_rules(node_.topology())) rules_.add(rule);
  set_rules();
}

// The group may be another one than before.
void ClusterDocuments::set_rules() {
  if (ReplicaGroup* group = node_.group())
    group->consistency().set_rules(rules_.empty() ? nullptr : &rules_);
}

}  // namespace quoll::server
