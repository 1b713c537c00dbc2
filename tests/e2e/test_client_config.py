"""What client-config prints and writes, and that it really configures the engines."""

import json
import os
import tomllib

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
    config = json.loads(edge.command("client-config", "docker").stdout)
    assert config == {"registry-mirrors": [f"http://[::1]:{port}"]}
    docker = bench.docker(config=config)
    mark = len(edge.access())
    docker.pull("app:v1")
    docker.matches("app:v1", images.small("commands"))
    assert len(edge.access()) > mark  # it has come this way
    for kind in ("podman", "cri-o", "k3s"):
        done = edge.command("client-config", kind, check=False)
        assert done.returncode == 1 and not done.stdout and "address=NAME" in done.stderr and "--address NAME" in done.stderr, done
        assert edge.command("client-config", kind, "--address", "edge.example").stdout


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


def test_docker_29_finds_hosts_files_for_every_registry(node):
    found = files(node, "docker")
    for upstream, server in (("docker.io", "https://registry-1.docker.io"), ("second.test", "https://second.test")):
        text = found[f"/etc/docker/certs.d/{upstream}/hosts.toml"]
        assert tomllib.loads(text) == {"server": server, "host": {f"http://{HOST}:{node.port}": {"capabilities": ["pull", "resolve"]}}}
    done = node.command("client-config", "docker")
    assert "/etc/docker/certs.d/second.test/hosts.toml" in done.stderr and "Engine 29" in done.stderr
    json.loads(done.stdout)


@pytest.mark.parametrize(
    "given,host,scheme",
    [
        ("registry.acme.example", "registry.acme.example:{port}", "http"),
        ("registry.acme.example:8080", "registry.acme.example:8080", "http"),
        ("https://registry.acme.example", "registry.acme.example", "https"),
        ("https://registry", "registry:443", "https"),
        ("https://registry.acme.example:8443/", "registry.acme.example:8443", "https"),
        ("http://registry.acme.example", "registry.acme.example:80", "http"),
    ],
)
def test_the_address_of_a_proxy_before_the_node_is_taken(node, given, host, scheme):
    host = host.format(port=node.port)
    config = {f["path"]: f["content"] for f in json.loads(node.command("client-config", "docker", "--json", "--address", given).stdout)["files"]}
    assert json.loads(config["/etc/docker/daemon.json"])["registry-mirrors"] == [f"{scheme}://{host}"]
    conf = node.command("client-config", "podman", "--address", given).stdout
    assert f'location = "{host}/second.test"' in conf and ("insecure" in conf) == (scheme == "http")


@pytest.mark.parametrize("given", ["", "https://", "https://a/b", "a b", "a:99999", "ftp://a", "a\"b", "http://u:p@a"])
def test_what_is_no_address_is_refused(node, given):
    done = node.command("client-config", "docker", "--address", given, check=False)
    assert done.returncode == 2 and "is not the address of a registry" in done.stderr and not done.stdout, done


# --- writing ---

