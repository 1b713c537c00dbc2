"""Makes container images fast and always with the same digests: blobs in memory or described by a rule, written as an OCI layout or
straight into docker-registry's storage. Standard library only: tests/sample uses it as well."""

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from pathlib import Path

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
ACCEPT = ", ".join(
    [
        OCI_MANIFEST,
        OCI_INDEX,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "*/*",
    ]
)
BLOCK = 1 << 20


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Bytes:
    """A blob held in memory."""

    def __init__(self, data, media_type="application/octet-stream"):
        self.data = bytes(data)
        self.size = len(self.data)
        self.digest = digest_of(self.data)
        self.media_type = media_type

    def read(self, offset, length):
        return self.data[offset : offset + length]

    def write(self, path):
        Path(path).write_bytes(self.data)


class Sparse:
    """A tar with one file of `size` bytes in which each MiB begins with its own number and the rest is a hole: as large as one likes,
    a few MiB on disk, and no part can be taken for another."""

    def __init__(self, size, seed=0, media_type=OCI_LAYER):
        info = tarfile.TarInfo("big")
        info.size = size
        self.header = info.tobuf()
        self.content = size
        self.seed = seed
        self.size = (len(self.header) + size + 511) // 512 * 512 + 1024
        self.media_type = media_type
        self._digest = None

    def _mark(self, block):
        return hashlib.sha256(b"%d/%d" % (self.seed, block)).digest()

    def read(self, offset, length):
        length = max(0, min(length, self.size - offset))
        out = bytearray(length)

        def put(at, data):
            begin, end = max(at, offset), min(at + len(data), offset + length)
            if begin < end:
                out[begin - offset : end - offset] = data[begin - at : end - at]

        put(0, self.header)
        start = len(self.header)
        first = max(0, (offset - start) // BLOCK)
        for block in range(first, max(first, (offset + length - start) // BLOCK + 1)):
            if block * BLOCK + 32 <= self.content:
                put(start + block * BLOCK, self._mark(block))
        return bytes(out)

    @property
    def digest(self):
        if self._digest is None:
            h = hashlib.sha256()
            for at in range(0, self.size, BLOCK):
                h.update(self.read(at, BLOCK))
            self._digest = "sha256:" + h.hexdigest()
        return self._digest

    def write(self, path):
        with open(path, "wb") as f:
            f.truncate(self.size)
            f.write(self.header)
            for block in range(self.content // BLOCK + 1):
                if block * BLOCK + 32 <= self.content:
                    f.seek(len(self.header) + block * BLOCK)
                    f.write(self._mark(block))


def noise(size, seed):
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def noise_blob(size, seed):
    return Bytes(noise(size, seed))


def tar_of(files):
    """A tar of {path: bytes}, all dated 1970. Returns its bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            info.mode = 0o755
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Image:
    """A manifest, its config and its layers. layers: tar bytes (made gzip unless compress is False) or ready blobs."""

    def __init__(self, layers, entrypoint=None, architecture="amd64", os_name="linux", compress=True, env=()):
        self.layers, diff_ids = [], []
        for layer in layers:
            if isinstance(layer, (bytes, bytearray)):
                diff_ids.append(digest_of(layer))
                data = gzip.compress(layer, 1, mtime=0) if compress else layer
                layer = Bytes(data, OCI_LAYER_GZIP if compress else OCI_LAYER)
            else:
                diff_ids.append(layer.digest)
            self.layers.append(layer)
        self.diff_ids = diff_ids
        self.platform = {"architecture": architecture, "os": os_name}
        config = {
            "created": "1970-01-01T00:00:00Z",
            **self.platform,
            "config": {"Env": list(env), **({"Entrypoint": entrypoint} if entrypoint else {})},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "lab"} for _ in self.layers],
        }
        self.config = Bytes(_json(config), OCI_CONFIG)
        self.manifest = Bytes(
            _json(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI_MANIFEST,
                    "config": descriptor(self.config),
                    "layers": [descriptor(layer) for layer in self.layers],
                }
            ),
            OCI_MANIFEST,
        )
        self.digest = self.manifest.digest

    def blobs(self):
        return {b.digest: b for b in [self.config, *self.layers]}

    def manifests(self):
        return {self.manifest.digest: self.manifest}

    @property
    def top(self):
        return self.manifest


class Index:
    """A multi-platform index of images."""

    def __init__(self, images):
        self.images = images
        entries = [{**descriptor(i.manifest), "platform": i.platform} for i in images]
        self.manifest = Bytes(_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}), OCI_INDEX)
        self.digest = self.manifest.digest

    def blobs(self):
        return {d: b for i in self.images for d, b in i.blobs().items()}

    def manifests(self):
        return {self.manifest.digest: self.manifest, **{i.digest: i.manifest for i in self.images}}

    @property
    def top(self):
        return self.manifest


def _json(doc):
    return json.dumps(doc, separators=(",", ":")).encode()


def descriptor(blob):
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


# --- the images of the tests ---


def small(seed=1, size=4096, layers=1):
    """An image of `layers` small layers, different for each seed."""
    return Image([tar_of({f"file-{i}": noise(size, f"{seed}/{i}")}) for i in range(layers)], entrypoint=["/file-0"])


def one_byte():
    """One layer that is a single byte: no tar, so only for clients that do not unpack."""
    return Image([Bytes(b"\0", OCI_LAYER)])


def sixty_layers(seed=60):
    return small(seed, 2000, 60)


def multi_platform(seed=7):
    arches = ["amd64", "arm64", "riscv64"]
    return Index([Image([tar_of({f"{a}": noise(30000, f"{seed}/{a}")})], architecture=a) for a in arches])


def single_blob(blob):
    """An image whose one layer is this blob."""
    return Image([blob])


# --- where images are written ---


def write_layout(image, folder, tag="latest"):
    """An OCI image layout folder."""
    folder = Path(folder)
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for blob in [*image.blobs().values(), *image.manifests().values()]:
        blob.write(blobs / blob.digest.split(":")[1])
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {**descriptor(image.top), "annotations": {"org.opencontainers.image.ref.name": tag}}
    if isinstance(image, Image):
        entry["platform"] = image.platform
    (folder / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}))


def _link(path, digest):
    path.mkdir(parents=True, exist_ok=True)
    fresh = path / ".link"
    fresh.write_text(digest)
    os.replace(fresh, path / "link")


def store(root, repository, image, *tags):
    """Writes an image and its tags straight into docker-registry's file system storage; a running registry sees it at once."""
    v2 = Path(root) / "docker" / "registry" / "v2"
    repo = v2 / "repositories" / repository
    for blob in [*image.blobs().values(), *image.manifests().values()]:
        hexes = blob.digest.split(":")[1]
        data = v2 / "blobs" / "sha256" / hexes[:2] / hexes / "data"
        if not data.exists():
            data.parent.mkdir(parents=True, exist_ok=True)
            blob.write(data)
    for digest in image.blobs():
        _link(repo / "_layers" / "sha256" / digest.split(":")[1], digest)
    for digest in image.manifests():
        _link(repo / "_manifests" / "revisions" / "sha256" / digest.split(":")[1], digest)
    for tag in tags:
        store_tag(root, repository, tag, image.digest)


def store_tag(root, repository, tag, digest):
    """Moves or makes a tag."""
    folder = Path(root) / "docker/registry/v2/repositories" / repository / "_manifests/tags" / tag
    _link(folder / "index" / "sha256" / digest.split(":")[1], digest)
    _link(folder / "current", digest)
