"""Every row of the table of readers keeps the promises of the family."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from transferline.data.prepare import prepare
from transferline.data.readers import READERS
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection
from transferline.testing import ConformanceError, check_reader

from . import nanoaod_files as files


def nanoaod(folder):
    return files.write(folder / "a.root", files.random_events(120, 3))


def shards(folder):
    path = NanoAOD(files=[str(nanoaod(folder))])
    prepare(path, selection("pretraining"), folder / "s", unit_size=50)
    return folder / "s"


EXAMPLES = {"nanoaod": nanoaod, "shards": shards}


def test_every_reader_has_an_example_file():
    assert set(READERS.names()) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_conformance(name, tmp_path):
    check_reader(READERS.load(name)(files=[str(EXAMPLES[name](tmp_path))]))


class Centimetres(NanoAOD):
    def read(self, *args, **kwargs):
        for events in super().read(*args, **kwargs):
            yield files.as_events([files.event(muon=[{"pt": 1e8}])] * len(events))


def test_the_check_notices_a_wrong_unit(tmp_path):
    with pytest.raises(ConformanceError):
        check_reader(Centimetres(files=[str(nanoaod(tmp_path))]))


class _Ranges(BaseHTTPRequestHandler):
    """Serves one file, whole or the range of bytes that is asked for."""

    def __init__(self, content, *args):
        self.content = content
        super().__init__(*args)

    def do_HEAD(self):
        self.respond(200, self.content, send=False)

    def do_GET(self):
        wanted = self.headers.get("Range")
        if wanted is None:
            self.respond(200, self.content)
            return
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        self.respond(206, self.content[first : last + 1], first)

    def respond(self, status, part, first=0, *, send=True):
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        last = first + len(part) - 1
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.content)}")
        self.end_headers()
        if send:
            self.wfile.write(part)

    def log_message(self, *args):
        """Say nothing."""


@contextlib.contextmanager
def serving(path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, path.read_bytes()))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_files_on_a_web_server(tmp_path):
    path = nanoaod(tmp_path)
    columns = {"muon": ["pt"]}
    local = files.join(NanoAOD(files=[str(path)]).chunks(columns))
    with serving(path) as address:
        remote = files.join(NanoAOD(files=[f"{address}/a.root"]).chunks(columns))
        source = NanoAOD(files=[f"{address}/a.root"]).source(f"{address}/a.root")
    assert files.equal(local, remote)
    assert (source.size, source.entries) == (None, 120)
    assert np.isfinite(source.sum_weight)
