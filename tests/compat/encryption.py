#!/usr/bin/python3
"""Encryption at rest: what is on the disk cannot be read without the key, survives kill -9, and every
damage and every missing key is a precise refusal that changes nothing.

  encryption.py [WORD...]     tests whose names hold a word
"""
import hashlib
import hmac
import os
import resource
import sys

import resp
from persistence import AOF, RDB, Node, compare, contents, fill, info
from server import OURS, Results, check, check_equal, eventually

OLD, NEW = "aa" * 32, "0123456789abcdef" * 4
MAGIC = b"\x89QSEAL\r\n"
PROTECTED = ["--enable-protected-configs", "yes"]


def key_id(text):
    secret = hmac.new(b"\0" * 32, bytes.fromhex(text), hashlib.sha256).digest()
    first = hmac.new(secret, b"quoll sealed file, key id, 1" + b"\1", hashlib.sha256).digest()
    return first[7::-1].hex()


class SealedNode(Node):
    def __init__(self, args, keys=OLD):
        super().__init__(OURS, args)
        self.key_path = os.path.join(self.dir, "the.key")
        self.set_keys(keys)

    def set_keys(self, text, mode=0o600, path=None):
        path = path or self.key_path
        if os.path.exists(path):
            os.remove(path)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)

    def start(self, *more, key=True, **options):
        return super().start(*(["--data-encryption-key-file", self.key_path] if key else []), *more, **options)

    def refused(self, text, *more, key=True):
        before = self.files()
        check_equal(self.start(*more, key=key, expect_exit=True), 1, "exit code")
        check(text in self.log(), "the log does not say %r:\n%s" % (text, self.log()))
        check_equal({name: data for name, data in self.files().items()}, before, "files after a refused start")

    def files(self):
        found = {}
        for folder, _, names in os.walk(self.dir):
            for name in names:
                path = os.path.join(folder, name)
                if not name.startswith(("log.txt", "the.key", "other.key")):
                    with open(path, "rb") as file:
                        found[os.path.relpath(path, self.dir)] = file.read()
        return found

    def check_sealed(self, *secrets, key=OLD):
        for name, data in self.files().items():
            check(not data or data.startswith(MAGIC), "%s is not sealed: %r" % (name, data[:40]))
            check(not data or data[16:24][::-1].hex() == key_id(key), "%s is not under the newest key" % name)
            for secret in secrets:
                check(secret not in data, "%s can be read in %s" % (secret, name))


def damage(node, name, at):
    path = os.path.join(node.dir, name)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def rewrite(node, connection):
    connection.call("BGREWRITEAOF")
    eventually(lambda: info(connection, "aof_rewrite_in_progress") == "0", "the rewrite ends")
    check_equal(info(connection, "aof_last_bgrewrite_status"), "ok")
    log = os.path.join(node.dir, "appendonlydir")
    eventually(lambda: len(os.listdir(log)) == 3, "the old files go")


def test_every_type_survives_in_a_sealed_log_and_kill():
    with SealedNode(AOF) as node:
        one = node.start().connect()
        fill(one)
        before = contents(one)
        node.kill()
        node.check_sealed(b"hash:512", b"REDIS", b"SELECT", b"base.rdb", b"stream")
        one = node.start().connect()
        compare(before, contents(one))
        rewrite(node, one)
        one.call("SET", "after", "the rewrite")
        before = contents(one)
        node.kill()
        node.check_sealed(b"hash:512", b"REDIS", b"SELECT", b"base.rdb", b"stream", b"the rewrite")
        compare(before, contents(node.start().connect()))


def test_every_type_survives_in_a_sealed_snapshot():
    with SealedNode(RDB) as node:
        one = node.start().connect()
        fill(one)
        before = contents(one)
        check_equal(one.call("SAVE"), b"OK")
        check_equal(one.call("DEBUG", "RELOAD"), b"OK")
        node.kill()
        node.check_sealed(b"hash:512", b"REDIS", b"stream")
        compare(before, contents(node.start().connect()))


