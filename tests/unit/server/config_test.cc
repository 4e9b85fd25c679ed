#include "server/config.h"

#include <doctest/doctest.h>

#include <map>
#include <memory>

#include "server/config_rewrite.h"
#include "server/notify_flags.h"

using namespace quoll::server;
using quoll::base::Bytes;
using quoll::base::Error;

namespace {

// A file system of a few files in memory, with a working directory.
struct Files {
  std::map<std::string, std::string> content;
  std::string input;
  std::string entered;

  FileAccess access() {
    return {.read = [this](const std::string& path) -> Result<std::string> {
              const auto found = content.find(path);
              if (found == content.end()) return Error{"No such file or directory"};
              return found->second;
            },
            .read_stdin = [this]() -> Result<std::string> { return input; },
            .expand =
                [this](const std::string& pattern) {
                  const std::string start = pattern.substr(0, pattern.find('*'));
                  std::vector<std::string> paths;
                  for (const auto& [path, text] : content) {
                    if (path.starts_with(start)) paths.push_back(path);
                  }
                  return paths;
                },
            .enter = [this](const std::string& path) -> Result<std::string> {
              if (path.find("nonexist") != std::string::npos) {
                return Error{"No such file or directory"};
              }
              entered = path.starts_with('/') ? path : "/start/" + path;
              return entered;
            }};
  }
};

struct Fixture {
  Files files;
  Config config{files.access(), "/start"};

  Result<> load(std::vector<Bytes> arguments, const LoadChecks& checks = {}) {
    return config.load(parse_command_line(arguments), "Quoll 0.1.0", checks);
  }
  Result<> set(std::vector<Bytes> pairs, SetContext context = {}) {
    return config.set(pairs, context);
  }
  std::string get(Bytes name) const {
    const std::vector<Bytes> patterns = {name};
    const auto entries = config.get(patterns);
    REQUIRE(entries.size() == 1);
    return entries[0].value;
  }
};

std::string failed(Bytes name, const std::string& reason) {
  return "ERR CONFIG SET failed (possibly related to argument '" + std::string(name) + "') - " +
         reason;
}

}  // namespace

TEST_CASE("notify flags keep Redis's bits, order and its swallowing of n in A") {
  CHECK(notify::parse("KEA") == (notify::kKeyspace | notify::kKeyevent | notify::kAll));
  CHECK(!notify::parse("Kq").has_value());
  CHECK(notify::format(*notify::parse("nmEKdt")) == "tdnKEm");
  CHECK(notify::format(*notify::parse("g$lshzxetdKEmn")) == "AKEm");
  CHECK(notify::format(*notify::parse("g$lshzxetKEmn")) == "g$lshzxetnKEm");
  CHECK(notify::format(0).empty());
}

TEST_CASE("defaults print as redis-server prints them") {
  Fixture f;
  CHECK(f.get("save") == "3600 1 300 100 60 10000");
  CHECK(f.get("client-output-buffer-limit") ==
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
  CHECK(f.get("bind") == "* -::*");
  CHECK(f.get("unixsocketperm") == "0");
  CHECK(f.get("oom-score-adj-values") == "0 200 800");
  CHECK(f.get("latency-tracking-info-percentiles") == "50 99 99.9");
  CHECK(f.get("shutdown-on-sigterm") == "default");
  CHECK(f.get("maxmemory-clients") == "0");
  CHECK(f.get("proto-max-bulk-len") == "536870912");
  CHECK(f.get("dir") == "/start");
}

TEST_CASE("CONFIG GET: globs, aliases, hidden names, the spelling asked for") {
  Fixture f;
  const std::vector<Bytes> both = {"MAXmemory-p*", "maxmemory-policy", "slave-read-only"};
  const auto entries = f.config.get(both);
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].name == "maxmemory-policy");
  CHECK(entries[1].name == "slave-read-only");
  CHECK(f.config.get(std::vector<Bytes>{"Rdb-Key-Save-Delay"})[0].name == "Rdb-Key-Save-Delay");
  CHECK(f.config.get(std::vector<Bytes>{"rdb-key-*"}).empty());
  CHECK(f.config.get(std::vector<Bytes>{"nothing"}).empty());

  const auto all = f.config.get(std::vector<Bytes>{"*"});
  CHECK(all.size() > 192);
  for (size_t i = 1; i < all.size(); ++i) CHECK(all[i - 1].name < all[i].name);
}

