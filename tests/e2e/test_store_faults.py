"""The edge's disk is full, damaged or lost. Clients notice nothing, and no wrong byte is served."""

import contextlib
import itertools
import json
import os
import resource
import sqlite3

import pytest

from lab import images, raw
from lab.base import MiB, run, wait_until
from lab.faulty import Fault

pytestmark = pytest.mark.sanitized

NAME = "library/app"


@pytest.fixture
def chain(bench):
    up = bench.faulty()
    core = bench.central(("docker.io", up.url))
    bench.upstream, bench.core = up, core
    return bench


def blob_of(chain, size, seed, name=NAME):
    """A blob that the upstream has, and its image, whose manifest is asked for so that the edge knows the size."""
    blob = images.noise_blob(size, seed)
    chain.upstream.put(name, images.single_blob(blob), "v1")
    return blob


def fetch(edge, blob, name=NAME):
    assert raw.manifest(edge.port, name, "v1").status == 200
    down = raw.Download(edge.port, name, blob.digest, blob.data).start().join(90)
    assert down.good, down
    return down


class Disk:
    """A tiny file system of its own."""

    def __init__(self, folder, size_mib, inodes=0):
        self.folder = folder
        folder.mkdir(parents=True)
        few = f",nr_inodes={inodes}" if inodes else ""
        run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m{few}", "entrepot-lab", folder)

    def fill(self):
        """To the last block."""
        with open(self.folder / "others", "wb", buffering=0) as f:
            for size in (65536, 4096):
                with contextlib.suppress(OSError):
                    while f.write(b"x" * size) == size:
                        pass

    def stop(self):
        run("umount", "-l", self.folder)


def test_a_blob_larger_than_the_disk_is_passed_through(chain):
    disk = chain.add(Disk(chain.place("disk"), 48))
    edge = chain.edge(chain.core.fleet, {"data": disk.folder / "data", "store.min_free": "0"})
    edge.data = disk.folder / "data"
    small = blob_of(chain, MiB, "small", "library/small")
    fetch(edge, small, "library/small")
    big = blob_of(chain, 100 * MiB, "big")
    fetch(edge, big)
    assert edge.metric("entrepot_fills_passed_through_total") >= 1
    assert not edge.held(big.digest)
    other = blob_of(chain, 2 * MiB, "other", "library/other")
    fetch(edge, other, "library/other")
    wait_until(lambda: edge.held(other.digest), "what fits is kept again")
    fetch(edge, small, "library/small")


def test_a_disk_filled_by_others_fails_no_pull(chain):
    disk = chain.add(Disk(chain.place("disk"), 32))
    edge = chain.edge(chain.core.fleet, {"data": disk.folder / "data", "store.min_free": "0"})
    disk.fill()
    for i in range(3):
        blob = blob_of(chain, 3 * MiB, f"full {i}", f"library/full{i}")
        fetch(edge, blob, f"library/full{i}")
    (disk.folder / "others").unlink()
    blob = blob_of(chain, MiB, "after", "library/after")
    fetch(edge, blob, "library/after")


def test_a_disk_without_inodes_evicts_and_keeps_what_is_pulled(chain):
    disk = chain.add(Disk(chain.place("disk"), 64, inodes=160))
    edge = chain.edge(chain.core.fleet, {"data": disk.folder / "data", "store.min_free": "0"})
    edge.data = disk.folder / "data"
    for i in range(80):
        blob = blob_of(chain, 3000, f"inode {i}", f"library/inode{i}")
        fetch(edge, blob, f"library/inode{i}")
    assert edge.metric("entrepot_evictions_total") > 0
    assert edge.metric("entrepot_fills_passed_through_total") == 0
    wait_until(lambda: edge.held(blob.digest), "the last is kept")
    for i in itertools.count():  # others take what is left
        try:
            (disk.folder / f"other-{i}").touch()
        except OSError:
            break
    blob = blob_of(chain, 2 * MiB, "after", "library/after")
    fetch(edge, blob, "library/after")
    wait_until(lambda: edge.held(blob.digest), "room was made for its file and its folder")
    wait_until(lambda: "inodes" not in edge.command("doctor", check=False).stdout, "room was made for the next")


