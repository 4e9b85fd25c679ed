#include "cluster/group_wal_reader.h"

namespace quoll::cluster {

void WalReader::feed(base::Bytes bytes) {
  waiting_.erase(0, at_);
  at_ = 0;
  waiting_ += bytes;
}

WalReader::Step WalReader::next(Entry& entry, base::Bytes& bytes) {
  base::Bytes left = base::Bytes(waiting_).substr(at_);
  while (batch_left_ == 0) {  // a batch may be empty
    if (left.size() < kWalBatchBytes) return Step::more;
    WalBatch batch;
    if (!decode_wal_batch(left, sequence_, offset_, batch)) return Step::damaged;
    promised_ = batch.promised;
    batch_left_ = batch.bytes;
    at_ += kWalBatchBytes;
    offset_ += kWalBatchBytes;
    left.remove_prefix(kWalBatchBytes);
  }
  // No more than the batch, so that a damaged size does not make us wait for the whole file.
  const bool complete = left.size() >= batch_left_;
  const EntryFault fault = decode_entry(left.substr(0, batch_left_), entry);
  if (fault == EntryFault::damaged) return Step::damaged;
  if (fault == EntryFault::short_of_bytes) return complete ? Step::damaged : Step::more;
  bytes = left.substr(0, entry.bytes);
  at_ += entry.bytes;
  offset_ += entry.bytes;
  batch_left_ -= entry.bytes;
  return Step::entry;
}

void WalScan::feed(base::Bytes bytes) {
  waiting_ += bytes;
  const base::Bytes all = waiting_;
  size_t at = 0;
  while (at + kWalBatchBytes <= all.size()) {
    at = all.find(kWalBatchMagic, at);
    if (at == base::Bytes::npos || at + kWalBatchBytes > all.size()) break;
    WalBatch batch;
    if (decode_wal_batch(all.substr(at), sequence_, offset_ + at, batch))
      promised_ = batch.promised;
    ++at;
  }
  // A batch that is cut here is found with the next bytes.
  const size_t keep = std::min(all.size(), kWalBatchBytes - 1);
  offset_ += all.size() - keep;
  waiting_.erase(0, all.size() - keep);
}

}  // namespace quoll::cluster
