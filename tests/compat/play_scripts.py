#!/usr/bin/python3
"""Plays command scripts.

scripts/*.txt go to redis-server and to the server under test, each fresh, in RESP2 and in RESP3;
every reply byte is compared. expect/*.txt hold commands the reference lacks, with the expected
replies inline, and go to the server under test alone.

A line is one command, quoted as in redis-cli ("\\x00\\n", 'single'). `${a*1000}` repeats,
`${now+10}` and `${nowms+10}` are wall time, `${name}` is a value caught by @save. Lines starting
with `#` are comments, lines starting with `@` are directives:

  @client NAME           the next commands go to that connection ("a" is the first)
  @sleep MS              @protocol 2|3|both    play the rest in that protocol only
  @server ARGS...        start with more arguments (first lines only)
  @raw N "bytes"         send bytes as they are, compare N replies
  @push N                compare N messages that arrive unasked
  @silence               nothing arrives unasked within 50 ms
  @closed                the server closes this connection (and sends nothing more)
  @reconnect             a new connection under the current name
  @needs COMMAND, @end   what stands between them is left out while ours has no such command

and words that change how the reply to the command behind them (same line) is compared:

  @unordered             elements of the outermost collection in any order
  @mask-int              integers may differ       @shape     only types and lengths count
  @ttl [N]               integers may differ by N (default 2)
  @pending, @xinfo       replies of XPENDING and XINFO: only the times in them may differ
  @pairs                 field-value pairs in any order
  @scan, @scan-pairs     one call of SSCAN, or of HSCAN or ZSCAN, that returns everything
  @mask "regexp"         matches inside strings may differ
  @error                 both fail; only the error's code (first word) is compared
  @skip-reply            not compared              @save NAME not compared, kept as ${NAME}
  @no-reply              the command has no reply

Expected replies (expect/*.txt) follow their command as one `=> ` line each (more than one for
pushes): +OK, :1, "bulk", nil, -ERR text (a trailing * matches any rest), [a, list], %[k, v],
,1.5 (a double; in RESP2 a bulk string), /regexp/ for any string or integer, * for anything.
"""
import argparse
import glob
import os
import re
import time

import compare
import resp
from server import OURS, REFERENCE, Results, ServerUnderTest

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = {"pending": "idle", "xinfo": "xinfo", "pairs": "pairs", "scan": "scan", "scan-pairs": "scan_pairs"}  # of compare.alike
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "a": b"\a"}


def split_line(line):
    """sdssplitargs: the words of a line with its quotes and escapes."""
    words, i, n = [], 0, len(line)
    while True:
        while i < n and line[i].isspace():
            i += 1
        if i >= n:
            return words
        word, quote = b"", None
        while i < n:
            c = line[i]
            if quote == '"' and c == "\\" and i + 1 < n:
                if line[i + 1] == "x" and re.match(r"[0-9a-fA-F]{2}", line[i + 2 : i + 4]):
                    word += bytes([int(line[i + 2 : i + 4], 16)])
                    i += 4
                    continue
                word += ESCAPES.get(line[i + 1], line[i + 1].encode())
                i += 2
                continue
            if quote == "'" and line[i : i + 2] == "\\'":
                word += b"'"
                i += 2
                continue
            if c == quote:
                quote = None
            elif quote is None and c in "\"'" and not word:
                quote = c
            elif quote is None and c.isspace():
                break
            elif quote is None and c == "$" and line[i : i + 2] == "${":
                end = line.index("}", i)
                word += line[i : end + 1].encode()
                i = end
            else:
                word += c.encode("latin-1" if ord(c) < 256 else "utf-8")
            i += 1
        if quote:
            raise ValueError("unbalanced quotes: " + line)
        words.append(word)


def expand(word, saved):
    def value(match):
        text = match.group(1)
        repeat = re.fullmatch(rb"(.+)\*(\d+)", text, re.DOTALL)
        if repeat:
            return repeat.group(1) * int(repeat.group(2))
        clock = re.fullmatch(rb"(nowms|now)([+-]\d+)?", text)
        if clock:
            now = int(time.time() * (1000 if clock.group(1) == b"nowms" else 1))
            return b"%d" % (now + int(clock.group(2) or 0))
        return saved[text.decode()]

    return re.sub(rb"\$\{([^}]+)\}", value, word) if b"${" in word else word


