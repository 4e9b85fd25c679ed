"""Small Lua scripts that call commands of all families, functions, and the libraries of scripts.

Scripts that call commands are few; what they call comes as arguments. So they are met by text, by
SHA1 and as functions, and their caches are flushed and filled on the way."""
import hashlib

from .ingredients import Family

# Every command is in ARGV as its number of words and the words.
WALK = b"""
local out, at = {}, 1
while ARGV[at] do
  local words = tonumber(ARGV[at])
  if not words or words < 1 then break end
  %s
  at = at + words + 1
end
return out"""
ONE = b"return redis.call(unpack(ARGV))"
CALLS = {
    "one": ONE,
    "pcall": b"return redis.pcall(unpack(ARGV))",
    "text": b"local ok, what = pcall(redis.call, unpack(ARGV)) if ok then return what end return {tostring(ok), what}",
    "type": b"local r = redis.pcall(unpack(ARGV)) return type(r) == 'table' and (r.err or r.ok or #r) or type(r)",
    "resp3": b"redis.setresp(3) " + ONE,
    "no-writes": b"#!lua flags=no-writes\n" + ONE,
    "any": b"#!lua flags=allow-oom,allow-cross-slot-keys\n" + ONE,
}
WALKS = {
    "all": WALK % b"out[#out + 1] = redis.pcall(unpack(ARGV, at + 1, at + words))",
    "until": WALK % b"out[#out + 1] = redis.call(unpack(ARGV, at + 1, at + words))",
    "last": WALK % b"out[1] = redis.pcall(unpack(ARGV, at + 1, at + words))",
    "allowed": WALK % b"local ok, may = pcall(redis.acl_check_cmd, unpack(ARGV, at + 1, at + words)) out[#out + 1] = {ok, may}",
}
LIBRARY = b"#!lua name=calls\n" + b"".join(
    b"redis.register_function{function_name='%s', flags={%s}, callback=function(KEYS, ARGV) %s\nend}\n" % (
        name.replace("-", "_").encode(), b"'no-writes'" if name == "no-writes" else b"", text.split(b"\n", 1)[1] if text.startswith(b"#!") else text)
    for name, text in list(CALLS.items()) + list(WALKS.items()))
# Replies whose order or moment is compared by kind need that kind; the others come as they are.
PLAIN_KINDS = ("exact", "ttl", "ttl_ms", "unordered")


