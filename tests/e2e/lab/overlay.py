"""A root of one's own: this machine's files below, whatever is changed above in memory. Packages can be installed and purged in it, and
the machine itself stays as it is."""

import subprocess
from pathlib import Path

from .base import run, wait_until

# The overlay's upper folder is in a tmpfs: where / is an overlay itself, its files could not serve.
SETUP = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" overlay "$1/root"
cd "$1/root"
mount -t proc proc proc
for folder in dev run tmp; do mount -t tmpfs -o mode=755 tmpfs $folder; done
chmod 1777 tmp
for node in null zero full random urandom; do touch dev/$node; mount --bind /dev/$node dev/$node; done
ip link set lo up
touch "$1/ready"
exec cat
"""


class Overlay:
    """Own mounts, processes, network. Files of other file systems than that of / are not in it."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.folder, self.holder = folder, None

    def start(self):
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts", "sh", "-c", SETUP, "sh", self.folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_until(lambda: self.path("ready").exists() or self.holder.poll() is not None, "the overlay root is there")
        assert self.holder.poll() is None, self.holder.stdout.read().decode()
        return self

    def inside(self):
        """The holder's child, whose namespaces these are."""
        pid = self.holder.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return children[0] if children else pid

    def path(self, name):
        """A file of the overlay as this process can see it."""
        return Path(f"/proc/{self.inside()}/root{self.folder}") / str(name).lstrip("/")

    def command(self, *args):
        return ["nsenter", "--target", self.inside(), "--mount", "--pid", "--net", "--ipc", "--uts",
                "chroot", self.folder / "root", *args]

    def run(self, *args, **how):
        return run(*self.command(*args), **how)

    def exists(self, name):
        return self.run("test", "-e", name, check=False).returncode == 0

    def changed(self):
        """What has been written, made or removed, as paths without the leading slash."""
        top = self.path("upper")
        return {str(p.relative_to(top)) for p in top.rglob("*")}

    def stop(self):
        if self.holder:
            self.holder.stdin.close()
            self.holder.wait(20)
            self.holder.stdout.close()
