#include "cluster/gossip_frames.h"

#include <doctest/doctest.h>

#include "cluster/gossip_cipher.h"
#include "cluster/news_queue.h"

namespace quoll::cluster {
namespace {

constexpr uint32_t kFramesCluster = 7;
using Type = Datagram::Type;

// Hides nothing, so that a test can write what it wants.
class OpenSeal final : public GossipSeal {
 public:
  void seal(base::Bytes, base::Bytes plain, std::string& out) override {
    out += plain;
    out.append(kGossipTagBytes, 't');
  }
  bool open(base::Bytes, base::Bytes sealed, std::string& plain) override {
    plain = sealed.substr(0, sealed.size() - kGossipTagBytes);
    return true;
  }
};

GossipCipher cipher_of(const std::vector<std::string>& secrets, base::Bytes cluster = "c") {
  return GossipCipher(secrets, cluster);
}

NodeAddress v6(uint8_t last, uint16_t port) {
  NodeAddress address{.v6 = true, .bytes = {0xfd}, .port = port};
  address.bytes[15] = last;
  return address;
}

Datagram full_datagram(Type type) {
  Datagram d;
  d.type = type;
  d.cluster = kFramesCluster;
  d.from = 300;
  d.sequence = 513;
  d.incarnation = 70'000;
  d.nonce = 0x1122334455667788;
  d.topology = 1'000'000'007;
  d.wall = 1'764'467'912'345;
  if (d.has_about()) d.about = 12;
  d.news = {{1, 5, NodeState::alive, 1, NodeAddress::v4(10, 0, 0, 1, 16379)},
            {2, 6, NodeState::alive, 2, v6(9, 1)},
            {3, 7, NodeState::suspect, 4, {}},
            {5, 0, NodeState::fail, 6, {}},
            {7, kIncarnationMax, NodeState::left, 7, {}},
            {8, 2, NodeState::alive, 9, {}}};
  return d;
}

void check_same(const Datagram& a, const Datagram& b) {
  CHECK(a.type == b.type);
  CHECK(a.cluster == b.cluster);
  CHECK(a.from == b.from);
  CHECK(a.sequence == b.sequence);
  CHECK(a.incarnation == b.incarnation);
  CHECK(a.nonce == b.nonce);
  CHECK(a.topology == b.topology);
  CHECK(a.wall == b.wall);
  CHECK(a.about == b.about);
  CHECK(a.news == b.news);
}

DatagramFault decode(base::Bytes bytes, GossipSeal& seal) {
  Datagram d;
  return decode_datagram(bytes, kFramesCluster, seal, d);
}

}  // namespace

TEST_CASE("gossip frames: what is encoded is decoded") {
  GossipCipher cipher = cipher_of({std::string(32, 'k')});
  for (Type type : {Type::ping, Type::ack, Type::ask, Type::vouch, Type::nack, Type::forgotten}) {
    const Datagram said = full_datagram(type);
    const std::string bytes = encode_datagram(said, cipher);
    Datagram heard;
    REQUIRE(decode_datagram(bytes, kFramesCluster, cipher, heard) == DatagramFault::none);
    check_same(said, heard);
    size_t news = 0;
    for (const News& n : said.news) news += n.bytes();
    CHECK(bytes.size() == said.bytes() + news);
  }
  Datagram quiet = full_datagram(Type::ping);
  quiet.news.clear();
  CHECK(encode_datagram(quiet, cipher).size() == 57);
}

TEST_CASE("gossip frames: nothing that was changed is heard") {
  GossipCipher cipher = cipher_of({std::string(32, 'k')});
  const std::string bytes = encode_datagram(full_datagram(Type::ask), cipher);
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK(decode(base::Bytes(bytes).substr(0, size), cipher) != DatagramFault::none);
  CHECK(decode(bytes + "x", cipher) == DatagramFault::unauthentic);
  CHECK(decode(bytes + std::string(kDatagramBytesMax, 'x'), cipher) == DatagramFault::malformed);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    CHECK(decode(changed, cipher) != DatagramFault::none);
  }
}

TEST_CASE("gossip frames: what another cluster or version says is foreign, whatever its seal") {
  GossipCipher cipher = cipher_of({std::string(32, 'k')});
  Datagram other = full_datagram(Type::ping);
  other.cluster = 8;
  CHECK(decode(encode_datagram(other, cipher), cipher) == DatagramFault::foreign);
  std::string later = encode_datagram(full_datagram(Type::ping), cipher);
  later[2] = 2;
  CHECK(decode(later, cipher) == DatagramFault::foreign);
}

TEST_CASE("gossip frames: a body that is not exactly right is refused") {
  OpenSeal open;
  Datagram d = full_datagram(Type::ask);
  d.news = {{1, 5, NodeState::alive, 1, NodeAddress::v4(10, 0, 0, 1, 16379)}};
  const std::string bytes = encode_datagram(d, open);
  REQUIRE(decode(bytes, open) == DatagramFault::none);
  constexpr size_t kBody = kGossipHeadBytes, kAbout = kBody + 16, kCount = kAbout + 2,
                   kNews = kCount + 1;
  const auto refused = [&](size_t at, const std::string& with) {
    std::string changed = bytes;
    changed.replace(at, with.size(), with);
    return decode(changed, open) == DatagramFault::malformed;
  };
  CHECK(refused(3, std::string(1, 0)));  // type
  CHECK(refused(3, "\7"));
  CHECK(refused(8, "\xff\xff"));                  // from
  CHECK(refused(15, "\x80"));                     // incarnation
  CHECK(refused(kAbout, "\xff\xff"));             // about
  CHECK(refused(kCount, std::string(1, 0)));      // bytes behind the last piece
  CHECK(refused(kCount, "\2"));                   // more pieces than there are
  CHECK(refused(kNews, "\xff\xff"));              // subject
  CHECK(refused(kNews + 5, "\xff"));              // incarnation
  CHECK(refused(kNews + 6, "\x40"));              // no state
  CHECK(refused(kNews + 6, "\x45"));              // a state that is not known
  CHECK(refused(kNews + 6, "\x42"));              // an address of one that is suspect
  CHECK(refused(kNews + 6, "\xc1"));              // of both families
  CHECK(refused(kNews + 6, "\x49"));              // a bit that means nothing
  CHECK(refused(kNews + 6, "\x81"));              // longer than what is there
  CHECK(refused(kNews + 7, "\xff\xff"));          // from
  CHECK(refused(kNews + 13, std::string(2, 0)));  // port
  CHECK(!refused(kNews + 13, "\1"));
}

