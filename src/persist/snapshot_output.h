// SnapshotOutput: where the bytes of a snapshot go: a file, or replicas that are being given all
// data. Bytes are taken at once and wait here; the producer looks at waiting_bytes() and pauses.
#pragma once

#include <string>

#include "host/host.h"

namespace quoll::persist {

class SnapshotOutput {
 public:
  virtual ~SnapshotOutput() = default;  // abandons what is not finished
  virtual void append(std::string piece) = 0;
  virtual size_t waiting_bytes() const = 0;
  // Not empty: it takes nothing more, and why. What follows is ignored.
  virtual const std::string& error() const = 0;
  // Told once: all was taken for good, or why not.
  virtual void finish(host::OnDone done) = 0;
  // Gives up, before finish(). Told when nothing of it is left that a next one could meet.
  virtual void abandon(host::OnDone done) { done({}); }
};

}  // namespace quoll::persist
