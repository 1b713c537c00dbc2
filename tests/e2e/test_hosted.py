"""Hosted content has no other source. Whatever happens to disk, index, flags and record, it is neither forgotten nor evicted. Missing bytes are
reported as missing, and served again once they are back."""

import contextlib
import shutil
import sqlite3
import subprocess
import time

import pytest

from lab import images, raw
from lab.bad_disk import OPEN_FAILS, READ_FAILS, READ_LIES, BadDisk
from lab.base import MiB, run, wait_until
from lab.nodes import RELEASE, upstreams

HOSTED = {"hosted": '["acme/**"]'}
DOUBT = {"Entrepot-Doubt": "mismatch"}
APP = "acme/app"


def load(bench, central, image, name=f"{APP}:v1", check=True):
    layout = bench.place("layout")
    images.write_layout(image, layout, name.rsplit(":", 1)[1])
    return central.command("load", layout, name, check=check)


@pytest.fixture
def host(bench):
    """Central with one hosted image."""
    bench.up = bench.faulty()
    central = bench.central(("docker.io", bench.up.url), settings=HOSTED)
    central.image = images.small("hosted", 100_000)
    load(bench, central, central.image)
    return central


def contents(image):
    return set(image.blobs()) | set(image.manifests())


def whole(node, image, name=APP, tag="v1"):
    assert set(raw.pull(node.port, name, tag)) == contents(image)


def layer(image):
    return image.layers[0].digest


def doctor(node):
    done = node.command("doctor", check=False)
    return done.returncode, next(line for line in done.stdout.splitlines() if "hosted" in line.split()[:2]), done.stdout


def says_missing(node, digest, n=1):
    status, line, text = doctor(node)
    assert status != 0 and "FAIL" in line and digest in text and APP in text and "load" in text, text
    assert node.json("status")["hosted"]["missing"] == n
    assert node.metric("entrepot_hosted_missing_blobs") == n
    assert f"{n} {'blob' if n == 1 else 'blobs'}" in node.command("status").stdout


def test_head_does_not_promise_a_blob_whose_file_is_gone(bench, host):
    """Not even before a GET has found out, for clients skip the push of what they are told is there. (A new process has no file open.)"""
    digest = layer(host.image)
    host.restart()
    target = f"/v2/{APP}/blobs/{digest}"
    assert raw.ask(host.port, f"/v2/{APP}/manifests/v1").status == 200
    host.blob_file(digest).unlink()
    head, get = raw.ask(host.port, target, "HEAD"), raw.ask(host.port, target)
    assert head.status == get.status != 200, (head, get)
    says_missing(host, digest)
    load(bench, host, host.image)
    head = raw.ask(host.port, target, "HEAD")
    assert (head.status, head.headers["content-length"]) == (200, str(host.image.layers[0].size)), head


def test_head_looks_for_a_file_that_is_gone_upstream(bench):
    image, up = images.small("pulled", 100_000), bench.faulty()
    up.put("library/app", image, "v1")
    node = bench.central(("docker.io", up.url))
    whole(node, image, "library/app")
    node.restart()
    node.blob_file(layer(image)).unlink()
    reply = raw.ask(node.port, f"/v2/library/app/blobs/{layer(image)}", "HEAD")
    assert (reply.status, reply.headers["content-length"]) == (200, str(image.layers[0].size)), reply
    assert len(up.requests(f"/blobs/{layer(image)}", "HEAD")) == 1


def says_all_is_well(node):
    assert "FAIL" not in doctor(node)[1]
    assert node.json("status")["hosted"]["missing"] == 0
    assert node.metric("entrepot_hosted_missing_blobs") == 0
    assert node.metric("entrepot_hosted_blobs") > 0


def sql(node, name, *statements):
    with contextlib.closing(sqlite3.connect(node.data / name)) as db:
        for s in statements:
            db.execute(s)
        db.commit()


def remove(node, name):
    for file in node.data.glob(f"{name}*"):
        if file.is_file():
            file.unlink()


# --- bytes that are away ---


