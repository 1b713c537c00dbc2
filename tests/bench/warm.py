"""Rows about what is held: small requests, large bodies, TLS, connections."""

import json
import subprocess

from lab.base import Process, free_port, listening, wait_until
from rounds import GB
from servers import Server

CACHE, STATIC, REGISTRY, VARNISH = "nginx proxy_cache", "nginx static", "docker-registry", "varnish"


class Trivial(Server):
    name = "trivial responder"

    def __init__(self, process, port):
        self.processes, self.port = [process], port


def prime(stage, servers, paths):
    for server in servers:
        for path in paths:
            stage.run(server.port, path, "-n", 1)
            if server.tls:
                stage.run(server.tls, path, "-n", 1, "-s")


def requests(stage, servers, label, path, target, *args, against=(CACHE,), cpu_target=None, limit=None):
    rate = stage.row(f"{label}: requests", "1/s", "more", target, against)
    rate.note = f"beside it: a responder that parses nothing, from this generator: {limit:,.0f}" if limit else ""
    cost = stage.row(f"{label}: server CPU", "µs/request", "less", cpu_target, against)

    def measure(server, _):
        got = stage.warm(server, path, *args)
        rate.add(server.name, got["requests"] / got["seconds"])
        cost.add(server.name, got["server_cpu"] / got["requests"] * 1e6)

    stage.say(label)
    stage.take_turns(servers, measure)


def streams(stage, servers, path, conns, limit, tls=False):
    against = (STATIC, CACHE) if tls else (STATIC, CACHE, REGISTRY, VARNISH)
    label = f"100 MB blob{', TLS 1.3' if tls else ''}, {conns} stream{'s' if conns > 1 else ''}"
    speed = stage.row(f"{label}: throughput", "GB/s", "more", (">=", 1.0), against)
    what = "AES-256-GCM of one processor" if tls else "sendfile by a responder that parses nothing"
    speed.note = f"beside it: {what}: {limit:.2f} GB/s"
    cost = stage.row(f"{label}: server CPU", "s/GB", "less", None if tls else ("<=", 1.0), against)

    def measure(server, _):
        got = stage.warm(server, path, "-c", conns, tls=tls)
        speed.add(server.name, got["bytes"] / got["seconds"] / GB)
        cost.add(server.name, got["server_cpu"] / (got["bytes"] / GB))

    stage.say(label)
    stage.take_turns([s for s in servers if s.tls or not tls], measure)


def ceiling(stage, file):
    """What the generator and the kernel can do at all: against a responder that parses nothing."""
    port = free_port()
    responder = Process([stage.load, "serve", port, file], stage.folder / "responder.log").spawn()
    try:
        wait_until(lambda: listening(port), "the trivial responder listens")
        trivial = Trivial(responder, port)
        small = stage.warm(trivial, "/small", "-c", 32)
        fresh = stage.warm(trivial, "/small", "-c", 8, "-x")
        one = stage.warm(trivial, "/big", "-c", 1)
        eight = stage.warm(trivial, "/big", "-c", 8)
        done = subprocess.run(["taskset", "-c", "1", stage.load, "limits"], capture_output=True, text=True, check=True)
        return {
            "one_processor_GB_per_s": json.loads(done.stdout),
            "requests_per_s": small["requests"] / small["seconds"],
            "new_connections_per_s": fresh["requests"] / fresh["seconds"],
            "one_stream_GB_per_s": one["bytes"] / one["seconds"] / GB,
            "eight_streams_GB_per_s": eight["bytes"] / eight["seconds"] / GB,
        }
    finally:
        responder.kill()
