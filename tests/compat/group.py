#!/usr/bin/python3
"""A replica group of real processes: it forms, redirects, keeps what it acknowledged when members are
killed, stopped and wiped, says what it does not know, and heals.

  group.py [WORD...]      tests whose names hold a word
"""
import contextlib
import os
import shutil
import threading
import time

import resp
from certificates import Certificates, Connection
from group_members import Group
from server import OURS, Results, check, check_equal, eventually, free_port

TOGETHER = 2  # groups at a time
WAIT = 30.0  # seconds for what must come in the end
ARGUMENTS = ["--enable-debug-command", "yes"]


@contextlib.contextmanager
def group_of(count, *arguments):
    group = Group(OURS, count, [*ARGUMENTS, *arguments], with_network=False)
    try:
        check(group.wait_for_leader(WAIT), "nobody leads:\n" + group.members[0].log())
        yield group
        for member in group.members:
            for trouble in ("ASSERTION", "CRITICAL"):
                check(trouble not in member.log(), "%s in the log:\n%s" % (trouble, member.log()))
    finally:
        group.close()


def all_data_came(away, group):
    try:
        eventually(lambda: field(away, "group_syncs_received") not in (None, "0"), "all data came", WAIT)
    except AssertionError:
        logs = "\n".join("%s:\n%s" % (member.address, member.log()[-3000:]) for member in group.members)
        check(False, "all data came: %s received by %s\n%s" % (field(away, "group_syncs_received"), away.address, logs))


def others(group, member):
    return [one for one in group.members if one is not member]


def field(member, name):
    text = member.ask("INFO", "cluster")
    for line in (text[1] if text else b"").split(b"\r\n"):
        if line.startswith(name.encode() + b":"):
            return line.split(b":", 1)[1].decode()
    return None


def digests(group):
    return {member.ask("DEBUG", "DIGEST") for member in group.members}


def all_equal(group):
    eventually(lambda: len(digests(group)) == 1 and None not in digests(group), "equal data: %s" % digests(group), WAIT)


def test_a_group_forms_and_redirects():
    with group_of(3) as group:
        leader = group.leader()
        check_equal(leader.ask("SET", "a", "1"), ("+", b"OK"))
        for member in others(group, leader):
            check_equal(member.ask("GET", "a"), ("-", b"MOVED 15495 %s" % leader.address.encode()))
            check_equal(member.ask("CLUSTER", "INFO")[1].split(b"\r\n")[0], b"cluster_state:ok")
        kind, slots = leader.ask("CLUSTER", "SLOTS")
        check_equal(len(slots), 1)
        check_equal([node[1][1][1] for node in slots[0][1][2:]][0], leader.port)
        all_equal(group)


def replication_info(member):
    """INFO replication, as tools read it."""
    lines = member.ask("INFO", "replication")[1].decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def test_members_tell_tools_who_follows_whom():
    with group_of(3) as group:
        leader = group.leader()
        all_equal(group)

        def settled():
            info = replication_info(leader)
            lines = [info.get("slave%d" % number, "") for number in range(2)]
            return info["connected_slaves"] == "2" and all(",state=online,offset=%s," % info["master_repl_offset"] in line for line in lines)
        eventually(settled, "the leader has two followers", WAIT)
        info, role = replication_info(leader), leader.ask("ROLE")[1]
        check_equal((info["role"], role[0], len(role[2][1])), ("master", ("$", b"master"), 2))
        ports = sorted("port=%d" % member.port for member in others(group, leader))
        check_equal(sorted(info["slave%d" % number].split(",")[1] for number in range(2)), ports)
        for member in others(group, leader):
            info = replication_info(member)
            check_equal([info[name] for name in ("role", "master_port", "master_link_status", "connected_slaves")],
                        ["slave", str(leader.port), "up", "0"])
            check_equal(member.ask("ROLE")[1][:4], [("$", b"slave"), ("$", b"127.0.0.1"), (":", leader.port), ("$", b"connected")])
        leader.kill()
        eventually(lambda: sorted(replication_info(member)["role"] for member in others(group, leader)) == ["master", "slave"], "another one leads", WAIT)