class Scripts(Family):
    def __init__(self, draw, called):
        super().__init__(draw)
        self.called, self.called_weights = zip(*called)

    def makers(self):
        return [(10, self.call), (6, self.walk), (1, self.cache), (2, self.functions)]

    def inner(self, kinds):
        while True:
            made = self.random.choices(self.called, self.called_weights)[0]()
            if isinstance(made, list):  # they must follow each other
                continue
            command, kind = made
            # A known difference that would show again in what the rest of the script does.
            blocks = command[0].upper() in (b"XREAD", b"XREADGROUP") and b"BLOCK" in command
            if kind in kinds and not blocks and command[0].upper() not in (b"MULTI", b"EXEC", b"DISCARD", b"RESET"):
                return command, kind

    def started(self, name, text, words):
        """The script by text, by SHA1, or as a function."""
        keys = self.random.randrange(min(3, len(words)) + 1) if self.chance(30) else 0
        rest = [b"%d" % keys] + words
        roll = self.random.randrange(10)
        suffix = b"_RO" if self.chance(6) else b""
        if roll < 5:
            return [b"EVAL" + suffix, text, *rest]
        if roll < 7:
            return [b"EVALSHA" + suffix, hashlib.sha1(text).hexdigest().encode(), *rest]
        function = name.replace("-", "_").encode()
        return [b"FCALL" + suffix, function.upper() if self.chance(10) else function, *rest]

    def call(self):
        name = self.random.choice(list(CALLS))
        command, kind = self.inner(("exact",) if name == "resp3" else PLAIN_KINDS)
        # Sets and maps come back in the order of a Lua table.
        return self.started(name, CALLS[name], command), "unordered" if name == "resp3" else kind

    def walk(self):
        name = self.random.choice(list(WALKS))
        words = []
        for _ in range(self.random.randrange(1, 6)):
            command, _ = self.inner(("exact",))
            words += [len(command), *command]
        return self.started(name, WALKS[name], words), "exact"

    def cache(self):
        texts = list(CALLS.values()) + list(WALKS.values())
        sha = lambda: hashlib.sha1(self.random.choice(texts)).hexdigest().encode()
        if self.chance(8):
            return [([b"SCRIPT", b"FLUSH"] + self.one_of([], [b"SYNC"], [b"ASYNC"], [b"x"]), "exact")]
        return self.one_of([b"SCRIPT", b"LOAD", self.random.choice(texts)], [b"SCRIPT", b"EXISTS", sha(), sha(), b"x"]), "exact"

    def functions(self):
        name = b"lib%d" % self.random.randrange(4)
        code = b"#!lua name=%s\nredis.register_function('f%d', function(keys, args) return {#keys, args} end)" % (
            name, self.random.randrange(4))
        return self.one_of(
            [b"FUNCTION", b"LOAD", code], [b"FUNCTION", b"LOAD", b"REPLACE", code], [b"FUNCTION", b"DELETE", name],
            [b"FUNCTION", b"LOAD", b"REPLACE", LIBRARY], [b"FUNCTION", b"STATS"], [b"FUNCTION", b"LIST", b"LIBRARYNAME", name],
            [b"FUNCTION", b"LIST", b"WITHCODE", b"LIBRARYNAME", name], [b"FCALL", b"f%d" % self.random.randrange(4), 1, b"k", self.value()],
            [b"FUNCTION", b"FLUSH"] if self.chance(6) else [b"FUNCTION", b"STATS"]), "exact"


