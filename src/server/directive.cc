#include "server/directive.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/check.h"
#include "base/numbers.h"
#include "base/text.h"

namespace quoll::server {

namespace {

using base::Error;

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;  // clang 14 does not find it by itself

struct DirectiveIndex {
  std::vector<const Directive*> rows;
  std::vector<NamedDirective> names;  // sorted

  DirectiveIndex();
  void add(std::span<const Directive> table);
  void add_name(Bytes name, const Directive& row, bool listed);
};

DirectiveIndex::DirectiveIndex() {
  add(network_directives());
  add(process_directives());
  add(access_directives());
  add(persist_directives());
  add(replication_directives());
  add(cluster_directives());
  add(memory_directives());
  add(encoding_directives());
  add(observe_directives());
  add(tls_directives());
  add(remembered_directives());
  std::ranges::sort(names, {}, &NamedDirective::name);
  const auto twice = std::ranges::adjacent_find(names, {}, &NamedDirective::name);
  QUOLL_CHECK(twice == names.end());
}

void DirectiveIndex::add(std::span<const Directive> table) {
  for (const Directive& row : table) {
    rows.push_back(&row);
    const bool listed = (row.flags & kHidden) == 0;
    add_name(row.name, row, listed);
    if (!row.alias.empty()) add_name(row.alias, row, listed);
    if (!row.hidden_alias.empty()) add_name(row.hidden_alias, row, false);
  }
}

void DirectiveIndex::add_name(Bytes name, const Directive& row, bool listed) {
  QUOLL_CHECK(!name.empty() && base::to_lower(name) == name);
  names.push_back({.name = name, .directive = &row, .listed = listed});
}

const DirectiveIndex& index() {
  static const DirectiveIndex kIndex;
  return kIndex;
}

bool parse_yes_no(Bytes text, bool& value) {
  const bool yes = base::equals_ignoring_case(text, "yes");
  if (!yes && !base::equals_ignoring_case(text, "no")) return false;
  value = yes;
  return true;
}

Error outside(int64_t min, int64_t max, Notation notation) {
  char text[96];
  std::snprintf(text, sizeof text,
                notation == Notation::octal ? "argument must be between %lo and %lo inclusive"
                                            : "argument must be between %ld and %ld inclusive",
                static_cast<long>(min), static_cast<long>(max));
  return Error{text};
}

Result<> parse_integer(Bytes text, Notation notation, int64_t& value) {
  if (notation == Notation::decimal) {
    if (!base::parse_int(text, value)) return Error{"argument couldn't be parsed into an integer"};
    return {};
  }
  if (notation == Notation::octal) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
    if (error != std::errc() || end != text.data() + text.size()) {
      return Error{"argument couldn't be parsed as an octal number"};
    }
    return {};
  }
  uint64_t bytes = 0;
  if (!base::parse_memory(text, bytes)) return Error{"argument must be a memory value"};
  // What does not fit is -1, below every lower bound.
  value = bytes > static_cast<uint64_t>(kInt64Max) ? -1 : static_cast<int64_t>(bytes);
  return {};
}

Result<> write_integer(const Integer& kind, Settings& settings, Bytes text) {
  int64_t value = 0;
  if (auto parsed = parse_integer(text, kind.notation, value); !parsed) return parsed;
  if (value < kind.min || value > kind.max) return outside(kind.min, kind.max, kind.notation);
  settings.*kind.member = std::clamp(value, kind.kept_min, kind.kept_max);
  return {};
}

Result<> write_memory_or_percent(const MemoryOrPercent& kind, Settings& settings, Bytes text) {
  constexpr int64_t kWhole = 100;
  const Error wrong{"argument must be a memory or percent value"};
  if (text.ends_with('%')) {
    int64_t percent = 0;
    if (!base::parse_int(text.substr(0, text.size() - 1), percent) || percent < 0) return wrong;
    if (percent > kWhole) return Error{"percentage argument must be less or equal to 100"};
    settings.*kind.member = -percent;
    return {};
  }
  uint64_t bytes = 0;
  if (!base::parse_memory(text, bytes) || bytes > static_cast<uint64_t>(kInt64Max)) return wrong;
  settings.*kind.member = static_cast<int64_t>(bytes);
  return {};
}

Result<> write_choice_name(const Choice& kind, Settings& settings, Bytes text) {
  std::string listed;
  for (const ChoiceName& known : kind.names) {
    if (base::equals_ignoring_case(known.name, text)) {
      kind.write(settings, known.value);
      return {};
    }
    if (!known.listed) continue;
    if (!listed.empty()) listed += ", ";
    listed += known.name;
  }
  return Error{"argument(s) must be one of the following: " + listed};
}

Result<> write_remembered(const Directive& row, const Remembered& kind, Settings& settings,
                          Bytes text) {
  std::string value(text);
  bool flag = false;
  int64_t number = 0;
  uint64_t bytes = 0;
  switch (kind.type) {
    case RememberedType::yes_no:
      if (!parse_yes_no(text, flag)) return Error{"argument must be 'yes' or 'no'"};
      value = flag ? "yes" : "no";
      break;
    case RememberedType::integer:
      if (!base::parse_int(text, number)) {
        return Error{"argument couldn't be parsed into an integer"};
      }
      break;
    case RememberedType::memory:
      if (!base::parse_memory(text, bytes)) return Error{"argument must be a memory value"};
      value = std::to_string(bytes);
      break;
    case RememberedType::text:
      break;
  }
  settings.remembered.insert_or_assign(std::string(row.name), std::move(value));
  return {};
}

std::string in_octal(int64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "%lo", static_cast<unsigned long>(value));
  return text;
}

