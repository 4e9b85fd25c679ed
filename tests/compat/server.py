"""Starts and stops the server under test (or the reference) and counts test results."""
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import resp

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS = os.path.abspath(os.environ.get("QUOLL_SERVER") or os.path.join(ROOT, "build/quoll-server"))
REFERENCE = os.environ.get("REFERENCE_SERVER") or "/usr/bin/redis-server"
LOGS = os.path.join(ROOT, "build/test-logs")
PORTS = (21000, 31000)  # below the range from which outgoing connections take theirs
OUTGOING_PORTS = 32700  # from about there on
BUS_DISTANCE = 10000  # from a node's port to that of its bus, unless it is told otherwise


given = {}  # a port that nobody listens on yet is free, but not for the next one who asks


def take(port):
    """Whether it is free and of no other test, here or in another process, until this one ends."""
    if port in given:
        return False
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind("\0quoll-test-port-%d" % port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        mark.close()
        return False
    given[port] = mark
    return True


def free_port():
    for _ in range(200):
        port = random.randrange(*PORTS)
        if take(port):
            return port
    raise RuntimeError("no free port between %d and %d" % PORTS)


def free_ports_in_a_row(count):
    """The first of as many that follow each other and are free, as are those of their buses."""
    for _ in range(200):
        base = random.randrange(PORTS[0], OUTGOING_PORTS - BUS_DISTANCE - count)
        if all(take(base + number + more) for number in range(count) for more in (0, BUS_DISTANCE)):
            return base
    raise RuntimeError("no %d free ports in a row" % count)


class ServerUnderTest:
    """A server process on a free loopback port in a directory of its own.

    with ServerUnderTest(OURS, ["--databases", "4"]) as server:
        connection = server.connect()
    """

    def __init__(self, binary=OURS, args=(), config=None, port=None, wait=True, plain_args=None):
        self.binary = binary
        self.port = free_port() if port is None else port
        self.dir = tempfile.mkdtemp(prefix="quoll-test-")
        self.log_path = os.path.join(self.dir, "stdout.log")
        command = [binary]
        if plain_args is not None:
            command += plain_args
        else:
            if config is not None:
                self.config_path = os.path.join(self.dir, "test.conf")
                with open(self.config_path, "w") as out:
                    out.write(config)
                command.append(self.config_path)
            command += ["--port", str(self.port), "--dir", self.dir, "--save", ""]
            command += list(args)
        self.started = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, cwd=self.dir)
        if wait:
            try:
                self.wait_until_answering()
            except BaseException:
                self.stop(keep_log=True)
                raise

    @property
    def pid(self):
        return self.child.pid

    def wait_until_answering(self, timeout=20.0):
        deadline = time.monotonic() + timeout
        while True:
            if self.child.poll() is not None:
                raise RuntimeError("%s ended with %s:\n%s" % (self.binary, self.child.returncode, self.log()))
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                    probe.sendall(b"PING\r\n")
                    answer = probe.recv(100)  # -NOAUTH is an answer too
                    if answer[:1] in (b"+", b"-") and not answer.startswith(b"-LOADING"):
                        return time.monotonic() - self.started
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("%s does not answer PING:\n%s" % (self.binary, self.log()))
            time.sleep(0.002)

    def connect(self, **options):
        return resp.Connection(self.port, **options)

    def log(self):
        with open(self.log_path, "rb") as log:
            return log.read().decode("utf-8", "replace")

    def wait_for_log(self, text, timeout=5.0):
        deadline = time.monotonic() + timeout
        while text not in self.log():
            if time.monotonic() > deadline:
                raise AssertionError("the log never said %r; it says:\n%s" % (text, self.log()))
            time.sleep(0.01)

    def wait_for_exit(self, timeout=10.0):
        return self.child.wait(timeout)

    def fell_over(self):
        """Whether it crashed by itself; stop() does not complain of that any more."""
        try:
            self.forgiven = self.child.wait(2) < 0
        except subprocess.TimeoutExpired:
            return False
        return self.forgiven

    def alive(self):
        return self.child.poll() is None

    def stop(self, keep_log=False):
        """SIGTERM, then SIGKILL. Returns the exit status, negative for a signal."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                keep_log = True
                self.child.kill()
                self.child.wait()
        log = self.log() if os.path.exists(self.log_path) else ""
        sick = any(sign in log for sign in ("AddressSanitizer", "runtime error:", "LeakSanitizer"))
        crashed = self.child.returncode in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL,
                                            -signal.SIGFPE)
        if getattr(self, "forgiven", False):
            sick = crashed = False
        if keep_log or sick or crashed:
            os.makedirs(LOGS, exist_ok=True)
            kept = os.path.join(LOGS, "server-%d.log" % self.port)
            with open(kept, "w") as out:
                out.write(log)
            print("server log kept: %s" % os.path.relpath(kept, ROOT))
            if sick or crashed:
                print("".join("  | %s\n" % line for line in log.splitlines()[-40:]), end="")
        shutil.rmtree(self.dir, ignore_errors=True)
        if sick or crashed:
            raise RuntimeError("%s: %s" % (self.binary, "crashed" if crashed else "the sanitizer reported an error"))
        return self.child.returncode

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop(keep_log=kind is not None)


_together = []  # what run_together() runs: found by the processes it forks, which get a number each


def _one_of_together(number):
    """What Results prints of one test that ran in another process."""
    name, function = _together[number]
    started = time.monotonic()
    try:
        function()
        return "ok   %s (%.2f s)" % (name, time.monotonic() - started)
    except Exception as error:
        where = traceback.format_exc(limit=-6) if not isinstance(error, Skip) else ""
        return "%s: %s\n%s" % (name, error or type(error).__name__, where)


class Results:
    """Counts; prints what fails and, at the end, `N passed, N failed`."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def ok(self, count=1):
        self.passed += count

    def fail(self, text):
        self.failed += 1
        if self.failed <= 200:
            print("FAIL " + text)
        sys.stdout.flush()

    def run(self, name, function, *args):
        """One test function: it passes unless it raises."""
        started = time.monotonic()
        try:
            function(*args)
            self.ok()
            print("ok   %s (%.2f s)" % (name, time.monotonic() - started))
        except Exception as error:  # a failing test must not end the suite
            where = traceback.format_exc(limit=-6) if not isinstance(error, Skip) else ""
            self.fail("%s: %s\n%s" % (name, error or type(error).__name__, where))
        sys.stdout.flush()

    @staticmethod
    def run_together(count, tests):
        """Tests (name, function) that wait most of the time: `count` of them at once, each in a
        process of its own. Then finish()."""
        results = Results()
        _together[:] = tests
        with multiprocessing.get_context("fork").Pool(count, maxtasksperchild=1) as pool:
            for text in pool.imap_unordered(_one_of_together, range(len(tests)), chunksize=1):
                if text.startswith("ok "):
                    results.ok()
                    print(text)
                else:
                    results.fail(text)
                sys.stdout.flush()
        results.finish()

    @staticmethod
    def run_module(names, count):
        """The test_* functions among a module's globals(), `count` at once; words as arguments choose some."""
        words = sys.argv[1:]
        Results.run_together(count, [(name[5:].replace("_", " "), function) for name, function in list(names.items())
                                     if name.startswith("test_") and (not words or any(word in name for word in words))])

    def finish(self):
        print("%d passed, %d failed" % (self.passed, self.failed))
        sys.exit(1 if self.failed else 0)


class Skip(Exception):
    """A test that could not be run at all: counted as failed, without a traceback."""


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def check_equal(actual, expected, what=""):
    if actual != expected:
        raise AssertionError("%s: got %r, expected %r" % (what or "value", actual, expected))


PAUSE_MAX = 0.1  # seconds between two looks at what takes long: looking costs those who are looked at


def eventually(condition, text, timeout=5.0, pause=0.01):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("not within %.1f s: %s" % (timeout, text))
        time.sleep(pause)
        pause = max(pause, min(pause * 1.25, PAUSE_MAX))