def test_replies_of_all_kinds_wait_and_come():
    with group_of(3) as group:
        leader = group.leader()
        check_equal(leader.ask("INCR", "n"), (":", 1))
        check_equal(leader.ask("SETNX", "n", "5"), (":", 0))
        check_equal(leader.ask("EVAL", "redis.call('SET', KEYS[1], 'x'); return redis.call('GET', KEYS[1])", "1", "s"), ("$", b"x"))
        check_equal(leader.ask("SET", "gone", "1", "PX", "30"), ("+", b"OK"))
        eventually(lambda: leader.ask("GET", "gone") == ("$", None), "it expires", WAIT)
        check_equal(leader.ask("WAIT", "1", "1000")[0], ":")
        all_equal(group)
        eventually(lambda: all(field(one, "group_committed") == field(leader, "group_committed") for one in group.members),
                   "followers hear of the end", WAIT)


def test_acknowledged_writes_outlive_leaders():
    with group_of(3) as group:
        acknowledged, stop = [], threading.Event()

        def write(number):
            count, member = 0, group.members[number % 3]
            while not stop.is_set():
                key = "k%d:%d" % (number, count)
                reply = member.ask("SET", key, count, timeout=1.0)
                if reply == ("+", b"OK"):
                    acknowledged.append(key)
                if reply is None or (reply[0] == "-" and not reply[1].startswith(b"UNCERTAIN")):
                    member = group.members[(member.number + 1) % 3]
                count += 1

        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        for act in ("kill", "pause", "kill"):
            time.sleep(0.7)
            leader = group.wait_for_leader(WAIT)
            leader.kill() if act == "kill" else leader.pause()
            check(group.wait_for_leader(WAIT), "nobody leads after %s" % act)
            leader.start() if act == "kill" else leader.resume()
        stop.set()
        for writer in writers:
            writer.join()
        check(len(acknowledged) > 50, "writes were taken")
        leader = group.wait_for_leader(WAIT)
        missing = [key for key in acknowledged if leader.ask("EXISTS", key) != (":", 1)]
        check_equal(missing, [])
        all_equal(group)


def test_too_few_members_say_so():
    with group_of(3) as group:
        leader = group.leader()
        check_equal(leader.ask("SET", "a", "1"), ("+", b"OK"))
        for member in others(group, leader):
            member.pause()
        kind, text = leader.ask("SET", "a", "2", timeout=10.0)
        check(kind == "-" and text.startswith(b"UNCERTAIN g0 e"), text)
        entry = text.split()[1:]
        eventually(lambda: (leader.ask("SET", "a", "3") or (0, b""))[1].startswith(b"CLUSTERDOWN"), "it refuses", WAIT)
        check((leader.ask("GET", "a") or (0, b""))[1].startswith(b"CLUSTERDOWN"), "no read without a majority")
        for member in others(group, leader):
            member.resume()
        leader = group.wait_for_leader(WAIT)
        outcome = leader.ask("CLUSTER", "OUTCOME", *entry)
        expected = {b"COMMITTED": b"2", b"LOST": b"1"}
        check(outcome[1] in expected, outcome)
        check_equal(leader.ask("GET", "a"), ("$", expected[outcome[1]]))
        all_equal(group)


def test_a_deposed_leader_repairs_its_keys():
    with group_of(3) as group:
        old = group.leader()
        for number in range(200):
            old.ask("SET", "key%d" % number, "before")
        for member in others(group, old):
            member.pause()
        for number in range(5):
            old.ask("SET", "key%d" % number, "lost", timeout=0.1)
        old.pause()
        for member in others(group, old):  # what is on its way to them is lost
            member.kill()
            member.start()
        new = group.wait_for_leader(WAIT)
        check(new is not old, "another member leads")
        for number in range(3, 8):
            check_equal(new.ask("SET", "key%d" % number, "after"), ("+", b"OK"))
        old.resume()
        all_equal(group)
        check_equal(old.ask("GET", "key0")[0], "-")
        check(int(field(old, "group_keys_repaired")) >= 5, "keys were fetched one by one")
        check_equal(field(old, "group_syncs_received"), "0")
        check_equal(new.ask("GET", "key0"), ("$", b"before"))
        check_equal(new.ask("GET", "key4"), ("$", b"after"))


def test_a_wiped_member_is_let_in_again():
    with group_of(3) as group:
        leader = group.leader()
        for number in range(100):
            leader.ask("RPUSH", "list", number)
        wiped = others(group, leader)[0]
        wiped.kill()
        shutil.rmtree(os.path.join(wiped.dir, "group"))
        check_equal(leader.ask("SET", "a", "1"), ("+", b"OK"))
        wiped.start()
        all_equal(group)
        eventually(lambda: field(wiped, "group_intact") == "1", "it counts again", WAIT)


