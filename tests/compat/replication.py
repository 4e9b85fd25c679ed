#!/usr/bin/python3
"""Replication with redis-server in both directions, with itself, and in chains: full and partial
synchronization under load, links cut at random, restarts, promotion, FAILOVER, WAIT.

  replication.py [WORD...]                 tests whose names hold a word
  replication.py resync [--keys N] [--seed S]
                                           full resyncs of N keys (2,000,000) in both directions, each
                                           interrupted ten times at random: minutes, part of `make torture`
"""
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import resp
from link_proxy import LinkProxy
from persistence import Node, compare, contents, fill, info
from server import OURS, REFERENCE, Results, check, check_equal, eventually

BASE = ["--save", "", "--repl-diskless-sync-delay", "0", "--repl-timeout", "60", "--repl-ping-replica-period", "60"]
TOGETHER = 4  # tests at a time: they wait for servers, most of the time
PAIRS = {"redis_to_ours": (REFERENCE, OURS), "ours_to_redis": (OURS, REFERENCE), "ours_to_ours": (OURS, OURS)}


class Writer(threading.Thread):
    """Random commands of all types until stopped, on a connection of its own."""

    def __init__(self, port, seed, pause=0.0, field_deadlines=False):
        super().__init__(daemon=True)
        self.field_deadlines = field_deadlines
        self.dice, self.pause, self.ended, self.count = random.Random(seed), pause, False, 0
        self.connection = resp.Connection(port)
        self.error = None

    def commands(self):
        dice = self.dice
        n, key = dice.randrange(1000), lambda kind: "%s:%d" % (kind, dice.randrange(200))
        text = "v%d" % n * dice.choice([1, 1, 5, 200])
        if self.field_deadlines and dice.randrange(10) == 0:
            return [["HSETEX", key("h"), "PX", str(dice.randrange(20, 90000)), "FIELDS", "1", "d%d" % n, text],
                    ["HEXPIRE", key("h"), "100", "FIELDS", "2", "g", "f%d" % n], ["HPERSIST", key("h"), "FIELDS", "1", "d%d" % (n // 3)]]
        return dice.choice([
            lambda: [["SET", key("s"), text]],
            lambda: [["SET", key("s"), text, "PX", str(dice.randrange(50, 60000))]],
            lambda: [["SETEX", key("s"), "50", text]],
            lambda: [["INCRBY", key("n"), str(n)], ["INCRBYFLOAT", key("f"), "0.5"]],
            lambda: [["APPEND", key("a"), text], ["SETRANGE", key("a"), "3", "x"]],
            lambda: [["RPUSH", key("l"), text, "b", "c"], ["LPOP", key("l")], ["LMOVE", key("l"), key("l"), "LEFT", "RIGHT"]],
            lambda: [["SADD", key("t"), text, str(n)], ["SPOP", key("t")], ["SADD", key("i"), str(n)]],
            lambda: [["ZADD", key("z"), str(n), text, "1", "m%d" % n], ["ZINCRBY", key("z"), "2.5", "m%d" % n], ["ZPOPMIN", key("z")]],
            lambda: [["HSET", key("h"), "f%d" % n, text, "g", "1"], ["HDEL", key("h"), "f%d" % (n // 2)], ["HINCRBY", key("h"), "g", "3"]],
            lambda: (lambda name: [["XGROUP", "CREATE", name, "readers", "0", "MKSTREAM"],
                                   ["XADD", name, "MAXLEN", "~", "50", "*", "field", text],
                                   ["XREADGROUP", "GROUP", "readers", "ann", "COUNT", "1", "STREAMS", name, ">"]])(key("x")),
            lambda: [["PFADD", key("p"), text], ["SETBIT", key("b"), str(n), "1"]],
            lambda: [["EXPIRE", key("h"), str(dice.randrange(1, 100))], ["PEXPIRE", key("l"), str(dice.randrange(20, 50000))],
                     ["PERSIST", key("h")], ["GETEX", key("s"), "EX", "100"]],
            lambda: [["MULTI"], ["SET", key("s"), text], ["SELECT", "3"], ["INCR", key("n")], ["SELECT", "0"], ["DEL", key("l")], ["EXEC"]],
            lambda: [["SELECT", "3"], ["SET", key("s"), text], ["RPUSH", key("l"), text], ["SELECT", "0"]],
            lambda: [["DEL", key("z"), key("s")], ["UNLINK", key("t")], ["RENAME", key("h"), key("h")], ["COPY", key("z"), key("z"), "REPLACE"]],
            lambda: [["GETDEL", key("s")], ["SINTERSTORE", key("t"), key("t"), key("t")], ["SORT", key("i"), "STORE", key("l")]],
        ])()

    def run(self):
        try:
            while not self.ended:
                batch = [command for _ in range(20) for command in self.commands()]
                self.connection.pipeline(batch)
                self.count += len(batch)
                if self.pause:
                    time.sleep(self.pause)
        except Exception as error:  # a server that was ended on purpose
            self.error = error

    def stop(self):
        self.ended = True
        self.join(20)
        self.connection.close()


def offset_of(connection):
    return int(info(connection, "master_repl_offset"))


def linked(replica):
    return info(replica, "master_link_status") == "up"


def wait_linked(replica, timeout=30):
    eventually(lambda: linked(replica), "the link is up", timeout, 0.02)


def wait_equal(primary, replica, timeout=30):
    wait_linked(replica, timeout)
    eventually(lambda: offset_of(replica) == offset_of(primary), "the replica has everything", timeout, 0.02)


def same_data(primary, replica):
    """Key by key, once nothing changes any more."""
    both_ours = all(info(one, "server_name") == "quoll" for one in (primary, replica))
    one_digest = lambda one: one.call("DEBUG", "DIGEST")
    deadline = time.monotonic() + 30
    while True:
        wait_equal(primary, replica)
        before = offset_of(primary)
        one, two = (None, None) if both_ours else (contents(primary), contents(replica))
        if both_ours and one_digest(primary) == one_digest(replica):
            return
        # Keys may expire between the two looks.
        if not both_ours and offset_of(primary) == before:
            try:
                compare(one, two)
                return
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
        check(time.monotonic() < deadline, "digests or offsets never came to rest")
        time.sleep(0.3)


def follow(replica, port):
    check_equal(replica.call("REPLICAOF", "127.0.0.1", str(port)), b"OK")


def settle(primary):
    """No deadline is near: what could expire during the comparison is persisted."""
    for db in ("0", "3"):
        primary.call("SELECT", db)
        keys = primary.call("KEYS", "*")
        primary.pipeline([["PING"]] + [["PERSIST", key] for key in keys])
    primary.call("SELECT", "0")


# --- full and partial synchronization ---

def full_sync(pair, primary_args=(), replica_args=()):
    with Node(pair[0], BASE + list(primary_args)) as one, Node(pair[1], BASE + list(replica_args)) as two:
        primary = one.start().connect()
        fill(primary, brief=True)
        replica = two.start().connect()
        replica.call("SET", "old", "data of its own")
        writer = Writer(one.port, 1, 0.001, pair == (OURS, OURS))
        writer.start()
        follow(replica, one.port)
        wait_linked(replica)
        time.sleep(0.5)
        writer.stop()
        check(writer.error is None and writer.count > 100, "the writer ran: %r" % writer.error)
        settle(primary)
        same_data(primary, replica)
        check_equal(info(primary, "sync_full"), "1", "full synchronizations")
        check_equal(replica.call("GET", "old"), None)


def partial_sync(pair, seed, cuts=5):
    """The link is cut at random; every time the replica goes on where it was."""
    dice = random.Random(seed)
    backlog = ["--repl-backlog-size", "64mb"]
    with Node(pair[0], BASE + backlog) as one, Node(pair[1], BASE + backlog) as two:
        primary = one.start().connect()
        fill(primary, brief=True)
        proxy = LinkProxy(one.port)
        replica = two.start().connect()
        follow(replica, proxy.port)
        wait_linked(replica)
        writer = Writer(one.port, seed, 0.002, pair == (OURS, OURS))
        writer.start()
        for done in range(1, cuts + 1):
            time.sleep(dice.uniform(0.01, 0.4))
            proxy.cut()
            eventually(lambda: info(primary, "sync_partial_ok") == str(done), "the replica is back", 20)
            wait_linked(replica)
        writer.stop()
        settle(primary)
        same_data(primary, replica)
        check_equal(info(primary, "sync_full"), "1", "full synchronizations")
        check_equal(info(primary, "sync_partial_ok"), str(cuts), "partial synchronizations")
        proxy.close()


def broken_full_sync(pair, seed):
    """Full synchronizations that break in the middle, then one that comes through."""
    dice = random.Random(seed)
    with Node(pair[0], BASE + ["--rdbcompression", "no"]) as one, Node(pair[1], BASE) as two:
        primary = one.start().connect()
        primary.pipeline([["SET", "key:%d" % i, "value %d " % i * 400] for i in range(3000)])
        fill(primary, brief=True)
        proxy = LinkProxy(one.port)
        replica = two.start().connect()
        before = proxy.cuts
        proxy.cut_after = dice.randrange(100000, 5000000)
        follow(replica, proxy.port)
        for _ in range(3):
            eventually(lambda: proxy.cuts > before, "the link was cut", 20)
            before = proxy.cuts
            proxy.cut_after = dice.randrange(1000, 5000000)
        proxy.cut_after = None
        same_data(primary, replica)
        check(int(info(primary, "sync_full")) >= 4, "several were begun")
        proxy.close()


def for_each_pair(function, *more):
    """One test per pair of servers."""
    def make(name, pair):
        def run():
            function(pair, *more)
        run.__name__ = "test_%s_%s" % (function.__name__, name)
        return run
    for name, pair in PAIRS.items():
        run = make(name, pair)
        globals()[run.__name__] = run


for_each_pair(full_sync)
for_each_pair(partial_sync, 7)
for_each_pair(broken_full_sync, 11)


def test_full_sync_with_a_length_from_redis():
    full_sync((REFERENCE, OURS), primary_args=["--repl-diskless-sync", "no"])


def test_full_sync_with_a_length_to_redis():
    full_sync((OURS, REFERENCE), primary_args=["--repl-diskless-sync", "no"])


def test_full_sync_into_a_second_store():
    full_sync((REFERENCE, OURS), replica_args=["--repl-diskless-load", "swapdb"])


def test_full_sync_with_redis_loading_from_the_socket():
    full_sync((OURS, REFERENCE), replica_args=["--repl-diskless-load", "swapdb"])


def test_full_sync_to_a_replica_with_an_append_only_file():
    with Node(REFERENCE, BASE) as one, Node(OURS, BASE + ["--appendonly", "yes"]) as two:
        primary = one.start().connect()
        fill(primary, brief=True)
        replica = two.start().connect()
        replica.call("SET", "old", "1")
        follow(replica, one.port)
        wait_equal(primary, replica)
        primary.call("SET", "late", "1")
        eventually(lambda: info(replica, "aof_enabled") == "1" and info(replica, "aof_rewrite_in_progress") == "0",
                   "the new log stands", 20)
        wait_equal(primary, replica)
        two.stop()
        replica = two.start().connect()
        compare(contents(primary), contents(replica))


# --- restarts ---

def test_replica_restarts_and_goes_on():
    for pair in PAIRS.values():
        with Node(pair[0], BASE) as one, Node(pair[1], BASE) as two:
            primary = one.start().connect()
            fill(primary, brief=True)
            replica = two.start().connect()
            follow(replica, one.port)
            wait_equal(primary, replica)
            two.stop("SAVE")
            primary.call("SET", "meanwhile", "1")
            primary.call("SELECT", "3")
            primary.call("SET", "there", "1")
            replica = two.start("--replicaof", "127.0.0.1 %d" % one.port).connect()
            primary.call("SELECT", "0")
            same_data(primary, replica)
            check_equal((info(primary, "sync_full"), info(primary, "sync_partial_ok")), ("1", "1"), "synchronizations of %r" % (pair,))


def test_primary_restarts_and_is_followed_on():
    with Node(OURS, BASE) as one, Node(REFERENCE, BASE) as two:
        primary = one.start().connect()
        fill(primary, brief=True)
        replica = two.start().connect()
        port = one.port
        follow(replica, port)
        wait_equal(primary, replica)
        primary.call("SET", "before", "1")
        primary.call("SET", "short", "1", "PX", "100")
        wait_equal(primary, replica)
        primary.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        time.sleep(0.1)
        one.stop("SAVE")
        primary = one.start(port=port).connect()
        check_equal(info(primary, "rdb_last_load_keys_expired"), "1")
        primary.call("SET", "after", "1")
        same_data(primary, replica)
        check_equal(replica.call("DBSIZE"), primary.call("DBSIZE"), "the DEL of what had expired came, too")
        check_equal((info(primary, "sync_full"), info(primary, "sync_partial_ok")), ("0", "1"), "synchronizations")


# --- chains and parts ---

def chain(*binaries):
    """Every server follows the one before it; then the second loses its link."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Node(binary, BASE)) for binary in binaries]
        connections = [node.start().connect() for node in nodes]
        fill(connections[0], brief=True)
        proxy = LinkProxy(nodes[0].port)
        follow(connections[1], proxy.port)
        wait_linked(connections[1])
        for i in range(2, len(nodes)):
            follow(connections[i], nodes[i - 1].port)
            wait_linked(connections[i])
        writer = Writer(nodes[0].port, 3, 0.002)
        writer.start()
        time.sleep(0.3)
        proxy.cut()
        time.sleep(0.3)
        writer.stop()
        settle(connections[0])
        for connection in connections[1:]:
            same_data(connections[0], connection)
        check_equal({info(one, "master_replid") for one in connections}, {info(connections[0], "master_replid")})
        proxy.close()


def test_chain_from_redis():
    chain(REFERENCE, OURS, REFERENCE, OURS)


def test_chain_of_ours_to_redis():
    chain(OURS, OURS, REFERENCE)


def test_promotion_keeps_the_others():
    for binary in (OURS, REFERENCE):
        with Node(REFERENCE, BASE) as a, Node(OURS, BASE) as b, Node(binary, BASE) as c:
            primary, next_one, other = [node.start().connect() for node in (a, b, c)]
            fill(primary, brief=True)
            follow(next_one, a.port)
            follow(other, a.port)
            wait_equal(primary, next_one)
            wait_equal(primary, other)
            old_id = info(primary, "master_replid")
            check_equal(next_one.call("REPLICAOF", "NO", "ONE"), b"OK")
            check_equal(info(next_one, "role"), "master")
            check_equal(info(next_one, "master_replid2"), old_id)
            next_one.call("SELECT", "3")
            next_one.call("SET", "new", "primary")
            next_one.call("SELECT", "0")
            follow(other, b.port)
            same_data(next_one, other)
            check_equal((info(next_one, "sync_full"), info(next_one, "sync_partial_ok")), ("0", "1"))
            follow(primary, b.port)
            same_data(next_one, primary)


def test_failover():
    for target in (REFERENCE, OURS):
        with Node(OURS, BASE) as a, Node(target, BASE) as b:
            primary, replica = a.start().connect(), b.start().connect()
            fill(primary, brief=True)
            follow(replica, a.port)
            wait_equal(primary, replica)
            check_equal(primary.error("FAILOVER", "ABORT"), "ERR No failover in progress.")
            check_equal(primary.call("FAILOVER", "TO", "127.0.0.1", str(b.port), "TIMEOUT", "10000"), b"OK")
            eventually(lambda: info(primary, "role") == "slave" and linked(primary), "the parts are changed", 20)
            check_equal(info(primary, "master_failover_state"), "no-failover")
            check_equal(info(replica, "role"), "master")
            replica.call("SET", "written", "there")
            same_data(replica, primary)
            check_equal(info(replica, "sync_full"), "0", "full synchronizations")
    with Node(REFERENCE, BASE) as a, Node(OURS, BASE) as b:
        primary, replica = a.start().connect(), b.start().connect()
        follow(replica, a.port)
        wait_equal(primary, replica)
        check_equal(primary.call("FAILOVER"), b"OK")
        eventually(lambda: info(replica, "role") == "master" and linked(primary), "ours took over", 20)
        replica.call("SET", "written", "there")
        same_data(replica, primary)


def test_failover_that_does_not_come_about():
    with Node(OURS, BASE) as a, Node(REFERENCE, BASE) as b:
        primary, replica = a.start().connect(), b.start().connect()
        follow(replica, a.port)
        wait_equal(primary, replica)
        b.child.send_signal(signal.SIGSTOP)
        primary.call("SET", "key", "1")
        for command in (["FAILOVER", "TIMEOUT", "300"], ["FAILOVER", "TO", "127.0.0.1", str(b.port)]):
            check_equal(primary.call(*command), b"OK")
            check_equal(info(primary, "master_failover_state"), "waiting-for-sync")
            check_equal(primary.error("FAILOVER"), "ERR FAILOVER already in progress.")
            if "TO" in command:
                check_equal(primary.call("FAILOVER", "ABORT"), b"OK")
            eventually(lambda: info(primary, "master_failover_state") == "no-failover", "it is given up", 5)
            check_equal(primary.call("SET", "key", "2"), b"OK")
        check_equal(info(primary, "role"), "master")
        # FORCE: the other one does not answer, so this one stays a replica that tries, until it is aborted.
        check_equal(primary.call("FAILOVER", "TO", "127.0.0.1", str(b.port), "FORCE", "TIMEOUT", "200"), b"OK")
        eventually(lambda: info(primary, "master_failover_state") == "failover-in-progress", "it is forced", 5)
        check_equal(primary.call("FAILOVER", "ABORT"), b"OK")
        check_equal(info(primary, "role"), "master")
        check_equal(primary.call("SET", "key", "3"), b"OK")
        b.child.send_signal(signal.SIGCONT)
        same_data(primary, replica)


def test_functions_and_scripts():
    code = "#!lua name=lib\nredis.register_function('put', function(keys, args) return redis.call('set', keys[1], args[1]) end)"
    for pair in PAIRS.values():
        with Node(pair[0], BASE) as one, Node(pair[1], BASE) as two:
            primary, replica = one.start().connect(), two.start().connect()
            primary.call("FUNCTION", "LOAD", code)
            replica.call("FUNCTION", "LOAD", code.replace("lib", "old").replace("put", "gone"))
            follow(replica, one.port)
            wait_linked(replica)
            primary.call("FUNCTION", "LOAD", code.replace("lib", "late").replace("'put'", "'later'"))
            primary.call("FCALL", "put", "1", "a", "1")
            primary.call("FCALL", "later", "1", "b", "2")
            primary.call("EVAL", "redis.call('set', 'c', 3) redis.call('incr', 'c') return redis.call('publish', 'x', 'y')", "0")
            wait_equal(primary, replica)
            check_equal(replica.call("MGET", "a", "b", "c"), [b"1", b"2", b"4"])
            libraries = lambda one: sorted(library[1] for library in one.call("FUNCTION", "LIST"))
            check_equal(libraries(replica), [b"late", b"lib"], "libraries")


# --- what clients see ---

def test_a_replica_refuses_writes():
    with Node(REFERENCE, BASE) as a, Node(OURS, BASE) as b, Node(REFERENCE, BASE) as c:
        primary, ours, theirs = [node.start().connect() for node in (a, b, c)]
        primary.call("SET", "key", "1")
        for replica in (ours, theirs):
            follow(replica, a.port)
            wait_equal(primary, replica)
        for command in (["SET", "key", "2"], ["DEL", "none"], ["GET", "key"], ["PING"], ["WAIT", "1", "10"], ["ROLE"],
                        ["MULTI"], ["INCR", "key"], ["GET", "key"], ["EXEC"], ["PUBLISH", "c", "m"], ["XREAD", "STREAMS", "none", "0"],
                        ["FAILOVER"], ["REPLICAOF", "127.0.0.1", str(a.port)], ["REPLCONF", "odd"], ["REPLCONF", "what", "1"],
                        ["ECHO", "x"], ["EVAL", "return redis.call('set', 'a', 1)", "0"], ["EVAL", "return redis.call('get', 'key')", "0"],
                        ["EVAL", "#!lua\nreturn 1", "0"], ["EVAL", "#!lua flags=no-writes\nreturn redis.call('get', 'key')", "0"]):
            check_equal(ours.raw(*command), theirs.raw(*command), "reply to %r" % command)
        a.kill()
        for replica in (ours, theirs):
            eventually(lambda: not linked(replica), "the loss is seen", 15)
            replica.call("CONFIG", "SET", "replica-serve-stale-data", "no")
        for command in (["GET", "key"], ["SET", "key", "1"], ["PING"], ["INFO", "nothing"], ["CONFIG", "GET", "save"], ["EVAL", "return 1", "0"],
                        ["EVAL", "#!lua flags=no-writes\nreturn 1", "0"], ["EVAL", "#!lua flags=no-writes,allow-stale\nreturn 1", "0"]):
            check_equal(ours.raw(*command), theirs.raw(*command), "stale reply to %r" % command)


def test_expired_keys_go_by_the_primary():
    with Node(REFERENCE, BASE) as a, Node(OURS, BASE) as b:
        primary, replica = a.start().connect(), b.start().connect()
        follow(replica, a.port)
        wait_linked(replica)
        primary.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        primary.call("SET", "short", "1", "PX", "100")
        wait_equal(primary, replica)
        time.sleep(0.2)
        check_equal(replica.call("GET", "short"), None)
        check_equal(replica.call("DBSIZE"), 1, "the key is still held")
        check_equal(primary.call("GET", "short"), None)
        eventually(lambda: replica.call("DBSIZE") == 0, "the primary's DEL came", 10)


def test_keys_of_a_writable_replica_expire():
    """Its primary does not know of them; what the primary has goes when the primary says so."""
    for binary in (OURS, REFERENCE):
        with Node(REFERENCE, BASE) as a, Node(binary, BASE + ["--replica-read-only", "no"]) as b:
            primary, replica = a.start().connect(), b.start().connect()
            follow(replica, a.port)
            wait_linked(replica)
            primary.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
            primary.call("SET", "theirs", "1", "PX", "50")
            wait_equal(primary, replica)
            for log in ("no", "yes"):
                replica.call("CONFIG", "SET", "appendonly", log)
                replica.call("SET", "short", "1", "PX", "50")
                replica.call("SET", "longer", "1", "PX", "50")
                replica.call("PERSIST", "longer")
                replica.call("EVAL", "redis.call('HSET', KEYS[1], 'f', 'v') redis.call('PEXPIRE', KEYS[1], 50)", "1", "scripted")
                eventually(lambda: replica.call("DBSIZE") == 2, "short and scripted go", 10)
                check_equal(replica.call("GET", "longer"), b"1")
            if binary == OURS:
                for _ in range(10):
                    replica.call("SET", "waits", "1", "EX", "100")
                check_equal(info(replica, "slave_expires_tracked_keys"), "1", "it is remembered once")
                replica.call("PEXPIRE", "waits", "50")
                eventually(lambda: replica.call("DBSIZE") == 2, "its deadline came nearer", 10)
                check_equal(info(replica, "slave_expires_tracked_keys"), "0")
            replica.call("CONFIG", "SET", "replica-read-only", "yes")
            check_equal(replica.call("DBSIZE"), 2, "what the primary has is still held")


def test_a_large_value_does_not_stay_in_buffers():
    with Node(OURS, BASE) as a, Node(OURS, BASE) as b:
        primary, replica = a.start().connect(), b.start().connect()
        follow(replica, a.port)
        wait_linked(replica)
        primary.call("SET", "large", b"x" * (32 << 20))
        primary.call("SET", "small", "x")
        wait_equal(primary, replica)
        primary.call("DEL", "large")
        wait_equal(primary, replica)
        used = lambda one: int(info(one, "used_memory")) - int(info(one, "mem_replication_backlog"))
        eventually(lambda: used(replica) < used(primary) + (4 << 20), "no room for it is kept", 10)


def test_messages_and_blocked_readers():
    with Node(OURS, BASE) as a, Node(REFERENCE, BASE) as b, Node(OURS, BASE) as c:
        primary, theirs, ours = [node.start().connect() for node in (a, b, c)]
        follow(theirs, a.port)
        follow(ours, b.port)
        wait_linked(theirs)
        wait_linked(ours)
        listeners = []
        for node in (b, c):
            listener = node.connect()
            listener.call("SUBSCRIBE", "news")
            listener.call("SSUBSCRIBE", "shard")
            listeners.append(listener)
        caching = c.connect()
        caching.raw("HELLO", "3")
        caching.call("CLIENT", "TRACKING", "on")
        caching.call("MGET", "a", "none")
        reader = c.connect()
        reader.send(resp.encode(["XREAD", "BLOCK", "5000", "STREAMS", "events", "$"]))
        time.sleep(0.2)
        primary.call("PUBLISH", "news", "plain")
        primary.pipeline([["MULTI"], ["SET", "a", "1"], ["PUBLISH", "news", "inside"], ["EXEC"]])
        primary.call("XADD", "events", "1-1", "f", "v")
        for listener in listeners:
            for text in (b"plain", b"inside"):
                check(text in listener.read(timeout=5), "the message %r came" % text)
        primary.call("SPUBLISH", "shard", "of a shard")
        for listener in listeners:
            message = listener.read(timeout=5)
            check(b"smessage" in message and b"of a shard" in message, "the shard's message came: %r" % message)
        told = caching.read(timeout=5)
        check(told == b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n", "a client that caches heard of the primary's change: %r" % told)
        check(b"1-1" in reader.read(timeout=5), "the blocked reader woke")


def test_wait():
    with Node(OURS, BASE) as a, Node(REFERENCE, BASE) as b, Node(OURS, BASE + ["--appendonly", "yes"]) as c:
        primary, theirs, ours = [node.start().connect() for node in (a, b, c)]
        check_equal(primary.call("WAIT", "0", "0"), 0)
        for replica in (theirs, ours):
            follow(replica, a.port)
            wait_linked(replica)
        for i in range(20):
            primary.call("SET", "key", str(i))
            check_equal(primary.call("WAIT", "2", "5000"), 2, "both have it")
            check_equal(theirs.call("GET", "key"), b"%d" % i)
        b.child.send_signal(signal.SIGSTOP)
        primary.call("SET", "key", "x")
        started = time.monotonic()
        check_equal(primary.call("WAIT", "2", "300"), 1)
        check(0.25 < time.monotonic() - started < 3, "the timeout held")
        b.child.send_signal(signal.SIGCONT)
        check_equal(primary.call("WAIT", "2", "5000"), 2)
        check_equal(primary.error("WAITAOF", "1", "0", "10"),
                    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
        eventually(lambda: info(ours, "aof_rewrite_in_progress") == "0", "its log stands", 10)
        primary.call("SET", "key", "y")
        check_equal(primary.call("WAITAOF", "0", "1", "5000"), [0, 1])
        primary.call("CONFIG", "SET", "appendonly", "yes")
        eventually(lambda: info(primary, "aof_rewrite_in_progress") == "0", "our log stands", 10)
        primary.call("SET", "key", "z")
        check_equal(primary.call("WAITAOF", "1", "1", "5000"), [1, 1])
        check_equal(ours.error("WAITAOF", "0", "0", "0")[:39], "ERR WAITAOF cannot be used with replica")


def test_min_replicas():
    with Node(OURS, BASE + ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "3"]) as a, Node(REFERENCE, BASE) as b:
        primary, replica = a.start().connect(), b.start().connect()
        check_equal(primary.error("SET", "a", "1"), "NOREPLICAS Not enough good replicas to write.")
        follow(replica, a.port)
        eventually(lambda: primary.raw("SET", "a", "1") == b"+OK\r\n", "writes go on", 10)
        b.child.send_signal(signal.SIGSTOP)
        eventually(lambda: primary.raw("SET", "a", "1").startswith(b"-NOREPLICAS"), "the lag is seen", 10)
        b.child.send_signal(signal.SIGCONT)


def test_a_slow_replica_is_dropped_and_holds_nobody():
    limits = ["--client-output-buffer-limit", "replica 8mb 0 0"]
    with Node(OURS, BASE + limits) as a, Node(REFERENCE, BASE) as b, Node(OURS, BASE) as c:
        primary, slow, quick = [node.start().connect() for node in (a, b, c)]
        proxy = LinkProxy(a.port)
        follow(slow, proxy.port)
        follow(quick, a.port)
        wait_linked(slow)
        wait_linked(quick)
        proxy.held = True
        for _ in range(40):
            primary.pipeline([["SET", "big:%d" % i, "x" * 20000] for i in range(50)])
        eventually(lambda: info(primary, "connected_slaves") == "1", "the slow one is dropped", 15)
        check(int(info(primary, "mem_replication_backlog")) < 16 << 20, "the backlog shrank again")
        check_equal(primary.call("DBSIZE"), 50)
        proxy.held = False
        proxy.cut()
        same_data(primary, quick)
        same_data(primary, slow)
        proxy.close()


def test_shutdown_waits_for_replicas():
    with Node(OURS, BASE + ["--shutdown-timeout", "20"]) as a, Node(REFERENCE, BASE) as b:
        primary, replica = a.start().connect(), b.start().connect()
        follow(replica, a.port)
        wait_equal(primary, replica)
        b.child.send_signal(signal.SIGSTOP)
        primary.call("SET", "last", "word")
        other = a.connect()
        other.send(resp.encode(["SHUTDOWN", "NOSAVE"]))
        time.sleep(0.5)
        check(a.child.poll() is None, "it waits")
        check_equal(primary.call("SHUTDOWN", "ABORT"), b"OK")
        check(other.read(timeout=3).startswith(b"-ERR"), "the one that asked hears of it")
        primary.call("SET", "last", "words")
        other.send(resp.encode(["SHUTDOWN", "NOSAVE"]))
        time.sleep(0.3)
        b.child.send_signal(signal.SIGCONT)
        check_equal(a.child.wait(15), 0)
        check_equal(replica.call("GET", "last"), b"words")


def test_counters_begin_anew():
    for binary in (OURS, REFERENCE):
        with Node(binary, BASE) as a, Node(OURS, BASE) as b:
            primary, replica = a.start().connect(), b.start().connect()
            follow(replica, a.port)
            wait_equal(primary, replica)
            check_equal(info(primary, "sync_full"), "1", binary)
            primary.call("CONFIG", "RESETSTAT")
            check_equal([info(primary, name) for name in ("sync_full", "sync_partial_ok", "sync_partial_err")], ["0"] * 3, binary)


def test_all_who_asked_for_a_shutdown_hear_that_it_failed():
    with Node(OURS, BASE + ["--shutdown-timeout", "20"]) as a, Node(REFERENCE, BASE) as b:
        primary, replica = a.start().connect(), b.start().connect()
        follow(replica, a.port)
        wait_equal(primary, replica)
        b.child.send_signal(signal.SIGSTOP)
        primary.call("SET", "last", "word")
        asking = [a.connect() for _ in range(2)]
        for one in asking:
            one.send(resp.encode(["SHUTDOWN", "NOSAVE"]))
        eventually(lambda: info(primary, "blocked_clients") == "2", "both wait")
        check_equal(primary.call("SHUTDOWN", "ABORT"), b"OK")
        for one in asking:
            check(one.read(timeout=3).startswith(b"-ERR Errors trying to SHUTDOWN"), "both hear of it")
        b.child.send_signal(signal.SIGCONT)


def test_effects_redis_has_no_words_for():
    with Node(OURS, BASE) as a, Node(REFERENCE, BASE) as b, Node(OURS, BASE) as c, Node(REFERENCE, BASE) as d:
        primary, theirs, ours, behind = [node.start().connect() for node in (a, b, c, d)]
        for replica, node in ((theirs, a), (ours, a), (behind, c)):
            follow(replica, node.port)
            wait_equal(primary, replica)
        primary.call("MSETEX", "2", "a", "1", "b", "2", "EX", "1000")
        primary.call("SET", "c", "1")
        primary.call("DELEX", "c")
        primary.call("HSET", "h", "f", "1", "g", "2")
        primary.call("HGETDEL", "h", "FIELDS", "1", "g")
        same_data(primary, theirs)
        same_data(primary, ours)
        primary.call("SADD", "s", "x", "y", "z")
        for key in ("h", "s"):
            primary.call("RESTORE", "copy:" + key, "0", primary.call("DUMP", key))
        same_data(primary, theirs)
        primary.call("HPEXPIRE", "h", "100000", "FIELDS", "1", "f")
        wait_equal(primary, ours)
        check(ours.call("HPTTL", "h", "FIELDS", "1", "f")[0] > 0, "ours has the deadline")
        eventually(lambda: "has no words in Redis 7.0" in a.log(), "the log says why", 5)
        eventually(lambda: "has no words in Redis 7.0" in c.log(), "so does that of the one between", 5)
        primary.call("HPERSIST", "h", "FIELDS", "1", "f")
        for replica in (theirs, ours, behind):
            same_data(primary, replica)


def test_tools_read_the_data():
    with Node(OURS, BASE) as a, Node(REFERENCE, BASE) as b:
        primary = a.start().connect()
        fill(primary, brief=True)
        path = os.path.join(b.dir, "dump.rdb")
        done = subprocess.run(["redis-cli", "-p", str(a.port), "--rdb", path], capture_output=True, timeout=30)
        check_equal(done.returncode, 0, done.stderr)
        compare(contents(primary), contents(b.start().connect()))
        for diskless in ("yes", "no"):
            primary.call("CONFIG", "SET", "repl-diskless-sync", diskless)
            tool = subprocess.Popen(["redis-cli", "-p", str(a.port), "--replica"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                eventually(lambda: info(primary, "connected_slaves") == "1" and "state=online" in (info(primary, "slave0") or ""),
                           "redis-cli --replica is served", 15)
                primary.call("SET", "seen", "by the tool")
                time.sleep(1.5)
            finally:
                tool.terminate()
            check(b"seen" in tool.communicate(timeout=10)[0], "the tool shows the stream")
            eventually(lambda: info(primary, "connected_slaves") == "0", "it is gone", 10)
        with socket.create_connection(("127.0.0.1", a.port)) as raw:
            raw.sendall(b"SYNC\r\n")
            head = b""
            while b"REDIS" not in head:
                head += raw.recv(65536)
            size = head.strip(b"\n").split(b"\r\n")[0]
            check(size.startswith(b"$") and size[1:].isdigit(), "inline SYNC gets a length: %r" % head[:40])


def test_info_and_role_look_alike():
    with Node(OURS, BASE) as a, Node(REFERENCE, BASE) as b, Node(REFERENCE, BASE) as c, Node(OURS, BASE) as d:
        ours, theirs = a.start().connect(), c.start().connect()
        replicas = [b.start().connect(), d.start().connect()]
        follow(replicas[0], a.port)
        follow(replicas[1], c.port)
        for primary, replica in ((ours, replicas[0]), (theirs, replicas[1])):
            wait_equal(primary, replica)
        names = lambda connection: [line.split(":")[0] for line in connection.call("INFO", "replication").decode().split("\r\n")]
        check_equal(names(ours), names(theirs), "fields of a primary")
        check_equal(names(replicas[1]), names(replicas[0]), "fields of a replica")
        check_equal([type(x) for x in ours.call("ROLE")], [type(x) for x in theirs.call("ROLE")])
        check_equal([type(x) for x in replicas[1].call("ROLE")], [type(x) for x in replicas[0].call("ROLE")])
        check_equal(ours.call("ROLE")[2][0][:2], [b"127.0.0.1", b"%d" % b.port])
        check(b" flags=M " in replicas[1].call("CLIENT", "LIST", "TYPE", "master"), "the primary is in the list")
        check_equal(replicas[1].call("CLIENT", "KILL", "TYPE", "master"), 1)
        eventually(lambda: info(theirs, "sync_partial_ok") == "1", "it was followed again", 10)
        check(b" flags=S " in ours.call("CLIENT", "LIST", "TYPE", "replica"), "the replica is in the list")
        check_equal(ours.call("CLIENT", "KILL", "TYPE", "replica"), 1)
        eventually(lambda: info(ours, "sync_partial_ok") == "1", "it came back", 10)


def test_where_connections_start_from():
    for binary in (REFERENCE, OURS):
        with Node(REFERENCE, BASE + ["--protected-mode", "no"]) as a, Node(binary, BASE + ["--bind-source-addr", "127.0.0.5"]) as b:
            primary, replica = a.start().connect(), b.start().connect()
            follow(replica, a.port)
            wait_linked(replica)
            eventually(lambda: "ip=127.0.0.5," in (info(primary, "slave0") or ""), "the replica comes from its address")
            replica.call("CONFIG", "SET", "bind-source-addr", "10.99.99.99")  # which this machine does not have
            primary.call("CLIENT", "KILL", "TYPE", "replica")
            eventually(lambda: "ip=127.0.0.1," in (info(primary, "slave0") or ""), "the system chooses an address", 30)


def test_passwords():
    with Node(REFERENCE, BASE + ["--requirepass", "secret"]) as a, Node(OURS, BASE) as b:
        a.start()
        primary, replica = a.connect(), b.start().connect()
        primary.call("AUTH", "secret")
        primary.call("SET", "key", "1")
        follow(replica, a.port)
        time.sleep(0.5)
        check(not linked(replica), "without a password there is no link")
        replica.call("CONFIG", "SET", "masterauth", "secret")
        wait_equal(primary, replica)
        check_equal(replica.call("GET", "key"), b"1")


# --- moving from Redis and back, as the README tells it ---

def test_moving_from_redis_and_back():
    with Node(REFERENCE, BASE) as old, Node(OURS, BASE) as new, Node(REFERENCE, BASE) as again:
        redis, quoll = old.start().connect(), new.start().connect()
        fill(redis, brief=True)
        writer = Writer(old.port, 21, 0.001)
        writer.start()
        follow(quoll, old.port)
        wait_linked(quoll)
        time.sleep(0.5)
        writer.stop()  # the applications are told the new address
        redis.call("CLIENT", "PAUSE", "60000", "WRITE")
        wait_equal(redis, quoll)
        quoll.call("REPLICAOF", "NO", "ONE")
        before = contents(quoll)
        check(len(before) > 100, "there is something to move")
        writer = Writer(new.port, 22, 0.001)
        writer.start()
        back = again.start().connect()
        follow(back, new.port)
        wait_linked(back)
        time.sleep(0.5)
        writer.stop()
        settle(quoll)
        quoll.call("CLIENT", "PAUSE", "60000", "WRITE")
        wait_equal(quoll, back)
        back.call("REPLICAOF", "NO", "ONE")
        compare(contents(quoll), contents(back))


# --- the long one ---

def value_of(connection, key):
    kind = connection.call("TYPE", key).decode()
    read = {"string": ["GET"], "list": ["LRANGE", "0", "-1"], "set": ["SMEMBERS"], "hash": ["HGETALL"],
            "zset": ["ZRANGE", "0", "-1", "WITHSCORES"], "stream": ["XRANGE", "-", "+"]}.get(kind)
    reply = connection.call(read[0], key, *read[1:]) if read else None
    return kind, sorted(reply) if kind in ("set", "hash") else reply


def all_equal(primary, replica):
    eventually(lambda: linked(replica) and offset_of(primary) == offset_of(replica), "everything arrived", 300, 0.2)
    check_equal(replica.call("DBSIZE"), primary.call("DBSIZE"), "keys")
    keys, cursor = 0, b"0"
    while True:
        cursor, names = primary.call("SCAN", cursor, "COUNT", "2000")
        plain = [name for name in names if name.startswith(b"key:")]
        if plain:
            check_equal(replica.call("MGET", *plain), primary.call("MGET", *plain), "values")
        for name in set(names) - set(plain):
            check_equal(value_of(replica, name), value_of(primary, name), "value of %r" % name)
        keys += len(names)
        if cursor == b"0":
            return keys


def settle_small(primary):
    """What the writer made does not expire during the comparison."""
    cursor = b"0"
    while True:
        cursor, names = primary.call("SCAN", cursor, "COUNT", "5000")
        primary.pipeline([["PERSIST", name] for name in names if not name.startswith(b"key:")] or [["PING"]])
        if cursor == b"0":
            return


def resync(name, count, seed):
    """All data of `count` keys to a replica under load; the link breaks ten times, at random places."""
    roomy = ["--client-output-buffer-limit", "replica 1gb 0 0", "--rdbcompression", "no"]
    pair = PAIRS[name]
    with Node(pair[0], BASE + roomy) as one, Node(pair[1], BASE + roomy) as two:
        primary = one.start().connect()
        primary.send(resp.encode(["DEBUG", "POPULATE", str(count), "key", "100"]))
        check_equal(primary.read(timeout=300), b"+OK\r\n")
        proxy = LinkProxy(one.port)
        replica = two.start().connect()
        dice, size = random.Random(seed), count * 110  # bytes of the RDB, at least
        writer = Writer(one.port, seed, 0.01)
        writer.start()
        proxy.cut_after = dice.randrange(size // 50, size * 9 // 10)
        started = time.monotonic()
        follow(replica, proxy.port)
        for cut in range(1, 11):
            eventually(lambda: proxy.cuts == cut, "the link is cut", 300, 0.02)
            proxy.cut_after = dice.randrange(size // 50, size * 9 // 10) if cut < 10 else None
        last = time.monotonic()
        wait_linked(replica, 300)
        through = time.monotonic()
        writer.stop()
        check(writer.error is None and writer.count > 1000, "the writer ran: %r" % writer.error)
        settle_small(primary)
        keys = all_equal(primary, replica)
        print("     %s: %d keys equal after 10 cuts and %d writes; %.1f s in all, the last synchronization %.1f s; full %s, partial %s" %
              (name, keys, writer.count, through - started, through - last, info(primary, "sync_full"), info(primary, "sync_partial_ok")))
        proxy.close()


def main():
    words = sys.argv[1:]
    if words[:1] == ["resync"]:
        options = dict(zip(words[1::2], words[2::2]))
        results = Results()
        for name in ("ours_to_redis", "redis_to_ours", "ours_to_ours"):
            results.run("resync " + name, resync, name, int(options.get("--keys", 2000000)), int(options.get("--seed", 1)))
        return results.finish()
    Results.run_module(globals(), TOGETHER)


if __name__ == "__main__":
    main()
