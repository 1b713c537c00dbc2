"""The Debian packages: built in two versions, found clean by lintian, installed, upgraded, removed and purged in an overlay of this root.
The images made from them: the same digest each time, loaded and run by engines."""

import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from lab.base import REPO, run, wait_until
from lab.nodes import RELEASE
from lab.overlay import Overlay

NODES = ("central", "edge")
OLD, NEW = "1.0.0", "1.0.1+git20300101000000.abcdef0"


def take_objects(folder):
    """What the release build has compiled is not compiled once more, but for some of it, by which the package's own flags are seen to work. What
    protoc-c generates is the package's own as well."""
    shutil.rmtree(folder, ignore_errors=True)
    if (RELEASE / "obj").is_dir():
        shutil.copytree(RELEASE / "obj", folder / "obj", copy_function=shutil.copy2, ignore=shutil.ignore_patterns("*.d", "tests", "core", "main.o"))


def build(version):
    """The packages of this tree as that version. The second build finds the first one's objects. Nobody wants their speed or debug symbols."""
    folder = REPO / "build/test-packages"
    if version == OLD:
        take_objects(folder / "objects")
    how = {"DEB_BUILD_OPTIONS": "noautodbgsym", "DEB_CFLAGS_APPEND": "-O1 -g0", "MAKEFLAGS": ""}
    run(REPO / "deploy/debian/build", folder, timeout=900, env={"ENTREPOT_VERSION": version, **how})
    compiled = re.findall(r"^ +CC +(\S+)", (folder / "build.log").read_text(), re.M)
    assert version == NEW or {"central/main.c", "edge/main.c", "common/core/version.c"} <= set(compiled), compiled
    return folder


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Version -> {node: .deb}."""
    made = {}
    for version in (OLD, NEW):
        kept = tmp_path_factory.mktemp("packages")
        for deb in build(version).glob("*.deb"):
            shutil.copy(deb, kept)
        made[version] = {node: next(kept.glob(f"entrepot-{node}_*.deb")) for node in NODES}
    return made


@pytest.fixture
def root(tmp_path):
    overlay = Overlay(tmp_path / "overlay").start()
    known = [Path(f"/var/lib/dpkg/info/entrepot-{node}.list") for node in NODES]
    before = [p.exists() for p in known]
    try:
        # The machine may have used the packages or `make run`; not in here.
        overlay.run("dpkg", "--purge", "entrepot-central", "entrepot-edge", check=False)
        overlay.run("userdel", "entrepot", check=False)
        overlay.run("rm", "-rf", "/etc/entrepot", "/var/lib/entrepot")
        # Else each step indexes all man pages of the machine anew.
        overlay.run("rm", "-f", "/var/lib/man-db/auto-update")
        yield overlay
    finally:
        overlay.stop()
        assert [p.exists() for p in known] == before  # of the machine itself


def dpkg(root, *args):
    # Nobody is asked: a conffile that was changed stays as it is.
    return root.run("dpkg", "--force-confold", *args, env={"DEBIAN_FRONTEND": "noninteractive"})


def install(root, debs):
    inside = []
    for deb in debs:
        shutil.copy(deb, root.path("root/tmp"))
        inside.append(f"/tmp/{deb.name}")
    return dpkg(root, "--install", *inside)


def files_of(deb):
    with tarfile.open(fileobj=io.BytesIO(run("dpkg-deb", "--fsys-tarfile", deb, text=False).stdout)) as tar:
        return {member.name.lstrip(".") for member in tar if not member.isdir()}


# Serves until `status` gets an answer.
A_MOMENT = """
$1 serve & daemon=$!
until $1 status >/dev/null 2>&1; do kill -0 $daemon || exit 1; sleep 0.1; done
kill $daemon
wait $daemon
"""


def as_service(root, node, *command):
    """As its unit would run it: the service's account, and its data folder made for it."""
    account = ("--reuid", "entrepot", "--regid", "entrepot", "--clear-groups")
    root.run("install", "-d", "-m", "0755", "/var/lib/entrepot")
    root.run("install", "-d", "-m", "0700", "-o", "entrepot", "-g", "entrepot", f"/var/lib/entrepot/{node}")
    return root.run("setpriv", *account, *command, env={"STATE_DIRECTORY": f"/var/lib/entrepot/{node}"})


def test_lintian_finds_nothing(packages):
    for node in NODES:
        said = run("lintian", "--allow-root", "--fail-on", "error,warning", packages[NEW][node], check=False, timeout=300)
        assert (said.returncode, said.stdout) == (0, ""), said.stdout + said.stderr


def test_packages_hold_what_a_service_needs_and_share_no_file(packages):
    files = {node: files_of(packages[NEW][node]) for node in NODES}
    for node in NODES:
        for name in (f"/usr/bin/entrepot-{node}", f"/etc/entrepot/{node}.yaml", f"/lib/systemd/system/entrepot-{node}.service",
                     f"/lib/systemd/system/entrepot-{node}-verify.timer", f"/usr/lib/sysusers.d/entrepot-{node}.conf",
                     f"/usr/share/man/man1/entrepot-{node}.1.gz", f"/usr/share/bash-completion/completions/entrepot-{node}",
                     f"/usr/share/doc/entrepot-{node}/examples/{node}.yaml", f"/usr/share/doc/entrepot-{node}/copyright"):
            assert name in files[node]
    assert not files["central"] & files["edge"]


