"""Central's DNS: one name for every branch. dig, kdig, drill and a real resolver ask it, edges come and go, sites change."""

import json
import re
import select
import socket
import threading
from pathlib import Path

import pytest
import yaml

from lab import resolver
from lab.base import HOST, Process, free_port, run, wait_until
from lab.nodes import Central, Edge

pytestmark = pytest.mark.sanitized

ZONE = "img.acme.example"
NAME = f"registry.{ZONE}"
# What the tools say when they do not like an answer.
COMPLAINT = re.compile(r"warn|malformed|mismatch|FORMERR|(?<!NO)error|fail|timed out|bad |unexpected|extra bytes", re.I)


class Registry:
    """An edge as far as the DNS looks at it: answers 200 to whatever is asked."""

    def __init__(self, address, port):
        self.at = (address, port)
        self.socket = None
        self.open()

    def open(self):
        self.socket = socket.create_server(self.at, backlog=64)
        threading.Thread(target=self.serve, args=(self.socket,), daemon=True).start()

    def serve(self, listener):
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            with conn:
                try:
                    conn.recv(4096)
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                except OSError:
                    pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class World:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.port = free_port()  # of every registry
        self.dns = free_port()
        self.config = self.folder / "central.yaml"
        self.edges = {f"127.0.2.{n}": Registry(f"127.0.2.{n}", self.port) for n in (1, 2, 3)}
        self.sites = [
            {
                "name": "shanghai", "networks": ["10.1.0.0/16", "127.1.0.0/16"], "neighbours": ["suzhou"],
                "edges": [{"name": "a", "address": "127.0.2.1"}, {"name": "b", "address": "127.0.2.2"}],
            },
            {"name": "suzhou", "networks": ["10.1.3.0/24", "127.2.0.0/16"], "edges": [{"name": "a", "address": "127.0.2.3"}]},
            {"name": "beijing", "networks": ["10.4.0.0/16"], "edges": [{"name": "real", "address": "127.0.2.4"}]},
        ]
        self.write()
        self.central = Central(self.folder / "central", {
            "upstreams": "[]", "default_upstream": '""', "registry.listen": f"{HOST}:{self.port}", "registry.port": self.port,
        })
        self.central.port = self.port
        base = self.central.arguments
        self.central.arguments = lambda: ["--config", str(self.config), *base()]
        self.edge = None

    def write(self):
        dns = {
            "zone": ZONE, "listen": f"{HOST}:{self.dns}", "ttl": "1s", "central": [HOST], "rate": 0,
            "records": [{"name": "www", "value": "10.0.0.9"}, {"name": "note", "type": "TXT", "value": "hello"}],
        }
        self.config.write_text(yaml.safe_dump({"sites": self.sites, "dns": dns}))

    def dig(self, *words, server=HOST, port=None):
        return run("dig", f"@{server}", "-p", port or self.dns, "+tries=1", "+time=5", "+norec", *words).stdout

    def answer(self, subnet, *words):
        """The addresses that a client of that subnet gets."""
        return self.dig(NAME, f"+subnet={subnet}", "+short", *words).split()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("dns"))
    w.central.start()
    try:
        w.edge = Edge(w.folder / "edge", w.central.fleet, {"registry.listen": f"127.0.2.4:{w.port}"})
        w.edge.start()
        wait_until(lambda: not w.central.json("status")["dns"]["edges_not_named"], "every edge is named")
        yield w
    finally:
        if w.edge:
            w.edge.stop()
        w.central.stop()


def test_dig_kdig_and_drill_have_nothing_to_complain_of(world):
    asked = (
        (NAME, "A", "NOERROR"), (NAME, "AAAA", "NOERROR"), (NAME, "DS", "NOERROR"), (ZONE, "SOA", "NOERROR"), (ZONE, "NS", "NOERROR"),
        (ZONE, "DNSKEY", "NOERROR"), (NAME, "ANY", "NOERROR"), (f"note.{ZONE}", "TXT", "NOERROR"), (f"none.{ZONE}", "A", "NXDOMAIN"),
        (f"a.shanghai.{ZONE}", "A", "NOERROR"), ("elsewhere.example", "A", "REFUSED"),
    )
    for more in ((), ("+tcp",), ("+dnssec", "+subnet=10.1.3.0/24"), ("+noedns",), ("+nocookie", "+bufsize=512")):
        said = world.dig(*more, *(word for name, kind, _ in asked for word in (name, kind)))
        assert re.findall(r"status: (\w+)", said) == [status for _, _, status in asked], said
        assert not COMPLAINT.search(re.sub(r"rcvd.*", "", said)), said
    said = run("kdig", f"@{HOST}", "-p", world.dns, "+norec", NAME, "+subnet=10.1.3.0/24", "+cookie").stdout
    assert "127.0.2.3" in said and "CLIENT-SUBNET: 10.1.3.0/24/24" in said and not COMPLAINT.search(said), said
    said = run("drill", "-p", world.dns, NAME, f"@{HOST}").stdout
    assert "rcode: NOERROR" in said and not COMPLAINT.search(said), said
    chaos = world.dig("version.bind", "TXT", "CH")
    assert "status: REFUSED" in chaos, chaos
    assert "status: BADVERS" in world.dig(NAME, "+edns=1", "+noednsneg")


