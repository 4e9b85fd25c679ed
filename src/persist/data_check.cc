#include "persist/data_check.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "host/whole_file.h"

namespace quoll::persist {

using base::Result;

namespace {

constexpr base::Bytes kRdbMagic = "REDIS";
constexpr base::Bytes kManifestEnd = ".manifest";
constexpr size_t kStartBytes = 4096;  // what tells the kinds of files apart

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// A manifest's first line that is no comment begins with the word file.
bool is_manifest(base::Bytes start) {
  while (start.starts_with('#')) {
    const size_t end = start.find('\n');
    if (end == base::Bytes::npos) return false;
    start.remove_prefix(end + 1);
  }
  return start.starts_with("file ");
}

std::string decimal(uint64_t number) { return std::to_string(number); }

std::string hexadecimal(uint64_t number) {
  constexpr int kWidth = 16;
  char text[32];
  std::snprintf(text, sizeof text, "0x%*llx", kWidth, static_cast<unsigned long long>(number));
  return text;
}

}  // namespace

template <class T>
Result<T> DataCheck::wait_for(const std::function<void(std::function<void(Result<T>)>)>& request) {
  std::optional<Result<T>> answer;
  request([&](Result<T> result) {
    answer = std::move(result);
    world_.stop();
  });
  while (!answer) world_.run();
  return std::move(*answer);
}

// ---- reading

bool DataCheck::open(File& file) {
  Result<host::FileId> opened = wait_for<host::FileId>(
      [&](auto done) { world_.disk.open(file.path, host::OpenMode::read, std::move(done)); });
  if (!opened) {
    tell("Cannot open file " + file.path + ": " + opened.error());
    return false;
  }
  file.id = opened.value();
  Result<host::Offset> size =
      wait_for<host::Offset>([&](auto done) { world_.disk.size(file.id, std::move(done)); });
  if (!size) tell("Cannot stat file: " + file.path + ": " + size.error());
  file.size = size ? size.value() : 0;
  return size.ok();
}

// False: the disk refuses. Empty at the end.
bool DataCheck::next_piece(File& file, std::string& bytes) {
  Result<std::string> got = wait_for<std::string>(
      [&](auto done) { world_.disk.read(file.id, file.read, kCheckPieceBytes, std::move(done)); });
  if (!got) {
    tell("Failed to read from " + file.name + " at offset " + decimal(file.read) + ": " +
         got.error());
    return false;
  }
  bytes = std::move(got.value());
  file.read += bytes.size();
  return true;
}

Result<std::string> DataCheck::start_of(const std::string& path) {
  Result<host::FileId> opened = wait_for<host::FileId>(
      [&](auto done) { world_.disk.open(path, host::OpenMode::read, std::move(done)); });
  if (!opened) return base::Error{opened.error()};
  Result<std::string> start = wait_for<std::string>(
      [&](auto done) { world_.disk.read(opened.value(), 0, kStartBytes, std::move(done)); });
  world_.disk.close(opened.value());
  return start;
}

// ---- what is what

bool DataCheck::path(const std::string& path) {
  Result<std::vector<std::string>> names = wait_for<std::vector<std::string>>(
      [&](auto done) { world_.disk.list(path, std::move(done)); });
  if (names) return directory(path, names.value());
  Result<std::string> start = start_of(path);
  if (!start) {
    tell("Cannot open file " + path + ": " + start.error());
    return false;
  }
  if (is_manifest(start.value()) || path.ends_with(kManifestEnd)) return manifest(path);
  // A log may begin as an RDB file does: what follows the end of the RDB decides.
  return start.value().starts_with(kRdbMagic) ? rdb_file(path) : log_file(path);
}

bool DataCheck::directory(const std::string& path, const std::vector<std::string>& names) {
  bool good = true;
  bool anything = false;
  for (const std::string& name : names) {
    const std::string inside = path + "/" + name;
    const bool temporary = name.starts_with("temp-");
    if (name.ends_with(kManifestEnd) && !temporary) {
      good &= manifest(inside);
      anything = true;
      continue;
    }
    if (name.ends_with(".rdb") && !temporary &&
        std::none_of(names.begin(), names.end(),
                     [](const std::string& other) { return other.ends_with(kManifestEnd); })) {
      good &= rdb_file(inside);
      anything = true;
      continue;
    }
    // The append-only directory is one level down.
    Result<std::vector<std::string>> below = wait_for<std::vector<std::string>>(
        [&](auto done) { world_.disk.list(inside, std::move(done)); });
    if (!below) continue;
    for (const std::string& file : below.value()) {
      if (!file.ends_with(kManifestEnd) || file.starts_with("temp-")) continue;
      good &= manifest(inside + "/" + file);
      anything = true;
    }
  }
  if (!anything) tell("No RDB file and no AOF manifest in " + path);
  return good && anything;
}

bool DataCheck::rdb_file(const std::string& path) {
  File file{path, path};
  if (!open(file)) return false;
  RdbCheck rdb(path, options_.now, world_.tell);
  std::string rest;
  bool good = check_preamble(file, rdb, rest);
  rdb.report();
  if (good && (!rest.empty() || file.read < file.size)) {
    tell("RDB preamble is OK, proceeding with AOF tail...");
    const Verdict verdict = check_commands(file, std::move(rest), rdb.offset());
    good = verdict != Verdict::bad;
    if (verdict == Verdict::valid) tell("AOF " + file.name + " is valid");
  }
  world_.disk.close(file.id);
  return good;
}

bool DataCheck::log_file(const std::string& path) {
  Result<std::string> start = start_of(path);
  if (!start) {
    tell("Cannot open file " + path + ": " + start.error());
    return false;
  }
  if (is_manifest(start.value()) || path.ends_with(kManifestEnd)) return manifest(path);
  tell("Start checking Old-Style AOF");
  File file{path, path};
  if (!open(file)) return false;
  const Verdict verdict = check_log(file);
  world_.disk.close(file.id);
  if (verdict == Verdict::valid) tell("AOF " + file.name + " is valid");
  if (verdict == Verdict::empty) tell("AOF " + file.name + " is empty");
  return verdict != Verdict::bad;
}

// ---- manifests

bool DataCheck::manifest(const std::string& path) {
  tell("Start checking Multi Part AOF");
  Result<std::string> text = wait_for<std::string>(
      [&](auto done) { host::read_whole_file(world_.disk, path, std::move(done)); });
  if (!text) {
    tell("Cannot open file " + path + ": " + text.error());
    return false;
  }
  std::string name = name_of(path);
  if (name.ends_with(kManifestEnd)) name.resize(name.size() - kManifestEnd.size());
  AofManifest manifest(name);
  AofManifestError error;
  if (!manifest.parse(text.value(), error)) {
    for (const std::string& line : error.report()) tell(line);
    tell("[additional info] In file " + path);
    return false;
  }
  const bool good = listed(folder_of(path), manifest);
  tell_unlisted(folder_of(path), manifest);
  return good;
}

bool DataCheck::listed(const std::string& folder, const AofManifest& manifest) {
  Verdict verdict = Verdict::valid;
  if (manifest.has_base()) {
    const std::string& name = manifest.base().name;
    Result<std::string> start = start_of(folder + "/" + name);
    const bool rdb = start && start.value().starts_with(kRdbMagic);
    tell("Start to check BASE AOF (" + std::string(rdb ? "RDB" : "RESP") + " format).");
    const bool last = manifest.increments().empty();
    if (!listed_file(folder, name, "BASE AOF", last, verdict)) return false;
  }
  if (!manifest.increments().empty()) tell("Start to check INCR files.");
  for (const AofFile& file : manifest.increments()) {
    const bool last = &file == &manifest.increments().back();
    if (!listed_file(folder, file.name, "INCR AOF", last, verdict)) return false;
  }
  if (verdict != Verdict::cut_until) tell("All AOF files and manifest are valid");
  return true;
}

bool DataCheck::listed_file(const std::string& folder, const std::string& name, const char* role,
                            bool last, Verdict& verdict) {
  File file{folder + "/" + name, name};
  file.last = last;
  if (!open(file)) return false;
  verdict = check_log(file);
  world_.disk.close(file.id);
  if (verdict == Verdict::valid) tell(std::string(role) + " " + name + " is valid");
  if (verdict == Verdict::empty) tell(std::string(role) + " " + name + " is empty");
  return verdict != Verdict::bad;
}

void DataCheck::tell_unlisted(const std::string& folder, const AofManifest& manifest) {
  Result<std::vector<std::string>> names = wait_for<std::vector<std::string>>(
      [&](auto done) { world_.disk.list(folder, std::move(done)); });
  if (!names) return;
  for (const std::string& name : names.value()) {
    const bool ours =
        name.starts_with(manifest.file_name()) || name.starts_with("temp-" + manifest.file_name());
    if (ours && name != manifest.manifest_name() && !manifest.lists(name))
      tell("[info] not listed in the manifest, and not read by the server: " + name);
  }
  for (const AofFile& file : manifest.history())
    tell("[info] replaced, to be removed by the server: " + file.name);
}

// ---- one file of commands

DataCheck::Verdict DataCheck::check_log(File& file) {
  if (file.size == 0) return Verdict::empty;
  std::string bytes;
  if (!next_piece(file, bytes)) return Verdict::bad;
  uint64_t offset = 0;
  if (bytes.starts_with(kRdbMagic)) {
    RdbCheck rdb(file.name, options_.now, world_.tell);
    file.read = 0;
    const bool good = check_preamble(file, rdb, bytes);
    rdb.report();
    if (!good) {
      tell("RDB preamble of AOF file is not sane, aborting.");
      return Verdict::bad;
    }
    tell("RDB preamble is OK, proceeding with AOF tail...");
    offset = rdb.offset();
  }
  return check_commands(file, std::move(bytes), offset);
}

// Reads to the end of the RDB. `rest`: what was read behind it.
bool DataCheck::check_preamble(File& file, RdbCheck& rdb, std::string& rest) {
  while (!rdb.ended()) {
    std::string bytes;
    if (!next_piece(file, bytes)) return false;
    if (bytes.empty() ? !rdb.finish() : !rdb.feed(bytes)) return false;
  }
  rest = std::string(rdb.tail());
  return true;
}

DataCheck::Verdict DataCheck::check_commands(File& file, std::string bytes, uint64_t offset) {
  AofReaderOptions options;
  options.base_offset = offset;
  options.bulk_bytes_max = options_.bulk_bytes_max;
  if (options_.until > 0) options.until = options_.until;
  AofCheck log(std::move(options), options_.known, world_.tell);
  while (log.feed(std::move(bytes))) {
    if (log.reader().until_offset()) break;
    if (!next_piece(file, bytes)) return Verdict::bad;
    if (bytes.empty()) break;
  }
  if (const auto cut = log.reader().until_offset()) {
    log.report();
    return cut_until(file, *cut);
  }
  return end_log(file, log, log.finish());
}

DataCheck::Verdict DataCheck::end_log(File& file, AofCheck& log, const AofEnd& end) {
  const bool clean = end.kind == AofEnd::Kind::clean;
  if (clean && options_.until > 0) {
    log.report();
    tell("Truncate nothing in AOF " + file.name + " to timestamp " +
         std::to_string(options_.until));
    return Verdict::valid;
  }
  if (!clean) {
    std::string reason = end.reason;
    if (end.kind == AofEnd::Kind::torn)
      reason = end.open_block ? "Reached EOF before reading EXEC for MULTI"
                              : "Reached EOF inside a command";
    tell(hexadecimal(end.offset) + ": " + reason);
    tell("[additional info] In file " + file.name + ", at offset " + decimal(end.offset));
  }
  tell("AOF analyzed: filename=" + file.name + ", size=" + decimal(file.size) + ", ok_up_to=" +
       decimal(end.valid_bytes) + ", ok_up_to_line=" + decimal(log.reader().valid_lines() + 1) +
       ", diff=" + decimal(file.size - end.valid_bytes));
  log.report();
  if (clean) return Verdict::valid;
  if (options_.fix) return cut_tail(file, end);
  tell("AOF " + file.name + " is not valid. Use the --fix option to try fixing it.");
  return Verdict::bad;
}

// ---- cutting

DataCheck::Verdict DataCheck::cut_until(File& file, uint64_t offset) {
  const std::string instant = std::to_string(options_.until);
  if (offset == 0) {
    tell("AOF " + file.name + " has nothing before timestamp " + instant + ", aborting...");
    return Verdict::bad;
  }
  if (!file.last) {
    tell("Failed to truncate AOF " + file.name + " to timestamp " + instant + " to offset " +
         decimal(offset) + " because it is not the last file.");
    tell(
        "If you insist, please delete all files after this file according to the manifest file and "
        "delete the corresponding records in manifest file manually. Then re-run this check.");
    return Verdict::bad;
  }
  if (!truncate(file, offset)) return Verdict::bad;
  tell("Successfully truncated AOF " + file.name + " to timestamp " + instant);
  return Verdict::cut_until;
}

DataCheck::Verdict DataCheck::cut_tail(File& file, const AofEnd& end) {
  if (!file.last) {
    tell("Failed to truncate AOF " + file.name + " because it is not the last file");
    return Verdict::bad;
  }
  const uint64_t cut = file.size - end.valid_bytes;
  Result<std::string> lost = wait_for<std::string>([&](auto done) {
    world_.disk.read(file.id, end.valid_bytes, kToldBytesMax + 1, std::move(done));
  });
  if (end.kind == AofEnd::Kind::damaged)
    tell("This is no torn tail but damage: commands behind it, good or not, are cut, too.");
  if (lost) tell("What is cut begins with: " + told(lost.value().substr(0, kToldBytesMax)));
  tell("This will shrink the AOF " + file.name + " from " + decimal(file.size) + " bytes, with " +
       decimal(cut) + " bytes, to " + decimal(end.valid_bytes) + " bytes");
  if (!world_.ask("Continue? [y/N]: ")) {
    tell("Aborting...");
    return Verdict::bad;
  }
  if (!truncate(file, end.valid_bytes)) return Verdict::bad;
  tell("Successfully truncated AOF " + file.name);
  return Verdict::cut;
}

bool DataCheck::truncate(const File& file, uint64_t size) {
  const auto failed = [&](const std::string& reason) {
    tell("Failed to truncate AOF " + file.name + ": " + reason);
    return false;
  };
  Result<host::FileId> opened = wait_for<host::FileId>(
      [&](auto done) { world_.disk.open(file.path, host::OpenMode::append, std::move(done)); });
  if (!opened) return failed(opened.error());
  Result<> result = wait_for<void>(
      [&](auto done) { world_.disk.truncate(opened.value(), size, std::move(done)); });
  if (result)
    result = wait_for<void>([&](auto done) { world_.disk.sync(opened.value(), std::move(done)); });
  world_.disk.close(opened.value());
  return result ? true : failed(result.error());
}

}  // namespace quoll::persist
