#!/usr/bin/python3
"""A cluster that places, grows, shrinks and heals by itself: slots go to who comes and away from who leaves,
under writers; parts of the dead go to the living.

  cluster_heals.py [WORD...]     tests whose names hold a word
"""
import signal
import time

from redis.crc import key_slot
from redis.exceptions import RedisClusterException, RedisError

from cluster_nodes import PATIENCE, Node, Nodes, Writers, checked, client, eventually_all
from server import Results, check, check_equal, eventually

SLOTS = 16384


def plan(node, *words):
    reply = dict(zip(*[iter(node.call("CLUSTER", "PLAN", *words))] * 2))
    reply[b"moves"] = [dict(zip(*[iter(move)] * 2)) for move in reply[b"moves"]]
    return reply


def moved(nodes):
    return sum(int(node.info()["cluster_rebalance_slots_moved"]) for node in nodes)


def balanced(nodes):
    return all(node.info()["cluster_rebalance_state"] == "balanced" for node in nodes)


def shares(nodes):
    return [node.slots() for node in nodes]


def join(nodes, *args):
    nodes.append(Node("--cluster-join", "%s@%d" % (nodes[0].address, nodes[0].bus_port), *args))
    eventually_all(nodes, lambda node: node.info()["cluster_known_nodes"] == str(len(nodes)), "it joined")


def check_written(writers, nodes):
    writers.over = True
    writers.join()
    # The client asks all nodes when some slots are nobody's, and they learn of a move one after the other.
    writers.wrong = [text for text in writers.wrong if "could not agree" not in text]
    writers.stop()
    many = client(nodes[0])
    for key, value in writers.acknowledged.items():
        check(value <= int(many.get(key)) <= value + writers.unsure, "%s: %d acknowledged" % (key, value))
    check(sum(writers.acknowledged.values()) > 0, "nothing was written")