std::string choice_text(const Choice& kind, const Settings& settings) {
  const int value = kind.read(settings);
  for (const ChoiceName& known : kind.names) {
    if (known.value == value) return std::string(known.name);
  }
  return "unknown";
}

}  // namespace

const Directive* find_directive(Bytes name) {
  const std::string lower = base::to_lower(name);
  const auto found =
      std::ranges::lower_bound(index().names, Bytes(lower), {}, &NamedDirective::name);
  if (found == index().names.end() || found->name != lower) return nullptr;
  return found->directive;
}

std::span<const NamedDirective> directive_names() { return index().names; }

std::span<const Directive* const> directives() { return index().rows; }

Result<> write_value(const Directive& row, Settings& settings, Words words, Source source) {
  if ((row.flags & kMultiArgument) == 0 && words.size() != 1) {
    return Error{"wrong number of arguments"};
  }
  const auto write_switch = [&](const Switch& kind) -> Result<> {
    if (parse_yes_no(words[0], settings.*kind.member)) return {};
    return Error{"argument must be 'yes' or 'no'"};
  };
  const auto write_memory = [&](const Memory& kind) -> Result<> {
    if (base::parse_memory(words[0], settings.*kind.member)) return {};
    return Error{"argument must be a memory value"};
  };
  const auto write_text = [&](const Text& kind) -> Result<> {
    if (kind.check != nullptr) {
      if (auto checked = kind.check(words[0]); !checked) return checked;
    }
    settings.*kind.member = words[0];
    return {};
  };
  return std::visit(
      Overloaded{
          write_switch, write_memory, write_text,
          [&](const Integer& kind) { return write_integer(kind, settings, words[0]); },
          [&](const MemoryOrPercent& kind) {
            return write_memory_or_percent(kind, settings, words[0]);
          },
          [&](const Choice& kind) { return write_choice_name(kind, settings, words[0]); },
          [&](const Special* kind) { return kind->write(settings, words, source); },
          [&](const Remembered& kind) { return write_remembered(row, kind, settings, words[0]); }},
      row.value);
}

std::string read_value(const Directive& row, const Settings& settings) {
  const auto read_percent = [&](const MemoryOrPercent& kind) {
    const int64_t value = settings.*kind.member;
    return value < 0 ? std::to_string(-value) + '%' : std::to_string(value);
  };
  const auto read_remembered = [&](const Remembered& kind) {
    const auto found = settings.remembered.find(row.name);
    return found == settings.remembered.end() ? std::string(kind.initial) : found->second;
  };
  return std::visit(
      Overloaded{
          read_percent, read_remembered,
          [&](const Switch& kind) { return std::string(settings.*kind.member ? "yes" : "no"); },
          [&](const Integer& kind) {
            const int64_t value = settings.*kind.member;
            return kind.notation == Notation::octal ? in_octal(value) : std::to_string(value);
          },
          [&](const Memory& kind) { return std::to_string(settings.*kind.member); },
          [&](const Text& kind) { return settings.*kind.member; },
          [&](const Choice& kind) { return choice_text(kind, settings); },
          [&](const Special* kind) { return kind->read(settings); }},
      row.value);
}

std::vector<std::string> rewrite_lines(const Directive& row, const Settings& settings) {
  std::string value = read_value(row, settings);
  if (const auto* special = std::get_if<const Special*>(&row.value)) {
    if ((*special)->lines != nullptr) return (*special)->lines(settings);
    if (value.empty()) return {};
  }
  if (const auto* text = std::get_if<Text>(&row.value)) {
    if (value.empty() && text->unset_when_empty) return {};
    value = base::quoted(value);
  } else if (const auto* remembered = std::get_if<Remembered>(&row.value)) {
    if (remembered->type == RememberedType::text) value = base::quoted(value);
  } else if (const auto* memory = std::get_if<Memory>(&row.value)) {
    value = format_memory(settings.*memory->member);
  } else if (const auto* percent = std::get_if<MemoryOrPercent>(&row.value)) {
    const int64_t bytes = settings.*percent->member;
    if (bytes >= 0) value = format_memory(static_cast<uint64_t>(bytes));
  } else if (const auto* integer = std::get_if<Integer>(&row.value)) {
    if (integer->notation == Notation::memory) {
      value = format_memory(static_cast<uint64_t>(settings.*integer->member));
    }
  }
  return {std::string(row.name) + ' ' + value};
}

std::string format_memory(uint64_t bytes) {
  struct Unit {
    const char* name;
    uint64_t size;
  };
  constexpr Unit kUnits[] = {{"gb", 1ULL << 30}, {"mb", 1ULL << 20}, {"kb", 1ULL << 10}};
  for (const Unit& unit : kUnits) {
    if (bytes != 0 && bytes % unit.size == 0) return std::to_string(bytes / unit.size) + unit.name;
  }
  return std::to_string(bytes);
}

std::string format_percentile(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.6f", value);
  std::string trimmed = text;
  while (trimmed.ends_with('0')) trimmed.pop_back();
  if (trimmed.ends_with('.')) trimmed.pop_back();
  return trimmed;
}

}  // namespace quoll::server
