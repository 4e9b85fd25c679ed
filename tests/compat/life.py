#!/usr/bin/python3
"""The life of the process, as scripts, init systems and operators see it: command line, config
file, log, signals, sockets, limits, slow and greedy clients."""
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

import resp
from server import (OURS, REFERENCE, ROOT, Results, ServerUnderTest, check, check_equal, eventually, free_port)

MIB = 1 << 20
SCRATCH = []  # folders to remove at the end


def scratch():
    SCRATCH.append(tempfile.mkdtemp(prefix="quoll-test-"))
    return SCRATCH[-1]


def run_until_exit(arguments, stdin=None, timeout=10):
    """Starts the server expecting it to end by itself; (exit status, standard output and error)."""
    done = subprocess.run([OURS] + arguments, input=stdin, capture_output=True, timeout=timeout, cwd=tempfile.gettempdir())
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def config_get(connection, name):
    return dict(zip(*[iter(map(bytes.decode, connection.call("CONFIG", "GET", name)))] * 2)).get(name)


def info_field(connection, name):
    for line in connection.call("INFO", "everything").decode().split("\r\n"):
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    raise AssertionError("INFO has no " + name)


# Command line and config file.

def test_flags_only():
    with ServerUnderTest(args=["--maxmemory", "100mb", "--timeout 77", "--hz", "33"]) as server:
        one = server.connect()
        check_equal(config_get(one, "maxmemory"), str(100 * MIB))
        check_equal(config_get(one, "timeout"), "77")
        check_equal(config_get(one, "hz"), "33")
        check_equal(config_get(one, "save"), "")


def test_config_file():
    config = """
# a comment
timeout 5
  maxmemory   1gb
maxmemory-policy "allkeys-lru"
requirepass 'pass word'
databases 4
latency-tracking-info-percentiles 50 99
client-output-buffer-limit pubsub 1mb 512kb 10
SAVE 900 1
save 300 10
"""
    with ServerUnderTest(config=config) as server:
        one = server.connect()
        one.call("AUTH", "pass word")
        check_equal(config_get(one, "timeout"), "5")
        check_equal(config_get(one, "maxmemory"), str(1 << 30))
        check_equal(config_get(one, "maxmemory-policy"), "allkeys-lru")
        check_equal(config_get(one, "latency-tracking-info-percentiles"), "50 99")
        check("pubsub 1048576 524288 10" in config_get(one, "client-output-buffer-limit"), "output buffer limit")
        check("out of range" in one.error("SELECT", "4"), "databases 4 has no database 4")


def test_flags_override_file():
    with ServerUnderTest(config="timeout 5\nhz 20\n", args=["--timeout", "9"]) as server:
        one = server.connect()
        check_equal((config_get(one, "timeout"), config_get(one, "hz")), ("9", "20"))


def test_quotes_and_escapes():
    with ServerUnderTest(config='requirepass "a\\x41\\"b"\n') as server:
        server.connect().call("AUTH", 'aA"b')


def test_save_forms():
    for arguments, expected in ((["--save", ""], ""), (["--save"], ""), (["--save", "60", "1000"], "60 1000"),
                                (["--save", "60 1000", "--hz", "11"], "60 1000")):
        directory, port = scratch(), free_port()
        with ServerUnderTest(plain_args=["--port", str(port), "--dir", directory] + arguments, port=port) as server:
            check_equal(config_get(server.connect(), "save"), expected, "save after %s" % arguments)


