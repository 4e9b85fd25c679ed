#!/usr/bin/python3
"""Measures redis-server and Quoll side by side and prints one table.

  scripts/bench [PART...] [--rounds N] [--scale X] [--members N] [--commands LIST]

The two servers take turns and medians are taken, because machines are noisy. Where there are two
cores the server has one and the load the other. --scale 0.1 runs everything ten times smaller;
--members 10000000 runs `ranks` and `deletion` at the size the product is measured by.
"""
import argparse
import random
import shutil
import statistics
import subprocess
import sys
import time

import fanout_parts
import tls_parts
import type_parts
import workloads
from measuring import (BOTH, CLIENTS, OURS, REFERENCE, Prober, ServerUnderTest, Table, add_turns, cpu_seconds, info, load, load_core,
                       longest_turns, resp, rss_bytes, start)

KEYS = 1000000
PIPELINES = {1: 200000, 16: 1000000, 100: 2000000}  # commands per measurement
CPU_TARGETS = {1: 0.95, 16: 0.50, 100: 0.40}
MIXES = [  # name, value, options, target in bytes
    ("16 B key, 8 B value", b"v" * 8, (), None),
    ("16 B key, 32 B value", b"v" * 32, (), 78),
    ("16 B key, 100 B value", b"v" * 100, (), None),
    ("16 B key, integer", None, (), None),
    ("16 B key, 32 B value, TTL", b"v" * 32, (b"EX", b"1000000"), 102),
]


def benchmark(server, command, pipeline, count, keys):
    """One redis-benchmark run: requests per second, p99 in ms, server CPU in us per command."""
    before = cpu_seconds(server.pid)
    fields = workloads.run(server.port, workloads.named(command), pipeline, count, keys)
    used = cpu_seconds(server.pid) - before
    return float(fields[1]), float(fields[6]), used / count * 1e6


def measure_cpu(table, arguments):
    keys = int(KEYS * arguments.scale)
    measured = {}  # (binary, pipeline, command) -> [(rps, p99, cpu)]
    for turn in range(arguments.rounds):
        for binary in BOTH if turn % 2 == 0 else BOTH[::-1]:
            server = start(binary)
            try:
                load(server, keys, lambda i: (b"SET", b"key:%012d" % i, b"xxx")).close()
                for pipeline, count in PIPELINES.items():
                    for command in ("get", "set"):
                        figures = benchmark(server, command, pipeline, int(count * arguments.scale), keys)
                        measured.setdefault((binary, pipeline, command), []).append(figures)
            finally:
                server.stop()
    for pipeline in PIPELINES:
        for command in ("get", "set"):
            theirs, ours = ([statistics.median(column) for column in zip(*measured[binary, pipeline, command])] for binary in BOTH)
            name = "%s, pipeline %d: " % (command.upper(), pipeline)
            table.add(name + "requests/s", theirs[0], ours[0], digits=0)
            table.add(name + "p99", theirs[1], ours[1], " ms")
            table.add(name + "server CPU per command", theirs[2], ours[2], " us", target="<= %.2f x" % CPU_TARGETS[pipeline])


def measure_memory(table, arguments):
    count = int(KEYS * arguments.scale)
    for name, value, options, target in MIXES:
        make = lambda i: (b"SET", b"key:%012d" % i, value if value is not None else b"%d" % (10**9 + i), *options)
        used, resident = [], []
        for binary in BOTH:
            server = start(binary)
            try:
                one = server.connect()
                time.sleep(0.2)
                before = int(info(one, "used_memory")), rss_bytes(server.pid)
                load(server, count, make).close()
                time.sleep(0.3)
                used.append((int(info(one, "used_memory")) - before[0]) / count)
                resident.append((rss_bytes(server.pid) - before[1]) / count)
            finally:
                server.stop()
        table.add(name + ": used_memory per key", *used, " B", 1, "<= %d B" % target if target else "")
        table.add(name + ": RSS per key", *resident, " B", 1)


