#include "cluster/publication_batch.h"

#include "cluster/group_frames.h"

namespace quoll::cluster {

void add_publication(PublicationKind kind, base::Bytes channel, base::Bytes message,
                     std::string& batch) {
  FieldWriter(batch).number(kind).bytes(channel).bytes(message);
}

std::optional<std::vector<Publication>> publications_of(base::Bytes batch) {
  std::vector<Publication> all;
  FieldReader in(batch);
  while (!in.empty()) {
    Publication one;
    if (!in.number(one.kind) || !in.bytes(one.channel) || !in.bytes(one.message)) return {};
    if (one.kind != PublicationKind::channel && one.kind != PublicationKind::shard) return {};
    all.push_back(one);
  }
  return all;
}

}  // namespace quoll::cluster
