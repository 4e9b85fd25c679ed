// BlockedKeys: which sessions wait for which keys, and their turn when such a key changes.
//
// A command that finds nothing parks its session; when a commit touches a key it waits for, the
// command is run again from its arguments. If it again finds nothing it stays parked, in its old
// place: those who came first are served first. A handler therefore looks like this:
//
//   void blpop(Call& call) {
//     base::Millis timeout_ms;
//     if (!call.timeout_seconds(call.argc() - 1, timeout_ms)) return;
//     ... pop and reply when a key has something; return ...
//     if (!call.may_block()) return call.reply.null_array();  // in MULTI, in a script
//     call.block({.keys = call.args.subspan(1, call.argc() - 2),
//                 .type = data::Type::list,
//                 .timeout_ms = timeout_ms,
//                 .give_up = [](Session& session) { session.reply().null_array(); }});
//   }
//
// A command that runs again (call.resumed()) may reply errors like any other: that ends its wait.
// What would not mean the same then, as XREAD's "$", is replaced in `line`, the arguments that are
// run again. Calls of commands that wait are counted once, when they begin to wait.
//
//   commit -> absorb: keys that have waiters become ready
//   end of the command, EXEC or turn -> serve: in the order in which keys became ready, per key in
//   the order in which sessions came; each is a commit of its own
//
// Cost: nothing while nobody waits; else one ordered lookup per touch. Leaving is O(keys waited
// for).
#pragma once

#include <list>
#include <map>
#include <string>
#include <vector>

#include "data/type.h"
#include "server/session.h"
#include "store/store.h"

namespace quoll::server {

struct Command;

// What a command waits for. `keys` and `line` are only looked at during the call.
struct WaitFor {
  Args keys;
  data::Type type = data::Type::list;  // a key of another type wakes nobody
  base::Millis timeout_ms = 0;         // 0: for ever
  Session::GiveUp give_up = nullptr;   // replies that the time is over
  bool any_change = false;  // also when the key is removed or becomes another type (XREADGROUP)
  Args line = {};           // what is run again; empty: the command's own arguments
  // After so long it is run again though no key changed, and may then ask anew; 0: not so.
  base::Millis try_again_ms = 0;
};

class BlockedKeys final : public store::CommitSink {
 private:
  struct Waiter {
    Session* session;
    data::Type type;
    bool any_change;
  };
  struct Queue {
    std::list<Waiter> waiters;
    bool ready = false;
  };
  using Key = std::pair<store::DbIndex, std::string>;
  using KeyView = std::pair<store::DbIndex, Bytes>;
  struct Before {
    using is_transparent = void;
    template <class Left, class Right>
    bool operator()(const Left& left, const Right& right) const {
      if (left.first != right.first) return left.first < right.first;
      return Bytes(left.second) < Bytes(right.second);
    }
  };
  using Queues = std::map<Key, Queue, Before>;

 public:
  // Where a session stands; kept by the session.
  struct Place {
    Queues::iterator queue;
    std::list<Waiter>::iterator waiter;
  };
  using Places = std::vector<Place>;

  explicit BlockedKeys(const store::Store& store) : store_(store) {}

  Places add(Session& session, const WaitFor& wait);
  void remove(const Places& places);

  // Keys that sessions wait for have changed.
  bool ready() const { return !ready_.empty(); }
  // Runs the commands again that wait for such keys. No commit may be open.
  void serve(base::Millis now);
  size_t keys() const { return queues_.size(); }
  size_t keys_of_any_change() const;  // that somebody waits for so

  void absorb(const store::Commit& commit) override;

 private:
  void mark(Queues::iterator at);
  void serve_key(const Key& key, base::Millis now);

  const store::Store& store_;
  Queues queues_;
  std::vector<Key> ready_;
  bool serving_ = false;
};

// A command that waits, with arguments of its own. Kept by its session.
struct ParkedCommand {
  Command* command;
  OwnedArgs line;
  BlockedKeys::Places places;
  host::TimerId again_timer = 0;  // WaitFor::try_again_ms
};

}  // namespace quoll::server
