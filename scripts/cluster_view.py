"""The picture of a local cluster that scripts/cluster shows: asked from its nodes with commands of Redis
Cluster (CLUSTER NODES, CLUSTER SHARDS, INFO), drawn as plain text or with colours.

  ring  AAAAAAAAAAAAAAAAAAAAABBBBBBBBBBBBBBBBBBBBBBCCCCCCCCCCCCCCCCCCCCC   a letter per 256 slots
     node             role          slots     keys    memory    ops/s     lag
  A  127.0.0.1:7001   master         5461      120    1.5 MB      120       0
     127.0.0.1:7004   replica of A              120    1.5 MB        0       0
"""
import socket

SLOTS = 16384
CELLS = 64  # of the ring
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
COLOURS = (32, 33, 34, 35, 36, 31, 92, 93, 94, 95, 96, 91)
ENDED = ("success", "failed", "canceled", "cancelled")  # of hand-overs


class Refused(Exception):
    """The server answered with an error."""


class Connection:
    """One connection to a node of this machine: a command, its reply as plain Python."""

    def __init__(self, port, timeout=2.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.reader = self.socket.makefile("rb")

    def close(self):
        self.reader.close()
        self.socket.close()

    def call(self, *words):
        words = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
        reply = self._reply()
        if isinstance(reply, Refused):
            raise reply
        return reply

    def _reply(self):
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        kind, rest = line[:1], line[1:-2].decode("utf-8", "replace")
        if kind == b"-":
            return Refused(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.reader.read(int(rest) + 2)[:-2].decode("utf-8", "replace")
        if kind == b"*":
            return None if rest == "-1" else [self._reply() for _ in range(int(rest))]
        return rest


def pairs(flat):
    """A flat list of names and values as a dictionary."""
    return dict(zip(flat[::2], flat[1::2]))


def info_fields(text):
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


class Member:
    """A line of CLUSTER NODES."""

    def __init__(self, line):
        words = line.split()
        self.id, address, flags, self.primary = words[0], words[1], words[2], words[3]
        self.port = int(address.split(",")[0].split("@")[0].rsplit(":", 1)[1])
        self.flags = flags.split(",")
        self.connected = words[7] == "connected"
        self.ranges, self.open_slots = [], []
        for word in words[8:]:
            if word.startswith("["):
                self.open_slots.append(word.strip("[]"))
            else:
                first, _, last = word.partition("-")
                self.ranges.append((int(first), int(last or first)))

    @property
    def slots(self):
        return sum(last - first + 1 for first, last in self.ranges)


class Asked:
    """What one node says of itself; `members`: how it sees the cluster. Empty: it does not answer."""

    def __init__(self, port):
        self.port, self.members, self.info, self.offset, self.state, self.hand_overs = port, [], {}, None, "", []
        try:
            connection = Connection(port)
        except OSError:
            return
        try:
            self._ask(connection)
        except (OSError, Refused, ValueError, IndexError):
            self.members = []
        finally:
            connection.close()

    def _ask(self, connection):
        self.info = info_fields(connection.call("INFO"))
        self.state = info_fields(connection.call("CLUSTER", "INFO")).get("cluster_state", "")
        self.members = [Member(line) for line in connection.call("CLUSTER", "NODES").splitlines()]
        own = self.own()
        for shard in connection.call("CLUSTER", "SHARDS"):
            for node in map(pairs, pairs(shard)["nodes"]):
                if own and node["id"] == own.id:
                    self.offset = node["replication-offset"]
        try:
            jobs = [pairs(job) for job in connection.call("CLUSTER", "GETSLOTMIGRATIONS")]
        except Refused:  # Redis has none of these
            jobs = []
        self.hand_overs = [job for job in jobs if str(job.get("state", "")).lower() not in ENDED]

    def own(self):
        return next((member for member in self.members if "myself" in member.flags), None)


def size_text(count):
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return ("%d %s" if unit == "B" else "%.1f %s") % (count, unit)
        count /= 1024


def owners(members):
    """The index in `members` of the owner of every slot; None: nobody."""
    table = [None] * SLOTS
    for number, member in enumerate(members):
        for first, last in member.ranges:
            table[first:last + 1] = [number] * (last - first + 1)
    return table


def ring_text(table, letters, paint):
    """A cell per part of the ring: who has most of it, in small dots where nobody has."""
    cells, width = [], SLOTS // CELLS
    for at in range(0, SLOTS, width):
        part = table[at:at + width]
        most = max(set(part), key=part.count)
        cells.append("." if most is None else paint(letters[most]))
    return "".join(cells)


def lag_text(asked, member, by_id):
    """How far its copy is behind the one it follows, in what the servers count: bytes, or entries."""
    primary = by_id.get(member.primary)
    if not asked or asked.offset is None or primary is None:
        return "-"
    leader = primary.get("asked")
    return str(max(leader.offset - asked.offset, 0)) if leader and leader.offset is not None else "-"


def hand_over_lines(answers, names):
    """Slots on their way: open ones as CLUSTER NODES shows them, and jobs as GETSLOTMIGRATIONS does."""
    lines = []
    for asked in answers:
        own = asked.own()
        for text in own.open_slots if own else []:
            slot, arrow, other = text.partition("->-") if "->-" in text else text.partition("-<-")
            lines.append("slot %s %s %s" % (slot, "to" if arrow == "->-" else "from", names.get(other, other[:8])) +
                         " at %d" % asked.port)
        for job in asked.hand_overs:
            lines.append("slots %s from %s to %s: %s (%s at %d)" %
                         (job.get("slot_ranges", "?"), names.get(job.get("source_node"), "?"),
                          names.get(job.get("target_node"), "?"), job.get("state", "?"),
                          str(job.get("operation", "?")).lower(), asked.port))
    return lines


def draw(ports, clock, colours):
    """The whole picture, as lines."""
    answers = [Asked(port) for port in ports]
    seen = next((asked.members for asked in answers if asked.members), [])
    by_port = {asked.port: asked for asked in answers}
    members = sorted(seen, key=lambda member: member.port)
    masters = [member for member in members if member.slots]
    letters = {member.id: LETTERS[number % len(LETTERS)] for number, member in enumerate(masters)}
    names = {member.id: "%s:%d" % (letters.get(member.id, ""), member.port) for member in members}

    def paint_as(letter, text):
        colour = COLOURS[LETTERS.index(letter) % len(COLOURS)]
        return "\x1b[%dm%s\x1b[0m" % (colour, text) if colours else text

    table = owners(masters)
    served = SLOTS - table.count(None)
    running = [asked for asked in answers if asked.members]
    bad = [asked.port for asked in running if asked.state != "ok"]
    state = "down" if not running else "ok" if not bad else "not ok at " + ", ".join(map(str, bad))
    number = lambda asked, name: int(asked.info.get(name, 0))
    lines = ["%d of %d nodes answer, cluster %s, %d of %d slots, %d ops/s, %s   %s" %
             (len(running), len(ports), state, served, SLOTS,
              sum(number(asked, "instantaneous_ops_per_sec") for asked in running),
              size_text(sum(number(asked, "used_memory") for asked in running)), clock),
             "ring  " + ring_text(table, [letters[m.id] for m in masters], lambda letter: paint_as(letter, letter)),
             "   %-16s %-14s %6s %9s %10s %8s %8s" % ("node", "role", "slots", "keys", "memory", "ops/s", "lag")]
    by_id = {member.id: {"asked": by_port.get(member.port)} for member in members}
    for member in members:
        asked = by_port.get(member.port)
        asked = asked if asked and asked.members else None
        letter = letters.get(member.id, " ")
        role = "master" if "master" in member.flags else "replica of " + letters.get(member.primary, "?")
        troubles = [flag for flag in member.flags if flag in ("fail", "fail?", "handshake", "noaddr")]
        if not asked:
            troubles.append("does not answer")
        keys = asked.info.get("db0", "keys=0").split(",")[0].split("=")[1] if asked else "-"
        line = "%-16s %-14s %6s %9s %10s %8s %8s" % (
            "127.0.0.1:%d" % member.port, role, member.slots or "", keys,
            size_text(number(asked, "used_memory")) if asked else "-",
            number(asked, "instantaneous_ops_per_sec") if asked else "-", lag_text(asked, member, by_id))
        head = paint_as(letter, letter) if letter != " " else letter
        lines.append(("%s  %s  %s" % (head, line, ", ".join(troubles))).rstrip())
    known = {member.port for member in members}
    lines += ["   127.0.0.1:%-6d is not in the cluster" % port for port in ports if port not in known]
    moves = hand_over_lines(running, names)
    return lines + ["hand-overs: " + ("none" if not moves else "")] + ["  " + move for move in moves]
