"""Fixtures: places, upstreams, and the usual chain upstream <- central <- (tap) <- edge. What a test starts ends with it, cleanly."""

import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab import clients, isolation  # noqa: E402
from lab.base import wait_until  # noqa: E402
from lab.faulty import Faulty  # noqa: E402
from lab.nodes import Build, Central, Edge, upstreams  # noqa: E402
from lab.registry import Registry  # noqa: E402
from lab.tap import Tap  # noqa: E402

ISOLATED = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "lab: proves the lab itself; needs no daemon of ours")
    config.addinivalue_line("markers", "sanitized: the daemons are those built with AddressSanitizer and UBSan")
    if config.option.collectonly:
        return
    if why := isolation.allowed():
        raise pytest.UsageError(why)
    config.stash[ISOLATED] = isolation.go()


def pytest_unconfigure(config):
    if folder := config.stash.get(ISOLATED, None):
        isolation.end(folder)


# With several workers a long file that begins last would keep the others waiting: these begin first.
LONGEST = (
    "packages", "clients", "odd_registries", "faulty_upstream", "store_faults", "run", "restarts", "tags", "hosted", "crash", "commands",
    "offline", "fair", "dns_branches", "claimed_sizes", "promises", "budgets", "moving_tags", "flash_crowd", "dead_disk",
    "mtu_hole", "long_line",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    skip_without_binaries(items)


def skip_without_binaries(items):
    """Without binaries there is nothing to test: say so once for each test instead of failing in a fixture."""
    for item in items:
        Build.choose(item.get_closest_marker("sanitized"))
        missing = [b for b in (Build.tested / "entrepot-central", Build.tested / "entrepot-edge") if not b.exists()]
        if missing and not item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.skip(reason=f"{missing[0]} is not built"))


class Bench:
    """Makes parts in one private folder and ends them in reverse order."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="entrepot-e2e-"))
        self.parts = []
        self.count = 0

    def place(self, name):
        self.count += 1
        return self.folder / f"{self.count}-{name}"

    def add(self, part):
        self.parts.append(part)
        return part

    def registry(self, **how):
        return self.add(Registry(self.place("registry"), **how)).start()

    def faulty(self, **how):
        return self.add(Faulty(**how)).start()

    def tap(self, port):
        return self.add(Tap(port)).start()

    def central(self, *pairs, settings=None, build=None, start=True, env=None, **upstream):
        """A central whose upstreams are pairs of a name and a URL."""
        given = {"upstreams": upstreams(*pairs, **upstream), **(settings or {})}
        node = self.add(Central(self.place("central"), given, build, env))
        return node.start() if start else node

    def edge(self, central, settings=None, build=None, start=True, env=None, joins=False):
        """central: a port."""
        node = self.add(Edge(self.place("edge"), central, settings, build, env, joins))
        return node.start() if start else node

    def chain(self, *pairs, central=None, edge=None, build=None, tap=False, env=None, joins=False, **upstream):
        """central and edge, with a tap between them if asked for; joins: the edge is one of the fleet."""
        core = self.central(*pairs, settings=central, build=build, env=env, **upstream)
        link = self.tap(core.fleet) if tap else None
        branch = self.edge(link.port if link else core.fleet, settings=edge, build=build, env=env, joins=joins)
        # Names of upstreams come from central: until they have, a bare edge knows only the built-in ones.
        names = {name for name, _ in pairs}
        wait_until(lambda: names <= {u["name"] for u in branch.json("status")["upstreams"]}, "the edge has heard of central")
        return SimpleNamespace(central=core, edge=branch, tap=link)

    def docker(self, **how):
        return self.add(clients.Docker(self.place("docker"), **how)).start()

    def containerd(self, **how):
        return self.add(clients.Containerd(self.place("containerd"), **how)).start()

    def podman(self, *args, **how):
        return self.add(clients.Podman(self.place("podman"), *args, **how))

    def end(self):
        errors = []
        for part in reversed(self.parts):
            try:
                part.stop()
            except Exception as e:  # all the others must end too
                errors.append(e)
        shutil.rmtree(self.folder, ignore_errors=True)
        if errors:
            raise errors[0]

    def story(self):
        """The ends of all logs, for a failure's report."""
        nodes = [p for p in self.parts if hasattr(p, "process") and p.process]
        return "\n".join(f"--- {type(p).__name__}: {p.process.log}\n{p.process.tail(25)}" for p in nodes)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for name in ("bench", "shared_bench"):
            bench = item.funcargs.get(name) if hasattr(item, "funcargs") else None
            if bench:
                report.sections.append((f"logs of {name}", bench.story()))


@pytest.fixture
def bench():
    b = Bench()
    yield b
    b.end()


@pytest.fixture(scope="module", autouse=True)
def files_of_etc(tmp_path_factory):
    """What the tests of a file put into /etc, those of the next do not find."""
    with isolation.etc_left_as_it_is(tmp_path_factory.mktemp("etc")):
        yield


@pytest.fixture(scope="module", autouse=True)
def build_of_file(request):
    Build.choose(request.node.get_closest_marker("sanitized"))


@pytest.fixture(scope="module")
def shared_bench():
    """For parts that all tests of a file use."""
    b = Bench()
    yield b
    b.end()
