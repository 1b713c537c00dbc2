"""Central is stopped or killed and started again while clients that try nothing twice pull through the edge what it does not hold. None
of them fails; they wait."""

import threading
import time

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.faulty import Fault

ROUNDS = 3
TRIES = 10  # of a round, on a machine so busy that central takes too long
WAITS_S = 4  # an edge waits for central a little longer, then its pulls fail as they should
CLIENTS = 8  # of each sort, in a round


class Crowd:
    """Threads that each do one thing; join tells what went wrong."""

    def __init__(self):
        self.threads, self.wrong = [], []

    def add(self, job, *args):
        def run():
            try:
                job(*args)
            except Exception as e:
                self.wrong.append((job.__name__, args, e))

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()
        return self.threads[-1]

    def end(self):
        for t in self.threads:
            t.join(60)
        assert not any(t.is_alive() for t in self.threads)

    def join(self):
        self.end()
        assert not self.wrong, "\n".join(f"{job} {args[1]}: {why}" for job, args, why in self.wrong)


def in_time(one_round):
    """Runs it until central was away for no longer than an edge waits. one_round(nth) returns when it went, and its crowd."""
    for nth in range(TRIES):
        began, crowd = one_round(nth)
        away = time.monotonic() - began
        if away < WAITS_S:
            crowd.join()
            return
        crowd.end()
    raise AssertionError(f"central was away for {away:.1f} s each time: this machine is too busy for this test")


@pytest.fixture
def chain(bench):
    up = bench.faulty()
    up.always("/blobs/", Fault(rate=20 * MiB), "GET")
    up.put("library/held", images.small("held"), "v1")
    made = bench.chain(("docker.io", up.url), fresh_for="1s")
    made.upstream = up
    raw.pull(made.edge.port, "library/held", "v1")
    return made


def offer(chain, seed, size=4096):
    """A cold image of its own."""
    name = f"library/cold-{seed}"
    blob = images.noise_blob(size, seed)
    chain.upstream.put(name, images.single_blob(blob), "v1")
    return name, blob


def knows_that_it_is_away(chain):
    wait_until(lambda: chain.edge.metric("entrepot_central_reachable") == 0, "the edge knows that central is away", poll_s=0.005)


def has_looked(chain, times):
    """So often in vain since central went away: that spends the time without sleeping."""
    failures = lambda: chain.edge.json("status")["central"]["failures"]
    before = failures()
    wait_until(lambda: failures() >= before + times, "the edge looks for central")


def pull_all(chain, name):
    raw.pull(chain.edge.port, name, "v1")


def pull_by_digest(chain, name, blob):
    """As a client does whose manifest names digests: nothing asks for the tag."""
    for reply in (raw.manifest(chain.edge.port, name, images.single_blob(blob).digest), raw.blob(chain.edge.port, name, blob.digest)):
        assert reply.status == 200 and reply.whole, reply


def head(chain, name, blob):
    for reply in (raw.manifest(chain.edge.port, name, "v1", "HEAD"), raw.blob(chain.edge.port, name, blob.digest, "HEAD")):
        assert reply.status == 200, reply


def list_tags(chain, name):
    reply = raw.ask(chain.edge.port, f"/v2/{name}/tags/list")
    assert reply.status == 200 and reply.json()["tags"] == ["v1"], reply


def send(crowd, chain, seed, size):
    """Every sort of request, for cold content; returns when all have been started."""
    for i in range(CLIENTS):
        crowd.add(pull_all, chain, offer(chain, f"{seed}-all-{i}", size)[0])
        crowd.add(pull_by_digest, chain, *offer(chain, f"{seed}-digest-{i}", size))
        crowd.add(head, chain, *offer(chain, f"{seed}-head-{i}"))
        crowd.add(list_tags, chain, offer(chain, f"{seed}-tags-{i}")[0])


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_no_pull_fails_because_central_restarts(chain, how):
    def one_round(nth):
        crowd, seed = Crowd(), f"{how}-{n}-{nth}"
        send(crowd, chain, f"{seed}-before", 6 * MiB)
        wait_until(lambda: chain.upstream.requests(f"{seed}-before"), "a pull is under way")
        began = time.monotonic()
        getattr(chain.central, how)()
        send(crowd, chain, f"{seed}-while", 64 * 1024)
        knows_that_it_is_away(chain)
        chain.central.start()
        return began, crowd

    for n in range(ROUNDS):
        in_time(one_round)


def test_pulls_wait_for_central_for_some_seconds(chain):
    def one_round(nth):
        crowd, began = Crowd(), time.monotonic()
        chain.central.kill()
        send(crowd, chain, f"while-{nth}", 64 * 1024)
        knows_that_it_is_away(chain)
        has_looked(chain, 6)
        chain.central.start()
        return began, crowd

    in_time(one_round)


def test_a_known_tag_is_answered_at_once_while_a_cold_pull_waits(chain):
    chain.central.kill()
    marked = lambda: "warning" in raw.manifest(chain.edge.port, "library/held", "v1").headers
    wait_until(marked, "the tag is stale", poll_s=0.05)
    crowd = Crowd()
    cold = crowd.add(pull_all, chain, offer(chain, "cold")[0])
    for _ in range(5):
        assert marked()
        raw.pull(chain.edge.port, "library/held", "v1")
        assert cold.is_alive(), "the cold pull was answered without central"
    chain.central.start()
    crowd.join()


def test_a_miss_is_refused_with_the_cause_when_central_does_not_come_back(chain):
    chain.central.kill()
    name, blob = offer(chain, "cold")
    reply = raw.manifest(chain.edge.port, name, "v1")
    assert reply.status == 502 and "central" in reply.message and "cannot be reached" in reply.message, reply
    missing = raw.blob(chain.edge.port, name, blob.digest)
    assert missing.status == 502, missing
    chain.central.start()
    wait_until(lambda: raw.manifest(chain.edge.port, name, "v1").status == 200, "a cold pull works again")
