"""What operators see: metrics that Prometheus reads, logs in which one id follows a request through every tier, health."""

import json
import signal

import pytest

from lab import images, raw
from lab.base import wait_until
from lab.nodes import parse_line


@pytest.fixture(scope="module")
def chain(shared_bench):
    up = shared_bench.faulty()
    made = shared_bench.chain(("docker.io", up.url))
    made.upstream = up
    up.put("library/app", images.small("metrics", 100_000), "v1")
    return made


def test_one_id_follows_a_request_from_edge_to_central_to_upstream(chain):
    layer = images.small("metrics", 100_000).layers[0]
    raw.manifest(chain.edge.port, "library/app", "v1", X_Request_Id="tag-id.1")
    raw.blob(chain.edge.port, "library/app", layer.digest, X_Request_Id="blob_id-2")
    for request_id in ("tag-id.1", "blob_id-2"):
        for node in (chain.edge, chain.central):
            wait_until(lambda n=node, i=request_id: any(i in e.values() for e in n.log()), f"{request_id} in {node.kind}'s log")
        assert any(s.headers.get("x-request-id") == request_id for s in chain.upstream.seen), request_id


def test_access_lines_name_the_repository_canonically(chain):
    raw.manifest(chain.edge.port, "library/app", "v1", X_Request_Id="by-mirror")
    raw.manifest(chain.edge.port, "docker.io/library/app", "v1", X_Request_Id="by-path")
    raw.ask(chain.edge.port, "/v2/", headers={"X-Request-Id": "no-name"})
    lines = {}

    def found():
        lines.update({e["request_id"]: e for e in chain.edge.access()})
        return {"by-mirror", "by-path", "no-name"} <= set(lines)

    wait_until(found, "the access log")
    assert lines["by-mirror"]["repository"] == lines["by-path"]["repository"] == "docker.io/library/app"
    assert "repository" not in lines["no-name"]


def test_a_404_of_a_source_does_not_count_as_a_failure(chain):
    before = chain.edge.metric("entrepot_fills_failed_total")
    for node in (chain.edge, chain.central):
        assert raw.blob(node.port, "library/app", "sha256:" + "1" * 64).status == 404
        assert raw.manifest(node.port, "library/app", "sha256:" + "2" * 64).status == 404
        assert not [e for e in node.log() if e.get("event") == "fill_failed"]
        assert not list((node.data / "fills").iterdir())
    assert chain.edge.metric("entrepot_fills_failed_total") == before


def test_a_malformed_request_id_is_replaced(chain):
    raw.manifest(chain.edge.port, "library/app", "v1", X_Request_Id="bad id\x01")
    raw.ask(chain.edge.port, "/v2/", headers={"X-Request-Id": "a" * 65})
    assert "a" * 65 not in chain.edge.process.text()


@pytest.mark.parametrize("node", ["central", "edge"])
def test_metrics_are_in_prometheus_format_and_well_named(chain, node):
    raw.manifest(chain.edge.port, "library/app", "v1")
    found = getattr(chain, node).metrics()
    names = {name for name, _ in found}
    for wanted in [
        "entrepot_hits_total",
        "entrepot_misses_total",
        "entrepot_client_bytes_total",
        "entrepot_fetched_bytes_total",
        "entrepot_fills_started_total",
        "entrepot_coalesced_readers_total",
        "entrepot_evictions_total",
        "entrepot_connections",
        "entrepot_http_first_byte_seconds_bucket",
        "entrepot_held_bytes",
        "process_resident_memory_bytes",
    ]:
        assert wanted in names or node == "central" and wanted == "entrepot_fetched_bytes_total", wanted
    assert raw.ask(getattr(chain, node).admin, "/metrics").headers["content-type"].startswith("text/plain")


def test_histograms_add_up(chain):
    raw.manifest(chain.edge.port, "library/app", "v1")
    found = chain.edge.metrics()
    counts = {labels: v for (n, labels), v in found.items() if n == "entrepot_http_request_seconds_count"}
    assert counts
    for labels, count in counts.items():
        buckets = [(dict(have)["le"], v) for (n, have), v in found.items() if n.endswith("request_seconds_bucket") and labels < have]
        values = [v for _, v in sorted(buckets, key=lambda b: float(b[0].replace("+Inf", "inf")))]
        assert values == sorted(values) and values[-1] == count


def test_counters_move_with_hits_misses_and_bytes(chain):
    image = chain.upstream.put("library/count", images.small("count", 200_000), "v1")
    size = sum(b.size for b in [*image.blobs().values(), image.manifest])

    def now():
        edge = chain.edge
        names = ["hits", "misses", "client_bytes", "fetched_bytes", "fills_completed"]
        return {n: edge.metric(f"entrepot_{n}_total") for n in names}

    start = now()
    raw.pull(chain.edge.port, "library/count", "v1")
    # A fill counts as completed when its digest is proved; until it is also kept, a reader joins it, which is no hit.
    wait_until(lambda: chain.edge.metric("entrepot_fills_running") == 0, "all is kept")
    cold = now()
    assert cold["fills_completed"] - start["fills_completed"] == 3
    assert cold["misses"] - start["misses"] >= 3
    assert size <= cold["fetched_bytes"] - start["fetched_bytes"] <= size + 10_000
    raw.pull(chain.edge.port, "library/count", image.digest)
    warm = wait_until(lambda: (n := now())["hits"] - cold["hits"] >= 3 and n, "three hits")
    assert warm["fetched_bytes"] == cold["fetched_bytes"]
    assert warm["client_bytes"] - cold["client_bytes"] >= size


