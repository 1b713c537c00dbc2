"""Registries with unusual behaviour that users of other caches have met. Each is scripted here, and central is asked as by a client."""

import contextlib
import copy
import json
import re
import socket
import threading
import time
import urllib.parse

import pytest

from lab import raw
from lab.base import MiB
from lab.scripted import OCI_MANIFEST, Scripted, Shelf, digest_of

NAME = "library/app"


@pytest.fixture
def shelf():
    s = Shelf()
    s.manifest, s.layer = s.image(f"{NAME}:v1")
    s.second, _ = s.image(f"{NAME}:v2")
    return s


@pytest.fixture
def serve(bench):
    """Starts a registry with an answer, and a central before it."""

    def start(answer, settings=None, path="", **upstream):
        up = bench.add(Scripted(answer))
        core = bench.central(("docker.io", up.url + path), settings=settings, **upstream)
        core.up = up
        return core

    return start


def account(bench):
    file = bench.place("password")
    file.write_text("s3cret\n")
    return {"username": "acme", "password_file": str(file)}


def pulled(core, shelf, tag="v1"):
    m = raw.manifest(core.port, NAME, tag)
    b = raw.blob(core.port, NAME, shelf.layer)
    return (m.status, b.status) == (200, 200) and b.body == shelf.blobs[shelf.layer]


# --- limits ---


def limits(remaining, reset):
    """The forms of the IETF's drafts, and of those who follow them."""
    return [
        {"RateLimit-Limit": "600", "RateLimit-Remaining": remaining, "RateLimit-Reset": reset},
        {"RateLimit": f"limit=600, remaining={remaining}, reset={reset}", "RateLimit-Policy": "600;w=60"},
        {"RateLimit": f'"default";r={remaining};t={reset}', "RateLimit-Policy": '"default";q=600;w=60'},
    ]


@pytest.mark.parametrize("form", range(3))
def test_a_limit_that_is_used_up_is_waited_for_as_long_as_it_says(serve, shelf, form):
    core = serve(lambda r: (lambda s, h, b: (s, {**h, **limits("0", "40")[form]}, b))(*shelf(r)))
    raw.manifest(core.port, NAME, "v1")
    reply = raw.manifest(core.port, NAME, shelf.second)
    assert reply.status == 429 and 1 <= int(reply.headers["retry-after"]) <= 40
    assert not core.up.count(shelf.second, "GET")
    assert 1 <= core.metric("entrepot_upstream_wait_seconds", upstream="docker.io") <= 40
    (state,) = core.json("status")["upstreams"]
    assert 1 <= state["wait_s"] <= 40


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit-Remaining": "0", "RateLimit-Limit": "600"},  # nobody knows for how long
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "1600000000"},  # over long ago
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "99999999999999999999"},
        {"RateLimit-Remaining": "-5", "RateLimit-Reset": "-1"},
        {"RateLimit": '"a;r=0;t=30'},
        {"RateLimit": "garbage,,;;==", "RateLimit-Policy": ";w"},
    ],
)
def test_a_malformed_rate_limit_is_ignored(serve, shelf, headers):
    core = serve(lambda r: (lambda s, h, b: (s, {**h, **headers}, b))(*shelf(r)))
    assert pulled(core, shelf) and raw.manifest(core.port, NAME, shelf.second).status == 200


def test_a_reset_in_unix_time_is_read_against_the_answers_own_date(serve, shelf):
    """Its clock is two hours ahead of ours."""
    ahead = time.time() + 7200
    told = {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(ahead)), "RateLimit-Remaining": "0", "RateLimit-Reset": str(int(ahead) + 30)}
    core = serve(lambda r: (lambda s, h, b: (s, {**h, **told}, b))(*shelf(r)))
    raw.manifest(core.port, NAME, "v1")
    assert 1 <= int(raw.manifest(core.port, NAME, shelf.second).headers["retry-after"]) <= 30


def test_a_429_that_names_a_date_is_read_against_the_answers_own_date(serve, shelf):
    behind = time.time() - 86400
    form = lambda t: time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(t))  # noqa: E731
    told = {"Date": form(behind), "Retry-After": form(behind + 50)}
    core = serve(lambda r: (429, told, b"") if "/v2/lib" in r.path else shelf(r))
    for what in ("v1", shelf.manifest):
        reply = raw.manifest(core.port, NAME, what)
        assert reply.status == 429 and 1 <= int(reply.headers["retry-after"]) <= 50
    assert 1 <= core.metric("entrepot_upstream_wait_seconds", upstream="docker.io") <= 50
    assert "asks to wait" in core.command("doctor", check=False).stdout


