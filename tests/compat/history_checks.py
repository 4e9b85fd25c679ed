"""What must hold of what clients of a group saw: the checks of nemesis.py, apart from it so that they
can be tried on histories that are known to be good or bad (history_checks.py alone does that).

Times are seconds of one clock. An operation whose outcome nobody was told has `returned` = NEVER.
Each check returns a list of complaints, empty when all is well.
"""
import bisect
import sys

NEVER = float("inf")


class Write:
    """Of a value nobody else writes, to a register."""

    def __init__(self, value, invoked, returned):
        self.value, self.invoked, self.returned = value, invoked, returned


class Read:
    """What a register was seen to hold; None: nothing yet."""

    def __init__(self, value, invoked, returned):
        self.value, self.invoked, self.returned = value, invoked, returned


def check_register(name, writes, reads):
    """Linearizability of a register whose writes all write different values (Gibbons and Korach): between
    the first return and the last invocation of a write and its reads the register held that value. Two such
    times do not overlap, and no value was there and gone inside another one's."""
    by_value = {None: Write(None, -1.0, -1.0), **{write.value: write for write in writes}}
    first_return = {value: write.returned for value, write in by_value.items()}
    last_invoked = {value: write.invoked for value, write in by_value.items()}
    for read in reads:
        write = by_value.get(read.value)
        if write is None:
            return ["%s: %r was read, and nobody wrote it" % (name, read.value)]
        if read.returned < write.invoked:
            return ["%s: %r was read before it was written" % (name, read.value)]
        first_return[read.value] = min(first_return[read.value], read.returned)
        last_invoked[read.value] = max(last_invoked[read.value], read.invoked)
    seen = [value for value in by_value if first_return[value] < NEVER]
    held = sorted((first_return[value], last_invoked[value], value) for value in seen if first_return[value] < last_invoked[value])
    for one, other in zip(held, held[1:]):
        if other[0] < one[1]:
            return ["%s: a stale read or a lost write: %r was there from %.4f to %.4f, %r from %.4f to %.4f" % (
                name, one[2], one[0], one[1], other[2], other[0], other[1])]
    starts = [each[0] for each in held]
    for value in seen:
        begun, ended = last_invoked[value], first_return[value]
        if ended < begun:
            continue
        at = bisect.bisect_left(starts, begun) - 1
        if at >= 0 and held[at][0] < begun and ended < held[at][1]:
            return ["%s: a lost write: %r was written between %.4f and %.4f, while %r was there" % (name, value, begun, ended, held[at][2])]
    return []


class Count:
    """One INCR; `result` is None when nobody was told."""

    def __init__(self, result, invoked, returned):
        self.result, self.invoked, self.returned = result, invoked, returned


def check_counter(name, counts, total):
    known = sorted((count for count in counts if count.result is not None), key=lambda count: count.result)
    twice = sorted({one.result for one, other in zip(known, known[1:]) if one.result == other.result})
    complaints = ["%s: %d numbers were given twice, the first %d" % (name, len(twice), twice[0])] if twice else []
    if not len(known) <= total <= len(counts):
        complaints.append("%s: the total is %d; %d were acknowledged, %d sent" % (name, total, len(known), len(counts)))
    if known and known[-1].result > total:
        complaints.append("%s: the total is %d, and somebody got %d" % (name, total, known[-1].result))
    highest, passed, by_return = None, 0, sorted(known, key=lambda count: count.returned)
    for count in sorted(known, key=lambda count: count.invoked):
        while passed < len(by_return) and by_return[passed].returned < count.invoked:
            highest = max(highest or 0, by_return[passed].result)
            passed += 1
        if highest is not None and count.result < highest:
            complaints.append("%s: it went back from %d to %d at %.4f" % (name, highest, count.result, count.returned))
            break
    return complaints


class Push:
    """Of an element nobody else pushes; returned NEVER: nobody was told."""

    def __init__(self, element, invoked, returned):
        self.element, self.invoked, self.returned = element, invoked, returned


def check_list(name, pushes, found):
    """Nothing acknowledged is missing, nothing is there twice or from nowhere, and what was pushed after
    another one's acknowledgement stands behind it."""
    by_element = {push.element: push for push in pushes}
    place = {element: at for at, element in enumerate(found)}
    complaints = []
    if len(place) != len(found):
        complaints.append("%s: %d elements are there twice" % (name, len(found) - len(place)))
    strange = [element for element in place if element not in by_element]
    if strange:
        complaints.append("%s: never pushed: %r" % (name, strange[:5]))
    lost = sorted(push.invoked for push in pushes if push.returned < NEVER and push.element not in place)
    if lost:
        complaints.append("%s: %d acknowledged writes are lost, the first of %.4f" % (name, len(lost), lost[0]))
    earliest = NEVER  # return of what stands behind
    for element in reversed(found):
        push = by_element.get(element)
        if push and push.invoked > earliest:
            complaints.append("%s: %r stands before an element acknowledged earlier" % (name, element))
            break
        if push:
            earliest = min(earliest, push.returned)
    return complaints


