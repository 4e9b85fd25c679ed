// The numbers of the RDB format, versions 6 to 12. Sources: the "Redis RDB Dump File Format" page
// of redis-rdb-tools, and rdb.h of Redis 7.4 for the later type and opcode numbers.
//
//   file     "REDIS" version:4 digits | item... | eof opcode | crc64: 8 B little-endian, 0 = unused
//   item     opcode fields  |  type key value
//   DUMP     type value | version: 2 B little-endian | crc64: 8 B little-endian
//
//   length   00xxxxxx                 6 bits
//            01xxxxxx xxxxxxxx        14 bits
//            10000000 4 B big-endian  32 bits
//            10000001 8 B big-endian  64 bits (version 8)
//   string   length bytes | 11000000 int8 | 11000001 int16 | 11000010 int32 (little-endian)
//            | 11000011 length(compressed) length(plain) LZF bytes
#pragma once

#include "base/bytes.h"

namespace quoll::wire {

constexpr unsigned kRdbVersionReadMin = 1;
constexpr unsigned kRdbVersionReadMax = 12;
constexpr size_t kRdbHeaderBytes = 9;       // "REDIS0011"
constexpr size_t kRdbChecksumBytes = 8;     // since version 5
constexpr size_t kRdbDumpFooterBytes = 10;  // version and checksum of a DUMP payload
constexpr unsigned kRdbChecksumVersionMin = 5;

// First byte of a value.
enum class RdbType : uint8_t {
  string = 0,
  list = 1,
  set = 2,
  zset = 3,  // scores as ASCII text
  hash = 4,
  zset_2 = 5,  // scores as binary doubles
  module_pre_ga = 6,
  module_2 = 7,
  hash_zipmap = 9,
  list_ziplist = 10,
  set_intset = 11,
  zset_ziplist = 12,
  hash_ziplist = 13,
  list_quicklist = 14,  // ziplist nodes
  stream_listpacks = 15,
  hash_listpack = 16,
  zset_listpack = 17,
  list_quicklist_2 = 18,    // nodes: container, then listpack or plain bytes
  stream_listpacks_2 = 19,  // adds first id, max deleted id, entries added and read
  set_listpack = 20,
  stream_listpacks_3 = 21,       // adds the consumer's active time
  hash_metadata_pre_ga = 22,     // field, value, TTL; 7.4 release candidates
  hash_listpack_ex_pre_ga = 23,  // the same as a listpack of triples
  hash_metadata = 24,            // min deadline first, then (ttl delta, field, value)
  hash_listpack_ex = 25,         // min deadline first, then a listpack of triples
};
constexpr uint8_t kRdbTypeLast = 25;

// First byte of what is not a value.
enum class RdbOpcode : uint8_t {
  slot_info = 244,        // length slot, length keys, length expires (version 12)
  function_2 = 245,       // string: the library's code
  function_pre_ga = 246,  // 7.0 release candidates; refused by Redis
  module_aux = 247,       // length module id, then module opcodes
  idle = 248,             // length: seconds
  freq = 249,             // 1 byte
  aux = 250,              // string name, string value
  resizedb = 251,         // length keys, length expires
  expire_ms = 252,        // 8 B little-endian, ms since 1970
  expire_seconds = 253,   // 4 B little-endian, s since 1970
  selectdb = 254,         // length
  eof = 255,
};
constexpr uint8_t kRdbOpcodeFirst = 244;

// The parts of a module's value: length opcode, then the field.
enum class RdbModuleOpcode : uint8_t {
  eof = 0,
  signed_integer = 1,    // length
  unsigned_integer = 2,  // length
  binary_float = 3,      // 4 B little-endian
  binary_double = 4,     // 8 B little-endian
  string = 5,
};

// What the six low bits of a length byte starting with 11 mean.
enum class RdbEncoding : uint8_t { int8 = 0, int16 = 1, int32 = 2, lzf = 3 };

// Containers of a list_quicklist_2 node.
enum class RdbNode : uint8_t { plain = 1, packed = 2 };

// Length bytes of scores in ASCII form that stand for a value.
constexpr uint8_t kRdbAsciiNan = 253;
constexpr uint8_t kRdbAsciiInf = 254;
constexpr uint8_t kRdbAsciiMinusInf = 255;

constexpr size_t kRdbLzfSizeMin = 21;      // shorter strings are stored plainly
constexpr size_t kRdbIntegerTextMax = 11;  // "-2147483648"

constexpr bool is_rdb_opcode(uint8_t byte) { return byte >= kRdbOpcodeFirst; }
constexpr bool is_rdb_type(uint8_t byte) { return byte <= kRdbTypeLast && byte != 8; }

// The oldest RDB version whose readers know the type.
constexpr unsigned rdb_version_of(RdbType type) {
  switch (type) {
    case RdbType::zset_2:
    case RdbType::module_pre_ga:
    case RdbType::module_2:
      return 8;
    case RdbType::list_quicklist:
      return 7;
    case RdbType::stream_listpacks:
      return 9;
    case RdbType::hash_listpack:
    case RdbType::zset_listpack:
    case RdbType::list_quicklist_2:
    case RdbType::stream_listpacks_2:
      return 10;
    case RdbType::set_listpack:
    case RdbType::stream_listpacks_3:
      return 11;
    case RdbType::hash_metadata_pre_ga:
    case RdbType::hash_listpack_ex_pre_ga:
    case RdbType::hash_metadata:
    case RdbType::hash_listpack_ex:
      return 12;
    default:
      return 6;  // the oldest version we distinguish
  }
}

}  // namespace quoll::wire