def test_who_is_far_behind_gets_all_data():
    with group_of(3, "--cluster-log-size", "1mb") as group:
        leader = group.leader()
        away = others(group, leader)[0]
        away.kill()
        value = "v" * 100_000
        for number in range(80):  # more than the log keeps
            check_equal(leader.ask("SET", "big%d" % number, value, timeout=10.0), ("+", b"OK"))
        leader.ask("HSET", "hash", "f", "v")
        away.start()
        all_data_came(away, group)
        check_equal(leader.ask("SET", "behind", "1"), ("+", b"OK"))
        all_equal(group)
        away.kill()
        away.start()
        all_equal(group)


def test_slots_that_are_equal_are_not_sent_again():
    with group_of(3, "--cluster-log-size", "1mb") as group:
        leader = group.leader()
        for number in range(2000):  # more than the log keeps: there are checkpoints, which is what a member begins with
            leader.ask("SET", "cold%d" % number, "%d" % number * 1000)
        leader.ask("HSET", "hash", *["%d" % number for number in range(200)])
        leader.ask("FUNCTION", "LOAD", "#!lua name=old\nredis.register_function('old', function() return 1 end)")
        all_equal(group)
        away = others(group, leader)[0]
        eventually(lambda: field(away, "group_checkpoints") not in (None, "0"), "a checkpoint", WAIT)
        away.kill()
        for number in range(80):  # more than the log keeps, in one slot
            check_equal(leader.ask("SET", "{hot}%d" % (number % 40), "v" * 100_000, timeout=10.0), ("+", b"OK"))
        for number in range(10):
            leader.ask("DEL", "cold%d" % number)
        leader.ask("FUNCTION", "LOAD", "#!lua name=new\nredis.register_function('new', function() return 2 end)")
        away.start()
        all_data_came(away, group)
        all_equal(group)
        check(int(field(leader, "group_slots_left_out")) > 500, "slots left out: %s" % field(leader, "group_slots_left_out"))
        check_equal(leader.ask("SET", "behind", "1"), ("+", b"OK"))
        all_equal(group)
        away.kill()
        away.start()  # from its own disk
        all_equal(group)
        keys = leader.ask("DBSIZE")
        leader.kill()
        leader = group.wait_for_leader(WAIT)
        check_equal(leader.ask("FCALL", "new", "0"), (":", 2))
        check_equal(leader.ask("DBSIZE"), keys)


def test_all_members_killed_keep_everything():
    with group_of(3) as group:
        leader = group.leader()
        for number in range(300):
            check_equal(leader.ask("SET", "key%d" % number, number), ("+", b"OK"))
        for member in group.members:
            member.kill()
        for member in group.members:
            member.start()
        leader = group.wait_for_leader(WAIT)
        check(leader, "nobody leads")
        check_equal(leader.ask("GET", "key299"), ("$", b"299"))
        all_equal(group)
        for member in group.members:
            member.child.terminate()
            check_equal(member.child.wait(), 0)
        for member in group.members:
            member.start()
        leader = group.wait_for_leader(WAIT)
        check_equal(leader.ask("GET", "key299"), ("$", b"299"))


def test_leadership_is_handed_on():
    with group_of(3) as group:
        leader = group.leader()
        check_equal(leader.ask("CLUSTER", "FAILOVER"), ("+", b"OK"))
        eventually(lambda: group.leader() not in (None, leader), "another member leads", WAIT)


def test_leadership_is_handed_on_under_writes():
    """Writes wait meanwhile: none is lost, none is uncertain, and nobody waits for an election timeout."""
    with group_of(3) as group:
        leader = group.leader()
        counts, refused = [0] * 4, [None] * 4

        def write(i):
            one = connect(leader)
            while refused[i] is None:
                reply = resp.tree(one.raw("INCR", "n"))
                if reply[0] == "-":
                    refused[i] = reply[1].decode()
                else:
                    counts[i] += 1

        writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for writer in writers:
            writer.start()
        eventually(lambda: min(counts) > 100, "they write", WAIT)
        check_equal(leader.ask("CLUSTER", "FAILOVER"), ("+", b"OK"))
        for writer in writers:
            writer.join(WAIT)
        # On a busy machine the next leader may not be known in time: then nothing happened, either.
        check(all(text and text.startswith(("MOVED ", "CLUSTERDOWN ")) for text in refused), "all are sent on: %s" % refused)
        eventually(lambda: group.leader() not in (None, leader), "another member leads", WAIT)
        check_equal(group.leader().ask("GET", "n", timeout=WAIT), ("$", b"%d" % sum(counts)))


