"""What all generators draw from: keys, elements, numbers, deadlines."""
import random
import time

SHARED_KEYS = ([b"k%d" % i for i in range(20)] + [b"{tag}:%d" % i for i in range(3)] +
               [b"", b"\x00", b"bin\r\n\x00\xff", b"with space", b"k" * 300, b"j" * 70])
POOL_SIZE = 7
# Every family prefers its own keys, so that values live long enough to grow; one in OTHER_KEY_ONE_IN
# commands meets a key of another family.
POOLS = {family: [name + b"%d" % i for i in range(POOL_SIZE)] for family, name in (
    ("number", b"n"), ("list", b"list:"), ("set", b"set:"), ("intset", b"ints:"), ("hash", b"hash:"), ("zset", b"zset:"), ("stream", b"stream:"),
    ("bits", b"bits:"), ("geo", b"geo:"))}
OTHER_KEY_ONE_IN = 14
# Since 7.2 SADD, ZADD and GEOADD convert by how many members they are given, new or not; the reference
# only by how many there are. They agree where a set always holds as many as are added to it at once,
# so limits are no smaller, and more members go to a new key only.
SIZE_HINT_MAX = 2
KEYS = SHARED_KEYS + [key for pool in POOLS.values() for key in pool]
SHORT_KEYS = [b"short%d" % i for i in range(8)]

NUMBERS = [b"0", b"1", b"-1", b"10", b"42", b"100", b"-100", b"12345", b"9223372036854775807", b"-9223372036854775808",
           b"9223372036854775806", b"-9223372036854775807", b"2147483648", b"4294967296", b"99999"]
NOT_NUMBERS = [b"", b"abc", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.5", b"1e3", b"9223372036854775808", b"0x10", b"nan",
               b"99999999999999999999", b"-", b"--1", b"1\x00"]
FLOATS = [b"1.5", b"-1.5", b"0.1", b"3", b"-3.25", b"1e5", b"1e-5", b"1000000", b"0", b"0.5", b"123.456", b"1e17", b"-0.0001",
          b"5.0e3", b"0.30000000000000004"]
# Nothing that makes strtod() fail with ERANGE: SORT of the reference looks at errno without setting
# it before, so that an earlier command's ERANGE makes it refuse good numbers.
NOT_FLOATS = [b"", b"abc", b" 1.5", b"1.5 ", b"inf", b"nan", b"1,5", b"1.5.5", b"--1.5"]
INTEGER_EDGES = [0, 1, -1, 12, 13, 127, 128, -128, -129, 255, 4095, 4096, -4096, -4097, 32767, 32768, -32769, 8388607, 8388608,
                 2147483647, 2147483648, -2147483649, 9223372036854775807, -9223372036854775808]
WORDS = [b"NX", b"XX", b"GT", b"LT", b"GET", b"EX", b"PX", b"KEEPTTL", b"PERSIST", b"DB", b"REPLACE", b"MATCH", b"COUNT",
         b"foo", b"", b"0", b"-1", b"abc", b"9223372036854775807", b"99999999999999999999", b"k1", b"n1", b"WITHSCORES",
         b"LIMIT", b"REV", b"BYSCORE", b"BYLEX", b"STREAMS", b"GROUP", b"LEFT", b"RIGHT", b"-", b"*", b"$", b">", b"1.5", b"inf",
         b"list:1", b"set:1", b"hash:1", b"zset:1", b"stream:1", b"WEIGHTS", b"AGGREGATE", b"MAX", b"WITHVALUES", b"BLOCK", b"RANK"]


class Draw:
    """The dice of one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = int(time.time())
        self.draws = self.random.randrange(60000)
        self.vocabulary = [b"%s%d" % (word, i) for word in (b"a", b"be", b"member:", b"x" * 17) for i in range(12)]

    def seconds(self):
        """A far deadline, 100 s from any other: so GT and LT decide alike on both servers."""
        self.draws = (self.draws * 48271 + 11) % 65521
        return 20000 + 100 * self.draws


class Family:
    pool = None  # of POOLS; None draws from all keys

    def __init__(self, draw):
        self.draw, self.random = draw, draw.random

    def chance(self, one_in):
        return self.random.randrange(one_in) == 0

    def one_of(self, *choices):
        return self.random.choice(choices)

    def key(self, pool=None):
        pool = pool or self.pool
        if pool is None or self.chance(OTHER_KEY_ONE_IN):
            return self.random.choice(KEYS)
        return self.random.choice(POOLS[pool])

    def keys(self, most, pool=None):
        return [self.key(pool) for _ in range(self.random.randrange(1, most + 1))]

    def numkeys(self, count):
        """How many keys follow: mostly the truth."""
        return self.one_of(0, -1, count + 1, b"x", count - 1) if self.chance(40) else count

    def integer(self):
        roll = self.random.randrange(10)
        if roll == 0:
            return self.random.choice(NOT_NUMBERS)
        return self.random.choice(NUMBERS) if roll < 5 else b"%d" % self.random.randrange(-1000, 1000)

    def index(self):
        """A position in a collection, from either end."""
        if self.chance(40):
            return self.one_of(b"x", b"", b"1.5", b"9223372036854775808")
        return self.random.choice((0, 1, 2, 3, 5, 10, 20, 100, -1, -2, -3, -5, -10, -20, -100, 0, -1))

    def amount(self):
        """How many to take."""
        if self.chance(40):
            return self.one_of(b"x", b"", -1, b"9223372036854775808", -5)
        return self.random.choice((0, 1, 1, 2, 2, 3, 5, 10, 1000))

    def float(self):
        return self.random.choice(NOT_FLOATS if self.chance(10) else FLOATS)

    def value(self):
        roll = self.random.randrange(12)
        if roll < 4:
            return self.integer()
        if roll < 5:
            return self.float()
        if roll < 6:
            return self.random.randbytes(self.random.randrange(0, 64))
        length = self.random.choice((0, 1, 2, 5, 8, 11, 12, 20, 31, 43, 44, 45, 63, 64, 100, 200, 255, 256, 257, 300))
        return bytes([97 + self.random.randrange(26)]) * length

    def element(self):
        """A member, field or list element: mostly short and from a small stock, so that commands hit."""
        roll = self.random.randrange(20)
        if roll < 10:
            return self.random.choice(self.draw.vocabulary)
        if roll < 15:
            return b"%d" % self.random.randrange(-10, 30)
        if roll < 17:
            return b"%d" % self.random.choice(INTEGER_EDGES)
        return self.value()

    def elements(self, most):
        most = self.one_of(1, 1, 2, 3, most)
        return [self.element() for _ in range(self.random.randrange(1, most + 1))]

    def moment(self, kind):
        seconds = self.draw.seconds() + (self.draw.now if kind.endswith(b"AT") else 0)
        return seconds * 1000 + self.random.randrange(1000) if kind.startswith(b"P") else seconds

    def deadline(self):
        """An expiry option and its argument."""
        bad = self.random.choice((b"0", b"-1", b"abc", b"", b"9223372036854775807", b"1.5")) if self.chance(12) else None
        kind = self.random.choice((b"EX", b"PX", b"EXAT", b"PXAT", b"ex", b"Px"))
        if kind == b"PXAT" and bad == b"9223372036854775807":
            bad = b"abc"
        return [kind, bad or b"%d" % self.moment(kind.upper())]

    def with_junk(self, command):
        """Now and then a word too many, or one missing."""
        if self.chance(60):
            return command + [self.random.choice(WORDS)]
        if self.chance(80) and len(command) > 1:
            return command[:-1]
        return command
