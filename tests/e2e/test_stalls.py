"""No serving loop waits for a disk, the index or a name server. With a disk that is slow in every call, the loops' watchdog
(entrepot_loop_longest_stall_seconds) never shows that delay for a serving loop, whatever clients ask."""

import mmap
import os
import struct

import pytest

from lab import images, raw
from lab.base import MiB, run, wait_until
from lab.nodes import SANITIZERS

DELAY_MS = 400
HERE = os.path.dirname(__file__)


class SlowDisk:
    """A preloaded library and the number that tells it how slow."""

    def __init__(self, folder):
        self.library, self.number = folder / "slow_disk.so", folder / "slow"
        run("gcc", "-O1", "-Wall", "-Wno-unused", "-shared", "-fPIC", "-o", self.library, f"{HERE}/lab/slow_disk.c", "-ldl")
        self.number.write_bytes(struct.pack("I", 0))
        asan = SANITIZERS["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": str(self.library), "SLOW_DISK": str(self.number), "ASAN_OPTIONS": asan}

    def set(self, ms):
        with open(self.number, "r+b") as f, mmap.mmap(f.fileno(), 4) as m:
            m[:] = struct.pack("I", ms)


def stalls(node):
    """Since the last time anybody asked: seconds by loop."""
    return {dict(labels)["loop"]: v for (name, labels), v in node.metrics().items() if name == "entrepot_loop_longest_stall_seconds"}


@pytest.fixture
def chain(bench, tmp_path):
    disk = SlowDisk(tmp_path)
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), edge={"threads.serving": 1}, central={"threads.serving": 1}, env=disk.env, fresh_for="1h")
    made.upstream, made.disk = up, disk
    return made


def test_no_serving_loop_waits_for_a_disk(chain):
    edge, central, up = chain.edge, chain.central, chain.upstream
    held, cold = images.small("held", 300_000), images.small("cold", 100_000)
    big = images.noise_blob(9 * MiB, "stall")
    up.put("library/held", held, "v1")
    up.put("library/cold", cold, "v1")
    up.put("library/big", images.single_blob(big), "v1")
    for name in ("held", "big"):
        assert raw.manifest(edge.port, f"library/{name}", "v1").status == 200
    for layer in held.layers:
        assert raw.blob(edge.port, "library/held", layer.digest).status == 200
    assert raw.Download(edge.port, "library/big", big.digest, big.data).start().join(60).good
    wait_until(lambda: edge.metric("entrepot_fills_running") == 0, "all is on the edge's disk")
    edge.restart()  # nothing is open and no small blob in memory
    for node in (edge, central):
        stalls(node)
    chain.disk.set(DELAY_MS)
    try:
        # From the edge's own disk: a manifest and a blob that have to be opened and read, whole and in part.
        digest = raw.manifest(edge.port, "library/held", "v1").headers["docker-content-digest"]
        assert raw.manifest(edge.port, "library/held", digest).status == 200
        for layer in held.layers:
            assert raw.blob(edge.port, "library/held", layer.digest).status == 200
            assert raw.ask(edge.port, f"/v2/library/held/blobs/{layer.digest}", "HEAD").status == 200
        assert raw.Download(edge.port, "library/big", big.digest, big.data).start().join(120).good
        assert raw.blob(edge.port, "library/big", big.digest, Range="bytes=5000000-5000999").status == 206
        # From upstream through both tiers, written to both disks; lists; what operators ask for.
        assert raw.manifest(edge.port, "library/cold", "v1").status == 200
        for layer in cold.layers:
            assert raw.blob(edge.port, "library/cold", layer.digest).status == 200
        assert raw.ask(edge.port, "/v2/library/held/tags/list").status == 200
        assert raw.ask(edge.port, "/v2/_catalog").status == 200
        assert raw.ask(edge.port, "/v2/library/none/manifests/v1").status == 404
        assert edge.json("status") and edge.json("df")
        found = {f"{node.kind} {loop}": s for node in (edge, central) for loop, s in stalls(node).items()}
    finally:
        chain.disk.set(0)
    serving = {loop: s for loop, s in found.items() if "serve" in loop}
    assert len(serving) == 2
    assert all(s < DELAY_MS / 1000 for s in serving.values()), found
    assert found["edge fetch"] >= DELAY_MS / 1000, f"the disk was slow indeed, and who writes to it noticed: {found}"
