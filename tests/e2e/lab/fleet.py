"""Fleets for tests: a central on an address that is not loopback, and edges that join by its tokens."""

import http.client
import json
import ssl

from .base import free_port, run
from .nodes import Edge

ADDRESS = "10.77.1.1"  # not loopback: there the fleet port takes certificates and nothing else
PREFIX = "entrepot1-"


class Branch(Edge):
    """An edge whose configuration file `join` writes."""

    def __init__(self, folder, settings=None, **more):
        super().__init__(folder, None, settings, **more)
        self.config = self.folder / "edge.yaml"

    def more(self):
        return {}

    def arguments(self):
        return super().arguments() + (["--config", str(self.config)] if self.config.exists() else [])

    def join(self, token, *more, check=True):
        argv = [self.binary, "join", token, *more, *super().arguments(), "--config", self.config]
        return run(*argv, check=check, env=self.env, timeout=30)

    def refused(self, token, *more):
        """What join says when it fails; nothing is left of it then."""
        done = self.join(token, *more, check=False)
        assert done.returncode == 1 and not self.config.exists(), done
        assert not (self.data / "identity/edge.pem").exists()
        return done.stderr

    def reachable(self):
        return self.json("status")["central"]["reachable"]

    def why(self):
        """What status says of central when it is not reachable."""
        return self.json("status")["central"]["message"]

    def identity(self):
        return self.json("status")["identity"]


def invite(central, *more):
    said = central.command("edge", "invite", *(more or ("--site", "shanghai"))).stdout
    token = said.splitlines()[0]
    assert token.startswith(PREFIX) and " " not in token and f"entrepot-edge join {token}" in said
    return token


def branch(bench, settings=None, **more):
    """more: what Edge takes."""
    return bench.add(Branch(bench.place("branch"), settings, **more))


def joined(bench, central, settings=None, **more):
    edge = branch(bench, settings, **more)
    edge.join(invite(central))
    return edge.start()


def central_of(bench, upstream, **settings):
    port = free_port()
    central = bench.central(("docker.io", upstream.url), settings={"fleet.listen": f"{ADDRESS}:{port}", **settings})
    central.fleet = port
    return central


def edge_row(central, name):
    return {e["name"]: e for e in central.json("edge", "list")["edges"]}[name]


def fleet_request(central, path, context=None):
    """The status and text that the fleet port answers with; context: how TLS is spoken, None: plain HTTP."""
    kind, how = (http.client.HTTPSConnection, {"context": context}) if context else (http.client.HTTPConnection, {})
    c = kind(ADDRESS, central.fleet, timeout=10, **how)
    c.request("GET", path)
    reply = c.getresponse()
    return reply.status, reply.read().decode()


def nobody():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def on_address():
    """A generator for a fixture: the address is there as long as it runs."""
    run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    yield
    run("ip", "address", "del", f"{ADDRESS}/32", "dev", "lo")
