// SlotImports: moves of slots that were asked for at their target (CLUSTER MIGRATION IMPORT). The
// target asks the node that has the slots to begin the move (slot_moves.h), and from then on how it
// goes, until it is over; the move has the same name on both.
//
//   target                         source
//   slot_take   ranges         ->  SlotMoves::begin, its name
//   slot_state  name           ->  state, the longest pause, message      every kImportLookMs
//   slot_stop   name           ->  SlotMoves::cancel
//
// It is known to this node alone and as long as it runs. A source that does not answer leaves the
// import as it was last heard of; when it has forgotten the move, what the topology says counts.
// Cost: a question per import and kImportLookMs while it goes on; kImportsKept that are over.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cluster/node_bus.h"
#include "server/session.h"
#include "server/slot_moves.h"

namespace quoll::server {

class ClusterNode;
class Server;

constexpr base::Millis kImportLookMs = 200;
constexpr size_t kImportsKept = 64;  // that are over, to be told of

struct SlotImport {
  std::string name;
  cluster::SlotRanges slots;
  std::string source_id;
  SlotMove::State state = SlotMove::State::copying;
  std::string message;
  base::Millis hold_ms = 0;
  base::Millis created = 0;  // wall time
  base::Millis updated = 0;

  bool over() const { return state >= SlotMove::State::done; }
};

class SlotImports {
 public:
  SlotImports(Server& server, ClusterNode& node) : server_(server), node_(node) {}
  ~SlotImports() { *alive_ = false; }

  // For commands, which are run again when the outcome is there: the name of the move, or how many
  // were cancelled. An empty name: all.
  void begin(const Session& session, const cluster::SlotRanges& slots, cluster::NodeIndex source);
  void cancel(const Session& session, base::Bytes name);
  std::optional<base::Result<std::string>> take(SessionId session);
  void forget(SessionId session) { outcomes_.erase(session); }
  const std::deque<SlotImport>& imports() const { return imports_; }

  // Questions of targets; `body` behind the id of the cluster.
  void serve(cluster::Question question, cluster::NodeIndex from, base::Bytes body,
             const cluster::NodeBus::OnAnswer& answer);
  void tick();

 private:
  struct Cancelling;

  void tell(SessionId session, base::Result<std::string> outcome);
  void look();
  void take_state(const std::string& name, const base::Result<std::string>& answer);
  SlotImport* find(base::Bytes name);
  bool has(const cluster::SlotRanges& slots) const;
  void end(SlotImport& import, SlotMove::State state, const std::string& message);

  Server& server_;
  ClusterNode& node_;
  std::deque<SlotImport> imports_;
  std::map<SessionId, std::optional<base::Result<std::string>>> outcomes_;
  base::Millis look_at_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::server
