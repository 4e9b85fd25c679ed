#!/usr/bin/python3
"""CHANGES: every commit in order and at least once, resumed by position, across kill -9, rewrites and
full synchronizations; bounded memory; nobody waits for a reader.

  changes.py [WORD...]     tests whose names hold a word
"""
import os
import random

import resp
from persistence import Node, info
from server import OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually

ON = ["--save", "", "--changes-buffer-size", "1mb"]
SMALL = ["--save", "", "--changes-buffer-size", "32kb"]
LOG = ["--appendonly", "yes", "--appendfsync", "always"]


def read(connection, *options):
    """(position to go on from, [(position, [(database, event, key)])])"""
    position, commits = connection.call("CHANGES", "READ", *options)
    return position, [(commit[0], [tuple(change) for change in commit[1]]) for commit in commits]


def changes(connection, *options):
    return [change for _, told in read(connection, *options)[1] for change in told]


def read_all(connection, since, *options):
    """Everything behind a position, in as many replies as it takes."""
    found = []
    while True:
        since, commits = read(connection, "SINCE", since, *options)
        if not commits:
            return since, found
        found += commits


def stream(connection):
    reply = connection.call("CHANGES", "INFO")
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


def test_every_kind_of_change():
    with ServerUnderTest(args=ON) as server:
        one, two = server.connect(), server.connect()
        start, none = read(one)
        check_equal(none, [])
        for line in ("SET a 1", "GET a", "SET a 1 GET", "RPUSH l x", "LPOP l", "MSET b 1 c 2", "RENAME b d", "SETEX e 100 v", "DEL nosuch",
                     "HSET h f v", "SELECT 3", "SET a 3", "MOVE a 4", "SELECT 0", "COPY a f DB 5", "FLUSHDB", "SWAPDB 3 4", "FLUSHALL",
                     "EVAL redis.call('set','s1','v')redis.call('incr','s2') 0"):
            two.call(*line.split(" "))
        _, commits = read(one, "SINCE", start)
        told = [change for _, told in commits for change in told]
        check_equal(told, [(0, b"set", b"a"), (0, b"set", b"a"), (0, b"rpush", b"l"), (0, b"lpop", b"l"), (0, b"del", b"l"), (0, b"set", b"b"),
                           (0, b"set", b"c"), (0, b"rename_from", b"b"), (0, b"rename_to", b"d"), (0, b"set", b"e"), (0, b"expire", b"e"),
                           (0, b"hset", b"h"), (3, b"set", b"a"), (3, b"move_from", b"a"), (4, b"move_to", b"a"), (5, b"copy_to", b"f"),
                           (0, b"flushdb", None), (3, b"swapdb", None), (4, b"swapdb", None), (3, b"flushdb", None), (5, b"flushdb", None),
                           (0, b"set", b"s1"), (0, b"incrby", b"s2")])
        positions = [tuple(map(int, position.split(b"-"))) for position, _ in commits]
        check_equal(positions, sorted(set(positions)), "positions rise")
        check_equal(len(commits[-1][1]), 2, "a script is one commit")


def test_transaction_is_one_commit_and_never_split():
    with ServerUnderTest(args=ON) as server:
        one = server.connect()
        start, _ = read(one)
        one.pipeline([["MULTI"], ["SET", "a", "1"], ["RPUSH", "l", "1", "2"], ["DEL", "a"], ["EXEC"], ["SET", "b", "1"]])
        position, commits = read(one, "SINCE", start, "COUNT", "1")
        check_equal([told for _, told in commits], [[(0, b"set", b"a"), (0, b"rpush", b"l"), (0, b"del", b"a")]])
        check_equal(position, commits[0][0])
        check_equal(changes(one, "SINCE", position), [(0, b"set", b"b")])


