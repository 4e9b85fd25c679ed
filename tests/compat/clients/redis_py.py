#!/usr/bin/python3
"""Basic flows of python3-redis (redis-py 4.3) against the server at argv[1]; argv[2] is the port of
one that wants the password `secret`."""
import os
import sys
import threading
import time

import redis

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import Results, check, check_equal

PORT, LOCKED_PORT = int(sys.argv[1]), int(sys.argv[2])


def client(**options):
    return redis.Redis(host="127.0.0.1", port=PORT, decode_responses=True, **options)


def test_connect_and_info():
    r = client(client_name="tester")
    check(r.ping(), "PING")
    check_equal(r.client_getname(), "tester")
    info = r.info()
    check(info["redis_version"] and isinstance(info["used_memory"], int) and info["loading"] == 0, "INFO")
    check_equal(r.echo("hi"), "hi")
    check_equal(r.config_get("maxmemory-policy"), {"maxmemory-policy": "noeviction"})
    check(r.config_set("timeout", 0), "CONFIG SET")
    check(any(c["name"] == "tester" for c in r.client_list()), "CLIENT LIST")
    check(abs(r.time()[0] - time.time()) < 5, "TIME")
    check(r.command_count() > 80, "COMMAND COUNT")
    check("get" in r.command(), "COMMAND")
    r.slowlog_reset()
    check(isinstance(r.slowlog_get(), list), "SLOWLOG GET")
    check_equal(r.module_list() if hasattr(r, "module_list") else [], [])


def test_auth():
    try:
        redis.Redis(port=LOCKED_PORT).get("x")
        raise AssertionError("no password was needed")
    except redis.AuthenticationError:
        pass
    try:
        redis.Redis(port=LOCKED_PORT, password="wrong").get("x")
        raise AssertionError("a wrong password was accepted")
    except redis.RedisError as error:
        check("WRONGPASS" in str(error), str(error))
    check(redis.Redis(port=LOCKED_PORT, password="secret").ping(), "right password")
    check(redis.Redis(port=LOCKED_PORT, username="default", password="secret").ping(), "user and password")


def test_strings():
    r = client()
    check_equal(r.set("s", "value"), True)
    check_equal(r.get("s"), "value")
    check_equal(r.set("s", "x", nx=True), None)
    check_equal(r.set("s", "y", get=True), "value")
    check_equal(r.incr("n", 5), 5)
    check_equal(r.decr("n"), 4)
    check_equal(r.incrbyfloat("f", 1.5), 1.5)
    check_equal(r.append("s", "z"), 2)
    check_equal(r.setrange("s", 1, "abc"), 4)
    check_equal(r.getrange("s", 0, 2), "yab")
    r.mset({"a": 1, "b": 2})
    check_equal(r.mget("a", "b", "none"), ["1", "2", None])
    check_equal(r.msetnx({"a": 1, "new": 2}), False)
    check_equal(r.getdel("a"), "1")
    check_equal(r.getex("b", ex=100), "2")
    check(0 < r.ttl("b") <= 100, "TTL")
    check_equal(r.strlen("s"), 4)
    binary = redis.Redis(port=PORT)
    binary.set(b"\x00\xff", b"\r\n\x00")
    check_equal(binary.get(b"\x00\xff"), b"\r\n\x00")
    big = os.urandom(3000000)
    binary.set("big", big)
    check_equal(binary.get("big") == big, True, "3 MB came back")


def test_keys_and_expiry():
    r = client()
    r.set("k", "v", px=50000)
    check(0 < r.pttl("k") <= 50000, "PTTL")
    r.set("k", "v", px=50)
    time.sleep(0.1)
    check_equal(r.get("k"), None)
    r.set("k", "v")
    check(r.expire("k", 100) and r.persist("k"), "EXPIRE, PERSIST")
    check_equal(r.ttl("k"), -1)
    check(r.rename("k", "k2") and r.exists("k2") and not r.exists("k"), "RENAME")
    check_equal(r.copy("k2", "k3"), True)
    check_equal(r.type("k3"), "string")
    check_equal(r.object("encoding", "k3"), "embstr")
    check_equal(r.delete("k2", "k3", "none"), 2)
    for i in range(500):
        r.set("scan:%d" % i, i)
    check_equal(len(set(r.scan_iter("scan:*", count=20))), 500)
    check_equal(len(r.keys("scan:1?")), 10)
    try:
        r.incr("s")
        raise AssertionError("INCR of a text succeeded")
    except redis.ResponseError as error:
        check_equal(str(error), "value is not an integer or out of range")


