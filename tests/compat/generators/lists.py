"""Lists, blocking forms with a timeout of a moment included."""
from .ingredients import Family

SOON = b"0.01"  # seconds a blocking command waits for what nobody pushes


class Lists(Family):
    pool = "list"

    def makers(self):
        return [(14, self.push), (5, self.pop), (2, self.length), (5, self.range), (4, self.at), (4, self.set), (3, self.remove), (3, self.trim),
                (4, self.insert), (3, self.position), (4, self.move), (2, self.pop_many), (0.15, self.block)]

    def element(self):
        if self.chance(25):  # larger than a node of 4 or 8 KiB may be
            return bytes([65 + self.random.randrange(26)]) * self.one_of(500, 3000, 4090, 4097, 8200, 9000)
        return super().element()

    def push(self):
        name = self.one_of(b"LPUSH", b"RPUSH", b"LPUSH", b"RPUSH", b"LPUSHX", b"RPUSHX")
        return self.with_junk([name, self.key()] + self.elements(12)), "exact"

    def pop(self):
        command = [self.one_of(b"LPOP", b"RPOP"), self.key()]
        return command + ([self.amount()] if self.chance(2) else []), "exact"

    def length(self):
        return [b"LLEN", self.key()], "exact"

    def range(self):
        return [b"LRANGE", self.key(), self.index(), self.index()], "exact"

    def at(self):
        return [b"LINDEX", self.key(), self.index()], "exact"

    def set(self):
        return [b"LSET", self.key(), self.index(), self.element()], "exact"

    def remove(self):
        return [b"LREM", self.key(), self.random.choice((0, 0, 1, -1, 2, -2, 5, b"x")), self.element()], "exact"

    def trim(self):
        ends = (0, 1, 0, 0, 2, 5), (-1, -1, -2, -1, 10, 30, -5)
        if self.chance(10):
            return [b"LTRIM", self.key(), self.index(), self.index()], "exact"
        return [b"LTRIM", self.key(), self.random.choice(ends[0]), self.random.choice(ends[1])], "exact"

    def insert(self):
        where = self.one_of(b"BEFORE", b"AFTER", b"before", b"AFTER", b"BEFORE", b"at" if self.chance(20) else b"AFTER")
        return [b"LINSERT", self.key(), where, self.element(), self.element()], "exact"

    def position(self):
        command = [b"LPOS", self.key(), self.element()]
        for option in ([b"RANK", self.random.choice((1, 2, -1, -2, 3, 0, b"x"))], [b"COUNT", self.random.choice((0, 1, 2, 5, -1))],
                       [b"MAXLEN", self.random.choice((0, 1, 3, 10, -1))]):
            if self.chance(3):
                command += option
        return command, "exact"

    def end(self):
        return self.one_of(b"LEFT", b"RIGHT", b"left", b"RIGHT", b"LEFT", b"UP" if self.chance(20) else b"LEFT")

    def move(self):
        if self.chance(3):
            return [b"RPOPLPUSH", self.key(), self.key()], "exact"
        return [b"LMOVE", self.key(), self.key(), self.end(), self.end()], "exact"

    def pop_many(self):
        keys = self.keys(3)
        command = [b"LMPOP", self.numkeys(len(keys)), *keys, self.end()]
        return command + ([b"COUNT", self.amount()] if self.chance(2) else []), "exact"

    def block(self):
        keys = self.keys(3)
        timeout = self.one_of(SOON, SOON, SOON, b"-1", b"x")
        return self.one_of([b"BLPOP", *keys, timeout], [b"BRPOP", *keys, timeout], [b"BRPOPLPUSH", keys[0], self.key(), timeout],
                           [b"BLMOVE", keys[0], self.key(), self.end(), self.end(), timeout],
                           [b"BLMPOP", timeout, len(keys), *keys, self.end(), b"COUNT", 2]), "exact"
