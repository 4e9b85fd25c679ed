#!/usr/bin/python3
"""A cluster of one server, beside a real redis-server with --cluster-enabled yes that has all slots:
the same replies to the same commands, in RESP2 and RESP3. What we answer otherwise on purpose, and
what a cluster of Redis's has no counterpart for, follows in tests of its own.

  cluster_single.py [WORD...]     tests whose names hold a word
"""
import os
import re
import signal
import sys

import resp
from server import OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually, free_port

CLUSTER = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]


def cluster(binary, *more):
    """A server with a port for the bus that is free, too."""
    server = ServerUnderTest(binary, CLUSTER + ["--cluster-port", str(free_port()), *more])
    server.bus_port = int(server.connect().call("CONFIG", "GET", "cluster-port")[1])
    give_all_slots(server)
    return server


# A connection per group of lines; the database is empty at its beginning.
SAME = """
CLUSTER KEYSLOT a
CLUSTER KEYSLOT {a}b
CLUSTER KEYSLOT {}a
CLUSTER KEYSLOT a{b}{c}
CLUSTER KEYSLOT a{b
CLUSTER KEYSLOT
CLUSTER INFO
CLUSTER LINKS
CLUSTER REPLICAS nobody
CLUSTER SLAVES nobody
CLUSTER FOO
CLUSTER

SET a 1
MSET a 1 b 2
MSET {t}a 1 {t}b 2
MGET a b
MGET {t}a {t}b
DEL a {t}a
RENAME a b
RENAME {t}a {t}c
SINTERSTORE {t}s a b
EXISTS
ZUNIONSTORE z 2 z1 z2
ZUNIONSTORE {z}0 2 {z}1 {z}2
XREAD STREAMS a b 0 0
XREAD STREAMS {a}1 {a}2 0 0
LMPOP 2 a b LEFT
LMPOP x a b LEFT
BLPOP a b 0
BLPOP {a}1 {a}2 0.01
OBJECT ENCODING a
DBSIZE
WATCH a b
TOUCH a b
PFCOUNT a b
BITOP AND a b c
GEOSEARCHSTORE a b FROMLONLAT 1 1 BYRADIUS 1 m
LCS a b

MULTI
SET a 1
SET b 2
EXEC
GET a

MULTI
MSET a 1 b 2
SET c 1
EXEC
GET c

MULTI
PING
EXEC
MULTI
SET {x}1 1
SET {x}2 2
MGET {x}1 {x}2
EXEC
WATCH {x}1
MULTI
GET other
EXEC
MULTI
GET a
DISCARD
MULTI
GET b
EXEC
EXEC
MULTI
SET a 1
SELECT 1
EXEC
MULTI
EVAL "return redis.call('get','other')" 0
GET a
EXEC

SELECT 0
SELECT 1
SELECT 99
SELECT x
SELECT -1
SWAPDB 0 1
SWAPDB 0 0
MOVE a 1
MOVE a x
COPY {a}1 {a}2 DB 1
COPY {a}1 {a}2 DB 0
COPY a b
SORT a BY w_*
SORT a BY nosort
SORT a GET #
SORT a GET w_*
SORT_RO a BY w_*
SORT a STORE b
SORT a STORE {a}b
REPLICAOF NO ONE
REPLICAOF 127.0.0.1 1
FAILOVER
FAILOVER ABORT
READONLY
GET a
READWRITE
ASKING
GET a
CONFIG GET cluster-enabled
CONFIG GET databases

EVAL "return redis.call('set','a','1')" 1 a
EVAL "return redis.call('set','b','1')" 1 a
EVAL "return redis.call('mset','a','1','b','2')" 1 a
EVAL "return redis.call('get',KEYS[1])" 2 a b
EVAL "return redis.call('get',KEYS[1])" 2 {a}1 {a}2
EVAL "redis.call('set','a','1') return redis.call('get','b')" 0
EVAL "return redis.pcall('mget','a','b')" 0
EVAL "#!lua\\nreturn redis.call('get','b')" 1 a
EVAL "#!lua\\nredis.call('get','a') return redis.call('get','b')" 0
EVAL "#!lua flags=allow-cross-slot-keys\\nredis.call('get','a') return redis.call('get','b')" 0
EVAL "#!lua flags=allow-cross-slot-keys\\nreturn redis.call('mget','a','b')" 0
EVAL "#!lua flags=no-cluster\\nreturn 1" 0
EVAL_RO "return redis.call('get','b')" 1 a
EVALSHA 0000000000000000000000000000000000000000 2 a b
FUNCTION LOAD "#!lua name=l\\nredis.register_function('f',function(k) redis.call('get','a') return redis.call('get','b') end) redis.register_function{function_name='n',callback=function() return 1 end,flags={'no-cluster'}} redis.register_function{function_name='x',callback=function() redis.call('get','a') return redis.call('get','b') end,flags={'allow-cross-slot-keys'}}"
FCALL f 0
FCALL f 1 a
FCALL f 2 a b
FCALL n 0
FCALL x 0
MULTI
SET a 1
FCALL f 0
EXEC

SSUBSCRIBE a b
SUNSUBSCRIBE
SUNSUBSCRIBE a b

SPUBLISH a hello
SSUBSCRIBE {a}1 {a}2
SUNSUBSCRIBE {a}1 {a}2
SUBSCRIBE a b
UNSUBSCRIBE a b

FLUSHALL
SET {s}1 v
SET {s}2 v
EXPIRE {s}2 1000
RPUSH {s}3 v
CLUSTER COUNTKEYSINSLOT 11079
COPY {s}1 {s}4
DEL {s}2
CLUSTER COUNTKEYSINSLOT 11079
LPOP {s}3
CLUSTER COUNTKEYSINSLOT 11079
RENAME {s}1 {s}5
CLUSTER COUNTKEYSINSLOT 11079
CLUSTER COUNTKEYSINSLOT 0
CLUSTER COUNTKEYSINSLOT 16383
CLUSTER COUNTKEYSINSLOT 16384
CLUSTER COUNTKEYSINSLOT -1
CLUSTER COUNTKEYSINSLOT x
CLUSTER GETKEYSINSLOT 0 10
CLUSTER GETKEYSINSLOT 11079 0
CLUSTER GETKEYSINSLOT 11079 -1
CLUSTER GETKEYSINSLOT 16384 1
CLUSTER GETKEYSINSLOT -1 1
CLUSTER GETKEYSINSLOT x 1
CLUSTER GETKEYSINSLOT 1 x
CLUSTER GETKEYSINSLOT 99999 x
FLUSHDB
CLUSTER COUNTKEYSINSLOT 11079
"""


