"""`make run` as a plain user sees it, without internet: in a network of its own, where the default ports are free."""

import os
import re
import shutil
import signal

import pytest

from lab.base import REPO, Process, run, wait_until
from lab.nodes import SANITIZERS, Build

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


@pytest.fixture(scope="module")
def built(shared_bench):
    """Script, programs and sample where a plain user may read them: the tree may stand in root's home."""
    folder = shared_bench.place("built")
    run("install", "-D", "-t", folder, REPO / "deploy/local/run", Build.tested / "entrepot-central", Build.tested / "entrepot-edge")
    run(REPO / "tests/sample/make-sample", folder / "sample")
    os.chmod(shared_bench.folder, 0o755)
    return folder


@pytest.fixture(scope="module")
def sample(built):
    return built / "sample"


class MakeRun:
    """What `make run` starts once all is built."""

    def __init__(self, home, sample):
        home.mkdir()
        os.chown(home, 65534, 65534)
        self.home = home
        self.env = {**SANITIZERS, "HOME": str(home), "XDG_DATA_HOME": "", "XDG_STATE_HOME": ""}
        self.bin = sample.parent
        self.data = {node: home / f".local/share/entrepot/{node}" for node in ("central", "edge")}
        self.script = [*NOBODY, self.bin / "run", self.bin, sample]
        self.process = Process(["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "-", *self.script], home / "said", self.env, home)

    def start(self):
        self.process.spawn()
        wait_until(lambda: "Ctrl-C stops both" in self.said() or not self.process.running(), self.said, 40)
        assert self.process.running(), self.said()
        return self

    def again(self):
        """What it says when it is started once more."""
        self.stop()
        self.process.log.unlink()
        return self.start().said()

    def said(self):
        return self.process.text()

    def command(self, node, *words, **how):
        return run(*NOBODY, self.bin / f"entrepot-{node}", *words, env=self.env, **how)

    def pid(self, node):
        return int(re.search(r"process (\d+)", self.command(node, "status").stdout)[1])

    def ended(self):
        wait_until(lambda: not self.process.running(), self.said, 40)
        return self.process.child.returncode

    def stop(self):
        """As Ctrl-C on a terminal does it: to the whole foreground group."""
        if self.process.running():
            os.killpg(self.process.pid, signal.SIGINT)
            self.ended()


@pytest.fixture
def started(bench, sample):
    os.chmod(bench.folder, 0o755)
    return bench.add(MakeRun(bench.place("home"), sample)).start()


def test_make_run_pulls_cold_and_warm_and_ctrl_c_stops_both(started):
    cold, warm = started.said().split("1. A pull")[1].split("2. The same again")
    for said, source in ((cold, "from central"), (warm, "from this node's store")):
        assert re.search(r"bytes +\S+ KiB in \d+\.\d\d s\n +from +\S+ KiB " + source, said), said
    assert "Anyone who reaches port 5050 of this machine may pull" in started.said()
    for hint in ("docker pull 127.0.0.1:5050/sample/hello", "ctr images pull --plain-http 127.0.0.1:5050", "docker.io/library/alpine", " status"):
        assert hint in started.said()
    assert (started.home / ".local/share/entrepot/edge/blobs").is_dir()
    pids = [started.pid(node) for node in ("central", "edge")]
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.ended() == 0, started.said()
    assert "both have stopped" in started.said() and str(started.home / ".local/share/entrepot") in started.said()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_make_run_says_that_the_sample_is_held_when_all_of_it_is(started):
    assert "holds it since" not in started.said()
    assert "holds it since" in started.again()
    started.command("edge", "prune", "--all")
    assert "sample/hello" not in started.command("edge", "ls").stdout  # only its tag is still known
    said = started.again()
    assert "holds it since" not in said and "from central" in said


JOINED = "joined: this edge is make-run-1 of the site make-run; central is https://127.0.0.1:5001"


def test_make_run_joins_its_edge_once_and_again_where_one_side_s_folder_is_gone_or_damaged(started):
    config, identity = started.data["edge"] / "make-run.yaml", started.data["edge"] / "identity/edge.pem"
    assert JOINED in started.said() and "site: make-run" in config.read_text()
    first = identity.read_text()
    started.process.env["CENTRAL_ARGS"] = "--set fleet.listen=127.0.0.1:5011"  # another port than the last time
    assert "joined" not in started.again() and identity.read_text() == first
    assert '"reachable": true' in started.command("edge", "status", "--json").stdout
    started.process.env["CENTRAL_ARGS"] = ""
    started.stop()
    shutil.rmtree(started.data["edge"])
    assert JOINED in started.again()
    started.stop()
    shutil.rmtree(started.data["central"])
    said = started.again()
    assert "has joined another central already: it is make-run-1" in said and "so the edge joins anew" in said and JOINED in said, said


def test_make_run_leaves_an_edge_alone_that_it_has_not_made_join(started):
    started.stop()
    (started.data["edge"] / "make-run.yaml").unlink()
    before = (started.data["edge"] / "identity/edge.pem").read_text()
    started.process.log.unlink()
    started.process.spawn()
    assert started.ended() == 1
    assert "not by `make run`, which leaves it alone" in started.said() and "EDGE_ARGS='--config FILE'" in started.said()
    assert (started.data["edge"] / "identity/edge.pem").read_text() == before


def test_loading_from_where_the_daemon_may_not_read_says_so(started, sample, tmp_path):
    os.chmod(tmp_path, 0o700)
    hidden = tmp_path / "layout"
    run("cp", "-r", sample, hidden)
    run("chmod", "-R", "go=", hidden)
    data = started.home / ".local/share/entrepot/central"  # asked by root, who may read it
    failed = run(Build.tested / "entrepot-central", "load", hidden, "sample/other:v1", "--set", f"data={data}", env=SANITIZERS, check=False)
    assert failed.returncode == 1 and "Permission denied" in failed.stderr and f"chmod -R a+rX {hidden}" in failed.stderr, failed.stderr
    run("chmod", "-R", "a+rX", hidden)  # the folder above stays closed to the daemon
    run(Build.tested / "entrepot-central", "load", hidden, "sample/other:v1", "--set", f"data={data}", env=SANITIZERS)


def test_a_second_make_run_says_that_one_runs(started):
    second = run(*started.script, env=started.env, check=False)
    assert second.returncode == 1 and "entrepot-central is running already" in second.stdout
    assert f"kill {started.pid('central')})" in second.stdout
    assert started.process.running()


def test_make_run_takes_options_and_its_hints_follow_them(bench, sample):
    os.chmod(bench.folder, 0o755)
    made = MakeRun(bench.place("home"), sample)
    for env in (made.env, made.process.env):
        env.update(CENTRAL_ARGS="--set registry.listen=:5010", EDGE_ARGS="--set registry.listen=:5055")
    said = bench.add(made).start().said()
    assert "docker pull 127.0.0.1:5055/sample/hello" in said and "5050" not in said
    config = f"--config {made.data['edge']}/make-run.yaml"
    assert f"{sample.parent}/entrepot-edge --set registry.listen=:5055 {config} pull docker.io/library/alpine" in said


def test_make_run_names_the_folders_it_was_given_and_offers_to_remove_its_own_alone(bench, sample):
    os.chmod(bench.folder, 0o755)
    made = MakeRun(bench.place("home"), sample)
    folders = {node: made.home / f"of {node}".replace(" ", "-") for node in ("central", "edge")}
    made.process.env.update({f"{node.upper()}_ARGS": f"--set data={folder}" for node, folder in folders.items()})
    bench.add(made).start().stop()
    said = made.said()
    for folder in folders.values():
        assert said.count(str(folder)) >= 2 and (folder / "blobs").is_dir(), said
    assert "both have stopped" in said and "rm -r" not in said and ".local/share" not in said and "/var/lib" not in said, said


def test_make_run_s_own_folders_can_be_removed_as_it_says(started):
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.ended() == 0, started.said()
    told = re.search(r"to be rid of it: rm -r (.+)\)", started.said())[1].split()
    assert [str(started.home / p) for p in (".local/share/entrepot/central", ".local/share/entrepot/edge", ".local/state/entrepot")] == told


@pytest.mark.parametrize("port,told", [(5001, "CENTRAL_ARGS='--set fleet.listen=127.0.0.1:5011'`"), (5002, "CENTRAL_ARGS='--set admin.listen="), (5052, "EDGE_ARGS='--set admin.listen="), (5050, "EDGE_ARGS='--set registry.listen=")])
def test_make_run_s_hint_for_a_taken_port_names_its_key(bench, sample, port, told):
    os.chmod(bench.folder, 0o755)
    made = MakeRun(bench.place("home"), sample)
    take = f"import os, socket, sys; s = socket.socket(); s.bind(('0.0.0.0', {port})); s.listen(); os.set_inheritable(s.fileno(), True); os.execvp(sys.argv[1], sys.argv[1:])"
    at = made.process.argv.index("-") + 1
    made.process.argv[at:at] = ["/usr/bin/python3", "-c", take]
    made.process.spawn()
    assert made.ended() == 1
    assert "did not start" in made.said() and told in made.said(), made.said()


def test_make_run_s_hint_names_all_taken_ports_at_once(bench, sample):
    os.chmod(bench.folder, 0o755)
    made = MakeRun(bench.place("home"), sample)
    take = "import os, socket, sys\nfor port in (5000, 5001, 5002):\n s = socket.socket(); s.bind(('0.0.0.0', port)); s.listen(); os.set_inheritable(s.detach(), True)\nos.execvp(sys.argv[1], sys.argv[1:])"
    at = made.process.argv.index("-") + 1
    made.process.argv[at:at] = ["/usr/bin/python3", "-c", take]
    made.process.spawn()
    assert made.ended() == 1
    told = re.search(r"CENTRAL_ARGS='(.*?)'`", made.said())
    assert sorted(told[1].split("--set ")[1:]) == ["admin.listen=127.0.0.1:5012 ", "fleet.listen=127.0.0.1:5011 ", "registry.listen=:5010"], made.said()


def test_make_run_ends_cleanly_when_a_node_is_told_to_stop(started):
    os.kill(started.pid("central"), signal.SIGTERM)
    assert started.ended() == 0, started.said()
    assert "entrepot-central was told to stop" in started.said() and "by itself" not in started.said()


def test_a_port_that_another_user_s_node_holds_is_told_as_such(bench):
    holder = bench.central(settings={"default_upstream": '""'})
    other = bench.edge(holder.fleet, {"registry.listen": f"127.0.0.1:{holder.port}"}, start=False)
    done = run(other.binary, "serve", *other.arguments(), check=False, timeout=20)
    assert done.returncode == 1 and "another Entrepot node listens there" in done.stderr, done


@pytest.mark.parametrize("dies,other", [("central", "edge"), ("edge", "central")])
def test_make_run_fails_and_stops_the_other_when_one_dies(started, dies, other):
    rest = started.pid(other)
    os.kill(started.pid(dies), signal.SIGKILL)
    assert started.ended() == 1
    assert f"entrepot-{dies} has ended by itself (status 137)" in started.said() and "event=ready" in started.said()
    assert not os.path.exists(f"/proc/{rest}")


def test_hints_name_the_engines_that_are_not_here(bench, sample):
    """A PATH with everything but the engines."""
    os.chmod(bench.folder, 0o755)
    folder = bench.place("bin")
    folder.mkdir()
    for name in ("bash", "sh", "cat", "date", "env", "grep", "id", "ip", "mkdir", "sed", "seq", "setpriv", "setsid", "sleep", "stat", "tail"):
        found = run("sh", "-c", f"command -v {name}").stdout.strip()
        (folder / name).symlink_to(found)
    made = MakeRun(bench.place("home"), sample)
    made.process.argv = [f"/usr/bin/{a}" if a in ("env", "unshare", "setpriv") else a for a in made.process.argv]
    made.env["PATH"] = made.process.env["PATH"] = str(folder)
    bench.add(made).start()
    for engine in ("docker", "ctr", "podman"):
        assert f"# where {engine} is installed; it is not here" in made.said()
