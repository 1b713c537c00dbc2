"""What `make install` puts in place: programs that run, units that systemd accepts, documents whose links lead somewhere."""

import re

import pytest

from lab.base import REPO, run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    top = tmp_path_factory.mktemp("root")
    run("make", "-s", "-C", REPO, "install", f"DESTDIR={top}", timeout=600)
    return top


def test_programs_run(root):
    for node in ("central", "edge"):
        assert run(root / f"usr/bin/entrepot-{node}", "--version").stdout.startswith(f"entrepot-{node} ")
        example = root / f"usr/share/doc/entrepot/examples/{node}.yaml"
        assert "valid" in run(root / f"usr/bin/entrepot-{node}", "serve", "--check", "--config", example).stdout


def test_folders_that_root_makes_above_the_data_let_the_service_pass(bench):
    """A try as root (`make run`) makes /var/lib/entrepot; the service, which is not root, then has its folder in it."""
    edge = bench.edge(1, start=False)
    edge.settings["data"] = edge.data = bench.place("lib") / "entrepot" / "edge"
    edge.start()
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
