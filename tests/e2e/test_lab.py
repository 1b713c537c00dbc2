"""Tests of the lab itself, against Debian's docker-registry: the other tests rely on what is proved here."""

import os
import signal
from pathlib import Path

import pytest

from lab import clients, images, isolation, raw
from lab.base import REPO, MiB, Process, run, wait_until
from lab.faulty import Fault
from lab.nodes import parse_line, parse_metrics

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def upstream(shared_bench):
    up = shared_bench.registry()
    up.put("library/app", images.small(), "v1")
    up.put("library/sixty", images.sixty_layers(), "v1")
    up.put("library/multi", images.multi_platform(), "v1")
    up.put("library/one", images.one_byte(), "v1")
    return up


@pytest.fixture(scope="module")
def mirror(shared_bench, upstream):
    """docker-registry as pull-through stands in for the edge."""
    return shared_bench.registry(mirror_of=upstream.url)


def test_images_written_into_storage_are_served_and_verify(upstream):
    for name, image in [("app", images.small()), ("sixty", images.sixty_layers()), ("multi", images.multi_platform())]:
        got = raw.pull(upstream.port, f"library/{name}", "v1")
        assert set(got) == set(image.blobs()) | set(image.manifests())


def test_access_log_counts_requests_and_bytes(upstream):
    layer = images.small().layers[0]
    mark = upstream.mark()
    assert raw.blob(upstream.port, "library/app", layer.digest).body == layer.data
    wait_until(lambda: upstream.since(mark, "GET", layer.digest), "logged")
    assert upstream.bytes_sent(layer.digest, mark) == layer.size
    assert raw.blob(upstream.port, "library/app", layer.digest, "HEAD").status == 200
    wait_until(lambda: upstream.since(mark, "HEAD", layer.digest), "logged")
    assert upstream.bytes_sent(layer.digest, mark) == layer.size


def test_sparse_blob_reads_the_same_by_parts_as_from_its_file(tmp_path):
    big = images.Sparse(5 * MiB + 7, seed=3)
    big.write(tmp_path / "big")
    data = (tmp_path / "big").read_bytes()
    assert len(data) == big.size and images.digest_of(data) == big.digest
    for offset, length in [(0, 600), (500, 40), (MiB, 2 * MiB), (big.size - 5, 100), (512 + MiB - 3, 50), (3, big.size)]:
        assert big.read(offset, length) == data[offset : offset + length]
    assert os.stat(tmp_path / "big").st_blocks * 512 < MiB


def test_two_thousand_tags_are_listed(upstream):
    image = images.small(2000)
    upstream.put("library/many", image, *[f"t{i:04d}" for i in range(2000)])
    assert len(raw.ask(upstream.port, "/v2/library/many/tags/list").json()["tags"]) == 2000


def test_docker_pulls_by_its_mirror(bench, mirror):
    docker = bench.docker(mirror=mirror.url)
    docker.pull("app:v1")
    docker.matches("app:v1", images.small())


def test_containerd_pulls_by_its_mirror(bench, mirror):
    ctr = bench.containerd()
    ctr.hosts("docker.io", mirror.url)
    ctr.pull("docker.io/library/sixty:v1")
    ctr.fetch("docker.io/library/multi:v1")
    ctr.fetch("docker.io/library/one:v1")
    for image in (images.sixty_layers(), images.multi_platform(), images.one_byte()):
        ctr.matches(image)


def test_podman_pulls_by_its_mirror(bench, mirror):
    podman = bench.podman({"docker.io": f"127.0.0.1:{mirror.port}"})
    podman.pull("docker.io/library/app:v1")
    podman.matches("docker.io/library/app:v1", images.small())


def test_skopeo_copies_an_index(bench, mirror):
    folder = bench.place("copy")
    clients.skopeo_copy(mirror.port, "library/multi:v1", folder)
    clients.layout_matches(folder, images.multi_platform())


def test_crowd_and_ranges_are_checked_byte_by_byte(upstream):
    data = images.noise(8 * MiB, "crowd")
    blob = images.Bytes(data)
    upstream.put("library/crowd", images.single_blob(blob), "v1")
    crowd = [raw.Download(upstream.port, "library/crowd", blob.digest, data).start() for _ in range(10)]
    crowd += raw.ranges(upstream.port, "library/crowd", blob.digest, blob.size, data)
    assert all(d.join().good for d in crowd)
    other = raw.Download(upstream.port, "library/crowd", blob.digest, data[:-1] + b"?").start().join()
    assert other.whole and not other.good


def test_tap_counts_and_cuts(bench, upstream):
    tap = bench.tap(upstream.port)
    blob = images.Bytes(images.noise(8 * MiB, "crowd"))
    upstream.put("library/crowd", images.single_blob(blob), "v1")
    assert raw.Download(tap.port, "library/crowd", blob.digest).start().join().good
    assert blob.size < tap.down < blob.size + 4096
    assert tap.requests(blob.digest) == [("GET", f"/v2/library/crowd/blobs/{blob.digest}")]
    tap.cut()
    with pytest.raises((OSError, raw.Cut)):
        raw.ask(tap.port, "/v2/", timeout=5)
    tap.mend()
    assert raw.ask(tap.port, "/v2/").status == 200


@pytest.fixture
def faulty(bench):
    up = bench.faulty()
    up.blob = images.noise_blob(300_000, "faulty")
    up.image = up.put("library/app", images.single_blob(up.blob), "v1")
    return up


def _get(up):
    return raw.Download(up.port, "library/app", up.blob.digest, up.blob.data).start().join()


