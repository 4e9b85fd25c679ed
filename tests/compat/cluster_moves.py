#!/usr/bin/python3
"""Slots that move between groups with replicas, while clients write and leaders are killed: nothing
that was acknowledged is lost, every slot has one owner, and all members of a group have the same.

  cluster_moves.py [WORD...]     tests whose names hold a word
"""
import glob
import itertools
import random
import signal
import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisClusterException, RedisError

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
            self.names = {node: name for name, node in by_id.items()}  # of those that do not answer, too
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
        nodes = [node for node in self.nodes if node.child.poll() is None]
        return all(move[b"state"] in (b"success", b"failed", b"cancelled") for node in nodes for move in moves_of(node))

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
        return b"+OK" in leader.connect().raw("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *words, "NODE", self.names[other])


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
    tool("rebalance", groups.nodes[0].address, "--cluster-threshold", "1")
    check(max(groups.leader(group).slots() for group in range(3)) < 16384 / 3 * 1.01, "it is not balanced")
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


def test_slots_move_though_their_keys_expire(groups):
    """Some fall due while writes are held and both sides count what they have."""
    source = groups.leader(0)
    first = int(first_slot(source)[0])
    wanted = set(range(first, first + 48))
    tags = {}
    for i in range(10 ** 6):
        slot = key_slot(b"%d" % i)
        if slot in wanted:
            tags.setdefault(slot, "{%d}" % i)
            if len(tags) == len(wanted):
                break
    over = threading.Event()

    def write():
        # Of slots that have gone it is told so, of those that are on their way sooner or later.
        one = source.connect()
        numbers = itertools.count()
        while not over.is_set():
            lines = [("SET", random.choice(list(tags.values())) + str(next(numbers)), "x", "PX", str(random.randrange(20, 400))) for _ in range(50)]
            one.pipeline(lines)
            time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.5)
        check(groups.begin_move(0, 1, len(wanted)), "no move begins")
        eventually(groups.moves_over, "it is over", timeout=PATIENCE, pause=0.05)
    finally:
        over.set()
        writer.join()
    check_equal([(move[b"state"], move[b"message"]) for move in moves_of(source)][-1:], [(b"success", b"")])


def test_slots_move_though_the_target_has_its_witness_alone(groups):
    """What writes wait for is on its disk soon, too."""
    replica = next(node for node in groups.groups[1] if node is not groups.leader(1))
    writer = Writers(groups, "witness", 1)  # it begins at any node
    replica.kill()
    try:
        writer.go_on()
        eventually(lambda: groups.begin_move(0, 1, 160), "a move begins", timeout=PATIENCE, pause=0.05)
        source = groups.leader(0)
        eventually(groups.moves_over, "it is over", timeout=PATIENCE, pause=0.05)
        writer.stop()
        check_equal([(move[b"state"], move[b"message"]) for move in moves_of(source)][:1], [(b"success", b"")])
    finally:
        replica.start()
    eventually(groups.serving, "all serve", timeout=2 * PATIENCE, pause=0.1)
    eventually(lambda: members_agree(groups), "leaders and replicas have the same", timeout=PATIENCE, pause=0.1)


def test_a_source_that_dies_while_it_copies_keeps_its_slots(groups):
    source, target = groups.leader(0), groups.leader(1)
    slot = first_slot(source)[0]
    tag = next(name for name in ("{%d}" % i for i in range(10 ** 6)) if key_slot(name[1:-1].encode()) == int(slot))
    many = client(groups.nodes[0])
    value = b"v" * 100000
    for i in range(250):
        many.set(tag + str(i), value)
    before = source.slots()
    counting = target.connect()
    check(groups.begin_move(0, 1, 100), "no move begins")
    eventually(lambda: counting.call("CLUSTER", "COUNTKEYSINSLOT", slot) > 10, "keys come", timeout=PATIENCE, pause=0.001)
    source.kill()
    eventually(lambda: groups.leader(0) is not None, "the other one leads", timeout=PATIENCE)
    # The target asks whoever leads now, and keeps nothing.
    eventually(lambda: counting.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 0, "what came is dropped", timeout=PATIENCE, pause=0.05)
    source.start()
    eventually(groups.serving, "all serve", timeout=2 * PATIENCE, pause=0.1)
    check_equal(groups.leader(0).slots(), before)
    check(all(many.get(tag + str(i)) == value for i in range(250)), "something is lost")
    eventually(lambda: members_agree(groups), "leaders and replicas have the same", timeout=PATIENCE, pause=0.1)
    move_to_the_end(groups, 0, 1, 100)
    check(all(many.get(tag + str(i)) == value for i in range(250)), "something is lost")
    many.delete(*(tag + str(i) for i in range(250)))
    eventually(lambda: members_agree(groups), "leaders and replicas have the same", timeout=PATIENCE, pause=0.1)


