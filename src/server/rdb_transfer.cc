#include "server/rdb_transfer.h"

#include <algorithm>

#include "base/check.h"
#include "persist/snapshot_file.h"

namespace quoll::server {

// What the snapshot job writes to: the transfer itself may live longer than the job.
class RdbTransfer::Live final : public persist::SnapshotOutput {
 public:
  Live(std::shared_ptr<RdbTransfer> transfer) : transfer_(std::move(transfer)) {}
  void append(std::string piece) override { transfer_->append(std::move(piece)); }
  size_t waiting_bytes() const override { return transfer_->waiting(); }
  const std::string& error() const override {
    static const std::string kNone, kNobody = "no replica is left to take it";
    return transfer_->has_readers() ? kNone : kNobody;
  }
  void finish(host::OnDone done) override {
    transfer_->append(transfer_->mark_);
    transfer_->end();
    done({});
  }

 private:
  std::shared_ptr<RdbTransfer> transfer_;
};

class RdbTransfer::Spool final : public persist::SnapshotOutput {
 public:
  Spool(std::shared_ptr<RdbTransfer> transfer, const std::string& path)
      : transfer_(std::move(transfer)), file_(transfer_->disk_, path, path + ".part") {}
  void append(std::string piece) override { file_.append(std::move(piece)); }
  size_t waiting_bytes() const override { return file_.waiting_bytes(); }
  const std::string& error() const override {
    static const std::string kNobody = "no replica is left to take it";
    return transfer_->has_readers() ? file_.error() : kNobody;
  }
  void finish(host::OnDone done) override {
    file_.finish([transfer = transfer_, done = std::move(done)](base::Result<> written) {
      if (written) transfer->open_spool();
      done(std::move(written));
    });
  }

 private:
  std::shared_ptr<RdbTransfer> transfer_;
  persist::SnapshotFile file_;
};

RdbTransfer::~RdbTransfer() {
  if (file_open_) disk_.close(file_);
  if (!spool_path_.empty()) disk_.remove(spool_path_, [](base::Result<>) {});
}

std::unique_ptr<persist::SnapshotOutput> RdbTransfer::stream(std::string mark) {
  mark_ = std::move(mark);
  append("$EOF:" + mark_ + "\r\n");
  return std::make_unique<Live>(shared_from_this());
}

std::unique_ptr<persist::SnapshotOutput> RdbTransfer::spool(
    std::string path, std::function<void(std::string)> failed) {
  spool_path_ = std::move(path);
  failed_ = std::move(failed);
  return std::make_unique<Spool>(shared_from_this(), spool_path_);
}

void RdbTransfer::add(Reader& reader) {
  QUOLL_CHECK(start_ == 0);
  reader.at = 0;
  readers_.push_back(&reader);
}

void RdbTransfer::remove(Reader& reader) {
  std::erase(readers_, &reader);
  trim();
  read_spool();
}

void RdbTransfer::append(std::string piece) {
  if (piece.empty()) return;
  const uint64_t start = end_;
  end_ += piece.size();
  pieces_.push_back({start, std::move(piece)});
  wake_readers();
}

void RdbTransfer::end() {
  complete_ = true;
  wake_readers();
}

void RdbTransfer::let_go() {
  held_back_ = false;
  wake_readers();
}

void RdbTransfer::wake_readers() {
  if (held_back_) return;
  for (Reader* reader : readers_) reader->wake();
}

size_t RdbTransfer::gather(const Reader& reader, std::span<base::Bytes> parts) const {
  if (held_back_) return 0;
  auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), reader.at,
                                [](uint64_t at, const Piece& one) { return at < one.start; });
  if (piece == pieces_.begin()) return 0;
  --piece;
  size_t count = 0;
  size_t skip = reader.at - piece->start;
  for (; piece != pieces_.end() && count < parts.size(); ++piece, skip = 0)
    if (piece->bytes.size() > skip) parts[count++] = base::Bytes(piece->bytes).substr(skip);
  return count;
}

void RdbTransfer::consumed(Reader& reader, size_t bytes) {
  reader.at += bytes;
  trim();
  read_spool();
}

void RdbTransfer::trim() {
  uint64_t slowest = end_;
  for (const Reader* reader : readers_) slowest = std::min(slowest, reader->at);
  while (!pieces_.empty() && pieces_.front().start + pieces_.front().bytes.size() <= slowest) {
    start_ = pieces_.front().start + pieces_.front().bytes.size();
    pieces_.pop_front();
  }
}

size_t RdbTransfer::waiting() const {
  uint64_t slowest = end_;
  for (const Reader* reader : readers_) slowest = std::min(slowest, reader->at);
  return end_ - slowest;
}

void RdbTransfer::open_spool() {
  disk_.open(spool_path_, host::OpenMode::read,
             [self = shared_from_this()](base::Result<host::FileId> opened) {
               if (!opened) return self->failed_(opened.error());
               self->file_ = opened.value();
               self->file_open_ = true;
               self->disk_.size(self->file_, [self](base::Result<host::Offset> size) {
                 if (!size) return self->failed_(size.error());
                 self->append("$" + std::to_string(size.value()) + "\r\n");
                 self->read_spool();
               });
             });
}

void RdbTransfer::read_spool() {
  if (!file_open_ || reading_ || complete_ || end_ == 0 || readers_.empty() ||
      waiting() > kSpoolWaitingMax)
    return;
  reading_ = true;
  disk_.read(file_, file_at_, kSpoolReadBytes,
             [self = shared_from_this()](base::Result<std::string> read) {
               self->reading_ = false;
               if (!read) return self->failed_(read.error());
               const size_t size = read.value().size();
               self->file_at_ += size;
               self->append(std::move(read.value()));
               if (size < kSpoolReadBytes)
                 self->end();
               else
                 self->read_spool();
             });
}

}  // namespace quoll::server
