#!/usr/bin/python3
"""Instructions per command, counted by callgrind: the difference between a run with N and one with
2N commands, so that start, loading and shutdown cancel out. Work of the system is not counted.

  scripts/bench-instructions [COMMAND...] [--count N] [--pipeline P] [--keep DIR]

Commands are those of `scripts/bench types`, get and set (default: all). --keep stores the callgrind
profiles of the longer runs for callgrind_annotate.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import workloads
from measuring import BOTH, resp
from server import free_port

TARGETS = {"get": 1100, "set": 1700}


def instructions(binary, workload, pipeline, count, filled_for, profile):
    """All instructions a server executes from start to end around `count` commands."""
    directory, port = tempfile.mkdtemp(), free_port()
    log = os.path.join(directory, "valgrind.log")
    child = subprocess.Popen(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + profile, "--log-file=" + log, binary, "--port", str(port),
                              "--save", "", "--dir", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        workloads.prepare(connect(port, child), workload, filled_for)
        workloads.run(port, workload, pipeline, count)
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
        except (OSError, RuntimeError):  # not there yet, or still loading nothing
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server does not start under valgrind") from None
            time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", metavar="command", help="of: " + ", ".join(each.name for each in workloads.WORKLOADS))
    parser.add_argument("--count", type=int, default=40000)
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--keep", help="folder for the callgrind profiles")
    arguments = parser.parse_args()
    unknown = set(arguments.commands) - {each.name for each in workloads.WORKLOADS}
    if unknown:
        parser.error("no command is called %s" % ", ".join(unknown))
    if not shutil.which("valgrind"):
        parser.error("valgrind is not installed: scripts/install-deps bench")
    if arguments.keep:
        os.makedirs(arguments.keep, exist_ok=True)
    print("| instructions per command, pipeline %d | redis-server | quoll-server | ratio | target |" % arguments.pipeline)
    print("|---|---|---|---|---|")
    for workload in workloads.WORKLOADS:
        if arguments.commands and workload.name not in arguments.commands:
            continue
        figures = []
        count = int(arguments.count * max(workload.share, 0.2))
        for binary in BOTH:
            name = "callgrind.%s.%s" % (os.path.basename(binary), workload.name)
            profile = os.path.join(arguments.keep, name) if arguments.keep else "/dev/null"
            once, twice = (instructions(binary, workload, arguments.pipeline, n * count, 2 * count, profile) for n in (1, 2))
            figures.append((twice - once) / count)
        target = "<= %d" % TARGETS[workload.name] if workload.name in TARGETS else ""
        print("| %s | %.0f | %.0f | %.2f | %s |" % (workload.title, *figures, figures[1] / figures[0], target))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