@pytest.mark.parametrize("node", ["central", "edge"])
def test_health_and_readiness_answer(chain, node):
    admin = getattr(chain, node).admin
    assert raw.ask(admin, "/healthz").status == 200
    assert raw.ask(admin, "/readyz").status == 200
    assert raw.ask(admin, "/nothing").status == 404


def test_logs_can_be_json_and_the_access_log_off(bench):
    up = bench.faulty()
    up.put("library/app", images.small("json"), "v1")
    made = bench.chain(("docker.io", up.url), edge={"log.format": "json", "log.access": "false"})
    raw.pull(made.edge.port, "library/app", "v1")
    made.edge.stop()
    lines = made.edge.process.text().splitlines()
    assert lines and all("time" in json.loads(line) for line in lines)
    assert not made.edge.access("/v2/")
    assert made.central.access("/v2/")


def test_an_access_line_says_what_was_asked_and_sent(chain):
    layer = images.small("metrics", 100_000).layers[0]
    raw.blob(chain.edge.port, "library/app", layer.digest, User_Agent="lab/1 \"quoted\" \\ x")
    line = wait_until(lambda: chain.edge.access(layer.digest), "an access line")[-1]
    assert line["status"] == "200" and line["method"] == "GET" and str(layer.size) in line.values()


@pytest.mark.parametrize(
    "trusted, headers, remote",
    [
        ("[127.0.0.0/8]", {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}, "203.0.113.7"),
        ("[127.0.0.0/8]", {"Forwarded": 'for="[2001:db8::5]:4711"'}, "2001:db8::5"),
        ("[127.0.0.0/8]", {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=198.51.100.1"}, "127.0.0.1"),
        ("[10.0.0.0/8]", {"X-Forwarded-For": "203.0.113.7"}, "127.0.0.1"),
        ("[]", {"X-Forwarded-For": "203.0.113.7"}, "127.0.0.1"),
    ],
    ids=["x-forwarded-for", "forwarded", "both", "another proxy", "none trusted"],
)
def test_a_trusted_proxy_says_for_whom_it_asks(bench, trusted, headers, remote):
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url), edge={"registry.trusted_proxies": trusted})
    with raw.Wire(made.edge.port) as wire:
        wire.request("GET", "/v2/?first", headers)
        wire.request("GET", "/v2/?second")  # the same connection, and nothing said
    line = wait_until(lambda: made.edge.access("/v2/?first"), "an access line")[-1]
    assert line["remote"] == remote
    line = wait_until(lambda: made.edge.access("/v2/?second"), "an access line")[-1]
    assert line["remote"] == "127.0.0.1"


def test_both_daemons_say_at_start_that_anyone_may_pull(chain):
    for node in (chain.central, chain.edge):
        wait_until(lambda n=node: any("anyone" in v for e in n.log() for v in e.values()), "the log says that anyone may pull")


def test_sighup_logs_what_was_read_again_and_what_was_not(bench, tmp_path):
    file = tmp_path / "edge.yaml"
    file.write_text("log: { level: info }\n")
    edge = bench.edge(1, start=False)
    edge.arguments = lambda: ["--config", file, *type(edge).arguments(edge)]
    edge.start_not_ready()
    said = []

    def reload():
        edge.process.signal(signal.SIGHUP)
        told = lambda: [e for e in edge.log() if e.get("event") == "reloaded"]  # noqa: E731
        wait_until(lambda: len(told()) > len(said), "a word on what was reloaded")
        said[:] = told()
        return said[-1]

    assert reload().items() >= {"level": "info", "certificate": "none configured", "config": "unchanged"}.items()
    file.write_text("log: { level: debug }\n")
    told = reload()
    assert told["level"] == "warn" and "has changed" in told["config"] and "restart" in told["config"] and told["file"] == str(file)
    file.write_text("log: { levle: debug }\n")
    told = reload()
    assert "is not valid: nothing was taken" in told["config"] and "restart" not in told["config"]
    assert any(e.get("event") == "config_refused" and "levle" in e["why"] for e in edge.log())
    file.unlink()
    assert "cannot be read now" in reload()["config"]
    assert edge.alive()


def test_log_lines_are_all_parsable(chain):
    for node in (chain.central, chain.edge):
        for line in node.process.text().splitlines():
            parsed = parse_line(line)
            assert parsed and "time" in parsed and "level" in parsed, line
