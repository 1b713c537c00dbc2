"""Central's disk returns other bytes than were written. An edge's clients get right bytes or a cut body, the edge reports the mismatch, and
central fetches the damaged blob again."""

import json
import os

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.clients import file_digest

pytestmark = pytest.mark.sanitized

NAME = "library/rotten"
DOUBT = {"Entrepot-Doubt": "mismatch"}


@pytest.fixture
def chain(bench):
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url))
    made.upstream = up
    return made


def offer(chain, size, seed="rot"):
    """An image that central holds and the edge does not."""
    blob = images.noise_blob(size, seed)
    image = chain.upstream.put(NAME, images.single_blob(blob), "v1")
    raw.pull(chain.central.port, NAME, "v1")
    wait_until(lambda: chain.central.held(blob.digest), "central holds it")
    return blob, image


def rot(node, digest, at):
    """One bit of the file is another; its length and its time are not."""
    file = node.blob_file(digest)
    times = file.stat()
    os.chmod(file, 0o644)
    with open(file, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def right(node, digest):
    return node.held(digest) and file_digest(node.blob_file(digest)) == digest


def get(chain, blob):
    return raw.Download(chain.edge.port, NAME, blob.digest, blob.data).start().join(60)


def healed(chain, digest):
    wait_until(lambda: right(chain.central, digest), "central holds the right bytes")
    wait_until(lambda: right(chain.edge, digest), "so does the edge")
    wait_until(lambda: any(e["digest"] == digest for e in logged(chain.central, "blob_rotten")), "central says what was rotten")


def logged(node, event):
    return [e for e in node.log() if e.get("event") == event]


def found_by_a_piece(edge):
    return [e for e in edge.log() if "does not match the catalogue" in e.get("why", "")]


def test_a_damaged_layer_is_fetched_again_within_the_same_pull(chain):
    blob, _ = offer(chain, 3 * MiB)
    rot(chain.central, blob.digest, MiB)
    assert get(chain, blob).good
    healed(chain, blob.digest)
    assert chain.upstream.bytes_sent(blob.digest) == 2 * blob.size


@pytest.mark.parametrize("at", [0, 6 * MiB, 12 * MiB - 1], ids=["first", "middle", "last"])
def test_no_client_completes_a_large_layer_with_a_damaged_byte(chain, at):
    blob, _ = offer(chain, 12 * MiB)
    rot(chain.central, blob.digest, at)
    down = get(chain, blob)
    assert not down.whole or down.right, down
    wait_until(lambda: get(chain, blob).good, "a client that asks again gets it")
    healed(chain, blob.digest)
    # Pieces that have a proof are found out by it, long before the end; the client is cut before the log says so.
    if at < 8 * MiB:
        wait_until(lambda: found_by_a_piece(chain.edge), "the edge says which piece was wrong")
    else:
        assert not found_by_a_piece(chain.edge)


def test_many_clients_get_a_damaged_layer_by_one_more_download(chain):
    blob, _ = offer(chain, 3 * MiB)
    rot(chain.central, blob.digest, 2 * MiB)
    crowd = [raw.Download(chain.edge.port, NAME, blob.digest, blob.data).start() for _ in range(20)]
    assert all(d.join(60).good for d in crowd)
    healed(chain, blob.digest)
    assert chain.upstream.bytes_sent(blob.digest) == 2 * blob.size


def test_a_damaged_manifest_is_fetched_again(chain):
    _, image = offer(chain, MiB)
    chain.central.stop()
    rot(chain.central, image.digest, 20)
    chain.central.start()
    wait_until(lambda: raw.manifest(chain.edge.port, NAME, image.digest).status == 200, "the manifest", 60, 0.1)
    healed(chain, image.digest)
    raw.pull(chain.edge.port, NAME, "v1")


def test_without_its_upstream_a_damaged_layer_is_refused_and_the_log_says_why(chain):
    blob, _ = offer(chain, 3 * MiB)
    chain.upstream.stop()
    rot(chain.central, blob.digest, MiB)
    # A head may have gone out before anything was known to be wrong: then the answer is cut.
    reply = raw.blob(chain.edge.port, NAME, blob.digest)
    assert reply.status == 502 or not reply.whole, reply
    wait_until(lambda: any("docker.io" in e["why"] for e in logged(chain.edge, "fill_failed")), "the edge says which upstream")
    assert not chain.central.held(blob.digest), "what is wrong is not served to anybody else"


def test_doubts_about_right_bytes_change_nothing(chain):
    blob, _ = offer(chain, 3 * MiB)
    asked = len(chain.upstream.requests(blob.digest, "GET"))
    said = {**DOUBT, "Entrepot-Settings": raw.settings(chain.central.fleet)}
    for port in (chain.central.fleet, chain.central.port):
        for _ in range(20):
            assert raw.ask(port, f"/v2/{NAME}/blobs/{blob.digest}", headers=said).body == blob.data
    assert right(chain.central, blob.digest)
    assert len(chain.upstream.requests(blob.digest, "GET")) == asked
    wait_until(lambda: logged(chain.central, "doubt_unfounded"), "central says that the bytes are right")


def test_a_client_cannot_have_a_blob_read_again(chain):
    blob, _ = offer(chain, 3 * MiB)
    raw.ask(chain.central.port, f"/v2/{NAME}/blobs/{blob.digest}", headers=DOUBT)
    raw.ask(chain.edge.port, f"/v2/{NAME}/blobs/{blob.digest}", headers=DOUBT)
    raw.ask(chain.edge.port, f"/v2/{NAME}/blobs/{blob.digest}", headers=DOUBT)
    for node in (chain.central, chain.edge):
        assert not [e for e in node.log() if "doubt" in e.get("event", "")]


def test_a_pull_of_a_blob_damaged_on_the_edges_disk_says_how_to_repair_it(chain):
    blob, _ = offer(chain, 3 * MiB)
    raw.pull(chain.edge.port, NAME, "v1")
    wait_until(lambda: chain.edge.held(blob.digest), "the edge holds it")
    rot(chain.edge, blob.digest, MiB)
    failed = chain.edge.command("pull", f"{NAME}:v1", check=False)
    assert failed.returncode == 1 and f"blob {blob.digest} came with other bytes" in failed.stderr, failed
    assert "has rotted on this node's disk" in failed.stderr and "entrepot-edge verify" in failed.stderr, failed
    chain.edge.command("verify", check=False)
    assert chain.edge.command("pull", f"{NAME}:v1").returncode == 0
    wait_until(lambda: right(chain.edge, blob.digest), "the edge holds the right bytes")


def test_rot_and_quarantine_are_told_by_status_doctor_and_readyz(chain):
    check = lambda: next(c for c in json.loads(chain.central.command("doctor", "--json", check=False).stdout)["checks"] if c["check"] == "rot")  # noqa: E731
    readyz = lambda: raw.ask(chain.central.admin, "/readyz")  # noqa: E731
    blob, _ = offer(chain, MiB)
    assert check()["result"] == "ok" and "quarantine" not in chain.central.command("status").stdout
    assert (readyz().json()["rotten"], readyz().json()["quarantined"]) == (0, 0)
    rot(chain.central, blob.digest, 1000)
    assert chain.central.command("verify", check=False).returncode == 1
    said = chain.central.command("status").stdout
    assert "1 blob had wrong bytes" in said and "1, 1.0 MiB, is in quarantine" in said, said
    told = check()
    assert told["result"] == "warn" and str(chain.central.data / "quarantine") in told["message"] and "dmesg" in told["what_to_do"], told
    assert readyz().status == 200 and (readyz().json()["rotten"], readyz().json()["quarantined"]) == (1, 1)
    # What a restart forgets the folder still tells; what people take out of it is gone.
    chain.central.restart()
    assert check()["result"] == "warn"
    for file in (chain.central.data / "quarantine").iterdir():
        file.unlink()
    assert check()["result"] == "ok"


def test_an_edge_without_settings_says_so_everywhere(bench):
    edge = bench.edge(1, start=False).start_not_ready()
    missing = "this edge has no settings from central yet"
    ready = raw.ask(edge.admin, "/readyz")
    assert ready.status == 503 and missing in ready.body.decode()
    assert missing in edge.command("status").stdout
    told = next(c for c in json.loads(edge.command("doctor", "--json", check=False).stdout)["checks"] if c["check"] == "daemon")
    assert told["result"] == "FAIL" and missing in told["message"], told
