#!/usr/bin/python3
"""Audits what COMMAND says: for every command that redis-server and the server under test both
have, COMMAND INFO byte for byte, COMMAND DOCS but for prose (summaries, history), COMMAND GETKEYS and
GETKEYSANDFLAGS for a corpus of command lines; in RESP2 and RESP3.

  tests/compat/metadata.py [--all] [name ...]     --all: also print what is known to differ
"""
import re
import shlex
import sys

import resp
from server import OURS, REFERENCE, Results, ServerUnderTest

# (command, field) -> why ours differs on purpose. A field of COMMAND INFO is one of INFO_FIELDS, one
# of COMMAND DOCS its name. An entry that no longer differs fails the audit.
KNOWN = {
    ("flushdb", "complexity"): "the keys are released in the background, whatever their number",
    ("debug", "doc_flags"): "7.0 marks DEBUG as internal; tools do use it",
    ("restore-asking", "doc_flags"): "not marked as internal, like DEBUG",
    ("zrank", "arity"): "WITHSCORE came with 7.2",
    ("zrevrank", "arity"): "WITHSCORE came with 7.2",
    ("pfdebug", "doc_flags"): "not marked as internal, like DEBUG",
    ("replconf", "doc_flags"): "not marked as internal, like DEBUG",
    ("pfselftest", "doc_flags"): "not marked as internal, like DEBUG",
    ("command|getkeys", "arguments"): "documented since 7.2",
    ("command|getkeysandflags", "arguments"): "documented since 7.2",
    ("sort", "key specs"): "STORE's key can be found; keys that patterns make are not stated",
    ("sort_ro", "key specs"): "keys that patterns make are not stated",
    ("sort", "arguments"): "names key specs that are not stated",
    ("sort_ro", "arguments"): "names key specs that are not stated",
}

# Arguments that only ours documents, by token (or by name where there is none): the options of
# releases after 7.0. They are taken out before the comparison.
NEWER_ARGUMENTS = {
    "set": ("IFEQ", "IFNE", "IFDEQ", "IFDNE"),
    "client|kill": ("MAXAGE",),
    "xreadgroup": ("CLAIM",),
    "hscan": ("NOVALUES",),
    "zrank": ("WITHSCORE",),
    "zrevrank": ("WITHSCORE",),
}

# What redis-server has and ours leaves out on purpose.
ABSENT = ()

INFO_FIELDS = ("name", "arity", "flags", "first key", "last key", "step", "categories", "tips", "key specs")
SUBCOMMANDS = 9
# Prose, or history that a server which starts at 7.4 does not tell.
DOCS_IGNORED = (b"summary", b"history", b"subcommands")

# Command lines whose keys are asked for. Lines of commands that ours lacks are passed over.
KEY_LINES = r"""
GET k
GET
GET k x
get k
SET k v
SET k v GET
SET k v EX 10 get
SET k v XX
SET k GET
SET k
SETNX k v
SETEX k 10 v
PSETEX k 10 v
GETSET k v
GETDEL k
GETEX k
GETEX k PERSIST
GETEX k EX 10
APPEND k v
STRLEN k
SETRANGE k 0 v
GETRANGE k 0 1
SUBSTR k 0 1
INCR k
DECR k
INCRBY k 1
DECRBY k 1
INCRBYFLOAT k 1.5
MGET a b c
MGET a
MSET a 1 b 2
MSET a 1 b
MSETNX a 1 b 2
LCS a b
LCS a b IDX MINMATCHLEN 2 WITHMATCHLEN
LCS a
DEL a b c
UNLINK a b
EXISTS a b a
TOUCH a b
TYPE k
RENAME a b
RENAME a
RENAMENX a b
COPY a b
COPY a b DB 1 REPLACE
MOVE k 1
KEYS *
SCAN 0 MATCH x
RANDOMKEY x
DBSIZE x
EXPIRE k 1
EXPIRE k 1 NX
PEXPIRE k 1
EXPIREAT k 1
PEXPIREAT k 1
TTL k
PTTL k
EXPIRETIME k
PEXPIRETIME k
PERSIST k
OBJECT ENCODING k
OBJECT FREQ k
OBJECT IDLETIME k
OBJECT REFCOUNT k
OBJECT HELP
OBJECT NOSUCH k
OBJECT ENCODING
WATCH a b
UNWATCH a
MULTI a
EXEC a
MEMORY USAGE k
MEMORY USAGE k SAMPLES 5
MEMORY DOCTOR x
DEBUG OBJECT k
PUBLISH c m
SPUBLISH c m
SUBSCRIBE a b
SSUBSCRIBE a b
SUNSUBSCRIBE a
PING x
ECHO x
SELECT 1
CONFIG GET x
CONFIG SET a b
CONFIG
CLIENT LIST x
INFO x
NOSUCH x
"" x
config|get x
COMMAND GETKEYS get x
FLUSHALL x
SWAPDB 0 1
SORT k BY x STORE y
DUMP k
RESTORE k 0 x
MIGRATE host 6379 k 0 5000
MIGRATE host 6379 k 0 5000 COPY REPLACE AUTH keys
MIGRATE host 6379 "" 0 5000 KEYS a b
MIGRATE host 6379 "" 0 5000 AUTH2 auth keys keys keys keys
LPUSH k a b
SADD k a
HSET k f v
ZADD k 1 m
ZUNIONSTORE d 2 a b
ZUNIONSTORE d 3 a b
BITFIELD k GET u8 0
XREAD STREAMS a b 0 0
EVAL x 1 k
EVAL x 0
""".strip().split("\n")


