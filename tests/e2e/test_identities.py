"""What goes wrong with identities: certificates that are not right, copies, clocks, disks, links, and edges that were off for long."""

import shutil
import time
from types import SimpleNamespace

import pytest

from lab import images, pki, raw
from lab.base import MiB, free_port, run, wait_until
from lab.faulty import Fault
from lab.fleet import ADDRESS, Branch, branch, central_of, edge_row, fleet_request, invite, joined, nobody, on_address
from lab.preload import Clock
from lab.scripted import Scripted
from lab.tap import Tap

DAY = 86400


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture(scope="module")
def fleet(shared_bench):
    upstream = shared_bench.faulty()
    upstream.put("library/app", images.small("identities"), "v1")
    return SimpleNamespace(upstream=upstream, central=central_of(shared_bench, upstream))


def pulls(edge):
    return raw.pull(edge.port, "library/app", "v1") is not None


def showing(*files):
    context = nobody()
    context.load_cert_chain(*files)
    return context


# --- certificates ---


def test_a_certificate_of_another_authority_is_refused(fleet, bench):
    for cert, key in (pki.self_signed(bench.place("pki"), "shanghai-1"),):
        status, text = fleet_request(fleet.central, "/v2/", showing(cert, key))
        assert status == 403 and "not signed by this fleet's authority" in text, text
    foreign = central_of(bench, fleet.upstream)
    edge = joined(bench, foreign)
    status, text = fleet_request(fleet.central, "/v2/", showing(edge.data / "identity/edge.pem"))
    assert status == 403 and "not signed by this fleet's authority" in text, text
    # And the other way: an edge believes no other central, whoever stands at its address.
    port = foreign.fleet
    foreign.stop()
    other = central_of(bench, fleet.upstream)
    other.stop()
    other.settings["fleet.listen"] = f"{ADDRESS}:{port}"
    other.start()
    wait_until(lambda: "root" in edge.why(), lambda: f"it says why: {edge.why()}")
    assert not edge.reachable()
    said = edge.command("doctor", check=False).stdout
    assert "root" in said and "portal" not in said, said


def test_a_certificate_of_the_fleet_without_an_edges_role_is_refused(fleet, bench):
    """One that the authority itself has signed, for central, as whoever has taken central's key could show."""
    folder, signer = bench.place("central"), fleet.central.data / "identity/signer.pem"
    folder.mkdir()
    key, csr, cert, names = (folder / name for name in ("key", "csr", "cert", "names"))
    names.write_text(f"subjectAltName=URI:entrepot://{fleet.central.json('ca', 'status')['id']}/central\n")
    run(*"openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=central -keyout".split(), key, "-out", csr)
    run("openssl", "x509", "-req", "-in", csr, "-CA", signer, "-CAkey", signer, "-days", "2", "-extfile", names, "-out", cert)
    status, text = fleet_request(fleet.central, "/v2/", showing(cert, key))
    assert status == 403 and "not an edge's" in text, text


def test_a_site_in_the_configuration_that_is_not_the_certificates_is_told(fleet, bench):
    edge = joined(bench, fleet.central)
    edge.stop()
    edge.config.write_text(edge.config.read_text().replace("site: shanghai", "site: berlin"))
    edge.start()
    assert any(e["event"] == "identity_of_other_site" and e["joined"] == "shanghai" for e in edge.log())
    done = edge.command("doctor", check=False)
    line = next(line for line in done.stdout.splitlines() if "fleet" in line)
    assert done.returncode == 1 and "FAIL" in line and "site: berlin" in line and "shanghai" in line, done.stdout
    assert edge_row(fleet.central, edge.identity()["name"])["site"] == "shanghai"  # the certificate counts


def test_a_middlebox_that_opens_tls_is_named(fleet, bench):
    cert, key = pki.self_signed(bench.place("pki"), "Acme TLS inspection")
    box = bench.add(Scripted(lambda r: (200, {}, b"welcome"), tls=pki.serving(cert, key)))
    edge = joined(bench, fleet.central)
    edge.stop()
    edge.settings["central"] = box.url
    edge.start()
    said = '("Acme TLS inspection"): another program is there, or something on the way opens TLS'
    wait_until(lambda: said in edge.why(), lambda: edge.why())
    assert said in edge.command("doctor", check=False).stdout and not edge.reachable()
    other = branch(bench, {"central": box.url})
    assert "opens TLS" not in other.join(invite(fleet.central)).stderr  # the token's own address is tried next
    fresh = branch(bench)
    foreign = central_of(bench, fleet.upstream, **{"fleet.addresses": f'["127.0.0.1:{box.port}"]'})
    assert "opens TLS" in fresh.refused(invite(foreign))


# --- copies ---


