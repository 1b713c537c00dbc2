"""The edge without central. Held content is served, other requests are refused quickly and with the cause, and everything works again
when central is back."""

import hashlib
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from lab import images, raw
from lab.base import HOST, MiB, listening, wait_until
from lab.faulty import Fault


@pytest.fixture
def chain(bench):
    up = bench.registry()
    up.put("library/held", images.small("held", layers=3), "v1")
    up.put("library/cold", images.small("cold"), "v1")
    made = bench.chain(("docker.io", up.url), tap=True)
    raw.pull(made.edge.port, "library/held", "v1")
    return made


def cold(chain):
    return raw.manifest(chain.edge.port, "library/cold", "v1")


def says_why(reply):
    return reply.status in (502, 504) and "central" in reply.message.lower()


def down_and_up(chain, down, up):
    down()
    raw.pull(chain.edge.port, "library/held", "v1")
    wait_until(lambda: "warning" in raw.manifest(chain.edge.port, "library/held", "v1").headers, "tags are marked", 60, 0.1)
    raw.pull(chain.edge.port, "library/held", "v1")
    began = time.monotonic()
    assert says_why(cold(chain)), cold(chain)
    assert time.monotonic() - began < 15  # not until a time-out strikes
    took = []
    for _ in range(5):
        began = time.monotonic()
        assert says_why(cold(chain))
        took.append(time.monotonic() - began)
    assert min(took) < 1, took  # if they waited, each would; other processes may delay some
    missing = raw.blob(chain.edge.port, "library/cold", images.small("cold").layers[0].digest)
    assert says_why(missing), missing
    assert chain.edge.ready()
    assert chain.edge.metric("entrepot_central_reachable") == 0
    assert re.search(r"^central .*: not reachable for \d+ ?\w+.*: .+", chain.edge.command("status").stdout, re.M)
    up()
    wait_until(lambda: cold(chain).status == 200, "a cold pull works again", 60, 0.1)
    raw.pull(chain.edge.port, "library/cold", "v1")
    wait_until(lambda: "warning" not in raw.manifest(chain.edge.port, "library/held", "v1").headers, "the mark is gone", 60, 0.1)
    assert re.search(r"^central .*: reachable$", chain.edge.command("status").stdout, re.M)


def test_with_central_stopped_held_content_is_served_and_the_rest_refused_at_once(chain):
    down_and_up(chain, chain.central.stop, chain.central.start)


def test_a_request_for_missing_content_hastens_the_next_probe(chain):
    """Left alone, the looks come to be 5 s apart: five of them would take 25 s."""
    failures = lambda: chain.edge.json("status")["central"]["failures"]
    chain.central.stop()
    wait_until(lambda: says_why(cold(chain)) and failures() >= 1, "the edge knows that central is away")
    wait_until(lambda: failures() >= 27, "the looks are far apart", 60)  # those of the first seconds are not
    before = failures()
    wait_until(lambda: says_why(cold(chain)) and failures() >= before + 5, "each look follows a pull", 12, 0.05)
    chain.central.start()
    wait_until(lambda: cold(chain).status == 200, "a cold pull works again", 60, 0.05)


def test_a_tag_that_is_too_old_to_be_served_is_named_as_such(bench):
    up = bench.registry()
    up.put("library/held", images.small("held"), "v1")
    made = bench.chain(("docker.io", up.url), edge={"stale_for": "1s"})
    raw.pull(made.edge.port, "library/held", "v1")
    made.central.stop()
    gone = wait_until(lambda: (r := raw.manifest(made.edge.port, "library/held", "v1")).status != 200 and r, "the tag is too old", 60, 0.1)
    assert says_why(gone) and "more than stale_for allows (1 s)" in gone.message, gone
    assert raw.manifest(made.edge.port, "library/held", images.small("held").digest).status == 200


def test_with_the_link_cut_held_content_is_served_and_the_rest_refused_at_once(chain):
    down_and_up(chain, chain.tap.cut, chain.tap.mend)