def ask(connection, *words):
    """The tree of the reply."""
    return resp.tree(connection.raw(*words))


def words_of(line):
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    return [quoted.replace("\\n", "\n") if quoted else plain for quoted, plain in words]


def pair():
    return cluster(OURS), cluster(REFERENCE)


def give_all_slots(server):
    connection = server.connect()
    if b"cluster_slots_assigned:0" in connection.call("CLUSTER", "INFO"):
        connection.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    eventually(lambda: b"cluster_state:ok" in connection.call("CLUSTER", "INFO"), "the cluster serves")


def replies_of(server, group, protocol):
    connection = server.connect(resp3=protocol == 3)
    found = []
    for line in group:
        words = words_of(line)
        replies = [resp.tree(connection.raw(*words))]
        # Confirmations of subscriptions are one per channel.
        if words[0] in ("SSUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE", "SUNSUBSCRIBE") and replies[0][0] != "-":
            replies.extend(resp.tree(connection.read()) for _ in words[2:])
        found.append((line, [without_epochs(reply) for reply in replies]))
    return found


def without_epochs(reply):
    """Ours are versions of the topology, and counted by elections; there is no setting them."""
    kind, payload = reply
    if isinstance(payload, bytes):
        payload = re.sub(rb"(cluster_(?:current|my)_epoch):\d+", rb"\1:<epoch>", payload)
    return kind, payload


def compare(protocol):
    ours, theirs = pair()
    different = []
    try:
        for group in SAME.strip().split("\n\n"):
            lines = group.split("\n")
            for server in (ours, theirs):
                replies_of(server, ["FLUSHALL"], 2)
            mine, its = replies_of(ours, lines, protocol), replies_of(theirs, lines, protocol)
            different += ["%s: got %r, expected %r" % (a[0], a[1], b[1]) for a, b in zip(mine, its) if a != b]
    finally:
        ours.stop()
        theirs.stop()
    check(not different, "\n".join(different))


def test_same_replies_in_resp2():
    compare(2)


def test_same_replies_in_resp3():
    compare(3)


def masked(reply, server, name):
    """The reply with the server's own ports and name replaced."""
    kind, payload = reply
    if isinstance(payload, list):
        return kind, [masked(item, server, name) for item in payload]
    if isinstance(payload, bytes):
        text = payload.replace(name, b"<id>").replace(b"%d" % server.bus_port, b"<bus>")
        text = re.sub(rb"(master - 0 0 )\d+", rb"\1<epoch>", text)
        return kind, text.replace(b"%d" % server.port, b"<port>")
    return kind, "<port>" if payload == server.port else payload


