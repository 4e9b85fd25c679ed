// SORT and SORT_RO: the elements of a list, set or sorted set in order, by themselves or by other
// keys' values, as they are or as what other keys hold for them.
//
// Elements and weights are borrowed from their values, so sorting N elements takes 72 bytes each
// and no copies. What STORE keeps is gathered before anything changes: the destination may be the
// source or a key that a pattern names.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <vector>

#include "base/text.h"
#include "commands/families.h"
#include "data/hash.h"
#include "data/list.h"
#include "data/set.h"
#include "data/zset.h"
#include "server/call.h"
#include "server/server.h"

namespace quoll::commands {
namespace {

using namespace server;
using base::equals_ignoring_case;
using data::PackedItem;
using data::Type;

constexpr store::Event kEventSortStore{"sortstore", 'l'};

// "prefix*postfix" or "prefix*postfix->field": what stands for the '*' is an element.
struct Pattern {
  Bytes prefix;
  Bytes postfix;
  Bytes field;            // empty: the key holds a string
  bool self = false;      // "#": the element itself
  bool constant = false;  // without '*': no key

  static Pattern of(Bytes text) {
    Pattern pattern;
    pattern.self = text == "#";
    size_t star = text.substr(0, text.find('\0')).find('*');
    pattern.constant = star == Bytes::npos;
    if (pattern.self || pattern.constant) return pattern;
    pattern.prefix = text.substr(0, star);
    pattern.postfix = text.substr(star + 1);
    size_t arrow = pattern.postfix.find("->");
    if (arrow == Bytes::npos || arrow + 2 == pattern.postfix.size()) return pattern;
    pattern.field = pattern.postfix.substr(arrow + 2);
    pattern.postfix = pattern.postfix.substr(0, arrow);
    return pattern;
  }
};

struct Options {
  bool descending = false;
  bool alpha = false;
  bool by_pattern = false;  // BY with a '*'
  bool unsorted = false;    // BY without
  Pattern by;
  int64_t offset = 0;
  int64_t count = -1;
  std::vector<Pattern> get;
  size_t store = 0;  // argument of the destination; 0: reply

  bool reads_other_keys() const {
    bool reads = by_pattern;
    for (const Pattern& pattern : get) reads |= !pattern.self && !pattern.constant;
    return reads;
  }
};

// BY and GET name keys that no check of the arguments can find.
bool reads_any_key(Call& call) {
  const AclUser& user = *call.session.user;
  return user.unrestricted() || user.allows_every_key(call.command, call.args, kKeyAccess);
}

// False: the error was replied.
bool parse(Call& call, bool read_only, Options& options) {
  for (size_t i = 2; i < call.argc(); ++i) {
    Bytes word = call.arg(i);
    size_t more = call.argc() - i - 1;
    if (equals_ignoring_case(word, "asc")) {
      options.descending = false;
    } else if (equals_ignoring_case(word, "desc")) {
      options.descending = true;
    } else if (equals_ignoring_case(word, "alpha")) {
      options.alpha = true;
    } else if (more >= 2 && equals_ignoring_case(word, "limit")) {
      if (!call.integer(i + 1, options.offset) || !call.integer(i + 2, options.count)) return false;
      i += 2;
    } else if (!read_only && more >= 1 && equals_ignoring_case(word, "store")) {
      options.store = ++i;
    } else if (more >= 1 && equals_ignoring_case(word, "by")) {
      // Once one BY named no key nothing is sorted any more, whatever another one says.
      options.by = Pattern::of(call.arg(++i));
      if (options.by.constant) options.unsorted = true;
      options.by_pattern = true;
      if (!options.by.constant && call.server.cluster()) {
        call.reply.error("ERR BY option of SORT denied in Cluster mode.");
        return false;
      }
      if (!options.by.constant && !reads_any_key(call)) {
        call.reply.error("ERR BY option of SORT denied due to insufficient ACL permissions.");
        return false;
      }
    } else if (more >= 1 && equals_ignoring_case(word, "get")) {
      if (call.server.cluster()) {
        call.reply.error("ERR GET option of SORT denied in Cluster mode.");
        return false;
      }
      if (!reads_any_key(call)) {
        call.reply.error("ERR GET option of SORT denied due to insufficient ACL permissions.");
        return false;
      }
      options.get.push_back(Pattern::of(call.arg(++i)));
    } else {
      call.syntax_error();
      return false;
    }
  }
  if (options.unsorted) options.by_pattern = false;
  return true;
}

// One element on its way.
struct Sorted {
  PackedItem element;
  double score = 0;  // numeric order
  Bytes weight;      // ALPHA with BY
  bool weighed = false;
};

struct Slice {
  uint64_t begin = 0;
  uint64_t end = 0;
};

// LIMIT as Redis takes it: a negative count is all, a start behind the end is nothing.
Slice slice_of(const Options& options, uint64_t size) {
  auto length = static_cast<int64_t>(size);
  int64_t begin = std::clamp<int64_t>(options.offset, 0, length);
  int64_t count = std::clamp<int64_t>(options.count, -1, length);
  int64_t end = count < 0 ? length : std::min(begin + count, length);
  return {static_cast<uint64_t>(begin), static_cast<uint64_t>(end)};
}

class Sorter {
 public:
  Sorter(Call& call, const Options& options) : call_(call), options_(options) {}

