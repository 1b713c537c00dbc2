"""Branches as networks of their own: each has a subnet, a thin link to the datacenter (the network of the tests), a machine for clients and
the resolver, and one for its edge, so that the edge can be cut off without being stopped."""

import contextlib
import ctypes
import os
from pathlib import Path

from .base import Process, run, wait_until
from .fleet import ADDRESS

_NEW_NETWORK = 0x40000000


class Network:
    """A network name space."""

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words):
        run("ip", "-n", self.name, *words)

    def exec(self, *words):
        return run("nsenter", f"--net=/run/netns/{self.name}", *words)

    @contextlib.contextmanager
    def inside(self):
        """This thread, and what it starts meanwhile, is in it."""
        libc = ctypes.CDLL(None, use_errno=True)
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if libc.setns(there, _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), f"setns to {self.name}")
            yield
        finally:
            libc.setns(before, _NEW_NETWORK)
            os.close(before)
            os.close(there)

    def stop(self):
        run("ip", "netns", "del", self.name, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Place:
    """The network of one branch: 198.18.NUMBER.0/24 behind a link of so many Mbit/s."""

    def __init__(self, number, folder, mbit=20):
        self.number = number
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.net, self.address, self.edge_address = f"198.18.{number}.0/24", f"198.18.{number}.1", f"198.18.{number}.130"
        self.machine, self.edge = Network(f"branch-{number}"), Network(f"edge-{number}")
        self._link_to_datacenter(mbit)
        self._link_to_edge()
        self.resolver = None
        (self.folder / "resolv.conf").write_text(f"nameserver {self.address}\n")

    def _link_to_datacenter(self, mbit):
        near, far, end = f"198.19.{self.number}.1", f"198.19.{self.number}.2", f"wan{self.number}"
        run("ip", "link", "add", end, "type", "veth", "peer", "name", "wan", "netns", self.machine.name)
        run("ip", "address", "add", f"{near}/30", "dev", end)
        run("ip", "link", "set", end, "up")
        self.machine.ip("address", "add", f"{far}/30", "dev", "wan")
        self.machine.ip("address", "add", f"{self.address}/32", "dev", "lo")
        self.machine.ip("link", "set", "wan", "up")
        # What this machine asks comes from the branch's own subnet.
        self.machine.ip("route", "add", "default", "via", near, "src", self.address)
        run("ip", "route", "add", self.net, "via", far)
        shape = ["tc", "qdisc", "add", "dev"], ["root", "tbf", "rate", f"{mbit}mbit", "burst", "64kb", "latency", "200ms"]
        run("ethtool", "-K", end, "tso", "off", "gso", "off")
        run(*shape[0], end, *shape[1])
        self.machine.exec("ethtool", "-K", "wan", "tso", "off", "gso", "off")
        self.machine.exec(*shape[0], "wan", *shape[1])

    def _link_to_edge(self):
        near = f"198.18.{self.number}.129"
        self.machine.ip("link", "add", "lan", "type", "veth", "peer", "name", "lan", "netns", self.edge.name)
        self.machine.ip("address", "add", f"{near}/30", "dev", "lan")
        self.machine.ip("link", "set", "lan", "up")
        self.edge.ip("address", "add", f"{self.edge_address}/30", "dev", "lan")
        self.edge.ip("link", "set", "lan", "up")
        self.machine.ip("route", "add", f"{self.edge_address}/32", "dev", "lan", "src", self.address)
        self.machine.exec("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self.reach_edge()

    def reach_edge(self):
        self.edge.ip("route", "add", "default", "via", f"198.18.{self.number}.129")

    def cut_edge_off(self):
        """Nothing that is sent to the edge is answered, and nobody is told so."""
        self.edge.ip("route", "del", "default")

    def argv(self, argv):
        """A command on the branch's machine, with its resolver; dockerd wants the machine's own /sys."""
        script = f'mount --bind {self.folder}/resolv.conf /etc/resolv.conf && exec "$@"'
        return ["nsenter", f"--net=/run/netns/{self.machine.name}", "unshare", "--mount", "sh", "-c", script, "sh", *argv]

    def run(self, *argv, **how):
        return run(*self.argv(argv), **how)

    def moved(self, process):
        """The process, to be started on the branch's machine."""
        process.argv = process.argv[:3] + [str(a) for a in self.argv(process.argv[3:])]
        return process

    def resolve(self, argv, name):
        """Starts the branch's resolver; it is there when it knows the name."""
        self.resolver = self.moved(Process(argv, self.folder / "resolver.log")).spawn()
        wait_until(lambda: self.addresses(name), lambda: f"the resolver answers\n{self.resolver.tail()}")

    def addresses(self, name):
        """What the branch's resolver says."""
        done = run("nsenter", f"--net=/run/netns/{self.machine.name}", "dig", "+short", "+tries=1", "+time=2", f"@{self.address}", name, check=False)
        return done.stdout.split() if done.returncode == 0 else []

    def stop(self):
        if self.resolver:
            self.resolver.kill()
        self.machine.stop()
        self.edge.stop()


@contextlib.contextmanager
def datacenter():
    """The network of the tests passes on what branches send each other."""
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    before = forward.read_text()
    forward.write_text("1")
    run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    yield
    run("ip", "address", "del", f"{ADDRESS}/32", "dev", "lo")
    forward.write_text(before)
