"""Central's DNS beside its registry: what a storm of pulls does to queries, and a flood of queries to pulls. Central has one processor, all
that drives it the other."""

import contextlib
import json
import subprocess

from lab.base import HOST, free_port
from lab.branches import Network

import servers as those
from content import Content
from dns_servers import NAME, ZONE, networks
from rounds import DRIVE, SERVE, MiB

ROUNDS, LEAST_OF, SECONDS = 5, 5, 1
USUAL_PER_S, FLOOD_PER_S, PULLS_PER_S = 500, 300_000, 200
STORM = 32, 8  # connections that ask for a manifest again and again, and streams of a large blob
FIRST = ("chrt", "-f", "10")


class Central(those.Server):
    """With a DNS of ten sites; of both, threads as on a machine with one processor."""

    def __init__(self, folder, build, upstream):
        self.dns_port = free_port()
        sites = [{"name": f"s{i}", "networks": [net], "edges": [{"name": "e", "address": f"10.255.0.{i + 1}"}]} for i, net in enumerate(networks(10))]
        self.node = those.central(folder, build, upstream, {
            "sites": json.dumps(sites), "dns.zone": ZONE, "dns.listen": f"{HOST}:{self.dns_port}", "dns.central": "[10.0.0.1]",
            "threads.serving": "1",
        })
        self.port, self.processes = self.node.port, [self.node.process]
        self.pin(SERVE)

    def stop(self):
        self.node.stop()


def receive(net, cpus):
    """These processors receive what is sent over loopback in that network; none: whoever sends a packet."""
    script = f"mount -t sysfs sysfs /sys; echo {sum(1 << cpu for cpu in cpus):x} >/sys/class/net/lo/queues/rx-0/rps_cpus"
    net.exec("unshare", "--mount", "sh", "-ec", script)


class Drive:
    """All generators are on one processor; those that measure come before those that only load."""

    def __init__(self, stage, central, manifest, big):
        self.stage, self.central, self.manifest, self.big = stage, central, manifest, big
        self.pin = ["taskset", "-c", ",".join(map(str, DRIVE))]

    def dns(self, how, rate, seconds):
        return [*self.pin, str(self.stage.folder / "dns_load"), how, str(rate), str(self.central.dns_port), NAME, str(seconds), "1"]

    def load(self, path, *words):
        return self.stage.command(self.central.port, path, *words, pinned=True)

    def measure(self, argv):
        return json.loads(subprocess.run([*FIRST, *argv], capture_output=True, text=True, check=True, timeout=60).stdout)

    def query_us(self):
        got = self.measure(self.dns("-p", USUAL_PER_S, SECONDS))
        assert got["answered"] > 0 and got["wrong"] == 0, got
        return got["p99_us"]

    def pull_us(self):
        got = self.measure(self.load(self.manifest, "-x", "-c", 4, "-r", PULLS_PER_S, "-d", SECONDS))
        assert got["ok"] > 0 and got["errors"] == 0, got
        return got["last_us"]["p99"]

    def queries(self):
        """How many it has answered so far."""
        return self.central.node.metric("entrepot_dns_messages_total", kind="chosen")

    @contextlib.contextmanager
    def beside(self, *commands):
        children = []
        try:
            for argv in commands:
                children.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL))
            yield
            assert all(child.poll() is None for child in children), "the load was over too soon"
        finally:
            for child in children:
                child.kill()
                child.wait()

    def storm(self):
        small, streams = STORM
        return self.beside(self.load(self.manifest, "-c", small), self.load(self.big, "-c", streams))

    def flood(self):
        return self.beside(self.dns("-f", FLOOD_PER_S, 600))


def in_turns(measure, load):
    """What is measured alone and beside a load, several times in turns, of each the time that other work has disturbed least."""
    alone, beside = [], []
    for _ in range(LEAST_OF):
        alone.append(measure())
        with load():
            measure()  # until the load is what it will be
            beside.append(measure())
    return min(alone), min(beside)


def query_beside_storm(net, drive, row):
    """Clients receive on their own processor, as if they were another machine: or else central would spend most of its time on it."""
    receive(net, DRIVE)
    alone, beside = in_turns(drive.query_us, drive.storm)
    row.add("entrepot", beside / alone)
    row.note = f"alone {alone:,} µs, beside it {beside:,} µs"


def pull_beside_flood(net, drive, row):
    receive(net, ())
    before = drive.queries()
    alone, beside = in_turns(drive.pull_us, drive.flood)
    answered = (drive.queries() - before) / (2 * LEAST_OF * SECONDS)
    row.add("entrepot", beside / alone)
    row.note = f"alone {alone:,} µs, beside it {beside:,} µs, {answered:,.0f} queries a second answered meanwhile"


def rows(stage):
    stage.say("DNS beside pulls")
    storm = stage.row("DNS, 99th percentile beside a storm of pulls", "× alone", "less", ("<=", 2.0))
    flood = stage.row("pulls, 99th percentile beside a flood of queries", "× alone", "less", ("<=", 1.2))
    content = Content(stage.folder / "dns-content")
    big = content.blob(100 * MiB)
    manifest = content.image("v1", [big])
    with Network("entrepot-dns-pulls") as net, net.inside():
        net.ip("route", "add", "local", "10.0.0.0/8", "dev", "lo")  # where the flood comes from
        up = those.Upstream(stage.folder / "dns-upstream", content)
        central = None
        try:
            central = Central(stage.folder / "dns-central", stage.build, f"{HOST}:{up.port}")
            for path in (manifest, big.path):
                stage.run(central.port, path, "-n", 1)
            drive = Drive(stage, central, manifest, big.path)
            for turn in range(ROUNDS):
                stage.say(f"DNS beside pulls, round {turn + 1} of {ROUNDS}")
                query_beside_storm(net, drive, storm)
                pull_beside_flood(net, drive, flood)
        finally:
            if central:
                central.stop()
            up.stop()
