"""Two failures that have to be simulated in a container: a power cut, and a clock that jumps."""

import time
from email.utils import formatdate

import pytest

from lab import images, pki, raw
from lab.base import MiB, run, wait_until
from lab.faulty import Fault
from lab.preload import Clock, preload
from lab.scripted import Scripted

YEAR = 365 * 86400
NAME = "library/app"


def test_a_file_is_synced_before_it_is_renamed_into_blobs(bench, tmp_path):
    """A rename that follows a sync leaves a whole file or none, whenever the power goes."""
    moves = tmp_path / "moves"
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), env=preload(tmp_path, "sync_watch", SYNC_WATCH=str(moves)), edge={"store.limit": "30MiB"})
    wanted = []
    for i, size in enumerate((1, 4096, 3 * MiB, 9 * MiB, 12 * MiB, 12 * MiB)):
        blob = images.noise_blob(size, f"power {i}")
        up.put(f"{NAME}{i}", images.single_blob(blob), "v1")
        raw.pull(made.edge.port, f"{NAME}{i}", "v1")
        wanted.append(blob.digest.split(":")[1])
    # One that was cut, and goes on from what is kept.
    cut = images.noise_blob(10 * MiB, "power cut")
    up.put(f"{NAME}-cut", images.single_blob(cut), "v1")
    up.on(f"/blobs/{cut.digest}", Fault(reset_after=6 * MiB))
    raw.manifest(made.edge.port, f"{NAME}-cut", "v1")
    wait_until(lambda: raw.Download(made.edge.port, f"{NAME}-cut", cut.digest, cut.data).start().join(60).good, "it comes")
    wanted.append(cut.digest.split(":")[1])
    sample = bench.place("sample")
    images.write_layout(images.small("hosted"), sample)
    made.central.command("load", sample, "sample/hosted:latest")
    wait_until(lambda: sum(w in moves.read_text() for w in wanted) == len(wanted), "all are on disk")
    lines = moves.read_text().splitlines()
    assert len(lines) >= 2 * len(wanted)
    assert all(line.startswith("synced ") for line in lines), [line for line in lines if not line.startswith("synced ")]


@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["ahead", "back"])
def test_a_clock_that_jumps_cuts_no_download_and_keeps_no_tag(bench, tmp_path, jump):
    clock = Clock(tmp_path)
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), env=clock.env, fresh_for="1h")
    blob = images.noise_blob(9 * MiB, "clock")
    image = up.put(NAME, images.single_blob(blob), "v1")
    up.on(f"/blobs/{blob.digest}", Fault(stall_after=6 * MiB))
    assert raw.manifest(made.edge.port, NAME, "v1").status == 200
    down = raw.Download(made.edge.port, NAME, blob.digest, blob.data).start()
    wait_until(lambda: down.got >= 4 * MiB, "it is under way")
    clock.ahead(jump)
    # Everything that waits has waited no longer for that: breakers, time-outs, what is idle.
    assert raw.manifest(made.edge.port, NAME, image.digest).status == 200
    assert made.edge.ready() and made.central.ready()
    assert not down.whole and down.thread.is_alive(), down
    up.release()
    assert down.join(60).good
    # A tag whose time cannot be told is asked for again.
    moved = up.put(NAME, images.small("moved"), "v1")
    wait_until(
        lambda: raw.manifest(made.edge.port, NAME, "v1").headers.get("docker-content-digest") == moved.digest, "the tag has moved", 10
    )
    for node in (made.edge, made.central):
        assert node.json("verify")["bad"] == 0
        node.restart()
    assert raw.manifest(made.edge.port, NAME, "v1").status == 200


@pytest.mark.parametrize("days", [5, -5])
def test_doctor_names_a_wrong_clock_when_certificates_look_expired_or_not_yet_valid(bench, tmp_path, days):
    clock = Clock(tmp_path)
    clock.ahead(days * 86400)
    cert, key = pki.self_signed(bench.place("pki"), "partner")  # good for two days, as of now
    date = formatdate(time.time(), usegmt=True)
    up = bench.add(Scripted(lambda r: (404, {"Date": date}, b""), tls=pki.serving(cert, key)))
    central = bench.central(("partner.example", up.url), settings={"default_upstream": '""'}, env=clock.env, ca_file=str(cert))
    assert raw.manifest(central.port, "partner.example/library/app", "v1").status == 502
    lines = central.command("doctor", check=False).stdout.splitlines()
    failed = [line for line in lines if "FAIL" in line.upper()]
    assert "clock" in failed[0] and "certificates look expired or not yet valid" in failed[0], lines
    assert ("ahead of" if days > 0 else "behind") in failed[0]


def test_the_end_of_the_nodes_own_certificate_is_told(bench, tmp_path):
    cert, key = pki.self_signed(bench.place("pki"), "own")  # for two days
    central = bench.central(("docker.io", "http://127.0.0.1:9"), settings={"registry.cert_file": cert, "registry.key_file": key})
    end = central.metric("entrepot_certificate_not_after_seconds", port="registry")
    assert 86400 < end - time.time() < 3 * 86400
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(end))
    assert f"good until {date}" in central.command("status").stdout
    assert f"the certificate ends on {date}, in " in central.command("doctor", check=False).stdout