def described(server, protocol):
    connection = server.connect(resp3=protocol == 3)
    name = connection.call("CLUSTER", "MYID")
    check(re.fullmatch(rb"[0-9a-f]{40}", name), name)
    found = [masked(ask(connection, "CLUSTER", what), server, name) for what in ("SLOTS", "SHARDS", "NODES")]
    return found + [masked(ask(connection, "CLUSTER", "REPLICAS", name), server, name)]


def test_topology_has_the_same_form():
    for extra in ([], ["--cluster-announce-hostname", "here.example"],
                  ["--cluster-announce-hostname", "here.example", "--cluster-preferred-endpoint-type", "hostname"],
                  ["--cluster-preferred-endpoint-type", "hostname"],
                  ["--cluster-preferred-endpoint-type", "unknown-endpoint"]):
        with cluster(OURS, *extra) as ours, cluster(REFERENCE, *extra) as theirs:
            for protocol in (2, 3):
                for a, b in zip(described(ours, protocol), described(theirs, protocol)):
                    check_equal(a, b, "RESP%d %s" % (protocol, extra))


def test_who_announces_no_address_is_where_the_client_found_it():
    with ServerUnderTest(OURS, ["--cluster-enabled", "yes", "--bind", "*", "--cluster-port", str(free_port())]) as server:
        give_all_slots(server)
        connection = server.connect()
        check_equal(connection.call("CLUSTER", "SLOTS")[0][2][0], b"127.0.0.1")
        bus_port = int(connection.call("CONFIG", "GET", "cluster-port")[1])
        check(b" 127.0.0.1:%d@%d myself,master " % (server.port, bus_port)
              in connection.call("CLUSTER", "NODES"), "NODES")
        connection.call("CONFIG", "SET", "cluster-announce-ip", "10.1.1.1", "cluster-announce-port", "7")
        check_equal(connection.call("CLUSTER", "SLOTS")[0][2][:2], [b"10.1.1.1", 7])


def test_keys_of_slots():
    with cluster(OURS) as server:
        connection = server.connect()
        connection.pipeline([("SET", "{tag%d}%d" % (i % 3, i), "v") for i in range(3000)])
        slot = connection.call("CLUSTER", "KEYSLOT", "tag1")
        check_equal(connection.call("CLUSTER", "COUNTKEYSINSLOT", slot), 1000)
        found = connection.call("CLUSTER", "GETKEYSINSLOT", slot, "100000")
        check_equal(sorted(found), sorted(b"{tag1}%d" % i for i in range(1, 3000, 3)))
        check_equal(len(connection.call("CLUSTER", "GETKEYSINSLOT", slot, "7")), 7)


def test_members_that_are_listed_do_not_change():
    listed = ["--cluster-group", "127.0.0.1:7000@%d" % free_port(), "--cluster-group-member", "0"]
    with ServerUnderTest(OURS, CLUSTER + listed) as server:
        connection = server.connect()
        for line, why in (("MEET 127.0.0.1 7000", "the members are given by cluster-group"),
                          ("ADDSLOTS 1", "the leader serves all slots"),
                          ("SETSLOT 1 STABLE", "the leader serves all slots"),
                          ("FORGET x", "the members are given by cluster-group"),
                          ("RESET", "the members are given by cluster-group"),
                          ("BUMPEPOCH", "epochs are counted by elections")):
            check_equal(connection.error("CLUSTER", *line.split()),
                        "ERR CLUSTER %s is not available: %s" % (line.split()[0], why))


def test_the_mode_is_shown():
    with cluster(OURS, "--always-show-logo", "yes") as server:
        connection = server.connect()
        info = connection.call("INFO")
        check(b"redis_mode:cluster" in info and b"# Cluster\r\ncluster_enabled:1" in info, info)
        check("Running in cluster mode" in server.log(), server.log())
        greeting = connection.call("HELLO")
        check_equal(greeting[greeting.index(b"mode") + 1], b"cluster")
        connection.call("READONLY")
        check(b"flags=r" in connection.call("CLIENT", "INFO"), "flag r")
        connection.call("RESET")
        check(b"flags=N" in connection.call("CLIENT", "INFO"), "flag N")
    with ServerUnderTest(OURS) as server:
        connection = server.connect()
        for line in ("CLUSTER SLOTS", "CLUSTER HELP", "READONLY", "ASKING", "READWRITE"):
            check_equal(connection.error(*line.split()), "ERR This instance has cluster support disabled")


