"""In which repositories content is served. Only content that was found makes a scope, and when scope numbers are used up the source is asked
each time."""

import json
import sqlite3

from lab import images, raw

HOSTED = {"hosted": json.dumps(["acme/**", "sample/**"])}


def scopes(node):
    with sqlite3.connect(f"file:{node.data}/index.db?mode=ro", uri=True) as db:
        return sorted(name for name, in db.execute("select name from scopes"))


def load(central, bench, name, image):
    layout = bench.place("layout")
    images.write_layout(image, layout, "v1")
    central.command("load", layout, name)


def test_requests_for_unknown_names_make_no_scope(bench):
    up = bench.faulty()
    image = up.put("team/app", images.small(1), "v1")
    password = bench.place("password")
    password.write_text("secret")
    chain = bench.chain(("docker.io", up.url), central=HOSTED, username="acme", password_file=str(password))
    for port in (chain.central.port, chain.edge.port):
        for n in range(50):
            assert raw.manifest(port, f"sample/{n}", "x").status == 404
            assert raw.manifest(port, f"team/{n}", "x").status == 404
            assert raw.manifest(port, f"team/{n}", image.digest).status == 404
            assert raw.blob(port, f"team/{n}", image.layers[0].digest).status == 404
    raw.pull(chain.edge.port, "team/app", "v1")
    chain.edge.stop()
    chain.central.stop()
    assert scopes(chain.central) == scopes(chain.edge) == ["docker.io/team/app"]


def test_when_scope_numbers_are_used_up_nothing_is_served_in_another_repository(bench):
    central = bench.central(("docker.io", bench.faulty().url), settings=HOSTED)
    image = images.small(5)
    load(central, bench, "acme/secret:v1", image)

    def get(name):
        return raw.blob(central.port, name, image.layers[0].digest).status, raw.manifest(central.port, name, image.digest).status

    assert get("acme/secret") == (200, 200)
    central.stop()
    with sqlite3.connect(central.data / "index.db") as db:
        # In use by something, so that it is not given again.
        db.execute("insert or replace into scopes values(16777215, 'the last one')")
        db.execute("insert or replace into more_scopes select digest, 16777215 from blobs limit 1")
    central.start()
    assert get("sample/never-asked-before") == (404, 404)
    assert get("acme/secret") == (200, 200)


def test_a_scope_is_removed_with_its_last_blob(bench):
    up = bench.faulty()
    up.put("team/app", images.small(1), "v1")
    password = bench.place("password")
    password.write_text("secret")
    central = bench.central(("docker.io", up.url), username="acme", password_file=str(password))
    raw.pull(central.port, "team/app", "v1")
    central.restart()
    assert scopes(central) == ["docker.io/team/app"]
    central.command("prune", "--all")
    central.restart()
    central.stop()
    assert scopes(central) == []
