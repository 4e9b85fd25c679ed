"""Bitmaps, HyperLogLogs and geo."""
from .ingredients import SIZE_HINT_MAX, Family

# HyperLogLogs live among themselves: PFCOUNT of one key makes the reference write a cached
# cardinality into the value, which GET, BITCOUNT and the like would show. Here reads never write.
HLL_KEYS = [b"hll:%d" % i for i in range(6)]


class Bits(Family):
    pool = "bits"

    def makers(self):
        return [(8, self.set_bit), (4, self.get_bit), (4, self.count), (4, self.position), (4, self.operate), (10, self.field), (2, self.value_of)]

    def offset(self):
        if self.chance(40):
            return self.one_of(-1, b"x", 4294967296, b"", 1 << 40)
        return self.random.choice((0, 1, 7, 8, 9, 31, 63, 64, 100, 127, 128, 1000, self.random.randrange(200), self.random.randrange(5000)))

    def set_bit(self):
        return [b"SETBIT", self.key(), self.offset(), self.one_of(0, 1, 1, 1, 2 if self.chance(20) else 1)], "exact"

    def get_bit(self):
        return [b"GETBIT", self.key(), self.offset()], "exact"

    def span(self):
        words = [self.index(), self.index()]
        return words + ([self.one_of(b"BIT", b"BYTE", b"bit", b"NIBBLE" if self.chance(20) else b"BIT")] if self.chance(2) else [])

    def count(self):
        return [b"BITCOUNT", self.key()] + self.one_of([], self.span(), [self.index()] if self.chance(20) else []), "exact"

    def position(self):
        return [b"BITPOS", self.key(), self.one_of(0, 1, 1, 0, 2 if self.chance(20) else 1)] + self.one_of([], [self.index()], self.span()), "exact"

    def operate(self):
        name = self.one_of(b"AND", b"OR", b"XOR", b"NOT", b"and", b"NOR" if self.chance(20) else b"XOR")
        return [b"BITOP", name, self.key()] + (self.keys(1) if name == b"NOT" and not self.chance(20) else self.keys(4)), "exact"

    def type_of_field(self):
        if self.chance(40):
            return self.one_of(b"u64", b"i65", b"u0", b"x8", b"u", b"")
        return self.one_of(b"u", b"i") + b"%d" % self.one_of(1, 2, 3, 5, 7, 8, 9, 16, 31, 32, 33, 63)

    def place(self):
        return self.one_of(b"#%d" % self.random.randrange(8), b"%d" % self.random.randrange(100), b"%d" % self.random.randrange(100),
                           b"#x" if self.chance(40) else b"0", b"-1" if self.chance(40) else b"1")

    def field(self):
        read_only = self.chance(6)
        command = [b"BITFIELD_RO" if read_only else b"BITFIELD", self.key()]
        for _ in range(self.random.randrange(1, 5)):
            if not read_only and self.chance(3):
                command += [b"OVERFLOW", self.one_of(b"WRAP", b"SAT", b"FAIL", b"sat", b"NONE" if self.chance(20) else b"FAIL")]
            what = b"GET" if read_only and not self.chance(20) else self.one_of(b"GET", b"SET", b"INCRBY", b"INCRBY")
            command += [what, self.type_of_field(), self.place()]
            if what != b"GET":
                command.append(self.integer())
        return self.with_junk(command), "exact"

    def value_of(self):
        return self.one_of([b"GET", self.key()], [b"STRLEN", self.key()], [b"SETRANGE", self.key(), self.random.randrange(40), self.element()],
                           [b"APPEND", self.key(), self.element()]), "exact"


class HyperLogLogs(Family):
    def makers(self):
        return [(8, self.add), (4, self.count), (3, self.merge), (1, self.manage), (1, self.registers)]

    def key(self, pool=None):
        return self.random.choice(HLL_KEYS)

    def add(self):
        if self.chance(3):
            start = self.random.randrange(100000)
            return [b"PFADD", self.key()] + [b"e%d" % i for i in range(start, start + self.one_of(5, 50, 300))], "exact"
        return [b"PFADD", self.key()] + self.elements(6) * self.random.randrange(2), "exact"

    def count(self):
        return [b"PFCOUNT"] + self.keys(3), "exact"

    def merge(self):
        return [b"PFMERGE", self.key()] + self.keys(3), "exact"

    def manage(self):
        return self.one_of([b"DEL", self.key()], [b"DEL", self.key()], [b"RENAME", self.key(), self.key()], [b"COPY", self.key(), self.key()],
                           [b"SET", self.key(), b"HYLL"], [b"EXPIRE", self.key(), self.draw.seconds()], [b"STRLEN", self.key()]), "exact"

    def registers(self):
        """The value without its header, in which the reference keeps the cached cardinality."""
        return [b"GETRANGE", self.key(), 16, -1], "exact"