def test_pipelines_and_transactions():
    r = client()
    r.delete("t")
    with r.pipeline(transaction=False) as pipe:
        check_equal(pipe.set("t", 1).incr("t").get("t").execute(), [True, 2, "2"])
    with r.pipeline() as pipe:
        check_equal(pipe.set("t", "x").incr("t").get("t").execute(raise_on_error=False)[2], "x")
    with r.pipeline() as pipe:
        pipe.watch("t")
        r.set("t", "changed")
        pipe.multi()
        pipe.set("t", "mine")
        try:
            pipe.execute()
            raise AssertionError("the transaction was not aborted")
        except redis.WatchError:
            pass

    def add(pipe):
        value = int(pipe.get("counter") or 0)
        pipe.multi()
        pipe.set("counter", value + 1)

    r.delete("counter")
    threads = [threading.Thread(target=lambda: [client().transaction(add, "counter") for _ in range(20)]) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check_equal(r.get("counter"), "60")
    with r.pipeline(transaction=False) as pipe:
        for i in range(20000):
            pipe.set("p:%d" % i, i)
        check_equal(len(pipe.execute()), 20000)


def test_invalidations_by_way_of_a_subscriber():
    r = client()
    listener = r.pubsub()
    listener.subscribe("__redis__:invalidate")
    check_equal(listener.get_message(timeout=2)["type"], "subscribe")
    number = listener.connection.client_id if hasattr(listener.connection, "client_id") else None
    if number is None:
        number = next(int(c["id"]) for c in r.client_list() if c["sub"] == "1")
    with client(single_connection_client=True) as reader:
        check_equal(reader.execute_command("CLIENT TRACKING", "on", "REDIRECT", number, "BCAST", "PREFIX", "user:"), "OK")
        r.mset({"user:2": 1, "user:1": 1, "other": 1})
        check_equal(listener.get_message(timeout=2)["data"], ["user:1", "user:2"])
        reader.execute_command("CLIENT TRACKING", "off")
        check_equal(reader.execute_command("CLIENT TRACKING", "on", "REDIRECT", number), "OK")
        reader.get("user:1")
        r.set("user:1", 2)
        check_equal(listener.get_message(timeout=2)["data"], ["user:1"])
    listener.close()


def test_pubsub():
    r = client()
    listener = r.pubsub()
    listener.subscribe("news")
    listener.psubscribe("n*")
    kinds = [listener.get_message(timeout=2)["type"] for _ in range(2)]
    check_equal(kinds, ["subscribe", "psubscribe"])
    check_equal(r.publish("news", "hello"), 2)
    messages = [listener.get_message(timeout=2) for _ in range(2)]
    check_equal({(m["type"], m["data"]) for m in messages}, {("message", "hello"), ("pmessage", "hello")})
    check_equal(r.pubsub_channels(), ["news"])
    check_equal(r.pubsub_numsub("news"), [("news", 1)])
    check_equal(r.pubsub_numpat(), 1)
    listener.unsubscribe()
    listener.punsubscribe()
    listener.close()


def test_keyspace_events():
    r = client()
    r.config_set("notify-keyspace-events", "Ex")
    listener = r.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("__keyevent@0__:expired")
    listener.get_message(timeout=1)
    r.set("dying", "v", px=30)
    until = time.time() + 3
    message = None
    while not message and time.time() < until:
        message = listener.get_message(timeout=0.2)
    check_equal(message and message["data"], "dying")
    r.config_set("notify-keyspace-events", "")
    listener.close()


def test_reconnect():
    r, killer = client(), client()
    r.set("k", "before")
    killer.client_kill_filter(_id=str(r.client_id()))
    check_equal(r.get("k"), "before", "after the connection was killed")
    check_equal(client(db=5).dbsize(), 0)
    lock = r.lock("lock", timeout=10) if hasattr(redis, "sentinel") else None
    check(lock is not None, "a lock object")


if __name__ == "__main__":
    results = Results()
    client().flushall()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            results.run("redis-py: " + name[5:].replace("_", " "), test)
    results.finish()