@pytest.mark.parametrize("where", ["/v2/", "/token"])
def test_a_429_without_a_time_is_a_429_and_no_404(serve, shelf, where):
    def answer(r):
        if r.path == "/token" and where == "/token":
            return 429, {}, b"slow down"
        if where == "/v2/":
            return 429, {}, b""
        return 401, {"WWW-Authenticate": f'Bearer realm="{r.server.url}/token"'}, b""

    core = serve(answer)
    reply = raw.manifest(core.port, NAME, "v1")
    assert (reply.status, reply.error_code) == (429, "TOOMANYREQUESTS")


# --- signing in, here and there ---


def guarded(shelf, tokens, name=NAME, challenge='Bearer realm="{url}/token",service="s"'):
    """A registry that wants a token of `tokens`, which its service adds to."""

    def answer(r):
        if r.path == "/token":
            tokens.append(f"t{len(tokens)}")
            return 200, {}, json.dumps({"token": tokens[-1], "expires_in": 3600}).encode()
        if r.headers.get("authorization", "")[len("Bearer ") :] in tokens[-1:]:
            return shelf(r)
        return 401, {"WWW-Authenticate": challenge.format(url=r.server.url, name=name)}, b"{}"

    return answer


@pytest.mark.parametrize("status", [302, 303, 307, 308, 301, 300])
def test_a_redirect_to_a_registry_with_its_own_tokens_is_followed_without_the_account(bench, serve, shelf, status):
    other = bench.add(Scripted(guarded(shelf, []), host="127.0.0.2"))
    core = serve(guarded(lambda r: (status, {"Location": other.url + r.target + "#part"}, b""), []), **account(bench))
    assert pulled(core, shelf)
    assert any("basic" in r.headers.get("authorization", "").lower() for r in core.up.seen), "the account signs in at its own registry"
    said = [r.headers["authorization"] for r in other.seen if "authorization" in r.headers]
    assert said and all(a.startswith("Bearer ") for a in said)
    assert other.count("/token") == 1


def test_a_chain_of_registries_each_with_its_own_tokens(bench, serve, shelf):
    hosts = ("127.0.0.2", "127.0.0.3")
    last = bench.add(Scripted(guarded(shelf, ["for last"]), host=hosts[1]))
    middle = bench.add(Scripted(guarded(lambda r: (307, {"Location": last.url + r.target}, b""), []), host=hosts[0]))
    core = serve(lambda r: (307, {"Location": middle.url + r.target}, b""), **account(bench))
    assert pulled(core, shelf)
    for up in (middle, last):
        assert all("basic" not in r.headers.get("authorization", "").lower() for r in up.seen)


def test_another_registry_that_wants_an_account_is_refused_and_named(bench, serve, shelf):
    other = bench.add(Scripted(lambda r: (401, {"WWW-Authenticate": 'Basic realm="x"'}, b""), host="127.0.0.2"))
    core = serve(lambda r: (307, {"Location": other.url + r.target}, b""), **account(bench))
    reply = raw.manifest(core.port, NAME, "v1")
    assert reply.status == 404 and b"127.0.0.2" in reply.body
    assert all("authorization" not in r.headers for r in other.seen)


@pytest.mark.parametrize("refusal", [(400, {}), (401, {}), (403, {}), (401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})])
def test_a_token_that_expires_early_is_renewed_once(serve, shelf, refusal):
    tokens = []
    good = guarded(shelf, tokens)

    def answer(r):
        dead = r.headers.get("authorization", "") not in ("", f"Bearer {tokens[-1] if tokens else ''}")
        return (*refusal, b"") if dead else good(r)

    core = serve(answer)
    assert raw.manifest(core.port, NAME, "v1").status == 200
    tokens.append("another")  # those handed out are no longer good
    assert raw.manifest(core.port, NAME, shelf.second).status == 200
    assert raw.blob(core.port, NAME, shelf.layer).status == 200


