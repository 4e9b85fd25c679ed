#include "server/node_file.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "base/numbers.h"
#include "base/text.h"
#include "host/whole_file.h"
#include "server/log.h"

namespace quoll::server {
namespace {

using base::Bytes;
using base::Error;
using base::Result;

constexpr Bytes kNodeFileHead = "quoll-cluster-node 1\n";
constexpr size_t kChecksumBytes = 17;  // with the end of its line

std::string checksum_line(Bytes bytes) {
  return fmt::format("{:016x}\n", XXH3_64bits(bytes.data(), bytes.size()));
}

// What stands behind `name ` on the next line, or nothing.
bool take_line(Bytes& rest, Bytes name, Bytes& value) {
  const size_t end = rest.find('\n');
  if (end == Bytes::npos || !rest.starts_with(name) || end < name.size()) return false;
  value = rest.substr(name.size(), end - name.size());
  if (!value.empty()) value.remove_prefix(1);
  rest.remove_prefix(end + 1);
  return true;
}

// The next word of a line; empty: there is none.
Bytes take_word(Bytes& rest) {
  const size_t end = std::min(rest.find(' '), rest.size());
  const Bytes word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

bool take_slots(Bytes released, Bytes dropping, NodeRecord& record) {
  uint64_t slot = 0, node = 0;
  for (Bytes word = take_word(released); !word.empty(); word = take_word(released)) {
    const size_t colon = word.find(':');
    if (colon == Bytes::npos || !base::parse_uint(word.substr(0, colon), slot) ||
        !base::parse_uint(word.substr(colon + 1), node) || slot >= base::kKeySlots)
      return false;
    record.released[static_cast<uint16_t>(slot)] = static_cast<cluster::NodeIndex>(node);
  }
  for (Bytes word = take_word(dropping); !word.empty(); word = take_word(dropping)) {
    if (!base::parse_uint(word, slot) || slot >= base::kKeySlots) return false;
    record.dropping.insert(static_cast<uint16_t>(slot));
  }
  return true;
}

constexpr unsigned kFounderBit = 1;
constexpr unsigned kEmptyBit = 2;

std::string places_text(const std::vector<NodePlace>& places) {
  std::string text;
  for (const NodePlace& one : places)
    text += fmt::format(" {}:{}:{}:{}:{}", static_cast<int>(one.kind), one.group, one.place,
                        (one.founder ? kFounderBit : 0) | (one.empty ? kEmptyBit : 0), one.dir);
  return text;
}

bool take_place(Bytes word, NodePlace& place) {
  uint64_t numbers[4] = {};
  for (uint64_t& number : numbers) {
    const size_t end = word.find(':');
    if (end == Bytes::npos || !base::parse_uint(word.substr(0, end), number)) return false;
    word.remove_prefix(end + 1);
  }
  if (numbers[0] > static_cast<uint64_t>(NodePlace::Kind::witness) ||
      numbers[1] > cluster::kNoGroup || numbers[2] >= cluster::kMembersMax || word.empty())
    return false;
  place = {static_cast<NodePlace::Kind>(numbers[0]),
           static_cast<cluster::GroupNumber>(numbers[1]),
           static_cast<cluster::Member>(numbers[2]),
           (numbers[3] & kFounderBit) != 0,
           (numbers[3] & kEmptyBit) != 0,
           std::string(word)};
  return true;
}

bool take_places(Bytes text, std::vector<NodePlace>& places) {
  for (Bytes word = take_word(text); !word.empty(); word = take_word(text))
    if (!take_place(word, places.emplace_back())) return false;
  return true;
}

}  // namespace

NodePlace* NodeRecord::place_of(NodePlace::Kind kind) {
  const auto found = std::ranges::find(places, kind, &NodePlace::kind);
  return found == places.end() ? nullptr : &*found;
}

void NodeRecord::set_place(NodePlace place) {
  const bool many = place.kind == NodePlace::Kind::witness;
  std::erase_if(places, [&](const NodePlace& one) {
    return one.kind == place.kind && (!many || one.group == place.group);
  });
  places.push_back(std::move(place));
}

void NodeRecord::drop_places(NodePlace::Kind kind) {
  std::erase_if(places, [kind](const NodePlace& one) { return one.kind == kind; });
}

std::string NodeRecord::encode() const {
  const std::string table = topology.encode();
  std::string gone, left;
  for (const auto& [slot, node] : released) gone += fmt::format(" {}:{}", slot, node);
  for (const uint16_t slot : dropping) left += fmt::format(" {}", slot);
  std::string text = fmt::format(
      "{}id {}\nhome {}\nincarnation {}\nposition {} {}\nreleased{}\ndropping{}\nplaces{}\n"
      "topology {}\n{}\n",
      kNodeFileHead, id, home, incarnation, position.epoch, position.index, gone, left,
      places_text(places), table.size(), table);
  return text + checksum_line(text);
}

Result<NodeRecord> NodeRecord::decode(Bytes bytes) {
  const Error damaged{"it is damaged, or none of this server's"};
  if (!bytes.starts_with(kNodeFileHead) || bytes.size() < kNodeFileHead.size() + kChecksumBytes)
    return damaged;
  const Bytes text = bytes.substr(0, bytes.size() - kChecksumBytes);
  if (checksum_line(text) != bytes.substr(text.size())) return damaged;
  Bytes rest = text.substr(kNodeFileHead.size());
  Bytes id, home, incarnation, position, released, dropping, places, size;
  NodeRecord record;
  uint64_t number = 0, table = 0;
  if (!take_line(rest, "id", id) || !take_line(rest, "home", home) ||
      !take_line(rest, "incarnation", incarnation) || !take_line(rest, "position", position) ||
      !take_line(rest, "released", released) || !take_line(rest, "dropping", dropping) ||
      !take_line(rest, "places", places) || !take_places(places, record.places) ||
      !take_line(rest, "topology", size) || !base::parse_uint(incarnation, number) ||
      !base::parse_uint(size, table) || rest.size() != table + 1)
    return damaged;
  const size_t space = std::min(position.find(' '), position.size());
  if (!base::parse_uint(position.substr(0, space), record.position.epoch) ||
      !base::parse_uint(position.substr(std::min(space + 1, position.size())),
                        record.position.index))
    return damaged;
  if (!take_slots(released, dropping, record)) return damaged;
  auto topology = cluster::Topology::decode(rest.substr(0, table));
  if (!topology) return Error{topology.error()};
  record.id = id;
  record.home = home;
  record.incarnation = static_cast<cluster::Incarnation>(number);
  record.topology = std::move(topology.value());
  return record;
}

NodeFile::~NodeFile() {
  *alive_ = false;
  host_.loop.cancel(retry_);
}

void NodeFile::load(std::function<void(Result<NodeRecord>)> done) {
  host::read_whole_file(
      host_.disk, path_, [this, done = std::move(done)](Result<std::string> text) {
        if (!text && text.error().find("No such file") != std::string::npos)
          return done(NodeRecord{});
        if (!text) return done(Error{fmt::format("{}: {}", path_, text.error())});
        auto record = NodeRecord::decode(text.value());
        if (record) return done(std::move(record));
        done(Error{fmt::format("Unrecoverable error: corrupted cluster config file \"{}\": {}",
                               path_, record.error())});
      });
}

void NodeFile::save(const NodeRecord& record, host::Task done) {
  bytes_ = record.encode();
  waiting_.push_back(std::move(done));
  if (!writing_ && retry_ == 0) write();
}

void NodeFile::write() {
  writing_ = true;
  serving_.insert(serving_.end(), std::make_move_iterator(waiting_.begin()),
                  std::make_move_iterator(waiting_.end()));
  waiting_.clear();
  host::replace_whole_file(host_.disk, path_, path_ + ".part", bytes_,
                           [this, alive = alive_](const Result<>& result) {
                             if (*alive) written(result);
                           });
}

void NodeFile::written(const Result<>& result) {
  writing_ = false;
  if (!result) {
    if (!std::exchange(in_trouble_, true))
      log::warning("The cluster config file {} cannot be written: {}", path_, result.error());
    retry_ = host_.loop.after(kNodeFileRetryAfter, [this] {
      retry_ = 0;
      write();
    });
    return;
  }
  in_trouble_ = false;
  const auto alive = alive_;
  std::vector<host::Task> served = std::exchange(serving_, {});
  if (!waiting_.empty()) write();
  for (const host::Task& done : served) {
    if (done) done();
    if (!*alive) return;
  }
}

}  // namespace quoll::server
