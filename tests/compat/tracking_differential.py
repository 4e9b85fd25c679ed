#!/usr/bin/python3
"""Random client-side caching and publish/subscribe against redis-server: a few clients in RESP2 and
RESP3 turn tracking on and off in every mode, redirect to each other, read, write, subscribe, publish,
come and go. After every batch of commands each client's whole input, replies and messages in their
order, is compared byte for byte.

Left out: scripts (what they read is tracked here, as since Redis 7.2; redis-server 7.0 tracks the keys
that EVAL names, and tells a NOLOOP client in BCAST mode of its own scripts' changes), and what depends on
the moment (expiry, the table's limit). A client that begins BCAST NOLOOP in the turn in which it changed
keys may hear of them here, though it changed them itself: random seeds find that about once in 200,000
comparisons.
"""
import argparse
import random
import re

import resp
from server import OURS, REFERENCE, Results, ServerUnderTest

CLIENTS = 5
KEYS = [b"k1", b"k2", b"k3", b"user:1", b"user:2", b"item:1", b"it"]
# Where any but the first overlaps with one behind it, redis-server 7.0 replies the error and OK.
PREFIXES = [[b"user:"], [b"k"], [b"none"], [b""], [b"u"], [b"user:", b"item:"], [b"k", b"item:", b"u"], [b"u", b"user:"], [b"", b"k"],
            [b"it", b"k", b"item:"], [b"k", b"k"]]
CHANNELS = [b"c1", b"c2", b"__redis__:invalidate"]
DIFFERENCES_MAX = 5
VERSION = re.compile(rb"version\r\n\$\d\r\n[\d.]+\r\n")


class Client:
    """The same client on both servers, with the same id there."""

    def __init__(self, servers, resp3):
        self.connections = [server.connect() for server in servers]
        self.ids = [connection.call("CLIENT", "ID") for connection in self.connections]
        while self.ids[0] != self.ids[1]:
            low = self.ids.index(min(self.ids))
            self.connections[low].close()
            self.connections[low] = servers[low].connect()
            self.ids[low] = self.connections[low].call("CLIENT", "ID")
        self.id = self.ids[0]
        if resp3:
            for connection in self.connections:
                connection.raw("HELLO", "3")

    def send(self, commands):
        data = b"".join(map(resp.encode, commands))
        for connection in self.connections:
            connection.send(data)

    def received(self, token, commands=()):
        """Everything up to the reply to a PING sent behind the commands, on both."""
        self.send([*commands, [b"PING", token]])
        return [received_until(connection, token) for connection in self.connections]

    def close(self):
        for connection in self.connections:
            connection.close()


def received_until(connection, token):
    parts = []
    while not parts or token not in parts[-1]:
        parts.append(connection.read())
    return parts