def test_a_wrong_or_missing_key_is_refused():
    for args, name in ((RDB, "dump.rdb"), (AOF, "appendonly.aof.manifest")):
        with SealedNode(args) as node:
            one = node.start().connect()
            one.call("SET", "secret", "v")
            if args is RDB:
                one.call("SAVE")
            node.kill()
            node.refused(name + " needs the key %s, but data-encryption-key-file is not set" % key_id(OLD), key=False)
            node.set_keys(NEW)
            node.refused(name + " needs the key %s, which data-encryption-key-file does not hold (wrong key); it holds %s"
                         % (key_id(OLD), key_id(NEW)))
            node.set_keys(OLD)
            check_equal(node.start().connect().call("GET", "secret"), b"v")


def test_key_files_that_are_refused():
    with SealedNode(RDB) as node:
        for mode in (0o640, 0o604, 0o622):
            node.set_keys(OLD, mode)
            node.refused("the.key: its group or everybody may use it; it holds a secret: chmod 600")
        node.set_keys("zz" * 32)
        node.refused("Can't use %s: line 1 is not a key of 64 hex digits" % node.key_path)
        os.remove(node.key_path)
        node.refused("Can't read %s: No such file or directory" % node.key_path)
        node.set_keys("")
        node.refused("it holds no key")
        os.remove(node.key_path)
        with open(node.key_path, "wb") as file:
            file.write(b"\xaa" * 32)
        os.chmod(node.key_path, 0o400)
        one = node.start().connect()
        one.call("SAVE")
        node.check_sealed(key=OLD)


