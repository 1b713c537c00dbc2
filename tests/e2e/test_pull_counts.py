"""Pulls by repository and tag: counted at the edges, summed at central, exactly once whoever is away or killed."""

import os
import random
import sqlite3
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import wait_until
from lab.fleet import central_of, joined, on_address

APP = "docker.io/library/app"


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture
def fleet(bench):
    upstream = bench.faulty()
    image = images.small("counted")
    for tag in ("v1", "v2"):
        upstream.put("library/app", image, tag)
    central = central_of(bench, upstream, **{"fleet.heartbeat": "200ms"})
    edge = joined(bench, central)
    return SimpleNamespace(bench=bench, upstream=upstream, image=image, central=central, edge=edge)


def pull(edge, tag, times=1, method="GET"):
    for _ in range(times):
        assert raw.manifest(edge.port, "library/app", tag, method).status == 200


def counted(fleet):
    """{tag: pulls} as central has summed them, and of other names."""
    said = fleet.central.json("status")["pull_counts"]
    return {p["tag"]: p["pulls"] for p in said["most"]} | ({"": said["other"]} if said["other"] else {})


def written(edge):
    """Nothing that was counted would be lost by a kill now."""
    return edge.json("status")["pull_counts"]["unwritten"] == 0


def queued(edge):
    return edge.json("status")["pull_counts"]["queued"]


def test_pulls_of_edges_are_summed_and_shown(fleet):
    other = joined(fleet.bench, fleet.central)
    pull(fleet.edge, "v1", 3)
    pull(fleet.edge, "v2", 1, "HEAD")
    raw.manifest(fleet.edge.port, "library/app", fleet.image.digest)  # by digest: no tag was asked for
    raw.manifest(fleet.edge.port, "library/app", "nosuch")
    pull(other, "v1", 2)
    wait_until(lambda: counted(fleet) == {"v1": 5, "v2": 1}, lambda: f"central has counted all: {counted(fleet)}")
    wait_until(lambda: queued(fleet.edge) == queued(other) == 0, "nothing waits at the edges")
    assert fleet.central.metric("entrepot_pulls_by_tag_total") == 6
    assert fleet.edge.metric("entrepot_pulls_by_tag_total") == 4
    status = fleet.central.command("status").stdout
    assert "6 pulls at the edges" in status and f"{APP}:v1 (5)" in status, status
    tags = {t["tag"]: t["pulls"] for t in fleet.central.json("ls", "library/app")["tags"]}
    assert tags == {"v1": 5, "v2": 1}
    assert "PULLS" in fleet.central.command("ls", "library/app").stdout
    assert "4 pulls since start, 0 of all wait for central" in fleet.edge.command("status").stdout


def test_pulls_while_central_is_away_and_the_edge_is_killed_count_once(fleet):
    pull(fleet.edge, "v1", 2)
    pull(fleet.edge, "v2")
    wait_until(lambda: counted(fleet) == {"v1": 2, "v2": 1}, "central has counted the first")
    fleet.central.stop()
    pull(fleet.edge, "v1", 4)
    pull(fleet.edge, "v2", 3)
    wait_until(lambda: written(fleet.edge) and queued(fleet.edge) == 7, "they are on the edge's disk")
    fleet.edge.kill()
    fleet.edge.start()
    assert queued(fleet.edge) == 7
    pull(fleet.edge, "v2", 5)
    fleet.central.start()
    wait_until(lambda: counted(fleet) == {"v1": 6, "v2": 9}, lambda: f"central has counted all: {counted(fleet)}")
    wait_until(lambda: queued(fleet.edge) == 0, "nothing waits at the edge")
    assert fleet.central.json("status")["pull_counts"]["total"] == 15


