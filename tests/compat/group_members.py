"""Members of a replica group as real processes, each with a directory, and where the machine permits it
a network and a small disk of its own; and what a nemesis does to them.

  root namespace: clients --- bridge 10.201.x.254 --- veth --- member 1's namespace 10.201.x.1
                                                  --- veth --- member 2's namespace 10.201.x.2 ...

A partition is a blackhole route inside a member's namespace: what it sends is lost, in that direction
only, and it cannot begin new connections. Without root all members listen on 127.0.0.1 and nothing is partitioned.
"""
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

import resp
from server import free_port

DISK_MEGABYTES = 192  # of a member's own disk


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Network:
    """One namespace per member behind a bridge. close() leaves nothing behind."""

    def __init__(self, count):
        self.net = "10.201.%d" % random.randrange(1, 255)
        self.tag = "q%d" % (os.getpid() % 1000000)
        self.namespaces = []
        try:
            run("ip", "link", "add", self.tag + "b", "type", "bridge")
            run("ip", "addr", "add", self.net + ".254/24", "dev", self.tag + "b")
            run("ip", "link", "set", self.tag + "b", "up")
            for number in range(count):
                self._add(number)
        except BaseException:
            self.close()
            raise

    def _add(self, number):
        name, near, far = "%sn%d" % (self.tag, number), "%sv%d" % (self.tag, number), "%sp%d" % (self.tag, number)
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
        run("ip", "link", "set", far, "netns", name)
        run("ip", "link", "set", near, "master", self.tag + "b", "up")
        for words in (["link", "set", "lo", "up"], ["addr", "add", self.host(number) + "/24", "dev", far], ["link", "set", far, "up"]):
            run("ip", "-n", name, *words)

    def host(self, number):
        return "%s.%d" % (self.net, number + 1)

    def lose(self, source, target):
        run("ip", "-n", self.namespaces[source], "route", "replace", "blackhole", self.host(target) + "/32")

    def heal(self):
        for name in self.namespaces:
            run("ip", "-n", name, "route", "flush", "type", "blackhole")

    def close(self):
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", self.tag + "b"], stderr=subprocess.DEVNULL)


class Member:
    def __init__(self, binary, number, host, namespace=None, own_disk=False):
        self.binary, self.number, self.host, self.namespace = binary, number, host, namespace
        self.port, self.bus_port = free_port(), free_port()
        self.dir = tempfile.mkdtemp(prefix="quoll-nemesis-")
        self.own_disk = own_disk
        if own_disk:
            run("mount", "-t", "tmpfs", "-o", "size=%dm" % DISK_MEGABYTES, "quoll-nemesis", self.dir)
        self.arguments = []
        self.child = None
        self.starts = 0

    @property
    def address(self):
        return "%s:%d" % (self.host, self.port)

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def start(self):
        command = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        command += [self.binary, "--port", str(self.port), "--bind", self.host, "--protected-mode", "no", "--dir", self.dir]
        self.starts += 1
        with open(self.log_path(), "ab") as log:
            self.child = subprocess.Popen(command + ["--save", ""] + self.arguments, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, cwd=self.dir)

    def log_path(self):
        return self.dir + ".log"  # beside the disk that may be full

    def log(self):
        with open(self.log_path(), "rb") as log:
            return log.read().decode("utf-8", "replace")

    def kill(self):
        if self.alive():
            self.child.kill()
            self.child.wait()

    def pause(self):
        if self.alive():
            self.child.send_signal(signal.SIGSTOP)

    def resume(self):
        if self.alive():
            self.child.send_signal(signal.SIGCONT)

    def fill_disk(self):
        with open(os.path.join(self.dir, "filler"), "wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"x" * 65536)
            except OSError:
                pass

    def empty_disk(self):
        path = os.path.join(self.dir, "filler")
        if os.path.exists(path):
            os.remove(path)

    def ask(self, *words, timeout=3.0):
        """One reply tree, or None when there is no answer in time."""
        try:
            connection = resp.Connection(self.port, host=self.host, timeout=timeout)
        except OSError:
            return None
        try:
            return resp.tree(connection.raw(*words))
        except (OSError, resp.Closed, resp.NoReply):
            return None
        finally:
            connection.close()

    def remove(self):
        self.kill()
        if self.own_disk:
            subprocess.run(["umount", "-l", self.dir], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)
        if os.path.exists(self.log_path()):
            os.remove(self.log_path())


class Group:
    """N members that know of each other; one alone is a server with appendfsync always."""

    def __init__(self, binary, count, arguments=(), with_network=True):
        may = os.geteuid() == 0 and with_network
        self.network = Network(count) if may and count > 1 else None
        self.members = []
        try:
            for number in range(count):
                host = self.network.host(number) if self.network else "127.0.0.1"
                namespace = self.network.namespaces[number] if self.network else None
                self.members.append(Member(binary, number, host, namespace, own_disk=may))
            for member in self.members:
                member.arguments = self.arguments_of(count) + list(arguments)
                member.start()
        except BaseException:
            self.close()
            raise

    def arguments_of(self, count):
        if count == 1:
            return ["--appendonly", "yes", "--appendfsync", "always"]
        return ["--cluster-enabled", "yes", "--cluster-group", " ".join("%s@%d" % (member.address, member.bus_port) for member in self.members)]

    def leader(self):
        """The member that takes a write, or None."""
        for member in self.members:
            if member.alive():
                reply = member.ask("SET", "{nemesis}leader", member.number, timeout=0.3)
                if reply == ("+", b"OK"):
                    return member
        return None

    def wait_for_leader(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            leader = self.leader()
            if leader:
                return leader
            time.sleep(0.02)
        return None

    def close(self):
        for member in self.members:
            member.resume()
            member.remove()
        if self.network:
            self.network.close()
