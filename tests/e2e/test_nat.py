"""Two edges and their clients behind one NAT: central sees one address, and tells them apart by their certificates. Clients are told the
addresses that they can use, and `doctor` says which those are."""

import contextlib
import json
import socket
import ssl
from types import SimpleNamespace

import pytest

from lab import images
from lab.base import free_port, run, wait_until
from lab.branches import Network, Place, datacenter
from lab.fleet import ADDRESS, Branch, central_of, edge_row, invite

ZONE = "img.acme.example"
CONNECTIONS = 12
IMAGE = images.small("nat", size=300_000)


class Machine:
    """Another machine of the branch, beside that of the place's edge."""

    def __init__(self, place, number):
        self.network = Network(f"edge-{place.number}-{number}")
        gateway, self.address = f"198.18.{place.number}.{129 + 4 * number}", f"198.18.{place.number}.{130 + 4 * number}"
        place.machine.ip("link", "add", f"lan{number}", "type", "veth", "peer", "name", "lan", "netns", self.network.name)
        place.machine.ip("address", "add", f"{gateway}/30", "dev", f"lan{number}")
        place.machine.ip("link", "set", f"lan{number}", "up")
        self.network.ip("address", "add", f"{self.address}/30", "dev", "lan")
        self.network.ip("link", "set", "lan", "up")
        self.network.ip("route", "add", "default", "via", gateway)

    def stop(self):
        self.network.stop()


def edge_on(world, network, site="branch", **settings):
    """It is not told its address."""
    port = free_port()
    edge = world.bench.add(Branch(world.bench.place("branch"), {"registry.listen": f":{world.port}", **settings}))
    del edge.settings["address"]
    edge.port, edge.network = port, network
    with network.inside():
        edge.join(invite(world.central, "--site", site))
        edge.spawn()
    return edge


def doctor(edge):
    with edge.network.inside():
        done = run(edge.asks, "doctor", *edge.arguments(), "--json", check=False, timeout=120)
    return {c["check"]: c for c in json.loads(done.stdout)["checks"]}


@pytest.fixture(scope="module")
def world(shared_bench):
    with datacenter():
        w = SimpleNamespace(bench=shared_bench, port=free_port(), dns=free_port())
        upstream = shared_bench.faulty()
        upstream.put("library/app", IMAGE, "v1")
        w.place = shared_bench.add(Place(1, shared_bench.place("network"), mbit=100))
        w.place.machine.exec("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "wan", "-j", "MASQUERADE")
        w.seen = "198.19.1.2"  # the router's, which is all that the datacenter sees
        w.second = shared_bench.add(Machine(w.place, 1))
        sites = [{"name": "branch", "networks": [w.place.net, f"{w.seen}/32"]}, {"name": "other", "networks": ["10.9.0.0/16"]}]
        w.central = central_of(shared_bench, upstream, **{
            "registry.listen": f"{ADDRESS}:{w.port}", "limits.connections_per_address": CONNECTIONS, "registry.port": w.port, "sites": json.dumps(sites), "dns.zone": ZONE,
            "dns.listen": f"{ADDRESS}:{w.dns}", "dns.central": f"[{ADDRESS}]", "dns.ttl": "2s", "dns.answers": "2",
        })
        w.edges = [edge_on(w, w.place.edge), edge_on(w, w.second.network)]
        w.addresses = [w.place.edge_address, w.second.address]
        wait_until(lambda: sorted(named(w)) == sorted(w.addresses), "both are named")
        yield w
        shared_bench.end()


def named(world):
    """What the zone tells the branch's clients, whose resolver has the router's address, too."""
    argv = ["dig", f"@{ADDRESS}", "-p", world.dns, "+tries=1", "+time=2", "+norec", "+short", f"registry.{ZONE}"]
    done = run("nsenter", f"--net=/run/netns/{world.place.machine.name}", *argv, "-b", world.seen, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def asked(edge):
    with edge.network.inside():
        return edge.json("status")


def held_open(world, edge, count):
    """Connections that show this edge's certificate, and ask nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(edge.data / "identity/edge.pem")
    with edge.network.inside():
        return [context.wrap_socket(socket.create_connection((ADDRESS, world.central.fleet), 30)) for _ in range(count)]


def test_central_knows_both_edges_and_finds_nothing_wrong(world):
    names = [asked(e)["identity"]["name"] for e in world.edges]
    rows = [edge_row(world.central, name) for name in names]
    assert [r["state"] for r in rows] == ["active", "active"] and {r["address"] for r in rows} == {world.seen}, rows
    assert sorted(r["report"]["registry"][0] for r in rows) == sorted(f"{a}:{world.port}" for a in world.addresses), rows
    told = {c["check"]: c for c in json.loads(world.central.command("doctor", "--json", check=False).stdout)["checks"]}
    assert told["fleet"]["message"].startswith("2 edges"), told["fleet"]


def test_doctor_says_that_there_is_a_nat_and_what_clients_are_told(world):
    for edge, address in zip(world.edges, world.addresses):
        found = doctor(edge)
        assert found["road"]["result"] == "ok", found["road"]
        assert f"this edge is {address}, and central sees it as {world.seen} (NAT" in found["road"]["message"], found["road"]
        assert found["address"]["result"] == "ok" and f"clients of branch are told {address}" in found["address"]["message"], found["address"]


def test_a_client_that_has_come_to_central_is_sent_to_an_edge_of_its_branch(world):
    """It comes from the address that both edges come from, too."""
    blob = IMAGE.layers[0].digest
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "-H", f"Host: registry.{ZONE}:{world.port}"]
    done = run("nsenter", f"--net=/run/netns/{world.place.machine.name}", *argv, f"http://{ADDRESS}:{world.port}/v2/library/app/blobs/{blob}")
    status, where = done.stdout.split(" ", 1)
    names = {asked(e)["identity"]["name"] for e in world.edges}
    assert status == "307" and where.split("//")[1].split(":")[0] in {f"{name}.branch.{ZONE}" for name in names}, done.stdout


def test_connections_of_one_edge_leave_the_other_its_own(world):
    full, other = world.edges
    wires = held_open(world, full, CONNECTIONS)
    with contextlib.ExitStack() as closing:
        [closing.enter_context(w) for w in wires]
        with other.network.inside():
            other.stop()
            other.spawn()
            wait_until(other.ready, "the other edge reaches central")
            assert other.command("pull", "library/app:v1").returncode == 0
        assert wait_until(lambda: asked(other)["replica"]["equal"], "its replica is equal")
        over = held_open(world, full, 1)[0]
        closing.enter_context(over)
        assert over.recv(100).startswith(b"HTTP/1.1 503 ")


def test_doctor_warns_of_an_address_that_is_in_no_network_of_the_site(world):
    edge = edge_on(world, world.place.edge, "other", **{"registry.listen": f":{free_port()}"})
    found = lambda: doctor(edge).get("address", {"message": ""})
    said = f"clients are told {world.place.edge_address} for this edge, which is in none of the networks of other"
    wait_until(lambda: said in found()["message"], lambda: f"doctor warns: {found()}")
    assert found()["result"] == "warn" and "set the key address" in found()["what_to_do"]
    edge.stop()
    edge.settings["address"] = world.place.edge_address
    with edge.network.inside():
        edge.spawn()
        wait_until(edge.ready, "it is back")
    wait_until(lambda: found()["message"] and found()["result"] == "ok", "what is set is meant")
    edge.stop()