def test_a_node_comes_weighs_and_leaves():
    args = ["--cluster-require-full-coverage", "no"]
    slots = 4096  # fewer than there are take less time to move
    with Nodes(1, formed=0, args=args) as nodes:
        for _ in range(2):
            join(nodes, *args)
        for node, first, last in zip(nodes, (0, 1365, 2731), (1364, 2730, slots - 1)):
            node.call("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        eventually_all(nodes, lambda node: node.info()["cluster_slots_assigned"] == str(slots), "all know of the slots")
        check_equal(plan(nodes[0])[b"text"], [b"nothing moves"])
        for node in nodes:
            node.call("CONFIG", "SET", "cluster-rebalance", "auto")
        keys = (b"counter%d" % i for i in range(10000))
        writers = Writers(nodes[0], [key.decode() for key in keys if key_slot(key) < slots][:100])
        join(nodes, "--cluster-rebalance", "auto", *args)
        wanted = plan(nodes[1])
        check_equal(wanted[b"slots_to_move"], 1024)
        check_equal({move[b"to"].decode() for move in wanted[b"moves"]}, {nodes[3].id})
        check_equal({move[b"why"] for move in wanted[b"moves"]}, {b"over-share"})
        check("has more than its share" in wanted[b"text"][0].decode(), wanted[b"text"])
        eventually(lambda: shares(nodes) == [1024] * 4, "all have their shares", timeout=2 * PATIENCE, pause=0.1)
        eventually(lambda: balanced(nodes), "all know", timeout=PATIENCE)
        eventually(lambda: moved(nodes) >= 1024, "all moves are over", timeout=PATIENCE)
        check_equal(moved(nodes), 1024)  # no slot twice
        check("Rebalancing: begins: 341 slots go from here" in nodes[0].log(), "the log does not say that it begins")
        eventually(lambda: "Rebalancing: complete: 341 slots" in nodes[0].log(), "the log says that it is complete", timeout=PATIENCE)
        # What it weighs is its share.
        least = plan(nodes[2], "WEIGHT", nodes[3].id, "150")[b"slots_to_move"]
        check_equal(least, slots * 150 // 450 - 1024)
        nodes[3].call("CONFIG", "SET", "cluster-weight", "150")
        eventually(lambda: nodes[3].slots() == 1024 + least, "it has what it weighs", timeout=2 * PATIENCE, pause=0.1)
        eventually(lambda: balanced(nodes), "all know", timeout=PATIENCE)
        eventually(lambda: moved(nodes) >= 1024 + least, "all moves are over", timeout=PATIENCE)
        check_equal(moved(nodes), 1024 + least)
        check(max(shares(nodes[:3])) - min(shares(nodes[:3])) <= 1, shares(nodes))
        # It leaves, and is gone; what it had is with the others.
        old = nodes[3].id
        gone = plan(nodes[1], "LEAVE", old)
        check_equal((gone[b"slots_to_move"], {move[b"why"] for move in gone[b"moves"]}), (1024 + least, {b"leaves"}))
        check_equal(nodes[1].call("CLUSTER", "LEAVE", old), b"OK")
        eventually(lambda: "leaving" in nodes[0].lines()[old].split()[2], "it is shown", timeout=PATIENCE)
        eventually_all(nodes[:3], lambda node: node.info()["cluster_known_nodes"] == "3", "it is gone")
        check_equal(sorted(shares(nodes[:3])), [1365, 1365, 1366])
        check_written(writers, nodes)
        eventually(lambda: nodes[3].info()["cluster_known_nodes"] == "1" and nodes[3].id != old, "it is new and alone", timeout=PATIENCE)
        check_equal(nodes[3].call("DBSIZE"), 0)
        check("this node has left" in nodes[3].log(), "its log does not say so")


def test_nothing_moves_unless_it_is_asked_for():
    with Nodes(3) as nodes:
        many = client(nodes[0])
        for i in range(3000):
            many.set("key%d" % i, "v" * 100)
        join(nodes)
        connection = nodes[0].connect()
        check_equal(nodes[0].info()["cluster_rebalance_state"], "unbalanced")
        check_equal(connection.error("CLUSTER", "REBALANCE", "NOW"), "ERR syntax error")
        check("syntax error" in connection.error("CLUSTER", "PLAN", "LEAVE"), "an id is wanted")
        check_equal(connection.error("CLUSTER", "PLAN", "WEIGHT", nodes[3].id, "1000001"), "ERR A weight is between 0 and 1000000")
        for node in nodes:
            node.call("CONFIG", "SET", "cluster-rebalance-throttle", "1")
        connection.call("CLUSTER", "REBALANCE", "START")
        # At a byte a second one move of each is all that there is for now.
        eventually(lambda: moved(nodes) > 0, "slots move", timeout=PATIENCE)
        check_equal(connection.call("CLUSTER", "REBALANCE", "STOP"), b"OK")
        eventually_all(nodes, lambda node: node.info()["cluster_rebalance_state"] == "unbalanced", "all know that it is over")
        some = 4096 - plan(nodes[1])[b"slots_to_move"]
        check(0 < some <= 3 * 64, "%d slots moved" % some)
        for node in nodes:
            node.call("CONFIG", "SET", "cluster-rebalance-throttle", "0")
        check_equal(nodes[2].call("CLUSTER", "REBALANCE", "START"), b"OK")
        # The node that was asked knows it at once; the others when they have heard of it.
        status = dict(zip(*[iter(nodes[2].call("CLUSTER", "REBALANCE", "STATUS"))] * 2))
        check_equal((status[b"mode"], status[b"ordered"]), (b"manual", b"yes"))
        # Who moves slots by hand comes first.
        nodes[0].call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "0", "31", "NODE", nodes[1].id)
        eventually(lambda: any("moved by hand" in node.call("CLUSTER", "INFO").decode() for node in nodes) or shares(nodes) == [4096] * 4,
                   "it waits, unless it is over", timeout=PATIENCE)
        eventually(lambda: shares(nodes) == [4096] * 4, "all have their shares", timeout=2 * PATIENCE, pause=0.1)
        eventually_all(nodes, lambda node: dict(zip(*[iter(node.call("CLUSTER", "REBALANCE", "STATUS"))] * 2))[b"ordered"] == b"no",
                       "the order is carried out")
        check_equal(sum(node.call("DBSIZE") for node in nodes), 3000)
        checked(nodes[3])


def test_who_leaves_may_stay_and_the_last_one_must():
    with Nodes(3) as nodes:
        one = nodes[0].connect()
        check_equal(one.error("CLUSTER", "LEAVE", "nobody"), "ERR Unknown node nobody")
        for node in nodes[1:]:
            node.call("CONFIG", "SET", "cluster-weight", "0")
        eventually(lambda: plan(nodes[0])[b"slots_to_move"] == SLOTS - nodes[0].slots(), "they weigh nothing", timeout=PATIENCE)
        check_equal(one.error("CLUSTER", "LEAVE"),
                    "ERR The slots of the node could go nowhere: no other group is there and has weight")
        nodes[1].call("CONFIG", "SET", "cluster-weight", "100")
        eventually(lambda: plan(nodes[0], "LEAVE", nodes[0].id)[b"slots_to_move"] > nodes[0].slots(), "it weighs something",
                   timeout=PATIENCE)
        check_equal(one.call("CLUSTER", "LEAVE"), b"OK")
        eventually(lambda: moved(nodes) > 0, "slots go", timeout=PATIENCE)
        check_equal(one.call("CLUSTER", "LEAVE", "CANCEL"), b"OK")
        eventually_all(nodes, lambda node: node.info()["cluster_leaving_nodes"] == "0", "it stays")
        eventually(lambda: nodes[0].info()["cluster_rebalance_state"] == "unbalanced", "nothing goes on", timeout=PATIENCE)
        check(nodes[0].slots() > 0, "it has no slots")
        # What was released is adopted after all.
        eventually(lambda: all(node.call("CLUSTER", "SLOTS") == nodes[0].call("CLUSTER", "SLOTS") for node in nodes), "all agree", timeout=PATIENCE)
        checked(nodes[1])


def fields(node):
    return dict(line.split(":") for line in node.call("INFO", "cluster").decode().splitlines() if ":" in line)


def holds_topology(node):
    return fields(node).get("topology_voters") == "3" and fields(node)["topology_changing"] == "0"


def three_vote(node):
    return fields(node)["group_voters"] == "3" and fields(node)["group_changing"] == "0"


def is_witness(node):
    return "is the witness of group" in node.log()


def test_parts_of_the_dead_go_to_the_living():
    args = ["--cluster-replace-after", "1"]
    with Nodes(3, args=args) as nodes:
        for _ in range(3):
            join(nodes, *args)
        # Three hold the topology; one of them dies.
        eventually(lambda: sum(map(holds_topology, nodes)) == 3, "three hold the topology", timeout=PATIENCE)
        # A replica for the first one, and a witness for the two.
        nodes[5].call("CLUSTER", "REPLICATE", nodes[0].id)
        eventually(lambda: three_vote(nodes[0]), "a group of three voters", timeout=PATIENCE)
        witness = next(filter(is_witness, nodes))
        victims = {witness, next(node for node in nodes[1:5] if holds_topology(node))}
        for victim in victims:
            victim.kill()
            alive = [node for node in nodes if node.child.poll() is None]
            eventually(lambda: sum(map(holds_topology, alive)) == 3, "three hold the topology again", timeout=PATIENCE, pause=0.1)
            eventually(lambda: any(map(is_witness, alive)), "another witness", timeout=PATIENCE, pause=0.1)
            eventually(lambda: three_vote(nodes[0]), "a group of three voters", timeout=PATIENCE)
        # They can do without the one that had the data.
        nodes[0].kill()
        eventually(lambda: "master" in nodes[5].lines()[nodes[5].id].split()[2], "the replica leads", timeout=PATIENCE, pause=0.1)
        # The topology changes as before.
        nodes[5].call("CONFIG", "SET", "cluster-weight", "77")
        eventually(lambda: plan(nodes[5])[b"slots_to_move"] > 0, "it weighs less", timeout=PATIENCE, pause=0.1)


def keys_of(node):
    """As far as it can tell: on its way to another group it cannot."""
    reply = node.connect().raw("DBSIZE")
    return int(reply[1:]) if reply.startswith(b":") else None


def serves(node, key, value):
    try:
        return client(node).get(key) == value
    except (RedisError, RedisClusterException, IndexError):  # the last: redis-py, where nobody leads
        return False


def test_a_witness_becomes_a_replica():
    with Nodes(1, formed=0) as nodes:
        nodes[0].call("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS - 1))
        for _ in range(2):
            join(nodes)
        many = client(nodes[0])
        for i in range(100):
            many.set("key%d" % i, i)
        nodes[1].call("CLUSTER", "REPLICATE", nodes[0].id)
        eventually(lambda: three_vote(nodes[0]) and is_witness(nodes[2]), "a witness beside two", timeout=PATIENCE, pause=0.1)
        nodes[2].call("CLUSTER", "REPLICATE", nodes[0].id)
        eventually(lambda: keys_of(nodes[2]) == 100 and three_vote(nodes[0]), "three with data vote", timeout=PATIENCE, pause=0.1)
        nodes[0].kill()
        eventually(lambda: any("master" in node.lines()[node.id].split()[2] for node in nodes[1:]), "one of them leads", timeout=PATIENCE,
                   pause=0.1)
        eventually(lambda: serves(nodes[1], "key7", b"7"), "it serves", timeout=PATIENCE)


def reads(node, key, value):
    """The node answers reads of its own, as a member with the data does."""
    reader = node.connect()
    reader.call("READONLY")
    return reader.raw("GET", key) == b"$%d\r\n%s\r\n" % (len(value), value)


def spare_replica_goes(back_at_once):
    args = ["--cluster-replace-after", "1", "--cluster-require-full-coverage", "no"]
    with Nodes(1, formed=0, args=args) as nodes:
        nodes[0].call("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        for _ in range(4):
            join(nodes, *args)
        nodes[1].call("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        nodes[2].call("CLUSTER", "REPLICATE", nodes[0].id)
        nodes[3].call("CLUSTER", "REPLICATE", nodes[1].id)
        nodes[4].call("CLUSTER", "REPLICATE", nodes[1].id)
        eventually_all(nodes[:2], three_vote, "groups of three voters")
        many = client(nodes[0])
        for i in range(200):
            many.set("key%d" % i, i)
        of_first, of_second = (next(i for i in range(200) if (key_slot(b"key%d" % i) < 8192) is first) for first in (True, False))
        nodes[2].kill()

        def replicas_of_first():
            return [node for node in nodes[3:] if nodes[0].id in node.lines()[node.id].split()[3]]
        eventually(lambda: len(replicas_of_first()) == 1, "one is to be a replica of the first", timeout=PATIENCE, pause=0.1)
        spare = replicas_of_first()[0]
        if back_at_once:
            nodes[2].start()
        eventually(lambda: reads(spare, "key%d" % of_first, b"%d" % of_first), "it has the data", timeout=PATIENCE, pause=0.1)
        eventually(lambda: three_vote(nodes[0]), "it votes", timeout=PATIENCE, pause=0.1)
        # The dead one comes back, as a replica of the other one.
        if not back_at_once:
            nodes[2].start()
        eventually(lambda: nodes[1].id in nodes[2].lines()[nodes[2].id].split()[3], "it is a replica of the other", timeout=PATIENCE, pause=0.1)
        eventually(lambda: reads(nodes[2], "key%d" % of_second, b"%d" % of_second), "it has its data", timeout=PATIENCE, pause=0.1)
        eventually(lambda: three_vote(nodes[1]), "and votes there", timeout=PATIENCE, pause=0.1)


def test_a_spare_replica_goes_where_one_died():
    spare_replica_goes(back_at_once=False)


def test_a_spare_replica_goes_though_the_dead_one_is_back():
    spare_replica_goes(back_at_once=True)


def follows(node, leader):
    return leader.lines()[node.id].split()[3] == leader.id


def is_empty_master(node):
    """As a node that has just come: it serves, and has no slots and no keys."""
    line = node.lines()[node.id].split()
    return line[2] == "myself,master" and line[3] == "-" and len(line) == 8 and keys_of(node) == 0


def takes_place(the_witness, back_at_once):
    """A replica dies where there is no spare one: a node without slots takes its place, be it the group's witness."""
    args = ["--cluster-replace-after", "1", "--cluster-require-full-coverage", "no"]
    with Nodes(1, formed=0, args=args) as nodes:
        nodes[0].call("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        for _ in range(3):
            join(nodes, *args)
        leader, dead = nodes[:2]
        dead.call("CLUSTER", "REPLICATE", leader.id)
        eventually(lambda: three_vote(leader), "a group of three voters", timeout=PATIENCE)
        eventually(lambda: sum(map(holds_topology, nodes)) == 3, "three hold the topology", timeout=PATIENCE)
        witness = next(filter(is_witness, nodes[2:]))
        empty, other = nodes[2:] if (nodes[2] is witness) == the_witness else reversed(nodes[2:])
        other.call("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        eventually_all(nodes, lambda node: node.info()["cluster_slots_assigned"] == str(SLOTS), "all know of the slots")
        many = client(leader)
        keys = ["key%d" % i for i in range(300) if key_slot(b"key%d" % i) < 8192]
        for key in keys:
            many.set(key, "old")
        eventually(lambda: keys_of(dead) == len(keys), "the replica has the keys", timeout=PATIENCE)
        dead.kill()
        for key in keys:
            many.set(key, "new")
        eventually(lambda: follows(empty, leader), "the empty one is to be the replica", timeout=PATIENCE, pause=0.1)
        if back_at_once:
            dead.start()
        eventually(lambda: reads(empty, keys[0], b"new") and keys_of(empty) == len(keys), "it has the data", timeout=PATIENCE, pause=0.1)
        eventually(lambda: three_vote(leader) and three_vote(empty), "it votes", timeout=PATIENCE, pause=0.1)
        if not back_at_once:
            dead.start()
        # The dead one has forgotten everything, and is as good as any other empty node.
        eventually(lambda: is_empty_master(dead), "it is an empty node", timeout=PATIENCE, pause=0.1)
        reader = dead.connect()
        reader.call("READONLY")
        check_equal(reader.raw("GET", keys[0]), b"-MOVED %d %s\r\n" % (key_slot(keys[0].encode()), leader.address.encode()))
        eventually(lambda: b"ERR" not in other.connect().raw("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "8192", "8192", "NODE", dead.id),
                   "a slot goes there", timeout=PATIENCE, pause=0.1)
        eventually(lambda: dead.owns(8192), "it has a slot", timeout=PATIENCE, pause=0.1)
        # They can do without the one that had the data when the other died.
        leader.kill()
        eventually(lambda: "master" in empty.lines()[empty.id].split()[2], "the new replica leads", timeout=PATIENCE, pause=0.1)
        for key in keys:
            eventually(lambda: empty.connect().raw("GET", key) == b"$3\r\nnew\r\n", "%s is there" % key, timeout=PATIENCE)


def test_an_empty_node_takes_the_place_of_a_dead_one():
    takes_place(the_witness=False, back_at_once=False)


def test_an_empty_node_takes_the_place_of_a_dead_one_that_is_back():
    takes_place(the_witness=False, back_at_once=True)


def test_a_witness_takes_the_place_of_a_dead_one():
    takes_place(the_witness=True, back_at_once=False)


def log_end(node):
    return int(fields(node)["group_log_last"])


def test_who_was_replaced_leads_until_the_new_one_can():
    """It comes back before the new one has the data, and the leader dies: nobody else has all that was written."""
    args = ["--cluster-replace-after", "1", "--cluster-require-full-coverage", "no"]
    with Nodes(1, formed=0, args=args) as nodes:
        nodes[0].call("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        for _ in range(3):
            join(nodes, *args)
        leader, back, *others = nodes
        back.call("CLUSTER", "REPLICATE", leader.id)
        eventually(lambda: three_vote(leader), "a group of three voters", timeout=PATIENCE)
        eventually(lambda: sum(map(holds_topology, nodes)) == 3, "three hold the topology", timeout=PATIENCE)
        empty = next(node for node in others if not is_witness(node))
        next(filter(is_witness, others)).call("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        many = client(leader)
        keys = ["key%d" % i for i in range(300) if key_slot(b"key%d" % i) < 8192]
        back.kill()
        for key in keys:
            many.set(key, "new")
        eventually(lambda: follows(empty, leader), "the empty one is to be the replica", timeout=PATIENCE)
        empty.child.send_signal(signal.SIGSTOP)
        back.start()
        eventually(lambda: log_end(back) == log_end(leader), "it has what was written", timeout=PATIENCE, pause=0.05)
        leader.kill()
        # Unless the new one votes already: then it is waited for.
        for _ in range(50):
            if fields(back)["group_leader"] == fields(back)["group_member"]:
                break
            time.sleep(0.1)
        empty.child.send_signal(signal.SIGCONT)
        for key in keys:
            eventually(lambda: empty.connect().raw("GET", key) == b"$3\r\nnew\r\n", "%s is there" % key, timeout=PATIENCE)
        # It is an empty node now, and takes the place of the one that was the leader.
        eventually(lambda: follows(back, empty) and three_vote(empty), "it is a replica again", timeout=PATIENCE, pause=0.1)
        eventually(lambda: reads(back, keys[0], b"new"), "it has the data again", timeout=PATIENCE, pause=0.1)


def test_a_lost_member_is_replaced_before_the_cluster_grows():
    args = ["--cluster-replace-after", "1", "--cluster-rebalance", "auto"]
    with Nodes(1, formed=0, args=args) as nodes:
        for _ in range(2):
            join(nodes, *args)
        leader, dead, other = nodes
        name = dead.id
        leader.call("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        other.call("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        dead.call("CLUSTER", "REPLICATE", leader.id)
        eventually(lambda: three_vote(leader), "a group of three voters", timeout=PATIENCE)
        dead.kill()
        eventually(lambda: "fail" in leader.lines()[name].split()[2].split(","), "the dead is known", timeout=PATIENCE)
        fresh = Node("--cluster-join", "%s@%d" % (other.address, other.bus_port), *args)
        nodes.append(fresh)
        eventually(lambda: fresh.info()["cluster_known_nodes"] == "4", "it joined", timeout=PATIENCE)
        eventually(lambda: follows(fresh, leader), "it is a replica", timeout=PATIENCE, pause=0.1)
        eventually(lambda: three_vote(leader) and three_vote(fresh), "it votes", timeout=PATIENCE, pause=0.1)
        check_equal(moved([leader, other]), 0)
        # The dead one is the next to have a share.
        dead.start()
        eventually(lambda: dead.slots() == 5461, "it has a share", timeout=2 * PATIENCE, pause=0.1)


if __name__ == "__main__":
    Results.run_module(globals(), 5)