def test_config_on_stdin():
    port = free_port()
    child = subprocess.Popen([OURS, "-", "--hz", "12"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             cwd=scratch())
    try:
        child.stdin.write(b"port %d\nsave ''\ntimeout 44\n" % port)
        child.stdin.close()
        eventually(lambda: can_connect(port), "the server listens")
        one = resp.Connection(port)
        check_equal((config_get(one, "timeout"), config_get(one, "hz")), ("44", "12"))
    finally:
        child.terminate()
        check_equal(child.wait(10), 0, "exit status")


def can_connect(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False


def test_relative_dir_and_include():
    directory = scratch()
    os.mkdir(os.path.join(directory, "data"))
    with open(os.path.join(directory, "more.conf"), "w") as out:
        out.write("hz 21\n")
    port = free_port()
    with open(os.path.join(directory, "main.conf"), "w") as out:
        out.write("include %s/more.conf\nport %d\ndir ./data\nsave ''\n" % (directory, port))
    child = subprocess.Popen([OURS, "main.conf"], cwd=directory, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: can_connect(port), "the server listens")
        one = resp.Connection(port)
        check_equal(os.path.realpath(config_get(one, "dir")), os.path.realpath(os.path.join(directory, "data")))
        check_equal(config_get(one, "hz"), "21")
    finally:
        child.terminate()
        child.wait(10)


def test_wrong_arguments():
    for arguments in (["--invalid", "1"], ["--port"], ["--port", "abc"], ["--port", "70000"], ["--maxmemory-policy", "wrong"],
                      ["--timeout", "-5"], ["/no/such/file.conf"], ["--user", "foo", "--user", "foo"], ["--dir", "/no/such/dir"]):
        status, text = run_until_exit(arguments + (["--port", "0"] if arguments[0] == "--dir" else []))
        check(status != 0, "%s was accepted" % arguments)
        check(text.strip(), "%s: nothing was said" % arguments)


def test_fatal_config_error():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("timeout 5\n\nnosuchdirective 1 2\n")
        config.flush()
        status, text = run_until_exit([config.name])
        check(status != 0, "an unknown directive was accepted")
        for part in ("*** FATAL CONFIG FILE ERROR", "line 3", "nosuchdirective"):
            check(part in text, "%r is not in %r" % (part, text))


def test_bad_value_names_the_line():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("maxmemory-policy sometimes\n")
        config.flush()
        status, text = run_until_exit([config.name])
        check(status != 0 and "line 1" in text and "maxmemory-policy" in text, text)


def test_version_and_help():
    for flag in ("-v", "--version"):
        status, text = run_until_exit([flag])
        check(status == 0 and "v=" in text, "%s: %d %r" % (flag, status, text))
    for flag in ("-h", "--help"):
        status, text = run_until_exit([flag])
        check("Usage" in text or "usage" in text, "%s: %r" % (flag, text))


def test_every_directive_is_accepted():
    """A config file of every parameter of redis-server with its default value starts ours too."""
    skipped = {"port", "dir", "save", "bind", "logfile", "pidfile", "daemonize", "unixsocket", "replicaof", "slaveof", "requirepass",
               "masterauth", "masteruser", "aclfile", "cluster-enabled", "cluster-announce-ip", "cluster-announce-hostname",
               "replica-announce-ip", "slave-announce-ip", "bind-source-addr", "req-res-logfile"}
    with ServerUnderTest(REFERENCE) as reference:
        values = list(map(bytes.decode, reference.connect().call("CONFIG", "GET", "*")))
    lines = []
    for name, value in zip(values[::2], values[1::2]):
        if name in skipped or name.startswith("tls-") and not value:
            continue
        several = name in ("client-output-buffer-limit", "oom-score-adj-values", "latency-tracking-info-percentiles")
        if name == "client-output-buffer-limit":
            words = value.split()
            lines += ["%s %s" % (name, " ".join(words[i : i + 4])) for i in range(0, len(words), 4)]
        else:
            lines.append("%s %s" % (name, value if several else '"%s"' % value))
    with ServerUnderTest(config="\n".join(lines) + "\n", args=["--supervised", "no"]) as server:
        check_equal(server.connect().call("PING"), b"PONG")


def test_shipped_config_file_names_every_directive():
    with open(os.path.join(ROOT, "redis-conf/quoll.conf")) as file:
        written = dict(re.findall(r"^(?:# )?([a-z][a-z0-9_-]+)(?: (.*))?$", file.read(), re.M))
    with ServerUnderTest(OURS) as server:
        values = server.connect().call("CONFIG", "GET", "*")
    names = [name.decode() for name in values[::2]]
    older = re.compile(r"slaveof|.*(slave|-ziplist-).*|lua-time-limit")
    missing = [name for name in names if name not in written and not older.fullmatch(name)]
    check(not missing, "redis-conf/quoll.conf does not name: %s" % " ".join(missing))
    # The defaults it shows are the defaults.
    examples = {"port", "tls-port", "unixsocketperm", "replica-announce-port", "cluster-announce-port", "cluster-announce-bus-port"}
    wrong = []
    for name, value in zip(names, values[1::2]):
        shown = (written.get(name) or "").strip('"')
        if name in examples or not re.fullmatch(r"\d+|yes|no", shown) or older.fullmatch(name):
            continue
        if re.fullmatch(r"\d+|yes|no", value.decode()) and shown != value.decode():
            wrong.append("%s %s (%s)" % (name, shown, value.decode()))
    check(not wrong, "not the defaults: " + ", ".join(wrong))


def test_debian_config_file():
    """The active lines of Debian's own redis.conf."""
    path = "/etc/redis/redis.conf"
    if not os.access(path, os.R_OK):
        print("     (%s may not be read by this user)" % path)
        return
    lines = open(path).read().splitlines()
    own = ("bind", "port", "daemonize", "supervised", "pidfile", "logfile", "dir", "unixsocket")
    lines = [line for line in lines if line.strip() and not line.startswith("#") and line.split()[0] not in own]
    with ServerUnderTest(config="\n".join(lines) + "\n") as server:
        check_equal(server.connect().call("PING"), b"PONG")


# What CONFIG may say differently: our own parameters, and defaults that name the process or product.
CONFIG_DEFAULTS_DIFFER = {
    "port", "dir", "pidfile", "logfile", "proc-title-template", "always-show-logo", "dbfilename", "appendfilename",
    "maxclients", "syslog-ident",
}


def test_config_get_lists_the_same():
    def parameters(server):
        return dict(zip(*[iter(map(bytes.decode, server.connect().call("CONFIG", "GET", "*")))] * 2))

    with ServerUnderTest(REFERENCE) as reference, ServerUnderTest() as ours:
        theirs, mine = parameters(reference), parameters(ours)
    missing = sorted(set(theirs) - set(mine))
    check(not missing, "CONFIG GET * lacks %s" % ", ".join(missing))
    different = ["%s: reference %r, ours %r" % (name, theirs[name], mine[name]) for name in sorted(theirs)
                 if theirs[name] != mine[name] and name not in CONFIG_DEFAULTS_DIFFER]
    check(not different, "defaults differ:\n  " + "\n  ".join(different))


def test_config_set_of_everything_listed():
    """Tools set and rewrite every parameter that CONFIG GET * lists."""
    outcomes = []
    for binary in (REFERENCE, OURS):
        with ServerUnderTest(binary) as server:
            one = server.connect()
            values = one.call("CONFIG", "GET", "*")
            outcomes.append({name.decode(): one.raw("CONFIG", "SET", name, value)[:1] for name, value in zip(values[::2], values[1::2])
                             if name not in (b"bind", b"port")})
            check_equal(one.call("PING"), b"PONG")
    theirs, mine = outcomes
    different = ["%s: reference %s, ours %s" % (name, theirs[name], mine[name]) for name in sorted(set(theirs) & set(mine))
                 if theirs[name] != mine[name]]
    check(not different, "CONFIG SET of the present value differs:\n  " + "\n  ".join(different))


def test_config_rewrite():
    config = "# my words\ntimeout 5\nhz 20\n"
    with ServerUnderTest(config=config) as server:
        one = server.connect()
        one.call("CONFIG", "SET", "timeout", "66", "maxmemory", "50mb", "requirepass", 'sp ace"quote')
        one.call("CONFIG", "REWRITE")
        text = open(server.config_path).read()
        check("# my words" in text and "timeout 66" in text and "hz 20" in text, text)
        with ServerUnderTest(config=text.replace("port %d" % server.port, "")) as again:
            two = again.connect()
            two.call("AUTH", 'sp ace"quote')
            check_equal((config_get(two, "timeout"), config_get(two, "maxmemory")), ("66", str(50 * MIB)))
    with ServerUnderTest() as server:
        check("without a config file" in server.connect().error("CONFIG", "REWRITE"), "REWRITE without a file")


def test_rename_command():
    config = 'rename-command FLUSHALL ""\nrename-command GET fetch\n'
    with ServerUnderTest(config=config) as server:
        one = server.connect()
        one.call("SET", "k", "v")
        check("unknown command" in one.error("FLUSHALL"), "FLUSHALL was renamed away")
        check("unknown command" in one.error("GET", "k"), "GET was renamed away")
        check_equal(one.call("FETCH", "k"), b"v")


# Log, signals, pid.

def test_log_lines():
    with ServerUnderTest(config="always-show-logo yes\nloglevel verbose\n") as server:
        check("PID: %d" % server.pid in server.log(), "the log names the pid:\n" + server.log())
        check("Server initialized" in server.log(), server.log())
        server.wait_for_log("Ready to accept connections")
        check_equal(int(info_field(server.connect(), "process_id")), server.pid, "process_id")
        last = [line for line in server.log().splitlines() if "Ready to accept" in line][0]
        check(last.startswith("%d:M " % server.pid), "log line form: " + last)


def test_log_file_continues():
    directory = scratch()
    path = os.path.join(directory, "quoll.log")
    for _ in range(2):
        with ServerUnderTest(args=["--logfile", path]) as server:
            check_equal(server.log(), "", "standard output with a log file")
    check_equal(open(path).read().count("Ready to accept connections"), 2, "starts in the log")


def test_json_log():
    import json
    with ServerUnderTest(args=["--log-format", "json"]) as server:
        lines = [line for line in server.log().splitlines() if line.strip()]
        check(lines and all(isinstance(json.loads(line), dict) for line in lines), "not JSON: %r" % lines[:3])


def test_signals_end_it():
    for number in (signal.SIGTERM, signal.SIGINT):
        with ServerUnderTest() as server:
            client = server.connect()
            client.call("SET", "k", "v")
            server.child.send_signal(number)
            check_equal(server.wait_for_exit(), 0, "exit status after signal %d" % number)
            client.read_until_closed()
            check("ready to exit, bye bye" in server.log(), server.log())
            check(not can_connect(server.port), "the port is still open")


def test_shutdown_command():
    for words in (["SHUTDOWN"], ["SHUTDOWN", "NOSAVE"], ["shutdown", "nosave", "now"], ["SHUTDOWN", "NOSAVE", "FORCE"]):
        with ServerUnderTest() as server:
            client = server.connect()
            client.send(resp.encode(words))
            check_equal(client.read_until_closed(), b"", "%s replies nothing" % words)
            check_equal(server.wait_for_exit(), 0, "exit status of %s" % words)


def test_hup_and_pipe_do_no_harm():
    with ServerUnderTest() as server:
        for number in (signal.SIGHUP, signal.SIGPIPE):
            server.child.send_signal(number)
        time.sleep(0.1)
        check_equal(server.connect().call("PING"), b"PONG")


def test_stop_and_continue():
    with ServerUnderTest() as server:
        one = server.connect()
        one.call("SET", "k", "v", "PX", "100")
        server.child.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        server.child.send_signal(signal.SIGCONT)
        check_equal(one.call("GET", "k"), None, "a key whose deadline passed while the process stood still")


def test_daemonize_and_pidfile():
    directory, port = scratch(), free_port()
    pidfile = os.path.join(directory, "quoll.pid")
    done = subprocess.run([OURS, "--port", str(port), "--dir", directory, "--daemonize", "yes", "--pidfile", pidfile, "--save", "",
                           "--logfile", os.path.join(directory, "log")], timeout=10, stdout=subprocess.DEVNULL)
    check_equal(done.returncode, 0, "exit status of the starter")
    eventually(lambda: can_connect(port), "the daemon listens")
    eventually(lambda: os.path.exists(pidfile), "the pid file is written")
    pid = int(open(pidfile).read())
    check_equal(int(info_field(resp.Connection(port), "process_id")), pid, "pid file")
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not can_connect(port), "the daemon ends")
    eventually(lambda: not os.path.exists(pidfile), "the pid file is removed")


def test_port_taken():
    with ServerUnderTest() as server:
        status, text = run_until_exit(["--port", str(server.port), "--save", ""])
        check(status != 0, "a second server on the same port started")
        check("Failed listening on port" in text, text)


def test_listening_nowhere():
    status, text = run_until_exit(["--port", "0", "--save", ""])
    check(status != 0, "a server that listens nowhere started: " + text)


def test_time_to_first_answer():
    times = []
    for _ in range(5):
        with ServerUnderTest(wait=False) as server:
            times.append(server.wait_until_answering())
    check(sorted(times)[2] < 0.5, "start to PING takes %s s" % times)


# Sockets.

def test_unix_socket():
    directory = scratch()
    path = os.path.join(directory, "quoll.sock")
    for mode in ("700", "770", "777"):
        with ServerUnderTest(args=["--unixsocket", path, "--unixsocketperm", mode]) as server:
            check_equal(stat.S_IMODE(os.stat(path).st_mode), int(mode, 8), "permission bits")
            one = resp.Connection(path=path)
            one.call("SET", "k", "v")
            check(("unixsocket" in one.call("CLIENT", "LIST").decode() or path in one.call("CLIENT", "LIST").decode()), "CLIENT LIST")
            check_equal(server.connect().call("GET", "k"), b"v")
    check(not os.path.exists(path), "the socket file is left behind")
    port = free_port()
    child = subprocess.Popen([OURS, "--port", "0", "--unixsocket", path, "--save", ""], stdout=subprocess.DEVNULL, cwd=directory)
    try:
        def listens():  # the file is there a moment before
            try:
                return resp.Connection(path=path).call("PING") == b"PONG"
            except OSError:
                return False
        eventually(listens, "the socket answers")
        check(not can_connect(port), "a TCP port without port")
    finally:
        child.terminate()
        child.wait(10)


def test_several_addresses():
    with ServerUnderTest(args=["--bind", "127.0.0.1 127.0.0.2"]) as server:
        resp.Connection(server.port, host="127.0.0.2").call("SET", "k", "v")
        check_equal(server.connect().call("GET", "k"), b"v")
        check(not can_connect(server.port, "127.0.0.3"), "127.0.0.3 was not asked for")
    with ServerUnderTest(args=["--bind", "127.0.0.1", "127.0.0.2"]) as server:
        check_equal(resp.Connection(server.port, host="127.0.0.2").call("PING"), b"PONG")
    with ServerUnderTest(args=["--bind", "127.0.0.1 -192.0.2.1"]) as server:  # an optional address
        check_equal(server.connect().call("PING"), b"PONG")
    status, text = run_until_exit(["--port", str(free_port()), "--bind", "192.0.2.1", "--save", ""])
    check(status != 0 and "192.0.2.1" in text, "an address that is not ours: %s" % text)


def test_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        print("     (this machine has no IPv6 loopback)")
        return
    with ServerUnderTest(args=["--bind", "127.0.0.1 ::1"]) as server:
        one = resp.Connection(server.port, host="::1")
        one.call("SET", "k", "v")
        check("addr=[::1]:" in one.call("CLIENT", "INFO").decode(), "CLIENT INFO shows an IPv6 address")
        check_equal(server.connect().call("GET", "k"), b"v")


def test_many_connections():
    with ServerUnderTest() as server:
        clients = [server.connect() for _ in range(800)]
        for client in clients:
            client.send(b"PING\r\n")
        check(all(client.read() == b"+PONG\r\n" for client in clients), "every client is answered")
        check_equal(int(info_field(clients[0], "connected_clients")), 800, "connected_clients")
        for client in clients[1:]:
            client.close()
        eventually(lambda: info_field(clients[0], "connected_clients") == "1", "closed clients are forgotten")


def test_half_closed_client_gets_its_replies():
    with ServerUnderTest() as server:
        one = server.connect()
        one.send(b"SET k v\r\nGET k\r\nPING\r\n")
        one.socket.shutdown(socket.SHUT_WR)
        check_equal(one.read_until_closed(), b"+OK\r\n$1\r\nv\r\n+PONG\r\n")


def test_protected_mode():
    """Loopback clients pass (all this test may listen on); the setting can be read and changed."""
    with ServerUnderTest(args=["--protected-mode", "yes"]) as server:
        one = server.connect()
        check_equal(config_get(one, "protected-mode"), "yes")
        check_equal(one.call("PING"), b"PONG")


# Limits.

def test_maxclients():
    with ServerUnderTest(args=["--maxclients", "5"]) as server:
        clients = []
        eventually(lambda: int(info_field(server.connect(), "connected_clients")) == 1, "the first probe is gone")
        time.sleep(0.05)
        for _ in range(5):
            clients.append(server.connect())
            clients[-1].call("PING")
        check_equal(server.connect().read_until_closed(), b"-ERR max number of clients reached\r\n")
        check(int(info_field(clients[0], "rejected_connections")) >= 1, "rejected_connections")
        clients.pop().close()
        eventually(lambda: can_ping(server), "a place becomes free")
        clients[0].call("CONFIG", "SET", "maxclients", "50")
        check_equal([server.connect().call("PING") for _ in range(10)], [b"PONG"] * 10)


def can_ping(server):
    try:
        return server.connect().raw("PING") == b"+PONG\r\n"
    except (resp.Closed, OSError):
        return False


def test_idle_timeout():
    with ServerUnderTest(args=["--timeout", "1"]) as server:
        idle, busy, listener = server.connect(), server.connect(), server.connect()
        listener.raw("SUBSCRIBE", "channel")
        started = time.monotonic()
        idle.call("PING")
        while time.monotonic() - started < 2.6:
            busy.call("PING")
            time.sleep(0.1)
        idle.read_until_closed(0.5)
        check_equal(busy.call("PUBLISH", "channel", "still here"), 1, "subscribers are not idle")


def test_pubsub_output_limit():
    with ServerUnderTest(args=["--client-output-buffer-limit", "pubsub", "1mb", "512kb", "60"]) as server:
        slow, one = server.connect(), server.connect()
        slow.raw("SUBSCRIBE", "flood")
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        received = 1
        for _ in range(400):
            received = one.call("PUBLISH", "flood", b"x" * 100000)
            if not received:
                break
        check_equal(received, 0, "subscribers that do not read are cut off; receivers at the end")
        eventually(lambda: int(info_field(one, "client_output_buffer_limit_disconnections")) >= 1, "counted in INFO")
        check(memory_used(one) < 20 * MIB, "memory is given back")


def memory_used(connection):
    return int(info_field(connection, "used_memory"))


def test_normal_output_limit():
    with ServerUnderTest(args=["--client-output-buffer-limit", "normal", "2mb", "0", "0"]) as server:
        one, greedy = server.connect(), server.connect()
        one.call("SET", "big", b"x" * MIB)
        try:
            for _ in range(60):
                greedy.send(resp.encode(["GET", "big"]))
                time.sleep(0.001)
        except OSError:
            pass
        try:
            check(len(greedy.read_until_closed(20)) < 60 * MIB, "everything was sent")
        except resp.NoReply:
            raise AssertionError("a client over its output limit was not cut off") from None
        check_equal(one.call("PING"), b"PONG")


def test_query_buffer_limit():
    with ServerUnderTest(args=["--client-query-buffer-limit", "1mb"]) as server:
        one, greedy = server.connect(), server.connect()
        try:
            greedy.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n" + b"x" * (4 * MIB))
            greedy.read_until_closed(5)
        except OSError:
            pass
        except resp.NoReply:
            raise AssertionError("a client over its query limit was not cut off") from None
        eventually(lambda: int(info_field(one, "client_query_buffer_limit_disconnections")) >= 1, "counted in INFO")
        check_equal(one.call("PING"), b"PONG")


def test_proto_max_bulk_len():
    with ServerUnderTest(args=["--proto-max-bulk-len", "1mb"]) as server:
        one = server.connect()
        one.call("SET", "k", b"x" * MIB)
        check("exceeds maximum allowed size" in one.error("APPEND", "k", "y"), "APPEND over the limit")
        one.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (MIB + 1))
        check_equal(one.read_until_closed(), b"-ERR Protocol error: invalid bulk length\r\n")


