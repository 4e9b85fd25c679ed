#include "cluster/publication_batch.h"

#include <doctest/doctest.h>

namespace quoll::cluster {

TEST_CASE("publications: what was added comes back in order, and nothing but that is taken") {
  std::string batch;
  add_publication(PublicationKind::channel, "news", "one", batch);
  add_publication(PublicationKind::shard, "{a}shard", base::Bytes("\0two", 4), batch);
  add_publication(PublicationKind::channel, "", "", batch);
  const auto all = publications_of(batch);
  REQUIRE(all);
  REQUIRE(all->size() == 3);
  CHECK((*all)[0].kind == PublicationKind::channel);
  CHECK((*all)[0].channel == "news");
  CHECK((*all)[0].message == "one");
  CHECK((*all)[1].kind == PublicationKind::shard);
  CHECK((*all)[1].message == base::Bytes("\0two", 4));
  CHECK((*all)[2].channel.empty());
  CHECK(publications_of("")->empty());
  size_t whole = 0;  // batches that end behind a publication
  for (size_t size = 0; size < batch.size(); ++size)
    whole += publications_of(base::Bytes(batch).substr(0, size)).has_value();
  CHECK(whole == 3);
  batch[0] = 7;
  CHECK(!publications_of(batch));
}

}  // namespace quoll::cluster