class Play:
    def __init__(self, seed, servers, results):
        self.random, self.servers, self.results = random.Random(seed), servers, results
        self.seed, self.step, self.differences, self.history = seed, 0, 0, []
        self.targets = set()  # ids of clients that others redirected to
        self.clients = [Client(servers, i % 3 != 0) for i in range(CLIENTS)]

    def one(self, of):
        return self.random.choice(of)

    def some(self, of, most=3):
        return [self.one(of) for _ in range(self.random.randint(1, most))]

    def tracking(self):
        r = self.random.random()
        if r < 0.25:
            return [b"CLIENT", b"TRACKING", b"off"]
        options = []
        if self.random.random() < 0.4:
            options.append(b"BCAST")
            for prefix in self.one(PREFIXES) if self.random.random() < 0.8 else []:
                options += [b"PREFIX", prefix]
        for option, share in ((b"NOLOOP", 0.3), (b"OPTIN", 0.15), (b"OPTOUT", 0.15)):
            if self.random.random() < share:
                options.append(option)
        if self.random.random() < 0.35:
            target = self.one(self.clients)
            self.targets.add(target.id)
            options += [b"REDIRECT", b"%d" % target.id]
        self.random.shuffle(options) if b"PREFIX" not in options and b"REDIRECT" not in options else None
        return [b"CLIENT", b"TRACKING", b"on"] + options

    def read(self):
        key = self.one(KEYS)
        return self.one([[b"GET", key], [b"MGET"] + self.some(KEYS), [b"STRLEN", key], [b"EXISTS"] + self.some(KEYS), [b"TYPE", key],
                         [b"TTL", key], [b"LRANGE", key, b"0", b"-1"], [b"OBJECT", b"ENCODING", key], [b"DUMP", b"none"],
                         [b"BITCOUNT", key], [b"GETRANGE", key, b"0", b"1"]])

    def write(self):
        key, value = self.one(KEYS), b"%d" % self.random.randrange(5)
        r = self.random.random()
        if r < 0.03:
            return [self.one([b"FLUSHDB", b"FLUSHALL"])]
        if r < 0.05:
            return [b"SWAPDB", b"0", b"1"]
        if r < 0.1:
            return [b"SELECT", self.one([b"0", b"0", b"1"])]
        return self.one([[b"SET", key, value], [b"MSET"] + [word for key in self.some(KEYS) for word in (key, value)], [b"DEL"] + self.some(KEYS),
                         [b"INCR", key], [b"APPEND", key, value], [b"RENAME", key, self.one(KEYS)], [b"LPUSH", key, value], [b"GETDEL", key],
                         [b"EXPIRE", key, b"1000"], [b"PERSIST", key], [b"COPY", key, self.one(KEYS)], [b"SETNX", key, value],
                         [b"GETSET", key, value], [b"MOVE", key, b"1"], [b"SETRANGE", key, b"0", value]])

    def messages(self):
        """At most one pattern and any channels, so that what one message brings has an order."""
        channel = self.one(CHANNELS)
        return self.one([[b"SUBSCRIBE"] + self.some(CHANNELS), [b"UNSUBSCRIBE"] + self.some(CHANNELS), [b"PSUBSCRIBE", b"c*"], [b"PUNSUBSCRIBE", b"c*"],
                         [b"SSUBSCRIBE"] + self.some(CHANNELS), [b"SUNSUBSCRIBE"] + self.some(CHANNELS), [b"PUBLISH", channel, b"hello"], [b"PUBLISH", channel, b""],
                         [b"SPUBLISH", channel, b"shard"], [b"PUBSUB", b"NUMSUB"] + CHANNELS, [b"PUBSUB", b"SHARDNUMSUB"] + CHANNELS, [b"PUBSUB", b"NUMPAT"],
                         [b"PUBSUB", b"SHARDCHANNELS", channel], [b"PUBSUB", b"CHANNELS", channel]])

    def about_itself(self):
        return self.one([[b"CLIENT", b"TRACKINGINFO"], [b"CLIENT", b"GETREDIR"], [b"CLIENT", b"CACHING", self.one([b"yes", b"no"])], [b"CLIENT", b"CACHING", b"yes"],
                         [b"CLIENT", b"CACHING", b"no"], [b"PING"], [b"CLIENT", b"ID"], [b"NOSUCH"], [b"GET"]])

    def command(self):
        makers = (self.read, self.write, self.tracking, self.messages, self.about_itself)
        return self.random.choices(makers, (10, 10, 2, 2, 3))[0]()

    def batch(self):
        commands = []
        for _ in range(self.one((1, 1, 1, 2, 4))):
            r = self.random.random()
            if r < 0.2:
                queued = [self.one((self.read, self.write))() for _ in range(self.random.randint(1, 5))]
                commands += [[b"MULTI"], *[command for command in queued if command[0] != b"SWAPDB"], [b"EXEC"]]
            elif r < 0.22:
                commands.append([b"RESET"])
            elif r < 0.24:
                commands.append([b"HELLO", self.one([b"2", b"3", b"3"])])
            else:
                commands.append(self.command())
        return commands

    def come_and_go(self):
        at = self.random.randrange(CLIENTS)
        gone = self.clients[at]
        gone.send([[b"QUIT"]])
        for connection in gone.connections:
            connection.read_until_closed()
        gone.close()
        self.history.append("client %d leaves" % gone.id)
        self.clients[at] = Client(self.servers, self.random.random() < 0.7)

    def run(self, steps):
        for self.step in range(steps):
            if self.random.random() < 0.02:
                self.come_and_go()
            speaker, commands = self.one(self.clients), self.batch()
            self.history.append("client %d: %s" % (speaker.id, " ; ".join(b" ".join(command).decode() for command in commands)))
            # What the speaker caused has happened when the last of its commands is answered.
            first = speaker.received(b"end:%d" % self.step, commands)
            for client in [speaker] + [client for client in self.clients if client is not speaker]:
                theirs, ours = client.received(b"token:%d" % self.step)
                if client is speaker:
                    theirs, ours = first[0] + theirs, first[1] + ours
                if theirs == ours or comparable(theirs) == comparable(ours) or self.misplaced(client, speaker, theirs, ours):
                    self.results.ok()
                else:
                    self.difference(client, theirs, ours)
            if self.differences >= DIFFERENCES_MAX:
                return

    def misplaced(self, client, speaker, theirs, ours):
        """What others redirect to the client whose command causes it comes in front of the reply here, and
        behind that of an EXEC; in the reference on either side, as the command happens to be written,
        and as one element too many into the reply of an EXEC."""
        if client is not speaker or client.id not in self.targets:
            return False
        lines = [sorted(b"".join(comparable(side)).split(b"\r\n")) for side in (theirs, ours)]
        return lines[0] == lines[1]

    def difference(self, client, theirs, ours):
        self.differences += 1
        self.results.fail("seed %d, step %d, at client %d\n       reference: %s\n       ours:      %s\n       before it:\n%s" % (
            self.seed, self.step, client.id, b"".join(theirs), b"".join(ours), "".join("         %s\n" % line for line in self.history[-12:])))

    def close(self):
        for client in self.clients:
            client.close()


def comparable(parts):
    """The reference writes the NULL of a flush in the protocol of the client that tracks, whoever reads it;
    it calls small lists quicklists. HELLO tells the version."""
    return [VERSION.sub(b"version", part.replace(b"invalidate\r\n$-1\r\n", b"invalidate\r\n_\r\n").replace(
        b"$9\r\nquicklist\r\n", b"$8\r\nlistpack\r\n")) for part in parts]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, counting up from --seed")
    parser.add_argument("--steps", type=int, default=1500, help="batches per seed")
    arguments = parser.parse_args()
    results = Results()
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        with ServerUnderTest(REFERENCE) as reference, ServerUnderTest(OURS) as ours:
            play = Play(seed, (reference, ours), results)
            try:
                play.run(arguments.steps)
            except (resp.Closed, resp.NoReply, OSError) as error:
                results.fail("seed %d, step %d: %s: %s; %s" % (seed, play.step, type(error).__name__, error, play.history[-3:]))
            finally:
                play.close()
    results.finish()


if __name__ == "__main__":
    main()
