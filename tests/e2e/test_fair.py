"""A client that asks for too much has to wait, or is refused with Retry-After; the others are served as usual."""

import selectors
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import images
from lab.base import MiB, wait_until
from lab.faulty import Fault
from lab.raw import Cut, Wire

NAME = "library/app"
GREEDY, OTHER = "127.0.0.2", "127.0.0.3"


def manifest_of(tag):
    return f"/v2/docker.io/{NAME}/manifests/{tag}"


def blob_of(digest):
    return f"/v2/docker.io/{NAME}/blobs/{digest}"


def begin(port, method, targets, source=GREEDY):
    """One connection for each, asked and not read."""
    wires = []
    for target in targets:
        wires.append(Wire(port, 60, source=source))
        wires[-1].ask(method, target)
    return wires


def end(wires):
    for wire in wires:
        wire.close()


def get(port, target, source=OTHER, method="GET"):
    with Wire(port, 60, source=source) as wire:
        return wire.request(method, target)


def heads(wires, enough=bool):
    """The answers that have come when it is quiet for a second, and enough(answers): {status: [headers]}."""
    found = {}
    with selectors.DefaultSelector() as awaited:
        for wire in wires:
            awaited.register(wire.sock, selectors.EVENT_READ, wire)
        while awaited.get_map() and (ready := awaited.select(1 if enough(found) else 60)):
            for key, _ in ready:
                awaited.unregister(key.fileobj)
                try:
                    status, headers = key.data.head()
                except (OSError, Cut):
                    continue
                found.setdefault(status, []).append(headers)
    return found


@pytest.fixture
def slow_upstream(bench):
    """Its blobs come at 64 KiB/s; tags that begin with "no" are never answered."""
    up = bench.faulty()
    up.put(NAME, images.small("fair"), "v1")
    up.always("/blobs/", Fault(rate=64 * 1024), method="GET")
    up.always("/manifests/no", Fault(stall_head=True))
    return up


def test_many_slow_blobs_of_one_client_leave_room_for_another_s(bench, slow_upstream):
    blobs = [slow_upstream.put_blob(NAME, images.noise_blob(4 * MiB, f"b{i}")) for i in range(40)]
    small = slow_upstream.put_blob(NAME, images.noise_blob(8 * 1024, "small"))
    central = bench.central(("docker.io", slow_upstream.url))
    wires = begin(central.port, "GET", [blob_of(b.digest) for b in blobs])
    try:
        wait_until(lambda: central.metric("entrepot_places_waiting", door="docker.io") >= 25, "the others wait")
        assert central.metric("entrepot_places_taken", door="docker.io") < central.metric("entrepot_places", door="docker.io")
        reply = get(central.port, blob_of(small.digest))
        assert reply.status == 200 and reply.whole
        assert get(central.port, manifest_of("v1")).status == 200
    finally:
        end(wires)


def test_a_small_blob_is_not_behind_sixty_slow_ones_of_the_same_address(bench, slow_upstream):
    blobs = [slow_upstream.put_blob(NAME, images.noise_blob(4 * MiB, f"n{i}")) for i in range(60)]
    small = [slow_upstream.put_blob(NAME, images.noise_blob(8 * 1024, f"small{i}")) for i in range(2)]
    central = bench.central(("docker.io", slow_upstream.url))
    wires = begin(central.port, "GET", [blob_of(b.digest) for b in blobs])
    try:
        wait_until(lambda: central.metric("entrepot_places_waiting", door="docker.io") >= 45, "the others wait")
        for blob, source in zip(small, (GREEDY, OTHER)):
            reply = get(central.port, blob_of(blob.digest), source=source)
            assert reply.status == 200 and reply.whole
        assert get(central.port, manifest_of("v1"), source=GREEDY).status == 200
        assert central.metric("entrepot_places_taken", door="docker.io") <= 16
    finally:
        end(wires)


