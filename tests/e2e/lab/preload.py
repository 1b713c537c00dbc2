"""Libraries that are preloaded into a daemon: built from lab/NAME.c. A clock that is wrong is one of them."""

import mmap
import struct
from pathlib import Path

from .base import run
from .nodes import SANITIZERS

HERE = Path(__file__).resolve().parent


def preload(folder, name, **env):
    library = folder / f"{name}.so"
    run("gcc", "-O1", "-Wall", "-shared", "-fPIC", "-o", library, HERE / f"{name}.c", "-ldl")
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": SANITIZERS["ASAN_OPTIONS"] + ":verify_asan_link_order=0", **env}


class Clock:
    """The wall clock of a node that has its `env`, so many seconds off."""

    def __init__(self, folder, seconds=0):
        folder.mkdir(parents=True, exist_ok=True)
        self.number = folder / "ahead"
        self.number.write_bytes(struct.pack("q", seconds))
        self.env = preload(folder, "odd_clock", ODD_CLOCK=str(self.number))

    def ahead(self, seconds):
        with open(self.number, "r+b") as f, mmap.mmap(f.fileno(), 8) as m:
            m[:] = struct.pack("q", seconds)
