#!/usr/bin/python3
"""Clients that know no cluster, at one node of three: cluster-routing proxy, cluster-cross-slot fanout; and what a
cluster tells of its slots and nodes: SLOT-STATS, MIGRATION, names.

  cluster_clients.py [WORD...]     tests whose names hold a word
"""
import signal
import sys
import tempfile
import threading
import time

import redis
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

import resp
from cluster_nodes import PATIENCE, Node, Nodes, eventually_all
from server import Results, check, check_equal, eventually

PROXY = ("--cluster-routing", "proxy", "--cluster-cross-slot", "fanout")
KEYS = ["key:%d" % i for i in range(60)]  # of all three nodes


def plain(node, **options):
    return redis.Redis(port=node.port, socket_timeout=PATIENCE, **options)


def slot_of(key):
    return key_slot(key.encode())


def owner(nodes, key):
    for entry in nodes[0].call("CLUSTER", "SLOTS"):
        if entry[0] <= slot_of(key) <= entry[1]:
            return next(node for node in nodes if node.port == entry[2][1])
    raise AssertionError("nobody has the slot of " + key)


def key_of(nodes, node, prefix="mine"):
    """A hash tag whose slot is the node's."""
    return next(key for key in ("%s:%d" % (prefix, i) for i in range(10000)) if owner(nodes, key) is node)


def flush(nodes):
    for node in nodes:
        node.call("FLUSHALL")


def configure(nodes, name, value):
    for node in nodes:
        check_equal(node.call("CONFIG", "SET", name, value), b"OK")


# --- proxy -------------------------------------------------------------------------------------------------------


def test_without_it_clients_are_sent_away(nodes):
    configure(nodes, "cluster-routing", "redirect")
    try:
        away = key_of(nodes, nodes[1])
        check(nodes[0].connect().error("SET", away, "1").startswith("MOVED "), "MOVED is the default's answer")
    finally:
        configure(nodes, "cluster-routing", "proxy")


def test_every_family_reaches_its_data(nodes):
    flush(nodes)
    one = plain(nodes[0])
    for key in KEYS:
        check(one.set("s:" + key, key), "SET")
        check_equal(one.get("s:" + key), key.encode())
        check_equal(one.append("s:" + key, "x"), len(key) + 1)
        check_equal(one.rpush("l:" + key, "a", "b", "c"), 3)
        check_equal(one.lrange("l:" + key, 0, -1), [b"a", b"b", b"c"])
        check_equal(one.hset("h:" + key, mapping={"f": "1", "g": "2"}), 2)
        check_equal(one.hgetall("h:" + key), {b"f": b"1", b"g": b"2"})
        check_equal(one.sadd("t:" + key, "m"), 1)
        check_equal(one.zadd("z:" + key, {"m": 1.5}), 1)
        check_equal(one.zscore("z:" + key, "m"), 1.5)
        check_equal(one.xadd("x:" + key, {"f": "v"}, id="1-1"), b"1-1")
        check_equal(one.xrange("x:" + key), [(b"1-1", {b"f": b"v"})])
        check_equal(one.setbit("b:" + key, 7, 1), 0)
        check_equal(one.pfadd("p:" + key, "e"), 1)
        check_equal(one.geoadd("g:" + key, (13.4, 52.5, "berlin")), 1)
        check_equal(one.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "e:" + key, 5), 5)
        check_equal(one.object("encoding", "s:" + key), b"raw")
        check(one.expire("s:" + key, 1000), "EXPIRE")
        check_equal(one.type("z:" + key), b"zset")
    check_equal(one.execute_command("SPUBLISH", key_of(nodes, nodes[1]), "m"), 0)
    # Each key is at the node that has its slot, and nowhere else.
    for key in KEYS:
        at = owner(nodes, "s:" + key)
        check_equal(at.call("GET", "s:" + key), (key + "x").encode())
    check_equal(sum(node.call("DBSIZE") for node in nodes), 10 * len(KEYS))
    check(all(node.call("DBSIZE") > 0 for node in nodes), "all nodes have some")


