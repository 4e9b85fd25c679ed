// Publications as nodes tell each other, many in one frame: the messages of PUBLISH, which are for
// everybody's clients, and those of SPUBLISH, for the clients of the members that have the slot.
//
//   batch = publication ...    publication = kind1 channel message
//
// Texts have their size before them (size4, little-endian). What is not exactly so is refused as a
// whole. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace quoll::cluster {

constexpr size_t kPublicationBytesMax = size_t{32} << 20;   // longer ones stay on their node
constexpr size_t kPublicationBatchBytes = size_t{1} << 20;  // then the next ones are another frame

enum class PublicationKind : uint8_t { channel = 1, shard };

struct Publication {
  PublicationKind kind;
  base::Bytes channel;  // part of the batch
  base::Bytes message;
};

void add_publication(PublicationKind kind, base::Bytes channel, base::Bytes message,
                     std::string& batch);
// Nothing: malformed.
std::optional<std::vector<Publication>> publications_of(base::Bytes batch);

}  // namespace quoll::cluster
