#!/usr/bin/python3
"""TLS: connections, certificates of clients, reload, hostile handshakes."""
import os
import signal
import socket
import ssl
import subprocess
import time

import redis

import resp
from certificates import Certificates, Connection, Secure, openssl
from server import OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually, free_port

HALF_OPEN = 600  # connections that never speak TLS


def refused(port, context):
    try:
        connection = Connection(port, context)
        connection.raw("PING")
    except (OSError, EOFError, ssl.SSLError, RuntimeError):
        return True
    return False


def serial(connection):
    return connection.socket.getpeercert()["serialNumber"]


def test_commands_of_all_sizes(certs):
    with Secure(certs) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            one = Connection(server.tls_port, certs.context(version=version))
            check_equal(one.raw("PING"), b"+PONG\r\n")
            for size in (0, 1, 16383, 16384, 16385, 70000, 5_000_000):
                value = os.urandom(size)
                check_equal(one.raw("SET", "k", value), b"+OK\r\n", "SET of %d bytes" % size)
                check(one.call("GET", "k") == value, "GET of %d bytes" % size)
            one.send(b"".join(resp.encode(["INCR", "n"]) for _ in range(20000)))
            for _ in range(20000):
                one.read()
            big = one.raw("MGET", *["k"] * 8)
            check_equal(len(big), len(b"*8\r\n") + 8 * (5_000_000 + len("$5000000\r\n\r\n")), "a reply of many records")
            one.close()
        plain = server.connect()
        check_equal(plain.raw("GET", "n"), b"$5\r\n40000\r\n", "the plain port serves the same data")


def test_slow_reader_gets_everything(certs):
    with Secure(certs) as server:
        one = Connection(server.tls_port, certs.context())
        value = os.urandom(1_000_000)
        one.raw("SET", "k", value)
        one.send(resp.encode(["GET", "k"]) * 30)
        other = Connection(server.tls_port, certs.context())
        for _ in range(30):
            check_equal(other.raw("PING"), b"+PONG\r\n")
            check(one.read() == b"$1000000\r\n" + value + b"\r\n", "the value")


