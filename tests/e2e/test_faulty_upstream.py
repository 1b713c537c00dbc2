"""Whatever an upstream does, no client gets a complete body that is wrong, nothing crashes, hangs or grows, and right bytes are kept."""

import os
import time
import zlib

import pytest

from lab import images, raw
from lab.base import MiB, wait_until
from lab.faulty import Fault

pytestmark = pytest.mark.sanitized

SIZE = 10 * MiB  # three pieces
PATIENCE = 45  # no request may take longer, whatever happens


@pytest.fixture(scope="module")
def chain(shared_bench):
    """One chain for all: each test has a repository of its own."""
    up = shared_bench.faulty()
    made = shared_bench.chain(("docker.io", up.url))
    made.upstream = up
    return made


@pytest.fixture
def case(chain, request):
    """A fresh image in a fresh repository, known to the edge; the test says how its blob misbehaves."""
    chain.upstream.clear()
    chain.upstream.hold()
    name = f"library/case-{zlib.crc32(request.node.name.encode())}"
    chain.blob = images.noise_blob(SIZE, request.node.name)
    chain.image = chain.upstream.put(name, images.single_blob(chain.blob), "v1")
    chain.name = name
    chain.blob_path = f"/{name}/blobs/{chain.blob.digest}"
    chain.manifest_path = f"/{name}/manifests/"
    yield chain
    for node in (chain.central, chain.edge):
        assert node.running(), node.process.tail()
        assert node.ready()
        assert node.rss() < 300 * MiB
    # What this test broke may have tripped a breaker: the next begins with a chain that works.
    chain.upstream.clear()
    chain.upstream.put(name, images.small(request.node.name), "canary")
    wait_until(lambda: raw.manifest(chain.edge.port, name, "canary").status == 200, "the chain works again", 60, 0.2)


def know(chain):
    """The edge learns the manifest, and with it the blob's size."""
    assert raw.manifest(chain.edge.port, chain.name, "v1").status == 200


def get(chain, deadline_s=PATIENCE):
    return raw.Download(chain.edge.port, chain.name, chain.blob.digest, chain.blob.data).start().join(deadline_s)


def never_wrong(down):
    """A complete answer of 200 is right; else there is an error status or a cut."""
    assert not (down.status == 200 and down.whole) or (down.right and down.got == SIZE), down
    assert down.right, "a wrong byte reached a client"


@pytest.mark.parametrize("where", ["start", "middle", "last"])
def test_a_wrong_byte_is_replaced_before_a_client_has_the_whole_blob(case, where):
    know(case)
    case.upstream.on(case.blob_path, Fault(wrong_at=where))
    down = get(case)
    # Before a first proof of a piece exists the bytes on their way may be wrong, but the answer is then never complete.
    assert not (down.whole and not down.right), down
    assert down.good or get(case).good
    assert case.central.metric("entrepot_digest_mismatches_total") >= 1


@pytest.mark.parametrize("where", ["start", "middle", "last"])
def test_no_client_completes_a_body_whose_byte_is_always_wrong(case, where):
    know(case)
    case.upstream.always(case.blob_path, Fault(wrong_at=where))
    for _ in range(2):
        down = get(case)
        assert not (down.whole and down.status == 200), down
    case.upstream.clear()
    # Quarantine may last a while, but not for ever.
    wait_until(lambda: get(case).good, "the good blob after the upstream is mended", PATIENCE, 0.5)


