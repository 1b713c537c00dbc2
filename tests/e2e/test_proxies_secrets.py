"""Proxies: errors of a proxy that refuses, redirects, answers with a page or is down name the proxy. Secrets: no output contains one."""

import json

import pytest

from lab import raw
from lab.base import HOST, free_port, wait_until
from lab.scripted import Scripted, Shelf

NAME = "library/app"
PAGE = b"<html><body>Access denied by your network administrator</body></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}


def through(url, **more):
    """An environment in which every upstream is reached by this proxy."""
    names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {**{n: "" for n in (*names, *(n.upper() for n in names))}, "http_proxy": url, "https_proxy": url, **more}


def told(node):
    """All that a person is told by commands."""
    return "".join(node.command(*words, check=False).stdout for words in (("status",), ("doctor",)))


def refusing(status, headers, body):
    return lambda r: (status, headers, body)


REFUSALS = {
    "407": (refusing(407, {"Proxy-Authenticate": 'Basic realm="x"', **HTML}, PAGE), "wants a password (407)"),
    "403": (refusing(403, HTML, PAGE), "403"),
    "503": (refusing(503, HTML, PAGE), "503"),
    "redirect": (refusing(302, {"Location": "http://portal.invalid/sign-in", **HTML}, PAGE), ""),
    "closed": (lambda r: None, ""),
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", REFUSALS)
def test_a_proxy_that_refuses_is_named_as_the_proxy(bench, kind, scheme):
    answer, words = REFUSALS[kind]
    proxy = bench.add(Scripted(answer))
    core = bench.central(("docker.io", f"{scheme}://registry.invalid"), env=through(proxy.url))
    for reply in (raw.manifest(core.port, NAME, "v1"), raw.blob(core.port, NAME, "sha256:" + "0" * 64)):
        assert reply.status in (502, 504), reply
        assert f"proxy {HOST}:{proxy.port}" in reply.message and words in reply.message
    assert f"proxy {HOST}:{proxy.port}" in core.command("doctor", check=False).stdout
    assert f"proxy {HOST}:{proxy.port}" in core.command("status").stdout


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_is_named_as_the_proxy(bench, scheme):
    place = f"{HOST}:{free_port()}"
    core = bench.central(("docker.io", f"{scheme}://registry.invalid"), env=through(f"http://{place}"))
    reply = raw.manifest(core.port, NAME, "v1")
    assert reply.status == 502 and f"connect to proxy {place}: Connection refused" in reply.message
    assert f"proxy {place}" in told(core)

    def logged():
        raw.manifest(core.port, NAME, "v2")
        return any(e.get("event") == "upstream_endpoint_down" and f"proxy {place}" in e["why"] for e in core.log())

    wait_until(logged, "the log names the proxy", poll_s=0.3)


def test_a_page_of_a_proxy_with_status_200_never_becomes_an_image(bench):
    proxy = bench.add(Scripted(refusing(200, HTML, PAGE)))
    core = bench.central(("docker.io", "http://registry.invalid"), env=through(proxy.url))
    reply = raw.manifest(core.port, NAME, "v1")
    assert reply.status == 502 and f"proxy {HOST}:{proxy.port}" in reply.message
    assert "with a page" in core.command("doctor", check=False).stdout


def test_a_password_of_a_proxy_is_decoded_and_sent_to_it_alone(bench):
    shelf = Shelf()
    shelf.manifest, _ = shelf.image(f"{NAME}:v1")

    def answer(r):
        if r.headers.get("proxy-authorization") != "Basic am9lOlNlY3IjdCA5OQ==":  # joe:Secr#t 99
            return 407, {"Proxy-Authenticate": 'Basic realm="x"'}, b""
        r.path = "/" + r.path.split("/", 3)[3]
        return shelf(r)

    proxy = bench.add(Scripted(answer))
    core = bench.central(("docker.io", "http://registry.invalid"), env=through(f"http://joe:Secr%23t%2099@{HOST}:{proxy.port}"))
    assert raw.manifest(core.port, NAME, "v1").status == 200
    wrong = bench.central(("docker.io", "http://registry.invalid"), env=through(f"http://joe:nosuchpass@{HOST}:{proxy.port}"))
    reply = raw.manifest(wrong.port, NAME, "v1")
    assert reply.status == 502 and "does not accept the user and password given (407)" in reply.message
    assert "nosuchpass" not in reply.message + told(wrong) + wrong.process.text()


@pytest.mark.parametrize("secret", ["Secr#t99", "Secr t99", "Secr/t99", "Secr@t99", "Secr?t99", "12#t99", "Secr%t99", "scheme"])
def test_a_proxy_url_that_cannot_be_read_is_refused_at_the_start_without_its_password(bench, secret):
    url = "ftp://joe:Secrt99@" if secret == "scheme" else f"http://joe:{secret}@"
    core = bench.central(("docker.io", "http://registry.invalid"), start=False, env=through(f"{url}{HOST}:24301"))
    core.spawn()
    wait_until(lambda: not core.process.running(), "central refuses to start")
    text = core.process.text()
    assert "http_proxy in the environment is no proxy's URL" in text and "t99" not in text and "joe" not in text
    core.process = None


SECRETS = ("pr0xyS3cret", "acc0untS3cret", "t0kenS3cret", "l1nkS3cret", "am9l")  # am9l…: "joe" in base64


def test_no_output_contains_a_secret(bench):
    """The proxy's and the account's passwords, tokens, and users in URLs that registries send: in no answer, log, metric or command's words,
    whether a pull succeeds or fails."""
    shelf = Shelf()
    shelf.manifest, shelf.layer = shelf.image(f"{NAME}:v1")
    bad = "http://joe:l1nkS3cret@portal.invalid/x"

    def answer(r):
        r.path = "/" + r.path.split("/", 3)[3]
        if r.path == "/token":
            return 200, {}, json.dumps({"token": "t0kenS3cret"}).encode()
        if "authorization" not in r.headers:
            realm = bad if "/realm/" in r.path else "http://registry.invalid/token"
            return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}, b"{}"
        if "/moved/" in r.path:
            return 302, {"Location": bad}, b""
        if "/words/" in r.path:
            return 500, {}, json.dumps({"errors": [{"code": "UNKNOWN", "message": f"cannot read {bad}"}]}).encode()
        if "/tags/" in r.path:
            return 200, {"Link": f'<{bad}?n=1>; rel="next"'}, b'{"tags": []}'
        return shelf(r)

    proxy = bench.add(Scripted(answer))
    word = bench.place("password")
    word.write_text("acc0untS3cret\n")
    chain = bench.chain(
        ("docker.io", "http://registry.invalid"),
        env=through(f"http://joe:pr0xyS3cret@{HOST}:{proxy.port}"),
        central={"log.level": "debug"},
        edge={"log.level": "debug"},
        username="acme",
        password_file=str(word),
    )
    told_to_clients = ""
    for node in (chain.edge, chain.central):
        assert raw.manifest(node.port, NAME, "v1").status == 200
        for target in ("a/realm/manifests/v1", "a/moved/manifests/v1", "a/words/manifests/v1", "a/moved/x/tags/list", f"{NAME}/tags/list", f"{NAME}/manifests/no"):
            reply = raw.ask(node.port, f"/v2/{target}")
            assert reply.status != 200 or "warning" in reply.headers
            told_to_clients += f"{reply.headers} {reply.body.decode()}"
    proxy.stop()
    for node in (chain.edge, chain.central):
        reply = raw.manifest(node.port, NAME, "v2")
        told_to_clients += f"{reply.headers} {reply.body.decode()}"
    everything = told_to_clients
    for node in (chain.edge, chain.central):
        everything += node.process.text() + told(node) + node.command("status", "--json").stdout + raw.ask(node.admin, "/metrics").body.decode()
    for secret in SECRETS:
        assert secret not in everything, everything[max(0, everything.index(secret) - 300) :][:500]