def test_a_flipped_bit_anywhere_is_refused():
    with SealedNode(RDB) as node:
        one = node.start().connect()
        one.call("DEBUG", "POPULATE", "3000", "key", "200")
        one.call("SAVE")
        node.kill()
        size = os.path.getsize(os.path.join(node.dir, "dump.rdb"))
        for at in (0, 20, 60, 66, 80, 97, size // 2, size - 20, size - 1):
            damage(node, "dump.rdb", at)
            node.refused("The encrypted file dump.rdb is damaged: ")
            check("offset" in node.log(), "no offset is named")
            damage(node, "dump.rdb", at)
        check_equal(node.start().connect().call("DBSIZE"), 3000)


def test_damage_in_the_log_is_refused_and_only_a_torn_end_is_cut():
    with SealedNode(AOF) as node:
        one = node.start().connect()
        for i in range(50):
            one.call("SET", "key:%d" % i, "value")
        node.kill()
        name = "appendonlydir/appendonly.aof.1.incr.aof"
        path = os.path.join(node.dir, name)
        size = os.path.getsize(path)
        for at in (70, 100, size // 2, size - 1):
            damage(node, name, at)
            node.refused("appendonly.aof.1.incr.aof is damaged: record ")
            damage(node, name, at)
        for cut in (1, 15, 16, 17, 30):
            os.truncate(path, os.path.getsize(path) - cut)
            node.refused("appendonly.aof.1.incr.aof ends inside record ", "--aof-load-truncated", "no")
            one = node.start().connect()
            check("had a torn end: " in node.log(), "the log does not report what was cut")
            check_equal(one.call("DBSIZE"), 49, "keys after a torn end of %d bytes" % cut)
            check_equal(one.call("SET", "key:49", "value"), b"OK")
            node.kill()
            check_equal(node.start().connect().call("DBSIZE"), 50)
            node.kill()


def test_a_torn_log_that_is_not_the_last_is_refused():
    with SealedNode(AOF) as node:
        one = node.start("--rdb-key-save-delay", "100000").connect()
        for i in range(100):
            one.call("SET", "key:%d" % i, "value")
        one.call("BGREWRITEAOF")  # slow: a second increment begins
        eventually(lambda: os.path.exists(os.path.join(node.dir, "appendonlydir/appendonly.aof.2.incr.aof")), "it begins")
        one.call("SET", "later", "value")
        node.kill()
        path = os.path.join(node.dir, "appendonlydir/appendonly.aof.1.incr.aof")
        os.truncate(path, os.path.getsize(path) - 3)
        node.refused("appendonly.aof.1.incr.aof ends inside record ")


def test_rotation():
    with SealedNode(AOF) as node:
        one = node.start().connect()
        fill(one)
        check_equal(one.call("SAVE"), b"OK")
        node.kill()
        node.set_keys("# the newer first\n%s\n%s\n" % (NEW, OLD))
        one = node.start().connect()
        one.call("SET", "rotated", "1")
        before = contents(one)
        rewrite(node, one)
        check_equal(one.call("SAVE"), b"OK")
        node.kill()
        node.check_sealed(key=NEW)
        node.set_keys(NEW)
        compare(before, contents(node.start().connect()))


def test_rotation_while_running():
    with SealedNode(AOF + PROTECTED) as node:
        one = node.start().connect()
        one.call("SET", "a", "1")
        other = os.path.join(node.dir, "other.key")
        check("Can't read" in one.error("CONFIG", "SET", "data-encryption-key-file", other), "a missing key file was taken")
        check_equal(one.call("CONFIG", "GET", "data-encryption-key-file")[1].decode(), node.key_path)
        node.set_keys(NEW + "\n" + OLD, path=other)
        check_equal(one.call("CONFIG", "SET", "data-encryption-key-file", other), b"OK")
        rewrite(node, one)
        one.call("SET", "b", "2")
        node.kill()
        node.check_sealed(key=NEW)
        node.set_keys(NEW)
        check_equal(node.start().connect().call("MGET", "a", "b"), [b"1", b"2"])


def test_plain_data_is_taken_over_and_sealed():
    for args in (RDB, AOF):
        with SealedNode(args) as node:
            one = node.start(key=False).connect()
            fill(one)
            before = contents(one)
            if args is RDB:
                one.call("SAVE")
            node.kill()
            check(not any(data.startswith(MAGIC) for data in node.files().values()), "sealed without a key")
            one = node.start().connect()
            compare(before, contents(one))
            done = "rdb_saves" if args is RDB else "aof_rewrites"
            eventually(lambda: info(one, done) == "1", "the files are written anew")
            one.call("SET", "after", "that")
            if args is RDB:
                one.call("SAVE")
            before = contents(one)
            node.kill()
            node.check_sealed(b"hash:512")
            compare(before, contents(node.start().connect()))


def test_sealed_data_becomes_plain_again():
    for args in (RDB, AOF):
        with SealedNode(args + PROTECTED) as node:
            one = node.start().connect()
            fill(one)
            before = contents(one)
            one.call("SAVE")
            check_equal(one.call("CONFIG", "SET", "data-encryption-key-file", ""), b"OK")
            one.call("SAVE")
            if args is AOF:
                rewrite(node, one)
            node.kill()
            check(not any(data.startswith(MAGIC) for data in node.files().values()), "still sealed")
            compare(before, contents(node.start(key=False).connect()))


def test_a_full_disk_and_recovery():
    with SealedNode(AOF) as node:
        one = node.start(limit=60000).connect()
        acknowledged, refused = 0, False
        for i in range(100):
            mine = node.connect()
            mine.send(resp.encode(["SET", "key:%d" % i, b"x" * 2000]))
            try:
                reply = mine.read(0.3)
            except resp.NoReply:
                reply = None  # not acknowledged: the bytes are not on disk
            mine.close()
            refused = bool(reply) and reply.startswith(b"-MISCONF")
            acknowledged += reply == b"+OK\r\n"
            if refused:
                break
        check(refused, "writes were not refused")
        resource.prlimit(node.child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        eventually(lambda: info(one, "aof_last_write_status") == "ok", "the log recovers", timeout=10)
        check_equal(one.call("SET", "healed", "1"), b"OK")
        size = one.call("DBSIZE")
        check(size > acknowledged, "%d keys, %d were acknowledged" % (size, acknowledged))
        node.kill()
        check_equal(node.start().connect().call("DBSIZE"), size)
        node.check_sealed(b"x" * 50)


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run(name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