def test_a_wrong_body_is_not_completed_by_an_end_that_was_fetched_ahead(bench):
    """A lazy-pulling client asks for the end of a blob first: those who take all of it must still wait for the digest."""
    up = bench.faulty()
    blob = images.noise_blob(24 * MiB, "ahead")
    up.put("library/ahead", images.single_blob(blob), "v1")
    made = bench.chain(("docker.io", up.url))
    assert raw.manifest(made.edge.port, "library/ahead", "v1").status == 200
    up.on(f"/blobs/{blob.digest}", Fault(wrong_at="middle", rate=4 * MiB))
    whole = raw.Download(made.edge.port, "library/ahead", blob.digest, blob.data).start()
    wait_until(lambda: whole.got > 0, "the download has begun")
    end = raw.Download(made.edge.port, "library/ahead", blob.digest, blob.data, first=blob.size - 1000, last=blob.size - 1).start()
    end.join()
    assert end.good and not whole.whole  # it came ahead of the rest
    whole.join()
    assert whole.right or not whole.whole
    assert raw.Download(made.edge.port, "library/ahead", blob.digest, blob.data).start().join().good


@pytest.mark.parametrize("size", [5000, SIZE + 3 * MiB], ids=["shorter", "longer"])
def test_another_document_in_place_of_a_blob_leaves_no_trace(case, size):
    """As a portal's page. Its length is no more to be trusted than its bytes."""
    know(case)
    case.upstream.on(case.blob_path, Fault(body=images.noise(size, "page")))
    down = get(case)
    assert not (down.whole and not down.right), down
    wait_until(lambda: get(case).good, "the blob", 5)
    assert [s.status for s in case.upstream.requests(case.blob_path, "GET")] == [200, 200]


def test_the_length_of_wrong_bytes_is_not_sent_to_later_clients(case):
    know(case)
    case.upstream.on(case.blob_path, Fault(body=images.noise(SIZE + 3 * MiB, "page")), Fault(stall_head=True))
    first = raw.Download(case.central.port, case.name, case.blob.digest, case.blob.data).start().join(PATIENCE)
    assert not first.whole, first
    wait_until(lambda: len(case.upstream.requests(case.blob_path, "GET")) == 2, "the second try")
    # They join it, and hear nothing before it answers.
    others = [raw.Download(n.port, case.name, case.blob.digest, case.blob.data).start() for n in (case.central, case.edge)]
    wait_until(lambda: case.edge.metric("entrepot_fills_running") > 0, "the edge asks for it")
    case.upstream.release()
    assert all(d.join(PATIENCE).good for d in others), others


def test_a_short_body_is_continued_where_it_ended(case):
    know(case)
    case.upstream.on(case.blob_path, Fault(cut=MiB))
    assert get(case).good
    asked = case.upstream.requests(case.blob_path, "GET")
    assert asked[-1].range and asked[-1].range[0] > SIZE // 2, [a.range for a in asked]


def test_a_body_that_is_always_short_still_arrives_by_continuing(case):
    know(case)
    case.upstream.always(case.blob_path, Fault(cut=1000))
    down = get(case)
    never_wrong(down)


def test_a_longer_body_is_refused(case):
    know(case)
    case.upstream.always(case.blob_path, Fault(extra=1000))
    never_wrong(get(case))
    case.upstream.clear()
    wait_until(lambda: get(case).good, "good again", PATIENCE, 0.5)


def test_a_stalled_body_is_ended_and_its_bytes_are_kept(case):
    know(case)
    case.upstream.on(case.blob_path, Fault(stall_after=6 * MiB))
    assert get(case).good
    last = case.upstream.requests(case.blob_path, "GET")[-1]
    assert last.range and last.range[0] > 0


def test_an_endless_stall_ends_in_an_error(case):
    know(case)
    case.upstream.always(case.blob_path, Fault(stall_after=0))
    began = time.monotonic()
    down = get(case, 120)
    assert not down.whole or down.status >= 500
    assert time.monotonic() - began < 100


def test_resets_are_continued_by_range(case):
    know(case)
    case.upstream.on(case.blob_path, *[Fault(reset_after=3 * MiB) for _ in range(2)])
    assert get(case).good
    asked = case.upstream.requests(case.blob_path, "GET")
    assert len(asked) >= 3 and all(a.range and a.range[0] > 0 for a in asked[1:]), [a.range for a in asked]
    assert sum(a.sent for a in asked) < SIZE * 1.7