def named_so(root):
    """Files outside of home and temporary folders that are ours by their names."""
    return set(root.run("find", "/etc", "/lib/systemd", "/usr", "/var/lib", "/var/log", "-xdev", "-name", "*entrepot*").stdout.split())


def test_install_upgrade_remove_purge(packages, root):
    before = named_so(root)  # the machine may have run us in other ways
    install(root, packages[OLD].values())
    assert root.run("id", "-un", "entrepot").stdout.strip() == "entrepot"
    for node in NODES:
        assert f"entrepot-{node} {OLD} " in root.run(f"entrepot-{node}", "--version").stdout
        assert "valid" in as_service(root, node, f"entrepot-{node}", "serve", "--check").stdout
        as_service(root, node, "sh", "-c", A_MOMENT, "sh", f"entrepot-{node}")
        for wanted_by, unit in (("multi-user", f"entrepot-{node}.service"), ("timers", f"entrepot-{node}-verify.timer")):
            link = root.run("readlink", f"/etc/systemd/system/{wanted_by}.target.wants/{unit}").stdout.strip()
            assert link == f"/lib/systemd/system/{unit}" and root.exists(link)
        # What the timer's service runs, where no daemon does.
        assert "0 blobs checked" in as_service(root, node, f"entrepot-{node}", "verify").stdout
        config = root.path(f"root/etc/entrepot/{node}.yaml")
        config.write_text(config.read_text() + "drain: 7s\n")

    install(root, packages[NEW].values())
    for node in NODES:
        assert f"entrepot-{node} {NEW} " in root.run(f"entrepot-{node}", "--version").stdout
        assert "drain: 7s" in root.path(f"root/etc/entrepot/{node}.yaml").read_text()

    dpkg(root, "--remove", "entrepot-central", "entrepot-edge")
    for node in NODES:
        assert not root.exists(f"/usr/bin/entrepot-{node}")
        assert root.exists(f"/var/lib/entrepot/{node}")
        assert root.exists(f"/etc/entrepot/{node}.yaml")
    assert root.run("id", "-un", "entrepot").stdout.strip() == "entrepot"

    dpkg(root, "--purge", "entrepot-edge")
    assert root.exists("/var/lib/entrepot/central") and not root.exists("/var/lib/entrepot/edge")
    dpkg(root, "--purge", "entrepot-central")
    assert root.run("dpkg-query", "-W", "entrepot-*", check=False).returncode != 0
    assert not named_so(root) - before


@pytest.fixture(scope="module")
def images(packages, tmp_path_factory):
    """The folder with the images of the newer packages."""
    folder = tmp_path_factory.mktemp("images")
    run(REPO / "deploy/image/build", packages[NEW]["edge"].parent, folder)
    return folder


def test_an_image_made_again_is_the_same_byte_by_byte(packages, images, tmp_path):
    run(REPO / "deploy/image/build", packages[NEW]["edge"].parent, tmp_path, "edge")
    first, second = (
        {p.relative_to(top): p.read_bytes() for p in (top / "entrepot-edge").rglob("*") if p.is_file()} for top in (images, tmp_path)
    )
    assert len(first) >= 5 and first == second


def test_docker_loads_and_runs_the_images(images, bench):
    docker = bench.docker()
    for node in NODES:
        loaded = docker("load", "-q", "-i", images / f"entrepot-{node}.tar").stdout
        name = loaded.strip().removeprefix("Loaded image: ")
        assert name == f"entrepot-{node}:" + NEW.replace("+", "-")
        assert docker("run", "--rm", "--network", "none", name, "--version").stdout.startswith(f"entrepot-{node} {NEW} ")
        # As its own user, on a volume that the engine makes.
        box = docker("run", "-d", "--network", "none", name).stdout.strip()
        status = ("exec", box, f"entrepot-{node}", "status", "--json")
        wait_until(lambda: docker(*status, check=False).returncode == 0, lambda: docker("logs", box).stderr)
        told = json.loads(docker(*status).stdout)
        assert (told["version"], told["data"]) == (NEW, f"/var/lib/entrepot/{node}")
        docker("stop", box)
        assert docker("inspect", "-f", "{{.State.ExitCode}}", box).stdout.strip() == "0"


def test_podman_loads_the_images(images, bench):
    podman = bench.podman()
    for node in NODES:
        loaded = podman("load", "-q", "-i", images / f"entrepot-{node}.tar").stdout
        name = loaded.strip().removeprefix("Loaded image: ")
        assert name.endswith(f"/entrepot-{node}:" + NEW.replace("+", "-"))
        (found,) = json.loads(podman("image", "inspect", name).stdout)
        assert found["Config"]["Entrypoint"] == [f"/usr/bin/entrepot-{node}"]
        assert found["Labels"]["org.opencontainers.image.version"] == NEW
        # The layout as it is, too.
        podman.pull(f"oci:{images}/entrepot-{node}")
