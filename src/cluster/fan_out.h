// FanOut: one command with keys of several slots as a command per slot, and their replies as one.
//
//   MGET a b c     a, c in slot 1, b in slot 2
//   -> MGET a c | MGET b                    [x, z] | [y]      -> [x, y, z]
//   DEL, EXISTS, UNLINK, TOUCH              2 | 1             -> 3
//   MSET                                    OK | OK           -> OK
//
// What it is in parts it is not at once: others see some slots changed and others not yet, and an
// error says nothing about the other slots. An error that leaves open what happened is told first.
//
// Cost: the words are looked at once; replies of MGET are taken apart and written again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "wire/reply_writer.h"

namespace quoll::cluster {

class FanOut {
 public:
  struct Part {
    unsigned slot;
    std::vector<base::Bytes> line;  // words of the whole command
    std::vector<size_t> places;     // of its keys among all keys
  };
  using SlotOf = std::function<unsigned(base::Bytes key)>;

  // Nothing: no command that can be cut. `name`: in lower case.
  static std::optional<FanOut> cut(base::Bytes name, base::Args words, const SlotOf& slot_of);

  const std::vector<Part>& parts() const { return parts_; }
  // The lines' words are not looked at any more.
  void forget_words();
  // `replies`: one per part, in their order.
  void merge(std::span<const std::string> replies, wire::ReplyWriter& reply) const;

 private:
  enum class Merge : uint8_t { sum, values, ok };

  void merge_values(std::span<const std::string> replies, wire::ReplyWriter& reply) const;

  Merge merge_ = Merge::sum;
  size_t keys_ = 0;
  std::vector<Part> parts_;
};

}  // namespace quoll::cluster
