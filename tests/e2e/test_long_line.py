"""An edge behind a line as by satellite: 2 Mbit/s down, 256 kbit/s up, 600 ms for a round trip, and a buffer that holds 3 s of what is sent. It
joins, follows the catalogue, pulls and is heard like any other, also while somebody else fills the line."""

import contextlib
import json
import re
import socket
import threading
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import MiB, free_port, run, wait_until
from lab.branches import Network, datacenter
from lab.fleet import ADDRESS, Branch, central_of, invite
from lab.long_line import LongLine

ZONE = "img.acme.example"
DOWN, UP, DELAY_S, BUFFER = 2_000_000, 256_000, 0.3, 100_000
NAMES = [f"library/app{i}" for i in range(12)]


@pytest.fixture(scope="module")
def world(shared_bench):
    with datacenter():
        upstream = shared_bench.faulty()
        for name in NAMES:
            upstream.put(name, images.small(name, size=20_000), "v1")
        upstream.put("library/large", images.small("large", size=MiB), "v1")
        w = SimpleNamespace(bench=shared_bench, far=shared_bench.add(Network("far")), port=free_port(), dns=free_port())
        w.line = shared_bench.add(LongLine(w.far, 9, DOWN, UP, DELAY_S, BUFFER))
        sites = [{"name": "ship", "networks": [f"{w.line.far_address}/32"]}]
        w.central = central_of(shared_bench, upstream, **{
            "registry.port": w.port, "sites": json.dumps(sites), "dns.zone": ZONE, "dns.listen": f"{ADDRESS}:{w.dns}",
            "dns.central": f"[{ADDRESS}]", "dns.ttl": "1s",
        })
        for name in (*NAMES, "library/large"):
            raw.pull(w.central.port, name, "v1")
        w.edge = shared_bench.add(Branch(shared_bench.place("branch"), {
            "address": w.line.far_address, "registry.listen": f"{w.line.far_address}:{w.port}",
        }))
        with w.far.inside():
            w.edge.join(invite(w.central, "--site", "ship"))
            w.edge.start()
        wait_until(lambda: asked(w)["replica"]["equal"], "it has the whole catalogue")
        wait_until(lambda: named(w) == w.line.far_address, "the DNS names it")
        yield w
        shared_bench.end()


def asked(world):
    with world.far.inside():
        return world.edge.json("status")


def on_edge(world, *words):
    return run("nsenter", f"--net=/run/netns/{world.far.name}", world.edge.asks, *words, *world.edge.arguments(), check=False, timeout=300)


def named(world):
    argv = ["dig", f"@{ADDRESS}", "-p", world.dns, "+tries=1", "+time=5", "+short", f"registry.{ZONE}", f"+subnet={world.line.far_address}/32"]
    return run(*argv, check=False).stdout.strip()


def steady(world):
    """Neither side has lost the other since both met."""
    for event in ("central_unreachable", "report_not_taken", "watch_held_back"):
        assert f"event={event}" not in world.edge.process.text(), world.edge.process.tail()
    said = asked(world)
    assert said["central"]["reachable"] and said["replica"]["live"] and not said["central"]["polls"], said
    stays_named(world)


def stays_named(world):
    """Central has heard the edge all the while."""
    assert "state=silent" not in world.central.process.text(), world.central.process.tail()
    assert named(world) == world.line.far_address


@contextlib.contextmanager
def filled(world):
    """Somebody in the branch keeps the line's buffer almost full, so that whatever is sent waits there for more than 2 s."""
    over = threading.Event()
    with socket.socket(type=socket.SOCK_DGRAM) as sink:
        sink.bind((ADDRESS, 0))
        with world.far.inside():
            sender = socket.socket(type=socket.SOCK_DGRAM)

        def send():
            while not over.wait(0.005):
                if world.line.up.waiting() < 0.85 * BUFFER:
                    sender.sendto(bytes(1200), sink.getsockname())

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            wait_until(lambda: world.line.up.waiting() > 0.8 * BUFFER, "the buffer is full")
            yield
        finally:
            over.set()
            thread.join()
            sender.close()


def reports_on(world, count):
    """So many further reports are taken."""
    before = asked(world)["reports"]["sent"]
    wait_until(lambda: asked(world)["reports"]["sent"] >= before + count, f"{count} further reports are taken", 120, 0.2)


def test_doctor_tells_of_the_line_without_alarm(world):
    found = {c["check"]: c for c in json.loads(on_edge(world, "doctor", "--json").stdout)["checks"]}
    for check in ("daemon", "clock", "central", "road", "fleet", "replica", "upstreams", "address"):
        assert found[check]["result"] == "ok", found[check]
    told = re.match(r"round trip (\d+)\.\d ms, 256 KiB came at \S+ [kM]bit/s, 64.0 KiB went at \S+ kbit/s", found["road"]["message"])
    assert told and int(told[1]) >= 2000 * DELAY_S, found["road"]
    steady(world)


def test_an_image_comes_and_both_sides_hear_each_other_all_the_while(world):
    pulled = on_edge(world, "pull", "library/large:v1")
    assert pulled.returncode == 0, pulled
    reports_on(world, 3)
    steady(world)


def test_it_pulls_and_stays_in_the_dns_while_others_fill_the_line(world):
    with filled(world):
        # A new connection and its first answer take 10 s here, longer than a client waits: what is asked for comes, and the next try has it.
        wait_until(lambda: on_edge(world, "pull", f"{NAMES[0]}:v1").returncode == 0, "the image comes", 120)
        reports_on(world, 6)
        # A connection that is begun anew may take longer than it is given, also by a machine that is busy: that is borne.
        wait_until(lambda: asked(world)["central"]["reachable"], "central is reached", 60, 0.2)
        stays_named(world)