def refused(text, *args):
    server = ServerUnderTest(OURS, args, wait=False)
    try:
        check(server.wait_for_exit() != 0, "it started")
        check(text in server.log(), "the log does not say %r:\n%s" % (text, server.log()))
    finally:
        server.stop()


def test_contradictions_are_refused_at_start():
    three = "127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003"
    base = ["--cluster-enabled", "yes", "--cluster-group"]
    refused("cluster-group: 'b' has no port", *base, "a:1 b")
    refused("cluster-group has no member with the address of this server", *base, three)
    refused("write and read quorum together", *base, three, "--cluster-group-member", "1", "--cluster-read-quorum", "1")
    refused("cluster-replicas 1 means 2 members", *base, three, "--cluster-group-member", "1", "--cluster-replicas", "1")


def test_secret_file():
    with cluster(OURS, "--enable-protected-configs", "yes") as server:
        def secret(text, mode=0o600):
            path = os.path.join(server.dir, "cluster.secret")
            if os.path.exists(path):
                os.remove(path)
            with open(path, "w") as out:
                out.write(text)
            os.chmod(path, mode)
            return path

        connection = server.connect()
        set_to = lambda path: connection.error("CONFIG", "SET", "cluster-secret-file", path)
        check("a secret has 16 bytes at least" in set_to(secret("too short\n")), "a short secret was taken")
        check("more than 2 secrets" in set_to(secret("0123456789abcdef\n" * 3)), "three secrets were taken")
        check("chmod 600" in set_to(secret("0123456789abcdef", 0o644)), "a secret that everybody reads was taken")
        check("No such file" in set_to("/nowhere"), "a missing secret was taken")
        path = secret("the first of them\n")
        check_equal(connection.call("CONFIG", "SET", "cluster-secret-file", path), b"OK")
        secret("the first of them\nthe second of them\n")
        server.child.send_signal(signal.SIGHUP)
        server.wait_for_log("The cluster's secret was loaded again")
        secret("short")
        server.child.send_signal(signal.SIGHUP)
        server.wait_for_log("The cluster's secret stays as it was: Can't use " + path)
        check_equal(connection.call("PING"), b"PONG")
        refused("a secret has 16 bytes at least", *CLUSTER, "--cluster-secret-file", path)


def test_data_of_other_databases_is_refused():
    with ServerUnderTest(OURS) as server:
        connection = server.connect()
        connection.call("SELECT", "3")
        connection.call("SET", "k", "v")
        connection.call("SAVE")
        refused("database 3 holds 1 keys", "--dir", server.dir, *CLUSTER, "--cluster-port", str(free_port()))


def in_the_same_directory(server):
    more = ["--dir", server.dir, "--cluster-port", str(free_port())]
    return ServerUnderTest(OURS, CLUSTER + more)


def test_data_come_back_after_a_crash():
    with cluster(OURS) as server:
        connection = server.connect()
        connection.pipeline([("SET", "{t%d}%d" % (i % 5, i), "v") for i in range(2000)])
        name = connection.call("CLUSTER", "MYID")
        server.child.kill()
        server.child.wait()
        with in_the_same_directory(server) as again:
            connection = again.connect()
            eventually(lambda: b"cluster_state:ok" in connection.call("CLUSTER", "INFO"), "it serves again")
            check_equal(connection.call("CLUSTER", "MYID"), name)
            slot = connection.call("CLUSTER", "KEYSLOT", "t3")
            check_equal(connection.call("CLUSTER", "COUNTKEYSINSLOT", slot), 400)
            check_equal(connection.call("GET", "{t3}3"), b"v")


def test_a_node_begins_with_what_a_server_alone_had_saved():
    with ServerUnderTest(OURS) as server:
        connection = server.connect()
        connection.call("SET", "old", "1")
        connection.call("SAVE")
        server.child.kill()
        server.child.wait()
        for expected in (b"1", b"2"):  # only at the first start
            with in_the_same_directory(server) as node:
                if expected == b"1":
                    give_all_slots(node)
                eventually(lambda: b"cluster_state:ok" in node.connect().call("CLUSTER", "INFO"), "it serves")
                check_equal(node.connect().call("GET", "old"), expected)
                node.connect().call("SET", "old", "2")
                node.child.kill()
                node.child.wait()


def main():
    results = Results()
    words = sys.argv[1:]
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not words or any(word in name for word in words)):
            results.run("cluster of one: " + name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
