"""Certificates made by the openssl command, servers and connections that use them."""
import os
import shutil
import ssl
import subprocess
import tempfile

import resp
from server import OURS, ServerUnderTest, free_port


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Certificates:
    """ca.crt, and per name NAME.crt and NAME.key signed by it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="quoll-tls-")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.crt", cwd=self.dir)
        for name in ("server", "alice", "nobody"):
            self.sign(name)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def sign(self, name, file=None, common_name=None):
        file = file or name
        with open(self.path("san.cnf"), "w") as out:
            out.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                "/CN=%s" % (common_name or name), "-keyout", file + ".key.new", "-out", file + ".csr", cwd=self.dir)
        openssl("x509", "-req", "-in", file + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "san.cnf", "-out", file + ".crt.new", cwd=self.dir)
        for kind in (".key", ".crt"):
            os.replace(self.path(file + kind + ".new"), self.path(file + kind))

    def options(self, port, **more):
        wanted = {"tls-port": port, "tls-cert-file": self.path("server.crt"), "tls-key-file": self.path("server.key"),
                  "tls-ca-cert-file": self.path("ca.crt"), "tls-auth-clients": "no"}
        wanted.update({name.replace("_", "-"): value for name, value in more.items()})
        return [word for name, value in wanted.items() for word in ("--" + name, str(value))]

    def context(self, name=None, version=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.path("ca.crt"))
        if name:
            context.load_cert_chain(self.path(name + ".crt"), self.path(name + ".key"))
        if version:
            context.minimum_version = context.maximum_version = version
        return context


class Connection(resp.Connection):
    def __init__(self, port, context, session=None):
        super().__init__(port)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost", session=session)


class Secure(ServerUnderTest):
    def __init__(self, certificates, args=(), binary=OURS, **more):
        self.tls_port = free_port()
        super().__init__(binary, args=certificates.options(self.tls_port, **more) + list(args))
