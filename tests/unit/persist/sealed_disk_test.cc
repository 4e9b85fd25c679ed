#include "persist/sealed_disk.h"

#include <doctest/doctest.h>

#include <random>
#include <set>

#include "tests/unit/persist/memory_disk.h"

namespace quoll::persist {
namespace {

using base::Bytes;
using base::Result;
using host::FileId;
using host::OpenMode;

const std::string kOldKey(64, 'a');
const std::string kNewKey(64, 'b');
constexpr size_t kMany = size_t{1} << 30;

SealKeys keys_of(const std::string& text) {
  auto keys = SealKeys::parse(text);
  REQUIRE(keys.ok());
  return keys.value();
}

std::string text_of(size_t size, uint64_t seed) {
  std::mt19937_64 dice(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>('a' + dice() % 26);
  return text;
}

// A sealed disk on a memory, and requests that wait for their answers.
struct Bench {
  MemoryDisk memory;
  uint64_t drawn = 0;
  SealedDisk disk{memory, [this] { return ++drawn * 0x9e3779b97f4a7c15ULL; }};

  explicit Bench(const std::string& keys = kOldKey) {
    if (!keys.empty()) disk.set_keys(keys_of(keys));
  }

  Result<FileId> open(const std::string& path, OpenMode mode) {
    std::optional<Result<FileId>> got;
    disk.open(path, mode, [&](Result<FileId> opened) { got = std::move(opened); });
    CHECK_FALSE(got.has_value());
    return memory.wait(got);
  }
  FileId opened(const std::string& path, OpenMode mode) {
    Result<FileId> file = open(path, mode);
    CHECK_MESSAGE(file.ok(), file.error());
    return file.value();
  }
  template <class Request>
  Result<> done(Request request) {
    std::optional<Result<>> got;
    request([&](Result<> result) { got = std::move(result); });
    CHECK_FALSE(got.has_value());  // never from inside the request
    return memory.wait(got);
  }
  Result<> append(FileId file, const std::string& bytes) {
    return done([&](host::OnDone told) { disk.append(file, bytes, std::move(told)); });
  }
  Result<> truncate(FileId file, uint64_t size) {
    return done([&](host::OnDone told) { disk.truncate(file, size, std::move(told)); });
  }
  Result<std::string> read(FileId file, uint64_t offset, size_t size) {
    std::optional<Result<std::string>> got;
    disk.read(file, offset, size, [&](Result<std::string> bytes) { got = std::move(bytes); });
    CHECK_FALSE(got.has_value());
    return memory.wait(got);
  }
  Result<uint64_t> size(FileId file) {
    std::optional<Result<uint64_t>> got;
    disk.size(file, [&](Result<uint64_t> size) { got = std::move(size); });
    CHECK_FALSE(got.has_value());
    return memory.wait(got);
  }
  Result<uint64_t> mend(const std::string& path) {
    std::optional<Result<uint64_t>> got;
    disk.mend(path, [&](Result<uint64_t> cut) { got = std::move(cut); });
    return memory.wait(got);
  }
  void close(FileId file) {
    disk.close(file);
    memory.run();
  }
  // The whole of a file by a fresh handle, as a loader takes it.
  Result<std::string> content(const std::string& path, size_t piece = kMany) {
    Result<FileId> file = open(path, OpenMode::read);
    if (!file) return base::Error{file.error()};
    Result<uint64_t> bytes = size(file.value());
    std::string all;
    for (bool last = false; bytes && !last;) {
      Result<std::string> part = read(file.value(), all.size(), piece);
      if (!part) {
        close(file.value());
        return part;
      }
      all += part.value();
      last = part.value().size() < piece;
    }
    close(file.value());
    if (!bytes) return base::Error{bytes.error()};
    CHECK(all.size() == bytes.value());
    return all;
  }
  void put(const std::string& path, const std::vector<std::string>& appends) {
    FileId file = opened(path, OpenMode::truncate);
    for (const std::string& bytes : appends) CHECK(append(file, bytes).ok());
    close(file);
  }
};

void check_content(Bench& bench, const std::string& path, const std::string& expected,
                   size_t piece = kMany) {
  Result<std::string> got = bench.content(path, piece);
  REQUIRE_MESSAGE(got.ok(), got.error());
  CHECK(got.value() == expected);
}

TEST_CASE("what is appended is read, at any size and offset, and nobody else sees it") {
  Bench bench;
  std::vector<std::string> appends;
  std::string all;
  for (size_t size : {size_t{1}, size_t{30}, size_t{5000}, kSealedRecordBytesMax - 1,
                      kSealedRecordBytesMax, kSealedRecordBytesMax + 1, size_t{900'000}, size_t{7}})
    appends.push_back(text_of(size, size)), all += appends.back();
  bench.put("a", appends);
  bench.put("b", appends);
  check_content(bench, "a", all);
  check_content(bench, "a", all, 100'000);
  check_content(bench, "a", all, 512 * 1024);
  const std::string& sealed = bench.memory.files["a"];
  CHECK(sealed.find(all.substr(0, 30)) == std::string::npos);
  CHECK(sealed.find(all.substr(6000, 16)) == std::string::npos);
  CHECK(sealed.substr(64) != bench.memory.files["b"].substr(64));
  CHECK(sealed.size() <= all.size() + kSealedHeaderBytes + 12 * 24 + 24);

  FileId file = bench.opened("a", OpenMode::read);
  std::mt19937_64 dice(1);
  for (int i = 0; i < 300; ++i) {
    const uint64_t offset = dice() % (all.size() + 10);
    const size_t size = dice() % (i % 2 ? 100 : 600'000);
    Result<std::string> got = bench.read(file, offset, size);
    REQUIRE(got.ok());
    CHECK(got.value() == (offset < all.size() ? all.substr(offset, size) : ""));
  }
  bench.close(file);
  CHECK(bench.memory.open_files() == 0);
}

TEST_CASE("answers come in the order of the requests") {
  Bench bench;
  FileId file = bench.opened("a", OpenMode::truncate);
  std::string order;
  bench.disk.append(file, "one", [&](Result<>) { order += "a"; });
  bench.disk.size(file, [&](Result<uint64_t> size) { order += std::to_string(size.value()); });
  bench.disk.append(file, "two", [&](Result<>) { order += "b"; });
  bench.disk.sync(file, [&](Result<>) { order += "s"; });
  bench.disk.truncate(file, 4, [&](Result<>) { order += "t"; });
  bench.disk.read(file, 0, 9, [&](Result<std::string> bytes) { order += bytes.value(); });
  bench.disk.close(file);
  bench.memory.run();
  CHECK(order == "a3bstonet");
  CHECK(bench.memory.open_files() == 0);
}

TEST_CASE("every flipped bit is found, and named with its file and offset") {
  Bench bench;
  const std::string all = "first record, " + std::string(100, 'x') + "second";
  bench.put("dir/a", {all.substr(0, 14), all.substr(14, 100), all.substr(114)});
  FileId file = bench.opened("dir/a", OpenMode::append);
  REQUIRE(bench.truncate(file, 117).ok());  // ends with the empty record of a cut
  bench.close(file);
  check_content(bench, "dir/a", all.substr(0, 117));
  const std::string good = bench.memory.files["dir/a"];
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string& bytes = bench.memory.files["dir/a"];
    bytes = good;
    bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    for (size_t piece : {kMany, size_t{117}, size_t{10}}) {
      Result<std::string> got = bench.content("dir/a", piece);
      REQUIRE_FALSE(got.ok());
      CHECK(got.error().find("The encrypted file dir/a is damaged") == 0);
      CHECK(got.error().find("at offset ") != std::string::npos);
    }
    Result<uint64_t> mended = bench.mend("dir/a");
    CHECK((!mended.ok() || mended.value() == 0));
    CHECK(bench.memory.files["dir/a"].size() == good.size());
  }
}

TEST_CASE("records that were moved, dropped, or come from another file are found") {
  Bench bench;
  const std::vector<std::string> appends(4, std::string(50, 'x'));
  bench.put("a", appends);
  bench.put("b", appends);
  const std::string a = bench.memory.files["a"], b = bench.memory.files["b"];
  const size_t first = kSealedHeaderBytes, run = 32 + 50 + 16, record = 8 + 50 + 16;
  REQUIRE(a.size() == first + run + 3 * record);
  auto at = [&](int n) { return first + run + static_cast<size_t>(n) * record; };
  const std::string forged[] = {
      a.substr(0, at(0)) + a.substr(at(1)),  // dropped
      a.substr(0, first) + a.substr(at(0)),  // the first
      a.substr(0, at(0)) + a.substr(at(1), record) + a.substr(at(0), record) + a.substr(at(2)),
      a.substr(0, at(1)) + a.substr(at(0), record) + a.substr(at(1)),  // twice
      a.substr(0, at(1)) + b.substr(at(1)),                            // another's
      b.substr(0, first) + a.substr(first),                            // header
      a + a.substr(at(0), record),
  };
  for (const std::string& bytes : forged) {
    bench.memory.files["a"] = bytes;
    Result<std::string> got = bench.content("a");
    REQUIRE_FALSE(got.ok());
    CHECK(got.error().find("is damaged: record") != std::string::npos);
  }
}

TEST_CASE("a cut that somebody without the key made up is not believed") {
  Bench bench;
  bench.put("a", {std::string(50, 'x')});
  std::string& bytes = bench.memory.files["a"];
  SealedHeader header;
  REQUIRE(SealedHeader::parse(Bytes(bytes).substr(0, 64), header) == SealedHeader::Kind::sealed);
  RecordHead head{.size = 0, .begins_run = true, .dropped = 10, .salt = {}};
  bytes += head.encode(header, 1) + std::string(kSealedTagBytes, 't');
  for (size_t piece : {kMany, size_t{40}, size_t{7}})
    CHECK(bench.content("a", piece).error().find("damaged: record 1") != std::string::npos);
}

TEST_CASE("a file that ends anywhere is torn or whole; mending keeps the whole records") {
  Bench bench;
  const std::vector<std::string> appends = {"0123456789", "abc", text_of(40, 1)};
  bench.put("a", appends);
  const std::string good = bench.memory.files["a"];
  std::set<size_t> ends = {0, kSealedHeaderBytes, kSealedHeaderBytes + 32 + 10 + 16,
                           kSealedHeaderBytes + 58 + 8 + 3 + 16, good.size()};
  for (size_t size = 0; size <= good.size(); ++size) {
    bench.memory.files["a"] = good.substr(0, size);
    std::string kept;
    size_t kept_end = size < kSealedHeaderBytes ? 0 : kSealedHeaderBytes;
    for (const std::string& bytes : appends) {
      const size_t end = kept_end + (kept.empty() ? 32 : 8) + bytes.size() + 16;
      if (kept_end == 0 || end > size) break;
      kept += bytes;
      kept_end = end;
    }
    const bool torn = !ends.contains(size);
    Result<std::string> got = bench.content("a");
    CHECK(got.ok() == !torn);
    if (torn) CHECK(got.error().find("The encrypted file a ends inside ") == 0);
    FileId file = bench.opened("a", OpenMode::append);
    if (torn) CHECK_FALSE(bench.append(file, "x").ok());
    bench.close(file);
    Result<uint64_t> cut = bench.mend("a");
    REQUIRE(cut.ok());
    CHECK(cut.value() == size - kept_end);
    check_content(bench, "a", kept);
    file = bench.opened("a", OpenMode::append);
    CHECK(bench.append(file, "and on").ok());
    bench.close(file);
    check_content(bench, "a", kept + "and on");
  }
  CHECK(bench.memory.open_files() == 0);
  CHECK_FALSE(bench.mend("missing").ok());
  CHECK_FALSE(bench.memory.files.contains("missing"));
}

TEST_CASE("cut at any offset of the plaintext, twice, and appended to") {
  const std::vector<std::string> appends = {"0123456789", "abc", text_of(30, 1), "z"};
  std::string all;
  for (const std::string& bytes : appends) all += bytes;
  for (bool reopen : {false, true}) {
    for (size_t first = 0; first <= all.size(); ++first) {
      for (size_t second : {first, first / 2, first > 2 ? first - 2 : 0, size_t{0}}) {
        Bench bench;
        FileId file = bench.opened("a", OpenMode::truncate);
        for (const std::string& bytes : appends) CHECK(bench.append(file, bytes).ok());
        auto again = [&] {
          if (!reopen) return;
          bench.close(file);
          file = bench.opened("a", OpenMode::append);
        };
        again();
        CHECK_FALSE(bench.truncate(file, all.size() + 1).ok());
        REQUIRE(bench.truncate(file, first).ok());
        CHECK(bench.size(file).value() == first);
        check_content(bench, "a", all.substr(0, first));
        again();
        REQUIRE(bench.truncate(file, second).ok());
        check_content(bench, "a", all.substr(0, second));
        again();
        REQUIRE(bench.append(file, "more").ok());
        CHECK(bench.read(file, second, 100).value() == "more");
        bench.close(file);
        check_content(bench, "a", all.substr(0, second) + "more", 5);
      }
    }
  }
}

TEST_CASE("any history of appends, cuts, failures and reopenings equals a string") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Bench bench;
    std::mt19937_64 dice(seed);
    std::string model;
    FileId file = bench.opened("a", OpenMode::truncate);
    for (int i = 0; i < 60; ++i) {
      const int what = static_cast<int>(dice() % 10);
      const std::string more = text_of(dice() % (seed % 5 == 0 ? 400'000 : 300), dice());
      if (what < 5) {
        REQUIRE(bench.append(file, more).ok());
        model += more;
      } else if (what < 7) {
        model.resize(dice() % (model.size() + 1));
        REQUIRE(bench.truncate(file, model.size()).ok());
      } else if (what == 7) {
        bench.memory.append_error = "No space left on device";
        CHECK(bench.append(file, more + "x").error() == bench.memory.append_error);
        bench.memory.append_error.clear();
      } else if (what == 8) {
        bench.close(file);
        const std::string torn = bench.memory.files["a"];
        const uint64_t cut = bench.mend("a").value();
        CHECK(torn.size() - cut == bench.memory.files["a"].size());
        file = bench.opened("a", OpenMode::append);
      } else {
        const uint64_t offset = dice() % (model.size() + 1);
        CHECK(bench.read(file, offset, 500).value() == model.substr(offset, 500));
      }
      REQUIRE(bench.size(file).value() == model.size());
    }
    bench.close(file);
    bench.mend("a").value();
    check_content(bench, "a", model, 10'000);
  }
}

TEST_CASE("no key and nonce are ever used for two things") {
  // All bytes ever written begin, append by append, with a head; the same place after a cut or a
  // failure must be under another run.
  Bench bench;
  FileId file = bench.opened("a", OpenMode::truncate);
  std::set<std::string> runs;
  auto written_run = [&](const std::string& bytes) {
    bench.memory.written.clear();
    (void)bench.append(file, bytes);
    std::string written = bench.memory.written;
    if (written.starts_with("\x89QSEAL")) written.erase(0, kSealedHeaderBytes);
    const bool begins = (static_cast<unsigned char>(written[3]) & 0x80) != 0;
    return begins ? written.substr(12, 16) : std::string();
  };
  CHECK(runs.insert(written_run("one")).second);
  CHECK(written_run("two").empty());
  REQUIRE(bench.truncate(file, 3).ok());
  CHECK(runs.insert(written_run("TWO")).second);
  bench.memory.append_error = "Input/output error";
  CHECK(written_run("lost").empty());
  bench.memory.append_error.clear();
  CHECK(runs.insert(written_run("kept")).second);
  bench.close(file);
  file = bench.opened("a", OpenMode::append);
  CHECK(runs.insert(written_run("later")).second);
  REQUIRE(bench.truncate(file, 0).ok());
  CHECK(runs.insert(written_run("new")).second);
  bench.close(file);
  check_content(bench, "a", "new");
}

TEST_CASE("a failed cut changes nothing, and can be tried again") {
  Bench bench;
  FileId file = bench.opened("a", OpenMode::truncate);
  REQUIRE(bench.append(file, "0123456789").ok());
  bench.memory.truncate_error = "Input/output error";
  CHECK(bench.truncate(file, 4).error() == "Input/output error");
  bench.memory.truncate_error.clear();
  check_content(bench, "a", "0123456789");
  bench.memory.append_error = "No space left on device";  // the record that says what is dropped
  CHECK_FALSE(bench.truncate(file, 4).ok());
  bench.memory.append_error.clear();
  CHECK(bench.truncate(file, 4).ok());
  REQUIRE(bench.append(file, "x").ok());
  bench.close(file);
  check_content(bench, "a", "0123x");
}

TEST_CASE("keys: missing, wrong, rotated") {
  Bench bench;
  bench.put("a", {"secret"});
  const std::string old_name = keys_of(kOldKey).names(), new_name = keys_of(kNewKey).names();
  bench.disk.set_keys({});
  CHECK(bench.content("a").error() == "The encrypted file a needs the key " + old_name +
                                          ", but data-encryption-key-file is not set");
  bench.disk.set_keys(keys_of(kNewKey));
  CHECK(bench.content("a").error() ==
        "The encrypted file a needs the key " + old_name +
            ", which data-encryption-key-file does not hold (wrong key); it holds " + new_name);
  CHECK_FALSE(bench.open("a", OpenMode::append).ok());
  bench.disk.set_keys(keys_of(kNewKey + "\n" + kOldKey));
  check_content(bench, "a", "secret");
  FileId file = bench.opened("a", OpenMode::append);
  REQUIRE(bench.append(file, "s").ok());
  bench.close(file);
  bench.put("b", {"newer"});
  bench.disk.set_keys(keys_of(kNewKey));
  check_content(bench, "b", "newer");
  CHECK_FALSE(bench.content("a").ok());
  CHECK(bench.memory.open_files() == 0);
}

TEST_CASE("plain files stay what they are; empty and new ones are sealed") {
  Bench bench;
  bench.memory.files["plain"] = "*1\r\n$4\r\nPING\r\n";
  bench.memory.files["empty"] = "";
  FileId file = bench.opened("plain", OpenMode::append);
  CHECK_FALSE(bench.disk.is_sealed(file));
  REQUIRE(bench.append(file, "more").ok());
  REQUIRE(bench.truncate(file, 15).ok());
  CHECK(bench.size(file).value() == 15);
  CHECK(bench.read(file, 13, 9).value() == "\nm");
  bench.close(file);
  CHECK(bench.memory.files["plain"] == "*1\r\n$4\r\nPING\r\nm");
  file = bench.opened("empty", OpenMode::append);
  CHECK(bench.disk.is_sealed(file));
  CHECK(bench.size(file).value() == 0);
  REQUIRE(bench.append(file, "secret").ok());
  bench.close(file);
  CHECK(bench.memory.files["empty"].starts_with("\x89QSEAL"));

  Bench off("");
  off.put("a", {"plain text"});
  CHECK(off.memory.files["a"] == "plain text");
  file = off.opened("new", OpenMode::append);
  CHECK_FALSE(off.disk.is_sealed(file));
  off.close(file);
  check_content(off, "a", "plain text", 3);
  CHECK(off.mend("a").value() == 0);
}

TEST_CASE("a gone disk calls nobody") {
  MemoryDisk memory;
  {
    SealedDisk disk(memory, [] { return uint64_t{7}; });
    disk.set_keys(keys_of(kOldKey));
    FileId id = 0;
    disk.open("a", OpenMode::truncate, [&](Result<FileId> file) { id = file.value(); });
    memory.run();
    disk.append(id, "x", [](Result<>) { FAIL("called"); });
    disk.append(id, "y", [](Result<>) { FAIL("called"); });
    disk.remove("b", [](Result<>) { FAIL("called"); });
  }
  memory.run();
}

}  // namespace
}  // namespace quoll::persist