# Clients of all kinds.

def test_client_pause():
    with ServerUnderTest() as server:
        one, two, three = server.connect(), server.connect(), server.connect()
        one.call("SET", "k", "v")
        started = time.monotonic()
        one.call("CLIENT", "PAUSE", "400", "WRITE")
        check_equal(two.call("GET", "k"), b"v")
        check(time.monotonic() - started < 0.3, "reads go on while writes are paused")
        two.call("SET", "k", "w")
        waited = time.monotonic() - started
        check(0.35 < waited < 1.5, "a write waited %.2f s of 0.4 s" % waited)
        started = time.monotonic()
        one.call("CLIENT", "PAUSE", "300", "ALL")
        two.call("PING")
        check(0.25 < time.monotonic() - started < 1.5, "PAUSE ALL stops every command")
        one.call("CLIENT", "PAUSE", "100000", "WRITE")
        two.send(resp.encode(["SET", "k", "x"]))
        check_equal(two.read_for(0.1), b"", "a paused write is silent")
        three.call("CLIENT", "UNPAUSE")
        check_equal(two.read(), b"+OK\r\n", "the write resumes")
        two.call("MULTI")
        two.call("SET", "k", "y")
        one.call("CLIENT", "PAUSE", "100000", "WRITE")
        two.send(resp.encode(["EXEC"]))
        check_equal(two.read_for(0.1), b"", "a transaction with a write waits as a whole")
        one.call("CLIENT", "UNPAUSE")
        check_equal(two.read(), b"*1\r\n+OK\r\n")


