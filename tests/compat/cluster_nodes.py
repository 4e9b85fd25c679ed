#!/usr/bin/python3
"""A cluster of several nodes as people and their tools make, change and use it: redis-cli --cluster
unmodified, clients of redis-py, kill -9 while slots move.

  cluster_nodes.py [WORD...]     tests whose names hold a word
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisClusterException, RedisError

import resp
from server import OURS, Results, check, check_equal, eventually, free_port
from weak_disk import WeakDisk

PATIENCE = 60  # seconds: the machine may be busy


class Node:
    def __init__(self, *args, weak=None):
        self.port, self.bus_port = free_port(), free_port()
        self.dir = tempfile.mkdtemp(prefix="quoll-node-")
        self.args = args
        self.weak = weak  # see weak_disk.py
        self.child = None
        self.start()

    def start(self):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.child = subprocess.Popen(
                [OURS, "--port", str(self.port), "--cluster-port", str(self.bus_port), "--cluster-enabled", "yes",
                 *([] if "--bind" in self.args else ["--bind", "127.0.0.1"]), "--dir", self.dir, "--enable-debug-command", "yes", *self.args],
                stdout=log, stderr=log, env=self.weak.environment(self) if self.weak else None)
        eventually(self.answers, "a node answers", timeout=PATIENCE)

    def answers(self):
        try:
            return self.call("PING") == b"PONG"
        except (OSError, EOFError, AssertionError, resp.Closed, resp.NoReply):
            return False

    def connect(self):
        return resp.Connection(self.port)

    def call(self, *words):
        connection = self.connect()
        try:
            return connection.call(*words)
        finally:
            connection.close()

    def kill(self):
        self.child.kill()
        self.child.wait()

    def log(self):
        with open(os.path.join(self.dir, "log"), errors="replace") as log:
            return log.read()

    def remove(self):
        if self.child.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    @property
    def id(self):
        return self.call("CLUSTER", "MYID").decode()

    def info(self):
        return dict(line.split(":", 1) for line in self.call("CLUSTER", "INFO").decode().split() if ":" in line)

    def lines(self):
        """Of CLUSTER NODES, by id."""
        return {line.split()[0]: line for line in self.call("CLUSTER", "NODES").decode().splitlines()}

    def owns(self, slot):
        parts = [part.split("-") for part in self.lines()[self.id].split()[8:]]
        return any(int(part[0]) <= slot <= int(part[-1]) for part in parts)

    def slots(self):
        line = self.lines()[self.id].split()[8:]
        return sum(int(part.split("-")[-1]) - int(part.split("-")[0]) + 1 for part in line)


class Nodes:
    """So many new nodes; formed: those of one cluster that has all slots."""

    def __init__(self, count, formed=None, args=(), weak=None):
        self.nodes = []
        try:
            for _ in range(count):
                self.nodes.append(Node(*args, weak=weak))
            if formed is None:
                formed = count
            if formed:
                tool("create", *(node.address for node in self.nodes[:formed]), "--cluster-yes")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self.nodes

    def __exit__(self, *_):
        for node in self.nodes:
            node.remove()


def tool(*words, code=0):
    done = subprocess.run(["redis-cli", "--cluster", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=10 * PATIENCE, check=False)
    check_equal(done.returncode, code, "redis-cli --cluster %s: %s" % (" ".join(words), done.stdout[-2000:]))
    return done.stdout


def checked(node):
    text = tool("check", node.address)
    check("[OK] All nodes agree about slots configuration." in text, text)
    check("[OK] All 16384 slots covered." in text, text)


def client(node):
    return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", node.port)], cluster_error_retry_attempts=20)


def eventually_all(nodes, condition, text):
    eventually(lambda: all(condition(node) for node in nodes), text, timeout=PATIENCE, pause=0.05)


def test_a_new_node_has_no_slots():
    with Nodes(1, formed=0) as (node,):
        connection = node.connect()
        check_equal(connection.error("SET", "a", "1"), "CLUSTERDOWN Hash slot not served")
        check_equal(node.info()["cluster_known_nodes"], "1")
        check_equal(connection.call("CLUSTER", "ADDSLOTS", "15495", "3"), b"OK")
        check_equal(connection.error("CLUSTER", "ADDSLOTS", "3"), "ERR Slot 3 is already busy")
        check_equal(connection.error("CLUSTER", "DELSLOTS", "4"), "ERR Slot 4 is already unassigned")
        check_equal(connection.error("CLUSTER", "ADDSLOTS", "5", "5"), "ERR Slot 5 specified multiple times")
        check_equal(connection.error("CLUSTER", "ADDSLOTS", "16384"), "ERR Invalid or out of range slot")
        check_equal(connection.error("CLUSTER", "ADDSLOTSRANGE", "9", "8"),
                    "ERR start slot number 9 is greater than end slot number 8")
        # Slots that are nobody's stop all, unless that is switched off.
        check_equal(connection.error("SET", "a", "1"), "CLUSTERDOWN The cluster is down")
        connection.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        check_equal(connection.call("SET", "a", "1"), b"OK")
        check_equal(connection.error("SET", "b", "1"), "CLUSTERDOWN Hash slot not served")
        check_equal(connection.call("CLUSTER", "DELSLOTSRANGE", "3", "3"), b"OK")
        check_equal(node.info()["cluster_slots_assigned"], "1")
        check_equal(connection.error("CLUSTER", "FLUSHSLOTS"), "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.")
        check_equal(connection.error("CLUSTER", "RESET"),
                    "ERR CLUSTER RESET can't be called with master nodes containing keys")
        check_equal(connection.error("CLUSTER", "FORGET", node.id), "ERR I tried hard but I can't forget myself...")
        check_equal(connection.error("CLUSTER", "MEET", "300.1.1.1", "1"), "ERR Invalid node address specified: 300.1.1.1:1")
        check_equal(connection.error("CLUSTER", "MEET", "127.0.0.1", "0"), "ERR Invalid base port specified: 0")


def test_three_nodes_are_a_cluster():
    with Nodes(3) as nodes:
        checked(nodes[1])
        check_equal([node.slots() for node in nodes], [5461, 5462, 5461])
        error = nodes[0].connect().error("GET", "foo")  # slot 12182
        check_equal(error, "MOVED 12182 %s" % nodes[2].address)
        many = client(nodes[0])
        for i in range(300):
            many.set("key%d" % i, i)
        check_equal([int(many.get("key%d" % i)) for i in range(300)], list(range(300)))
        check(all(node.call("DBSIZE") > 50 for node in nodes), "keys are everywhere")
        check("127.0.0.1:%d: PONG" % nodes[2].port in tool("call", nodes[0].address, "PING"), "call")
        check_equal({len(node.call("CLUSTER", "SLOTS")) for node in nodes}, {3})
        check_equal({len(node.call("CLUSTER", "SHARDS")) for node in nodes}, {3})
        # After a crash of all the cluster is as it was.
        before = nodes[0].lines().keys()
        for node in nodes:
            node.kill()
        for node in nodes:
            node.start()
        eventually_all(nodes, lambda node: node.info()["cluster_state"] == "ok", "all serve again")
        check_equal(nodes[1].lines().keys(), before)
        many = client(nodes[2])
        check_equal([int(many.get("key%d" % i)) for i in range(300)], list(range(300)))


def test_gossip_tells_who_is_dead():
    with Nodes(3) as nodes:
        dead = nodes[2].id
        # A main loop that is busy is no death: a thread of its own answers for it.
        busy = nodes[1].connect()
        busy.send(resp.encode(["DEBUG", "SLEEP", "3"]))
        nodes[2].kill()
        eventually_all(nodes[:1], lambda node: "fail" in node.lines()[dead].split()[2].split(","), "the dead is known")
        check_equal(busy.read(), b"+OK\r\n")
        check("fail" not in nodes[0].lines()[nodes[1].id], "who was busy is taken for dead")
        check_equal(nodes[0].info()["cluster_state"], "fail")
        nodes[2].start()
        eventually_all(nodes, lambda node: node.info()["cluster_state"] == "ok", "all serve again")
        check_equal(nodes[0].lines()[dead].split()[2], "master")


def test_a_node_comes_and_goes():
    with Nodes(4, formed=3) as nodes:
        check("[OK] New node added correctly." in tool("add-node", nodes[3].address, nodes[0].address), "add-node")
        eventually_all(nodes, lambda node: node.info()["cluster_known_nodes"] == "4", "all know it")
        many = client(nodes[0])
        for i in range(500):
            many.set("key%d" % i, i, ex=1000 if i % 2 else None)
        tool("reshard", nodes[1].address, "--cluster-from", nodes[0].id, "--cluster-to", nodes[3].id, "--cluster-slots", "40",
             "--cluster-yes")
        checked(nodes[3])
        check_equal(nodes[3].slots(), 40)
        check_equal([int(many.get("key%d" % i)) for i in range(500)], list(range(500)))
        check(900 < many.ttl("key1") <= 1000, "a deadline went along")
        eventually(lambda: sum(node.call("DBSIZE") for node in nodes) == 500, "what moved is not kept", timeout=PATIENCE)
        # It still has slots, so it is not forgotten; without them it is, for ever.
        check("has slots" in nodes[0].connect().error("CLUSTER", "FORGET", nodes[3].id), "a node with slots was forgotten")
        tool("reshard", nodes[1].address, "--cluster-from", nodes[3].id, "--cluster-to", nodes[1].id, "--cluster-slots", "40",
             "--cluster-yes")
        old = nodes[3].id
        tool("del-node", nodes[0].address, old)
        eventually_all(nodes[:3], lambda node: node.info()["cluster_known_nodes"] == "3", "it is forgotten")
        check_equal([int(many.get("key%d" % i)) for i in range(500)], list(range(500)))
        eventually(lambda: nodes[3].info()["cluster_known_nodes"] == "1", "it is alone", timeout=PATIENCE)
        check(nodes[3].id != old, "who was removed has another name")
        nodes[0].call("CLUSTER", "MEET", "127.0.0.1", str(nodes[3].port), str(nodes[3].bus_port))
        eventually_all(nodes, lambda node: node.info()["cluster_known_nodes"] == "4", "it may come again")


def test_one_node_introduces_all_others():
    with Nodes(4, formed=0, args=["--bind", "*"]) as nodes:
        for node in nodes[1:]:
            nodes[0].call("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(node.bus_port))
        eventually_all(nodes, lambda node: node.info()["cluster_known_nodes"] == "4", "all know each other")
        check_equal({line.split()[1].split(":")[0] for line in nodes[1].lines().values()}, {"127.0.0.1"})
        time.sleep(2)  # of pings
        check(not any("answers by TCP only" in node.log() for node in nodes), "datagrams do not arrive")


def test_a_node_joins_by_itself():
    with Nodes(3) as nodes:
        late = Node("--cluster-join", "%s@%d" % (nodes[1].address, nodes[1].bus_port))
        try:
            eventually_all(nodes + [late], lambda node: node.info()["cluster_known_nodes"] == "4", "it joined")
        finally:
            late.remove()


def test_clusters_do_not_merge():
    with Nodes(3) as one, Nodes(3) as other:
        one[0].call("CLUSTER", "MEET", "127.0.0.1", str(other[0].port), str(other[0].bus_port))
        eventually(lambda: "joins no other" in one[0].log(), "it was refused", timeout=PATIENCE)
        check_equal({node.info()["cluster_known_nodes"] for node in one + other}, {"3"})


class Writers(threading.Thread):
    """Counts up as many keys as there are, through a client of the cluster; keeps what was acknowledged."""

    def __init__(self, node, keys):
        super().__init__(daemon=True)
        self.many, self.keys, self.over = client(node), keys, False
        self.acknowledged, self.unsure, self.wrong = {key: 0 for key in keys}, 0, []
        self.start()

    def run(self):
        while not self.over:
            for key in self.keys:
                try:
                    self.acknowledged[key] = int(self.many.incr(key))
                except (RedisError, RedisClusterException) as error:
                    self.unsure += 1
                    if not str(error).startswith(("CLUSTERDOWN", "TRYAGAIN", "MOVED", "The cluster is down", "Slot \"",
                                                 "TTL exhausted")) and "onnect" not in str(error):
                        self.wrong.append(str(error))
                    time.sleep(0.02)

    def stop(self):
        self.over = True
        self.join()
        check_equal(self.wrong, [])


def test_slots_move_under_load():
    with Nodes(3) as nodes:
        connection = nodes[0].connect()
        check_equal(connection.error("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "1", "5", "5", "9", "NODE", nodes[1].id),
                    "ERR Slot 5 specified multiple times")
        check_equal(connection.error("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "16000", "16000", "NODE", nodes[1].id),
                    "ERR Slot 16000 is not served by this node")
        check_equal(connection.error("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "1", "1", "NODE", "nobody"), "ERR Unknown node nobody")
        writers = Writers(nodes[0], ["counter%d" % i for i in range(200)])
        before = nodes[0].slots()
        nodes[0].call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "0", "199", "NODE", nodes[1].id,
                      "SLOTSRANGE", "200", "399", "NODE", nodes[2].id)
        eventually(lambda: [dict(zip(*[iter(move)] * 2))[b"state"] for move in nodes[0].call("CLUSTER", "GETSLOTMIGRATIONS")] ==
                   [b"success"] * 2, "both moves are over", timeout=5 * PATIENCE)
        writers.stop()
        check_equal(nodes[0].slots(), before - 400)
        checked(nodes[2])
        many = client(nodes[1])
        for key, value in writers.acknowledged.items():
            check(value <= int(many.get(key)) <= value + writers.unsure, "%s: %d acknowledged" % (key, value))
        check(sum(writers.acknowledged.values()) > 0, "nothing was written")


def test_a_crash_while_slots_move():
    with Nodes(3) as nodes:
        writers = Writers(nodes[2], ["counter%d" % i for i in range(200)])
        for victim in (0, 1, 0):
            eventually(lambda: begin_move(nodes[0], 300, nodes[1]), "a move begins", timeout=PATIENCE)
            time.sleep(0.15)
            nodes[victim].child.send_signal(signal.SIGKILL)
            nodes[victim].child.wait()
            nodes[victim].start()
            eventually_all(nodes, lambda node: node.info()["cluster_state"] == "ok", "all serve again")
            eventually(lambda: all(dict(zip(*[iter(move)] * 2))[b"state"] in (b"success", b"failed", b"cancelled")
                                   for move in nodes[0].call("CLUSTER", "GETSLOTMIGRATIONS")), "the move is over",
                       timeout=5 * PATIENCE)
        writers.stop()
        eventually(lambda: sum(node.slots() for node in nodes) == 16384, "every slot has one owner", timeout=PATIENCE)
        checked(nodes[1])
        many = client(nodes[1])
        eventually(lambda: all(readable(many, key) for key in writers.keys), "all slots are served", timeout=PATIENCE)
        for key, value in writers.acknowledged.items():
            check(value <= int(many.get(key) or 0) <= value + writers.unsure, "%s: %d acknowledged" % (key, value))


def readable(many, key):
    """What was released before a crash is served again when the target has adopted it."""
    try:
        many.get(key)
        return True
    except (RedisError, RedisClusterException):
        return False


def begin_move(source, count, target):
    """Of its first slots; what it released before it was killed is still on its way, perhaps."""
    first, last = source.lines()[source.id].split()[8].split("-")
    last = min(int(last), int(first) + count - 1)
    return b"+OK" in source.connect().raw("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, str(last), "NODE", target.id)


def test_a_move_is_cancelled():
    with Nodes(3) as nodes:
        many = client(nodes[0])
        for i in range(2000):
            many.set("{tag}%d" % i, "v" * 2000)
        slot = int(nodes[0].call("CLUSTER", "KEYSLOT", "tag"))
        source = next(node for node in nodes if node.owns(slot))
        target = next(node for node in nodes if node != source)
        name = target.id
        target.child.send_signal(signal.SIGSTOP)
        try:
            source.call("CLUSTER", "SETSLOT", str(slot), "MIGRATING", name)
            check_equal(source.call("CLUSTER", "GETKEYSINSLOT", str(slot), "10"), [])
            waiting = source.connect()
            waiting.send(resp.encode(["CLUSTER", "SETSLOT", str(slot), "NODE", name]))
            check_equal(source.call("CLUSTER", "SETSLOT", str(slot), "STABLE"), b"OK")
            check_equal(waiting.read(), b"-ERR The slot was not moved: cancelled\r\n")
        finally:
            target.child.send_signal(signal.SIGCONT)
        check_equal(source.connect().error("CLUSTER", "CANCELSLOTMIGRATIONS"), "ERR No migrations ongoing")
        check_equal(len(source.call("CLUSTER", "GETKEYSINSLOT", str(slot), "10")), 10)
        check_equal(many.get("{tag}7"), b"v" * 2000)
        eventually(lambda: target.call("DBSIZE") == 0, "the target keeps nothing", timeout=PATIENCE)


def moves_of(node):
    return [dict(zip(*[iter(move)] * 2)) for move in node.call("CLUSTER", "GETSLOTMIGRATIONS")]


def last_state(node):
    return moves_of(node)[0][b"state"]


OVER = (b"success", b"failed", b"cancelled")


def all_hold_the_topology(nodes):
    """So that any one may end."""
    eventually_all(nodes, lambda node: b"topology_voters:3\r" in node.call("INFO", "cluster"), "three hold the topology")


def keys_in(slots, per_slot=1):
    """Names of keys, so many for each of the slots."""
    wanted, found = {slot: per_slot for slot in slots}, []
    for i in range(10 ** 7):
        name = "k%d" % i
        slot = key_slot(name.encode())
        if wanted.get(slot):
            wanted[slot] -= 1
            found.append(name)
            if len(found) == per_slot * len(slots):
                return found
    raise AssertionError("not enough names")


def move(source, target, first, last):
    source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", str(first), str(last), "NODE", target.id)


def moved(source, target, first, last):
    """Such a move to its end, begun again as long as the other side cannot."""
    def over():
        if target.owns(first) and target.owns(last):
            return True
        if not moves_of(source) or last_state(source) in OVER:
            source.connect().raw("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", str(first), str(last), "NODE", target.id)
        return False
    eventually(over, "the slots move", timeout=PATIENCE, pause=0.05)


def values(nodes, names):
    eventually_all(nodes, lambda node: node.info()["cluster_state"] == "ok", "all serve")
    many = client(nodes[0])
    eventually(lambda: all(readable(many, name) for name in names), "all can be read", timeout=PATIENCE)
    return [many.get(name) for name in names]


def test_nothing_is_given_away_before_it_is_on_disk():
    """A node may lose power within the second behind which it syncs, and all that it has not synced."""
    with WeakDisk() as disk, Nodes(3, weak=disk) as (source, target, third):
        names, many = keys_in(range(48), 5), client(source)
        for name in names:
            many.set(name, name)
        wanted = [name.encode() for name in names]
        # What the target has got is not on its disk: the source keeps it, and its clients do not wait.
        with disk.still(target):
            move(source, target, 0, 47)
            eventually(lambda: last_state(source) in OVER, "the move is over", timeout=PATIENCE)
            check_equal((last_state(source), moves_of(source)[0][b"longest_pause_ms"]), (b"failed", 0))
        check_equal((source.owns(0), many.get(names[0])), (True, wanted[0]))
        moved(source, target, 0, 47)
        target.kill()
        disk.lose_power(target)
        target.start()
        check_equal(values((source, target, third), names), wanted, "what came")
        # That it gives something up is not on its disk: nobody has taken it.
        eventually(lambda: source.call("DBSIZE") == 0, "the source has dropped it", timeout=PATIENCE)
        with disk.still(target):
            target.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "0", "15", "NODE", source.id)
            eventually(lambda: last_state(target) == b"failover-granted", "it is released", timeout=PATIENCE)
            time.sleep(1)
            check_equal((last_state(target), source.owns(0)), (b"failover-granted", False))
            target.kill()
            check(disk.lose_power(target) > 0, "nothing was lost")
        target.start()
        check_equal(values((source, target, third), names), wanted, "what stayed")
        check(target.owns(0), "it was the target's once")
        moved(target, source, 0, 15)
        check_equal(values((source, target, third), names), wanted, "all of it")
        eventually(lambda: sum(node.call("DBSIZE") for node in (source, target, third)) == len(names), "nothing is left over", timeout=PATIENCE)


def test_a_cluster_whose_machines_all_lost_power_goes_on_when_it_is_told_to():
    with WeakDisk() as disk, Nodes(3, weak=disk) as nodes:
        all_hold_the_topology(nodes)
        names, many = keys_in(range(0, 16384, 160)), client(nodes[0])
        for name in names:
            many.set(name, name)
        check_equal(nodes[0].connect().error("CLUSTER", "RECOVER", "ACCEPT-LOSS"), "ERR Nothing to accept here: it has lost nothing")
        time.sleep(3)  # a log is synced every second
        for node in nodes:
            node.kill()
        for node in nodes:
            disk.lose_power(node)
            disk.boot(node)
            node.start()
        # Nobody knows what it lost, and nobody is left who could tell.
        eventually_all(nodes, lambda node: b"group_intact:0\r" in node.call("INFO", "cluster"), "none counts")
        check(nodes[0].connect().raw("GET", names[0]).startswith(b"-"), "it serves")
        check_equal(nodes[0].connect().error("CLUSTER", "RECOVER", "LOSS"), "ERR syntax error")
        # A leader might come that lets them in.
        check(nodes[-1].connect().raw("CLUSTER", "RECOVER", "ACCEPT-LOSS").startswith(b"-ERR Nothing to accept here: there may be a leader"),
              "it is taken at once")
        for node in nodes:
            eventually(lambda: node.connect().raw("CLUSTER", "RECOVER", "ACCEPT-LOSS") == b":1\r\n", "it is accepted", timeout=PATIENCE)
        check_equal(values(nodes, names), [name.encode() for name in names])
        eventually_all(nodes, lambda node: b"group_intact:1\r" in node.call("INFO", "cluster"), "all count")


def test_a_target_that_never_comes_back_leaves_the_slots_to_the_source():
    with WeakDisk() as disk, Nodes(3, args=["--cluster-require-full-coverage", "no"], weak=disk) as (source, target, third):
        all_hold_the_topology((source, target, third))
        names = keys_in(range(16), 5)
        for name in names:
            source.call("SET", name, name)
        with disk.still(source):
            move(source, target, 0, 15)
            eventually(lambda: last_state(source) == b"failover-granted", "it is released", timeout=PATIENCE)
            check(source.connect().raw("GET", names[0]).startswith(b"-TRYAGAIN"), "it is served")
            target.kill()
        one = source.connect()
        eventually(lambda: one.raw("GET", names[0]).startswith(b"$"), "the source serves them again", timeout=2 * PATIENCE)
        check_equal([one.call("GET", name).decode() for name in names], names)
        check_equal((last_state(source), moves_of(source)[0][b"message"]), (b"failed", b"the target did not adopt the slots"))
        # It does come back: nothing of it is the target's, and all of it can be moved elsewhere.
        target.start()
        eventually(lambda: target.call("DBSIZE") == 0, "the target keeps nothing", timeout=PATIENCE)
        check(source.owns(0) and not target.owns(0), "who has it")
        moved(source, third, 0, 15)
        check_equal(values((source, target, third), names), [name.encode() for name in names])


def test_a_target_adopts_what_its_source_cannot_ask_for_any_more():
    with Nodes(4, args=["--cluster-require-full-coverage", "no"]) as nodes:
        eventually(lambda: sum(b"topology_voters:3\r" in node.call("INFO", "cluster") for node in nodes) == 3, "three hold the topology",
                   timeout=PATIENCE)
        governors = [node for node in nodes if b"topology_voters:3\r" in node.call("INFO", "cluster")]
        source, target = governors[0], next(node for node in nodes if node not in governors)
        first = int(source.lines()[source.id].split()[8].split("-")[0])
        names = keys_in(range(first, first + 16), 3)
        for name in names:
            source.call("SET", name, name)
        for node in governors[1:]:
            node.child.send_signal(signal.SIGSTOP)
        try:
            move(source, target, first, first + 15)
            eventually(lambda: "are not adopted yet" in source.log(), "the target was asked", timeout=PATIENCE)
            source.kill()
            target.kill()
            target.start()
        finally:
            for node in governors[1:]:
                node.child.send_signal(signal.SIGCONT)
        one = target.connect()
        eventually(lambda: one.raw("GET", names[0]).startswith(b"$"), "they are the target's", timeout=PATIENCE)
        check_equal([one.call("GET", name).decode() for name in names], names)
        source.start()
        eventually(lambda: source.call("DBSIZE") == 0 and not source.owns(first), "who comes back knows", timeout=PATIENCE)


def test_a_source_that_never_comes_back_leaves_the_target_free():
    with Nodes(3, args=["--cluster-require-full-coverage", "no"]) as (source, target, third):
        all_hold_the_topology((source, target, third))
        tag = "{%s}" % keys_in([5])[0]
        for i in range(300):
            source.call("SET", tag + str(i), "v" * 100000)
        move(source, target, 0, 9)
        counting = target.connect()
        eventually(lambda: counting.call("CLUSTER", "COUNTKEYSINSLOT", "5") > 10, "keys come", timeout=PATIENCE, pause=0.001)
        source.kill()
        check(counting.raw("FLUSHALL").startswith(b"-TRYAGAIN"), "keys that come are nobody's to remove")
        eventually(lambda: counting.raw("FLUSHALL") == b"+OK\r\n", "it is free", timeout=2 * PATIENCE)
        source.start()
        eventually_all((source, target, third), lambda node: node.info()["cluster_state"] == "ok", "all serve")
        check_equal((source.owns(0), source.call("DBSIZE"), target.call("DBSIZE")), (True, 300, 0))
        moved(source, target, 0, 9)
        check_equal(len(client(third).get(tag + "299")), 100000)


def test_slots_move_to_a_node_that_is_full():
    """What it evicts of them meanwhile is no more than what it would have evicted a moment later."""
    with Nodes(3) as (source, target, _):
        value = "v" * 1000
        for name in keys_in(range(64), 20):
            source.call("SET", name, value)
        filler = target.connect()
        filler.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        used = next(int(line.split(b":")[1]) for line in filler.call("INFO", "memory").splitlines() if line.startswith(b"used_memory:"))
        filler.call("CONFIG", "SET", "maxmemory", str(used + 1_000_000))
        tag = next("{%s}" % name for name in ("t%d" % i for i in range(10 ** 6)) if target.owns(key_slot(name.encode())))
        filler.pipeline([("SET", tag + str(i), value) for i in range(3000)])
        move(source, target, 0, 63)
        eventually(lambda: last_state(source) in OVER, "it is over", timeout=PATIENCE)
        check_equal((last_state(source), moves_of(source)[0][b"message"]), (b"success", b""))
        stats = dict(line.split(b":") for line in target.call("INFO", "stats").splitlines() if b":" in line)
        check(int(stats[b"evicted_keys"]) > 1000, "nothing was evicted")


def test_a_slot_that_came_back_goes_where_the_second_move_says():
    with Nodes(3) as (source, one, other):
        move(source, one, 0, 3999)
        eventually(lambda: one.owns(15), "the first ones have gone", timeout=PATIENCE, pause=0.01)
        moved(one, source, 3, 3)
        check(last_state(source) not in OVER, "it does not go on")
        move(source, other, 3, 3)
        eventually(lambda: all(move[b"state"] in OVER for move in moves_of(source)), "both are over", timeout=3 * PATIENCE, pause=0.1)
        check_equal([(move[b"state"], move[b"slots_done"]) for move in moves_of(source)], [(b"success", 1), (b"success", 4000)])
        check_equal((one.owns(3), other.owns(3), one.owns(4), one.owns(3999)), (False, True, True, True))
        checked(source)


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run("cluster of nodes: " + name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
