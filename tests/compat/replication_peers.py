#!/usr/bin/python3
"""Peers of a replication that misbehave or stand still: primaries and replicas played by the test.
What they send must not end the server, stop others, or change what they must not.

  replication_peers.py [WORD...]           tests whose names hold a word"""
import contextlib
import os
import signal
import socket
import threading
import time

import resp
from persistence import Node, fill, info
from replication import BASE, TOGETHER, Writer, follow, wait_linked
from server import OURS, REFERENCE, Results, check, check_equal, eventually

REPLICA_SAYS = [["REPLCONF", "capa", "eof", "capa", "psync2"]]


def rdb_of_one_key():
    with Node(REFERENCE, BASE) as node:
        one = node.start().connect()
        one.call("SET", "k", "v")
        one.call("SAVE")
        with open(os.path.join(node.dir, "dump.rdb"), "rb") as file:
            return file.read()


class Primary:
    """Answers every handshake; `on_psync(connection, number)` goes on from there."""

    def __init__(self, on_psync):
        self.on_psync, self.syncs, self.open = on_psync, 0, []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(5)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.open.append(connection)
                threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        with contextlib.suppress(OSError):
            while True:
                heard = connection.recv(4096)
                if not heard:
                    return
                if b"PSYNC" in heard:
                    self.syncs += 1
                    self.on_psync(connection, self.syncs)
                elif b"ACK" not in heard:
                    connection.sendall(b"+OK\r\n")

    def close(self):
        self.listener.close()
        for connection in self.open:
            connection.close()


