#include "cluster/group_list.h"

#include <doctest/doctest.h>

namespace quoll::cluster {
namespace {

std::string error_of(base::Bytes text) {
  auto list = parse_group_list(text);
  return list ? "accepted" : list.error();
}

TEST_CASE("group list: hosts, ports, bus ports and witnesses") {
  auto list =
      parse_group_list(" 10.0.0.1:6379\t[FD00::2]:6379@7000  Witness.Example:6380/witness ");
  REQUIRE(list);
  REQUIRE(list.value().size() == 3);
  CHECK(list.value()[0] == ListedMember{"10.0.0.1", 6379, 16379, false});
  CHECK(list.value()[1] == ListedMember{"fd00::2", 6379, 7000, false});
  CHECK(list.value()[2] == ListedMember{"witness.example", 6380, 16380, true});
  const std::string text = format_group_list(list.value());
  CHECK(text == "10.0.0.1:6379 [fd00::2]:6379@7000 witness.example:6380/witness");
  CHECK(parse_group_list(text).value() == list.value());
  CHECK(parse_group_list("").value().empty());
}

TEST_CASE("group list: what is no member is refused with the word and the reason") {
  CHECK(error_of("a:1 b") == "cluster-group: 'b' has no port: write host:port");
  CHECK(error_of("a:") == "cluster-group: 'a:' has no valid port");
  for (base::Bytes port : {"0", "01", "+1", "-1", "65536", "1x", "99999999999999999999"})
    CHECK(error_of("a:" + std::string(port)).ends_with("has no valid port"));
  for (base::Bytes host : {":1", "a,b:1", "-a:1", "a\"b:1", "a\\b:1", "a*:1", "[10.0.0.1]:1",
                           "[]:1", "[g::1]:1", "[::1%eth0]:1", "\xc3\xa4:1"})
    CHECK(error_of(host).ends_with("has no valid host"));
  CHECK(error_of(std::string(254, 'a') + ":1").ends_with("has no valid host"));
  CHECK(error_of("fd00::2:6379").ends_with("write [address]:port"));
  CHECK(error_of("[::1]").ends_with("has no port: write host:port"));
  CHECK(error_of("a:1@").ends_with("has no valid bus port behind '@'"));
  CHECK(error_of("a:1@0").ends_with("has no valid bus port behind '@'"));
  CHECK(error_of("a:60000").ends_with("write host:port@busport"));
  CHECK(error_of("a:60000@1") == "accepted");
  CHECK(error_of("a:1/witnes").ends_with("has something else than /witness at its end"));
  CHECK(error_of("a:1/witness/witness").ends_with("has something else than /witness at its end"));
}

TEST_CASE("group list: members collide where they would need the same listener") {
  CHECK(error_of("a:1 b:1 A:1") == "cluster-group: a:1 and a:1 have a port in common");
  CHECK(error_of("a:1 a:2@10001").ends_with("have a port in common"));
  CHECK(error_of("a:1 a:10001").ends_with("have a port in common"));
  CHECK(error_of("a:1@1").ends_with("has the same port for clients and the bus"));
  CHECK(error_of("a:1 a:2 b:1") == "accepted");
}

TEST_CASE("group list: one to nine members, and not witnesses only") {
  std::string text;
  for (int i = 0; i < 9; ++i) text += "host:" + std::to_string(7000 + i) + " ";
  CHECK(parse_group_list(text).value().size() == 9);
  CHECK(error_of(text + "host:7009") ==
        "cluster-group: 10 members are too many, at most 9 are possible");
  CHECK(error_of("a:1/witness b:1/witness") ==
        "cluster-group: all members are witnesses, none would keep the data");
}

TEST_CASE("group list: the own place is found by port and address") {
  const GroupList list =
      parse_group_list("10.0.0.1:7001 10.0.0.2:7001 10.0.0.2:7002 n3:7003").value();
  auto place = [&](uint16_t port, std::vector<std::string> hosts) {
    return find_own_place(list, {port, std::move(hosts)});
  };
  CHECK(place(7001, {"127.0.0.1", "10.0.0.2"}).value() == 1);
  CHECK(place(7001, {"10.0.0.1"}).value() == 0);
  CHECK(place(7002, {}).value() == 2);            // every address, and one member with that port
  CHECK(place(7003, {"10.0.0.9"}).value() == 3);  // the name may stand for it
  CHECK(place(7001, {}).error().starts_with("cluster-group has 2 members with port 7001"));
  CHECK(place(7004, {}).error().starts_with("cluster-group has no member"));
  CHECK(place(7001, {"10.0.0.3"}).error().starts_with("cluster-group has no member"));
  CHECK(place(7001, {}).error().find("cluster-group-member") != std::string::npos);
}

}  // namespace
}  // namespace quoll::cluster
