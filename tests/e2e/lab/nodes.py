"""The two daemons under test, each with private data and ports, started, watched, killed and read."""

import json
import os
import re
from pathlib import Path

from .base import HOST, REPO, Process, free_port, run, wait_until
from .raw import ask

RELEASE = REPO / os.environ.get("ENTREPOT_RELEASE", "build/release")
SANITIZED = REPO / "build/address-undefined"
GIVEN = os.environ.get("ENTREPOT_BUILD")  # for all tests
SANITIZERS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=0:allocator_may_return_null=1:quarantine_size_mb=64",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}
# A command ends at once; looking for what it leaked would take longer than all it does.
COMMANDS = {**SANITIZERS, "ASAN_OPTIONS": SANITIZERS["ASAN_OPTIONS"] + ":detect_leaks=0"}
_REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")
_PAIR = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')
_SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)')


def upstreams(*pairs, fresh_for="1s", revalidate="0", **more):
    """The value of `upstreams`: pairs of a name and a URL (or several). Central asks them nothing by itself unless told, for tests count what
    it asks."""
    items = []
    for name, urls in pairs:
        urls = [urls] if isinstance(urls, str) else urls
        items.append({"name": name, "endpoints": list(urls), "fresh_for": fresh_for, "revalidate": revalidate, **more})
    return json.dumps(items)  # JSON is YAML


class Build:
    """Which build is tested. A sanitizer's costs twice the time, so a file has it (pytestmark = pytest.mark.sanitized) for what is hostile to the
    daemons: odd input, faults and races."""

    tested = REPO / GIVEN if GIVEN else RELEASE

    @classmethod
    def choose(cls, sanitized):
        if not GIVEN:
            cls.tested = SANITIZED if sanitized else RELEASE


class Node:
    """settings: {"key.path": value}; they override what the lab sets itself."""

    kind = ""

    def __init__(self, folder, settings=None, build=None, env=None):
        self.env = {**SANITIZERS, **(env or {})}
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.binary = (build or Build.tested) / f"entrepot-{self.kind}"
        self.asks = (build or RELEASE) / f"entrepot-{self.kind}"
        self.data = self.folder / "data"
        self.port, self.admin = free_port(), free_port()
        self.settings = {
            "data": self.data,
            "address": HOST,
            "registry.listen": f"{HOST}:{self.port}",
            "admin.listen": f"{HOST}:{self.admin}",
            **self.more(),
            **(settings or {}),
        }
        self.process = None
        self.lives = 0

    def more(self):
        return {}

    def arguments(self):
        return [a for k, v in self.settings.items() for a in ("--set", f"{k}={v}")]

    # --- life ---

    def prepare(self):
        """Before each start."""

    def spawn(self):
        """Starts without waiting."""
        self.prepare()
        self.lives += 1
        argv = [self.binary, "serve", *self.arguments()]
        self.process = Process(argv, self.folder / f"log.{self.lives}", env=self.env, cwd=self.folder).spawn()
        return self

    def start(self, deadline_s=60):
        return self._start_until("ready", self.ready, deadline_s)

    def start_not_ready(self, deadline_s=60):
        """Until it answers: an edge that has never reached its central knows no settings, and is not ready without."""
        return self._start_until("alive", self.alive, deadline_s)

    def _start_until(self, what, reached, deadline_s):
        self.spawn()
        wait_until(lambda: not self.process.running() or reached(), lambda: f"{self.kind} {what}\n{self.process.tail()}", deadline_s)
        assert self.process.running(), f"{self.kind} ended at start\n{self.process.tail()}"
        return self

    def ready(self):
        return self._says_yes("/readyz")

    def alive(self):
        return self._says_yes("/healthz")

    def _says_yes(self, path):
        try:
            return ask(self.admin, path, timeout=5).status == 200
        except (OSError, Exception):
            return False

    def kill(self):
        """SIGKILL: what a power cut leaves of the process."""
        self.process.kill()
        self.check_log()

    def stop(self):
        """SIGTERM; the exit must be clean."""
        if self.process is None:
            return
        alive = self.process.running()
        status = self.process.stop()
        self.check_log()
        assert not alive or status == 0, f"{self.kind} ended with {status}\n{self.process.tail()}"

    def restart(self):
        self.stop()
        return self.start()

    def check_log(self):
        found = _REPORT.search(self.process.text())
        if found:
            text = self.process.text()
            raise AssertionError(f"{self.kind}:\n{text[max(0, found.start() - 500) : found.start() + 4000]}")

    def running(self):
        return self.process is not None and self.process.running()

    def rss(self):
        return self.process.rss()

    # --- what it says ---

    def log(self):
        """All lines so far as dicts, of the present life."""
        return [parsed for line in self.process.text().splitlines() if (parsed := parse_line(line))]

    def access(self, about=""):
        """Lines of the access log whose target holds `about`."""
        return [e for e in self.log() if "status" in e and about in e.get("target", "")]

    def metrics(self):
        reply = ask(self.admin, "/metrics")
        assert reply.status == 200, reply
        return parse_metrics(reply.body.decode())

    def metric(self, name, **labels):
        """The sum of a metric's samples that carry these labels; 0 if there are none."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.metrics().items() if n == name and wanted <= set(have))

    def command(self, *words, check=True, timeout=60):
        """Runs a subcommand against this node."""
        return run(self.binary, *words, *self.arguments(), check=check, timeout=timeout, env=COMMANDS)

    def json(self, *words):
        """What a command tells of this node. Mostly asked again and again until something holds: the status from the port that the command asks,
        the rest by the release build, which starts in a quarter of the time."""
        if words == ("status",):
            reply = ask(self.admin, "/api/status")
            assert reply.status == 200, reply
            return reply.json()
        return json.loads(run(self.asks, *words, *self.arguments(), "--json", timeout=60).stdout)

    def blob_file(self, digest):
        algorithm, hexes = digest.split(":")
        return self.data / "blobs" / algorithm / hexes[:2] / hexes

    def held(self, digest):
        return self.blob_file(digest).exists()

    def part_file(self, digest):
        return self.data / "fills" / f"{digest.replace(':', '-')}.part"


class Central(Node):
    kind = "central"
    by_fleet_port = {}  # so that an edge, which is given a port, can be invited

    def __init__(self, folder, settings=None, build=None, env=None):
        super().__init__(folder, settings, build, env)
        self.tokens = {}
        Central.by_fleet_port[self.fleet] = self

    def more(self):
        self.fleet = free_port()
        return {"fleet.listen": f"{HOST}:{self.fleet}"}

    def token(self, site):
        """By which any number of a test's edges may join."""
        if site not in self.tokens:
            self.tokens[site] = self.command("edge", "invite", "--site", site, "--uses", "1000").stdout.splitlines()[0]
        return self.tokens[site]


