"""Sorted sets."""
from .ingredients import SIZE_HINT_MAX, Family

SOON = b"0.01"


class ZSets(Family):
    pool = "zset"

    def makers(self):
        return [(14, self.add), (3, self.increment), (5, self.remove), (3, self.score), (2, self.size), (3, self.count), (4, self.rank),
                (7, self.range), (4, self.range_old), (2, self.range_store), (2, self.remove_range), (3, self.pop), (2, self.pop_many),
                (4, self.combine), (3, self.combine_store), (2, self.count_common), (2, self.scan), (1, self.random_members), (0.1, self.block)]

    def score(self):
        if self.chance(3):
            return [b"ZMSCORE", self.key()] + self.elements(6), "exact"
        return [b"ZSCORE", self.key(), self.element()], "exact"

    def points(self):
        """A score."""
        roll = self.random.randrange(30)
        if roll == 0:
            return self.one_of(b"abc", b"", b"nan", b" 1", b"1.5x")
        if roll == 1:
            return self.one_of(b"inf", b"-inf", b"+inf", b"1e300", b"-1e300", b"Infinity")
        if roll < 5:
            return self.random.choice((b"0.1", b"-0.25", b"3.14159265358979", b"1e17", b"-0", b"123456789012345680", b"9007199254740993", b"1e-7", b"0.30000000000000004"))
        return b"%d" % self.random.randrange(-3, 12) if roll < 24 else b"%.2f" % self.random.uniform(-5, 20)

    def add(self):
        command = [b"ZADD", self.key()]
        if self.chance(3):
            command += self.random.sample((b"NX", b"XX", b"GT", b"LT", b"CH", b"xx", b"ch"), self.random.randrange(1, 3))
        if self.chance(15):
            command.append(b"INCR")
        elif self.chance(5):  # many at once
            members = dict.fromkeys(self.element() for _ in range(self.one_of(3, 8, 30)))
            return [([b"DEL", command[1]], "exact"), (command[:2] + [word for member in members for word in (b"%d" % self.random.randrange(9), member)], "exact")]
        pairs = 1 if command[-1] == b"INCR" and not self.chance(20) else self.one_of(1, SIZE_HINT_MAX)
        for _ in range(pairs):
            command += [self.points(), self.element()]
        return self.with_junk(command), "exact"

    def increment(self):
        return [b"ZINCRBY", self.key(), self.points(), self.element()], "exact"

    def remove(self):
        return [b"ZREM", self.key()] + self.elements(6), "exact"

    def size(self):
        return [b"ZCARD", self.key()], "exact"

    def bound(self):
        """Of a range of scores."""
        if self.chance(30):
            return self.one_of(b"abc", b"", b"(", b"(x", b"nan")
        roll = self.random.randrange(6)
        if roll < 2:
            return self.one_of(b"-inf", b"+inf", b"inf", b"(-inf", b"(+inf")
        return (b"(" if roll == 2 else b"") + b"%d" % self.random.randrange(-4, 14)

    def count(self):
        return [b"ZCOUNT", self.key(), self.bound(), self.bound()], "exact"

    def rank(self):
        return [self.one_of(b"ZRANK", b"ZREVRANK"), self.key(), self.element()], "exact"

    def limit(self):
        return [b"LIMIT", self.random.choice((0, 0, 1, 2, 5, -1)), self.random.choice((-1, 0, 1, 2, 5, 10))]

    def range_words(self):
        """Bounds and options of ZRANGE and ZRANGESTORE."""
        how = self.one_of([], [], [b"BYSCORE"], [b"BYSCORE"])
        bound = self.bound if how else self.index
        options = [how]
        if self.chance(2):
            options.append([b"REV"])
        if how and self.chance(3) or self.chance(40):
            options.append(self.limit())
        self.random.shuffle(options)
        return [bound(), bound()], [word for option in options for word in option]

    def range(self):
        bounds, options = self.range_words()
        scores = [b"WITHSCORES"] if self.chance(2) else []
        return self.with_junk([b"ZRANGE", self.key(), *bounds, *options, *scores]), "exact"

    def range_store(self):
        bounds, options = self.range_words()
        return self.with_junk([b"ZRANGESTORE", self.key(), self.key(), *bounds, *options]), "exact"

    def range_old(self):
        scores = [b"WITHSCORES"] if self.chance(2) else []
        limit = self.limit() if self.chance(3) else []
        if self.chance(3):
            return [b"ZREVRANGE", self.key(), self.index(), self.index(), *scores], "exact"
        return [self.one_of(b"ZRANGEBYSCORE", b"ZREVRANGEBYSCORE"), self.key(), self.bound(), self.bound(), *scores, *limit], "exact"

    def remove_range(self):
        if self.chance(2):
            return [b"ZREMRANGEBYRANK", self.key(), self.index(), self.index()], "exact"
        return [b"ZREMRANGEBYSCORE", self.key(), self.bound(), self.bound()], "exact"

    def pop(self):
        command = [self.one_of(b"ZPOPMIN", b"ZPOPMAX"), self.key()]
        return command + ([self.amount()] if self.chance(2) else []), "exact"

    def pop_many(self):
        keys = self.keys(3)
        command = [b"ZMPOP", self.numkeys(len(keys)), *keys, self.one_of(b"MIN", b"MAX", b"min", b"MEAN" if self.chance(20) else b"MAX")]
        return command + ([b"COUNT", self.amount()] if self.chance(2) else []), "exact"

    def sources(self):
        """Keys to combine, sets among them, and their options."""
        keys = [self.key(self.one_of("zset", "zset", "zset", "set", "intset")) for _ in range(self.random.randrange(1, 4))]
        options = []
        if self.chance(3):
            weights = [self.one_of(b"1", b"2", b"0", b"-1.5", b"0.5", b"inf", b"x" if self.chance(10) else b"3") for _ in keys]
            options += [b"WEIGHTS", *weights]
        if self.chance(3):
            options += [b"AGGREGATE", self.one_of(b"SUM", b"MIN", b"MAX", b"min", b"AVG" if self.chance(10) else b"MAX")]
        return [self.numkeys(len(keys)), *keys], options

    def combine(self):
        keys, options = self.sources()
        scores = [b"WITHSCORES"] if self.chance(2) else []
        if self.chance(3):
            return [b"ZDIFF", *keys, *scores], "exact"
        return [self.one_of(b"ZUNION", b"ZINTER"), *keys, *options, *scores], "exact"

    def combine_store(self):
        keys, options = self.sources()
        if self.chance(3):
            return [b"ZDIFFSTORE", self.key(), *keys], "exact"
        return [self.one_of(b"ZUNIONSTORE", b"ZINTERSTORE"), self.key(), *keys, *options], "exact"

    def count_common(self):
        keys, _ = self.sources()
        return [b"ZINTERCARD", *keys] + ([b"LIMIT", self.amount()] if self.chance(2) else []), "exact"

    def scan(self):
        command = [b"ZSCAN", self.key(), 0, b"COUNT", 1000]
        return command + ([b"MATCH", self.one_of(b"*", b"a*", b"[0-9]", b"-*", b"")] if self.chance(2) else []), "scan_pairs"

    def random_members(self):
        key = self.key()
        roll = self.random.randrange(4)
        if roll == 0:
            return [b"ZRANDMEMBER", key, 100000], "unordered"
        if roll == 1:
            return [b"ZRANDMEMBER", key, 100000, b"WITHSCORES"], "pairs"
        return [b"ZRANDMEMBER", key] + self.one_of([], [-5], [-3, b"WITHSCORES"], [b"x"], [0], [2, b"foo"]), "shape"

    def block(self):
        keys = self.keys(3)
        timeout = self.one_of(SOON, SOON, SOON, b"-1", b"x")
        return self.one_of([b"BZPOPMIN", *keys, timeout], [b"BZPOPMAX", *keys, timeout], [b"BZMPOP", timeout, len(keys), *keys, b"MIN", b"COUNT", 2]), "exact"


