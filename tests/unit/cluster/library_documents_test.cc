#include "cluster/library_documents.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace quoll::cluster {
namespace {

Topology cluster_of_one() {
  Topology t;
  REQUIRE(t.apply({0, FoundCluster{std::string(kNodeIdBytes, 'a'), {}}}).ok());
  return t;
}

LibraryDocument library_of(const std::string& name, std::vector<std::string> functions,
                           const std::string& code = "code") {
  return {name, "#!lua name=" + name + "\n" + code, std::move(functions)};
}

// The step is made until nothing is left; how many changes that took.
template <class Step>
int made(Topology& t, Step step) {
  for (int changes = 0;; ++changes) {
    NextStep next = step(t);
    REQUIRE_MESSAGE(next.ok(), next.error());
    if (!next.value()) return changes;
    REQUIRE(t.apply(*next.value()).ok());
  }
}

template <class Step>
std::string step_refusal(const Topology& t, Step step) {
  const NextStep next = step(t);
  return next.ok() ? "" : next.error();
}

auto load(const LibraryDocument& library, LibraryPresent on_present = LibraryPresent::refuse) {
  return [=](const Topology& t) { return next_to_load(t, library, on_present); };
}

auto restore(const std::vector<LibraryDocument>& libraries, LibraryPresent on_present,
             bool flush = false) {
  return [=](const Topology& t) { return next_to_restore(t, libraries, on_present, flush); };
}

std::string names(const Topology& t) {
  std::string text;
  for (const auto& [key, bytes] : t.documents()) text += key.second + ' ';
  return text;
}

}  // namespace

TEST_CASE("library documents: as bytes and back") {
  const LibraryDocument one = library_of("one", {"f", "g"});
  CHECK(LibraryDocument::decode("one", one.encode()) == one);
  const std::string bytes = one.encode();
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK(!LibraryDocument::decode("one", base::Bytes(bytes).substr(0, size)));
  CHECK(!LibraryDocument::decode("one", bytes + "x"));
}

TEST_CASE("library documents: loading, replacing, removing") {
  Topology t = cluster_of_one();
  CHECK(made(t, load(library_of("one", {"f"}))) == 1);
  CHECK(made(t, load(library_of("one", {"f"}))) == 0);  // it may be the same command
  CHECK(step_refusal(t, load(library_of("one", {"f"}, "other"))) ==
        "ERR Library 'one' already exists");
  CHECK(made(t, load(library_of("one", {"f", "g"}, "other"), LibraryPresent::replace)) == 1);
  CHECK(step_refusal(t, load(library_of("two", {"h", "G"}))) == "ERR Function G already exists");
  CHECK(made(t, load(library_of("two", {"h"}))) == 1);
  // A function may go from one to the other once the one has it no more.
  CHECK(made(t, load(library_of("one", {"f"}), LibraryPresent::replace)) == 1);
  CHECK(made(t, load(library_of("two", {"h", "g"}), LibraryPresent::replace)) == 1);
  const auto unload = [](const Topology& now) { return next_to_unload(now, "one"); };
  CHECK(made(t, unload) == 1);
  CHECK(made(t, unload) == 0);
  CHECK(names(t) == "two ");
}

TEST_CASE("library documents: restoring all or none, in one change") {
  Topology t = cluster_of_one();
  made(t, load(library_of("one", {"f"})));
  made(t, load(library_of("two", {"g"})));
  const std::vector<LibraryDocument> both = {library_of("two", {"g"}, "new"),
                                             library_of("three", {"h"})};
  CHECK(step_refusal(t, restore(both, LibraryPresent::refuse)) == "ERR Library two already exists");
  CHECK(step_refusal(t, restore({library_of("three", {"F"})}, LibraryPresent::replace)) ==
        "ERR Function F already exists");
  CHECK(step_refusal(t, restore({library_of("x", {"y"}), library_of("z", {"y"})},
                                LibraryPresent::replace, true)) == "ERR Function y already exists");
  CHECK(names(t) == "one two ");
  SUBCASE("replacing") {
    CHECK(made(t, restore(both, LibraryPresent::replace)) == 1);
    CHECK(names(t) == "one three two ");
    CHECK(LibraryDocument::decode("two", *find_document(t, DocumentKind::function, "two"))
              ->code.ends_with("new"));
  }
  SUBCASE("instead of what is there") {
    CHECK(made(t, restore(both, LibraryPresent::refuse, true)) == 1);
    CHECK(names(t) == "three two ");
    CHECK(made(t, restore({}, LibraryPresent::refuse, true)) == 1);
    CHECK(names(t).empty());
  }
}

TEST_CASE(
    "library documents: a cluster keeps so many bytes, and a founder brings what is missing") {
  Topology t = cluster_of_one();
  const std::string large(kDocumentBytesMax - 100, 'x');
  made(t, load(library_of("one", {"f"}, large)));
  CHECK(step_refusal(t, load(library_of("two", {"g"}, large + large)))
            .starts_with("ERR no such document"));
  made(t, load(library_of("two", {"g"}, large)));
  CHECK(step_refusal(t, load(library_of("three", {"h"}, large)))
            .starts_with("ERR the users, libraries and rules of a cluster have up to"));
  made(t, load(library_of("two", {"g"}), LibraryPresent::replace));
  const std::vector<PutDocument> brought = {{DocumentKind::user, "bob", "on"},
                                            {DocumentKind::function, "two", "other"}};
  CHECK(made(t, [&](const Topology& now) { return next_to_bring(now, brought); }) == 1);
  CHECK(*find_document(t, DocumentKind::user, "bob") == "on");
  CHECK(*find_document(t, DocumentKind::function, "two") != "other");
}

}  // namespace quoll::cluster