  // Puts the elements wanted in order. False: a weight is no number.
  bool sort(const store::Entry* entry);
  size_t size() const { return (slice_.end - slice_.begin) * columns(); }

  // Calls visit(const PackedItem*) for everything of the result, nullptr for what is not there.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (uint64_t i = slice_.begin; i < slice_.end; ++i) {
      const PackedItem& element = elements_[i].element;
      if (options_.get.empty()) visit(&element);
      for (const Pattern& pattern : options_.get) {
        PackedItem value;
        visit(find(pattern, element, value) ? &value : nullptr);
      }
    }
  }

 private:
  size_t columns() const { return options_.get.empty() ? 1 : options_.get.size(); }

  void take(const PackedItem& item);
  void take_lasting(const data::List& list, const PackedItem& item);
  void gather(const store::Entry* entry);
  void gather_slice(const store::Entry* entry, bool descending);
  bool weigh(Sorted& element);
  bool number(Bytes text, double& value);
  bool find(const Pattern& pattern, const PackedItem& element, PackedItem& value);
  int compare(const Sorted& left, const Sorted& right) const;
  int compare_texts(Bytes left, Bytes right) const;
  Bytes kept(const PackedItem& item);

  Call& call_;
  const Options& options_;
  bool by_pattern_ = false;
  bool alpha_ = false;
  std::vector<Sorted> elements_;
  Slice slice_;
  std::deque<std::string> texts_;  // of weights that are kept as integers, and of unpacked elements
  std::string key_;                // scratch: the key a pattern names
};

void Sorter::take(const PackedItem& item) {
  elements_.emplace_back();
  elements_.back().element = item;
}

// What a list had to unpack for a visit is gone behind it.
void Sorter::take_lasting(const data::List& list, const PackedItem& item) {
  if (item.is_integer || !list.big() || list.quicklist().open_nodes() == 0) return take(item);
  take(PackedItem::of_bytes(texts_.emplace_back(item.bytes)));
}

void Sorter::gather(const store::Entry* entry) {
  elements_.reserve(entry->collection()->size());
  if (entry->type() == Type::list) {
    const auto list = entry->value<data::List>();
    list->for_each([&](const PackedItem& item) { take_lasting(*list, item); });
  } else if (entry->type() == Type::set) {
    entry->value<data::Set>()->for_each([&](const PackedItem& item) { take(item); });
  } else {
    entry->value<data::ZSet>()->for_each([&](const PackedItem& item, double) { take(item); });
  }
}

// Lists and sorted sets have an order of their own: only what is wanted of it is fetched.
void Sorter::gather_slice(const store::Entry* entry, bool descending) {
  uint64_t size = entry->collection()->size();
  uint64_t count = slice_.end - slice_.begin;
  uint64_t first = descending ? size - 1 - slice_.begin : slice_.begin;
  slice_ = {0, count};
  if (count == 0) return;
  elements_.reserve(count);
  if (entry->type() == Type::list) {
    const auto list = entry->value<data::List>();
    list->visit(first, count, descending, [&](const PackedItem& item) {
      take_lasting(*list, item);
      return true;
    });
    return;
  }
  entry->value<data::ZSet>()->visit(first, count, descending,
                                    [&](const PackedItem& item, double) { take(item); });
}

