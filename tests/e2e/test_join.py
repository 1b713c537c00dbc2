"""Edges that join by one token over mutual TLS: what a token is good for, what an identity is good for, and what ends it."""

import base64
import hashlib
import json
import re
import shutil
import ssl
import time
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import free_port, run, wait_until
from lab.fleet import ADDRESS, PREFIX, branch, central_of, edge_row, fleet_request, invite, joined, nobody, on_address
from lab.preload import preload

pytestmark = pytest.mark.sanitized


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture(scope="module")
def fleet(shared_bench):
    upstream = shared_bench.faulty()
    image = images.small("joined")
    upstream.put("library/app", image, "v1")
    return SimpleNamespace(bench=shared_bench, upstream=upstream, image=image, central=central_of(shared_bench, upstream))


@pytest.fixture(scope="module")
def edge(fleet):
    return joined(fleet.bench, fleet.central)


def pulls(edge, image):
    """All of it, and what was sent is kept: that follows the answer, so it is waited for."""
    raw.pull(edge.port, "library/app", "v1")
    return wait_until(lambda: edge.held(image.digest), "what was pulled is kept")


def test_central_says_how_the_first_edge_is_invited(fleet):
    assert "no edge has joined yet: `entrepot-central edge invite --site NAME`" in fleet.central.command("edge", "list").stdout
    done = fleet.central.command("edge", "invite", "shanghai", check=False)
    assert done.returncode == 2 and "name the site by its option: edge invite --site shanghai" in done.stderr, done.stderr


def test_an_invite_says_what_is_odd_about_it(fleet, bench):
    central = central_of(bench, fleet.upstream, sites=json.dumps([{"name": "shanghai", "networks": ["10.1.0.0/16"]}]))
    said = central.command("edge", "invite", "--site", "shangai").stdout
    assert "there is no site shangai under `sites` in central's configuration; did you mean shanghai?" in said, said
    assert "under `sites`" not in central.command("edge", "invite", "--site", "shanghai").stdout
    assert "under `sites`" not in fleet.central.command("edge", "invite", "--site", "shangai").stdout
    for option, value, wanted in (("--expires", "31d", "from 1s to 30d"), ("--uses", "0", "from 1 to 1000")):
        done = central.command("edge", "invite", "--site", "shanghai", option, value, check=False)
        assert done.returncode == 1 and f"try: {option}" in done.stderr and wanted in done.stderr, done.stderr


def test_an_edge_that_has_not_joined_says_how(bench):
    edge = bench.edge(free_port(), start=False).start_not_ready()
    wanted = "on central `entrepot-central edge invite --site NAME`, and here `entrepot-edge join TOKEN`"
    assert f"identity       none: {wanted}" in edge.command("status").stdout
    lines = edge.command("doctor", check=False).stdout.splitlines()
    todo = {line.split()[1]: after for line, after in zip(lines, lines[1:]) if line.startswith("FAIL")}
    assert todo["daemon"].endswith("see what `central` says below"), lines
    assert "has not joined a fleet" in todo["central"] and todo["central"].endswith(wanted), lines


def test_an_invited_edge_joins_and_pulls_over_tls(fleet, edge):
    assert edge.config.read_text() == f"site: shanghai\ncentral: https://{ADDRESS}:{fleet.central.fleet}\n"
    assert pulls(edge, fleet.image)
    row, mine = edge_row(fleet.central, edge.identity()["name"]), edge.identity()
    assert mine["site"] == row["site"] == "shanghai" and row["state"] == "active" and row["address"] == ADDRESS
    assert mine["fleet"] == fleet.central.json("ca", "status")["id"]
    assert (edge.data / "identity/edge.pem").stat().st_mode & 0o777 == 0o600
    assert not (edge.data / "identity/joining.pem").exists()


def test_who_shows_no_certificate_of_the_fleet_is_told_to_join(fleet, edge):
    for context in (None, nobody()):
        for path in ("/v2/", "/fleet/v1/watch", "/fleet/v1/upstreams"):
            status, text = fleet_request(fleet.central, path, context)
            assert status == 403 and "join" in text, (status, text)
    old = nobody()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        fleet_request(fleet.central, "/v2/", old)


def test_plain_http_is_for_a_port_on_loopback_alone(bench, fleet):
    """Whoever asks: of a port on all addresses, central's own machine is told to join, too."""
    port = free_port()
    central = bench.central(("docker.io", fleet.upstream.url), settings={"fleet.listen": f":{port}"})
    reply = raw.ask(port, "/v2/")
    assert reply.status == 403 and b"join first" in reply.body, reply
    edge = bench.edge(port, start=False).start_not_ready()
    wait_until(lambda: "join first" in edge.json("status")["central"]["message"], "the edge says what is missing")
    assert not edge.ready()
    central.stop()
    central.settings["fleet.listen"] = f"127.0.0.1:{port}"
    central.start()
    assert raw.ask(port, "/v2/").status == 200
    wait_until(edge.ready, "the edge at the end of a tunnel")


