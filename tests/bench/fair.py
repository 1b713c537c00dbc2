"""An ordinary pull of one client beside another client that asks for a lot: p99 against the same pull alone."""

import hashlib
import json
import multiprocessing
import os
import threading
import time
from contextlib import contextmanager

from lab.raw import Wire

import servers as those
from content import NAME
from rounds import MiB, hold, release

GREEDY, ORDINARY = "127.0.0.2", "127.0.0.3"
SLOW, MANY = "library/slow", "library/many"
SLOW_BLOBS, SLOW_READERS, TAGS, LARGE = 60, 200, 100_000, 4 * MiB
LIMIT = ("<=", 3.0)


class SlowedUpstream(those.Nginx):
    """As the upstream of the other rows; blobs of the repository SLOW come at 8 KiB/s."""

    name = "upstream"

    def __init__(self, folder, content):
        slow = f"location ~ ^/v2/{SLOW}/blobs/ {{ root {content.root}; limit_rate 8k; }}\n"
        lists = f"location ~ ^/v2/{MANY}/tags/list$ {{ root {content.root}; default_type application/json; }}\n"
        super().__init__(folder, slow + lists + those.files_of(content.root), those.digest_map(content))


class Pulls:
    """What the ordinary client pulls: one image that is held, and for each cold pull one that nobody has asked for."""

    def __init__(self, content, cold, sets):
        self.held = self.image(content, "held")
        self.sets = [[self.image(content, f"cold-{s}-{i}") for i in range(cold)] for s in range(sets)]

    @staticmethod
    def image(content, tag):
        blob = content.blob(16 * 1024)
        return content.image(tag, [blob]), blob

    def measure(self, port, warm):
        """p99 in ms of the held image, and of the next set of cold ones."""
        pull(port, self.held)
        held = [pull(port, self.held) for _ in range(warm)]
        return p99(held), p99([pull(port, image) for image in self.sets.pop()])


def pull(port, image):
    """By a connection of its own: manifest by tag, then the blob. Milliseconds."""
    manifest, blob = image
    began = time.perf_counter()
    with Wire(port, 60, source=ORDINARY) as wire:
        first, second = wire.request("GET", manifest), wire.request("GET", blob.path)
    took = time.perf_counter() - began
    assert first.status == second.status == 200, (first, second.status)
    assert "sha256:" + hashlib.sha256(second.body).hexdigest() == blob.digest
    return took * 1e3


def p99(values):
    return sorted(values)[int((len(values) - 1) * 0.99)]


# --- the greedy client ---


def keep_asking(port, targets, connections, asked):
    """targets(connection, n): what a connection asks for next. A refusal is an answer, too."""

    def one(number):
        wire, n = Wire(port, 120, source=GREEDY), 0
        while True:
            try:
                wire.request("GET", targets(number, n))
            except OSError:
                wire = Wire(port, 120, source=GREEDY)
            n += 1
            asked.set()

    os.setpriority(os.PRIO_PROCESS, 0, 0)  # it takes what the others leave
    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(connections)]
    for thread in threads:
        thread.start()
    threads[0].join()


@contextmanager
def asking(port, targets, connections):
    context = multiprocessing.get_context("fork")
    asked = context.Event()
    child = context.Process(target=keep_asking, args=(port, targets, connections, asked), daemon=True)
    child.start()
    try:
        assert asked.wait(120), "the greedy client got no answer"
        yield
        assert child.is_alive(), "the greedy client has ended"
    finally:
        child.kill()
        child.join()


@contextmanager
def slow_blobs(port, paths):
    wires = [Wire(port, 120, source=GREEDY) for _ in paths]
    try:
        for wire, path in zip(wires, paths):
            wire.ask("GET", path)
        yield
    finally:
        for wire in wires:
            wire.close()


@contextmanager
def slow_readers(stage, port, path):
    child = hold(stage, port, path, SLOW_READERS)
    try:
        yield
    finally:
        release(child)


def put_lists(content):
    folder = content.root / "v2" / MANY / "tags"
    folder.mkdir(parents=True)
    (folder / "list").write_text(json.dumps({"name": MANY, "tags": [f"tag-{i:06}" for i in range(TAGS)]}))


def put_slow(content, count):
    """Their paths in a repository of their own."""
    folder = content.root / "v2" / SLOW
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "blobs").exists():
        (folder / "blobs").symlink_to(content.blobs)
    return [f"/v2/{SLOW}/blobs/{content.blob(2 * MiB).digest}" for _ in range(count)]


def put_large(content):
    """A manifest of about 4 MiB, most of it an annotation."""
    path = content.image("large", [content.blob(1024)])
    name, tag, digest = content.tags.pop()
    document = json.loads((content.manifests / tag).read_bytes())
    document["annotations"] = {f"note-{i}": "x" * 4000 for i in range((LARGE - MiB // 8) // 4016)}
    data = json.dumps(document).encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    for ref in (tag, digest):
        (content.manifests / ref).write_bytes(data)
    content.tags.append((name, tag, digest))
    return path


def beside(stage, content):
    """All rows. `content`: of its own, because the upstream must know every tag when it starts."""
    rounds, warm, cold = (1, 150, 60) if stage.quick else (3, 400, 100)
    stage.say("an ordinary pull beside a greedy client")
    names = ("60 slow blobs", "a flood of unknown tags", "200 slow readers", "manifests of 4 MiB", "_catalog and lists of 100,000 tags")
    rows = {
        (name, state): stage.row(f"p99 of a {state} pull beside {name}", "× alone", "less", LIMIT) for name in names for state in ("warm", "cold")
    }
    pulls = Pulls(content, cold, rounds * (len(names) + 1))
    slow = [put_slow(content, SLOW_BLOBS) for _ in range(rounds)]
    large, big = put_large(content), content.blob(100 * MiB)
    put_lists(content)
    up = SlowedUpstream(stage.folder / "fair-upstream", content)
    server = None
    try:
        server = those.Entrepot(stage.folder / "fair", stage.build, f"{those.HOST}:{up.port}")
        port = server.port
        stage.run(port, big.path, "-n", 1)
        for r in range(rounds):
            neighbours = (
                lambda: slow_blobs(port, slow[r]),
                lambda: asking(port, lambda c, n: f"/v2/{NAME}/manifests/no-{r}-{c}-{n}", 32),
                lambda: slow_readers(stage, port, big.path),
                lambda: asking(port, lambda c, n: large, 4),
                lambda: asking(port, lambda c, n: "/v2/_catalog" if c % 2 else f"/v2/{MANY}/tags/list", 4),
            )
            alone = pulls.measure(port, warm)
            for name, neighbour in zip(names, neighbours):
                with neighbour():
                    found = pulls.measure(port, warm)
                for state, own, base in zip(("warm", "cold"), found, alone):
                    row = rows[name, state]
                    row.add("entrepot", own / base)
                    row.note = f"p99 alone {base:.2f} ms, beside them {own:.2f} ms"
    finally:
        if server:
            server.stop()
        up.stop()
