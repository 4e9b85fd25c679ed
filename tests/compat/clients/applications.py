#!/usr/bin/python3
"""What people build on the data types, with python3-redis against the server at argv[1]: a task list
whose workers may be killed, a leaderboard, a rate limiter, sessions whose fields expire, a consumer
group that outlives its consumers. Workers are processes of this file: `applications.py PORT role name`."""
import os
import random
import subprocess
import sys
import time

import redis

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import Results, check, check_equal, eventually

PORT = int(sys.argv[1])
TASKS = 400
MESSAGES = 400
CLAIM_AFTER_MS = 2000  # longer than a living consumer ever keeps a message, on a busy machine, too


def client():
    return redis.Redis(host="127.0.0.1", port=PORT, decode_responses=True)


class Worker:
    """A worker process that can be killed at any moment."""

    def __init__(self, role, name):
        self.name = name
        self.child = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(PORT), role, name])

    def kill(self):
        self.child.kill()
        self.child.wait()


# A task is moved to the list of its worker, and leaves it in the transaction that records the result.
def work_on_tasks(name):
    r, mine, finished = client(), "working:" + name, 0
    while True:
        task = r.blmove("tasks", mine, 1, "RIGHT", "LEFT")
        if task is None:
            continue
        if name == "doomed" and finished == 20:
            r.set("doomed:holds", task)
            time.sleep(3600)
        with r.pipeline(transaction=True) as both:
            both.lrem(mine, 1, task).hincrby("done", task, 1).execute()
        finished += 1