def test_a_restart_of_either_side_changes_nothing(fleet, edge):
    before = edge.identity()
    fleet.central.restart()
    edge.restart()
    assert edge.identity() == before
    wait_until(lambda: edge.json("status")["central"]["reachable"], "central is there")
    assert edge_row(fleet.central, before["name"])["state"] == "active"


def changed(token):
    """Another secret under a checksum that fits."""
    body = bytearray(base64.urlsafe_b64decode(token[len(PREFIX) :] + "=="))
    body[10] ^= 1
    body[-8:] = hashlib.sha256(body[:-8]).digest()[:8]
    return PREFIX + base64.urlsafe_b64encode(bytes(body)).decode().rstrip("=")


def test_what_is_wrong_with_a_token_is_said(fleet, bench):
    central, edge = fleet.central, branch(bench)
    brief, ends = invite(central, "--site", "shanghai", "--expires", "1s"), time.time() + 1
    token = invite(central)
    assert "is cut: it has" in edge.refused(token[:-20])
    assert "is mistyped" in edge.refused(token[:30] + ("A" if token[30] != "A" else "B") + token[31:])
    assert "does not begin with" in edge.refused("let me in")
    assert "knows no such token: it is forged" in edge.refused(changed(token))
    other = central_of(bench, fleet.upstream, **{"fleet.addresses": json.dumps([f"{ADDRESS}:{central.fleet}"])})
    assert "it is not the central that made this token" in edge.refused(invite(other))
    edge.join(token)
    assert "has joined another central already: it is shanghai-" in edge.join(invite(other), check=False).stderr
    again = branch(bench).refused(token)
    assert "was used already: shanghai-" in again and "edge invite --site shanghai" in again
    wait_until(lambda: time.time() > ends + 1, "the brief one has expired")
    assert "the token has expired on" in branch(bench).refused(brief)


def test_an_answer_that_was_lost_is_given_again(fleet, bench):
    edge = branch(bench)
    token = invite(fleet.central)
    edge.join(token)
    before = (edge.data / "identity/edge.pem").read_text()
    key = before[: before.index("-----BEGIN CERTIFICATE")]
    (edge.data / "identity/joining.pem").write_text(key)  # all that an edge has until it is answered
    (edge.data / "identity/edge.pem").unlink()
    edge.join(token)
    assert (edge.data / "identity/edge.pem").read_text() == before


def test_a_join_that_is_killed_is_finished_by_the_same_command(fleet, bench):
    """Whichever rename was its last; the identity comes before the configuration."""
    kills, states = preload(bench.folder, "killed"), set()
    for n in range(1, 20):
        edge, token = branch(bench), invite(fleet.central)
        edge.env = {**edge.env, **kills, "KILLED_AT": str(n)}
        done = edge.join(token, check=False)
        states.add(((edge.data / "identity/edge.pem").exists(), edge.config.exists()))
        if done.returncode == 0:
            break
        del edge.env["KILLED_AT"]
        edge.join(token)
        assert f"central: https://{ADDRESS}:{fleet.central.fleet}\n" in edge.config.read_text(), n
        assert not (edge.data / "identity/joining.pem").exists()
        assert "has joined this central already" in edge.join(invite(fleet.central), check=False).stderr
    assert done.returncode == 0 and states == {(False, False), (True, False), (True, True)}