@pytest.mark.parametrize("what", ["manifest", "layer"])
def test_missing_bytes_are_reported_and_served_once_they_are_back(bench, host, what):
    digest = host.image.digest if what == "manifest" else layer(host.image)
    paths = [f"/v2/{APP}/manifests/v1", f"/v2/{APP}/manifests/{digest}"] if what == "manifest" else [f"/v2/{APP}/blobs/{digest}"]
    edge = bench.edge(host.fleet)
    away = host.folder / "away"
    shutil.move(host.blob_file(digest), away)
    if what == "manifest":
        host.restart()  # small ones are served from memory else
    as_edge = {"Entrepot-Settings": raw.settings(host.fleet)}
    for _ in range(3):
        for path in paths:
            for port, headers in ((host.port, {}), (host.fleet, as_edge)):
                reply = raw.ask(port, path, headers=headers)
                assert reply.status == 503 and reply.error_code == "UNAVAILABLE", reply
                assert "hosted, but its bytes are missing" in reply.message and "load LAYOUT acme/app:TAG" in reply.message, reply
            assert raw.ask(host.port, path, "HEAD").status == 503
            reply = raw.ask(edge.port, path)
            assert reply.status in (502, 503) or not reply.whole, reply
    says_missing(host, digest)
    host.command("prune", "--all")
    assert raw.ask(host.port, f"/v2/{APP}/tags/list").json()["tags"] == ["v1"]
    shutil.move(away, host.blob_file(digest))
    whole(host, host.image)
    wait_until(lambda: edge_has(edge, host.image), "the edge gets it, too")
    says_all_is_well(host)


def edge_has(edge, image):
    with contextlib.suppress(AssertionError):
        whole(edge, image)
        return True
    return False


def test_an_unknown_digest_of_a_hosted_repository_is_a_404(host):
    unknown = "sha256:" + "0" * 64
    for kind, code in (("blobs", "BLOB_UNKNOWN"), ("manifests", "MANIFEST_UNKNOWN")):
        for method in ("GET", "HEAD"):
            assert raw.ask(host.port, f"/v2/{APP}/{kind}/{unknown}", method).status == 404
            assert raw.ask(host.port, f"/v2/acme/other/{kind}/{layer(host.image)}", method).status == 404
        assert raw.ask(host.port, f"/v2/{APP}/{kind}/{unknown}").error_code == code


def test_one_start_without_blobs_changes_nothing(bench, host):
    host.stop()
    away = host.folder / "blobs-away"
    shutil.move(host.data / "blobs", away)
    host.start()
    assert raw.manifest(host.port, APP, "v1").status == 503
    says_missing(host, host.image.digest, 3)
    host.stop()
    shutil.rmtree(host.data / "blobs")
    shutil.move(away, host.data / "blobs")
    host.start()
    host.command("prune", "--all")
    whole(host, host.image)
    says_all_is_well(host)


def test_verify_reports_missing_and_restored_blobs(bench, host):
    away = host.folder / "away"
    shutil.move(host.blob_file(layer(host.image)), away)
    assert host.command("verify", check=False).returncode != 0
    says_missing(host, layer(host.image))
    shutil.move(away, host.blob_file(layer(host.image)))
    host.command("verify", check=False)
    wait_until(lambda: host.json("status")["hosted"]["missing"] == 0, "it is held again")
    host.command("prune", "--all")
    whole(host, host.image)


def test_a_load_of_the_same_image_restores_it(bench, host):
    for digest in contents(host.image):
        host.blob_file(digest).unlink()
    host.restart()
    says_missing(host, host.image.digest, 3)
    load(bench, host, host.image)
    whole(host, host.image)
    says_all_is_well(host)


def test_wrong_bytes_put_in_its_place_are_not_served(bench, host):
    file = host.blob_file(layer(host.image))
    good = file.read_bytes()
    host.stop()
    file.unlink()
    host.start()
    for wrong in (good[:-1], bytes([good[0] ^ 1]) + good[1:]):
        file.write_bytes(wrong)
        reply = raw.blob(host.port, APP, layer(host.image))
        assert reply.status == 503 and "damaged" in reply.message, reply
        assert not file.exists(), "set aside"
    says_missing(host, layer(host.image))
    file.write_bytes(good)
    whole(host, host.image)


# --- a disk in trouble ---


