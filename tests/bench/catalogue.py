"""The catalogue at scale: what a snapshot of a million blobs takes on the wire, in time and in an edge's memory, how long a lookup in the
replica takes, and how long a restart. All in one process (catalogue.c), in processor time; no peer does the same."""

import json
import shutil

from lab.base import run

# Blobs, of which manifests, tags, children of each manifest.
FULL, QUICK = (1_000_000, 50_000, 20_000, 6), (100_000, 5_000, 2_000, 6)
ROWS = (
    ("blob_bytes", "bytes on the wire for a blob: digest and size", "bytes", 34),
    ("all_bytes", "the same with manifests and tags", "bytes", 40),
    ("make_s", "reading and packing all tiles, s of processor time", "s", None),
    ("apply_s", "unpacking and applying all tiles, s of processor time", "s", None),
    ("memory_bytes", "memory of the replica for a blob", "bytes", 60),
    ("lookup_ns", "a lookup in the replica, ns", "ns", 1000),
    ("load_s", "loading the stored replica, s", "s", 1.0),
)


def scale(stage):
    size = QUICK if stage.quick else FULL
    folder = stage.folder / "catalogue"
    folder.mkdir()
    stage.say(f"catalogue: {size[0]:,} blobs, {size[1]:,} manifests of {size[3]} children, {size[2]:,} tags")
    got = json.loads(run(stage.build / "bench-catalogue", folder, *size, timeout=900).stdout)
    for key, label, unit, most in ROWS:
        row = stage.row(f"catalogue of {size[0]:,} blobs: {label}", unit, "less", ("<=", most) if most else None)
        row.add("entrepot", got[key])
    shutil.rmtree(folder)
    return size