def test_pause_holds_expiry():
    with ServerUnderTest() as server:
        one, two = server.connect(), server.connect()
        one.call("SET", "k", "v", "PX", "150")
        one.call("CLIENT", "PAUSE", "500", "WRITE")
        time.sleep(0.25)
        check_equal(two.call("DBSIZE"), 1, "nothing is deleted while writes are paused; keys")
        check_equal(two.call("GET", "k"), None, "but an expired key is not shown")
        time.sleep(0.4)
        eventually(lambda: two.call("DBSIZE") == 0, "after the pause the key goes")


def test_client_kill():
    with ServerUnderTest() as server:
        one, victim, other = server.connect(), server.connect(), server.connect()
        address = "%s:%d" % victim.socket.getsockname()[:2]
        check_equal(one.call("CLIENT", "KILL", address), b"OK")
        victim.read_until_closed()
        local = "%s:%d" % other.socket.getpeername()[:2]
        check(one.call("CLIENT", "KILL", "LADDR", local, "SKIPME", "yes") >= 1, "KILL LADDR")
        other.read_until_closed()
        check_equal(one.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"), 1)
        one.read_until_closed()


def test_client_list_fields():
    wanted = "id addr laddr fd name age idle flags db sub psub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem " \
             "events cmd user redir resp".split()
    with ServerUnderTest() as server:
        one, two = server.connect(), server.connect()
        one.call("CLIENT", "SETNAME", "one")
        one.call("SELECT", "3")
        two.call("SUBSCRIBE", "a")
        two.raw("PSUBSCRIBE", "b*")
        lines = [dict(field.split("=", 1) for field in line.split(" ")) for line in one.call("CLIENT", "LIST").decode().splitlines()]
        check_equal(len(lines), 2, "clients")
        missing = [field for field in wanted if field not in lines[0]]
        check(not missing, "CLIENT LIST lacks %s" % missing)
        mine = [line for line in lines if line["name"] == "one"][0]
        check_equal((mine["db"], mine["cmd"], mine["flags"], mine["user"]), ("3", "client|list", "N", "default"))
        check_equal(mine["qbuf"], "26", "the request that runs")
        theirs = [line for line in lines if line["name"] != "one"][0]
        check_equal((theirs["sub"], theirs["psub"], theirs["flags"]), ("1", "1", "P"))
        check_equal(one.call("CLIENT", "LIST", "ID", theirs["id"]).decode().count("\n"), 1)
        check_equal(one.call("CLIENT", "LIST", "TYPE", "pubsub").decode().split(" ")[0], "id=" + theirs["id"])


def test_big_value():
    """100 MB in one SET, sent in uneven pieces, and back."""
    size = 100 * 1000 * 1000
    with ServerUnderTest() as server:
        one, two = server.connect(timeout=60), server.connect()
        block = os.urandom(1000 * 1000)
        one.send(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n" % size)
        for _ in range(100):
            one.send(block)
        check_equal(two.call("PING"), b"PONG", "others are served meanwhile")
        one.send(b"\r")
        time.sleep(0.02)
        one.send(b"\n")
        check_equal(one.read(), b"+OK\r\n")
        check_equal(two.call("STRLEN", "big"), size)
        check_equal(two.call("GETRANGE", "big", 5000000 - 3, 5000000 + 2), block[-3:] + block[:3])
        check_equal(one.call("GET", "big"), block * 100, "the value that came back")
        check(memory_used(two) < 2.3 * size, "memory for one value of 100 MB: %d" % memory_used(two))
        one.close()
        two.call("DEL", "big")
        eventually(lambda: memory_used(two) < 0.2 * size, "memory is given back: %d" % memory_used(two))


def test_slow_reader():
    """A client that asks for much and reads late gets it all, and nobody else waits."""
    with ServerUnderTest() as server:
        one, slow = server.connect(), server.connect(timeout=60)
        one.call("SET", "v", b"0123456789" * 10000)
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.send(resp.encode(["GET", "v"]) * 500)  # 50 MB of replies
        time.sleep(0.2)
        started = time.monotonic()
        for _ in range(100):
            one.call("PING")
        check((time.monotonic() - started) < 2, "others wait for the slow reader")
        for _ in range(500):
            check_equal(len(slow.read()), 100000 + len("$100000\r\n") + 2, "reply length")


def test_slow_writer():
    """Requests that arrive byte by byte."""
    with ServerUnderTest() as server:
        one = server.connect()
        one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in resp.encode(["SET", "slow", "va\r\nlue"]) + b"GET slow\r\n":
            one.send(bytes([byte]))
            time.sleep(0.0005)
        check_equal((one.read(), one.read()), (b"+OK\r\n", b"$7\r\nva\r\nlue\r\n"))


def test_deep_pipeline():
    with ServerUnderTest() as server:
        one = server.connect(timeout=60)
        replies = one.pipeline([[b"INCR", b"n"]] * 100000)
        check_equal(replies[-1], b":100000\r\n")
        check(all(replies[i] == b":%d\r\n" % (i + 1) for i in range(0, 100000, 997)), "replies keep their order")


def test_many_arguments():
    with ServerUnderTest() as server:
        one = server.connect(timeout=60)
        words = [b"MSET"] + [word for i in range(100000) for word in (b"k%d" % i, b"v%d" % i)]
        check_equal(one.raw(*words), b"+OK\r\n")
        check_equal(len(one.call("MGET", *[b"k%d" % i for i in range(100000)])), 100000)
        check_equal(one.call("DEL", *[b"k%d" % i for i in range(100000)]), 100000)


def test_fan_out():
    """A message reaches every subscriber once and in order."""
    with ServerUnderTest() as server:
        listeners = [server.connect() for _ in range(50)]
        for i, listener in enumerate(listeners):
            listener.raw("SUBSCRIBE" if i % 2 else "PSUBSCRIBE", "news" if i % 2 else "n*s")
        one = server.connect()
        one.pipeline([[b"PUBLISH", b"news", b"%d" % i] for i in range(200)])
        for listener in listeners:
            check_equal([resp.plain(resp.tree(listener.read()))[-1] for _ in range(200)], [b"%d" % i for i in range(200)])


def test_concurrent_transactions():
    """WATCH loops of several clients lose no increment."""
    with ServerUnderTest() as server:
        def work():
            one = server.connect()
            done = 0
            while done < 50:
                one.call("WATCH", "counter")
                value = int(one.call("GET", "counter") or 0)
                one.call("MULTI")
                one.call("SET", "counter", value + 1)
                done += one.call("EXEC") is not None

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check_equal(server.connect().call("GET", "counter"), b"200")


def test_no_child_processes():
    with ServerUnderTest() as server:
        server.connect().call("PING")
        children = subprocess.run(["ps", "--ppid", str(server.pid), "-o", "pid="], capture_output=True, text=True).stdout.split()
        check_equal(children, [], "child processes")


def main():
    results = Results()
    wanted = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not wanted or any(word in name for word in wanted)):
            results.run(name[5:].replace("_", " "), test)
    for path in SCRATCH:
        shutil.rmtree(path, ignore_errors=True)
    results.finish()


if __name__ == "__main__":
    main()