TEST_CASE("gossip cipher: a secret is changed by two keys at a time") {
  const std::string old_secret(32, 'o'), new_secret(32, 'n');
  GossipCipher before = cipher_of({old_secret});
  GossipCipher both = cipher_of({old_secret, new_secret});
  GossipCipher turned = cipher_of({new_secret, old_secret});
  GossipCipher after = cipher_of({new_secret});
  const auto hears = [](GossipCipher& who, GossipCipher& whom) {
    return decode(encode_datagram(full_datagram(Type::ping), whom), who) == DatagramFault::none;
  };
  CHECK(hears(before, both));
  CHECK(hears(both, before));
  CHECK(hears(both, turned));
  CHECK(hears(turned, both));
  CHECK(hears(turned, after));
  CHECK(hears(after, turned));
  CHECK(!hears(after, before));
  CHECK(!hears(before, after));
  before.set_secrets({new_secret});
  CHECK(hears(before, after));
}

TEST_CASE("gossip cipher: the same secret in another cluster is another key") {
  GossipCipher ours = cipher_of({std::string(32, 'k')}, "one");
  GossipCipher theirs = cipher_of({std::string(32, 'k')}, "other");
  CHECK(decode(encode_datagram(full_datagram(Type::ping), ours), theirs) ==
        DatagramFault::unauthentic);
}

TEST_CASE("gossip cipher: nothing of the body can be read, and every nonce hides it differently") {
  GossipCipher cipher = cipher_of({std::string(32, 'k')});
  Datagram d = full_datagram(Type::ping);
  const std::string first = encode_datagram(d, cipher);
  ++d.nonce;
  const std::string second = encode_datagram(d, cipher);
  CHECK(first.substr(kGossipHeadBytes) != second.substr(kGossipHeadBytes));
  CHECK(first.find(std::string("\x0a\0\0\1", 4)) == std::string::npos);  // the address
}

TEST_CASE("node address: as text") {
  CHECK(NodeAddress::v4(10, 0, 255, 1, 16379).text() == "10.0.255.1:16379");
  CHECK(v6(9, 1).text() == "[fd00:0:0:0:0:0:0:9]:1");
}

TEST_CASE("news queue: each piece is told some times, the least told first") {
  const auto piece = [](NodeIndex subject, NodeState state = NodeState::fail) {
    return News{subject, 1, state, 0, {}};
  };
  const auto subjects = [](NewsQueue& queue, size_t room, NodeIndex besides = kNoNode) {
    std::vector<News> news;
    queue.take(3, room, besides, news);
    std::string all;
    for (const News& n : news) all += std::to_string(n.subject) + " ";
    return all;
  };
  NewsQueue queue;
  CHECK(subjects(queue, 1000) == "");
  for (NodeIndex n : {1, 2, 3}) queue.put(piece(n));
  SUBCASE("three times each") {
    CHECK(subjects(queue, 27) == "1 2 3 ");
    CHECK(subjects(queue, 27) == "1 2 3 ");
    CHECK(subjects(queue, 27) == "1 2 3 ");
    CHECK(subjects(queue, 27) == "");
    CHECK(queue.size() == 0);
  }
  SUBCASE("as many as there is room for, by turns") {
    CHECK(subjects(queue, 18) == "1 2 ");
    CHECK(subjects(queue, 18) == "3 1 ");
    CHECK(subjects(queue, 8) == "");
    CHECK(subjects(queue, 26) == "2 3 ");
  }
  SUBCASE("the newest of a subject, and from the beginning") {
    CHECK(subjects(queue, 1000) == "1 2 3 ");
    CHECK(subjects(queue, 1000) == "1 2 3 ");
    queue.put(piece(2, NodeState::left));
    CHECK(queue.size() == 3);
    std::vector<News> news;
    queue.take(3, 9, kNoNode, news);
    REQUIRE(news.size() == 1);
    CHECK(news[0].state == NodeState::left);
    CHECK(subjects(queue, 1000) == "2 1 3 ");
    CHECK(subjects(queue, 1000) == "2 ");
    CHECK(subjects(queue, 1000) == "");
  }
  SUBCASE("not to the subject, whose turn is not lost") {
    CHECK(subjects(queue, 1000, 2) == "1 3 ");
    CHECK(subjects(queue, 9) == "2 ");
  }
  SUBCASE("not what was forgotten") {
    queue.forget(1);
    CHECK(subjects(queue, 1000) == "2 3 ");
  }
  CHECK(tellings(1) == 4);
  CHECK(tellings(9) == 4);
  CHECK(tellings(10) == 8);
  CHECK(tellings(1000) == 16);
}

}  // namespace quoll::cluster
