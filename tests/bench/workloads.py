"""One command under load: what the server holds before, and what redis-benchmark sends.

Beside redis-benchmark's own tests there are commands on a value of a known size. The commands that
take something away find twice as much as they will take.
"""
import dataclasses
import hashlib
import itertools
import subprocess
import typing

from measuring import CLIENTS

ADDED_AT_ONCE = 100  # members per command while a value is filled
SENT_AT_ONCE = 1000  # commands


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    sent: tuple  # -t TEST, or the command and its arguments
    target: float  # of Redis's processor time
    keys: int = 100000  # different random keys or members
    share: float = 1.0  # commands, relative to other workloads
    fill: typing.Optional[typing.Callable] = None  # (commands to come) -> commands that prepare
    text: str = ""  # in the table, when the name does not say it

    @property
    def title(self):
        return self.text or self.name.upper()


def in_groups(prefix, count, words):
    """Commands that add `count` elements, words(i) being what stands for element i."""
    for first in range(0, count, ADDED_AT_ONCE):
        yield [*prefix, *(word for i in range(first, min(first + ADDED_AT_ONCE, count)) for word in words(i))]


def member(i):
    return b"element:%012d" % i


def scored(i):
    return b"%d" % (i * 7919 % 1000003), member(i)


def strings(count):
    return ([b"SET", b"key:%012d" % i, b"xxx"] for i in range(100000))


THREE_CALLS = b"redis.call('SET', KEYS[1], ARGV[1]) redis.call('EXPIRE', KEYS[1], 100) return redis.call('GET', KEYS[1])"


def list_elements(key):
    return lambda count: in_groups([b"RPUSH", key], 2 * count, lambda i: (b"xxx",))


WORKLOADS = [
    Workload("get", ("-t", "get"), 0.50, fill=strings),
    Workload("set", ("-t", "set"), 0.50, fill=strings),
    Workload("incr", ("-t", "incr"), 0.55),
    Workload("mset", ("-t", "mset"), 0.55, share=0.2, text="MSET (10)"),
    Workload("lpush", ("-t", "lpush"), 0.55),
    Workload("rpop", ("-t", "rpop"), 0.55, fill=list_elements(b"mylist")),
    Workload("sadd", ("-t", "sadd"), 0.55),
    Workload("spop", ("-t", "spop"), 0.55, fill=lambda count: in_groups([b"SADD", b"myset"], 2 * count, lambda i: (member(i),))),
    Workload("hset", ("-t", "hset"), 0.55),
    Workload("zadd", ("-t", "zadd"), 0.55),
    Workload("zadd_100k", ("ZADD", "big", "__rand_int__", "element:__rand_int__"), 0.50, share=0.5,
             fill=lambda count: in_groups([b"ZADD", b"big"], 100000, scored), text="ZADD into 100 k"),
    Workload("zpopmin", ("-t", "zpopmin"), 0.55, fill=lambda count: in_groups([b"ZADD", b"myzset"], 2 * count, scored)),
    Workload("lrange_100", ("LRANGE", "mylist", "0", "99"), 0.50, share=0.1,
             fill=lambda count: in_groups([b"RPUSH", b"mylist"], 1000, lambda i: (b"xxx",)), text="LRANGE 100"),
    Workload("eval_nothing", ("EVAL", "return 1", "0"), 0.70, share=0.5, text="EVAL 'return 1'"),
    Workload("evalsha", ("EVALSHA", hashlib.sha1(THREE_CALLS).hexdigest(), "1", "key:__rand_int__", "value"), 0.70, share=0.3,
             fill=lambda count: [[b"SCRIPT", b"LOAD", THREE_CALLS]], text="EVALSHA of three calls"),
]


def named(name):
    return next(workload for workload in WORKLOADS if workload.name == name)


def play(connection, commands):
    """Sends many commands, none of which may fail."""
    waiting = []
    for command in itertools.chain(commands, [None]):
        if command is not None:
            waiting.append(command)
        if len(waiting) == SENT_AT_ONCE or command is None:
            failed = [reply for reply in connection.pipeline(waiting) if reply.startswith(b"-")]
            if failed:
                raise RuntimeError("filling failed: %r" % failed[0])
            waiting = []


def prepare(connection, workload, count):
    """Fills the server for `count` commands of the workload."""
    if workload.fill:
        play(connection, workload.fill(count))


def run(port, workload, pipeline, count, keys=None):
    """One redis-benchmark run; returns the fields of its CSV line."""
    done = subprocess.run(["redis-benchmark", "-p", str(port), "-P", str(pipeline), "-c", str(CLIENTS), "-n", str(count),
                           "-r", str(keys or workload.keys), "--csv", *workload.sent], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1].replace('"', "").split(",")
