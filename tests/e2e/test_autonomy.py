"""Central is away for long: four branches go on by themselves, over restarts and kills, and when it is back each tells once what it has counted,
and nobody asks for more than he needs."""

import threading
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import wait_until
from lab.fleet import central_of, joined, on_address

EDGES, CLIENTS = 4, 5
NAMES = ["library/app", "library/base", "library/tool"]
COLD = "library/cold"


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture
def fleet(bench):
    upstream = bench.faulty()
    f = SimpleNamespace(upstream=upstream, images={name: images.small(name) for name in (*NAMES, COLD)})
    for name, image in f.images.items():
        upstream.put(name, image, "v1")
    f.central = central_of(bench, upstream)
    f.central.stop()
    f.central.settings["upstreams"] = f.central.settings["upstreams"].replace('"fresh_for": "1s"', '"fresh_for": "5s"')
    f.central.start()
    f.edges = [joined(bench, f.central) for _ in range(EDGES)]
    f.pulls = dict.fromkeys(NAMES, 0)
    for edge in f.edges:
        for name in NAMES:
            raw.pull(edge.port, name, "v1")
            f.pulls[name] += 1
    for edge in f.edges:
        wait_until(lambda e=edge: queued(e) == 0 and e.json("status")["replica"]["equal"], "central and the edge know all of each other")
    return f


def queued(edge):
    said = edge.json("status")["pull_counts"]
    return said["queued"] + said["unwritten"]


def ask_all(fleet, name, times):
    """By so many clients at each edge at once; the answers."""
    found = []

    def client(edge):
        found.append(raw.manifest(edge.port, name, "v1"))

    threads = [threading.Thread(target=client, args=(edge,)) for edge in fleet.edges for _ in range(times)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    fleet.pulls[name] += len(found)
    return found


def works_alone(fleet):
    for name in NAMES:
        digest = fleet.images[name].digest
        for reply in ask_all(fleet, name, 1):
            assert reply.status == 200 and reply.headers["docker-content-digest"] == digest, reply
        for edge in fleet.edges:
            assert raw.manifest(edge.port, name, digest).status == 200
            for layer in fleet.images[name].layers:
                assert raw.blob(edge.port, name, layer.digest).status == 200
    for edge in fleet.edges:
        assert raw.manifest(edge.port, COLD, "v1").status == 502


def counted(fleet):
    return {p["repository"].removeprefix("docker.io/"): p["pulls"] for p in fleet.central.json("status")["pull_counts"]["most"]}


def test_branches_go_on_alone_and_come_back_without_a_stampede(fleet):
    fleet.central.stop()
    works_alone(fleet)
    wait_until(lambda: all("warning" in r.headers for r in ask_all(fleet, NAMES[0], 1)), "what cannot be checked any more is marked", 60, 0.5)
    # Days bring restarts and power cuts. What was counted is on the disk by then.
    for edge in fleet.edges:
        wait_until(lambda e=edge: e.json("status")["pull_counts"]["unwritten"] == 0, "what was counted is on the disk")
    fleet.edges[0].restart()
    fleet.edges[1].kill()
    fleet.edges[1].start()
    works_alone(fleet)

    seen = len(fleet.upstream.seen)
    fleet.central.settings["log.level"] = "debug"  # each report is a line of the log
    fleet.central.start()
    for edge in fleet.edges:
        wait_until(edge.reachable, "it has found central")
    for reply in ask_all(fleet, NAMES[0], CLIENTS):
        assert reply.status == 200
    wait_until(lambda: counted(fleet) == fleet.pulls, lambda: f"all is counted once: {counted(fleet)} of {fleet.pulls}")
    for edge in fleet.edges:
        wait_until(lambda e=edge: queued(e) == 0 and e.json("status")["replica"]["equal"], "all is as before")
    assert counted(fleet) == fleet.pulls

    asked = lambda about: fleet.central.access(about)
    assert not asked("/fleet/v1/snapshot"), "a copy of the catalogue goes on where it was"
    assert not asked("/fleet/v1/join") and not asked("/fleet/v1/renew") and not asked("/blobs/")
    assert {e["status"] for e in asked("/fleet/v1/report")} == {"200"} and fleet.central.metric("entrepot_reports_refused_total") == 0
    assert len(asked("/fleet/v1/watch")) <= 2 * EDGES, "one stream for each, and one try while central began"
    # Twenty clients ask for a tag that is stale: its upstream is asked once, or twice if that took longer than it stays fresh.
    checks = fleet.upstream.seen[seen:]
    assert len(checks) <= 2 and {s.method for s in checks} <= {"HEAD"}, checks
