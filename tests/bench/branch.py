"""The first hour of a new user, measured: a clone in a datacenter, `make run` there, one token, and a branch behind a thin link that joins by it and
whose docker pulls by registry-mirrors. Two network name spaces with that link, and nothing else in them."""

import json
import os
import signal
import time

from lab import clients
from lab.base import REPO, Process, run, wait_until

MBIT = 20
IMAGE = "sample/hello"  # that `make run` puts into central


class Spaces:
    """Two name spaces and a link between them of so many Mbit/s."""

    def __init__(self, mbit):
        self.names = {"core": "entrepot-core", "branch": "entrepot-branch"}
        # Not `ip netns exec`, whose own /sys has none of the control groups that dockerd wants.
        self.prefix = {side: ["nsenter", f"--net=/run/netns/{name}"] for side, name in self.names.items()}
        self.stop()
        for name in self.names.values():
            run("ip", "netns", "add", name)
        run(*"ip link add eth0 netns entrepot-core type veth peer name eth0 netns entrepot-branch".split())
        for side, address in (("core", "198.18.77.1/30"), ("branch", "198.18.77.2/30")):
            for words in (
                f"ip addr add {address} dev eth0",
                "ip link set eth0 up",
                "ip link set lo up",
                "ethtool -K eth0 tso off gso off",
                f"tc qdisc add dev eth0 root tbf rate {mbit}mbit burst 128kb latency 100ms",
            ):
                run(*self.prefix[side], *words.split())

    def stop(self):
        for name in self.names.values():
            run("ip", "netns", "del", name, check=False)


class Datacenter:
    """A clone of this tree and its `make run`, with folders of its own instead of the machine's, and no cache of compiled files."""

    def __init__(self, folder, prefix):
        self.clone, self.home, self.prefix = folder / "clone", folder / "home", prefix
        self.home.mkdir(parents=True)
        self.args = {node: f"--set data={self.home}/{node}" for node in ("central", "edge")}
        env = {"CCACHE_DISABLE": "1", "HOME": str(self.home), "MAKEFLAGS": f"-j{os.cpu_count()}"}
        env |= {"CENTRAL_ARGS": self.args["central"], "EDGE_ARGS": self.args["edge"]}
        self.process = Process([*prefix, "make", "run"], self.home / "said", env=env, cwd=self.clone)

    def start(self):
        run("git", "clone", "-q", REPO, self.clone)
        self.process.spawn()
        wait_until(lambda: "Ctrl-C stops both" in self.process.text() or not self.process.running(), self.process.tail, 3600, 0.05)
        assert self.process.running(), self.process.tail()

    def token(self):
        central = self.clone / "build/release/entrepot-central"
        return run(*self.prefix, central, "edge", "invite", "--site", "shanghai", *self.args["central"].split()).stdout.splitlines()[0]

    def stop(self):
        if self.process.running():
            os.killpg(self.process.pid, signal.SIGINT)
            wait_until(lambda: not self.process.running(), self.process.tail, 60)


class Branch:
    """Two commands, and docker. The edge's program was installed before."""

    def __init__(self, folder, program, prefix):
        self.folder, self.program, self.prefix = folder, program, prefix
        folder.mkdir(parents=True)
        self.own = ["--config", folder / "edge.yaml", "--set", f"data={folder}/data"]
        self.edge = Process([*prefix, program, "serve", *self.own], folder / "log")
        self.docker = None

    def command(self, *words, check=True):
        return run(*self.prefix, self.program, *words, *self.own, check=check)

    def join(self, token):
        self.command("join", token)
        self.edge.spawn()
        wait_until(lambda: '"ready": true' in self.command("status", "--json", check=False).stdout, self.edge.tail, 60, 0.05)

    def point_docker(self):
        self.command("client-config", "docker", "--write", self.folder)
        self.docker = clients.Docker(self.folder / "docker", config=json.loads((self.folder / "etc/docker/daemon.json").read_text()))
        self.docker.process.argv[:0] = self.prefix
        self.docker.start()

    def stop(self):
        for part in (self.docker, self.edge):
            if part:
                part.stop()


def first_pull(stage):
    """Rows: the time of each step, and of all from the clone to the first image in the branch."""
    folder = stage.folder / "branch"
    spaces = Spaces(MBIT)
    datacenter = Datacenter(folder / "datacenter", spaces.prefix["core"])
    parts, steps = [spaces, datacenter], {}

    def step(name, action):
        stage.say(f"branch: {name}")
        began = time.monotonic()
        action()
        steps[name] = time.monotonic() - began

    try:
        step("`git clone` and `make run`, until it has pulled its sample", datacenter.start)
        branch = Branch(folder / "branch", datacenter.clone / "build/release/entrepot-edge", spaces.prefix["branch"])
        parts.append(branch)
        step("`edge invite`, `join` and the edge's start", lambda: branch.join(datacenter.token()))
        step("`client-config docker --write` and dockerd's start", branch.point_docker)
        step(f"docker's first pull by registry-mirrors, over {MBIT} Mbit/s", lambda: branch.docker.pull(IMAGE))
        assert "status=200" in branch.edge.text(), "docker did not ask its mirror"
        for name, took in {**steps, "all of it, from the clone to the first image": sum(steps.values())}.items():
            stage.row(f"a new branch: {name}", "s", "less").add("entrepot", took)
    finally:
        for part in reversed(parts):
            part.stop()
