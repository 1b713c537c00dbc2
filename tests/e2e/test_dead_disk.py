"""Parts of the edge's disk fail. Blobs that cannot be read are fetched again, and reports say only what really happened."""

import sqlite3
import threading

import pytest

from lab import images, raw
from lab.bad_disk import FILL_FAILS, HASH_FAILS, INDEX_FAILS, NO_INODES, OPEN_FAILS, READ_FAILS, READ_ONLY, SEND_FAILS, SYNC_FAILS, BadDisk
from lab.base import MiB, wait_until
from lab.faulty import Fault
from lab.nodes import RELEASE

pytestmark = pytest.mark.sanitized

NAME = "library/app"


@pytest.fixture
def edge(bench, tmp_path):
    disk = BadDisk(tmp_path)
    up = bench.faulty()
    core = bench.central(("docker.io", up.url), build=RELEASE)
    edge = bench.edge(core.fleet, build=RELEASE, env=disk.env)
    edge.disk, edge.upstream = disk, up
    return edge


def is_held(edge, blob, name=NAME):
    """By the index, too: until then the file under blobs/ is the fill's, from which the last clients are still served."""
    return "hit" in raw.blob(edge.port, name, blob.digest, "HEAD").headers.get("cache-status", "")


def hold(edge, size, seed, name=NAME):
    blob = images.noise_blob(size, seed)
    edge.upstream.put(name, images.single_blob(blob), "v1")
    assert raw.manifest(edge.port, name, "v1").status == 200
    assert raw.blob(edge.port, name, blob.digest).body == blob.data
    wait_until(lambda: is_held(edge, blob, name), "it is held")
    return blob


def events(edge, name):
    return [e for e in edge.log() if e.get("event") == name]


@pytest.mark.parametrize("headers, part", [({}, slice(None)), ({"range": "bytes=500000-"}, slice(500_000, None))])
def test_clients_get_all_of_a_file_that_becomes_unreadable_while_it_is_sent(edge, headers, part):
    blob = hold(edge, 6 * MiB, "breaks off")
    edge.disk.be(SEND_FAILS, 1)
    reply = raw.blob(edge.port, NAME, blob.digest, **headers)
    assert reply.body == blob.data[part]
    (said,) = events(edge, "blob_unreadable")
    assert said["digest"] == blob.digest and "Input/output error" in said["why"]
    wait_until(lambda: is_held(edge, blob), "it is held again")
    assert raw.blob(edge.port, NAME, blob.digest).body == blob.data
    assert len(events(edge, "blob_unreadable")) == 1


