"""Clients of five branches pull by one name: each from its own edge, and from the next one while that is gone."""

import json
import threading
import time
from types import SimpleNamespace

import pytest

from lab import clients, images
from lab.base import REPO, free_port, run, wait_until
from lab.branches import Place, datacenter
from lab.fleet import ADDRESS, Branch, central_of, invite

ZONE = "img.acme.example"
NAME = f"registry.{ZONE}"
BRANCHES = range(1, 6)
BORNE_S = 6
IMAGE = images.small("branches", size=300_000)


def unbound(world, place):
    config = place.folder / "unbound.conf"
    lines = world.central.command("client-config", "dns", "unbound").stdout
    config.write_text(f"""
server:
  interface: {place.address}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{place.folder}"
  pidfile: ""
  use-syslog: no
  access-control: 198.18.0.0/15 allow
remote-control:
  control-enable: no
{lines}""")
    return ["unbound", "-c", config]


def dnsmasq(world, place):
    config = place.folder / "dnsmasq.conf"
    lines = world.central.command("client-config", "dns", "dnsmasq").stdout
    config.write_text(f"listen-address={place.address}\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\n{lines}")
    return ["dnsmasq", "--keep-in-foreground", f"--conf-file={config}", "--pid-file", "--log-facility=-"]


def resolved(world, place):
    """systemd-resolved as its package has it, with files of its own and without a bus. It answers programs of this machine at 127.0.0.53, and
    here the branch, too."""
    program = REPO / "build/unpacked/systemd-resolved/lib/systemd/systemd-resolved"
    assert program.exists(), f"{program} is missing; `make test-deps` brings it"
    etc = place.folder / "etc"
    (etc / "resolved.conf.d").mkdir(parents=True)
    (etc / "resolved.conf").write_text(f"[Resolve]\nDNSStubListener=no\nDNSStubListenerExtra={place.address}\nLLMNR=no\nMulticastDNS=no\n")
    (etc / "resolved.conf.d/entrepot.conf").write_text(world.central.command("client-config", "dns", "systemd-resolved").stdout)
    user = "systemd-resolve:x:991:991::/:/usr/sbin/nologin"
    script = f"""
mount -t tmpfs tmpfs /run
mkdir /run/systemd
mount --bind {etc} /etc/systemd
cp /etc/passwd /etc/group {place.folder}
getent passwd systemd-resolve >/dev/null || {{ echo {user} >>{place.folder}/passwd; echo systemd-resolve:x:991: >>{place.folder}/group; }}
mount --bind {place.folder}/passwd /etc/passwd
mount --bind {place.folder}/group /etc/group
exec {program}"""
    return ["sh", "-ec", script]


class Site:
    """A branch with its edge and its resolver."""

    def __init__(self, world, number):
        self.world = world
        self.place = world.bench.add(Place(number, world.bench.place("network")))
        self.edge = world.bench.add(Branch(world.bench.place("branch"), {
            "address": self.place.edge_address, "registry.listen": f"{self.place.edge_address}:{world.port}",
        }))
        with self.place.edge.inside():
            self.edge.join(invite(world.central, "--site", f"s{number}"))
            self.edge.spawn()

    def named(self):
        return self.place.addresses(NAME) == [self.place.edge_address]

    def served(self):
        """How many manifests its edge has sent."""
        return sum(e["status"] == "200" for e in self.edge.access("/manifests/"))

    def reports(self):
        with self.place.edge.inside():
            return self.edge.json("status")["reports"]

    def image(self):
        return f"{NAME}:{self.world.port}/library/app:v1"


@pytest.fixture(scope="module")
def world(shared_bench):
    with datacenter():
        w = SimpleNamespace(bench=shared_bench, port=free_port())
        upstream = shared_bench.registry()
        upstream.put("library/app", IMAGE, "v1")
        sites = [{"name": f"s{n}", "networks": [f"198.18.{n}.0/24"], "neighbours": [f"s{n % 5 + 1}"]} for n in BRANCHES]
        w.central = central_of(shared_bench, upstream, **{
            "registry.port": w.port, "sites": json.dumps(sites), "dns.zone": ZONE, "dns.listen": f"{ADDRESS}:53", "dns.central": f"[{ADDRESS}]",
            "dns.ttl": "2s",
        })
        w.sites = {n: Site(w, n) for n in BRANCHES}
        for n, resolver in enumerate((unbound, dnsmasq, resolved, resolved, dnsmasq), 1):
            place = w.sites[n].place
            place.resolve(resolver(w, place), NAME)
        for n, site in w.sites.items():
            wait_until(site.named, f"the edge of branch {n} is named to its clients")
        yield w
        shared_bench.end()


