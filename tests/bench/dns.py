"""Central's DNS beside gdnsd, knot and PowerDNS: queries for each second of the server's processor time, times at half load, and what many
networks, edges and names cost."""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from lab.base import HOST, Process, free_port, run, wait_until
from lab.branches import Network
from lab.nodes import Central, Edge
from lab.resolver import unbound

import dns_and_pulls
from dns_servers import NAME, PEERS, TTL, ZONE, Entrepot, Gdnsd
from rounds import DRIVE, SERVE, MiB

ROUNDS, TRIES, OUTSTANDING = 5, 3, 256
SITES = 12
STILL_NAMED_S = 3.3  # dns.silent_after, until the next of five looks a second, and until dig has asked
FIRST, FIRST_S, REST_S = ("chrt", "-f", "10"), 0.5, 0.5
SUBNET = "000118000a0203"  # 10.2.3.0/24, as dnsperf wants an option
FEW, MANY, EDGES, NAMES = 10, 10_000, 2_000, 1_000_000
MOST = 40_000  # about as many as a configuration of 1 MiB has room for


def by_dnsperf(stage, server):
    """Queries for each second of the server's processor time, all with the same subnet."""
    server.pin(SERVE)
    before = server.cpu()
    said = run("taskset", "-c", *map(str, DRIVE), "dnsperf", "-s", HOST, "-p", server.port, "-d", stage.folder / "dns-queries", "-l", stage.seconds,
               "-c", 8, "-q", OUTSTANDING, "-T", 1, "-E", f"8:{SUBNET}").stdout
    done, lost = (int(re.search(rf"Queries {word}: +(\d+)", said)[1]) for word in ("completed", "lost"))
    assert done > 0 and lost <= OUTSTANDING, said  # what was under way when the time was up
    return done / (server.cpu() - before)


def load(stage, server, *words, name=NAME, seconds=None, first=()):
    """What our own generator found; it has another subnet for each query. cpu: the server's processor time."""
    server.pin(SERVE)
    before = server.cpu()
    argv = [*first, "taskset", "-c", *map(str, DRIVE), stage.folder / "dns_load", *words, server.port, name, seconds or stage.seconds, OUTSTANDING]
    got = json.loads(subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=True, timeout=120).stdout)
    assert got["answered"] > 0 and got["wrong"] == 0, got
    return {**got, "cpu": server.cpu() - before}


def by_ours(stage, server, *words, **how):
    """Where queries were lost the generator waits for them, and where that was most of the time (peers have little room for queries while they
    do not run) it asks once more."""
    for _ in range(TRIES):
        got = load(stage, server, *words, **how)
        if got["cpu"] >= stage.seconds / 4:
            break
    assert got["lost"] <= OUTSTANDING, got
    return got["answered"] / got["cpu"]


@contextlib.contextmanager
def before_all_else(server):
    """The server comes before all else on its processor, and so does a generator that is started with FIRST: otherwise times would be those until
    others give way. The kernel allows that for 0.95 s in a second, and takes the processor away for what is left: so both rest before."""
    time.sleep(REST_S)
    tasks = [int(t) for pid in server.pids() for t in os.listdir(f"/proc/{pid}/task")]
    for task in tasks:
        os.sched_setscheduler(task, os.SCHED_FIFO, os.sched_param(10))
    yield
    for task in tasks:
        os.sched_setscheduler(task, os.SCHED_OTHER, os.sched_param(0))


def capacity(stage, server):
    """Answers a second, of several runs the one in which fewest were lost."""
    found = []
    for _ in range(TRIES):
        with before_all_else(server):
            got = load(stage, server, seconds=FIRST_S, first=FIRST)
        found.append(got["answered"] / got["seconds"])
    return max(found)


def times_us(stage, server, rate):
    """The middle and the 99th percentile at so many queries a second, each of three runs the one that other work, of this machine or its host,
    has disturbed least. A query that is lost counts as one that took longer than all."""
    found = []
    for _ in range(TRIES):
        with before_all_else(server):
            found.append(load(stage, server, "-r", f"{rate:.0f}", seconds=FIRST_S, first=FIRST))
    return [min(got[key] for got in found) for key in ("p50_us", "p99_us")]


def order_of(servers, turn):
    """Another one begins each time."""
    return [servers[(turn + i) % len(servers)] for i in range(len(servers))]


