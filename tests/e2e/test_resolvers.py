"""Real resolvers between a branch's clients and the zone: what `doctor` on an edge finds of them."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import resolver
from lab.base import HOST, Process, free_port, run, wait_until
from lab.fleet import ADDRESS, branch, central_of, invite, on_address

ZONE = "img.acme.example"
NAME = f"registry.{ZONE}"
EDGES = {"shanghai": "10.77.2.1", "suzhou": "10.77.3.1"}
SITES = [
    {"name": "shanghai", "networks": ["10.1.0.0/16", "127.1.0.0/16"]},
    {"name": "suzhou", "networks": ["10.2.0.0/16", "127.2.0.0/16"]},
]


@pytest.fixture(scope="module", autouse=True)
def addresses():
    for address in EDGES.values():
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    yield from on_address()
    for address in EDGES.values():
        run("ip", "address", "del", f"{address}/32", "dev", "lo")


@pytest.fixture(scope="module")
def world(shared_bench):
    w = SimpleNamespace(bench=shared_bench, port=free_port(), dns=free_port())
    w.central = central_of(shared_bench, shared_bench.faulty(), **{
        "fleet.heartbeat": "250ms", "registry.port": w.port, "sites": json.dumps(SITES), "dns.zone": ZONE, "dns.listen": f"{ADDRESS}:{w.dns}",
        "dns.central": f"[{ADDRESS}]", "dns.ttl": "1s", "dns.rate": "0",
    })
    w.edges = {}
    for site, address in EDGES.items():
        w.edges[site] = branch(w.bench, {"address": address, "registry.listen": f"{address}:{w.port}"})
        w.edges[site].join(invite(w.central, "--site", site))
        w.edges[site].spawn()
    for site, address in EDGES.items():
        wait_until(lambda: dig(ADDRESS, w.dns, f"{site}.{ZONE}") == [address], f"{site} is named")
        wait_until(w.edges[site].ready, f"{site} is ready")
    return w


def dig(server, port, *words, client=None):
    source = ["-b", client] if client else []
    said = run("dig", *source, f"@{server}", "-p", port, "+tries=1", "+time=2", "+short", *words, check=False).stdout
    return re.findall(r"^[\d.]+$", said, re.M)


def named(resolver, client):
    """Whom it names to that client; a resolver on a busy machine may be late."""
    return wait_until(lambda: dig(HOST, resolver.port, NAME, client=client), "an answer")


def lines_for(world, kind):
    return world.central.command("client-config", "dns", kind).stdout


def without_subnet(lines):
    """The lines for unbound, for a resolver that stands in the branch."""
    return re.sub(r" *(send-client-subnet|client-subnet-always-forward|module-config):.*\n", "", lines)


def unbound(world, folder, port, subnet=True, stale=False):
    lines = lines_for(world, "unbound")
    lines = lines if subnet else without_subnet(lines)
    if stale:
        lines = lines.replace("serve-expired: no", "serve-expired: yes")
    return resolver.unbound(folder, port, lines, server="  outgoing-interface: 127.1.0.53")


def dnsmasq(world, folder, port, subnet=True, stale=False):
    lines = lines_for(world, "dnsmasq")
    lines = lines if subnet else lines.replace("add-subnet", "#add-subnet")
    lines += "use-stale-cache\n" if stale else ""
    # The server is asked from the address that its site's network holds.
    lines = re.sub(r"(?m)^(server=.*)$", r"\1@127.1.0.53", lines)
    config = folder / "dnsmasq.conf"
    config.write_text(f"port={port}\nlisten-address={HOST}\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\n{lines}")
    return ["dnsmasq", "--keep-in-foreground", "--conf-file=" + str(config), "--pid-file", "--log-facility=-"]


def bind(world, folder, port, subnet=True, stale=False):
    config = folder / "named.conf"
    how = "yes; stale-cache-enable yes; stale-answer-client-timeout 0" if stale else "no"
    config.write_text(f"""
options {{
  directory "{folder}";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ {HOST}; }};
  listen-on-v6 {{ none; }};
  query-source address 127.1.0.53;
  allow-query {{ any; }};
  dnssec-validation no;
  validate-except {{ "{ZONE}"; }};
  stale-answer-enable {how};
}};
controls {{ }};
{lines_for(world, "bind")}""")
    return ["named", "-g", "-n", "1", "-c", config]


def recursor(world, folder, port, subnet=True, stale=False):
    settings = {
        "config-dir": folder, "socket-dir": folder, "local-address": HOST, "local-port": port, "query-local-address": "127.1.0.53",
        "forward-zones": f"{ZONE}={ADDRESS}:{world.dns}", "dont-query": "", "dnssec": "off", "threads": 1, "security-poll-suffix": "",
        "edns-subnet-allow-list": ZONE if subnet else "", "ecs-add-for": "0.0.0.0/0", "disable-syslog": "yes", "daemon": "no",
    }
    return ["pdns_recursor", *(f"--{key}={value}" for key, value in settings.items())]


def knot(world, folder, port, subnet=True, stale=False):
    config = folder / "kresd.conf"
    config.write_text(f"""