def test_a_registry_that_refuses_every_token_is_an_error(serve, shelf):
    tokens = []
    good = guarded(shelf, tokens)
    core = serve(lambda r: (403, {}, b"") if "authorization" in r.headers else good(r))
    for _ in range(2):
        assert raw.blob(core.port, NAME, shelf.layer).status == 404
    assert len(core.up.seen) <= 12


@pytest.mark.parametrize(
    "lines",
    [
        ["bEaReR  Realm = \"{0}/token\" , SERVICE=s"],
        ["Negotiate", 'Digest realm="d", nonce="a,b"', 'Bearer scope="repository:library/app:pull",realm="{0}/token"'],
        ['Basic realm="b", Bearer realm="{0}/token",service="s"'],
        ['Bearer realm="{0}/token",\r\n service="s",\r\n\tscope="repository:library/app:pull"'],  # obs-fold
    ],
)
def test_challenges_in_all_their_forms(serve, shelf, lines):
    tokens = []
    good = guarded(shelf, tokens)

    def answer(r):
        s, h, b = good(r)
        return s, {**h, **({"www-AUTHENTICATE": [x.format(r.server.url) for x in lines], "WWW-Authenticate": None} if s == 401 else {})}, b

    assert pulled(serve(answer), shelf)


# --- HEAD ---


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501, None])
def test_get_is_used_where_head_is_refused(serve, shelf, status):
    def answer(r):
        if r.method == "HEAD":
            return None if status is None else (status, {}, b"")
        return shelf(r)

    core = serve(answer)
    assert raw.manifest(core.port, NAME, "v1", "HEAD").headers["docker-content-digest"] == shelf.manifest
    reply = raw.blob(core.port, NAME, shelf.layer, "HEAD")
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(shelf.blobs[shelf.layer])))
    assert pulled(core, shelf)
    assert raw.manifest(core.port, NAME, "none").status == 404


def test_head_is_not_tried_again_and_again_where_it_was_refused(serve, shelf):
    core = serve(lambda r: (405, {}, b"") if r.method == "HEAD" else shelf(r))
    for tag in ("v1", "v2"):
        assert raw.manifest(core.port, NAME, tag).status == 200
    assert core.up.count("/manifests/", "HEAD") == 1


@pytest.mark.parametrize("part", ["/blobs/", "/manifests/"])
@pytest.mark.parametrize("challenge", ['Bearer realm="{url}/token",service="s"', 'Basic realm="x"'])
def test_get_is_used_where_a_good_sign_in_is_refused_for_head(bench, serve, shelf, part, challenge):
    """public.ecr.aws takes tokens for GET alone (distribution#4383)."""
    good = guarded(shelf, [])

    def answer(r):
        refused = (401, {"WWW-Authenticate": challenge.format(url=r.server.url)}, b"")
        if r.method == "HEAD" and part in r.path:
            return refused
        if challenge.startswith("Bearer"):
            return good(r)
        return shelf(r) if "authorization" in r.headers else refused

    core = serve(answer, **account(bench))
    assert raw.manifest(core.port, NAME, "v1", "HEAD").status == 200
    assert raw.blob(core.port, NAME, shelf.layer, "HEAD").status == 200
    assert pulled(core, shelf) and raw.manifest(core.port, NAME, "v2").status == 200
    assert core.up.count(part, "HEAD") <= 3, "once signed out, once signed in; then HEAD is left alone"


@pytest.mark.parametrize("missing", ["Content-Length", "Docker-Content-Digest", "Content-Type"])
def test_missing_headers_of_a_head_are_replaced(serve, shelf, missing):
    core = serve(lambda r: (lambda s, h, b: (s, {**h, missing: None}, b) if r.method == "HEAD" else (s, h, b))(*shelf(r)))
    assert raw.blob(core.port, NAME, shelf.layer, "HEAD").status == 200
    assert pulled(core, shelf)