class Step:
    def __init__(self, line, number):
        self.line, self.number = line, number
        self.options = {}
        self.expected = []
        rest = line
        while rest.startswith("@"):
            word, _, rest = rest.partition(" ")
            rest = rest.strip()
            name = word[1:]
            if name in ("unordered", "mask-int", "shape", "skip-reply", "error", "no-reply", *KINDS):
                self.options[name] = True
            elif name == "ttl":
                match = re.match(r"(\d+)\s+(?=\S)", rest)
                self.options["ttl"] = int(match.group(1)) if match else 2
                rest = rest[match.end():] if match else rest
            elif name == "mask":
                match = re.match(r'"([^"]*)"\s*', rest)
                self.options["mask"] = match.group(1).encode("latin-1")
                rest = rest[match.end():]
            elif name == "save":
                self.options["save"], _, rest = rest.partition(" ")
                rest = rest.strip()
            elif name in ("client", "sleep", "protocol", "server", "raw", "push", "silence", "closed", "reconnect",
                          "needs", "end"):
                self.directive, self.words = name, split_line(rest)
                return
            else:
                raise ValueError("line %d: unknown directive @%s" % (number, name))
        self.directive, self.words = None, split_line(rest)


def read_script(path):
    steps = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.strip("\n").strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("=>"):
                steps[-1].expected.append(line[2:].strip())
            else:
                steps.append(Step(line, number))
    return steps


class Side:
    """One server with its named connections and saved values."""

    def __init__(self, binary, arguments, resp3):
        if binary == OURS:  # DUMP payloads as the reference writes them
            arguments = ["--rdb-version", "10"] + list(arguments)
        self.server = ServerUnderTest(binary, arguments)
        self.resp3 = resp3
        self.connections = {}
        self.saved = {}
        self.name = "a"
        self.silences = 0  # a server that often says nothing gets less time to answer

    def connection(self):
        if self.name not in self.connections:
            self.connections[self.name] = self.server.connect(resp3=self.resp3, timeout=20 if self.silences < 3 else 0.2)
        return self.connections[self.name]

    def drop(self):
        connection = self.connections.pop(self.name, None)
        if connection:
            connection.close()

    def has(self, command):
        probe = self.server.connect()
        answer = resp.tree(probe.raw("COMMAND", "INFO", command))
        probe.close()
        return bool(answer[1] and answer[1][0][1])

    def act(self, step, words):
        """Performs the step; the bytes that came back as a list, or a text that says what went wrong."""
        try:
            connection = self.connection()
            if step.directive == "push":
                return [connection.read() for _ in range(int(words[0]))]
            if step.directive == "silence":
                return [connection.read_for(0.05)]
            if step.directive == "closed":
                rest = connection.read_until_closed(connection.timeout)
                self.drop()
                return [rest]
            if step.directive == "raw":
                connection.send(words[1])
                return [connection.read() for _ in range(int(words[0]))]
            connection.send(resp.encode(words))
            return [] if "no-reply" in step.options else [connection.read()]
        except (resp.Closed, resp.NoReply, OSError, ValueError) as error:
            self.silences += isinstance(error, resp.NoReply)
            self.drop()
            return "%s: %s" % (type(error).__name__, error)


def same(step, theirs, ours):
    if theirs == ours:
        return True
    if step.directive in ("closed", "silence"):
        return False
    options = step.options
    first, second = resp.tree(theirs), resp.tree(ours)
    if "error" in options:
        return first[0] == second[0] == "-" and first[1].split(b" ")[0] == second[1].split(b" ")[0]
    arguments = dict(unordered="unordered" in options, mask_int="mask-int" in options,
                     shape="shape" in options, pattern=options.get("mask"))
    first, second = compare.masked(first, **arguments), compare.masked(second, **arguments)
    if first == second or "ttl" in options and compare.near(first, second, options["ttl"]):
        return True
    return any(compare.alike(kind, first, second) for name, kind in KINDS.items() if name in options)


