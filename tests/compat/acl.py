#!/usr/bin/python3
"""Users in files: `user` lines of the configuration, the ACL file, CONFIG REWRITE, SIGHUP; and what
INFO and the logs tell. Ours alone, with redis-server's texts."""
import os
import signal
import socket
import tempfile

from resp import encode
from server import OURS, Results, ServerUnderTest, check, check_equal, eventually

HASH = b"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # secret
WRONG_LINES = """user bob on zz  +nosuch
foo
#x
user bob
user
user x (a

 user ok on +get (+get "~a b")
user default on +@all
user t\tt on
\tuser tt #z
"""


def start_fails(config):
    """Runs until it gives up; returns what it said."""
    with ServerUnderTest(config=config, wait=False) as server:
        check_equal(server.wait_for_exit(), 1, "exit code")
        return server.log()


def start_with_file(content, config="aclfile users.acl\n"):
    """A server whose ACL file exists before it starts."""
    directory = tempfile.mkdtemp(prefix="quoll-acl-")
    path = os.path.join(directory, "users.acl")
    with open(path, "w") as out:
        out.write(content)
    return path, ServerUnderTest(config=config.replace("users.acl", path))


def users(connection):
    return connection.call("ACL", "LIST")


def test_config_users():
    config = ("user alice on >secret ~a:* +get\n"
              "user bob off nopass (+get ~x) (+set\nuser carl on +@all -@all +ping ( +set ~y )\n")
    said = start_fails(config)
    check("Error in user declaration 'bob': Unmatched parenthesis in acl selector starting at '(+set'." in said, said)
    config = config.replace(" (+set\n", "\n")
    with ServerUnderTest(config=config) as server:
        one = server.connect()
        check_equal(users(one), [
            b"user alice on #" + HASH + b" ~a:* resetchannels -@all +get",
            b"user bob off nopass resetchannels -@all (~x resetchannels -@all +get)",
            b"user carl on resetchannels -@all +ping (~y resetchannels -@all +set)",
            b"user default on nopass ~* &* +@all"], "ACL LIST")
        check("The user 'bob' is disabled (there is no 'on' modifier" in server.log(), "bob is told to be disabled")
        check_equal(one.raw("AUTH", "alice", "secret"), b"+OK\r\n", "login")


def test_config_default_user():
    with ServerUnderTest(config="requirepass pw\nuser default on nopass +ping ~* &*\n") as server:
        one = server.connect()
        check_equal(one.raw("PING"), b"+PONG\r\n")
        check(one.raw("GET", "x").startswith(b"-NOPERM"), "GET")


def test_config_wrong_users():
    for line, text in (
            ("user bob on zz", "Error in user declaration 'bob': Syntax error"),
            ("user bob on\nuser bob on", "Duplicate user found. A user can only be defined once in config files"),
            ("user bob on +nosuch", "Error loading ACL rule '+nosuch' for the user named 'bob': Unknown command"),
            ('user "a b" on', "Spaces not allowed in ACL usernames"),
            ("user bob on\naclfile /tmp/none.acl", "Configuring Redis with users defined in redis.conf and at the same"),
            ("aclfile /nowhere/none.acl", "Aborting Redis startup because of ACL errors: Error loading ACLs, opening file "
             "'/nowhere/none.acl': No such file or directory")):
        said = start_fails(line + "\n")
        check(text in said, "%r said %s" % (line, said))


def test_file_is_loaded_and_saved():
    path, server = start_with_file("user default on nopass ~* &* +@all\n\n  user u on >secret ~k +get  \n")
    with server:
        one = server.connect()
        check_equal(one.call("ACL", "USERS"), [b"default", b"u"])
        one.call("ACL", "SETUSER", "new", "on", ">secret", "+@read", "-get", "(%R~x &c +set)")
        one.call("ACL", "DELUSER", "u")
        before = users(one)
        check_equal(one.raw("ACL", "SAVE"), b"+OK\r\n")
        with open(path, "rb") as saved:
            check_equal(saved.read().splitlines(), before, "the file")
        one.call("ACL", "SETUSER", "lost", "on")
        check_equal(one.raw("ACL", "LOAD"), b"+OK\r\n")
        check_equal(users(one), before, "after loading")
        check_equal(os.listdir(os.path.dirname(path)), ["users.acl"], "nothing else is left there")