@pytest.mark.parametrize("told", ["application/json", "application/octet-stream", "text/html", "text/plain; charset=utf-8", None])
@pytest.mark.parametrize("methods", [("HEAD",), ("HEAD", "GET")])
@pytest.mark.parametrize("says", [True, False])
def test_a_manifest_has_the_type_of_its_bytes_whatever_its_registry_says(both, shelf, told, methods, says):
    """moby#19400, moby#19526: engines refuse a manifest of type application/json or text/html. spegel#172: a document without mediaType."""
    if not says:
        shelf.manifests = {d: m.replace(b'"mediaType": "application/vnd.oci.image.manifest.v1+json", ', b"") for d, m in shelf.manifests.items()}
        shelf.manifest = digest_of(shelf.manifests[shelf.manifest])
        shelf.manifests = {digest_of(m): m for m in shelf.manifests.values()}
        shelf.tags[f"{NAME}:v1"] = shelf.manifest

    def answer(r):
        s, h, b = shelf(r)
        return s, {**h, **({"Content-Type": told} if "/manifests/" in r.path and r.method in methods else {})}, b

    chain = both(answer)
    for node in (chain.edge, chain.central):
        replies = [raw.manifest(node.port, NAME, "v1", "HEAD"), raw.manifest(node.port, NAME, "v1"), raw.manifest(node.port, NAME, shelf.manifest)]
        assert [r.headers.get("content-type") for r in replies] == [OCI_MANIFEST] * 3


@pytest.mark.parametrize("first", ["HEAD", "GET"])
def test_a_tags_manifest_that_is_not_there_by_its_digest_is_got_by_the_tag(both, shelf, first):
    """registry.k8s.io#324: a replica that lags behind."""
    chain = both(lambda r: (404, {}, b"") if "/manifests/sha256:" in r.path else shelf(r))
    assert raw.manifest(chain.edge.port, NAME, "v1", first).status == 200
    for node in (chain.edge, chain.central):
        for ref in (shelf.manifest, "v1"):
            reply = raw.manifest(node.port, NAME, ref)
            assert (reply.status, reply.body) == (200, shelf.manifests[shelf.manifest])
    assert raw.manifest(chain.edge.port, NAME, shelf.second).status == 404, "no tag has named it"


def test_a_tag_that_has_moved_on_does_not_stand_for_a_digest_that_is_not_there(both, shelf):
    chain = both(lambda r: (404, {}, b"") if "/manifests/sha256:" in r.path else shelf(r))
    assert raw.manifest(chain.edge.port, NAME, "v1", "HEAD").status == 200
    shelf.tags[f"{NAME}:v1"] = shelf.second
    reply = raw.manifest(chain.edge.port, NAME, shelf.manifest)
    assert reply.status == 404 and b"points to another manifest" in reply.body


def test_plain_http_behind_an_https_url_is_named_so(bench):
    """zot#4352, podman#14306."""
    server = socket.create_server(("127.0.0.1", 0))

    def refuse():
        with contextlib.suppress(OSError):
            while client := server.accept()[0]:
                client.recv(4096)
                client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                client.close()

    threading.Thread(target=refuse, daemon=True).start()
    with server:
        core = bench.central(("docker.io", f"https://127.0.0.1:{server.getsockname()[1]}"))
        reply = raw.manifest(core.port, NAME, "v1")
        assert reply.status == 502 and b"does not answer in TLS" in reply.body and b"http://" in reply.body


# --- caches, endpoints ---


@pytest.mark.parametrize("age", ["90000", "-1", "Tue, 14 Nov 2023 22:13:20 GMT", "99999999999999999999"])
def test_the_age_of_a_cache_before_the_registry_counts_for_nothing(serve, shelf, age):
    core = serve(lambda r: (lambda s, h, b: (s, {**h, "Age": age}, b))(*shelf(r)), fresh_for="1h")
    assert [raw.manifest(core.port, NAME, "v1").status for _ in range(3)] == [200] * 3
    assert core.up.count("/manifests/v1") == 1
    assert int(raw.manifest(core.port, NAME, "v1").headers["age"]) < 60


@pytest.mark.parametrize(
    "path, asked",
    [
        ("/", "/v2/library/app/"),
        ("/v2", "/v2/library/app/"),
        ("/v2/", "/v2/library/app/"),
        ("/v2/hub", "/v2/hub/library/app/"),
        ("/v2/hub/", "/v2/hub/library/app/"),
        ("/some/v2/hub/deep", "/some/v2/hub/deep/library/app/"),
        ("/mirror", "/mirror/v2/library/app/"),
    ],
)
def test_an_endpoints_path_is_understood(serve, shelf, path, asked):
    tokens = []
    core = serve(guarded(lambda r: _moved(shelf, r, asked), tokens), path=path)
    assert pulled(core, shelf)
    assert {r.path[: len(asked)] for r in core.up.seen if r.path != "/token"} == {asked}
    assert all(asked.split("/v2/", 1)[1][:-1] in urllib.parse.unquote(r.query) for r in core.up.seen if r.path == "/token")


