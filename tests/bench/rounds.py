"""How a measurement is made: one generator run against one server with the processor time of the server around it, and rounds in which
all servers take turns, beginning with another one each time."""

import json
import subprocess
import sys
import time

from lab.base import HOST

from report import Row

GB = 1e9
MiB = 1 << 20
DRIVE, SERVE = {0}, {1}  # with two processors one drives and one serves, so that neither takes the other's time


class Stage:
    """What the rows share: where things are, how long and how often."""

    def __init__(self, folder, build, load, quick):
        self.folder, self.build, self.load, self.quick = folder, build, load, quick
        self.rounds = 3 if quick else 7
        self.seconds = 0.7 if quick else 2.0
        self.rows = []
        self.generator_busy = []
        self.began = time.monotonic()

    def row(self, *a, **k):
        row = Row(*a, **k)
        self.rows.append(row)
        return row

    def took(self):
        return time.monotonic() - self.began

    def say(self, text):
        print(f"[{self.took():5.0f} s] {text}", file=sys.stderr, flush=True)

    def command(self, port, path, *args, pinned=False, address=HOST):
        pin = ["taskset", "-c", ",".join(map(str, DRIVE))] if pinned else []
        return [*pin, str(self.load), "-h", address, *map(str, args), str(port), path]

    def run(self, port, path, *args, pinned=False, address=HOST, timeout=300, first=False):
        """One run of the generator to its end: its report. A wrong answer is no measurement. first: before all else on its processor."""
        argv = self.command(port, path, *args, pinned=pinned, address=address)
        if first:
            argv = ["chrt", "-f", "10", *argv]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        got = json.loads(done.stdout)
        assert got["errors"] == 0, f"{' '.join(argv)}: {done.stdout}"
        return got

    def start(self, port, path, *args, pinned=False, first=False):
        """The generator in the background."""
        argv = self.command(port, path, *args, pinned=pinned)
        if first:
            argv = ["chrt", "-f", "10", *argv]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def have_memory(self, mib=1500):
        """The next so many MiB that anyone takes are backed by the host already, whoever's turn it is."""
        subprocess.run([str(self.load), "touch", str(mib)], check=True)

    def sha256(self):
        """Seconds that SHA-256 of a GB takes now."""
        return float(subprocess.run([str(self.load), "sha256"], capture_output=True, text=True, check=True).stdout)

    def warm(self, server, path, *args, tls=False, seconds=None):
        """For some seconds against a pinned server. Returns the report with server_cpu."""
        server.pin(SERVE)
        port, more = (server.tls, ["-s"]) if tls else (server.port, [])
        before = server.cpu()
        got = self.run(port, path, "-d", seconds or self.seconds, *more, *args, pinned=True)
        got["server_cpu"] = server.cpu() - before
        self.generator_busy.append(got["cpu"] / got["seconds"])
        return got

    def take_turns(self, servers, measure, rounds=None):
        """measure(server, round) for everyone in every round."""
        for r in range(rounds or self.rounds):
            for i in range(len(servers)):
                measure(servers[(r + i) % len(servers)], r)


def hold(stage, port, path, conns, *args):
    """Connections that stay. Returns the process once all have their answer's head."""
    child = stage.start(port, path, "-w", "-c", conns, *args)
    line = child.stdout.readline()
    got = json.loads(line or "{}")
    if got.get("held") != conns:
        release(child)
        raise AssertionError(f"only {got} of {conns} connections to port {port} {args}")
    return child


def release(child):
    child.stdin.close()
    child.wait(30)
    child.stdout.close()
