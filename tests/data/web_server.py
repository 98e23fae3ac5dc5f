"""A real web server on this machine that fails by script."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STATUS = {"403": 403, "404": 404, "429": 429, "503": 503}


@dataclass
class Site:
    """What the server serves, and how it fails.

    `faults(name, n)` names the fault of the n-th request (from 1) for a file, or returns None.
    """

    folder: Path
    faults: object = staticmethod(lambda _name, _n: None)
    ranges: bool = True
    etag: str | None = '"one"'
    modified: str | None = "Mon, 23 Nov 2026 08:00:00 GMT"
    secret: str | None = None  # the query that every request must have
    log: list = field(default_factory=list)  # (name, fault) of every request
    sent: list = field(default_factory=list)  # first byte of every answer with content
    url: str = ""
    silence: threading.Event = field(default_factory=threading.Event)  # set: no more waiting
    lock: threading.Lock = field(default_factory=threading.Lock)

    def requests(self, name):
        return sum(one == name for one, _ in self.log)

    def faults_met(self):
        return [fault for _, fault in self.log if fault]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, site, *args):
        self.site = site
        super().__init__(*args)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        name = path.strip("/")
        with self.site.lock:
            fault = self.site.faults(name, self.site.requests(name) + 1)
            self.site.log.append((name, fault))
        if self.site.secret not in (None, query):
            fault = "403"
        file = self.site.folder / name
        if fault in STATUS or not file.is_file():
            self.refuse(STATUS.get(fault, 404))
            return
        if fault == "reset":
            self.hang_up()
            return
        if fault == "silent":
            self.site.silence.wait(20)
            self.refuse(404)  # who has waited for so long does not succeed
            return
        self.serve(file.read_bytes(), fault)

    def serve(self, content, fault):
        wanted = self.headers.get("Range")
        first, last, status = 0, len(content) - 1, 200
        self.site.sent.append(0)
        if wanted is not None and self.site.ranges and fault != "whole":
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
            last, status = min(last, len(content) - 1), 206
            self.site.sent[-1] = first
            if first > last:
                self.refuse(416)
                return
        part = content[first : last + 1]
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        if self.site.etag is not None:
            self.send_header("ETag", self.site.etag)
        if self.site.modified is not None:
            self.send_header("Last-Modified", self.site.modified)
        if fault == "short":  # a proxy that loses the end and says nothing
            part = part[: len(part) // 2]
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if fault == "drop":
            self.wfile.write(part[: len(part) // 2])
            self.hang_up()
            return
        self.wfile.write(part)

    def refuse(self, status):
        body = b"<html>no</html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        """Cut the connection at once, as a server that dies does."""
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def log_message(self, *args):
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        """A client that goes away is no error of the server."""


@contextlib.contextmanager
def serving(folder, **options):
    """Serve the files of a folder while the block runs."""
    site = Site(Path(folder), **options)
    server = _Server(("127.0.0.1", 0), partial(_Handler, site))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        site.silence.set()
        server.shutdown()
        thread.join()
        server.server_close()
