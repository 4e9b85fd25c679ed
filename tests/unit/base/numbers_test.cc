#include "base/numbers.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>

using namespace quoll::base;

namespace {

std::string int_text(int64_t value) {
  char text[kIntTextMax];
  return std::string(text, format_int(value, text));
}
std::string double_text(double value) {
  char text[kDoubleTextMax];
  return std::string(text, format_double(value, text));
}
std::string shortest_text(double value) {
  char text[kDoubleTextMax];
  return std::string(text, format_double_shortest(value, text));
}
std::string printed(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}
double random_double(std::mt19937_64& random) {
  uint64_t bits = random();
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("parse_int accepts canonical integers only") {
  int64_t value = 77;
  for (Bytes bad : {"", "-", "+1", "01", "-01", "00", "-0", " 1", "1 ", "1a", "0x1", "1.0", "--1",
                    "9223372036854775808", "-9223372036854775809", "99999999999999999999",
                    "123456789012345678901234567890"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_int(bad, value));
  }
  CHECK_FALSE(parse_int(Bytes("1\0", 2), value));
  CHECK(value == 77);
  struct {
    Bytes text;
    int64_t value;
  } good[] = {{"0", 0},
              {"7", 7},
              {"-1", -1},
              {"9223372036854775807", INT64_MAX},
              {"-9223372036854775808", INT64_MIN},
              {"1000000000000000000", 1000000000000000000}};
  for (auto& [text, expected] : good) {
    CAPTURE(text);
    CHECK(parse_int(text, value));
    CHECK(value == expected);
  }
  uint64_t big;
  CHECK(parse_uint("18446744073709551615", big));
  CHECK(big == UINT64_MAX);
  CHECK_FALSE(parse_uint("18446744073709551616", big));
  CHECK_FALSE(parse_uint("-1", big));
}

TEST_CASE("format_int agrees with std::to_string and reads back") {
  std::mt19937_64 random(1);
  auto check = [](int64_t value) {
    std::string text = int_text(value);
    REQUIRE(text == std::to_string(value));
    REQUIRE(int_text_size(value) == text.size());
    int64_t back;
    REQUIRE(parse_int(text, back));
    REQUIRE(back == value);
  };
  for (int64_t value : {INT64_MIN, INT64_MIN + 1, INT64_MAX, int64_t{0}}) check(value);
  for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10) {
    for (int64_t near : {power - 1, power, power + 1, power * 9}) {
      check(near);
      check(-near);
    }
  }
  for (int i = 0; i < 20'000; ++i) check(static_cast<int64_t>(random() >> random() % 64));
  char text[kIntTextMax];
  CHECK(Bytes(text, format_uint(UINT64_MAX, text)) == "18446744073709551615");
}

TEST_CASE("parse_double accepts what Redis accepts") {
  double value = 0;
  for (Bytes bad : {"", " 1", "1 ", "\t1", "nan", "-nan", "NAN", "nan(1)", "1e", "1_0", "infinit",
                    "1e400", "-1e400", "1e-400", "0x", "1,5", "++1", "."}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_double(bad, value));
  }
  CHECK_FALSE(parse_double(Bytes("1\0", 2), value));
  struct {
    Bytes text;
    double value;
  } good[] = {{"1", 1},
              {"+5", 5},
              {".5", 0.5},
              {"5.", 5},
              {"0x10", 16},
              {"0x1p-3", 0.125},
              {"-0X1P3", -8},
              {"1E3", 1000},
              {"5e-324", 5e-324},
              {"1e308", 1e308},
              {"inf", INFINITY},
              {"+inf", INFINITY},
              {"-INF", -INFINITY},
              {"Infinity", INFINITY},
              {"0.1", 0.1},
              {"00012", 12}};
  for (auto& [text, expected] : good) {
    CAPTURE(text);
    CHECK(parse_double(text, value));
    CHECK(value == expected);
  }
  CHECK(parse_double("-0", value));
  CHECK(std::signbit(value));
  std::string ones = "1." + std::string(1'000, '1') + "e+0";
  CHECK(parse_double(ones, value));
  CHECK(value == 1.1111111111111112);
  CHECK(parse_double("+" + ones, value));
  CHECK(value == 1.1111111111111112);
}

TEST_CASE("format_double prints as %.17g, and every double survives both forms") {
  CHECK(double_text(0.1) == "0.10000000000000001");
  CHECK(double_text(3) == "3");
  CHECK(double_text(-0.0) == "-0");
  CHECK(double_text(1e17) == "1e+17");
  CHECK(double_text(1e16) == "10000000000000000");
  CHECK(double_text(INFINITY) == "inf");
  CHECK(double_text(-INFINITY) == "-inf");
  CHECK(double_text(-std::numeric_limits<double>::max()) == "-1.7976931348623157e+308");
  CHECK(shortest_text(0.1) == "0.1");
  CHECK(shortest_text(100000) == "100000");
  CHECK(shortest_text(1e20) == "1e+20");
  CHECK(shortest_text(-0.0) == "-0");
  std::mt19937_64 random(2);
  for (int i = 0; i < 20'000; ++i) {
    double value = random_double(random);
    if (i % 3 == 0) value = static_cast<double>(random() % 2'000'000) / 100 - 10'000;
    if (i % 7 == 0) value = std::ldexp(std::floor(value), 0) * (random() % 2 ? 1 : -1);
    if (std::isnan(value)) continue;
    REQUIRE(double_text(value) == printed(value));
    double back;
    REQUIRE(parse_double(double_text(value), back));
    REQUIRE(std::memcmp(&back, &value, sizeof value) == 0);
    REQUIRE(parse_double(shortest_text(value), back));
    REQUIRE(std::memcmp(&back, &value, sizeof value) == 0);
  }
}

TEST_CASE("long doubles: the road of INCRBYFLOAT") {
  long double value = 0;
  for (Bytes bad : {"", " 1", "1 ", "nan", "1e5000", "1e-5000", "x"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_long_double(bad, value));
  }
  CHECK_FALSE(parse_long_double(std::string(kLongDoubleTextMax, '1'), value));
  struct {
    Bytes text;
    Bytes human;
  } pairs[] = {{"1", "1"},
               {"0.1", "0.1"},
               {"3.0e3", "3000"},
               {"-0", "0"},
               {"0x10", "16"},
               {"10.6", "10.6"},
               {"123456789.123456789", "123456789.12345678899873747"},
               {"0.000000000000000001", "0"},
               {"-0.00000000000000000001", "0"},
               {"1e17", "100000000000000000"},
               {"inf", "inf"},
               {"-inf", "-inf"},
               {"100", "100"}};
  for (auto& [text, human] : pairs) {
    CAPTURE(text);
    REQUIRE(parse_long_double(text, value));
    CHECK(format_long_double_human(value) == human);
  }
  CHECK(format_long_double_human(std::numeric_limits<long double>::max()).size() == 4933);
}

TEST_CASE("memory sizes") {
  uint64_t bytes = 7;
  for (Bytes bad : {"1t", "1tb", "-1", " 1", "1 ", "1.5gb", "1 gb", "1bb", "1kbb", "1kk", "gbg"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_memory(bad, bytes));
  }
  CHECK(bytes == 7);
  CHECK_FALSE(parse_memory(std::string(128, '0'), bytes));
  struct {
    Bytes text;
    uint64_t bytes;
  } good[] = {{"", 0},
              {"mb", 0},
              {"1", 1},
              {"1b", 1},
              {"1B", 1},
              {"1k", 1000},
              {"1Kb", 1024},
              {"1m", 1000000},
              {"1MB", 1048576},
              {"1g", 1000000000},
              {"1gb", 1073741824},
              {"100mb", 104857600},
              {"0001k", 1000},
              {"18446744073709551615", UINT64_MAX},
              {"99999999999999999999", UINT64_MAX},
              {"20000000000gb", UINT64_MAX}};
  for (auto& [text, expected] : good) {
    CAPTURE(text);
    CHECK(parse_memory(text, bytes));
    CHECK(bytes == expected);
  }
  CHECK(format_memory_human(0) == "0B");
  CHECK(format_memory_human(1023) == "1023B");
  CHECK(format_memory_human(1024) == "1.00K");
  CHECK(format_memory_human(1536 * 1024) == "1.50M");
  CHECK(format_memory_human(uint64_t{3} << 30) == "3.00G");
}