def docker(site, folder):
    host = f"{NAME}:{site.world.port}"
    engine = clients.Docker(folder, mirror=f"http://{host}", config={"insecure-registries": [host]})
    site.place.moved(engine.process)
    engine.start()
    try:
        engine.pull("app:v1")
        engine.matches("app:v1", IMAGE)
    finally:
        engine.stop()


def containerd(site, folder):
    engine = clients.Containerd(folder)
    site.place.moved(engine.process)
    engine.hosts("docker.io", f"http://{NAME}:{site.world.port}")
    engine.start()
    try:
        # ctr resolves names itself.
        words = ["images", "pull", "--hosts-dir", engine.hosts_dir, "--snapshotter", "native"]
        site.place.run("ctr", "-a", engine.socket, *words, "docker.io/library/app:v1")
        engine.matches(IMAGE)
    finally:
        engine.stop()


def podman(site, folder):
    engine = clients.Podman(folder, {"docker.io": f"{NAME}:{site.world.port}"})
    own = ["--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs"]
    site.place.run("env", f"CONTAINERS_REGISTRIES_CONF={engine.conf}", "podman", *own, "pull", "-q", "docker.io/library/app:v1")
    engine.matches("docker.io/library/app:v1", IMAGE)
    engine.stop()


def skopeo(site, folder):
    site.place.run("skopeo", "copy", "--src-tls-verify=false", f"docker://{site.image()}", f"dir:{folder}")
    held = {f.name for f in folder.iterdir()}
    assert {d.split(":")[1] for d in IMAGE.blobs()} <= held, held


@pytest.mark.parametrize("number,pull", [(1, docker), (2, podman), (3, containerd), (4, skopeo), (5, docker)])
def test_a_client_pulls_by_the_name_from_the_edge_of_its_branch(world, number, pull):
    before = {n: site.served() for n, site in world.sites.items()}
    pull(world.sites[number], world.bench.place("client"))
    after = wait_until(lambda: (now := {n: s.served() for n, s in world.sites.items()}) != before and now, "an edge has served it")
    assert [n for n in BRANCHES if after[n] != before[n]] == [number]


def test_doctor_on_an_edge_judges_systemd_resolved(world):
    """It tells no client subnet, and keeps to the time that answers have."""
    site = world.sites[3]
    with site.place.edge.inside():
        done = run(site.edge.asks, "doctor", "--resolver", f"{site.place.address}:53", *site.edge.arguments(), "--json", check=False, timeout=60)
    found = {c["check"]: c for c in json.loads(done.stdout)["checks"]}["resolver"]
    assert found["result"] == "ok" and f"names an edge of this site ({site.place.edge_address})" in found["message"], found
    assert f"sees it as {site.place.address}, without client subnet" in found["message"] and "expired" not in found["message"], found


class WithSkopeo:
    """It tries a pull again itself; podman, too, and docker a layer."""

    def __init__(self, site, folder):
        self.site, self.folder = site, folder
        self.number = 0

    def pull(self, *limit):
        self.number += 1
        words = ["--retry-times", 5, "--src-tls-verify=false", f"docker://{self.site.image()}", f"dir:{self.folder}-{self.number}"]
        return self.site.place.run(*limit, "skopeo", "copy", *words, check=False)

    def stop(self):
        pass


class WithDocker:
    def __init__(self, site, folder):
        self.image = site.image()
        self.engine = clients.Docker(folder, config={"insecure-registries": [self.image.split("/")[0]]})
        site.place.moved(self.engine.process)
        self.engine.start()

    def pull(self, *limit):
        self.engine("image", "rm", "--force", self.image, check=False)
        return run(*limit, "/usr/bin/docker", "-H", self.engine.socket, "pull", self.image, check=False)

    def stop(self):
        self.engine.stop()


class WithPodman:
    def __init__(self, site, folder):
        self.site, self.image = site, site.image()
        self.engine = clients.Podman(folder, text=f'[[registry]]\nlocation = "{self.image.split("/")[0]}"\ninsecure = true\n')

    def pull(self, *limit):
        own = ["podman", "--root", self.engine.folder / "root", "--runroot", self.engine.folder / "run", "--storage-driver", "vfs"]
        self.engine("rmi", "--force", self.image, check=False)
        return self.site.place.run(*limit, "env", f"CONTAINERS_REGISTRIES_CONF={self.engine.conf}", *own, "pull", "-q", self.image, check=False)

    def stop(self):
        self.engine.stop()


