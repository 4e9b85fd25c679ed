#!/usr/bin/python3
"""What is the same on every node of a cluster: messages for subscribers, libraries of functions, users, rules of
keyspaces.

  cluster_shared.py [WORD...]     tests whose names hold a word
"""
import contextlib
import sys
import tempfile

from redis.crc import key_slot

import resp
from cluster_nodes import PATIENCE, Node, Nodes, client, eventually_all, tool
from server import Results, check, check_equal, eventually

LIBRARY = "#!lua name=%s\nredis.register_function('%s', function() return '%s' end)"


def library(name="lib", function="f", answer="one"):
    return LIBRARY % (name, function, answer)


def answers(node, function="f"):
    raw = node.connect().raw("FCALL", function, "0")
    return raw.split(b"\r\n")[1].decode() if raw.startswith(b"$") else raw[1:].strip().decode()


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


def test_libraries_are_the_same_everywhere():
    with Nodes(4, formed=3) as nodes:
        three = nodes[:3]
        check_equal(nodes[1].call("FUNCTION", "LOAD", library()), b"lib")
        check_equal(answers(nodes[1]), "one")
        eventually_all(three, lambda node: answers(node) == "one", "all have it")
        connection = nodes[0].connect()
        check_equal(connection.error("FUNCTION", "LOAD", library(answer="two")), "ERR Library 'lib' already exists")
        check_equal(connection.error("FUNCTION", "LOAD", library("other")), "ERR Function f already exists")
        check("Error compiling function" in connection.error("FUNCTION", "LOAD", "#!lua name=bad\nfunction("), "what does not compile")
        check_equal(connection.error("FUNCTION", "DELETE", "nothing"), "ERR Library not found")
        connection.call("MULTI")
        connection.raw("FUNCTION", "LOAD", "REPLACE", library(answer="two"))
        check(b"not changed in transactions" in connection.raw("EXEC"), "in a transaction nothing waits")
        check_equal(connection.call("FUNCTION", "LOAD", "REPLACE", library(answer="two")), b"lib")
        check_equal(nodes[2].call("FUNCTION", "LOAD", library("more", "g", "three")), b"more")
        eventually_all(three, lambda node: (answers(node), answers(node, "g")) == ("two", "three"), "all have both")
        # Killed, one and all.
        nodes[2].kill()
        nodes[1].call("FUNCTION", "DELETE", "more")
        nodes[2].start()
        # What it had on disk when it was killed may be older than both.
        gone = ("two", "ERR Function not found")
        eventually_all(three, lambda node: (answers(node), answers(node, "g")) == gone, "who was away hears of it")
        for node in three:
            node.kill()
        for node in three:
            node.start()
        check_equal([answers(node) for node in three], ["two"] * 3)
        eventually_all(three, lambda node: node.info()["cluster_state"] == "ok", "all serve")
        # Who joins has the cluster's, by the tool or by itself.
        nodes[3].call("FUNCTION", "LOAD", library("mine", "h"))
        check("already contains functions" in tool("add-node", nodes[3].address, nodes[0].address, code=1), "the tool's own check")
        nodes[0].call("CLUSTER", "MEET", "127.0.0.1", str(nodes[3].port), str(nodes[3].bus_port))
        eventually(lambda: answers(nodes[3]) == "two", "who joined has it", timeout=PATIENCE)
        check_equal(answers(nodes[3], "h"), "ERR Function not found")
        check("library 'mine' of this node is dropped" in nodes[3].log(), "the log says what it had")
        # All at once.
        dump = nodes[0].call("FUNCTION", "DUMP")
        check_equal(nodes[3].call("FUNCTION", "FLUSH"), b"OK")
        eventually_all(nodes, lambda node: answers(node) == "ERR Function not found", "none has it")
        check_equal(nodes[2].call("FUNCTION", "RESTORE", dump), b"OK")
        eventually_all(nodes, lambda node: answers(node) == "two", "all have it again")