def _moved(shelf, r, asked):
    there = copy.copy(r)
    there.path = r.path.replace(asked, f"/v2/{NAME}/", 1)
    return shelf(there)


@pytest.mark.parametrize("url", ["https://joe:pa55@h.example", "https://h.example/?a=b", "https://h.example/#x", "https://joe:p/a55@h.example"])
def test_an_endpoint_that_is_no_plain_url_is_refused_without_its_secret(bench, url):
    core = bench.central(("docker.io", url), start=False)
    told = core.command("serve", "--check", check=False)
    assert told.returncode != 0 and "pa55" not in told.stdout + told.stderr and "a55@" not in told.stderr


# --- HTTP as the RFCs have it ---


def test_lawful_http_is_read_as_the_rfcs_say(serve, shelf):
    """1xx before the answer, odd case, folded lines, chunks with extensions and trailers, HTTP/1.0 that ends with the connection."""
    manifest = shelf.manifests[shelf.manifest]

    def answer(r):
        if r.method == "HEAD":
            return b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-TYPE: application/vnd.oci.image.manifest.v1+json\r\n" + (
                f"DOCKER-content-digest:\r\n {shelf.manifest}\r\nContent-Length: {len(manifest)}\r\n\r\n"
            ).encode()
        if "/manifests/" in r.path:
            return (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\nContent-Type: application/vnd.oci.image.manifest.v1+json; a=b\r\n\r\n"
                + f"{len(manifest):x};ext=1\r\n".encode()
                + manifest
                + b"\r\n0\r\nX-Trailer: 1\r\nDocker-Content-Digest: sha256:0\r\n\r\n"
            )
        return b"HTTP/1.0 200 OK\r\nContent-Encoding: identity\r\n\r\n" + shelf.blobs[shelf.layer]

    assert pulled(serve(answer), shelf)


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 207, 226, 299, 304, 305, 306, 418, 451, 600, 999])
def test_an_unusable_status_is_a_failure_of_the_source_with_a_message(serve, shelf, status):
    core = serve(lambda r: (status, {}, b"") if status not in (204, 304) else (status, {"Content-Length": None}, b""))
    reply = raw.manifest(core.port, NAME, "v1")
    assert reply.status in (502, 404) and str(status).encode() in reply.body
    assert raw.blob(core.port, NAME, shelf.layer).status in (502, 404)


@pytest.mark.parametrize(
    "how",
    [
        lambda s, h, b: (200, {**h, "Content-Encoding": "gzip"}, b),
        lambda s, h, b: (206, {**h, "Content-Range": f"bytes 0-{len(b) - 1}/{len(b)}"}, b),
        lambda s, h, b: (200, h, b""),
        lambda s, h, b: (200, {**h, "Transfer-Encoding": "gzip, chunked", "Content-Length": None}, b),
        lambda s, h, b: (200, {**h, "Content-Length": [str(len(b)), "7"]}, b),
    ],
)
def test_an_answer_that_was_not_asked_for_is_refused(serve, shelf, how):
    core = serve(lambda r: how(*shelf(r)) if r.method == "GET" else shelf(r))
    for reply in (raw.manifest(core.port, NAME, "v1"), raw.manifest(core.port, NAME, shelf.manifest)):
        assert reply.status == 502 and reply.json()["errors"][0]["message"]


# --- lists ---


def lister(pages, link='<{path}?page={next}>; rel="next"', hook=None):
    """A list in pages; page=K in the query is the K-th."""

    def answer(r):
        k = int(urllib.parse.parse_qs(r.query).get("page", ["0"])[0])
        if hook and (said := hook(r, k)):
            return said
        tags = pages[k] if isinstance(pages, list) else pages(k)
        headers = {"Content-Type": "application/json"}
        if not isinstance(pages, list) or k + 1 < len(pages):
            headers["Link"] = link.format(path=r.path, next=k + 1, url=r.server.url, host=r.server.host)
        return 200, headers, json.dumps({"name": "x", "tags": tags}).encode()

    return answer