def expiry_wave(binary, count, spread_ms=5000):
    """`count` keys whose deadlines lie evenly within 5 s, under load. The keys that should be gone
    but still count in DBSIZE, divided by the keys that fall due per ms, are the lateness."""
    server = start(binary)
    try:
        load(server, 100000, lambda i: (b"SET", b"key:%012d" % i, b"xxx")).close()
        begin = int(time.time() * 1000 + 3000 + count * 0.012)
        one = load(server, count, lambda i: (b"SET", b"due:%012d" % i, b"xxx", b"PXAT", b"%d" % (begin + i * spread_ms // count)))
        if time.time() * 1000 > begin:
            raise RuntimeError("loading took longer than planned: the machine is too slow for this measurement")
        one.call("CONFIG", "RESETSTAT")
        noise = subprocess.Popen(["redis-benchmark", "-p", str(server.port), "-t", "get,set", "-P", "4", "-c", "10", "-n", "2000000000", "-r",
                                  "100000", "-q"], stdout=subprocess.DEVNULL)
        prober, late, done = Prober(server), [], None
        try:
            while time.time() * 1000 < begin + spread_ms + 20000:
                asked = time.time() * 1000
                left = one.call("DBSIZE") - 100000
                now = (asked + time.time() * 1000) / 2  # about when the server counted
                due_left = count - max(0, min(count, int((now - begin) * count / spread_ms)))
                if now >= begin:
                    late.append(max(0, left - due_left) * spread_ms / count)
                if left <= 0:
                    done = now - begin - spread_ms
                    break
                time.sleep(0.004)
        finally:
            noise.terminate()
            noise.wait()
        return dict(worst=max(late), done=done, ping=prober.stop(), turns=longest_turns(one))
    finally:
        server.stop()


def expiry_events(binary, many, few=1000):
    """Keys with a TTL of seconds among `many` with a day: events received, p99 lateness in ms."""
    server = start(binary, "--notify-keyspace-events", "Ex")
    try:
        one = load(server, many, lambda i: (b"SET", b"day:%012d" % i, b"xxx", b"EX", b"86400"))
        listener = server.connect(timeout=60)
        listener.raw("SUBSCRIBE", "__keyevent@0__:expired")
        begin = int(time.time() * 1000) + 2000
        chance = random.Random(1)
        deadlines = {b"soon:%d" % i: begin + chance.randrange(8000) for i in range(few)}
        one.pipeline([[b"SET", key, b"v", b"PXAT", at] for key, at in deadlines.items()])
        late, until = [], time.monotonic() + 20
        while len(late) < few and time.monotonic() < until:
            try:
                message = resp.plain(resp.tree(listener.read(max(0.01, until - time.monotonic()))))
            except resp.NoReply:
                break
            late.append(time.time() * 1000 - deadlines[message[2]])
        late.sort()
        return len(late), late[int(len(late) * 0.99)] if late else None
    finally:
        server.stop()


def measure_expiry(table, arguments):
    count = int(KEYS * arguments.scale)
    theirs, ours = expiry_wave(REFERENCE, count), expiry_wave(OURS, count)
    name = "%d keys due within 5 s, under load: " % count
    table.add(name + "worst lateness", theirs["worst"], ours["worst"], " ms", 0, "<= 50 ms")
    table.add(name + "last key gone after its deadline", theirs["done"], ours["done"], " ms", 0)
    table.add(name + "worst PING", theirs["ping"], ours["ping"], " ms", 1)
    add_turns(table, name, ours["turns"], "<= 2 ms")
    theirs, ours = expiry_events(REFERENCE, count), expiry_events(OURS, count)
    name = "1000 keys of seconds among %d of a day: " % count
    table.add(name + "events in 20 s", theirs[0], ours[0], digits=0, target="1000", ratio=False)
    table.add(name + "p99 lateness", theirs[1], ours[1], " ms", 1, "<= 50 ms", ratio=False)


def measure_idle(table, arguments):
    figures = {REFERENCE: [], OURS: []}
    for _ in range(max(5, arguments.rounds)):
        for binary in figures:
            server = ServerUnderTest(binary, wait=False)
            try:
                answered = server.wait_until_answering() * 1000
                time.sleep(0.2)
                figures[binary].append((answered, rss_bytes(server.pid) / 1e6))
            finally:
                server.stop()
    theirs, ours = ([statistics.median(column) for column in zip(*figures[binary])] for binary in BOTH)
    table.add("time from start to PING", theirs[0], ours[0], " ms", 1, "<= 50 ms")
    table.add("idle resident memory", theirs[1], ours[1], " MB", 1, "<= 10 MB")


def main():
    parts = {"cpu": measure_cpu, "memory": measure_memory, "types": type_parts.measure_types, "sizes": type_parts.measure_sizes,
             "ranks": type_parts.measure_ranks, "deletion": type_parts.measure_deletion, "streams": type_parts.measure_streams,
             "expiry": measure_expiry, "idle": measure_idle, "tls": tls_parts.measure_tls,
             "fanout": fanout_parts.measure_fanout}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help="of: " + ", ".join(parts))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--members", type=int, default=1000000, help="of the large values of `ranks` and `deletion`")
    parser.add_argument("--commands", help="only these of the part `types`, separated by commas")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(parts)
    if unknown:
        parser.error("no part is called %s" % ", ".join(unknown))
    if not shutil.which("redis-benchmark"):
        parser.error("redis-benchmark is not installed: scripts/install-deps bench")
    load_core()
    table = Table()
    for name in arguments.parts or parts:
        print("%s ..." % name, file=sys.stderr)
        parts[name](table, arguments)
    print("\n%d clients, %d keys, medians of %d rounds, %s" % (
        CLIENTS, int(KEYS * arguments.scale), arguments.rounds,
        subprocess.run([REFERENCE, "--version"], capture_output=True, text=True).stdout.split(" sha")[0]))
    table.show()


if __name__ == "__main__":
    main()
