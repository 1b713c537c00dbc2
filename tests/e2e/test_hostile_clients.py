"""Hostile and broken clients: each is refused with a clear error, and other clients are served as usual."""

import pytest

from lab import images, raw
from lab.base import MiB, wait_until

pytestmark = pytest.mark.sanitized

NAME = "library/app"


@pytest.fixture(scope="module")
def chain(shared_bench):
    up = shared_bench.faulty()
    made = shared_bench.chain(("docker.io", up.url))
    made.blob = images.noise_blob(8 * MiB, "hostile")
    up.put(NAME, images.single_blob(made.blob), "v1")
    up.put("library/cold", images.small("cold", 500_000), "v1")
    raw.pull(made.edge.port, NAME, "v1")
    made.upstream = up
    return made


@pytest.mark.parametrize("node", ["central", "edge"])
def test_a_web_page_cannot_have_a_browser_read_a_nodes_own_ports(chain, node):
    """DNS rebinding: the page's own name resolves to this machine, so that only Host tells."""
    node = getattr(chain, node)
    asked = [(node.admin, path) for path in ("/api/ls", "/api/status", "/metrics", "/readyz")]
    if node is chain.central:
        asked += [(node.fleet, path) for path in (f"/v2/{NAME}/tags/list", "/fleet/v1/upstreams")]
    for port, path in asked:
        for host, good in ((f"evil.example:{port}", False), (f"127.0.0.1:{port}", True), (f"[::1]:{port}", True), (f"localhost:{port}", True)):
            with raw.Wire(port) as wire:
                wire.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                reply = wire.reply()
            assert (reply.status == 421) == (not good), (path, host, reply)
            assert good or b"admin.names" in reply.body, reply.body


def test_a_thousand_slow_connections_do_not_slow_a_pull(chain):
    edge = chain.edge
    before = edge.rss()
    wires = []
    try:
        for _ in range(700):
            wire = raw.Wire(edge.port)
            wire.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            wires.append(wire)
        for _ in range(300):
            wire = raw.Wire(edge.port, receive_buffer=4096)
            wire.ask("GET", f"/v2/{NAME}/blobs/{chain.blob.digest}")
            wires.append(wire)
        for _ in range(3):
            warm = raw.Download(edge.port, NAME, chain.blob.digest, chain.blob.data).start().join(10)
            assert warm.good and warm.end_s < 5, warm
        raw.pull(edge.port, "library/cold", "v1")
        assert edge.rss() - before < 96 * MiB, edge.rss() - before
    finally:
        [w.close() for w in wires]
    wait_until(lambda: edge.metric("entrepot_connections") < 50, "the connections are gone", 60, 0.1)


BAD_TARGETS = [
    "/v2/../../etc/passwd/manifests/v1",
    "/v2/%2e%2e/%2e%2e/etc/manifests/v1",
    "/v2/library/%2e%2e%2f%2e%2e/blobs/sha256:" + "0" * 64,
    "/v2/library//app/manifests/v1",
    "/v2/Library/App/manifests/v1",
    "/v2/library/app%00/manifests/v1",
    "/v2/library/app/manifests/%0d%0aX-Evil:1",
    "/v2/library/" + "a" * 300 + "/manifests/v1",
    "/v2/library/app/blobs/sha256:zz",
    "/v2/library/app/blobs/sha256:" + "A" * 64,
    "/v2/library/app/blobs/sha256:" + "0" * 63,
    "/v2/library/app/blobs/md5:" + "0" * 32,
    "/v2/library/app/blobs/sha256:../../../../etc/passwd",
    "/v2/library/app/blobs/sha256",
    "/v2/library/app/manifests/sha256:" + "0" * 65,
    "/v2/library/-app/manifests/v1",
    "/v2/library/app/manifests/v1?ns=..%2f..",
    "/v2/library/app/manifests/v1?ns=a&ns=b",
    "/v2/library/%/manifests/v1",
    "/v2/library/%zz/manifests/v1",
]


@pytest.mark.parametrize("target", BAD_TARGETS)
@pytest.mark.parametrize("node", ["edge", "central"])
def test_bad_names_digests_and_paths_are_400_with_a_registry_error(chain, node, target):
    reply = raw.ask(getattr(chain, node).port, target)
    assert reply.status == 400, reply
    assert reply.error_code in ("NAME_INVALID", "DIGEST_INVALID", "UNSUPPORTED", "MANIFEST_INVALID", "UNKNOWN")
    assert "x-evil" not in reply.headers


@pytest.mark.parametrize("length, status", [(246, 404), (255, 404), (256, 400)])
@pytest.mark.parametrize("what", ["manifests/v1", "tags/list", "blobs/sha256:" + "0" * 64])
def test_long_names_get_the_same_answer_at_both_tiers(chain, length, status, what):
    name = "library/" + "a" * (length - 8)
    for node in (chain.edge, chain.central):
        reply = raw.ask(node.port, f"/v2/{name}/{what}")
        assert reply.status == status and reply.error_code, (node.kind, reply)
        assert (reply.error_code == "NAME_INVALID") == (status == 400)


