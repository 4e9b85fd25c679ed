"""A stand-in for an S3-compatible store on a loopback port: path-style objects, multipart uploads,
and every request's signature (AWS signature version 4) computed again from what arrived.

with Store() as store:
    store.url; store.objects["bucket/key"]; store.failures.append(503)   # the next request gets 503
"""
import hashlib
import hmac
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-test-1"


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Store:
    def __init__(self):
        self.objects, self.parts, self.log, self.failures = {}, {}, [], []
        self.hold = None  # an event to wait for before any answer
        self.late_failures = 0  # of completing an upload in parts, after 200
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                store.handle(self)

            do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def wrong_signature(self, request, body):
        """What is wrong with the request's signature; None: nothing."""
        fields = request.headers.get("Authorization", "")
        if not fields.startswith("AWS4-HMAC-SHA256 "):
            return "no signature"
        given = dict(part.strip().split("=", 1) for part in fields.split(" ", 1)[1].split(","))
        access, scope = given["Credential"].split("/", 1)
        date, region, service, _ = scope.split("/")
        if access != ACCESS or region != REGION or service != "s3":
            return "credential %s" % given["Credential"]
        digest = request.headers.get("x-amz-content-sha256", "")
        if digest != "UNSIGNED-PAYLOAD" and digest != hashlib.sha256(body).hexdigest():
            return "x-amz-content-sha256 is not that of the body"
        names = given["SignedHeaders"].split(";")
        for needed in ("host", "x-amz-date", "x-amz-content-sha256"):
            if needed not in names:
                return "%s is not signed" % needed
        path, _, query = request.path.partition("?")
        pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
        query = "&".join("%s=%s" % (urllib.parse.quote(key, "-_.~"), urllib.parse.quote(value, "-_.~"))
                         for key, value in pairs)
        headers = "".join("%s:%s\n" % (name, request.headers[name].strip()) for name in names)
        canonical = "\n".join([request.command, path, query, headers, ";".join(names), digest])
        stamp = request.headers["x-amz-date"]
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + SECRET).encode()
        for part in (date, region, service, "aws4_request"):
            key = sign(key, part)
        return None if sign(key, text).hex() == given["Signature"] else "the signature does not fit"

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path, _, query = request.path.partition("?")
        name = urllib.parse.unquote(path)[1:]
        options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        wrong = self.wrong_signature(request, body)
        self.log.append((request.command, name, query, len(body), wrong))
        if self.hold:
            self.hold.wait(30)
        if self.failures:
            status = self.failures.pop(0)
            return self.reply(request, status, "<Error><Code>Planned</Code><Message>as planned</Message></Error>")
        if wrong:
            return self.reply(request, 403, "<Error><Code>SignatureDoesNotMatch</Code><Message>%s</Message></Error>" % wrong)
        tag = '"%s"' % hashlib.md5(body).hexdigest()
        if request.command == "POST" and "uploads" in options:
            self.parts[name] = {}
            return self.reply(request, 200, "<R><UploadId>id/+ %s</UploadId></R>" % len(self.log))
        if request.command == "PUT" and "partNumber" in options:
            self.parts[name][int(options["partNumber"])] = (tag, body)
            return self.reply(request, 200, "", tag)
        if request.command == "POST":
            if self.late_failures:
                self.late_failures -= 1
                return self.reply(request, 200, "<Error><Code>InternalError</Code></Error>")
            parts = self.parts.pop(name)
            listed = "".join("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (number, parts[number][0])
                             for number in sorted(parts))
            if listed not in body.decode():
                return self.reply(request, 400, "<Error><Code>InvalidPart</Code></Error>")
            self.objects[name] = b"".join(parts[number][1] for number in sorted(parts))
            return self.reply(request, 200, "<R/>")
        if request.command == "DELETE":
            self.parts.pop(name, None)
            return self.reply(request, 204, "")
        self.objects[name] = body
        return self.reply(request, 200, "", tag)

    def reply(self, request, status, text, tag=None):
        try:
            request.send_response(status)
            request.send_header("Content-Length", str(len(text)))
            if tag:
                request.send_header("ETag", tag)
            request.end_headers()
            request.wfile.write(text.encode())
        except OSError:
            pass  # the other side has given up
