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
