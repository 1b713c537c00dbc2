"""A copy of what central cannot get from anywhere else: made while it runs, put back when it is lost or to put it back in time."""

import contextlib
import json
import os
import shutil
import sqlite3
import threading
import time

import pytest

from lab import images, raw
from lab.base import run, wait_until
from lab.fleet import branch, central_of, edge_row, invite, joined, on_address
from lab.preload import preload

HOSTED = {"hosted": '["acme/**"]'}


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture
def central(bench):
    upstream = bench.faulty()
    upstream.put("library/app", images.small("mirrored"), "v1")
    return central_of(bench, upstream, **HOSTED)


def load(bench, central, image, name):
    layout = bench.place("layout")
    images.write_layout(image, layout, name.rsplit(":", 1)[1])
    central.command("load", layout, name)


def whole(node, image, repository, tag="v1"):
    assert set(raw.pull(node.port, repository, tag)) == set(image.blobs()) | set(image.manifests())


def epoch(central):
    return central.json("status")["place"]["place"]


def test_a_lost_central_is_restored_and_its_edges_go_on(bench, central):
    central.settings["fleet.certificate"] = "6s"
    central.restart()
    image, later = images.small("kept", 300_000), images.small("later")
    load(bench, central, image, "acme/app:v1")
    edge, goes = joined(bench, central), joined(bench, central)
    whole(edge, image, "acme/app")
    open_invite = invite(central)
    folder = bench.place("backup")
    said = central.command("backup", str(folder)).stdout  # while it runs
    assert "make edges" in said and json.loads((folder / "backup.json").read_text())["hosted_missing"] == 0
    assert folder.stat().st_mode & 0o777 == 0o700 and (folder / "identity/signer.pem").stat().st_mode & 0o777 == 0o600
    # What the backup does not know:
    load(bench, central, later, "acme/later:v1")
    since = joined(bench, central)
    generation = edge.identity()["generation"]
    wait_until(lambda: edge.identity()["generation"] > generation + 1, "renewed since")
    name, gone = edge.identity()["name"], goes.identity()["name"]
    central.command("edge", "remove", gone)
    wait_until(lambda: edge.json("status")["fleet"]["removed"] == 1, "the other edge knows the removal")
    fleet_id = central.json("ca", "status")["id"]
    ends = since.identity()["certificate_not_after"]
    central.kill()
    shutil.rmtree(central.data)
    wait_until(lambda: time.time() > ends, "the certificate of the one that joined since has ended: it is told of its quarantine all the same")
    said = central.command("restore", str(folder)).stdout
    assert "1 hosted blob" not in said and "edge allow" in said
    central.start()
    assert central.json("ca", "status")["id"] == fleet_id
    whole(central, image, "acme/app")
    assert raw.ask(central.port, "/v2/acme/later/manifests/v1").status == 404
    wait_until(edge.reachable, "its newer certificate is taken")
    assert edge_row(central, name)["state"] == "active"
    wait_until(lambda: edge_row(central, gone)["state"] == "removed", "the removal has come back")
    wait_until(lambda: "in quarantine" in since.why(), lambda: f"one that joined since waits: {since.json('status')}")
    assert "records do not know it" in since.why()
    central.command("edge", "allow", since.identity()["name"])
    wait_until(since.reachable, "allowed")
    assert "has expired" in branch(bench).refused(open_invite)
    whole(since, image, "acme/app")
    wait_until(lambda: edge.json("status")["replica"]["equal"], "its replica is equal to the restored catalogue")
    assert raw.ask(edge.port, "/v2/acme/later/manifests/v1").status == 404, "nothing of what the backup does not know"
    joined(bench, central)


def test_an_older_state_is_put_back_over_a_newer_one(bench, central):
    image, later = images.small("older"), images.small("newer")
    load(bench, central, image, "acme/app:v1")
    edge = joined(bench, central)
    folder = bench.place("backup")
    shutil.copy(central.data / "identity/root.pem", central.data / "identity/cross.pem")  # one is there after `ca rotate`
    cut = central.data / "identity/signer.pem.k9XbQ2.tmp"  # what a kill leaves; it has a key
    cut.write_text("half")
    central.command("backup", str(folder))
    os.utime(cut, (0, 0))
    central.restart()
    assert not cut.exists()
    wait_until(lambda: edge.json("status")["replica"]["equal"], "equal")
    before = epoch(central)
    load(bench, central, later, "acme/app:v2")
    wait_until(lambda: raw.ask(edge.port, "/v2/acme/app/manifests/v2").status == 200, "the edge has it")
    running = central.command("restore", "--replace", str(folder), check=False)
    assert running.returncode == 1 and "runs on" in running.stderr
    central.stop()
    refused = central.command("restore", str(folder), check=False)
    assert refused.returncode == 1 and "--replace" in refused.stderr
    central.command("restore", "--replace", str(folder))
    assert list(central.data.glob("before-restore-*/fleet.db")) and not (central.data / "restoring").exists()
    kept = {f.name for f in (folder / "identity").iterdir()}
    assert "cross.pem" in kept and cut.name not in kept and {f.name for f in (central.data / "identity").iterdir()} == kept
    central.start()
    assert epoch(central).split(".")[0] != before.split(".")[0], "a new epoch"
    wait_until(lambda: edge.reachable() and edge.json("status")["replica"]["equal"], "equal again")
    whole(edge, image, "acme/app")


