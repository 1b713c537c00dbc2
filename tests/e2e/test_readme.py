"""README's commands, engine files and its list of what is not here, taken from its text and tried as they stand there: the tests' process has an
/etc and a network of its own, so the files go where README says and the edge has README's address."""

import json
import os
import re
import signal
import struct

import pytest

from lab import clients, images, raw
from lab.base import HOST, REPO, Process, run, wait_until
from lab.nodes import RELEASE

README = (REPO / "README.md").read_text()
ADDRESS = "10.1.0.5"


def section(title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)[1]


def blocks(text):
    """[(what stands before it, its language, its lines)] of the fenced blocks."""
    found, at = [], 0
    for m in re.finditer(r"^```(\w*)\n(.*?)^```\n", text, re.M | re.S):
        found.append((text[at : m.start()], m[1], m[2]))
        at = m.end()
    return found


# --- the two commands ---


def the_commands():
    lines = blocks(section("Two commands"))[0][2].splitlines()
    return [line.split("#")[0].strip() for line in lines]


@pytest.fixture(scope="module")
def tree(shared_bench):
    """This tree as a plain user's own, with what is built of it and was unpacked for it: it may stand in root's home."""
    folder = shared_bench.place("tree")
    folder.mkdir()
    os.chmod(shared_bench.folder, 0o755)
    parts = [p for p in os.listdir(REPO) if p not in ("build", ".git")] + ["build/release", "build/unpacked"]
    run("sh", "-c", 'cd "$0" && tar -c "$@" | tar -x -C "$OUT"', REPO, *parts, env={"OUT": str(folder)})
    assert RELEASE.exists()
    home = folder.parent / "home"
    home.mkdir()
    run("chown", "-R", "65534:65534", folder, home)
    return folder


def as_nobody(tree):
    env = {"HOME": str(tree.parent / "home"), "XDG_DATA_HOME": "", "XDG_STATE_HOME": "", "MAKEFLAGS": ""}
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"], env


def test_the_first_command_starts_both_nodes_and_pulls_through_them(tree, bench):
    setpriv, env = as_nobody(tree)
    command = the_commands()[0]
    assert command == "make run"
    process = bench.add(Process([*setpriv, *command.split()], tree.parent / "said", env=env, cwd=tree)).spawn()
    wait_until(lambda: "Ctrl-C stops both" in process.text() or not process.running(), process.tail, 300)
    said = process.text()
    assert process.running() and "from central" in said and "from this node's store" in said, said
    # Where README says that it stays.
    places = re.search(r"stays for the next time: in `~/(\S+)` \(logs in `~/(\S+)`\)", README)
    for place in places.groups():
        assert (tree.parent / "home" / place).is_dir(), place
    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: not process.running(), process.tail, 60)
    # make itself ends by the signal, as programs do.
    assert process.child.returncode in (0, -signal.SIGINT) and "both have stopped" in process.text(), process.tail()


def test_the_second_command_runs_suites_and_ends_with_their_sum(tree):
    command = the_commands()[1]
    assert command == "make check"
    # The others are what is running now.
    done = run("env", "-C", tree, *command.split(), "SUITES=layers", env={"MAKEFLAGS": ""}, timeout=300)
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout.splitlines()[-1]), done.stdout


def test_the_second_command_says_at_once_what_a_plain_user_lacks(tree):
    setpriv, env = as_nobody(tree)
    done = run("env", "-C", tree, *setpriv, *the_commands()[1].split(), env=env, check=False, timeout=60)
    assert done.returncode != 0 and "the tests cannot start here" in done.stderr and "sudo" in done.stderr, done
    assert "installing" not in done.stdout and "passed" not in done.stdout


# --- engines ---


def engine_files():
    """Path -> content, as README tells them."""
    found = {}
    for before, language, text in blocks(section("Pointing an engine at an edge")):
        paths = re.findall(r"`(/etc/[^`]+\.(?:json|toml|conf))`", before)
        if language and paths:
            found[paths[-1] if "config.toml" in paths[-1] else paths[0]] = text
    return found


@pytest.fixture(scope="module")
def edge(shared_bench):
    """At README's address, where docker.io is a registry of ours."""
    run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    up = shared_bench.registry()
    up.put("library/alpine", images.small(), "latest")
    nodes = shared_bench.chain(("docker.io", up.url), edge={"registry.listen": ":5050"})
    nodes.edge.port = 5050
    yield nodes.edge
    run("ip", "address", "del", f"{ADDRESS}/32", "dev", "lo")


@pytest.fixture
def written(edge):
    """README's files where README puts them."""
    files = engine_files()
    assert len(files) == 4, list(files)
    for name, text in files.items():
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "w") as f:
            f.write(text)
    return files


def pulled_from(edge):
    """Manifests that the edge has answered so far."""
    return len([a for a in edge.access("/manifests/") if a["status"] == "200"])


def test_docker_s_file(bench, edge, written):
    name = "/etc/docker/daemon.json"
    docker = bench.docker(config=json.loads(written[name]))
    before = pulled_from(edge)
    docker.pull("alpine:latest")
    docker.matches("alpine:latest", images.small())
    assert pulled_from(edge) > before


def test_ctr_s_line(bench, edge, written):
    ctr = bench.containerd()
    (line,) = [t.strip() for _, _, t in blocks(section("Pointing an engine at an edge")) if t.startswith("ctr ")]
    program, *words = line.split()
    assert program == "ctr" and "--hosts-dir" in words
    before = pulled_from(edge)
    ctr(*words[:2], "--snapshotter", "native", *words[2:])
    ctr.matches(images.small())
    assert pulled_from(edge) > before