def test_writes_and_deadlines_wait_for_fsync_when_asked():
    with group_of(3, "--cluster-durability", "fsync", "--cluster-write-quorum", "all", "--cluster-read-quorum", "1") as group:
        leader = group.leader()
        check_equal(leader.ask("SET", "a", "1", "EX", "100"), ("+", b"OK"))
        all_equal(group)
        others(group, leader)[0].kill()
        reply = leader.ask("SET", "a", "2", timeout=10.0)
        check(reply[0] == "-", "every member is needed: %s" % (reply,))


def connect(member, timeout=WAIT):
    return resp.Connection(member.port, host=member.host, timeout=timeout)


def version(member, key):
    kind, token = member.ask("OBJECT", "VERSION", key, timeout=WAIT)
    check_equal(kind, ":", token)
    return token


def lead(group, wanted):
    """That member leads, by CLUSTER FAILOVER as often as it takes."""
    def asked():
        leader = group.leader()
        if leader is not None and leader is not wanted:
            leader.ask("CLUSTER", "FAILOVER")
        return group.leader() is wanted
    eventually(asked, "member %d leads" % wanted.number, WAIT)


def test_versions_grow_with_every_change_and_never_go_down():
    with group_of(3) as group:
        leader = group.leader()
        check_equal(leader.ask("SET", "{v}a", "1"), ("+", b"OK"))
        first = version(leader, "{v}a")
        check_equal(first >> 40, int(field(leader, "group_epoch")))
        check_equal(first & (1 << 40) - 1, int(field(leader, "group_log_last")))
        check_equal(leader.ask("SET", "{v}b", "1"), ("+", b"OK"))
        check_equal(version(leader, "{v}a"), first, "unchanged")
        check_equal(leader.ask("APPEND", "{v}a", "2"), (":", 2))
        second = version(leader, "{v}a")
        check_equal(second, first + 2, "the entry that changed it last")
        check_equal(leader.ask("OBJECT", "VERSION", "{v}none"), ("$", None))
        with contextlib.closing(connect(leader)) as one:
            one.call("MULTI")
            one.call("OBJECT", "VERSION", "{v}a")
            one.call("SET", "{v}a", "3")
            one.call("OBJECT", "VERSION", "{v}a")
            before, _, within = one.call("EXEC")
        check_equal((before, within), (second, version(leader, "{v}a")), "the transaction's own entry")
        check_equal(within, second + 1)
        one = leader.ask("EVAL", "redis.call('SET', KEYS[1], '4'); return redis.call('OBJECT', 'VERSION', KEYS[1])", "1", "{v}a")
        check_equal(one, (":", version(leader, "{v}a")))
        follower = others(group, leader)[0]
        check(follower.ask("OBJECT", "VERSION", "{v}a")[1].startswith(b"MOVED "), "the leader tells")
        told = {key: version(leader, key) for key in ("{v}a", "{v}b")}

        def check_grown(what):
            now = group.wait_for_leader(WAIT)
            check(now, "nobody leads " + what)
            for key, before in list(told.items()):
                again = version(now, key)
                check(again >= before, "%s went down %s" % (key, what))
                check_equal(now.ask("SET", key, what), ("+", b"OK"))
                told[key] = version(now, key)
                check(told[key] > again, "%s did not grow %s" % (key, what))

        leader.ask("SET", "{v}b", "unread")
        leader.kill()
        check_grown("behind a failover")
        leader.start()
        for member in group.members:
            member.kill()
        for member in group.members:
            member.start()
        check_grown("behind a restart of all")


