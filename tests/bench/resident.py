"""Rows about memory, starting and eviction; each with servers of its own, so that nothing before them counts."""

import json
import os
import signal
import sqlite3
import subprocess
import time

import servers as those
from cold import settled
from lab.base import wait_until
from rounds import MiB, hold, release
from warm import CACHE, STATIC, prime


def fresh(stage, content, where, cert, name):
    folder = stage.folder / name
    return [
        those.Entrepot(folder / "entrepot", stage.build, where, cert),
        those.NginxStatic(folder / "static", content, cert),
        those.NginxCache(folder / "cache", where, cert),
    ]


def memory(stage, content, where, cert, manifest, big):
    downloads = stage.row("1,000 concurrent 100 MB downloads: memory", "MiB", "less", ("<=", 64))
    idle = stage.row("10,000 idle keep-alive connections: memory", "MiB", "less", ("<=", 100))
    secure = stage.row("200 TLS streams: memory of each above the idle server", "KiB", "less", ("<=", 1.0), (STATIC, CACHE))
    stage.say("memory")
    servers = fresh(stage, content, where, cert, "memory")
    try:
        prime(stage, servers, [manifest, big])
        for server in servers:
            before = resident(server, True)
            child = hold(stage, server.tls, big, 200, "-s")
            time.sleep(1)  # the streams run at their slow pace
            secure.add(server.name, (resident(server, True) - before) / 200 / 1024)
            release(child)
            child = hold(stage, server.port, big, 1000)
            time.sleep(1)
            downloads.add(server.name, resident(server) / MiB)
            release(child)
        stage.say("  downloads measured")
        for server in servers:
            server.stop()
        servers[:] = fresh(stage, content, where, None, "idle")
        stage.say("  fresh servers")
        prime(stage, servers, [manifest])
        for server in servers:
            child = hold(stage, server.port, manifest, 10000)
            idle.add(server.name, resident(server) / MiB)
            release(child)
    finally:
        for server in servers:
            server.stop()


def resident(server, tls=False):
    """Of Entrepot the edge's whole resident set; of peers with several processes what they share counts once."""
    if not isinstance(server, those.Entrepot):
        return server.memory()
    return status_kib((server.secure if tls else server.edge).process.pid, "VmRSS") * 1024


def status_kib(pid, key):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key + ":"))


def many_blobs(stage, where, manifest, blob):
    """An edge with very many blobs: how long to ready, what an entry takes, and requests while all go."""
    gone = 100_000
    count = gone + 50_000 if stage.quick else 1_000_000
    # The target is for a million: with fewer, the part that does not depend on their number would decide.
    ready = stage.row(f"start with {count:,} blobs: to ready", "s", "less", None if stage.quick else ("<=", 1.0))
    each = stage.row(f"{count:,} blobs: memory of each above the empty edge", "bytes", "less", ("<=", 150))
    evict = stage.row("manifest p99 while 100,000 small blobs are evicted", "× at rest", "less", ("<=", 2.0))
    stage.say(f"start with {count:,} blobs")
    server = those.Entrepot(stage.folder / "many", stage.build, where)
    edge = server.edge
    try:
        for path in (manifest, blob.path):
            stage.run(server.port, path, "-n", 1)
        edge.stop()
        edge.start()
        empty = status_kib(edge.process.pid, "VmRSS")
        edge.stop()
        fill_store(edge.data, count, blob)
        stage.say("  they are made")
        began = time.monotonic()
        edge.start(120)
        ready.add("entrepot", time.monotonic() - began)
        each.add("entrepot", (status_kib(edge.process.pid, "VmRSS") - empty) * 1024 / count)
        server.processes = [n.process for n in server.nodes]
        stage.say("  ready")
        # Rest is what it is called only once index and folder have been compared and the disk has all that was made.
        os.sync()
        wait_until(lambda: settled(server), "the work after the start is done", 180)
        steady = ["-c", 32, "-r", 2000]
        at_rest = stage.run(server.port, manifest, *steady, "-d", 3, first=True)
        meanwhile = stage.start(server.port, manifest, *steady, first=True)
        argv = [edge.binary, "prune", "--to", str((count - gone) * blob.size), *edge.arguments()]
        prune = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True)
        stage.say(f"  prune: {prune.communicate()[0].strip()}")
        meanwhile.send_signal(signal.SIGINT)
        during = json.loads(meanwhile.communicate()[0])
        assert during["errors"] == 0, during
        evict.add("entrepot", during["last_us"]["p99"] / at_rest["last_us"]["p99"])
        evict.note = (
            f"p99 at rest {at_rest['last_us']['p99'] / 1e3:.2f} ms, over the {during['seconds']:.1f} s of eviction"
            f" {during['last_us']['p99'] / 1e3:.2f} ms; p50 {at_rest['last_us']['p50'] / 1e3:.2f} and {during['last_us']['p50'] / 1e3:.2f} ms"
        )
    finally:
        server.stop()


def fill_store(data, count, like):
    """Writes files and index rows as if `count` blobs of the size and scope of `like` had been pulled."""
    db = sqlite3.connect(data / "index.db", isolation_level=None)
    key = b"\1" + bytes.fromhex(like.digest.split(":")[1])
    row = db.execute("SELECT size, flags, media, scopes, used_at, freq FROM blobs WHERE digest=?", (key,)).fetchone()
    assert row, "the blob that was pulled is in the index"
    db.execute("PRAGMA synchronous=OFF")
    db.execute("BEGIN")
    folders = []
    for byte in range(256):
        path = data / "blobs/sha256" / f"{byte:02x}"
        path.mkdir(exist_ok=True)
        folders.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    per = count // 256 + 1
    made = 0
    for byte in range(256):
        rows = []
        for i in range(min(per, count - made)):
            raw = bytes([byte]) + (i * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "big") + bytes(range(23))
            os.close(os.open(raw.hex(), os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=folders[byte]))
            rows.append((b"\1" + raw, *row))
        made += len(rows)
        rows.sort()
        db.executemany("INSERT INTO blobs VALUES(?,?,?,?,?,?,?)", rows)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    for fd in folders:
        os.close(fd)