def test_what_is_told_of_the_disk_is_what_the_disk_gives(chain):
    edge = chain.edge(chain.core.fleet)
    for i in range(40):
        fetch(edge, blob_of(chain, 200, f"tiny {i}", f"library/tiny{i}"), f"library/tiny{i}")
    wait_until(lambda: not edge.json("df")["parts"], "all are held")

    def on_disk(*below):
        return sum(f.stat().st_blocks * 512 for name in below for f in edge.data.glob(name) if f.is_file())

    df = edge.json("df")
    assert df["on_disk"] == on_disk("blobs/*/*/*") >= 40 * 4096 > df["bytes"]
    index = on_disk("index.db*")
    assert index <= df["index_on_disk"] <= index + 2 * MiB
    assert df["used_on_disk"] == df["on_disk"] + df["index_on_disk"]
    assert edge.metric("entrepot_store_disk_bytes") >= df["on_disk"]
    assert "ON DISK" in edge.command("df").stdout and "on disk" in edge.command("status").stdout
    said = edge.json("prune", "--all")
    assert said["freed"] == df["on_disk"] - said["store"]["on_disk"] > 0


def test_a_file_size_limit_fails_larger_blobs_and_ends_no_node(chain):
    edge = chain.edge(chain.core.fleet)
    resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE, (2 * MiB, 2 * MiB))
    large, small = blob_of(chain, 8 * MiB, "large", "library/large"), blob_of(chain, MiB, "small")
    assert raw.manifest(edge.port, "library/large", "v1").status == 200
    down = raw.Download(edge.port, "library/large", large.digest, large.data).start().join(90)
    assert down.right and not down.good, down
    wait_until(lambda: "File too large" in edge.process.text(), "the log says why")
    fetch(edge, small)
    wait_until(lambda: edge.held(small.digest), "what fits is kept")


def node_on_a_disk(bench, tier, size_mib):
    """A disk and the node of that tier on it, in a chain with the bench's upstream."""
    disk = bench.add(Disk(bench.place("disk"), size_mib))
    on_it = {"data": disk.folder / "data", "store.min_free": "0"}
    bench.upstream = bench.faulty()
    core = bench.central(("docker.io", bench.upstream.url), settings=on_it if tier == "central" else None)
    node = core if tier == "central" else bench.edge(core.fleet, on_it)
    node.data = disk.folder / "data"
    return disk, node


@pytest.mark.parametrize("tier", ["edge", "central"])
def test_a_node_starts_on_a_full_disk_and_makes_room(bench, tier):
    disk, node = node_on_a_disk(bench, tier, 64)
    blobs = [blob_of(bench, 3 * MiB, f"start {i}", f"library/start{i}") for i in range(8)]
    for i, blob in enumerate(blobs):
        fetch(node, blob, f"library/start{i}")
    wait_until(lambda: all(node.held(b.digest) for b in blobs), "all are held")
    node.stop()
    disk.fill()
    node.start()
    fresh = blob_of(bench, 2 * MiB, "fresh", "library/fresh")
    fetch(node, fresh, "library/fresh")
    wait_until(lambda: 0 < sum(node.held(b.digest) for b in blobs) < 8, "some have gone")
    fresh = blob_of(bench, 2 * MiB, "next", "library/next")
    fetch(node, fresh, "library/next")
    wait_until(lambda: node.held(fresh.digest), "what comes is kept again")
    for i, blob in enumerate(blobs):
        fetch(node, blob, f"library/start{i}")


@pytest.mark.parametrize("tier", ["edge", "central"])
def test_a_node_that_can_make_no_room_on_a_full_disk_starts_and_passes_through(bench, tier):
    disk, node = node_on_a_disk(bench, tier, 32)
    hosted = images.small("hosted")
    if tier == "central":
        layout = bench.place("layout")
        images.write_layout(hosted, layout)
        node.command("load", layout, "sample/hosted:v1")
    few = blob_of(bench, 50_000, "few", "library/few")
    fetch(node, few, "library/few")
    wait_until(lambda: node.held(few.digest), "it is held")
    for i in range(2):
        node.stop()
        if i == 0:
            disk.fill()
        node.start()
        fetch(node, few, "library/few")
        other = blob_of(bench, 3 * MiB, f"other {i}", f"library/other{i}")
        fetch(node, other, f"library/other{i}")
        if tier == "central":
            assert set(raw.pull(node.port, "sample/hosted", "v1")) == set(hosted.blobs()) | set(hosted.manifests())
    (disk.folder / "others").unlink()
    fetch(node, other, "library/other1")
    wait_until(lambda: node.held(other.digest), "what comes is kept again")


