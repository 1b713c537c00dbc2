"""Central checks mirrored tags by itself, for all edges."""

from lab import images, raw
from lab.base import wait_until

NAME = "library/app"
FIRST, SECOND = images.small("first"), images.small("second")


def test_a_tag_that_moved_upstream_reaches_all_edges_though_nobody_asks(bench):
    up = bench.faulty()
    up.put(NAME, FIRST, "v1")
    chain = bench.chain(("docker.io", up.url), fresh_for="2s", revalidate="2/s")
    central, edges = chain.central, [chain.edge, bench.edge(chain.central.fleet)]
    for edge in edges:
        wait_until(lambda e=edge: raw.manifest(e.port, NAME, "v1").status == 200, "the edge serves it")
    up.put(NAME, SECOND, "v1")
    # From here on nobody asks.
    wait_until(lambda: central.metric("entrepot_revalidated_moved_total") == 1, lambda: f"{central.metrics()}")
    number = central.json("status")["place"]["number"]
    for edge in edges:
        wait_until(lambda e=edge: e.json("status")["replica"]["number"] >= number, "the edge has heard of it")
        assert raw.manifest(edge.port, NAME, "v1").headers["docker-content-digest"] == SECOND.digest
    # Each check was one HEAD, and so were at most those that edges caused.
    heads = [s for s in up.seen if s.method == "HEAD" and s.path.endswith("/manifests/v1")]
    lookups = [e for e in central.access("/fleet/v1/lookup") if "for=settings" not in e["target"]]
    assert len(heads) <= central.metric("entrepot_revalidated_total") + len(lookups)
