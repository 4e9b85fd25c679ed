#!/usr/bin/python3
"""Plays the basic flows of real clients against the server, and applications: redis-py, hiredis, ioredis, node-redis,
redis-cli and redis-benchmark; BullMQ, rate-limiter-flexible, redlock, Celery and Sidekiq. Names as arguments choose some of them.

The Node libraries are installed once into build/npm from the npm registry configured on this
machine; the versions are those of node/package.json."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from certificates import Certificates, Secure
from server import OURS, ROOT, Results, ServerUnderTest, check, check_equal, free_port

NPM = os.path.join(ROOT, "build/npm")
# Results of redis-benchmark's default suite: twice PING, SET GET INCR, twelve of the other types (LPUSH a
# second time, to have a list for four times LRANGE), MSET.
BENCHMARK_RESULTS = 20


def play(results, command, **options):
    """Runs a test program that ends with `N passed, N failed` and adds its counts to ours."""
    name = os.path.basename(command[1] if command[0].startswith("/usr/bin/") else command[0])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode() + "\n(stopped after 120 s)"
    summary = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
    totals = summary.findall(output)
    print(summary.sub("", output).rstrip())  # we print the sum: it must not be counted twice
    if not totals:
        results.fail("%s broke off" % name)
        return
    results.passed += int(totals[-1][0])
    results.failed += int(totals[-1][1])


def with_servers(function):
    with ServerUnderTest(OURS) as server, ServerUnderTest(OURS, ["--requirepass", "secret"]) as locked:
        return function(server, locked)


def redis_py(results):
    with_servers(lambda server, locked: play(results, [
        "/usr/bin/python3", os.path.join(HERE, "redis_py.py"), str(server.port), str(locked.port)]))


def applications(results):
    with_servers(lambda server, locked: play(results, ["/usr/bin/python3", os.path.join(HERE, "applications.py"), str(server.port)]))


def hiredis(results):
    program = os.path.join(ROOT, "build/hiredis-test")
    os.makedirs(os.path.dirname(program), exist_ok=True)
    subprocess.run(["cc", "-O1", "-Wall", "-o", program, os.path.join(HERE, "hiredis_test.c"), "-lhiredis"], check=True)
    with_servers(lambda server, locked: play(results, [program, str(server.port), str(locked.port)]))


def install_node_libraries():
    os.makedirs(NPM, exist_ok=True)
    wanted, present = os.path.join(HERE, "node/package.json"), os.path.join(NPM, "package.json")
    same = os.path.exists(os.path.join(NPM, ".installed")) and open(present).read() == open(wanted).read()
    if not same:
        shutil.copy(wanted, present)
        subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
                       cwd=NPM, check=True, timeout=300)
        open(os.path.join(NPM, ".installed"), "w").close()
    for name in ("suite.js", "ioredis.js", "node_redis.js", "bullmq.js", "scripted.js", "tls.js", "cluster.js"):
        shutil.copy(os.path.join(HERE, "node", name), NPM)


def node(results, script):
    install_node_libraries()
    with_servers(lambda server, locked: play(
        results, [shutil.which("node"), os.path.join(NPM, script), str(server.port), str(locked.port)]))


def ioredis(results):
    node(results, "ioredis.js")


def node_redis(results):
    node(results, "node_redis.js")


def bullmq(results):
    node(results, "bullmq.js")


def scripted(results):
    node(results, "scripted.js")


def node_tls(results):
    install_node_libraries()
    certificates = Certificates()
    try:
        with Secure(certificates, tls_auth_clients="yes") as server:
            play(results, [shutil.which("node"), os.path.join(NPM, "tls.js"), str(server.tls_port),
                           *map(certificates.path, ("ca.crt", "alice.crt", "alice.key"))])
    finally:
        certificates.remove()


def cluster(results):
    install_node_libraries()
    with ServerUnderTest(OURS, ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]) as server:
        server.connect().call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        play(results, ["/usr/bin/python3", os.path.join(HERE, "redis_py_cluster.py"), str(server.port)])
        play(results, [shutil.which("node"), os.path.join(NPM, "cluster.js"), str(server.port)])
        results.run("redis-cli in a cluster", cluster_by_cli, server)


def cluster_by_cli(server):
    check_equal(cli(server, "-c", stdin="SET a 1\nSET b 2\nGET a\nMGET a b\nCLUSTER KEYSLOT b\n"),
                "OK\nOK\n1\nCROSSSLOT Keys in request don't hash to the same slot\n\n3300\n")
    # The tool finds the cluster whole.
    checked = cli(server, "--cluster", "check", "127.0.0.1:%d" % server.port)
    check("[OK] All nodes agree about slots configuration." in checked, checked)
    check("[OK] All 16384 slots covered." in checked, checked)
    info = cli(server, "--cluster", "info", "127.0.0.1:%d" % server.port)
    check("16384 slots | 0 slaves" in info, info)
    called = cli(server, "--cluster", "call", "127.0.0.1:%d" % server.port, "PING")
    check("127.0.0.1:%d: PONG" % server.port in called, called)


def celery(results):
    with_servers(lambda server, locked: play(results, [
        "/usr/bin/python3", os.path.join(HERE, "celery_jobs.py"), str(server.port)]))


def sidekiq(results):
    with_servers(lambda server, locked: play(results, [
        "/usr/bin/ruby", os.path.join(HERE, "sidekiq_jobs.rb"), str(server.port)]))


def cli(server, *arguments, stdin="", timeout=30):
    done = subprocess.run(["redis-cli", "-h", "127.0.0.1", "-p", str(server.port), *arguments], input=stdin, capture_output=True,
                          text=True, timeout=timeout)
    return done.stdout + done.stderr


def redis_cli(results):
    with ServerUnderTest(OURS) as server, ServerUnderTest(OURS, ["--requirepass", "secret"]) as locked:
        for name, test in list(globals().items()):
            if name.startswith("cli_"):
                results.run("redis-cli: " + name[4:].replace("_", " "), test, server, locked)


def cli_one_command(server, locked):
    check_equal(cli(server, "SET", "k", "hello world"), "OK\n")
    check_equal(cli(server, "GET", "k"), "hello world\n")
    check_equal(cli(server, "--no-raw", "GET", "k"), '"hello world"\n')
    check_equal(cli(server, "--no-raw", "-n", "3", "GET", "k"), "(nil)\n")
    check_equal(cli(server, "-x", "SET", "piped", stdin="from stdin"), "OK\n")
    check_equal(cli(server, "GET", "piped"), "from stdin\n")
    check_equal(cli(server, "-r", "3", "INCR", "repeated"), "1\n2\n3\n")


def cli_interactive(server, locked):
    output = cli(server, stdin="SET a 1\nMULTI\nINCR a\nGET a\nEXEC\nSELECT 2\nDBSIZE\nHELLO 3\nCONFIG GET maxmemory-policy\n")
    check("OK\nOK\nQUEUED\nQUEUED\n2\n2\nOK\n0\n" in output, output)
    check("noeviction" in output, output)


def cli_resp3(server, locked):
    output = cli(server, "-3", "--no-raw", "CONFIG", "GET", "maxmemory-policy")
    check_equal(output, '1# "maxmemory-policy" => "noeviction"\n')


def cli_auth(server, locked):
    check("NOAUTH" in cli(locked, "GET", "x"), "NOAUTH")
    check_equal(cli(locked, "--no-auth-warning", "-a", "secret", "PING"), "PONG\n")
    check_equal(cli(locked, "--no-auth-warning", "--user", "default", "--pass", "secret", "PING"), "PONG\n")
    check("WRONGPASS" in cli(locked, "-a", "wrong", "PING"), "WRONGPASS")


def cli_pipe(server, locked):
    commands = "".join("SET pipe:%d value%d\r\n" % (i, i) for i in range(20000))
    output = cli(server, "--pipe", stdin=commands)
    check("errors: 0, replies: 20000" in output, output)
    resp = "".join("*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n" % (len(k), k) for k in ("resp:%d" % i for i in range(1000)))
    check("errors: 0, replies: 1000" in cli(server, "--pipe", stdin=resp), "--pipe of RESP")


def cli_scan_and_bigkeys(server, locked):
    cli(server, "SET", "thebiggest", "x" * 5000)
    check_equal(len(cli(server, "--scan", "--pattern", "pipe:1?").split()), 10)
    check_equal(len(cli(server, "--scan", "--pattern", "pipe:*").split()), 20000)
    output = cli(server, "--bigkeys")
    check("Biggest string found '\"thebiggest\"' has 5000 bytes" in output, output[-500:])
    check("thebiggest" in cli(server, "--memkeys"), "--memkeys")


def cli_stat_and_latency(server, locked):
    for arguments, expected in ((["--stat", "-i", "0.1"], "keys"), (["--latency", "--raw", "-i", "1"], "")):
        try:  # line buffered, since these run until they are stopped
            done = subprocess.run(["stdbuf", "-oL", "redis-cli", "-p", str(server.port), *arguments], capture_output=True, timeout=1.5)
            output = done.stdout.decode() if done.returncode == 0 else "error: status %d" % done.returncode
        except subprocess.TimeoutExpired as running:
            output = ((running.stdout or b"") + (running.stderr or b"")).decode()
        check(expected in output and "rror" not in output, "%s: %s" % (arguments, output))
    output = cli(server, "--intrinsic-latency", "1")
    check("Max latency" in output, output)


def cli_help_and_info(server, locked):
    check("# Server" in cli(server, "INFO"), "INFO")
    check("redis_version" in cli(server, "INFO", "server"), "INFO server")
    check("id=" in cli(server, "CLIENT", "LIST"), "CLIENT LIST")
    check("GET" in cli(server, "HELP", "GET") or "unknown command" in cli(server, "HELP", "GET"), "HELP GET")


def cli_subscribe(server, locked):
    with tempfile.TemporaryFile("w+") as out:
        listener = subprocess.Popen(["redis-cli", "-p", str(server.port), "SUBSCRIBE", "news"], stdout=out)
        try:
            for _ in range(200):
                if cli(server, "PUBLISH", "news", "hello").strip() == "1":
                    break
            else:
                raise AssertionError("redis-cli never subscribed")
            subprocess.run(["sleep", "0.2"])
        finally:
            listener.terminate()
            listener.wait()
        out.seek(0)
        text = out.read()
        check("subscribe\nnews\n1\n" in text and "message\nnews\nhello\n" in text, text)


def redis_benchmark(results):
    def suite(arguments, expected):
        def test():
            with ServerUnderTest(OURS) as server:
                done = subprocess.run(["redis-benchmark", "-p", str(server.port), "-q", "-n", "20000", *arguments], capture_output=True,
                                      text=True, timeout=120)
            lines = [line for line in re.split(r"[\r\n]+", done.stdout) if "requests per second" in line]
            check_equal(done.returncode, 0, "exit status: %s" % done.stderr)
            check(len(lines) == expected and "rror" not in done.stdout + done.stderr, "%d results:\n%s%s" % (
                len(lines), done.stdout, done.stderr))
        return test

    results.run("redis-benchmark: default", suite([], BENCHMARK_RESULTS))
    results.run("redis-benchmark: pipelined, random keys", suite(["-P", "16", "-r", "100000"], BENCHMARK_RESULTS))
    results.run("redis-benchmark: RESP3", suite(["-t", "set,get", "-3"], 2))
    results.run("redis-benchmark: great values, many clients", suite(["-t", "set,get", "-d", "10000", "-c", "200"], 2))
    results.run("redis-benchmark: one command", suite(["SET", "key:__rand_int__", "v", "EX", "100"], 1))


def main():
    results = Results()
    suites = [redis_py, applications, hiredis, ioredis, node_redis, node_tls, bullmq, scripted, celery, sidekiq, cluster, redis_cli, redis_benchmark]
    for suite in suites:
        if not sys.argv[1:] or suite.__name__ in sys.argv[1:]:
            try:
                suite(results)
            except Exception as error:
                results.fail("%s: %s: %s" % (suite.__name__, type(error).__name__, error))
    results.finish()


if __name__ == "__main__":
    main()
