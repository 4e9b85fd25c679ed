#!/usr/bin/python3
"""What a replica group of three costs, beside the same server alone, and what a cluster of three groups costs
beside a Redis Cluster of three masters, as tables.

  scripts/bench-cluster [PART...] [--rounds N] [--scale X] [--keys N]     parts: cost failover sync ring grow

All members run on this machine, with W=2 in memory. The two take turns and medians are taken,
because machines are noisy. Where there are two cores the leader (and the server alone) has one, and
the other members share the other one with the load; in `ring` the nodes of both clusters share one, and
the load has the other. --scale 0.1 runs `cost` and `ring` ten times smaller; --keys is how many `sync` sends.
`grow` lets nodes join a cluster of ours.
"""
import argparse
import contextlib
import multiprocessing
import os
import shutil
import statistics
import sys
import threading
import time

import workloads
from group_members import Group
from measuring import CORES, OURS, Table, cpu_seconds, info, load, load_core, resp, rss_bytes, start
from persistence_bench import MEMORY_PAUSE, VALUE, key, p999, probe_process, write_load
from ring_parts import measure_grow, measure_ring

KEYS = 1000000
# Commands per measurement: at 16 and 100 as many SETs as there are between two checkpoints, so that they
# pay for one.
PIPELINES = {1: 100000, 16: 3500000, 100: 3500000}
COST_TARGETS = {"set": 1.6, "get": 1.15}  # at COST_PIPELINE, of the server alone
COST_PIPELINE = 16
FAILOVERS = 9
WAIT = 60.0  # seconds for what must come in the end
QUIET_SECONDS = 8  # of probing before all data are sent
WRITER_PAUSE = 0.0005
CORE_OF_LEADER, OTHER_CORES = CORES[:1], CORES[1:]


def until(condition, what, seconds=WAIT):
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise RuntimeError("not within %d s: %s" % (seconds, what))
        time.sleep(0.02)


def on_cores(pid, cores):
    if len(CORES) > 1:
        for task in os.listdir("/proc/%d/task" % pid):
            os.sched_setaffinity(int(task), cores)


def connect(member):
    return resp.Connection(member.port, timeout=120)


def field(member, name):
    text = member.ask("INFO", "cluster")
    for line in (text[1] if text and text[1] else b"").split(b"\r\n"):
        if line.startswith(name.encode() + b":"):
            return line.split(b":", 1)[1].decode()
    return None


def whole(member):
    """It votes, has the data and has applied what is committed."""
    return (field(member, "group_intact") == field(member, "group_data_stands") == "1"
            and field(member, "group_leader") not in (None, "none") and field(member, "group_applied") == field(member, "group_committed"))


@contextlib.contextmanager
def group_of_three():
    group = Group(OURS, 3, ["--appendonly", "no"], with_network=False)
    try:
        leader = until(group.leader, "a leader")
        until(lambda: all(map(whole, group.members)), "three whole members")
        place(group, leader)
        yield group
    finally:
        group.close()


def place(group, leader):
    for member in group.members:
        on_cores(member.child.pid, CORE_OF_LEADER if member is leader else OTHER_CORES)


def rested(group):
    """No checkpoint of what was written before is under way: who reads does not pay for it."""
    until(lambda: all(field(member, "group_checkpoint_in_progress") == "0" for member in group.members), "no checkpoint")


def others(group, member):
    return [one for one in group.members if one is not member]


# --- cost ------------------------------------------------------------------------------------------


class Address:
    """A member, for what expects a server."""

    def __init__(self, member):
        self.port, self.pid = member.port, member.child.pid

    def connect(self, timeout):
        return resp.Connection(self.port, timeout=timeout)


def benchmark(port, pid, watched, command, pipeline, count, keys):
    """One redis-benchmark run: requests per second, p99 in ms, us of processor time per command of the server
    and, added up, of the watched ones."""
    before = cpu_seconds(pid), sum(map(cpu_seconds, watched))
    fields = workloads.run(port, workloads.named(command), pipeline, count, keys)
    used = cpu_seconds(pid) - before[0], sum(map(cpu_seconds, watched)) - before[1]
    return float(fields[1]), float(fields[6]), used[0] / count * 1e6, used[1] / count * 1e6