def test_effects_make_the_same_data():
    """What the effects of a stream build in another server is what the first one holds."""
    with ServerUnderTest(args=["--save", "", "--changes-buffer-size", "64mb", "--enable-debug-command", "yes"]) as server, \
            ServerUnderTest(args=["--save", "", "--enable-debug-command", "yes"]) as other:
        one, copy = server.connect(), other.connect()
        start, _ = read(one)
        dice = random.Random(7)
        makers = [lambda k: ["SET", k, dice.random(), "EX", 10000], lambda k: ["INCRBYFLOAT", "n" + k, "0.5"], lambda k: ["SADD", "s" + k, *range(dice.randrange(1, 9))],
                  lambda k: ["SPOP", "s" + k, 2], lambda k: ["ZADD", "z" + k, dice.random(), "m"], lambda k: ["DEL", k, "n" + k],
                  lambda k: ["XADD", "x" + k, "*", "f", "v"], lambda k: ["RENAME", "z" + k, "y" + k], lambda k: ["HSET", "h" + k, "f", dice.random()]]
        one.pipeline([dice.choice(makers)(str(dice.randrange(50))) for _ in range(5000)])
        while True:
            start, commits = one.call("CHANGES", "READ", "SINCE", start, "EFFECTS", "COUNT", 700)
            if not commits:
                break
            for _, _, effects in commits:
                for database, line in effects:
                    check_equal(database, 0)
                    copy.raw(*line)
        check_equal(copy.call("DEBUG", "DIGEST"), one.call("DEBUG", "DIGEST"))


def test_prefix():
    with ServerUnderTest(args=ON) as server:
        one = server.connect()
        start, _ = read(one)
        one.pipeline([["MSET", "user:1", "v", "other", "v"], ["SET", "other", "v"], ["SET", "order:1", "v"], ["FLUSHDB"]])
        position, commits = read(one, "SINCE", start, "PREFIX", "user:", "PREFIX", "order:")
        check_equal([told for _, told in commits], [[(0, b"set", b"user:1")], [(0, b"set", b"order:1")], [(0, b"flushdb", None)]])
        one.call("SET", "other", "v")
        later, commits = read(one, "SINCE", position, "PREFIX", "user:")
        check(commits == [] and later != position, "what was for others is passed over: %r" % later)
        _, commits = one.call("CHANGES", "READ", "SINCE", start, "PREFIX", "order:", "EFFECTS")
        check_equal([commit[2] for commit in commits], [[[0, [b"SET", b"order:1", b"v"]]], [[0, [b"FLUSHDB"]]]])


def test_block():
    with ServerUnderTest(args=ON) as server:
        one, two = server.connect(), server.connect()
        start, _ = read(one)
        check_equal(read(one, "BLOCK", "10"), (start, []))
        one.send(resp.encode(["CHANGES", "READ", "BLOCK", "0", "PREFIX", "k"]))
        eventually(lambda: stream(two)[b"readers-blocked"] == 1, "it waits")
        two.call("SET", "other", "v")
        two.call("SET", "k", "v")
        position, commits = resp.plain(resp.tree(one.read()))
        check_equal([commit[1] for commit in commits], [[[0, b"set", b"k"]]])
        # What it has passed over counts, at the timeout and when it is unblocked.
        one.send(resp.encode(["CLIENT", "ID"]))
        client = resp.plain(resp.tree(one.read()))
        one.send(resp.encode(["CHANGES", "READ", "SINCE", position, "BLOCK", "0", "PREFIX", "k"]))
        eventually(lambda: stream(two)[b"readers-blocked"] == 1, "it waits")
        two.call("SET", "other", "v")
        last = stream(two)[b"last-position"]
        two.call("CLIENT", "UNBLOCK", client)
        check_equal(resp.plain(resp.tree(one.read())), [last, []])
        # Many readers of the same commit, one of which leaves.
        readers = [server.connect() for _ in range(50)]
        for reader in readers:
            reader.send(resp.encode(["CHANGES", "READ", "BLOCK", "0"]))
        eventually(lambda: stream(two)[b"readers-blocked"] == 50, "they wait")
        readers.pop().socket.close()
        eventually(lambda: stream(two)[b"readers-blocked"] == 49, "one left")
        two.call("SET", "k", "v")
        for reader in readers:
            check_equal(resp.plain(resp.tree(reader.read()))[1][0][1], [[0, b"set", b"k"]])


