#!/usr/bin/python3
"""What survives: snapshots and the append-only file across restarts, kill -9, bad disks, and between
redis-server and the server under test in both directions.

  persistence.py [WORD...]     tests whose names hold a word

kill -9 under load is torture.py's.
"""
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import resp
from server import OURS, REFERENCE, Results, check, check_equal, eventually, free_port

FIELD_TTL_VERSION = "12"


class Node:
    """A server that is started again and again in one directory."""

    def __init__(self, binary=OURS, args=(), folder=None):
        self.binary, self.args = binary, list(args)
        self.dir = folder or tempfile.mkdtemp(prefix="quoll-test-")
        self.child = None

    def start(self, *more, limit=None, expect_exit=False, port=None):
        self.port = port or free_port()
        command = [self.binary, "--port", str(self.port), "--dir", self.dir, "--enable-debug-command", "yes"]
        command += self.args + list(more)

        def prepare():
            if limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        self.log_path = os.path.join(self.dir, "log.txt")
        with open(self.log_path, "wb") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, cwd=self.dir, preexec_fn=prepare)
        if expect_exit:
            return self.child.wait(20)
        deadline = time.monotonic() + 60
        while True:
            check(self.child.poll() is None, "the server ended:\n" + self.log())
            check(time.monotonic() < deadline, "the server does not answer")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(100).startswith((b"+PONG", b"-NOAUTH")):
                        return self
            except OSError:
                pass
            time.sleep(0.005)

    def connect(self):
        return resp.Connection(self.port)

    def log(self):
        with open(self.log_path, "rb") as log:
            return log.read().decode("utf-8", "replace")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self, how="NOSAVE"):
        if self.child and self.child.poll() is None:
            try:
                self.connect().send(resp.encode(["SHUTDOWN", how]))
                self.child.wait(20)
            except (OSError, subprocess.TimeoutExpired):
                self.kill()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.child and self.child.poll() is None:
            self.kill()
        elif kind is not None and self.child:
            print("the server had ended with %d:\n%s" % (self.child.returncode, self.log()[-6000:]))
        shutil.rmtree(self.dir, ignore_errors=True)


def info(connection, name):
    for line in connection.call("INFO", "everything").decode().split("\r\n"):
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    return None


