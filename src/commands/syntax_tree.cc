#include "commands/syntax_tree.h"

#include <algorithm>

#include "base/text.h"

namespace quoll::commands {
namespace {

constexpr Bytes kTypeNames[] = {"string",    "integer",    "double", "key",  "pattern",
                                "unix-time", "pure-token", "oneof",  "block"};
constexpr size_t kValueTypes = 6;  // those a "name:type" may state
constexpr size_t kDepthMax = 16;   // nested brackets

constexpr struct {
  Bytes name;
  ArgumentType type;
} kTypes[] = {
    {"key", ArgumentType::key},
    {"key1", ArgumentType::key},
    {"key2", ArgumentType::key},
    {"newkey", ArgumentType::key},
    {"source", ArgumentType::key},
    {"destination", ArgumentType::key},
    {"src", ArgumentType::key},
    {"dst", ArgumentType::key},
    {"sourcekey", ArgumentType::key},
    {"destkey", ArgumentType::key},
    {"pattern", ArgumentType::pattern},
    {"unix-time-seconds", ArgumentType::unix_time},
    {"unix-time-milliseconds", ArgumentType::unix_time},
    {"seconds", ArgumentType::integer},
    {"milliseconds", ArgumentType::integer},
    {"ms", ArgumentType::integer},
    {"ttl", ArgumentType::integer},
    {"timeout", ArgumentType::integer},
    {"count", ArgumentType::integer},
    {"cursor", ArgumentType::integer},
    {"numkeys", ArgumentType::integer},
    {"num-matches", ArgumentType::integer},
    {"index", ArgumentType::integer},
    {"index1", ArgumentType::integer},
    {"index2", ArgumentType::integer},
    {"destination-db", ArgumentType::integer},
    {"db", ArgumentType::integer},
    {"offset", ArgumentType::integer},
    {"start", ArgumentType::integer},
    {"stop", ArgumentType::integer},
    {"end", ArgumentType::integer},
    {"increment", ArgumentType::integer},
    {"decrement", ArgumentType::integer},
    {"client-id", ArgumentType::integer},
    {"protover", ArgumentType::integer},
    {"version", ArgumentType::integer},
    {"port", ArgumentType::integer},
    {"len", ArgumentType::integer},
    {"limit", ArgumentType::integer},
    {"rank", ArgumentType::integer},
    {"maxlen", ArgumentType::integer},
    {"weight", ArgumentType::integer},
    {"bit", ArgumentType::integer},
    {"bits", ArgumentType::integer},
    {"frequency", ArgumentType::integer},
    {"slot", ArgumentType::integer},
    {"start-slot", ArgumentType::integer},
    {"end-slot", ArgumentType::integer},
    {"config-epoch", ArgumentType::integer},
    {"cluster_bus_port", ArgumentType::integer},
    {"numreplicas", ArgumentType::integer},
    {"numlocal", ArgumentType::integer},
    {"entries_added", ArgumentType::integer},
    {"entries_read", ArgumentType::integer},
    {"score", ArgumentType::real},
    {"radius", ArgumentType::real},
    {"width", ArgumentType::real},
    {"height", ArgumentType::real},
    {"longitude", ArgumentType::real},
    {"latitude", ArgumentType::real},
};

// Names of words that are not names themselves, or not Redis's.
constexpr struct {
  Bytes token;
  Bytes name;
} kTokenNames[] = {
    {"*", "auto_id"}, {"=", "equal"},   {"~", "approximately"}, {"\"\"", "empty_string"},
    {"$", "new_id"},  {"CH", "change"}, {"INCR", "increment"},
};

// Names of choices, by a member each of them has and no other.
constexpr struct {
  Bytes member;
  Bytes name;
} kChoiceNames[] = {
    {"nx", "condition"}, {"gt", "comparison"},  {"unix-time-seconds", "expiration"},
    {"asc", "order"},    {"km", "unit"},        {"left", "where"},
    {"before", "where"}, {"bit", "index_unit"}, {"byscore", "sortby"},
    {"async", "async"},
};

// The text as nested words and groups, before their meaning is known.
struct Item;
using Sequence = std::vector<Item>;
struct Item {
  char kind;                           // 'w' word, or the opening bracket
  Bytes word;                          // of a word
  std::vector<Sequence> alternatives;  // of a group, at least one
  bool repeats = false;                // the group ends with "..."
  bool operator==(const Item&) const = default;
};

class Reader {
 public:
  explicit Reader(Bytes text) : text_(text) {}