# Ranges by member mean something only where all scores are equal (elsewhere the reference finds what
# the random levels of its skip list lead to), so these sorted sets live among themselves.
# Nobody asks for their encoding: many members are added to them at once (see SIZE_HINT_MAX).
LEX_KEYS = [b"lex:%d" % i for i in range(5)]


class LexZSets(Family):
    def makers(self):
        return [(8, self.add), (3, self.remove), (4, self.range_old), (4, self.range), (2, self.count), (2, self.remove_range), (1, self.store),
                (1, self.manage)]

    def key(self, pool=None):
        return self.random.choice(LEX_KEYS)

    def lex_bound(self):
        if self.chance(30):
            return self.one_of(b"abc", b"", b"(", b"[", b"+x", b"--")
        roll = self.random.randrange(6)
        if roll < 2:
            return self.one_of(b"-", b"+")
        return self.one_of(b"[", b"(") + self.one_of(b"", b"a", b"b", b"c", b"a5", b"be3", b"m", b"1", b"z", self.element())

    def limit(self):
        return [b"LIMIT", self.random.choice((0, 0, 1, 2, 5, -1)), self.random.choice((-1, 0, 1, 2, 5, 10))] if self.chance(3) else []

    def add(self):
        return [b"ZADD", self.key()] + [word for member in self.elements(15) for word in (0, member)], "exact"

    def remove(self):
        return [b"ZREM", self.key()] + self.elements(6), "exact"

    def range_old(self):
        return [self.one_of(b"ZRANGEBYLEX", b"ZREVRANGEBYLEX"), self.key(), self.lex_bound(), self.lex_bound(), *self.limit()], "exact"

    def range(self):
        options = [[b"BYLEX"], [b"REV"] if self.chance(2) else [], self.limit()]
        self.random.shuffle(options)
        target = [b"ZRANGESTORE", self.key()] if self.chance(4) else [b"ZRANGE"]
        return self.with_junk(target + [self.key(), self.lex_bound(), self.lex_bound()] + [word for option in options for word in option]), "exact"

    def count(self):
        return [b"ZLEXCOUNT", self.key(), self.lex_bound(), self.lex_bound()], "exact"

    def remove_range(self):
        return [b"ZREMRANGEBYLEX", self.key(), self.lex_bound(), self.lex_bound()], "exact"

    def store(self):
        return [self.one_of(b"ZUNIONSTORE", b"ZINTERSTORE"), self.key(), 2, self.key(), self.key()], "exact"

    def manage(self):
        return self.one_of([b"DEL", self.key()], [b"COPY", self.key(), self.key(), b"REPLACE"], [b"ZPOPMIN", self.key()], [b"ZPOPMAX", self.key(), 5]), "exact"
