// The RDB forms of values: what stands behind the type byte and key of a file, and in a DUMP
// payload. One pair of functions per type, each in rdb_<type>.cc; value_codec.cc chooses among
// them.
//
// Encoding is done in pieces, so that a large value never holds a loop turn: encode_*() appends
// about `bytes_max` bytes and returns true when the value is complete. Between two pieces of a
// value it must not change. With bytes_max = SIZE_MAX one call suffices.
//
// Decoding reads every encoding of versions 6 to 12. Input is never trusted: on anything Redis
// would refuse, the reader is failed (RdbReader::fail with a reason) and false is returned; nothing
// is allocated by a count that the input has not yet backed with bytes. A value without elements is
// decoded as empty; what that means is the caller's business.
#pragma once

#include "data/hash.h"
#include "data/list.h"
#include "data/packing.h"
#include "data/set.h"
#include "data/stream.h"
#include "data/value.h"
#include "data/zset.h"
#include "wire/rdb_reader.h"
#include "wire/rdb_writer.h"

namespace quoll::store {
class Entry;
}

namespace quoll::persist {

// Where the encoding of one value stopped. What the words mean is each type's own affair.
struct PieceCursor {
  uint64_t words[4] = {};
  bool begun = false;
};

// How values are read.
struct DecodeOptions {
  data::Packing packing;
  base::Millis now = 0;  // fields past their deadline are left out
};

// The form a value takes in files of `version` (10, 11 or 12). False: that version cannot hold it.
bool rdb_type_of(const data::List& list, unsigned version, wire::RdbType& type);
bool rdb_type_of(const data::Set& set, unsigned version, wire::RdbType& type);
bool rdb_type_of(const data::ZSet& zset, unsigned version, wire::RdbType& type);
bool rdb_type_of(const data::Hash& hash, unsigned version, wire::RdbType& type);
bool rdb_type_of(const data::Stream& stream, unsigned version, wire::RdbType& type);

// `type` is what rdb_type_of said.
bool encode(const data::List& list, wire::RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max);
bool encode(const data::Set& set, wire::RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max);
bool encode(const data::ZSet& zset, wire::RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max);
bool encode(const data::Hash& hash, wire::RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max);
bool encode(const data::Stream& stream, wire::RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max);

// `type` must be one of the type's encodings.
bool decode(wire::RdbReader& in, wire::RdbType type, const DecodeOptions& options,
            data::List& list);
bool decode(wire::RdbReader& in, wire::RdbType type, const DecodeOptions& options, data::Set& set);
bool decode(wire::RdbReader& in, wire::RdbType type, const DecodeOptions& options,
            data::ZSet& zset);
bool decode(wire::RdbReader& in, wire::RdbType type, const DecodeOptions& options,
            data::Hash& hash);
bool decode(wire::RdbReader& in, wire::RdbType type, const DecodeOptions& options,
            data::Stream& stream);

// The same for the value of an entry, whatever its type.
bool rdb_type_of(const store::Entry& entry, unsigned version, wire::RdbType& type);
bool encode(const store::Entry& entry, wire::RdbType type, PieceCursor& at, wire::RdbWriter& out,
            size_t bytes_max);
// `scratch` must outlive `value`, which may borrow from it and from the reader's input.
bool decode(wire::RdbReader& in, wire::RdbType type, const DecodeOptions& options,
            std::string& scratch, data::Value& value);

}  // namespace quoll::persist
