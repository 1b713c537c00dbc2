#!/usr/bin/python3
"""make demo: an upstream (Debian's docker-registry) with images made here, a central and an edge, and what they do, measured.

No internet. Everything lives in a temporary folder and on loopback ports, and is gone at the end."""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
if len(sys.argv) > 1:
    os.environ["ENTREPOT_BUILD"] = sys.argv[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / "tests" / "e2e"))
from lab import images, raw  # noqa: E402
from lab.nodes import Central, Edge, upstreams  # noqa: E402
from lab.registry import Registry  # noqa: E402

REPO = "library/app"
MB = 1024 * 1024


class Tiers:
    def __init__(self, folder):
        self.upstream = Registry(folder / "upstream").start()
        self.central = Central(
            folder / "central",
            {"upstreams": upstreams(("docker.io", f"http://127.0.0.1:{self.upstream.port}"), fresh_for="1s"), "store.min_free": "0"},
        ).start()
        self.edge = Edge(folder / "edge", self.central.fleet, {"store.min_free": "0"}, joins=True).start()

    def fetched(self):
        """Bytes that upstream has sent to central, central to the edge, and the edge to clients, so far."""
        if self.central.running():
            self.from_upstream = self.central.metric("entrepot_fetched_bytes_total", source="docker.io")
        return (
            self.from_upstream,
            self.edge.metric("entrepot_fetched_bytes_total", source="central"),
            sum(self.edge.metric("entrepot_client_bytes_total", source=s) for s in ("disk", "fill")),
        )

    def show(self, title, action):
        before, began = self.fetched(), time.monotonic()
        said = action()
        took, after = time.monotonic() - began, self.fetched()
        moved = [b - a for a, b in zip(before, after)]
        print(f"{title:<52}{took:8.2f} s   {moved[0] / MB:8.1f}   {moved[1] / MB:8.1f}   {moved[2] / MB:8.1f}")
        if said:
            print(f"    {said}")

    def pull(self, tag):
        raw.pull(self.edge.port, REPO, tag)

    def stop(self):
        for node in (self.edge, self.central):
            if node.running():
                node.stop()
        self.upstream.stop()


def crowd(tiers, tag, clients):
    failures = []

    def one():
        try:
            tiers.pull(tag)
        except Exception as e:  # shown, and the demo fails
            failures.append(e)

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def moved(tiers, image):
    tiers.upstream.tag(REPO, "v1", image)
    began = time.monotonic()
    wanted = image.digest
    while raw.manifest(tiers.edge.port, REPO, "v1", method="HEAD").headers.get("docker-content-digest") != wanted:
        if time.monotonic() - began > 20:
            raise RuntimeError("the moved tag was not seen within 20 s")
        time.sleep(0.05)
    seen = time.monotonic() - began
    tiers.pull("v1")
    return f"of which {seen:.1f} s until the new v1 was seen, the rest for its pull (fresh_for is 1 s at central and edge)"


def offline(tiers, stop):
    """Waits until the tag is no longer fresh, so that the mark can be seen; the time shown is mostly that."""
    stop()
    began = time.monotonic()
    while not (warning := raw.manifest(tiers.edge.port, REPO, "v1", method="HEAD").headers.get("warning")):
        if time.monotonic() - began > 20:
            raise RuntimeError("no answer was marked as stale within 20 s")
        time.sleep(0.05)
    again = time.monotonic()
    tiers.pull("v1")
    return f"of which {time.monotonic() - again:.2f} s for the pull itself, once the tag was stale; marked: {warning}"


def main():
    with tempfile.TemporaryDirectory(prefix="entrepot-demo-") as folder:
        made = [images.Image([images.noise(30 * MB, seed)], compress=False) for seed in (1, 2, 3)]
        print("starting an upstream, central and an edge that joins it…")
        tiers = Tiers(Path(folder))
        try:
            tiers.upstream.put(REPO, made[0], "v1")
            tiers.upstream.put(REPO, made[1], "v2")
            tiers.upstream.put(REPO, made[2], "next")
            print(f"\n{'':<52}{'':>10}   MB moved from")
            print(f"{'':<52}{'time':>10}   {'upstream':>8}   {'central':>8}   {'edge':>8}")
            tiers.show("a cold pull (30 MB)", lambda: tiers.pull("v1"))
            tiers.show("the same, warm", lambda: tiers.pull("v1"))
            tiers.show("20 clients pull one cold image (30 MB) at once", lambda: crowd(tiers, "v2", 20))
            tiers.show("the tag moves upstream", lambda: moved(tiers, made[2]))
            tiers.show("a pull with the upstream stopped", lambda: offline(tiers, tiers.upstream.stop))
            tiers.show("a pull with central stopped, too", lambda: offline(tiers, tiers.central.stop))
        finally:
            tiers.stop()
    print("\nEvery pull was checked digest by digest. `make run` starts a central and an edge of your own.")


if __name__ == "__main__":
    main()
