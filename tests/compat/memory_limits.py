#!/usr/bin/python3
"""Memory limits: every eviction policy keeps data within maxmemory and takes only keys it may take,
what clients hold evicts no key, maxmemory-clients ends the largest, logs and replicas follow; active
defragmentation.

  memory_limits.py [WORD...]      tests whose names hold a word
"""
import contextlib

import resp
from persistence import Node, compare, contents, info
from server import OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually

MIB = 1 << 20
# Data above the limit that may be seen between commands: what one command brought, and what the
# turn's budget left for later turns.
TOLERANCE = MIB
INFO_BYTES = 64 * 1024  # INFO counts what it needs itself
TOGETHER = 4  # tests at a time: they wait for servers, most of the time
BASE = ["--save", "", "--enable-debug-command", "yes"]
POLICIES = ["%s-%s" % (kind, how) for kind in ("allkeys", "volatile") for how in ("lru", "lfu", "random")] + ["volatile-ttl"]


def number(connection, name):
    return int(info(connection, name))


def data_bytes(connection):
    """What maxmemory limits."""
    return number(connection, "used_memory") - number(connection, "mem_not_counted_for_evict")


def set_limit(connection, room):
    limit = data_bytes(connection) + room
    connection.call("CONFIG", "SET", "maxmemory", str(limit))
    return limit


def fill(connection, prefix, count, value, *options):
    """SETs; returns how many were refused."""
    refused = 0
    for start in range(0, count, 1000):
        replies = connection.pipeline([["SET", "%s%d" % (prefix, i), value, *options] for i in range(start, min(start + 1000, count))])
        refused += sum(reply.startswith(b"-OOM") for reply in replies)
        check(all(reply.startswith((b"-OOM", b"+OK")) for reply in replies), "replies of SET")
    return refused


def test_policies_keep_the_limit():
    with ServerUnderTest(args=BASE) as server:
        one = server.connect()
        for policy in POLICIES:
            one.call("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", policy)
            one.call("FLUSHALL")
            one.call("CONFIG", "RESETSTAT")
            limit = set_limit(one, 3 * MIB)
            volatile = policy.startswith("volatile")
            if volatile:
                check_equal(fill(one, "persistent", 2000, "v" * 100), 0, policy)
            expire = ["EX", "100000"] if volatile else []
            for part in range(4):
                check_equal(fill(one, "key%d:" % part, 5000, "v" * 200, *expire), 0, policy)
                used = data_bytes(one)
                check(used <= limit + TOLERANCE, "%s: %d bytes of data, the limit is %d" % (policy, used, limit))
            eventually(lambda: data_bytes(one) <= limit + INFO_BYTES, policy + " comes back to the limit")
            check(number(one, "evicted_keys") > 1000, policy + " evicts")
            # Nothing is thrown away beyond what is needed.
            check(data_bytes(one) > limit - MIB, "%s: %d bytes of data at a limit of %d" % (policy, data_bytes(one), limit))
            if volatile:
                check_equal(one.call("EXISTS", *["persistent%d" % i for i in range(2000)]), 2000, policy + ": persistent keys")


def test_no_policy_refuses():
    with ServerUnderTest(args=BASE) as server:
        one = server.connect()
        for policy in ("noeviction", "volatile-lru", "volatile-ttl"):
            one.call("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", policy)
            one.call("FLUSHALL")
            limit = set_limit(one, 2 * MIB)
            check(fill(one, "key", 20000, "v" * 200) > 1000, policy + " refuses")
            check(data_bytes(one) <= limit + TOLERANCE, policy)
            check_equal(number(one, "evicted_keys"), 0, policy)
            one.call("FLUSHALL")
            check_equal(one.call("SET", "after", "x"), b"OK", policy + ": memory that is being given back counts as free")