def test_an_upstream_without_ranges_is_read_again_from_the_start(case):
    know(case)
    case.upstream.on(case.blob_path, Fault(reset_after=3 * MiB), Fault(no_range=True))
    assert get(case).good


@pytest.mark.parametrize("length", [5, SIZE - 1, SIZE + 1, 1 << 40])
def test_no_client_completes_a_body_with_a_wrong_content_length(case, length):
    know(case)
    case.upstream.on(case.blob_path, Fault(length=length))
    down = get(case)
    never_wrong(down)
    # The manifest has the true size: one answer with another may not be remembered as the truth.
    assert down.good or wait_until(lambda: get(case).good, "good once the upstream is", 60, 0.5)


@pytest.mark.parametrize("length", [0, 5, 100_000])
def test_a_wrong_content_length_of_a_head_changes_nothing(case, length):
    case.upstream.always(case.manifest_path, Fault(length=length), "HEAD")
    for _ in range(2):
        reply = raw.manifest(case.edge.port, case.name, "v1")
        assert (reply.status, reply.body) == (200, case.image.manifest.data), reply
    for node in (case.edge, case.central):
        # Its file is there a moment before it is known to be held.
        head = lambda n=node: raw.manifest(n.port, case.name, "v1", "HEAD")  # noqa: E731
        wait_until(lambda h=head: h().headers["content-length"] == str(case.image.manifest.size), "the size of what is held")


def test_a_500_is_retried(case):
    know(case)
    case.upstream.on(case.blob_path, Fault(status=500))
    case.upstream.on(case.manifest_path, Fault(status=500), method="HEAD")
    assert get(case).good


def test_a_permanent_500_is_a_502_with_a_registry_error(case):
    know(case)
    case.upstream.always(case.blob_path, Fault(status=500))
    reply = raw.blob(case.edge.port, case.name, case.blob.digest)
    assert (reply.status, reply.error_code) == (502, "UNAVAILABLE"), reply


@pytest.mark.parametrize("status, answer", [(500, 502), (504, 504)])
@pytest.mark.parametrize("what", ["blob", "tag"])
def test_a_permanent_error_is_the_same_at_both_tiers_and_retried_by_central_only(case, what, status, answer):
    case.upstream.always(f"{case.name}/", Fault(status=status), None)
    asked = []
    for node in (case.central, case.edge):
        reply = raw.blob(node.port, case.name, case.blob.digest) if what == "blob" else raw.manifest(node.port, case.name, "v1")
        assert (reply.status, reply.error_code) == (answer, "UNAVAILABLE"), reply
        asked.append(len(case.upstream.requests(f"{case.name}/")))
    if what == "blob":
        assert asked[1] - asked[0] == asked[0] <= 3


def test_a_wrong_docker_content_digest_is_not_believed(case):
    other = "sha256:" + "0" * 64
    case.upstream.always(case.manifest_path, Fault(digest=other), None)
    reply = raw.manifest(case.edge.port, case.name, "v1")
    # The digest it claims may rightly be looked for, and not be found.
    assert reply.status >= 400 or images.digest_of(reply.body) == reply.headers.get("docker-content-digest") == case.image.digest, reply
    case.upstream.clear()
    case.upstream.always(case.blob_path, Fault(digest=other))
    never_wrong(get(case))


@pytest.mark.parametrize("fault", [Fault(cut=1), Fault(reset_after=10)], ids=["cut", "reset"])
def test_a_manifest_that_always_comes_cut_is_asked_for_a_few_times(case, fault):
    """What came of it is no progress: the next try begins anew."""
    case.upstream.always(case.manifest_path + case.image.digest, fault, "GET")
    for node in (case.edge, case.central):
        reply = raw.manifest(node.port, case.name, case.image.digest)
        assert reply.status == 502, reply
        wait_until(lambda n=node: n.metric("entrepot_fills_running") == 0, "nobody goes on")
    assert len(case.upstream.requests(case.manifest_path + case.image.digest, "GET")) <= 20


