"""Manifests may claim wrong sizes and types for blobs of other repositories. A digest has one size and one type, whoever claims another."""

import json

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.faulty import Fault
from lab.images import Bytes, Image, Index

pytestmark = pytest.mark.sanitized

VICTIM = "library/victim"
EVIL = "ghcr.io/mallory/evil"


@pytest.fixture
def world(bench):
    """docker.io has the victim, ghcr.io is the stranger's."""
    good, bad = bench.faulty(), bench.faulty()
    made = bench.chain(("docker.io", good.url), ("ghcr.io", bad.url))
    made.good, made.bad = good, bad
    return made


def publish(world, doc, media_type):
    evil = Bytes(json.dumps(doc).encode(), media_type)
    world.bad.content["mallory/evil", evil.digest] = evil
    world.bad.tags["mallory/evil", "v1"] = evil.digest


def claim(world, blob, size, key):
    """An image or index of the stranger's that gives the blob another size."""
    child = {"mediaType": blob.media_type, "digest": blob.digest, "size": size}
    if key == "manifests":
        publish(world, {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [child]}, images.OCI_INDEX)
    else:
        config = world.bad.put_blob("mallory/evil", Bytes(b"{}", images.OCI_CONFIG))
        doc = {"schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": images.descriptor(config), "layers": [child]}
        publish(world, doc, images.OCI_MANIFEST)
    assert raw.manifest(world.edge.port, EVIL, "v1").status == 200


@pytest.mark.parametrize("size", [0, 11, 1 << 43])
def test_an_index_with_a_wrong_size_does_not_break_a_pull(world, size):
    victim = world.good.put(VICTIM, Index([images.small("victim")]), "v1")
    claim(world, victim.top, size, "manifests")
    for node in (world.edge, world.central):
        raw.pull(node.port, VICTIM, "v1")
        raw.pull(node.port, VICTIM, victim.digest)


@pytest.mark.parametrize("size", [0, 11, 9 << 40])
def test_a_manifest_with_a_wrong_layer_size_does_not_break_a_pull(world, size):
    victim = Image([images.noise(100_000, 5)], compress=False)
    layer = victim.layers[0]
    world.good.put_blob(VICTIM, layer)
    claim(world, layer, size, "layers")
    got = raw.blob(world.edge.port, VICTIM, layer.digest)
    assert got.status == 200 and got.whole and images.digest_of(got.body) == layer.digest


@pytest.mark.parametrize("size", [11, 9 << 40])
def test_no_client_gets_a_claimed_size(world, size):
    """However long the upstream is silent: the size in the head is its own."""
    layer = world.good.put_blob(VICTIM, Bytes(images.noise(100_000, 6), images.OCI_LAYER))
    claim(world, layer, size, "layers")
    world.good.on(f"/blobs/{layer.digest}", Fault(head_after=2.0))
    first = raw.Download(world.edge.port, VICTIM, layer.digest).start().join(30)
    assert first.good and first.size == layer.size, first


def test_ranges_far_behind_a_claimed_end_are_answered(world):
    """Pieces are fetched ahead for readers of far ranges: how many there are is not taken from a claim."""
    layer = world.good.put_blob(VICTIM, images.Sparse(300 * MiB))
    claim(world, layer, 40 * MiB, "layers")
    world.good.always(f"/blobs/{layer.digest}", Fault(head_after=0.8, rate=8 * MiB), method="GET")
    near = raw.Download(world.edge.port, VICTIM, layer.digest, first=30 * MiB, last=30 * MiB + 999).start()
    wait_until(lambda: near.status, "the first answer")
    far = raw.Download(world.edge.port, VICTIM, layer.digest, first=280 * MiB, last=280 * MiB + 999).start()
    for part, first in ((near, 30 * MiB), (far, 280 * MiB)):
        part.join()
        assert part.status == 206 and part.whole and part.sha256 == images.digest_of(layer.read(first, 1000)), part
    for node in (world.edge, world.central):
        assert node.ready()


def test_a_claimed_size_decides_no_range_even_if_the_source_sends_no_length(world):
    layer = world.good.put_blob(VICTIM, images.noise_blob(24 * MiB, "chunked"))
    claim(world, layer, 9 * MiB, "layers")
    world.good.always(f"/blobs/{layer.digest}", Fault(chunked=True, rate=12 * MiB), method="GET")
    whole = raw.Download(world.central.port, VICTIM, layer.digest, layer.data).start()
    wait_until(lambda: whole.status, "the head")
    for asked, part in (("0-999", layer.data[:1000]), (f"{12 * MiB}-{12 * MiB + 999}", layer.data[12 * MiB :][:1000]), ("-100", layer.data[-100:])):
        reply = raw.blob(world.central.port, VICTIM, layer.digest, Range=f"bytes={asked}")
        assert reply.status == 206 and reply.body == part, (asked, reply.status, reply.headers)
        assert reply.headers["content-range"].endswith(f"/{layer.size}")
    assert whole.join().good or not whole.whole
    assert raw.Download(world.edge.port, VICTIM, layer.digest, layer.data).start().join().good