class Load:
    """Clients of one branch that pull over and over. One that failed is tried again after a second, as by whoever starts containers: docker does
    so itself for layers only, none does once a byte of a body has come, and all wait half a minute for an edge that is silent."""

    LIMIT, GIVE_UP_S = ("timeout", 15), 120

    def __init__(self, site, folder):
        kinds = (WithSkopeo, WithDocker, WithPodman)
        self.clients = [kind(site, folder / kind.__name__) for kind in kinds]
        self.failed, self.done, self.over = [], [0] * len(kinds), threading.Event()
        self.threads = [threading.Thread(target=self.pull, args=(i,)) for i in range(len(kinds))]

    def pull(self, i):
        said = []

        def succeeds():
            got = self.clients[i].pull(*self.LIMIT)
            said.append(got.stderr)
            return got.returncode == 0

        while not self.over.is_set():
            said.clear()
            try:
                wait_until(succeeds, "the image is there", self.GIVE_UP_S, 1)
            except AssertionError:
                self.failed.append(list(said))
            self.done[i] += 1

    def __enter__(self):
        for t in self.threads:
            t.start()
        self.more(1)
        return self

    def more(self, count):
        """Until so many more pulls of each client are over."""
        least = [n + count for n in self.done]
        wait_until(lambda: all(n >= m for n, m in zip(self.done, least)), lambda: f"pulls go on: {self.done}, {least}", 180)

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join()
        for client in self.clients:
            client.stop()


def kill(site):
    site.edge.kill()


def start_again(site):
    with site.place.edge.inside():
        site.edge.spawn()


def cut_off(site):
    site.place.cut_edge_off()


def reach_again(site):
    site.place.reach_edge()


@pytest.mark.parametrize("number,lose,give_back", [(1, kill, start_again), (4, cut_off, reach_again)], ids=["refused", "silent"])
def test_pulls_go_to_the_next_edge_while_their_own_is_gone_and_come_back(world, number, lose, give_back):
    site, neighbour = world.sites[number], world.sites[number % 5 + 1]
    with Load(site, world.bench.place("load")) as load:
        before = neighbour.served()
        lose(site)
        wait_until(lambda: neighbour.served() > before, "the next edge serves the branch", 120)
        assert site.place.addresses(NAME) == [neighbour.place.edge_address]
        load.more(2)
        own = site.served()
        give_back(site)
        wait_until(site.named, "its own edge is named again")
        wait_until(lambda: site.served() > own, "and serves it again", 120)
        load.more(2)
        assert site.named()
    assert not load.failed, load.failed
    states = [e["state"] for e in world.central.log() if e.get("event") == "dns_edge" and e["site"] == f"s{number}"]
    assert states.count("good") == 2, states  # at its first start, and now: it has not come and gone meanwhile


def test_no_answer_is_wrong_while_central_starts_again(world):
    """There may be none for a moment, also if central was away until edges try again every few seconds only."""
    answers, over = {n: [] for n in BRANCHES}, threading.Event()

    def ask(n):
        while not over.is_set():
            answers[n].append((time.monotonic(), world.sites[n].place.addresses(NAME)))

    def report_on(key, more):
        """Until that has become so much more at each edge."""
        least = {n: site.reports()[key] + more for n, site in world.sites.items()}
        wait_until(lambda: all(site.reports()[key] >= least[n] for n, site in world.sites.items()), f"{key} at each edge", 120)

    threads = [threading.Thread(target=ask, args=(n,)) for n in BRANCHES]
    for t in threads:
        t.start()
    world.central.stop()
    report_on("failed", 3)
    began = time.monotonic()
    world.central.start()
    report_on("sent", 2)
    mark = {n: len(answers[n]) for n in BRANCHES}
    wait_until(lambda: all([site.place.edge_address] in [answer for _, answer in answers[n][mark[n] :]] for n, site in world.sites.items()), "all get answers again")
    over.set()
    for t in threads:
        t.join()
    for n, site in world.sites.items():
        # So long an edge is borne that has not yet reported to central since its start; a busy machine may take longer.
        wrong = [answer for when, answer in answers[n] if when < began + BORNE_S and answer not in ([], [site.place.edge_address])]
        assert not wrong, wrong
