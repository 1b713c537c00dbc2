"""A joined edge in a busy moment: a cold crowd while its certificate is renewed, and central's restart between two of them. `tests/check`
runs it with the daemons under ThreadSanitizer, too."""

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.faulty import Fault
from lab.fleet import central_of, joined, on_address

CROWD = 20
NAME = "library/crowd"


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


def crowd(edge, upstream, seed, rate):
    """Clients that all want one cold blob."""
    blob = images.noise_blob(4 * MiB, seed)
    upstream.put(NAME, images.single_blob(blob), seed)
    upstream.on(f"/blobs/{blob.digest}", Fault(rate=rate))
    assert raw.manifest(edge.port, NAME, seed).status == 200
    return blob, [raw.Download(edge.port, NAME, blob.digest, blob.data).start() for _ in range(CROWD)]


def all_came(upstream, blob, downloads):
    for d in downloads:
        assert d.join(60).good, d
    wait_until(lambda: upstream.bytes_sent(blob.digest) == blob.size, "it was sent once")


def test_a_crowd_a_renewal_and_a_reconnect(bench):
    upstream = bench.faulty()
    upstream.put(NAME, images.small("busy"), "v1")
    central = central_of(bench, upstream, **{"fleet.certificate": "30s"})
    edge = joined(bench, central)
    wait_until(edge.reachable, "there")
    generation = edge.identity()["generation"]
    blob, downloads = crowd(edge, upstream, "first", MiB // 4)  # until the renewal, or nearly
    wait_until(lambda: edge.identity()["generation"] > generation, "a renewal", 30)
    all_came(upstream, blob, downloads)

    central.restart()
    wait_until(edge.reachable, "there again")
    wait_until(lambda: edge.json("status")["replica"]["equal"], "its replica goes on", 30)
    blob, downloads = crowd(edge, upstream, "second", 4 * MiB)
    all_came(upstream, blob, downloads)
    assert raw.pull(edge.port, NAME, "v1") is not None
