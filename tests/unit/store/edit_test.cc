#include "store/edit.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "store/store.h"
#include "tests/unit/givens.h"

namespace {

using namespace quoll;
using store::Edit;
using store::kSet;
using store::Ttl;

constexpr store::Event kDel{"del", 'g'};

// Every change in a commit of its own, with a log of the touches.
struct EditFixture : store::CommitSink {
  store::Store store{4};
  std::string log;

  EditFixture() {
    store.commits().add_sink(*this);
    listen(true);
  }
  void absorb(const store::Commit& commit) override {
    constexpr base::Bytes kChanges[] = {"created", "updated", "erased",
                                        "expired", "evicted", "keyless"};
    for (const store::Touch& touch : commit.touches)
      log += std::string(touch.key) + "=" + std::string(kChanges[static_cast<int>(touch.change)]) +
             "/" + touch.event.name + " ";
  }
  template <class Change>
  void edit(base::Bytes key, Change&& change, base::Millis now = kNow, store::DbIndex db = 0) {
    store.commits().begin(store::Origin::client, now);
    size_t changes = store.commits().changes();
    {
      Edit edit = store.edit(db, store.ref(key), now);
      change(edit);
    }
    base::Bytes line[] = {"X"};
    if (store.commits().changes() > changes) store.commits().effect(db, line);
    store.commits().close();
  }
  void set(base::Bytes key, data::Value value, Ttl ttl = Ttl::drop()) {
    edit(key, [&](Edit& edit) {
      edit.put(std::move(value), ttl);
      edit.done(kSet);
    });
  }
  const store::Entry* find(base::Bytes key, base::Millis now = kNow) {
    return store.find(0, store.ref(key), now);
  }
  std::string text(base::Bytes key) {
    char scratch[24];
    const store::Entry* entry = find(key);
    return entry ? std::string(entry->text(scratch)) : "(none)";
  }
};

}  // namespace

TEST_CASE_FIXTURE(EditFixture, "edit: put creates and replaces, erase removes") {
  set("k", data::Value::of_bytes("one"));
  CHECK(text("k") == "one");
  set("k", data::Value::of_integer(17));
  CHECK(text("k") == "17");
  CHECK(store.keys(0) == 1);
  edit("k", [](Edit& edit) {
    CHECK(edit.found());
    edit.erase();
    CHECK_FALSE(edit.found());
    edit.done(kDel);
  });
  CHECK(text("k") == "(none)");
  CHECK(store.keys(0) == 0);
  CHECK(log == "k=created/set k=updated/set k=erased/del ");
}

TEST_CASE_FIXTURE(EditFixture, "edit: opening without changing leaves no trace") {
  edit("k", [](Edit& edit) { CHECK_FALSE(edit.found()); });
  set("k", data::Value::of_bytes("v"));
  log.clear();
  edit("k", [](Edit& edit) { CHECK(edit.found()); });
  CHECK(log.empty());
  CHECK(store.commits().last_seq() == 1);
}

TEST_CASE_FIXTURE(EditFixture,
                  "edit: values keep their bytes through every change of form and size") {
  std::vector<size_t> sizes = {0, 1, 8, 9, 43, 44, 45, 200, 240, 249, 250, 255, 256, 257, 5000};
  for (size_t key_size : {0, 1, 16, 100, 255, 256, 300, 70000}) {
    std::string key(key_size, 'k');
    for (size_t before : sizes) {
      for (size_t after : sizes) {
        std::string first(before, 'a');
        std::string second(after, 'b');
        set(key, data::Value::of_bytes(first), before % 2 ? Ttl::at(kNow + 1000) : Ttl::drop());
        CHECK(text(key) == first);
        set(key, data::Value::of_blob(base::Blob::copy_of(second)),
            after % 2 ? Ttl::keep() : Ttl::at(kNow + 2000));
        CHECK(text(key) == second);
        bool ttl = after % 2 ? before % 2 == 1 : true;
        CHECK(find(key)->has_ttl() == ttl);
        CHECK(store.expires(0) == (ttl ? 1 : 0));
      }
    }
    edit(key, [](Edit& edit) {
      edit.erase();
      edit.done(kDel);
    });
    CHECK(store.keys(0) == 0);
    CHECK(store.expires(0) == 0);
  }
}

TEST_CASE_FIXTURE(EditFixture, "edit: deadlines of any size, from and to any other") {
  const base::Millis deadlines[] = {
      kNow + 1,      kNow + 86'400'000, store::kNarrowDeadlineMax,
      INT64_MAX - 1, INT64_MAX,         store::kNarrowDeadlineMax + 1,
  };
  for (base::Bytes key :
       {base::Bytes("key"), base::Bytes(std::string_view(std::string(300, 'k')))}) {
    std::string kept(key.size(), 'k');
    for (base::Millis from : deadlines) {
      for (base::Millis to : deadlines) {
        for (bool by_put : {false, true}) {
          set(kept, data::Value::of_bytes("value"), Ttl::at(from));
          CHECK(find(kept)->deadline() == from);
          CHECK(find(kept)->has_ttl());
          edit(kept, [&](Edit& edit) {
            if (by_put) {
              edit.put(data::Value::of_bytes("another value, a longer one"), Ttl::at(to));
            } else {
              edit.set_deadline(to);
            }
            edit.done(kSet);
          });
          CHECK(find(kept)->deadline() == to);
          CHECK(find(kept)->has_ttl());
          CHECK(store.expires(0) == 1);
          base::Millis mean = store.average_ttl(0, kNow);
          CHECK(mean == to - kNow);
          edit(kept, [&](Edit& edit) {
            edit.persist();
            edit.done(kSet);
          });
          CHECK_FALSE(find(kept)->has_ttl());
          CHECK(store.expires(0) == 0);
          CHECK(store.average_ttl(0, kNow) == 0);
          CHECK(text(kept) == (by_put ? "another value, a longer one" : "value"));
        }
      }
    }
    edit(kept, [](Edit& edit) {
      edit.erase();
      edit.done(kDel);
    });
  }
}

