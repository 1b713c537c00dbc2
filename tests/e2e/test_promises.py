"""200 and 206 are sent only when a source has agreed to send. Engines go on to their next host after an error status, but never after a body
that was cut (containerd#9552)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.faulty import Fault

NAME = "library/promised"
SIZE = 6 * MiB
PAGE = b"<html><title>Please sign in</title></html>"
WAYS = [("GET", {}), ("GET", {"Range": "bytes=0-"}), ("GET", {"Range": "bytes=5000000-5000999"}), ("GET", {"Range": "bytes=0-9,100-199"})]
HEAD = ("HEAD", {})

REFUSALS = {
    "404": (Fault(status=404), 404),
    "401": (Fault(status=401), 404),
    "403": (Fault(status=403), 404),
    "429": (Fault(status=429, headers={"Retry-After": "3600"}), 429),
    "500": (Fault(status=500), 502),
    "503": (Fault(status=503), 502),
    "504": (Fault(status=504), 504),
    "closes": (Fault(hang_up=True), 502),
    "late 404": (Fault(status=404, head_after=1.5), 404),
    "late 503": (Fault(status=503, head_after=0.8), 502),
    "stalls": (Fault(stall_head=True), 504),
}
# It answers 200 first. HEAD cannot tell; a GET can as long as nothing has left.
BROKEN = {
    "closes after its head": Fault(reset_after=0),
    "sends a page": Fault(body=PAGE, headers={"Content-Type": "text/html"}),
    "sends an empty body": Fault(body=b""),
    "sends other bytes": Fault(body=images.noise(3 * MiB, "other")),
}


@pytest.fixture
def chain(bench):
    """Both nodes know the manifest, and with it the blob's size; neither has the blob."""
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url))
    made.upstream = up
    made.blob = images.noise_blob(SIZE, "promised")
    made.image = up.put(NAME, images.single_blob(made.blob), "v1")
    assert raw.manifest(made.edge.port, NAME, "v1").status == 200
    made.path = f"/blobs/{made.blob.digest}"
    return made


def ask_all(chain, ways):
    """Every way at both nodes at once: [(node, way, reply)]."""
    asked = [(node, way) for node in (chain.edge, chain.central) for way in ways]
    with ThreadPoolExecutor(len(asked)) as pool:
        replies = pool.map(lambda a: raw.ask(a[0].port, f"/v2/{NAME}{chain.path}", a[1][0], a[1][1]), asked)
        return [(node.kind, way, reply) for (node, way), reply in zip(asked, replies)]


@pytest.mark.parametrize("how", REFUSALS)
def test_a_blob_that_its_source_refuses_is_an_error_status(chain, how):
    fault, status = REFUSALS[how]
    chain.upstream.always(chain.path, fault, None)
    for kind, way, reply in ask_all(chain, [*WAYS, HEAD]):
        assert reply.status == status and reply.whole, (kind, way, reply)
        assert way == HEAD or reply.error_code, (kind, way, reply)
        if status == 429 or how == "stalls":
            assert int(reply.headers["retry-after"]) > 0, (kind, way, reply)


@pytest.mark.parametrize("how", BROKEN)
def test_a_blob_that_breaks_before_its_first_bytes_is_an_error_status(chain, how):
    chain.upstream.always(chain.path, BROKEN[how], "GET")
    for kind, way, reply in ask_all(chain, WAYS):
        assert reply.status == 502 and reply.error_code and reply.whole, (kind, way, reply)


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(hang_up=True), Fault(reset_after=0), Fault(head_after=2.0)])
def test_a_source_that_agrees_late_is_waited_for(chain, fault):
    chain.upstream.on(chain.path, fault)
    for kind, (_, headers), reply in ask_all(chain, WAYS[:3]):
        want = chain.blob.data[5000000:5001000] if "5000000" in headers.get("Range", "") else chain.blob.data
        assert reply.status in (200, 206) and reply.whole and reply.body == want, (kind, headers, reply.status)
        assert "detail=" in reply.headers["cache-status"] or "hit" in reply.headers["cache-status"], reply.headers


def test_a_source_that_is_silent_is_named_by_central_and_asked_on(chain):
    chain.upstream.on(chain.path, Fault(stall_head=True))
    reply = raw.blob(chain.edge.port, NAME, chain.blob.digest)
    assert reply.status == 504 and reply.headers["retry-after"] == "1"
    assert "central answered 504" in reply.message and f"no source of docker.io/{NAME}" in reply.message, reply.message
    chain.upstream.release()
    # Nobody waits any more, but whoever asks again shall find it.
    wait_until(lambda: chain.central.held(chain.blob.digest), "central has it")
    assert len(chain.upstream.requests(chain.path, "GET")) == 1
    assert raw.blob(chain.edge.port, NAME, chain.blob.digest).body == chain.blob.data


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_tag_whose_source_is_silent_is_an_error_status(chain, method):
    chain.upstream.always("/manifests/", Fault(stall_head=True), None)
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda n: raw.manifest(n.port, NAME, "v2", method), (chain.central, chain.edge)))
    for reply in replies:
        assert reply.status == 504 and int(reply.headers["retry-after"]) > 0, reply
        assert method == "HEAD" or reply.error_code == "UNAVAILABLE", reply


def test_a_blob_whose_bytes_come_slowly_gets_its_head_in_time(chain):
    """Its first piece takes longer than an engine waits for a head."""
    chain.upstream.always(chain.path, Fault(rate=200_000))
    down = raw.Download(chain.edge.port, NAME, chain.blob.digest, chain.blob.data).start()
    wait_until(lambda: down.head_s is not None, "a head", 12)
    assert down.status == 200 and down.size == SIZE
    chain.upstream.release()
    assert down.join().good
