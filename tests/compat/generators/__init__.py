"""Random commands for differential.py, one module per family of commands.

Every module has one class derived from ingredients.Family whose makers() lists (weight, maker). A
maker returns one (command, kind) or a list of them that must follow each other; kind names how the
two replies are compared (compare.alike).
"""
from .ingredients import Draw
from . import bits, hashes, keys, lists, sets, sorting, streams, strings, zsets

# How often each family speaks.
FAMILIES = {"strings": (strings.Strings, 10), "keys": (keys.Keys, 14), "lists": (lists.Lists, 12), "sets": (sets.Sets, 12),
            "hashes": (hashes.Hashes, 11), "zsets": (zsets.ZSets, 13), "lex": (zsets.LexZSets, 4), "streams": (streams.Streams, 16), "bits": (bits.Bits, 5), "hyperloglogs": (bits.HyperLogLogs, 3), "geo": (bits.Geo, 5), "sorting": (sorting.Sorting, 4)}


class Generator:
    """All families, or those named, in one stream of commands."""

    def __init__(self, seed, names=()):
        self.draw = Draw(seed)
        self.random = self.draw.random
        self.makers, self.weights = [], []
        for name in names or FAMILIES:
            family, share = FAMILIES[name]
            made = family(self.draw)
            makers = made.makers()
            total = sum(weight for weight, _ in makers)
            self.makers += [maker for _, maker in makers]
            self.weights += [share * weight / total for weight, _ in makers]
        self.keys = keys.Keys(self.draw)
        self.named = list(zip(self.makers, self.weights))
        self.makers.append(self.get_keys)
        self.weights.append(0.005 * sum(self.weights))

    def get_keys(self):
        """Where the keys of a command are, as the command table says."""
        made = self.random.choices(*zip(*self.named))[0]()
        command = self.random.choice(made)[0] if isinstance(made, list) else made[0]
        return [b"COMMAND", self.random.choice((b"GETKEYS", b"GETKEYSANDFLAGS"))] + command, "exact"

    def first(self):
        return self.keys.first()

    def batch(self, size):
        """A list of (command, kind)."""
        commands = []
        while len(commands) < size:
            for maker in self.random.choices(self.makers, self.weights, k=size - len(commands)):
                made = maker()
                commands.extend(made if isinstance(made, list) else [made])
        return commands
