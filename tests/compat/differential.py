#!/usr/bin/python3
"""Plays the same seeded random commands to redis-server and to the server under test and compares
every reply byte; at the end of a seed compares the complete keyspace.

  tests/compat/differential.py --seed 7 --count 100000 [--seeds 3] [--resp3]

Two connections take turns in pipelined batches, so that WATCH, SELECT and open transactions meet.
What depends on the moment is kept out of the comparison's way, not out of the test: deadlines lie
far away and apart from each other (replies may differ by seconds), keys that do expire are only
looked at after a pause, replies in random order are compared as sets.
"""
import argparse
import random
import time

import compare
import resp
from server import OURS, REFERENCE, Results, ServerUnderTest

TTL_SECONDS_TOLERANCE = 3
TTL_MILLIS_TOLERANCE = 3000
DIFFERENCES_MAX = 5  # per seed: behind that many the two keyspaces have nothing to say any more
DATABASES = 16

KEYS = ([b"k%d" % i for i in range(40)] + [b"n%d" % i for i in range(15)] +
        [b"{tag}:%d" % i for i in range(5)] + [b"", b"\x00", b"bin\r\n\x00\xff", b"with space", b"k" * 300, b"j" * 70])
SMALL_KEYS = [b"lcs%d" % i for i in range(6)]  # values stay short: LCS is quadratic
SHORT_KEYS = [b"short%d" % i for i in range(8)]
NUMBERS = [b"0", b"1", b"-1", b"10", b"42", b"100", b"-100", b"12345", b"9223372036854775807", b"-9223372036854775808",
           b"9223372036854775806", b"-9223372036854775807", b"2147483648", b"4294967296", b"99999"]
NOT_NUMBERS = [b"", b"abc", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.5", b"1e3", b"9223372036854775808", b"0x10", b"nan",
               b"99999999999999999999", b"-", b"--1", b"1\x00"]
FLOATS = [b"1.5", b"-1.5", b"0.1", b"3", b"-3.25", b"1e5", b"1e-5", b"1000000", b"0", b"0.5", b"123.456", b"1e17", b"-0.0001",
          b"5.0e3", b"0.30000000000000004"]
NOT_FLOATS = [b"", b"abc", b" 1.5", b"1.5 ", b"inf", b"nan", b"1e5000", b"1,5", b"1.5.5", b"--1.5"]
WORDS = [b"NX", b"XX", b"GT", b"LT", b"GET", b"EX", b"PX", b"KEEPTTL", b"PERSIST", b"DB", b"REPLACE", b"MATCH", b"COUNT",
         b"foo", b"", b"0", b"-1", b"abc", b"9223372036854775807", b"99999999999999999999", b"k1", b"n1"]
