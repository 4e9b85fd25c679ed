"""A TCP proxy between two servers that can be cut, held and counted."""
import select
import socket
import threading
import time

from server import free_port


class LinkProxy:
    """Passes bytes between whoever connects to `port` and the server at `target`."""

    def __init__(self, target):
        self.target = target
        self.port = free_port()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(8)
        self.pairs = []
        self.lock = threading.Lock()
        self.held = False
        self.refusing = False
        self.passed = 0  # bytes from the target
        self.cut_after = None  # bytes from the target on one connection, then it is cut
        self.cuts = 0
        self.ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def cut(self):
        """Breaks all connections; new ones pass."""
        with self.lock:
            if self.pairs:
                self.cuts += 1
            for pair in self.pairs:
                for end in pair[:2]:
                    end.close()
            self.pairs = []

    def close(self):
        self.ended = True
        self.thread.join(5)
        self.cut()
        self.listener.close()

    def _accept(self):
        near, _ = self.listener.accept()
        if self.refusing:
            return near.close()
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=2)
        except OSError:
            return near.close()
        with self.lock:
            self.pairs.append([near, far, 0])

    def _pass(self, pair, source):
        near, far = pair[:2]
        data = source.recv(65536)
        if not data:
            raise OSError("closed")
        if source is far:
            self.passed += len(data)
            pair[2] += len(data)
            if self.cut_after is not None and pair[2] > self.cut_after:
                self.cuts += 1
                self.cut_after = None
                raise OSError("cut")
        (far if source is near else near).sendall(data)

    def _run(self):
        while not self.ended:
            with self.lock:
                pairs = list(self.pairs)
            ends = {end: pair for pair in pairs for end in pair[:2]}
            try:
                ready = select.select([self.listener] + ([] if self.held else list(ends)), [], [], 0.05)[0]
            except (OSError, ValueError):
                continue  # cut meanwhile
            for one in ready:
                try:
                    if one is self.listener:
                        self._accept()
                    elif ends[one] in self.pairs:
                        self._pass(ends[one], one)
                except OSError:
                    pair = ends.get(one)
                    for end in (pair or [])[:2]:
                        end.close()
                    with self.lock:
                        if pair in self.pairs:
                            self.pairs.remove(pair)
