"""Tags: how they move, how often their upstream is asked, and what happens when it is silent or has deleted them."""

import re
import sqlite3
import threading

import pytest

from lab import images, raw
from lab.base import HOST, run, wait_until
from lab.faulty import Fault

WARNING = re.compile(r'^299 - "[^"]+"$')


@pytest.fixture
def chain(bench):
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), fresh_for="1s", joins=True)
    made.upstream = up
    up.put("library/app", images.small("old"), "v1")
    return made


@pytest.fixture
def patient(bench):
    """Tags stay fresh for long."""
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), fresh_for="10m")
    made.upstream = up
    up.put("library/app", images.small("old"), "v1")
    return made


def tag(chain, name="library/app", ref="v1", method="GET"):
    return raw.manifest(chain.edge.port, name, ref, method)


def points_to(reply, image):
    return reply.status == 200 and reply.headers["docker-content-digest"] == image.digest


def by_tag(chain):
    return chain.upstream.requests(r"/library/app/manifests/v1")


def test_a_moved_tag_is_seen_after_fresh_for(chain):
    assert points_to(tag(chain), images.small("old"))
    new = chain.upstream.put("library/app", images.small("new"), "v1")
    wait_until(lambda: points_to(tag(chain), new), "the new digest", 60, 0.1)
    assert "warning" not in tag(chain).headers
    assert tag(chain).body == new.manifest.data
    raw.pull(chain.edge.port, "library/app", "v1")


def test_a_fresh_tag_asks_nobody(patient):
    for _ in range(30):
        assert points_to(tag(patient), images.small("old"))
    assert len(by_tag(patient)) <= 2  # HEAD, and GET if it went by tag
    assert len([s for s in patient.upstream.requests("/library/app/manifests/") if s.method == "GET"]) == 1


def test_a_check_is_a_head_and_never_a_get(chain):
    tag(chain)
    gets = len(chain.upstream.requests("/manifests/", "GET"))
    heads = len(chain.upstream.requests("/manifests/", "HEAD"))

    def checked_again():
        tag(chain)
        return len(chain.upstream.requests("/manifests/", "HEAD")) >= heads + 2

    wait_until(checked_again, "two more checks", 60, 0.1)
    assert len(chain.upstream.requests("/manifests/", "GET")) == gets


def test_a_crowd_asking_for_one_tag_costs_one_question(chain):
    chain.upstream.on("/manifests/v1", Fault(stall_head=True), method="HEAD")
    replies = []
    crowd = [threading.Thread(target=lambda: replies.append(tag(chain)), daemon=True) for _ in range(20)]
    [t.start() for t in crowd]
    wait_until(lambda: by_tag(chain), "the question arrives")
    wait_until(lambda: chain.edge.metric("entrepot_connections") >= 20, "all twenty wait")
    chain.upstream.release()
    [t.join(30) for t in crowd]
    assert len(replies) == 20 and all(points_to(r, images.small("old")) for r in replies)
    assert len(by_tag(chain)) == 1, [(s.method, s.path) for s in by_tag(chain)]


def test_a_stale_tag_is_served_with_a_mark_when_its_upstream_is_stopped(chain):
    assert points_to(tag(chain), images.small("old"))
    chain.upstream.stop()

    def marked():
        reply = tag(chain)
        assert points_to(reply, images.small("old")), reply
        return reply.headers.get("warning")

    assert WARNING.match(wait_until(marked, "a Warning", 10, 0.1))
    assert chain.edge.metric("entrepot_stale_tags_served_total") > 0
    by_digest = raw.manifest(chain.edge.port, "library/app", images.small("old").digest)
    assert by_digest.status == 200 and "warning" not in by_digest.headers


def test_a_missing_tag_is_unknown_and_asked_for_seldom(chain):
    for _ in range(30):
        reply = tag(chain, ref="none")
        assert (reply.status, reply.error_code) == (404, "MANIFEST_UNKNOWN")
    assert len(chain.upstream.requests("/manifests/none")) <= 6


def test_a_missing_tag_that_appears_is_seen_within_ten_seconds(chain):
    assert tag(chain, ref="later").status == 404
    later = chain.upstream.put("library/app", images.small("later"), "later")
    wait_until(lambda: points_to(tag(chain, ref="later"), later), "the tag", 60, 0.1)


def test_a_deleted_tag_is_served_with_a_mark_while_held(chain):
    raw.pull(chain.edge.port, "library/app", "v1")
    del chain.upstream.tags["library/app", "v1"]

    def marked():
        reply = tag(chain)
        assert points_to(reply, images.small("old")), reply
        return reply.headers.get("warning")

    assert WARNING.match(wait_until(marked, "a Warning", 10, 0.1))
    raw.pull(chain.edge.port, "library/app", "v1")


def test_a_deleted_tag_keeps_its_mark_while_nobody_can_be_asked(chain):
    raw.pull(chain.edge.port, "library/app", "v1")
    raw.pull(chain.central.port, "library/app", "v1")
    del chain.upstream.tags["library/app", "v1"]

    def said(node):
        reply = raw.manifest(node.port, "library/app", "v1")
        assert points_to(reply, images.small("old")), reply
        return reply.headers.get("warning", "")

    wait_until(lambda: all(said(n).startswith('299 - "deleted:') for n in (chain.central, chain.edge)), "the mark", 60, 0.1)
    chain.upstream.stop()
    wait_until(lambda: "last checked" in said(chain.central), "central has found that it cannot ask", 60, 0.1)
    assert said(chain.central).startswith('299 - "deleted:')
    chain.central.stop()
    wait_until(lambda: "last checked" in said(chain.edge), "the edge has found that it cannot ask", 60, 0.1)
    assert said(chain.edge).startswith('299 - "deleted:') and WARNING.match(said(chain.edge))


