#!/usr/bin/python3
"""The bus of a cluster among strangers: who knows the cluster's secret is talked to, in questions between nodes and
in the logs of groups; with tls-cluster all of it goes by TLS. The secret is changed while the cluster works.

  cluster_secure.py [WORD...]     tests whose names hold a word
"""
import contextlib
import os
import signal
import socket
import ssl
import struct
import tempfile
import time

import resp
from certificates import Certificates
from cluster_heals import SLOTS, is_witness, join, keys_of, reads, serves, three_vote
from cluster_nodes import PATIENCE, Node, Nodes, checked, client, eventually_all
from group import ARGUMENTS, all_equal, field, others
from group_members import Group
from server import OURS, Results, ServerUnderTest, check, check_equal, eventually

TOGETHER = 2  # tests at a time

OLD, NEW, OTHER = "the old secret of all nodes", "the new secret of all nodes", "the secret of somebody else"
NO_PROOF = "does not prove that it knows the cluster's secret"
WRONG_PROOF = "does not know the cluster's secret"
LOADED = "The cluster's secret was loaded again"

# cluster/group_frames.h
GROUP_VERSION, PROOF_FOLLOWS = 4, 1 << 31
PREAMBLE_BYTES, NONCE_BYTES, PROOF_BYTES = 64, 16, 32
NODE_GREETING_BYTES = 68


def group_preamble(proves, member=1, to=0):
    version = GROUP_VERSION | (PROOF_FOLLOWS if proves else 0)
    return b"QUOLLGRP" + struct.pack("<IQBBH", version, 1, member, to, 0) + b"a" * 40


def node_greeting():
    return b"QUOLLNOD" + struct.pack("<I", 1) + b"a" * 40 + b"n" * NONCE_BYTES


def answer(bus_port, text, wrap=None):
    """What whoever listens there says to that, until it ends the connection."""
    heard = b""
    with socket.create_connection(("127.0.0.1", bus_port), timeout=PATIENCE) as connection:
        try:
            if wrap:
                connection = wrap(connection)
            connection.sendall(text)
            while True:
                more = connection.recv(65536)
                if not more:
                    return heard
                heard += more
        except (ConnectionError, ssl.SSLError):
            return heard


class SecretFile:
    def __init__(self, *secrets):
        self.path = tempfile.mkstemp(prefix="quoll-secret-")[1]
        self.write(*secrets)

    def write(self, *secrets):
        with open(self.path, "w") as out:
            out.write("\n".join(secrets) + "\n")

    @property
    def args(self):
        return ["--cluster-secret-file", self.path]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.unlink(self.path)


@contextlib.contextmanager
def certificates():
    made = Certificates()
    try:
        yield made
    finally:
        made.remove()


def tls_args(made, name="server"):
    return ["--tls-cluster", "yes", "--tls-cert-file", made.path(name + ".crt"), "--tls-key-file", made.path(name + ".key"),
            "--tls-ca-cert-file", made.path("ca.crt"), "--tls-auth-clients", "no"]


def leads(node):
    return "master" in node.lines()[node.id].split()[2]


def fails_over(nodes, keys):
    """The first one, which has all slots and so many keys, gets a replica and a witness, dies and comes back."""
    nodes[1].call("CLUSTER", "REPLICATE", nodes[0].id)
    eventually(lambda: three_vote(nodes[0]) and is_witness(nodes[2]), "a witness beside two", timeout=PATIENCE, pause=0.1)
    eventually(lambda: keys_of(nodes[1]) == keys, "the replica has the data", timeout=PATIENCE, pause=0.1)
    nodes[0].kill()
    eventually(lambda: leads(nodes[1]), "the replica leads", timeout=PATIENCE, pause=0.1)
    eventually(lambda: serves(nodes[1], "key7", b"7"), "it serves", timeout=PATIENCE, pause=0.1)
    check(client(nodes[1]).set("later", "x"), "it takes writes")
    nodes[0].start()
    eventually(lambda: reads(nodes[0], "later", b"x"), "the other one is a replica that has them", timeout=PATIENCE, pause=0.1)


