#!/usr/bin/python3
"""What persistence costs, redis-server and Quoll side by side, as one table.

  scripts/bench-persistence [PART...] [--rounds N] [--keys N]     parts: snapshot files everysec always

The data lies in a temporary directory (TMPDIR): an fsync costs what that disk makes it cost. Threads
and children of the servers may use every core, as in operation.
"""
import argparse
import contextlib
import itertools
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import workloads
from measuring import BOTH, CLIENTS, OURS, REFERENCE, Table, cpu_seconds, info, load, longest_turns, resp, rss_bytes
from server import ServerUnderTest, free_port

VALUE = b"v" * 200
WRITES_AT_ONCE = 20  # of the paced load: so many in a pipeline, every WRITE_PAUSE
WRITE_PAUSE = 0.001
PROBE_PAUSE = 0.0005
MEMORY_PAUSE = 0.1  # between two looks at the memory
BATCHES = 5000  # different pipelines and probes, in turn
QUIET_SECONDS = 6  # of probing before the first save
SAVES = 3  # one after the other: the probe sees enough of them for a p99.9
SET_COMMANDS = 1000000
ALWAYS_COMMANDS = 200000
SLOWER_FSYNCS_MS = (0, 1, 3)  # beside the disk's own: what cloud volumes and drives without a battery take


class Kept(ServerUnderTest):
    """A server whose directory outlives it, so that it can be started again."""

    def __init__(self, binary, folder, *args):
        self.folder = folder
        super().__init__(binary, plain_args=["--port", str(free_port()), "--dir", folder, "--save", "", *args], wait=False)
        self.port = int(self.child.args[2])

    def answering_after(self):
        return self.wait_until_answering(timeout=300)


def key(i):
    return b"key:%012d" % i


def children_of(pid):
    return [int(child) for task in os.listdir("/proc/%d/task" % pid) for child in open("/proc/%d/task/%s/children" % (pid, task)).read().split()]


def tree_bytes(pid):
    """Memory of a process and its children. Where there are any, each counts its proportional share, so that pages a
    fork left shared count once; that is work for the kernel, and not done for a single process."""
    try:
        children = children_of(pid)
        if not children:
            return rss_bytes(pid)
        total, waiting = 0, [pid]
        while waiting:
            one = waiting.pop()
            waiting += children_of(one)
            total += sum(int(line.split()[1]) * 1024 for line in open("/proc/%d/smaps_rollup" % one) if line.startswith("Pss:"))
        return total
    except (FileNotFoundError, ProcessLookupError):
        return 0  # a child has just ended


def write_load(port, keys, ended):
    """SETs of keys that exist, a pipeline every millisecond. Made beforehand: the load shall not need the processor."""
    connection, dice = resp.Connection(port, timeout=60), random.Random(3)
    batches = [b"".join(resp.encode([b"SET", key(dice.randrange(keys)), VALUE]) for _ in range(WRITES_AT_ONCE)) for _ in range(BATCHES)]
    reply = b"+OK\r\n" * WRITES_AT_ONCE
    for batch in itertools.cycle(batches):
        if ended.is_set():
            break
        connection.send(batch)
        got = 0
        while got < len(reply):
            got += len(connection.socket.recv(65536))
        time.sleep(WRITE_PAUSE)


def probe(port, keys, ended, latencies):
    """Times a GET at a steady pace: (when it was sent, ms it took)."""
    connection, dice = resp.Connection(port, timeout=60), random.Random(4)
    requests = [resp.encode([b"GET", key(dice.randrange(keys))]) for _ in range(BATCHES)]
    for request in itertools.cycle(requests):
        if ended.is_set():
            break
        started = time.monotonic()
        connection.socket.sendall(request)
        connection.socket.recv(4096)
        latencies.append((started, (time.monotonic() - started) * 1000))
        time.sleep(PROBE_PAUSE)


def probe_process(port, keys, ended, results):
    latencies = []
    probe(port, keys, ended, latencies)
    results.put(latencies)


def p999(latencies):
    return sorted(latencies)[int(len(latencies) * 0.999)] if latencies else None


def saving(one):
    return b"rdb_bgsave_in_progress:1" in one.call("INFO", "persistence")


