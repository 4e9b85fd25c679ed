"""The parts of `make bench` about the data types: processor time per command, bytes per element, ranks
in large sorted sets, what a deletion costs other clients, streams."""
import random
import statistics
import time

import workloads
from measuring import BOTH, CLIENTS, Prober, add_turns, cpu_seconds, info, longest_turns, resp, start

PIPELINE = 16
COMMANDS = 400000  # per measurement
ELEMENTS = 1000000  # of the one big key
SMALL_KEYS = 100000
SMALL_ELEMENTS = 8
RANK_COMMANDS = 100000
RANGE_WIDTH = 10


def measure_types(table, arguments):
    wanted = [each for each in workloads.WORKLOADS if each.name not in ("get", "set")]
    if arguments.commands:
        wanted = [workloads.named(name) for name in arguments.commands.split(",")]
    measured = {}
    for turn in range(arguments.rounds):
        for binary in BOTH if turn % 2 == 0 else BOTH[::-1]:
            for workload in wanted:
                count = int(COMMANDS * workload.share * arguments.scale)
                measured.setdefault((workload.name, binary), []).append(cpu_per_command(binary, workload, count))
    for workload in wanted:
        theirs, ours = (statistics.median(measured[workload.name, binary]) for binary in BOTH)
        table.add("%s, pipeline %d: server CPU per command" % (workload.title, PIPELINE),
                  theirs, ours, " us", target="<= %.2f x" % workload.target)


def cpu_per_command(binary, workload, count):
    server = start(binary)
    try:
        one = server.connect(timeout=120)
        workloads.prepare(one, workload, count)
        before = cpu_seconds(server.pid)
        workloads.run(server.port, workload, PIPELINE, count)
        return (cpu_seconds(server.pid) - before) / count * 1e6
    finally:
        server.stop()


# ---- bytes


def bytes_of(binary, commands):
    """Growth of used_memory by these commands."""
    server = start(binary)
    try:
        one = server.connect(timeout=120)
        time.sleep(0.2)
        before = int(info(one, "used_memory"))
        workloads.play(one, commands)
        one.close()
        time.sleep(0.5)
        return int(info(server.connect(), "used_memory")) - before
    finally:
        server.stop()


def small(command, words):
    """SMALL_KEYS keys of SMALL_ELEMENTS elements."""
    return lambda count: ([command, b"key:%012d" % key, *(word for i in range(SMALL_ELEMENTS) for word in words(key * SMALL_ELEMENTS + i))]
                          for key in range(count))


def records(count):
    """What applications keep in a small hash. In both servers it is one listpack of the same bytes; what differs is around
    it, so the longer the record, the closer the two come."""
    cities, plans = (b"Berlin", b"Paris", b"Lima", b"Nairobi"), (b"free", b"team")
    for i in range(count):
        yield [b"HSET", b"key:%012d" % i, b"id", b"%d" % i, b"name", b"user %d" % i, b"age", b"%d" % (18 + i % 60), b"city", cities[i % 4],
               b"plan", plans[i % 2], b"visits", b"%d" % (i % 977), b"seen", b"%d" % (1700000000 + i), b"lang", b"en"]


def big(command, words):
    return lambda count: workloads.in_groups([command, b"big"], count, words)


SIZES = [  # title, unit, commands by count, count, target
    ("set member of 16 B", "member", big(b"SADD", lambda i: (b"memb:%011d" % i,)), ELEMENTS, "<= 46 B"),
    ("zset member of 24 B", "member", big(b"ZADD", lambda i: (b"%d" % (i * 7919 % 1000003), b"leaderboard:%012d" % i)), ELEMENTS, "<= 74 B"),
    ("hash field of 16 B, value of 32 B", "field", big(b"HSET", lambda i: (b"fiel:%011d" % i, b"v" * 32)), ELEMENTS, "<= 80 B"),
    ("list element of 16 B", "element", big(b"RPUSH", lambda i: (b"elem:%011d" % i,)), ELEMENTS, ""),
    ("small hash (a user's record of 8 fields)", "key", records, SMALL_KEYS, "<= 0.80 x"),
    ("small hash (8 fields of 24 B)", "key", small(b"HSET", lambda i: (b"field:%d" % (i % 8), b"value:%07d" % i)), SMALL_KEYS, ""),
    ("small zset (8 members of 10 B)", "key", small(b"ZADD", lambda i: (b"%d" % (i % 1000), b"user:%05d" % (i % 100000))), SMALL_KEYS, "<= 0.80 x"),
    ("small zset (8 members of 14 B)", "key", small(b"ZADD", lambda i: (b"%d" % (i % 1000), b"member:%07d" % i)), SMALL_KEYS, ""),
    ("small list (8 elements of 15 B)", "key", small(b"RPUSH", lambda i: (b"element:%07d" % i,)), SMALL_KEYS, "<= 0.80 x"),
    ("small set (8 members of 14 B)", "key", small(b"SADD", lambda i: (b"member:%07d" % i,)), SMALL_KEYS, ""),
]


def measure_sizes(table, arguments):
    for title, unit, commands, count, target in SIZES:
        count = int(count * arguments.scale)
        theirs, ours = (bytes_of(binary, commands(count)) / count for binary in BOTH)
        table.add("%s: used_memory per %s" % (title, unit), theirs, ours, " B", 1, target)


