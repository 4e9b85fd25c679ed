#!/usr/bin/python3
"""Whoever reaches the port of a cluster's bus and means harm: he plays the members of a group and says
what no member would, or asks a node what no node would. The server says no, and goes on as it was.

  hostile_bus.py [WORD...]     tests whose names hold a word
"""
import contextlib
import hashlib
import hmac
import os
import socket
import struct
import time

from server import OURS, Results, ServerUnderTest, check, check_equal, eventually, free_port

PATIENCE = 60  # seconds, of a busy machine
GREETING_BYTES = 8 + 4 + 40 + 16
PREAMBLE_BYTES = 8 + 4 + 8 + 1 + 1 + 2 + 40
HELLO, PREVOTE, PREVOTE_REPLY, VOTE, VOTE_REPLY, APPEND, APPEND_REPLY = range(1, 8)
SYNC_BEGIN = 16
NOOP, EFFECTS, REJOIN, SHAPE, SLOTS = range(1, 6)
JOIN, WITNESS = 1, 8


def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC32C = crc32c_table()


def crc32c(data):
    """As entries have it: without the last inversion."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ CRC32C[(value ^ byte) & 255]
    return value


def entry(epoch, index, kind=NOOP, payload=b""):
    rest = struct.pack("<IQQqII", len(payload), epoch, index, 0, 0, kind) + payload
    return struct.pack("<I", crc32c(rest)) + rest


def message(kind, epoch=0, at=(0, 0), index=0, flags=0, entries=b""):
    body = struct.pack("<BQQQQQQQ", flags, epoch, *at, index, 0, 0, 0) + entries
    return frame(kind, body)


def frame(kind, body):
    return struct.pack("<IB", len(body) + 1, kind) + body


def receive(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


class Impostor:
    """A member of the server's group, which the server dials."""

    def __init__(self, place):
        self.place = place
        self.id = b"%d" % place * 40
        self.port = free_port()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.listener.settimeout(PATIENCE)
        self.connection = None

    def greet(self):
        """Takes the server's next connection."""
        self.hang_up()
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(PATIENCE)
        theirs = receive(self.connection, PREAMBLE_BYTES)
        check(theirs.startswith(b"QUOLLGRP"), "a preamble: %r" % theirs)
        self.connection.sendall(theirs[:20] + bytes([self.place, theirs[20]]) + b"\0\0" + self.id)
        self.say(message(HELLO, flags=1))

    def say(self, *frames):
        self.connection.sendall(b"".join(frames))

    def hear(self, kind):
        """The next message of that kind: its flags, epoch, at, index."""
        while True:
            size, found = struct.unpack("<IB", receive(self.connection, 5))
            body = receive(self.connection, size - 1)
            if found == kind:
                flags, epoch, at_epoch, at_index, index = struct.unpack_from("<BQQQQ", body)
                return flags, epoch, (at_epoch, at_index), index

    def is_refused(self, *frames):
        """The server ends the connection, and dials again."""
        with contextlib.suppress(OSError):
            self.say(*frames)
            while self.connection.recv(65536):
                pass
        self.greet()

    def hang_up(self):
        if self.connection:
            self.connection.close()

    def close(self):
        self.hang_up()
        self.listener.close()


@contextlib.contextmanager
def group_of_impostors():
    """Two of them, and the server, which is the third member."""
    impostors = [Impostor(0), Impostor(1)]
    port = free_port()
    members = ["127.0.0.1:%d@%d" % (free_port(), one.port) for one in impostors]
    members.append("127.0.0.1:%d@%d" % (port, free_port()))
    try:
        with ServerUnderTest(OURS, ["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--cluster-group", " ".join(members)], port=port) as server:
            for one in impostors:
                one.greet()
            yield server, impostors
    finally:
        for one in impostors:
            one.close()


def is_well(server, what):
    check(server.alive(), "%s ends the server:\n%s" % (what, server.log()[-2000:]))
    check_equal(server.connect().call("PING"), b"PONG", what)


