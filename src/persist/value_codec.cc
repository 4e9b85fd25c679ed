#include "persist/value_codec.h"

#include "store/entry.h"

namespace quoll::persist {
namespace {

using data::Type;
using wire::RdbType;

// Longer strings are stored plainly and in pieces: compressing them would hold the loop.
constexpr size_t kCompressBytesMax = 256 * 1024;

bool encode_string(const store::Entry& entry, PieceCursor& at, wire::RdbWriter& out,
                   size_t bytes_max) {
  if (entry.form() == data::Form::integer) {
    out.integer_string(entry.integer());
    return true;
  }
  base::Bytes text = entry.text(nullptr);
  if (text.size() <= kCompressBytesMax) {
    out.string(text);
    return true;
  }
  if (!at.begun) out.length(text.size());
  at.begun = true;
  base::Bytes piece = text.substr(at.words[0], bytes_max);
  out.raw(piece);
  at.words[0] += piece.size();
  return at.words[0] == text.size();
}

bool decode_string(wire::RdbReader& in, std::string& scratch, data::Value& value) {
  wire::RdbString string;
  if (!in.string(string, scratch)) return false;
  value = string.is_integer ? data::Value::of_integer(string.integer)
                            : data::Value::of_text(string.bytes);
  return true;
}

template <class T>
bool decode_collection(wire::RdbReader& in, RdbType type, const DecodeOptions& options,
                       data::Value& value) {
  T collection;
  if (!decode(in, type, options, collection)) return false;
  value = data::Value::of_collection(data::Collection(std::move(collection)));
  return true;
}

}  // namespace

bool rdb_type_of(const store::Entry& entry, unsigned version, RdbType& type) {
  switch (entry.type()) {
    case Type::string:
      type = RdbType::string;
      return true;
    case Type::list:
      return rdb_type_of(*entry.value<data::List>(), version, type);
    case Type::set:
      return rdb_type_of(*entry.value<data::Set>(), version, type);
    case Type::zset:
      return rdb_type_of(*entry.value<data::ZSet>(), version, type);
    case Type::hash:
      return rdb_type_of(*entry.value<data::Hash>(), version, type);
    case Type::stream:
      return rdb_type_of(*entry.value<data::Stream>(), version, type);
  }
  return false;
}

bool encode(const store::Entry& entry, RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max) {
  switch (entry.type()) {
    case Type::string:
      return encode_string(entry, at, out, bytes_max);
    case Type::list:
      return encode(*entry.value<data::List>(), type, at, out, bytes_max);
    case Type::set:
      return encode(*entry.value<data::Set>(), type, at, out, bytes_max);
    case Type::zset:
      return encode(*entry.value<data::ZSet>(), type, at, out, bytes_max);
    case Type::hash:
      return encode(*entry.value<data::Hash>(), type, at, out, bytes_max);
    case Type::stream:
      return encode(*entry.value<data::Stream>(), type, at, out, bytes_max);
  }
  return true;
}

bool decode(wire::RdbReader& in, RdbType type, const DecodeOptions& options, std::string& scratch,
            data::Value& value) {
  switch (type) {
    case RdbType::string:
      return decode_string(in, scratch, value);
    case RdbType::list:
    case RdbType::list_ziplist:
    case RdbType::list_quicklist:
    case RdbType::list_quicklist_2:
      return decode_collection<data::List>(in, type, options, value);
    case RdbType::set:
    case RdbType::set_intset:
    case RdbType::set_listpack:
      return decode_collection<data::Set>(in, type, options, value);
    case RdbType::zset:
    case RdbType::zset_2:
    case RdbType::zset_ziplist:
    case RdbType::zset_listpack:
      return decode_collection<data::ZSet>(in, type, options, value);
    case RdbType::hash:
    case RdbType::hash_zipmap:
    case RdbType::hash_ziplist:
    case RdbType::hash_listpack:
    case RdbType::hash_metadata_pre_ga:
    case RdbType::hash_listpack_ex_pre_ga:
    case RdbType::hash_metadata:
    case RdbType::hash_listpack_ex:
      return decode_collection<data::Hash>(in, type, options, value);
    case RdbType::stream_listpacks:
    case RdbType::stream_listpacks_2:
    case RdbType::stream_listpacks_3:
      return decode_collection<data::Stream>(in, type, options, value);
    case RdbType::module_pre_ga:
    case RdbType::module_2:
      return in.fail("a value of a module");
  }
  return in.fail("an unknown value type");
}

}  // namespace quoll::persist
