"""A registry in a few lines: a function answers each request, with whatever status, headers and bytes it likes. For what lab.faulty, which is a good
registry with faults, does not do."""

import contextlib
import hashlib
import json
import socket
import threading

from .base import HOST

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Request:
    def __init__(self, head, server):
        lines = head.decode("latin1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ", 2)
        self.path, _, self.query = self.target.partition("?")
        self.headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        self.server = server


class Scripted:
    """answer(request) gives (status, headers, body), raw bytes after which the connection is closed, or None: closed without an answer.
    headers: a dict (a list of values: several lines; None: none, not even a Content-Length)."""

    def __init__(self, answer, host=HOST, tls=None, port=0):
        self.answer, self.seen, self.tls = answer, [], tls
        self.socket = socket.create_server((host, port))
        self.host, self.port = self.socket.getsockname()[:2]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def start(self):
        return self

    def stop(self):
        self.socket.close()

    def count(self, what, method=None):
        return sum(what in r.target and method in (None, r.method) for r in self.seen)

    def _accept(self):
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), self.tls.wrap_socket(client, server_side=True) if self.tls else client as client:
            while head := self._head(client):
                request = Request(head, self)
                self.seen.append(request)
                answer = self.answer(request)
                if answer is None or isinstance(answer, bytes):
                    client.sendall(answer or b"")
                    return
                client.sendall(self._form(request, *answer))

    @staticmethod
    def _head(client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += (more := client.recv(65536))
            if not more:
                return None
        return head[:-4]

    @staticmethod
    def _form(request, status, headers, body):
        headers = {"Content-Length": str(len(body)), **headers}
        text = f"HTTP/1.1 {status} X\r\n"
        for name, values in headers.items():
            for value in values if isinstance(values, list) else [values]:
                text += "" if value is None else f"{name}: {value}\r\n"
        return text.encode("latin1") + b"\r\n" + (b"" if request.method == "HEAD" else body)


class Shelf:
    """What such a registry has: manifests and blobs; as a function it answers for them as a good registry does."""

    def __init__(self):
        self.blobs, self.manifests, self.tags = {}, {}, {}

    def blob(self, data):
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def image(self, name, seed=""):
        """name: "library/app:v1". Returns the digests of its manifest and of its one layer."""
        layer, config = f"layer {name} {seed}".encode() * 100, json.dumps({"os": "linux", "architecture": "amd64"}).encode()
        doc = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": self.blob(config), "size": len(config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": self.blob(layer), "size": len(layer)}],
        }
        data = json.dumps(doc).encode()
        self.manifests[digest_of(data)] = data
        self.tags[name] = digest_of(data)
        return digest_of(data), digest_of(layer)

    def __call__(self, r):
        if "/manifests/" in r.path:
            name, ref = r.path[len("/v2/") :].rsplit("/manifests/", 1)
            digest = ref if ":" in ref else self.tags.get(f"{name}:{ref}")
            if digest in self.manifests:
                return 200, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest}, self.manifests[digest]
        if "/blobs/" in r.path:
            digest = r.path.rsplit("/", 1)[1]
            if digest in self.blobs:
                return self._ranged(r, digest, self.blobs[digest])
        if r.path == "/v2/":
            return 200, {}, b"{}"
        return 404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}'

    @staticmethod
    def _ranged(r, digest, data):
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        if not (wish := r.headers.get("range", "")).startswith("bytes="):
            return 200, headers, data
        first, _, last = wish[len("bytes=") :].partition("-")
        first, last = int(first), min(int(last or len(data)), len(data) - 1)
        return 206, {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1]
