#!/usr/bin/python3
"""Nothing that an uncommitted change causes leaves a member of a group: every way out of the server, one by
one. The two followers stand still, so that nothing is committed; each way is tried at the leader, and nothing
comes. Then

  - the followers go on: what was caused comes;
  - or the leader is deposed and the change is lost: it never comes, and who changed something is told
    UNCERTAIN, who only looked an error, or the connection ends.

What shows operators what happens is excepted: MONITOR, INFO, SLOWLOG, HOTKEYS, DEBUG and /metrics. A message
that a client publishes outside of a transaction or script comes from no change, and does not wait.

  group_outputs.py [WORD...]      tests whose names hold a word
"""
import contextlib
import os
import re
import socket
import subprocess
import tempfile
import time

import resp
from group_members import Group
from server import OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually, free_port

WAIT = 30.0  # seconds for what must come in the end
QUIET = 0.2  # seconds in which what must not come would have come
# The leader keeps its part and its clients for as long as the followers stand still.
ARGUMENTS = ["--cluster-election-timeout", "6000", "--cluster-write-timeout", "60000", "--changes-buffer-size", "1mb",
             "--cluster-allow-pubsubshard-when-down", "no"]
EVENTS = ["--notify-keyspace-events", "KEAm"]


class Seen:
    """A connection and what has come on it since the last look."""

    def __init__(self, member, resp3=False):
        self.connection = resp.Connection(member.port, host=member.host, resp3=resp3, timeout=WAIT)
        self.closed = False
        self.bytes = b""

    def ask(self, *words):
        reply = resp.tree(self.connection.raw(*words))
        check(reply[0] != "-", "%s: %s" % (words, reply))
        return reply

    def send(self, *words):
        self.connection.send(resp.encode(words))

    def look(self, seconds=0.0):
        deadline = time.monotonic() + seconds
        while not self.closed:
            self.connection.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                more = self.connection.socket.recv(1 << 16)
            except (socket.timeout, BlockingIOError):
                break
            except OSError:
                more = b""
            self.closed = not more
            self.bytes += more
        return self.bytes

    def close(self):
        self.connection.close()


class Stage:
    """The leader, and connections to it that are closed in the end."""

    def __init__(self, leader):
        self.leader = leader
        self.seen = []

    def open(self, resp3=False):
        self.seen.append(Seen(self.leader, resp3))
        return self.seen[-1]

    def close(self):
        for one in self.seen:
            one.close()


# Each way out: prepares while all is well, goes on when nothing is committed any more, and gives what is then
# caused: (connection, what its bytes show once it may come). Keys carry one hash tag, for one slot.


def reply_of_a_write(stage):
    writer = stage.open()
    yield
    writer.send("SET", "{o}write", "1")
    yield [(writer, rb"\+OK")]


def reply_of_a_write_in_resp3(stage):
    writer = stage.open(resp3=True)
    yield
    writer.send("HSET", "{o}hash", "f", "v")
    yield [(writer, rb":1")]


def reply_of_a_write_that_found_another(stage):
    writer, other = stage.open(), stage.open()
    yield
    writer.send("SET", "{o}setnx", "1")
    stage.settle()
    other.send("SETNX", "{o}setnx", "2")
    yield [(writer, rb"\+OK"), (other, rb":0")]


def reply_of_a_read(stage):
    writer, reader, map_reader = stage.open(), stage.open(), stage.open(resp3=True)
    yield
    writer.send("HSET", "{o}read", "f", "shown")
    stage.settle()
    reader.send("HGET", "{o}read", "f")
    map_reader.send("HGETALL", "{o}read")
    yield [(writer, rb":1"), (reader, rb"shown"), (map_reader, rb"shown")]


