"""Clients that ask for ranges far ahead of a slow download get them before the download arrives there, however much space there is and
however the download ends."""

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.faulty import Fault

NAME = "library/lazy"


@pytest.fixture
def up(bench):
    return bench.faulty()


def offer(up, size, name=NAME, seed="lazy"):
    return up.put_blob(name, images.noise_blob(size, seed))


def download(node, blob, first=None, size=1000):
    last = None if first is None else first + size - 1
    return raw.Download(node.port, NAME, blob.digest, blob.data, first=first, last=last).start()


def whole_begun(node, blob):
    whole = download(node, blob)
    wait_until(lambda: whole.got > 0, "the download has begun")
    return whole


def asked(up, blob):
    return [s.range for s in up.requests(blob.digest, "GET")]


@pytest.mark.parametrize("first_ahead", [None, 56 * MiB], ids=["nothing-else-ahead", "one-piece-ahead"])
def test_with_a_small_limit_no_reader_gets_a_wrong_byte(bench, up, first_ahead):
    node = bench.central(("docker.io", up.url), settings={"store.limit": "32MiB"})
    blob = offer(up, 96 * MiB)
    up.always(f"/blobs/{blob.digest}", Fault(rate=16 * MiB))
    whole = whole_begun(node, blob)
    if first_ahead:
        assert download(node, blob, first_ahead).join().good
    parts = [download(node, blob, at * MiB, MiB) for at in (90, 16, 20, 24, 28, 60, 80)]
    assert all(d.join().good for d in parts), parts
    assert whole.join().good, whole


def test_a_range_far_ahead_costs_the_store_what_was_fetched(bench, up):
    node = bench.central(("docker.io", up.url), settings={"store.limit": "128MiB"})
    small = [offer(up, 5 * MiB, f"library/small{i}", f"small {i}") for i in range(16)]
    for i, blob in enumerate(small):
        assert raw.blob(node.port, f"library/small{i}", blob.digest).body == blob.data
    wait_until(lambda: all(node.held(b.digest) for b in small), "all are held")
    blob = offer(up, 120 * MiB)
    up.always(f"/blobs/{blob.digest}", Fault(rate=2 * MiB), "GET")
    assert download(node, blob, 118 * MiB, 10).join().good
    wait_until(lambda: node.metric("entrepot_fills_running") == 0, "nobody wants the rest")
    assert all(node.held(b.digest) for b in small)
    assert [f for f in (node.data / "fills").iterdir() if f.suffix == ".tmp"] == []


def test_killed_after_wrong_bytes_and_a_piece_ahead_it_goes_on_from_what_came_in_order(bench, up):
    node = bench.central(("docker.io", up.url))
    blob = offer(up, 64 * MiB)
    # Wrong; a piece ahead; then right but slow; a piece ahead.
    up.on(f"/blobs/{blob.digest}", Fault(wrong_at=MiB, rate=16 * MiB), Fault(), Fault(rate=3 * MiB), Fault())
    whole = whole_begun(node, blob)
    assert download(node, blob, 60 * MiB).join().good
    whole.join()
    again = whole_begun(node, blob)
    assert download(node, blob, 56 * MiB).join().good
    node.kill()
    again.join()
    kept = node.part_file(blob.digest).read_bytes()
    assert kept == blob.data[: len(kept)]
    node.start()
    parts = [download(node, blob, at, 4096) for at in (len(kept) - 4096, 56 * MiB)]
    assert all(d.join().good for d in [*parts, download(node, blob)])
    assert any(r and r[0] == len(kept) for r in asked(up, blob)), asked(up, blob)


def test_a_length_that_was_wrong_leaves_nothing_behind(bench, up):
    """The upstream has said 100 MiB, and pieces beyond the true end were fetched; then the node is killed, and the truth is told."""
    node = bench.central(("docker.io", up.url))
    blob = offer(up, 20 * MiB)
    longer = images.Bytes(blob.data + images.noise(80 * MiB, "tail"))
    up.content[NAME, blob.digest] = longer
    up.on(f"/blobs/{blob.digest}", Fault(rate=4 * MiB))
    whole = whole_begun(node, blob)
    far = raw.Download(node.port, NAME, blob.digest, longer.data, first=90 * MiB, last=90 * MiB + 99).start().join()
    assert far.good
    node.kill()
    whole.join()
    up.content[NAME, blob.digest] = blob
    node.start()
    assert download(node, blob).join().good
    wait_until(lambda: node.held(blob.digest), "it is kept")


def test_what_was_fetched_ahead_is_not_fetched_again(bench, up):
    node = bench.central(("docker.io", up.url))
    blob = offer(up, 48 * MiB)
    up.on(f"/blobs/{blob.digest}", Fault(rate=4 * MiB))
    whole = whole_begun(node, blob)
    ahead = [download(node, blob, at * MiB, 8 * MiB) for at in (16, 24, 32)]
    assert all(d.join().good for d in ahead)
    assert whole.join().good
    assert up.bytes_sent(blob.digest) <= blob.size + 8 * MiB, asked(up, blob)
