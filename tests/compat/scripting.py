#!/usr/bin/python3
"""Scripts as the rest of the server lives with them: slow ones, kills, restarts, statistics, limits.

Tests that take a binary run against redis-server as well: what they expect is what it does."""
import contextlib
import hashlib
import os
import signal
import socket
import struct
import sys
import tempfile
import time

import resp
from resp import encode
from server import OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually

SLOW = ["--busy-reply-threshold", "100"]
FOREVER = "while true do end"
# Lua that runs, however fast the machine, until others have been refused %d times with error %s.
UNTIL_REFUSED = ("repeat local refused = redis.call('INFO', 'errorstats'):match('errorstat_%s:count=(%%d+)') "
                 "until tonumber(refused or 0) >= %d ")
BUSY_SCRIPT = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
BUSY_FUNCTION = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
UNKILLABLE = ("UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the "
              "script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.")


def crc64(data):
    """Of a DUMP payload: Jones' polynomial, reflected, little endian."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return struct.pack("<Q", crc)


def info(connection, name, section="everything"):
    for line in connection.call("INFO", section).decode().split("\r\n"):
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    return None


def start(server, *command):
    """Sends a command whose reply comes late; returns its connection."""
    connection = server.connect(timeout=20)
    connection.send(resp.encode(command))
    return connection


def reply_text(connection):
    return resp.tree(connection.read())[1].decode()


def wait_until_busy(connection, text=BUSY_SCRIPT):
    connection.timeout = 20
    eventually(lambda: connection.raw("PING") == b"-" + text.encode() + b"\r\n", "busy")


def library(name, body):
    return "#!lua name=%s\nredis.register_function('%s', function(keys, args) %s end)" % (name, name, body)


# Tests of both servers.

def both_busy_and_kill(binary):
    with ServerUnderTest(binary, SLOW) as server:
        other = server.connect()
        other.call("SET", "k", "v")
        script = start(server, "EVAL", FOREVER, "0")
        script.send(resp.encode(["PING"]))
        wait_until_busy(other)
        for command in (["GET", "k"], ["SET", "k", "w"], ["EVAL", "return 1", "0"], ["INFO"], ["CLIENT", "LIST"], ["EXEC"],
                        ["FUNCTION", "LIST"], ["SCRIPT", "LOAD", "return 1"], ["CONFIG", "GET", "port"]):
            expected = BUSY_SCRIPT
            if command == ["EXEC"]:
                expected = "EXECABORT Transaction discarded because of: " + BUSY_SCRIPT
            check_equal(other.error(*command), expected, " ".join(command))
        check_equal(other.error("NOSUCH")[:19], "ERR unknown command")
        check_equal(other.error("GET"), "ERR wrong number of arguments for 'get' command")
        check_equal(other.error("SHUTDOWN"), BUSY_SCRIPT)
        check_equal(other.error("FUNCTION", "KILL"), BUSY_SCRIPT)
        check_equal(server.connect().raw("PING"), b"-" + BUSY_SCRIPT.encode() + b"\r\n", "a new connection")
        fresh = server.connect()
        check_equal(fresh.raw("MULTI"), b"+OK\r\n")
        check_equal(fresh.error("GET", "k"), BUSY_SCRIPT)
        check_equal(fresh.raw("DISCARD"), b"+OK\r\n")
        check_equal(fresh.raw("WATCH", "k"), b"+OK\r\n")
        check_equal(fresh.raw("UNWATCH"), b"+OK\r\n")
        check_equal(fresh.raw("HELLO", "2")[:1], b"*")
        check_equal(other.raw("SCRIPT", "KILL"), b"+OK\r\n")
        check_equal(reply_text(script), "ERR Script killed by user with SCRIPT KILL... script: %s, on @user_script:1."
                    % hashlib.sha1(FOREVER.encode()).hexdigest())
        check_equal(script.read(), b"+PONG\r\n", "what the client sent behind the script")
        check_equal(other.call("GET", "k"), b"v")
        check_equal(other.error("SCRIPT", "KILL"), "NOTBUSY No scripts in execution right now.")


def both_functions_are_killed_by_their_own_command(binary):
    with ServerUnderTest(binary, SLOW) as server:
        other = server.connect()
        other.call("FUNCTION", "LOAD", library("forever", FOREVER))
        function = start(server, "FCALL", "forever", "1", "key", "arg")
        wait_until_busy(other, BUSY_FUNCTION)
        check_equal(other.error("SCRIPT", "KILL"), BUSY_FUNCTION)
        stats = dict(zip(*[iter(other.call("FUNCTION", "STATS"))] * 2))
        running = dict(zip(*[iter(stats[b"running_script"])] * 2))
        check_equal(running[b"name"], b"forever")
        check_equal(running[b"command"], [b"FCALL", b"forever", b"1", b"key", b"arg"])
        check(running[b"duration_ms"] >= 100, running)
        check_equal(other.raw("FUNCTION", "KILL"), b"+OK\r\n")
        check_equal(reply_text(function), "ERR Script killed by user with SCRIPT KILL... script: forever, on @user_function:2.")
        check_equal(other.error("FUNCTION", "KILL"), "NOTBUSY No scripts in execution right now.")


def both_writers_are_not_killed(binary):
    with ServerUnderTest(binary, SLOW) as server:
        other = server.connect()
        script = start(server, "EVAL", "redis.call('SET', 'a', 1) " + UNTIL_REFUSED % ("UNKILLABLE", 1) + "return 'done'", "0")
        wait_until_busy(other)
        check_equal(other.error("SCRIPT", "KILL"), UNKILLABLE)
        check_equal(reply_text(script), "done")
        check_equal(other.call("GET", "a"), b"1")


def both_shutdown_nosave_ends_a_writer(binary):
    with ServerUnderTest(binary, SLOW + ["--appendonly", "yes", "--appendfsync", "always"]) as server:
        other = server.connect()
        other.call("SET", "before", "1")
        start(server, "EVAL", "redis.call('SET', 'half', 1) " + FOREVER, "0")
        wait_until_busy(other)
        other.send(resp.encode(["SHUTDOWN", "NOSAVE"]))
        check_equal(server.wait_for_exit(), 0)
        aof = b"".join(open(os.path.join(root, name), "rb").read()
                       for root, _, names in os.walk(server.dir) for name in names if "aof" in name)
        check(b"before" in aof and b"half" not in aof, "the log holds %r" % aof)


def both_time_stands_still(binary):
    with ServerUnderTest(binary, SLOW) as server:
        other = server.connect()
        blocked = start(server, "BLPOP", "list", "0.15")
        text = "redis.call('SET', 'k', 1, 'PX', 50) " + UNTIL_REFUSED % ("BUSY", 2) + "return redis.call('EXISTS', 'k')"
        script = start(server, "EVAL", text, "0")
        wait_until_busy(other)
        check_equal(other.raw("PING"), b"-" + BUSY_SCRIPT.encode() + b"\r\n", "busy still")
        check_equal(resp.tree(script.read())[1], 1)
        check_equal(blocked.read(), b"*-1\r\n")
        eventually(lambda: other.call("EXISTS", "k") == 0, "the key expires behind the script")


def both_threshold_zero_means_never_busy(binary):
    with ServerUnderTest(binary, ["--busy-reply-threshold", "0"]) as server:
        script = start(server, "EVAL", "for i = 1, 2e7 do end return 'done'", "0")
        time.sleep(0.02)
        check_equal(server.connect(timeout=20).raw("PING"), b"+PONG\r\n")
        check_equal(reply_text(script), "done")


def both_clients_come_and_go_meanwhile(binary):
    with ServerUnderTest(binary, SLOW) as server:
        other = server.connect()
        gone = start(server, "EVAL", FOREVER, "0")
        wait_until_busy(other)
        gone.socket.close()
        for _ in range(20):
            passing = server.connect()
            passing.send(b"PING\r\nGET x\r\n*2\r\n$3\r\nGET\r\n")  # the last one unfinished
            passing.socket.close()
        replies = server.connect(timeout=20).pipeline([["SET", "k%d" % i, "x" * 1000] for i in range(2000)])
        check_equal(set(replies), {b"-" + BUSY_SCRIPT.encode() + b"\r\n"})
        half = server.connect()
        half.send(b"*2\r\n$4\r\nECHO\r\n$10\r\nhello")
        check_equal(other.raw("SCRIPT", "KILL"), b"+OK\r\n")
        eventually(lambda: other.raw("PING") == b"+PONG\r\n", "the server goes on")
        half.send(b"world\r\n")
        check_equal(half.read(), b"$10\r\nhelloworld\r\n")
        check_equal(other.call("DBSIZE"), 0)


def both_loading_has_a_time_limit(binary):
    with ServerUnderTest(binary) as server:
        one = server.connect(timeout=20)
        text = one.error("FUNCTION", "LOAD", "#!lua name=slow\nwhile true do end")
        check("FUNCTION LOAD timeout" in text, text)
        check_equal(one.call("FUNCTION", "LIST"), [])
        one.call("FUNCTION", "LOAD", library("fine", "for i = 1, 1e6 do end return 1"))
        check_equal(one.call("FCALL", "fine", "0"), 1)


def both_monitor_shows_scripts(binary):
    with ServerUnderTest(binary) as server:
        watcher, one = server.connect(), server.connect()
        watcher.call("MONITOR")
        one.call("EVAL", "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])", "1", "k", "v")
        one.call("FUNCTION", "LOAD", library("f", "return redis.call('GET', 'k')"))
        one.call("FCALL", "f", "0")
        lines = [reply_text(watcher) for _ in range(6)]
        seen = [(" lua]" in line, line.split("] ", 1)[1].split(" ")[0].lower()) for line in lines]
        check_equal(seen, [(False, '"eval"'), (True, '"set"'), (True, '"get"'), (False, '"function"'), (False, '"fcall"'),
                           (True, '"get"')])


def both_failing_saves_stop_what_may_write(binary):
    with ServerUnderTest(binary, ["--save", "3600 1", "--enable-protected-configs", "yes"]) as server:
        one = server.connect()
        lost = tempfile.mkdtemp()
        one.call("SET", "k", "v")
        one.call("FUNCTION", "LOAD", library("f", "return 1"))
        one.call("CONFIG", "SET", "dir", lost)
        os.rmdir(lost)
        one.call("BGSAVE")
        eventually(lambda: info(one, "rdb_last_bgsave_status", "persistence") == "err", "the save fails")
        for command in (["SET", "k", "w"], ["EVAL", "return redis.call('SET', 'k', 'w')", "0"], ["EVAL", "#!lua\nreturn 1", "0"],
                        ["EVAL", "#!lua flags=allow-oom,allow-stale\nreturn 1", "0"], ["FCALL", "f", "0"], ["FUNCTION", "DELETE", "f"]):
            check_equal(one.error(*command)[:8], "MISCONF ", " ".join(command))
        for command in (["EVAL", "return 1", "0"], ["EVAL", "#!lua flags=no-writes\nreturn 1", "0"], ["EVAL_RO", "return 1", "0"]):
            check_equal(one.call(*command), 1, " ".join(command))
        check_equal(one.call("EVAL", "return redis.call('GET', 'k')", "0"), b"v")
        one.call("CONFIG", "SET", "save", "", "dir", server.dir)


def both_depth_has_a_limit(binary):
    with ServerUnderTest(binary) as server:
        one = server.connect()
        deep = one.raw("EVAL", "local t = {} t[1] = t return t", "0")
        check(deep.startswith(b"*1\r\n" * 1000) and deep.endswith(b"-ERR reached lua stack limit\r\n"), deep[-100:])
        check_equal(deep, b"*1\r\n" * (deep.count(b"*1\r\n")) + b"-ERR reached lua stack limit\r\n")


def statistics(binary):
    with ServerUnderTest(binary) as server:
        one = server.connect()
        for command in (
                ["SET", "s", "x"], ["EVAL", "return redis.call('GET', 's')", "0"], ["EVAL", "return redis.call('INCR', 's')", "0"],
                ["EVAL", "redis.pcall('INCR', 's') return 1", "0"], ["EVAL", "return redis.pcall('INCR', 's')", "0"],
                ["EVAL", "return redis.call('nosuch')", "0"], ["EVAL", "return redis.pcall('nosuch')", "0"],
                ["EVAL", "return redis.call('GET')", "0"], ["EVAL", "redis.call('SUBSCRIBE', 'x')", "0"],
                ["EVAL", "return {err='MYERR x'}", "0"], ["EVAL", "return redis.error_reply('OTHER x')", "0"],
                ["EVAL", "error('x')", "0"], ["EVAL", "error({err='THROWN x'})", "0"], ["EVAL", "not lua", "0"],
                ["EVALSHA", "f" * 40, "0"], ["EVAL", "#!lua flags=no-writes\nredis.call('SET', 's', 1)", "0"],
                ["FUNCTION", "LOAD", library("f", "return redis.call('LPUSH', 's', 1)")], ["FCALL", "f", "0"], ["FCALL", "g", "0"],
                ["FCALL_RO", "f", "0"], ["EVAL", "return {pcall(redis.call, 'INCR', 's')}", "0"]):
            one.raw(*command)
        stats = one.call("INFO", "commandstats").decode() + one.call("INFO", "errorstats").decode()
        lines = {}
        for line in stats.split("\r\n"):
            name, _, value = line.partition(":")
            if name.startswith(("cmdstat_", "errorstat_")) and name not in ("cmdstat_info", "cmdstat_ping"):
                lines[name] = [field for field in value.split(",") if not field.startswith("usec")]
        lines["errors"] = info(one, "total_error_replies", "stats")
        return lines


def test_statistics_are_the_reference_s():
    ours, theirs = statistics(OURS), statistics(REFERENCE)
    for name in sorted(set(ours) | set(theirs)):
        check_equal(ours.get(name), theirs.get(name), name)


# Tests of ours.

def test_protected_calls_do_not_save_a_killed_script():
    scripts = ["while true do pcall(function() while true do end end) end",
               "while true do pcall(function() redis.call('GET', 'x') end) end",
               "local function again() return pcall(function() while true do end end), again() end again()",
               "while true do local c = coroutine.wrap(function() while true do end end) pcall(c) end",
               "xpcall(function() while true do end end, function() while true do end end)",
               "while true do redis.pcall('GET', 'x') end"]
    with ServerUnderTest(args=SLOW) as server:
        for text in scripts:
            other = server.connect()
            script = start(server, "EVAL", text, "0")
            wait_until_busy(other)
            check_equal(other.raw("SCRIPT", "KILL"), b"+OK\r\n")
            check_equal(reply_text(script)[:42], "ERR Script killed by user with SCRIPT KILL", text)
            eventually(lambda: other.raw("PING") == b"+PONG\r\n", "the server goes on")


def test_the_caller_of_a_busy_script_changes_nothing_under_it():
    """While it waits, its replies may go out or its connection end: both are dealt with behind the command."""
    with ServerUnderTest(args=["--busy-reply-threshold", "50", "--client-output-buffer-limit", "pubsub 8mb 0 0"]) as server:
        admin = server.connect()
        admin.raw("SET", "big", "x" * (4 << 20))
        busy = "local till = os.clock() + 1.5 while os.clock() < till do end return 1"
        lines = {"muted": [["CLIENT", "REPLY", "OFF"], ["MULTI"], ["GET", "big"], ["EVAL", busy, "0"], ["EXEC"]],
                 "over its limit": [["HELLO", "3"], ["SUBSCRIBE", "a"], ["MULTI"], *[["GET", "big"]] * 5, ["EVAL", busy, "0"],
                                    ["SUBSCRIBE", "b"], ["EXEC"]],
                 "gone": [["MULTI"], ["EVAL", busy, "0"], ["SUBSCRIBE", "b"], ["ACL", "WHOAMI"], ["EXEC"]]}
        for name, commands in lines.items():
            caller = socket.socket()
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect(("127.0.0.1", server.port))
            caller.sendall(encode(["GET", "big"]) + b"".join(map(encode, commands)))
            wait_until_busy(admin)
            caller.settimeout(5)
            if name == "gone":
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                caller.close()
            else:
                taken = 0
                try:
                    while taken < 12 << 20 and (part := caller.recv(1 << 20)):
                        taken += len(part)
                except OSError:
                    pass
                # Beyond its limit by one turn's replies it gets none of them.
                check(taken > 0 or name == "over its limit", name + ": replies came")
                caller.close()
            eventually(lambda: admin.raw("PING") == b"+PONG\r\n", name + ": the server goes on", timeout=20)
            eventually(lambda: admin.raw("PUBSUB", "NUMSUB", "b").endswith(b":0\r\n"), name + ": nobody listens", timeout=20)
            check_equal(admin.raw("PUBLISH", "b", "x" * 1000), b":0\r\n")


def test_restored_functions_have_no_more_time_than_loaded_ones():
    with ServerUnderTest() as server:
        one = server.connect()
        code = "#!lua name=l\nfor i = 1, 1e12 do end\nredis.register_function('f', function() return 1 end)"
        error = one.raw("FUNCTION", "LOAD", code)
        check(b"timeout" in error.lower(), error)
        quick = code.replace("1e12", "1e00")
        check_equal(one.raw("FUNCTION", "LOAD", quick), b"$1\r\nl\r\n")
        payload = one.call("FUNCTION", "DUMP").replace(b"1e00", b"1e12")
        body = payload[:-8]
        check_equal(one.raw("FUNCTION", "FLUSH"), b"+OK\r\n")
        error = one.raw("FUNCTION", "RESTORE", body + crc64(body))
        check(b"timeout" in error.lower(), error)
        check_equal(one.raw("PING"), b"+PONG\r\n")


def test_cache_of_eval_scripts_is_bounded():
    with ServerUnderTest() as server:
        one = server.connect()
        loaded = one.call("SCRIPT", "LOAD", "return 'loaded'")
        first = one.call("SCRIPT", "LOAD", "return 0").decode()  # loaded later than run: stays as well
        for i in range(700):
            check_equal(one.call("EVAL", "return %d" % i, "0"), i)
            one.call("EVAL", "return 'often'", "0")
        check_equal(info(one, "number_of_cached_scripts"), "502")
        check_equal(info(one, "evicted_scripts"), "200")
        check_equal(one.call("EVALSHA", loaded, "0"), b"loaded")
        check_equal(one.call("EVALSHA", first, "0"), 0)
        check_equal(one.call("EVAL", "return 1", "0"), 1)
        check(int(info(one, "used_memory_scripts_eval")) > 500 * 50, "memory of the texts")
        check(int(info(one, "used_memory_vm_eval")) > 10000, "memory of the VM")
        one.call("SCRIPT", "FLUSH")
        check_equal(info(one, "number_of_cached_scripts"), "0")
        check_equal(info(one, "used_memory_scripts_eval"), "0")


def test_memory_bombs_fail_alone():
    bombs = ["local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end",
             "local s = 'x' while true do s = s .. s end",
             "local t = {} for i = 1, 1e9 do t[i] = {} end",
             "return string.rep('x', 2^31 - 1)",
             "while true do pcall(string.rep, 'x', 2^31 - 1) error('caught') end",
             "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) end"]
    with ServerUnderTest(args=["--busy-reply-threshold", "0", "--script-memory-max", "24mb"]) as server:
        one = server.connect(timeout=60)
        for bomb in bombs:
            text = one.error("EVAL", bomb, "0")
            check("not enough memory" in text or "overflow" in text or "caught" in text, "%s: %s" % (bomb, text))
            check_equal(one.call("EVAL", "return 'fine'", "0"), b"fine")
        one.call("SCRIPT", "FLUSH")
        check(int(info(one, "used_memory")) < 50 << 20, "memory is given back: " + info(one, "used_memory"))


@contextlib.contextmanager
def restarted(args, fill):
    """Starts, fills, ends, starts again on the same files; the second server."""
    server = ServerUnderTest(args=args + ["--save", "3600 1"])
    fill(server.connect())
    server.child.send_signal(signal.SIGTERM)
    check_equal(server.wait_for_exit(), 0)
    try:
        with ServerUnderTest(port=server.port,
                             plain_args=["--port", str(server.port), "--dir", server.dir, "--save", ""] + args) as again:
            yield again
    finally:
        server.stop()  # removes the files


def functions_survive(args):
    def fill(one):
        one.call("FUNCTION", "LOAD", library("f1", "return 'one'"))
        one.call("FUNCTION", "LOAD", library("f2", "return redis.call('INCR', 'n')"))
        one.call("FUNCTION", "LOAD", library("gone", "return 1"))
        one.call("FUNCTION", "DELETE", "gone")
        one.call("FUNCTION", "LOAD", "REPLACE", library("f1", "return 'replaced'"))
        check_equal(one.call("FCALL", "f2", "0"), 1)

    with restarted(args, fill) as server:
        one = server.connect()
        check_equal(one.call("FCALL", "f1", "0"), b"replaced")
        check_equal(one.call("FCALL", "f2", "0"), 2)
        check_equal(one.error("FCALL", "gone", "0"), "ERR Function not found")


def test_functions_survive_in_the_rdb():
    functions_survive([])


def test_functions_survive_in_the_log():
    functions_survive(["--appendonly", "yes"])


def test_functions_survive_a_rewritten_log():
    for preamble in ("yes", "no"):
        with ServerUnderTest(args=["--appendonly", "yes", "--enable-debug-command", "yes", "--aof-use-rdb-preamble", preamble]) as server:
            one = server.connect()
            one.call("FUNCTION", "LOAD", library("f", "return 'here'"))
            one.call("BGREWRITEAOF")
            one.call("DEBUG", "LOADAOF")
            check_equal(one.call("FCALL", "f", "0"), b"here", "preamble " + preamble)


def test_functions_survive_a_reload():
    with ServerUnderTest(args=["--enable-debug-command", "yes"]) as server:
        one = server.connect()
        one.call("FUNCTION", "LOAD", library("f", "return 'here'"))
        one.call("DEBUG", "RELOAD")
        check_equal(one.call("FCALL", "f", "0"), b"here")
        check("Error trying to load the RDB" in one.error("DEBUG", "RELOAD", "NOFLUSH"), "a library that is there already")
        check_equal(one.call("DEBUG", "RELOAD", "NOFLUSH", "MERGE"), b"OK")
        check_equal(one.call("FCALL", "f", "0"), b"here")
        one.call("CONFIG", "SET", "appendonly", "yes")
        eventually(lambda: b"aof_rewrite_in_progress:0" in one.call("INFO", "persistence"), "the log has begun")
        one.call("FUNCTION", "LOAD", library("g", "return 'in the log'"))
        check_equal(one.call("DEBUG", "LOADAOF"), b"OK")
        check_equal((one.call("FCALL", "f", "0"), one.call("FCALL", "g", "0")), (b"here", b"in the log"))


def test_payloads_and_files_travel_both_ways():
    with ServerUnderTest(args=["--rdb-version", "10"]) as ours, ServerUnderTest(REFERENCE) as theirs:
        a, b = ours.connect(), theirs.connect()
        for one in (a, b):
            one.call("FUNCTION", "LOAD", library("f", "return 'f'"))
        check_equal(a.call("FUNCTION", "DUMP"), b.call("FUNCTION", "DUMP"))
        a.call("FUNCTION", "LOAD", library("g", "return 'g'"))
        for source, target in ((a, b), (b, a)):
            target.call("FUNCTION", "RESTORE", source.call("FUNCTION", "DUMP"), "FLUSH")
            check_equal(target.call("FCALL", "g", "0"), b"g")
        b.call("SAVE")
        with ServerUnderTest(plain_args=["--port", "0", "--unixsocket", os.path.join(theirs.dir, "s"), "--dir", theirs.dir],
                             wait=False) as reader:
            path = os.path.join(theirs.dir, "s")
            eventually(lambda: os.path.exists(path), "the socket")
            check_equal(resp.Connection(path=path).call("FCALL", "f", "0"), b"f")


def test_logs_travel_both_ways():
    """What one server wrote to its append-only file, functions and effects of scripts, the other reads."""
    args = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]
    for writer, reader in ((OURS, REFERENCE), (REFERENCE, OURS)):
        server = ServerUnderTest(writer, args + (["--rdb-version", "10"] if writer == OURS else []))
        try:
            one = server.connect()
            one.call("FUNCTION", "LOAD", library("f", "redis.call('INCR', 'n') return redis.call('INCR', 'm')"))
            for _ in range(3):
                one.call("FCALL", "f", "0")
            one.call("EVAL", "redis.call('SET', 'random', math.random()) redis.call('EXPIRE', 'random', 1000) "
                     "return redis.call('RPUSH', 'list', 'a', 'b')", "0")
            value = one.call("GET", "random")
            server.child.send_signal(signal.SIGTERM)
            server.wait_for_exit()
            with ServerUnderTest(reader, port=server.port,
                                 plain_args=["--port", str(server.port), "--dir", server.dir, "--save", ""] + args) as again:
                one = again.connect()
                check_equal(one.call("MGET", "n", "m", "random"), [b"3", b"3", value], reader)
                check_equal(one.call("LRANGE", "list", "0", "-1"), [b"a", b"b"])
                check(0 < one.call("TTL", "random") <= 1000, "the deadline")
                check_equal(one.call("FCALL", "f", "0"), 4)
        finally:
            server.stop()


def test_texts_keep_to_the_memory_of_scripts():
    """Libraries that write outside of Lua's memory: one text many times is a small table."""
    with ServerUnderTest(args=["--script-memory-max", "256mb"]) as server:
        one = server.connect(timeout=60)
        one.call("SETRANGE", "big", "99999999", "x")
        for text in ("local s = redis.call('GET', 'big') return #cjson.encode({s, s, s, s, s})",
                     "local s = redis.call('GET', 'big') return #cmsgpack.pack(s, s, s, s, s)",
                     "local s = redis.call('GET', 'big') return #struct.pack('sssss', s, s, s, s, s)",
                     "cjson.encode_sparse_array(false, 0, 0) return #cjson.encode({[2^30] = 1})"):
            check("not enough memory" in one.error("EVAL", text, "0"), text)
        one.call("DEL", "big")
        one.call("SCRIPT", "FLUSH")
        eventually(lambda: int(info(one, "used_memory")) < 50 << 20, "memory is given back")


