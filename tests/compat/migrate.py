#!/usr/bin/python3
"""MIGRATE: keys that move to another server, between redis-server and us in every direction; what is
refused, what fails half way, and that nothing is written while keys are on their way.

  migrate.py [WORD...]           tests whose names hold a word"""
import contextlib
import socket

import resp
from certificates import Certificates, Secure
from persistence import fill, info
from server import OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually

PATIENCE = 20  # seconds
PAIRS = ((OURS, OURS), (OURS, REFERENCE), (REFERENCE, OURS))


@contextlib.contextmanager
def pair(source=OURS, target=OURS, source_args=(), target_args=()):
    with ServerUnderTest(source, ["--enable-debug-command", "yes"] + list(source_args)) as one, ServerUnderTest(target, target_args) as other:
        yield one.connect(), other.connect(), other


class Silent:
    """Takes connections and answers nothing."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(5)
        self.port = self.listener.getsockname()[1]

    def accept(self):
        self.listener.settimeout(PATIENCE)
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def test_every_value_arrives():
    for source, target in PAIRS:
        with pair(source, target, target_args=["--databases", "4"]) as (one, other, server):
            fill(one, brief=True)
            keys = one.call("KEYS", "*")
            before = {key: one.call("TYPE", key) for key in keys}
            for start in range(0, len(keys), 50):
                part = keys[start:start + 50]
                check_equal(one.call("MIGRATE", "127.0.0.1", server.port, "", 3, 5000, "KEYS", *part), b"OK")
            check_equal(one.call("DBSIZE"), 0, "keys left behind")
            other.call("SELECT", "3")
            check_equal({key: other.call("TYPE", key) for key in other.call("KEYS", "*")}, before, "types of what arrived")
    with pair(target_args=["--enable-debug-command", "yes"]) as (one, other, server):
        fill(one, brief=True)
        keys = one.call("KEYS", "*")
        digests = one.call("DEBUG", "DIGEST-VALUE", *keys)
        check_equal(one.call("MIGRATE", "127.0.0.1", server.port, "", 0, 5000, "COPY", "KEYS", *keys), b"OK")
        check_equal(other.call("DEBUG", "DIGEST-VALUE", *keys), digests, "the digests of what was copied")
        check_equal(one.call("DEBUG", "DIGEST-VALUE", *keys), digests, "what was only copied stays")


def test_options_and_errors():
    """Both servers are asked the same in turn, with the same target."""
    for target in (OURS, REFERENCE):
        replies = {}
        for source in (REFERENCE, OURS):
            with pair(source, target) as (one, other, server):
                said = replies[source] = []

                def ask(*line):
                    said.append((line, one.raw(*[server.port if word == "PORT" else word for word in line])))

                for key in ("a", "b", "c"):
                    one.call("SET", key, "value of " + key)
                one.call("HSET", "h", "f", "v")
                one.call("SELECT", "9")
                one.call("SET", "nine", "9")
                one.call("SELECT", "0")
                ask("MIGRATE", "127.0.0.1", "PORT", "nosuch", "0", "1000")
                ask("MIGRATE", "127.0.0.1", "PORT", "", "0", "1000", "KEYS", "no", "such")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "0", "1000", "KEYS", "b")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "0", "1000", "BOGUS")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "0", "1000", "AUTH")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "0", "1000", "AUTH2", "x")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "x", "1000")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "0", "x")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "99", "1000")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "0")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "0", "1000", "AUTH", "secret")
                ask("MIGRATE", "127.0.0.1", "1", "a", "0", "1000")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "5", "1000", "COPY")
                ask("EXISTS", "a")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "5", "1000")
                ask("EXISTS", "a")
                ask("MIGRATE", "127.0.0.1", "PORT", "a", "5", "1000", "replace")
                ask("EXISTS", "a")
                ask("MIGRATE", "127.0.0.1", "PORT", "", "5", "0", "COPY", "REPLACE", "KEYS", "b", "nosuch", "h")
                ask("MIGRATE", "127.0.0.1", "PORT", "", "5", "-7", "KEYS", "b", "c", "h")  # b and h are there already
                ask("KEYS", "*")
                ask("SELECT", "9")
                ask("MIGRATE", "127.0.0.1", "PORT", "nine", "0", "1000")
                ask("DBSIZE")
                check_equal(other.call("GET", "nine"), b"9")
                other.call("SELECT", "5")
                check_equal(sorted(other.call("KEYS", "*")), [b"a", b"b", b"c", b"h"])
                check_equal(other.call("GET", "c"), b"value of c")
        for (line, theirs), (_, ours) in zip(replies[REFERENCE], replies[OURS]):
            if line[0] == "KEYS":
                theirs, ours = (sorted(resp.plain(resp.tree(reply))) for reply in (theirs, ours))
            check_equal(ours, theirs, " ".join(line))


def test_deadlines_and_logins():
    with pair(target_args=["--requirepass", "secret", "--user", "mover", "on", ">word", "~*", "+@all"]) as (one, _, server):
        other = server.connect()
        other.call("AUTH", "secret")
        for key in ("a", "b", "c"):
            one.call("SET", key, "v", "PX", "5000000")
        check("NOAUTH" in one.error("MIGRATE", "127.0.0.1", server.port, "a", "0", "5000"), "without a password")
        check("WRONGPASS" in one.error("MIGRATE", "127.0.0.1", server.port, "a", "0", "5000", "AUTH", "wrong"), "a wrong password")
        check_equal(one.call("EXISTS", "a", "b", "c"), 3)
        check_equal(one.call("MIGRATE", "127.0.0.1", server.port, "a", "0", "5000", "AUTH", "secret"), b"OK")
        check_equal(one.call("MIGRATE", "127.0.0.1", server.port, "", "0", "5000", "AUTH2", "mover", "word", "KEYS", "b", "c"), b"OK")
        for key in ("a", "b", "c"):
            check(4000000 < other.call("PTTL", key) <= 5000000, "the deadline of " + key)
        one.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
        one.call("MIGRATE", "127.0.0.1", server.port, "a", "0", "5000", "AUTH2", "mover", "word")
        line = next(entry[3] for entry in one.call("SLOWLOG", "GET", "10") if entry[3][0] == b"MIGRATE")
        check_equal(line[-2:], [b"(redacted)", b"(redacted)"], "secrets in the slow log")


def test_what_others_see():
    """The event, WATCH, the log and the replica: a key that moved was deleted here."""
    with pair(source_args=["--appendonly", "yes", "--notify-keyspace-events", "KEA"]) as (one, _, target), ServerUnderTest() as replica:
        source_port = one.socket.getpeername()[1]
        follower = replica.connect()
        one.call("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        follower.call("REPLICAOF", "127.0.0.1", source_port)
        eventually(lambda: info(follower, "master_link_status") == "up", "the replica follows", timeout=PATIENCE)
        listener = resp.Connection(source_port)
        listener.call("SUBSCRIBE", "__keyevent@0__:del")
        watcher = resp.Connection(source_port)
        one.call("SET", "k", "v")
        one.call("SET", "other", "v")
        watcher.call("WATCH", "k")
        check_equal(one.call("MIGRATE", "127.0.0.1", target.port, "k", "0", "5000"), b"OK")
        check_equal(resp.plain(resp.tree(listener.read()))[2], b"k")
        watcher.call("MULTI")
        watcher.call("PING")
        check_equal(watcher.call("EXEC"), None, "EXEC of who watched the key")
        check_equal(one.call("WAIT", "1", PATIENCE * 1000), 1)
        check_equal(follower.call("KEYS", "*"), [b"other"])
        one.call("DEBUG", "LOADAOF")
        check_equal(one.call("KEYS", "*"), [b"other"], "after the log was replayed")
        check(follower.error("MIGRATE", "127.0.0.1", target.port, "other", "0", "5000").startswith("READONLY"), "a replica moves nothing")


def test_nobody_writes_meanwhile():
    with Silent() as target, ServerUnderTest() as server:
        one, writer, reader = server.connect(), server.connect(), server.connect()
        one.call("MSET", "k", "before", "other", "v")
        one.send(resp.encode(["MIGRATE", "127.0.0.1", target.port, "k", "0", str(PATIENCE * 1000)]))
        connection = target.accept()
        heard = b""
        while b"RESTORE" not in heard:
            heard += connection.recv(65536)
        writer.send(resp.encode(["APPEND", "k", "lost?"]))
        check_equal(reader.call("GET", "k"), b"before", "reads go on")
        check_equal(writer.read_for(0.2), b"", "a write waits")
        connection.sendall(b"+OK\r\n+OK\r\n")
        check_equal(one.read(), b"+OK\r\n")
        check_equal(writer.read(), b":5\r\n", "the key had gone before the write")
        # The client goes away: the writes are let go on when the time is over.
        one.send(resp.encode(["MIGRATE", "127.0.0.1", target.port, "other", "0", "500"]))
        second = target.accept()
        second.recv(65536)
        one.socket.close()
        check_equal(writer.call("SET", "x", "1"), b"OK")
        check_equal(writer.call("EXISTS", "other"), 1)
        connection.close()
        second.close()


def test_what_fails_half_way():
    with Silent() as target, ServerUnderTest() as server:
        one, other = server.connect(), server.connect()

        def begin(*keys, timeout=PATIENCE * 1000):
            one.send(resp.encode(["MIGRATE", "127.0.0.1", target.port, "", "0", str(timeout), "KEYS", *keys]))
            connection = target.accept()
            heard = b""
            while heard.count(b"RESTORE") < len(keys):
                heard += connection.recv(65536)
            return connection

        one.call("MSET", "a", "1", "b", "2", "c", "3")
        with begin("a", timeout=100):
            check_equal(one.read(), b"-IOERR error or timeout reading to target instance\r\n", "silence")
        with begin("a", "b", "c") as connection:
            connection.sendall(b"+OK\r\n+OK\r\n-BUSYKEY there\r\n")
            connection.shutdown(socket.SHUT_RDWR)
            check(one.read().startswith(b"-IOERR"), "the end of the connection")
        check_equal(sorted(one.call("KEYS", "*")), [b"b", b"c"], "only what was acknowledged has gone")
        with begin("b", "c") as connection:
            connection.sendall(b"-ERR no such database\r\n+OK\r\n+OK\r\n")
            check_equal(one.read(), b"-ERR Target instance replied with error: ERR no such database\r\n")
        check_equal(one.call("EXISTS", "b", "c"), 2)
        with begin("b") as connection:
            connection.sendall(b"no reply at all\r\n")
            check(one.read().startswith(b"-IOERR"), "nonsense")
        with begin("b"):
            identity = next(line for line in other.call("CLIENT", "LIST").decode().split("\n") if "cmd=migrate" in line)
            other.call("CLIENT", "UNBLOCK", identity.split()[0].split("=")[1])
            check(one.read().startswith(b"-IOERR"), "CLIENT UNBLOCK")
            check_equal(other.call("SET", "free", "1"), b"OK", "writes go on")
        one.call("MULTI")
        one.call("MIGRATE", "127.0.0.1", target.port, "b", "0", "100")
        check(b"-ERR MIGRATE" in one.raw("EXEC"), "in a transaction")
        check("MIGRATE" in one.error("EVAL", "return redis.call('MIGRATE', '127.0.0.1', '%d', 'b', '0', '100')" % target.port, "0"), "in a script")
        check_equal(one.call("EXISTS", "b"), 1)


def test_only_allowed_keys():
    with pair() as (one, _, target):
        one.call("ACL", "SETUSER", "mover", "on", "nopass", "~mine:*", "+@all")
        one.call("MSET", "mine:1", "v", "yours:1", "v")
        port = one.socket.getpeername()[1]
        mover = resp.Connection(port)
        mover.call("AUTH", "mover", "x")
        for line in (["yours:1", "0", "5000"], ["", "0", "5000", "KEYS", "mine:1", "yours:1"]):
            check(mover.error("MIGRATE", "127.0.0.1", target.port, *line).startswith("NOPERM"), line)
        check_equal(mover.call("MIGRATE", "127.0.0.1", target.port, "", "0", "5000", "KEYS", "mine:1"), b"OK")


def test_over_tls():
    certificates = Certificates()
    try:
        with Secure(certificates, tls_cluster="yes") as target, Secure(certificates, tls_cluster="yes") as source:
            one = source.connect()
            one.call("SET", "k", "v")
            check_equal(one.call("MIGRATE", "127.0.0.1", target.tls_port, "k", "0", "5000"), b"OK")
            check_equal(target.connect().call("GET", "k"), b"v")
    finally:
        certificates.remove()


if __name__ == "__main__":
    Results.run_module(globals(), 4)
