#include "base/numbers.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/text.h"

namespace quoll::base {

namespace {

constexpr auto kDigitPairs = [] {
  std::array<char, 200> pairs{};
  for (int i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

constexpr auto kPowersOfTen = [] {
  std::array<uint64_t, 20> powers{};
  uint64_t power = 1;
  for (auto& each : powers) {
    each = power;
    power *= 10;
  }
  return powers;
}();

unsigned digits_of(uint64_t value) {
  // Bits to digits: log10(2) is about 1233/4096.
  unsigned bits = 64 - static_cast<unsigned>(__builtin_clzll(value | 1));
  unsigned estimate = bits * 1233 >> 12;
  return estimate + ((value | 1) >= kPowersOfTen[estimate]);
}

// Digits without sign: "0", or not starting with '0'. A null digit list is refused.
bool parse_magnitude(Bytes text, uint64_t limit, uint64_t& value) {
  constexpr size_t kUintDigitsMax = 20;
  constexpr size_t kSafeDigits = 18;  // cannot reach any limit
  if (text.empty() || text.size() > kUintDigitsMax) return false;
  if (text[0] == '0') {
    value = 0;
    return text.size() == 1;
  }
  uint64_t sum = 0;
  for (char c : text) {
    unsigned digit = static_cast<unsigned char>(c) - unsigned{'0'};
    if (digit > 9) return false;
    if (text.size() > kSafeDigits && sum > (limit - digit) / 10) return false;
    sum = sum * 10 + digit;
  }
  value = sum;
  return true;
}

bool out_of_range(int error, long double value) {
  return error == ERANGE && (std::isinf(value) || value == 0);
}

// The road through strtod, for everything from_chars does not decide: hexadecimal, '+', range.
bool parse_double_slow(Bytes text, double& value) {
  if (is_blank(text[0])) return false;
  char near[256];
  std::string far;
  const char* start = near;
  if (text.size() < sizeof near) {
    std::memcpy(near, text.data(), text.size());
    near[text.size()] = '\0';
  } else {
    far = text;
    start = far.c_str();
  }
  char* end = nullptr;
  errno = 0;
  double parsed = std::strtod(start, &end);
  if (end != start + text.size() || std::isnan(parsed) || out_of_range(errno, parsed)) return false;
  value = parsed;
  return true;
}

}  // namespace

bool parse_int(Bytes text, int64_t& value) {
  bool negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  uint64_t magnitude;
  if (!parse_magnitude(text, uint64_t{INT64_MAX} + negative, magnitude)) return false;
  if (negative && magnitude == 0) return false;
  value = static_cast<int64_t>(negative ? ~magnitude + 1 : magnitude);
  return true;
}

bool parse_uint(Bytes text, uint64_t& value) { return parse_magnitude(text, UINT64_MAX, value); }

size_t format_uint(uint64_t value, char* out) {
  unsigned size = digits_of(value);
  char* at = out + size;
  while (value >= 100) {
    at -= 2;
    std::memcpy(at, &kDigitPairs[2 * (value % 100)], 2);
    value /= 100;
  }
  if (value >= 10) {
    std::memcpy(at - 2, &kDigitPairs[2 * value], 2);
  } else {
    at[-1] = static_cast<char>('0' + value);
  }
  return size;
}

size_t format_int(int64_t value, char* out) {
  auto magnitude = static_cast<uint64_t>(value);
  if (value >= 0) return format_uint(magnitude, out);
  *out = '-';
  return 1 + format_uint(~magnitude + 1, out + 1);
}

size_t int_text_size(int64_t value) {
  auto magnitude = static_cast<uint64_t>(value);
  return value >= 0 ? digits_of(magnitude) : 1 + digits_of(~magnitude + 1);
}

bool parse_double(Bytes text, double& value) {
  if (text.empty()) return false;
  double parsed;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, parsed);
  if (error != std::errc() || stop != end) return parse_double_slow(text, value);
  if (std::isnan(parsed)) return false;
  value = parsed;
  return true;
}

bool parse_long_double(Bytes text, long double& value) {
  if (text.empty() || text.size() >= kLongDoubleTextMax || is_blank(text[0])) return false;
  char copy[kLongDoubleTextMax];
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  char* end = nullptr;
  errno = 0;
  long double parsed = std::strtold(copy, &end);
  if (end != copy + text.size() || std::isnan(parsed) || out_of_range(errno, parsed)) return false;
  value = parsed;
  return true;
}

size_t format_double(double value, char* out) {
  // "%.17g" of a whole number below 1e17 is the number itself; -0 is the exception.
  if (std::abs(value) < 1e17) {
    auto whole = static_cast<int64_t>(value);
    if (static_cast<double>(whole) == value && (whole != 0 || !std::signbit(value))) {
      return format_int(whole, out);
    }
  }
  auto [end, error] =
      std::to_chars(out, out + kDoubleTextMax, value, std::chars_format::general, 17);
  QUOLL_CHECK(error == std::errc());
  return static_cast<size_t>(end - out);
}

size_t format_double_shortest(double value, char* out) {
  constexpr double kExactIntegers = 9007199254740992.0;  // 2^53
  if (std::abs(value) < kExactIntegers) {
    auto whole = static_cast<int64_t>(value);
    if (static_cast<double>(whole) == value && (whole != 0 || !std::signbit(value))) {
      return format_int(whole, out);
    }
  }
  auto [end, error] = std::to_chars(out, out + kDoubleTextMax, value);
  QUOLL_CHECK(error == std::errc());
  return static_cast<size_t>(end - out);
}

std::string format_long_double_human(long double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[kLongDoubleTextMax];
  int printed = std::snprintf(text, sizeof text, "%.17Lf", value);
  QUOLL_CHECK(printed > 0 && static_cast<size_t>(printed) < sizeof text);
  Bytes trimmed(text, static_cast<size_t>(printed));
  if (trimmed.find('.') != Bytes::npos) {
    while (trimmed.back() == '0') trimmed.remove_suffix(1);
    if (trimmed.back() == '.') trimmed.remove_suffix(1);
  }
  return std::string(trimmed == "-0" ? Bytes("0") : trimmed);
}

bool parse_memory(Bytes text, uint64_t& bytes) {
  constexpr size_t kMemoryDigitsMax = 127;
  size_t digits = 0;
  uint64_t number = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    if (__builtin_mul_overflow(number, uint64_t{10}, &number) ||
        __builtin_add_overflow(number, static_cast<uint64_t>(text[digits] - '0'), &number)) {
      number = UINT64_MAX;
    }
  }
  if (digits > kMemoryDigitsMax || text.size() - digits > 2) return false;
  unsigned unit[2] = {0, 0};
  for (size_t i = digits; i < text.size(); ++i) {
    unit[i - digits] = static_cast<unsigned char>(text[i]) | 0x20u;
  }
  bool binary = unit[1] == 'b';
  if (unit[1] != 0 && !binary) return false;
  uint64_t thousand = binary ? 1024 : 1000;
  uint64_t factor = 1;
  switch (unit[0]) {
    case 'g':
      factor *= thousand;
      [[fallthrough]];
    case 'm':
      factor *= thousand;
      [[fallthrough]];
    case 'k':
      factor *= thousand;
      break;
    case 'b':
      if (binary) return false;
      break;
    case 0:
      break;
    default:
      return false;
  }
  if (__builtin_mul_overflow(number, factor, &bytes)) bytes = UINT64_MAX;
  return true;
}

std::string format_memory_human(uint64_t bytes) {
  char text[32];
  if (bytes < 1024) {
    size_t size = format_uint(bytes, text);
    text[size] = 'B';
    return std::string(text, size + 1);
  }
  constexpr char kUnits[] = "KMGTP";
  size_t unit = 0;
  double scaled = static_cast<double>(bytes) / 1024;
  // Decided on the integer, not on the rounded text: 1048575 prints as "1024.00K", as in Redis.
  for (uint64_t rest = bytes >> 10; rest >= 1024 && unit < 4; rest >>= 10) {
    scaled /= 1024;
    ++unit;
  }
  int size = std::snprintf(text, sizeof text, "%.2f%c", scaled, kUnits[unit]);
  return std::string(text, static_cast<size_t>(size));
}

}  // namespace quoll::base
