// SealedDisk: a Disk whose files are encrypted (sealed_format.h), while those above it see their
// plaintext with its offsets and sizes. Nothing of the log, the snapshots or the loaders knows.
//
//   open, to write   empty or new: sealed with the newest key, or plain when there is none
//                    sealed: goes on under the key it has; plain: stays plain
//   open, to read    plain: as it is, so that data from before there was a key still loads
//                    sealed: needs its key; without it the error says which one is missing
//
// The manifest of the log is sealed like the rest: else somebody could drop an increment from the
// middle of the list unseen, and lose what single files protect.
//
// Per sealed file, requests wait for each other; each may take several of the disk below. A file
// that was opened is surveyed once, head by head, before its size is known or its bytes are read.
//
// Damage is an error that names the file and the offset. So is a torn end, until mend() cuts it:
// only who loads the log knows where one may be.
//
// Cost without a key: a read of 64 bytes per open to see that the file is plain, a look into an
// empty table per request. With one: encryption on the loop, 70 us per 256 KiB piece of a snapshot;
// a survey of a file opened (reads one head per record, 4 KiB each where they are large); one
// decrypted record is kept per open file.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "host/host.h"
#include "persist/sealed_format.h"

namespace quoll::persist {

class SealedDisk final : public host::Disk {
 public:
  // `draw`: 64 bits that nobody can predict, for salts.
  SealedDisk(host::Disk& inner, std::function<uint64_t()> draw);
  ~SealedDisk() override;
  SealedDisk(const SealedDisk&) = delete;

  // Open files keep theirs.
  void set_keys(SealKeys keys) { keys_ = std::move(keys); }
  bool has_key() const { return !keys_.empty(); }
  bool is_sealed(host::FileId file) const { return files_.contains(file); }

  // Cuts a torn end for good. The value: bytes of the file cut off, 0 when it ends well or is
  // plain.
  void mend(const std::string& path, std::function<void(base::Result<uint64_t>)> done);

  void open(const std::string& path, host::OpenMode mode, host::OnFile done) override;
  void close(host::FileId file) override;
  void read(host::FileId file, host::Offset offset, size_t size, host::OnBytes done) override;
  void append(host::FileId file, std::string bytes, host::OnDone done) override;
  void sync(host::FileId file, host::OnDone done) override;
  bool gathers(host::FileId file) const override {
    return !is_sealed(file) && inner_.gathers(file);
  }
  // Only to less than there is.
  void truncate(host::FileId file, host::Offset size, host::OnDone done) override;
  void size(host::FileId file, std::function<void(base::Result<host::Offset>)> done) override;
  void rename(const std::string& from, const std::string& to, host::OnDone done) override;
  void remove(const std::string& path, host::OnDone done) override;
  void make_dir(const std::string& path, host::OnDone done) override;
  void sync_dir(const std::string& path, host::OnDone done) override;
  void list(const std::string& path, host::OnNames done) override;

 private:
  struct File;
  struct Reading;
  using FilePointer = std::shared_ptr<File>;

  // Not called any more once this object is gone.
  template <class Callback>
  auto guarded(Callback callback) {
    return [alive = alive_, callback = std::move(callback)](auto&&... values) mutable {
      if (*alive) callback(std::forward<decltype(values)>(values)...);
    };
  }
  template <class Argument>
  std::function<void(Argument)> guarded(std::function<void(Argument)> callback) {
    if (!callback) return nullptr;
    return [alive = alive_, callback = std::move(callback)](Argument value) {
      if (*alive) callback(std::forward<Argument>(value));
    };
  }

  void look(host::FileId id, const std::string& path, host::OpenMode mode, host::OnFile done);
  void opened(host::FileId id, const std::string& path, host::OpenMode mode, base::Bytes start,
              const host::OnFile& done);
  void refuse(host::FileId id, const host::OnFile& done, std::string reason);
  FilePointer adopt(host::FileId id, const std::string& path);

  FilePointer find(host::FileId id) const;
  // Requests of one file, one after the other; each calls next() when it has ended.
  void enqueue(const FilePointer& file, host::Task request);
  void next(const FilePointer& file);
  // For what is known at once: callbacks never run inside the request.
  void later(const FilePointer& file, host::Task task);

  // Knows the file, or tells the error.
  void survey(const FilePointer& file, host::OnDone done);
  void survey_more(const FilePointer& file, host::OnDone done);
  void read_records(const std::shared_ptr<Reading>& reading);
  std::string take_records(Reading& reading, base::Bytes bytes);
  void append_now(const FilePointer& file, const std::string& bytes, host::OnDone done);
  void write(const FilePointer& file, base::Bytes bytes, uint32_t dropped, host::OnDone done);
  void truncate_now(const FilePointer& file, host::Offset size, host::OnDone done);
  void find_place(const FilePointer& file, host::Offset size, SealedPlace place, host::OnDone done);
  void cut_at(const FilePointer& file, host::Offset size, const SealedPlace& place,
              const RecordHead& head, host::OnDone done);
  void cut_end(const std::string& path, host::Offset end, host::Offset size,
               std::function<void(base::Result<uint64_t>)> done);
  void begin_file(File& file);

  host::Disk& inner_;
  std::function<uint64_t()> draw_;
  SealKeys keys_;
  std::unordered_map<host::FileId, FilePointer> files_;  // the sealed ones that are open
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::persist
