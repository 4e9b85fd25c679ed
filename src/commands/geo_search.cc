// GEOSEARCH and its older relatives: one query, whose arguments each command names differently.
#include <algorithm>
#include <string>
#include <vector>

#include "base/numbers.h"
#include "base/text.h"
#include "commands/geo_family.h"
#include "commands/zset_family.h"
#include "data/zset_builder.h"
#include "server/server.h"

namespace quoll::commands::geo {
namespace {

constexpr store::Event kEventGeoSearchStore{"geosearchstore", 'z'};
constexpr store::Event kEventGeoRadiusStore{"georadiusstore", 'z'};

// Where a command says what it looks for.
enum class Form : uint8_t { radius, radius_by_member, search, search_store };
enum class Order : uint8_t { none, nearest_first, farthest_first };

struct Found {
  std::string member;
  GeoPosition position;
  double score;
  double distance_m;
};

class Query {
 public:
  Query(Call& call, Form form, bool may_store) : call_(call), form_(form), may_store_(may_store) {}

  void run() {
    if (form_ == Form::search_store) destination_ = 1;
    size_t source = form_ == Form::search_store ? 2 : 1;
    entry_ = call_.find(source);
    if (zsets::refused(call_, entry_) || !parse(source)) return;
    if (!entry_) {
      if (!destination_) return call_.reply.array(0);
      return zsets::store_result(call_, destination_, {}, event());
    }
    // The nearest are wanted, unless any will do.
    if (count_ > 0 && order_ == Order::none && !any_) order_ = Order::nearest_first;
    collect(*entry_->value<ZSet>());
    sort();
    destination_ ? store_found() : reply_found();
  }

 private:
  bool searches() const { return form_ == Form::search || form_ == Form::search_store; }
  const store::Event& event() const {
    return searches() ? kEventGeoSearchStore : kEventGeoRadiusStore;
  }
  bool fail(Bytes error) {
    call_.reply.error(error);
    return false;
  }

  bool parse(size_t source);
  bool take_option(size_t& i);
  bool take_store_option(size_t& i);
  bool take_search_option(size_t& i);
  bool take_member(size_t i);
  bool take_length(size_t i, Bytes not_numeric, double& length);
  bool take_radius(size_t i);
  bool take_box(size_t i);
  bool check_options();

  void collect(const ZSet& zset);
  void sort();
  void reply_found();
  void store_found();

