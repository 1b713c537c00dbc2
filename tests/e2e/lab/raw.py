"""An HTTP/1.1 client that reports everything: what came, when, and whether it was complete. And on top of it a registry client that checks every
digest, in one piece or by parallel ranges."""

import hashlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field

from .base import HOST
from .images import ACCEPT, digest_of

PART = 256 * 1024


class Cut(Exception):
    """The other side ended before the answer was whole."""


@dataclass
class Reply:
    status: int
    headers: dict  # lower-case names; repeated ones joined by ", "
    body: bytes = b""
    head_s: float = 0.0  # from the request to its head
    whole: bool = True

    def json(self):
        return json.loads(self.body)

    @property
    def error_code(self):
        """The code of a registry error document; fails if the body is none."""
        first = self.json()["errors"][0]
        assert first["code"] and "message" in first, self.body[:300]
        assert self.headers["content-type"].split(";")[0] == "application/json", self.headers
        return first["code"]

    @property
    def message(self):
        return self.json()["errors"][0]["message"]


class Wire:
    """One connection."""

    def __init__(self, port, timeout=60, tls=None, host=HOST, receive_buffer=None, source=None):
        self.sock = socket.socket()
        if source:  # another client, as the node sees it
            self.sock.bind((source, 0))
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect((host, port))
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.port = port
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def ask(self, method, target, headers=None):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}:{self.port}"]
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def more(self, most=PART):
        if self.rest:
            data, self.rest = self.rest[:most], self.rest[most:]
            return data
        return self.sock.recv(most)

    def until(self, end):
        got = b""
        while end not in got:
            data = self.more()
            if not data:
                raise Cut(f"in {got[-200:]!r}")
            got += data
        before, _, after = got.partition(end)
        self.rest = after + self.rest
        return before

    def head(self):
        """(status, headers) of the next final answer."""
        while True:
            lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(lines[0].split()[1])
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
            if status >= 200:
                return status, headers

    def body(self, method, status, headers, sink):
        """Feeds the body to sink; raises Cut if it is not whole."""
        if method == "HEAD" or status in (204, 304):
            return
        if "chunked" in headers.get("transfer-encoding", ""):
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                self._exactly(size, sink)
                self.until(b"\r\n")
            self.until(b"\r\n")
        elif "content-length" in headers:
            self._exactly(int(headers["content-length"]), sink)
        else:
            while data := self.more():
                sink(data)

    def _exactly(self, size, sink):
        while size:
            data = self.more(min(size, PART))
            if not data:
                raise Cut(f"{size} bytes are missing")
            size -= len(data)
            sink(data)

    def request(self, method, target, headers=None):
        began = time.monotonic()
        self.ask(method, target, headers)
        return self.reply(method, began)

    def reply(self, method="GET", began=None):
        status, got = self.head()
        took = time.monotonic() - (began or time.monotonic())
        parts = []
        whole = True
        try:
            self.body(method, status, got, parts.append)
        except (Cut, OSError):
            whole = False
        return Reply(status, got, b"".join(parts), took, whole)


def ask(port, target, method="GET", headers=None, timeout=60, tls=None):
    """One request on a connection of its own. A connection that breaks before a head raises Cut or OSError."""
    with Wire(port, timeout, tls) as wire:
        return wire.request(method, target, {"Accept": ACCEPT, "Connection": "close", **(headers or {})})


def settings(fleet):
    """The version of the settings that the central behind this fleet port goes by, as its header has it."""
    with Wire(fleet) as wire:
        wire.ask("GET", "/fleet/v1/watch")
        status, headers = wire.head()
    assert status == 200, status
    return headers["entrepot-settings"]


def manifest(port, repository, ref, method="GET", query="", **headers):
    return ask(port, f"/v2/{repository}/manifests/{ref}{query}", method, {k.replace("_", "-"): v for k, v in headers.items()})