def test_a_manifest_of_other_bytes_than_its_digest_is_refused(case):
    fake = images.small("fake").manifest
    case.upstream.always(case.manifest_path + case.image.digest, Fault(body=fake), None)
    reply = raw.manifest(case.edge.port, case.name, case.image.digest)
    assert not reply.whole or (reply.status in (404, 502, 504) and reply.error_code), reply
    assert reply.body != fake.data


def test_a_manifest_of_100_megabytes_is_refused(case):
    huge = images.Sparse(100 * MiB)
    before = case.central.rss(), case.edge.rss()
    case.upstream.always(case.manifest_path, Fault(body=huge, digest=huge.digest), None)
    reply = raw.manifest(case.edge.port, case.name, "v1")
    assert reply.status >= 400 and reply.error_code
    after = case.central.rss(), case.edge.rss()
    assert after[0] - before[0] < 64 * MiB and after[1] - before[1] < 64 * MiB
    assert sum(s.sent for s in case.upstream.requests(case.manifest_path)) < 100 * MiB


def test_a_gzip_bomb_of_a_document_is_refused(case):
    bomb = b'{"tags":["' + b"a" * (64 * MiB) + b'"]}'
    before = case.central.rss()
    case.upstream.always(case.manifest_path, Fault(body=bomb, gzip=True), None)
    assert raw.manifest(case.edge.port, case.name, "v1").status >= 400
    case.upstream.always(f"/{case.name}/tags/list", Fault(body=bomb, gzip=True))
    assert raw.ask(case.edge.port, f"/v2/{case.name}/tags/list").status >= 400
    assert case.central.rss() - before < 48 * MiB


def test_a_blob_under_content_encoding_is_refused(case):
    know(case)
    case.upstream.on(case.blob_path, Fault(gzip=True))
    down = get(case)
    never_wrong(down)
    assert all(s.headers.get("accept-encoding", "identity") == "identity" for s in case.upstream.requests(case.name))


@pytest.fixture
def limited(bench):
    """A chain of its own: a 429 may rightly silence an upstream for an hour."""
    up = bench.faulty()
    made = bench.chain(("docker.io", up.url))
    up.put("library/limited", images.small("limited"), "v1")
    made.upstream, made.name, made.manifest_path = up, "library/limited", "/library/limited/manifests/"
    return made


@pytest.mark.parametrize("retry_after", [None, "1", "3600", "Wed, 21 Oct 2037 07:28:00 GMT", "-5", "9" * 40])
def test_429_reaches_the_client_with_a_retry_after(limited, retry_after):
    headers = {"Retry-After": retry_after} if retry_after else {}
    limited.upstream.always(limited.manifest_path, Fault(status=429, headers=headers), None)
    began = time.monotonic()
    reply = raw.manifest(limited.edge.port, limited.name, "v1")
    if retry_after == "1" and reply.status == 200:
        return  # waited for, as asked: fine as well
    assert (reply.status, reply.error_code) == (429, "TOOMANYREQUESTS")
    assert int(reply.headers["retry-after"]) > 0
    assert time.monotonic() - began < 30


def test_a_single_429_does_not_fail_a_pull(limited):
    limited.upstream.on(limited.manifest_path, Fault(status=429, headers={"Retry-After": "1"}), method="HEAD")
    wait_until(lambda: raw.manifest(limited.edge.port, limited.name, "v1").status == 200, "200 after the pause", 60, 0.2)


def test_status_says_at_once_that_an_upstream_cannot_be_reached(bench):
    up = bench.faulty()
    central = bench.central(("docker.io", up.url))
    (one,) = central.json("status")["upstreams"]
    assert one["ok"]
    up.stop()
    assert raw.manifest(central.port, "library/any", "v1").status in (502, 504)
    (one,) = central.json("status")["upstreams"]
    assert not one["ok"] and "Connection refused" in one["result"]


# --- several endpoints ---


