"""Compares everything two servers hold, key by key, with the most exact question each type allows."""
import compare
import resp
from generators.sorting import SORT_KEYS
from generators.zsets import LEX_KEYS

DATABASES = 16
# Ordered values lie byte for byte as in Redis, so DUMP (with rdbcompression no) is equal; hash tables
# are written in their own order, which loading them keeps in packed ones, streams with the times of
# their deliveries, lists in nodes whose boundaries depend on how long the list was packed (never, in 7.0).
DUMPED_ALIKE = {b"string", b"zset"}
ENCODING_UNASKED = SORT_KEYS + LEX_KEYS  # where it may differ for reasons the generators give
HYLL = b"HYLL"
CHECKSUM_BYTES = 10  # and the line end of the reply


def scan_all(connection, *words):
    """A whole iteration in small steps."""
    cursor, found = b"0", []
    while True:
        cursor, part = connection.call(*words[:2 if len(words) > 1 else 1], cursor, *words[2:], "COUNT", "7")
        found += part
        if cursor == b"0":
            return found


def questions(kind, key, encodings):
    """(command, kind of comparison) for one key."""
    asked = [([b"PEXPIRETIME", key], "ttl_ms")]
    if kind == b"stream":
        return asked + [([b"XRANGE", key, b"-", b"+"], "exact"), ([b"XINFO", b"STREAM", key, b"FULL", b"COUNT", 0], "xinfo"), ([b"XINFO", b"GROUPS", key], "xinfo"),
                        ([b"XINFO", b"STREAM", key], "xinfo")]
    if kind == b"list":
        asked.append(([b"LRANGE", key, 0, -1], "exact"))
    elif kind == b"set":
        asked.append(([b"SMEMBERS", key], "unordered"))
    elif kind == b"hash":
        asked.append(([b"HGETALL", key], "pairs"))
    if encodings[0] == encodings[1] and (kind in DUMPED_ALIKE or encodings[0] == b"intset"):
        asked.append(([b"DUMP", key], "dump"))
    if kind == b"zset":
        asked.append(([b"ZRANGE", key, 0, -1, b"WITHSCORES"], "exact"))
    return asked


def without_cardinality(dump):
    """A HyperLogLog in the reference keeps a cached cardinality, behind a flag in its last byte."""
    at = dump.find(HYLL)
    if not 0 < at < 16:
        return dump
    return dump[: at + 8] + dump[at + 16 : -CHECKSUM_BYTES]


class KeyspaceComparison:
    """Counts into `results`; `set_listpacks`: ours packs small sets, the reference does not; `recent`
    tells what touched the keys of a set."""

    def __init__(self, name, results, set_listpacks, recent=lambda keys: ""):
        self.name, self.results, self.set_listpacks, self.recent = name, results, set_listpacks, recent

    def fail(self, text):
        self.results.fail("%s, at the end: %s" % (self.name, text))

    def run(self, reference, ours, databases=range(DATABASES)):
        """Takes connections in RESP2."""
        for database in databases:
            lists = []
            for connection in (reference, ours):
                connection.call("SELECT", database)
                lists.append(sorted(connection.call("KEYS", "*")))
                if sorted(set(scan_all(connection, "SCAN"))) != lists[-1]:
                    self.fail("SCAN and KEYS disagree in database %d" % database)
                if connection.call("DBSIZE") != len(lists[-1]):
                    self.fail("DBSIZE of database %d is not its number of keys" % database)
            if lists[0] != lists[1]:
                self.fail("keys of database %d differ: only reference %r, only ours %r" % (
                    database, sorted(set(lists[0]) - set(lists[1]))[:10], sorted(set(lists[1]) - set(lists[0]))[:10]))
            mine = set(lists[1])
            for key in lists[0]:
                if key in mine:
                    self.compare_key(database, key, reference, ours)

    def compare_key(self, database, key, reference, ours):
        types = [connection.call("TYPE", key) for connection in (reference, ours)]
        encodings = [connection.call("OBJECT", "ENCODING", key) for connection in (reference, ours)]
        packed_here = encodings[1] == b"listpack" and (
            types[0] == b"list" or types[0] == b"set" and self.set_listpacks and encodings[0] == b"hashtable" )
        packed_here |= key in ENCODING_UNASKED
        packed_here |= encodings[0] == b"raw" and encodings[1] in (b"int", b"embstr")  # see differential.py
        if types[0] != types[1] or encodings[0] != encodings[1] and not packed_here:
            return self.fail("database %d, key %r: %r in %r there, %r in %r here\n%s" % (
                database, key, types[0], encodings[0], types[1], encodings[1], self.recent({key})))
        for command, kind in questions(types[0], key, encodings):
            theirs, mine = reference.raw(*command), ours.raw(*command)
            if theirs == mine or compare.alike(kind, resp.tree(theirs), resp.tree(mine)):
                self.results.ok()
            elif kind == "dump" and without_cardinality(theirs) == without_cardinality(mine):
                self.results.ok()
            else:
                self.fail("database %d: %s\n       reference: %s\n       ours:      %s\n%s" % (
                    database, b" ".join(word if isinstance(word, bytes) else b"%d" % word for word in command), resp.show(theirs), resp.show(mine), self.recent({key})))


def fingerprints(connection):
    """Digest and deadline of every key. The connection ends in database 0."""
    found = {}
    for database in range(DATABASES):
        connection.call("SELECT", database)
        for key in connection.call("KEYS", "*"):
            found[database, key] = connection.call("DEBUG", "DIGEST-VALUE", key), connection.call("PEXPIRETIME", key)
    connection.call("SELECT", 0)
    return found