# ---- ranks


def drive(server, commands):
    """Plays encoded commands in pipelines of 16 on CLIENTS connections; server CPU in us per command."""
    connections = [server.connect(timeout=120) for _ in range(CLIENTS)]
    batches = [commands[at:at + PIPELINE] for at in range(0, len(commands), PIPELINE)]
    before = cpu_seconds(server.pid)
    for at in range(0, len(batches), CLIENTS):
        turn = batches[at:at + CLIENTS]
        for connection, batch in zip(connections, turn):
            connection.send(b"".join(batch))
        for connection, batch in zip(connections, turn):
            for _ in batch:
                if connection.read().startswith(b"-"):
                    raise RuntimeError("a command failed")
    used = cpu_seconds(server.pid) - before
    for connection in connections:
        connection.close()
    return used / len(commands) * 1e6


def rank_figures(binary, members, commands):
    server = start(binary)
    try:
        workloads.play(server.connect(timeout=600), workloads.in_groups([b"ZADD", b"big"], members, workloads.scored))
        dice = random.Random(1)
        ranks = [resp.encode([b"ZRANK", b"big", workloads.member(dice.randrange(members))]) for _ in range(commands)]
        ranges = []
        for _ in range(commands):
            first = dice.randrange(members - RANGE_WIDTH)
            ranges.append(resp.encode([b"ZRANGE", b"big", first, first + RANGE_WIDTH - 1]))
        drive(server, ranks[:5000])
        return drive(server, ranks), drive(server, ranges)
    finally:
        server.stop()


def measure_ranks(table, arguments):
    commands = int(RANK_COMMANDS * min(1, arguments.scale))
    theirs, ours = (rank_figures(binary, arguments.members, commands) for binary in BOTH)
    name = " of %d members: server CPU per command" % arguments.members
    table.add("ZRANK" + name, theirs[0], ours[0], " us", target="<= 0.50 x")
    table.add("ZRANGE of %d by rank" % RANGE_WIDTH + name, theirs[1], ours[1], " us", target="<= 0.50 x")


# ---- deletion


def deletion(binary, commands, members):
    """How long the longest PING of another client took while DEL ran; the longest turn of the loop, and the most
    processor time of one."""
    server = start(binary)
    try:
        one = server.connect(timeout=600)
        workloads.play(one, commands(members))
        one.call("CONFIG", "RESETSTAT")
        time.sleep(0.5)
        prober = Prober(server)
        time.sleep(0.2)
        one.call("DEL", "big")
        until = time.monotonic() + 60
        while time.monotonic() < until and int(info(one, "lazyfree_pending_objects")):
            time.sleep(0.05)
        time.sleep(0.2)
        return prober.stop(), *longest_turns(one)
    finally:
        server.stop()


def measure_deletion(table, arguments):
    kinds = [("set", big(b"SADD", lambda i: (b"memb:%011d" % i,))), ("hash", big(b"HSET", lambda i: (b"fiel:%011d" % i, b"v" * 32))),
             ("zset", big(b"ZADD", workloads.scored)), ("list", big(b"RPUSH", lambda i: (b"elem:%011d" % i,)))]
    for kind, commands in kinds:
        theirs, ours = (deletion(binary, commands, arguments.members) for binary in BOTH)
        name = "DEL of a %s of %d: " % (kind, arguments.members)
        table.add(name + "worst PING of another client", theirs[0], ours[0], " ms", 1, "<= 5 ms")
        add_turns(table, name, ours[1:])


# ---- streams


def stream_entries(count):
    return ([b"XADD", b"stream", b"%d-1" % (i + 1), b"field", b"value:%07d" % i] for i in range(count))


def stream_group(count):
    yield from stream_entries(2 * count)
    yield [b"XGROUP", b"CREATE", b"stream", b"group", b"0"]


def stream_delivered(count):
    yield from stream_group(count)
    yield [b"XREADGROUP", b"GROUP", b"group", b"ann", b"COUNT", b"%d" % (2 * count), b"STREAMS", b"stream", b">"]


def measure_streams(table, arguments):
    count = int(100000 * arguments.scale)
    streams = [
        workloads.Workload("XADD", ("XADD", "stream", "*", "field", "value"), 0, share=4),
        workloads.Workload("XREADGROUP of 1", ("XREADGROUP", "GROUP", "group", "ann", "COUNT", "1", "STREAMS", "stream", ">"), 0, fill=stream_group),
        workloads.Workload("XACK", ("XACK", "stream", "group", "__rand_int__-1"), 0, keys=2 * count, fill=stream_delivered),
    ]
    for stream in streams:
        measured = {binary: [] for binary in BOTH}
        for turn in range(arguments.rounds):
            for binary in BOTH if turn % 2 == 0 else BOTH[::-1]:
                measured[binary].append(cpu_per_command(binary, stream, int(count * stream.share)))
        table.add("%s, pipeline %d: server CPU per command" % (stream.name, PIPELINE), *(statistics.median(measured[binary]) for binary in BOTH), " us")
    theirs, ours = (bytes_of(binary, stream_entries(5 * count)) / (5 * count) for binary in BOTH)
    table.add("stream entry of 1 field: used_memory per entry", theirs, ours, " B", 1)
