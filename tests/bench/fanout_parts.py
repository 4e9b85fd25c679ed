"""What a published message costs per subscriber who gets it."""
import resource
import select
import statistics
import threading

from measuring import BOTH, OURS, REFERENCE, cpu_seconds, resp, start

SUBSCRIBERS = 1000
DELIVERIES = 600000  # per measurement
PAYLOAD = b"x" * 64


class Reader(threading.Thread):
    """Takes what comes on all the connections and counts its bytes."""

    def __init__(self, connections):
        super().__init__(daemon=True)
        self.sockets = {connection.socket.fileno(): connection.socket for connection in connections}
        self.bytes, self.wanted, self.reached, self.over = 0, None, threading.Event(), False
        self.epoll = select.epoll()
        for descriptor in self.sockets:
            self.epoll.register(descriptor, select.EPOLLIN)
        self.start()

    def stop(self):
        self.over = True
        self.join()
        self.epoll.close()

    def expect(self, count):
        self.reached.clear()
        self.bytes, self.wanted = 0, count

    def run(self):
        while not self.over:
            for descriptor, _ in self.epoll.poll(0.2):
                self.bytes += len(self.sockets[descriptor].recv(1 << 16))
            if self.wanted is not None and self.bytes >= self.wanted:
                self.wanted = None
                self.reached.set()


def delivery_nanos(binary, pipeline, resp3, count):
    """Server processor time per delivery: `pipeline` messages are published at a time, and read by all
    before the next."""
    server = start(binary, "--maxclients", str(SUBSCRIBERS + 100))
    subscribers, reader = [], None
    try:
        subscribers += [server.connect(timeout=60, resp3=resp3) for _ in range(SUBSCRIBERS)]
        for subscriber in subscribers:
            subscriber.raw("SUBSCRIBE", "news")
        publisher = server.connect(timeout=60)
        message = resp.encode(["PUBLISH", "news", PAYLOAD])
        size = len(b"%b3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\n%b\r\n" % (b">" if resp3 else b"*", len(PAYLOAD), PAYLOAD))
        reader = Reader(subscribers)
        rounds = max(1, count // (SUBSCRIBERS * pipeline))
        for warm in (True, False):
            before = cpu_seconds(server.pid)
            for _ in range(max(1, rounds // 10) if warm else rounds):
                reader.expect(size * SUBSCRIBERS * pipeline)
                publisher.send(message * pipeline)
                for _ in range(pipeline):
                    publisher.read()
                if not reader.reached.wait(60):
                    raise RuntimeError("%d bytes of %d arrived" % (reader.bytes, size * SUBSCRIBERS * pipeline))
        return (cpu_seconds(server.pid) - before) / (rounds * pipeline * SUBSCRIBERS) * 1e9
    finally:
        if reader:
            reader.stop()
        for subscriber in subscribers:
            subscriber.close()
        server.stop()


def measure_fanout(table, arguments):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * SUBSCRIBERS + 200)), hard))
    count = int(DELIVERIES * arguments.scale)
    for pipeline in (1, 16):
        for resp3 in (False, True):
            figures = {REFERENCE: [], OURS: []}
            for _ in range(arguments.rounds):
                for binary in BOTH:
                    figures[binary].append(delivery_nanos(binary, pipeline, resp3, count))
            table.add("PUBLISH to %d subscribers, RESP%d, pipeline %d: server time each" % (SUBSCRIBERS, 3 if resp3 else 2, pipeline),
                      *(statistics.median(figures[binary]) for binary in BOTH), " ns", 0, "<= 0.83")