@pytest.fixture
def shaky(bench, tmp_path):
    """Central on a disk that can be made to fail."""
    disk = BadDisk(tmp_path)
    up = bench.faulty()
    central = bench.central(("docker.io", up.url), settings=HOSTED, build=RELEASE, env=disk.env)
    central.disk, central.image = disk, images.small("shaky", 300_000)
    load(bench, central, central.image)
    return central


def doubt(central, digest, kind="blobs"):
    """As an edge asks that was given wrong bytes."""
    headers = {**DOUBT, "Entrepot-Settings": raw.settings(central.fleet)}
    reply = raw.ask(central.fleet, f"/v2/{APP}/{kind}/{digest}", headers=headers)
    assert reply.status != 409, reply
    return reply


@pytest.mark.parametrize("trouble", [READ_FAILS, OPEN_FAILS])
def test_a_temporary_eio_after_a_doubt_changes_nothing(shaky, trouble):
    shaky.disk.be(trouble)
    for _ in range(3):
        doubt(shaky, layer(shaky.image))
        doubt(shaky, shaky.image.digest, "manifests")
    assert shaky.command("verify", check=False).returncode != 0
    raw.ask(shaky.port, f"/v2/{APP}/manifests/v1")
    shaky.disk.be(0)
    assert all(shaky.held(d) for d in contents(shaky.image))
    assert not list((shaky.data / "quarantine").glob("*"))
    whole(shaky, shaky.image)
    says_all_is_well(shaky)


def test_one_wrong_reading_does_not_condemn_a_hosted_blob(shaky):
    shaky.disk.be(READ_LIES, 1)
    doubt(shaky, layer(shaky.image))
    shaky.disk.be(READ_LIES, 1)
    shaky.command("verify")
    shaky.disk.be(0)
    assert not list((shaky.data / "quarantine").glob("*"))
    whole(shaky, shaky.image)


def test_a_blob_that_is_certainly_wrong_is_quarantined_and_stays_hosted(bench, shaky):
    shaky.disk.be(READ_LIES)
    doubt(shaky, layer(shaky.image))
    shaky.disk.be(0)
    assert not shaky.held(layer(shaky.image))
    assert len(list((shaky.data / "quarantine").glob("*"))) == 1
    says_missing(shaky, layer(shaky.image))
    assert raw.blob(shaky.port, APP, layer(shaky.image)).status == 503
    shaky.restart()
    says_missing(shaky, layer(shaky.image))
    load(bench, shaky, shaky.image)
    whole(shaky, shaky.image)
    says_all_is_well(shaky)


# --- index, catalogue, flags ---

DAMAGES = {
    "flags": ["UPDATE blobs SET flags=0"],
    "scopes": ["UPDATE blobs SET scopes=0", "DELETE FROM more_scopes"],
    "tags": ["DELETE FROM tags"],
    "moved tags": ["UPDATE tags SET digest=x'01' || zeroblob(32)"],
    "deleted tags": ["UPDATE tags SET deleted=1"],
    "rows": ["DELETE FROM blobs", "DELETE FROM children", "DELETE FROM repo_manifests"],
    "sizes": ["UPDATE blobs SET size=size+1"],
}


@pytest.mark.parametrize("what", DAMAGES)
def test_content_stays_hosted_whatever_the_index_says(host, what):
    host.stop()
    sql(host, "index.db", *DAMAGES[what])
    host.command("prune", "--all")  # without a daemon
    host.start()
    host.command("prune", "--all")
    whole(host, host.image)
    says_all_is_well(host)
    assert [(t["tag"], t["complete"]) for t in host.json("ls", APP)["tags"]] == [("v1", True)]


def test_index_and_catalogue_lost_together_lose_nothing_hosted(host):
    host.stop()
    remove(host, "index.db")
    remove(host, "catalog.db")
    host.start()
    host.command("prune", "--all")
    whole(host, host.image)
    says_all_is_well(host)


def test_hosted_images_survive_a_change_of_the_patterns_and_back(host):
    host.settings["hosted"] = '["other/**"]'
    host.restart()
    assert raw.manifest(host.port, APP, "v1").status != 200
    host.command("prune", "--all")
    host.settings.update(HOSTED)
    host.restart()
    host.command("prune", "--all")
    whole(host, host.image)


