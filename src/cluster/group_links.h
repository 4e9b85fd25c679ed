// GroupLinks: the connections of a member to the others, one for each pair: who has the greater
// place dials. Frames go both ways in order; a connection that breaks, or is silent for too long,
// ends and is made again. Who the others are may change at any time; where the id of a place's node
// is known, no other one is talked to there.
//
//   dial / accept -> preamble both ways -> linked -> frames ... -> unlinked -> dial again
//
// Where the cluster has a secret both sides prove between the preamble and the first frame that
// they know it: by then nobody has been displaced or heard, nor told more than who we are. Another
// secret counts for connections made from then on.
//
// Sending never waits: what the other side does not take yet is kept here and waiting_bytes()
// tells how much. Who produces much looks at it.
// Cost: one write per frame, without a copy, while the connection takes them; else one gathered
// write per connection and turn. Of those that have not yet said who they are, and proven it, there
// are kStrangersMax, the oldest giving way to the next, each for kHandshakeMs and with less than a
// handshake's bytes; what is wrong with them is told at intervals.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "cluster/bus_proof.h"
#include "cluster/group_frames.h"
#include "cluster/rare_trouble.h"
#include "host/host.h"

namespace quoll::cluster {

constexpr size_t kReceiveBytes = 256 * 1024;    // of one look at a connection
constexpr base::Millis kRedialMs = 100;         // after a connection ended
constexpr base::Millis kDialAgainMs = 2000;     // when nobody answers
constexpr base::Millis kRefusedAgainMs = 1000;  // when one of the two does not know the secret
constexpr base::Millis kHandshakeMs = 2000;     // until the preamble is there, and the proof
constexpr size_t kStrangersMax = 64;            // connections that have not yet said who they are

class GroupLinksEvents {
 public:
  virtual ~GroupLinksEvents() = default;
  virtual void link_up(const Preamble& member) = 0;
  virtual void link_down(Member member) = 0;
  // False: the bytes are no frame of ours; the connection ends.
  virtual bool link_frame(Member member, FrameType type, base::Bytes body) = 0;
  // Something a person should read.
  virtual void link_trouble(const std::string& text) = 0;
};

class GroupLinks {
 public:
  struct Options {
    Member self = 0;
    uint64_t config = 0;  // of everything that members must have been told alike
    std::string id;
    uint16_t tls_port = 0;           // of our clients
    base::Millis silence_ms = 3000;  // then a connection counts as broken
    // Of the cluster, as of now; none: there is no proof. Asked for each connection.
    std::function<BusSecrets()> secrets = {};
  };
  GroupLinks(const host::Host& host, Options options, GroupLinksEvents& events);
  ~GroupLinks();

  // Where the member at the place listens for the others, and the id of its node; "": not known.
  void set_member(Member member, host::Endpoint endpoint, std::string id = {});
  // Nobody has the place any more: its connection ends.
  void remove_member(Member member);
  // Of our clients; told to who connects from now on.
  void set_tls_port(uint16_t port) { options_.tls_port = port; }
  base::Result<> listen(const host::Endpoint& at);
  // A connection that was accepted elsewhere, and what it has sent so far.
  void take(std::unique_ptr<host::Peer> peer, base::Bytes received);
  void tick(base::Millis now);
  bool up(Member member) const;
  void drop(Member member);
  // A frame: `head` holds its header and the beginning of its body, `rest` what is left of it.
  void send(Member member, base::Bytes head, base::Bytes rest = {});
  void flush();
  size_t waiting_bytes(Member member) const;
  // Frames, of all members since the start.
  uint64_t frames_sent() const { return frames_sent_; }
  uint64_t frames_received() const { return frames_received_; }
  // While paused, what the member sends waits in its connection.
  void pause_reads(Member member, bool paused);

 private:
  class Link;
  friend class Link;
  using Links = std::vector<std::unique_ptr<Link>>;

  struct Place {
    host::Endpoint endpoint;
    std::string id;
    uint64_t told = 0;  // the n-th time that set_member() brought news
  };
  void dial(Member member);
  bool means(Member member, base::Bytes id) const;
  bool fits(const Link& link, const Preamble& preamble, bool dialed);
  void adopt(Link& link, Member member);
  void add_stranger(std::unique_ptr<host::Peer> peer);
  enum class Trouble : uint8_t { config, node, proof, last = proof };
  void trouble(Trouble kind, std::string text);
  void ended(Link& link);
  void bury(std::unique_ptr<Link> link);
  Preamble preamble_for(Member member, bool proves) const {
    return {options_.config, options_.self, member, options_.tls_port, options_.id, proves};
  }

  host::Host host_;
  Options options_;
  GroupLinksEvents& events_;
  std::vector<std::unique_ptr<host::Listener>> listeners_;
  std::array<std::optional<Place>, kMembersMax> places_;
  std::array<std::unique_ptr<Link>, kMembersMax> links_;
  Links strangers_;
  Links buried_;  // until the turn ends
  std::array<base::Millis, kMembersMax> dial_at_{};
  std::array<RareTrouble, static_cast<size_t>(Trouble::last) + 1> rare_troubles_;
  std::vector<char> scratch_;  // what a connection receives at once
  base::Millis now_;           // steady; as of the last tick
  uint64_t told_ = 0;
  uint64_t frames_sent_ = 0;
  uint64_t frames_received_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quoll::cluster
