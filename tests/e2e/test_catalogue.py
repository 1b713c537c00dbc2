"""Central's catalogue, asked as an edge asks it: `POST /fleet/v1/lookup` in protobuf, written and read here by hand."""

import pytest

from lab import images, raw
from lab.base import wait_until

NAME = "library/app"
KNOWN, NOT_FOUND, INVALID = 1, 2, 6


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def part(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def fields(data):
    """{field: [values]}: numbers, or bytes."""
    found, at = {}, 0

    def read():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(data):
        key = read()
        value = read()
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        found.setdefault(key >> 3, []).append(value)
    return found


def by_digest(digest, proofs=False):
    alg, hexes = digest.split(":")
    of = number(1, {"sha256": 1, "sha512": 2}[alg]) + part(2, bytes.fromhex(hexes))
    return part(2, part(1, of) + (number(3, 1) if proofs else b""))


def by_tag(tag):
    return part(1, part(1, part(1, "docker.io") + part(2, NAME)) + part(2, tag))


def lookup(central, *queries, version=1, settings=None):
    settings = raw.settings(central.fleet) if settings is None else settings
    body = number(1, version) + number(3, int(settings, 16)) + b"".join(part(4, q) for q in queries)
    with raw.Wire(central.fleet) as wire:
        wire.ask("POST", "/fleet/v1/lookup", {"Content-Type": "application/x-protobuf", "Content-Length": len(body)})
        wire.send(body)
        reply = wire.reply()
    if reply.status != 200:
        return reply
    answers = [fields(a) for a in fields(reply.body)[2]]
    assert len(answers) == len(queries)
    return answers


def of_blob(answer):
    """(size, held)"""
    blob = fields(answer[4][0])
    return blob.get(2, [0])[0], blob.get(3, [0])[0] == 1


def test_queries_under_other_settings_are_refused_and_the_settings_are_sent_without_one(stocked):
    ours = raw.settings(stocked.fleet)
    for settings, words in (("0", "upgrade"), ("1234", "other settings")):
        for query in (by_tag("v1"), by_digest(stocked.layer.digest)):
            reply = lookup(stocked, query, settings=settings)
            assert reply.status == 409 and reply.headers["entrepot-settings"] == ours, reply
            assert words in reply.body.decode()
    with raw.Wire(stocked.fleet) as wire:
        wire.ask("POST", "/fleet/v1/lookup", {"Content-Type": "application/x-protobuf", "Content-Length": 2})
        wire.send(number(1, 1))
        (settings,) = fields(wire.reply().body)[3]
    assert f"{fields(settings)[1][0]:016x}" == ours


@pytest.fixture
def stocked(bench):
    """A central that has pulled an image of a layer of three pieces."""
    up = bench.faulty()
    central = bench.central(("docker.io", up.url))
    central.layer = images.noise_blob(9 << 20, "layer")
    central.image = up.put(NAME, images.single_blob(central.layer), "v1")
    raw.pull(central.port, NAME, "v1")
    central.upstream = up
    wait_until(lambda: all(known(central, d) for d in digests(central)), "the catalogue knows all of it")
    return central


def digests(central):
    return [*central.image.blobs(), *central.image.manifests()]


def known(central, digest):
    (answer,) = lookup(central, by_digest(digest))
    return answer.get(1) == [KNOWN] and of_blob(answer)[1]


def test_a_lookup_answers_with_sizes_proofs_children_and_tags(stocked):
    blobs = {**stocked.image.blobs(), **stocked.image.manifests()}
    answers = lookup(stocked, *[by_digest(d) for d in blobs])
    assert [of_blob(a) for a in answers] == [(b.size, True) for b in blobs.values()]
    (layer,) = lookup(stocked, by_digest(stocked.layer.digest, proofs=True))
    assert len(layer[7][0]) == 2 * 32  # at the ends of all pieces but the last
    (tag,) = lookup(stocked, by_tag("v1"))
    assert fields(fields(tag[6][0])[3][0])[2][0].hex() == stocked.image.digest.split(":")[1]
    children = {fields(fields(c)[1][0])[2][0].hex() for c in fields(tag[5][0])[4]}
    assert children == {d.split(":")[1] for d in stocked.image.blobs()}


def test_status_says_how_large_the_catalogue_is(stocked):
    told = stocked.json("status")
    assert told["catalogue"]["sequence"] > 0 and 0 < told["catalogue"]["bytes"] <= told["catalogue"]["limit"]
    assert not {"sequence", "bytes", "limit"} & set(told)


def test_at_most_a_thousand_queries_are_answered_in_order(stocked):
    unknown = [f"sha256:{i:064x}" for i in range(999)]
    answers = lookup(stocked, *[by_digest(d) for d in unknown], by_digest(stocked.layer.digest))
    assert [a[1] for a in answers] == [[NOT_FOUND]] * 999 + [[KNOWN]]
    assert lookup(stocked, *[by_digest(d) for d in unknown], by_tag("v1"), by_tag("v1")).status == 413


def test_one_bad_query_leaves_the_others_answered(stocked):
    odd = [part(2, part(1, number(1, 9) + part(2, b"x"))), part(15, b"of a later day"), part(1, part(2, "../../etc"))]
    answers = lookup(stocked, *odd, by_digest(stocked.layer.digest))
    assert [a[1] for a in answers] == [[INVALID]] * 3 + [[KNOWN]]
    assert lookup(stocked, by_digest(stocked.layer.digest), version=99).status == 400


def test_held_content_is_known_again_after_the_catalogue_was_lost(stocked):
    stocked.stop()
    for file in stocked.data.glob("catalog.db*"):
        file.unlink()
    stocked.start()
    asked = len(stocked.upstream.seen)
    wait_until(lambda: all(known(stocked, d) for d in digests(stocked)), "all is known again")
    (manifest,) = lookup(stocked, by_digest(stocked.image.digest))
    assert len(fields(manifest[5][0])[4]) == len(stocked.image.blobs())
    assert len(stocked.upstream.seen) == asked


def test_a_loaded_image_has_the_same_proofs_as_a_pulled_one(bench, stocked):
    central = bench.central(("docker.io", stocked.upstream.url), settings={"hosted": '["acme/**"]'})
    layout = bench.place("layout")
    images.write_layout(stocked.image, layout, "v1")
    central.command("load", layout, "acme/app:v1")
    wait_until(lambda: all(known(central, d) for d in digests(stocked)), "the catalogue knows all of it")
    query = by_digest(stocked.layer.digest, proofs=True)
    (loaded,), (pulled,) = lookup(central, query), lookup(stocked, query)
    assert len(loaded[7][0]) == 2 * 32 and loaded[7] == pulled[7]