class Geo(Family):
    pool = "geo"

    def makers(self):
        return [(10, self.add), (3, self.distance), (3, self.places), (8, self.search), (3, self.search_store), (5, self.radius)]

    def element(self):
        return b"p%d" % self.random.randrange(60)

    def position(self):
        if self.chance(40):
            return [self.one_of(b"181", b"x", b"-180.1", b""), b"86"]
        spot = self.random.randrange(4)  # two regions, so that searches find something
        longitude = self.random.uniform(-170, 170) if spot == 0 else self.random.uniform(8, 20)
        latitude = self.random.uniform(-80, 80) if spot == 0 else self.random.uniform(36, 46)
        return [b"%.6f" % longitude, b"%.6f" % latitude]

    def add(self):
        command = [b"GEOADD", self.key()] + ([self.one_of(b"NX", b"XX", b"CH")] if self.chance(4) else [])
        if self.chance(3):  # many at once
            members = self.random.sample(range(60), self.one_of(5, 12, 30))
            return [([b"DEL", command[1]], "exact"), (command + [word for member in members for word in (*self.position(), b"p%d" % member)], "exact")]
        for _ in range(self.one_of(1, SIZE_HINT_MAX)):
            command += self.position() + [self.element()]
        return self.with_junk(command), "exact"

    def unit(self):
        return self.one_of(b"m", b"km", b"ft", b"mi", b"KM", b"parsec" if self.chance(20) else b"km")

    def distance(self):
        return [b"GEODIST", self.key(), self.element(), self.element()] + self.one_of([], [self.unit()]), "exact"

    def places(self):
        return [self.one_of(b"GEOPOS", b"GEOHASH"), self.key()] + [self.element() for _ in range(self.random.randrange(4))], "exact"

    def how_far(self):
        return self.one_of(b"0", b"1", b"100", b"300", b"500.5", b"1000", b"3000", b"-1" if self.chance(20) else b"50", b"x" if self.chance(40) else b"200")

    def area(self):
        origin = [b"FROMMEMBER", self.element()] if self.chance(2) else [b"FROMLONLAT", *self.position()]
        shape = [b"BYRADIUS", self.how_far(), self.unit()] if self.chance(2) else [b"BYBOX", self.how_far(), self.how_far(), self.unit()]
        options = self.order()
        return origin + shape + options

    def order(self):
        """Without an order the reference replies in the order of its search, and COUNT cuts there."""
        options = [self.one_of(b"ASC", b"DESC")] if self.chance(2) else []
        if self.chance(3):
            options += [b"COUNT", self.one_of(1, 2, 5, 100, 0 if self.chance(10) else 3)]
        return options

    def search(self):
        extra = [word for word in (b"WITHDIST", b"WITHCOORD", b"WITHHASH") if self.chance(3)]
        return self.with_junk([b"GEOSEARCH", self.key()] + self.area() + extra), "exact"

    def search_store(self):
        return [b"GEOSEARCHSTORE", self.key(), self.key()] + self.area() + ([b"STOREDIST"] if self.chance(2) else []), "exact"

    def radius(self):
        extra = [word for word in (b"WITHDIST", b"WITHCOORD", b"WITHHASH") if self.chance(3)] + self.order()
        suffix = b"_RO" if self.chance(4) else b""
        if not suffix and self.chance(3):
            extra = self.order() + [self.one_of(b"STORE", b"STOREDIST"), self.key()]
        if self.chance(2):
            return [b"GEORADIUS" + suffix, self.key(), *self.position(), self.how_far(), self.unit(), *extra], "exact"
        return [b"GEORADIUSBYMEMBER" + suffix, self.key(), self.element(), self.how_far(), self.unit(), *extra], "exact"
