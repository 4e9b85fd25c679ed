#!/usr/bin/python3
"""Following a Redis 6, of which there is no package here: a stand-in that says what a 6.0 or 6.2 primary says.

  handshake   PING -> +PONG; REPLCONF listening-port, ip-address, capa -> +OK; what came later is an error
  full sync   +FULLRESYNC, then newlines while the file is written and $<length>, or $EOF:<mark> (capa eof)
  data        RDB version 9: ziplists, zipped hashes and sorted sets, quicklists of ziplists, streams without what 7.0 added
  stream      commands as clients gave them: relative deadlines, EVAL instead of its effects, names of old

Debian's redis-server follows the same stand-in beside ours, and both must hold the same data in the end.

  redis6_primary.py [WORD...]           tests whose names hold a word"""
import contextlib
import hashlib
import socket
import struct
import threading
import time

import resp
from persistence import Node, compare, contents, info
from replication import BASE, TOGETHER, follow
from server import OURS, REFERENCE, Results, check, check_equal, eventually

RUN_ID = b"6" * 40
MARK = b"e" * 40
FIRST_OFFSET = 1000


# --- RDB version 9 ---

def crc64_table():
    polynomial, table = 0x95AC9329AC4BC9B5, []  # Jones's, reflected
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return table


CRC64 = crc64_table()


def crc64(data):
    crc = 0
    for byte in data:
        crc = CRC64[(crc ^ byte) & 0xFF] ^ crc >> 8
    return struct.pack("<Q", crc)


def length(number):
    if number < 64:
        return bytes([number])
    return struct.pack(">H", 0x4000 | number) if number < 16384 else b"\x80" + struct.pack(">I", number)


def string(text):
    return length(len(text)) + text


def small_integer(number):
    return b"\xc0" + struct.pack("b", number)


def ziplist(items):
    body, before = b"", 0
    for item in items:
        if isinstance(item, int):
            if 0 <= item <= 12:
                content = bytes([0xF1 + item])
            elif -128 <= item < 128:
                content = b"\xfe" + struct.pack("b", item)
            elif -32768 <= item < 32768:
                content = b"\xc0" + struct.pack("<h", item)
            else:
                content = b"\xe0" + struct.pack("<q", item)
        elif len(item) < 64:
            content = bytes([len(item)]) + item
        else:
            content = struct.pack(">H", 0x4000 | len(item)) + item
        entry = (bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)) + content
        body, before = body + entry, len(entry)
    return struct.pack("<IIH", 11 + len(body), 10 + len(body) - before, len(items)) + body + b"\xff"


# LZF of b"abc" * 20: three bytes, and 57 from three back.
COMPRESSED = b"\xc3" + length(7) + length(60) + b"\x02abc\xe0\x30\x02"


def intset(numbers):
    return struct.pack("<II", 4, len(numbers)) + b"".join(struct.pack("<i", number) for number in sorted(numbers))


def listpack(items):
    body = b""
    for item in items:
        content = bytes([item]) if isinstance(item, int) else bytes([0x80 | len(item)]) + item
        body += content + bytes([len(content)])
    return struct.pack("<IH", 7 + len(body), len(items)) + body + b"\xff"


def stream_of_three():
    """Entries 5-0, 5-1 and 6-0 of one field; a group that was given the first two, one of them to be acknowledged."""
    node = listpack([3, 0, 1, b"field", 0, 2, 0, 0, b"one", 4, 2, 0, 1, b"two", 4, 2, 1, 0, b"three", 4])
    identity = struct.pack(">QQ", 5, 0)
    second = struct.pack(">QQ", 5, 1)
    pending = second + struct.pack("<Q", 1_600_000_000_000) + length(2)
    consumer = string(b"reader") + struct.pack("<Q", 1_600_000_000_000) + length(1) + second
    group = string(b"readers") + length(5) + length(1) + length(1) + pending + length(1) + consumer
    return length(1) + string(identity) + string(node) + length(3) + length(6) + length(0) + length(1) + group


def zset_of_doubles(pairs):
    return length(len(pairs)) + b"".join(string(member) + struct.pack("<d", score) for member, score in pairs)