def test_a_malformed_tag_is_unknown(chain):
    for ref in ("." * 3 + "x", "a" * 129, "-x"):
        reply = raw.manifest(chain.edge.port, NAME, ref)
        assert (reply.status, reply.error_code) in ((404, "MANIFEST_UNKNOWN"), (400, "NAME_INVALID"))


def head(*lines, line_end="\r\n", body=""):
    return (line_end.join(["GET /v2/ HTTP/1.1", *lines]) + line_end * 2 + body).encode("latin-1")


HOST = "Host: x"
SMUGGLING = {
    "both lengths": head(HOST, "Content-Length: 5", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    "two lengths": head(HOST, "Content-Length: 5", "Content-Length: 6", body="hello"),
    "list of lengths": head(HOST, "Content-Length: 5, 6", body="hello"),
    "signed length": head(HOST, "Content-Length: +5", body="hello"),
    "negative length": head(HOST, "Content-Length: -5"),
    "hex length": head(HOST, "Content-Length: 0x5", body="hello"),
    "huge length": head(HOST, "Content-Length: 99999999999999999999999"),
    "obs-fold": head(HOST, "X-A: b", " c"),
    "obs-fold with tab": head(HOST, "X-A: b", "\tc"),
    "space before colon": head(HOST, "X-A : b"),
    "lines end in LF": head(HOST, line_end="\n"),
    "bare CR": head(HOST, "X-A: b\rX-B: c"),
    "NUL": head(HOST, "X-A: b\0c"),
    "no host": head("X-A: b"),
    "two hosts": head(HOST, "Host: y"),
    "chunked twice": head(HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    "chunked before 1.1": b"GET /v2/ HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "not quite chunked": head(HOST, "Transfer-Encoding: xchunked", body="0\r\n\r\n"),
    "version 2.7": b"GET /v2/ HTTP/2.7\r\nHost: x\r\n\r\n",
    "no version": b"GET /v2/\r\n\r\n",
    "empty header name": head(HOST, ": b"),
    "high bytes in target": b"GET /v2/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "control byte in target": b"GET /v2/\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
}


def answer(port, data):
    """What a request of these bytes gets: its status, and that the connection is closed afterwards; 0 if closed without a word."""
    with raw.Wire(port, 15) as wire:
        wire.send(data)
        try:
            reply = wire.reply()
        except (raw.Cut, ConnectionResetError):
            return 0
        try:
            rest = wire.more()
        except ConnectionResetError:
            rest = b""
        assert rest == b"", f"answered twice: {rest[:100]}"
        assert "errors" in reply.json() if "json" in reply.headers.get("content-type", "") else True
        return reply.status


@pytest.mark.parametrize("form", SMUGGLING)
def test_a_smuggling_form_is_refused_and_the_connection_closed(chain, form):
    allowed = {400, 501} if "chunked" in form else {400}
    assert answer(chain.edge.port, SMUGGLING[form]) in allowed


@pytest.mark.parametrize("body", ["5\r\nhelloX\r\n", "zz\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "5 ;\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n"])
def test_bad_chunks_end_the_connection(chain, body):
    data = head(HOST, "Transfer-Encoding: chunked", body=body) + b"GET /v2/library/app/manifests/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with raw.Wire(chain.edge.port, 15) as wire:
        wire.send(data)
        got = b""
        try:
            while more := wire.more():
                got += more
        except ConnectionResetError:
            pass
    assert got.count(b"HTTP/1.1 ") <= 1, got[:400]
    assert not chain.upstream.requests("smuggled")


def test_heads_over_the_limit_are_431(chain):
    assert answer(chain.edge.port, head(HOST, "X-Big: " + "a" * 40_000)) in (431, 400)
    assert answer(chain.edge.port, head(HOST, *[f"X-{i}: {i}" for i in range(5000)])) in (431, 400)
    assert answer(chain.edge.port, b"GET /v2/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n") in (400, 414, 431)


@pytest.mark.parametrize(
    "target, method",
    [
        ("/v2/library/none/manifests/v1", "GET"),
        ("/v2/library/app/blobs/sha256:" + "0" * 64, "GET"),
        ("/v2/library/app/nothing/here", "GET"),
        ("/v2/library/app/manifests/v1", "DELETE"),
        ("/v2/library/app/manifests/v1", "PUT"),
        ("/v2/library/app/manifests/v1", "BREW"),
        ("/v2/library/app/tags/list?n=x", "GET"),
        ("/v2/library/app/referrers/nodigest", "GET"),
        ("/v2/other.test/app/manifests/v1", "GET"),
        ("/v2/_nothing", "GET"),
    ],
)
@pytest.mark.parametrize("node", ["edge", "central"])
def test_every_error_under_v2_is_a_registry_error_document(chain, node, target, method):
    reply = raw.ask(getattr(chain, node).port, target, method)
    assert 400 <= reply.status < 500 or reply.status == 501, reply
    assert reply.error_code
    assert reply.headers["docker-distribution-api-version"] == "registry/2.0"


HEAD_ERRORS = {
    "a bad target": (b"GET /v2/#a HTTP/1.1\r\nHost: x\r\n\r\n", 400, "UNKNOWN"),
    "no host": (b"GET /v2/ HTTP/1.1\r\n\r\n", 400, "UNKNOWN"),
    "a long target": (b"GET /v2/" + b"a" * 40_000, 414, "NAME_INVALID"),
    "an expectation": (b"GET /v2/ HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n", 417, "UNSUPPORTED"),
    "a large head": (b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000, 431, "UNKNOWN"),
    "a coding": (b"POST /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "UNSUPPORTED"),
}


@pytest.mark.parametrize("what", HEAD_ERRORS)
def test_what_is_refused_by_its_head_gets_a_registry_error_too(chain, what):
    data, status, code = HEAD_ERRORS[what]
    with raw.Wire(chain.edge.port, 15) as wire:
        wire.send(data)
        reply = wire.reply()
    assert (reply.status, reply.error_code) == (status, code)
    assert reply.headers["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize(
    "method, target, allow, words",
    [
        ("PUT", "/v2/library/app/manifests/v1", "GET, HEAD", "pushes"),
        ("POST", "/v2/library/app/blobs/uploads/", "", "pushes"),
        ("GET", "/v2/library/app/blobs/uploads/", "", "pushes"),
        ("BREW", "/v2/library/app/manifests/v1", "GET, HEAD", "only GET and HEAD"),
        ("TRACE", "/v2/", "GET, HEAD", "only GET and HEAD"),
        ("OPTIONS", "/v2/library/app/tags/list", "GET, HEAD", "only GET and HEAD"),
        ("POST", "/", "GET, HEAD", None),
        ("DELETE", "/elsewhere", "GET, HEAD", None),
    ],
)
def test_a_method_that_is_not_served_is_405_and_told_what_is(chain, method, target, allow, words):
    reply = raw.ask(chain.edge.port, target, method)
    assert (reply.status, reply.headers["allow"]) == (405, allow)
    if words:
        assert reply.error_code == "UNSUPPORTED" and words in reply.message


def test_a_page_size_that_is_no_number_is_named_so(chain):
    assert raw.ask(chain.edge.port, "/v2/library/app/tags/list?n=x").error_code == "PAGINATION_NUMBER_INVALID"


def status_of(wire):
    """What a request on this connection gets; 0 if it was closed without a word."""
    try:
        return wire.request("GET", "/v2/").status
    except (raw.Cut, OSError):
        return 0


def test_connections_from_one_address_are_limited(bench, chain):
    edge = bench.edge(chain.central.fleet, {"limits.connections_per_address": "20"})
    wires = [raw.Wire(edge.port) for _ in range(40)]
    try:
        wait_until(lambda: edge.metric("entrepot_connections_refused_total") >= 20, "twenty are refused", 60, 0.1)
        # Which twenty is up to the loops that accept them.
        assert sum(status_of(w) == 200 for w in wires) == 20
        with raw.Wire(edge.port) as over:
            reply = over.reply()
            assert (reply.status, reply.error_code) == (503, "TOOMANYREQUESTS")
            assert reply.headers["docker-distribution-api-version"] == "registry/2.0"
    finally:
        [w.close() for w in wires]
    wait_until(lambda: raw.ask(edge.port, "/v2/").status == 200, "room again")


def test_slow_heads_and_idle_connections_are_ended(bench, chain):
    edge = bench.edge(chain.central.fleet, {"limits.head_time": "1s", "limits.idle_time": "1s", "limits.send_stall": "1s"})
    with raw.Wire(edge.port, 10) as slow, raw.Wire(edge.port, 10) as idle, raw.Wire(edge.port, 10, receive_buffer=4096) as stuck:
        slow.send(b"GET /v2/ HTTP/1.1\r\n")
        assert idle.request("GET", "/v2/").status == 200
        stuck.ask("GET", f"/v2/{NAME}/blobs/{chain.blob.digest}")
        reply = slow.reply()
        assert (reply.status, reply.error_code) == (408, "UNKNOWN")
        assert reply.headers["docker-distribution-api-version"] == "registry/2.0"
        assert idle.more() == b""
        wait_until(lambda: edge.metric("entrepot_connections") == 0, "all are gone", 60, 0.1)
