#!/usr/bin/python3
"""A cluster that places, grows, shrinks and heals by itself: slots go to who comes and away from who leaves,
under writers; parts of the dead go to the living.

  cluster_heals.py [WORD...]     tests whose names hold a word
"""
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
        status = dict(zip(*[iter(nodes[1].call("CLUSTER", "REBALANCE", "STATUS"))] * 2))
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
    except (RedisError, RedisClusterException):
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


if __name__ == "__main__":
    Results.run_module(globals(), 5)
