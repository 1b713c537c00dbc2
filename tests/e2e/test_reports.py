"""What edges tell central of themselves: how they are, where clients reach them, and what they hold."""

import http.client
from types import SimpleNamespace

import pytest

from lab import images, raw
from lab.base import wait_until
from lab.fleet import ADDRESS, central_of, edge_row, fleet_request, joined, nobody, on_address


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture(scope="module")
def fleet(shared_bench):
    upstream = shared_bench.faulty()
    image = images.small("reports")
    upstream.put("library/app", image, "v1")
    central = central_of(shared_bench, upstream, **{"fleet.heartbeat": "200ms"})
    edge = joined(shared_bench, central)
    return SimpleNamespace(image=image, central=central, edge=edge, name=edge.identity()["name"])


def report(fleet):
    return edge_row(fleet.central, fleet.name)["report"]


def heard(fleet):
    return (said := report(fleet)) and said["heard"] and said["registry"] and said


def test_central_shows_what_an_edge_says_of_itself(fleet):
    wait_until(lambda: heard(fleet), "the edge has reported")
    raw.pull(fleet.edge.port, "library/app", "v1")
    raw.pull(fleet.edge.port, "library/app", "v1")
    mine = lambda: fleet.edge.json("status")
    wait_until(lambda: report(fleet)["disk"]["blobs"] == mine()["store"]["blobs"] > 0, "central knows how much it holds")
    wait_until(lambda: report(fleet)["replica"]["equal"] and report(fleet)["hits"] == mine()["pulls"]["hits"], "replica and hits")
    said = report(fleet)
    assert said["registry"] == [f"127.0.0.1:{fleet.edge.port}"] and said["replica"]["lag_ms"] is not None
    assert said["saved_bytes"] > 0 and said["sent_bytes"] - said["fetched_bytes"] == said["saved_bytes"]
    shown = fleet.central.command("edge", "show", fleet.name).stdout
    assert f"127.0.0.1:{fleet.edge.port}" in shown and "% from its store" in shown, shown
    listed = fleet.central.command("edge", "list").stdout
    assert "LOAD" in listed and "equal" in listed, listed
    status = fleet.central.command("status").stdout
    assert "1 edge, 1 reporting now" in status and "% of their requests were answered from their stores" in status, status
    assert "taken by central" in fleet.edge.command("status").stdout


def test_metrics_have_a_row_for_each_edge(fleet):
    wait_until(lambda: heard(fleet), "the edge has reported")
    who = {"edge": fleet.name, "site": "shanghai"}
    assert 0 <= fleet.central.metric("entrepot_edge_heard_seconds", **who) < 60
    assert fleet.central.metric("entrepot_edge_disk_limit_bytes", **who) > 0
    assert fleet.central.metric("entrepot_edges_heard") == 1
    assert fleet.edge.metric("entrepot_reports_sent_total") > 0


def post(fleet, body, context):
    c = http.client.HTTPSConnection(ADDRESS, fleet.central.fleet, timeout=10, context=context)
    c.request("POST", "/fleet/v1/report", body, {"Content-Type": "application/x-protobuf"})
    reply = c.getresponse()
    return reply.status, reply.read()


def test_reports_are_taken_from_edges_alone_and_not_at_any_rate(fleet, bench):
    status, text = fleet_request(fleet.central, "/fleet/v1/report", nobody())
    assert status == 403 and "join" in text
    other = joined(bench, fleet.central)
    name = other.identity()["name"]
    other.stop()
    context = nobody()
    context.load_cert_chain(other.data / "identity/edge.pem")
    good = b"\x08\x01\x12\x02\x08\x2a"
    assert post(fleet, good, context)[0] == 200
    assert edge_row(fleet.central, name)["report"]["load"] == 42
    for bad, code in ((b"<html>", 400), (b"\x08\x01", 400), (b"\x08\x01\x12\x02\x08\x65", 400), (b"x" * 70_000, 413)):
        assert post(fleet, bad, context)[0] == code, bad[:20]
    c = http.client.HTTPSConnection(ADDRESS, fleet.central.fleet, timeout=10, context=context)
    statuses = set()
    for _ in range(200):
        c.request("POST", "/fleet/v1/report", good)
        reply = c.getresponse()
        reply.read()
        statuses.add(reply.status)
        if reply.status == 503:
            break
    assert statuses == {200, 503} and reply.headers["Retry-After"] == "1"
    assert heard(fleet)  # the others are not


def test_an_edge_that_is_silent_is_told_and_one_that_comes_back(fleet):
    fleet.edge.stop()
    wait_until(lambda: not report(fleet)["heard"], "central misses it")
    wait_until(lambda: "0 reporting now" in fleet.central.command("status").stdout, "also of who reported in the test before")
    fleet.edge.start()
    wait_until(lambda: heard(fleet), "it is back")


def test_central_restarts_and_is_reported_to_again(fleet):
    fleet.central.restart()
    wait_until(lambda: heard(fleet), "the edge has found it again")
    lines = [e for e in fleet.central.log() if "/fleet/v1/report" in e.get("target", "") and e["status"] == "200"]
    assert not lines  # what comes each second is not logged
