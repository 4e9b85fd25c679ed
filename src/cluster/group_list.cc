#include "cluster/group_list.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/numbers.h"
#include "base/text.h"
#include "cluster/group_types.h"

namespace quoll::cluster {
namespace {

using base::Bytes;
using base::Error;
using base::Result;

constexpr size_t kHostBytesMax = 253;  // of a name in DNS
constexpr int64_t kPortMax = 65535;
constexpr Bytes kWitness = "/witness";

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_name(Bytes host) {
  return !host.empty() && is_letter_or_digit(host.front()) && std::ranges::all_of(host, [](char c) {
    return is_letter_or_digit(c) || c == '-' || c == '.' || c == '_';
  });
}

bool is_ipv6(Bytes host) {
  return std::ranges::count(host, ':') >= 2 && std::ranges::all_of(host, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == ':' || c == '.';
         });
}

bool is_ipv4(Bytes host) {
  return std::ranges::all_of(host, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

// Digits only: no sign, no leading zero.
bool parse_port(Bytes text, uint16_t& port) {
  int64_t value;
  if (text.empty() || text[0] < '1' || text[0] > '9' || !base::parse_int(text, value) ||
      value > kPortMax)
    return false;
  port = static_cast<uint16_t>(value);
  return true;
}

Result<ListedMember> parse_member(Bytes word) {
  auto wrong = [word](Bytes what) {
    return Error{fmt::format("cluster-group: '{}' {}", word, what)};
  };
  ListedMember member;
  Bytes rest = word;
  if (size_t slash = rest.find('/'); slash != Bytes::npos) {
    if (rest.substr(slash) != kWitness) return wrong("has something else than /witness at its end");
    member.witness = true;
    rest = rest.substr(0, slash);
  }
  Bytes bus;
  if (size_t at = rest.find('@'); at != Bytes::npos) {
    bus = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!parse_port(bus, member.bus_port)) return wrong("has no valid bus port behind '@'");
  }
  const bool brackets = rest.starts_with('[');
  const size_t colon = brackets ? rest.find("]:") : rest.find(':');
  if (colon == Bytes::npos) return wrong("has no port: write host:port");
  Bytes host = brackets ? rest.substr(1, colon - 1) : rest.substr(0, colon);
  Bytes port = rest.substr(colon + (brackets ? 2 : 1));
  if (!brackets && port.find(':') != Bytes::npos)
    return wrong("has an IPv6 address without brackets: write [address]:port");
  member.host = base::to_lower(host);
  if (host.size() > kHostBytesMax || !(brackets ? is_ipv6(member.host) : is_name(member.host)))
    return wrong("has no valid host");
  if (!parse_port(port, member.port)) return wrong("has no valid port");
  if (!bus.empty()) return member;
  if (member.port > kPortMax - kBusPortDistance)
    return wrong("has a port too high for port + 10000 as its bus port: write host:port@busport");
  member.bus_port = member.port + kBusPortDistance;
  return member;
}

// One listener per address and port: two members cannot share one, and neither can the two ports of
// a member.
bool collide(const ListedMember& a, const ListedMember& b) {
  return a.host == b.host && (a.port == b.port || a.bus_port == b.bus_port ||
                              a.port == b.bus_port || a.bus_port == b.port);
}

std::string shown(const ListedMember& member) {
  const bool ipv6 = member.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", ipv6 ? "[" : "", member.host, ipv6 ? "]" : "", member.port);
}

}  // namespace

Result<GroupList> parse_group_list(Bytes text) {
  GroupList list;
  for (size_t at = 0; at < text.size();) {
    if (base::is_blank(text[at])) {
      ++at;
      continue;
    }
    const auto end = static_cast<size_t>(
        std::find_if(text.begin() + static_cast<ptrdiff_t>(at), text.end(), base::is_blank) -
        text.begin());
    auto member = parse_member(text.substr(at, end - at));
    if (!member) return Error{member.error()};
    if (member.value().port == member.value().bus_port)
      return Error{fmt::format("cluster-group: {} has the same port for clients and the bus",
                               shown(member.value()))};
    for (const ListedMember& other : list)
      if (collide(other, member.value()))
        return Error{fmt::format("cluster-group: {} and {} have a port in common", shown(other),
                                 shown(member.value()))};
    list.push_back(std::move(member.value()));
    at = end;
  }
  if (list.size() > kMembersMax)
    return Error{fmt::format("cluster-group: {} members are too many, at most {} are possible",
                             list.size(), kMembersMax)};
  if (!list.empty() && std::ranges::all_of(list, &ListedMember::witness))
    return Error{"cluster-group: all members are witnesses, none would keep the data"};
  return list;
}

std::string format_group_list(const GroupList& list) {
  std::string text;
  for (const ListedMember& member : list) {
    if (!text.empty()) text += ' ';
    text += shown(member);
    if (member.bus_port != member.port + kBusPortDistance)
      text += fmt::format("@{}", member.bus_port);
    if (member.witness) text += kWitness;
  }
  return text;
}

Result<size_t> find_own_place(const GroupList& list, const OwnAddress& own) {
  constexpr Bytes kRemedy =
      "write cluster-group-member with its place in cluster-group, counted from 0, or its address "
      "in cluster-announce-ip and cluster-announce-port";
  std::vector<size_t> surely;
  std::vector<size_t> perhaps;
  for (size_t place = 0; place < list.size(); ++place) {
    const ListedMember& member = list[place];
    if (member.port != own.port) continue;
    // A name may stand for any address.
    const bool address = is_ipv4(member.host) || member.host.find(':') != std::string::npos;
    if (std::ranges::find(own.hosts, member.host) != own.hosts.end())
      surely.push_back(place);
    else if (own.hosts.empty() || !address)
      perhaps.push_back(place);
  }
  const std::vector<size_t>& found = surely.empty() ? perhaps : surely;
  if (found.size() == 1) return found[0];
  if (found.empty())
    return Error{
        fmt::format("cluster-group has no member with the address of this server (port {}): "
                    "{}",
                    own.port, kRemedy)};
  return Error{
      fmt::format("cluster-group has {} members with port {}, and each of them could be "
                  "this server: {}",
                  found.size(), own.port, kRemedy)};
}

}  // namespace quoll::cluster
