"""A raw RESP2/RESP3 client: keeps the bytes of every reply, so that tests can compare them.

A reply tree is a tuple (kind, payload). kind is the type byte as a one-character string; payload
is bytes, int or None for scalars and a list of trees for collections (maps: keys and values in
turn). Two replies with equal trees have equal bytes, except for a streamed form Redis never sends.
"""
import socket
import time

COLLECTIONS = b"*~>"
NO_DATA = b""


class Closed(Exception):
    """The server closed the connection before a whole reply arrived."""


class NoReply(Exception):
    """No whole reply arrived in time."""


def encode(args):
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        if not isinstance(arg, bytes):
            arg = str(arg).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(arg), arg))
    return b"".join(parts)


def end_of_reply(buffer, at):
    """Index one past the reply that starts at `at`, or -1 when it is incomplete."""
    pending = 1
    while pending:
        end_of_line = buffer.find(b"\r\n", at)
        if end_of_line < 0:
            return -1
        kind = buffer[at]
        if kind in b"$=":
            length = int(buffer[at + 1 : end_of_line])
            at = end_of_line + 2
            if length >= 0:
                at += length + 2
                if at > len(buffer):
                    return -1
        elif kind in COLLECTIONS:
            pending += max(int(buffer[at + 1 : end_of_line]), 0)
            at = end_of_line + 2
        elif kind == 37:  # % map
            pending += 2 * int(buffer[at + 1 : end_of_line])
            at = end_of_line + 2
        elif kind == 124:  # | attribute: belongs to the reply that follows
            pending += 2 * int(buffer[at + 1 : end_of_line]) + 1
            at = end_of_line + 2
        elif kind in b"+-:_,#(":
            at = end_of_line + 2
        else:
            raise ValueError("not a RESP type byte: %r" % bytes(buffer[at : at + 40]))
        pending -= 1
    return at


def split(buffer, count):
    """The first `count` replies of the buffer, as bytes."""
    replies, at = [], 0
    for _ in range(count):
        end = end_of_reply(buffer, at)
        if end < 0:
            raise ValueError("fewer than %d replies in %r" % (count, bytes(buffer[:200])))
        replies.append(bytes(buffer[at:end]))
        at = end
    return replies


def children(raw):
    """The replies inside a collection, as bytes; None for anything else."""
    if raw[:1] not in (b"*", b"~", b">") or raw[1:2] == b"-":
        return None
    start = raw.index(b"\r\n") + 2
    return split(raw[start:], int(raw[1 : start - 2]))


def tree(raw, at=0):
    value, _ = _tree(raw, at)
    return value


def _tree(raw, at):
    end_of_line = raw.index(b"\r\n", at)
    kind, head = chr(raw[at]), raw[at + 1 : end_of_line]
    at = end_of_line + 2
    if kind in "$=":
        length = int(head)
        if length < 0:
            return (kind, None), at
        return (kind, bytes(raw[at : at + length])), at + length + 2
    if kind in "*~>%|":
        length = int(head)
        if length < 0:
            return (kind, None), at
        children = []
        for _ in range(length * (2 if kind in "%|" else 1)):
            child, at = _tree(raw, at)
            children.append(child)
        return (kind, children), at
    if kind == ":":
        return (kind, int(head)), at
    if kind == "_":
        return (kind, None), at
    return (kind, bytes(head)), at


def plain(reply):
    """A reply tree as plain Python: for tests that care about values, not types."""
    kind, payload = reply
    if kind in "*~>" and payload is not None:
        return [plain(child) for child in payload]
    if kind == "%":
        return {plain(payload[i]): plain(payload[i + 1]) for i in range(0, len(payload), 2)}
    if kind == "=":
        return payload[4:]
    if kind == ",":
        return float(payload)
    if kind == "#":
        return payload == b"t"
    return payload


def show(raw, limit=400):
    """Reply bytes for a human: one line, bounded."""
    if raw is None:
        return "(no reply)"
    text = repr(bytes(raw))[2:-1].replace("\\r\\n", " ")
    return text if len(text) <= limit else text[:limit] + "... (%d bytes)" % len(raw)


class Connection:
    """One connection. Replies come back as raw bytes; errors of transport raise."""

    def __init__(self, port=None, host="127.0.0.1", path=None, resp3=False, timeout=10.0):
        if path:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection((host, port), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        if resp3:
            self.raw("HELLO", "3")

    def send(self, data):
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def raw(self, *args):
        """Sends one command, returns the bytes of one reply."""
        self.send(encode(args))
        return self.read()

    def call(self, *args):
        """Sends one command, returns the reply as plain Python. Errors raise."""
        reply = tree(self.raw(*args))
        if reply[0] == "-":
            raise RuntimeError(reply[1].decode("latin-1"))
        return plain(reply)

    def error(self, *args):
        """Sends one command that must fail; returns the error text."""
        reply = tree(self.raw(*args))
        if reply[0] != "-":
            raise AssertionError("%r succeeded: %r" % (args, reply))
        return reply[1].decode("latin-1")

    def pipeline(self, commands, piece=262144):
        """Sends many commands at once, at most `piece` bytes a time; returns the list of raw
        replies. Reads while it writes."""
        data = memoryview(b"".join(encode(command) for command in commands))
        replies, at, sent = [], 0, 0
        deadline = time.monotonic() + max(self.timeout, 60)
        while len(replies) < len(commands):
            if time.monotonic() > deadline:
                raise NoReply("%d of %d replies" % (len(replies), len(commands)))
            if sent < len(data):
                self.socket.settimeout(0)
                try:
                    sent += self.socket.send(data[sent : sent + piece])
                except BlockingIOError:
                    pass
            self.socket.settimeout(0 if sent < len(data) else self.timeout)
            try:
                chunk = self.socket.recv(1 << 20)
                if not chunk:
                    raise Closed("%d of %d replies" % (len(replies), len(commands)))
                self.buffer += chunk
            except BlockingIOError:
                if sent < len(data):
                    time.sleep(0.0001)
                continue
            except socket.timeout:
                raise NoReply("%d of %d replies" % (len(replies), len(commands))) from None
            while len(replies) < len(commands):
                end = end_of_reply(self.buffer, at)
                if end < 0:
                    break
                replies.append(bytes(self.buffer[at:end]))
                at = end
            if at > 1 << 20 or len(replies) == len(commands):
                del self.buffer[:at]
                at = 0
        return replies

    def read(self, timeout=None):
        """The bytes of the next reply or push message."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            end = end_of_reply(self.buffer, 0) if self.buffer else -1
            if end >= 0:
                reply = bytes(self.buffer[:end])
                del self.buffer[:end]
                return reply
            self._fill(deadline)

    def read_until_closed(self, timeout=5.0):
        """Everything that still arrives until the server closes."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                self._fill(deadline)
        except Closed:
            rest = bytes(self.buffer)
            self.buffer.clear()
            return rest

    def read_for(self, seconds):
        """Everything that arrives within the time."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self._fill(deadline)
        except (NoReply, Closed):
            rest = bytes(self.buffer)
            self.buffer.clear()
            return rest

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoReply("have only %r" % bytes(self.buffer[:200]))
        self.socket.settimeout(left)
        try:
            chunk = self.socket.recv(1 << 20)
        except socket.timeout:
            raise NoReply("have only %r" % bytes(self.buffer[:200])) from None
        except ConnectionError:
            chunk = NO_DATA
        if not chunk:
            raise Closed("have only %r" % bytes(self.buffer[:200]))
        self.buffer += chunk

    def close(self):
        self.socket.close()