def names(first, last):
    return [f"v{i:06d}" for i in range(first, last)]


def tags_of(node, query=""):
    reply = raw.ask(node.port, f"/v2/{NAME}/tags/list{query}")
    return reply.json()["tags"] if reply.status == 200 else reply


@pytest.fixture
def both(bench):
    """Starts a registry, central and an edge before it."""

    def start(answer):
        up = bench.add(Scripted(answer))
        chain = bench.chain(("docker.io", up.url))
        chain.up = up
        return chain

    return start


@pytest.mark.parametrize(
    "link",
    [
        "<{path}?page={next}>;rel=next",
        '<{url}{path}?page={next}>; title="a, b"; Rel="prev NEXT"',
        "<https://{host}{path}?page={next}>; rel=next",
        '</x?page=9>; rel="first", <?page={next}>; rel="next", </y?page=9>; rel=last',
    ],
)
def test_a_list_is_whole_whatever_its_links_look_like(both, link):
    chain = both(lister([names(0, 3), names(3, 5), ["v000001", "a", None, 7, "no tag"], names(5, 6)], link))
    for node in (chain.central, chain.edge):
        assert tags_of(node) == ["a", *names(0, 6)]


def test_a_very_long_list_is_served_whole_and_in_pages(both):
    tags = names(0, 20500)
    chain = both(lister([tags[i : i + 100] for i in range(0, len(tags), 100)]))
    for node in (chain.edge, chain.central):
        assert tags_of(node) == tags
    assert tags_of(chain.edge, "?n=5&last=v020497") == tags[20498:]


def by_page(tags, size=100):
    return lister([tags[i : i + size] for i in range(0, len(tags), size)])


def by_last(tags):
    """Heeds n and last, as the specification says."""

    def answer(r):
        query = urllib.parse.parse_qs(r.query)
        rest = [t for t in tags if t > query.get("last", [""])[0]]
        page = rest[: int(query.get("n", ["100"])[0])]
        more = {"Link": f'<{r.path}?n={len(page)}&last={page[-1]}>; rel="next"'} if len(page) < len(rest) else {}
        return 200, {"Content-Type": "application/json", **more}, json.dumps({"name": "x", "tags": page}).encode()

    return answer


def without_pages(tags):
    return lambda r: (400, {}, b"{}") if "n=" in r.query else lister([tags])(r)


def walk(node, target, pages=1000):
    """The pages that Link leads to."""
    found = []
    while target and len(found) < pages:
        reply = raw.ask(node.port, target)
        assert reply.status == 200, reply
        found.append(reply.json()["tags"])
        link = reply.headers.get("link")
        target = re.match(r'^<([^>]+)>; rel="next"$', link)[1] if link else None
    return found


TAGS = names(0, 3000)
MIXED = ["v000006", "v000005", "v000001", *names(7, 10)]
LISTS = {"last": by_last(TAGS), "page": by_page(TAGS), "mixed": by_page(MIXED, 2), "late": by_page([*names(2, 6), "v000000"], 2), "refuses": without_pages(TAGS)}


@pytest.fixture(scope="module")
def lists(shared_bench):
    up = shared_bench.add(Scripted(lambda r: LISTS[r.path.split("/")[3]](r) if "/tags/list" in r.path else (200, {}, b"{}")))
    chain = shared_bench.chain(("docker.io", up.url))
    chain.up = up
    return chain


def asked(up, repo):
    return [r for r in up.seen if f"/{repo}/tags/list" in r.path]


@pytest.mark.parametrize("source", ["last", "page"])
@pytest.mark.parametrize("ns", ["", "&ns=docker.io"])
def test_a_page_of_a_list_costs_a_page_of_the_source(lists, source, ns):
    for node in (lists.edge, lists.central):
        before = len(asked(lists.up, source))
        found = walk(node, f"/v2/library/{source}/tags/list?n=100{ns}", 5)
        assert found == [TAGS[i : i + 100] for i in range(0, 500, 100)]
        assert len(asked(lists.up, source)) <= before + 5
    assert sum(walk(lists.edge, f"/v2/library/{source}/tags/list?n=100{ns}"), []) == TAGS
    reply = raw.ask(lists.edge.port, f"/v2/library/{source}/tags/list?n=7&last=v001000x{ns}")
    assert reply.json()["tags"] == TAGS[1001:1008]