  bool read(Sequence& sequence) {
    bool repeats = false;
    std::vector<Sequence> alternatives;
    if (!read_alternatives('\0', 0, alternatives, repeats) || alternatives.size() != 1 || repeats)
      return false;
    sequence = std::move(alternatives[0]);
    return true;
  }

 private:
  Bytes next() {
    while (at_ < text_.size() && base::is_blank(text_[at_])) ++at_;
    size_t start = at_;
    constexpr Bytes kPunctuation = "[]<>{}|";
    if (at_ < text_.size() && kPunctuation.find(text_[at_]) != Bytes::npos) {
      ++at_;
    } else {
      while (at_ < text_.size() && !base::is_blank(text_[at_]) &&
             kPunctuation.find(text_[at_]) == Bytes::npos)
        ++at_;
    }
    return text_.substr(start, at_ - start);
  }

  // Reads up to `close`, or to the end of the text for '\0'.
  bool read_alternatives(char close, size_t depth, std::vector<Sequence>& alternatives,
                         bool& repeats) {
    if (depth > kDepthMax) return false;
    alternatives.emplace_back();
    for (;;) {
      Bytes word = next();
      Sequence& sequence = alternatives.back();
      if (word.empty() || word == "]" || word == ">" || word == "}") {
        bool closes = word.empty() ? close == '\0' : word[0] == close;
        return closes && (close == '\0' || !sequence.empty());
      }
      if (repeats) return false;  // "..." stands last
      if (word == "...") {
        repeats = true;
      } else if (word == "|") {
        if (sequence.empty()) return false;
        alternatives.emplace_back();
      } else if (word == "[" || word == "<" || word == "{") {
        Item group{word[0], {}, {}, false};
        char end = word[0] == '[' ? ']' : word[0] == '<' ? '>' : '}';
        if (!read_alternatives(end, depth + 1, group.alternatives, group.repeats)) return false;
        alternatives.back().push_back(std::move(group));
      } else {
        sequence.push_back({'w', word, {}, false});
      }
    }
  }

