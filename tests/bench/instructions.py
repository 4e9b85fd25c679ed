#!/usr/bin/python3
"""Instructions per command, counted by callgrind: the difference between a run with N and one with
2N commands, so that start, loading and shutdown cancel out.

  scripts/bench-instructions [--count N] [--pipeline P] [--keep DIR]

--keep stores the callgrind profiles of the longer runs for callgrind_annotate.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../compat"))
import resp
from server import OURS, REFERENCE, free_port

KEYS = 100000
CLIENTS = 50
TARGETS = {"get": 1100, "set": 1700}


def instructions(binary, command, pipeline, count, profile):
    """All instructions a server executes from start to end around `count` commands."""
    directory, port = tempfile.mkdtemp(), free_port()
    log = os.path.join(directory, "valgrind.log")
    child = subprocess.Popen(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + profile, "--log-file=" + log, binary, "--port", str(port),
                              "--save", "", "--dir", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        one = connect(port, child)
        for first in range(0, KEYS, 10000):
            one.pipeline([[b"SET", b"key:%012d" % i, b"xxx"] for i in range(first, first + 10000)])
        subprocess.run(["redis-benchmark", "-p", str(port), "-t", command, "-P", str(pipeline), "-c", str(CLIENTS), "-n", str(count),
                        "-r", str(KEYS), "-q"], stdout=subprocess.DEVNULL, check=True)
        child.terminate()
        child.wait(60)
        found = re.search(r"Collected : (\d+)", open(log).read())
        if not found:
            raise RuntimeError("callgrind counted nothing:\n" + open(log).read()[-2000:])
        return int(found.group(1))
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        shutil.rmtree(directory, ignore_errors=True)


def connect(port, child):
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = resp.Connection(port, timeout=120)
            connection.call("PING")
            return connection
        except OSError:
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server does not start under valgrind") from None
            time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=40000)
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--keep", help="folder for the callgrind profiles")
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        parser.error("valgrind is not installed: scripts/install-deps bench")
    if arguments.keep:
        os.makedirs(arguments.keep, exist_ok=True)
    print("| instructions per command, pipeline %d | redis-server | quoll-server | ratio | target |" % arguments.pipeline)
    print("|---|---|---|---|---|")
    for command in ("get", "set"):
        figures = []
        for binary in (REFERENCE, OURS):
            name = "callgrind.%s.%s" % (os.path.basename(binary), command)
            profile = os.path.join(arguments.keep, name) if arguments.keep else "/dev/null"
            once, twice = (instructions(binary, command, arguments.pipeline, n * arguments.count, profile) for n in (1, 2))
            figures.append((twice - once) / arguments.count)
        print("| %s | %.0f | %.0f | %.2f | <= %d |" % (command.upper(), *figures, figures[1] / figures[0], TARGETS[command]))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