def test_versions_outlast_a_checkpoint_and_a_full_synchronization():
    with group_of(3, "--cluster-log-size", "1mb") as group:
        leader = group.leader()
        leader.ask("SET", "kept", "1")
        token = version(leader, "kept")
        away = others(group, leader)[0]
        away.kill()
        value = "v" * 100_000
        for number in range(80):  # more than the log keeps
            check_equal(leader.ask("SET", "big%d" % number, value, timeout=10.0), ("+", b"OK"))
        check_equal(version(leader, "kept"), token)
        away.start()
        all_data_came(away, group)
        all_equal(group)
        lead(group, away)
        again = version(away, "kept")
        check(again > token, "another epoch")
        check_equal(away.ask("SET", "kept", "2"), ("+", b"OK"))
        check(version(away, "kept") > again, "it grew")
        eventually(lambda: any(int(field(member, "group_checkpoints")) > 0 for member in group.members), "a checkpoint", WAIT)
        again = version(away, "kept")
        for member in group.members:
            member.kill()
        for member in group.members:
            member.start()
        leader = group.wait_for_leader(WAIT)
        check(version(leader, "kept") >= again, "behind a restart from checkpoints")


ACQUIRE = ("if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('OBJECT', 'VERSION', KEYS[1]) end "
           "return 0")


class Fenced:
    """A resource that refuses tokens smaller than the greatest it has seen."""

    def __init__(self):
        self.lock, self.greatest, self.taken, self.refused = threading.Lock(), 0, [], 0

    def use(self, token, holder):
        with self.lock:
            if token < self.greatest:
                self.refused += 1
                return False
            self.greatest = token
            self.taken.append((token, holder))
            return True


def test_a_lock_with_fencing_keeps_late_holders_out():
    with group_of(3) as group:
        resource, stop, lock, holds = Fenced(), threading.Event(), threading.Lock(), []

        def hold(name):
            member, serial = group.members[name % 3], 0
            while not stop.is_set():
                serial += 1
                holder = "%d:%d" % (name, serial)
                began = time.monotonic()
                kind, token = member.ask("EVAL", ACQUIRE, "1", "lock", holder, "150", timeout=2.0) or ("-", b"no answer")
                if kind != ":":
                    member = group.members[(member.number + 1) % 3]
                    time.sleep(0.01)
                    continue
                if token == 0:
                    time.sleep(0.01)
                    continue
                with lock:
                    holds.append((began, time.monotonic(), token))
                resource.use(token, holder)
                if serial % 3 == 0:  # it sleeps longer than its lock lives, and believes to hold it
                    time.sleep(0.5)
                resource.use(token, holder)

        holders = [threading.Thread(target=hold, args=(name,)) for name in range(4)]
        for holder in holders:
            holder.start()
        for act in ("kill", "pause", "failover"):
            time.sleep(1.5)
            leader = group.wait_for_leader(WAIT)
            if act == "failover":
                leader.ask("CLUSTER", "FAILOVER")
                continue
            leader.kill() if act == "kill" else leader.pause()
            check(group.wait_for_leader(WAIT), "nobody leads after %s" % act)
            leader.start() if act == "kill" else leader.resume()
        time.sleep(1.0)
        stop.set()
        for holder in holders:
            holder.join()
        check(len(holds) > 10, "the lock was taken")
        check(len({token >> 40 for _, _, token in holds}) > 1, "under several leaders")
        check_equal(len({token for _, _, token in holds}), len(holds), "every holder has a token of its own")
        for _, returned, token in holds:
            for invoked, _, later in holds:
                check(invoked < returned or later > token, "who took the lock later has the smaller token")
        check(resource.refused > 0, "somebody came late")
        check_equal([token for token, _ in resource.taken], sorted(token for token, _ in resource.taken))


def shown(connection):
    pairs = connection.call("CLIENT", "CONSISTENCY")
    return dict(zip(pairs[::2], pairs[1::2]))


