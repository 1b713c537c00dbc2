"""A registry that misbehaves as told. It serves images from memory like a good one; rules say which requests are answered otherwise,
how, and how often. Every request is recorded with its headers, range and the bytes sent.

    up = Faulty().start()
    up.put("library/app", image, "v1")
    up.on("/blobs/" + digest, Fault(wrong_at="last"), Fault(reset_after=1000))    # first, second time; then good
    up.always("/token", Fault(status=500))
"""

import gzip
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from . import images
from .base import HOST, free_port

CHUNK = 64 * 1024


@dataclass
class Fault:
    """How an answer differs from the good one. What is None or 0 is left as it is."""

    status: int = 0  # instead of the good one
    headers: dict = field(default_factory=dict)  # added or replaced
    body: object = None  # bytes or a blob (images.Bytes, images.Sparse) instead of the good body
    wrong_at: object = None  # "start", "middle", "last" or an offset in the whole content: that byte is flipped
    cut: int = 0  # so many bytes are missing at the end, under the good Content-Length; then the connection closes
    extra: int = 0  # so many bytes too many, counted in Content-Length
    length: object = None  # a Content-Length of our own invention
    stall_after: object = None  # after so many bytes nothing more comes, and nothing closes, until the server stops or release()
    stall_head: bool = False  # not even a head comes
    hang_up: bool = False  # the connection is closed instead of an answer
    head_after: float = 0  # seconds
    reset_after: object = None  # after so many bytes: RST
    digest: object = None  # another Docker-Content-Digest
    gzip: bool = False  # Content-Encoding: gzip
    rate: int = 0  # bytes per second
    no_range: bool = False  # Range is ignored: 200 and all of it
    chunked: bool = False  # no Content-Length: chunked coding
    redirect: object = None  # Location, with status 307


GOOD = Fault()


@dataclass
class Seen:
    """A request as it came, and what became of it."""

    method: str
    path: str
    query: dict
    headers: dict  # lower-case names
    at: float
    range: object = None  # (first, last or None)
    status: int = 0
    sent: int = 0
    done: bool = False


class Faulty:
    """The server. auth: None, "bearer" or "basic"; the token's realm is this server's /token unless `realm` says otherwise."""

    def __init__(self, auth=None, realm=None, user=("user", "secret"), tls=None):
        self.port = free_port()
        self.tls = tls
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self.port}"
        self.auth = auth
        self.realm = realm or f"{self.url}/token"
        self.user = user
        self.token = "lab-token"
        self.content = {}  # (repository, digest) -> blob
        self.tags = {}  # (repository, tag) -> digest
        self.rules = []  # [pattern, method, [faults], repeat]
        self.seen = []
        self.lock = threading.Lock()
        self.let_go = threading.Event()
        self.open = set()
        self.server = None

    # --- life ---

    def start(self):
        faulty = self

        class Handler(_Handler):
            owner = faulty

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, request, client_address):
                pass  # clients that go away are part of the game

            def process_request(self, request, client_address):
                faulty.open.add(request)
                super().process_request(request, client_address)

            def shutdown_request(self, request):
                faulty.open.discard(request)
                super().shutdown_request(request)

        self.server = Server((HOST, self.port), Handler)
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        """As a machine that is switched off: running connections end as well."""
        self.let_go.set()
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def release(self):
        """Answers that stall go on."""
        self.let_go.set()

    def hold(self):
        """Answers may stall again."""
        self.let_go.clear()

    # --- content and rules ---

    def put(self, repository, image, *tags):
        for blob in [*image.blobs().values(), *image.manifests().values()]:
            self.content[repository, blob.digest] = blob
        for tag in tags:
            self.tags[repository, tag] = image.digest
        return image

    def put_blob(self, repository, blob):
        self.content[repository, blob.digest] = blob
        return blob

    def on(self, about, *faults, method="GET"):
        """Requests whose path (and query) match the pattern get these answers in turn, then good ones."""
        self.rules.append([re.compile(about), method, list(faults), False])

    def always(self, about, fault, method=None):
        self.rules.append([re.compile(about), method, [fault], True])

    def clear(self):
        self.rules.clear()

    def fault_for(self, method, path):
        with self.lock:
            for pattern, only, faults, repeat in self.rules:
                if faults and only in (None, method) and pattern.search(path):
                    return faults[0] if repeat else faults.pop(0)
        return GOOD

    # --- what was asked ---

    def requests(self, about="", method=None):
        with self.lock:
            return [s for s in self.seen if re.search(about, s.path) and method in (None, s.method)]

    def bytes_sent(self, about):
        return sum(s.sent for s in self.requests(about, "GET"))


