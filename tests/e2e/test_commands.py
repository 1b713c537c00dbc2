"""The commands people type: what they print, their JSON, their exit status."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios

import pytest

from lab import images, pki, raw
from lab.base import HOST, REPO, MiB, run, wait_until
from lab.faulty import Fault
from lab.nodes import SANITIZERS

NODES = ["central", "edge"]


@pytest.fixture(scope="module")
def chain(shared_bench):
    up = shared_bench.registry()
    second = shared_bench.registry()
    up.put("library/app", images.small("commands"), "v1")
    up.put("library/extra", images.small("extra", layers=4), "v1")
    second.put("team/tool", images.small("tool"), "v1")
    made = shared_bench.chain(("docker.io", up.url), ("second.test", second.url))
    made.upstream = up
    raw.pull(made.edge.port, "library/app", "v1")
    return made


@pytest.fixture(params=NODES)
def node(chain, request):
    return getattr(chain, request.param)


# --- usage ---


def status(node, *words):
    return run(node.binary, *words, check=False)


def test_help_lists_the_commands(node):
    done = status(node, "help")
    assert done.returncode == 0
    for word in ("serve", "status", "doctor", "ls", "df", "prune", "verify", "client-config"):
        assert word in done.stdout, word


def test_operating_names_every_command(node):
    """What `help` lists has a row among the commands of docs/operating.md."""
    commands = re.findall(r"^  ([a-z][a-z-]*)(?= )", status(node, "help").stdout.split("\nOptions")[0], re.M)
    assert len(commands) > 8, commands
    table = (REPO / "docs/operating.md").read_text().split("## Commands")[1].split("\n#")[0]
    firsts = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = set(re.findall(r"`([a-z-]+)", " ".join(firsts)))
    assert set(commands) <= named, set(commands) - named


@pytest.mark.parametrize("words", ["bogus", "serve --bogus", "serve extra", "serve --check extra", "status --set fresh_for", "client-config", "client-config bogus", "status extra words", "prune", "prune --to nonsense"])
def test_wrong_usage_is_2_and_says_what_is_right(node, tmp_path, words):
    done = run(node.binary, *words.split(), "--set", f"data={tmp_path}", check=False, timeout=15)
    assert done.returncode == 2, done
    assert done.stderr and not done.stdout


def test_an_unknown_option_is_named_in_the_error(node):
    for command in ("status", "doctor", "df"):
        done = status(node, command, "--bogus")
        assert done.returncode == 2 and "unknown option --bogus" in done.stderr, done
        assert "takes no arguments" in status(node, command, "bogus").stderr


def test_words_that_exclude_each_other_are_told(chain):
    said = lambda node, *words: node.command(*words, check=False)
    for node in (chain.central, chain.edge):
        done = said(node, "prune", "--to", "1GiB", "--all")
        assert done.returncode == 2 and "--to SIZE or --all, not both" in done.stderr, done
    done = said(chain.central, "ls", "library/app", "--where", "library/app:v1")
    assert done.returncode == 2 and "not both" in done.stderr, done
    done = said(chain.central, "edge", "list", "shanghai-1")
    assert done.returncode == 2 and "list takes no name" in done.stderr, done
    done = said(chain.central, "edge", "invite", "--site", "shanghai", "--expires", "1y")
    assert done.returncode == 2 and '"1y" is not a time; write a number with' in done.stderr, done


def test_help_shows_an_example_where_it_works(node):
    for words in (("help", "ls"), ("command-docs", "man")):
        shown = "the edges that hold that image" in status(node, *words).stdout
        assert shown == ("central" in str(node.binary)), words


def test_a_mistyped_command_is_told_the_nearest(node):
    assert "status" in status(node, "statsu").stderr


def test_check_validates_and_names_the_nearest_key(node):
    assert node.command("serve", "--check").returncode == 0
    done = run(node.binary, "serve", "--check", "--set", "store.limti=1GiB", check=False)
    assert done.returncode != 0 and "limti" in done.stderr and "store.limit" in done.stderr
    done = run(node.binary, "serve", "--check", "--set", "store.limit=1parsec", check=False)
    assert done.returncode != 0 and "parsec" in done.stderr


def test_check_finds_a_port_that_is_used_twice(node):
    check = lambda *sets: run(node.binary, "serve", "--check", *(w for s in sets for w in ("--set", s)), check=False)
    for registry, admin in (("127.0.0.1:5999", "127.0.0.1:5999"), (":5999", "127.0.0.1:5999"), ("127.0.0.1:5999", "0.0.0.0:5999"), ("[::]:5999", "[::1]:5999")):
        done = check(f"registry.listen={registry}", f"admin.listen={admin}")
        assert done.returncode == 1 and "admin.listen" in done.stderr and "registry.listen" in done.stderr, done
    for registry, admin in (("127.0.0.1:5999", "127.0.0.2:5999"), (":5998", ":5999"), ("127.0.0.1:0", "127.0.0.1:0")):
        assert check(f"registry.listen={registry}", f"admin.listen={admin}").returncode == 0


def test_check_loads_the_certificate(bench, node, tmp_path):
    cert, key = pki.self_signed(tmp_path, "good")
    other = pki.self_signed(tmp_path, "other")[1]
    check = lambda c, k: run(node.binary, "serve", "--check", "--set", f"registry.cert_file={c}", "--set", f"registry.key_file={k}", check=False)
    assert check(cert, key).returncode == 0
    os.mkfifo(tmp_path / "fifo")
    for c, k, named in (("/etc/passwd", key, "/etc/passwd"), (cert, "/etc/passwd", "/etc/passwd"), (cert, other, "does not belong"), (tmp_path / "fifo", key, "fifo")):
        done = check(c, k)
        assert done.returncode == 1 and named in done.stderr, done


def test_a_bare_small_number_is_no_size(node, tmp_path):
    for value in ("50", "500", "1000"):
        done = run(node.binary, "serve", "--check", "--set", f"store.limit={value}", check=False)
        assert done.returncode == 1 and f"{value}GiB" in done.stderr and f"means {value} bytes" in done.stderr, done
    done = run(node.binary, "prune", "--to", "50", "--set", f"data={tmp_path}", check=False)
    assert done.returncode == 2 and "50GiB" in done.stderr, done
    for value in ("0", "50B", "50GiB", "1048576"):
        assert run(node.binary, "serve", "--check", "--set", f"store.limit={value}", check=False).returncode == 0, value


def test_check_reads_the_proxies_that_central_would_use(chain):
    secret = {**SANITIZERS, "http_proxy": "http://joe:Secr#t99@127.0.0.1:3128"}
    done = run(chain.central.binary, "serve", "--check", env=secret, check=False)
    assert done.returncode == 1 and "http_proxy in the environment is no proxy's URL" in done.stderr and "t99" not in done.stderr, done
    assert not done.stdout
    assert run(chain.edge.binary, "serve", "--check", env=secret, check=False).returncode == 0  # it uses none
    assert run(chain.central.binary, "serve", "--check", env={**SANITIZERS, "http_proxy": "http://127.0.0.1:3128"}, check=False).returncode == 0


def test_all_ports_that_are_taken_are_told_at_once(bench):
    central = bench.central(("docker.io", "http://127.0.0.1:1"), start=False)
    ports = {key: central.settings[key] for key in ("registry.listen", "fleet.listen", "admin.listen")}
    with contextlib.ExitStack() as taken:
        for address in ports.values():
            taken.enter_context(socket.create_server((HOST, int(address.rsplit(":", 1)[1]))))
        done = run(central.binary, "serve", *central.arguments(), check=False, timeout=20)
    assert done.returncode == 1
    for key, address in ports.items():
        assert f"{key}: listening on {address}: Address already in use" in done.stderr and f"--set {key}=HOST:PORT" in done.stderr, done.stderr
    assert "other addresses" in done.stderr


def test_an_upstream_s_files_that_cannot_be_read_are_told_at_start_and_harm_no_plain_http(bench, tmp_path):
    up = bench.faulty()
    up.put("library/app", images.small("plain"), "v1")
    os.mkfifo(tmp_path / "fifo")
    for path, why in ((tmp_path / "fifo", "not a regular file"), (tmp_path, "not a regular file"), (tmp_path / "none", "No such file")):
        central = bench.central(("docker.io", up.url), ca_file=str(path))
        done = central.command("serve", "--check", check=False)
        assert done.returncode == 1 and str(path) in done.stderr and why in done.stderr, done
        (line,) = [e for e in central.log() if e.get("event") == "file_unusable"]
        assert str(path) in line["why"] and why in line["why"]
        assert raw.manifest(central.port, "library/app", "v1").status == 200


def test_a_wrong_file_is_named_with_its_line(node, tmp_path):
    file = tmp_path / "node.yaml"
    file.write_text("log:\n  level: info\nstroe:\n  limit: 1GiB\n")
    done = run(node.binary, "serve", "--check", "--config", file, check=False)
    assert done.returncode != 0 and re.search(rf"{re.escape(str(file))}:3", done.stderr) and "store" in done.stderr


def test_a_file_that_may_not_be_read_is_told_with_who_may(node):
    done = run("setpriv", "--reuid", "65534", "--clear-groups", node.binary, "serve", "--check", "--config", "/etc/shadow", check=False)
    assert done.returncode == 1 and "opening /etc/shadow: Permission denied\n  try: run this as root (sudo)" in done.stderr, done


def test_every_error_of_a_file_is_reported(node, tmp_path):
    file = tmp_path / "node.yaml"
    file.write_text("stroe: {}\nlog:\n  level: loud\n  format: xml\nstore: { limit: 5 parsecs }\n" + "".join(f"k{i}: 1\n" for i in range(60)))
    done = run(node.binary, "serve", "--check", "--config", file, check=False)
    assert done.returncode == 1 and not done.stdout
    told = [line for line in done.stderr.splitlines() if str(file) in line]
    assert len(told) == 50 and "and 14 more errors" in done.stderr, done.stderr
    file.write_text("stroe: {}\nlog:\n  level: loud\n  format: xml\nstore: { limit: 5 parsecs }\n")
    done = run(node.binary, "serve", "--check", "--config", file, check=False)
    assert sorted(re.findall(rf"{re.escape(str(file))}:(\d+):", done.stderr)) == ["1", "3", "4", "5"], done.stderr


def test_no_error_of_a_file_hides_another(bench, tmp_path):
    binary = bench.central(start=False).binary
    file = tmp_path / "node.yaml"

    def told(text):
        file.write_text(text)
        done = run(binary, "serve", "--check", "--config", file, check=False)
        assert done.returncode == 1 and not done.stdout, done
        return done.stderr

    said = told("foo: 1\nlog: { level: info }\nlog: { level: loud }\nupstreams:\n  - name: docker.io\n    password: x\n    username: y\n")
    assert re.search(rf"{file}:1:1: unknown key \"foo\"\n", said) and "node.yaml:3:1: key \"log\" is given twice" in said
    assert "did you mean \"upstreams[0].password_file\"" in said and "node.yaml:7:15: upstreams[0].username: needs password_file" in said, said
    said = told("upstreams:\n  - { name: docker.io, username: y, password_file: /none }\nregistry: { cert_file: /tmp, key_file: /nokey }\n")
    assert f"{file}:2:52: upstreams[0].password_file: cannot read /none" in said, said
    assert f"{file}:3:24: registry.cert_file: /tmp is not a regular file" in said and "registry.key_file: cannot read /nokey" in said, said
    assert 'sites[1].networks: "10.1.2.0/16" is a network of a site already' in told(
        "sites: [ { name: a, networks: [ 10.1.0.0/16 ] }, { name: b, networks: [ 10.1.2.0/16 ] } ]\n")
    assert "sites[0].networks: \"10.1.0.0/99\"" in told("sites: [ { name: a, networks: [ 10.1.0.0/99, 10.1.0.0/16, \"2001:db8::/48\" ] } ]\n")
    assert "data: /etc/passwd is not a folder" in told("data: /etc/passwd\n")


def test_central_s_address_without_a_scheme_or_on_another_machine_is_told(bench):
    binary = bench.edge(1, start=False).binary
    check = lambda url: run(binary, "serve", "--check", "--set", f"central={url}", check=False)
    for bare in ("10.0.0.1:5001", "10.0.0.1"):
        assert "try: http://10.0.0.1:5001 or https://10.0.0.1:5001\n" in check(bare).stderr, bare
    assert "try: http://[::1]:5001 or" in check("[::1]").stderr
    done = check("http://10.0.0.1:5001")
    assert done.returncode == 0 and "note: central is not on this machine" in done.stderr
    for url in ("http://127.0.0.1:5001", "http://127.0.0.1:5001/", "https://[::1]:5001"):
        assert not check(url).stderr
    for url, told in (("http://127.0.0.1", "names no port"), ("https://[::1]", "names no port"), ("http://127.0.0.1:5001/v2", "has a path")):
        assert check(url).returncode == 0 and told in check(url).stderr, url


def test_a_malformed_set_option_does_not_swallow_the_command(node):
    done = status(node, "--set", "status")
    assert done.returncode == 2 and 'and not "status"' in done.stderr


def test_commands_without_a_daemon_fail_with_1_and_a_hint(node, tmp_path):
    done = run(node.binary, "status", "--set", f"data={tmp_path}", check=False)
    assert done.returncode == 1 and "serve" in done.stderr


def test_a_second_daemon_on_the_same_data_says_so(node):
    done = run(node.binary, "serve", *node.arguments(), check=False, timeout=20)
    assert done.returncode == 1 and done.stderr


# --- what is there ---


def test_status_tells_the_state(node):
    assert node.command("status").stdout
    assert node.json("status")


def test_ls_lists_repositories_and_tags(node):
    assert "docker.io/library/app" in node.command("ls").stdout
    assert "docker.io/library/app" in json.dumps(node.json("ls"))
    assert "v1" in node.command("ls", "docker.io/library/app").stdout
    found = json.dumps(node.json("ls", "docker.io/library/app"))
    assert "v1" in found and images.small("commands").digest in found


def test_df_counts_bytes(node):
    held = sum(b.size for b in [*images.small("commands").blobs().values(), images.small("commands").manifest])
    numbers = [int(n) for n in re.findall(r"\b\d+\b", json.dumps(node.json("df")))]
    assert any(n >= held for n in numbers)
    assert node.command("df").stdout


def test_verify_finds_all_well(node):
    assert node.command("verify").returncode == 0
    json.loads(node.command("verify", "--json").stdout)


def test_doctor_finds_a_healthy_pair_and_names_what_is_broken(bench, chain):
    for node in (chain.central, chain.edge):
        done = node.command("doctor", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        json.loads(node.command("doctor", "--json").stdout)
    broken = bench.edge(1, start=False).start_not_ready()  # nobody listens there
    done = broken.command("doctor", check=False)
    assert done.returncode == 1 and "central" in (done.stdout + done.stderr).lower()
    up = bench.faulty()
    for default, verdict in (("docker.io", "FAIL"), ("second.test", "warn")):
        dead = bench.chain(("docker.io", "http://127.0.0.1:1"), ("second.test", up.url), central={"default_upstream": default})
        said = check_of(dead.central, "upstreams")
        assert said["result"] == verdict and said["message"].startswith("docker.io: "), said
        # Central keeps what its doctor found out, for the edges.
        heard = check_of(dead.edge, "upstreams")
        assert heard["result"] == verdict and "docker.io: " in heard["message"] and "second.test" in heard["message"], heard
        assert "not asked yet" not in dead.central.command("status").stdout


def test_an_edge_knows_what_is_not_central_s_fleet_port(bench, chain):
    up = bench.faulty()
    up.always("", Fault(status=401))
    for port in (chain.central.port, chain.central.admin, chain.edge.port, chain.upstream.port, up.port):
        lost = bench.edge(port, start=False).start_not_ready()
        wrong = "this is not central's fleet port"
        assert wrong in wait_until(lambda: not (c := lost.json("status")["central"])["reachable"] and c["message"], "it is not reachable")
        assert wrong in lost.command("status").stdout
        said = check_of(lost, "central")
        assert said["result"] == "FAIL" and wrong in said["message"], said
        assert wrong in lost.command("pull", "library/app:v1", check=False).stderr
        assert any(wrong in e["why"] for e in lost.log() if e.get("event") == "central_unreachable")


def test_central_that_doctor_finds_again_is_asked_again(bench):
    up = bench.faulty()
    up.put("library/app", images.small("again"), "v1")
    made = bench.chain(("docker.io", up.url))
    made.central.stop()
    assert made.edge.command("pull", "library/app:v1", check=False).returncode == 1
    made.central.start()
    assert check_of(made.edge, "central")["result"] == "ok"
    assert made.edge.command("pull", "library/app:v1").returncode == 0


def test_doctor_and_pull_say_when_nothing_can_be_kept(bench, chain):
    edge = bench.edge(chain.central.fleet, {"store.min_free": "900TiB"})
    said = check_of(edge, "data folder")
    assert said["result"] == "FAIL" and "nothing can be kept" in said["message"] and "store.min_free" in said["what_to_do"], said
    assert [e for e in edge.log() if e.get("event") == "nothing_can_be_kept"]
    done = edge.command("pull", "library/app:v1")
    assert "not kept" in done.stderr and "see `doctor` and the log" in done.stderr and "from central" in done.stdout
    assert edge.json("pull", "library/app:v1")["pulls"][0]["passed_through"] > 0
    said = edge.command("status").stdout
    assert "of 0 B (nothing can be kept)" in said and "passed through" in said
    done = chain.edge.command("pull", "library/app:v1")
    assert "not kept" not in done.stderr and "passed through" not in chain.edge.command("status").stdout


def test_doctor_tells_the_store_s_own_limit(bench, chain):
    edge = bench.edge(chain.central.fleet, {"store.limit": "7MiB", "store.min_free": "1MiB"})
    assert "may take" in check_of(edge, "data folder")["message"] and "7.0 MiB" in check_of(edge, "data folder")["message"]


def test_doctor_goes_on_when_a_registry_name_is_not_in_dns(bench, chain):
    edge = bench.edge(chain.central.fleet, {"registry.names": "[nowhere.invalid]"})
    assert check_of(edge, "names")["result"] == "FAIL" and "nowhere.invalid" in check_of(edge, "names")["message"]
    assert check_of(edge, "/v2/")["result"] == "ok"


def test_a_node_says_that_it_is_stopping_until_it_has_stopped(bench):
    up = bench.faulty()
    blob = images.noise_blob(40 * MiB, "stopping")
    up.put("library/app", images.single_blob(blob), "v1")
    made = bench.chain(("docker.io", up.url))
    raw.pull(made.edge.port, "library/app", "v1")
    edge = made.edge
    with raw.Wire(edge.port, receive_buffer=65536) as wire:
        wire.ask("GET", f"/v2/library/app/blobs/{blob.digest}")
        wire.head()
        got = len(wire.more())
        edge.process.signal(signal.SIGTERM)
        ready = wait_until(lambda: (r := raw.ask(edge.admin, "/readyz")).status == 503 and r, "not ready")
        assert "stopping" in ready.body.decode() and raw.ask(edge.admin, "/healthz").status == 200 and edge.metrics()
        said = edge.command("status").stdout
        assert "stopping" in said and f"process {edge.process.pid}" in said
        assert "stopping" in check_of(edge, "daemon")["message"] and str(edge.process.pid) in check_of(edge, "daemon")["message"]
        for words in (["pull", "library/app:v1"], ["prune", "--all"]):
            done = edge.command(*words, check=False)
            assert done.returncode == 1 and "is stopping" in done.stderr, done
        while got < blob.size:
            got += len(wire.more())
    assert edge.process.child.wait(30) == 0


@pytest.mark.parametrize("kind,other", [("central", "edge"), ("edge", "central")])
def test_a_node_does_not_start_on_the_other_kind_s_folder(chain, kind, other, tmp_path):
    node = getattr(chain, kind)
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("catalog.db", "settings.pb"):
        if (getattr(chain, other).data / name).exists():
            (folder / name).touch()
    done = run(node.binary, "serve", *node.arguments(), "--set", f"data={folder}", check=False, timeout=20)
    assert done.returncode == 1 and f"the data folder of an entrepot-{other}" in done.stderr, done


def test_a_node_s_own_address_before_a_name_is_not_part_of_it(chain):
    for name in ("docker.io/library/app:v1", "library/app:v1", "second.test/team/tool:v1"):
        chain.edge.command("pull", f"{HOST}:{chain.edge.port}/{name}")
    assert raw.manifest(chain.edge.port, f"{HOST}:{chain.edge.port}/library/app", "v1").status == 200
    assert raw.manifest(chain.edge.port, "library/app", "v1", query=f"?ns={HOST}:{chain.edge.port}").status == 200
    chain.central.command("pull", f"{HOST}:{chain.central.port}/library/app:v1")
    assert "add an entry" in chain.edge.command("pull", f"{HOST}:1/library/app:v1", check=False).stderr


def test_ls_takes_the_names_that_pull_takes(chain):
    for words in (["library/app"], ["app"], ["docker.io/library/app"]):
        assert "v1" in chain.edge.command("ls", *words).stdout
    done = chain.edge.command("ls", "--json", "nope/x", check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["tags"] == [] and "nope/x" in done.stderr


def test_ls_says_that_blobs_are_held_whose_repository_is_not_known(bench, chain):
    edge = bench.edge(chain.central.fleet)
    assert "nothing is held" in edge.command("ls").stdout
    raw.pull(edge.port, "library/app", "v1")
    wait_until(lambda: edge.metric("entrepot_held_blobs") == 3, "all of it is held")
    edge.stop()
    for file in edge.data.glob("index.db*"):
        file.unlink()
    edge.start()
    wait_until(lambda: edge.metric("entrepot_held_blobs") == 3, "its blobs are adopted")
    said = edge.command("ls").stdout
    assert "nothing is held" not in said and ("blobs are held" in said or "library/app" in said), said


def test_load_says_what_a_layout_holds(bench, tmp_path):
    central = bench.central(("docker.io", "http://127.0.0.1:1"))
    images.write_layout(images.small("loaded"), tmp_path / "one")
    done = central.command("load", f"{tmp_path / 'one'}:v1", "sample/app:v1", check=False)
    assert done.returncode == 1 and f"load {tmp_path / 'one'} sample/app:v1" in done.stderr, done
    index = json.loads((tmp_path / "one" / "index.json").read_text())
    entry = index["manifests"][0]
    index["manifests"] = [{**entry, "annotations": {"org.opencontainers.image.ref.name": tag}} for tag in ("a", "b")]
    (tmp_path / "one" / "index.json").write_text(json.dumps(index))
    done = central.command("load", tmp_path / "one", "sample/app:zzz", check=False)
    assert done.returncode == 1 and "zzz" in done.stderr and "a, b" in done.stderr, done


def test_load_reads_a_layout_where_the_daemon_has_another_folder(bench, tmp_path):
    """As the shipped unit has a /tmp of its own."""
    central = bench.central(("docker.io", "http://127.0.0.1:1"), start=False)
    given, sandbox = central.binary, bench.place("sandbox")
    sandbox.write_text(f'#!/bin/sh\nexec unshare --mount sh -c \'mount -t tmpfs none {tmp_path} && exec "$@"\' - {given} "$@"\n')
    sandbox.chmod(0o755)
    central.binary = sandbox
    central.start()
    central.binary = given
    image = images.small("elsewhere")
    images.write_layout(image, tmp_path / "one", "v1")
    central.command("load", tmp_path / "one", "sample/app:v1")
    assert set(raw.pull(central.port, "sample/app", "v1")) == set(image.blobs()) | set(image.manifests())


def test_a_layout_that_is_truncated_while_it_is_loaded_is_only_an_error(bench, tmp_path):
    central = bench.central(("docker.io", "http://127.0.0.1:1"))
    blob = images.Sparse(1 << 30)
    images.write_layout(images.Image([blob]), tmp_path / "one", "v1")
    file = tmp_path / "one" / "blobs/sha256" / blob.digest.split(":")[1]
    loading = subprocess.Popen([str(a) for a in (central.binary, "load", tmp_path / "one", "sample/app:v1", *central.arguments())], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: sum(f.stat().st_size for f in (central.data / "fills").glob("*.tmp")) > MiB, "the layer is being read")
    os.truncate(file, MiB // 2)
    said = loading.communicate(timeout=60)[1]
    assert loading.returncode == 1 and "fewer than" in said, said
    assert central.running() and not list((central.data / "fills").glob("*.tmp"))
    assert raw.manifest(central.port, "sample/app", "v1").status == 404


def test_a_manifest_of_a_layout_that_is_no_small_file_is_refused(bench, tmp_path):
    central = bench.central(("docker.io", "http://127.0.0.1:1"))
    image = images.small("large")
    images.write_layout(image, tmp_path / "one", "v1")
    with open(tmp_path / "one" / "blobs/sha256" / image.top.digest.split(":")[1], "r+b") as file:
        file.truncate(100 * MiB)
    done = central.command("load", tmp_path / "one", "sample/app:v1", check=False)
    assert done.returncode == 1 and "at most" in done.stderr, done


def test_a_low_limit_of_connections_per_address_leaves_commands_alone(bench):
    central = bench.central(("docker.io", "http://127.0.0.1:1"), settings={"limits.connections_per_address": "1"})
    with raw.Wire(central.port) as wire:  # the one that an address may have
        wire.ask("GET", "/v2/", {})
        assert wire.reply().status == 200
        asking = [subprocess.Popen([str(a) for a in (central.binary, "status", *central.arguments())], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(4)]
        for command in asking:
            said = command.communicate(timeout=30)[0]
            assert command.returncode == 0, said
        done = central.command("doctor", check=False)  # its own pull comes from the same address
        assert "too many connections" in done.stdout and "raise limits.connections_per_address" in done.stdout, done


def test_a_node_stops_while_doctor_waits_for_an_upstream_that_says_nothing(bench):
    up = bench.faulty()
    up.always("/v2/$", Fault(stall_head=True))
    central = bench.central(("docker.io", up.url), settings={"drain": "1s"})
    asking = subprocess.Popen([str(a) for a in (central.binary, "doctor", *central.arguments())], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: up.requests("/v2/"), "the upstream is asked")
    central.stop()  # fails unless it ends
    asking.kill()
    asking.wait()


def test_a_hosted_blob_that_is_lost_is_to_be_loaded_again(bench, tmp_path):
    made = bench.chain(("docker.io", "http://127.0.0.1:1"))
    image = images.small("lost")
    images.write_layout(image, tmp_path / "one")
    made.central.command("load", tmp_path / "one", "sample/app:v1")
    for digest in image.blobs():
        os.truncate(made.central.blob_file(digest), 1) if not os.chmod(made.central.blob_file(digest), 0o644) else None
    made.central.command("verify", check=False)
    done = made.edge.command("pull", "sample/app:v1", check=False)
    assert done.returncode == 1 and "restore with `entrepot-central load" in done.stderr, done


def test_rebuild_says_what_it_does(bench, chain):
    edge = bench.edge(chain.central.fleet)
    raw.pull(edge.port, "library/app", "v1")
    edge.stop()
    done = edge.command("verify", "--rebuild")
    assert "index rebuilt" in done.stdout and "event=" not in done.stderr, done


def test_prune_accepts_its_size_in_both_notations(chain):
    assert "held" in chain.edge.command("prune", "--to=100GiB").stdout
    assert "held" in chain.edge.command("prune", "--to", "100GiB").stdout


def check_of(node, name):
    done = node.command("doctor", "--json", check=False)
    return next(c for c in json.loads(done.stdout)["checks"] if c["check"] == name)


def test_an_edge_s_doctor_shows_the_state_of_central_s_upstreams(bench):
    limited, gone = bench.faulty(), bench.faulty()
    limited.put("library/app", images.small("limited"), "v1")
    limited.always("/library/app/", Fault(headers={"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"}))
    made = bench.chain(("docker.io", limited.url), ("gone.test", gone.url))
    not_needed = check_of(made.edge, "upstreams")
    assert not_needed["result"] == "skip" and not_needed["message"].endswith("central has not needed them since its start: docker.io, gone.test")
    assert "entrepot-central doctor" in not_needed["what_to_do"]
    assert (lambda c: c["result"] == "ok" and "not" not in c["message"])(check_of(made.central, "upstreams"))
    raw.pull(made.edge.port, "library/app", "v1")
    heard = check_of(made.edge, "upstreams")
    assert heard["result"] == "ok" and "docker.io (76 of 100 pulls left)" in heard["message"], heard
    assert made.central.metric("entrepot_upstream_rate_limit_remaining", upstream="docker.io") == 76
    gone.stop()

    def gone_is_told():
        raw.manifest(made.edge.port, "gone.test/team/app", "v1")
        told = check_of(made.edge, "upstreams")
        return told["result"] == "warn" and told

    heard = wait_until(gone_is_told, "the edge's doctor names the upstream that is gone")
    assert heard["message"].startswith("of central: gone.test") and "refused" in heard["message"] and heard["what_to_do"], heard
    assert check_of(made.edge, "test pull")["result"] == "warn"  # central carries no sample
    layout = bench.place("layout")
    images.write_layout(images.small("sample"), layout)
    made.central.command("load", layout, "sample/hello:latest")
    assert wait_until(lambda: (c := check_of(made.edge, "test pull"))["result"] == "ok" and c, "a test pull goes through")["message"]
    made.central.stop()
    assert check_of(made.edge, "upstreams") == {"check": "upstreams", "result": "skip", "message": "not checked, because central does not answer", "what_to_do": ""}


def test_pull_brings_an_image_in(chain):
    image = images.small("extra", layers=4)
    done = chain.edge.command("pull", "library/extra:v1")
    assert done.returncode == 0
    for digest in [*image.blobs(), *image.manifests()]:
        wait_until(lambda d=digest: chain.edge.held(d), f"{digest} is held")
    assert chain.edge.command("pull", "second.test/team/tool:v1", "--json").returncode == 0
    done = chain.edge.command("pull", "library/none:v1", check=False)
    assert done.returncode == 1 and "library/none" in done.stderr
    assert chain.edge.command("pull", check=False).returncode == 2
    assert chain.edge.command("pull", "Not A Reference", check=False).returncode in (1, 2)


def test_a_pull_that_finds_no_source_names_doctor(bench):
    central = bench.central(("docker.io", "http://registry.invalid"))
    done = central.command("pull", "library/app:v1", check=False)
    assert done.returncode == 1 and "Could not resolve host" in done.stderr, done
    assert "try: `entrepot-central doctor`" in done.stderr, done


def test_a_platform_that_an_image_does_not_have_is_an_error(bench):
    up = bench.faulty()
    up.put("library/many", images.multi_platform(), "v1")
    up.put("library/one", images.small("one"), "v1")
    edge = bench.chain(("docker.io", up.url)).edge
    for image, has in (("library/many", "linux/arm64"), ("library/one", "linux/amd64")):
        done = edge.command("pull", f"{image}:v1", "--platform", "plan9/mips", check=False)
        assert done.returncode == 1 and f"{image}:v1: there is no image for plan9/mips; there is: " in done.stderr and has in done.stderr, done
        assert edge.command("pull", f"{image}:v1", "--platform", has).returncode == 0
        assert edge.command("pull", f"{image}:v1").returncode == 0
    done = edge.command("pull", "library/one:v1", "--platform", "linux/amd64/v9", check=False)
    assert done.returncode == 0, done  # it says no variant of its own


def test_a_missing_tag_is_called_so_whatever_its_upstream_says(bench):
    up = bench.faulty()
    up.always("/library/none/", Fault(status=404, body=json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest gibberish"}]}).encode()))
    made = bench.chain(("docker.io", up.url))
    for node in (made.central, made.edge):
        done = node.command("pull", "library/none:v9", check=False)
        assert done.returncode == 1 and "no such tag: docker.io/library/none:v9 (docker.io answered 404)" in done.stderr, done
        assert "gibberish" not in done.stderr and " central: " not in done.stderr
        got = raw.manifest(node.port, "library/none", "v9")
        assert got.status == 404 and got.message.startswith("no such tag: docker.io/library/none:v9"), got
    done = made.edge.command("pull", "sample/none:v9", check=False)
    assert "no such tag: sample/none:v9" in done.stderr, done


def on_a_terminal(node, *words, columns=60):
    """What a command shows on a terminal: the exit status, and the rows of its progress, in order."""
    main, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    argv = [str(a) for a in (node.binary, *words, *node.arguments())]
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=ours, env={**os.environ, **SANITIZERS})
    os.close(ours)
    shown = b""
    try:
        while part := os.read(main, 65536):
            shown += part
    except OSError:  # EIO: the last writer has gone
        pass
    child.communicate(timeout=60)
    os.close(main)
    return child.returncode, shown.decode().split("\r\x1b[K")


def test_a_long_pull_or_verify_shows_progress_on_a_terminal_alone(bench):
    up = bench.faulty()
    image = images.single_blob(images.noise_blob(6 * MiB, "progress"))
    name = "library/" + "a-long-name/" * 5 + "app"
    up.put(name, image, "v1")
    made = bench.chain(("docker.io", up.url))
    up.always("blobs/", Fault(rate=4 * MiB))
    status, rows = on_a_terminal(made.edge, "pull", f"{name}:v1")
    assert status == 0 and rows[0] == rows[-1] == "", rows  # begins by wiping, and leaves nothing
    assert any(re.match(r"…\S*/app:v1  \d.* MiB of 6.0 MiB  \d+ %  .*/s", row) for row in rows), rows
    assert all(len(row) < 60 for row in rows), rows
    percents = [int(m[1]) for row in rows if (m := re.search(r"(\d+) %", row))]
    assert percents == sorted(percents) and percents[0] < 100, percents
    status, rows = on_a_terminal(made.edge, "verify")
    assert status == 0 and any("%" in row for row in rows) and rows[-1] == "", rows
    for words in (["verify"], ["pull", f"{name}:v1"]):
        assert made.edge.command(*words).stderr == ""
        assert on_a_terminal(made.edge, *words, "--json") == (0, [""])


def test_a_loaded_image_is_hosted_and_never_asked_for_upstream(bench, chain):
    folder = bench.place("layout")
    image = images.small("loaded")
    images.write_layout(image, folder)
    assert raw.manifest(chain.edge.port, "sample/loaded", "v1").status == 404
    chain.central.command("load", folder, "sample/loaded:v1")
    mark = chain.upstream.mark()
    got = raw.pull(chain.edge.port, "sample/loaded", "v1")
    assert set(got) == set(image.blobs()) | set(image.manifests())
    assert raw.manifest(chain.edge.port, "sample/other", "v1").status == 404
    assert not chain.upstream.since(mark, about="sample/")


@pytest.mark.parametrize("how", ["rebuilt", "damaged"])
def test_a_hosted_image_outlives_its_index(bench, how):
    central = bench.central(("docker.io", "http://127.0.0.1:1"))
    image = images.small("kept")
    folder = bench.place("layout")
    images.write_layout(image, folder)
    central.command("load", folder, "sample/kept:v1")
    central.stop()
    if how == "rebuilt":
        assert "index rebuilt" in central.command("verify", "--rebuild").stdout
    else:
        with open(central.data / "index.db", "r+b") as index:  # of another version: not to be understood
            index.seek(60)
            index.write((99).to_bytes(4, "big"))
    central.start()
    assert set(raw.pull(central.port, "sample/kept", "v1")) == set(image.blobs()) | set(image.manifests())
    central.command("prune", "--all")
    assert set(raw.pull(central.port, "sample/kept", "v1")) == set(image.blobs()) | set(image.manifests())
    assert any(t["tag"] == "v1" for t in central.json("ls", "sample/kept")["tags"])