def save(server, one):
    """One BGSAVE: when it began, when it ended, the extra memory in percent."""
    before = peak = tree_bytes(server.pid)
    begun = time.monotonic()
    one.call("BGSAVE")
    while saving(one):
        time.sleep(MEMORY_PAUSE)
        peak = max(peak, tree_bytes(server.pid))
    if info(one, "rdb_last_bgsave_status") != "ok":
        raise RuntimeError("the save failed:\n" + server.log()[-2000:])
    return begun, time.monotonic(), 100.0 * (peak - before) / before


def snapshot_figures(binary, keys):
    folder = tempfile.mkdtemp(prefix="quoll-bench-")
    server = Kept(binary, folder)
    ended, results = multiprocessing.Event(), multiprocessing.Queue()
    helpers = []
    try:
        server.answering_after()
        one = load(server, keys, lambda i: (b"SET", key(i), VALUE))
        helpers = [multiprocessing.Process(target=write_load, args=(server.port, keys, ended)),
                   multiprocessing.Process(target=probe_process, args=(server.port, keys, ended, results))]
        for helper in helpers:
            helper.start()
        time.sleep(1)
        quiet = time.monotonic()
        while time.monotonic() - quiet < QUIET_SECONDS:  # looked at as during a save
            saving(one), tree_bytes(server.pid)
            time.sleep(MEMORY_PAUSE)
        begun = time.monotonic()
        one.call("CONFIG", "RESETSTAT")
        saves = [save(server, one) for _ in range(SAVES)]
        turn, busy = longest_turns(one)
        ended.set()
        latencies = results.get(timeout=60)
        during = [ms for at, ms in latencies for start, end, _ in saves if start <= at < end]
        return dict(extra=max(extra for _, _, extra in saves), seconds=statistics.median(end - start for start, end, _ in saves),
                    turn=turn, busy=busy, quiet=p999([ms for at, ms in latencies if quiet <= at < begun]),
                    during=p999(during), worst=max(during))
    finally:
        ended.set()
        for helper in helpers:
            helper.join(10)
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure_snapshot(table, arguments):
    runs = {binary: [snapshot_figures(binary, arguments.keys) for _ in range(arguments.rounds)] for binary in BOTH}

    def middle(name):
        return [statistics.median(run[name] for run in runs[binary]) if runs[binary][0][name] is not None else None for binary in BOTH]

    title = "BGSAVE of %d keys of 200 B under writes: " % arguments.keys
    table.add(title + "duration", *middle("seconds"), " s")
    table.add(title + "extra memory", *middle("extra"), " %", 1, "<= 5 %", ratio=False)
    table.add(title + "p99.9 of a probe before", *middle("quiet"), " ms")
    table.add(title + "p99.9 of a probe during", *middle("during"), " ms")
    times = [during / quiet for during, quiet in zip(middle("during"), middle("quiet"))]
    table.add(title + "p99.9 during / before", *times, " x", 2, "<= 2 x", ratio=False)
    table.add(title + "longest wait of the probe", *middle("worst"), " ms")
    table.add(title + "worst loop turn", *middle("turn"), " ms", 2, ratio=False)
    table.add(title + "worst loop turn, processor time", *middle("busy"), " ms", 2, "<= 3 ms", ratio=False)


def file_figures(binary, keys):
    folder = tempfile.mkdtemp(prefix="quoll-bench-")
    server = Kept(binary, folder)
    try:
        server.answering_after()
        one = load(server, keys, lambda i: (b"SET", key(i), VALUE))
        one.timeout = 600
        cpu, started = cpu_seconds(server.pid), time.monotonic()
        one.call("SAVE")
        save, save_cpu = time.monotonic() - started, cpu_seconds(server.pid) - cpu
        server.stop()
        server = Kept(binary, folder)
        restart = server.answering_after()
        restart_cpu = cpu_seconds(server.pid)
        if server.connect().call("DBSIZE") != keys:
            raise RuntimeError("keys are missing after the restart")
        return save, save_cpu, restart, restart_cpu
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure_files(table, arguments):
    runs = {binary: [] for binary in BOTH}
    for turn in range(arguments.rounds):
        for binary in BOTH if turn % 2 == 0 else BOTH[::-1]:
            runs[binary].append(file_figures(binary, arguments.keys))
    theirs, ours = ([statistics.median(column) for column in zip(*runs[binary])] for binary in BOTH)
    title = "%d keys of 200 B: " % arguments.keys
    for i, (name, target) in enumerate((("SAVE", "<= 0.80 x"), ("SAVE, CPU of all threads", ""), ("restart to serving", "<= 0.80 x"),
                                        ("restart to serving, CPU of all threads", ""))):
        table.add(title + name, theirs[i], ours[i], " s", target=target)