def test_task_list_survives_a_killed_worker():
    r = client()
    workers = [Worker("tasks", "doomed")]
    try:
        for i in range(TASKS // 2):
            r.lpush("tasks", "task %d" % i)
        # The others come when it holds one: they would be done with all before a slow start of it.
        eventually(lambda: r.get("doomed:holds"), "the doomed worker holds a task", timeout=15)
        workers += [Worker("tasks", name) for name in ("ann", "bob")]
        for i in range(TASKS // 2, TASKS):
            r.lpush("tasks", "task %d" % i)
        workers[0].kill()
        check_equal(r.lrange("working:doomed", 0, -1), [r.get("doomed:holds")], "what it left behind")
        while r.lmove("working:doomed", "tasks", "RIGHT", "RIGHT"):
            pass
        eventually(lambda: r.hlen("done") == TASKS, "every task is done", timeout=15)
        eventually(lambda: not r.exists("working:ann", "working:bob", "tasks"), "no list is left")
    finally:
        for worker in workers:
            worker.kill()
    check_equal(set(r.hvals("done")), {"1"}, "how often each task was done")


def ranking(scores):
    """As Redis orders: by score, then by name, both from the greatest."""
    return sorted(scores.items(), key=lambda item: (item[1], item[0].encode()), reverse=True)


def test_leaderboard_with_ties():
    r, dice, scores = client(), random.Random(42), {}
    for _ in range(3000):
        player, points = "player:%d" % dice.randrange(400), dice.randrange(-3, 12)
        roll = dice.randrange(10)
        if roll < 6:
            scores[player] = scores.get(player, 0) + points
            check_equal(r.zincrby("board", points, player), scores[player], "ZINCRBY")
        elif roll < 8:
            scores[player] = max(scores.get(player, points), points)
            r.zadd("board", {player: points}, gt=True)
        elif roll == 8:
            check_equal(r.zrem("board", player), 1 if scores.pop(player, None) is not None else 0, "ZREM")
        elif scores:
            order = ranking(scores)
            at = dice.randrange(len(order))
            check_equal(r.zrevrank("board", order[at][0]), at, "ZREVRANK of %r" % (order[at],))
            page = r.zrange("board", at, at + 9, desc=True, withscores=True)
            check_equal(page, order[at:at + 10], "the page from place %d" % at)
    order = ranking(scores)
    check_equal(r.zrange("board", 0, -1, desc=True, withscores=True), order, "the whole board")
    for at, (player, score) in enumerate(order):
        check_equal(r.zrevrank("board", player), at, "ZREVRANK")
        check_equal(r.zrank("board", player), len(order) - 1 - at, "ZRANK")
    best = r.zrange("board", "+inf", "10", desc=True, byscore=True, offset=3, num=20, withscores=True)
    check_equal(best, [item for item in order if item[1] >= 10][3:23], "those with 10 or more, from the fourth")
    check_equal(r.zcount("board", "(0", 5), sum(0 < score <= 5 for score in scores.values()), "ZCOUNT")


def test_sliding_window_rate_limiter():
    """At most LIMIT requests within any WINDOW; time is that of the requests, as in a log replayed."""
    r, dice = client(), random.Random(7)
    limit, window, now, log = 5, 100, 1_000_000, []
    decisions = {True: 0, False: 0}
    for number in range(1500):
        now += dice.randrange(0, 40)
        with r.pipeline(transaction=True) as ask:
            ask.zremrangebyscore("rate:user", 0, now - window).zcard("rate:user").zadd("rate:user", {"r%d" % number: now})
            ask.pexpire("rate:user", 60000)
            _, used, added, timed = ask.execute()
        check(added == 1 and timed, "the request is recorded, with a deadline")
        allowed = used < limit
        if not allowed:
            r.zrem("rate:user", "r%d" % number)
        log = [at for at in log if at > now - window]
        check_equal(used, len(log), "requests within the window at %d" % now)
        check_equal(allowed, len(log) < limit, "decision at %d" % now)
        log += [now] if allowed else []
        decisions[allowed] += 1
    check(min(decisions.values()) > 100, "both decisions happened: %r" % decisions)
    check(0 < r.pttl("rate:user") <= 60000, "the window has a deadline")


def test_sessions_with_field_deadlines():
    r = client()
    ask = r.execute_command
    check_equal(ask("HSETEX", "session:1", "PX", 1000, "FIELDS", 2, "token", "t1", "csrf", "c1"), 1)
    check_equal(ask("HSET", "session:1", "user", "ann"), 1)
    check_equal(ask("HTTL", "session:1", "FIELDS", 2, "user", "nothing"), [-1, -2])
    for _ in range(4):  # every request keeps the token alive, not the other
        time.sleep(0.3)
        check_equal(ask("HGETEX", "session:1", "PX", 1000, "FIELDS", 1, "token"), ["t1"])
    check_equal(r.hmget("session:1", "token", "csrf", "user"), ["t1", None, "ann"])
    check_equal(ask("HSETEX", "session:1", "FXX", "EX", 100, "FIELDS", 1, "csrf", "c2"), 0, "FXX of a field that expired")
    check_equal(ask("HSETEX", "session:1", "FNX", "EX", 100, "FIELDS", 1, "csrf", "c2"), 1)
    check(90 < ask("HTTL", "session:1", "FIELDS", 1, "csrf")[0] <= 100, "HTTL")
    check_equal(ask("HPERSIST", "session:1", "FIELDS", 1, "csrf"), [1])
    check_equal(ask("HPEXPIRE", "session:1", 40, "FIELDS", 2, "csrf", "user"), [1, 1])
    check_equal(r.ttl("session:1"), -1, "the key itself has no deadline")
    eventually(lambda: r.dbsize() == 0 or not r.exists("session:1"), "the session goes with its last field", timeout=15)
    check_equal(r.keys("session:*"), [])


# A message is acknowledged in the transaction that records what came of it.
def consume(name):
    r = client()

    def handle(messages):
        for number, fields in messages:
            if name == "doomed":
                r.incr("doomed:reads")
                if int(r.get("doomed:reads")) > 15:
                    time.sleep(3600)
            with r.pipeline(transaction=True) as both:
                both.xack("events", "readers", number).hincrby("seen", fields["n"], 1).execute()

    while True:
        if name != "doomed":
            _, claimed, *_ = r.execute_command("XAUTOCLAIM", "events", "readers", name, CLAIM_AFTER_MS, "0", "COUNT", 10)
            handle([(number, dict(zip(flat[::2], flat[1::2]))) if isinstance(flat, list) else (number, flat) for number, flat in claimed])
        for _, messages in r.xreadgroup("readers", name, {"events": ">"}, count=10, block=100):
            handle(messages)


def test_consumer_group_survives_a_killed_consumer():
    r = client()
    r.xgroup_create("events", "readers", id="0", mkstream=True)
    consumers = [Worker("events", "doomed")]
    try:
        for n in range(MESSAGES // 2):
            r.xadd("events", {"n": n})
        eventually(lambda: int(r.get("doomed:reads") or 0) > 15, "the doomed consumer is in the middle of its work", timeout=15)
        consumers[0].kill()
        held = {one["name"]: one["pending"] for one in r.xinfo_consumers("events", "readers")}
        check(held["doomed"] > 0, "the doomed consumer left nothing behind")
        consumers += [Worker("events", name) for name in ("ann", "bob")]
        for n in range(MESSAGES // 2, MESSAGES):
            r.xadd("events", {"n": n})
        eventually(lambda: r.hlen("seen") == MESSAGES, "every message is handled", timeout=15)
        eventually(lambda: r.xpending("events", "readers")["pending"] == 0, "nothing is pending")
    finally:
        for consumer in consumers:
            consumer.kill()
    check_equal(set(r.hvals("seen")), {"1"}, "how often each message was handled")
    group = r.xinfo_groups("events")[0]
    check_equal((group["entries-read"], group["lag"]), (MESSAGES, 0), "entries-read and lag")


def main():
    if len(sys.argv) > 3 and sys.argv[2] in ("tasks", "events"):
        return {"tasks": work_on_tasks, "events": consume}[sys.argv[2]](sys.argv[3])
    results = Results()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            client().flushall()
            results.run("application: " + name[5:].replace("_", " "), test)
    results.finish()


if __name__ == "__main__":
    main()
