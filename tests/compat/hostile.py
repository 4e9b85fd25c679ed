#!/usr/bin/python3
"""Clients that mean harm: half requests, endless lines, giant promises, readers that do not read,
guessed passwords, scripts without end. While each goes on, a bystander is served correctly, and
memory stays under its limits; afterwards it is given back.

Counts follow the limit of open files. No time is asserted but that of a bystander's answer, with a
bound far beyond what any machine needs."""
import contextlib
import re
import resource
import socket
import threading
import time

import resp
from server import Results, ServerUnderTest, check, check_equal, eventually

MIB = 1 << 20
PATIENCE = 60       # seconds until something that must happen counts as not happening
ANSWER_MAX = 10.0   # seconds that a bystander may wait for any one answer
HALF_OPEN = 10_000
POOLED = 8 * MIB    # bytes of buffers that the server keeps for the next clients


def memory(server):
    """Bytes that the server has allocated."""
    info = server.connect().call("INFO", "memory").decode()
    fields = dict(line.split(":", 1) for line in info.split("\r\n") if ":" in line)
    return int(fields["used_memory"])


class Bystander(threading.Thread):
    """A client that writes and reads while others misbehave."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.connection = server.connect(timeout=PATIENCE)
        self.stopping = threading.Event()
        self.rounds = 0
        self.slowest = 0.0
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                value = b"value-%d" % self.rounds
                started = time.monotonic()
                if self.connection.call("SET", "bystander", value) != b"OK" or self.connection.call("GET", "bystander") != value:
                    raise AssertionError("a wrong answer in round %d" % self.rounds)
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.rounds += 1
                self.stopping.wait(0.002)
        except Exception as error:  # told in the test's thread
            self.error = error


@contextlib.contextmanager
def served(server):
    """Inside, others are served; it ends with at least one more answered round."""
    bystander = Bystander(server)
    bystander.start()
    yield bystander
    rounds = bystander.rounds
    eventually(lambda: bystander.error or bystander.rounds > rounds + 5, "the bystander is served", timeout=PATIENCE)
    bystander.stopping.set()
    bystander.join(PATIENCE)
    if bystander.error:
        raise bystander.error
    check(bystander.slowest < ANSWER_MAX, "a bystander waited %.1f s" % bystander.slowest)


def raw_connection(server, timeout=PATIENCE):
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout)


def send_until_closed(connection, piece, bytes_max):
    """Sends until the server has enough; how much it took, and what it said."""
    sent = 0
    try:
        while sent < bytes_max:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    answer = b""
    with contextlib.suppress(OSError):
        while True:
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
    return sent, answer


def test_half_open_requests():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(HALF_OPEN, hard - 500)
    with ServerUnderTest(args=["--maxclients", str(count + 100)]) as server:
        before = memory(server)
        with served(server):
            halves = []
            for number in range(count):
                connection = raw_connection(server)
                connection.sendall(b"*3\r\n$3\r\nSET\r\n$5\r\nhel" if number % 2 else b"SET half")
                halves.append(connection)
            check(memory(server) - before < count * 8192, "%d half requests take %d bytes each" % (count, (memory(server) - before) // count))
            for connection in halves[1::2][:50]:  # they are whole requests once the rest comes
                connection.sendall(b"lo\r\n$1\r\nx\r\n")
                check_equal(connection.recv(100), b"+OK\r\n")
            for connection in halves:
                connection.close()
        eventually(lambda: memory(server) - before < MIB, "memory of those who went is given back", timeout=PATIENCE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_clients_than_allowed():
    with ServerUnderTest(args=["--maxclients", "50"]) as server, served(server):
        crowd = [raw_connection(server) for _ in range(200)]
        refused = 0
        for connection in crowd:
            connection.settimeout(0.5 if refused else PATIENCE)
            with contextlib.suppress(OSError):
                connection.sendall(b"PING\r\n")
        for connection in crowd[-100:]:
            connection.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                refused += b"max number of clients" in connection.recv(200)
        check(refused > 0, "nobody was refused")
        for connection in crowd:
            connection.close()


def test_endless_lines():
    with ServerUnderTest() as server:
        before = memory(server)
        with served(server):
            for piece in (b"x" * 65536, b"GET 'x" + b"x" * 65536, b"*" + b"1" * 65536, b"*3\r\n$" + b"1" * 65536, b"*1\r\n" + b"$" * 65536):
                with raw_connection(server) as connection:
                    sent, answer = send_until_closed(connection, piece, 64 * MIB)
                    check(sent < 64 * MIB, "an endless line of %r was read on" % piece[:10])
                    check(answer == b"" or answer.startswith(b"-ERR"), "answer %r" % answer[:80])
        check(memory(server) - before < 4 * MIB, "memory after endless lines")


def test_giant_promises():
    """Lengths are promises: beyond the first mebibyte, memory follows what arrives."""
    with ServerUnderTest() as server:
        before = memory(server)
        with served(server):
            waiting = []
            for promise in (b"*2\r\n$3\r\nGET\r\n$536870912\r\nhello", b"*1000000\r\n$4\r\nMSET\r\n", b"*2\r\n$536870912\r\n"):
                for _ in range(40):
                    connection = raw_connection(server)
                    connection.sendall(promise)
                    waiting.append(connection)
            eventually(lambda: server.connect().call("PING") == b"PONG", "answers", timeout=PATIENCE)
            taken = memory(server) - before
            check(taken < len(waiting) * MIB, "%d promises took %d MiB" % (len(waiting), taken >> 20))
            for wrong in (b"*2\r\n$3\r\nGET\r\n$536870913\r\n", b"*2147483648\r\n", b"*-5\r\n*1\r\n$-7\r\n", b"*1\r\n$99999999999999999999\r\n"):
                with raw_connection(server) as connection:
                    connection.sendall(wrong)
                    check(b"-ERR Protocol error" in connection.recv(200), "answer to %r" % wrong)
            for connection in waiting:
                connection.close()
        eventually(lambda: memory(server) - before < MIB, "memory is given back", timeout=PATIENCE)


def test_promises_without_login():
    with ServerUnderTest(args=["--requirepass", "secret"], wait=False) as server:
        server.wait_until_answering()
        for wrong in (b"*11\r\n", b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"):
            with raw_connection(server) as connection:
                connection.sendall(wrong)
                answer = connection.recv(200)
                check(b"-ERR Protocol error: unauthenticated" in answer, "answer to %r: %r" % (wrong, answer))


def test_readers_that_do_not_read():
    with ServerUnderTest(args=["--client-output-buffer-limit", "normal 8mb 0 0"]) as server:
        one = server.connect()
        one.call("SET", "big", b"x" * MIB)
        before = memory(server)
        with served(server):
            greedy = []
            for _ in range(20):
                connection = raw_connection(server)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                with contextlib.suppress(OSError):
                    connection.sendall(resp.encode(["GET", "big"]) * 100)
                greedy.append(connection)
            peak = 0

            def disconnected():
                nonlocal peak
                peak = max(peak, memory(server) - before)
                text = one.call("INFO", "stats").decode()
                return int(text.split("client_output_buffer_limit_disconnections:")[1].split("\r")[0]) >= 20
            eventually(disconnected, "those who do not read are disconnected", timeout=PATIENCE, pause=0.05)
            check(peak < 20 * 24 * MIB, "replies nobody reads took %d MiB" % (peak >> 20))
            for connection in greedy:
                connection.close()
        eventually(lambda: memory(server) - before < 2 * MIB, "memory is given back", timeout=PATIENCE)


def test_subscribers_that_do_not_read():
    with ServerUnderTest(args=["--client-output-buffer-limit", "pubsub 1mb 0 0"]) as server:
        one = server.connect()
        before = memory(server)
        with served(server):
            lazy = []
            for _ in range(20):
                connection = raw_connection(server)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(b"SUBSCRIBE news\r\n")
                lazy.append(connection)
            eventually(lambda: one.call("PUBSUB", "NUMSUB", "news")[1] == 20, "subscribed", timeout=PATIENCE)

            def all_gone():
                for _ in range(20):
                    one.call("PUBLISH", "news", b"x" * 100_000)
                return one.call("PUBSUB", "NUMSUB", "news")[1] == 0
            eventually(all_gone, "subscribers who do not read are disconnected", timeout=PATIENCE)
            for connection in lazy:
                connection.close()
        eventually(lambda: memory(server) - before < POOLED, "memory is given back", timeout=PATIENCE)


def test_guessed_passwords():
    with ServerUnderTest(args=["--requirepass", "secret"]) as server:
        admin = server.connect()
        admin.call("AUTH", "secret")
        admin.call("ACL", "SETUSER", "bystander", "on", "nopass", "~*", "+@all")

        def guess(count):
            connection = server.connect(timeout=PATIENCE)
            for number in range(count):
                reply = connection.raw("AUTH", "default" if number % 2 else "nobody", "guess-%d" % number)
                if not reply.startswith(b"-WRONGPASS"):
                    raise AssertionError("reply to a guess: %r" % reply)
        threads = [threading.Thread(target=guess, args=(300,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        rounds = 0
        while any(thread.is_alive() for thread in threads):
            check_equal(admin.call("INCR", "rounds"), rounds + 1)
            rounds += 1
        for thread in threads:
            thread.join()
        text = admin.call("INFO", "stats").decode()
        check("acl_access_denied_auth:2400\r" in text, "2400 refusals are counted: " + text)
        check(0 < len(admin.call("ACL", "LOG", "10000")) <= 128, "the ACL log is bounded")
        check(rounds > 0, "the administrator was served meanwhile")


def test_script_bombs():
    options = ["--busy-reply-threshold", "50", "--script-memory-max", "64mb", "--proto-max-bulk-len", "64mb"]
    with ServerUnderTest(args=options) as server:
        one = server.connect(timeout=PATIENCE)
        one.call("SET", "k", "v")
        before = memory(server)
        bombs = ("local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end",
                 "local s = 'x' while true do s = s .. s end",
                 "local function deeper(n) return 1 + deeper(n + 1) end return deeper(0)",
                 "local t = {} for i = 1, 40 do t = {t, t} end return cjson.encode(t)",
                 "local t = {} t[1] = t return t",
                 "return cmsgpack.unpack(string.rep('\\145', 100000))",
                 "return redis.call('SET', 'k', string.rep('x', 100 * 1024 * 1024))",
                 "return string.rep('x', 2^30)")
        for bomb in bombs:
            reply = one.raw("EVAL", bomb, "0")
            check(re.search(rb"(^|\n)-", reply), "%s: no error in the reply %r" % (bomb, reply[:100]))
        check_equal(one.call("GET", "k"), b"v")
        endless = server.connect(timeout=PATIENCE)
        endless.send(resp.encode(["EVAL", "while true do pcall(function() while true do end end) end", "0"]))
        eventually(lambda: one.raw("GET", "k").startswith(b"-BUSY"), "others are told of the script", timeout=PATIENCE)
        check_equal(one.call("SCRIPT", "KILL"), b"OK")
        eventually(lambda: one.raw("GET", "k") == b"$1\r\nv\r\n", "service goes on", timeout=PATIENCE)
        one.call("SCRIPT", "FLUSH")
        eventually(lambda: memory(server) - before < 4 * MIB, "memory is given back", timeout=PATIENCE)


if __name__ == "__main__":
    Results.run_module(globals(), 3)
