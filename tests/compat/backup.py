#!/usr/bin/python3
"""Backups: made under load, whole or not there, verified and restored by the scripts, uploaded.

  backup.py [WORD...]     tests whose names hold a word
"""
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import threading
import time

import s3_stand_in
from encryption import MAGIC, OLD, SealedNode, key_id
from persistence import AOF, RDB, Node, compare, contents, fill, info
from server import OURS, ROOT, Results, check, check_equal, eventually

SLOW = ["--rdb-key-save-delay", "2000"]


def status(connection):
    flat = connection.call("BACKUP", "STATUS")
    return dict(zip((name.decode() for name in flat[::2]), flat[1::2]))


def listing(connection):
    return [dict(zip((name.decode() for name in one[::2]), one[1::2])) for one in connection.call("BACKUP", "LIST")]


def finish(connection, state=b"ok", timeout=30):
    eventually(lambda: status(connection)["state"] != b"running", "the backup ends", timeout=timeout)
    check_equal(status(connection)["state"], state, "state (error %r)" % status(connection)["error"])


def make(connection, name="one"):
    check_equal(connection.call("BACKUP", "START", name), name.encode())
    finish(connection)


def folder(node, name=""):
    return os.path.join(node.dir, "backups", name)


def script(name, *args):
    done = subprocess.run([os.path.join(ROOT, "scripts", name), *args], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_backup_is_whole_verified_and_restored():
    for args in (RDB, AOF):
        with Node(OURS, args) as node, Node(OURS, args) as other:
            one = node.start().connect()
            fill(one)
            one.call("HSET", "timed", "a", "1", "b", "2")
            one.call("HPEXPIRE", "timed", "10000000", "FIELDS", "1", "a")
            before, digest, keys = contents(one), one.call("DEBUG", "DIGEST"), one.call("DBSIZE")
            make(one)
            now = status(one)
            check_equal((now["progress-percent"], now["keys"]), (b"100", keys + 1), "status")  # one in database 3
            check_equal(sorted(os.listdir(folder(node, "one"))), ["dump.rdb", "manifest.json"])
            check_equal(os.listdir(folder(node)), ["one"])
            with open(os.path.join(folder(node, "one"), "manifest.json")) as file:
                manifest = json.load(file)
            with open(os.path.join(folder(node, "one"), "dump.rdb"), "rb") as file:
                data = file.read()
            check_equal(manifest["files"], [{"name": "dump.rdb", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}])
            check_equal((manifest["keys"], manifest["databases"], manifest["encrypted"]), (keys + 1, {"0": keys, "3": 1}, False))
            check_equal(now["bytes"], len(data))
            found = listing(one)
            check_equal([(f["name"], f["bytes"], f["keys"], f["encrypted"]) for f in found], [(b"one", len(data), keys + 1, b"no")])
            code, text = script("verify-backup", folder(node, "one"))
            check(code == 0 and text.startswith("ok: one: %d keys" % (keys + 1)), text)
            code, text = script("restore-backup", folder(node, "one"), other.dir)
            check_equal(code, 0, text)
            two = other.start().connect()
            check_equal(two.call("DEBUG", "DIGEST"), digest)
            compare(before, contents(two))
            two.call("SET", "new", "life")
            other.kill()
            if args is AOF:
                check_equal(other.start().connect().call("GET", "new"), b"life")


def test_verify_finds_every_damage():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        one.call("SET", "a", "1")
        make(one)
        data = os.path.join(folder(node, "one"), "dump.rdb")
        manifest = os.path.join(folder(node, "one"), "manifest.json")
        good = {path: open(path, "rb").read() for path in (data, manifest)}

        def damaged(path, content, expected):
            if content is None:
                os.remove(path)
            else:
                open(path, "wb").write(content)
            code, text = script("verify-backup", folder(node, "one"))
            check(code == 1 and expected in text, "%r: exit code %d, %s" % (expected, code, text))
            target = os.path.join(node.dir, "restored")
            check_equal(script("restore-backup", folder(node, "one"), target)[0], 1, "restore of a damaged backup")
            check(not os.path.exists(os.path.join(target, "dump.rdb")), "a damaged backup was restored")
            open(path, "wb").write(good[path])

        for at in range(0, len(good[data]), 7):
            flipped = bytearray(good[data])
            flipped[at] ^= 4
            damaged(data, bytes(flipped), "does not have the SHA-256")
        damaged(data, good[data][:-1], "the manifest says")
        damaged(data, None, "No such file")
        damaged(manifest, None, "no backup")
        damaged(manifest, b"{", "is damaged")
        damaged(manifest, good[manifest].replace(b'"format": 1', b'"format": 2'), "unknown format")
        damaged(manifest, good[manifest].replace(b'"dump.rdb"', b'"../dump.rdb"'), "impossible file")
        check_equal(script("verify-backup", folder(node, "one"))[0], 0)
        check_equal(script("verify-backup", os.path.join(node.dir, "nothing"))[0], 1)
        check_equal(script("verify-backup")[0], 2)
        open(manifest, "wb").write(b"{")
        check_equal(listing(one), [{"name": b"one", "error": b"manifest.json is damaged"}])


def test_restore_refuses_to_overwrite():
    with Node(OURS, AOF) as node, Node(OURS, AOF) as other:
        one = node.start().connect()
        one.call("SET", "a", "from the backup")
        make(one)
        other.start().connect().call("SET", "a", "mine")
        other.kill()
        code, text = script("restore-backup", folder(node, "one"), other.dir)
        check(code == 1 and "already holds data (appendonlydir)" in text, text)
        check_equal(other.start().connect().call("GET", "a"), b"mine")
        other.kill()
        code, text = script("restore-backup", folder(node, "one"), other.dir, "--force")
        check(code == 0 and "moved aside" in text, text)
        check_equal(other.start().connect().call("GET", "a"), b"from the backup")
        check(any(".before-restore-" in name for name in os.listdir(other.dir)), "nothing was kept")


def test_a_backup_shows_one_instant_under_load():
    pairs = 2000
    with Node(OURS, AOF + ["--rdb-key-save-delay", "100"]) as node, Node(OURS, RDB) as other:
        one = node.start().connect()
        for i in range(pairs):
            one.call("MSET", "left:%d" % i, "0", "right:%d" % i, "0")
        ended = threading.Event()

        def write():
            mine, dice, number = node.connect(), random.Random(7), 0
            while not ended.is_set():
                number += 1
                i = dice.randrange(pairs)
                mine.pipeline([["MULTI"], ["SET", "left:%d" % i, str(number)], ["SET", "new:%d" % number, "1"],
                               ["SET", "right:%d" % i, str(number)], ["EXEC"]])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            time.sleep(0.2)
            low = one.call("DBSIZE")
            one.call("BACKUP", "START", "loaded")
            high = one.call("DBSIZE")
            seen = {status(one)["phase"]}
            while status(one)["state"] == b"running":
                seen.add(status(one)["phase"])
                time.sleep(0.002)
            check(b"snapshot" in seen, "phases %r" % seen)
        finally:
            ended.set()
            writer.join()
        finish(one)
        check_equal(script("restore-backup", folder(node, "loaded"), other.dir)[0], 0)
        two = other.start().connect()
        for i in range(pairs):
            left, right = two.call("MGET", "left:%d" % i, "right:%d" % i)
            check_equal(left, right, "pair %d" % i)
        check(low <= two.call("DBSIZE") <= high, "%d keys, expected %d to %d" % (two.call("DBSIZE"), low, high))
        check_equal(two.call("DBSIZE"), listing(one)[0]["keys"], "keys in the manifest")


def test_names():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        for name in ("", "..", "../x", "a/b", "/tmp/x", ".hidden", "a b", "x" * 101, "a\0b", "\xe4"):
            if name:
                check("The name of a backup has" in one.error("BACKUP", "START", name), "%r was taken" % name)
            check(one.error("BACKUP", "DELETE", name).startswith("ERR There is no backup"), "%r was deleted" % name)
        check_equal(one.error("BACKUP", "DELETE", "none"), "ERR There is no backup none")
        check_equal(one.call("BACKUP", "LIST"), [])
        check(not os.path.exists(folder(node)), "a directory was made")
        name = one.call("BACKUP", "START").decode()
        check(name.startswith("backup-" + time.strftime("%Y%m%d-%H", time.gmtime())), name)
        finish(one)
        make(one, "A-z_0.9")
        check_equal(one.error("BACKUP", "START", "A-z_0.9"), "ERR There is a backup A-z_0.9 already")
        check_equal([f["name"].decode() for f in listing(one)], [name, "A-z_0.9"])
        check_equal(one.call("BACKUP", "DELETE", "A-z_0.9"), b"OK")
        check_equal(os.listdir(folder(node)), [name])
        check_equal(one.error("BACKUP", "ABORT"), "ERR No backup is being made or uploaded")
        check_equal(one.error("BACKUP", "START", "a", "b"), "ERR syntax error")


def test_one_at_a_time_and_abort():
    with Node(OURS, RDB + SLOW) as node:
        one = node.start().connect()
        one.call("DEBUG", "POPULATE", "20000")
        one.call("BACKUP", "START", "long")
        check_equal(one.error("BACKUP", "START", "other"), "ERR The backup long is being made")
        check_equal(info(one, "backup_in_progress"), "1")
        check_equal(one.call("BACKUP", "LIST"), [])
        eventually(lambda: float(status(one)["progress-percent"]) > 0, "progress is made")
        check_equal(one.call("BACKUP", "ABORT"), b"OK")
        finish(one, b"aborted")
        check_equal(info(one, "backup_last_status"), "aborted")
        eventually(lambda: os.listdir(folder(node)) == [], "nothing is left")
        one.call("BGSAVE")  # a backup that waits behind a save can be given up, too
        one.call("BACKUP", "START", "waiting")
        check_equal(one.call("BACKUP", "ABORT"), b"OK")
        finish(one, b"aborted")
        one.call("CONFIG", "SET", "rdb-key-save-delay", "0")
        eventually(lambda: info(one, "rdb_bgsave_in_progress") == "0", "the save ends", timeout=30)
        check_equal(info(one, "rdb_last_bgsave_status"), "ok")
        make(one)
        check_equal((info(one, "backup_in_progress"), info(one, "backup_last_status")), ("0", "ok"))
        check(int(info(one, "backup_last_time_sec")) >= 0, "no duration")


def test_kill_leaves_no_backup_that_looks_whole():
    with Node(OURS, RDB + SLOW) as node:
        one = node.start().connect()
        one.call("DEBUG", "POPULATE", "5000")
        one.call("BACKUP", "START", "killed")
        time.sleep(0.3)
        node.kill()
        check_equal(os.listdir(folder(node)), [".unfinished-killed"])
        check_equal(script("verify-backup", folder(node, ".unfinished-killed"))[0], 1)
        one = node.start("--rdb-key-save-delay", "0").connect()
        check_equal(one.call("BACKUP", "LIST"), [])
        make(one, "next")
        check_equal(os.listdir(folder(node)), ["next"])


def test_a_full_disk_is_an_error_and_leaves_nothing():
    with Node(OURS, RDB) as node:
        one = node.start(limit=20000).connect()
        one.call("SET", "noise", os.urandom(50000))
        one.call("BACKUP", "START", "large")
        finish(one, b"failed")
        check_equal(status(one)["error"], b"Writing the snapshot: File too large")
        eventually(lambda: os.listdir(folder(node)) == [], "nothing is left")
        resource.prlimit(node.child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        check_equal(one.call("SET", "writes", "go on"), b"OK")
        make(one, "large")


def test_a_directory_that_cannot_be_used():
    with Node(OURS, RDB + ["--backup-dir", "missing/deeper"]) as node:
        one = node.start().connect()
        check_equal(one.error("BACKUP", "START", "a"), "ERR Making the directory missing/deeper: No such file or directory")
        check_equal(status(one)["state"], b"failed")
        os.mkdir(os.path.join(node.dir, "missing"))
        make(one, "a")
        check_equal(os.listdir(os.path.join(node.dir, "missing/deeper")), ["a"])


def test_old_ones_go():
    with Node(OURS, RDB + ["--backup-keep", "2"]) as node:
        one = node.start().connect()
        for name in ("z1", "a2", "m3", "b4"):
            one.call("SET", "last", name)
            make(one, name)
        eventually(lambda: sorted(os.listdir(folder(node))) == ["b4", "m3"], "two are kept")
        check_equal([f["name"] for f in listing(one)], [b"m3", b"b4"])


def test_encrypted():
    with SealedNode(AOF) as node, SealedNode(AOF) as other:
        one = node.start().connect()
        fill(one)
        before = contents(one)
        make(one)
        with open(os.path.join(folder(node, "one"), "dump.rdb"), "rb") as file:
            data = file.read()
        check(data.startswith(MAGIC) and b"hash:512" not in data, "the backup can be read")
        check_equal((listing(one)[0]["encrypted"], listing(one)[0]["key-id"].decode()), (b"yes", key_id(OLD)))
        code, text = script("verify-backup", folder(node, "one"))
        check(code == 0 and "encrypted with key " + key_id(OLD) in text, text)
        code, text = script("restore-backup", folder(node, "one"), other.dir)
        check(code == 0 and "needs data-encryption-key-file" in text, text)
        compare(before, contents(other.start().connect()))


def test_permissions_and_places():
    with Node(OURS, RDB) as node:
        one = node.start().connect()
        one.call("MULTI")
        check("not allowed" in one.error("BACKUP", "START").lower(), "BACKUP START in a transaction")
        one.call("DISCARD")
        flags = one.call("COMMAND", "INFO", "backup|start")[0]
        check({b"@admin", b"@dangerous", b"@slow"} <= set(flags[6]), "categories %r" % flags[6])
        help_text = b"\n".join(one.call("BACKUP", "HELP"))
        for word in (b"START", b"STATUS", b"LIST", b"ABORT", b"DELETE"):
            check(word in help_text, "HELP does not know %r" % word)


def s3_args(store, node, *more):
    secret = os.path.join(node.dir, "s3.secret")
    with open(secret, "w") as file:
        file.write(s3_stand_in.SECRET + "\n")
    os.chmod(secret, 0o600)
    return ["--backup-s3-endpoint", store.url, "--backup-s3-bucket", "some.bucket", "--backup-s3-prefix", "quoll/node-1/",
            "--backup-s3-region", s3_stand_in.REGION, "--backup-s3-access-key", s3_stand_in.ACCESS,
            "--backup-s3-secret-key-file", secret, *more]


def uploaded(connection, state=b"ok", timeout=60):
    eventually(lambda: status(connection)["upload-state"] not in (b"running", b"none"), "the upload ends", timeout=timeout)
    now = status(connection)
    check_equal(now["upload-state"], state, "upload-state (error %r)" % now["upload-error"])
    return now


def check_objects(store, node, name):
    for file_name in ("dump.rdb", "manifest.json"):
        with open(os.path.join(folder(node, name), file_name), "rb") as file:
            check(store.objects.get("some.bucket/quoll/node-1/%s/%s" % (name, file_name)) == file.read(),
                  "%s was not uploaded as it is" % file_name)
    check_equal([entry[4] for entry in store.log], [None] * len(store.log), "signatures")


def test_upload():
    with s3_stand_in.Store() as store, Node(OURS, RDB) as node:
        one = node.start(*s3_args(store, node)).connect()
        fill(one)
        make(one)
        now = uploaded(one)
        check_objects(store, node, "one")
        check_equal([entry[:2] for entry in store.log],
                    [("PUT", "some.bucket/quoll/node-1/one/dump.rdb"), ("PUT", "some.bucket/quoll/node-1/one/manifest.json")])
        check_equal((now["upload-attempts"], now["upload-error"], now["phase"]), (2, b"", b"none"))
        check_equal(now["uploaded-bytes"], sum(entry[3] for entry in store.log))


def test_upload_in_parts():
    with s3_stand_in.Store() as store, Node(OURS, RDB + ["--rdbcompression", "no"]) as node:
        one = node.start(*s3_args(store, node, "--backup-s3-part-size", "5mb")).connect()
        one.call("SET", "large", os.urandom(12 << 20))
        store.late_failures = 1
        make(one)
        uploaded(one)
        check_objects(store, node, "one")
        sizes = [entry[3] for entry in store.log if "partNumber" in entry[2]]
        check_equal([sizes[:2], sizes[2] > 2 << 20], [[5 << 20, 5 << 20], True], "parts")
        check_equal(store.parts, {}, "unfinished uploads")
        store.log.clear()
        store.failures = [200, 403]  # an answer without an UploadId is no answer; then a refusal
        make(one, "two")
        uploaded(one, b"failed")
        store.failures = []
        store.log.clear()
        with open(os.path.join(node.dir, "s3.secret"), "w") as file:
            file.write("wrong")
        make(one, "three")
        now = uploaded(one, b"failed")
        check(now["upload-error"] == b"three/dump.rdb: HTTP 403 SignatureDoesNotMatch: the signature does not fit", now["upload-error"])


def test_upload_is_tried_again():
    with s3_stand_in.Store() as store, Node(OURS, RDB) as node:
        one = node.start(*s3_args(store, node)).connect()
        one.call("SET", "a", "1")
        store.failures = [503, 500, 429]
        make(one)
        now = uploaded(one)
        check_equal(now["upload-attempts"], 5)
        check_objects(store, node, "one")
        store.failures = [400]
        make(one, "two")
        now = uploaded(one, b"failed")
        check_equal(now["upload-error"], b"two/dump.rdb: HTTP 400 Planned: as planned")
        check_equal(script("verify-backup", folder(node, "two"))[0], 0)  # the backup itself stands


def test_upload_to_nobody_can_be_given_up():
    with s3_stand_in.Store() as store, Node(OURS, RDB) as node:
        one = node.start(*s3_args(store, node)).connect()
        one.call("SET", "a", "1")
        store.hold = threading.Event()
        make(one)
        eventually(lambda: store.log, "the request arrives")
        check_equal(status(one)["upload-state"], b"running")
        check_equal(info(one, "backup_upload_in_progress"), "1")
        check_equal(one.error("BACKUP", "START", "two"), "ERR The backup one is being uploaded. BACKUP ABORT would end that")
        check_equal(one.call("BACKUP", "ABORT"), b"OK")
        uploaded(one, b"aborted", timeout=5)
        store.hold.set()
        store.hold = None
        store.server.shutdown()
        store.server.server_close()
        make(one, "two")
        eventually(lambda: b"connect" in status(one)["upload-error"].lower(), "the error is told while it is tried")
        check_equal(one.call("BACKUP", "ABORT"), b"OK")  # between two attempts
        uploaded(one, b"aborted", timeout=5)
        make(one, "three")
        node.stop()  # while it is tried
        check_equal(node.child.returncode, 0, "exit code")
        store.thread.join()
        store.server.shutdown = store.server.server_close = lambda: None


def test_upload_configuration():
    with s3_stand_in.Store() as store, Node(OURS, RDB) as node:
        args = s3_args(store, node)
        one = node.start(*args[:2]).connect()
        make(one)
        check_equal(uploaded(one, b"failed")["upload-error"], b"backup-s3-bucket is not set")
        one.call("CONFIG", "SET", "backup-s3-access-key", "x")
        node.kill()
        os.chmod(os.path.join(node.dir, "s3.secret"), 0o644)
        one = node.start(*args).connect()
        make(one, "two")
        check(b"it holds a secret: chmod 600" in uploaded(one, b"failed")["upload-error"], "a readable secret was used")
        check_equal(store.log, [])
        node.kill()
        for name, value in (("endpoint", "ftp://x"), ("endpoint", "http://x/"), ("bucket", "a/b"), ("prefix", "/a"),
                            ("prefix", "a?b"), ("region", "a:b"), ("region", ""), ("part-size", "1mb")):
            check_equal(node.start("--backup-s3-" + name, value, expect_exit=True), 1, "%s %s" % (name, value))


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run(name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
