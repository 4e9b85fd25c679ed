"""What TLS costs: memory per idle client, processor time of pipelined commands."""
import gc
import subprocess
import time

from measuring import BOTH, cpu_seconds, rss_bytes, start
from certificates import Certificates, Connection
from server import free_port

IDLE_CLIENTS = 10000
SETTLE_S = 2.0  # servers shrink the buffers of quiet clients about once a second
PIPELINED = 300000  # commands per measurement


def secure(binary, certificates):
    port = free_port()
    server = start(binary, "--maxclients", str(IDLE_CLIENTS + 100), *certificates.options(port))
    return server, port


def bytes_per_client(binary, certificates, count):
    """Clients that have said something once. The first ones pay for what all share."""
    server, port = secure(binary, certificates)
    context = certificates.context()
    idle = []
    try:
        for i in range(count + 100):
            if i == 100:
                time.sleep(SETTLE_S)
                before = rss_bytes(server.pid)
            idle.append(Connection(port, context))
            idle[-1].raw("PING")
        time.sleep(SETTLE_S)
        return (rss_bytes(server.pid) - before) / count
    finally:
        server.stop()
        for connection in idle:
            connection.close()


def cpu_micros(binary, certificates, command, size):
    server, port = secure(binary, certificates)
    try:
        before = cpu_seconds(server.pid)
        subprocess.run(["redis-benchmark", "--tls", "--cacert", certificates.path("ca.crt"), "-p", str(port), "-t", command,
                        "-d", str(size), "-P", "16", "-n", str(PIPELINED), "-q"], check=True, stdout=subprocess.DEVNULL)
        return (cpu_seconds(server.pid) - before) / PIPELINED * 1e6
    finally:
        server.stop()


def measure_tls(table, arguments):
    gc.disable()  # thousands of sockets would be looked at again and again
    certificates = Certificates()
    try:
        count = max(100, int(IDLE_CLIENTS * arguments.scale))
        table.add("TLS: memory of each of %d idle clients" % count,
                  *(bytes_per_client(binary, certificates, count) for binary in BOTH), " B", 0, "<= 1.00")
        for command, size in (("get", 32), ("set", 32), ("get", 4000)):
            table.add("TLS: server time of %s, %d bytes, pipeline 16" % (command.upper(), size),
                      *(cpu_micros(binary, certificates, command, size) for binary in BOTH), " us")
    finally:
        gc.enable()
        certificates.remove()