def test_a_connection_asks_for_more_only():
    with group_of(3) as group:
        with contextlib.closing(connect(group.leader())) as one:
            usual = {b"r": 2, b"w": 2, b"durability": b"memory", b"timeout": 2000}
            check_equal(shown(one), usual)
            for words, error in {
                ("W", "1"): "ERR W 1 is weaker than the group's 2: only more can be asked for",
                ("R", "1"): "ERR R 1 is weaker than the group's 2: only more can be asked for",
                ("W", "4"): "ERR W 4 is more than the group's 3 members",
                ("W", "most"): "ERR W must be a number of members, majority or all",
                ("R", "lease"): "ERR R must be a number of members, majority or all",
                ("DURABILITY", "none"): "ERR DURABILITY must be memory or fsync",
                ("TIMEOUT", "0"): "ERR TIMEOUT must be a number of milliseconds, at least 1",
                ("ONCE",): "ERR ONCE needs something to ask for: R, W, DURABILITY or TIMEOUT",
                ("W",): "ERR syntax error",
                ("X", "1"): "ERR syntax error",
            }.items():
                check_equal(one.error("CLIENT", "CONSISTENCY", *words), error)
            check_equal(shown(one), usual)
            one.call("CLIENT", "CONSISTENCY", "W", "all", "TIMEOUT", "500", "durability", "fsync")
            one.call("CLIENT", "CONSISTENCY", "R", "3")
            check_equal(shown(one), {b"r": 3, b"w": 3, b"durability": b"fsync", b"timeout": 500})
            eventually(lambda: one.raw("SET", "a", "1") == b"+OK\r\n", "all three are there", WAIT)
            check_equal(one.call("GET", "a"), b"1")
            one.call("RESET")
            check_equal(shown(one), usual)
    with group_of(3, "--cluster-durability", "fsync") as group:
        with contextlib.closing(connect(group.leader())) as one:
            check_equal(one.error("CLIENT", "CONSISTENCY", "DURABILITY", "memory"),
                        "ERR DURABILITY memory is weaker than the group's fsync: only more can be asked for")


def test_what_a_connection_asks_for_is_waited_for():
    with group_of(3, "--cluster-election-timeout", "6000") as group:
        leader = group.leader()
        away = others(group, leader)[0]
        with contextlib.closing(connect(leader)) as plain, contextlib.closing(connect(leader)) as one:
            check_equal(plain.call("SET", "a", "1"), b"OK")
            one.call("CLIENT", "CONSISTENCY", "W", "3", "R", "3", "TIMEOUT", "300")
            eventually(lambda: resp.tree(one.raw("SET", "a", "2")) == ("+", b"OK"), "all three have it", WAIT)
            away.pause()
            check_equal(plain.call("SET", "a", "3"), b"OK")
            error = one.error("SET", "a", "4")
            check(error.startswith("UNCERTAIN g0 e"), error)
            check_equal(plain.call("CLUSTER", "OUTCOME", *error.split()[1:]), b"COMMITTED")
            check_equal(plain.call("GET", "a"), b"4")
            check_equal(one.error("GET", "a"), "CLUSTERDOWN The leader of the group could not be confirmed")
            # In the order of the pipeline, each as it asked.
            plain.call("CLIENT", "CONSISTENCY", "W", "3", "TIMEOUT", "300", "ONCE")
            replies = plain.pipeline([("PING",), ("SET", "a", "5"), ("SET", "a", "6"), ("GET", "a")])
            check(replies[1].startswith(b"-UNCERTAIN g0 e"), replies)
            check_equal([replies[0]] + replies[2:], [b"+PONG\r\n", b"+OK\r\n", b"$1\r\n6\r\n"])
            # When it is known that too few are there, nothing is begun.
            eventually(lambda: one.error("SET", "b", "1") == "CLUSTERDOWN NOQUORUM slot 3300: 2 of 3", "it refuses", WAIT)
            check(one.error("SET", "c", "1").startswith("CLUSTERDOWN NOQUORUM"), "it refuses")
            one.call("MULTI")
            one.call("SET", "c", "1")
            check(one.error("EXEC").startswith("CLUSTERDOWN NOQUORUM"), "it refuses a transaction")
            check_equal(plain.call("EXISTS", "c"), 0)
            one.call("RESET")
            check_equal(one.call("SET", "a", "8"), b"OK")
            away.resume()
            one.call("CLIENT", "CONSISTENCY", "W", "3", "DURABILITY", "fsync")
            eventually(lambda: resp.tree(one.raw("SET", "a", "9")) == ("+", b"OK"), "all three disks have it", WAIT)
            check_equal(one.call("WAITAOF", "1", "2", "1"), [1, 2])
        all_equal(group)


def test_a_longer_patience_than_the_groups():
    with group_of(3, "--cluster-election-timeout", "6000", "--cluster-write-timeout", "200") as group:
        leader = group.leader()
        with contextlib.closing(connect(leader)) as short, contextlib.closing(connect(leader)) as long:
            long.call("CLIENT", "CONSISTENCY", "TIMEOUT", "60000")
            for member in others(group, leader):
                member.pause()
            long.send(resp.encode(("INCR", "n")))
            error = short.error("SET", "a", "1")
            check(error.startswith("UNCERTAIN"), error)
            for member in others(group, leader):
                member.resume()
            check_equal(long.read(), b":1\r\n")