def cost_round(measured, turn, scale):
    keys = int(KEYS * scale)
    make = lambda i: (b"SET", b"key:%012d" % i, b"xxx")
    alone = start(OURS)
    try:
        with group_of_three() as group:
            leader = until(group.leader, "a leader")
            followers = [member.child.pid for member in others(group, leader)]
            for server in (alone, Address(leader)):
                load(server, keys, make).close()
            until(lambda: all(map(whole, group.members)), "the keys are everywhere")
            sides = {"alone": (alone.port, alone.pid, []), "leader": (leader.port, leader.child.pid, followers)}
            for pipeline, count in PIPELINES.items():
                for command in ("set", "get"):
                    rested(group)
                    for side in sides if turn % 2 == 0 else reversed(sides):
                        figures = benchmark(*sides[side], command, pipeline, int(count * scale), keys)
                        measured.setdefault((side, pipeline, command), []).append(figures)
            if until(group.leader, "a leader") is not leader:
                raise RuntimeError("another member leads now: the machine is too busy")
    finally:
        alone.stop()


def measure_cost(table, arguments):
    measured = {}  # (side, pipeline, command) -> [(rps, p99, cpu, followers' cpu)]
    for turn in range(arguments.rounds):
        cost_round(measured, turn, arguments.scale)
    for pipeline in PIPELINES:
        for command in ("set", "get"):
            alone, leader = ([statistics.median(column) for column in zip(*measured[side, pipeline, command])] for side in ("alone", "leader"))
            name = "%s, pipeline %d: " % (command.upper(), pipeline)
            target = "<= %.2f x" % COST_TARGETS[command] if pipeline == COST_PIPELINE else ""
            table.add(name + "requests/s", alone[0], leader[0], digits=0)
            table.add(name + "p99", alone[1], leader[1], " ms")
            table.add(name + "CPU per command", alone[2], leader[2], " us", target=target)
            table.add(name + "CPU per command, each follower", None, leader[3] / 2, " us")


# --- failover --------------------------------------------------------------------------------------


class Writer(threading.Thread):
    """Writes to the group as a client does that knows all members, one SET after the other, and keeps the times
    of those that were acknowledged."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.acknowledged, self.running = group, [], True
        self.start()

    def run(self):
        number = 0
        while self.running:
            member = self.group.members[number % len(self.group.members)]
            with contextlib.suppress(OSError, resp.Closed, resp.NoReply):
                connection = resp.Connection(member.port, timeout=1)
                try:
                    while self.running and resp.tree(connection.raw("SET", "{bench}failover", "x")) == ("+", b"OK"):
                        self.acknowledged.append(time.monotonic())
                        time.sleep(WRITER_PAUSE)
                finally:
                    connection.close()
            number += 1
            time.sleep(WRITER_PAUSE)

    def gap_ms(self, since):
        """The time without service around `since`; None: it is not over."""
        times = list(self.acknowledged)
        before = [at for at in times if at <= since]
        # What was acknowledged just after belongs to before: the gap is the longest of the time behind.
        after = [at for at in times if at > since]
        if not before or not after or after[-1] - since < 0.3:
            return None
        points = [before[-1], *after]
        gaps = [(later - earlier) * 1000 for earlier, later in zip(points, points[1:])]
        return max(gaps)

    def stop(self):
        self.running = False
        self.join()


def service_gap(group, writer, act):
    leader = until(group.leader, "a leader")
    until(lambda: all(map(whole, group.members)), "three whole members")
    until(lambda: writer.acknowledged and time.monotonic() - writer.acknowledged[-1] < 0.1, "writes are taken")
    begun = time.monotonic()
    until(lambda: act(leader) or group.leader() not in (None, leader), "another leader")
    gap = until(lambda: writer.gap_ms(begun), "writes are taken again")
    if not leader.alive():
        leader.start()
    return gap


def hand_over(leader):
    """Asked for again until it was done: a write in between makes the other's log too old."""
    leader.ask("CLUSTER", "FAILOVER")


def measure_failover(table, arguments):
    with group_of_three() as group:
        for member in group.members:  # the leader changes: all may run anywhere
            on_cores(member.child.pid, CORES)
        writer = Writer(group)
        try:
            killed = [service_gap(group, writer, lambda leader: leader.kill()) for _ in range(FAILOVERS)]
            handed = [service_gap(group, writer, hand_over) for _ in range(FAILOVERS)]
        finally:
            writer.stop()
    table.add("kill -9 of the leader, %d times: time without writes, median" % FAILOVERS, None, statistics.median(killed), " ms", 0, "<= 2000 ms")
    table.add("kill -9 of the leader, %d times: time without writes, longest" % FAILOVERS, None, max(killed), " ms", 0)
    table.add("CLUSTER FAILOVER, %d times: time without writes, median" % FAILOVERS, None, statistics.median(handed), " ms", 0)


