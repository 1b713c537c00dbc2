"""The catalogue at scale: what a snapshot of a million blobs takes on the wire, in time and in an edge's memory, how long a lookup in the
replica takes, and how long a restart; and what it costs central to know which blobs each edge holds. All in one process each (catalogue.c,
holdings.c), in processor time; no peer does the same."""

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
# Edges, blobs that each holds, of so many.
HOLDERS, HOLDERS_QUICK = (2000, 100_000, 1_000_000), (50, 100_000, 1_000_000)
HOLDINGS = (
    ("memory_mib", "memory, MiB", "MiB", 300),
    ("disk_mib", "reports.db, MiB", "MiB", None),
    ("ask_us", "which of 50 edges hold a blob, us", "us", 20),
    ("told_us", "taking a blob that an edge reports, us of processor time", "us", None),
    ("open_s", "central's start until it answers, s of processor time", "s", None),
    ("load_s", "reading it all beside that, s of processor time", "s", None),
)


def holdings(stage):
    edges, held, blobs = size = HOLDERS_QUICK if stage.quick else HOLDERS
    folder = stage.folder / "holdings"
    folder.mkdir()
    stage.say(f"holdings: {edges:,} edges that hold {held:,} of {blobs:,} blobs")
    got = json.loads(run(stage.build / "bench-holdings", folder, *size, timeout=3600).stdout)
    for key, label, unit, most in HOLDINGS:
        row = stage.row(f"what {edges:,} edges hold: {label}", unit, "less", ("<=", most) if most else None)
        row.add("entrepot", got[key])
    shutil.rmtree(folder)


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
