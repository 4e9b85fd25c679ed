#!/usr/bin/python3
"""The drop-in contract: what harnesses, installers and monitors written for redis-server rely on when
they start, drive, slow, kill and watch a server. Point by point; what life.py, watching.py,
persistence.py and replication.py test in depth is only touched here. Where it is cheap, redis-server
is asked the same."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import resp
from server import (OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually, free_port)

PATIENCE = 20  # seconds
DEBUG = ["--enable-debug-command", "yes"]

# What test harnesses write into every configuration file, and what some write.
EVERY_HARNESS = """
always-show-logo yes
notify-keyspace-events KEA
daemonize no
pidfile {dir}/redis.pid
timeout 0
bind 127.0.0.1
loglevel verbose
logfile ''
databases 16
latency-monitor-threshold 1
repl-diskless-sync-delay 0
save 900 1
save 300 10
rdbcompression yes
dbfilename dump.rdb
dir {dir}
slave-serve-stale-data yes
appendonly no
appendfsync everysec
no-appendfsync-on-rewrite no
activerehashing yes
enable-protected-configs yes
enable-debug-command yes
enable-module-command yes
propagation-error-behavior panic
unixsocket {dir}/socket
shutdown-on-sigterm force
enable-debug-assert yes
hide-user-data-from-log no
"""
CLUSTER = "cluster-node-timeout 3000\ncluster-ping-interval 100\n"
SOME = """
acl-pubsub-default allchannels
aof-use-rdb-preamble yes
appenddirname appendonlydir
appendfilename appendonly.aof
auto-aof-rewrite-percentage 0
cluster-allow-replica-migration no
cluster-migration-barrier 2
cluster-port 0
cluster-replica-no-failover yes
cluster-slave-no-failover yes
cluster-slot-stats-enabled yes
crash-memcheck-enabled no
hash-max-ziplist-entries 512
hash-max-ziplist-value 64
hash-max-listpack-entries 512
hash-max-listpack-value 64
key-load-delay 0
rdb-key-save-delay 0
list-max-ziplist-size -2
loading-process-events-interval-bytes 1024
lua-time-limit 5000
maxclients 10000
protected-mode no
repl-backlog-size 1mb
replica-read-only yes
slave-read-only yes
requirepass ""
sanitize-dump-payload no
set-max-intset-entries 512
set-max-listpack-entries 128
set-max-listpack-value 64
slowlog-log-slower-than 10000
stream-node-max-entries 100
unixsocketperm 700
use-exit-on-panic yes
user alice on nopass ~* &* +@all
zset-max-ziplist-entries 128
rename-command FLUSHALL ""
primaryauth ""
dual-channel-replication-enabled no
"""


def info(connection, name):
    found = re.search(r"^%s:(.*)\r$" % re.escape(name), connection.call("INFO", "everything").decode(), re.M)
    return found and found.group(1)


def run_until_exit(binary, arguments):
    done = subprocess.run([binary] + arguments, capture_output=True, text=True, timeout=PATIENCE, cwd=tempfile.gettempdir())
    return done.returncode, done.stdout, done.stderr


# 1. Command line

def test_command_line():
    for binary in (REFERENCE, OURS):
        check("must be one of the following" in run_until_exit(binary, ["--shutdown-on-sigint"])[2], "a bare --shutdown-on-sigint")
    for arguments in (["--invalid"], ["--port"], ["--user", "foo", "--user", "foo"]):
        for binary in (REFERENCE, OURS):
            status, out, errors = run_until_exit(binary, arguments)
            check(status not in (0, None) and errors.strip(), "%s %s: status %s, %r" % (binary, arguments, status, errors))
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    config = os.path.join(directory, "c.conf")
    with open(config, "w") as out:
        out.write("timeout 7\nport 1\n")
    port = free_port()
    for save, expected in ((["--save", ""], ""), (["--save"], ""), (["--save 60 1"], "60 1"), (["--save", "60", "1"], "60 1")):
        server = ServerUnderTest(port=port, plain_args=[config, "--port", str(port), "--dir", directory] + save)
        with server:
            one = server.connect()
            check_equal(one.call("CONFIG", "GET", "save")[1].decode(), expected, "save of %s" % save)
            check_equal(one.call("CONFIG", "GET", "timeout")[1], b"7")
            check_equal(int(info(one, "process_id")), server.pid, "one pid from start to end")
    shutil.rmtree(directory)


# 2, 7, 8. Configuration files

def test_directives_of_harnesses():
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    text = (EVERY_HARNESS + CLUSTER + SOME).replace("{dir}", directory)
    port = free_port()
    config = os.path.join(directory, "redis.conf")
    with open(config, "w") as out:
        out.write(text + "port %d\nsave\n" % port)
    with ServerUnderTest(port=port, plain_args=[config]) as server:
        one = server.connect()
        for name, value in (("zset-max-ziplist-entries", b"128"), ("hash-max-ziplist-value", b"64"), ("slave-read-only", b"yes"),
                            ("lua-time-limit", b"5000"), ("save", b""), ("masterauth", b""), ("rdb-key-save-delay", b"0")):
            check_equal(one.call("CONFIG", "GET", name)[1], value, name)
        with socket.socket(socket.AF_UNIX) as local:
            local.connect(os.path.join(directory, "socket"))
            local.sendall(b"PING\r\n")
            check_equal(local.recv(100), b"+PONG\r\n")
        check_equal(one.call("CONFIG", "REWRITE"), b"OK")
        one.send(resp.encode(["SHUTDOWN", "NOSAVE"]))
        server.wait_for_exit()
        with open(os.path.join(directory, "redis.pid"), "w") as out:
            out.write("stale")
    with ServerUnderTest(port=port, plain_args=[config]) as server:
        check_equal(open(os.path.join(directory, "redis.pid")).read(), "%d\n" % server.pid, "the pid file")
    shutil.rmtree(directory)


def test_unknown_directive():
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    config = os.path.join(directory, "c.conf")
    with open(config, "w") as out:
        out.write("timeout 7\nbogus-directive 1\n")
    for binary in (REFERENCE, OURS):
        status, _, errors = run_until_exit(binary, [config])
        check(status == 1 and "*** FATAL CONFIG FILE ERROR" in errors and "line 2" in errors and ">>> 'bogus-directive 1'" in errors, errors)
    shutil.rmtree(directory)


# 3, 4, 5, 6. Log, first answer, end

def test_start_and_end():
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    log = os.path.join(directory, "log")
    port = free_port()
    for start in (1, 2):
        with ServerUnderTest(port=port, args=["--logfile", log, "--always-show-logo", "yes", "--appendonly", "yes"]) as server:
            text = open(log).read()
            for line in (" PID: %d" % server.pid, "Server initialized", "Ready to accept connections"):
                check(line in text, "the log has no %r:\n%s" % (line, text))
            check_equal(text.count("Server initialized"), start, "starts in the same log")
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as inline:
                inline.sendall(b"PING\r\n")
                check_equal(inline.recv(100), b"+PONG\r\n")
            done = subprocess.run([OURS, "--port", str(port)], capture_output=True, text=True, timeout=PATIENCE)
            check(done.returncode != 0 and "Failed listening on port %d" % port in done.stdout, done.stdout)
            server.child.terminate()
            check_equal(server.wait_for_exit(PATIENCE), 0, "exit status")
            check_equal(server.log(), "", "standard output and error")
    check("ready to exit, bye bye" in open(log).read(), "the last line")
    shutil.rmtree(directory)


def test_end_whatever_is_saved():
    """SIGTERM ends it in the middle of a slow save, with shutdown-on-sigterm of harnesses."""
    for how in ("nosave force", "force now"):
        with ServerUnderTest(args=DEBUG + ["--shutdown-on-sigterm", how, "--save", "", "--rdb-key-save-delay", "10000"]) as server:
            one = server.connect()
            one.call("DEBUG", "POPULATE", "5000")
            one.call("BGSAVE")
            eventually(lambda: info(one, "rdb_bgsave_in_progress") == "1", "the save is under way", timeout=PATIENCE)
            server.child.terminate()
            check_equal(server.wait_for_exit(PATIENCE), 0, "exit status with " + how)


def test_stopped_and_killed():
    with ServerUnderTest(args=["--appendonly", "yes", "--appendfsync", "always"]) as server:
        one = server.connect()
        one.call("SET", "k", "v")
        server.child.send_signal(signal.SIGSTOP)
        server.child.send_signal(signal.SIGCONT)
        check_equal(one.call("GET", "k"), b"v")
        server.child.kill()
        server.wait_for_exit()
        directory = tempfile.mkdtemp(prefix="quoll-test-")
        shutil.copytree(server.dir, directory, dirs_exist_ok=True)
    with ServerUnderTest(args=["--appendonly", "yes", "--dir", directory]) as server:
        check_equal(server.connect().call("GET", "k"), b"v", "after a kill")
    shutil.rmtree(directory)


# 9. Everywhere

def test_config_set_of_every_parameter():
    """As the introspection tests do: set each parameter to what it has, rewrite, start from that."""
    with ServerUnderTest(config="# made by a test\n") as server:
        one = server.connect()
        values = one.call("CONFIG", "GET", "*")
        pairs = dict(zip(values[::2], values[1::2]))
        refused = {}
        for name, value in pairs.items():
            if name in (b"bind", b"port", b"dir"):
                continue
            reply = one.raw("CONFIG", "SET", name, value)
            if not reply.startswith(b"+OK"):
                refused[name] = reply
        for name, reply in refused.items():
            check(b"immutable" in reply or b"protected" in reply, "CONFIG SET %s: %s" % (name.decode(), reply))
        check(len(pairs) - len(refused) > 150, "only %d parameters can be set" % (len(pairs) - len(refused)))
        check_equal(one.call("CONFIG", "REWRITE"), b"OK")
        with open(server.config_path) as file:
            rewritten = file.read()
        directory = server.dir
        one.send(resp.encode(["SHUTDOWN", "NOSAVE"]))
        server.wait_for_exit()
        with ServerUnderTest(config=rewritten) as again:
            other = again.connect()
            fresh = other.call("CONFIG", "GET", "*")
            for name, value in zip(fresh[::2], fresh[1::2]):
                if name not in (b"dir", b"port") and pairs[name].replace(directory.encode(), b"") != value.replace(again.dir.encode(), b""):
                    raise AssertionError("%s: %r after the rewrite, %r before" % (name.decode(), value, pairs[name]))


def test_old_and_other_names():
    with ServerUnderTest() as server:
        one = server.connect()
        for old, new, value in (("slave-priority", "replica-priority", "77"), ("zset-max-ziplist-entries", "zset-max-listpack-entries", "99"),
                                ("hash-max-ziplist-value", "hash-max-listpack-value", "33"), ("min-slaves-max-lag", "min-replicas-max-lag", "5"),
                                ("list-max-ziplist-size", "list-max-listpack-size", "-3"), ("lua-time-limit", "busy-reply-threshold", "4000"),
                                ("repl-ping-slave-period", "repl-ping-replica-period", "9")):
            check_equal(one.call("CONFIG", "SET", old, value), b"OK", old)
            check_equal(one.call("CONFIG", "GET", new), [new.encode(), value.encode()])
        check_equal(one.call("CONFIG", "SET", "primaryauth", "x"), b"OK")
        check_equal(one.call("CONFIG", "GET", "masterauth")[1], b"x")
        check_equal(one.call("CONFIG", "SET", "dual-channel-replication-enabled", "yes"), b"OK")
        check_equal(one.call("EVAL", "return server.call('ECHO', 'x') .. redis.call('ECHO', 'y')", "0"), b"xy")


def test_inline_sync():
    """What a harness does that records the replication stream."""
    for binary in (REFERENCE, OURS):
        with ServerUnderTest(binary, ["--repl-diskless-sync", "no", "--repl-diskless-sync-delay", "0", "--shutdown-timeout", "0"]) as server:
            one = server.connect()
            one.call("SET", "before", "1")
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as feed:
                feed.sendall(b"SYNC\r\n")
                data = feed.makefile("rb")
                line = data.readline()
                while line in (b"\n", b"\r\n"):
                    line = data.readline()
                check(line.startswith(b"$"), "%s: SYNC is answered by %r" % (binary, line))
                check(data.read(int(line[1:])).startswith(b"REDIS0"), "an RDB")
                one.call("SET", "after", "2")
                stream = b""
                while b"after" not in stream:
                    stream += data.readline()
                check(b"*3\r\n$3\r\nSET\r\n$5\r\nafter" in stream.replace(b"set", b"SET"), "the stream: %r" % stream)


def test_replicas_do_not_ask():
    for binary in (REFERENCE, OURS):
        with ServerUnderTest(binary, ["--repl-diskless-sync", "no", "--repl-diskless-sync-delay", "0", "--shutdown-timeout", "0"]) as server:
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as feed:
                feed.sendall(b"SYNC\r\n")
                received = b""
                while b"REDIS0" not in received:
                    received += feed.recv(65536)
                eventually(lambda: "state=online" in (info(server.connect(), "slave0") or ""), "the replica is online", timeout=PATIENCE)
                feed.sendall(b"GET x\r\n")
                while feed.recv(65536):
                    pass
            server.wait_for_log("Replica generated a reply to command 'get', disconnecting it: id=", timeout=PATIENCE)


# DEBUG

def test_debug_subcommands():
    with ServerUnderTest(args=DEBUG + ["--appendonly", "yes"]) as server:
        one = server.connect()
        for words in (["SET-ACTIVE-EXPIRE", 0], ["SET-ACTIVE-EXPIRE", 1], ["SLEEP", 0.001], ["POPULATE", 10], ["POPULATE", 5, "pre", 20], ["RELOAD"],
                      ["RELOAD", "NOSAVE"], ["RELOAD", "MERGE"], ["LOADAOF"], ["LOG", "hello"],
                      ["PAUSE-CRON", 1], ["PAUSE-CRON", 0], ["DROP-CLUSTER-PACKET-FILTER", 1], ["CLOSE-CLUSTER-LINK-ON-PACKET-DROP", 1], ["DICT-RESIZING", 0],
                      ["REPLYBUFFER", "RESIZING", 0], ["REPLYBUFFER", "PEAK-RESET-TIME", 100], ["SET-SKIP-CHECKSUM-VALIDATION", 1], ["AOF-FLUSH-SLEEP", 1000],
                      ["AOF-FLUSH-SLEEP", 0], ["SET-DISABLE-DENY-SCRIPTS", 1], ["DELAY-RDB-CLIENT-FREE-SECONDS", 1],
                      ["PAUSE-AFTER-FORK", 0], ["QUICKLIST-PACKED-THRESHOLD", "100b"], ["REPLICATE", "PING"], ["CHANGE-REPL-ID"]):
            check_equal(one.call("DEBUG", *words), b"OK", "DEBUG %s" % words)
        one.call("RPUSH", "list", "a")
        one.call("HSET", "hash", "f", "v")
        one.call("ZADD", "zset", "1", "a")
        check(one.call("DEBUG", "OBJECT", "list").startswith(b"Value at:"), "OBJECT")
        check(one.call("DEBUG", "LISTPACK", "zset").startswith(b"Listpack structure"), "LISTPACK")
        check(one.call("DEBUG", "HTSTATS", "0").startswith(b"["), "HTSTATS")
        check(isinstance(one.raw("DEBUG", "HTSTATS-KEY", "hash"), bytes), "HTSTATS-KEY")
        check(len(one.call("DEBUG", "DIGEST")) == 40 and len(one.call("DEBUG", "DIGEST-VALUE", "list", "hash")[0]) == 40, "DIGEST")
        check(one.call("DEBUG", "MALLCTL", "arenas.page") == 4096, "MALLCTL")
        check(one.call("DEBUG", "MALLCTL-STR", "version").startswith(b"5."), "MALLCTL-STR")
        check(len(one.call("DEBUG", "HELP")) > 40, "HELP")
        check_equal(one.call("DEBUG", "PROTOCOL", "integer"), 12345)
        check(one.raw("DEBUG", "CLUSTERLINK", "KILL", "all", "x").startswith(b"-ERR Debug option only available for cluster mode"), "CLUSTERLINK")
        one.call("PFADD", "hll", "a")
        check_equal(len(one.call("PFDEBUG", "GETREG", "hll")), 16384)
        for words in (["OBJECT", "FREQ", "list"], ["OBJECT", "IDLETIME", "list"], ["OBJECT", "REFCOUNT", "list"], ["OBJECT", "ENCODING", "list"],
                      ["MEMORY", "USAGE", "list"], ["FUNCTION", "FLUSH"], ["CLIENT", "LIST"]):
            check(not one.raw(*words).startswith(b"-ERR unknown"), "%s" % words)


def test_debug_switches_act():
    with ServerUnderTest(args=DEBUG) as server:
        one = server.connect()
        one.call("SET", "k", "v")
        payload = one.call("DUMP", "k")
        broken = payload[:-1] + bytes([payload[-1] ^ 1])
        check(one.raw("RESTORE", "r", "0", broken).startswith(b"-ERR DUMP payload version or checksum"), "a wrong checksum")
        one.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1")
        check_equal(one.call("RESTORE", "r", "0", broken), b"OK")
        check(one.raw("RESTORE", "s", "0", b"\x0e\x01\x07" + payload[-10:]).startswith(b"-ERR Bad data format"), "a broken value")
        check(one.raw("RESTORE", "s", "0", b"\x12\x01\x01\x00" + payload[-10:]).startswith(b"-ERR Bad data format"), "a plain node of nothing")
        check("integrity check failed" in server.log(), server.log())
        check(b"not allowed from script" in one.raw("EVAL", "return redis.call('DEBUG', 'JMAP')", "0"), "DEBUG in a script")
        one.call("DEBUG", "SET-DISABLE-DENY-SCRIPTS", "1")
        check_equal(one.call("EVAL", "return redis.call('DEBUG', 'SLEEP', '0')", "0"), b"OK")
    with ServerUnderTest(args=DEBUG) as primary, ServerUnderTest(args=["--replicaof", "127.0.0.1 %d" % primary.port]) as replica:
        one, other = primary.connect(), replica.connect()
        primary.connect().call("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        eventually(lambda: info(other, "master_link_status") == "up", "the replica follows", timeout=PATIENCE)
        one.call("DEBUG", "REPLICATE", "SET", "only", "there")
        eventually(lambda: other.call("GET", "only") == b"there", "the replica has what was replicated alone", timeout=PATIENCE)
        check_equal(one.call("GET", "only"), None)


def test_what_tests_ask_for():
    for binary in (REFERENCE, OURS):
        with ServerUnderTest(binary, DEBUG) as server:
            one, waiting = server.connect(), server.connect()
            # A log that was just switched on: it is being written, and what needs it waits.
            one.call("CONFIG", "SET", "appendonly", "yes")
            if binary == OURS:  # the reference is only ready when its rewrite has ended
                check_equal(one.call("DEBUG", "LOADAOF"), b"OK")
            eventually(lambda: info(one, "aof_rewrite_in_progress") == "0", "the first log is written", timeout=PATIENCE)
            check_equal(one.call("DEBUG", "LOADAOF"), b"OK")
            # Switched off, it is written no more.
            one.call("CONFIG", "SET", "aof-use-rdb-preamble", "no")
            one.call("MSET", "a", "1", "b", "2", "c", "3")
            one.call("CONFIG", "SET", "rdb-key-save-delay", "10000000")
            one.call("BGREWRITEAOF")
            one.call("CONFIG", "SET", "appendonly", "no")
            server.wait_for_log("Killing running AOF rewrite child", timeout=PATIENCE)
            one.call("CONFIG", "SET", "rdb-key-save-delay", "0")
            eventually(lambda: info(one, "aof_rewrite_in_progress") == "0", "the rewrite was given up", timeout=PATIENCE)
            # A log may be loaded that is off.
            check_equal(one.call("DEBUG", "LOADAOF"), b"OK")
            check_equal(one.call("DBSIZE"), 3, "keys of the log")
            # Who is held up by a pause counts as blocked.
            one.call("CLIENT", "PAUSE", "100000", "WRITE")
            waiting.send(resp.encode(["SET", "x", "1"]))
            eventually(lambda: info(one, "blocked_clients") == "1", "the pause holds it up", timeout=PATIENCE)
            one.call("CLIENT", "UNPAUSE")
            check_equal(waiting.read(), b"+OK\r\n")
            # A key that is over but still there.
            one.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
            one.call("SET", "k", "v", "PX", "1")
            one.call("DEBUG", "SLEEP", "0.01")
            check(one.raw("DEBUG", "OBJECT", "k").startswith(b"+Value at:"), "DEBUG OBJECT")
            # A wait that is ended by an error has failed.
            one.call("CONFIG", "RESETSTAT")
            identity = waiting.call("CLIENT", "ID")
            waiting.send(resp.encode(["BLPOP", "nothing", "0"]))
            eventually(lambda: info(one, "blocked_clients") == "1", "it waits", timeout=PATIENCE)
            one.call("CLIENT", "UNBLOCK", identity, "ERROR")
            check(waiting.read().startswith(b"-UNBLOCKED"), "unblocked")
            check("rejected_calls=0,failed_calls=1" in info(one, "cmdstat_blpop"), "%s: %s" % (binary, info(one, "cmdstat_blpop")))
            check_equal(info(one, "errorstat_UNBLOCKED"), "count=1")


def test_digests_are_equal():
    with ServerUnderTest(args=DEBUG) as primary, ServerUnderTest(args=DEBUG + ["--replicaof", "127.0.0.1 %d" % primary.port]) as replica:
        one, other = primary.connect(), replica.connect()
        one.call("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        for words in (["DEBUG", "POPULATE", "100"], ["RPUSH", "l", "a", "b"], ["ZADD", "z", "1.5", "a"], ["HSET", "h", "f", "v"], ["XADD", "x", "1-1", "f", "v"]):
            one.call(*words)
        digest = one.call("DEBUG", "DIGEST")
        eventually(lambda: other.call("DEBUG", "DIGEST") == digest, "the replica's digest", timeout=PATIENCE)
        check_equal(info(one, "connected_clients"), "1", "replicas are not among the clients")
        one.call("INCR", "counted")
        eventually(lambda: "calls=1," in (info(other, "cmdstat_incr") or ""), "a replica counts the commands of its primary", timeout=PATIENCE)
        digest = one.call("DEBUG", "DIGEST")
        one.call("DEBUG", "RELOAD")
        check_equal(one.call("DEBUG", "DIGEST"), digest, "after a reload")


# Slowing and log lines

def test_save_and_load_are_slowed():
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    with ServerUnderTest(args=DEBUG + ["--dir", directory]) as server:
        one = server.connect()
        one.call("DEBUG", "POPULATE", "1000")
        one.call("CONFIG", "SET", "rdb-key-save-delay", "10000000")
        one.call("BGSAVE")
        eventually(lambda: info(one, "rdb_bgsave_in_progress") == "1" and int(info(one, "current_save_keys_processed")) < 1000,
                   "the save goes slowly", timeout=PATIENCE)
        check_equal(info(one, "current_save_keys_total"), "1000")
        server.wait_for_log("Snapshot under way: ", timeout=PATIENCE)
        one.call("CONFIG", "SET", "rdb-key-save-delay", "0")
        eventually(lambda: info(one, "rdb_bgsave_in_progress") == "0", "the save ends once it is not slowed", timeout=PATIENCE)
    with ServerUnderTest(args=["--dir", directory, "--key-load-delay", "2500", "--loading-process-events-interval-bytes", "1024"], wait=False) as server:
        eventually(lambda: asked(server).startswith(b"-LOADING"), "-LOADING", timeout=PATIENCE)
        check(server.connect().raw("CONFIG", "SET", "appendonly", "yes").startswith(b"-LOADING"), "CONFIG SET appendonly while loading")
        server.wait_until_answering()
        check("Done loading RDB, keys loaded: 1000, keys expired: 0" in server.log(), server.log())
        check(re.search(r"Loading dump.rdb: \d+%, \d+ keys/s", server.log()), server.log())
    shutil.rmtree(directory)


def asked(server):
    try:
        return server.connect().raw("GET", "x")
    except OSError:
        return b""


def stop(server):
    """A signal takes a moment: until all threads have stopped it still answers."""
    server.child.send_signal(signal.SIGSTOP)
    tasks = "/proc/%d/task" % server.child.pid

    def state(task):
        with open(os.path.join(tasks, task, "stat")) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]

    eventually(lambda: all(state(task) in "Tt" for task in os.listdir(tasks)), "it stops", timeout=PATIENCE)


def test_shutdown_lines():
    with ServerUnderTest(args=["--repl-diskless-sync-delay", "0", "--shutdown-timeout", "60"]) as primary, \
            ServerUnderTest(args=["--replicaof", "127.0.0.1 %d" % primary.port]) as replica:
        one = primary.connect()
        eventually(lambda: "state=online" in (info(one, "slave0") or ""), "the replica is online", timeout=PATIENCE)
        stop(replica)
        one.call("SET", "k", "v")
        waiting = primary.connect()
        waiting.send(resp.encode(["SHUTDOWN"]))
        primary.wait_for_log("0 of 1 replicas are in sync", timeout=PATIENCE)
        check(int(info(one, "shutdown_in_milliseconds")) > 0, "shutdown_in_milliseconds")
        check_equal(one.call("SHUTDOWN", "ABORT"), b"OK")
        primary.wait_for_log("Shutdown manually aborted", timeout=PATIENCE)
        check_equal(one.call("CONFIG", "SET", "shutdown-timeout", "1"), b"OK")
        primary.child.terminate()
        check_equal(primary.wait_for_exit(PATIENCE), 0, "exit status")
        for line in ("Lagging replica", "0 of 1 replicas are in sync when shutting down", "ready to exit, bye bye"):
            check(line in primary.log(), "the log has no %r:\n%s" % (line, primary.log()))
        replica.child.send_signal(signal.SIGCONT)
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    with ServerUnderTest(args=["--dir", directory]) as server:
        one = server.connect()
        one.call("SET", "k", "v")
        os.mkdir(os.path.join(directory, "dump.rdb"))  # which no rename replaces
        check(one.raw("SHUTDOWN", "SAVE").startswith(b"-ERR Errors trying to SHUTDOWN"), "a save that fails")
        for line in ("Error trying to save the DB, can't exit", "Errors trying to shut down the server"):
            check(line in server.log(), "the log has no %r:\n%s" % (line, server.log()))
        one.send(resp.encode(["SHUTDOWN", "SAVE", "FORCE"]))
        check_equal(server.wait_for_exit(PATIENCE), 0, "SHUTDOWN FORCE")
    shutil.rmtree(directory)


def test_no_end_before_the_first_log():
    with ServerUnderTest(args=DEBUG) as server:
        one = server.connect()
        one.call("DEBUG", "POPULATE", "5000")
        one.call("CONFIG", "SET", "rdb-key-save-delay", "100000")
        one.call("CONFIG", "SET", "appendonly", "yes")
        eventually(lambda: info(one, "aof_rewrite_in_progress") == "1", "the first log is written", timeout=PATIENCE)
        check(one.raw("SHUTDOWN").startswith(b"-ERR Errors trying to SHUTDOWN"), "SHUTDOWN")
        check("Writing initial AOF, can't exit." in server.log(), server.log())
        one.send(resp.encode(["SHUTDOWN", "FORCE"]))
        check_equal(server.wait_for_exit(PATIENCE), 0, "SHUTDOWN FORCE")
        check("Writing initial AOF. Exit anyway." in server.log(), server.log())


def start_with(files, arguments):
    """The exit status and the log of a server that finds these files."""
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    for name, content in files.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(content)
    done = subprocess.run([OURS, "--port", str(free_port()), "--dir", directory, "--pidfile", os.path.join(directory, "pid")] + arguments, capture_output=True, text=True, timeout=PATIENCE)
    shutil.rmtree(directory)
    return done.returncode, done.stdout + done.stderr


def test_damaged_files_are_named():
    aof = ["--appendonly", "yes"]
    manifest = "appendonlydir/appendonly.aof.manifest"
    increment = "appendonlydir/appendonly.aof.1.incr.aof"
    good = b"file appendonly.aof.1.incr.aof seq 1 type i\n"
    cases = (
        ({manifest: good, increment: b"*2\r\n$3\r\nSET\r\n"}, aof + ["--aof-load-truncated", "no"], "Unexpected end of file reading the append only file"),
        ({manifest: good, increment: b"!!!\r\n"}, aof, "Bad file format reading the append only file"),
        ({manifest: good, increment: b"*2\r\n$3\r\nbla\r\n$1\r\nx\r\n"}, aof, "Unknown command 'bla' reading the append only file"),
        ({manifest: b""}, aof, "Found an empty AOF manifest"),
        ({manifest: b"nonsense\n"}, aof, "Invalid AOF manifest file format"),
        ({manifest: b"file a seq 1 type k\n"}, aof, "Unknown AOF file type"),
        ({manifest: b"file a seq 1 type b\nfile b seq 2 type b\n"}, aof, "Found duplicate base file information"),
        ({manifest: b"file a seq 2 type i\nfile b seq 1 type i\n"}, aof, "Found a non-monotonic sequence number"),
        ({manifest: b"file " + b"x" * 2000 + b" seq 1 type i\n"}, aof, "The AOF manifest file contains too long line"),
        ({manifest: good}, aof, "No such file or directory"),
        ({"dump.rdb": b"REDIS0011\x00\x01k"}, [], "Terminating server after rdb file reading failure."),
    )
    for files, arguments, line in cases:
        status, log = start_with(files, arguments)
        check(status == 1 and line in log, "status %s, no %r in:\n%s" % (status, line, log))
        if "reading the append only file" in line:
            check(line in log.strip().splitlines()[-1], "%r is not the last line of:\n%s" % (line, log))


# 12. Beside the server

def test_check_tool():
    tool = os.path.join(os.path.dirname(OURS), "quoll-check")
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    path = os.path.join(directory, "appendonly.aof")
    with open(path, "wb") as out:
        out.write(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$3")
    check(subprocess.run([tool, path], capture_output=True).returncode == 1, "a torn file")
    check(subprocess.run([tool, "--fix", path], input=b"y\n", capture_output=True).returncode == 0, "--fix")
    check(subprocess.run([tool, path], capture_output=True).returncode == 0, "a file that was fixed")
    shutil.rmtree(directory)


if __name__ == "__main__":
    Results.run_module(globals(), 4)
