#!/usr/bin/python3
"""What becomes of a node's parts in groups: logs of its own that it begins, leaves and ends, whatever comes between.

  cluster_parts.py [WORD...]     tests whose names hold a word
"""
import contextlib
import os
import shutil
import time

import resp
from cluster_nodes import PATIENCE, Node, Nodes
from server import Results, ServerUnderTest, check, check_equal, eventually


def record_of(node):
    """The lines of the node's file, by their first words."""
    with open(os.path.join(node.dir, "nodes.conf"), "rb") as file:
        lines = file.read().split(b"\n")
    return {name.decode(): value.decode() for name, _, value in (line.partition(b" ") for line in lines[1:9])}


def parts_of(node):
    """Directories of its parts, as its file has them: by kind, 0 of the topology, 1 of keys, 2 a witness."""
    return {int(place.split(":")[0]): place.split(":")[4] for place in record_of(node)["places"].split()}


def home_of(node):
    return os.path.join(node.dir, record_of(node)["home"])


@contextlib.contextmanager
def away(node, kind):
    """Inside, the directory of the part has another name: what is open goes on, no file can be replaced there."""
    eventually(lambda: kind in parts_of(node), "its file names the part", timeout=PATIENCE)
    path = os.path.join(home_of(node), parts_of(node)[kind])
    os.rename(path, path + ".away")
    try:
        yield
    finally:
        os.rename(path + ".away", path)


def serves(node, key="key"):
    try:
        return node.call("SET", key, "value") == b"OK"
    except (RuntimeError, OSError, EOFError, resp.NoReply):
        return False


def founded(node):
    eventually(lambda: set(parts_of(node)) == {0, 1} and "topology 0" not in record_of(node)["topology"] and
               len(node.lines()) == 1, "it is founded", timeout=PATIENCE)
    eventually(lambda: try_call(node, "CLUSTER", "ADDSLOTS", "0") or node.owns(0), "it has a slot", timeout=PATIENCE)


def try_call(node, *words):
    try:
        return node.call(*words) == b"OK"
    except (RuntimeError, resp.NoReply):
        return False


def has_all_slots(node):
    eventually(lambda: try_call(node, "CLUSTER", "ADDSLOTSRANGE", "0", "16383"), "it has all slots", timeout=PATIENCE)
    eventually(lambda: serves(node), "it serves", timeout=PATIENCE)


def only_parts(node):
    return sorted(os.listdir(home_of(node))) == sorted(parts_of(node).values())


def test_a_crash_behind_a_reset():
    """The new node has nothing of the old one's, though that is not closed yet."""
    with Nodes(1, formed=0) as (node,):
        founded(node)
        before, old = node.id, parts_of(node)[1]
        with away(node, 1):
            check_equal(node.call("CLUSTER", "RESET", "HARD"), b"OK")
            node.kill()
        node.start()
        check(node.id != before, "it is a new node")
        check_equal(parts_of(node)[1], "group-" + node.id[:8])
        check(parts_of(node)[1] != old, "with a directory of its own")
        eventually(lambda: node.slots() == 0, "it has no slots")
        has_all_slots(node)


def test_who_was_reset_loads_no_old_file():
    """Nor when it is killed before its new group's log has begun."""
    with Nodes(1, formed=0) as (node,):
        has_all_slots(node)
        check_equal(node.call("SET", "from the file", "old"), b"OK")
        check_equal(node.call("SAVE"), b"OK")
        check_equal(node.call("FLUSHALL"), b"OK")
        before = node.id
        check_equal(node.call("CLUSTER", "RESET", "HARD"), b"OK")
        eventually(lambda: node.id != before and only_parts(node), "it is a new node", timeout=PATIENCE)
        node.kill()
        shutil.rmtree(os.path.join(home_of(node), parts_of(node)[1]))
        node.start()
        has_all_slots(node)
        check_equal(node.call("GET", "from the file"), None)


def test_a_group_that_cannot_begin_is_begun_later():
    with Nodes(2, formed=0) as (one, other):
        has_all_slots(one)
        check_equal(other.call("CLUSTER", "MEET", "127.0.0.1", one.port, one.bus_port), b"OK")
        eventually(lambda: len(other.lines()) == 2 and len(one.lines()) == 2, "it has joined", timeout=PATIENCE)
        # Where its log shall be is something else.
        group = next(place.split(":")[1] for place in record_of(one)["places"].split() if place.startswith("1:"))
        path = os.path.join(home_of(other), "group-%s-%s-1" % (parts_of(one)[0].split("-")[1], group))
        with open(path, "w"):
            pass
        eventually(lambda: try_call(other, "CLUSTER", "REPLICATE", one.id), "it is to be a replica", timeout=PATIENCE)
        eventually(lambda: os.path.basename(path) in other.log(), "it cannot begin", timeout=PATIENCE)
        os.remove(path)
        eventually(lambda: os.path.isdir(path) and other.call("DBSIZE") == one.call("DBSIZE") > 0, "it has the data", timeout=PATIENCE)
        check(serves(one), "the group serves")


