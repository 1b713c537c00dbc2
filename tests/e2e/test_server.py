"""The HTTP server as clients see it: ranges, conditions, pipelining, TLS with a new certificate, a drain that cuts nobody."""

import os
import signal
import ssl

import pytest

from lab import images, pki, raw
from lab.base import MiB, listening, wait_until

pytestmark = pytest.mark.sanitized

NAME = "library/app"


@pytest.fixture(scope="module")
def chain(shared_bench):
    up = shared_bench.faulty()
    own = {"registry.names": '["own.example"]'}
    made = shared_bench.chain(("docker.io", up.url), central=own, edge=own)
    made.upstream = up
    made.blob = images.noise_blob(MiB, "server")
    made.image = up.put(NAME, images.single_blob(made.blob), "v1")
    raw.pull(made.edge.port, NAME, "v1")
    made.port = made.edge.port
    made.target = f"/v2/{NAME}/blobs/{made.blob.digest}"
    return made


def get(chain, method="GET", **headers):
    return raw.ask(chain.port, chain.target, method, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize(
    "text, first, last",
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, MiB - 1),
        ("bytes=100-199", 100, 199),
        ("bytes=-1", MiB - 1, MiB - 1),
        (f"bytes={MiB - 1}-", MiB - 1, MiB - 1),
        (f"bytes=10-{10 * MiB}", 10, MiB - 1),
        (f"bytes=-{10 * MiB}", 0, MiB - 1),
    ],
)
def test_one_range_is_206_with_exactly_those_bytes(chain, text, first, last):
    reply = get(chain, Range=text)
    assert reply.status == 206
    assert reply.headers["content-range"] == f"bytes {first}-{last}/{MiB}"
    assert reply.body == chain.blob.data[first : last + 1]


@pytest.mark.parametrize("text", [f"bytes={MiB}-", "bytes=-0", f"bytes={10 * MiB}-{11 * MiB}"])
def test_a_range_past_the_end_is_416_with_the_size(chain, text):
    reply = get(chain, Range=text)
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{MiB}")
    assert reply.error_code == "RANGE_INVALID"
    # What is said of the content for good is not said of an error.
    assert not {"etag", "cache-control", "docker-content-digest"} & set(reply.headers)


