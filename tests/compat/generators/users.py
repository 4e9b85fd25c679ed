"""Users with random rules: commands of all families as they might run them (ACL DRYRUN) and as they do."""
from .ingredients import POOLS, Family

NAMES = [b"limited%d" % i for i in range(4)]
CATEGORIES = b"keyspace read write set sortedset list hash string bitmap hyperloglog geo stream fast slow blocking dangerous".split()
COMMANDS = b"""get set mget del append incr copy rename move expire object object|encoding lpush lrange lmove linsert blpop sadd
  smove sinterstore spop hset hget hincrby hscan zadd zrange zunionstore zpopmin xadd xread xreadgroup xautoclaim xgroup
  xgroup|create bitop bitfield pfadd pfcount pfmerge geoadd geosearchstore georadius sort sort_ro scan dump restore""".split()
PATTERNS = [b"*", b"k*", b"k1?", b"n[0-3]", b"{tag}*", b"", b"*:1"] + [name[0][:-1] + b"*" for name in POOLS.values()]
# Rules all of them have: what steers the connection must go on, or nobody knows what is in a transaction.
ALWAYS = [b"on", b"nopass", b"+@transaction", b"+@connection"]


class Users(Family):
    """`make`: one command of another family, or several, as makers return them."""

    def __init__(self, draw, make):
        super().__init__(draw)
        self.make = make

    def makers(self):
        return [(1, self.change), (3, self.dry_run), (3, self.as_user)]

    def first(self):
        return [self.change(name) for name in NAMES]

    def others(self):
        """Not PFMERGE of one key: the reference finds none in it, and lets users have it whose key it is not."""
        while True:
            made = self.make()
            made = made if isinstance(made, list) else [made]
            if not any(command[0].upper() == b"PFMERGE" and len(command) == 2 for command, _ in made):
                return made

    def rules(self):
        """Of one selector: mostly much is allowed, or nothing would ever be looked at closely."""
        choice, chance = self.random.choice, self.chance
        rules = [choice((b"+@all", b"+@all", b"+@read", b"-@all"))]
        for _ in range(self.random.randrange(6)):
            what = b"@" + choice(CATEGORIES) if chance(3) else choice(COMMANDS)
            rules.append(choice((b"+", b"+", b"-")) + what)
        rules.append(b"resetkeys")
        for _ in range(self.random.randrange(1, 5)):
            pattern = choice(PATTERNS)
            rules.append((choice((b"~", b"%R~", b"%W~", b"%RW~")) if pattern != b"*" or chance(2) else b"%R~") + pattern)
            if rules[-1] == b"~*":  # nothing may follow it
                break
        return rules

    def change(self, name=None):
        command = [b"ACL", b"SETUSER", name or self.random.choice(NAMES), b"reset", *self.rules()]
        for _ in range(self.random.choice((0, 0, 1, 2))):
            command.append(b"(" + b" ".join(self.rules()) + b")")
        return command + ALWAYS, "exact"

    def dry_run(self):
        command, _ = self.random.choice(self.others())
        return [b"ACL", b"DRYRUN", self.random.choice(NAMES)] + command, "exact"

    def as_user(self):
        """A few commands in a user's name; nobody else's come in between."""
        made = [([b"AUTH", self.random.choice(NAMES), b"any"], "exact")]
        for _ in range(self.random.randrange(1, 8)):
            others = self.others()
            # Who may read with a consumer but not make it first would make it here, not in the reference.
            made += others[:1] if others[0][0][:2] == [b"XGROUP", b"CREATECONSUMER"] else others
        return made + [([b"AUTH", b"default", b"any"], "exact")]
