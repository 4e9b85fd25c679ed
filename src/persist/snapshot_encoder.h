// SnapshotEncoder: what turns the entries of a snapshot into the bytes of a file. Bytes gather and
// are taken out as they come.
#pragma once

#include <string>

#include "store/snapshot.h"

namespace quoll::persist {

class SnapshotEncoder : public store::SnapshotSink {
 public:
  // After the last entry.
  virtual void finish() = 0;
  virtual size_t gathered_bytes() const = 0;
  // The bytes gathered so far, but for those behind an unfinished value.
  virtual std::string take() = 0;
  // Why the snapshot cannot be written; empty: it can.
  virtual const std::string& refusal() const = 0;
};

}  // namespace quoll::persist
