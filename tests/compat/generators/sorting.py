"""SORT over lists, sets and sorted sets, with patterns that look into strings and hashes."""
from .ingredients import Family

# Values that are sorted live among themselves: SORT of the reference turns a packed sorted set into
# a skip list, though it is a read. Here reads never write, so the two are not asked for the encoding.
SORT_KEYS = [b"sort:%d" % i for i in range(8)]


class Sorting(Family):
    def makers(self):
        return [(5, self.fill), (2, self.weigh), (6, self.sort), (1, self.manage)]

    def key(self, pool=None):
        return self.random.choice(SORT_KEYS)

    def manage(self):
        return self.one_of([b"DEL", self.key()], [b"DEL", self.key(), self.key()], [b"LPOP", self.key()], [b"ZPOPMIN", self.key()], [b"COPY", self.key(), self.key()]), "exact"

    def words(self):
        return [self.element() for _ in range(self.random.randrange(1, 8))]

    def fill(self):
        if self.chance(3):
            return self.one_of([b"RPUSH", self.key(), *self.words()], [b"SADD", self.key(), *self.words()],
                               [b"ZADD", self.key()] + [word for member in self.words() for word in (b"%d" % self.random.randrange(5), member)]), "exact"
        numbers = [b"%d" % self.random.randrange(-9, 12) for _ in range(self.random.randrange(1, 8))]
        if self.chance(3):
            return [b"RPUSH", self.key(), *numbers, self.one_of(b"1.5", b"-2e3", b"007", b"")], "exact"
        return self.one_of([b"RPUSH", self.key(), *numbers], [b"SADD", self.key(), *numbers],
                           [b"ZADD", self.key()] + [word for number in numbers for word in (number, number)]), "exact"

    def weigh(self):
        """What BY and GET patterns find; no two weights are equal, so that no order is left to chance."""
        number = self.random.randrange(-9, 12)
        if self.chance(2):
            return [b"SET", b"weight_%d" % number, b"%d" % (number * 7919 % 1009)], "exact"
        return [b"HSET", b"data_%d" % number, b"weight", b"%d" % (number * 31 % 1013), b"name", self.draw.vocabulary[number]], "exact"

    def sort(self):
        command = [self.one_of(b"SORT", b"SORT", b"SORT_RO"), self.key()]
        options = []
        by = None
        if self.chance(3):
            by = self.one_of(b"weight_*", b"data_*->weight", b"data_*->weight", b"nosort", b"constant")
            options.append([b"BY", by])
        if self.chance(4):
            options.append([b"LIMIT", self.random.choice((0, 1, 3, -1)), self.random.choice((0, 1, 3, 10, -1))])
        if self.chance(3):
            options.append([self.one_of(b"ASC", b"DESC", b"desc")])
        if self.chance(3):
            options.append([b"ALPHA"])
        for _ in range(self.one_of(0, 0, 1, 2)):
            options.append([b"GET", self.one_of(b"#", b"weight_*", b"data_*->name", b"data_*->none", b"nothing")])
        # Elements that compare equal by an outside key, and unsorted sets, come in any order; a LIMIT
        # would cut them anywhere.
        if by in (b"nosort", b"constant") or by and [b"ALPHA"] in options:
            options = [option for option in options if option[0] != b"LIMIT"]
        elif command[0] == b"SORT" and self.chance(4) and by is None:
            options += [[b"STORE", super().key("list")], [b"ALPHA"]]  # see known_differences.txt, sort-stale-errno
        self.random.shuffle(options)
        return command + [word for option in options for word in option], "unordered" if by else "exact"
