"""kill -9 at any moment: both daemons start again, serve no wrong byte, keep what was committed, and go on where they were.

The moments come from a seed that is printed; ENTREPOT_SEED repeats a run."""

import os
import random
import threading

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.clients import file_digest
from lab.faulty import Fault

pytestmark = pytest.mark.sanitized

SIZE = 12 * MiB
ROUNDS = 20
RATE = 40 * MiB  # a pull takes about 0.3 s, so that most kills fall into one


@pytest.fixture
def chance():
    seed = int(os.environ.get("ENTREPOT_SEED") or random.SystemRandom().randrange(10**9))
    print(f"ENTREPOT_SEED={seed}")
    return random.Random(seed)


def chain_of(bench, **settings):
    up = bench.faulty()
    up.always("/blobs/", Fault(rate=RATE), "GET")
    made = bench.chain(("docker.io", up.url), tap=True, **settings)
    made.upstream = up
    return made


def offer(chain, seed):
    blob = images.noise_blob(SIZE, seed)
    name = f"library/crash-{seed}".replace(" ", "-")
    chain.upstream.put(name, images.single_blob(blob), "v1")
    return name, blob


def held_files(node):
    return [f for f in (node.data / "blobs").rglob("*") if f.is_file()]


def all_true(node):
    """What lies in blobs/ is what its name says."""
    for file in held_files(node):
        assert file_digest(file) == f"sha256:{file.name}", f"{file} is wrong after a kill"


def get(chain, name, blob):
    return raw.Download(chain.edge.port, name, blob.digest, blob.data).start()


def get_right(chain, name, blob):
    """Until the pull succeeds: right after a start the edge may not have found central again yet."""

    def tried():
        if raw.manifest(chain.edge.port, name, "v1").status != 200:
            return False
        down = get(chain, name, blob).join(60)
        assert down.right, down
        return down.good

    wait_until(tried, "the pull after the restart", 60, 0.1)


def round_of(chain, victim, chance, number):
    """One pull, killed somewhere; then the same pull to its end."""
    name, blob = offer(chain, f"{victim.kind} {number}")
    # The round before may have ended from the edge's own disk, with central not found again yet.
    wait_until(lambda: raw.manifest(chain.edge.port, name, "v1").status == 200, "the manifest", 60, 0.05)
    down = get(chain, name, blob)
    threading.Event().wait(chance.uniform(0, 0.5))  # the random moment itself
    committed = {f.name for f in held_files(victim)}
    victim.kill()
    all_true(victim)
    victim.start()
    down.join(90)
    assert down.right, f"a wrong byte at {down.got}"
    get_right(chain, name, blob)
    return committed


@pytest.mark.parametrize("kind", ["edge", "central"])
def test_a_node_killed_at_twenty_random_moments_loses_nothing_committed(bench, chance, kind):
    chain = chain_of(bench)
    victim = getattr(chain, kind)
    for number in range(ROUNDS // 2):
        committed = round_of(chain, victim, chance, number)
        assert committed <= {f.name for f in held_files(victim)}, "a committed blob is gone"
    # Everything from all rounds is served. An edge has all of it on its own disk; central may have sent an edge only the end it
    # lacked, and then goes on by range.
    sent = len(chain.upstream.requests("/blobs/", "GET"))
    for number in range(ROUNDS // 2):
        blob = images.noise_blob(SIZE, f"{kind} {number}")
        reply = raw.Download(victim.port, f"library/crash-{kind}-{number}", blob.digest, blob.data).start().join(60)
        assert reply.good, reply
    again = chain.upstream.requests("/blobs/", "GET")[sent:]
    assert all(kind == "central" and a.range and a.range[0] > 0 for a in again), [a.range for a in again]


@pytest.mark.parametrize("kind", ["edge", "central"])
def test_a_node_killed_while_it_evicts_serves_no_wrong_byte(bench, chance, kind):
    chain = chain_of(bench, **{kind: {"store.limit": "40MiB"}})
    victim = getattr(chain, kind)
    for number in range(ROUNDS // 2):
        round_of(chain, victim, chance, number)
    all_true(victim)
    wait_until(lambda: victim.metric("entrepot_held_bytes") <= 40 * MiB, "the limit is kept")


def stalled_at(chain, node, seed, at=9 * MiB):
    """A pull that stands still with `at` bytes in the node's part file."""
    name, blob = offer(chain, seed)
    chain.upstream.clear()
    chain.upstream.on(f"/blobs/{blob.digest}", Fault(stall_after=at))
    assert raw.manifest(chain.edge.port, name, "v1").status == 200
    down = get(chain, name, blob)
    part = node.part_file(blob.digest)
    wait_until(lambda: part.exists() and part.stat().st_size >= 8 * MiB, lambda: f"8 MiB in {part}", 60, 0.005)
    return name, blob, down


def test_central_goes_on_by_range_after_a_kill(bench):
    chain = chain_of(bench)
    name, blob, down = stalled_at(chain, chain.central, "resume central")
    chain.central.kill()
    down.join(90)
    chain.central.start()
    get_right(chain, name, blob)
    asked = chain.upstream.requests(f"/blobs/{blob.digest}", "GET")
    assert asked[-1].range and asked[-1].range[0] >= 4 * MiB, [a.range for a in asked]
    assert chain.central.metric("entrepot_resumed_bytes_total") >= 4 * MiB


def test_an_edge_goes_on_by_range_after_a_kill(bench):
    chain = chain_of(bench)
    name, blob, down = stalled_at(chain, chain.edge, "resume edge")
    chain.edge.kill()
    down.join(90)
    chain.upstream.release()
    chain.tap.reset()
    chain.edge.start()
    get_right(chain, name, blob)
    assert b"bytes=" in chain.tap.heads, chain.tap.heads[-2000:]
    assert chain.tap.down < SIZE - 4 * MiB + MiB, "what was kept did not cross the link again"
    assert chain.edge.metric("entrepot_resumed_bytes_total") >= 4 * MiB


def test_both_killed_at_once_go_on(bench):
    chain = chain_of(bench)
    name, blob, down = stalled_at(chain, chain.edge, "resume both")
    chain.edge.kill()
    chain.central.kill()
    down.join(90)
    chain.upstream.release()
    chain.central.start()
    chain.edge.start()
    get_right(chain, name, blob)
    assert chain.upstream.requests(f"/blobs/{blob.digest}", "GET")[-1].range is not None
