"""A fleet at one central: what an idle edge costs it, how soon a change is everywhere, edges that do not read, and all coming back after a
restart. The edges are simulated in one process (tests/sim); no peer does the same. Both share the machine's processors."""

import time

import servers as those
from lab import images
from lab.base import HOST
from lab.sim import Sim
from resident import status_kib

FULL, QUICK = {"idle": 2000, "see": 200, "deaf": 500, "back": 500}, {"idle": 300, "see": 100, "deaf": 50, "back": 100}
# Edges, blobs that each holds, and of how many; a blob changes, and pulls are told, with each so manieth heartbeat.
HOLDING, HOLDING_QUICK, CHURN = (1000, 10000, 100000), (200, 2000, 20000), 10
REF = "acme/app:v1"
ROUNDS = 20
# Of the edges that come back: blobs that each holds, and of how many; as CHURN; how long central is away.
BACK_HOLD, BACK_CHURN, AWAY_S = (1000, 20000), 2, 3


def rows(stage):
    n = QUICK if stage.quick else FULL
    idle_and_changes(stage, n)
    deaf_and_back(stage, n)


class Fleet:
    """A central without upstreams to ask, and a simulator with n identities."""

    def __init__(self, stage, name, n):
        self.folder = stage.folder / name
        self.central = those.central(self.folder / "central", stage.build, f"{HOST}:9", {"hosted": '["acme/**"]'})
        self.sim = Sim(self.folder / "sim", stage.build)
        self.sim.join(self.central, n)
        self.layouts = 0

    def layout(self, image):
        self.layouts += 1
        folder = self.folder / f"layout-{self.layouts}"
        images.write_layout(image, folder, "v1")
        return folder, image.digest

    def change(self, rounds=ROUNDS):
        pair = [self.layout(images.small(f"{self.layouts} {word}")) for word in ("one", "other")]
        return self.sim.change(self.central, REF, *(pair[i % 2] for i in range(rounds)))

    def cpu(self):
        with open(f"/proc/{self.central.process.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / those.TICK

    def resident(self):
        return status_kib(self.central.process.pid, "VmRSS")

    def stop(self):
        self.sim.stop()
        self.central.stop()


def seen(row, told):
    row.add("entrepot", told["seen"]["p99"])
    row.note = (
        f"from the request to load until each edge would answer by it: p50 {told['seen']['p50']:.1f} ms, most {told['seen']['max']:.1f} ms; "
        f"the load itself (with its syncs) {told['loaded']['p50']:.1f} ms"
    )


def idle_and_changes(stage, n):
    sight = stage.row(f"a change at central is seen by {n['see']} edges: p99", "ms", "less", ("<=", 100))
    each = stage.row(f"{n['idle']} idle edges with a heartbeat each: memory of central for an edge", "KiB", "less", ("<=", 64))
    busy = stage.row(f"{n['idle']} idle edges, a heartbeat a second each: of a processor at central", "%", "less", ("<=", 10))
    stage.say(f"fleet of {n['idle']}")
    fleet = Fleet(stage, "fleet", n["idle"])
    try:
        before = fleet.resident()
        fleet.sim.ask("connect", n["see"])
        seen(sight, fleet.change())
        stage.say("  a change is measured")
        took = fleet.sim.ask("connect", n["idle"] - n["see"])["took_ms"]
        fleet.sim.ask("rest", 2000)
        quiet_before = fleet.cpu()
        quiet = fleet.sim.ask("rest", 5000)
        quiet_cpu = fleet.cpu() - quiet_before
        watching = (fleet.resident() - before) / n["idle"]
        fleet.sim.ask("beat", 1000)
        fleet.sim.ask("rest", 2000)
        began = fleet.cpu()
        told = fleet.sim.ask("rest", 5000 if stage.quick else 20000)
        assert told["lost"] == quiet["lost"] == told["beats_failed"] == 0, told
        busy.add("entrepot", 100 * (fleet.cpu() - began) / (told["took_ms"] / 1000))
        busy.note = f"{told['beats'] / told['took_ms'] * 1000:.0f} heartbeats/s; without any {100 * quiet_cpu / (quiet['took_ms'] / 1000):.1f} %"
        each.add("entrepot", (fleet.resident() - before) / n["idle"])
        each.note = f"two connections each; {watching:.1f} KiB before the first heartbeat; the last {n['idle'] - n['see']} became equal in {took / 1000:.1f} s"
    finally:
        fleet.stop()


def holdings_and_pulls(stage):
    edges, held, blobs = HOLDING_QUICK if stage.quick else HOLDING
    told_us = stage.row(f"{edges} edges tell {held:,} of {blobs:,} blobs each: processor time of central for a blob", "us", "less", None)
    each = stage.row(f"{edges} edges that hold {held:,} blobs each: memory of central for it, an edge", "KiB", "less", None)
    busy = stage.row(f"{edges} edges, a heartbeat a second, a blob and pulls in each {CHURN}th: of a processor at central", "%", "less", ("<=", 10))
    stage.say(f"fleet of {edges} that hold {held:,} blobs each")
    fleet = Fleet(stage, "holdings", edges)
    try:
        fleet.sim.ask("connect", edges)
        fleet.sim.ask("beat", 1000)
        alone = share(fleet, stage)
        before, began = fleet.resident(), fleet.cpu()
        told = fleet.sim.ask("hold", held, blobs)
        spent = fleet.cpu() - began - alone / 100 * told["took_ms"] / 1000
        assert told["held_told"] == edges * held and told["held_differ"] == told["beats_failed"] == 0, told
        told_us.add("entrepot", spent * 1e6 / told["held_told"])
        told_us.note = f"{told['took_ms'] / 1000:.1f} s in all, as fast as edges send"
        each.add("entrepot", (fleet.resident() - before) / edges)
        alone_kib = fleet.central.metric("entrepot_holdings_bytes") / edges / 1024
        each.note = f"after all have told at once; {alone_kib:.1f} KiB are the bitmaps and, once for all, the digests"
        fleet.sim.ask("churn", CHURN)
        busy.add("entrepot", share(fleet, stage))
        busy.note = f"{alone:.1f} % with heartbeats alone"
    finally:
        fleet.stop()


def share(fleet, stage):
    """Of a processor, in percent, that central takes."""
    fleet.sim.ask("rest", 2000)
    began = fleet.cpu()
    told = fleet.sim.ask("rest", 5000 if stage.quick else 20000)
    assert told["lost"] == told["beats_failed"] == told["held_differ"] == 0, told
    return 100 * (fleet.cpu() - began) / (told["took_ms"] / 1000)


def deaf_and_back(stage, n):
    beside = stage.row(f"a change beside {n['deaf']} edges that stopped reading: p99", "ms", "less", ("<=", 100))
    queue = stage.row(f"{n['deaf']} edges that stopped reading: memory of central for each, at most", "KiB", "less", ("<=", 1024))
    back = Back(stage, n["back"])
    stage.say(f"fleet with {n['deaf']} that do not read")
    fleet = Fleet(stage, "deaf", n["back"] + n["deaf"])
    try:
        fleet.sim.ask("connect", n["back"] // 10)
        fleet.change(2)
        fleet.sim.ask("deaf", n["deaf"])
        before = most = fleet.resident()
        sights = []
        for i in range(400):
            if fleet.central.metric("entrepot_watches_cut_total") == n["deaf"]:
                break
            told = fleet.sim.change(fleet.central, f"acme/long:v{i}", fleet.layout(long_image(i)))
            assert told["lost"] == 0, told
            sights.append(told["seen"]["p99"])
            most = max(most, fleet.resident())
        beside.add("entrepot", max(sights))
        beside.note = f"the slowest of {len(sights)} changes of 70 KB each, until all that do not read were cut"
        queue.add("entrepot", (most - before) / n["deaf"])
        heard = fleet.sim.ask("hear")
        queue.note = f"then they read on: {heard['gone']} of {heard['heard']} were told `gone`, after {heard['bytes']['p50'] / 1024:.0f} KiB"
        back.measure(stage, fleet, n["back"])
    finally:
        fleet.stop()


def long_image(n):
    """Its record in the catalogue has about 70 KB."""
    layer = images.Bytes(b"elsewhere", "application/vnd.oci.image.layer.nondistributable.v1.tar")
    return images.Image([layer] * 1900, env=[f"N={n}"])


class Back:
    """All edges come back once central runs again, with what they and their clients did meanwhile."""

    def __init__(self, stage, n):
        what = f"{n} edges come back after a restart"
        self.late = stage.row(f"{what}: p99 of lookups meanwhile", "ms", "less", None)
        self.cost = stage.row(f"{what}: processor time of central", "s", "less", None)
        self.most = stage.row(f"{what}: memory of central at most", "MiB", "less", None)
        self.pulls = stage.row(f"{what}: pulls of before, meanwhile and after that central counts, of those told", "times", "less", ("<=", 1))

    def measure(self, stage, fleet, n):
        stage.say(f"{n} edges come back")
        fleet.sim.ask("connect", n - n // 10)
        fleet.sim.ask("beat", 1000)
        fleet.sim.ask("hold", *BACK_HOLD)
        fleet.sim.ask("churn", BACK_CHURN)
        fleet.sim.ask("lookups", 200)
        fleet.sim.ask("rest", 2000)
        usual = fleet.sim.ask("rest", 5000)["lookups"]
        before = fleet.resident() / 1024
        fleet.sim.tell("back")
        fleet.central.stop()
        time.sleep(AWAY_S)
        fleet.central.start()
        told = fleet.sim.answer()
        back, busiest = told["back_at"], max(told["back_by_100ms"])
        self.late.add("entrepot", told["lookups"]["p99"])
        self.late.note = f"at rest {usual['p99']:.1f} ms; {told['lookups_failed']} of {told['lookups']['n'] + told['lookups_failed']} failed"
        self.cost.add("entrepot", fleet.cpu())
        self.cost.note = (
            f"its start included; equal again {(back['p50'] - back['min']) / 1000:.2f} s (half), {(back['max'] - back['min']) / 1000:.2f} s (all) after the "
            f"first; at most {busiest} in 100 ms"
        )
        fleet.sim.ask("churn", 0)
        told = fleet.sim.ask("hold", *BACK_HOLD)
        assert told["held_differ"] == 0, told
        self.most.add("entrepot", status_kib(fleet.central.process.pid, "VmHWM") / 1024)
        self.most.note = f"until all has been told that was not while it was away for {AWAY_S} s; {before:.0f} MiB before it ended"
        counted = fleet.central.json("status")["pull_counts"]["total"]
        assert counted == told["pulls_in_all"], (counted, told)
        self.pulls.add("entrepot", counted / told["pulls_in_all"])
        self.pulls.note = f"{counted:,} pulls: each once"
