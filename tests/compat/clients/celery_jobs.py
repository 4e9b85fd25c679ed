#!/usr/bin/python3
"""Celery with its broker and its results in the server: a worker process, tasks, retries, chords.
Usage: celery_jobs.py PORT. As a module it is the worker's application (port in CELERY_PORT)."""
import os
import signal
import subprocess
import sys
import time

import celery

PORT = sys.argv[1] if __name__ == "__main__" else os.environ["CELERY_PORT"]
app = celery.Celery("celery_jobs", broker="redis://127.0.0.1:%s/0" % PORT, backend="redis://127.0.0.1:%s/1" % PORT)
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True, result_expires=60)


@app.task(name="add")
def add(a, b):
    return a + b


@app.task(name="total")
def total(numbers):
    return sum(numbers)


@app.task(name="shaky", bind=True, max_retries=3)
def shaky(self, key):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return self.request.retries


def test_one_task():
    assert add.delay(2, 3).get(timeout=20) == 5


def test_many_tasks():
    results = [add.delay(i, i) for i in range(50)]
    assert [one.get(timeout=20) for one in results] == [2 * i for i in range(50)]


def test_retries():
    assert shaky.delay("x").get(timeout=20) == 2


def test_chain():
    assert (add.s(1, 2) | add.s(10) | add.s(100)).apply_async().get(timeout=20) == 113


def test_chord():
    assert celery.chord([add.s(i, 1) for i in range(10)], total.s()).apply_async().get(timeout=20) == 55


def test_countdown():
    start = time.monotonic()
    assert add.apply_async((1, 1), countdown=0.5).get(timeout=20) == 2
    assert time.monotonic() - start >= 0.4


def test_control():
    assert list(app.control.ping(timeout=2)[0].values()) == [{"ok": "pong"}]


def main():
    environment = dict(os.environ, CELERY_PORT=PORT)
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "celery_jobs", "worker", "--concurrency", "2", "--pool", "threads",
                               "--loglevel", "error"], env=environment, cwd=os.path.dirname(os.path.abspath(__file__)),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    passed = failed = 0
    try:
        for name, test in [(name, test) for name, test in globals().items() if name.startswith("test_")]:
            try:
                test()
                passed += 1
                print("ok   celery: " + name[5:].replace("_", " "))
            except Exception as error:
                failed += 1
                print("FAIL celery: %s: %s: %s" % (name[5:], type(error).__name__, error))
    finally:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:
            worker.kill()
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