def set_figures(binary, pipeline, count, *args):
    """Requests per second and server CPU per command of SET."""
    folder = tempfile.mkdtemp(prefix="quoll-bench-")
    server = Kept(binary, folder, "--auto-aof-rewrite-percentage", "0", *args)
    try:
        server.answering_after()
        workload = workloads.named("set")
        workloads.run(server.port, workload, pipeline, max(1, count // 5))
        cpu = cpu_seconds(server.pid)
        fields = workloads.run(server.port, workload, pipeline, count)
        return float(fields[1]), (cpu_seconds(server.pid) - cpu) / count * 1e6
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def alternating(rounds, variants):
    """{variant: medians of its figures}; variants: name -> function."""
    runs = {name: [] for name in variants}
    for turn in range(rounds):
        for name in list(variants) if turn % 2 == 0 else list(variants)[::-1]:
            runs[name].append(variants[name]())
    return {name: [statistics.median(column) for column in zip(*figures)] for name, figures in runs.items()}


def measure_everysec(table, arguments):
    # A rewrite in the middle would be measured with it; what one costs is the part `snapshot`.
    everysec = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
    variants = {(binary, args): (lambda binary=binary, args=args: set_figures(binary, 16, SET_COMMANDS, *args)) for binary in BOTH
                for args in ((), everysec)}
    found = alternating(arguments.rounds, variants)
    title = "SET, pipeline 16, "
    for i, name, unit, digits in ((0, "requests/s", "", 0), (1, "server CPU per command", " us", 2)):
        table.add(title + "no AOF: " + name, found[REFERENCE, ()][i], found[OURS, ()][i], unit, digits)
        table.add(title + "everysec: " + name, found[REFERENCE, everysec][i], found[OURS, everysec][i], unit, digits)
    shares = [found[binary, everysec][0] / found[binary, ()][0] for binary in BOTH]
    table.add(title + "requests/s with everysec / without", *shares, " x", 2, ">= 0.85 x", ratio=False)


def fsync_ms(folder):
    """What an fsync of this disk takes behind a small append, median."""
    took = []
    with open(os.path.join(folder, "probe"), "ab", buffering=0) as file:
        for _ in range(200):
            file.write(VALUE)
            started = time.monotonic()
            os.fdatasync(file.fileno())
            took.append(time.monotonic() - started)
    return statistics.median(took) * 1000


@contextlib.contextmanager
def slower_fsync(folder, ms):
    """Servers started meanwhile see a disk whose fsync takes so much longer."""
    library = os.path.join(folder, "slow_fsync.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "slow_fsync.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    os.environ.update(LD_PRELOAD=library, SLOW_FSYNC_US=str(ms * 1000))
    try:
        yield
    finally:
        del os.environ["LD_PRELOAD"], os.environ["SLOW_FSYNC_US"]


def measure_always(table, arguments):
    always = ("--appendonly", "yes", "--appendfsync", "always")
    folder = tempfile.mkdtemp(prefix="quoll-bench-")
    try:
        own = fsync_ms(folder)
        for slower in SLOWER_FSYNCS_MS:
            count = int(ALWAYS_COMMANDS / (1 + slower))
            variants = {binary: (lambda binary=binary: set_figures(binary, 1, count, *always)) for binary in BOTH}
            with slower_fsync(folder, slower) if slower else contextlib.nullcontext():
                found = alternating(arguments.rounds, variants)
            title = "SET with appendfsync always, %d clients, an fsync takes %.1f ms: " % (CLIENTS, own + slower)
            table.add(title + "requests/s", found[REFERENCE][0], found[OURS][0], "", 0, ">= 1.50 x")
            table.add(title + "server CPU per command", found[REFERENCE][1], found[OURS][1], " us")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parts = {"snapshot": measure_snapshot, "files": measure_files, "everysec": measure_everysec, "always": measure_always}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help="of: " + ", ".join(parts))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=2000000)
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(parts)
    if unknown:
        parser.error("no part is called %s" % ", ".join(unknown))
    table = Table()
    for name in arguments.parts or parts:
        print("%s ..." % name, file=sys.stderr)
        parts[name](table, arguments)
    print("\n%d keys, medians of %d rounds, %s" % (
        arguments.keys, arguments.rounds, subprocess.run([REFERENCE, "--version"], capture_output=True, text=True).stdout.split(" sha")[0]))
    table.show()


if __name__ == "__main__":
    main()
