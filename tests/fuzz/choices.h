// Choices read off the front of a fuzzer's input; behind its end all choices are 0, the smallest.
#pragma once

#include <cstdint>
#include <string>

namespace quoll::fuzz {

class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : at_(data), left_(size) {}
  size_t left() const { return left_; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *at_++;
  }
  size_t word() {
    const size_t high = byte();
    return high << 8 | byte();
  }
  size_t below(size_t bound) { return word() % bound; }
  std::string rest() { return {reinterpret_cast<const char*>(at_), left_}; }

 private:
  const uint8_t* at_;
  size_t left_;
};

}  // namespace quoll::fuzz