class Player:
    def __init__(self, results, known, arguments):
        self.results, self.known = results, known
        self.reference, self.ours = arguments.reference, arguments.ours

    def play(self, path, protocol, sides):
        steps = read_script(path)
        name = "%s RESP%d" % (os.path.relpath(path, HERE), protocol)
        extra = [word.decode() for step in steps if step.directive == "server" for word in step.words]
        opened, before = [], (self.results.passed, self.results.failed)
        try:
            for binary in sides:
                opened.append(Side(binary, extra, protocol == 3))
            self.play_steps(name, steps, protocol, opened)
        except Exception as error:
            self.results.fail("%s: %s: %s" % (name, type(error).__name__, error))
        failed = self.results.failed - before[1]
        for side in opened:
            try:
                side.server.stop(keep_log=failed > 0 and side is opened[-1])
            except RuntimeError as error:
                self.results.fail("%s: %s" % (name, error))
        print("%-40s %5d replies alike, %d not" % (name, self.results.passed - before[0], failed))

    def play_steps(self, name, steps, protocol, sides):
        only, lacking = "both", None
        for step in steps:
            if step.directive in ("needs", "end"):
                lacking = step.directive == "needs" and not sides[-1].has(step.words[0])
                if lacking:
                    print("%s: left out for want of %s" % (name, step.words[0].decode().upper()))
            elif lacking:
                continue
            elif step.directive == "protocol":
                only = step.words[0].decode()
            elif step.directive == "server" or only not in ("both", str(protocol)):
                continue
            elif step.directive == "sleep":
                time.sleep(int(step.words[0]) / 1000)
            elif step.directive == "client":
                for side in sides:
                    side.name = step.words[0].decode()
            elif step.directive == "reconnect":
                for side in sides:
                    side.drop()
            else:
                self.play_step("%s line %d" % (name, step.number), step, sides)

    def play_step(self, where, step, sides):
        shared = [expand(word, {key: b"${%s}" % key.encode() for key in sides[0].saved}) for word in step.words]
        answers = [side.act(step, [expand(word, side.saved) for word in shared]) for side in sides]
        broken = [answer for answer in answers if isinstance(answer, str)]
        if broken and not (len(broken) == len(sides) > 1):
            self.report(where, step, ["%s" % answer if isinstance(answer, str) else
                                      " ".join(map(resp.show, answer)) for answer in answers])
        elif broken:
            self.results.fail("%s: %s\n       no server answered: %s" % (where, step.line, broken[0]))
        elif "save" in step.options:
            for side, answer in zip(sides, answers):
                value = resp.plain(resp.tree(answer[0]))
                side.saved[step.options["save"]] = value if isinstance(value, bytes) else str(value).encode()
        elif "skip-reply" in step.options:
            pass
        elif len(sides) == 1:
            self.judge_expected(where, step, answers[0], sides[0])
        else:
            self.judge_pair(where, step, answers[0], answers[1])

    def judge_pair(self, where, step, theirs, ours):
        for first, second in zip(theirs, ours):
            if same(step, first, second):
                self.results.ok()
            elif self.known.explain(step.line, first, second):
                self.results.ok()
            else:
                self.report(where, step, [resp.show(first), resp.show(second)])

    def judge_expected(self, where, step, answer, side):
        if not step.expected:
            if step.directive is None and "no-reply" not in step.options:
                self.results.fail("%s: %s\n       has no expected reply; got %s" % (
                    where, step.line, " ".join(map(resp.show, answer))))
            return
        for raw, text in zip(answer, step.expected):
            text = re.sub(r"\$\{(\w+)\}", lambda match: side.saved[match.group(1)].decode("latin-1"), text)
            if matches(parse_expected(text), resp.tree(raw), side.resp3):
                self.results.ok()
            else:
                self.results.fail("%s: %s\n       expected: %s\n       ours:     %s" % (
                    where, step.line, text, resp.show(raw)))

    def report(self, where, step, texts):
        labels = ["reference", "ours"] if len(texts) == 2 else ["ours"]
        self.results.fail("%s: %s%s" % (where, step.line[:300], "".join(
            "\n       %-10s %s" % (label + ":", text) for label, text in zip(labels, texts))))


