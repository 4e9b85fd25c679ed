"""Strings, counters, and big values."""
from .ingredients import Family, WORDS

SMALL_KEYS = [b"lcs%d" % i for i in range(6)]  # values stay short: LCS is quadratic


class Strings(Family):
    def makers(self):
        return [(9, self.get), (12, self.set), (3, self.setnx), (2, self.setex), (2, self.getset), (2, self.getdel), (4, self.getex),
                (3, self.mget), (2, self.mset), (1, self.msetnx), (4, self.append), (2, self.strlen), (3, self.setrange),
                (3, self.getrange), (8, self.count), (3, self.count_float), (2, self.lcs), (0.2, self.big)]

    def key(self, pool=None):
        return super().key("number" if pool is None and self.random.randrange(4) else pool)

    def get(self):
        return [b"GET", self.key()], "exact"

    def set(self):
        command = [b"SET", self.key(), self.value()]
        if self.chance(2):
            return command, "exact"
        options = []
        if self.chance(3):
            options.append([self.random.choice((b"NX", b"XX", b"nx", b"Xx"))])
        if self.chance(3):
            options.append([b"GET"])
        if self.chance(2):
            options.append(self.deadline() if self.random.randrange(4) else [b"KEEPTTL"])
        if self.chance(25):
            options.append([self.random.choice(WORDS)])
        self.random.shuffle(options)
        return command + [word for option in options for word in option], "exact"

    def setnx(self):
        return [b"SETNX", self.key(), self.value()], "exact"

    def setex(self):
        kind = self.random.choice((b"SETEX", b"PSETEX"))
        when = self.one_of(b"0", b"-5", b"abc", b"1.5", b"9223372036854775807", b"")
        if not self.chance(8):
            when = b"%d" % self.moment(b"PX" if kind == b"PSETEX" else b"EX")
        return [kind, self.key(), when, self.value()], "exact"

    def getset(self):
        return [b"GETSET", self.key(), self.value()], "exact"

    def getdel(self):
        return [b"GETDEL", self.key()], "exact"

    def getex(self):
        command = [b"GETEX", self.key()]
        roll = self.random.randrange(4)
        if roll == 1:
            command.append(b"PERSIST")
        elif roll > 1:
            command += self.deadline()
        if self.chance(20):
            command.append(self.random.choice(WORDS))
        return command, "exact"

    def mget(self):
        return [b"MGET"] + self.keys(7), "exact"

    def mset(self):
        command = [b"MSET"]
        for key in self.keys(5):
            command += [key, self.value()]
        return command[: -1 if self.chance(20) else None], "exact"

    def msetnx(self):
        command = [b"MSETNX"]
        for key in self.keys(2):
            command += [key, self.value()]
        return command, "exact"

    def append(self):
        return [b"APPEND", self.key(), self.value()], "exact"

    def strlen(self):
        return [b"STRLEN", self.key()], "exact"

    def setrange(self):
        offset = self.random.choice((0, 0, 1, 5, 10, 44, 100, 260, 1000, -1, 536870912, b"abc", 4294967296))
        return [b"SETRANGE", self.key(), offset, self.value()], "exact"

    def getrange(self):
        ends = (0, 1, 2, 5, 10, 50, -1, -2, -5, -100, 1000, 10**12, -(10**12), b"x")
        name = b"SUBSTR" if self.chance(6) else b"GETRANGE"
        return [name, self.key(), self.random.choice(ends), self.random.choice(ends)], "exact"

    def count(self):
        key = self.key("number")
        roll = self.random.randrange(5)
        if roll == 0:
            return [b"SET", key, self.integer()], "exact"
        if roll < 3:
            return [self.random.choice((b"INCR", b"DECR")), key], "exact"
        return [self.random.choice((b"INCRBY", b"DECRBY")), key, self.integer()], "exact"

    def count_float(self):
        return [b"INCRBYFLOAT", self.key("number"), self.float()], "exact"

    def lcs(self):
        key = self.random.choice(SMALL_KEYS)
        if self.chance(2):
            return [b"SET", key, bytes(self.random.choices(b"abcd12", k=self.random.randrange(0, 40)))], "exact"
        command = [b"LCS", key, self.random.choice(SMALL_KEYS)]
        for option in ([b"IDX"], [b"LEN"], [b"WITHMATCHLEN"], [b"MINMATCHLEN", self.random.choice((0, 1, 3, 5, -1, b"x"))]):
            if self.chance(3):
                command += option
        return command, "exact"

    def big(self):
        key = b"big%d" % self.random.randrange(3)
        length = self.random.choice((1000, 16383, 16384, 32767, 32768, 32769, 65536, 100000, 300000))
        fill = self.random.choice((b"x", b"0", b"\x00\r\n"))
        value = (fill * length)[:length]
        return self.one_of([b"SET", key, value], [b"SET", key, value], [b"SET", key, value, b"GET"], [b"GET", key], [b"STRLEN", key],
                           [b"GETRANGE", key, -50, -1], [b"SETRANGE", key, length - 5, b"tail"], [b"COPY", key, b"big0", b"REPLACE"],
                           [b"APPEND", key, value[:5000]], [b"DEL", key], [b"ECHO", value]), "exact"
