#!/usr/bin/python3
"""Random users against redis-server: the same rules in both, then
  - what ACL SETUSER replies and ACL GETUSER shows (flags, passwords, keys, channels: byte by byte);
  - the command rules: redis-server is given the rules that ours shows, and must then show for that
    user what it shows for the original rules (it finds categories anew, we keep them as given);
  - ACL DRYRUN of random command lines, and the same lines really sent by the user.
"""
import argparse
import random

from server import OURS, REFERENCE, Results, ServerUnderTest

COMMANDS = ["get", "set", "mget", "mset", "del", "lpush", "lrange", "lmove", "hset", "hgetall", "zadd", "zunionstore",
            "sadd", "sinterstore", "copy", "rename", "getset", "incr", "append", "exists", "type", "ttl", "expire",
            "publish", "subscribe", "psubscribe", "ssubscribe", "spublish", "xadd", "xread", "bitop", "pfadd",
            "config|get", "config|set", "client|id", "client|list", "object|encoding", "ping", "echo", "select",
            "info", "dbsize", "keys", "scan", "multi", "exec", "acl|whoami", "config", "client", "object", "acl",
            "xinfo", "memory", "pubsub"]
CATEGORIES = ["keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo",
              "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction",
              "scripting"]
KEYS = ["a", "b", "a:1", "b:1", "ab", "c:x", "x", "{a}1"]
PATTERNS = ["*", "a*", "b*", "?:1", "[ab]:*", "a", "c:x", "nothing", "", "*1"]
# They hold the connection, differ by design or between runs.
NOT_REALLY = ("subscribe", "psubscribe", "ssubscribe", "config", "client", "info", "exec", "acl", "memory", "scan",
              "keys", "multi", "select")


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def one(self, of):
        return self.random.choice(of)

    def selector_rule(self):
        r = self.random.random()
        if r < 0.3:
            return self.one("+++-") + self.one(COMMANDS)
        if r < 0.45:
            return self.one("+-") + "@" + self.one(CATEGORIES)
        if r < 0.55:
            return self.one(["+@all", "-@all", "allcommands", "nocommands", "+@ALL", "+GET", "-@Dangerous"])
        if r < 0.75:
            return self.one(["~", "~", "%R~", "%W~", "%RW~", "%wr~", "%~", "%r~", "%X~"]) + self.one(PATTERNS)
        if r < 0.85:
            return "&" + self.one(PATTERNS)
        if r < 0.93:
            return self.one(["allkeys", "resetkeys", "allchannels", "resetchannels", "ResetKeys"])
        return self.one(["+select|0", "+echo|hi", "+get|a", "+nosuch", "-nosuch", "+@nosuch", "+config|nosuch",
                         "+config|get|x", "nonsense", "+", "-", "~", "&", "%", "+get|", "-select|0", "+select|"])

    def rule(self):
        r = self.random.random()
        if r < 0.7:
            return self.selector_rule()
        if r < 0.8:
            return self.one(["on", "off", "nopass", "resetpass", "sanitize-payload", "skip-sanitize-payload", "reset",
                             "clearselectors", "ON", ""])
        if r < 0.9:
            return self.one("><") + self.one(["one", "two", ""])
        if r < 0.93:
            return self.one("#!") + self.one(["0" * 64, "ab" * 32, "A" * 64, "12", "g" * 64])
        inner = [self.selector_rule() for _ in range(self.random.randrange(4))]
        return "(" + " ".join(word for word in inner if word) + ")" * self.random.choice([1, 1, 1, 0])

    def line(self):
        k = lambda: self.one(KEYS)
        name = self.one(COMMANDS)
        shapes = {
            "set": lambda: ["set", k(), "v"] + self.one([[], ["GET"], ["NX"], ["EX", "100"]]),
            "mget": lambda: ["mget", k(), k()], "mset": lambda: ["mset", k(), "1", k(), "2"],
            "del": lambda: ["del", k(), k()], "lpush": lambda: ["lpush", k(), "e"],
            "lrange": lambda: ["lrange", k(), "0", "-1"], "lmove": lambda: ["lmove", k(), k(), "LEFT", "RIGHT"],
            "hset": lambda: ["hset", k(), "f", "v"], "zadd": lambda: ["zadd", k(), "1", "m"],
            "zunionstore": lambda: ["zunionstore", k(), "2", k(), k()],
            "sinterstore": lambda: ["sinterstore", k(), k(), k()], "sadd": lambda: ["sadd", k(), "m"],
            "copy": lambda: ["copy", k(), k()], "rename": lambda: ["rename", k(), k()],
            "getset": lambda: ["getset", k(), "v"], "append": lambda: ["append", k(), "x"],
            "exists": lambda: ["exists", k(), k()], "expire": lambda: ["expire", k(), "1000"],
            "publish": lambda: ["publish", k(), "m"], "spublish": lambda: ["spublish", k(), "m"],
            "subscribe": lambda: ["subscribe", k(), k()], "psubscribe": lambda: ["psubscribe", self.one(PATTERNS) or "x"],
            "ssubscribe": lambda: ["ssubscribe", k()], "xadd": lambda: ["xadd", k(), "*", "f", "v"],
            "xread": lambda: ["xread", "STREAMS", k(), k(), "0", "0"],
            "bitop": lambda: ["bitop", "AND", k(), k(), k()], "pfadd": lambda: ["pfadd", k(), "e"],
            "object|encoding": lambda: ["object", "encoding", k()], "config|get": lambda: ["config", "get", "port"],
            "config|set": lambda: ["config", "set", "lfu-decay-time", "1"], "echo": lambda: ["echo", self.one(["hi", "ho"])],
            "select": lambda: ["select", self.one(["0", "1"])], "keys": lambda: ["keys", "*"],
            "scan": lambda: ["scan", "0"], "client|id": lambda: ["client", "id"],
            "client|list": lambda: ["client", "list"], "acl|whoami": lambda: ["acl", "whoami"],
            "memory": lambda: ["memory", "usage", k()], "xinfo": lambda: ["xinfo", "stream", k()],
            "pubsub": lambda: ["pubsub", "channels"],
        }
        if name in shapes:
            return shapes[name]()
        if name in ("ping", "info", "dbsize", "multi", "exec"):
            return [name]
        if name in ("get", "hgetall", "incr", "type", "ttl"):
            return [name, k()]
        return ["get", k()]