def parse_expected(text):
    """`=> ` notation to (kind, payload); see the top of this file."""
    value, rest = _parse_expected(text.strip())
    if rest.strip():
        raise ValueError("cannot read the expected reply: " + text)
    return value


def _parse_expected(text):
    if text.startswith(("[", "%[", ">[", "~[")):
        kind, text = ("*", text[1:]) if text[0] == "[" else (text[0], text[2:])
        children = []
        while not text.lstrip(" ,").startswith("]"):
            child, text = _parse_expected(text.lstrip(" ,"))
            children.append(child)
        return (kind, children), text.lstrip(" ,")[1:]
    if text.startswith("-") or text.startswith("+") and "]" not in text:
        return (text[0], text[1:] if text[0] == "-" else text[1:].encode()), ""
    if text.startswith('"'):
        match = re.match(r'"((?:[^"\\]|\\.)*)"', text)
        return ("$", split_line(match.group(0))[0]), text[match.end():]
    if text.startswith("/"):
        match = re.match(r"/((?:[^/\\]|\\.)*)/", text)
        return ("regexp", match.group(1).encode()), text[match.end():]
    match = re.match(r"[^\s,\]]+", text)
    word, rest = match.group(0), text[match.end():]
    if word == "*":
        return ("any", None), rest
    if word == "nil":
        return ("nil", None), rest
    if word[0] == ":":
        return (":", int(word[1:])), rest
    if word.startswith("d:"):
        return (",", word[2:].encode()), rest
    if word[0] in "+#":
        return (word[0], word[1:].encode()), rest
    raise ValueError("cannot read the expected reply: " + text)


def matches(expected, actual, resp3):
    kind, payload = expected
    if kind == "any":
        return True
    if kind == "nil":
        return actual[1] is None and actual[0] in ("_" if resp3 else "$*")
    if kind == "regexp":
        text = b"%d" % actual[1] if isinstance(actual[1], int) else actual[1]
        text = text[4:] if actual[0] == "=" else text  # behind "txt:"
        return isinstance(text, bytes) and re.fullmatch(payload, text, re.DOTALL) is not None
    if kind == "-":
        text = actual[1].decode("latin-1") if actual[0] == "-" else None
        return text is not None and (text.startswith(payload[:-1]) if payload.endswith("*") else text == payload)
    if kind in "*%>~":
        wire = kind if resp3 else "*"
        return (actual[0] == wire and isinstance(actual[1], list) and len(actual[1]) == len(payload)
                and all(matches(e, a, resp3) for e, a in zip(payload, actual[1])))
    if kind == "$" and actual[0] == "=":  # the same text, marked as meant for people
        return actual[1][4:] == payload
    if kind == "," and not resp3:
        kind = "$"
    if kind == "#" and not resp3:
        kind, payload = ":", 1 if payload == b"t" else 0
    return (kind, payload) == actual


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these scripts (file name without .txt)")
    parser.add_argument("--ours", default=OURS, help="the server under test")
    parser.add_argument("--reference", default=REFERENCE)
    parser.add_argument("--protocol", type=int, choices=(2, 3))
    parser.add_argument("--known", action="store_true", help="list the known differences met")
    arguments = parser.parse_args()
    results, known = Results(), compare.KnownDifferences()
    player = Player(results, known, arguments)
    for folder, sides in (("scripts", [arguments.reference, arguments.ours]), ("expect", [arguments.ours])):
        for path in sorted(glob.glob(os.path.join(HERE, folder, "*.txt"))):
            name = os.path.basename(path)[:-4]
            if arguments.names and name not in arguments.names:
                continue
            for protocol in (2, 3):
                if arguments.protocol in (None, protocol):
                    player.play(path, protocol, sides)
    if arguments.known:
        for name, count in sorted(known.used.items()):
            print("known difference %s: %d" % (name, count))
    results.finish()


if __name__ == "__main__":
    main()