def test_pages_of_a_list_that_has_another_order_are_whole(lists):
    for node in (lists.edge, lists.central):
        found = walk(node, "/v2/library/mixed/tags/list?n=2")
        assert sum(found, []) == sorted(MIXED) and max(map(len, found)) == 2
        assert sorted(sum(walk(node, "/v2/library/late/tags/list?n=2"), [])) == ["v000000", *names(2, 6)]  # no tag is lost


def test_a_source_that_refuses_to_make_pages_has_them_made(lists):
    for node in (lists.edge, lists.central):
        assert walk(node, "/v2/library/refuses/tags/list?n=1000") == [TAGS[i : i + 1000] for i in range(0, 3000, 1000)]
        assert raw.ask(node.port, "/v2/library/refuses/tags/list?n=0").json()["tags"] == []


def test_a_hundred_thousand_tags_in_one_page(both):
    chain = both(lister([names(0, 100000)]))
    assert len(tags_of(chain.edge)) == 100000


def test_a_slow_list_is_passed_on_as_it_comes(both):
    """The last page is held back until the client at the edge has seen the first tags."""
    seen = threading.Event()

    def hook(r, k):
        time.sleep(0.5 if k < 9 else 0)
        assert k < 9 or seen.wait(30)

    chain = both(lister([[f"v{k}"] for k in range(10)], hook=hook))
    with raw.Wire(chain.edge.port) as wire:
        wire.ask("GET", f"/v2/{NAME}/tags/list")
        status, headers = wire.head()
        assert status == 200 and headers["transfer-encoding"] == "chunked"
        got = bytearray()

        def take(data):
            got.extend(data)
            if b'"v1"' in got:
                seen.set()

        wire.body("GET", status, headers, take)
    assert json.loads(got) == {"name": NAME, "tags": [f"v{k}" for k in range(10)]}


def test_a_list_that_breaks_off_is_an_error_or_cut(both):
    """Before a byte has left: an error. After: the answer is cut."""
    early = both(lister([names(0, 3), names(3, 5)], hook=lambda r, k: (500, {}, b"") if k else None))
    for node in (early.edge, early.central):
        assert tags_of(node).status == 502
    gate = threading.Event()

    def hook(r, k):
        time.sleep(0.5 if k < 9 else 0)
        return (404, {}, b"") if k == 9 and gate.wait(30) else None

    late = both(lister([[f"v{k}"] for k in range(11)], hook=hook))
    with raw.Wire(late.edge.port) as wire:
        wire.ask("GET", f"/v2/{NAME}/tags/list")
        status, headers = wire.head()
        assert status == 200
        gate.set()
        got = bytearray()
        with pytest.raises((raw.Cut, OSError, ValueError)):
            wire.body("GET", status, headers, got.extend)
    assert b"]}" not in got


@pytest.mark.parametrize("pages", [lambda k: ["a", "b"], lambda k: [], lambda k: None])
def test_a_list_that_goes_on_for_ever_ends_in_an_error(both, pages):
    chain = both(lister(pages))
    for node in (chain.edge, chain.central):
        reply = tags_of(node)
        assert reply.status == 502 and b"repeats itself" in reply.body
    assert len(chain.up.seen) < 40


@pytest.mark.parametrize("link", ["<http://127.0.0.9{path}?page={next}>; rel=next", "<{path}>; rel=next", "<ftp://x/?a=b>; rel=next"])
def test_a_list_that_goes_on_elsewhere_is_refused_with_its_cause(both, link):
    chain = both(lister([names(0, 3), names(3, 5)], link))
    for node in (chain.edge, chain.central):
        reply = tags_of(node)
        assert reply.status == 502 and b"continues a list at" in reply.body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 501])
def test_clients_look_for_the_referrers_tag_of_a_registry_without_the_api(both, shelf, status):
    """They do after a 404 alone (notation#659)."""
    chain = both(lambda r: (status, {}, b"") if "/referrers/" in r.path else shelf(r))
    for node in (chain.edge, chain.central):
        reply = raw.ask(node.port, f"/v2/{NAME}/referrers/{shelf.manifest}")
        assert reply.status == 404 and str(status).encode() in reply.body


# --- lengths ---


