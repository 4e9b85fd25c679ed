"""Sets of words and of integers."""
from .ingredients import INTEGER_EDGES, SIZE_HINT_MAX, Family


class Sets(Family):
    pool = "set"

    def makers(self):
        return [(14, self.add), (6, self.remove), (3, self.move), (4, self.member), (2, self.size), (2, self.members), (2, self.scan),
                (5, self.combine), (4, self.store), (2, self.count_common), (2, self.pop_all), (1, self.random_members)]

    def key(self, pool=None):
        return super().key(pool or self.one_of("set", "intset"))

    def elements(self, most):
        if self.chance(3):
            return [b"%d" % self.random.choice(INTEGER_EDGES) for _ in range(self.random.randrange(1, 4))]
        if self.chance(2):
            return [b"%d" % self.random.randrange(-20, 40) for _ in range(self.random.randrange(1, most))]
        return super().elements(most)

    def add(self):
        key, elements = self.key(), self.elements
        if self.random.randrange(3):  # integers stay among themselves for a while
            key = super().key("intset")
            elements = lambda most: [b"%d" % self.random.choice((self.random.randrange(-9, 50), self.random.choice(INTEGER_EDGES)))
                                     for _ in range(self.random.randrange(1, most + 1))]
        if self.chance(5):  # many at once
            return [([b"DEL", key], "exact"), ([b"SADD", key, *dict.fromkeys(elements(20))], "exact")]
        return self.with_junk([b"SADD", key] + elements(SIZE_HINT_MAX)[:SIZE_HINT_MAX]), "exact"

    def remove(self):
        return [b"SREM", self.key()] + self.elements(5), "exact"

    def move(self):
        return [b"SMOVE", self.key(), self.key(), self.element()], "exact"

    def member(self):
        if self.chance(2):
            return [b"SISMEMBER", self.key(), self.element()], "exact"
        return [b"SMISMEMBER", self.key()] + self.elements(5), "exact"

    def size(self):
        return [b"SCARD", self.key()], "exact"

    def members(self):
        return [b"SMEMBERS", self.key()], "unordered"

    def scan(self):
        command = [b"SSCAN", self.key(), 0, b"COUNT", 1000]
        return command + ([b"MATCH", self.one_of(b"*", b"a*", b"[0-9]", b"-*", b"")] if self.chance(2) else []), "scan"

    def combine(self):
        return [self.one_of(b"SINTER", b"SUNION", b"SDIFF")] + self.keys(4), "unordered"

    def store(self):
        return [self.one_of(b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE"), self.key()] + self.keys(3), "exact"

    def count_common(self):
        keys = self.keys(3)
        command = [b"SINTERCARD", self.numkeys(len(keys)), *keys]
        return command + ([b"LIMIT", self.amount()] if self.chance(2) else []), "exact"

    def pop_all(self):
        """More than there are: nothing is left to chance but the order."""
        return [b"SPOP", self.key(), 100000] if self.chance(3) else [b"SPOP", self.key(), self.one_of(0, -1, b"x")], "unordered"

    def random_members(self):
        if self.chance(2):
            return [b"SRANDMEMBER", self.key(), 100000], "unordered"
        return [b"SRANDMEMBER", self.key()] + self.one_of([], [-5], [b"x"], [0]), "shape"