def one_with_all_slots(nodes, *args):
    """And two more nodes of its cluster."""
    nodes[0].call("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS - 1))
    for _ in range(2):
        join(nodes, *args)
    many = client(nodes[0])
    for i in range(100):
        many.set("key%d" % i, i)


def test_a_cluster_by_tls_with_a_secret():
    with certificates() as made, SecretFile(OLD) as secret:
        args = tls_args(made) + secret.args
        with Nodes(1, formed=0, args=args) as nodes:
            one_with_all_slots(nodes, *args)
            many = client(nodes[0])
            for i in range(200):  # more than a connection takes at once
                many.set("large%d" % i, b"%d" % i * 30000)
            fails_over(nodes, 300)
            many = client(nodes[1])
            check(all(many.get("large%d" % i) == b"%d" % i * 30000 for i in range(200)), "every byte is there")
            for node in nodes:
                check("Error accepting" not in node.log() and "Error connecting" not in node.log(), node.log())


def test_a_cluster_by_tls_without_a_secret():
    with certificates() as made:
        with Nodes(3, args=tls_args(made)) as nodes:
            many = client(nodes[0])
            for i in range(100):
                many.set("key%d" % i, i)
            check_equal([int(many.get("key%d" % i)) for i in range(100)], list(range(100)))
            checked(nodes[1])


def test_a_group_by_tls_with_a_secret():
    with certificates() as made, SecretFile(OLD) as secret:
        group = Group(OURS, 3, [*ARGUMENTS, *tls_args(made), *secret.args], with_network=False)
        try:
            leader = group.wait_for_leader(PATIENCE)
            check(leader, "nobody leads:\n" + group.members[0].log())
            for i in range(100):
                check_equal(leader.ask("SET", "key%d" % i, str(i) * 20000), ("+", b"OK"))
            leader.kill()
            second = group.wait_for_leader(PATIENCE)
            check(second, "nobody leads")
            check_equal(second.ask("GET", "key77"), ("$", b"77" * 20000))
            leader.start()
            all_equal(group)
        finally:
            group.close()


def test_strangers_at_a_bus_with_tls_get_nothing():
    with certificates() as made, certificates() as others_made, SecretFile(OLD) as secret:
        args = tls_args(made) + secret.args
        with Nodes(1, formed=0, args=args) as (node,):
            port = node.bus_port
            for text in (node_greeting(), group_preamble(True) + b"n" * NONCE_BYTES, group_preamble(False), b"PING\r\n"):
                check(b"QUOLL" not in answer(port, text), "a plain connection was answered")
            eventually(lambda: "Error accepting cluster node connection: " in node.log(), "the log says so", timeout=PATIENCE)

            def by(context):
                return lambda connection: context.wrap_socket(connection, server_hostname="localhost")
            # Without a certificate, though clients need none here; with one of somebody else.
            check_equal(answer(port, node_greeting(), by(made.context())), b"")
            stranger = made.context()
            stranger.load_cert_chain(others_made.path("alice.crt"), others_made.path("alice.key"))
            check_equal(answer(port, node_greeting(), by(stranger)), b"")
            # With a good one, but without the secret: no more than a greeting, which proves nothing.
            good = by(made.context("alice"))
            check_equal(len(answer(port, node_greeting() + b"p" * PROOF_BYTES + b"question", good)) % NODE_GREETING_BYTES, 0)
            eventually(lambda: WRONG_PROOF in node.log(), "the log says so", timeout=PATIENCE)
            check_equal(answer(port, group_preamble(False), good), b"")
            # A node without TLS does not get in, nor one with TLS into a cluster without.
            plain = Node(*secret.args, "--cluster-join", "%s@%d" % (node.address, port))
            try:
                eventually(lambda: node.log().count("Error accepting cluster node connection: ") > 1, "it tries", timeout=PATIENCE)
                check_equal(plain.info()["cluster_known_nodes"], "1")
                check_equal(node.info()["cluster_known_nodes"], "1")
                node.call("CLUSTER", "MEET", "127.0.0.1", str(plain.port), str(plain.bus_port))
                eventually(lambda: "Error connecting to cluster node: " in node.log(), "it tries", timeout=PATIENCE)
                eventually(lambda: "is no node of a cluster" in plain.log(), "the log says so", timeout=PATIENCE)
                # The directive counts for the next connection, on either side.
                for name, path in (("cert", "server.crt"), ("key", "server.key"), ("ca-cert", "ca.crt")):
                    check_equal(plain.call("CONFIG", "SET", "tls-%s-file" % name, made.path(path)), b"OK")
                check_equal(plain.call("CONFIG", "SET", "tls-cluster", "yes"), b"OK")
                node.call("CLUSTER", "MEET", "127.0.0.1", str(plain.port), str(plain.bus_port))
                eventually_all([node, plain], lambda one: one.info()["cluster_known_nodes"] == "2", "they know each other")
            finally:
                plain.remove()


def test_tls_without_certificates_is_refused():
    def refused(reason, *more):
        server = ServerUnderTest(OURS, ["--cluster-enabled", "yes", "--tls-cluster", "yes", *more], wait=False)
        try:
            check_equal(server.wait_for_exit(PATIENCE), 1)
            check(reason in server.log() and "Failed to configure TLS" in server.log(), server.log())
        finally:
            server.stop()
    with certificates() as made:
        refused("No tls-cert-file configured!")
        refused("No tls-key-file configured!", "--tls-cert-file", made.path("server.crt"))
        refused("Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster", "--tls-cert-file",
                made.path("server.crt"), "--tls-key-file", made.path("server.key"), "--tls-auth-clients", "no")
    with Nodes(1, formed=0) as (node,):
        check_equal(node.connect().error("CONFIG", "SET", "tls-cluster", "yes"),
                    "ERR CONFIG SET failed (possibly related to argument 'tls-cluster') - Unable to update TLS configuration. "
                    "Check server logs.")
        check_equal(node.call("CONFIG", "GET", "tls-cluster")[1], b"no")


def test_a_group_hears_nobody_without_a_proof():
    with SecretFile(OLD) as secret:
        group = Group(OURS, 3, [*ARGUMENTS, *secret.args], with_network=False)
        try:
            leader = group.wait_for_leader(PATIENCE)
            check(leader, "nobody leads:\n" + group.members[0].log())
            first = group.members[0]
            check_equal(answer(first.bus_port, group_preamble(False)), b"")
            eventually(lambda: NO_PROOF in first.log(), "the log says so", timeout=PATIENCE)
            # What has been told in the last seconds is not told again.
            for _ in range(50):
                check_equal(answer(first.bus_port, group_preamble(False)), b"")
            check(first.log().count(NO_PROOF) < 25, "the log is full of it:\n" + first.log()[-3000:])
            check_equal(answer(first.bus_port, group_preamble(True)), b"")  # after a while
            check_equal(answer(first.bus_port, os.urandom(5000)), b"")
            check_equal(leader.ask("SET", "a", "1"), ("+", b"OK"))
            all_equal(group)
        finally:
            group.close()


def hang_up(member):
    """The secret is read again."""
    before = member.log().count(LOADED)
    os.kill(member.child.pid, signal.SIGHUP)
    eventually(lambda: member.log().count(LOADED) > before, "the secret is loaded", timeout=PATIENCE)


def test_a_member_with_another_secret_never_counts():
    with SecretFile(OLD) as secret, SecretFile(OTHER) as other:
        group = Group(OURS, 3, [*ARGUMENTS, *secret.args], with_network=False)
        try:
            check(group.wait_for_leader(PATIENCE), "nobody leads:\n" + group.members[0].log())
            last = group.members[2]
            last.kill()
            last.arguments = [other.path if word == secret.path else word for word in last.arguments]
            last.start()
            eventually(lambda: any(WRONG_PROOF in member.log() for member in group.members[:2]), "the log says so", timeout=PATIENCE)
            eventually(lambda: "may know another one" in last.log(), "so does that of the other one", timeout=PATIENCE)
            leader = group.wait_for_leader(PATIENCE)
            check_equal(leader.ask("SET", "a", "1"), ("+", b"OK"))
            check_equal(field(leader, "cluster_state") or "ok", "ok")
            # Without the second one there is no majority: the last one is nobody.
            second = next(member for member in others(group, leader) if member is not last)
            second.pause()
            check(leader.ask("SET", "b", "2", timeout=4) != ("+", b"OK"), "a write that only one has was acknowledged")
            check(last.ask("SET", "b", "2", timeout=1) != ("+", b"OK"), "the last one leads")
            second.resume()
            check(group.wait_for_leader(PATIENCE), "nobody leads")
            # It learns the secret.
            other.write(OLD)
            hang_up(last)
            all_equal(group)
            group.wait_for_leader(PATIENCE)
            second.kill()
            leader = group.wait_for_leader(PATIENCE)
            check(leader, "the two do not go on")
            check_equal(leader.ask("SET", "c", "3"), ("+", b"OK"))
        finally:
            group.close()


def test_a_replica_with_another_secret_never_counts():
    with SecretFile(OLD) as secret, SecretFile(OLD) as its_own:
        with Nodes(1, formed=0, args=secret.args) as nodes:
            nodes[0].call("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS - 1))
            join(nodes, *its_own.args)
            join(nodes, *secret.args)
            nodes[1].call("CLUSTER", "REPLICATE", nodes[0].id)
            eventually(lambda: three_vote(nodes[0]) and is_witness(nodes[2]), "a witness beside two", timeout=PATIENCE, pause=0.1)
            nodes[1].kill()
            its_own.write(OTHER)
            nodes[1].start()
            eventually(lambda: any("of the group at" in line and WRONG_PROOF in line for node in (nodes[0], nodes[2])
                                   for line in node.log().splitlines()), "the log says so", timeout=PATIENCE, pause=0.1)
            check(client(nodes[0]).set("later", "x"), "the others go on")
            check(not reads(nodes[1], "later", b"x"), "it got what is written")
            its_own.write(OLD)
            hang_up(nodes[1])
            eventually(lambda: reads(nodes[1], "later", b"x"), "it is a replica again", timeout=PATIENCE, pause=0.1)


def sockets(node):
    """By number: one that ends does not come back."""
    found = set()
    for name in os.listdir("/proc/%d/fd" % node.child.pid):
        with contextlib.suppress(OSError):
            found.add(os.readlink("/proc/%d/fd/%s" % (node.child.pid, name)))
    return found


def bus_connections(node):
    """The sockets by which the node talks to others, or they to it, and their ports. One or the other may be left out:
    the table changes while it is read."""
    own, found = sockets(node), {}
    with open("/proc/%d/net/tcp" % node.child.pid) as table:
        for line in table.read().splitlines()[1:]:
            words = line.split()
            ports = {int(words[1].split(":")[1], 16), int(words[2].split(":")[1], 16)}
            name = "socket:[%s]" % words[9]
            if words[3] == "01" and name in own and node.port not in ports:
                found[name] = ports
    return found


def settled_connections(node):
    """After a while in which none came or went."""
    while True:
        found = bus_connections(node)
        time.sleep(1.0)
        if found and found == bus_connections(node):
            return found


def rotate(leader, members, files, restart, works):
    """The three steps, each on all before the next. Between two members' steps one is started anew, so that those
    that have taken the step and those that have not must connect. The leader's connections stay: others, who hear
    nothing of each other, make theirs anew now and then."""
    for step in ((OLD, NEW), (NEW, OLD), (NEW,)):
        for number, file in enumerate(files):
            before = settled_connections(leader())
            file.write(*step)
            hang_up(members[number])
            works()
            lost = [ports for name, ports in before.items() if name not in sockets(leader())]
            check(not lost, "connections ended when the secret was loaded: %s" % lost)
            if number == 0:
                restart(members[-1])
                works()


def test_a_secret_is_changed_in_a_cluster():
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(SecretFile(OLD)) for _ in range(3)]
        nodes = stack.enter_context(Nodes(1, formed=0, args=files[0].args))
        nodes[0].call("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS - 1))
        join(nodes, *files[1].args)
        join(nodes, *files[2].args)
        nodes[1].call("CLUSTER", "REPLICATE", nodes[0].id)
        eventually(lambda: three_vote(nodes[0]) and is_witness(nodes[2]), "a witness beside two", timeout=PATIENCE, pause=0.1)
        eventually(lambda: reads_anything(nodes[1]), "a replica", timeout=PATIENCE, pause=0.1)
        written = [0]

        def works():
            written[0] += 1
            text = b"%d" % written[0]
            check(client(nodes[0]).set("step", text), "a write")
            eventually(lambda: reads(nodes[1], "step", text), "the replica has it", timeout=PATIENCE, pause=0.05)

        def restart(node):
            node.kill()
            node.start()
            # The witness counts: without it the leader and a replica that is paused are no majority.
            nodes[1].child.send_signal(signal.SIGSTOP)
            try:
                eventually(lambda: serves_write(nodes[0]), "the witness takes part", timeout=PATIENCE, pause=0.1)
            finally:
                nodes[1].child.send_signal(signal.SIGCONT)
        rotate(lambda: nodes[0], nodes, files, restart, works)
        for node in nodes:
            check(WRONG_PROOF not in node.log() and NO_PROOF not in node.log(), node.log()[-3000:])


def reads_anything(node):
    reader = node.connect()
    reader.call("READONLY")
    return reader.raw("GET", "anything") == b"$-1\r\n"


def serves_write(node):
    connection = resp.Connection(node.port, timeout=2)
    try:
        return connection.raw("SET", "witnessed", "1") == b"+OK\r\n"
    except (OSError, resp.Closed, resp.NoReply):
        return False
    finally:
        connection.close()


def test_a_secret_is_changed_in_a_group():
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(SecretFile(OLD)) for _ in range(3)]
        group = Group(OURS, 3, [*ARGUMENTS, *files[0].args], with_network=False)
        stack.callback(group.close)
        check(group.wait_for_leader(PATIENCE), "nobody leads:\n" + group.members[0].log())
        for member, file in list(zip(group.members, files))[1:]:
            member.kill()
            member.arguments = [file.path if word == files[0].path else word for word in member.arguments]
            member.start()
            check(group.wait_for_leader(PATIENCE), "nobody leads")
            all_equal(group)

        def works():
            check(group.wait_for_leader(PATIENCE), "nobody leads")
            all_equal(group)

        def restart(member):
            member.kill()
            member.start()
        rotate(group.leader, group.members, files, restart, works)
        for member in group.members:
            check(WRONG_PROOF not in member.log() and NO_PROOF not in member.log(), member.log()[-3000:])


def test_a_first_secret_is_given_to_a_group():
    with SecretFile(NEW) as secret:
        group = Group(OURS, 3, [*ARGUMENTS, "--enable-protected-configs", "local"], with_network=False)
        try:
            leader = group.wait_for_leader(PATIENCE)
            check(leader, "nobody leads:\n" + group.members[0].log())
            before = settled_connections(leader)
            for number, member in enumerate(group.members):
                check_equal(member.ask("CONFIG", "SET", "cluster-secret-file", secret.path), ("+", b"OK"))
                check_equal(leader.ask("SET", "a", number), ("+", b"OK"))
            check(set(before) <= sockets(leader), "connections ended")
            for member in group.members:
                member.kill()
                member.arguments += secret.args
                member.start()
                check(group.wait_for_leader(PATIENCE), "nobody leads")
                all_equal(group)
            check_equal(answer(group.members[0].bus_port, group_preamble(False)), b"")
            eventually(lambda: NO_PROOF in group.members[0].log(), "the log says so", timeout=PATIENCE)
        finally:
            group.close()


if __name__ == "__main__":
    Results.run_module(globals(), TOGETHER)