def as_map(reply):
    return {reply[i]: reply[i + 1] for i in range(0, len(reply), 2)}


def comparable(user):
    """GETUSER's reply without the command rules, and these rules."""
    if user is None:
        return None, []
    top = as_map(user)
    rules = [top.pop(b"commands")]
    selectors = []
    for selector in top.pop(b"selectors"):
        fields = as_map(selector)
        rules.append(fields.pop(b"commands"))
        selectors.append(fields)
    return (top, selectors), rules


def check_rules(reference, ours_rules, reference_rules):
    """The rules that ours shows make the same user there."""
    for mine, theirs in zip(ours_rules, reference_rules):
        if set(mine.split()) == set(theirs.split()):
            continue
        reply = reference.raw("ACL", "SETUSER", "probe", "reset", *mine.split())
        if reply != b"+OK\r\n":
            return "%r is refused: %r" % (mine, reply)
        shown = as_map(reference.call("ACL", "GETUSER", "probe"))[b"commands"]
        if set(shown.split()) != set(theirs.split()):
            return "%r means %r, not %r" % (mine, shown, theirs)
    return None


def run(seed, users, results):
    maker = Maker(seed)
    with ServerUnderTest(OURS) as mine, ServerUnderTest(REFERENCE) as theirs:
        ours, reference = mine.connect(), theirs.connect()
        names = ["u%d" % i for i in range(8)]
        for step in range(users):
            name = maker.one(names)
            rules = [maker.rule() for _ in range(maker.random.randrange(1, 7))]
            if maker.random.random() < 0.5:
                rules = [r for r in rules if r] + maker.one([["on", "nopass"], ["on", "nopass", "+@all"], ["~*"]])
            where = "seed %d step %d: ACL SETUSER %s %s" % (seed, step, name, " ".join(map(repr, rules)))
            got, wanted = (c.raw("ACL", "SETUSER", name, *rules) for c in (ours, reference))
            bad = None if got == wanted else "%r, not %r" % (got, wanted)
            if not bad:
                (a, a_rules), (b, b_rules) = (comparable(c.call("ACL", "GETUSER", name)) for c in (ours, reference))
                bad = None if a == b else "GETUSER: %r, not %r" % (a, b)
                bad = bad or check_rules(reference, a_rules, b_rules)
            for _ in range(6):
                if bad:
                    break
                line = maker.line()
                got, wanted = (c.raw("ACL", "DRYRUN", name, *line) for c in (ours, reference))
                if got != wanted:
                    bad = "DRYRUN %s: %r, not %r" % (line, got, wanted)
            if not bad:
                bad = really(maker, mine, theirs, name)
            if bad:
                results.fail("%s\n  %s" % (where, bad))
            else:
                results.ok()


def really(maker, mine, theirs, name):
    """The user logs in on both sides and sends what he may and may not."""
    pair = mine.connect(), theirs.connect()
    try:
        got, wanted = (c.raw("AUTH", name, "one") for c in pair)
        if got != wanted:
            return "AUTH: %r, not %r" % (got, wanted)
        if not got.startswith(b"+"):
            return None
        for _ in range(6):
            line = maker.line()
            if line[0] in NOT_REALLY or line[0] in ("xadd", "xinfo", "object", "dbsize"):
                continue
            got, wanted = (c.raw(*line) for c in pair)
            if got != wanted:
                return "%s: %r, not %r" % (line, got, wanted)
        return None
    finally:
        for connection in pair:
            connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--users", type=int, default=500)
    options = parser.parse_args()
    results = Results()
    for seed in range(options.seed, options.seed + options.seeds):
        run(seed, options.users, results)
    results.finish()


if __name__ == "__main__":
    main()