def test_effects_not_scripts_are_journaled():
    with ServerUnderTest(args=["--appendonly", "yes", "--enable-debug-command", "yes"]) as server:
        one = server.connect()
        one.call("EVAL", "redis.call('SET', 'a', math.random()) redis.call('SPOP', 'none') redis.call('INCR', 'n')", "0")
        one.call("EVAL", "redis.set_repl(redis.REPL_NONE) redis.call('SET', 'hidden', 1)", "0")
        one.call("EVAL", "redis.set_repl(redis.REPL_AOF) redis.call('SET', 'logged', 1)", "0")
        one.call("EVAL", "redis.set_repl(redis.REPL_REPLICA) redis.call('SET', 'replicas', 1) "
                 "redis.set_repl(redis.REPL_ALL) redis.call('SET', 'all', 1)", "0")
        check_equal(one.error("EVAL", "redis.call('SET', 'kept', 1) error('after the write')", "0")[:3], "ERR")
        value = one.call("GET", "a")
        check_equal(one.call("GET", "hidden"), b"1")
        one.call("DEBUG", "LOADAOF")
        check_equal(one.call("GET", "a"), value)
        check_equal(one.call("MGET", "hidden", "logged", "replicas", "all", "kept", "n"), [None, b"1", None, b"1", b"1", b"1"])
        log = b"".join(open(os.path.join(root, name), "rb").read()
                       for root, _, names in os.walk(server.dir) for name in names if ".incr." in name)
        check(b"EVAL" not in log.upper() and b"MULTI" in log, "the log holds %r" % log)