def field_map(tree):
    """A map reply, in RESP2 an array of alternating names and values, as a dictionary of trees."""
    return {tree[1][i][1]: tree[1][i + 1] for i in range(0, len(tree[1]), 2)}


def info_rows(connection):
    rows = {}
    for row in resp.tree(connection.raw("COMMAND"))[1]:
        rows[row[1][0][1].decode()] = row[1]
        for sub in row[1][SUBCOMMANDS][1]:
            rows[sub[1][0][1].decode()] = sub[1]
    return rows


def docs_rows(connection):
    rows = {}

    def add(pairs):
        for name, entry in field_map(pairs).items():
            fields = field_map(entry)
            rows[name.decode()] = fields
            if b"subcommands" in fields:
                add(fields[b"subcommands"])

    add(resp.tree(connection.raw("COMMAND", "DOCS")))
    return rows


def bare_arguments(tree, newer):
    """The arguments without the releases that brought them, without the names of groups (Redis's are
    prose, ours follow from the members) and without those that only later releases have."""
    bare = []
    for child in tree[1]:
        fields = field_map(child)
        kind, name = fields[b"type"][1], fields[b"name"][1].decode()
        if fields.get(b"token", fields[b"name"])[1].decode() in newer and kind not in (b"oneof", b"block"):
            continue
        kept = []
        for field, value in fields.items():
            if field in (b"since", b"deprecated_since", b"display_text"):
                continue
            if field == b"name" and kind in (b"oneof", b"block"):
                continue
            kept.append((field, bare_arguments(value, newer) if field == b"arguments" else value))
        bare.append((child[0], kept))
    return bare


def order_of(complexity):
    """What stands in the first O(...), or the text when there is none."""
    text = complexity[1].decode() if complexity else ""
    found = re.search(r"O\(((?:[^()]|\([^()]*\))*)\)", text)
    return found.group(1) if found else text


class Audit:
    def __init__(self, results, wanted, show_known):
        self.results = results
        self.wanted = wanted
        self.show_known = show_known
        self.used = set()

    def same(self, command, field, theirs, ours):
        if theirs == ours:
            self.results.ok()
            return
        key = (command, field)
        if key in KNOWN:
            self.used.add(key)
            if self.show_known:
                print("known %s, %s: %s" % (command, field, KNOWN[key]))
            return
        self.results.fail("%s, %s:\n  reference %r\n  ours      %r" % (command, field, theirs, ours))

    def wants(self, command):
        return not self.wanted or command.split("|")[0] in self.wanted

    def info(self, theirs, ours):
        for command in sorted(set(theirs) & set(ours)):
            if not self.wants(command):
                continue
            a, b = theirs[command], ours[command]
            for i, field in enumerate(INFO_FIELDS):
                self.same(command, field, a[i], b[i])
            # Which subcommands there are may differ; how the list is sent may not.
            if a[SUBCOMMANDS][1] and b[SUBCOMMANDS][1] or not a[SUBCOMMANDS][1] and not b[SUBCOMMANDS][1]:
                self.same(command, "type of subcommands", a[SUBCOMMANDS][0], b[SUBCOMMANDS][0])

    def docs(self, theirs, ours):
        for command in sorted(set(theirs) & set(ours)):
            if not self.wants(command):
                continue
            a, b = theirs[command], ours[command]
            order = [field for field in a if field in b]
            self.same(command, "order of fields", order, [field for field in b if field in a])
            if not b.get(b"summary", ("$", b""))[1]:
                self.results.fail("%s has no summary" % command)
            newer = NEWER_ARGUMENTS.get(command, ())
            for field in sorted((set(a) | set(b)) - set(DOCS_IGNORED)):
                x, y = a.get(field), b.get(field)
                if field == b"complexity":
                    x, y = order_of(x), order_of(y)
                if field == b"arguments":
                    x, y = bare_arguments(x or ("*", []), ()), bare_arguments(y or ("*", []), newer)
                self.same(command, field.decode(), x, y)

    def unused(self, shared):
        for command, field in sorted(set(KNOWN) - self.used):
            if command in shared and self.wants(command):
                self.results.fail("%s, %s is listed as different but is the same" % (command, field))