def test_a_backup_brings_the_sums_back_and_what_edges_held(fleet):
    pull(fleet.edge, "v1", 3)
    raw.pull(fleet.edge.port, "library/app", "v1")
    whole = lambda: [e["edge"] for e in fleet.central.json("ls", "--where", "app:v1")["edges"] if e["whole"]]
    name = fleet.edge.identity()["name"]
    wait_until(lambda: counted(fleet) == {"v1": 4} and whole() == [name], lambda: f"central knows: {counted(fleet)}")
    folder = fleet.bench.place("backup")
    fleet.central.command("backup", str(folder))  # while it runs
    pull(fleet.edge, "v1", 2)
    wait_until(lambda: counted(fleet) == {"v1": 6} and queued(fleet.edge) == 0, "those are counted, too")
    fleet.edge.stop()
    fleet.central.stop()
    fleet.central.command("restore", "--replace", str(folder))
    fleet.central.start()
    assert counted(fleet) == {"v1": 4}
    wait_until(lambda: fleet.central.command("ls", "--where", "app:v1", check=False).returncode == 0, "central has read its file")
    assert whole() == [name]
    fleet.edge.start()
    pull(fleet.edge, "v1")
    wait_until(lambda: counted(fleet) == {"v1": 5}, lambda: f"it goes on from there: {counted(fleet)}")


def test_kills_of_either_side_at_random_moments_neither_lose_nor_double(fleet):
    seed = int(os.environ.get("ENTREPOT_SEED") or random.SystemRandom().randrange(10**9))
    print(f"ENTREPOT_SEED={seed}")
    chance, expected = random.Random(seed), {"v1": 0, "v2": 0}
    for _ in range(8):
        for _ in range(chance.randrange(1, 12)):
            tag = chance.choice(["v1", "v2"])
            pull(fleet.edge, tag)
            expected[tag] += 1
        if chance.random() < 0.5:
            wait_until(lambda: written(fleet.edge), "what was counted is on the edge's disk")
            fleet.edge.kill()
            fleet.edge.start()
        else:
            fleet.central.kill()
            fleet.central.start()
    wait_until(lambda: counted(fleet) == {t: n for t, n in expected.items() if n}, lambda: f"{counted(fleet)} == {expected}")
    wait_until(lambda: queued(fleet.edge) == 0, "nothing waits at the edge")
    assert counted(fleet) == {t: n for t, n in expected.items() if n}


def test_an_edge_whose_file_is_an_older_copy_is_counted_on(fleet):
    pull(fleet.edge, "v1")
    wait_until(lambda: counted(fleet) == {"v1": 1} and queued(fleet.edge) == 0, "central has counted it")
    fleet.edge.stop()
    file = fleet.edge.data / "reports.db"
    with sqlite3.connect(file) as db:
        db.execute("UPDATE place SET sequence = 0")
    db.close()
    fleet.edge.start()
    pull(fleet.edge, "v2", 2)  # for central this batch is the first one, which it has
    wait_until(lambda: written(fleet.edge) and queued(fleet.edge) == 0, "central has answered")
    pull(fleet.edge, "v1", 3)
    wait_until(lambda: counted(fleet).get("v1") == 4, lambda: f"central counts on: {counted(fleet)}")


def test_a_damaged_file_of_an_edge_is_put_aside(fleet):
    fleet.edge.stop()
    (fleet.edge.data / "reports.db").write_bytes(b"no database" * 1000)
    fleet.edge.start()
    assert (fleet.edge.data / "reports.db.damaged").exists()
    pull(fleet.edge, "v1", 2)
    wait_until(lambda: counted(fleet) == {"v1": 2}, "central counts")


def test_names_are_bounded_on_both_sides_and_sums_stay_exact(bench):
    upstream = bench.faulty()
    image = images.small("many")
    tags = [f"t{i}" for i in range(600)]
    for tag in tags:
        upstream.put("library/app", image, tag)
    central = central_of(bench, upstream, **{"fleet.heartbeat": "200ms", "fleet.pull_counts": 100})
    edge = joined(bench, central, {"pull_counts": 100})
    fleet = SimpleNamespace(central=central, edge=edge)
    pull(edge, "t0")
    wait_until(lambda: counted(fleet) == {"t0": 1}, "central counts")
    for tag in tags:
        assert raw.manifest(edge.port, "library/app", tag).status == 200
    pull(edge, "t0", 20)
    wait_until(lambda: central.json("status")["pull_counts"]["total"] == 621, "all are counted")
    said = counted(fleet)
    assert said["t0"] == 22 and said[""] > 0, said
    with sqlite3.connect(central.data / "reports.db") as db:
        assert db.execute("SELECT count(*), sum(n) FROM pulls").fetchone()[1] == 621
        assert db.execute("SELECT count(*) FROM pulls").fetchone()[0] <= 100 + 256
    db.close()