def test_a_deleted_tag_is_hidden_if_so_configured(bench):
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), central={"deleted": "hide"})
    up.put("library/app", images.small("old"), "v1")
    raw.pull(made.edge.port, "library/app", "v1")
    del up.tags["library/app", "v1"]
    wait_until(lambda: tag(made).status == 404, "404", 60, 0.1)


@pytest.mark.parametrize("deleted", ["serve", "hide"])
def test_a_refusal_is_no_deletion(bench, deleted):
    """A password that has changed hides nothing that is held; what is said names the refusal."""
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), central={"deleted": deleted})
    up.put("library/app", images.small("old"), "v1")
    raw.pull(made.edge.port, "library/app", "v1")
    up.always("/manifests/", Fault(status=403), None)

    def marked():
        reply = tag(made)
        assert points_to(reply, images.small("old")), reply
        return reply.headers.get("warning")

    said = wait_until(marked, "a Warning", 60, 0.1)
    assert WARNING.match(said) and "stale" in said and "403" in said and "deleted" not in said
    up.clear()
    wait_until(lambda: "warning" not in tag(made).headers, "no Warning any more", 60, 0.1)


def test_a_head_by_tag_downloads_nothing(chain):
    reply = tag(chain, method="HEAD")
    assert points_to(reply, images.small("old")) and reply.body == b""
    assert int(reply.headers["content-length"]) == images.small("old").manifest.size
    assert reply.headers["content-type"] == images.OCI_MANIFEST


@pytest.mark.parametrize("fault", [Fault(headers={"Docker-Content-Digest": None}), Fault(status=405), Fault(status=501)],
                         ids=["no digest", "405", "501"])
def test_a_registry_whose_head_is_of_no_use_is_asked_by_get(patient, fault):
    patient.upstream.always("/manifests/", fault, "HEAD")
    for method in ("HEAD", "GET", "GET"):
        assert points_to(tag(patient, method=method), images.small("old"))
    assert len(by_tag(patient)) == 2
    reply = tag(patient, ref="none")
    assert (reply.status, reply.error_code) == (404, "MANIFEST_UNKNOWN")


def test_a_hosted_tag_is_as_fresh_as_its_answer_however_long_ago_it_was_loaded(bench, chain):
    """Central is its source: nobody checks it elsewhere. An edge may serve it for stale_for (7 d) after it last heard of it."""
    image, folder = images.small("loaded"), bench.place("layout")
    images.write_layout(image, folder)
    chain.central.command("load", folder, "sample/loaded:v1")
    chain.central.stop()
    with sqlite3.connect(chain.central.data / "index.db") as index:
        changed = index.execute("UPDATE tags SET checked_at = checked_at - 30 * 86400 WHERE repo LIKE '%sample/loaded'")
        assert changed.rowcount == 1
    index.close()
    chain.central.start()
    at_central = raw.manifest(chain.central.port, "sample/loaded", "v1")
    assert points_to(at_central, image) and at_central.headers["age"] == "0"
    wait_until(lambda: points_to(tag(chain, "sample/loaded"), image), "the edge has found central again", 60, 0.1)
    assert int(tag(chain, "sample/loaded").headers["age"]) < 86400
    chain.central.stop()
    reply = tag(chain, "sample/loaded")
    assert points_to(reply, image) and WARNING.match(reply.headers["warning"]), reply


# --- lists ---


@pytest.fixture(scope="module")
def many(shared_bench):
    up = shared_bench.registry()
    tags = [f"t{i:04d}" for i in range(2000)]
    up.put("library/many", images.small("many"), *tags)
    made = shared_bench.chain(("docker.io", up.url))
    made.tags, made.upstream = tags, up
    return made


def pages(port, target):
    """Follows Link until there is none."""
    while target:
        reply = raw.ask(port, target)
        assert reply.status == 200, reply
        yield reply.json()["tags"]
        link = reply.headers.get("link")
        target = re.match(r'^<([^>]+)>; rel="next"$', link)[1] if link else None


def test_two_thousand_tags_come_at_once(many):
    reply = raw.ask(many.edge.port, "/v2/library/many/tags/list")
    assert reply.json()["tags"] == many.tags and reply.json()["name"] == "library/many"


@pytest.mark.parametrize("n", [300, 1000, 1999, 2000, 5000])
def test_two_thousand_tags_come_in_pages(many, n):
    found = list(pages(many.edge.port, f"/v2/library/many/tags/list?n={n}"))
    assert [t for page in found for t in page] == many.tags
    assert all(len(page) <= n for page in found)


def test_pages_begin_after_last_even_if_it_is_not_there(many):
    assert next(pages(many.edge.port, "/v2/library/many/tags/list?n=2&last=t0100x")) == ["t0101", "t0102"]
    reply = raw.ask(many.edge.port, "/v2/library/many/tags/list?n=0")
    assert not reply.json()["tags"] and "link" not in reply.headers


def test_skopeo_lists_two_thousand_tags(many):
    said = run("skopeo", "list-tags", "--tls-verify=false", f"docker://{HOST}:{many.edge.port}/library/many").stdout
    assert said.count('"t') == 2000


def test_any_of_two_thousand_tags_can_be_pulled(many):
    for name in many.tags[::400]:
        assert points_to(tag(many, "library/many", name), images.small("many"))


def test_an_unknown_repository_has_no_tags(many):
    reply = raw.ask(many.edge.port, "/v2/library/nowhere/tags/list")
    assert (reply.status, reply.error_code) == (404, "NAME_UNKNOWN")
