#include "cluster/group_frames.h"

namespace quoll::cluster {
namespace {

constexpr uint8_t kFlag = 1;
constexpr uint8_t kReady = 2;
constexpr uint8_t kSoonFlag = 4;

}  // namespace

std::string encode_preamble(const Preamble& preamble) {
  std::string out(kGroupMagic);
  FieldWriter(out)
      .number(kFramesVersion | (preamble.proves ? kProofFollows : 0))
      .number(preamble.config)
      .number(preamble.from)
      .number(preamble.to)
      .number(preamble.tls_port);
  out += preamble.id;
  out.resize(kPreambleBytes, '0');
  return out;
}

std::optional<Preamble> decode_preamble(base::Bytes bytes) {
  if (bytes.size() < kPreambleBytes || !bytes.starts_with(kGroupMagic)) return {};
  FieldReader in(bytes.substr(kGroupMagic.size()));
  Preamble preamble;
  uint32_t version;
  if (!in.number(version) || (version & ~kProofFollows) != kFramesVersion ||
      !in.number(preamble.config) || !in.number(preamble.from) || !in.number(preamble.to) ||
      !in.number(preamble.tls_port))
    return {};
  preamble.proves = version & kProofFollows;
  preamble.id = in.rest().substr(0, kMemberIdBytes);
  return preamble;
}

void begin_frame(FrameType type, size_t body_bytes, std::string& out) {
  FieldWriter(out).number(static_cast<uint32_t>(body_bytes + 1)).number(type);
}

void encode_message(const GroupMessage& message, std::string& out) {
  begin_frame(static_cast<FrameType>(message.kind), kMessageHeaderBytes + message.entries.size(),
              out);
  const auto flags = static_cast<uint8_t>(
      (message.flag ? kFlag : 0) | (message.ready ? kReady : 0) | (message.soon ? kSoonFlag : 0));
  FieldWriter(out)
      .number(flags)
      .number(message.epoch)
      .position(message.at)
      .number(message.index)
      .number(message.round)
      .number(message.number)
      .number(message.synced);
}

bool decode_message(FrameType type, base::Bytes body, GroupMessage& message) {
  if (type < FrameType::message_first || type > FrameType::message_last) return false;
  FieldReader in(body);
  uint8_t flags = 0;
  in.number(flags);
  in.number(message.epoch);
  in.position(message.at);
  in.number(message.index);
  in.number(message.round);
  in.number(message.number);
  in.number(message.synced);
  if (in.failed()) return false;
  message.kind = static_cast<GroupMessage::Kind>(type);
  message.flag = flags & kFlag;
  message.ready = flags & kReady;
  message.soon = flags & kSoonFlag;
  message.entries = in.rest();
  return true;
}

}  // namespace quoll::cluster