def test_a_restore_that_is_killed_is_not_begun_or_is_finished(bench, central):
    """Whichever rename was its last, central starts as before or as restored, and never as another fleet."""
    folder, keep = bench.place("backup"), bench.place("keep")
    load(bench, central, images.small("older"), "acme/app:v1")
    central.command("backup", str(folder))
    invite(central)  # which the backup does not know
    central.stop()
    shutil.copytree(central.data, keep)
    identity = {f.name: f.read_bytes() for f in (keep / "identity").iterdir()}
    kills = preload(bench.folder, "killed")
    seen = set()
    for n in range(1, 100):
        shutil.rmtree(central.data)
        shutil.copytree(keep, central.data)
        argv = (central.binary, "restore", "--replace", str(folder), *central.arguments())
        done = run(*argv, check=False, env={**kills, "KILLED_AT": str(n)})
        central.start()
        assert {f.name: f.read_bytes() for f in (central.data / "identity").iterdir()} == identity, n
        assert raw.ask(central.port, "/v2/acme/app/manifests/v1").status == 200, n
        central.stop()
        with contextlib.closing(sqlite3.connect(central.data / "fleet.db")) as db:
            invites = db.execute("SELECT count(*) FROM invites").fetchone()[0]
        seen.add((done.returncode == 0, invites))
        assert not list(central.data.glob("restore-*")), n
        if done.returncode == 0:
            break
    assert seen == {(False, 1), (False, 0), (True, 0)}


def test_what_is_no_whole_backup_is_not_restored(bench, central):
    image = images.small("whole")
    load(bench, central, image, "acme/app:v1")
    folder, copy = bench.place("backup"), bench.place("copy")
    central.command("backup", str(folder))
    again = central.command("backup", str(folder), check=False)
    assert again.returncode == 1 and "is not empty" in again.stderr
    nowhere = central.command("backup", "/proc/nowhere", check=False)
    assert nowhere.returncode == 1 and "/proc/nowhere" in nowhere.stderr
    central.stop()
    stopped = bench.place("stopped")
    central.command("backup", str(stopped))  # without a daemon as well
    shutil.rmtree(central.data)

    def refused(change, says):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        change()
        done = central.command("restore", str(copy), check=False)
        assert done.returncode == 1 and says in done.stderr, done
        assert not (central.data / "fleet.db").exists() and not (central.data / "identity").exists()

    refused(lambda: (copy / "backup.json").unlink(), "no backup, or one that was cut")
    refused(lambda: (copy / "backup.json").write_text("{}"), "no backup of a central")
    refused(lambda: (copy / "backup.json").write_text("{"), "damaged")
    refused(lambda: (copy / "fleet.db").write_bytes(b"x" + (copy / "fleet.db").read_bytes()[1:]), "not as it was written")
    refused(lambda: (copy / "identity/signer.pem").unlink(), "signer.pem")
    central.command("restore", str(stopped))
    central.start()
    whole(central, image, "acme/app")


def test_backups_made_while_images_are_loaded_and_edges_join_are_each_whole(bench, central):
    pictures = [images.small(f"busy{i}", 50_000) for i in range(12)]
    folders, failed = [], []

    def work():
        try:
            for i, image in enumerate(pictures):
                load(bench, central, image, f"acme/busy{i}:v1")
                branch(bench).join(invite(central))
        except Exception as why:  # pylint: disable=broad-except
            failed.append(why)

    busy = threading.Thread(target=work)
    busy.start()
    while busy.is_alive():
        folders.append(bench.place("backup"))
        central.command("backup", str(folders[-1]))
    busy.join()
    assert not failed and len(folders) > 1
    central.stop()
    for folder in (folders[0], folders[len(folders) // 2], folders[-1]):
        shutil.rmtree(central.data)
        central.command("restore", str(folder))
        central.start()
        assert json.loads((folder / "backup.json").read_text())["hosted_missing"] == 0
        for i, image in enumerate(pictures):
            if raw.ask(central.port, f"/v2/acme/busy{i}/manifests/v1").status == 200:
                whole(central, image, f"acme/busy{i}")
        central.stop()


def test_a_backup_that_may_not_be_made_says_as_whom_it_can(bench, central):
    """As a user who may neither read central's folder nor write to the other."""
    folder = bench.place("no-right")
    folder.mkdir(exist_ok=True)
    nobody = ("setpriv", "--reuid", "65534", "--clear-groups", central.binary, "backup")
    for to in (folder / "backup", "/tmp/backup-of-nobody"):
        done = run(*nobody, to, *central.arguments(), check=False)
        assert done.returncode == 1 and "Permission denied" in done.stderr, done
        assert "try: run this as root (sudo)" in done.stderr, done