def test_a_reset_while_the_group_is_being_changed():
    """What was on its way to take the old group's place does not come."""
    with Nodes(2, formed=0) as (one, other):
        has_all_slots(one)
        check_equal(other.call("CLUSTER", "MEET", "127.0.0.1", one.port, one.bus_port), b"OK")
        eventually(lambda: len(other.lines()) == 2 and len(one.lines()) == 2, "it has joined", timeout=PATIENCE)
        before = other.id
        with away(other, 1):
            eventually(lambda: try_call(other, "CLUSTER", "REPLICATE", one.id), "it is to be a replica", timeout=PATIENCE)
            eventually(lambda: "is a member of group" in other.log(), "its own group is being closed", timeout=PATIENCE)
            check_equal(other.call("CLUSTER", "RESET"), b"OK")
        eventually(lambda: other.id != before and parts_of(other)[1] == "group-" + other.id[:8], "it is a new node", timeout=PATIENCE)
        has_all_slots(other)
        eventually(lambda: only_parts(other), "nothing else is left", timeout=PATIENCE)


def test_a_shutdown_that_fails_ends_nothing():
    with Nodes(1, formed=0) as (node,):
        has_all_slots(node)
        for kind in (1, 0):
            with away(node, kind):
                reply = node.connect().raw("SHUTDOWN")
                check(reply.startswith(b"-ERR"), "part %d: %r" % (kind, reply))
            eventually(lambda: serves(node, "after-%d" % kind), "it serves on", timeout=PATIENCE)
            check(try_call(node, "CLUSTER", "DELSLOTS", "5"), "part %d: slots can be dropped:\n%s" % (kind, node.log()[-1500:]))
            eventually(lambda: try_call(node, "CLUSTER", "ADDSLOTS", "5"), "slots can be added", timeout=PATIENCE)
        with contextlib.suppress(resp.Closed, EOFError, OSError):
            node.connect().raw("SHUTDOWN")
        eventually(lambda: node.child.poll() is not None, "it ends", timeout=PATIENCE)
        node.start()
        for key in ("key", "after-1", "after-0"):
            eventually(lambda: node.connect().raw("GET", key) == b"$5\r\nvalue\r\n", "%s is there" % key, timeout=PATIENCE)


def test_nothing_is_left_of_parts_that_were_left():
    """On disk, once the others go on without them."""
    with Nodes(2, formed=0) as (one, other):
        has_all_slots(one)
        founded(other)
        check_equal(other.call("CLUSTER", "DELSLOTS", "0"), b"OK")
        alone = parts_of(other)
        check_equal(other.call("CLUSTER", "MEET", "127.0.0.1", one.port, one.bus_port), b"OK")
        eventually(lambda: len(other.lines()) == 2 and len(one.lines()) == 2, "it has joined", timeout=PATIENCE)
        eventually(lambda: not os.path.exists(os.path.join(home_of(other), alone[0])), "its own topology's log is gone", timeout=PATIENCE)
        eventually(lambda: try_call(other, "CLUSTER", "REPLICATE", one.id), "it is a replica", timeout=PATIENCE)
        eventually(lambda: parts_of(other)[1] != alone[1] and only_parts(other), "its own group's log is gone", timeout=PATIENCE)
        eventually(lambda: serves(one), "the group serves", timeout=PATIENCE)
        replica = parts_of(other)[1]
        check_equal(other.call("CLUSTER", "RESET"), b"OK")
        eventually(lambda: parts_of(other)[1] not in (replica, alone[1]) and only_parts(other), "nor is anything left of the cluster",
                   timeout=PATIENCE)
        check_equal(one.call("GET", "key"), b"value")


