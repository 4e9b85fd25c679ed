"""Commands on keys of any type, databases, transactions, the connection, and conversion limits."""
from .ingredients import KEYS, POOLS, SIZE_HINT_MAX, Family, WORDS

JUNK_NAMES = b"""GET SET SETNX SETEX PSETEX GETSET GETDEL GETEX MGET MSET MSETNX APPEND STRLEN SETRANGE GETRANGE SUBSTR INCR
  DECR INCRBY DECRBY INCRBYFLOAT DEL UNLINK EXISTS TOUCH TYPE RENAME RENAMENX COPY MOVE EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL
  PTTL EXPIRETIME PEXPIRETIME PERSIST KEYS DBSIZE ECHO PING SELECT OBJECT WATCH UNWATCH DISCARD NOSUCH
  LPUSH RPOP LRANGE LSET LINSERT LPOS LMPOP LTRIM SADD SREM SMISMEMBER SINTERCARD SMOVE HSET HGET HMGET HINCRBY HSTRLEN
  ZADD ZREM ZRANGE ZRANGEBYSCORE ZCOUNT ZLEXCOUNT ZMPOP ZUNION ZINTERSTORE ZDIFF ZRANGESTORE ZINCRBY XRANGE XREAD XLEN XDEL
  XTRIM XACK XPENDING XCLAIM XAUTOCLAIM XINFO SETBIT GETBIT BITCOUNT BITPOS BITOP BITFIELD PFADD PFMERGE GEOADD GEODIST
  GEOPOS GEOSEARCH SORT""".split()
# Streams keep to their own keys, and those are not watched: commands on groups change a stream, and a
# WATCH sees that here, but not in the reference.
NO_STREAMS = [key for key in KEYS if key not in POOLS["stream"]]
# The reference corrupts its heap and crashes where nodes of streams may hold a few bytes only.
LIMITS = ((b"list-max-listpack-size", (-1, -2, -5, 1, 2, 3, 5, 8, 20, 128)), (b"list-compress-depth", (0, 0, 1, 2, 5)),
          (b"hash-max-listpack-entries", (0, 1, 2, 4, 8, 16, 128)), (b"hash-max-listpack-value", (0, 2, 8, 18, 64)),
          (b"zset-max-listpack-entries", (SIZE_HINT_MAX, 3, 4, 8, 16, 128)), (b"zset-max-listpack-value", (0, 2, 8, 18, 64)),
          (b"set-max-intset-entries", (SIZE_HINT_MAX, 3, 4, 8, 16, 512)), (b"hll-sparse-max-bytes", (0, 20, 60, 3000, 20000)),
          (b"stream-node-max-entries", (0, 1, 2, 3, 5, 10, 100)), (b"stream-node-max-bytes", (200, 1000, 4096)))