JUNK_NAMES = b"""GET SET SETNX SETEX PSETEX GETSET GETDEL GETEX MGET MSET MSETNX APPEND STRLEN SETRANGE GETRANGE SUBSTR INCR
  DECR INCRBY DECRBY INCRBYFLOAT DEL UNLINK EXISTS TOUCH TYPE RENAME RENAMENX COPY MOVE EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL
  PTTL EXPIRETIME PEXPIRETIME PERSIST KEYS DBSIZE ECHO PING SELECT OBJECT WATCH UNWATCH DISCARD NOSUCH""".split()


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = int(time.time())
        self.draws = self.random.randrange(60000)
        table = [
            (9, self.get), (14, self.set), (4, self.setnx), (2, self.setex), (2, self.getset), (2, self.getdel), (4, self.getex),
            (3, self.mget), (3, self.mset), (2, self.msetnx), (4, self.append), (2, self.strlen), (3, self.setrange),
            (3, self.getrange), (8, self.count), (3, self.count_float), (2, self.lcs), (4, self.delete), (3, self.exists),
            (2, self.type), (3, self.rename), (3, self.copy), (2, self.move), (6, self.expire), (6, self.ttl), (2, self.persist),
            (4, self.encoding), (1, self.keys), (1, self.dbsize), (1, self.random_key), (2, self.select), (3, self.transaction),
            (2, self.watch), (2, self.junk), (1, self.connection), (0.03, self.flush), (0.2, self.swapdb), (0.3, self.big),
            (0.3, self.past), (0.3, self.introspect), (0.5, self.scan_error),
        ]
        self.makers = [maker for _, maker in table]
        self.weights = [weight for weight, _ in table]

    def batch(self, size):
        """A list of (command, kind); kind names the comparison."""
        commands = []
        while len(commands) < size:
            for maker in self.random.choices(self.makers, self.weights, k=size - len(commands)):
                made = maker()
                commands.extend(made if isinstance(made, list) else [made])
        return commands

    # Ingredients.
    def key(self):
        return self.random.choice(KEYS)

    def chance(self, one_in):
        return self.random.randrange(one_in) == 0

    def integer(self):
        roll = self.random.randrange(10)
        if roll == 0:
            return self.random.choice(NOT_NUMBERS)
        return self.random.choice(NUMBERS) if roll < 5 else b"%d" % self.random.randrange(-1000, 1000)

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

    def seconds(self):
        """A far deadline, 100 s from any other: so GT and LT decide alike on both servers."""
        self.draws = (self.draws * 48271 + 11) % 65521
        return 20000 + 100 * self.draws

    def deadline(self):
        """An expiry option and its argument."""
        bad = self.random.choice((b"0", b"-1", b"abc", b"", b"9223372036854775807", b"1.5")) if self.chance(12) else None
        kind = self.random.choice((b"EX", b"PX", b"EXAT", b"PXAT", b"ex", b"Px"))
        if kind == b"PXAT" and bad == b"9223372036854775807":
            bad = b"abc"
        return [kind, bad or b"%d" % self.moment(kind.upper())]

    def moment(self, kind):
        seconds = self.seconds() + (self.now if kind.endswith(b"AT") else 0)
        return seconds * 1000 + self.random.randrange(1000) if kind.startswith(b"P") else seconds

    # Commands.
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
        when = self.integer_error() if self.chance(8) else b"%d" % self.moment(b"PX" if kind == b"PSETEX" else b"EX")
        return [kind, self.key(), when, self.value()], "exact"

    def integer_error(self):
        return self.random.choice((b"0", b"-5", b"abc", b"1.5", b"9223372036854775807", b""))

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
        return [b"MGET"] + [self.key() for _ in range(self.random.randrange(1, 8))], "exact"

    def mset(self):
        command = [b"MSET"]
        for _ in range(self.random.randrange(1, 6)):
            command += [self.key(), self.value()]
        return command[: -1 if self.chance(20) else None], "exact"

    def msetnx(self):
        command = [b"MSETNX"]
        for _ in range(self.random.randrange(1, 3)):
            command += [self.key(), self.value()]
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
        key = b"n%d" % self.random.randrange(15) if self.random.randrange(4) else self.key()
        roll = self.random.randrange(5)
        if roll == 0:
            return [[b"SET", key, self.integer()], ][0], "exact"
        if roll < 3:
            return [self.random.choice((b"INCR", b"DECR")), key], "exact"
        return [self.random.choice((b"INCRBY", b"DECRBY")), key, self.integer()], "exact"

    def count_float(self):
        key = b"n%d" % self.random.randrange(15) if self.random.randrange(4) else self.key()
        return [b"INCRBYFLOAT", key, self.float()], "exact"

    def lcs(self):
        key = self.random.choice(SMALL_KEYS)
        if self.chance(2):
            return [b"SET", key, bytes(self.random.choices(b"abcd12", k=self.random.randrange(0, 40)))], "exact"
        command = [b"LCS", key, self.random.choice(SMALL_KEYS)]
        for option in ([b"IDX"], [b"LEN"], [b"WITHMATCHLEN"], [b"MINMATCHLEN", self.random.choice((0, 1, 3, 5, -1, b"x"))]):
            if self.chance(3):
                command += option
        return command, "exact"

    def delete(self):
        name = self.random.choice((b"DEL", b"UNLINK"))
        return [name] + [self.key() for _ in range(self.random.choice((1, 1, 1, 2, 3, 5)))], "exact"

    def exists(self):
        name = self.random.choice((b"EXISTS", b"TOUCH"))
        return [name] + [self.key() for _ in range(self.random.choice((1, 1, 2, 4)))], "exact"

    def type(self):
        return [b"TYPE", self.key()], "exact"

    def rename(self):
        return [self.random.choice((b"RENAME", b"RENAMENX")), self.key(), self.key()], "exact"

    def database(self):
        return self.random.choice((0, 0, 1, 1, 2, 3, 15) * 3 + (16, -1, b"abc"))

    def copy(self):
        command = [b"COPY", self.key(), self.key()]
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
            return [b"OBJECT", b"IDLETIME", self.key()], "ttl"
        if self.chance(30):
            return [b"OBJECT", self.random.choice((b"FREQ", b"foo", b"ENCODING")), self.key()], "exact"
        return [b"OBJECT", b"ENCODING", self.key()], "exact"

    def keys(self):
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
        return [b"WATCH"] + [self.key() for _ in range(self.random.randrange(1, 3))], "exact"

    def junk(self):
        name = self.random.choice(JUNK_NAMES)
        if self.chance(2):
            name = name.lower()
        command = [name] + [self.random.choice(WORDS) for _ in range(self.random.randrange(0, 5))]
        kind = "unordered" if name.upper() == b"KEYS" else "exact"
        return command, "ttl_ms" if b"TTL" in name.upper() or b"EXPIRETIME" in name.upper() else kind

    def connection(self):
        return self.random.choice(([b"PING"], [b"PING", self.value()], [b"ECHO", self.value()], [b"CLIENT", b"GETNAME"],
                                   [b"CLIENT", b"SETNAME", b"conn%d" % self.random.randrange(5)])), "exact"

    def flush(self):
        return [self.random.choice((b"FLUSHALL", b"FLUSHDB", b"FLUSHDB"))] + self.random.choice(([], [b"ASYNC"], [b"SYNC"])), "exact"

    def swapdb(self):
        return [b"SWAPDB", self.database(), self.database()], "exact"

    def big(self):
        key = b"big%d" % self.random.randrange(3)
        length = self.random.choice((1000, 16383, 16384, 32767, 32768, 32769, 65536, 100000, 300000))
        fill = self.random.choice((b"x", b"0", b"\x00\r\n"))
        value = (fill * length)[:length]
        return self.random.choice(([b"SET", key, value], [b"SET", key, value], [b"SET", key, value, b"GET"], [b"GET", key], [b"STRLEN", key],
                                   [b"GETRANGE", key, -50, -1], [b"SETRANGE", key, length - 5, b"tail"], [b"COPY", key, b"big0", b"REPLACE"],
                                   [b"APPEND", key, value[:5000]], [b"DEL", key], [b"ECHO", value])), "exact"

    def past(self):
        """A deadline in the past. Such a key is gone for every reader, but may be counted by DBSIZE
        until a write to it (redis-server: any look-up) or the next turn of the loop removes it."""
        key = self.key()
        past = self.random.choice(([b"SET", key, b"v", b"PXAT", 1], [b"SET", key, b"v", b"EXAT", 1], [b"GETEX", key, b"EXAT", 1],
                                   [b"EXPIREAT", key, 1], [b"PEXPIREAT", key, -1]))
        return [(past, "exact"), (self.random.choice(([b"EXISTS", key], [b"GET", key], [b"TTL", key])), "exact"), ([b"DEL", key], "exact")]

    def introspect(self):
        command, _ = self.random.choice((self.set, self.mset, self.getex, self.copy, self.rename, self.expire))()
        name = self.random.choice((b"GETKEYS", b"GETKEYSANDFLAGS"))
        return [b"COMMAND", name] + command, "exact"

    def scan_error(self):
        return [b"SCAN", self.random.choice((b"abc", b"", b"0")), self.random.choice((b"COUNT", b"MATCH", b"foo", b"TYPE"))] + (
            [b"0", b"COUNT"] if self.chance(2) else []), "exact"