def rdb():
    def expires_in(seconds):
        return b"\xfc" + struct.pack("<Q", int((time.time() + seconds) * 1000))

    big = [b"member:%d" % i for i in range(700)]
    values = [
        (b"", 0, b"text", string(b"a value")),
        (b"", 0, b"number", small_integer(-7)),
        (expires_in(5000), 0, b"expiring", string(b"soon")),
        (expires_in(-5000), 0, b"expired", string(b"gone")),
        (b"\xf8" + length(77), 0, b"idle", string(b"idle for 77 s")),
        (b"\xf9\x09", 0, b"frequent", string(b"LFU")),
        (b"", 0, b"packed", COMPRESSED),
        (b"", 14, b"list", length(2) + string(ziplist([b"a", 1, -5, 300, 1 << 40, b"x" * 300])) + string(ziplist([b"after", b"y" * 70, 12, 13]))),
        (b"", 13, b"hash", string(ziplist([b"f1", b"v1", b"f2", 22, 3, b"v" * 50]))),
        (b"", 12, b"zset", string(ziplist([b"low", -3, b"middle", b"1.5", b"z" * 63, 7]))),
        (b"", 11, b"integers", string(intset([5, -1, 70000]))),
        (b"", 2, b"set", length(3) + string(b"one") + string(b"two") + small_integer(3)),
        (b"", 4, b"bighash", length(700) + b"".join(string(one) + string(one * 2) for one in big)),
        (b"", 5, b"bigzset", zset_of_doubles([(one, i / 4) for i, one in enumerate(big)])),
        (b"", 2, b"bigset", length(700) + b"".join(map(string, big))),
        (b"", 15, b"stream", stream_of_three()),
    ]
    aux = {b"redis-ver": b"6.2.14", b"redis-bits": b"64", b"ctime": b"1600000000", b"used-mem": b"1000000", b"repl-stream-db": b"0",
           b"repl-id": RUN_ID, b"repl-offset": b"%d" % FIRST_OFFSET, b"lua": b"return 1", b"aof-preamble": b"0"}
    data = b"REDIS0009" + b"".join(b"\xfa" + string(name) + string(value) for name, value in aux.items())
    data += b"\xfe" + length(0) + b"\xfb" + length(len(values)) + length(2)
    data += b"".join(options + bytes([kind]) + string(key) + value for options, kind, key, value in values)
    data += b"\xfe" + length(3) + b"\xfb" + length(1) + length(0) + b"\x00" + string(b"elsewhere") + string(b"in database 3") + b"\xff"
    return data + crc64(data)


# --- the stand-in ---

