"""`fallback: upstream`. While central cannot be reached, an edge fetches what it does not hold from the upstreams themselves: without
central's accounts, never for what central hosts, and with every digest checked."""

import re

import pytest

from lab import clients, images, raw
from lab.base import HOST, MiB, wait_until
from lab.faulty import Fault

DIRECT = {"fallback": "upstream"}
HOSTED = {"hosted": '["acme/**"]'}


def away(chain):
    """Central stops, and the edge has given up waiting for it."""
    chain.central.stop()
    use = lambda: raw.manifest(chain.edge.port, "library/nowhere", "v1") and chain.edge.json("status")["fallback"]["active"]
    wait_until(use, "the edge does without central", 60, 0.2)


def back(chain):
    chain.central.start()
    wait_until(lambda: chain.edge.metric("entrepot_central_reachable") == 1, "central is back", 60, 0.1)


@pytest.fixture
def up(bench):
    made = bench.registry()
    for name in ("held", "cold", "second", "third", "late"):
        made.put(f"library/{name}", images.small(name, layers=2), "v1")
    return made


def test_while_central_is_stopped_clients_pull_cold_images_straight_from_the_upstream(bench, up):
    chain = bench.chain(("docker.io", up.url), edge=DIRECT)
    raw.pull(chain.edge.port, "library/held", "v1")
    assert "fallback" in chain.edge.command("status").stdout and not chain.edge.json("status")["fallback"]["active"]
    chain.central.stop()
    podman = bench.podman({"docker.io": f"{HOST}:{chain.edge.port}"})
    # The first to come may meet an edge that still waits for central to return; engines then try again, as this does.
    wait_until(lambda: podman.pull("docker.io/library/cold:v1", check=False).returncode == 0, "podman has pulled", 60, 0.1)
    podman.matches("docker.io/library/cold:v1", images.small("cold", layers=2))
    docker = bench.docker(mirror=f"http://{HOST}:{chain.edge.port}")
    docker.pull("second:v1")
    docker.matches("second:v1", images.small("second", layers=2))
    folder = bench.place("third")
    clients.skopeo_copy(chain.edge.port, "library/third:v1", folder)
    clients.layout_matches(folder, images.small("third", layers=2))
    raw.pull(chain.edge.port, "library/held", "v1")

    layer = images.small("second", layers=2).layers[0].digest
    assert {e["cache"] for e in chain.edge.access(f"blobs/{layer}") if e["method"] == "GET"} <= {"direct", "join", "hit"}
    assert "direct" in {e["cache"] for e in chain.edge.access("/blobs/")}
    status = chain.edge.json("status")["fallback"]
    assert status["active"] and status["requests"] > 0 and [u["name"] for u in status["upstreams"]] == ["docker.io"]
    assert re.search(r"^fallback .*upstreams are asked directly", chain.edge.command("status").stdout, re.M)
    assert "come from the upstreams directly" in chain.edge.command("doctor", check=False).stdout
    assert chain.edge.metric("entrepot_fallback_active") == 1
    assert chain.edge.metric("entrepot_fetched_bytes_total", source="docker.io") > 0
    assert [e["upstream"] for e in chain.edge.log() if e.get("event") == "fallback_used"] == ["docker.io"]

    back(chain)
    mark = up.mark()
    raw.pull(chain.edge.port, "library/late", "v1")
    wait_until(lambda: all(chain.central.held(b.digest) for b in images.small("late", layers=2).layers), "central has it, too")
    wait_until(lambda: len(up.since(mark, "GET", "/late/blobs/")) >= 3, "the log has config and two layers")
    assert len(up.since(mark, "GET", "/late/blobs/")) == 3  # for central alone
    assert not chain.edge.json("status")["fallback"]["active"] and chain.edge.metric("entrepot_fallback_active") == 0
    assert "miss" in {e["cache"] for e in chain.edge.access("/late/blobs/")}


def test_without_the_key_no_upstream_is_asked(bench, up):
    chain = bench.chain(("docker.io", up.url))
    chain.central.stop()
    wait_until(lambda: chain.edge.metric("entrepot_central_reachable") == 0 or not raw.manifest(chain.edge.port, "library/cold", "v1"),
               "the edge knows that central is away")
    reply = raw.manifest(chain.edge.port, "library/cold", "v1")
    assert reply.status == 502 and "central" in reply.message and "cannot be reached" in reply.message, reply
    assert not up.since(0, about="/cold/")
    assert "fallback" not in chain.edge.command("status").stdout


def test_what_is_hosted_is_never_asked_of_an_upstream(bench, up):
    """Strangers have an image of every name: also where the edge knows what is hosted by its saved settings alone."""
    for name in ("acme/app", "library/acme", "library/acme/app"):
        up.put(name, images.small("stranger"), "v1")
    chain = bench.chain(("docker.io", up.url), central=HOSTED, edge=DIRECT)
    digest = images.small("stranger").digest
    away(chain)
    for start in (lambda: None, chain.edge.restart):
        start()
        wait_until(lambda: raw.manifest(chain.edge.port, "library/cold", "v1").status == 200, "what is public comes", 60, 0.2)
        for asked in (raw.manifest(chain.edge.port, "acme/app", "v1"), raw.manifest(chain.edge.port, "acme/app", digest),
                      raw.blob(chain.edge.port, "acme/app", images.small("stranger").layers[0].digest),
                      raw.manifest(chain.edge.port, "acme/app", "v1", method="HEAD"), raw.ask(chain.edge.port, "/v2/acme/app/tags/list")):
            assert asked.status in (502, 503, 504), asked
    assert not up.since(0, about="/acme/")
    raw.pull(chain.edge.port, "docker.io/acme/app", "v1")  # so named it is the upstream's


