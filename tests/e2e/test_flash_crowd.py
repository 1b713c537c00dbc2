"""Many clients want one cold blob at the same time. It crosses each link once, and no client delays another."""

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.faulty import Fault
from lab.nodes import RELEASE

CROWD = 50
SIZE = 200 * MiB
GROWTH = 32 * MiB


@pytest.fixture(scope="module")
def data():
    return images.noise(SIZE, "flash crowd")


@pytest.fixture
def chain(bench):
    up = bench.registry()
    made = bench.chain(("docker.io", up.url), build=RELEASE, tap=True)  # memory is measured: a sanitizer needs its own
    made.upstream = up
    # Warm code paths and threads, so that growth is the crowd's alone.
    up.put("library/warm", images.small("warm"), "v1")
    raw.pull(made.edge.port, "library/warm", "v1")
    made.tap.reset()
    return made


def offer(chain, data):
    blob = images.Bytes(data)
    chain.upstream.put("library/crowd", images.single_blob(blob), "v1")
    assert raw.manifest(chain.edge.port, "library/crowd", "v1").status == 200
    chain.tap.reset()
    return blob


def watch_peak(edge, downloads):
    """Joins all downloads; the highest resident memory meanwhile."""
    peak = [edge.rss()]

    def ended():
        peak[0] = max(peak[0], edge.rss())
        return not any(d.thread.is_alive() for d in downloads)

    wait_until(ended, lambda: f"all downloads ended: {[d.got for d in downloads]}", 120)
    return peak[0]


def came_once(chain, blob):
    wait_until(lambda: chain.upstream.since(0, "GET", blob.digest), "the upstream has logged it")
    assert chain.upstream.bytes_sent(blob.digest) == blob.size
    assert blob.size <= chain.tap.down <= blob.size + 2 * MiB, chain.tap.requests()


def test_fifty_cold_clients_cost_one_download_and_no_memory(chain, data):
    blob = offer(chain, data)
    before = chain.edge.rss()
    crowd = [raw.Download(chain.edge.port, "library/crowd", blob.digest, data).start() for _ in range(CROWD)]
    peak = watch_peak(chain.edge, crowd)
    assert all(d.good and d.got == SIZE for d in crowd), [d for d in crowd if not d.good][:3]
    came_once(chain, blob)
    assert len(chain.tap.requests(f"/blobs/{blob.digest}")) == 1
    assert peak - before <= GROWTH, f"{(peak - before) / MiB:.1f} MiB"
    assert 0 < chain.edge.json("status")["pulls"]["joined"] < CROWD


def test_many_clients_with_parallel_ranges_cost_one_download(chain, data):
    blob = offer(chain, data)
    before = chain.edge.rss()
    parts = [p for _ in range(CROWD // 4) for p in raw.ranges(chain.edge.port, "library/crowd", blob.digest, SIZE, data, 4)]
    peak = watch_peak(chain.edge, parts)
    assert all(d.good for d in parts), [d for d in parts if not d.good][:3]
    assert sum(d.got for d in parts) == SIZE * (CROWD // 4)
    came_once(chain, blob)
    assert peak - before <= GROWTH, f"{(peak - before) / MiB:.1f} MiB"


@pytest.fixture
def slow(bench):
    """An upstream that stops in the middle of a blob until it is told to go on."""
    up = bench.faulty()
    blob = images.noise_blob(24 * MiB, "slow")
    up.put("library/slow", images.single_blob(blob), "v1")
    up.always(f"/blobs/{blob.digest}", Fault(stall_after=9 * MiB))
    made = bench.chain(("docker.io", up.url))
    made.upstream, made.blob = up, blob
    assert raw.manifest(made.edge.port, "library/slow", "v1").status == 200
    return made


def test_headers_arrive_while_the_body_stalls(slow):
    down = raw.Download(slow.edge.port, "library/slow", slow.blob.digest, slow.blob.data).start()
    wait_until(lambda: down.head_s is not None, "a head", 4)
    assert down.status == 200 and down.size == slow.blob.size
    wait_until(lambda: down.got >= 4 * MiB, "the proved part of the body")
    late = raw.Download(slow.edge.port, "library/slow", slow.blob.digest, slow.blob.data).start()
    wait_until(lambda: late.head_s is not None and late.got >= 4 * MiB, "a latecomer follows")
    slow.upstream.release()
    assert down.join(60).good and late.join(60).good


def test_a_client_that_leaves_does_not_stop_the_others(slow):
    def get(**how):
        return raw.Download(slow.edge.port, "library/slow", slow.blob.digest, slow.blob.data, **how).start()

    first = get(give_up_after=MiB)
    others = [get() for _ in range(5)]
    first.join(30)
    assert not first.whole
    wait_until(lambda: all(d.got >= 4 * MiB for d in others), "the others go on")
    slow.upstream.release()
    assert all(d.join(60).good for d in others)
    assert slow.upstream.bytes_sent(slow.blob.digest) <= slow.blob.size + 9 * MiB


def test_when_all_clients_leave_the_fetched_bytes_are_kept(slow):
    crowd = [
        raw.Download(slow.edge.port, "library/slow", slow.blob.digest, slow.blob.data, give_up_after=2 * MiB).start() for _ in range(8)
    ]
    [d.join(30) for d in crowd]
    slow.upstream.release()
    slow.upstream.clear()
    again = raw.Download(slow.edge.port, "library/slow", slow.blob.digest, slow.blob.data).start().join(60)
    assert again.good
    ranges = [s.range for s in slow.upstream.requests(slow.blob.digest, "GET")]
    assert all(r is not None for r in ranges[1:]), ranges