class Redis6:
    """Serves any number of replicas the same data and the same stream, which say() extends."""

    def __init__(self, diskless):
        self.diskless, self.data, self.stream = diskless, rdb(), b""
        self.full = self.partial = 0
        self.acked, self.refused, self.links, self.loaded = {}, [], [], set()
        self.changed = threading.Condition()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(5)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.cut()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                link, _ = self.listener.accept()
                self.links.append(link)
                threading.Thread(target=self.talk, args=(link,), daemon=True).start()

    def talk(self, link):
        heard, who = b"", None
        with contextlib.suppress(OSError):
            while part := link.recv(4096):
                heard = (heard + part).lstrip(b"\n")  # which replicas send while they load
                while (end := resp.end_of_reply(heard, 0)) > 0:
                    words = heard[:end].split(b"\r\n")[2::2]
                    heard = heard[end:]
                    if words[0].upper() == b"REPLCONF" and words[1].lower() == b"listening-port":
                        who = int(words[2])
                    self.answer(link, words, who)

    def answer(self, link, words, who):
        name, option = words[0].upper(), words[1].lower() if len(words) > 1 else b""
        if name == b"PING":
            link.sendall(b"+PONG\r\n")
        elif name == b"PSYNC":
            self.synchronize(link, words[1], int(words[2]))
        elif name == b"REPLCONF" and option == b"ack":
            with self.changed:
                self.acked[who] = int(words[2])
                self.loaded.add(link)
                self.changed.notify_all()
        elif name == b"REPLCONF" and option in (b"listening-port", b"ip-address", b"capa"):
            link.sendall(b"+OK\r\n")
        elif name == b"REPLCONF":
            self.refused.append(option)
            link.sendall(b"-ERR Unrecognized REPLCONF option: %s\r\n" % option)
        else:
            self.refused.append(name)
            link.sendall(b"-ERR unknown command `%s`, with args beginning with: \r\n" % name)

    def synchronize(self, link, run_id, offset):
        sent, wait = offset - FIRST_OFFSET - 1, False
        if run_id == RUN_ID and 0 <= sent <= len(self.stream):
            self.partial += 1
            link.sendall(b"+CONTINUE %s\r\n" % RUN_ID)
        else:
            self.full += 1
            # A Redis replica sees the mark only where nothing follows it: so the stream waits for what it says
            # after loading.
            sent, wait = 0, self.diskless
            link.sendall(b"+FULLRESYNC %s %d\r\n" % (RUN_ID, FIRST_OFFSET))
            link.sendall(b"\n")  # while the data is being written
            time.sleep(0.05)
            if self.diskless:
                link.sendall(b"$EOF:" + MARK + b"\r\n" + self.data + MARK)
            else:
                link.sendall(b"\n$%d\r\n" % len(self.data) + self.data)
        threading.Thread(target=self.feed, args=(link, sent, wait), daemon=True).start()

    def feed(self, link, sent, wait):
        with contextlib.suppress(OSError):
            if wait:
                with self.changed:
                    self.changed.wait_for(lambda: link in self.loaded)
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: len(self.stream) > sent)
                    part = self.stream[sent:sent + 700]  # commands are cut anywhere
                link.sendall(part)
                sent += len(part)

    def say(self, *lines):
        with self.changed:
            self.stream += b"".join(resp.encode(line) for line in lines)
            self.changed.notify_all()

    def cut(self):
        for link in self.links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        self.links = []

    def heard_by(self, *nodes):
        """Whether the replicas acknowledge all that was said."""
        self.say(["REPLCONF", "GETACK", "*"])
        wanted = FIRST_OFFSET + len(self.stream)

        def all_acked():
            return all(self.acked.get(node.port, 0) == wanted for node in nodes)
        try:
            eventually(all_acked, "all is acknowledged", 30)
        except AssertionError:
            raise AssertionError("acknowledged: %r, expected %d" % (self.acked, wanted)) from None


SCRIPT = "redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], ARGV[1]) return redis.call('GET', KEYS[1])"

