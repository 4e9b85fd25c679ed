// Result<T>: a value or an error text. Errors carry the text a person reads; callers that must
// tell kinds apart use their own enum instead.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/check.h"

namespace quoll::base {

struct Error {
  std::string message;
};

template <class T = void>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Error error) : error_(std::move(error.message)) {}

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  T& value() {
    QUOLL_CHECK(ok());
    return *value_;
  }
  const T& value() const {
    QUOLL_CHECK(ok());
    return *value_;
  }
  const std::string& error() const { return error_; }

 private:
  std::optional<T> value_;
  std::string error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : failed_(true), error_(std::move(error.message)) {}

  bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  const std::string& error() const { return error_; }

 private:
  bool failed_ = false;
  std::string error_;
};

}  // namespace quoll::base