@pytest.fixture
def small_send_buffers():
    """As over a long road: what is sent is hardly ever gone at once. The tests have a network of their own."""
    sizes = Path("/proc/sys/net/ipv4/tcp_wmem")
    before = sizes.read_text()
    sizes.write_text("4096 8192 8192")
    yield
    sizes.write_text(before)


def test_a_client_that_reads_slowly_gets_every_answer_over_tcp(world, small_send_buffers):
    """It is not read from while its answers wait, and nothing is cut."""
    name = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split(".")) + b"\0"
    query = b"\x12\x34\0\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"
    message = len(query).to_bytes(2, "big") + query
    unsent, got, count = memoryview(message * 20_000), bytearray(), 0
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect((HOST, world.dns))
        s.setblocking(False)
        while count < 20_000:
            if unsent and select.select([], [s], [], 0.05)[1]:
                unsent = unsent[s.send(unsent[:65536]) :]
                continue  # it reads only when it can send no more
            assert select.select([s], [], [], 20)[0], f"{count} answers, {len(unsent)} bytes not sent"
            part = s.recv(16384)
            assert part, f"cut after {count} answers"
            got += part
            at = 0
            while len(got) - at >= 2 and len(got) - at - 2 >= (size := int.from_bytes(got[at : at + 2], "big")):
                assert got[at + 2 : at + 4] == b"\x12\x34"
                at += 2 + size
                count += 1
            del got[:at]
    assert not unsent and not got


def test_a_host_with_many_ipv6_addresses_gets_half_of_the_connections(bench):
    addresses = [f"fd00:77::{n}" for n in range(1, 7)]
    for address in addresses:
        run("ip", "address", "add", f"{address}/64", "dev", "lo", "nodad")
    port = free_port()
    bench.central(settings={"default_upstream": '""', "dns.zone": ZONE, "dns.listen": f"[{addresses[0]}]:{port}", "dns.central": f"[{HOST}]", "dns.connections": 8})
    open_ = []
    try:
        for n, address in enumerate(addresses):
            open_.append(s := socket.create_connection((addresses[0], port), 10, (address, 0)))
            s.settimeout(10)
            if n >= 4:
                assert s.recv(1) == b"", "its network has half of the eight"
            else:
                s.sendall(b"\0\x0c\x12\x34\x08" + b"\0" * 9)  # an operation that is not known
                assert s.recv(4)[2:] == b"\x12\x34"
    finally:
        for s in open_:
            s.close()
        for address in addresses:
            run("ip", "address", "del", f"{address}/64", "dev", "lo")


def test_clients_get_an_edge_of_their_site_and_explain_says_why(world):
    assert set(world.answer("10.1.9.0/24") + world.answer("10.1.77.0/24")) <= {"127.0.2.1", "127.0.2.2"}
    assert world.answer("10.1.3.0/24") == ["127.0.2.3"]
    assert world.answer("10.4.0.0/16") == ["127.0.2.4"]  # a real edge
    assert world.answer("192.0.2.0/24") == [HOST]
    told = world.central.command("dns", "explain", "--client", "10.1.3.77").stdout
    assert "10.1.3.0/24, of site suzhou" in told and "127.0.2.3: good" in told and f"{NAME} is 127.0.2.3, for 1 s" in told
    told = world.central.json("dns", "explain", "--resolver", "192.0.2.53")
    assert told["answers"] == [HOST] and "no site has a network" in " ".join(told["steps"])
    assert world.central.command("dns", "explain", check=False).returncode == 2
    assert world.central.command("dns", "explain", "--client", "shanghai", check=False).returncode == 2