def test_what_a_crowd_pulled_survives_a_scan_and_what_one_client_pulled_in_parts_does_not(chain):
    edge = chain.edge(chain.core.fleet, {"store.limit": "30MiB"})
    crowd = blob_of(chain, 3 * MiB, "crowd", "library/crowd")
    parts = blob_of(chain, 3 * MiB, "parts", "library/parts")
    for blob, name in ((crowd, "library/crowd"), (parts, "library/parts")):
        chain.upstream.on(f"/blobs/{blob.digest}", Fault(stall_after=MiB))
        assert raw.manifest(edge.port, name, "v1").status == 200
    joined = edge.json("status")["pulls"]["joined"]
    downs = [raw.Download(edge.port, "library/crowd", crowd.digest, crowd.data).start() for _ in range(5)]
    downs += raw.ranges(edge.port, "library/parts", parts.digest, parts.size, parts.data, 6)
    wait_until(lambda: edge.json("status")["pulls"]["joined"] >= joined + 9, "all but two have joined")
    chain.upstream.release()
    assert all(d.join(60).good for d in downs)
    wait_until(lambda: edge.held(crowd.digest) and edge.held(parts.digest), "both are held")
    for i in range(20):
        fetch(edge, blob_of(chain, 3 * MiB, f"scan {i}", f"library/scan{i}"), f"library/scan{i}")
    wait_until(lambda: not edge.held(parts.digest), "the scan has pushed out what one client had")
    assert edge.held(crowd.digest)


def used(edge):
    return sum(f.stat().st_size for f in (edge.data / "blobs").rglob("*") if f.is_file())


def test_the_store_limit_is_respected_while_all_pulls_succeed(chain):
    limit = 20 * MiB
    edge = chain.edge(chain.core.fleet, {"store.limit": "20MiB"})
    for i in range(12):
        blob = blob_of(chain, 5 * MiB, f"limit {i}", f"library/limit{i}")
        fetch(edge, blob, f"library/limit{i}")
        wait_until(lambda: edge.metric("entrepot_held_bytes") <= limit, "below the limit")
        wait_until(lambda: used(edge) <= limit + 6 * MiB, lambda: f"files below the limit: {used(edge)}")
    assert edge.metric("entrepot_evictions_total") >= 8
    # Tags of evicted manifests stay known and their content comes again.
    fetch(edge, images.noise_blob(5 * MiB, "limit 0"), "library/limit0")


def test_an_image_that_is_larger_than_the_store_is_pulled_whole(chain):
    """Each of its parts fits. What does not fit beside them goes, and nothing is refused or served short."""
    edge = chain.edge(chain.core.fleet, {"store.limit": "8MiB"})
    other = blob_of(chain, MiB, "beside", "library/beside")
    fetch(edge, other, "library/beside")
    layers = [images.noise_blob(3 * MiB, f"part {i}") for i in range(4)]
    parts = [images.single_blob(layer) for layer in layers]
    chain.upstream.put("library/whole", images.Index(parts), "v1")
    for _ in range(2):  # the second time parts of it come again
        raw.pull(edge.port, "library/whole", "v1")
        wait_until(lambda: edge.metric("entrepot_held_bytes") <= 8 * MiB, "below the limit", 10)
        wait_until(lambda: used(edge) <= 8 * MiB, lambda: f"files below the limit: {used(edge)}", 10)
    assert edge.metric("entrepot_held_bytes") >= 3 * MiB
    fetch(edge, other, "library/beside")
    assert not [e for e in edge.log() if e.get("event") == "blob_not_kept"]


def damage(edge, blob, how):
    file = edge.blob_file(blob.digest)
    data = how(blob.data)
    os.chmod(file, 0o644)
    file.write_bytes(data)


