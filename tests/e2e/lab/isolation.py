"""Isolates the tests' process, and all that it starts, from the machine: a network of its own (loopback alone, so that every port is free),
its own /etc, /run and /dev/shm, a home without settings. What the machine has configured for engines, proxies or Entrepot itself is not seen,
other runs beside this one are not met, and mounts that a killed run leaves end with it."""

import contextlib
import ctypes
import os
import resource
import shutil
import tempfile
from pathlib import Path

from .base import run

_NEW_MOUNTS, _NEW_NETWORK, _NEW_IPC = 0x00020000, 0x40000000, 0x08000000
_FILES = 65536  # enough for every test; a limit of millions makes old programs slow that close all they might have open

# What an engine, or one of ours, may read there.
_HIDDEN_IN_ETC = ("entrepot", "containers", "containerd", "docker", "cni", "rancher", "default/docker")
_HIDDEN_FOLDERS = ("/var/lib/entrepot", "/var/log/entrepot")
_KEPT = ("PATH", "TMPDIR", "TERM", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "CCACHE_DIR")
_KEPT_PREFIXES = ("ENTREPOT_", "E2E_", "SUDO_", "PYTEST_", "GCOV_", "ASAN_", "UBSAN_", "TSAN_")

_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'


def allowed():
    """why this process cannot be isolated, or None."""
    if os.geteuid() != 0:
        return "the end-to-end tests need root: they mount, make networks and start container engines. Try sudo"
    return None


def go():
    """For the calling thread and what it starts from now on. Returns the private folder, which the caller removes at the end."""
    folder = Path(tempfile.mkdtemp(prefix="entrepot-tests-"))
    _raise_limit_of_files()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS | _NEW_NETWORK | _NEW_IPC) != 0:
        raise OSError(ctypes.get_errno(), "root may not make namespaces here (unshare), and the end-to-end tests need that")
    run("mount", "--make-rprivate", "/")
    run("ip", "link", "set", "lo", "up")
    _own_etc(folder)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    os.mkdir("/run/lock")
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm")
    for hidden in _HIDDEN_FOLDERS:
        if os.path.isdir(hidden):
            run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", hidden)
    _own_environment(folder)
    return folder


def _raise_limit_of_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, _FILES)
    if hard < wanted:  # root may raise it
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (OSError, ValueError):
            wanted = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _own_etc(folder):
    """A copy in memory, so that the machine's is neither read by engines nor written by them."""
    mine = folder / "etc"
    mine.mkdir()
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", mine)
    run("cp", "-a", "/etc/.", mine)
    for name in _HIDDEN_IN_ETC:
        hidden = mine / name
        if hidden.is_dir() and not hidden.is_symlink():
            shutil.rmtree(hidden)
        else:
            hidden.unlink(missing_ok=True)
    containers = mine / "containers"
    containers.mkdir()
    (containers / "policy.json").write_text(_POLICY)
    (containers / "registries.conf").write_text("")
    # No name is found, at once: the link to the machine's resolver may lead nowhere here.
    (mine / "resolv.conf").unlink(missing_ok=True)
    (mine / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    run("mount", "--bind", mine, "/etc")
    run("umount", mine)


@contextlib.contextmanager
def etc_left_as_it_is(folder):
    """What is written to /etc meanwhile is gone afterwards."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    run("cp", "-a", "/etc/.", folder)
    run("mount", "--move", folder, "/etc")
    yield
    run("umount", "--lazy", "/etc")


def _own_environment(folder):
    home = folder / "home"
    home.mkdir()
    # The tree may belong to the user who called sudo.
    (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
    cache = os.environ.get("HOME", "/root") + "/.cache/ccache"
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]
    if os.path.isdir(cache):
        os.environ.setdefault("CCACHE_DIR", cache)
    os.environ["HOME"] = str(home)
    path = os.environ.get("PATH", "/usr/bin:/bin").split(":")
    os.environ["PATH"] = ":".join(path + [p for p in ("/usr/local/sbin", "/usr/sbin", "/sbin") if p not in path])
    os.umask(0o022)


def end(folder):
    """Removes what go() made; mounts go with the process."""
    shutil.rmtree(folder, ignore_errors=True)
