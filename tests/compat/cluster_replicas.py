#!/usr/bin/python3
"""A cluster of nodes with replicas: redis-cli forms it, leaders are killed, and what was acknowledged
is there; the topology can be changed without any one of the nodes that hold it.

  cluster_replicas.py [WORD...]     tests whose names hold a word
"""
import os
import signal
import subprocess
import sys

import resp
from server import OURS, Results, ServerUnderTest, check, check_equal, eventually, free_port

PATIENCE = 60  # seconds, of a busy machine


class Cluster:
    """Nodes that know nothing of each other yet."""

    def __init__(self, count, *more):
        self.nodes = []
        self.more = more
        try:
            for _ in range(count):
                self.nodes.append(self.start())
        except BaseException as error:
            self.__exit__(type(error))
            raise

    def start(self, *args):
        return ServerUnderTest(OURS, ["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--cluster-port", str(free_port()),
                                      *self.more, *args])

    def __enter__(self):
        return self

    def __exit__(self, kind=None, *_):
        for node in self.nodes:
            node.stop(keep_log=kind is not None)

    def create(self, replicas=0):
        command = ["redis-cli", "--cluster", "create"]
        command += ["127.0.0.1:%d" % node.port for node in self.nodes]
        command += ["--cluster-replicas", str(replicas), "--cluster-yes"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE * 3)
        check_equal(done.returncode, 0, done.stdout.decode())

    def kill(self, node):
        os.kill(node.pid, signal.SIGKILL)
        node.child.wait()

    def alive(self):
        return [node for node in self.nodes if node.child.poll() is None]

    def node(self, port):
        return next(node for node in self.nodes if node.port == port)


def lines_of(node):
    """The fields of CLUSTER NODES by port."""
    lines = {}
    for line in node.connect().call("CLUSTER", "NODES").decode().splitlines():
        fields = line.split()
        lines[int(fields[1].split("@")[0].rsplit(":", 1)[1])] = fields
    return lines


def info(node, name):
    for line in node.connect().call("CLUSTER", "INFO").decode().splitlines():
        if line.startswith(name + ":"):
            return line.split(":")[1]
    return None


def settled(cluster):
    """Every node knows who leads whom, and every group of two has its witness."""
    for node in cluster.nodes:
        lines = lines_of(node)
        if len(lines) != len(cluster.nodes) or info(node, "cluster_state") != "ok":
            return False
        masters = {fields[0] for fields in lines.values() if "master" in fields[2]}
        slaves = [fields for fields in lines.values() if "slave" in fields[2]]
        if len(slaves) != len(cluster.nodes) // 2 or any(fields[3] not in masters for fields in slaves):
            return False
    return all(field(node, "group_voters") == 3 for node in cluster.nodes)


def field(node, name):
    """A number of INFO cluster; 0 where it is not."""
    for line in node.connect().call("INFO", "cluster").decode().splitlines():
        if line.startswith(name + ":"):
            return int(line.split(":")[1])
    return 0


def call(cluster, *words):
    """By whichever node serves it; an error that says so is tried again elsewhere."""
    for node in cluster.alive():
        try:
            reply = resp.tree(node.connect().raw(*words))
        except (OSError, resp.Closed, resp.NoReply):
            continue
        if reply[0] != "-":
            return reply
    return None


def test_any_governor_may_go():
    with Cluster(4) as cluster:
        cluster.create()
        eventually(lambda: [field(node, "topology_voters") for node in cluster.nodes].count(3) == 3,
                   "three hold the topology, and know it", PATIENCE, 0.1)
        founder = cluster.nodes[0]
        cluster.kill(founder)
        rest = cluster.alive()
        with cluster.start() as fresh:
            rest[0].connect().call("CLUSTER", "MEET", "127.0.0.1", str(fresh.port), config(fresh, "cluster-port"))
            for node in rest + [fresh]:
                eventually(lambda: len(lines_of(node)) == 5, "the topology changes", PATIENCE)


def config(node, name):
    return node.connect().call("CONFIG", "GET", name)[1].decode()


def test_replicas_take_over():
    with Cluster(6) as cluster:
        cluster.create(replicas=1)
        eventually(lambda: settled(cluster), "groups of three voters", PATIENCE * 2, 0.3)
        for i in range(300):
            check_equal(call(cluster, "SET", "key:%d" % i, "v%d" % i), ("+", b"OK"))
        lines = lines_of(cluster.nodes[0])
        slave = next(port for port, fields in lines.items() if "slave" in fields[2])
        master = next(port for port, fields in lines.items() if fields[0] == lines[slave][3])
        reader = cluster.node(slave).connect()
        reader.call("READONLY")
        eventually(lambda: reader.call("DBSIZE") == cluster.node(master).connect().call("DBSIZE"), "the replica has the data", PATIENCE, 0.1)
        for node in cluster.nodes:
            eventually(lambda: all(len(entry) == 4 for entry in node.connect().call("CLUSTER", "SLOTS")), "clients hear of replicas", PATIENCE, 0.1)
        cluster.kill(cluster.node(master))
        eventually(lambda: "master" in lines_of(cluster.node(slave))[slave][2], "the replica leads", PATIENCE, 0.1)
        for i in range(300):
            eventually(lambda: call(cluster, "GET", "key:%d" % i) == ("$", b"v%d" % i), "key:%d is there" % i, PATIENCE)
            eventually(lambda: call(cluster, "SET", "key:%d" % i, "again") == ("+", b"OK"), "key:%d is written" % i, PATIENCE)


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run("cluster with replicas: " + name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