def test_a_lower_limit_is_worked_off():
    with ServerUnderTest(args=BASE + ["--maxmemory-policy", "allkeys-lru"]) as server:
        one = server.connect()
        fill(one, "key", 60000, "v" * 200)
        limit = data_bytes(one) // 4
        one.call("CONFIG", "SET", "maxmemory", str(limit))
        eventually(lambda: data_bytes(one) <= limit + INFO_BYTES, "down to a quarter", timeout=30)
        check(number(one, "total_eviction_exceeded_time") >= 0, "the time above the limit is told")
        eventually(lambda: number(one, "current_eviction_exceeded_time") == 0, "no longer above the limit")
        check(one.call("DBSIZE") > 5000, "not everything is gone")


def test_large_values_are_given_back_before_more_goes():
    with ServerUnderTest(args=BASE + ["--maxmemory-policy", "allkeys-lru"]) as server:
        one = server.connect()
        limit = set_limit(one, 40 * MIB)
        for i in range(60):
            check_equal(one.call("SET", "large%d" % i, "v" * MIB), b"OK")
        one.call("DEBUG", "SLEEP", "0")
        left = one.call("DBSIZE")
        check(data_bytes(one) <= limit + 2 * MIB, "large values stay within the limit")
        check(left >= 30, "%d values of 1 MiB are left of 40 that fit" % left)