def around_widths(text):
    """One element of exactly so many bytes beside a small one: what decides the form of a small value, and how
    long an element's own length is in its listpack (6, 12 and 32 bits)."""
    for width in (1, 62, 63, 64, 65, 4094, 4095, 4096, 8180, 8192):
        word = text(width)
        yield ["RPUSH", "list:one:%d" % width, "a", word, "b"]
        yield ["SADD", "set:one:%d" % width, "aa", word]
        yield ["HSET", "hash:field:%d" % width, "aa", "1", word, "2"]
        yield ["HSET", "hash:value:%d" % width, "a", "1", "b", word]
        yield ["ZADD", "zset:one:%d" % width, "1", "aa", "2", word]
        # As many as just fill a list's node, or just do not.
        yield ["RPUSH", "list:full:%d" % width] + [word] * (8192 // width + 1)


def around_numbers():
    """Integers on both sides of each width: 7, 13, 16, 24, 32 and 64 bits in listpacks, 16, 32 and 64 in intsets,
    8, 16 and 32 as the string of an RDB file."""
    edges = [sign * (1 << bits) + by for bits in (7, 12, 13, 15, 16, 23, 24, 31, 32) for sign in (1, -1) for by in (-1, 0, 1)]
    edges += [0, -1, (1 << 63) - 1, -(1 << 63), -(1 << 63) + 1]
    yield ["RPUSH", "list:edges"] + [str(edge) for edge in edges] + ["9223372036854775808", "-0", "01", "+1", " 1"]
    yield ["HSET", "hash:edges"] + [word for edge in edges for word in (str(edge), str(-edge))]
    yield ["ZADD", "zset:edges"] + [word for edge in edges for word in (str(edge), str(edge))]
    yield ["XADD", "stream:edges", "1-1"] + [word for edge in edges for word in (str(edge), str(edge))]
    for edge in edges:
        yield ["SET", "string:edge:%d" % edge, str(edge)]
        yield ["SADD", "intset:edge:%d" % edge, "1", str(edge)]
    yield ["SADD", "intset:mixed", "1", "70000", str(1 << 40), "-9223372036854775808"]
    yield ["SADD", "set:nearly", "1", "2", "9223372036854775808"]


def fill(connection, seed=1, brief=False):
    """Keys of every type and size around the conversion points; brief: of some sizes only."""
    dice = random.Random(seed)
    sizes, widths, most = ((1, 129, 513), (3, 65), 1500) if brief else ((1, 7, 64, 127, 128, 129, 511, 512, 513, 1500), (3, 64, 65), 20000)
    text = lambda size: bytes(dice.randrange(33, 127) for _ in range(size))
    commands = [["SET", "int", "12345"], ["SET", "negative", "-9223372036854775808"], ["SET", "empty", ""],
                ["SET", "binary", bytes(range(256))], ["SET", "long", "x" * 100000], ["SET", "noise", text(70000)],
                ["SET", "ttl", "v", "PX", "10000000"], ["SETBIT", "bits", "1000", "1"],
                ["PFADD", "hll"] + ["e%d" % i for i in range(300)],
                ["GEOADD", "geo", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania"]]
    for size in sizes:
        for width in widths:
            name = "%d:%d" % (size, width)
            words = [b"%d:" % i + text(width) for i in range(size)]
            commands.append(["RPUSH", "list:" + name] + words)
            commands.append(["SADD", "set:" + name] + words)
            commands.append(["HSET", "hash:" + name] + [word for i, key in enumerate(words) for word in (key, b"%d" % i)])
            commands.append(["ZADD", "zset:" + name] + [word for i, key in enumerate(words) for word in (b"%r" % (i / 7), key)])
        commands.append(["SADD", "intset:%d" % size] + [b"%d" % (i * 1000003) for i in range(size)])
        commands.append(["RPUSH", "numbers:%d" % size] + [b"%d" % (i * i) for i in range(size)])
    commands += list(around_widths(text)) + list(around_numbers())
    # Far above every limit, and strings and streams around theirs.
    many = [b"item:%d" % i for i in range(most)]
    commands += [["RPUSH", "list:many"] + many, ["SADD", "set:many"] + many, ["SADD", "intset:many"] + [b"%d" % i for i in range(most)],
                 ["HSET", "hash:many"] + [word for word in many for word in (word, b"v")], ["ZADD", "zset:many"] + [word for i, key in enumerate(many) for word in (b"%d" % (i % 1000), key)],
                 ["PFADD", "hll:dense"] + many, ["PFADD", "hll:few", "a", "b"]]
    for length in (11, 12, 19, 20, 21, 43, 44, 45, 63, 64, 65, 255, 256, 16383, 16384):
        commands.append(["SET", "string:%d" % length, "s" * length])
        commands.append(["SET", "digits:%d" % length, "1" * length])
    for entries in (1, 99, 100, 101, 102, 201) + (() if brief else (5000,)):
        commands += [["XADD", "stream:%d" % entries, "%d-1" % (i + 1), "field", b"%d" % i] for i in range(entries)]
    for width in (1000, 3000, 4000, 4100, 9000):
        commands += [["XADD", "stream:wide:%d" % width, "%d-1" % (i + 1), "field", "w" * width] for i in range(5)]
    commands.append(["RPUSH", "list:huge", "y" * 200000, "z"])
    commands.append(["ZADD", "zset:odd", "-inf", "a", "inf", "b", "1e300", "c", "0.1", "d", "3", "e"])
    for i in range(1, 400):
        commands.append(["XADD", "stream", "%d-%d" % (i, i % 3), "field", "value%d" % i, "n", str(i)])
    commands += [["XDEL", "stream", "7-1"], ["XTRIM", "stream", "MAXLEN", "350"],
                 ["XGROUP", "CREATE", "stream", "readers", "0"], ["XREADGROUP", "GROUP", "readers", "ann", "COUNT", "5", "STREAMS", "stream", ">"],
                 ["XACK", "stream", "readers", "52-1"], ["SELECT", "3"], ["SET", "elsewhere", "1"], ["SELECT", "0"]]
    for raw in connection.pipeline(commands):
        check(not raw.startswith(b"-"), "a command of fill() failed: %r" % raw[:200])


def encodings(connection):
    """Of every key but lists, which a server may hold in fewer nodes after loading; loading also makes
    short strings compact."""
    found = {}
    for key in connection.call("KEYS", "*"):
        if connection.call("TYPE", key) != b"list":
            encoding = connection.call("OBJECT", "ENCODING", key)
            found[key] = b"embstr" if encoding == b"raw" else encoding
    return found


def native_encodings(binary, limits, brief):
    """Those of a server that was given the same commands."""
    with Node(binary, RDB + limits) as node:
        connection = node.start().connect()
        fill(connection, brief=brief)
        return encodings(connection)


def flat(reply):
    return [tuple(flat(one)) if isinstance(one, list) else one for one in reply] if isinstance(reply, list) else reply


def contents(connection):
    """Everything that can be read, in a form that compares."""
    found = {}
    for db in (0, 3):
        connection.call("SELECT", str(db))
        for key in sorted(connection.call("KEYS", "*")):
            kind = connection.call("TYPE", key)
            if kind == b"none":
                continue  # it expired meanwhile
            if kind == b"string":
                value = connection.call("GET", key)
            elif kind == b"list":
                value = connection.call("LRANGE", key, "0", "-1")
            elif kind == b"set":
                value = sorted(connection.call("SMEMBERS", key))
            elif kind == b"zset":
                value = connection.call("ZRANGE", key, "0", "-1", "WITHSCORES")
            elif kind == b"hash":
                pairs = connection.call("HGETALL", key)
                value = sorted(zip(pairs[::2], pairs[1::2]))
            else:
                # Redis's log does not hold how many entries a group has read.
                groups = [tuple(group[:8]) for group in connection.call("XINFO", "GROUPS", key)]
                value = [flat(connection.call("XRANGE", key, "-", "+")), groups,
                         flat(connection.call("XPENDING", key, "readers")) if groups else None]
            found[db, key] = (kind, flat(value), connection.call("PEXPIRETIME", key))
    connection.call("SELECT", "0")
    return found


def compare(one, two):
    check_equal(sorted(one), sorted(two), "keys")
    for key in one:
        if two[key] != one[key]:
            parts = [(mine, other) for mine, other in zip(two[key][1], one[key][1]) if mine != other] or [(two[key], one[key])]
            raise AssertionError("contents of %r: got %.600r, expected %.600r" % (key, *parts[-1]))


def copy(source, target):
    for name in os.listdir(source):
        path = os.path.join(source, name)
        if os.path.isdir(path):
            shutil.copytree(path, os.path.join(target, name))
        elif name.endswith(".rdb"):
            shutil.copy(path, target)


def hand_over(giver, taker, giver_args, taker_args, save, brief=False):
    with Node(giver, giver_args) as one, Node(taker, taker_args) as two:
        connection = one.start().connect()
        fill(connection, brief=brief)
        before = contents(connection)
        if save:
            check_equal(connection.call("SAVE"), b"OK")
        one.stop()
        copy(one.dir, two.dir)
        loaded = two.start().connect()
        compare(before, contents(loaded))
        limits = [word for word in taker_args if word in SMALL_LIMITS + LARGE_LIMITS]
        native, found = native_encodings(taker, limits, brief), encodings(loaded)
        check_equal({key: (found[key], native[key]) for key in found if found[key] != native[key]}, {}, "encodings")


# What a listpack, intset or node of a stream may hold, far from the defaults on either side. (A file's table of more
# members than set-max-intset-entries stays one, where 7.2 packs up to 128 as they are added: so, not below that.)
SMALL_LIMITS = [word for name, limit in (("hash-max-listpack-entries", 7), ("zset-max-listpack-entries", 64), ("set-max-intset-entries", 128),
                                         ("stream-node-max-entries", 10), ("list-max-listpack-size", 5), ("list-compress-depth", 1)) for word in ("--" + name, str(limit))]
LARGE_LIMITS = [word for name, limit in (("hash-max-listpack-entries", 1500), ("zset-max-listpack-entries", 1500), ("set-max-intset-entries", 1500),
                                         ("stream-node-max-entries", 1000), ("list-max-listpack-size", -5)) for word in ("--" + name, str(limit))]
RDB = ["--save", ""]
SEEN_EARLY = ["--loading-process-events-interval-bytes", "1024"]  # loading of little shows
AOF = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]


def test_rdb_of_redis_opens_here():
    hand_over(REFERENCE, OURS, RDB, RDB, True)


def test_rdb_of_ours_opens_in_redis():
    hand_over(OURS, REFERENCE, RDB + ["--rdb-version", "10"], RDB, True)


def test_limits_are_those_of_the_server_that_loads():
    for giver, taker in ((OURS, REFERENCE), (REFERENCE, OURS)):
        mine = RDB + ["--rdb-version", "10"] if giver == OURS else RDB
        for limits in (SMALL_LIMITS, LARGE_LIMITS):
            hand_over(giver, taker, mine + limits, RDB, True, brief=True)
            hand_over(giver, taker, mine, RDB + limits, True, brief=True)


def test_aof_of_redis_opens_here():
    hand_over(REFERENCE, OURS, AOF, AOF, False)


def test_aof_of_ours_opens_in_redis():
    hand_over(OURS, REFERENCE, AOF + ["--rdb-version", "10"], AOF, False)


def test_rewritten_aof_goes_both_ways():
    for giver, taker in ((OURS, REFERENCE), (REFERENCE, OURS)):
        for preamble in ("yes", "no"):
            args = AOF + ["--aof-use-rdb-preamble", preamble]
            mine = args + ["--rdb-version", "10"] if giver == OURS else args
            with Node(giver, mine) as one, Node(taker, AOF) as two:
                connection = one.start().connect()
                fill(connection)
                connection.call("BGREWRITEAOF")
                eventually(lambda: info(connection, "aof_rewrite_in_progress") == "0", "the rewrite ends")
                check_equal(info(connection, "aof_last_bgrewrite_status"), "ok")
                connection.call("SET", "after", "the rewrite")
                before = contents(connection)
                one.stop()
                copy(one.dir, two.dir)
                compare(before, contents(two.start().connect()))


def test_files_that_were_replaced_can_be_kept():
    for binary in (REFERENCE, OURS):
        with Node(binary, AOF + ["--aof-disable-auto-gc", "yes"]) as node:
            one = node.start().connect()
            folder = os.path.join(node.dir, "appendonlydir")

            def history():
                with open(os.path.join(folder, "appendonly.aof.manifest")) as manifest:
                    return [line.split()[1] for line in manifest if line.split()[5] == "h"]

            one.call("SET", "k", "v")
            for number in (1, 2):
                one.call("BGREWRITEAOF")
                eventually(lambda: info(one, "aof_rewrite_in_progress") == "0" and len(history()) == 2 * number, "rewrite %d ends" % number)
            kept = history()
            check(all(os.path.exists(os.path.join(folder, name)) for name in kept), "%s: the files that were replaced" % binary)
            one.call("CONFIG", "SET", "aof-disable-auto-gc", "no")
            eventually(lambda: not history() and not any(os.path.exists(os.path.join(folder, name)) for name in kept), "they go")
            check_equal(one.call("GET", "k"), b"v")


def test_what_is_stated_of_a_sorted_list_outlasts_its_nodes():
    """SORT with GET states its result, whose nodes are compressed by then."""
    with Node(OURS, AOF) as node:
        one = node.start().connect()
        one.call("CONFIG", "SET", "list-compress-depth", "1")
        one.call("CONFIG", "SET", "list-max-listpack-size", "2")
        for i in range(40):
            one.call("RPUSH", "source", str(i))
            one.call("SET", "of:%d" % i, chr(97 + i % 26) * 64)
        check_equal(one.call("SORT", "source", "GET", "of:*", "GET", "#", "STORE", "sorted"), 80)
        digest, sorted_list = one.call("DEBUG", "DIGEST"), one.call("LRANGE", "sorted", 0, -1)
        check_equal(one.call("DEBUG", "LOADAOF"), b"OK")
        check_equal(one.call("LRANGE", "sorted", 0, -1), sorted_list)
        check_equal(one.call("DEBUG", "DIGEST"), digest)


def test_a_consumer_is_not_idle_for_half_a_century_after_a_start():
    with Node(OURS, AOF) as node:
        one = node.start().connect()
        one.call("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")
        one.call("XGROUP", "CREATECONSUMER", "stream", "group", "consumer")
        one.call("DEBUG", "LOADAOF")
        (consumer,) = one.call("XINFO", "CONSUMERS", "stream", "group")
        fields = dict(zip(*[iter(consumer)] * 2))
        check(0 <= fields[b"idle"] < 60_000, fields)


def test_digest_survives_every_way():
    with Node(OURS, AOF) as node:
        one = node.start().connect()
        fill(one)
        one.call("HSET", "timed", "a", "1", "b", "2")
        one.call("HPEXPIRE", "timed", "10000000", "FIELDS", "1", "a")
        digest = one.call("DEBUG", "DIGEST")
        check_equal(one.call("DEBUG", "LOADAOF"), b"OK")
        check_equal(one.call("DEBUG", "DIGEST"), digest, "after LOADAOF")
        one.call("CONFIG", "SET", "rdb-version", FIELD_TTL_VERSION)
        check_equal(one.call("DEBUG", "RELOAD"), b"OK")
        check_equal(one.call("DEBUG", "DIGEST"), digest, "after RELOAD")
        for key in one.call("KEYS", "*"):
            payload, ttl = one.call("DUMP", key), one.call("PEXPIRETIME", key)
            one.call("RESTORE", key, str(max(ttl, 0)), payload, "REPLACE", "ABSTTL")
        check_equal(one.call("DEBUG", "DIGEST"), digest, "after DUMP and RESTORE of every key")
        node.kill()
        check_equal(node.start().connect().call("DEBUG", "DIGEST"), digest, "after kill -9")


def test_what_version_11_cannot_hold_is_refused():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        one.call("HSET", "timed", "a", "1")
        one.call("HPEXPIRE", "timed", "10000000", "FIELDS", "1", "a")
        check(one.error("SAVE"), "SAVE succeeded")
        check("cannot hold the value of key 'timed'" in node.log(), "the log does not name the key")
        check(not os.path.exists(os.path.join(node.dir, "dump.rdb")), "a file was left")
        one.call("CONFIG", "SET", "rdb-version", FIELD_TTL_VERSION)
        check_equal(one.call("SAVE"), b"OK")


def test_what_version_11_cannot_hold_is_kept_in_other_ways():
    refusal = "RDB version 11 cannot hold the value of key 'timed' (see rdb-version)"
    with Node(OURS, AOF) as node:
        one = node.start().connect()
        one.call("HSET", "timed", "a", "1")
        one.call("HPEXPIRE", "timed", "10000000", "FIELDS", "1", "a")
        one.call("BGSAVE")
        eventually(lambda: info(one, "rdb_last_bgsave_status") == "err", "BGSAVE fails")
        check_equal(node.log().count(refusal), 1, node.log())
        check(not any(name.endswith(".rdb") for name in os.listdir(node.dir)), "a file was left")
        # What has no other place says its own version: a payload, and the base of the log.
        payload = one.call("DUMP", "timed")
        check_equal(payload[-10], int(FIELD_TTL_VERSION), "version of the payload")
        for preamble in ("yes", "no"):
            one.call("CONFIG", "SET", "aof-use-rdb-preamble", preamble)
            rewrites = info(one, "aof_rewrites")
            one.call("BGREWRITEAOF")
            eventually(lambda: info(one, "aof_rewrites") != rewrites, "the base is written")
            check_equal(info(one, "aof_last_bgrewrite_status"), "ok")
            head = open(aof_file(node, ".base."), "rb").read(9)
            check_equal(head == b"REDIS0012", preamble == "yes", "the base begins with %r" % head)
            node.kill()
            one = node.start().connect()
            check(one.call("HPTTL", "timed", "FIELDS", "1", "a")[0] > 0, "the deadline is lost")
        one.call("DEL", "timed")
        one.call("RESTORE", "timed", "0", payload)
        check(one.call("HPTTL", "timed", "FIELDS", "1", "a")[0] > 0, "the deadline is lost")


def test_snapshot_shows_one_instant():
    """Pairs of keys change together; a snapshot that mixed two instants would show them apart."""
    pairs = 3000
    with Node(OURS, RDB + ["--rdb-key-save-delay", "20"]) as node:
        one = node.start().connect()
        for i in range(pairs):
            one.call("MSET", "left:%d" % i, "0", "right:%d" % i, "0")
        one.call("RPUSH", "big", *["element %d" % i for i in range(50000)])
        ended = threading.Event()

        def write():
            mine, dice, number = node.connect(), random.Random(7), 0
            while not ended.is_set():
                number += 1
                i = dice.randrange(pairs)
                mine.pipeline([["MULTI"], ["SET", "left:%d" % i, str(number)], ["LPOP", "big"], ["RPUSH", "big", str(number)],
                               ["SET", "right:%d" % i, str(number)], ["SET", "new:%d" % number, "1"], ["EXEC"]])

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.2)
        instants = []
        try:
            for _ in range(3):
                before = one.call("DBSIZE")
                check_equal(one.call("BGSAVE"), b"Background saving started")
                instants.append((before, one.call("DBSIZE")))
                eventually(lambda: info(one, "rdb_bgsave_in_progress") == "0", "the save ends", timeout=60)
                check_equal(info(one, "rdb_last_bgsave_status"), "ok")
        finally:
            ended.set()
            writer.join()
        node.kill()
        two = node.start().connect()
        for i in range(pairs):
            left, right = two.call("MGET", "left:%d" % i, "right:%d" % i)
            check_equal(left, right, "pair %d" % i)
        check_equal(two.call("LLEN", "big"), 50000, "length of the list")
        low, high = instants[-1]
        check(low <= two.call("DBSIZE") <= high, "%d keys, expected %d to %d" % (two.call("DBSIZE"), low, high))


def test_flush_and_swap_during_a_snapshot():
    with Node(OURS, RDB + ["--rdb-key-save-delay", "50"]) as node:
        one = node.start().connect()
        one.call("DEBUG", "POPULATE", "5000")
        one.call("SELECT", "3")
        one.call("SET", "elsewhere", "1")
        one.call("SELECT", "0")
        digest = one.call("DEBUG", "DIGEST")
        one.call("BGSAVE")
        one.call("SWAPDB", "0", "3")
        for database in ("3", "0"):  # FLUSHALL would give the save up
            one.call("SELECT", database)
            one.call("FLUSHDB")
        one.call("DEBUG", "POPULATE", "100", "other")
        eventually(lambda: info(one, "rdb_bgsave_in_progress") == "0", "the save ends", timeout=30)
        node.kill()
        check_equal(node.start().connect().call("DEBUG", "DIGEST"), digest)


def aof_file(node, kind):
    folder = os.path.join(node.dir, "appendonlydir")
    return os.path.join(folder, sorted(name for name in os.listdir(folder) if kind in name)[-1])


def test_torn_tail_is_cut_and_reported():
    with Node(OURS, AOF) as node:
        one = node.start().connect()
        for i in range(10):
            one.call("SET", "key:%d" % i, "value")
        node.kill()
        path = aof_file(node, ".incr.")
        os.truncate(path, os.path.getsize(path) - 3)
        check_equal(node.start("--aof-load-truncated", "no", expect_exit=True), 1, "exit code")
        one = node.start().connect()
        check_equal(one.call("DBSIZE"), 9)
        check("Truncating the AOF" in node.log(), "the cut is not reported")
        one.call("SET", "more", "1")
        node.kill()
        check_equal(node.start().connect().call("DBSIZE"), 10)


def test_damage_in_the_middle_is_refused():
    with Node(OURS, AOF) as node:
        one = node.start().connect()
        for i in range(10):
            one.call("SET", "key:%d" % i, "value")
        node.kill()
        path = aof_file(node, ".incr.")
        with open(path, "r+b") as file:
            file.seek(100)
            file.write(b"#")
        check_equal(node.start(expect_exit=True), 1, "exit code")
        check(os.path.basename(path) in node.log() and "offset" in node.log(), "file and offset are not named")
        base = aof_file(node, ".base.")


def test_damaged_rdb_is_refused():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        fill(one)
        one.call("SAVE")
        node.kill()
        path = os.path.join(node.dir, "dump.rdb")
        whole = open(path, "rb").read()
        dice = random.Random(5)
        for _ in range(12):
            bad = bytearray(whole)
            at = dice.randrange(9, len(bad))
            bad[at] ^= 1 << dice.randrange(8)
            with open(path, "wb") as file:
                file.write(bytes(bad))
            check_equal(node.start(expect_exit=True), 1, "exit code with a flipped bit at %d" % at)
        with open(path, "wb") as file:
            file.write(whole[:len(whole) // 2])
        check_equal(node.start(expect_exit=True), 1, "exit code with half a file")


def test_full_disk_stops_writes_and_heals():
    with Node(OURS, AOF) as node:
        one = node.start(limit=60000).connect()
        refused = None
        for i in range(100):
            mine = node.connect()
            mine.send(resp.encode(["SET", "key:%d" % i, "x" * 2000]))
            try:
                reply = mine.read(0.3)
            except Exception:
                reply = None  # not acknowledged: the bytes are not on disk
            mine.close()
            if reply and reply.startswith(b"-MISCONF"):
                refused = reply
                break
        check(refused and b"Errors writing to the AOF file" in refused, "writes were not refused: %r" % (refused,))
        check_equal(one.call("GET", "key:0"), b"x" * 2000, "a read of a durable key")
        check_equal(info(one, "aof_last_write_status"), "err")
        resource.prlimit(node.child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        eventually(lambda: info(one, "aof_last_write_status") == "ok", "the log recovers", timeout=10)
        check_equal(one.call("SET", "healed", "1"), b"OK")
        size = one.call("DBSIZE")
        node.kill()
        check_equal(node.start().connect().call("DBSIZE"), size)


def test_failed_save_stops_writes_until_one_succeeds():
    with Node(OURS, ["--save", "3600 1"]) as node:
        one = node.start(limit=20000).connect()
        one.call("SET", "noise", os.urandom(50000))
        check(one.error("SAVE"), "SAVE succeeded on a full disk")
        check(one.error("SET", "a", "1").startswith("MISCONF Redis is configured to save RDB"), "no MISCONF")
        check_equal(info(one, "rdb_last_bgsave_status"), "err")
        check(not [name for name in os.listdir(node.dir) if name.startswith("temp-")], "a temporary file was left")
        resource.prlimit(node.child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        check_equal(one.call("SAVE"), b"OK")
        check_equal(one.call("SET", "a", "1"), b"OK")


def test_save_points_and_shutdown():
    with Node(OURS, ["--save", "1 5"]) as node:
        one = node.start().connect()
        for i in range(6):
            one.call("SET", "key:%d" % i, "v")
        eventually(lambda: info(one, "rdb_saves") not in ("0", None), "a save point fires", timeout=8)
        one.call("SET", "late", "v")
        node.stop("SAVE")
        check_equal(node.child.returncode, 0, "exit code")
        check_equal(node.start().connect().call("DBSIZE"), 7)
        one = node.connect()
        one.call("SET", "unsaved", "v")
        node.stop("NOSAVE")
        check_equal(node.start().connect().call("DBSIZE"), 7)
        node.connect().call("SET", "by signal", "v")
        node.child.terminate()
        check_equal(node.child.wait(20), 0, "exit code after SIGTERM")
        check_equal(node.start().connect().call("DBSIZE"), 8)


def test_shutdown_that_fails_leaves_all_at_work():
    """The final save cannot be written: the log goes on, and what waited its turn can be asked for again."""
    for policy in ("always", "everysec"):
        with Node(OURS, ["--save", "", "--appendonly", "yes", "--appendfsync", policy]) as node:
            one = node.start().connect()
            one.call("DEBUG", "POPULATE", "1000")
            one.call("SET", "before", "1")
            os.mkdir(os.path.join(node.dir, "dump.rdb"))  # it cannot be renamed to this
            one.call("CONFIG", "SET", "rdb-key-save-delay", "2000")
            one.call("BGSAVE")
            one.call("BGREWRITEAOF")
            one.call("CONFIG", "SET", "rdb-key-save-delay", "0")
            check("Errors trying to SHUTDOWN" in one.error("SHUTDOWN", "SAVE"), "it fails")
            check_equal(one.call("SET", "after", "1"), b"OK")
            check_equal(info(one, "aof_last_write_status"), "ok")
            for what, field in (("BGREWRITEAOF", "aof_rewrites"), ("BGSAVE", "rdb_saves")):
                if what == "BGSAVE":
                    os.rmdir(os.path.join(node.dir, "dump.rdb"))
                before = int(info(one, field))
                one.call(what)
                eventually(lambda: int(info(one, field)) > before, what + " is done", 20)
            check_equal(info(one, "aof_last_bgrewrite_status"), "ok")
            check_equal(one.call("SET", "last", "1"), b"OK")
            if policy == "everysec":
                eventually(lambda: info(one, "aof_pending_bio_fsync") == "0" and info(one, "aof_buffer_length") == "0", "it is written", 10)
            node.kill()
            one = node.start().connect()
            check_equal([one.call("GET", key) for key in ("before", "after", "last")], [b"1", b"1", b"1"])


def test_what_was_flushed_does_not_come_back():
    """One change is not enough for the save point, but all data are gone by it."""
    for binary in (OURS, REFERENCE):
        with Node(binary, ["--save", "3600 1000"]) as node:
            one = node.start().connect()
            one.call("SET", "k", "v")
            one.call("SAVE")
            one.call("FLUSHALL")
            path = os.path.join(node.dir, "dump.rdb")

            def empty():
                with open(path, "rb") as file:
                    return b"\x01k\x01v" not in file.read()

            eventually(empty, "the file is empty, too")
            node.kill()
            check_equal(node.start().connect().call("DBSIZE"), 0, binary)


def test_a_base_of_commands_begins_with_its_time():
    for binary in (OURS, REFERENCE):
        with Node(binary, ["--save", "", "--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--aof-timestamp-enabled", "yes"]) as node:
            one = node.start().connect()
            one.call("SET", "k", "v")
            before = info(one, "aof_rewrites")
            one.call("BGREWRITEAOF")
            eventually(lambda: info(one, "aof_rewrites") != before and info(one, "aof_rewrite_in_progress") == "0", "it is rewritten")
            with open(aof_file(node, "base"), "rb") as file:
                check(file.read().startswith(b"#TS:"), binary)
            node.kill()
            check_equal(node.start().connect().call("GET", "k"), b"v", binary)


def test_a_flush_gives_up_the_save_under_way():
    """It would bring back what is gone; and it is no failure of saving."""
    for binary in (OURS, REFERENCE):
        with Node(binary, ["--save", "", "--rdb-key-save-delay", "1000"]) as node:
            one = node.start().connect()
            one.call("DEBUG", "POPULATE", "5000")
            one.call("BGSAVE")
            check_equal(info(one, "rdb_bgsave_in_progress"), "1", binary)
            one.call("FLUSHALL")
            eventually(lambda: info(one, "rdb_bgsave_in_progress") == "0", "it ends at once", 2)
            check(not os.path.exists(os.path.join(node.dir, "dump.rdb")), binary)
            check_equal(info(one, "rdb_last_bgsave_status"), "ok", binary)
            check_equal(one.call("SET", "x", "y"), b"OK")


def test_loading_answers():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        one.call("DEBUG", "POPULATE", "400000", "key", "100")
        one.call("SAVE")
        node.kill()
        node.port = None
        child = threading.Thread(target=node.start)
        child.start()
        seen = set()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and child.is_alive():
            try:
                reply = resp.Connection(node.port).raw("GET", "key:1")
                seen.add(reply[:8])
            except (OSError, TypeError, Exception):
                pass
        child.join()
        check_equal(node.connect().call("DBSIZE"), 400000)
        check(b"-LOADING" in seen or node.log().count("DB loaded"), "no LOADING reply")


def test_deadlines_that_passed_are_kept_until_the_log_is_replayed():
    """What expires by the clock of today may have been kept by a command further on."""
    lines = [["SELECT", "0"], ["SET", "kept", "v", "PXAT", "1600000000000"], ["SET", "gone", "v", "PXAT", "1600000000000"]]
    lines += [["SET", "filler", "x" * 10000]] * 1000 + [["PERSIST", "kept"]]
    for binary in (OURS, REFERENCE):
        with Node(binary, ["--save", "", "--appendonly", "yes"]) as node:
            folder = os.path.join(node.dir, "appendonlydir")
            os.mkdir(folder)
            with open(os.path.join(folder, "appendonly.aof.1.incr.aof"), "wb") as log:
                log.write(b"".join(resp.encode(line) for line in lines))
            with open(os.path.join(folder, "appendonly.aof.manifest"), "w", encoding="ascii") as manifest:
                manifest.write("file appendonly.aof.1.incr.aof seq 1 type i\n")
            one = node.start().connect()
            check_equal(one.call("MGET", "kept", "gone"), [b"v", None], binary)


def test_appendonly_is_switched_while_running():
    with Node(OURS, RDB + ["--appendfsync", "always"]) as node:
        one = node.start().connect()
        one.call("SET", "before", "1")
        one.call("BGREWRITEAOF")  # also without a log
        eventually(lambda: info(one, "aof_rewrites") == "1", "the base is written")
        check_equal(info(one, "aof_last_bgrewrite_status"), "ok")
        for value in ("2", "3"):
            rewrites = info(one, "aof_rewrites")
            one.call("CONFIG", "SET", "appendonly", "yes")
            one.call("SET", "while it is written", value)
            eventually(lambda: info(one, "aof_rewrites") != rewrites and info(one, "aof_enabled") == "1", "the base is written")
            check_equal(info(one, "aof_last_bgrewrite_status"), "ok")
            one.call("SET", "after", value)
            node.kill()
            one = node.start("--appendonly", "yes").connect()
            check_equal(one.call("MGET", "before", "while it is written", "after"), [b"1", value.encode(), value.encode()])
            one.call("CONFIG", "SET", "appendonly", "no")
            check_equal(info(one, "aof_enabled"), "0")
            one.call("SET", "after", "not in the log")
        # On, off and on again, faster than files are opened and closed.
        for switch in ("yes", "no", "yes", "no", "yes"):
            one.pipeline([["CONFIG", "SET", "appendonly", switch], ["SET", "last", switch]])
        eventually(lambda: info(one, "aof_enabled") == "1" and info(one, "aof_rewrite_in_progress") == "0" and info(one, "aof_rewrite_scheduled") == "0", "the log stands")
        one.call("SET", "after", "4")
        node.kill()
        one = node.start("--appendonly", "yes").connect()
        check_equal(one.call("MGET", "last", "after"), [b"yes", b"4"])


def test_log_words_that_tools_wait_for():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        one.call("HSET", "hash", "field", "value")
        one.call("SAVE")
        node.stop()
        path = os.path.join(node.dir, "dump.rdb")
        whole = open(path, "rb").read()
        node.start().kill()
        check("Done loading RDB, keys loaded: 1, keys expired: 0." in node.log() and "DB loaded from disk" in node.log(), node.log())
        damaged = bytearray(whole)
        damaged[-1] ^= 1
        ziplist = b"REDIS0010\xfe\x00\x0d\x01h\x05abcde\xff" + bytes(8)
        for data, words in ((bytes(damaged), ("Wrong RDB checksum expected:", "RDB CRC error")),
                            (whole[:-12], ("Short read or OOM loading DB", "Unexpected EOF reading RDB file")),
                            (b"REDIS0099" + whole[9:], ("Can't handle RDB format version 99",)),
                            (ziplist, ("Hash ziplist integrity check failed", 'key "h"'))):
            with open(path, "wb") as file:
                file.write(data)
            check_equal(node.start(expect_exit=True), 1, "exit code")
            for word in (*words, "Internal error in RDB reading offset ", "Terminating server after rdb file reading failure."):
                check(word in node.log(), "%r is missing in:\n%s" % (word, node.log()))
    with Node(OURS, AOF) as node:
        one = node.start().connect()
        rewrites = info(one, "aof_rewrites")
        one.call("BGREWRITEAOF")
        eventually(lambda: info(one, "aof_rewrites") != rewrites, "the rewrite ends")
        one.call("SET", "a", "1")
        node.kill()
        path = aof_file(node, ".incr.")
        whole = open(path, "rb").read()
        node.start().kill()
        for word in ("Reading RDB base file on AOF loading...", "DB loaded from base file appendonly.aof.2.base.rdb",
                     "DB loaded from incr file", "DB loaded from append only file"):
            check(word in node.log(), "%r is missing in:\n%s" % (word, node.log()))
        multi = b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n"
        for data, words in ((whole + b"*1\r\n$3\r\nbla\r\n", ("Unknown command 'bla' reading the append only file",)),
                            (whole + b"hello", ("Bad file format reading the append only file",)),
                            (whole[:-2], ("Unexpected end of file reading the append only file", "--fix"))):
            with open(path, "wb") as file:
                file.write(data)
            check_equal(node.start("--aof-load-truncated", "no", expect_exit=True), 1, "exit code")
            for word in words:
                check(word in node.log(), "%r is missing in:\n%s" % (word, node.log()))
        with open(path, "wb") as file:
            file.write(whole + multi)
        node.start().kill()
        for word in ("Revert incomplete MULTI/EXEC transaction in AOF file", "!!! Truncating the AOF %s at offset %d !!!" % (
                os.path.basename(path), len(whole)), "loaded anyway because aof-load-truncated is enabled"):
            check(word in node.log(), "%r is missing in:\n%s" % (word, node.log()))


def test_functions_are_kept():
    library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
    with Node(REFERENCE, RDB) as one, Node(OURS, RDB + ["--rdb-version", "10"]) as two, Node(REFERENCE, RDB) as three:
        giver = one.start().connect()
        giver.call("FUNCTION", "LOAD", library)
        giver.call("SET", "key", "value")
        giver.call("SAVE")
        copy(one.dir, two.dir)
        keeper = two.start().connect()
        check_equal(keeper.call("SAVE"), b"OK")
        check_equal(keeper.call("DEBUG", "RELOAD"), b"OK")
        keeper.call("CONFIG", "SET", "appendonly", "yes")
        eventually(lambda: info(keeper, "aof_rewrites") == "1", "the first base is written")
        copy(two.dir, three.dir)
        for how in ("no", "yes"):
            taker = three.start("--appendonly", how).connect()
            check_equal(taker.call("FCALL", "f", "0"), 1, "with appendonly " + how)
            check_equal(taker.call("GET", "key"), b"value")
            three.kill()


def test_loading_can_be_slowed_down():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        one.call("DEBUG", "POPULATE", "2000", "key", "100")
        one.call("SAVE")
        node.stop()
        started = time.monotonic()
        child = threading.Thread(target=lambda: node.start("--key-load-delay", "500", *SEEN_EARLY))
        child.start()
        percents = set()
        while child.is_alive():
            try:
                slow = node.connect()
                percents.add(int(float(info(slow, "loading_loaded_perc") or 0)))
                if len(percents) > 3:
                    check(slow.error("GET", "key:1").startswith("LOADING"), "commands run while loading")
                    break
            except OSError:
                pass
            time.sleep(0.02)
        slow.call("CONFIG", "SET", "key-load-delay", "0")
        hurried = time.monotonic()
        child.join()
        check(len(percents) > 3, "progress seen: %r" % percents)
        check(hurried - started < 5 and time.monotonic() - hurried < 3, "the delay did not end with the setting")
        check_equal(node.connect().call("DBSIZE"), 2000)
        node.kill()
        started = time.monotonic()
        node.start("--key-load-delay", "300", *SEEN_EARLY)
        check(0.6 <= time.monotonic() - started < 10, "2000 keys took %.2f s" % (time.monotonic() - started))


def test_an_edit_waits_for_a_large_value():
    """The snapshot holds the old value, the client gets its reply, and others are served meanwhile."""
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        for i in range(0, 300000, 20000):
            one.call("RPUSH", "list", *["%d:" % j + "v" * 200 for j in range(i, i + 20000)])
        one.call("SET", "key", "before")
        digest = one.call("DEBUG", "DIGEST-VALUE", "list")
        other = node.connect()
        worst = 0
        one.call("BGSAVE")
        one.send(resp.encode(["RPUSH", "list", "late"]))
        deadline = time.monotonic() + 20
        while info(other, "rdb_bgsave_in_progress") == "1":
            check(time.monotonic() < deadline, "the snapshot ends")
            begin = time.monotonic()
            other.call("SET", "key", "after")
            worst = max(worst, time.monotonic() - begin)
        check_equal(one.read(timeout=10), b":300001\r\n")
        print("     worst SET beside it: %.1f ms" % (worst * 1000))
        node.kill()
        one = node.start().connect()
        check_equal(one.call("LLEN", "list"), 300000)
        check_equal(one.call("DEBUG", "DIGEST-VALUE", "list"), digest)
        # A transaction cannot wait: the value is written at once.
        one.call("BGSAVE")
        one.call("MULTI")
        one.call("RPUSH", "list", "in a transaction")
        check_equal(one.call("EXEC"), [300001])
        eventually(lambda: info(one, "rdb_bgsave_in_progress") == "0", "the snapshot ends")
        node.kill()
        check_equal(node.start().connect().call("DEBUG", "DIGEST-VALUE", "list"), digest)


def test_replication_id_changes_on_request():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        before = info(one, "master_replid")
        check(len(before) == 40 and before != info(one, "run_id"), before)
        check_equal(one.call("DEBUG", "CHANGE-REPL-ID"), b"OK")
        check(len(info(one, "master_replid")) == 40 and info(one, "master_replid") != before, "the id is the same")
        check("Changing replication IDs after receiving change-repl-id" in node.log(), node.log())


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run(name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
