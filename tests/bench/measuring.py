"""What the benchmarks share: servers on a core of their own, their processor time and memory, loading,
the table of results."""
import glob
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../compat"))
import resp
from server import OURS, REFERENCE, ServerUnderTest

CLIENTS = 50
BOTH = (REFERENCE, OURS)
CORES = sorted(os.sched_getaffinity(0))


class Table:
    """Two servers side by side, ours the second."""

    def __init__(self, theirs="redis-server", ours="quoll-server"):
        self.names, self.rows = (theirs, ours), []

    def add(self, name, theirs, ours, unit="", digits=2, target="", ratio=True):
        cells = ["-" if value is None else "%.*f%s" % (digits, value, unit) for value in (theirs, ours)]
        share = "%.2f" % (ours / theirs) if ratio and theirs and ours is not None else ""
        self.rows.append((name, *cells, share, target))
        print("  %-58s %s %12s   %s %12s   %s" % (name, self.names[0], cells[0], self.names[1], cells[1], share), file=sys.stderr)

    def show(self):
        head = ("", *self.names, "ratio", "target")
        rows = [head] + self.rows
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        line = lambda row: "| " + " | ".join(
            cell.ljust(width) if i in (0, 4) else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))) + " |"
        print(line(head))
        print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        for row in self.rows:
            print(line(row))


def start(binary, *arguments):
    server = ServerUnderTest(binary, ["--appendonly", "no", *arguments])
    if len(CORES) > 1:
        os.sched_setaffinity(server.pid, {CORES[0]})
        for task in os.listdir("/proc/%d/task" % server.pid):
            os.sched_setaffinity(int(task), {CORES[0]})
    return server


def load_core():
    if len(CORES) > 1:
        os.sched_setaffinity(0, set(CORES[1:]))


def cpu_seconds(pid):
    """Processor time of all threads. schedstat counts nanoseconds; stat only hundredths of seconds."""
    try:
        total = 0
        for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
            total += int(open(path).read().split()[0])
        if total:
            return total / 1e9
    except (OSError, ValueError):
        pass
    fields = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid):
    for line in open("/proc/%d/status" % pid):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024


def info(connection, name):
    for line in connection.call("INFO", "everything").decode().split("\r\n"):
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    return None


def longest_turns(connection):
    """Of the loop, in ms: by the clock, and in processor time; nothing, where the server does not tell."""
    found = [info(connection, "quoll_loop_turn_%smax_us" % kind) for kind in ("", "busy_")]
    return [float(value) / 1000 if value else None for value in found]


def add_turns(table, name, turns, target=""):
    table.add(name + "worst loop turn", None, turns[0], " ms", 2, ratio=False)
    table.add(name + "worst loop turn, processor time", None, turns[1], " ms", 2, target, ratio=False)


def requests(first, count, make):
    """Commands number first..first+count-1 as bytes ready to send."""
    return b"".join(map(resp.encode, map(make, range(first, first + count))))


def load(server, count, make):
    connection = server.connect(timeout=120)
    for first in range(0, count, 20000):
        size = min(20000, count - first)
        sender = threading.Thread(target=connection.send, args=(requests(first, size, make),))
        sender.start()
        replies = bytearray()
        while replies.count(b"\r\n") < size:
            replies += connection.socket.recv(1 << 20)
        sender.join()
        if b"-" in replies:
            raise RuntimeError("loading failed: %r" % bytes(replies[:200]))
    return connection


class Prober(threading.Thread):
    """The longest wait for a PING on a connection of its own."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.connection, self.worst_ms, self.running = server.connect(timeout=120), 0.0, True
        self.start()

    def run(self):
        while self.running:
            started = time.monotonic()
            self.connection.raw("PING")
            self.worst_ms = max(self.worst_ms, (time.monotonic() - started) * 1000)
            time.sleep(0.002)

    def stop(self):
        self.running = False
        self.join()
        return self.worst_ms