def test_a_configuration_that_cannot_be_written_is_told_before_the_token_is_used(fleet, bench):
    """As in a container whose /etc/entrepot is mounted read-only, and as a user who is not root."""
    edge, token = branch(bench), invite(fleet.central)
    at = bench.place("etc")
    at.mkdir(exist_ok=True)
    join = (edge.binary, "join", token, "--config", at / "edge.yaml", "--set", f"data={edge.data}")
    done = run("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro none "$1" && shift && exec "$@"', "-", at, *join, check=False)
    assert done.returncode == 1 and "Read-only file system" in done.stderr and "try: mount it writable" in done.stderr, done
    nobody_s = ("setpriv", "--reuid", "65534", "--clear-groups", edge.binary, "join", token, "--config", "/etc/of-root.yaml")
    done = run(*nobody_s, "--set", f"data={edge.data}", check=False)
    assert done.returncode == 1 and "Permission denied" in done.stderr and "try: run this as root (sudo)\n" in done.stderr, done
    done = run(*nobody_s, "--set", "data=/tmp/of-nobody", check=False)
    assert done.returncode == 1 and "Permission denied" in done.stderr and "docker exec -u 0" in done.stderr, done
    assert not (at / "edge.yaml").exists()
    assert "joined: this edge is" in edge.command("join", token).stdout


def test_a_token_for_another_site_than_the_configuration_names_is_not_used(fleet, bench):
    edge = branch(bench)
    edge.config.write_text("# mine\nsite: berlin # here\nlog: {level: debug}\n")
    token = invite(fleet.central)
    done = edge.join(token, check=False)
    assert done.returncode == 1 and "for the site shanghai, but this edge's configuration says site: berlin" in done.stderr
    edge.config.write_text("# mine\nsite: shanghai # here\nlog: {level: debug}\n")
    edge.join(token)
    assert edge.config.read_text() == f"# mine\nsite: shanghai # here\nlog: {{level: debug}}\ncentral: https://{ADDRESS}:{fleet.central.fleet}\n"
    assert "has joined this central already" in edge.join(invite(fleet.central), check=False).stderr


def test_a_running_edge_takes_its_identity_at_once(fleet, bench):
    edge = branch(bench).start_not_ready()
    said = edge.join(invite(fleet.central)).stdout
    assert "uses it from now on" in said
    wait_until(edge.ready, "ready")
    assert pulls(edge, fleet.image)


def test_a_removed_edge_is_cut_off_within_a_second(fleet, bench):
    edge = joined(bench, fleet.central)
    assert pulls(edge, fleet.image)
    name = edge.identity()["name"]
    fleet.central.command("edge", "remove", name)
    wait_until(lambda: not edge.json("status")["central"]["reachable"], "the edge is refused")
    assert "was removed from the fleet" in edge.json("status")["central"]["message"]
    said = edge.command("doctor", check=False).stdout
    assert re.search("FAIL  central .*central refuses this edge: .*was removed from the fleet", said), said
    assert "`edge show NAME`" in said and "is not central's fleet port" not in said, said
    cut = lambda: any(e["event"] == "access" and "/fleet/v1/watch" in e["target"] and e["aborted"] == "1" for e in fleet.central.log())
    wait_until(cut, "its live connection is cut")
    assert pulls(edge, fleet.image)  # what it holds
    assert "was removed, and stays so" in fleet.central.command("edge", "allow", name, check=False).stderr
    edge.join(invite(fleet.central, "--replace", name), "--replace")
    wait_until(lambda: edge.json("status")["central"]["reachable"], "it has joined anew")
    assert edge.identity()["name"] == name and edge_row(fleet.central, name)["state"] == "active"


def test_a_replacement_at_another_site_is_refused_and_told_what_to_do(fleet, bench):
    edge = joined(bench, fleet.central)
    name, site = edge.identity()["name"], edge_row(fleet.central, edge.identity()["name"])["site"]
    done = fleet.central.command("edge", "invite", "--replace", name, "--site", "elsewhere", check=False)
    assert done.returncode == 1 and f"the edge {name} is of the site {site}, not elsewhere" in done.stderr, done
    assert f"try: leave --site out; or, for a machine of elsewhere: `edge invite --site elsewhere`, and `edge remove {name}`" in done.stderr


def test_a_copied_data_folder_puts_both_in_quarantine_until_allowed(fleet, bench):
    edge = joined(bench, fleet.central)
    name = edge.identity()["name"]
    edge.stop()
    copy = branch(bench)
    shutil.copytree(edge.data, copy.data)
    shutil.copy(edge.config, copy.config)
    edge.start()
    copy.start()

    def state():
        for one in (edge, copy):  # both ask central
            raw.manifest(one.port, "library/app", "no-such-tag")
        return edge_row(fleet.central, name)["state"]

    wait_until(lambda: state() == "quarantined", "both are noticed")
    for one in (edge, copy):
        wait_until(lambda one=one: "in quarantine" in one.json("status")["central"]["message"], "it is told")
    assert "edge allow" in fleet.central.command("edge", "show", name).stdout
    assert any(e["event"] == "edge_quarantined" and e["edge"] == name for e in fleet.central.log())
    copy.stop()
    fleet.central.command("edge", "allow", name)
    wait_until(lambda: edge.json("status")["central"]["reachable"], "the one that is left is allowed again")


def test_certificates_renew_themselves(fleet, bench):
    central = central_of(bench, fleet.upstream, **{"fleet.certificate": "6s"})
    edge = joined(bench, central)
    wait_until(lambda: edge.identity()["generation"] >= 3, "two renewals")
    assert pulls(edge, fleet.image) and edge_row(central, "shanghai-1")["state"] == "active"
    watches = [e for e in central.log() if "/fleet/v1/watch" in e.get("target", "")]
    assert not watches, "a renewal ends no connection"
    edge.stop()
    time_over = edge_row(central, "shanghai-1")["certificate_not_after"] + 1
    wait_until(lambda: time.time() > time_over, "its certificate has ended")
    generation = edge_row(central, "shanghai-1")["generation"]
    edge.start()
    wait_until(lambda: edge.identity()["generation"] > generation, "renewed by the expired one")
    wait_until(lambda: edge.json("status")["central"]["reachable"], "and taken")