def test_who_was_a_replica_joins_another_cluster_alone():
    """The group that it did not begin is its own by then, and goes along."""
    with Nodes(4, formed=0) as (one, other, witness, third):
        has_all_slots(one)
        founded(third)
        check_equal(third.call("CLUSTER", "DELSLOTS", "0"), b"OK")
        for node in (other, witness):
            check_equal(node.call("CLUSTER", "MEET", "127.0.0.1", one.port, one.bus_port), b"OK")
        eventually(lambda: all(len(node.lines()) == 3 for node in (one, other, witness)), "they have joined", timeout=PATIENCE)
        eventually(lambda: try_call(other, "CLUSTER", "REPLICATE", one.id), "it is a replica", timeout=PATIENCE)
        eventually(lambda: serves(one) and "group_voters:3" in one.call("INFO", "cluster").decode(), "it votes", timeout=PATIENCE)
        for node, left in ((one, 2), (witness, 1)):
            eventually(lambda: try_call(node, "CLUSTER", "LEAVE"), "it leaves", timeout=PATIENCE)
            eventually(lambda: len(other.lines()) == left and serves(other), "%d are left" % left, timeout=2 * PATIENCE)
        check_equal(other.call("FLUSHALL"), b"OK")
        check_equal(other.call("CLUSTER", "MEET", "127.0.0.1", third.port, third.bus_port), b"OK")
        eventually(lambda: len(other.lines()) == 2 and len(third.lines()) == 2, "it has joined the other cluster", timeout=PATIENCE)
        eventually(lambda: serves(other), "it serves there", timeout=PATIENCE)
        check_equal(other.slots(), 16384)
        other.kill()
        other.start()
        eventually(lambda: serves(other), "it serves there after a restart", timeout=PATIENCE)


def test_a_founder_that_lost_its_group_founds_it_no_second_time():
    """Its data are gone, but not who it is: it is let in again by those who have them, and leads nobody before."""
    with Nodes(3, formed=0) as (one, other, third):
        has_all_slots(one)
        for node in (other, third):
            check_equal(node.call("CLUSTER", "MEET", "127.0.0.1", one.port, one.bus_port), b"OK")
        eventually(lambda: all(len(node.lines()) == 3 for node in (one, other, third)), "they have joined", timeout=PATIENCE)
        for node in (other, third):
            eventually(lambda: try_call(node, "CLUSTER", "REPLICATE", one.id), "it is a replica", timeout=PATIENCE)
        settled = lambda: all("group_voters:3" in node.call("INFO", "cluster").decode() and
                              "group_intact:1" in node.call("INFO", "cluster").decode() for node in (one, other, third))
        eventually(lambda: serves(one) and settled(), "all vote", timeout=PATIENCE)
        for number in range(100):
            check_equal(one.call("SET", "key:%d" % number, number), b"OK")
        lost = os.path.join(home_of(one), parts_of(one)[1])
        for node in (other, third):
            node.kill()
        one.kill()
        shutil.rmtree(lost)
        # What it would begin the group with: nothing of that is the group's.
        with ServerUnderTest(args=["--dir", one.dir]) as alone:
            check_equal(alone.connect().call("SET", "stale", "1"), b"OK")
            check_equal(alone.connect().call("SAVE"), b"OK")
        check(os.path.exists(os.path.join(one.dir, "dump.rdb")), "there is no dump.rdb")
        one.start()
        time.sleep(5)  # longer than an election of somebody alone takes
        check(not serves(one), "it leads a group of its own")
        for node in (other, third):
            node.start()
        eventually(lambda: serves(other) or serves(third), "who has the data leads", timeout=PATIENCE)
        leader = other if serves(other) else third
        check_equal([leader.call("GET", "key:%d" % number) for number in range(100)], [b"%d" % number for number in range(100)])
        eventually(settled, "it is let in", timeout=PATIENCE)
        eventually(lambda: one.call("DBSIZE") == leader.call("DBSIZE"), "it has the data", timeout=PATIENCE)
        reader = one.connect()
        reader.call("READONLY")
        check_equal(reader.call("EXISTS", "stale"), 0)


def test_what_was_agreed_on_before_a_crash_is_so():
    """A new node's slots, however early it was killed."""
    for pause in (0, 0, 0.01, 0.1):
        node = Node()
        try:
            id = node.id
            eventually(lambda: try_call(node, "CLUSTER", "ADDSLOTSRANGE", "0", "99"), "it has slots", timeout=PATIENCE, pause=0)
            time.sleep(pause)
            node.kill()
            node.start()
            check_equal(node.id, id)
            eventually(lambda: node.slots() == 100, "they are there again", timeout=PATIENCE)
        finally:
            node.remove()


if __name__ == "__main__":
    Results.run_module(globals(), 3)
