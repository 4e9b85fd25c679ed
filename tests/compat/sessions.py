#!/usr/bin/python3
"""What a connection may rely on beyond the bytes of a reply: replies to one that half-closes, a
fair share of the server beside a long pipeline, secrets that stay secret. Ours alone; where
redis-server behaves otherwise, the test says so."""
import select
import socket
import threading
import time

import resp
from server import Results, ServerUnderTest, check, check_equal, eventually

SLOW_KEYS = 20000  # KEYS over that many takes long enough to be noticed


def read_to_end(connection):
    total = 0
    while True:
        part = connection.socket.recv(1 << 20)
        if not part:
            return total
        total += len(part)


def fill(server, count):
    one = server.connect()
    for begin in range(0, count, 1000):
        one.send(b"".join(resp.encode(["SET", "key:%d" % i, "x"]) for i in range(begin, begin + 1000)))
        for _ in range(1000):
            one.read()
    one.close()


def test_half_closed_gets_large_replies(server):
    """More than the socket takes at once; redis-server drops what is left."""
    one = server.connect(timeout=20)
    value = b"x" * 3_000_000
    one.raw("SET", "big", value)
    one.send(resp.encode(["GET", "big"]) * 20)
    one.socket.shutdown(socket.SHUT_WR)
    time.sleep(0.3)
    check_equal(read_to_end(one), 20 * (len(value) + len(b"$3000000\r\n\r\n")), "bytes received")


def test_half_closed_gets_slow_replies(server):
    """Commands that take several turns still run when the end of input was seen in between."""
    fill(server, SLOW_KEYS)
    one = server.connect(timeout=30)
    one.send(resp.encode(["KEYS", "nothing*"]) * 200 + resp.encode(["INCR", "after"]))
    one.socket.shutdown(socket.SHUT_WR)
    check_equal(read_to_end(one), 200 * len(b"*0\r\n") + len(b":1\r\n"), "bytes received")