def test_a_script_is_one_commit():
    """What WATCH, notifications and blocked clients see of a script is one instant."""
    with ServerUnderTest(args=["--notify-keyspace-events", "KEA"]) as server:
        one, two, listener = server.connect(), server.connect(), server.connect()
        blocked = start(server, "BLPOP", "list", "5")
        eventually(lambda: info(one, "blocked_clients") == "1", "blocked")
        listener.call("PSUBSCRIBE", "__keyevent@0__:*")
        two.call("WATCH", "k")
        commits = int(info(one, "quoll_commits"))
        one.call("EVAL", "redis.call('RPUSH', 'list', 'a', 'b') redis.call('LPOP', 'list') redis.call('SET', 'k', 1) "
                 "return redis.call('LLEN', 'list')", "0")
        check_equal(blocked.read(), b"*2\r\n$4\r\nlist\r\n$1\r\nb\r\n")
        check_equal(int(info(one, "quoll_commits")), commits + 2, "the script and the pop")
        two.call("MULTI")
        check_equal(two.call("EXEC"), None)
        events = [resp.plain(resp.tree(listener.read()))[2] for _ in range(5)]
        check_equal(events, [b"__keyevent@0__:rpush", b"__keyevent@0__:lpop", b"__keyevent@0__:set", b"__keyevent@0__:lpop",
                             b"__keyevent@0__:del"])


def test_always_fsync_holds_the_reply_only():
    with ServerUnderTest(args=["--appendonly", "yes", "--appendfsync", "always"]) as server:
        one = server.connect()
        replies = one.pipeline([["EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"] for _ in range(500)])
        check_equal(replies[-1], b":500\r\n")
        one.pipeline([["MULTI"], ["EVAL", "redis.call('INCR', 'n') return redis.call('INCR', 'n')", "0"], ["GET", "n"], ["EXEC"]])
        check_equal(one.call("GET", "n"), b"502")


def main():
    results = Results()
    wanted = sys.argv[1:]
    for name, test in list(globals().items()):
        if wanted and not any(word in name for word in wanted):
            continue
        if name.startswith("test_"):
            results.run(name[5:].replace("_", " "), test)
        elif name.startswith("both_"):
            for binary in (REFERENCE, OURS):
                results.run("%s: %s" % (os.path.basename(binary), name[5:].replace("_", " ")), test, binary)
    results.finish()


if __name__ == "__main__":
    main()
