#!/usr/bin/python3
"""What the server owes to the system around it: crash reports, supervisors, the out-of-memory killer's
score, the watchdog, log rotation, installed files, the sidecar preset."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import resp
from server import (OURS, ROOT, Results, ServerUnderTest, check, check_equal, eventually, free_port)

DEBUG = ["--enable-debug-command", "yes"]


def fall(server, *words):
    """Sends what ends the server; its exit status."""
    try:
        server.connect().raw(*words)
    except (resp.Closed, OSError):
        pass
    return server.wait_for_exit()


def test_crash_report():
    with ServerUnderTest(args=DEBUG) as server:
        server.connect().call("SET", "k", "v")
        status = fall(server, "DEBUG", "SEGFAULT")
        check(server.fell_over(), "it should have crashed")
        check_equal(status, -signal.SIGSEGV, "exit status")
        log = server.log()
        for text in ("BUG REPORT START", "crashed by signal: 11", "STACK TRACE -", "Backtrace:", "REGISTERS", "RIP:",
                     "CURRENT CLIENT INFO", "argv[0]: '\"DEBUG\"'", "argv[1]: '\"SEGFAULT\"'", "cmd=debug", "INFO OUTPUT",
                     "used_memory:", "db0:keys=1", "CLIENT LIST OUTPUT", "CONFIG DEBUG OUTPUT", "BUG REPORT END"):
            check(text in log, "the report has no %r:\n%s" % (text, log))
        frames = re.findall(r"\(\+0x[0-9a-f]+\)\[0x[0-9a-f]+\]", log)
        check(len(frames) > 5, "too few frames: %s" % frames)


def test_crash_report_goes_to_the_log_file():
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    path = os.path.join(directory, "log")
    with ServerUnderTest(args=DEBUG + ["--logfile", path]) as server:
        fall(server, "DEBUG", "SEGFAULT")
        check(server.fell_over(), "it should have crashed")
        text = open(path).read()
        check("crashed by signal: 11" in text and "BUG REPORT END" in text, text)
        check_equal(server.log(), "", "standard output and error")
    shutil.rmtree(directory)


def test_failed_assertion():
    with ServerUnderTest(args=DEBUG) as server:
        status = fall(server, "DEBUG", "ASSERT")
        check(server.fell_over(), "it should have crashed")
        check_equal(status, -signal.SIGABRT, "exit status")
        for text in ("=== ASSERTION FAILED ===", "is not true", "crashed by signal: 6", "STACK TRACE -"):
            check(text in server.log(), "the report has no %r:\n%s" % (text, server.log()))


def test_exit_on_panic():
    with ServerUnderTest(args=DEBUG + ["--use-exit-on-panic", "yes"]) as server:
        check_equal(fall(server, "DEBUG", "ASSERT"), 1, "exit status")
        check("crashed by signal: 6" in server.log(), server.log())
    with ServerUnderTest(args=DEBUG) as server:
        fall(server, "DEBUG", "PANIC")
        check(server.fell_over(), "it should have crashed")
        check("Guru Meditation" in server.log() and "STACK TRACE -" in server.log(), server.log())


def test_crash_log_disabled():
    with ServerUnderTest(args=DEBUG + ["--crash-log-enabled", "no"]) as server:
        check_equal(fall(server, "DEBUG", "SEGFAULT"), -signal.SIGSEGV, "exit status")
        check(server.fell_over(), "it should have crashed")
        check("STACK TRACE" not in server.log(), server.log())
    with ServerUnderTest(args=DEBUG + ["--crash-log-enabled", "no"]) as server:
        server.connect().call("CONFIG", "SET", "crash-log-enabled", "yes")
        fall(server, "DEBUG", "SEGFAULT")
        check(server.fell_over(), "it should have crashed")
        check("STACK TRACE" in server.log(), "a report once it was enabled")


def test_crash_hides_data():
    """A crash by a signal from outside inside of a command: its arguments are data."""
    for hide in ("yes", "no"):
        with ServerUnderTest(args=DEBUG + ["--hide-user-data-from-log", hide]) as server:
            slow = server.connect()
            slow.send(resp.encode(["EVAL", "while true do end", "1", "topsecret"]))
            eventually(lambda: busy(server), "the script runs", timeout=20)
            server.child.send_signal(signal.SIGABRT)
            check_equal(server.wait_for_exit(), -signal.SIGABRT, "exit status")
            check(server.fell_over(), "it should have crashed")
            log = server.log()
            check("argv[0]: '\"EVAL\"'" in log, log)
            check_equal("topsecret" in log, hide == "no", "data in the log with hide-user-data-from-log " + hide)
            check("Killed by PID: %d" % os.getpid() in log, log)


def busy(server):
    """Whether a script runs: by the processor time it takes."""
    with open("/proc/%d/stat" % server.pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12]) > 20  # hundredths of a second


def test_watchdog():
    with ServerUnderTest(args=DEBUG) as server:
        one = server.connect()
        check_equal(one.call("CONFIG", "SET", "watchdog-period", "200"), b"OK")
        check_equal(one.call("DEBUG", "SLEEP", "1"), b"OK")
        server.wait_for_log("WATCHDOG TIMER EXPIRED")
        check("STACK TRACE -" in server.log(), server.log())
        check_equal(one.call("CONFIG", "SET", "watchdog-period", "0"), b"OK")
        check_equal(one.call("PING"), b"PONG")


class NotifySocket:
    """What systemd listens on."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="quoll-test-")
        self.path = os.path.join(self.directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)

    def next(self):
        return self.socket.recv(4096).decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        shutil.rmtree(self.directory)