def test_many_slow_blobs_of_many_addresses_leave_room_for_one_more(bench, slow_upstream):
    blobs = [slow_upstream.put_blob(NAME, images.noise_blob(8 * MiB, f"m{i}")) for i in range(60)]
    small = slow_upstream.put_blob(NAME, images.noise_blob(8 * 1024, "small"))
    made = bench.chain(("docker.io", slow_upstream.url), edge={"central_requests": 16})
    wires = []
    try:
        for i, blob in enumerate(blobs):
            wires += begin(made.edge.port, "GET", [blob_of(blob.digest)], source=f"127.0.1.{i + 1}")
        wait_until(lambda: made.edge.metric("entrepot_places_waiting", door="central") >= 30, "the others wait")
        reply = get(made.edge.port, blob_of(small.digest))
        assert reply.status == 200 and reply.whole
    finally:
        end(wires)


def test_blobs_that_give_way_to_each_other_all_come_whole(bench):
    up = bench.faulty()
    up.put(NAME, images.small("fair"), "v1")
    up.always("/blobs/", Fault(rate=512 * 1024), method="GET")
    blobs = [up.put_blob(NAME, images.noise_blob(1 * MiB, f"w{i}")) for i in range(16)]
    made = bench.chain(("docker.io", up.url), max_parallel=4)
    with ThreadPoolExecutor(len(blobs)) as pool:
        replies = list(pool.map(lambda b: get(made.edge.port, blob_of(b.digest)), blobs))
    for blob, reply in zip(blobs, replies):
        assert reply.status == 200 and reply.whole and images.digest_of(reply.body) == blob.digest
    assert made.central.metric("entrepot_places_gave_way_total", door="docker.io") > 0


def test_a_client_with_a_full_queue_is_refused_and_no_other(bench, slow_upstream):
    central = bench.central(("docker.io", slow_upstream.url))
    wires = begin(central.port, "HEAD", [manifest_of(f"no{i}") for i in range(320)])
    try:
        wait_until(lambda: central.metric("entrepot_places_refused_total", door="docker.io") > 0, "some are refused")
        for tag in ("v1", "other"):
            assert get(central.port, manifest_of(tag)).status == (200 if tag == "v1" else 404)
        refused = heads(wires[-20:]).get(503, [])
        assert refused and all(int(h["retry-after"]) > 0 for h in refused)
        assert central.metric("entrepot_places_waiting", door="docker.io") <= 256
        assert central.metric("entrepot_places_callers", door="docker.io") >= 1
    finally:
        end(wires)


def test_small_requests_do_not_keep_blobs_waiting(bench, slow_upstream):
    blob = slow_upstream.put_blob(NAME, images.noise_blob(8 * 1024, "beside"))
    central = bench.central(("docker.io", slow_upstream.url))
    wires = begin(central.port, "HEAD", [manifest_of(f"no{i}") for i in range(60)])
    try:
        wait_until(lambda: central.metric("entrepot_places_waiting", door="docker.io") >= 40, "the others wait")
        reply = get(central.port, blob_of(blob.digest), source=GREEDY)  # even the same client's
        assert reply.status == 200 and reply.whole
    finally:
        end(wires)


def test_one_client_does_not_take_an_edge_s_requests_to_central(bench, slow_upstream):
    blobs = [slow_upstream.put_blob(NAME, images.noise_blob(4 * MiB, f"e{i}")) for i in range(30)]
    made = bench.chain(("docker.io", slow_upstream.url), edge={"central_requests": 16})
    wires = begin(made.edge.port, "GET", [blob_of(b.digest) for b in blobs])
    try:
        wait_until(lambda: made.edge.metric("entrepot_places_waiting", door="central") > 0, "some wait")
        assert made.edge.metric("entrepot_places", door="central") == 16
        assert get(made.edge.port, manifest_of("v1")).status == 200
        assert get(made.edge.port, manifest_of("other")).status == 404
        assert made.edge.metric("entrepot_places_taken", door="central") <= 16
    finally:
        end(wires)


