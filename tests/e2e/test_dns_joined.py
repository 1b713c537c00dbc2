"""Edges that have joined get a place in central's DNS by themselves, and lose it when they are not well."""

import http.client
import json
from types import SimpleNamespace

import pytest

from lab.base import free_port, run, wait_until
from lab.fleet import ADDRESS, branch, central_of, edge_row, invite, nobody, on_address

ZONE = "img.acme.example"
EDGES = {"shanghai": "10.77.2.1", "suzhou": "10.77.3.1"}
SITES = [
    {"name": "shanghai", "networks": ["10.1.0.0/16"], "neighbours": ["suzhou"]},
    {"name": "suzhou", "networks": ["10.2.0.0/16"]},
]


@pytest.fixture(scope="module", autouse=True)
def addresses():
    for address in EDGES.values():
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    yield from on_address()
    for address in EDGES.values():
        run("ip", "address", "del", f"{address}/32", "dev", "lo")


def edge_at(world, site, address, port=None):
    listen = f"{address}:{port or world.port}"
    edge = branch(world.bench, {"address": address, "registry.listen": listen})
    edge.join(invite(world.central, "--site", site))
    return edge


@pytest.fixture(scope="module")
def world(shared_bench):
    w = SimpleNamespace(bench=shared_bench, port=free_port(), dns=free_port())
    w.central = central_of(shared_bench, shared_bench.faulty(), **{
        "fleet.heartbeat": "250ms", "registry.port": w.port, "sites": json.dumps(SITES), "dns.zone": ZONE,
        "dns.listen": f"{ADDRESS}:{w.dns}", "dns.central": f"[{ADDRESS}]", "dns.ttl": "1s", "dns.rate": "0", "dns.silent_after": "2s",
    })
    w.edges = {site: edge_at(w, site, address) for site, address in EDGES.items()}
    for edge in w.edges.values():
        edge.spawn()
    w.shanghai, w.suzhou = w.edges["shanghai"], w.edges["suzhou"]
    wait_until(lambda: all(answer(w, net) == EDGES[site] for net, site in (("10.1.9.0/24", "shanghai"), ("10.2.9.0/24", "suzhou"))),
               "both are named")
    return w


def answer(world, subnet, name="registry"):
    done = run("dig", f"@{ADDRESS}", "-p", world.dns, "+tries=1", "+time=2", "+norec", "+short", f"{name}.{ZONE}", f"+subnet={subnet}", check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def explained(world, client):
    return world.central.command("dns", "explain", "--client", client).stdout


def test_joined_edges_answer_for_their_sites(world):
    assert answer(world, "10.1.9.0/24") == EDGES["shanghai"] and answer(world, "10.2.9.0/24") == EDGES["suzhou"]
    assert answer(world, "0.0.0.0/0", "suzhou-1.suzhou") == EDGES["suzhou"] and answer(world, "192.0.2.0/24") == ADDRESS
    assert f"edge suzhou-1 of site suzhou, {EDGES['suzhou']}: good" in explained(world, "10.2.0.7")


def test_a_killed_edge_leaves_the_answers_and_comes_back(world):
    world.shanghai.kill()
    wait_until(lambda: answer(world, "10.1.9.0/24") == EDGES["suzhou"], "its neighbour answers")
    assert "silent, so it is not named" in explained(world, "10.1.0.7")
    world.shanghai.start()
    wait_until(lambda: answer(world, "10.1.9.0/24") == EDGES["shanghai"], "it is back")


def test_central_restarts_and_the_first_answer_is_right(world):
    world.suzhou.stop()  # nobody can have told central anew
    world.suzhou.start()
    wait_until(lambda: answer(world, "10.2.9.0/24") == EDGES["suzhou"], "it is named")
    world.central.stop()
    world.central.spawn()
    first = wait_until(lambda: answer(world, "10.2.9.0/24"), "central answers")
    assert first == EDGES["suzhou"]
    wait_until(world.central.ready, "central is ready")


def test_reasons_are_told_why_an_edge_is_not_named(world):
    other_port = edge_at(world, "suzhou", EDGES["suzhou"], free_port())
    elsewhere = edge_at(world, "berlin", EDGES["suzhou"], free_port())
    other_port.spawn()
    elsewhere.spawn()
    wait_until(lambda: "its registry does not listen on registry.port" in explained(world, "10.2.0.7"), "the port is told")
    left = lambda: {e["name"]: e for e in world.central.json("status")["dns"]["edges_not_named"]}
    wait_until(lambda: "not among the key sites" in left().get("berlin-1", {}).get("why", ""), "the site is told")
    assert answer(world, "10.2.9.0/24") == EDGES["suzhou"]
    name = other_port.identity()["name"]
    world.central.command("edge", "remove", name)
    wait_until(lambda: name not in explained(world, "10.2.0.7"), "a removed edge has no place any more")
    other_port.stop()
    elsewhere.stop()


def knock_as(world, edge, instance):
    """A request of another process with the edge's identity, as of a copy of its data folder."""
    context = nobody()
    context.load_cert_chain(edge.data / "identity/edge.pem")
    c = http.client.HTTPSConnection(ADDRESS, world.central.fleet, timeout=10, context=context)
    c.request("GET", "/fleet/v1/state", headers={"Entrepot-Instance": instance})
    return c.getresponse().status


def test_an_edge_in_quarantine_is_out_until_it_is_allowed(world):
    name = world.suzhou.identity()["name"]
    wait_until(lambda: answer(world, "10.2.9.0/24") == EDGES["suzhou"], "it is named")
    wait_until(lambda: knock_as(world, world.suzhou, f"{0xabc:016x}") == 403, "the copy is noticed", poll_s=0.3)
    assert edge_row(world.central, name)["state"] == "quarantined"
    wait_until(lambda: answer(world, "10.2.9.0/24") == ADDRESS, "central answers for its site")
    assert "in quarantine or was removed" in explained(world, "10.2.0.7")
    world.central.command("edge", "allow", name)
    wait_until(lambda: answer(world, "10.2.9.0/24") == EDGES["suzhou"], "it is named again")


def test_an_edge_that_is_removed_is_out_and_back_when_it_has_joined_anew(world):
    name = world.shanghai.identity()["name"]
    world.central.command("edge", "remove", name)
    wait_until(lambda: answer(world, "10.1.9.0/24") == EDGES["suzhou"], "its neighbour answers")
    assert edge_row(world.central, name)["state"] == "removed"
    world.shanghai.join(invite(world.central, "--replace", name), "--replace")
    wait_until(lambda: answer(world, "10.1.9.0/24") == EDGES["shanghai"], "it has joined anew")
