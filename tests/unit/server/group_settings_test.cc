#include "server/group_settings.h"

#include <doctest/doctest.h>

#include "server/directive.h"

namespace quoll::server {
namespace {

// Settings of `name value` pairs, as a file gives them.
Settings settings_of(std::initializer_list<std::pair<const char*, const char*>> lines) {
  Settings settings;
  settings.cluster_enabled = true;
  for (const auto& [name, value] : lines) {
    const Directive* row = find_directive(name);
    REQUIRE(row);
    std::vector<std::string> words{value};
    auto done = write_value(*row, settings, words, Source::file_first);
    REQUIRE_MESSAGE(done, done.error());
  }
  return settings;
}

constexpr const char* kThree = "10.0.0.1:7001 10.0.0.2:7001 10.0.0.3:7001/witness";

TEST_CASE("group settings: three members by default") {
  auto config = group_config(
      settings_of({{"cluster-group", kThree}, {"port", "7001"}, {"bind", "10.0.0.2"}}));
  REQUIRE_MESSAGE(config, config.error());
  CHECK(config.value().members == 3);
  CHECK(config.value().self == 1);
  CHECK(config.value().witnesses == 0b100);
  CHECK(config.value().write_quorum == 2);
  CHECK(config.value().read_quorum == 2);
  CHECK(config.value().durability == cluster::Durability::memory);
  CHECK(config.value().election_timeout_ms == 1000);
}

TEST_CASE("group settings: quorums in numbers and words") {
  auto config = group_config(settings_of({{"cluster-group", kThree},
                                          {"cluster-group-member", "0"},
                                          {"cluster-write-quorum", "all"},
                                          {"cluster-read-quorum", "1"},
                                          {"cluster-durability", "fsync"},
                                          {"cluster-replicas", "2"}}));
  REQUIRE_MESSAGE(config, config.error());
  CHECK(config.value().write_quorum == 3);
  CHECK(config.value().read_quorum == 1);
  CHECK(config.value().durability == cluster::Durability::fsync);
  CHECK(read_value(*find_directive("cluster-read-quorum"),
                   settings_of({{"cluster-read-quorum", "lease"}})) == "lease");
  Settings settings;
  for (const char* wrong : {"", "0", "10", "-1", "1 ", "most", "lease"}) {
    std::vector<std::string> words{wrong};
    CHECK_FALSE(
        write_value(*find_directive("cluster-write-quorum"), settings, words, Source::file_first));
  }
}

TEST_CASE("group settings: a lease counts as a majority of reads") {
  auto config = group_config(settings_of({{"cluster-group", kThree},
                                          {"cluster-group-member", "0"},
                                          {"cluster-read-quorum", "lease"}}));
  REQUIRE_MESSAGE(config, config.error());
  CHECK(config.value().lease);
  CHECK(config.value().read_quorum == 2);
  CHECK_FALSE(group_config(settings_of({{"cluster-group", kThree}, {"cluster-group-member", "0"}}))
                  .value()
                  .lease);
}

TEST_CASE("group settings: contradictions are refused") {
  auto error = [](std::initializer_list<std::pair<const char*, const char*>> lines) {
    return group_config(settings_of(lines)).error();
  };
  CHECK(error({{"cluster-group", kThree}, {"cluster-group-member", "3"}}) ==
        "cluster-group-member is 3, but cluster-group has the places 0 ... 2");
  CHECK(
      error(
          {{"cluster-group", kThree}, {"cluster-group-member", "0"}, {"cluster-replicas", "1"}}) ==
      "cluster-replicas 1 means 2 members, but cluster-group has 3");
  CHECK(error({{"cluster-group", kThree}, {"port", "7001"}})
            .starts_with("cluster-group has 3 members with port 7001"));
  CHECK(error({{"cluster-group", kThree},
               {"cluster-group-member", "0"},
               {"cluster-write-quorum", "2"},
               {"cluster-read-quorum", "1"}})
            .starts_with("write and read quorum together must exceed the members"));
}

TEST_CASE("group settings: the announced address decides before the one that is bound") {
  auto config = group_config(settings_of({{"cluster-group", kThree},
                                          {"port", "6379"},
                                          {"bind", "172.17.0.2"},
                                          {"cluster-announce-ip", "10.0.0.3"},
                                          {"cluster-announce-port", "7001"}}));
  REQUIRE_MESSAGE(config, config.error());
  CHECK(config.value().self == 2);
}

}  // namespace
}  // namespace quoll::server