bool Sorter::sort(const store::Entry* entry) {
  bool unsorted = options_.unsorted;
  by_pattern_ = options_.by_pattern;
  alpha_ = options_.alpha;
  slice_ = slice_of(options_, entry ? entry->collection()->size() : 0);
  if (!entry) return true;
  if (unsorted && entry->type() != Type::set) {
    gather_slice(entry, options_.descending);
    return true;
  }
  if (unsorted && (options_.store != 0 || call_.server.scripts().running())) {
    // What is kept must not depend on the order in which a set happens to lie, nor what a script
    // does with it.
    unsorted = by_pattern_ = false;
    alpha_ = true;
  }
  gather(entry);
  if (unsorted) return true;
  bool numbers = true;
  for (Sorted& element : elements_) numbers &= weigh(element);
  if (!numbers) return false;
  auto before = [&](const Sorted& left, const Sorted& right) {
    int order = compare(left, right);
    return options_.descending ? order > 0 : order < 0;
  };
  std::stable_sort(elements_.begin(), elements_.end(), before);
  return true;
}

bool Sorter::weigh(Sorted& element) {
  PackedItem value = element.element;
  if (by_pattern_ && !find(options_.by, element.element, value)) return true;
  if (alpha_) {
    if (by_pattern_) element.weight = kept(value);
    element.weighed = true;
    return true;
  }
  if (value.is_integer) {
    element.score = static_cast<double>(value.integer);
    return true;
  }
  return number(value.bytes, element.score);
}

// What strtod makes of the whole text up to a NUL; nothing is 0.
bool Sorter::number(Bytes text, double& value) {
  constexpr size_t kInline = 64;
  char copy[kInline];
  std::string longer;
  const char* begin = copy;
  if (text.size() < kInline) {
    if (!text.empty()) std::memcpy(copy, text.data(), text.size());
    copy[text.size()] = '\0';
  } else {
    longer = text;
    begin = longer.c_str();
  }
  char* end = nullptr;
  errno = 0;
  value = std::strtod(begin, &end);
  return *end == '\0' && errno != ERANGE && !std::isnan(value);
}

bool Sorter::find(const Pattern& pattern, const PackedItem& element, PackedItem& value) {
  if (pattern.self) {
    value = element;
    return true;
  }
  if (pattern.constant) return false;
  char buffer[base::kIntTextMax];
  key_ = pattern.prefix;
  key_ += element.text(buffer);
  key_ += pattern.postfix;
  const store::Entry* entry = call_.find_key(call_.store.ref(key_));
  if (!entry) return false;
  if (!pattern.field.empty()) {
    if (entry->type() != Type::hash) return false;
    data::HashItem item;
    if (!entry->value<data::Hash>()->find(pattern.field, call_.now, item)) return false;
    value = item.value;
    return true;
  }
  if (entry->type() != Type::string) return false;
  value = entry->form() == data::Form::integer ? PackedItem::of_integer(entry->integer())
                                               : PackedItem::of_bytes(entry->text(nullptr));
  return true;
}

Bytes Sorter::kept(const PackedItem& item) {
  if (!item.is_integer) return item.bytes;
  char buffer[base::kIntTextMax];
  texts_.emplace_back(item.text(buffer));
  return texts_.back();
}

// Replies are in the order of the C locale's strcoll, which ends at a NUL; what is stored in that
// of the bytes.
int Sorter::compare_texts(Bytes left, Bytes right) const {
  if (options_.store == 0) {
    left = errors::shown(left);
    right = errors::shown(right);
  }
  return left.compare(right);
}

int Sorter::compare(const Sorted& left, const Sorted& right) const {
  if (alpha_ && by_pattern_) {
    if (!left.weighed || !right.weighed) return left.weighed - right.weighed;
    return compare_texts(left.weight, right.weight);
  }
  if (!alpha_ && left.score != right.score) return left.score > right.score ? 1 : -1;
  char left_buffer[base::kIntTextMax], right_buffer[base::kIntTextMax];
  Bytes left_text = left.element.text(left_buffer);
  Bytes right_text = right.element.text(right_buffer);
  return alpha_ ? compare_texts(left_text, right_text) : left_text.compare(right_text);
}