def test_a_hosted_name_may_belong_to_an_upstream_for_a_while(bench):
    """Hosted, then mirrored from an upstream that has no such tag or another image under it, then hosted again."""
    up = bench.faulty()
    central = bench.central(("docker.io", up.url), settings={"hosted": '["reg.test/**"]'})
    image, name = images.small("both names"), "reg.test/app"
    load(bench, central, image, f"{name}:v1")
    before = central.settings["upstreams"]
    central.settings["upstreams"] = upstreams(("docker.io", up.url), ("reg.test", up.url))
    for other in (None, images.small("another")):
        if other:
            up.put("app", other, "v1")
        central.restart()
        raw.manifest(central.port, name, "v1")
        central.command("prune", "--all")
    central.settings["upstreams"] = before
    central.restart()
    central.command("prune", "--all")
    whole(central, image, name)
    says_all_is_well(central)


def test_damage_that_an_edge_finds_is_quarantined_and_nothing_is_forgotten(bench, host):
    edge = bench.edge(host.fleet)
    file = host.blob_file(layer(host.image))
    good = file.read_bytes()
    file.chmod(0o600)
    with open(file, "r+b") as f:
        f.write(bytes([good[0] ^ 1]))
    reply = raw.blob(edge.port, APP, layer(host.image))
    assert reply.status >= 500 or not reply.whole, reply
    wait_until(lambda: not file.exists(), "central has set it aside")
    says_missing(host, layer(host.image))
    file.write_bytes(good)
    wait_until(lambda: edge_has(edge, host.image), "the edge gets it")
    says_all_is_well(host)


def test_a_layer_that_was_cached_and_then_hosted_is_not_evicted(bench):
    blob = images.noise_blob(MiB, "both")
    image = images.single_blob(blob)
    up = bench.faulty()
    up.put("library/both", image, "v1")
    central = bench.central(("docker.io", up.url), settings=HOSTED)
    raw.pull(central.port, "library/both", "v1")
    load(bench, central, image)
    central.command("prune", "--all")
    whole(central, image)
    # Lost, and brought back by the pull of the mirrored one.
    central.stop()
    for digest in contents(image):
        central.blob_file(digest).unlink()
    central.start()
    says_missing(central, image.digest, len(contents(image)))
    raw.pull(central.port, "library/both", "v1")
    wait_until(lambda: central.json("status")["hosted"]["missing"] == 0, "all of it is here")
    central.command("prune", "--all")
    whole(central, image)
    says_all_is_well(central)


# --- the record itself ---


def test_a_data_folder_of_an_earlier_version_is_taken_over(host):
    host.stop()
    remove(host, "hosted.db")
    prune = host.command("prune", "--all", check=False)
    assert prune.returncode != 0 and "serve" in prune.stderr
    host.start()
    assert "hosted_taken_over" in host.process.text()
    host.command("prune", "--all")
    whole(host, host.image)
    says_all_is_well(host)


