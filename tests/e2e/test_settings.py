"""Central decides what a name means, and its settings may change. A hosted name is never served from the default upstream, nor the other way
round, however the change reaches an edge."""

import json
import threading

import pytest

from lab import images, raw
from lab.base import wait_until

OURS, STRANGERS = images.small("ours"), images.small("a stranger's")
HOSTED = {True: json.dumps(["acme/**", "sample/**"]), False: json.dumps(["sample/**"])}


@pytest.fixture
def pair(bench):
    """acme/app:v1 is hosted, and a stranger has put something of that name on the default upstream. By the settings at first, it is the
    stranger's that is meant, and the edge holds it, fresh."""
    up = bench.faulty()
    up.put("acme/app", STRANGERS, "v1")
    central = bench.central(("docker.io", up.url), settings={"hosted": HOSTED[True]}, fresh_for="10m")
    layout = bench.place("layout")
    images.write_layout(OURS, layout, "v1")
    central.command("load", layout, "acme/app:v1")
    change(central, hosted=False)
    central.edge = bench.edge(central.fleet)
    central.upstream = up
    raw.pull(central.edge.port, "acme/app", "v1")
    return central


def change(central, hosted):
    """By a restart: settings are read at a start only."""
    central.stop()
    central.settings["hosted"] = HOSTED[hosted]
    central.start()


def whose(port, **how):
    """None: a 503 that says when to ask again."""
    reply = raw.manifest(port, "acme/app", "v1", **how)
    if reply.status == 503:
        assert reply.headers["retry-after"], reply
        return None
    assert reply.status == 200, reply
    return reply.headers["docker-content-digest"]


def test_a_name_that_becomes_hosted_is_not_served_from_the_upstream_once_central_answers(pair):
    assert whose(pair.edge.port) == STRANGERS.digest
    pair.stop()
    assert whose(pair.edge.port) == STRANGERS.digest, "with central away, what was known last has to do"
    pair.settings["hosted"] = HOSTED[True]
    pair.spawn()
    seen = []

    def watch():
        # Whatever the edge says after central itself has said so much must be the same.
        while len(seen) < 200:
            try:
                answers = whose(pair.port) == OURS.digest
            except OSError:
                continue
            seen.append((answers, whose(pair.edge.port)))

    threads = [threading.Thread(target=watch) for _ in range(3)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert len(seen) >= 200 and {digest for _, digest in seen} == {OURS.digest}, seen
    raw.pull(pair.edge.port, "acme/app", "v1")
    assert whose(pair.edge.port, query="?ns=docker.io") == STRANGERS.digest


def test_a_name_that_is_no_longer_hosted_is_not_served_from_the_hosted_image(pair):
    change(pair, hosted=True)
    assert whose(pair.edge.port) == OURS.digest
    change(pair, hosted=False)
    assert whose(pair.edge.port) == STRANGERS.digest


def test_nothing_of_the_old_meaning_answers_under_the_new_one(pair):
    layer = STRANGERS.layers[0].digest
    assert raw.blob(pair.edge.port, "acme/app", layer).status == 200
    assert raw.ask(pair.edge.port, "/v2/acme/app/tags/list").json()["tags"] == ["v1"]
    pair.upstream.put("acme/app", images.small("another"), "v2")
    change(pair, hosted=True)
    for method in ("GET", "HEAD"):
        assert raw.blob(pair.edge.port, "acme/app", layer, method).status == 404
        assert raw.manifest(pair.edge.port, "acme/app", STRANGERS.digest, method).status == 404
        assert raw.manifest(pair.edge.port, "acme/app", "v2", method).status == 404
    assert raw.ask(pair.edge.port, "/v2/acme/app/tags/list").json()["tags"] == ["v1"]
    assert raw.ask(pair.edge.port, f"/v2/acme/app/referrers/{STRANGERS.digest}").json()["manifests"] == []
    assert whose(pair.edge.port) == OURS.digest
    pair.stop()
    assert whose(pair.edge.port) == OURS.digest, "with central away it stays so"


def test_an_edge_that_was_stopped_during_the_change_asks_before_it_decides(pair):
    pair.edge.stop()
    change(pair, hosted=True)
    pair.edge.spawn()
    wait_until(lambda: "ready" in [e.get("event") for e in pair.edge.log()], "the edge serves")
    assert whose(pair.edge.port) == OURS.digest


def test_an_edge_follows_a_central_that_was_restored_with_older_settings(pair, bench):
    change(pair, hosted=True)
    assert whose(pair.edge.port) == OURS.digest
    pair.stop()
    other = bench.central(("docker.io", pair.upstream.url), settings={"hosted": HOSTED[False], "fleet.listen": f"127.0.0.1:{pair.fleet}"})
    assert whose(pair.edge.port) == STRANGERS.digest
    assert raw.settings(pair.fleet) != "0" * 16
    other.stop()


def test_a_restart_of_central_with_the_same_settings_keeps_their_version(pair):
    version = raw.settings(pair.fleet)
    pair.restart()
    assert raw.settings(pair.fleet) == version
    change(pair, hosted=True)
    assert raw.settings(pair.fleet) != version


def test_fleet_requests_without_the_current_settings_version_are_refused(pair):
    ours = raw.settings(pair.fleet)
    paths = ["manifests/v1", f"manifests/{STRANGERS.digest}", f"blobs/{STRANGERS.layers[0].digest}", "tags/list", f"referrers/{STRANGERS.digest}"]
    for path in (f"/v2/acme/app/{p}?ns=docker.io" for p in paths):
        assert raw.ask(pair.fleet, path, headers={"Entrepot-Settings": ours}).status in (200, 404)
        for said, words in (({}, "upgrade"), ({"Entrepot-Settings": "0" * 15 + "1"}, "other settings"), ({"Entrepot-Settings": "x"}, "other settings")):
            for method in ("GET", "HEAD"):
                reply = raw.ask(pair.fleet, path, method, headers=said)
                assert reply.status == 409 and reply.headers["entrepot-settings"] == ours, reply
            reply = raw.ask(pair.fleet, path, headers=said)
            assert reply.json()["errors"][0]["code"] == "SETTINGS_OUTDATED" and words in reply.message, reply
        assert raw.ask(pair.port, path).status in (200, 404), "clients need not say"
    assert raw.ask(pair.fleet, "/v2/").status == 200


def test_watches_do_not_keep_central_from_stopping(pair):
    wires = [raw.Wire(pair.fleet) for _ in range(20)]
    for wire in wires:
        wire.ask("GET", "/fleet/v1/watch")
        assert wire.head()[0] == 200
    pair.process.stop(10)
    assert not pair.running()
    for wire in wires:
        assert wire.sock.recv(1 << 16)
        wire.close()
    with pytest.raises(OSError):
        raw.ask(pair.fleet, "/fleet/v1/watch")
