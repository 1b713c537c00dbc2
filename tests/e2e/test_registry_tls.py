"""The registry port with a certificate of the fleet (registry.tls: fleet): for which names, taken by real engines, renewed under a download."""

import hashlib
import json
import shutil
import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import free_port, wait_until
from lab.fleet import ADDRESS, branch, central_of, invite, on_address

NAME = "registry.acme.example"  # that central gives to its edges
FOREIGN = "registry-1.docker.io"  # that an edge only claims
MB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


def tls_edge(bench, **settings):
    port = free_port()
    edge = branch(bench, {"registry.tls": "fleet", "registry.listen": f"{ADDRESS}:{port}", "address": ADDRESS, **settings})
    edge.port = port
    return edge


@pytest.fixture(scope="module")
def fleet(shared_bench):
    """An edge that joins while it runs, and what it said before."""
    upstream = shared_bench.faulty()
    image = images.small("tls")
    upstream.put("library/app", image, "v1")
    central = central_of(shared_bench, upstream, **{"registry.names": json.dumps([NAME])})
    edge = tls_edge(shared_bench, **{"registry.names": json.dumps([NAME, FOREIGN])}).start_not_ready()
    before = SimpleNamespace(ready=raw.ask(edge.admin, "/readyz").body.decode(), config=edge.command("client-config", "podman", check=False),
                             doctor=edge.command("doctor", check=False).stdout)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        served(edge)
    edge.join(invite(central))
    wait_until(edge.ready, "it has its certificate")
    return SimpleNamespace(upstream=upstream, image=image, central=central, edge=edge, before=before)


def served(edge):
    """The certificate that the port shows, unchecked; DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with raw.Wire(edge.port, tls=context, host=ADDRESS) as wire:
        return wire.sock.getpeercert(True)


def trusting(node):
    """A client that trusts what client-config gives to podman."""
    files = {f["path"]: f["content"] for f in node.json("client-config", "podman")["files"]}
    (ca,) = [text for path, text in files.items() if path.endswith("/ca.crt")]
    return ssl.create_default_context(cadata=ca)


def answers_as(node, name, host=ADDRESS):
    """Whether a client that trusts the fleet takes the port for this name."""
    context = trusting(node)
    with raw.Wire(node.port, host=host) as wire:
        try:
            wire.sock = context.wrap_socket(wire.sock, server_hostname=name)
        except ssl.SSLCertVerificationError:
            return False
        return wire.request("GET", "/v2/").status == 200


def test_an_edge_that_has_not_joined_says_so_and_serves_once_it_has(fleet):
    assert "has not joined a fleet, and registry.tls is fleet" in fleet.before.ready
    assert fleet.before.config.returncode == 1 and "entrepot-edge join" in fleet.before.config.stderr
    assert "-> see what `TLS` says below" in fleet.before.doctor and "FAIL  TLS" in fleet.before.doctor, fleet.before.doctor
    assert answers_as(fleet.edge, ADDRESS)


def test_a_certificate_bears_what_central_grants_and_the_rest_is_told(fleet):
    assert answers_as(fleet.edge, NAME) and answers_as(fleet.edge, fleet.edge.identity()["name"])
    assert not answers_as(fleet.edge, FOREIGN) and not answers_as(fleet.edge, "10.77.1.2")
    told = fleet.edge.json("status")["registry_certificate"]
    assert told["refused"] == [FOREIGN] and {NAME, ADDRESS} <= set(told["names"]) and told["problem"] == ""
    assert f"does not grant the name {FOREIGN}" in fleet.edge.command("status").stdout
    doctor = fleet.edge.command("doctor", check=False).stdout
    assert f"central does not grant this edge the name {FOREIGN}" in doctor and "registry.names" in doctor
    (refused, *_) = [e for e in fleet.central.log() if e["event"] == "certificate_names_refused"]
    assert refused["edge"] == fleet.edge.identity()["name"] and FOREIGN in refused["names"].split()


def written(bench, edge, kind):
    """What client-config puts below a folder; certificates also where the engine looks for them. {path: content}."""
    folder = bench.place("etc")
    folder.mkdir()
    edge.command("client-config", kind, "--write", folder)
    files = {"/" + str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    for path, file in files.items():
        if path.endswith(".crt"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, path)
    return {path: file.read_text() for path, file in files.items()}


def test_podman_pulls_over_it(bench, fleet):
    conf = written(bench, fleet.edge, "podman")["/etc/containers/registries.conf.d/50-entrepot.conf"]
    assert "insecure" not in conf
    podman = bench.podman(text=conf)
    podman.pull("docker.io/library/app:v1")
    podman.matches("docker.io/library/app:v1", fleet.image)
    assert fleet.edge.access("/manifests/")


def test_docker_pulls_over_it(bench, fleet):
    docker = bench.docker(config=json.loads(written(bench, fleet.edge, "docker")["/etc/docker/daemon.json"]))
    docker.pull("app:v1")
    docker.matches("app:v1", fleet.image)


def test_containerd_pulls_over_it(bench, fleet):
    ctr = bench.containerd()
    for path, content in written(bench, fleet.edge, "containerd").items():
        if path.endswith("hosts.toml"):
            ctr.hosts(path.split("/")[-2], text=content)
    ctr.pull("docker.io/library/app:v1")
    ctr.matches(fleet.image)
    ctr.pull(f"{ADDRESS}:{fleet.edge.port}/library/app:v1")


def test_the_port_works_from_disk_while_central_is_away(fleet):
    before = served(fleet.edge)
    fleet.central.stop()
    fleet.edge.restart()
    assert served(fleet.edge) == before and answers_as(fleet.edge, NAME)
    fleet.central.start()
    wait_until(lambda: served(fleet.edge) != before, "another is had at each start, as names may have changed")


def test_a_certificate_is_renewed_under_a_running_download(bench, fleet):
    central = central_of(bench, fleet.upstream, **{"fleet.certificate": "6s"})
    edge = tls_edge(bench)
    edge.join(invite(central))
    edge.start()
    image = images.Image([images.noise(8 * MB, 7)], compress=False)
    fleet.upstream.put("library/large", image, "v1")
    blob = image.layers[0].digest
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # on a slow machine it may have ended
    with raw.Wire(edge.port, tls=context, host=ADDRESS, receive_buffer=64 * 1024) as wire:
        assert wire.request("GET", "/v2/library/large/manifests/v1", {"Accept": images.ACCEPT}).status == 200
        first = wire.sock.getpeercert(True)
        wire.ask("GET", f"/v2/library/large/blobs/{blob}")
        status, headers = wire.head()
        got = hashlib.sha256()
        seen = {first}
        wait_until(lambda: seen.add(served(edge)) or len(seen) >= 3, "two renewals", 60)
        wire.body("GET", status, headers, got.update)
    assert status == 200 and "sha256:" + got.hexdigest() == blob


def test_central_serves_by_the_fleet_s_certificate_too(bench, fleet):
    central = bench.central(("docker.io", fleet.upstream.url), settings={"registry.tls": "fleet", "registry.names": json.dumps([NAME])})
    host = central.settings["address"]
    assert answers_as(central, NAME, host) and answers_as(central, host, host) and not answers_as(central, FOREIGN, host)
    assert f"the fleet's certificate for {NAME}" in central.command("doctor", check=False).stdout
