#!/usr/bin/python3
"""Plays the same seeded random commands of every type to redis-server and to the server under test
and compares every reply byte; at the end of a seed compares everything the two hold.

  tests/compat/differential.py --seed 7 --count 100000 [--seeds 3] [--resp3] [--only lists,streams]

Two connections take turns in pipelined batches, so that WATCH, SELECT and open transactions meet;
conversion limits are small and change on the way. What depends on chance or on the moment is kept
out of the comparison's way, not out of the test: deadlines lie far away and apart from each other
(replies may differ by seconds), keys that do expire are only looked at after a pause, random choices
are judged by their properties (plays.py), replies in hash order are compared as sets.

Explained: redis-server 7.0 knows no packed sets. Even seeds switch ours off; in odd seeds `listpack`
may stand where the reference says `hashtable`. It calls every list a quicklist; small ones are
listpacks since 7.2, and here. SETBIT and BITFIELD that change nothing leave an `embstr` or `int` as
it is, which the reference makes `raw`. More is in known_differences.txt.
"""
import argparse
import time

import compare
import resp
from generators import Generator
from keyspace import KeyspaceComparison, fingerprints
from plays import UNTIL_BLOCKED_S, Plays
from server import OURS, REFERENCE, Results, ServerUnderTest

DIFFERENCES_MAX = 5  # per seed: behind that many the two keyspaces have nothing to say any more
PIECE_BYTES = 262144
HISTORY_MAX = 5000
SCENE_SHARE = 0.06  # of all batches
SERVER_OPTIONS = ["--enable-debug-command", "yes", "--rdbcompression", "no", "--sanitize-dump-payload", "yes"]
RAW, EMBSTR, INT = b"$3\r\nraw\r\n", b"$6\r\nembstr\r\n", b"$3\r\nint\r\n"
LISTPACK, QUICKLIST, HASHTABLE = b"$8\r\nlistpack\r\n", b"$9\r\nquicklist\r\n", b"$9\r\nhashtable\r\n"
RDB_VERSION_OF_REFERENCE = "10"


class Stream:
    """One connection to each server, with what is known about an open transaction."""

    def __init__(self, reference, ours, resp3):
        self.reference = reference.connect(resp3=resp3, timeout=60)
        self.ours = ours.connect(resp3=resp3, timeout=60)
        self.queued = None

    def play(self, batch, piece):
        commands = [command for command, _ in batch]
        return zip(batch, self.reference.pipeline(commands, PIECE_BYTES), self.ours.pipeline(commands, piece))

    def followed(self, command, kind, theirs):
        """Follows MULTI. The commands whose replies this one brings: itself, or those EXEC ran."""
        queued, name = self.queued, command[0].upper()
        if queued is None:
            if name == b"MULTI" and theirs == b"+OK\r\n":
                self.queued = []
        elif theirs == b"+QUEUED\r\n":
            queued.append((command, kind))
        elif name in (b"EXEC", b"DISCARD", b"RESET") and len(command) == 1:
            self.queued = None
            if name == b"EXEC":
                return queued
        return None

    def close(self):
        self.reference.close()
        self.ours.close()


class Waiter:
    """A client of each server that waits."""

    def __init__(self, harness, stream, command, connections):
        self.harness, self.stream, self.command, self.connections = harness, stream, command, connections
        self.ids = [connection.call("CLIENT", "ID") for connection in connections]
        for connection in connections:
            connection.send(resp.encode(command))

    def finish(self, plays):
        """Served or still waiting: the same on both; then the replies are compared."""
        sides = (self.stream.reference, self.stream.ours)
        still = [side.call("CLIENT", "UNBLOCK", number) for side, number in zip(sides, self.ids)]
        line = show_command(self.command)
        plays.check(still[0] == still[1], "%s: still blocked %r there, %r here\n%s", line, *still, self.harness.recent())
        replies = [connection.read(UNTIL_BLOCKED_S) for connection in self.connections]
        plays.check(replies[0] == replies[1] or self.harness.known.explain(line, *replies), "%s, after waiting\n       reference: %s\n       ours:      %s\n%s",
                    line, resp.show(replies[0]), resp.show(replies[1]), self.harness.recent())

    def close(self):
        for connection in self.connections:
            connection.close()