  Bytes text_;
  size_t at_ = 0;
};

bool is_token(const Item& item) {
  return item.kind == 'w' && std::none_of(item.word.begin(), item.word.end(),
                                          [](char c) { return c >= 'a' && c <= 'z'; });
}

Argument value_of(Bytes word) {
  Argument argument;
  size_t colon = word.rfind(':');
  if (colon != Bytes::npos) {
    for (size_t i = 0; i < kValueTypes; ++i) {
      if (kTypeNames[i] != word.substr(colon + 1)) continue;
      argument.name = word.substr(0, colon);
      argument.type = static_cast<ArgumentType>(i);
      return argument;
    }
  }
  argument.name = word;
  for (const auto& row : kTypes)
    if (row.name == word) argument.type = row.type;
  return argument;
}

Argument pure_token(Bytes word) {
  Argument argument;
  argument.type = ArgumentType::pure_token;
  argument.token = word == "\"\"" ? Bytes{} : word;
  argument.name = base::to_lower(word);
  for (const auto& row : kTokenNames)
    if (row.token == word) argument.name = row.name;
  return argument;
}

std::string joined_names(const std::vector<Argument>& members) {
  std::string name;
  for (const Argument& member : members) {
    if (!name.empty()) name += '_';
    name += member.name;
  }
  return name;
}

std::string choice_name(const std::vector<Argument>& members) {
  for (const auto& row : kChoiceNames)
    for (const Argument& member : members)
      if (member.name == row.member) return std::string(row.name);
  return joined_names(members);
}

std::vector<Argument> arguments_of(std::span<const Item> items);

Argument block_of(std::vector<Argument> members) {
  Argument block;
  block.type = ArgumentType::block;
  block.name = joined_names(members);
  block.members = std::move(members);
  return block;
}

Argument one_of(std::vector<Argument> arguments) {
  if (arguments.size() == 1) return std::move(arguments[0]);
  return block_of(std::move(arguments));
}

// What stands in one alternative of a group, as one argument. "LIMIT offset count" is a block that
// LIMIT introduces; in "COUNT count [ANY]" the word belongs to the first value only.
Argument alternative(const Sequence& items) {
  if (items.size() > 2 && is_token(items[0])) {
    bool values_only = true;
    for (const Item& item : std::span(items).subspan(1))
      values_only = values_only && !is_token(item) && item.kind == 'w';
    if (values_only) {
      Argument block = block_of(arguments_of(std::span(items).subspan(1)));
      block.token = items[0].word;
      return block;
    }
  }
  return one_of(arguments_of(items));
}

Argument group_of(const Item& item) {
  if (item.kind == '{' && item.alternatives.size() == 1)
    return block_of(arguments_of(item.alternatives[0]));
  std::vector<Argument> members;
  for (const Sequence& sequence : item.alternatives) members.push_back(alternative(sequence));
  if (members.size() == 1) return std::move(members[0]);
  Argument choice;
  choice.type = ArgumentType::oneof;
  choice.name = choice_name(members);
  choice.members = std::move(members);
  return choice;
}

// How many of the next items are repeated by the group behind them: 2 for "k v [k v ...]".
size_t repeated_prefix(std::span<const Item> items) {
  for (size_t n = 1; n < items.size(); ++n) {
    const Item& group = items[n];
    if (group.kind == '[' && group.repeats && group.alternatives.size() == 1 &&
        std::equal(items.begin(), items.begin() + static_cast<ptrdiff_t>(n),
                   group.alternatives[0].begin(), group.alternatives[0].end()))
      return n;
  }
  return 0;
}

void repeat(Argument& argument) {
  argument.multiple = true;
  argument.multiple_token = !argument.token.empty() && argument.type != ArgumentType::pure_token;
}

// Reads one argument and returns how many items it took.
size_t take_argument(std::span<const Item> items, Argument& argument) {
  if (size_t n = repeated_prefix(items)) {
    argument = alternative(items[n].alternatives[0]);
    repeat(argument);
    return n + 1;
  }
  const Item& item = items[0];
  if (item.kind != 'w') {
    argument = group_of(item);
    if (item.repeats) repeat(argument);
    if (item.kind == '[') argument.optional = true;
    return 1;
  }
  if (!is_token(item)) {
    argument = value_of(item.word);
    return 1;
  }
  bool introduces = items.size() > 1 && !is_token(items[1]) && items[1].kind != '[';
  if (!introduces) {
    argument = pure_token(item.word);
    return 1;
  }
  size_t taken = take_argument(items.subspan(1), argument);
  if (!argument.token.empty()) argument = block_of({std::move(argument)});
  argument.token = item.word;
  return taken + 1;
}

std::vector<Argument> arguments_of(std::span<const Item> items) {
  std::vector<Argument> arguments;
  while (!items.empty()) {
    Argument argument;
    size_t taken = take_argument(items, argument);
    arguments.push_back(std::move(argument));
    items = items.subspan(taken);
  }
  return arguments;
}

void number_keys(std::vector<Argument>& arguments, int key_specs, int& next) {
  for (Argument& argument : arguments) {
    if (argument.type == ArgumentType::key && key_specs > 0) {
      argument.key_spec = std::min(next, key_specs - 1);
      ++next;
    }
    number_keys(argument.members, key_specs, next);
  }
}

}  // namespace

bool parse_syntax(Bytes syntax, size_t key_specs, std::vector<Argument>& arguments) {
  arguments.clear();
  Sequence sequence;
  if (!Reader(syntax).read(sequence)) return false;
  arguments = arguments_of(sequence);
  int next = 0;
  number_keys(arguments, static_cast<int>(key_specs), next);
  return true;
}

Bytes type_name(ArgumentType type) { return kTypeNames[static_cast<size_t>(type)]; }

}  // namespace quoll::commands