class Keys(Family):
    def makers(self):
        return [(8, self.delete), (3, self.exists), (2, self.type), (3, self.rename), (3, self.copy), (2, self.move), (5, self.expire),
                (5, self.ttl), (2, self.persist), (5, self.encoding), (1, self.list_keys), (1, self.dbsize), (1, self.random_key),
                (0.3, self.select), (3, self.transaction), (2, self.watch), (2, self.junk), (1, self.connection), (0.02, self.flush),
                (0.1, self.swapdb), (0.3, self.past), (0.3, self.scan_error), (0.7, self.limit)]

    def first(self):
        """Where every run of a seed begins: one limit of each kind."""
        return [([b"CONFIG", b"SET", name, self.random.choice(values)], "exact") for name, values in LIMITS]

    def limit(self):
        """Not that of HyperLogLogs: PFADD is logged as it was, so a replay needs the limit it met."""
        name, values = self.random.choice([limit for limit in LIMITS if limit[0] != b"hll-sparse-max-bytes"])
        return [b"CONFIG", b"SET", name, self.random.choice(values)], "exact"

    def pair(self):
        """Two keys, mostly of one family, so that values do not leave their families all the time."""
        if self.chance(6):
            return self.random.choice(NO_STREAMS), self.random.choice(NO_STREAMS)
        pool = self.random.choice(list(POOLS.values()))
        return self.random.choice(pool), self.random.choice(pool)

    def delete(self):
        name = self.random.choice((b"DEL", b"UNLINK"))
        return [name] + [self.key() for _ in range(self.random.choice((1, 1, 1, 2, 3, 5)))], "exact"

    def exists(self):
        name = self.random.choice((b"EXISTS", b"TOUCH"))
        return [name] + [self.key() for _ in range(self.random.choice((1, 1, 2, 4)))], "exact"

    def type(self):
        return [b"TYPE", self.key()], "exact"

    def rename(self):
        return [self.random.choice((b"RENAME", b"RENAMENX")), *self.pair()], "exact"

    def database(self):
        return self.random.choice((0, 0, 0, 0, 1, 1, 2, 3, 15) * 3 + (16, -1, b"abc"))

    def copy(self):
        command = [b"COPY", *self.pair()]
        if self.chance(3):
            command += [b"DB", self.database()]
        if self.chance(2):
            command.append(b"REPLACE")
        if self.chance(30):
            command.append(self.random.choice(WORDS))
        return command, "exact"

    def move(self):
        return [b"MOVE", self.key(), self.database()], "exact"

    def expire(self):
        name = self.random.choice((b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"))
        kind = (b"P" if name.startswith(b"P") else b"E") + (b"AT" if name.endswith(b"AT") else b"")
        when = b"%d" % self.moment(kind)
        if self.chance(15):
            when = self.random.choice((b"0", b"-1", b"abc", b"", b"-9223372036854775808", b"1.5"))
        command = [name, self.key(), when]
        if self.chance(2):
            command.append(self.random.choice((b"NX", b"XX", b"GT", b"LT", b"gt")))
            if self.chance(6):
                command.append(self.random.choice((b"NX", b"XX", b"GT", b"LT", b"foo")))
        return command, "exact"

    def ttl(self):
        name = self.random.choice((b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"))
        return [name, self.key()], "ttl_ms" if name.startswith(b"P") else "ttl"

    def persist(self):
        return [b"PERSIST", self.key()], "exact"

    def encoding(self):
        if self.chance(8):
            return [b"OBJECT", b"IDLETIME", self.key()], "idletime"
        if self.chance(30):
            return [b"OBJECT", self.random.choice((b"FREQ", b"foo", b"ENCODING")), self.key()], "encoding"
        return [b"OBJECT", b"ENCODING", self.key()], "encoding"

    def list_keys(self):
        patterns = (b"*", b"k*", b"n?", b"n1*", b"*1", b"[kn]1", b"k[0-3]?", b"k[^1]", b"\\k1", b"bin*", b"", b"*{tag}*", b"k[", b"*\xff")
        return [b"KEYS", self.random.choice(patterns)], "unordered"

    def dbsize(self):
        return [b"DBSIZE"], "exact"

    def random_key(self):
        return [b"RANDOMKEY"], "shape"

    def select(self):
        return [b"SELECT", self.database()], "exact"

    def transaction(self):
        return [self.random.choice((b"MULTI", b"MULTI", b"EXEC", b"EXEC", b"EXEC", b"DISCARD"))], "exact"

    def watch(self):
        if self.chance(4):
            return [b"UNWATCH"], "exact"
        return [b"WATCH"] + [self.random.choice(NO_STREAMS) for _ in range(self.random.randrange(1, 3))], "exact"

    def junk(self):
        name = self.random.choice(JUNK_NAMES)
        if self.chance(2):
            name = name.lower()
        command = [name] + [self.random.choice(WORDS) for _ in range(self.random.randrange(0, 6))]
        kind = "unordered" if name.upper() in (b"KEYS", b"SORT") else "exact"
        return command, "ttl_ms" if b"TTL" in name.upper() or b"EXPIRETIME" in name.upper() else kind

    def connection(self):
        return self.one_of([b"PING"], [b"PING", self.value()], [b"ECHO", self.value()], [b"CLIENT", b"GETNAME"],
                           [b"CLIENT", b"SETNAME", b"conn%d" % self.random.randrange(5)]), "exact"

    def flush(self):
        return [self.random.choice((b"FLUSHALL", b"FLUSHDB", b"FLUSHDB"))] + self.random.choice(([], [b"ASYNC"], [b"SYNC"])), "exact"

    def swapdb(self):
        return [b"SWAPDB", self.database(), self.database()], "exact"

    def past(self):
        """A deadline in the past. Such a key is gone for every reader, but may be counted by DBSIZE
        until a write to it (redis-server: any look-up) or the next turn of the loop removes it."""
        key = self.random.choice(KEYS)
        past = self.one_of([b"SET", key, b"v", b"PXAT", 1], [b"SET", key, b"v", b"EXAT", 1], [b"GETEX", key, b"EXAT", 1],
                           [b"EXPIREAT", key, 1], [b"PEXPIREAT", key, -1])
        return [(past, "exact"), (self.one_of([b"EXISTS", key], [b"GET", key], [b"TTL", key]), "exact"), ([b"DEL", key], "exact")]

    def scan_error(self):
        return [b"SCAN", self.random.choice((b"abc", b"", b"0")), self.random.choice((b"COUNT", b"MATCH", b"foo", b"TYPE"))] + (
            [b"0", b"COUNT"] if self.chance(2) else []), "exact"