class Stream:
    """One connection to each server, with what is known about an open transaction."""

    def __init__(self, reference, ours, resp3):
        self.reference = reference.connect(resp3=resp3, timeout=60)
        self.ours = ours.connect(resp3=resp3, timeout=60)
        self.queued = None

    def play(self, batch, piece):
        commands = [command for command, _ in batch]
        return zip(batch, self.reference.pipeline(commands), self.ours.pipeline(commands, piece))

    def alike(self, command, kind, theirs, ours):
        """Compares one pair of replies and follows MULTI, so that EXEC is compared by its parts."""
        queued, name = self.queued, command[0].upper()
        if queued is None:
            if name == b"MULTI" and theirs == b"+OK\r\n":
                self.queued = []
        elif theirs == b"+QUEUED\r\n":
            queued.append(kind)
        elif name in (b"EXEC", b"DISCARD", b"RESET") and len(command) == 1:
            self.queued = None
            if name == b"EXEC" and theirs != ours:
                return exec_alike(queued, resp.tree(theirs), resp.tree(ours))
        return theirs == ours or trees_alike(kind, resp.tree(theirs), resp.tree(ours))


def exec_alike(kinds, theirs, ours):
    if not (theirs[0] == ours[0] == "*" and isinstance(theirs[1], list) and isinstance(ours[1], list)):
        return False
    return (len(kinds) == len(theirs[1]) == len(ours[1]) and
            all(x == y or trees_alike(kind, x, y) for kind, x, y in zip(kinds, theirs[1], ours[1])))