def replies_about_all_keys(stage):
    writer, size, scan, pick, slot, count = (stage.open() for _ in range(6))
    number = writer.ask("CLUSTER", "KEYSLOT", "{o}")[1]
    yield
    writer.send("SET", "{o}counted", "1")
    stage.settle()
    size.send("DBSIZE")
    scan.send("SCAN", "0", "COUNT", "1000")
    pick.send("RANDOMKEY")
    slot.send("CLUSTER", "GETKEYSINSLOT", number, "1000")
    count.send("CLUSTER", "COUNTKEYSINSLOT", number)
    yield [(writer, rb"\+OK"), (size, rb":\d+"), (scan, rb"counted"), (pick, rb"\$\d+\r\n.+\r\n"), (slot, rb"counted"), (count, rb":\d+")]


def reply_of_a_version(stage):
    writer, reader = stage.open(), stage.open()
    yield
    writer.send("SET", "{o}version", "1")
    stage.settle()
    reader.send("OBJECT", "VERSION", "{o}version")
    yield [(writer, rb"\+OK"), (reader, rb":\d+")]


def replies_of_transactions(stage):
    writer, reader = stage.open(), stage.open()
    yield
    for one in (writer, reader):
        one.ask("MULTI")
    writer.ask("INCR", "{o}transaction")
    writer.ask("SET", "{o}second", "x")
    reader.ask("GET", "{o}second")
    writer.send("EXEC")
    stage.settle()
    reader.send("EXEC")
    yield [(writer, rb"\+OK"), (reader, rb"\$1\r\nx")]


def reply_of_an_aborted_transaction(stage):
    writer, watcher = stage.open(), stage.open()
    watcher.ask("WATCH", "{o}watched")
    watcher.ask("MULTI")
    watcher.ask("PING")
    yield
    writer.send("SET", "{o}watched", "1")
    stage.settle()
    watcher.send("EXEC")
    yield [(writer, rb"\+OK"), (watcher, rb"\*-1")]


def replies_of_scripts(stage):
    writer, reader, stranger = stage.open(), stage.open(), stage.open()
    yield
    writer.send("EVAL", "redis.call('SET', KEYS[1], 'scripted'); return 'done'", "1", "{o}script")
    stage.settle()
    reader.send("EVAL_RO", "return redis.call('GET', KEYS[1])", "1", "{o}script")
    stranger.send("EVAL", "return redis.call('GET', '{o}' .. 'script')", "1", "{o}another")
    yield [(writer, rb"done"), (reader, rb"scripted"), (stranger, rb"scripted")]


def messages_from_scripts(stage):
    writer, other, listener = stage.open(), stage.open(), stage.open()
    listener.ask("SUBSCRIBE", "{o}news")
    yield
    writer.send("EVAL", "redis.call('SET', KEYS[1], 'v'); redis.call('PUBLISH', ARGV[1], 'written')", "1", "{o}told", "{o}news")
    stage.settle()
    # It changes nothing, but shows what it has read.
    other.send("EVAL", "redis.call('PUBLISH', ARGV[1], 'read ' .. redis.call('GET', KEYS[1]))", "1", "{o}told", "{o}news")
    yield [(writer, rb"\$-1"), (other, rb"\$-1"), (listener, rb"written.*read v")]


def messages_from_transactions(stage):
    writer, listener, pattern = stage.open(), stage.open(), stage.open(resp3=True)
    listener.ask("SUBSCRIBE", "{o}bulletin")
    pattern.ask("PSUBSCRIBE", "{o}bull*")
    yield
    writer.ask("MULTI")
    writer.ask("PUBLISH", "{o}bulletin", "before")
    writer.ask("SET", "{o}bull", "1")
    writer.ask("PUBLISH", "{o}bulletin", "behind")
    writer.send("EXEC")
    yield [(writer, rb"\+OK"), (listener, rb"before.*behind"), (pattern, rb"before.*behind")]


def messages_of_shards(stage):
    writer, listener = stage.open(), stage.open()
    listener.ask("SSUBSCRIBE", "{o}shard")
    yield
    writer.send("EVAL", "redis.call('SET', KEYS[1], 'v'); redis.call('SPUBLISH', KEYS[2], 'sharded')", "2", "{o}s", "{o}shard")
    yield [(writer, rb"\$-1"), (listener, rb"sharded")]