def test_a_blob_without_a_length_is_streamed_through_both_tiers(world):
    """Central tells an edge no length that nobody has told it; the edge does not wait for the end to begin."""
    layer = world.good.put_blob(VICTIM, images.noise_blob(24 * MiB, "flows"))
    claim(world, layer, layer.size, "layers")
    world.good.always(f"/blobs/{layer.digest}", Fault(chunked=True, stall_after=16 * MiB), method="GET")
    whole = raw.Download(world.edge.port, VICTIM, layer.digest, layer.data).start()
    wait_until(lambda: whole.got >= 4 * MiB, "the client has the first bytes")
    world.good.release()
    assert whole.join().good, whole


@pytest.mark.parametrize("tier", ["edge", "central"])
def test_a_client_that_asks_for_all_by_a_range_is_answered_at_once(world, tier):
    """As containerd does: with no length from the source that is all of it, by 200."""
    layer = world.good.put_blob(VICTIM, images.noise_blob(24 * MiB, "all"))
    claim(world, layer, layer.size, "layers")
    world.good.always(f"/blobs/{layer.digest}", Fault(chunked=True, stall_after=16 * MiB), method="GET")
    with raw.Wire(getattr(world, tier).port) as wire:
        wire.ask("GET", f"/v2/{VICTIM}/blobs/{layer.digest}", {"Range": "bytes=0-"})
        status, headers = wire.head()
        world.good.release()
        body = []
        wire.body("GET", status, headers, body.append)
    assert status == 200 and b"".join(body) == layer.data


def test_an_edge_goes_on_from_its_part_file_though_the_source_tells_no_length(world):
    layer = world.good.put_blob(VICTIM, images.noise_blob(40 * MiB, "goes on"))
    claim(world, layer, layer.size, "layers")
    world.good.always(f"/blobs/{layer.digest}", Fault(chunked=True, rate=8 * MiB, stall_after=36 * MiB), method="GET")
    first = raw.Download(world.edge.port, VICTIM, layer.digest, layer.data).start()
    wait_until(lambda: first.got >= 4 * MiB, "some of it")
    world.edge.kill()
    first.join()
    kept = world.edge.part_file(layer.digest).stat().st_size
    world.edge.start()
    again = raw.Download(world.edge.port, VICTIM, layer.digest, layer.data).start()
    wait_until(lambda: again.got > kept + 4 * MiB, "more than was kept, before the source has ended")
    world.good.release()
    assert again.join().good, again


def typed_right(node, image, ref="v1"):
    reply = raw.manifest(node.port, VICTIM, ref)
    assert reply.status == 200 and reply.headers["content-type"] == image.manifest.media_type, reply.headers
    head = raw.manifest(node.port, VICTIM, ref, "HEAD")
    assert head.status == 200 and head.headers["content-type"] == image.manifest.media_type, head.headers


@pytest.mark.parametrize("where", ["docker.io/mallory/evil", EVIL])
def test_a_manifest_that_is_somebodys_layer_keeps_its_type(world, where):
    victim = world.good.put(VICTIM, images.small("victim"), "v1")
    upstream = world.bad if where == EVIL else world.good
    upstream.put("mallory/evil", Image([Bytes(victim.manifest.data)]), "v1")
    raw.pull(world.edge.port, where, "v1")
    for node in (world.edge, world.central):
        typed_right(node, victim)
        typed_right(node, victim, victim.digest)


def test_a_manifest_that_was_asked_for_as_a_blob_keeps_its_type(world):
    victim = world.good.put(VICTIM, images.small("victim"), "v1")
    world.good.put_blob(VICTIM, victim.manifest)
    assert raw.blob(world.edge.port, VICTIM, victim.digest).status == 200
    for node in (world.edge, world.central):
        typed_right(node, victim)


def test_a_manifest_that_another_registry_sends_with_an_odd_type_keeps_its_own(world):
    victim = world.good.put(VICTIM, images.small("victim"), "v1")
    world.bad.put("mallory/evil", images.small("victim"), "v1")
    world.bad.always("/manifests/", Fault(headers={"Content-Type": "text/html"}))
    assert raw.manifest(world.edge.port, EVIL, victim.digest).status == 200
    for node in (world.edge, world.central):
        typed_right(node, victim)
