"""What client-config prints and writes, and that it really configures the engines."""

import json

import pytest
import yaml

from lab import images, raw
from lab.base import HOST, free_port, run, wait_until
from lab.nodes import SANITIZERS


@pytest.fixture(scope="module")
def chain(shared_bench):
    up, second = shared_bench.registry(), shared_bench.registry()
    up.put("library/app", images.small("commands"), "v1")
    second.put("team/tool", images.small("tool"), "v1")
    made = shared_bench.chain(("docker.io", up.url), ("second.test", second.url))
    made.upstream = up
    raw.pull(made.edge.port, "library/app", "v1")
    return made


@pytest.fixture(params=["central", "edge"])
def node(chain, request):
    return getattr(chain, request.param)


def files(node, kind):
    """{path: content} of what client-config says to write."""
    doc = node.json("client-config", kind)
    return {f["path"]: f["content"] for f in doc["files"]}


def test_client_config_prints_paths_and_contents_for_people(node):
    for kind in ("docker", "containerd", "podman", "cri-o", "k3s"):
        done = node.command("client-config", kind)
        said = done.stdout + done.stderr
        if kind == "docker":
            assert json.loads(done.stdout) == json.loads(next(iter(files(node, kind).values())))
        for path, content in files(node, kind).items():
            assert path in said, (kind, path)
            for line in content.splitlines():
                assert line.strip() in said, (kind, line)
        assert f"{HOST}:{node.port}" in said


def test_client_config_and_doctor_go_by_the_running_daemon_not_by_what_they_are_given(chain):
    for node in (chain.central, chain.edge):
        given = ("--set", f"data={node.data}")
        assert f"{HOST}:{node.port}" in run(node.binary, "client-config", "containerd", *given, env=SANITIZERS).stdout
        done = run(node.binary, "doctor", *given, env=SANITIZERS, check=False)
        assert done.returncode == 0 and f"{HOST}:{node.port} accepts connections" in done.stdout, done.stdout


def test_docker_is_configured_by_what_client_config_prints(bench, chain):
    config = json.loads(files(chain.edge, "docker")["/etc/docker/daemon.json"])
    docker = bench.docker(config=config)
    docker.pull("app:v1")
    docker.matches("app:v1", images.small("commands"))


def test_containerd_is_configured_by_what_client_config_prints(bench, chain):
    ctr = bench.containerd()
    for path, content in files(chain.edge, "containerd").items():
        if path.endswith("hosts.toml"):
            ctr.hosts(path.split("/")[-2], text=content)
    ctr.pull("docker.io/library/app:v1")
    ctr.pull("second.test/team/tool:v1")
    ctr.matches(images.small("commands"))
    ctr.matches(images.small("tool"))


def test_an_edge_with_an_ipv6_address_is_written_as_each_engine_takes_it(bench, chain):
    port = free_port()
    edge = bench.edge(chain.central.fleet, settings={"registry.listen": f"[::1]:{port}", "address": "::1"}, start=False)
    edge.spawn()
    wait_until(edge.ready, "the edge is ready")
    ctr = bench.containerd()
    for path, content in files(edge, "containerd").items():
        if path.endswith("hosts.toml"):
            assert "[::1]" in content
            ctr.hosts(path.split("/")[-2], text=content.replace("https://registry-1.docker.io", "http://127.0.0.1:1"))
    ctr.pull("docker.io/library/app:v1")
    ctr.matches(images.small("commands"))
    for kind in ("podman", "cri-o"):
        done = edge.command("client-config", kind, check=False)
        assert done.returncode == 1 and not done.stdout and "address=NAME" in done.stderr, done


@pytest.mark.parametrize("kind", ["podman", "cri-o"])
def test_podman_is_configured_by_what_client_config_prints(bench, chain, kind):
    text = next(c for p, c in files(chain.edge, kind).items() if "registries.conf" in p)
    podman = bench.podman(text=text)
    podman.pull("docker.io/library/app:v1")
    podman.matches("docker.io/library/app:v1", images.small("commands"))
    podman.pull("second.test/team/tool:v1")
    podman.matches("second.test/team/tool:v1", images.small("tool"))


def test_k3s_registries_yaml_reads_as_yaml(chain):
    doc = yaml.safe_load(next(iter(files(chain.edge, "k3s").values())))
    assert f"http://{HOST}:{chain.edge.port}" in doc["mirrors"]["docker.io"]["endpoint"]
