"""Streams and consumer groups. IDs are given, never drawn from the clock; idle times are either far
above every threshold or far below."""
from .ingredients import POOLS, Family

GROUPS = (b"g1", b"g2", b"g3")
CONSUMERS = (b"ann", b"bob", b"cid")
LONG_MS = 10_000_000


class Streams(Family):
    pool = "stream"

    def __init__(self, draw):
        super().__init__(draw)
        self.clock = {}  # key -> about the last ID given

    def makers(self):
        return [(16, self.add), (2, self.length), (5, self.range), (3, self.delete), (3, self.trim), (0.5, self.set_id), (4, self.read),
                (10, self.read_group), (5, self.group), (1, self.drop), (6, self.acknowledge), (4, self.pending), (4, self.claim), (3, self.auto_claim),
                (4, self.info), (0.1, self.block)]

    def id_near(self, key):
        """An ID that may exist."""
        last = self.clock.get(key, 5)
        return b"%d-%d" % (max(last - self.random.randrange(0, 30), 0), self.one_of(0, 0, 0, 1, 2))

    def any_id(self, key):
        if self.chance(30):
            return self.one_of(b"abc", b"", b"1-x", b"-1", b"1-2-3", b"18446744073709551615-18446744073709551615", b"99999999999999999999", b"0", b"0-0")
        return self.id_near(key)

    def bound(self, key):
        roll = self.random.randrange(8)
        if roll < 4:
            return self.one_of(b"-", b"+")
        if roll == 4:
            return b"(" + self.id_near(key)
        return b"%d" % self.clock.get(key, 3) if roll == 5 else self.any_id(key)

    def trimming(self, key):
        words = [self.one_of(b"MAXLEN", b"MAXLEN", b"MINID")]
        about = self.one_of(b"", b"=", b"~")
        if about:
            words.append(about)
        words.append(self.any_id(key) if words[0] == b"MINID" else self.one_of(0, 1, 2, 3, 5, 10, 20, 50, -1 if self.chance(10) else 8))
        if about == b"~" and self.chance(2) or self.chance(40):
            words += [b"LIMIT", self.one_of(0, 1, 2, 5, 10, 100, -1)]
        return words

    def add(self):
        key = self.random.choice(POOLS["stream"])
        command = [b"XADD", key]
        if self.chance(15):
            command.append(b"NOMKSTREAM")
        if self.chance(6):
            command += self.trimming(key)
        last = self.clock.get(key, 0)
        roll = self.random.randrange(20)
        if roll < 15:
            self.clock[key] = last + self.random.randrange(1, 3)
            command.append(b"%d-%d" % (self.clock[key], self.one_of(0, 0, 0, 1)))
        elif roll < 18:
            command.append(b"%d-*" % (last + self.random.randrange(0, 2)))
        else:
            command.append(self.any_id(key))
        fields = self.one_of([b"name", b"value"], [b"name", b"value"], [b"f"], [self.element()], [self.element(), self.element()])
        for field in fields:
            command += [field, self.element()]
        return self.with_junk(command), "exact"

    def length(self):
        return [b"XLEN", self.key()], "exact"

    def range(self):
        key = self.key()
        command = [self.one_of(b"XRANGE", b"XREVRANGE"), key, self.bound(key), self.bound(key)]
        return command + ([b"COUNT", self.amount()] if self.chance(3) else []), "exact"

    def delete(self):
        key = self.key()
        return [b"XDEL", key] + [self.any_id(key) for _ in range(self.random.randrange(1, 4))], "exact"

    def trim(self):
        key = self.key()
        return self.with_junk([b"XTRIM", key] + self.trimming(key)), "exact"

    def set_id(self):
        key = self.key()
        command = [b"XSETID", key, self.any_id(key)]
        if self.chance(2):
            command += [b"ENTRIESADDED", self.one_of(0, 5, 50, 1000, -1), b"MAXDELETEDID", self.any_id(key)]
        return command, "exact"

    def read(self):
        keys = self.keys(3)
        command = [b"XREAD"] + ([b"COUNT", self.amount()] if self.chance(2) else [])
        ids = [self.one_of(b"$", b"0", self.any_id(key), self.id_near(key)) for key in keys]
        return command + [b"STREAMS", *keys, *ids], "exact"

    def read_group(self):
        """A consumer is made first: up to 7.0 a read that finds nothing does not make it, later it does."""
        keys, group, consumer = self.keys(2), self.random.choice(GROUPS), self.random.choice(CONSUMERS)
        made = [([b"XGROUP", b"CREATECONSUMER", key, group, consumer], "exact") for key in keys]
        command = [b"XREADGROUP", b"GROUP", group, consumer] + ([b"COUNT", self.amount()] if self.chance(2) else [])
        if self.chance(6):
            command.append(b"NOACK")
        ids = [self.one_of(b">", b">", b">", b">", b"0", self.any_id(key)) for key in keys]
        return made + [(command + [b"STREAMS", *keys, *ids], "exact")]

    def group(self):
        key, group = self.key(), self.random.choice(GROUPS)
        start = self.one_of(b"$", b"0", b"0", self.any_id(key))
        roll = self.random.randrange(6)
        if roll < 3:
            key = self.random.choice(POOLS["stream"])
            command = [b"XGROUP", b"CREATE", key, group, start] + ([b"MKSTREAM"] if self.chance(4) else [])
            return command + ([b"ENTRIESREAD", self.one_of(-1, 0, 3, 20, -2)] if self.chance(6) else []), "exact"
        if roll < 4:
            return [b"XGROUP", b"SETID", key, group, start] + ([b"ENTRIESREAD", self.one_of(-1, 0, 3, 20)] if self.chance(3) else []), "exact"
        return [b"XGROUP", b"CREATECONSUMER", key, group, self.random.choice(CONSUMERS)], "exact"

    def drop(self):
        key, group = self.key(), self.random.choice(GROUPS)
        if self.chance(3):
            return [b"XGROUP", b"DESTROY", key, group], "exact"
        return [b"XGROUP", b"DELCONSUMER", key, group, self.random.choice(CONSUMERS)], "exact"

    def acknowledge(self):
        key = self.key()
        return [b"XACK", key, self.random.choice(GROUPS)] + [self.any_id(key) for _ in range(self.random.randrange(1, 5))], "exact"

    def pending(self):
        key, group = self.key(), self.random.choice(GROUPS)
        if self.chance(2):
            return [b"XPENDING", key, group], "exact"
        command = [b"XPENDING", key, group] + ([b"IDLE", self.one_of(0, LONG_MS)] if self.chance(3) else [])
        command += [self.bound(key), self.bound(key), self.one_of(0, 1, 2, 10, -1)]
        return command + ([self.random.choice(CONSUMERS)] if self.chance(3) else []), "idle"

    def claim(self):
        key, group, consumer = self.key(), self.random.choice(GROUPS), self.random.choice(CONSUMERS)
        command = [b"XCLAIM", key, group, consumer, self.one_of(0, 0, 0, LONG_MS)]
        command += [self.any_id(key) for _ in range(self.random.randrange(1, 5))]
        for option in ([b"IDLE", self.one_of(0, 3 * LONG_MS)], [b"RETRYCOUNT", self.one_of(0, 1, 7)], [b"FORCE"], [b"JUSTID"], [b"LASTID", self.any_id(key)]):
            if self.chance(6):
                command += option
        return [([b"XGROUP", b"CREATECONSUMER", key, group, consumer], "exact"), (command, "exact")]

    def auto_claim(self):
        key, group, consumer = self.key(), self.random.choice(GROUPS), self.random.choice(CONSUMERS)
        command = [b"XAUTOCLAIM", key, group, consumer, self.one_of(0, 0, LONG_MS), self.one_of(b"0", b"-", self.any_id(key), b"(" + self.id_near(key))]
        command += ([b"COUNT", self.one_of(1, 2, 10, 0)] if self.chance(2) else []) + ([b"JUSTID"] if self.chance(3) else [])
        return [([b"XGROUP", b"CREATECONSUMER", key, group, consumer], "exact"), (command, "exact")]

    def info(self):
        key = self.key()
        return self.one_of([b"XINFO", b"STREAM", key], [b"XINFO", b"STREAM", key, b"FULL"], [b"XINFO", b"STREAM", key, b"FULL", b"COUNT", 2],
                           [b"XINFO", b"GROUPS", key], [b"XINFO", b"CONSUMERS", key, self.random.choice(GROUPS)]), "xinfo"

    def block(self):
        key = self.key()
        timeout = self.one_of(10, 10, 10, -1, b"x")
        if self.chance(2):
            return [b"XREAD", b"BLOCK", timeout, b"STREAMS", key, self.one_of(b"$", self.id_near(key))], "exact"
        group, consumer = self.random.choice(GROUPS), self.random.choice(CONSUMERS)
        return [([b"XGROUP", b"CREATECONSUMER", key, group, consumer], "exact"),
                ([b"XREADGROUP", b"GROUP", group, consumer, b"BLOCK", timeout, b"STREAMS", key, b">"], "exact")]
