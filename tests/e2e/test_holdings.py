"""What central knows of the blobs that each edge holds: told as it changes, kept over restarts, put right when it is wrong."""

import json
import sqlite3
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import wait_until
from lab.fleet import central_of, edge_row, joined, on_address


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture(scope="module")
def fleet(shared_bench):
    upstream = shared_bench.faulty()
    app, other = images.small("held"), images.small("other")
    upstream.put("library/app", app, "v1")
    upstream.put("library/other", other, "v1")
    central = central_of(shared_bench, upstream, **{"fleet.heartbeat": "200ms"})
    edges = [joined(shared_bench, central) for _ in range(2)]
    names = [e.identity()["name"] for e in edges]
    fleet = SimpleNamespace(app=app, other=other, central=central, edges=edges, names=names)
    raw.pull(edges[0].port, "library/app", "v1")
    known = lambda: agrees(fleet, 0) and is_whole(fleet, 0, "app:v1")
    wait_until(known, "central knows what the first edge holds")
    return fleet


def where(fleet, image):
    return {e["edge"]: e for e in fleet.central.json("ls", "--where", image)["edges"]}


def is_whole(fleet, i, image):
    """All of the image is in the edge's store, as far as central knows: a client that has read all of it may still be ahead of the store."""
    row = where(fleet, image).get(fleet.names[i])
    return bool(row and row["whole"])


def agrees(fleet, i):
    """Central knows as many blobs of the edge as its store has, and both say the same digest of them."""
    status = fleet.edges[i].json("status")
    return status["holdings"]["known"] and edge_row(fleet.central, fleet.names[i])["holdings"] == status["store"]["blobs"]


def test_central_names_the_edges_that_hold_an_image(fleet):
    held = where(fleet, "app:v1")
    assert list(held) == [fleet.names[0]]
    row = held[fleet.names[0]]
    doc = fleet.central.json("ls", "--where", "docker.io/library/app:v1")
    assert row["whole"] and row["blobs"] == doc["blobs"] > 1 and row["site"] == "shanghai" and row["state"] == "active"
    assert where(fleet, doc["digest"]) == held  # an image is also named by its digest
    said = fleet.central.command("ls", "--where", "app:v1").stdout
    assert "whole" in said and fleet.names[0] in said and fleet.names[1] not in said, said


def test_an_edge_that_holds_a_layer_alone_holds_the_image_in_part(fleet):
    layer = fleet.app.layers[0].digest
    raw.blob(fleet.edges[1].port, "library/app", layer)
    wait_until(lambda: fleet.names[1] in where(fleet, "app:v1"), "central knows of the layer")
    row = where(fleet, "app:v1")[fleet.names[1]]
    assert not row["whole"] and row["blobs"] == 1
    assert "in part" in fleet.central.command("ls", "--where", "app:v1").stdout


def test_what_is_evicted_is_told(fleet):
    raw.pull(fleet.edges[1].port, "library/app", "v1")
    wait_until(lambda: is_whole(fleet, 1, "app:v1"), "central knows that it is there")
    fleet.edges[1].command("prune", "--all")
    wait_until(lambda: fleet.names[1] not in where(fleet, "app:v1") and agrees(fleet, 1), "central knows that it is gone")


def test_central_knows_after_a_restart_and_a_kill(fleet):
    before = where(fleet, "app:v1")
    fleet.edges[0].stop()
    fleet.central.kill()
    fleet.central.start()
    wait_until(lambda: fleet.central.command("ls", "--where", "app:v1", check=False).returncode == 0, "central has read its file")
    assert where(fleet, "app:v1") == before  # nobody has told it again
    fleet.edges[0].start()
    wait_until(lambda: agrees(fleet, 0), "both agree")


def test_what_an_edge_gains_while_central_is_away_is_told_afterwards(fleet):
    raw.pull(fleet.edges[1].port, "library/other", "v1")
    wait_until(lambda: is_whole(fleet, 1, "other:v1") and agrees(fleet, 1), "both agree")
    fleet.central.stop()
    fleet.edges[1].command("prune", "--all")
    fleet.edges[1].kill()
    fleet.edges[1].start()
    fleet.central.start()
    wait_until(lambda: agrees(fleet, 1), "both agree")
    assert where(fleet, "other:v1") == {} and edge_row(fleet.central, fleet.names[1])["holdings"] == fleet.edges[1].json("status")["store"]["blobs"]