def invalidations(stage):
    writer, push, target, redirected, broadcast = stage.open(), stage.open(resp3=True), stage.open(), stage.open(), stage.open(resp3=True)
    number = target.ask("CLIENT", "ID")[1]
    target.ask("SUBSCRIBE", "__redis__:invalidate")
    push.ask("CLIENT", "TRACKING", "ON")
    redirected.ask("CLIENT", "TRACKING", "ON", "REDIRECT", number)
    broadcast.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "{o}cach")
    for one in (push, redirected):
        one.ask("GET", "{o}cached")
    yield
    writer.send("SET", "{o}cached", "1")
    yield [(writer, rb"\+OK"), (push, rb"cached"), (target, rb"cached"), (broadcast, rb"cached")]


def clients_that_wait(stage):
    writer, popper, mover, reader = (stage.open() for _ in range(4))
    popper.send("BLPOP", "{o}queue", "0")
    mover.send("BLMOVE", "{o}from", "{o}to", "LEFT", "LEFT", "0")
    reader.send("XREAD", "BLOCK", "0", "STREAMS", "{o}stream", "$")
    stage.settle()
    yield
    writer.send("RPUSH", "{o}queue", "popped")
    writer.send("RPUSH", "{o}from", "moved")
    writer.send("XADD", "{o}stream", "1-1", "f", "added")
    yield [(writer, rb":1\r\n:1\r\n\$3"), (popper, rb"popped"), (mover, rb"moved"), (reader, rb"added")]


def readers_of_changes(stage):
    writer, waiting, asking = stage.open(), stage.open(), stage.open()
    position = asking.ask("CHANGES", "READ")[1][0][1]
    waiting.send("CHANGES", "READ", "BLOCK", "0", "PREFIX", "{o}chan", "EFFECTS")
    stage.settle()
    yield
    writer.send("SET", "{o}changed", "1")
    stage.settle()
    asking.send("CHANGES", "READ", "SINCE", position, "PREFIX", "{o}chan", "EFFECTS")
    yield [(writer, rb"\+OK"), (waiting, rb"changed"), (asking, rb"changed")]


def snapshots_for_tools(stage):
    writer, plain, streamed, functions = (stage.open() for _ in range(4))
    for one in (streamed, functions):
        one.ask("REPLCONF", "rdb-only", "1", "capa", "eof")
    functions.ask("REPLCONF", "rdb-filter-only", "functions")
    yield
    writer.send("SET", "{o}snapshot", "shown")
    stage.settle()
    for one in (plain, streamed, functions):
        one.send("SYNC")
    yield [(writer, rb"\+OK"), (plain, rb"\$\d+\r\nREDIS.*shown"), (streamed, rb"\$EOF.*shown"), (functions, rb"\$EOF:.*REDIS")]


def keyspace_events(stage):
    writer, listener, pattern = stage.open(), stage.open(), stage.open(resp3=True)
    listener.ask("SUBSCRIBE", "__keyspace@0__:{o}event")
    pattern.ask("PSUBSCRIBE", "__keyevent@0__:lpus*")
    yield
    writer.send("LPUSH", "{o}event", "1")
    yield [(writer, rb":1"), (listener, rb"lpush"), (pattern, rb"\{o\}event")]


def events_of_keys_that_are_missed(stage):
    writer, reader, listener = stage.open(), stage.open(), stage.open()
    writer.ask("SET", "{o}missed", "1")
    listener.ask("SUBSCRIBE", "__keyevent@0__:keymiss")
    yield
    writer.send("DEL", "{o}missed")
    stage.settle()
    reader.send("GET", "{o}missed")
    yield [(writer, rb":1"), (reader, rb"\$-1"), (listener, rb"\{o\}missed")]


def events_of_keys_that_expire(stage):
    reader, listener = stage.open(), stage.open()
    listener.ask("SUBSCRIBE", "__keyevent@0__:expired")
    reader.ask("SET", "{o}expired", "1", "PX", "400")
    yield
    time.sleep(0.6)
    reader.send("GET", "{o}expired")
    yield [(reader, rb"\$-1"), (listener, rb"\{o\}expired")]