def test_a_quarantine_is_named_in_status_doctor_and_log_with_what_can_be_done(fleet, bench):
    edge = joined(bench, fleet.central)
    name = edge.identity()["name"]
    edge.stop()
    copy = branch(bench)
    shutil.copytree(edge.data, copy.data)
    shutil.copy(edge.config, copy.config)
    edge.start()
    copy.start()

    def quarantined():
        for one in (edge, copy):
            raw.manifest(one.port, "library/app", "no-such-tag")
        return edge_row(fleet.central, name)["state"] == "quarantined"

    wait_until(quarantined, "both are noticed")
    doctor = fleet.central.command("doctor", check=False)
    log = next(e for e in fleet.central.log() if e["event"] == "edge_quarantined" and e["edge"] == name)
    for where in (fleet.central.command("status").stdout, doctor.stdout, log["hint"]):
        for way in ("edge allow", "edge remove", "edge invite --replace"):
            assert way in where, where
    assert doctor.returncode == 1 and name in doctor.stdout
    assert fleet.central.metric("entrepot_fleet_edges", state="quarantined") >= 1
    for one in (edge, copy):
        wait_until(lambda one=one: "in quarantine" in one.command("doctor", check=False).stdout, "the edge says it, too")
    copy.stop()
    fleet.central.command("edge", "remove", name)
    assert name not in fleet.central.command("doctor", check=False).stdout


def test_a_link_that_flaps_leaves_half_open_sessions_and_no_quarantine(fleet, bench):
    tap = bench.add(Tap(fleet.central.fleet, ADDRESS)).start()
    edge = branch(bench, {"central": f"https://127.0.0.1:{tap.port}"})
    edge.join(invite(fleet.central))
    edge.start()
    name = edge.identity()["name"]
    for turn in range(6):
        wait_until(edge.reachable, f"reachable, turn {turn}")
        raw.manifest(edge.port, "library/app", f"no-such-tag-{turn}")
        tap.half_open()
        if turn % 2:
            edge.restart()
    wait_until(edge.reachable, "reachable in the end")
    assert pulls(edge) and edge_row(fleet.central, name)["state"] == "active"


# --- renewals ---


def test_a_renewal_whose_answer_was_lost_is_repeated_and_is_no_copy(fleet, bench):
    """The answer cannot be kept, as if it had never come: for a while, and over a kill."""
    central = central_of(bench, fleet.upstream, **{"fleet.certificate": "20s"})
    edge = joined(bench, central)
    folder, name = edge.data / "identity", edge.identity()["name"]
    edge.stop()
    (folder / "renewal").write_bytes(b"0123456789abcdef")  # the id of a renewal that was begun
    run("mount", "--bind", folder, folder)
    try:
        run("mount", "-o", "remount,bind,ro", folder)
        edge.start()
        answered = lambda: [e for e in central.access("/fleet/v1/renew") if e["status"] == "200"]
        wait_until(lambda: len(answered()) >= 2, "it is answered more than once")
        edge.kill()
        edge.start()
        wait_until(lambda: edge.reachable() and edge.identity()["generation"] == 1, "it goes on with what it has")
    finally:
        run("umount", folder)
    wait_until(lambda: edge.identity()["generation"] == 2, "the same certificate again")
    wait_until(edge.reachable, "by the new one")
    assert edge_row(central, name)["state"] == "active" and edge_row(central, name)["generation"] == 2


def test_renewals_drop_no_connection_and_no_download(fleet, bench):
    central = central_of(bench, fleet.upstream, **{"fleet.certificate": "4s"})
    edge = joined(bench, central)
    blob = images.noise_blob(12 * MiB, "long")
    fleet.upstream.put("library/long", images.single_blob(blob), "v1")
    fleet.upstream.on(f"/blobs/{blob.digest}", Fault(rate=MiB))
    raw.manifest(edge.port, "library/long", "v1")
    first = edge.identity()["generation"]
    down = raw.Download(edge.port, "library/long", blob.digest, blob.data).start()
    wait_until(lambda: edge.identity()["generation"] >= first + 2, "two renewals while it comes", 30)
    assert down.thread.is_alive(), "it still comes"
    assert down.join(60).good
    assert not [e for e in central.access("/fleet/v1/watch")], "no watch has ended"
    assert edge_row(central, edge.identity()["name"])["state"] == "active"


# --- off for long, wrong clocks ---


def later(bench, fleet, days, change=None):
    """An edge that was off for so many days, and its central, by their clocks."""
    clock = Clock(bench.place("clock"))
    central = central_of(bench, fleet.upstream)
    central.env = {**central.env, **clock.env}
    edge = joined(bench, central)
    wait_until(edge.reachable, "there")
    edge.stop()
    central.stop()
    if change:
        central.start()
        change(central, edge)
        central.stop()
    clock.ahead(days * DAY)
    edge.env = {**edge.env, **clock.env}
    central.start()
    return central, edge


