"""What every part of the lab needs: waiting for a condition, free ports, private folders, processes with their logs."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
HOST = "127.0.0.1"
MiB = 1 << 20


def wait_until(condition, what, deadline_s=60.0, poll_s=0.02):
    """Polls until condition() is true and returns what it gave; fails with `what` (a string or a function) when time is up. The deadlines
    here and below only end what hangs: they leave room for a machine with many other things to do."""
    end, often = time.monotonic() + deadline_s, time.monotonic() + 2
    while True:
        began = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"after {deadline_s:g} s still not: {what() if callable(what) else what}")
        # The poll of wait_until itself. One that starts a command leaves the processor to what is waited for as long as it has used it.
        time.sleep(max(poll_s if now < often else 0.1, poll_s, min(now - began, 0.5)))


_given = set()


def free_port():
    """A port nobody listens on, below the ephemeral range so that no outgoing connection takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind((HOST, port))
            except OSError:
                continue
        _given.add(port)
        return port


def listening(port):
    try:
        socket.create_connection((HOST, port), 1).close()
        return True
    except OSError:
        return False


class Process:
    """A child with its output in a file. It dies with stop() or kill(), never by name, or with the tests if those are killed."""

    # What comes before each command. What a shell in the background has made its children ignore is theirs again. By a command, for a
    # preexec_fn would have Python copy its memory for each child.
    before = ("setpriv", "--pdeathsig", "KILL", "env", "--default-signal=INT,QUIT")

    def __init__(self, argv, log, env=None, cwd=None):
        self.argv = [*self.before, *(str(a) for a in argv)]
        self.log = Path(log)
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.child = None

    def spawn(self):
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env, cwd=self.cwd, start_new_session=True,
            )
        return self

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        """As the kernel's own: SIGKILL, and wait."""
        if self.child is None:
            return
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(30)

    def stop(self, deadline_s=60):
        """SIGTERM, and the exit status; a child that does not go is killed and reported."""
        if self.child is None:
            return 0
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.argv[len(self.before)]} did not end within {deadline_s} s of SIGTERM\n{self.tail()}") from None

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=60):
        return "\n".join(self.text().splitlines()[-lines:])

    def rss(self):
        """Resident bytes that are the process's own: file pages (sent by sendfile, mapped) are the kernel's cache."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no RssAnon for {self.pid}")


def run(*argv, check=True, timeout=120, env=None, text=True):
    """Runs a command to its end; a failure shows its output."""
    done = subprocess.run(
        [str(a) for a in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
        text=text,
        errors="replace" if text else None,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
