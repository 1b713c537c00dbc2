"""Measures Entrepot beside what people would run instead. bench.py BUILD-FOLDER [--quick] [--only WORD]; results in build/bench/."""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import branch  # noqa: E402
import catalogue  # noqa: E402
import cold  # noqa: E402
import dns  # noqa: E402
import fair  # noqa: E402
import fleet  # noqa: E402
import report  # noqa: E402
import resident  # noqa: E402
import servers as those  # noqa: E402
import snapshot  # noqa: E402
import warm  # noqa: E402
from content import Content  # noqa: E402
from lab.base import HOST, REPO, Process, run  # noqa: E402
from lab.pki import self_signed  # noqa: E402
from rounds import MiB, Stage  # noqa: E402

OUT = REPO / "build/bench"
PARTS = ("requests", "streams", "tls", "small", "cold", "mixed", "crowd", "memory", "many", "fair", "dns", "catalogue", "reports", "branch")
TOO_LONG_FOR_QUICK = {"fair", "dns", "reports", "branch"}  # each takes more than a minute; by --only


def come_first():
    """Whatever else runs on this machine comes second to all that is measured and to what drives it. The kernel compares priorities of
    processes within a session, and sessions by their own (sched(7), "The autogroup feature")."""
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    group = Path("/proc/self/autogroup")
    if group.exists():
        group.write_text("-15")
        Process.before += ("sh", "-c", f'echo -15 >{group}; exec "$@"', "sh")  # each child begins a session


def build(name):
    OUT.mkdir(parents=True, exist_ok=True)
    source, binary = HERE / f"{name}.c", OUT / name
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        run("gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-o", binary, source, "-lssl", "-lcrypto", "-pthread")
    return binary