def test_what_central_has_wrong_is_put_right(fleet):
    wait_until(lambda: agrees(fleet, 0), "both agree")
    right = where(fleet, "app:v1")
    fleet.central.stop()
    with sqlite3.connect(fleet.central.data / "reports.db") as db:
        db.execute("UPDATE blobs SET digest = randomblob(32) WHERE number = (SELECT min(number) FROM blobs)")
        db.execute("DELETE FROM held WHERE edge = 2")
    fleet.central.start()
    wait_until(lambda: agrees(fleet, 0) and agrees(fleet, 1), "both agree")
    assert where(fleet, "app:v1") == right
    assert fleet.edges[0].metric("entrepot_holdings_repaired_tiles_total") > 0


def test_a_damaged_file_is_put_aside_and_filled_again(fleet):
    right = where(fleet, "app:v1")
    fleet.central.stop()
    for name in ("reports.db", "reports.db-wal", "reports.db-shm"):
        (fleet.central.data / name).unlink(missing_ok=True)
    (fleet.central.data / "reports.db").write_bytes(b"no database" * 1000)
    fleet.central.start()
    wait_until(lambda: agrees(fleet, 0), "both agree")
    assert where(fleet, "app:v1") == right
    assert (fleet.central.data / "reports.db.damaged").exists()


def test_a_file_that_cannot_be_read_is_told_and_all_else_goes_on(fleet):
    right = where(fleet, "app:v1")
    fleet.central.stop()
    with sqlite3.connect(fleet.central.data / "reports.db") as db:
        db.executescript("ALTER TABLE held RENAME TO kept; CREATE TABLE held(other);")
    fleet.central.start()
    unknown = lambda: fleet.central.command("ls", "--where", "app:v1", check=False).stderr
    wait_until(lambda: "what edges hold cannot be read" in unknown(), "central says so")
    assert edge_row(fleet.central, fleet.names[0])["holdings"] is None
    raw.pull(fleet.edges[0].port, "library/app", "v1")
    fleet.central.stop()
    with sqlite3.connect(fleet.central.data / "reports.db") as db:
        db.executescript("DROP TABLE held; ALTER TABLE kept RENAME TO held;")
    fleet.central.start()
    wait_until(lambda: agrees(fleet, 0) and agrees(fleet, 1), "both agree")
    assert where(fleet, "app:v1") == right


def test_images_that_nobody_knows_and_edges_that_are_asked(fleet):
    said = fleet.central.command("ls", "--where", "library/app:nosuch", check=False)
    assert said.returncode == 1 and "does not know the tag nosuch" in said.stderr, said
    nobody = fleet.central.command("ls", "--where", "sha256:" + "0" * 64).stdout
    assert "no edge holds any of" in nobody
    long_name = "sha512:" + "0" * 128
    assert fleet.central.json("ls", "--where", long_name)["blobs_not_told"] == 1
    assert "edges tell only of blobs named by sha256: who holds 1 of" in fleet.central.command("ls", "--where", long_name).stdout
    assert fleet.central.json("ls", "--where", "app:v1")["blobs_not_told"] == 0
    at_edge = fleet.edges[0].command("ls", "--where", "app:v1", check=False)
    assert at_edge.returncode == 1 and "only central knows" in at_edge.stderr


def test_a_removed_edge_holds_nothing(fleet):
    assert fleet.names[0] in where(fleet, "app:v1")
    fleet.central.command("edge", "remove", fleet.names[0])
    assert fleet.names[0] not in where(fleet, "app:v1")
    fleet.central.restart()
    with sqlite3.connect(fleet.central.data / "reports.db") as db:
        rows = lambda: json.dumps(db.execute("SELECT name FROM edges").fetchall())
        wait_until(lambda: fleet.names[0] not in rows(), "its rows are dropped")
