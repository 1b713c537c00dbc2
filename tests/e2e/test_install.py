"""What `make install` puts in place: programs that run, units that systemd accepts, documents whose links lead somewhere."""

import re
import shutil

import pytest

from lab.base import REPO, run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    top = tmp_path_factory.mktemp("root")
    run("make", "-s", "-C", REPO, "install", f"DESTDIR={top}", timeout=600)
    return top


def test_programs_run(root):
    for node in ("central", "edge"):
        said = run(root / f"usr/bin/entrepot-{node}", "--version").stdout
        assert re.fullmatch(rf"entrepot-{node} \d+\.\d+\.\d+\S* \(commit ([0-9a-f]{{40}}|unknown)\)\n", said)
        example = root / f"usr/share/doc/entrepot/examples/{node}.yaml"
        assert "valid" in run(root / f"usr/bin/entrepot-{node}", "serve", "--check", "--config", example).stdout


def completed(root, node, *words):
    """What bash offers when the last of the words is being typed."""
    script = root / f"usr/share/bash-completion/completions/entrepot-{node}"
    line = " ".join(f"'{w}'" for w in (f"entrepot-{node}", *words))
    ask = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _entrepot_{node}; echo ${{COMPREPLY[@]}}"
    return run("bash", "-c", ask).stdout.split()


def test_completion_knows_commands_options_words_and_keys(root):
    for node in ("central", "edge"):
        assert completed(root, node, "pr") == ["prune"]
        assert {"serve", "pull", "ls", "help"} <= set(completed(root, node, ""))
        assert ("load" in completed(root, node, "")) == (node == "central")
        assert "config-docs" not in completed(root, node, "")
        assert completed(root, node, "--set", "log.level=debug", "--config", "/etc/hosts", "verify", "--r") == ["--rebuild"]
        assert completed(root, node, "--config", "=", "/etc/hosts", "prune", "") == ["--to", "--all"]
        assert completed(root, node, "client-config", "pod") == ["podman"]
        assert completed(root, node, "help", "doc") == ["doctor"]
        assert completed(root, node, "pull", "--platform", "linux/arm64", "--a") == ["--all"]
        assert completed(root, node, "--set", "log.l") == ["log.level="]
        assert set(completed(root, node, "--config", "/etc/host")) == set(completed(root, node, "--config", "=", "/etc/host"))


def test_man_page_says_every_command_and_option_without_a_warning(root):
    for node in ("central", "edge"):
        page = root / f"usr/share/man/man1/entrepot-{node}.1"
        shown = run("groff", "-man", "-Tutf8", "-k", "-ww", "-rLL=200n", page)
        assert not shown.stderr
        # Bold is a letter struck twice, or an escape sequence.
        text = re.sub(".\b|\x1b\\[[0-9;]*m", "", shown.stdout).replace("\N{MINUS SIGN}", "-")
        program = root / f"usr/bin/entrepot-{node}"
        commands = set(completed(root, node, ""))
        for said in [run(program, "help")] + [run(program, "help", c) for c in commands]:
            for line in said.stdout.splitlines():
                if re.match(r"  \S", line):
                    assert line.split()[0] in text, line
        assert f"entrepot-{node} - " in text and "EXIT STATUS" in text


def test_version_comes_from_the_tag_and_the_commit_also_in_an_archive(tmp_path):
    tree, unpacked = tmp_path / "tree", tmp_path / "unpacked"
    (tree / "deploy").mkdir(parents=True)
    unpacked.mkdir()
    for name in ("version", ".gitattributes"):
        shutil.copy(REPO / "deploy" / name, tree / "deploy" / name)

    def git(*args):
        who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        return run("git", *who, "-C", tree, *args).stdout.strip()

    def version(folder, *args):
        return run(folder / "deploy/version", *args).stdout.strip()

    def archived(*args):
        run("sh", "-c", f"git -C {tree} archive HEAD | tar -x -C {unpacked}")
        return version(unpacked, *args)

    assert (version(tree), version(tree, "commit")) == ("0.1.0", "unknown")  # no git at all
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    assert re.fullmatch(r"0\.1\.0\+git\d{14}\.[0-9a-f]{7}", version(tree))
    assert archived() == version(tree)
    assert archived("commit") == version(tree, "commit") == git("rev-parse", "HEAD")
    git("tag", "v1.2.3")
    assert version(tree) == archived() == "1.2.3"
    (tree / "deploy/more").write_text("more")
    git("add", ".")
    assert re.fullmatch(r"1\.2\.3\+git\d{14}\.[0-9a-f]{7}\.modified", version(tree))
    git("commit", "-q", "-m", "two")
    assert re.fullmatch(r"1\.2\.3\+git\d{14}\.[0-9a-f]{7}", version(tree))
    assert archived() == version(tree)


def test_folders_that_root_makes_above_the_data_let_the_service_pass(bench):
    """A try as root (`make run`) makes /var/lib/entrepot; the service, which is not root, then has its folder in it."""
    edge = bench.edge(1, start=False)
    edge.settings["data"] = edge.data = bench.place("lib") / "entrepot" / "edge"
    edge.start_not_ready()
    assert [oct(p.stat().st_mode & 0o777) for p in (edge.data, *list(edge.data.parents)[:2])] == ["0o700", "0o755", "0o755"]


def test_links_of_installed_documents_lead_somewhere(root):
    documents = list((root / "usr/share/doc/entrepot").rglob("*.md"))
    assert len(documents) > 5
    links = [(d, link) for d in documents for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", d.read_text())]
    assert links
    dead = [f"{d.relative_to(root)}: {link}" for d, link in links if not (d.parent / link).exists()]
    assert not dead


def test_units_are_accepted_by_systemd_and_well_locked_up(root, tmp_path):
    for node in ("central", "edge"):
        unit = root / f"usr/lib/systemd/system/entrepot-{node}.service"
        for page in re.findall(r"file://(\S+)", unit.read_text()):
            assert (root / page.lstrip("/")).exists(), page
        # The same with the program where it is now: systemd looks whether it can be run.
        here = tmp_path / unit.name
        here.write_text(unit.read_text().replace("/usr/bin/entrepot", f"{root}/usr/bin/entrepot"))
        done = run("systemd-analyze", "verify", "--man=no", here, check=False)
        about = [line for line in (done.stdout + done.stderr).splitlines() if "entrepot" in line]
        assert not about, about
        said = run("systemd-analyze", "security", "--offline=true", "--threshold=15", unit, check=False)
        assert said.returncode == 0, said.stdout


def test_errors_that_end_a_start_have_their_priority_in_the_journal(root):
    """As systemd starts it: JOURNAL_STREAM names the stream that the journal reads."""
    start = 'JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) exec "$@"'
    for node in ("central", "edge"):
        told = run("sh", "-c", start, "sh", root / f"usr/bin/entrepot-{node}", "serve", "--set", "drain=soon", check=False).stderr
        assert told and all(line.startswith("<3>") for line in told.splitlines()), told


def test_drop_ins_for_a_low_port_leave_the_users_of_the_machine(root):
    """With PrivateUsers=yes, which the units have, CAP_NET_BIND_SERVICE is of no use."""
    pages = root.glob("usr/share/doc/entrepot/**/*.md")
    drop_ins = [b for page in pages for b in re.findall(r"```\n(\[Service\].*?)```", page.read_text(), re.S) if "CAP_NET_BIND_SERVICE" in b]
    assert drop_ins and all("PrivateUsers=no" in b for b in drop_ins)
