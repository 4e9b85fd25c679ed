"""Decides whether two replies to the same command are the same, and reads the file of known
differences."""
import os
import re

import resp

KNOWN_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "known_differences.txt")


def masked(reply, unordered=False, mask_int=False, shape=False, pattern=None):
    """The tree with what may differ taken out."""
    kind, payload = reply
    if isinstance(payload, list):
        children = [masked(child, False, mask_int, shape, pattern) for child in payload]
        if unordered:
            if kind == "%":
                pairs = sorted(zip(children[::2], children[1::2]), key=repr)
                children = [child for pair in pairs for child in pair]
            else:
                children.sort(key=repr)
        return (kind, children)
    if shape:
        return (kind, payload is None)
    if mask_int and kind == ":":
        return (kind, 0)
    if pattern and isinstance(payload, bytes):
        return (kind, re.sub(pattern, b"<masked>", payload))
    return reply


def near(first, second, tolerance):
    """Equal trees, where integers >= 0 (and integers as bulk strings) may differ by `tolerance`."""
    if first == second:
        return True
    if first[0] != second[0]:
        return False
    a, b = first[1], second[1]
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(near(x, y, tolerance) for x, y in zip(a, b))
    if isinstance(a, int) and isinstance(b, int):
        return a >= 0 and b >= 0 and abs(a - b) <= tolerance
    return False


# Times in replies of XINFO: they pass, and the servers are not asked at the same instant.
PASSING = {b"idle", b"inactive", b"seen-time", b"active-time"}
# Fields that Redis added after 7.0, and what says how a radix tree is built inside.
NOT_IN_REFERENCE = {b"inactive", b"active-time"}
INSIDE = {b"radix-tree-nodes"}
TTL_SECONDS_TOLERANCE = 3
TTL_MILLIS_TOLERANCE = 5000


def alike(kind, theirs, ours):
    """Whether two different reply trees say the same, as far as commands of this kind can."""
    if kind == "ttl":
        return near(theirs, ours, TTL_SECONDS_TOLERANCE)
    if kind in ("ttl_ms", "idle"):
        return near(theirs, ours, TTL_MILLIS_TOLERANCE) if kind == "ttl_ms" else pending_alike(theirs, ours)
    if kind == "idletime":
        # In the reference that of a small integer counts since anyone used the number, and commands
        # that refuse what they found (MSETNX, RESTORE, RENAME onto itself, SMOVE) count as use.
        return theirs[0] == ours[0] == ":" and theirs[1] >= 0 and ours[1] >= 0
    if kind == "unordered":
        return masked(theirs, unordered=True) == masked(ours, unordered=True)
    if kind == "shape":
        return masked(theirs, shape=True) == masked(ours, shape=True)
    if kind == "pairs":
        return unordered_pairs(theirs) == unordered_pairs(ours)
    if kind in ("scan", "scan_pairs"):
        return scan_alike(theirs, ours, kind == "scan_pairs")
    if kind == "xinfo":
        return info_alike(fields(theirs), fields(ours))
    return False


def unordered_pairs(reply):
    """A flat array of pairs, an array of pairs or a map, in any order."""
    kind, payload = reply
    if not isinstance(payload, list):
        return reply
    if kind == "%" or all(child[0] != "*" for child in payload):
        return (kind, sorted(zip(payload[::2], payload[1::2]), key=repr))
    return (kind, sorted(payload, key=repr))


def scan_alike(theirs, ours, pairs):
    """One call for all: both cursors are back at 0."""
    parts = theirs[1], ours[1]
    if not all(isinstance(part, list) and len(part) == 2 and part[0] == ("$", b"0") for part in parts):
        return False
    first, second = parts[0][1], parts[1][1]
    return unordered_pairs(first) == unordered_pairs(second) if pairs else masked(first, True) == masked(second, True)


def pending_alike(theirs, ours):
    """XPENDING's list: [ID, consumer, idle time, deliveries] each."""
    if not (isinstance(theirs[1], list) and isinstance(ours[1], list) and len(theirs[1]) == len(ours[1])):
        return False
    return all(x == y or (isinstance(x[1], list) and isinstance(y[1], list) and x[1][:2] + x[1][3:] == y[1][:2] + y[1][3:] and
                          near(x[1][2], y[1][2], TTL_MILLIS_TOLERANCE))
               for x, y in zip(theirs[1], ours[1]))