TEST_CASE_FIXTURE(EditFixture,
                  "edit: setting and dropping a deadline keeps value, form and raw mark") {
  std::string large(5000, 'x');
  std::string edge(230, 'e');  // inline without a deadline, too large with one
  struct {
    data::Value value;
    base::Bytes encoding;
  } cases[] = {{data::Value::of_bytes("short"), "embstr"},
               {data::Value::of_bytes("short", true), "raw"},
               {data::Value::of_integer(-5), "int"},
               {data::Value::of_bytes(edge), "raw"},
               {data::Value::of_bytes(large), "raw"}};
  for (auto& [value, encoding] : cases) {
    set("key of 16 bytes!", std::move(value));
    std::string before = text("key of 16 bytes!");
    for (int i = 0; i < 3; ++i) {
      edit("key of 16 bytes!", [&](Edit& edit) {
        edit.set_deadline(kNow + 1000 + i);
        edit.done(kSet);
      });
      CHECK(text("key of 16 bytes!") == before);
      CHECK(find("key of 16 bytes!")->encoding_name() == encoding);
      if (i == 1) continue;  // twice in a row
      edit("key of 16 bytes!", [&](Edit& edit) {
        edit.persist();
        edit.done(kSet);
      });
      CHECK(text("key of 16 bytes!") == before);
      CHECK(find("key of 16 bytes!")->encoding_name() == encoding);
    }
  }
}

TEST_CASE_FIXTURE(EditFixture,
                  "edit: an expired key is gone for whoever opens it, and the commit says so") {
  set("k", data::Value::of_bytes("v"), Ttl::at(kNow + 10));
  CHECK(find("k", kNow + 9) != nullptr);
  CHECK(find("k", kNow + 10) == nullptr);
  CHECK(store.holds_expired(0, store.ref("k"), kNow + 10));
  CHECK(store.keys(0) == 1);
  log.clear();
  edit(
      "k", [](Edit& edit) { CHECK_FALSE(edit.found()); }, kNow + 10);
  CHECK(log == "k=expired/expired ");
  CHECK(store.keys(0) == 0);
  CHECK(store.expires(0) == 0);
  CHECK(store.counters().expired_keys == 1);
  set("k", data::Value::of_bytes("v"), Ttl::at(kNow + 10));
  log.clear();
  edit(
      "k",
      [](Edit& edit) {
        edit.put(data::Value::of_bytes("w"), Ttl::keep());
        edit.done(kSet);
      },
      kNow + 20);
  CHECK(log == "k=expired/expired k=created/set ");
  CHECK_FALSE(find("k")->has_ttl());
}

TEST_CASE_FIXTURE(EditFixture,
                  "edit: take_text appends in place, take moves a value to another key") {
  for (size_t size : {3, 44, 100, 250, 4000}) {
    std::string expected(size, 's');
    set("k", data::Value::of_bytes(expected), Ttl::at(kNow + 5000));
    for (int i = 0; i < 20; ++i) {
      edit("k", [&](Edit& edit) {
        base::Blob blob = edit.take_text(7);
        blob.append("1234567");
        edit.put(data::Value::of_blob(std::move(blob), true), Ttl::keep());
        edit.done(kSet);
      });
      expected += "1234567";
      CHECK(text("k") == expected);
      CHECK(find("k")->encoding_name() == "raw");
      CHECK(find("k")->deadline() == kNow + 5000);
    }
    data::Value moved;
    edit("k", [&](Edit& edit) {
      moved = edit.take();
      edit.erase();
      edit.done(kDel);
    });
    set("l", std::move(moved));
    CHECK(text("l") == expected);
    CHECK(text("k") == "(none)");
  }
}

TEST_CASE_FIXTURE(EditFixture, "edit: erase and put in one edit make a new key") {
  set("k", data::Value::of_bytes("v"), Ttl::at(kNow + 5000));
  log.clear();
  edit("k", [](Edit& edit) {
    edit.erase();
    edit.put(data::Value::of_bytes("w"), Ttl::keep());
    edit.done(kSet);
    edit.done(kDel);
  });
  CHECK(log == "k=created/set k=updated/del ");
  CHECK_FALSE(find("k")->has_ttl());
  CHECK(store.expires(0) == 0);
}

TEST_CASE_FIXTURE(EditFixture, "edit: an access is noted unless the client asked not to") {
  set("k", data::Value::of_bytes("v"));
  const store::Entry* entry = find("k");
  CHECK(store::Store::idle_seconds(entry, kNow + 100'000) == 100);
  store.commits().begin(store::Origin::client, kNow);
  { Edit edit = store.edit(0, store.ref("k"), kNow + 60'000, false); }
  CHECK(store::Store::idle_seconds(entry, kNow + 100'000) == 100);
  { Edit edit = store.edit(0, store.ref("k"), kNow + 60'000); }
  CHECK(store::Store::idle_seconds(entry, kNow + 100'000) == 40);
  store.commits().close();
}
