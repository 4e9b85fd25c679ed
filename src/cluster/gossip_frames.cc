#include "cluster/gossip_frames.h"

#include "base/check.h"

namespace quoll::cluster {
namespace {

using base::Bytes;

constexpr uint16_t kGossipMagic = 0x4751;  // "QG"
constexpr uint8_t kGossipVersion = 1;
constexpr uint8_t kStateMask = 0x07;
constexpr uint8_t kAddressV4 = 0x40;
constexpr uint8_t kAddressV6 = 0x80;

template <class Number>
void put(Number value, std::string& out) {
  for (size_t i = 0; i < sizeof(Number); ++i) out += static_cast<char>(value >> (8 * i));
}

// Takes fields off the front; false from the first one on that is not there.
class Taker {
 public:
  explicit Taker(Bytes bytes) : bytes_(bytes) {}
  template <class Number>
  bool take(Number& value) {
    if (bytes_.size() < sizeof value) return false;
    value = 0;
    for (size_t i = 0; i < sizeof value; ++i)
      value = static_cast<Number>(value | static_cast<Number>(static_cast<uint8_t>(bytes_[i]))
                                              << (8 * i));
    bytes_.remove_prefix(sizeof value);
    return true;
  }
  bool take(std::span<uint8_t> bytes) {
    if (bytes_.size() < bytes.size()) return false;
    std::memcpy(bytes.data(), bytes_.data(), bytes.size());
    bytes_.remove_prefix(bytes.size());
    return true;
  }
  bool empty() const { return bytes_.empty(); }

 private:
  Bytes bytes_;
};

void put_news(const News& news, std::string& out) {
  uint8_t state = static_cast<uint8_t>(news.state);
  if (news.address) state |= news.address->v6 ? kAddressV6 : kAddressV4;
  put(news.subject, out);
  put(news.incarnation, out);
  put(state, out);
  put(news.from, out);
  if (!news.address) return;
  out.append(reinterpret_cast<const char*>(news.address->bytes.data()), news.address->size());
  put(news.address->port, out);
}

bool take_news(Taker& in, News& news) {
  uint8_t state = 0;
  if (!in.take(news.subject) || !in.take(news.incarnation) || !in.take(state) ||
      !in.take(news.from))
    return false;
  const uint8_t family = state & ~kStateMask;
  state &= kStateMask;
  if (state < static_cast<uint8_t>(NodeState::alive) ||
      state > static_cast<uint8_t>(NodeState::left) || news.incarnation > kIncarnationMax ||
      news.subject == kNoNode || news.from == kNoNode)
    return false;
  news.state = static_cast<NodeState>(state);
  news.address.reset();
  if (family == 0) return true;
  if ((family != kAddressV4 && family != kAddressV6) || news.state != NodeState::alive)
    return false;
  NodeAddress& address = news.address.emplace();
  address.v6 = family == kAddressV6;
  return in.take(std::span(address.bytes).first(address.size())) && in.take(address.port) &&
         address.port != 0;
}

bool take_body(Bytes plain, Datagram& datagram) {
  Taker in(plain);
  uint8_t count = 0;
  uint64_t wall = 0;
  if (!in.take(datagram.topology) || !in.take(wall)) return false;
  datagram.wall = static_cast<base::Millis>(wall);
  datagram.about = kNoNode;
  if (datagram.has_about() && (!in.take(datagram.about) || datagram.about == kNoNode)) return false;
  if (!in.take(count)) return false;
  datagram.news.resize(count);
  for (News& news : datagram.news)
    if (!take_news(in, news)) return false;
  return in.empty();
}

}  // namespace

std::string encode_datagram(const Datagram& datagram, GossipSeal& seal) {
  std::string out;
  put(kGossipMagic, out);
  put(kGossipVersion, out);
  put(static_cast<uint8_t>(datagram.type), out);
  put(datagram.cluster, out);
  put(datagram.from, out);
  put(datagram.sequence, out);
  put(datagram.incarnation, out);
  put(datagram.nonce, out);
  std::string plain;
  put(datagram.topology, plain);
  put(static_cast<uint64_t>(datagram.wall), plain);
  if (datagram.has_about()) put(datagram.about, plain);
  QUOLL_CHECK(datagram.news.size() <= kNewsPerDatagramMax);
  put(static_cast<uint8_t>(datagram.news.size()), plain);
  for (const News& news : datagram.news) put_news(news, plain);
  const std::string head = out;
  seal.seal(head, plain, out);
  QUOLL_CHECK(out.size() <= kDatagramBytesMax);
  return out;
}

DatagramFault decode_datagram(Bytes bytes, uint32_t cluster, GossipSeal& seal, Datagram& datagram) {
  if (bytes.size() < kGossipHeadBytes + kGossipTagBytes || bytes.size() > kDatagramBytesMax)
    return DatagramFault::malformed;
  const Bytes head = bytes.substr(0, kGossipHeadBytes);
  Taker in(head);
  uint16_t magic = 0;
  uint8_t version = 0, type = 0;
  in.take(magic);
  in.take(version);
  in.take(type);
  in.take(datagram.cluster);
  if (magic != kGossipMagic) return DatagramFault::malformed;
  if (version != kGossipVersion || datagram.cluster != cluster) return DatagramFault::foreign;
  in.take(datagram.from);
  in.take(datagram.sequence);
  in.take(datagram.incarnation);
  in.take(datagram.nonce);
  std::string plain;
  if (!seal.open(head, bytes.substr(kGossipHeadBytes), plain)) return DatagramFault::unauthentic;
  if (type < static_cast<uint8_t>(Datagram::Type::ping) ||
      type > static_cast<uint8_t>(Datagram::Type::forgotten) || datagram.from == kNoNode ||
      datagram.incarnation > kIncarnationMax)
    return DatagramFault::malformed;
  datagram.type = static_cast<Datagram::Type>(type);
  return take_body(plain, datagram) ? DatagramFault::none : DatagramFault::malformed;
}

}  // namespace quoll::cluster
