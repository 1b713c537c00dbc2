"""Debian's docker-registry as a real upstream (or as a pull-through peer): images are written into its storage, its access log is the
proof of what was asked of it and how many bytes it sent."""

import re
from collections import namedtuple
from pathlib import Path

from . import images
from .base import HOST, Process, free_port, listening, wait_until

Access = namedtuple("Access", "method path status bytes agent")
_ACCESS = re.compile(r'^\S+ - - \[[^]]+\] "(\S+) (\S+) HTTP/[\d.]+" (\d+) (\d+) "[^"]*" "([^"]*)"')


class Registry:
    """One docker-registry with a folder of its own. mirror_of: the URL it pulls through from."""

    def __init__(self, folder, mirror_of=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.storage = self.folder / "storage"
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        proxy = f"proxy: {{remoteurl: {mirror_of}}}\n" if mirror_of else ""
        self.config = self.folder / "registry.yml"
        self.config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: false}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.storage}}}, delete: {{enabled: true}}}}\n"
            f'http: {{addr: "{HOST}:{self.port}"}}\n{proxy}'
        )
        self.process = Process(["docker-registry", "serve", self.config], self.folder / "log", env={"OTEL_SDK_DISABLED": "true"})

    def start(self):
        self.process.spawn()
        wait_until(lambda: listening(self.port), lambda: f"docker-registry listening\n{self.process.tail()}")
        return self

    def stop(self):
        self.process.kill()

    def put(self, repository, image, *tags):
        """Makes an image appear. Returns it."""
        images.store(self.storage, repository, image, *tags)
        return image

    def tag(self, repository, tag, image):
        images.store_tag(self.storage, repository, tag, image.digest)

    def untag(self, repository, tag):
        """A tag goes, as when its owner deletes it."""
        import shutil

        shutil.rmtree(self.storage / "docker/registry/v2/repositories" / repository / "_manifests/tags" / tag)

    # --- the log ---

    def accesses(self):
        """All requests that have ended, in order of ending."""
        found = [_ACCESS.match(line) for line in self.process.text().splitlines()]
        return [Access(m[1], m[2], int(m[3]), int(m[4]), m[5]) for m in found if m]

    def mark(self):
        """A place in the log for since()."""
        return len(self.accesses())

    def since(self, mark=0, method=None, about=""):
        """Requests after the mark whose path holds `about`."""
        return [a for a in self.accesses()[mark:] if about in a.path and method in (None, a.method)]

    def bytes_sent(self, about, mark=0):
        """Bytes of bodies sent in answer to GETs whose path holds `about` (a digest, a repository)."""
        return sum(a.bytes for a in self.since(mark, "GET", about))
