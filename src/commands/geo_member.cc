// Geo commands about members by name, and what the search shares with them.
#include <cstdio>
#include <string>
#include <vector>

#include "base/numbers.h"
#include "base/text.h"
#include "commands/geo_family.h"
#include "commands/zset_family.h"
#include "server/server.h"

namespace quoll::commands::geo {
namespace {

std::optional<GeoPosition> position_of(const store::Entry* entry, Bytes member) {
  if (!entry) return std::nullopt;
  auto score = entry->value<ZSet>()->score(member);
  return score ? std::optional(data::geo_decode(*score)) : std::nullopt;
}

struct AddOptions {
  data::ScoreRule rule;
  bool count_changed = false;  // CH
  size_t first = 2;            // argument where (longitude, latitude, member) triples begin

  // False with the error replied.
  bool parse(Call& call) {
    for (; first < call.argc(); ++first) {
      auto is = [&](Bytes name) { return base::equals_ignoring_case(call.arg(first), name); };
      if (is("nx")) {
        rule.only_new = true;
      } else if (is("xx")) {
        rule.only_old = true;
      } else if (is("ch")) {
        count_changed = true;
      } else {
        break;
      }
    }
    size_t rest = call.argc() - first;
    if (rest > 0 && rest % 3 == 0 && !(rule.only_new && rule.only_old)) return true;
    call.syntax_error();
    return false;
  }
};

// The journal keeps scores, as Redis's does: nothing is computed again when it is replayed.
void add_effect(Call& call, const AddOptions& options, std::span<const uint64_t> scores) {
  std::vector<Bytes> line{"ZADD"};
  line.insert(line.end(), call.args.begin() + 1,
              call.args.begin() + static_cast<ptrdiff_t>(options.first));
  std::vector<std::string> texts;
  for (uint64_t score : scores) texts.push_back(std::to_string(score));
  for (size_t i = 0; i < scores.size(); ++i) {
    line.push_back(texts[i]);
    line.push_back(call.arg(options.first + 3 * i + 2));
  }
  call.effect(line);
}

}  // namespace

bool parse_position(Call& call, size_t i, GeoPosition& position) {
  if (!base::parse_double(call.arg(i), position.longitude) ||
      !base::parse_double(call.arg(i + 1), position.latitude)) {
    call.reply.error(server::errors::kNotFloat);
    return false;
  }
  if (position.valid()) return true;
  // Two numbers of up to 309 digits before and six behind the point.
  char text[800];
  std::snprintf(text, sizeof text, "ERR invalid longitude,latitude pair %f,%f", position.longitude,
                position.latitude);
  call.reply.error(text);
  return false;
}

bool parse_unit(Call& call, size_t i, double& metres) {
  constexpr struct {
    Bytes name;
    double metres;
  } kUnits[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
  for (const auto& unit : kUnits) {
    if (!base::equals_ignoring_case(call.arg(i), unit.name)) continue;
    metres = unit.metres;
    return true;
  }
  call.reply.error("ERR unsupported unit provided. please use M, KM, FT, MI");
  return false;
}

void reply_distance(Call& call, double distance) {
  char text[400];  // 309 digits at most
  int size = std::snprintf(text, sizeof text, "%.4f", distance);
  call.reply.bulk({text, static_cast<size_t>(size)});
}

void reply_position(Call& call, const GeoPosition& position) {
  call.reply.array(2);
  for (double coordinate : {position.longitude, position.latitude}) {
    std::string text = base::format_long_double_human(coordinate);
    call.reply.protocol() > 2 ? call.reply.raw("," + text + "\r\n") : call.reply.bulk(text);
  }
}

void geoadd(Call& call) {
  AddOptions options;
  if (!options.parse(call)) return;
  std::vector<uint64_t> scores;
  for (size_t i = options.first; i < call.argc(); i += 3) {
    GeoPosition position;
    if (!parse_position(call, i, position)) return;
    scores.push_back(data::geo_encode(position));
  }
  int64_t added = 0;
  int64_t updated = 0;
  {
    store::Edit edit = call.edit(1);
    if (zsets::refused(call, edit.entry())) return;
    if (!edit.found()) {
      if (options.rule.only_old) return call.reply.integer(0);
      edit.create<ZSet>();
    }
    const data::Packing& packing = call.server.packing();
    ZSet& zset = edit.value<ZSet>();
    zset.expect(call.arg(options.first + 2), scores.size(), packing);
    for (size_t i = 0; i < scores.size(); ++i) {
      auto result = zset.put(call.arg(options.first + 3 * i + 2), static_cast<double>(scores[i]),
                             options.rule, packing);
      added += result.outcome == data::ScoreOutcome::added;
      updated += result.outcome == data::ScoreOutcome::updated;
    }
    if (added + updated > 0) edit.done(zsets::kEventZadd);
  }
  if (added + updated > 0) add_effect(call, options, scores);
  call.reply.integer(options.count_changed ? added + updated : added);
}

void geodist(Call& call) {
  double unit_m = 1;
  if (call.argc() > 5) return call.syntax_error();
  if (call.argc() == 5 && !parse_unit(call, 4, unit_m)) return;
  const store::Entry* entry = call.find(1);
  if (zsets::refused(call, entry)) return;
  auto from = position_of(entry, call.arg(2));
  auto to = position_of(entry, call.arg(3));
  if (!from || !to) return call.reply.null();
  reply_distance(call, data::geo_distance_m(*from, *to) / unit_m);
}

void geohash(Call& call) {
  const store::Entry* entry = call.find(1);
  if (zsets::refused(call, entry)) return;
  call.reply.array(call.argc() - 2);
  for (size_t i = 2; i < call.argc(); ++i) {
    if (auto position = position_of(entry, call.arg(i))) {
      char text[data::kGeohashTextBytes];
      data::geohash_text(*position, text);
      call.reply.bulk({text, sizeof text});
    } else {
      call.reply.null();
    }
  }
}

void geopos(Call& call) {
  const store::Entry* entry = call.find(1);
  if (zsets::refused(call, entry)) return;
  call.reply.array(call.argc() - 2);
  for (size_t i = 2; i < call.argc(); ++i) {
    if (auto position = position_of(entry, call.arg(i))) {
      reply_position(call, *position);
    } else {
      call.reply.null_array();
    }
  }
}

}  // namespace quoll::commands::geo
