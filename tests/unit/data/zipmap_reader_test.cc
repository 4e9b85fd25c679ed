#include "data/zipmap_reader.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "base/text.h"
#include "tests/unit/data/packed_text.h"

using namespace quoll;
using namespace quoll::data;

namespace {

// Accepted by redis-server 7.0.15 as a hash {f: v, name: quoll}; the second value has unused bytes.
constexpr base::Bytes kZipmapHex = "020166010076046e616d65050371756f6c6c000000ff";

bool valid_zipmap(const std::string& bytes) {
  std::unique_ptr<char[]> block(new char[bytes.size() + (bytes.empty() ? 1 : 0)]);
  bytes.copy(block.get(), bytes.size());
  base::Bytes foreign(block.get(), bytes.size());
  if (!ZipmapReader::validate(foreign)) return false;
  Listpack listpack;
  REQUIRE(append_zipmap(foreign, listpack));
  CHECK(listpack.count() % 2 == 0);
  return true;
}

}  // namespace

TEST_CASE("zipmap: pairs with and without unused bytes") {
  std::string bytes = unhex(kZipmapHex);
  REQUIRE(valid_zipmap(bytes));
  ZipmapReader reader(bytes);
  base::Bytes field, value;
  REQUIRE(reader.next(field, value));
  CHECK(field == "f");
  CHECK(value == "v");
  REQUIRE(reader.next(field, value));
  CHECK(field == "name");
  CHECK(value == "quoll");
  CHECK_FALSE(reader.next(field, value));
  CHECK_FALSE(reader.next(field, value));
}

TEST_CASE("zipmap: long lengths") {
  std::string big(1000, 'z');
  std::string bytes = unhex("fefee8030000") + big + unhex("fee803000002") + big + "uu\xff";
  REQUIRE(valid_zipmap(bytes));  // count 254: unknown
  ZipmapReader reader(bytes);
  base::Bytes field, value;
  REQUIRE(reader.next(field, value));
  CHECK(field == big);
  CHECK(value == big);
  CHECK_FALSE(reader.next(field, value));
}

TEST_CASE("zipmap: damaged bytes") {
  CHECK(valid_zipmap(unhex("00ff")));
  CHECK_FALSE(valid_zipmap(""));
  CHECK_FALSE(valid_zipmap(unhex("ff")));
  CHECK_FALSE(valid_zipmap(unhex("01ff")));            // count
  CHECK_FALSE(valid_zipmap(unhex("010166ff")));        // no value
  CHECK_FALSE(valid_zipmap(unhex("01016601ff")));      // no unused byte
  CHECK_FALSE(valid_zipmap(unhex("010166010176ff")));  // unused byte missing
  CHECK_FALSE(valid_zipmap(unhex("010166feffffffff0076ff")));
  std::string good = unhex(kZipmapHex);
  for (size_t size = 0; size < good.size(); ++size) {
    std::string bytes = good.substr(0, size);
    CHECK_FALSE(valid_zipmap(bytes));
    if (!bytes.empty()) bytes.back() = '\xff';
    valid_zipmap(bytes);  // whatever it says, no read beyond the end
  }
  for (size_t i = 0; i < good.size() * 256; ++i) {
    std::string bytes = good;
    bytes[i / 256] = static_cast<char>(i % 256);
    valid_zipmap(bytes);
  }
}
