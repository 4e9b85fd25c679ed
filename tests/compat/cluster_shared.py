#!/usr/bin/python3
"""What is the same on every node of a cluster: messages for subscribers.

  cluster_shared.py [WORD...]     tests whose names hold a word
"""
import sys

from redis.crc import key_slot

import resp
from cluster_nodes import PATIENCE, Nodes, tool
from server import Results, check_equal, eventually

def subscriber(node, *words):
    connection = node.connect()
    connection.raw(*words)
    return connection


def heard(connection, count=1):
    """The texts of so many messages."""
    return [resp.plain(resp.tree(connection.read(PATIENCE)))[-1] for _ in range(count)]


def run(connection, *commands):
    """A transaction; the reply of EXEC."""
    connection.call("MULTI")
    for words in commands:
        check_equal(connection.call(*words), b"QUEUED")
    return connection.raw("EXEC")


def test_a_message_reaches_subscribers_of_all_nodes():
    with Nodes(3) as nodes:
        listeners = [subscriber(node, "SUBSCRIBE", "news") for node in nodes]
        patterns = [subscriber(node, "PSUBSCRIBE", "n*s") for node in nodes]
        for i, node in enumerate(nodes):
            # As in Redis: who received it here.
            check_equal(node.call("PUBLISH", "news", "hello %d" % i), 2)
        for one in listeners + patterns:
            check_equal(sorted(heard(one, 3)), [b"hello 0", b"hello 1", b"hello 2"])
        connection = nodes[0].connect()
        check_equal(run(connection, ("PUBLISH", "news", "from a transaction")), b"*1\r\n:2\r\n")
        check_equal(connection.call("EVAL", "return redis.call('PUBLISH', 'news', 'from a script')", "0"), 2)
        for i in range(1000):
            connection.send(resp.encode(["PUBLISH", "news", i]))
        for one in listeners + patterns:
            check_equal(heard(one, 1002), [b"from a transaction", b"from a script"] + [b"%d" % i for i in range(1000)])
        check_equal(nodes[1].info().get("cluster_publications_lost"), None)
        check_equal(nodes[0].info()["cluster_stats_messages_publish_sent"], str(2 * 1003))
        check_equal(nodes[1].info()["cluster_stats_messages_publish_received"], "1004")
        # Events are of the node where they happen.
        events = [subscriber(node, "PSUBSCRIBE", "__key*") for node in nodes]
        owner = next(node for node in nodes if node.owns(12182))
        owner.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
        owner.call("SET", "foo", "bar")
        nodes[0].call("PUBLISH", "__keys_end", "end")
        for node, one in zip(nodes, events):
            check_equal(heard(one)[0], b"set" if node is owner else b"end")
        # A large one, and a node that was away.
        nodes[2].kill()
        for _ in range(100):
            nodes[0].call("PUBLISH", "news", "x" * 100000)
        check_equal(heard(listeners[1], 100), [b"x" * 100000] * 100)
        nodes[2].start()
        again = subscriber(nodes[2], "SUBSCRIBE", "news")

        def back():
            nodes[0].call("PUBLISH", "news", "back")
            return again.read_for(0.2) != b""
        eventually(back, "who was away hears again", timeout=PATIENCE)


def test_shard_messages_stay_with_the_members_that_have_the_slot():
    with Nodes(4, formed=3) as nodes:
        leader = next(node for node in nodes[:3] if node.owns(12182))
        tool("add-node", nodes[3].address, leader.address, "--cluster-slave", "--cluster-master-id", leader.id)
        replica = nodes[3]
        eventually(lambda: replica.lines()[replica.id].split()[3] == leader.id, "it follows", timeout=PATIENCE)
        other = next(node for node in nodes[:3] if node is not leader)
        check_equal(other.connect().error("SSUBSCRIBE", "foo"), "MOVED 12182 %s" % leader.address)
        check_equal(other.connect().error("SPUBLISH", "foo", "x"), "MOVED 12182 %s" % leader.address)

        listeners = [subscriber(leader, "SSUBSCRIBE", "foo"), replica.connect()]
        eventually(lambda: listeners[1].raw("SSUBSCRIBE", "foo").startswith(b"*3"), "the replica has the slot", timeout=PATIENCE)
        check_equal(leader.call("SPUBLISH", "foo", "one"), 1)
        check_equal([heard(one) for one in listeners], [[b"one"]] * 2)
        check_equal(replica.call("SPUBLISH", "foo", "two"), 1)
        check_equal([heard(one) for one in listeners], [[b"two"]] * 2)
        check_equal(other.info().get("cluster_stats_messages_publish_received"), None)


def test_shard_channels_leave_with_their_slot():
    with Nodes(3) as nodes:
        source = next(node for node in nodes if node.owns(12182))
        target = next(node for node in nodes if node is not source)
        stays = source.lines()[source.id].split()[8].split("-")[0]
        listener = subscriber(source, "SSUBSCRIBE", "foo")
        tag = next(str(i) for i in range(1000000) if key_slot(b"%d" % i) == int(stays))
        listener.raw("SSUBSCRIBE", tag)
        check_equal(sorted(source.call("PUBSUB", "SHARDCHANNELS")), sorted([b"foo", tag.encode()]))
        check_equal(source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "12182", "12182", "NODE", target.id), b"OK")
        check_equal(resp.plain(resp.tree(listener.read(PATIENCE))), [b"sunsubscribe", b"foo", 1])
        check_equal(source.call("PUBSUB", "SHARDCHANNELS"), [tag.encode()])
        check_equal(source.connect().error("SSUBSCRIBE", "foo"), "MOVED 12182 %s" % target.address)
        eventually(lambda: target.owns(12182), "the slot is there", timeout=PATIENCE)
        there = subscriber(target, "SSUBSCRIBE", "foo")
        check_equal(target.call("SPUBLISH", "foo", "hello"), 1)
        check_equal(heard(there), [b"hello"])
        check_equal(source.call("SPUBLISH", tag, "still"), 1)
        check_equal(heard(listener), [b"still"])


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run("shared by all nodes: " + name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
