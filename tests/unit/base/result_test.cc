#include "base/result.h"

#include <doctest/doctest.h>

#include <memory>

using namespace quoll::base;

TEST_CASE("result: a value or an error") {
  Result<std::unique_ptr<int>> good(std::make_unique<int>(7));
  CHECK(good.ok());
  CHECK(*good.value() == 7);
  std::unique_ptr<int> taken = std::move(good.value());
  CHECK(*taken == 7);
  Result<int> bad(Error{"no such file"});
  CHECK_FALSE(bad);
  CHECK(bad.error() == "no such file");
  Result<> done;
  CHECK(done.ok());
  CHECK(done.error().empty());
  Result<> failed = Error{"refused"};
  CHECK_FALSE(failed.ok());
  CHECK(failed.error() == "refused");
}