def test_arguments():
    with ServerUnderTest(args=ON) as server:
        one = server.connect()
        for line in ("SINCE", "SINCE x", "SINCE 1", "COUNT 0", "COUNT x", "COUNT -1", "BLOCK -1", "BLOCK x", "PREFIX", "NOSUCH", "EFFECTS x"):
            check(one.error("CHANGES", "READ", *line.split(" ")).startswith("ERR "), line)
        check(one.error("CHANGES", "READ", "SINCE", "5-5").startswith("TRIMMED "), "of another server")
        last = stream(one)[b"last-position"]
        ahead = b"%s-%d" % (last.split(b"-")[0], int(last.split(b"-")[1]) + 1)
        check(one.error("CHANGES", "READ", "SINCE", ahead).startswith("TRIMMED "), "ahead of the stream")
        check_equal(read(one, "SINCE", "$"), (last, []))
        one.call("MULTI")
        check("ERR" in one.error("CHANGES", "READ", "BLOCK", "0"), "in MULTI")
        one.call("DISCARD")
        check(one.error("EVAL", "return redis.call('CHANGES', 'READ')", "0"), "in a script")
        three = server.connect()
        three.raw("HELLO", "3")
        check(isinstance(three.call("CHANGES", "INFO"), dict), "a map")
        check(len(one.call("CHANGES", "HELP")) > 5, "help")
        one.call("CONFIG", "SET", "changes-buffer-size", "0")
        check("changes-buffer-size" in one.error("CHANGES", "READ"), "it is off")
        check_equal(stream(one)[b"enabled"], 0)


def test_off_and_on_is_a_gap():
    with ServerUnderTest(args=["--save", "", *LOG]) as server:
        one, two = server.connect(), server.connect()
        check("changes-buffer-size" in one.error("CHANGES", "READ"), "it is off")
        one.call("SET", "before", "v")
        one.call("CONFIG", "SET", "changes-buffer-size", "1mb")
        one.call("SET", "a", "v")
        check_equal(changes(one, "SINCE", "-"), [(0, b"set", b"a")])
        position, _ = read(one)
        two.send(resp.encode(["CHANGES", "READ", "BLOCK", "0"]))
        eventually(lambda: stream(one)[b"readers-blocked"] == 1, "it waits")
        one.call("CONFIG", "SET", "changes-buffer-size", "0")
        check(two.read().startswith(b"-"), "a reader of a stream that ends is told")
        one.call("SET", "unseen", "v")
        one.call("CONFIG", "SET", "changes-buffer-size", "1mb")
        check(one.error("CHANGES", "READ", "SINCE", position).startswith("TRIMMED "), "the gap is told")
        check_equal(changes(one, "SINCE", "-"), [])


def test_expiry_and_eviction():
    with ServerUnderTest(args=ON) as server:
        one = server.connect()
        start, _ = read(one)
        one.call("SET", "e", "v", "PX", "20")
        eventually(lambda: (0, b"expired", b"e") in changes(one, "SINCE", start), "the expiry")
        one.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        one.pipeline([["SET", "k%d" % i, "x" * 1000] for i in range(100)])
        start, _ = read(one)
        one.call("CONFIG", "SET", "maxmemory", "1")
        one.raw("SET", "k", "v")
        eventually(lambda: one.call("DBSIZE") == 0, "all is evicted")
        _, commits = read_all(one, start)
        told = [change for _, told in commits for change in told]
        check_equal(len([change for change in told if change[1] == b"evicted"]), 100, "evictions")


def test_window_is_bounded_and_too_old_is_told():
    with ServerUnderTest(args=SMALL) as server:
        one = server.connect()
        start, _ = read(one)
        used = int(info(one, "used_memory_overhead"))
        one.pipeline([["SET", "k", "x" * 100] for _ in range(20000)])
        state = stream(one)
        check(state[b"window-bytes"] <= 32 << 10, "the window is bounded: %r" % state)
        check(state[b"window-dropped-commits"] > 19000, "most went: %r" % state)
        error = one.error("CHANGES", "READ", "SINCE", start)
        check(error.startswith("TRIMMED ") and error.endswith(state[b"first-position"].decode()), error)
        check_equal(len(read_all(one, state[b"first-position"])[1]), state[b"window-commits"])
        check_equal(stream(one)[b"trimmed-replies"], 1)
        check(int(info(one, "used_memory_overhead")) - used < 1 << 20, "memory")
        one.call("SET", "great", b"x" * (1 << 20))
        check_equal(stream(one)[b"window-commits"], 0, "one that is larger than the window is not held")
        one.call("SET", "small", "v")
        check_equal(changes(one, "SINCE", "-"), [(0, b"set", b"small")])


