#!/usr/bin/python3
"""Slots that move between groups with replicas, while clients write and leaders are killed: nothing
that was acknowledged is lost, every slot has one owner, and all members of a group have the same.

  cluster_moves.py [WORD...]     tests whose names hold a word
"""
import random
import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError

import resp
from cluster_nodes import PATIENCE, Nodes, checked, tool
from cluster_replicas import field
from server import Results, check, check_equal, eventually

# What a client may be told while a leader is killed; whether the write was done it cannot know.
PASSING = ("CLUSTERDOWN", "TRYAGAIN", "MOVED", "UNCERTAIN", "LOADING", "READONLY", "The cluster is down", "Slot \"", "TTL exhausted",
           "Error", "Timeout", "Redis Cluster cannot be connected", "ERROR sending \"cluster slots\"", "startup_nodes could not agree")


class Groups:
    """Six nodes of three groups of two, each with a third node as its witness."""

    def __init__(self):
        self.cluster = Nodes(6, formed=0)

    def __enter__(self):
        self.nodes = self.cluster.__enter__()
        try:
            tool("create", *(node.address for node in self.nodes), "--cluster-replicas", "1", "--cluster-yes")
            eventually(self.formed, "three groups of two and a witness", timeout=3 * PATIENCE, pause=0.2)
            lines = self.nodes[0].lines()
            by_id = {node.id: node for node in self.nodes}
            masters = [node for node in self.nodes if "master" in lines[node.id].split()[2]]
            self.groups = [[master] + [by_id[name] for name, line in lines.items() if line.split()[3] == master.id] for master in masters]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.cluster.__exit__()

    def formed(self):
        for node in self.nodes:
            lines = list(node.lines().values())
            if sum("slave" in line.split()[2] for line in lines) != 3 or field(node, "group_voters") != 3:
                return False
            if node.info()["cluster_state"] != "ok":
                return False
        return True

    def leader(self, group):
        for node in self.groups[group]:
            if node.child.poll() is None and "master" in node.lines()[node.id].split()[2]:
                return node
        return None

    def serving(self):
        """Everybody is there, and every group has a leader whom all know."""
        for node in self.nodes:
            if node.child.poll() is not None or node.info()["cluster_state"] != "ok":
                return False
        leaders = [self.leader(group) for group in range(3)]
        if None in leaders:
            return False
        names = {node.id for node in leaders}
        return all({name for name, line in node.lines().items() if "master" in line.split()[2] and len(line.split()) > 8} == names
                   for node in self.nodes)

    def moves_over(self):
        return all(move[b"state"] in (b"success", b"failed", b"cancelled") for node in self.nodes for move in moves_of(node))

    def begin_move(self, source, target, count):
        """Of the source's first slots, if somebody leads it and has no other move."""
        leader, other = self.leader(source), random.choice(self.groups[target])
        if leader is None:
            return False
        words, left = [], count
        for part in leader.lines()[leader.id].split()[8:]:
            first, last = int(part.split("-")[0]), int(part.split("-")[-1])
            last = min(last, first + left - 1)
            words += [str(first), str(last)]
            left -= last - first + 1
            if left == 0:
                break
        return b"+OK" in leader.connect().raw("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *words, "NODE", other.id)


def moves_of(node):
    return [dict(zip(*[iter(move)] * 2)) for move in node.call("CLUSTER", "GETSLOTMIGRATIONS")]


def client(node):
    return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", node.port)], cluster_error_retry_attempts=5, socket_timeout=10)


class Writer(threading.Thread):
    """Counts up keys of its own. Each answer must be greater than the one before."""

    def __init__(self, nodes, keys):
        super().__init__(daemon=True)
        self.nodes, self.keys, self.over, self.wrong = nodes, keys, False, []
        self.acknowledged = {key: 0 for key in keys}
        self.many = client(random.choice(nodes))
        self.start()

    def run(self):
        while not self.over:
            for key in self.keys:
                try:
                    value = int(self.many.incr(key))
                    if value <= self.acknowledged[key]:
                        self.wrong.append("%s: %d was acknowledged, then %d" % (key, self.acknowledged[key], value))
                    self.acknowledged[key] = value
                except (RedisError, RedisClusterException, OSError) as error:
                    if not str(error).startswith(PASSING) and "onnect" not in str(error):
                        self.wrong.append(str(error))
                    time.sleep(0.02)


class Writers:
    def __init__(self, groups, prefix, count=4, keys=150):
        self.groups = groups
        self.writers = [Writer(groups.nodes, ["%s%d:%d" % (prefix, n, i) for i in range(keys)]) for n in range(count)]
        self.prefix = prefix

    def progress(self):
        return sum(sum(writer.acknowledged.values()) for writer in self.writers)

    def go_on(self):
        """Something is acknowledged from now on."""
        before = self.progress()
        eventually(lambda: self.progress() > before + 100, "writes are acknowledged", timeout=PATIENCE, pause=0.05)

    def stop(self):
        for writer in self.writers:
            writer.over = True
        for writer in self.writers:
            writer.join()
        for writer in self.writers:
            check_equal(writer.wrong, [])

    def verify(self):
        groups = self.groups
        eventually(groups.serving, "all serve", timeout=2 * PATIENCE, pause=0.1)
        many = client(groups.nodes[0])
        wanted = {key: value for writer in self.writers for key, value in writer.acknowledged.items() if value > 0}
        check(len(wanted) > 100, "hardly anything was written")
        for key, value in wanted.items():
            eventually(lambda: readable(many, key), "%s can be read" % key, timeout=PATIENCE, pause=0.05)
            got = int(many.get(key) or 0)
            check(got >= value, "%s: %d was acknowledged, it is %d" % (key, value, got))
        checked(groups.nodes[1])


def readable(many, key):
    try:
        many.get(key)
        return True
    except (RedisError, RedisClusterException, OSError):
        return False


def contents(connection):
    """Every key with its value, of a node."""
    names, cursor = [], b"0"
    while True:
        cursor, some = connection.call("SCAN", cursor, "COUNT", "1000")
        names += some
        if cursor == b"0":
            break
    return {name: connection.raw("GET", name) for name in names}


def members_agree(groups):
    """What a leader has its replica has, and nothing else; no key is on two groups."""
    seen = set()
    for group in range(3):
        leader = groups.leader(group)
        if leader is None:
            return False
        replica = next(node for node in groups.groups[group] if node is not leader)
        reader = replica.connect()
        reader.call("READONLY")
        ours, theirs = contents(leader.connect()), contents(reader)
        if ours != theirs or seen & ours.keys() or any(value[:1] == b"-" for value in ours.values()):
            return False
        seen |= ours.keys()
    return True


def test_slots_leave_and_come_while_clients_write(groups):
    writers = Writers(groups, "plain")
    writers.go_on()
    source, target = groups.leader(0), groups.leader(1)
    before = source.slots(), target.slots()
    tool("reshard", groups.nodes[0].address, "--cluster-from", source.id, "--cluster-to", target.id, "--cluster-slots", "20", "--cluster-yes")
    check_equal((source.slots(), target.slots()), (before[0] - 20, before[1] + 20))
    # A replica's name stands for its group.
    eventually(lambda: groups.begin_move(1, 2, 200), "a move begins", timeout=PATIENCE)
    eventually(lambda: moves_of(target) and groups.moves_over(), "it is over", timeout=3 * PATIENCE, pause=0.05)
    check_equal([move[b"state"] for move in moves_of(target)], [b"success"])
    check_equal(target.slots(), before[1] + 20 - 200)
    check("in the group of this node" in source.connect().error("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *first_slot(source), "NODE",
                                                               next(node for node in groups.groups[0] if node is not source).id),
          "slots move within a group")
    replica = next(node for node in groups.groups[0] if node is not source)
    check_equal(replica.connect().error("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *first_slot(source), "NODE", target.id),
                "ERR Only the leader of a group moves its slots")
    writers.stop()
    writers.verify()
    eventually(lambda: members_agree(groups), "leaders and replicas have the same", timeout=PATIENCE, pause=0.1)


def first_slot(node):
    first = node.lines()[node.id].split()[8].split("-")[0]
    return first, first


def test_members_are_killed_while_slots_move(groups):
    """The source's leader, the target's, all of the source, all of the target, at any moment of moves."""
    writers = Writers(groups, "crash")
    for victims in ("source", "target", "source", "all of the source", "target", "all of the target", "source"):
        eventually(lambda: groups.serving() and groups.moves_over() and groups.begin_move(0, 1, 160), "a move begins", timeout=2 * PATIENCE,
                   pause=0.1)
        time.sleep(random.uniform(0.0, 0.4))
        group = 0 if "source" in victims else 1
        dead = list(groups.groups[group]) if "all" in victims else [groups.leader(group) or groups.groups[group][0]]
        for node in dead:
            node.kill()
        if "all" not in victims:
            eventually(lambda: groups.leader(group) is not None, "the other one leads", timeout=PATIENCE)
            writers.go_on()
        for node in dead:
            node.start()
    eventually(lambda: groups.serving() and groups.moves_over(), "all serve", timeout=2 * PATIENCE, pause=0.1)
    # It can be repeated, to its end.
    writers.go_on()
    before = groups.leader(0).slots()
    eventually(lambda: groups.begin_move(0, 1, 64), "a move begins", timeout=PATIENCE)
    eventually(lambda: groups.leader(0).slots() == before - 64, "it comes to its end", timeout=2 * PATIENCE, pause=0.1)
    writers.stop()
    writers.verify()
    eventually(lambda: members_agree(groups), "leaders and replicas have the same", timeout=PATIENCE, pause=0.1)


def main():
    results = Results()
    words = sys.argv[1:]
    with Groups() as groups:
        for name, test in list(globals().items()):
            if name.startswith("test_") and (not words or any(word in name for word in words)):
                results.run("slots of groups: " + name[5:].replace("_", " "), lambda: test(groups))
    results.finish()


if __name__ == "__main__":
    main()
