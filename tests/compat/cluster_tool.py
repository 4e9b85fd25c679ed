#!/usr/bin/python3
"""What people do with redis-cli, unmodified, beside changing a cluster: backups of every node, snapshots of a
member, data that come from a server alone, and the questions of `redis-cli --cluster`. Where it prints something,
it is what it prints of three masters of redis-server.

  cluster_tool.py [WORD...]      tests whose names hold a word
"""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from redis.crc import key_slot

import resp
from persistence import compare, contents, fill
from server import OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually, free_port

PATIENCE = 60  # seconds: the machine may be busy
TOGETHER = 2  # tests
SLOTS = 16384
# Until a replica is spoken to: others might come. Tools do not wait for that.
SYNC_DELAY = 600
LIBRARY = "#!lua name=tool\nredis.register_function('f', function() return 1 end)"


class ToolNode(ServerUnderTest):
    """A node of a cluster, of either server, with a configuration file as `CONFIG REWRITE` wants one."""

    def __init__(self, binary, *more):
        config = "cluster-enabled yes\nbind 127.0.0.1\ncluster-port %d\nenable-debug-command yes\n" % free_port()
        config += "repl-diskless-sync-delay %d\n" % (SYNC_DELAY if binary == OURS else 0)
        super().__init__(binary, more, config=config)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def ask(self, *words):
        connection = self.connect()
        try:
            return connection.call(*words)
        finally:
            connection.close()


def password(secret):
    return ["--requirepass", secret, "--masterauth", secret] if secret else []