def test_slow_reader_costs_nobody():
    """One who reads nothing of his replies, and one who waits: writes go on, memory stays."""
    with ServerUnderTest(args=["--save", "", "--changes-buffer-size", "4mb"]) as server:
        one, slow = server.connect(), server.connect()
        start, _ = read(one)
        one.pipeline([["SET", "k%d" % i, "x" * 1000] for i in range(2000)])
        slow.send(resp.encode(["CHANGES", "READ", "SINCE", start, "COUNT", "100000", "EFFECTS"]) * 20)
        for _ in range(20):
            one.pipeline([["SET", "k%d" % i, "x" * 1000] for i in range(2000)])
        check(stream(one)[b"window-bytes"] <= 4 << 20, "the window is bounded")
        check(int(info(one, "used_memory")) < 64 << 20, "memory: " + info(one, "used_memory"))
        check(one.error("CHANGES", "READ", "SINCE", start).startswith("TRIMMED "), "who is too slow is told")


def test_resume_after_kill():
    with Node(OURS, SMALL + LOG) as node:
        one = node.start().connect()
        start, _ = read(one)
        one.pipeline([["MULTI"], ["SET", "a", "1"], ["SELECT", "2"], ["SET", "b", "1"], ["EXEC"], ["SELECT", "0"], ["SET", "e", "v", "PX", "1"]])
        eventually(lambda: one.call("DBSIZE") == 1, "it expires")
        first, seen = read_all(one, start)
        one.call("SET", "c", "1")
        for round in range(3):
            node.kill()
            one = node.start().connect()
            one.call("SET", "d%d" % round, "1")
        expected = [(0, b"set", b"c")] + [(0, b"set", b"d%d" % i) for i in range(3)]
        check_equal(changes(one, "SINCE", first), expected, "behind what was seen before")
        _, again = read_all(one, start)
        check_equal(again[:len(seen)], seen, "the same from the files as from memory")
        check_equal([change for _, told in again[len(seen):] for change in told], expected)
        check_equal(read_all(one, start, "COUNT", "1")[1], again, "in pieces")
        check_equal(read_all(one, stream(one)[b"first-position"])[1], again, "from the oldest")
        check_equal(changes(one, "SINCE", start, "PREFIX", "d"), expected[1:])
        _, effects = one.call("CHANGES", "READ", "SINCE", start, "COUNT", "1", "EFFECTS")
        check_equal(effects[0][2], [[0, [b"SET", b"a", b"1"]], [2, [b"SET", b"b", b"1"]]])


def test_keys_that_expired_while_nobody_ran():
    """Their end belongs to the life that finds it, and has a position."""
    with Node(OURS, SMALL + LOG) as node:
        one = node.start().connect()
        start, _ = read(one)
        one.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        one.pipeline([["SET", "e%d" % i, "v", "PX", "1"] for i in range(3)])
        node.kill()
        one = node.start().connect()
        eventually(lambda: one.call("DBSIZE") == 0, "they expire")
        one.call("SET", "a", "1")
        node.kill()
        one = node.start().connect()
        told = [change for _, told in read_all(one, start)[1] for change in told]
        check_equal(sorted(set(change for change in told if change[1] == b"expired")), [(0, b"expired", b"e%d" % i) for i in range(3)])
        check_equal(told[-1], (0, b"set", b"a"))


