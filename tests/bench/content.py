"""The content that all servers are asked for: plain files in the layout of the registry API, the same bytes for everybody."""

import hashlib
import random
from pathlib import Path

from lab import images

NAME = "library/app"


class Blob:
    def __init__(self, digest, size):
        self.digest, self.size = digest, size
        self.path = f"/v2/{NAME}/blobs/{digest}"


class Content:
    """root/v2/NAME/{manifests,blobs}/…; tags: (name, tag, digest)."""

    def __init__(self, root):
        self.root = Path(root)
        self.blobs = self.root / "v2" / NAME / "blobs"
        self.manifests = self.root / "v2" / NAME / "manifests"
        self.blobs.mkdir(parents=True)
        self.manifests.mkdir(parents=True)
        self.tags = []
        self.made = 0

    def blob(self, size):
        """A new blob of noise."""
        self.made += 1
        noise, sha, left = random.Random(self.made), hashlib.sha256(), size
        fresh = self.blobs / "fresh"
        with open(fresh, "wb") as f:
            while left:
                part = noise.randbytes(min(left, 4 << 20))
                sha.update(part)
                f.write(part)
                left -= len(part)
        digest = "sha256:" + sha.hexdigest()
        fresh.rename(self.blobs / digest)
        return Blob(digest, size)

    def image(self, tag, blobs):
        """A manifest whose layers are these blobs. Returns its path by tag."""
        layers = [_Described(b) for b in blobs]
        image = images.Image(layers)
        for blob in (image.config, image.manifest):
            (self.blobs / blob.digest).write_bytes(blob.data)
        for ref in (tag, image.digest):
            (self.manifests / ref).write_bytes(image.manifest.data)
        self.tags.append((NAME, tag, image.digest))
        return f"/v2/{NAME}/manifests/{tag}"


class _Described:
    """A layer as images.Image wants it."""

    def __init__(self, blob):
        self.digest, self.size, self.media_type = blob.digest, blob.size, images.OCI_LAYER_GZIP