def cri_call(socket, method, message):
    """One call of Kubernetes' interface to containerd: gRPC by curl."""
    frame = b"\0" + struct.pack(">I", len(message)) + message
    file = socket.parent / "call"
    file.write_bytes(frame)
    return run("curl", "-sS", "--http2-prior-knowledge", "--unix-socket", socket, "-D", "-", "-H", "Content-Type: application/grpc", "-H", "TE: trailers",
               "--data-binary", f"@{file}", "--max-time", "120", f"http://localhost/runtime.v1.ImageService/{method}").stdout


def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


def test_containerd_s_plugin_table_as_kubernetes_uses_it(bench, edge, written):
    """PullImage, with README's config.toml and nothing else but where this containerd keeps its own things."""
    ctr = bench.containerd(cri=written["/etc/containerd/config.toml"])
    before = pulled_from(edge)
    image = field(1, field(1, b"docker.io/library/alpine:latest"))
    said = cri_call(ctr.socket, "PullImage", image)
    assert "grpc-status: 0" in said, said + ctr.process.tail()
    ctr.matches(images.small())
    assert pulled_from(edge) > before


def test_podman_s_file(bench, edge, written):
    podman = clients.Podman(bench.place("podman"), text="")
    podman.conf.unlink()
    own = ["--root", podman.folder / "root", "--runroot", podman.folder / "run", "--storage-driver", "vfs"]
    before = pulled_from(edge)
    run("podman", *own, "pull", "-q", "docker.io/library/alpine:latest")
    found = json.loads(run("podman", *own, "image", "inspect", "docker.io/library/alpine:latest").stdout)[0]
    assert found["Digest"] == images.small().digest
    assert pulled_from(edge) > before


# --- what is not here ---


@pytest.fixture(scope="module")
def both(shared_bench):
    up = shared_bench.registry()
    up.put("library/app", images.small(), "v1")
    return shared_bench.chain(("docker.io", up.url))


def refused(node, method, path):
    with raw.Wire(node.port) as wire:
        wire.ask(method, path, {"Content-Length": "0"})
        status, _ = wire.head()
    return status == 405


def no_command(node, name):
    done = run(node.binary, name, check=False)
    return done.returncode == 2 and f'there is no command "{name}"' in done.stderr


def no_key(node, setting, said):
    done = run(node.binary, "serve", "--check", "--set", setting, check=False)
    return re.search(said, done.stdout + done.stderr) is not None


UNKNOWN = "unknown key"
NO_EFFECT = "has no effect in this version"


def no_pushes(central, edge):
    digest = images.small().layers[0].digest
    assert no_command(central, "push") and no_command(edge, "push")
    for node in (central, edge):
        assert refused(node, "POST", "/v2/library/app/blobs/uploads/") and refused(node, "PUT", "/v2/library/app/manifests/v2")
        assert refused(node, "PATCH", f"/v2/library/app/blobs/uploads/{digest[7:39]}")


def no_deletion(central, edge):
    image = images.small()
    for node in (central, edge):
        assert refused(node, "DELETE", f"/v2/library/app/manifests/{image.digest}")
        assert refused(node, "DELETE", f"/v2/library/app/blobs/{image.layers[0].digest}")
        assert no_command(node, "delete") and no_command(node, "rm")


def no_garbage_collection(central, edge):
    for node in (central, edge):
        assert no_command(node, "gc") and no_command(node, "garbage-collect")


def no_access_rules(central, edge):
    for node in (central, edge):
        assert raw.manifest(node.port, "library/app", "v1").status == 200  # nobody was asked who he is
        for key in ("registry.access", "registry.auth", "access", "users"):
            assert no_key(node, f"{key}=x", UNKNOWN), key


def no_siblings(central, edge):
    assert no_key(edge, "peers.listen=:5051", f"peers.* {NO_EFFECT}")


def no_prefetch(central, edge):
    assert no_key(edge, "prefetch.rate=1MiB/s", f"prefetch.* {NO_EFFECT}") and no_key(central, "mirrors=[{repository: a/b}]", f"mirrors.* {NO_EFFECT}")
    assert no_command(central, "prefetch") and no_command(edge, "prefetch")


def no_kubernetes_secret(central, edge):
    for node in (central, edge):
        done = node.command("client-config", "kubernetes-secret", check=False)
        assert done.returncode == 2 and 'no client kind "kubernetes-secret"' in done.stderr, done


# By README's words.
PROOFS = {
    "pushes": no_pushes,
    "deletion": no_deletion,
    "garbage collection": no_garbage_collection,
    "access rules": no_access_rules,
    "sibling edges": no_siblings,
    "prefetch": no_prefetch,
    "`client-config kubernetes-secret`": no_kubernetes_secret,
}


def missing_things():
    text = re.search(r"What is not here yet: (.*?)\.\n", README, re.S)[1].replace("\n", " ")
    return [t for t in re.split(r", and |, | and ", re.sub(r" \([^)]*\)", "", text)) if t]


def test_each_thing_that_is_said_to_be_missing_has_a_proof():
    assert missing_things() == list(PROOFS)


@pytest.mark.parametrize("thing", PROOFS)
def test_is_not_here_yet(both, thing):
    PROOFS[thing](both.central, both.edge)