def test_with_central_frozen_held_content_is_served_and_the_rest_refused_soon(chain):
    """Nothing is refused and nothing closes: the link is silent."""

    def freeze():
        os.kill(chain.central.process.pid, signal.SIGSTOP)

    def thaw():
        os.kill(chain.central.process.pid, signal.SIGCONT)

    try:
        down_and_up(chain, freeze, thaw)
    finally:
        thaw()


def frozen(process):
    """Every thread has stopped: SIGSTOP reaches one that runs a moment later."""
    states = (t.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] for t in Path(f"/proc/{process.pid}/task").iterdir())
    return all(state == "T" for state in states)


def test_a_download_whose_central_freezes_before_it_answers_is_refused_with_the_others(bench):
    up = bench.faulty()
    blob = images.noise_blob(9 * MiB, "frozen")
    up.put("library/frozen", images.single_blob(blob), "v1")
    chain = bench.chain(("docker.io", up.url))
    assert raw.manifest(chain.edge.port, "library/frozen", "v1").status == 200
    os.kill(chain.central.process.pid, signal.SIGSTOP)
    wait_until(lambda: frozen(chain.central.process), "central is frozen")
    try:
        replies = []

        def ask():
            replies.append(raw.blob(chain.edge.port, "library/frozen", blob.digest))

        crowd = [threading.Thread(target=ask) for _ in range(10)]
        [t.start() for t in crowd]
        [t.join(15) for t in crowd]
        assert len(replies) == 10 and all(says_why(r) for r in replies), replies
    finally:
        os.kill(chain.central.process.pid, signal.SIGCONT)
    wait_until(lambda: chain.edge.metric("entrepot_central_reachable") == 1, "central is back")
    assert raw.Download(chain.edge.port, "library/frozen", blob.digest, blob.data).start().join(60).good


def test_while_central_hangs_one_pull_waits_and_the_others_are_answered_at_once(bench):
    up = bench.registry()
    for name in ("one", "two"):
        up.put(f"library/{name}", images.small(name), "v1")
    made = bench.chain(("docker.io", up.url), fresh_for="1s")
    for name in ("one", "two"):
        raw.pull(made.edge.port, f"library/{name}", "v1")
    fresh = lambda name: "warning" not in raw.manifest(made.edge.port, f"library/{name}", "v1").headers
    patience = 3.0
    made.central.process.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not fresh("one"), "the first tag is marked", 60, 0.1)
        began = time.monotonic()
        for name in ("one", "two") * 5:
            assert not fresh(name)
        assert time.monotonic() - began < patience
        began = time.monotonic()
        raw.pull(made.edge.port, "library/two", "v1")
        assert time.monotonic() - began < patience
    finally:
        made.central.process.signal(signal.SIGCONT)
    wait_until(lambda: fresh("one") and fresh("two"), "the marks are gone", 60, 0.1)


def test_a_slow_upstream_does_not_make_central_silent(bench):
    """Both held tags are asked for anew while their upstream hangs: the marks are central's own, and a tag of another upstream is not
    marked at all."""
    slow, good = bench.faulty(), bench.registry()
    slow.put("library/slow", images.small("slow"), "v1")
    good.put("good/app", images.small("good"), "v1")
    made = bench.chain(("docker.io", slow.url), ("ghcr.io", good.url), fresh_for="1s")
    raw.pull(made.edge.port, "library/slow", "v1")
    raw.pull(made.edge.port, "ghcr.io/good/app", "v1")
    slow.always("/manifests/v1", Fault(stall_head=True), method=None)
    wait_until(lambda: "warning" in raw.manifest(made.edge.port, "library/slow", "v1").headers, "the slow one is marked", 60, 0.1)
    assert "warning" not in raw.manifest(made.edge.port, "ghcr.io/good/app", "v1").headers
    assert "central_silent" not in made.edge.process.text()
    assert made.edge.metric("entrepot_central_reachable") == 1
    slow.release()


def test_an_edge_that_starts_without_central_serves_what_it_holds(chain):
    chain.central.stop()
    chain.edge.restart()
    raw.pull(chain.edge.port, "library/held", "v1")
    raw.pull(chain.edge.port, "library/held", "v1", query="?ns=docker.io")
    assert says_why(cold(chain))