def test_wrong_file_changes_nothing():
    path, server = start_with_file("user keep on nopass +ping\n")
    with server:
        one, kept = server.connect(), server.connect()
        kept.call("AUTH", "keep", "x")
        before = users(one)
        with open(path, "w") as out:
            out.write(WRONG_LINES)
        p = path.encode()
        expected = (b"-ERR %s:1: Syntax error. %s:1: Error in applying operation '+nosuch': Unknown command or category name "
                    b"in ACL. %s:2 should start with user keyword followed by the username. %s:3 should start with user "
                    b"keyword followed by the username. WARNING: Duplicate user 'bob' found on line 4. %s:5 should start "
                    b"with user keyword followed by the username. %s:6: Unmatched parenthesis in selector definition."
                    b"%s:8: Syntax error. '%s:10: username 't\tt' contains invalid characters. %s:11: The password hash "
                    b"must be exactly 64 characters and contain only lowercase hexadecimal characters. WARNING: ACL errors "
                    b"detected, no change to the previously active ACL rules was performed\r\n" % ((p,) * 9))
        check_equal(one.raw("ACL", "LOAD"), expected)
        check_equal(users(one), before, "users")
        check_equal(kept.raw("PING"), b"+PONG\r\n", "who was logged in stays")
        os.remove(path)
        check_equal(one.raw("ACL", "LOAD"), b"-ERR Error loading ACLs, opening file '%s': No such file or directory\r\n" % p)


def test_loading_ends_only_whom_it_must():
    path, server = start_with_file("user stays on nopass +@all ~* &*\nuser goes on nopass +@all\nuser hears on nopass +@all &a\n")
    with server:
        admin, stays, goes, hears = (server.connect() for _ in range(4))
        for connection, name in ((stays, "stays"), (goes, "goes"), (hears, "hears")):
            check_equal(connection.raw("AUTH", name, "x"), b"+OK\r\n")
        hears.raw("SUBSCRIBE", "a")
        with open(path, "w") as out:
            out.write("user stays on nopass +ping +acl|whoami\nuser hears on nopass +@all &b\n")
        check_equal(admin.raw("ACL", "LOAD"), b"+OK\r\n")
        check_equal(stays.call("ACL", "WHOAMI"), b"stays")
        check(stays.raw("GET", "x").startswith(b"-NOPERM"), "the new rules hold")
        check_equal(goes.read_until_closed(), b"")
        check_equal(hears.read_until_closed(), b"")
        check_equal(admin.call("ACL", "USERS"), [b"default", b"hears", b"stays"])


def test_hang_up_loads_the_file():
    path, server = start_with_file("user a on\n")
    with server:
        one = server.connect()
        with open(path, "w") as out:
            out.write("user b on\n")
        server.child.send_signal(signal.SIGHUP)
        eventually(lambda: one.call("ACL", "USERS") == [b"b", b"default"], "users of the new file")
        with open(path, "w") as out:
            out.write("nonsense\n")
        server.child.send_signal(signal.SIGHUP)
        server.wait_for_log("ACL file was not loaded")
        check_equal(one.call("ACL", "USERS"), [b"b", b"default"])


def test_rewrite_keeps_users():
    with ServerUnderTest(config="user old on nopass +ping\nuser gone on\n") as server:
        one = server.connect()
        one.call("ACL", "SETUSER", "fresh", "on", ">secret", "~k", "+get", "(+set ~x)")
        one.call("ACL", "DELUSER", "gone")
        one.call("ACL", "SETUSER", "old", "+echo")
        check_equal(one.raw("CONFIG", "REWRITE"), b"+OK\r\n")
        before = users(one)
        with open(server.config_path, "rb") as written:
            lines = [line for line in written.read().splitlines() if line.startswith(b"user ")]
        check_equal(sorted(lines), before, "lines of the file")
        with ServerUnderTest(config=open(server.config_path).read().replace(server.dir, "/tmp")) as again:
            # As in Redis a `user default` line begins with `reset`, which leaves this mark.
            after = [line.replace(b"nopass sanitize-payload", b"nopass") for line in users(again.connect())]
            check_equal(after, before, "after a new start")