class Hold:
    """A lock that was granted: for `seconds` from somewhere between invoked and returned, or until `released`."""

    def __init__(self, client, token, invoked, returned, seconds, released=NEVER):
        self.client, self.token, self.invoked, self.returned = client, token, invoked, returned
        self.seconds, self.released = seconds, released

    def ends(self, slack):
        return min(self.released, self.invoked + self.seconds - slack)


def check_lock(name, holds, slack=0.01):
    complaints, last = [], None
    for hold in sorted((hold for hold in holds if hold.returned < hold.ends(slack)), key=lambda hold: hold.returned):
        if last and last.ends(slack) > hold.returned:
            complaints.append("%s: client %s and client %s hold it at %.4f" % (name, last.client, hold.client, hold.returned))
        if last is None or hold.ends(slack) > last.ends(slack):
            last = hold
    counts = [Count(hold.token, hold.invoked, hold.returned) for hold in holds]
    complaints += [text for text in check_counter(name + " tokens", counts, max([len(holds)] + [hold.token for hold in holds]))
                   if "the total" not in text]
    return complaints


# ---- tried on what is known


def good_and_bad():
    """(what, complaints, whether there should be any)"""
    w, r = Write, Read
    yield "a read during a write", check_register("k", [w("a", 0, 10)], [r(None, 1, 2), r("a", 3, 4)]), False
    yield "a read that goes back", check_register("k", [w("a", 0, 10)], [r("a", 1, 2), r(None, 3, 4)]), True
    yield "a stale read", check_register("k", [w("a", 0, 1), w("b", 2, 3)], [r("a", 4, 5)]), True
    yield "a lost write", check_register("k", [w("a", 0, 1), w("b", 2, 3), w("c", 4, 5)], [r("b", 3.1, 3.2), r("c", 6, 7), r("b", 6, 7)]), True
    yield "a write nobody sees inside another", check_register("k", [w("a", 0, 1), w("b", 3, 4)], [r("a", 5, 6)]), True
    yield "an unknown write comes late", check_register("k", [w("a", 0, NEVER), w("b", 2, 3)], [r("b", 4, 5), r("a", 6, 7), r("a", 8, 9)]), False
    yield "an unknown write comes twice", check_register("k", [w("a", 0, NEVER), w("b", 2, 3)], [r("a", 1, 1.5), r("b", 4, 5), r("a", 6, 7)]), True
    yield "a read from nowhere", check_register("k", [], [r("x", 0, 1)]), True
    c = Count
    yield "numbers in any order", check_counter("c", [c(2, 0, 5), c(1, 1, 6), c(None, 2, NEVER)], 3), False
    yield "one number twice", check_counter("c", [c(1, 0, 5), c(1, 1, 6)], 2), True
    yield "a counter that goes back", check_counter("c", [c(2, 0, 1), c(1, 2, 3)], 2), True
    yield "acknowledged and not counted", check_counter("c", [c(1, 0, 1), c(2, 2, 3)], 1), True
    yield "counted more often than sent", check_counter("c", [c(1, 0, 1)], 2), True
    p = Push
    yield "an unknown push, there or not", check_list("l", [p("a", 0, 1), p("b", 2, NEVER)], ["a"]), False
    yield "a lost push", check_list("l", [p("a", 0, 1), p("b", 2, 3)], ["b"]), True
    yield "a push twice", check_list("l", [p("a", 0, 1)], ["a", "a"]), True
    yield "pushes in the wrong order", check_list("l", [p("a", 0, 1), p("b", 2, 3)], ["b", "a"]), True
    h = Hold
    yield "a lock after its time", check_lock("x", [h(1, 1, 0, 0.1, 1.0), h(2, 2, 0.5, 1.1, 1.0)]), False
    yield "a lock given back", check_lock("x", [h(1, 1, 0, 0.1, 9, 0.5), h(2, 2, 0.2, 0.6, 9)]), False
    yield "two in a lock", check_lock("x", [h(1, 1, 0, 0.1, 1.0), h(2, 2, 0.2, 0.3, 1.0)]), True
    yield "a token that is lower", check_lock("x", [h(1, 2, 0, 0.1, 1.0), h(2, 1, 2.0, 2.1, 1.0)]), True


def self_test():
    wrong = [what for what, complaints, bad in good_and_bad() if bool(complaints) != bad]
    for what in wrong:
        print("FAIL " + what)
    print("%d passed, %d failed" % (sum(1 for _ in good_and_bad()) - len(wrong), len(wrong)))
    return not wrong


if __name__ == "__main__":
    sys.exit(0 if self_test() else 1)