class Edge(Node):
    """central: the port of a Central's fleet listener, of a tap that reads along, or of a scripted central. Without joins=True it speaks plain
    HTTP, as an edge without identity may on loopback; with it, it joins that Central, which runs, before its first start."""

    kind = "edge"
    site = "branch"

    def __init__(self, folder, central, settings=None, build=None, env=None, joins=False):
        self.central_port = central
        self.joins = joins
        super().__init__(folder, settings, build, env)

    def more(self):
        return {"central": f"http://{HOST}:{self.central_port}"}

    def prepare(self):
        if not self.joins or self.lives:
            return
        central = Central.by_fleet_port[self.central_port]
        self.settings["central"] = f"https://{HOST}:{self.central_port}"
        site = self.settings.get("site", self.site)
        self.config = self.folder / "joined.yaml"
        self.command("join", central.token(site), "--config", self.config)

    def arguments(self):
        config = getattr(self, "config", None)
        return super().arguments() + (["--config", str(config)] if config and config.exists() else [])


def parse_line(line):
    """A log line, key=value or JSON, as a dict of strings; None for what is neither."""
    if line.startswith("{"):
        try:
            return {k: str(v) for k, v in json.loads(line).items()}
        except ValueError:
            return None
    pairs = _PAIR.findall(line)
    return {k: json.loads(v) if v.startswith('"') else v for k, v in pairs} if pairs else None


def parse_metrics(text):
    """Prometheus' text format, strictly. {(name, frozenset of labels): value}; raises AssertionError on what Prometheus would refuse."""
    types, found = {}, {}
    assert text.endswith("\n"), "the last line is not ended"
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"two TYPE lines for {name}"
            assert kind in ("counter", "gauge", "histogram", "summary", "untyped"), line
            types[name] = kind
            continue
        if line.startswith("#") or not line:
            continue
        m = _SAMPLE.match(line)
        assert m, f"not a sample: {line!r}"
        labels = m[2] or ""
        pairs = _LABEL.findall(labels)
        assert sum(len(k) + len(v) + 3 for k, v in pairs) + max(0, len(pairs) - 1) in (len(labels), len(labels) - 1), line
        key = (m[1], frozenset(pairs))
        assert key not in found, f"twice: {line!r}"
        found[key] = float(m[3])
        family = re.sub(r"_(bucket|sum|count)$", "", m[1])
        assert m[1] in types or types.get(family) in ("histogram", "summary"), f"no TYPE for {m[1]}"
    return found
