#include "persist/sealed_disk.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "base/check.h"

namespace quoll::persist {

using base::Bytes;
using base::Error;
using base::Result;
using host::FileId;
using host::Offset;
using host::OnDone;
using host::OpenMode;

namespace {

constexpr size_t kSurveyBytes = 256 * 1024;    // of one read where records are small
constexpr size_t kSurveyStepBytes = 4 * 1024;  // and where they are large
constexpr uint32_t kLargeRecord = 32 * 1024;
constexpr size_t kReadBytesMax = size_t{1} << 20;  // of ciphertext asked for at once
// The smallest read that surely holds a whole record.
constexpr size_t kReadBytesMin = kSealedRunHeadBytes + kSealedRecordBytesMax + kSealedTagBytes;

}  // namespace

struct SealedDisk::File {
  FileId id;
  std::string path;
  std::deque<host::Task> requests;
  bool busy = false;

  std::optional<SealKey> key;  // of the file; set before anything is read or written
  SealedHeader header;
  bool surveyed = false;
  uint64_t file_size = 0;  // at the survey
  uint32_t surveyed_record_bytes = 0;
  bool torn = false;  // behind map.end() stands an unfinished record, or header
  SealedMap map;

  // Writing. `run`: none after opening, a cut or a failure, so that the next record begins one.
  std::optional<RunCipher> run;
  bool empty = false;      // not even a header yet
  bool uncertain = false;  // a failed append may have left bytes

  // Reading: the cipher of the run last read, and the record last decrypted.
  std::optional<RunCipher> reader;
  SealedPlace record_at;
  SealedPlace record_end;
  std::string record;

