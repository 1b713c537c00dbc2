"""The fleet's authority over the years: a new root, a central that was lost, one that has moved, and what edges keep of it."""

import signal
import shutil
import time
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import free_port, wait_until
from lab.fleet import ADDRESS, branch, central_of, edge_row, invite, joined, on_address


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture(scope="module")
def upstream(shared_bench):
    upstream = shared_bench.faulty()
    for name in ("one", "two", "three"):
        upstream.put(f"library/{name}", images.small(name), "v1")
    return upstream


def ca(central):
    return central.json("ca", "status")


def missing(central):
    return [e["name"] for e in ca(central)["rotation"]["missing"]]


def pulls(edge, name):
    return raw.pull(edge.port, f"library/{name}", "v1") is not None


def test_a_new_root_waits_for_the_edge_that_is_off_then_signs_and_the_old_one_leaves(bench, upstream):
    central = central_of(bench, upstream)
    on, off = joined(bench, central), joined(bench, central)
    names = [e.identity()["name"] for e in (on, off)]
    for edge in (on, off):
        wait_until(edge.reachable, "it has said which roots it trusts")
    before = ca(central)
    assert before["rotation"]["state"] == "steady" and before["root"]["key_is_here"]
    off.stop()
    said = central.command("ca", "rotate").stdout
    assert "edges learn the new root" in said and f"waits for {names[1]}" in said and "root.pem" not in said
    wait_until(lambda: missing(central) == [names[1]], "the one that is on trusts the new root")
    spreading = ca(central)
    assert spreading["rotation"]["state"] == "spreading" and spreading["signer"] == before["signer"]
    assert spreading["root"]["sha256"] == before["root"]["sha256"] != spreading["next"]["sha256"]
    again = central.command("ca", "rotate", check=False).stderr
    assert "under way already" in again and "try: `entrepot-central ca status`" in again, again
    central.restart()  # it is on disk
    assert ca(central)["rotation"]["state"] == "spreading"
    late = joined(bench, central)  # joins in between: trusts all of them
    wait_until(lambda: missing(central) == [names[1]], "the late one has all roots")
    off.start()
    wait_until(lambda: ca(central)["rotation"]["state"] == "steady", "all have a certificate below the new root")
    after = ca(central)
    assert after["root"]["sha256"] == spreading["next"]["sha256"] and "retired" not in after and after["root"]["key_is_here"]
    assert after["standby"]["sha256"] == before["standby"]["sha256"] and after["signer"] != before["signer"]
    for edge, name in ((on, "one"), (off, "two"), (late, "three")):
        wait_until(edge.reachable, "it reaches central by the new root")
        assert pulls(edge, name) and edge_row(central, edge.identity()["name"])["state"] == "active"
        wait_until(lambda edge=edge: (edge.data / "identity/edge.pem").read_text().count("BEGIN CERT") == 4, "the old root is forgotten")
    fresh = joined(bench, central)  # by a token of the new roots
    wait_until(fresh.reachable, "joined by the new root")
    for edge in (on, off, late, fresh):
        edge.restart()
        wait_until(edge.reachable, "after a restart")


def test_a_removed_edge_is_not_waited_for(bench, upstream):
    central = central_of(bench, upstream)
    on, gone = joined(bench, central), joined(bench, central)
    wait_until(lambda: on.reachable() and gone.reachable(), "both are there")
    name = gone.identity()["name"]
    gone.stop()
    central.command("ca", "rotate")
    wait_until(lambda: missing(central) == [name], "it waits")
    assert f"waits for {name}" in central.command("ca", "status").stdout
    central.command("edge", "remove", name)
    wait_until(lambda: ca(central)["rotation"]["state"] == "steady", "it goes on without")
    assert pulls(on, "one")


def test_a_renewal_whose_answer_was_lost_over_the_switch_is_repeated(bench, upstream):
    """What the old signer has signed is answered with that signer."""
    central = central_of(bench, upstream)
    edge = joined(bench, central)
    wait_until(edge.reachable, "it is there")
    generation = edge.identity()["generation"]
    central.command("ca", "rotate")
    wait_until(lambda: ca(central)["rotation"]["state"] == "steady", "rotated")
    wait_until(lambda: edge.identity()["generation"] == generation + 1, "one renewal was enough")
    assert edge_row(central, edge.identity()["name"])["state"] == "active"


def test_the_roots_key_elsewhere_is_needed_for_a_rotation_alone(bench, upstream):
    safe = bench.place("safe")
    safe.mkdir()
    key = safe / "root.key.pem"
    central = central_of(bench, upstream, **{"fleet.ca_key_file": str(key)})
    assert key.stat().st_mode & 0o777 == 0o600 and not (central.data / "identity/root.key.pem").exists()
    edge = joined(bench, central)
    away = bench.place("away")
    shutil.move(safe, away)
    central.restart()
    assert not ca(central)["root"]["key_is_here"] and "not on this machine" in central.command("ca", "status").stdout
    joined(bench, central).stop()  # the signer is enough
    said = central.command("ca", "rotate", check=False)
    assert said.returncode == 1 and str(key) in said.stderr and "mount it" in said.stderr
    assert ca(central)["rotation"]["state"] == "steady"
    shutil.move(away, safe)
    old = key.read_text()
    central.command("edge", "remove", "shanghai-2")
    central.command("ca", "rotate")
    wait_until(lambda: ca(central)["rotation"]["state"] == "steady", "rotated")
    assert key.read_text() != old and not key.with_suffix(".pem.next").exists() and ca(central)["root"]["key_is_here"]
    assert pulls(edge, "one")