TEST_CASE("CONFIG SET: errors in Redis's words") {
  Fixture f;
  CHECK(f.set({"foo", "1"}).error() ==
        "ERR Unknown option or number of arguments for CONFIG SET - 'foo'");
  CHECK(f.set({"timeout"}).error() == "ERR syntax error");
  const std::vector<std::vector<std::string>> cases = {
      {"daemonize", "yes", "can't set immutable config"},
      {"dbfilename", "x", "can't set protected config"},
      {"timeout", "zz", "argument couldn't be parsed into an integer"},
      {"timeout", "05", "argument couldn't be parsed into an integer"},
      {"repl-timeout", "0", "argument must be between 1 and 2147483647 inclusive"},
      {"maxclients", "0", "argument must be between 1 and 4294967295 inclusive"},
      {"maxmemory", "1.5g", "argument must be a memory value"},
      {"repl-backlog-size", "0", "argument must be between 1 and 9223372036854775807 inclusive"},
      {"maxmemory-clients", "101%", "percentage argument must be less or equal to 100"},
      {"maxmemory-clients", "-5", "argument must be a memory or percent value"},
      {"appendonly", "maybe", "argument must be 'yes' or 'no'"},
      {"loglevel", "loud",
       "argument(s) must be one of the following: debug, verbose, notice, warning"},
      {"save", "1", "Invalid save parameters"},
      {"save", "1  1", "Invalid save parameters"},
      {"client-output-buffer-limit", "foo 1 1 1",
       "Invalid client class specified in buffer limit configuration."},
      {"client-output-buffer-limit", "normal 1 1 -1",
       "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
      {"client-output-buffer-limit", "zzz",
       "Wrong number of arguments in buffer limit configuration."},
      {"notify-keyspace-events", "q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."},
      {"oom-score-adj-values", "1 2", "wrong number of arguments"},
      {"oom-score-adj-values", "1 2 3000",
       "Invalid oom-score-adj-values, elements must be between -2000 and 2000."},
      {"shutdown-on-sigint", "save nosave",
       "shutdown options SAVE and NOSAVE can't be used simultaneously"},
      {"shutdown-on-sigint", "",
       "argument(s) must be one of the following: default, save, nosave, now, force"},
      {"latency-tracking-info-percentiles", "101",
       "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"},
      {"proc-title-template", "{x}", "template format is invalid or contains unknown variables"},
      {"cluster-announce-hostname", "a_b",
       "Hostnames may only contain alphanumeric characters, hyphens or dots"},
  };
  for (const auto& row : cases) {
    CAPTURE(row[0]);
    CHECK(f.set({row[0], row[1]}).error() == failed(row[0], row[2]));
  }
  CHECK(f.set({"timeout", "5", "TIMEOUT", "6"}).error() ==
        failed("TIMEOUT", "duplicate parameter"));
  CHECK(f.set({"slave-read-only", "yes", "replica-read-only", "no"}).ok());
  CHECK(f.get("replica-read-only") == "no");
}

TEST_CASE("CONFIG SET changes everything or nothing") {
  Fixture f;
  CHECK(f.set({"timeout", "5", "hz", "zz"}).error() ==
        failed("hz", "argument couldn't be parsed into an integer"));
  CHECK(f.config.timeout_seconds == 0);
  CHECK(f.set({"timeout", "5", "hz", "100000", "maxmemory", "1GB", "save", "5 1"}).ok());
  CHECK(f.config.timeout_seconds == 5);
  CHECK(f.config.hz == 500);
  CHECK(f.config.maxmemory == 1ULL << 30);
  CHECK(f.config.save_points == std::vector<SavePoint>{{5, 1}});
  CHECK(f.set({"client-output-buffer-limit", "replica 100 200 3 normal 1kb 1m 10"}).ok());
  CHECK(f.get("client-output-buffer-limit") ==
        "normal 1024 1000000 10 slave 100 200 3 pubsub 33554432 8388608 60");
  CHECK(f.config.client_output_buffer_limit[ClientClass::replica].soft_seconds == 3);
  CHECK(f.set({"save", "", "maxmemory-clients", "5%", "oom-score-adj", "relative"}).ok());
  CHECK(f.config.save_points.empty());
  CHECK(f.get("maxmemory-clients") == "5%");
  CHECK(f.get("oom-score-adj") == "yes");
}

TEST_CASE("a refusing hook rolls back values and tells the earlier hooks again") {
  Fixture f;
  std::vector<int64_t> ports;
  int timeouts = 0;
  f.config.on_change({"port", "bind"}, [&]() -> Result<> {
    ports.push_back(f.config.port);
    return {};
  });
  f.config.on_change({"maxclients"}, []() -> Result<> { return Error{"too many"}; });
  f.config.on_change({"timeout"}, [&]() -> Result<> {
    ++timeouts;
    return {};
  });
  CHECK(f.set({"port", "7000", "bind", "127.0.0.1", "timeout", "0"}).ok());
  CHECK(ports == std::vector<int64_t>{7000});
  CHECK(timeouts == 0);  // unchanged
  CHECK(f.set({"port", "7001", "maxclients", "5"}).error() == failed("maxclients", "too many"));
  CHECK(f.config.port == 7000);
  CHECK(f.config.maxclients == 10000);
  CHECK(ports == std::vector<int64_t>{7000, 7001, 7000});
}

TEST_CASE("dir is entered at once and left again when something else fails") {
  Fixture f;
  f.config.enable_protected_configs = Permission::local;
  CHECK(f.set({"dir", "/x"}).error() == failed("dir", "can't set protected config"));
  const SetContext local{.local_client = true};
  CHECK(f.set({"dir", "/nonexist"}, local).error() == failed("dir", "No such file or directory"));
  CHECK(f.set({"dir", "sub"}, local).ok());
  CHECK(f.config.dir == "/start/sub");
  CHECK(f.set({"dir", "/other", "hz", "zz"}, local).error() ==
        failed("hz", "argument couldn't be parsed into an integer"));
  CHECK(f.files.entered == "/start/sub");
  CHECK(f.config.dir == "/start/sub");
  CHECK(f.set({"dir", "/x"}, {.local_client = true, .loading = true}).error() ==
        "LOADING Redis is loading the dataset in memory");
}

TEST_CASE("command line") {
  const auto options = [](std::vector<Bytes> arguments) {
    return parse_command_line(arguments).options;
  };
  CHECK(parse_command_line(std::vector<Bytes>{"a.conf", "-"}).config_file == "a.conf");
  CHECK(parse_command_line(std::vector<Bytes>{"a.conf", "-"}).reads_stdin);
  CHECK(options({"--port", "6380", "--save", ""}) == "port \"6380\" \nsave \"\" ");
  CHECK(options({"--port 6380", "--hz", "5"}) == "port 6380 \nhz \"5\" ");
  CHECK(options({"--save", "--port", "1"}) == "save \"\"\nport \"1\" ");
  CHECK(options({"--save"}) == "save \"\"");
  CHECK(options({"--masterauth", "--secret"}) == "masterauth \"--secret\" ");
}

TEST_CASE("loading: file, then standard input, then command line") {
  Fixture f;
  f.files.content["/start/a.conf"] =
      "# comment\n\nport 7000\ntimeout 3\ninclude /inc/*\nsave 100 1\nsave 50 2\n"
      "slave-read-only no\nbind \"127.0.0.1 -::1\"\nio-threads 4\nio-threads-do-reads no\n"
      "user bob on ~* +@all\nrename-command DEBUG \"\"\nlist-max-ziplist-entries 5\n";
  f.files.content["/inc/one.conf"] = "maxclients 7\n";
  f.files.input = "timeout 4\nhz 20\n";
  REQUIRE(f.load({"a.conf", "--hz", "30", "--save", "5 6", "--dir", "sub", "-"}).ok());
  CHECK(f.config.file_path() == "/start/a.conf");
  CHECK(f.config.port == 7000);
  CHECK(f.config.timeout_seconds == 4);
  CHECK(f.config.hz == 30);
  CHECK(f.config.maxclients == 7);
  CHECK(f.config.bind == std::vector<std::string>{"127.0.0.1", "-::1"});
  CHECK(f.config.save_points == std::vector<SavePoint>{{100, 1}, {50, 2}, {5, 6}});
  CHECK(f.config.dir == "/start/sub");
  CHECK(f.config.users[0].rules == std::vector<std::string>{"on", "~*", "+@all"});
  CHECK(f.config.renamed_commands[0].from == "DEBUG");
  REQUIRE(f.config.warnings().size() == 2);
  CHECK(f.config.warnings()[1] ==
        "'io-threads' is accepted but has no effect: commands run on one thread");
}

TEST_CASE("what only this server has may be set to what it is") {
  Fixture f;
  CHECK(f.set({"admin-port", "0", "admin-bind", f.get("admin-bind"), "timeout", "3"}).ok());
  CHECK(f.config.timeout_seconds == 3);
  CHECK(f.set({"cluster-group", "", "cluster-write-quorum", "majority"}).ok());
  CHECK(f.set({"admin-port", "1"}).error() == failed("admin-port", "can't set immutable config"));
  CHECK(f.set({"databases", "16"}).error() == failed("databases", "can't set immutable config"));
}

TEST_CASE("loading: a bare save means no save points") {
  Fixture f;
  f.files.content["/start/a.conf"] = "save 5 6\nsave \n";
  REQUIRE(f.load({"a.conf"}));
  CHECK(f.config.save_points.empty());
}

TEST_CASE("loading: what has no effect is told once, and only where it asks for something else") {
  Fixture f;
  f.files.content["/start/a.conf"] =
      "activerehashing yes\ndynamic-hz no\ncluster-node-timeout 3000\nlocale-collate C\n"
      "repl-disable-tcp-nodelay yes\naof-rewrite-incremental-fsync no\n";
  REQUIRE(f.load({"a.conf"}));
  std::string all;
  for (const std::string& warning : f.config.warnings()) all += warning + '\n';
  for (const char* name : {"dynamic-hz", "cluster-node-timeout", "locale-collate",
                           "repl-disable-tcp-nodelay", "aof-rewrite-incremental-fsync"})
    CHECK(all.find("'" + std::string(name) + "' is accepted but has no effect: ") !=
          std::string::npos);
  CHECK(all.find("activerehashing") == std::string::npos);
  CHECK(f.config.warnings().size() == 5);
}

TEST_CASE("loading: errors name line, text, reason and file") {
  const auto error_of = [](const std::string& text, std::vector<Bytes> more = {}) {
    Fixture f;
    f.files.content["/start/a.conf"] = text;
    more.insert(more.begin(), "a.conf");
    return f.load(more).error();
  };
  const auto block = [](int line, const std::string& text, const std::string& reason,
                        const std::string& source = "/start/a.conf") {
    const std::string number = std::to_string(line);
    return "\n*** FATAL CONFIG FILE ERROR (Quoll 0.1.0) ***\nReading the configuration file, at "
           "line " +
           number + "\n>>> '" + text + "'\n" + reason + "\n(" + source + " line " + number + ")\n";
  };
  CHECK(error_of("port 1\n zork 1 \n") ==
        block(2, "zork 1", "Bad directive or wrong number of arguments"));
  CHECK(error_of("port 1 2\n") == block(1, "port 1 2", "wrong number of arguments"));
  CHECK(error_of("\"abc\n") == block(1, "\"abc", "Unbalanced quotes in configuration line"));
  CHECK(error_of("dir /nonexist\n") == block(1, "dir /nonexist", "No such file or directory"));
  CHECK(error_of("port 1\n", {"--port"}) ==
        block(3, "port", "wrong number of arguments", "command line"));
  CHECK(error_of("", {"--user", "foo", "--user", "foo"}) ==
        block(3, "user \"foo\"",
              "Error in user declaration 'foo': Duplicate user found. A user can only be defined "
              "once in config files",
              "command line"));
  CHECK(error_of("loadmodule /x.so\n") ==
        block(1, "loadmodule /x.so", "modules are not supported: /x.so cannot be loaded"));
  CHECK(error_of("include /none\n") ==
        "Fatal error, can't open config file '/none': No such file or directory");
  CHECK(error_of("include /start/a.conf\n").find("Too many nested includes") != std::string::npos);
  CHECK(error_of("cluster-enabled yes\nreplicaof h 1\n") ==
        "\n*** FATAL CONFIG FILE ERROR (Quoll 0.1.0) ***\nreplicaof directive not allowed in "
        "cluster mode\n");

  Fixture f;
  const LoadChecks checks{
      .command_exists = [](Bytes name) { return name == "get" || name == "set"; }, .user = {}};
  CHECK(f.load({"--rename-command", "foo", "bar"}, checks).error() ==
        block(2, "rename-command \"foo\" \"bar\"", "No such command in rename-command",
              "command line"));
  CHECK(f.load({"--rename-command", "get", "set"}, checks)
            .error()
            .find("Target command name already exists") != std::string::npos);
  CHECK(f.load({"--rename-command", "get", "a", "--rename-command", "a", "b"}, checks).ok());
}

TEST_CASE("CONFIG REWRITE keeps what it can and changes what it must") {
  Fixture f;
  const std::string old =
      "# hello\n\nport 17703\n\n\n\nsave 100 1\n# c2\nslave-read-only yes\nmaxmemory 100mb\n"
      "timeout 5\ntimeout 7\ninclude x.conf\nrename-command DEBUG \"\"\n"
      "list-max-ziplist-entries 5\nmasterauth foo\nbind 127.0.0.1\nuser bob on\n";
  REQUIRE(f.load({}).ok());
  CHECK(f.config.rewritten(old, nullptr).error() ==
        "ERR The server is running without a config file");
  f.files.content["/start/a.conf"] = old;
  f.files.content["x.conf"] = "";
  REQUIRE(f.load({"a.conf"}).ok());
  REQUIRE(f.set({"masterauth", "", "save", "", "bind", "* -::*", "notify-keyspace-events", "Kn",
                 "client-output-buffer-limit", "pubsub 1mb 2 3", "masteruser", "x y"})
              .ok());
  const std::vector<std::string> users = {"user bob off", "user default on"};
  const std::string expected =
      "# hello\n\nport 17703\n\nsave \"\"\n# c2\nreplica-read-only yes\nmaxmemory 100mb\n"
      "timeout 7\n\ninclude x.conf\nrename-command DEBUG \"\"\n# ??? list-max-ziplist-entries 5\n\n"
      "user bob off\n\n# Generated by CONFIG REWRITE\nclient-output-buffer-limit pubsub 1mb 2 3\n"
      "dir \"/start\"\nmasteruser \"x y\"\nlatency-tracking-info-percentiles 50 99 99.9\n"
      "notify-keyspace-events \"nK\"\nuser default on\n";
  const auto rewritten = f.config.rewritten(old, &users);
  REQUIRE(rewritten.ok());
  CHECK(rewritten.value() == expected);

  // What was written loads to the same values, and is a fixed point.
  Fixture again;
  again.files.content["/start/a.conf"] = expected;
  again.files.content["x.conf"] = "";
  REQUIRE(again.load({"a.conf"}).ok());
  for (const ConfigEntry& entry : f.config.get(std::vector<Bytes>{"*"})) {
    CHECK(again.get(entry.name) == entry.value);
  }
  CHECK(again.config.rewritten(expected, &users).value() == expected);
}

TEST_CASE("every listed directive survives CONFIG SET to its own value and a forced rewrite") {
  Fixture f;
  f.files.content["/start/a.conf"] = "";
  REQUIRE(f.load({"a.conf"}).ok());
  f.config.enable_protected_configs = Permission::yes;
  for (const ConfigEntry& entry : f.config.get(std::vector<Bytes>{"*"})) {
    CAPTURE(entry.name);
    const auto set = f.set({entry.name, entry.value});
    const bool immutable = set.error().find("immutable") != std::string::npos;
    CHECK((set.ok() || immutable));
    CHECK(f.get(entry.name) == entry.value);
  }
  const auto all = f.config.rewritten("", nullptr, true);
  REQUIRE(all.ok());
  Fixture again;
  again.files.content["/start/a.conf"] = all.value();
  const auto loaded = again.load({"a.conf"});
  CHECK(loaded.error().empty());
  for (const ConfigEntry& entry : f.config.get(std::vector<Bytes>{"*"})) {
    CHECK(again.get(entry.name) == entry.value);
  }
}

TEST_CASE("names of other servers are remembered") {
  Fixture f;
  CHECK(f.set({"dual-channel-replication-enabled", "YES", "primaryauth", "secret"}).ok());
  CHECK(f.get("dual-channel-replication-enabled") == "yes");
  CHECK(f.config.masterauth == "secret");
  CHECK(Config::is_sensitive("primaryauth"));
  CHECK(f.set({"import-mode", "x"}).error() ==
        failed("import-mode", "argument must be 'yes' or 'no'"));
}