def test_entries_that_no_leader_sends():
    """Member 0 leads epoch 2, and entries up to 3 are there, up to 2 committed."""
    with group_of_impostors() as (server, (leader, _)):
        told = entry(1, 1) + entry(2, 2) + entry(2, 3)

        def lead():
            leader.say(message(APPEND, 2, (0, 0), 2, entries=told), message(APPEND, 2, (2, 3), 2))
            return leader.hear(APPEND_REPLY)[3]
        eventually(lambda: lead() == 3, "the entries are there", timeout=PATIENCE)
        shape = struct.pack("<BBI4B", 1, 0, 0, 0, 0, 0, 0)  # of nobody
        for what, frames in (
                ("a committed entry of another epoch", [message(APPEND, 3, (1, 1), 2, entries=entry(3, 2))]),
                ("an entry that is taken back", [message(APPEND, 2, (2, 3), 3), message(APPEND, 2, (1, 1), 9, entries=entry(1, 2))]),
                ("another log up to what is committed", [message(APPEND, 3, (3, 2), 2, entries=entry(3, 3))]),
                ("falling epochs", [message(APPEND, 3, (2, 3), 2, entries=entry(3, 4) + entry(2, 5))]),
                ("an epoch that is not its leader's", [message(APPEND, 2, (2, 3), 2, entries=entry(7, 4))]),
                ("the last epoch there is", [message(APPEND, 2 ** 64 - 1, (2, 3), 2)]),
                ("a shape that is none", [message(APPEND, 2, (2, 3), 4, entries=entry(2, 4, SHAPE, b"x"))]),
                ("a shape of nobody", [message(APPEND, 2, (2, 3), 4, entries=entry(2, 4, SHAPE, shape))]),
                ("a ledger that is none", [message(APPEND, 2, (2, 3), 4, entries=entry(2, 4, SLOTS, b"x"))]),
                ("effects that are none", [message(APPEND, 2, (2, 3), 4, entries=entry(2, 4, EFFECTS, b"\1\1\1\1\1"))]),
                ("damaged entries", [message(APPEND, 2, (2, 3), 2, entries=entry(2, 4) + b"x")]),
                ("data of a later epoch", [message(APPEND, 2, (2, 3), 2), frame(SYNC_BEGIN, struct.pack("<QQI", 9, 50, len(shape)) + shape)])):
            refused = server.log().count("is refused")
            leader.is_refused(*frames)
            is_well(server, what)
            check(server.log().count("is refused") > refused, "%s: the log says so" % what)
            check_equal(lead(), 3, what)
        leader.say(message(APPEND, 2, (2, 3), 3, entries=entry(2, 4)), message(APPEND, 2, (2, 4), 3))
        eventually(lambda: leader.hear(APPEND_REPLY)[3] == 4, "what follows is taken", timeout=PATIENCE)


def test_a_second_leader_in_the_epoch():
    with group_of_impostors() as (server, impostors):
        one, other = impostors
        epoch = one.hear(PREVOTE)[1]
        one.say(message(PREVOTE_REPLY, epoch, flags=1))
        check_equal(one.hear(VOTE)[1], epoch)
        one.say(message(VOTE_REPLY, epoch, flags=1))
        check_equal(one.hear(APPEND)[1], epoch)
        other.is_refused(message(APPEND, epoch))
        is_well(server, "a second leader")
        server.wait_for_log("it leads in the epoch that is ours", PATIENCE)


class Asker:
    """Asks a node by its bus, without a secret."""

    def __init__(self, port):
        self.id = os.urandom(20).hex()
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        greeting = b"QUOLLNOD" + struct.pack("<I", 1) + self.id.encode() + os.urandom(16)
        self.connection.sendall(greeting)
        theirs = receive(self.connection, GREETING_BYTES)
        self.node = theirs[12:52].decode()
        self.connection.sendall(hmac.new(b"", b"dials" + greeting + theirs, hashlib.sha256).digest())
        receive(self.connection, 32)

    def ask(self, kind, body):
        """Whether it is fine, and what it says."""
        self.connection.sendall(struct.pack("<IBI", len(body) + 5, kind, 1) + body)
        size, _, _, fine = struct.unpack("<IBIB", receive(self.connection, 10))
        return fine, receive(self.connection, size - 6)

    def claim(self, ranges):
        text = lambda words: struct.pack("<I", len(words)) + words
        member = text(self.id.encode()) + b"\4" + text(bytes([127, 0, 0, 1])) + struct.pack("<HHH", 1, 1, 0) + text(b"")
        member += struct.pack("<I", 1) + text(b"dc/rack/host") + struct.pack("<IB", 100, 0)
        return member + struct.pack("<I", len(ranges)) + b"".join(struct.pack("<HH", *one) for one in ranges)


def test_questions_that_no_node_asks():
    bus = free_port()
    with ServerUnderTest(OURS, ["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--cluster-port", str(bus)]) as server:
        asker = Asker(bus)
        for ranges in ([(0, 16383)] * 16384, [(0, 5), (5, 6)], [(6, 5)], [(0, 16384)]):
            check_equal(asker.ask(JOIN, asker.claim(ranges)), (0, b"this is no node's description"))
        deadline = time.monotonic() + PATIENCE
        fine, topology = asker.ask(JOIN, asker.claim([]))
        while not fine and time.monotonic() < deadline:  # it is being founded
            fine, topology = asker.ask(JOIN, asker.claim([]))
        check(fine, "an asker joins: %r" % topology)
        cluster = topology[16:56]  # behind a version of the bytes, its own, and the size of this
        place = lambda number, id, flags: struct.pack("<BBI", number, flags, len(id)) + id
        voters = struct.pack("<BBI4B", 1, 0, 3, 0, 0, 0, 0)
        shape = voters + place(0, asker.id.encode(), 0) + place(1, asker.node.encode(), 1)
        for group in (777, 65535):
            fine, why = asker.ask(WITNESS, cluster + struct.pack("<HB", group, 1) + shape)
            check_equal((fine, why), (0, b"this group is not known here, or not as the asker's"))
        witnesses = [name for _, names, _ in os.walk(server.dir) for name in names if name.startswith("witness")]
        check_equal(witnesses, [])
        is_well(server, "questions")


if __name__ == "__main__":
    Results.run_module(globals(), 3)