WAYS = [reply_of_a_write, reply_of_a_write_in_resp3, reply_of_a_write_that_found_another, reply_of_a_read, replies_about_all_keys,
        reply_of_a_version, replies_of_transactions, reply_of_an_aborted_transaction, replies_of_scripts, messages_from_scripts,
        messages_from_transactions, messages_of_shards, invalidations, clients_that_wait, readers_of_changes,
        snapshots_for_tools]
EVENT_WAYS = [keyspace_events, events_of_keys_that_are_missed, events_of_keys_that_expire]


class Standing:
    """Ways under way at the leader of a group whose followers can be stopped."""

    def __init__(self, group, leader, ways):
        self.group, self.leader = group, leader
        self.followers = [member for member in group.members if member is not leader]
        self.stage = Stage(leader)
        self.stage.settle = self.settle
        self.scenes = [(way.__name__, way(self.stage)) for way in ways]
        self.caused = []
        for _, scene in self.scenes:
            next(scene)

    def settle(self):
        """Whatever was sent to the leader until now has been executed."""
        for _ in range(3):
            check(self.leader.ask("PING") == ("+", b"PONG"), "the leader answers")

    def stop_and_act(self):
        for member in self.followers:
            member.pause()
        for name, scene in self.scenes:
            self.caused += [(name, *one) for one in next(scene)]
        self.settle()

    def check_nothing_came(self):
        time.sleep(QUIET)
        for name, seen, shown in self.caused:
            check_equal(seen.look(), b"", "%s, waiting for %s: came before the commit" % (name, shown))
            check(not seen.closed, name + ": the connection ended")

    def close(self):
        self.stage.close()
        for member in self.followers:
            member.resume()


@contextlib.contextmanager
def standing(ways, arguments):
    group = Group(OURS, 3, [*ARGUMENTS, *arguments], with_network=False)
    try:
        leader = group.wait_for_leader(WAIT)
        check(leader, "nobody leads:\n" + group.members[0].log())
        scene = Standing(group, leader, ways)
        try:
            yield scene
        finally:
            scene.close()
        for member in group.members:
            for trouble in ("ASSERTION", "CRITICAL"):
                check(trouble not in member.log(), "%s in the log:\n%s" % (trouble, member.log()))
    finally:
        group.close()


def comes_with_the_commit(ways, arguments):
    with standing(ways, arguments) as scene:
        scene.stop_and_act()
        scene.check_nothing_came()
        for member in scene.followers:
            member.resume()
        for name, seen, shown in scene.caused:
            try:
                eventually(lambda: re.search(shown, seen.look(0.01), re.S), "", WAIT)
            except AssertionError:
                check(False, "%s: %s comes, not %s" % (name, shown, seen.bytes))
            check(b"UNCERTAIN" not in seen.bytes and b"CLUSTERDOWN" not in seen.bytes, "%s: %s" % (name, seen.bytes))


def never_comes_when_lost(ways, arguments):
    with standing(ways, arguments) as scene:
        scene.stop_and_act()
        scene.check_nothing_came()
        scene.leader.pause()
        for member in scene.followers:  # what is on its way to them is lost
            member.kill()
            member.start()
        check(scene.group.wait_for_leader(WAIT) in scene.followers, "another member leads")
        scene.leader.resume()

        def is_told(seen):
            seen.look(0.01)
            return seen.closed or re.search(rb"-UNCERTAIN g0 e\d+ i\d+|-CLUSTERDOWN|-MOVED|-TRIMMED", seen.bytes)

        for name, seen, shown in scene.caused:
            eventually(lambda: is_told(seen), "%s: is told that it failed, not %s" % (name, seen.bytes), WAIT)
        time.sleep(QUIET)
        for name, seen, shown in scene.caused:
            check(not re.search(shown, seen.look(), re.S), "%s: was told of what is lost: %s" % (name, seen.bytes))
        told = {name: seen.bytes for name, seen, _ in scene.caused}
        check(told["reply_of_a_write"].startswith(b"-UNCERTAIN"), told["reply_of_a_write"])


def test_everything_comes_with_the_commit_and_not_before():
    comes_with_the_commit(WAYS + EVENT_WAYS, EVENTS)


