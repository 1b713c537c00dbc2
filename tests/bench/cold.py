"""Rows about what is not held: one miss, two tiers, a crowd behind a thin link, and everything at once."""

import json
import os
import socket
import time

import servers as those
from lab.base import free_port, wait_until
from rounds import MiB
from warm import CACHE, REGISTRY, VARNISH

ONE_TIER = "entrepot, one tier"


def misses(stage, content, servers, upstream, hash_speed):
    """Every round has a new blob that each server is asked for once."""
    peers = (CACHE, REGISTRY, VARNISH)
    limit = f"limit: SHA-256 of one processor takes {100 * MiB / 1e6 / hash_speed:.0f} ms"
    last = stage.row("cold 100 MB, one tier: last byte", "ms", "less", ("<=", 0.7), peers, ONE_TIER)
    first = stage.row("cold 100 MB, one tier: first byte", "ms", "less", ("<=", 1.0), peers, ONE_TIER)
    both = stage.row("cold 100 MB, two tiers against one tier of peers: last byte", "ms", "less", ("<=", 1.2), peers)
    cost = stage.row("cold 100 MB: CPU of all nodes", "s/GB", "less", None, peers, ONE_TIER)
    # The hash alone is what nobody can save: ratios to it, in the same minute, hold on a busy machine, too.
    proof = {
        ONE_TIER: stage.row("cold 100 MB, one tier: CPU against SHA-256 alone", "×", "less", ("<=", 1.8), (), ONE_TIER),
        "entrepot": stage.row("cold 100 MB, two tiers: CPU against SHA-256 alone", "×", "less", ("<=", 3.7)),
    }
    beyond = stage.row("cold 100 MB, one tier: last byte beyond 1.15 × SHA-256 alone", "ms", "less", ("<=", 15.0), (), ONE_TIER)
    last.note = both.note = f"{limit}; nginx and varnish prove nothing, and varnish keeps it in memory"
    stage.say("cold misses")
    for server in servers:
        server.pin({0, 1})
    blobs = [content.blob(100 * MiB) for _ in range(stage.rounds)]

    def measure(server, r):
        stage.have_memory()
        before = server.cpu()
        got = stage.run(server.port, blobs[r].path, "-n", 1)
        wait_until(lambda: settled(server), "the work after the last byte is done", 20)
        assert got["bytes"] == blobs[r].size, got
        for row in (last, both):
            if (server.name == "entrepot") != (row is last) or server.name not in ("entrepot", ONE_TIER):
                row.add(server.name, got["last_us"]["max"] / 1e3)
        first.add(server.name, got["first_us"]["max"] / 1e3)
        spent = (server.cpu() - before) / (blobs[r].size / 1e9)
        cost.add(server.name, spent)
        is_floor = server.name.startswith("floor")
        if server.name in proof or is_floor:
            alone = stage.sha256()
            proof.get(server.name, proof[ONE_TIER]).add(server.name, spent / alone)
            if server.name != "entrepot":
                beyond.add(server.name, got["last_us"]["max"] / 1e3 - 1.15 * alone * blobs[r].size / 1e6)

    for blob in blobs:  # the upstream's first read of a file is its disk's
        stage.run(upstream.port, blob.path, "-n", 1)
    stage.take_turns(servers, measure)


def settled(server):
    """No processor time for a tenth of a second: synced, renamed, indexed."""
    before = server.cpu()
    time.sleep(0.1)
    return server.cpu() - before < 0.015


def crowd(stage, content, clients=50, mbit=200):
    """Everybody asks at once for a blob that is behind a link of its own."""
    size = (50 if stage.quick else 200) * MiB
    rounds = 1 if stage.quick else 3
    label = f"crowd of {clients}, cold {size // MiB} MiB behind {mbit} Mbit/s"
    wall = stage.row(f"{label}: last client against the link's time for one copy", "ratio", "less", ("<=", 1.05))
    copies = stage.row(f"{label}: upstream bytes", "copies", "less", ("<=", 1.05), note="with the link's own headers: 1.04 is one copy")
    stage.say(label)
    link = those.Link(mbit)
    parts = []
    try:
        port = free_port()
        upstream = those.Upstream(stage.folder / "far", content, port=port, prefix=link.prefix, address=link.far)
        parts.append(upstream)
        where = f"{link.far}:{port}"
        wait_until(lambda: reached(link.far, port), "the upstream behind the link")
        folder = stage.folder / "crowd"
        servers = [
            those.Entrepot(folder / "entrepot", stage.build, where),
            those.NginxCache(folder / "cache", where),
            those.Varnish(folder / "varnish", where),
        ]
        parts += servers
        blobs = [content.blob(size) for _ in range(rounds)]
        for r in range(rounds):
            alone = stage.run(port, blobs[r].path, "-n", 1, address=link.far)["seconds"]
            for i in range(len(servers)):
                server = servers[(r + i) % len(servers)]
                before = link.received()
                got = stage.run(server.port, blobs[r].path, "-c", clients, "-n", clients)
                wall.add(server.name, got["seconds"] / alone)
                copies.add(server.name, (link.received() - before) / size)
                assert got["bytes"] == size * clients, got
    finally:
        for part in parts:
            part.stop()
        link.stop()


def reached(address, port):
    try:
        socket.create_connection((address, port), 1).close()
        return True
    except OSError:
        return False


def mixed(stage, content, servers, manifest, big, streams=200, fills=20, rate=2000):
    """Manifest requests at a steady rate while streams and cold fills run."""
    label = f"{rate} manifests/s with {streams} warm streams and {fills} cold fills"
    rows = {p: stage.row(f"{label}: {p}", "ms", "less", ("<=", 0.5) if p == "p99" else None, (CACHE,)) for p in ("p50", "p99", "p999")}
    rounds = 1 if stage.quick else 3
    seconds = 4 if stage.quick else 8
    stage.say(label)
    blobs = [[content.blob(8 * MiB) for _ in range(fills)] for _ in range(rounds)]

    def measure(server, r):
        server.pin({0, 1})
        running = [stage.start(server.port, big, "-c", streams, "-d", seconds + 1)]
        running += [stage.start(server.port, b.path, "-n", 1) for b in blobs[r]]
        for child in running:  # they take what the server leaves
            os.setpriority(os.PRIO_PROCESS, child.pid, 0)
        try:
            # The clock that measures must not itself wait for a processor.
            got = stage.run(server.port, manifest, "-c", 64, "-r", rate, "-d", seconds, first=True)
        finally:
            reports = [json.loads(p.communicate()[0] or "{}") for p in running]
        assert all(x.get("errors") == 0 for x in reports), reports
        for p, row in rows.items():
            row.add(server.name, got["last_us"][p] / 1e3)

    stage.take_turns(servers, measure, rounds)