def test_waitaof_counts_disks():
    with group_of(3) as group:
        leader = group.leader()
        away = others(group, leader)[0]
        with contextlib.closing(connect(leader)) as one:
            one.call("SET", "a", "1")
            check_equal(one.call("WAITAOF", "1", "2", "20000"), [1, 2])
            away.pause()
            one.call("SET", "a", "2")
            check_equal(one.call("WAITAOF", "1", "1", "20000"), [1, 1])
            check_equal(one.call("WAITAOF", "1", "2", "300"), [1, 1])
            check_equal(one.call("WAIT", "2", "300"), 1)
            away.resume()
            check_equal(one.call("WAITAOF", "1", "2", "20000"), [1, 2])
        with contextlib.closing(connect(away)) as one:
            check(one.error("WAITAOF", "1", "0", "10").startswith("ERR WAITAOF cannot be used with replica"), "a follower")
            check(one.error("WAIT", "0", "10").startswith("ERR WAIT cannot be used with replica"), "a follower")


def test_a_lease_answers_reads_alone_and_never_with_old_data():
    with group_of(3, "--cluster-read-quorum", "lease", "--cluster-election-timeout", "3000") as group:
        old = group.leader()
        check_equal(old.ask("SET", "a", "before"), ("+", b"OK"))
        for member in others(group, old):
            member.pause()
        check_equal(old.ask("GET", "a"), ("$", b"before"), "nobody else is asked")
        for member in others(group, old):
            member.resume()
        old.pause()
        new = group.wait_for_leader(WAIT)
        check(new in others(group, old), "another member leads")
        check_equal(new.ask("SET", "a", "after", timeout=WAIT), ("+", b"OK"))
        # The reads are there before the old leader goes on, which believes to have led a moment ago.
        readers = [connect(old) for _ in range(8)]
        for reader in readers:
            reader.send(resp.encode(("GET", "a")) * 100)
        old.resume()
        for reader in readers:
            with contextlib.closing(reader):
                for _ in range(100):
                    reply = reader.read()
                    check(b"before" not in reply, "an old value")
        all_equal(group)


def test_messages_between_members_are_counted():
    with group_of(3) as group:
        leader = group.leader()

        def counts():
            info = dict(line.split(b":", 1) for line in leader.ask("CLUSTER", "INFO")[1].split(b"\r\n") if b":" in line)
            return [int(info[b"cluster_stats_messages_" + way]) for way in (b"sent", b"received")]

        before = counts()
        check_equal(leader.ask("SET", "a", "1"), ("+", b"OK"))
        after = counts()
        check(all(now > then > 0 for now, then in zip(after, before)), "a write is told of: %s, then %s" % (before, after))


def test_clients_with_tls_are_told_the_ports_of_tls():
    certificates = Certificates()
    try:
        with group_of(3) as group:
            for member in group.members:
                member.kill()
                member.tls_port = free_port()
                member.arguments = member.arguments + certificates.options(member.tls_port)
                member.start()
            leader = group.wait_for_leader(WAIT)
            check_equal(leader.ask("SET", "a", "1"), ("+", b"OK"))
            eventually(lambda: len(leader.ask("CLUSTER", "SLOTS")[1][0][1]) == 5, "all are there", WAIT)
            for member in group.members:
                plain = connect(member)
                secure = Connection(member.tls_port, certificates.context())
                for one, port in ((plain, lambda of: of.port), (secure, lambda of: of.tls_port)):
                    ports = {node[1] for node in one.call("CLUSTER", "SLOTS")[0][2:]}
                    check(port(leader) in ports and ports <= {port(of) for of in group.members}, "CLUSTER SLOTS: %s" % ports)
                    for of in group.members:
                        check(b":%d@%d " % (port(of), of.bus_port) in one.call("CLUSTER", "NODES"), "CLUSTER NODES")
                    if member is not leader:
                        check_equal(one.error("GET", "a"), "MOVED 15495 127.0.0.1:%d" % port(leader))
                    one.close()
    finally:
        certificates.remove()


if __name__ == "__main__":
    Results.run_module(globals(), TOGETHER)
