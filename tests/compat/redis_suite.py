#!/usr/bin/python3
"""Plays units of Redis's own test suite (7.0, Tcl) against the server. See scripts/redis-suite.

The suite starts `src/redis-server` of its own tree: that is a link to ours, and the tools are Debian's. Its files
are not changed, but for one check: encodings of small values are those of Redis 7.2 (`listpack` where 7.0 has
`quicklist` or `hashtable`).
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile

from server import OURS, Results, free_port

PLAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "redis_suite.txt")
PLACE = os.path.abspath(os.path.join(os.path.dirname(PLAN), "../../build/redis-suite"))
TOOLS = ("redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb")
PACKAGE = "redis"
VERSION = "7.0."
UNIT_SECONDS = 600
TEST_SECONDS = 280  # the suite's own patience
PORTS = 1000  # beginning with the first one
RESULT = re.compile(r"\[(ok|err|exception|TIMEOUT)\]: ?(.*)")
SENTINEL = "sentinel"  # its suite has a runner of its own
SENTINEL_RESULT = re.compile(r"\d\d:\d\d:\d\d> (.*): (OK|.+)")
SENTINEL_GOOD = "GOOD! No errors."
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def fetched():
    """The unpacked source package."""
    for name in sorted(os.listdir(PLACE)) if os.path.isdir(PLACE) else []:
        if name.startswith("redis-" + VERSION) and os.path.isdir(os.path.join(PLACE, name)):
            return os.path.join(PLACE, name)
    os.makedirs(os.path.join(PLACE, "lists/partial"), exist_ok=True)
    os.makedirs(os.path.join(PLACE, "sources"), exist_ok=True)
    with open("/etc/apt/sources.list.d/debian.sources") as file:
        sources = re.sub(r"^Types:.*", "Types: deb-src", file.read(), flags=re.M)
    with open(os.path.join(PLACE, "sources/source.sources"), "w") as file:
        file.write(sources)
    apt = ["apt-get", "-qq", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=" + os.path.join(PLACE, "sources"),
           "-o", "Dir::State::lists=" + os.path.join(PLACE, "lists")]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "source", "--download-only", PACKAGE], check=True, cwd=PLACE)
    archive = next(name for name in os.listdir(PLACE) if name.endswith(".orig.tar.gz"))
    with tarfile.open(os.path.join(PLACE, archive)) as tar:
        tar.extractall(PLACE)
    return fetched()


def prepared(tree):
    programs = {"redis-server": OURS, "redis-sentinel": shutil.which("redis-server"), **{name: shutil.which(name) for name in TOOLS}}
    for name, program in programs.items():
        link = os.path.join(tree, "src", name)
        if os.path.lexists(link):
            os.remove(link)
        os.symlink(program, link)
    path = os.path.join(tree, "tests/support/test.tcl")
    with open(path) as file:
        text = file.read()
    check = "assert_match $enc $val"
    if text.count(check) == 1:
        with open(path, "w") as file:
            file.write(text.replace(check, 'if {$val ne "listpack"} {%s}' % check))


def plan():
    """The units, and the names of the tests to leave out."""
    units, left_out = [], []
    with open(PLAN) as file:
        for line in file:
            line = line.rstrip("\n")
            if line.startswith("- "):
                left_out.append(line[2:].rsplit("  # ", 1)[0])
            elif line and not line.startswith("#"):
                units.append(line)
    return units, left_out


def lines_of(tree, command):
    child = subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        text = child.communicate(timeout=UNIT_SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        text = child.communicate()[0] + b"\n[TIMEOUT]: the unit\n"
    return COLOUR.sub("", text.decode(errors="replace")).split("\n")


def play_sentinel(tree):
    lines = lines_of(tree, ["./runtest-sentinel"])
    found = [("ok" if match[2] == "OK" else "err", match[0]) for match in map(SENTINEL_RESULT.match, lines) if match]
    return found if SENTINEL_GOOD in lines else [*found, ("err", "the suite of Sentinel has not ended well: " + " ".join(lines[-5:]))]


def play(tree, unit, skip_file):
    """What the suite says of each test: [(kind, text)]."""
    if unit == SENTINEL:
        return play_sentinel(tree)
    lines = lines_of(tree, [
        "./runtest", "--single", unit, "--clients", "1", "--no-latency", "--timeout", str(TEST_SECONDS), "--skipfile", skip_file,
        "--baseport", str(free_port()), "--portcount", str(PORTS)])
    found = []
    for number, line in enumerate(lines):
        if match := RESULT.match(line):  # what a summary repeats begins with ***
            rest = lines[number + 1][:300] if match[1] != "ok" and number + 1 < len(lines) else ""
            found.append((match[1], match[2] + (": " + rest if rest else "")))
    return found


def main():
    units, left_out = plan()
    tree = fetched()
    prepared(tree)
    skip_file = os.path.join(PLACE, "left-out.txt")
    with open(skip_file, "w") as file:
        file.write("\n".join(left_out))
    results = Results()
    for unit in sys.argv[1:] or units:
        found = play(tree, unit, skip_file)
        bad = [text for kind, text in found if kind != "ok"]
        good = len(found) - len(bad)
        print("%s   %s: %d" % ("FAIL" if bad or not good else "ok  ", unit, good), *bad, sep="\n       ")
        sys.stdout.flush()
        results.passed += good
        results.failed += len(bad) + (not found)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