@contextlib.contextmanager
def three_nodes(binary=OURS, secret=None, replicas=0, more=()):
    nodes = []
    try:
        for _ in range(3 * (1 + replicas)):
            nodes.append(ToolNode(binary, *password(secret), *more))
        words = ["create", *(node.address for node in nodes), "--cluster-replicas", str(replicas), "--cluster-yes"]
        tool(*words, secret=secret)
        if not secret:
            eventually(lambda: all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes), "all serve", PATIENCE)
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def redis_cli(*words, code=0):
    done = subprocess.run(["redis-cli", *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=10 * PATIENCE, check=False)
    check_equal(done.returncode, code, "redis-cli %s: %s" % (words, done.stdout[-2000:]))
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def tool(*words, code=0, secret=None):
    return redis_cli(*(["-a", secret, "--no-auth-warning"] if secret else []), "--cluster", *words, code=code)


class Spread:
    """The nodes of a cluster as one connection, for fill() and contents()."""

    def __init__(self, nodes):
        self.connections = [node.connect() for node in nodes]
        self.owners = {}
        for connection, node in zip(self.connections, nodes):
            for first, last, owner, *_ in node.ask("CLUSTER", "SLOTS"):
                if owner[1] == node.port:
                    self.owners.update(dict.fromkeys(range(first, last + 1), connection))
        self.db = "0"

    def owner(self, words):
        place = {"XGROUP": 2, "XINFO": 2, "XREADGROUP": 7}.get(words[0], 1)
        key = words[place]
        return self.owners[key_slot(key if isinstance(key, bytes) else key.encode())]

    def pipeline(self, commands):
        """A cluster has one database."""
        parts, db = {}, "0"
        for words in commands:
            if words[0] == "SELECT":
                db = words[1]
            elif db == "0":
                parts.setdefault(self.owner(words), []).append(words)
        return [raw for connection, part in parts.items() for raw in connection.pipeline(part)]

    def call(self, *words):
        if words[0] == "SELECT":
            self.db = words[1]
            return b"OK"
        if words[0] == "KEYS":
            return [key for connection in self.connections for key in connection.call(*words)] if self.db == "0" else []
        return self.owner(words).call(*words)


def backup_of(nodes, directory, secret=None):
    """The RDB files that redis-cli makes, in the order of the nodes."""
    text = tool("backup", nodes[0].address, directory, secret=secret)
    check("[OK] Backup created into: " + directory in text, text)
    names = os.listdir(directory)
    return [next(os.path.join(directory, name) for name in names if "-%d-" % node.port in name) for node in nodes]


@contextlib.contextmanager
def loaded(binary, path, *more):
    """A server that begins with the file."""
    directory = tempfile.mkdtemp(prefix="quoll-restored-")
    shutil.copy(path, os.path.join(directory, "dump.rdb"))
    server = ServerUnderTest(binary, ["--dir", directory, "--enable-debug-command", "yes", *more])
    try:
        yield server.connect()
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def folder():
    directory = tempfile.mkdtemp(prefix="quoll-backup-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_a_backup_is_every_nodes_data():
    with three_nodes() as nodes, folder() as directory:
        spread = Spread(nodes)
        fill(spread, brief=True)
        nodes[0].ask("FUNCTION", "LOAD", LIBRARY)
        files = backup_of(nodes, directory)
        with open(os.path.join(directory, "nodes.json"), encoding="utf-8") as file:
            told = json.load(file)
        check_equal({one["port"]: one["slots_count"] for one in told}, dict(zip((node.port for node in nodes), (5461, 5462, 5461))))
        for node, path in zip(nodes, files):
            one = Spread(nodes)
            one.connections = [node.connect()]
            expected, digest = contents(one), node.ask("DEBUG", "DIGEST")
            check(len(expected) > 20, "a node with keys")
            for binary in (REFERENCE, OURS):
                with loaded(binary, path) as connection:
                    compare(expected, contents(connection))
                    if binary == OURS:  # redis-server's are others
                        check_equal(connection.call("DEBUG", "DIGEST"), digest)
        with loaded(REFERENCE, files[0]) as connection:
            check_equal(connection.call("FCALL", "f", 0), 1)


def test_a_backup_holds_what_redis_has_no_form_for():
    with three_nodes() as nodes, folder() as directory:
        owner = Spread(nodes).owner(["HSET", "h"])
        owner.call("HSET", "h", "f", "v")
        owner.call("HPEXPIRE", "h", "10000000", "FIELDS", "1", "f")
        path = next(path for path, node in zip(backup_of(nodes, directory), nodes) if node.ask("DBSIZE") == 1)
        with loaded(OURS, path) as connection:
            check(0 < connection.call("HPTTL", "h", "FIELDS", "1", "f")[0] <= 10000000, "the field's deadline")


def test_a_backup_with_replicas_and_a_password():
    with three_nodes(secret="pass", replicas=1) as nodes, folder() as directory:
        masters = nodes[:3]
        tool("call", nodes[0].address, "CLUSTER", "INFO", secret="pass")
        for word in range(300):
            redis_cli("-c", "-p", nodes[0].port, "-a", "pass", "--no-auth-warning", "SET", "key%d" % word, word)
        files = backup_of(masters, directory, secret="pass")
        check_equal(len(os.listdir(directory)), 4, "a file per master, and of the cluster")
        keys = 0
        for path in files:
            with loaded(REFERENCE, path) as connection:
                keys += connection.call("DBSIZE")
        check_equal(keys, 300)
        # Replicas give a snapshot, too.
        check_equal(dump_keys(nodes[3], directory, "-a", "pass"), dump_keys(leader_of(nodes[3], masters, "pass"), directory, "-a", "pass"))


def leader_of(replica, masters, secret):
    connection = replica.connect()
    connection.call("AUTH", secret)
    mine = lambda: next(line.split() for line in connection.call("CLUSTER", "NODES").decode().splitlines() if "myself" in line)
    eventually(lambda: "slave" in mine()[2], "it follows", PATIENCE)
    lines = {line.split()[0]: line for line in connection.call("CLUSTER", "NODES").decode().splitlines()}
    return next(node for node in masters if ":%d@" % node.port in lines[mine()[3]])


def dump_keys(node, directory, *more):
    """Of a snapshot that redis-cli takes, in a redis-server."""
    path = os.path.join(directory, "one.rdb")
    text = redis_cli("-p", node.port, *more, "--rdb", path)
    check("Transfer finished with success" in text, text)
    with loaded(REFERENCE, path) as connection:
        return sorted(connection.call("KEYS", "*"))


def test_a_snapshot_ends_the_connection():
    """As with redis-server: by SYNC and PSYNC, streamed and of a known length."""
    said = {}
    for binary in (REFERENCE, OURS):
        with three_nodes(binary) as nodes:
            nodes[0].ask("FUNCTION", "LOAD", LIBRARY)
            told = said[binary] = []
            for words in ([["rdb-only", 1], ["capa", "eof"]], [["rdb-only", 1]],
                          [["rdb-only", 1], ["capa", "eof"], ["rdb-filter-only", "functions"]],
                          [["rdb-only", 1], ["capa", "eof"], ["rdb-filter-only", ""]]):
                for sync in (["SYNC"], ["PSYNC", "?", "-1"]):
                    connection = nodes[0].connect()
                    for option in words:
                        check_equal(connection.call("REPLCONF", *option), b"OK")
                    connection.send(resp.encode(sync))
                    bytes_ = until_the_end(connection.socket)
                    head = b"" if sync == ["SYNC"] else bytes_[:bytes_.index(b"\r\n")]
                    rdb = bytes_[len(head):].lstrip(b"\r\n")
                    told.append((words, sync, head[:12], rdb.startswith(b"$EOF:"), b"register_function" in rdb, rdb.count(b"REDIS0010")))
            filtered = nodes[0].connect()
            filtered.call("REPLCONF", "rdb-only", "1", "rdb-filter-only", "functions")
            check_equal(filtered.error("SYNC"), "ERR Filtered replica requires EOF capability")
    check_equal(said[OURS], said[REFERENCE])


def until_the_end(connection):
    connection.settimeout(PATIENCE)
    bytes_ = b""
    while True:
        more = connection.recv(1 << 16)
        if not more:
            return bytes_
        bytes_ += more


def test_functions_alone():
    with three_nodes() as nodes, folder() as directory:
        nodes[1].ask("FUNCTION", "LOAD", LIBRARY)
        Spread(nodes).pipeline([["SET", "key%d" % i, i] for i in range(100)])
        path = os.path.join(directory, "functions.rdb")
        text = redis_cli("-p", nodes[1].port, "--functions-rdb", path)
        check("Transfer finished with success" in text, text)
        with loaded(REFERENCE, path) as connection:
            check_equal(connection.call("DBSIZE"), 0)
            check_equal(connection.call("FCALL", "f", 0), 1)


def test_a_replica_is_refused():
    with three_nodes() as nodes, ServerUnderTest(REFERENCE) as theirs, ServerUnderTest(OURS) as ours:
        for sync in (["PSYNC", "?", "-1"], ["SYNC"]):
            connection = nodes[0].connect()
            connection.call("REPLCONF", "listening-port", "1234", "capa", "eof", "capa", "psync2")
            check("feeds no replicas" in connection.error(*sync), sync)
        check("feeds no replicas" in nodes[0].connect().error("PSYNC", "?", "-1"), "PSYNC")
        for replica in (theirs, ours):
            one = replica.connect()
            one.call("SET", "its", "own")
            one.call("REPLICAOF", "127.0.0.1", nodes[0].port)
            replica.wait_for_log("feeds no replicas", timeout=PATIENCE)
            check_equal(one.call("ROLE")[3] == b"connected", False)
            one.call("REPLICAOF", "NO", "ONE")
            check_equal(one.call("GET", "its"), b"own")


def compare_moved(before, after):
    """MIGRATE sends how long a key has left: on the way its deadline moves a little."""
    for key, (_, _, deadline) in before.items():
        moved = after[key][2] if key in after else deadline
        check(moved == deadline == -1 or 0 <= moved - deadline <= 1000 * PATIENCE, "%r: %d became %d" % (key, deadline, moved))
    plain = lambda found: {key: (kind, value, 0) for key, (kind, value, _) in found.items()}
    compare(plain(before), plain(after))


def test_data_are_imported():
    for binary in (REFERENCE, OURS):
        with three_nodes() as nodes, ServerUnderTest(binary) as source:
            one, spread = source.connect(), Spread(nodes)
            fill(one, brief=True)
            one.call("SELECT", "3")
            one.call("FLUSHDB")
            one.call("SELECT", "0")
            before = contents(one)
            spread.pipeline([["SET", "int", "ours"]])
            of = "127.0.0.1:%d" % source.port
            # What is there already is not replaced unless that is asked for; a copy leaves the source as it is.
            text = tool("import", nodes[0].address, "--cluster-from", of, "--cluster-copy", code=1)
            check("BUSYKEY" in text and "Migrating int to" in text, text[:2000])
            check_equal(spread.call("GET", "int"), b"ours")
            check_equal(contents(one), before)
            text = tool("import", nodes[1].address, "--cluster-from", of, "--cluster-copy", "--cluster-replace")
            check("BUSYKEY" not in text and text.count(": OK") == len(before), text[:2000])
            compare_moved(before, contents(spread))
            check_equal(contents(one), before)
            for node in nodes:
                tool("call", node.address, "FLUSHALL", "--cluster-only-masters")
            tool("import", nodes[2].address, "--cluster-from", of)
            compare_moved(before, contents(spread))
            check_equal(one.call("DBSIZE"), 0, "what was moved")
            check_equal(sum(node.ask("DBSIZE") for node in nodes), len(before))
            check("[OK] All 16384 slots covered." in tool("check", nodes[0].address), "check")


def test_data_are_imported_with_passwords():
    for binary in (REFERENCE, OURS):
        with three_nodes(secret="pass") as nodes, ServerUnderTest(binary, ["--requirepass", "other"]) as source:
            one = source.connect()
            one.call("AUTH", "other")
            one.pipeline([["SET", "key%d" % i, i] for i in range(50)])
            words = ["import", nodes[0].address, "--cluster-from", "127.0.0.1:%d" % source.port, "--cluster-from-pass", "other"]
            check_equal(tool(*words, secret="pass").count(": OK"), 50)
            check_equal(one.call("DBSIZE"), 0)


def test_a_target_that_fails_leaves_the_source():
    with three_nodes() as nodes, ServerUnderTest(REFERENCE) as source:
        one = source.connect()
        one.call("SET", "key", "1")
        check("ERR" in tool("import", nodes[0].address, "--cluster-from", nodes[1].address, code=1), "a cluster is no source")
        check_equal(one.call("GET", "key"), b"1")


# What differs between runs: in which order nodes are shown, their names, ports and places.
def as_one(text, nodes):
    for number, node in enumerate(nodes):
        name = node.ask("CLUSTER", "MYID").decode()
        text = text.replace(name, "NAME%d" % number).replace(name[:8], "NAME%d" % number).replace(str(node.port), "PORT%d" % number)
    return sorted(text.splitlines())


@contextlib.contextmanager
def busy_disk(count):
    """Others write and sync all the time, as on a machine where many servers start."""
    writer = "import os, sys\nfile = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\nwhile os.pwrite(file, bytes(1 << 20), 0): os.fdatasync(file)"
    with folder() as directory:
        busy = [subprocess.Popen([sys.executable, "-c", writer, os.path.join(directory, str(number))]) for number in range(count)]
        try:
            yield
        finally:
            for one in busy:
                one.kill()
                one.wait()


def test_a_new_node_is_a_master_at_once():
    """Who makes a cluster as soon as the nodes answer must not find replicas: it would give them no slots."""
    with busy_disk(4):
        for _ in range(20):
            with ToolNode(OURS) as node:
                connection = node.connect()
                leads = False
                while not leads:
                    check_equal(connection.call("CLUSTER", "NODES").split()[2], b"myself,master")
                    leads = b"group_serving:1" in connection.call("INFO", "cluster")


def test_what_it_prints_is_what_it_prints_of_redis():
    printed = {}
    for binary in (REFERENCE, OURS):
        with three_nodes(binary) as nodes, folder() as directory:
            Spread(nodes).pipeline([["SET", "key%d" % i, i] for i in range(100)])
            said = printed[binary] = []
            for words, code in ((["info"], 0), (["check"], 0), (["check", "--cluster-search-multiple-owners"], 0), (["call", "PING"], 0),
                                (["call", "DBSIZE", "--cluster-only-masters"], 0), (["call", "SET", "key1", "2"], 0), (["call", "NONSENSE"], 0),
                                (["fix"], 0), (["fix", "--cluster-search-multiple-owners", "--cluster-fix-with-unreachable-masters"], 0),
                                (["set-timeout", "7000"], 0), (["set-timeout", "50"], 1), (["rebalance"], 0)):
                text = tool(words[0], nodes[1].address, *words[1:], code=code)
                said.append((words, as_one(text, nodes)))
            for node in nodes:
                check_equal(node.ask("CONFIG", "GET", "cluster-node-timeout")[1], b"7000")
                with open(node.config_path, encoding="utf-8") as file:
                    check("cluster-node-timeout 7000" in file.read(), "it was written to the file")
            text = tool("backup", nodes[2].address, directory)
            said.append(("backup", as_one(re.sub(r"writing \d+ bytes", "writing N bytes", text.replace(directory, "DIR")), nodes)))
    for ours, theirs in zip(printed[OURS], printed[REFERENCE]):
        check_equal(ours, theirs)


if __name__ == "__main__":
    Results.run_module(globals(), TOGETHER)
