#!/usr/bin/python3
"""RedisCluster of python3-redis (redis-py 4.3) against a cluster of one server at argv[1]."""
import os
import sys

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, ResponseError

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import Results, check, check_equal

PORT = int(sys.argv[1])


def client(**options):
    return RedisCluster(host="127.0.0.1", port=PORT, decode_responses=True, **options)


def test_finds_the_slots():
    r = client()
    check_equal([(node.host, node.port, node.server_type) for node in r.get_nodes()], [("127.0.0.1", PORT, "primary")])
    for i in range(200):
        check(r.set("key:%d" % i, i), "SET")
    check_equal(r.get("key:77"), "77")
    check_equal(r.dbsize(), 200)
    check_equal(sorted(r.scan_iter("key:1?")), ["key:%d" % i for i in range(10, 20)])
    check_equal(r.delete("key:1", "key:2", "none"), 2)


def test_keys_of_one_slot():
    r = client()
    check(r.mset({"{t}a": 1, "{t}b": 2}), "MSET")
    check_equal(r.mget("{t}a", "{t}b"), ["1", "2"])
    check_equal(r.eval("return redis.call('mget', KEYS[1], KEYS[2])", 2, "{t}a", "{t}b"), ["1", "2"])
    check_equal(r.cluster_keyslot("{t}a"), r.keyslot("t"))
    check_equal(r.cluster_countkeysinslot(r.keyslot("t")), 2)
    check_equal(sorted(r.cluster_get_keys_in_slot(r.keyslot("t"), 10)), ["{t}a", "{t}b"])
    try:
        r.execute_command("MGET", "a", "b")
        raise AssertionError("MGET over slots succeeded")
    except (RedisClusterException, ResponseError):
        pass


def test_pipeline():
    with client().pipeline() as pipe:
        for i in range(50):
            pipe.set("p:%d" % i, i).get("p:%d" % i)
        check_equal(pipe.execute()[1::2], [str(i) for i in range(50)])


def test_reads_from_replicas_when_asked_to():
    r = client(read_from_replicas=True)
    r.set("k", "v")
    check_equal(r.get("k"), "v")


def test_describes_the_cluster():
    r = client()
    info = r.cluster_info()
    check_equal((info["cluster_state"], info["cluster_slots_ok"], info["cluster_known_nodes"]), ("ok", "16384", "1"))
    nodes = r.cluster_nodes()
    check_equal(list(nodes), ["127.0.0.1:%d" % PORT])
    check_equal(r.get_default_node(), ClusterNode("127.0.0.1", PORT))


def main():
    results = Results()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            results.run("RedisCluster: " + name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