# As 6.0 and 6.2 send them, and what they made of commands that depend on chance, time or the data.
LINES = [
    ["SELECT", "0"],
    ["SET", "k", "v"],
    ["SET", "with60", "v", "EX", "1000"],            # 6.0: as given
    ["SET", "with62", "v", "PX", "1000000"],         # 6.2: always so
    ["SETEX", "setex", "1000", "v"],
    ["PSETEX", "psetex", "1000000", "v"],
    ["EXPIRE", "k", "1000"],
    ["PEXPIRE", "list", "1000000"],
    ["EXPIREAT", "hash", str(int(time.time()) + 1000)],
    ["PEXPIRE", "text", "1000000"],                  # 6.2's GETEX
    ["PERSIST", "expiring"],
    ["DEL", "expired"],
    ["UNLINK", "idle"],
    ["SET", "float", "10.5"],                        # INCRBYFLOAT of 6.0
    ["SET", "float", "11", "KEEPTTL"],               # and of 6.2
    ["GETSET", "k2", "x"],
    ["HMSET", "hash", "f4", "v4", "f5", "5"],
    ["HSET", "hash", "f6", "0.25"],                  # HINCRBYFLOAT
    ["SREM", "set", "two"],                          # SPOP
    ["RPOPLPUSH", "list", "list2"],                  # BRPOPLPUSH
    ["LMOVE", "list", "list2", "LEFT", "RIGHT"],     # BLMOVE of 6.2
    ["LPOP", "list2"],                               # BLPOP
    ["ZADD", "zset", "2", "two", "-inf", "least"],
    ["ZREM", "bigzset", "member:0"],                 # ZPOPMIN, BZPOPMIN
    ["GEOADD", "places", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania"],
    ["GEORADIUS", "places", "15", "37", "200", "km", "STORE", "near"],
    ["SUNIONSTORE", "union", "set", "bigset"],
    ["SORT", "integers", "STORE", "sorted"],
    ["XADD", "stream", "7-0", "field", "four"],
    ["XGROUP", "SETID", "stream", "readers", "6-0"],
    ["XCLAIM", "stream", "readers", "reader", "0", "6-0", "TIME", "1600000000000", "RETRYCOUNT", "1", "FORCE", "JUSTID", "LASTID", "6-0"],
    ["XACK", "stream", "readers", "5-1"],
    ["XTRIM", "stream", "MAXLEN", "=", "3"],
    ["XSETID", "stream", "9-0"],
    ["PFADD", "visitors", "a", "b", "c"],
    ["SETRANGE", "text", "2", "VALUE"],
    ["BITOP", "NOT", "inverted", "text"],
    ["EVAL", SCRIPT, "2", "counter", "log", "5"],    # 6 sends the script, not what it did
    ["MULTI"], ["INCR", "counter"], ["SELECT", "3"], ["APPEND", "elsewhere", "!"], ["EXPIRE", "elsewhere", "500"], ["EXEC"],
    ["PING"],
    ["SELECT", "0"],
    ["RENAME", "k2", "k3"],
    ["MOVE", "frequent", "3"],
    ["SWAPDB", "1", "2"],
    ["PUBLISH", "channel", "message"],
    ["SCRIPT", "LOAD", "return 1"],
    ["EVALSHA", hashlib.sha1(SCRIPT.encode()).hexdigest(), "2", "counter", "log", "10"],  # all replicas know it by now
]


@contextlib.contextmanager
def replicas(primary):
    """Ours and Debian's redis-server, both following."""
    with Node(OURS, BASE) as ours, Node(REFERENCE, BASE) as theirs:
        connections = [node.start().connect() for node in (ours, theirs)]
        for connection in connections:
            follow(connection, primary.port)
        yield ours, theirs, connections
        check_equal(info(connections[0], "master_link_status"), "up")


def check_same_data(connections):
    """Relative deadlines begin when each replica hears of them."""
    compare(*({key: value[:2] for key, value in contents(connection).items()} for connection in connections))
    for key in ("with60", "with62", "setex", "psetex", "k", "list", "hash", "text"):
        left = [connection.call("PTTL", key) for connection in connections]
        check(900_000 < left[0] <= 1_000_000 and abs(left[0] - left[1]) < 20_000, "PTTL of %s: %r" % (key, left))


def conversation(diskless):
    with Redis6(diskless) as primary, replicas(primary) as (ours, theirs, connections):
        primary.heard_by(ours, theirs)
        compare(*map(contents, connections))
        primary.say(*LINES)
        primary.heard_by(ours, theirs)
        check_same_data(connections)
        check_equal(connections[0].call("GET", "counter"), b"16")
        check_equal(connections[0].call("GET", "expired"), None)
        check_equal(primary.full, 2)


def test_a_full_sync_with_a_length():
    conversation(diskless=False)


def test_a_full_sync_without_one():
    conversation(diskless=True)


def test_going_on_after_cuts():
    """The link breaks anywhere in a command; what was heard already is not asked for again."""
    with Redis6(diskless=True) as primary, replicas(primary) as (ours, theirs, connections):
        primary.heard_by(ours, theirs)
        starts = range(0, len(LINES), 15)
        for cuts, at in enumerate(starts, 1):
            primary.say(*LINES[at:at + 15])
            primary.cut()
            eventually(lambda: primary.partial >= 2 * cuts, "both come again", 30)
            primary.say(["SELECT", "0"], ["INCR", "rounds"])
        primary.heard_by(ours, theirs)
        check_equal(connections[0].call("GET", "rounds"), b"%d" % len(starts))
        check_equal(primary.full, 2)
        check_same_data(connections)


def test_promotion_and_what_it_holds():
    """The replica that takes over has what the Redis 6 had, deadlines included, also after a restart."""
    with Redis6(diskless=False) as primary, Node(OURS, [*BASE, "--appendonly", "yes"]) as node:
        one = node.start().connect()
        follow(one, primary.port)
        primary.say(*LINES)
        primary.heard_by(node)
        check_equal(one.call("REPLICAOF", "NO", "ONE"), b"OK")
        check_equal(one.call("SET", "after", "1"), b"OK")
        before = one.call("DEBUG", "DIGEST")
        node.stop()
        one = node.start().connect()
        check_equal(one.call("DEBUG", "DIGEST"), before)
        check(900_000 < one.call("PTTL", "with60") <= 1_000_000, "the deadline survives")


if __name__ == "__main__":
    Results.run_module(globals(), TOGETHER)