def test_window_and_files_join():
    """A reader who is megabytes behind the window gets each commit once, while more are written."""
    with Node(OURS, SMALL + ["--appendonly", "yes"]) as node:
        one, two = node.start().connect(), node.connect()
        position, _ = read(one)
        written = keys = 0
        found = []
        while len(found) < 60000:
            if written < 60000:
                two.pipeline([["SET", "k%d" % i, "x" * 100] for i in range(written, written + 3000)])
                written += 3000
            position, commits = read(one, "SINCE", position, "COUNT", "2000", "BLOCK", "5000")
            check(commits, "nothing came behind %r" % position)
            found += [change[2] for _, told in commits for change in told]
        check_equal(found, [b"k%d" % i for i in range(60000)])
        check(stream(one)[b"window-dropped-commits"] > 50000, "most came from the files")
        check_equal(stream(one)[b"lag-commits-max"], 0)


def test_rewrite_trims():
    with Node(OURS, SMALL + LOG) as node:
        one = node.start().connect()
        start, _ = read(one)
        one.pipeline([["SET", "k", "x" * 100] for _ in range(2000)])
        check_equal(len(read_all(one, start)[1]), 2000)
        position, _ = read(one)
        rewrites = info(one, "aof_rewrites")
        one.call("BGREWRITEAOF")
        eventually(lambda: info(one, "aof_rewrites") != rewrites, "the rewrite")
        one.call("SET", "after", "v")
        check_equal(changes(one, "SINCE", position), [(0, b"set", b"after")])
        oldest = stream(one)[b"first-position"].decode()
        error = one.error("CHANGES", "READ", "SINCE", start)
        check(error.startswith("TRIMMED ") and error.endswith(oldest), error)
        node.kill()
        one = node.start().connect()
        check_equal(changes(one, "SINCE", position), [(0, b"set", b"after")], "the position is still good")
        check(one.error("CHANGES", "READ", "SINCE", start).startswith("TRIMMED "), "this one is not")


def test_without_a_log_positions_end_with_the_process():
    with Node(OURS, ON) as node:
        one = node.start().connect()
        one.call("SET", "a", "1")
        position, _ = read(one)
        node.kill()
        one = node.start().connect()
        check(one.error("CHANGES", "READ", "SINCE", position).startswith("TRIMMED "), "of an earlier life")


def test_lost_tail():
    """What a reader saw and a crash took back does not make him miss what came then."""
    with Node(OURS, ON + ["--appendonly", "yes", "--appendfsync", "no"]) as node:
        one = node.start().connect()
        one.call("SET", "a", "1")
        one.call("SET", "b", "1")
        position, _ = read(one)
        folder = os.path.join(node.dir, "appendonlydir")
        name = [name for name in os.listdir(folder) if name.endswith(".incr.aof")][0]
        with open(os.path.join(folder, name), "r+b") as log:

            def written():
                log.seek(0)
                return log.read().count(b"#CHANGES:") == 2

            eventually(written, "the log is written")
            node.kill()
            log.seek(0)
            at = log.read().rindex(b"#CHANGES:")
            log.truncate(at)
        one = node.start().connect()
        one.call("SET", "c", "1")
        check_equal(changes(one, "SINCE", position), [(0, b"set", b"c")])
        check_equal(changes(one, "SINCE", "-"), [(0, b"set", b"a"), (0, b"set", b"c")])


def test_appendonly_is_switched_on_while_running():
    with Node(OURS, SMALL) as node:
        one = node.start().connect()
        one.call("SET", "before", "1")
        one.call("CONFIG", "SET", "appendonly", "yes")
        eventually(lambda: info(one, "aof_rewrite_in_progress") == "0" and info(one, "aof_rewrite_scheduled") == "0", "the base")
        position, _ = read(one)
        one.pipeline([["SET", "k%d" % i, "x" * 100] for i in range(2000)])
        check_equal(len(read_all(one, position)[1]), 2000)
        node.kill()
        one = node.start("--appendonly", "yes").connect()
        check_equal(len(read_all(one, position)[1]), 2000, "after the restart")


