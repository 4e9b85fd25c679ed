"""Scenes of differential.py that need more than one reply to judge: random choices, whole iterations,
values carried from one server to the other, clients that wait, keys that expire, restarts in place.

Every scene takes a stream outside of a transaction and leaves both servers with equal data.
"""
import time

import keyspace
import resp
from generators.ingredients import POOLS, SHORT_KEYS

EXPIRY_MS_MAX = 30
EXPIRED_PAUSE_S = 0.045
WAITERS_MAX = 4
UNTIL_BLOCKED_S = 5.0


class Plays:
    """judge(stream, batch, piece) and fail(text) are the harness's."""

    def __init__(self, harness, generator):
        self.harness, self.generator, self.random = harness, generator, generator.random
        self.scenes = [(4, self.short_lives), (3, self.pops), (3, self.choices), (4, self.scans), (4, self.transfer), (4, self.blocked), (1, self.reload)]

    def play(self, stream):
        scene = self.random.choices([scene for _, scene in self.scenes], [weight for weight, _ in self.scenes])[0]
        self.both(stream, "AUTH", "default", "any")  # a user's commands may have begun or dropped a transaction
        scene(stream)

    def judge(self, stream, *commands):
        self.harness.judge(stream, [(command, "exact") for command in commands])

    def both(self, stream, *command):
        """The plain replies of both servers."""
        return stream.reference.call(*command), stream.ours.call(*command)

    def note(self, name, *words):
        """For the report of a difference: what happened outside of judge()."""
        self.harness.history.append([b"(" + name + b")", *words])

    def check(self, true, text, *details):
        if true:
            self.harness.results.ok()
        else:
            self.harness.fail(text % details)

    def key_of(self, stream, *pools):
        """A key and its type, the same on both servers."""
        key = self.random.choice(POOLS[self.random.choice(pools)])
        types = self.both(stream, "TYPE", key)
        self.check(types[0] == types[1], "TYPE of %r: %r there, %r here", key, *types)
        return key, types[1]

    # Keys that really expire: made, left alone, then looked at in every way.
    def short_lives(self, stream):
        value, element = self.generator.keys.value, self.generator.keys.element
        first = []
        keys = self.random.sample(SHORT_KEYS, 5)
        for key in keys:
            when = self.random.randrange(1, EXPIRY_MS_MAX)
            make = self.random.choice(([b"SET", key, value()], [b"RPUSH", key, element(), element()], [b"SADD", key, element()], [b"SADD", key, b"1"],
                                       [b"HSET", key, element(), element()], [b"ZADD", key, 1, element()], [b"XADD", key, b"1-1", b"f", b"v"],
                                       [b"PFADD", key, element()], [b"SETBIT", key, 5, 1]))
            first += [([b"DEL", key], "exact"), (make, "exact"), ([b"PEXPIRE", key, when], "exact")]
        self.harness.judge(stream, first)
        time.sleep(EXPIRED_PAUSE_S)
        looks = ([b"GET"], [b"EXISTS"], [b"TTL"], [b"TYPE"], [b"STRLEN"], [b"INCR"], [b"APPEND", b"x"], [b"PERSIST"], [b"GETDEL"], [b"DEL"],
                 [b"EXPIRE", b"30000"], [b"SETNX", b"v"], [b"SETRANGE", b"3", b"z"], [b"GETSET", b"w"], [b"OBJECT ENCODING"], [b"TOUCH"],
                 [b"RENAME", b"short0"], [b"COPY", b"k1"], [b"GETEX"], [b"MOVE", b"3"], [b"UNLINK"], [b"INCRBYFLOAT", b"1.5"],
                 [b"LPUSH", b"a"], [b"RPUSHX", b"a"], [b"LRANGE", b"0", b"-1"], [b"LPOP"], [b"SADD", b"a"], [b"SPOP", b"5"], [b"SMEMBERS"], [b"SCARD"],
                 [b"HSET", b"f", b"v"], [b"HGETALL"], [b"HINCRBY", b"f", b"2"], [b"ZADD", b"1", b"m"], [b"ZRANGE", b"0", b"-1"], [b"ZPOPMIN"],
                 [b"ZINCRBY", b"2", b"m"], [b"XADD", b"2-2", b"f", b"v"], [b"XLEN"], [b"XRANGE", b"-", b"+"], [b"PFADD", b"a"], [b"BITCOUNT"],
                 [b"SETBIT", b"3", b"1"], [b"SORT"], [b"DUMP"], [b"GEOADD", b"1", b"1", b"a"], [b"SUNIONSTORE", b"short1"], [b"LMOVE", b"short2", b"LEFT", b"LEFT"])
        then = []
        for key in keys:
            name, *rest = self.random.choice(looks)
            then.append((name.split() + [key] + rest, "exact"))
            then.append(([b"EXISTS", key], "exact"))
        then += [([b"DEL"] + SHORT_KEYS, "exact"), ([b"DBSIZE"], "exact")]
        self.harness.judge(stream, then)

    # SPOP: each server pops its own choice, then loses the other's.
    def pops(self, stream):
        key, kind = self.key_of(stream, "set", "intset")
        count = self.random.choice(([], [], [0], [1], [2], [3], [6], [50]))
        if kind != b"set":
            return self.judge(stream, [b"SPOP", key, *count])
        self.note(b"SPOP", key, *count)
        before = [set(members) for members in self.both(stream, "SMEMBERS", key)]
        self.check(before[0] == before[1], "members of %r differ", key)
        popped = []
        for connection, members in zip((stream.reference, stream.ours), before):
            reply = connection.call("SPOP", key, *count)
            chosen = reply if count else [reply]
            expected = min(count[0], len(members)) if count else 1
            left = set(connection.call("SMEMBERS", key))
            self.check(len(chosen) == len(set(chosen)) == expected and set(chosen) <= members and left == members - set(chosen),
                       "SPOP %r %r of %r gave %r and left %r", key, count, members, reply, left)
            popped.append(chosen)
        for connection, others in ((stream.reference, popped[1]), (stream.ours, popped[0])):
            if others:
                connection.call("SREM", key, *others)
        self.judge(stream, [b"SCARD", key], [b"EXISTS", key])

    # SRANDMEMBER and its kin: as many as asked, all of them members, distinct unless asked otherwise.
    def choices(self, stream):
        name, pools, pairs = self.random.choice(((b"SRANDMEMBER", ("set", "intset"), None), (b"HRANDFIELD", ("hash",), b"WITHVALUES"),
                                                 (b"ZRANDMEMBER", ("zset", "geo"), b"WITHSCORES")))
        key, kind = self.key_of(stream, *pools)
        count = self.random.choice((-20, -3, 0, 1, 2, 3, 5, 10, 50))
        options = [pairs] if pairs and self.random.randrange(2) else []
        if kind not in (b"set", b"hash", b"zset"):
            return self.judge(stream, [name, key, count])
        for connection in (stream.reference, stream.ours):
            reply = resp.tree(connection.raw(name, key, count, *options))
            if reply[0] == "-":
                continue  # of another type; compared elsewhere
            whole = resp.tree(connection.raw(name, key, 1 << 20, *options))[1]
            chosen, whole = as_items(reply[1], options), as_items(whole, options)
            expected = -count if count < 0 and whole else min(max(count, 0), len(whole))
            self.check(len(chosen) == expected and (count < 0 or len(set(chosen)) == len(chosen)) and set(chosen) <= set(whole),
                       "%s %r %d %r gave %r of %r", name.decode(), key, count, options, chosen, whole)

    # Iterations in small steps return everything, whatever the order.
    def scans(self, stream):
        name, pools, pairs = self.random.choice(((b"SSCAN", ("set", "intset"), False), (b"HSCAN", ("hash",), True), (b"ZSCAN", ("zset", "geo"), True)))
        key, kind = self.key_of(stream, *pools)
        if kind != {b"SSCAN": b"set", b"HSCAN": b"hash", b"ZSCAN": b"zset"}[name]:
            return self.judge(stream, [name, key, 0])
        pattern = self.random.choice(([], [], [b"MATCH", b"*1*"], [b"MATCH", b"[a-m]*"], [b"MATCH", b"-?"]))
        found = []
        for connection in (stream.reference, stream.ours):
            items = keyspace.scan_all(connection, name, key, *pattern)
            found.append(set(zip(items[::2], items[1::2])) if pairs else set(items))
        self.check(found[0] == found[1], "%s %r %r: only there %r, only here %r", name.decode(), key, pattern, found[0] - found[1], found[1] - found[0])
        kinds = [b"TYPE", self.random.choice((b"list", b"set", b"zset", b"hash", b"stream", b"string", b"none"))]
        keys = [set(keyspace.scan_all(connection, b"SCAN")) if not pattern else set(scan_keys(connection, pattern + kinds))
                for connection in (stream.reference, stream.ours)]
        self.check(keys[0] == keys[1], "SCAN %r %r: only there %r, only here %r", pattern, kinds, keys[0] - keys[1], keys[1] - keys[0])

    # What one server dumps, the other restores.
    def transfer(self, stream):
        pool = self.random.choice(list(POOLS))
        key, kind = self.key_of(stream, pool)
        target = self.random.choice(POOLS[pool])
        dumps = self.both(stream, "DUMP", key)
        self.check((dumps[0] is None) == (dumps[1] is None), "DUMP of %r: %r there, %r here", key, *dumps)
        if dumps[0] is None or dumps[1] is None:
            return
        options = self.random.choice(([], [b"REPLACE"], [b"REPLACE"], [b"REPLACE"], [b"IDLETIME", 100, b"REPLACE"]))
        ttl = self.random.choice((0, 0, self.generator.draw.seconds() * 1000))
        self.note(b"RESTORE", target, ttl, key, *options)
        replies = [connection.raw("RESTORE", target, ttl, payload, *options)
                   for connection, payload in ((stream.reference, dumps[1]), (stream.ours, dumps[0]))]
        self.check(replies[0] == replies[1], "RESTORE of %r (%s) from the other server: %r there, %r here", key, kind.decode(), *replies)
        if replies[0].startswith(b"+OK"):
            self.harness.compare_key(stream, target)

    # Clients that wait, in the order they came, for what a few commands of another do. No key becomes
    # another type meanwhile: since 7.2 the whole command runs again when any of its keys is ready,
    # and meets the wrong type of another; 7.0 looks only at the one that is ready.
    def blocked(self, stream):
        # In a transaction several keys become ready at once: 7.0 serves the first that did, since 7.2
        # the command runs again and takes its keys in their order. So there every wait has one key.
        in_transaction = self.random.randrange(3) == 0
        pool, commands = self.random.choice(self.waits(1 if in_transaction else 3))
        keys = POOLS[pool][:3]
        # For the same reason no key becomes one of another type: the command would find it before the ready one.
        self.judge(stream, [b"SELECT", 0])
        strangers = [key for key in POOLS[pool][3:] if self.both(stream, "TYPE", key)[1] not in (pool.encode(), b"none")]
        self.judge(stream, [b"UNLINK", *keys, *strangers])
        waiting = []
        try:
            for _ in range(self.random.randrange(1, WAITERS_MAX + 1)):
                waiting.append(self.harness.wait(stream, self.random.choice(commands)(keys)))
            batch = []
            while len(batch) < 8:
                made = self.random.choice(self.feeds(pool, keys))
                batch.append((made, "exact"))
            if in_transaction:
                batch = [([b"MULTI"], "exact"), *batch, ([b"EXEC"], "exact")]
            self.harness.judge(stream, batch)
            for one in waiting:
                one.finish(self)
        finally:
            for one in waiting:
                one.close()

    def waits(self, keys_max):
        """(pool, what a client may wait with); 0 is forever."""
        dice = self.random
        end = lambda: dice.choice((b"LEFT", b"RIGHT"))
        some = lambda keys: dice.sample(keys, dice.randrange(1, keys_max + 1))
        def many(name, *words):
            def make(keys):
                chosen = some(keys)
                return [name, 0, len(chosen), *chosen, *words, b"COUNT", dice.randrange(1, 4)]
            return make
        lists = [lambda keys: [b"BLPOP", *some(keys), 0], lambda keys: [b"BRPOP", *some(keys), 0],
                 lambda keys: [b"BLMOVE", dice.choice(keys), dice.choice(keys), end(), end(), 0],
                 lambda keys: [b"BRPOPLPUSH", dice.choice(keys), dice.choice(keys), 0], many(b"BLMPOP", b"LEFT"), many(b"BLMPOP", b"RIGHT")]
        zsets = [lambda keys: [b"BZPOPMIN", *some(keys), 0], lambda keys: [b"BZPOPMAX", *some(keys), 0], many(b"BZMPOP", b"MIN"), many(b"BZMPOP", b"MAX")]
        streams = [lambda keys: [b"XREAD", b"BLOCK", 0, b"STREAMS", dice.choice(keys), b"$"], lambda keys: [b"XREAD", b"COUNT", 1, b"BLOCK", 0, b"STREAMS", dice.choice(keys), b"0-2"]]
        return [("list", lists), ("zset", zsets), ("stream", streams)]

    def feeds(self, pool, keys):
        key, element = self.random.choice(keys), self.generator.keys.element
        if pool == "list":
            return [[b"RPUSH", key, element()], [b"LPUSH", key, element(), element(), element()], [b"LPOP", key], [b"DEL", key],
                    [b"RENAME", b"list:5", key], [b"LMOVE", key, self.random.choice(keys), b"LEFT", b"RIGHT"], [b"COPY", b"list:4", key],
                    [b"SORT", b"list:6", b"ALPHA", b"STORE", key], [b"LRANGE", key, 0, -1]]
        if pool == "zset":
            return [[b"ZADD", key, self.random.randrange(9), element()], [b"ZADD", key, 1, element(), 2, element()], [b"ZPOPMIN", key], [b"DEL", key], [b"RENAME", b"zset:5", key],
                    [b"ZUNIONSTORE", key, 1, b"zset:4"], [b"ZRANGESTORE", key, b"zset:6", 0, -1], [b"ZINCRBY", key, 1, element()], [b"ZCARD", key]]
        number = self.random.randrange(1, 9)
        return [[b"XADD", key, b"%d-*" % number, b"f", element()], [b"XADD", key, b"%d-1" % number, b"f", element()], [b"DEL", key], [b"XLEN", key],
                [b"XDEL", key, b"%d-0" % number], [b"XGROUP", b"CREATE", key, b"g9", b"0", b"MKSTREAM"], [b"RENAME", b"stream:5", key]]

    # Everything saved and loaded in place: no reply may tell afterwards.
    def reload(self, stream):
        if self.harness.in_transaction():
            return
        self.judge(stream, [b"DEBUG", b"RELOAD"])
        if self.harness.appendonly:
            self.harness.replay()


def as_items(trees, pairs):
    """Members, or (member, value) pairs from either a flat array or one of pairs."""
    if not pairs:
        return [repr(item) for item in trees]
    if trees and trees[0][0] == "*":
        return [repr(item) for item in trees]
    return [repr(pair) for pair in zip(trees[::2], trees[1::2])]


def scan_keys(connection, options):
    cursor, found = b"0", []
    while True:
        cursor, part = connection.call("SCAN", cursor, *options)
        found += part
        if cursor == b"0":
            return found
