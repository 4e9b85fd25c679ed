#!/usr/bin/python3
"""Real server processes of a replica group under load, while they are killed, stopped, cut off from each
other and robbed of their disk; then what clients were told is compared with what they find.

  nemesis.py [--members N] [--seconds S] [--seed S] [--clients N] [--redis-py] [--node] [--only ACTION...]
             [--arguments "..."] [--keep]

--members 1 (default): one server with appendfsync always, as a trial of all this; 3: a group.
--redis-py, --node: also redis-py, ioredis and node-redis as applications use them, each adding numbers to
sets of its own. --only: kill, kill-all, pause, cut, cut-one-way, fill.

Checked: no acknowledged write is lost, registers are linearizable, INCR gives no number twice and counts no
more than was sent, a lock has one holder and growing tokens. Told: the time until service is back after each
loss of the leader (median, longest).
Namespaces and small disks for members need root; without it, `cut` and `fill` are left out.
A seed repeats the choices, not the timing.
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import threading
import time

import resp
from group_members import Group
from history_checks import NEVER, Count, Hold, Push, Read, Write, check_counter, check_list, check_lock, check_register
from server import OURS, ROOT, Results, check

PATIENCE = 5.0  # seconds a client waits for a reply
PROBE_PATIENCE = 0.3  # of the first client, which soon sees that service is back elsewhere
SERVICE_LIMIT = 30.0  # seconds until a healed group must serve
REGISTERS, COUNTERS, LISTS = 6, 3, 3
REFUSALS = (b"MOVED", b"ASK", b"CLUSTERDOWN", b"LOADING", b"TRYAGAIN", b"MASTERDOWN", b"READONLY", b"MISCONF", b"EXECABORT")
ACQUIRE = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call(%s) end return 0"
COUNTED, FENCED = ACQUIRE % "'INCR', KEYS[2]", ACQUIRE % "'OBJECT', 'VERSION', KEYS[1]"  # of a server alone, of a group
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Histories:
    """What all clients did. Appending to a list is atomic among threads."""

    def __init__(self):
        self.writes = {b"r%d" % number: [] for number in range(REGISTERS)}
        self.reads = {name: [] for name in self.writes}
        self.counts = {b"c%d" % number: [] for number in range(COUNTERS)}
        self.pushes = {b"l%d" % number: [] for number in range(LISTS)}
        self.holds = []
        self.done = []  # (invoked, returned) of whatever was done
        self.refused = self.unknown = 0
        self.unexpected = []


class Client(threading.Thread):
    """Asks one thing at a time; goes where -MOVED points, elsewhere when there is no answer. Repeats nothing."""

    def __init__(self, number, seed, group, histories):
        super().__init__(daemon=True)
        self.number, self.chance, self.group, self.histories = number, random.Random(seed * 1000 + number), group, histories
        self.member, self.connection, self.serial = None, None, 0
        self.patience = PROBE_PATIENCE if number == 1 else PATIENCE
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.chance.choice((self.register, self.register, self.register, self.count, self.push, self.lock))()
            time.sleep(self.chance.uniform(0, 0.004))
        self.leave()

    def leave(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def connect(self):
        if self.connection:
            return True
        self.member = self.member or self.chance.choice(self.group.members)
        try:
            self.connection = resp.Connection(self.member.port, host=self.member.host, timeout=0.5)
            self.connection.timeout = self.patience
            return True
        except OSError:
            self.member = None
            time.sleep(self.chance.uniform(0.005, 0.05))
            return False

    def ask(self, *words):
        """(reply tree or None, invoked, returned). None: refused if returned is None, else nobody knows."""
        if not self.connect():
            return None, 0, None
        invoked = time.monotonic()
        try:
            reply = resp.tree(self.connection.raw(*words))
        except (OSError, resp.Closed, resp.NoReply):
            self.leave()
            self.member = None
            self.histories.unknown += 1
            return None, invoked, NEVER
        returned = time.monotonic()
        if reply[0] != "-":
            self.histories.done.append((invoked, returned))
            return reply, invoked, returned
        return self.failed(words, reply[1], invoked)

    def failed(self, words, error, invoked):
        if error.startswith(b"UNCERTAIN"):
            self.histories.unknown += 1
            return None, invoked, NEVER
        if not error.startswith(REFUSALS):
            self.histories.unexpected.append("%r -> %r" % (words, error))
        self.histories.refused += 1
        self.leave()
        address = error.split()[-1].decode() if error.startswith(b"MOVED") else None
        self.member = next((member for member in self.group.members if member.address == address), None)
        if not self.member:
            time.sleep(self.chance.uniform(0.005, 0.1))
        return None, 0, None

    def fresh(self):
        self.serial += 1
        return b"%d.%d" % (self.number, self.serial)

    def register(self):
        name = b"r%d" % self.chance.randrange(REGISTERS)
        if self.chance.random() < 0.5:
            value = self.fresh()
            _, invoked, returned = self.ask(b"SET", name, value)
            if returned is not None:
                self.histories.writes[name].append(Write(value, invoked, returned))
        else:
            reply, invoked, returned = self.ask(b"GET", name)
            if reply:
                self.histories.reads[name].append(Read(reply[1], invoked, returned))

    def count(self):
        name = b"c%d" % self.chance.randrange(COUNTERS)
        reply, invoked, returned = self.ask(b"INCR", name)
        if returned is not None:
            self.histories.counts[name].append(Count(reply and reply[1], invoked, returned))

    def push(self):
        name, element = b"l%d" % self.chance.randrange(LISTS), self.fresh()
        _, invoked, returned = self.ask(b"RPUSH", name, element)
        if returned is not None:
            self.histories.pushes[name].append(Push(element, invoked, returned))

    def lock(self):
        owner, milliseconds = self.fresh(), self.chance.randrange(50, 800)
        script = FENCED if len(self.group.members) > 1 else COUNTED
        reply, invoked, returned = self.ask(b"EVAL", script, 2, b"{lock}", b"{lock}:fence", owner, milliseconds)
        if not reply or reply[1] == 0:
            return
        hold = Hold(self.number, reply[1], invoked, returned, milliseconds / 1000)
        self.histories.holds.append(hold)
        time.sleep(self.chance.uniform(0, 0.02))
        hold.released = time.monotonic()
        self.ask(b"EVAL", RELEASE, 1, b"{lock}", owner)


# ---- clients as applications use them


class RedisPy(threading.Thread):
    """Adds numbers to a set. Adding twice changes nothing, so the library may repeat as it likes."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.acknowledged, self.ended, self.failures = group, [], threading.Event(), 0
        self.key = b"acknowledged:redis-py"

    def connect(self):
        import redis
        import redis.cluster
        members = self.group.members
        if len(members) == 1:
            return redis.Redis(members[0].host, members[0].port, socket_timeout=PATIENCE)
        nodes = [redis.cluster.ClusterNode(member.host, member.port) for member in members]
        return redis.cluster.RedisCluster(startup_nodes=nodes, socket_timeout=PATIENCE, socket_connect_timeout=0.5)

    def run(self):
        client, number = None, 0
        while not self.ended.is_set():
            number += 1
            try:
                client = client or self.connect()
                client.sadd(self.key, number)
                self.acknowledged.append(b"%d" % number)
            except Exception:  # whatever the library makes of it: this number was not acknowledged
                self.failures += 1
                time.sleep(0.02)

    def finish(self):
        self.ended.set()
        self.join(60)
        return self.acknowledged