def audit_keys(results, theirs, ours, shared):
    """Raw replies of both key-extracting subcommands."""
    for line in KEY_LINES:
        command = shlex.split(line)
        name = command[0].lower()
        if name and name not in shared and name.upper() != "NOSUCH" and "|" not in name:
            continue
        if len(command) > 1 and any(known.startswith(name + "|") for known in shared) and \
                name + "|" + command[1].lower() not in shared and command[1] != "NOSUCH":
            continue
        for verb in ("GETKEYS", "GETKEYSANDFLAGS"):
            a, b = theirs.raw("COMMAND", verb, *command), ours.raw("COMMAND", verb, *command)
            if a == b:
                results.ok()
            else:
                results.fail("COMMAND %s %s:\n  reference %s\n  ours      %s" % (verb, line, resp.show(a), resp.show(b)))


def audit_lists(results, theirs, ours, shared):
    """COMMAND LIST with filters, as far as both have the commands."""
    categories = theirs.call("ACL", "CAT")
    filters = [()] + [("FILTERBY", "ACLCAT", category) for category in categories]
    filters += [("filterby", "aclcat", category.upper()) for category in categories[:3]]
    filters += [("FILTERBY", "PATTERN", pattern) for pattern in (
        "*", "get*", "GET*", "*|*", "config|*", "CONFIG|g?t", "[ms]set", "nosuch*", "")]
    for each in filters:
        replies = []
        for connection in (theirs, ours):
            names = [name.decode() for name in connection.call("COMMAND", "LIST", *each)]
            if len(set(names)) != len(names):
                results.fail("COMMAND LIST %s names a command twice" % (each,))
            replies.append(sorted(set(names) & shared))
        if replies[0] == replies[1]:
            results.ok()
        else:
            results.fail("COMMAND LIST %s: only reference %s, only ours %s" % (
                each, sorted(set(replies[0]) - set(replies[1])), sorted(set(replies[1]) - set(replies[0]))))


def audit_consistency(results, ours):
    """COMMAND, COMMAND INFO, DOCS, LIST and COUNT speak of the same commands."""
    rows = info_rows(ours)
    top = [name for name in rows if "|" not in name]
    names = sorted(name.decode() for name in ours.call("COMMAND", "LIST"))
    for what, a, b in (("COUNT", ours.call("COMMAND", "COUNT"), len(top)), ("LIST", names, sorted(rows)),
                       ("DOCS", sorted(docs_rows(ours)), sorted(rows))):
        if a == b:
            results.ok()
        else:
            results.fail("COMMAND %s disagrees with COMMAND: %r, %r" % (what, a, b))
    for name in rows:
        one = resp.tree(ours.raw("COMMAND", "INFO", name.upper(), "nosuch"))[1]
        if one[0][1] == rows[name] and one[1][1] is None:
            results.ok()
        else:
            results.fail("COMMAND INFO %s differs from the row in COMMAND" % name)


def main():
    args = sys.argv[1:]
    show_known = "--all" in args
    wanted = [arg.lower() for arg in args if not arg.startswith("--")]
    results = Results()
    with ServerUnderTest(REFERENCE) as reference, ServerUnderTest(OURS) as server:
        shared = set()
        audit = Audit(results, wanted, show_known)
        for resp3 in (False, True):
            theirs, ours = reference.connect(resp3=resp3), server.connect(resp3=resp3)
            their_rows, our_rows = info_rows(theirs), info_rows(ours)
            shared = set(their_rows) & set(our_rows)
            audit.info(their_rows, our_rows)
            audit.docs(docs_rows(theirs), docs_rows(ours))
            if not wanted:
                absent = sorted(set(their_rows) - set(our_rows) - set(ABSENT))
                if absent:
                    results.fail("commands of the reference that are missing: %s" % ", ".join(absent))
                audit_keys(results, theirs, ours, shared)
                audit_lists(results, theirs, ours, shared)
                audit_consistency(results, ours)
        audit.unused(shared)
        if show_known:
            print("%d commands in common; only ours: %s" % (len(shared), ", ".join(sorted(set(our_rows) - shared))))
    results.finish()


if __name__ == "__main__":
    main()