class Expressions(Family):
    """What scripts compute: values of every kind, and the libraries that scripts have."""

    def makers(self):
        return [(1, self.expression)]

    def number(self):
        return self.one_of(b"0", b"1", b"-1", b"0.5", b"-0.25", b"1e15", b"1e17", b"-1e100", b"2^31", b"2^32", b"-2^31", b"2^53", b"2^63",
                           b"1/0", b"-1/0", b"%d" % self.random.randrange(-300, 300), b"%d" % self.random.randrange(-2**40, 2**40),
                           b"%r" % self.random.uniform(-1000, 1000))

    def literal(self, text):
        return b"'" + b"".join(b"\\%03d" % byte for byte in text) + b"'"

    def text(self):
        length = self.one_of(0, 1, 2, 5, 15, 16, 31, 32, 33, 40, 255, 256)
        return self.literal(self.random.randbytes(length) if self.chance(2) else b"x" * length)

    def lua(self, depth=0):
        """A value as Lua text. Tables have elements or one field, so that no order of fields shows."""
        roll = self.random.randrange(10 if depth < 4 else 6)
        if roll < 3:
            return self.number()
        if roll < 5:
            return self.text()
        if roll < 6:
            return self.one_of(b"true", b"false", b"nil", b"cjson.null")
        if roll < 9:
            return b"{" + b",".join(self.lua(depth + 1) for _ in range(self.one_of(0, 1, 2, 3, 15, 16, 17) if depth < 2 else 1)) + b"}"
        return b"{[%s]=%s}" % (self.one_of(b"'a'", b"'%d'" % self.random.randrange(99), b"2", b"0", b"1.5", b"-1"), self.lua(depth + 1))

    def json(self, depth=0):
        roll = self.random.randrange(10 if depth < 4 else 6)
        space = self.one_of(b"", b"", b" ", b"\n\t")
        if roll < 2:
            return self.one_of(b"0", b"-1", b"1.5", b"1e5", b"-0.1E-2", b"12345678901234567890", b"1e400", b"01", b"+1", b".5", b"0x10", b"nan", b"-inf")
        if roll < 5:
            return b'"' + b"".join(self.one_of(b"a", b"\\n", b"\\u00e9", b"\\ud83d\\ude00", b"\\/", b"\\\"", b"\xc3\xa9", b"\\b", b"\\ud800" if self.chance(9) else b"z")
                                   for _ in range(self.random.randrange(6))) + b'"'
        if roll < 6:
            return self.one_of(b"true", b"false", b"null", b"nul" if self.chance(9) else b"null")
        if roll < 8:
            return b"[" + (b"," + space).join(self.json(depth + 1) for _ in range(self.random.randrange(4))) + space + (b"]" if not self.chance(60) else b",]")
        return b"{" + space + self.one_of(b'"a"', b'""', b'"1"') + b":" + space + self.json(depth + 1) + b"}"

    def format(self):
        return b"".join(self.one_of(b"b", b"B", b"h", b"H", b"l", b"L", b"i%d" % self.random.randrange(1, 9), b"I", b"I%d" % self.random.randrange(1, 9), b"f", b"d", b"T",
                                    b"s", b"c%d" % self.random.randrange(5), b"x", b">", b"<", b"!", b"!%d" % (1 << self.random.randrange(4)), b"=" if self.chance(20) else b" ")
                        for _ in range(self.random.randrange(1, 7)))

    def expression(self):
        values = b",".join(self.lua() for _ in range(self.random.randrange(1, 4)))
        numbers = b",".join(self.number() for _ in range(self.random.randrange(1, 4)))
        made = self.one_of(
            lambda: b"cjson.encode(%s)" % self.lua(),
            lambda: b"cjson.encode(cjson.decode(%s))" % self.literal(self.json()),
            lambda: b"cjson.decode(%s)" % self.literal(self.json()),
            lambda: b"cmsgpack.pack(%s)" % values,
            lambda: b"cmsgpack.unpack(cmsgpack.pack(%s))" % values,
            lambda: b"cmsgpack.unpack(%s)" % self.literal(self.random.randbytes(self.random.randrange(12))),
            lambda: b"cmsgpack.unpack_limit(cmsgpack.pack(%s), %s, %s)" % (values, self.one_of(b"0", b"1", b"2", b"-1"), self.one_of(b"0", b"1", b"3", b"99")),
            lambda: b"cmsgpack.unpack_one(cmsgpack.pack(%s), %s)" % (values, self.one_of(b"0", b"1", b"-1", b"2")),
            lambda: b"struct.pack('%s', %s)" % (self.format(), b",".join(self.one_of(self.number, self.text)() for _ in range(6))),
            lambda: b"struct.unpack('%s', %s)" % (self.format(), self.literal(self.random.randbytes(self.random.randrange(40)))),
            lambda: b"struct.size('%s')" % self.format(),
            lambda: b"bit.%s(%s)" % (self.one_of(b"band", b"bor", b"bxor", b"bnot", b"tobit", b"tohex", b"bswap", b"lshift", b"rshift", b"arshift", b"rol", b"ror"), numbers),
            lambda: b"string.format('%s', %s)" % (self.one_of(b"%d", b"%5.2f", b"%.14g", b"%x", b"%s", b"%g", b"%.17g", b"%e"), self.number()),
            lambda: b"tostring(%s)" % self.number(),
            lambda: b"redis.call('ECHO', %s)" % self.number(),
            lambda: b"math.%s(%s)" % (self.one_of(b"floor", b"ceil", b"abs", b"sqrt", b"exp", b"max", b"min", b"fmod", b"modf", b"random"), numbers),
            lambda: b"redis.sha1hex(%s)" % self.text(),
            lambda: self.lua(),
            lambda: b"tonumber(%s, %d)" % (self.literal(b"%d" % self.random.randrange(10**6)), self.random.randrange(2, 37)))()
        # Numbers are integers in replies: the text says more.
        shown = b"local function show(v) if type(v) == 'number' then return string.format('%.17g', v) end return v end "
        return [b"EVAL", self.one_of(b"return " + made, b"return {%s}" % made, shown + b"return show(%s)" % made,
                                     b"return {pcall(function() return %s end)}" % made,
                                     b"redis.setresp(3) return {double=%s}" % self.number(),
                                     b"redis.setresp(3) return %s" % made), b"0"], "exact"
