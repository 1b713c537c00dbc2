"""Upstreams of many kinds: behind proxies, under a CA of their own, with sha512 digests and media types nobody knows, with a pull
limit; several at once."""

import hashlib
import json
import socket
import threading

import pytest

from lab import images, pki, raw
from lab.base import HOST, MiB, wait_until
from lab.faulty import Fault

NAME = "library/app"
NO_DEFAULT = {"default_upstream": '""'}


class Proxy:
    """An HTTP proxy that leads every name to one port. It remembers what it was asked for, by first lines."""

    def __init__(self, target):
        self.target, self.asked = target, []
        self.socket = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.socket.close()

    def _accept(self):
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        """CONNECT, or one request in absolute form; what follows it on the connection goes the same way."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += (more := client.recv(65536))
            if not more:
                return
        line, rest = head.split(b"\r\n", 1)
        self.asked.append(line.decode())
        server = socket.create_connection((HOST, self.target))
        if line.startswith(b"CONNECT "):
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            method, url, version = line.split(b" ")
            path = b"/" + url.split(b"/", 3)[3]
            # One request a connection is enough here.
            server.sendall(b" ".join((method, path, version)) + b"\r\nConnection: close\r\n" + rest)
        threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
        self._copy(server, client)

    @staticmethod
    def _copy(source, to):
        try:
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def filled(up, seed="app"):
    blob = images.noise_blob(MiB, seed)
    image = up.put(NAME, images.single_blob(blob), "v1")
    return image, blob


def pulls(node, host, image, blob):
    name = f"{host}/{NAME}"
    reply = raw.manifest(node.port, name, "v1")
    assert reply.status == 200 and reply.body == image.manifest.data, reply
    assert raw.blob(node.port, name, blob.digest).body == blob.data


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_upstreams_are_reached_by_the_proxy_of_the_environment(bench, spelling):
    """`.invalid` resolves nowhere: only the proxy knows the way. What no_proxy names is reached without it."""
    up, near = bench.faulty(), bench.faulty()
    proxy = bench.add(Proxy(up.port))
    image, blob = filled(up)
    filled(near)
    env = {spelling("http_proxy"): proxy.url, spelling("no_proxy"): f"near.example,{HOST}"}
    central = bench.central(("partner.invalid", "http://partner.invalid"), ("near.example", near.url), settings=NO_DEFAULT, env=env)
    pulls(central, "partner.invalid", image, blob)
    assert any(line.startswith(f"HEAD http://partner.invalid/v2/{NAME}/manifests/v1") for line in proxy.asked), proxy.asked
    before = len(proxy.asked)
    pulls(central, "near.example", image, blob)
    assert len(proxy.asked) == before and near.requests("/manifests/")


@pytest.mark.parametrize("lure", ["realm", "redirect"])
def test_a_public_registry_may_not_send_us_to_ourselves(bench, lure):
    """Behind a proxy it is public by its name. What it names may be no nearer to us than it is itself."""
    trap = bench.faulty()
    up = bench.faulty(**({"auth": "bearer", "realm": f"{trap.url}/token"} if lure == "realm" else {}))
    proxy = bench.add(Proxy(up.port))
    image, blob = filled(up)
    if lure == "redirect":
        up.always("/manifests/|/blobs/", Fault(redirect=f"{trap.url}/x"))
    env = {"http_proxy": proxy.url, "no_proxy": HOST}
    central = bench.central(("partner.example", "http://partner.example"), settings=NO_DEFAULT, env=env)
    for target in (f"/v2/partner.example/{NAME}/manifests/v1", f"/v2/partner.example/{NAME}/blobs/{blob.digest}"):
        assert raw.ask(central.port, target).status in (401, 403, 404, 502), target
    assert up.seen and not trap.seen


def test_an_https_upstream_under_a_ca_of_its_own_is_reached_through_a_proxys_tunnel(bench):
    cert, key = pki.self_signed(bench.place("pki"), "partner")
    up = bench.faulty(tls=pki.serving(cert, key))
    proxy = bench.add(Proxy(up.port))
    image, blob = filled(up)
    env = {"https_proxy": proxy.url, "no_proxy": ""}
    central = bench.central(("localhost:5443", "https://localhost:5443"), settings=NO_DEFAULT, env=env, ca_file=str(cert))
    pulls(central, "localhost:5443", image, blob)
    assert proxy.asked and all(line.startswith("CONNECT localhost:5443 ") for line in proxy.asked)


def test_the_ca_file_is_its_upstreams_own(bench):
    """Where it is configured the upstream is trusted; without, it is refused in words that say what is wrong."""
    cert, key = pki.self_signed(bench.place("pki"), "partner")
    up = bench.faulty(tls=pki.serving(cert, key))
    image, blob = filled(up)
    trusting = {"name": "trusting.example", "endpoints": [up.url], "ca_file": str(cert)}
    other = {"name": "other.example", "endpoints": [up.url]}
    central = bench.central(settings={"upstreams": json.dumps([trusting, other]), **NO_DEFAULT})
    pulls(central, "trusting.example", image, blob)
    reply = raw.manifest(central.port, f"other.example/{NAME}", "v1")
    assert reply.status == 502 and "certificate" in reply.body.decode(), reply


def sha512(blob):
    blob.digest = "sha512:" + hashlib.sha512(blob.data).hexdigest()
    return blob


def test_a_password_file_that_is_missing_is_our_failure_and_no_404_and_one_that_appears_is_taken(bench):
    up = bench.faulty(auth="basic")
    image, blob = filled(up)
    secret = bench.place("password")
    central = bench.central(("docker.io", up.url), username="user", password_file=str(secret))
    reply = raw.manifest(central.port, NAME, "v1")
    assert reply.status == 502 and str(secret) in reply.body.decode(), reply
    secret.write_text("secret\n")
    wait_until(lambda: raw.manifest(central.port, NAME, "v1").status == 200, "the password is taken", 60, 0.1)
    pulls(central, "docker.io", image, blob)


def test_content_named_by_sha512_is_proved_as_any_other(bench):
    up = bench.faulty()
    blob = up.put_blob(NAME, sha512(images.noise_blob(9 * MiB, "sha512")))
    bad = up.put_blob(NAME, sha512(images.noise_blob(9 * MiB, "bad")))
    doc = {"schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "layers": [{"digest": blob.digest, "size": blob.size}]}
    manifest = sha512(images.Bytes(json.dumps(doc).encode(), images.OCI_MANIFEST))
    up.put_blob(NAME, manifest)
    up.tags[NAME, "v1"] = manifest.digest
    chain = bench.chain(("docker.io", up.url))
    for ref in ("v1", manifest.digest):
        reply = raw.manifest(chain.edge.port, NAME, ref)
        assert reply.body == manifest.data and reply.headers["docker-content-digest"] == manifest.digest
    for _ in range(2):
        assert raw.Download(chain.edge.port, NAME, blob.digest, blob.data).start().join().good
    assert chain.edge.held(blob.digest) or wait_until(lambda: chain.edge.held(blob.digest), "it is kept")
    assert len(up.requests(blob.digest, "GET")) == 1
    up.always(bad.digest, Fault(wrong_at="last"))
    assert not raw.Download(chain.edge.port, NAME, bad.digest, bad.data).start().join().whole


@pytest.mark.parametrize("media_type", ["application/vnd.odd.thing.v7+json", "text/plain", "application/vnd.docker.distribution.manifest.v1+prettyjws"])
def test_any_media_type_is_passed_on_as_it_is(bench, media_type):
    up = bench.faulty()
    thing = images.Bytes(b'{"schemaVersion":1, "fsLayers":[], "what":"ever"}  \n', media_type)
    up.put_blob(NAME, thing)
    up.tags[NAME, "v1"] = thing.digest
    chain = bench.chain(("docker.io", up.url))
    for _ in range(2):
        reply = raw.manifest(chain.edge.port, NAME, "v1")
        assert (reply.status, reply.body, reply.headers["content-type"]) == (200, thing.data, media_type)


def test_a_document_with_only_a_type_or_version_does_not_take_the_tag(bench):
    up = bench.faulty()
    image, _ = filled(up)
    chain = bench.chain(("docker.io", up.url), fresh_for="0s")
    assert raw.manifest(chain.edge.port, NAME, "v1").body == image.manifest.data
    for text in (b'{"schemaVersion":2}', b'{"mediaType":"application/vnd.oci.image.manifest.v1+json"}', b'{"schemaVersion":2,"layers":[]}'):
        thing = up.put_blob(NAME, images.Bytes(text, images.OCI_MANIFEST))
        up.tags[NAME, "v1"] = up.tags[NAME, "new"] = thing.digest
        assert raw.manifest(chain.central.port, NAME, "new").status == 502
        reply = raw.manifest(chain.central.port, NAME, "v1")
        assert reply.body == image.manifest.data and "what is no manifest" in reply.headers["warning"], reply


def test_the_pull_limit_is_shown_and_respected(bench):
    up = bench.faulty()
    image, _ = filled(up)
    limit = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
    up.always(f"/manifests/{image.digest}", Fault(headers=limit), "GET")
    chain = bench.chain(("docker.io", up.url))
    assert raw.manifest(chain.edge.port, NAME, "v1").status == 200
    assert chain.central.metric("entrepot_upstream_rate_limit", upstream="docker.io") == 100
    assert chain.central.metric("entrepot_upstream_rate_limit_remaining", upstream="docker.io") == 0
    (one,) = chain.central.json("status")["upstreams"]
    assert (one["rate_limit"], one["rate_remaining"]) == (100, 0)
    more = up.put(NAME, images.small("more"), "v2")
    reply = raw.manifest(chain.edge.port, NAME, "v2")
    assert (reply.status, reply.error_code) == (429, "TOOMANYREQUESTS") and int(reply.headers["retry-after"]) > 3600
    assert not up.requests(f"/manifests/{more.digest}", "GET")


def test_after_a_429_any_answer_shows_that_the_registry_answers_again(bench):
    up = bench.faulty()
    image, _ = filled(up)
    other = up.put(NAME, images.small("other"), "v2")
    up.on(f"/manifests/{image.digest}", Fault(status=429, headers={"Retry-After": "6"}))
    chain = bench.chain(("docker.io", up.url))
    assert raw.manifest(chain.central.port, NAME, image.digest).status == 429
    missing = "sha256:" + "0" * 64
    wait_until(lambda: raw.manifest(chain.central.port, NAME, missing).status == 404, "one request is tried", 60, 0.1)
    assert raw.manifest(chain.central.port, NAME, other.digest).status == 200


def test_upstreams_do_not_mix(bench):
    """The same name and tag at three upstreams are three things."""
    ups = [bench.faulty() for _ in range(3)]
    made = [up.put(NAME, images.small(f"of {i}"), "v1") for i, up in enumerate(ups)]
    chain = bench.chain(*[(f"u{i}.example", up.url) for i, up in enumerate(ups)], central=NO_DEFAULT)
    for i, image in enumerate(made):
        for ask in (f"/v2/u{i}.example/{NAME}/manifests/v1", f"/v2/{NAME}/manifests/v1?ns=u{i}.example"):
            assert raw.ask(chain.edge.port, ask).headers["docker-content-digest"] == image.digest
        assert len(ups[i].requests("/manifests/", "GET")) == 1