def test_long_pipeline_is_fair(server):
    """One second's worth of slow commands in one write does not keep others waiting for it."""
    fill(server, SLOW_KEYS)
    busy, other = server.connect(timeout=60), server.connect()
    busy.send(resp.encode(["KEYS", "nothing*"]) * 1000)
    waits = []
    began = time.monotonic()
    while len(waits) < 50:
        sent = time.monotonic()
        other.raw("PING")
        waits.append(time.monotonic() - sent)
    busy_for = time.monotonic() - began
    for _ in range(1000):
        busy.read()
    typical = sorted(waits)[len(waits) // 2]
    check(typical < 0.05, "a PING took %.3f s beside the pipeline (50 took %.3f s)" % (typical, busy_for))


def test_pipeline_beyond_pause(server):
    """What was sent behind a paused command runs afterwards, in order, once."""
    one, other = server.connect(timeout=10), server.connect()
    one.raw("CLIENT", "PAUSE", "10000", "WRITE")
    other.send(resp.encode(["INCR", "n"]) * 100 + resp.encode(["ECHO", "x" * 100000]))
    time.sleep(0.1)
    check_equal(one.raw("GET", "n"), b"$-1\r\n", "n during the pause")
    one.raw("CLIENT", "UNPAUSE")
    for i in range(100):
        check_equal(other.read(), b":%d\r\n" % (i + 1), "reply")
    check_equal(len(other.read()), 100011, "echo")


def test_killed_while_others_write(server):
    """Connections that end while messages go to them do no harm."""
    publisher = server.connect()
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            one = server.connect()
            try:
                one.raw("SUBSCRIBE", "news")
                one.send(resp.encode(["PING"]) * 10)
            except (resp.Closed, OSError):
                pass  # killed
            one.close()

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        publisher.send(resp.encode(["PUBLISH", "news", "m" * 1000]) * 20 +
                       resp.encode(["CLIENT", "KILL", "TYPE", "pubsub"]))
        for _ in range(21):
            publisher.read()
    stop.set()
    for thread in threads:
        thread.join()
    eventually(lambda: publisher.raw("PUBSUB", "NUMSUB", "news") == b"*2\r\n$4\r\nnews\r\n:0\r\n",
               "no subscriber is left")


def test_slow_log_hides_passwords(server):
    one = server.connect()
    one.raw("CONFIG", "SET", "slowlog-log-slower-than", "0")
    one.raw("AUTH", "hush")
    one.raw("AUTH", "default", "hush")
    one.raw("HELLO", "2", "AUTH", "default", "hush")
    one.raw("MULTI")
    one.raw("AUTH", "hush")
    one.raw("EXEC")
    shown = one.raw("SLOWLOG", "GET", "100")
    one.raw("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    check(b"hush" not in shown, "the slow log shows a password")
    check(shown.count(b"(redacted)") == 6, "six arguments are hidden: %r" % shown)


class SlowReader:
    """Of messages "<writer> <number> <padding>"."""

    def __init__(self, server, writers):
        self.connection = server.connect(timeout=30)
        self.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200000)
        self.connection.call("SUBSCRIBE", "news")
        self.text, self.heard = bytearray(), [0] * writers

    def read_some(self):
        part = self.connection.socket.recv(16384)
        check(part, "the connection was closed")
        self.text += part
        at = 0
        while at < len(self.text) and (end := resp.end_of_reply(self.text, at)) > 0:
            writer, number, _ = bytes(self.text[at:end]).split(b"\r\n")[6].split(b" ")
            check_equal(int(number), self.heard[int(writer)], "the next message of writer %s" % writer.decode())
            self.heard[int(writer)] += 1
            at = end
        del self.text[:at]


def test_slow_readers_of_many_writers(server):
    """A connection has room again in the middle of a turn in which others write to it: nothing comes twice."""
    server.connect().call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
    writers, messages, together, ahead = 4, 1500, 5, 700  # so that the connections are full most of the time
    readers = [SlowReader(server, writers) for _ in range(4)]

    def write(writer):
        one = server.connect(timeout=30)
        for number in range(0, messages, together):
            while number - min(reader.heard[writer] for reader in readers) > ahead:
                time.sleep(0.0001)
            one.send(b"".join(resp.encode(["PUBLISH", "news", "%d %d %s" % (writer, number + i, "x" * 3000)]) for i in range(together)))
            for _ in range(together):
                one.read()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    left = {reader.connection.socket: reader for reader in readers}
    while left:
        ready, _, _ = select.select(list(left), [], [], 30)
        check(ready, "messages do not come")
        for one in ready:
            left[one].read_some()
            if left[one].heard == [messages] * writers:
                del left[one]
    for thread in threads:
        thread.join()


def test_invalidations_go_to_their_reader(server):
    """What is told behind a reply stays with its session, whatever other commands run meanwhile."""
    def tracking(enable=True):
        one = server.connect()
        one.raw("HELLO", "3")
        if enable:
            one.raw("CLIENT", "TRACKING", "ON")
        return one, one.call("CLIENT", "ID")

    def told_of(connection, key):
        check_equal(connection.read(), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$%d\r\n%s\r\n" % (len(key), key))

    (one, _), (two, two_id) = tracking(), tracking()
    one.raw("GET", "k")
    two.send(b"BLPOP none 0\r\n")
    eventually(lambda: b"blocked_clients:1" in one.raw("INFO", "clients"), "it waits")
    for command in (["MULTI"], ["SET", "k", "2"], ["CLIENT", "UNBLOCK", str(two_id)]):
        one.raw(*command)
    check_equal(one.raw("EXEC"), b"*2\r\n+OK\r\n:1\r\n")
    told_of(one, b"k")
    check_equal(two.read(), b"_\r\n")
    check_equal(two.raw("PING"), b"+PONG\r\n")
    check_equal(two.read_for(0.2), b"", "nobody's news but the reader's")
    # A transaction that begins to track.
    three, _ = tracking(enable=False)
    for command in (["MULTI"], ["CLIENT", "TRACKING", "ON"], ["GET", "k"], ["SET", "k", "3"]):
        three.raw(*command)
    check(three.raw("EXEC").startswith(b"*3"), "EXEC")
    told_of(three, b"k")
    # Others come in while a script runs.
    one.raw("CONFIG", "SET", "busy-reply-threshold", "50")
    one.raw("GET", "k")
    one.send(resp.encode(["EVAL", "redis.call('SET', 'k', 4) local till = os.clock() + 0.5 while os.clock() < till do end", "0"]))
    eventually(lambda: two.raw("PING").startswith(b"-BUSY"), "others are told that it is busy")
    check_equal(one.read(), b"_\r\n")
    told_of(one, b"k")
    eventually(lambda: two.raw("PING") == b"+PONG\r\n", "it is over")
    check_equal(two.read_for(0.2), b"", "nobody's news but the reader's")


def main():
    results = Results()
    for name, function in sorted(globals().items()):
        if name.startswith("test_") and callable(function):
            with ServerUnderTest() as server:
                results.run(name, function, server)
    results.finish()


if __name__ == "__main__":
    main()
