// The bytes between two members of a group, over one connection.
//
//   both begin with   "QUOLLGRP" version4 config8 from1 to1 tls2 id40
//   with a secret     nonce16, then proof32 that it is known (bus_proof.h); the version has the
//                     bit kProofFollows then. The greeting is all in front of the proof.
//   then frames       size4 type1 body      size: of type and body
//
//   type 1..8   a GroupMessage: flags1 epoch8 at16 index8 round8 number8 synced8 entries
//   sync_begin  at16 size4 shape          all data as of this entry follow (group_shape.h), or
//               at16 size4 shape number8 slots2048   all but these slots, which the receiver has
//   sync_data   bytes of an RDB file
//   sync_end    commit8                   that was all
//   sync_taken  -                         it is ours
//   need_data   -                         the log is whole, but the data are not: send them
//   need_keys   number8 then per key: database4 size4 bytes      these are wrong, send them
//   keys        number8 at16 then per key: database4 size4 bytes deadline8 size4 payload
//                                         as of this entry; no payload: there is none
//   need_slots  number8                   you will get all data: what have you got?
//   slot_digests  number8 first4, then per slot from there on: digest16; or none: no data
//
// `tls`: the port by which clients with TLS reach the member; 0: none. `config` is a hash of
// what all members must have been told alike: members of different groups, or that were told
// different things, do not talk. Numbers are little-endian. Pure.
#pragma once

#include <optional>

#include "cluster/group_message.h"

namespace quoll::cluster {

constexpr base::Bytes kGroupMagic = "QUOLLGRP";
constexpr size_t kPreambleBytes = 8 + 4 + 8 + 1 + 1 + 2 + kMemberIdBytes;
constexpr size_t kFrameHeaderBytes = 5;
constexpr size_t kMessageHeaderBytes = 1 + 8 + 16 + 8 + 8 + 8 + 8;
constexpr uint32_t kFramesVersion = 4;
constexpr uint32_t kProofFollows = uint32_t{1} << 31;
constexpr size_t kFrameBytesMax = (size_t{1} << 30) + 4096;  // an entry of the greatest size

enum class FrameType : uint8_t {
  message_first = 1,
  message_last = 8,
  sync_begin = 16,
  sync_data,
  sync_end,
  sync_taken,
  need_data,
  need_keys,
  keys,
  need_slots,
  slot_digests,
  publications,
};

struct Preamble {
  uint64_t config = 0;
  Member from = kNoMember;
  Member to = kNoMember;
  uint16_t tls_port = 0;
  std::string id;
  bool proves = false;  // nonce and proof follow
};

std::string encode_preamble(const Preamble& preamble);
// Nothing: it is none of ours.
std::optional<Preamble> decode_preamble(base::Bytes bytes);

// Frame header and everything of the message but its entries.
void encode_message(const GroupMessage& message, std::string& out);
// `body`: behind the type. False: malformed.
bool decode_message(FrameType type, base::Bytes body, GroupMessage& message);

void begin_frame(FrameType type, size_t body_bytes, std::string& out);

// Fields of a body, one after the other.
class FieldWriter {
 public:
  explicit FieldWriter(std::string& out) : out_(out) {}
  template <class Number>
  FieldWriter& number(Number value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  FieldWriter& position(Position at) { return number(at.epoch).number(at.index); }
  FieldWriter& bytes(base::Bytes bytes) {
    number(static_cast<uint32_t>(bytes.size()));
    out_ += bytes;
    return *this;
  }

 private:
  std::string& out_;
};

class FieldReader {
 public:
  explicit FieldReader(base::Bytes bytes) : bytes_(bytes) {}
  // False, now and from now on: there is not enough.
  template <class Number>
  bool number(Number& value) {
    if (failed_ || bytes_.size() < sizeof value) return fail();
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return true;
  }
  bool position(Position& at) { return number(at.epoch) && number(at.index); }
  bool bytes(base::Bytes& value) {
    uint32_t size;
    if (!number(size) || bytes_.size() < size) return fail();
    value = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return true;
  }
  base::Bytes rest() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }
  bool failed() const { return failed_; }

 private:
  bool fail() {
    failed_ = true;
    return false;
  }
  base::Bytes bytes_;
  bool failed_ = false;
};

}  // namespace quoll::cluster
