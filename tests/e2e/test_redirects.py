"""Clients whose resolver does not tell the DNS where they are come to central; central sends them to their edge for blobs."""

import http.client
import socket
from types import SimpleNamespace

import pytest

from lab import images
from lab.base import free_port, run, wait_until
from lab.images import digest_of

ZONE = "img.acme.example"
CENTRAL, EDGE, ELSEWHERE = "127.0.3.1", "127.0.3.2", "127.9.0.1"  # a client's own address is 127.0.0.1


@pytest.fixture(scope="module", autouse=True)
def names(tmp_path_factory):
    """What a resolver would answer that tells no client subnet: central for the registry, and each edge by its own name."""
    file = tmp_path_factory.mktemp("names") / "hosts"
    with open("/etc/hosts", encoding="utf-8") as f:
        file.write_text(f"{f.read()}\n{CENTRAL} registry.{ZONE}\n{EDGE} a.here.{ZONE}\n")
    run("mount", "--bind", file, "/etc/hosts")
    yield
    run("umount", "/etc/hosts")


@pytest.fixture(scope="module")
def fleet(shared_bench):
    up = shared_bench.faulty()
    image = images.small("directed")
    up.put("library/app", image, "v1")
    port = free_port()
    sites = f"[{{name: here, networks: [127.0.0.0/16], edges: [{{name: a, address: {EDGE}}}]}}]"
    central = shared_bench.central(("docker.io", up.url), settings={
        "registry.listen": f"{CENTRAL}:{port}", "registry.port": port, "registry.names": f'["registry.{ZONE}:{port}"]',
        "dns.zone": ZONE, "dns.listen": f"127.0.0.1:{free_port()}", "dns.central": f"[{CENTRAL}]", "sites": sites,
    })
    edge = shared_bench.edge(central.fleet, settings={"registry.listen": f"{EDGE}:{port}", "registry.names": f'["registry.{ZONE}:{port}"]'})
    made = SimpleNamespace(up=up, image=image, blob=list(image.blobs())[0], central=central, edge=edge, port=port)
    wait_until(lambda: asked(made).status == 307, "the edge is known to be well")
    return made


def asked(fleet, host=f"registry.{ZONE}", source="127.0.0.1", method="GET", path=None, address=CENTRAL):
    """What central answers a client at that address that came by that name."""
    c = http.client.HTTPConnection(address, fleet.port, timeout=30, source_address=(source, 0))
    path = path or f"/v2/library/app/blobs/{fleet.blob}?ns=docker.io"
    c.request(method, path, headers={"Host": f"{host}:{fleet.port}"})
    reply = c.getresponse()
    body = reply.read()
    c.close()
    return SimpleNamespace(status=reply.status, headers=reply.headers, body=body, path=path)


def test_a_blob_is_had_from_the_edge_by_the_same_path(fleet):
    sent = asked(fleet)
    assert sent.status == 307 and sent.body == b""
    assert sent.headers["location"] == f"http://a.here.{ZONE}:{fleet.port}{sent.path}"
    got = asked(fleet, host=f"a.here.{ZONE}", address=socket.gethostbyname(f"a.here.{ZONE}"))
    assert got.status == 200 and digest_of(got.body) == fleet.blob
    assert fleet.central.metric("entrepot_redirected_blobs_total") >= 1
    assert fleet.central.json("status")["pulls"]["redirected"] >= 1


def test_all_else_is_answered_by_central_itself(fleet):
    assert asked(fleet, method="HEAD").status == 200
    assert asked(fleet, path="/v2/library/app/manifests/v1").status == 200
    assert asked(fleet, host=CENTRAL).status == 200, "it asked for central"
    assert asked(fleet, host=f"central.{ZONE}").status == 200
    assert asked(fleet, source=EDGE).status == 200, "an edge, or what runs beside it"
    assert asked(fleet, source=ELSEWHERE).status == 200, "of no site"
    assert asked(fleet, address=EDGE).status == 200, "an edge sends nobody on"


@pytest.mark.parametrize("engine", ["docker", "containerd", "podman"])
def test_engines_follow(bench, fleet, engine):
    image = images.small(f"for {engine}")
    fleet.up.put(f"library/{engine}", image, "v1")
    at = f"registry.{ZONE}:{fleet.port}"
    if engine == "docker":
        client = bench.docker(mirror=f"http://{at}")
        client.pull(f"{engine}:v1")
        client.matches(f"{engine}:v1", image)
    elif engine == "containerd":
        client = bench.containerd()
        client.hosts("docker.io", f"http://{at}")
        client.pull(f"docker.io/library/{engine}:v1")
        client.matches(image)
    else:
        client = bench.podman({"docker.io": at})
        client.pull(f"docker.io/library/{engine}:v1")
        client.matches(f"docker.io/library/{engine}:v1", image)
    blobs = image.blobs()
    at_central = [e["status"] for d in blobs for e in fleet.central.access(d) if e["method"] == "GET" and e["agent"] != "entrepot"]
    at_edge = [e["status"] for d in blobs for e in fleet.edge.access(d) if e["method"] == "GET"]
    assert at_central == ["307"] * len(blobs) and at_edge == ["200"] * len(blobs)


def test_a_lost_edge_is_not_named_and_redirects_can_be_turned_off(fleet):
    fleet.edge.stop()
    wait_until(lambda: asked(fleet).status == 200, "central serves it itself")
    fleet.edge.start()
    wait_until(lambda: asked(fleet).status == 307, "the edge is back")
    fleet.central.settings["redirect"] = "off"
    fleet.central.restart()
    assert asked(fleet).status == 200
