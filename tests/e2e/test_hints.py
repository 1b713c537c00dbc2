"""What a message or a document tells an operator to write into a configuration is YAML, and the daemon takes it."""

import re

import pytest
import yaml
from lab import raw
from lab.base import REPO, run
from lab.nodes import RELEASE


def keys_of(kind):
    """(key, type) of each row of docs/configuration.md for that node."""
    text = (REPO / "docs/configuration.md").read_text()
    part = text[text.index(f"## entrepot-{kind}\n") :]
    return re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|", part.split("\n## ")[0], re.M)


def put(tree, key, value):
    """The value at a.b or a[].b of a configuration."""
    *above, name = key.split(".")
    for step in above:
        inner = tree.setdefault(step.removesuffix("[]"), [{}] if step.endswith("[]") else {})
        tree = inner[0] if step.endswith("[]") else inner
    tree[name] = value


def check(kind, folder, tree):
    """What `serve --check` says of a configuration, on its error output. tree: or the text itself."""
    file = folder / f"{kind}.yaml"
    file.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return run(RELEASE / f"entrepot-{kind}", "serve", "--check", "--config", file, check=False).stderr


@pytest.mark.parametrize("kind", ["central", "edge"])
def test_every_example_of_a_key_is_yaml_that_is_taken(kind, tmp_path):
    keys = dict(keys_of(kind))
    items = {key.rsplit("[]", 1)[0] for key in keys if "[]" in key}
    inner = {key for key in items if "[]" in key}
    assert len(keys) > 30
    found = {}
    plain = sorted(keys.keys() - items)  # asked in parts: no more than fifty errors are told
    # A list of another type has no items that could be wrong.
    for some in (*(plain[i : i + 40] for i in range(0, len(plain), 40)), inner, items - inner):
        wrong, right = {}, {}
        for key in some:
            put(wrong, key, {"no": "list"} if keys[key].startswith("list") else ["no value"])
        said = check(kind, tmp_path, wrong) if some else ""
        for path, hint in re.findall(r": ([^ ]+): must be .*\n +try: for example (.*)", said):
            key = re.sub(r"\[[^]]*\]|\.0(?=\.)", "[]", path)
            (name, value), = yaml.safe_load(hint).items()
            assert name == key.split(".")[-1] and value is not None, (path, hint)
            assert isinstance(value, list) == keys[key].startswith("list"), (path, hint)
            found[key] = value
            put(right, key, value)
        said = check(kind, tmp_path, right)
        assert not re.search(r"must be(?! given)|not valid", said), said
    assert len(found) > len(keys) * 2 // 3, sorted(keys.keys() - found.keys())


def test_what_is_wrong_with_a_file_comes_with_what_to_write(tmp_path):
    for text, wanted in (("upstreams: [docker.io]\n", "try: for example upstreams: [{name: docker.io, endpoints:"),
                         ("sites:\n  - shanghai\n", "try: for example sites: [{name: shanghai, networks:"),
                         ("address: a: b\n", 'try: begin each key on a line of its own, with the same indentation; quote a value that holds ": "')):
        said = check("central", tmp_path, text)
        assert wanted in said, said


@pytest.mark.parametrize("host", ["registry.example", "localhost:5000", "10.0.0.1:80", "[2001:db8::1]:5000", "1.2", ".".join(["a" * 60] * 4)])
def test_the_entry_for_an_unknown_upstream_can_be_copied(shared_node, tmp_path, host):
    reply = raw.ask(shared_node.port, f"/v2/app/manifests/v1?ns={host}")
    assert reply.status == 404, reply
    entry = re.search(r"add an entry `(.*)` under `upstreams`", reply.json()["errors"][0]["message"])
    (item,) = yaml.safe_load(entry[1])
    assert item == {"name": host}
    assert check("central", tmp_path, {"upstreams": [item], "default_upstream": ""}) == ""


@pytest.fixture(scope="module")
def shared_node(shared_bench):
    return shared_bench.central(("docker.io", "http://127.0.0.1:1"), build=RELEASE)


def test_every_example_in_the_documents_is_yaml():
    found = 0
    for file in (REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))):
        for block in re.findall(r"^ *```ya?ml\n(.*?)^ *```", file.read_text(), re.M | re.S):
            assert yaml.safe_load(block) is not None, (file, block)
            found += 1
    assert found > 0
    for kind in ("central", "edge"):
        example = (REPO / f"deploy/{kind}.yaml").read_text()
        for text in (example, re.sub(r"^#(?!#)", "", example, flags=re.M)):  # as it is, and with every key of it in use
            assert isinstance(yaml.safe_load(text), dict), text