@pytest.mark.parametrize("how", ["noise", "cut", "empty header", "removed"])
def test_a_damaged_record_is_made_again_and_nothing_is_evicted_until_somebody_has_looked(bench, host, how):
    mirrored = images.noise_blob(MiB, "mirrored")
    bench.up.put("library/m", images.single_blob(mirrored), "v1")
    raw.pull(host.port, "library/m", "v1")
    host.stop()
    record = host.data / "hosted.db"
    good = record.read_bytes()
    if how == "noise":
        record.write_bytes(good[:4096] + images.noise(len(good) - 4096, how))
    elif how == "cut":
        record.write_bytes(good[: len(good) // 2])
    elif how == "empty header":
        record.write_bytes(b"\0" * 100 + good[100:])
    else:
        record.unlink()
    host.start()
    assert "hosted_doubtful" in host.process.text()
    if how != "removed":
        assert list(host.data.glob("hosted.db.damaged*")), "a copy is kept"
    host.command("prune", "--all")
    assert host.held(mirrored.digest)
    host.restart()
    host.command("prune", "--all")
    assert host.held(mirrored.digest)
    status, line, text = doctor(host)
    assert status != 0 and "FAIL" in line and "hosted.incomplete" in text, text
    whole(host, host.image)
    assert "load" in (host.data / "hosted.incomplete").read_text()
    (host.data / "hosted.incomplete").unlink()
    host.command("prune", "--all")
    assert not host.held(mirrored.digest)
    whole(host, host.image)
    says_all_is_well(host)


def test_an_older_record_put_back_loses_no_image_and_is_reported(bench, host):
    """As when a part of the data folder is restored from a backup. A tag that an upstream had under that name stays out."""
    host.settings["hosted"] = '["acme/**", "reg.test/**"]'
    host.restart()
    load(bench, host, host.image, "reg.test/app:v1")
    own = host.settings["upstreams"]
    host.settings["upstreams"] = upstreams(("docker.io", bench.up.url), ("reg.test", bench.up.url))
    strange = images.small("a stranger's")
    bench.up.put("app", strange, "v1")
    bench.up.put("app", strange, "v2")
    host.restart()
    for tag in ("v1", "v2"):
        raw.manifest(host.port, "reg.test/app", tag)
    host.stop()
    older = (host.data / "hosted.db").read_bytes()
    host.settings["upstreams"] = own
    host.settings["hosted"] = '["acme/**"]'
    host.start()
    moved, new = images.small("moved", 120_000), images.small("new", 90_000)
    load(bench, host, moved)
    for name in (f"{APP}:v2", f"{APP}:latest", "acme/other:v1"):
        load(bench, host, new, name)
    load(bench, host, host.image, f"{APP}:old")
    host.stop()
    (host.data / "hosted.db").write_bytes(older)
    host.settings["hosted"] = '["acme/**", "reg.test/**"]'
    for _ in range(2):
        host.start()
        host.command("prune", "--all")
        for name, tag, image in (
            (APP, "v1", moved),
            (APP, "v2", new),
            (APP, "latest", new),
            ("acme/other", "v1", new),
            (APP, "old", host.image),
            ("reg.test/app", "v1", host.image),
        ):
            whole(host, image, name, tag)
        assert raw.manifest(host.port, "reg.test/app", "v2").status == 404
        status, line, text = doctor(host)
        assert status != 0 and "FAIL" in line and "hosted.incomplete" in text, text
        host.stop()
    (host.data / "hosted.incomplete").unlink()
    host.start()
    whole(host, moved)
    says_all_is_well(host)


# --- loads that do not come to their end ---


def test_a_killed_load_leaves_the_old_image_or_the_complete_new_one(bench, host):
    layouts = []
    for n in range(6):
        image = images.small(f"new {n}", 2 * MiB, layers=3)
        layout = bench.place("layout")
        images.write_layout(image, layout, "v1")
        layouts.append((image, layout))
    before = host.image
    for n, (image, layout) in enumerate(layouts):
        argv = [host.binary, "load", layout, f"{APP}:v1", *host.arguments()]
        loading = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        blobs = list(contents(image))
        deadline = time.monotonic() + 20
        # After n of its blobs have come in; the last one: as soon as the command is over.
        while sum(host.held(d) for d in blobs) < n and loading.poll() is None and time.monotonic() < deadline:
            pass
        answered = loading.poll() == 0
        host.kill()
        loading.wait(20)
        host.start()
        now = raw.manifest(host.port, APP, "v1")
        assert now.status == 200
        is_new = now.headers["docker-content-digest"] == image.digest
        assert is_new or not answered
        host.command("prune", "--all")
        whole(host, image if is_new else before)
        before = image if is_new else before
        says_all_is_well(host)
    load(bench, host, layouts[0][0])
    whole(host, layouts[0][0])


def test_a_load_onto_a_full_disk_changes_nothing(bench, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=48m", "entrepot-lab", folder)
    try:
        central = bench.central(("docker.io", "http://127.0.0.1:1"), settings={**HOSTED, "data": folder, "store.min_free": 0})
        central.data = folder
        small, large = images.small("fits", 100_000), images.single_blob(images.noise_blob(60 * MiB, "large"))
        load(bench, central, small)
        failed = load(bench, central, large, check=False)
        assert failed.returncode != 0, failed
        whole(central, small)
        central.restart()
        whole(central, small)
        assert raw.manifest(central.port, APP, "v1").headers["docker-content-digest"] == small.digest
        central.command("prune", "--all")
        whole(central, small)
        load(bench, central, images.small("fits, too", 100_000), f"{APP}:v2")
        central.stop()
    finally:
        run("umount", "-l", folder)