def test_a_change_of_the_root_reminds_of_the_standby_key_that_is_elsewhere(bench, upstream):
    central = central_of(bench, upstream)
    central.command("ca", "standby", "export", str(bench.place("safe.pem")))
    said = central.command("ca", "rotate").stdout
    assert f"then add the new root to the file of the standby root's key, too: cat {central.data}/identity/root.pem >>FILE" in said, said


def test_a_central_that_was_lost_is_made_anew_by_the_standby_root(bench, upstream):
    central = central_of(bench, upstream)
    edge, other = joined(bench, central), joined(bench, central)
    wait_until(lambda: edge.reachable() and other.reachable(), "both are there")
    safe = bench.place("safe.pem")
    unmounted = central.command("ca", "standby", "export", str(safe / "no/medium"), check=False)
    assert unmounted.returncode == 1 and "mount the medium before" in unmounted.stderr, unmounted
    said = central.command("ca", "standby", "export", str(safe)).stdout
    assert "ca recover" in said and safe.stat().st_mode & 0o777 == 0o600
    assert not (central.data / "identity/standby.key.pem").exists() and not ca(central)["standby"]["key_is_here"]
    again = central.command("ca", "standby", "export", str(safe) + "2", check=False)
    assert again.returncode == 1 and "exported before" in again.stderr
    before = ca(central)
    central.stop()
    shutil.rmtree(central.data)
    assert "is not what" in central.command("ca", "recover", str(edge.data / "identity/edge.pem"), check=False).stderr
    central.command("ca", "recover", str(safe))
    again = central.command("ca", "recover", str(safe), check=False).stderr
    assert "authority already" in again and "try: this is for a new machine" in again, again
    central.start()
    after = ca(central)
    assert after["id"] == before["id"] and after["root"]["sha256"] == before["standby"]["sha256"]
    assert after["standby"]["sha256"] != before["standby"]["sha256"] and after["retired"]["sha256"] == before["root"]["sha256"]
    name = edge.identity()["name"]
    for one in (edge, other):
        wait_until(lambda one=one: "in quarantine" in one.why(), "nobody is let in unseen")
    central.command("edge", "allow", name)
    wait_until(edge.reachable, "it trusts the standby root, and is allowed")
    wait_until(lambda: edge.identity()["generation"] > 1, "a certificate below the new root")
    assert pulls(edge, "two") and "in quarantine" in other.why()
    edge.restart()
    wait_until(edge.reachable, "after a restart")
    third = joined(bench, central)
    wait_until(third.reachable, "a new edge joins")


def test_a_removal_that_a_restored_central_has_forgotten_comes_back_from_an_edge(bench, upstream):
    central = central_of(bench, upstream)
    stays, goes = joined(bench, central), joined(bench, central)
    wait_until(lambda: stays.reachable() and goes.reachable(), "both are there")
    name = goes.identity()["name"]
    central.stop()
    old = bench.place("fleet.db")
    shutil.copy(central.data / "fleet.db", old)
    central.start()
    wait_until(stays.reachable, "it is back")
    central.command("edge", "remove", name)
    wait_until(lambda: stays.json("status")["fleet"]["removed"] == 1, "the removal has reached the other edge")
    goes.stop()
    central.stop()
    shutil.copy(old, central.data / "fleet.db")
    central.start()
    wait_until(lambda: edge_row(central, name)["state"] == "removed", "central has learned it again")
    assert any(e["event"] == "edge_removed" and "has shown the signed removal" in e["why"] for e in central.log())
    goes.start()
    wait_until(lambda: "was removed from the fleet" in goes.why(), "it stays out")
    # Joined anew, the same name is not held back by the removal of the old key.
    goes.join(invite(central, "--replace", name), "--replace")
    wait_until(goes.reachable, "joined anew")
    stays.restart()
    wait_until(stays.reachable, "it tells the removal again")
    assert edge_row(central, name)["state"] == "active" and goes.reachable()


def test_edges_follow_central_to_the_next_address_that_it_has_told(bench, upstream):
    central = central_of(bench, upstream)
    here, there = f"{ADDRESS}:{central.fleet}", f"{ADDRESS}:{free_port()}"
    config = bench.place("central.yaml")
    config.write_text("fleet: {addresses: []}\n")
    plain = central.arguments
    central.arguments = lambda: [*plain(), "--config", str(config)]
    central.restart()
    edge, asleep = joined(bench, central), joined(bench, central)
    wait_until(lambda: edge.reachable() and asleep.reachable(), "both are there")
    config.write_text(f'fleet: {{addresses: ["{here}", "{there}"]}}\n')
    central.process.signal(signal.SIGHUP)
    for one in (edge, asleep):
        wait_until(lambda one=one: one.json("status")["fleet"]["addresses"] == [here, there], "told before it moves")
    asleep.stop()
    foreign = central_of(bench, upstream)  # another central stands where the old one was
    foreign.stop()
    central.stop()
    central.settings["fleet.listen"] = there
    foreign.settings["fleet.listen"] = here
    foreign.start()
    central.start()
    wait_until(lambda: edge.json("status")["fleet"]["central"] == f"https://{there}", "it has found central")
    wait_until(edge.reachable, "it is used")
    assert pulls(edge, "three")
    edge.restart()
    assert edge.json("status")["fleet"]["central"] == f"https://{there}", "kept for the next start"
    asleep.start()
    wait_until(lambda: asleep.reachable() and asleep.json("status")["fleet"]["central"] == f"https://{there}", "it was off meanwhile")