def measure(stage, wanted, facts):
    """All rows, in order. Servers that many rows share are started here."""
    content = Content(stage.folder / "content")
    big, small = content.blob(100 * MiB), content.blob(10 * 1024)
    manifest = content.image("v1", [big, small])
    cert = self_signed(stage.folder / "pki", "bench")
    up = those.Upstream(stage.folder / "upstream", content)
    where = f"{HOST}:{up.port}"
    started = [up]
    try:
        entrepot = those.Entrepot(stage.folder / "entrepot", stage.build, where, cert)
        started.append(entrepot)
        static = those.NginxStatic(stage.folder / "static", content, cert)
        started.append(static)
        cache = those.NginxCache(stage.folder / "cache", where, cert)
        started.append(cache)
        varnish = those.Varnish(stage.folder / "varnish", where)
        started.append(varnish)
        registry = those.DockerRegistry(stage.folder / "registry", where)
        started.append(registry)
        holders = [entrepot, static, cache, varnish, registry]
        warm.prime(stage, holders, [manifest, big.path, small.path])
        facts["ceiling"] = ceiling = warm.ceiling(stage, content.blobs / big.digest)
        one = ceiling["one_processor_GB_per_s"]
        stage.generator_busy.clear()
        if "requests" in wanted:
            warm.requests(stage, holders, "manifest by tag, 32 connections", manifest, (">=", 1.5), "-c", 32,
                          cpu_target=("<=", 0.7), limit=ceiling["requests_per_s"])
            warm.requests(stage, holders, "HEAD of a blob, 32 connections", big.path, (">=", 1.5), "-c", 32, "-m", "HEAD",
                          limit=ceiling["requests_per_s"])
        if "streams" in wanted:
            warm.streams(stage, holders, big.path, 1, ceiling["one_stream_GB_per_s"])
            warm.streams(stage, holders, big.path, 8, ceiling["eight_streams_GB_per_s"])
        if "tls" in wanted:
            warm.streams(stage, holders, big.path, 1, one["aes_256_gcm"], tls=True)
            warm.streams(stage, holders, big.path, 8, one["aes_256_gcm"], tls=True)
        if "small" in wanted:
            label = "10 KB blob, a connection each"
            warm.requests(stage, holders, label, small.path, (">=", 1.0), "-c", 8, "-x", against=(warm.STATIC,),
                          limit=ceiling["new_connections_per_s"])
        if "cold" in wanted:
            single = those.EntrepotCentral(stage.folder / "single", stage.build, where)
            started.append(single)
            floors = [those.Floor(stage.folder / how, build("floor"), where, how) for how in ("copied", "splice")]
            started += floors
            cold.misses(stage, content, [single, entrepot, *floors, cache, registry, varnish], up, one["sha256"])
        if "mixed" in wanted:
            cold.mixed(stage, content, [entrepot, cache], manifest, big.path)
    finally:
        for server in reversed(started[1:]):
            server.stop()
    try:
        if "crowd" in wanted:
            cold.crowd(stage, content)
        if "memory" in wanted:
            resident.memory(stage, content, where, cert, manifest, big.path)
        if "many" in wanted:
            resident.many_blobs(stage, where, manifest, small)
        if "fair" in wanted:
            fair.beside(stage, Content(stage.folder / "fair-content"))
    finally:
        up.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--quick", action="store_true", help="the main rows in under three minutes")
    parser.add_argument("--only", choices=PARTS, action="append", help="only these rows")
    given = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    try:
        come_first()
    except PermissionError:
        print("not root: other work on this machine will show in the numbers", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="entrepot-bench-"))
    stage = Stage(folder, given.build.resolve(), build("load"), given.quick)
    facts = {"quick": given.quick, "rounds": stage.rounds, "seconds": stage.seconds, "processors": os.cpu_count(), "workers": those.WORKERS}
    try:
        usual = [p for p in PARTS if not given.quick or p not in TOO_LONG_FOR_QUICK]
        wanted = given.only or usual
        if "dns" in wanted:
            dns.beside(stage)
        if "catalogue" in wanted:
            size = catalogue.scale(stage)
            catalogue.holdings(stage)
            if not stage.quick or given.only:
                snapshot.rows(stage, size)
                fleet.rows(stage)
        if "reports" in wanted:
            fleet.holdings_and_pulls(stage)
        if "branch" in wanted:
            branch.first_pull(stage)
        if set(wanted) - {"dns", "catalogue", "reports", "branch"}:
            measure(stage, wanted, facts)
    finally:
        facts["generator_busy_most"] = max(stage.generator_busy, default=None)
        facts["took_s"] = stage.took()
        if stage.rows:
            finish(stage, facts)
        shutil.rmtree(folder, ignore_errors=True)


def finish(stage, facts):
    name = "quick" if stage.quick else "full"
    report.write_json(OUT / f"{name}.json", facts, stage.rows)
    report.write_svg(OUT / f"{name}.svg", stage.rows)
    text = report.table(stage.rows) + "\n" + ceiling_text(facts)
    (OUT / f"{name}.txt").write_text(text + "\n")
    print(text)
    print(f"\n{OUT}/{name}.json, .svg, .txt")


def ceiling_text(facts):
    c = facts.get("ceiling")
    if not c:
        return ""
    return (
        f"the generator's ceiling, against a responder that parses nothing: {c['requests_per_s']:,.0f} requests/s, "
        f"{c['new_connections_per_s']:,.0f} new connections/s, {c['one_stream_GB_per_s']:.1f} GB/s in one stream, {c['eight_streams_GB_per_s']:.1f} in eight; "
        f"one processor: SHA-256 {c['one_processor_GB_per_s']['sha256']:.2f} GB/s, AES-256-GCM {c['one_processor_GB_per_s']['aes_256_gcm']:.2f}, "
        f"copying {c['one_processor_GB_per_s']['copy']:.1f}; busiest in a row: {100 * (facts['generator_busy_most'] or 0):.0f} % of its processor"
    )


if __name__ == "__main__":
    main()