def test_blocking_pubsub_and_pauses(certs):
    with Secure(certs) as server:
        one, two = (Connection(server.tls_port, certs.context()) for _ in range(2))
        one.send(resp.encode(["BLPOP", "l", "5"]) + resp.encode(["PING"]))
        time.sleep(0.1)
        two.raw("RPUSH", "l", "x")
        check_equal(one.read(), b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n")
        check_equal(one.read(), b"+PONG\r\n", "what was sent behind the blocking command")
        one.raw("SUBSCRIBE", "c")
        check_equal(two.raw("PUBLISH", "c", "m"), b":1\r\n")
        check_equal(one.read(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n")
        two.raw("CLIENT", "PAUSE", "200")
        two.send(b"".join(resp.encode(["SET", "k%d" % i, "x" * 1000]) for i in range(200)))
        for _ in range(200):
            check_equal(two.read(), b"+OK\r\n")


def test_only_tls(certs):
    port = free_port()
    with ServerUnderTest(port=0, args=certs.options(port), wait=False) as server:
        def answers():
            try:
                return Connection(port, certs.context()).raw("PING") == b"+PONG\r\n"
            except OSError:
                return False
        eventually(answers, "TLS answers")
        info = Connection(port, certs.context()).call("INFO", "server").decode()
        check("tcp_port:%d\r" % port in info, "tcp_port")


def test_client_certificates(certs):
    with Secure(certs, tls_auth_clients="yes") as server:
        check(refused(server.tls_port, certs.context()), "a client without certificate is refused")
        check_equal(Connection(server.tls_port, certs.context("alice")).raw("PING"), b"+PONG\r\n")
        admin = server.connect()
        check_equal(admin.raw("CONFIG", "SET", "tls-auth-clients", "optional"), b"+OK\r\n")
        check_equal(Connection(server.tls_port, certs.context()).raw("PING"), b"+PONG\r\n")
        other = Certificates()
        stranger = certs.context()
        stranger.load_cert_chain(other.path("alice.crt"), other.path("alice.key"))
        check(refused(server.tls_port, stranger), "a certificate of another authority is refused")
        other.remove()


def test_common_name_is_the_user(certs):
    with Secure(certs, tls_auth_clients="optional", tls_auth_clients_user="CN") as server:
        admin = server.connect()
        admin.call("ACL", "SETUSER", "alice", "on", ">pw", "+get", "+acl|whoami", "~a")
        admin.call("CONFIG", "SET", "requirepass", "pw")
        alice = Connection(server.tls_port, certs.context("alice"))
        check_equal(alice.call("ACL", "WHOAMI"), b"alice")
        check(alice.raw("SET", "a", "x").startswith(b"-NOPERM"), "SET")
        for context in (certs.context("nobody"), certs.context()):
            check(Connection(server.tls_port, context).raw("GET", "a").startswith(b"-NOAUTH"), "others must log in")
        admin.call("ACL", "SETUSER", "alice", "off")
        check(Connection(server.tls_port, certs.context("alice")).raw("GET", "a").startswith(b"-NOAUTH"), "a disabled one")
        admin.call("CONFIG", "SET", "tls-auth-clients-user", "off")
        admin.call("ACL", "SETUSER", "alice", "on")
        check(Connection(server.tls_port, certs.context("alice")).raw("GET", "a").startswith(b"-NOAUTH"), "when off")


def test_protocols_and_ciphers(certs):
    with Secure(certs, tls_protocols="TLSv1.2", tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256") as server:
        check(refused(server.tls_port, certs.context(version=ssl.TLSVersion.TLSv1_3)), "TLS 1.3 is off")
        one = Connection(server.tls_port, certs.context())
        check_equal(one.socket.cipher()[0], "ECDHE-ECDSA-AES128-GCM-SHA256")
        admin = server.connect()
        admin.call("CONFIG", "SET", "tls-protocols", "TLSv1.3", "tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")
        check_equal(Connection(server.tls_port, certs.context()).socket.cipher()[0], "TLS_CHACHA20_POLY1305_SHA256")
        for name, value in (("tls-protocols", "TLSv9"), ("tls-ciphers", "nonsense"), ("tls-ciphersuites", "nonsense"),
                            ("tls-cert-file", "/nowhere"), ("tls-key-file", certs.path("alice.key")),
                            ("tls-ca-cert-file", "/nowhere"), ("tls-dh-params-file", "/nowhere"),
                            ("tls-cert-file", ""), ("tls-key-file", "")):
            before = admin.call("CONFIG", "GET", name)
            check_equal(admin.error("CONFIG", "SET", name, value), "ERR CONFIG SET failed (possibly related to argument "
                        "'%s') - Unable to update TLS configuration. Check server logs." % name)
            check_equal(admin.call("CONFIG", "GET", name), before, name)
        check_equal(Connection(server.tls_port, certs.context()).raw("PING"), b"+PONG\r\n", "the old ones stay")
        check_equal(one.raw("PING"), b"+PONG\r\n", "open connections stay")


def test_sessions_are_resumed(certs):
    with Secure(certs) as server:
        context = certs.context(version=ssl.TLSVersion.TLSv1_2)
        first = Connection(server.tls_port, context)
        first.raw("PING")
        second = Connection(server.tls_port, context, session=first.socket.session)
        check(second.socket.session_reused, "resumed")
        check_equal(second.raw("PING"), b"+PONG\r\n")


def test_encrypted_key(certs):
    openssl("ec", "-in", "server.key", "-aes128", "-passout", "pass:open", "-out", "locked.key", cwd=certs.dir)
    with Secure(certs, tls_key_file=certs.path("locked.key"), tls_key_file_pass="open") as server:
        check_equal(Connection(server.tls_port, certs.context()).raw("PING"), b"+PONG\r\n")
        admin = server.connect()
        check("Unable to update" in admin.error("CONFIG", "SET", "tls-key-file-pass", "wrong"), "a wrong password")


def test_changed_files_are_loaded(certs):
    with Secure(certs) as server:
        old = Connection(server.tls_port, certs.context())
        was = serial(old)
        certs.sign("server")
        eventually(lambda: serial(Connection(server.tls_port, certs.context())) != was, "the new certificate", timeout=8)
        server.wait_for_log("TLS certificates changed and were loaded")
        check_equal(old.raw("PING"), b"+PONG\r\n", "open connections stay")
        good = open(certs.path("server.crt")).read()
        with open(certs.path("server.crt"), "w") as out:
            out.write("broken\n")
        server.wait_for_log("but the old ones stay in use", timeout=8)
        check_equal(Connection(server.tls_port, certs.context()).raw("PING"), b"+PONG\r\n", "the old one stays")
        with open(certs.path("server.crt"), "w") as out:
            out.write(good)
        server.child.send_signal(signal.SIGHUP)
        server.wait_for_log("TLS configuration was loaded again")


def test_port_moves(certs):
    with Secure(certs) as server:
        admin, port = server.connect(), free_port()
        admin.call("CONFIG", "SET", "tls-port", str(port))
        check_equal(Connection(port, certs.context()).raw("PING"), b"+PONG\r\n")
        check(refused(server.tls_port, certs.context()), "the old port is closed")
        taken = free_port()
        with socket.socket() as holder:
            holder.bind(("0.0.0.0", taken))
            holder.listen()
            check("Unable to listen on this port" in admin.error("CONFIG", "SET", "tls-port", str(taken)), "a taken port")
        check_equal(Connection(port, certs.context()).raw("PING"), b"+PONG\r\n", "the port before")
        admin.call("CONFIG", "SET", "tls-port", "0")
        check(refused(port, certs.context()), "closed")


def test_cannot_start_without_files(certs):
    for args, text in ((["--tls-port", str(free_port())], "No tls-cert-file configured!"),
                       (certs.options(free_port(), tls_key_file="/nowhere"), "Failed to load private key: /nowhere"),
                       (certs.options(free_port(), tls_ca_cert_file="", tls_auth_clients="yes"), "Either tls-ca-cert-file")):
        with ServerUnderTest(args=args, wait=False) as server:
            check_equal(server.wait_for_exit(), 1, "exit code")
            check(text in server.log() and "Failed to configure TLS" in server.log(), server.log())


def test_strangers_do_not_disturb(certs):
    with Secure(certs) as server:
        one = Connection(server.tls_port, certs.context())
        silent = [socket.create_connection(("127.0.0.1", server.tls_port)) for _ in range(HALF_OPEN)]
        for i, stranger in enumerate(silent):
            if i % 3 == 1:
                stranger.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
            elif i % 3 == 2:
                try:
                    stranger.sendall(b"PING\r\n" * 10)
                except OSError:
                    pass
        began = time.monotonic()
        for _ in range(100):
            check_equal(one.raw("PING"), b"+PONG\r\n")
        check(time.monotonic() - began < 2, "100 PINGs took %.2f s" % (time.monotonic() - began))
        check_equal(Connection(server.tls_port, certs.context()).raw("PING"), b"+PONG\r\n", "newcomers come in")
        admin = server.connect()
        check(len(admin.call("CLIENT", "LIST").splitlines()) <= 3, "strangers are no clients")
        # Those who are silent are shown the door.
        eventually(lambda: closed(silent[0]) and closed(silent[1]), "half-open handshakes end", timeout=20, pause=0.2)
        for stranger in silent:
            stranger.close()
        one.close()


def closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_many_handshakes_do_not_stall(certs):
    with Secure(certs) as server:
        plain = server.connect()
        plain.raw("PING")
        swarm = []
        context = certs.context()
        for _ in range(100):
            bare = socket.create_connection(("127.0.0.1", server.tls_port))
            bare.setblocking(False)
            secure = context.wrap_socket(bare, server_hostname="localhost", do_handshake_on_connect=False)
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                pass
            swarm.append(secure)
        waits = []
        while len(waits) < 50:
            sent = time.monotonic()
            plain.raw("PING")
            waits.append(time.monotonic() - sent)
        check(sorted(waits)[25] < 0.1, "a PING beside the handshakes takes %.3f s" % sorted(waits)[25])
        for secure in swarm:
            secure.setblocking(True)
            secure.settimeout(10)
            secure.do_handshake()
            secure.sendall(b"PING\r\n")
            check_equal(secure.recv(100), b"+PONG\r\n")


def test_replication(certs):
    """Each of ours and redis-server follows the other over TLS."""
    for primary_binary, replica_binary in ((OURS, OURS), (OURS, REFERENCE), (REFERENCE, OURS)):
        with Secure(certs, ["--repl-diskless-sync-delay", "0"], primary_binary, tls_auth_clients="yes") as primary:
            source = primary.connect()
            source.raw("SET", "before", "x" * 100_000)
            with Secure(certs, binary=replica_binary, tls_replication="yes") as follower:
                copy = follower.connect()
                copy.raw("REPLICAOF", "127.0.0.1", str(primary.tls_port))
                # Until it has all of it, it says LOADING.
                eventually(lambda: resp.tree(copy.raw("GET", "before")) == ("$", b"x" * 100_000), "the snapshot", timeout=20)
                source.raw("SET", "after", "y")
                eventually(lambda: copy.call("GET", "after") == b"y", "the stream", timeout=20)


def test_busy_script_hears_tls(certs):
    with Secure(certs, args=["--busy-reply-threshold", "50"]) as server:
        busy, other = (Connection(server.tls_port, certs.context()) for _ in range(2))
        busy.send(resp.encode(["EVAL", "while true do end", "0"]) + resp.encode(["PING"]))
        other.send(resp.encode(["SET", "a", "x" * 40000]))
        check(other.read().startswith(b"-BUSY") or other.raw("GET", "a").startswith(b"-BUSY"), "the script is busy")
        check_equal(other.raw("SCRIPT", "KILL"), b"+OK\r\n")
        check(b"Script killed by user" in busy.read(), "the script ends")
        check_equal(busy.read(), b"+PONG\r\n")
        check_equal(other.raw("GET", "b"), b"$-1\r\n")


def test_client_tools(certs):
    with Secure(certs, tls_auth_clients="yes") as server:
        said = subprocess.run(["redis-cli", "--tls", "-p", str(server.tls_port), "--cacert", certs.path("ca.crt"), "--cert",
                               certs.path("alice.crt"), "--key", certs.path("alice.key"), "SET", "a", "b"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20).stdout
        check_equal(said, b"OK\n", "redis-cli")
        client = redis.Redis(port=server.tls_port, ssl=True, ssl_ca_certs=certs.path("ca.crt"),
                             ssl_certfile=certs.path("alice.crt"), ssl_keyfile=certs.path("alice.key"))
        check_equal(client.get("a"), b"b", "python3-redis")
        with client.pipeline() as pipe:
            for i in range(1000):
                pipe.set("k%d" % i, "v" * 100)
            check(all(pipe.execute()), "a pipeline")


def main():
    results = Results()
    certs = Certificates()
    try:
        for name, function in list(globals().items()):
            if name.startswith("test_"):
                results.run(name, function, certs)
    finally:
        certs.remove()
    results.finish()


if __name__ == "__main__":
    main()