def test_a_slow_reader_evicts_nothing():
    with ServerUnderTest(args=BASE + ["--maxmemory-policy", "allkeys-lru"]) as server:
        one, slow = server.connect(), server.connect()
        fill(one, "key", 5000, "v" * 200)
        one.call("SET", "large", "v" * MIB)
        limit = set_limit(one, 2 * MIB)
        slow.send(b"".join([resp.encode(["GET", "large"])] * 64))
        eventually(lambda: number(one, "mem_clients_normal") > 30 * MIB, "replies wait for the slow reader", timeout=20)
        check_equal(fill(one, "more", 1000, "v" * 200), 0, "refused")
        check_equal(number(one, "evicted_keys"), 0, "evicted keys")
        check(number(one, "used_memory") > limit + 10 * MIB, "the replies are not in the limit of data")
        # Nor does a queue of a transaction, or a request that never ends.
        queue = server.connect()
        queue.call("MULTI")
        for _ in range(8):
            queue.call("SET", "large2", "v" * MIB)
        half = server.connect()
        half.send(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$33554432\r\n" + b"v" * (16 * MIB))
        eventually(lambda: number(one, "mem_clients_normal") > 50 * MIB, "the request arrives", timeout=20)
        check_equal(fill(one, "last", 100, "v"), 0, "refused")
        check_equal(number(one, "evicted_keys"), 0, "evicted keys")
        slow.close()


def test_what_waits_for_the_disk_is_no_data():
    """Keys that fit stay, however much of the log is not yet written or synced."""
    for policy in ("allkeys-lru", "noeviction"):
        with ServerUnderTest(args=BASE + ["--appendonly", "yes"]) as server:
            one = server.connect()
            check_equal(fill(one, "k", 20000, "v" * 200), 0, "refused")
            one.call("CONFIG", "SET", "maxmemory-policy", policy)
            one.call("CONFIG", "SET", "maxmemory", str(number(one, "used_memory") + 2 * MIB))
            for _ in range(3):
                check_equal(fill(one, "k", 20000, "w" * 200), 0, "refused")
            check_equal((one.call("DBSIZE"), number(one, "evicted_keys")), (20000, 0))


def test_what_a_snapshot_keeps_is_no_data():
    for policy in ("allkeys-lru", "noeviction"):
        with ServerUnderTest(args=BASE + ["--maxmemory", "30mb", "--maxmemory-policy", policy]) as server:
            one = server.connect()
            check_equal(fill(one, "k", 20000, "v" * 1000), 0, "refused")
            one.call("CONFIG", "SET", "rdb-key-save-delay", "500")
            one.call("BGSAVE")
            one.call("FLUSHALL")
            check_equal(fill(one, "n", 10000, "v" * 1000), 0, "refused while the snapshot keeps the old keys")
            check_equal((one.call("DBSIZE"), number(one, "evicted_keys")), (10000, 0))
            one.call("CONFIG", "SET", "rdb-key-save-delay", "0")


def test_what_is_about_to_be_stored_counts():
    """A transaction and a large value pass no limit; a large request that stores nothing costs no key."""
    with ServerUnderTest(args=BASE + ["--maxmemory", "30mb"]) as server:
        one = server.connect()
        one.call("MULTI")
        for i in range(20):
            one.call("SET", "large:%d" % i, "v" * (4 * MIB))
        check(one.error("EXEC").startswith("EXECABORT"), "EXEC beyond the limit")
        check_equal(one.call("DBSIZE"), 0)
        check(one.error("SET", "large", "v" * (40 * MIB)).startswith("OOM"), "SET beyond the limit")
        one.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        fill(one, "k", 6, "v" * MIB)
        one.call("PING", "p" * (40 * MIB))
        check_equal((one.call("DBSIZE"), number(one, "evicted_keys")), (6, 0))
        check_equal(one.call("SET", "large", "v" * (25 * MIB)), b"OK")
        check(one.call("DBSIZE") < 6 and number(one, "used_memory") < 31 * MIB, "room was made")


def test_no_tenacity_still_makes_room():
    with ServerUnderTest(args=BASE + ["--maxmemory-policy", "allkeys-random", "--maxmemory-eviction-tenacity", "0"]) as server:
        one = server.connect()
        fill(one, "k", 30000, "v" * 200)
        one.call("CONFIG", "SET", "maxmemory", "4mb")
        one.call("GET", "k:1")
        eventually(lambda: number(one, "used_memory") < 5 * MIB, "the limit is reached", timeout=30)


def test_clients_are_limited():
    with ServerUnderTest(args=BASE + ["--client-output-buffer-limit", "normal 0 0 0"]) as server:
        one = server.connect()
        one.call("CLIENT", "NO-EVICT", "on")
        one.call("SET", "large", "v" * MIB)
        one.call("CONFIG", "SET", "maxmemory-clients", "16mb")
        greedy, modest, spared = server.connect(), server.connect(), server.connect()
        modest.call("CLIENT", "SETNAME", "modest")
        greedy.call("CLIENT", "SETNAME", "greedy")
        spared.call("CLIENT", "SETNAME", "spared")
        spared.call("CLIENT", "NO-EVICT", "on")
        modest.send(resp.encode(["GET", "large"]) * 4)
        greedy.send(resp.encode(["GET", "large"]) * 64)
        eventually(lambda: number(one, "evicted_clients") == 1, "the largest goes", timeout=20)
        names = one.call("CLIENT", "LIST")
        check(b"name=greedy" not in names and b"name=modest" in names, names)
        spared.send(resp.encode(["GET", "large"]) * 32)
        eventually(lambda: b"name=modest" not in one.call("CLIENT", "LIST"), "others go for one that may not", timeout=20)
        check(b"name=spared" in one.call("CLIENT", "LIST"), "CLIENT NO-EVICT")
        check("Evicting client" in server.log(), server.log())


def test_what_clients_have_remembered_counts():
    """Watched keys, subscriptions and tracked prefixes; they count no more when they are given up."""
    with ServerUnderTest(args=BASE) as server:
        one = server.connect()
        held = lambda: number(one, "mem_clients_normal")
        before = held()
        for begin, end in ((["WATCH"], ["UNWATCH"]), (["SUBSCRIBE"], ["UNSUBSCRIBE"]), (["PSUBSCRIBE"], ["PUNSUBSCRIBE"]),
                           (["SSUBSCRIBE"], ["SUNSUBSCRIBE"])):
            holder = server.connect()
            for i in range(500):
                holder.call(*begin, "name:%d" % i)
            check(held() > before + 500 * 100, "%s: %d bytes" % (begin[0], held() - before))
            if begin[0] == "WATCH":
                holder.call(*end)
            else:
                for i in range(500):
                    holder.call(*end, "name:%d" % i)
            check(held() < before + 10000, "%s: %d bytes" % (end[0], held() - before))
            holder.close()
        one.call("CONFIG", "SET", "maxmemory-clients", "200000")
        for command in (["WATCH"], ["SUBSCRIBE"], ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX"]):
            greedy, ended = server.connect(), False
            if command[0] == "CLIENT":
                greedy.call("HELLO", "3")
            try:
                for i in range(5000):
                    greedy.call(*command, "name:%05d" % i)
            except (resp.Closed, OSError):
                ended = True
            check(ended, "%s goes on for ever" % command[0])


def test_replies_beyond_the_output_limit_are_not_sent():
    """As in Redis: also of a client that would read them, and before they are all made."""
    for binary in (OURS, REFERENCE):
        with ServerUnderTest(binary, args=BASE + ["--client-output-buffer-limit", "normal 100000 0 0"]) as server:
            one = server.connect()
            one.call("RPUSH", "fits", *["x" * 1000] * 50)  # both count the room it takes
            one.call("RPUSH", "large", *["x" * 1000] * 150)
            one.call("HSET", "hash", "field", "value")
            one.call("SADD", "set", "member")
            one.call("ZADD", "zset", "1", "member")
            for i in range(2000):
                one.call("SET", "a key with a long name that takes some room in a reply:%d" % i, "x")
            check_equal(len(one.call("LRANGE", "fits", "0", "-1")), 50, binary)
            for command in (["LRANGE", "large", "0", "-1"], ["HRANDFIELD", "hash", "-999999999"], ["SRANDMEMBER", "set", "-999999999"],
                            ["ZRANDMEMBER", "zset", "-999999999"], ["KEYS", "*"]):
                reader = server.connect(timeout=20)
                reader.send(resp.encode(command))
                check_equal(reader.read_until_closed(20), b"", "%s: %s" % (binary, command[0]))
            reader = server.connect(timeout=20)
            reader.send(b"".join(resp.encode(command) for command in (
                ["MULTI"], ["SET", "first", "1"], ["LRANGE", "large", "0", "-1"], ["SET", "second", "1"], ["EXEC"])))
            check(b"xxx" not in reader.read_until_closed(20), binary)
            check_equal(one.call("EXISTS", "first", "second"), 2, "a transaction is whole")


def test_percent_of_maxmemory_for_clients():
    with ServerUnderTest(args=BASE + ["--maxmemory", "100mb", "--maxmemory-clients", "10%"]) as server:
        one, greedy = server.connect(), server.connect()
        one.call("SET", "large", "v" * MIB)
        greedy.call("CLIENT", "SETNAME", "greedy")
        greedy.send(resp.encode(["GET", "large"]) * 64)
        eventually(lambda: b"name=greedy" not in one.call("CLIENT", "LIST"), "beyond 10 % of 100 MiB", timeout=20)


def test_the_log_replays_evictions():
    node = Node(args=["--appendonly", "yes", "--save", "", "--maxmemory-policy", "allkeys-lfu"])
    try:
        node.start()
        one = node.connect()
        set_limit(one, 2 * MIB)
        fill(one, "key", 20000, "v" * 200)
        one.call("CONFIG", "SET", "maxmemory", "0")
        check(number(one, "evicted_keys") > 5000, "evictions")
        before = contents(one)
        node.kill()
        node.start()
        compare(before, contents(node.connect()))
    finally:
        node.stop()


def test_a_replica_follows():
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(ServerUnderTest(args=BASE + ["--maxmemory-policy", "allkeys-lru", "--repl-diskless-sync-delay", "0"]))
        replica = stack.enter_context(ServerUnderTest(args=BASE + ["--maxmemory", "1mb", "--maxmemory-policy", "allkeys-lru"]))
        one, two = primary.connect(), replica.connect()
        two.call("REPLICAOF", "127.0.0.1", str(primary.port))
        eventually(lambda: info(two, "master_link_status") == "up", "the link is up", timeout=20)
        set_limit(one, 2 * MIB)
        fill(one, "key", 20000, "v" * 200)
        one.call("CONFIG", "SET", "maxmemory", "0")
        check(number(one, "evicted_keys") > 5000, "evictions")
        eventually(lambda: number(two, "master_repl_offset") == number(one, "master_repl_offset"), "the replica has all", timeout=20)
        compare(contents(one), contents(two))
        check_equal(number(two, "evicted_keys"), 0, "a replica evicts nothing by itself")


def test_the_ttl_policy_takes_the_soonest():
    with ServerUnderTest(args=BASE + ["--maxmemory-policy", "volatile-ttl"]) as server:
        one = server.connect()
        one.pipeline([["SET", "soon%d" % i, "v" * 200, "EX", str(1000 + i)] for i in range(3000)])
        one.pipeline([["SET", "late%d" % i, "v" * 200, "EX", str(1000000 + i)] for i in range(3000)])
        set_limit(one, 0)
        fill(one, "new", 1500, "v" * 200)
        check_equal(one.call("EXISTS", *["late%d" % i for i in range(3000)]), 3000, "late keys")


def test_auto_is_a_share_of_what_there_is():
    with ServerUnderTest(args=BASE + ["--maxmemory", "auto"]) as server:
        one = server.connect()
        limit = int(one.call("CONFIG", "GET", "maxmemory")[1])
        total = number(one, "total_system_memory")
        check(0 < limit <= total * 3 // 4, "%d of %d" % (limit, total))
        check_equal(number(one, "maxmemory"), limit)
        one.call("CONFIG", "SET", "maxmemory", "100mb")
        one.call("CONFIG", "SET", "maxmemory", "AUTO")
        check_equal(int(one.call("CONFIG", "GET", "maxmemory")[1]), limit)


def test_auto_is_rewritten_as_auto():
    with ServerUnderTest(config="maxmemory auto\nsave \"\"\n") as server:
        one = server.connect()
        one.call("CONFIG", "REWRITE")
        check("maxmemory auto" in open(server.config_path).read(), "the file says auto")


def test_hot_keys_find_the_hot():
    with ServerUnderTest(args=BASE) as server:
        one = server.connect()
        for sample in ("1", "20"):
            one.call("HOTKEYS", "START", "METRICS", "1", "NET", "COUNT", "10", "SAMPLE", sample)
            for turn in range(30):
                one.pipeline([["GET", "cold%d" % (turn * 1000 + i)] if i % 4 else ["GET", "hot%d" % (i // 4 % 5)] for i in range(1000)])
            one.call("HOTKEYS", "STOP")
            (report,) = one.call("HOTKEYS", "GET")
            report = dict(zip(report[::2], report[1::2]))
            check_equal(sorted(report[b"by-net-bytes"][:10:2]), [b"hot%d" % i for i in range(5)], "sample " + sample)
            one.call("HOTKEYS", "RESET")
        one.call("HOTKEYS", "START", "METRICS", "1", "CPU", "DURATION", "1")
        eventually(lambda: dict(zip(*[iter(one.call("HOTKEYS", "GET")[0])] * 2))[b"tracking-active"] == 0, "it ends by itself", timeout=20)


# --- active defragmentation ---

EAGER = ["active-defrag-ignore-bytes", "1mb", "active-defrag-threshold-lower", "5", "active-defrag-cycle-min", "20",
         "active-defrag-cycle-max", "75"]


def fragment(connection, keys):
    """Values of every kind, of which two in three go again."""
    def lines(i):
        key = "key:%d" % i
        yield ["SET", "text" + key, "v" * (i % 90), *(["EX", "100000"] if i % 5 == 0 else [])]
        if i % 20 == 0:
            yield ["HSET", "hash" + key, *(word for n in range(20) for word in ("field%d" % n, "value of %d" % n))]
            yield ["RPUSH", "list" + key, *("element %d" % n for n in range(30))]
            yield ["SET", "large" + key, "x" * 700]
        if i % 300 == 0:
            yield ["ZADD", "zset" + key, *(word for n in range(200) for word in (str(n), "member %d of %d" % (n, i)))]
            yield ["SADD", "set" + key, *("member %d of %d" % (n, i) for n in range(200))]
            yield ["XADD", "stream" + key, "1-1", "field", "y" * 500]
    for start in range(0, keys, 1000):
        connection.pipeline([line for i in range(start, start + 1000) for line in lines(i)])
    connection.call("HSET", "huge", *(word for n in range(20000) for word in ("field %d" % n, "value %d" % n)))
    connection.call("ZADD", "hugezset", *(word for n in range(20000) for word in (str(n % 100), "member %d" % n)))
    gone = [key for key in connection.call("KEYS", "*key:*") if int(key[key.index(b":") + 1:]) % 3]
    for start in range(0, len(gone), 1000):
        connection.call("UNLINK", *gone[start:start + 1000])
    connection.call("HDEL", "huge", *("field %d" % n for n in range(20000) if n % 3))
    connection.call("ZREM", "hugezset", *("member %d" % n for n in range(20000) if n % 3))
    eventually(lambda: number(connection, "lazyfree_pending_objects") == 0, "all is freed", 20)


def test_defragmentation():
    """Two in three of the keys go; the others then move together, nothing is lost, and clients are served meanwhile."""
    with ServerUnderTest(args=BASE) as server:
        one = server.connect()
        if not info(one, "mem_allocator").startswith("jemalloc"):
            error = one.raw("CONFIG", "SET", "activedefrag", "yes")
            return check(b"cannot be enabled" in error and b"not available with this allocator" in error, error)
        fragment(one, 150_000)
        used = number(one, "used_memory")
        before, digest = float(info(one, "allocator_frag_ratio")), one.call("DEBUG", "DIGEST")
        check(before > 1.5, "fragmentation of %.2f" % before)
        check(b"activedefrag yes" in one.call("MEMORY", "DOCTOR"), "the doctor's advice")
        check_equal(one.call("CONFIG", "SET", "activedefrag", "yes", *EAGER), b"OK")
        eventually(lambda: number(one, "active_defrag_running") > 0, "it begins", 20)
        other = server.connect()
        other.call("SELECT", "1")
        for i in range(2000):
            other.pipeline([["SET", "other%d" % (i % 50), "w" * i], ["LPUSH", "otherlist", "w" * (i % 100)], ["GET", "textkey:3"]])
        other.call("FLUSHDB")
        eventually(lambda: float(info(one, "allocator_frag_ratio")) < 1.12, "fragmentation falls", 60)
        check_equal(one.call("DEBUG", "DIGEST"), digest)
        check(number(one, "active_defrag_hits") > 20_000 and number(one, "active_defrag_key_hits") > 10_000, "blocks and keys moved")
        check(number(one, "used_memory") < used + MIB, "moving takes no memory")
        eventually(lambda: number(one, "active_defrag_running") == 0, "it ends", 60)
        check(number(one, "total_active_defrag_time") > 0, "its time is told")
        check_equal(one.call("CONFIG", "SET", "activedefrag", "no"), b"OK")


def test_defragmentation_rests_while_a_snapshot_is_taken():
    with ServerUnderTest(args=[*BASE, "--rdb-key-save-delay", "20"]) as server:
        one = server.connect()
        if not info(one, "mem_allocator").startswith("jemalloc"):
            return
        fragment(one, 60_000)
        digest = one.call("DEBUG", "DIGEST")
        one.call("BGSAVE")
        one.call("CONFIG", "SET", "activedefrag", "yes", *EAGER)
        while number(one, "rdb_bgsave_in_progress"):
            hits = number(one, "active_defrag_hits")
            check(hits == 0 or not number(one, "rdb_bgsave_in_progress"), "it moved %d blocks during a snapshot" % hits)
        eventually(lambda: number(one, "active_defrag_hits") > 1000, "it begins afterwards", 20)
        check_equal(one.call("DEBUG", "DIGEST"), digest)
        check_equal(info(one, "rdb_last_bgsave_status"), "ok")


if __name__ == "__main__":
    Results.run_module(globals(), TOGETHER)
