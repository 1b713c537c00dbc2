"""Central's DNS beside gdnsd: queries for each second of the server's processor time, and what many networks and edges cost."""

import json
import re
import subprocess
from pathlib import Path

from lab.base import HOST, Process, free_port, run, wait_until
from lab.nodes import Central

import servers as those
from rounds import DRIVE, SERVE

ZONE = "img.acme.example"
NAME = f"registry.{ZONE}"
ROUNDS, OUTSTANDING = 5, 256
SUBNET = "000118000a0203"  # 10.2.3.0/24, as dnsperf wants an option
FEW, MANY, EDGES = 10, 10_000, 2_000


def networks(count):
    """So many networks of 10.0.0.0/8, of different length."""
    if count <= 200:
        return [f"10.{i}.0.0/16" for i in range(count)]
    return [f"10.{i // 100}.{i % 100 * 2}.0/23" for i in range(count)]


def answers(port):
    done = run("dig", f"@{HOST}", "-p", port, "+short", "+tries=1", "+time=1", "+norec", NAME, "+subnet=10.2.3.0/24", check=False)
    return done.returncode == 0 and done.stdout.split()


class EntrepotDns(those.Server):
    name = "entrepot"

    def __init__(self, folder, build, count, edges):
        """edges: so many sites of one edge each, the networks shared out among them."""
        folder = Path(folder)
        folder.mkdir(parents=True)
        self.port = free_port()
        sites = [{"name": f"s{i}", "networks": [], "edges": [{"name": "e", "address": f"10.255.{i // 250}.{i % 250 + 1}"}]} for i in range(edges)]
        for i, network in enumerate(networks(count)):
            sites[i % edges]["networks"].append(network)
        config = folder / "central.yaml"
        dns = {"zone": ZONE, "listen": f"{HOST}:{self.port}", "central": ["10.0.0.1"], "threads": 1, "rate": 0}
        config.write_text(json.dumps({"sites": sites, "dns": dns}))
        (folder / "central/data").mkdir(parents=True)
        (folder / "central/data/dns.state").write_text("".join(f"s{i} e\n" for i in range(edges)))
        self.node = Central(folder / "central", {"log.level": "error"}, build)
        base = self.node.arguments
        self.node.arguments = lambda: ["--config", str(config), *base()]
        self.node.start()
        self.processes = [self.node.process]
        wait_until(lambda: answers(self.port), "the DNS answers")

    def cpu(self):
        """Of the threads that answer: the probes of edges that are not there would count beside them, 2,000 a second."""
        total = 0
        for task in Path(f"/proc/{self.node.process.pid}/task").iterdir():
            name, _, rest = (task / "stat").read_text().rpartition(")")
            if re.search(r"\(dns-\d", name):
                fields = rest.split()
                total += int(fields[11]) + int(fields[12])
        return total / those.TICK

    def stop(self):
        self.node.stop()


class Gdnsd(those.Server):
    name = "gdnsd"

    def __init__(self, folder, count):
        folder = Path(folder)
        (folder / "conf/zones").mkdir(parents=True)
        self.port = free_port()
        nets = " ".join(f"{n} => s{i % FEW}," for i, n in enumerate(networks(count)))
        where = " ".join(f"s{i} => 10.255.0.{i + 1}," for i in range(FEW))
        names = ", ".join(f"s{i}" for i in range(FEW))
        (folder / "conf/config").write_text(
            f"options => {{ run_dir => {folder}/run, state_dir => {folder}/state, listen => {HOST}:{self.port}, udp_threads => 1, tcp_threads => 1 }}\n"
            f"plugins => {{ geoip => {{ maps => {{ m => {{ datacenters => [c, {names}], nets => {{ {nets} }} }} }},\n"
            f"resources => {{ r => {{ map => m, service_types => up, dcmap => {{ c => 10.0.0.1, {where} }} }} }} }} }}\n"
        )
        (folder / f"conf/zones/{ZONE}").write_text(
            f"@ SOA ns1 hostmaster ( 1 3600 600 86400 15 )\n@ NS ns1\nns1 A {HOST}\nregistry 15 DYNA geoip!r\n"
        )
        self.processes = [Process(["gdnsd", "-c", folder / "conf", "start"], folder / "log").spawn()]
        wait_until(lambda: answers(self.port), lambda: f"gdnsd answers\n{self.processes[0].tail()}")

    def stop(self):
        for process in self.processes:
            process.kill()


def by_dnsperf(stage, server):
    """Queries for each second of the server's processor time, all with the same subnet."""
    server.pin(SERVE)
    before = server.cpu()
    said = run("taskset", "-c", *map(str, DRIVE), "dnsperf", "-s", HOST, "-p", server.port, "-d", stage.folder / "dns-queries", "-l", stage.seconds,
               "-c", 8, "-q", OUTSTANDING, "-T", 1, "-E", f"8:{SUBNET}").stdout
    done, lost = (int(re.search(rf"Queries {word}: +(\d+)", said)[1]) for word in ("completed", "lost"))
    assert done > 0 and lost <= OUTSTANDING, said  # what was under way when the time was up
    return done / (server.cpu() - before)


def by_ours(stage, server):
    """The same with another subnet for each query."""
    server.pin(SERVE)
    before = server.cpu()
    argv = ["taskset", "-c", *map(str, DRIVE), stage.folder / "dns_load", server.port, NAME, stage.seconds, OUTSTANDING]
    got = json.loads(subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=True, timeout=60).stdout)
    assert got["answered"] > 0 and got["wrong"] == 0 and got["lost"] <= OUTSTANDING, got
    return got["answered"] / (server.cpu() - before)


def beside(stage):
    stage.say("DNS beside gdnsd")
    (stage.folder / "dns-queries").write_text(f"{NAME} A\n")
    run("gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-o", stage.folder / "dns_load", Path(__file__).parent / "dns_load.c")
    per_second = "queries/s of processor"
    same = stage.row("DNS, one client subnet", per_second, "more", (">=", 1.0), ("gdnsd",))
    varied = stage.row("DNS, a subnet for each query", per_second, "more", (">=", 1.0), ("gdnsd",))
    many = stage.row(f"DNS, {MANY:,} networks", per_second, "more", (">=", 1.0), ("gdnsd",))
    cost = stage.row(f"DNS, time of a query with {MANY:,} networks and {EDGES:,} edges", f"× with {FEW}", "less", ("<=", 1.1))
    started = []
    try:
        few = [EntrepotDns(stage.folder / "dns-few", stage.build, FEW, FEW)]
        started += few
        few.append(Gdnsd(stage.folder / "gdnsd-few", FEW))
        started.append(few[1])
        large = [EntrepotDns(stage.folder / "dns-many", stage.build, MANY, EDGES)]
        started += large
        large.append(Gdnsd(stage.folder / "gdnsd-many", MANY))
        started.append(large[1])
        for r in range(ROUNDS):
            order = (0, 1) if r % 2 else (1, 0)
            for i in order:
                same.add(few[i].name, by_dnsperf(stage, few[i]))
            found = {}
            for i in order:
                found[few[i].name] = by_ours(stage, few[i])
                varied.add(few[i].name, found[few[i].name])
            for i in order:
                value = by_ours(stage, large[i])
                many.add(large[i].name, value)
                if i == 0:
                    cost.add("entrepot", found["entrepot"] / value)
    finally:
        for server in reversed(started):
            server.stop()