def move_to_the_end(groups, source, target, count):
    """It may fail while a group still has to find its leader."""
    goal = groups.leader(source).slots() - count

    def moved():
        leader = groups.leader(source)
        if leader and leader.slots() > goal and groups.moves_over():
            groups.begin_move(source, target, leader.slots() - goal)
        return leader and leader.slots() == goal
    eventually(moved, "the slots move", timeout=2 * PATIENCE, pause=0.1)


def voters(groups, group):
    """Its members and its witness, as the names of directories tell."""
    members = groups.groups[group]
    number = [name for node in members for name in glob.glob(node.dir + "/cluster-*/group-*-*-*")][0].split("-")[-2]
    return members + [node for node in groups.nodes if glob.glob(node.dir + "/cluster-*/witness-*-%s-*" % number)]


def frozen_topology(groups):
    """A source, a target, two of the three that hold the topology, and whether the source goes on without any one member if these
    two are away; the target goes on."""
    governors = [node for node in groups.nodes if field(node, "topology_voters") > 0]
    found = []
    for source, target, pair in itertools.product(range(3), range(3), itertools.combinations(governors, 2)):
        if source != target and not set(pair) & set(groups.groups[source]) and sum(node in pair for node in voters(groups, target)) <= 1:
            found.append((source, target, pair, not set(pair) & set(voters(groups, source))))
    return max(found, key=lambda one: one[3], default=None)


def test_what_was_released_is_served_by_nobody_until_the_topology_says_so(groups):
    """Whoever leads the source, and when all of it begins anew."""
    eventually(lambda: groups.serving() and frozen_topology(groups), "three hold the topology", timeout=PATIENCE, pause=0.2)
    source, target, pair, spare = frozen_topology(groups)
    slot = int(first_slot(groups.leader(source))[0])
    key = next(name for name in ("key%d" % i for i in range(10 ** 6)) if key_slot(name.encode()) == slot)
    client(groups.nodes[0]).set(key, "kept")
    pair[0].child.send_signal(signal.SIGSTOP)
    pair[1].child.send_signal(signal.SIGSTOP)
    running = [node for node in groups.nodes if node not in pair]
    try:
        def leads(group):
            return next((node for node in groups.groups[group] if node in running and node.child.poll() is None
                         and "master" in node.lines()[node.id].split()[2]), None)

        def again(node, *words):
            connection = node.connect()
            connection.raw("READONLY")
            return connection.raw(*words).startswith(b"-TRYAGAIN")
        eventually(lambda: leads(source) and leads(target), "both groups are led", timeout=PATIENCE)

        def released():
            leader = leads(source)
            states = [move[b"state"] for move in moves_of(leader)]
            if b"failover-granted" not in states and all(state in (b"success", b"failed", b"cancelled") for state in states):
                leader.connect().raw("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", str(slot), str(slot), "NODE", leads(target).id)
            return b"failover-granted" in states
        eventually(released, "the slot is released", timeout=PATIENCE, pause=0.05)
        for node in groups.groups[source]:
            eventually(lambda: again(node, "GET", key), "it is served by nobody", timeout=PATIENCE)
        check_equal(leads(source).connect().raw("CLUSTER", "SETSLOT", str(slot), "STABLE"),
                    b"-ERR The slot was released already: it will be the other node's\r\n")
        leads(source).kill()
        if spare:
            eventually(lambda: leads(source), "the other one leads", timeout=PATIENCE)
            check(again(leads(source), "GET", key), "who leads next knows nothing of it")
        for node in groups.groups[source]:
            if node.child.poll() is None:
                node.kill()
        for node in groups.groups[source]:
            node.start()
        eventually(lambda: leads(source), "one of them leads again", timeout=PATIENCE)
        for node in groups.groups[source]:
            eventually(lambda: again(node, "GET", key), "it is served by nobody", timeout=PATIENCE)
    finally:
        for node in pair:
            node.child.send_signal(signal.SIGCONT)
    eventually(groups.serving, "all serve", timeout=2 * PATIENCE, pause=0.1)
    eventually(lambda: groups.leader(target).owns(slot), "it is the target's", timeout=PATIENCE)
    check_equal(client(groups.nodes[0]).get(key), b"kept")
    eventually(lambda: members_agree(groups), "leaders and replicas have the same", timeout=PATIENCE, pause=0.1)


def test_members_are_killed_while_slots_move(groups):
    """The source's leader, the target's, all of the source, all of the target, at any moment of moves."""
    writers = Writers(groups, "crash")
    for victims in ("source", "target", "all of the source", "all of the target"):
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
    move_to_the_end(groups, 0, 1, 64)
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