@pytest.fixture
def pair(bench):
    """One upstream with two endpoints: the first is preferred, because the other takes longer to answer."""
    made = bench.chain(("docker.io", [(first := bench.faulty()).url, (second := bench.faulty()).url]))
    made.name, made.first, made.second = "library/pair", first, second
    second.always("", Fault(head_after=0.5))  # more than a busy machine lets the first take
    made.blob = images.noise_blob(SIZE, "pair")
    made.blob_path = f"/blobs/{made.blob.digest}"
    usual = [images.noise_blob(2 * MiB, f"usual {i}") for i in range(8)]
    for up in (first, second):
        for blob in [made.blob, *usual]:
            up.put(made.name, images.single_blob(blob))
    for blob in usual:
        assert raw.blob(made.edge.port, made.name, blob.digest).body == blob.data
    assert len(first.requests("/blobs/")) > 5
    return made


@pytest.mark.parametrize("fault", [Fault(wrong_at="start"), Fault(rate=2000), Fault(reset_after=MiB), Fault(stall_after=MiB)],
                         ids=["wrong bytes", "a drip", "resets", "stalls"])
def test_content_that_one_endpoint_sends_badly_comes_from_the_other(pair, fault):
    pair.first.always(pair.blob_path, fault)
    down = get(pair)
    assert not (down.whole and not down.right), down
    # Wrong bytes may have been on their way to the client: that answer is cut, and the next is whole.
    assert down.good or (fault.wrong_at and get(pair).good), down
    # The edge asks central for the part it lacks, which central may fetch beside the rest: those do not count.
    asked, rest = ([s for s in up.requests(pair.blob_path) if s.range != (8 * MiB, SIZE - 1)] for up in (pair.first, pair.second))
    assert len(asked) == 1
    assert len(rest) == 1 and (fault.wrong_at or rest[0].range[0] > 0)


def test_very_slow_downloads_do_not_keep_the_others_waiting(bench):
    """As many as an upstream gives places to (three quarters of max_parallel, 16), and one more. One caller gets all but the
    last of them, so that the last waits until a slow one gives way, which is asked for again."""
    up = bench.faulty()
    chain = bench.chain(("docker.io", up.url))
    drips = [images.noise_blob(MiB, f"drip {i}") for i in range(12)]
    good = images.noise_blob(MiB, "good")
    for blob in [*drips, good]:
        up.put("library/app", images.single_blob(blob))
    for blob in drips:
        up.always(blob.digest, Fault(rate=20))
        raw.Download(chain.edge.port, "library/app", blob.digest, blob.data).start()
    wait_until(lambda: len(up.requests("/blobs/", "GET")) >= len(drips), "all drip")
    down = raw.Download(chain.edge.port, "library/app", good.digest, good.data).start().join(PATIENCE)
    assert down.good, down
    up.stop()  # or the nodes would wait for the others before they stop


# --- redirects ---


def test_a_redirect_to_another_host_carries_no_credentials(bench):
    cdn = bench.faulty()
    up = bench.faulty(auth="basic")
    blob = images.noise_blob(MiB, "cdn")
    up.put("library/app", images.single_blob(blob), "v1")
    cdn.put_blob("cdn", blob)
    up.always("/blobs/", Fault(redirect=f"http://localhost:{cdn.port}/v2/cdn/blobs/{blob.digest}?sig=x"), "GET")
    secret = bench.place("password")
    secret.write_text("secret\n")
    os.chmod(secret, 0o600)
    more = {"username": "user", "password_file": str(secret)}
    core = bench.central(("docker.io", up.url), **more)
    edge = bench.edge(core.fleet)
    assert raw.manifest(edge.port, "library/app", "v1").status == 200
    down = raw.Download(edge.port, "library/app", blob.digest, blob.data).start().join(PATIENCE)
    assert down.good, down
    seen = cdn.requests("/blobs/")
    assert seen and all("authorization" not in s.headers for s in seen)
    assert any("authorization" in s.headers for s in up.requests("/blobs/"))
    logs = core.process.text() + edge.process.text()
    assert "secret" not in logs.replace(str(secret), "") and "dXNlcjpzZWNyZXQ" not in logs