def trees_alike(kind, theirs, ours):
    if kind == "ttl":
        return compare.near(theirs, ours, TTL_SECONDS_TOLERANCE)
    if kind == "ttl_ms":
        return compare.near(theirs, ours, TTL_MILLIS_TOLERANCE)
    if kind == "unordered":
        return compare.masked(theirs, unordered=True) == compare.masked(ours, unordered=True)
    if kind == "shape":
        return compare.masked(theirs, shape=True) == compare.masked(ours, shape=True)
    return False


class Differential:
    def __init__(self, arguments, results):
        self.arguments, self.results = arguments, results
        self.known = compare.KnownDifferences()

    def run(self, seed):
        arguments = self.arguments
        started, before, failed = time.monotonic(), self.results.passed, self.results.failed
        with ServerUnderTest(arguments.reference) as reference, ServerUnderTest(arguments.ours) as ours:
            self.name = "seed %d RESP%d" % (seed, 3 if arguments.resp3 else 2)
            self.history, self.differences, self.index = [], 0, 0
            generator = Generator(seed)
            streams = [Stream(reference, ours, arguments.resp3) for _ in range(2)]
            try:
                while self.index < arguments.count and self.differences < DIFFERENCES_MAX:
                    self.play_batch(generator, generator.random.choice(streams))
                if self.differences < DIFFERENCES_MAX:
                    self.compare_keyspaces(reference, ours)
            except (resp.Closed, resp.NoReply, OSError, ValueError) as error:
                self.results.fail("%s, near command %d: %s: %s" % (self.name, self.index, type(error).__name__, error))
        print("%s: %d commands, %d replies alike, %d not (%.1f s)" % (
            self.name, self.index, self.results.passed - before, self.results.failed - failed, time.monotonic() - started))

    def play_batch(self, generator, stream):
        draw = generator.random.random()
        if draw < 0.02 and stream.queued is None:
            return self.play_short_lives(generator, stream)
        size = generator.random.choice((1, 5, 16, 50, 200, 500, 1000, 2000))
        piece = 262144
        if draw > 0.95:  # bytes in odd pieces: a request may be cut anywhere
            size, piece = min(size, 50), generator.random.randrange(1, 200)
        self.judge(stream, generator.batch(size), piece)

    def play_short_lives(self, generator, stream):
        """Keys that really expire: set, left alone, then looked at in every way."""
        keys = generator.random.sample(SHORT_KEYS, 5)
        first = [([b"SET", key, generator.value(), b"PX", generator.random.randrange(1, 30)], "exact") for key in keys]
        self.judge(stream, first, 262144)
        time.sleep(0.045)
        looks = ([b"GET"], [b"EXISTS"], [b"TTL"], [b"TYPE"], [b"STRLEN"], [b"INCR"], [b"APPEND", b"x"], [b"PERSIST"], [b"GETDEL"], [b"DEL"],
                 [b"EXPIRE", b"30000"], [b"SETNX", b"v"], [b"SETRANGE", b"3", b"z"], [b"GETSET", b"w"], [b"OBJECT ENCODING"], [b"TOUCH"],
                 [b"RENAME", b"short0"], [b"COPY", b"k1"], [b"GETEX"], [b"MOVE", b"3"], [b"UNLINK"], [b"INCRBYFLOAT", b"1.5"])
        then = []
        for key in keys:
            name, *rest = generator.random.choice(looks)
            then.append((name.split() + [key] + rest, "exact"))
            then.append(([b"EXISTS", key], "exact"))
        then += [([b"DEL"] + SHORT_KEYS, "exact"), ([b"DBSIZE"], "exact")]
        self.judge(stream, then, 262144)

    def judge(self, stream, batch, piece):
        for (command, kind), theirs, ours in stream.play(batch, piece):
            self.index += 1
            self.history.append(command)
            if stream.alike(command, kind, theirs, ours):
                self.results.ok()
                continue
            line = show_command(command)
            if self.known.explain(line, theirs, ours):
                self.results.ok()
                continue
            self.differences += 1
            if self.differences <= DIFFERENCES_MAX:
                self.report(command, line, theirs, ours)
        del self.history[:-5000]

    def report(self, command, line, theirs, ours):
        keys = set(command[1:]) & set(KEYS + SMALL_KEYS + SHORT_KEYS)
        touching = [show_command(past)[:160] for past in self.history[:-1]
                    if keys & set(past[1:]) or past[0].upper() in (b"MULTI", b"EXEC", b"DISCARD", b"SELECT", b"SWAPDB", b"WATCH")]
        self.results.fail("%s, command %d: %s\n       reference: %s\n       ours:      %s\n       before it:\n%s" % (
            self.name, self.index, line[:300], resp.show(theirs), resp.show(ours),
            "".join("         %s\n" % text for text in touching[-12:])))

    def compare_keyspaces(self, reference, ours):
        one, two = reference.connect(timeout=60), ours.connect(timeout=60)
        for database in range(DATABASES):
            lists = []
            for connection in (one, two):
                connection.call("SELECT", database)
                lists.append(sorted(connection.call("KEYS", "*")))
                if sorted(set(scan_all(connection))) != lists[-1]:
                    self.results.fail("%s: SCAN and KEYS disagree in database %d" % (self.name, database))
                if connection.call("DBSIZE") != len(lists[-1]):
                    self.results.fail("%s: DBSIZE of database %d is not its number of keys" % (self.name, database))
            if lists[0] != lists[1]:
                only = [sorted(set(lists[0]) - set(lists[1])), sorted(set(lists[1]) - set(lists[0]))]
                self.results.fail("%s: keys of database %d differ: only reference %r, only ours %r" % (
                    self.name, database, only[0][:10], only[1][:10]))
            both = [key for key in lists[0] if key in set(lists[1])]
            questions = [([b"TYPE"], "exact"), ([b"GET"], "exact"), ([b"PEXPIRETIME"], "ttl_ms"), ([b"OBJECT", b"ENCODING"], "exact")]
            batch = [(words + [key], kind) for key in both for words, kind in questions]
            commands = [command for command, _ in batch]
            for (command, kind), theirs, mine in zip(batch, one.pipeline(commands), two.pipeline(commands)):
                if theirs == mine or trees_alike(kind, resp.tree(theirs), resp.tree(mine)):
                    self.results.ok()
                else:
                    self.results.fail("%s, at the end, database %d: %s\n       reference: %s\n       ours:      %s" % (
                        self.name, database, show_command(command), resp.show(theirs), resp.show(mine)))


def scan_all(connection):
    cursor, keys = b"0", []
    while True:
        cursor, found = connection.call("SCAN", cursor, "COUNT", "7")
        keys += found
        if cursor == b"0":
            return keys


def show_command(command):
    def word(argument):
        text = repr(argument if isinstance(argument, bytes) else b"%d" % argument)[2:-1]
        text = text if len(text) < 200 else "%s...(%d bytes)" % (text[:40], len(argument))
        return '"%s"' % text if not text or " " in text else text

    return " ".join(map(word, command))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, counting up from --seed")
    parser.add_argument("--count", type=int, default=100000, help="commands per seed")
    parser.add_argument("--resp3", action="store_true")
    parser.add_argument("--ours", default=OURS)
    parser.add_argument("--reference", default=REFERENCE)
    arguments = parser.parse_args()
    results = Results()
    differential = Differential(arguments, results)
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        try:
            differential.run(seed)
        except RuntimeError as error:  # a server did not start, or fell over
            results.fail("seed %d: %s" % (seed, error))
    for name, count in sorted(differential.known.used.items()):
        print("known difference %s: %d" % (name, count))
    results.finish()


if __name__ == "__main__":
    main()
