"""What `ls` says of the images that a node holds."""

import os
import re
import time

from lab import images, raw
from lab.base import wait_until


def test_ls_shows_images_as_people_think_of_them(bench):
    up = bench.faulty()
    one, many = images.small("one", size=50000, layers=3), images.multi_platform()
    up.put("library/app", one, "v1", "same")
    up.put("library/many", many, "v1")
    edge = bench.chain(("docker.io", up.url)).edge
    raw.pull(edge.port, "library/app", "v1")
    raw.manifest(edge.port, "library/app", "same")
    edge.command("pull", "--platform", "linux/arm64", "library/many:v1")
    whole = sum(b.size for b in [*one.blobs().values(), *one.manifests().values()])
    wait_until(lambda: all(edge.held(d) for d in one.blobs()), "all of it is held")
    wait_until(lambda: edge.json("ls", "library/many")["tags"][0]["size"] == edge.json("ls", "library/many")["tags"][0]["whole_size"], "all of it is held")
    now = time.time()
    tags = edge.json("ls", "library/app")["tags"]
    assert [t["tag"] for t in tags] == ["same", "v1"]
    for t in tags:
        assert (t["size"], t["whole_size"], t["platforms"], t["complete"]) == (whole, whole, ["linux/amd64"], True), t
        assert now - 120 < t["used_at"] <= now + 1, t
    (row,) = [r for r in edge.command("ls", "library/app").stdout.splitlines() if r.startswith("v1 ")]
    assert re.search(r"[\d.]+ KiB +linux/amd64 +\d+ s ago +\d+ s ago +yes$", row), row
    (t,) = edge.json("ls", "library/many")["tags"]
    assert t["platforms"] == ["linux/arm64"] and not t["complete"] and t["size"] < sum(b.size for b in many.blobs().values()), t
    assert {r["repository"]: (r["tags"], r["size"]) for r in edge.json("ls")["repositories"]}["docker.io/library/app"] == (2, whole)  # each blob once
    # A part of it is gone.
    layer = one.layers[0]
    os.chmod(edge.blob_file(layer.digest), 0o644)
    edge.blob_file(layer.digest).write_bytes(b"rotten")
    edge.command("verify", check=False)
    t = edge.json("ls", "library/app")["tags"][0]
    assert (t["size"], t["whole_size"], t["complete"]) == (whole - layer.size, whole, False), t
    assert " KiB of " in edge.command("ls", "library/app").stdout
    edge.command("prune", "--all")
    assert edge.json("ls")["repositories"] == [] and "library" not in edge.command("ls").stdout
    done = edge.command("ls", "library/app", check=False)
    assert done.returncode == 1 and "no tag of library/app is held" in done.stderr, done


def test_ls_is_no_use_of_what_it_lists(bench):
    up = bench.faulty()
    up.put("library/app", images.small("unused"), "v1")
    edge = bench.chain(("docker.io", up.url)).edge
    raw.pull(edge.port, "library/app", "v1")
    first = wait_until(lambda: (t := edge.json("ls", "library/app")["tags"][0])["complete"] and t["used_at"], "all of it is held")
    wait_until(lambda: time.time() > first + 2, "the clock has gone on")
    edge.command("ls", "library/app")
    assert edge.json("ls", "library/app")["tags"][0]["used_at"] == first


def test_a_hosted_image_that_is_missing_stays_in_the_list(bench, tmp_path):
    central = bench.central(("docker.io", "http://127.0.0.1:1"))
    images.write_layout(images.small("stays"), tmp_path / "one", "v1")
    central.command("load", tmp_path / "one", "sample/app:v1")
    central.stop()
    (central.data / "blobs").rename(tmp_path / "away")
    central.start()
    (t,) = central.json("ls", "sample/app")["tags"]
    assert t["size"] == 0 and not t["complete"] and central.json("ls")["repositories"][0]["tags"] == 1