def fields(reply):
    """XINFO's reply with its alternating names and values as dictionaries."""
    kind, payload = reply
    if not isinstance(payload, list):
        return reply
    names = payload[::2]
    if kind == "%" or (names and len(payload) % 2 == 0 and names[0] in (("$", b"name"), ("$", b"length"))):
        return {name[1]: fields(value) for name, value in zip(names, payload[1::2])}
    return (kind, [fields(child) for child in payload])


def info_alike(theirs, ours):
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if set(theirs) != set(ours) - (NOT_IN_REFERENCE - set(theirs)):
            return False
        return all(name in INSIDE or info_alike(value, ours[name]) or
                   name == b"radix-tree-keys" and emptied_nodes(value, ours[name]) or
                   name in PASSING and not_earlier(name, value, ours[name]) or
                   name in (b"pending", b"pel") and deliveries_alike(value, ours[name])
                   for name, value in theirs.items())
    if isinstance(theirs, dict) or isinstance(ours, dict):
        return False
    if isinstance(theirs[1], list) and isinstance(ours[1], list):
        return theirs[0] == ours[0] and len(theirs[1]) == len(ours[1]) and all(map(info_alike, theirs[1], ours[1]))
    return theirs == ours


def emptied_nodes(theirs, ours):
    """XTRIM of the reference keeps a first node of deleted entries alone if the last of them is not below MINID."""
    return theirs[0] == ours[0] == ":" and ours[1] + 1 == theirs[1]


def not_earlier(name, theirs, ours):
    """Since 7.2 a consumer is seen whenever it asks, in 7.0 only when it gets something."""
    if not (isinstance(theirs[1], int) and isinstance(ours[1], int)):
        return False
    later = ours[1] - theirs[1] if name in (b"seen-time", b"active-time") else theirs[1] - ours[1]
    return later >= -TTL_MILLIS_TOLERANCE


def deliveries_alike(theirs, ours):
    """Entries of a pending list: all equal but the time of delivery, last but one."""
    if theirs[0] != "*" or ours[0] != "*" or len(theirs[1]) != len(ours[1]):
        return False
    return all(x[1][:-2] == y[1][:-2] and x[1][-1] == y[1][-1] and near(x[1][-2], y[1][-2], TTL_MILLIS_TOLERANCE)
               for x, y in zip(theirs[1], ours[1]))


class KnownDifferences:
    """Blocks of `key: value` lines. A difference is known when the regular expressions of a block
    match the whole command line and, where given, the whole of both replies."""

    def __init__(self, path=KNOWN_PATH):
        self.blocks = []
        self.used = {}
        block = {}
        with open(path) as lines:
            for number, line in enumerate(list(lines) + [""], 1):
                line = line.strip()
                if line.startswith("#"):
                    continue
                if not line:
                    if block:
                        self._add(block, number)
                    block = {}
                    continue
                key, _, value = line.partition(":")
                block[key.strip()] = (block.get(key.strip(), "") + " " + value.strip()).strip()

    def _add(self, block, number):
        unknown = set(block) - {"name", "command", "reference", "ours", "why"}
        if unknown or not {"name", "command", "why"} <= set(block):
            raise ValueError("known_differences.txt, block before line %d: needs name, command, why" % number)
        patterns = {key: re.compile(block[key], re.IGNORECASE | re.DOTALL)
                    for key in ("command", "reference", "ours") if key in block}
        self.blocks.append((block["name"], patterns))

    def explain(self, command_line, reference, ours):
        """The name of the block that covers this difference, or None."""
        for name, patterns in self.blocks:
            texts = {"command": command_line, "reference": resp.show(reference, 1 << 30),
                     "ours": resp.show(ours, 1 << 30)}
            if all(pattern.fullmatch(texts[key]) for key, pattern in patterns.items()):
                self.used[name] = self.used.get(name, 0) + 1
                return name
        return None
