#!/usr/bin/python3
"""Kills the server with SIGKILL at random moments, N times in one directory, under load on every data
type with appendfsync always, rewrites and snapshots running; then flips bits in its files.

  torture.py [kill] [rot] [--cycles N] [--flips N] [--seed S] [--sealed]

kill: each client owns its keys and holds a model of them, changed only by acknowledged commands. After
a restart the keys must equal the model, or the model and a prefix of what was under way: several
commands, or MULTI blocks that count as one. Every start must succeed.
rot: one flipped bit in the RDB base must stop the start with an error that names the damage; one in
the log may (its format has no checksum), but must never crash the server.
--sealed: with data-encryption-key-file; then every flipped bit must be found.

A failure keeps the directory and names it. Repeating a seed repeats the choices, not the timing.
"""
import argparse
import copy
import os
import random
import shutil
import sys
import tempfile
import threading
import time

import resp
from persistence import Node, aof_file
from server import OURS, Results, check, check_equal

CLIENTS = 4
AHEAD_MAX = 4  # units a client sends before it reads replies
LIFE_SECONDS = (0.02, 0.6)  # between start and kill
KILLED_WHILE_STARTING = 0.1  # share of the cycles
FAR_MS = 4102444800000  # deadlines lie beyond this: nothing expires by itself
ARGUMENTS = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-min-size", "64kb",
             "--auto-aof-rewrite-percentage", "50", "--rdb-version", "12"]


class Chance(random.Random):
    def word(self, longest=24):
        return b"%x" % self.getrandbits(4 * self.randint(1, longest))

    def members(self, most=40):
        return [b"m%d" % self.randrange(700) for _ in range(self.choice((1, 1, 1, 3, most)))]

    def deadline(self):
        return FAR_MS + self.randrange(10**9)


class Stream:
    """What a stream and its one group hold."""

    def __init__(self):
        self.entries, self.last, self.delivered, self.pending = {}, 0, None, {}

    def __eq__(self, other):
        return isinstance(other, Stream) and (self.entries, self.delivered, self.pending) == (other.entries, other.delivered, other.pending)

    def __repr__(self):
        return "%d entries, delivered %r, %d pending" % (len(self.entries), self.delivered, len(self.pending))


# ---- commands: each function draws one for a key and returns (command, change of the model)


def on_string(chance, key, model):
    value, kind = chance.word(chance.choice((4, 24, 400))), chance.randrange(5)
    if kind == 0:
        deadline = chance.deadline()
        return [b"SET", key, value, b"PXAT", deadline], lambda m: m.update({key: value, (key, "deadline"): deadline})
    if kind == 1:
        return [b"SET", key, value], lambda m: (m.update({key: value}), m.pop((key, "deadline"), None))
    if kind == 2:
        return [b"APPEND", key, value], lambda m: m.update({key: m.get(key, b"") + value})
    if kind == 3 and key in model:
        return [b"PERSIST", key], lambda m: m.pop((key, "deadline"), None)
    at = chance.randrange(300)
    return [b"SETRANGE", key, at, value], lambda m: m.update({key: put_at(m.get(key, b""), at, value)})


def put_at(text, at, value):
    text = text.ljust(at, b"\0")
    return text[:at] + value + text[at + len(value):]


def on_counter(chance, key, model):
    step = chance.randrange(-1000, 1000)
    return [b"INCRBY", key, step], lambda m: m.update({key: b"%d" % (int(m.get(key, 0)) + step)})


