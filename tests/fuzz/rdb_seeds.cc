// Writes the seed inputs of the RDB fuzzers: every type of value in every encoding the reader
// knows, small and large, and whole files of them.
//
//   rdb-seeds FOLDER      FOLDER/rdb_value/* and FOLDER/rdb_file/*
//
// What the product itself writes comes from its own encoder; the encodings it only reads are put
// together here, after the format pages named in src/wire/rdb_format.h.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/check.h"
#include "persist/rdb_save.h"
#include "store/store.h"

using namespace quoll;
using wire::RdbType;
using wire::RdbWriter;

namespace {

constexpr base::Millis kSoon = 1'700'000'100'000;  // the fuzzers' clock reads 1'700'000'000'000
const data::Packing kPacking;

using Texts = std::vector<std::string>;
const Texts kFew = {"a", "1", "b", "-200", "a longer one, with words", "70000"};

Texts many(size_t count) {
  Texts texts;
  for (size_t i = 0; i < count; ++i)
    texts.push_back(i % 3 ? "element " + std::to_string(i * 7919) : std::to_string(i));
  return texts;
}

void append_little_endian(std::string& out, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

// Texts shorter than 64 bytes, so that every length takes one byte.
std::string ziplist(const Texts& texts) {
  std::string entries;
  size_t last = 0;
  size_t before = 0;
  for (const std::string& text : texts) {
    last = entries.size();
    entries += static_cast<char>(before);
    entries += static_cast<char>(text.size());
    entries += text;
    before = entries.size() - last;
  }
  constexpr size_t kHeaderBytes = 10;
  std::string block;
  append_little_endian(block, kHeaderBytes + entries.size() + 1, 4);
  append_little_endian(block, kHeaderBytes + last, 4);
  append_little_endian(block, texts.size(), 2);
  return block + entries + '\xff';
}

std::string zipmap(const Texts& pairs) {
  std::string block(1, static_cast<char>(pairs.size() / 2));
  for (size_t i = 0; i < pairs.size(); ++i) {
    block += static_cast<char>(pairs[i].size());
    if (i % 2) block += '\0';  // no unused bytes
    block += pairs[i];
  }
  return block + '\xff';
}

std::string plain(const Texts& texts, size_t per_item) {
  std::string out;
  RdbWriter writer(out);
  writer.length(texts.size() / per_item);
  for (const std::string& text : texts) writer.string(text);
  return out;
}

std::string as_string(base::Bytes block) {
  std::string out;
  RdbWriter(out).string(block);
  return out;
}

// Values of encodings that are only read.
std::vector<std::pair<RdbType, std::string>> foreign_values() {
  std::string scored;
  RdbWriter writer(scored);
  writer.length(3);
  for (double score : {-1.5, 0.0, 3e100}) {
    writer.string("member" + std::to_string(score));
    writer.ascii_double(score);
  }
  std::string nodes = std::string(1, '\2') + as_string(ziplist(kFew)) + as_string(ziplist({"z"}));
  std::string timed;
  RdbWriter timed_writer(timed);
  timed_writer.length(2);
  for (uint64_t deadline : {uint64_t{0}, static_cast<uint64_t>(kSoon)}) {
    timed_writer.length(deadline);
    timed_writer.string("field" + std::to_string(deadline));
    timed_writer.string("value");
  }
  data::Listpack triples;
  for (int64_t deadline : {kSoon, int64_t{0}}) {
    std::string field = "f" + std::to_string(deadline);
    QUOLL_CHECK(triples.append(field) && triples.append("v") && triples.append_integer(deadline));
  }
  return {{RdbType::list, plain(kFew, 1)},
          {RdbType::set, plain(kFew, 1)},
          {RdbType::hash, plain(kFew, 2)},
          {RdbType::zset, scored},
          {RdbType::hash_zipmap, as_string(zipmap(kFew))},
          {RdbType::list_ziplist, as_string(ziplist(kFew))},
          {RdbType::hash_ziplist, as_string(ziplist(kFew))},
          {RdbType::zset_ziplist, as_string(ziplist({"m", "1", "n", "2.5"}))},
          {RdbType::list_quicklist, nodes},
          {RdbType::hash_metadata_pre_ga, timed},
          {RdbType::hash_listpack_ex_pre_ga, as_string(triples.bytes())}};
}

class Seeds {
 public:
  explicit Seeds(std::string folder) : folder_(std::move(folder)), store_(2) {
    std::filesystem::create_directories(folder_ + "/rdb_value");
    std::filesystem::create_directories(folder_ + "/rdb_file");
  }

  void write() {
    fill();
    for (const auto& [type, bytes] : foreign_values()) write_value(type, bytes);
    for (unsigned version : {10u, 11u, 12u}) {
      store_.scan(0, 0, SIZE_MAX, [&](const store::Entry* entry) {
        RdbType type;
        if (!persist::rdb_type_of(*entry, version, type)) return;
        write_value(type, encoded(*entry, type));
        if (entry->type() == data::Type::stream)
          write_value(RdbType::stream_listpacks, encoded(*entry, RdbType::stream_listpacks));
      });
    }
    write_files();
    std::printf("%zu seeds in %s\n", written_, folder_.c_str());
  }

 private:
  template <class Change>
  void make(base::Bytes key, base::Millis deadline, Change&& change) {
    store_.commits().begin(store::Origin::load, 0);
    {
      store::Edit edit = store_.edit(0, store_.ref(key), 0);
      change(edit);
      if (deadline) edit.set_deadline(deadline);
      edit.done_silently();
    }
    store_.commits().close();
  }
  void text(base::Bytes key, base::Bytes value) {
    make(key, 0,
         [&](store::Edit& edit) { edit.put(data::Value::of_text(value), store::Ttl::drop()); });
  }
  void fill();
  void fill_collections(const std::string& name, const Texts& texts);
  void fill_stream();
  void write_files();

  static std::string encoded(const store::Entry& entry, RdbType type) {
    std::string out;
    RdbWriter writer(out);
    persist::PieceCursor cursor;
    while (!persist::encode(entry, type, cursor, writer, SIZE_MAX)) {
    }
    return out;
  }
  void put_file(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << bytes;
    ++written_;
  }
  void write_value(RdbType type, const std::string& bytes) {
    const auto number = static_cast<unsigned>(type);
    const std::string name =
        "rdb_value/" + std::to_string(number) + "-" + std::to_string(count_[number]++);
    put_file(name, std::string{static_cast<char>(number), '\0'} + bytes);
  }
  // With the three bytes of choices; `mode` as in rdb_file_fuzz.cc.
  void write_file(const std::string& name, char mode, const std::string& bytes) {
    put_file("rdb_file/" + name, std::string{mode, '\1', '\4'} + bytes);
  }

  std::string folder_;
  store::Store store_;
  std::map<unsigned, unsigned> count_;
  size_t written_ = 0;
};

void Seeds::fill() {
  text("empty", "");
  text("integer", "-123456");
  text("wide", "9223372036854775807");
  text("words", "some words that are not an integer");
  text("packed", std::string(300, 'x'));
  make("timed", kSoon,
       [](store::Edit& edit) { edit.put(data::Value::of_bytes("v"), store::Ttl::drop()); });
  fill_collections("few", kFew);
  fill_collections("many", many(140));
  make("numbers", 0, [](store::Edit& edit) {
    edit.create<data::Set>();
    for (const char* number : {"1", "-70000", "5000000000"})
      edit.value<data::Set>().insert(base::Bytes(number), kPacking);
  });
  fill_stream();
}

void Seeds::fill_collections(const std::string& name, const Texts& texts) {
  data::Packing packing = kPacking;
  packing.list_node = 50;
  packing.hash_entries = 64;
  make("list " + name, 0, [&](store::Edit& edit) {
    edit.create<data::List>();
    std::vector<base::Bytes> views(texts.begin(), texts.end());
    edit.value<data::List>().expect(views, packing);
    for (base::Bytes item : views)
      edit.value<data::List>().push(data::ListEnd::tail, item, packing);
  });
  make("set " + name, 0, [&](store::Edit& edit) {
    edit.create<data::Set>();
    for (const std::string& member : texts)
      edit.value<data::Set>().insert(base::Bytes(member), packing);
  });
  make("zset " + name, 0, [&](store::Edit& edit) {
    edit.create<data::ZSet>();
    double score = -2.25;
    for (const std::string& member : texts)
      edit.value<data::ZSet>().put(member, score += 0.75, {}, packing);
  });
  for (bool with_deadlines : {false, true}) {
    make((with_deadlines ? "timed hash " : "hash ") + name, 0, [&](store::Edit& edit) {
      edit.create<data::Hash>();
      auto& hash = edit.value<data::Hash>();
      for (size_t i = 0; i + 1 < texts.size(); i += 2) {
        hash.set(texts[i], texts[i + 1], data::Hash::Deadline::drop, 0, packing);
        if (with_deadlines && i % 4 == 0)
          hash.set_deadline(texts[i], kSoon + static_cast<base::Millis>(i));
      }
    });
  }
}

void Seeds::fill_stream() {
  make("stream", 0, [](store::Edit& edit) {
    edit.create<data::Stream>();
    auto& stream = edit.value<data::Stream>();
    data::Packing packing;
    packing.stream_node_entries = 4;
    for (uint64_t i = 1; i < 10; ++i) {
      std::vector<base::Bytes> pairs = {i % 4 ? "name" : "other", "value", "n", "17"};
      stream.append({i, i % 2}, pairs, packing);
    }
    stream.erase({3, 1});
    data::StreamGroup& group = *stream.add_group("group", {5, 0}, 4);
    data::StreamConsumer& alice = group.add_consumer("alice", 1111);
    group.deliver({1, 1}, alice, 1000, 1);
    group.deliver({2, 0}, group.add_consumer("bob", 2222), 1001, 3);
    stream.add_group("empty", {}, data::kEntriesReadUnknown);
  });
}

void Seeds::write_files() {
  for (unsigned version : {10u, 11u, 12u}) {
    persist::SaveOptions options;
    options.version = version;
    options.aux = {{"redis-ver", "7.0.15"}, {"ctime", "1700000000"}};
    options.functions = {"#!lua name=lib\nredis.register_function('f', function() return 1 end)"};
    options.access = persist::SaveOptions::Access::idle;
    if (version < 12) {  // what only version 12 can hold is left out
      store_.commits().begin(store::Origin::load, 0);
      for (const char* key : {"timed hash few", "timed hash many"}) {
        store::Edit edit = store_.edit(0, store_.ref(key), 0);
        if (!edit.found()) continue;
        edit.erase();
        edit.done_silently();
      }
      store_.commits().close();
    } else {
      fill_collections("few", kFew);
    }
    persist::RdbSave save(options, 0);
    store::Snapshot& snapshot = store_.begin_snapshot(save);
    while (snapshot.step()) {
    }
    store_.end_snapshot();
    save.finish();
    QUOLL_CHECK(save.refusal().empty());
    const std::string file = save.take();
    write_file("whole-" + std::to_string(version), 2, file);
    // The same without header and end, which the fuzzer adds.
    write_file("body-" + std::to_string(version), 3,
               file.substr(wire::kRdbHeaderBytes,
                           file.size() - wire::kRdbHeaderBytes - wire::kRdbChecksumBytes - 1));
  }
  std::string items;
  RdbWriter writer(items);
  writer.select_db(1);
  writer.resize_db(2, 1);
  writer.slot_info(7, 2, 1);
  writer.expire_ms(kSoon);
  writer.idle(100);
  writer.freq(3);
  writer.type(RdbType::string);
  writer.string("k");
  writer.string("v");
  writer.opcode(wire::RdbOpcode::expire_seconds);
  writer.seconds(1'600'000'000);
  for (const auto& [type, bytes] : foreign_values()) {
    writer.type(type);
    writer.string("key of type " + std::to_string(static_cast<unsigned>(type)));
    writer.raw(bytes);
  }
  write_file("foreign", 3, items);
}

}  // namespace

int main(int argc, char** argv) {
  QUOLL_CHECK(argc == 2);
  Seeds(argv[1]).write();
}
