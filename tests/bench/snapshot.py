"""A real edge that gets a whole catalogue from a real central: over loopback, over a thin link with a client's pull beside it, and again after
a restart."""

import shutil
import subprocess
import time
from pathlib import Path

import servers as those
from lab import images
from lab.base import HOST, MiB, Process, free_port, run, wait_until
from lab.fleet import Branch
from lab.nodes import Central, upstreams
from resident import status_kib

MBIT = 4
PULL = 2 * MiB


def rows(stage, size):
    filled = stage.folder / "filled"
    filled.mkdir()
    run(stage.build / "bench-catalogue", "fill", filled, *size, timeout=900)
    loopback(stage, filled / "catalog.db", size)
    thin(stage, filled / "catalog.db", size)
    shutil.rmtree(filled)


def central_with(stage, folder, catalogue, address):
    """A central that knows all of it and holds nothing; its tags were checked long ago, and that is fresh."""
    settings = {
        "upstreams": upstreams(("docker.io", f"http://{HOST}:9"), fresh_for="4000d"),
        "fleet.listen": f"{address}:{free_port()}",
        "address": address,
        "hosted": '["acme/**"]',
        "catalog.limit": "16GiB",
    }
    central = Central(folder, settings, stage.build)
    central.data.mkdir(parents=True)
    shutil.copy(catalogue, central.data / "catalog.db")
    return central.start(180)


def edge_of(stage, folder, central, **settings):
    edge = Branch(folder, {"log.access": "false", **settings}, build=stage.build)
    edge.join(central.token("branch"))
    return edge


def replica(edge):
    return edge.json("status")["replica"]


def snapshots(central):
    return [int(line["bytes"]) for line in central.access("/fleet/v1/snapshot")]


def loopback(stage, catalogue, size):
    label = f"real edge, catalogue of {size[0]:,} blobs"
    full = not stage.quick
    took = stage.row(f"{label}: from its start to equal, loopback", "s", "less", ("<=", 3.0) if full else None)
    wire = stage.row(f"{label}: bytes of answers for a blob", "bytes", "less", ("<=", 40))
    memory = stage.row(f"{label}: memory of the replica for a blob", "bytes", "less", ("<=", 60))
    again = stage.row(f"{label}: ready after a restart", "s", "less", ("<=", 1.0) if full else None)
    stage.say(f"{label}, loopback")
    central = central_with(stage, stage.folder / "near", catalogue, HOST)
    edge = None
    try:
        edge = edge_of(stage, stage.folder / "near-edge", central)
        began = time.monotonic()
        edge.start_not_ready()
        wait_until(lambda: edge.metric("entrepot_replica_live") == 1, lambda: replica(edge), 300)
        took.add("entrepot", time.monotonic() - began)
        asked = snapshots(central)
        wire.add("entrepot", sum(asked) / size[0])
        wire.note = f"{len(asked)} requests; with TLS, TCP and IP: see the thin link"
        told = replica(edge)
        assert told["blobs"] == size[0], told
        memory.add("entrepot", told["bytes"] / size[0])
        edge.stop()
        began = time.monotonic()
        edge.start()
        again.add("entrepot", time.monotonic() - began)
        wait_until(lambda: edge.metric("entrepot_replica_live") == 1, lambda: replica(edge), 300)
        more = len(snapshots(central)) - len(asked)
        again.note = f"{more} snapshots asked for; the edge's whole resident set: {status_kib(edge.process.pid, 'VmRSS') / 1024:.0f} MiB"
    finally:
        for node in (edge, central):
            if node:
                node.stop()


class FarEdge(Branch):
    """An edge behind a link; its clients are there, too."""

    link = None

    def spawn(self):
        self.lives += 1
        argv = [*self.link.prefix, self.binary, "serve", *self.arguments()]
        self.process = Process(argv, self.folder / f"log.{self.lives}", env=self.env, cwd=self.folder).spawn()
        return self

    def curl(self, *args):
        argv = [*self.link.prefix, "curl", "-s", "-o", "/dev/null", "-m", "600", *args]
        return subprocess.run([str(a) for a in argv], capture_output=True, text=True).stdout

    def pull(self, image):
        """Seconds for its manifest and its layer."""
        base = f"http://{HOST}:{self.port}/v2/acme/app"
        said = ["-w", "%{http_code} %{size_download}\n"]
        began = time.monotonic()
        for path in (f"manifests/{image.digest}", f"blobs/{image.layers[0].digest}"):
            told = self.curl(*said, f"{base}/{path}").split()
            assert told[0] == "200", told
        return time.monotonic() - began

    def answers(self):
        """A tag that only the replica can answer."""
        path = "docker.io/team-0/service-1/manifests/v1.1"
        return self.curl("-m", "0.3", "-I", "-w", "%{http_code}", f"http://{HOST}:{self.port}/v2/{path}") == "200"


def sent(link):
    return int(Path(f"/sys/class/net/{link.near_device}/statistics/tx_bytes").read_text())


def thin(stage, catalogue, size):
    label = f"catalogue of {size[0]:,} blobs over {MBIT} Mbit/s"
    first = stage.row(f"{label}: first answer from the replica", "s", "less", None)
    slowed = stage.row(f"{label}: a client's pull of {PULL // MiB} MiB beside it, against alone", "×", "less", ("<=", 1.1))
    wire = stage.row(f"{label}: all bytes on the link for a blob", "bytes", "less", None)
    stage.say(label)
    link = those.Link(MBIT)
    central = edge = None
    try:
        central = central_with(stage, stage.folder / "far", catalogue, link.near)
        pulled = [images.single_blob(images.noise_blob(PULL, f"pull {i}")) for i in range(4)]
        for i, image in enumerate(pulled):
            layout = stage.folder / f"far-layout-{i}"
            images.write_layout(image, layout, "v1")
            central.command("load", layout, f"acme/app:v{i}")
        edge = FarEdge(stage.folder / "far-edge", {"log.access": "false"}, build=stage.build)
        edge.link = link
        edge.join(central.token("branch"))
        bytes_before, began = sent(link), time.monotonic()
        edge.spawn()
        wait_until(edge.answers, lambda: edge.process.tail(), 120, poll_s=0.05)
        first.add("entrepot", time.monotonic() - began)
        beside = edge.pull(pulled[0])
        wanted = replica(edge)["tiles_wanted"]
        wait_until(lambda: replica(edge)["equal"], lambda: replica(edge), 400, poll_s=0.2)
        took, bytes_sent = time.monotonic() - began, sent(link) - bytes_before
        alone = [edge.pull(image) for image in pulled[1:]]
        slowed.add("entrepot", beside / sorted(alone)[1])
        slowed.note = f"{beside:.2f} s beside it ({wanted} tiles were still to come), alone {', '.join(f'{s:.2f}' for s in alone)} s"
        first.note = f"all of it is here after {took:.0f} s"
        wire.add("entrepot", (bytes_sent - PULL) / size[0])
        wire.note = "with TLS, TCP, IP and the watch, without the pull's own bytes"
    finally:
        for node in (edge, central):
            if node:
                node.stop()
        link.stop()