def flip(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def test_verify_finds_a_corrupted_blob_and_it_is_fetched_again(chain):
    edge = chain.edge(chain.core.fleet)
    blob = blob_of(chain, 5 * MiB, "corrupt")
    fetch(edge, blob)
    wait_until(lambda: edge.held(blob.digest), "held")
    damage(edge, blob, flip)
    done = edge.command("verify", "--json", check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["bad"] == 1, (done.stdout, done.stderr)
    assert blob.digest in done.stdout + done.stderr + edge.process.text(), "which blob it is stands nowhere"
    df = edge.json("df")
    assert (df["quarantined"], df["quarantine_bytes"]) == (1, blob.size)
    assert "quarantine" in edge.command("df").stdout
    fetch(edge, blob)
    wait_until(lambda: edge.held(blob.digest), "held again")
    assert edge.command("verify", check=False).returncode == 0


@pytest.mark.parametrize("how", [lambda d: b"", lambda d: d[:1000], lambda d: d + b"x"], ids=["empty", "short", "long"])
def test_a_blob_file_of_another_length_is_never_served_after_a_restart(chain, how):
    edge = chain.edge(chain.core.fleet)
    blob = blob_of(chain, 2 * MiB, "length")
    fetch(edge, blob)
    wait_until(lambda: edge.held(blob.digest), "held")
    edge.stop()
    damage(edge, blob, how)
    edge.start()
    fetch(edge, blob)


@pytest.mark.parametrize("what", ["garbage", "empty", "gone", "a folder", "header only"])
def test_a_damaged_index_is_rebuilt_and_held_content_served(chain, what):
    edge = chain.edge(chain.core.fleet)
    blob = blob_of(chain, MiB, "index")
    fetch(edge, blob)
    wait_until(lambda: edge.held(blob.digest), "held")
    edge.stop()
    index = edge.data / "index.db"
    good = index.read_bytes()
    for file in edge.data.glob("index.db*"):
        file.unlink()
    if what == "garbage":
        index.write_bytes(images.noise(100_000, "index"))
    elif what == "empty":
        index.write_bytes(b"")
    elif what == "a folder":
        index.mkdir()
    elif what == "header only":
        index.write_bytes(good[:4096] + images.noise(max(0, len(good) - 4096), "pages"))
    if what == "a folder":
        edge.spawn()
        wait_until(lambda: not edge.running() or edge.ready(), "a decision")
        if not edge.running():
            assert "index.db" in edge.process.text()
            return
    else:
        edge.start()
    sent = chain.upstream.bytes_sent(blob.digest)
    fetch(edge, blob)
    assert chain.upstream.bytes_sent(blob.digest) == sent, "the blob's file was there all the time"


PAGE = 4096


def load(bench, central, image, name):
    layout = bench.place("layout")
    images.write_layout(image, layout)
    central.command("load", layout, name)


def damage_index(central, how):
    """What has befallen the index of a stopped node; how: one page's number, or a word."""
    index = central.data / "index.db"
    with contextlib.closing(sqlite3.connect(index)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for side in ("index.db-wal", "index.db-shm"):
        (central.data / side).unlink(missing_ok=True)
    good = index.read_bytes()
    if how == "gone":
        index.unlink()
    elif how == "cut":
        index.write_bytes(good[: len(good) // PAGE // 2 * PAGE])
    elif how == "head":
        index.write_bytes(b"\0" * 16 + good[16:])
    elif how == "rebuilt":
        index.write_bytes(b"\0" * 16 + good[16:])
        assert "hosted.db" in central.command("verify", "--rebuild").stdout
    else:
        with contextlib.closing(sqlite3.connect(index)) as db:
            (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (how,)).fetchone()
        index.write_bytes(good[: (root - 1) * PAGE] + images.noise(PAGE, how) + good[root * PAGE :])


@pytest.mark.parametrize("how", ["blobs", "tags", "children", "head", "cut", "gone", "rebuilt", "gone after the catalogue"])
def test_hosted_images_outlive_their_index(bench, how):
    up = bench.faulty()
    central = bench.central(("docker.io", up.url))
    hosted = {"sample/one": images.small("one"), "sample/deep/two": images.multi_platform("two")}
    for name, image in hosted.items():
        load(bench, central, image, f"{name}:v1")
    mirrored = images.noise_blob(MiB, "mirrored")
    up.put(NAME, images.single_blob(mirrored), "v1")
    raw.pull(central.port, NAME, "v1")
    central.stop()
    if how == "gone after the catalogue":
        for file in central.data.glob("catalog.db*"):
            file.unlink()
        central.start()
        wait_until(lambda: "catalog_relearned" in central.process.text(), "the catalogue is made from the store")
        central.stop()
    damage_index(central, how.split()[0])
    central.start()
    edge = bench.edge(central.fleet)
    for node in (central, edge):
        for name, image in hosted.items():
            assert set(raw.pull(node.port, name, "v1")) == set(image.blobs()) | set(image.manifests())
    wait_until(lambda: central.held(mirrored.digest) and central.metric("entrepot_held_blobs") > 6, "all is adopted")
    central.command("prune", "--all")
    assert not central.held(mirrored.digest)
    central.restart()
    central.command("prune", "--all")
    for name, image in hosted.items():
        assert set(raw.pull(central.port, name, "v1")) == set(image.blobs()) | set(image.manifests())
        tags = central.json("ls", name)["tags"]
        assert [(t["tag"], t["complete"]) for t in tags] == [("v1", True)], tags


def test_central_reports_when_hosted_images_may_be_lost(bench):
    central = bench.central(("docker.io", "http://127.0.0.1:1"))
    image = images.small("maybe")
    load(bench, central, image, "sample/maybe:v1")
    central.stop()
    damage_index(central, "gone")
    lost = next(iter(image.blobs()))
    central.blob_file(lost).unlink()
    central.start()
    assert "hosted_to_be_restored" in central.process.text()
    assert lost in central.command("doctor", check=False).stdout
    central.stop()
    damage_index(central, "gone")
    for file in [*central.data.glob("catalog.db*"), *central.data.glob("hosted.db*")]:
        file.unlink()
    central.start()
    assert "hosted_doubtful" in central.process.text()
    assert "may lack images" in central.command("doctor", check=False).stdout


def test_an_index_rebuilt_from_the_folder_alone_says_what_is_asked_for_again(chain):
    edge = chain.edge(chain.core.fleet)
    blob = blob_of(chain, MiB, "rebuild")
    fetch(edge, blob)
    wait_until(lambda: edge.held(blob.digest), "held")
    edge.stop()
    for file in edge.data.glob("index.db*"):
        file.unlink()
    done = edge.command("verify", "--rebuild")
    assert "index rebuilt" in done.stdout and "tags" in done.stdout and "asked for again" in done.stdout
    edge.start()
    sent = chain.upstream.bytes_sent(blob.digest)
    fetch(edge, blob)
    assert chain.upstream.bytes_sent(blob.digest) == sent


def test_unexpected_files_in_the_data_folder_do_not_prevent_a_start(chain):
    edge = chain.edge(chain.core.fleet)
    blob = blob_of(chain, MiB, "odd")
    fetch(edge, blob)
    edge.stop()
    folder = edge.data / "blobs" / "sha256" / "ab"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "not-a-digest").write_text("x")
    (folder / ("ab" + "0" * 62)).write_text("not what the name says")
    (edge.data / "fills").mkdir(exist_ok=True)
    (edge.data / "fills" / "nonsense.part").write_text("x")
    (edge.data / "fills" / f"sha256-{'1' * 64}.part").write_bytes(b"y" * 5000)
    edge.start()
    fetch(edge, blob)
    wrong = raw.blob(edge.port, NAME, "sha256:ab" + "0" * 62)
    # A file's name is believed until it is verified; but what is wrong must be found.
    assert wrong.status in (200, 404, 502)
    assert edge.command("verify", check=False).returncode == 1


def test_a_part_file_with_wrong_bytes_is_not_served(chain):
    edge = chain.edge(chain.core.fleet)
    blob = blob_of(chain, 6 * MiB, "part")
    edge.stop()
    fills = edge.data / "fills"
    fills.mkdir(parents=True, exist_ok=True)
    edge.part_file(blob.digest).write_bytes(flip(blob.data[: 5 * MiB]))
    edge.start()
    assert raw.manifest(edge.port, NAME, "v1").status == 200
    down = raw.Download(edge.port, NAME, blob.digest, blob.data).start().join(60)
    assert not down.whole or down.good, down
    if not down.good:
        fetch(edge, blob)


# --- what does not fit, whose the folder is, what could not be done ---


@pytest.mark.parametrize("others", [5, 0])
def test_a_blob_larger_than_the_limit_evicts_nothing_and_is_named(chain, others):
    edge = chain.edge(chain.core.fleet, {"store.limit": "40MiB"})
    small = [blob_of(chain, 4 * MiB, f"stays {i}", f"library/stays{i}") for i in range(others)]
    for i, blob in enumerate(small):
        fetch(edge, blob, f"library/stays{i}")
    wait_until(lambda: all(edge.held(b.digest) for b in small), "all are held")
    big = blob_of(chain, 60 * MiB, "too big")
    fetch(edge, big)
    assert all(edge.held(b.digest) for b in small)
    assert edge.metric("entrepot_evictions_total") == 0
    said = [e for e in edge.log() if e.get("event") == "blob_not_kept"]
    assert said and said[0]["digest"] == big.digest, edge.process.tail()
    assert (said[0]["size"], said[0]["limit"]) == (str(60 * MiB), str(40 * MiB))


@contextlib.contextmanager
def as_another_user(node):
    """All of the node's folder is another user's, as the service's is for root."""
    for folder in (node.data.parent, node.data.parent.parent):
        folder.chmod(0o755)  # that user passes
    run("chown", "-R", "65534:65534", node.data)
    yield
    run("chown", "-R", f"{os.getuid()}:{os.getgid()}", node.data)


@pytest.mark.skipif(os.getuid() != 0, reason="the folder is given to another user")
def test_root_does_not_start_in_another_users_folder_and_its_commands_leave_nothing_there(chain):
    edge = chain.edge(chain.core.fleet)
    blob = blob_of(chain, MiB, "theirs")
    fetch(edge, blob)
    wait_until(lambda: edge.held(blob.digest), "it is held")
    edge.stop()
    with as_another_user(edge):
        edge.spawn()
        wait_until(lambda: not edge.process.running(), "it refuses")
        assert "belongs to user 65534, and this runs as user 0" in edge.process.text()
        for words in (["verify"], ["ls"], ["df"], ["verify", "--rebuild"], ["prune", "--all"]):
            edge.command(*words)
        owners = {path: path.stat().st_uid for path in [edge.data, *edge.data.rglob("*")]}
        assert set(owners.values()) == {65534}, owners
    edge.start()


@pytest.mark.skipif(os.getuid() != 0, reason="the folder is given to another user")
def test_doctor_sees_what_root_has_left_in_the_services_folder(chain):
    edge = chain.edge(chain.core.fleet)
    blob = blob_of(chain, MiB, "left")
    fetch(edge, blob)
    wait_until(lambda: edge.held(blob.digest), "it is held")
    edge.stop()
    with as_another_user(edge):
        os.chown(edge.blob_file(blob.digest).parent, 0, 0)
        said = edge.command("doctor", check=False)
        line = next(x for x in said.stdout.splitlines() if "data folder" in x)
        assert line.startswith("FAIL") and "cannot write blobs/sha256/" in line, said.stdout
    edge.start()


def test_files_that_could_not_be_moved_or_removed_are_not_reported_as_such(chain):
    edge = chain.edge(chain.core.fleet)
    rotten, stuck = blob_of(chain, MiB, "rotten", "library/rotten"), blob_of(chain, MiB, "stuck", "library/stuck")
    for blob, name in ((rotten, "library/rotten"), (stuck, "library/stuck")):
        fetch(edge, blob, name)
        wait_until(lambda b=blob: edge.held(b.digest), "it is held")
    (edge.data / "quarantine").write_text("in the way")
    os.chmod(edge.blob_file(rotten.digest), 0o600)
    with open(edge.blob_file(rotten.digest), "r+b") as f:
        f.write(b"!")
    said = edge.command("verify", check=False)
    assert said.returncode == 1 and "1 could not be moved" in said.stderr and "1 moved" not in said.stderr, said
    assert edge.command("status", check=False).returncode == 1
    said = edge.command("doctor", check=False)
    assert said.returncode == 1 and "moving a blob to quarantine" in said.stdout
    edge.blob_file(stuck.digest).unlink()
    edge.blob_file(stuck.digest).mkdir()
    said = edge.command("prune", "--all", check=False)
    assert said.returncode == 1 and "could not be removed" in said.stderr, said
    assert edge.json("df")["bytes"] >= MiB
    edge.blob_file(stuck.digest).rmdir()
