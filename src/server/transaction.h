// What a session keeps between MULTI and EXEC: the queued commands, with bytes of their own, and
// the watched keys.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/blob.h"
#include "base/client_memory.h"
#include "server/command_table.h"
#include "store/commit.h"

namespace quoll::server {

// A command line that owns its bytes. Large arguments are moved in, not copied.
class OwnedArgs {
 public:
  // `blob(i)` yields the Blob of argument i or nullptr.
  template <class BlobOf>
  OwnedArgs(Args args, BlobOf&& blob) : views_(args.size()) {
    size_t bytes = 0;
    for (size_t i = 0; i < args.size(); ++i)
      if (!blob(i)) bytes += args[i].size();
    text_ = std::make_unique<char[]>(bytes);
    char* place = text_.get();
    for (size_t i = 0; i < args.size(); ++i) {
      if (base::Blob* large = blob(i)) {
        blobs_.push_back({i, std::move(*large)});
        views_[i] = blobs_.back().blob.view();
      } else {
        if (!args[i].empty()) std::memcpy(place, args[i].data(), args[i].size());
        views_[i] = {place, args[i].size()};
        place += args[i].size();
      }
    }
    held_.add(base::usable_size(bytes) + base::usable_size(views_.size() * sizeof(Bytes)));
    for (const Large& large : blobs_) held_.add(large.blob.footprint());
  }

  Args args() const { return views_; }
  base::Blob* blob(size_t argument) {
    for (Large& large : blobs_)
      if (large.argument == argument) return &large.blob;
    return nullptr;
  }
  size_t bytes() const { return held_.bytes(); }

 private:
  struct Large {
    size_t argument;
    base::Blob blob;
  };
  std::vector<Bytes> views_;
  std::unique_ptr<char[]> text_;
  std::vector<Large> blobs_;
  base::HeldForClient held_;
};

struct QueuedCommand {
  Command* command;
  OwnedArgs line;
};

struct WatchedKey {
  store::DbIndex db;
  std::string key;
  bool expired;  // was already past its deadline when WATCH came
};

// Which slots of the cluster commands use.
struct SlotUse {
  static constexpr int kNone = -1;
  int slot = kNone;      // of the first key
  bool crosses = false;  // other keys are in other slots
  bool writes = false;

  void add(int other_slot) {
    if (slot == kNone) slot = other_slot;
    crosses |= slot != other_slot;
  }
  void add(const SlotUse& other) {
    if (other.slot != kNone) add(other.slot);
    crosses |= other.crosses;
    writes |= other.writes;
  }
};

struct Transaction {
  bool open = false;     // MULTI was given
  bool aborted = false;  // a command was refused while queueing: EXEC replies EXECABORT
  bool dirty = false;    // a watched key changed: EXEC replies null
  std::vector<QueuedCommand> queue;
  std::vector<WatchedKey> watched;
  base::HeldForClient watched_held;
  size_t bytes = 0;
  SlotUse slots;  // of the queued commands; only kept in a cluster

  void reset() {
    open = aborted = dirty = false;
    slots = {};
    queue.clear();
    bytes = 0;
  }
};

}  // namespace quoll::server