def test_a_replica_takes_libraries_too():
    with Nodes(4, formed=3) as nodes:
        nodes[0].call("FUNCTION", "LOAD", library())
        tool("add-node", nodes[3].address, nodes[0].address, "--cluster-slave", "--cluster-master-id", nodes[1].id)
        eventually(lambda: answers(nodes[3]) == "one", "the replica has it", timeout=PATIENCE)
        eventually(lambda: nodes[3].lines()[nodes[3].id].split()[3] == nodes[1].id, "it follows", timeout=PATIENCE)
        check_equal(nodes[3].call("FUNCTION", "LOAD", "REPLACE", library(answer="two")), b"lib")
        eventually_all(nodes, lambda node: answers(node) == "two", "all have what was loaded at the replica")


def test_clients_that_tell_every_node():
    with Nodes(3) as nodes:
        many = client(nodes[0])
        many.function_load(library())
        check_equal([answers(node) for node in nodes], ["one"] * 3)
        many.function_delete("lib")
        check_equal([answers(node) for node in nodes], ["ERR Function not found"] * 3)
        many.function_load(library(answer="two"))
        check_equal([answers(node) for node in nodes], ["two"] * 3)
        tool("call", nodes[0].address, "ACL", "SETUSER", "bob", "on", ">secret", "+ping")
        check_equal([node.connect().call("AUTH", "bob", "secret") for node in nodes], [b"OK"] * 3)


def may_log_in(node, name, password):
    return node.connect().raw("AUTH", name, password) == b"+OK\r\n"


@contextlib.contextmanager
def cluster_secret():
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("of all nodes, and of nobody else\n")
        file.flush()
        yield ["--cluster-secret-file", file.name]


def test_users_without_a_secret_are_each_nodes_own():
    with Nodes(3) as nodes:
        check_equal(nodes[0].call("ACL", "SETUSER", "alice", "on", ">secret", "+ping"), b"OK")
        check(may_log_in(nodes[0], "alice", "secret"), "where it was said")
        nodes[0].call("FUNCTION", "LOAD", library())
        eventually(lambda: answers(nodes[1]) == "one", "what comes later is there", timeout=PATIENCE)
        check(not may_log_in(nodes[1], "alice", "secret"), "another node knows alice")
        check_equal(nodes[0].call("ACL", "DELUSER", "alice"), 1)


def test_users_are_the_same_everywhere():
    with cluster_secret() as args, Nodes(4, formed=3, args=args) as nodes:
        three = nodes[:3]
        check_equal(nodes[2].call("ACL", "SETUSER", "alice", "on", ">secret", "~a:*", "+get", "(~b:* +set)"), b"OK")
        check(may_log_in(nodes[2], "alice", "secret"), "at once where it was said")
        eventually_all(three, lambda node: may_log_in(node, "alice", "secret"), "alice may log in everywhere")
        check_equal(len({tuple(node.call("ACL", "LIST")) for node in three}), 1)
        check_equal(nodes[0].connect().error("ACL", "SETUSER", "alice", "+nothing"),
                    "ERR Error in ACL SETUSER modifier '+nothing': Unknown command or category name in ACL")
        # Who gives up a right is told so.
        check_equal(nodes[1].call("ACL", "SETUSER", "chief", "on", ">c", "+@all"), b"OK")
        chief = nodes[1].connect()
        chief.call("AUTH", "chief", "c")
        check_equal(chief.call("ACL", "SETUSER", "chief", "-acl"), b"OK")
        check(chief.error("ACL", "WHOAMI").startswith("NOPERM"), "the right is gone")
        check_equal(nodes[1].call("ACL", "DELUSER", "chief"), 1)
        # What is changed is what the cluster has of her.
        check_equal(nodes[1].call("ACL", "SETUSER", "alice", "+strlen"), b"OK")
        eventually_all(three, lambda node: b"+strlen" in b"".join(node.call("ACL", "LIST")), "her new rule is everywhere")
        check(all(node.call("ACL", "LIST")[0].count(b"(") == 1 for node in three), "rules are applied once")
        for node in three:
            node.kill()
        for node in three:
            node.start()
        check(all(may_log_in(node, "alice", "secret") for node in three), "after a crash of all")
        eventually_all(three, lambda node: node.info()["cluster_state"] == "ok", "all serve")
        # Who joins brings nobody along.
        nodes[3].call("ACL", "SETUSER", "mallory", "on", "nopass", "+@all", "~*")
        nodes[0].call("CLUSTER", "MEET", "127.0.0.1", str(nodes[3].port), str(nodes[3].bus_port))
        eventually(lambda: may_log_in(nodes[3], "alice", "secret"), "who joined has her", timeout=PATIENCE)
        check_equal(nodes[3].call("ACL", "USERS"), [b"alice", b"default"])
        check("user 'mallory' of this node is removed" in nodes[3].log(), "the log says who was there")
        # Removed, she is gone wherever she is.
        sessions = [node.connect() for node in nodes]
        for session in sessions:
            session.call("AUTH", "alice", "secret")
        check_equal(nodes[1].call("ACL", "DELUSER", "alice", "nobody", "alice"), 1)
        for session in sessions:
            check_equal(session.read_until_closed(PATIENCE), b"")
        eventually_all(nodes, lambda node: not may_log_in(node, "alice", "secret"), "she may log in nowhere")
        # The default user of all, too.
        check_equal(nodes[0].call("ACL", "SETUSER", "default", "resetpass", ">all"), b"OK")
        eventually_all(nodes, lambda node: b"-NOAUTH" in node.connect().raw("PING"), "no node is open")
        check(all(may_log_in(node, "default", "all") for node in nodes), "the password is everywhere")


