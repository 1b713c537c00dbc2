"""An edge's copy of the catalogue: what central learns reaches it as it is learned, and names and digests are answered from it, with nothing
asked of central."""

import shutil
import time

import pytest

from lab import images, raw
from lab.base import wait_until
from lab.scripted import Scripted

pytestmark = pytest.mark.sanitized

NAME = "library/app"
FIRST, SECOND, THIRD, HOSTED, MOVED = (images.small(word) for word in ("first", "second", "third", "hosted", "moved"))


def replica(edge):
    return edge.json("status")["replica"]


def equal(edge, central):
    """The edge holds what central holds now, by the digest of all."""
    state = replica(edge)
    return state["equal"] and state["number"] == place(central)


def place(central):
    return central.json("status")["place"]["number"]


def settle(pair, tags=None, since=0):
    """Central has learned something (so many tags in all, or anything since that number), and it has reached the edge."""

    def settled():
        state = replica(pair.edge)
        return tags in (None, state["tags"]) and state["number"] > since and equal(pair.edge, pair.central)

    wait_until(settled, lambda: f"equal: {replica(pair.edge)}, central {place(pair.central)}")


def asked(tap):
    """Requests about names and digests; bytes and the settings are none."""
    return [r for r in tap.requests("/fleet/v1/lookup") if "for=settings" not in r[1]] + tap.requests("/manifests/v")


def load(pair, image, tag):
    layout = pair.bench.place("layout")
    images.write_layout(image, layout, "v1")
    pair.central.command("load", layout, f"acme/app:{tag}")


@pytest.fixture
def pair(bench):
    """An upstream with an image at v1, central that has pulled it, and an edge behind a tap that has not."""
    up = bench.faulty()
    up.put(NAME, FIRST, "v1")
    chain = bench.chain(("docker.io", up.url), central={"hosted": '["acme/**"]'}, tap=True, fresh_for="10m")
    chain.bench, chain.upstream = bench, up
    raw.pull(chain.central.port, NAME, "v1")
    wait_until(lambda: replica(chain.edge)["blobs"] == 3, lambda: replica(chain.edge))
    settle(chain, tags=1)
    return chain


def test_what_central_learns_is_answered_by_an_edge_without_asking(pair):
    load(pair, HOSTED, "v1")
    settle(pair, tags=2)
    pair.tap.reset()
    for name, image in ((NAME, FIRST), ("acme/app", HOSTED)):
        assert image.digest in raw.pull(pair.edge.port, name, "v1")
    assert asked(pair.tap) == []
    assert replica(pair.edge)["answers"] > 0
    before = place(pair.central)
    load(pair, MOVED, "v1")
    settle(pair, since=before)
    pair.tap.reset()
    assert raw.manifest(pair.edge.port, "acme/app", "v1").headers["docker-content-digest"] == MOVED.digest
    assert asked(pair.tap) == []
    # After a restart the edge goes on where it was, with no tile fetched.
    moved = place(pair.central)
    pair.edge.stop()
    load(pair, THIRD, "v1")
    pair.tap.reset()
    pair.edge.start()
    wait_until(lambda: place(pair.central) > moved, "central has learned it")
    settle(pair, since=moved)
    assert raw.manifest(pair.edge.port, "acme/app", "v1").headers["docker-content-digest"] == THIRD.digest
    assert pair.tap.requests("/fleet/v1/snapshot") == [] and len(pair.tap.requests("watch?from=")) == 1
    # A tag that moved upstream, and that central has seen, is not served from what this edge still calls fresh.
    pair.upstream.put(NAME, SECOND, "v1")
    pair.central.stop()
    settings = {**pair.central.settings, "upstreams": pair.central.settings["upstreams"].replace("10m", "1s")}
    pair.central.settings = settings
    pair.central.start()
    before = place(pair.central)
    wait_until(lambda: SECOND.digest in raw.pull(pair.central.port, NAME, "v1"), "central sees that it has moved")
    settle(pair, since=before)
    assert raw.manifest(pair.edge.port, NAME, "v1").headers["docker-content-digest"] == SECOND.digest


def test_without_the_stream_central_is_asked_and_without_central_what_is_held_is_served_marked(pair):
    load(pair, HOSTED, "v1")
    settle(pair, tags=2)
    raw.pull(pair.edge.port, "acme/app", "v1")
    pair.central.kill()
    wait_until(lambda: not replica(pair.edge)["live"], "the edge has noticed")
    reply = raw.manifest(pair.edge.port, "acme/app", "v1")
    assert reply.headers["docker-content-digest"] == HOSTED.digest and "stale" in reply.headers["warning"]
    pair.central.start()
    settle(pair)
    assert "warning" not in raw.manifest(pair.edge.port, "acme/app", "v1").headers


def test_a_central_put_back_in_time_and_an_edge_that_was_away_end_equal(pair):
    load(pair, HOSTED, "v1")
    settle(pair, tags=2)
    pair.central.stop()
    backup = pair.bench.place("backup")
    shutil.copytree(pair.central.data, backup)
    pair.central.start()
    before = place(pair.central)
    load(pair, MOVED, "v1")
    settle(pair, since=before)
    pair.edge.stop()
    pair.central.stop()
    shutil.rmtree(pair.central.data)
    shutil.copytree(backup, pair.central.data)
    pair.central.start()
    load(pair, SECOND, "v2")
    load(pair, FIRST, "v3")
    pair.edge.start()
    settle(pair, tags=4)
    assert raw.manifest(pair.edge.port, "acme/app", "v1").headers["docker-content-digest"] == HOSTED.digest
    checks = {c["check"]: c for c in pair.edge.json("doctor")["checks"]}
    assert checks["replica"]["result"] == "ok", checks["replica"]


def test_an_edge_asks_ever_more_seldom_for_a_stream_that_it_cannot_read(bench):
    """A program that answers as central does, but for what it streams."""
    asked = []

    def central(request):
        if request.path != "/fleet/v1/watch":
            return 404, {}, b""
        asked.append(time.monotonic())
        return 200, {"Content-Type": "application/x-protobuf", "Entrepot-Settings": "00000000000000aa"}, b"\4!!!!" * 100

    edge = bench.edge(bench.add(Scripted(central)).port, start=False).start_not_ready()
    wait_until(lambda: len(asked) >= 6, "it tries again and again")
    pauses = [b - a for a, b in zip(asked, asked[1:])]
    assert pauses[4] > 0.4, pauses  # half of 800 ms at least: 0, 100, 200, 400, 800
    assert any(e.get("event") == "watch_unreadable" for e in edge.log())
