"""A cluster of three groups beside a Redis Cluster of three masters, each made by `redis-cli --cluster create` and
asked by `redis-benchmark --cluster`: alone (N=1), and with two replicas for each master (N=3; ours are groups of
three then, in which a write waits for one other). And nodes that join such a cluster of ours under load: how many
keys move, and how long writes wait while a slot changes hands.

The processor time of a command is that of all processes of the cluster together.
"""
import binascii
import collections
import contextlib
import multiprocessing
import os
import random
import statistics
import subprocess
import time

from measuring import BOTH, CLIENTS, CORES, OURS, ServerUnderTest, cpu_seconds, info, resp
from server import free_port

GROUPS = 3
REPLICAS = (0, 2)  # of each master: N is one more
RING_KEYS = 1000000
RING_PIPELINES = {1: 100000, 16: 1000000}  # commands per measurement
RING_TARGET = 0.6  # of redis-server's processor time, at N=1
FORMED_WITHIN = 180.0  # seconds
GROWN = 10  # nodes in the end
GROW_KEYS = 300000
GROW_VALUE = b"v" * 100
GROW_TOGETHER = 100  # keys that are written at a time, while nodes join,
GROW_PAUSE = 0.02  # and seconds until the next ones
GROW_TARGET = 1.1  # keys moved, of the least that balance needs
PAUSE_TARGET_MS = 50
GROWN_WITHIN = 300.0  # seconds, for each
SLOTS = 16384
SERVER_CORES = CORES[:max(1, len(CORES) // 2)]


def start_node(binary, *more):
    bus = str(free_port())
    node = ServerUnderTest(binary, ["--appendonly", "no", "--cluster-enabled", "yes", "--bind", "127.0.0.1", "--cluster-port", bus, *more])
    node.bus = "127.0.0.1:%d@%s" % (node.port, bus)
    for task in os.listdir("/proc/%d/task" % node.pid):
        os.sched_setaffinity(int(task), SERVER_CORES)
    return node


def value(node, name):
    connection = node.connect(timeout=60)
    try:
        return info(connection, name)
    finally:
        connection.close()


def formed(binary, node, number, replicas):
    """The node has its slots, or follows, and its group is whole."""
    connection = node.connect(timeout=60)
    try:
        if b"cluster_state:ok" not in connection.call("CLUSTER", "INFO"):
            return False
    finally:
        connection.close()
    if binary == OURS:
        return (value(node, "group_voters"), value(node, "group_changing"), value(node, "group_data_stands")) == (str(1 + replicas), "0", "1")
    if number < GROUPS:
        return all(",state=online," in (value(node, "slave%d" % i) or "") for i in range(replicas))
    return value(node, "master_link_status") == "up"


@contextlib.contextmanager
def ring(binary, replicas, *more):
    """The nodes; those of masters first."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(start_node(binary, *more)) for _ in range(GROUPS * (1 + replicas))]
        subprocess.run(["redis-cli", "--cluster", "create", *("127.0.0.1:%d" % node.port for node in nodes), "--cluster-replicas", str(replicas),
                        "--cluster-yes"], check=True, stdout=subprocess.DEVNULL, timeout=FORMED_WITHIN)
        deadline = time.monotonic() + FORMED_WITHIN
        for number, node in enumerate(nodes):
            while not formed(binary, node, number, replicas):
                if time.monotonic() > deadline:
                    raise RuntimeError("not formed in time:\n" + node.log()[-2000:])
                time.sleep(0.1)
        yield nodes


def ask(nodes, command, pipeline, count, keys):
    """One redis-benchmark run: requests per second, and us of processor time per command of all nodes together."""
    pids = [node.pid for node in nodes]
    before = sum(map(cpu_seconds, pids))
    done = subprocess.run(["redis-benchmark", "--cluster", "-p", str(nodes[0].port), "-P", str(pipeline), "-c", str(CLIENTS), "-n", str(count),
                           "-r", str(keys), "--csv", "-t", command], capture_output=True, text=True, check=True)
    used = sum(map(cpu_seconds, pids)) - before
    if "rror" in done.stdout + done.stderr:
        raise RuntimeError("redis-benchmark: " + done.stdout[-500:] + done.stderr[-500:])
    return float(done.stdout.strip().splitlines()[-1].replace('"', "").split(",")[1]), used / count * 1e6


def ring_of(table, replicas, rounds, scale):
    keys = int(RING_KEYS * scale)
    measured = {}  # (binary, pipeline, command) -> [(rps, cpu)]
    with ring(BOTH[0], replicas) as theirs, ring(BOTH[1], replicas) as ours:
        rings = dict(zip(BOTH, (theirs, ours)))
        for nodes in rings.values():
            ask(nodes, "set", 16, keys, keys)
        for turn in range(rounds):
            for pipeline, count in RING_PIPELINES.items():
                for command in ("set", "get"):
                    for binary in BOTH if turn % 2 == 0 else reversed(BOTH):
                        figures = ask(rings[binary], command, pipeline, int(count * scale), keys)
                        measured.setdefault((binary, pipeline, command), []).append(figures)
    for pipeline in RING_PIPELINES:
        for command in ("set", "get"):
            redis, quoll = ([statistics.median(column) for column in zip(*measured[binary, pipeline, command])] for binary in BOTH)
            name = "%s, pipeline %d, N=%d: " % (command.upper(), pipeline, 1 + replicas)
            table.add(name + "requests/s", redis[0], quoll[0], digits=0)
            table.add(name + "CPU per command", redis[1], quoll[1], " us", target="" if replicas else "<= %.2f x" % RING_TARGET)


# --- nodes that join -------------------------------------------------------------------------------


def write_keys(port, numbers):
    """Sends a SET for each number to the master that has its slot, and again where that has changed; those that a
    slot which changes hands refuses are sent in the next round."""
    connections, waiting = {}, list(numbers)
    while waiting:
        some = connections.get(port) or connections.setdefault(port, resp.Connection(port, timeout=120))
        masters = owners_by(some)
        parts = collections.defaultdict(list)
        for number in waiting:
            parts[masters[binascii.crc_hqx(key_of(number), 0) % SLOTS]].append(number)
        waiting = []
        for master, part in parts.items():
            if master not in connections:
                connections[master] = resp.Connection(master, timeout=120)
            replies = connections[master].pipeline([[b"SET", key_of(number), GROW_VALUE] for number in part])
            for number, reply in zip(part, replies):
                if reply.startswith((b"-MOVED", b"-TRYAGAIN", b"-CLUSTERDOWN")):
                    waiting.append(number)
                elif not reply.startswith(b"+"):
                    raise RuntimeError("a write failed: %r" % reply)
    for connection in connections.values():
        connection.close()


def write_all_the_time(port, keys, ended):
    """Keys by chance, some at a time."""
    while not ended.is_set():
        write_keys(port, [random.randrange(keys) for _ in range(GROW_TOGETHER)])
        time.sleep(GROW_PAUSE)


def key_of(number):
    return b"key:%012d" % number


def owners_by(connection):
    """The port of the master of each slot."""
    return {slot: master[1] for first, last, master, *_ in connection.call("CLUSTER", "SLOTS") for slot in range(first, last + 1)}


def owners(node):
    connection = node.connect(timeout=60)
    try:
        return owners_by(connection)
    finally:
        connection.close()


def keys_in(node, slots):
    connection = node.connect(timeout=60)
    try:
        return sum(int(raw[1:]) for raw in connection.pipeline([["CLUSTER", "COUNTKEYSINSLOT", slot] for slot in slots]))
    finally:
        connection.close()


def balanced(nodes):
    """All know each other, and nothing moves any more."""
    for node in nodes:
        connection = node.connect(timeout=60)
        try:
            told = connection.call("CLUSTER", "INFO")
        finally:
            connection.close()
        if b"cluster_known_nodes:%d\r" % len(nodes) not in told or b"cluster_rebalance_state:balanced" not in told:
            return False
    counts = collections.Counter(owners(nodes[0]).values())
    return len(counts) == len(nodes) and max(counts.values()) - min(counts.values()) <= 1


def moves_of(nodes):
    """What each of the moves that ended well tells, by name."""
    found = {}
    for node in nodes:
        connection = node.connect(timeout=60)
        try:
            for move in connection.call("CLUSTER", "GETSLOTMIGRATIONS"):
                told = dict(zip(*[iter(move)] * 2))
                if told[b"state"] == b"success":
                    found[told[b"name"]] = told
        finally:
            connection.close()
    return found


def measure_grow(table, arguments):
    keys = int(GROW_KEYS * arguments.scale)
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(ring(OURS, 0, "--cluster-rebalance", "auto"))
        write_keys(nodes[0].port, range(keys))
        seen, pauses, ended = set(), [], multiprocessing.Event()
        writing = multiprocessing.Process(target=write_all_the_time, args=(nodes[0].port, keys, ended))
        writing.start()
        try:
            for count in range(GROUPS + 1, GROWN + 1):
                before = owners(nodes[0])
                nodes = [*nodes, stack.enter_context(start_node(OURS, "--cluster-rebalance", "auto", "--cluster-join", nodes[0].bus))]
                begun = time.monotonic()
                while not balanced(nodes):
                    if time.monotonic() - begun > GROWN_WITHIN:
                        raise RuntimeError("not balanced in time:\n" + nodes[0].log()[-2000:])
                    time.sleep(0.2)
                seconds = time.monotonic() - begun
                after = owners(nodes[0])
                by_port = {node.port: node for node in nodes}
                moved, total = 0, 0
                for port, node in by_port.items():
                    moved += keys_in(node, [slot for slot in after if after[slot] == port and before[slot] != port])
                    total += keys_in(node, [slot for slot in after if after[slot] == port])
                least = total * (SLOTS // count) / SLOTS
                moves = {name: told for name, told in moves_of(nodes).items() if name not in seen}
                seen |= set(moves)
                pauses += [told[b"longest_pause_ms"] for told in moves.values()]
                name = "node %d joins %d keys: " % (count, total)
                table.add(name + "keys moved / the least", None, moved / least, " x", 3, "<= %.1f x" % GROW_TARGET)
                table.add(name + "until all is balanced", None, seconds, " s", 1)
                if not writing.is_alive():
                    raise RuntimeError("a write failed")
        finally:
            ended.set()
            writing.join(60)
    pauses.sort()
    table.add("hand-over pause of %d moves: median" % len(pauses), None, pauses[len(pauses) // 2], " ms", 0)
    table.add("hand-over pause of %d moves: p99" % len(pauses), None, pauses[len(pauses) * 99 // 100], " ms", 0, "<= %d ms" % PAUSE_TARGET_MS)
    table.add("hand-over pause of %d moves: longest" % len(pauses), None, pauses[-1], " ms", 0)


def measure_ring(table, arguments):
    for replicas in REPLICAS:
        ring_of(table, replicas, arguments.rounds, arguments.scale)