def start(stage, started, label, count, edges, peers=PEERS):
    """All servers with so many networks, ours first."""
    found = [Entrepot(stage.folder / f"dns-{label}", stage.build, count, edges)]
    started.append(found[0])
    for kind in peers:
        found.append(kind(stage.folder / f"{kind.name}-{label}", count))
        started.append(found[-1])
    return found


def speed(stage, started):
    per_second, names = "queries/s of processor", [p.name for p in PEERS]
    target = (">=", 1.0), (Gdnsd.name,)
    same = stage.row("DNS, one client subnet", per_second, "more", *target)
    varied = stage.row("DNS, a subnet for each query", per_second, "more", *target)
    many = stage.row(f"DNS, {MANY:,} networks", per_second, "more", *target)
    absent = stage.row("DNS, names that do not exist", per_second, "more", *target)
    half = "half of what the slower of Entrepot and gdnsd can answer in a second, or of what the server itself can"
    usual = stage.row("DNS, median time at half load", "µs", "less", note=half)
    late = stage.row("DNS, 99th percentile at half load", "µs", "less", ("<=", 1.0), (Gdnsd.name,), note=half)
    cost = stage.row(f"DNS, time of a query with {MANY:,} networks and {EDGES:,} edges", f"× with {FEW}", "less", ("<=", 1.1))
    few = start(stage, started, "few", FEW, FEW)
    large = start(stage, started, "many", MANY, EDGES)
    assert [s.name for s in few] == ["entrepot", *names]
    for turn in range(ROUNDS):
        stage.say(f"DNS, round {turn + 1} of {ROUNDS}")
        found = {}
        for server in order_of(few, turn):
            same.add(server.name, by_dnsperf(stage, server))
        for server in order_of(few, turn):
            found[server.name] = by_ours(stage, server)
            varied.add(server.name, found[server.name])
        for server in order_of(few, turn):
            absent.add(server.name, by_ours(stage, server, "-n", name=ZONE))
        for server in order_of(large, turn):
            value = by_ours(stage, server)
            many.add(server.name, value)
            if server.name == "entrepot":
                cost.add("entrepot", found["entrepot"] / value)
        can = {server.name: capacity(stage, server) for server in order_of(few, turn)}
        common = min(can["entrepot"], can[Gdnsd.name])
        for server in order_of(few, turn):
            middle, last = times_us(stage, server, min(common, can[server.name]) / 2)
            usual.add(server.name, middle)
            late.add(server.name, last)


def end(started):
    for server in reversed(started):
        server.stop()
    started.clear()


def scale(stage, started):
    """Starting with many networks, and what a million names and many subnets leave behind."""
    begins = stage.row(f"DNS, {MOST:,} networks: from the start to the first answer", "s", "less", note="no target")
    holds = stage.row(f"DNS, {MOST:,} networks: memory", "MiB", "less", note="no target; of Entrepot it is the whole of central")
    rate = stage.row(f"DNS, {MOST:,} networks", "queries/s of processor", "more", note="no target")
    grows = stage.row(f"DNS: memory that {NAMES:,} queries for other names and 131,072 client subnets leave", "MiB", "less", ("<=", 1.0))
    for turn in range(3):
        stage.say(f"DNS with {MOST:,} networks, round {turn + 1} of 3")
        for kind in order_of([Entrepot, *PEERS], turn):
            more = (stage.build, MOST, EDGES) if kind is Entrepot else (MOST,)
            began = time.monotonic()
            server = kind(stage.folder / f"{kind.name}-most-{turn}", *more)
            started.append(server)
            begins.add(server.name, time.monotonic() - began)
            holds.add(server.name, server.memory() / MiB)
            rate.add(server.name, by_ours(stage, server))
            if kind is Entrepot:
                grows.add(server.name, growth(stage, server))
            end(started)


def growth(stage, server):
    """MiB, after what the first queries have needed."""
    before, asked = server.anonymous(), 0
    while asked < NAMES:
        for words, name in ((["-n"], ZONE), ([], NAME)):
            asked += load(stage, server, *words, name=name)["answered"] / 2
    return max(0, server.anonymous() - before) / MiB


def answers_at(port, site, way="+norec"):
    done = run("dig", f"@{HOST}", "-p", port, "+short", "+tries=1", "+time=1", way, f"{site}.{ZONE}", check=False)
    return done.stdout.split() if done.returncode == 0 else []


