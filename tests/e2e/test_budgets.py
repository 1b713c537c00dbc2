"""Memory that clients or upstreams can fill is bounded by keys of the group memory: what does not fit is refused, and works again later."""

import json
import threading

from lab import images, raw
from lab.base import MiB, wait_until
from lab.faulty import Fault

SUBJECT = "sha256:" + "ab" * 32


def held(node, budget):
    return node.metric("entrepot_memory_used_bytes", budget=budget)


def peak(node, budget):
    return node.metric("entrepot_memory_peak_bytes", budget=budget)


def test_lists_that_clients_do_not_read_stay_within_their_budget(bench):
    up = bench.faulty()
    entry = {"mediaType": images.OCI_MANIFEST, "digest": SUBJECT, "size": 500, "annotations": {"a": "x" * 4000}}
    body = json.dumps({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [entry] * 1550}).encode()
    assert 6 * MiB < len(body) < 7 * MiB  # more than the kernel takes of an answer that nobody reads
    up.always("/referrers/", Fault(status=200, body=body))
    node = bench.central(("docker.io", up.url), settings={"memory.lists": 16 * MiB})
    target = f"/v2/docker.io/library/app/referrers/{SUBJECT}"
    clients = []
    for n in (1, 2):
        clients.append(raw.Wire(node.port, 60, receive_buffer=4096))
        clients[-1].ask("GET", target)
        wait_until(lambda: held(node, "lists") == n * (len(body) + 1), f"{n} lists in memory")
    reply = raw.ask(node.port, target)
    assert reply.status == 503 and reply.headers["retry-after"] == "1" and b"memory.lists" in reply.body, reply
    assert node.metric("entrepot_memory_refused_total", budget="lists") > 0
    assert peak(node, "lists") <= 16 * MiB
    assert "memory.lists" in node.command("status").stdout
    for client in clients:
        client.close()
    wait_until(lambda: held(node, "lists") == 0, "the memory of all lists given back")
    assert raw.ask(node.port, target).body == body


def test_a_list_that_would_take_far_more_memory_than_it_has_bytes_is_not_read(bench):
    up = bench.faulty()
    many = b"{}," * 2700000 + b"{}]}"
    up.always("/referrers/", Fault(status=200, body=b'{"manifests":[' + many))
    up.always("/tags/", Fault(status=200, body=b'{"tags":[' + many))
    node = bench.central(("docker.io", up.url))
    for target in (f"/v2/docker.io/library/app/referrers/{SUBJECT}", "/v2/docker.io/library/app/tags/list"):
        assert raw.ask(node.port, target).status == 502
    assert peak(node, "json") == 0


def test_remembered_lists_are_freed_when_they_expire(bench):
    up = bench.faulty()
    tags = [f"t{i:05}" + "x" * 100 for i in range(10000)]
    up.always("/tags/list", Fault(status=200, body=json.dumps({"name": "x", "tags": tags}).encode()))
    node = bench.central(("docker.io", up.url), settings={"memory.lists": 32 * MiB})
    for i in range(12):
        reply = raw.ask(node.port, f"/v2/docker.io/library/r{i}/tags/list?n=1")
        assert reply.status == 200 and reply.json()["tags"] == tags[:1], reply
    assert peak(node, "lists") <= 32 * MiB
    wait_until(lambda: held(node, "lists") == held(node, "answers") == 0, "nothing remembered any more")


def test_a_list_is_not_refused_for_lists_that_are_only_remembered(bench):
    up = bench.faulty()
    tags = [f"t{i:05}" + "x" * 100 for i in range(20000)]
    body = json.dumps({"name": "x", "tags": tags}).encode()
    up.always("/tags/list", Fault(status=200, body=body))
    node = bench.central(("docker.io", up.url), settings={"memory.lists": 16 * MiB})
    for i in range(12):
        reply = raw.ask(node.port, f"/v2/docker.io/library/r{i}/tags/list?n=1")
        assert reply.status == 200 and reply.json()["tags"] == tags[:1], (reply, held(node, "lists"))
        assert raw.ask(node.port, "/v2/_catalog").status == 200
    assert 14 * MiB < peak(node, "lists") <= 16 * MiB
    assert node.metric("entrepot_memory_refused_total", budget="lists") == 0


def manifest_of_many_layers(seed):
    """A manifest of 370 KiB whose layers nobody has."""
    layers = [
        {"mediaType": images.OCI_LAYER, "digest": images.digest_of(f"{seed}/{i}".encode()), "size": 1000} for i in range(2500)
    ]
    config = {"mediaType": images.OCI_CONFIG, "digest": images.digest_of(b"config"), "size": 10}
    doc = {"schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": config, "layers": layers}
    return images.Bytes(json.dumps(doc, separators=(",", ":")).encode(), images.OCI_MANIFEST)


