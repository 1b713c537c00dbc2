"""An edge answers for the zone as central does, and goes on while central is away."""

import difflib
import json
import re
from types import SimpleNamespace

import pytest

from lab.base import free_port, run, wait_until
from lab.fleet import ADDRESS, branch, central_of, edge_row, invite, on_address

ZONE = "img.acme.example"
NAME = f"registry.{ZONE}"
EDGES = {"sh-a": ("shanghai", "10.77.2.1"), "sh-b": ("shanghai", "10.77.2.2"), "su-a": ("suzhou", "10.77.3.1")}
SITES = [
    {"name": "shanghai", "networks": ["10.1.0.0/16", "2001:db8:1::/48"], "neighbours": ["suzhou"]},
    {"name": "suzhou", "networks": ["10.2.0.0/16", "10.1.3.0/24"]},
]
CLIENT = "10.77.3.1"
SERVERS = [{"name": "ns1", "addresses": [ADDRESS]}, {"name": "ns2", "addresses": ["10.77.2.1"]}]
RECORDS = [{"name": "www", "value": "10.0.0.9"}, {"name": "note", "type": "TXT", "value": "hello"}, {"name": "alias", "type": "CNAME", "value": "registry"},
           *({"name": "many", "value": f"10.9.{n // 200}.{n % 200 + 1}"} for n in range(200))]
SUBNETS = ("10.1.9.0/24", "10.1.77.0/24", "10.1.3.0/24", "10.2.0.0/16", "192.0.2.0/24", "2001:db8:1:5::/56", "0.0.0.0/0")


@pytest.fixture(scope="module", autouse=True)
def addresses():
    for _, address in EDGES.values():
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    yield from on_address()
    for _, address in EDGES.values():
        run("ip", "address", "del", f"{address}/32", "dev", "lo")


@pytest.fixture(scope="module")
def world(shared_bench):
    w = SimpleNamespace(bench=shared_bench, port=free_port(), dns=free_port())
    w.central = central_of(shared_bench, shared_bench.faulty(), **{
        "fleet.heartbeat": "250ms", "registry.port": w.port, "sites": json.dumps(SITES), "dns.zone": ZONE,
        "dns.listen": f"{ADDRESS}:{w.dns}", "dns.central": f"[{ADDRESS}]", "dns.ttl": "1s", "dns.rate": "0", "dns.silent_after": "2s",
        "dns.servers": json.dumps(SERVERS), "dns.records": json.dumps(RECORDS),
    })
    w.edges = {}
    for name, (site, address) in EDGES.items():
        edge = branch(w.bench, {"address": address, "registry.listen": f"{address}:{w.port}", "dns.listen": f"{address}:{w.dns}", "dns.rate": "0", "log.access": "false"})
        edge.join(invite(w.central, "--site", site))
        w.edges[name] = edge
        edge.spawn()
    w.named = {name: EDGES[name][1] for name in EDGES}
    wait_until(lambda: set(answers(w, ADDRESS)) == {"10.77.2.1", "10.77.2.2"}, "central names both edges of the site")
    wait_until(lambda: all(set(answers(w, at)) == {"10.77.2.1", "10.77.2.2"} for at in w.named.values()), "so does each edge")
    return w


def dig(world, server, *words):
    """Always from the same address, which counts where no client subnet is told."""
    return run("dig", f"@{server}", "-b", CLIENT, "-p", world.dns, "+tries=1", "+time=3", "+norec", *words, check=False).stdout


def answers(world, server, networks=tuple(f"10.1.{n}.0/24" for n in range(20, 32))):
    """The addresses that clients of these networks get."""
    asked = [word for net in networks for word in (NAME, f"+subnet={net}", "+short")]
    return re.findall(r"^[\d.]+$", dig(world, server, *asked), re.M)


def said(world, server, *words):
    """An answer without what differs from one query to the next."""
    text = dig(world, server, *words)
    text = re.sub(r"id: \d+|;; (Query time|WHEN|SERVER|MSG SIZE).*|; <<>>.*|; COOKIE: .*|global options.*", "", text)
    return re.sub(r"@\S+ -p \d+", "", text)


QUESTIONS = [
    (NAME, "A"), (NAME, "AAAA"), (NAME, "DS"), (NAME, "ANY"), (ZONE, "SOA"), (ZONE, "NS"), (ZONE, "DNSKEY"), (f"central.{ZONE}", "A"),
    (f"shanghai.{ZONE}", "A"), (f"suzhou.{ZONE}", "A"), (f"shanghai-1.shanghai.{ZONE}", "A"), (f"www.{ZONE}", "A"), (f"note.{ZONE}", "TXT"),
    (f"alias.{ZONE}", "A"), (f"none.{ZONE}", "A"), (f"www.{ZONE}", "MX"), (f"many.{ZONE}", "A"), (f"ns2.{ZONE}", "A"), ("elsewhere.example", "A"),
]
HOW = ((), ("+tcp",), ("+dnssec",), ("+noedns",), ("+nocookie", "+bufsize=512", "+ignore"), *((f"+subnet={net}",) for net in SUBNETS))


def differences(world, server):
    """What this server answers in another way than central."""
    found = []
    for how in HOW:
        asked = [*how, *(word for question in QUESTIONS for word in question)]
        here, central = said(world, server, *asked).splitlines(), said(world, ADDRESS, *asked).splitlines()
        assert len(here) > 5 * len(QUESTIONS), here
        found += [line for line in difflib.unified_diff(central, here, lineterm="", n=0)]
    return found