def on_bits(chance, key, model):
    at, bit = chance.randrange(4000), chance.randrange(2)

    def change(m):
        text = bytearray(m.get(key, b"").ljust(at // 8 + 1, b"\0"))
        text[at // 8] = text[at // 8] & ~(128 >> at % 8) | (128 >> at % 8 if bit else 0)
        m[key] = bytes(text)

    return [b"SETBIT", key, at, bit], change


def on_hll(chance, key, model):
    members = chance.members()
    return [b"PFADD", key, *members], lambda m: m.setdefault(key, set()).update(members)


def on_list(chance, key, model):
    items, kind = [chance.word(chance.choice((4, 60))) for _ in range(chance.choice((1, 1, 1, 3, 60)))], chance.randrange(6)
    held = len(model.get(key, ()))
    if kind == 0 and held:
        at, item = chance.randrange(held), items[0]
        return [b"LSET", key, at, item], lambda m: m[key].__setitem__(at, item)
    if kind == 1 and held > 300:
        return [b"LTRIM", key, 20, 120], lambda m: m.update({key: m[key][20:121]})
    if kind == 2 and held > 1:
        return [b"LPOP", key], lambda m: m[key].pop(0)
    if kind == 3 and held > 1:
        return [b"LMOVE", key, key, b"RIGHT", b"LEFT"], lambda m: m[key].insert(0, m[key].pop())
    if kind == 4:
        return [b"LPUSH", key, *items], lambda m: m.update({key: items[::-1] + m.get(key, [])})
    return [b"RPUSH", key, *items], lambda m: m.update({key: m.get(key, []) + items})


def on_set(chance, key, model):
    members = [b"%d" % chance.randrange(900) for _ in range(chance.choice((1, 3, 40)))] if key.endswith(b"ints") else chance.members()
    if chance.randrange(3) == 0 and len(model.get(key, ())) > 50:
        return [b"SREM", key, *members], lambda m: m[key].difference_update(members)
    return [b"SADD", key, *members], lambda m: m.setdefault(key, set()).update(members)


def on_hash(chance, key, model):
    fields, kind = chance.members(), chance.randrange(5)
    held = model.get(key, {})
    if kind == 0 and len(held) > 50:
        return [b"HDEL", key, *fields], lambda m: [m[key].pop(field, None) for field in fields]
    if kind == 1 and held:
        field, deadline = chance.choice(sorted(held)), chance.deadline()
        return [b"HPEXPIREAT", key, deadline, b"FIELDS", 1, field], lambda m: m[key].update({field: (m[key][field][0], deadline)})
    if kind == 2:
        field, value = fields[0] + b"#", chance.word(60)
        return [b"HSET", key, field, value], lambda m: m.setdefault(key, {}).update({field: (value, -1)})
    values = [(field, chance.word()) for field in fields]
    return ([b"HSET", key, *(word for pair in values for word in pair)],
            lambda m: m.setdefault(key, {}).update({field: (value, -1) for field, value in values}))


def on_zset(chance, key, model):
    members, kind, held = chance.members(), chance.randrange(5), model.get(key, {})
    if kind == 0 and len(held) > 50:
        return [b"ZREM", key, *members], lambda m: [m[key].pop(member, None) for member in members]
    if kind == 1 and len(held) > 50:
        return [b"ZPOPMIN", key], lambda m: m[key].pop(min(m[key], key=lambda member: (m[key][member], member)))
    if kind == 2 and held:
        member, step = chance.choice(sorted(held)), chance.randrange(-50, 50)
        return [b"ZINCRBY", key, step, member], lambda m: m[key].update({member: m[key].get(member, 0) + step})
    scores = [(member, float(chance.randrange(-1000, 1000))) for member in members]
    return [b"ZADD", key, *(word for member, score in scores for word in (b"%d" % score, member))], lambda m: m.setdefault(key, {}).update(scores)


def on_geo(chance, key, model):
    member = chance.members(1)[0]
    return [b"GEOADD", key, b"%.3f" % chance.uniform(-170, 170), b"%.3f" % chance.uniform(-80, 80), member], lambda m: m.setdefault(key, set()).add(member)


def on_stream(chance, key, model):
    held, kind = model.get(key), chance.randrange(8)
    if held and held.delivered is None and kind < 3:
        return [b"XGROUP", b"CREATE", key, b"g", b"0"], lambda m: setattr(m[key], "delivered", 0)
    if held and held.delivered is not None and kind == 3:
        def deliver(m):
            stream = m[key]
            for number in [number for number in stream.entries if number > stream.delivered][:5]:
                stream.pending[number] = b"ann"
                stream.delivered = number
        return [b"XREADGROUP", b"GROUP", b"g", b"ann", b"COUNT", 5, b"STREAMS", key, b">"], deliver
    if held and held.pending and kind == 4:
        number = chance.choice(sorted(held.pending))
        return [b"XACK", key, b"g", b"%d-1" % number], lambda m: m[key].pending.pop(number, None)
    if held and kind == 5 and len(held.entries) > 100:
        return ([b"XTRIM", key, b"MAXLEN", 60],
                lambda m: setattr(m[key], "entries", dict(list(m[key].entries.items())[-60:])))
    if held and kind == 6 and len(held.entries) > 20:
        number = chance.choice(sorted(held.entries))
        return [b"XDEL", key, b"%d-1" % number], lambda m: m[key].entries.pop(number, None)
    step, value = chance.randint(1, 3), chance.word()

    def add(m):
        stream = m.setdefault(key, Stream())
        stream.last += step
        stream.entries[stream.last] = [b"field", value]

    # Numbered by the model at the time of sending: see Client.unit.
    return [b"XADD", key, (key, step), b"field", value], add


TYPES = {b"string": on_string, b"long": on_string, b"counter": on_counter, b"bits": on_bits, b"hll": on_hll, b"list": on_list, b"queue": on_list,
         b"set": on_set, b"ints": on_set, b"hash": on_hash, b"zset": on_zset, b"geo": on_geo, b"stream": on_stream}


class Unit:
    """One command, or several in MULTI: all or nothing."""

    def __init__(self, commands, changes, removed_from=None):
        self.commands, self.changes, self.removed_from = commands, changes, removed_from

    def encoded(self):
        block = len(self.commands) > 1
        return b"".join(map(resp.encode, [[b"MULTI"], *self.commands, [b"EXEC"]] if block else self.commands))

    def replies(self):
        return len(self.commands) + 2 if len(self.commands) > 1 else 1

    def apply(self, model):
        for change in self.changes:
            change(model)
        for name in [name for name, value in model.items() if isinstance(value, (list, set, dict)) and not value]:
            del model[name]


class Client:
    """Owns its keys. `model`: what was acknowledged; `flying`: units sent and not acknowledged."""

    def __init__(self, number, seed):
        self.name, self.chance = b"c%d" % number, Chance(seed * 1000 + number)
        self.model, self.flying, self.acknowledged = {}, [], 0

    def unit(self, ahead):
        """The next unit; `ahead` is the model with everything sent so far."""
        commands, changes = [], []
        if self.chance.random() < 0.05:
            return self.removal(ahead)
        for _ in range(self.chance.choice((1, 1, 1, 2, 5))):
            kind = self.chance.choice(sorted(TYPES))
            command, change = TYPES[kind](self.chance, self.name + b":" + kind, ahead)
            if command[0] == b"XADD":
                stream = ahead.get(command[1])
                command[2] = b"%d-1" % ((stream.last if stream else 0) + command[2][1])
            Unit([command], [change]).apply(ahead)
            commands.append(command)
            changes.append(change)
        return Unit(commands, changes)

    def removal(self, ahead):
        kind = self.chance.choice(sorted(TYPES))
        key = self.name + b":" + kind
        if kind == b"set" and len(ahead.get(key, ())) > 1:
            return Unit([[b"SPOP", key]], [], removed_from=key)
        unit = Unit([[b"DEL", key]], [lambda m: (m.pop(key, None), m.pop((key, "deadline"), None))])
        unit.apply(ahead)
        return unit

    def work(self, port):
        try:
            connection = resp.Connection(port, timeout=60)
            while True:
                self.round(connection)
        except (OSError, resp.Closed):
            pass  # killed

    def round(self, connection):
        ahead, units = copy.deepcopy(self.model), []
        for _ in range(self.chance.randint(1, AHEAD_MAX)):
            units.append(self.unit(ahead))
            if units[-1].removed_from:
                break  # what it removes is known with its reply
        self.flying = units
        connection.send(b"".join(unit.encoded() for unit in units))
        while self.flying:
            unit = self.flying[0]
            replies = [resp.tree(connection.read()) for _ in range(unit.replies())]
            bad = [reply for reply in replies if reply[0] == "-" or (reply[0] == "*" and any(each[0] == "-" for each in reply[1] or ()))]
            if bad:
                raise AssertionError("%r was refused: %r" % (unit.commands, bad))
            unit.apply(self.model)
            if unit.removed_from:
                self.model[unit.removed_from].discard(resp.plain(replies[0]))
            self.flying.pop(0)
            self.acknowledged += 1

    # ---- after the restart

    def verify(self, connection):
        found, model, tried = self.read(connection), self.model, []
        for unit in [None, *self.flying]:
            if unit:
                unit.apply(model)
                if unit.removed_from:
                    self.guess_removed(found, model, unit.removed_from)
            difference = self.difference(found, model) or self.missing_element(connection)
            if not difference:
                self.flying = []
                return
            tried.append(difference)
        raise AssertionError("client %r: the data are none of the %d states that may be: %s" % (self.name, len(tried), tried))

    @staticmethod
    def guess_removed(found, model, key):
        gone = model[key] - found.get(key, set())
        if len(gone) == 1:
            model[key] -= gone

    @staticmethod
    def difference(found, model):
        for name in sorted(set(found) | set(model), key=repr):
            if isinstance(name, bytes) and name.endswith(b"hll") and name in found and name in model:
                continue  # see missing_element
            if found.get(name) != model.get(name):
                return "%r is %.300r, should be %.300r" % (name, found.get(name), model.get(name))
        return None

    def missing_element(self, connection):
        """Elements that a HyperLogLog has change nothing when they are added to its copy."""
        key, copied = self.name + b":hll", self.name + b":copy"
        members = sorted(self.model.get(key, ()))
        if not members:
            return None
        connection.call("COPY", key, copied, "REPLACE")
        changed = connection.call("PFADD", copied, *members)
        connection.call("DEL", copied)
        return "an element is missing in %r" % key if changed else None

    def read(self, connection):
        found = {}
        for kind in TYPES:
            key = self.name + b":" + kind
            if not connection.call("EXISTS", key):
                continue
            deadline = connection.call("PEXPIRETIME", key)
            if deadline != -1:
                found[key, "deadline"] = deadline
            found[key] = self.value(connection, kind, key)
        return found

    @staticmethod
    def value(connection, kind, key):
        if kind in (b"list", b"queue"):
            return connection.call("LRANGE", key, 0, -1)
        if kind in (b"set", b"ints"):
            return set(connection.call("SMEMBERS", key))
        if kind == b"hash":
            pairs = connection.call("HGETALL", key)
            deadlines = connection.call("HPEXPIRETIME", key, "FIELDS", len(pairs) // 2, *pairs[::2])
            return {field: (value, at) for field, value, at in zip(pairs[::2], pairs[1::2], deadlines)}
        if kind in (b"zset", b"geo"):
            pairs = connection.call("ZRANGE", key, 0, -1, "WITHSCORES")
            return set(pairs[::2]) if kind == b"geo" else dict(zip(pairs[::2], map(float, pairs[1::2])))
        if kind == b"stream":
            stream, number = Stream(), lambda text: int(text.split(b"-")[0])
            stream.entries = {number(entry): fields for entry, fields in connection.call("XRANGE", key, "-", "+")}
            for group in connection.call("XINFO", "GROUPS", key):
                stream.delivered = number(dict(zip(group[::2], group[1::2]))[b"last-delivered-id"])
                stream.pending = {number(entry[0]): entry[1] for entry in connection.call("XPENDING", key, "g", "-", "+", 100000)}
            return stream
        return connection.call("GET", key)


def arguments_of(options, folder):
    if not options.sealed:
        return ARGUMENTS
    path = os.path.join(folder, "torture.key")
    if not os.path.exists(path):
        with open(path, "w") as out:
            out.write("%064x\n" % random.Random(1).getrandbits(256))
        os.chmod(path, 0o600)
    return ARGUMENTS + ["--data-encryption-key-file", path]


# ---- kill


def one_life(node, clients, chance):
    if chance.random() < KILLED_WHILE_STARTING:
        killer = threading.Timer(chance.uniform(0, 0.05), lambda: node.child and node.child.kill())
        killer.start()
        try:
            node.start()
        except AssertionError:
            if node.child.returncode != -9:
                raise
        finally:
            killer.cancel()  # what is started next is not its business
            killer.join()
        return node.kill()
    node.start()
    one = node.connect()
    for client in clients:
        client.verify(one)
    failures = []

    def work(client):
        try:
            client.work(node.port)
        except Exception as error:  # told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(*LIFE_SECONDS) / 2)
    if chance.random() < 0.3:
        one.raw(chance.choice(("BGREWRITEAOF", "BGSAVE")))
    time.sleep(chance.uniform(*LIFE_SECONDS) / 2)
    check(node.child.poll() is None, "the server ended by itself:\n" + node.log()[-3000:])
    node.kill()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def kill_cycles(options):
    chance = Chance(options.seed)
    node = Node(OURS)
    node.args = arguments_of(options, node.dir)
    clients = [Client(number, options.seed) for number in range(CLIENTS)]
    started = time.monotonic()
    try:
        for cycle in range(options.cycles):
            one_life(node, clients, chance)
            if (cycle + 1) % 50 == 0:
                print("     %d kills, %d commands acknowledged, %.0f s" % (cycle + 1, sum(client.acknowledged for client in clients),
                                                                       time.monotonic() - started))
                sys.stdout.flush()
        one = node.start().connect()
        for client in clients:
            client.verify(one)
    except BaseException:
        node.kill()
        print("after %d kills; the directory is kept: %s" % (cycle, node.dir))
        raise
    node.kill()
    shutil.rmtree(node.dir)
    print("     %d commands acknowledged, 0 missing; 0 refused starts in %d kills" % (sum(client.acknowledged for client in clients), options.cycles))


# ---- rot


def flip(path, whole, at, bit):
    bad = bytearray(whole)
    bad[at] ^= 1 << bit
    with open(path, "wb") as out:
        out.write(bytes(bad))


def flipped_bits(options, kind, must_refuse):
    """Flips in the file of this kind, one at a time, each followed by a start."""
    chance, refused = Chance(options.seed), 0
    with Node(OURS) as node:
        node.args = arguments_of(options, node.dir) + ["--auto-aof-rewrite-percentage", "0", "--aof-load-truncated", "no"]
        one = node.start().connect()
        client = Client(0, options.seed)
        if kind == ".base.":
            fill_for(client, one, 300)
            one.call("BGREWRITEAOF")
            deadline = time.monotonic() + 30
            while b"aof_rewrite_in_progress:0" not in one.call("INFO", "persistence"):
                check(time.monotonic() < deadline, "the rewrite does not end")
                time.sleep(0.01)
        fill_for(client, one, 100)
        node.kill()
        path = aof_file(node, kind)
        whole = open(path, "rb").read()
        for _ in range(options.flips):
            at, bit = chance.randrange(9 if must_refuse and not options.sealed else 0, len(whole)), chance.randrange(8)
            flip(path, whole, at, bit)
            where = "bit %d of byte %d of %s" % (bit, at, os.path.basename(path))
            try:
                node.start()
                node.kill()
                check(not must_refuse, "started with " + where + " flipped")
            except AssertionError:
                check_equal(node.child.poll(), 1, "exit code with %s flipped:\n%s\n" % (where, node.log()[-2000:]))
                check(os.path.basename(path) in node.log(), "the log does not name the file:\n" + node.log()[-2000:])
                refused += 1
        flip(path, whole, 0, 0)
        with open(path, "wb") as out:
            out.write(whole)
        client.verify(node.start().connect())
    print("     %d of %d flips refused, none crashed" % (refused, options.flips))


def fill_for(client, connection, rounds):
    for _ in range(rounds):
        client.round(connection)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help="of: kill, rot")
    parser.add_argument("--cycles", type=int, default=300)
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sealed", action="store_true", help="with encrypted files")
    options = parser.parse_args()
    if set(options.parts) - {"kill", "rot"}:
        parser.error("parts: kill, rot")
    results = Results()
    if not options.parts or "kill" in options.parts:
        results.run("%d kills under load, %s files" % (options.cycles, "sealed" if options.sealed else "plain"), kill_cycles, options)
    if not options.parts or "rot" in options.parts:
        results.run("flipped bits in the base", flipped_bits, options, ".base.", True)
        results.run("flipped bits in the log", flipped_bits, options, ".incr.", options.sealed)
    results.finish()


if __name__ == "__main__":
    main()
