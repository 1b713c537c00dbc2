"""Random changes at central, cuts of the link, kills of either side, and a central put back from an older copy: after each round an edge's replica
says the same digest as central's catalogue. ENTREPOT_ROUNDS is how many (20), ENTREPOT_SEED repeats a run, and ENTREPOT_OLDER names a built tree of an
older commit (make check-older): then each start of either side takes that build or today's, on the folder that the other has left."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from lab import images, raw
from lab.base import wait_until
from lab.nodes import Build, Central, upstreams

pytestmark = pytest.mark.sanitized

ROUNDS = int(os.environ.get("ENTREPOT_ROUNDS") or 20)
OLDER = os.environ.get("ENTREPOT_OLDER")
STEPS = 5
IMAGES = [images.small(f"converge {n}") for n in range(12)]
TAGS = [f"v{n}" for n in range(4)]
HOSTED = [f"acme/app{n}" for n in range(3)]
MIRRORED = [f"library/app{n}" for n in range(3)]


class World:
    def __init__(self, bench, chance):
        self.bench, self.chance = bench, chance
        self.upstream = bench.faulty()
        # Keys that the older build knows, too.
        pairs = [{k: v for k, v in u.items() if k != "revalidate"} for u in json.loads(upstreams(("docker.io", self.upstream.url)))]
        self.central = bench.central(settings={"hosted": '["acme/**"]', "upstreams": json.dumps(pairs)}, start=False)
        self.tap = bench.tap(self.central.fleet)
        Central.by_fleet_port[self.tap.port] = self.central
        self.edge = bench.edge(self.tap.port, start=False, joins=True)
        self.builds = [Build.tested] + ([Path(OLDER) / "build/release"] if OLDER else [])
        self.layouts = {}
        self.copy = None
        self.start(self.central)
        self.start(self.edge)

    def start(self, node):
        build = self.chance.choice(self.builds)
        node.binary = node.asks = build / f"entrepot-{node.kind}"
        print(f"  start {node.kind} of {build}")
        # An edge that has not yet heard of central is not ready: it is cut off from it at times.
        node.start_not_ready()

    # --- what may happen ---

    def load(self):
        image = self.chance.choice(IMAGES)
        if image not in self.layouts:
            self.layouts[image] = self.bench.place("layout")
            images.write_layout(image, self.layouts[image], "v1")
        self.central.command("load", self.layouts[image], f"{self.chance.choice(HOSTED)}:{self.chance.choice(TAGS)}")

    def mirror(self):
        name, tag = self.chance.choice(MIRRORED), self.chance.choice(TAGS)
        self.upstream.put(name, self.chance.choice(IMAGES), tag)
        raw.pull(self.central.port, name, tag)

    def pull(self):
        """Through the edge: the answer may be an error, while it is cut off."""
        raw.manifest(self.edge.port, self.chance.choice(HOSTED + MIRRORED), self.chance.choice(TAGS))

    def prune(self):
        self.central.command("prune", "--all", check=False)

    def cut(self):
        self.tap.cut()

    def mend(self):
        self.tap.mend()

    def kill_central(self):
        self.central.kill()
        self.start(self.central)

    def kill_edge(self):
        self.edge.kill()
        self.start(self.edge)

    def save(self):
        self.central.stop()
        self.copy = self.copy or self.bench.place("copy")
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.central.data, self.copy)
        self.start(self.central)

    def put_back(self):
        if not self.copy:
            return
        self.central.stop()
        shutil.rmtree(self.central.data)
        shutil.copytree(self.copy, self.central.data)
        self.start(self.central)

    def anything(self):
        often = [self.load, self.mirror, self.pull]
        seldom = [self.cut, self.mend, self.kill_central, self.kill_edge, self.save, self.put_back, self.prune]
        what = self.chance.choice(often * 3 + seldom)
        print(" ", what.__name__)
        what()

    # --- and then ---

    def settle(self):
        def said():
            state, place = self.edge.json("status")["replica"], self.central.json("status")["place"]
            return state, place

        def settled():
            state, place = said()
            return state["live"] and state["equal"] and state["number"] == place["number"]

        self.tap.mend()
        wait_until(settled, said, 60)

    def same_answers(self):
        """What the tags name, on both ports."""
        for name in HOSTED:
            for tag in TAGS:
                ours, theirs = (raw.manifest(node.port, name, tag) for node in (self.edge, self.central))
                assert ours.status == theirs.status, (name, tag, ours, theirs)
                assert ours.headers.get("docker-content-digest") == theirs.headers.get("docker-content-digest"), (name, tag)


def test_both_sides_end_equal_whatever_happens(bench):
    seed = int(os.environ.get("ENTREPOT_SEED") or random.SystemRandom().randrange(10**9))
    print(f"ENTREPOT_SEED={seed}")
    world = World(bench, random.Random(seed))
    for number in range(ROUNDS):
        print(f"round {number}")
        for _ in range(STEPS):
            world.anything()
        world.settle()
    world.same_answers()
    assert world.edge.json("status")["replica"]["mismatches"] == 0
    checks = {c["check"]: c for c in world.edge.json("doctor")["checks"]}
    assert checks["replica"]["result"] == "ok", checks["replica"]