def test_a_tag_that_the_edge_knows_by_its_replica_alone_is_served_without_central(bench):
    """It was never asked for here; what it points to is held."""
    up = bench.registry()
    image = up.put("library/app", images.small("app"), "v1", "v2")
    central = bench.central(("docker.io", up.url), settings={"hosted": '["acme/**"]'})
    for tag in ("v1", "v2"):
        layout = bench.place("layout")
        images.write_layout(image, layout, tag)
        central.command("load", layout, f"acme/app:{tag}")
    edge = bench.edge(central.fleet)
    for name in ("acme/app", "library/app"):
        raw.pull(edge.port, name, "v1")
        raw.pull(central.port, name, "v2")
    wait_until(lambda: edge.json("status")["replica"]["tags"] == 4, "the edge has heard of all tags")
    central.stop()
    for start in (lambda: None, edge.restart):
        start()
        for name in ("acme/app", "library/app"):
            reply = raw.manifest(edge.port, name, "v2")
            assert reply.status == 200 and reply.headers["docker-content-digest"] == image.digest and "stale" in reply.headers["warning"], reply
            assert says_why(raw.manifest(edge.port, name, "v3"))


def test_a_first_start_refuses_no_name_as_unknown_before_it_has_settings(bench):
    up = bench.registry()
    up.put("team/app", images.small("first"), "v1")
    central = bench.central(("registry.example", up.url), settings={"default_upstream": "registry.example"})
    central.process.signal(signal.SIGSTOP)
    edge = bench.edge(central.fleet, start=False).spawn()
    wait_until(lambda: listening(edge.port), "the edge listens")
    with raw.Wire(edge.port) as wire:
        wire.ask("GET", "/v2/registry.example/team/app/manifests/v1")
        central.process.signal(signal.SIGCONT)
        assert wire.head()[0] in (200, 503)
    wait_until(lambda: raw.manifest(edge.port, "registry.example/team/app", "v1").status == 200, "the name is known", 60, 0.1)
    assert raw.manifest(edge.port, "other.example/team/app", "v1").status == 404


def test_a_first_start_without_central_says_why_and_recovers_later(bench):
    up = bench.registry()
    up.put("team/app", images.small("first"), "v1")
    central = bench.central(("registry.example", up.url), settings={"default_upstream": "registry.example"}, start=False)
    edge = bench.edge(central.fleet, start=False).spawn()
    wait_until(lambda: "ready" in [e.get("event") for e in edge.log()], "the edge serves")
    assert "no settings from central yet" in raw.ask(edge.admin, "/readyz").body.decode() and not edge.ready()
    status, doctor = edge.command("status").stdout, edge.command("doctor", check=False)
    assert "no settings from central yet" in status and re.search(r"^central .*: not reachable", status, re.M), status
    assert doctor.returncode == 1 and "no settings from central yet" in doctor.stdout, doctor.stdout
    layer = images.small("first").layers[0].digest
    asked = [raw.manifest(edge.port, name, "v1") for name in ("registry.example/team/app", "docker.io/team/app", "team/app")]
    asked += [raw.manifest(edge.port, "team/app", "v1", query=f"?ns={ns}") for ns in ("registry.example", "docker.io", HOST)]
    for reply in (*asked, raw.blob(edge.port, "team/app", layer), raw.ask(edge.port, "/v2/team/app/tags/list")):
        assert (reply.status, reply.json()["errors"][0]["code"], reply.headers["retry-after"]) == (503, "UNAVAILABLE", "1"), reply
        assert str(central.fleet) in reply.message and "has not yet told" in reply.message and "cannot be reached" in reply.message
    central.start()
    wait_until(lambda: raw.manifest(edge.port, "registry.example/team/app", "v1").status == 200, "the name is known", 60, 0.1)
    assert edge.ready()
    central.stop()
    assert raw.manifest(edge.restart().port, "other.example/team/app", "v1").status == 404


def test_a_first_start_that_waits_for_central_can_be_stopped(bench):
    central = bench.central(("docker.io", "http://127.0.0.1:9"))
    central.process.signal(signal.SIGSTOP)
    edge = bench.edge(central.fleet, start=False).spawn()
    wait_until(lambda: listening(edge.port), "the edge listens")
    edge.stop()
    central.process.signal(signal.SIGCONT)