class Guarded(Node):
    """By a password."""

    def connect(self):
        connection = super().connect()
        connection.raw("AUTH", "mine")
        return connection


def test_users_of_the_configuration_are_the_nodes_own():
    with cluster_secret() as args, Nodes(3, args=args) as nodes:
        own = Guarded("--requirepass", "mine", "--user", "bob", "on", ">bobs", "+@all", "~*", *args)
        try:
            inside = own.connect()
            nodes[0].call("ACL", "SETUSER", "bob", "on", ">theirs", "+ping")
            nodes[0].call("ACL", "SETUSER", "carol", "on", ">carols", "+ping")
            inside.call("CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port), str(nodes[0].bus_port))
            eventually(lambda: may_log_in(own, "carol", "carols"), "it has joined", timeout=PATIENCE)
            check(may_log_in(own, "bob", "bobs") and not may_log_in(own, "bob", "theirs"), "its own bob stays")
            check(b"-NOAUTH" in resp.Connection(own.port).raw("PING"), "it did not become open")
            check("user 'bob' of the configuration overrules" in own.log(), "the log says so")
            # Changed at the node he is the node's; elsewhere the cluster's.
            inside.call("ACL", "SETUSER", "bob", ">more")
            check(may_log_in(own, "bob", "more") and not may_log_in(nodes[0], "bob", "more"), "only there")
            check_equal(inside.call("ACL", "DELUSER", "bob", "carol"), 2)
            eventually_all(nodes, lambda node: not may_log_in(node, "carol", "carols"), "carol is gone everywhere")
            check(may_log_in(nodes[0], "bob", "theirs"), "the cluster's bob stays")
        finally:
            own.remove()


def test_keyspace_rules():
    with Nodes(4, formed=3) as nodes:
        leader = next(node for node in nodes[:3] if node.owns(12182))
        other = next(node for node in nodes[:3] if node is not leader)
        connection = other.connect()
        for words, error in [
                (("SET", "x", "PREFIX", "x:", "PROFILE", "eventual"), "ERR PROFILE eventual does not exist yet: all keyspaces are strong"),
                (("SET", "x", "PREFIX", "x:", "W", "2"), "ERR W 2 is more than the 1 members that a group has"),
                (("SET", "x", "PREFIX", "x:", "W", "some"), "ERR W must be a number of members, majority or all"),
                (("SET", "x", "W", "all"), "ERR A keyspace needs PREFIX, of 1 to 256 bytes"),
                (("SET", "x", "PREFIX", "x:", "CONFLICT", "siblings"), "ERR syntax error"),
                (("DEL", "x"), "ERR There is no keyspace of this name")]:
            check_equal(connection.error("CLUSTER", "KEYSPACE", *words), error)
        tool("add-node", nodes[3].address, leader.address, "--cluster-slave", "--cluster-master-id", leader.id)
        voters = lambda: b"group_voters:3" in leader.call("INFO", "cluster")
        eventually(voters, "leader, replica, witness", timeout=PATIENCE)
        check_equal(connection.call("CLUSTER", "KEYSPACE", "SET", "cart", "PREFIX", "{foo}cart:", "W", "all", "TIMEOUT", "500"), b"OK")
        check_equal(connection.error("CLUSTER", "KEYSPACE", "SET", "y", "PREFIX", "{foo}cart:"), "ERR The keyspace cart has this prefix")
        eventually_all(nodes, lambda node: len(node.call("CLUSTER", "KEYSPACE", "LIST")) == 1, "all know the rule")
        check_equal(leader.call("CLUSTER", "KEYSPACE", "LIST"),
                    [[b"name", b"cart", b"prefix", b"{foo}cart:", b"profile", b"strong", b"w", b"all", b"r", b"group", b"durability",
                      b"group", b"timeout", 500]])
        writer = leader.connect()
        eventually(lambda: writer.raw("SET", "{foo}cart:1", "v") == b"+OK\r\n", "all members take it", timeout=PATIENCE)
        check_equal(run(writer, ("SET", "{foo}cart:1", "v"), ("SET", "{foo}x", "v")), b"*2\r\n+OK\r\n+OK\r\n")
        # Without the replica what the rule asks for cannot be; others are written by two of three.
        nodes[3].kill()

        def refused(*words):
            return writer.raw(*words).split(b":")[0].split(b" ")[:2] in ([b"-CLUSTERDOWN", b"NOQUORUM"], [b"-UNCERTAIN", b"g0"])
        eventually(lambda: writer.raw("SET", "{foo}cart:1", "w") == b"-CLUSTERDOWN NOQUORUM slot 12182: 2 of 3\r\n",
                   "nothing is written", timeout=PATIENCE)
        check_equal(writer.call("SET", "{foo}other", "v"), b"OK")
        check_equal(writer.call("GET", "{foo}cart:1") is not None, True)
        check(refused("EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "{foo}cart:1"), "nor by a script")
        writer.call("MULTI")
        writer.call("SET", "{foo}other", "w")
        writer.call("SET", "{foo}cart:2", "w")
        check(refused("EXEC"), "nor in a transaction")
        check_equal(writer.call("GET", "{foo}other"), b"v")
        check_equal(connection.call("CLUSTER", "KEYSPACE", "DEL", "cart"), b"OK")
        eventually(lambda: writer.raw("SET", "{foo}cart:1", "w") == b"+OK\r\n", "without the rule it is", timeout=PATIENCE)


def test_files_hold_the_nodes_own_users():
    with tempfile.NamedTemporaryFile("w", suffix=".acl") as file:
        file.write("user default on nopass ~* &* +@all\nuser listed on >l ~* +@all\n")
        file.flush()
        with cluster_secret() as args, Nodes(1, formed=0, args=["--aclfile", file.name, *args]) as (node,):
            check_equal(node.call("ACL", "SETUSER", "made", "on", ">m", "+ping"), b"OK")
            check_equal(node.call("ACL", "SETUSER", "listed", ">more"), b"OK")
            check_equal(node.call("ACL", "SAVE"), b"OK")
            with open(file.name) as saved:
                check_equal([line.split()[1] for line in saved], ["default", "listed"])
            check_equal(node.call("ACL", "LOAD"), b"OK")
            node.kill()
            node.start()
            check(may_log_in(node, "made", "m") and may_log_in(node, "listed", "more"), "both are there again")


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run("shared by all nodes: " + name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