def test_an_edge_whose_clock_is_far_ahead_does_not_renew_again_and_again(fleet, bench):
    """Each certificate has ended by its clock when it comes."""
    clock = Clock(bench.place("clock"), 40 * DAY)
    edge = joined(bench, fleet.central, env=clock.env)
    wait_until(lambda: edge.identity()["generation"] == 2, "it renews once")
    said = edge.command("doctor", check=False).stdout  # meanwhile, the time for hundreds
    assert "3456000 s ahead of the clock of central" in said, said
    assert pulls(edge) and edge.identity()["generation"] == 2
    clock.ahead(0)
    edge.restart()
    wait_until(edge.reachable, lambda: edge.why())
    assert edge.identity()["generation"] == 2


def test_an_edge_that_was_off_for_sixty_days_renews_by_its_old_key(fleet, bench):
    central, edge = later(bench, fleet, 60)
    edge.start()
    wait_until(lambda: edge.identity()["generation"] == 2, lambda: f"it is taken: {edge.why()}")  # before, it assumes that central is there
    wait_until(edge.reachable, lambda: edge.why())
    assert edge_row(central, edge.identity()["name"])["state"] == "active"
    assert pulls(edge)
    assert any(e["event"] == "edge_renewed_late" and int(e["days"]) == 30 for e in central.log())


def test_an_edge_that_was_off_for_too_long_is_told_what_to_do(fleet, bench):
    central, edge = later(bench, fleet, 130)
    edge.start()
    wait_until(lambda: "longer ago than fleet.rejoin_window allows" in edge.why(), lambda: edge.why())
    name = edge.identity()["name"]
    assert f"edge invite --replace {name}" in edge.command("doctor", check=False).stdout
    edge.join(invite(central, "--replace", name), "--replace")
    wait_until(edge.reachable, "joined anew")


def test_an_edge_that_was_removed_while_it_was_off_stays_out(fleet, bench):
    central, edge = later(bench, fleet, 60, lambda central, edge: central.command("edge", "remove", "shanghai-1"))
    edge.start()
    wait_until(lambda: "was removed from the fleet" in edge.why(), lambda: edge.why())


@pytest.mark.parametrize("seconds", [-int(time.time()) + 1000, 600, -600, -3600, 14 * DAY], ids=["1970", "fast", "slow", "hour", "days"])
def test_an_edge_whose_clock_is_wrong_joins_and_pulls(fleet, bench, seconds):
    clock = Clock(bench.place("clock"), seconds)
    edge = bench.add(Branch(bench.place("branch"), None, env=clock.env))
    edge.join(invite(fleet.central))
    edge.start()
    wait_until(edge.reachable, lambda: edge.why())
    assert pulls(edge) and edge_row(fleet.central, edge.identity()["name"])["state"] == "active"
    wait_until(lambda: abs(edge.metric("entrepot_clock_ahead_seconds") - seconds) < 60, "it says how wrong")


# --- disks ---


def test_a_disk_that_is_full_while_the_key_is_written_leaves_nothing_and_the_token_good(fleet, bench):
    edge = branch(bench)
    edge.data.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", "size=64k", "entrepot-lab", edge.data)
    try:
        filler = edge.data / "filler"
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(512))
            except OSError:
                pass
        token = invite(fleet.central)
        done = edge.join(token, check=False)
        assert done.returncode == 1 and "space" in done.stderr.lower(), done
        assert not edge.config.exists() and not (edge.data / "identity/edge.pem").exists()
        filler.unlink()
        edge.join(token)
        assert (edge.data / "identity/edge.pem").stat().st_mode & 0o777 == 0o600
    finally:
        run("umount", "-l", edge.data)


# --- what doctor and metrics say ---


def test_doctor_and_metrics_tell_of_the_fleet(fleet, bench):
    central = central_of(bench, fleet.upstream)
    edge = joined(bench, central)
    wait_until(edge.reachable, "there")
    line = next(line for line in central.command("doctor", check=False).stdout.splitlines() if "fleet" in line)
    assert "ok" in line and f"tokens name {ADDRESS}:{central.fleet}, which answers" in line, line
    line = next(line for line in edge.command("doctor", check=False).stdout.splitlines() if "fleet" in line)
    assert "ok" in line and "shanghai-1 of shanghai, certificate good until" in line, line
    end = edge.metric("entrepot_certificate_not_after_seconds", port="fleet")
    assert abs(end - time.time() - 30 * DAY) < DAY and edge.metric("entrepot_identity_generation") == 1
    assert edge.metric("entrepot_identity_roots") == 2 and central.metric("entrepot_fleet_edges", state="active") == 1
    assert central.metric("entrepot_certificate_not_after_seconds", port="fleet root") > time.time() + 19 * 365 * DAY
    assert "shanghai-1 of shanghai" in edge.command("status").stdout and "1 edge, " in central.command("status").stdout
    central.settings["fleet.addresses"] = f'["{ADDRESS}:{free_port()}"]'
    central.restart()
    line = next(line for line in central.command("doctor", check=False).stdout.splitlines() if "fleet" in line)
    assert "warn" in line and "does not answer from here" in line, line
