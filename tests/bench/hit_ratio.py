#!/usr/bin/python3
"""Hit ratio of a cache under a Zipf trace: redis-server and Quoll, allkeys-lru and allkeys-lfu.

  hit_ratio.py [--keys N] [--fit N] [--requests N] [--skew S] [--shift N] [--policy P]... [--equal-memory]

A look-aside cache: GET, and SET of what was missing. Both servers get the same trace and a maxmemory
in which about the same number of keys fits (--fit), found by filling each first; with --equal-memory
both get the maxmemory of redis-server. --shift N moves the popular keys every N requests. The first
half of the trace warms up; the second is counted.
"""
import argparse
import bisect
import itertools
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../compat"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import resp  # noqa: E402
from measuring import info  # noqa: E402
from server import OURS, REFERENCE, ServerUnderTest  # noqa: E402

BATCH = 100  # requests on the way at a time
VALUE = b"v" * 64


def zipf(keys, skew, seed):
    """Endless ranks, the popular ones most often."""
    weights = list(itertools.accumulate(1 / (rank + 1) ** skew for rank in range(keys)))
    dice = random.Random(seed)
    while True:
        yield bisect.bisect_left(weights, dice.random() * weights[-1])


def trace(options):
    names = list(range(options.keys))
    random.Random(options.seed).shuffle(names)
    ranks = zipf(options.keys, options.skew, options.seed)
    for at in range(options.requests):
        offset = at // options.shift * (options.keys // 20) if options.shift else 0
        yield b"key:%08d" % names[(next(ranks) + offset) % options.keys]


def memory_for(binary, fit):
    """maxmemory at which `fit` keys fit."""
    with ServerUnderTest(binary) as server:
        one = server.connect(timeout=60)
        for first in range(0, fit, 1000):
            one.pipeline([[b"SET", b"key:%08d" % i, VALUE] for i in range(first, min(first + 1000, fit))])
        return int(info(one, "used_memory")) - int(info(one, "mem_not_counted_for_evict"))


def play(binary, policy, limit, options):
    with ServerUnderTest(binary, ["--maxmemory", str(limit), "--maxmemory-policy", policy]) as server:
        one = server.connect(timeout=60)
        begin, hits, asked = time.monotonic(), 0, 0
        kept = []
        requests = iter(trace(options))
        for start in range(0, options.requests, BATCH):
            keys = list(itertools.islice(requests, BATCH))
            replies = one.pipeline([[b"GET", key] for key in keys])
            missing = [key for key, reply in zip(keys, replies) if reply.startswith((b"$-1", b"_"))]
            if missing:
                one.pipeline([[b"SET", key, VALUE] for key in missing])
            if start >= options.requests // 2:
                hits += len(keys) - len(missing)
                asked += len(keys)
                if start // BATCH % 100 == 0:
                    kept.append(one.call("DBSIZE"))
        return hits / asked, sum(kept) // max(len(kept), 1), time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--fit", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--skew", type=float, default=0.99)
    parser.add_argument("--shift", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--policy", action="append")
    parser.add_argument("--equal-memory", action="store_true")
    options = parser.parse_args()
    limits = {REFERENCE: memory_for(REFERENCE, options.fit), OURS: memory_for(OURS, options.fit)}
    if options.equal_memory:
        limits[OURS] = limits[REFERENCE]
    print("| policy | server | maxmemory | keys kept | time | hit ratio |\n|---|---|---|---|---|---|")
    for policy in options.policy or ["allkeys-lru", "allkeys-lfu"]:
        for name, binary in (("redis-server", REFERENCE), ("quoll-server", OURS)):
            ratio, kept, seconds = play(binary, policy, limits[binary], options)
            print("| %s | %s | %d | %d | %.1f s | %.4f |" % (policy, name, limits[binary], kept, seconds, ratio), flush=True)


if __name__ == "__main__":
    main()