def test_a_redirect_loop_ends_in_an_error(case):
    know(case)
    case.upstream.always(case.blob_path, Fault(redirect=case.upstream.url + "/v2" + case.blob_path))
    down = get(case)
    assert not down.whole or down.status >= 400
    assert len(case.upstream.requests(case.blob_path)) < 60


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://169.254.169.254/x", ""])
def test_a_redirect_to_an_odd_place_ends_in_an_error(case, target):
    know(case)
    case.upstream.always(case.blob_path, Fault(redirect=target or " "))
    down = get(case)
    assert not down.whole or down.status >= 400


# --- tokens ---


def with_tokens(bench, account=None, **how):
    up = bench.faulty(auth="bearer", **how)
    blob = images.noise_blob(300_000, "tokens")
    up.image = up.put("library/app", images.single_blob(blob), "v1")
    up.blob = blob
    made = bench.chain(("docker.io", up.url), **(account or {}))
    made.upstream = up
    return made


def test_a_token_is_fetched_once_for_many_requests(bench):
    chain = with_tokens(bench)
    got = raw.pull(chain.edge.port, "library/app", "v1")
    assert chain.upstream.blob.digest in got
    tokens = chain.upstream.requests("/token")
    assert len(tokens) == 1 and tokens[0].query["scope"] == ["repository:library/app:pull"]


def refused(chain):
    began = time.monotonic()
    reply = raw.manifest(chain.edge.port, "library/app", "v1")
    assert reply.status in (401, 403, 404, 502, 504), reply
    assert reply.error_code
    assert time.monotonic() - began < PATIENCE
    for node in (chain.central, chain.edge):
        assert node.running() and node.ready()


def test_a_permanent_401_ends_after_a_few_requests(bench):
    chain = with_tokens(bench)
    chain.upstream.token = "one"
    chain.upstream.always("/token", Fault(body=b'{"token":"another"}'))
    refused(chain)
    assert len(chain.upstream.requests("/token")) <= 8 and len(chain.upstream.requests("/manifests/")) <= 16


@pytest.mark.parametrize(
    "fault",
    [
        Fault(body=b'{"token":"' + b"a" * MiB + b'"}'),
        Fault(body=b'{"token":"a\\r\\nX-Evil: 1"}'),
        Fault(body=b"[[[[" * 100_000),
        Fault(body=b'{"token":17}'),
        Fault(body=b""),
        Fault(status=500),
        Fault(body=b'{"token":"' + b"a" * (64 * MiB) + b'"}', gzip=True),
        Fault(stall_after=3, body=b'{"token":"lab-token"}'),
    ],
    ids=["1MB", "header injection", "deep", "number", "empty", "500", "gzip bomb", "stall"],
)
def test_a_hostile_token_document_is_refused(bench, fault):
    chain = with_tokens(bench)
    before = chain.central.rss()
    chain.upstream.always("/token", fault)
    refused(chain)
    assert not any("x-evil" in s.headers for s in chain.upstream.seen)
    assert chain.central.rss() - before < 32 * MiB


@pytest.mark.parametrize(
    "realm", ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "http://[::ffff:169.254.169.254]/", "nonsense", "http://0/"]
)
def test_a_hostile_realm_is_not_asked(bench, realm):
    refused(with_tokens(bench, realm=realm))


def test_a_redirect_from_the_token_service_to_another_host_is_not_followed(bench):
    """It would carry the account wherever that leads."""
    trap = bench.faulty()
    secret = bench.place("password")
    secret.write_text("secret\n")
    chain = with_tokens(bench, account={"username": "user", "password_file": str(secret)})
    for target in (f"{trap.url}/token", "http://169.254.169.254/latest/meta-data"):
        chain.upstream.clear()
        chain.upstream.always("/token", Fault(redirect=target))
        refused(chain)
    assert chain.upstream.requests("/token")[-1].headers["authorization"].startswith("Basic ")
    assert not trap.seen