def test_a_dead_edge_leaves_the_answers_and_comes_back(world):
    world.edges["127.0.2.3"].close()
    wait_until(lambda: world.answer("10.1.3.0/24") == [HOST], "central answers for the site without edges")
    first = world.answer("10.1.9.0/24")[0]
    other = {"127.0.2.1": "127.0.2.2", "127.0.2.2": "127.0.2.1"}[first]
    world.edges[first].close()
    wait_until(lambda: world.answer("10.1.9.0/24") == [other], "the other edge answers")
    assert world.central.metric("entrepot_dns_spilled_total", site="suzhou") >= 1
    not_named = {(e["site"], e["state"]) for e in world.central.json("status")["dns"]["edges_not_named"]}
    assert not_named == {("shanghai", "closed"), ("suzhou", "closed")}
    world.edges[first].open()
    world.edges["127.0.2.3"].open()
    wait_until(lambda: world.answer("10.1.9.0/24") == [first] and world.answer("10.1.3.0/24") == ["127.0.2.3"], "both are back")


def test_sites_are_taken_anew_on_sighup_and_a_bad_file_changes_nothing(world):
    pid = world.central.process.pid
    world.sites[1]["networks"].append("10.8.0.0/16")
    world.write()
    world.central.process.signal(1)
    wait_until(lambda: world.answer("10.8.1.0/24") == ["127.0.2.3"], "the new network is known")
    assert world.answer("10.1.3.0/24") == ["127.0.2.3"]  # its edge was not forgotten
    good = world.config.read_text()
    world.config.write_text(good.replace("10.8.0.0/16", "10.8.0.0/99"))
    world.central.process.signal(1)
    wait_until(lambda: any(e.get("event") == "config_refused" for e in world.central.log()), "the log names the error")
    world.config.write_text(good)
    assert world.answer("10.8.1.0/24") == ["127.0.2.3"] and world.central.process.pid == pid


def test_the_first_answer_after_a_restart_is_right(world):
    world.central.stop()
    world.central.spawn()

    def first():
        done = run("dig", f"@{HOST}", "-p", world.dns, "+tries=1", "+time=1", "+short", NAME, "+subnet=10.1.3.0/24", check=False)
        return done.returncode == 0 and done.stdout.split()

    assert wait_until(first, "the DNS answers") == ["127.0.2.3"]
    wait_until(world.central.ready, "central is ready")


def test_status_and_doctor_tell_of_it(world):
    world.answer("10.1.3.0/24")
    said = world.central.command("status").stdout
    assert f"{NAME} (listens on {HOST}:{world.dns})" in said and "suzhou: 1 of 1 edges are named" in said, said
    told = json.loads(world.central.command("doctor", "--json", check=False).stdout)["checks"]
    check = next(c for c in told if c["check"] == "DNS")
    assert check["result"] == "warn" and f"does not find central.{ZONE}" in check["message"] and "client-config dns" in check["what_to_do"], check


def test_client_config_prints_what_a_resolver_needs(world):
    refused = world.central.command("client-config", "dns", "windows", check=False)
    assert refused.returncode == 1 and f"listen on {world.dns}" in refused.stderr, refused
    given = world.edge.command("client-config", "dns", "windows", "--zone", ZONE, "--server", "10.0.0.1").stdout
    assert f'-Name "{ZONE}" -MasterServers 10.0.0.1\n' in given
    for node, words in ((world.edge, ("unbound", "--zone", ZONE)), (world.central, ()), (world.central, ("unbound", "--server", "ns1.example")), (world.central, ("unbound", "--write", "/"))):
        assert node.command("client-config", "dns", *words, check=False).returncode == 2


def test_a_resolver_that_tells_client_subnets_gets_each_client_its_own(world):
    port = free_port()
    lines = world.central.command("client-config", "dns", "unbound").stdout
    unbound = Process(resolver.unbound(world.folder, port, lines), world.folder / "unbound.log").spawn()

    def from_(client):
        done = run("dig", "-b", client, f"@{HOST}", "-p", port, "+tries=1", "+time=2", "+short", NAME, check=False)
        return done.stdout.split()

    try:
        wait_until(lambda: from_("127.2.0.5") == ["127.0.2.3"], lambda: f"a client of suzhou gets its edge\n{unbound.tail()}")
        assert set(from_("127.1.0.5")) <= {"127.0.2.1", "127.0.2.2"}
        assert from_("127.9.0.5") == [HOST]
        assert from_("127.2.0.5") == ["127.0.2.3"]
    finally:
        unbound.kill()