def test_systemd_is_told():
    for supervised in ("systemd", "auto"):
        with NotifySocket() as notify:
            os.environ["NOTIFY_SOCKET"] = notify.path
            try:
                server = ServerUnderTest(args=["--supervised", supervised, "--daemonize", "yes"])
            finally:
                del os.environ["NOTIFY_SOCKET"]
            with server:
                check("READY=1" in notify.next(), "READY=1")
                one = server.connect()
                info = one.call("INFO", "server").decode()
                check("process_supervised:systemd" in info, info)
                check("process_id:%d\r" % server.pid in info, "a supervised server stays in the foreground")
                server.child.terminate()
                check("STOPPING=1" in notify.next(), "STOPPING=1")
                check_equal(server.wait_for_exit(), 0, "exit status")


def test_upstart_is_told():
    os.environ["UPSTART_JOB"] = "quoll"
    try:
        server = ServerUnderTest(args=["--supervised", "auto"], wait=False)
    finally:
        del os.environ["UPSTART_JOB"]
    with server:
        def stopped():
            with open("/proc/%d/stat" % server.pid) as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "T"
        eventually(stopped, "it stops itself when it is ready", timeout=20)
        server.child.send_signal(signal.SIGCONT)
        server.wait_until_answering()


def oom_score(pid):
    with open("/proc/%d/oom_score_adj" % pid) as file:
        return int(file.read())


def test_oom_score():
    before = oom_score(os.getpid())
    with ServerUnderTest() as server:
        one = server.connect()
        check_equal(oom_score(server.pid), before, "untouched")
        check_equal(one.call("CONFIG", "SET", "oom-score-adj-values", "10 20 30", "oom-score-adj", "absolute"), b"OK")
        check_equal(oom_score(server.pid), 10, "of a primary")
        one.call("REPLICAOF", "127.0.0.1", str(free_port()))
        eventually(lambda: oom_score(server.pid) == 20, "the score of a replica", timeout=20)
        one.call("REPLICAOF", "NO", "ONE")
        check_equal(one.call("CONFIG", "SET", "oom-score-adj", "relative"), b"OK")
        eventually(lambda: oom_score(server.pid) == before + 10, "relative to what it was", timeout=20)
        check_equal(one.call("CONFIG", "SET", "oom-score-adj", "no"), b"OK")
        check_equal(oom_score(server.pid), before, "given back")


