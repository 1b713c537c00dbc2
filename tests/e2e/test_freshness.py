"""Central checks mirrored tags by itself, for all edges."""

from lab import images, raw
from lab.base import wait_until
from lab.faulty import Fault

NAME = "library/app"
FIRST, SECOND = images.small("first"), images.small("second")


def lookups(central):
    """What edges have asked of names and digests."""
    return [e for e in central.access("/fleet/v1/lookup") if "for=settings" not in e["target"]]


def named_by(node):
    return raw.manifest(node.port, NAME, "v1").headers["docker-content-digest"]


def pair(bench):
    up = bench.faulty()
    up.put(NAME, FIRST, "v1")
    chain = bench.chain(("docker.io", up.url), fresh_for="2s", revalidate="2/s")
    edges = [chain.edge, bench.edge(chain.central.fleet)]
    for edge in edges:
        wait_until(lambda e=edge: raw.manifest(e.port, NAME, "v1").status == 200, "the edge serves it")
        wait_until(lambda e=edge: e.held(FIRST.digest), "and keeps it")
    return up, chain.central, edges


def found_moved(up, central):
    """The tag moves, and central finds out with nobody asking."""
    before = len(up.seen)
    up.put(NAME, SECOND, "v1")
    wait_until(lambda: central.metric("entrepot_revalidated_moved_total") >= 1, lambda: f"{central.metrics()}")
    assert {s.method for s in up.seen[before:]} == {"HEAD"}, "what nobody has asked for is not pulled"


def test_a_tag_that_moved_upstream_is_served_by_all_edges_once_one_is_asked(bench):
    up, central, edges = pair(bench)
    found_moved(up, central)
    # The last check of what they hold is no longer fresh: the first that is asked has it fetched, for all.
    wait_until(lambda: named_by(edges[0]) == SECOND.digest, "the one that is asked (clocks are compared by the second)")
    wait_until(lambda: central.held(SECOND.digest), "central keeps it")
    wait_until(lambda: edges[1].json("status")["replica"]["number"] >= central.json("status")["place"]["number"], "the other has heard of it")
    assert named_by(edges[1]) == SECOND.digest
    # Each check was one HEAD, and so were at most those that edges caused.
    heads = [s for s in up.seen if s.method == "HEAD" and s.path.endswith("/manifests/v1")]
    assert len(heads) <= central.metric("entrepot_revalidated_total") + len(lookups(central))
    assert len([s for s in up.seen if s.method == "GET" and s.path.endswith(SECOND.digest)]) == 1


def test_a_tag_that_moved_to_what_cannot_be_had_stays_where_it_was(bench):
    up, central, edges = pair(bench)
    up.always(f"/manifests/{SECOND.digest}", Fault(status=429), "GET")
    found_moved(up, central)
    for edge in edges:
        wait_until(lambda e=edge: "has moved" in raw.manifest(e.port, NAME, "v1").headers.get("warning", ""), "it has tried")
        assert named_by(edge) == FIRST.digest
