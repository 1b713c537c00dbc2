"""Fifty simulated edges at one central: all that central learns reaches all, however some behave, and whatever becomes of central."""

import socket
import threading

import pytest

from lab import images
from lab.base import free_port
from lab.fleet import ADDRESS, central_of, on_address
from lab.listener import Listener
from lab.sim import Sim

EDGES, DEAF = 45, 5
REF = "acme/app:v1"


@pytest.fixture(scope="module")
def address():
    yield from on_address()


@pytest.fixture
def central(bench, address):
    settings = {"hosted": '["acme/**"]', "fleet.watch_queue": "64KiB", "limits.connections_per_address": 0}
    return central_of(bench, bench.faulty(), **settings)


@pytest.fixture
def sim(bench, central):
    sim = bench.add(Sim(bench.place("sim")))
    sim.join(central, EDGES + DEAF)
    assert sim.ask("connect", EDGES)["equal"] == EDGES
    return sim


def layout(bench, image):
    folder = bench.place("layout")
    images.write_layout(image, folder, "v1")
    return folder, image.digest


def long_image(n):
    """Its record in the catalogue has about 70 KB."""
    layer = images.Bytes(b"elsewhere", "application/vnd.oci.image.layer.nondistributable.v1.tar")
    return images.Image([layer] * 1900, env=[f"N={n}"])


def test_all_see_what_changes_whoever_does_not_read_and_after_central_was_away(bench, central, sim):
    first, second = (layout(bench, images.small(word)) for word in ("first", "second"))
    sim.ask("beat", 1000)
    sim.ask("lookups", 50)
    assert sim.change(central, REF, first, second, first)["seen"]["n"] == 3 * EDGES
    # Who does not read is cut once his queue is full, and the others neither wait nor notice.
    assert sim.ask("deaf", DEAF)["deaf"] == DEAF
    for n in range(200):
        if central.metric("entrepot_watches_cut_total") == DEAF:
            break
        assert sim.change(central, f"acme/app:long-{n}", layout(bench, long_image(n)))["lost"] == 0
    seen = sim.change(central, REF, second)
    assert (seen["seen"]["n"], seen["lost"], seen["beats_failed"], seen["lookups_failed"]) == (EDGES, 0, 0, 0)
    assert sim.ask("hear")["gone"] == DEAF
    # All come back by themselves, and are equal again.
    sim.tell("back")
    central.restart()
    back = sim.answer()
    assert back["equal"] == EDGES and sim.change(central, REF, first)["seen"]["n"] == EDGES


def test_what_all_hold_and_pull_is_known_whoever_is_killed(bench, central, sim):
    sim.ask("beat", 200)
    told = sim.ask("hold", 300, 1000)
    assert told["held_told"] == 300 * EDGES and told["held_differ"] == told["beats_failed"] == 0, told
    sim.ask("churn", 1)
    assert sim.ask("rest", 2000)["held_told"] > EDGES
    sim.tell("back")
    central.kill()
    central.start()
    assert sim.answer()["equal"] == EDGES
    sim.ask("rest", 1000)
    sim.ask("churn", 0)
    told = sim.ask("hold", 300, 1000)
    assert told["held_differ"] == 0 and told["pulls_in_all"] > EDGES, told
    assert central.json("status")["pull_counts"]["total"] == told["pulls_in_all"]
    held = [e["holdings"] for e in central.json("edge", "list")["edges"] if e["report"]]
    assert held == [300] * EDGES, held


class Withholding(Listener):
    """A relay that gives the first client nothing after the head of its first answer, and carries all others whole. In TLS that is
    the first record which central sends once the client has ended the handshake."""

    def __init__(self, target):
        super().__init__(ADDRESS)
        self.target = target
        self.first = True

    def serve(self, client):
        ended, self.first = threading.Event() if self.first else None, False
        server = socket.create_connection((ADDRESS, self.target))
        threading.Thread(target=self.carry, args=(client, server, ended, False), daemon=True).start()
        self.carry(server, client, ended, True)

    def carry(self, source, sink, ended, down):
        """ended: of the first client, set by its first sealed record, which belongs to the end of the handshake."""
        given = 0
        with source, sink, source.makefile("rb") as records:
            while head := records.read(5):
                body = records.read(int.from_bytes(head[3:], "big"))
                if ended and head[0] == 23 and not down:
                    ended.set()
                given += ended is not None and down and ended.is_set()
                if given > 1:
                    continue
                try:
                    sink.sendall(head + body)
                except OSError:
                    return


def test_an_edge_whose_first_stream_stalls_is_equal_by_polls(bench, address):
    port = free_port()
    relay = bench.add(Withholding(port)).start()
    settings = {"fleet.listen": f"{ADDRESS}:{port}", "fleet.addresses": f'["{ADDRESS}:{relay.port}"]'}
    central = central_of(bench, bench.faulty(), **settings)
    sim = bench.add(Sim(bench.place("sim")))
    sim.join(central, 1)
    relay.first = True
    assert sim.ask("connect", 1, deadline_s=90)["equal"] == 1
    assert "watch_held_back" in sim.said.read_text()
