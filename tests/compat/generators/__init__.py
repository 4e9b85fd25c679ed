"""Random commands for differential.py, one module per family of commands.

Every module has one class derived from ingredients.Family whose makers() lists (weight, maker). A
maker returns one (command, kind) or a list of them that must follow each other; kind names how the
two replies are compared (compare.alike).
"""
from .ingredients import Draw
from . import bits, hashes, keys, lists, scripts, sets, sorting, streams, strings, users, zsets

# How often each family speaks.
FAMILIES = {"strings": (strings.Strings, 10), "keys": (keys.Keys, 14), "lists": (lists.Lists, 12), "sets": (sets.Sets, 12),
            "hashes": (hashes.Hashes, 11), "zsets": (zsets.ZSets, 13), "lex": (zsets.LexZSets, 4), "streams": (streams.Streams, 16), "bits": (bits.Bits, 5), "hyperloglogs": (bits.HyperLogLogs, 3), "geo": (bits.Geo, 5), "sorting": (sorting.Sorting, 4),
            "expressions": (scripts.Expressions, 3)}
# Scripts call commands of the other families: of those named, or of all.
SCRIPTS_SHARE = 10


def makers_of(families):
    """(maker, weight) of everything the families, with their shares, can say."""
    return [(maker, share * weight / sum(weight for weight, _ in family.makers()))
            for family, share in families for weight, maker in family.makers()]

USERS_SHARE = 0.004  # of all makers, per weight of the users' ones


class Generator:
    """All families, or those named, in one stream of commands."""

    def __init__(self, seed, names=()):
        self.draw = Draw(seed)
        self.random = self.draw.random
        plain = [name for name in names if name != "scripts"]
        families = [(FAMILIES[name][0](self.draw), FAMILIES[name][1]) for name in plain or FAMILIES]
        self.named = makers_of(families)
        if not names or "scripts" in names:
            speakers = [(scripts.Scripts(self.draw, self.named), SCRIPTS_SHARE)]
            self.named = makers_of(speakers) + (self.named if plain or not names else [])
        self.makers, self.weights = map(list, zip(*self.named))
        self.keys = keys.Keys(self.draw)
        self.users = users.Users(self.draw, self.any_command)
        total = sum(self.weights)
        self.makers.append(self.get_keys)
        self.weights.append(0.005 * total)
        for weight, maker in self.users.makers():
            self.makers.append(maker)
            self.weights.append(USERS_SHARE * weight * total)

    def any_command(self):
        return self.random.choices(*zip(*self.named))[0]()

    def get_keys(self):
        """Where the keys of a command are, as the command table says."""
        made = self.any_command()
        command = self.random.choice(made)[0] if isinstance(made, list) else made[0]
        return [b"COMMAND", self.random.choice((b"GETKEYS", b"GETKEYSANDFLAGS"))] + command, "exact"

    def first(self):
        return self.keys.first() + self.users.first()

    def batch(self, size):
        """A list of (command, kind)."""
        commands = []
        while len(commands) < size:
            for maker in self.random.choices(self.makers, self.weights, k=size - len(commands)):
                made = maker()
                commands.extend(made if isinstance(made, list) else [made])
        return commands