def test_many_clients_get_all_of_a_file_that_becomes_unreadable(edge):
    blob, bodies = hold(edge, 6 * MiB, "crowd"), []
    edge.disk.be(SEND_FAILS)
    crowd = [threading.Thread(target=lambda: bodies.append(raw.blob(edge.port, NAME, blob.digest).body)) for _ in range(8)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(60)
    assert len(bodies) == 8 and all(body == blob.data for body in bodies)
    edge.disk.be(0)
    wait_until(lambda: is_held(edge, blob), "it is held again")


@pytest.mark.parametrize("size", [3000, 2 * MiB])
@pytest.mark.parametrize("trouble", [READ_FAILS, OPEN_FAILS])
def test_a_blob_that_cannot_be_opened_or_read_is_fetched_again(edge, size, trouble):
    blob = hold(edge, size, f"again {size}")
    edge.restart()  # nothing of it is open or in memory
    edge.disk.be(trouble, 1)
    assert raw.blob(edge.port, NAME, blob.digest).body == blob.data
    edge.disk.be(0)
    wait_until(lambda: is_held(edge, blob), "it is held")
    assert raw.blob(edge.port, NAME, blob.digest).body == blob.data


@pytest.mark.parametrize(
    "trouble, why", [(READ_ONLY, "Read-only file system"), (NO_INODES, "No space left on device")], ids=["read-only", "no-inodes"]
)
def test_a_disk_that_refuses_writes_is_reported_and_fails_no_pull(edge, trouble, why):
    held = hold(edge, MiB, "held")
    edge.disk.be(trouble)
    blob = images.noise_blob(MiB, "new")
    edge.upstream.put("library/new", images.single_blob(blob), "v1")
    assert raw.manifest(edge.port, "library/new", "v1").status == 200
    assert raw.blob(edge.port, "library/new", blob.digest).body == blob.data
    assert edge.metric("entrepot_fills_passed_through_total") >= 1
    for command in ("doctor", "status"):
        said = edge.command(command, check=False)
        assert said.returncode == 1 and why in said.stdout, said.stdout
    if trouble == READ_ONLY:
        said = edge.command("prune", "--all", check=False)
        assert said.returncode == 1 and why in said.stderr and said.stdout.startswith("0 "), said
        assert edge.held(held.digest)
        assert raw.blob(edge.port, NAME, held.digest).body == held.data
    edge.disk.be(0)
    hold(edge, MiB, "better", "library/better")


def offer(edge, blob, name):
    edge.upstream.put(name, images.single_blob(blob), "v1")
    assert raw.manifest(edge.port, name, "v1").status == 200


def test_one_client_at_most_is_cut_by_a_downloads_own_file(edge):
    blob = images.noise_blob(8 * MiB, "own file")
    offer(edge, blob, NAME)
    edge.upstream.on(f"/blobs/{blob.digest}", Fault(stall_after=4 * MiB))
    edge.disk.be(FILL_FAILS)
    first = raw.Download(edge.port, NAME, blob.digest, blob.data).start()
    wait_until(lambda: not first.thread.is_alive(), "its client is cut")
    assert first.right and not first.whole, first
    # The download goes on; who comes now does not get its file.
    crowd = [raw.Download(edge.port, NAME, blob.digest, blob.data).start() for _ in range(4)]
    edge.upstream.release()
    assert all(one.join(60).good for one in crowd), crowd
    edge.disk.be(0)

    def is_kept():
        assert raw.blob(edge.port, NAME, blob.digest).body == blob.data
        return is_held(edge, blob)

    wait_until(is_kept, "the first pull after the failed download is kept")


def test_a_passing_failure_to_read_a_download_back_is_not_noticed(edge):
    blob, small = images.noise_blob(6 * MiB, "passing"), images.noise_blob(3000, "small")
    offer(edge, blob, NAME)
    offer(edge, small, "library/small")
    wait_until(lambda: edge.metric("entrepot_held_blobs") >= 2, "the manifests are kept")
    for one, name in ((blob, NAME), (small, "library/small")):
        edge.disk.be(HASH_FAILS, 2)
        assert raw.blob(edge.port, name, one.digest).body == one.data
        wait_until(lambda: is_held(edge, one, name), "it is kept")
    assert not events(edge, "fill_unreadable")


def test_a_download_that_cannot_be_read_back_is_fetched_again_behind_its_clients(edge):
    blob = images.noise_blob(24 * MiB, "read back")
    offer(edge, blob, NAME)
    edge.upstream.on(f"/blobs/{blob.digest}", Fault(stall_after=10 * MiB))
    crowd = [raw.Download(edge.port, NAME, blob.digest, blob.data).start() for _ in range(4)]
    wait_until(lambda: min(one.got for one in crowd) >= 9 * MiB, "all clients are in mid-body")
    edge.disk.be(HASH_FAILS)
    edge.upstream.release()
    assert all(one.join(60).good for one in crowd), crowd
    (said,) = events(edge, "fill_unreadable")
    assert said["digest"] == blob.digest and int(said["from"]) >= 8 * MiB and "Input/output error" in said["why"], said
    said = edge.command("doctor", check=False)
    assert said.returncode == 1 and "reading a download" in said.stdout, said.stdout
    # A manifest is read back as a whole.
    offer(edge, images.noise_blob(3000, "its manifest"), "library/manifest")
    edge.disk.be(0)

    def is_kept():
        assert raw.blob(edge.port, NAME, blob.digest).body == blob.data
        return is_held(edge, blob)

    wait_until(is_kept, "it is kept when it comes again")


def test_a_download_that_does_not_reach_the_disk_is_not_kept_and_told(edge):
    blob = images.noise_blob(2 * MiB, "no sync")
    offer(edge, blob, NAME)
    wait_until(lambda: edge.metric("entrepot_held_blobs") >= 1, "the manifest has reached the disk")
    edge.disk.be(SYNC_FAILS, 1)
    assert raw.blob(edge.port, NAME, blob.digest).body == blob.data
    wait_until(lambda: events(edge, "commit_failed"), "it is not kept")
    wait_until(lambda: not edge.part_file(blob.digest).exists(), "what does not reach the disk is not gone on from")
    assert not edge.held(blob.digest)
    for command in ("doctor", "status"):
        said = edge.command(command, check=False)
        assert said.returncode == 1 and "Input/output error" in said.stdout, said.stdout
    assert raw.blob(edge.port, NAME, blob.digest).body == blob.data
    wait_until(lambda: is_held(edge, blob), "it is kept when it comes again")


def test_an_index_that_cannot_be_written_fails_no_pull_and_is_told(edge):
    held = hold(edge, MiB, "held")
    edge.disk.be(INDEX_FAILS)
    blob = images.noise_blob(MiB, "unindexed")
    offer(edge, blob, "library/unindexed")
    for _ in range(2):
        assert raw.blob(edge.port, "library/unindexed", blob.digest).body == blob.data
        assert raw.blob(edge.port, NAME, held.digest).body == held.data
    wait_until(lambda: events(edge, "index_write_failed"), "the log says so")
    # A tag that moves meanwhile is in memory alone, and is written when the disk takes it.
    moved = images.single_blob(images.noise_blob(1000, "moved"))
    edge.upstream.put("library/moved", moved, "v1")
    assert raw.manifest(edge.port, "library/moved", "v1").status == 200
    for command in ("doctor", "status"):
        said = edge.command(command, check=False)
        assert said.returncode == 1 and "writing the index" in said.stdout, said.stdout
    edge.disk.be(0)
    hold(edge, MiB, "better", "library/better")
    assert raw.blob(edge.port, "library/unindexed", blob.digest).body == blob.data
    wait_until(lambda: is_held(edge, blob, "library/unindexed"), "it is kept now")
    edge.restart()
    assert raw.blob(edge.port, NAME, held.digest).body == held.data
    with sqlite3.connect(f"file:{edge.data}/index.db?mode=ro", uri=True) as index:
        assert ("docker.io/library/moved", "v1") in index.execute("SELECT repo, tag FROM tags").fetchall()