def test_an_edge_gives_the_answers_that_central_gives(world):
    server = world.named["sh-a"]
    assert "status: NOERROR" in said(world, server, NAME) and "status: NXDOMAIN" in said(world, server, f"none.{ZONE}")
    assert " tc" in said(world, server, "+nocookie", "+bufsize=512", "+ignore", f"many.{ZONE}") and "10.9.0.200" in said(world, server, "+tcp", f"many.{ZONE}")
    wait_until(lambda: not differences(world, server), lambda: f"the same answers: {differences(world, server)}", 120)
    ns = dig(world, server, ZONE, "NS")
    assert f"ns1.{ZONE}." in ns and f"ns2.{ZONE}." in ns
    kdig = run("kdig", f"@{server}", "-p", world.dns, "+norec", NAME, "+subnet=10.2.0.0/16").stdout
    assert "10.77.3.1" in kdig and "CLIENT-SUBNET: 10.2.0.0/16/" in kdig
    assert "rcode: NOERROR" in run("drill", "-p", world.dns, NAME, f"@{server}").stdout


def cookie(text):
    found = re.search(r"; COOKIE: ([0-9a-f]{48})", text)
    return found and found[1]


def test_a_cookie_of_one_server_is_good_at_the_others(world):
    """A good cookie that is young is given back as it is."""
    given = cookie(dig(world, ADDRESS, NAME))
    assert given and cookie(dig(world, world.named["sh-a"], NAME, f"+cookie={given}")) == given
    assert world.edges["sh-a"].metric("entrepot_dns_messages_total", kind="cookies") >= 1


def test_the_state_of_the_answers_is_shown(world):
    shown = world.edges["sh-a"].json("status")["dns"]
    assert shown["zone"] == ZONE and shown["source"]["live"] and not shown["edges_not_named"]
    assert "as central says" in world.edges["sh-a"].command("status").stdout


def test_a_sibling_that_dies_leaves_the_answers_while_central_is_away(world):
    server = world.named["sh-a"]
    world.central.stop()
    assert set(answers(world, server)) == {"10.77.2.1", "10.77.2.2"} and answers(world, server, ["10.2.0.0/16"]) == ["10.77.3.1"]
    wait_until(lambda: not world.edges["sh-a"].json("status")["dns"]["source"]["live"], "it knows that central is away")
    assert set(answers(world, server)) == {"10.77.2.1", "10.77.2.2"}
    world.edges["sh-b"].kill()
    wait_until(lambda: set(answers(world, server)) == {"10.77.2.1"}, "only the other one is named", 3)
    assert answers(world, server, ["10.2.0.0/16"]) == ["10.77.3.1"]


def first_answers(world, name):
    """What an edge answers first after it was killed and started."""
    edge = world.edges[name]
    edge.kill()
    edge.spawn()
    first = wait_until(lambda: answers(world, world.named[name]), "it answers")
    wait_until(edge.ready, "it is ready")
    return first


def test_a_restart_without_central_answers_rightly_at_once(world):
    world.central.stop()
    world.edges["sh-b"].kill()
    wait_until(lambda: set(answers(world, world.named["sh-a"])) == {"10.77.2.1"}, "only the other one is named")
    assert set(first_answers(world, "sh-a")) == {"10.77.2.1"}  # the sibling is still dead
    server = world.named["sh-a"]
    assert answers(world, server, ["10.2.0.0/16"]) == ["10.77.3.1"] and answers(world, server, ["192.0.2.0/24"]) == [ADDRESS]
    world.edges["sh-b"].spawn()
    wait_until(lambda: set(answers(world, server)) == {"10.77.2.1", "10.77.2.2"}, "the sibling is back")
    wait_until(lambda: set(answers(world, world.named["sh-b"])) == {"10.77.2.1", "10.77.2.2"}, "and answers so itself")
    assert set(first_answers(world, "sh-a")) == {"10.77.2.1", "10.77.2.2"}


def test_central_is_back_and_its_word_counts_again(world):
    server = world.named["sh-a"]
    world.central.stop()
    world.central.spawn()
    wait_until(lambda: world.edges["sh-a"].json("status")["dns"]["source"]["live"], "central is heard")
    wait_until(lambda: not differences(world, server), "the same answers", 120)
    name = world.edges["sh-b"].identity()["name"]
    world.central.command("edge", "remove", name)
    assert edge_row(world.central, name)["state"] == "removed"
    wait_until(lambda: set(answers(world, server)) == {"10.77.2.1"}, "a removed edge leaves the answers")
    world.central.settings["sites"] = json.dumps([*SITES, {"name": "berlin", "networks": ["10.8.0.0/16"], "neighbours": ["suzhou"]}])
    world.central.restart()
    wait_until(lambda: answers(world, server, ["10.8.0.0/16"]) == ["10.77.3.1"], "a new site is known")


def test_answers_end_after_stale_for(world):
    """As a tag is not served for longer without central, a name is not."""
    edge = world.edges["su-a"]
    edge.stop()
    edge.settings["stale_for"] = "1s"
    edge.spawn()
    server = world.named["su-a"]
    wait_until(lambda: answers(world, server, ["10.2.0.0/16"]) == ["10.77.3.1"], "it answers")
    world.central.stop()
    wait_until(lambda: "SERVFAIL" in dig(world, server, NAME), "it does not any more")
    assert "stale_for" in edge.json("status")["dns"]["source"]["problem"]
    world.central.spawn()
    wait_until(lambda: answers(world, server, ["10.2.0.0/16"]) == ["10.77.3.1"], "it answers again")