class Differential:
    def __init__(self, arguments, results):
        self.arguments, self.results = arguments, results
        self.known = compare.KnownDifferences()
        self.appendonly = arguments.appendonly

    def run(self, seed):
        arguments = self.arguments
        started, before, failed = time.monotonic(), self.results.passed, self.results.failed
        self.set_listpacks = seed % 2 == 1
        self.bits = not arguments.only or "bits" in arguments.only
        mine = SERVER_OPTIONS + ["--rdb-version", RDB_VERSION_OF_REFERENCE]
        mine += [] if self.set_listpacks else ["--set-max-listpack-entries", "0"]
        mine += ["--appendonly", "yes", "--appendfsync", "no"] if self.appendonly else []
        with ServerUnderTest(arguments.reference, SERVER_OPTIONS) as self.reference, ServerUnderTest(arguments.ours, mine) as self.ours:
            self.name = "seed %d RESP%d" % (seed, 3 if arguments.resp3 else 2)
            self.history, self.differences, self.index = [], 0, 0
            self.comparison = KeyspaceComparison(self.name, self.results, self.set_listpacks, self.recent)
            generator = Generator(seed, arguments.only.split(",") if arguments.only else ())
            self.plain = Stream(self.reference, self.ours, False)
            self.listener = self.listen() if arguments.events else None
            self.streams = [Stream(self.reference, self.ours, arguments.resp3) for _ in range(2)]
            plays = Plays(self, generator)
            try:
                self.judge(self.streams[0], generator.first())
                while self.index < arguments.count and self.differences < DIFFERENCES_MAX:
                    self.play_next(generator, plays)
                if self.differences < DIFFERENCES_MAX:
                    self.comparison.run(self.plain.reference, self.plain.ours)
                    if self.appendonly:
                        self.replay()
            except (resp.Closed, resp.NoReply, OSError, ValueError) as error:
                if self.reference.fell_over() and self.ours.alive():  # its streams do, now and then
                    print("%s: the reference crashed near command %d; the seed ends there" % (self.name, self.index))
                    return
                self.results.fail("%s, near command %d: %s: %s" % (self.name, self.index, type(error).__name__, error))
        print("%s: %d commands, %d replies alike, %d not (%.1f s)" % (
            self.name, self.index, self.results.passed - before, self.results.failed - failed, time.monotonic() - started))

    def listen(self):
        """A client of each server that hears of every event, of new keys as well; not of misses, which ours
        tells of at once, in front of what a transaction changed before."""
        listener = [server.connect(resp3=True, timeout=60) for server in (self.reference, self.ours)]
        for connection in listener:
            connection.call("CONFIG", "SET", "notify-keyspace-events", "KEAn")
            connection.raw("PSUBSCRIBE", "__keyspace@*__:*")
        return listener

    def play_next(self, generator, plays):
        stream = generator.random.choice(self.streams)
        draw = generator.random.random()
        if draw < SCENE_SHARE and stream.queued is None:
            return plays.play(stream)
        size = generator.random.choice((1, 5, 16, 50, 200, 500, 1000, 2000))
        piece = PIECE_BYTES
        if draw > 0.95:  # bytes in odd pieces: a request may be cut anywhere
            size, piece = min(size, 50), generator.random.randrange(1, 200)
        self.judge(stream, generator.batch(size), piece)

    def in_transaction(self):
        return any(stream.queued is not None for stream in self.streams)

    def judge(self, stream, batch, piece=PIECE_BYTES):
        self.judge_replies(stream, batch, piece)
        if self.listener:
            self.judge_events()

    def judge_events(self):
        token = b"behind:%d" % self.index
        theirs, ours = (events_until(connection, token) for connection in self.listener)
        if theirs == ours:
            return self.results.ok()
        at = next((i for i, (x, y) in enumerate(zip(theirs, ours)) if x != y), min(len(theirs), len(ours)))
        self.fail("events\n       reference: %r\n       ours:      %r\n       before it:\n%s" % (theirs[at:at + 4], ours[at:at + 4], self.recent()))

    def judge_replies(self, stream, batch, piece):
        for (command, kind), theirs, ours in stream.play(batch, piece):
            self.index += 1
            self.history.append(command)
            executed = stream.followed(command, kind, theirs)
            if theirs == ours or self.explained(command, kind, theirs, ours):
                self.results.ok()
                continue
            parts = executed and zip(executed, resp.children(theirs) or [], resp.children(ours) or [])
            wrong = [(queued, x, y) for (queued, how), x, y in parts or [] if x != y and not self.explained(queued, how, x, y)]
            if executed and not wrong and theirs[:1] == ours[:1] == b"*" and theirs.split(b"\r\n")[0] == ours.split(b"\r\n")[0]:
                self.results.ok()
                continue
            self.difference(*(wrong[0] if wrong else (command, theirs, ours)))
        del self.history[:-HISTORY_MAX]

    def explained(self, command, kind, theirs, ours):
        if kind == "encoding":
            if ours == LISTPACK and (theirs == QUICKLIST or self.set_listpacks and theirs == HASHTABLE):
                return True
            if theirs == RAW and ours in (EMBSTR, INT) and self.bits:
                return True
        elif kind != "exact" and compare.alike(kind, resp.tree(theirs), resp.tree(ours)):
            return True
        return self.known.explain(show_command(command), theirs, ours) is not None

    def fail(self, text):
        self.differences += 1
        self.results.fail("%s, after command %d: %s" % (self.name, self.index, text))

    def difference(self, command, theirs, ours):
        self.differences += 1
        if self.differences > DIFFERENCES_MAX:
            return
        keys = {word for word in command[1:] if isinstance(word, bytes) and len(word) > 1}
        self.results.fail("%s, command %d: %s\n       reference: %s\n       ours:      %s\n       before it:\n%s" % (
            self.name, self.index, show_command(command)[:300], *different_parts(theirs, ours), self.recent(keys)))

    def recent(self, keys=None):
        touching = [show_command(past)[:160] for past in self.history[:-1]
                    if keys is None or keys & {word for word in past[1:] if isinstance(word, bytes)} or
                    past[0].upper() in (b"MULTI", b"EXEC", b"DISCARD", b"SELECT", b"SWAPDB", b"WATCH", b"CONFIG")]
        return "".join("         %s\n" % text for text in touching[-self.arguments.context:])

    # What scenes need beside judge().
    def compare_key(self, stream, key):
        """The key as it stands in the database of the stream."""
        database = stream.ours.call("CLIENT", "INFO").decode().split(" db=")[1].split()[0]
        failed = self.results.failed
        for side in (self.plain.reference, self.plain.ours):
            side.call("SELECT", database)
        self.comparison.compare_key(int(database), key, self.plain.reference, self.plain.ours)
        self.differences += self.results.failed - failed

    def wait(self, stream, command):
        sides = (self.reference, self.ours)
        before = [blocked_clients(side) for side in (self.plain.reference, self.plain.ours)]
        waiter = Waiter(self, stream, command, [side.connect(resp3=self.arguments.resp3) for side in sides])
        deadline = time.monotonic() + UNTIL_BLOCKED_S
        for side, was in zip((self.plain.reference, self.plain.ours), before):
            while blocked_clients(side) != was + 1:
                if time.monotonic() > deadline:
                    raise ValueError("%s does not block" % show_command(command))
        self.history.append([b"(waits)"] + command)
        return waiter

    def replay(self):
        """The log, replayed, gives the data it was written for."""
        side = self.plain.ours
        digest, before = side.call("DEBUG", "DIGEST"), fingerprints(side)
        side.call("DEBUG", "LOADAOF")
        if digest == side.call("DEBUG", "DIGEST"):
            return self.results.ok()
        after = fingerprints(side)
        changed = [name for name in sorted(set(before) | set(after)) if before.get(name) != after.get(name)]
        changed = [name for name in changed if not self.same_but_for_the_sign_of_zero(*name)]
        if not changed:
            return self.results.ok()
        database, key = changed[0]
        self.fail("DEBUG LOADAOF changes %d keys; database %d, %r: %r, then %r\n%s" % (
            len(changed), database, key, before.get(changed[0]), after.get(changed[0]), self.recent({key})))


    def same_but_for_the_sign_of_zero(self, database, key):
        """zset-minus-zero of known_differences.txt: under other limits a replay keeps another sign."""
        found = []
        for side in (self.plain.reference, self.plain.ours):
            side.call("SELECT", database)
            if side.call("TYPE", key) != b"zset":
                return False
            pairs = side.call("ZRANGE", key, 0, -1, "WITHSCORES")
            found.append([b"0" if word == b"-0" else word for word in pairs])
        return found[0] == found[1]