def test_what_was_evicted_does_not_make_the_catalogue_grow_without_end(bench):
    up = bench.faulty()
    node = bench.central(("docker.io", up.url), settings={"store.limit": 4 * MiB, "catalog.limit": 16 * MiB})
    for i in range(60):
        manifest = up.put_blob("library/app", manifest_of_many_layers(i))
        reply = raw.ask(node.port, f"/v2/library/app/manifests/{manifest.digest}")
        assert reply.status == 200 and reply.body == manifest.data, reply
    wait_until(lambda: node.metric("entrepot_catalogue_pruned_total") > 10, "what was evicted is removed from the catalogue")
    wait_until(lambda: node.metric("entrepot_catalogue_bytes") <= 16 * MiB, "the catalogue within its limit")
    assert node.metric("entrepot_catalogue_limit_bytes") == 16 * MiB
    node.stop()
    assert (node.data / "catalog.db").stat().st_size <= 16 * MiB


def test_answers_that_do_not_end_stay_within_their_budget(bench):
    up = bench.faulty()
    node = bench.central(("docker.io", up.url), settings={"memory.answers": 8 * MiB})
    # What a tag means is asked by GET where HEAD is not allowed, and read to the end where the head names no digest.
    up.always("/manifests/", Fault(status=405), method="HEAD")
    manifest = manifest_of_many_layers(0)
    long = images.Bytes(manifest.data + b" " * (4 * MiB - 1000 - manifest.size), images.OCI_MANIFEST)
    for name in ("one", "two"):
        up.put_blob(f"library/{name}", long)
        up.tags[f"library/{name}", "v1"] = long.digest
        up.always(f"/{name}/manifests/v1", Fault(stall_after=3 * MiB, headers={"Docker-Content-Digest": ""}), method="GET")
    up.put_blob("library/three", manifest)
    up.tags["library/three", "v1"] = manifest.digest
    up.always("/three/manifests/v1", Fault(headers={"Docker-Content-Digest": ""}), method="GET")
    clients = []
    for n, name in ((1, "one"), (2, "two")):
        clients.append(raw.Wire(node.port, 60))
        clients[-1].ask("GET", f"/v2/docker.io/library/{name}/manifests/v1")
        wait_until(lambda: held(node, "answers") == n * 4 * MiB, f"the memory of {n} long answers taken", 30)
    # A body that stalls is given up after 5 s and asked for again: in between there is room.
    replies = []
    wait_until(lambda: replies.append(raw.ask(node.port, "/v2/docker.io/library/three/manifests/v1")) or replies[-1].status == 503, "a 503")
    reply = replies[-1]
    assert reply.headers["retry-after"] and b"memory.answers" in reply.body, reply
    assert node.metric("entrepot_memory_refused_total", budget="answers") > 0
    assert peak(node, "answers") <= 8 * MiB
    up.release()
    wait_until(lambda: held(node, "answers") == 0, "the memory of all answers given back", 30)
    reply = raw.ask(node.port, "/v2/docker.io/library/three/manifests/v1")
    assert reply.status == 200 and reply.body == manifest.data, reply
    for client in clients:
        client.close()


def test_pages_of_tags_are_gathered_within_their_budget(bench):
    """The source's order is unknown, so even for a page of one tag all of them must come first."""
    up = bench.faulty()
    tags = [f"t{i:05}" + "x" * 114 for i in range(16000)]
    body = json.dumps({"name": "x", "tags": tags}).encode()
    for name in ("one", "two"):
        link = {"Link": f'</v2/library/{name}/tags/list?last=x>; rel="next"'}
        up.on(f"/{name}/tags/.*last=x", Fault(stall_head=True))
        up.on(f"/{name}/tags/list", Fault(status=200, body=body, headers=link))
    up.always("/three/tags/list", Fault(status=200, body=body))
    node = bench.central(("docker.io", up.url), settings={"memory.lists": 16 * MiB})
    clients = []
    for name in ("one", "two"):
        clients.append(raw.Wire(node.port, 60))
        clients[-1].ask("GET", f"/v2/docker.io/library/{name}/tags/list?n=1")
        wait_until(lambda: [s for s in up.requests(f"/{name}/tags/") if "last" in s.query], "the first page gathered", 30)
    reply = raw.ask(node.port, "/v2/docker.io/library/three/tags/list?n=1")
    assert reply.status == 503 and reply.headers["retry-after"] and b"memory.lists" in reply.body, reply
    assert peak(node, "lists") <= 16 * MiB
    for client in clients:
        client.close()
    up.release()
    wait_until(lambda: held(node, "lists") == 0, "the memory of all lists given back", 30)
    assert raw.ask(node.port, "/v2/docker.io/library/three/tags/list?n=1").json()["tags"] == tags[:1]


def test_costly_manifests_at_once_wait_for_the_memory_to_parse_them(bench):
    up = bench.faulty()
    bombs = []
    for i in range(6):
        odd = {"schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": {}, "layers": [], "x": [{}] * 140000, "y": i}
        bombs.append(up.put_blob("library/app", images.Bytes(json.dumps(odd, separators=(",", ":")).encode(), images.OCI_MANIFEST)))
    node = bench.central(("docker.io", up.url), settings={"memory.json": 96 * MiB})
    replies = []
    crowd = [
        threading.Thread(target=lambda b=b: replies.append(raw.ask(node.port, f"/v2/library/app/manifests/{b.digest}", timeout=60)))
        for b in bombs
    ]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(60)
    assert [r.status for r in replies] == [200] * 6, replies
    assert sorted(r.body for r in replies) == sorted(b.data for b in bombs)
    assert 50 * MiB < peak(node, "json") <= 96 * MiB
    assert held(node, "json") == 0