class Replica:
    """A replica that reads only when it is told to."""

    def __init__(self, node, *says, sync=("PSYNC", "?", "-1"), receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", node.port))
        for line in says or REPLICA_SAYS:
            self.say(*line)
            check(self.socket.recv(100).startswith(b"+OK"), "REPLCONF")
        self.say(*sync)

    def say(self, *line):
        self.socket.sendall(resp.encode(line))

    def read_until(self, condition, what, timeout=20):
        heard, deadline = b"", time.monotonic() + timeout
        self.socket.settimeout(0.2)
        while not condition(heard):
            check(time.monotonic() < deadline, "not in time: %s (%r)" % (what, heard[-200:]))
            with contextlib.suppress(socket.timeout):
                part = self.socket.recv(1 << 20)
                check(part, "the server closed before %s" % what)
                heard += part
        return heard

    def closed(self):
        self.socket.settimeout(0.01)
        try:
            while self.socket.recv(1 << 20):
                pass
            return True
        except socket.timeout:
            return False
        except OSError:
            return True


def effects_in(stream):
    """The lines of a stream, without what frames them."""
    parts, at = [], 0
    while at < len(stream) and resp.end_of_reply(stream, at) > 0:
        end = resp.end_of_reply(stream, at)
        words = stream[at:end].split(b"\r\n")[2::2]
        at = end
        if words and words[0] not in (b"PING", b"SELECT", b"MULTI", b"EXEC"):
            parts.append(words)
    return parts


# --- primaries ---

def test_stream_of_what_is_no_change():
    """Commands that no primary sends are complained of, and nothing else comes of them."""
    lines = [["REPLICAOF", "NO", "ONE"], ["PSYNC", "?", "-1"], ["SUBSCRIBE", "x"], ["MONITOR"], ["WATCH", "k"], ["QUIT"],
             ["SHUTDOWN", "NOSAVE"], ["CLIENT", "REPLY", "OFF"], ["HELLO", "3"], ["SYNC"], ["BLPOP", "none", "0"],
             ["MULTI"], ["REPLCONF", "capa", "eof"], ["SUBSCRIBE", "y"], ["SET", "in", "block"], ["EXEC"]]
    rdb = rdb_of_one_key()

    def on_psync(connection, number):
        connection.sendall(b"+FULLRESYNC %s 100\r\n$%d\r\n%s" % (b"a" * 40, len(rdb), rdb))
        if number == 1:
            connection.sendall(b"".join(resp.encode(line) for line in lines + [["SET", "last", "1"], ["PUBLISH", "x", "heard"]]))

    primary = Primary(on_psync)
    with Node(OURS, BASE) as node:
        one, listener = node.start().connect(), node.connect()
        listener.call("SUBSCRIBE", "x")
        follow(one, primary.port)
        eventually(lambda: one.call("GET", "last") == b"1", "the stream is applied to its end", 20)
        check_equal(one.call("GET", "in"), b"block")
        check_equal(info(one, "role"), "slave")
        check(b"heard" in listener.read_for(0.3), "messages travel")
        check("not a command for a replication stream" in node.log(), "it is complained of")
        check_equal(one.call("REPLICAOF", "NO", "ONE"), b"OK")
        check_equal(one.call("PUBLISH", "x", "hi"), 1)
        check_equal(one.call("PUBLISH", "y", "hi"), 0)
        check_equal(one.call("SET", "k", "2"), b"OK")
    primary.close()


def test_wrong_greetings():
    """Offsets without room behind them and ids of no length are refused; the next attempt counts."""
    answers = [b"+FULLRESYNC %s 18446744073709551610\r\n" % (b"a" * 40), b"+FULLRESYNC short 1\r\n", b"+FULLRESYNC\r\n", b"$5\r\nhello\r\n"]
    rdb = rdb_of_one_key()

    def on_psync(connection, number):
        if number <= len(answers):
            return connection.sendall(answers[number - 1])
        connection.sendall(b"+FULLRESYNC %s 100\r\n$%d\r\n%s" % (b"a" * 40, len(rdb), rdb))

    primary = Primary(on_psync)
    with Node(OURS, BASE) as node:
        one = node.start().connect()
        follow(one, primary.port)
        eventually(lambda: one.call("GET", "k") == b"v", "the right one is followed", 40)
        check_equal(primary.syncs, len(answers) + 1)
    primary.close()


def test_a_save_never_shows_half_of_a_synchronization():
    """A save that waits its turn when all data is replaced begins when the new data stands."""
    rdb, half_sent, go_on = rdb_of_one_key(), threading.Event(), threading.Event()

    def on_psync(connection, number):
        connection.sendall(b"+FULLRESYNC %s 100\r\n$%d\r\n%s" % (b"a" * 40, len(rdb), rdb[:-20]))
        half_sent.set()
        go_on.wait(20)
        connection.sendall(rdb[-20:])

    primary = Primary(on_psync)
    with Node(OURS, BASE + ["--appendonly", "yes"]) as node:
        one = node.start().connect()
        one.call("DEBUG", "POPULATE", "2000")
        one.call("CONFIG", "SET", "rdb-key-save-delay", "2000")
        one.call("BGREWRITEAOF")
        one.call("BGSAVE", "SCHEDULE")
        follow(one, primary.port)
        check(half_sent.wait(20), "a synchronization begins")
        eventually(lambda: "Background AOF rewrite terminated with error" in node.log(), "the rewrite is given up", 20)
        time.sleep(0.3)
        check(not os.path.exists(os.path.join(node.dir, "dump.rdb")), "a save of half the data")
        go_on.set()
        wait_linked(one)
        one.call("CONFIG", "SET", "rdb-key-save-delay", "0")
        eventually(lambda: info(one, "rdb_saves") == "1", "the save is done now", 20)
    primary.close()


# --- replicas ---

def test_failover_that_is_refused():
    primary = Primary(lambda connection, _: connection.sendall(b"-ERR PSYNC FAILOVER replid must match my replid.\r\n"))
    with Node(OURS, BASE) as node:
        one = node.start().connect()
        one.call("SET", "a", "1")
        replica = Replica(node, ["REPLCONF", "listening-port", str(primary.port)], *REPLICA_SAYS)
        replica.read_until(lambda heard: b"redis-ver" in heard, "all data")
        target = ["FAILOVER", "TO", "127.0.0.1", str(primary.port)]

        def begun():
            replica.say("REPLCONF", "ACK", info(one, "master_repl_offset"))
            return one.raw(*target) == b"+OK\r\n"

        eventually(begun, "the failover begins", 20, 0.1)
        replica.say("REPLCONF", "ACK", info(one, "master_repl_offset"))
        eventually(lambda: "Failover target rejected psync request" in node.log(), "it is refused", 20)
        eventually(lambda: info(one, "master_failover_state") == "no-failover", "it is over", 20)
        check_equal(info(one, "role"), "master")
        check_equal(one.call("SET", "a", "2"), b"OK")
        time.sleep(0.3)
        check_equal(info(one, "role"), "master")
    primary.close()


def test_a_replica_that_stands_still_after_its_data():
    """Sent with a length, it is online at once, and silent until it has loaded."""
    with Node(OURS, BASE + ["--repl-diskless-sync", "no"]) as one, Node(REFERENCE, BASE) as two:
        primary = one.start().connect()
        fill(primary, brief=True)
        replica = two.start().connect()
        writer = Writer(one.port, 1, 0.001)
        writer.start()
        follow(replica, one.port)
        eventually(lambda: "receiving" in two.log(), "it takes the data", 20, 0.001)
        two.child.send_signal(signal.SIGSTOP)
        eventually(lambda: "Synchronization with replica" in one.log() or writer.error, "all is sent", 10)
        time.sleep(0.5)
        two.child.send_signal(signal.SIGCONT)
        wait_linked(replica)
        writer.stop()
        check("Disconnecting timedout" not in one.log(), one.log())
        check_equal((info(primary, "sync_full"), info(primary, "sync_partial_ok")), ("1", "0"))


def test_a_stalled_sync_stops_nothing():
    """By SYNC or PSYNC: who takes nothing for repl-timeout is dropped, and saves go on; who shared its
    snapshot stays."""
    with Node(OURS, BASE + ["--repl-timeout", "2", "--repl-diskless-sync-delay", "1", "--rdbcompression", "no"]) as node:
        one = node.start().connect()
        one.call("DEBUG", "POPULATE", "20000", "k", "2000")
        old = Replica(node, ["REPLCONF", "capa", "eof"], sync=("SYNC",), receive_buffer=4096)
        new = Replica(node, receive_buffer=4096)
        good = Replica(node)
        taken = good.read_until(lambda heard: len(heard) > 1 << 20 and info(one, "connected_slaves") == "1",
                                "those who stall are dropped", 30)
        mark = taken[taken.index(b"$EOF:") + 5:][:40]
        good.read_until(lambda heard: mark in heard, "the rest of the data", 30)
        check_equal(one.call("BGSAVE"), b"Background saving started")
        eventually(lambda: info(one, "rdb_saves") == "1", "a save goes on", 20)
        check(old.closed() and new.closed(), "they are closed")


def test_no_effect_travels_twice():
    lines = """XGROUP CREATE x g 0 MKSTREAM|XGROUP SETID x g 0|XGROUP CREATECONSUMER x g c|XADD x 1-1 a b|XREADGROUP GROUP g c STREAMS x >
        XACK x g 1-1|XGROUP DELCONSUMER x g c|XGROUP DESTROY x g|XSETID x 9-9|XADD x 10-1 a b|XDEL x 10-1|XTRIM x MAXLEN 0|RPUSH l 1 2 3 4
        LPOP l|RPOPLPUSH l l2|LMOVE l l2 LEFT RIGHT|LMPOP 1 l2 LEFT|LINSERT l BEFORE 3 9|LREM l 1 9|LTRIM l 0 1|LSET l 0 7|INCR n|APPEND a x
        SETRANGE a 1 y|GETSET a q|GETDEL a|INCRBYFLOAT f 1.5|SADD t 1 2 3|SMOVE t t2 1|SREM t2 1|SPOP t|ZADD z 1 a 2 b|ZINCRBY z 2 a|ZPOPMIN z
        ZRANGESTORE z2 z 0 -1|HSET h a 1|HINCRBY h a 1|HINCRBYFLOAT h b 1|HDEL h a|PFADD p a|PFMERGE p2 p|SETBIT b 1 1|BITFIELD b INCRBY u8 0 3
        BITOP NOT b2 b|COPY b b3|RENAME b3 b4|MOVE b4 2|EXPIRE b 100|PERSIST b|GEOADD geo 1 1 q|GEOSEARCHSTORE g2 geo FROMMEMBER q BYRADIUS 9 km
        SORT l STORE l9|SET s 1 EX 100|GETEX s PERSIST|MSET m1 1 m2 2|DELEX s|FUNCTION FLUSH|SWAPDB 0 1|FLUSHALL"""
    with Node(OURS, BASE) as node:
        one = node.start().connect()
        replica = Replica(node)
        heard = replica.read_until(lambda heard: b"$EOF:" in heard, "the data")
        mark = heard[heard.index(b"$EOF:") + 5:][:40]
        if heard.count(mark) < 2:
            replica.read_until(lambda heard: mark in heard, "the end of the data")
        replica.say("REPLCONF", "ACK", "0")
        for number, line in enumerate(line.strip() for part in lines.split("\n") for line in part.split("|")):
            one.call(*line.split(" "))
            end = b"behind:%d" % number
            one.call("PUBLISH", "end", end)
            effects = effects_in(replica.read_until(lambda heard: end in heard, "the effects of " + line))[:-1]
            words = [tuple(word.upper() for word in effect) for effect in effects]
            check(words, "no effect of " + line)
            check_equal(len(words), len(set(words)), "effects of %s: %r" % (line, words))


if __name__ == "__main__":
    Results.run_module(globals(), TOGETHER)
