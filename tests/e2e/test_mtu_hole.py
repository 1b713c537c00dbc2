"""A branch behind a tunnel: packets over a size vanish on the way, one way or the other, and no ICMP says so. `doctor` on the edge finds that,
and what it says to do helps."""

import json
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import HOST, free_port, run, wait_until
from lab.branches import Place, datacenter
from lab.fleet import ADDRESS, Branch, central_of, fleet_request, invite, nobody

MTU = 1400


@pytest.fixture(scope="module")
def world(shared_bench):
    with datacenter():
        upstream = shared_bench.faulty()
        upstream.put("library/app", images.small("tunnel", size=300_000), "v1")
        w = SimpleNamespace(central=central_of(shared_bench, upstream))
        w.place = shared_bench.add(Place(1, shared_bench.place("network"), mbit=100))
        w.edge = shared_bench.add(Branch(shared_bench.place("branch"), {"address": w.place.edge_address}))
        for machine in (w.place.machine, w.place.edge):  # what is one packet there is one packet on the line
            machine.exec("ethtool", "-K", "lan", "tso", "off", "gso", "off")
        with w.place.edge.inside():
            w.edge.join(invite(w.central, "--site", "tunnel"))
            w.edge.start()
        yield w
        shared_bench.end()


@pytest.fixture(scope="module")
def near(shared_bench):
    return shared_bench.central(("docker.io", f"http://{HOST}:{free_port()}"))


class Hole:
    """The branch's router drops what it passes on over `device` and is longer than MTU."""

    def __init__(self, place, device):
        self.place = place
        self.rule = ["FORWARD", "-o", device, "-m", "length", "--length", f"{MTU + 1}:", "-j", "DROP"]

    def __enter__(self):
        self.place.machine.exec("iptables", "-I", *self.rule)

    def __exit__(self, *_):
        self.place.machine.exec("iptables", "-D", *self.rule)


def test_join_names_an_mtu_hole_among_the_causes(world, bench):
    edge = bench.add(Branch(bench.place("branch"), {"address": world.place.edge_address}))
    token = invite(world.central, "--site", "tunnel")
    with Hole(world.place, "lan"), world.place.edge.inside():
        said = edge.refused(token)
    assert "its TLS handshake hangs" in said and "MTU" in said, said


def found(world):
    """{check: {result, message, what_to_do}} of doctor on the edge."""
    with world.place.edge.inside():
        done = run(world.edge.asks, "doctor", *world.edge.arguments(), "--json", check=False, timeout=120)
    return {c["check"]: c for c in json.loads(done.stdout)["checks"]}


def test_a_plain_road_is_measured(world):
    road = found(world)["road"]
    assert road["result"] == "ok" and "round trip" in road["message"], road
    assert "came at" in road["message"] and "went at" in road["message"], road


@pytest.mark.parametrize("device,what", [("lan", "answers"), ("wan", "requests")])
def test_doctor_finds_an_mtu_hole_and_what_it_says_helps(world, device, what):
    way = ["route", "add", f"{ADDRESS}/32", "via", f"198.18.{world.place.number}.129"]
    with Hole(world.place, device):
        road = found(world)["road"]
        assert road["result"] == "FAIL" and road["message"].startswith(f"{what} over about 1400 bytes do not arrive"), road
        assert "packets of 1400 bytes pass, packets of 1420 bytes vanish" in road["message"] and "MTU" in road["message"], road
        assert "`ip route add CENTRAL via GATEWAY mtu 1400`" in road["what_to_do"], road
        world.place.edge.ip(*way, "mtu", MTU)
        try:
            wait_until(lambda: found(world)["road"]["result"] == "ok", "the road is whole")
        finally:
            world.place.edge.ip("route", "del", f"{ADDRESS}/32")
    wait_until(lambda: found(world)["central"]["result"] == "ok", "central is reached again")


@pytest.mark.parametrize("asked,status", [
    ("?bytes=0", 200), ("?bytes=262144", 200), ("?bytes=262145", 400), ("?bytes=99999999999999999999", 400), ("?bytes=-1", 400), ("?bytes=1x", 400),
    ("?bytes=", 400), ("", 400),
])
def test_the_call_that_measures_is_bounded(near, asked, status):
    reply = raw.ask(near.fleet, f"/fleet/v1/road{asked}")
    assert reply.status == status and (status != 200 or (len(reply.body) == int(asked[7:]) and reply.headers["entrepot-seen-as"] == HOST))


def test_what_is_posted_to_measure_is_bounded(near):
    for size, status in ((65536, 200), (65537, 413)):
        with raw.Wire(near.fleet) as wire:
            wire.ask("POST", "/fleet/v1/road?bytes=3", {"Content-Length": size})
            if status == 200:  # else the head alone is refused
                wire.send(bytes(size))
            assert wire.reply("POST").status == status


def test_it_measures_for_edges_alone(world):
    assert fleet_request(world.central, "/fleet/v1/road?bytes=1", nobody())[0] == 403
