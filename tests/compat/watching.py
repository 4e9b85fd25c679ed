#!/usr/bin/python3
"""How the server is watched: the admin port (probes, metrics), Debian's redis_exporter, INFO's fields,
COMMANDLOG. The exporter's output and INFO are compared with redis-server's."""
import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile

import resp
from server import (OURS, REFERENCE, Results, ServerUnderTest, check, check_equal, eventually, free_port)

EXPORTER = "/usr/bin/prometheus-redis-exporter"
PATIENCE = 20  # seconds


def with_admin(args=(), **options):
    admin = free_port()
    server = ServerUnderTest(args=["--admin-port", str(admin), *args], **options)
    server.admin = admin
    return server


def get(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, answer


def exchange(port, request):
    """Everything that is answered until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        answer = b""
        while True:
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return answer
            answer += piece


def names_of(text):
    return set(re.findall(r"^(redis_\w+?)(?:_sum|_count|_bucket)?(?:\{| )", text, re.M))


def test_probes_and_metrics():
    with with_admin() as server:
        one = server.connect()
        one.call("SET", "k", "v")
        one.raw("NOSUCH")
        check_equal(get(server.admin, "/livez")[:2], (200, "ok\n"))
        check_equal(get(server.admin, "/readyz?verbose")[:2], (200, "ok\n"))
        check_equal(get(server.admin, "/nowhere")[0], 404)
        check_equal(get(server.admin, "/metrics", "POST")[0], 405)
        check_equal(get(server.admin, "/metrics", "HEAD")[1], "")
        check("quoll" in get(server.admin, "/version")[1], "version")
        status, text, answer = get(server.admin, "/metrics")
        check_equal(status, 200)
        check(answer.getheader("Content-Type").startswith("text/plain; version=0.0.4"), "content type")
        for line in ('redis_up 1', 'redis_db_keys{db="db0"} 1', 'redis_commands_total{cmd="set"} 1', 'redis_errors_total{err="ERR"} 1',
                     'redis_process_id %d' % server.pid, 'quoll_expire_lag_seconds_count 0'):
            check("\n" + line + "\n" in text, "metrics lack %s:\n%s" % (line, text))
        for line in text.splitlines():
            check(re.fullmatch(r'# TYPE \w+ (gauge|counter|summary|histogram)|[a-z]\w*(\{(\w+="[^"]*",?)+\})? [-+0-9.e]+', line), line)


def test_metrics_have_the_exporters_names():
    with with_admin() as server:
        for connection in (server.connect(),):
            connection.call("SET", "k", "v")
        ours = names_of(get(server.admin, "/metrics")[1])
        check(os.path.exists(EXPORTER), "prometheus-redis-exporter is not installed")
        theirs = names_of(exported(server.port))
    missing = {name for name in theirs - ours if not name.startswith(("redis_exporter_", "redis_target_", "redis_last_key_groups", "redis_db0_distrib_"))}
    check(not missing, "/metrics lacks what redis_exporter makes of INFO: %s" % sorted(missing))


def exported(port):
    """What Debian's redis_exporter tells of a server."""
    listen = free_port()
    child = subprocess.Popen([EXPORTER, "--redis.addr", "redis://127.0.0.1:%d" % port, "--web.listen-address", "127.0.0.1:%d" % listen],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        pages = []

        def scraped():
            try:
                pages.append(get(listen, "/metrics")[1])
                return True
            except OSError:
                return False
        eventually(scraped, "the exporter answers", timeout=PATIENCE, pause=0.05)
        return pages[-1]
    finally:
        child.terminate()
        child.wait()


def test_exporter_sees_what_it_sees_of_redis():
    pages = []
    for binary in (REFERENCE, OURS):
        with ServerUnderTest(binary, ["--slowlog-log-slower-than", "0", "--latency-monitor-threshold", "1", "--enable-debug-command", "yes"]) as server:
            one = server.connect()
            for words in (["SET", "k", "v", "EX", "1000"], ["LPUSH", "l", "1"], ["NOSUCH"], ["DEBUG", "SLEEP", "0.01"], ["CONFIG", "RESETSTAT", "x"]):
                one.raw(*words)
            pages.append(exported(server.port))
    reference, ours = pages
    check("\nredis_up 1\n" in ours and '\nredis_exporter_last_scrape_error{err=""} 0\n' in ours, ours)
    missing = names_of(reference) - names_of(ours)
    check(not missing, "the exporter finds less than in redis-server: %s" % sorted(missing))
    for line in ('redis_db_keys{db="db0"} 2', 'redis_db_keys_expiring{db="db0"} 1', 'redis_errors_total{err="ERR"}'):
        check(line in reference and line in ours, line)


def test_not_ready_while_loading():
    directory = tempfile.mkdtemp(prefix="quoll-test-")
    with ServerUnderTest(args=["--enable-debug-command", "yes", "--dir", directory]) as server:
        one = server.connect()
        one.call("DEBUG", "POPULATE", "20000")
        one.call("SAVE")
    with with_admin(["--dir", directory, "--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"], wait=False) as server:
        def state():
            try:
                return get(server.admin, "/readyz")[:2]
            except OSError:
                return None
        eventually(lambda: state() == (503, "loading the data\n"), "readyz while loading", timeout=PATIENCE)
        check_equal(get(server.admin, "/livez")[0], 200, "alive while loading")
        check("\nredis_loading_dump_file 1\n" in get(server.admin, "/metrics")[1], "metrics while loading")
        server.child.kill()
        server.child.wait()
    shutil.rmtree(directory)


def test_not_ready_without_the_primary():
    with ServerUnderTest() as primary, with_admin(["--replicaof", "127.0.0.1 %d" % primary.port, "--repl-diskless-sync-delay", "0"]) as replica:
        eventually(lambda: get(replica.admin, "/readyz")[0] == 200, "ready once it is in sync", timeout=PATIENCE)
        check('redis_master_link_up{master_host="127.0.0.1",master_port="%d"} 1' % primary.port in get(replica.admin, "/metrics")[1], "link")
        primary.stop()
        eventually(lambda: get(replica.admin, "/readyz")[0] == 503, "not ready without its primary", timeout=PATIENCE)
        replica.connect().call("REPLICAOF", "NO", "ONE")
        check_equal(get(replica.admin, "/readyz")[0], 200, "a primary is ready")


def test_admin_port_is_bounded():
    with with_admin() as server:
        long = b"GET /livez HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n"
        check(exchange(server.admin, long).startswith(b"HTTP/1.1 431 "), "long headers")
        check(exchange(server.admin, b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 414 "), "long path")
        check(exchange(server.admin, b"PING\r\n\r\n").startswith(b"HTTP/1.1 400 "), "not HTTP")
        check(exchange(server.admin, b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").startswith(b"HTTP/1.1 413 "), "a body")
        check_equal(exchange(server.admin, b"GET /livez HTTP/1.1\r\n\r\nGET /readyz HTTP/1.0\r\n\r\n").count(b"HTTP/1.1 200 OK"), 2, "pipelined")
        waiting = [socket.create_connection(("127.0.0.1", server.admin), timeout=PATIENCE) for _ in range(100)]
        for connection in waiting:
            try:
                connection.sendall(b"GET /livez HT")
            except OSError:
                pass
        refused = 0
        for connection in waiting[64:]:
            try:
                refused += connection.recv(1) == b""
            except ConnectionResetError:
                refused += 1
        check(refused >= 36, "connections beyond the limit: %d of 36 were closed" % refused)
        check_equal(server.connect().call("PING"), b"PONG")
        for connection in waiting:
            connection.close()

        def served():
            try:
                return get(server.admin, "/livez")[0] == 200
            except (OSError, http.client.HTTPException):
                return False
        eventually(served, "served again once others have gone", timeout=PATIENCE)


def test_admin_port_taken_and_off():
    with ServerUnderTest() as server:
        done = subprocess.run([OURS, "--port", str(free_port()), "--admin-port", str(server.port)], capture_output=True, text=True, timeout=PATIENCE)
        check(done.returncode == 1 and "Failed listening on admin port" in done.stdout + done.stderr, done.stdout + done.stderr)
        sockets = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout if shutil.which("ss") else ""
        mine = {line.split()[3] for line in sockets.splitlines() if "pid=%d," % server.pid in line}
        check(all(address.endswith(":%d" % server.port) for address in mine), "a server without admin-port listens at %s" % mine)


def info_names(connection, section):
    return [line.split(":")[0] for line in connection.call("INFO", section).decode().split("\r\n") if ":" in line]


# Of the design's list of fields that tools read; cluster's appear with the cluster.
READ_BY_TOOLS = """role master_repl_offset sync_partial_ok rdb_bgsave_in_progress sync_full used_memory total_error_replies
master_replid allocator_frag_ratio rdb_changes_since_last_save process_id connected_slaves watching_clients blocked_clients loading
aof_rewrite_in_progress total_forks master_failover_state acl_access_denied_auth acl_access_denied_key acl_access_denied_cmd
acl_access_denied_channel mem_total_replication_buffers active_defrag_running active_defrag_hits active_defrag_misses
total_active_defrag_time repl_backlog_histlen repl_backlog_first_byte_offset repl_backlog_active async_loading total_watched_keys
mem_allocator aof_rewrite_scheduled allocator_frag_bytes allocator_allocated allocator_active pubsub_clients expired_keys
second_repl_offset rdb_last_load_keys_expired rdb_last_load_keys_loaded number_of_cached_scripts mem_not_counted_for_evict
mem_cluster_links lazyfree_pending_objects lazyfreed_objects evicted_keys evicted_clients evicted_scripts eventloop_cycles
eventloop_duration_sum eventloop_duration_cmd_sum current_cow_size current_save_keys_processed current_save_keys_total
current_fork_perc rdb_last_cow_size connected_clients client_output_buffer_limit_disconnections
client_query_buffer_limit_disconnections sync_partial_err mem_overhead_db_hashtable_rehashing master_replid2
io_threaded_total_prefetch_entries io_threaded_total_prefetch_batches tracking_total_keys
mem_clients_normal mem_clients_slaves used_memory_lua total_commands_processed
replicas_replication_buffer_size instantaneous_eventloop_cycles_per_sec instantaneous_eventloop_duration_usec
expired_time_cap_reached_count""".split()


def test_info_fields():
    options = ["--appendonly", "yes"]
    with ServerUnderTest(REFERENCE, options) as reference, ServerUnderTest(OURS, options) as ours:
        theirs, mine = reference.connect(), ours.connect()
        for connection in (theirs, mine):
            connection.call("SET", "k", "v")
        for section in ("server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "commandstats",
                        "errorstats", "latencystats", "cluster", "keyspace", "everything", "all", "default"):
            missing = [name for name in info_names(theirs, section) if name not in info_names(mine, section)]
            check(not missing, "INFO %s lacks %s" % (section, missing))
        everything = info_names(mine, "everything")
        missing = [name for name in READ_BY_TOOLS if name not in everything]
        check(not missing, "INFO lacks what tools read: %s" % missing)
        doubled = sorted({name for name in everything if everything.count(name) > 1})
        check(not doubled, "fields that INFO has twice: %s" % doubled)


def test_key_sizes():
    with ServerUnderTest(args=["--enable-debug-command", "yes", "--proto-max-bulk-len", "64mb"]) as server:
        one = server.connect()
        for words in (["SET", "empty", ""], ["SET", "one", "x"], ["SET", "number", "-123456789"], ["SET", "big", "x" * 3000],
                      ["RPUSH", "list", *range(5)], ["SADD", "set", *range(1500)], ["ZADD", "zset", "1", "a"], ["HSET", "hash", "f", "v"],
                      ["SET", "gone", "x", "PX", "1"], ["APPEND", "one", "yyy"], ["SPOP", "set", "500"], ["RENAME", "zset", "other"],
                      ["COPY", "hash", "hash2"], ["LPOP", "list", "5"], ["DEBUG", "RELOAD"]):
            one.call(*words)
        eventually(lambda: one.call("EXISTS", "gone") == 0, "expiry")
        expected = ["db0_distrib_strings_sizes:0=1,4=1,8=1,2K=1", "db0_distrib_sets_items:512=1", "db0_distrib_zsets_items:1=1",
                    "db0_distrib_hashes_items:1=2"]

        def rows(db):
            return [line for line in one.call("INFO", "keysizes").decode().split("\r\n") if line.startswith("db%d" % db)]
        check_equal(rows(0), expected)
        one.call("SWAPDB", "0", "3")
        check_equal((rows(0), rows(3)), ([], [row.replace("db0", "db3") for row in expected]))
        one.call("FLUSHALL")
        check_equal(rows(3), [])


def test_command_log():
    with ServerUnderTest(args=["--commandlog-request-larger-than", "1000", "--commandlog-reply-larger-than", "2000"]) as server:
        one = server.connect()
        one.call("SET", "k", "x" * 1500)
        one.call("GET", "k")
        one.call("APPEND", "k", "y" * 900)
        one.call("GET", "k")
        check_equal([one.call("COMMANDLOG", "LEN", kind) for kind in ("slow", "large-request", "large-reply")], [0, 1, 1])
        entry = one.call("COMMANDLOG", "GET", "-1", "large-request")[0]
        check_equal((entry[2], entry[3][:2]), (1504, [b"SET", b"k"]))
        entry = one.call("COMMANDLOG", "GET", "10", "LARGE-REPLY")[0]
        check_equal((entry[2], entry[3]), (2400 + len("$2400\r\n\r\n"), [b"GET", b"k"]))
        check_equal(one.call("CONFIG", "SET", "commandlog-reply-larger-than", "-1"), b"OK")
        one.call("GET", "k")
        check_equal(one.call("COMMANDLOG", "LEN", "large-reply"), 1)
        check_equal(one.call("COMMANDLOG", "RESET", "large-reply"), b"OK")
        check_equal(one.call("COMMANDLOG", "LEN", "large-reply"), 0)
        check_equal(one.call("CONFIG", "SET", "commandlog-execution-slower-than", "0"), b"OK")
        check_equal(one.call("CONFIG", "GET", "slowlog-log-slower-than"), [b"slowlog-log-slower-than", b"0"])
        one.call("PING")
        check(one.call("COMMANDLOG", "LEN", "slow") > 0, "the slow log")
        check(one.raw("COMMANDLOG", "LEN", "large").startswith(b"-ERR type should be one of the following"), "type")
        check(one.raw("COMMANDLOG", "GET", "-2", "slow").startswith(b"-ERR count should be greater"), "count")


if __name__ == "__main__":
    Results.run_module(globals(), 4)
