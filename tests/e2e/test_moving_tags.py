"""A held manifest is served until its replacement has arrived: a tag moves only to a manifest that is held."""

import json

import pytest

from lab import images, raw
from lab.base import wait_until
from lab.faulty import Fault
from lab.images import Bytes

NAME = "library/moving"
PAGE = Bytes(b"<html><title>Please sign in</title></html>", "text/html")
ERRORS = Bytes(b'{"errors":[{"code":"DENIED","message":"sign in"}]}', "application/json")


@pytest.fixture
def chain(bench):
    """Both nodes hold v1; it is due to be checked."""
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), fresh_for="0s")
    made.upstream = up
    made.old = up.put(NAME, images.small("old"), "v1")
    raw.pull(made.edge.port, NAME, "v1")
    stored = len(made.old.layers) + 2  # beside them its config and its manifest
    wait_until(lambda: all(n.json("status")["store"]["blobs"] == stored for n in (made.central, made.edge)), "both hold it")
    return made


def serves(node, image, marked, method="GET"):
    reply = raw.manifest(node.port, NAME, "v1", method)
    assert reply.status == 200 and reply.headers["docker-content-digest"] == image.digest, reply
    assert method == "HEAD" or reply.body == image.manifest.data
    assert ("warning" in reply.headers) == marked, reply.headers
    return reply


FAULTS = {
    "429": Fault(status=429, headers={"Retry-After": "3600"}),
    "404": Fault(status=404),
    "401": Fault(status=401),
    "500": Fault(status=500),
    "closes": Fault(hang_up=True),
    "stalls": Fault(stall_head=True),
    "a page": Fault(body=PAGE, headers={"Content-Type": "text/html"}),
    "half of it": Fault(cut=50),
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_tag_moves_only_to_a_manifest_that_can_be_fetched(chain, how):
    new = chain.upstream.put(NAME, images.small("new"), "v1")
    chain.upstream.always("/manifests/", FAULTS[how], "GET")
    for node in (chain.edge, chain.central, chain.edge):
        reply = serves(node, chain.old, True)
        assert reply.head_s < 10  # engines wait longer
    # It is known now that it cannot be had: nobody is promised it.
    for node in (chain.edge, chain.central):
        serves(node, chain.old, True, "HEAD")
    chain.upstream.clear()
    chain.upstream.release()
    if how == "429":
        return  # its limit is over in an hour
    for node in (chain.edge, chain.central):
        wait_until(lambda n=node: raw.manifest(n.port, NAME, "v1").headers["docker-content-digest"] == new.digest, "it moves", 60, 0.2)


def test_a_digest_that_is_refused_is_not_taken_by_its_tag(chain):
    """A scanner or an administrator may block a digest: the tag still names it, and gives it."""
    new = chain.upstream.put(NAME, images.small("new"), "v1")
    chain.upstream.always(f"/manifests/{new.digest}", Fault(status=404))
    for node in (chain.edge, chain.central, chain.edge):
        serves(node, chain.old, True)
    chain.upstream.clear()
    for node in (chain.edge, chain.central):
        wait_until(lambda n=node: raw.manifest(n.port, NAME, "v1").headers["docker-content-digest"] == new.digest, "it moves", 60, 0.2)


def test_a_held_manifest_survives_a_restart_while_its_tag_has_moved(chain):
    chain.upstream.put(NAME, images.small("new"), "v1")
    chain.upstream.always("/manifests/", Fault(status=404), "GET")
    serves(chain.edge, chain.old, True)
    for node in (chain.central, chain.edge):
        node.restart()
    for node in (chain.edge, chain.central):
        serves(node, chain.old, True)


@pytest.mark.parametrize("who", ["central", "upstream"])
def test_a_manifest_that_only_a_head_has_shown_does_not_replace_the_held_one(chain, who):
    """The source names another manifest, and is gone before it has sent it."""
    new = chain.upstream.put(NAME, images.small("new"), "v1")
    serves(chain.edge, new, False, "HEAD")
    chain.central.stop() if who == "central" else chain.upstream.stop()
    serves(chain.edge, chain.old, True)


def test_a_tag_has_moved_for_good_once_its_manifest_has_come(chain):
    """By digest, as engines ask after a HEAD: central never hears of the tag again."""
    new = chain.upstream.put(NAME, images.small("new"), "v1")
    serves(chain.edge, new, False, "HEAD")
    assert raw.manifest(chain.edge.port, NAME, new.digest).status == 200
    wait_until(lambda: all(n.held(new.digest) for n in (chain.central, chain.edge)), "both hold it")
    chain.upstream.stop()
    for node in (chain.central, chain.edge):
        serves(node, new, True)
        node.restart()
    serves(chain.central, new, True)


@pytest.mark.parametrize("what", [PAGE, ERRORS, Bytes(b"", "text/plain"), Bytes(b"{}", images.OCI_MANIFEST)])
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_a_document_that_is_no_manifest_moves_no_tag(chain, what, named):
    """Also where its digest is named: by that digest it may be had."""
    chain.upstream.content[NAME, what.digest] = what
    chain.upstream.tags[NAME, "v1"] = chain.upstream.tags[NAME, "new"] = what.digest
    if not named:
        headers = {"Docker-Content-Digest": None, "Content-Type": what.media_type}
        chain.upstream.always("/manifests/", Fault(headers=headers, body=what), None)
    for node in (chain.edge, chain.central):
        serves(node, chain.old, True)
        reply = raw.manifest(node.port, NAME, "new")
        assert reply.status == 502 and reply.error_code, reply
        if named and what.size:
            assert raw.manifest(node.port, NAME, what.digest).body == what.data


def test_bytes_that_do_not_match_the_sources_digest_move_no_tag(chain):
    new = images.small("new")
    chain.upstream.always("/manifests/v1", Fault(status=405), "HEAD")
    chain.upstream.always("/manifests/v1", Fault(body=new.manifest.data, digest="sha256:" + "1" * 64), "GET")
    for node in (chain.edge, chain.central):
        serves(node, chain.old, True)


@pytest.mark.parametrize("what", [PAGE.data, ERRORS.data, b'{"name":"x","tags":["a"', b"", b"[]"])
def test_a_malformed_list_is_a_failure_of_its_source(chain, what):
    chain.upstream.always("/tags/list", Fault(body=what))
    chain.upstream.always("/referrers/", Fault(body=what, status=200))
    for node in (chain.edge, chain.central):
        reply = raw.ask(node.port, f"/v2/{NAME}/tags/list")
        assert reply.status == 200 and json.loads(reply.body)["tags"] == ["v1"] and "warning" in reply.headers, reply
        assert raw.ask(node.port, f"/v2/{NAME}/referrers/{chain.old.digest}").status in (404, 502)