@dataclass
class _Answer:
    status: int
    headers: dict
    blob: object = None
    offset: int = 0
    length: int = 0  # of the part to send


def _text(status, doc, headers=None):
    body = images.Bytes(doc if isinstance(doc, bytes) else json.dumps(doc).encode())
    return _Answer(status, {"Content-Type": "application/json", **(headers or {})}, body, 0, body.size)


class _Handler(BaseHTTPRequestHandler):
    owner = None
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *args):
        pass

    # --- the good answer ---

    def _challenge(self):
        owner = self.owner
        got = self.headers.get("Authorization", "")
        if owner.auth == "bearer" and got != f"Bearer {owner.token}":
            repository = re.sub(r"^/v2/|/(blobs|manifests|tags|referrers)/.*$", "", urlsplit(self.path).path)
            scope = f',scope="repository:{repository}:pull"' if repository else ""
            return _text(
                401,
                {"errors": [{"code": "UNAUTHORIZED", "message": "token, please"}]},
                {"WWW-Authenticate": f'Bearer realm="{owner.realm}",service="lab"{scope}'},
            )
        if owner.auth == "basic" and got != _basic(owner.user):
            return _text(401, {"errors": [{"code": "UNAUTHORIZED"}]}, {"WWW-Authenticate": 'Basic realm="lab"'})
        return None

    def _part(self, blob, headers, seen, fault):
        if seen.range is None or fault.no_range:
            return _Answer(200, headers, blob, 0, blob.size)
        first, last = seen.range
        last = blob.size - 1 if last is None else min(last, blob.size - 1)
        if first > last:
            return _Answer(416, {**headers, "Content-Range": f"bytes */{blob.size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{blob.size}"
        return _Answer(206, headers, blob, first, last - first + 1)

    def _good(self, seen, fault):
        owner, path = self.owner, seen.path.split("?")[0]
        if path == "/token":
            return _text(200, {"token": owner.token, "expires_in": 300})
        if not path.startswith("/v2/"):
            return _text(404, {})
        refused = self._challenge()
        if refused:
            return refused
        if path == "/v2/":
            return _text(200, {})
        m = re.match(r"^/v2/(.+)/(blobs|manifests)/([^/]+)$", path)
        listing = re.match(r"^/v2/(.+)/tags/list$", path)
        if listing:
            return self._tags(listing[1], seen.query)
        if not m:
            return _text(404, {"errors": [{"code": "UNSUPPORTED"}]})
        repository, kind, ref = m.groups()
        digest = ref if ":" in ref else owner.tags.get((repository, ref))
        blob = owner.content.get((repository, digest))
        if blob is None:
            code = "BLOB_UNKNOWN" if kind == "blobs" else "MANIFEST_UNKNOWN"
            return _text(404, {"errors": [{"code": code, "message": "unknown"}]})
        headers = {"Docker-Content-Digest": digest, "Etag": f'"{digest}"'}
        if kind == "manifests":
            return _Answer(200, {**headers, "Content-Type": blob.media_type}, blob, 0, blob.size)
        headers = {**headers, "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        return self._part(blob, headers, seen, fault)

    def _tags(self, repository, query):
        tags = sorted(t for r, t in self.owner.tags if r == repository)
        if not tags:
            return _text(404, {"errors": [{"code": "NAME_UNKNOWN"}]})
        n = int(query.get("n", ["100000"])[0])
        page = [t for t in tags if t > query.get("last", [""])[0]]
        more = {"Link": f'</v2/{repository}/tags/list?last={page[n - 1]}&n={n}>; rel="next"'} if len(page) > n else {}
        return _text(200, {"name": repository, "tags": page[:n]}, more)

    # --- the answer as told ---

    def _serve(self):
        url = urlsplit(self.path)
        seen = Seen(
            self.command,
            self.path,
            parse_qs(url.query),
            {k.lower(): v for k, v in self.headers.items()},
            time.monotonic(),
        )
        m = re.match(r"^bytes=(\d+)-(\d*)$", seen.headers.get("range", ""))
        seen.range = (int(m[1]), int(m[2]) if m[2] else None) if m else None
        with self.owner.lock:
            self.owner.seen.append(seen)
        try:
            self._answer(seen, self.owner.fault_for(self.command, self.path))
        except OSError:
            self.close_connection = True
        finally:
            seen.done = True

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _answer(self, seen, fault):
        if fault.stall_head:
            self.owner.let_go.wait(600)
        time.sleep(fault.head_after)
        if fault.hang_up:
            self.close_connection = True
            return
        answer = self._shape(seen, fault)
        length = answer.length + fault.extra if fault.length is None else fault.length
        head = {"Docker-Distribution-Api-Version": "registry/2.0", **answer.headers, "Content-Length": length, **fault.headers}
        if fault.chunked:
            head = {**head, "Content-Length": None, "Transfer-Encoding": "chunked"}
        if fault.digest:
            head["Docker-Content-Digest"] = fault.digest
        seen.status = answer.status
        lines = [f"HTTP/1.1 {answer.status} lab", *(f"{k}: {v}" for k, v in head.items() if v is not None)]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if self.command == "HEAD" or answer.status in (204, 304):
            return
        self._body(seen, answer, fault)
        if fault.cut or fault.length is not None:
            self.close_connection = True

    def _shape(self, seen, fault):
        if fault.redirect:
            return _Answer(fault.status or 307, {"Location": fault.redirect})
        if fault.status >= 300 and fault.body is None:
            return _text(fault.status, {"errors": [{"code": "UNKNOWN", "message": "as told"}]})
        answer = self._good(seen, fault)
        if fault.body is not None:
            body = fault.body if hasattr(fault.body, "read") else images.Bytes(fault.body)
            answer = replace(answer, status=fault.status or 200, blob=body, offset=0, length=body.size)
            answer.headers.setdefault("Content-Type", "application/json")
        if fault.gzip:
            body = images.Bytes(gzip.compress(answer.blob.read(0, answer.blob.size)))
            answer = replace(answer, blob=body, offset=0, length=body.size)
            answer.headers["Content-Encoding"] = "gzip"
        return answer

    def _wrong(self, at, data, blob, fault):
        """The byte at the given place of the whole content, flipped in this part of it."""
        place = {"start": 0, "middle": blob.size // 2, "last": blob.size - 1}.get(fault.wrong_at, fault.wrong_at)
        if place is None or not at <= place < at + len(data):
            return data
        return data[: place - at] + bytes([data[place - at] ^ 0x01]) + data[place - at + 1 :]

    def _body(self, seen, answer, fault):
        blob = answer.blob
        total = (answer.length if blob else 0) - fault.cut
        began = time.monotonic()
        step = CHUNK if not fault.rate else max(1, min(CHUNK, fault.rate // 20))
        while seen.sent < total:
            take = min(step, total - seen.sent)
            for limit in (fault.reset_after, fault.stall_after):
                if limit is not None and not (limit == fault.stall_after and self.owner.let_go.is_set()):
                    take = min(take, limit - seen.sent)
            if take <= 0:
                if fault.reset_after is not None and seen.sent >= fault.reset_after:
                    return self._reset()
                self.owner.let_go.wait(600)
                continue
            data = blob.read(answer.offset + seen.sent, take)
            data = self._wrong(answer.offset + seen.sent, data, blob, fault)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if fault.chunked else data)
            seen.sent += take
            if fault.rate:
                ahead = seen.sent / fault.rate - (time.monotonic() - began)
                self.owner.let_go.wait(max(0, ahead))
        if fault.reset_after is not None and seen.sent >= fault.reset_after:
            return self._reset()
        if fault.extra:
            self.wfile.write(b"x" * fault.extra)
        if fault.chunked:
            self.wfile.write(b"0\r\n\r\n")
        return None

    def _reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile.flush()
        self.connection.close()
        self.close_connection = True


def _basic(user):
    import base64

    return "Basic " + base64.b64encode(":".join(user).encode()).decode()