def spoil(path, sealed):
    """Flips a bit in a name within an edge's settings, and makes the checksum good again if told to."""
    data = bytearray(path.read_bytes())
    data[data.rindex(b"docker.io") + 1] ^= 1
    if sealed:
        data[:32] = hashlib.sha256(data[32:]).digest()
    path.write_bytes(data)


def test_damaged_settings_are_ignored_and_fetched_again(chain):
    file = chain.edge.data / "settings.pb"
    for how in ("flipped", "sealed", "cut", "empty"):
        chain.edge.stop()
        if how in ("flipped", "sealed"):
            spoil(file, how == "sealed")
        else:
            file.write_bytes(file.read_bytes()[: 50 if how == "cut" else 0])
        chain.central.stop()
        chain.edge.spawn()
        wait_until(lambda: "ready" in [e.get("event") for e in chain.edge.log()], "the edge serves")
        if how != "sealed":  # that counts as written by this edge, until central has spoken
            held = raw.manifest(chain.edge.port, "docker.io/library/held", "v1")
            assert held.status == 503 and not chain.edge.ready(), held
        chain.central.start()
        wait_until(lambda: raw.manifest(chain.edge.port, "docker.io/library/held", "v1").status == 200, "the name is known", 60, 0.1)
        wait_until(lambda: "settings_from_central" in chain.edge.process.text(), "settings were asked for", 60, 0.1)
    assert cold(chain).status == 200


def test_with_central_stopped_a_partly_held_blob_is_refused_at_once(bench):
    up = bench.faulty()
    blob = images.noise_blob(12 * MiB, "half")
    up.put("library/half", images.single_blob(blob), "v1")
    up.on(f"/blobs/{blob.digest}", Fault(stall_after=9 * MiB))
    chain = bench.chain(("docker.io", up.url))
    assert raw.manifest(chain.edge.port, "library/half", "v1").status == 200
    down = raw.Download(chain.edge.port, "library/half", blob.digest, blob.data).start()
    part = chain.edge.part_file(blob.digest)
    wait_until(lambda: part.exists() and part.stat().st_size >= 8 * MiB, "half of it is here")
    chain.edge.kill()
    down.join(30)
    chain.central.stop()
    chain.edge.start()
    wait_until(lambda: chain.edge.metric("entrepot_central_reachable") == 0, "the edge knows that central is away")
    began = time.monotonic()
    reply = raw.blob(chain.edge.port, "library/half", blob.digest)
    assert says_why(reply), reply
    assert time.monotonic() - began < 15  # not until a time-out strikes
    up.release()
    chain.central.start()
    wait_until(lambda: chain.edge.metric("entrepot_central_reachable") == 1, "central is back")
    assert raw.Download(chain.edge.port, "library/half", blob.digest, blob.data).start().join(60).good
    assert chain.edge.metric("entrepot_resumed_bytes_total") >= 8 * MiB


def test_docker_pulls_a_held_image_while_central_is_stopped(bench, chain):
    chain.central.stop()
    docker = bench.docker(mirror=f"http://{HOST}:{chain.edge.port}")
    docker.pull("held:v1")
    docker.matches("held:v1", images.small("held", layers=3))


def test_held_tags_are_listed_while_central_is_stopped(chain):
    chain.central.stop()
    reply = raw.ask(chain.edge.port, "/v2/library/held/tags/list")
    assert reply.status == 200 and reply.json()["tags"] == ["v1"]


def test_central_serves_what_it_holds_while_its_upstream_is_stopped(bench):
    up = bench.registry()
    up.put("library/held", images.small("held"), "v1")
    made = bench.chain(("docker.io", up.url))
    raw.pull(made.central.port, "library/held", "v1")
    up.stop()
    raw.pull(made.edge.port, "library/held", "v1")
    for node, named in ((made.edge, "central"), (made.central, "docker.io")):
        reply = raw.manifest(node.port, "library/cold", "v1")
        assert reply.status in (502, 504) and reply.error_code and named in reply.message, reply
