#!/usr/bin/python3
"""scripts/cluster: forms a cluster on this machine, shows it, ends it. It speaks the commands of Redis Cluster
only, so it is tried with redis-server.

  local_cluster.py [WORD...]     tests whose names hold a word
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from server import REFERENCE, ROOT, Results, check, check_equal, eventually, free_ports_in_a_row

sys.path.insert(0, os.path.join(ROOT, "scripts"))
import cluster_view  # noqa: E402

TOOL = os.path.join(ROOT, "scripts/cluster")


class Tool:
    """One directory for scripts/cluster; whatever runs there ends with it."""

    def __init__(self, nodes, replicas):
        self.count = nodes * (1 + replicas)
        self.base = free_ports_in_a_row(self.count)
        self.dir = tempfile.mkdtemp(prefix="quoll-cluster-")
        self.args = [TOOL, "--binary", "./" + os.path.basename(REFERENCE), "--dir", self.dir, "--nodes", str(nodes),
                     "--replicas", str(replicas), "--base-port", str(self.base)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(self.args + ["--stop"], stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *more, code=0):
        done = subprocess.run(self.args + list(more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False, cwd=os.path.dirname(REFERENCE))
        check_equal(done.returncode, code, "exit code of %s: %s%s" % (more, done.stdout, done.stderr))
        return done.stdout if code == 0 else done.stderr

    def pids(self):
        with open(os.path.join(self.dir, "cluster.json"), encoding="utf-8") as file:
            return json.load(file)["pids"]

    def alive(self):
        return [pid for pid in self.pids() if os.path.exists("/proc/%d/exe" % pid)]

    def call(self, number, *words):
        connection = cluster_view.Connection(self.base + number)
        try:
            return connection.call(*words)
        finally:
            connection.close()


def test_a_cluster_with_replicas_from_start_to_end():
    with Tool(3, 1) as tool:
        picture = tool.run("--detach")
        check("6 of 6 nodes answer, cluster ok, 16384 of 16384 slots" in picture, picture)
        for letter in "ABC":
            check("replica of " + letter in picture, picture)
        lines = picture.splitlines()
        check_equal(lines[1], "ring  " + "A" * 21 + "B" * 22 + "C" * 21)
        check_equal(lines[-1], "hand-overs: none")
        check_equal(len(tool.alive()), 6)
        check("6 of its processes run already" in tool.run("--detach", code=1), "it was started twice")

        os.kill(tool.pids()[4], signal.SIGKILL)
        eventually(lambda: "5 of 6 nodes answer" in tool.run("--once"), "a node that ended is not shown")
        check("does not answer" in tool.run("--once"), "a node that ended is not shown")
        check_equal(tool.run("--stop"), "5 processes ended\n")
        check_equal(tool.alive(), [])
        check("no cluster runs" in tool.run("--once", code=1), "a cluster that ended is shown")


def test_its_data_are_there_again():
    with Tool(3, 0) as tool:
        tool.run("--detach")
        owner = (cluster_slot("some key") * 3) // cluster_view.SLOTS
        check_equal(tool.call(owner, "SET", "some key", "v"), "OK")
        check_equal(tool.call(owner, "SAVE"), "OK")
        tool.run("--stop")
        tool.run("--detach")
        check_equal(tool.call(owner, "GET", "some key"), "v")
        tool.run("--stop")
        check("holds another cluster" in tool.run("--nodes", "4", code=1), "another plan was taken")


def cluster_slot(key):
    crc = 0
    for byte in key.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc % cluster_view.SLOTS


def test_slots_on_their_way_are_shown():
    with Tool(2, 0) as tool:
        tool.run("--detach")
        first, second = tool.call(0, "CLUSTER", "MYID"), tool.call(1, "CLUSTER", "MYID")
        tool.call(1, "CLUSTER", "SETSLOT", "7", "IMPORTING", first)
        tool.call(0, "CLUSTER", "SETSLOT", "7", "MIGRATING", second)
        picture = tool.run("--once")
        check("slot 7 to B:%d at %d" % (tool.base + 1, tool.base) in picture, picture)
        check("slot 7 from A:%d at %d" % (tool.base, tool.base + 1) in picture, picture)


def test_ctrl_c_ends_what_it_started():
    with Tool(2, 0) as tool:
        with subprocess.Popen(tool.args, stdout=subprocess.PIPE, text=True, cwd=os.path.dirname(REFERENCE)) as child:
            shown = ""
            while "2 of 2 nodes answer, cluster ok" not in shown:
                line = child.stdout.readline()
                check(line, "it ended:\n" + shown)
                shown += line
            check_equal(len(tool.alive()), 2)
            child.send_signal(signal.SIGINT)
            try:
                child.communicate(timeout=60)
            finally:
                child.kill()
            check_equal(child.returncode, 0)
        check_equal(tool.alive(), [])


def test_what_cannot_start_says_why_and_leaves_nothing():
    with Tool(2, 0) as tool:
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", tool.base + 1))
            taken.listen()
            text = tool.run("--detach", code=1)
            check("port %d ended at once" % (tool.base + 1) in text, text)
        check_equal(tool.alive(), [])
        check("a cluster has a node at least" in tool.run("--nodes", "0", code=1), "no nodes were taken")


def test_lines_of_cluster_nodes():
    line = ("07c37df 127.0.0.1:30004@31004,host,shard-id=1 myself,master - 0 1426238317239 4 connected 0-1 5 "
            "[93-<-292f8b3] [77->-e7d1eec]")
    member = cluster_view.Member(line)
    check_equal((member.port, member.slots, member.ranges), (30004, 3, [(0, 1), (5, 5)]))
    check_equal(member.open_slots, ["93-<-292f8b3", "77->-e7d1eec"])
    check_equal(cluster_view.Member("07c ::1:30004@31004 slave 12 0 0 4 disconnected").port, 30004)
    table = cluster_view.owners([member])
    check_equal(cluster_view.ring_text(table, ["A"], str), "." * 64)
    check_equal(cluster_view.size_text(1536), "1.5 KB")


if __name__ == "__main__":
    Results.run_module(globals(), 2)