def test_faulty_without_rules_is_a_good_registry(faulty):
    got = raw.pull(faulty.port, "library/app", "v1")
    assert got[faulty.blob.digest] == 300_000
    assert all(d.join().good for d in raw.ranges(faulty.port, "library/app", faulty.blob.digest, 300_000, faulty.blob.data))
    assert faulty.requests(faulty.blob.digest)[-1].range is not None


@pytest.mark.parametrize("where", ["start", "middle", "last", 7])
def test_faulty_flips_a_byte_once(faulty, where):
    faulty.on("/blobs/", Fault(wrong_at=where))
    first = _get(faulty)
    assert first.whole and not first.right and first.got == 300_000
    assert _get(faulty).good


def test_faulty_cuts_stretches_and_resets(faulty):
    faulty.on("/blobs/", Fault(cut=10), Fault(extra=10), Fault(reset_after=100_000), Fault(length=123))
    short = _get(faulty)
    assert short.status == 200 and not short.whole and short.got == 299_990
    assert _get(faulty).size == 300_010
    reset = _get(faulty)
    assert isinstance(reset.error, ConnectionResetError) and reset.got <= 100_000
    assert _get(faulty).size == 123
    sent = [s.sent for s in faulty.requests("/blobs/")]
    assert sent[0] == 299_990 and sent[2] == 100_000


def test_faulty_stalls_until_released(faulty):
    faulty.on("/blobs/", Fault(stall_after=50_000))
    down = raw.Download(faulty.port, "library/app", faulty.blob.digest, faulty.blob.data).start()
    wait_until(lambda: down.got == 50_000, "the bytes before the stall")
    down.thread.join(0.3)
    assert down.thread.is_alive() and down.got == 50_000
    faulty.release()
    assert down.join().good


def test_faulty_limits_its_rate(faulty):
    faulty.always("/blobs/", Fault(rate=300_000))
    assert 0.7 < _get(faulty).end_s < 2


def test_faulty_answers_as_told(faulty):
    faulty.on("/manifests/", Fault(status=429, headers={"Retry-After": "7"}), Fault(digest="sha256:" + "0" * 64))
    reply = raw.manifest(faulty.port, "library/app", "v1")
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    assert raw.manifest(faulty.port, "library/app", "v1").headers["docker-content-digest"] == "sha256:" + "0" * 64
    faulty.on("/blobs/", Fault(redirect="http://other.invalid/x"), Fault(gzip=True), Fault(body=b"{}"))
    assert raw.blob(faulty.port, "library/app", faulty.blob.digest).headers["location"] == "http://other.invalid/x"
    assert raw.blob(faulty.port, "library/app", faulty.blob.digest).headers["content-encoding"] == "gzip"
    assert raw.blob(faulty.port, "library/app", faulty.blob.digest).body == b"{}"


def test_faulty_asks_for_its_token(bench):
    up = bench.faulty(auth="bearer")
    up.put("library/app", images.small(), "v1")
    refused = raw.manifest(up.port, "library/app", "v1")
    assert refused.status == 401 and 'scope="repository:library/app:pull"' in refused.headers["www-authenticate"]
    token = raw.ask(up.port, "/token?service=lab").json()["token"]
    assert raw.manifest(up.port, "library/app", "v1", Authorization=f"Bearer {token}").status == 200
    clients.skopeo_copy(up.port, "library/app:v1", bench.place("copy"))


def test_log_lines_and_metrics_are_read():
    line = 'time=2026-01-01T00:00:00Z level=info event=access target="/v2/a b" status=200 note=""'
    assert parse_line(line)["target"] == "/v2/a b" and parse_line(line)["status"] == "200"
    text = '# HELP a_total x\n# TYPE a_total counter\na_total{b="c",d="e\\"f"} 3\na_total 1\n'
    assert sum(parse_metrics(text).values()) == 4
    for bad in ("a 1\n", "# TYPE a counter\na b c\n", "# TYPE a counter\na 1\na 1\n", "# TYPE a counter\na 1"):
        with pytest.raises(AssertionError):
            parse_metrics(bad)


def test_what_a_file_s_tests_put_into_etc_is_gone_for_the_next(tmp_path):
    mine, left = Path("/etc/entrepot-lab"), Path("/etc/passwd").read_text()
    with isolation.etc_left_as_it_is(tmp_path):
        assert Path("/etc/passwd").read_text() == left
        mine.write_text("x")
        Path("/etc/passwd").write_text("")
    assert not mine.exists() and Path("/etc/passwd").read_text() == left


def test_a_child_heeds_ctrl_c_although_the_tests_were_started_to_ignore_it(tmp_path):
    """A shell does so for what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = Process(["sleep", "600"], tmp_path / "said").spawn()
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n", "it runs")
    child.signal(signal.SIGINT)
    assert child.child.wait(60) == -signal.SIGINT


def test_what_the_bench_starts_comes_before_all_else(tmp_path):
    """Within its session, and its session before others where the kernel compares those."""
    script = f"""
import sys
sys.path[:0] = ["{REPO}/tests/bench", "{REPO}/tests/e2e"]
import bench
from lab.base import Process
bench.come_first()
child = Process(["sh", "-c", "nice; cat /proc/self/autogroup"], "{tmp_path}/said").spawn()
child.child.wait(60)
"""
    run("setsid", "--wait", "/usr/bin/python3", "-c", script)
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == "-15", said
    assert said[1].endswith(" nice -15") or not Path("/proc/self/autogroup").exists(), said
