#!/usr/bin/python3
"""quoll-check beside redis-check-aof and redis-check-rdb: on files of redis-server and of ours, whole,
cut and damaged; by its own name and by theirs.

  check_tool.py [WORD...]     tests whose names hold a word
"""
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from persistence import AOF, RDB, Node, fill, info
from server import OURS, REFERENCE, Results, check, check_equal, eventually

TOOL = os.environ.get("QUOLL_CHECK") or os.path.join(os.path.dirname(OURS), "quoll-check")
CHECK_AOF, CHECK_RDB = "/usr/bin/redis-check-aof", "/usr/bin/redis-check-rdb"
MEMORY_MAX_KIB = 64 * 1024  # of a check, whatever the size of the file
LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"


def run(tool, *args, answer=b"", cwd=None):
    done = subprocess.run([tool, *map(str, args)], input=answer, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd=cwd, timeout=60)
    text = done.stdout.decode("utf-8", "replace")
    check("Sanitizer" not in text and "runtime error" not in text, text)
    return done.returncode, text


class Files:
    """A temporary folder, with the tool in it under the reference's names."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="quoll-check-")
        self.as_aof, self.as_rdb = self.path("redis-check-aof"), self.path("redis-check-rdb")
        for link in (self.as_aof, self.as_rdb):
            os.symlink(TOOL, link)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def put(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def same_place(reference, ours, data):
    """Both say how far the file is good; ours ends with the commit, theirs behind annotations that follow."""
    theirs, mine = (re.search(r"ok_up_to=(\d+),", text) for text in (reference, ours))
    check_equal(bool(mine), bool(theirs), ours)
    if mine:
        between = data[int(mine.group(1)):int(theirs.group(1))]
        check(mine.group(1) == theirs.group(1) or re.fullmatch(rb"(#TS:\d+\r\n)+", between), "%s\n%s" % (reference, ours))


def same_lines(reference, ours):
    """Every line of the reference stands in ours, in its order. It counts the lines of all files together."""
    if reference.count("AOF analyzed") > 1:
        reference, ours = (re.sub("ok_up_to_line=[0-9]+, ", "", text) for text in (reference, ours))
    rest = iter(ours.splitlines())
    for line in reference.splitlines():
        check(line in rest, "line %r is missing or out of place in:\n%s" % (line, ours))


LOG = (b"#TS:1700000000\r\n" + command("SELECT", 0) + command("SET", "a", "1") + command("SET", "b", "line\nend") +
       b"#TS:1700000010\r\n" + command("MULTI") + command("RPUSH", "l", "x", "y") + command("INCR", "n") + command("EXEC") +
       command("SELECT", 3) + command("SET", "c", "3") + b"#TS:1700000020\r\n" + command("DEL", "c"))
LOG_STAMPS = (1700000000, 1700000010, 1700000020)


def make(binary, args, work):
    """A folder as a server leaves it."""
    with Node(binary, args) as node:
        connection = node.start().connect()
        fill(connection)
        work(connection)
        node.stop()
        shutil.move(node.dir, node.dir + "-kept")
    return node.dir + "-kept"


def folder_of(connection):
    return os.path.join(connection.call("CONFIG", "GET", "dir")[1].decode(), "appendonlydir")


def make_log(binary, *args):
    def work(connection):
        if binary == REFERENCE:
            connection.call("FUNCTION", "LOAD", LIBRARY)
        base = lambda: any(".2.base." in name for name in os.listdir(folder_of(connection)))
        connection.call("BGREWRITEAOF")
        eventually(lambda: base() and info(connection, "aof_rewrite_in_progress") == "0", "the rewrite ends")
        time.sleep(1.1)  # a timestamp is written once a second
        connection.call("SET", "after", "the rewrite")
        connection.call("MULTI")
        connection.call("SET", "x", "1")
        connection.call("SET", "y", "2")
        connection.call("EXEC")
    return make(binary, AOF + ["--aof-timestamp-enabled", "yes", *args], work)


def manifest_of(folder):
    return os.path.join(folder, "appendonlydir", "appendonly.aof.manifest")


def test_rdb_files_of_both():
    for binary, args in ((REFERENCE, []), (OURS, ["--rdb-version", "10"])):
        folder = make(binary, RDB + args, lambda connection: connection.call("SAVE"))
        try:
            code, text = run(TOOL, "dump.rdb", cwd=folder)
            check_equal(code, 0, text)
            reference_code, reference = run(CHECK_RDB, "dump.rdb", cwd=folder)
            check_equal(reference_code, 0, reference)
            same_lines(reference, text)
            for part in ("[info] RDB version 10", "db0 stream: ", "db0 hash: ", "[info] big key: db0 ",
                         "[info] keys expire from 20", "[info] encodings: "):
                check(part in text, "%r is missing in:\n%s" % (part, text))
        finally:
            shutil.rmtree(folder)


def test_versions_11_and_12_of_ours():
    for version in ("11", "12"):
        def work(connection):
            if version == "12":
                connection.call("HSET", "timed", "a", "1")
                connection.call("HPEXPIRE", "timed", "10000000", "FIELDS", "1", "a")
            connection.call("SET", "soon", "gone", "PX", "1000000")
            connection.call("SAVE")
        folder = make(OURS, RDB + ["--rdb-version", version], work)
        try:
            code, text = run(TOOL, folder)
            check_equal(code, 0, text)
            check("RDB version " + version in text and "RDB looks OK!" in text, text)
            check(("hashes stored with field deadlines: 1" in text) == (version == "12"), text)
        finally:
            shutil.rmtree(folder)


def test_logs_of_both():
    for binary, args in ((REFERENCE, ()), (REFERENCE, ("--aof-use-rdb-preamble", "no")), (OURS, ("--rdb-version", "10")),
                         (OURS, ("--aof-use-rdb-preamble", "no", "--rdb-version", "10"))):
        folder = make_log(binary, *args)
        try:
            path = manifest_of(folder)
            reference_code, reference = run(CHECK_AOF, path)
            check_equal(reference_code, 0, reference)
            for tool_path in (path, folder):
                code, text = run(TOOL, tool_path)
                check_equal(code, 0, text)
                same_lines(reference, text)
                check("All AOF files and manifest are valid" in text, text)
                check(re.search(r"timestamps from 20\d\d-", text) and "of MULTI blocks: 1" in text, text)
        finally:
            shutil.rmtree(folder)


def test_single_log_answers_as_the_reference():
    with Files() as files:
        base = None
        folder = make(REFERENCE, RDB, lambda connection: connection.call("SAVE"))
        try:
            base = read(os.path.join(folder, "dump.rdb"))
        finally:
            shutil.rmtree(folder)
        for name, data in (("plain", LOG), ("empty", b""), ("preamble", base + LOG), ("torn preamble", base + LOG[:-5]),
                           ("torn base", base[:-9]), ("junk", b"hello"), ("torn", LOG[:-1]), ("open", LOG[:LOG.index(b"EXEC") - 9])):
            path = files.put("file.aof", data)
            reference_code, reference = run(CHECK_AOF, path)
            code, text = run(files.as_aof, path)
            check_equal(code, reference_code, name + ":\n" + text)
            if code == 0:
                same_lines(reference, text)
            same_place(reference, text, data)


def test_arguments_as_the_reference_takes_them():
    with Files() as files:
        path = files.put("file.aof", LOG)
        rdb = files.put("file.rdb", b"REDIS0010\xff" + bytes(8))
        for args in ([], ["--fox", path], ["nofile"], [path, path], ["--truncate-to-timestamp", "x", path],
                     ["--truncate-to-timestamp", "0", path], ["--fix", "nofile"], [path]):
            reference_code, reference = run(CHECK_AOF, *args)
            code, text = run(files.as_aof, *args)
            check_equal(code, reference_code, "%r: %s" % (args, text))
            if code:
                check(text.split(" ")[0] == reference.split(" ")[0], "%r: %r and %r" % (args, text, reference))
        for args in ([], ["nofile"], [rdb], [path], ["--version"], [rdb, rdb]):
            reference_code, _ = run(CHECK_RDB, *args)
            code, text = run(files.as_rdb, *args)
            check_equal(code, reference_code, "%r: %s" % (args, text))
        for args in (["--fix", rdb, rdb], ["--fix", "--truncate-to-timestamp", "5", path], ["--nonsense"], [files.path("none")]):
            check_equal(run(TOOL, *args)[0], 1, repr(args))
        check_equal(run(TOOL, "--help")[0], 0)


def test_every_cut_of_a_log():
    with Files() as files:
        for size in range(1, len(LOG)):
            path = files.put("file.aof", LOG[:size])
            reference_code, reference = run(CHECK_AOF, path)
            code, text = run(TOOL, path)
            if code == reference_code:
                if code:
                    same_place(reference, text, LOG[:size])
                    check("[additional info] In file " + path + ", at offset" in text, text)
            else:  # an annotation without its end: the reference takes it for the end of the file
                check(code == 1 and LOG[:size].rfind(b"#") > LOG[:size].rfind(b"\n"), "cut at %d: %d\n%s" % (size, code, text))


def test_flipped_bits_in_a_log():
    dice = random.Random(7)
    found = 0
    with Files() as files:
        for _ in range(150):
            bad = bytearray(LOG)
            at = dice.randrange(len(bad))
            bad[at] ^= 1 << dice.randrange(8)
            path = files.put("file.aof", bytes(bad))
            code, text = run(TOOL, path)
            check(code in (0, 1), text)
            # Ours sees all the reference sees, which checks neither line ends nor digits.
            if run(CHECK_AOF, path)[0]:
                check_equal(code, 1, "byte %d:\n%s" % (at, text))
            if code:
                found += 1
                check("ok_up_to=" in text and path in text, text)
    check(found > 40, "only %d of 150 flips were damage" % found)


def rdb_sample():
    folder = make(OURS, RDB + ["--rdb-version", "12"], lambda connection: (
        connection.call("HSET", "timed", "a", "1"), connection.call("HPEXPIRE", "timed", "10000000", "FIELDS", "1", "a"),
        connection.call("SAVE")))
    try:
        return read(os.path.join(folder, "dump.rdb"))
    finally:
        shutil.rmtree(folder)


def test_damaged_rdb_files():
    dice = random.Random(11)
    with Files() as files:
        whole = rdb_sample()
        path = files.put("file.rdb", whole)
        check_equal(run(TOOL, path)[0], 0)
        for i in range(120):
            bad = bytearray(whole)
            at = dice.randrange(9, 3000) if i % 2 else dice.randrange(9, len(bad))
            bad[at] ^= 1 << dice.randrange(8)
            code, text = run(TOOL, files.put("file.rdb", bytes(bad)))
            check_equal(code, 1, "flip at %d:\n%s" % (at, text))
            check("--- RDB ERROR DETECTED ---" in text and "In file " + path in text, text)
            check(re.search(r"\[offset \d+\] \S", text), text)
            if i % 4 == 0:  # the same where no checksum tells
                bad[-8:] = bytes(8)
                code, text = run(TOOL, files.put("file.rdb", bytes(bad)))
                check(code in (0, 1), text)
        for _ in range(40):
            size = dice.randrange(0, len(whole))
            code, text = run(TOOL, files.put("file.rdb", whole[:size]))
            check_equal(code, 1, "cut at %d:\n%s" % (size, text))
            check(size < 5 or "Unexpected EOF reading RDB file" in text, text)


def test_verdict_is_the_servers():
    """Without a checksum: what the tool accepts the server starts with, and the other way round."""
    dice = random.Random(3)
    whole = bytearray(rdb_sample())
    whole[-8:] = bytes(8)
    wanted = {0: 4, 1: 6}
    with Node(OURS, RDB + ["--databases", "16"]) as node:
        path = os.path.join(node.dir, "dump.rdb")
        for _ in range(500):
            bad = bytearray(whole)
            bad[dice.randrange(100, len(bad))] ^= 1 << dice.randrange(8)
            with open(path, "wb") as file:
                file.write(bytes(bad))
            code, text = run(TOOL, path)
            if wanted[code] == 0:
                continue
            wanted[code] -= 1
            try:
                node.start()
                started = True
            except AssertionError:
                started = False
            node.kill()
            # Twice the same key is what the tool, which keeps none, cannot see.
            twice = not started and "occurs twice" in node.log()
            check(started == (code == 0) or twice, "tool: %d, server: %s\n%s\n%s" % (code, started, text, node.log()))
            if not any(wanted.values()):
                return
    check(False, "too few samples of a kind: %r" % wanted)


def test_fix_asks_and_cuts():
    torn = LOG + command("SET", "torn", "value")[:-4]
    with Files() as files:
        for tool in (TOOL, files.as_aof, CHECK_AOF):
            for answer, cut in ((b"n\n", False), (b"", False), (b"\n", False), (b"y\n", True), (b"Yes\n", True)):
                path = files.put("file.aof", torn)
                code, text = run(tool, "--fix", path, answer=answer)
                check_equal(code, 0 if cut else 1, text)
                check_equal(read(path), LOG if cut else torn, "the file after %r" % answer)
                check("Continue? [y/N]: " in text and "with %d bytes, to %d bytes" % (len(torn) - len(LOG), len(LOG)) in text, text)
                check(("Successfully truncated AOF" in text) == cut, text)
            check_equal(run(tool, path)[0], 0)
        code, text = run(TOOL, "--fix", files.put("file.aof", torn))
        check("What is cut begins with: *3" in text, text)
        bad = LOG.replace(b"INCR", b"IN\r\n")[:-30].replace(b"$1\r\nn\r\n", b"$1\r\nnn\r\n")
        code, text = run(TOOL, "--fix", files.put("file.aof", bad), answer=b"y\n")
        check_equal(code, 0, text)
        check("no torn tail but damage" in text, text)
        check_equal(run(TOOL, files.path("file.aof"))[0], 0)


def test_fix_of_a_manifest():
    for binary in (REFERENCE, OURS):
        folder = make_log(binary, *([] if binary == REFERENCE else ["--rdb-version", "10"]))
        try:
            log = os.path.join(folder, "appendonlydir", sorted(n for n in os.listdir(folder + "/appendonlydir") if ".incr." in n)[-1])
            whole = read(log)
            os.truncate(log, len(whole) - 3)
            check_equal(run(TOOL, folder)[0], 1)
            code, text = run(TOOL, "--fix", manifest_of(folder), answer=b"y\n")
            check_equal(code, 0, text)
            check("Successfully truncated AOF " + os.path.basename(log) in text and "All AOF files" in text, text)
            # The last command is one MULTI block: it goes as a whole.
            check(whole.startswith(read(log)) and whole[len(read(log)):].startswith(b"*1\r\n$5\r\nMULTI"), "cut at %d" % len(read(log)))
            check_equal(run(CHECK_AOF, manifest_of(folder))[0], 0)
            for server in (OURS, REFERENCE):
                with Node(server, AOF, folder=tempfile.mkdtemp(prefix="quoll-test-")) as node:
                    shutil.copytree(folder + "/appendonlydir", node.dir + "/appendonlydir")
                    connection = node.start().connect()
                    check_equal(connection.call("MGET", "after", "x", "y"), [b"the rewrite", None, None])
        finally:
            shutil.rmtree(folder)


def put_manifest(files, *names):
    lines = b"".join(b"file %s seq %d type %s\n" % (name.encode(), i + 1, b"b" if ".base." in name else b"i")
                     for i, name in enumerate(names))
    return files.put("appendonly.aof.manifest", lines)


def test_only_the_last_file_is_cut():
    with Files() as files:
        for cut_first in (False, True):
            files.put("appendonly.aof.1.incr.aof", LOG[:-3] if cut_first else LOG)
            files.put("appendonly.aof.2.incr.aof", LOG if cut_first else LOG[:-3])
            path = put_manifest(files, "appendonly.aof.1.incr.aof", "appendonly.aof.2.incr.aof")
            for tool in (CHECK_AOF, TOOL):
                code, text = run(tool, "--fix", path, answer=b"n\n")
                check_equal(code, 1, text)
                check(("because it is not the last file" in text) == cut_first, text)


def test_truncating_to_a_timestamp():
    with Files() as files:
        for stamp in [LOG_STAMPS[0] - 1, *LOG_STAMPS, 1700000005, 1700000015, 1700000025, 1]:
            results = []
            for tool in (CHECK_AOF, files.as_aof, TOOL):
                path = files.put("file.aof", LOG)
                code, text = run(tool, "--truncate-to-timestamp", stamp, path)
                line = [line for line in text.splitlines() if "timestamp" in line and "info" not in line]
                results.append((code, read(path), line))
            check_equal(results[1], results[0], "to %d" % stamp)
            check_equal(results[2], results[0], "to %d" % stamp)
        for first, stamp in ((LOG, LOG_STAMPS[0]), (LOG[:-31], LOG_STAMPS[2])):
            results = []
            for tool in (CHECK_AOF, TOOL):
                files.put("appendonly.aof.1.incr.aof", first)
                files.put("appendonly.aof.2.incr.aof", LOG)
                path = put_manifest(files, "appendonly.aof.1.incr.aof", "appendonly.aof.2.incr.aof")
                code, text = run(tool, "--truncate-to-timestamp", stamp, path)
                results.append((code, read(files.path("appendonly.aof.1.incr.aof")), read(files.path("appendonly.aof.2.incr.aof")),
                                "not the last file" in text))
            check_equal(results[1], results[0], "manifest to %d" % stamp)


def test_manifests():
    with Files() as files:
        files.put("a.incr.aof", LOG)
        for text, phrase in ((b"", "Found an empty AOF manifest"), (b"file a.incr.aof seq 1 type x\n", "Unknown AOF file type"),
                             (b"file a.incr.aof seq 1\n", "Invalid AOF manifest file format"),
                             (b"file a.incr.aof seq 1 type b\nfile b seq 2 type b\n", "Found duplicate base file information"),
                             (b"file a.incr.aof seq 2 type i\nfile b seq 2 type i\n", "Found a non-monotonic sequence number"),
                             (b"file " + b"a" * 2000 + b" seq 1 type i\n", "The AOF manifest file contains too long line"),
                             (b"file none.aof seq 1 type i\n", "No such file or directory"),
                             (b"file a/b seq 1 type i\n", "File can't be a path, just a filename")):
            path = files.put("appendonly.aof.manifest", text)
            code, said = run(TOOL, path)
            check_equal(code, 1, said)
            check(phrase in said, "%r is missing in:\n%s" % (phrase, said))
            if text:
                check_equal(run(CHECK_AOF, path)[0], 1)
        path = files.put("appendonly.aof.manifest", b"# a comment\nfile a.incr.aof seq 1 type i\n")
        files.put("appendonly.aof.7.incr.aof", LOG)
        code, said = run(TOOL, path)
        check_equal(code, 0, said)
        check("not listed in the manifest, and not read by the server: appendonly.aof.7.incr.aof" in said, said)
    with Files() as files:
        os.mkdir(files.path("nothing"))
        check_equal(run(TOOL, files.path("nothing"))[0], 1)


def length(number):
    return bytes([number]) if number < 64 else b"\x81" + struct.pack(">Q", number)


def string(data):
    return length(len(data)) + data


def module_id(name, version=1):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = 0
    for letter in name:
        number = number << 6 | letters.index(letter)
    return number << 10 | version


def rdb(*items, version=b"0012"):
    return b"REDIS" + version + b"".join(items) + b"\xff" + bytes(8)


def test_modules_slot_info_and_functions():
    aux = b"\xf7" + length(module_id("test-aux1")) + b"\x02\x01" + b"\x05" + string(b"payload") + b"\x00"
    value = b"\x07" + string(b"key") + length(module_id("mymodtype")) + b"\x02\x05" + b"\x05" + string(b"x") + b"\x00"
    slots = b"\xf4" + length(7) + length(1) + length(0)
    key = b"\xfe\x00" + slots + b"\xfb\x01\x00" + b"\x00" + string(b"k") + string(b"v")
    with Files() as files:
        code, text = run(TOOL, files.put("module.rdb", rdb(aux, key, value)))
        check_equal(code, 0, text)
        check("MODULE AUX for: test-aux1" in text and "db0 module: 1 key" in text and "WARNING: data of modules" in text, text)
        check("db0 string: 1 key" in text, text)
        code, text = run(TOOL, files.put("function.rdb", rdb(b"\xf5" + string(LIBRARY.encode()), key)))
        check_equal(code, 0, text)
        check("function libraries: 1" in text and "#!lua name=lib" in text, text)
    for items, expected in (((key,), b"v"), ((aux, key), "no matching module 'test-aux1'"),
                            ((key, value), "no matching module type 'mymodtype'")):
        with Node(OURS, RDB) as node:
            with open(os.path.join(node.dir, "dump.rdb"), "wb") as file:
                file.write(rdb(*items))
            if isinstance(expected, bytes):
                check_equal(node.start().connect().call("GET", "k"), expected)
            else:
                check_equal(node.start(expect_exit=True), 1)
                check(expected in node.log(), node.log())


def test_encrypted_files():
    with Files() as files:
        key = files.put("key", b"0123456789abcdef" * 4)
        other = files.put("other", b"f" * 64)
        os.chmod(key, 0o600)
        folder = make(OURS, AOF + ["--data-encryption-key-file", key], lambda connection: connection.call("SAVE"))
        try:
            code, text = run(TOOL, "--data-encryption-key-file", key, folder)
            check_equal(code, 0, text)
            check("RDB looks OK!" in text and "All AOF files and manifest are valid" in text and "db0 hash: " in text, text)
            for args in ([], ["--data-encryption-key-file", other], ["--data-encryption-key-file", files.path("none")]):
                code, text = run(TOOL, *args, os.path.join(folder, "dump.rdb"))
                check_equal(code, 1, text)
                check("key" in text or "none" in text, text)
            path = os.path.join(folder, "dump.rdb")
            bad = bytearray(read(path))
            bad[len(bad) // 2] ^= 4
            with open(path, "wb") as file:
                file.write(bytes(bad))
            code, text = run(TOOL, "--data-encryption-key-file", key, path)
            check_equal(code, 1, text)
            check("dump.rdb" in text and "offset" in text, text)
        finally:
            shutil.rmtree(folder)


def peak_kib(path):
    child = subprocess.Popen([TOOL, path], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    check_equal(child.returncode, 0, "exit code")
    return usage.ru_maxrss


def test_large_files_in_little_memory():
    with Files() as files:
        piece = b"".join(b"\x00" + string(b"key:%06d" % i) + b"\x80" + struct.pack(">I", 1000) + b"v" * 1000 for i in range(1000))
        with open(files.path("large.rdb"), "wb") as file:
            file.write(b"REDIS0011\xfe\x00")
            for _ in range(200):
                file.write(piece)
            file.write(b"\xff" + bytes(8))
        piece = b"".join(command("SET", "key:%06d" % i, "v" * 1000) for i in range(1000))
        with open(files.path("large.aof"), "wb") as file:
            for _ in range(200):
                file.write(piece)
        for name in ("large.rdb", "large.aof"):
            check(os.path.getsize(files.path(name)) > 200_000_000, "the file is not large")
            used = peak_kib(files.path(name))
            check(used < MEMORY_MAX_KIB, "%s: %d KiB" % (name, used))


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run(name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