@pytest.mark.parametrize("text", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=", "bytes=1-2,x"])
def test_a_range_that_makes_no_sense_is_ignored(chain, text):
    reply = get(chain, Range=text)
    assert (reply.status, reply.body) == (200, chain.blob.data)


def parts_of(reply):
    """The parts of a multipart/byteranges answer: [(first, last, bytes)]."""
    boundary = reply.headers["content-type"].split("boundary=")[1].strip('"').encode()
    found = []
    rest = reply.body
    while (start := rest.find(b"--" + boundary + b"\r\n")) >= 0:
        head, _, rest = rest[start:].partition(b"\r\n\r\n")
        line = next(x for x in head.decode().split("\r\n") if x.lower().startswith("content-range"))
        first, last = (int(x) for x in line.split("bytes ")[1].split("/")[0].split("-"))
        found.append((first, last, rest[: last - first + 1]))
        rest = rest[last - first + 1 :]
    assert rest.strip() == b"--" + boundary + b"--"
    return found


def test_several_ranges_come_as_parts(chain):
    reply = get(chain, Range="bytes=0-9,1000-1999,-5")
    assert reply.status == 206 and reply.headers["content-type"].startswith("multipart/byteranges")
    assert int(reply.headers["content-length"]) == len(reply.body)
    wanted = [(0, 9), (1000, 1999), (MiB - 5, MiB - 1)]
    assert parts_of(reply) == [(a, b, chain.blob.data[a : b + 1]) for a, b in wanted]


def test_every_process_uses_another_multipart_boundary(chain):
    """Content that holds the boundary on purpose would be taken apart wrongly."""
    said = set()
    for port in (chain.edge.port, chain.central.port):
        for _ in range(2):
            reply = raw.ask(port, chain.target, "GET", {"Range": "bytes=0-0,9-9"})
            assert reply.status == 206
            said.add(reply.headers["content-type"].split("boundary=")[1])
    assert len(said) == 2


def test_a_thousand_overlapping_ranges_do_not_multiply_the_body(chain):
    reply = get(chain, Range="bytes=" + ",".join("0-" for _ in range(1000)))
    assert reply.status in (200, 206, 400, 416) and len(reply.body) <= 2 * MiB


def test_if_range_decides_between_part_and_whole(chain):
    assert get(chain, Range="bytes=0-9", If_Range=f'"{chain.blob.digest}"').status == 206
    assert get(chain, Range="bytes=0-9", If_Range='"other"').status == 200
    assert get(chain, Range="bytes=0-9", If_Range=f'W/"{chain.blob.digest}"').status == 200


def test_if_none_match_is_304_for_blobs_and_manifests(chain):
    reply = get(chain, If_None_Match=f'"x", "{chain.blob.digest}"')
    assert (reply.status, reply.body) == (304, b"")
    found = raw.manifest(chain.port, NAME, "v1")
    assert found.headers["etag"] == f'"{chain.image.digest}"'
    assert raw.manifest(chain.port, NAME, "v1", If_None_Match=found.headers["etag"]).status == 304
    assert get(chain, If_None_Match='"other"').status == 200


def test_if_match_for_another_content_is_412_with_a_registry_error(chain):
    assert get(chain, If_Match=f'"{chain.blob.digest}"').status == 200
    reply = get(chain, If_Match='"other"')
    assert (reply.status, reply.error_code) == (412, "UNKNOWN")
    assert not {"etag", "cache-control", "docker-content-digest"} & set(reply.headers)


def test_head_has_the_headers_of_get_and_no_body(chain):
    head, whole = get(chain, "HEAD"), get(chain)
    assert same_heads(head, whole)
    assert head.body == b"" and head.headers["docker-content-digest"] == chain.blob.digest


def same_heads(head, whole):
    changing = {"date", "x-request-id", "cache-status", "connection", "age"}
    return {k: v for k, v in head.headers.items() if k not in changing} == {k: v for k, v in whole.headers.items() if k not in changing}


@pytest.mark.parametrize("node", ["edge", "central"])
def test_head_of_what_is_not_held_has_the_headers_of_get(chain, node):
    blob = images.noise_blob(5000, f"head {node}")
    chain.upstream.put(f"library/head-{node}", images.single_blob(blob), "v1")
    port = getattr(chain, node).port
    for ask in (
        lambda method, **more: raw.manifest(port, f"library/head-{node}", "v1", method, **more),
        lambda method, **more: raw.blob(port, f"library/head-{node}", blob.digest, method, **more),
    ):
        head = ask("HEAD")
        assert "fwd=miss" in head.headers["cache-status"]
        assert ask("HEAD", If_None_Match=head.headers["etag"]).status == 304
        assert same_heads(head, ask("GET"))


@pytest.mark.parametrize("node", ["edge", "central"])
def test_a_namespace_is_named_by_the_answers_that_it_decided(chain, node):
    port = getattr(chain, node).port

    def told(target, status):
        reply = raw.ask(port, target)
        assert reply.status == status, reply
        return reply.headers.get("oci-namespace")

    zeros = "sha256:" + "0" * 64
    for what, status in [("manifests/v1", 200), ("manifests/none", 404), (f"blobs/{zeros}", 404), ("tags/list", 200)]:
        assert told(f"/v2/{NAME}/{what}?ns=docker.io", status) == "docker.io"
        assert told(f"/v2/{NAME}/{what}", status) is None
        for _ in range(2):  # the second is remembered
            assert told(f"/v2/{NAME}/{what}?ns=own.example:5000", status) is None
    assert told(f"/v2/{NAME}/manifests/v1?ns=other.example", 404) == "other.example"
    assert told("/v2/_catalog?ns=docker.io", 200) is None
    assert told("/v2/?ns=docker.io", 200) is None


def test_pipelined_requests_are_answered_in_order(chain):
    with raw.Wire(chain.port) as wire:
        ranges = [(i * 1000, i * 1000 + 99 + i) for i in range(40)]
        for first, last in ranges:
            wire.ask("GET", chain.target, {"Range": f"bytes={first}-{last}"})
        wire.ask("HEAD", chain.target)
        wire.ask("GET", "/v2/")
        for first, last in ranges:
            assert wire.reply().body == chain.blob.data[first : last + 1]
        assert wire.reply("HEAD").status == 200
        assert wire.reply().body == b"{}"


def test_one_connection_serves_many_requests_errors_included(chain):
    with raw.Wire(chain.port) as wire:
        for i in range(50):
            assert wire.request("GET", chain.target, {"Range": "bytes=0-9"}).body == chain.blob.data[:10]
            assert wire.request("GET", "/v2/library/app/blobs/sha256:bad").status == 400
            assert wire.request("GET", f"/v2/library/app/manifests/none{i % 3}").status == 404


def test_a_request_that_comes_byte_by_byte_is_answered(chain):
    with raw.Wire(chain.port) as wire:
        for byte in b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n":
            wire.send(bytes([byte]))
        assert wire.reply().status == 200


def test_pushes_are_refused_politely(chain):
    reply = raw.ask(chain.port, "/v2/library/app/blobs/uploads/", "POST")
    assert (reply.status, reply.error_code) == (405, "UNSUPPORTED")


def test_a_body_that_nobody_wants_does_not_confuse_the_connection(chain):
    with raw.Wire(chain.port) as wire:
        wire.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        assert wire.reply().status in (200, 400)


# --- TLS ---


def test_tls_serves_and_a_new_certificate_is_taken_on_sighup(bench, chain):
    folder = bench.place("tls")
    first, second = pki.self_signed(folder, "first"), pki.self_signed(folder, "second")
    cert, key = folder / "now.crt", folder / "now.key"

    def install(pair):
        cert.write_bytes(pair[0].read_bytes())
        key.write_bytes(pair[1].read_bytes())

    install(first)
    edge = bench.edge(chain.central.fleet, {"registry.cert_file": cert, "registry.key_file": key})
    old, new = pki.trusting(first[0]), pki.trusting(second[0])
    wait_until(lambda: edge.metric("entrepot_central_reachable") == 1, "central is known")
    assert raw.ask(edge.port, f"/v2/{NAME}/manifests/v1", tls=old).status == 200
    assert raw.ask(edge.port, chain.target, tls=old).body == chain.blob.data
    with raw.Wire(edge.port, tls=old) as running:
        assert running.request("GET", "/v2/").status == 200
        install(second)
        edge.process.signal(signal.SIGHUP)

        def has_new():
            try:
                return raw.ask(edge.port, "/v2/", tls=new).status == 200
            except ssl.SSLError:
                return False

        wait_until(has_new, "the new certificate")
        with pytest.raises(ssl.SSLError):
            raw.ask(edge.port, "/v2/", tls=old)
        assert running.request("GET", "/v2/").status == 200
    # A pair that does not fit is refused and the good one stays.
    key.write_bytes(first[1].read_bytes())
    edge.process.signal(signal.SIGHUP)
    wait_until(lambda: any(e.get("level") in ("error", "warn") for e in edge.log()), "the log says the pair is refused")
    assert raw.ask(edge.port, "/v2/", tls=new).status == 200
    # Nor does a FIFO in its place hold anything up: the node still hears that it shall end.
    key.unlink()
    os.mkfifo(key)
    edge.process.signal(signal.SIGHUP)
    wait_until(lambda: any("is not a file" in e.get("why", "") for e in edge.log()), "the log says what is wrong")
    assert raw.ask(edge.port, "/v2/", tls=new).status == 200
    edge.process.signal(signal.SIGTERM)
    wait_until(lambda: not edge.running(), "the end", 15)


# --- the end ---


def test_sigterm_lets_a_running_download_finish(bench):
    up = bench.faulty()
    blob = images.noise_blob(40 * MiB, "drain")
    up.put(NAME, images.single_blob(blob), "v1")
    made = bench.chain(("docker.io", up.url))
    raw.pull(made.edge.port, NAME, "v1")
    with raw.Wire(made.edge.port, receive_buffer=65536) as wire:
        wire.ask("GET", f"/v2/{NAME}/blobs/{blob.digest}")
        status, headers = wire.head()
        got = bytearray(wire.more())
        made.edge.process.signal(signal.SIGTERM)
        wait_until(lambda: not listening(made.edge.port), "no new connections")
        while len(got) < blob.size:
            data = wire.more()
            assert data, f"cut at {len(got)} of {blob.size}"
            got += data
    assert status == 200 and bytes(got) == blob.data
    assert made.edge.process.child.wait(30) == 0


def test_sigterm_ends_an_idle_daemon_at_once(bench):
    made = bench.chain(("docker.io", "http://127.0.0.1:1"))
    with raw.Wire(made.edge.port) as idle:
        assert idle.request("GET", "/v2/").status == 200
        made.edge.process.signal(signal.SIGTERM)
        wait_until(lambda: not made.edge.running(), "the end", 5)
    made.central.process.signal(signal.SIGTERM)
    wait_until(lambda: not made.central.running(), "the end", 5)