net.listen('{HOST}', {port}, {{ kind = 'dns' }})
net.outgoing_v4('127.1.0.53')
net.ipv6 = false
cache.size = 10 * MB
cache.min_ttl(1) -- 5 s by default, which doctor would tell
trust_anchors.remove('.')
policy.add(policy.suffix(policy.STUB('{ADDRESS}@{world.dns}'), policy.todnames({{ '{ZONE}.' }})))
""")
    return ["kresd", "-n", "-c", config, folder]


RESOLVERS = {"unbound": unbound, "dnsmasq": dnsmasq, "bind": bind, "recursor": recursor, "knot": knot}
TELL_SUBNETS = ("unbound", "dnsmasq", "recursor")
# Others serve what has expired only while the zone's servers do not answer.
SERVE_EXPIRED = ("unbound", "dnsmasq", "bind")


class Resolver:
    def __init__(self, world, kind, **how):
        self.folder = Path(world.bench.place(kind))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process = Process(RESOLVERS[kind](world, self.folder, self.port, **how), self.folder / "log").spawn()

    def __enter__(self):
        wait_until(lambda: dig(HOST, self.port, NAME), lambda: f"it answers\n{self.process.tail()}")
        return self

    def __exit__(self, *_):
        self.process.kill()


def check(edge, port, address=HOST):
    """What doctor says of the resolver there."""
    done = run(edge.asks, "doctor", "--resolver", f"{address}:{port}", *edge.arguments(), "--json", check=False, timeout=60)
    return {c["check"]: c for c in json.loads(done.stdout)["checks"]}["resolver"]


@pytest.mark.parametrize("kind", TELL_SUBNETS)
def test_clients_of_a_resolver_that_tells_their_subnet_get_their_own_edges(world, kind):
    with Resolver(world, kind) as r:
        for _ in range(2):
            assert named(r, "127.2.0.5") == [EDGES["suzhou"]]
            assert named(r, "127.1.0.5") == [EDGES["shanghai"]]
        assert named(r, "127.9.0.5") == [ADDRESS]


@pytest.mark.parametrize("kind", RESOLVERS)
def test_clients_of_a_resolver_that_tells_none_get_those_of_its_own_site(world, kind):
    with Resolver(world, kind, subnet=False) as r:
        assert named(r, "127.2.0.5") == named(r, "127.1.0.5") == [EDGES["shanghai"]]
        good, elsewhere = check(world.edges["shanghai"], r.port), check(world.edges["suzhou"], r.port)
        assert good["result"] == "ok" and "names an edge of this site (10.77.2.1)" in good["message"], good
        assert "sees it as 127.1.0.53, without client subnet" in good["message"]
        assert elsewhere["result"] == "warn" and "an edge of another site" in elsewhere["message"] and "dns explain" in elsewhere["what_to_do"], elsewhere


def test_doctor_tells_the_client_subnet_that_it_sees(world):
    with Resolver(world, "unbound") as r:
        found = check(world.edges["shanghai"], r.port)
        assert "sees it as 127.1.0.53, with the client subnet 127.0.0.0/24" in found["message"], found


@pytest.mark.parametrize("kind", SERVE_EXPIRED)
def test_doctor_finds_a_resolver_that_serves_expired_answers(world, kind):
    for stale in (True, False):
        with Resolver(world, kind, subnet=False, stale=stale) as r:
            found = check(world.edges["shanghai"], r.port)
            assert ("it serves answers that have expired" in found["message"]) == stale, found
            assert found["result"] == ("warn" if stale else "ok") and ("serve-expired" in found["what_to_do"]) == stale


def test_doctor_says_what_a_resolver_lacks_that_does_not_find_the_zone(world):
    nobody = check(world.edges["shanghai"], free_port())
    assert nobody["result"] == "warn" and "does not answer" in nobody["message"] and "client-config dns" in nobody["what_to_do"]
    wrong = check(world.edges["shanghai"], 53, "nowhere")
    assert wrong["result"] == "FAIL" and "no address of a resolver" in wrong["message"]


def test_doctor_asks_the_resolvers_of_this_machine(world):
    """Those that resolv.conf names, of which this one does not listen there: the tests have an /etc of their own."""
    file = Path("/etc/resolv.conf")
    before = file.read_text()
    file.write_text("search acme.example\nnameserver 127.1.0.53\nnameserver 127.1.0.54 # another\n")
    try:
        done = run(world.edges["shanghai"].asks, "doctor", *world.edges["shanghai"].arguments(), check=False, timeout=60)
        assert "127.1.0.53 does not answer" in done.stdout and "127.1.0.54 does not answer" in done.stdout, done.stdout
    finally:
        file.write_text(before)