def test_info_counts_refusals():
    with ServerUnderTest() as server:
        one, two = server.connect(), server.connect()
        one.call("ACL", "SETUSER", "u", "on", "nopass", "+get", "+publish", "~k", "resetchannels")
        two.raw("AUTH", "u", "x")
        for line in (["AUTH", "x", "y"], ["SET", "k", "v"], ["DEL", "k"], ["GET", "other"], ["PUBLISH", "c", "m"]):
            two.raw(*line)
        info = one.call("INFO", "stats").decode()
        for field, count in (("auth", 1), ("cmd", 2), ("key", 1), ("channel", 1)):
            check("acl_access_denied_%s:%d\r" % (field, count) in info, field)
        one.call("CONFIG", "RESETSTAT")
        check("acl_access_denied_cmd:0\r" in one.call("INFO", "stats").decode(), "reset")


def test_secrets_stay_out_of_sight():
    with ServerUnderTest(args=["--slowlog-log-slower-than", "0"]) as server:
        one, watcher = server.connect(), server.connect()
        watcher.raw("MONITOR")
        one.raw("ACL", "SETUSER", "u", "on", ">hidden")
        one.raw("AUTH", "u", "hidden")
        one.raw("HELLO", "3", "AUTH", "u", "hidden")
        # Also where they are refused before anybody looks at the password.
        one.raw("HELLO", "9", "AUTH", "default", "hidden")
        one.raw("HELLO", "3", "SETNAME", "bad name", "AUTH", "default", "hidden")
        one.raw("HELLO", "2", "AUTH", "hidden")
        one.raw("AUTH", "a", "b", "hidden")
        one.raw("ACL", "SETUSER", "u", "<hidden", "nonsense")
        one = server.connect()
        seen = watcher.read_for(0.2) + repr(one.call("SLOWLOG", "GET", "100")).encode()
        check(b"(redacted)" in seen and b"hidden" not in seen, "the password shows: %r" % seen)


def test_renamed_commands_keep_their_rules():
    with ServerUnderTest(args=["--rename-command", "get", "fetch", "--rename-command", "flushall", ""]) as server:
        one, two = server.connect(), server.connect()
        check_equal(one.raw("ACL", "SETUSER", "u", "on", "nopass", "~*", "-@all", "+get", "-flushall"), b"+OK\r\n")
        check_equal(one.raw("ACL", "SETUSER", "u", "+fetch"), b"-ERR Error in ACL SETUSER modifier '+fetch': Unknown command "
                    b"or category name in ACL\r\n")
        two.raw("AUTH", "u", "x")
        check_equal(two.raw("FETCH", "x"), b"$-1\r\n")
        check(two.raw("GET", "x").startswith(b"-ERR unknown command"), "the old name is gone")
        check(two.raw("FLUSHALL").startswith(b"-ERR unknown command"), "and so is the removed one")


def restricted(server, *rules):
    server.connect().raw("ACL", "SETUSER", "u", "reset", "on", "nopass", "+@all", *rules)
    one = server.connect()
    check_equal(one.raw("AUTH", "u", "x"), b"+OK\r\n")
    return one


