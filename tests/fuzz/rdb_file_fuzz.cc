// libFuzzer target for whole RDB files. The first bytes of an input choose the options of loading,
// how the file is cut into pieces, and whether the rest is the file or what stands between a header
// and an end with the right checksum, which the target then adds.
//
// Checked: a file fed in pieces gives what it gives fed in one go, and a visitor is told as many
// keys; what loads is saved, and what was saved loads again as equal data, in every version that
// can hold it. Plus whatever the sanitizers see. Seeds: rdb_seeds.cc.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/crc64.h"
#include "persist/rdb_load.h"
#include "persist/rdb_save.h"
#include "store/digest.h"
#include "tests/fuzz/choices.h"

using namespace quoll;
using fuzz::Choices;
using store::Digest;

namespace {

constexpr store::DbIndex kDatabases = 16;
constexpr base::Millis kNow = 1'700'000'000'000;
constexpr size_t kWhole = SIZE_MAX / 2;

class CountingVisitor final : public persist::RdbVisitor {
 public:
  void key(const persist::RdbKey& key) override {
    QUOLL_CHECK(key.bytes > 0 && key.offset >= end_);
    end_ = key.offset + key.bytes;
    ++keys;
    modules |= key.value == nullptr;
  }
  void aux(base::Bytes name, base::Bytes value, uint64_t) override {
    aux_seen.emplace_back(name, value);
  }
  void select(store::DbIndex db, uint64_t) override { QUOLL_CHECK(db < store::kDatabasesMax); }
  void function(base::Bytes code, uint64_t) override { functions.emplace_back(code); }
  void module_aux(base::Bytes module, uint64_t) override {
    QUOLL_CHECK(module.size() == wire::kModuleNameBytes);
    modules = true;
  }
  uint64_t keys = 0;
  bool modules = false;
  std::vector<std::pair<std::string, std::string>> aux_seen;
  std::vector<std::string> functions;

 private:
  uint64_t end_ = 0;
};

// Feeds pieces of 1 to piece_max bytes; the error, or "" for none.
std::string feed(persist::RdbLoad& load, base::Bytes bytes, size_t piece_max, uint64_t seed) {
  while (!bytes.empty() && !load.ended()) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    base::Bytes piece = bytes.substr(0, 1 + (seed >> 33) % piece_max);
    bytes.remove_prefix(piece.size());
    base::Result<> fed = load.feed(piece);
    if (!fed) return fed.error();
  }
  base::Result<> whole = load.finish();
  return whole ? "" : whole.error();
}

struct Loaded {
  explicit Loaded(const persist::LoadOptions& options) : store(kDatabases), load(store, options) {}
  void run(base::Bytes bytes, size_t piece_max, uint64_t seed) {
    store.commits().begin(store::Origin::load, kNow);
    error = feed(load, bytes, piece_max, seed);
    store.commits().close();
    // Keys past their deadline count, too: they are there until the wheel comes by.
    digest = Digest::of_store(store, INT64_MIN);
  }
  store::Store store;
  persist::RdbLoad load;
  std::string error;
  Digest digest;
};

bool twice(const std::string& error) { return error.find("occurs twice") != std::string::npos; }

void check_same(const Loaded& one, const Loaded& other) {
  // A key that occurs twice is noticed with its group: where that ends depends on the pieces.
  if (twice(one.error) || twice(other.error)) {
    QUOLL_CHECK(!one.error.empty() && !other.error.empty());
    return;
  }
  QUOLL_CHECK(one.error == other.error);
  QUOLL_CHECK(one.load.keys_loaded() == other.load.keys_loaded());
  QUOLL_CHECK(one.load.keys_expired() == other.load.keys_expired());
  QUOLL_CHECK(one.load.keys_empty() == other.load.keys_empty());
  QUOLL_CHECK(one.load.aux() == other.load.aux());
  QUOLL_CHECK(one.load.functions() == other.load.functions());
  QUOLL_CHECK(one.digest == other.digest);
}

// The file of a snapshot, or "" when the version cannot hold the data.
std::string saved(Loaded& loaded, unsigned version) {
  persist::SaveOptions options;
  options.version = version;
  options.aux = loaded.load.aux();
  options.functions = loaded.load.functions();
  persist::RdbSave save(options, kNow);
  std::string file;
  store::Snapshot& snapshot = loaded.store.begin_snapshot(save);
  while (snapshot.step()) file += save.take();
  loaded.store.end_snapshot();
  save.finish();
  file += save.take();
  return save.refusal().empty() ? file : "";
}

void check_saved(Loaded& loaded, unsigned version, const persist::LoadOptions& options) {
  const std::string file = saved(loaded, version);
  QUOLL_CHECK(!file.empty() || version < wire::kRdbVersionReadMax);
  if (file.empty()) return;
  persist::LoadOptions keep = options;
  keep.keep_expired = true;
  keep.refuse_present = true;
  keep.checksum = true;
  Loaded again(keep);
  again.run(file, kWhole, 1);
  QUOLL_CHECK(again.error.empty() && again.load.tail().empty());
  QUOLL_CHECK(again.digest == loaded.digest && again.load.functions() == loaded.load.functions());
  QUOLL_CHECK(again.load.aux() == loaded.load.aux());
}

}  // namespace

extern "C" const char* __asan_default_options() { return "quarantine_size_mb=4"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  const uint8_t mode = choices.byte();
  const uint64_t seed = choices.byte();
  constexpr size_t kPieces[] = {1, 2, 7, 40, 500, 4000, 20'000, kWhole};
  const size_t piece_max = kPieces[choices.byte() % 8];
  std::string file = choices.rest();
  if (mode & 1) {
    file = "REDIS0012" + file + '\xff';
    uint64_t crc = base::crc64(file);
    for (int i = 0; i < 8; ++i) file += static_cast<char>(crc >> (8 * i));
  }
  persist::LoadOptions options;
  options.checksum = mode & 2;
  options.keep_expired = mode & 4;
  options.refuse_present = mode & 8;
  if (mode & 16) options.decode.packing = {3, 10, 4, 1, 3, 3, 10, 3, 10, 60, 3};
  options.decode.now = kNow;

  Loaded whole(options);
  whole.run(file, kWhole, seed);
  if (file.size() <= 4000 || piece_max >= 500) {
    Loaded split(options);
    split.run(file, piece_max, seed);
    check_same(whole, split);
  }
  CountingVisitor visitor;
  persist::RdbLoad visit(visitor, options);
  const std::string visited = feed(visit, file, kWhole, seed);
  if (whole.error.empty()) {
    QUOLL_CHECK(visited.empty() && !visitor.modules);
    QUOLL_CHECK(visitor.keys ==
                whole.load.keys_loaded() + whole.load.keys_expired() + whole.load.keys_empty());
    for (unsigned version : {10u, 11u, 12u}) check_saved(whole, version, options);
  }
  return 0;
}