def test_a_first_start_without_central_knows_no_upstream_to_ask(bench, up):
    central = bench.central(("docker.io", up.url), start=False)
    edge = bench.edge(central.fleet, settings=DIRECT, start=False).start_not_ready()
    wait_until(lambda: edge.metric("entrepot_central_reachable") == 0, "the edge knows that central is away", 30, 0.1)
    reply = raw.manifest(edge.port, "library/cold", "v1")
    assert reply.status == 503 and "has not yet told" in reply.message and not up.accesses(), reply
    central.start()
    wait_until(lambda: raw.manifest(edge.port, "library/cold", "v1").status == 200, "the name is known", 60, 0.1)


def test_an_upstream_that_lies_is_refused(bench):
    up = bench.faulty()
    blob = images.noise_blob(6 * MiB, "lie")
    up.put("library/lie", images.single_blob(blob), "v1")
    up.put("library/page", images.small("page"), "v1")
    chain = bench.chain(("docker.io", up.url), edge=DIRECT)
    away(chain)
    up.always(f"/blobs/{blob.digest}", Fault(wrong_at="middle"))
    up.always("/page/manifests/", Fault(body=b"<html>sign in</html>"), method=None)
    assert raw.manifest(chain.edge.port, "library/lie", "v1").status == 200
    down = raw.Download(chain.edge.port, "library/lie", blob.digest, blob.data).start().join(60)
    assert not down.whole and not chain.edge.held(blob.digest), down
    assert chain.edge.metric("entrepot_digest_mismatches_total") > 0
    assert raw.manifest(chain.edge.port, "library/page", "v1").status in (502, 504)
    up.clear()
    raw.pull(chain.edge.port, "library/lie", "v1")


def test_an_account_of_central_is_not_used(bench):
    """The token flow of the Hub, first with central's account and then without any."""
    up = bench.faulty(auth="bearer")
    up.put("library/one", images.small("one"), "v1")
    up.put("library/two", images.small("two"), "v1")
    secret = bench.place("password")
    secret.write_text("s3cret\n")
    chain = bench.chain(("docker.io", up.url), edge=DIRECT, username="acme", password_file=str(secret))
    raw.pull(chain.edge.port, "library/one", "v1")
    assert any("authorization" in s.headers for s in up.requests("/token"))
    away(chain)
    before = len(up.requests("/token"))
    raw.pull(chain.edge.port, "library/two", "v1")
    asked = up.requests("/token")[before:]
    assert asked and not any("authorization" in s.headers or "account" in s.query for s in asked), asked


def test_tags_move_with_their_upstream_and_are_kept_where_it_says_they_are_gone(bench, up):
    chain = bench.chain(("docker.io", up.url), edge=DIRECT, fresh_for="1s")
    raw.pull(chain.edge.port, "library/held", "v1")
    away(chain)
    moved = up.put("library/held", images.small("moved"), "v1")
    got = lambda: raw.manifest(chain.edge.port, "library/held", "v1")
    wait_until(lambda: got().headers["docker-content-digest"] == moved.digest, "the tag has moved", 30, 0.1)
    raw.pull(chain.edge.port, "library/held", "v1")
    assert "warning" not in got().headers
    up.untag("library/held", "v1")
    wait_until(lambda: "warning" in got().headers, "the tag is marked", 30, 0.1)
    assert got().headers["docker-content-digest"] == moved.digest
    gone = raw.manifest(chain.edge.port, "library/nowhere", "v1")
    assert gone.status == 404 and gone.error_code == "MANIFEST_UNKNOWN", gone


def test_what_upstreams_said_is_asked_of_central_again_once_it_is_back(bench, up):
    """Of a tag that is fresh for an hour."""
    chain = bench.chain(("docker.io", up.url), edge=DIRECT, fresh_for="1h")
    away(chain)
    raw.pull(chain.edge.port, "library/cold", "v1")
    mark = up.mark()
    raw.pull(chain.edge.port, "library/cold", "v1")
    assert not up.since(mark)
    back(chain)
    mark = up.mark()
    wait_until(lambda: raw.pull(chain.edge.port, "library/cold", "v1") and up.since(mark, about="/cold/manifests/v1"), "central was asked", 30, 0.1)
    raw.pull(chain.edge.port, "library/cold", "v1")
    assert len(up.since(mark, about="/cold/manifests/v1")) == 1


def test_an_edge_that_central_refuses_asks_no_upstream(bench, up):
    chain = bench.chain(("docker.io", up.url), edge=DIRECT, joins=True)
    raw.pull(chain.edge.port, "library/held", "v1")
    name = chain.edge.json("status")["identity"]["name"]
    chain.central.command("edge", "remove", name)
    wait_until(lambda: not chain.edge.json("status")["central"]["reachable"], "the edge knows that it was removed", 30, 0.1)
    mark = up.mark()
    for _ in range(3):
        reply = raw.manifest(chain.edge.port, "library/cold", "v1")
        assert reply.status in (502, 503) and not chain.edge.json("status")["fallback"]["active"], reply
    assert not up.since(mark)