def test_hang_up_reopens_the_log():
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    path = os.path.join(directory, "log")
    with ServerUnderTest(args=DEBUG + ["--logfile", path]) as server:
        one = server.connect()
        os.rename(path, path + ".1")
        server.child.send_signal(signal.SIGHUP)
        eventually(lambda: os.path.exists(path), "the log file is opened again", timeout=20)
        one.call("DEBUG", "LOG", "after the rotation")
        eventually(lambda: "after the rotation" in open(path).read(), "the line is in the new file", timeout=20)
    shutil.rmtree(directory)


def test_process_title():
    with ServerUnderTest() as server:
        title = open("/proc/%d/cmdline" % server.pid).read().rstrip("\0")
        check(title.endswith("quoll-server *:%d" % server.port), title)
    with ServerUnderTest(args=["--proc-title-template", "mine {port}"]) as server:
        title = open("/proc/%d/cmdline" % server.pid).read().rstrip("\0")
        check_equal(title, "mine %d" % server.port)


def test_make_install():
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    environment = dict(os.environ, DESTDIR=directory, PREFIX="/usr", OUT=os.path.dirname(OURS))
    subprocess.run([os.path.join(ROOT, "scripts/install-files")], env=environment, check=True, timeout=60)
    config = os.path.join(directory, "etc/quoll/quoll.conf")
    for path, mode in (("usr/bin/quoll-server", 0o755), ("usr/bin/quoll-check", 0o755), ("etc/quoll/quoll.conf", 0o640),
                       ("etc/quoll/sidecar.conf", 0o640), ("usr/lib/systemd/system/quoll-server.service", 0o644),
                       ("usr/share/man/man1/quoll-server.1", 0o644), ("usr/share/man/man5/quoll.conf.5", 0o644)):
        check_equal(os.stat(os.path.join(directory, path)).st_mode & 0o777, mode, "mode of " + path)
    unit = open(os.path.join(directory, "usr/lib/systemd/system/quoll-server.service")).read()
    check("ExecStart=/usr/bin/quoll-server /etc/quoll/quoll.conf " in unit and "@" not in unit.replace("@system-service", "").replace(
        "@privileged", ""), unit)
    check("dir /var/lib/quoll\n" in open(config).read(), "dir of the installed configuration")
    with open(config, "a") as out:
        out.write("# mine\n")
    subprocess.run([os.path.join(ROOT, "scripts/install-files")], env=environment, check=True, timeout=60)
    check("# mine" in open(config).read() and os.path.exists(config + ".new"), "a changed configuration is kept")
    shutil.rmtree(directory)


def resident_bytes(pid):
    with open("/proc/%d/statm" % pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_sidecar_preset():
    admin = free_port()
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    preset = os.path.join(ROOT, "redis-conf/sidecar.conf")
    path = os.path.join(directory, "quoll.sock")
    server = ServerUnderTest(plain_args=[preset, "--unixsocket", path, "--admin-port", str(admin), "--admin-bind", "127.0.0.1"], wait=False)
    with server:
        eventually(lambda: os.path.exists(path), "the socket", timeout=20)
        eventually(lambda: "Ready to accept" in server.log(), "the log", timeout=20)
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)
            one.sendall(b"CONFIG GET maxmemory-policy\r\n")
            one.settimeout(20)
            check(b"allkeys-lfu" in one.recv(1000), "the policy")
        with socket.create_connection(("127.0.0.1", admin), timeout=20) as http:
            http.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            check(http.recv(100).startswith(b"HTTP/1.1 200 OK"), "ready")
        resident = resident_bytes(server.pid)
        print("     idle sidecar: %.1f MB resident" % (resident / 1e6))
        if "sanitize" not in OURS:
            check(resident <= 10 << 20, "an idle sidecar takes %d bytes" % resident)
    shutil.rmtree(directory)


if __name__ == "__main__":
    Results.run_module(globals(), 4)
