"""The container engines people really use, each with a private root, pointed at a mirror."""

import hashlib
import json
from pathlib import Path

from .base import HOST, Process, run, wait_until


def _mount_points(folder):
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [p for p in (line.split()[1] for line in lines) if p.startswith(str(folder) + "/")]


def unmount_below(folder):
    """Engines leave mounts in their roots; the folder could not be removed with them."""
    for point in sorted(_mount_points(folder), key=len, reverse=True):
        run("umount", "-l", point, check=False)


class Docker:
    """A dockerd of its own. config: more of daemon.json, for instance the lines that client-config prints."""

    def __init__(self, folder, mirror=None, config=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket = f"unix://{self.folder}/docker.sock"
        settings = {
            "iptables": False,
            "ip6tables": False,
            "bridge": "none",
            "storage-driver": "vfs",
            "registry-mirrors": [mirror] if mirror else [],
            "data-root": f"{self.folder}/root",
            "exec-root": f"{self.folder}/exec",
            "pidfile": f"{self.folder}/pid",
            "hosts": [self.socket],
            **(config or {}),
        }
        file = self.folder / "daemon.json"
        file.write_text(json.dumps(settings))
        self.process = Process(["dockerd", "--config-file", file], self.folder / "log")

    def start(self):
        self.process.spawn()
        up = lambda: run("/usr/bin/docker", "-H", self.socket, "info", check=False).returncode == 0  # noqa: E731
        wait_until(up, lambda: f"dockerd answering\n{self.process.tail()}", 40, 0.2)
        return self

    def stop(self):
        self.process.stop()
        unmount_below(self.folder)

    def __call__(self, *words, check=True, timeout=180):
        return run("/usr/bin/docker", "-H", self.socket, *words, check=check, timeout=timeout)

    def pull(self, name, check=True):
        return self("pull", name, check=check)

    def matches(self, name, image):
        """Docker keeps no compressed layers: it proves the manifest's digest, the config's and each layer's content."""
        found = json.loads(self("image", "inspect", name).stdout)[0]
        assert any(d.endswith("@" + image.digest) for d in found["RepoDigests"]), found["RepoDigests"]
        assert found["Id"] == image.config.digest
        assert found["RootFS"]["Layers"] == image.diff_ids


class Containerd:
    """A containerd of its own, used through ctr. hosts(): where a registry's pulls go. cri: a config.toml with a plugin table for what
    Kubernetes uses; without it, that part does not run."""

    def __init__(self, folder, cri=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket = self.folder / "sock"
        self.hosts_dir = self.folder / "hosts"
        config = self.folder / "config.toml"
        own = f'root = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
        own += f'[grpc]\naddress = "{self.socket}"\n[ttrpc]\naddress = "{self.folder}/ttrpc"\n'
        if cri:
            given = self.folder / "given.toml"
            given.write_text(cri)
            own = f'version = 2\nimports = ["{given}"]\n{own}'
            own += '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "native"\n'
        else:
            own = f'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n{own}'
        config.write_text(own)
        self.process = Process(["containerd", "--config", config], self.folder / "log")

    def hosts(self, registry, mirror=None, text=None):
        """Writes hosts.toml for a registry: a mirror's URL, or the text as it must stand there."""
        folder = self.hosts_dir / registry
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text(
            text
            or f'server = "https://nowhere.invalid"\n[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n'
        )

    def start(self):
        self.process.spawn()
        up = lambda: run("ctr", "-a", self.socket, "version", check=False).returncode == 0  # noqa: E731
        wait_until(up, lambda: f"containerd answering\n{self.process.tail()}", 30, 0.1)
        return self

    def stop(self):
        self.process.stop()
        unmount_below(self.folder)

    def __call__(self, *words, check=True, timeout=180):
        return run("ctr", "-a", self.socket, *words, check=check, timeout=timeout)

    def pull(self, name, check=True):
        return self("images", "pull", "--hosts-dir", self.hosts_dir, "--snapshotter", "native", name, check=check)

    def fetch(self, name, check=True):
        """All content of all platforms, nothing unpacked."""
        return self("content", "fetch", "--all-platforms", "--hosts-dir", self.hosts_dir, name, check=check)

    def matches(self, image):
        """Every blob of the image is in the content store, and is what its digest says."""
        folder = self.folder / "root" / "io.containerd.content.v1.content" / "blobs" / "sha256"
        for digest in [*image.blobs(), *image.manifests()]:
            file = folder / digest.split(":")[1]
            assert file.exists(), f"{digest} did not come"
            assert file_digest(file) == digest


class Podman:
    """podman with private storage and a registries.conf of its own."""

    def __init__(self, folder, mirrors=None, text=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.conf = self.folder / "registries.conf"
        blocks = [
            f'[[registry]]\nlocation = "{registry}"\n[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n'
            for registry, mirror in (mirrors or {}).items()
        ]
        self.conf.write_text(text or "\n".join(blocks))

    def __call__(self, *words, check=True):
        own = ["--root", self.folder / "root", "--runroot", self.folder / "run", "--storage-driver", "vfs"]
        return run("podman", *own, *words, check=check, env={"CONTAINERS_REGISTRIES_CONF": str(self.conf)})

    def pull(self, name, check=True):
        return self("pull", "-q", name, check=check)

    def matches(self, name, image):
        found = json.loads(self("image", "inspect", name).stdout)[0]
        assert found["Digest"] == image.digest
        assert "sha256:" + found["Id"] == image.config.digest
        assert found["RootFS"]["Layers"] == image.diff_ids

    def stop(self):
        unmount_below(self.folder)


def skopeo_copy(port, name, folder, everything=True, check=True):
    """Copies from a registry on loopback into an OCI layout."""
    words = ["--all"] if everything else []
    return run(
        *["skopeo", "copy", *words, "--src-tls-verify=false", f"docker://{HOST}:{port}/{name}", f"oci:{folder}:copied"], check=check
    )


def layout_matches(folder, image):
    """Every blob of the image is in the layout, whole."""
    for digest in [*image.blobs(), *image.manifests()]:
        file = Path(folder) / "blobs" / "sha256" / digest.split(":")[1]
        assert file.exists(), f"{digest} did not come"
        assert file_digest(file) == digest


def file_digest(path):
    with open(path, "rb") as f:
        return "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
