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

from group_members import Group
from server import OURS, Results, check, check_equal, eventually

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
    with group_of(3) as group:
        leader = group.leader()
        away = others(group, leader)[0]
        away.kill()
        value = "v" * 1_000_000
        for number in range(80):  # more than the log holds in memory
            check_equal(leader.ask("SET", "big%d" % number, value, timeout=10.0), ("+", b"OK"))
        leader.ask("HSET", "hash", "f", "v")
        away.start()
        eventually(lambda: field(away, "group_syncs_received") == "1", "all data came", WAIT)
        check_equal(leader.ask("SET", "behind", "1"), ("+", b"OK"))
        all_equal(group)
        away.kill()
        away.start()
        all_equal(group)


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


        def handed_on():
            # A write in between makes the other's log too old, and the election open.
            leader.ask("CLUSTER", "FAILOVER")
            return group.leader() not in (None, leader)

        eventually(handed_on, "another member leads", WAIT)


def test_writes_and_deadlines_wait_for_fsync_when_asked():
    with group_of(3, "--cluster-durability", "fsync", "--cluster-write-quorum", "all", "--cluster-read-quorum", "1") as group:
        leader = group.leader()
        check_equal(leader.ask("SET", "a", "1", "EX", "100"), ("+", b"OK"))
        all_equal(group)
        others(group, leader)[0].kill()
        reply = leader.ask("SET", "a", "2", timeout=10.0)
        check(reply[0] == "-", "every member is needed: %s" % (reply,))


if __name__ == "__main__":
    Results.run_module(globals(), TOGETHER)