# --- sync ------------------------------------------------------------------------------------------


def sync_round(keys):
    with group_of_three() as group:
        leader = until(group.leader, "a leader")
        victim = others(group, leader)[0]
        one = load(Address(leader), keys, lambda i: (b"SET", key(i), VALUE))
        until(lambda: all(map(whole, group.members)), "the keys are everywhere")
        ended, results = multiprocessing.Event(), multiprocessing.Queue()
        probing = multiprocessing.Process(target=probe_process, args=(leader.port, keys, ended, results))
        writing = multiprocessing.Process(target=write_load, args=(leader.port, keys, ended))
        try:
            probing.start()
            time.sleep(1)
            idle = time.monotonic()
            time.sleep(QUIET_SECONDS)
            writing.start()
            time.sleep(1)
            under_writes = time.monotonic()
            time.sleep(QUIET_SECONDS)
            victim.kill()
            shutil.rmtree(victim.dir)
            os.mkdir(victim.dir)
            passes = int(field(leader, "group_syncs_sent"))
            before = peak = rss_bytes(leader.child.pid)
            begun = time.monotonic()
            victim.start()
            on_cores(victim.child.pid, OTHER_CORES)
            # Until it votes again: then the group may lose another member.
            while not (field(victim, "group_intact") == field(victim, "group_data_stands") == field(victim, "group_syncs_received") == "1"):
                if time.monotonic() - begun > 10 * WAIT:
                    raise RuntimeError("the data do not arrive:\n" + leader.log()[-2000:] + victim.log()[-2000:])
                time.sleep(MEMORY_PAUSE)
                peak = max(peak, rss_bytes(leader.child.pid))
            over = time.monotonic()
            passes = int(field(leader, "group_syncs_sent")) - passes
            ended.set()
            latencies = results.get(timeout=60)
        finally:
            ended.set()
            for helper in (probing, writing):
                helper.join(10)
        until(lambda: all(map(whole, group.members)), "everything is applied everywhere")
        if len({member.ask("DBSIZE") for member in group.members}) != 1:
            raise RuntimeError("members have different numbers of keys")
        one.close()
        between = lambda start, end: p999([ms for at, ms in latencies if start <= at < end])
        return dict(seconds=over - begun, extra=100.0 * (peak - before) / before, passes=passes, idle=between(idle, idle + QUIET_SECONDS),
                    writes=between(under_writes, under_writes + QUIET_SECONDS), sync=between(begun, over))


def measure_sync(table, arguments):
    runs = [sync_round(arguments.keys) for _ in range(max(1, arguments.rounds // 3))]
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    title = "all %d keys of 200 B to a member, under writes: " % arguments.keys
    table.add(title + "until it votes again", None, middle["seconds"], " s", 1)
    table.add(title + "extra memory of the leader", None, middle["extra"], " %", 1, "<= 5 %")
    table.add(title + "passes", None, middle["passes"], "", 0, "1")
    table.add("p99.9 of a GET at the leader, idle", None, middle["idle"], " ms")
    table.add("p99.9 of a GET at the leader, under these writes", None, middle["writes"], " ms")
    table.add("p99.9 of a GET at the leader, while data are sent", None, middle["sync"], " ms")
    table.add("while data are sent / idle", None, middle["sync"] / middle["idle"], " x", 2, "<= 2 x")


def main():
    parts = {"cost": measure_cost, "failover": measure_failover, "sync": measure_sync, "ring": measure_ring, "grow": measure_grow}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help="of: " + ", ".join(parts))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--keys", type=int, default=2000000)
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(parts)
    if unknown:
        parser.error("no part is called %s" % ", ".join(unknown))
    load_core()
    group, ring = Table("alone", "leader"), Table()
    for name in arguments.parts or parts:
        print("%s ..." % name, file=sys.stderr)
        parts[name](ring if name in ("ring", "grow") else group, arguments)
    print("\n%d rounds, scale %g, %d cores" % (arguments.rounds, arguments.scale, len(CORES)))
    for table in (group, ring):
        if table.rows:
            table.show()


if __name__ == "__main__":
    main()
