#include "cluster/fan_out.h"

#include <map>

#include "wire/reply_parser.h"

namespace quoll::cluster {
namespace {

constexpr base::Bytes kOutcomeOpen = "-UNCERTAIN";
constexpr base::Bytes kNoReply = "-ERR a node's reply was not understood\r\n";

bool is_counting(base::Bytes name) {
  return name == "del" || name == "unlink" || name == "exists" || name == "touch";
}

// The error that is told of all; nothing: there is none.
base::Bytes error_among(std::span<const std::string> replies) {
  base::Bytes first;
  for (const std::string& reply : replies) {
    if (!reply.starts_with('-')) continue;
    if (reply.starts_with(kOutcomeOpen)) return reply;
    if (first.empty()) first = reply;
  }
  return first;
}

bool parse_reply(const std::string& bytes, wire::Reply& reply) {
  wire::ReplyParser parser;
  parser.feed(bytes);
  return parser.next(reply) == wire::ReplyParser::Status::ok;
}

}  // namespace

std::optional<FanOut> FanOut::cut(base::Bytes name, base::Args words, const SlotOf& slot_of) {
  FanOut fan;
  const size_t step = name == "mset" ? 2 : 1;
  if (name == "mset")
    fan.merge_ = Merge::ok;
  else if (name == "mget")
    fan.merge_ = Merge::values;
  else if (!is_counting(name))
    return {};
  if (words.size() <= step || (words.size() - 1) % step != 0) return {};
  std::map<unsigned, size_t> part_of;
  for (size_t i = 1; i < words.size(); i += step) {
    const unsigned slot = slot_of(words[i]);
    const auto [at, fresh] = part_of.try_emplace(slot, fan.parts_.size());
    if (fresh) fan.parts_.push_back({slot, {words[0]}, {}});
    Part& part = fan.parts_[at->second];
    for (size_t word = i; word < i + step; ++word) part.line.push_back(words[word]);
    part.places.push_back(fan.keys_++);
  }
  return fan;
}

void FanOut::forget_words() {
  for (Part& part : parts_) part.line.clear();
}

void FanOut::merge(std::span<const std::string> replies, wire::ReplyWriter& reply) const {
  if (const base::Bytes error = error_among(replies); !error.empty()) return reply.raw(error);
  if (merge_ == Merge::ok) return reply.ok();
  if (merge_ == Merge::values) return merge_values(replies, reply);
  int64_t sum = 0;
  for (const std::string& one : replies) {
    wire::Reply count;
    if (!parse_reply(one, count) || count.type != wire::Reply::Type::integer)
      return reply.raw(kNoReply);
    sum += count.integer;
  }
  reply.integer(sum);
}

void FanOut::merge_values(std::span<const std::string> replies, wire::ReplyWriter& reply) const {
  std::vector<wire::Reply> parsed(replies.size());
  std::vector<const wire::Reply*> values(keys_);
  for (size_t i = 0; i < replies.size(); ++i) {
    const std::vector<size_t>& places = parts_[i].places;
    if (!parse_reply(replies[i], parsed[i]) || parsed[i].elements.size() != places.size())
      return reply.raw(kNoReply);
    for (size_t k = 0; k < places.size(); ++k) values[places[k]] = &parsed[i].elements[k];
  }
  reply.array(keys_);
  for (const wire::Reply* value : values)
    if (value->is_null())
      reply.null();
    else
      reply.bulk(value->text);
}

}  // namespace quoll::cluster