def test_central_tells_the_clients_of_an_edge_apart(bench, slow_upstream):
    blobs = [slow_upstream.put_blob(NAME, images.noise_blob(4 * MiB, f"a{i}")) for i in range(30)]
    small = slow_upstream.put_blob(NAME, images.noise_blob(8 * 1024, "small"))
    made = bench.chain(("docker.io", slow_upstream.url))
    wires = begin(made.edge.port, "GET", [blob_of(b.digest) for b in blobs])
    wires += begin(made.edge.port, "HEAD", [manifest_of(f"no{i}") for i in range(40)])
    waiting = lambda: made.central.metric("entrepot_places_waiting", door="docker.io")
    try:
        wait_until(lambda: waiting() >= 40, "the greedy client's requests wait at central")
        assert get(made.edge.port, manifest_of("v1")).status == 200
        reply = get(made.edge.port, blob_of(small.digest))
        assert reply.status == 200 and reply.whole
        assert waiting() >= 40, "the other client's were behind them"
        assert made.central.metric("entrepot_places_callers", door="docker.io") >= 1
    finally:
        end(wires)


def test_a_connection_over_the_limit_of_the_fleet_port_is_refused_and_opens_no_breaker(bench, slow_upstream):
    made = bench.chain(("docker.io", slow_upstream.url), central={"limits": {"connections_per_address": 6}})
    wires = [Wire(made.central.fleet, 10) for _ in range(12)]
    try:
        refused = heads(wires, lambda found: len(found.get(503, [])) >= 6).get(503, [])
        assert len(refused) >= 6 and all(int(h["retry-after"]) > 0 for h in refused)
        statuses = {get(made.edge.port, manifest_of(tag)).status for tag in ("a1", "a2", "a3")}
        assert statuses <= {404, 503}, statuses
    finally:
        end(wires)
    wait_until(lambda: get(made.edge.port, manifest_of("v1")).status == 200, "central answers again")
    assert "event=central_unreachable" not in made.edge.process.text()


def test_the_rest_of_a_pull_limit_is_shared_among_clients(bench):
    up = bench.faulty()
    for i in range(40):
        up.put(NAME, images.small(f"limit-{i}"), f"v{i}")
    few = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "12;w=21600"}
    up.always("/manifests/", Fault(headers=few), method="GET")
    central = bench.central(("docker.io", up.url))
    statuses = [get(central.port, manifest_of(f"v{i}"), source=GREEDY).status for i in range(30)]
    assert statuses[:10] == [200] * 10 and statuses[-1] == 429, statuses
    refused = get(central.port, manifest_of("v29"), source=GREEDY)
    assert refused.status == 429 and int(refused.headers["retry-after"]) > 0
    assert get(central.port, manifest_of("v35"), source=OTHER).status == 200
    assert get(central.port, manifest_of("v0"), source=GREEDY).status == 200  # held
    assert get(central.port, manifest_of("v36"), source=GREEDY, method="HEAD").status == 200
    assert central.metric("entrepot_upstream_pulls_kept_total", upstream="docker.io") > 0


def test_lists_of_one_client_take_turns_and_metrics_do_not_wait(bench):
    up = bench.faulty()
    up.put(NAME, images.small("lists"), "v1")
    central = bench.central(("docker.io", up.url), settings={"limits": {"waiting_per_address": 4, "waiting": 20}})
    assert get(central.port, manifest_of("v1")).status == 200
    wires = begin(central.port, "GET", ["/v2/_catalog"] * 200)
    try:
        found = heads(wires, lambda found: 200 in found)
        assert set(found) <= {200, 429} and found[200]
        assert all(int(h["retry-after"]) > 0 for h in found.get(429, []))
        assert get(central.port, "/v2/_catalog").status == 200
        assert central.metric("entrepot_places", door="lists") == 2
        assert central.metric("entrepot_places_waiting", door="lists") == 0
    finally:
        end(wires)


def test_lists_that_one_client_reads_slowly_leave_room_for_others(bench):
    up = bench.faulty()
    image = images.small("tags")
    up.put(NAME, image, *[f"t{i:06d}-{'x' * 100}" for i in range(20_000)])
    central = bench.central(("docker.io", up.url))
    tags = f"/v2/docker.io/{NAME}/tags/list"
    wires = []
    try:
        for _ in range(70):
            wires.append(Wire(central.port, 60, receive_buffer=4096, source=GREEDY))
            wires[-1].ask("GET", tags)
        wait_until(lambda: central.metric("entrepot_places_refused_total", door="tag lists") >= 14, "some are refused")
        reply = get(central.port, tags)
        assert reply.status == 200 and reply.whole
        assert central.metric("entrepot_places_taken", door="tag lists") <= 57
    finally:
        end(wires)