def blob(port, repository, digest, method="GET", query="", **headers):
    return ask(port, f"/v2/{repository}/blobs/{digest}{query}", method, {k.replace("_", "-"): v for k, v in headers.items()})


@dataclass
class Download:
    """One client's download of one blob, in a thread of its own, checked byte by byte against what it must be (`expected`, bytes) or by
    its digest. whole is True only if the answer was complete by its own Content-Length."""

    port: int
    repository: str
    digest: str
    expected: bytes = None
    first: int = None
    last: int = None
    give_up_after: int = None
    query: str = ""
    status: int = 0
    size: int = None  # Content-Length
    got: int = 0
    whole: bool = False
    right: bool = True  # no byte so far was wrong
    head_s: float = None
    end_s: float = None
    error: object = None
    sha256: str = ""
    thread: object = field(default=None, repr=False)

    def start(self):
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def join(self, deadline_s=120):
        self.thread.join(deadline_s)
        assert not self.thread.is_alive(), f"still downloading after {deadline_s} s: {self}"
        return self

    def _run(self):
        began = time.monotonic()
        try:
            with Wire(self.port, 120) as wire:
                self._get(wire, began)
        except (Cut, OSError, ValueError, IndexError) as e:
            self.error = e
        self.end_s = time.monotonic() - began

    def _get(self, wire, began):
        last = "" if self.last is None else self.last
        wanted = {} if self.first is None else {"Range": f"bytes={self.first}-{last}"}
        wire.ask("GET", f"/v2/{self.repository}/blobs/{self.digest}{self.query}", wanted)
        self.status, headers = wire.head()
        self.head_s = time.monotonic() - began
        self.size = int(headers["content-length"]) if "content-length" in headers else None
        hasher = hashlib.sha256()

        def take(data):
            if self.expected is None:
                hasher.update(data)
            elif self.status in (200, 206):  # else it is an error document
                at = (self.first or 0) + self.got
                self.right = self.right and data == self.expected[at : at + len(data)]
            self.got += len(data)
            if self.give_up_after is not None and self.got >= self.give_up_after:
                raise Cut("gave up, as told")

        wire.body("GET", self.status, headers, take)
        self.whole = True
        if self.expected is None:
            self.sha256 = "sha256:" + hasher.hexdigest()

    @property
    def good(self):
        """The whole content came and every byte was right."""
        if self.expected is None:
            return self.status == 200 and self.whole and self.sha256 == self.digest
        return self.status in (200, 206) and self.whole and self.right


def ranges(port, repository, digest, size, expected, parts=4):
    """As containerd 2.1 does: the first request is `bytes=0-`, cut off at the end of its part; others ask for their own. Started."""
    step = (size + parts - 1) // parts
    found = []
    for i in range(parts):
        first, last = i * step, min(size, (i + 1) * step) - 1
        found.append(Download(port, repository, digest, expected, first, last).start())
    return found


def pull(port, repository, ref, query="", everything=True):
    """Pulls a manifest or index with all it refers to, checking each digest. Returns {digest: size}."""
    got = {}

    def visit(reference, promised=None):
        reply = manifest(port, repository, reference, query=query)
        assert reply.status == 200 and reply.whole, (reference, reply.status, reply.body[:300])
        digest = digest_of(reply.body)
        assert reply.headers["docker-content-digest"] == digest, reference
        assert promised in (None, (digest, len(reply.body))), reference
        got[digest] = len(reply.body)
        doc = reply.json()
        assert reply.headers["content-type"] == doc.get("mediaType", reply.headers["content-type"])
        for child in doc.get("manifests", []) if everything else doc.get("manifests", [])[:1]:
            visit(child["digest"], (child["digest"], child["size"]))
        for child in [doc["config"], *doc["layers"]] if "config" in doc else []:
            if child["digest"] not in got:
                down = Download(port, repository, child["digest"], query=query)
                down._run()
                assert down.good and down.got == child["size"], down
                got[child["digest"]] = down.got

    visit(ref)
    return got
