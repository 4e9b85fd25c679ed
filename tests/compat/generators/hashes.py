"""Hashes."""
from .ingredients import Family


class Hashes(Family):
    pool = "hash"

    def makers(self):
        return [(14, self.set), (3, self.set_new), (4, self.get), (3, self.get_many), (3, self.all), (2, self.length), (6, self.delete),
                (4, self.count), (3, self.count_float), (2, self.exists), (2, self.scan), (2, self.random_fields)]

    def set(self):
        command = [self.one_of(b"HSET", b"HSET", b"HMSET"), self.key()]
        for field in self.elements(8):
            command += [field, self.element()]
        return self.with_junk(command), "exact"

    def set_new(self):
        return [b"HSETNX", self.key(), self.element(), self.element()], "exact"

    def get(self):
        return [self.one_of(b"HGET", b"HGET", b"HSTRLEN"), self.key(), self.element()], "exact"

    def get_many(self):
        return [b"HMGET", self.key()] + self.elements(6), "exact"

    def all(self):
        if self.chance(2):
            return [b"HGETALL", self.key()], "pairs"
        return [self.one_of(b"HKEYS", b"HVALS"), self.key()], "unordered"

    def length(self):
        return [b"HLEN", self.key()], "exact"

    def delete(self):
        return [b"HDEL", self.key()] + self.elements(6), "exact"

    def count(self):
        return [b"HINCRBY", self.key(), self.element(), self.integer()], "exact"

    def count_float(self):
        return [b"HINCRBYFLOAT", self.key(), self.element(), self.float()], "exact"

    def exists(self):
        return [b"HEXISTS", self.key(), self.element()], "exact"

    def scan(self):
        command = [b"HSCAN", self.key(), 0, b"COUNT", 1000]
        return command + ([b"MATCH", self.one_of(b"*", b"a*", b"[0-9]", b"-*", b"")] if self.chance(2) else []), "scan_pairs"

    def random_fields(self):
        key = self.key()
        roll = self.random.randrange(4)
        if roll == 0:
            return [b"HRANDFIELD", key, 100000], "unordered"
        if roll == 1:
            return [b"HRANDFIELD", key, 100000, b"WITHVALUES"], "pairs"
        return [b"HRANDFIELD", key] + self.one_of([], [-5], [-3, b"WITHVALUES"], [b"x"], [0], [2, b"foo"]), "shape"