def test_keys_behind_odd_words():
    """Every key that a command touches is asked for, whatever words stand around it."""
    with ServerUnderTest(args=["--rename-command", "bitfield", "bits"]) as server:
        admin = server.connect()
        admin.raw("GEOADD", "ok1", "1", "1", "m")
        admin.raw("SET", "k", "secret")
        admin.raw("XADD", "priv", "1-1", "a", "b")
        admin.raw("XGROUP", "CREATE", "priv", "streams", "0")
        one = restricted(server, "~ok*")
        for command in (["GEORADIUS", "ok1", "1", "1", "100", "km"], ["GEORADIUSBYMEMBER", "ok1", "m", "100", "km"]):
            for first, second in (("STORE", "STORE"), ("STOREDIST", "STORE"), ("STORE", "STOREDIST")):
                check(one.raw(*command, first, "forbidden", second, "ok2").startswith(b"-NOPERM"), command)
                check(one.raw(*command, first, "ok2", second, "forbidden").startswith(b"-NOPERM"), command)
            check_equal(one.raw(*command, "STORE", "ok2"), b":1\r\n")
        check_equal(admin.raw("EXISTS", "forbidden"), b":0\r\n")
        writer = restricted(server, "%W~k")
        for command in (["BITS", "k", "GET", "u8", "0"], ["DELEX", "k", "IFEQ", "secret"], ["DELEX", "k", "IFNE", "x"],
                        ["DELEX", "k", "IFDEQ", "0" * 16], ["SET", "k", "v", "GET"]):
            check(writer.raw(*command).startswith(b"-NOPERM"), command)
        check_equal(writer.raw("DELEX", "k"), b":1\r\n")
        reader = restricted(server, "~c", "~noack", "~1")
        for command in (["COUNT", "1", "GROUP", "streams", "c", "NOACK"], ["GROUP", "streams", "c"], ["NOACK", "GROUP", "streams", "streams"]):
            line = ["XREADGROUP", *command, "STREAMS", "priv", ">"]
            check(reader.raw(*line).startswith(b"-NOPERM"), line)
            check_equal(admin.call("COMMAND", "GETKEYS", *line), [b"priv"])
        check(reader.raw("XREAD", "COUNT", "1", "STREAMS", "priv", "0").startswith(b"-NOPERM"), "XREAD")


def test_who_waits_is_asked_again():
    with ServerUnderTest() as server:
        admin, one = server.connect(), restricted(server, "~*")
        one.send(b"BLPOP secrets 0\r\n")
        eventually(lambda: b"blocked_clients:1" in admin.raw("INFO", "clients"), "it waits")
        admin.raw("ACL", "SETUSER", "u", "resetkeys", "~other")
        admin.raw("RPUSH", "secrets", "top")
        check(one.read().startswith(b"-NOPERM"), "the element goes to nobody")
        check_equal(admin.raw("LLEN", "secrets"), b":1\r\n")
        check(one.raw("PING") == b"+PONG\r\n", "it waits no longer")


def test_log_and_statistics_are_bounded():
    with ServerUnderTest() as server:
        admin, one = server.connect(), restricted(server, "~ok")
        check(one.raw("GET", "x" * 5000).startswith(b"-NOPERM"), "refused")
        check(len(repr(admin.call("ACL", "LOG"))) < 3000, "the key is cut")
        admin.send(b"".join(encode(["EVAL", "return {err=ARGV[1]..' x'}", "0", "CODE%d" % i]) for i in range(500)))
        for _ in range(500):
            admin.read()
        codes = admin.raw("INFO", "errorstats").count(b"errorstat_")
        check(0 < codes <= 128, "%d codes of errors" % codes)


def test_a_stranger_must_read():
    """Who has not logged in may not let replies pile up."""
    with ServerUnderTest(args=["--requirepass", "secret"]) as server:
        stranger = socket.create_connection(("127.0.0.1", server.port))
        stranger.settimeout(10)
        try:
            for _ in range(20000):
                stranger.sendall(b"PING\r\n" * 5000)
            raise AssertionError("it is still served")
        except OSError as error:
            check(not isinstance(error, socket.timeout), "it is held up, not closed")
        admin = server.connect()
        admin.raw("AUTH", "secret")
        check_equal(admin.raw("PING"), b"+PONG\r\n")


def main():
    results = Results()
    for name, function in list(globals().items()):
        if name.startswith("test_"):
            results.run(name, function)
    results.finish()


if __name__ == "__main__":
    main()