def test_the_same_while_nobody_is_told_of_keys():
    comes_with_the_commit(WAYS, [])


def test_nothing_ever_comes_of_what_is_lost():
    never_comes_when_lost(WAYS + EVENT_WAYS, EVENTS)


def test_what_does_not_come_from_a_change_does_not_wait():
    with standing([], []) as scene:
        writer, listener, monitor, other = (scene.stage.open() for _ in range(4))
        listener.ask("SUBSCRIBE", "{o}open")
        monitor.ask("MONITOR")
        scene.stop_and_act()
        writer.send("SET", "{o}monitored", "1")
        other.send("PUBLISH", "{o}open", "plain")
        eventually(lambda: b"plain" in listener.look(0.01), "a plain message comes", WAIT)
        eventually(lambda: b"monitored" in monitor.look(0.01), "MONITOR shows what is executed", WAIT)
        check_equal(writer.look(QUIET), b"")


def test_nobody_replicates_from_a_member():
    with standing([], []) as scene:
        for member in scene.group.members:
            kind, text = member.ask("PSYNC", "?", "-1")
            check(kind == "-" and b"feeds no replicas" in text, text)
            replica = Seen(member)  # goes back to SYNC then
            replica.ask("REPLCONF", "listening-port", "1", "capa", "eof")
            for sync in (["PSYNC", "?", "-1"], ["SYNC"]):
                kind, text = resp.tree(replica.connection.raw(*sync))
                check(kind == "-" and b"feeds no replicas" in text, text)
            replica.close()


def test_tools_get_a_snapshot_from_any_member():
    with standing([], ["--rdb-version", "12"]) as scene, tempfile.TemporaryDirectory() as directory:
        writer = scene.stage.open()
        for i in range(100):
            writer.ask("SET", "{o}%d" % i, i)
        writer.ask("FUNCTION", "LOAD", "#!lua name=tool\nredis.register_function('f', function() return 1 end)")
        for member in scene.group.members:
            eventually(lambda: b"keys=101," in member.ask("INFO", "keyspace")[1], "it has the keys", WAIT)
            path = os.path.join(directory, "dump.rdb")
            for what, keys in (("--rdb", 101), ("--functions-rdb", 0)):
                done = subprocess.run(["redis-cli", "-h", member.host, "-p", str(member.port), what, path], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=WAIT, check=False)
                check(done.returncode == 0 and b"success" in done.stdout, done.stdout)
                with ServerUnderTest(REFERENCE, ["--dir", directory]) as server:
                    check_equal(server.connect().call("DBSIZE"), keys)
                    check_equal(server.connect().call("FCALL", "f", 0), 1)


def first_byte_of_a_snapshot(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as connection:
        connection.sendall(b"SYNC\r\n")
        return connection.recv(1)


def test_who_has_no_data_or_no_leader_gives_none():
    ports = [(free_port(), free_port()) for _ in range(3)]
    members = ["127.0.0.1:%d@%d" % pair for pair in ports]
    members[2] += "/witness"
    with contextlib.ExitStack() as stack:
        group = [stack.enter_context(ServerUnderTest(OURS, ["--cluster-enabled", "yes", "--cluster-group", " ".join(members)], port=port))
                 for port, _ in ports]
        for member in group[:2]:
            eventually(lambda: first_byte_of_a_snapshot(member) == b"$", "who has data gives them", WAIT)
        check_equal(group[2].connect().error("SYNC"), "ERR a witness has no data")
        told = group[0].connect().call("INFO", "cluster").decode()
        leader = group[int(re.search(r"group_leader:(\d)", told)[1])]
        follower = next(member for member in group[:2] if member is not leader)
        for member in group:
            if member is not follower:
                member.child.kill()
        eventually(lambda: first_byte_of_a_snapshot(follower) == b"-", "what it has may be old", WAIT)
        check_equal(follower.connect().error("SYNC"), "NOMASTERLINK Can't SYNC while not connected with my master")


if __name__ == "__main__":
    Results.run_module(globals(), 2)
