"""Central's DNS and its peers: each answers one name by the client's network, with one thread for UDP."""

import json
import re
from pathlib import Path

from lab.base import HOST, Process, free_port, run, wait_until
from lab.nodes import Central

import servers as those

ZONE = "img.acme.example"
NAME = f"registry.{ZONE}"
TTL = 15
PLACES = 10  # edges that a peer can name


def networks(count):
    """So many networks from 10.0.0.0 on, of different length."""
    if count <= 200:
        return [f"10.{i}.0.0/16" for i in range(count)]
    if count <= 10_000:
        return [f"10.{i // 100}.{i % 100 * 2}.0/23" for i in range(count)]
    return [f"10.{i >> 8}.{i & 255}.0/24" for i in range(count)]


def answers(port):
    done = run("dig", f"@{HOST}", "-p", port, "+short", "+tries=1", "+time=1", "+norec", NAME, "+subnet=10.2.3.0/24", check=False)
    return done.returncode == 0 and done.stdout.split()


class Entrepot(those.Server):
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
        self.node.spawn()
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


class Peer(those.Server):
    """configure() writes what it needs and returns its command."""

    def __init__(self, folder, count):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.nets = networks(count)
        self.processes = [Process(self.configure(), self.folder / "log")]
        self.processes[0].spawn()
        wait_until(lambda: answers(self.port), lambda: f"{self.name} answers\n{self.processes[0].tail()}")

    def file(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def stop(self):
        for process in self.processes:
            process.kill()


class Gdnsd(Peer):
    name = "gdnsd"

    def configure(self):
        nets = " ".join(f"{n} => s{i % PLACES}," for i, n in enumerate(self.nets))
        where = " ".join(f"s{i} => 10.255.0.{i + 1}," for i in range(PLACES))
        names = ", ".join(f"s{i}" for i in range(PLACES))
        self.file(
            "conf/config",
            f"options => {{ run_dir => {self.folder}/run, state_dir => {self.folder}/state, listen => {HOST}:{self.port},"
            " udp_threads => 1, tcp_threads => 1 }\n"
            f"plugins => {{ geoip => {{ maps => {{ m => {{ datacenters => [c, {names}], nets => {{ {nets} }} }} }},\n"
            f"resources => {{ r => {{ map => m, service_types => up, dcmap => {{ c => 10.0.0.1, {where} }} }} }} }} }}\n",
        )
        self.file(f"conf/zones/{ZONE}", f"@ SOA ns1 hostmaster ( 1 3600 600 86400 15 )\n@ NS ns1\nns1 A {HOST}\nregistry {TTL} DYNA geoip!r\n")
        return ["gdnsd", "-c", self.folder / "conf", "start"]


class Knot(Peer):
    """With its module geoip."""

    name = "knot"

    def configure(self):
        self.file("geo.conf", f"{NAME}:\n" + "".join(f"  - net: {n}\n    A: 10.255.0.{i % PLACES + 1}\n" for i, n in enumerate(self.nets)))
        self.file("zone", f"$ORIGIN {ZONE}.\n@ 15 SOA ns1 hostmaster 1 3600 600 86400 15\n@ 15 NS ns1\nns1 15 A {HOST}\nregistry {TTL} A 10.0.0.1\n")
        config = self.file("knot.conf", f"""
server:
    listen: {HOST}@{self.port}
    rundir: {self.folder}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
database:
    storage: {self.folder}
log:
  - target: stderr
    any: warning
mod-geoip:
  - id: map
    config-file: {self.folder}/geo.conf
    ttl: {TTL}
    mode: subnet
template:
  - id: default
    storage: {self.folder}
zone:
  - domain: {ZONE}
    file: zone
    module: mod-geoip/map
""")
        return ["knotd", "-c", config]


class PowerDns(Peer):
    """With its backend geoip."""

    name = "PowerDNS"

    def configure(self):
        places = "".join(f"    s{i}.{ZONE}:\n      - a: 10.255.0.{i + 1}\n" for i in range(PLACES))
        nets = "".join(f"      {n}: [ 's{i % PLACES}.{ZONE}' ]\n" for i, n in enumerate(self.nets))
        zones = self.file("zones.yaml", f"""domains:
- domain: {ZONE}
  ttl: {TTL}
  records:
    {ZONE}:
      - soa: ns1.{ZONE} hostmaster.{ZONE} 1 3600 600 86400 15
      - ns: ns1.{ZONE}
    c.{ZONE}:
      - a: 10.0.0.1
{places}  services:
    {NAME}:
      default: [ 'c.{ZONE}' ]
{nets}""")
        settings = {
            "config-dir": self.folder, "socket-dir": self.folder, "launch": "geoip", "geoip-zones-file": zones, "local-address": HOST,
            "local-port": self.port, "daemon": "no", "guardian": "no", "receiver-threads": 1, "distributor-threads": 1,
            "edns-subnet-processing": "yes", "disable-syslog": "yes", "security-poll-suffix": "",
        }
        return ["pdns_server", *(f"--{key}={value}" for key, value in settings.items())]


PEERS = (Gdnsd, Knot, PowerDns)