def test_errors_and_replies_are_the_clients_own(nodes):
    away = key_of(nodes, nodes[2])
    old, new = nodes[0].connect(), nodes[0].connect()
    new.call("HELLO", "3")
    new.call("DEL", away)
    new.call("HSET", away, "f", "v")
    check_equal(old.raw("HGETALL", away), b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n")
    check_equal(new.raw("HGETALL", away), b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n")
    check_equal(old.raw("GET", away), b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n")
    check_equal(old.raw("HGET", away, "none"), b"$-1\r\n")
    check_equal(new.raw("HGET", away, "none"), b"_\r\n")
    check(old.error("SET", away).startswith("ERR wrong number of arguments"), "arity is looked at here")
    large = b"x" * 3_000_000
    check_equal(old.call("SET", away, large), b"OK")
    check_equal(old.call("GET", away), large)
    old.send(b"CLIENT REPLY OFF\r\nSET %s quiet\r\nCLIENT REPLY ON\r\n" % away.encode())
    check_equal(old.read(), b"+OK\r\n")
    check_equal(old.call("GET", away), b"quiet")


def test_pipelines_keep_their_order(nodes):
    flush(nodes)
    commands = []
    for i in range(1500):
        commands.append(("SET", KEYS[i % len(KEYS)], str(i)))
        commands.append(("GET", KEYS[i % len(KEYS)]))
        commands.append(("PING", str(i)))
    replies = nodes[0].connect().pipeline(commands)
    for i in range(1500):
        check_equal(replies[3 * i:3 * i + 3],
                    [b"+OK\r\n", b"$%d\r\n%d\r\n" % (len(str(i)), i), b"$%d\r\n%d\r\n" % (len(str(i)), i)], "pipeline")


def test_many_clients_at_once(nodes):
    """More than are asked at once."""
    flush(nodes)
    away = key_of(nodes, nodes[1])
    clients = [nodes[0].connect() for _ in range(700)]
    for one in clients:
        one.send(b"INCR %s\r\n" % away.encode() * 3)
    numbers = sorted(int(one.read()[1:-2]) for _ in range(3) for one in clients)
    check_equal(numbers, list(range(1, 2101)))
    for one in clients:
        one.close()


def test_transactions_go_whole(nodes):
    flush(nodes)
    away, other, here = key_of(nodes, nodes[1]), key_of(nodes, nodes[2]), key_of(nodes, nodes[0])
    one = nodes[0].connect()
    for key in (away, other, here):
        check_equal(one.call("MULTI"), b"OK")
        check_equal(one.call("INCR", key), b"QUEUED")
        check_equal(one.call("LPUSH", key, "x"), b"QUEUED")
        check_equal(one.call("GET", key), b"QUEUED")
        one.send(b"EXEC\r\n")
        reply = one.read()
        check(reply.startswith(b"*3\r\n:1\r\n-WRONGTYPE") and reply.endswith(b"$1\r\n1\r\n"), reply)
    check_equal(plain(nodes[0]).pipeline(transaction=True).set(away, "7").incr(away).execute(), [True, 8])
    # Not of two slots, nor with what is about this node.
    one.call("MULTI")
    one.call("INCR", away)
    check(one.error("INCR", other).startswith("MOVED "), "MULTI of two slots")
    check(one.error("EXEC").startswith("EXECABORT"), "EXECABORT")
    one.call("MULTI")
    one.call("PING")
    one.call("INCR", away)
    check(one.error("EXEC").startswith("MOVED "), "MULTI with PING")
    check_equal(one.call("GET", away), b"8")
    check(one.error("WATCH", away).startswith("MOVED "), "WATCH")
    check_equal(one.call("WATCH", here), b"OK")
    one.call("MULTI")
    check(one.error("INCR", away).startswith("MOVED "), "MULTI behind WATCH")
    one.call("DISCARD")
    one.call("HELLO", "3")
    one.call("CLIENT", "TRACKING", "ON")
    check(one.error("GET", away).startswith("MOVED "), "tracking")


def test_commands_that_wait(nodes):
    flush(nodes)
    away = key_of(nodes, nodes[1])
    one, other = nodes[0].connect(), nodes[0].connect()
    other.call("RPUSH", away, "a")
    check_equal(one.call("BLPOP", away, "0"), [away.encode(), b"a"])
    check_equal(one.call("BLPOP", away, "0.2"), None)
    one.send(b"BLPOP %s 0\r\n" % away.encode())
    time.sleep(0.1)
    other.call("RPUSH", away, "b")
    check(one.read().endswith(b"$1\r\nb\r\n"), "BLPOP")
    # "$" is where the stream was when the command came.
    stream = "{%s}s" % away
    one.send(b"XREAD BLOCK 0 STREAMS %s $\r\n" % stream.encode())
    time.sleep(0.3)
    other.call("XADD", stream, "5-1", "f", "v")
    check(b"5-1" in one.read(), "XREAD")
    # Who is gone takes nothing.
    gone = nodes[0].connect()
    gone.send(b"BLPOP %s 0\r\n" % away.encode())
    time.sleep(0.1)
    gone.close()
    time.sleep(0.2)
    other.call("RPUSH", away, "c")
    time.sleep(0.2)
    check_equal(other.call("LLEN", away), 1)


def test_one_hop_and_no_further(nodes):
    away = key_of(nodes, nodes[1])
    check_equal(nodes[1].call("CONFIG", "SET", "cluster-routing", "redirect"), b"OK")
    try:
        check(nodes[0].connect().error("SET", away, "1").startswith("MOVED "), "who does not serve others says so")
    finally:
        nodes[1].call("CONFIG", "SET", "cluster-routing", "proxy")
    info = nodes[0].info()
    check(int(info["cluster_commands_forwarded"]) > 0, info)
    check(int(nodes[1].info()["cluster_commands_served_for_others"]) > 0, "served")


def test_users_have_their_rights(_):
    rules = ("on", ">secret", "~*ok", "+@all", "-@dangerous")
    with tempfile.NamedTemporaryFile("w") as secret:
        secret.write("of all nodes, and of nobody else\n")
        secret.flush()
        with Nodes(3, args=(*PROXY, "--cluster-secret-file", secret.name)) as nodes:
            away = key_of(nodes, nodes[1])
            allowed = "{%s}ok" % away
            nodes[2].call("ACL", "SETUSER", "alice", *rules)
            known = lambda node: node.connect().raw("AUTH", "alice", "secret") == b"+OK\r\n"
            eventually_all(nodes[:2], known, "alice is known")
            one = nodes[0].connect()
            one.call("AUTH", "alice", "secret")
            check_equal(one.call("SET", allowed, "1"), b"OK")
            check(one.error("SET", away, "1").startswith("NOPERM"), "her keys")
            script = "return redis.call('SET', '%s', 'x')" % away
            check("can't access" in one.error("EVAL", script, "1", allowed), "a script has her rights there")
            check_equal(nodes[1].call("GET", away), None)
            nodes[1].call("ACL", "SETUSER", "alice", "off")
            eventually(lambda: one.error("SET", allowed, "1").startswith("NOPERM"), "who is off has none", timeout=PATIENCE)


def test_without_a_secret_strangers_gain_nothing(nodes):
    away = key_of(nodes, nodes[1])
    # Users are each node's own then: one of the same name is somebody else there.
    for node in nodes[:2]:
        node.call("ACL", "SETUSER", "alice", "on", ">secret", "~*", "+@all")
    one = nodes[0].connect()
    one.call("AUTH", "alice", "secret")
    try:
        check(one.error("SET", away, "1").startswith("MOVED "), "nothing runs for a name")
    finally:
        for node in nodes[:2]:
            node.call("ACL", "DELUSER", "alice")
    # With a password they could use the bus to get round it.
    nodes[1].call("CONFIG", "SET", "requirepass", "pw")
    try:
        check(nodes[0].connect().error("GET", away).startswith("MOVED "), "guarded")
    finally:
        login = nodes[1].connect()
        login.call("AUTH", "pw")
        login.call("CONFIG", "SET", "requirepass", "")


def test_an_unblocked_client_loses_nothing(nodes):
    away = key_of(nodes, nodes[1], "unblocked")
    other = nodes[1].connect()
    for turn in range(30):
        waiting = nodes[0].connect()
        number = waiting.call("CLIENT", "ID")
        waiting.send(resp.encode(["BLPOP", away, "0"]))
        time.sleep(0.01)
        other.call("RPUSH", away, str(turn))
        nodes[0].call("CLIENT", "UNBLOCK", str(number))
        got = resp.plain(resp.tree(waiting.read(PATIENCE)))
        left = other.call("LPOP", away)
        check_equal([got[1] if got else None, left].count(str(turn).encode()), 1)


def test_a_reply_that_cannot_be_handed_on(nodes):
    away = key_of(nodes, nodes[1])
    one = nodes[0].connect()
    before = nodes[1].call("INFO", "clients")
    for _ in range(20):
        check("none that nodes hand on" in one.error("EVAL", "return redis.status_reply(string.rep('x', 70000))", "1", away), "the error")
    eventually(lambda: connected(nodes[1].call("INFO", "clients")) <= connected(before), "no session stays", timeout=PATIENCE)


def connected(text):
    return int(text.split(b"connected_clients:")[1].split(b"\r")[0])


class Counters(threading.Thread):
    """Counts keys up through one node; keeps what was acknowledged and what may have happened."""

    def __init__(self, node, number):
        super().__init__()
        self.node, self.keys = node, ["count:%d:%d" % (number, i) for i in range(60)]
        self.acknowledged = dict.fromkeys(self.keys, 0)
        self.open = dict.fromkeys(self.keys, 0)
        self.errors = []
        self.ending = False

    def run(self):
        one = plain(self.node)
        while not self.ending:
            for key in self.keys:
                try:
                    one.incr(key)
                    self.acknowledged[key] += 1
                except ResponseError as error:
                    self.errors.append(str(error))
                    if str(error).startswith("UNCERTAIN"):
                        self.open[key] += 1
                except RedisError as error:
                    self.errors.append(str(error))
                    self.open[key] += 1

    def check(self, nodes):
        for key in self.keys:
            value = int(owner(nodes, key).call("GET", key) or 0)
            least, most = self.acknowledged[key], self.acknowledged[key] + self.open[key]
            check(least <= value <= most, "%s is %d, acknowledged %d, open %d" % (key, value, least, most - least))


def test_slots_move_under_writers(nodes):
    flush(nodes)
    writers = [Counters(node, number) for number, node in enumerate(nodes)]
    for writer in writers:
        writer.start()
    try:
        for source, target in ((0, 1), (1, 2), (2, 0)):
            first = next(int(word.split("-")[0]) for word in nodes[source].lines()[nodes[source].id].split()[8:])
            last = first + 31
            ranges = [str(first), str(last)]
            check_equal(nodes[source].call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", nodes[target].id),
                        b"OK")
            eventually_all(nodes, lambda node, first=first, last=last, target=target: all(
                nodes[target].id in (entry[2][2].decode() for entry in node.call("CLUSTER", "SLOTS")
                                     if entry[0] <= slot <= entry[1]) for slot in (first, last)), "moved")
    finally:
        for writer in writers:
            writer.ending = True
        for writer in writers:
            writer.join()
    for writer in writers:
        check_equal(writer.errors, [], "clients that know no cluster are not told of moves")
        check(sum(writer.acknowledged.values()) > 0, "it wrote")
        writer.check(nodes)


def test_transactions_wait_for_slots_that_move(nodes):
    """An EXEC may wait at the node that has the slot while writes are held there, and find the slot gone."""
    flush(nodes)
    source, target, client = nodes
    first = int(source.lines()[source.id].split()[8].split("-")[0])
    tags = {}
    for i in range(10 ** 7):
        slot = slot_of("%d" % i)
        if first <= slot < first + 16 and slot not in tags:
            tags[slot] = "{%d}" % i
            if len(tags) == 16:
                break
    wrong, counts, over = [], {}, threading.Event()

    def count(number):
        one = nodes[number % 3].connect()
        keys = [tag + str(number) for tag in tags.values()]
        while not over.is_set():
            for key in keys:
                replies = one.pipeline([("MULTI",), ("INCR", key), ("INCR", key), ("EXEC",)])
                counts[key] = counts.get(key, 0) + 2
                if replies[-1] != b"*2\r\n:%d\r\n:%d\r\n" % (counts[key] - 1, counts[key]):
                    wrong.append((key, replies[1:]))
                    return

    threads = [threading.Thread(target=count, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            eventually_all(nodes, lambda node: str(first) not in (str(entry[0]) for entry in node.call("CLUSTER", "SLOTS")
                                                                  if entry[2][1] != source.port), "all know whose they are")
            check_equal(source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", str(first), str(first + 15), "NODE", target.id), b"OK")
            eventually(lambda: target.owns(first), "moved", timeout=PATIENCE)
            source, target = target, source
    finally:
        over.set()
        for thread in threads:
            thread.join()
    check_equal(wrong, [])
    check(sum(counts.values()) > 500, "hardly anything ran")
    for key, value in counts.items():
        check_equal(int(plain(client).get(key)), value)


# --- fan-out -----------------------------------------------------------------------------------------------------


def test_commands_of_several_slots(nodes):
    flush(nodes)
    one = plain(nodes[0])
    check(one.mset({key: "v" + key for key in KEYS}), "MSET")
    check_equal(one.mget(KEYS + ["none"] + KEYS[::-1]),
                [b"v" + key.encode() for key in KEYS] + [None] + [b"v" + key.encode() for key in KEYS[::-1]])
    check_equal(sum(node.call("DBSIZE") for node in nodes), len(KEYS))
    check_equal(one.exists(*KEYS, KEYS[0], "none"), len(KEYS) + 1)
    check_equal(one.touch(*KEYS, "none"), len(KEYS))
    check_equal(one.delete(*KEYS[:20], "none"), 20)
    check_equal(one.unlink(*KEYS), len(KEYS) - 20)
    check_equal(sum(node.call("DBSIZE") for node in nodes), 0)
    one.rpush(KEYS[0], "a list")
    check_equal(one.mget(KEYS[:3]), [None, None, None])
    crossing = "CROSSSLOT Keys in request don't hash to the same slot"
    raw = nodes[0].connect()
    check_equal(raw.error("SUNION", KEYS[0], KEYS[1]), crossing)
    raw.call("MULTI")
    check_equal(raw.error("DEL", KEYS[0], KEYS[1]), crossing)
    check(raw.error("EXEC").startswith("EXECABORT"), "EXECABORT")
    check("CROSSSLOT" in raw.error("EVAL", "return redis.call('DEL', KEYS[1], KEYS[2])", "2", KEYS[0], KEYS[1]), "EVAL")
    raw.call("HELLO", "3")
    raw.call("DEL", KEYS[0])
    check_equal(raw.raw("MGET", KEYS[0], KEYS[1]), b"*2\r\n_\r\n_\r\n")


def test_fan_out_without_proxy(nodes):
    """Own slots only."""
    flush(nodes)
    configure(nodes, "cluster-routing", "redirect")
    try:
        own = [key for key in KEYS if owner(nodes, key) is nodes[0]]
        one = plain(nodes[0])
        check(one.mset(dict.fromkeys(own, "x")), "MSET")
        check_equal(one.exists(*own), len(own))
        check(nodes[0].connect().error("DEL", *KEYS).startswith("CROSSSLOT"), "keys of others")
        check_equal(one.exists(*own), len(own), "nothing was removed")
        configure(nodes, "cluster-cross-slot", "error")
        check(nodes[0].connect().error("DEL", *own).startswith("CROSSSLOT"), "off")
    finally:
        configure(nodes, "cluster-routing", "proxy")
        configure(nodes, "cluster-cross-slot", "fanout")


# --- statistics, moves, names ------------------------------------------------------------------------------------


def stats(node, *words):
    return {entry[0]: dict(zip(entry[1][::2], entry[1][1::2])) for entry in node.call("CLUSTER", "SLOT-STATS", *words)}


def test_slot_stats(nodes):
    flush(nodes)
    one = plain(nodes[0])
    for i in range(500):
        one.set("stat:%d" % (i % 400), "v")
    for node in nodes:
        told = stats(node, "SLOTSRANGE", "0", "16383")
        check_equal(len(told), node.slots(), "its own slots")
        check(all(list(values) == [b"key-count"] for values in told.values()), "keys alone")
        for slot in list(told)[::400]:
            check_equal(told[slot][b"key-count"], node.call("CLUSTER", "COUNTKEYSINSLOT", str(slot)))
        check_equal(sum(values[b"key-count"] for values in told.values()), node.call("DBSIZE"))
    at = nodes[1]
    key = key_of(nodes, at)
    slot = slot_of(key)
    raw = at.connect()
    check_equal(raw.error("CLUSTER", "SLOT-STATS", "ORDERBY", "cpu-usec"), "ERR Unrecognized sort metric for ORDERBY.")
    at.call("CONFIG", "SET", "cluster-slot-stats-enabled", "yes")
    try:
        for i in range(100):
            raw.call("SET", key, "12345")
            raw.call("GET", key)
        values = stats(at, "SLOTSRANGE", str(slot), str(slot))[slot]
        check_equal(values[b"key-count"], 1)
        line = b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$5\r\n12345\r\n" % (len(key), key.encode())
        read = b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key.encode())
        check_equal(values[b"network-bytes-in"], 100 * (len(line) + len(read)))
        check_equal(values[b"network-bytes-out"], 100 * (len(b"+OK\r\n") + len(b"$5\r\n12345\r\n")))
        check(values[b"cpu-usec"] > 0, values)
        order = [entry[0] for entry in raw.call("CLUSTER", "SLOT-STATS", "ORDERBY", "network-bytes-in", "LIMIT", "2")]
        check_equal(order[0], slot)
        check_equal(len(order), 2)
        up = [entry[1][1] for entry in raw.call("CLUSTER", "SLOT-STATS", "ORDERBY", "key-count", "ASC")]
        check_equal(up, sorted(up))
        at.call("CONFIG", "RESETSTAT")
        check_equal(stats(at, "SLOTSRANGE", str(slot), str(slot))[slot][b"network-bytes-in"], 0)
    finally:
        at.call("CONFIG", "SET", "cluster-slot-stats-enabled", "no")
    check_equal(raw.error("CLUSTER", "SLOT-STATS", "SLOTSRANGE", "5", "4"),
                "ERR Start slot number 5 is greater than end slot number 4")
    check(raw.error("CLUSTER", "SLOT-STATS", "ORDERBY", "key-count", "LIMIT", "0").startswith("ERR Limit"), "LIMIT")
    check(raw.error("CLUSTER", "SLOT-STATS", "ORDERBY", "key-count", "ASC", "DESC").startswith("ERR Multiple"), "twice")


def tasks(node, *which):
    return [dict(zip(entry[::2], entry[1::2])) for entry in node.call("CLUSTER", "MIGRATION", "STATUS", *which)]


def test_migration_import(nodes):
    flush(nodes)
    one = plain(nodes[0])
    key = key_of(nodes, nodes[1], "import")
    for i in range(100):
        one.set("{%s}%d" % (key, i), "v%d" % i)
    slot = slot_of(key)
    target, source = nodes[2], nodes[1]
    raw = target.connect()
    own = slot_of(key_of(nodes, target))
    check_equal(raw.error("CLUSTER", "MIGRATION", "IMPORT", str(own), str(own)),
                "ERR this node is already the owner of the slot range")
    check_equal(raw.error("CLUSTER", "MIGRATION", "IMPORT", "0", "16383"), "ERR slots belong to different source nodes")
    check_equal(raw.error("CLUSTER", "MIGRATION", "IMPORT", "9", "8"),
                "ERR start slot number 9 is greater than end slot number 8")
    check_equal(raw.error("CLUSTER", "MIGRATION", "STATUS", "SOME"), "ERR unknown argument")
    check_equal(tasks(target, "ID", "none"), [])
    name = raw.call("CLUSTER", "MIGRATION", "IMPORT", str(slot), str(slot))
    check_equal(len(name), 40)
    eventually(lambda: tasks(target, "ID", name)[0][b"state"] == b"completed", "it came", timeout=PATIENCE)
    task = tasks(target, "ALL")[0]
    check_equal([task[word] for word in (b"id", b"slots", b"source", b"dest", b"operation", b"last_error")],
                [name, b"%d" % slot, source.id.encode(), target.id.encode(), b"import", b""])
    check(0 < task[b"create_time"] <= task[b"end_time"], task)
    check_equal(tasks(source, "ID", name)[0][b"operation"], b"migrate")
    check(target.owns(slot), "the slot is the target's")
    check_equal(target.call("CLUSTER", "COUNTKEYSINSLOT", str(slot)), 100)
    check_equal([one.get("{%s}%d" % (key, i)) for i in range(100)], [b"v%d" % i for i in range(100)])
    check_equal(raw.call("CLUSTER", "MIGRATION", "CANCEL", "ID", name), 0)


def test_migration_cancel(nodes):
    flush(nodes)
    key = key_of(nodes, nodes[0], "cancel")
    slot = slot_of(key)
    nodes[0].connect().pipeline([("SET", "{%s}%d" % (key, i), "v" * 2000) for i in range(3000)])
    target, source = nodes[1], nodes[0]
    name = target.call("CLUSTER", "MIGRATION", "IMPORT", str(slot), str(slot))
    cancelled = target.call("CLUSTER", "MIGRATION", "CANCEL", "ALL")
    eventually(lambda: tasks(target, "ID", name)[0][b"state"] in (b"canceled", b"completed"), "over", timeout=PATIENCE)
    if cancelled:
        check_equal(tasks(target, "ID", name)[0][b"state"], b"canceled")
        check(source.owns(slot), "the slot stayed")
        check_equal(source.call("CLUSTER", "COUNTKEYSINSLOT", str(slot)), 3000)
        eventually(lambda: target.call("CLUSTER", "COUNTKEYSINSLOT", str(slot)) == 0, "nothing is left", timeout=PATIENCE)


def test_names(nodes):
    late = Node("--cluster-join", "localhost:%d@%d" % (nodes[1].port, nodes[1].bus_port), "--availability-zone", "zone-a",
                "--cluster-announce-hostname", "late.example")
    other = Node()
    try:
        eventually_all(nodes + [late], lambda node: node.info()["cluster_known_nodes"] == "4", "it joined by name")
        other.call("CLUSTER", "MEET", "localhost", str(nodes[2].port), str(nodes[2].bus_port))
        eventually_all(nodes + [other], lambda node: node.info()["cluster_known_nodes"] == "5", "it was met by name")
        check(b"availability_zone:zone-a" in late.call("INFO", "server"), "INFO")
        connection = late.connect()
        connection.call("HELLO", "3")
        check(b"availability_zone\r\n$6\r\nzone-a" in connection.raw("HELLO", "3"), "HELLO")
        check(b"availability_zone" not in nodes[0].connect().raw("HELLO", "3"), "only where it is set")
        # How the others are called is what the directive says.
        away = key_of(nodes, nodes[1])
        for kind, endpoint in (("ip", "127.0.0.1"), ("hostname", "?"), ("unknown-endpoint", "")):
            late.call("CONFIG", "SET", "cluster-preferred-endpoint-type", kind)
            check_equal(late.connect().error("GET", away),
                        "MOVED %d %s:%d" % (slot_of(away), endpoint, nodes[1].port))
        nodes[1].call("CONFIG", "SET", "cluster-announce-hostname", "one.example")
        late.call("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
        eventually(lambda: " one.example:" in late.connect().error("GET", away), "a name", timeout=PATIENCE)
        nodes[1].call("CONFIG", "SET", "cluster-announce-hostname", "")
    finally:
        for node in (late, other):
            id_of = node.id
            node.remove()
            nodes[0].call("CLUSTER", "FORGET", id_of)
        eventually_all(nodes, lambda node: node.info()["cluster_known_nodes"] == "3", "forgotten")


def test_the_owner_is_killed(nodes):
    flush(nodes)
    dead = nodes[2]
    away = key_of(nodes, dead)
    here = key_of(nodes, nodes[0])
    one = nodes[0].connect()
    check_equal(one.call("SET", away, "before"), b"OK")
    frozen = nodes[0].connect()
    dead.child.send_signal(signal.SIGSTOP)
    frozen.send(b"INCR {%s}n\r\n" % away.encode())
    time.sleep(0.2)
    dead.child.send_signal(signal.SIGKILL)
    dead.child.wait()
    check(frozen.read().startswith(b"-UNCERTAIN "), "a write that was sent may have happened")
    check(one.error("SET", away, "x").startswith("CLUSTERDOWN"), "one that was not has not")
    check(one.error("MGET", away, here).startswith("CLUSTERDOWN"), "fan-out")
    check_equal(one.call("SET", here, "x"), b"OK")
    dead.start()
    eventually(lambda: one.raw("GET", away) == b"$6\r\nbefore\r\n", "it is back", timeout=PATIENCE)
    check_equal(one.call("SET", away, "after"), b"OK")


def main():
    results = Results()
    words = sys.argv[1:]
    with Nodes(3, args=PROXY) as nodes:
        for name, test in list(globals().items()):
            if name.startswith("test_") and (not words or any(word in name for word in words)):
                results.run("clients of a cluster: " + name[5:].replace("_", " "), test, nodes)
    results.finish()


if __name__ == "__main__":
    main()
