#!/usr/bin/python3
"""The README's walk through a cluster, as a newcomer types it: every command of the section, in order, with
the outputs that it shows. Ports and directories are others. Lines with "later" behind the command are asked
again until they show what they should.

  readme_cluster.py [-v]     -v: tells every command
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from server import OURS, ROOT, Results, check, free_ports_in_a_row

PATIENCE = 60  # seconds, of a busy machine
SECTION = "## A cluster that grows"
PORTS = range(7101, 7106)


def transcript():
    """(command, outputs, whether to ask again) of the section's first block."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read().split(SECTION, 1)[1].split("\n## ", 1)[0]
    block = re.search(r"^```\n(\$ .*?)^```", text, re.S | re.M).group(1)
    steps = []
    for line in block.splitlines():
        if line.startswith("$ "):
            command, _, remark = line[2:].partition("  #")
            steps.append((command.strip(), [], "later" in remark))
        else:
            steps[-1][1].append(line)
    return steps


class Newcomer:
    """A shell that goes on between commands, in the root of the repository."""

    def __init__(self, base, directory):
        self.base, self.directory, self.functions = base, directory, []

    def translated(self, text):
        text = re.sub(r"\b(%s)\b" % "|".join(map(str, PORTS)), lambda port: str(self.base + int(port.group()) - PORTS[0]), text)
        return text.replace("/tmp/quoll/", self.directory + "/").replace("build/quoll-server", OURS)

    def type(self, command):
        command = self.translated(command)
        if re.match(r"\w+\(\) \{", command):
            self.functions.append(command)
        done = subprocess.run(["bash", "-c", "\n".join(self.functions + [command])], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd=ROOT,
                              timeout=4 * PATIENCE, check=False)
        return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in done.stdout.splitlines()]

    def end(self):
        for port in PORTS:
            try:
                with open(os.path.join(self.directory, self.translated(str(port)), "pid"), encoding="utf-8") as file:
                    os.kill(int(file.read()), 9)
            except (OSError, ValueError):
                pass
        shutil.rmtree(self.directory, ignore_errors=True)

    def logs(self):
        texts = []
        for port in PORTS:
            path = os.path.join(self.directory, self.translated(str(port)), "log")
            if os.path.exists(path):
                with open(path, errors="replace", encoding="utf-8") as file:
                    texts.append("%s:\n%s" % (port, "".join(file.readlines()[-15:])))
        return "\n".join(texts)


def test_what_the_readme_says_is_so():
    steps = transcript()
    check(len(steps) > 15, "the README's walk has %d commands" % len(steps))
    newcomer = Newcomer(free_ports_in_a_row(len(PORTS)), tempfile.mkdtemp(prefix="quoll-newcomer-"))
    try:
        for command, wanted, again in steps:
            wanted = [newcomer.translated(line) for line in wanted]
            if "-v" in sys.argv:
                print("$ " + newcomer.translated(command), flush=True)
            deadline = time.monotonic() + PATIENCE
            shown = newcomer.type(command)
            while again and shown != wanted and time.monotonic() < deadline:
                time.sleep(0.2)
                shown = newcomer.type(command)
            if "-v" in sys.argv:
                print("\n".join(shown), flush=True)
            check(shown == wanted, "%s\nshows %s\nwanted %s\n%s" % (command, "\n".join(shown), "\n".join(wanted), newcomer.logs()))
    finally:
        newcomer.end()


def main():
    results = Results()
    results.run("README: what it says of a cluster is so", test_what_the_readme_says_is_so)
    results.finish()


if __name__ == "__main__":
    main()
