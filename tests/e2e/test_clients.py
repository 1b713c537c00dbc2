"""Real engines pull through an edge and a central node from real registries; what arrives equals the upstream's content, digest by
digest."""

import pytest

from lab import clients, images, raw
from lab.base import HOST, MiB

GiB = 1 << 30


@pytest.fixture(scope="module")
def upstream(shared_bench):
    up = shared_bench.registry()
    up.put("library/app", images.small(), "v1")
    up.put("library/one", images.one_byte(), "v1")
    up.put("library/sixty", images.sixty_layers(), "v1")
    up.put("library/multi", images.multi_platform(), "v1")
    return up


@pytest.fixture(scope="module")
def second(shared_bench):
    up = shared_bench.registry()
    up.put("team/tool", images.small("second"), "v1")
    up.put("library/app", images.small("second app"), "v1")
    return up


@pytest.fixture(scope="module")
def chain(shared_bench, upstream, second):
    return shared_bench.chain(("docker.io", upstream.url), ("second.test", second.url))


@pytest.fixture
def edge(chain):
    return chain.edge


def test_docker_pulls_through_registry_mirrors(bench, edge):
    docker = bench.docker(mirror=f"http://{HOST}:{edge.port}")
    docker.pull("app:v1")
    docker.matches("app:v1", images.small())
    docker.pull("sixty:v1")
    docker.matches("sixty:v1", images.sixty_layers())
    docker.pull(f"app@{images.small().digest}")


def test_containerd_pulls_from_two_upstreams_by_ns(bench, edge):
    ctr = bench.containerd()
    for registry in ("docker.io", "second.test"):
        ctr.hosts(registry, f"http://{HOST}:{edge.port}")
    ctr.pull("docker.io/library/sixty:v1")
    ctr.pull("docker.io/library/app:v1")
    ctr.pull("second.test/team/tool:v1")
    ctr.pull("second.test/library/app:v1")
    for image in (images.sixty_layers(), images.small(), images.small("second"), images.small("second app")):
        ctr.matches(image)
    ctr.fetch("docker.io/library/multi:v1")
    ctr.fetch("docker.io/library/one:v1")
    ctr.matches(images.multi_platform())
    ctr.matches(images.one_byte())


def test_podman_pulls_through_mirrors_of_two_registries(bench, edge):
    # The path after a mirror's location is the registry's own; the second is told apart by its name as first component.
    podman = bench.podman({"docker.io": f"{HOST}:{edge.port}", "second.test": f"{HOST}:{edge.port}/second.test"})
    podman.pull("docker.io/library/app:v1")
    podman.matches("docker.io/library/app:v1", images.small())
    podman.pull("docker.io/library/sixty:v1")
    podman.matches("docker.io/library/sixty:v1", images.sixty_layers())
    podman.pull("second.test/library/app:v1")
    podman.matches("second.test/library/app:v1", images.small("second app"))


def test_skopeo_copies_a_whole_index(bench, edge):
    folder = bench.place("copy")
    clients.skopeo_copy(edge.port, "library/multi:v1", folder)
    clients.layout_matches(folder, images.multi_platform())
    clients.skopeo_copy(edge.port, "second.test/team/tool:v1", bench.place("tool"))


def test_a_layer_of_one_byte_arrives(edge):
    got = raw.pull(edge.port, "library/one", "v1")
    assert got[images.one_byte().layers[0].digest] == 1


def test_a_second_pull_moves_no_blob_again(edge, upstream):
    raw.pull(edge.port, "library/sixty", "v1")
    mark = upstream.mark()
    before = edge.metric("entrepot_fetched_bytes_total")
    raw.pull(edge.port, "library/sixty", "v1")
    assert not upstream.since(mark, "GET", "/library/"), upstream.since(mark)
    assert edge.metric("entrepot_fetched_bytes_total") == before


def test_central_serves_clients_as_the_edge_does(chain):
    got = raw.pull(chain.central.port, "library/multi", "v1")
    image = images.multi_platform()
    assert set(got) == set(image.blobs()) | set(image.manifests())
    raw.pull(chain.central.port, "team/tool", "v1", query="?ns=second.test")


def test_an_upstream_that_is_not_configured_is_an_unknown_name(edge):
    reply = raw.manifest(edge.port, "library/app", "v1", query="?ns=third.test")
    assert (reply.status, reply.error_code) == (404, "NAME_UNKNOWN")
    assert "third.test" in reply.message and "upstreams" in reply.message + str(reply.json())


def test_a_layer_of_one_gibibyte_arrives_and_is_asked_for_once(bench, edge, upstream):
    big = images.Sparse(GiB)
    image = upstream.put("library/big", images.single_blob(big), "v1")
    ctr = bench.containerd()
    ctr.hosts("docker.io", f"http://{HOST}:{edge.port}")
    mark = upstream.mark()
    ctr.fetch("docker.io/library/big:v1")
    ctr.matches(image)
    assert edge.rss() < 400 * MiB  # the sanitizer's own share included
    assert upstream.bytes_sent(big.digest, mark) == big.size


def test_the_sample_image_runs_in_docker(bench, chain):
    sample = bench.place("sample")
    from lab.base import REPO, run

    run(REPO / "tests/sample/make-sample", sample)
    chain.central.command("load", sample, "sample/hello:latest")
    docker = bench.docker(mirror=f"http://{HOST}:{chain.edge.port}")
    docker.pull("sample/hello:latest")
    said = docker("run", "--rm", "--network", "none", "sample/hello:latest")
    assert "Hello from Entrepot" in said.stdout