void reply_result(Call& call, Sorter& sorter) {
  call.reply.array(sorter.size());
  sorter.for_each([&](const PackedItem* item) {
    if (!item) {
      call.reply.null();
    } else if (item->is_integer) {
      call.reply.bulk_integer(item->integer);
    } else {
      call.reply.bulk(item->bytes);
    }
  });
}

// The result as a list. What it needs to be made again follows from the keys the command names,
// unless patterns name others: then the list itself is stated, some elements a line.
void store_result(Call& call, const Options& options, Sorter& sorter) {
  const data::Packing& packing = call.server.packing();
  Bytes destination = call.arg(options.store);
  data::List list;
  list.open_quicklist();
  sorter.for_each([&](const PackedItem* item) {
    char buffer[base::kIntTextMax];
    list.push(data::ListEnd::tail, item ? item->text(buffer) : Bytes(), packing);
  });
  list.settle_decoded(packing);
  call.reply.integer(static_cast<int64_t>(list.size()));

  store::Edit edit = call.edit_key(destination);
  bool existed = edit.found();
  bool empty = list.size() == 0;
  if (empty && !existed) return;
  if (!options.reads_other_keys()) {
    call.effect_verbatim();
  } else {
    if (existed) call.effect({"DEL", destination});
    constexpr size_t kElementsPerLine = 128;
    std::vector<Bytes> line = {"RPUSH", destination};
    std::deque<std::string> texts;  // what a compressed list unpacks for a visit is gone behind it
    list.for_each([&](const PackedItem& item) {
      char buffer[base::kIntTextMax];
      line.push_back(texts.emplace_back(item.text(buffer)));
      if (line.size() < kElementsPerLine) return;
      call.effect(line);
      line.resize(2);
      texts.clear();
    });
    if (line.size() > 2) call.effect(line);
  }
  if (empty) {
    edit.erase();
    return edit.done(store::kEventDel);
  }
  edit.put(data::Value::of_collection(data::Collection(std::move(list))), store::Ttl::drop());
  edit.done(kEventSortStore);
}

void sort_generic(Call& call, bool read_only) {
  Options options;
  if (!parse(call, read_only, options)) return;
  const store::Entry* entry = call.find(1);
  if (entry && entry->type() != Type::list && entry->type() != Type::set &&
      entry->type() != Type::zset)
    return call.wrong_type();
  Sorter sorter(call, options);
  if (!sorter.sort(entry))
    return call.reply.error("ERR One or more scores can't be converted into double");
  if (options.store == 0) return reply_result(call, sorter);
  store_result(call, options, sorter);
}

void sort(Call& call) { sort_generic(call, false); }
void sort_ro(Call& call) { sort_generic(call, true); }

constexpr Bytes kComplexity =
    "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number "
    "of returned elements. When the elements are not sorted, complexity is O(N).";

constexpr CommandSpec kSortCommands[] = {
    {.name = "sort",
     .arity = -2,
     .run = sort,
     .access = Access::write,
     .journal = Journal::rewritten,
     .keys = {{keys::at(1, kKeyRo | kKeyAccess),
               {.flags = kKeyOw | kKeyUpdate,
                .find = KeySpec::Find::range,
                .begin = 2,
                .keyword = "STORE"}}},
     .flags = kDenyOom | kMovableKeys,
     .categories = kCatSet | kCatSortedSet | kCatList | kCatDangerous,
     .group = "generic",
     .since = "1.0.0",
     .summary = "Returns the elements of a list, set or sorted set in order, or stores them.",
     .complexity = kComplexity,
     .syntax = "key [BY pattern] [LIMIT {offset count}] [GET pattern [GET pattern ...]] [ASC | "
               "DESC] [ALPHA] [STORE destination:key]"},
    {.name = "sort_ro",
     .arity = -2,
     .run = sort_ro,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .flags = kMovableKeys,
     .categories = kCatSet | kCatSortedSet | kCatList | kCatDangerous,
     .group = "generic",
     .since = "7.0.0",
     .summary = "Returns the elements of a list, set or sorted set in order.",
     .complexity = kComplexity,
     .syntax = "key [BY pattern] [LIMIT {offset count}] [GET pattern [GET pattern ...]] [ASC | "
               "DESC] [ALPHA]"},
};
static_assert(well_formed(kSortCommands));

}  // namespace

Family sort_commands() { return kSortCommands; }

}  // namespace quoll::commands
