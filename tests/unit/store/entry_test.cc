#include "store/entry.h"

#include <doctest/doctest.h>

#include <string>

namespace {

using namespace quoll;
using store::Entry;

Entry* make(base::Bytes key, data::Value value, bool ttl = false, bool wide = false) {
  Entry* entry = Entry::make({key.size(), value.bytes.size(), value.form, ttl, wide}, key);
  entry->write_value(value);
  return entry;
}

std::string text_of(const Entry* entry) {
  char scratch[24];
  return std::string(entry->text(scratch));
}

}  // namespace

TEST_CASE("entry: key and value in every form") {
  Entry* entry = make("key", data::Value::of_bytes("value"));
  CHECK(entry->key() == "key");
  CHECK(entry->key_is("key"));
  CHECK_FALSE(entry->key_is("kez"));
  CHECK_FALSE(entry->key_is("ke"));
  CHECK(text_of(entry) == "value");
  CHECK(entry->encoding_name() == "embstr");
  CHECK(entry->block_bytes() == 7 + 3 + 5);
  CHECK(entry->deadline() == store::kNoDeadline);
  Entry::destroy(entry);

  entry = make("", data::Value::of_integer(INT64_MIN));
  CHECK(entry->key().empty());
  CHECK(entry->key_is(""));
  CHECK(text_of(entry) == "-9223372036854775808");
  CHECK(entry->encoding_name() == "int");
  Entry::destroy(entry);

  std::string large(100000, 'x');
  entry = make("k", data::Value::of_blob(base::Blob::copy_of(large)));
  CHECK(text_of(entry) == large);
  CHECK(entry->text_length() == large.size());
  CHECK(entry->encoding_name() == "raw");
  CHECK(entry->footprint() > large.size());
  Entry::destroy(entry);
}

TEST_CASE("entry: key comparison looks at every byte") {
  for (size_t length = 0; length <= 40; ++length) {
    std::string key(length, 'a');
    Entry* entry = make(key, data::Value::of_bytes("v"));
    CHECK(entry->key_is(key));
    CHECK_FALSE(entry->key_is(key + "a"));
    for (size_t i = 0; i < length; ++i) {
      std::string other = key;
      other[i] = 'b';
      CHECK_FALSE(entry->key_is(other));
    }
    Entry::destroy(entry);
  }
}

TEST_CASE("entry: encoding names follow length and origin") {
  struct {
    data::Value value;
    base::Bytes name;
  } cases[] = {{data::Value::of_bytes(std::string_view("x")), "embstr"},
               {data::Value::of_bytes(std::string_view("x"), true), "raw"},
               {data::Value::of_text("12"), "int"},
               {data::Value::of_text("012"), "embstr"},
               {data::Value::of_text("9223372036854775808"), "embstr"}};
  for (auto& [value, name] : cases) {
    Entry* entry = make("k", std::move(value));
    CHECK(entry->encoding_name() == name);
    Entry::destroy(entry);
  }
  std::string text(44, 'x');
  for (base::Bytes name : {"embstr", "raw"}) {
    Entry* entry = make("k", data::Value::of_bytes(text));
    CHECK(entry->encoding_name() == name);
    Entry::destroy(entry);
    text += 'x';
  }
}

TEST_CASE("entry: deadline, wheel handle and access clock keep apart, narrow and wide") {
  for (bool wide : {false, true}) {
    std::string key = wide ? std::string(70000, 'k') : "key";
    Entry* entry = make(key, data::Value::of_bytes("value"), true, wide);
    base::Millis deadline = wide ? INT64_MAX : store::kNarrowDeadlineMax;
    entry->set_deadline(deadline);
    entry->set_wheel_handle(0x123456789ABC);
    entry->set_access_clock(0xABCDEF);
    CHECK(entry->access_clock() == 0xABCDEF);
    entry->set_access_clock(0x9ABCDEF);
    CHECK(entry->deadline() == deadline);
    CHECK(entry->wheel_handle() == 0x123456789ABC);
    CHECK(entry->access_clock() == 0x9ABCDEF);
    CHECK(entry->key() == key);
    CHECK(text_of(entry) == "value");
    CHECK(entry->has_ttl());
    CHECK(entry->wide() == wide);
    CHECK(entry->expired(deadline));
    CHECK_FALSE(entry->expired(deadline - 1));
    Entry::destroy(entry);
  }
}

TEST_CASE("entry: nothing leaks") {
  size_t before = base::memory_used();
  Entry* entry = make("key", data::Value::of_blob(base::Blob::copy_of(std::string(5000, 'x'))));
  CHECK(base::memory_used() == before + entry->footprint());
  Entry::destroy(entry);
  CHECK(base::memory_used() == before);
}