def test_redis_reads_the_log():
    with Node(OURS, ON + LOG + ["--rdb-version", "10"]) as node:
        one = node.start().connect()
        one.pipeline([["SET", "a", "1"], ["MULTI"], ["SET", "b", "1"], ["RPUSH", "l", "x"], ["EXEC"], ["MSET", *[word for i in range(500) for word in ("m%d" % i, "v")]]])
        keys = sorted(one.call("KEYS", "*"))
        node.kill()
        with Node(REFERENCE, ["--save", "", "--appendonly", "yes"], folder=node.dir) as redis:
            check_equal(sorted(redis.start().connect().call("KEYS", "*")), keys)


def test_not_shown_before_it_is_durable():
    """With appendfsync always a disk that takes nothing holds the change back, as it holds the reply."""
    with Node(OURS, ON + LOG) as node:
        one, two = node.start(limit=4096).connect(), node.connect()
        two.send(resp.encode(["CHANGES", "READ", "BLOCK", "0"]))
        eventually(lambda: stream(one)[b"readers-blocked"] == 1, "it waits")
        one.send(resp.encode(["SET", "k", "x" * 10000]))
        check_equal(one.read_for(0.3), b"", "the reply of the write")
        check_equal(two.read_for(0.3), b"", "the change")


def test_keys_a_user_may_not_read():
    with Node(OURS, SMALL + LOG) as node:
        one = node.start().connect()
        one.call("ACL", "SETUSER", "app", "on", ">p", "%R~app:*", "+changes", "+ping", "(+get ~secret:*)")
        app = node.connect()
        app.call("AUTH", "app", "p")
        start, _ = read(app)
        one.pipeline([["SET", "app:1", "v"], ["SET", "secret:1", "v"], ["MSET", "app:2", "v", "secret:2", "v"], ["FLUSHALL"]])
        expected = [(0, b"set", b"app:1"), (0, b"set", b"app:2"), (0, b"flushdb", None)]
        check_equal(changes(app, "SINCE", start), expected)
        _, commits = app.call("CHANGES", "READ", "SINCE", start, "EFFECTS")
        check_equal([commit[2] for commit in commits], [[[0, [b"SET", b"app:1", b"v"]]], [], []], "effects of keys not to be seen")
        one.pipeline([["SET", "filler", "x" * 1000]] * 100)
        check_equal(changes(app, "SINCE", start), expected, "from the files")
        one.call("ACL", "SETUSER", "app", "-changes")
        check(app.error("CHANGES", "READ").startswith("NOPERM"), "the command itself")


def test_replica_has_a_stream_of_its_own():
    with ServerUnderTest(args=ON + ["--repl-diskless-sync-delay", "0"]) as primary, ServerUnderTest(args=ON) as replica:
        one, two = primary.connect(), replica.connect()
        position, _ = read(two)
        two.call("REPLICAOF", "127.0.0.1", primary.port)
        eventually(lambda: info(two, "master_link_status") == "up", "the link")
        check(two.error("CHANGES", "READ", "SINCE", position).startswith("TRIMMED "), "all data was replaced")
        position, _ = read(two)
        one.pipeline([["SET", "a", "1"], ["MULTI"], ["SET", "b", "1"], ["SET", "c", "1"], ["EXEC"], ["SET", "e", "v", "PX", "1"]])
        eventually(lambda: one.call("DBSIZE") == 3, "it expires")
        eventually(lambda: len(changes(two, "SINCE", position)) >= 5, "they come")
        _, commits = read(two, "SINCE", position)
        check_equal([change[2] for _, told in commits for change in told][:3], [b"a", b"b", b"c"])
        check_equal(len(commits[1][1]), 2, "the transaction is one commit there, too")


def test_encrypted_log():
    with Node(OURS, SMALL + LOG) as node:
        key = os.path.join(node.dir, "key")
        with open(key, "w") as out:
            out.write("ab" * 32 + "\n")
        os.chmod(key, 0o600)
        node.args += ["--data-encryption-key-file", key]
        one = node.start().connect()
        start, _ = read(one)
        one.pipeline([["SET", "k%d" % i, "x" * 100] for i in range(2000)])
        check_equal(len(read_all(one, start)[1]), 2000)
        node.kill()
        one = node.start().connect()
        check_equal(len(read_all(one, start)[1]), 2000, "after the restart")


if __name__ == "__main__":
    Results.run_module(globals(), 2)