def events_until(connection, token):
    connection.send(resp.encode([b"PING", token]))
    events = []
    while not events or events[-1] != token:
        reply = resp.plain(resp.tree(connection.read()))
        events.append(reply if reply == token else tuple(reply[2:]))
    return [event for event in events[:-1] if b"__:short" not in event[0]]  # those expire: the reference looks when asked


def different_parts(theirs, ours):
    """Both replies for a human, from a little before the first byte that differs."""
    at = next((i for i, (x, y) in enumerate(zip(theirs, ours)) if x != y), min(len(theirs), len(ours)))
    start = max(0, at - 80) if at > 200 else 0
    return [("... " if start else "") + resp.show(reply[start:]) for reply in (theirs, ours)]


def blocked_clients(connection):
    for line in connection.call("INFO", "clients").decode().split("\r\n"):
        if line.startswith("blocked_clients:"):
            return int(line.split(":")[1])
    raise ValueError("INFO has no blocked_clients")


def show_command(command):
    def word(argument):
        text = repr(argument if isinstance(argument, bytes) else str(argument).encode())[2:-1]
        text = text if len(text) < 200 else "%s...(%d bytes)" % (text[:40], len(argument))
        return '"%s"' % text if not text or " " in text else text

    return " ".join(map(word, command))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, counting up from --seed")
    parser.add_argument("--count", type=int, default=100000, help="commands per seed")
    parser.add_argument("--resp3", action="store_true")
    parser.add_argument("--only", default="", help="families, separated by commas")
    parser.add_argument("--appendonly", action="store_true", help="ours writes its log, which is replayed on the way")
    parser.add_argument("--events", action="store_true", help="keyspace events are compared as well")
    parser.add_argument("--context", type=int, default=12, help="commands shown before a difference")
    parser.add_argument("--ours", default=OURS)
    parser.add_argument("--reference", default=REFERENCE)
    arguments = parser.parse_args()
    results = Results()
    differential = Differential(arguments, results)
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        try:
            differential.run(seed)
        except RuntimeError as error:  # a server did not start, or fell over
            results.fail("seed %d: %s" % (seed, error))
    for name, count in sorted(differential.known.used.items()):
        print("known difference %s: %d" % (name, count))
    results.finish()


if __name__ == "__main__":
    main()