KINDS = ["docker", "containerd", "podman", "cri-o", "k3s"]


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write(node, kind, folder, *more):
    return node.command("client-config", kind, "--write", folder, *more, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_written_where_they_belong_and_once(chain, kind, tmp_path):
    node = chain.edge
    dry = write(node, kind, tmp_path, "--dry-run")
    assert dry.returncode == 0 and not list(tmp_path.iterdir()), dry
    old_umask = os.umask(0o077)
    try:
        done = write(node, kind, tmp_path)
    finally:
        os.umask(old_umask)
    assert done.returncode == 0, done
    wanted = files(node, kind)
    assert set(tree(tmp_path)) == {path.lstrip("/") for path in wanted}
    for path, content in wanted.items():
        file = tmp_path / path.lstrip("/")
        assert file.read_text().endswith(content)
        assert file.stat().st_mode & 0o777 == 0o644 and file.parent.stat().st_mode & 0o777 == 0o755
        assert f"+++ {file}" in done.stdout and f"written: {file}" in done.stdout
        assert done.stdout.index(f"+++ {file}") < done.stdout.index("written: ")
    assert all(line in dry.stdout for line in done.stdout.splitlines() if line[:1] in "+-")
    before = tree(tmp_path)
    again = write(node, kind, tmp_path)
    assert again.returncode == 0 and "nothing to change" in again.stdout and tree(tmp_path) == before, again


def test_a_daemon_json_that_is_there_is_merged_and_kept_beside(chain, tmp_path):
    file = tmp_path / "etc/docker/daemon.json"
    file.parent.mkdir(parents=True)
    had = {"live-restore": True, "registry-mirrors": ["https://other.example"], "max-concurrent-downloads": 7, "x": 1.5}
    file.write_text(json.dumps(had))
    file.chmod(0o640)
    done = write(chain.edge, "docker", tmp_path)
    assert done.returncode == 0, done
    now = json.loads(file.read_text())
    assert now == {**had, "registry-mirrors": [f"http://{HOST}:{chain.edge.port}", "https://other.example"]}
    assert list(now) == list(had)  # in its order
    assert json.loads((tmp_path / "etc/docker/daemon.json.before-entrepot").read_text()) == had
    assert file.stat().st_mode & 0o777 == 0o640
    assert "nothing to change" in write(chain.edge, "docker", tmp_path).stdout
    # Another address: both are in, and the first copy stays.
    assert write(chain.edge, "docker", tmp_path, "--address", "edge.example").returncode == 0
    assert json.loads((tmp_path / "etc/docker/daemon.json.before-entrepot").read_text()) == had
    assert json.loads((tmp_path / "etc/docker/daemon.json.before-entrepot.2").read_text()) == now
    assert len(json.loads(file.read_text())["registry-mirrors"]) == 3


@pytest.mark.parametrize(
    "kind,path,had,told",
    [
        ("docker", "etc/docker/daemon.json", '{ "a": 1, }', "line 1"),
        ("docker", "etc/docker/daemon.json", "[]", "no JSON object"),
        ("docker", "etc/docker/daemon.json", '{"registry-mirrors": "x"}', "no list"),
        ("docker", "etc/docker/daemon.json", '{"a": 1, "a": 2}', "duplicate"),
        ("containerd", "etc/containerd/config.toml", "version = 2\n", '[plugins."io.containerd.grpc.v1.cri".registry]'),
        ("containerd", "etc/containerd/config.toml", "version = 3\n", '[plugins."io.containerd.cri.v1.images".registry]'),
        ("containerd", "etc/containerd/config.toml", 'disabled_plugins = ["cri"]\n', "[plugins.cri.registry]"),
        ("containerd", "etc/containerd/certs.d/docker.io/hosts.toml", 'server = "https://mine"\n', 'server = "https://registry-1.docker.io"'),
        ("podman", "etc/containers/registries.conf.d/50-entrepot.conf", "# mine\n", 'prefix = "docker.io"'),
        ("k3s", "etc/rancher/k3s/registries.yaml", "mirrors: {}\n", "endpoint:"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_what_to_add_and_nothing_is_written(chain, tmp_path, kind, path, had, told):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(had)
    done = write(chain.edge, kind, tmp_path)
    assert done.returncode == 1 and told in done.stderr and f"add to {file} by hand" in done.stderr, done
    assert "nothing was written" in done.stderr and tree(tmp_path) == {path: had.encode()}


def test_containerd_s_file_is_left_alone_once_it_names_the_folder(chain, tmp_path):
    file = tmp_path / "etc/containerd/config.toml"
    file.parent.mkdir(parents=True)
    for had in ('version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"\n', "# nothing but words\n"):
        file.write_text(had)
        assert write(chain.edge, "containerd", tmp_path).returncode == 0
        assert file.read_text().startswith(had)
        assert tomllib.loads(file.read_text())["plugins"]


def test_files_made_before_are_replaced_and_kept_beside(chain, tmp_path):
    assert write(chain.edge, "podman", tmp_path, "--address", "old.example").returncode == 0
    file = tmp_path / "etc/containers/registries.conf.d/50-entrepot.conf"
    old = file.read_text()
    done = write(chain.edge, "podman", tmp_path)
    assert done.returncode == 0 and "-location" in done.stdout and "+location" in done.stdout, done
    assert "old.example" not in file.read_text() and file.with_name(file.name + ".before-entrepot").read_text() == old


def test_odd_folders_and_files_are_refused(chain, tmp_path):
    for folder, told in ((tmp_path / "none", "No such file"), ("/etc/passwd", "Not a directory"), ("/proc", "/proc/etc")):
        done = write(chain.edge, "podman", folder)
        assert done.returncode == 1 and told in done.stderr, done
    aside = tmp_path / "aside"
    aside.mkdir()
    (aside / "50-entrepot.conf").write_text("")
    for name, make in (
        ("folder", lambda etc: (etc / "registries.conf.d").symlink_to(aside)),
        ("file", lambda etc: ((etc / "registries.conf.d").mkdir(), (etc / "registries.conf.d/50-entrepot.conf").symlink_to(aside / "50-entrepot.conf"))),
        ("fifo", lambda etc: ((etc / "registries.conf.d").mkdir(), os.mkfifo(etc / "registries.conf.d/50-entrepot.conf"))),
        ("large", lambda etc: ((etc / "registries.conf.d").mkdir(), (etc / "registries.conf.d/50-entrepot.conf").write_bytes(b"#" * (1 << 21)))),
        ("plain", lambda etc: (etc / "registries.conf.d").write_text("")),
    ):
        etc = tmp_path / name / "etc/containers"
        etc.mkdir(parents=True)
        make(etc)
        done = write(chain.edge, "podman", tmp_path / name)
        assert done.returncode == 1 and "registries.conf.d" in done.stderr, done
        assert "written" not in done.stdout and (aside / "50-entrepot.conf").read_text() == "" and len(list(aside.iterdir())) == 1


def test_a_folder_that_may_not_be_written_is_told_and_left(chain, bench, tmp_path):
    os.chmod(bench.folder, 0o755)
    folder = bench.place("root")
    folder.mkdir()
    (folder / "etc").mkdir()
    argv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", chain.edge.binary, "client-config", "podman", "--write", folder, "--set", "data=/nowhere"]
    done = run(*argv, env=SANITIZERS, check=False)
    assert done.returncode == 1 and "Permission denied" in done.stderr and "sudo" in done.stderr, done
    assert not tree(folder)


def test_what_is_written_for_docker_configures_it(bench, chain, tmp_path):
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "etc/docker/daemon.json").write_text('{"max-concurrent-downloads": 2}')
    assert write(chain.edge, "docker", tmp_path).returncode == 0
    docker = bench.docker(config=json.loads((tmp_path / "etc/docker/daemon.json").read_text()))
    mark = len(chain.edge.access())
    docker.pull("app:v1")
    assert len(chain.edge.access()) > mark


def test_kinds_that_are_none_are_told_which_are(node):
    assert "containerd or cri-o" in node.command("client-config", "kubernetes", check=False).stderr
    assert node.command("client-config", "crio").stdout == node.command("client-config", "cri-o").stdout
    assert node.command("client-config", "docker", "--dry-run", check=False).returncode == 2