@pytest.mark.parametrize("length", [2**63 - 9, 2**63 - 1, 2**53 + 1])
@pytest.mark.parametrize("part", [False, True])
def test_an_impossible_length_is_a_failure_of_the_source(serve, shelf, length, part):
    def answer(request):
        if "/blobs/" not in request.target or request.method == "HEAD":
            return shelf(request)
        first = 0
        if part and "range" in request.headers:
            first = int(request.headers["range"].split("=")[1].split("-")[0])
        elif part:
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % MiB + b"x" * MiB + b"\r\n"  # and then a cut
        head = f"HTTP/1.1 {206 if first else 200} OK\r\nContent-Length: {length - first}\r\n"
        return (head + (f"Content-Range: bytes {first}-{length - 1}/{length}\r\n" if first else "") + "\r\n").encode() + b"x" * 65536

    core = serve(answer)
    digest = "sha256:" + "cd" * 32
    for headers in ({}, {"Range": f"bytes={length - 1000}-"}, {"Range": "bytes=-500"}):
        with raw.Wire(core.port, 30) as wire:
            wire.ask("GET", f"/v2/{NAME}/blobs/{digest}", headers)
            try:
                reply = wire.reply()
            except raw.Cut:
                continue
            assert reply.status in (502, 504, 416), reply
    core.check_log()
    assert core.running()


# --- token services ---


def token_service(shelf, reply):
    """A registry whose tokens come from reply(request): (status, headers, body)."""

    def answer(r):
        if r.path.startswith("/token"):
            return reply(r)
        if r.headers.get("authorization") == "Bearer good":
            return shelf(r)
        return 401, {"WWW-Authenticate": f'Bearer realm="{r.server.url}/token",service="s"'}, b"{}"

    return answer


@pytest.mark.parametrize(
    "document",
    [
        {"token": "", "access_token": "good"},
        {"token": None, "access_token": "good", "expires_in": "300"},
        {"token": "good", "expires_in": 1e300, "issued_at": "2099-01-01T00:00:00Z"},
        {"token": "good", "expires_in": -1, "issued_at": "no time"},
        {"token": "good", "expires_in": 299.5, "refresh_token": "other"},
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_a_token_is_found_in_every_form_of_its_document(serve, shelf, document, status):
    core = serve(token_service(shelf, lambda r: (status, {}, json.dumps(document).encode())))
    assert pulled(core, shelf) and core.up.count("/token") <= 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_service_that_moved_is_followed_with_the_account(bench, serve, shelf, status):
    def reply(r):
        return (status, {"Location": f"/token/v2?{r.query}"}, b"") if r.path == "/token" else (200, {}, b'{"token":"good"}')

    core = serve(token_service(shelf, reply), **account(bench))
    assert pulled(core, shelf)
    (asked, *_) = [r for r in core.up.seen if r.path == "/token/v2"]
    assert asked.headers["authorization"].startswith("Basic ") and "scope=repository" in asked.query


@pytest.mark.parametrize("where", ["{other}{target}", "//127.0.0.2{target}", "ftp://x/", "http://169.254.169.254/latest/meta-data"])
def test_a_redirect_of_a_token_service_to_another_host_is_not_followed(bench, serve, shelf, where):
    other = bench.add(Scripted(lambda r: (200, {}, b'{"token":"good"}'), host="127.0.0.2"))
    core = serve(token_service(shelf, lambda r: (307, {"Location": where.format(other=other.url, target=r.target)}, b"")), **account(bench))
    reply = raw.manifest(core.port, NAME, "v1")
    assert reply.status == 502 and b"the token service at 127.0.0.1" in reply.body
    assert not other.seen


def test_a_token_service_that_redirects_for_ever_is_an_error_with_a_message(serve, shelf):
    core = serve(token_service(shelf, lambda r: (302, {"Location": r.target}, b"")))
    reply = raw.manifest(core.port, NAME, "v1")
    assert reply.status == 502 and b"too often" in reply.body
    assert core.up.count("/token") < 40


def test_a_redirect_with_spaces_in_it_is_followed(serve, shelf):
    def answer(r):
        if r.path.startswith("/store"):
            r.path = r.path[len("/store") :]
            return shelf(r)
        return (307, {"Location": f"/store{r.path}?name=a b"}, b"") if "/v2/lib" in r.path else (200, {}, b"")

    assert pulled(serve(answer), shelf)
