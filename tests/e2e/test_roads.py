"""Ways from an edge to central other than a plain one: through an HTTP proxy, or past something that holds answers back."""

import base64
import socket
import threading
from types import SimpleNamespace

import pytest

from lab import images, pki, raw
from lab.base import HOST, free_port, wait_until
from lab.fleet import ADDRESS, branch, central_of, edge_row, invite, joined, on_address
from lab.holder import Holder
from lab.listener import Listener
from lab.scripted import Scripted

FAR = "central.far.invalid"  # a name that only the proxy can resolve
WORD = "pr0xyS3cret"


class ConnectProxy(Listener):
    """An HTTP proxy that wants a password and knows CONNECT alone. Every name leads to central."""

    def __init__(self):
        super().__init__()
        self.asked, self.refused = [], 0

    def url(self, word=WORD):
        return f"http://joe:{word}@{HOST}:{self.port}"

    def serve(self, client):
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                more = client.recv(4096)
                if not more:
                    return
                head += more
            first, *lines = head.decode().split("\r\n")
            method, place, _ = first.split(" ")
            wanted = "proxy-authorization: basic " + base64.b64encode(f"joe:{WORD}".encode()).decode().lower()
            if method != "CONNECT" or wanted not in [line.lower() for line in lines]:
                self.refused += 1
                client.sendall(b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
                return
            self.asked.append(place)
            with socket.create_connection((ADDRESS, int(place.rsplit(":", 1)[1]))) as server:
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=self.pump, args=(server, client), daemon=True)
                back.start()
                self.pump(client, server)
                back.join()
        except OSError:
            pass
        finally:
            client.close()

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture(scope="module", autouse=True)
def address():
    yield from on_address()


@pytest.fixture(scope="module")
def far(shared_bench):
    upstream = shared_bench.faulty()
    image = images.small("far")
    upstream.put("library/app", image, "v1")
    central = central_of(shared_bench, upstream)
    central.stop()
    central.settings["fleet.addresses"] = f'["{FAR}:{central.fleet}"]'
    central.start()
    return SimpleNamespace(central=central, image=image, proxy=shared_bench.add(ConnectProxy()).start())


@pytest.fixture(scope="module")
def plain(shared_bench):
    upstream = shared_bench.faulty()
    upstream.put("library/app", images.small("plain"), "v1")
    return central_of(shared_bench, upstream)


def environment(url):
    names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {**{n: "" for n in (*names, *(n.upper() for n in names))}, "https_proxy": url}


@pytest.mark.parametrize("how", ["key", "environment"])
def test_an_edge_joins_and_pulls_through_a_proxy(bench, far, how):
    if how == "key":
        edge = branch(bench, {"central_proxy": far.proxy.url()}, env=environment(""))
    else:
        edge = branch(bench, env=environment(far.proxy.url()))
    edge.join(invite(far.central))
    edge.start()
    before = len(far.proxy.asked)
    raw.pull(edge.port, "library/app", "v1")
    wait_until(lambda: edge.json("status")["replica"]["equal"], "the stream of changes comes through the proxy")
    assert f"{FAR}:{far.central.fleet} answers" in edge.command("doctor", check=False).stdout
    wait_until(lambda: edge_row(far.central, edge.identity()["name"])["state"] == "active", "central knows it")
    assert before and set(far.proxy.asked) == {f"{FAR}:{far.central.fleet}"}
    said = edge.command("status").stdout + edge.command("doctor", check=False).stdout + edge.process.text()
    assert WORD not in said and "joe" not in said


def test_a_proxy_that_refuses_is_named_and_no_password_told(bench, far):
    edge = branch(bench, {"central_proxy": far.proxy.url("wr0ngS3cret")}, env=environment(""))
    said = edge.refused(invite(far.central))
    assert f"proxy {HOST}:{far.proxy.port} does not accept the user and password" in said and far.proxy.refused
    assert "wr0ng" not in said
    edge.settings["central_proxy"] = "ftp://joe:wr0ngS3cret@proxy"
    said = edge.refused(invite(far.central))
    assert "is no proxy's URL" in said and "wr0ng" not in said


def test_where_answers_are_held_back_changes_come_by_polls_and_as_a_stream_again_later(bench):
    up = bench.registry()
    for name in ("one", "two"):
        up.put(f"library/{name}", images.small(name), "v1")
    central = bench.central(("docker.io", up.url), fresh_for="1h")
    road = bench.add(Holder(central.fleet)).start()
    edge = bench.edge(road.port)
    said = lambda: edge.json("status")
    number = lambda: said()["replica"]["number"]
    wait_until(lambda: said()["central"]["polls"], "the edge has noticed", 60)
    wait_until(lambda: said()["replica"]["equal"], "the replica is equal to the catalogue", 60)
    assert "changes come by polls" in edge.command("status").stdout
    assert "holds answers back" in edge.command("doctor", check=False).stdout
    # A change comes at once, not at the end of a poll's time; the replica is current all the while.
    for name in ("one", "two"):
        before = number()
        raw.pull(central.port, f"library/{name}", "v1")
        wait_until(lambda: number() > before, "the change has come", 8, 0.05)
    for _ in range(20):
        assert said()["replica"]["live"]
    answers = said()["replica"]["answers"]
    raw.pull(edge.port, "library/one", "v1")
    assert said()["replica"]["answers"] > answers
    polls = len([t for t in road.asked if "wait=10" in t])
    wait_until(lambda: len([t for t in road.asked if "wait=10" in t]) >= polls + 2, "one poll follows the other", 40)
    assert said()["replica"]["equal"] and edge.ready()

    road.holding = False
    wait_until(lambda: not said()["central"]["polls"], "it is a stream again", 60)
    wait_until(lambda: said()["replica"]["equal"], "the replica is equal to the catalogue", 30)
    assert "watch_flows" in edge.process.text() and "changes come by polls" not in edge.command("status").stdout
    road.holding = True
    wait_until(lambda: said()["central"]["polls"], "the edge has noticed again", 60)


LOGIN = "http://portal.example/login"


def test_doctor_names_who_signs_for_a_middlebox_that_opens_tls(bench, plain):
    """It shows a certificate for the name that was asked for."""
    edge = joined(bench, plain)
    edge.stop()
    cert, key = pki.issued(bench.place("pki"), "central.acme.example", "Acme Inspection CA")
    box = bench.add(Scripted(lambda r: (200, {}, b"welcome"), tls=pki.serving(cert, key)))
    edge.settings["central"] = box.url
    edge.start()
    said = '"central.acme.example", issued by "Acme Inspection CA"'
    wait_until(lambda: said in edge.command("doctor", check=False).stdout, "the issuer is named")


@pytest.mark.parametrize("at", ["the fleet port", "port 80"])
def test_doctor_finds_a_captive_portal(bench, plain, at):
    edge = joined(bench, plain)
    assert "portal" not in edge.command("doctor", check=False).stdout
    edge.stop()
    portal = bench.add(Scripted(lambda r: (302, {"Location": LOGIN}, b""), host=ADDRESS, port=0 if at == "the fleet port" else 80))
    port = portal.port if at == "the fleet port" else free_port()
    edge.settings["central"] = f"https://{ADDRESS}:{port}"
    edge.start()
    wait_until(lambda: not edge.reachable(), "central does not answer")
    line = next(line for line in edge.command("doctor", check=False).stdout.splitlines() if "captive portal" in line)
    assert LOGIN in line and ADDRESS in line, line