class NodeWorker:
    """The same from ioredis or node-redis: prints each number once it is acknowledged, until its input ends."""

    def __init__(self, library, group):
        self.key = b"acknowledged:" + library.encode()
        script = os.path.join(ROOT, "tests/compat/clients/node/nemesis_worker.js")
        environment = dict(os.environ, NODE_PATH=os.path.join(ROOT, "build/npm/node_modules"))
        self.child = subprocess.Popen(["node", script, library, self.key.decode()] + [member.address for member in group.members],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.acknowledged = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.child.stdout:
            self.acknowledged.append(line.strip())

    def finish(self):
        self.child.stdin.close()
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.reader.join(5)
        return self.acknowledged


# ---- the nemesis


class Nemesis:
    """One disturbance at a time, each healed before the next, so that a majority is always there, except when
    all are killed at once."""

    def __init__(self, group, chance, only):
        self.group, self.chance = group, chance
        self.losses = []  # moments when the leader was taken away
        self.actions = {"kill": self.kill, "kill-all": self.kill_all, "pause": self.pause}
        if group.network:
            self.actions.update({"cut": self.cut, "cut-one-way": self.cut_one_way})
        if group.members[0].own_disk and len(group.members) > 1:
            self.actions["fill"] = self.fill
        self.names = [name for name in self.actions if not only or name in only]
        self.counts = {name: 0 for name in self.names}

    def victim(self):
        """Mostly the leader."""
        leader = self.group.leader()
        return leader if leader and self.chance.random() < 0.7 else self.chance.choice(self.group.members), leader

    def act(self):
        name = self.chance.choice(self.names)
        self.counts[name] += 1
        self.actions[name]()

    def lost(self, victim, leader):
        if victim is leader:
            self.losses.append(time.monotonic())

    def kill(self):
        victim, leader = self.victim()
        self.lost(victim, leader)
        victim.kill()
        time.sleep(self.chance.uniform(0, 3) if len(self.group.members) > 1 else 0)
        victim.start()

    def kill_all(self):
        self.losses.append(time.monotonic())
        for member in self.group.members:
            member.kill()
        for member in self.chance.sample(self.group.members, len(self.group.members)):
            member.start()
            time.sleep(self.chance.uniform(0, 0.3))

    def pause(self):
        victim, leader = self.victim()
        self.lost(victim, leader)
        victim.pause()
        time.sleep(self.chance.uniform(0.2, 5))
        victim.resume()

    def cut(self):
        """A member and all others hear nothing of each other; clients reach both sides."""
        victim, leader = self.victim()
        self.lost(victim, leader)
        for other in self.group.members:
            if other is not victim:
                self.group.network.lose(victim.number, other.number)
                self.group.network.lose(other.number, victim.number)
        time.sleep(self.chance.uniform(1, 6))
        self.group.network.heal()

    def cut_one_way(self):
        one, other = self.chance.sample(self.group.members, 2)
        self.group.network.lose(one.number, other.number)
        time.sleep(self.chance.uniform(1, 6))
        self.group.network.heal()

    def fill(self):
        victim, leader = self.victim()
        self.lost(victim, leader)
        victim.fill_disk()
        time.sleep(self.chance.uniform(1, 4))
        victim.empty_disk()

    def heal(self):
        if self.group.network:
            self.group.network.heal()
        for member in self.group.members:
            member.resume()
            member.empty_disk()
            if not member.alive():
                member.start()


def times_to_service(losses, done):
    """Seconds from each loss until something asked for after it was done."""
    waits = []
    for loss in losses:
        after = [returned for invoked, returned in done if invoked > loss]
        if after:
            waits.append(min(after) - loss)
    return waits


class Reader:
    """Reads at the end, asking until there is an answer."""

    def __init__(self, group):
        self.group = group

    def ask(self, *words):
        deadline = time.monotonic() + SERVICE_LIMIT
        while time.monotonic() < deadline:
            for member in self.group.members:
                reply = member.ask(*words, timeout=5)
                if reply and reply[0] != "-":
                    return resp.plain(reply)
            time.sleep(0.05)
        raise AssertionError("no answer to %r within %d s" % (words, SERVICE_LIMIT))


def complaints_of(histories, workers, reader):
    complaints = ["an unexpected error: " + text for text in histories.unexpected[:5]]
    for name, writes in histories.writes.items():
        invoked = time.monotonic()
        histories.reads[name].append(Read(reader.ask(b"GET", name), invoked, time.monotonic()))
        complaints += check_register(name.decode(), writes, histories.reads[name])
    for name, counts in histories.counts.items():
        complaints += check_counter(name.decode(), counts, int(reader.ask(b"GET", name) or 0))
    for name, pushes in histories.pushes.items():
        complaints += check_list(name.decode(), pushes, reader.ask(b"LRANGE", name, 0, -1))
    complaints += check_lock("lock", histories.holds)
    for worker, acknowledged in workers:
        lost = set(acknowledged) - set(reader.ask(b"SMEMBERS", worker.key))
        if lost:
            complaints.append("%s: %d acknowledged writes are lost: %r" % (worker.key.decode(), len(lost), sorted(lost)[:5]))
    return complaints


def play(options, group):
    histories, chance = Histories(), random.Random(options.seed)
    check(group.wait_for_leader(SERVICE_LIMIT), "the group does not begin to serve:\n" + group.members[0].log()[-2000:])
    clients = [Client(number, options.seed, group, histories) for number in range(1, options.clients + 1)]
    workers = [RedisPy(group)] if options.redis_py else []
    for worker in clients + workers:
        worker.start()
    workers += [NodeWorker(library, group) for library in ("ioredis", "node-redis") if options.node]
    nemesis = Nemesis(group, chance, options.only)
    ends = time.monotonic() + options.seconds
    while time.monotonic() < ends:
        time.sleep(chance.uniform(0.5, 3))
        nemesis.act()
    nemesis.heal()
    check(group.wait_for_leader(SERVICE_LIMIT), "no service %d s after everything healed" % SERVICE_LIMIT)
    time.sleep(1)
    for client in clients:
        client.ended.set()
    acknowledged = [(worker, worker.finish()) for worker in workers]
    for client in clients:
        client.join(PATIENCE + 5)
    report(nemesis, histories, acknowledged)
    complaints = complaints_of(histories, acknowledged, Reader(group))
    check(not complaints, "\n".join(complaints))


def report(nemesis, histories, acknowledged):
    print("     %s" % ", ".join("%s %d" % pair for pair in sorted(nemesis.counts.items())))
    print("     %d done, %d refused, %d unknown%s" % (len(histories.done), histories.refused, histories.unknown, "".join(
        "; %s %d" % (worker.key.decode().split(":")[1], len(numbers)) for worker, numbers in acknowledged)))
    waits = times_to_service(nemesis.losses, histories.done)
    if waits:
        print("     service back after each of %d losses of the leader: median %.2f s, longest %.2f s" % (
            len(waits), statistics.median(waits), max(waits)))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--redis-py", action="store_true")
    parser.add_argument("--node", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--arguments", default="", help="more words of each server's command line")
    parser.add_argument("--keep", action="store_true", help="print the logs' ends when it fails")
    options = parser.parse_args()
    if options.node:
        sys.path.insert(0, os.path.join(ROOT, "tests/compat/clients"))
        import run
        run.install_node_libraries()
    results = Results()
    group = Group(OURS, options.members, options.arguments.split())
    try:
        results.run("nemesis seed %d, %d members, %d s" % (options.seed, options.members, options.seconds), play, options, group)
        if results.failed and options.keep:
            for member in group.members:
                print("---- member %d\n%s" % (member.number, member.log()[-3000:]))
    finally:
        group.close()
    results.finish()


if __name__ == "__main__":
    main()