  std::string named() const { return "The encrypted file " + path; }
  Error damaged(const SealedPlace& place, const char* what) const {
    return Error{named() + " is damaged: record " + std::to_string(place.number) + " at offset " +
                 std::to_string(place.file) + " " + what};
  }
  Error torn_end() const {
    return Error{named() + " ends inside " +
                 (empty ? "its header" : "record " + std::to_string(map.end().number)) +
                 ", which begins at offset " + std::to_string(empty ? 0 : map.end().file)};
  }
  void forget_record() {
    record.clear();
    record_at = record_end = SealedPlace{};
  }
};

// One read on its way.
struct SealedDisk::Reading {
  FilePointer file;
  Offset offset;
  size_t size;
  SealedPlace place;
  std::string out;
  std::function<void(Result<std::string>)> done;
  bool waited = false;  // for the disk below
};

SealedDisk::SealedDisk(host::Disk& inner, std::function<uint64_t()> draw)
    : inner_(inner), draw_(std::move(draw)) {}

SealedDisk::~SealedDisk() {
  *alive_ = false;
  for (auto& [id, file] : files_) file->requests.clear();  // they hold their file
}

// ---- opening

void SealedDisk::open(const std::string& path, OpenMode mode, host::OnFile done) {
  inner_.open(path, mode,
              guarded([this, path, mode, done = std::move(done)](Result<FileId> opened) {
                if (!opened) return done(Error{opened.error()});
                const FileId id = opened.value();
                if (mode == OpenMode::read || mode == OpenMode::append)
                  return look(id, path, mode, done);
                if (has_key()) begin_file(*adopt(id, path));
                done(id);
              }));
}

void SealedDisk::look(FileId id, const std::string& path, OpenMode mode, host::OnFile done) {
  inner_.read(id, 0, kSealedHeaderBytes,
              guarded([this, id, path, mode, done = std::move(done)](Result<std::string> start) {
                if (!start) return refuse(id, done, start.error());
                opened(id, path, mode, start.value(), done);
              }));
}

void SealedDisk::opened(FileId id, const std::string& path, OpenMode mode, Bytes start,
                        const host::OnFile& done) {
  const std::string name = "The encrypted file " + path;
  const std::string no_key = ", but data-encryption-key-file is not set";
  SealedHeader header;
  switch (SealedHeader::parse(start, header)) {
    case SealedHeader::Kind::plain:
      if (start.empty() && mode == OpenMode::append && has_key()) begin_file(*adopt(id, path));
      return done(id);
    case SealedHeader::Kind::damaged:
      return refuse(id, done, name + " is damaged: its header at offset 0 does not pass its check");
    case SealedHeader::Kind::unknown_version:
      return refuse(id, done, name + " has a newer format than this server knows");
    case SealedHeader::Kind::torn: {
      if (!has_key()) return refuse(id, done, name + " ends inside its header" + no_key);
      FilePointer file = adopt(id, path);
      file->torn = file->empty = file->surveyed = true;
      file->file_size = start.size();
      return done(id);
    }
    case SealedHeader::Kind::sealed:
      break;
  }
  const std::string key = SealKey::name(header.key_id());
  if (!has_key()) {
    return refuse(id, done, name + " needs the key " + key + no_key);
  }
  const SealKey* found = keys_.find(header.key_id());
  if (found == nullptr) {
    return refuse(id, done,
                  name + " needs the key " + key +
                      ", which data-encryption-key-file does not hold (wrong key); it "
                      "holds " +
                      keys_.names());
  }
  FilePointer file = adopt(id, path);
  file->header = header;
  file->key = *found;
  done(id);
}

void SealedDisk::refuse(FileId id, const host::OnFile& done, std::string reason) {
  inner_.close(id);
  done(Error{std::move(reason)});
}

SealedDisk::FilePointer SealedDisk::adopt(FileId id, const std::string& path) {
  auto file = std::make_shared<File>();
  file->id = id;
  file->path = path;
  files_[id] = file;
  return file;
}

// The file has no bytes: the first record brings the header with it.
void SealedDisk::begin_file(File& file) {
  FileSalt salt;
  for (size_t i = 0; i < salt.size(); i += sizeof(uint64_t)) {
    const uint64_t word = draw_();
    std::memcpy(salt.data() + i, &word, sizeof word);
  }
  if (has_key()) file.key = keys_.newest();
  QUOLL_CHECK(file.key.has_value());
  file.header = SealedHeader(file.key->id(), salt);
  file.map = SealedMap();
  file.run.reset();
  file.reader.reset();
  file.forget_record();
  file.empty = file.surveyed = true;
  file.torn = false;
}

// ---- requests

SealedDisk::FilePointer SealedDisk::find(FileId id) const {
  if (files_.empty()) return nullptr;
  auto found = files_.find(id);
  return found == files_.end() ? nullptr : found->second;
}

void SealedDisk::enqueue(const FilePointer& file, host::Task request) {
  file->requests.push_back(std::move(request));
  if (!file->busy) next(file);
}

void SealedDisk::next(const FilePointer& file) {
  file->busy = !file->requests.empty();
  if (!file->busy) return;
  host::Task request = std::move(file->requests.front());
  file->requests.pop_front();
  request();
}

void SealedDisk::later(const FilePointer& file, host::Task task) {
  inner_.size(file->id, guarded([task = std::move(task)](const Result<Offset>&) { task(); }));
}

void SealedDisk::close(FileId id) {
  FilePointer file = find(id);
  if (!file) return inner_.close(id);
  enqueue(file, [this, file] {
    inner_.close(file->id);
    files_.erase(file->id);
    next(file);
  });
}

void SealedDisk::sync(FileId id, OnDone done) {
  FilePointer file = find(id);
  if (!file) return inner_.sync(id, guarded(std::move(done)));
  enqueue(file, [this, file, done = std::move(done)] {
    inner_.sync(file->id, guarded([this, file, done](Result<> synced) {
                  if (done) done(std::move(synced));
                  next(file);
                }));
  });
}

void SealedDisk::size(FileId id, std::function<void(Result<Offset>)> done) {
  FilePointer file = find(id);
  if (!file) return inner_.size(id, guarded(std::move(done)));
  enqueue(file, [this, file, done = std::move(done)] {
    survey(file, [this, file, done](const Result<>& surveyed) {
      Result<Offset> size = file->map.end().plain;
      if (file->torn) size = file->torn_end();
      if (!surveyed) size = Error{surveyed.error()};
      later(file, [this, file, done, size] {
        done(size);
        next(file);
      });
    });
  });
}

// ---- survey

void SealedDisk::survey(const FilePointer& file, OnDone done) {
  if (file->surveyed) return done({});
  inner_.size(file->id, guarded([this, file, done = std::move(done)](Result<Offset> size) {
                if (!size) return done(Error{size.error()});
                file->file_size = size.value();
                file->map = SealedMap();
                survey_more(file, done);
              }));
}

void SealedDisk::survey_more(const FilePointer& file, OnDone done) {
  const Offset from = file->map.end().file;
  if (from == file->file_size) {
    file->surveyed = true;
    return done({});
  }
  const bool large = file->surveyed_record_bytes > kLargeRecord;
  auto got = [this, file, from, done = std::move(done)](Result<std::string> read) {
    if (!read) return done(Error{read.error()});
    const Bytes bytes = read.value();
    SealedMap& map = file->map;
    for (;;) {
      const SealedPlace& end = map.end();
      const uint64_t left = file->file_size - end.file;
      if (left == 0 || end.file - from >= bytes.size()) break;
      const Bytes at = bytes.substr(end.file - from);
      RecordHead head;
      const auto kind = RecordHead::parse(at, file->header, end.number, head);
      if (kind == RecordHead::Kind::torn && at.size() < left) {
        if (end.file > from) break;
        return done(file->damaged(end, "cannot be read whole"));
      }
      const bool whole = kind == RecordHead::Kind::whole && head.total_bytes() <= left;
      if (kind == RecordHead::Kind::damaged)
        return done(file->damaged(end, "does not pass the check of its head"));
      if (!whole) {
        file->torn = file->surveyed = true;
        return done({});
      }
      if (!map.add(head)) return done(file->damaged(end, "does not belong there"));
      file->surveyed_record_bytes = head.size;
    }
    survey_more(file, done);
  };
  inner_.read(file->id, from, large ? kSurveyStepBytes : kSurveyBytes, guarded(std::move(got)));
}

// ---- reading

void SealedDisk::read(FileId id, Offset offset, size_t size, host::OnBytes done) {
  FilePointer file = find(id);
  if (!file) return inner_.read(id, offset, size, guarded(std::move(done)));
  enqueue(file, [this, file, offset, size, done = std::move(done)] {
    auto ended = [this, file, done](Result<std::string> bytes) {
      done(std::move(bytes));
      next(file);
    };
    survey(file, [this, file, offset, size, ended](Result<> surveyed) {
      if (!surveyed) return ended(Error{surveyed.error()});
      if (file->torn) return later(file, [file, ended] { ended(file->torn_end()); });
      auto reading = std::make_shared<Reading>(Reading{file, offset, size, {}, {}, ended, false});
      const bool goes_on = !file->record.empty() && offset >= file->record_at.plain &&
                           offset <= file->record_end.plain;
      if (goes_on) {
        reading->place = file->record_end;
        reading->out = file->record.substr(offset - file->record_at.plain, size);
      } else {
        reading->place = file->map.mark_before(offset);
      }
      read_records(reading);
    });
  });
}

void SealedDisk::read_records(const std::shared_ptr<Reading>& reading) {
  const SealedPlace& end = reading->file->map.end();
  // A read that reaches the end of the plaintext takes the empty record of a cut with it: what it
  // says is not believed before its tag was looked at.
  const bool to_end = end.plain <= reading->offset + reading->size;
  if (reading->place.file >= end.file || (reading->out.size() >= reading->size && !to_end)) {
    if (reading->waited) return reading->done(std::move(reading->out));
    return later(reading->file, [reading] { reading->done(std::move(reading->out)); });
  }
  reading->waited = true;
  const uint64_t before =
      reading->offset - std::min<uint64_t>(reading->offset, reading->place.plain);
  uint64_t wanted = std::clamp<uint64_t>(before + reading->size - reading->out.size(),
                                         kReadBytesMin, kReadBytesMax);
  wanted = std::min(wanted, end.file - reading->place.file);
  inner_.read(reading->file->id, reading->place.file, wanted,
              guarded([this, reading](Result<std::string> bytes) {
                if (!bytes) return reading->done(Error{bytes.error()});
                std::string error = take_records(*reading, bytes.value());
                if (!error.empty()) return reading->done(Error{std::move(error)});
                read_records(reading);
              }));
}

// Decrypts the whole records in `bytes`, which begin at the reading's place. The value: what is
// wrong with one.
std::string SealedDisk::take_records(Reading& reading, Bytes bytes) {
  File& file = *reading.file;
  SealedPlace& place = reading.place;
  const uint64_t begin = place.file;
  while (place.file < file.map.end().file) {
    const Bytes at = bytes.substr(place.file - begin);
    RecordHead head;
    const auto kind = RecordHead::parse(at, file.header, place.number, head);
    if (kind == RecordHead::Kind::damaged)
      return file.damaged(place, "does not pass the check of its head").message;
    if (kind == RecordHead::Kind::torn || at.size() < head.total_bytes()) {
      if (place.file > begin) return "";
      return file.damaged(place, "cannot be read whole").message;
    }
    const RunSalt& salt = head.begins_run ? head.salt : place.salt;
    if (!file.reader || file.reader->salt() != salt)
      file.reader.emplace(*file.key, file.header, salt);
    const Bytes sealed = at.substr(head.head_bytes(), head.size + kSealedTagBytes);
    std::string plain;
    if (!file.reader->open(place.number, at.substr(0, head.head_bytes()), sealed, plain))
      return file.damaged(place, "does not pass its check").message;
    plain.resize(file.map.kept(place.number, head));
    const SealedPlace start = place;
    place.pass(head, plain.size());
    if (plain.empty()) continue;
    const uint64_t wanted = reading.offset + reading.out.size();
    if (place.plain > wanted && reading.out.size() < reading.size)
      reading.out.append(plain, wanted - start.plain, reading.size - reading.out.size());
    file.record = std::move(plain);
    file.record_at = start;
    file.record_end = place;
    if (reading.out.size() >= reading.size) return "";
  }
  return "";
}

// ---- writing

void SealedDisk::append(FileId id, std::string bytes, OnDone done) {
  FilePointer file = find(id);
  if (!file) return inner_.append(id, std::move(bytes), guarded(std::move(done)));
  enqueue(file, [this, file, bytes = std::move(bytes), done = std::move(done)] {
    auto ended = [this, file, done](Result<> result) {
      if (done) done(std::move(result));
      next(file);
    };
    survey(file, [this, file, bytes, ended](Result<> surveyed) {
      if (!surveyed) return ended(std::move(surveyed));
      if (file->torn) return later(file, [file, ended] { ended(file->torn_end()); });
      append_now(file, bytes, ended);
    });
  });
}

void SealedDisk::append_now(const FilePointer& file, const std::string& bytes, OnDone done) {
  if (!file->uncertain) return write(file, bytes, 0, std::move(done));
  const Offset end = file->empty ? 0 : file->map.end().file;
  inner_.truncate(file->id, end, guarded([this, file, bytes, done](Result<> cut) {
                    if (!cut) return done(std::move(cut));
                    file->uncertain = false;
                    write(file, bytes, 0, done);
                  }));
}

// One append below: a header where there is none, and the records. `dropped`: an empty record that
// cuts the one before it.
void SealedDisk::write(const FilePointer& file, Bytes bytes, uint32_t dropped, OnDone done) {
  std::string out;
  out.reserve(kSealedHeaderBytes + bytes.size() +
              (bytes.size() / kSealedRecordBytesMax + 1) * (kSealedRunHeadBytes + kSealedTagBytes));
  if (file->empty) out = file->header.bytes();
  std::vector<RecordHead> heads;
  uint64_t number = file->map.end().number;
  while (!bytes.empty() || dropped > 0) {
    RecordHead head;
    head.size = static_cast<uint32_t>(std::min(bytes.size(), kSealedRecordBytesMax));
    head.dropped = std::exchange(dropped, 0);
    if (!file->run) {
      head.begins_run = true;
      for (size_t i = 0; i < head.salt.size(); i += sizeof(uint64_t)) {
        const uint64_t word = draw_();
        std::memcpy(head.salt.data() + i, &word, sizeof word);
      }
      file->run.emplace(*file->key, file->header, head.salt);
    }
    const std::string head_bytes = head.encode(file->header, number);
    out += head_bytes;
    file->run->seal(number++, head_bytes, bytes.substr(0, head.size), out);
    bytes.remove_prefix(head.size);
    heads.push_back(head);
  }
  const bool nothing = heads.empty();
  if (nothing) out.clear();
  inner_.append(file->id, std::move(out),
                guarded([file, heads = std::move(heads), nothing, done](Result<> written) {
                  if (!written) {
                    file->uncertain = true;
                    file->run.reset();  // the next record must not use a nonce again
                    return done(std::move(written));
                  }
                  if (!nothing) file->empty = false;
                  for (const RecordHead& head : heads) QUOLL_CHECK(file->map.add(head));
                  done({});
                }));
}

// ---- cutting

void SealedDisk::truncate(FileId id, Offset size, OnDone done) {
  FilePointer file = find(id);
  if (!file) return inner_.truncate(id, size, guarded(std::move(done)));
  enqueue(file, [this, file, size, done = std::move(done)] {
    auto ended = [this, file, done](Result<> result) {
      file->run.reset();
      file->forget_record();
      if (done) done(std::move(result));
      next(file);
    };
    survey(file, [this, file, size, ended](Result<> surveyed) {
      if (!surveyed) return ended(std::move(surveyed));
      truncate_now(file, size, ended);
    });
  });
}

void SealedDisk::truncate_now(const FilePointer& file, Offset size, OnDone done) {
  if (size > file->map.end().plain) {
    return later(file, [file, done] { done(Error{file->named() + " can only be cut shorter"}); });
  }
  if (size > 0) return find_place(file, size, file->map.mark_before(size), std::move(done));
  inner_.truncate(file->id, 0, guarded([this, file, done = std::move(done)](Result<> cut) {
                    if (!cut) return done(std::move(cut));
                    begin_file(*file);
                    file->uncertain = false;
                    done({});
                  }));
}

// Goes on from `place` to the record that holds the byte at `size`, past all that end before it.
void SealedDisk::find_place(const FilePointer& file, Offset size, SealedPlace place, OnDone done) {
  if (place.file == file->map.end().file) return cut_at(file, size, place, {}, std::move(done));
  auto got = [this, file, size, place, done = std::move(done)](Result<std::string> read) {
    if (!read) return done(Error{read.error()});
    SealedPlace at = place;
    while (at.file < file->map.end().file) {
      const Bytes bytes =
          Bytes(read.value()).substr(std::min<uint64_t>(at.file - place.file, read.value().size()));
      RecordHead head;
      const auto kind = RecordHead::parse(bytes, file->header, at.number, head);
      if (kind == RecordHead::Kind::damaged)
        return done(file->damaged(at, "does not pass the check of its head"));
      if (kind == RecordHead::Kind::torn) {
        if (at.file > place.file) break;
        return done(file->damaged(at, "cannot be read whole"));
      }
      const uint64_t kept = file->map.kept(at.number, head);
      if (at.plain + kept > size) return cut_at(file, size, at, head, done);
      at.pass(head, kept);
    }
    find_place(file, size, at, done);
  };
  inner_.read(file->id, place.file, kSurveyBytes, guarded(std::move(got)));
}

// The byte at `size` is in the record at `place`, or the record begins with it.
void SealedDisk::cut_at(const FilePointer& file, Offset size, const SealedPlace& place,
                        const RecordHead& head, OnDone done) {
  const bool inside = size > place.plain;
  SealedPlace end = place;
  if (inside) end.pass(head, head.size);
  const auto dropped = static_cast<uint32_t>(inside ? head.size - (size - place.plain) : 0);
  auto cut = [this, file, end, dropped, head, done = std::move(done)](Result<> result) {
    if (!result) return done(std::move(result));
    file->torn = file->uncertain = false;
    file->map.cut(end, dropped > 0 ? head.size : 0);
    file->run.reset();
    if (dropped == 0) return done({});
    write(file, "", dropped, done);
  };
  inner_.truncate(file->id, end.file, guarded(std::move(cut)));
}

void SealedDisk::mend(const std::string& path, std::function<void(Result<uint64_t>)> done) {
  open(path, OpenMode::read, [this, path, done = std::move(done)](Result<FileId> opened) {
    if (!opened) return done(Error{opened.error()});
    FilePointer file = find(opened.value());
    if (!file) {
      inner_.close(opened.value());
      return done(uint64_t{0});
    }
    auto surveyed = [this, path, file, done](Result<> result) {
      close(file->id);
      next(file);
      if (!result) return done(Error{result.error()});
      if (!file->torn) return done(uint64_t{0});
      cut_end(path, file->empty ? 0 : file->map.end().file, file->file_size, done);
    };
    enqueue(file, [this, file, surveyed] { survey(file, surveyed); });
  });
}

void SealedDisk::cut_end(const std::string& path, Offset end, Offset size,
                         std::function<void(Result<uint64_t>)> done) {
  auto cut_open = [this, end, size, done = std::move(done)](Result<FileId> opened) {
    if (!opened) return done(Error{opened.error()});
    const FileId id = opened.value();
    auto ended = [this, id, end, size, done](Result<> result) {
      inner_.close(id);
      if (!result) return done(Error{result.error()});
      done(size - end);
    };
    inner_.truncate(id, end, guarded([this, id, ended](Result<> cut) {
                      if (!cut) return ended(std::move(cut));
                      inner_.sync(id, guarded(ended));
                    }));
  };
  inner_.open(path, OpenMode::append, guarded(std::move(cut_open)));
}

// ---- paths

void SealedDisk::rename(const std::string& from, const std::string& to, OnDone done) {
  inner_.rename(from, to, guarded(std::move(done)));
}

void SealedDisk::remove(const std::string& path, OnDone done) {
  inner_.remove(path, guarded(std::move(done)));
}

void SealedDisk::make_dir(const std::string& path, OnDone done) {
  inner_.make_dir(path, guarded(std::move(done)));
}

void SealedDisk::sync_dir(const std::string& path, OnDone done) {
  inner_.sync_dir(path, guarded(std::move(done)));
}

void SealedDisk::list(const std::string& path, host::OnNames done) {
  inner_.list(path, guarded(std::move(done)));
}

}  // namespace quoll::persist