  Call& call_;
  Form form_;
  bool may_store_;
  const store::Entry* entry_ = nullptr;
  data::GeoArea area_;
  double unit_m_ = 1;
  size_t destination_ = 0;  // argument of the key to store in
  bool store_distance_ = false;
  bool with_distance_ = false;
  bool with_hash_ = false;
  bool with_position_ = false;
  bool from_member_ = false;
  bool from_position_ = false;
  bool by_radius_ = false;
  bool by_box_ = false;
  bool any_ = false;
  Order order_ = Order::none;
  int64_t count_ = 0;
  std::vector<Found> found_;
};

// --------------------------------------------------------------------------------------- arguments

bool Query::parse(size_t source) {
  size_t options = source + 1;
  if (form_ == Form::radius) {
    options = 6;
    if (!parse_position(call_, 2, area_.centre) || !take_radius(4)) return false;
  } else if (form_ == Form::radius_by_member) {
    options = 5;
    // Without a source the options still decide what kind of reply that is.
    if (entry_ && (!take_member(2) || !take_radius(3))) return false;
  }
  for (size_t i = options; i < call_.argc(); ++i)
    if (!take_option(i)) return false;
  return check_options();
}

bool Query::take_option(size_t& i) {
  auto is = [&](Bytes name) { return base::equals_ignoring_case(call_.arg(i), name); };
  if (is("withdist")) return with_distance_ = true;
  if (is("withhash")) return with_hash_ = true;
  if (is("withcoord")) return with_position_ = true;
  if (is("any")) return any_ = true;
  if (is("asc")) {
    order_ = Order::nearest_first;
    return true;
  }
  if (is("desc")) {
    order_ = Order::farthest_first;
    return true;
  }
  if (is("count") && i + 1 < call_.argc()) {
    if (!call_.integer(++i, count_)) return false;
    return count_ > 0 || fail("ERR COUNT must be > 0");
  }
  return searches() ? take_search_option(i) : take_store_option(i);
}

// GEORADIUS: STORE key, STOREDIST key. The last one counts.
bool Query::take_store_option(size_t& i) {
  bool distance = base::equals_ignoring_case(call_.arg(i), "storedist");
  bool stores = distance || base::equals_ignoring_case(call_.arg(i), "store");
  if (!stores || !may_store_ || i + 1 == call_.argc()) return fail(server::errors::kSyntax);
  destination_ = ++i;
  store_distance_ = distance;
  return true;
}

bool Query::take_search_option(size_t& i) {
  auto is = [&](Bytes name, size_t values) {
    return i + values < call_.argc() && base::equals_ignoring_case(call_.arg(i), name);
  };
  if (is("frommember", 1) && !from_position_) {
    from_member_ = true;
    ++i;
    return !entry_ || take_member(i);
  }
  if (is("fromlonlat", 2) && !from_member_) {
    if (!parse_position(call_, i + 1, area_.centre)) return false;
    i += 2;
    return from_position_ = true;
  }
  if (is("byradius", 2) && !by_box_) {
    if (!take_radius(i + 1)) return false;
    i += 2;
    return by_radius_ = true;
  }
  if (is("bybox", 3) && !by_radius_) {
    if (!take_box(i + 1)) return false;
    i += 3;
    return by_box_ = true;
  }
  if (form_ == Form::search_store && is("storedist", 0)) return store_distance_ = true;
  return fail(server::errors::kSyntax);
}

bool Query::take_member(size_t i) {
  auto score = entry_->value<ZSet>()->score(call_.arg(i));
  if (!score) return fail("ERR could not decode requested zset member");
  area_.centre = data::geo_decode(*score);
  return true;
}

bool Query::take_length(size_t i, Bytes not_numeric, double& length) {
  return base::parse_double(call_.arg(i), length) || fail(not_numeric);
}

bool Query::take_radius(size_t i) {
  double radius;
  if (!take_length(i, "ERR need numeric radius", radius)) return false;
  if (radius < 0) return fail("ERR radius cannot be negative");
  if (!parse_unit(call_, i + 1, unit_m_)) return false;
  area_.is_box = false;
  area_.radius_m = radius * unit_m_;
  return true;
}

bool Query::take_box(size_t i) {
  double width;
  double height;
  if (!take_length(i, "ERR need numeric width", width)) return false;
  if (!take_length(i + 1, "ERR need numeric height", height)) return false;
  if (width < 0 || height < 0) return fail("ERR height or width cannot be negative");
  if (!parse_unit(call_, i + 2, unit_m_)) return false;
  area_.is_box = true;
  area_.width_m = width * unit_m_;
  area_.height_m = height * unit_m_;
  return true;
}

bool Query::check_options() {
  if (destination_ && (with_distance_ || with_hash_ || with_position_)) {
    Bytes what = form_ == Form::search_store ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS";
    return fail("ERR " + std::string(what) +
                " is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
  }
  std::string name(server::errors::shown(call_.arg(0)));
  if (searches() && !from_member_ && !from_position_)
    return fail("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for " + name);
  if (searches() && !by_radius_ && !by_box_)
    return fail("ERR exactly one of BYRADIUS and BYBOX can be specified for " + name);
  if (any_ && count_ == 0) return fail("ERR the ANY argument requires COUNT argument");
  return true;
}

// ------------------------------------------------------------------------------------------ search

void Query::collect(const ZSet& zset) {
  constexpr uint64_t kMembersPerLook = 64;
  size_t enough = any_ ? static_cast<size_t>(count_) : SIZE_MAX;
  data::GeoArea::Cells cover = area_.cover();
  for (size_t i = 0; i < cover.count && found_.size() < enough; ++i) {
    data::ScoreRange scores{{static_cast<double>(cover.cells[i].low), false},
                            {static_cast<double>(cover.cells[i].high), true}};
    zsets::Ranks ranks = zsets::ranks_of(zset, scores);
    for (uint64_t done = 0; done < ranks.count && found_.size() < enough; done += kMembersPerLook) {
      zset.visit(ranks.first + done, std::min(kMembersPerLook, ranks.count - done), false,
                 [&](const data::PackedItem& member, double score) {
                   if (found_.size() >= enough) return;
                   GeoPosition position = data::geo_decode(score);
                   double distance_m;
                   if (!area_.contains(position, distance_m)) return;
                   char text[base::kIntTextMax];
                   found_.push_back({std::string(member.text(text)), position, score, distance_m});
                 });
    }
  }
}

void Query::sort() {
  auto nearer = [&](const Found& a, const Found& b) {
    return order_ == Order::nearest_first ? a.distance_m < b.distance_m
                                          : a.distance_m > b.distance_m;
  };
  if (order_ != Order::none) std::stable_sort(found_.begin(), found_.end(), nearer);
  if (count_ > 0 && found_.size() > static_cast<size_t>(count_))
    found_.resize(static_cast<size_t>(count_));
}

void Query::reply_found() {
  auto options = static_cast<size_t>(with_distance_ + with_hash_ + with_position_);
  call_.reply.array(found_.size());
  for (const Found& found : found_) {
    if (options > 0) call_.reply.array(options + 1);
    call_.reply.bulk(found.member);
    if (with_distance_) reply_distance(call_, found.distance_m / unit_m_);
    if (with_hash_) call_.reply.integer(static_cast<int64_t>(found.score));
    if (with_position_) reply_position(call_, found.position);
  }
}

void Query::store_found() {
  data::ZSetBuilder builder;
  for (const Found& found : found_) {
    builder.add(found.member, store_distance_ ? found.distance_m / unit_m_ : found.score,
                [](double old, double) { return old; });
  }
  zsets::store_result(call_, destination_, builder.finish(call_.server.packing()), event());
}

}  // namespace

void geosearch(Call& call) { Query(call, Form::search, false).run(); }
void geosearchstore(Call& call) { Query(call, Form::search_store, true).run(); }
void georadius(Call& call) { Query(call, Form::radius, true).run(); }
void georadiusbymember(Call& call) { Query(call, Form::radius_by_member, true).run(); }
void georadius_ro(Call& call) { Query(call, Form::radius, false).run(); }
void georadiusbymember_ro(Call& call) { Query(call, Form::radius_by_member, false).run(); }

}  // namespace quoll::commands::geo