def fleet_of(stage, started, addresses, dns_port):
    """A central and an edge for each site, at these addresses. They have joined: what an edge says of itself counts."""
    port = free_port()
    sites = [{"name": site, "networks": [f"10.{i}.0.0/16"]} for i, site in enumerate(addresses)]
    central = Central(stage.folder / "losses/central", {
        "log.level": "error", "sites": json.dumps(sites), "registry.port": port, "dns.zone": ZONE, "dns.listen": f"{HOST}:{dns_port}",
        "dns.central": "[10.0.0.1]",
    }, stage.build)
    started.append(central)
    central.start()
    edges = {}
    for site, address in addresses.items():
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
        settings = {"site": site, "address": address, "registry.listen": f"{address}:{port}"}
        edges[site] = Edge(stage.folder / f"losses/{site}", central.fleet, settings, stage.build, joins=True)
        edges[site].spawn()
        started.append(edges[site].process)
    return edges


def resolver(stage, started, dns_port):
    """A branch's resolver, which keeps answers as long as they say. Its port."""
    port, folder = free_port(), stage.folder / "losses"
    zone = f"stub-zone:\n  name: {ZONE}\n  stub-addr: {HOST}@{dns_port}\n"
    started.append(Process(unbound(folder, port, zone), folder / "unbound.log").spawn())
    return port


class Watch:
    """Asks a resolver for a site again and again, and knows when it last named that address."""

    def __init__(self, port, site, address):
        self.port, self.site, self.address = port, site, address
        self.seen, self.gone, self.over = None, False, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.over.wait(0.1):
            said = answers_at(self.port, self.site, "+rec")
            self.gone = bool(said) and self.address not in said
            if self.address in said:
                self.seen = time.monotonic()

    def end(self):
        self.over.set()
        self.thread.join()


def losses(stage, started):
    """How long an edge is still named that is gone: killed, so that its port refuses, or stopped, so that nothing is answered; by central, and by
    a resolver, which keeps an answer for dns.ttl. Half of the sites are left, or central would take it for its own link's fault."""
    refused, silent = (stage.row(f"DNS, an edge {how}: still named", "s", "less", ("<=", STILL_NAMED_S)) for how in ("refuses", "is silent"))
    kept = stage.row(f"DNS, an edge is gone: still named by a resolver (dns.ttl {TTL} s)", "s", "less", ("<=", STILL_NAMED_S + TTL))
    stage.say("DNS, edges that are lost")
    addresses, dns_port = {f"s{i}": f"198.18.0.{i + 1}" for i in range(SITES)}, free_port()
    edges = fleet_of(stage, started, addresses, dns_port)
    for site, address in addresses.items():
        wait_until(lambda: answers_at(dns_port, site) == [address], f"the edge of {site} is named")
    port, began = resolver(stage, started, dns_port), {}
    lost = list(addresses)[: SITES // 2]
    watches = {site: Watch(port, site, addresses[site]) for site in lost}
    try:
        for i, site in enumerate(lost):
            wait_until(lambda: watches[site].seen, f"the resolver names the edge of {site}")
            began[site] = time.monotonic()
            edges[site].process.signal(signal.SIGKILL if i % 2 else signal.SIGSTOP)
            wait_until(lambda: addresses[site] not in answers_at(dns_port, site), f"the edge of {site} is not named")
            (refused if i % 2 else silent).add("entrepot", time.monotonic() - began[site])
        for site, watch in watches.items():
            wait_until(lambda: watch.gone, f"the resolver names {site} no more")
            kept.add("entrepot", watch.seen - began[site])
    finally:
        for watch in watches.values():
            watch.end()
    for edge in edges.values():
        edge.process.kill()


def beside(stage):
    stage.say("DNS beside gdnsd, knot and PowerDNS")
    (stage.folder / "dns-queries").write_text(f"{NAME} A\n")
    run("gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-o", stage.folder / "dns_load", Path(__file__).parent / "dns_load.c")
    started = []
    try:
        speed(stage, started)
        end(started)
        with Network("entrepot-dns") as net, net.inside():
            losses(stage, started)
            end(started)
        dns_and_pulls.rows(stage)
        scale(stage, started)
    finally:
        end(started)
